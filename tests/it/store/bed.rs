//! A database of either engine, a clock that stands still, and the short forms of what tests write.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use vardkase::clock::{Clock, SharedClock, TestClock, Timestamp};
use vardkase::config::Database;
use vardkase::config::secret_url::DatabaseUrl;
use vardkase::model::{
    AccountId, Actor, AlertId, BroadcastId, Delivery, DeliveryId, Event, Kind, LaneId, Lang, Mode, Outcome,
    Proof, Purpose, Receipt, Recipient, Rendering, State, Unit, Variant,
};
use vardkase::store::{
    Acceptance, Accepted, AttemptChange, Change, Destination, Entry, Extra, Opened, StandsFor, Store,
    StoreError, Under,
};

use crate::postgres::TestDatabase;

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub database: Database,
    pub clock: Arc<TestClock>,
    pub pg: Option<TestDatabase>,
}

pub const NODE: &str = "node-1";

impl Bed {
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(dir.path().join("vardkase.db"));
        Self {
            dir,
            database,
            clock: Arc::new(TestClock::at(at("2026-11-05T03:00:00Z"))),
            pg: None,
        }
    }

    pub async fn postgres() -> Option<Self> {
        let pg = TestDatabase::create().await?;
        Some(Self {
            database: Database::Postgres(DatabaseUrl::new(pg.url())),
            pg: Some(pg),
            ..Self::sqlite()
        })
    }

    pub async fn end(self) {
        if let Some(pg) = self.pg {
            pg.drop_it().await;
        }
    }

    pub async fn open(&self) -> Store {
        let (store, opened) = self.open_as(NODE).await.unwrap();
        assert_eq!(opened, Opened::Own);
        store
    }

    pub async fn open_as(&self, node: &str) -> Result<(Store, Opened), StoreError> {
        let clock: SharedClock = Arc::clone(&self.clock) as SharedClock;
        Store::open(&self.database, node, clock).await
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn later(&self, seconds: i64) -> Timestamp {
        self.clock.advance(jiff::SignedDuration::from_secs(seconds));
        self.now()
    }

    /// Runs statements behind the store's back.
    pub async fn meddle(&self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        match &self.database {
            Database::Sqlite(path) => {
                let mut conn = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
                conn.execute(sqlx::raw_sql(sql)).await.unwrap();
                conn.close().await.unwrap();
            }
            Database::Postgres(url) => {
                let mut conn = PgConnection::connect(url.expose()).await.unwrap();
                conn.execute(sqlx::raw_sql(sql)).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }

    pub fn acceptance(&self, under: Under, kind: Kind, destinations: Vec<Destination>) -> Acceptance {
        Acceptance {
            under,
            kind,
            mode: Mode::Live,
            message: "kokning".parse().unwrap(),
            message_version: 3,
            headline: "Koka vattnet".to_owned(),
            actor: Actor("anna (uid 1000)".to_owned()),
            at: self.now(),
            valid_until: vardkase::clock::later(self.now(), std::time::Duration::from_hours(1)),
            renderings: vec![
                rendering("Koka vattnet."),
                rendering("Koka allt dricksvatten i Nässjö."),
            ],
            pictures: Vec::new(),
            destinations,
            lists: Vec::new(),
            unreachable: Vec::new(),
            idempotency: None,
            journal: serde_json::json!({ "fields": { "omrade": "Nässjö" } }),
        }
    }

    /// Accepts an initial broadcast to these accounts, queued.
    pub async fn initial(&self, store: &Store, accounts: &[&str]) -> Accepted {
        let to = accounts.iter().map(|id| self.to(id)).collect();
        let new = self.acceptance(Under::New { year: 2026 }, Kind::Initial, to);
        store.accept(new).await.unwrap()
    }

    pub fn to(&self, account: &str) -> Destination {
        Destination {
            account: account.parse().unwrap(),
            channel: "mastodon".to_owned(),
            proof: Proof::Keyed,
            rendering: 0,
            recipient: None,
            state: State::Queued,
            not_before: self.now(),
            purpose: vardkase::model::Purpose::Publish,
            target: None,
            alternative: None,
        }
    }

    pub fn change(&self, delivery: &DeliveryId, from: State, event: Event) -> Change {
        Change {
            delivery: delivery.clone(),
            fence: None,
            from,
            event,
            at: self.now(),
            actor: Actor::daemon(),
            attempt: match event {
                Event::Begin => Some(AttemptChange::Start),
                Event::Publish => Some(AttemptChange::End {
                    outcome: Outcome::Published,
                }),
                Event::Postpone => Some(AttemptChange::End {
                    outcome: Outcome::NotSent,
                }),
                Event::Refuse => Some(AttemptChange::End {
                    outcome: Outcome::Refused,
                }),
                Event::Lose => Some(AttemptChange::End {
                    outcome: Outcome::Unknown,
                }),
                Event::Hold
                | Event::Find
                | Event::Miss
                | Event::Retry
                | Event::HandOver
                | Event::Done
                | Event::Expire
                | Event::Supersede
                | Event::Cancel
                | Event::Edit
                | Event::Retract => None,
            },
            not_before: None,
            receipt: matches!(event, Event::Publish | Event::Find)
                .then(|| Receipt::of(format!("post-{delivery}"))),
            error: None,
            note: None,
            lane_notes: None,
        }
    }

    /// Makes one change, which must apply.
    pub async fn step(&self, store: &Store, delivery: &DeliveryId, from: State, event: Event) -> State {
        one(store.change(vec![self.change(delivery, from, event)]).await).unwrap()
    }

    pub async fn publish(&self, store: &Store, delivery: &DeliveryId) {
        self.step(store, delivery, State::Queued, Event::Begin).await;
        self.step(store, delivery, State::Sending, Event::Publish).await;
    }

    pub fn extra(broadcast: &BroadcastId, account: &str, purpose: Purpose) -> Extra {
        Extra {
            broadcast: broadcast.clone(),
            account: account.parse().unwrap(),
            channel: "email".to_owned(),
            proof: Proof::Unproven,
            mode: Mode::Live,
            purpose,
            target: None,
            recipient: Some(Recipient::new("jour@nassjo.example")),
            rendering: Some(rendering("Så gick det.")),
            state: State::Queued,
            deadline: at("2027-01-01T00:00:00Z"),
        }
    }

    pub fn entry(&self, kind: &'static str) -> Entry {
        Entry {
            at: self.now(),
            actor: Actor::daemon(),
            kind,
            broadcast: None,
            delivery: None,
            body: serde_json::json!({ "note": "å\u{0}ä" }),
        }
    }
}

/// An account that is stood in for, after so many seconds.
pub fn serves(account: &str, seconds: i64) -> StandsFor {
    StandsFor {
        account: account.parse().unwrap(),
        wait: seconds * 1_000_000,
        keeps: false,
    }
}

pub fn one(mut answers: Vec<Result<State, StoreError>>) -> Result<State, StoreError> {
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

pub async fn ids(store: &Store, broadcast: &BroadcastId) -> Vec<DeliveryId> {
    store
        .deliveries(broadcast)
        .await
        .unwrap()
        .into_iter()
        .map(|d| d.id)
        .collect()
}

pub async fn states(store: &Store, broadcast: &BroadcastId) -> Vec<State> {
    store
        .deliveries(broadcast)
        .await
        .unwrap()
        .into_iter()
        .map(|d| d.state)
        .collect()
}

pub async fn get(store: &Store, delivery: &DeliveryId) -> Delivery {
    store.delivery(delivery).await.unwrap()
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn live(account: &str) -> LaneId {
    LaneId {
        account: account.parse::<AccountId>().unwrap(),
        mode: Mode::Live,
    }
}

pub fn rendering(text: &str) -> Rendering {
    Rendering {
        headline: "Koka vattnet".to_owned(),
        text: format!("{text} https://nassjo.example/kris"),
        html: None,
        link: "https://nassjo.example/kris".parse().unwrap(),
        languages: vec![Lang::Sv],
        variant: Variant::Short,
        count: 40,
        limit: Some(500),
        unit: Unit::MastodonCharacters,
        picture: None,
    }
}

pub fn existing(alert: &AlertId) -> Under {
    Under::Existing(alert.clone())
}
