//! Accepting a command: worked out, checked, and on disk before anyone is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::order::{Drawn, Order};
use super::request::{Preview, SendRequest, Sent};
use super::{App, AppError, lists, plan};
use crate::check::{self, Finding, storm};
use crate::clock::earlier;
use crate::compose::Plan;
use crate::config::Config;
use crate::model::{AccountId, Actor, ListId, Mode};
use crate::store::{Acceptance, Listed, Under};

/// So near to its beginning a broadcast's journal has the record of its acceptance.
const RECORDS: usize = 10;

impl App {
    /// What a command would publish, account by account, and every finding. Stores nothing.
    pub async fn preview(&self, request: &SendRequest) -> Result<Preview, AppError> {
        let mode = self.mode(request).await?;
        let config = self.config();
        let stood_in = self.stood_in(request).await?;
        let mut draft = plan::draft(&config, request, &stood_in, mode, self.now(), self.http()).await?;
        if let Some(plan) = &draft.plan {
            draft
                .findings
                .extend(self.guard(&config, request, &draft, plan).await?);
        }
        Box::pin(self.steer(&config, &mut draft)).await;
        let surveys = self.surveys(&config, &draft.everyone(&config)).await;
        Ok(plan::preview(&config, request, draft, &surveys))
    }

    /// Accepts a command. On disk, journal and all, when it returns; the lanes are at work then.
    ///
    /// # Errors
    /// [`AppError::Stopped`] with the findings if a check stops it; nothing is stored then.
    pub async fn send(
        &self,
        request: SendRequest,
        actor: Actor,
        key: Option<String>,
    ) -> Result<Sent, AppError> {
        let digest = hex::encode(Sha256::digest(serde_json::to_vec(&request).unwrap_or_default()));
        // Before anything is worked out: the answer is the same although message, accounts or page have changed since.
        if let Some(key) = &key
            && let Some(sent) = self.answered(key, &digest).await?
        {
            return Ok(sent);
        }
        self.must_run()?;
        let config = self.config();
        let mode = self.mode(&request).await?;
        let now = self.now();
        let stood_in = self.stood_in(&request).await?;
        let drawing = plan::draft(&config, &request, &stood_in, mode, now, self.http());
        let mut draft = Box::pin(drawing).await?;
        Box::pin(self.steer(&config, &mut draft)).await;
        let (Some(plan), false) = (&draft.plan, check::is_blocked(&draft.findings)) else {
            return Err(AppError::Stopped(draft.findings));
        };
        let message = config.messages.get(&request.message);
        let standing = match &request.alert {
            Some(alert) => self.store.standing(alert).await?,
            None => BTreeMap::new(),
        };
        let order = Order {
            config: &config,
            now,
            kind: draft.command.kind,
            standing: &standing,
            plan,
            alternative: draft.alternative.as_ref(),
            stand_ins: &draft.stand_ins,
            unreachable: &draft.unreachable,
        };
        let drawn = order.draw();
        let Drawn {
            renderings,
            destinations,
            lists: wanted,
        } = drawn;
        // One after the other: each list once, however many accounts go to it.
        let mut staged: BTreeMap<ListId, lists::Staged> = BTreeMap::new();
        let mut lists = Vec::with_capacity(wanted.len());
        for (each, list) in wanted {
            if !staged.contains_key(&list.id) {
                staged.insert(list.id.clone(), self.stage(list).await?);
            }
            if let Some(result) = staged.get(&list.id) {
                let list = (list.id.clone(), result.clone());
                lists.push((each, list));
            }
        }
        let only = destinations.is_empty() && lists.iter().all(|(_, (_, staged))| staged.is_err());
        let said = lists
            .iter()
            .filter_map(|(to, (id, staged))| said(&to.account, id, staged, only));
        draft.findings.extend(said);
        if check::is_blocked(&draft.findings) {
            return Err(AppError::Stopped(draft.findings));
        }
        let lists = lists
            .into_iter()
            .map(|(each, (_, list))| Listed { each, list })
            .collect();
        let _turn = match storm::looks_back(&draft.command, &config.checks) {
            Some(_) => Some(self.guarding.lock().await),
            None => None,
        };
        // Of several with the same key the first is through now: it is what the others would be said to repeat.
        if let Some(key) = &key
            && let Some(sent) = self.answered(key, &digest).await?
        {
            return Ok(sent);
        }
        let said = self.guard(&config, &request, &draft, plan).await?;
        draft.findings.extend(said);
        if check::is_blocked(&draft.findings) {
            return Err(AppError::Stopped(draft.findings));
        }
        // Working it out may have taken seconds.
        self.must_run()?;
        let acceptance = Acceptance {
            under: match &request.alert {
                Some(alert) => Under::Existing(alert.clone()),
                None => Under::New {
                    year: year(&config, now),
                },
            },
            kind: draft.command.kind,
            mode: draft.command.mode,
            message: request.message.clone(),
            message_version: message.map_or(0, |m| m.version),
            headline: plan.headline.clone(),
            actor,
            at: now,
            valid_until: draft.valid_until,
            renderings,
            pictures: draft.pictures.distinct(),
            destinations,
            lists,
            unreachable: draft.unreachable.clone(),
            idempotency: key.map(|key| (key, digest)),
            journal: json!({
                "fields": request.fields,
                "to": request.to,
                "overrides": request.overrides,
                "pictures": draft.pictures.record(),
                "findings": draft.findings,
                "config": config.digest,
            }),
        };
        let accepted = self.store.accept(acceptance).await?;
        self.wake(&accepted.lanes);
        self.lists_wanted.notify_one();
        if draft.command.mode == Mode::Live {
            self.drills.live_alert();
        }
        tracing::info!(
            broadcast.id = %accepted.broadcast,
            mode = %draft.command.mode,
            repeated = accepted.repeated,
            "broadcast accepted"
        );
        Ok(Sent {
            alert: accepted.alert,
            broadcast: accepted.broadcast,
            repeated: accepted.repeated,
            findings: draft.findings,
        })
    }

    /// What is said of a command that looks like a mistake, by what went out lately.
    async fn guard(
        &self,
        config: &Config,
        request: &SendRequest,
        draft: &plan::Draft<'_>,
        plan: &Plan,
    ) -> Result<Vec<Finding>, AppError> {
        let Some(window) = storm::looks_back(&draft.command, &config.checks) else {
            return Ok(Vec::new());
        };
        let now = self.now();
        let recent = self.store.recent(earlier(now, window)).await?;
        let texts = draft.accounts.iter().filter_map(|account| {
            let rendering = plan.rendering(&account.id)?;
            Some((&account.id, rendering.text.as_str()))
        });
        let mut findings = storm::guard(&draft.command, texts, &recent, &config.checks, now);
        check::override_blocks(&mut findings, &request.overrides).map_err(AppError::Invalid)?;
        Ok(findings)
    }

    /// The accounts whose post stands in the request's alert because they stood in for others.
    async fn stood_in(&self, request: &SendRequest) -> Result<BTreeSet<AccountId>, AppError> {
        match &request.alert {
            Some(alert) => Ok(self.store.stood_in(alert).await?),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The answer to an earlier request with the same key, as it was given then.
    async fn answered(&self, key: &str, digest: &str) -> Result<Option<Sent>, AppError> {
        let Some(accepted) = self.store.answered(key, digest).await? else {
            return Ok(None);
        };
        let records = self.store.journal(0, RECORDS, Some(&accepted.broadcast)).await?;
        let findings = records
            .iter()
            .find(|record| record.kind == "accept")
            .and_then(|record| {
                let mut body: serde_json::Value = serde_json::from_str(&record.body).ok()?;
                serde_json::from_value(body.pointer_mut("/request/findings")?.take()).ok()
            });
        // Whoever asked first may have gone away before the lanes heard of it.
        self.wake(&accepted.lanes);
        self.lists_wanted.notify_one();
        Ok(Some(Sent {
            alert: accepted.alert,
            broadcast: accepted.broadcast,
            repeated: true,
            findings: findings.unwrap_or_default(),
        }))
    }

    /// The mode of a request: its alert's if it goes under one. Naming another is refused, so that nobody continues a
    /// drill as if it were live, or the other way round.
    async fn mode(&self, request: &SendRequest) -> Result<Option<Mode>, AppError> {
        let Some(alert) = &request.alert else {
            return Ok(request.mode);
        };
        let alert = self.store.alert(alert).await?;
        match request.mode {
            Some(mode) if mode != alert.mode => Err(AppError::Conflict(format!(
                "alert {} is {}, not {mode}; drill and live do not mix",
                alert.id, alert.mode
            ))),
            _ => Ok(Some(alert.mode)),
        }
    }
}

/// What is to be said of a list that was read.
fn said(account: &AccountId, list: &ListId, staged: &lists::Staged, only: bool) -> Option<Finding> {
    let state = match staged {
        Ok(staged) => lists::State {
            useless: None,
            faults: staged.faults,
            first: staged.named.first().map(String::as_str),
        },
        Err(why) => lists::State {
            useless: Some(&why.text),
            faults: 0,
            first: None,
        },
    };
    lists::finding(account, list, state, only)
}

/// The year in the municipality's zone: alerts are numbered as people count days.
fn year(config: &Config, now: crate::clock::Timestamp) -> i16 {
    let zone = jiff::tz::TimeZone::get(&config.municipality.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    zone.to_datetime(now).year()
}
