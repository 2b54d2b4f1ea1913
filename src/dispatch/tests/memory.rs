//! A store in memory with the same rules: the table of states, fences, one commit per call. It notes what must never
//! happen instead of letting it pass.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::{SharedClock, Timestamp};
use crate::dispatch::ledger::Ledger;
use crate::model::{
    AccountId, BroadcastId, Delivery, DeliveryId, Event, Kind, LaneId, Outcome, Purpose, Receipt, State, Work,
};
use crate::store::{AttemptChange, Change, FIRST, LaneNotes, Lease, StepMade, StoreError};

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) work: Work,
    pub(super) history: Vec<(Timestamp, Event, State)>,
    /// Start, end, outcome.
    pub(super) attempts: Vec<(Timestamp, Option<Timestamp>, Option<Outcome>)>,
}

#[derive(Debug, Clone, Default)]
struct LaneRow {
    epoch: i64,
    node: String,
    until: Timestamp,
    notes: LaneNotes,
}

#[derive(Debug, Default)]
struct Inner {
    rows: Vec<Row>,
    lanes: BTreeMap<LaneId, LaneRow>,
    wrongs: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Memory {
    inner: Mutex<Inner>,
    clock: SharedClock,
    /// How long a commit takes.
    pub(super) flush: Duration,
    /// How long the answer of which lanes are open takes to come back.
    pub(super) lag: Mutex<Duration>,
    /// Every write fails.
    pub(super) full: AtomicBool,
    /// Calls of any kind.
    pub(super) calls: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) fenced: AtomicU64,
    /// After each commit.
    pub(super) changed: Notify,
}

impl Memory {
    pub(super) fn new(clock: SharedClock, flush: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            clock,
            flush,
            lag: Mutex::default(),
            full: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn accept(&self, works: Vec<Work>) -> Vec<LaneId> {
        let mut inner = self.lock();
        let now = self.clock.now();
        let mut lanes = Vec::new();
        for work in &works {
            let lane = work.delivery.lane();
            if work.delivery.purpose == Purpose::Publish {
                for row in &mut inner.rows {
                    let old = &row.work.delivery;
                    let overtaken = old.alert == work.delivery.alert
                        && old.broadcast != work.delivery.broadcast
                        && old.lane() == lane
                        && old.purpose == Purpose::Publish
                        && matches!(old.state, State::Queued | State::Held | State::Manual);
                    if overtaken {
                        row.work.delivery.state = State::Superseded;
                        row.history.push((now, Event::Supersede, State::Superseded));
                    }
                }
            }
            if !lanes.contains(&lane) {
                lanes.push(lane);
            }
        }
        inner.rows.extend(works.into_iter().map(|work| Row {
            work,
            history: Vec::new(),
            attempts: Vec::new(),
        }));
        lanes
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.lock().rows.clone()
    }

    pub(super) fn row(&self, id: &DeliveryId) -> Row {
        self.lock()
            .rows
            .iter()
            .find(|row| row.work.delivery.id == *id)
            .unwrap()
            .clone()
    }

    pub(super) fn state(&self, id: &DeliveryId) -> State {
        self.row(id).work.delivery.state
    }

    pub(super) fn error(&self, id: &DeliveryId) -> String {
        self.row(id)
            .work
            .delivery
            .error
            .map(|reason| reason.code)
            .unwrap_or_default()
    }

    pub(super) fn any_open(&self) -> bool {
        self.lock()
            .rows
            .iter()
            .any(|row| row.work.delivery.state.is_open())
    }

    pub(super) fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }

    pub(super) fn notes(&self, lane: &LaneId) -> LaneNotes {
        self.lock().lanes[lane].notes.clone()
    }

    /// A person does something.
    pub(super) fn by_hand(&self, id: &DeliveryId, event: Event) -> LaneId {
        let mut inner = self.lock();
        let row = inner
            .rows
            .iter_mut()
            .find(|row| row.work.delivery.id == *id)
            .unwrap();
        row.work.delivery.state = row.work.delivery.state.after(event).unwrap();
        row.work.delivery.not_before = self.clock.now();
        row.work.delivery.lane()
    }

    /// Another node takes the lane by force.
    pub(super) fn usurp(&self, lane: &LaneId) {
        let mut inner = self.lock();
        let row = inner.lanes.get_mut(lane).unwrap();
        row.epoch += 1;
        row.node = "another".to_owned();
        row.until = Timestamp::MAX;
    }

    fn apply(&self, inner: &mut Inner, change: &Change) -> Result<State, StoreError> {
        if let Some((lane, epoch)) = &change.fence
            && inner.lanes.get(lane).is_none_or(|row| row.epoch != *epoch)
        {
            self.fenced.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Fenced(lane.clone()));
        }
        let Inner { rows, lanes, wrongs } = inner;
        let row = rows
            .iter_mut()
            .find(|row| row.work.delivery.id == change.delivery)
            .unwrap();
        let delivery = &mut row.work.delivery;
        if delivery.state != change.from {
            return Err(StoreError::Moved {
                delivery: delivery.id.clone(),
                expected: change.from,
                found: delivery.state,
            });
        }
        let to = match change.from.after(change.event) {
            Ok(to) => to,
            Err(wrong) => {
                wrongs.push(wrong.to_string());
                return Err(wrong.into());
            }
        };
        match &change.attempt {
            Some(AttemptChange::Start) => {
                if row.attempts.iter().any(|(_, end, _)| end.is_none()) {
                    wrongs.push(format!("{}: two attempts at once", delivery.id));
                }
                if change.at >= delivery.deadline {
                    wrongs.push(format!("{}: started after its deadline", delivery.id));
                }
                if change.at < delivery.not_before {
                    wrongs.push(format!("{}: started before its time", delivery.id));
                }
                delivery.attempts += 1;
                delivery.started_at = Some(change.at);
                row.attempts.push((change.at, None, None));
            }
            Some(AttemptChange::End { outcome }) => {
                let last = row.attempts.last_mut().unwrap();
                if !outcome.admits(change.event) {
                    wrongs.push(format!("{}: {} after {outcome}", delivery.id, change.event));
                }
                if last.1.is_some() {
                    wrongs.push(format!("{}: an attempt ended twice", delivery.id));
                }
                *last = (last.0, Some(change.at), Some(*outcome));
            }
            None => {}
        }
        if change.event == Event::Lose {
            delivery.unknown_since = delivery.unknown_since.or(delivery.started_at);
        }
        delivery.state = to;
        delivery.error.clone_from(&change.error);
        if let Some(at) = change.not_before {
            delivery.not_before = at;
        }
        if let Some(receipt) = &change.receipt {
            delivery.receipt = Some(receipt.clone());
        }
        row.history.push((change.at, change.event, to));
        if let (Some(notes), Some((lane, _))) = (&change.lane_notes, &change.fence) {
            lanes.get_mut(lane).unwrap().notes = notes.clone();
        }
        Ok(to)
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn inherit_lanes(&self, node: &str, owner: &str, until: Timestamp) -> Result<(), StoreError> {
        let earlier = format!("{node}/");
        let now = self.clock.now();
        for row in self.lock().lanes.values_mut() {
            if row.node.starts_with(&earlier) && row.until > now {
                row.epoch += 1;
                row.node = owner.to_owned();
                row.until = until;
            }
        }
        Ok(())
    }

    async fn take_lanes(
        &self,
        lanes: &[LaneId],
        node: &str,
        until: Timestamp,
        force: bool,
    ) -> Result<Vec<Lease>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(self.flush).await;
        let now = self.clock.now();
        let mut inner = self.lock();
        let mut leases = Vec::new();
        for lane in lanes {
            let row = inner.lanes.entry(lane.clone()).or_default();
            if !(force || row.node.is_empty() || row.node == node || row.until <= now) {
                continue;
            }
            row.epoch += 1;
            row.node = node.to_owned();
            row.until = until;
            let (epoch, mut notes) = (row.epoch, row.notes.clone());
            for row in inner
                .rows
                .iter_mut()
                .filter(|row| row.work.delivery.lane() == *lane)
            {
                notes.recent.extend(row.attempts.iter().map(|(start, ..)| *start));
                let delivery = &mut row.work.delivery;
                if delivery.state == State::Sending {
                    delivery.state = State::Unknown;
                    delivery.unknown_since = delivery.unknown_since.or(delivery.started_at);
                    row.history.push((now, Event::Lose, State::Unknown));
                    let last = row.attempts.last_mut().unwrap();
                    *last = (last.0, Some(now), Some(Outcome::Unknown));
                }
            }
            notes.recent.sort_unstable_by(|a, b| b.cmp(a));
            notes.recent.truncate(200);
            leases.push(Lease {
                lane: lane.clone(),
                epoch,
                notes,
            });
        }
        Ok(leases)
    }

    async fn renew_lanes(
        &self,
        leases: &[(LaneId, i64)],
        _node: &str,
        until: Timestamp,
    ) -> Result<Vec<LaneId>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(self.flush).await;
        let mut inner = self.lock();
        let mut lost = Vec::new();
        for (lane, epoch) in leases {
            match inner.lanes.get_mut(lane) {
                Some(row) if row.epoch == *epoch => row.until = until,
                Some(_) | None => lost.push(lane.clone()),
            }
        }
        Ok(lost)
    }

    async fn open_lanes(&self) -> Result<Vec<LaneId>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let lanes: std::collections::BTreeSet<LaneId> = {
            let inner = self.lock();
            let open = inner.rows.iter().filter(|row| row.work.delivery.state.is_open());
            open.map(|row| row.work.delivery.lane()).collect()
        };
        let lag = *self.lag.lock().unwrap();
        sleep(lag).await;
        Ok(lanes.into_iter().collect())
    }

    async fn head(&self, lane: &LaneId, limit: usize) -> Result<Vec<Work>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let inner = self.lock();
        let in_lane = |row: &&Row| row.work.delivery.lane() == *lane && row.work.delivery.state.is_open();
        let mut head: Vec<Work> = inner
            .rows
            .iter()
            .filter(in_lane)
            .map(|row| Work {
                overtaken: inner
                    .rows
                    .iter()
                    .any(|other| overtakes(&other.work.delivery, &row.work.delivery)),
                ..row.work.clone()
            })
            .collect();
        head.sort_by_key(|work| {
            (
                work.delivery.state != State::Unknown,
                work.delivery.kind != Kind::Correction,
            )
        });
        head.truncate(limit);
        Ok(head)
    }

    async fn heads(&self, lanes: &[LaneId]) -> Result<HashMap<LaneId, Vec<Work>>, StoreError> {
        let mut heads = HashMap::new();
        for lane in lanes {
            heads.insert(lane.clone(), self.head(lane, FIRST).await?);
        }
        Ok(heads)
    }

    async fn change(&self, changes: Vec<Change>) -> Vec<Result<State, StoreError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(self.flush).await;
        if self.full.load(Ordering::SeqCst) {
            return changes
                .iter()
                .map(|_| Err(StoreError::Engine("disk full".to_owned())))
                .collect();
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        let mut inner = self.lock();
        let apply = |change| self.apply(&mut inner, change);
        let answers = changes.iter().map(apply).collect();
        drop(inner);
        self.changed.notify_waiters();
        answers
    }

    async fn record_step(&self, made: StepMade) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(self.flush).await;
        let mut inner = self.lock();
        let row = inner
            .rows
            .iter_mut()
            .find(|row| row.work.delivery.id == made.delivery)
            .unwrap();
        assert_eq!(row.work.delivery.state, State::Sending);
        let mut known = row.work.post.steps.all();
        known.insert(made.name, made.value);
        row.work.post.steps = crate::model::Steps::known(known);
        Ok(())
    }

    async fn note_lane(&self, lane: &LaneId, epoch: i64, notes: LaneNotes) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut inner = self.lock();
        let row = inner.lanes.get_mut(lane).unwrap();
        if row.epoch != epoch {
            return Err(StoreError::Fenced(lane.clone()));
        }
        row.notes = notes;
        Ok(())
    }

    async fn taken_ids(
        &self,
        account: &AccountId,
        besides: &DeliveryId,
        _since: Timestamp,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let inner = self.lock();
        let others = inner.rows.iter().map(|row| &row.work.delivery);
        let others = others.filter(|delivery| delivery.account == *account && delivery.id != *besides);
        let ids = others.filter_map(|delivery| delivery.receipt.as_ref().map(|r| r.remote_id.clone()));
        Ok(ids.take(limit).collect())
    }

    async fn picture(&self, sha256: &str) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::NotFound(format!("picture {sha256}")))
    }
}

/// Whether one is a newer word of the same alert for the same account and recipient, as the real store's text says.
fn overtakes(newer: &Delivery, older: &Delivery) -> bool {
    let number = |delivery: &Delivery| crate::dispatch::queue::number(&delivery.broadcast);
    newer.alert == older.alert
        && newer.lane() == older.lane()
        && newer.recipient == older.recipient
        && number(newer) > number(older)
        && older.purpose == Purpose::Publish
        && matches!(newer.purpose, Purpose::Publish | Purpose::Edit)
        && !matches!(newer.state, State::Superseded | State::Cancelled)
        && (newer.purpose == Purpose::Edit || newer.target.is_none() || newer.attempts > 0)
}

/// A delivery with all that goes with it.
pub(in crate::dispatch) fn work(
    lane: &LaneId,
    broadcast: &BroadcastId,
    kind: Kind,
    now: Timestamp,
    valid: Duration,
) -> Work {
    let deadline = crate::clock::later(now, valid);
    let rendering = crate::model::Rendering {
        headline: "Koka vattnet".to_owned(),
        text: "Koka vattnet. Nässjö kommun. https://nassjo.se/vatten".to_owned(),
        html: None,
        link: "https://nassjo.se/vatten".parse().unwrap(),
        languages: vec![crate::model::Lang::Sv],
        variant: crate::model::Variant::Short,
        count: 53,
        limit: None,
        unit: crate::model::Unit::Characters,
        picture: None,
    };
    let id = DeliveryId::fresh();
    let delivery = Delivery {
        id: id.clone(),
        alert: broadcast.alert(),
        broadcast: broadcast.clone(),
        kind,
        mode: lane.mode,
        account: lane.account.clone(),
        channel: "fake".to_owned(),
        recipient: None,
        purpose: Purpose::Publish,
        target: None,
        stands_in_for: Vec::new(),
        state: State::Queued,
        attempts: 0,
        proof: crate::model::Proof::Keyed,
        queued_at: now,
        not_before: now,
        deadline,
        started_at: None,
        unknown_since: None,
        finished_at: None,
        receipt: None::<Receipt>,
        error: None,
    };
    let post = crate::model::Post {
        key: id,
        alert: broadcast.alert(),
        broadcast: broadcast.clone(),
        kind,
        mode: lane.mode,
        purpose: Purpose::Publish,
        rendering,
        recipient: None,
        accepted_at: now,
        valid_until: deadline,
        root: None,
        parent: None,
        picture: None,
        steps: crate::model::Steps::default(),
    };
    Work {
        delivery,
        post,
        target: None,
        target_state: None,
        primaries: Vec::new(),
        overtaken: false,
    }
}
