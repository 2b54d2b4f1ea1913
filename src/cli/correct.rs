//! `correct`: say on every account of an alert that something was wrong, in one command.

use std::path::Path;

use serde_json::json;

use super::client::Client;
use super::send::{Fields, WithPicture, confirmed, exit_after_wait, key_of, permitted, wait_for};
use super::{Exit, Failure, Outcome};
use crate::app::request::{Correcting, How, Outlook, SendRequest, Sent};
use crate::model::{AccountId, AlertId, Kind, Lang, MessageId};

/// Arguments of `correct`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The alert (2026-0007), or a broadcast of it (2026-0007.1).
    what: String,
    /// The prepared message; that of the alert's latest broadcast if not given.
    #[arg(long)]
    message: Option<MessageId>,
    #[command(flatten)]
    fields: Fields,
    /// Only this account; every account that the alert went to if not given.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<AccountId>,
    /// Languages, first one first, separated by commas; the municipality's if not given.
    #[arg(long, value_delimiter = ',', value_name = "sv,en")]
    lang: Vec<Lang>,
    #[command(flatten)]
    picture: WithPicture,
    /// Do not ask before a live correction goes out.
    #[arg(long)]
    yes: bool,
    /// Stay until nothing is open any more, and end with the broadcast's exit code.
    #[arg(long)]
    wait: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Makes repeating this command harmless: the same key with the same correction is sent once.
    #[arg(long, value_name = "K")]
    idempotency_key: Option<String>,
}

/// Runs `correct`.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let alert = args
        .what
        .split_once('.')
        .map_or(args.what.as_str(), |(alert, _)| alert);
    let alert: AlertId = alert.parse().map_err(|e| usage(format!("{}: {e}", args.what)))?;
    let (fields, picture) = (args.fields.read()?, args.picture.request()?);
    let client = Client::of(config)?;
    let mut correcting: Correcting = client.get(&format!("/api/v1/alerts/{alert}/correction")).await?;
    if let Some(missing) = args
        .account
        .iter()
        .find(|id| !correcting.accounts.iter().any(|one| one.account == **id))
    {
        return Err(Failure::new(
            Exit::Error,
            format!("alert {alert} did not go to {missing}; send it there with `vardkase send`"),
        ));
    }
    correcting
        .accounts
        .retain(|one| args.account.is_empty() || args.account.contains(&one.account));
    let goes = |one: &&Outlook| !matches!(one.how, How::Nothing | How::Cannot);
    // Who only stood in for another is reached through that one, unless it alone is meant.
    let named = |one: &&Outlook| !one.stood_in || !args.account.is_empty();
    let to: Vec<String> = correcting
        .accounts
        .iter()
        .filter(goes)
        .filter(named)
        .map(|one| one.account.to_string())
        .collect();
    if to.is_empty() {
        super::table::outlooks(&correcting.accounts);
        return Err(Failure::new(
            Exit::Error,
            "there is nothing to correct; nothing was sent",
        ));
    }
    let request = SendRequest {
        message: args.message.clone().unwrap_or_else(|| correcting.message.clone()),
        fields,
        to,
        mode: None,
        languages: args.lang.clone(),
        alert: Some(alert),
        kind: Some(Kind::Correction),
        picture,
        overrides: std::collections::BTreeMap::new(),
    };
    if !args.json {
        super::table::outlooks(&correcting.accounts);
    }
    permitted(&client, &request, args.yes).await?;
    let key = key_of(args.idempotency_key.as_ref());
    let sent: Sent = client.post_once("/api/v1/broadcasts", &request, &key).await?;
    if !args.json {
        return super::send::finish(&client, &sent, args.wait, false).await;
    }
    let mut whole = json!({
        "alert": sent.alert,
        "broadcast": sent.broadcast,
        "repeated": sent.repeated,
        "findings": sent.findings,
        "accounts": correcting.accounts,
    });
    let mut exit = Exit::Ok;
    if args.wait {
        let report = wait_for(&client, &sent.broadcast, |_| {}).await?;
        let report = confirmed(&client, report).await;
        exit = exit_after_wait(&report);
        whole["report"] = json!(report);
    }
    super::print_json(&whole)?;
    Ok(exit)
}
