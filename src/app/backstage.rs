//! Tries accounts where the public cannot see, on schedule and on command: a message that is read back and taken away.
//!
//! Never beside a live alert: what a service counts belongs to the crisis. A time that passed while nobody could carry it
//! out is told and not made up for, and so is one that was cut off.

use std::collections::{BTreeMap, BTreeSet};
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
    AccountId, Actor, BroadcastId, DeliveryId, Lang, Look, Mode, Observation, Purpose, Reach, Reason,
    Rendering, SendError, Sign, Subject, Trouble, Variant,
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

/// Code of an account that had no turn.
const LEFT_OUT: &str = "left-out";

/// Why accounts had no turn.
#[derive(Debug)]
enum Halted {
    /// A live alert was accepted.
    Live(BroadcastId),
    /// The daemon ends.
    Stopping,
}

/// What came of trying accounts.
#[derive(Debug, Default)]
struct Trial<'a> {
    tried: Vec<Verification>,
    /// They have something live to publish.
    busy: Vec<&'a Account>,
    /// They had no turn.
    left_out: Vec<&'a Account>,
    halted: Option<Halted>,
}

impl Trial<'_> {
    /// What is answered: who had no turn, and why, is told with those who had.
    fn answers(self) -> Vec<Verification> {
        let why = match &self.halted {
            Some(Halted::Live(live)) => format!(
                "Kontot prövades inte: den skarpa varningen {} togs emot under provet och går före.",
                live.alert()
            ),
            Some(Halted::Stopping) | None => "Kontot prövades inte: Vårdkase stoppas.".to_owned(),
        };
        let mut answers = self.tried;
        answers.extend(self.left_out.iter().map(|account| untried(account, why.clone())));
        answers.extend(self.busy.iter().map(|account| {
            let why = "Kontot prövades inte: det har något skarpt att publicera, och det går före.";
            untried(account, why.to_owned())
        }));
        answers
    }
}

fn skipped(text: String) -> Sign {
    Sign {
        trouble: Trouble::TrialSkipped,
        text,
        remedy: "Prova när det passar: vardkase verify --backstage".to_owned(),
        step: None,
    }
}

fn untried(account: &Account, why: String) -> Verification {
    Verification {
        account: account.id.clone(),
        channel: account.channel.id.to_owned(),
        reachable: false,
        reach: Reach::Degraded,
        identity: None,
        id: None,
        expires_at: None,
        signs: vec![skipped(why.clone())],
        facts: BTreeMap::new(),
        error: Some(Reason::new(LEFT_OUT, why)),
        duration_ms: 0,
    }
}

impl App {
    /// Carries out what is planned, until `stop`. What is under way then goes to its end: nothing is left lying about.
    pub(super) async fn watch_backstage(&self, stop: &CancellationToken) {
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
                () = self.stopping.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Whatever this node has begun and is not about now was cut off: by the end of the daemon, or by the store.
    async fn tell_of_cut_off(&self) -> Result<(), StoreError> {
        let Some(planned) = self.store.planned(NAME).await? else {
            return Ok(());
        };
        let (Some(at), Some(owner)) = (planned.running_at, planned.owner) else {
            return Ok(());
        };
        if owner == self.drills.node() || at < earlier(self.now(), GIVEN_UP) {
            let text = format!(
                "Provet bakom scenen {} avbröts innan alla konton hade prövats. Det tas inte om.",
                self.moment(at)
            );
            self.tell_skipped(text).await?;
            let end = PlanChange::End { name: NAME, owner };
            self.store.plan(end, self.now()).await?;
        }
        Ok(())
    }

    /// Begins what is due and tells of what was missed. Returns when the next time is; `None` if nothing is planned.
    pub async fn look_backstage(&self, stop: &CancellationToken) -> Result<Option<Timestamp>, StoreError> {
        let _alone = self.trying.lock().await;
        self.tell_of_cut_off().await?;
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
                    "Provet bakom scenen {} uteblev: det kördes inte i tid.",
                    self.moment(last)
                )
            } else {
                format!(
                    "{many} prov bakom scenen uteblev, det senaste {}: de kördes inte i tid.",
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
        if self.stopping.is_cancelled() {
            return Ok(());
        }
        // Before the question: what is accepted after it is seen by its number.
        let number = self.store.last_broadcast().await?;
        if let Some(live) = self.store.live_now(now).await? {
            let pass = PlanChange::Pass { name: NAME, planned };
            self.tell_skipped(self.beside(planned, &live)).await?;
            self.store.plan(pass, now).await?;
            return Ok(());
        }
        let owner = self.drills.node().to_owned();
        let take = PlanChange::Take {
            name: NAME,
            planned,
            owner: owner.clone(),
        };
        if self.store.plan(take, now).await?
            && self.carry_out_backstage(config, planned, number, stop).await?
        {
            let end = PlanChange::End { name: NAME, owner };
            self.store.plan(end, self.now()).await?;
        }
        Ok(())
    }

    /// Tries every account that is meant, one after the other. Returns whether it came to its end: one that the daemon's
    /// end cut off is told of at the next start.
    async fn carry_out_backstage(
        &self,
        config: &Config,
        planned: Timestamp,
        number: i64,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let mut accounts = self.tried_backstage(config);
        accounts.sort_by_key(|account| schedule::place(&Subject::Account(account.id.clone())));
        tracing::info!(accounts = accounts.len(), "accounts are tried backstage");
        let trial = self
            .try_each(config, accounts, number, BETWEEN, Some(stop))
            .await?;
        match &trial.halted {
            Some(Halted::Stopping) => return Ok(false),
            Some(Halted::Live(live)) => self.tell_skipped(self.beside(planned, live)).await?,
            None => {}
        }
        if !trial.busy.is_empty() {
            let busy: Vec<&str> = trial.busy.iter().map(|account| account.id.as_str()).collect();
            let text = format!(
                "Provet bakom scenen {} kördes inte på {}: där finns något skarpt att publicera, och det går före.",
                self.moment(planned),
                busy.join(", ")
            );
            self.tell_skipped(text).await?;
        }
        self.end_of_what_cannot_be_tried(config).await?;
        Ok(true)
    }

    /// Tries accounts one after the other, and none of them beside a live alert that was accepted after broadcast `number`.
    async fn try_each<'a>(
        &self,
        config: &Config,
        accounts: Vec<&'a Account>,
        number: i64,
        between: Duration,
        stop: Option<&CancellationToken>,
    ) -> Result<Trial<'a>, StoreError> {
        let mut trial = Trial::default();
        let mut accounts = accounts.into_iter();
        while let Some(account) = accounts.next() {
            if !trial.tried.is_empty() {
                tokio::select! {
                    () = self.stopping.cancelled() => {}
                    () = sleep(between) => {}
                }
            }
            trial.halted =
                if self.stopping.is_cancelled() || stop.is_some_and(CancellationToken::is_cancelled) {
                    Some(Halted::Stopping)
                } else {
                    self.store.live_after(number).await?.map(Halted::Live)
                };
            if trial.halted.is_some() {
                trial.left_out.push(account);
                trial.left_out.extend(accounts);
                break;
            }
            // An all-clear, or the end of its validity, does not empty its queue.
            let lanes = self.store.open_lanes().await?;
            if lanes
                .iter()
                .any(|lane| lane.mode == Mode::Live && lane.account == account.id)
            {
                trial.busy.push(account);
                continue;
            }
            let seen = self.store.latest_observations().await?;
            let looked = Box::pin(self.look_at(config, account, Look::Backstage, &seen, false)).await?;
            trial.tried.push(super::verification::told(account, looked));
        }
        Ok(trial)
    }

    /// Nobody waits for another trial of an account that cannot be tried any more.
    async fn end_of_what_cannot_be_tried(&self, config: &Config) -> Result<(), StoreError> {
        for one in self.store.conditions().await? {
            let Subject::Account(id) = &one.subject else {
                continue;
            };
            let account = config.accounts.get(id);
            let can_be = account.is_some_and(|account| can(account) && self.off(id).is_none());
            if one.sign.trouble == Trouble::Backstage && !can_be {
                let nothing = Observation::new(one.subject.clone(), Look::Backstage, Vec::new());
                self.keep(nothing, Duration::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Tries accounts where the public cannot see, now; those of the schedule if none is named. The journal says at once
    /// which, and afterwards what came of it. Drop it and something may be left: a caller who may go away spawns it.
    ///
    /// # Errors
    /// [`AppError::Conflict`] while a live alert is active, or others are tried; [`AppError::Invalid`] if a named account
    /// cannot be tried so.
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
            if self.off(id).is_some() {
                return Err(AppError::Invalid(format!(
                    "{id} is disabled and is not tried; `vardkase accounts enable {id}` takes it into use again"
                )));
            }
        }
        let Ok(_alone) = self.trying.try_lock() else {
            return Err(AppError::Conflict(
                "accounts are being tried backstage already; wait until that has ended".to_owned(),
            ));
        };
        let number = self.store.last_broadcast().await?;
        if let Some(live) = self.store.live_now(self.now()).await? {
            return Err(AppError::Conflict(format!(
                "the live alert {} is active; nothing is tried beside it. End it with an all-clear, or wait until its \
                 validity has passed",
                live.alert()
            )));
        }
        let accounts: Vec<&Account> = if wanted.is_empty() {
            self.tried_backstage(&config)
        } else {
            wanted.iter().filter_map(|id| config.accounts.get(id)).collect()
        };
        let begins: Vec<_> = accounts.iter().map(|account| &account.id).collect();
        let body = serde_json::json!({ "backstage_begins": begins });
        self.record(actor.clone(), "verify", body).await?;
        let trial = self
            .try_each(&config, accounts, number, Duration::ZERO, None)
            .await?;
        let answers = trial.answers();
        let tried: Vec<_> = answers
            .iter()
            .map(|one| {
                let troubles: Vec<_> = one.signs.iter().map(|sign| sign.trouble).collect();
                let used = self.held_by(&one.account);
                let left_out = one.error.as_ref().filter(|reason| reason.code == LEFT_OUT);
                serde_json::json!({
                    "account": one.account, "troubles": troubles, "credentials": &*used,
                    "left_out": left_out.map(|reason| &reason.text),
                })
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
        self.keep(super::verification::event(skipped(text)), Duration::ZERO)
            .await
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
        "{headline}. Det här är bara ett prov. Ingen behöver göra något.\n{}\n{}",
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
