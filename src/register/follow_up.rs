//! The yearly follow-up: of each account, once a year is over, somebody looks whether it does what it was meant to, and
//! attests it. Due from New Year, late from a day that the municipality chooses.

use jiff::civil::Date;

use super::attest::{Attestation, What};
use super::findings::open_social;
use super::{Finding, words};
use crate::clock::Timestamp;
use crate::config::{Account, Config};

/// The accounts whose follow-up of last year is not done.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    /// Which.
    pub accounts: Vec<&'a Account>,
    /// The year that is to be followed up.
    pub year: i16,
    /// When this year began.
    pub since: Timestamp,
    /// The day by which it is to be done.
    pub last_day: Date,
}

/// The accounts whose follow-up of last year is not done; `None` only in years that cannot be reckoned with.
pub fn waiting<'a>(config: &'a Config, all: &[Attestation], now: Timestamp) -> Option<Waiting<'a>> {
    let zone = &config.municipality.time_zone;
    let this_year = words::day(now, zone).year();
    let (month, day) = config.register.follow_up_by;
    let new_year = Date::new(this_year, 1, 1).ok()?;
    let last_day = Date::new(this_year, month, day).ok()?;
    let since = words::midnight(new_year, zone)?;
    let accounts = open_social(config)
        // What did not exist last year has nothing to be followed up.
        .filter(|account| account.register.decided_on.is_none_or(|day| day < new_year))
        .filter(|account| {
            let of_it = all
                .iter()
                .filter(|one| one.account == account.id && one.what == What::YearlyFollowUp);
            let latest = of_it.max_by_key(|one| one.id);
            !latest.is_some_and(|one| one.revoked_at.is_none() && one.at >= since)
        });
    Some(Waiting {
        accounts: accounts.collect(),
        year: this_year - 1,
        since,
        last_day,
    })
}

/// The accounts whose follow-up of last year is not done. A notice until the day, a warning after it.
pub fn findings(config: &Config, all: &[Attestation], now: Timestamp) -> Vec<Finding> {
    let Some(waiting) = waiting(config, all, now) else {
        return Vec::new();
    };
    let today = words::day(now, &config.municipality.time_zone);
    let (year, last_day) = (waiting.year, waiting.last_day);
    let accounts = waiting.accounts.into_iter();
    accounts
        .map(|account| {
            let figures = match account.register.key_figures.as_slice() {
                [] => String::new(),
                figures => format!(" (nyckeltal: {})", figures.join(", ")),
            };
            let how = format!(
                "vardkase attest {} {} --evidence …",
                account.id,
                What::YearlyFollowUp
            );
            let by = words::date(last_day);
            let paragraphs = What::YearlyFollowUp.paragraphs();
            if today <= last_day {
                let text = format!("följ upp {year}{figures} senast {by} och intyga det: {how}");
                Finding::notice("follow-up", Some(&account.id), paragraphs, text)
            } else {
                let text =
                    format!("uppföljningen av {year}{figures} skulle vara klar {by}; intyga den: {how}");
                Finding::warning("follow-up", Some(&account.id), paragraphs, text)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::later;
    use crate::register::Level;
    use crate::register::attest::tests::given;
    use crate::register::export::tests::shipped;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn count(found: &[Finding], level: Level) -> usize {
        found.iter().filter(|finding| finding.level == level).count()
    }

    #[test]
    fn each_new_year_asks_anew_and_the_day_makes_it_late() {
        let config = shipped(|text| {
            text.replace(
                "case = \"KS 2025/290\"",
                "case = \"KS 2025/290\"\nclosed = \"2026-05-01\"",
            )
        });
        // An hour before New Year in Sweden it is still the old year, for which everybody was followed up.
        let year = Duration::from_hours(24 * 365);
        let mut all: Vec<Attestation> = open_social(&config)
            .zip(1..)
            .map(|(account, id)| {
                let when = at("2026-01-15T09:00:00Z");
                given(
                    id,
                    account.id.as_str(),
                    What::YearlyFollowUp,
                    when,
                    later(when, year),
                )
            })
            .collect();
        let many = all.len();
        assert!(many > 8);
        assert_eq!(findings(&config, &all, at("2026-12-31T22:30:00Z")), []);
        let found = findings(&config, &all, at("2026-12-31T23:30:00Z"));
        assert_eq!((count(&found, Level::Notice), found.len()), (many, many));
        insta::assert_snapshot!(found[0].to_string());
        let found = findings(&config, &all, at("2027-01-31T22:30:00Z"));
        assert_eq!(count(&found, Level::Notice), many);
        let found = findings(&config, &all, at("2027-01-31T23:30:00Z"));
        assert_eq!(count(&found, Level::Warning), many);
        insta::assert_snapshot!(found[0].to_string());
        let when = at("2027-02-03T09:00:00Z");
        all.push(given(
            100,
            "x-nassjo",
            What::YearlyFollowUp,
            when,
            later(when, year),
        ));
        assert_eq!(findings(&config, &all, when).len(), many - 1);
        // Taken back: it was not done after all.
        if let Some(last) = all.last_mut() {
            last.revoked_at = Some(when);
        }
        assert_eq!(findings(&config, &all, when).len(), many);
    }

    #[test]
    fn an_account_of_this_year_has_nothing_to_follow_up() {
        let config = shipped(|text| text.replace("2013-04-09", "2027-01-10"));
        let found = findings(&config, &[], at("2027-02-03T09:00:00Z"));
        assert!(!found.iter().any(|finding| {
            finding
                .account
                .as_ref()
                .is_some_and(|id| id.as_str() == "x-nassjo")
        }));
        assert!(found.len() > 8);
    }
}
