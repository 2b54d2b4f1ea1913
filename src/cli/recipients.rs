//! `recipients`: who gets nothing more, why, and how that is taken back.

use std::path::Path;

use super::client::Client;
use super::{Exit, Outcome};
use crate::app::request::{SuppressRequest, SuppressedView, Suppression};
use crate::model::AccountId;

/// The commands of `recipients`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List who is left out of broadcasts, masked, with the reason.
    Suppressed {
        /// At most so many, the latest first.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        /// Print a JSON list.
        #[arg(long)]
        json: bool,
    },
    /// Leave a recipient out of all later broadcasts, on every account.
    Suppress {
        /// The mail address, phone number or subscription.
        address: String,
        /// Why, for the journal.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take a recipient in again, on every account.
    Restore {
        /// The mail address, phone number or subscription.
        address: String,
    },
}

/// Runs `recipients`.
pub async fn run(config: &Path, command: Command) -> Outcome {
    let client = Client::of(config)?;
    let (path, request) = match command {
        Command::Suppressed { limit, json } => return suppressed(&client, limit, json).await,
        Command::Suppress { address, reason } => ("suppress", SuppressRequest { address, reason }),
        Command::Restore { address } => {
            let reason = None;
            ("restore", SuppressRequest { address, reason })
        }
    };
    let done: Suppression = client
        .post(&format!("/api/v1/recipients/{path}"), &request)
        .await?;
    let what = match (path, done.changed) {
        ("suppress", true) => "gets nothing more",
        ("suppress", false) => "was left out already",
        (_, true) => "gets broadcasts again",
        (_, false) => "was not left out",
    };
    outln!("{}: {what}", done.recipient);
    Ok(Exit::Ok)
}

async fn suppressed(client: &Client, limit: usize, json: bool) -> Outcome {
    let path = format!("/api/v1/recipients/suppressed?limit={limit}");
    let all: Vec<SuppressedView> = client.get(&path).await?;
    if json {
        super::print_json(&all)?;
        return Ok(Exit::Ok);
    }
    for one in &all {
        let account = one.account.as_ref().map_or("(all)", AccountId::as_str);
        outln!("{:<32} {account:<22} {} {}", one.recipient, one.at, one.reason);
    }
    outln!("{} recipients get nothing more", all.len());
    Ok(Exit::Ok)
}
