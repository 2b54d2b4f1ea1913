//! The runs of drills, and up to when their schedules have been dealt with.

use serde_json::json;

use super::db::{Readers, Row, Value};
use super::mail::{self, Mail};
use super::step::to_json;
use super::writer::Tx;
use super::{Entry, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{Actor, BroadcastId, DeliveryId, Level, MailKind, Recipient, RunState};

/// One run of a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillRun {
    /// The drill's id and a running number.
    pub id: String,
    /// The drill.
    pub drill: String,
    /// How far it goes.
    pub level: Level,
    /// Where it stands.
    pub state: RunState,
    /// Who started it.
    pub actor: Actor,
    /// The node that carries it out.
    pub owner: String,
    /// When its schedule said; `None` if a person started it.
    pub planned_at: Option<Timestamp>,
    /// When it was written down.
    pub begun_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The broadcast of a rehearsal.
    pub broadcast: Option<BroadcastId>,
    /// The report, once it has ended.
    pub report: Option<serde_json::Value>,
}

/// Up to when the times of a drill's schedule have been dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillSeen {
    /// The drill.
    pub drill: String,
    /// The line that held then.
    pub schedule: String,
    /// Up to when.
    pub seen_at: Timestamp,
}

/// How a run ended, and whom to tell.
#[derive(Debug, Clone)]
pub struct DrillEnd {
    /// How it stands now; anything but running.
    pub state: RunState,
    /// The report.
    pub report: serde_json::Value,
    /// Whom to tell.
    pub tell: Vec<Recipient>,
    /// How long that is tried.
    pub deadline: Timestamp,
}

/// What may be written of drills.
#[derive(Debug)]
pub enum DrillChange {
    /// The schedule of a drill, as it is now, is looked after from this time on.
    See(DrillSeen),
    /// Only these drills have a schedule.
    Keep(Vec<String>),
    /// A run begins; unless its planned time has a run already. It may have ended at once: missed. `seen` is what has
    /// been dealt with by it.
    Begin {
        /// The drill.
        drill: String,
        /// How far it goes.
        level: Level,
        /// Who started it.
        actor: Actor,
        /// The node.
        owner: String,
        /// When its schedule said.
        planned_at: Option<Timestamp>,
        /// Up to when its schedule has been dealt with.
        seen: Option<DrillSeen>,
        /// How it ended, if it did at once.
        end: Option<Box<DrillEnd>>,
    },
    /// A run goes to work.
    Start(String),
    /// The broadcast of a run.
    Broadcast(String, BroadcastId),
    /// A run ends, unless it has.
    End(String, Box<DrillEnd>),
}

/// Writes it. Returns the run that a beginning made, or the run that an ending ended; `None` if it did not apply.
pub(super) async fn change(
    tx: &mut Tx<'_>,
    change: DrillChange,
    at: Timestamp,
) -> Result<Option<String>, StoreError> {
    match change {
        DrillChange::See(seen) => see(tx, &seen).await.map(|()| Some(seen.drill)),
        DrillChange::Keep(drills) => {
            for row in tx.conn.fetch(sql::DRILL_SEEN, vec![]).await? {
                let drill = row.text(0)?;
                if !drills.contains(&drill) {
                    let values = vec![drill.as_str().into()];
                    tx.conn.execute(sql::DRILL_FORGET, values).await?;
                }
            }
            Ok(None)
        }
        DrillChange::Begin {
            drill,
            level,
            actor,
            owner,
            planned_at,
            seen,
            end,
        } => {
            if let Some(planned) = planned_at {
                let values = vec![drill.as_str().into(), planned.into()];
                if !tx.conn.fetch(sql::DRILL_PLANNED, values).await?.is_empty() {
                    return Ok(None);
                }
            }
            if let Some(seen) = &seen {
                see(tx, seen).await?;
            }
            let number = tx.count(&format!("drill/{drill}"), 1).await?;
            let seq = tx.count("drill", 1).await?;
            let id = format!("{drill}.{number}");
            let values = vec![
                id.as_str().into(),
                seq.into(),
                drill.as_str().into(),
                level.as_str().into(),
                RunState::Running.as_str().into(),
                actor.0.as_str().into(),
                owner.as_str().into(),
                planned_at.into(),
                at.into(),
            ];
            tx.conn.execute(sql::DRILL_BEGIN, values).await?;
            tx.chain.add(Entry {
                at,
                actor,
                kind: "drill",
                broadcast: None,
                delivery: None,
                body: json!({
                    "run": id, "drill": drill, "level": level, "planned_at": planned_at, "state": RunState::Running,
                }),
            });
            if let Some(mut end) = end {
                // Its number is known only now.
                if let Some(run) = end.report.get_mut("run") {
                    *run = json!(id);
                }
                finish(tx, &id, *end, at).await?;
            }
            Ok(Some(id))
        }
        DrillChange::Start(run) => {
            let values = vec![run.as_str().into(), at.into()];
            let changed = tx.conn.execute(sql::DRILL_START, values).await?;
            Ok((changed > 0).then_some(run))
        }
        DrillChange::Broadcast(run, broadcast) => {
            let values = vec![run.as_str().into(), broadcast.as_str().into()];
            let changed = tx.conn.execute(sql::DRILL_BROADCAST, values).await?;
            Ok((changed > 0).then_some(run))
        }
        DrillChange::End(run, end) => finish(tx, &run, *end, at).await,
    }
}

async fn see(tx: &mut Tx<'_>, seen: &DrillSeen) -> Result<(), StoreError> {
    let values = vec![
        seen.drill.as_str().into(),
        seen.schedule.as_str().into(),
        seen.seen_at.into(),
    ];
    tx.conn.execute(sql::DRILL_SEE, values).await?;
    Ok(())
}

async fn finish(
    tx: &mut Tx<'_>,
    run: &str,
    end: DrillEnd,
    at: Timestamp,
) -> Result<Option<String>, StoreError> {
    let report = to_json(&end.report)?;
    let values = vec![
        run.into(),
        end.state.as_str().into(),
        at.into(),
        Value::Text(Some(report)),
    ];
    if tx.conn.execute(sql::DRILL_END, values).await? == 0 {
        return Ok(None);
    }
    let tell = end.tell.iter();
    // What they say is the report, which is in the row of the run.
    let mails: Vec<Mail> = tell
        .map(|recipient| Mail::new(MailKind::Drill, run, recipient, None, at, end.deadline))
        .collect();
    mail::write(tx, &mails).await?;
    let mails: Vec<&DeliveryId> = mails.iter().map(|mail| &mail.id).collect();
    // The report itself is in its row; here stands what it came to, for good.
    let grade = end.report.pointer("/grade/passed").cloned();
    tx.chain.add(Entry {
        at,
        actor: Actor::daemon(),
        kind: "drill",
        broadcast: None,
        delivery: None,
        body: json!({
            "run": run, "state": end.state, "passed": grade, "decided": end.report.pointer("/grade/decided"),
            "all": end.report.get("all"), "out": end.report.get("out"), "notes": end.report.get("notes"),
            "missed": end.report.get("missed"), "mails": mails,
        }),
    });
    Ok(Some(run.to_owned()))
}

fn run_of(row: &Row) -> Result<DrillRun, StoreError> {
    Ok(DrillRun {
        id: row.text(0)?,
        drill: row.text(1)?,
        level: row.word(2)?,
        state: row.word(3)?,
        actor: Actor(row.text(4)?),
        owner: row.text(5)?,
        planned_at: row.time_or_null(6)?,
        begun_at: row.time(7)?,
        started_at: row.time_or_null(8)?,
        finished_at: row.time_or_null(9)?,
        broadcast: row.word_or_null(10)?,
        report: row.json_or_null(11)?,
    })
}

pub(super) async fn runs(
    readers: &Readers,
    drill: Option<&str>,
    limit: usize,
) -> Result<Vec<DrillRun>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = match drill {
        Some(drill) => {
            let values = vec![drill.into(), limit.into()];
            readers.fetch(sql::DRILL_RUNS_OF, values).await?
        }
        None => readers.fetch(sql::DRILL_RUNS, vec![limit.into()]).await?,
    };
    rows.iter().map(run_of).collect()
}

pub(super) async fn run(readers: &Readers, id: &str) -> Result<DrillRun, StoreError> {
    let rows = readers.fetch(sql::DRILL_RUN, vec![id.into()]).await?;
    match rows.first() {
        Some(row) => run_of(row),
        None => Err(StoreError::NotFound(format!("run {id} of a drill"))),
    }
}

pub(super) async fn running(readers: &Readers) -> Result<Vec<DrillRun>, StoreError> {
    let rows = readers.fetch(sql::DRILLS_RUNNING, vec![]).await?;
    rows.iter().map(run_of).collect()
}

pub(super) async fn seen(readers: &Readers) -> Result<Vec<DrillSeen>, StoreError> {
    let rows = readers.fetch(sql::DRILL_SEEN, vec![]).await?;
    let seen = |row: &Row| {
        Ok(DrillSeen {
            drill: row.text(0)?,
            schedule: row.text(1)?,
            seen_at: row.time(2)?,
        })
    };
    rows.iter().map(seen).collect()
}

/// The number of the latest broadcast; 0 if there is none.
pub(super) async fn last_broadcast(readers: &Readers) -> Result<i64, StoreError> {
    let rows = readers.fetch(sql::LAST_BROADCAST, vec![]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// The first live broadcast after the one of that number. By number, not by time: what was asked for before a moment may
/// be accepted after it.
pub(super) async fn live_after(readers: &Readers, number: i64) -> Result<Option<BroadcastId>, StoreError> {
    let rows = readers.fetch(sql::LIVE_AFTER, vec![number.into()]).await?;
    rows.first().map(|row| row.word(0)).transpose()
}

/// The latest broadcast of an active live alert that is still valid.
pub(super) async fn live_now(readers: &Readers, now: Timestamp) -> Result<Option<BroadcastId>, StoreError> {
    let rows = readers.fetch(sql::LIVE_NOW, vec![now.into()]).await?;
    rows.first().map(|row| row.word(0)).transpose()
}
