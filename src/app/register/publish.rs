//! The public list at work: published through the accounts that keep it, held against what the public page shows, and both
//! on schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Outcome, Publication, PublishRequest, digest};
use crate::app::{App, AppError};
use crate::channel::StandingPage;
use crate::channel::transport::Effect;
use crate::config::Config;
use crate::dispatch::LanePlan;
use crate::model::{AccountId, Actor, LaneId, Mode, Reason, SendError};
use crate::register::Finding;
use crate::register::drift::{self, Look};
use crate::register::export::Public;
use crate::register::schedule::{Mark, due};
use crate::store::Entry;

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_secs(30);
/// The name of the mark of the look at the public page.
const CHECK: &str = "check";

impl App {
    pub(super) async fn publications(&self, config: &Config) -> Result<Vec<Publication>, AppError> {
        let mut all = Vec::new();
        for account in &config.register.publish_to {
            all.extend(self.store().mark::<Publication>(&mark_of(account)).await?);
        }
        Ok(all)
    }

    pub(super) async fn last_look(&self, config: &Config) -> Result<Option<Look>, AppError> {
        let look: Option<Look> = self.store().mark(CHECK).await?;
        // What was seen of another page says nothing of this one.
        Ok(look.filter(|look| Some(&look.page) == config.register.page.as_ref()))
    }

    /// Publishes the list on every account that it goes to; what has not changed only if `again`.
    pub async fn publish_register(
        &self,
        request: PublishRequest,
        actor: Actor,
    ) -> Result<Vec<Publication>, AppError> {
        self.must_run()?;
        let config = self.config();
        if config.register.publish_to.is_empty() {
            return Err(AppError::Conflict(
                "nothing says where the register is published; set register.publish_to in config.toml"
                    .to_owned(),
            ));
        }
        let mut all = Vec::new();
        for account in &config.register.publish_to {
            all.push(self.place(&config, account, request.again, actor.clone()).await?);
        }
        Ok(all)
    }

    async fn place(
        &self,
        config: &Config,
        account: &AccountId,
        again: bool,
        actor: Actor,
    ) -> Result<Publication, AppError> {
        let public = Public::of(config);
        let digest = digest(&public)?;
        let before: Option<Publication> = self.store().mark(&mark_of(account)).await?;
        let now = self.now();
        let stands = before.as_ref().and_then(|before| before.digest.as_ref()) == Some(&digest);
        if let Some(before) = before.clone().filter(|_| stands && !again) {
            let same = Publication {
                outcome: Outcome::Unchanged,
                error: None,
                mark: Mark {
                    tried_at: Some(now),
                    done_at: Some(now),
                },
                ..before
            };
            self.store().set_mark(&mark_of(account), &same, now, None).await?;
            return Ok(same);
        }
        let page = StandingPage {
            key: format!(
                "{}-{}-{}",
                config.register.name,
                digest.get(..16).unwrap_or_default(),
                now.as_microsecond()
            ),
            name: config.register.name.clone(),
            title: format!("Konton som {} har", config.municipality.name),
            html: public.html().map_err(AppError::Invalid)?,
            json: public.json().map_err(AppError::Invalid)?,
            sender: config.municipality.name.clone(),
        };
        let placed = self.put(account, &page).await;
        let (url, error) = match placed {
            Ok(url) => (url, None),
            Err(reason) => (None, Some(reason)),
        };
        let done = error.is_none();
        let publication = Publication {
            account: account.clone(),
            outcome: if done { Outcome::Published } else { Outcome::Failed },
            // What failed may have got through: nothing is known to stand there, and it is published again.
            digest: done.then(|| digest.clone()),
            url,
            error,
            mark: Mark {
                tried_at: Some(now),
                done_at: if done {
                    Some(now)
                } else {
                    before.and_then(|before| before.mark.done_at)
                },
            },
        };
        let entry = Entry {
            at: now,
            actor,
            kind: "register-publish",
            broadcast: None,
            delivery: None,
            body: json!({
                "account": account, "outcome": publication.outcome, "digest": digest, "url": publication.url,
                "error": publication.error, "credentials": &*self.held_by(account),
            }),
        };
        self.store()
            .set_mark(&mark_of(account), &publication, now, Some(entry))
            .await?;
        if let Some(error) = &publication.error {
            tracing::warn!(account.id = %account, %error, "the register was not published here");
        }
        Ok(publication)
    }

    async fn put(&self, account: &AccountId, page: &StandingPage) -> Result<Option<String>, Reason> {
        let lane = LaneId {
            account: account.clone(),
            mode: Mode::Live,
        };
        let LanePlan {
            channel,
            attempt_timeout,
            ..
        } = self
            .lane_plan(&lane)
            .ok_or_else(|| Reason::new("no-account", "the configuration does not have this account"))?;
        match tokio::time::timeout(attempt_timeout, channel?.place(page)).await {
            Ok(Ok(url)) => Ok(url),
            Ok(Err(error)) => Err(error.reason().clone()),
            Err(_) => Err(Reason::new(
                "timeout",
                format!("no answer within {attempt_timeout:?}"),
            )),
        }
    }

    /// Looks whether the public page tells the same as the register.
    pub async fn check_register(&self, actor: Actor) -> Result<Look, AppError> {
        self.must_run()?;
        let config = self.config();
        let Some(page) = &config.register.page else {
            return Err(AppError::Conflict(
                "nothing says where the public page is; set register.page in config.toml".to_owned(),
            ));
        };
        let (findings, error) = match self.fetch(page, config.register.page_timeout).await {
            Ok(html) => (drift::findings(&config, page, &html), None),
            Err(reason) => {
                let text = format!("sidan {page} kunde inte läsas: {reason}");
                (vec![Finding::warning("page", None, &[15], text)], Some(reason))
            }
        };
        let at = self.now();
        let look = Look {
            at,
            page: page.clone(),
            error,
            findings,
        };
        let entry = Entry {
            at,
            actor,
            kind: "register-check",
            broadcast: None,
            delivery: None,
            body: json!({ "page": page, "error": look.error, "findings": look.findings }),
        };
        self.store().set_mark(CHECK, &look, at, Some(entry)).await?;
        if !look.findings.is_empty() {
            tracing::warn!(
                findings = look.findings.len(),
                "the public page of accounts is not as the register is"
            );
        }
        Ok(look)
    }

    /// The public page, as anybody gets it: without credentials, redirects or patience.
    async fn fetch(&self, page: &Url, within: Duration) -> Result<String, Reason> {
        let request = self.http().request(Method::GET, page.clone());
        let request = request.header("accept", "text/html, application/xhtml+xml;q=0.9");
        let answer = match tokio::time::timeout(within, self.http().send(request, Effect::Reads)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let error: SendError = error;
                return Err(error.reason().clone());
            }
            Err(_) => return Err(Reason::new("timeout", format!("no answer within {within:?}"))),
        };
        match answer.status {
            200..=299 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
            300..=399 => Err(Reason::new(
                "redirect",
                format!(
                    "it answers {}, a redirect; put the final address into register.page",
                    answer.status
                ),
            )),
            status => Err(Reason::new(
                format!("http-{status}"),
                format!("it answers {status}"),
            )),
        }
    }

    /// Publishes, looks and reminds when it is time, until `stop`.
    pub async fn watch_register(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.remind().await {
                tracing::error!(%error, "could not see whom to remind of the register");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            if let Err(error) = self.keep_register().await {
                tracing::error!(%error, "could not look after the register");
            }
        }
    }

    /// What is due of the register now. Harmless to repeat.
    pub async fn keep_register(&self) -> Result<(), AppError> {
        let config = self.config();
        let register = &config.register;
        if let Some(every) = register.publish_every {
            let known: BTreeMap<AccountId, Mark> = self
                .publications(&config)
                .await?
                .into_iter()
                .map(|one| (one.account, one.mark))
                .collect();
            for account in &register.publish_to {
                let mark = known.get(account).copied().unwrap_or_default();
                if due(mark, every, self.now()) {
                    self.place(&config, account, false, Actor::daemon()).await?;
                }
            }
        }
        if register.page.is_some() {
            let mark = self
                .last_look(&config)
                .await?
                .map_or_else(Mark::default, |look| Mark {
                    tried_at: Some(look.at),
                    done_at: look.error.is_none().then_some(look.at),
                });
            if due(mark, register.check_every, self.now()) {
                self.check_register(Actor::daemon()).await?;
            }
        }
        Ok(())
    }
}

fn mark_of(account: &AccountId) -> String {
    format!("publish/{account}")
}
