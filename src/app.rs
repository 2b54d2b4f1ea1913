//! The application: what may be asked, and the only door for every front. Rules live behind it, once.
//!
//! It is the only caller of compose, check, store and dispatch, and it knows which adapter an account gets: the real
//! one on a live lane, one that is pointed at the practice wall and holds practice credentials on any other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::channel::{self, Transport};
use crate::clock::{SharedClock, Timestamp};
use crate::config::{Account, Config, Database, Problems};
use crate::dispatch::{Dispatcher, LanePlan};
use crate::model::{
    AccountId, Actor, AlertId, Broadcast, BroadcastId, BroadcastReport, DeliveryId, LaneId, Proof, Reason,
    State,
};
use crate::store::{ChainReport, Changed, Entry, Record, Store, StoreError};
use crate::vault::{Vault, untold};
use crate::wall::Wall;

pub mod arrivals;
pub mod backstage;
pub mod backup;
pub mod certificate;
pub mod confirmations;
pub mod correct;
pub mod decisions;
pub mod drills;
pub mod expansion;
pub mod lanes;
pub mod lists;
pub mod mails;
pub mod notices;
pub mod order;
pub mod pictures;
pub mod plan;
pub mod recipients;
pub mod register;
pub mod renewals;
pub mod request;
pub mod retract;
pub mod send;
pub mod stage;
pub mod steer;
pub mod switch;
pub mod verification;

use request::{AccountView, ChannelView, NotReady, ReloadRequest, Status};

/// The account id of the confirmation's lane; no configured account may have it.
pub const CONFIRMATION: &str = "confirmation";

/// Recipients of one account that a report names, at most.
const NAMED: usize = 1000;
/// How long the writer may take to answer a monitor.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);
/// The same where many reports are made.
const NAMED_IN_BRIEF: usize = 100;

/// Why the application did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Checks stopped the command; nothing was stored.
    #[error("stopped by checks; nothing was sent: {}", .0.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join("; "))]
    Stopped(Vec<crate::check::Finding>),
    /// The request cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// The request does not fit how things stand.
    #[error("{0}")]
    Conflict(String),
    /// The configuration on disk is wrong; the old one stays in force.
    #[error("the configuration on disk is wrong, the old one stays in force:\n{0}")]
    Config(Problems),
    /// The daemon is stopping.
    #[error("the daemon is stopping; nothing was done. Repeat the command when it runs again")]
    Stopping,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The application.
#[derive(Debug)]
pub struct App {
    config: RwLock<Arc<Config>>,
    config_problems: Mutex<Vec<String>>,
    store: Store,
    vault: Vault,
    clock: SharedClock,
    http: Transport,
    wall: Arc<Wall>,
    /// Adapters that are open, so that a lane, a verification and a settling share one session. Emptied on reload.
    open: Mutex<BTreeMap<LaneId, LanePlan>>,
    dispatcher: OnceLock<Dispatcher>,
    /// No command is taken any more: what it accepted would lie until the next start.
    stopping: CancellationToken,
    /// Held while accounts are tried backstage: by one at a time, and the end waits for what is being taken away.
    trying: tokio::sync::Mutex<()>,
    surveys: Mutex<lists::Surveys>,
    /// A list is on its way into deliveries, or nobody needs it any more.
    lists_wanted: tokio::sync::Notify,
    /// Held from the look at what went out lately until the command is accepted, so that of two at once the second sees the
    /// first. Another node may accept meanwhile: the guard is against slips, not against two people who agree.
    guarding: tokio::sync::Mutex<()>,
    /// Something began or ended that people are to be told of.
    notices_wanted: tokio::sync::Notify,
    /// A mail was written.
    mails_wanted: tokio::sync::Notify,
    /// When the certificate is due may have changed.
    certificate_wanted: tokio::sync::Notify,
    /// Why nobody outside hears that we live.
    heartbeat_trouble: Mutex<Option<crate::model::Sign>>,
    drills: drills::Desk,
    switches: Mutex<BTreeMap<AccountId, switch::Switch>>,
    own_uid: u32,
    since: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// An application over parts that are open. [`App::start`] sets it to work.
    pub fn new(
        config: Config,
        store: Store,
        vault: Vault,
        clock: SharedClock,
        http: Transport,
        wall: Arc<Wall>,
    ) -> Arc<Self> {
        let since = clock.now();
        Arc::new(Self {
            config: RwLock::new(Arc::new(config)),
            config_problems: Mutex::new(Vec::new()),
            store,
            vault,
            clock,
            http,
            wall,
            open: Mutex::new(BTreeMap::new()),
            dispatcher: OnceLock::new(),
            stopping: CancellationToken::new(),
            trying: tokio::sync::Mutex::new(()),
            surveys: Mutex::new(BTreeMap::new()),
            lists_wanted: tokio::sync::Notify::new(),
            guarding: tokio::sync::Mutex::new(()),
            notices_wanted: tokio::sync::Notify::new(),
            mails_wanted: tokio::sync::Notify::new(),
            certificate_wanted: tokio::sync::Notify::new(),
            heartbeat_trouble: Mutex::new(None),
            drills: drills::Desk::default(),
            switches: Mutex::default(),
            own_uid: rustix::process::geteuid().as_raw(),
            since,
        })
    }

    /// Takes the lanes and begins to work them. `force` takes them from a node that still holds them.
    pub async fn start(self: &Arc<Self>, node: String, force: bool) -> Result<(), StoreError> {
        self.drills.serve(&node);
        let accounts: Arc<dyn crate::dispatch::Accounts> = Arc::<Self>::clone(self);
        let dispatcher =
            Dispatcher::start(self.store.clone(), accounts, Arc::clone(&self.clock), node, force).await?;
        // Set once: `start` is called once, by `serve`.
        self.dispatcher.set(dispatcher).ok();
        Ok(())
    }

    /// Starts no new attempt and waits for those under way, and for an account that is being tried backstage, at most
    /// `grace`. Returns whether all finished.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.stopping.cancel();
        let attempts = async {
            match self.dispatcher.get() {
                Some(dispatcher) => dispatcher.stop(grace).await,
                None => true,
            }
        };
        let trial = tokio::time::timeout(grace, self.trying.lock());
        let (finished, tried) = tokio::join!(attempts, trial);
        finished && tried.is_ok()
    }

    /// Refuses a command once the daemon stops.
    fn must_run(&self) -> Result<(), AppError> {
        if self.stopping.is_cancelled() {
            return Err(AppError::Stopping);
        }
        Ok(())
    }

    /// Resolves when the daemon cannot go on, with the reason.
    pub async fn failed(&self) -> String {
        match self.dispatcher.get() {
            Some(dispatcher) => dispatcher.failed().await,
            None => std::future::pending().await,
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The store, for what `serve` does around the application.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a user of this machine may command the daemon: root, the daemon's own user, and those configured.
    pub fn admits(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own_uid || self.config().daemon.allow_uids.contains(&uid)
    }

    /// Hears of every committed change.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Changed> {
        self.store.subscribe()
    }

    /// Whether a command would be taken now: the writer answers.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    /// Which part keeps the daemon from taking a command now, if one does, and why.
    pub async fn unready(&self) -> Option<(&'static str, String)> {
        if let Err(stopping) = self.must_run() {
            return Some(("daemon", stopping.to_string()));
        }
        match tokio::time::timeout(WRITER_PATIENCE, self.ready()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(("database", error.to_string())),
            Err(_) => Some((
                "database",
                format!("the writer has not answered for {} s", WRITER_PATIENCE.as_secs()),
            )),
        }
    }

    /// Which part has failed for good, if one has, and why: the daemon ends.
    pub fn ill(&self) -> Option<(&'static str, String)> {
        let why = futures::FutureExt::now_or_never(self.failed())?;
        Some(("dispatch", why))
    }

    /// The accounts that cannot publish for want of something here, and the relays without their log-in.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let config = self.config();
        let mut all = Vec::new();
        for account in config.accounts.values() {
            let lane = LaneId {
                account: account.id.clone(),
                mode: crate::model::Mode::Live,
            };
            if let Some(problem) = self.lane_plan(&lane).and_then(|plan| plan.channel.err()) {
                all.push(NotReady {
                    owner: account.id.clone(),
                    channel: account.channel.id.to_owned(),
                    problem,
                });
            }
        }
        for relay in config.relays.iter().filter(|relay| relay.login) {
            let secrets = self.vault.secrets_for(&relay.id);
            let missing = ["username", "password"].map(|name| secrets.require(name).err());
            if let Some(problem) = missing.into_iter().flatten().next() {
                all.push(NotReady {
                    owner: relay.id.clone(),
                    channel: "relay".to_owned(),
                    problem,
                });
            }
        }
        all
    }

    /// Brings the gauges up to date.
    pub async fn measure(&self) {
        const DAY: Duration = Duration::from_hours(24);
        let Ok(counts) = self.store.counts(DAY).await else {
            return;
        };
        for mode in crate::model::Mode::ALL {
            for state in State::ALL {
                let n = counts
                    .iter()
                    .find(|(m, s, _)| m == mode && *s == state)
                    .map_or(0, |(_, _, n)| *n);
                #[allow(
                    clippy::cast_precision_loss,
                    reason = "a gauge is a float; counts are far below 2^52"
                )]
                metrics::gauge!("vardkase_deliveries", "mode" => mode.as_str(), "state" => state.as_str())
                    .set(n as f64);
            }
        }
        #[allow(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; counts are far below 2^52"
        )]
        let set = |gauge: metrics::Gauge, n: u64| gauge.set(n as f64);
        set(
            metrics::gauge!("vardkase_log_lines_dropped"),
            crate::telemetry::dropped_lines(),
        );
        set(
            metrics::gauge!("vardkase_not_ready"),
            self.not_ready().len() as u64,
        );
        if let Ok((seq, _)) = self.store.journal_head().await {
            set(
                metrics::gauge!("vardkase_journal_sequence"),
                u64::try_from(seq).unwrap_or(0),
            );
        }
        if let Ok(mails) = self.store.confirmations(DAY).await {
            let unsent = mails.iter().filter(|(state, _)| *state != State::Published);
            set(
                metrics::gauge!("vardkase_confirmations_unsent"),
                unsent.map(|(_, n)| n).sum(),
            );
            for state in State::ALL {
                let n = mails.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n);
                set(
                    metrics::gauge!("vardkase_confirmation_mails", "state" => state.as_str()),
                    n,
                );
            }
        }
    }

    pub(crate) fn wake(&self, lanes: &[LaneId]) {
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.wake(lanes);
        }
    }

    fn http(&self) -> &Transport {
        &self.http
    }

    /// Loads the file and the vault again. A wrong file changes nothing and is told.
    ///
    /// # Errors
    /// Every fault of the file.
    pub async fn reload(&self, actor: Actor, request: ReloadRequest) -> Result<String, AppError> {
        let old = self.config();
        let loaded = old.reload().map_err(|problems| {
            let texts = problems.0.iter().map(ToString::to_string).collect();
            (texts, AppError::Config(problems))
        });
        let loaded = loaded.and_then(|new| match self.vault.refresh() {
            Ok(_) => Ok(new),
            Err(error) => {
                let text = format!("the vault: {error}");
                Err((vec![text.clone()], AppError::Conflict(text)))
            }
        });
        let (body, result) = match loaded {
            Ok(new) => {
                let digest = new.digest.clone();
                {
                    // Under one lock: nobody opens an adapter of the old configuration in between.
                    let mut open = lock(&self.open);
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                    open.clear();
                }
                lock(&self.config_problems).clear();
                if let Some(dispatcher) = self.dispatcher.get() {
                    dispatcher.reload();
                }
                self.drills.look();
                self.certificate_wanted.notify_one();
                tracing::info!(digest, "configuration reloaded");
                (json!({ "digest": digest, "taken": true }), Ok(digest))
            }
            Err((texts, error)) => {
                for text in &texts {
                    tracing::error!(
                        problem = text,
                        "what is on disk is wrong; the configuration in force stays"
                    );
                }
                lock(&self.config_problems).clone_from(&texts);
                (
                    json!({ "digest": old.digest, "taken": false, "problems": texts }),
                    Err(error),
                )
            }
        };
        let mut body = body;
        if let Some(secrets) = &request.secrets {
            body["secrets"] = json!(secrets);
        }
        if let Some(change) = &request.vault {
            body["vault"] = json!(change);
        }
        self.record(actor, "reload", body).await?;
        result
    }

    /// Writes the journal's record of a start: with what, and which secrets were changed since the start before.
    pub async fn record_start(&self, node: &str) -> Result<(), AppError> {
        let held: BTreeMap<String, String> = self
            .vault
            .list()
            .into_iter()
            .map(|entry| {
                (
                    format!("{}/{}", entry.owner, entry.name),
                    entry.updated_at.to_string(),
                )
            })
            .collect();
        let before = self.store.last_start().await?;
        let known = before.as_ref().and_then(|body| body.get("secrets"));
        let known: Option<BTreeMap<String, String>> =
            known.and_then(|known| serde_json::from_value(known.clone()).ok());
        if let Some(problem) = self.vault.problem() {
            // What it holds is not known; the next start that can open it compares with what was known before.
            let body = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "config": self.config().digest,
                "node": node,
                "secrets": known,
                "vault": problem,
            });
            self.record(Actor::daemon(), "start", body).await?;
            return Ok(());
        }
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        if let Some(known) = &known {
            set.extend(
                held.iter()
                    .filter(|(name, at)| known.get(*name) != Some(*at))
                    .map(|(name, _)| name),
            );
            removed.extend(known.keys().filter(|name| !held.contains_key(*name)));
        }
        let body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config().digest,
            "node": node,
            "secrets": held,
            "secrets_set": set,
            "secrets_removed": removed,
        });
        self.record(Actor::daemon(), "start", body).await?;
        self.record_untold().await
    }

    /// Writes into the journal what was done with the vault while no daemon ran.
    async fn record_untold(&self) -> Result<(), AppError> {
        let files = self.config().vault.clone();
        let notes = match untold::read(&files) {
            Ok(notes) => notes,
            Err(error) => {
                tracing::warn!(%error, "what was done with the vault meanwhile cannot be told to the journal");
                return Ok(());
            }
        };
        if notes.is_empty() {
            return Ok(());
        }
        for note in notes {
            let body = json!({ "done_at": note.at, "note": note.id, "while_down": note.body });
            self.record(Actor(note.actor), "vault", body).await?;
        }
        // Only now: told twice is better than not at all.
        if let Err(error) = untold::clear(&files) {
            tracing::warn!(%error, "the notes of the vault cannot be removed; they will be told again");
        }
        Ok(())
    }

    /// Writes a journal record of the daemon's own life.
    pub async fn record(
        &self,
        actor: Actor,
        kind: &'static str,
        body: serde_json::Value,
    ) -> Result<i64, StoreError> {
        let at = self.now();
        self.store
            .record(Entry {
                at,
                actor,
                kind,
                broadcast: None,
                delivery: None,
                body,
            })
            .await
    }

    /// How a broadcast stands.
    pub async fn report(&self, id: &BroadcastId) -> Result<BroadcastReport, AppError> {
        Ok(self.report_of(&self.store.broadcast(id).await?, NAMED).await?)
    }

    /// The same for those who read it again and again as it changes: of a long list fewer recipients are named.
    pub async fn brief_report(&self, id: &BroadcastId) -> Result<BroadcastReport, AppError> {
        let broadcast = self.store.broadcast(id).await?;
        Ok(self.report_of(&broadcast, NAMED_IN_BRIEF).await?)
    }

    /// How the latest broadcasts stand, newest first.
    pub async fn reports(&self, limit: usize) -> Result<Vec<BroadcastReport>, AppError> {
        let mut reports = Vec::new();
        for broadcast in self.store.broadcasts(limit).await? {
            reports.push(self.report_of(&broadcast, NAMED_IN_BRIEF).await?);
        }
        Ok(reports)
    }

    /// How an alert's broadcasts stand, oldest first.
    pub async fn alert(&self, id: &AlertId) -> Result<Vec<BroadcastReport>, AppError> {
        let mut reports = Vec::new();
        for broadcast in self.store.alert(id).await?.broadcasts {
            reports.push(self.report_of(&broadcast, NAMED_IN_BRIEF).await?);
        }
        Ok(reports)
    }

    async fn report_of(&self, broadcast: &Broadcast, named: usize) -> Result<BroadcastReport, StoreError> {
        let summary = self.store.summary(&broadcast.id, named).await?;
        let mut report = BroadcastReport {
            arrivals: self.store.arrivals(&broadcast.id).await?,
            unreachable_before: self.store.unreachable_before(&broadcast.id).await?,
            ..expansion::report(broadcast, &summary)
        };
        self.expect_arrivals(&mut report);
        Ok(report)
    }

    /// One delivery whole: its report, its exact text, its attempts, and for a handed-over one what the person does.
    pub async fn delivery(&self, id: &DeliveryId) -> Result<serde_json::Value, AppError> {
        let delivery = self.store.delivery(id).await?;
        let rendering = self.store.rendering(id).await?;
        let attempts = self.store.attempts(id).await?;
        let config = self.config();
        let account = config.accounts.get(&delivery.account);
        Ok(json!({
            "delivery": crate::model::DeliveryReport::of(&delivery),
            "broadcast": delivery.broadcast,
            "mode": delivery.mode,
            "deadline": delivery.deadline,
            "text": rendering.text,
            "link": rendering.link,
            "instructions": account.and_then(|a| a.settings.instructions().map(str::to_owned)),
            "attempts": attempts,
        }))
    }

    /// The bytes of a picture that was accepted, by their digest.
    pub async fn picture(&self, sha256: &str) -> Result<Vec<u8>, AppError> {
        Ok(self.store.picture(sha256).await?)
    }

    /// The accounts, with whether each could be opened now.
    pub async fn accounts(&self) -> Vec<AccountView> {
        let config = self.config();
        let all: Vec<&Account> = config.accounts.values().collect();
        let surveys = self.surveys(&config, &all).await;
        let recipients = |account: &Account| {
            let found = surveys.get(&account.id)?;
            Some(usize::try_from(found.entries).unwrap_or(usize::MAX))
        };
        let mut all = accounts(&config, recipients, |account| {
            let lane = LaneId {
                account: account.id.clone(),
                mode: crate::model::Mode::Live,
            };
            self.lane_plan(&lane).and_then(|plan| plan.channel.err())
        });
        for view in &mut all {
            view.disabled = self.off(&view.account);
        }
        all
    }

    /// Journal records after a number.
    pub async fn journal(
        &self,
        after: i64,
        limit: usize,
        broadcast: Option<&BroadcastId>,
    ) -> Result<Vec<Record>, AppError> {
        Ok(self.store.journal(after, limit, broadcast).await?)
    }

    /// Walks the whole chain.
    pub async fn verify_journal(&self) -> Result<ChainReport, AppError> {
        Ok(self.store.verify_journal().await?)
    }

    /// How the daemon does.
    pub async fn status(&self) -> Result<Status, AppError> {
        let config = self.config();
        let (journal_seq, journal_head) = self.store.journal_head().await?;
        let counts = self.store.counts(Duration::from_hours(24 * 30)).await?;
        let sum = |want: fn(State) -> bool| -> u64 {
            counts
                .iter()
                .filter(|(_, state, _)| want(*state))
                .map(|(_, _, n)| n)
                .sum()
        };
        let (waiting_for_person, open) = (sum(State::needs_person), sum(State::is_open));
        let config_problems = lock(&self.config_problems).clone();
        let broadcasts = self.reports(20).await?;
        let go = self.go().await?;
        Ok(Status {
            go,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.since,
            config: config.path.display().to_string(),
            config_digest: config.digest.clone(),
            config_problems,
            database: match config.daemon.database {
                Database::Sqlite(_) => "sqlite".to_owned(),
                Database::Postgres(_) => "postgres".to_owned(),
            },
            wall: format!("http://{}/", self.wall.address()),
            not_ready: self.not_ready(),
            journal_seq,
            journal_head,
            waiting_for_person,
            open,
            register: self.register_status().await?,
            disabled: self.all_off(),
            broadcasts,
            drills: self.drills().await?,
        })
    }
}

/// The accounts of a configuration; `recipients` tells how many each has, `problem` why one cannot be opened.
pub fn accounts(
    config: &Config,
    recipients: impl Fn(&Account) -> Option<usize>,
    problem: impl Fn(&Account) -> Option<Reason>,
) -> Vec<AccountView> {
    config
        .accounts
        .values()
        .map(|account| AccountView {
            account: account.id.clone(),
            channel: account.channel.id.to_owned(),
            groups: account.groups.iter().cloned().collect(),
            url: account.url.clone(),
            proof: proof(account),
            recipients: recipients(account),
            problem: problem(account),
            disabled: None,
        })
        .collect()
}

/// How surely a second post is avoided on the account.
pub fn proof(account: &Account) -> Proof {
    account.settings.proof().unwrap_or(account.channel.can.proof)
}

/// The list of a list channel's account; `None` on other channels.
pub fn list<'a>(config: &'a Config, account: &Account) -> Option<&'a crate::config::List> {
    config.lists.get(account.settings.list()?)
}

/// What the list of a list channel's account holds; `None` on other channels. Reads it through if it stands in files.
pub fn survey(config: &Config, account: &Account) -> Option<crate::config::Survey> {
    Some(list(config, account)?.survey())
}

/// Every channel that the daemon speaks.
pub fn channels() -> Vec<ChannelView> {
    channel::REGISTRY
        .iter()
        .map(|kind| ChannelView {
            channel: kind.id,
            about: kind.about,
            can: kind.can,
            secrets: kind
                .secrets
                .iter()
                .filter(|s| !s.internal)
                .map(|s| s.name)
                .collect(),
        })
        .collect()
}
