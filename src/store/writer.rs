//! The one writer. It takes what waits, as it comes, and makes one transaction of it: one flush for the group. Everybody
//! is answered after the commit; if the commit fails, everybody is told so and nothing of the group is there.

use tokio::sync::{broadcast, mpsc, oneshot};

use super::change;
use super::db::{Conn, Engine};
use super::journal::Chain;
use super::{
    Acceptance, Accepted, Change, Changed, Entry, Expanded, Extra, Forgotten, LaneNotes, Lease, ListDecision,
    Opened, Recall, Stage, StepMade, StoreError, accept, arrival, condition, drill, expand, extra, lanes,
    mail, planned, recall, register, restore, set_back, sql, suppress, switches, tally,
};
use crate::clock::{SharedClock, Timestamp};
use crate::failpoint;
use crate::model::{AccountId, Actor, Arrival, BroadcastId, LaneId, Reason, Recipient, State};

/// Requests that may wait before callers have to.
pub(super) const WAITING: usize = 4096;

/// Most requests, and about the most rows, of one group: what is flushed together must not keep anyone waiting long.
const GROUP: usize = 512;
const GROUP_ROWS: usize = 2048;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What can be asked of the writer.
#[derive(Debug)]
pub(super) enum Request {
    Accept(Box<Acceptance>, Reply<Accepted>),
    Add(Vec<Extra>, Timestamp, Option<Entry>, Reply<Vec<LaneId>>),
    Recall(Box<Recall>, Reply<Vec<LaneId>>),
    Take {
        lanes: Vec<LaneId>,
        node: String,
        until: Timestamp,
        force: bool,
        reply: Reply<Vec<Lease>>,
    },
    Inherit {
        node: String,
        owner: String,
        until: Timestamp,
        reply: Reply<()>,
    },
    Renew {
        leases: Vec<(LaneId, i64)>,
        node: String,
        until: Timestamp,
        reply: Reply<Vec<LaneId>>,
    },
    Change(Vec<Change>, oneshot::Sender<Vec<Result<State, StoreError>>>),
    Note(LaneId, i64, LaneNotes, Reply<()>),
    Step(StepMade, Reply<()>),
    Arrival(AccountId, Arrival, Timestamp, Reply<arrival::Noted>),
    Release(BroadcastId, Stage, Timestamp, Entry, Reply<Vec<LaneId>>),
    Finish(
        BroadcastId,
        Timestamp,
        Vec<Extra>,
        Entry,
        Reply<Option<Vec<LaneId>>>,
    ),
    Record(Entry, Reply<i64>),
    Suppress(Recipient, Option<AccountId>, Option<Reason>, Entry, Reply<bool>),
    Switch(AccountId, Option<String>, Entry, Reply<bool>),
    Keep(Box<condition::Keep>, Reply<condition::Kept>),
    Noticed(Vec<i64>, Timestamp, condition::Told, Vec<mail::Mail>, Reply<()>),
    Mail(Box<mail::MailChange>, Timestamp, Reply<bool>),
    ForgetObservations(Timestamp, Reply<u64>),
    StageList(String, u64, Vec<String>, Timestamp, Reply<()>),
    Expand(Timestamp, Reply<Expanded>),
    Forget(Timestamp, Reply<Forgotten>),
    Decide(DecideLists, Reply<Vec<AccountId>>),
    Register(register::Write, Timestamp, Actor, Reply<i64>),
    Drill(Box<drill::DrillChange>, Timestamp, Reply<Option<String>>),
    Plan(planned::PlanChange, Timestamp, Reply<bool>),
    Ping(Reply<()>),
    Close(oneshot::Sender<()>),
}

/// A person's decision on the lists of a broadcast.
#[derive(Debug)]
pub(super) struct DecideLists {
    pub broadcast: BroadcastId,
    pub accounts: Vec<AccountId>,
    pub decision: ListDecision,
    pub at: Timestamp,
    pub actor: Actor,
}

impl Request {
    fn rows(&self) -> usize {
        match self {
            Self::Accept(acceptance, _) => acceptance.destinations.len(),
            Self::Add(extras, ..) | Self::Finish(_, _, extras, ..) => extras.len(),
            Self::Change(changes, _) => changes.len(),
            Self::Take { lanes, .. } => lanes.len(),
            Self::Renew { leases, .. } => leases.len(),
            Self::Expand(..) | Self::Recall(..) => expand::CHUNK,
            Self::StageList(_, _, bodies, ..) => bodies.len(),
            Self::Note(..)
            | Self::Inherit { .. }
            | Self::Step(..)
            | Self::Arrival(..)
            | Self::Forget(..)
            | Self::Decide(..)
            | Self::Release(..)
            | Self::Record(..)
            | Self::Suppress(..)
            | Self::Keep(..)
            | Self::Noticed(..)
            | Self::Mail(..)
            | Self::ForgetObservations(..)
            | Self::Register(..)
            | Self::Drill(..)
            | Self::Plan(..)
            | Self::Switch(..)
            | Self::Ping(_)
            | Self::Close(_) => 1,
        }
    }
}

/// Which fail points a group passes.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "five independent marks")]
pub(super) struct Marks {
    pub accepts: bool,
    pub expands: bool,
    pub leases: bool,
    pub starts: bool,
    pub ends: bool,
}

impl Marks {
    fn before(&self) {
        self.hit(
            "accept-commit.before",
            "expansion-commit.before",
            "lease-commit.before",
            "attempt-commit.before",
            "outcome-commit.before",
        );
    }

    fn after(&self) {
        self.hit(
            "accept-commit.after",
            "expansion-commit.after",
            "lease-commit.after",
            "attempt-commit.after",
            "outcome-commit.after",
        );
    }

    fn hit(
        &self,
        accept: &'static str,
        expansion: &'static str,
        lease: &'static str,
        attempt: &'static str,
        outcome: &'static str,
    ) {
        let passed = [
            (self.accepts, accept),
            (self.expands, expansion),
            (self.leases, lease),
            (self.starts, attempt),
            (self.ends, outcome),
        ];
        for (_, name) in passed.into_iter().filter(|(passed, _)| *passed) {
            failpoint::hit(name);
        }
    }
}

/// A transaction under way. Whoever returns an error other than [`StoreError::Engine`] has written nothing.
#[derive(Debug)]
pub(super) struct Tx<'c> {
    pub conn: &'c mut Conn,
    pub chain: Chain,
    pub changed: Vec<Changed>,
    pub marks: Marks,
    pub tally: tally::Tally,
    pub now: Timestamp,
}

impl<'c> Tx<'c> {
    async fn begin(conn: &'c mut Conn, now: Timestamp) -> Result<Self, StoreError> {
        let chain = Chain::begin(conn).await?;
        Ok(Self {
            conn,
            chain,
            changed: Vec::new(),
            marks: Marks::default(),
            tally: tally::Tally::default(),
            now,
        })
    }

    async fn commit(mut self) -> Result<Vec<Changed>, Failed> {
        tally::write(&mut self).await?;
        let end = self.chain.write(self.conn).await?;
        self.marks.before();
        self.conn.commit_group(end).await.map_err(|error| Failed {
            stop: is_final(&error),
            error: uncertain(error),
        })?;
        self.marks.after();
        Ok(self.changed)
    }

    /// Raises a counter by `by` and returns its value.
    pub(super) async fn count(&mut self, name: &str, by: i64) -> Result<i64, StoreError> {
        let rows = self.conn.fetch(sql::COUNT, vec![name.into(), by.into()]).await?;
        match rows.first() {
            Some(row) => row.int(0),
            None => Err(StoreError::Engine(format!("the counter {name} gave no number"))),
        }
    }
}

/// A commit that fails on a connection may have reached the server.
fn uncertain(error: sqlx::Error) -> StoreError {
    if matches!(
        error,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)
    ) {
        return StoreError::Engine(format!(
            "the connection was lost at the commit, which may or may not have been carried out: {error}"
        ));
    }
    StoreError::from(error)
}

/// SQLite could not flush (`SQLITE_IOERR_FSYNC`, `…_DIR_FSYNC`). What the kernel then has in its cache and what is on
/// the disk are two things, and flushing again proves nothing: the writer stops, and a new start reads the truth.
fn is_final(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("1034" | "1290"))
}

/// Why a group was not written, and whether the writer can go on.
#[derive(Debug)]
struct Failed {
    error: StoreError,
    stop: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { error, stop: false }
    }
}

type Answer = Box<dyn FnOnce(Option<&StoreError>) + Send>;

fn answer<T: Send + 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Answer {
    Box::new(move |failed| {
        // A caller that has gone away changes nothing: what it asked for is done.
        reply.send(failed.map_or(result, |error| Err(error.clone()))).ok();
    })
}

#[derive(Debug)]
pub(super) struct Writer {
    pub engine: Engine,
    pub conn: Option<Conn>,
    pub clock: SharedClock,
    pub inbox: mpsc::Receiver<Request>,
    pub listeners: broadcast::Sender<Changed>,
}

impl Writer {
    /// The first transaction: whose database it is.
    pub(super) async fn settle(&mut self, node: &str) -> Result<Opened, StoreError> {
        let now = self.clock.now();
        let Some(conn) = self.conn.as_mut() else {
            return Err(StoreError::Closed);
        };
        let mut tx = Tx::begin(conn, now).await?;
        set_back::settle(&mut tx, node).await?;
        let opened = restore::settle(&mut tx, node).await?;
        tx.commit().await.map_err(|failed| failed.error)?;
        Ok(opened)
    }

    pub(super) async fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = self.inbox.recv().await else {
                break;
            };
            let (group, close) = self.gather(first).await;
            closing = close;
            if !group.is_empty() && self.commit(group).await.is_err() {
                break;
            }
        }
        self.inbox.close();
        if let Some(mut conn) = self.conn.take() {
            if let Conn::Lite(_) = conn
                && let Err(error) = conn.fetch("PRAGMA wal_checkpoint(TRUNCATE)", vec![]).await
            {
                tracing::warn!(%error, "could not empty the database's log; the next start does it");
            }
            conn.close().await;
        }
        if let Some(done) = closing {
            done.send(()).ok();
        }
    }

    /// Takes what waits, and what those who are about to run ask for meanwhile: whoever comes a moment after a group has
    /// begun waits for two flushes. When nobody runs that costs nothing; nothing is ever waited for.
    async fn gather(&mut self, first: Request) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
        let (mut group, mut rows) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(request) = next {
            if let Request::Close(done) = request {
                return (group, Some(done));
            }
            rows += request.rows();
            group.push(request);
            if group.len() >= GROUP || rows >= GROUP_ROWS {
                break;
            }
            next = self.inbox.try_recv().ok();
            if next.is_none() {
                tokio::task::yield_now().await;
                next = self.inbox.try_recv().ok();
            }
        }
        (group, None)
    }

    /// Commits a group and answers everybody. An error means that the writer must stop.
    async fn commit(&mut self, group: Vec<Request>) -> Result<(), ()> {
        let mut answers = Vec::with_capacity(group.len());
        let now = self.clock.now();
        let outcome = match self.connected().await {
            Ok(conn) => attempt(conn, now, group, &mut answers).await,
            Err(error) => {
                let error = StoreError::from(error);
                refuse(group, &error, &mut answers);
                Err(Failed::from(error))
            }
        };
        match outcome {
            Ok(changed) => {
                for answer in answers {
                    answer(None);
                }
                for change in changed {
                    // Nobody listens: nothing is lost, the store has it.
                    self.listeners.send(change).ok();
                }
                Ok(())
            }
            Err(Failed { error, stop }) => {
                tracing::error!(%error, "the database refused a group of writes; nothing of it was written");
                if stop {
                    self.conn = None;
                } else {
                    self.recover().await;
                }
                for answer in answers {
                    answer(Some(&error));
                }
                if stop { Err(()) } else { Ok(()) }
            }
        }
    }

    async fn connected(&mut self) -> Result<&mut Conn, sqlx::Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.engine.connect().await?,
        };
        Ok(self.conn.insert(conn))
    }

    /// Rolls back, or drops the connection so that the next group gets a new one.
    async fn recover(&mut self) {
        if let Some(mut conn) = self.conn.take() {
            match conn.execute("ROLLBACK", vec![]).await {
                Ok(_) => self.conn = Some(conn),
                Err(error) => tracing::debug!(%error, "the writing connection is given up"),
            }
        }
    }
}

/// Tells everybody of a group that could not even begin.
fn refuse(group: Vec<Request>, error: &StoreError, answers: &mut Vec<Answer>) {
    for request in group {
        answers.push(match request {
            Request::Accept(_, reply) => answer(reply, Err(error.clone())),
            Request::Add(.., reply)
            | Request::Recall(_, reply)
            | Request::Release(.., reply)
            | Request::Renew { reply, .. } => answer(reply, Err(error.clone())),
            Request::Take { reply, .. } => answer(reply, Err(error.clone())),
            Request::Change(changes, reply) => answer_changes(reply, vec![Err(error.clone()); changes.len()]),
            Request::Keep(_, reply) => answer(reply, Err(error.clone())),
            Request::ForgetObservations(_, reply) => answer(reply, Err(error.clone())),
            Request::Note(.., reply)
            | Request::Noticed(.., reply)
            | Request::Inherit { reply, .. }
            | Request::Step(_, reply)
            | Request::StageList(.., reply)
            | Request::Ping(reply) => answer(reply, Err(error.clone())),
            Request::Expand(_, reply) => answer(reply, Err(error.clone())),
            Request::Forget(_, reply) => answer(reply, Err(error.clone())),
            Request::Decide(_, reply) => answer(reply, Err(error.clone())),
            Request::Finish(.., reply) => answer(reply, Err(error.clone())),
            Request::Record(_, reply) | Request::Register(.., reply) => answer(reply, Err(error.clone())),
            Request::Drill(.., reply) => answer(reply, Err(error.clone())),
            Request::Arrival(.., reply) => answer(reply, Err(error.clone())),
            Request::Suppress(.., reply)
            | Request::Switch(.., reply)
            | Request::Mail(.., reply)
            | Request::Plan(.., reply) => answer(reply, Err(error.clone())),
            Request::Close(done) => Box::new(|_| drop(done)),
        });
    }
}

fn answer_changes(
    reply: oneshot::Sender<Vec<Result<State, StoreError>>>,
    results: Vec<Result<State, StoreError>>,
) -> Answer {
    Box::new(move |failed| {
        let results = match failed {
            Some(error) => results.iter().map(|_| Err(error.clone())).collect(),
            None => results,
        };
        reply.send(results).ok();
    })
}

/// Carries out a group in one transaction. `answers` gets one for every request, also when it fails.
async fn attempt(
    conn: &mut Conn,
    now: Timestamp,
    group: Vec<Request>,
    answers: &mut Vec<Answer>,
) -> Result<Vec<Changed>, Failed> {
    let mut tx = match Tx::begin(conn, now).await {
        Ok(tx) => tx,
        Err(error) => {
            refuse(group, &error, answers);
            return Err(error.into());
        }
    };
    let mut group = group.into_iter().peekable();
    while let Some(request) = group.next() {
        // The changes of neighbours go together, as rows of the same statements.
        let done = if let Request::Change(changes, reply) = request {
            let (mut all, mut replies) = (Vec::new(), Vec::new());
            let mut push = |changes: Vec<Change>, reply| {
                replies.push((changes.len(), reply));
                all.extend(changes);
            };
            push(changes, reply);
            while let Some(Request::Change(changes, reply)) =
                group.next_if(|request| matches!(request, Request::Change(..)))
            {
                push(changes, reply);
            }
            match change::apply(&mut tx, all).await {
                Ok(results) => {
                    let mut results = results.into_iter();
                    for (many, reply) in replies {
                        answers.push(answer_changes(reply, results.by_ref().take(many).collect()));
                    }
                    Ok(())
                }
                Err(error) => {
                    for (many, reply) in replies {
                        answers.push(answer_changes(reply, vec![Err(error.clone()); many]));
                    }
                    Err(error)
                }
            }
        } else {
            single(&mut tx, request, answers).await
        };
        if let Err(error) = done {
            refuse(group.collect(), &error, answers);
            return Err(error.into());
        }
    }
    tx.commit().await
}

/// Carries out one request. Errors only if the engine failed.
async fn single(tx: &mut Tx<'_>, request: Request, answers: &mut Vec<Answer>) -> Result<(), StoreError> {
    fn keep<T: Send + 'static>(
        reply: Reply<T>,
        result: Result<T, StoreError>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), StoreError> {
        let failed = match &result {
            Err(error @ StoreError::Engine(_)) => Err(error.clone()),
            Ok(_) | Err(_) => Ok(()),
        };
        answers.push(answer(reply, result));
        failed
    }
    match request {
        // Answered after a commit, like everybody: whoever asks knows that the writer still gets through.
        Request::Ping(reply) => keep(reply, Ok(()), answers),
        Request::Accept(acceptance, reply) => keep(reply, accept::accept(tx, &acceptance).await, answers),
        Request::Add(extras, at, entry, reply) => {
            keep(reply, extra::add(tx, &extras, at, entry).await, answers)
        }
        Request::Recall(asked, reply) => keep(reply, recall::recall(tx, *asked).await, answers),
        Request::Take {
            lanes: wanted,
            node,
            until,
            force,
            reply,
        } => keep(
            reply,
            lanes::take(tx, &wanted, &node, until, force).await,
            answers,
        ),
        Request::Inherit {
            node,
            owner,
            until,
            reply,
        } => keep(reply, lanes::inherit(tx, &node, &owner, until).await, answers),
        Request::Renew {
            leases,
            node,
            until,
            reply,
        } => keep(reply, lanes::renew(tx, &leases, &node, until).await, answers),
        Request::Release(broadcast, stage, at, entry, reply) => keep(
            reply,
            extra::release(tx, &broadcast, stage, at, entry).await,
            answers,
        ),
        Request::Arrival(account, arrival, at, reply) => {
            let recorded = arrival::record(tx, &account, &arrival, at).await;
            keep(reply, recorded, answers)
        }
        Request::Drill(change, at, reply) => keep(reply, drill::change(tx, *change, at).await, answers),
        Request::Plan(change, at, reply) => keep(reply, planned::change(tx, change, at).await, answers),
        Request::Step(made, reply) => keep(reply, change::made(tx, &made).await, answers),
        Request::Note(lane, epoch, notes, reply) => {
            keep(reply, lanes::note(tx.conn, &lane, epoch, &notes).await, answers)
        }
        Request::Finish(broadcast, at, confirmations, entry, reply) => {
            let finished = extra::finish(tx, &broadcast, at, &confirmations, entry).await;
            keep(reply, finished, answers)
        }
        Request::Suppress(recipient, account, reason, entry, reply) => {
            let changed = suppress::decide(tx, &recipient, account.as_ref(), reason.as_ref(), entry).await;
            keep(reply, changed, answers)
        }
        Request::Switch(account, off, entry, reply) => {
            keep(reply, switches::decide(tx, &account, off, entry).await, answers)
        }
        Request::Keep(asked, reply) => keep(reply, condition::keep(tx, &asked).await, answers),
        Request::Mail(change, at, reply) => keep(reply, mail::change(tx, *change, at).await, answers),
        Request::Noticed(notices, at, result, owed, reply) => {
            let written = condition::noticed(tx, &notices, at, &result, &owed).await;
            keep(reply, written, answers)
        }
        Request::ForgetObservations(before, reply) => {
            keep(reply, condition::forget(tx, before).await, answers)
        }
        Request::StageList(list, first, bodies, at, reply) => {
            let staged = expand::stage(tx, &list, first, bodies, at).await;
            keep(reply, staged, answers)
        }
        Request::Expand(at, reply) => keep(reply, expand::expand(tx, at).await, answers),
        Request::Forget(before, reply) => keep(reply, expand::forget(tx, before).await, answers),
        Request::Decide(asked, reply) => {
            let DecideLists {
                broadcast,
                accounts,
                decision,
                at,
                actor,
            } = asked;
            let decided = expand::decide(tx, &broadcast, &accounts, decision, at, &actor).await;
            keep(reply, decided, answers)
        }
        Request::Register(write, at, actor, reply) => {
            keep(reply, register::write(tx, write, at, actor).await, answers)
        }
        Request::Record(entry, reply) => {
            let seq = tx.chain.add(entry);
            keep(reply, Ok(seq), answers)
        }
        Request::Change(changes, reply) => {
            let results = change::apply(tx, changes).await?;
            answers.push(answer_changes(reply, results));
            Ok(())
        }
        Request::Close(done) => {
            answers.push(Box::new(move |_| drop(done)));
            Ok(())
        }
    }
}
