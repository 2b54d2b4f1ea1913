//! The leases of lanes. Each taking raises the epoch, and every write of a lane names its epoch.

use super::change::{Sweep, sweep};
use super::db::{Conn, Value, unsigned};
use super::step::{Current, to_json};
use super::writer::Tx;
use super::{LaneNotes, Lease, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{Actor, Event, LaneId, Reason};

fn key(lane: &LaneId) -> Vec<Value> {
    vec![lane.account.as_str().into(), lane.mode.as_str().into()]
}

/// Takes what may be taken. What was being sent in a taken lane is unknown from now on.
pub(super) async fn take(
    tx: &mut Tx<'_>,
    lanes: &[LaneId],
    node: &str,
    until: Timestamp,
    force: bool,
) -> Result<Vec<Lease>, StoreError> {
    tx.marks.leases = true;
    let mut leases = Vec::with_capacity(lanes.len());
    for lane in lanes {
        tx.conn.execute(sql::LANE_MAKE, key(lane)).await?;
        let rows = tx.conn.fetch(sql::LANE_READ, key(lane)).await?;
        let Some(row) = rows.first() else {
            return Err(StoreError::Engine(format!("the lane {lane} was not made")));
        };
        let owner = row.text_or_null(1)?;
        let free = owner.as_deref().is_none_or(|owner| owner == node) || row.time(2)? <= tx.now;
        if !free && !force {
            continue;
        }
        let epoch = row.int(0)? + 1;
        let mut values = key(lane);
        values.extend([epoch.into(), node.into(), until.into()]);
        tx.conn.execute(sql::LANE_TAKE, values).await?;
        let notes = LaneNotes {
            busy_until: row.time_or_null(3)?,
            open_until: row.time_or_null(4)?,
            failures: unsigned(row.int(5)?)?,
            reason: row.reason(6)?,
            recent: recent(tx.conn, lane).await?,
        };
        cut_off(tx, lane, node).await?;
        leases.push(Lease {
            lane: lane.clone(),
            epoch,
            notes,
        });
    }
    Ok(leases)
}

async fn recent(conn: &mut Conn, lane: &LaneId) -> Result<Vec<Timestamp>, StoreError> {
    conn.fetch(sql::LANE_ATTEMPTS, key(lane))
        .await?
        .iter()
        .map(|row| row.time(0))
        .collect()
}

async fn cut_off(tx: &mut Tx<'_>, lane: &LaneId, node: &str) -> Result<(), StoreError> {
    let rows = tx.conn.fetch(sql::LANE_CUT_OFF, key(lane)).await?;
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
