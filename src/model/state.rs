//! The states of a delivery and the one table of what may follow what. Nothing else changes a state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its turn, or for its next attempt.
    Queued,
    /// An attempt is on disk and may be on the wire.
    Sending,
    /// The channel took it.
    Published,
    /// Published, and its text was changed afterwards.
    Edited,
    /// Published, and taken away again.
    Retracted,
    /// The channel said no for good.
    Refused,
    /// An attempt left us and no readable answer came. A state, not an error: it is settled.
    Unknown,
    /// Waits for a person's decision: unproven outcome, dead credential, restored backup.
    Held,
    /// Handed over: a person posts the ready text and reports it done.
    Manual,
    /// Its validity passed before it could be sent.
    Expired,
    /// A newer broadcast of the same alert overtook it.
    Superseded,
    /// A person stopped it.
    Cancelled,
}

/// What can happen to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// An attempt starts; it is on disk before the first byte leaves.
    Begin,
    /// The channel took it.
    Publish,
    /// The attempt cannot have reached the channel, or the channel asked us to wait: again later.
    Postpone,
    /// The channel said no for good.
    Refuse,
    /// No readable answer came, or the process ended during an attempt.
    Lose,
    /// The credential is dead and one renewal did not help; or the backup was restored; or nothing can prove the outcome.
    Hold,
    /// Settled: an attempt got through, as the channel says when asked or its service reports by itself.
    Find,
    /// Settled: it is not there, or a repeat under the same key has no second effect.
    Miss,
    /// A person lets it run again.
    Retry,
    /// It becomes a person's work.
    HandOver,
    /// The person reports it done.
    Done,
    /// Its validity has passed.
    Expire,
    /// A newer broadcast of the alert takes its place.
    Supersede,
    /// A person stops it.
    Cancel,
    /// The published text was changed.
    Edit,
    /// The published post was taken away.
    Retract,
}

/// Every allowed step. What is not here is an error.
const TABLE: &[(State, Event, State)] = {
    use Event as E;
    use State as S;
    &[
        (S::Queued, E::Begin, S::Sending),
        (S::Queued, E::Find, S::Published),
        (S::Queued, E::Hold, S::Held),
        (S::Queued, E::HandOver, S::Manual),
        (S::Queued, E::Expire, S::Expired),
        (S::Queued, E::Supersede, S::Superseded),
        (S::Queued, E::Cancel, S::Cancelled),
        (S::Sending, E::Publish, S::Published),
        (S::Sending, E::Postpone, S::Queued),
        (S::Sending, E::Refuse, S::Refused),
        (S::Sending, E::Lose, S::Unknown),
        (S::Sending, E::Hold, S::Held),
        (S::Sending, E::HandOver, S::Manual),
        (S::Sending, E::Expire, S::Expired),
        (S::Sending, E::Supersede, S::Superseded),
        (S::Unknown, E::Find, S::Published),
        (S::Unknown, E::Miss, S::Queued),
        (S::Unknown, E::Refuse, S::Refused),
        (S::Unknown, E::Hold, S::Held),
        (S::Unknown, E::Expire, S::Expired),
        (S::Unknown, E::Supersede, S::Superseded),
        (S::Held, E::Find, S::Published),
        (S::Held, E::Refuse, S::Refused),
        (S::Held, E::Retry, S::Queued),
        (S::Held, E::HandOver, S::Manual),
        (S::Held, E::Done, S::Published),
        (S::Held, E::Supersede, S::Superseded),
        (S::Held, E::Cancel, S::Cancelled),
        (S::Refused, E::Find, S::Published),
        (S::Refused, E::Retry, S::Queued),
        (S::Refused, E::HandOver, S::Manual),
        (S::Refused, E::Done, S::Published),
        (S::Refused, E::Cancel, S::Cancelled),
        (S::Manual, E::Find, S::Published),
        (S::Manual, E::Done, S::Published),
        (S::Manual, E::Retry, S::Queued),
        (S::Manual, E::Supersede, S::Superseded),
        (S::Manual, E::Cancel, S::Cancelled),
        (S::Expired, E::Find, S::Published),
        (S::Expired, E::HandOver, S::Manual),
        (S::Cancelled, E::Done, S::Published),
        (S::Published, E::Edit, S::Edited),
        (S::Published, E::Retract, S::Retracted),
        (S::Edited, E::Edit, S::Edited),
        (S::Edited, E::Retract, S::Retracted),
    ]
};

/// A step that the table does not have: a fault in the program or a race that was lost, never something to ignore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {from} cannot {event}")]
pub struct WrongTransition {
    /// The state it was in.
    pub from: State,
    /// What was asked.
    pub event: Event,
}

impl State {
    /// Every state, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Sending,
        Self::Published,
        Self::Edited,
        Self::Retracted,
        Self::Refused,
        Self::Unknown,
        Self::Held,
        Self::Manual,
        Self::Expired,
        Self::Superseded,
        Self::Cancelled,
    ];

    /// The state after `event`.
    ///
    /// # Errors
    /// If the table has no such step. The caller must not write anything then.
    pub fn after(self, event: Event) -> Result<Self, WrongTransition> {
        TABLE
            .iter()
            .find(|(from, by, _)| *from == self && *by == event)
            .map(|(_, _, to)| *to)
            .ok_or(WrongTransition { from: self, event })
    }

    /// Whether the daemon still has work with it: the broadcast runs as long as one delivery is open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sending | Self::Unknown)
    }

    /// Whether it waits for a person.
    pub fn needs_person(self) -> bool {
        matches!(self, Self::Held | Self::Manual | Self::Refused)
    }

    /// Whether residents could read it: it was published, whatever came after.
    pub fn got_out(self) -> bool {
        matches!(self, Self::Published | Self::Edited | Self::Retracted)
    }

    /// The word used in the store, in JSON and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Published => "published",
            Self::Edited => "edited",
            Self::Retracted => "retracted",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Held => "held",
            Self::Manual => "manual",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Event {
    /// Every event, in the order of declaration.
    pub const ALL: [Self; 16] = [
        Self::Begin,
        Self::Publish,
        Self::Postpone,
        Self::Refuse,
        Self::Lose,
        Self::Hold,
        Self::Find,
        Self::Miss,
        Self::Retry,
        Self::HandOver,
        Self::Done,
        Self::Expire,
        Self::Supersede,
        Self::Cancel,
        Self::Edit,
        Self::Retract,
    ];

    /// The word used in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Publish => "publish",
            Self::Postpone => "postpone",
            Self::Refuse => "refuse",
            Self::Lose => "lose",
            Self::Hold => "hold",
            Self::Find => "find",
            Self::Miss => "miss",
            Self::Retry => "retry",
            Self::HandOver => "hand-over",
            Self::Done => "done",
            Self::Expire => "expire",
            Self::Supersede => "supersede",
            Self::Cancel => "cancel",
            Self::Edit => "edit",
            Self::Retract => "retract",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("no such state: {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_state_and_event_is_decided_once() {
        for from in State::ALL {
            for event in Event::ALL {
                let rows: Vec<_> = TABLE
                    .iter()
                    .filter(|(f, e, _)| *f == from && *e == event)
                    .collect();
                assert!(rows.len() <= 1, "{from} + {event} stands {} times", rows.len());
                match from.after(event) {
                    Ok(to) => assert_eq!(rows[0].2, to),
                    Err(wrong) => {
                        assert!(rows.is_empty());
                        assert_eq!(wrong, WrongTransition { from, event });
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_as_a_whole_keeps_its_promises() {
        let mut drawn = String::new();
        for from in State::ALL {
            for event in Event::ALL {
                if let Ok(to) = from.after(event) {
                    drawn.extend([from.as_str(), " --", event.as_str(), "--> ", to.as_str(), "\n"]);
                    assert!(
                        !(from.got_out() && to.is_open()),
                        "what is out is never sent again: {from} {event}"
                    );
                    if to == State::Sending {
                        assert_eq!(
                            (from, event),
                            (State::Queued, Event::Begin),
                            "only the queue is sent from"
                        );
                    }
                    if from == State::Unknown && to == State::Queued {
                        assert_eq!(event, Event::Miss, "unknown is sent again only once settled");
                    }
                }
            }
        }
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn words_round_trip() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse::<State>(), Ok(state));
        }
    }
}
