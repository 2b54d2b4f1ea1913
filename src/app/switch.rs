//! The switch of each account: off at once, for as long as a person says, over every restart. Nothing leaves an account
//! that is off; what was to go out there goes to a person, or to the account that stands in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::request::{Off, Switched};
use super::{App, AppError, lock};
use crate::channel::{Backstage, Call, Channel, Heard, Identity, Profile, Renewal, StandingPage};
use crate::clock::Timestamp;
use crate::config::Database;
use crate::dispatch::DISABLED;
use crate::model::{
    AccountId, Actor, Mode, Post, Question, Quota, Reason, Receipt, Recipient, SendError, Settled,
};
use crate::store::{Entry, StoreError};

/// Longest reason, in characters.
const MAX_REASON: usize = 500;
/// How often another node's switches are looked for.
const LOOK: Duration = Duration::from_secs(2);

/// One account's switch.
#[derive(Debug, Default)]
pub(super) struct Switch {
    /// Read by the adapter before anything leaves: a lane may still hold it when it is switched off.
    is_off: Arc<AtomicBool>,
    off: Option<Off>,
}

impl App {
    /// Reads which accounts are off. Returns whether anything changed.
    pub async fn load_switches(&self) -> Result<bool, StoreError> {
        let stored = self.store.switches().await?;
        let mut known = lock(&self.switches);
        let before: BTreeMap<AccountId, Off> = known
            .iter()
            .filter_map(|(id, switch)| Some((id.clone(), switch.off.clone()?)))
            .collect();
        let now: BTreeMap<AccountId, Off> = stored
            .into_iter()
            .filter_map(|(id, text)| Some((id, serde_json::from_str(&text).ok()?)))
            .collect();
        if before == now {
            return Ok(false);
        }
        for (id, switch) in known.iter_mut() {
            switch.set(now.get(id).cloned());
        }
        for (id, off) in now {
            known.entry(id).or_default().set(Some(off));
        }
        Ok(true)
    }

    /// Hears of what another node switched, until told to stop.
    pub async fn watch_switches(self: Arc<Self>, stop: CancellationToken) {
        if let Database::Sqlite(_) = self.config().daemon.database {
            // There is no other node.
            stop.cancelled().await;
            return;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.load_switches().await {
                Ok(true) => self.switched(),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "it cannot be seen which accounts are switched off"),
            }
        }
    }

    /// Switches an account off, or on again. On disk, and in force, when it returns.
    ///
    /// # Errors
    /// If there is no such account, or switching off comes without a reason.
    pub async fn switch(
        &self,
        account: &AccountId,
        off: bool,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Switched, AppError> {
        self.must_run()?;
        if !self.config().accounts.contains_key(account) {
            return Err(AppError::Invalid(format!("there is no account {account}")));
        }
        let reason = reason
            .map(|reason| reason.trim().to_owned())
            .filter(|reason| !reason.is_empty());
        if off && reason.is_none() {
            return Err(AppError::Invalid(
                "an account is disabled with a reason, for those who find it so".to_owned(),
            ));
        }
        if reason
            .as_ref()
            .is_some_and(|reason| reason.chars().count() > MAX_REASON)
        {
            return Err(AppError::Invalid(format!(
                "the reason is longer than {MAX_REASON} characters"
            )));
        }
        let at = self.now();
        let now = off.then(|| Off {
            at,
            actor: actor.0.clone(),
            reason: reason.clone().unwrap_or_default(),
        });
        // First of all nothing leaves any more; should the store refuse, it is put back.
        let before = self.turn(account, now.clone());
        let entry = Entry {
            at,
            actor,
            kind: if off { "account-disable" } else { "account-enable" },
            broadcast: None,
            delivery: None,
            body: json!({ "account": account, "reason": reason }),
        };
        let value = now.as_ref().map(|off| json!(off).to_string());
        let changed = match self.store.switch(account, value, entry).await {
            Ok(changed) => changed,
            Err(error) => {
                self.turn(account, before);
                return Err(error.into());
            }
        };
        self.switched();
        tracing::warn!(account.id = %account, off, "an account was switched");
        Ok(Switched {
            account: account.clone(),
            disabled: now,
            changed,
        })
    }

    /// Why nothing goes out on an account, if it is off.
    pub(super) fn off(&self, account: &AccountId) -> Option<Off> {
        lock(&self.switches).get(account)?.off.clone()
    }

    /// Every account that is off.
    pub(super) fn all_off(&self) -> BTreeMap<AccountId, Off> {
        let switches = lock(&self.switches);
        switches
            .iter()
            .filter_map(|(id, switch)| Some((id.clone(), switch.off.clone()?)))
            .collect()
    }

    /// The adapter of a live account behind its switch.
    pub(super) fn behind_switch(&self, account: &AccountId, inner: Arc<dyn Channel>) -> Arc<dyn Channel> {
        let is_off = Arc::clone(&lock(&self.switches).entry(account.clone()).or_default().is_off);
        Arc::new(Guarded { inner, is_off })
    }

    fn turn(&self, account: &AccountId, off: Option<Off>) -> Option<Off> {
        let mut switches = lock(&self.switches);
        switches.entry(account.clone()).or_default().set(off)
    }

    /// Lets every lane ask for its plan again.
    fn switched(&self) {
        lock(&self.open).retain(|lane, _| lane.mode != Mode::Live);
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.reload();
        }
    }
}

impl Switch {
    fn set(&mut self, off: Option<Off>) -> Option<Off> {
        self.is_off.store(off.is_some(), Ordering::SeqCst);
        std::mem::replace(&mut self.off, off)
    }
}

impl Off {
    /// As the reason of a delivery that does not go out.
    pub(super) fn why(&self) -> Reason {
        let since: Timestamp = self.at;
        Reason::new(
            DISABLED,
            format!(
                "the account was disabled by {} at {since:.0}: {}",
                self.actor, self.reason
            ),
        )
    }
}

/// An adapter that does nothing that can be seen while its account is off.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn Channel>,
    is_off: Arc<AtomicBool>,
}

impl Guarded {
    fn may(&self) -> Result<(), SendError> {
        if self.is_off.load(Ordering::SeqCst) {
            // The lane asks for its plan next, and finds there what to do.
            return Err(SendError::NotSent(Reason::new(
                DISABLED,
                "the account was disabled",
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl Channel for Guarded {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        self.may()?;
        self.inner.publish(post).await
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        self.inner.settle(question).await
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.may()?;
        self.inner.retract(receipt).await
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        self.may()?;
        self.inner.edit(receipt, post).await
    }

    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.may()?;
        self.inner.pin(receipt).await
    }

    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.may()?;
        self.inner.unpin(receipt).await
    }

    fn hears(&self) -> bool {
        self.inner.hears()
    }

    async fn place(&self, page: &StandingPage) -> Result<Option<String>, SendError> {
        self.may()?;
        self.inner.place(page).await
    }

    fn hear(&self, call: &Call<'_>) -> Result<Heard, Reason> {
        self.inner.hear(call)
    }

    fn leaver(&self, token: &str) -> Result<Recipient, Reason> {
        self.inner.leaver(token)
    }

    fn quota(&self) -> Option<Quota> {
        self.inner.quota()
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.inner.verify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.inner.profile().await
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.may()?;
        self.inner.backstage(post).await
    }

    async fn renew(&self, now: Timestamp) -> Result<Renewal, SendError> {
        self.may()?;
        self.inner.renew(now).await
    }
}
