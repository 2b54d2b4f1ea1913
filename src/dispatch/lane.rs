//! One lane: the only task that decides what happens to the deliveries of one account in one mode. It waits for events,
//! does all that can be done, and sleeps until something can be done again. What takes time (a call of the channel, a
//! write) runs beside it and comes back as an event.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use metrics::gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use self::answers::Done;
use super::decide::{Facts, Verdict};
use super::gates::Gates;
use super::queue::{Key, Rank, Sorted};
use super::shared::{Handle, Shared};
use super::{LanePlan, leases};
use crate::channel::Pace;
use crate::clock::{Timestamp, later, until};
use crate::model::{Actor, BroadcastId, Delivery, DeliveryId, LaneId, Mode, Reason, State, Work};
use crate::store::{AttemptChange, Change, LaneNotes, Lease, StoreError};

mod answers;
mod head;
mod start;

/// A lane with nothing to do ends after this; the next wake starts it again.
const IDLE: Duration = Duration::from_mins(1);
/// A lane in which something waits looks again after this even if no timer runs out: the wall clock may have jumped.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// How much of the queue is read at once.
const WINDOW: usize = 512;
/// Waits after a failure of the store, or of our own.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// Farther ahead than any timer needs to reach.
const FAR: Duration = Duration::from_hours(365 * 24);

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing to do, told to stop, or another node's: not to be started by itself.
    Done,
    /// By a fault of ours: to be started again.
    Fault,
}

/// Runs a lane; starts it again if it dies of a fault of ours. Nothing dies silently.
pub(super) async fn supervise(
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    lease: Lease,
    mut head: Option<Vec<Work>>,
) {
    let id = lease.lane.clone();
    let mut lease = Some(lease);
    let mut wait = RETRY_FIRST;
    loop {
        if let Some(lease) = lease.take() {
            let lane = Lane::new(Arc::clone(&shared), Arc::clone(&handle), lease, head.take());
            let run = AssertUnwindSafe(lane.run()).catch_unwind();
            let end = tokio::select! {
                biased;
                () = shared.abandon.cancelled() => break,
                end = run => end,
            };
            if let Ok(End::Done) = end {
                break;
            }
            tracing::error!(account.id = %id.account, mode = %id.mode, "the lane died of a fault; starting it again");
        }
        handle.set_epoch(None);
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.stopping.cancelled() => break,
        }
        wait = (wait * 2).min(RETRY_LONGEST);
        // Taken anew: what the dead lane had under way becomes unknown and is settled.
        let taken = tokio::select! {
            biased;
            () = shared.stopping.cancelled() => break,
            taken = leases::take(&shared, std::slice::from_ref(&id), false) => taken,
        };
        match taken {
            Ok(mut leases) => {
                lease = leases.pop();
                if lease.is_none() {
                    shared.fenced(&id);
                    break;
                }
                handle.set_epoch(lease.as_ref().map(|lease| lease.epoch));
                handle.wake();
            }
            Err(StoreError::Closed) => break,
            Err(error) => {
                tracing::error!(account.id = %id.account, error = %error, "the lane cannot be taken");
            }
        }
    }
    gauge!("vardkase_lane_state", "account" => id.account.to_string(), "mode" => id.mode.as_str()).set(0.0);
    handle.set_epoch(None);
    let mut lanes = shared.lanes();
    if lanes.get(&id).is_some_and(|known| Arc::ptr_eq(known, &handle)) {
        lanes.remove(&id);
    }
}

/// How often, and when next, an unknown attempt is asked after.
#[derive(Debug, Clone, Copy)]
struct Inquiry {
    tries: u32,
    due: Instant,
    /// Lost by this process, not by a crash.
    lost_here: bool,
    /// One moment on both clocks, since when the attempt is known here.
    known: (Instant, Timestamp),
}

/// The state of a running lane.
struct Lane {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    id: LaneId,
    epoch: i64,
    /// When this task began, on both clocks.
    began: (Instant, Timestamp),
    /// The account's plan, or why there is none. Asked for anew when `None`.
    plan: Option<Result<LanePlan, Reason>>,
    gates: Gates,
    /// The head as it was read for the lane when it was taken.
    given: Option<Vec<Work>>,
    /// The head as last read, without what was taken from it since.
    sorted: Sorted,
    /// Its waiting deliveries, in order.
    ready: VecDeque<Work>,
    blocked_keys: HashSet<Key>,
    /// When waiting deliveries are due, on the monotonic clock.
    due: HashMap<DeliveryId, (Timestamp, Instant)>,
    inquiries: HashMap<DeliveryId, Inquiry>,
    /// How often a waiting delivery has failed in a row. Not its attempts: after a person's retry it begins anew.
    failed: HashMap<DeliveryId, u32>,
    /// Deliveries that a task of ours works on, from before their start is on disk until after their end is.
    busy: HashMap<DeliveryId, (Key, Rank)>,
    /// Attempts that start or run, and of which broadcast they are.
    in_flight: usize,
    in_flight_broadcast: Option<BroadcastId>,
    /// Settlings that run or are being written.
    settling: usize,
    /// Attempts of unknown outcome that are being written.
    losing: usize,
    tasks: JoinSet<Done>,
    /// The head must be read before anything else is decided.
    dirty: bool,
    window: usize,
    /// There is more behind the window.
    refill: bool,
    read_at: Instant,
    earliest_deadline: Option<Timestamp>,
    store_failures: u32,
    store_retry: Option<Instant>,
    paced: bool,
    idle_since: Option<Instant>,
    /// The next time that something can be done.
    wake_at: Option<Instant>,
    /// The state last told to the metrics: 0 idle, 1 at work, 2 waiting, 3 kept from it by the breaker.
    reported: Option<u8>,
    unwritten: watch::Receiver<usize>,
    live: watch::Receiver<usize>,
}

enum Wake {
    Done(Option<Result<Done, tokio::task::JoinError>>),
    Look,
}

impl Lane {
    fn new(shared: Arc<Shared>, handle: Arc<Handle>, lease: Lease, given: Option<Vec<Work>>) -> Self {
        let now = Instant::now();
        let wall = shared.clock.now();
        let unlimited = Pace {
            attempts: 0,
            per: Duration::ZERO,
            burst: 0,
            parallel: 1,
        };
        let mut gates = Gates::restore(&lease.notes, unlimited, now, wall);
        gates.wake_from_rest();
        Self {
            gates,
            given,
            unwritten: shared.watch_unwritten(),
            live: shared.watch_live(),
            shared,
            handle,
            id: lease.lane,
            epoch: lease.epoch,
            began: (now, wall),
            plan: None,
            sorted: Sorted::default(),
            ready: VecDeque::new(),
            blocked_keys: HashSet::new(),
            due: HashMap::new(),
            inquiries: HashMap::new(),
            failed: HashMap::new(),
            busy: HashMap::new(),
            in_flight: 0,
            in_flight_broadcast: None,
            settling: 0,
            losing: 0,
            tasks: JoinSet::new(),
            dirty: true,
            window: WINDOW,
            refill: false,
            read_at: now,
            earliest_deadline: None,
            store_failures: 0,
            store_retry: None,
            paced: false,
            idle_since: None,
            wake_at: None,
            reported: None,
        }
    }

    async fn run(mut self) -> End {
        loop {
            self.wake_at = None;
            if self.is_ending() {
                if self.tasks.is_empty() {
                    return End::Done;
                }
            } else {
                self.pump().await;
            }
            if !self.is_ending() && self.retire() {
                return End::Done;
            }
            self.report();
            match self.wait().await {
                Wake::Done(Some(Ok(done))) => self.take(done),
                // Our own code around the channel failed: what this lane believes can no longer be trusted.
                Wake::Done(Some(Err(_))) => return End::Fault,
                Wake::Done(None) | Wake::Look => {}
            }
        }
    }

    /// Does all that can be done now.
    async fn pump(&mut self) {
        if self.handle.reload.swap(false, Ordering::SeqCst) {
            self.plan = None;
        }
        if self.handle.take_woken() {
            self.dirty = true;
            self.given = None;
            self.gates.wake_from_rest();
            if matches!(self.plan, Some(Err(_))) {
                self.plan = None;
            }
        }
        self.ask_for_plan();
        let overdue = self
            .earliest_deadline
            .is_some_and(|deadline| self.wall() >= deadline);
        if overdue || (self.has_waiting() && self.read_at.elapsed() >= LOOK_AGAIN) {
            self.dirty = true;
        }
        loop {
            if self.dirty && !self.read_head().await {
                break;
            }
            self.settle_due();
            if !self.must_settle_first() {
                self.start_due();
            }
            if !self.dirty || self.is_ending() {
                break;
            }
        }
        // What could not be read tells nothing: a deadline that has passed would be a timer that never rests.
        if let (Some(deadline), false) = (self.earliest_deadline, self.dirty) {
            let at = Instant::now() + until(self.wall(), deadline).min(FAR);
            self.note_wake(at);
        }
        if self.has_waiting() && !self.dirty {
            self.note_wake(self.read_at + LOOK_AGAIN);
        }
        self.handle.set_hot(!self.tasks.is_empty() || self.paced);
    }

    async fn wait(&mut self) -> Wake {
        let timer = async {
            match self.wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ending = self.shared.stopping.is_cancelled() || self.handle.fenced.is_cancelled();
        tokio::select! {
            done = self.tasks.join_next(), if !self.tasks.is_empty() => Wake::Done(done),
            () = self.handle.notify.notified() => Wake::Look,
            () = timer, if !ending => Wake::Look,
            _ = self.unwritten.changed() => Wake::Look,
            _ = self.live.changed(), if self.id.mode != Mode::Live => Wake::Look,
            () = self.shared.stopping.cancelled(), if !ending => Wake::Look,
            () = self.handle.fenced.cancelled(), if !ending => Wake::Look,
        }
    }

    /// Ends an idle lane, unless it is woken at the same moment.
    fn retire(&mut self) -> bool {
        if !self.tasks.is_empty() || self.has_waiting() || self.dirty {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() < IDLE {
            self.note_wake(since + IDLE);
            return false;
        }
        let mut lanes = self.shared.lanes();
        if self.handle.is_woken() {
            return false;
        }
        lanes.remove(&self.id);
        true
    }

    fn is_ending(&self) -> bool {
        self.shared.stopping.is_cancelled() || self.handle.fenced.is_cancelled()
    }

    fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || !self.sorted.is_empty()
    }

    /// Whether an unknown attempt goes before everything else now. One whose next inquiry lies ahead does not hold up
    /// other alerts.
    fn must_settle_first(&self) -> bool {
        let now = Instant::now();
        self.settling > 0
            || self.losing > 0
            || self
                .sorted
                .unknown
                .iter()
                .any(|work| self.inquiry_due(work, now) <= now)
    }

    fn inquiry_due(&self, work: &Work, now: Instant) -> Instant {
        self.inquiries
            .get(&work.delivery.id)
            .map_or(now, |inquiry| inquiry.due)
    }

    fn ask_for_plan(&mut self) {
        if self.plan.is_some() {
            return;
        }
        let plan = match self.shared.accounts.plan(&self.id) {
            None => Err(Reason::new(
                "no-account",
                format!(
                    "the configuration has no account {}; add it or cancel the delivery",
                    self.id.account
                ),
            )),
            Some(plan) => match &plan.channel {
                Ok(_) => Ok(plan),
                Err(reason) => Err(reason.clone()),
            },
        };
        if let Ok(plan) = &plan {
            self.gates.pace(plan.pace, Instant::now());
        }
        self.plan = Some(plan);
    }

    /// What a decision on a delivery of the lane rests on.
    fn facts<'a>(&self, plan: &'a Result<LanePlan, Reason>, newer: bool) -> Facts<'a> {
        let (now, wall) = (Instant::now(), self.wall());
        Facts {
            now: wall,
            lane: self.id.mode,
            plan: plan.as_ref().map(|plan| plan.side.mode()),
            newer,
            busy_until: self
                .gates
                .busy_until(now)
                .map(|until| later(wall, until.saturating_duration_since(now))),
        }
    }

    fn change(
        &self,
        delivery: &Delivery,
        from: State,
        verdict: Verdict,
        attempt: Option<AttemptChange>,
        lane_notes: Option<LaneNotes>,
    ) -> Change {
        Change {
            delivery: delivery.id.clone(),
            fence: Some((self.id.clone(), self.epoch)),
            from,
            event: verdict.event,
            at: self.wall(),
            actor: Actor::daemon(),
            attempt,
            not_before: verdict.not_before,
            receipt: verdict.receipt,
            error: verdict.error,
            note: verdict.note,
            lane_notes,
        }
    }

    /// What the store says to a write of this lane, where it is not a plain yes.
    fn heed(&mut self, delivery: &DeliveryId, error: &StoreError) {
        self.dirty = true;
        match error {
            StoreError::Fenced(_) => {
                if !self.handle.fenced.is_cancelled() {
                    tracing::error!(account.id = %self.id.account, mode = %self.id.mode, "another node has taken the lane");
                }
                self.shared.fenced(&self.id);
            }
            StoreError::Closed => {
                self.handle.fenced.cancel();
                if !self.shared.stopping.is_cancelled() {
                    self.shared.fail("the store is closed".to_owned());
                }
            }
            StoreError::Engine(error) => {
                tracing::error!(account.id = %self.id.account, delivery.id = %delivery, error = %error, "the store failed; trying again");
                self.back_off_store();
            }
            // A person was faster.
            StoreError::Moved { .. } => {}
            StoreError::Transition(_)
            | StoreError::Outcome { .. }
            | StoreError::NotFound(_)
            | StoreError::KeyReused(_)
            | StoreError::Conflict(_)
            | StoreError::Migration(_) => {
                tracing::error!(account.id = %self.id.account, delivery.id = %delivery, error = %error, "the store refused a step");
                self.back_off_store();
            }
        }
    }

    fn back_off_store(&mut self) {
        let wait = RETRY_FIRST
            .saturating_mul(1 << self.store_failures.min(8))
            .min(RETRY_LONGEST);
        self.store_failures = self.store_failures.saturating_add(1);
        self.store_retry = Some(Instant::now() + wait);
    }

    fn note_wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }

    fn wall(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn report(&mut self) {
        let state = if self.gates.is_broken(Instant::now()) {
            3
        } else if !self.tasks.is_empty() {
            1
        } else if self.has_waiting() {
            2
        } else {
            0
        };
        if self.reported == Some(state) {
            return;
        }
        self.reported = Some(state);
        gauge!("vardkase_lane_breaker_open", "account" => self.id.account.to_string(), "mode" => self.id.mode.as_str())
            .set(f64::from(u8::from(state == 3)));
        gauge!("vardkase_lane_state", "account" => self.id.account.to_string(), "mode" => self.id.mode.as_str())
            .set(f64::from(state));
    }
}
