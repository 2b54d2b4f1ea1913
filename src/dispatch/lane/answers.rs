//! What comes back to a lane from the tasks that it started, and what follows.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::time::Instant;

use super::{Inquiry, Lane};
use crate::clock::{Timestamp, from_micros, later, until};
use crate::config::Unproven;
use crate::dispatch::attempt::{self, Written};
use crate::dispatch::backoff;
use crate::dispatch::decide::{Circumstances, Settling, Verdict, after_attempt, after_settling, not_made};
use crate::dispatch::queue::Key;
use crate::model::{Busy, Delivery, Event, Outcome, Quota, Reason, Receipt, SendError, Settled, State, Work};
use crate::store::{AttemptChange, Change, StoreError};

/// What a task of the lane brings back.
pub(super) enum Done {
    /// The channel answered, or did not.
    Answered {
        work: Box<Work>,
        result: Result<Option<Receipt>, SendError>,
        /// What the service said of its limit.
        quota: Option<Quota>,
        took: Duration,
    },
    /// The channel said what became of an attempt; `None` if we stop.
    Settled {
        work: Box<Work>,
        answer: Option<Result<Settled, SendError>>,
    },
    /// The store wrote, or did not.
    Written {
        kept: Option<Box<Kept>>,
        started: Option<Box<Work>>,
        written: Written,
    },
    /// What the lane must remember is on disk.
    Noted(Result<(), StoreError>),
}

/// A step that must not be lost.
pub(super) struct Kept {
    work: Work,
    from: State,
    event: Event,
}

impl Lane {
    pub(super) fn take(&mut self, done: Done) {
        match done {
            Done::Answered {
                work,
                result,
                quota,
                took,
            } => self.answered(*work, &result, quota, took),
            Done::Settled { work, answer } => self.settled(*work, answer),
            Done::Written {
                kept,
                started,
                written,
            } => {
                if let (Some(kept), Some(answer)) = (kept, written.kept) {
                    self.ended(&kept, answer);
                }
                if let (Some(work), Some(answer)) = (started, written.started) {
                    self.started(*work, answer);
                }
            }
            Done::Noted(Ok(())) => {}
            Done::Noted(Err(error)) => {
                tracing::warn!(account.id = %self.id.account, error = %error, "what the lane must remember was not written");
            }
        }
    }

    /// Writes a step that must not be lost and, in the same commit, the start of the next attempt.
    pub(super) fn write(&mut self, keep: Option<(Kept, Change)>, start: Option<(Work, Change)>) {
        let (kept, keep) = keep.unzip();
        let (started, start) = start.unzip();
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let written = attempt::write(&shared, keep, start).await;
            Done::Written {
                kept: kept.map(Box::new),
                started: started.map(Box::new),
                written,
            }
        });
    }

    /// The start is on disk (or not): now the channel may be called.
    fn started(&mut self, mut work: Work, answer: Result<State, StoreError>) {
        if let Err(error) = answer {
            self.in_flight -= 1;
            self.busy.remove(&work.delivery.id);
            self.gates.not_made(&work.delivery);
            self.heed(&work.delivery.id, &error);
            return;
        }
        let wall = self.wall();
        work.delivery.attempts = work.delivery.attempts.saturating_add(1);
        work.delivery.started_at = Some(wall);
        work.post.steps = work.post.steps.written_to(Arc::new(attempt::Pages::new(
            &self.shared,
            &work.delivery.id,
            (self.id.clone(), self.epoch),
        )));
        let why_not = if wall >= work.delivery.deadline {
            Some(Reason::new(
                "late",
                "the validity ended while the attempt was being written",
            ))
        } else if self.is_ending() {
            Some(Reason::new(
                "stopped",
                "the daemon stops; the attempt was not made",
            ))
        } else if self.shared.is_unwritable() {
            Some(Reason::new(
                "store",
                "outcomes cannot be written; the attempt was not made",
            ))
        } else {
            None
        };
        let channel = match &self.plan {
            Some(Ok(plan)) => plan
                .channel
                .clone()
                .map(|channel| (channel, plan.attempt_timeout)),
            Some(Err(reason)) => Err(reason.clone()),
            // A reload came between: the next round asks for the plan and starts anew.
            None => Err(Reason::new(
                "reload",
                "the configuration changed; the attempt was not made",
            )),
        };
        match (why_not, channel) {
            (None, Ok((channel, limit))) => {
                let shared = Arc::clone(&self.shared);
                self.tasks.spawn(async move {
                    let began = Instant::now();
                    let result = attempt::publish(&shared, &channel, &work, limit).await;
                    let quota = channel.quota();
                    Done::Answered {
                        work: Box::new(work),
                        result,
                        quota,
                        took: began.elapsed(),
                    }
                });
            }
            (Some(reason), _) | (None, Err(reason)) => {
                self.in_flight -= 1;
                self.gates.not_made(&work.delivery);
                let verdict = not_made(&work.delivery, wall, reason);
                self.end(work, verdict, Outcome::NotSent, false, None);
            }
        }
    }

    /// The channel answered.
    fn answered(
        &mut self,
        work: Work,
        result: &Result<Option<Receipt>, SendError>,
        quota: Option<Quota>,
        took: Duration,
    ) {
        let (now, wall) = (Instant::now(), self.wall());
        let delivery = &work.delivery;
        let outcome = result
            .as_ref()
            .map_or_else(SendError::outcome, |_| Outcome::Published);
        counter!("vardkase_attempts_total", "channel" => delivery.channel.clone(), "outcome" => outcome.as_str())
            .increment(1);
        histogram!("vardkase_attempt_seconds", "channel" => delivery.channel.clone())
            .record(took.as_secs_f64());
        log(delivery, result, took);

        let row = self
            .failed
            .get(&delivery.id)
            .map_or(1, |row| row.saturating_add(1));
        if result.is_err() {
            self.failed.insert(delivery.id.clone(), row);
        }
        let account_busy = matches!(
            result,
            Err(SendError::Busy {
                scope: Busy::Account,
                ..
            })
        );
        let failures = if account_busy {
            row.max(self.gates.busy_streak() + 1)
        } else {
            row
        };
        let roll = backoff::roll();
        let verdict = after_attempt(result, delivery, failures, wall, roll);
        // A wait that leads past the deadline is not in the verdict, but the service asked for it all the same.
        let wait = verdict.not_before.or_else(|| {
            let asked = backoff::delay(failures, roll);
            (verdict.event == Event::Expire).then(|| later(wall, asked))
        });
        self.decided_wait(delivery, verdict.not_before, now, wall);
        let mut remember = self.gates.learn(delivery, result, wait, now, wall);
        let spent = quota.is_some_and(|quota| self.gates.heed(&quota, now, wall));
        if spent {
            tracing::warn!(account.id = %delivery.account, "nothing is left of what the service takes; the lane waits until it says so");
        }
        remember |= spent;
        self.in_flight -= 1;
        if account_busy || spent {
            // Others of the lane may not live until the service takes them again.
            self.dirty = true;
        }
        if verdict.event == Event::Lose {
            let inquiry = Inquiry {
                tries: 0,
                due: now,
                lost_here: true,
                known: (
                    now.checked_sub(took).unwrap_or(now),
                    delivery.started_at.unwrap_or(wall),
                ),
            };
            self.inquiries.insert(delivery.id.clone(), inquiry);
            self.losing += 1;
        }
        let chain = !self.dirty
            && !self.is_ending()
            && !self.handle.is_woken()
            && self.plan.is_some()
            && !self.must_settle_first();
        let next = if chain { self.next() } else { None };
        let next = next.map(|work| {
            let begin = self.begin(&work);
            (work, begin)
        });
        self.end(work, verdict, outcome, remember, next);
    }

    /// Keeps a wait that was decided at this moment on both clocks, whatever ours is set to before the head is read again.
    fn decided_wait(&mut self, delivery: &Delivery, at: Option<Timestamp>, now: Instant, wall: Timestamp) {
        if let Some(at) = at {
            let due = now + until(wall, at);
            self.due
                .insert(delivery.id.clone(), (from_micros(at.as_microsecond()), due));
        }
    }

    /// Writes the end of an attempt.
    fn end(
        &mut self,
        work: Work,
        verdict: Verdict,
        outcome: Outcome,
        remember: bool,
        next: Option<(Work, Change)>,
    ) {
        let event = verdict.event;
        let notes = remember.then(|| self.gates.notes(Instant::now(), self.wall()));
        let ended = Some(AttemptChange::End { outcome });
        let change = self.change(&work.delivery, State::Sending, verdict, ended, notes);
        let kept = Kept {
            work,
            from: State::Sending,
            event,
        };
        self.write(Some((kept, change)), next);
    }

    /// A step that must not be lost is on disk, or never will be.
    fn ended(&mut self, kept: &Kept, answer: Result<State, StoreError>) {
        let delivery = &kept.work.delivery;
        self.busy.remove(&delivery.id);
        if kept.from == State::Unknown {
            self.settling -= 1;
            self.inquiries.remove(&delivery.id);
            self.dirty = true;
        }
        if kept.event == Event::Lose {
            self.losing -= 1;
        }
        if let Err(error) = &answer {
            // What settling gives may come after a report or a person's word; an attempt's end may not.
            if matches!(error, StoreError::Moved { .. }) && kept.from == State::Sending {
                tracing::error!(delivery.id = %delivery.id, error = %error, "an outcome came to a delivery that had moved on");
            }
            self.heed(&delivery.id, error);
        }
        let at_rest = answer.is_ok_and(|state| !state.is_open());
        if at_rest {
            self.failed.remove(&delivery.id);
        }
        if !at_rest || self.blocked_keys.contains(&Key::of(delivery)) {
            self.dirty = true;
        }
    }

    /// The channel said what became of an attempt.
    fn settled(&mut self, work: Work, answer: Option<Result<Settled, SendError>>) {
        let delivery = &work.delivery;
        let (now, wall) = (Instant::now(), self.wall());
        let Some(answer) = answer else {
            self.settling -= 1;
            self.busy.remove(&delivery.id);
            self.dirty = true;
            return;
        };
        let before = self.inquiries.get(&delivery.id).copied();
        let tries = before.map_or(0, |inquiry| inquiry.tries) + 1;
        let lost_here = before.is_some_and(|inquiry| inquiry.lost_here);
        let unproven = match &self.plan {
            Some(Ok(plan)) => plan.unproven,
            Some(Err(_)) | None => Unproven::Hold,
        };
        let with = Circumstances {
            now: wall,
            unproven,
            newer: self.sorted.has_newer(delivery),
            tries,
            lost_here,
            failures: self.failed.get(&delivery.id).copied().unwrap_or(1),
            roll: backoff::roll(),
        };
        let asked = answer.as_ref().map(|_| ()).map_err(Clone::clone);
        match after_settling(answer, delivery, &with) {
            Settling::Done(verdict) => {
                let code = verdict.error.as_ref().map_or("", |reason| reason.code.as_str());
                if verdict.event == Event::Hold {
                    tracing::error!(account.id = %delivery.account, delivery.id = %delivery.id, code, "an attempt of unknown outcome is held; a person must decide");
                } else {
                    tracing::info!(account.id = %delivery.account, delivery.id = %delivery.id, event = %verdict.event, code, "an attempt of unknown outcome is settled");
                }
                self.decided_wait(delivery, verdict.not_before, now, wall);
                let change = self.change(delivery, State::Unknown, *verdict, None, None);
                let kept = Kept {
                    event: change.event,
                    from: State::Unknown,
                    work,
                };
                self.write(Some((kept, change)), None);
            }
            Settling::Again(wait, busy_until) => {
                if let Err(error) = asked {
                    tracing::warn!(account.id = %delivery.account, delivery.id = %delivery.id, tries, error = %error, "an attempt of unknown outcome cannot be settled yet");
                }
                let inquiry = Inquiry {
                    tries,
                    due: now + wait,
                    lost_here,
                    known: before.map_or(self.began, |inquiry| inquiry.known),
                };
                self.inquiries.insert(delivery.id.clone(), inquiry);
                self.settling -= 1;
                self.busy.remove(&delivery.id);
                self.dirty = true;
                if busy_until.is_some() {
                    self.gates.busy(busy_until, now, wall);
                    self.note();
                }
            }
        }
    }

    /// Writes what the lane must remember, beside everything else.
    fn note(&mut self) {
        let notes = self.gates.notes(Instant::now(), self.wall());
        let (shared, id, epoch) = (Arc::clone(&self.shared), self.id.clone(), self.epoch);
        self.tasks
            .spawn(async move { Done::Noted(shared.ledger.note_lane(&id, epoch, notes).await) });
    }
}

/// Logs an attempt once.
fn log(delivery: &Delivery, result: &Result<Option<Receipt>, SendError>, took: Duration) {
    let (account, id, attempt) = (&delivery.account, &delivery.id, delivery.attempts);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(_) => {
            tracing::info!(account.id = %account, delivery.id = %id, attempt, duration_ms, "published");
        }
        Err(error @ (SendError::NotSent(_) | SendError::Busy { .. } | SendError::Unknown(_))) => {
            tracing::warn!(account.id = %account, delivery.id = %id, attempt, duration_ms, outcome = error.as_str(), error = %error.reason(), "attempt failed");
        }
        Err(error @ (SendError::Credential(_) | SendError::Refused(_))) => {
            tracing::error!(account.id = %account, delivery.id = %id, attempt, duration_ms, outcome = error.as_str(), error = %error.reason(), "attempt failed; a person must act");
        }
    }
}
