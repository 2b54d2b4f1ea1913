//! When something that recurs is due. Pure: the time is given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};

/// How soon what failed is tried again, at the latest.
const AGAIN: Duration = Duration::from_mins(15);

/// When it was done, and when it was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When it was last begun.
    pub tried_at: Option<Timestamp>,
    /// When it last succeeded.
    pub done_at: Option<Timestamp>,
}

/// When it is due next; `None` if it never was tried and is due at once.
pub fn next(mark: Mark, every: Duration) -> Option<Timestamp> {
    let tried = mark.tried_at?;
    let failed = mark.done_at.is_none_or(|done| done < tried);
    Some(clock::later(tried, if failed { every.min(AGAIN) } else { every }))
}

/// Whether it is due. A mark of the future is a clock that was wrong, and counts as none.
pub fn due(mark: Mark, every: Duration, now: Timestamp) -> bool {
    let from_future = mark.tried_at.is_some_and(|tried| tried > now);
    from_future || next(mark, every).is_none_or(|next| next <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(minutes: i64) -> Timestamp {
        clock::from_micros(minutes * 60_000_000)
    }

    #[test]
    fn what_was_never_done_is_due_at_once_and_then_once_a_day() {
        assert!(due(Mark::default(), DAY, at(0)));
        let mark = Mark {
            tried_at: Some(at(10)),
            done_at: Some(at(10)),
        };
        assert!(!due(mark, DAY, at(10)));
        assert!(!due(mark, DAY, at(10 + 1439)));
        assert!(due(mark, DAY, at(10 + 1440)));
    }

    #[test]
    fn what_failed_is_tried_again_soon_but_not_at_once() {
        let mark = Mark {
            tried_at: Some(at(2000)),
            done_at: Some(at(10)),
        };
        assert!(!due(mark, DAY, at(2014)));
        assert!(due(mark, DAY, at(2015)));
        // Never later than it would have been anyway.
        assert!(due(mark, Duration::from_mins(1), at(2001)));
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_stop_it() {
        let mark = Mark {
            tried_at: Some(at(1_000_000)),
            done_at: Some(at(1_000_000)),
        };
        assert!(due(mark, DAY, at(5)));
    }

    #[test]
    fn a_year_of_days_is_so_many_times() {
        let (mut mark, mut times) = (Mark::default(), 0);
        for minute in 0..365 * 1440 {
            if due(mark, DAY, at(minute)) {
                times += 1;
                mark = Mark {
                    tried_at: Some(at(minute)),
                    done_at: Some(at(minute)),
                };
            }
        }
        assert_eq!(times, 365);
    }
}
