//! A message, a municipality and a command for the tests of compose, check and confirm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::compose::{CapClass, Command, Field, PreparedMessage, TextRule, Texts};
use crate::config::Municipality;
use crate::model::{AccountId, Kind, Lang, Mode, Unit};

/// Nässjö.
pub fn municipality() -> Municipality {
    Municipality {
        name: "Nässjö kommun".to_owned(),
        site: "https://nassjo.se".parse().unwrap(),
        hosts: BTreeSet::from(["nassjo.se".to_owned(), "www.nassjo.se".to_owned()]),
        languages: vec![Lang::Sv],
        time_zone: "Europe/Stockholm".to_owned(),
        fallback_link: None,
    }
}

/// A live, initial, Swedish command with these fields.
pub fn command(fields: &[(&str, &str)]) -> Command {
    Command {
        message: "vatten".parse().unwrap(),
        fields: fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        kind: Kind::Initial,
        mode: Mode::Live,
        languages: vec![Lang::Sv],
    }
}

fn field(name: &str, max_length: usize) -> Field {
    Field {
        name: name.to_owned(),
        label: BTreeMap::from([(Lang::Sv, format!("Etikett {name}"))]),
        help: String::new(),
        example: BTreeMap::from([(Lang::Sv, format!("exempel {name}"))]),
        max_length,
        required: false,
        choices: Vec::new(),
        default: None,
        kinds: Kind::ALL.to_vec(),
        per_language: false,
    }
}

/// A message with a field of every sort.
pub fn message() -> PreparedMessage {
    let texts = |word: &str| Texts {
        headline: format!("{word}: {{{{ omrade }}}}"),
        long: format!("{word} lång. {{{{ info }}}}\n\n{{{{ fri }}}}"),
        short: format!("{word} kort. {{{{ info }}}}"),
        sms: format!("{word} i {{{{ omrade }}}}."),
    };
    PreparedMessage {
        id: "vatten".parse().unwrap(),
        title: "Vatten".to_owned(),
        description: String::new(),
        version: 1,
        cap: CapClass {
            category: "Health".to_owned(),
            severity: "Severe".to_owned(),
            urgency: "Immediate".to_owned(),
            certainty: "Likely".to_owned(),
        },
        valid_for: Duration::from_hours(1),
        page: "/kris/vatten".to_owned(),
        to: vec!["alla".to_owned()],
        picture: None,
        fields: vec![
            Field {
                required: true,
                ..field("omrade", 30)
            },
            field("tid", 12),
            Field {
                choices: vec!["storm".to_owned(), "skyfall".to_owned()],
                default: Some("storm".to_owned()),
                ..field("typ", 10)
            },
            Field {
                per_language: true,
                ..field("info", 200)
            },
            Field {
                per_language: true,
                required: true,
                kinds: vec![Kind::Update],
                ..field("nytt", 50)
            },
            field("fri", 850),
        ],
        texts: Kind::ALL
            .iter()
            .flat_map(|kind| {
                [
                    ((Lang::Sv, *kind), texts("Koka")),
                    ((Lang::En, *kind), texts("Boil")),
                ]
            })
            .collect(),
    }
}

/// The rule of an account with one limit.
pub fn rule(limit: usize, unit: Unit) -> TextRule {
    TextRule {
        limit: Some(limit),
        unit,
        also: None,
    }
}

/// An account's id.
pub fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}
