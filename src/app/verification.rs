//! Looks after the accounts and after the daemon itself: asks them on schedule and on command, keeps what was seen, and
//! answers whether to go.
//!
//! A look has no effect on an account, and a scheduled one stays away from an account that has something to publish: what
//! a service counts belongs to the crisis.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::request::Verification;
use super::{App, AppError, CONFIRMATION};
use crate::channel::Channel;
use crate::check::link;
use crate::clock::{Timestamp, earlier, later, until};
use crate::config::{Account, Config};
use crate::dispatch::LanePlan;
use crate::model::{
    AccountId, Actor, DeliveryId, Identity, LaneId, Look, Mode, Observation, Profile, Reach, Reason, Seen,
    SendError, Sign, Subject, Trouble,
};
use crate::store::{Keep, StoreError};
use crate::verify::go::{self, GoPage};
use crate::verify::{self, Asked, profile, schedule};

/// Looks under way at once.
pub(super) const AT_ONCE: usize = 8;
/// The longest sleep between two rounds: a clock that jumps, and a changed configuration, are noticed by then.
const ROUND: Duration = Duration::from_secs(30);
/// Wall time and the machine's own count may differ so much between two rounds.
const CLOCK_SLACK: Duration = Duration::from_mins(1);
/// Less free space than this, or than one part in twenty, is little.
const DISK_LEAST: u64 = 512 * 1024 * 1024;
/// An alert that nobody ended is over after this long, for the question whether a foreign post is suspicious.
const ALERT_LASTS: Duration = Duration::from_hours(24 * 7);
/// Posts of ours that are compared with what stands on an account.
const OURS: usize = 1000;
/// How often it is looked which credentials are to be renewed, at least.
const RENEW_EVERY: Duration = Duration::from_hours(24);
/// What was seen is forgotten in portions of a day.
const FORGET_EVERY: Duration = Duration::from_hours(24);

impl App {
    /// Runs until `stop`.
    pub async fn watch_accounts(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.look_after(&stop), self.watch_backstage(&stop));
    }

    async fn look_after(&self, stop: &CancellationToken) {
        if let Err(error) = self.tell_of_restart().await {
            tracing::error!(%error, "whether the daemon ended in good order could not be written down");
        }
        let mut watch = Watch::begin(self.now(), self.renewal_every());
        loop {
            // A look has no effect on anybody: the end need not wait for it.
            let next = tokio::select! {
                () = stop.cancelled() => return,
                next = self.round(&mut watch) => next,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(until(self.now(), next).min(ROUND)) => {}
            }
        }
    }

    /// Does everything that is due, and says when there is something to do again.
    async fn round(&self, watch: &mut Watch) -> Timestamp {
        if let Some(sign) = watch.jump(self.now())
            && let Err(error) = self.keep(event(sign), Duration::ZERO).await
        {
            tracing::error!(%error, "a jump of the clock could not be written down");
        }
        let next = self.look_around(watch.start).await.unwrap_or_else(|error| {
            tracing::error!(%error, "accounts could not be looked after");
            later(self.now(), ROUND)
        });
        if watch.renew_at <= self.now() {
            watch.renew_at = later(self.now(), self.renewal_every());
            if let Err(error) = self.renew_due(&[], self.now(), &Actor::daemon()).await {
                tracing::error!(%error, "credentials could not be renewed");
            }
        }
        if watch.forget_at <= self.now() {
            watch.forget_at = later(self.now(), FORGET_EVERY);
            self.forget_seen().await;
        }
        next
    }

    /// How often it is looked which credentials are to be renewed, long before they end.
    fn renewal_every(&self) -> Duration {
        self.config().verification.profile_every.min(RENEW_EVERY)
    }

    async fn forget_seen(&self) {
        let days = u64::from(self.config().verification.keep_days);
        let before = earlier(self.now(), Duration::from_hours(24 * days));
        if let Err(error) = self.store.forget_observations(before).await {
            tracing::error!(%error, "old observations could not be forgotten");
        }
    }

    /// A file that exists while the daemon runs: one that is there at the start was left by one that did not end itself.
    fn running_mark(&self) -> PathBuf {
        self.config().daemon.data_dir.join("running")
    }

    /// The daemon ends because it was told to: the next start has nothing to tell.
    pub fn ends_as_told(&self) {
        std::fs::remove_file(self.running_mark()).ok();
    }

    async fn tell_of_restart(&self) -> anyhow::Result<()> {
        let mark = self.running_mark();
        let left = std::fs::read_to_string(&mark).ok();
        std::fs::write(&mark, self.now().to_string())?;
        if let Some(left) = left {
            let since: String = left.chars().take(40).collect();
            self.keep(
                event(Sign {
                    trouble: Trouble::Restart,
                    text: format!(
                        "Vårdkase slutade utan att någon bett om det och har startat igen. Den hade körts sedan {}.",
                        since.trim()
                    ),
                    remedy: "Inget har gått förlorat. Läs varför i loggen: journalctl -u vardkase".to_owned(),
                    step: None,
                }),
                Duration::ZERO,
            )
            .await?;
        }
        Ok(())
    }

    /// Looks at everything that is due. Returns when the next look is.
    pub async fn look_around(&self, start: Timestamp) -> Result<Timestamp, StoreError> {
        let config = self.config();
        let now = self.now();
        let seen = self.store.latest_observations().await?;
        let busy: BTreeSet<AccountId> = self
            .store
            .open_lanes()
            .await?
            .into_iter()
            .filter(|lane| lane.mode == Mode::Live)
            .map(|lane| lane.account)
            .collect();
        let mut next = later(now, ROUND);
        let mut due = Vec::new();
        for account in config.accounts.values() {
            for look in [Look::Reach, Look::Profile] {
                let Some((at, after)) = self.next_look(&config, account, look, &seen, start).await? else {
                    continue;
                };
                if at > now {
                    next = next.min(at);
                } else if !busy.contains(&account.id) {
                    next = next.min(later(now, after));
                    due.push((account, look));
                }
            }
        }
        let daemon = find(&seen, &Subject::Daemon, Look::Reach).map(|one| one.at);
        let daemon_at = schedule::next(&Subject::Daemon, daemon, config.verification.every, start);
        if daemon_at > now {
            next = next.min(daemon_at);
        } else {
            next = next.min(later(now, config.verification.every));
            self.look_at_daemon(&config).await?;
        }
        // Boxed one by one: the compiler does not see through a stream of borrowing futures.
        let mut looks = Vec::new();
        for (account, look) in due {
            looks.push(self.look_at(&config, account, look, &seen, false).boxed());
        }
        let results: Vec<_> = futures::stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for result in results {
            result?;
        }
        Ok(next)
    }

    /// When an account is to be looked at, and how long after that again; `None` if it has nothing to look at so.
    async fn next_look(
        &self,
        config: &Config,
        account: &Account,
        look: Look,
        seen: &[Seen],
        start: Timestamp,
    ) -> Result<Option<(Timestamp, Duration)>, StoreError> {
        let subject = Subject::Account(account.id.clone());
        let rules = &config.verification;
        let last = find(seen, &subject, look);
        let every = rules.every.max(account.channel.verify_every);
        let after = match look {
            Look::Reach => {
                let reach = last.map_or(Reach::Reachable, |one| one.observation.reach);
                verify::again(reach, every)
            }
            Look::Profile if !account.channel.can.profile => return Ok(None),
            // While an alert is active somebody else's post must not stand for a day.
            Look::Profile if last.is_some() && self.alert_since(&account.id).await?.is_some() => {
                every.min(rules.profile_every)
            }
            Look::Profile => rules.profile_every,
            Look::Backstage | Look::Event => return Ok(None),
        };
        let at = schedule::next(&subject, last.map(|one| one.at), after, start);
        Ok(Some((at, after)))
    }

    async fn alert_since(&self, account: &AccountId) -> Result<Option<Timestamp>, StoreError> {
        self.store
            .alert_since(account, earlier(self.now(), ALERT_LASTS))
            .await
    }

    /// Looks at one account and keeps what was seen. With `accept`, the account that answers now is the right one.
    pub(super) async fn look_at(
        &self,
        config: &Config,
        account: &Account,
        look: Look,
        seen: &[Seen],
        accept: bool,
    ) -> Result<Looked, StoreError> {
        let started = tokio::time::Instant::now();
        let subject = Subject::Account(account.id.clone());
        let before = find(seen, &subject, look);
        let mut reason = None;
        let observation = match look {
            Look::Backstage => {
                let answer = self.try_backstage(config, account).await;
                reason = answer.as_ref().err().map(|error| error.reason().clone());
                verify::backstage::judge(subject, account.channel.id, answer)
            }
            Look::Reach | Look::Event => {
                let answer = self.ask(account).await;
                reason = answer.as_ref().err().map(|error| error.reason().clone());
                let off = self.off(&account.id);
                let mut observation = verify::judge(
                    &Asked {
                        subject,
                        kind: account.channel,
                        signs_in: account
                            .settings
                            .sign_in(&super::lanes::parts(config, &self.vault, &self.http, &account.id))
                            .is_some(),
                        rules: &config.verification,
                        known: before
                            .and_then(|one| one.observation.identity.as_ref())
                            .filter(|_| !accept),
                        quota: self.opened(account).and_then(|channel| channel.quota()),
                        disabled: off.as_ref().map(|off| off.reason.as_str()),
                        now: self.now(),
                    },
                    answer,
                );
                remember(&mut observation, before, accept);
                observation
            }
            Look::Profile => {
                if let Ok(Some(found)) = self.read_profile(account).await {
                    let since = self.alert_since(&account.id).await?;
                    let ours = self.ours(&account.id, since).await?;
                    profile::judge(
                        &profile::Looked {
                            subject,
                            kind: account.channel,
                            rules: &config.verification,
                            before: before.and_then(|one| one.observation.profile.as_ref()),
                            ours: &ours,
                            alert_since: since,
                            now: self.now(),
                        },
                        found,
                    )
                } else {
                    // Whether it answers is the other look's matter: what was seen of the profile stays. What was an event
                    // then is none now.
                    let mut same = before.map_or_else(
                        || Observation::new(subject, look, Vec::new()),
                        |before| before.observation.clone(),
                    );
                    same.signs.retain(|sign| !sign.trouble.is_event());
                    same
                }
            }
        };
        let took = started.elapsed();
        self.keep(observation.clone(), took).await?;
        Ok(Looked {
            observation,
            reason,
            took,
        })
    }

    /// Ids of what we published on the account, at least since then.
    async fn ours(
        &self,
        account: &AccountId,
        since: Option<Timestamp>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let Some(since) = since else {
            return Ok(BTreeSet::new());
        };
        let ids = self
            .store
            .taken_ids(account, &DeliveryId::fresh(), since, OURS)
            .await?;
        Ok(ids.into_iter().collect())
    }

    pub(super) async fn keep(&self, observation: Observation, took: Duration) -> Result<(), StoreError> {
        let patience = verify::patience(&self.config().verification);
        let kept = self
            .store
            .keep(Keep {
                observation,
                at: self.now(),
                took,
                patience,
            })
            .await?;
        for one in &kept.begun {
            tracing::warn!(subject = %one.subject, trouble = %one.sign.trouble, "something is amiss");
        }
        for one in &kept.ended {
            tracing::info!(subject = %one.subject, trouble = %one.sign.trouble, "well again");
        }
        if !(kept.begun.is_empty() && kept.ended.is_empty()) {
            self.notices_wanted.notify_one();
        }
        Ok(())
    }

    fn opened(&self, account: &Account) -> Option<Arc<dyn Channel>> {
        self.lane_plan(&live(&account.id))?.channel.ok()
    }

    async fn ask(&self, account: &Account) -> Result<Identity, SendError> {
        let (channel, timeout) = self.channel_of(&account.id)?;
        tokio::time::timeout(timeout, channel.verify())
            .await
            .unwrap_or_else(|_| Err(SendError::Unknown(too_late(timeout))))
    }

    async fn read_profile(&self, account: &Account) -> Result<Option<Profile>, SendError> {
        let (channel, timeout) = self.channel_of(&account.id)?;
        tokio::time::timeout(timeout, channel.profile())
            .await
            .unwrap_or_else(|_| Err(SendError::Unknown(too_late(timeout))))
    }

    fn channel_of(&self, account: &AccountId) -> Result<(Arc<dyn Channel>, Duration), SendError> {
        match self.lane_plan(&live(account)) {
            None => Err(SendError::Refused(Reason::new(
                "no-account",
                "the configuration does not have this account",
            ))),
            Some(LanePlan {
                channel: Err(reason), ..
            }) => Err(SendError::Credential(reason)),
            Some(LanePlan {
                channel: Ok(channel),
                attempt_timeout,
                ..
            }) => Ok((channel, attempt_timeout)),
        }
    }

    /// Asks accounts whether they answer, all at once; all of them if none is named. Publishes nothing. The journal says
    /// who asked, and which credentials were used.
    pub async fn verify(
        &self,
        wanted: &[AccountId],
        accept: bool,
        actor: Actor,
    ) -> Result<Vec<Verification>, AppError> {
        let config = self.config();
        if let Some(unknown) = wanted.iter().find(|id| !config.accounts.contains_key(*id)) {
            return Err(AppError::Invalid(format!("there is no account {unknown}")));
        }
        if accept && wanted.is_empty() {
            return Err(AppError::Invalid(
                "name the account whose change is meant: --account".to_owned(),
            ));
        }
        let seen = self.store.latest_observations().await?;
        let looks = config
            .accounts
            .values()
            .filter(|a| wanted.is_empty() || wanted.contains(&a.id))
            .map(|account| {
                let (config, seen) = (&config, &seen);
                async move {
                    let looked = self.look_at(config, account, Look::Reach, seen, accept).await?;
                    let mut signs = looked.observation.signs.clone();
                    if account.channel.can.profile {
                        let profile = self.look_at(config, account, Look::Profile, seen, false).await?;
                        signs.extend(profile.observation.signs);
                    }
                    Ok::<_, StoreError>(verification(account, looked, signs))
                }
            });
        let mut answers = Vec::new();
        for answer in futures::future::join_all(looks).await {
            answers.push(answer?);
        }
        let asked: Vec<_> = answers
            .iter()
            .map(|one| {
                let used = self.held_by(&one.account);
                json!({
                    "account": one.account, "reachable": one.reachable, "reach": one.reach,
                    "error": one.error.as_ref().map(|reason| &reason.code), "credentials": &*used,
                })
            })
            .collect();
        self.record(actor, "verify", json!({ "accounts": asked, "accept": accept }))
            .await?;
        Ok(answers)
    }

    /// Whether to go: from what was last seen.
    pub async fn go(&self) -> Result<GoPage, AppError> {
        let config = self.config();
        let now = self.now();
        let seen = self.store.latest_observations().await?;
        let conditions = self.store.conditions().await?;
        let accounts = config
            .accounts
            .values()
            .map(|account| {
                let every = config.verification.every.max(account.channel.verify_every);
                let subject = Subject::Account(account.id.clone());
                let mut one = go::readiness(subject, &seen, &conditions, every * 3, now);
                one.fallback = account.fallback.as_ref().map(ToString::to_string);
                one
            })
            .collect();
        let daemon = go::readiness(
            Subject::Daemon,
            &seen,
            &conditions,
            config.verification.every * 3,
            now,
        );
        Ok(go::page(daemon, accounts, now))
    }

    /// What was seen of an account, newest first.
    pub async fn history(&self, account: &AccountId, limit: usize) -> Result<Vec<Seen>, AppError> {
        let subject = Subject::Account(account.clone());
        Ok(self.store.observations(&subject, limit).await?)
    }

    /// Looks at what every message needs besides its account.
    pub(super) async fn look_at_daemon(&self, config: &Config) -> Result<(), StoreError> {
        let started = tokio::time::Instant::now();
        let mut signs = Vec::new();
        signs.extend(disk(config));
        signs.extend(self.vault_sign());
        signs.extend(self.relay_sign().await);
        signs.extend(self.link_sign(config).await);
        signs.extend(super::lock(&self.heartbeat_trouble).clone());
        let observation = Observation::new(Subject::Daemon, Look::Reach, signs);
        self.keep(observation, started.elapsed()).await
    }

    fn vault_sign(&self) -> Option<Sign> {
        let error = self.vault.check().err()?;
        Some(Sign {
            trouble: Trouble::Vault,
            text: format!("Valvet med inloggningarna kan inte läsas från disken: {error}."),
            remedy: "Det som redan är läst fungerar tills Vårdkase startas om. Starta inte om. Se efter om valvet eller dess \
                     nyckel har flyttats eller skadats: vardkase credentials list"
                .to_owned(),
            step: None,
        })
    }

    async fn relay_sign(&self) -> Option<Sign> {
        let account: AccountId = CONFIRMATION.parse().ok()?;
        let answer = match self.channel_of(&account) {
            Ok((channel, timeout)) => tokio::time::timeout(timeout, channel.verify())
                .await
                .unwrap_or_else(|_| Err(SendError::Unknown(too_late(timeout)))),
            Err(error) => Err(error),
        };
        let text = match answer {
            Ok(identity) if identity.flaws.is_empty() => return None,
            Ok(identity) => {
                let all: Vec<String> = identity.flaws.iter().map(ToString::to_string).collect();
                format!("En av e-postservrarna tar inte emot: {}.", all.join("; "))
            }
            Err(error) => format!("Ingen e-postserver tar emot: {}.", error.reason()),
        };
        Some(Sign {
            trouble: Trouble::Relay,
            text,
            remedy: "Se efter i e-postserverns logg och inloggningen: vardkase credentials list".to_owned(),
            step: None,
        })
    }

    async fn link_sign(&self, config: &Config) -> Option<Sign> {
        let finding = link::probe(
            &self.http,
            &config.municipality.site,
            &config.municipality,
            config.checks.link_timeout,
        )
        .await?;
        Some(Sign {
            trouble: Trouble::Link,
            text: finding.text,
            remedy: "Meddelanden går ut ändå. Sätt municipality.fallback_link så att de leder till en sida som svarar."
                .to_owned(),
            step: None,
        })
    }
}

/// What the watcher knows from one round to the next.
#[derive(Debug)]
struct Watch {
    start: Timestamp,
    /// The two clocks at the round before.
    wall: Timestamp,
    own: tokio::time::Instant,
    renew_at: Timestamp,
    forget_at: Timestamp,
}

impl Watch {
    fn begin(start: Timestamp, renewal_every: Duration) -> Self {
        Self {
            start,
            wall: start,
            own: tokio::time::Instant::now(),
            renew_at: schedule::next(&Subject::Daemon, None, renewal_every, start),
            forget_at: start,
        }
    }

    /// What there is to say if the wall clock has moved otherwise than time has passed since the last call.
    fn jump(&mut self, now: Timestamp) -> Option<Sign> {
        let passed = self.own.elapsed();
        self.own = tokio::time::Instant::now();
        jumped(now, std::mem::replace(&mut self.wall, now), passed)
    }
}

/// What a look at an account gave.
#[derive(Debug)]
pub(super) struct Looked {
    observation: Observation,
    /// What the service said, if it did not answer as it should.
    reason: Option<Reason>,
    took: Duration,
}

fn live(account: &AccountId) -> LaneId {
    LaneId {
        account: account.clone(),
        mode: Mode::Live,
    }
}

fn too_late(timeout: Duration) -> Reason {
    Reason::new("timeout", format!("no answer within {timeout:?}"))
}

fn find<'a>(seen: &'a [Seen], subject: &Subject, look: Look) -> Option<&'a Seen> {
    seen.iter()
        .find(|one| one.observation.subject == *subject && one.observation.look == look)
}

/// An observation of the daemon that has no end.
pub(super) fn event(sign: Sign) -> Observation {
    Observation::new(Subject::Daemon, Look::Event, vec![sign])
}

/// Who the account was stays known while it does not answer, and while it answers as another one.
fn remember(observation: &mut Observation, before: Option<&Seen>, accept: bool) {
    let was = before.and_then(|one| one.observation.identity.clone());
    let is_other = observation
        .signs
        .iter()
        .any(|sign| sign.trouble == Trouble::WrongAccount);
    if observation.identity.is_none() || (is_other && !accept) {
        observation.identity = was;
    }
}

/// What a look at one account gave, as it is told.
pub(super) fn told(account: &Account, looked: Looked) -> Verification {
    let signs = looked.observation.signs.clone();
    verification(account, looked, signs)
}

fn verification(account: &Account, looked: Looked, signs: Vec<Sign>) -> Verification {
    let reach = looked.observation.reach;
    let worst = signs
        .iter()
        .find(|sign| reach == Reach::Unreachable && sign.trouble.reach() == Reach::Unreachable);
    // An account that answers as another one said nothing wrong itself.
    let error = looked
        .reason
        .or_else(|| worst.map(|sign| Reason::new(sign.trouble.as_str(), &sign.text)));
    let identity = looked.observation.identity.unwrap_or_default();
    Verification {
        account: account.id.clone(),
        channel: account.channel.id.to_owned(),
        reachable: reach != Reach::Unreachable,
        reach,
        identity: Some(identity.name).filter(|name| !name.is_empty()),
        id: identity.id,
        expires_at: identity.expires_at,
        facts: identity.facts,
        signs,
        error,
        duration_ms: u64::try_from(looked.took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// How far the wall clock has moved beyond the time that has passed.
fn jumped(now: Timestamp, wall: Timestamp, passed: Duration) -> Option<Sign> {
    let expected = later(wall, passed);
    let off = until(expected, now).max(until(now, expected));
    (off > CLOCK_SLACK).then(|| Sign {
        trouble: Trouble::Clock,
        text: format!("Klockan hoppade {} sekunder.", off.as_secs()),
        remedy: "Se efter att klockan går rätt: timedatectl. Giltighetstider och övningar räknas efter den."
            .to_owned(),
        step: None,
    })
}

fn disk(config: &Config) -> Option<Sign> {
    let about = rustix::fs::statvfs(&config.daemon.data_dir).ok()?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let all = about.f_blocks.saturating_mul(about.f_frsize);
    let least = DISK_LEAST.min(all / 20);
    (free < least).then(|| Sign {
        trouble: Trouble::Disk,
        text: format!("Bara {} MiB är lediga på disken.", free / (1024 * 1024)),
        remedy: format!(
            "Rensa på disken där {} ligger. När den är full tas inga nya meddelanden emot.",
            config.daemon.data_dir.display()
        ),
        step: None,
    })
}
