//! The checks: each looks at a command with its renderings and says what to change. A file per check.
//!
//! A check is pure. What it may look at is in [`CheckInput`]; what it says are [`Finding`]s in Swedish that name the
//! account and what to change. **A new policy check** (personal data, secrecy words, plain language, storm guard) is
//! one file beside these with a `pub const CHECK: Check`, its `mod` line, and its row in [`CHECKS`]. The one thing here
//! that asks the network, the link probe, is [`link::probe`] and can only warn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::compose::{Command, Plan, PreparedMessage};
use crate::config::{Account, Municipality};
use crate::model::AccountId;

pub mod capability;
pub mod length;
pub mod link;
pub mod marking;
pub mod sender;
pub mod storm;
pub mod typography;
pub mod validity;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth a look.
    Warn,
    /// Stops the command.
    Block,
}

/// What a check says of a command, or of one account's rendering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check that says it: the id of one of [`CHECKS`], or `picture`, `picture-credit`, `list`, `fallback`, `fallback-link`,
    /// `unreachable`, `duplicate`, `storm`.
    pub check: String,
    /// How much it weighs.
    pub level: Level,
    /// The account, or none if it concerns the whole command.
    pub account: Option<AccountId>,
    /// What is wrong and what to change, in Swedish.
    pub text: String,
}

impl Finding {
    /// A finding that stops the command.
    pub fn block(check: &str, account: Option<&AccountId>, text: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            level: Level::Block,
            account: account.cloned(),
            text: text.into(),
        }
    }

    /// A finding that is worth a look.
    pub fn warn(check: &str, account: Option<&AccountId>, text: impl Into<String>) -> Self {
        Self {
            level: Level::Warn,
            ..Self::block(check, account, text)
        }
    }
}

/// All that a check may look at.
#[derive(Debug, Clone, Copy)]
pub struct CheckInput<'a> {
    /// What was asked.
    pub command: &'a Command,
    /// The prepared message that it names.
    pub message: &'a PreparedMessage,
    /// Who sends.
    pub municipality: &'a Municipality,
    /// What would go out, for each account.
    pub plan: &'a Plan,
    /// The accounts that the command names.
    pub accounts: &'a [&'a Account],
    /// When it would stop being true.
    pub valid_until: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The name that its findings bear.
    pub id: &'static str,
    /// What it looks for, in a Swedish sentence.
    pub about: &'static str,
    /// Looks.
    pub run: fn(&CheckInput<'_>) -> Vec<Finding>,
}

/// Every check, in the order in which people read the findings.
pub const CHECKS: &[Check] = &[
    length::CHECK,
    sender::CHECK,
    link::CHECK,
    marking::CHECK,
    validity::CHECK,
    typography::CHECK,
    capability::CHECK,
];

/// What all checks say; blocks first. Empty if there is nothing to say.
pub fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| (check.run)(input)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// What the text with the fallback link has to keep as well.
pub const CHECKS_OF_FALLBACK: &[Check] = &[length::CHECK, sender::CHECK, marking::CHECK];

/// The checks whose block a person may override, with a reason for the journal. No other: a text without its sender or
/// an exercise without its marking goes out on nobody's word.
pub const OVERRIDABLE: &[&str] = &[storm::DUPLICATE, storm::STORM, PICTURE_CREDIT];

/// The id of the findings about who made a picture.
pub const PICTURE_CREDIT: &str = "picture-credit";

/// Turns the blocks that a person overrides into warnings which say so. `overrides` is the reason by check.
///
/// # Errors
/// If a check cannot be overridden, or no reason is given.
pub fn override_blocks(findings: &mut [Finding], overrides: &BTreeMap<String, String>) -> Result<(), String> {
    for (check, reason) in overrides {
        if !OVERRIDABLE.contains(&check.as_str()) {
            let known = OVERRIDABLE.join(", ");
            return Err(format!(
                "the check {check} cannot be overridden; these can: {known}"
            ));
        }
        let reason = reason.trim();
        let length = reason.chars().count();
        if reason.is_empty() || length > LONGEST_REASON || reason.chars().any(char::is_control) {
            return Err(format!(
                "overriding {check} takes a reason for the journal: one line of at most {LONGEST_REASON} characters"
            ));
        }
        let stopped = |finding: &&mut Finding| finding.check == *check && finding.level == Level::Block;
        for finding in findings.iter_mut().filter(stopped) {
            finding.level = Level::Warn;
            finding.text = format!("{} Åsidosatt: {reason}", finding.text);
        }
    }
    Ok(())
}

/// Longest reason of an override, in characters.
const LONGEST_REASON: usize = 300;

/// Whether any of the findings stops the command.
pub fn is_blocked(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::examples::{account, command, message, municipality, rule};
    use crate::model::{Lang, Mode, Unit};

    /// The findings for a plan that `change` has spoiled.
    fn found(mode: Mode, fields: &[(&str, &str)], change: impl Fn(&mut Plan)) -> Vec<Finding> {
        let (a, b) = (account("a"), account("b"));
        let mut command = command(fields);
        command.mode = mode;
        command.languages = vec![Lang::Sv, Lang::En];
        let (message, municipality) = (message(), municipality());
        let accounts = [
            (&a, rule(500, Unit::Characters)),
            (&b, rule(300, Unit::Graphemes)),
        ];
        let mut plan = crate::compose::plan(&command, &message, &municipality, &accounts).unwrap();
        change(&mut plan);
        let now = Timestamp::UNIX_EPOCH;
        run(&CheckInput {
            command: &command,
            message: &message,
            municipality: &municipality,
            plan: &plan,
            accounts: &[],
            valid_until: crate::clock::later(now, message.valid_for),
            now,
        })
    }

    fn ids(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|f| f.check.as_str()).collect()
    }

    const FIELDS: &[(&str, &str)] = &[("omrade", "Forserum")];

    #[test]
    fn a_prepared_message_passes_every_check_in_every_mode() {
        for mode in Mode::ALL {
            assert_eq!(found(*mode, FIELDS, |_| {}), [], "{mode}");
        }
    }

    #[test]
    fn every_check_has_a_name_of_its_own_and_stops_what_it_is_for() {
        let mut names: Vec<_> = CHECKS.iter().map(|c| c.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());

        let long = found(Mode::Live, FIELDS, |plan| {
            let text = &mut plan.renderings[0].text;
            *text = format!("{}{text}", "x".repeat(500));
        });
        let nameless = found(Mode::Live, FIELDS, |plan| {
            let text = &mut plan.renderings[1].text;
            *text = text.replace("Nässjö kommun", "Kommunen");
        });
        let linkless = found(Mode::Live, FIELDS, |plan| plan.renderings[0].text.push('.'));
        let glued = found(Mode::Live, FIELDS, |plan| {
            let link = plan.renderings[0].link.clone();
            plan.renderings[0].text = format!("Nässjö kommun/{link}");
        });
        let unmarked = found(Mode::Drill, FIELDS, |plan| {
            plan.renderings[0].headline = "Koka vattnet".to_owned();
        });
        let half_marked = found(Mode::Drill, FIELDS, |plan| {
            let text = &mut plan.renderings[0].text;
            *text = text.replace("EXERCISE: ", "");
        });
        assert_eq!(ids(&long), ["length"]);
        assert_eq!(ids(&nameless), ["sender"]);
        assert_eq!(ids(&linkless), ["link"]);
        assert_eq!(ids(&glued), ["link"]);
        assert_eq!(ids(&unmarked), ["marking"]);
        assert_eq!(ids(&half_marked), ["marking"]);
        let texts: Vec<_> = [long, nameless, linkless, unmarked]
            .iter()
            .flatten()
            .map(|f| {
                assert_eq!(f.level, Level::Block);
                f.text.clone()
            })
            .collect();
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_link_to_another_site_is_stopped() {
        for (link, ours) in [
            ("https://nassjo.se/x", true),
            ("https://www.nassjo.se/x", true),
            ("https://nassjo.se.ond.example/x", false),
            ("https://ond.example/nassjo.se", false),
            ("https://nassjo.se@ond.example/", false),
            ("https://kalle:hemligt@nassjo.se/", false),
            ("ftp://nassjo.se/x", false),
        ] {
            let findings = found(Mode::Live, FIELDS, |plan| {
                for rendering in &mut plan.renderings {
                    rendering.text = rendering.text.replace(rendering.link.as_str(), link);
                    rendering.link = link.parse().unwrap();
                    rendering.text = format!("Nässjö kommun {}", rendering.link);
                }
            });
            assert_eq!(findings.is_empty(), ours, "{link}: {findings:?}");
        }
    }

    #[test]
    fn a_real_alert_never_says_that_it_is_an_exercise() {
        for (area, stops) in [
            ("ÖVNING Forserum", true),
            ("Forserum, övning: nej", true),
            ("TEST Forserum", true),
            ("EXERCISE", true),
            ("Testvägen i Forserum", false),
            ("vid övningsområdet", false),
        ] {
            let findings = found(Mode::Live, &[("omrade", area)], |_| {});
            assert_eq!(is_blocked(&findings), stops, "{area}: {findings:?}");
        }
    }

    #[test]
    fn nothing_is_sent_whose_time_has_passed() {
        let (command, message, municipality) = (command(FIELDS), message(), municipality());
        let plan =
            crate::compose::plan::<crate::compose::TextRule>(&command, &message, &municipality, &[]).unwrap();
        for (seconds, stops) in [(-1, true), (0, true), (60, true), (61, false)] {
            let findings = run(&CheckInput {
                command: &command,
                message: &message,
                municipality: &municipality,
                plan: &plan,
                accounts: &[],
                valid_until: crate::clock::from_micros(seconds * 1_000_000),
                now: Timestamp::UNIX_EPOCH,
            });
            assert_eq!(is_blocked(&findings), stops, "{seconds} s");
        }
    }
}
