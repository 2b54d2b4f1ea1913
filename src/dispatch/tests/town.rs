//! A municipality in virtual time: a store in memory, services that do as they are told, a dispatcher between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::memory::{Memory, work};
use super::service::{Act, Service};
use crate::channel::Pace;
use crate::clock::{Clock, SharedClock, Timestamp, from_micros};
use crate::config::Unproven;
use crate::dispatch::{Accounts, Dispatcher, LanePlan};
use crate::model::{
    AlertId, BroadcastId, DeliveryId, Kind, LaneId, Mode, Proof, Reason, Recipient, State, Work,
};

pub(super) const HOUR: Duration = Duration::from_hours(1);

/// The wall clock of virtual time; it can be set wrong.
#[derive(Debug)]
pub(super) struct VirtualClock {
    start: Instant,
    /// 2026-11-01, and how far it was moved since, in microseconds.
    offset: AtomicI64,
}

impl VirtualClock {
    pub(super) fn jump(&self, seconds: i64) {
        self.offset.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.start.elapsed().as_micros()).unwrap();
        from_micros(self.offset.load(Ordering::SeqCst) + passed)
    }
}

/// The accounts by lane, and how many seconds our clock and theirs are seen to be apart.
#[derive(Debug, Default)]
pub(super) struct Register(pub(super) Mutex<BTreeMap<LaneId, LanePlan>>, pub(super) AtomicU64);

impl Accounts for Register {
    fn plan(&self, lane: &LaneId) -> Option<LanePlan> {
        self.0.lock().unwrap().get(lane).cloned()
    }

    fn astray(&self) -> Duration {
        Duration::from_secs(self.1.load(Ordering::SeqCst))
    }
}

pub(super) struct Town {
    pub(super) clock: Arc<VirtualClock>,
    pub(super) memory: Arc<Memory>,
    pub(super) register: Arc<Register>,
    pub(super) services: BTreeMap<LaneId, Arc<Service>>,
    next: i64,
}

pub(super) fn lane(name: &str) -> LaneId {
    LaneId {
        account: name.parse().unwrap(),
        mode: Mode::Live,
    }
}

pub(super) fn drill(name: &str) -> LaneId {
    LaneId {
        mode: Mode::Drill,
        ..lane(name)
    }
}

pub(super) fn unlimited(parallel: u32) -> Pace {
    Pace {
        attempts: 0,
        per: Duration::ZERO,
        burst: 0,
        parallel,
    }
}

impl Town {
    pub(super) fn new() -> Self {
        let start: Timestamp = "2026-11-01T03:00:00Z".parse().unwrap();
        let clock = Arc::new(VirtualClock {
            start: Instant::now(),
            offset: AtomicI64::new(start.as_microsecond()),
        });
        Self {
            memory: Memory::new(clock.clone(), Duration::from_millis(1)),
            clock,
            register: Arc::default(),
            services: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn shared_clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(super) fn account(
        &mut self,
        lane: &LaneId,
        proof: Proof,
        usual: Act,
        script: &[Act],
    ) -> Arc<Service> {
        let service = Service::new(self.shared_clock(), proof, usual, script);
        let plan = LanePlan {
            side: lane.side(),
            pace: unlimited(1),
            unproven: Unproven::Hold,
            attempt_timeout: Duration::from_secs(20),
            credentials: Arc::default(),
            channel: Ok(service.clone()),
        };
        self.register.0.lock().unwrap().insert(lane.clone(), plan);
        self.services.insert(lane.clone(), service.clone());
        service
    }

    pub(super) fn plan(&self, lane: &LaneId, change: impl FnOnce(&mut LanePlan)) {
        change(self.register.0.lock().unwrap().get_mut(lane).unwrap());
    }

    pub(super) fn closed(&self, lane: &LaneId, reason: Reason) {
        self.plan(lane, |plan| plan.channel = Err(reason));
    }

    pub(super) async fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_of("node").await
    }

    pub(super) async fn dispatcher_of(&self, node: &str) -> Dispatcher {
        Dispatcher::over(
            self.memory.clone(),
            self.register.clone(),
            self.shared_clock(),
            node.to_owned(),
            false,
        )
        .await
        .unwrap()
    }

    pub(super) fn alert(&mut self) -> AlertId {
        self.next += 1;
        AlertId::numbered(Mode::Live, 2026, self.next)
    }

    pub(super) fn make(&self, lane: &LaneId, broadcast: &BroadcastId, kind: Kind, valid: Duration) -> Work {
        let mut work = work(lane, broadcast, kind, self.clock.now(), valid);
        if let Some(service) = self.services.get(lane) {
            work.delivery.proof = service.proof;
        }
        work
    }

    /// A new alert on these lanes, valid for an hour; the deliveries in the order of the lanes.
    pub(super) fn send(&mut self, lanes: &[LaneId], valid: Duration) -> Vec<DeliveryId> {
        let broadcast = BroadcastId::of(&self.alert(), 1);
        self.issue(lanes, &broadcast, Kind::Initial, valid)
    }

    pub(super) fn issue(
        &mut self,
        lanes: &[LaneId],
        broadcast: &BroadcastId,
        kind: Kind,
        valid: Duration,
    ) -> Vec<DeliveryId> {
        let works: Vec<Work> = lanes
            .iter()
            .map(|lane| self.make(lane, broadcast, kind, valid))
            .collect();
        let ids = works.iter().map(|work| work.delivery.id.clone()).collect();
        self.memory.accept(works);
        ids
    }

    /// A new alert to `count` recipients of a list.
    pub(super) fn send_list(&mut self, lane: &LaneId, count: usize, valid: Duration) -> Vec<DeliveryId> {
        let broadcast = BroadcastId::of(&self.alert(), 1);
        let mut works = Vec::new();
        for number in 0..count {
            let mut work = self.make(lane, &broadcast, Kind::Initial, valid);
            let recipient = Recipient::new(format!("person{number}@example.se"));
            work.delivery.recipient = Some(recipient.clone());
            work.post.recipient = Some(recipient);
            works.push(work);
        }
        let ids = works.iter().map(|work| work.delivery.id.clone()).collect();
        self.memory.accept(works);
        ids
    }

    /// Waits until nothing is open, at most `limit` of virtual time.
    pub(super) async fn quiet(&self, limit: Duration) {
        let quiet = self.when(|memory| !memory.any_open());
        assert!(
            timeout(limit, quiet).await.is_ok(),
            "still open: {:#?}",
            self.open()
        );
    }

    /// Waits until a delivery is in a state, at most an hour of virtual time.
    pub(super) async fn until(&self, id: &DeliveryId, state: State) {
        let there = self.when(|memory| memory.state(id) == state);
        assert!(
            timeout(HOUR, there).await.is_ok(),
            "{} and not {state}",
            self.memory.state(id)
        );
    }

    async fn when(&self, holds: impl Fn(&Memory) -> bool) {
        loop {
            let changed = self.memory.changed.notified();
            if holds(&self.memory) {
                return;
            }
            changed.await;
        }
    }

    fn open(&self) -> Vec<(DeliveryId, State)> {
        let rows = self.memory.rows().into_iter().map(|row| row.work.delivery);
        rows.filter(|delivery| delivery.state.is_open())
            .map(|delivery| (delivery.id, delivery.state))
            .collect()
    }

    /// What must hold in every history.
    pub(super) fn check(&self) {
        assert_eq!(self.memory.wrongs(), Vec::<String>::new());
        for service in self.services.values() {
            assert_eq!(service.wrongs(), Vec::<String>::new());
        }
        for row in self.memory.rows() {
            let mut rested = false;
            let mut unknown = false;
            for (_, event, state) in &row.history {
                assert!(
                    !rested || !state.is_open(),
                    "{:?} went on after its end: {:?}",
                    row.work.delivery.id,
                    row.history
                );
                rested = !state.is_open() && *state != State::Held;
                if *event == crate::model::Event::Begin {
                    assert!(!unknown, "sent again before it was settled: {:?}", row.history);
                }
                unknown = *state == State::Unknown;
            }
        }
    }

    /// Lost and doubled deliveries, by what stands at the services.
    pub(super) fn count(&self) -> (usize, usize) {
        let (mut lost, mut doubled) = (0, 0);
        for row in self.memory.rows() {
            let delivery = row.work.delivery;
            let posts = self.services[&delivery.lane()].posts();
            let times = posts.iter().filter(|(key, _)| *key == delivery.id).count();
            lost += usize::from(delivery.state == State::Published && times == 0);
            doubled += usize::from(times > 1);
        }
        (lost, doubled)
    }

    /// The accounts that a set of deliveries is on, for messages.
    pub(super) fn accounts(&self) -> BTreeSet<LaneId> {
        self.services.keys().cloned().collect()
    }
}
