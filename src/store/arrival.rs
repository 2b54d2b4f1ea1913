//! What services tell later of messages that they took. Counted as it comes, so that a report of a million is a few rows.

use std::collections::BTreeMap;

use serde_json::json;

use super::db::Readers;
use super::writer::Tx;
use super::{Changed, Entry, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, Arrival, Arrivals, Arrived, BroadcastId};

/// Keeps what is new, of a delivery of this account. The last word stays: what was delivered or failed is not sent again
/// by a report that comes late. Returns whether it was new.
pub(super) async fn record(
    tx: &mut Tx<'_>,
    of: &AccountId,
    arrival: &Arrival,
    at: Timestamp,
) -> Result<bool, StoreError> {
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
    let before: Option<Arrived> = row.word_or_null(2)?;
    if before.is_some_and(|before| !arrival.arrived.outweighs(before)) {
        return Ok(false);
    }
    let arrived = arrival.arrived.as_str();
    tx.conn
        .execute(sql::ARRIVAL_SET, vec![id.into(), arrived.into(), at.into()])
        .await?;
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
    tx.chain.add(Entry {
        at,
        actor: Actor::daemon(),
        kind: "arrival",
        broadcast: Some(broadcast.clone()),
        delivery: Some(arrival.delivery.clone()),
        body: json!({ "account": account, "arrived": arrival.arrived }),
    });
    tx.changed.push(Changed {
        broadcast,
        delivery: Some(arrival.delivery.clone()),
        state: None,
    });
    Ok(true)
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
