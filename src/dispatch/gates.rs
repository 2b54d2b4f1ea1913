//! What can keep a whole lane from attempting anything: the service's own request, dead credentials, the breaker, the
//! pace. Within the process all of it counts on the monotonic clock; on disk it is wall time.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, Pass};
use super::pace::Pace;
use super::room::{Room, can_wait, room};
use crate::channel;
use crate::clock::{Timestamp, later, until};
use crate::model::{Busy, Delivery, Quota, Receipt, SendError};
use crate::store::LaneNotes;

/// How long the lane rests after a dead credential; doubled each time.
const REST: Duration = Duration::from_mins(1);
/// The longest such rest.
const LONGEST_REST: Duration = Duration::from_mins(30);
/// The longest that a service may close the account for with one answer: quotas are per day, more is nonsense.
const LONGEST_BUSY: Duration = Duration::from_hours(24);

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Yes.
    Granted,
    /// Not this delivery, but perhaps another one.
    NotThis(Option<Instant>),
    /// Nothing of the lane before then.
    Closed(Instant),
    /// Only the pace stands in the way, until then.
    Paced(Instant),
}

/// The gates of one lane.
#[derive(Debug)]
pub(super) struct Gates {
    pace: Pace,
    breaker: Breaker,
    busy_until: Option<Instant>,
    /// Answers of "busy" in a row: without a time, the waits grow with them.
    busy_streak: u32,
    rest_until: Option<Instant>,
    rests: u32,
    /// Little is left of what the service takes: until then only what cannot wait.
    urgent_until: Option<Instant>,
}

impl Gates {
    /// As the last owner of the lane left them.
    pub(super) fn restore(notes: &LaneNotes, rule: channel::Pace, now: Instant, wall: Timestamp) -> Self {
        let ahead = |at: Option<Timestamp>| {
            at.filter(|at| *at > wall)
                .map(|at| now + until(wall, at).min(LONGEST_BUSY))
        };
        let ages: Vec<Duration> = notes.recent.iter().map(|at| until(*at, wall)).collect();
        Self {
            pace: Pace::new(rule, now, &ages),
            breaker: Breaker::restore(notes.failures, ahead(notes.open_until), notes.reason.clone()),
            busy_until: ahead(notes.busy_until),
            busy_streak: 0,
            rest_until: None,
            rests: 0,
            urgent_until: None,
        }
    }

    /// Takes over a changed rule.
    pub(super) fn pace(&mut self, rule: channel::Pace, now: Instant) {
        if rule != self.pace.rule() {
            self.pace = self.pace.under(rule, now);
        }
    }

    /// A person did something: the next delivery may find out whether the credential works again.
    pub(super) fn wake_from_rest(&mut self) {
        self.rest_until = None;
        self.rests = 0;
    }

    /// Whether an attempt at `delivery` may begin; if so it is counted. `awaited` if something that cannot wait comes only
    /// after it.
    pub(super) fn leave(
        &mut self,
        delivery: &Delivery,
        awaited: bool,
        under_way: usize,
        now: Instant,
    ) -> Leave {
        let closed = [self.rest_until, self.busy_until]
            .into_iter()
            .flatten()
            .max()
            .filter(|until| *until > now);
        if let Some(until) = closed {
            return Leave::Closed(until);
        }
        if let Some(until) = self.urgent_until.filter(|until| *until > now)
            && can_wait(delivery)
            && !awaited
        {
            return Leave::NotThis(Some(until));
        }
        let probe = match self
            .breaker
            .pass(&delivery.broadcast, delivery.attempts == 0, now)
        {
            Pass::Free => false,
            Pass::Probe if under_way == 0 => true,
            Pass::Probe | Pass::AfterProbe => return Leave::NotThis(None),
            Pass::Not(until) => return Leave::NotThis(Some(until)),
        };
        if let Err(until) = self.pace.take(now) {
            return Leave::Paced(until);
        }
        if probe {
            self.breaker.probing(&delivery.id, &delivery.broadcast);
        }
        Leave::Granted
    }

    /// The attempt for which leave was given was not made.
    pub(super) fn not_made(&mut self, delivery: &Delivery) {
        self.breaker.neither(&delivery.id);
    }

    /// Learns from an attempt. Returns whether what must be remembered changed. `next` is when the delivery goes again.
    pub(super) fn learn(
        &mut self,
        delivery: &Delivery,
        result: &Result<Option<Receipt>, SendError>,
        next: Option<Timestamp>,
        now: Instant,
        wall: Timestamp,
    ) -> bool {
        match result {
            Ok(_) => {
                self.busy_streak = 0;
                self.rests = 0;
                self.breaker.success(&delivery.id)
            }
            Err(SendError::Refused(_)) => {
                self.busy_streak = 0;
                self.breaker.success(&delivery.id)
            }
            Err(SendError::NotSent(reason) | SendError::Unknown(reason)) => {
                self.breaker
                    .failure(&delivery.id, &delivery.broadcast, reason, now);
                true
            }
            // The account has answered, and says nothing of itself.
            Err(SendError::Busy {
                scope: Busy::Recipient,
                ..
            }) => {
                self.breaker.neither(&delivery.id);
                false
            }
            Err(SendError::Busy {
                until,
                scope: Busy::Account,
                ..
            }) => {
                self.breaker.neither(&delivery.id);
                self.busy_streak = self.busy_streak.saturating_add(1);
                self.busy(until.filter(|until| *until > wall).or(next), now, wall);
                true
            }
            Err(SendError::Credential(_)) => {
                self.breaker.neither(&delivery.id);
                let rest = REST.saturating_mul(1_u32.checked_shl(self.rests.min(10)).unwrap_or(u32::MAX));
                self.rest_until = Some(now + rest.min(LONGEST_REST));
                self.rests = self.rests.saturating_add(1);
                false
            }
        }
    }

    /// Learns what the service says of its limit. Returns whether what must be remembered changed.
    pub(super) fn heed(&mut self, quota: &Quota, now: Instant, wall: Timestamp) -> bool {
        match room(quota, wall) {
            Room::Free => {
                self.urgent_until = None;
                false
            }
            Room::Urgent(at) => {
                self.urgent_until = Some(now + until(wall, at).min(LONGEST_BUSY));
                false
            }
            Room::Nothing(at) => {
                self.urgent_until = None;
                self.busy(Some(at), now, wall);
                true
            }
        }
    }

    /// The service asked to be left alone.
    pub(super) fn busy(&mut self, until_wall: Option<Timestamp>, now: Instant, wall: Timestamp) {
        if let Some(at) = until_wall {
            let at = now + until(wall, at).min(LONGEST_BUSY);
            self.busy_until = Some(self.busy_until.map_or(at, |before| before.max(at)));
        }
    }

    /// Until when the service wants to be left alone.
    pub(super) fn busy_until(&self, now: Instant) -> Option<Instant> {
        self.busy_until.filter(|until| *until > now)
    }

    /// Answers of "busy" in a row.
    pub(super) fn busy_streak(&self) -> u32 {
        self.busy_streak
    }

    /// Whether the breaker lets nothing but probes through.
    pub(super) fn is_broken(&self, now: Instant) -> bool {
        self.breaker.is_open(now)
    }

    /// What a later owner of the lane must know.
    pub(super) fn notes(&self, now: Instant, wall: Timestamp) -> LaneNotes {
        let on_the_wall = |at: Option<Instant>| {
            at.filter(|at| *at > now)
                .map(|at| later(wall, at.saturating_duration_since(now)))
        };
        LaneNotes {
            busy_until: on_the_wall(self.busy_until),
            open_until: on_the_wall(self.breaker.open_until()),
            failures: self.breaker.failures(),
            reason: self.breaker.reason().cloned(),
            recent: Vec::new(),
        }
    }
}
