//! How long to wait after a failure: short at first, because a warning that comes late is worth little.

use std::time::Duration;

/// Seconds after the first, second, … failure; the last one repeats.
const SCHEDULE: [u64; 8] = [2, 5, 10, 20, 40, 60, 120, 300];

/// How far a wait may lie from the schedule, so that lanes that failed together do not come back together.
const JITTER: f64 = 0.2;

/// The wait after `failures` failures (counted from 1). `roll` from −1 to 1 places it within the jitter.
pub(super) fn delay(failures: u32, roll: f64) -> Duration {
    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let last = SCHEDULE.len() - 1;
    let seconds = SCHEDULE.get(step.min(last)).copied().unwrap_or(300);
    Duration::from_secs(seconds).mul_f64(1.0 + JITTER * roll.clamp(-1.0, 1.0))
}

/// A fresh place within the jitter.
pub(super) fn roll() -> f64 {
    rand::random_range(-1.0..=1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_short_and_ends_at_five_minutes() {
        let seconds: Vec<u64> = (1..=10).map(|n| delay(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [2, 5, 10, 20, 40, 60, 120, 300, 300, 300]);
        assert_eq!(delay(0, 0.0), delay(1, 0.0));
        assert_eq!(delay(u32::MAX, 0.0), Duration::from_mins(5));
    }

    proptest::proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(failures in 0..100_u32) {
            let base = delay(failures, 0.0);
            let rolled = delay(failures, roll());
            proptest::prop_assert!(rolled >= base.mul_f64(0.799) && rolled <= base.mul_f64(1.201));
        }
    }
}
