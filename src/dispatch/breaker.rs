//! The circuit breaker of a lane: after failures in a row the account is left alone for a while. It only postpones; it
//! never drops a delivery. What it knows survives a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{BroadcastId, DeliveryId, Reason};

/// Failures in a row that open it.
const THRESHOLD: u32 = 5;
/// How long it is open the first time; doubled with each further failure.
const FIRST: Duration = Duration::from_secs(15);
/// The longest that it is open.
const LONGEST: Duration = Duration::from_mins(5);

/// Whether an attempt may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Yes.
    Free,
    /// Yes, and its outcome decides whether the others may.
    Probe,
    /// Not while the probe is under way.
    AfterProbe,
    /// Not before then.
    Not(Instant),
}

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    reason: Option<Reason>,
    probe: Option<DeliveryId>,
    /// Broadcasts that have met the failure: only one that has not may probe an open breaker.
    met: BTreeSet<BroadcastId>,
}

impl Breaker {
    /// As it was left.
    pub(super) fn restore(failures: u32, open_until: Option<Instant>, reason: Option<Reason>) -> Self {
        Self {
            failures,
            open_until,
            reason,
            ..Self::default()
        }
    }

    /// Whether an attempt at a delivery of `broadcast` may go now; `fresh` if it has had none.
    pub(super) fn pass(&self, broadcast: &BroadcastId, fresh: bool, now: Instant) -> Pass {
        if self.failures < THRESHOLD {
            return Pass::Free;
        }
        if self.probe.is_some() {
            return Pass::AfterProbe;
        }
        match self.open_until {
            Some(until) if now < until && (!fresh || self.met.contains(broadcast)) => Pass::Not(until),
            Some(_) | None => Pass::Probe,
        }
    }

    /// An attempt that was let through as a probe begins.
    pub(super) fn probing(&mut self, delivery: &DeliveryId, broadcast: &BroadcastId) {
        self.probe = Some(delivery.clone());
        self.met.insert(broadcast.clone());
    }

    /// The attempt ended in a way that says nothing of the account's health, or never began.
    pub(super) fn neither(&mut self, delivery: &DeliveryId) {
        if self.probe.as_ref() == Some(delivery) {
            self.probe = None;
        }
    }

    /// The account answered. Returns whether that is news.
    pub(super) fn success(&mut self, delivery: &DeliveryId) -> bool {
        self.neither(delivery);
        let news = self.failures > 0;
        if news {
            *self = Self::default();
        }
        news
    }

    /// The account did not answer.
    pub(super) fn failure(
        &mut self,
        delivery: &DeliveryId,
        broadcast: &BroadcastId,
        reason: &Reason,
        now: Instant,
    ) {
        let probed = self.probe.as_ref() == Some(delivery);
        self.neither(delivery);
        self.met.insert(broadcast.clone());
        // Attempts that were under way when it opened failed for the same cause: they do not lengthen it.
        if !probed && self.is_open(now) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.reason = Some(reason.clone());
        if let Some(more) = self.failures.checked_sub(THRESHOLD) {
            let open = FIRST
                .saturating_mul(1_u32.checked_shl(more.min(8)).unwrap_or(u32::MAX))
                .min(LONGEST);
            self.open_until = Some(now + open);
        }
    }

    /// Whether it lets nothing but probes through now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.failures >= THRESHOLD && self.open_until.is_some_and(|until| now < until)
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when it is open.
    pub(super) fn open_until(&self) -> Option<Instant> {
        self.open_until
    }

    /// The latest failure.
    pub(super) fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AlertId, Mode};

    fn broadcast(number: i64) -> BroadcastId {
        BroadcastId::of(&AlertId::numbered(Mode::Live, 2026, 1), number)
    }

    fn fail(breaker: &mut Breaker, delivery: &DeliveryId, now: Instant) {
        breaker.failure(delivery, &broadcast(1), &Reason::new("connect", "no route"), now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_it_doubles_to_five_minutes() {
        let mut breaker = Breaker::default();
        let delivery = DeliveryId::fresh();
        let mut now = Instant::now();
        for _ in 0..4 {
            fail(&mut breaker, &delivery, now);
            assert_eq!(breaker.pass(&broadcast(1), false, now), Pass::Free);
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            fail(&mut breaker, &delivery, now);
            let Pass::Not(until) = breaker.pass(&broadcast(1), false, now) else {
                panic!("it is open")
            };
            waits.push((until - now).as_secs());
            now = until;
            assert_eq!(breaker.pass(&broadcast(1), false, now), Pass::Probe);
            breaker.probing(&delivery, &broadcast(1));
            assert_eq!(breaker.pass(&broadcast(1), false, now), Pass::AfterProbe);
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300, 300]);
        assert!(breaker.success(&delivery));
        assert_eq!(breaker.pass(&broadcast(1), false, now), Pass::Free);
    }

    #[test]
    fn a_new_broadcast_probes_an_open_breaker_once() {
        let mut breaker = Breaker::default();
        let (old, new) = (DeliveryId::fresh(), DeliveryId::fresh());
        let now = Instant::now();
        for _ in 0..5 {
            fail(&mut breaker, &old, now);
        }
        assert!(matches!(breaker.pass(&broadcast(1), true, now), Pass::Not(_)));
        assert_eq!(breaker.pass(&broadcast(2), true, now), Pass::Probe);
        breaker.probing(&new, &broadcast(2));
        breaker.failure(&new, &broadcast(2), &Reason::new("connect", "no route"), now);
        assert!(matches!(breaker.pass(&broadcast(2), true, now), Pass::Not(_)));
    }

    #[test]
    fn attempts_under_way_when_it_opened_do_not_lengthen_it() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..40 {
            fail(&mut breaker, &DeliveryId::fresh(), now);
        }
        assert_eq!(breaker.open_until(), Some(now + FIRST));
    }
}
