//! Whose database this is. A copy that is started must not send again what the original has sent meanwhile: everything
//! unsent is held until a person has looked.

use serde_json::json;

use super::change::{Sweep, sweep};
use super::db::identity;
use super::step::Current;
use super::writer::Tx;
use super::{Entry, Opened, StoreError, sql};
use crate::model::{Actor, Event, Reason, State};

/// How long the answers to idempotency keys are kept: at least the 30 days that are promised.
const KEYS_KEPT: std::time::Duration = std::time::Duration::from_hours(60 * 24);

/// The name of the mark that [`super::backup`] leaves in a copy.
pub(super) const MARK: &str = "backup";

/// Compares the database's owner with `node` and holds everything unsent if it is another's, or a backup.
pub(super) async fn settle(tx: &mut Tx<'_>, node: &str) -> Result<Opened, StoreError> {
    let now = tx.now;
    let long_ago = crate::clock::from_micros(
        now.as_microsecond()
            .saturating_sub(i64::try_from(KEYS_KEPT.as_micros()).unwrap_or(i64::MAX)),
    );
    tx.conn.execute(sql::FORGET, vec![long_ago.into()]).await?;
    let owner = identity(tx.conn, node).await?;
    let before = meta(tx, "node").await?;
    let backup = meta(tx, MARK).await?;
    if backup.is_none() && before.as_ref() == Some(&owner) {
        return Ok(Opened::Own);
    }
    tx.conn
        .execute(sql::META_SET, vec!["node".into(), owner.as_str().into()])
        .await?;
    tx.conn.execute(sql::META_CLEAR, vec![MARK.into()]).await?;
    if backup.is_none() && before.is_none() {
        return Ok(Opened::Own);
    }
    tx.conn.execute(sql::LANES_FREE, vec![]).await?;
    let rows = tx.conn.fetch(sql::ALL_OPEN, vec![]).await?;
    let rows = rows.iter().map(Current::of).collect::<Result<Vec<_>, _>>()?;
    let reason = Reason::new(
        "restored",
        "the database is a restored copy; what was not sent when it was made may have been sent since",
    );
    let given_up = super::mail::give_up(tx, &reason).await?;
    let held = rows.len() as u64 + super::expand::hold(tx, now, &reason).await?;
    tx.chain.add(Entry {
        at: now,
        actor: Actor::daemon(),
        kind: "restore",
        broadcast: None,
        delivery: None,
        body: json!({ "held": held, "mails_given_up": given_up, "backup_of": backup, "was": before, "is": owner }),
    });
    let say = Sweep {
        at: now,
        actor: &Actor::daemon(),
        kind: "restore",
        more: None,
    };
    sweep(tx, &rows, to_held, Some(&reason), &say).await?;
    Ok(Opened::Restored { held })
}

fn to_held(state: State) -> &'static [Event] {
    match state {
        State::Queued | State::Unknown => &[Event::Hold],
        State::Sending => &[Event::Lose, Event::Hold],
        State::Published
        | State::Edited
        | State::Retracted
        | State::Refused
        | State::Held
        | State::Manual
        | State::Expired
        | State::Superseded
        | State::Cancelled => &[],
    }
}

async fn meta(tx: &mut Tx<'_>, name: &str) -> Result<Option<String>, StoreError> {
    let rows = tx.conn.fetch(sql::META, vec![name.into()]).await?;
    rows.first().map(|row| row.text(0)).transpose()
}
