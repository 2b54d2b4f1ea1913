//! How much room a service's own word on its limit leaves: back off before the limit, not at it. Pure.

use std::time::Duration;

use crate::clock::{Timestamp, later, until};
use crate::model::{Delivery, Mode, Purpose, Quota};

/// What can wait stands back for so long where the service names no time.
const UNNAMED: Duration = Duration::from_mins(5);
/// One part in so many left: what can wait goes slowly (reference: from 80 % used).
const SLOW: u64 = 5;
/// One part in so many left: what can wait stands back (reference: from 95 % used).
const STOP: u64 = 20;

/// What a quota leaves room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Everything.
    Free,
    /// Before then only what cannot wait.
    Urgent(Timestamp),
    /// Nothing before then.
    Nothing(Timestamp),
}

/// What `quota` leaves room for at `now`.
pub(super) fn room(quota: &Quota, now: Timestamp) -> Room {
    if quota.resets_at.is_some_and(|at| at <= now) {
        return Room::Free;
    }
    match (quota.left, quota.limit, quota.resets_at) {
        (0, _, Some(at)) => Room::Nothing(at),
        (0, _, None) => Room::Urgent(later(now, UNNAMED)),
        (left, Some(limit), at) if left <= limit / STOP => {
            Room::Urgent(at.unwrap_or_else(|| later(now, UNNAMED)))
        }
        // What is left, spread over the time for which it must do.
        (left, Some(limit), at) if left <= limit / SLOW => {
            let whole = at.map_or(UNNAMED, |at| until(now, at));
            let share = u32::try_from(left).map_or(Duration::ZERO, |left| whole / left);
            Room::Urgent(later(now, share.min(UNNAMED)))
        }
        (_, Some(_) | None, _) => Room::Free,
    }
}

/// Whether a delivery stands back where there is little room: practice, and what only moves a post to the top of its page
/// or away from there. Warnings, their corrections and retractions go on.
pub(super) fn can_wait(delivery: &Delivery) -> bool {
    match (delivery.mode, delivery.purpose) {
        (Mode::Drill | Mode::Test, _) | (Mode::Live, Purpose::Pin | Purpose::Unpin) => true,
        (
            Mode::Live,
            Purpose::Publish
            | Purpose::Edit
            | Purpose::Retract
            | Purpose::ConfirmHandOver
            | Purpose::ConfirmInterim
            | Purpose::ConfirmFinal
            | Purpose::ConfirmClosing,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        "2026-11-01T03:00:00Z".parse().unwrap()
    }

    fn of(left: u64, limit: Option<u64>, in_time: Option<Duration>) -> Room {
        let quota = Quota {
            left,
            limit,
            resets_at: in_time.map(|time| later(now(), time)),
        };
        room(&quota, now())
    }

    #[test]
    fn nothing_left_means_no_request_before_the_reset() {
        for limit in [None, Some(300)] {
            assert_eq!(of(0, limit, Some(HOUR)), Room::Nothing(later(now(), HOUR)));
            // No time named: the service has not closed the account, and a warning must not wait for a guess.
            assert_eq!(of(0, limit, None), Room::Urgent(later(now(), UNNAMED)));
            assert_eq!(
                of(0, limit, Some(Duration::ZERO)),
                Room::Free,
                "it has been reset"
            );
        }
    }

    #[test]
    fn what_can_wait_goes_slowly_from_eighty_percent_and_stands_back_from_ninety_five() {
        assert_eq!(of(61, Some(300), Some(HOUR)), Room::Free);
        assert_eq!(
            of(60, Some(300), Some(HOUR)),
            Room::Urgent(later(now(), HOUR / 60))
        );
        assert_eq!(
            of(16, Some(300), Some(HOUR)),
            Room::Urgent(later(now(), HOUR / 16))
        );
        assert_eq!(of(15, Some(300), Some(HOUR)), Room::Urgent(later(now(), HOUR)));
        assert_eq!(of(1, Some(300), Some(HOUR)), Room::Urgent(later(now(), HOUR)));
        assert_eq!(of(4, Some(100), None), Room::Urgent(later(now(), UNNAMED)));
        assert_eq!(
            of(1, None, Some(HOUR)),
            Room::Free,
            "one of nobody knows how many"
        );
        assert_eq!(of(u64::MAX, Some(u64::MAX), Some(HOUR)), Room::Free);
    }
}
