//! Changes: each one step of the table, applied once, by whoever may.

use std::collections::HashSet;

use vardkase::model::{Actor, Event, Kind, Mode, Outcome, Purpose, Reason, Receipt, State};
use vardkase::store::{AttemptChange, Destination, Recall, StepMade, StoreError, Target};

use super::bed::{Bed, existing, get, ids, live, one, states};
use super::on_both_engines;

on_both_engines!(
    every_statement_is_understood,
    what_was_called_off_under_way_does_not_go_again,
    an_attempt_is_on_disk_before_and_after,
    the_outcome_of_an_attempt_is_written_once,
    a_change_that_does_not_apply_leaves_the_others_standing,
    changes_of_one_delivery_apply_in_their_order,
    a_step_outside_the_table_is_never_written,
    a_delivery_is_begun_by_one_of_eight,
    a_caller_that_goes_away_undoes_nothing,
    the_head_of_a_lane_comes_in_order,
    later_posts_know_the_earlier_ones,
    ids_of_other_deliveries_are_known,
    text_that_an_engine_refuses_harms_nobody,
    a_step_is_kept_for_the_next_attempt_and_only_while_it_is_made,
    an_edit_that_got_through_changes_its_target,
);

async fn every_statement_is_understood(bed: &Bed) {
    use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr};
    let statements = bed.open().await.statements();
    assert!(statements.len() > 60);
    let names: HashSet<_> = statements.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), statements.len());
    for (name, sql) in &statements {
        let sql = AssertSqlSafe(sql.clone()).into_sql_str();
        let prepared = match &bed.database {
            vardkase::config::Database::Sqlite(path) => {
                let mut conn = sqlx::SqliteConnection::connect(path.to_str().unwrap())
                    .await
                    .unwrap();
                conn.prepare(sql).await.map(drop)
            }
            vardkase::config::Database::Postgres(url) => {
                let mut conn = sqlx::PgConnection::connect(url.expose()).await.unwrap();
                conn.prepare(sql).await.map(drop)
            }
        };
        prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

async fn an_attempt_is_on_disk_before_and_after(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let mut listener = store.subscribe();
    let began = bed.later(1);
    assert_eq!(
        bed.step(&store, &id, State::Queued, Event::Begin).await,
        State::Sending
    );
    let heard = listener.recv().await.unwrap();
    assert_eq!(
        (heard.delivery.as_ref(), heard.state),
        (Some(&id), Some(State::Sending))
    );
    let attempts = store.attempts(&id).await.unwrap();
    assert_eq!((attempts[0].number, attempts[0].started_at), (1, began));
    assert_eq!((&attempts[0].outcome, attempts[0].finished_at), (&None, None));

    let ended = bed.later(1);
    let mut postponed = bed.change(&id, State::Sending, Event::Postpone);
    postponed.error = Some(Reason::new("connect", "no contact"));
    postponed.not_before = Some(bed.now());
    assert_eq!(one(store.change(vec![postponed]).await), Ok(State::Queued));
    assert_eq!(get(&store, &id).await.error.unwrap().code, "connect");
    bed.publish(&store, &id).await;
    let delivery = get(&store, &id).await;
    assert_eq!(
        (delivery.state, delivery.attempts, delivery.error),
        (State::Published, 2, None)
    );
    assert_eq!(delivery.finished_at, Some(bed.now()));
    assert_eq!(
        delivery.not_before, ended,
        "unchanged where the change says nothing"
    );
    let attempts = store.attempts(&id).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(Outcome::NotSent));
    assert_eq!(attempts[0].finished_at, Some(ended));
    assert_eq!(attempts[0].error.as_ref().unwrap().code, "connect");
    assert_eq!(attempts[1].outcome, Some(Outcome::Published));
    let kinds: Vec<_> = store
        .journal(0, 99, Some(&accepted.broadcast))
        .await
        .unwrap()
        .into_iter()
        .map(|r| r.kind)
        .collect();
    assert_eq!(kinds, ["accept", "attempt", "outcome", "attempt", "outcome"]);
}

async fn the_outcome_of_an_attempt_is_written_once(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    bed.step(&store, &id, State::Queued, Event::Begin).await;
    // What does not follow from such an end is refused, and leaves the attempt open.
    let mut odd = bed.change(&id, State::Sending, Event::Publish);
    odd.attempt = Some(AttemptChange::End {
        outcome: Outcome::Refused,
    });
    assert_eq!(
        one(store.change(vec![odd]).await),
        Err(StoreError::Outcome {
            outcome: Outcome::Refused,
            event: Event::Publish
        })
    );
    assert_eq!(store.attempts(&id).await.unwrap()[0].outcome, None);

    bed.later(1);
    bed.step(&store, &id, State::Sending, Event::Lose).await;
    let ended = store.attempts(&id).await.unwrap();
    assert_eq!(ended[0].outcome, Some(Outcome::Unknown));
    // A fault of ours, or a hand in the database: the attempt is taken for one under way, and ended again.
    bed.later(1);
    bed.meddle("UPDATE delivery SET state = 'sending'").await;
    bed.step(&store, &id, State::Sending, Event::Publish).await;
    assert_eq!(store.attempts(&id).await.unwrap(), ended);
    assert_eq!(get(&store, &id).await.state, State::Published);
}

async fn a_change_that_does_not_apply_leaves_the_others_standing(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b", "c"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    let nobody = vardkase::model::DeliveryId::fresh();
    let mut fenced = bed.change(&id[1], State::Queued, Event::Begin);
    fenced.fence = Some((live("b"), 7));
    let mut other_lane = bed.change(&id[2], State::Queued, Event::Begin);
    let lease = store
        .take_lanes(&[live("a")], "n", bed.later(60), false)
        .await
        .unwrap()
        .remove(0);
    other_lane.fence = Some((live("a"), lease.epoch));
    let answers = store
        .change(vec![
            bed.change(&nobody, State::Queued, Event::Begin),
            bed.change(&id[0], State::Queued, Event::Begin),
            fenced,
            other_lane,
            bed.change(&id[1], State::Sending, Event::Publish),
        ])
        .await;
    assert!(matches!(answers[0], Err(StoreError::NotFound(_))));
    assert_eq!(answers[1], Ok(State::Sending));
    assert_eq!(answers[2], Err(StoreError::Fenced(live("b"))));
    assert_eq!(
        answers[3],
        Err(StoreError::Fenced(live("a"))),
        "a lease of one lane is none of another"
    );
    assert!(matches!(
        answers[4],
        Err(StoreError::Moved {
            found: State::Queued,
            ..
        })
    ));
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [State::Sending, State::Queued, State::Queued]
    );
}

async fn changes_of_one_delivery_apply_in_their_order(bed: &Bed) {
    use State::{Published, Queued, Sending, Unknown};
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    let changes = [
        (&id[0], State::Queued, Event::Begin),
        (&id[1], State::Queued, Event::Begin),
        (&id[0], State::Sending, Event::Lose),
        (&id[0], State::Unknown, Event::Miss),
        (&id[1], State::Sending, Event::Publish),
        (&id[0], State::Queued, Event::Begin),
    ];
    let answers = store
        .change(
            changes
                .map(|(id, from, event)| bed.change(id, from, event))
                .to_vec(),
        )
        .await;
    let after: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(after, [Sending, Sending, Unknown, Queued, Published, Sending]);
    assert_eq!(states(&store, &accepted.broadcast).await, [Sending, Published]);
    assert_eq!(store.attempts(&id[0]).await.unwrap().len(), 2);
}

async fn a_step_outside_the_table_is_never_written(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let before = store.journal_head().await.unwrap();
    for event in Event::ALL {
        if State::Queued.after(event).is_err() {
            let wrong = bed.change(&id, State::Queued, event);
            assert!(
                matches!(
                    one(store.change(vec![wrong]).await),
                    Err(StoreError::Transition(_))
                ),
                "{event}"
            );
        }
    }
    assert_eq!(get(&store, &id).await.state, State::Queued);
    assert_eq!(store.journal_head().await.unwrap(), before);
}

async fn a_delivery_is_begun_by_one_of_eight(bed: &Bed) {
    const JOBS: usize = 2000;
    let first = bed.open().await;
    let to = (0..JOBS).map(|n| bed.to(&format!("konto-{}", n % 10))).collect();
    let new = bed.acceptance(vardkase::store::Under::New { year: 2026 }, Kind::Initial, to);
    let accepted = first.accept(new).await.unwrap();
    let id = ids(&first, &accepted.broadcast).await;
    // Two nodes where the engine serves two, one otherwise; four workers on each.
    let stores = match bed.pg {
        Some(_) => vec![first.clone(), bed.open_as("node-2").await.unwrap().0],
        None => vec![first.clone(), first.clone()],
    };
    let workers = (0..8).map(|n| {
        let store = stores[n % 2].clone();
        let changes: Vec<_> = id
            .iter()
            .map(|id| bed.change(id, State::Queued, Event::Begin))
            .collect();
        tokio::spawn(async move {
            let mut won = 0;
            for chunk in changes.chunks(50) {
                let answers = store.change(chunk.to_vec()).await;
                won += answers.iter().filter(|answer| answer.is_ok()).count();
                let lost = answers.iter().filter_map(|answer| answer.as_ref().err());
                for error in lost {
                    assert!(
                        matches!(
                            error,
                            StoreError::Moved {
                                found: State::Sending,
                                ..
                            }
                        ),
                        "{error}"
                    );
                }
            }
            won
        })
    });
    let won: Vec<usize> = futures::future::join_all(workers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(won.iter().sum::<usize>(), JOBS, "{won:?}");
    for delivery in first.deliveries(&accepted.broadcast).await.unwrap() {
        assert_eq!((delivery.state, delivery.attempts), (State::Sending, 1));
    }
    assert!(first.verify_journal().await.unwrap().broken.is_none());
}

async fn a_caller_that_goes_away_undoes_nothing(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    let mut listener = store.subscribe();
    for delivery in &id {
        let mut call = Box::pin(store.change(vec![bed.change(delivery, State::Queued, Event::Begin)]));
        assert!(futures::poll!(&mut call).is_pending(), "asked, not answered");
        drop(call);
    }
    let mut heard = Vec::new();
    while heard.len() < id.len() {
        // What is told of the acceptance names no delivery, and may come a moment after its answer.
        heard.extend(listener.recv().await.unwrap().delivery);
    }
    assert_eq!(heard, id);
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [State::Sending, State::Sending]
    );
}

async fn the_head_of_a_lane_comes_in_order(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a"]).await;
    let second = bed.initial(&store, &["a"]).await;
    let third = bed.initial(&store, &["a"]).await;
    let new = bed.acceptance(existing(&second.alert), Kind::Correction, vec![bed.to("a")]);
    let unknown = ids(&store, &third.broadcast).await.remove(0);
    bed.step(&store, &unknown, State::Queued, Event::Begin).await;
    bed.step(&store, &unknown, State::Sending, Event::Lose).await;
    let fourth = bed.initial(&store, &["a"]).await;
    let sending = ids(&store, &first.broadcast).await.remove(0);
    bed.step(&store, &sending, State::Queued, Event::Begin).await;
    let correction = store.accept(new).await.unwrap();
    let order: Vec<_> = store
        .head(&live("a"), 9)
        .await
        .unwrap()
        .into_iter()
        .map(|w| w.delivery.broadcast)
        .collect();
    assert_eq!(
        order,
        [&third, &correction, &first, &fourth].map(|a| a.broadcast.clone()),
        "unknown, correction, the rest by acceptance, also what is on the wire; the second was overtaken"
    );
    assert_eq!(store.head(&live("a"), 2).await.unwrap().len(), 2);
    assert_eq!(store.open_lanes().await.unwrap(), [live("a")]);
}

async fn later_posts_know_the_earlier_ones(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a", "b"]).await;
    let other = bed.initial(&store, &["a"]).await;
    bed.publish(&store, &ids(&store, &other.broadcast).await[0]).await;
    let mut published = Vec::new();
    for _ in 0..3 {
        let accepted = store
            .accept(bed.acceptance(
                existing(&first.alert),
                Kind::Update,
                vec![bed.to("a"), bed.to("b")],
            ))
            .await
            .unwrap();
        let head = store.head(&live("a"), 5).await.unwrap();
        assert_eq!(head.len(), 1);
        let of = |receipt: &Option<Receipt>| receipt.as_ref().map(|r| r.remote_id.clone());
        let expect = |id: Option<&vardkase::model::DeliveryId>| id.map(|id| format!("post-{id}"));
        assert_eq!(of(&head[0].post.root), expect(published.first()));
        assert_eq!(of(&head[0].post.parent), expect(published.last()));
        let of_b = store.head(&live("b"), 5).await.unwrap();
        assert_eq!(
            (&of_b[0].post.root, &of_b[0].post.parent),
            (&None, &None),
            "nothing is out on b"
        );
        let id = ids(&store, &accepted.broadcast).await.remove(0);
        bed.publish(&store, &id).await;
        published.push(id);
    }
}

async fn ids_of_other_deliveries_are_known(bed: &Bed) {
    let store = bed.open().await;
    let mut published = Vec::new();
    for _ in 0..3 {
        bed.later(10);
        let accepted = bed.initial(&store, &["a", "b"]).await;
        let id = ids(&store, &accepted.broadcast).await.remove(0);
        bed.publish(&store, &id).await;
        published.push(id);
    }
    let account = live("a").account;
    let since = |seconds: i64| vardkase::clock::from_micros(bed.now().as_microsecond() - seconds * 1_000_000);
    let post = |n: usize| format!("post-{}", published[n]);
    assert_eq!(
        store
            .taken_ids(&account, &published[2], since(60), 9)
            .await
            .unwrap(),
        [post(1), post(0)]
    );
    assert_eq!(
        store
            .taken_ids(&account, &published[0], since(10), 9)
            .await
            .unwrap(),
        [post(2), post(1)]
    );
    assert_eq!(
        store
            .taken_ids(&account, &published[0], since(60), 1)
            .await
            .unwrap(),
        [post(2)]
    );
}

async fn text_that_an_engine_refuses_harms_nobody(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    bed.step(&store, &id, State::Queued, Event::Begin).await;
    let mut published = bed.change(&id, State::Sending, Event::Publish);
    published.receipt = Some(Receipt::of("a\u{0}b"));
    published.attempt = Some(AttemptChange::End {
        outcome: Outcome::Published,
    });
    assert_eq!(one(store.change(vec![published]).await), Ok(State::Published));
    store.record(bed.entry("start")).await.unwrap();
    assert!(store.verify_journal().await.unwrap().broken.is_none());
}

async fn a_step_is_kept_for_the_next_attempt_and_only_while_it_is_made(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let until = vardkase::clock::from_micros(bed.now().as_microsecond() + 60_000_000);
    let lease = store
        .take_lanes(&[live("a")], "one", until, false)
        .await
        .unwrap()
        .remove(0);
    let made = |name: &str, value: &str, epoch: i64| StepMade {
        delivery: id.clone(),
        lane: live("a"),
        epoch,
        name: name.to_owned(),
        value: value.to_owned(),
        at: bed.now(),
    };
    let early = store.record_step(made("container", "1", lease.epoch)).await;
    assert!(matches!(early, Err(StoreError::Moved { .. })), "{early:?}");
    bed.step(&store, &id, State::Queued, Event::Begin).await;
    store
        .record_step(made("container", "1", lease.epoch))
        .await
        .unwrap();
    store
        .record_step(made("container", "2", lease.epoch))
        .await
        .unwrap();
    store.record_step(made("part-1", "å", lease.epoch)).await.unwrap();
    let foreign = store.record_step(made("part-2", "x", lease.epoch - 1)).await;
    assert!(matches!(foreign, Err(StoreError::Fenced(_))), "{foreign:?}");
    bed.step(&store, &id, State::Sending, Event::Lose).await;
    let work = store.head(&live("a"), 9).await.unwrap().remove(0);
    let steps = work.post.steps.all().into_iter().collect::<Vec<_>>();
    let expected = [("container", "2"), ("part-1", "å")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(steps, expected);
    let heads = store.heads(&[live("a"), live("b")]).await.unwrap();
    assert_eq!(heads[&live("a")], [work]);
    assert!(heads[&live("b")].is_empty());
    let told = store.journal(0, 100, Some(&accepted.broadcast)).await.unwrap();
    assert_eq!(told.iter().filter(|record| record.kind == "step").count(), 3);
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn an_edit_that_got_through_changes_its_target(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a"]).await;
    let post = ids(&store, &first.broadcast).await.remove(0);
    bed.publish(&store, &post).await;
    let standing = store.standing(&first.alert).await.unwrap();
    assert_eq!(standing[&live("a").account].post.as_ref(), Some(&post));
    let edit = Destination {
        purpose: Purpose::Edit,
        target: Some(Target::Delivery(post.clone())),
        ..bed.to("a")
    };
    let pin = Destination {
        purpose: Purpose::Pin,
        target: Some(Target::Delivery(post.clone())),
        ..bed.to("a")
    };
    let new = bed.acceptance(existing(&first.alert), Kind::Correction, vec![edit, pin]);
    let second = store.accept(new).await.unwrap();
    let made = ids(&store, &second.broadcast).await;
    let work = store.head(&live("a"), 9).await.unwrap();
    assert_eq!(work[0].target.as_ref().unwrap().remote_id, format!("post-{post}"));
    assert_eq!(work[0].target_state, Some(State::Published));
    bed.publish(&store, &made[0]).await;
    assert_eq!(get(&store, &post).await.state, State::Edited);
    assert_eq!(
        get(&store, &post).await.receipt.unwrap().remote_id,
        format!("post-{}", made[0]),
        "what the service gave for the changed post"
    );
    let standing = store.standing(&first.alert).await.unwrap();
    assert_eq!(standing[&live("a").account].post.as_ref(), Some(&post));
    assert_eq!(standing[&live("a").account].pinned, [post]);
}

async fn what_was_called_off_under_way_does_not_go_again(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b", "c"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    for one in &id {
        bed.step(&store, one, State::Queued, Event::Begin).await;
    }
    bed.step(&store, &id[1], State::Sending, Event::Lose).await;
    let seen = |state: State| Recall {
        broadcast: accepted.broadcast.clone(),
        mode: Mode::Live,
        accounts: ["a", "b", "c"].map(|a| a.parse().unwrap()).to_vec(),
        seen: vec![(id[0].clone(), state), (id[1].clone(), State::Unknown)],
        extras: Vec::new(),
        at: bed.now(),
        actor: Actor::daemon(),
        entry: bed.entry("retract"),
    };
    let head = store.journal_head().await.unwrap();
    assert!(
        matches!(
            store.recall(seen(State::Queued)).await,
            Err(StoreError::Moved { .. })
        ),
        "what moved since must be looked at again"
    );
    assert_eq!(store.journal_head().await.unwrap(), head);
    store.recall(seen(State::Sending)).await.unwrap();
    let again = bed.step(&store, &id[0], State::Sending, Event::Postpone).await;
    assert_eq!(again, State::Cancelled, "it had not been sent");
    let again = bed.step(&store, &id[1], State::Unknown, Event::Miss).await;
    assert_eq!(again, State::Held, "it may have been sent");
    assert_eq!(get(&store, &id[1]).await.error.unwrap().code, "retracted");
    let out = bed.step(&store, &id[2], State::Sending, Event::Publish).await;
    assert_eq!(out, State::Published);
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}
