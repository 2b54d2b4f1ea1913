//! `preview`: what would be published on each account, to the letter. Works without a daemon.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::client::Client;
use super::send::What;
use super::{Exit, Outcome};
use crate::app::pictures::PicturePreview;
use crate::app::plan;
use crate::app::request::{Preview, SendRequest};
use crate::app::steer::UNREACHABLE;
use crate::check::{Finding, Level};
use crate::clock::{Clock, SystemClock};
use crate::model::Cost;

/// How long the daemon may take to say what it knows.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `preview`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Adds what only the daemon knows: which accounts did not answer when they were last looked at, and who takes over then.
/// Where none runs, nobody has looked.
async fn add_known(path: &Path, request: &SendRequest, preview: &mut Preview) {
    let Ok(client) = Client::of(path) else { return };
    let asked = client.post::<Preview>("/api/v1/previews", request);
    let Ok(Ok(theirs)) = tokio::time::timeout(PATIENCE, asked).await else {
        return;
    };
    for account in &mut preview.accounts {
        let of_it = theirs
            .accounts
            .iter()
            .find(|other| other.account == account.account);
        let known = of_it.into_iter().flat_map(|other| &other.findings);
        account
            .findings
            .extend(known.filter(|finding| finding.check == UNREACHABLE).cloned());
    }
}

/// Runs `preview`. Ends with 4 if a finding would stop the command.
pub async fn run(path: &Path, args: &Args) -> Outcome {
    let request = args.what.request()?;
    let config = super::load(path)?;
    let clock = std::sync::Arc::new(SystemClock);
    let transport = crate::channel::Transport::new(clock, config.checks.link_timeout)
        .map_err(|text| super::Failure::new(Exit::Error, text))?;
    let draft = plan::draft(
        &config,
        &request,
        &BTreeSet::new(),
        request.mode,
        SystemClock.now(),
        &transport,
    )
    .await?;
    let surveys = draft
        .everyone(&config)
        .into_iter()
        .filter_map(|account| Some((account.id.clone(), crate::app::survey(&config, account)?.into())))
        .collect();
    let mut preview = plan::preview(&config, &request, draft, &surveys);
    add_known(path, &request, &mut preview).await;
    if args.json {
        super::print_json(&preview)?;
    } else {
        let link = preview.link.as_ref().map(ToString::to_string).unwrap_or_default();
        outln!(
            "{} · {} · {} · {}",
            preview.message,
            preview.kind,
            preview.mode,
            preview.headline
        );
        outln!("{link} · valid until {}", preview.valid_until);
        for account in &preview.accounts {
            let recipients = account
                .recipients
                .map(|n| format!(", {n} recipients"))
                .unwrap_or_default();
            let limit = account.limit.map_or_else(
                || format!("{}, no limit", account.unit),
                |limit| format!("of {limit} {}", account.unit),
            );
            let count = account.count.map(|n| n.to_string()).unwrap_or_default();
            let variant = account.variant.map(|v| v.to_string()).unwrap_or_default();
            outln!();
            outln!(
                "── {} ({}{recipients}, {})",
                account.account,
                account.channel,
                account.proof
            );
            if let Some(primary) = &account.stands_in_for {
                let also = account.also_for.iter().map(|id| format!(" or {id}"));
                let also: String = also.collect();
                outln!("   stands in for {primary}{also}: only if that one does not get out");
            }
            outln!("   {variant}, {count} {limit}");
            if let Some(cost) = &account.cost {
                outln!("   {}", cost_line(cost));
            }
            if account.takes_ms >= WORTH_A_WORD {
                outln!("   takes {} under the account's limits", long(account.takes_ms));
            }
            if let Some(picture) = &account.picture {
                outln!("   {}", picture_line(picture));
            }
            let posts = account.parts.len();
            if posts > 1 {
                outln!("   a thread of {posts} posts");
            }
            for (n, post) in account.parts.iter().enumerate() {
                if n > 0 {
                    outln!("   ├──");
                }
                framed(post);
            }
            // One text alone needs no name.
            let is_alone = account.shown.len() == 1;
            for part in account.shown.iter().filter(|_| posts <= 1) {
                match part.text.contains('\n') || is_alone {
                    true if is_alone => framed(&part.text),
                    true => {
                        outln!("   {}:", part.part);
                        framed(&part.text);
                    }
                    false => outln!("   {}: {}", part.part, part.text),
                }
            }
            if let Some(text) = &account.alternative_text {
                outln!("   if the first stage does not get out:");
                framed(text);
            }
            for finding in &account.findings {
                outln!("   {}", line(finding));
            }
        }
        if preview.takes_ms >= WORTH_A_WORD {
            outln!("\nIn all it takes {}.", long(preview.takes_ms));
        }
        if !preview.findings.is_empty() {
            outln!("\n{}", findings_text(&preview.findings));
        }
    }
    Ok(if preview.blocked { Exit::Stopped } else { Exit::Ok })
}

/// A text of several lines with a line at its side.
fn framed(text: &str) {
    for line in text.lines() {
        outln!("   │ {line}");
    }
}

/// Shorter times are nothing to wait for, in milliseconds.
pub const WORTH_A_WORD: u64 = 1000;

/// A time in words, as it is at least.
pub fn long(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("at least {seconds} s"),
        (0, _) => format!("at least {minutes} min {seconds} s"),
        (..48, _) => format!("at least {hours} h {minutes} min"),
        _ => format!("at least {} days {} h", hours / 24, hours % 24),
    }
}

fn picture_line(picture: &PicturePreview) -> String {
    let (whose, picture) = match picture {
        PicturePreview::Command(picture) => ("picture", picture),
        PicturePreview::Message(picture) => ("the message's own picture", picture),
        PicturePreview::Card => {
            return "a card with the text as its picture: there is no post without one".to_owned();
        }
    };
    let credit = picture.credit.as_ref();
    let credit = credit.map(|credit| format!(" ({credit})")).unwrap_or_default();
    format!(
        "{whose}: {}, {}×{}, {} KiB: {}{credit}",
        picture.media_type,
        picture.width,
        picture.height,
        picture.size_bytes.div_ceil(1024),
        picture.alt.replace('\n', " ")
    )
}

fn cost_line(cost: &Cost) -> String {
    match (&cost.each, &cost.total) {
        (Some(each), Some(total)) => format!("{}; {each} a recipient, {total} in all", cost.counted),
        _ => format!("{}; the account names no price", cost.counted),
    }
}

fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Block => "STOP",
        Level::Warn => "OBS",
    };
    let account = finding
        .account
        .as_ref()
        .map(|a| format!("{a}: "))
        .unwrap_or_default();
    format!("{level} [{}] {account}{}", finding.check, finding.text)
}

/// Findings as lines for a person.
pub fn findings_text(findings: &[Finding]) -> String {
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}
