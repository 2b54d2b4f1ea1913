//! A broadcast on a terminal: one line per account, redrawn as it lands; plain lines when piped. On a narrow terminal the
//! least needed is left out while it lands, and stands on lines of its own at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};

use owo_colors::OwoColorize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::app::request::Outlook;
use crate::clock::Timestamp;
use crate::model::{
    BroadcastReport, Confirmation, ConfirmationState, DeliveryReport, Purpose, RecipientsReport, State,
    confirmation,
};

/// Below this many columns the end of a table has its links and errors on lines of their own.
const NARROW: usize = 72;
/// Columns of a state.
const STATE: usize = 10;
/// Columns of the seconds.
const SECONDS: usize = 8;

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

/// How much a terminal shows: columns and rows. Asked each time: windows are made larger and smaller.
fn screen() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| {
        (usize::from(size.ws_col), usize::from(size.ws_row))
    })
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
        if !self.terminal {
            self.print_changes(&lines);
            return;
        }
        let (columns, rows) = screen();
        // What has left the screen at the top cannot be drawn again.
        let most = rows.saturating_sub(2).max(1);
        let width = width(&lines, columns);
        let mut out = anstream::stdout().lock();
        self.erase(&mut out);
        let shown = if lines.len() > most { most - 1 } else { lines.len() };
        for line in lines.iter().take(shown) {
            writeln!(out, "{}", in_columns(line, width, columns)).ok();
        }
        self.drawn = shown;
        if lines.len() > shown {
            let more = cut(&format!("… and {} more accounts", lines.len() - shown), columns);
            writeln!(out, "{more}").ok();
            self.drawn += 1;
        }
        out.flush().ok();
    }

    /// Draws the report for the last time, whole: nothing is cut off, whatever the width.
    pub fn end(&mut self, report: &BroadcastReport) {
        let lines = lines(report);
        if !self.terminal {
            self.print_changes(&lines);
            return;
        }
        let (columns, _) = screen();
        let mut out = anstream::stdout().lock();
        self.erase(&mut out);
        self.drawn = 0;
        for line in &lines {
            if columns >= NARROW {
                writeln!(out, "{}", draw(line, width(&lines, columns))).ok();
                continue;
            }
            writeln!(
                out,
                "{}",
                in_columns(&bare(line), width(&lines, columns), columns)
            )
            .ok();
            if !line.link.is_empty() {
                writeln!(out, "  {}", line.link).ok();
            }
        }
        out.flush().ok();
    }

    fn erase(&self, out: &mut impl Write) {
        if self.drawn > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.drawn).ok();
        }
    }

    fn print_changes(&mut self, lines: &[Line]) {
        let width = lines.iter().map(|l| l.account.width()).max().unwrap_or(0);
        let mut out = anstream::stdout().lock();
        for line in lines {
            let key = format!("{} {:?} {:?}", line.state, line.tally, line.link);
            if self.printed.get(&line.account) != Some(&key) {
                writeln!(out, "{}", draw(line, width)).ok();
                self.printed.insert(line.account.clone(), key);
            }
        }
        out.flush().ok();
    }
}

/// The same without what stands behind the seconds.
fn bare(line: &Line) -> Line {
    Line {
        account: line.account.clone(),
        state: line.state,
        tally: line.tally.clone(),
        seconds: line.seconds,
        link: String::new(),
    }
}

/// Columns of the accounts' names.
fn width(lines: &[Line], columns: usize) -> usize {
    let longest = lines.iter().map(|l| l.account.width()).max().unwrap_or(0);
    longest.min(columns.saturating_sub(STATE + 2).max(8))
}

/// At most so many columns of a text; what is cut off shows as an ellipsis.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > columns {
            break;
        }
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

fn padded(text: &str, width: usize) -> String {
    let text = cut(text, width);
    let pad = " ".repeat(width.saturating_sub(text.width()));
    format!("{text}{pad}")
}

fn coloured(state: State, text: String) -> String {
    match state {
        State::Published | State::Edited | State::Retracted => text.green().to_string(),
        State::Queued | State::Sending => text,
        State::Unknown | State::Held | State::Manual => text.yellow().to_string(),
        State::Refused | State::Expired | State::Superseded | State::Cancelled => text.red().to_string(),
    }
}

fn state_of(line: &Line) -> &str {
    line.tally.as_deref().unwrap_or(line.state.as_str())
}

fn seconds_of(line: &Line) -> String {
    line.seconds
        .map_or_else(|| " ".repeat(SECONDS), |s| format!("{s:6.1} s"))
}

/// The whole line.
fn draw(line: &Line, width: usize) -> String {
    let account = padded(&line.account, width.max(line.account.width()));
    let state = coloured(line.state, format!("{:<STATE$}", state_of(line)));
    format!("{account}  {state}  {}  {}", seconds_of(line), line.link)
        .trim_end()
        .to_owned()
}

/// As much of the line as one row of the terminal shows: the account and its state always, then the seconds, then the link.
fn in_columns(line: &Line, width: usize, columns: usize) -> String {
    let account = padded(&line.account, width);
    let mut left = columns.saturating_sub(width + 2);
    let state = cut(&format!("{:<STATE$}", state_of(line)), left);
    left = left.saturating_sub(state.width());
    let mut text = format!("{account}  {}", coloured(line.state, state));
    if left >= SECONDS + 2 {
        text.push_str("  ");
        text.push_str(&seconds_of(line));
        left -= SECONDS + 2;
    } else {
        left = 0;
    }
    if left >= SECONDS + 2 {
        text.push_str("  ");
        text.push_str(&cut(&line.link, left - 2));
    }
    text.trim_end().to_owned()
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

/// Whether the crisis organisation was told: by which relay, or why not. Empty as long as no confirmation is due.
pub fn confirmation(report: &BroadcastReport) -> Vec<String> {
    let Confirmation {
        state,
        sent,
        mails,
        error,
    } = &report.confirmation;
    let why = error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
    let many = format!("{sent} of {mails} mails");
    let mut lines = match state {
        ConfirmationState::None => return Vec::new(),
        ConfirmationState::Waiting => vec![format!(
            "confirmation: not out yet, {many} taken by a relay so far"
        )],
        ConfirmationState::Sent => vec![format!("confirmation: sent, {many}")],
        ConfirmationState::Partial => vec![format!("confirmation: sent in part, {many}{why}")],
        ConfirmationState::Failing => vec![format!(
            "confirmation: NOT SENT, no relay takes it{why}. Tell the crisis organisation in another way; it is tried again \
             for a day"
        )],
        ConfirmationState::Failed => vec![format!(
            "confirmation: NOT SENT, and not tried any more{why}. Tell the crisis organisation in another way; when the cause \
             is mended, `vardkase retry {}` sends it",
            report.broadcast
        )],
    };
    for mail in confirmation::latest(&report.confirmations) {
        let recipient = mail.recipient.as_deref().unwrap_or_default();
        let said = mail
            .note
            .clone()
            .or_else(|| mail.error.as_ref().map(ToString::to_string));
        let said = said.map(|said| format!(", {said}")).unwrap_or_default();
        lines.push(format!("  {recipient}: {}{said}", mail.state));
    }
    lines
}

/// Prints how it went in one line, what is pinned and what stood by, what a person must do, and whether the crisis
/// organisation was told.
pub fn summary(report: &BroadcastReport) {
    let (out, all) = report.out_of();
    outln!("{}: {out} of {all} published, {}", report.broadcast, report.state);
    for counted in &report.recipients {
        if let Some(left_out) = left_out(counted) {
            outln!("  {}: {left_out}", counted.account);
        }
    }
    for line in pins(report).into_iter().chain(stand_ins(report)) {
        outln!("  {line}");
    }
    unreachable_before(report);
    for delivery in &report.deliveries {
        // What a service says to each of many recipients is for the log.
        if let (Some(note), None) = (&delivery.note, &delivery.recipient) {
            outln!("  {}: {note}", delivery.account);
        }
        if delivery.state.needs_person()
            && let Some(advice) = crate::confirm::advice(&report.broadcast, delivery)
        {
            outln!("  {}: {advice}", delivery.account);
        }
    }
    for line in confirmation(report) {
        outln!("{line}");
    }
}

/// Prints which accounts had not answered before the command, and who took over.
pub fn unreachable_before(report: &BroadcastReport) {
    for one in &report.unreachable_before {
        let then = match (&one.takes_over, &one.by_hand) {
            (_, Some(hand)) if one.asks_a_person() => format!("; a person is asked to publish it on {hand}"),
            (Some(other), None) => format!("; {other} takes over at once"),
            (Some(other), Some(hand)) if other != hand => {
                format!("; {other} takes over at once, and a person is asked to publish it on {hand}")
            }
            (_, Some(hand)) => format!("; a person is asked to publish it on {hand}"),
            (None, None) => String::new(),
        };
        outln!(
            "  {} had not answered since {:.0} ({}); it is tried all the same{then}",
            one.account,
            one.since,
            one.reason.code
        );
    }
}

/// How many of an account's messages have come to their recipients, as far as the service has told.
pub fn arrivals(report: &BroadcastReport) {
    for (account, arrivals) in &report.arrivals {
        let out = report.out_on(account);
        let mut said = vec![format!("{account}: arrived {} of {out}", arrivals.delivered)];
        if arrivals.failed > 0 {
            said.push(format!("{} will not arrive", arrivals.failed));
        }
        match arrivals.unknown(out) {
            0 => {}
            unknown => said.push(format!("{unknown} not known yet")),
        }
        outln!("  {}", said.join(", "));
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

/// What is kept on top of a page, and what is no longer.
fn pins(report: &BroadcastReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (purpose, done) in [(Purpose::Pin, "pinned"), (Purpose::Unpin, "no longer pinned")] {
        let of: Vec<&DeliveryReport> = report.pins.iter().filter(|pin| pin.purpose == purpose).collect();
        let names: Vec<&str> = of
            .iter()
            .filter(|pin| pin.state.got_out())
            .map(|pin| pin.account.as_str())
            .collect();
        if !names.is_empty() {
            lines.push(format!("{done}: {}", names.join(", ")));
        }
        for pin in of.iter().filter(|pin| !pin.state.got_out()) {
            let why = pin.error.as_ref().map(|e| format!(", {e}")).unwrap_or_default();
            lines.push(format!("{}: {purpose} is {}{why}", pin.account, pin.state));
        }
    }
    lines
}

/// Which accounts stood in for others, or stood ready to.
fn stand_ins(report: &BroadcastReport) -> Vec<String> {
    let mut lines = BTreeSet::new();
    for delivery in report.deliveries.iter().chain(&report.stand_ins) {
        if delivery.stands_in_for.is_empty() {
            continue;
        }
        let served: Vec<&str> = delivery
            .stands_in_for
            .iter()
            .map(crate::model::AccountId::as_str)
            .collect();
        let idle = report
            .stand_ins
            .iter()
            .any(|other| other.delivery == delivery.delivery);
        let word = match (idle, delivery.state.is_open()) {
            (false, _) => "stands in for",
            (true, true) => "stands by for",
            (true, false) => "was not needed for",
        };
        lines.insert(format!("{} {word} {}", delivery.account, served.join(", ")));
    }
    lines.into_iter().collect()
}

/// Prints what is done on each account, and why not more.
pub fn outlooks(outlooks: &[Outlook]) {
    let width = outlooks
        .iter()
        .map(|one| one.account.as_str().width())
        .max()
        .unwrap_or(0);
    for one in outlooks {
        outln!(
            "{}  {:<12}  {}",
            padded(one.account.as_str(), width),
            one.how.word(),
            one.why
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(account: &str, link: &str) -> Line {
        Line {
            account: account.to_owned(),
            state: State::Published,
            tally: None,
            seconds: Some(1.25),
            link: link.to_owned(),
        }
    }

    /// The text without its colours.
    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_row_never_takes_two_rows_of_a_terminal() {
        let lines = [
            line(
                "webb",
                "https://nassjo.se/kris/koka-vattnet-i-forserum-och-malmback",
            ),
            line("ett-konto-med-ett-ovanligt-langt-namn", ""),
            line("å", &"ö".repeat(200)),
        ];
        for columns in [20, 33, 40, 41, 60, 80, 200] {
            let width = width(&lines, columns);
            for line in &lines {
                let row = plain(&in_columns(line, width, columns));
                assert!(row.width() <= columns, "{columns}: {row:?}");
                assert!(row.contains("published") || columns < 22, "{columns}: {row:?}");
            }
        }
        let row = plain(&in_columns(&lines[0], 8, 40));
        assert_eq!(row, "webb      published      1.2 s  https:/…");
    }

    #[test]
    fn what_is_cut_off_shows_as_such() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abc", 0), "");
    }
}
