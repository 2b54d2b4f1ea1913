//! `retract`: call a broadcast off: take its posts away wherever that can be done, stop what has not gone out, and say
//! where it cannot.

use std::path::Path;

use serde_json::json;

use super::ask::{ask, is_anyone_there};
use super::client::{AGAIN, Client};
use super::{Exit, Failure, Outcome};
use crate::app::request::{How, RetractRequest, Retracting};
use crate::model::{AccountId, BroadcastReport, DeliveryReport, NOT_NEEDED, State};

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

/// Runs `retract`. Ends with 3 if a post may stand or an attempt is under way; with `--wait`, if a post could not be taken
/// away or may stand.
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
        // What may stand, or may still come, is not taken away by having been asked for.
        let known = result.uncertain.is_empty() && result.under_way.is_empty();
        return Ok(if known { Exit::Ok } else { Exit::Undelivered });
    }
    let concerned = |account: &AccountId| result.accounts.iter().any(|one| one.account == *account);
    let report = settled(&client, &path, concerned).await?;
    let retractions: Vec<_> = report
        .retractions
        .iter()
        .filter(|r| concerned(&r.account) && !was_not_needed(r))
        .collect();
    let unsettled = |d: &&DeliveryReport| d.unknown_since.is_some() && d.state != State::Cancelled;
    let uncertain = report
        .deliveries
        .iter()
        .filter(unsettled)
        .any(|d| concerned(&d.account));
    let all = !uncertain
        && retractions.iter().all(|r| r.state.got_out())
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

/// Whether the post that it was to take away never got out.
fn was_not_needed(retraction: &DeliveryReport) -> bool {
    let error = retraction.error.as_ref();
    retraction.state == State::Cancelled && error.is_some_and(|error| error.code == NOT_NEEDED)
}

/// The report, once nothing is open any more on these accounts: no retraction, and no attempt that was under way.
async fn settled(
    client: &Client,
    path: &str,
    concerned: impl Fn(&AccountId) -> bool,
) -> Result<BroadcastReport, Failure> {
    loop {
        let report: BroadcastReport = client.get_again(path).await?;
        let posts = report.deliveries.iter().chain(&report.retractions);
        let mut open = posts.filter(|d| d.state.is_open() && concerned(&d.account));
        let mut lists = report.recipients.iter().filter(|list| concerned(&list.account));
        if open.next().is_none() && !lists.any(|list| list.standing().any(State::is_open)) {
            return Ok(report);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
