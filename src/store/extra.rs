//! Deliveries beside those of the acceptance (retractions, confirmations), and the end of a broadcast.

use std::collections::{HashMap, HashSet};

use super::accept::{Row, deliveries, renderings};
use super::change::distinct;
use super::db::Value;
use super::step::recipient;
use super::writer::Tx;
use super::{Changed, Entry, Extra, Stage, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, AlertId, Broadcast, BroadcastId, DeliveryId, LaneId, Purpose, Recipient, Rendering, State,
};

type Place = (
    BroadcastId,
    AccountId,
    Option<Recipient>,
    Purpose,
    Option<DeliveryId>,
);

/// Adds what is not there yet. The journal entry is written if anything was added, or if there was nothing to add.
pub(super) async fn add(
    tx: &mut Tx<'_>,
    extras: &[Extra],
    at: Timestamp,
    entry: Option<Entry>,
) -> Result<Vec<LaneId>, StoreError> {
    let ready = check(tx, extras).await?;
    let (lanes, added) = write(tx, extras, &ready, at).await?;
    if added > 0 || extras.is_empty() {
        entry.map(|entry| tx.chain.add(entry));
    }
    Ok(lanes)
}

/// Ends the broadcast, once, if nothing of it is open.
pub(super) async fn finish(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    at: Timestamp,
    confirmations: &[Extra],
    entry: Entry,
) -> Result<Option<Vec<LaneId>>, StoreError> {
    let ready = check(tx, confirmations).await?;
    let values = vec![broadcast.as_str().into(), at.into()];
    if tx.conn.execute(sql::BROADCAST_FINISH, values).await? == 0 {
        return Ok(None);
    }
    let (lanes, _) = write(tx, confirmations, &ready, at).await?;
    tx.chain.add(entry);
    tx.changed.push(Changed {
        broadcast: broadcast.clone(),
        delivery: None,
        state: None,
    });
    Ok(Some(lanes))
}

/// Lets what waits for the first stage go.
pub(super) async fn release(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    stage: Stage,
    at: Timestamp,
    entry: Entry,
) -> Result<Vec<LaneId>, StoreError> {
    if stage == Stage::Answers {
        tx.conn
            .execute(sql::RELEASE_TEXT, vec![broadcast.as_str().into()])
            .await?;
        tx.conn
            .execute(sql::RELEASE_LISTS_TEXT, vec![broadcast.as_str().into()])
            .await?;
    }
    let values = || vec![broadcast.as_str().into(), at.into()];
    let released = tx.conn.execute(sql::RELEASE, values()).await?;
    if released + tx.conn.execute(sql::RELEASE_LISTS, values()).await? == 0 {
        return Ok(Vec::new());
    }
    tx.chain.add(entry);
    tx.changed.push(Changed {
        broadcast: broadcast.clone(),
        delivery: None,
        state: None,
    });
    let rows = tx
        .conn
        .fetch(sql::LANES_OF_BROADCAST, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(super::read::lane).collect()
}

/// What has to be known before anything is written.
#[derive(Debug)]
struct Ready {
    broadcasts: HashMap<BroadcastId, Broadcast>,
    there: HashMap<Place, State>,
    /// The rendering that each target was published with.
    targets: HashMap<DeliveryId, i64>,
}

async fn check(tx: &mut Tx<'_>, extras: &[Extra]) -> Result<Ready, StoreError> {
    let mut ready = Ready {
        broadcasts: HashMap::new(),
        there: HashMap::new(),
        targets: HashMap::new(),
    };
    for extra in extras {
        if ready.broadcasts.contains_key(&extra.broadcast) {
            continue;
        }
        let id = || vec![extra.broadcast.as_str().into()];
        let rows = tx.conn.fetch(sql::BROADCAST, id()).await?;
        let Some(row) = rows.first() else {
            return Err(StoreError::NotFound(format!("broadcast {}", extra.broadcast)));
        };
        ready
            .broadcasts
            .insert(extra.broadcast.clone(), super::read::broadcast(row)?);
        for row in tx.conn.fetch(sql::EXTRAS_OF_BROADCAST, id()).await? {
            let place = (
                extra.broadcast.clone(),
                row.word(0)?,
                recipient(row.text(1)?),
                row.word(2)?,
                row.word_or_null(3)?,
            );
            ready.there.insert(place, row.word(4)?);
        }
    }
    let targets: HashSet<&DeliveryId> = extras.iter().filter_map(|extra| extra.target.as_ref()).collect();
    let among: Vec<Value> = targets.iter().map(|id| id.as_str().into()).collect();
    for row in sql::TARGETS.write(tx.conn, &[], among).await? {
        ready.targets.insert(row.word(0)?, row.int(1)?);
    }
    for extra in extras {
        if ready
            .broadcasts
            .get(&extra.broadcast)
            .is_some_and(|b| b.mode != extra.mode)
        {
            let what = format!("broadcast {} in mode {}", extra.broadcast, extra.mode);
            return Err(StoreError::NotFound(what));
        }
        if let Some(target) = &extra.target
            && !ready.targets.contains_key(target)
        {
            return Err(StoreError::NotFound(format!("delivery {target}")));
        }
        if extra.target.is_none() && extra.rendering.is_none() {
            return Err(StoreError::NotFound(format!(
                "rendering for account {}",
                extra.account
            )));
        }
    }
    Ok(ready)
}

async fn write(
    tx: &mut Tx<'_>,
    extras: &[Extra],
    ready: &Ready,
    at: Timestamp,
) -> Result<(Vec<LaneId>, usize), StoreError> {
    let mut there = ready.there.clone();
    let (mut lanes, mut new) = (Vec::new(), Vec::new());
    for extra in extras {
        let place = (
            extra.broadcast.clone(),
            extra.account.clone(),
            extra.recipient.clone(),
            extra.purpose,
            extra.target.clone(),
        );
        let state = *there.entry(place).or_insert_with(|| {
            new.push(extra);
            extra.state
        });
        if state.is_open() {
            lanes.push(lane_of(extra));
        }
    }
    let mut rows = Vec::with_capacity(new.len());
    let mut written: Vec<(&BroadcastId, &Rendering, i64)> = Vec::new();
    for extra in new {
        let Some(broadcast) = ready.broadcasts.get(&extra.broadcast) else {
            continue;
        };
        let of_target = extra.target.as_ref().and_then(|target| ready.targets.get(target));
        let rendering = match (&extra.rendering, of_target) {
            (None, Some(id)) => *id,
            (None, None) => continue,
            (Some(rendering), _) => {
                let known = written
                    .iter()
                    .find(|(of, r, _)| *of == &extra.broadcast && *r == rendering);
                if let Some((_, _, id)) = known {
                    *id
                } else {
                    let one = std::slice::from_ref(rendering);
                    let (id, _) = renderings(tx, &extra.broadcast, one).await?;
                    written.push((&extra.broadcast, rendering, id));
                    id
                }
            }
        };
        rows.push(Row {
            // When the last came to rest may lie ahead, if the clock was set back since.
            not_before: at.min(tx.now),
            ..row(extra, &broadcast.alert, broadcast.kind, rendering, at)
        });
    }
    deliveries(tx, &rows).await?;
    for row in &rows {
        tx.changed.push(Changed {
            broadcast: row.broadcast.clone(),
            delivery: Some(row.id.clone()),
            state: Some(row.state),
        });
    }
    Ok((distinct(lanes), rows.len()))
}

fn lane_of(extra: &Extra) -> LaneId {
    LaneId {
        account: extra.account.clone(),
        mode: extra.mode,
    }
}

fn row<'a>(
    extra: &'a Extra,
    alert: &'a AlertId,
    kind: crate::model::Kind,
    rendering: i64,
    at: Timestamp,
) -> Row<'a> {
    Row {
        id: DeliveryId::fresh(),
        alert,
        broadcast: &extra.broadcast,
        kind,
        lane: lane_of(extra),
        channel: &extra.channel,
        recipient: extra.recipient.as_ref(),
        purpose: extra.purpose,
        target: extra.target.as_ref(),
        stands_in_for: Vec::new(),
        stood: &[],
        rendering,
        alternative: None,
        proof: extra.proof,
        state: extra.state,
        queued_at: at,
        not_before: at,
        deadline: extra.deadline,
    }
}
