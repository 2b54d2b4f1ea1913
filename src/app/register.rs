//! The register at work: what is to be said of it, attestations, applications, closings and the yearly figures. The public
//! list is in [`publish`].

use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{App, AppError};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::model::{AccountId, Actor, Reason, Subject};
use crate::register::application::{Application, Decision, Filed};
use crate::register::attest::{Attestation, What};
use crate::register::closing::{self, Signed, Step};
use crate::register::drift::Look;
use crate::register::export::Public;
use crate::register::findings::{self, Observations, Observed};
use crate::register::report::{Figures, Report};
use crate::register::schedule::Mark;
use crate::register::{Finding, Level, follow_up, words};
use crate::store::StoreError;

mod publish;
mod remind;

/// Longest text that a person gives with an act, in characters.
const LONGEST: usize = 1000;
/// An attestation holds no longer than three years, whoever says so.
const LONGEST_VALID: Duration = Duration::from_hours(24 * 1100);

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
    pub(in crate::app) async fn observed(&self) -> Result<Observations, AppError> {
        let seen = self.store.latest_observations().await?;
        let now = self.now();
        let every = self.config().verification.profile_every;
        let old_after = every.saturating_mul(crate::verify::certificate::OLD_AFTER);
        let profiles = seen.into_iter().filter_map(|one| {
            let Subject::Account(account) = one.observation.subject else {
                return None;
            };
            let profile = one.observation.profile?;
            // What was published after the profile was last read is not in it: of an old one nobody knows the last post.
            let is_old = crate::verify::certificate::is_stale(one.observation.profile_at, old_after, now);
            let latest = profile.latest.iter().map(|post| post.at).max();
            let observed = Observed {
                followers: profile.followers,
                last_post: latest.filter(|_| !is_old),
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
}

fn digest(public: &Public) -> Result<String, AppError> {
    public.digest().map_err(AppError::Invalid)
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
