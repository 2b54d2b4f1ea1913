//! `check`: is the configuration right, the messages with it? Every fault at once.

use std::path::Path;

use serde_json::json;

use super::{Exit, Outcome};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `check`.
pub fn run(path: &Path, args: &Args) -> Outcome {
    match Config::load(path) {
        Ok(config) => {
            let (accounts, messages) = (config.accounts.len(), config.messages.len());
            let now = SystemClock.now();
            let warnings: Vec<String> = config
                .accounts
                .iter()
                .filter_map(|(id, account)| Some(format!("account.{id}: {}", account.settings.warning(now)?)))
                .collect();
            if args.json {
                super::print_json(&json!({
                    "ok": true, "warnings": warnings, "accounts": accounts, "messages": messages,
                    "digest": config.digest, "problems": [],
                }))?;
            } else {
                outln!(
                    "{}: in order. {accounts} accounts, {messages} prepared messages.",
                    path.display()
                );
                for warning in &warnings {
                    outln!("warning: {warning}");
                }
            }
            Ok(Exit::Ok)
        }
        Err(problems) => {
            if args.json {
                super::print_json(&json!({ "ok": false, "problems": problems.0 }))?;
            } else {
                outln!("{problems}");
                eprintln!("{}: {} fault(s)", path.display(), problems.0.len());
            }
            Ok(Exit::Error)
        }
    }
}
