//! The leases of lanes. Each taking raises the epoch, and every write of a lane names its epoch.

use std::collections::HashMap;

use super::change::{Sweep, distinct, sweep};
use super::db::{Conn, Value, unsigned};
use super::step::{Current, to_json};
use super::writer::Tx;
use super::{LaneNotes, Lease, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{Actor, Event, LaneId, Reason};

/// Attempts that a lease tells of.
const RECENT: usize = 200;

fn key(lane: &LaneId) -> Vec<Value> {
    vec![lane.account.as_str().into(), lane.mode.as_str().into()]
}

fn keys(lanes: &[LaneId]) -> Vec<Vec<Value>> {
    lanes.iter().map(key).collect()
}

/// Takes what may be taken, in a handful of statements however many lanes there are: between a command and its first
/// post nothing else may take time. What was being sent in a taken lane is unknown from now on.
pub(super) async fn take(
    tx: &mut Tx<'_>,
    lanes: &[LaneId],
    node: &str,
    until: Timestamp,
    force: bool,
) -> Result<Vec<Lease>, StoreError> {
    tx.marks.leases = true;
    let wanted = distinct(lanes.iter().cloned());
    let fresh = wanted.iter().map(|lane| {
        let mut values = key(lane);
        values.extend([0.into(), 0.into(), 0.into()]);
        values
    });
    sql::LANES_MAKE.run(tx.conn, fresh.collect()).await?;
    let mut known = HashMap::with_capacity(wanted.len());
    for row in sql::LANES_READ.fetch(tx.conn, keys(&wanted)).await? {
        known.insert(super::read::lane(&row)?, row);
    }
    let mut leases = Vec::with_capacity(wanted.len());
    for lane in wanted {
        let Some(row) = known.get(&lane) else {
            return Err(StoreError::Engine(format!("the lane {lane} was not made")));
        };
        let owner = row.text_or_null(3)?;
        let free = owner.as_deref().is_none_or(|owner| owner == node) || row.time(4)? <= tx.now;
        if !free && !force {
            continue;
        }
        let notes = LaneNotes {
            busy_until: row.time_or_null(5)?,
            open_until: row.time_or_null(6)?,
            failures: unsigned(row.int(7)?)?,
            reason: row.reason(8)?,
            recent: Vec::new(),
        };
        leases.push(Lease {
            lane,
            epoch: row.int(2)? + 1,
            notes,
        });
    }
    let taken: Vec<LaneId> = leases.iter().map(|lease| lease.lane.clone()).collect();
    let rows = leases.iter().map(|lease| {
        let mut values = key(&lease.lane);
        values.extend([lease.epoch.into(), node.into(), until.into()]);
        values
    });
    sql::LANES_TAKE.run(tx.conn, rows.collect()).await?;
    let mut recent = recent(tx.conn, &taken).await?;
    for lease in &mut leases {
        lease.notes.recent = recent.remove(&lease.lane).unwrap_or_default();
    }
    cut_off(tx, &taken, node).await?;
    Ok(leases)
}

/// When the latest attempts of each lane began, newest first.
async fn recent(conn: &mut Conn, lanes: &[LaneId]) -> Result<HashMap<LaneId, Vec<Timestamp>>, StoreError> {
    let mut recent: HashMap<LaneId, Vec<Timestamp>> = HashMap::with_capacity(lanes.len());
    for row in sql::LANES_ATTEMPTS.fetch(conn, keys(lanes)).await? {
        let of_it = recent.entry(super::read::lane(&row)?).or_default();
        if of_it.len() < RECENT {
            of_it.push(row.time(2)?);
        }
    }
    Ok(recent)
}

/// Makes the lanes that an earlier process of `node` still leases those of its successor `owner`, under a new epoch: the
/// earlier one, should it live on, writes nothing more in them. Only for who holds the node's data directory.
pub(super) async fn inherit(
    tx: &mut Tx<'_>,
    node: &str,
    owner: &str,
    until: Timestamp,
) -> Result<(), StoreError> {
    let earlier = format!("{node}/%");
    let values = vec![earlier.as_str().into(), owner.into(), until.into(), tx.now.into()];
    tx.conn.execute(sql::LANES_INHERIT, values).await?;
    Ok(())
}

async fn cut_off(tx: &mut Tx<'_>, lanes: &[LaneId], node: &str) -> Result<(), StoreError> {
    let rows = sql::LANES_CUT_OFF.fetch(tx.conn, keys(lanes)).await?;
    let rows = rows.iter().map(Current::of).collect::<Result<Vec<_>, _>>()?;
    let reason = Reason::new(
        "crash",
        "the daemon stopped during the attempt; whether it got through has to be found out",
    );
    let say = Sweep {
        at: tx.now,
        actor: &Actor::daemon(),
        kind: "outcome",
        more: Some(("taken_by", serde_json::json!(node))),
    };
    sweep(tx, &rows, |_| &[Event::Lose], Some(&reason), &say).await
}

/// Extends leases; returns those that are not ours any more.
pub(super) async fn renew(
    tx: &mut Tx<'_>,
    leases: &[(LaneId, i64)],
    node: &str,
    until: Timestamp,
) -> Result<Vec<LaneId>, StoreError> {
    let mut lost = Vec::new();
    for (lane, epoch) in leases {
        let mut values = key(lane);
        values.extend([(*epoch).into(), node.into(), until.into()]);
        if tx.conn.execute(sql::LANE_RENEW, values).await? == 0 {
            lost.push(lane.clone());
        }
    }
    Ok(lost)
}

/// Writes what the lane must remember, if the epoch is still its own.
pub(super) async fn note(
    conn: &mut Conn,
    lane: &LaneId,
    epoch: i64,
    notes: &LaneNotes,
) -> Result<(), StoreError> {
    let mut values = key(lane);
    values.extend([
        epoch.into(),
        notes.busy_until.into(),
        notes.open_until.into(),
        i64::from(notes.failures).into(),
        Value::Text(notes.reason.as_ref().map(to_json).transpose()?),
    ]);
    match conn.execute(sql::LANE_NOTE, values).await? {
        0 => Err(StoreError::Fenced(lane.clone())),
        _ => Ok(()),
    }
}
