//! Every prepared message on every channel's own rule: what residents would read, and that it always fits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use vardkase::check::{self, CheckInput};
use vardkase::clock::{Timestamp, later};
use vardkase::compose::{Command, PreparedMessage, TextRule, count, messages, plan};
use vardkase::config::Municipality;
use vardkase::model::{AccountId, Kind, Lang, Mode, Unit, Variant};

const SWEDISH: &[Lang] = &[Lang::Sv];
const BOTH: &[Lang] = &[Lang::Sv, Lang::En];

/// The rules of the reference pages; whatever else there is has no limit.
fn channels() -> Vec<(AccountId, TextRule)> {
    let rule = |limit, unit, also| TextRule { limit, unit, also };
    [
        ("obegransad", rule(None, Unit::Characters, None)),
        ("facebook", rule(Some(63_206), Unit::Utf16, None)),
        ("mastodon", rule(Some(500), Unit::MastodonCharacters, None)),
        (
            "bluesky",
            rule(Some(300), Unit::Graphemes, Some((3000, Unit::Bytes))),
        ),
    ]
    .into_iter()
    .map(|(id, rule)| (id.parse().unwrap(), rule))
    .collect()
}

fn municipality() -> Municipality {
    Municipality {
        name: "Nässjö kommun".to_owned(),
        site: "https://nassjo.se".parse().unwrap(),
        hosts: BTreeSet::from(["nassjo.se".to_owned()]),
        languages: vec![Lang::Sv],
        time_zone: "Europe/Stockholm".to_owned(),
        fallback_link: None,
    }
}

fn prepared() -> Vec<PreparedMessage> {
    let loaded = messages::load(None);
    assert_eq!(loaded.problems, []);
    assert!(loaded.messages.len() >= 12);
    loaded.messages.into_values().collect()
}

/// A command with a value from `value` for every field that is asked for.
fn command(
    message: &PreparedMessage,
    kind: Kind,
    mode: Mode,
    languages: &[Lang],
    value: impl Fn(&vardkase::compose::Field, Lang) -> String,
) -> Command {
    let mut fields = BTreeMap::new();
    for field in message.fields.iter().filter(|f| f.is_asked_for(kind)) {
        fields.insert(field.name.clone(), value(field, Lang::Sv));
        if field.per_language && languages.contains(&Lang::En) {
            fields.insert(format!("{}.en", field.name), value(field, Lang::En));
        }
    }
    Command {
        message: message.id.clone(),
        fields,
        kind,
        mode,
        languages: languages.to_vec(),
    }
}

fn example(field: &vardkase::compose::Field, lang: Lang) -> String {
    let example = field.example.get(&lang).or_else(|| field.example.get(&Lang::Sv));
    example.cloned().unwrap()
}

/// What goes out, or the findings that stop it.
fn planned(message: &PreparedMessage, command: &Command) -> Result<plan::Plan, String> {
    let channels = channels();
    let accounts: Vec<_> = channels.iter().map(|(id, rule)| (id, *rule)).collect();
    let told = |findings: Vec<check::Finding>| {
        let texts: Vec<_> = findings
            .into_iter()
            .map(|f| format!("{}: {}", f.check, f.text))
            .collect();
        texts.join("\n")
    };
    let plan = vardkase::compose::plan(command, message, &municipality(), &accounts).map_err(told)?;
    let now = Timestamp::UNIX_EPOCH;
    let findings = check::run(&CheckInput {
        command,
        message,
        municipality: &municipality(),
        plan: &plan,
        valid_until: later(now, message.valid_for),
        now,
    });
    if findings.is_empty() {
        Ok(plan)
    } else {
        Err(told(findings))
    }
}

#[test]
fn every_prepared_message_on_every_channel() {
    for message in prepared() {
        let mut shown = String::new();
        for kind in Kind::ALL {
            for languages in [SWEDISH, BOTH] {
                let command = command(&message, *kind, Mode::Live, languages, example);
                let plan =
                    planned(&message, &command).unwrap_or_else(|e| panic!("{} {kind}: {e}", message.id));
                let words: Vec<_> = languages.iter().map(|l| l.as_str()).collect();
                writeln!(shown, "######## {kind} {}", words.join(",")).unwrap();
                let mut before: Option<&str> = None;
                for (account, rendering) in plan.each() {
                    let limit = rendering.limit.map_or_else(|| "-".to_owned(), |l| l.to_string());
                    writeln!(
                        shown,
                        "==== {account}: {} {}/{limit} {}",
                        rendering.variant, rendering.count, rendering.unit
                    )
                    .unwrap();
                    if before == Some(rendering.text.as_str()) {
                        writeln!(shown, "(same text)\n").unwrap();
                    } else {
                        writeln!(shown, "{}\n", rendering.text).unwrap();
                    }
                    before = Some(&rendering.text);
                }
            }
        }
        insta::assert_snapshot!(format!("message_{}", message.id), shown);
    }
}

/// The longest value that a field takes: its longest choice, or wide letters up to its length.
fn longest(field: &vardkase::compose::Field, _: Lang) -> String {
    field
        .choices
        .iter()
        .max_by_key(|choice| choice.chars().count())
        .cloned()
        .unwrap_or_else(|| "Å".repeat(field.max_length))
}

#[test]
fn every_prepared_message_filled_to_the_brim_fits_every_channel() {
    let mut too_long = Vec::new();
    for message in prepared() {
        for kind in Kind::ALL {
            for (languages, mode) in [
                (SWEDISH, Mode::Live),
                (SWEDISH, Mode::Drill),
                (BOTH, Mode::Live),
                (BOTH, Mode::Drill),
            ] {
                let command = command(&message, *kind, mode, languages, longest);
                match planned(&message, &command) {
                    Ok(plan) => {
                        for ((account, rule), (_, rendering)) in channels().iter().zip(plan.each()) {
                            assert_eq!(count::excess(&rendering.text, rule), None, "{account}");
                        }
                    }
                    Err(error) => {
                        too_long.push(format!("{} {kind} {mode} {languages:?}: {error}", message.id));
                    }
                }
            }
        }
    }
    assert_eq!(too_long, Vec::<String>::new());
}

#[test]
fn an_unlimited_account_always_gets_the_long_text() {
    for message in prepared() {
        let command = command(&message, Kind::Initial, Mode::Live, BOTH, longest);
        let plan = planned(&message, &command).unwrap();
        let rendering = plan.rendering(&"obegransad".parse().unwrap()).unwrap();
        assert_eq!(rendering.variant, Variant::Long);
        assert_eq!(rendering.limit, None);
    }
}

#[test]
fn only_required_fields_are_enough_for_every_message_and_every_choice_renders() {
    for message in prepared() {
        for kind in Kind::ALL {
            let most_choices = message
                .fields
                .iter()
                .map(|f| f.choices.len())
                .max()
                .unwrap_or(0)
                .max(1);
            for nth in 0..most_choices {
                let mut command = command(&message, *kind, Mode::Drill, BOTH, |field, lang| {
                    let choice = field.choices.get(nth % field.choices.len().max(1));
                    choice.cloned().unwrap_or_else(|| example(field, lang))
                });
                command.fields.retain(|name, _| {
                    let stem = name.split('.').next().unwrap();
                    message.fields.iter().any(|f| f.name == stem && f.required)
                });
                let plan =
                    planned(&message, &command).unwrap_or_else(|e| panic!("{} {kind}: {e}", message.id));
                for rendering in &plan.renderings {
                    assert!(!rendering.text.contains("  "), "two blanks: {}", rendering.text);
                    assert!(
                        !rendering.text.contains(" ."),
                        "blank before a stop: {}",
                        rendering.text
                    );
                }
            }
        }
    }
}
