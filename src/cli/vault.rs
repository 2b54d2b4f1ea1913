//! `vault`: a new key, a sealed copy for the safe, and a vault of such a copy. Nothing of what is in it is ever printed or
//! written readably.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::credentials::tell;
use super::{Exit, Failure, Outcome};
use crate::app::request::{ReloadRequest, VaultChange};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::vault::Vault;
use crate::vault::age::{Identity, Recipient};

/// Longest key file on standard input.
const MAX_INPUT: u64 = 16 * 1024;

/// The sub-commands of `vault`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Seal everything with a new key, which takes the old one's place.
    Rotate,
    /// Write a sealed copy for the safe, which each of two officers or more can open alone.
    #[command(
        after_help = "Each officer makes a key with `age-keygen`, keeps the secret one and gives you the public one (age1…). \
        What is written opens with `vardkase vault restore`, or with the program age."
    )]
    Escrow {
        /// An officer's public key; at least two.
        #[arg(long, required = true, num_args = 1.., value_name = "AGE1…")]
        to: Vec<Recipient>,
        /// The file, which must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a new vault, with a new key, of a sealed copy; the officer's secret key comes by standard input.
    #[command(after_help = "Example: vardkase vault restore safe.age < officer.key")]
    Restore {
        /// The sealed copy.
        escrow: PathBuf,
    },
}

/// Runs `vault`. Works on the vault's file; a daemon that runs is told, and its journal says who did it.
pub async fn run(config: &std::path::Path, command: Command) -> Outcome {
    let config = super::load(config)?;
    match command {
        Command::Rotate => rotate(&config).await,
        Command::Escrow { to, out } => {
            let vault = Vault::open(&config.vault, Arc::new(SystemClock))?;
            let count = vault.escrow(&to, &out)?;
            outln!(
                "{count} secret(s) sealed in {}, for {} officers of whom each opens it alone",
                out.display(),
                to.len()
            );
            outln!(
                "put it into the safe, apart from the officers' keys; it goes out of date with every changed secret"
            );
            let change = VaultChange::Escrowed {
                to: to.iter().map(ToString::to_string).collect(),
                secrets: count,
            };
            told(&config, change).await;
            Ok(Exit::Ok)
        }
        Command::Restore { escrow } => {
            let identity = identity()?;
            let (_, count) = Vault::restore(&config.vault, Arc::new(SystemClock), &escrow, &identity)?;
            outln!(
                "{count} secret(s) are in {} again, under the new key {}",
                config.vault.file.display(),
                config.vault.key_file.display()
            );
            outln!(
                "try them with `vardkase verify`; what was changed since the copy was made has to be set anew"
            );
            let change = VaultChange::Restored {
                by: identity.recipient().to_string(),
                secrets: count,
            };
            told(&config, change).await;
            Ok(Exit::Ok)
        }
    }
}

async fn rotate(config: &Config) -> Outcome {
    let vault = Vault::open(&config.vault, Arc::new(SystemClock))?;
    let rotated = vault.rotate()?;
    outln!(
        "{} secret(s) sealed with the new key {} ({})",
        rotated.secrets,
        rotated.now,
        config.vault.key_file.display()
    );
    outln!(
        "put a copy of the new key into the safe; keep the old one ({}) there as long as backups from before this day are kept: \
         they open with nothing else",
        rotated.before
    );
    let change = VaultChange::Rotated {
        before: rotated.before,
        now: rotated.now,
    };
    if let Some(text) = told(config, change).await {
        let text = format!(
            "the vault has its new key, but the daemon cannot read it: {text}. Restart it now (`systemctl restart vardkase`): \
             until then it publishes with what it read before, and cannot keep a renewed credential"
        );
        return Err(Failure::new(Exit::Error, text));
    }
    Ok(Exit::Ok)
}

/// Tells the daemon, or notes it for the next start. Returns what a daemon says no with.
async fn told(config: &Config, change: VaultChange) -> Option<String> {
    let request = ReloadRequest {
        vault: Some(change),
        ..ReloadRequest::default()
    };
    tell(config, &request, false).await.err()
}

/// The officer's secret key.
fn identity() -> Result<Identity, Failure> {
    use std::io::{IsTerminal as _, Read as _};
    if std::io::stdin().is_terminal() {
        eprintln!("the officer's secret key (AGE-SECRET-KEY-1…); end with Ctrl-D:");
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .take(MAX_INPUT)
        .read_to_string(&mut text)?;
    let text = SecretString::from(text.as_str());
    Identity::read(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("standard input {error}; nothing was done")))
}
