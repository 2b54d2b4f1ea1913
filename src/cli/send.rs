//! `send`: publish a prepared message, and watch it land.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;

use super::client::Client;
use super::table::LiveTable;
use super::{Exit, Failure, Outcome};
use crate::app::request::{Preview, SendRequest, Sent};
use crate::model::{BroadcastReport, BroadcastState, Kind, Lang, MessageId, Mode};

/// What to publish: shared by `send` and `preview`.
#[derive(Debug, Clone, clap::Args)]
pub struct What {
    /// The prepared message: a file's name under templates/messages, without .toml.
    message: String,
    /// A value for a field of the message.
    #[arg(short = 'f', long = "field", value_name = "NAME=VALUE")]
    fields: Vec<String>,
    /// An account or a group; the message's own groups if not given.
    #[arg(long, value_name = "ACCOUNT|GROUP")]
    to: Vec<String>,
    /// Whom it is for: live, drill or test. The alert's mode, or live, if not given.
    #[arg(long)]
    mode: Option<Mode>,
    /// Languages, first one first, separated by commas; the municipality's if not given.
    #[arg(long, value_delimiter = ',', value_name = "sv,en")]
    lang: Vec<Lang>,
    /// The alert that it goes under.
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
    /// What it does to the alert: update, correction or all-clear.
    #[arg(long)]
    kind: Option<Kind>,
}

impl What {
    /// The request that the arguments mean.
    pub fn request(&self) -> Result<SendRequest, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        let mut fields = BTreeMap::new();
        for pair in &self.fields {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| usage(format!("-f {pair}: expected NAME=VALUE")))?;
            if fields.insert(name.trim().to_owned(), value.to_owned()).is_some() {
                return Err(usage(format!("-f {name}: given twice")));
            }
        }
        Ok(SendRequest {
            message: self
                .message
                .parse::<MessageId>()
                .map_err(|e| usage(e.to_string()))?,
            fields,
            to: self.to.clone(),
            mode: self.mode,
            languages: self.lang.clone(),
            alert: self
                .alert
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(|e| usage(format!("--alert: {e}")))?,
            kind: self.kind,
        })
    }
}

/// Arguments of `send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Do not ask before a live message goes out.
    #[arg(long)]
    yes: bool,
    /// Stay until nothing is open any more, and end with the broadcast's exit code.
    #[arg(long)]
    wait: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Makes repeating this command harmless: the same key with the same message is sent once.
    #[arg(long, value_name = "K")]
    idempotency_key: Option<String>,
}

/// Runs `send`.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    let request = args.what.request()?;
    let client = Client::of(config)?;
    if !args.yes {
        let preview: Preview = client.post("/api/v1/previews", &request).await?;
        if preview.mode == Mode::Live && !preview.blocked && !confirmed(&preview)? {
            return Err(Failure::new(Exit::Error, "nothing was sent"));
        }
    }
    let key = args
        .idempotency_key
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let sent: Sent = client.post_once("/api/v1/broadcasts", &request, &key).await?;
    if !sent.findings.is_empty() {
        eprintln!("{}", super::preview::findings_text(&sent.findings));
    }
    finish(&client, &sent, args.wait, args.json).await
}

/// Shows what became of an accepted broadcast; waits for it if asked to.
pub async fn finish(client: &Client, sent: &Sent, wait: bool, json: bool) -> Outcome {
    if !json {
        let again = if sent.repeated {
            " (accepted before with the same key)"
        } else {
            ""
        };
        outln!(
            "accepted: alert {}, broadcast {}{again}",
            sent.alert,
            sent.broadcast
        );
    }
    let path = format!("/api/v1/broadcasts/{}", sent.broadcast);
    if wait {
        let mut table = (!json).then(LiveTable::new);
        // An event stream that breaks off is taken up again as long as the daemon answers.
        loop {
            let mut finished = false;
            client
                .watch(&format!("{path}/events"), |report: BroadcastReport| {
                    finished = report.finished_at.is_some();
                    if let Some(table) = &mut table {
                        table.show(&report);
                    }
                })
                .await?;
            if finished {
                break;
            }
        }
    }
    let report: BroadcastReport = client.get(&path).await?;
    if json {
        super::print_json(&report)?;
    } else if wait {
        super::table::summary(&report);
    }
    Ok(if wait { exit_of(report.state) } else { Exit::Ok })
}

/// The exit code of a broadcast in this state.
pub fn exit_of(state: BroadcastState) -> Exit {
    match state {
        BroadcastState::Completed => Exit::Ok,
        BroadcastState::AwaitingApproval => Exit::AwaitsApproval,
        BroadcastState::Partial | BroadcastState::Failed | BroadcastState::Running => Exit::Undelivered,
    }
}

/// Shows in short what would go live, and asks. Without a terminal nobody can answer: `--yes` is needed then.
fn confirmed(preview: &Preview) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "a live message needs --yes when nobody can be asked; see it first with `vardkase preview`",
        ));
    }
    let recipients: usize = preview.accounts.iter().filter_map(|a| a.recipients).sum();
    eprintln!("{}", super::preview::findings_text(&preview.findings));
    eprintln!("LIVE, {}: {}", preview.kind, preview.headline);
    eprintln!(
        "{} accounts{}: {}",
        preview.accounts.len(),
        if recipients > 0 {
            format!(", {recipients} list recipients")
        } else {
            String::new()
        },
        preview
            .accounts
            .iter()
            .map(|a| a.account.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    eprint!(
        "Type the number of accounts ({}) to send it to the public: ",
        preview.accounts.len()
    );
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == preview.accounts.len().to_string())
}
