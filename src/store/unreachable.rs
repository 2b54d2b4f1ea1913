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
    rows.iter()
        .map(|row| {
            let body: Option<UnreachableBefore> = row.json_or_null(0)?;
            body.ok_or_else(|| StoreError::Engine(format!("what was known before {broadcast} is damaged")))
        })
        .collect()
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

/// Asks no person any more to stand in for what is out. Whoever was faster than that can still report it done.
pub(super) async fn withdraw(tx: &mut Tx<'_>, settled: &[Settled]) -> Result<(), StoreError> {
    if settled.is_empty() {
        return Ok(());
    }
    let among = settled.iter().map(|one| one.delivery.as_str().into()).collect();
    let mut rows = Vec::new();
    for row in sql::STAND_INS_BY_HAND.write(tx.conn, &[], among).await? {
        rows.push(Current::of(&row)?);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let among = rows.iter().map(|row| row.id.as_str().into()).collect();
    let mut primaries: HashMap<DeliveryId, Vec<Primary>> = HashMap::new();
    for row in sql::PRIMARIES.write(tx.conn, &[], among).await? {
        let primary = Pair::of(&row)?.primary;
        primaries.entry(row.word(0)?).or_default().push(primary);
    }
    let at = settled.iter().map(|one| one.at).max();
    let mut updates = Vec::new();
    for row in &rows {
        let of = primaries.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let (true, Some(at)) = (of.iter().all(|one| one.need() == Need::Never), at) else {
            continue;
        };
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
    }
    step::write(tx, &updates).await
}
