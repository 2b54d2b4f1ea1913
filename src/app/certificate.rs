//! The certificate at work: when it is due, a question to every account whose last answer is old, and the mail. A time that was
//! missed is made good by one mail that says so; the mark of what was told is written with it, so that no restart and no other
//! node tells it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::verification::AT_ONCE;
use super::{App, AppError};
use crate::clock::{Timestamp, later, until};
use crate::config::{Account, Config};
use crate::drill::Schedule;
use crate::model::{Actor, Look, MailKind, MailMark, Mode, Seen, Subject};
use crate::store::{Entry, Mail, MailChange, StoreError};
use crate::verify::certificate::{self, Certificate, Facts, Since, Standing};

/// The name of the mark.
const MARK: &str = "certificate";
/// The line of the mark while there is to be none.
const OFF: &str = "off";
/// How often it is looked whether it is due, although nothing happens: the clock may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How soon what failed at the store is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// A clock that was set right again after it had been wrong by more than this has nothing to wait for.
const FAR: Duration = Duration::from_hours(24);
/// How long it is tried: what it says is of a moment, and the next one comes soon.
const TRY_FOR: Duration = Duration::from_hours(72);
/// Looks that are read back to tell since when an account stands as it does.
const HISTORY: usize = 500;

impl App {
    /// Sends the certificate whenever it is due, until `stop`.
    pub async fn watch_certificate(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let look = async {
                match self.look_at_certificate().await {
                    Ok(next) => next.map_or(LOOK_AGAIN, |at| until(self.now(), at).min(LOOK_AGAIN)),
                    Err(error) => {
                        tracing::error!(%error, "the certificate could not be written");
                        AGAIN
                    }
                }
            };
            // A question has no effect on anybody: the end need not wait for it.
            let wait = tokio::select! {
                () = stop.cancelled() => return,
                wait = look => wait,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.certificate_wanted.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Writes the certificate if it is due. Returns when the next one is; `None` if there is to be none.
    pub async fn look_at_certificate(&self) -> Result<Option<Timestamp>, AppError> {
        let config = self.config();
        let now = self.now();
        let marks = self.store.mail_marks().await?;
        let Some(schedule) = &config.verification.certificate else {
            // Whoever turns it on again has not missed those of the time in between.
            if marks.iter().any(|mark| mark.name == MARK && mark.line != OFF) {
                let begin = MailChange::Begin(mark(OFF, now));
                self.store.mail(begin, now).await?;
            }
            return Ok(None);
        };
        let known = marks
            .iter()
            .find(|mark| mark.name == MARK && mark.line == schedule.line())
            .map(|mark| mark.at)
            .filter(|at| *at <= later(now, FAR));
        let Some(told) = known else {
            // Seen for the first time, as it is now: what lies before was never due.
            let begin = MailChange::Begin(mark(schedule.line(), now));
            self.store.mail(begin, now).await?;
            return Ok(schedule.next(now));
        };
        let look = schedule.look(told, now);
        let missed = look.missed.len().saturating_add(look.missed_more);
        match (look.due, look.missed.last()) {
            (Some(due), _) => {
                Box::pin(self.certify(&config, schedule, due, false, missed)).await?;
            }
            (None, Some(due)) => {
                Box::pin(self.certify(&config, schedule, *due, true, missed - 1)).await?;
            }
            (None, None) => {}
        }
        Ok(schedule.next(now))
    }

    async fn certify(
        &self,
        config: &Config,
        schedule: &Schedule,
        due: Timestamp,
        is_late: bool,
        missed: usize,
    ) -> Result<(), AppError> {
        Box::pin(self.ask_the_silent(config)).await?;
        let seen = self.store.latest_observations().await?;
        let conditions = self.store.conditions().await?;
        let since = self.since(config).await?;
        let now = self.now();
        let facts = Facts {
            config,
            seen: &seen,
            conditions: &conditions,
            since: &since,
            due,
            is_late,
            missed,
            now,
        };
        let certificate = Certificate::of(&facts);
        let letter = certificate.letter().map_err(AppError::Invalid)?;
        let deadline = later(now, TRY_FOR);
        let about = due.to_string();
        let mails: Vec<Mail> = config
            .verification
            .certificate_to
            .iter()
            .map(|to| {
                Mail::new(
                    MailKind::Certificate,
                    &about,
                    to,
                    Some(letter.clone()),
                    now,
                    deadline,
                )
            })
            .collect();
        let entry = Entry {
            at: now,
            actor: Actor::daemon(),
            kind: "certificate",
            broadcast: None,
            delivery: None,
            body: json!({
                "due": due, "late": is_late, "missed": missed, "asked": certificate.asked(),
                "unreachable": certificate.those(Standing::Unreachable),
                "unknown": certificate.those(Standing::Unknown),
                "degraded": certificate.those(Standing::Degraded),
                "mails": mails.iter().map(|mail| &mail.id).collect::<Vec<_>>(),
            }),
        };
        let subject = letter.subject;
        let write = MailChange::Write(mails, vec![mark(schedule.line(), due)], Some(entry));
        if self.store.mail(write, now).await? {
            tracing::info!(%due, is_late, subject, "the certificate is written");
            self.mails_wanted.notify_one();
        }
        Ok(())
    }

    /// Asks every account whose last answer counts no more: after a start the certificate does not rest on what was before.
    /// Those that are publishing are left alone, as always.
    async fn ask_the_silent(&self, config: &Config) -> Result<(), StoreError> {
        let seen = self.store.latest_observations().await?;
        let open = self.store.open_lanes().await?;
        let now = self.now();
        let is_busy = |account: &Account| {
            let mut lanes = open.iter();
            lanes.any(|lane| lane.mode == Mode::Live && lane.account == account.id)
        };
        let is_old = |account: &Account, look: Look, old_after: Duration| {
            let subject = Subject::Account(account.id.clone());
            let last = seen
                .iter()
                .find(|one| one.observation.subject == subject && one.observation.look == look);
            let seen_at = match look {
                Look::Profile => last.and_then(|one| one.observation.profile_at),
                Look::Reach | Look::Backstage | Look::Event => last.map(|one| one.at),
            };
            certificate::is_stale(seen_at, old_after, now)
        };
        let mut looks = Vec::new();
        for account in config.accounts.values() {
            if account.channel.can.by_hand || is_busy(account) {
                continue;
            }
            if is_old(account, Look::Reach, certificate::old_after(config, account)) {
                looks.push(self.look_at(config, account, Look::Reach, &seen, false).boxed());
            }
            let profile_old = config
                .verification
                .profile_every
                .saturating_mul(certificate::OLD_AFTER);
            if account.channel.can.profile && is_old(account, Look::Profile, profile_old) {
                looks.push(self.look_at(config, account, Look::Profile, &seen, false).boxed());
            }
        }
        let results: Vec<_> = futures::stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for result in results {
            result?;
        }
        let daemon = seen
            .iter()
            .find(|one| one.observation.subject == Subject::Daemon && one.observation.look == Look::Reach);
        let old = config.verification.every.saturating_mul(certificate::OLD_AFTER);
        if certificate::is_stale(daemon.map(|one| one.at), old, now) {
            Box::pin(self.look_at_daemon(config)).await?;
        }
        Ok(())
    }

    async fn since(&self, config: &Config) -> Result<BTreeMap<Subject, Since>, StoreError> {
        let mut since = BTreeMap::new();
        for account in config.accounts.keys() {
            let subject = Subject::Account(account.clone());
            let history: Vec<Seen> = self.store.observations(&subject, HISTORY).await?;
            if let Some(one) = certificate::since(&history) {
                since.insert(subject, one);
            }
        }
        Ok(since)
    }
}

fn mark(line: &str, at: Timestamp) -> MailMark {
    MailMark {
        name: MARK.to_owned(),
        line: line.to_owned(),
        at,
    }
}
