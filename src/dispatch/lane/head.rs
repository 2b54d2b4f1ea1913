//! Reading a lane's head, and deciding at once what needs no channel: expired, overtaken, held, handed over.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{FAR, Lane, WINDOW};
use crate::clock::{Timestamp, until};
use crate::dispatch::decide::{
    StandIn, Verdict, before_attempt, before_settling, stand_in, takes_over_by_hand,
};
use crate::dispatch::queue::Sorted;
use crate::model::{Delivery, DeliveryId, Event, Outcome, Reason, State, Work};
use crate::store::{AttemptChange, Change, FIRST};

/// The most that is read at once, when all that stands before it waits for later.
const LARGEST_WINDOW: usize = 16_384;

/// How long a delivery waits that goes at `at`. What it was accepted or tried at lies ahead of the clock if that was set
/// back meanwhile; the wait is then counted from there, or everything would wait as much longer. Pure.
fn wait(delivery: &Delivery, at: Timestamp, wall: Timestamp) -> Duration {
    let written = delivery
        .started_at
        .map_or(delivery.queued_at, |began| began.max(delivery.queued_at));
    until(if at >= written { wall.max(written) } else { wall }, at)
}

impl Lane {
    /// Reads the head until nothing is left in it that can be decided without the channel. Returns whether what the lane
    /// knows is fresh; if not, a wake is noted.
    pub(super) async fn read_head(&mut self) -> bool {
        let now = Instant::now();
        if let Some(retry) = self.store_retry.filter(|retry| *retry > now) {
            self.note_wake(retry);
            return false;
        }
        self.store_retry = None;
        loop {
            self.dirty = false;
            let most = self
                .given
                .as_ref()
                .map_or(self.window + self.busy.len(), |_| FIRST);
            let head = match self.given.take() {
                Some(head) => Ok(head),
                None => self.shared.ledger.head(&self.id, most).await,
            };
            let head = match head {
                Ok(head) => head,
                Err(error) => {
                    self.dirty = true;
                    tracing::error!(account.id = %self.id.account, mode = %self.id.mode, error = %error, "the lane cannot be read");
                    self.back_off_store();
                    if let Some(retry) = self.store_retry {
                        self.note_wake(retry);
                    }
                    return false;
                }
            };
            let full = head.len() >= most;
            let sorted = Sorted::new(head, &self.busy);
            let changes = self.decide(&sorted);
            if changes.is_empty() {
                if self.keep(sorted, full) {
                    self.store_failures = 0;
                    return true;
                }
                if most > FIRST {
                    self.window = (self.window * 4).min(LARGEST_WINDOW);
                }
                continue;
            }
            if !self.apply(changes).await {
                if let Some(retry) = self.store_retry {
                    self.note_wake(retry);
                }
                return false;
            }
        }
    }

    /// The steps that need no channel.
    fn decide(&self, sorted: &Sorted) -> Vec<Change> {
        let Some(plan) = &self.plan else { return Vec::new() };
        let mut changes = Vec::new();
        for work in &sorted.orphans {
            let reason = Reason::new(
                "interrupted",
                "the attempt was cut off before its outcome was written",
            );
            let lost = Some(AttemptChange::End {
                outcome: Outcome::Unknown,
            });
            let verdict = Verdict::because(Event::Lose, reason);
            changes.push(self.change(&work.delivery, State::Sending, verdict, lost, None));
        }
        for work in &sorted.unknown {
            if let Some(verdict) = before_settling(work, &self.facts(plan, sorted.has_newer(&work.delivery)))
            {
                changes.push(self.decided(work, State::Unknown, verdict));
            }
        }
        for work in sorted.ready.iter().chain(&sorted.blocked) {
            if let Some(verdict) = before_attempt(work, &self.facts(plan, sorted.has_newer(&work.delivery))) {
                changes.push(self.decided(work, State::Queued, verdict));
            } else if let Some(verdict) = takes_over_by_hand(work).filter(|_| self.is_due(work)) {
                changes.push(self.decided(work, State::Queued, verdict));
            }
        }
        changes
    }

    /// Whether the time of a waiting delivery has come, as far as it was known when the head was last read.
    fn is_due(&self, work: &Work) -> bool {
        let due = self.due.get(&work.delivery.id);
        due.is_some_and(|(_, due)| *due <= Instant::now())
    }

    fn decided(&self, work: &Work, from: State, verdict: Verdict) -> Change {
        let delivery = &work.delivery;
        let code = verdict.error.as_ref().map_or("", |reason| reason.code.as_str());
        if verdict.event == Event::Hold {
            tracing::error!(account.id = %delivery.account, delivery.id = %delivery.id, code, "a delivery is held; a person must decide");
        } else {
            tracing::warn!(account.id = %delivery.account, delivery.id = %delivery.id, event = %verdict.event, code, "a delivery is not sent");
        }
        self.change(delivery, from, verdict, None, None)
    }

    /// Writes the steps. Returns whether the head is worth reading again at once.
    async fn apply(&mut self, changes: Vec<Change>) -> bool {
        let ids: Vec<DeliveryId> = changes.iter().map(|change| change.delivery.clone()).collect();
        let answers = self.shared.ledger.change(changes).await;
        let mut moved_on = false;
        for (id, answer) in ids.iter().zip(answers) {
            match answer {
                Ok(_) => moved_on = true,
                Err(error) => self.heed(id, &error),
            }
        }
        if !moved_on && self.store_retry.is_none() {
            // Nothing applied: reading the same again at once would go round in circles.
            self.back_off_store();
        }
        self.dirty = true;
        moved_on && self.store_retry.is_none() && !self.is_ending()
    }

    /// Takes over a head. Returns false if nothing in it is due but more may stand behind it.
    fn keep(&mut self, mut sorted: Sorted, full: bool) -> bool {
        let (now, wall) = (Instant::now(), self.wall());
        let mut any_due = false;
        for work in &sorted.ready {
            let at = match stand_in(work) {
                StandIn::Now => work.delivery.not_before.min(wall),
                StandIn::Waits(at) => at.unwrap_or(work.delivery.deadline),
                StandIn::Due | StandIn::NotNeeded => work.delivery.not_before,
            };
            let due = match self.due.get(&work.delivery.id) {
                Some((known, due)) if *known == at => *due,
                Some(_) | None => now + wait(&work.delivery, at, wall).min(FAR),
            };
            any_due |= due <= now;
            self.due.insert(work.delivery.id.clone(), (at, due));
        }
        if full && !any_due && sorted.unknown.is_empty() && self.window < LARGEST_WINDOW {
            return false;
        }
        if !full {
            self.window = WINDOW;
        }
        self.refill = full && any_due;
        self.read_at = now;
        let waiting = || sorted.ready.iter().chain(&sorted.blocked);
        self.earliest_deadline = waiting().map(|work| work.delivery.deadline).min();
        self.blocked_keys = sorted.blocked_keys();
        let known: HashSet<DeliveryId> = waiting()
            .chain(&sorted.unknown)
            .map(|work| work.delivery.id.clone())
            .collect();
        let busy = &self.busy;
        self.due
            .retain(|id, _| known.contains(id) || busy.contains_key(id));
        // What is not in hand and not in a head that was read to its end has left the lane.
        if !full {
            self.failed
                .retain(|id, _| known.contains(id) || busy.contains_key(id));
        }
        self.inquiries
            .retain(|id, _| known.contains(id) || busy.contains_key(id));
        self.ready = std::mem::take(&mut sorted.ready).into();
        self.sorted = sorted;
        true
    }
}
