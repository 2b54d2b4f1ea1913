//! A clock that was set back while the daemon was down, or is wrong by less than before: what waits on the wall's time
//! would wait as much longer. Its waits are kept, counted from now.

use std::time::Duration;

use serde_json::json;

use super::db::Value;
use super::writer::Tx;
use super::{Entry, StoreError, sql};
use crate::clock::{SLACK, until};
use crate::model::Actor;

/// Compares the time with that of the latest record, and moves what waits in lanes that no other node works. How far a
/// message stays true is a moment and no wait: deadlines stay.
pub(super) async fn settle(tx: &mut Tx<'_>, node: &str) -> Result<(), StoreError> {
    let rows = tx.conn.fetch(sql::LATEST_RECORD, vec![]).await?;
    let Some(latest) = rows.first().map(|row| row.time(0)).transpose()? else {
        return Ok(());
    };
    let by = until(tx.now, latest);
    if by <= SLACK {
        return Ok(());
    }
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    let ours = format!("{node}/%");
    let values = vec![Value::from(micros), tx.now.into(), ours.as_str().into()];
    let moved = tx.conn.execute(sql::SET_BACK_DELIVERIES, values.clone()).await?;
    tx.conn.execute(sql::SET_BACK_LANES, values).await?;
    tell(tx, by, moved);
    Ok(())
}

fn tell(tx: &mut Tx<'_>, by: Duration, moved: u64) {
    let seconds = by.as_secs();
    tracing::warn!(
        seconds,
        moved,
        "the clock is behind the journal: it was set back; what waits keeps its waits"
    );
    tx.chain.add(Entry {
        at: tx.now,
        actor: Actor::daemon(),
        kind: "clock",
        broadcast: None,
        delivery: None,
        body: json!({ "set_back_seconds": seconds, "moved": moved }),
    });
}
