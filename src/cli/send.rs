//! `send`: publish a prepared message, and watch it land.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ask::{ask, is_anyone_there};
use super::client::{AGAIN, Client, RESTART};
use super::table::LiveTable;
use super::{Exit, Failure, Outcome};
use crate::app::request::{AccountPreview, PictureRequest, Preview, SendRequest, Sent};
use crate::compose::picture;
use crate::model::{
    BroadcastId, BroadcastReport, BroadcastState, ConfirmationState, Kind, Lang, MessageId, Mode,
};

/// How long a confirmation is waited for after the broadcast has finished: enough for two relays that say nothing and a
/// third that answers.
const CONFIRMATION: Duration = Duration::from_secs(30);
/// How often it is asked for.
const SOON: Duration = Duration::from_millis(50);

/// What to publish: shared by `send` and `preview`.
#[derive(Debug, Clone, clap::Args)]
pub struct What {
    /// The prepared message: a file's name under templates/messages, without .toml.
    message: String,
    #[command(flatten)]
    fields: Fields,
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
    #[command(flatten)]
    picture: WithPicture,
    /// Go on although a check stops it, with the reason for the journal: duplicate, storm or picture-credit.
    #[arg(long = "override", value_name = "CHECK=REASON")]
    overrides: Vec<String>,
}

/// What is filled into a message.
#[derive(Debug, Clone, clap::Args)]
pub struct Fields {
    /// A value for a field of the message.
    #[arg(short = 'f', long = "field", value_name = "NAME=VALUE")]
    fields: Vec<String>,
}

impl Fields {
    /// The values by name.
    pub fn read(&self) -> Result<BTreeMap<String, String>, Failure> {
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
        Ok(fields)
    }
}

/// A picture that goes with a message.
#[derive(Debug, Clone, clap::Args)]
pub struct WithPicture {
    /// A JPEG or PNG that goes with it, at most 10 MB. Where and with what it was taken is removed from it.
    #[arg(long, value_name = "FILE", requires = "alt")]
    picture: Option<PathBuf>,
    /// What the picture shows, in words, for those who cannot see it.
    #[arg(long, value_name = "TEXT", requires = "picture")]
    alt: Option<String>,
    /// Who made the picture and by which right it is used, for the record: "Foto: Eva Ek, egen bild".
    #[arg(long, value_name = "TEXT", requires = "picture")]
    credit: Option<String>,
}

impl WithPicture {
    /// The picture as a request brings it. What is wrong with it is told before anybody is asked.
    pub fn request(&self) -> Result<Option<PictureRequest>, Failure> {
        let (Some(file), Some(alt)) = (&self.picture, &self.alt) else {
            return Ok(None);
        };
        let wrong = |why: String| Failure::new(Exit::Usage, format!("--picture {}: {why}", file.display()));
        let cannot = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
        picture::description(alt).map_err(|why| Failure::new(Exit::Usage, format!("--alt: {why}")))?;
        let credit = self.credit.as_deref().map(picture::credit).transpose();
        let credit = credit.map_err(|why| Failure::new(Exit::Usage, format!("--credit: {why}")))?;
        let opened = std::fs::File::open(file).map_err(cannot)?;
        let mut bytes = Vec::new();
        let most = u64::try_from(picture::MAX_FILE).unwrap_or(u64::MAX);
        opened.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
        picture::header(&bytes).map_err(wrong)?;
        Ok(Some(PictureRequest {
            file: STANDARD.encode(&bytes),
            alt: alt.clone(),
            credit: credit.map(str::to_owned),
        }))
    }
}

impl What {
    /// The request that the arguments mean.
    pub fn request(&self) -> Result<SendRequest, Failure> {
        let usage = |text: String| Failure::new(Exit::Usage, text);
        Ok(SendRequest {
            message: self
                .message
                .parse::<MessageId>()
                .map_err(|e| usage(e.to_string()))?,
            fields: self.fields.read()?,
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
            picture: self.picture.request()?,
            overrides: overrides(&self.overrides)?,
        })
    }
}

/// The reasons by check.
fn overrides(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let mut all = BTreeMap::new();
    for pair in given {
        let (check, reason) = pair
            .split_once('=')
            .ok_or_else(|| usage(format!("--override {pair}: expected CHECK=REASON")))?;
        if all
            .insert(check.trim().to_owned(), reason.trim().to_owned())
            .is_some()
        {
            return Err(usage(format!("--override {check}: given twice")));
        }
    }
    Ok(all)
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
    permitted(&client, &request, args.yes).await?;
    let key = key_of(args.idempotency_key.as_ref());
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
    let report = if wait {
        let mut table = (!json).then(LiveTable::new);
        let report = wait_for(client, &sent.broadcast, |report| {
            if let Some(table) = &mut table {
                table.show(report);
            }
        })
        .await?;
        if let Some(table) = &mut table {
            table.end(&report);
        }
        confirmed(client, report).await
    } else {
        let report = client.get_again(&path).await;
        report.map_err(|failure| on_disk(&sent.broadcast, &failure))?
    };
    if json {
        super::print_json(&report)?;
    } else if wait {
        super::table::summary(&report);
    }
    Ok(if wait { exit_after_wait(&report) } else { Exit::Ok })
}

/// The exit code of a broadcast that stands so. One that nobody could be told of is not done.
pub fn exit_of(report: &BroadcastReport) -> Exit {
    match report.state {
        BroadcastState::Completed => match report.confirmation.state {
            ConfirmationState::Failing | ConfirmationState::Failed => Exit::Undelivered,
            ConfirmationState::None
            | ConfirmationState::Waiting
            | ConfirmationState::Sent
            | ConfirmationState::Partial => Exit::Ok,
        },
        BroadcastState::AwaitingApproval => Exit::AwaitsApproval,
        BroadcastState::Partial | BroadcastState::Failed | BroadcastState::Running => Exit::Undelivered,
    }
}

/// The same after [`confirmed`]: what no relay has taken by then counts as not delivered.
pub fn exit_after_wait(report: &BroadcastReport) -> Exit {
    match (exit_of(report), report.confirmation.state) {
        (Exit::Ok, ConfirmationState::Waiting) => Exit::Undelivered,
        (exit, _) => exit,
    }
}

/// The report of a finished broadcast once its confirmation is out, or every relay has been tried.
///
/// The broadcast has come to rest: if the daemon does not answer any more, what is known stands.
pub async fn confirmed(client: &Client, report: BroadcastReport) -> BroadcastReport {
    let path = format!("/api/v1/broadcasts/{}", report.broadcast);
    let began = Instant::now();
    let mut report = report;
    while report.confirmation.state == ConfirmationState::Waiting && began.elapsed() < CONFIRMATION {
        tokio::time::sleep(SOON).await;
        match client.get_again(&path).await {
            Ok(later) => report = later,
            Err(_) => break,
        }
    }
    report
}

/// Follows a broadcast until nothing of it is open any more, and gives its last report.
pub async fn wait_for(
    client: &Client,
    broadcast: &BroadcastId,
    mut each: impl FnMut(&BroadcastReport),
) -> Result<BroadcastReport, Failure> {
    let path = format!("/api/v1/broadcasts/{broadcast}");
    // It is on disk and goes on when the daemon runs again: an event stream that breaks off is taken up again.
    let mut silent: Option<Instant> = None;
    loop {
        let (mut heard, mut finished) = (false, false);
        let watched = client
            .watch(&format!("{path}/events"), |report: BroadcastReport| {
                heard = true;
                finished = report.finished_at.is_some();
                each(&report);
            })
            .await;
        if finished {
            return client.get_again(&path).await;
        }
        if heard {
            silent = None;
        }
        match watched {
            Ok(()) => {}
            Err(failure) if failure.exit != Exit::NoDaemon => return Err(failure),
            Err(failure) => {
                if silent.get_or_insert_with(Instant::now).elapsed() >= RESTART {
                    return Err(on_disk(broadcast, &failure));
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why it is not known how an accepted broadcast went.
fn on_disk(broadcast: &BroadcastId, failure: &Failure) -> Failure {
    Failure::new(
        failure.exit,
        format!(
            "{}\nBroadcast {broadcast} was accepted and goes on when the daemon runs again: do not send it once more, see \
             `vardkase status {broadcast}`",
            failure.text
        ),
    )
}

/// The caller's key, or a fresh one.
pub fn key_of(given: Option<&String>) -> String {
    given.cloned().unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

/// Returns when the command may go: it is no live message, or a person who saw what it does says so. Without a terminal
/// nobody can answer: `--yes` is needed then.
pub async fn permitted(client: &Client, request: &SendRequest, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let preview: Preview = client.post("/api/v1/previews", request).await?;
    // What is blocked is stopped by the command itself, with every finding.
    if preview.mode != Mode::Live || preview.blocked {
        return Ok(());
    }
    if !is_anyone_there() {
        return Err(Failure::new(
            Exit::Usage,
            "a live message needs --yes when nobody can be asked; see it first with `vardkase preview`",
        ));
    }
    show(&preview);
    let many = addressed(&preview).count().to_string();
    let question = format!("Type the number of accounts ({many}) to send it to the public: ");
    if ask(&question).await == Some(many) {
        Ok(())
    } else {
        Err(Failure::new(Exit::Error, "nothing was sent"))
    }
}

/// The accounts that get it whatever happens, without those that stand in.
fn addressed(preview: &Preview) -> impl Iterator<Item = &AccountPreview> {
    let accounts = preview.accounts.iter();
    accounts.filter(|account| account.stands_in_for.is_none())
}

/// Shows in short what would go live.
fn show(preview: &Preview) {
    let findings: Vec<_> = preview
        .findings
        .iter()
        .chain(preview.accounts.iter().flat_map(|account| &account.findings))
        .cloned()
        .collect();
    if !findings.is_empty() {
        eprintln!("{}", super::preview::findings_text(&findings));
    }
    eprintln!("LIVE, {}: {}", preview.kind, preview.headline);
    let recipients: usize = addressed(preview).filter_map(|a| a.recipients).sum();
    let lists = if recipients > 0 {
        format!(", {recipients} list recipients")
    } else {
        String::new()
    };
    let names: Vec<&str> = addressed(preview).map(|a| a.account.as_str()).collect();
    eprintln!("{} accounts{lists}: {}", names.len(), names.join(", "));
    if preview.takes_ms >= super::preview::WORTH_A_WORD {
        eprintln!("It takes {}.", super::preview::long(preview.takes_ms));
    }
}
