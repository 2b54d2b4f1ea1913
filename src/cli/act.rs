//! `retry`: what a person decides about deliveries.

use std::path::Path;

use url::Url;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{Action, ActionRequest, ActionResult};
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
