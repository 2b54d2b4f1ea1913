//! One step of a delivery: from its row and an event to the row that follows. The table of states decides; what is
//! written is decided here, purely, and applied in multi-row statements.

use serde_json::{Map, Value as Json, json};

use super::db::{Conn, Row, Value, unsigned};
use super::writer::Tx;
use super::{StoreError, sql, tally};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, BroadcastId, DeliveryId, Event, Kind, LaneId, Mode, Outcome, Purpose, Reason, Receipt,
    Recipient, State, WrongTransition,
};

/// A delivery as the writer sees it.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub id: DeliveryId,
    pub broadcast: BroadcastId,
    pub kind: Kind,
    pub lane: LaneId,
    pub recipient: Option<Recipient>,
    pub purpose: Purpose,
    pub target: Option<DeliveryId>,
    pub state: State,
    pub attempts: u32,
    pub started_at: Option<Timestamp>,
    pub unknown_since: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The epoch of its lane; `None` if nobody has taken the lane yet.
    pub epoch: Option<i64>,
    /// Since when it is called off, whatever the attempt under way gives.
    pub recalled_at: Option<Timestamp>,
    /// The accounts that it stands in for.
    pub stands_in_for: Vec<AccountId>,
    /// From when on it was to go.
    pub due_at: Timestamp,
    /// An account that stands in for it has published, and when.
    pub replaced: Option<(Timestamp, AccountId)>,
}

/// The row that follows.
#[derive(Debug)]
pub(super) struct Update {
    pub id: DeliveryId,
    pub from: State,
    pub to: State,
    pub urgency: Option<i64>,
    pub attempts: u32,
    pub not_before: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub unknown_since: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub receipt: Option<Receipt>,
    pub error: Option<Reason>,
    /// Whether an attempt begins.
    pub begins: bool,
    /// Where a recipient is counted.
    pub counted: Option<Counted>,
}

/// Where a recipient is counted.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    broadcast: BroadcastId,
    account: AccountId,
    stands_in: bool,
    /// Attempts before the step.
    attempts: u32,
}

/// The place in the lane; `None` if the daemon has no work with it. An attempt does not move it: that would be two more
/// places of an index to write for each.
pub(super) fn urgency(state: State, kind: Kind) -> Option<i64> {
    if !state.is_open() {
        return None;
    }
    Some(if state == State::Unknown {
        0
    } else if kind == Kind::Correction {
        1
    } else {
        2
    })
}

/// When a delivery came to rest, if it enters `state` at `at`. What waits for a person's hands has not come to rest;
/// what is changed or taken away after it was published keeps the time at which it was published.
pub(super) fn rest(state: State, before: Option<Timestamp>, at: Timestamp) -> Option<Timestamp> {
    if state.is_open() || matches!(state, State::Held | State::Manual) {
        None
    } else if matches!(state, State::Edited | State::Retracted) {
        before.or(Some(at))
    } else {
        Some(at)
    }
}

impl Current {
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.word(0)?,
            broadcast: row.word(1)?,
            kind: row.word(2)?,
            lane: LaneId {
                account: row.word::<AccountId>(4)?,
                mode: row.word::<Mode>(3)?,
            },
            recipient: recipient(row.text(5)?),
            purpose: row.word(6)?,
            target: row.word_or_null(7)?,
            state: row.word(8)?,
            attempts: unsigned(row.int(9)?)?,
            started_at: row.time_or_null(10)?,
            unknown_since: row.time_or_null(11)?,
            finished_at: row.time_or_null(12)?,
            epoch: row.int_or_null(13)?,
            recalled_at: row.time_or_null(14)?,
            stands_in_for: row.json_or_null(15)?.unwrap_or_default(),
            due_at: row.time(16)?,
            replaced: row.time_or_null(17)?.zip(row.word_or_null(18)?),
        })
    }

    /// The step that `event` makes; the caller adds what the event brings along.
    ///
    /// `unknown_since` is the start of the first attempt whose outcome may still be unknown: settling looks from there.
    /// It outlives a `Miss`, because a request that was not found may still arrive, and because a repeat under the same
    /// key settles nothing about the first attempt; it is cleared once the post is out.
    pub(super) fn after(&self, event: Event, at: Timestamp) -> Result<Update, WrongTransition> {
        let to = self.state.after(event)?;
        let begins = event == Event::Begin;
        let unknown_since = if to.got_out() {
            None
        } else if event == Event::Lose {
            self.unknown_since.or(self.started_at).or(Some(at))
        } else {
            self.unknown_since
        };
        Ok(Update {
            id: self.id.clone(),
            from: self.state,
            to,
            urgency: urgency(to, self.kind),
            attempts: if begins {
                self.attempts.saturating_add(1)
            } else {
                self.attempts
            },
            not_before: None,
            started_at: if begins { Some(at) } else { self.started_at },
            unknown_since,
            finished_at: rest(to, self.finished_at, at),
            receipt: None,
            error: None,
            begins,
            counted: (self.purpose == Purpose::Publish && self.recipient.is_some()).then(|| Counted {
                broadcast: self.broadcast.clone(),
                account: self.lane.account.clone(),
                stands_in: self.target.is_some(),
                attempts: self.attempts,
            }),
        })
    }

    /// What every journal record of a step says. Recipients are masked.
    pub(super) fn body(&self, event: Event, to: State) -> Map<String, Json> {
        let mut body = Map::new();
        body.insert("account".to_owned(), json!(self.lane.account));
        body.insert("mode".to_owned(), json!(self.lane.mode));
        if let Some(recipient) = &self.recipient {
            body.insert("recipient".to_owned(), json!(recipient.masked()));
        }
        if self.purpose != Purpose::Publish {
            body.insert("purpose".to_owned(), json!(self.purpose));
        }
        if !self.stands_in_for.is_empty() {
            body.insert("stands_in_for".to_owned(), json!(self.stands_in_for));
        }
        body.insert("event".to_owned(), json!(event));
        body.insert("from".to_owned(), json!(self.state));
        body.insert("to".to_owned(), json!(to));
        body
    }
}

/// The store writes an empty recipient where there is none.
pub(super) fn recipient(text: String) -> Option<Recipient> {
    (!text.is_empty()).then(|| Recipient::new(text))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Engine(format!("cannot be written as JSON: {e}")))
}

fn json_or_null(value: Option<&impl serde::Serialize>) -> Result<Value, StoreError> {
    Ok(Value::Text(value.map(to_json).transpose()?))
}

/// Writes the steps. Every row must take its step: it was read in this transaction, and nobody else writes during it.
pub(super) async fn write(tx: &mut Tx<'_>, updates: &[Update]) -> Result<(), StoreError> {
    for update in updates {
        if let Some(of) = &update.counted {
            let was = tally::word(update.from, of.stands_in, of.attempts);
            let is = tally::word(update.to, of.stands_in, update.attempts);
            if was != is {
                tx.tally.add(&of.broadcast, &of.account, was, -1, None);
                tx.tally
                    .add(&of.broadcast, &of.account, is, 1, update.finished_at);
            }
        }
    }
    let (mut begins, mut others) = (Vec::new(), Vec::with_capacity(updates.len()));
    for update in updates {
        if update.only_begins() {
            begins.push(update.values_of_begin()?);
        } else {
            others.push(update.values()?);
        }
    }
    let expected = updates.len() as u64;
    let touched =
        sql::DELIVERIES_STEP.run(tx.conn, others).await? + sql::DELIVERIES_BEGIN.run(tx.conn, begins).await?;
    if touched != expected {
        return Err(StoreError::Engine(format!(
            "{touched} of {expected} deliveries took their step"
        )));
    }
    Ok(())
}

impl Update {
    /// The start of an attempt leaves the delivery's place, times and receipt as they are.
    fn only_begins(&self) -> bool {
        self.begins && self.not_before.is_none() && self.receipt.is_none()
    }

    fn values_of_begin(&self) -> Result<Vec<Value>, StoreError> {
        Ok(vec![
            self.id.as_str().into(),
            self.from.as_str().into(),
            self.to.as_str().into(),
            i64::from(self.attempts).into(),
            self.started_at.into(),
            json_or_null(self.error.as_ref())?,
        ])
    }

    fn values(&self) -> Result<Vec<Value>, StoreError> {
        Ok(vec![
            self.id.as_str().into(),
            self.from.as_str().into(),
            self.to.as_str().into(),
            self.urgency.into(),
            i64::from(self.attempts).into(),
            self.not_before.into(),
            self.started_at.into(),
            self.unknown_since.into(),
            self.finished_at.into(),
            json_or_null(self.receipt.as_ref())?,
            self.receipt
                .as_ref()
                .map(|receipt| receipt.remote_id.as_str())
                .into(),
            json_or_null(self.error.as_ref())?,
        ])
    }
}

/// The end of an attempt: delivery, number, when its outcome was on disk, outcome, error.
pub(super) type End = (DeliveryId, u32, Option<Timestamp>, Outcome, Option<Reason>);

/// Closes attempts.
pub(super) async fn end_attempts(conn: &mut Conn, ends: Vec<End>) -> Result<(), StoreError> {
    let rows = ends.into_iter().map(|(delivery, number, at, outcome, error)| {
        Ok(vec![
            delivery.as_str().into(),
            i64::from(number).into(),
            at.into(),
            outcome.as_str().into(),
            json_or_null(error.as_ref())?,
        ])
    });
    let rows = rows.collect::<Result<_, StoreError>>()?;
    sql::ATTEMPTS_END.run(conn, rows).await.map(drop)
}
