//! A report as people read it: a page, and a mail as HTML and text. The charts are inline SVG: bars with their values
//! written beside them and shapes that differ without colour, and the same in a table below.

use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::grade::seconds;
use super::report::{AccountResult, Earlier, Outcome, Report};
use crate::clock::Timestamp;
use crate::config::Municipality;
use crate::confirm::words;
use crate::model::{Injection, Lang, Level, Rendering, RunState, Unit, Variant};

const HTML: &str = include_str!("../../templates/drill/report.html");
const TEXT: &str = include_str!("../../templates/drill/report.txt");

/// Width of the charts' bars at their longest.
const LONGEST: u64 = 300;

/// What a drill's level is called.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Tabletop => "skrivbordsövning",
        Level::Reach => "nåbarhetsövning",
        Level::Rehearse => "genrep på övningsväggen",
        Level::Backstage => "övning bakom scenen",
    }
}

/// One line that says it all on a locked phone.
pub fn subject(report: &Report) -> String {
    let verdict = match (report.state, report.passed()) {
        (RunState::Missed, _) => "utebliven",
        (RunState::Suspended, _) => "avbruten",
        (RunState::Failed, _) => "inte genomförd",
        (RunState::Running, _) => "pågår",
        (RunState::Finished, true) => "godkänd",
        (RunState::Finished, false) => "underkänd",
    };
    let run = &report.run;
    let figures = match report.state {
        RunState::Finished | RunState::Suspended if report.all > 0 => {
            format!(", {} av {} konton", report.out, report.all)
        }
        RunState::Finished
        | RunState::Suspended
        | RunState::Missed
        | RunState::Failed
        | RunState::Running => String::new(),
    };
    format!("ÖVNING: {run} {verdict}{figures}")
}

/// The first sentences.
fn verdict(report: &Report, zone: &str) -> String {
    let done = match report.level {
        Level::Tabletop => "gick att skriva för",
        Level::Reach => "svarade",
        Level::Rehearse => "kom ut",
        Level::Backstage => "tog emot bakom scenen",
    };
    let figures = format!("{} av {} konton {done}.", report.out, report.all);
    match report.state {
        RunState::Running => "Övningen pågår.".to_owned(),
        RunState::Missed => match (report.missed.len() + report.missed_more, report.missed.last()) {
            (1, Some(at)) => format!(
                "Övningen skulle ha gått {} men blev inte av: Vårdkase var inte igång då. Den körs inte i efterhand.",
                words::moment(*at, zone)
            ),
            (many, _) => format!(
                "{many} planerade övningar blev inte av: Vårdkase var inte igång då. De körs inte i efterhand."
            ),
        },
        RunState::Suspended => {
            let so_far = if report.all > 0 {
                format!(" Innan dess: {figures}")
            } else {
                String::new()
            };
            format!("Övningen avbröts, för en skarp varning går före.{so_far}")
        }
        RunState::Failed => "Övningen kunde inte genomföras.".to_owned(),
        RunState::Finished if report.passed() => format!("Övningen är godkänd. {figures}"),
        RunState::Finished => format!("Övningen är underkänd. {figures}"),
    }
}

/// The page.
///
/// # Errors
/// If the template is broken; the text says how.
pub fn html(report: &Report, municipality: &Municipality) -> Result<String, String> {
    render("report.html", HTML, report, municipality)
}

/// The mail that tells of it.
///
/// # Errors
/// If a template is broken; the text says how.
pub fn mail(report: &Report, municipality: &Municipality) -> Result<Rendering, String> {
    let text = render("report.txt", TEXT, report, municipality)?;
    let text = crate::compose::layout::tidy(&text);
    Ok(Rendering {
        headline: subject(report),
        count: text.chars().count(),
        text,
        html: Some(html(report, municipality)?),
        link: municipality.site.clone(),
        languages: vec![Lang::Sv],
        variant: Variant::Long,
        limit: None,
        unit: Unit::Characters,
        picture: None,
    })
}

fn render(name: &str, source: &str, report: &Report, municipality: &Municipality) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| {
        let html = std::path::Path::new(name)
            .extension()
            .is_some_and(|e| e == "html");
        if html { AutoEscape::Html } else { AutoEscape::None }
    });
    environment
        .add_template(name, source)
        .and_then(|()| environment.get_template(name))
        .and_then(|template| template.render(values(report, municipality)))
        .map_err(|error| error.to_string())
}

fn values(report: &Report, municipality: &Municipality) -> Value {
    let zone = municipality.time_zone.as_str();
    let moment = |at: Option<Timestamp>| at.map(|at| words::moment(at, zone));
    let reached = match (report.state, report.level) {
        (RunState::Missed, _) => "Inget har skickats.",
        (_, Level::Reach) => "Inget har publicerats.",
        (RunState::Failed, _) | (_, Level::Tabletop | Level::Backstage) => "Allmänheten har inte sett något.",
        (_, Level::Rehearse) => "Allmänheten har inte sett något: allt gick till övningsväggen.",
    };
    let slowest = report.accounts.iter().filter_map(|one| one.after_ms).max();
    let accounts: Vec<Value> = report
        .accounts
        .iter()
        .enumerate()
        .map(|(n, one)| account(n, one, slowest.unwrap_or_default()))
        .collect();
    let trend = trend(report, zone);
    let faults: Vec<Value> = report
        .faults
        .iter()
        .map(|shown| {
            context! {
                what => fault(&shown.fault), on => shown.fault.on().as_str(), showed => shown.showed.as_str(),
                mark => if shown.coped { "KLARADE" } else { "KLARADE INTE" },
            }
        })
        .collect();
    let rules: Vec<Value> = report
        .grade
        .iter()
        .flat_map(|grade| &grade.rules)
        .map(|ruled| {
            context! {
                wanted => ruled.wanted.as_str(), got => ruled.got.as_str(),
                mark => if ruled.kept { "UPPFYLLT" } else { "INTE UPPFYLLT" },
                decided => report.grade.as_ref().is_some_and(|grade| grade.decided == ruled.rule),
            }
        })
        .collect();
    let confirmation = report.confirmation.as_ref().map(|mails| match mails.after_ms {
        Some(ms) => format!("{} mejl, det sista efter {}", mails.sent, seconds(ms)),
        None => format!("{} av {} mejl", mails.sent, mails.mails),
    });
    let approvals = match (report.approvals.asked, report.approvals.given) {
        (0, _) => "inget krävdes".to_owned(),
        (asked, given) => format!("{given} av {asked}"),
    };
    let missed: Vec<String> = report.missed.iter().map(|at| words::moment(*at, zone)).collect();
    context! {
        subject => subject(report),
        verdict => verdict(report, zone),
        reached => reached,
        run => report.run.as_str(),
        drill => report.drill.as_str(),
        level => level(report.level),
        planned => moment(report.planned_at),
        started => moment(report.started_at),
        finished => moment(report.finished_at),
        actor => report.actor.as_str(),
        broadcast => report.broadcast.as_ref().map(ToString::to_string),
        first => report.first_ms.map(seconds),
        last => report.last_ms.map(seconds),
        misses => report.misses,
        all => report.all,
        approvals => approvals,
        confirmation => confirmation,
        notes => report.notes.clone(),
        missed => missed,
        missed_more => report.missed_more,
        accounts => accounts,
        accounts_height => report.accounts.len() * 28 + 8,
        faults => faults,
        rules => rules,
        trend_height => trend.len() * 28 + 8,
        has_trend => trend.len() > 1,
        trend => trend,
        sender => municipality.name.as_str(),
        site => municipality.site.as_str(),
    }
}

/// What was made to fail.
fn fault(fault: &Injection) -> &'static str {
    match fault {
        Injection::Dead(_) => "tjänsten svarar inte",
        Injection::TokenExpired(_) => "inloggningen har gått ut",
        Injection::RelayDown(_) => "mejlservern är nere",
    }
}

fn account(n: usize, one: &AccountResult, slowest: u64) -> Value {
    let (mark, word) = match one.outcome {
        Outcome::Done => ("KLART", "gick"),
        Outcome::Covered => ("RESERV", "reservkontot tog över"),
        Outcome::Missed => ("MISSAT", "gick inte"),
        Outcome::Stopped => ("STOPPAT", "hann inte prövas"),
        Outcome::ByHand => ("FÖR HAND", "görs av en person, prövas inte"),
        Outcome::NotPossible => ("INTE MÖJLIGT", "kanalen har inget att pröva på den här nivån"),
    };
    let took = one.after_ms.map(seconds);
    let recipients = one
        .recipients
        .map(|(out, all)| format!("{out} av {all} mottagare"));
    context! {
        y => n * 28 + 4,
        width => bar(one.after_ms, slowest),
        solid => matches!(one.outcome, Outcome::Done),
        label => took.clone().map_or_else(|| mark.to_owned(), |took| if one.outcome == Outcome::Done {
            took
        } else {
            format!("{took} {mark}")
        }),
        account => one.account.as_str(),
        short => short(one.account.as_str()),
        channel => one.channel.as_str(),
        mark, word,
        took => took,
        attempts => one.attempts,
        recipients => recipients,
        covered_by => one.covered_by.as_ref().map(ToString::to_string),
        stands_in_for => one.stands_in_for.as_ref().map(ToString::to_string),
        text => one.text.as_deref(),
    }
}

/// At least a line, so that a fast one is seen.
fn bar(ms: Option<u64>, slowest: u64) -> u64 {
    ms.map_or(0, |ms| {
        (ms * LONGEST).checked_div(slowest).unwrap_or(LONGEST).max(2)
    })
}

/// As much of a name as the chart has room for.
fn short(name: &str) -> String {
    if name.chars().count() <= 22 {
        return name.to_owned();
    }
    format!("{}…", name.chars().take(21).collect::<String>())
}

/// This run and those before it, oldest first.
fn trend(report: &Report, zone: &str) -> Vec<Value> {
    let own = report
        .started_at
        .or(report.planned_at)
        .map(|at| report.earlier(at));
    let runs: Vec<Earlier> = report.before.iter().rev().cloned().chain(own).collect();
    let slowest = runs
        .iter()
        .filter_map(|run| run.last_ms)
        .max()
        .unwrap_or_default();
    runs.iter()
        .enumerate()
        .map(|(n, run)| {
            let grade = match (run.passed, run.state) {
                (Some(true), _) => "godkänd",
                (Some(false), _) => "underkänd",
                (None, RunState::Missed) => "utebliven",
                (None, RunState::Suspended) => "avbruten",
                (None, RunState::Failed | RunState::Finished | RunState::Running) => "inte genomförd",
            };
            let last = run.last_ms.map(seconds);
            context! {
                y => n * 28 + 4,
                width => bar(run.last_ms, slowest),
                solid => run.passed == Some(true),
                label => last.as_ref().map_or_else(|| grade.to_owned(), |last| format!("{last} {grade}")),
                day => day(run.at, zone),
                run => run.run.as_str(),
                level => level(run.level),
                grade => grade,
                last => last,
                out => run.out,
                all => run.all,
            }
        })
        .collect()
}

/// `2026-11-23` in the zone.
fn day(at: Timestamp, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    at.to_zoned_datetime(zone).date().to_string()
}

/// What the public reads of drills that are to come: a fragment for the municipality's own pages.
///
/// # Errors
/// If the template is broken; the text says how.
pub fn notices(upcoming: &[(Timestamp, String)], municipality: &Municipality) -> Result<String, String> {
    const NOTICES: &str = include_str!("../../templates/drill/notices.html");
    let zone = municipality.time_zone.as_str();
    let rows: Vec<Value> = upcoming
        .iter()
        .map(|(at, text)| {
            context! { at => at.to_string(), when => words::moment(*at, zone), text => text.as_str() }
        })
        .collect();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .add_template("notices.html", NOTICES)
        .and_then(|()| environment.get_template("notices.html"))
        .and_then(|template| template.render(context! { rows => rows, sender => municipality.name.as_str() }))
        .map_err(|error| error.to_string())
}
