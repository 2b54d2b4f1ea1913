//! `[drill.<id>]`: a planned exercise, checked against the message that it sends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::accounts::{self, Reference};
use super::section::{Placed, Section, quoted};
use super::source::hint;
use super::{Drill, Notice};
use crate::compose::PreparedMessage;
use crate::drill::{Rules, Schedule};
use crate::model::{AccountId, Injection, Kind, Level, MessageId, Recipient};

const MAX_DRILLS: usize = 100;
const MAX_FAULTS: usize = 50;
const MAX_TOLD: usize = 50;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The drills, and the accounts and groups that they name.
#[derive(Debug, Default)]
pub struct Drills {
    pub read: BTreeMap<String, Drill>,
    pub targets: Vec<Reference>,
    /// Accounts that are made to fail.
    pub failing: Vec<Reference>,
    /// Relays that are made to fail.
    pub relays: Vec<Reference>,
}

/// Reads `[drill.<id>]`; schedules are of the zone.
pub fn drills(root: &mut Section<'_>, messages: &BTreeMap<MessageId, PreparedMessage>, zone: &str) -> Drills {
    let mut all = Drills::default();
    let Some(mut table) = root.table("drill") else {
        return all;
    };
    let sections = table.entries();
    if sections.len() > MAX_DRILLS {
        root.problem(
            "drill",
            format!(
                "holds {} drills; at most {MAX_DRILLS} are allowed",
                sections.len()
            ),
        );
    }
    for (name, s) in sections {
        if let Err(wrong) = name.value.parse::<MessageId>() {
            s.problem_at(name.place, "", wrong.to_string());
        }
        if let Some(drill) = drill(s, name.value, messages, zone, &mut all) {
            all.read.insert(drill.id.clone(), drill);
        }
    }
    all
}

fn drill(
    mut s: Section<'_>,
    id: String,
    messages: &BTreeMap<MessageId, PreparedMessage>,
    zone: &str,
    all: &mut Drills,
) -> Option<Drill> {
    let named: Option<String> =
        s.required("message", "the id of a prepared message such as \"koka-vattnet\"");
    let message = named.as_deref().and_then(|name| messages.get(name));
    if let (Some(name), None) = (&named, message) {
        let known = messages.keys().map(MessageId::as_str);
        s.problem(
            "message",
            format!("there is no message {}{}", quoted(name), hint(name, known)),
        );
    }
    let fields = fields(&mut s, message);
    let to = s.required_strings("to", "a list of accounts and groups such as [\"alla\"]");
    if to.as_ref().is_some_and(Vec::is_empty) {
        s.problem("to", "is empty; name at least one account or group");
    }
    let to = to.unwrap_or_default();
    for name in &to {
        all.targets.push(Reference {
            key: format!("{}.to", s.path()),
            name: name.clone(),
        });
    }
    let schedule = schedule(&mut s, "schedule", zone);
    let words: Vec<&'static str> = Level::ALL.iter().map(|level| level.as_str()).collect();
    let level = s
        .one_of("level", &words)
        .and_then(|word| word.parse().ok())
        .unwrap_or(Level::Rehearse);
    let faults = faults(&mut s, level, all);
    let ends_after = s
        .duration_within("ends_after", SECOND, 6 * HOUR)
        .unwrap_or(HOUR / 4);
    let notice = notice(&mut s, schedule.is_some());
    let tell = told(&mut s);
    let rules = s
        .table("grade")
        .map_or(Some(Rules::default()), |grade| rules(&s, grade));
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Drill {
        id,
        message: message?.id.clone(),
        fields,
        to: to.into_iter().map(|name| name.value).collect(),
        schedule,
        level,
        faults,
        ends_after,
        notice,
        tell,
        rules: rules?,
    })
}

/// A cron line, read in the zone.
pub(super) fn schedule(s: &mut Section<'_>, key: &'static str, zone: &str) -> Option<Schedule> {
    let line = s.text(key, 200, "a cron line such as \"0 10 * * MON#1\"")?;
    match Schedule::read(&line, zone) {
        Ok(schedule) => Some(schedule),
        Err(wrong) => {
            s.problem(
                key,
                format!(
                    "found {}, {wrong}; expected minute, hour, day of month, month and day of week, such as \"0 10 * * MON#1\" \
                     for the first Monday of each month at 10",
                    quoted(&line)
                ),
            );
            None
        }
    }
}

/// Faults are for the practice wall: at any other level there is nothing that could be made to fail.
fn faults(s: &mut Section<'_>, level: Level, all: &mut Drills) -> Vec<Injection> {
    let tables = s.tables("faults");
    if !tables.is_empty() && level != Level::Rehearse {
        s.problem(
            "faults",
            format!("faults are injected on the practice wall only, and level {level} is not there; use level \"rehearse\""),
        );
    }
    if tables.len() > MAX_FAULTS {
        s.problem(
            "faults",
            format!("holds {} faults; at most {MAX_FAULTS} are allowed", tables.len()),
        );
    }
    let mut injections = Vec::new();
    for mut table in tables {
        match fault(&mut table, all) {
            Some(injection) if injections.contains(&injection) => {
                table.problem("what", format!("says the same of {} twice", injection.on()));
            }
            Some(injection) => injections.push(injection),
            None => {}
        }
        if table.is_broken() {
            s.break_off();
        }
        table.finish();
    }
    injections
}

fn fault(table: &mut Section<'_>, all: &mut Drills) -> Option<Injection> {
    const WHAT: [&str; 3] = ["dead", "token-expired", "relay-down"];
    // Both may stand here; which of them fits is told below, once it is known what fails.
    let _either = (table.has("account"), table.has("relay"));
    if !table.has("what") {
        table.missing("what", &format!("one of {}", WHAT.join(", ")));
        return None;
    }
    let what = table.one_of("what", &WHAT)?;
    let (key, other) = if what == "relay-down" {
        ("relay", "account")
    } else {
        ("account", "relay")
    };
    table.not_here(other, &format!("{what} is said of {key}, not of {other}"));
    let on: String = table.required(key, "the id of one, as its section has it")?;
    let reference = Reference {
        key: format!("{}.{key}", table.path()),
        name: Placed {
            value: on.clone(),
            place: table.place_of(key),
        },
    };
    let id: AccountId = match on.parse() {
        Ok(id) => id,
        Err(wrong) => {
            table.problem(key, format!("{wrong}"));
            return None;
        }
    };
    Some(match what {
        "relay-down" => {
            all.relays.push(reference);
            Injection::RelayDown(id)
        }
        "dead" => {
            all.failing.push(reference);
            Injection::Dead(id)
        }
        _ => {
            all.failing.push(reference);
            Injection::TokenExpired(id)
        }
    })
}

fn notice(s: &mut Section<'_>, scheduled: bool) -> Option<Notice> {
    let mut table = s.table("notice")?;
    if !scheduled && !s.is_broken() {
        s.problem(
            "notice",
            "a drill without a schedule has no day that could be announced; give it a schedule",
        );
    }
    let before = table.duration_within("before", HOUR, 90 * DAY).unwrap_or(7 * DAY);
    let text = table.required_text("text", 1000, "what the public reads, in Swedish");
    if table.is_broken() {
        s.break_off();
    }
    table.finish();
    Some(Notice { before, text: text? })
}

fn told(s: &mut Section<'_>) -> Option<Vec<Recipient>> {
    let given = s.strings("tell", "a list of mail addresses such as [\"ovning@nassjo.se\"]")?;
    if given.is_empty() {
        s.problem("tell", "is empty; leave it out to tell those of [confirmation]");
    }
    if given.len() > MAX_TOLD {
        s.problem(
            "tell",
            format!("holds {} addresses; at most {MAX_TOLD} are allowed", given.len()),
        );
    }
    Some(accounts::recipients(s, "tell", &given))
}

fn rules(s: &Section<'_>, mut grade: Section<'_>) -> Option<Rules> {
    let shortest = Duration::from_millis(1);
    let usual = Rules::default();
    let rules = Rules {
        first_within: grade.duration_within("first_within", shortest, 6 * HOUR),
        all_within: grade.duration_within("all_within", shortest, 6 * HOUR),
        published_percent: grade
            .number_within("published_percent", 1, 100)
            .unwrap_or(usual.published_percent),
        most_misses: grade.number_within("most_misses", 0, 10_000),
        confirmed_within: grade.duration_within("confirmed_within", shortest, 6 * HOUR),
    };
    let broken = grade.is_broken();
    if broken {
        s.break_off();
    }
    grade.finish();
    (!broken).then_some(rules)
}

fn fields(s: &mut Section<'_>, message: Option<&PreparedMessage>) -> BTreeMap<String, String> {
    let mut table = s.table("fields");
    let place = table.as_ref().map_or(s.place(), Section::place);
    let names = table.as_ref().map(Section::keys).unwrap_or_default();
    let given: Vec<(Placed<String>, Placed<String>)> = table.as_mut().map(Section::texts).unwrap_or_default();
    if table.is_some_and(|table| table.is_broken()) {
        s.break_off();
    }
    if let Some(message) = message {
        let asked: Vec<_> = message
            .fields
            .iter()
            .filter(|field| field.kinds.contains(&Kind::Initial))
            .collect();
        for (key, _) in &given {
            // `name.en` is the English value of a field that has one per language.
            let name = key
                .value
                .split_once('.')
                .map_or(key.value.as_str(), |(name, _)| name);
            if !asked.iter().any(|field| field.name == name) {
                let known = asked.iter().map(|field| field.name.as_str());
                s.problem_at(
                    key.place,
                    "fields",
                    format!(
                        "the message {} has no field {}{}",
                        message.id,
                        quoted(name),
                        hint(name, known)
                    ),
                );
            }
        }
        for field in asked.iter().filter(|field| field.required) {
            if !names.contains(&field.name) {
                s.problem_at(
                    place,
                    "fields",
                    format!(
                        "the message {} needs the field {:?}, and it is not given",
                        message.id, field.name
                    ),
                );
            }
        }
    }
    given
        .into_iter()
        .map(|(key, value)| (key.value, value.value))
        .collect()
}
