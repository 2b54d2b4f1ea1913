//! What follows from what: pure functions over values, the time included. Nothing here acts.

use std::time::Duration;

use serde_json::json;

use super::backoff;
use crate::clock::{Timestamp, later};
use crate::config::Unproven;
use crate::model::{
    Delivery, Event, Mode, NOT_NEEDED, Need, Primary, Purpose, Reason, Receipt, STANDS_IN, SendError,
    Settled, State, UNREACHABLE_BEFORE, Work,
};

/// After so many tries an attempt's fate is a person's to find out.
pub(super) const SETTLE_TRIES: u32 = 10;

/// So long after the deadline settling is given up sooner.
const SETTLE_LATE: Duration = Duration::from_mins(10);

/// One step of a delivery, decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) event: Event,
    pub(super) not_before: Option<Timestamp>,
    pub(super) receipt: Option<Receipt>,
    pub(super) error: Option<Reason>,
    pub(super) note: Option<serde_json::Value>,
}

impl Verdict {
    fn of(event: Event) -> Self {
        Self {
            event,
            not_before: None,
            receipt: None,
            error: None,
            note: None,
        }
    }

    /// A step with the reason for it.
    pub(super) fn because(event: Event, reason: Reason) -> Self {
        Self {
            error: Some(reason),
            ..Self::of(event)
        }
    }

    fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    fn noting(mut self, note: serde_json::Value) -> Self {
        self.note = Some(note);
        self
    }
}

/// What the lane knows when it looks at a delivery that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Now.
    pub(super) now: Timestamp,
    /// The lane's mode.
    pub(super) lane: Mode,
    /// The mode that the channel was opened for, if the account can be worked at all.
    pub(super) plan: Result<Mode, &'a Reason>,
    /// A newer broadcast of the alert has overtaken the delivery.
    pub(super) newer: bool,
    /// The service asked to be left alone until then.
    pub(super) busy_until: Option<Timestamp>,
}

/// What is to be done with a queued delivery instead of an attempt, if anything.
pub(super) fn before_attempt(work: &Work, facts: &Facts<'_>) -> Option<Verdict> {
    let delivery = &work.delivery;
    if let Some(hold) = misplaced(work, facts) {
        return Some(hold);
    }
    if stand_in(work) == StandIn::NotNeeded {
        return Some(not_needed(
            "what it stands in for is out, or is not to go out any more",
        ));
    }
    if facts.now >= delivery.deadline {
        return Some(expire(None));
    }
    if facts.newer && delivery.purpose == Purpose::Publish {
        return Some(supersede(None));
    }
    if let Err(reason) = facts.plan {
        // A disabled account does not mend by itself: a person takes over, or the account that stands in.
        let event = if reason.code == DISABLED {
            Event::HandOver
        } else {
            Event::Hold
        };
        return Some(Verdict::because(event, reason.clone()));
    }
    if facts.busy_until.is_some_and(|until| until >= delivery.deadline) {
        return Some(Verdict::because(
            Event::HandOver,
            Reason::new(
                "busy-past-validity",
                "the service wants to be left alone for longer than the message is valid",
            ),
        ));
    }
    match (delivery.purpose, &work.target) {
        // The post may still be on its way: what comes of it goes first, and then this.
        (Purpose::Retract | Purpose::Pin | Purpose::Unpin, None)
            if work.target_state.is_some_and(State::is_open) =>
        {
            None
        }
        (Purpose::Retract, None) if may_stand(work.target_state) => Some(Verdict::because(
            Event::Hold,
            Reason::new(
                "may-stand",
                "nobody knows whether the post got through: look at the account, and take away what stands there",
            ),
        )),
        (Purpose::Retract, None) if work.target_state.is_some_and(|state| !state.got_out()) => {
            Some(not_needed("the post never got out"))
        }
        (Purpose::Retract | Purpose::Edit, None) => Some(Verdict::because(
            Event::Hold,
            Reason::new(
                "no-receipt",
                "the post has no id at the service; change it or take it away by hand",
            ),
        )),
        (Purpose::Pin | Purpose::Unpin, None) => Some(not_needed("there is no post to pin")),
        (
            Purpose::Publish
            | Purpose::Edit
            | Purpose::Pin
            | Purpose::Unpin
            | Purpose::Retract
            | Purpose::ConfirmHandOver
            | Purpose::ConfirmInterim
            | Purpose::ConfirmFinal
            | Purpose::ConfirmClosing,
            _,
        ) => None,
    }
}

/// Whether a post may stand although nothing says that it got out: an attempt of unknown outcome came to rest so.
fn may_stand(state: Option<State>) -> bool {
    matches!(
        state,
        Some(State::Held | State::Manual | State::Expired | State::Superseded)
    )
}

/// Whether a delivery that stands in for others is needed. One that stands for itself always is.
pub(super) fn stand_in(work: &Work) -> StandIn {
    if !stands_in(work) {
        return StandIn::Due;
    }
    let needs = || work.primaries.iter().map(Primary::need);
    if needs().all(|need| need == Need::Never) {
        return StandIn::NotNeeded;
    }
    if work.delivery.attempts > 0 {
        // It was needed; what holds it up now is its own, and its own wait counts.
        return StandIn::Due;
    }
    if needs().any(|need| need == Need::Now) {
        return StandIn::Now;
    }
    let times = needs().filter_map(|need| match need {
        Need::Then(at) => at,
        Need::Now | Need::Never => None,
    });
    StandIn::Waits(times.min())
}

fn stands_in(work: &Work) -> bool {
    work.delivery.purpose == Purpose::Publish && work.delivery.target.is_some()
}

/// What becomes of a stand-in that a person serves, once it is needed.
pub(super) fn takes_over_by_hand(work: &Work) -> Option<Verdict> {
    let by_hand = || crate::channel::kind(&work.delivery.channel).is_some_and(|kind| kind.can.by_hand);
    if !stands_in(work) || !by_hand() {
        return None;
    }
    let open = work
        .primaries
        .iter()
        .filter(|primary| primary.need() != Need::Never);
    let names: Vec<&str> = open.map(|primary| primary.account.as_str()).collect();
    let names = names.join(", ");
    let reason = if at_once(work) {
        let text = format!("{names} did not answer before the command: a person publishes it here as well");
        Reason::new(UNREACHABLE_BEFORE, text)
    } else {
        Reason::new(
            STANDS_IN,
            format!("{names} did not get out: a person publishes it here instead"),
        )
    };
    Some(Verdict::because(Event::HandOver, reason))
}

/// Whether a stand-in goes because one of the others did not answer before the command, and not because of what became of
/// them since.
pub(super) fn at_once(work: &Work) -> bool {
    let untold = |primary: &Primary| primary.silent_before && matches!(primary.need(), Need::Then(_));
    stands_in(work)
        && work.delivery.attempts == 0
        && stand_in(work) != StandIn::Now
        && work.primaries.iter().any(untold)
}

/// See [`stand_in`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandIn {
    /// When its own time comes.
    Due,
    /// Then, if the others have not got out by then; `None` is not yet known.
    Waits(Option<Timestamp>),
    /// At once: one of the others will not get out by itself.
    Now,
    /// Not at all.
    NotNeeded,
}

/// Code of an account that a person has switched off.
pub(crate) const DISABLED: &str = "disabled";

fn not_needed(why: &str) -> Verdict {
    Verdict::because(Event::Cancel, Reason::new(NOT_NEEDED, why))
}

/// What is to be done with an unknown delivery instead of asking the channel, if anything.
pub(super) fn before_settling(work: &Work, facts: &Facts<'_>) -> Option<Verdict> {
    if let Some(hold) = misplaced(work, facts) {
        return Some(hold);
    }
    if let Err(reason) = facts.plan {
        let text = format!(
            "an attempt may have got through and cannot be settled: {}",
            reason.text
        );
        return Some(Verdict::because(
            Event::Hold,
            Reason::new(reason.code.clone(), text),
        ));
    }
    if matches!(
        work.delivery.purpose,
        Purpose::Retract | Purpose::Edit | Purpose::Pin | Purpose::Unpin
    ) {
        let note = json!({"settled": "repeating it is harmless"});
        return Some(resend(&work.delivery, facts.now, None, None).noting(note));
    }
    None
}

/// A guard against our own faults: nothing of one mode is sent on a lane or a channel of another.
fn misplaced(work: &Work, facts: &Facts<'_>) -> Option<Verdict> {
    // What was born as practice says so by its name, whatever somebody made of the rows since.
    let born = Some(work.delivery.alert.mode()).filter(|born| *born != Mode::Live);
    let modes = [
        Some(work.delivery.mode),
        Some(work.post.mode),
        facts.plan.ok(),
        born,
    ];
    let wrong = modes.into_iter().flatten().find(|mode| *mode != facts.lane)?;
    let text = format!(
        "made for {wrong}, but the lane is {}; nothing was sent",
        facts.lane
    );
    Some(Verdict::because(Event::Hold, Reason::new("mode-mismatch", text)))
}

/// What follows from an attempt. `failures` is how many there have been in a row, this one included; `roll` from −1 to
/// 1 places the wait within its jitter.
pub(super) fn after_attempt(
    result: &Result<Option<Receipt>, SendError>,
    delivery: &Delivery,
    failures: u32,
    now: Timestamp,
    roll: f64,
) -> Verdict {
    let error = match result {
        Ok(receipt) => {
            return Verdict {
                receipt: receipt.clone(),
                ..Verdict::of(Event::Publish)
            };
        }
        Err(error) => error,
    };
    let reason = error.reason().clone();
    match error {
        SendError::NotSent(_) => again_in(delivery, failures, now, roll, reason),
        SendError::Busy { until, .. } => match until.filter(|until| *until > now) {
            Some(until) if until >= delivery.deadline => Verdict::because(Event::HandOver, reason),
            Some(until) => Verdict::because(Event::Postpone, reason).not_before(until),
            None => again_in(delivery, failures, now, roll, reason),
        },
        SendError::Credential(_) => Verdict::because(Event::Hold, reason),
        SendError::Refused(_) => Verdict::because(Event::Refuse, reason),
        SendError::Unknown(_) => Verdict::because(Event::Lose, reason),
    }
}

fn again_in(delivery: &Delivery, failures: u32, now: Timestamp, roll: f64, reason: Reason) -> Verdict {
    let next = later(now, backoff::delay(failures, roll));
    if next >= delivery.deadline {
        expire(Some(&reason))
    } else {
        Verdict::because(Event::Postpone, reason).not_before(next)
    }
}

/// An attempt that was on disk but was not made after all: the deadline passed meanwhile, or we are stopping.
pub(super) fn not_made(delivery: &Delivery, now: Timestamp, reason: Reason) -> Verdict {
    if now >= delivery.deadline {
        expire(Some(&reason))
    } else {
        Verdict::because(Event::Postpone, reason).not_before(now)
    }
}

/// What settling gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Settling {
    /// The attempt's fate is decided.
    Done(Box<Verdict>),
    /// Ask again, then; the service must be left alone until the second time if it named one.
    Again(Duration, Option<Timestamp>),
}

/// What is known beside the answer when settling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Now.
    pub(super) now: Timestamp,
    /// What to do when nothing can tell.
    pub(super) unproven: Unproven,
    /// A newer broadcast of the alert has overtaken the delivery.
    pub(super) newer: bool,
    /// How often it has been tried, this time included.
    pub(super) tries: u32,
    /// Whether the attempt was lost by this process, and not by a crash: then the service deserves a pause.
    pub(super) lost_here: bool,
    /// How often it has failed in a row, the lost attempt included.
    pub(super) failures: u32,
    /// Places the wait within its jitter.
    pub(super) roll: f64,
}

/// What follows from a settling.
pub(super) fn after_settling(
    answer: Result<Settled, SendError>,
    delivery: &Delivery,
    with: &Circumstances,
) -> Settling {
    let Circumstances { now, tries, .. } = *with;
    match answer {
        Ok(Settled::Found(receipt)) => Settling::Done(Box::new(Verdict {
            receipt: Some(receipt),
            note: Some(json!({"settled": "found", "tries": tries})),
            ..Verdict::of(Event::Find)
        })),
        Ok(Settled::Refused(reason)) => {
            let note = json!({"settled": "refused", "tries": tries});
            Settling::Done(Box::new(Verdict::because(Event::Refuse, reason).noting(note)))
        }
        Ok(Settled::Absent) => {
            let note = json!({"settled": "absent", "tries": tries});
            Settling::Done(Box::new(not_there(delivery, with, None).noting(note)))
        }
        Ok(Settled::Unclear(reason)) => Settling::Done(Box::new(match with.unproven {
            Unproven::Hold => {
                let note = json!({"settled": "unclear", "policy": "hold"});
                Verdict::because(Event::Hold, reason).noting(note)
            }
            Unproven::Resend => {
                let note = json!({"settled": "unclear", "policy": "resend"});
                not_there(delivery, with, Some(reason)).noting(note)
            }
        })),
        Err(SendError::Credential(reason) | SendError::Refused(reason)) => {
            Settling::Done(Box::new(give_up(&reason, tries)))
        }
        Err(SendError::Busy {
            until: Some(until),
            reason,
            ..
        }) if until > now => {
            if tries >= SETTLE_TRIES || until >= later(delivery.deadline, SETTLE_LATE) {
                Settling::Done(Box::new(give_up(&reason, tries)))
            } else {
                Settling::Again(crate::clock::until(now, until), Some(until))
            }
        }
        Err(error) => {
            let late = tries >= 3 && now > later(delivery.deadline, SETTLE_LATE);
            if tries >= SETTLE_TRIES || late {
                Settling::Done(Box::new(give_up(error.reason(), tries)))
            } else {
                Settling::Again(backoff::delay(tries, with.roll), None)
            }
        }
    }
}

fn give_up(reason: &Reason, tries: u32) -> Verdict {
    let text = format!(
        "an attempt may have got through and cannot be settled: {}",
        reason.text
    );
    Verdict::because(Event::Hold, Reason::new(reason.code.clone(), text))
        .noting(json!({"settled": "gave-up", "tries": tries}))
}

/// The attempt had no effect (or may be repeated): is it still to be sent?
fn not_there(delivery: &Delivery, with: &Circumstances, reason: Option<Reason>) -> Verdict {
    if with.now >= delivery.deadline {
        expire(reason.as_ref())
    } else if with.newer && delivery.purpose == Purpose::Publish {
        supersede(reason.as_ref())
    } else {
        resend(
            delivery,
            with.now,
            with.lost_here.then_some(with.failures),
            reason,
        )
    }
}

/// `failures` in a row, if the attempt was lost by this process.
fn resend(delivery: &Delivery, now: Timestamp, failures: Option<u32>, reason: Option<Reason>) -> Verdict {
    if now >= delivery.deadline {
        return expire(reason.as_ref());
    }
    // After a crash, at once; after a service that does not answer, as after any failure.
    let next = failures.map_or(now, |failures| later(now, backoff::delay(failures, 0.0)));
    let miss = Verdict {
        error: reason,
        ..Verdict::of(Event::Miss)
    };
    miss.not_before(next)
}

fn expire(cause: Option<&Reason>) -> Verdict {
    let text = match cause {
        Some(cause) => format!("the validity ended before it could be sent; last: {cause}"),
        None => "the validity ended before it could be sent".to_owned(),
    };
    Verdict::because(Event::Expire, Reason::new("expired", text))
}

fn supersede(cause: Option<&Reason>) -> Verdict {
    let text = match cause {
        Some(cause) => format!("a newer broadcast of the alert takes its place; last: {cause}"),
        None => "a newer broadcast of the alert takes its place".to_owned(),
    };
    Verdict::because(Event::Supersede, Reason::new("superseded", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_micros;
    use crate::dispatch::tests::memory::work;
    use crate::model::{AccountId, BroadcastId, DRY_RUN, Kind, LaneId};

    fn primary(state: State, code: Option<&str>) -> Primary {
        Primary {
            silent_before: false,
            account: "whatsapp".parse().unwrap(),
            state,
            error: code.map(|code| Reason::new(code, "")),
            until: Some(from_micros(500)),
        }
    }

    fn standing_in(primaries: Vec<Primary>) -> Work {
        let lane = LaneId {
            account: "sms".parse::<AccountId>().unwrap(),
            mode: Mode::Live,
        };
        let broadcast: BroadcastId = "2026-0001.1".parse().unwrap();
        let mut work = work(&lane, &broadcast, Kind::Initial, from_micros(0), SETTLE_LATE);
        work.delivery.target = Some("d-1".parse().unwrap());
        work.primaries = primaries;
        work
    }

    #[test]
    fn every_state_of_what_is_stood_in_for_is_decided() {
        for state in State::ALL {
            let found = stand_in(&standing_in(vec![primary(state, Some("http-400"))]));
            let expected = match state {
                State::Queued | State::Sending | State::Unknown => StandIn::Waits(Some(from_micros(500))),
                State::Refused | State::Held | State::Manual | State::Expired => StandIn::Now,
                State::Published
                | State::Edited
                | State::Retracted
                | State::Superseded
                | State::Cancelled => StandIn::NotNeeded,
            };
            assert_eq!(found, expected, "{state}");
        }
    }

    #[test]
    fn it_goes_at_once_because_of_what_was_known_only_while_nothing_else_is() {
        let silent = |state| Primary {
            silent_before: true,
            until: Some(from_micros(0)),
            ..primary(state, Some("http-401"))
        };
        let because = |primaries| at_once(&standing_in(primaries));
        assert!(because(vec![silent(State::Queued)]));
        assert!(because(vec![
            silent(State::Sending),
            primary(State::Queued, None)
        ]));
        assert!(!because(vec![primary(State::Queued, None)]), "it is late");
        assert!(!because(vec![silent(State::Held)]), "it has failed since");
        assert!(!because(vec![
            silent(State::Published),
            primary(State::Queued, None)
        ]));
        let mut tried = standing_in(vec![silent(State::Queued)]);
        tried.delivery.attempts = 1;
        assert!(!at_once(&tried));
        let mut by_hand = standing_in(vec![silent(State::Queued)]);
        by_hand.delivery.channel = "manual".to_owned();
        let verdict = takes_over_by_hand(&by_hand).unwrap();
        assert_eq!(verdict.error.unwrap().code, UNREACHABLE_BEFORE);
    }

    #[test]
    fn a_trial_makes_nobody_stand_in_and_a_person_gets_their_time() {
        let of = |state, code| stand_in(&standing_in(vec![primary(state, code)]));
        assert_eq!(of(State::Refused, Some(DRY_RUN)), StandIn::NotNeeded);
        assert_eq!(of(State::Manual, None), StandIn::Waits(Some(from_micros(500))));
        assert_eq!(of(State::Manual, Some("busy-past-validity")), StandIn::Now);
        assert_eq!(
            stand_in(&standing_in(Vec::new())),
            StandIn::NotNeeded,
            "all called off"
        );
    }

    #[test]
    fn of_several_the_first_that_fails_or_is_late_decides() {
        let late = |at| Primary {
            until: Some(from_micros(at)),
            ..primary(State::Queued, None)
        };
        let out = || primary(State::Published, None);
        let unknown = || Primary {
            until: None,
            ..primary(State::Queued, None)
        };
        let of = |primaries| stand_in(&standing_in(primaries));
        assert_eq!(of(vec![out(), late(9)]), StandIn::Waits(Some(from_micros(9))));
        assert_eq!(
            of(vec![late(20), late(9), unknown()]),
            StandIn::Waits(Some(from_micros(9)))
        );
        assert_eq!(of(vec![unknown()]), StandIn::Waits(None));
        assert_eq!(of(vec![late(9), primary(State::Refused, None)]), StandIn::Now);
        assert_eq!(of(vec![out(), out()]), StandIn::NotNeeded);
        // Once it has been tried, its own waits count: a service that is down is not stormed.
        let mut tried = standing_in(vec![primary(State::Refused, None)]);
        tried.delivery.attempts = 1;
        assert_eq!(stand_in(&tried), StandIn::Due);
    }
}
