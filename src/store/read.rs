//! What is read, on connections that cannot write.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::db::{Readers, Row, unsigned};
use super::step::recipient;
use super::{Accepted, Alert, Attempt, Standing, StoreError, Suppressed, sql, stand_in};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, Actor, AlertId, Broadcast, BroadcastId, Delivery, DeliveryId, LaneId, Mode, Post, Purpose,
    Reason, Receipt, Recent, Recipient, Rendering, State, Steps, Work,
};

/// The column after those of a delivery, which end with its rendering.
pub(super) const AFTER_DELIVERY: usize = 23;
/// The column of its attempts.
const ATTEMPTS: usize = 11;

pub(super) fn lane(row: &Row) -> Result<LaneId, StoreError> {
    Ok(LaneId {
        account: row.word(0)?,
        mode: row.word(1)?,
    })
}

pub(super) fn broadcast(row: &Row) -> Result<Broadcast, StoreError> {
    Ok(Broadcast {
        alert: row.word(0)?,
        id: row.word(1)?,
        kind: row.word(2)?,
        mode: row.word(3)?,
        message: row.word(4)?,
        headline: row.text(5)?,
        actor: Actor(row.text(6)?),
        accepted_at: row.time(7)?,
        valid_until: row.time(8)?,
        finished_at: row.time_or_null(9)?,
    })
}

pub(super) fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.word(0)?,
        alert: row.word(1)?,
        broadcast: row.word(2)?,
        kind: row.word(3)?,
        mode: row.word(4)?,
        account: row.word(5)?,
        channel: row.text(6)?,
        recipient: recipient(row.text(7)?),
        purpose: row.word(8)?,
        target: row.word_or_null(9)?,
        state: row.word(10)?,
        attempts: unsigned(row.int(11)?)?,
        proof: row.word(12)?,
        queued_at: row.time(13)?,
        not_before: row.time(14)?,
        deadline: row.time(15)?,
        started_at: row.time_or_null(16)?,
        unknown_since: row.time_or_null(17)?,
        finished_at: row.time_or_null(18)?,
        receipt: row.json_or_null(19)?,
        error: row.reason(20)?,
        stands_in_for: row.json_or_null(21)?.unwrap_or_default(),
    })
}

pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Turns the first row into something, or says what there is none of.
fn only<T>(
    rows: &[Row],
    of: impl FnOnce(&Row) -> Result<T, StoreError>,
    what: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    rows.first().map_or_else(|| Err(StoreError::NotFound(what())), of)
}

pub(super) async fn head(readers: &Readers, lane: &LaneId, limit: usize) -> Result<Vec<Work>, StoreError> {
    let values = vec![
        lane.account.as_str().into(),
        lane.mode.as_str().into(),
        limited(limit).into(),
    ];
    let rows = readers.fetch(sql::HEAD, values).await?;
    works(readers, &rows).await
}

pub(super) async fn singles(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<Delivery>, StoreError> {
    let rows = readers
        .fetch(sql::SINGLES, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(delivery).collect()
}

pub(super) async fn stand_ins(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<LaneId>, StoreError> {
    let rows = readers
        .fetch(sql::STAND_INS, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(lane).collect()
}

pub(super) async fn has_stand_ins(readers: &Readers, broadcast: &BroadcastId) -> Result<bool, StoreError> {
    let rows = readers
        .fetch(sql::HAS_STAND_INS, vec![broadcast.as_str().into()])
        .await?;
    if !rows.is_empty() {
        return Ok(true);
    }
    let coming = readers
        .fetch(sql::EXPANDS_STAND_INS, vec![broadcast.as_str().into()])
        .await?;
    Ok(!coming.is_empty())
}

/// The answer to an idempotency key, if it was given before.
pub(super) async fn answered(
    readers: &Readers,
    key: &str,
    digest: &str,
) -> Result<Option<Accepted>, StoreError> {
    let rows = readers.fetch(sql::REPEATED, vec![key.into()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if row.text(0)? != digest {
        return Err(StoreError::KeyReused(key.to_owned()));
    }
    let broadcast: BroadcastId = row.word(2)?;
    let lanes = readers
        .fetch(sql::LANES_OF_BROADCAST, vec![broadcast.as_str().into()])
        .await?;
    Ok(Some(Accepted {
        alert: row.word(1)?,
        broadcast,
        repeated: true,
        lanes: lanes.iter().map(lane).collect::<Result<_, _>>()?,
    }))
}

pub(super) async fn stand_ins_of(
    readers: &Readers,
    targets: &[DeliveryId],
) -> Result<Vec<LaneId>, StoreError> {
    let among = targets.iter().map(|id| id.as_str().into()).collect();
    let rows = sql::STAND_INS_OF.read(readers, &[], among).await?;
    let lanes = rows.iter().map(lane).collect::<Result<Vec<_>, _>>()?;
    Ok(super::change::distinct(lanes))
}

/// Accounts whose post stands in an alert, or may, because they stood in for others.
pub(super) async fn stood_in(readers: &Readers, alert: &AlertId) -> Result<BTreeSet<AccountId>, StoreError> {
    let rows = readers.fetch(sql::STOOD_IN, vec![alert.as_str().into()]).await?;
    rows.iter().map(|row| row.word(0)).collect()
}

/// What stands of an alert.
pub(super) async fn standing(
    readers: &Readers,
    alert: &AlertId,
) -> Result<BTreeMap<AccountId, Standing>, StoreError> {
    let mut all: BTreeMap<AccountId, Standing> = BTreeMap::new();
    for row in readers.fetch(sql::STANDING, vec![alert.as_str().into()]).await? {
        let on = all.entry(row.word(0)?).or_default();
        let target: Option<DeliveryId> = row.word_or_null(3)?;
        match row.word::<Purpose>(2)? {
            Purpose::Pin => on.pinned.extend(target),
            Purpose::Unpin => on.pinned.retain(|pinned| Some(pinned) != target.as_ref()),
            Purpose::Publish => on.post = Some(row.word(1)?),
            Purpose::Edit
            | Purpose::Retract
            | Purpose::ConfirmHandOver
            | Purpose::ConfirmInterim
            | Purpose::ConfirmFinal
            | Purpose::ConfirmClosing => {}
        }
    }
    Ok(all)
}

/// The heads of many lanes at once.
pub(super) async fn heads(
    readers: &Readers,
    lanes: &[LaneId],
) -> Result<HashMap<LaneId, Vec<Work>>, StoreError> {
    let keys = lanes
        .iter()
        .map(|lane| vec![lane.account.as_str().into(), lane.mode.as_str().into()]);
    let rows = sql::LANES_HEAD.read(readers, keys.collect()).await?;
    let mut heads: HashMap<LaneId, Vec<Work>> = lanes.iter().map(|lane| (lane.clone(), Vec::new())).collect();
    for work in works(readers, &rows).await? {
        heads.entry(work.delivery.lane()).or_default().push(work);
    }
    Ok(heads)
}

/// What is read, with its texts and the posts that it stands under.
async fn works(readers: &Readers, rows: &[Row]) -> Result<Vec<Work>, StoreError> {
    let mut bodies = HashMap::new();
    let mut follow = Vec::new();
    for row in rows {
        bodies.insert(row.int(AFTER_DELIVERY - 1)?, None::<Rendering>);
        if row.int(AFTER_DELIVERY)? > 1 && row.word::<Purpose>(8)? == Purpose::Publish {
            follow.push(row.text(0)?.as_str().into());
        }
    }
    let ids = bodies.keys().map(|id| (*id).into()).collect();
    for row in sql::BODIES.read(readers, &[], ids).await? {
        bodies.insert(row.int(0)?, Some(body(&row.text(1)?)?));
    }
    // Only what was tried before can have made steps.
    let mut tried = Vec::new();
    for row in rows {
        if row.int(ATTEMPTS)? > 0 {
            tried.push(row.text(0)?.as_str().into());
        }
    }
    let mut steps: HashMap<DeliveryId, BTreeMap<String, String>> = HashMap::new();
    for row in sql::PROGRESS.read(readers, &[], tried).await? {
        let made = steps.entry(row.word(0)?).or_default();
        made.insert(row.text(1)?, row.text(2)?);
    }
    let mut threads: HashMap<DeliveryId, (Receipt, Receipt)> = HashMap::new();
    for row in sql::THREADS.read(readers, &[], follow).await? {
        let Some(receipt) = row.json_or_null::<Receipt>(1)? else {
            continue;
        };
        threads
            .entry(row.word(0)?)
            .and_modify(|(_, parent)| parent.clone_from(&receipt))
            .or_insert_with(|| (receipt.clone(), receipt));
    }
    let mut standing_in = Vec::new();
    for row in rows {
        if row.word::<Purpose>(8)? == Purpose::Publish {
            standing_in.extend(
                row.word_or_null::<DeliveryId>(9)?
                    .map(|_| row.word(0))
                    .transpose()?,
            );
        }
    }
    let mut primaries = stand_in::primaries(readers, standing_in).await?;
    rows.iter()
        .map(|row| {
            let work = work(row, &bodies, &mut threads, &mut steps)?;
            let primaries = primaries.remove(&work.delivery.id).unwrap_or_default();
            Ok(Work { primaries, ..work })
        })
        .collect()
}

fn work(
    row: &Row,
    bodies: &HashMap<i64, Option<Rendering>>,
    threads: &mut HashMap<DeliveryId, (Receipt, Receipt)>,
    steps: &mut HashMap<DeliveryId, BTreeMap<String, String>>,
) -> Result<Work, StoreError> {
    let delivery = delivery(row)?;
    let rendering = bodies
        .get(&row.int(AFTER_DELIVERY - 1)?)
        .and_then(Clone::clone)
        .ok_or_else(|| StoreError::NotFound(format!("rendering of delivery {}", delivery.id)))?;
    let (root, parent) = threads.remove(&delivery.id).unzip();
    Ok(Work {
        post: Post {
            key: delivery.id.clone(),
            alert: delivery.alert.clone(),
            broadcast: delivery.broadcast.clone(),
            kind: delivery.kind,
            // The broadcast's, so that the lane sees it if the two are not the same.
            mode: row.word(AFTER_DELIVERY + 5)?,
            purpose: delivery.purpose,
            rendering,
            recipient: delivery.recipient.clone(),
            // When the delivery was made: for a post, that is when its broadcast was accepted.
            accepted_at: delivery.queued_at,
            valid_until: row.time(AFTER_DELIVERY + 1)?,
            root,
            parent,
            picture: None,
            steps: Steps::known(steps.remove(&delivery.id).unwrap_or_default()),
        },
        target: row.json_or_null(AFTER_DELIVERY + 2)?,
        target_state: row.word_or_null(AFTER_DELIVERY + 3)?,
        primaries: Vec::new(),
        overtaken: row.int(AFTER_DELIVERY + 4)? == 1,
        delivery,
    })
}

fn body(text: &str) -> Result<Rendering, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Engine(format!("a damaged rendering: {e}")))
}

/// The newest broadcast that has its own word for the delivery's account and recipient, if one is newer than its own.
pub(super) async fn newer(
    readers: &Readers,
    delivery: &DeliveryId,
) -> Result<Option<BroadcastId>, StoreError> {
    let rows = readers.fetch(sql::NEWER, vec![delivery.as_str().into()]).await?;
    rows.first().map(|row| row.word(0)).transpose()
}

pub(super) async fn is_open(readers: &Readers, broadcast: &BroadcastId) -> Result<bool, StoreError> {
    for text in [sql::IS_OPEN, sql::IS_EXPANDING] {
        if !readers
            .fetch(text, vec![broadcast.as_str().into()])
            .await?
            .is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn told(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<Purpose>, StoreError> {
    let rows = readers.fetch(sql::TOLD, vec![broadcast.as_str().into()]).await?;
    rows.iter().map(|row| row.word(0)).collect()
}

pub(super) async fn open_lanes(readers: &Readers) -> Result<Vec<LaneId>, StoreError> {
    readers
        .fetch(sql::OPEN_LANES, vec![])
        .await?
        .iter()
        .map(lane)
        .collect()
}

pub(super) async fn taken_ids(
    readers: &Readers,
    account: &AccountId,
    besides: &DeliveryId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let values = vec![
        account.as_str().into(),
        besides.as_str().into(),
        since.into(),
        limited(limit).into(),
    ];
    readers
        .fetch(sql::TAKEN, values)
        .await?
        .iter()
        .map(|row| row.text(0))
        .collect()
}

pub(super) async fn unfinished(readers: &Readers) -> Result<Vec<Broadcast>, StoreError> {
    readers
        .fetch(sql::UNFINISHED, vec![])
        .await?
        .iter()
        .map(broadcast)
        .collect()
}

pub(super) async fn one_broadcast(readers: &Readers, id: &BroadcastId) -> Result<Broadcast, StoreError> {
    let rows = readers.fetch(sql::BROADCAST, vec![id.as_str().into()]).await?;
    only(&rows, broadcast, || format!("broadcast {id}"))
}

pub(super) async fn broadcasts(readers: &Readers, limit: usize) -> Result<Vec<Broadcast>, StoreError> {
    let rows = readers
        .fetch(sql::BROADCASTS, vec![limited(limit).into()])
        .await?;
    rows.iter().map(broadcast).collect()
}

/// The live broadcasts since then, newest first.
pub(super) async fn recent(readers: &Readers, since: Timestamp) -> Result<Vec<Recent>, StoreError> {
    // More broadcasts than any limit is worth, and more texts than one has.
    const MOST: i64 = 1000;
    let mut all = Vec::new();
    for row in readers
        .fetch(sql::RECENT, vec![since.into(), MOST.into()])
        .await?
    {
        let id = row.text(0)?;
        let texts = readers
            .fetch(sql::RECENT_TEXTS, vec![id.as_str().into(), MOST.into()])
            .await?;
        let accounts = readers
            .fetch(sql::RECENT_ACCOUNTS, vec![id.as_str().into()])
            .await?;
        let text = |row: &Row| Ok(body(&row.text(0)?)?.text);
        all.push(Recent {
            broadcast: row.word(0)?,
            kind: row.word(1)?,
            at: row.time(2)?,
            texts: texts.iter().map(text).collect::<Result<_, StoreError>>()?,
            accounts: accounts.iter().map(|row| row.word(0)).collect::<Result<_, _>>()?,
        });
    }
    Ok(all)
}

pub(super) async fn alert(readers: &Readers, id: &AlertId) -> Result<Alert, StoreError> {
    let rows = readers.fetch(sql::ALERT, vec![id.as_str().into()]).await?;
    let (id, mode, state) = only(
        &rows,
        |row| Ok((row.word(0)?, row.word(1)?, row.word(2)?)),
        || format!("alert {id}"),
    )?;
    let of_it = vec![AlertId::as_str(&id).into()];
    let broadcasts = readers.fetch(sql::BROADCASTS_OF_ALERT, of_it).await?;
    Ok(Alert {
        id,
        mode,
        state,
        broadcasts: broadcasts.iter().map(broadcast).collect::<Result<_, _>>()?,
    })
}

pub(super) async fn deliveries(readers: &Readers, id: &BroadcastId) -> Result<Vec<Delivery>, StoreError> {
    let rows = readers.fetch(sql::DELIVERIES, vec![id.as_str().into()]).await?;
    rows.iter().map(delivery).collect()
}

pub(super) async fn one_delivery(readers: &Readers, id: &DeliveryId) -> Result<Delivery, StoreError> {
    let rows = readers.fetch(sql::DELIVERY, vec![id.as_str().into()]).await?;
    only(&rows, delivery, || format!("delivery {id}"))
}

pub(super) async fn rendering(readers: &Readers, id: &DeliveryId) -> Result<Rendering, StoreError> {
    let rows = readers.fetch(sql::RENDERING, vec![id.as_str().into()]).await?;
    only(&rows, |row| body(&row.text(0)?), || format!("delivery {id}"))
}

pub(super) async fn first_rendering(readers: &Readers, id: &BroadcastId) -> Result<Rendering, StoreError> {
    let rows = readers
        .fetch(sql::FIRST_RENDERING, vec![id.as_str().into()])
        .await?;
    only(&rows, |row| body(&row.text(0)?), || format!("rendering of {id}"))
}

pub(super) async fn suppressed(readers: &Readers, limit: usize) -> Result<Vec<Suppressed>, StoreError> {
    let rows = readers
        .fetch(sql::SUPPRESSIONS, vec![limited(limit).into()])
        .await?;
    rows.iter()
        .map(|row| {
            let account = row.text(1)?;
            Ok(Suppressed {
                recipient: Recipient::new(row.text(0)?),
                account: if account.is_empty() {
                    None
                } else {
                    Some(row.word(1)?)
                },
                at: row.time(2)?,
                reason: row.reason(3)?.unwrap_or_else(|| Reason::new("", "")),
            })
        })
        .collect()
}

pub(super) async fn attempts(readers: &Readers, id: &DeliveryId) -> Result<Vec<Attempt>, StoreError> {
    let rows = readers.fetch(sql::ATTEMPTS, vec![id.as_str().into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt {
                number: unsigned(row.int(0)?)?,
                started_at: row.time(1)?,
                finished_at: row.time_or_null(2)?,
                outcome: row.word_or_null(3)?,
                error: row.reason(4)?,
            })
        })
        .collect()
}

pub(super) async fn confirmations(
    readers: &Readers,
    since: Timestamp,
) -> Result<Vec<(State, u64)>, StoreError> {
    let rows = readers.fetch(sql::CONFIRMATIONS, vec![since.into()]).await?;
    rows.iter()
        .map(|row| Ok((row.word(0)?, u64::from(unsigned(row.int(1)?)?))))
        .collect()
}

pub(super) async fn counts(
    readers: &Readers,
    since: Timestamp,
) -> Result<Vec<(Mode, State, u64)>, StoreError> {
    let rows = readers.fetch(sql::COUNTS, vec![since.into()]).await?;
    rows.iter()
        .map(|row| Ok((row.word(0)?, row.word(1)?, u64::from(unsigned(row.int(2)?)?))))
        .collect()
}
