//! The store: the only module that knows SQL. One text serves SQLite and PostgreSQL.
//!
//! All writes go through one writer that groups what waits: statements as multi-row statements, and one commit (one
//! flush) for the group. A method that writes returns after the commit. Cancelling its future does not undo the write.
//! Every lane write names the lane's epoch; a node that lost the lease writes nothing and is told [`StoreError::Fenced`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use self::db::{Engine, Readers};
pub use self::extent::Extent;
use self::writer::{Reply, Request, Writer};

use crate::clock::{SharedClock, Timestamp, from_micros};
use crate::config::Database;
use crate::model::{
    AccountId, AlertId, Arrival, Arrivals, Broadcast, BroadcastId, Delivery, DeliveryId, Event, LaneId, Mode,
    Outcome, Purpose, Recent, Rendering, State, Work, WrongTransition,
};

mod accept;
mod arrival;
mod backup;
mod change;
mod condition;
mod data;
mod db;
mod drill;
mod expand;
mod extent;
mod extra;
mod file;
mod journal;
mod lanes;
mod lists;
mod mail;
mod migrate;
mod picture;
mod planned;
mod read;
mod recall;
mod register;
mod restore;
mod set_back;
mod sql;
mod stand_in;
mod step;
mod summary;
mod suppress;
mod switches;
mod tally;
mod unreachable;
mod writer;

pub use arrival::Noted;
pub use condition::{Keep, Kept, Told};
pub use data::{
    Acceptance, Accepted, Alert, Attempt, AttemptChange, ChainReport, Change, Changed, Destination, Entry,
    Expanded, Expansion, Extra, FIRST, LaneNotes, Lease, Listed, Opened, Record, Stage, StagedList, Standing,
    StandsFor, StepMade, Suppressed, Target, Under,
};
pub use drill::{DrillChange, DrillEnd, DrillRun, DrillSeen};
pub use expand::{CHUNK, Forgotten, ListDecision};
pub use mail::{Mail, MailChange};
pub use planned::{PlanChange, Planned};
pub use recall::Recall;
pub use summary::{ListedState, Summary};

/// Changes that a slow listener may fall behind before it misses some.
const LISTENERS_BEHIND: usize = 16_384;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The engine failed: disk full, connection lost, damaged file. Nothing of the request is on disk unless it says so.
    #[error("the database failed: {0}")]
    Engine(String),
    /// The database was written by a newer version, or its migrations were changed.
    #[error("the database does not fit this version: {0}")]
    Migration(String),
    /// Another node holds the lane now. Whoever gets this stops working the lane.
    #[error("the lane {0} is held by another node")]
    Fenced(LaneId),
    /// The delivery is no longer in the state that the change starts from.
    #[error("{delivery} is {found}, not {expected}")]
    Moved {
        /// Which one.
        delivery: DeliveryId,
        /// Where the caller thought it was.
        expected: State,
        /// Where it is.
        found: State,
    },
    /// The change is not in the table of states.
    #[error(transparent)]
    Transition(#[from] WrongTransition),
    /// The event cannot follow from an attempt that ended so.
    #[error("an attempt that ended {outcome} cannot be followed by {event}")]
    Outcome {
        /// How it ended.
        outcome: Outcome,
        /// What was to follow.
        event: Event,
    },
    /// The same idempotency key came with another body.
    #[error("the idempotency key {0:?} was used before with another request")]
    KeyReused(String),
    /// It does not fit what is written already.
    #[error("{0}")]
    Conflict(String),
    /// No such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
}

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    readers: Readers,
    inbox: mpsc::Sender<Request>,
    listeners: broadcast::Sender<Changed>,
    clock: SharedClock,
}

impl Store {
    /// Opens the database, runs migrations, settles whether it is a restored backup (`node` is the id in the data
    /// directory), and starts the writer.
    pub async fn open(
        database: &Database,
        node: &str,
        clock: SharedClock,
    ) -> Result<(Self, Opened), StoreError> {
        let engine = Engine::of(database)?;
        let mut conn = engine.connect().await?;
        db::check(&mut conn).await?;
        migrate::run(&mut conn, clock.now()).await?;
        let (inbox, requests) = mpsc::channel(writer::WAITING);
        let (listeners, _) = broadcast::channel(LISTENERS_BEHIND);
        let mut writer = Writer {
            engine: engine.clone(),
            conn: Some(conn),
            clock: Arc::clone(&clock),
            inbox: requests,
            listeners: listeners.clone(),
        };
        let opened = writer.settle(node).await?;
        let readers = engine.readers().await?;
        // Ends when the last handle is gone or `close` is called; nobody has to wait for it otherwise.
        tokio::spawn(writer.run());
        let inner = Inner {
            engine,
            readers,
            inbox,
            listeners,
            clock,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            opened,
        ))
    }

    /// Writes out what waits, checkpoints, and closes. Later calls give [`StoreError::Closed`].
    pub async fn close(&self) {
        // The writer's connection goes last: it is the only one that writes the log back into the file.
        self.inner.readers.close().await;
        let (done, closed) = oneshot::channel();
        if self.inner.inbox.send(Request::Close(done)).await.is_ok() {
            closed.await.ok();
        }
    }

    /// Accepts a command: alert, broadcast, renderings, deliveries and journal in one transaction. Open deliveries of
    /// earlier broadcasts of the alert on the same accounts (queued, held, manual) become superseded. A kind of
    /// `all-clear` ends the alert. On disk when it returns.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`]; [`StoreError::NotFound`] for an unknown or ended alert, or one of another mode.
    pub async fn accept(&self, acceptance: Acceptance) -> Result<Accepted, StoreError> {
        self.ask(|reply| Request::Accept(Box::new(acceptance), reply))
            .await
    }

    /// Adds retractions or confirmations to a broadcast, once: an extra whose broadcast, account, recipient, purpose
    /// and target are there already is left out. Returns the lanes that have something to do now.
    pub async fn add(
        &self,
        extras: Vec<Extra>,
        at: Timestamp,
        entry: Option<Entry>,
    ) -> Result<Vec<LaneId>, StoreError> {
        self.ask(|reply| Request::Add(extras, at, entry, reply)).await
    }

    /// Takes the lanes that are free, ours already, or whose lease has run out; all of them if `force`. Raises each
    /// epoch. Every delivery of a taken lane that is `sending` becomes `unknown`: its attempt was cut off.
    pub async fn take_lanes(
        &self,
        lanes: &[LaneId],
        node: &str,
        until: Timestamp,
        force: bool,
    ) -> Result<Vec<Lease>, StoreError> {
        let (lanes, node) = (lanes.to_vec(), node.to_owned());
        self.ask(|reply| Request::Take {
            lanes,
            node,
            until,
            force,
            reply,
        })
        .await
    }

    /// Makes the lanes that an earlier process of this node (an owner `<node>/…`) still leases those of `owner`, under a new
    /// epoch. Only for who holds the node's data directory.
    pub async fn inherit_lanes(&self, node: &str, owner: &str, until: Timestamp) -> Result<(), StoreError> {
        let (node, owner) = (node.to_owned(), owner.to_owned());
        self.ask(|reply| Request::Inherit {
            node,
            owner,
            until,
            reply,
        })
        .await
    }

    /// Extends the leases. Returns the lanes that another node has taken meanwhile.
    pub async fn renew_lanes(
        &self,
        leases: &[(LaneId, i64)],
        node: &str,
        until: Timestamp,
    ) -> Result<Vec<LaneId>, StoreError> {
        let (leases, node) = (leases.to_vec(), node.to_owned());
        self.ask(|reply| Request::Renew {
            leases,
            node,
            until,
            reply,
        })
        .await
    }

    /// The lanes that have open deliveries, also of accounts that the configuration no longer has.
    pub async fn open_lanes(&self) -> Result<Vec<LaneId>, StoreError> {
        read::open_lanes(&self.inner.readers).await
    }

    /// The open deliveries of a lane in the order in which they are to be worked on, at most `limit`: `unknown` first,
    /// then corrections, then by acceptance; recipients of one broadcast in their order. Includes those whose
    /// `not_before` lies ahead.
    pub async fn head(&self, lane: &LaneId, limit: usize) -> Result<Vec<Work>, StoreError> {
        read::head(&self.inner.readers, lane, limit).await
    }

    /// The heads of many lanes in one reading, at most [`FIRST`] of each: a broadcast to many accounts begins sooner than
    /// with a question for each.
    pub async fn heads(&self, lanes: &[LaneId]) -> Result<HashMap<LaneId, Vec<Work>>, StoreError> {
        read::heads(&self.inner.readers, lanes).await
    }

    /// Makes the changes, all in one commit; the answers are in the order of the changes. A change that does not apply
    /// (fenced, moved) leaves the others standing. The journal record is written with it: `attempt` for `Start`,
    /// `outcome` for `End`, `settle` for a change out of `unknown`, `decision` for a person's.
    /// When a retraction's delivery becomes `published`, its target becomes `retracted` in the same commit.
    pub async fn change(&self, changes: Vec<Change>) -> Vec<Result<State, StoreError>> {
        let many = changes.len();
        let (reply, answer) = oneshot::channel();
        let sent = self.inner.inbox.send(Request::Change(changes, reply)).await;
        let answers = if sent.is_ok() { answer.await.ok() } else { None };
        answers.unwrap_or_else(|| vec![Err(StoreError::Closed); many])
    }

    /// Lets what waits for the first stage of a broadcast go now. Returns the lanes that have something to do.
    pub async fn release(
        &self,
        broadcast: &BroadcastId,
        stage: Stage,
        at: Timestamp,
        entry: Entry,
    ) -> Result<Vec<LaneId>, StoreError> {
        let broadcast = broadcast.clone();
        self.ask(|reply| Request::Release(broadcast, stage, at, entry, reply))
            .await
    }

    /// The deliveries of a broadcast without a recipient, in order.
    pub async fn singles(&self, broadcast: &BroadcastId) -> Result<Vec<Delivery>, StoreError> {
        read::singles(&self.inner.readers, broadcast).await
    }

    /// How a broadcast's own word stands on each account.
    pub async fn extent(&self, broadcast: &BroadcastId) -> Result<Vec<Extent>, StoreError> {
        extent::read(&self.inner.readers, broadcast).await
    }

    /// The delivery that last changed the post of another one, if any did.
    pub async fn latest_edit(
        &self,
        alert: &AlertId,
        of: &DeliveryId,
    ) -> Result<Option<DeliveryId>, StoreError> {
        extent::latest_edit(&self.inner.readers, alert, of).await
    }

    /// The lanes in which something stands in for a delivery that has come to rest.
    pub async fn stand_ins_to_wake(&self, broadcast: &BroadcastId) -> Result<Vec<LaneId>, StoreError> {
        read::stand_ins(&self.inner.readers, broadcast).await
    }

    /// Whether something of the broadcast still stands in for another delivery.
    pub async fn has_stand_ins(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        read::has_stand_ins(&self.inner.readers, broadcast).await
    }

    /// The posts of an alert that stand, by account: of several, the latest. Accounts with recipients are left out.
    pub async fn standing(&self, alert: &AlertId) -> Result<BTreeMap<AccountId, Standing>, StoreError> {
        read::standing(&self.inner.readers, alert).await
    }

    /// Writes down what a step of an attempt gave; returns when it is on disk. Only while the delivery is being sent by
    /// the lane that says so.
    pub async fn record_step(&self, made: StepMade) -> Result<(), StoreError> {
        self.ask(|reply| Request::Step(made, reply)).await
    }

    /// Remembers what the lane needs across a restart.
    pub async fn note_lane(&self, lane: &LaneId, epoch: i64, notes: LaneNotes) -> Result<(), StoreError> {
        let lane = lane.clone();
        self.ask(|reply| Request::Note(lane, epoch, notes, reply)).await
    }

    /// Remote ids on the account that belong to other deliveries, since `since`: at most `limit`, newest first.
    pub async fn taken_ids(
        &self,
        account: &AccountId,
        besides: &DeliveryId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        read::taken_ids(&self.inner.readers, account, besides, since, limit).await
    }

    /// The newest broadcast of the alert that overtakes a delivery: it has its own word for the account and the recipient.
    pub async fn newer(&self, delivery: &DeliveryId) -> Result<Option<BroadcastId>, StoreError> {
        read::newer(&self.inner.readers, delivery).await
    }

    /// Whether a broadcast has a delivery or a retraction that is open, or a list on its way; confirmations are not
    /// counted.
    pub async fn is_open(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        read::is_open(&self.inner.readers, broadcast).await
    }

    /// Which of the confirmations of a broadcast that is open have been written.
    pub async fn told(&self, broadcast: &BroadcastId) -> Result<Vec<Purpose>, StoreError> {
        read::told(&self.inner.readers, broadcast).await
    }

    /// Returns when the writer has got through a transaction: it lives, and the database takes writes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Request::Ping).await
    }

    /// How many confirmation mails are in which state, of broadcasts that are open or younger than `age`.
    pub async fn confirmations(&self, age: Duration) -> Result<Vec<(State, u64)>, StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let since = self.inner.clock.now().as_microsecond().saturating_sub(age);
        read::confirmations(&self.inner.readers, from_micros(since)).await
    }

    /// Keeps what a service tells later of a message that it took, and settles by it what nobody knew the fate of.
    pub async fn record_arrival(
        &self,
        account: AccountId,
        arrival: Arrival,
        at: Timestamp,
    ) -> Result<Noted, StoreError> {
        self.ask(|reply| Request::Arrival(account, arrival, at, reply))
            .await
    }

    /// How many messages of a broadcast have come how far, by account; only accounts that something was reported of.
    pub async fn arrivals(
        &self,
        broadcast: &BroadcastId,
    ) -> Result<BTreeMap<AccountId, Arrivals>, StoreError> {
        arrival::counts(&self.inner.readers, broadcast).await
    }

    /// The broadcasts that have not finished.
    pub async fn unfinished(&self) -> Result<Vec<Broadcast>, StoreError> {
        read::unfinished(&self.inner.readers).await
    }

    /// Marks a broadcast finished if it has no open delivery (confirmations not counted) and was not finished before,
    /// and adds the confirmations in the same commit. Returns the lanes to wake, or `None` if it did not apply.
    pub async fn finish(
        &self,
        broadcast: &BroadcastId,
        at: Timestamp,
        confirmations: Vec<Extra>,
        entry: Entry,
    ) -> Result<Option<Vec<LaneId>>, StoreError> {
        let broadcast = broadcast.clone();
        self.ask(|reply| Request::Finish(broadcast, at, confirmations, entry, reply))
            .await
    }

    /// How a broadcast stands: everything but recipients, these counted by account and state, and at most `most` of them
    /// of each account, those in trouble first.
    pub async fn summary(&self, broadcast: &BroadcastId, most: usize) -> Result<Summary, StoreError> {
        summary::read(&self.inner.readers, broadcast, most).await
    }

    /// The answer to an idempotency key, if a command with this digest was accepted under it.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] if it was another command.
    pub async fn answered(&self, key: &str, digest: &str) -> Result<Option<Accepted>, StoreError> {
        read::answered(&self.inner.readers, key, digest).await
    }

    /// Accounts whose post stands in an alert, or may, because they stood in for others.
    pub async fn stood_in(
        &self,
        alert: &AlertId,
    ) -> Result<std::collections::BTreeSet<AccountId>, StoreError> {
        read::stood_in(&self.inner.readers, alert).await
    }

    /// The lanes in which something stands in for one of these deliveries, of those that have come to rest or stand in
    /// themselves.
    pub async fn stand_ins_of(&self, deliveries: &[DeliveryId]) -> Result<Vec<LaneId>, StoreError> {
        read::stand_ins_of(&self.inner.readers, deliveries).await
    }

    /// Writes a journal record on its own.
    pub async fn record(&self, entry: Entry) -> Result<i64, StoreError> {
        self.ask(|reply| Request::Record(entry, reply)).await
    }

    /// Writes something of drills. Returns the run (or drill) concerned, or `None` if it did not apply: the planned time has
    /// a run already, the run has ended.
    pub async fn drill(&self, change: DrillChange, at: Timestamp) -> Result<Option<String>, StoreError> {
        self.ask(|reply| Request::Drill(Box::new(change), at, reply))
            .await
    }

    /// The latest runs of a drill, or of all, newest first.
    pub async fn drill_runs(&self, drill: Option<&str>, limit: usize) -> Result<Vec<DrillRun>, StoreError> {
        drill::runs(&self.inner.readers, drill, limit).await
    }

    /// One run of a drill.
    pub async fn drill_run(&self, id: &str) -> Result<DrillRun, StoreError> {
        drill::run(&self.inner.readers, id).await
    }

    /// The runs that have not ended, oldest first.
    pub async fn drills_running(&self) -> Result<Vec<DrillRun>, StoreError> {
        drill::running(&self.inner.readers).await
    }

    /// Up to when each schedule has been dealt with.
    pub async fn drills_seen(&self) -> Result<Vec<DrillSeen>, StoreError> {
        drill::seen(&self.inner.readers).await
    }

    /// The number of the latest broadcast; 0 if there is none.
    pub async fn last_broadcast(&self) -> Result<i64, StoreError> {
        drill::last_broadcast(&self.inner.readers).await
    }

    /// The first live broadcast that was accepted after the one of that number.
    pub async fn live_after(&self, number: i64) -> Result<Option<BroadcastId>, StoreError> {
        drill::live_after(&self.inner.readers, number).await
    }

    /// The latest broadcast of an active live alert that is still valid.
    pub async fn live_now(&self, now: Timestamp) -> Result<Option<BroadcastId>, StoreError> {
        drill::live_now(&self.inner.readers, now).await
    }

    /// One broadcast.
    pub async fn broadcast(&self, id: &BroadcastId) -> Result<Broadcast, StoreError> {
        read::one_broadcast(&self.inner.readers, id).await
    }

    /// The latest broadcasts, newest first.
    pub async fn broadcasts(&self, limit: usize) -> Result<Vec<Broadcast>, StoreError> {
        read::broadcasts(&self.inner.readers, limit).await
    }

    /// The live broadcasts that were accepted since then, newest first, with what they said where.
    pub async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, StoreError> {
        read::recent(&self.inner.readers, since).await
    }

    /// One alert.
    pub async fn alert(&self, id: &AlertId) -> Result<Alert, StoreError> {
        read::alert(&self.inner.readers, id).await
    }

    /// Every delivery of a broadcast in their order, confirmations and retractions included: a million, if it went to as
    /// many. For tests and for lists that are known to be short; see [`Store::summary`].
    pub async fn deliveries(&self, broadcast: &BroadcastId) -> Result<Vec<Delivery>, StoreError> {
        read::deliveries(&self.inner.readers, broadcast).await
    }

    /// One delivery.
    pub async fn delivery(&self, id: &DeliveryId) -> Result<Delivery, StoreError> {
        read::one_delivery(&self.inner.readers, id).await
    }

    /// The rendering of a delivery, exactly as accepted.
    pub async fn rendering(&self, delivery: &DeliveryId) -> Result<Rendering, StoreError> {
        read::rendering(&self.inner.readers, delivery).await
    }

    /// The first rendering of a broadcast.
    pub async fn first_rendering(&self, broadcast: &BroadcastId) -> Result<Rendering, StoreError> {
        read::first_rendering(&self.inner.readers, broadcast).await
    }

    /// The bytes of a picture that a rendering names, by their digest.
    pub async fn picture(&self, sha256: &str) -> Result<Vec<u8>, StoreError> {
        picture::read(&self.inner.readers, sha256).await
    }

    /// The attempts at a delivery, oldest first.
    pub async fn attempts(&self, delivery: &DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        read::attempts(&self.inner.readers, delivery).await
    }

    /// Deliveries per state and mode, over unfinished broadcasts and those of the last `window`.
    pub async fn counts(&self, window: Duration) -> Result<Vec<(Mode, State, u64)>, StoreError> {
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let since = self.inner.clock.now().as_microsecond().saturating_sub(window);
        read::counts(&self.inner.readers, from_micros(since)).await
    }

    /// Journal records with a sequence above `after`, oldest first; of one broadcast if given.
    pub async fn journal(
        &self,
        after: i64,
        limit: usize,
        broadcast: Option<&BroadcastId>,
    ) -> Result<Vec<Record>, StoreError> {
        journal::read(&self.inner.readers, after, limit, broadcast).await
    }

    /// What the journal says of the last start.
    pub async fn last_start(&self) -> Result<Option<serde_json::Value>, StoreError> {
        let rows = self.inner.readers.fetch(sql::LAST_START, vec![]).await?;
        let body = rows.first().map(|row| row.text(0)).transpose()?;
        Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
    }

    /// The last record's sequence and hash.
    pub async fn journal_head(&self) -> Result<(i64, String), StoreError> {
        journal::head(&self.inner.readers).await
    }

    /// Walks the whole chain.
    pub async fn verify_journal(&self) -> Result<ChainReport, StoreError> {
        journal::verify(&self.inner.readers).await
    }

    /// Writes a consistent copy, marked as a backup, to a file that must not exist. SQLite only.
    pub async fn backup(&self, to: &std::path::Path) -> Result<(), StoreError> {
        backup::write(&self.inner.engine, to, self.inner.clock.now()).await
    }

    /// Hears of every committed change. A slow listener misses some and is told so.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<Changed> {
        self.inner.listeners.subscribe()
    }

    /// Asks the writer and waits for its answer, which comes after the commit.
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inner.inbox.send(request(reply)).await;
        sent.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Every SQL text with its name, as its engine gets it, for the test that prepares each on both.
    #[doc(hidden)]
    pub fn statements(&self) -> Vec<(String, String)> {
        sql::every(match self.inner.engine {
            Engine::Lite(_) => sql::Placeholders::Counted,
            Engine::Pg(_) => sql::Placeholders::Numbered,
        })
    }
}
