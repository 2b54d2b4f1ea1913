//! Watches broadcasts until they have come to rest, and tells the crisis organisation how it went.
//!
//! A confirmation is a delivery like others: written in the same commit that finishes the broadcast, durable, retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use super::{App, CONFIRMATION};
use crate::clock::{Timestamp, later, until};
use crate::config::Config;
use crate::confirm::{self, Facts};
use crate::model::{
    AccountId, Actor, BroadcastId, BroadcastReport, DeliveryId, LaneId, Proof, Purpose, Rendering, State,
};
use crate::store::{Entry, Extra, StoreError};

/// How long a confirmation is tried.
const TRY_FOR: Duration = Duration::from_hours(24);
/// Changes that come close together are looked at once.
const GATHER: Duration = Duration::from_millis(5);
/// How soon a look that failed at the store is repeated.
const AGAIN: Duration = Duration::from_secs(5);

impl App {
    /// Runs until `stop`.
    pub async fn watch_confirmations(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.subscribe();
        let mut look = self.unfinished().await;
        let mut later_on: BTreeMap<BroadcastId, Timestamp> = BTreeMap::new();
        let mut asked: BTreeMap<BroadcastId, bool> = BTreeMap::new();
        loop {
            for id in std::mem::take(&mut look) {
                later_on.remove(&id);
                match self.confirm(&id, &mut asked).await {
                    Ok(Some(at)) => {
                        later_on.insert(id, at);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(broadcast.id = %id, %error, "could not look after a broadcast's confirmation");
                        later_on.insert(id, later(self.now(), AGAIN));
                    }
                }
            }
            asked.retain(|id, _| later_on.contains_key(id));
            let next = later_on.values().min().map(|at| until(self.now(), *at));
            let sleep = async {
                match next {
                    Some(duration) => tokio::time::sleep(duration).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep => {}
                change = changes.recv() => match change {
                    Ok(change) => { look.insert(change.broadcast); }
                    Err(RecvError::Lagged(_)) => look.extend(self.unfinished().await),
                    Err(RecvError::Closed) => return,
                },
            }
            tokio::time::sleep(GATHER).await;
            loop {
                match changes.try_recv() {
                    Ok(change) => {
                        look.insert(change.broadcast);
                    }
                    Err(TryRecvError::Lagged(_)) => look.extend(self.unfinished().await),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            let now = self.now();
            look.extend(
                later_on
                    .iter()
                    .filter(|(_, at)| **at <= now)
                    .map(|(id, _)| id.clone()),
            );
        }
    }

    pub(super) async fn unfinished(&self) -> BTreeSet<BroadcastId> {
        match self.store.unfinished().await {
            Ok(broadcasts) => broadcasts.into_iter().map(|broadcast| broadcast.id).collect(),
            Err(error) => {
                tracing::error!(%error, "could not list the broadcasts that have not finished");
                BTreeSet::new()
            }
        }
    }

    /// Looks at one broadcast; returns when to look again although nothing happens. `asked` remembers of which broadcasts
    /// a person was asked at once: that was settled when they were accepted.
    async fn confirm(
        &self,
        id: &BroadcastId,
        asked: &mut BTreeMap<BroadcastId, bool>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let config = self.config();
        let after = config.confirmation.after;
        // Taken before the deliveries are read: what comes out after it is what a closing confirmation tells of.
        let now = self.now();
        let broadcast = self.store.broadcast(id).await?;
        let interim_at = later(broadcast.accepted_at, after);
        if self.store.is_open(id).await? {
            // While it is open, nothing is to be read in vain for each of perhaps many recipients.
            let told = self.store.told(id).await?;
            if confirm::due::is_told(&told) {
                return Ok(None);
            }
            // Before its time only a hand-over is told, once.
            if now < interim_at {
                let by_hand = if let Some(known) = asked.get(id) {
                    *known
                } else {
                    let before = self.store.unreachable_before(id).await?;
                    let by_hand = before.iter().any(|one| one.by_hand.is_some());
                    asked.insert(id.clone(), by_hand);
                    by_hand
                };
                if !by_hand || !told.is_empty() {
                    return Ok(Some(interim_at));
                }
            }
        }
        let report = self.report_of(&broadcast, super::NAMED).await?;
        // What came out between the look at the clock and the reading is told of now, and is nothing new afterwards.
        let now = confirm::due::latest(&report).map_or(now, |latest| latest.max(now));
        let existing: Vec<Purpose> = report.confirmations.iter().map(|mail| mail.purpose).collect();
        match confirm::due(&report, &existing, now, after) {
            // Finished before with nobody to tell.
            Some(Purpose::ConfirmFinal) if report.finished_at.is_some() => Ok(None),
            Some(part) => {
                self.tell(&config, report, part, now).await?;
                Ok((part == Purpose::ConfirmHandOver).then_some(interim_at))
            }
            None => Ok(confirm::next_check(&report, &existing, after)),
        }
    }

    async fn tell(
        &self,
        config: &Config,
        mut report: BroadcastReport,
        part: Purpose,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = report.broadcast.clone();
        if part == Purpose::ConfirmFinal {
            report.finished_at = Some(now);
        }
        let extras = match self.write(config, &report, part, now).await? {
            Some(rendering) => extras(config, &report, part, &rendering, now),
            None => Vec::new(),
        };
        let (out, all) = report.out_of();
        let entry = Entry {
            at: now,
            actor: Actor::daemon(),
            kind: if part == Purpose::ConfirmFinal {
                "finish"
            } else {
                "confirmation"
            },
            broadcast: Some(id.clone()),
            delivery: None,
            body: json!({
                "part": part, "state": report.state, "published": out, "deliveries": all,
                "mails": extras.len(),
            }),
        };
        let lanes = if part == Purpose::ConfirmFinal {
            // `None`: a delivery was opened again meanwhile; its next change brings us back.
            self.store
                .finish(&id, now, extras, entry)
                .await?
                .unwrap_or_default()
        } else {
            self.store.add(extras, now, Some(entry)).await?
        };
        tracing::info!(broadcast.id = %id, part = %part, state = %report.state, published = out, "broadcast told of");
        self.wake(&lanes);
        Ok(())
    }

    /// Words the confirmation; `None`, and an error in the log, if its template is broken: the broadcast finishes all
    /// the same.
    async fn write(
        &self,
        config: &Config,
        report: &BroadcastReport,
        part: Purpose,
        now: Timestamp,
    ) -> Result<Option<Rendering>, StoreError> {
        let mut texts: BTreeMap<DeliveryId, String> = BTreeMap::new();
        for delivery in report.deliveries.iter().filter(|d| {
            let asked = d.state.is_open() && confirm::before::asks_a_person(report, &d.account);
            (asked || d.state.needs_person()) && d.recipient.is_none()
        }) {
            texts.insert(
                delivery.delivery.clone(),
                self.store.rendering(&delivery.delivery).await?.text,
            );
        }
        let link = match report.deliveries.first() {
            Some(first) => self.store.rendering(&first.delivery).await?.link,
            // Nobody of a list was left to send to.
            None => self.store.first_rendering(&report.broadcast).await?.link,
        };
        let instructions: BTreeMap<AccountId, String> = config
            .accounts
            .values()
            .filter_map(|account| Some((account.id.clone(), account.settings.instructions()?.to_owned())))
            .collect();
        let (seq, hash) = self.store.journal_head().await?;
        let facts = Facts {
            municipality: &config.municipality,
            now,
            link: &link,
            journal_head: (seq, &hash),
            texts: &texts,
            instructions: &instructions,
        };
        match confirm::compose(report, part, &facts) {
            Ok(rendering) => Ok(Some(rendering)),
            Err(error) => {
                tracing::error!(error, "the confirmation could not be worded");
                Ok(None)
            }
        }
    }
}

fn extras(
    config: &Config,
    report: &BroadcastReport,
    part: Purpose,
    rendering: &Rendering,
    now: Timestamp,
) -> Vec<Extra> {
    let Ok(account) = CONFIRMATION.parse::<AccountId>() else {
        return Vec::new();
    };
    let lane = LaneId {
        account,
        mode: report.mode,
    };
    config
        .confirmation
        .to
        .iter()
        .map(|recipient| Extra {
            broadcast: report.broadcast.clone(),
            account: lane.account.clone(),
            channel: crate::channel::email::KIND.id.to_owned(),
            proof: Proof::Unproven,
            mode: lane.mode,
            purpose: part,
            target: None,
            recipient: Some(recipient.clone()),
            rendering: Some(rendering.clone()),
            state: State::Queued,
            deadline: later(now, TRY_FOR),
        })
        .collect()
}
