//! The store: the only module that knows SQL. One text serves SQLite and PostgreSQL.
//!
//! All writes go through one writer that groups what waits: statements as multi-row statements, and one commit (one
//! flush) for the group. A method that writes returns after the commit. Cancelling its future does not undo the write.
//! Every lane write names the lane's epoch; a node that lost the lease writes nothing and is told [`StoreError::Fenced`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::db::{Engine, Readers};
use self::writer::{DecideLists, Reply, Request, Writer};

use crate::clock::{SharedClock, Timestamp, from_micros};
use crate::config::Database;
use crate::model::{
    AccountId, Actor, AlertId, AlertState, Arrival, Arrivals, Broadcast, BroadcastId, Delivery, DeliveryId,
    Event, ExpansionState, Kind, LaneId, MessageId, Mode, Proof, Purpose, Reason, Receipt, Recipient,
    Rendering, State, Work, WrongTransition,
};

mod accept;
mod arrival;
mod backup;
mod change;
mod db;
mod expand;
mod extra;
mod file;
mod journal;
mod lanes;
mod migrate;
mod read;
mod restore;
mod sql;
mod step;
mod summary;
mod suppress;
mod tally;
mod writer;

pub use expand::{CHUNK, Forgotten, ListDecision};
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
    /// The same idempotency key came with another body.
    #[error("the idempotency key {0:?} was used before with another request")]
    KeyReused(String),
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

/// The alert that a broadcast goes under.
#[derive(Debug, Clone)]
pub enum Under {
    /// A new one; the store numbers it within the year of the municipality's zone.
    New {
        /// For the number.
        year: i16,
    },
    /// One that exists, active, of the same mode.
    Existing(AlertId),
}

/// One account (and recipient) of an acceptance.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// Index into [`Acceptance::renderings`].
    pub rendering: usize,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// The state from birth: `Queued`, or `Manual` for accounts that a person serves.
    pub state: State,
    /// No attempt before it (accounts that wait for the first stage, or stand in for another).
    pub not_before: Timestamp,
    /// What it is for: [`Purpose::Publish`], or what is done to a post of the account.
    pub purpose: Purpose,
    /// What it acts on, or stands in for.
    pub target: Option<Target>,
    /// Index of the rendering that goes unless [`Store::release`] comes first.
    pub alternative: Option<usize>,
}

/// The delivery that another one is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One that exists.
    Delivery(DeliveryId),
    /// The one of the same acceptance that publishes on this account, for the same recipient if that has one.
    Account(AccountId),
}

/// How the first stage ended, for those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is out and answers: the others go with their own text.
    Answers,
    /// It will not come: the others go now, with the alternative.
    Failed,
}

/// A list that was put into the database for an acceptance, in chunks of at most [`CHUNK`] recipients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StagedList {
    /// The name under which [`Store::stage`] has written it.
    pub id: String,
    /// SHA-256 over the addresses, each with a line feed, hex.
    pub digest: String,
    /// How many chunks it has, from 0 on.
    pub chunks: u64,
    /// How many addresses; one that stands twice counts twice.
    pub entries: u64,
    /// Lines that could not be read.
    pub faults: u64,
    /// The first of them: file, line, what is wrong. Never an address.
    pub named: Vec<String>,
}

/// A list account of an acceptance whose recipients are made into deliveries afterwards, chunk by chunk.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What is the same for all of them; its `recipient` is `None`. With a target, its account is stood in for.
    pub each: Destination,
    /// The list, or why nobody of it can be reached.
    pub list: Result<StagedList, Reason>,
}

/// A list on its way into deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Its number.
    pub id: i64,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// The alert.
    pub alert: AlertId,
    /// What the broadcast does.
    pub kind: Kind,
    /// The account, and the broadcast's mode.
    pub lane: LaneId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// The account that it stands in for.
    pub stands_in_for: Option<AccountId>,
    /// The rendering.
    pub rendering: i64,
    /// What goes instead while the first stage has not been seen to answer.
    pub alternative: Option<i64>,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// No attempt before it.
    pub not_before: Timestamp,
    /// No attempt at or after it.
    pub deadline: Timestamp,
    /// The list, by the name under which it was staged.
    pub list: String,
    /// The digest of the list.
    pub digest: String,
    /// How many chunks the list has.
    pub chunks: u64,
    /// The next one.
    pub next: u64,
    /// How many addresses the list has.
    pub entries: u64,
    /// How many of them have had their turn.
    pub taken: u64,
    /// How many deliveries came of them.
    pub made: u64,
    /// Addresses that had stood in the list before.
    pub repeated: u64,
    /// Addresses that get nothing more.
    pub suppressed: u64,
    /// Addresses that the account that is stood in for does not serve.
    pub unpaired: u64,
    /// Lines of the list that could not be read.
    pub faults: u64,
    /// Where it stands.
    pub state: ExpansionState,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it did not come to its end.
    pub error: Option<Reason>,
}

/// What one step of expanding did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The lanes that have something to do now.
    pub lanes: Vec<LaneId>,
    /// Whether there may be more to do at once.
    pub more: bool,
    /// Whether something waits, for a lane that has enough before it.
    pub waits: bool,
}

/// A recipient that gets nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Who.
    pub recipient: Recipient,
    /// On which account; on all if `None`.
    pub account: Option<AccountId>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// All that one accepted command writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The alert.
    pub under: Under,
    /// What it does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// The prepared message and its version.
    pub message: MessageId,
    /// The message's version.
    pub message_version: u32,
    /// The headline in the first language.
    pub headline: String,
    /// Who sends.
    pub actor: Actor,
    /// Now.
    pub at: Timestamp,
    /// No attempt at or after it.
    pub valid_until: Timestamp,
    /// The distinct renderings.
    pub renderings: Vec<Rendering>,
    /// Where to.
    pub destinations: Vec<Destination>,
    /// Lists whose recipients are made into deliveries afterwards.
    pub lists: Vec<Listed>,
    /// The caller's key and the digest of the request.
    pub idempotency: Option<(String, String)>,
    /// What else belongs into the journal record of the command: fields, findings, link check, configuration digest.
    pub journal: serde_json::Value,
}

/// What an acceptance gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Whether an earlier request with the same key had already been accepted: this is its answer.
    pub repeated: bool,
    /// The lanes that have something to do now.
    pub lanes: Vec<LaneId>,
}

/// A node's right to work a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lane.
    pub lane: LaneId,
    /// Raised each time the lane is taken. Part of every write.
    pub epoch: i64,
    /// What the last owner left: see [`LaneNotes`].
    pub notes: LaneNotes,
}

/// How much of each lane [`Store::heads`] reads at most.
pub const FIRST: usize = 32;

/// What a lane must remember across a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneNotes {
    /// The service asked us to leave it alone until then.
    pub busy_until: Option<Timestamp>,
    /// The circuit breaker lets nothing through before then.
    pub open_until: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the breaker is open.
    pub reason: Option<Reason>,
    /// When the latest attempts began, newest first, at most 200: what the rate limiter must count. Filled when a lease
    /// is taken, from the attempts on disk; ignored when written.
    pub recent: Vec<Timestamp>,
}

/// How an attempt changes with a delivery's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptChange {
    /// It begins: a row, before the first byte.
    Start,
    /// It ends: `published`, `not-sent`, `busy`, `credential`, `refused` or `unknown`.
    End {
        /// The outcome's word.
        outcome: &'static str,
    },
}

/// One step of one delivery.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The lane and its epoch, if a lane makes the change; `None` if a person does.
    pub fence: Option<(LaneId, i64)>,
    /// The state that it must be in.
    pub from: State,
    /// What happens. Must be in the table.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The attempt's part: `Start` raises the delivery's attempt number; `End` closes the attempt of that number.
    pub attempt: Option<AttemptChange>,
    /// The next time that anything may be done with it; unchanged if `None`.
    pub not_before: Option<Timestamp>,
    /// What the service gave; kept as it was if `None`.
    pub receipt: Option<Receipt>,
    /// What went wrong; cleared if `None`.
    pub error: Option<Reason>,
    /// What else belongs into the journal record (a person's reason, how it was settled).
    pub note: Option<serde_json::Value>,
    /// What the lane remembers, if that changed.
    pub lane_notes: Option<LaneNotes>,
}

/// What stands of an alert on an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The latest post.
    pub post: Option<DeliveryId>,
    /// Posts that are pinned.
    pub pinned: Vec<DeliveryId>,
}

/// What a step of an attempt gave: see [`crate::model::Steps`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMade {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Its lane.
    pub lane: LaneId,
    /// The lane's epoch.
    pub epoch: i64,
    /// The step's name; a later value takes the place of an earlier one.
    pub name: String,
    /// What it gave: an id of the service, never a secret.
    pub value: String,
    /// When.
    pub at: Timestamp,
}

/// A delivery beside those of the acceptance: a retraction or a confirmation.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// The lane's mode.
    pub mode: Mode,
    /// What it is for.
    pub purpose: Purpose,
    /// For a retraction, the delivery whose post is to go.
    pub target: Option<DeliveryId>,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// What to send; for a retraction the published rendering is used and this is `None`.
    pub rendering: Option<Rendering>,
    /// The state from birth.
    pub state: State,
    /// No attempt at or after it.
    pub deadline: Timestamp,
}

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Running number from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What: `start`, `stop`, `reload`, `accept`, `attempt`, `outcome`, `settle`, `decision`, `confirmation`, `finish`,
    /// `credential`, `restore`, …
    pub kind: String,
    /// The broadcast that it is about.
    pub broadcast: Option<BroadcastId>,
    /// The delivery that it is about.
    pub delivery: Option<DeliveryId>,
    /// The rest, as JSON; byte for byte what was hashed.
    pub body: String,
    /// SHA-256 over the record and the hash before it, hex.
    pub hash: String,
}

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: &'static str,
    /// The broadcast that it is about.
    pub broadcast: Option<BroadcastId>,
    /// The delivery that it is about.
    pub delivery: Option<DeliveryId>,
    /// The rest; an object. Must hold nothing secret.
    pub body: serde_json::Value,
}

/// What walking the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainReport {
    /// Records walked.
    pub records: i64,
    /// The last hash.
    pub head: String,
    /// The first record that does not fit, and why.
    pub broken: Option<(i64, String)>,
}

/// An attempt as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1 within its delivery.
    pub number: u32,
    /// When it was on disk, before the first byte.
    pub started_at: Timestamp,
    /// When its outcome was on disk; `None` while unknown after a crash.
    pub finished_at: Option<Timestamp>,
    /// `published`, `not-sent`, `busy`, `credential`, `refused`, `unknown`; `None` while it runs.
    pub outcome: Option<String>,
    /// What went wrong.
    pub error: Option<Reason>,
}

/// An alert with its broadcasts, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whom it is for.
    pub mode: Mode,
    /// Whether it still stands.
    pub state: AlertState,
    /// Its broadcasts, oldest first.
    pub broadcasts: Vec<Broadcast>,
}

/// Told to subscribers after each commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The broadcast concerned.
    pub broadcast: BroadcastId,
    /// The delivery concerned; `None` when the broadcast itself changed (accepted, finished).
    pub delivery: Option<DeliveryId>,
    /// The delivery's state now.
    pub state: Option<State>,
}

/// What a database copy that was started for the first time says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// The database belongs to this data directory.
    Own,
    /// It is a backup, or came from another data directory: everything unsent is now held.
    Restored {
        /// How many deliveries were held.
        held: u64,
    },
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

    /// Whether a broadcast has a delivery or a retraction that is open, or a list on its way; confirmations are not
    /// counted.
    pub async fn is_open(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        read::is_open(&self.inner.readers, broadcast).await
    }

    /// Whether a confirmation of a broadcast has been written: interim or final.
    pub async fn is_told(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        read::is_told(&self.inner.readers, broadcast).await
    }

    /// Returns when the writer has got through a transaction: it lives, and the database takes writes.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.ask(Request::Ping).await
    }

    /// Keeps what a service tells later of a message that it took. Returns whether it was new.
    pub async fn record_arrival(&self, arrival: Arrival, at: Timestamp) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Arrival(arrival, at, reply)).await
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

    /// Leaves a recipient out of all later broadcasts, with the reason; with `None`, takes it in again on every account.
    /// Returns whether anything changed; the journal record is written only then.
    pub async fn suppress(
        &self,
        recipient: Recipient,
        reason: Option<Reason>,
        entry: Entry,
    ) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Suppress(recipient, reason, entry, reply))
            .await
    }

    /// Puts chunks of a list into the database, from number `first` on, each a JSON array of addresses. Under a name that
    /// is used for nothing else: what no acceptance takes up is removed by [`Store::forget_lists`].
    pub async fn stage(
        &self,
        list: &str,
        first: u64,
        bodies: Vec<String>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let list = list.to_owned();
        self.ask(|reply| Request::StageList(list, first, bodies, at, reply))
            .await
    }

    /// Makes one chunk of one list into deliveries, and moves its mark in the same commit.
    pub async fn expand(&self, at: Timestamp) -> Result<Expanded, StoreError> {
        self.ask(|reply| Request::Expand(at, reply)).await
    }

    /// Removes a part of what is left of a list that nothing needs any more and nobody has written to since `before`.
    pub async fn forget_lists(&self, before: Timestamp) -> Result<Forgotten, StoreError> {
        self.ask(|reply| Request::Forget(before, reply)).await
    }

    /// Stops what is on its way of a broadcast's lists, or lets it go on; on these accounts, or on all. Returns the
    /// accounts concerned.
    pub async fn decide_lists(
        &self,
        broadcast: &BroadcastId,
        accounts: &[AccountId],
        decision: ListDecision,
        at: Timestamp,
        actor: Actor,
    ) -> Result<Vec<AccountId>, StoreError> {
        let asked = DecideLists {
            broadcast: broadcast.clone(),
            accounts: accounts.to_vec(),
            decision,
            at,
            actor,
        };
        self.ask(|reply| Request::Decide(asked, reply)).await
    }

    /// The lists of a broadcast and how far they have come.
    pub async fn expansions(&self, broadcast: &BroadcastId) -> Result<Vec<Expansion>, StoreError> {
        summary::expansions(&self.inner.readers, broadcast).await
    }

    /// How a broadcast stands: everything but recipients, these counted by account and state, and at most `most` of them
    /// of each account, those in trouble first.
    pub async fn summary(&self, broadcast: &BroadcastId, most: usize) -> Result<Summary, StoreError> {
        summary::read(&self.inner.readers, broadcast, most).await
    }

    /// The accounts of a broadcast that have recipients.
    pub async fn listed_accounts(&self, broadcast: &BroadcastId) -> Result<Vec<AccountId>, StoreError> {
        summary::accounts(&self.inner.readers, broadcast).await
    }

    /// The recipients' deliveries of an account in their order, after the one numbered `after`, at most `limit`; with
    /// the number of the last one.
    pub async fn listed(
        &self,
        broadcast: &BroadcastId,
        account: &AccountId,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<Delivery>, i64), StoreError> {
        summary::listed(&self.inner.readers, broadcast, account, after, limit).await
    }

    /// Whether the answer to an idempotency key is known: the command need not be worked out again.
    pub async fn is_repeated(&self, key: &str) -> Result<bool, StoreError> {
        read::is_repeated(&self.inner.readers, key).await
    }

    /// The lanes in which something stands in for one of these deliveries.
    pub async fn stand_ins_of(&self, deliveries: &[DeliveryId]) -> Result<Vec<LaneId>, StoreError> {
        read::stand_ins_of(&self.inner.readers, deliveries).await
    }

    /// Who is left out, the latest first.
    pub async fn suppressed(&self, limit: usize) -> Result<Vec<Suppressed>, StoreError> {
        read::suppressed(&self.inner.readers, limit).await
    }

    /// Writes a journal record on its own.
    pub async fn record(&self, entry: Entry) -> Result<i64, StoreError> {
        self.ask(|reply| Request::Record(entry, reply)).await
    }

    /// One broadcast.
    pub async fn broadcast(&self, id: &BroadcastId) -> Result<Broadcast, StoreError> {
        read::one_broadcast(&self.inner.readers, id).await
    }

    /// The latest broadcasts, newest first.
    pub async fn broadcasts(&self, limit: usize) -> Result<Vec<Broadcast>, StoreError> {
        read::broadcasts(&self.inner.readers, limit).await
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
