//! The chain: it is whole, and whatever is done to it is found.

use std::sync::atomic::Ordering;

use rand::{RngExt as _, SeedableRng};
use vardkase::model::{Event, State};

use super::bed::{Bed, ids};
use super::on_both_engines;

on_both_engines!(
    a_hundred_mutations_are_found,
    the_journal_is_listed_from_where_one_stopped,
    two_writers_share_one_chain,
);

const RECORDS: i64 = 40;

async fn a_hundred_mutations_are_found(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b"]).await;
    for id in ids(&store, &accepted.broadcast).await {
        bed.publish(&store, &id).await;
    }
    while store.journal_head().await.unwrap().0 < RECORDS {
        store.record(bed.entry("reload")).await.unwrap();
    }
    bed.meddle("CREATE TABLE saved AS SELECT * FROM journal").await;
    let whole = store.verify_journal().await.unwrap();
    assert_eq!((whole.records, &whole.broken), (RECORDS, &None));
    assert_eq!(whole.head, store.journal_head().await.unwrap().1);

    let mut random = rand::rngs::SmallRng::seed_from_u64(20_261_105);
    let mut found = 0;
    for round in 0..100 {
        let seq = random.random_range(1..=RECORDS);
        let other = seq % RECORDS + 1;
        let body = "SELECT '{\"forged\":true}'";
        let (sql, from) = match round % 10 {
            0 => (
                format!("UPDATE journal SET body = body || ' ' WHERE seq = {seq}"),
                seq,
            ),
            1 => (format!("UPDATE journal SET at = at + 1 WHERE seq = {seq}"), seq),
            2 => (
                format!("UPDATE journal SET actor = 'x' || actor WHERE seq = {seq}"),
                seq,
            ),
            3 => (format!("UPDATE journal SET kind = 'stop' WHERE seq = {seq}"), seq),
            4 => (
                format!("UPDATE journal SET broadcast = '2026-0009.1' WHERE seq = {seq}"),
                seq,
            ),
            5 => (
                format!(
                    "UPDATE journal SET hash = '{:064x}' WHERE seq = {seq}",
                    random.random::<u128>()
                ),
                seq,
            ),
            6 => (format!("DELETE FROM journal WHERE seq = {seq}"), seq),
            7 => (
                // Two records change places.
                format!(
                    "UPDATE journal SET seq = -1 WHERE seq = {seq}; UPDATE journal SET seq = {seq} WHERE seq = {other}; \
                     UPDATE journal SET seq = {other} WHERE seq = -1"
                ),
                seq.min(other),
            ),
            8 => (
                // One is put in, and the rest move on.
                format!(
                    "UPDATE journal SET seq = -seq - 1 WHERE seq >= {seq}; UPDATE journal SET seq = -seq WHERE seq < 0; \
                     INSERT INTO journal (seq, at, actor, kind, body, hash) \
                     VALUES ({seq}, 1, 'x', 'start', ({body}), '{:064x}')",
                    random.random::<u128>()
                ),
                seq,
            ),
            _ => (
                format!("DELETE FROM journal WHERE seq > {seq} OR {seq} = {RECORDS}"),
                seq + 1,
            ),
        };
        bed.meddle(&sql).await;
        let report = store.verify_journal().await.unwrap();
        let (broken, why) = report.broken.unwrap_or_else(|| panic!("not found: {sql}"));
        if round % 10 != 9 {
            assert_eq!(broken, from, "{why}: {sql}");
        }
        found += 1;
        bed.meddle("DELETE FROM journal; INSERT INTO journal SELECT * FROM saved")
            .await;
    }
    for sql in [
        format!("UPDATE chain SET hash = '{:064x}'", 7),
        format!("UPDATE chain SET seq = {}", RECORDS - 1),
    ] {
        bed.meddle("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT * FROM chain")
            .await;
        bed.meddle(&sql).await;
        assert!(
            store.verify_journal().await.unwrap().broken.is_some(),
            "not found: {sql}"
        );
        bed.meddle("DELETE FROM chain; INSERT INTO chain SELECT * FROM kept")
            .await;
    }
    assert_eq!(store.verify_journal().await.unwrap(), whole);
    eprintln!("mutations of the journal found: {found} of 100");
}

async fn the_journal_is_listed_from_where_one_stopped(bed: &Bed) {
    let store = bed.open().await;
    for _ in 0..5 {
        store.record(bed.entry("start")).await.unwrap();
    }
    let accepted = bed.initial(&store, &["a"]).await;
    let seqs = |records: Vec<vardkase::store::Record>| records.iter().map(|r| r.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.journal(0, 2, None).await.unwrap()), [1, 2]);
    assert_eq!(seqs(store.journal(2, 99, None).await.unwrap()), [3, 4, 5, 6]);
    assert_eq!(
        seqs(store.journal(0, 99, Some(&accepted.broadcast)).await.unwrap()),
        [6]
    );
    assert_eq!(
        seqs(store.journal(6, 99, Some(&accepted.broadcast)).await.unwrap()),
        Vec::<i64>::new()
    );
    assert_eq!(store.record(bed.entry("stop")).await.unwrap(), 7);
}

async fn two_writers_share_one_chain(bed: &Bed) {
    let one = bed.open().await;
    let two = match bed.pg {
        Some(_) => bed.open_as("node-2").await.unwrap().0,
        None => one.clone(),
    };
    let accepted = bed.initial(&one, &["a", "b", "c", "d"]).await;
    let id = ids(&one, &accepted.broadcast).await;
    let numbers = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let writing = (0..200).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        let (entry, numbers) = (bed.entry("start"), std::sync::Arc::clone(&numbers));
        let change = (n < 4).then(|| bed.change(&id[n], State::Queued, Event::Begin));
        tokio::spawn(async move {
            store.change(change.into_iter().collect()).await;
            let seq = store.record(entry).await.unwrap();
            numbers.fetch_add(seq, Ordering::SeqCst);
        })
    });
    for done in futures::future::join_all(writing).await {
        done.unwrap();
    }
    let report = one.verify_journal().await.unwrap();
    assert_eq!((report.records, report.broken), (205, None));
}
