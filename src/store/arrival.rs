//! What services tell later of messages that they took. Counted as it comes, so that a report of a million is a few rows.
//! A report is also proof: it settles a delivery whose answer was lost, and says when an address has ended.

use std::collections::BTreeMap;

use serde_json::json;

use super::db::{Readers, Row, Value};
use super::step::{Current, to_json};
use super::writer::Tx;
use super::{Change, Changed, Entry, StoreError, change, sql, suppress};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, Actor, Arrival, Arrivals, Arrived, BroadcastId, DeliveryId, Event, LaneId, Mode, Purpose,
    Reason, Receipt, State,
};

/// What a report changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Noted {
    /// Whether it says more than what was known.
    pub is_new: bool,
    /// The lane and the state of the delivery that it settled, if it did.
    pub settled: Option<(LaneId, State)>,
}

/// Keeps what is new, of a delivery of this account. The last word stays: what was delivered or failed is not sent again
/// by a report that comes late. What nobody knew the fate of is settled, and an address that has ended is learnt.
pub(super) async fn record(
    tx: &mut Tx<'_>,
    of: &AccountId,
    arrival: &Arrival,
    at: Timestamp,
) -> Result<Noted, StoreError> {
    let id = arrival.delivery.as_str();
    let rows = tx.conn.fetch(sql::ARRIVAL_OF, vec![id.into()]).await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::NotFound(format!("delivery {id}")));
    };
    let (broadcast, account): (BroadcastId, AccountId) = (row.word(0)?, row.word(1)?);
    if account != *of {
        // What proves a report of one account says nothing of another's.
        return Err(StoreError::NotFound(format!("delivery {id} of {of}")));
    }
    let state: State = row.word(2)?;
    let before: Option<Arrived> = row.word_or_null(3)?;
    let known = row.text_or_null(4)?;
    let same_message = known.is_none() || known == arrival.remote_id;
    let why_before: Option<Reason> = row.json_or_null(5)?;
    // A message that failed may have been sent again since: what is told of the new one counts then.
    let is_new = before.is_none_or(|before| {
        arrival.arrived.outweighs(before) || (before == Arrived::Failed && !same_message)
    });
    if !is_new {
        return Ok(Noted::default());
    }
    let arrived = arrival.arrived.as_str();
    let values = vec![
        id.into(),
        arrived.into(),
        at.into(),
        arrival.remote_id.as_deref().into(),
        Value::Text(arrival.reason.as_ref().map(to_json).transpose()?),
    ];
    tx.conn.execute(sql::ARRIVAL_SET, values).await?;
    for (state, change) in before
        .map(|before| (before.as_str(), -1_i64))
        .into_iter()
        .chain([(arrived, 1)])
    {
        let values = vec![
            broadcast.as_str().into(),
            account.as_str().into(),
            state.into(),
            change.into(),
        ];
        tx.conn.execute(sql::ARRIVALS_COUNT, values).await?;
    }
    let mut body = json!({ "account": account, "arrived": arrival.arrived });
    if let Some(reason) = &arrival.reason {
        body["reason"] = json!(reason);
    }
    tx.chain.add(Entry {
        at,
        actor: Actor::daemon(),
        kind: "arrival",
        broadcast: Some(broadcast.clone()),
        delivery: Some(arrival.delivery.clone()),
        body,
    });
    tx.changed.push(Changed {
        broadcast,
        delivery: Some(arrival.delivery.clone()),
        state: None,
    });
    let contradicted =
        why_before.filter(|_| before == Some(Arrived::Failed) && arrival.arrived == Arrived::Delivered);
    let ends = arrival.reason.as_ref().is_some_and(Reason::ends_recipient);
    // Nearly all are reports of what got out, and nothing follows from them.
    let settled = if !state.got_out() || ends || contradicted.is_some() {
        follow(tx, arrival, contradicted.as_ref(), at).await?
    } else {
        None
    };
    Ok(Noted {
        is_new: true,
        settled,
    })
}

/// What follows from a new report: who is left out, or is so no longer, and what became of a delivery whose fate nobody
/// knew.
async fn follow(
    tx: &mut Tx<'_>,
    arrival: &Arrival,
    contradicted: Option<&Reason>,
    at: Timestamp,
) -> Result<Option<(LaneId, State)>, StoreError> {
    let id = vec![arrival.delivery.as_str().into()];
    let rows = tx.conn.fetch(sql::ONE_STEP, id).await?;
    let Some(row) = rows.first().map(Current::of).transpose()? else {
        return Ok(None);
    };
    if let Some(reason) = contradicted {
        suppress::take_back(tx, &row, reason, at).await?;
    }
    if let (Arrived::Failed, Some(reason)) = (arrival.arrived, &arrival.reason) {
        suppress::learn(tx, suppress::told(&row, reason, at).into_iter().collect()).await?;
    }
    let report = Report {
        arrived: arrival.arrived,
        at,
        remote_id: arrival.remote_id.clone(),
        reason: arrival.reason.clone(),
    };
    let Some(change) = report.settles(&row, row.state, at) else {
        return Ok(None);
    };
    let mut settled = None;
    for answer in change::apply(tx, vec![change]).await? {
        settled = Some((row.lane.clone(), answer?));
    }
    Ok(settled)
}

/// What a service has reported of a delivery, as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Report {
    arrived: Arrived,
    /// When it came.
    at: Timestamp,
    remote_id: Option<String>,
    reason: Option<Reason>,
}

/// What was reported of these deliveries.
pub(super) async fn reported(
    tx: &mut Tx<'_>,
    of: Vec<Value>,
) -> Result<Vec<(DeliveryId, Report)>, StoreError> {
    let rows = sql::REPORTED.write(tx.conn, &[], of).await?;
    let read = |row: &Row| {
        let report = Report {
            arrived: row.word(1)?,
            at: row.time(2)?,
            remote_id: row.text_or_null(3)?,
            reason: row.json_or_null(4)?,
        };
        Ok((row.word(0)?, report))
    };
    rows.iter().map(read).collect()
}

impl Report {
    /// The step that it makes of a delivery that is `state` now, if it proves what became of its message. Pure.
    ///
    /// The service names our delivery, so a message of it is there: whatever else an attempt gave, it got through, and it
    /// is not sent again by us, whoever was asked to see to it meanwhile. That it failed decides only where nobody knew, and
    /// only where one attempt alone is open: a report does not say of which attempt it is, and another one may still arrive.
    /// Exercises ask for no reports.
    pub(super) fn settles(&self, row: &Current, state: State, now: Timestamp) -> Option<Change> {
        if row.purpose != Purpose::Publish || row.lane.mode != Mode::Live {
            return None;
        }
        let since_attempt = row.started_at.is_none_or(|began| self.at >= began);
        // `unknown_since` is the start of the first attempt whose outcome nobody knows.
        let only_the_last = row.unknown_since.is_some() && row.unknown_since == row.started_at;
        let event = match (state, self.arrived) {
            (
                State::Unknown
                | State::Held
                | State::Queued
                | State::Refused
                | State::Manual
                | State::Expired,
                Arrived::Sent | Arrived::Delivered,
            ) => Event::Find,
            (State::Unknown | State::Held, Arrived::Failed) if since_attempt && only_the_last => {
                Event::Refuse
            }
            (
                State::Unknown
                | State::Held
                | State::Queued
                | State::Refused
                | State::Manual
                | State::Expired,
                Arrived::Failed,
            )
            | (
                // Under way: what comes of it is written first, and then this is looked at again.
                State::Sending
                | State::Published
                | State::Edited
                | State::Retracted
                | State::Superseded
                | State::Cancelled,
                _,
            ) => return None,
        };
        let receipt = (event == Event::Find).then(|| Receipt {
            note: Some(format!(
                "the service reported it {}; its answer was lost",
                self.arrived
            )),
            ..Receipt::of(self.remote_id.as_deref().unwrap_or(row.id.as_str()))
        });
        let error = (event == Event::Refuse).then(|| {
            let unsaid = || {
                Reason::new(
                    "failed",
                    "the service reported that the message will not arrive, and not why",
                )
            };
            self.reason.clone().unwrap_or_else(unsaid)
        });
        Some(Change {
            delivery: row.id.clone(),
            fence: None,
            from: state,
            event,
            at: now,
            actor: Actor::daemon(),
            attempt: None,
            not_before: None,
            receipt,
            error,
            note: Some(json!({ "settled": "reported", "arrived": self.arrived })),
            lane_notes: None,
        })
    }
}

/// How many have come how far, by account.
pub(super) async fn counts(
    readers: &Readers,
    broadcast: &BroadcastId,
) -> Result<BTreeMap<AccountId, Arrivals>, StoreError> {
    let mut all: BTreeMap<AccountId, Arrivals> = BTreeMap::new();
    for row in readers
        .fetch(sql::ARRIVALS, vec![broadcast.as_str().into()])
        .await?
    {
        let count = u64::try_from(row.int(2)?).unwrap_or_default();
        all.entry(row.word(0)?).or_default().set(row.word(1)?, count);
    }
    Ok(all)
}
