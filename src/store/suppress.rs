//! Who gets nothing more: learnt when a service says that an address has ended, or decided by a person, who may also
//! take it back.

use std::collections::HashSet;

use serde_json::json;

use super::db::Value;
use super::step::{Current, to_json};
use super::writer::Tx;
use super::{Change, Entry, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, BroadcastId, DeliveryId, Mode, Purpose, Reason, Recipient, State};

/// A recipient whose address has ended.
#[derive(Debug)]
pub(super) struct Ended {
    recipient: Recipient,
    account: AccountId,
    broadcast: BroadcastId,
    delivery: DeliveryId,
    at: Timestamp,
    reason: Reason,
}

/// What a change says of its recipient. Pure. Practice says nothing of real people.
pub(super) fn ended(row: &Current, change: &Change, to: State) -> Option<Ended> {
    let reason = change.error.as_ref().filter(|_| to == State::Refused)?;
    told(row, reason, change.at)
}

/// What a service says of a delivery's recipient, in its answer or by a report. Pure.
pub(super) fn told(row: &Current, reason: &Reason, at: Timestamp) -> Option<Ended> {
    let counts = reason.ends_recipient() && row.lane.mode == Mode::Live && row.purpose == Purpose::Publish;
    counts.then_some(())?;
    Some(Ended {
        recipient: row.recipient.clone()?,
        account: row.lane.account.clone(),
        broadcast: row.broadcast.clone(),
        delivery: row.id.clone(),
        at,
        reason: reason.clone(),
    })
}

/// Takes back what was learnt for this reason: the service has contradicted itself, and the message arrived. What a
/// person decided, or was learnt otherwise, stays.
pub(super) async fn take_back(
    tx: &mut Tx<'_>,
    row: &Current,
    reason: &Reason,
    at: Timestamp,
) -> Result<(), StoreError> {
    let Some(recipient) = &row.recipient else {
        return Ok(());
    };
    let values = vec![
        recipient.address().into(),
        row.lane.account.as_str().into(),
        Value::Text(Some(to_json(reason)?)),
    ];
    if tx.conn.execute(sql::RESTORE_FOR, values).await? > 0 {
        tx.chain.add(Entry {
            at,
            actor: Actor::daemon(),
            kind: "restore-recipient",
            broadcast: Some(row.broadcast.clone()),
            delivery: Some(row.id.clone()),
            body: json!({ "account": row.lane.account, "recipient": recipient.masked(), "reason": reason }),
        });
    }
    Ok(())
}

/// Writes down whose addresses have ended.
pub(super) async fn learn(tx: &mut Tx<'_>, ended: Vec<Ended>) -> Result<(), StoreError> {
    for one in ended {
        let values = vec![
            one.recipient.address().into(),
            one.account.as_str().into(),
            one.at.into(),
            Value::Text(Some(to_json(&one.reason)?)),
        ];
        if tx.conn.execute(sql::SUPPRESS, values).await? == 0 {
            continue;
        }
        tx.chain.add(Entry {
            at: one.at,
            actor: Actor::daemon(),
            kind: "suppress",
            broadcast: Some(one.broadcast),
            delivery: Some(one.delivery),
            body: json!({
                "account": one.account,
                "recipient": one.recipient.masked(),
                "reason": one.reason,
            }),
        });
    }
    Ok(())
}

/// A person's decision: for one account, or for all. Taken back for all at once. Returns whether it changed anything.
pub(super) async fn decide(
    tx: &mut Tx<'_>,
    recipient: &Recipient,
    account: Option<&AccountId>,
    reason: Option<&Reason>,
    entry: Entry,
) -> Result<bool, StoreError> {
    let address = || Value::from(recipient.address());
    let changed = match reason {
        Some(reason) => {
            let values = vec![
                address(),
                account.map_or("", AccountId::as_str).into(),
                entry.at.into(),
                Value::Text(Some(to_json(reason)?)),
            ];
            tx.conn.execute(sql::SUPPRESS, values).await?
        }
        None => tx.conn.execute(sql::RESTORE, vec![address()]).await?,
    };
    if changed > 0 {
        tx.chain.add(entry);
    }
    Ok(changed > 0)
}

/// Who of these is left out on the account.
pub(super) async fn left_out(
    tx: &mut Tx<'_>,
    account: &AccountId,
    among: impl IntoIterator<Item = &Recipient>,
) -> Result<HashSet<String>, StoreError> {
    let among = among.into_iter().map(|one| Value::from(one.address())).collect();
    let rows = sql::LEFT_OUT
        .write(tx.conn, &[account.as_str().into()], among)
        .await?;
    rows.iter().map(|row| row.text(0)).collect()
}
