//! Typographic signs in text messages: one of them makes every part hold less than half, and costs as much more.

use super::{Check, CheckInput, Finding};
use crate::compose::sms;
use crate::model::Unit;

/// See the module.
pub const CHECK: Check = Check {
    id: "typography",
    about: "Ett sms blir inte dyrare av typografiska tecken som går att skriva på annat sätt.",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, rendering) in input.plan.each() {
        if rendering.unit != Unit::SmsParts {
            continue;
        }
        let text = &rendering.text;
        let replaced: String = text
            .chars()
            .map(|c| sms::plain(c).map_or(c.to_string(), str::to_owned))
            .collect();
        let (now, then) = (sms::size(text).parts, sms::size(&replaced).parts);
        if then < now {
            let signs: Vec<String> = sms::foreign(text)
                .into_iter()
                .filter_map(|c| Some((c, sms::plain(c)?)))
                .map(|(c, instead)| shown(c, instead))
                .collect();
            findings.push(Finding::warn(
                CHECK.id,
                Some(account),
                format!(
                    "Sms:et på {account} går i {now} delar men kunde gå i {then}: byt {}.",
                    signs.join(", ")
                ),
            ));
        }
    }
    findings
}

fn shown(c: char, instead: &str) -> String {
    match (c, instead) {
        ('\u{a0}' | '\u{202f}', _) => "hårt blanksteg mot vanligt blanksteg".to_owned(),
        (_, "") => "osynligt tecken mot ingenting".to_owned(),
        (c, instead) => format!("{c} mot {instead}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{CheckInput, Level};
    use crate::clock::Timestamp;
    use crate::compose::examples::{account, command, message, municipality, rule};

    fn found(info: &str, unit: Unit) -> Vec<Finding> {
        let id = account("sms");
        let (command, message, municipality) = (
            command(&[("omrade", "Forserum"), ("info", info)]),
            message(),
            municipality(),
        );
        let plan = crate::compose::plan(&command, &message, &municipality, &[(&id, rule(500, unit))]);
        let plan = plan.unwrap();
        let now = Timestamp::UNIX_EPOCH;
        run(&CheckInput {
            command: &command,
            message: &message,
            municipality: &municipality,
            plan: &plan,
            accounts: &[],
            valid_until: now,
            now,
        })
    }

    #[test]
    fn signs_that_make_a_text_message_dearer_are_named_with_what_to_write_instead() {
        let findings = found(
            "Koka vattnet i ”Ärla” – minst tre minuter – och drick det…",
            Unit::SmsParts,
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Warn);
        insta::assert_snapshot!(findings[0].text);
    }

    #[test]
    fn what_cannot_be_helped_or_costs_nothing_is_not_remarked_on() {
        for info in ["Koka vattnet 🚰 – och drick det", "Koka vattnet i Ärla"] {
            assert_eq!(found(info, Unit::SmsParts), [], "{info}");
        }
        assert_eq!(found("100 byte – ryms", Unit::Bytes).len(), 0);
    }
}
