//! The yearly follow-up: of each account, once a year is over, somebody looks whether it does what it was meant to, and
//! attests it. Due from New Year, late from a day that the municipality chooses.

use jiff::civil::Date;

use super::attest::{Attestation, What};
use super::findings::open_social;
use super::{Finding, words};
use crate::clock::Timestamp;
use crate::config::Config;

/// The accounts whose follow-up of last year is not done. A notice until the day, a warning after it.
pub fn findings(config: &Config, all: &[Attestation], now: Timestamp) -> Vec<Finding> {
    let zone = &config.municipality.time_zone;
    let today = words::day(now, zone);
    let (month, day) = config.register.follow_up_by;
    let (Ok(new_year), Ok(last_day)) = (Date::new(today.year(), 1, 1), Date::new(today.year(), month, day))
    else {
        return Vec::new();
    };
    let Some(since) = words::midnight(new_year, zone) else {
        return Vec::new();
    };
    let year = today.year() - 1;
    open_social(config)
        // What did not exist last year has nothing to be followed up.
        .filter(|account| account.register.decided_on.is_none_or(|day| day < new_year))
        .filter(|account| {
            let of_it = all
                .iter()
                .filter(|one| one.account == account.id && one.what == What::YearlyFollowUp);
            let latest = of_it.max_by_key(|one| one.id);
            !latest.is_some_and(|one| one.revoked_at.is_none() && one.at >= since)
        })
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
