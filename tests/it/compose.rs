//! Every prepared message on every channel's own rule: what residents would read, and that it always fits.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::OnceLock;

use vardkase::channel::REGISTRY;
use vardkase::check::{self, CheckInput, Level};
use vardkase::clock::{Timestamp, later};
use vardkase::compose::parts::{self, Whole};
use vardkase::compose::{Command, PreparedMessage, Room, count, messages, plan};
use vardkase::config::{Account, Config};
use vardkase::model::{AccountId, Kind, Lang, Mode, Rendering, Variant};

const SWEDISH: &[Lang] = &[Lang::Sv];
const BOTH: &[Lang] = &[Lang::Sv, Lang::En];

/// The configuration that comes with the program.
fn shipped() -> &'static Config {
    static SHIPPED: OnceLock<Config> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
        Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"))
    })
}

/// Its first account of every kind of channel there is.
fn accounts() -> Vec<&'static Account> {
    let of = |kind: &str| {
        shipped()
            .accounts
            .values()
            .find(|account| account.channel.id == kind)
    };
    let missing = |id: &str| panic!("config.toml has no account of {id}");
    let kinds = REGISTRY.iter();
    kinds
        .map(|kind| of(kind.id).unwrap_or_else(|| missing(kind.id)))
        .collect()
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
    let accounts = accounts();
    let rooms: Vec<(&AccountId, Room<'_>)> = accounts.iter().map(|a| (&a.id, (*a).into())).collect();
    let told = |findings: Vec<check::Finding>| {
        let texts: Vec<_> = findings
            .into_iter()
            .map(|f| format!("{}: {}", f.check, f.text))
            .collect();
        texts.join("\n")
    };
    let municipality = &shipped().municipality;
    let plan = vardkase::compose::plan(command, message, municipality, &rooms).map_err(told)?;
    let now = Timestamp::UNIX_EPOCH;
    let mut findings = check::run(&CheckInput {
        command,
        message,
        municipality,
        plan: &plan,
        accounts: &accounts,
        valid_until: later(now, message.valid_for),
        now,
    });
    // What a channel cannot do is no fault of the message's.
    findings.retain(|f| f.check != check::capability::CHECK.id || f.level == Level::Block);
    if findings.is_empty() {
        Ok(plan)
    } else {
        Err(told(findings))
    }
}

/// Each text once, with the channels that it goes out on and how much of their room it takes.
fn shown(plan: &plan::Plan) -> String {
    let mut texts: Vec<(&Rendering, BTreeMap<String, Vec<&str>>)> = Vec::new();
    for (account, (_, rendering)) in accounts().iter().zip(plan.each()) {
        let limit = rendering.limit.map_or_else(|| "-".to_owned(), |l| l.to_string());
        let room = format!("{}/{limit} {}", rendering.count, rendering.unit);
        let known = texts.iter().position(|(known, _)| known.text == rendering.text);
        let index = known.unwrap_or_else(|| {
            texts.push((rendering, BTreeMap::new()));
            texts.len() - 1
        });
        texts[index].1.entry(room).or_default().push(account.channel.id);
    }
    let mut shown = String::new();
    for (rendering, rooms) in texts {
        writeln!(shown, "==== {}", rendering.variant).unwrap();
        for (room, channels) in rooms {
            writeln!(shown, "== {room}: {}", channels.join(", ")).unwrap();
        }
        writeln!(shown, "{}\n", rendering.text).unwrap();
    }
    shown
}

#[test]
fn every_prepared_message_on_every_channel() {
    for message in prepared() {
        let mut all = String::new();
        for kind in Kind::ALL {
            for languages in [SWEDISH, BOTH] {
                let command = command(&message, *kind, Mode::Live, languages, example);
                let plan =
                    planned(&message, &command).unwrap_or_else(|e| panic!("{} {kind}: {e}", message.id));
                assert_eq!(plan.accounts.len(), REGISTRY.len());
                let words: Vec<_> = languages.iter().map(|l| l.as_str()).collect();
                writeln!(all, "######## {kind} {}\n{}", words.join(","), shown(&plan)).unwrap();
            }
        }
        insta::assert_snapshot!(format!("message_{}", message.id), all);
    }
}

#[test]
fn a_message_as_it_is_seen_on_every_channel() {
    let messages = prepared();
    let message = messages.iter().find(|m| m.id.as_str() == "koka-vattnet").unwrap();
    let command = command(message, Kind::Initial, Mode::Drill, SWEDISH, example);
    let plan = planned(message, &command).unwrap();
    let mut all = String::new();
    for account in accounts() {
        let rendering = plan.rendering(&account.id).unwrap();
        writeln!(all, "######## {}", account.channel.id).unwrap();
        let parts = account.settings.as_shown(rendering, Kind::Initial);
        assert!(!parts.is_empty(), "{}", account.channel.id);
        for part in parts {
            // The text of the others stands in the snapshots of the messages.
            let text = if part.text == rendering.text {
                format!("({} text as it is)", rendering.variant)
            } else {
                part.text
            };
            writeln!(all, "== {}\n{text}", part.part).unwrap();
        }
    }
    insta::assert_snapshot!("as_shown", all);
}

#[test]
fn no_channel_shows_the_headline_twice_and_each_shows_the_marking_once() {
    let mut apart = std::collections::BTreeSet::new();
    for message in prepared() {
        for kind in Kind::ALL {
            for (languages, mode) in [SWEDISH, BOTH]
                .into_iter()
                .flat_map(|languages| [Mode::Live, Mode::Drill, Mode::Test].map(|mode| (languages, mode)))
            {
                let command = command(&message, *kind, mode, languages, example);
                let plan = planned(&message, &command).unwrap();
                for account in accounts() {
                    let rendering = plan.rendering(&account.id).unwrap();
                    let parts = account.settings.as_shown(rendering, *kind);
                    if !parts
                        .iter()
                        .any(|part| matches!(&*part.part, "title" | "heading"))
                    {
                        continue;
                    }
                    apart.insert(account.channel.id);
                    let all: Vec<_> = parts.into_iter().map(|part| part.text).collect();
                    let all = all.join("\n");
                    let times = |words: &str| all.lines().filter(|line| line.contains(words)).count();
                    let told = format!("{} {kind} {mode} on {}:\n{all}", message.id, account.id);
                    let is_headline = |line: &&str| *line == rendering.headline;
                    assert_eq!(all.lines().filter(is_headline).count(), 1, "{told}");
                    assert!(all.contains(rendering.link.as_str()), "{told}");
                    if mode != Mode::Live {
                        // One word can mark both languages.
                        let marks = languages
                            .iter()
                            .filter(|l| mode.marking(**l) == mode.marking(Lang::Sv));
                        assert_eq!(times(mode.marking(Lang::Sv)), marks.count(), "{told}");
                        for lang in languages {
                            assert!(times(mode.marking(*lang)) >= 1, "{told}");
                        }
                    }
                }
            }
        }
    }
    let apart: Vec<_> = apart.into_iter().collect();
    assert_eq!(
        apart,
        ["file", "mattermost", "ntfy", "teams", "web-push", "wordpress"]
    );
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

/// Whether a text keeps an account's own rule, as one post or as the thread that the account makes of it.
fn fits(account: &Account, rendering: &Rendering, mode: Mode) -> bool {
    let rule = account.settings.text_rule();
    if count::excess(&rendering.text, &rule).is_none() {
        return account.settings.refuses(rendering).is_none();
    }
    let whole = Whole::of(rendering, mode, &shipped().municipality.name);
    let posts = parts::split(&whole, &rule).unwrap_or_default();
    (1..=account.settings.parts()).contains(&posts.len())
        && posts.iter().all(|post| count::excess(post, &rule).is_none())
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
                        for account in accounts() {
                            let rendering = plan.rendering(&account.id).unwrap();
                            assert!(fits(account, rendering, mode), "{} {}", message.id, account.id);
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
    let unlimited = || {
        let all = accounts().into_iter();
        all.filter(|account| account.settings.text_rule().limit.is_none())
    };
    assert!(unlimited().count() >= 5);
    for message in prepared() {
        let command = command(&message, Kind::Initial, Mode::Live, BOTH, longest);
        let plan = planned(&message, &command).unwrap();
        for account in unlimited() {
            let rendering = plan.rendering(&account.id).unwrap();
            assert_eq!(
                (rendering.variant, rendering.limit),
                (Variant::Long, None),
                "{}",
                account.id
            );
        }
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
