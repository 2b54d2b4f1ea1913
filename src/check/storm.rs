//! The same text twice, and too many messages in a row: what a finger that slips or a script that runs wild does. A person
//! who means it overrides the block with a reason. Pure: what went out lately is given.
//!
//! Never in the way of an exercise, a correction or the message that a danger is over.

use std::time::Duration;

use super::Finding;
use crate::clock::{Timestamp, until};
use crate::compose::Command;
use crate::config::Checks;
use crate::model::{AccountId, Kind, Mode, Recent};

/// The id of findings about a text that went out already.
pub const DUPLICATE: &str = "duplicate";
/// The id of findings about too many messages.
pub const STORM: &str = "storm";

/// How far back anything matters to a command; `None` if nothing does.
pub fn looks_back(command: &Command, checks: &Checks) -> Option<Duration> {
    let guarded = command.mode == Mode::Live && warns(command.kind);
    let storm = (checks.storm_limit > 0).then_some(checks.storm_window);
    storm
        .max(Some(checks.duplicate_window))
        .filter(|window| guarded && !window.is_zero())
}

/// What the guard says of a command at `now`; `texts` is what would go out on each account.
pub fn guard<'a>(
    command: &Command,
    texts: impl Iterator<Item = (&'a AccountId, &'a str)>,
    recent: &[Recent],
    checks: &Checks,
    now: Timestamp,
) -> Vec<Finding> {
    if looks_back(command, checks).is_none() {
        return Vec::new();
    }
    let within = |window: Duration| recent.iter().filter(move |one| until(one.at, now) < window);
    let mut findings = Vec::new();
    let before: Vec<&Recent> = within(checks.duplicate_window).collect();
    let mut again: Option<(&Recent, Vec<&str>)> = None;
    for (account, text) in texts {
        let same =
            |one: &&&Recent| one.accounts.contains(account) && one.texts.iter().any(|known| known == text);
        if let Some(earlier) = before.iter().find(same) {
            again
                .get_or_insert_with(|| (earlier, Vec::new()))
                .1
                .push(account.as_str());
        }
    }
    if let Some((earlier, accounts)) = again {
        let minutes = until(earlier.at, now).as_secs().div_ceil(60).max(1);
        let text = format!(
            "Samma text gick ut för {minutes} min sedan ({}) på {}. Är det meningen: --override {DUPLICATE}=SKÄL.",
            earlier.broadcast,
            accounts.join(", ")
        );
        findings.push(Finding::block(DUPLICATE, None, text));
    }
    let many = within(checks.storm_window).filter(|one| warns(one.kind)).count();
    if checks.storm_limit > 0 && many >= usize::try_from(checks.storm_limit).unwrap_or(usize::MAX) {
        let text = format!(
            "{many} skarpa meddelanden har gått ut på {} min, och gränsen är {}. Är det meningen: --override {STORM}=SKÄL.",
            checks.storm_window.as_secs().div_ceil(60),
            checks.storm_limit
        );
        findings.push(Finding::block(STORM, None, text));
    }
    findings
}

/// Whether a kind warns of something, and does not take back or end what was said.
fn warns(kind: Kind) -> bool {
    match kind {
        Kind::Initial | Kind::Update => true,
        Kind::Correction | Kind::AllClear => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{is_blocked, override_blocks};
    use crate::clock::from_micros;
    use crate::compose::examples::{account, command};

    const CHECKS: Checks = Checks {
        storm_limit: 3,
        storm_window: Duration::from_mins(10),
        duplicate_window: Duration::from_mins(15),
        ..Checks::DEFAULT
    };

    fn recent(minutes: u64, text: &str) -> Recent {
        let now = from_micros(0);
        Recent {
            broadcast: "2026-0001.1".parse().unwrap(),
            kind: Kind::Initial,
            at: now - jiff::SignedDuration::from_mins(i64::try_from(minutes).unwrap()),
            texts: vec![text.to_owned()],
            accounts: vec![account("a"), account("b")],
        }
    }

    fn found(kind: Kind, mode: Mode, text: &str, before: &[Recent]) -> Vec<Finding> {
        let mut command = command(&[("omrade", "Forserum")]);
        (command.kind, command.mode) = (kind, mode);
        let (a, c) = (account("a"), account("c"));
        let texts = [(&a, text), (&c, text)];
        guard(&command, texts.into_iter(), before, &CHECKS, from_micros(0))
    }

    fn ids(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.check.as_str()).collect()
    }

    #[test]
    fn the_same_text_on_the_same_account_is_stopped_while_it_is_new() {
        for (minutes, text, expected) in [
            (1, "Koka vattnet", &[DUPLICATE][..]),
            (14, "Koka vattnet", &[DUPLICATE]),
            (15, "Koka vattnet", &[]),
            (1, "Koka allt vatten", &[]),
        ] {
            let before = [recent(minutes, "Koka vattnet")];
            assert_eq!(
                ids(&found(Kind::Initial, Mode::Live, text, &before)),
                expected,
                "{minutes} {text}"
            );
        }
        let other = Recent {
            accounts: vec![account("b")],
            ..recent(1, "Koka vattnet")
        };
        assert_eq!(found(Kind::Initial, Mode::Live, "Koka vattnet", &[other]), []);
    }

    #[test]
    fn too_many_in_a_row_are_stopped_and_never_a_drill_a_correction_or_the_end() {
        let before: Vec<Recent> = (0..3).map(|n| recent(n, &n.to_string())).collect();
        let of = |kind, mode| ids(&found(kind, mode, "x", &before)).len();
        assert_eq!(ids(&found(Kind::Initial, Mode::Live, "x", &before)), [STORM]);
        assert_eq!(ids(&found(Kind::Update, Mode::Live, "x", &before)), [STORM]);
        assert_eq!(of(Kind::Correction, Mode::Live), 0);
        assert_eq!(of(Kind::AllClear, Mode::Live), 0);
        assert_eq!(of(Kind::Initial, Mode::Drill), 0);
        assert_eq!(
            found(Kind::Initial, Mode::Live, "x", before.get(..2).unwrap()),
            []
        );
        let old = [recent(1, "1"), recent(2, "2"), recent(10, "10")];
        assert_eq!(found(Kind::Initial, Mode::Live, "x", &old), []);
    }

    #[test]
    fn a_person_who_means_it_says_why() {
        let before = [recent(1, "Koka vattnet")];
        let mut findings = found(Kind::Initial, Mode::Live, "Koka vattnet", &before);
        assert!(is_blocked(&findings));
        let because = |check: &str, why: &str| [(check.to_owned(), why.to_owned())].into();
        for (check, why) in [(DUPLICATE, " "), ("sender", "bråttom"), (DUPLICATE, "a\nb")] {
            assert!(
                override_blocks(&mut findings, &because(check, why)).is_err(),
                "{check} {why:?}"
            );
            assert!(is_blocked(&findings));
        }
        override_blocks(&mut findings, &because(DUPLICATE, "nya invånare")).unwrap();
        assert!(!is_blocked(&findings));
        assert_eq!(
            findings[0].text,
            "Samma text gick ut för 1 min sedan (2026-0001.1) på a. Är det meningen: --override duplicate=SKÄL. \
             Åsidosatt: nya invånare"
        );
    }

    #[test]
    fn what_is_switched_off_looks_at_nothing() {
        let off = Checks {
            storm_limit: 0,
            duplicate_window: Duration::ZERO,
            ..CHECKS
        };
        let command = command(&[("omrade", "Forserum")]);
        assert_eq!(looks_back(&command, &off), None);
        assert_eq!(looks_back(&command, &CHECKS), Some(CHECKS.duplicate_window));
    }
}
