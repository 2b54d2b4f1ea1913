//! `check`: is the configuration right, the messages with it? Every fault at once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

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
            let lists = Lists::of(&config);
            let now = SystemClock.now();
            let warnings: Vec<String> = config
                .accounts
                .iter()
                .filter_map(|(id, account)| Some(format!("account.{id}: {}", account.settings.warning(now)?)))
                .chain(
                    crate::register::findings::of_config(&config)
                        .iter()
                        .map(|finding| {
                            let account = finding
                                .account
                                .as_ref()
                                .map(|id| format!("account.{id}.register: "));
                            let finding = crate::register::Finding {
                                account: None,
                                ..finding.clone()
                            };
                            format!("{}{finding}", account.unwrap_or_default())
                        }),
                )
                .collect();
            if args.json {
                let all: Vec<&String> = lists.faulty.iter().chain(&warnings).collect();
                super::print_json(&json!({
                    "ok": lists.useless.is_empty(), "accounts": accounts, "messages": messages,
                    "digest": config.digest, "problems": lists.useless, "warnings": all,
                    "lists": lists.counts,
                }))?;
            } else {
                lists.print();
            }
            if !lists.useless.is_empty() {
                eprintln!(
                    "{}: {} list(s) that nobody can be reached through; everything else is in order",
                    path.display(),
                    lists.useless.len()
                );
                return Ok(Exit::Error);
            }
            if !args.json {
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

/// What the lists in files hold. A faulty line is a warning: it is skipped, and everybody else is reached.
#[derive(Debug, Default)]
struct Lists {
    counts: BTreeMap<String, Value>,
    faulty: Vec<String>,
    useless: Vec<String>,
}

impl Lists {
    fn of(config: &Config) -> Self {
        let mut all = Self::default();
        for list in config.lists.values().filter(|list| list.files.is_some()) {
            let (id, found) = (list.id.to_string(), list.survey());
            if let Some(why) = found.useless() {
                all.useless.push(format!("list.{id}: {why}"));
            }
            all.faulty.extend(found.named.iter().map(ToString::to_string));
            let more = found.faults.saturating_sub(found.named.len() as u64);
            if more > 0 {
                all.faulty.push(format!("list.{id}: {more} more faulty lines"));
            }
            let counts = json!({ "recipients": found.entries, "faulty_lines": found.faults });
            all.counts.insert(id, counts);
        }
        all
    }

    fn print(&self) {
        for warning in &self.faulty {
            outln!("warning: {warning}");
        }
        for fault in &self.useless {
            outln!("{fault}");
        }
        for (id, counts) in &self.counts {
            outln!(
                "list.{id}: {} recipients, {} faulty lines",
                counts["recipients"],
                counts["faulty_lines"]
            );
        }
    }
}
