//! `credentials`: secrets go into the vault by standard input and never come out.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{Changed, ReloadRequest, SecretsChange};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::model::AccountId;
use crate::vault::{Entry, Vault, lines};

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
            told(&config, account, names, Changed::Removed).await;
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
    told(config, owner.clone(), names, Changed::Set).await;
    Ok(Exit::Ok)
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
                |e| json!({ "owner": e.owner, "name": e.name, "updated_at": e.updated_at, "sound": e.sound }),
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
            outln!(
                "{:<22} {:<20} {}{note}",
                entry.owner,
                entry.name,
                entry.updated_at
            );
        }
        for (owner, name) in &lacking {
            outln!("{owner:<22} {name:<20} MISSING");
        }
    }
    Ok(Exit::Ok)
}

/// Tells a running daemon that the vault has changed, and what, for the journal. Without one there is nobody to tell: the
/// next start finds it.
async fn told(config: &Config, owner: AccountId, names: Vec<String>, change: Changed) {
    let Ok(client) = Client::at(&config.daemon.socket) else {
        return;
    };
    let request = ReloadRequest {
        secrets: Some(SecretsChange { owner, names, change }),
    };
    match client.post::<serde_json::Value>("/api/v1/reload", &request).await {
        Ok(_) => outln!("the daemon uses it from now on"),
        Err(Failure {
            exit: Exit::NoDaemon, ..
        }) => {}
        Err(Failure { text, .. }) => eprintln!("the daemon was not told: {text}"),
    }
}
