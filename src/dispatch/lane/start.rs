//! Starting: which delivery goes next, and which unknown attempt is asked after.

use std::sync::Arc;

use tokio::time::Instant;

use super::answers::Done;
use super::{Lane, LanePlan};
use crate::dispatch::attempt;
use crate::dispatch::decide::{at_once, takes_over_by_hand};
use crate::dispatch::gates::Leave;
use crate::dispatch::queue::{Key, Rank};
use crate::dispatch::room::can_wait;
use crate::model::{Actor, Event, Mode, State, UNREACHABLE_BEFORE, Work};
use crate::store::{AttemptChange, Change};

impl Lane {
    /// Asks after every unknown attempt whose time has come, as many at once as the account takes attempts.
    pub(super) fn settle_due(&mut self) {
        let now = Instant::now();
        if self.sorted.unknown.is_empty() {
            return;
        }
        if let Some(until) = self.gates.busy_until(now) {
            self.note_wake(until);
            return;
        }
        let Some(Ok(plan)) = &self.plan else { return };
        let plan = plan.clone();
        let Ok(channel) = plan.channel.clone() else { return };
        let mut later = Vec::new();
        for work in std::mem::take(&mut self.sorted.unknown) {
            let due = self.inquiry_due(&work, now);
            if due > now || self.settling >= width(&plan) {
                if due > now {
                    self.note_wake(due);
                }
                later.push(work);
                continue;
            }
            self.settling += 1;
            self.hold_in_hand(&work);
            let known = self
                .inquiries
                .get(&work.delivery.id)
                .map_or(self.began, |inquiry| inquiry.known);
            let (shared, channel, limit) = (
                Arc::clone(&self.shared),
                Arc::clone(&channel),
                plan.attempt_timeout,
            );
            self.tasks.spawn(async move {
                let answer = tokio::select! {
                    answer = attempt::settle(&shared, &channel, &work, known, limit) => Some(answer),
                    () = shared.stopping.cancelled() => None,
                };
                Done::Settled {
                    work: Box::new(work),
                    answer,
                }
            });
        }
        self.sorted.unknown = later;
    }

    /// Starts all that may start.
    pub(super) fn start_due(&mut self) {
        while let Some(work) = self.next() {
            let begin = self.begin(&work);
            self.write(None, Some((work, begin)));
        }
    }

    /// Takes the next delivery that may start now, if there is one, and counts it as started. Otherwise notes when to look
    /// again.
    pub(super) fn next(&mut self) -> Option<Work> {
        self.paced = false;
        // Seen before they are asked, so that a change right after the answer wakes the lane.
        let unwritable = *self.unwritten.borrow_and_update() > 0;
        let live = *self.live.borrow_and_update() > 0;
        if unwritable || (live && self.id.mode != Mode::Live) {
            return None;
        }
        let Some(Ok(plan)) = &self.plan else { return None };
        if self.in_flight >= width(plan) {
            return None;
        }
        let (now, wall) = (Instant::now(), self.wall());
        let mut any_due = false;
        let mut found = None;
        for index in 0..self.ready.len() {
            let Some(work) = self.ready.get(index) else { break };
            let delivery = &work.delivery;
            let due = self.due.get(&delivery.id).map_or(now, |(_, due)| *due);
            if due > now {
                self.note_wake(due);
                continue;
            }
            any_due = true;
            if self.in_flight > 0 && self.in_flight_broadcast.as_ref() != Some(&delivery.broadcast) {
                // The next broadcast begins when this one's attempts have ended.
                return None;
            }
            if wall >= delivery.deadline || takes_over_by_hand(work).is_some() {
                self.dirty = true;
                return None;
            }
            let awaited = || self.sorted.holds_up(delivery, |behind| !can_wait(behind));
            let awaited = can_wait(delivery) && awaited();
            match self.gates.leave(delivery, awaited, self.in_flight, now) {
                Leave::Granted => {
                    found = Some(index);
                    break;
                }
                Leave::NotThis(until) => {
                    if let Some(until) = until {
                        self.note_wake(until);
                    }
                }
                Leave::Closed(until) => {
                    self.note_wake(until);
                    return None;
                }
                Leave::Paced(until) => {
                    self.paced = true;
                    self.note_wake(until);
                    return None;
                }
            }
        }
        if !any_due && self.refill {
            self.refill = false;
            self.dirty = true;
        }
        let work = found.and_then(|index| self.ready.remove(index))?;
        self.in_flight += 1;
        self.in_flight_broadcast = Some(work.delivery.broadcast.clone());
        self.hold_in_hand(&work);
        Some(work)
    }

    /// The start of an attempt, as it is to be on disk before the first byte leaves.
    pub(super) fn begin(&self, work: &Work) -> Change {
        Change {
            delivery: work.delivery.id.clone(),
            fence: Some((self.id.clone(), self.epoch)),
            from: State::Queued,
            event: Event::Begin,
            at: self.wall(),
            actor: Actor::daemon(),
            attempt: Some(AttemptChange::Start),
            not_before: None,
            receipt: None,
            // What went wrong last stays to be seen until this attempt says better.
            error: work.delivery.error.clone(),
            note: self.begins_with(work),
            lane_notes: None,
        }
    }

    /// Which secrets the attempt uses, by name: each use of a credential stands in the journal. And why a stand-in did not
    /// wait.
    fn begins_with(&self, work: &Work) -> Option<serde_json::Value> {
        let mut note = serde_json::Map::new();
        let plan = self.plan.as_ref().and_then(|plan| plan.as_ref().ok());
        if let Some(plan) = plan.filter(|plan| !plan.credentials.is_empty()) {
            note.insert("credentials".to_owned(), serde_json::json!(&*plan.credentials));
        }
        if at_once(work) {
            note.insert("because".to_owned(), UNREACHABLE_BEFORE.into());
        }
        (!note.is_empty()).then(|| note.into())
    }

    fn hold_in_hand(&mut self, work: &Work) {
        let delivery = &work.delivery;
        self.busy
            .insert(delivery.id.clone(), (Key::of(delivery), Rank::of(delivery)));
    }
}

/// How many attempts of one broadcast may be under way at once.
fn width(plan: &LanePlan) -> usize {
    usize::try_from(plan.pace.parallel).unwrap_or(usize::MAX).max(1)
}
