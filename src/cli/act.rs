//! `retry` and `retract`: what a person decides about deliveries.

use std::path::Path;

use url::Url;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{Action, ActionRequest, ActionResult, RetractRequest, Retracting};
use crate::model::AccountId;

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a flag of the command line is a bool"
)]
pub struct RetryArgs {
    /// The broadcast, such as 2026-0007.1.
    broadcast: String,
    /// Only this account; every account that waits for a person if not given.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<AccountId>,
    /// Send again although an earlier attempt may have got through: it can come twice. Look at the account first.
    #[arg(long, group = "what", requires = "account")]
    resend: bool,
    /// Let go what a restored backup holds.
    #[arg(long, group = "what")]
    release: bool,
    /// Make it a person's work: the text and the link are shown, and the person reports it done.
    #[arg(long, group = "what", requires = "account")]
    hand_over: bool,
    /// A person has published it, or found it published; with the post's address if it has one.
    #[arg(long, group = "what", value_name = "URL", num_args = 0..=1, default_missing_value = "", requires = "account")]
    done: Option<String>,
    /// Stop it for good.
    #[arg(long, group = "what", requires = "account")]
    cancel: bool,
    /// Why, for the journal.
    #[arg(long)]
    reason: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `retry`. Ends with 3 if nothing changed.
pub async fn retry(config: &Path, args: &RetryArgs) -> Outcome {
    let url = match args.done.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            text.parse::<Url>()
                .map_err(|e| Failure::new(Exit::Usage, format!("--done {text}: {e}")))?,
        ),
    };
    let action = match (
        args.resend,
        args.release,
        args.hand_over,
        args.done.is_some(),
        args.cancel,
    ) {
        (true, ..) => Action::Resend,
        (_, true, ..) => Action::Release,
        (_, _, true, ..) => Action::HandOver,
        (_, _, _, true, _) => Action::Done,
        (.., true) => Action::Cancel,
        _ => Action::Retry,
    };
    let request = ActionRequest {
        action,
        accounts: args.account.clone(),
        url,
        reason: args.reason.clone(),
    };
    let client = Client::of(config)?;
    let result: ActionResult = client
        .post(
            &format!("/api/v1/broadcasts/{}/actions", args.broadcast),
            &request,
        )
        .await?;
    if args.json {
        super::print_json(&result)?;
    } else {
        for (account, _, state) in &result.changed {
            outln!("{account}: {state}");
        }
        for (account, _, why) in &result.skipped {
            outln!("{account}: unchanged, {why}");
        }
        for account in &result.lists {
            outln!("{account}: the list on its way as well");
        }
        for (n, what) in [
            (result.changed_more, "changed"),
            (result.skipped_more, "unchanged"),
        ] {
            if n > 0 {
                outln!("… and {n} more {what}");
            }
        }
    }
    if !result.changed.is_empty() || !result.lists.is_empty() {
        return Ok(Exit::Ok);
    }
    if result.skipped.is_empty() && !args.json {
        outln!("{}: nothing waits for a person", args.broadcast);
    }
    Ok(Exit::Undelivered)
}

/// Arguments of `retract`.
#[derive(Debug, clap::Args)]
pub struct RetractArgs {
    /// The broadcast whose posts are to go, such as 2026-0007.1.
    broadcast: String,
    /// Only this account.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<AccountId>,
    /// Why, for the journal.
    #[arg(long)]
    reason: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Stay until every channel has answered.
    #[arg(long)]
    wait: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `retract`. With `--wait` it ends with 3 if a post could not be taken away.
pub async fn retract(config: &Path, args: &RetractArgs) -> Outcome {
    if !args.yes && !asked(&args.broadcast)? {
        return Err(Failure::new(Exit::Error, "nothing was taken away"));
    }
    let client = Client::of(config)?;
    let path = format!("/api/v1/broadcasts/{}", args.broadcast);
    let request = RetractRequest {
        accounts: args.account.clone(),
        reason: args.reason.clone(),
    };
    let result: Retracting = client.post(&format!("{path}/retract"), &request).await?;
    if !args.json {
        let names = |ids: &[AccountId]| ids.iter().map(AccountId::as_str).collect::<Vec<_>>().join(", ");
        outln!("taking away: {}", names(&result.by_daemon));
        if !result.by_person.is_empty() {
            outln!(
                "a person must take these away, the channel cannot: {}",
                names(&result.by_person)
            );
        }
    }
    if !args.wait {
        if args.json {
            super::print_json(&result)?;
        }
        return Ok(Exit::Ok);
    }
    loop {
        let report: crate::model::BroadcastReport = client.get(&path).await?;
        if report.retractions.iter().any(|r| r.state.is_open()) {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            continue;
        }
        let all = report.retractions.iter().all(|r| r.state.got_out());
        if args.json {
            super::print_json(&report)?;
        } else {
            for retraction in &report.retractions {
                let why = retraction
                    .error
                    .as_ref()
                    .map(|e| format!(": {e}"))
                    .unwrap_or_default();
                let word = if retraction.state.got_out() {
                    "gone"
                } else {
                    retraction.state.as_str()
                };
                outln!("{}: {word}{why}", retraction.account);
            }
        }
        return Ok(if all { Exit::Ok } else { Exit::Undelivered });
    }
}

fn asked(broadcast: &str) -> Result<bool, Failure> {
    use std::io::{IsTerminal, Write};
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "retract needs --yes when nobody can be asked",
        ));
    }
    eprint!("Take every post of {broadcast} away? Type its id: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == broadcast)
}
