//! `credentials connect`: a person signs the account in at its service, in a browser; what comes of it goes into the vault
//! and is tried at once. Nothing secret is printed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use url::Url;

use super::client::Client;
use super::credentials::told;
use super::{Exit, Failure, Outcome, ask};
use crate::app::request::{Changed, Verification};
use crate::channel::Transport;
use crate::channel::sign_in::{Back, Grant, Way};
use crate::clock::{Clock as _, SharedClock, SystemClock, Timestamp};
use crate::config::{Account, Config};
use crate::connect::{self, Connecting};
use crate::model::{AccountId, Reason};
use crate::serve::CONNECT_TIMEOUT;
use crate::vault::Vault;

mod door;

use door::Door;

/// Longest time that a service may take for one part of the sign-in.
const EXCHANGE: Duration = Duration::from_mins(1);

/// Arguments of `credentials connect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where the browser is on another machine than this command, the browser cannot come back by itself: \
use --paste, and paste the address that it ends at. Some services only send it to an address with https that stands in the \
app's settings: name that one with --redirect."
)]
pub struct Args {
    /// The account.
    account: AccountId,
    /// Where the service sends the browser: as it stands in the app's settings. A free port of 127.0.0.1 if not given; an
    /// address of another machine is pasted.
    #[arg(long, value_name = "ADDRESS")]
    redirect: Option<Url>,
    /// The port on 127.0.0.1 that the browser comes back to.
    #[arg(long, conflicts_with = "redirect")]
    port: Option<u16>,
    /// Paste the address that the browser ends at (or type the code that is shown) instead of waiting for the browser.
    #[arg(long)]
    paste: bool,
    /// How long to wait for the person.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Print a JSON object a line: first the address, then what came of it.
    #[arg(long)]
    json: bool,
}

/// How the answer comes back to us.
enum Return {
    Browser(Door),
    Person,
}

/// Runs `credentials connect`.
pub async fn run(config: &Config, args: &Args) -> Outcome {
    let account = config.accounts.get(&args.account).ok_or_else(|| {
        let known: Vec<&str> = config.accounts.keys().map(AccountId::as_str).collect();
        let text = format!(
            "there is no account {}; there are: {}",
            args.account,
            known.join(", ")
        );
        Failure::new(Exit::Usage, text)
    })?;
    let clock: SharedClock = Arc::new(SystemClock);
    let vault = Vault::open(&config.vault, Arc::clone(&clock))?;
    let http = Transport::new(Arc::clone(&clock), CONNECT_TIMEOUT).map_err(anyhow::Error::msg)?;
    let parts = crate::app::lanes::parts(config, &vault, &http, &account.id);
    let no = |reason: Reason| failed(account, &reason);
    let (back, through) = back(args, connect::way(account, &parts).map_err(no)?).await?;
    let mut connecting = Connecting::new(account, &parts, back).map_err(no)?;
    let address = in_time(connecting.begin()).await.map_err(no)?;
    show(args, account, &address, &through)?;
    let code = match &through {
        Return::Browser(door) => {
            let accept = |query: &[(String, String)]| connecting.accept(query);
            match tokio::time::timeout(args.wait, door.receive(accept)).await {
                Ok(code) => code,
                Err(_) => Err(nobody(args.wait)),
            }
        }
        Return::Person => match tokio::time::timeout(args.wait, ask::ask("")).await {
            Ok(Some(line)) => connecting.read(&line),
            Ok(None) => Err(Reason::new(
                "nothing-typed",
                "nothing was typed; nothing was kept",
            )),
            Err(_) => Err(nobody(args.wait)),
        },
    };
    let grant = in_time(connecting.finish(&code.map_err(no)?)).await.map_err(no)?;
    keep(&vault, account, &grant).await?;
    let names = grant.secrets.iter().map(|secret| secret.name.clone()).collect();
    let is_told = told(config, account.id.clone(), names, Changed::Connected, args.json).await;
    let verified = if is_told {
        by_daemon(config, account).await
    } else {
        by_ourselves(config, account, &vault, &http).await
    };
    report(args, account, &grant, &verified)
}

fn failed(account: &Account, reason: &Reason) -> Failure {
    Failure::new(
        Exit::Error,
        format!("{}: not connected: {} [{}]", account.id, reason.text, reason.code),
    )
}

fn nobody(wait: Duration) -> Reason {
    Reason::new(
        "timeout",
        format!(
            "nobody came back within {}; nothing was kept",
            humantime::format_duration(wait)
        ),
    )
}

/// A service that does not answer must not keep the person for ever.
async fn in_time<T>(part: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
    match tokio::time::timeout(EXCHANGE, part).await {
        Ok(result) => result,
        Err(_) => Err(Reason::new(
            "timeout",
            "the service did not answer in time; nothing was kept",
        )),
    }
}

/// Where the service sends the browser, and how what it brings comes to us.
async fn back(args: &Args, way: Way) -> Result<(Back, Return), Failure> {
    if way == Way::Pin || (way == Way::RedirectOrCode && args.paste && args.redirect.is_none()) {
        return Ok((Back::Shown, Return::Person));
    }
    let given = args.redirect.clone();
    let is_ours = given.as_ref().is_none_or(door::is_ours);
    if args.paste || !is_ours {
        let port = args.port.unwrap_or(door::USUAL_PORT);
        let address = given.map_or_else(|| door::address(port), Ok)?;
        return Ok((Back::To(address), Return::Person));
    }
    let door = Door::open(given.as_ref(), args.port.unwrap_or(0)).await?;
    Ok((Back::To(door.address().clone()), Return::Browser(door)))
}

fn show(args: &Args, account: &Account, address: &Url, through: &Return) -> Result<(), Failure> {
    if args.json {
        outln!(
            "{}",
            serde_json::to_string(&json!({ "account": account.id, "open": address }))?
        );
        return Ok(());
    }
    outln!(
        "{}: open this address, sign in as the account, and agree:",
        account.id
    );
    outln!();
    outln!("  {address}");
    outln!();
    match through {
        Return::Browser(door) => outln!(
            "waiting for the browser at {} for {}",
            door.address(),
            humantime::format_duration(args.wait)
        ),
        Return::Person => {
            outln!("then type the code that is shown, or paste the address that the browser ended at:");
        }
    }
    Ok(())
}

async fn keep(vault: &Vault, account: &Account, grant: &Grant) -> Result<(), Failure> {
    let (vault, id, grant) = (vault.clone(), account.id.clone(), grant.clone());
    tokio::task::spawn_blocking(move || vault.exchange(&id, &grant.secrets, &grant.forget)).await??;
    Ok(())
}

/// Asks by the daemon, whose journal then says who asked.
async fn by_daemon(config: &Config, account: &Account) -> Result<String, Reason> {
    let lost = |failure: Failure| Reason::new("daemon", failure.text);
    let client = Client::at(&config.daemon.socket).map_err(lost)?;
    let request = json!({ "accounts": [account.id] });
    let answers: Vec<Verification> = client
        .post("/api/v1/verifications", &request)
        .await
        .map_err(lost)?;
    let answer = answers.into_iter().next();
    let answer = answer.ok_or_else(|| Reason::new("daemon", "the daemon did not ask the account"))?;
    match answer.error {
        Some(error) => Err(error),
        None => Ok(answer.identity.unwrap_or_default()),
    }
}

/// Asks without a daemon, with what the vault holds now.
async fn by_ourselves(
    config: &Config,
    account: &Account,
    vault: &Vault,
    http: &Transport,
) -> Result<String, Reason> {
    let channel = account
        .settings
        .open(crate::app::lanes::parts(config, vault, http, &account.id))?;
    match tokio::time::timeout(EXCHANGE, channel.verify()).await {
        Ok(Ok(identity)) => Ok(identity.name),
        Ok(Err(error)) => Err(error.reason().clone()),
        Err(_) => Err(Reason::new("timeout", "the service did not answer in time")),
    }
}

fn report(args: &Args, account: &Account, grant: &Grant, verified: &Result<String, Reason>) -> Outcome {
    let until = grant.secrets.iter().filter_map(|secret| secret.expires_at).min();
    if args.json {
        let kept: Vec<&str> = grant.secrets.iter().map(|secret| secret.name.as_str()).collect();
        let (identity, error) = (verified.as_ref().ok(), verified.as_ref().err());
        let body = json!({
            "account": account.id, "connected_as": grant.who, "kept": kept, "expires_at": until,
            "reachable": verified.is_ok(), "identity": identity, "error": error,
        });
        outln!("{}", serde_json::to_string(&body)?);
    } else {
        outln!("{}: connected as {}; {}", account.id, grant.who, holds(until));
        match verified {
            Ok(identity) => outln!("{}: reachable, as {identity}", account.id),
            Err(reason) => outln!(
                "{}: kept, but the account does NOT answer as it should: {reason}. Look with `vardkase verify --account {}`",
                account.id,
                account.id
            ),
        }
    }
    Ok(if verified.is_ok() {
        Exit::Ok
    } else {
        Exit::Undelivered
    })
}

fn holds(until: Option<Timestamp>) -> String {
    let Some(until) = until else {
        return "it has no end of its own".to_owned();
    };
    let days = until.duration_since(SystemClock.now()).as_hours() / 24;
    format!(
        "it holds until {}, {days} days from now",
        until.strftime("%Y-%m-%d")
    )
}
