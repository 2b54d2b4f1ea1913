//! When people are told of what is amiss, and in which words.

use std::time::Duration;

use jiff::tz::TimeZone;
use minijinja::{Value, context};

use crate::clock::{Timestamp, later};
use crate::config::{Municipality, Quiet};
use crate::confirm::words;
use crate::mail::{self, Sheet};
use crate::model::{Letter, Notice, Phase, Reach, Subject, Trouble};

const SHEET: Sheet = Sheet {
    name: "alarm",
    html: include_str!("../../templates/mail/alarm.html"),
    text: include_str!("../../templates/mail/alarm.txt"),
};

/// Waits between tries, the last one again and again: an alarm is never given up.
const AGAIN: &[Duration] = &[
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
];

/// Until when a notice has to wait; `None` if it may be told now.
pub fn held_until(trouble: Trouble, quiet: Option<&Quiet>, now: Timestamp, zone: &str) -> Option<Timestamp> {
    let quiet = quiet.filter(|quiet| quiet.troubles.contains(&trouble))?;
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let local = now.to_zoned_datetime(zone.clone());
    let (time, today) = (local.time(), local.date());
    let is_over_midnight = quiet.until <= quiet.from;
    let is_quiet = if is_over_midnight {
        time >= quiet.from || time < quiet.until
    } else {
        time >= quiet.from && time < quiet.until
    };
    if !is_quiet {
        return None;
    }
    let day = if is_over_midnight && time >= quiet.from {
        today.tomorrow().unwrap_or(today)
    } else {
        today
    };
    // An hour that the clock skips in spring is the one after it.
    let ends = day.to_datetime(quiet.until).to_zoned_datetime(zone).ok()?;
    Some(ends.timestamp())
}

/// When a notice that nobody took is tried again.
pub fn again(tries: u32, now: Timestamp) -> Timestamp {
    let at = usize::try_from(tries).unwrap_or(usize::MAX).min(AGAIN.len() - 1);
    later(now, AGAIN.get(at).copied().unwrap_or(Duration::from_mins(15)))
}

/// Words the notices, the worst first: one message for all that is due.
///
/// # Errors
/// If a template is broken; the text says which.
pub fn compose(notices: &[Notice], municipality: &Municipality, now: Timestamp) -> Result<Letter, String> {
    let mut ordered: Vec<&Notice> = notices.iter().collect();
    ordered.sort_by_key(|notice| {
        let reach = notice.condition.sign.trouble.reach();
        (notice.phase == Phase::End, std::cmp::Reverse(reach), notice.id)
    });
    let subject = match ordered.as_slice() {
        [] => String::new(),
        [one] => headline(one),
        [first, rest @ ..] => format!("{} (och {} till)", headline(first), rest.len()),
    };
    let zone = municipality.time_zone.as_str();
    let of = context! {
        notices => ordered.iter().map(|notice| values(notice, zone)).collect::<Vec<Value>>(),
        moment => words::moment(now, zone),
    };
    mail::write(SHEET, subject, municipality, of)
}

fn whose(notice: &Notice) -> String {
    match &notice.condition.subject {
        Subject::Daemon => "Vårdkase".to_owned(),
        Subject::Account(account) => account.to_string(),
    }
}

/// The mark, and a colour that tells the same.
fn mark(notice: &Notice) -> (&'static str, &'static str) {
    match (notice.phase, notice.condition.sign.trouble.reach()) {
        (Phase::End, _) => ("Över", "#1b6b32"),
        (Phase::Begin, Reach::Unreachable) => ("LARM", "#b3261e"),
        (Phase::Begin, Reach::Degraded | Reach::Reachable) => ("Varning", "#7a5300"),
    }
}

fn headline(notice: &Notice) -> String {
    let (mark, _) = mark(notice);
    format!(
        "{mark}: {}: {}",
        whose(notice),
        label(notice.condition.sign.trouble)
    )
}

fn values(notice: &Notice, zone: &str) -> Value {
    let condition = &notice.condition;
    let since = words::moment(condition.since, zone);
    let is_begin = notice.phase == Phase::Begin;
    let when = if is_begin {
        format!("Sedan {since}.")
    } else {
        let ended = condition.ended_at.unwrap_or(condition.seen_at);
        format!(
            "Det började {since} och är över sedan {}.",
            words::moment(ended, zone)
        )
    };
    let (mark, colour) = mark(notice);
    context! {
        mark, colour, when,
        whose => whose(notice),
        label => label(condition.sign.trouble),
        text => is_begin.then_some(condition.sign.text.as_str()),
        remedy => is_begin.then_some(condition.sign.remedy.as_str()),
    }
}

/// A trouble in a few words.
pub fn label(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::NoAnswer => "svarar inte",
        Trouble::Credential => "inloggningen fungerar inte",
        Trouble::WrongAccount => "fel konto",
        Trouble::Disabled => "taget ur bruk",
        Trouble::Expiring => "inloggningen går snart ut",
        Trouble::RightMissing => "rättigheter saknas",
        Trouble::RightSurplus => "för många rättigheter",
        Trouble::Quota => "lite kvar av vad tjänsten tar emot",
        Trouble::Flaw => "något är fel på kontot",
        Trouble::ProfileFact => "uppgifter saknas i profilen",
        Trouble::Logo => "fel profilbild",
        Trouble::Stale => "inget publicerat på länge",
        Trouble::ForeignPost => "främmande inlägg under ett larm",
        Trouble::ProfileChanged => "profilen har ändrats",
        Trouble::Link => "sidan som allt länkar till svarar inte",
        Trouble::Relay => "en e-postserver tar inte emot",
        Trouble::Disk => "disken är nästan full",
        Trouble::Clock => "klockan hoppade",
        Trouble::Vault => "valvet kan inte läsas",
        Trouble::Restart => "startade om utan att någon bett om det",
        Trouble::Heartbeat => "livstecknet når inte fram",
        Trouble::Backstage => "provet bakom scenen gick inte igenom",
        Trouble::Leftover => "ett prov kan ha lämnat något efter sig",
        Trouble::TrialSkipped => "ett planerat prov kördes inte",
    }
}
