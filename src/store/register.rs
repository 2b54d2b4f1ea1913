//! What the register remembers: attestations, applications, closings, and when the list was published and looked at.
//! Everything that a person says gets its journal record in the same commit.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::db::{Row, Value};
use super::step::to_json;
use super::writer::{Request, Tx};
use super::{Entry, Store, StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, State};
use crate::register::application::{self, Application, Decision, Filed};
use crate::register::attest::{Attestation, What};
use crate::register::closing::{self, Signed, Step};
use crate::register::report::Posted;

/// What is written down.
#[derive(Debug)]
pub(super) enum Write {
    Attest {
        account: AccountId,
        what: What,
        evidence: String,
        expires_at: Timestamp,
    },
    Revoke {
        account: AccountId,
        what: What,
        reason: String,
    },
    File(Box<Application>),
    Decide {
        id: i64,
        approve: bool,
        decision: Decision,
    },
    Sign {
        account: AccountId,
        step: Step,
        note: Option<String>,
    },
    Mark {
        name: String,
        body: String,
        /// What the journal says of it, if it does.
        entry: Option<Entry>,
    },
}

impl Store {
    /// Writes an attestation; it is the account's latest word in the matter. Returns its number.
    pub async fn attest(
        &self,
        account: &AccountId,
        what: What,
        evidence: &str,
        expires_at: Timestamp,
        at: Timestamp,
        actor: Actor,
    ) -> Result<i64, StoreError> {
        let write = Write::Attest {
            account: account.clone(),
            what,
            evidence: evidence.to_owned(),
            expires_at,
        };
        self.write(write, at, actor).await
    }

    /// Takes the latest attestation of an account in a matter back. Returns its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none, or it was taken back before.
    pub async fn revoke_attestation(
        &self,
        account: &AccountId,
        what: What,
        reason: &str,
        at: Timestamp,
        actor: Actor,
    ) -> Result<i64, StoreError> {
        let write = Write::Revoke {
            account: account.clone(),
            what,
            reason: reason.to_owned(),
        };
        self.write(write, at, actor).await
    }

    /// Every attestation, oldest first.
    pub async fn attestations(&self) -> Result<Vec<Attestation>, StoreError> {
        let rows = self.inner.readers.fetch(sql::ATTESTATIONS, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Attestation {
                    id: row.int(0)?,
                    account: row.word(1)?,
                    what: row.word(2)?,
                    evidence: row.text(3)?,
                    actor: Actor(row.text(4)?),
                    at: row.time(5)?,
                    expires_at: row.time(6)?,
                    revoked_at: row.time_or_null(7)?,
                    revoked_by: row.text_or_null(8)?.map(Actor),
                    revoked_because: row.text_or_null(9)?,
                })
            })
            .collect()
    }

    /// Files an application. Returns its number.
    pub async fn file_application(
        &self,
        application: Application,
        at: Timestamp,
        actor: Actor,
    ) -> Result<i64, StoreError> {
        self.write(Write::File(Box::new(application)), at, actor).await
    }

    /// Decides on an application, once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is none; [`StoreError::Conflict`] if it is decided on.
    pub async fn decide_application(
        &self,
        id: i64,
        approve: bool,
        decision: Decision,
    ) -> Result<(), StoreError> {
        let (at, actor) = (decision.at, decision.actor.clone());
        self.write(
            Write::Decide {
                id,
                approve,
                decision,
            },
            at,
            actor,
        )
        .await
        .map(drop)
    }

    /// Every application, oldest first.
    pub async fn applications(&self) -> Result<Vec<Filed>, StoreError> {
        let rows = self.inner.readers.fetch(sql::APPLICATIONS, vec![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Filed {
                    id: row.int(0)?,
                    application: json_of(row, 1)?,
                    actor: Actor(row.text(2)?),
                    at: row.time(3)?,
                    state: row.word(4)?,
                    decision: row.json_or_null(5)?,
                })
            })
            .collect()
    }

    /// Signs a step of an account's closing off.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it is signed off, or an earlier one is not.
    pub async fn sign_closing(
        &self,
        account: &AccountId,
        step: Step,
        note: Option<String>,
        at: Timestamp,
        actor: Actor,
    ) -> Result<(), StoreError> {
        let account = account.clone();
        self.write(Write::Sign { account, step, note }, at, actor)
            .await
            .map(drop)
    }

    /// What is signed off of an account's closing.
    pub async fn closing(&self, account: &AccountId) -> Result<Vec<Signed>, StoreError> {
        let rows = self
            .inner
            .readers
            .fetch(sql::CLOSING, vec![account.as_str().into()])
            .await?;
        signed(account, &rows)
    }

    /// Remembers what came of something that recurs.
    pub async fn set_mark(
        &self,
        name: &str,
        body: &impl Serialize,
        at: Timestamp,
        entry: Option<Entry>,
    ) -> Result<(), StoreError> {
        let write = Write::Mark {
            name: name.to_owned(),
            body: to_json(body)?,
            entry,
        };
        self.write(write, at, Actor::daemon()).await.map(drop)
    }

    /// What was remembered under a name.
    pub async fn mark<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let rows = self.inner.readers.fetch(sql::MARK, vec![name.into()]).await?;
        rows.first().map(|row| json_of(row, 0)).transpose()
    }

    /// What came of the live broadcasts that were accepted from `from` on and before `to`, by account.
    pub async fn posted(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<BTreeMap<AccountId, Posted>, StoreError> {
        let bounds = || vec![from.into(), to.into()];
        let mut all: BTreeMap<AccountId, (Posted, Vec<u64>)> = BTreeMap::new();
        for row in self.inner.readers.fetch(sql::POSTED_SINGLES, bounds()).await? {
            let state: State = row.word(1)?;
            let (posted, took) = all.entry(row.word(0)?).or_default();
            count(posted, state, 1);
            // A change or a retraction has taken the place of when it came out.
            if state == State::Published
                && let Some(finished) = row.time_or_null(3)?
            {
                let passed = crate::clock::until(row.time(2)?, finished);
                took.push(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
            }
        }
        for row in self.inner.readers.fetch(sql::POSTED_LISTS, bounds()).await? {
            // Those who stand by for another account are no state of a delivery.
            let Ok(state) = row.text(1)?.parse::<State>() else {
                continue;
            };
            let (posted, _) = all.entry(row.word(0)?).or_default();
            count(posted, state, u64::try_from(row.int(2)?).unwrap_or_default());
        }
        let all = all.into_iter().map(|(account, (posted, mut took))| {
            took.sort_unstable();
            let median_ms = took.get(took.len() / 2).copied();
            (account, Posted { median_ms, ..posted })
        });
        Ok(all.filter(|(_, posted)| posted.wanted > 0).collect())
    }

    async fn write(&self, write: Write, at: Timestamp, actor: Actor) -> Result<i64, StoreError> {
        self.ask(|reply| Request::Register(write, at, actor, reply)).await
    }
}

/// What was overtaken or stopped by a person was not to come out.
fn count(posted: &mut Posted, state: State, n: u64) {
    if !matches!(state, State::Superseded | State::Cancelled) {
        posted.wanted += n;
        posted.out += if state.got_out() { n } else { 0 };
    }
}

fn json_of<T: DeserializeOwned>(row: &Row, at: usize) -> Result<T, StoreError> {
    row.json_or_null(at)?
        .ok_or_else(|| StoreError::Engine("a damaged row: nothing where JSON should be".to_owned()))
}

fn signed(account: &AccountId, rows: &[Row]) -> Result<Vec<Signed>, StoreError> {
    let mut all = rows
        .iter()
        .map(|row| {
            Ok(Signed {
                account: account.clone(),
                step: row.word(0)?,
                actor: Actor(row.text(1)?),
                at: row.time(2)?,
                note: row.text_or_null(3)?,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    all.sort_by_key(|one| one.step);
    Ok(all)
}

/// Carries it out, with its journal record. Returns the number of what was written, 0 where it has none.
pub(super) async fn write(
    tx: &mut Tx<'_>,
    write: Write,
    at: Timestamp,
    actor: Actor,
) -> Result<i64, StoreError> {
    let (id, kind, body) = match write {
        Write::Attest {
            account,
            what,
            evidence,
            expires_at,
        } => {
            let id = tx.count("attestation", 1).await?;
            let values = vec![
                id.into(),
                account.as_str().into(),
                what.as_str().into(),
                evidence.as_str().into(),
                actor.0.as_str().into(),
                at.into(),
                expires_at.into(),
            ];
            tx.conn.execute(sql::ATTEST, values).await?;
            let body = json!({
                "attestation": id, "account": account, "what": what, "evidence": evidence, "expires_at": expires_at,
            });
            (id, "attest", body)
        }
        Write::Revoke {
            account,
            what,
            reason,
        } => {
            let of_it = vec![account.as_str().into(), what.as_str().into()];
            let rows = tx.conn.fetch(sql::ATTESTED_LAST, of_it).await?;
            let Some(id) = rows
                .first()
                .filter(|row| matches!(row.time_or_null(1), Ok(None)))
                .map(|row| row.int(0))
                .transpose()?
            else {
                return Err(StoreError::NotFound(format!(
                    "attestation of {what} on {account} that could be taken back"
                )));
            };
            let values = vec![
                id.into(),
                at.into(),
                actor.0.as_str().into(),
                reason.as_str().into(),
            ];
            tx.conn.execute(sql::ATTEST_REVOKE, values).await?;
            let body = json!({ "attestation": id, "account": account, "what": what, "reason": reason });
            (id, "attest-revoke", body)
        }
        Write::File(application) => {
            let id = tx.count("application", 1).await?;
            let values = vec![
                id.into(),
                Value::Text(Some(to_json(&application)?)),
                actor.0.as_str().into(),
                at.into(),
            ];
            tx.conn.execute(sql::APPLICATION_NEW, values).await?;
            (
                id,
                "account-apply",
                json!({ "application": id, "as_filed": application }),
            )
        }
        Write::Decide {
            id,
            approve,
            decision,
        } => {
            let rows = tx.conn.fetch(sql::APPLICATION_STATE, vec![id.into()]).await?;
            let Some(row) = rows.first() else {
                return Err(StoreError::NotFound(format!("application {id}")));
            };
            let before: application::State = row.word(0)?;
            if before != application::State::Open {
                return Err(StoreError::Conflict(format!(
                    "application {id} is {before} already"
                )));
            }
            let state = if approve {
                application::State::Approved
            } else {
                application::State::Rejected
            };
            let values = vec![
                id.into(),
                state.as_str().into(),
                Value::Text(Some(to_json(&decision)?)),
            ];
            tx.conn.execute(sql::APPLICATION_DECIDE, values).await?;
            let body = json!({ "application": id, "state": state, "decision": decision });
            (id, "account-decide", body)
        }
        Write::Sign { account, step, note } => {
            let rows = tx.conn.fetch(sql::CLOSING, vec![account.as_str().into()]).await?;
            closing::may_sign(&signed(&account, &rows)?, step).map_err(StoreError::Conflict)?;
            let values = vec![
                account.as_str().into(),
                step.as_str().into(),
                actor.0.as_str().into(),
                at.into(),
                note.as_deref().into(),
            ];
            tx.conn.execute(sql::CLOSING_SIGN, values).await?;
            (
                0,
                "account-close",
                json!({ "account": account, "step": step, "note": note }),
            )
        }
        Write::Mark { name, body, entry } => {
            let values = vec![name.as_str().into(), at.into(), body.as_str().into()];
            tx.conn.execute(sql::MARK_SET, values).await?;
            if let Some(entry) = entry {
                tx.chain.add(entry);
            }
            return Ok(0);
        }
    };
    tx.chain.add(Entry {
        at,
        actor,
        kind,
        broadcast: None,
        delivery: None,
        body,
    });
    Ok(id)
}
