//! `drill`: begin one, list them, read a report, see how they have gone.

use std::path::Path;
use std::time::Duration;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::drills::{DrillRequest, DrillView, RunView};
use crate::drill::grade::seconds;
use crate::drill::report::{Earlier, Outcome as Came, Report};
use crate::model::{Level, RunState};

/// How often a run that is under way is asked after.
const ASK: Duration = Duration::from_millis(200);

/// What to do with drills.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Begin a drill now, and wait for its grade.
    Run(RunArgs),
    /// List the drills: when each is due next, and how its last run went.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the report of a run.
    Report(ReportArgs),
    /// Show how the latest runs went, oldest first.
    Trend(TrendArgs),
}

/// Arguments of `drill run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The drill: the name in `[drill.<id>]`.
    id: String,
    /// How far it goes: tabletop, reach, rehearse or backstage. Default: as configured.
    #[arg(long)]
    level: Option<Level>,
    /// Do not wait for its end.
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `drill report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The run (manadsovning.3), or a drill for its latest run.
    run: String,
    /// Print the page.
    #[arg(long, conflicts_with = "json")]
    html: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `drill trend`.
#[derive(Debug, clap::Args)]
pub struct TrendArgs {
    /// The drill; all of them if not given.
    id: Option<String>,
    /// How many runs at most.
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `drill …`. `run` and `report` end with 0 if the run passed and with 3 if not.
pub async fn run(config: &Path, command: Command) -> Outcome {
    match command {
        Command::Run(args) => begin(config, &args).await,
        Command::List { json } => list(config, json).await,
        Command::Report(args) => report(config, &args).await,
        Command::Trend(args) => trend(config, &args).await,
    }
}

async fn begin(config: &Path, args: &RunArgs) -> Outcome {
    let client = Client::of(config)?;
    let id = segment(&args.id)?;
    let request = DrillRequest { level: args.level };
    let mut run: RunView = client
        .post(&format!("/api/v1/drills/{id}/runs"), &request)
        .await?;
    if args.no_wait {
        if args.json {
            super::print_json(&run)?;
        } else {
            outln!("{} begins; see `vardkase drill report {}`", run.run, run.run);
        }
        return Ok(Exit::Ok);
    }
    if !args.json {
        outln!("{} · {} · under way …", run.run, run.level);
    }
    while run.state == RunState::Running {
        tokio::time::sleep(ASK).await;
        run = client
            .get_again(&format!("/api/v1/drill-runs/{}", run.run))
            .await?;
    }
    if args.json {
        super::print_json(&run)?;
    } else {
        show(&run);
    }
    Ok(exit_of(&run))
}

async fn list(config: &Path, json: bool) -> Outcome {
    let client = Client::of(config)?;
    let drills: Vec<DrillView> = client.get("/api/v1/drills").await?;
    if json {
        super::print_json(&drills)?;
        return Ok(Exit::Ok);
    }
    if drills.is_empty() {
        outln!("there is no [drill.<id>] in the configuration");
    }
    drills.iter().for_each(line);
    Ok(Exit::Ok)
}

/// A drill in a line.
pub fn line(drill: &DrillView) {
    let next = drill
        .next
        .map_or_else(|| "by hand".to_owned(), |next| next.to_string());
    let last = drill.last.as_ref().map_or_else(
        || "never run".to_owned(),
        |run| format!("{} {}", run.run, word(run.state, run.passed)),
    );
    outln!(
        "{:<20} {:<9} next {:<24} last {last}",
        drill.drill,
        drill.level,
        next
    );
}

async fn report(config: &Path, args: &ReportArgs) -> Outcome {
    let client = Client::of(config)?;
    let path = format!("/api/v1/drill-runs/{}", segment(&args.run)?);
    let run: RunView = client.get(&path).await?;
    if args.html {
        let page = client
            .bytes(&format!("/api/v1/drill-runs/{}/page", run.run))
            .await?;
        outln!("{}", String::from_utf8_lossy(&page).trim_end());
    } else if args.json {
        super::print_json(&run)?;
    } else {
        show(&run);
    }
    Ok(exit_of(&run))
}

async fn trend(config: &Path, args: &TrendArgs) -> Outcome {
    let client = Client::of(config)?;
    let mut path = format!("/api/v1/drill-runs?limit={}", args.limit);
    if let Some(id) = &args.id {
        path.push_str("&drill=");
        path.push_str(segment(id)?);
    }
    let mut runs: Vec<RunView> = client.get(&path).await?;
    runs.reverse();
    if args.json {
        super::print_json(&runs)?;
        return Ok(Exit::Ok);
    }
    for run in &runs {
        let at = run.started_at.or(run.planned_at);
        outln!(
            "{:<24} {:<20} {:<9} {:<10} {:>4}/{:<4} first {:>8} last {:>8}",
            at.map(|at| at.to_string()).unwrap_or_default(),
            run.run,
            run.level,
            word(run.state, run.passed),
            run.out,
            run.all,
            run.first_ms.map_or_else(|| "-".to_owned(), seconds),
            run.last_ms.map_or_else(|| "-".to_owned(), seconds),
        );
    }
    if runs.is_empty() {
        outln!("no run yet");
    }
    Ok(Exit::Ok)
}

/// A part of a path: what is no id of ours would change the path.
fn segment(id: &str) -> Result<&str, Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !id.is_empty() && id.chars().all(fits) {
        return Ok(id);
    }
    Err(Failure::new(
        Exit::Usage,
        format!("{id:?} is neither a drill nor a run; `vardkase drill list` shows them"),
    ))
}

fn exit_of(run: &RunView) -> Exit {
    if run.passed == Some(true) {
        Exit::Ok
    } else {
        Exit::Undelivered
    }
}

fn word(state: RunState, passed: Option<bool>) -> &'static str {
    match (state, passed) {
        (RunState::Finished, Some(true)) => "passed",
        (RunState::Finished, _) => "not passed",
        (other, _) => other.as_str(),
    }
}

fn show(run: &RunView) {
    outln!("{} · {} · {}", run.run, run.level, word(run.state, run.passed));
    let Some(report) = &run.report else {
        outln!("still under way");
        return;
    };
    if report.all > 0 {
        outln!(
            "{} of {} accounts · first {} · last {}",
            report.out,
            report.all,
            report.first_ms.map_or_else(|| "-".to_owned(), seconds),
            report.last_ms.map_or_else(|| "-".to_owned(), seconds),
        );
    }
    body(report);
    for mail in &run.mails {
        let how = match mail.sent {
            Some(true) => "told",
            Some(false) => "not told",
            None => "is being told",
        };
        let why = mail.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
        outln!("{} {how}{why}", mail.recipient);
    }
}

fn body(report: &Report) {
    for note in &report.notes {
        outln!("! {note}");
    }
    for at in &report.missed {
        outln!("missed: {at}");
    }
    if report.missed_more > 0 {
        outln!("missed: {} more before these", report.missed_more);
    }
    for one in &report.accounts {
        let took = one
            .after_ms
            .map(|ms| format!(" after {}", seconds(ms)))
            .unwrap_or_default();
        let by = match (one.outcome, &one.covered_by) {
            (Came::Covered, Some(other)) => format!(" by {other}"),
            _ => String::new(),
        };
        let text = one
            .text
            .as_ref()
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        outln!("{:<24} {}{by}{took}{text}", one.account, one.outcome);
    }
    for shown in &report.faults {
        let coped = if shown.coped { "coped" } else { "did not cope" };
        outln!("fault on {}: {coped}. {}", shown.fault.on(), shown.showed);
    }
    if let Some(grade) = &report.grade {
        for rule in &grade.rules {
            let kept = if rule.kept { "kept" } else { "BROKEN" };
            let decided = if rule.rule == grade.decided {
                " (decided)"
            } else {
                ""
            };
            outln!("{:<18} {kept}{decided}: {}; {}", rule.rule, rule.wanted, rule.got);
        }
    }
    if !report.before.is_empty() {
        outln!(
            "before: {}",
            report.before.iter().map(brief).collect::<Vec<_>>().join(", ")
        );
    }
}

fn brief(earlier: &Earlier) -> String {
    format!("{} {}", earlier.run, word(earlier.state, earlier.passed))
}
