//! What was known of accounts that had not answered before a broadcast was accepted, and what becomes of a hand-over that
//! followed from it once the account is out after all.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::db::{Readers, Value};
use super::stand_in::Pair;
use super::step::{self, Current, to_json};
use super::writer::Tx;
use super::{Changed, Entry, Store, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, Actor, BroadcastId, DeliveryId, Event, Mode, NOT_NEEDED, Need, Primary, Reason, State,
    UnreachableBefore,
};

impl Store {
    /// The accounts of a broadcast that had not answered before it was accepted.
    pub async fn unreachable_before(
        &self,
        broadcast: &BroadcastId,
    ) -> Result<Vec<UnreachableBefore>, StoreError> {
        read(&self.inner.readers, broadcast).await
    }

    /// Whether the account has taken something of us since then, in this mode: then it works, whatever was seen before.
    pub async fn out_since(
        &self,
        account: &AccountId,
        mode: Mode,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = vec![account.as_str().into(), mode.as_str().into(), since.into()];
        let rows = self.inner.readers.fetch(sql::OUT_SINCE, values).await?;
        Ok(!rows.is_empty())
    }
}

async fn read(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<UnreachableBefore>, StoreError> {
    let id = vec![broadcast.as_str().into()];
    let rows = readers.fetch(sql::UNREACHABLE_BEFORE, id).await?;
    // A report without it is worth more than none.
    let read = |row: &super::db::Row| match row.json_or_null(0) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(broadcast.id = %broadcast, %error, "what was known of an account before cannot be read; it is left out");
            None
        }
    };
    Ok(rows.iter().filter_map(read).collect())
}

pub(super) async fn write(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    all: &[UnreachableBefore],
) -> Result<(), StoreError> {
    for one in all {
        let values = vec![
            broadcast.as_str().into(),
            one.account.as_str().into(),
            Value::Text(Some(to_json(one)?)),
        ];
        tx.conn.execute(sql::UNREACHABLE_BEFORE_NEW, values).await?;
    }
    Ok(())
}

/// A delivery that got out, or that turned out not to be needed because another one did.
#[derive(Debug)]
pub(super) struct Settled {
    pub delivery: DeliveryId,
    pub at: Timestamp,
}

impl Settled {
    /// The step's part in it, if it has one. Accounts that a person serves have no lists.
    pub(super) fn of(row: &Current, to: State, error: Option<&Reason>, at: Timestamp) -> Option<Self> {
        let spared = to == State::Cancelled && error.is_some_and(|error| error.code == NOT_NEEDED);
        let out = to == State::Published || spared;
        (out && row.purpose.is_word() && row.recipient.is_none()).then(|| Self {
            delivery: row.id.clone(),
            at,
        })
    }
}

/// Asks no person any more to stand in for what is out, nor for who is not asked any more. Whoever was faster than that can
/// still report it done.
pub(super) async fn withdraw(tx: &mut Tx<'_>, settled: &[Settled]) -> Result<(), StoreError> {
    let Some(at) = settled.iter().map(|one| one.at).max() else {
        return Ok(());
    };
    let mut ids: Vec<DeliveryId> = settled.iter().map(|one| one.delivery.clone()).collect();
    // It ends: who is not asked any more is not found again.
    while !ids.is_empty() {
        ids = step_back(tx, &ids, at).await?;
    }
    Ok(())
}

/// Asks nobody any more who stands in for these alone. Returns whom.
async fn step_back(
    tx: &mut Tx<'_>,
    settled: &[DeliveryId],
    at: Timestamp,
) -> Result<Vec<DeliveryId>, StoreError> {
    let among = settled.iter().map(|id| id.as_str().into()).collect();
    let mut rows = Vec::new();
    for row in sql::STAND_INS_BY_HAND.write(tx.conn, &[], among).await? {
        rows.push(Current::of(&row)?);
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let among = rows.iter().map(|row| row.id.as_str().into()).collect();
    let mut primaries: HashMap<DeliveryId, Vec<Primary>> = HashMap::new();
    for row in sql::PRIMARIES.write(tx.conn, &[], among).await? {
        let primary = Pair::of(&row)?.primary;
        primaries.entry(row.word(0)?).or_default().push(primary);
    }
    let (mut updates, mut withdrawn) = (Vec::new(), Vec::new());
    for row in &rows {
        let of = primaries.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        if !of.iter().all(|one| one.need() == Need::Never) {
            continue;
        }
        let mut update = row.after(Event::Cancel, at)?;
        let names: Vec<&str> = of.iter().map(|one| one.account.as_str()).collect();
        let text = format!(
            "{} needs nobody any more to publish it here instead",
            names.join(", ")
        );
        let reason = Reason::new(NOT_NEEDED, text);
        let mut body = row.body(Event::Cancel, update.to);
        body.insert("error".to_owned(), json!(reason));
        update.error = Some(reason);
        tx.changed.push(Changed {
            broadcast: row.broadcast.clone(),
            delivery: Some(row.id.clone()),
            state: Some(update.to),
        });
        tx.chain.add(Entry {
            at,
            actor: Actor::daemon(),
            kind: "decision",
            broadcast: Some(row.broadcast.clone()),
            delivery: Some(row.id.clone()),
            body: Json::Object(body),
        });
        updates.push(update);
        withdrawn.push(row.id.clone());
    }
    step::write(tx, &updates).await?;
    Ok(withdrawn)
}
