//! `[drill.<id>]`: a planned exercise, checked against the message that it sends.

use std::collections::BTreeMap;

use super::Drill;
use super::accounts::Reference;
use super::section::{Placed, Section, quoted};
use super::source::hint;
use crate::compose::PreparedMessage;
use crate::model::{Kind, MessageId};

const MAX_DRILLS: usize = 100;

/// The drills, and the accounts and groups that they name.
#[derive(Debug, Default)]
pub struct Drills {
    pub drills: BTreeMap<String, Drill>,
    pub targets: Vec<Reference>,
}

/// Reads `[drill.<id>]`.
pub fn drills(root: &mut Section<'_>, messages: &BTreeMap<MessageId, PreparedMessage>) -> Drills {
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
        if let Some(drill) = drill(s, name.value, messages, &mut all.targets) {
            all.drills.insert(drill.id.clone(), drill);
        }
    }
    all
}

fn drill(
    mut s: Section<'_>,
    id: String,
    messages: &BTreeMap<MessageId, PreparedMessage>,
    targets: &mut Vec<Reference>,
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
        targets.push(Reference {
            key: format!("{}.to", s.path()),
            name: name.clone(),
        });
    }
    let schedule = s.text("schedule", 200, "a cron line such as \"0 10 1 * *\"");
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
    })
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
