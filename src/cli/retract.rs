//! `retract`: take a broadcast's posts away wherever that can be done, and say where it cannot.

use std::path::Path;

use serde_json::json;

use super::ask::{ask, is_anyone_there};
use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{How, RetractRequest, Retracting};
use crate::model::{AccountId, BroadcastReport};

/// Arguments of `retract`.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `retract`. With `--wait` it ends with 3 if a post could not be taken away.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    if !args.yes {
        if !is_anyone_there() {
            return Err(Failure::new(
                Exit::Usage,
                "retract needs --yes when nobody can be asked",
            ));
        }
        let question = format!("Take every post of {} away? Type its id: ", args.broadcast);
        if ask(&question).await.as_deref() != Some(args.broadcast.as_str()) {
            return Err(Failure::new(Exit::Error, "nothing was taken away"));
        }
    }
    let client = Client::of(config)?;
    let path = format!("/api/v1/broadcasts/{}", args.broadcast);
    let request = RetractRequest {
        accounts: args.account.clone(),
        reason: args.reason.clone(),
    };
    let result: Retracting = client.post(&format!("{path}/retract"), &request).await?;
    if !args.json {
        super::table::outlooks(&result.accounts);
    }
    if !args.wait {
        if args.json {
            super::print_json(&result)?;
        }
        return Ok(Exit::Ok);
    }
    let report = settled(&client, &path).await?;
    let asked = |account: &AccountId| result.accounts.iter().any(|one| one.account == *account);
    let retractions: Vec<_> = report.retractions.iter().filter(|r| asked(&r.account)).collect();
    let all = retractions.iter().all(|r| r.state.got_out())
        && result.accounts.iter().all(|one| one.how != How::Cannot);
    if args.json {
        let mut whole = json!(result);
        whole["retractions"] = json!(retractions);
        whole["complete"] = all.into();
        super::print_json(&whole)?;
    } else {
        for retraction in retractions {
            let error = retraction.error.as_ref();
            let why = error.map(|error| format!(": {error}")).unwrap_or_default();
            let word = if retraction.state.got_out() {
                "gone"
            } else {
                retraction.state.as_str()
            };
            outln!("{}: {word}{why}", retraction.account);
        }
    }
    Ok(if all { Exit::Ok } else { Exit::Undelivered })
}

/// The report, once no retraction is open any more.
async fn settled(client: &Client, path: &str) -> Result<BroadcastReport, Failure> {
    loop {
        let report: BroadcastReport = client.get(path).await?;
        if !report.retractions.iter().any(|r| r.state.is_open()) {
            return Ok(report);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
