//! `credentials`: secrets go into the vault by standard input and never come out.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{Changed, ReloadRequest, Renewed, SecretsChange};
use crate::channel::Transport;
use crate::channel::sign_in::REVOKED;
use crate::clock::{Clock as _, SharedClock, SystemClock, Timestamp};
use crate::config::Config;
use crate::model::{AccountId, Actor, Reason};
use crate::serve::CONNECT_TIMEOUT;
use crate::vault::untold::{self, Note};
use crate::vault::{Entry, Vault, lines};

/// Longest time that a service may take to take a credential back.
const REVOKING: Duration = Duration::from_secs(30);

/// The sub-commands of `credentials`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a new, empty vault and its key.
    Init,
    /// Keep an account's or a relay's secrets: lines of name=value on standard input.
    #[command(
        after_help = "Example: printf 'access_token=%s\\n' \"$T\" | vardkase credentials set mastodon-nassjo"
    )]
    Set {
        /// The account or the relay.
        account: AccountId,
    },
    /// Sign an account in at its service, in a browser; what the service gives is kept and tried at once.
    Connect(super::connect::Args),
    /// Take an account's credential back at its service, and forget it.
    Revoke {
        /// The account.
        account: AccountId,
    },
    /// Have the daemon renew credentials where that is due; of all accounts if none is named.
    Renew {
        /// The accounts.
        account: Vec<AccountId>,
        /// Print a JSON list.
        #[arg(long)]
        json: bool,
    },
    /// List what the vault holds, by owner and name; never a value. Tells what is still missing.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget secrets of an account or a relay.
    Remove {
        /// The account or the relay.
        account: AccountId,
        /// Only this one.
        name: Option<String>,
    },
}

/// Runs `credentials`. Works on the vault's file; a daemon that runs is told to read it again.
pub async fn run(path: &Path, command: Command) -> Outcome {
    let config = super::load(path)?;
    match command {
        Command::Init => {
            Vault::init(&config.vault, Arc::new(SystemClock))?;
            outln!(
                "made {} and its key {}",
                config.vault.file.display(),
                config.vault.key_file.display()
            );
            outln!(
                "keep a copy of the key in a safe, apart from every backup: without it the vault cannot be opened"
            );
            Ok(Exit::Ok)
        }
        Command::Set { account } => set(&config, &account).await,
        Command::Connect(args) => Box::pin(super::connect::run(&config, &args)).await,
        Command::Revoke { account } => Box::pin(revoke(&config, &account)).await,
        Command::Renew { account, json } => renew(&config, &account, json).await,
        Command::List { json } => list(&config, json),
        Command::Remove { account, name } => {
            let vault = open(&config)?;
            let own = |entry: &Entry| {
                entry.owner == account.as_str() && name.as_ref().is_none_or(|name| entry.name == *name)
            };
            let names = vault
                .list()
                .into_iter()
                .filter(own)
                .map(|entry| entry.name)
                .collect();
            let removed = vault.remove(&account, name.as_deref())?;
            outln!("{account}: {removed} secret(s) forgotten");
            told(&config, account, names, Changed::Removed, false).await;
            Ok(if removed > 0 { Exit::Ok } else { Exit::Error })
        }
    }
}

fn open(config: &Config) -> Result<Vault, Failure> {
    Ok(Vault::open(&config.vault, Arc::new(SystemClock))?)
}

async fn set(config: &Config, owner: &AccountId) -> Outcome {
    let known = lines::secret_names(config, owner.as_str()).ok_or_else(|| {
        let owners = config
            .accounts
            .keys()
            .chain(config.relays.iter().map(|relay| &relay.id));
        let names: Vec<&str> = owners.map(AccountId::as_str).collect();
        Failure::new(
            Exit::Usage,
            format!(
                "there is no account or relay {owner}; there are: {}",
                names.join(", ")
            ),
        )
    })?;
    if std::io::stdin().is_terminal() {
        let names: Vec<&str> = known.iter().filter(|s| !s.internal).map(|s| s.name).collect();
        eprintln!(
            "lines of name=value, names among {}; end with Ctrl-D:",
            names.join(", ")
        );
    }
    let secrets = lines::parse_lines(std::io::stdin().lock(), known)
        .map_err(|faults| Failure::new(Exit::Usage, format!("nothing was kept: {}", faults.join("; "))))?;
    let vault = open(config)?;
    vault.set(owner, &secrets)?;
    let names: Vec<&str> = secrets.iter().map(|(name, _)| name.as_str()).collect();
    outln!("{owner}: kept {}", names.join(", "));
    for missing in missing(&vault, owner, known) {
        outln!("{owner}: still missing {missing}");
    }
    let names = names.into_iter().map(str::to_owned).collect();
    told(config, owner.clone(), names, Changed::Set, false).await;
    Ok(Exit::Ok)
}

/// Takes a credential back at the service. Needs no daemon: it is what one does in haste.
async fn revoke(config: &Config, id: &AccountId) -> Outcome {
    let account = config
        .accounts
        .get(id)
        .ok_or_else(|| Failure::new(Exit::Usage, format!("there is no account {id}")))?;
    let clock: SharedClock = Arc::new(SystemClock);
    let vault = open(config)?;
    let http = Transport::new(clock, CONNECT_TIMEOUT).map_err(anyhow::Error::msg)?;
    let parts = crate::app::lanes::parts(config, &vault, &http, id);
    let revoked = match tokio::time::timeout(REVOKING, crate::connect::revoke(account, &parts)).await {
        Ok(revoked) => revoked,
        Err(_) => Err(Reason::new(
            "timeout",
            "the service did not answer in time; try again",
        )),
    };
    revoked.map_err(|reason| {
        let text = format!(
            "{id}: not taken back, and still in the vault: {} [{}]. Nothing more is published there after `vardkase accounts \
             disable {id} --reason …`",
            reason.text, reason.code
        );
        Failure::new(Exit::Error, text)
    })?;
    let held: Vec<String> = vault
        .list()
        .into_iter()
        .filter(|entry| entry.owner == id.as_str() && REVOKED.contains(&entry.name.as_str()))
        .map(|entry| entry.name)
        .collect();
    vault.exchange(id, &[], REVOKED)?;
    outln!(
        "{id}: taken back at the service, and forgotten: {}",
        held.join(", ")
    );
    outln!("{id}: to publish there again: `vardkase credentials connect {id}`");
    told(config, id.clone(), held, Changed::Revoked, false).await;
    Ok(Exit::Ok)
}

/// Renews by the daemon: whoever else renewed beside it would spoil what it holds.
async fn renew(config: &Config, accounts: &[AccountId], json: bool) -> Outcome {
    let client = Client::at(&config.daemon.socket)?;
    let renewed: Vec<Renewed> = client
        .post("/api/v1/renewals", &json!({ "accounts": accounts }))
        .await?;
    if json {
        super::print_json(&renewed)?;
    } else {
        let date = |at: Option<Timestamp>| {
            at.map(|at| at.strftime("%Y-%m-%d").to_string())
                .unwrap_or_default()
        };
        for one in &renewed {
            let ends = match (one.due_at, one.expires_at) {
                (Some(_), _) => format!("due {}, ends {}", date(one.due_at), date(one.expires_at)),
                (None, Some(_)) => format!("ends {}", date(one.expires_at)),
                (None, None) => String::new(),
            };
            let what = one.error.as_ref().map_or(ends, ToString::to_string);
            outln!("{:<22} {:<8} {what}", one.account, one.outcome);
        }
    }
    let all_well = renewed.iter().all(|one| one.error.is_none());
    Ok(if all_well { Exit::Ok } else { Exit::Undelivered })
}

fn missing<'a>(vault: &Vault, owner: &AccountId, known: &'a [crate::channel::SecretName]) -> Vec<&'a str> {
    let held = vault.list();
    known
        .iter()
        .filter(|secret| secret.required)
        .map(|secret| secret.name)
        .filter(|name| {
            !held
                .iter()
                .any(|entry| entry.owner == owner.as_str() && entry.name == *name)
        })
        .collect()
}

fn list(config: &Config, json: bool) -> Outcome {
    let vault = open(config)?;
    let entries = vault.list();
    let mut lacking: Vec<(String, &str)> = Vec::new();
    for account in config.accounts.values() {
        let names = missing(&vault, &account.id, account.channel.secrets);
        lacking.extend(names.into_iter().map(|name| (account.id.to_string(), name)));
    }
    for relay in config.relays.iter().filter(|relay| relay.login) {
        let names = missing(&vault, &relay.id, lines::RELAY_SECRETS);
        lacking.extend(names.into_iter().map(|name| (relay.id.to_string(), name)));
    }
    if json {
        let held: Vec<_> = entries
            .iter()
            .map(
                |e| json!({ "owner": e.owner, "name": e.name, "updated_at": e.updated_at, "expires_at": e.expires_at, "sound": e.sound }),
            )
            .collect();
        super::print_json(&json!({ "held": held, "missing": lacking }))?;
    } else {
        for entry in &entries {
            let note = if entry.sound {
                ""
            } else {
                "  DAMAGED: set it again"
            };
            let ends = entry
                .expires_at
                .map(|at| format!("  ends {}", at.strftime("%Y-%m-%d")));
            outln!(
                "{:<22} {:<20} {}{}{note}",
                entry.owner,
                entry.name,
                entry.updated_at,
                ends.unwrap_or_default()
            );
        }
        for (owner, name) in &lacking {
            outln!("{owner:<22} {name:<20} MISSING");
        }
    }
    Ok(Exit::Ok)
}

/// Tells a running daemon that the vault has changed, and what, for the journal. Returns whether it uses it.
pub(super) async fn told(
    config: &Config,
    owner: AccountId,
    names: Vec<String>,
    change: Changed,
    quietly: bool,
) -> bool {
    let request = ReloadRequest {
        secrets: Some(SecretsChange { owner, names, change }),
        ..ReloadRequest::default()
    };
    match tell(config, &request, quietly).await {
        Ok(told) => told,
        Err(text) => {
            eprintln!("the daemon was not told: {text}");
            false
        }
    }
}

/// Tells a running daemon; without one, notes it for the journal of the next start. Returns whether one runs and uses it.
///
/// # Errors
/// What the daemon says no with.
pub(super) async fn tell(config: &Config, request: &ReloadRequest, quietly: bool) -> Result<bool, String> {
    let client = Client::at(&config.daemon.socket).map_err(|failure| failure.text)?;
    match client.post::<serde_json::Value>("/api/v1/reload", request).await {
        Ok(_) => {
            if !quietly {
                outln!("the daemon uses it from now on");
            }
            Ok(true)
        }
        Err(Failure {
            exit: Exit::NoDaemon, ..
        }) => {
            let uid = rustix::process::getuid().as_raw();
            let name = crate::http::api::user_name(uid);
            let note = Note {
                id: uuid::Uuid::new_v4().to_string(),
                at: SystemClock.now(),
                actor: Actor::local(uid, name.as_deref()).0,
                body: json!(request),
            };
            if let Err(error) = untold::add(&config.vault, &note) {
                eprintln!("it could not be noted for the journal: {error}");
            }
            Ok(false)
        }
        Err(Failure { text, .. }) => Err(text),
    }
}
