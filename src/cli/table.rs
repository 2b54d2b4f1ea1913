//! A broadcast on a terminal: one line per account, redrawn as it lands; plain lines when piped.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use owo_colors::OwoColorize;
use unicode_width::UnicodeWidthStr;

use crate::clock::Timestamp;
use crate::model::{BroadcastReport, DeliveryReport, RecipientsReport, State};

/// A table that follows a broadcast.
#[derive(Debug)]
pub struct LiveTable {
    terminal: bool,
    /// Lines of the last drawing.
    drawn: usize,
    /// What was last printed of each account, when piped.
    printed: BTreeMap<String, String>,
}

/// An account's line: on list channels, all its recipients together.
#[derive(Debug)]
struct Line {
    account: String,
    state: State,
    tally: Option<String>,
    seconds: Option<f64>,
    link: String,
}

impl LiveTable {
    /// A table for standard output.
    #[allow(
        clippy::new_without_default,
        reason = "it looks at the terminal, so it is not a plain value"
    )]
    pub fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            drawn: 0,
            printed: BTreeMap::new(),
        }
    }

    /// Draws the report; when piped, prints the lines that changed.
    pub fn show(&mut self, report: &BroadcastReport) {
        let lines = lines(report);
        let width = lines.iter().map(|l| l.account.width()).max().unwrap_or(0);
        let mut out = anstream::stdout().lock();
        if self.terminal && self.drawn > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.drawn).ok();
        }
        for line in &lines {
            let text = draw(line, width);
            if self.terminal {
                writeln!(out, "{text}").ok();
            } else {
                let key = format!("{} {:?} {:?}", line.state, line.tally, line.link);
                if self.printed.get(&line.account) != Some(&key) {
                    writeln!(out, "{text}").ok();
                    self.printed.insert(line.account.clone(), key);
                }
            }
        }
        self.drawn = lines.len();
        out.flush().ok();
    }
}

fn draw(line: &Line, width: usize) -> String {
    let pad = " ".repeat(width.saturating_sub(line.account.width()));
    let state = format!("{:<10}", line.tally.as_deref().unwrap_or(line.state.as_str()));
    let state = match line.state {
        State::Published | State::Edited | State::Retracted => state.green().to_string(),
        State::Queued | State::Sending => state,
        State::Unknown | State::Held | State::Manual => state.yellow().to_string(),
        State::Refused | State::Expired | State::Superseded | State::Cancelled => state.red().to_string(),
    };
    let seconds = line
        .seconds
        .map_or_else(|| "        ".to_owned(), |s| format!("{s:6.1} s"));
    format!("{}{pad}  {state}  {seconds}  {}", line.account, line.link)
        .trim_end()
        .to_owned()
}

fn lines(report: &BroadcastReport) -> Vec<Line> {
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&DeliveryReport>> = BTreeMap::new();
    for delivery in &report.deliveries {
        let account = delivery.account.as_str();
        groups.entry(account).or_insert_with(|| {
            order.push(account);
            Vec::new()
        });
        if let Some(group) = groups.get_mut(account) {
            group.push(delivery);
        }
    }
    for counted in &report.recipients {
        // None of its deliveries is made yet.
        let account = counted.account.as_str();
        if !groups.contains_key(account) && counted.standing().next().is_some() {
            order.push(account);
            groups.insert(account, Vec::new());
        }
    }
    order
        .iter()
        .filter_map(|account| {
            let counted = report.recipients.iter().find(|r| r.account.as_str() == *account);
            groups
                .get(account)
                .map(|group| line(account, group, counted, report.accepted_at))
        })
        .collect()
}

fn line(
    account: &str,
    group: &[&DeliveryReport],
    counted: Option<&RecipientsReport>,
    accepted_at: Timestamp,
) -> Line {
    let rest = |d: &&DeliveryReport| d.finished_at;
    let last = group.iter().filter_map(rest).max();
    let last = last.max(counted.and_then(|counted| counted.latest));
    let at_rest = counted.is_none_or(|counted| !counted.standing().any(State::is_open));
    let seconds = group
        .iter()
        .all(|d| d.finished_at.is_some())
        .then_some(last)
        .flatten()
        .filter(|_| at_rest)
        .map(|at| crate::clock::until(accepted_at, at).as_secs_f64());
    // The line of a list takes the state that most needs a look.
    let weight = |state: State| match state {
        State::Refused => 9,
        State::Held => 8,
        State::Unknown => 7,
        State::Manual => 6,
        State::Expired => 5,
        State::Queued => 4,
        State::Sending => 3,
        State::Superseded => 2,
        State::Cancelled => 1,
        State::Published | State::Edited | State::Retracted => 0,
    };
    let worst = group.iter().max_by_key(|d| weight(d.state));
    let shown = worst.map_or(State::Queued, |d| d.state);
    let state = counted
        .and_then(|counted| counted.standing().max_by_key(|state| weight(*state)))
        .unwrap_or(shown);
    let out = group.iter().filter(|d| d.state.got_out()).count() as u64;
    let (out, all) = counted.map_or((out, group.len() as u64), |r| (r.out(), r.all()));
    let tally = (counted.is_some() || group.len() > 1 || group.iter().any(|d| d.recipient.is_some()))
        .then(|| format!("{out}/{all} {state}"));
    let link = match worst {
        Some(d) if d.state.got_out() => d.url.clone().unwrap_or_default(),
        Some(d) => d.error.as_ref().map(ToString::to_string).unwrap_or_default(),
        None => counted
            .and_then(|counted| counted.error.as_ref())
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    Line {
        account: account.to_owned(),
        state,
        tally,
        seconds,
        link,
    }
}

/// Prints how it went in one line, and what a person must do.
pub fn summary(report: &BroadcastReport) {
    let (out, all) = report.out_of();
    outln!("{}: {out} of {all} published, {}", report.broadcast, report.state);
    for counted in &report.recipients {
        if let Some(left_out) = left_out(counted) {
            outln!("  {}: {left_out}", counted.account);
        }
    }
    for delivery in &report.deliveries {
        if delivery.state.needs_person()
            && let Some(advice) = crate::confirm::advice(&report.broadcast, delivery)
        {
            outln!("  {}: {advice}", delivery.account);
        }
    }
}

/// What of a list got nothing, and why; and how much of it is not shown.
fn left_out(counted: &RecipientsReport) -> Option<String> {
    let stopped = counted.stopped_as.map(|state| format!("stopped: {state}"));
    let counts = [
        (counted.suppressed, "suppressed"),
        (counted.repeated, "in the list twice"),
        (counted.unpaired, "not in the list of the account stood in for"),
        (counted.faulty_lines, "faulty lines"),
        (counted.stopped, stopped.as_deref().unwrap_or("stopped")),
        (counted.omitted, "not named in this report"),
    ];
    let mut said: Vec<String> = counts
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    said.extend(counted.error.iter().map(ToString::to_string));
    (!said.is_empty()).then(|| said.join(", "))
}
