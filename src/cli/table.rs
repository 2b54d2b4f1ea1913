//! A broadcast on a terminal: one line per account, redrawn as it lands; plain lines when piped.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use owo_colors::OwoColorize;
use unicode_width::UnicodeWidthStr;

use crate::clock::Timestamp;
use crate::model::{BroadcastReport, DeliveryReport, State};

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
    order
        .iter()
        .filter_map(|account| {
            groups
                .get(account)
                .map(|group| line(account, group, report.accepted_at))
        })
        .collect()
}

fn line(account: &str, group: &[&DeliveryReport], accepted_at: Timestamp) -> Line {
    let rest = |d: &&DeliveryReport| d.finished_at;
    let last = group.iter().filter_map(rest).max();
    let seconds = group
        .iter()
        .all(|d| d.finished_at.is_some())
        .then_some(last)
        .flatten()
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
    let state = worst.map_or(State::Queued, |d| d.state);
    let out = group.iter().filter(|d| d.state.got_out()).count();
    let tally = (group.len() > 1 || group.iter().any(|d| d.recipient.is_some()))
        .then(|| format!("{out}/{} {state}", group.len()));
    let link = match worst {
        Some(d) if d.state.got_out() => d.url.clone().unwrap_or_default(),
        Some(d) => d.error.as_ref().map(ToString::to_string).unwrap_or_default(),
        None => String::new(),
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
    let out = report.deliveries.iter().filter(|d| d.state.got_out()).count();
    outln!(
        "{}: {out} of {} published, {}",
        report.broadcast,
        report.deliveries.len(),
        report.state
    );
    for delivery in &report.deliveries {
        if delivery.state.needs_person()
            && let Some(advice) = crate::confirm::advice(&report.broadcast, delivery)
        {
            outln!("  {}: {advice}", delivery.account);
        }
    }
}
