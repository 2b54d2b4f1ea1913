//! What the store keeps: across restarts, lost connections, copies; and what it refuses to open.

use vardkase::config::Database;
use vardkase::model::{Event, Outcome, State};
use vardkase::store::{Opened, Store, StoreError};

use super::bed::{Bed, NODE, get, ids, live, one, states};
use super::on_both_engines;

on_both_engines!(
    reopening_keeps_everything,
    a_closed_store_says_so,
    a_newer_or_changed_database_is_refused,
    a_copy_starts_held,
    a_picture_is_kept_once_with_what_needs_it,
);

async fn a_picture_is_kept_once_with_what_needs_it(bed: &Bed) {
    let store = bed.open().await;
    // Every byte there is, NUL too, which no text may hold.
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let picture = std::sync::Arc::new(vardkase::model::Picture {
        bytes: bytes.clone(),
        media_type: "image/png",
        width: 10,
        height: 10,
        alt: "Karta".to_owned(),
    });
    let sha256 = picture.reference().sha256;
    let with_picture = |key: &str| {
        let to = vec![bed.to("a")];
        let under = vardkase::store::Under::New { year: 2026 };
        let mut new = bed.acceptance(under, vardkase::model::Kind::Initial, to);
        new.renderings[0].picture = Some(picture.reference());
        new.pictures = vec![std::sync::Arc::clone(&picture)];
        new.idempotency = Some((key.to_owned(), "digest".to_owned()));
        new
    };
    let missing = store.picture(&sha256).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))), "{missing:?}");
    let first = store.accept(with_picture("1")).await.unwrap();
    let again = store.accept(with_picture("1")).await.unwrap();
    let second = store.accept(with_picture("2")).await.unwrap();
    assert!(again.repeated && first.broadcast != second.broadcast);
    assert_eq!(store.picture(&sha256).await.unwrap(), bytes);
    store.close().await;
    let store = bed.open().await;
    for accepted in [&first, &second] {
        let id = &ids(&store, &accepted.broadcast).await[0];
        assert_eq!(
            store.rendering(id).await.unwrap().picture,
            Some(picture.reference())
        );
    }
    assert_eq!(store.picture(&sha256).await.unwrap(), bytes);
}

async fn reopening_keeps_everything(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b", "c"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    bed.publish(&store, &id[0]).await;
    bed.step(&store, &id[1], State::Queued, Event::Begin).await;
    let all = || async {
        let store = bed.open().await;
        let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
        let journal = store.journal(0, 1000, None).await.unwrap();
        let unfinished = store.unfinished().await.unwrap();
        store.close().await;
        (deliveries, journal, unfinished)
    };
    let before = store.deliveries(&accepted.broadcast).await.unwrap();
    drop(store);
    let first = all().await;
    assert_eq!(first.0, before);
    assert_eq!(all().await, first);
}

async fn a_closed_store_says_so(bed: &Bed) {
    let store = bed.open().await;
    let other = store.clone();
    store.close().await;
    assert_eq!(other.record(bed.entry("start")).await, Err(StoreError::Closed));
    assert_eq!(other.open_lanes().await, Err(StoreError::Closed));
    let change = bed.change(&vardkase::model::DeliveryId::fresh(), State::Queued, Event::Begin);
    assert_eq!(one(other.change(vec![change]).await), Err(StoreError::Closed));
    store.close().await;
}

async fn a_newer_or_changed_database_is_refused(bed: &Bed) {
    bed.open().await.close().await;
    bed.meddle("INSERT INTO migration VALUES (99, 'later', 'x', 0)")
        .await;
    assert!(matches!(bed.open_as(NODE).await, Err(StoreError::Migration(text)) if text.contains("99")));
    bed.meddle("DELETE FROM migration WHERE version = 99; UPDATE migration SET checksum = 'x'")
        .await;
    assert!(matches!(bed.open_as(NODE).await, Err(StoreError::Migration(_))));
}

/// Four deliveries, one in each state that is open, and one that is out.
async fn in_every_open_state(bed: &Bed, store: &Store) -> vardkase::store::Accepted {
    let accepted = bed.initial(store, &["a", "b", "c", "d"]).await;
    let id = ids(store, &accepted.broadcast).await;
    bed.publish(store, &id[0]).await;
    bed.step(store, &id[1], State::Queued, Event::Begin).await;
    bed.step(store, &id[2], State::Queued, Event::Begin).await;
    bed.step(store, &id[2], State::Sending, Event::Lose).await;
    let confirmation = Bed::extra(
        &accepted.broadcast,
        "mejl",
        vardkase::model::Purpose::ConfirmInterim,
    );
    store.add(vec![confirmation], bed.now(), None).await.unwrap();
    store
        .take_lanes(&[live("d")], "old", bed.later(3600), false)
        .await
        .unwrap();
    accepted
}

async fn held(bed: &Bed, store: &Store, accepted: &vardkase::store::Accepted) {
    use State::{Held, Published};
    assert_eq!(
        states(store, &accepted.broadcast).await,
        [Published, Held, Held, Held, Held]
    );
    let id = ids(store, &accepted.broadcast).await;
    let cut_off = get(store, &id[1]).await;
    assert_eq!(cut_off.error.unwrap().code, "restored");
    assert_eq!(cut_off.unknown_since, cut_off.started_at);
    assert_eq!(
        store.attempts(&id[1]).await.unwrap()[0].outcome,
        Some(Outcome::Unknown)
    );
    assert_eq!(store.open_lanes().await.unwrap(), []);
    let kinds: Vec<_> = store
        .journal(0, 99, None)
        .await
        .unwrap()
        .into_iter()
        .map(|r| r.kind)
        .collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "restore").count(), 5);
    assert!(store.verify_journal().await.unwrap().broken.is_none());
    assert_eq!(
        bed.step(store, &id[3], State::Held, Event::Retry).await,
        State::Queued
    );
    let lanes = store
        .take_lanes(&[live("d")], "new", bed.now(), false)
        .await
        .unwrap();
    assert_eq!(lanes.len(), 1, "the old owner's lease does not hold in the copy");
}

async fn a_copy_starts_held(bed: &Bed) {
    let store = bed.open().await;
    let accepted = in_every_open_state(bed, &store).await;
    if let Some(pg) = &bed.pg {
        let refused = store.backup(&bed.dir.path().join("copy")).await;
        assert!(matches!(refused, Err(StoreError::Engine(text)) if text.contains("pg_dump")));
        store.close().await;
        assert_eq!(
            bed.open_as("another data directory").await.unwrap().1,
            Opened::Own,
            "nodes share a server"
        );
        pg.cut_connections().await;
        let copy = pg.copy().await;
        let bed = Bed {
            database: Database::Postgres(vardkase::config::secret_url::DatabaseUrl::new(copy.url())),
            pg: Some(copy),
            ..Bed::sqlite()
        };
        let (store, opened) = bed.open_as(NODE).await.unwrap();
        assert_eq!(opened, Opened::Restored { held: 4 });
        held(&bed, &store, &accepted).await;
        store.close().await;
        assert_eq!(bed.open_as(NODE).await.unwrap().1, Opened::Own, "held once");
        bed.end().await;
        return;
    }
    let copy = bed.dir.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    assert!(matches!(store.backup(&copy).await, Err(StoreError::Engine(text)) if text.contains("already")));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(bed.dir.path())
            .unwrap()
            .filter(|f| {
                f.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("copy")
            })
            .count(),
        1,
        "one file"
    );
    // What happens after the backup is not in it, and the log of another database beside it is not played into it.
    let id = ids(&store, &accepted.broadcast).await;
    bed.step(&store, &id[3], State::Queued, Event::Begin).await;
    let Database::Sqlite(original) = &bed.database else {
        panic!("not SQLite")
    };
    for ending in ["-wal", "-shm"] {
        let of = |path: &std::path::Path| std::path::PathBuf::from(format!("{}{ending}", path.display()));
        std::fs::copy(of(original), of(&copy)).unwrap();
    }
    let bed = Bed {
        database: Database::Sqlite(copy),
        ..Bed::sqlite()
    };
    let (restored, opened) = bed.open_as(NODE).await.unwrap();
    assert_eq!(
        opened,
        Opened::Restored { held: 4 },
        "a backup, even in its own data directory"
    );
    held(&bed, &restored, &accepted).await;
    restored.close().await;
    let (again, opened) = bed.open_as(NODE).await.unwrap();
    assert_eq!(opened, Opened::Own, "held once");
    again.close().await;
    let (moved, opened) = bed.open_as("another data directory").await.unwrap();
    assert_eq!(
        opened,
        Opened::Restored { held: 1 },
        "the one that a person had released"
    );
    moved.close().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_outlives_its_connections() {
    let Some(bed) = Bed::postgres().await else { return };
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    for _ in 0..3 {
        bed.pg.as_ref().unwrap().cut_connections().await;
        let mut failures = 0;
        while store.record(bed.entry("start")).await.is_err() {
            failures += 1;
            assert!(
                failures < 3,
                "the group that met the cut fails; the next one has a new connection"
            );
        }
        while store.open_lanes().await.is_err() {
            failures += 1;
            assert!(failures < 20, "readers come back as well");
        }
    }
    assert_eq!(states(&store, &accepted.broadcast).await, [State::Queued]);
    assert!(store.verify_journal().await.unwrap().broken.is_none());
    store.close().await;
    bed.end().await;
}

#[tokio::test]
async fn nobody_else_reads_the_database_file() {
    let bed = Bed::sqlite();
    let store = bed.open().await;
    bed.initial(&store, &["a"]).await;
    let mut files = 0;
    for file in std::fs::read_dir(bed.dir.path()).unwrap() {
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.unwrap().metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0);
        files += 1;
    }
    assert_eq!(files, 3, "database, log, shared memory");
    store.close().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_not_repeated() {
    let bed = Bed {
        database: Database::Postgres(vardkase::config::secret_url::DatabaseUrl::new(
            "postgres://u:hemligt@[::1/x",
        )),
        ..Bed::sqlite()
    };
    let error = bed.open_as(NODE).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hemligt"), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let bed = Bed::sqlite();
    let Database::Sqlite(path) = &bed.database else {
        panic!("not SQLite")
    };
    std::fs::write(
        path,
        "this is no database, and it is longer than a header".repeat(20),
    )
    .unwrap();
    assert!(matches!(bed.open_as(NODE).await, Err(StoreError::Engine(_))));
}
