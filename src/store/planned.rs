//! Up to when the times of a schedule have been dealt with. A planned time is taken once, by whichever node is first; what
//! was taken and not ended was cut off.

use super::db::Readers;
use super::writer::{Request, Tx};
use super::{Store, StoreError, sql};
use crate::clock::Timestamp;

/// How a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its line, as it was when that was written.
    pub schedule: String,
    /// The time that was dealt with last.
    pub seen_at: Timestamp,
    /// The time that is being carried out.
    pub running_at: Option<Timestamp>,
    /// By which node.
    pub owner: Option<String>,
}

/// What becomes of a schedule.
#[derive(Debug)]
pub enum PlanChange {
    /// It is looked at for the first time, as it is: what lies before was never planned.
    See {
        /// Its name.
        name: &'static str,
        /// Its line.
        schedule: String,
    },
    /// A time of it was dealt with, and not carried out.
    Pass {
        /// Its name.
        name: &'static str,
        /// Which time.
        planned: Timestamp,
    },
    /// A time of it is taken, to be carried out.
    Take {
        /// Its name.
        name: &'static str,
        /// Which time.
        planned: Timestamp,
        /// The node that does.
        owner: String,
    },
    /// It was carried out, or is given up.
    End {
        /// Its name.
        name: &'static str,
        /// The node that began it: what another one has begun meanwhile goes on.
        owner: String,
    },
}

impl Store {
    /// How a schedule stands; `None` if it was never looked at.
    pub async fn planned(&self, name: &'static str) -> Result<Option<Planned>, StoreError> {
        read(&self.inner.readers, name).await
    }

    /// Changes how a schedule stands. Returns whether it did: a time that somebody else has taken is not taken
    /// again, nor another one before that is ended.
    pub async fn plan(&self, change: PlanChange, at: Timestamp) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Plan(change, at, reply)).await
    }
}

async fn read(readers: &Readers, name: &'static str) -> Result<Option<Planned>, StoreError> {
    let rows = readers.fetch(sql::PLAN, vec![name.into()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Planned {
        schedule: row.text(0)?,
        seen_at: row.time(1)?,
        running_at: row.time_or_null(2)?,
        owner: row.word_or_null(3)?,
    }))
}

pub(super) async fn change(tx: &mut Tx<'_>, change: PlanChange, at: Timestamp) -> Result<bool, StoreError> {
    let (text, values) = match change {
        PlanChange::See { name, schedule } => (
            sql::PLAN_SEE,
            vec![name.into(), schedule.as_str().into(), at.into()],
        ),
        PlanChange::Pass { name, planned } => (sql::PLAN_PASS, vec![name.into(), planned.into()]),
        PlanChange::Take { name, planned, owner } => (
            sql::PLAN_TAKE,
            vec![name.into(), planned.into(), owner.as_str().into()],
        ),
        PlanChange::End { name, owner } => (sql::PLAN_END, vec![name.into(), owner.as_str().into()]),
    };
    Ok(tx.conn.execute(text, values).await? > 0)
}
