//! How fast an account is written to: GCRA over the published limit. What was sent before a restart still counts, so a
//! restart gives no fresh burst.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::channel;

/// As many attempts as the store remembers for a lane.
const REMEMBERED: usize = 200;

/// A clock that is set before each question: past attempts can be played back, and tests own the time.
#[derive(Debug, Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn set(&self, at: Duration) {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Hand, NoOpMiddleware<Duration>>;

/// The rate limiter of a lane.
#[derive(Debug)]
pub(super) struct Pace {
    rule: channel::Pace,
    origin: Instant,
    hand: Hand,
    /// `None` if the rule is no limit at all.
    limiter: Option<Limiter>,
    /// When the latest attempts began, oldest first.
    recent: VecDeque<Instant>,
}

impl Pace {
    /// A limiter for `rule` that has already counted attempts of the given ages.
    pub(super) fn new(rule: channel::Pace, now: Instant, ages: &[Duration]) -> Self {
        let mut ages: Vec<Duration> = ages.iter().copied().take(REMEMBERED).collect();
        ages.sort_unstable_by(|a, b| b.cmp(a));
        let oldest = ages.first().copied().unwrap_or_default();
        let hand = Hand::default();
        let limiter = quota(rule).map(|quota| Limiter::direct_with_clock(quota, hand.clone()));
        let mut recent = VecDeque::with_capacity(ages.len());
        for age in ages {
            hand.set(oldest.saturating_sub(age));
            if let Some(limiter) = &limiter {
                // Refused only if the attempt was made under a wider rule; it is past either way.
                limiter.check().ok();
            }
            if let Some(at) = now.checked_sub(age) {
                recent.push_back(at);
            }
        }
        Self {
            rule,
            origin: now.checked_sub(oldest).unwrap_or(now),
            hand,
            limiter,
            recent,
        }
    }

    /// The same history under another rule.
    pub(super) fn under(&self, rule: channel::Pace, now: Instant) -> Self {
        Self::new(rule, now, &self.ages(now))
    }

    /// The rule in force.
    pub(super) fn rule(&self) -> channel::Pace {
        self.rule
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// When the next one may begin, if that is later than now; nothing is counted then.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(limiter) = &self.limiter {
            self.hand.set(now.saturating_duration_since(self.origin));
            if let Err(not_until) = limiter.check() {
                // At least a millisecond: the timer's own resolution, and no busy loop at its edge.
                let wait = not_until
                    .wait_time_from(self.hand.now())
                    .max(Duration::from_millis(1));
                return Err(now + wait);
            }
        }
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        Ok(())
    }

    /// How long ago the latest attempts began.
    pub(super) fn ages(&self, now: Instant) -> Vec<Duration> {
        self.recent
            .iter()
            .rev()
            .map(|at| now.saturating_duration_since(*at))
            .collect()
    }
}

fn quota(rule: channel::Pace) -> Option<Quota> {
    let each = rule.per.checked_div(rule.attempts)?;
    let burst = NonZeroU32::new(rule.burst.max(1))?;
    Some(Quota::with_period(each)?.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(attempts: u32, seconds: u64, burst: u32) -> channel::Pace {
        channel::Pace {
            attempts,
            per: Duration::from_secs(seconds),
            burst,
            parallel: 1,
        }
    }

    fn taken(pace: &mut Pace, now: Instant) -> u32 {
        let mut taken = 0;
        while taken < 1000 && pace.take(now).is_ok() {
            taken += 1;
        }
        taken
    }

    #[test]
    fn the_burst_goes_at_once_and_the_rest_is_spread_evenly() {
        let start = Instant::now();
        let mut pace = Pace::new(rule(30, 300, 3), start, &[]);
        assert_eq!(taken(&mut pace, start), 3);
        let next = pace.take(start).unwrap_err();
        assert_eq!((next - start).as_secs(), 10);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(10)), 1);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(1000)), 3);
    }

    #[test]
    fn a_restart_gives_no_fresh_burst() {
        let start = Instant::now() + Duration::from_secs(1000);
        let just_now = [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(2)];
        assert_eq!(
            taken(&mut Pace::new(rule(30, 300, 3), start, &just_now), start),
            0
        );
        let older = [
            Duration::from_secs(10),
            Duration::from_secs(10),
            Duration::from_secs(10),
        ];
        assert_eq!(taken(&mut Pace::new(rule(30, 300, 3), start, &older), start), 1);
        let long_ago = [Duration::from_mins(15)];
        assert_eq!(
            taken(&mut Pace::new(rule(30, 300, 3), start, &long_ago), start),
            3
        );
    }

    #[test]
    fn a_reload_keeps_what_was_counted() {
        let start = Instant::now();
        let mut pace = Pace::new(rule(30, 300, 3), start, &[]);
        assert_eq!(taken(&mut pace, start), 3);
        let mut pace = pace.under(rule(60, 300, 4), start);
        assert_eq!(taken(&mut pace, start), 1);
    }

    #[test]
    fn a_rule_without_a_limit_never_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(rule(0, 0, 0), start, &[]);
        assert_eq!(taken(&mut pace, start), 1000);
        assert!(pace.ages(start).len() <= REMEMBERED);
    }
}
