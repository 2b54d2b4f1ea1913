//! The dispatcher over a real database on disk, in real time. Both ledgers are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use vardkase::channel::{Channel, Identity, Pace};
use vardkase::clock::{Clock, SharedClock, SystemClock, later};
use vardkase::config::{Database, Unproven};
use vardkase::dispatch::{Accounts, Dispatcher, LanePlan};
use vardkase::model::{
    Actor, Delivery, DeliveryId, Kind, LaneId, Lang, Mode, Post, Proof, Question, Reason, Receipt, Recipient,
    Rendering, SendError, Settled, State, Unit, Variant,
};
use vardkase::store::{Acceptance, Accepted, Destination, Store, Under};

const PATIENCE: Duration = Duration::from_mins(1);

/// A service that knows our keys and writes down every request.
#[derive(Debug, Default)]
struct Service(Mutex<(BTreeSet<DeliveryId>, usize)>);

#[async_trait]
impl Channel for Service {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        sleep(Duration::from_millis(5)).await;
        {
            let mut ledger = self.0.lock().unwrap();
            ledger.1 += 1;
            ledger.0.insert(post.key.clone());
        }
        sleep(Duration::from_millis(5)).await;
        Ok(Receipt::of(post.key.as_str()))
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        Ok(Settled::Absent)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        Err(SendError::NotSent(Reason::new("none", "not asked here")))
    }
}

#[derive(Debug, Default)]
struct Register(BTreeMap<LaneId, Arc<Service>>);

impl Accounts for Register {
    fn plan(&self, lane: &LaneId) -> Option<LanePlan> {
        let service = Arc::clone(self.0.get(lane)?);
        Some(LanePlan {
            side: lane.side(),
            pace: Pace {
                attempts: 10_000,
                per: Duration::from_secs(1),
                burst: 1000,
                parallel: 16,
            },
            unproven: Unproven::Hold,
            attempt_timeout: Duration::from_secs(20),
            credentials: Arc::default(),
            channel: Ok(service),
        })
    }
}

fn lane(name: &str) -> LaneId {
    LaneId {
        account: name.parse().unwrap(),
        mode: Mode::Live,
    }
}

async fn store(dir: &Path) -> Store {
    let database = Database::Sqlite(dir.join("vardkase.db"));
    Store::open(&database, "node", clock()).await.unwrap().0
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

fn to(lane: &LaneId, recipient: Option<String>) -> Destination {
    Destination {
        account: lane.account.clone(),
        channel: "webhook".to_owned(),
        proof: Proof::Keyed,
        rendering: 0,
        recipient: recipient.map(Recipient::new),
        state: State::Queued,
        not_before: SystemClock.now(),
        purpose: vardkase::model::Purpose::Publish,
        target: None,
        alternative: None,
    }
}

async fn accept(store: &Store, destinations: Vec<Destination>) -> Accepted {
    let now = SystemClock.now();
    let acceptance = Acceptance {
        under: Under::New { year: 2026 },
        kind: Kind::Initial,
        mode: Mode::Live,
        message: "kokning".parse().unwrap(),
        message_version: 1,
        headline: "Koka vattnet".to_owned(),
        actor: Actor::local(0, None),
        at: now,
        valid_until: later(now, Duration::from_hours(1)),
        renderings: vec![Rendering {
            headline: "Koka vattnet".to_owned(),
            text: "Koka vattnet. Nässjö kommun. https://nassjo.example/vatten".to_owned(),
            html: None,
            link: "https://nassjo.example/vatten".parse().unwrap(),
            languages: vec![Lang::Sv],
            variant: Variant::Short,
            count: 58,
            limit: None,
            unit: Unit::Characters,
            picture: None,
        }],
        pictures: Vec::new(),
        destinations,
        lists: Vec::new(),
        unreachable: Vec::new(),
        idempotency: None,
        journal: serde_json::json!({}),
    };
    store.accept(acceptance).await.unwrap()
}

/// Waits until what is asked holds of the broadcast's deliveries.
async fn when(store: &Store, accepted: &Accepted, holds: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
    let mut changes = store.subscribe();
    let wait = async {
        loop {
            let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
            if holds(&deliveries) {
                return deliveries;
            }
            // An error says that some were missed: look again all the same.
            drop(changes.recv().await);
        }
    };
    timeout(PATIENCE, wait).await.expect("it does not come to rest")
}

fn all_published(deliveries: &[Delivery]) -> bool {
    deliveries
        .iter()
        .all(|delivery| delivery.state == State::Published)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_cut_off_on_disk_is_whole_after_the_next_start() {
    let (mut requests, mut settled, mut lost, mut total) = (0, 0, 0, 0);
    for round in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let mut register = Register::default();
        let mut destinations = Vec::new();
        for n in 0..20 {
            let lane = lane(&format!("a{n}"));
            destinations.push(to(&lane, None));
            register.0.insert(lane, Arc::default());
        }
        let mailing = lane("list");
        destinations.extend((0..100).map(|n| to(&mailing, Some(format!("p{n}@nassjo.example")))));
        register.0.insert(mailing, Arc::default());
        let register = Arc::new(register);

        let first = store(dir.path()).await;
        let dispatcher =
            Dispatcher::start(first.clone(), register.clone(), clock(), "node".to_owned(), false)
                .await
                .unwrap();
        let accepted = accept(&first, destinations).await;
        dispatcher.wake(&accepted.lanes);
        when(&first, &accepted, |all| {
            all.iter().filter(|d| d.state == State::Published).count() > round * 8
        })
        .await;
        drop(dispatcher);
        first.close().await;

        let again = store(dir.path()).await;
        let open = again.deliveries(&accepted.broadcast).await.unwrap();
        settled += open
            .iter()
            .filter(|d| matches!(d.state, State::Sending | State::Unknown))
            .count();
        let dispatcher =
            Dispatcher::start(again.clone(), register.clone(), clock(), "node".to_owned(), false)
                .await
                .unwrap();
        let deliveries = when(&again, &accepted, all_published).await;
        assert!(dispatcher.stop(PATIENCE).await);
        for delivery in &deliveries {
            let ledger = register.0[&delivery.lane()].0.lock().unwrap();
            lost += usize::from(!ledger.0.contains(&delivery.id));
            total += 1;
        }
        requests += register
            .0
            .values()
            .map(|service| service.0.lock().unwrap().1)
            .sum::<usize>();
        assert_eq!(again.verify_journal().await.unwrap().broken, None);
        again.close().await;
    }
    let repeats = requests - total;
    println!(
        "10 cuts: {total} deliveries, {settled} cut off, {repeats} requests repeated under their key, lost {lost}"
    );
    assert_eq!((total, lost), (1200, 0));
    assert!(
        repeats <= settled,
        "only what was cut off is ever asked for twice"
    );
    assert!(settled > 0, "some were cut off in the middle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_takeover_stops_the_first_node() {
    let dir = tempfile::tempdir().unwrap();
    let list = lane("list");
    let service: Arc<Service> = Arc::default();
    let register = Arc::new(Register([(list.clone(), Arc::clone(&service))].into()));
    let store = store(dir.path()).await;
    let accepted = accept(
        &store,
        (0..300)
            .map(|n| to(&list, Some(format!("p{n}@nassjo.example"))))
            .collect(),
    )
    .await;
    let first = Dispatcher::start(store.clone(), register.clone(), clock(), "one".to_owned(), false)
        .await
        .unwrap();
    when(&store, &accepted, |all| {
        all.iter().any(|d| d.state == State::Published)
    })
    .await;
    let second = Dispatcher::start(store.clone(), register, clock(), "two".to_owned(), true)
        .await
        .unwrap();
    let why = timeout(PATIENCE, first.failed())
        .await
        .expect("the first node hears of it");
    assert!(why.contains("another node"), "{why}");
    when(&store, &accepted, all_published).await;
    assert_eq!(service.0.lock().unwrap().0.len(), 300);
    assert!(second.stop(PATIENCE).await);
    store.close().await;
}
