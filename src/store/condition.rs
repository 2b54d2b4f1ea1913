//! What was seen of accounts and of the daemon, what of it lasts, and who was told.
//!
//! Observation, conditions, the notices that follow from them and the journal's record are one commit: what was seen and
//! has to be told is told, also after a crash in between.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::db::{Row, Value, unsigned};
use super::mail::{self, Mail};
use super::step::to_json;
use super::writer::{Request, Tx};
use super::{Entry, Store, StoreError, sql};
use crate::clock::{Timestamp, later};
use crate::model::{
    AccountId, Actor, Condition, Look, Notice, Observation, Phase, Reach, Seen, Sign, Subject, Trouble,
};

/// What was seen, to be kept.
#[derive(Debug, Clone)]
pub struct Keep {
    /// What.
    pub observation: Observation,
    /// When.
    pub at: Timestamp,
    /// How long it took to see.
    pub took: Duration,
    /// How long each trouble must last before it is told; those not named are told at once.
    pub patience: BTreeMap<Trouble, Duration>,
}

/// What changed with an observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Conditions that have begun, or have come to their next step.
    pub begun: Vec<Condition>,
    /// Conditions that are over.
    pub ended: Vec<Condition>,
    /// What was seen the time before, if anything.
    pub before: Option<Seen>,
}

/// By which way a notice was told; or why not, and when it is tried again.
pub type Told = Result<String, (String, Timestamp)>;

impl Store {
    /// Since when an alert is active that went to the account, of those that began after then.
    pub async fn alert_since(
        &self,
        account: &AccountId,
        after: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let values = vec![account.as_str().into(), after.into()];
        let rows = self.inner.readers.fetch(sql::ALERT_SINCE, values).await?;
        rows.first().map_or(Ok(None), |row| row.time_or_null(0))
    }

    /// Keeps what was seen, begins and ends conditions by it, and writes the notices that follow.
    pub async fn keep(&self, keep: Keep) -> Result<Kept, StoreError> {
        self.ask(|reply| Request::Keep(Box::new(keep), reply)).await
    }

    /// Notices were told, or not: then they are tried again at the time that `result` says. `owed` are mails to those who
    /// did not get one while others did.
    pub async fn noticed(
        &self,
        notices: Vec<i64>,
        at: Timestamp,
        result: Told,
        owed: Vec<Mail>,
    ) -> Result<(), StoreError> {
        self.ask(|reply| Request::Noticed(notices, at, result, owed, reply))
            .await
    }

    /// Forgets observations and ended conditions from before then. Returns how many rows went.
    pub async fn forget_observations(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.ask(|reply| Request::ForgetObservations(before, reply)).await
    }

    /// The latest observation of each subject and look.
    pub async fn latest_observations(&self) -> Result<Vec<Seen>, StoreError> {
        let rows = self.inner.readers.fetch(sql::OBSERVATIONS_LATEST, vec![]).await?;
        rows.iter().map(seen).collect()
    }

    /// The latest observation of each subject by one kind of look.
    pub async fn latest_by(&self, look: Look) -> Result<Vec<Seen>, StoreError> {
        let values = vec![look.as_str().into()];
        let rows = self
            .inner
            .readers
            .fetch(sql::OBSERVATIONS_LATEST_BY, values)
            .await?;
        rows.iter().map(seen).collect()
    }

    /// What was seen of a subject, newest first.
    pub async fn observations(&self, subject: &Subject, limit: usize) -> Result<Vec<Seen>, StoreError> {
        let values = vec![subject.as_str().into(), super::read::limited(limit).into()];
        let rows = self.inner.readers.fetch(sql::OBSERVATIONS_OF, values).await?;
        rows.iter().map(seen).collect()
    }

    /// What is amiss now, the oldest first.
    pub async fn conditions(&self) -> Result<Vec<Condition>, StoreError> {
        let rows = self.inner.readers.fetch(sql::CONDITIONS_OPEN, vec![]).await?;
        rows.iter().map(|row| condition(row, 0)).collect()
    }

    /// What was amiss and is over since then, newest first.
    pub async fn conditions_ended(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Condition>, StoreError> {
        let values = vec![since.into(), super::read::limited(limit).into()];
        let rows = self.inner.readers.fetch(sql::CONDITIONS_ENDED, values).await?;
        rows.iter().map(|row| condition(row, 0)).collect()
    }

    /// What is to be told now, the oldest first.
    pub async fn notices_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let values = vec![now.into(), super::read::limited(limit).into()];
        let rows = self.inner.readers.fetch(sql::NOTICES_DUE, values).await?;
        rows.iter().map(notice).collect()
    }

    /// A notice by its number; `None` if it is forgotten.
    pub async fn notice(&self, id: i64) -> Result<Option<Notice>, StoreError> {
        let rows = self.inner.readers.fetch(sql::NOTICE_OF, vec![id.into()]).await?;
        rows.first().map(notice).transpose()
    }

    /// When the next notice is to be told.
    pub async fn next_notice(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.inner.readers.fetch(sql::NOTICE_NEXT, vec![]).await?;
        rows.first().map_or(Ok(None), |row| row.time_or_null(0))
    }
}

/// Keeps an observation and what follows from it.
pub(super) async fn keep(tx: &mut Tx<'_>, keep: &Keep) -> Result<Kept, StoreError> {
    let before = look_back(tx, &keep.observation).await?;
    write(tx, keep, before.as_ref()).await?;
    let (begun, ended) = conditions(tx, keep).await?;
    let changed = before
        .as_ref()
        .is_none_or(|before| before.observation.reach != keep.observation.reach);
    if changed || !begun.is_empty() || !ended.is_empty() {
        let observation = &keep.observation;
        let troubles = |all: &[Condition]| all.iter().map(|c| c.sign.trouble).collect::<Vec<_>>();
        tx.chain.add(Entry {
            at: keep.at,
            actor: Actor::daemon(),
            kind: "health",
            broadcast: None,
            delivery: None,
            body: json!({
                "subject": observation.subject, "look": observation.look, "reach": observation.reach,
                "begun": troubles(&begun), "ended": troubles(&ended),
            }),
        });
    }
    Ok(Kept { begun, ended, before })
}

async fn look_back(tx: &mut Tx<'_>, observation: &Observation) -> Result<Option<Seen>, StoreError> {
    let values = vec![
        observation.subject.as_str().into(),
        observation.look.as_str().into(),
    ];
    let rows = tx.conn.fetch(sql::OBSERVATION_LAST, values).await?;
    rows.first().map(seen).transpose()
}

async fn write(tx: &mut Tx<'_>, keep: &Keep, before: Option<&Seen>) -> Result<(), StoreError> {
    let took = i64::try_from(keep.took.as_millis()).unwrap_or(i64::MAX);
    let observation = &keep.observation;
    if before.is_some_and(|before| before.observation.says_the_same_as(observation)) {
        let values = vec![
            observation.subject.as_str().into(),
            observation.look.as_str().into(),
            keep.at.into(),
            took.into(),
            Value::Text(Some(to_json(observation)?)),
        ];
        tx.conn.execute(sql::OBSERVATION_AGAIN, values).await?;
        return Ok(());
    }
    let id = tx.count("observation", 1).await?;
    let values = vec![
        id.into(),
        observation.subject.as_str().into(),
        observation.look.as_str().into(),
        observation.reach.as_str().into(),
        keep.at.into(),
        took.into(),
        Value::Text(Some(to_json(observation)?)),
    ];
    tx.conn.execute(sql::OBSERVATION_NEW, values).await?;
    Ok(())
}

/// Begins what is new, moves on what has come to its next step, ends what is not seen any more.
async fn conditions(tx: &mut Tx<'_>, keep: &Keep) -> Result<(Vec<Condition>, Vec<Condition>), StoreError> {
    let observation = &keep.observation;
    let rows = tx
        .conn
        .fetch(sql::CONDITIONS_OF, vec![observation.subject.as_str().into()])
        .await?;
    let open: Vec<Condition> = rows
        .iter()
        .map(|row| condition(row, 0))
        .collect::<Result<_, _>>()?;
    let mut begun = Vec::new();
    for sign in &observation.signs {
        let known = open
            .iter()
            .find(|one| one.sign.trouble == sign.trouble && !sign.trouble.is_event());
        match known {
            Some(known) => {
                let now = Condition {
                    sign: sign.clone(),
                    seen_at: keep.at,
                    ..known.clone()
                };
                let values = vec![known.id.into(), keep.at.into(), Value::Text(Some(to_json(sign)?))];
                tx.conn.execute(sql::CONDITION_AGAIN, values).await?;
                if known.sign.step != sign.step {
                    announce(tx, &now, Phase::Begin, keep.at).await?;
                    begun.push(now);
                }
            }
            None => begun.push(begin(tx, keep, sign).await?),
        }
    }
    let mut ended = Vec::new();
    for known in open {
        let covered = observation.look.covers().contains(&known.sign.trouble);
        let seen = observation
            .signs
            .iter()
            .any(|sign| sign.trouble == known.sign.trouble);
        if covered && !seen {
            ended.push(end(tx, known, keep.at).await?);
        }
    }
    Ok((begun, ended))
}

async fn begin(tx: &mut Tx<'_>, keep: &Keep, sign: &Sign) -> Result<Condition, StoreError> {
    let id = tx.count("condition", 1).await?;
    let is_event = sign.trouble.is_event();
    let begun = Condition {
        id,
        subject: keep.observation.subject.clone(),
        sign: sign.clone(),
        since: keep.at,
        seen_at: keep.at,
        ended_at: is_event.then_some(keep.at),
    };
    let values = vec![
        id.into(),
        begun.subject.as_str().into(),
        sign.trouble.as_str().into(),
        keep.at.into(),
        begun.ended_at.into(),
        Value::Text(Some(to_json(sign)?)),
    ];
    tx.conn.execute(sql::CONDITION_NEW, values).await?;
    let patience = keep.patience.get(&sign.trouble).copied().unwrap_or_default();
    announce(tx, &begun, Phase::Begin, later(keep.at, patience)).await?;
    Ok(begun)
}

/// Ends a condition. Its end is told only to those who were told of its beginning.
async fn end(tx: &mut Tx<'_>, known: Condition, at: Timestamp) -> Result<Condition, StoreError> {
    let values = vec![known.id.into(), at.into()];
    tx.conn.execute(sql::CONDITION_END, values).await?;
    let over = Condition {
        ended_at: Some(at),
        ..known
    };
    let told = tx.conn.fetch(sql::NOTICE_TOLD, vec![over.id.into()]).await?;
    tx.conn.execute(sql::NOTICES_VOID, vec![over.id.into()]).await?;
    if !told.is_empty() {
        announce(tx, &over, Phase::End, at).await?;
    }
    Ok(over)
}

async fn announce(
    tx: &mut Tx<'_>,
    of: &Condition,
    phase: Phase,
    due_at: Timestamp,
) -> Result<(), StoreError> {
    let id = tx.count("notice", 1).await?;
    let values = vec![
        id.into(),
        of.id.into(),
        phase.as_str().into(),
        i64::from(of.sign.step.unwrap_or_default()).into(),
        due_at.into(),
        Value::Text(Some(to_json(&of.sign)?)),
    ];
    tx.conn.execute(sql::NOTICE_NEW, values).await?;
    Ok(())
}

/// Writes down that notices were told, or when they are tried again.
pub(super) async fn noticed(
    tx: &mut Tx<'_>,
    notices: &[i64],
    at: Timestamp,
    result: &Told,
    owed: &[Mail],
) -> Result<(), StoreError> {
    mail::write(tx, owed).await?;
    for id in notices {
        match result {
            Ok(way) => {
                let values = vec![(*id).into(), at.into(), way.as_str().into()];
                tx.conn.execute(sql::NOTICE_IS_TOLD, values).await?;
            }
            Err((why, again)) => {
                let values = vec![(*id).into(), (*again).into(), why.as_str().into()];
                tx.conn.execute(sql::NOTICE_AGAIN, values).await?;
            }
        }
    }
    let (told, by) = match result {
        Ok(way) => (true, way),
        Err((why, _)) => (false, why),
    };
    tx.chain.add(Entry {
        at,
        actor: Actor::daemon(),
        kind: "notice",
        broadcast: None,
        delivery: None,
        body: json!({
            "notices": notices, "told": told, "by": by,
            "owed": owed.iter().map(|mail| &mail.id).collect::<Vec<_>>(),
        }),
    });
    Ok(())
}

pub(super) async fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<u64, StoreError> {
    let mut gone = 0;
    for statement in [
        sql::OBSERVATIONS_FORGET,
        sql::NOTICES_FORGET,
        sql::CONDITIONS_FORGET,
        sql::MAILS_FORGET,
    ] {
        gone += tx.conn.execute(statement, vec![before.into()]).await?;
    }
    Ok(gone)
}

fn seen(row: &Row) -> Result<Seen, StoreError> {
    let (subject, look, reach): (Subject, Look, Reach) = (row.word(0)?, row.word(1)?, row.word(2)?);
    let observation: Option<Observation> = row.json_or_null(6)?;
    let observation = observation.filter(|o| o.subject == subject && o.look == look && o.reach == reach);
    Ok(Seen {
        observation: observation
            .ok_or_else(|| StoreError::Engine(format!("a damaged observation of {subject}")))?,
        since: row.time(3)?,
        at: row.time(4)?,
        took_ms: u64::try_from(row.int(5)?).unwrap_or_default(),
    })
}

/// A condition from six columns.
fn condition(row: &Row, from: usize) -> Result<Condition, StoreError> {
    let sign: Option<Sign> = row.json_or_null(from + 5)?;
    let id = row.int(from)?;
    Ok(Condition {
        id,
        subject: row.word(from + 1)?,
        since: row.time(from + 2)?,
        seen_at: row.time(from + 3)?,
        ended_at: row.time_or_null(from + 4)?,
        sign: sign.ok_or_else(|| StoreError::Engine(format!("a damaged condition {id}")))?,
    })
}

fn notice(row: &Row) -> Result<Notice, StoreError> {
    let sign: Option<Sign> = row.json_or_null(10)?;
    let condition = condition(row, 4)?;
    Ok(Notice {
        id: row.int(0)?,
        phase: row.word(1)?,
        due_at: row.time(2)?,
        tries: unsigned(row.int(3)?)?,
        condition: Condition {
            sign: sign.unwrap_or(condition.sign),
            ..condition
        },
    })
}
