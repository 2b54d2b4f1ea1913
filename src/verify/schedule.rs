//! When an account is looked at next. Spread over the interval, so that not all services are asked in the same second.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::{Timestamp, later};
use crate::model::Subject;

/// When to look at it next: `after` the last look, or, if there was none, somewhere within the first interval, always at
/// the same place for the same subject.
pub fn next(subject: &Subject, last: Option<Timestamp>, after: Duration, start: Timestamp) -> Timestamp {
    match last {
        Some(last) => later(last, after),
        None => later(start, offset(subject, after)),
    }
}

/// Where among the others a subject comes, always the same.
pub fn place(subject: &Subject) -> Duration {
    offset(subject, Duration::from_secs(1))
}

/// Where within the interval a subject is looked at.
fn offset(subject: &Subject, within: Duration) -> Duration {
    let sum = Sha256::digest(subject.as_str().as_bytes());
    let part = sum
        .iter()
        .take(4)
        .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte));
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    // 32 bits of a millisecond count that fits 2^31 seconds: no overflow.
    Duration::from_millis((within.min(1 << 31) * part) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_spread_and_each_keeps_its_place() {
        let start: Timestamp = "2026-11-29T08:00:00Z".parse().unwrap();
        let every = Duration::from_mins(10);
        let at: std::collections::BTreeSet<Timestamp> = (0..30)
            .map(|n| {
                let subject: Subject = format!("konto-{n}").parse().unwrap();
                let at = next(&subject, None, every, start);
                assert_eq!(at, next(&subject, None, every, start));
                assert!(at >= start && at < later(start, every));
                at
            })
            .collect();
        assert!(at.len() > 25, "{} places", at.len());
        let subject: Subject = "konto-1".parse().unwrap();
        assert_eq!(next(&subject, Some(start), every, start), later(start, every));
    }
}
