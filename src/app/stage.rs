//! Watches what waits for others: accounts that wait for the first stage, and those that stand in for another.
//!
//! Nothing depends on it for safety. What waits for the first stage goes at its deadline by itself, with the text that
//! leads to the fallback; a stand-in goes at its own time, or not at all once the other one is out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::check::link;
use crate::clock::{Timestamp, later, until};
use crate::config;
use crate::model::{Actor, BroadcastId, Delivery, DeliveryId, Purpose, State};
use crate::store::{Changed, Entry, Stage, StoreError};

/// Changes that come close together are looked at once.
const GATHER: Duration = Duration::from_millis(5);
/// How soon a page that does not answer yet is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of a broadcast that has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Nothing in it waits for anything.
    Plain,
    /// Something may; look again when it changes.
    Ordered,
    /// And then, although nothing changes.
    At(Timestamp),
}

impl App {
    /// Runs until `stop`.
    pub async fn watch_order(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.subscribe();
        let mut known: BTreeMap<BroadcastId, Look> = BTreeMap::new();
        let mut look = News {
            all: true,
            broadcasts: self.unfinished().await,
            rested: BTreeMap::new(),
        };
        loop {
            let all = std::mem::take(&mut look.all);
            let mut rested = std::mem::take(&mut look.rested);
            for id in std::mem::take(&mut look.broadcasts) {
                if known.get(&id) == Some(&Look::Plain) {
                    continue;
                }
                // Of a broadcast that is not known yet, all who wait have to be asked about.
                let only = rested.remove(&id).filter(|_| !all && known.contains_key(&id));
                let found = self.look(&id, only.as_deref()).await.unwrap_or_else(|error| {
                    tracing::error!(broadcast.id = %id, %error, "could not see who waits for whom");
                    look.all = true;
                    Look::At(later(self.now(), AGAIN))
                });
                known.insert(id, found);
            }
            let next = known.values().filter_map(|look| match look {
                Look::At(at) => Some(until(self.now(), *at)),
                Look::Plain | Look::Ordered => None,
            });
            let next = next.min();
            let sleep = async {
                match next {
                    Some(duration) => tokio::time::sleep(duration).await,
                    None => std::future::pending().await,
                }
            };
            let mut lagged = false;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep => {}
                change = changes.recv() => match change {
                    Ok(change) => note(change, &mut look),
                    Err(RecvError::Lagged(_)) => lagged = true,
                    Err(RecvError::Closed) => return,
                },
            }
            tokio::time::sleep(GATHER).await;
            loop {
                match changes.try_recv() {
                    Ok(change) => note(change, &mut look),
                    Err(TryRecvError::Lagged(_)) => lagged = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if lagged || known.len() > MANY {
                let open = self.unfinished().await;
                known.retain(|id, _| open.contains(id));
                look.broadcasts.extend(open);
                look.all |= lagged;
            }
            let now = self.now();
            for (id, found) in &known {
                if matches!(found, Look::At(at) if *at <= now) {
                    look.broadcasts.insert(id.clone());
                }
            }
        }
    }

    /// Looks at a broadcast; with `only`, wakes only those who stand in for these deliveries.
    async fn look(&self, id: &BroadcastId, only: Option<&[DeliveryId]>) -> Result<Look, StoreError> {
        let broadcast = self.store.broadcast(id).await?;
        if broadcast.finished_at.is_some() {
            return Ok(Look::Plain);
        }
        let config = self.config();
        let singles = self.store.singles(id).await?;
        let woken = match only {
            Some(rested) => self.store.stand_ins_of(rested).await?,
            None => self.store.stand_ins_to_wake(id).await?,
        };
        self.wake(&woken);
        let is_first = |delivery: &&Delivery| {
            let account = config.accounts.get(&delivery.account);
            let own = match delivery.purpose {
                Purpose::Publish => delivery.target.is_none(),
                // A correction that changes the page is there when the page answers with it.
                Purpose::Edit => true,
                Purpose::Pin
                | Purpose::Unpin
                | Purpose::Retract
                | Purpose::ConfirmHandOver
                | Purpose::ConfirmInterim
                | Purpose::ConfirmFinal
                | Purpose::ConfirmClosing => false,
            };
            own && account.is_some_and(|account| account.stage == config::Stage::First)
        };
        let first: Vec<&Delivery> = singles.iter().filter(is_first).collect();
        let now = self.now();
        let deadline = later(broadcast.accepted_at, config.daemon.stage_deadline);
        let stands_in = self.store.has_stand_ins(id).await?;
        if first.is_empty() || now >= deadline {
            return Ok(if stands_in { Look::Ordered } else { Look::Plain });
        }
        if first.iter().any(|delivery| delivery.state.is_open()) {
            return Ok(Look::Ordered);
        }
        let stage = if first.iter().any(|delivery| !delivery.state.got_out()) {
            Stage::Failed
        } else if self.all_answer(&first, config.checks.link_timeout).await {
            Stage::Answers
        } else {
            return Ok(Look::At(later(self.now(), AGAIN)));
        };
        let now = self.now();
        let answers = stage == Stage::Answers;
        let accounts: Vec<_> = first.iter().map(|delivery| &delivery.account).collect();
        let entry = Entry {
            at: now,
            actor: Actor::daemon(),
            kind: "stage",
            broadcast: Some(id.clone()),
            delivery: None,
            body: json!({ "first": accounts, "answers": answers }),
        };
        let lanes = self.store.release(id, stage, now, entry).await?;
        tracing::info!(broadcast.id = %id, answers, lanes = lanes.len(), "the first stage has ended; the others go");
        self.wake(&lanes);
        Ok(if stands_in { Look::Ordered } else { Look::Plain })
    }

    /// Whether every post of the first stage can be opened by anyone.
    async fn all_answer(&self, first: &[&Delivery], limit: Duration) -> bool {
        let asked = first.iter().map(|delivery| async move {
            let url = delivery.receipt.as_ref().and_then(|receipt| receipt.url.as_ref());
            let url = url.and_then(|url| url.parse::<url::Url>().ok());
            match url {
                Some(url) => link::opens(self.http(), &url, limit).await,
                // The service gave no address: that it took the post is all that can be known.
                None => true,
            }
        });
        futures::future::join_all(asked)
            .await
            .into_iter()
            .all(|opens| opens)
    }
}

/// More broadcasts than are ever open at once: time to forget those that have finished.
const MANY: usize = 256;

/// Only what comes to rest, or a broadcast itself, can set others free; what begins can be a stand-in whose own time counts
/// from now on for those that stand in for it.
fn note(change: Changed, look: &mut News) {
    if change
        .state
        .is_none_or(|state| !state.is_open() || state == State::Sending)
    {
        let rested = look.rested.entry(change.broadcast.clone()).or_default();
        rested.extend(change.delivery);
        look.broadcasts.insert(change.broadcast);
    }
}

/// What has changed since the last look.
struct News {
    broadcasts: BTreeSet<BroadcastId>,
    /// The deliveries that have come to rest.
    rested: BTreeMap<BroadcastId, Vec<DeliveryId>>,
    /// Changes were missed.
    all: bool,
}
