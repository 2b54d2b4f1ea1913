//! When a drill is due. A cron line is read in the municipality's zone: where the clock goes forward over its time it
//! comes at the first minute after the gap, and where the clock goes back it comes once, the first time (a line with
//! stars or steps leaves out what does not exist, and comes in both passes). That is croner's documented rule.

use std::cmp::Ordering;
use std::time::Duration;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};

use crate::clock::{Timestamp, earlier};

/// How long after its time a drill may still begin: after that it was missed.
pub const GRACE: Duration = Duration::from_mins(1);
/// Missed times that are told one by one; of more, the latest.
pub const NAMED: usize = 20;
/// Times that are looked through at most: five years of a drill every hour.
const MOST: usize = 50_000;

/// A cron line, and the zone that it is read in.
#[derive(Debug, Clone)]
pub struct Schedule {
    line: String,
    cron: Cron,
    zone: TimeZone,
}

/// What a look at a schedule gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The time that is due now, if one is.
    pub due: Option<Timestamp>,
    /// Times that have passed since the last look and are too old to begin, oldest first; of many, the latest.
    pub missed: Vec<Timestamp>,
    /// How many more were missed than are named.
    pub missed_more: usize,
}

impl Schedule {
    /// Reads a line of five fields: minute, hour, day of month, month, day of week.
    ///
    /// # Errors
    /// What is wrong with it, in a phrase that follows "found …, ".
    pub fn read(line: &str, zone: &str) -> Result<Self, String> {
        let zone = TimeZone::get(zone).map_err(|_| format!("and there is no zone {zone:?}"))?;
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(line).map_err(|error| error.to_string())?;
        let schedule = Self {
            line: line.trim().to_owned(),
            cron,
            zone,
        };
        // A leap year among them: 29 February is a day.
        let from = Timestamp::UNIX_EPOCH;
        if schedule.next(from).is_none() {
            return Err("which never comes".to_owned());
        }
        Ok(schedule)
    }

    /// The line as it was written.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The first time after `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let from = Local(after.to_zoned_datetime(self.zone.clone()));
        let found = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(found.0.timestamp())
    }

    /// What has come since `seen`, which is the time that was dealt with last: due is the latest, if it is not older than
    /// [`GRACE`]; everything before it was missed.
    pub fn look(&self, seen: Timestamp, now: Timestamp) -> Look {
        let mut passed = Vec::new();
        let mut at = seen;
        let mut dropped = 0;
        while let Some(next) = self.next(at).filter(|next| *next <= now) {
            if passed.len() > NAMED {
                passed.remove(0);
                dropped += 1;
            }
            passed.push(next);
            at = next;
            if dropped > MOST {
                break;
            }
        }
        let due = passed.pop_if(|last| *last >= earlier(now, GRACE));
        if passed.len() > NAMED {
            passed.remove(0);
            dropped += 1;
        }
        Look {
            due,
            missed: passed,
            missed_more: dropped,
        }
    }
}

/// A time in a zone, as croner walks over it.
#[derive(Debug, Clone)]
struct Local(ZonedDateTime);

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        let local = self.0.datetime();
        let part = |value: i8| u32::try_from(value).unwrap_or_default();
        // What jiff holds is a date and a time that exist.
        CivilDateTime::from_ymd_hms(
            i32::from(local.year()),
            part(local.month()),
            part(local.day()),
            part(local.hour()),
            part(local.minute()),
            part(local.second()),
        )
        .expect("a date of jiff is a date")
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(u32::try_from(days).unwrap_or_default())
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let part = |value: u32| i8::try_from(value).map_err(|_| CronError::InvalidTime);
        let local = DateTime::new(
            i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        )
        .map_err(|_| CronError::InvalidDate)?;
        let zone = self.0.time_zone();
        let found = zone.to_ambiguous_timestamp(local);
        let at = |found: Result<Timestamp, jiff::Error>| {
            let at = found.map_err(|_| CronError::InvalidTime)?;
            Ok::<_, CronError>(Self(at.to_zoned_datetime(zone.clone())))
        };
        Ok(match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(at(found.unambiguous())?),
            AmbiguousOffset::Fold { .. } => Resolution::Ambiguous(at(found.earlier())?, at(found.later())?),
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()
            .map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::later;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn schedule(line: &str) -> Schedule {
        Schedule::read(line, "Europe/Stockholm").expect("a line")
    }

    fn times(line: &str, from: &str, until: &str) -> Vec<String> {
        let schedule = schedule(line);
        let (mut now, until) = (at(from), at(until));
        let mut all = Vec::new();
        while let Some(next) = schedule.next(now).filter(|next| *next < until) {
            all.push(next.to_string());
            now = next;
        }
        all
    }

    #[test]
    fn what_is_no_line_is_refused_and_says_why() {
        for line in [
            "",
            "60 10 * * *",
            "0 10 * *",
            "0 0 10 * * *",
            "0 10 * * MON 2027",
            "0 10 31 2 *",
            "0 10 * * MÅN",
            "varje måndag",
        ] {
            let wrong = Schedule::read(line, "Europe/Stockholm").expect_err(line);
            assert!(!wrong.is_empty(), "{line}");
        }
        assert!(Schedule::read("0 10 * * *", "Europe/Nassjo").is_err());
    }

    #[test]
    fn a_time_that_the_spring_night_does_not_have_comes_once_right_after_the_gap() {
        // 28 March 2027: at 02.00 the clock becomes 03.00, which is 01:00 UTC.
        assert_eq!(
            times("30 2 * * *", "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z"),
            ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
        );
    }

    #[test]
    fn a_time_that_the_autumn_night_has_twice_comes_once_the_first_time() {
        // 25 October 2026: at 03.00 the clock becomes 02.00 again; 02.30 is 00:30 and 01:30 UTC.
        assert_eq!(
            times("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn the_hour_of_the_day_stays_over_the_year() {
        let all = times("0 10 * * MON#1", "2026-12-01T00:00:00Z", "2027-12-01T00:00:00Z");
        assert_eq!(all.len(), 12, "{all:?}");
        let summer = all.iter().filter(|time| time.ends_with("T08:00:00Z")).count();
        let winter = all.iter().filter(|time| time.ends_with("T09:00:00Z")).count();
        assert_eq!((summer, winter), (7, 5), "{all:?}");
    }

    #[test]
    fn what_is_just_due_begins_and_what_is_older_was_missed() {
        let daily = schedule("0 10 * * *");
        let seen = at("2026-11-30T09:00:00Z");
        let nothing = daily.look(seen, at("2026-12-01T08:59:59Z"));
        assert_eq!((nothing.due, nothing.missed.len()), (None, 0));
        let due = daily.look(seen, at("2026-12-01T09:00:00Z"));
        assert_eq!(due.due, Some(at("2026-12-01T09:00:00Z")));
        assert!(due.missed.is_empty());
        let still = daily.look(seen, at("2026-12-01T09:01:00Z"));
        assert_eq!(still.due, Some(at("2026-12-01T09:00:00Z")));
        let late = daily.look(seen, at("2026-12-01T09:01:01Z"));
        assert_eq!((late.due, late.missed), (None, vec![at("2026-12-01T09:00:00Z")]));
        let back = daily.look(at("2026-12-01T09:00:00Z"), at("2026-11-30T12:00:00Z"));
        assert_eq!(
            (back.due, back.missed.len()),
            (None, 0),
            "a clock that went back repeats nothing"
        );
    }

    #[test]
    fn of_many_missed_ones_the_latest_are_named_and_the_rest_counted() {
        let hourly = schedule("0 * * * *");
        let seen = at("2026-11-30T09:00:00Z");
        let look = hourly.look(seen, later(seen, Duration::from_hours(100)));
        assert_eq!(look.due, Some(later(seen, Duration::from_hours(100))));
        assert_eq!((look.missed.len(), look.missed_more), (NAMED, 99 - NAMED));
        assert_eq!(look.missed.last(), Some(&later(seen, Duration::from_hours(99))));
    }

    #[test]
    fn over_a_year_of_looks_each_time_is_dealt_with_once() {
        let schedule = schedule("30 2 * * *");
        let start = at("2026-11-29T12:00:00Z");
        let (mut seen, mut ran, mut missed) = (start, 0, 0);
        // A look every 30 s, but for a week in which the daemon is down.
        let down = at("2027-03-25T12:00:00Z")..at("2027-04-01T12:00:00Z");
        let mut now = start;
        while now < at("2027-11-29T12:00:00Z") {
            now = later(now, Duration::from_secs(30));
            if down.contains(&now) {
                continue;
            }
            // What the runner does: nothing is looked for before the next time has come.
            if schedule.next(seen).is_none_or(|next| next > now) {
                continue;
            }
            let look = schedule.look(seen, now);
            missed += look.missed.len();
            ran += usize::from(look.due.is_some());
            seen = look.due.unwrap_or(now);
        }
        assert_eq!((ran, missed), (365 - 7, 7));
    }
}
