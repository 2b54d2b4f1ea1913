//! Accepting a command: alert, broadcast, renderings, deliveries and journal in one transaction.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::change::{Sweep, distinct, sweep};
use super::db::Value;
use super::read::lane;
use super::step::{self, Current, to_json};
use super::writer::Tx;
use super::{Acceptance, Accepted, Changed, Destination, Entry, StoreError, Target, Under, sql};
use crate::model::{
    AccountId, AlertId, AlertState, BroadcastId, DeliveryId, Event, Kind, LaneId, Purpose, Recipient,
    Rendering, State,
};

/// Answers from the idempotency table or accepts. Refuses before it writes anything.
pub(super) async fn accept(tx: &mut Tx<'_>, new: &Acceptance) -> Result<Accepted, StoreError> {
    if let Some((key, digest)) = &new.idempotency
        && let Some(accepted) = repeated(tx, key, digest).await?
    {
        return Ok(accepted);
    }
    if let Some(bad) = new
        .destinations
        .iter()
        .find(|d| d.rendering.max(d.alternative.unwrap_or(0)) >= new.renderings.len())
    {
        return Err(StoreError::NotFound(format!(
            "rendering {} of account {}",
            bad.rendering, bad.account
        )));
    }
    tx.marks.accepts = true;
    let (alert, number) = alert(tx, new).await?;
    let broadcast = BroadcastId::of(&alert, number);
    if number > 1 {
        supersede(tx, new, &alert, &broadcast).await?;
    }
    let seq = tx.count("broadcast", 1).await?;
    tx.conn
        .execute(
            sql::BROADCAST_NEW,
            vec![
                broadcast.as_str().into(),
                seq.into(),
                alert.as_str().into(),
                number.into(),
                new.kind.as_str().into(),
                new.mode.as_str().into(),
                new.message.as_str().into(),
                i64::from(new.message_version).into(),
                new.headline.as_str().into(),
                new.actor.0.as_str().into(),
                new.at.into(),
                new.valid_until.into(),
            ],
        )
        .await?;
    super::picture::keep(tx, &new.pictures, new.at).await?;
    let (first, digests) = renderings(tx, &broadcast, &new.renderings).await?;
    let mut written = Vec::with_capacity(new.destinations.len());
    for destination in &new.destinations {
        let rendering = first + i64::try_from(destination.rendering).unwrap_or(i64::MAX);
        written.push(Row {
            id: DeliveryId::fresh(),
            alert: &alert,
            broadcast: &broadcast,
            kind: new.kind,
            lane: lane_of(new, destination),
            channel: &destination.channel,
            recipient: destination.recipient.as_ref(),
            purpose: destination.purpose,
            target: None,
            rendering,
            alternative: destination
                .alternative
                .map(|index| first + i64::try_from(index).unwrap_or(i64::MAX)),
            proof: destination.proof,
            state: destination.state,
            queued_at: new.at,
            not_before: destination.not_before,
            deadline: new.valid_until,
        });
    }
    let targets = targets(&new.destinations, &written)?;
    for (row, target) in written.iter_mut().zip(&targets) {
        row.target = target.as_ref();
    }
    deliveries(tx, &written).await?;
    if let Some((key, digest)) = &new.idempotency {
        tx.conn
            .execute(
                sql::REMEMBER,
                vec![
                    key.as_str().into(),
                    digest.as_str().into(),
                    alert.as_str().into(),
                    broadcast.as_str().into(),
                    new.at.into(),
                ],
            )
            .await?;
    }
    let lanes = distinct(
        written
            .iter()
            .filter(|row| row.state.is_open())
            .map(|row| row.lane.clone()),
    );
    let body = record(new, &alert, &written, first, &digests);
    tx.chain.add(Entry {
        at: new.at,
        actor: new.actor.clone(),
        kind: "accept",
        broadcast: Some(broadcast.clone()),
        delivery: None,
        body,
    });
    tx.changed.push(Changed {
        broadcast: broadcast.clone(),
        delivery: None,
        state: None,
    });
    Ok(Accepted {
        alert,
        broadcast,
        repeated: false,
        lanes,
    })
}

/// What each destination acts on or stands in for.
fn targets(destinations: &[Destination], written: &[Row<'_>]) -> Result<Vec<Option<DeliveryId>>, StoreError> {
    let published: HashMap<(&AccountId, Option<&Recipient>), &DeliveryId> = written
        .iter()
        .zip(destinations)
        // What changes a post in place speaks for its account as well: another one may stand in for it.
        .filter(|(row, to)| match row.purpose {
            Purpose::Publish => to.target.is_none(),
            Purpose::Edit => true,
            Purpose::Pin
            | Purpose::Unpin
            | Purpose::Retract
            | Purpose::ConfirmInterim
            | Purpose::ConfirmFinal
            | Purpose::ConfirmClosing => false,
        })
        .map(|(row, to)| ((&to.account, to.recipient.as_ref()), &row.id))
        .collect();
    destinations
        .iter()
        .map(|to| match &to.target {
            None => Ok(None),
            Some(Target::Delivery(id)) => Ok(Some(id.clone())),
            Some(Target::Account(account)) => {
                let found = published
                    .get(&(account, to.recipient.as_ref()))
                    .or_else(|| published.get(&(account, None)));
                let missing = || StoreError::NotFound(format!("delivery on {account} for {}", to.account));
                found.map(|id| Some((*id).clone())).ok_or_else(missing)
            }
        })
        .collect()
}

fn lane_of(new: &Acceptance, destination: &Destination) -> LaneId {
    LaneId {
        account: destination.account.clone(),
        mode: new.mode,
    }
}

async fn repeated(tx: &mut Tx<'_>, key: &str, digest: &str) -> Result<Option<Accepted>, StoreError> {
    let rows = tx.conn.fetch(sql::REPEATED, vec![key.into()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if row.text(0)? != digest {
        return Err(StoreError::KeyReused(key.to_owned()));
    }
    let broadcast: BroadcastId = row.word(2)?;
    let rows_of_lanes = tx
        .conn
        .fetch(sql::LANES_OF_BROADCAST, vec![broadcast.as_str().into()])
        .await?;
    Ok(Some(Accepted {
        alert: row.word(1)?,
        broadcast,
        repeated: true,
        lanes: rows_of_lanes.iter().map(lane).collect::<Result<_, _>>()?,
    }))
}

/// The alert, and the broadcast's number in it.
async fn alert(tx: &mut Tx<'_>, new: &Acceptance) -> Result<(AlertId, i64), StoreError> {
    let state = match new.kind {
        Kind::AllClear => AlertState::Ended,
        Kind::Initial | Kind::Update | Kind::Correction => AlertState::Active,
    };
    match &new.under {
        Under::New { year } => {
            let number = tx.count(&format!("alert {} {year}", new.mode), 1).await?;
            let id = AlertId::numbered(new.mode, *year, number);
            let values = vec![
                id.as_str().into(),
                new.mode.as_str().into(),
                state.as_str().into(),
                1.into(),
            ];
            tx.conn.execute(sql::ALERT_NEW, values).await?;
            Ok((id, 1))
        }
        Under::Existing(id) => {
            let rows = tx
                .conn
                .fetch(sql::ALERT_FOR_UPDATE, vec![id.as_str().into()])
                .await?;
            let Some(row) = rows.first() else {
                return Err(StoreError::NotFound(format!("alert {id}")));
            };
            if row.text(0)? != new.mode.as_str() {
                return Err(StoreError::NotFound(format!("alert {id} in mode {}", new.mode)));
            }
            if row.word::<AlertState>(1)? != AlertState::Active {
                return Err(StoreError::NotFound(format!("active alert {id}: it has ended")));
            }
            let number = row.int(2)? + 1;
            let values = vec![id.as_str().into(), number.into(), state.as_str().into()];
            tx.conn.execute(sql::ALERT_STEP, values).await?;
            Ok((id.clone(), number))
        }
    }
}

/// What waits on the same accounts for earlier broadcasts of the alert is overtaken.
async fn supersede(
    tx: &mut Tx<'_>,
    new: &Acceptance,
    alert: &AlertId,
    broadcast: &BroadcastId,
) -> Result<(), StoreError> {
    let lanes = distinct(
        new.destinations
            .iter()
            .map(|destination| lane_of(new, destination)),
    );
    let accounts = lanes.iter().map(|lane| lane.account.as_str().into()).collect();
    let rows = sql::OVERTAKEN
        .write(tx.conn, &[alert.as_str().into()], accounts)
        .await?;
    let rows = rows.iter().map(Current::of).collect::<Result<Vec<_>, _>>()?;
    let say = Sweep {
        at: new.at,
        actor: &new.actor,
        kind: "decision",
        more: Some(("by", json!(broadcast))),
    };
    sweep(tx, &rows, |_| &[Event::Supersede], None, &say).await
}

/// Writes the renderings; returns the first one's number and the digest of each.
pub(super) async fn renderings(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    renderings: &[Rendering],
) -> Result<(i64, Vec<String>), StoreError> {
    let many = i64::try_from(renderings.len()).unwrap_or(i64::MAX);
    let first = tx.count("rendering", many).await? - many + 1;
    let (mut rows, mut digests) = (
        Vec::with_capacity(renderings.len()),
        Vec::with_capacity(renderings.len()),
    );
    for (id, rendering) in (first..).zip(renderings) {
        let body = to_json(rendering)?;
        digests.push(hex::encode(Sha256::digest(body.as_bytes())));
        rows.push(vec![
            id.into(),
            broadcast.as_str().into(),
            Value::Text(Some(body)),
        ]);
    }
    sql::RENDERINGS_NEW.run(tx.conn, rows).await?;
    Ok((first, digests))
}

/// A delivery to be written.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub id: DeliveryId,
    pub alert: &'a AlertId,
    pub broadcast: &'a BroadcastId,
    pub kind: Kind,
    pub lane: LaneId,
    pub channel: &'a str,
    pub recipient: Option<&'a Recipient>,
    pub purpose: Purpose,
    pub target: Option<&'a DeliveryId>,
    pub rendering: i64,
    pub alternative: Option<i64>,
    pub proof: crate::model::Proof,
    pub state: State,
    pub queued_at: crate::clock::Timestamp,
    pub not_before: crate::clock::Timestamp,
    pub deadline: crate::clock::Timestamp,
}

/// Writes deliveries in their order.
pub(super) async fn deliveries(tx: &mut Tx<'_>, rows: &[Row<'_>]) -> Result<(), StoreError> {
    let many = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let first = tx.count("delivery", many).await? - many + 1;
    let values = (first..).zip(rows).map(|(seq, row)| {
        vec![
            row.id.as_str().into(),
            seq.into(),
            row.alert.as_str().into(),
            row.broadcast.as_str().into(),
            row.kind.as_str().into(),
            row.lane.mode.as_str().into(),
            row.lane.account.as_str().into(),
            row.channel.into(),
            row.recipient.map_or("", Recipient::address).into(),
            row.purpose.as_str().into(),
            row.target.map(DeliveryId::as_str).into(),
            row.rendering.into(),
            row.alternative.into(),
            row.proof.as_str().into(),
            row.state.as_str().into(),
            step::urgency(row.state, row.kind).into(),
            0.into(),
            row.queued_at.into(),
            row.not_before.into(),
            row.deadline.into(),
            step::rest(row.state, None, row.queued_at).into(),
        ]
    });
    sql::DELIVERIES_NEW.run(tx.conn, values.collect()).await.map(drop)
}

/// The journal's record of the command. Texts are bound by their digests; lists are counted, each recipient stands
/// masked in the records of its own attempts.
fn record(new: &Acceptance, alert: &AlertId, written: &[Row<'_>], first: i64, digests: &[String]) -> Json {
    let mut single = Vec::new();
    let mut lists: BTreeMap<(&str, i64, &str), u64> = BTreeMap::new();
    for row in written {
        if row.recipient.is_some() {
            *lists
                .entry((row.lane.account.as_str(), row.rendering, row.state.as_str()))
                .or_default() += 1;
        } else {
            single.push(json!({
                "account": row.lane.account,
                "channel": row.channel,
                "delivery": row.id,
                "rendering": row.rendering,
                "state": row.state,
                "purpose": row.purpose,
            }));
        }
    }
    single.extend(lists.into_iter().map(|((account, rendering, state), recipients)| {
        json!({ "account": account, "rendering": rendering, "state": state, "recipients": recipients })
    }));
    let renderings: Vec<_> = (first..)
        .zip(digests)
        .map(|(id, digest)| json!({ "rendering": id, "sha256": digest }))
        .collect();
    json!({
        "alert": alert,
        "kind": new.kind,
        "mode": new.mode,
        "message": new.message,
        "message_version": new.message_version,
        "headline": new.headline,
        "valid_until": new.valid_until,
        "idempotency_key": new.idempotency.as_ref().map(|(key, _)| key),
        "deliveries": single,
        "renderings": renderings,
        "request": new.journal,
    })
}
