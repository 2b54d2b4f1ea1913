//! Any history: states only ever follow the table, both engines agree, and what is on disk is what was answered.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use vardkase::model::{DeliveryId, Event, State};
use vardkase::store::{Store, StoreError};

use super::bed::{Bed, ids};

const DELIVERIES: usize = 4;

/// A delivery, where it is thought to be (`None`: where it is), what happens.
type Ask = (usize, Option<State>, Event);

fn asks() -> impl Strategy<Value = Vec<Vec<Ask>>> {
    let ask = (
        0..DELIVERIES,
        proptest::option::weighted(0.15, proptest::sample::select(State::ALL.to_vec())),
        proptest::sample::select(Event::ALL.to_vec()),
    );
    proptest::collection::vec(proptest::collection::vec(ask, 1..6), 1..25)
}

/// What the table says of a group of asks.
fn model(states: &mut [State; DELIVERIES], asks: &[Ask]) -> Vec<(State, Option<State>)> {
    asks.iter()
        .map(|(n, from, event)| {
            let from = from.unwrap_or(states[*n]);
            let to = from.after(*event).ok().filter(|_| from == states[*n]);
            if let Some(to) = to {
                states[*n] = to;
            }
            (from, to)
        })
        .collect()
}

async fn run(
    bed: &Bed,
    store: &Store,
    id: &[DeliveryId],
    history: &[Vec<Ask>],
) -> Result<[State; 4], TestCaseError> {
    let mut states = [State::Queued; DELIVERIES];
    for group in history {
        bed.later(1);
        let expected = model(&mut states, group);
        let changes = group
            .iter()
            .zip(&expected)
            .map(|((n, _, event), (from, _))| bed.change(&id[*n], *from, *event));
        let answers = store.change(changes.collect()).await;
        for (answer, (_, to)) in answers.iter().zip(&expected) {
            match (answer, to) {
                (Ok(state), Some(to)) => prop_assert_eq!(state, to),
                (Err(StoreError::Moved { .. } | StoreError::Transition(_)), None) => {}
                (answer, to) => prop_assert!(false, "{answer:?} where the table says {to:?}"),
            }
        }
    }
    Ok(states)
}

/// All that must be equal on both engines: everything but the ids, which are fresh.
async fn picture(store: &Store, id: &[DeliveryId]) -> Vec<String> {
    let mut all = Vec::new();
    for id in id {
        let d = store.delivery(id).await.unwrap();
        let attempts = store.attempts(id).await.unwrap();
        let begun: Vec<_> = attempts.iter().map(|a| a.number).collect();
        assert_eq!(
            begun,
            (1..=d.attempts).collect::<Vec<_>>(),
            "an attempt for every beginning"
        );
        let running = attempts.iter().filter(|a| a.outcome.is_none()).count();
        if d.state == State::Sending {
            assert_eq!(running, 1);
        }
        assert!(d.state != State::Unknown || d.unknown_since.is_some());
        assert!(!d.state.got_out() || d.unknown_since.is_none());
        all.push(format!(
            "{:?} {:?} {:?} {:?} {:?} {attempts:?}",
            d.state, d.attempts, d.started_at, d.unknown_since, d.finished_at
        ));
    }
    let journal = store.journal(0, 10_000, None).await.unwrap();
    all.extend(
        journal
            .iter()
            .map(|r| format!("{} {} {} {}", r.seq, r.at, r.actor, r.kind)),
    );
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
    all
}

async fn play(bed: &Bed, history: &[Vec<Ask>]) -> Result<Vec<String>, TestCaseError> {
    bed.meddle(
        "DELETE FROM attempt; DELETE FROM delivery; DELETE FROM rendering; DELETE FROM broadcast; DELETE FROM alert; \
         DELETE FROM journal; DELETE FROM counter; UPDATE chain SET seq = 0, hash = \
         '0000000000000000000000000000000000000000000000000000000000000000'",
    )
    .await;
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b", "a", "c"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    let states = run(bed, &store, &id, history).await?;
    let found = super::bed::states(&store, &accepted.broadcast).await;
    prop_assert_eq!(&found[..], &states[..]);
    let picture = picture(&store, &id).await;
    store.close().await;
    Ok(picture)
}

#[test]
fn any_history_follows_the_table_and_both_engines_agree() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let beds = runtime.block_on(async {
        let postgres = Bed::postgres().await;
        let first = Bed::sqlite();
        first.open().await.close().await;
        if let Some(bed) = &postgres {
            bed.open().await.close().await;
        }
        (first, postgres)
    });
    let mut runner = TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&asks(), |history| {
        runtime.block_on(async {
            // The same times on both, from the same start.
            let lite = Bed {
                database: beds.0.database.clone(),
                ..Bed::sqlite()
            };
            let first = play(&lite, &history).await?;
            if let Some(bed) = &beds.1 {
                let pg = Bed {
                    database: bed.database.clone(),
                    ..Bed::sqlite()
                };
                prop_assert_eq!(first, play(&pg, &history).await?);
            }
            Ok(())
        })
    });
    outcome.unwrap();
    if let Some(bed) = beds.1 {
        runtime.block_on(bed.end());
    }
}
