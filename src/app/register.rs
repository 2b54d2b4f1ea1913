//! The register at work: attestations, applications, closings, the yearly figures, and the public list, published through
//! the accounts that keep it and held against what the public page shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{App, AppError};
use crate::channel::StandingPage;
use crate::channel::transport::Effect;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::dispatch::LanePlan;
use crate::model::{AccountId, Actor, LaneId, Mode, Reason, SendError, Subject};
use crate::register::application::{Application, Decision, Filed};
use crate::register::attest::{Attestation, What};
use crate::register::closing::{self, Signed, Step};
use crate::register::drift::{self, Look};
use crate::register::export::Public;
use crate::register::findings::{self, Observations, Observed};
use crate::register::report::{Figures, Report};
use crate::register::schedule::{Mark, due};
use crate::register::{Finding, Level, follow_up, words};
use crate::store::{Entry, StoreError};

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_secs(30);
/// Longest text that a person gives with an act, in characters.
const LONGEST: usize = 1000;
/// An attestation holds no longer than three years, whoever says so.
const LONGEST_VALID: Duration = Duration::from_hours(24 * 1100);
/// The name of the mark of the look at the public page.
const CHECK: &str = "check";

/// `POST /api/v1/attestations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestRequest {
    /// Of which account.
    pub account: AccountId,
    /// Of what.
    pub what: What,
    /// How they know.
    pub evidence: String,
    /// The last day on which it holds; what the configuration says if not given.
    pub until: Option<Date>,
}

/// `POST /api/v1/attestations/revoke`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Of which account.
    pub account: AccountId,
    /// Of what.
    pub what: What,
    /// Why.
    pub reason: String,
}

/// `POST /api/v1/applications/{id}/decision`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// Granted or not.
    pub approve: bool,
    /// Why.
    pub reason: String,
    /// The role that decides.
    pub by: String,
    /// The number in the diarium.
    pub case: Option<String>,
}

/// `POST /api/v1/closings/{account}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignRequest {
    /// Which step is done.
    pub step: Step,
    /// What is worth noting.
    pub note: Option<String>,
}

/// `POST /api/v1/register/publications`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishRequest {
    /// Publish what has not changed as well.
    pub again: bool,
}

/// How an account's closing stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closing {
    /// Of which account.
    pub account: AccountId,
    /// What is signed off, in order.
    pub signed: Vec<Signed>,
    /// The next step; none if all are done.
    pub next: Option<Step>,
    /// The checklist as text, in Swedish.
    pub checklist: String,
}

/// What became of the list on one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It stands there.
    Published,
    /// It stood there already.
    Unchanged,
    /// It did not get there.
    Failed,
}

/// How the list stands on one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Which.
    pub account: AccountId,
    /// What became of it the last time.
    pub outcome: Outcome,
    /// The digest of the list that stands there, as far as we know.
    pub digest: Option<String>,
    /// Where it stands.
    pub url: Option<String>,
    /// Why it did not get there.
    pub error: Option<Reason>,
    /// When it was tried, and when it last stood there as it should.
    #[serde(flatten)]
    pub mark: Mark,
}

/// The register as it stands: `GET /api/v1/register`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegisterView {
    /// The digest of the public list.
    pub digest: String,
    /// What is not as it should be, or will have to be done.
    pub findings: Vec<Finding>,
    /// The list on each account that it is published through; those apart that it has not been tried on.
    pub publications: Vec<Publication>,
    /// What the last look at the public page gave.
    pub look: Option<Look>,
}

/// The register in `GET /api/v1/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterStatus {
    /// Findings that are warnings.
    pub warnings: usize,
    /// Findings that are notices.
    pub notices: usize,
    /// When the public page was last looked at.
    pub checked_at: Option<Timestamp>,
    /// Whether that page tells the same as the register; none if it was not looked at, or could not be read.
    pub drift: Option<bool>,
    /// When the list was last published, or seen to stand, on every account that it goes to.
    pub published_at: Option<Timestamp>,
}

impl App {
    /// Everything that is to be said of the register.
    pub async fn register(&self) -> Result<RegisterView, AppError> {
        let config = self.config();
        let now = self.now();
        let attestations = self.store().attestations().await?;
        let mut all = findings::of_config(&config);
        all.extend(findings::of_attestations(&config, &attestations, now));
        all.extend(follow_up::findings(&config, &attestations, now));
        all.extend(findings::of_stale(&config, &self.observed().await?, now));
        let publications = self.publications(&config).await?;
        for one in publications.iter().filter(|one| one.outcome == Outcome::Failed) {
            let why = one.error.as_ref().map(ToString::to_string).unwrap_or_default();
            let text = format!("registret kom inte ut här: {why}");
            all.push(Finding::warning("publish", Some(&one.account), &[15], text));
        }
        let look = self.last_look(&config).await?;
        all.extend(look.iter().flat_map(|look| look.findings.clone()));
        all.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Ok(RegisterView {
            digest: digest(&Public::of(&config))?,
            findings: all,
            publications,
            look,
        })
    }

    /// The same in brief.
    pub(super) async fn register_status(&self) -> Result<RegisterStatus, AppError> {
        let view = self.register().await?;
        let many = |level| {
            view.findings
                .iter()
                .filter(|finding| finding.level == level)
                .count()
        };
        let config = self.config();
        let everywhere = view.publications.len() == config.register.publish_to.len();
        Ok(RegisterStatus {
            warnings: many(Level::Warning),
            notices: many(Level::Notice),
            checked_at: view.look.as_ref().map(|look| look.at),
            drift: view
                .look
                .as_ref()
                .filter(|look| look.error.is_none())
                .map(|look| !look.findings.is_empty()),
            published_at: view
                .publications
                .iter()
                .map(|one| one.mark.done_at)
                .min()
                .flatten()
                .filter(|_| everywhere),
        })
    }

    /// What services have told of the accounts, when their profiles were last read.
    async fn observed(&self) -> Result<Observations, AppError> {
        let seen = self.store.latest_observations().await?;
        let profiles = seen.into_iter().filter_map(|one| {
            let Subject::Account(account) = one.observation.subject else {
                return None;
            };
            let profile = one.observation.profile?;
            let observed = Observed {
                followers: profile.followers,
                last_post: profile.latest.iter().map(|post| post.at).max(),
            };
            Some((account, observed))
        });
        Ok(profiles.collect())
    }

    /// Writes down what a person attests.
    pub async fn attest(&self, request: AttestRequest, actor: Actor) -> Result<Attestation, AppError> {
        self.must_run()?;
        let config = self.config();
        known(&config, &request.account)?;
        let evidence = one_line("evidence", &request.evidence)?;
        let now = self.now();
        let expires_at = match request.until {
            None => crate::clock::later(now, config.register.attestation_valid),
            // To the end of that day.
            Some(day) => day
                .tomorrow()
                .ok()
                .and_then(|next| words::midnight(next, &config.municipality.time_zone))
                .ok_or_else(|| {
                    AppError::Invalid(format!("until: {day} is no day that can be reckoned with"))
                })?,
        };
        if expires_at <= now {
            return Err(AppError::Invalid("until: the day has passed".to_owned()));
        }
        if expires_at > crate::clock::later(now, LONGEST_VALID) {
            return Err(AppError::Invalid(
                "until: an attestation holds for three years at most".to_owned(),
            ));
        }
        let id = self
            .store()
            .attest(
                &request.account,
                request.what,
                &evidence,
                expires_at,
                now,
                actor.clone(),
            )
            .await?;
        Ok(Attestation {
            id,
            account: request.account,
            what: request.what,
            evidence,
            actor,
            at: now,
            expires_at,
            revoked_at: None,
            revoked_by: None,
            revoked_because: None,
        })
    }

    /// Takes an attestation back. Returns it.
    pub async fn revoke_attestation(
        &self,
        request: RevokeRequest,
        actor: Actor,
    ) -> Result<Attestation, AppError> {
        self.must_run()?;
        let reason = one_line("reason", &request.reason)?;
        let (account, what) = (&request.account, request.what);
        let id = self
            .store()
            .revoke_attestation(account, what, &reason, self.now(), actor)
            .await?;
        let found = self
            .store()
            .attestations()
            .await?
            .into_iter()
            .find(|one| one.id == id);
        found.ok_or_else(|| StoreError::NotFound(format!("attestation {id}")).into())
    }

    /// Every attestation, oldest first.
    pub async fn attestations(&self) -> Result<Vec<Attestation>, AppError> {
        Ok(self.store().attestations().await?)
    }

    /// Files an application for a new account.
    pub async fn apply(&self, application: Application, actor: Actor) -> Result<Filed, AppError> {
        self.must_run()?;
        let faults = application.faults();
        if !faults.is_empty() {
            return Err(AppError::Invalid(format!(
                "the application is not whole: {}",
                faults.join("; ")
            )));
        }
        if self.config().accounts.contains_key(&application.account) {
            return Err(AppError::Conflict(format!(
                "there is an account {} already; choose another id",
                application.account
            )));
        }
        let id = self
            .store()
            .file_application(application, self.now(), actor)
            .await?;
        self.application(id).await
    }

    /// Decides on an application.
    pub async fn decide_application(
        &self,
        id: i64,
        request: DecideRequest,
        actor: Actor,
    ) -> Result<Filed, AppError> {
        self.must_run()?;
        let decision = Decision {
            reason: one_line("reason", &request.reason)?,
            by: one_line("by", &request.by)?,
            case: request
                .case
                .as_deref()
                .map(|case| one_line("case", case))
                .transpose()?,
            actor,
            at: self.now(),
        };
        self.store()
            .decide_application(id, request.approve, decision)
            .await?;
        self.application(id).await
    }

    /// Every application, oldest first.
    pub async fn applications(&self) -> Result<Vec<Filed>, AppError> {
        Ok(self.store().applications().await?)
    }

    async fn application(&self, id: i64) -> Result<Filed, AppError> {
        let found = self
            .store()
            .applications()
            .await?
            .into_iter()
            .find(|one| one.id == id);
        found.ok_or_else(|| StoreError::NotFound(format!("application {id}")).into())
    }

    /// How an account's closing stands.
    pub async fn closing(&self, id: &AccountId) -> Result<Closing, AppError> {
        let config = self.config();
        let account = known(&config, id)?;
        let signed = self.store().closing(id).await?;
        let checklist = closing::checklist(&config, account, &signed).map_err(AppError::Invalid)?;
        Ok(Closing {
            account: id.clone(),
            next: closing::next(&signed),
            signed,
            checklist,
        })
    }

    /// Signs a step of an account's closing off.
    pub async fn sign_closing(
        &self,
        id: &AccountId,
        request: SignRequest,
        actor: Actor,
    ) -> Result<Closing, AppError> {
        self.must_run()?;
        known(&self.config(), id)?;
        let note = request
            .note
            .as_deref()
            .map(|note| one_line("note", note))
            .transpose()?;
        self.store()
            .sign_closing(id, request.step, note, self.now(), actor)
            .await?;
        self.closing(id).await
    }

    /// The report of a year.
    pub async fn yearly_report(&self, year: i16) -> Result<Report, AppError> {
        let config = self.config();
        let zone = &config.municipality.time_zone;
        let bound = |year: i16| {
            let day = Date::new(year, 1, 1).ok();
            day.and_then(|day| words::midnight(day, zone)).ok_or_else(|| {
                AppError::Invalid(format!("year: {year} is no year that can be reckoned with"))
            })
        };
        let (from, to) = (bound(year)?, bound(year.saturating_add(1))?);
        if from > self.now() {
            return Err(AppError::Invalid(format!("year: {year} has not begun")));
        }
        let posted = self.store().posted(from, to).await?;
        let attestations = self.store().attestations().await?;
        let figures = Figures {
            year,
            now: self.now(),
            posted: &posted,
            attestations: &attestations,
            observed: &self.observed().await?,
        };
        Ok(Report::of(&config, &figures))
    }

    async fn publications(&self, config: &Config) -> Result<Vec<Publication>, AppError> {
        let mut all = Vec::new();
        for account in &config.register.publish_to {
            all.extend(self.store().mark::<Publication>(&mark_of(account)).await?);
        }
        Ok(all)
    }

    async fn last_look(&self, config: &Config) -> Result<Option<Look>, AppError> {
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

    /// Publishes and looks when it is time, until `stop`.
    pub async fn watch_register(self: Arc<Self>, stop: CancellationToken) {
        loop {
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

fn digest(public: &Public) -> Result<String, AppError> {
    public.digest().map_err(AppError::Invalid)
}

fn mark_of(account: &AccountId) -> String {
    format!("publish/{account}")
}

fn known<'c>(config: &'c Config, id: &AccountId) -> Result<&'c crate::config::Account, AppError> {
    config.accounts.get(id).ok_or_else(|| {
        let near = crate::config::source::hint(id.as_str(), config.accounts.keys().map(AccountId::as_str));
        StoreError::NotFound(format!("account {id}{near}")).into()
    })
}

/// What a person gives with an act: one line that says something.
fn one_line(key: &str, text: &str) -> Result<String, AppError> {
    let text = text.trim();
    let length = text.chars().count();
    if text.is_empty() || length > LONGEST || text.chars().any(char::is_control) {
        return Err(AppError::Invalid(format!(
            "{key}: one line of 1 to {LONGEST} characters is expected"
        )));
    }
    Ok(text.to_owned())
}
