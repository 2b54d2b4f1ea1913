//! Tries accounts where the public cannot see, on schedule and on command: a message that is read back and taken away.
//!
//! Never beside a live alert: what a service counts belongs to the crisis. A time that passed while nobody could carry it
//! out is told and not made up for, and so is one that was cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::drills::{sleep, unbound};
use super::request::Verification;
use super::{App, AppError};
use crate::channel::Backstage;
use crate::clock::{Timestamp, earlier, later, until};
use crate::config::{Account, Config};
use crate::confirm::words;
use crate::drill::Schedule;
use crate::model::{
    AccountId, Actor, BroadcastId, DeliveryId, Lang, Look, Mode, Purpose, Rendering, SendError, Sign,
    Subject, Trouble, Variant,
};
use crate::store::{PlanChange, StoreError};
use crate::verify::schedule;

/// The schedule's name in the store.
const NAME: &str = "backstage";
/// Between two accounts: not every service hears from us in the same second.
const BETWEEN: Duration = Duration::from_secs(2);
/// The longest wait: a clock that jumps, and a changed configuration, are noticed by then.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// After this what another node has begun is given up: it does not come back to it.
const GIVEN_UP: Duration = Duration::from_hours(6);
/// How long what is tried is said to be valid.
const VALID: Duration = Duration::from_hours(1);
/// A schedule that was dealt with in the future was so by a clock that was wrong.
const FAR: Duration = Duration::from_hours(1);

impl App {
    /// Carries out what is planned, until `stop`. What is under way then goes to its end: nothing is left lying about.
    pub(super) async fn watch_backstage(&self, stop: &CancellationToken) {
        // Whatever this process has not begun itself was cut off.
        if let Err(error) = self.tell_of_cut_off().await {
            tracing::error!(%error, "whether a trial backstage was cut off could not be seen");
        }
        loop {
            let wait = match self.look_backstage(stop).await {
                Ok(next) => next.map_or(LOOK_AGAIN, |at| until(self.now(), at).min(LOOK_AGAIN)),
                Err(error) => {
                    tracing::error!(%error, "accounts could not be tried backstage");
                    LOOK_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn tell_of_cut_off(&self) -> Result<(), StoreError> {
        let Some(planned) = self.store.planned(NAME).await? else {
            return Ok(());
        };
        let Some(at) = planned.running_at else {
            return Ok(());
        };
        let ours = planned.owner.as_deref() == Some(self.drills.node());
        if ours || at < earlier(self.now(), GIVEN_UP) {
            let text = format!(
                "Provet bakom scenen {} avbröts: Vårdkase slutade innan alla konton hade prövats. Det tas inte om.",
                self.moment(at)
            );
            self.tell_skipped(text).await?;
            self.store
                .plan(PlanChange::End { name: NAME }, self.now())
                .await?;
        }
        Ok(())
    }

    /// Begins what is due and tells of what was missed. Returns when the next time is; `None` if nothing is planned.
    pub async fn look_backstage(&self, stop: &CancellationToken) -> Result<Option<Timestamp>, StoreError> {
        let config = self.config();
        let Some(line) = &config.verification.backstage else {
            return Ok(None);
        };
        let now = self.now();
        let known = self.store.planned(NAME).await?;
        let known = known.filter(|known| known.schedule == line.line() && known.seen_at <= later(now, FAR));
        let Some(known) = known else {
            let see = PlanChange::See {
                name: NAME,
                schedule: line.line().to_owned(),
            };
            self.store.plan(see, now).await?;
            return Ok(line.next(now));
        };
        self.try_what_is_due(&config, line, known.seen_at, stop).await?;
        Ok(line.next(self.now()))
    }

    async fn try_what_is_due(
        &self,
        config: &Config,
        line: &Schedule,
        seen_at: Timestamp,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let look = line.look(seen_at, now);
        if let Some(last) = look.missed.last().copied() {
            let many = look.missed.len() + look.missed_more;
            let text = if many == 1 {
                format!(
                    "Provet bakom scenen {} uteblev: Vårdkase kördes inte då.",
                    self.moment(last)
                )
            } else {
                format!(
                    "{many} prov bakom scenen uteblev, det senaste {}: Vårdkase kördes inte då.",
                    self.moment(last)
                )
            };
            // First: told twice is better than not at all.
            self.tell_skipped(text).await?;
            let pass = PlanChange::Pass {
                name: NAME,
                planned: last,
            };
            self.store.plan(pass, now).await?;
        }
        let Some(planned) = look.due else {
            return Ok(());
        };
        if let Some(live) = self.store.live_now(now).await? {
            let pass = PlanChange::Pass { name: NAME, planned };
            self.tell_skipped(self.beside(planned, &live)).await?;
            self.store.plan(pass, now).await?;
            return Ok(());
        }
        let take = PlanChange::Take {
            name: NAME,
            planned,
            owner: self.drills.node().to_owned(),
        };
        if self.store.plan(take, now).await? && self.carry_out_backstage(config, planned, stop).await? {
            self.store
                .plan(PlanChange::End { name: NAME }, self.now())
                .await?;
        }
        Ok(())
    }

    /// Tries every account that is meant, one after the other. Returns whether it came to its end: one that the daemon's
    /// end cut off is told of at the next start.
    async fn carry_out_backstage(
        &self,
        config: &Config,
        planned: Timestamp,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let number = self.store.last_broadcast().await?;
        let mut accounts = self.tried_backstage(config);
        accounts.sort_by_key(|account| schedule::place(&Subject::Account(account.id.clone())));
        tracing::info!(accounts = accounts.len(), "accounts are tried backstage");
        for (at, account) in accounts.into_iter().enumerate() {
            if at > 0 {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(BETWEEN) => {}
                }
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            if let Some(live) = self.store.live_after(number).await? {
                self.tell_skipped(self.beside(planned, &live)).await?;
                return Ok(true);
            }
            let seen = self.store.latest_observations().await?;
            Box::pin(self.look_at(config, account, Look::Backstage, &seen, false)).await?;
        }
        Ok(true)
    }

    /// Tries accounts where the public cannot see, now; those of the schedule if none is named.
    ///
    /// # Errors
    /// [`AppError::Conflict`] while a live alert is active, [`AppError::Invalid`] if a named account cannot be tried so.
    pub async fn verify_backstage(
        &self,
        wanted: &[AccountId],
        actor: Actor,
    ) -> Result<Vec<Verification>, AppError> {
        self.must_run()?;
        let config = self.config();
        for id in wanted {
            let account = config
                .accounts
                .get(id)
                .ok_or_else(|| AppError::Invalid(format!("there is no account {id}")))?;
            if !can(account) {
                return Err(AppError::Invalid(format!(
                    "{id} has no place that the public cannot see; `vardkase channels` shows which have"
                )));
            }
        }
        let now = self.now();
        if let Some(live) = self.store.live_now(now).await? {
            return Err(AppError::Conflict(format!(
                "the live alert {} is active; nothing is tried beside it. End it with an all-clear, or wait until its \
                 validity has passed",
                live.alert()
            )));
        }
        let accounts = if wanted.is_empty() {
            self.tried_backstage(&config)
        } else {
            wanted.iter().filter_map(|id| config.accounts.get(id)).collect()
        };
        let seen = self.store.latest_observations().await?;
        let mut answers = Vec::with_capacity(accounts.len());
        for account in accounts {
            let looked = Box::pin(self.look_at(&config, account, Look::Backstage, &seen, false)).await?;
            answers.push(super::verification::told(account, looked));
        }
        let tried: Vec<_> = answers
            .iter()
            .map(|one| {
                let troubles: Vec<_> = one.signs.iter().map(|sign| sign.trouble).collect();
                let used = self.held_by(&one.account);
                serde_json::json!({ "account": one.account, "troubles": troubles, "credentials": &*used })
            })
            .collect();
        let body = serde_json::json!({ "backstage": tried });
        self.record(actor, "verify", body).await?;
        Ok(answers)
    }

    /// Which accounts are meant: those named; of a group, or if none are named, those that can be tried for nothing.
    fn tried_backstage<'a>(&self, config: &'a Config) -> Vec<&'a Account> {
        let names = &config.verification.backstage_accounts;
        let selected = if names.is_empty() {
            config.accounts.values().collect()
        } else {
            // Checked when it was read.
            config.select(names).unwrap_or_default()
        };
        let by_name: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        selected
            .into_iter()
            .filter(|account| can(account) && self.off(&account.id).is_none())
            .filter(|account| by_name.contains(account.id.as_str()) || !costs(account))
            .collect()
    }

    /// One message backstage on the account as it is. No address of a list comes near it.
    pub(super) async fn try_backstage(
        &self,
        config: &Config,
        account: &Account,
    ) -> Result<Backstage, SendError> {
        let unseen = self.unseen(&account.id).map_err(SendError::NotSent)?;
        let now = self.now();
        let post = unbound(
            &format!("prov-{}", account.id),
            now,
            DeliveryId::fresh(),
            rendering(config, account),
            Purpose::Publish,
            None,
            later(now, VALID),
        )?;
        unseen.backstage(&post).await
    }

    async fn tell_skipped(&self, text: String) -> Result<(), StoreError> {
        tracing::warn!("a planned trial of the accounts backstage was not carried out");
        let sign = Sign {
            trouble: Trouble::TrialSkipped,
            text,
            remedy: "Prova när det passar: vardkase verify --backstage".to_owned(),
            step: None,
        };
        self.keep(super::verification::event(sign), Duration::ZERO).await
    }

    fn beside(&self, planned: Timestamp, live: &BroadcastId) -> String {
        format!(
            "Provet bakom scenen {} kördes inte, eller inte på alla konton: den skarpa varningen {} går före.",
            self.moment(planned),
            live.alert()
        )
    }

    fn moment(&self, at: Timestamp) -> String {
        words::moment(at, &self.config().municipality.time_zone)
    }
}

/// Whether the account has a place that the public cannot see.
fn can(account: &Account) -> bool {
    let here = account.settings.backstage().unwrap_or(true);
    account.channel.can.backstage && here
}

/// Whether its service takes money for what is sent.
fn costs(account: &Account) -> bool {
    account.settings.cost("prov", 1).is_some()
}

/// What is tried: short, marked as an exercise, and true.
fn rendering(config: &Config, account: &Account) -> Rendering {
    let municipality = &config.municipality;
    let marking = Mode::Drill.marking(Lang::Sv);
    let headline = format!("{marking}Prov av kontot");
    let text = format!(
        "{headline}. Det här tas bort genast.\n{}\n{}",
        municipality.name, municipality.site
    );
    let rule = account.settings.text_rule();
    Rendering {
        count: text.chars().count(),
        headline,
        text,
        html: None,
        link: municipality.site.clone(),
        languages: vec![Lang::Sv],
        variant: Variant::Short,
        limit: rule.limit,
        unit: rule.unit,
        picture: None,
    }
}
