//! Leases: one owner at a time, and whoever was cut off writes nothing.

use std::time::Duration;

use vardkase::clock::later;
use vardkase::model::{Event, Outcome, Reason, State};
use vardkase::store::{AttemptChange, LaneNotes, StoreError};

use super::bed::{Bed, get, ids, live, one};
use super::on_both_engines;

on_both_engines!(
    a_clock_that_was_set_back_lengthens_no_wait,
    a_lane_has_one_owner_until_its_lease_runs_out,
    a_node_that_lost_the_lease_writes_nothing,
    what_was_being_sent_is_unknown_after_a_takeover,
    settling_looks_from_the_first_lost_attempt,
    a_lane_remembers_across_a_restart,
);

async fn a_lane_has_one_owner_until_its_lease_runs_out(bed: &Bed) {
    let store = bed.open().await;
    let lanes = [live("a"), live("b")];
    let until = vardkase::clock::later(bed.now(), std::time::Duration::from_secs(30));
    let first = store.take_lanes(&lanes[..1], "one", until, false).await.unwrap();
    assert_eq!((first.len(), first[0].epoch), (1, 1));
    let second = store.take_lanes(&lanes, "two", until, false).await.unwrap();
    assert_eq!(
        second.iter().map(|l| &l.lane).collect::<Vec<_>>(),
        [&lanes[1]],
        "a is held by one"
    );
    let again = store.take_lanes(&lanes[..1], "one", until, false).await.unwrap();
    assert_eq!(again[0].epoch, 2, "raised each time that it is taken");
    bed.later(29);
    assert!(
        store
            .take_lanes(&lanes[..1], "two", until, false)
            .await
            .unwrap()
            .is_empty()
    );
    let longer = vardkase::clock::later(bed.now(), std::time::Duration::from_secs(30));
    assert_eq!(
        store
            .renew_lanes(&[(lanes[0].clone(), 2)], "one", longer)
            .await
            .unwrap(),
        []
    );
    bed.later(29);
    assert!(
        store
            .take_lanes(&lanes[..1], "two", longer, false)
            .await
            .unwrap()
            .is_empty(),
        "renewed"
    );
    bed.later(1);
    assert_eq!(
        store.take_lanes(&lanes[..1], "two", longer, false).await.unwrap()[0].epoch,
        3
    );
    let lost = store
        .renew_lanes(&[(lanes[0].clone(), 2)], "one", longer)
        .await
        .unwrap();
    assert_eq!(lost, [lanes[0].clone()]);
    assert_eq!(
        store.take_lanes(&lanes, "one", longer, true).await.unwrap().len(),
        2,
        "by force"
    );
}

async fn a_node_that_lost_the_lease_writes_nothing(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let lane = live("a");
    let until = bed.now();
    let old = store
        .take_lanes(std::slice::from_ref(&lane), "one", until, false)
        .await
        .unwrap()
        .remove(0);
    let mut begin = bed.change(&id, State::Queued, Event::Begin);
    begin.fence = Some((lane.clone(), old.epoch));
    assert_eq!(one(store.change(vec![begin]).await), Ok(State::Sending));
    // The other node of a pair of daemons, where the engine allows for one.
    let other = match bed.pg {
        Some(_) => bed.open_as("node-2").await.unwrap().0,
        None => store.clone(),
    };
    let new = other
        .take_lanes(std::slice::from_ref(&lane), "two", until, false)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(new.epoch, old.epoch + 1);
    let before = store.journal_head().await.unwrap();
    for from in [State::Sending, State::Unknown] {
        let mut tardy = bed.change(
            &id,
            from,
            if from == State::Sending {
                Event::Publish
            } else {
                Event::Find
            },
        );
        tardy.fence = Some((lane.clone(), old.epoch));
        tardy.attempt = Some(AttemptChange::End {
            outcome: Outcome::Published,
        });
        assert_eq!(
            one(store.change(vec![tardy]).await),
            Err(StoreError::Fenced(lane.clone()))
        );
    }
    let note = store.note_lane(&lane, old.epoch, LaneNotes::default()).await;
    assert_eq!(note, Err(StoreError::Fenced(lane.clone())));
    assert_eq!(store.journal_head().await.unwrap(), before, "nothing was written");
    assert_eq!(get(&store, &id).await.state, State::Unknown);
    assert_eq!(
        store.attempts(&id).await.unwrap()[0].outcome,
        Some(Outcome::Unknown)
    );
    let mut settled = bed.change(&id, State::Unknown, Event::Find);
    settled.fence = Some((lane, new.epoch));
    assert_eq!(one(other.change(vec![settled]).await), Ok(State::Published));
}

async fn what_was_being_sent_is_unknown_after_a_takeover(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b"]).await;
    let id = ids(&store, &accepted.broadcast).await;
    let began = bed.later(1);
    for id in &id {
        bed.step(&store, id, State::Queued, Event::Begin).await;
    }
    let taken = bed.later(5);
    store.take_lanes(&[live("a")], "one", taken, false).await.unwrap();
    let delivery = get(&store, &id[0]).await;
    assert_eq!((delivery.state, delivery.attempts), (State::Unknown, 1));
    assert_eq!(
        (delivery.unknown_since, delivery.not_before),
        (Some(began), taken)
    );
    assert_eq!(delivery.error.unwrap().code, "crash");
    let attempt = store.attempts(&id[0]).await.unwrap().remove(0);
    assert_eq!(attempt.outcome, Some(Outcome::Unknown));
    assert_eq!(attempt.finished_at, None, "when it ended nobody knows");
    assert_eq!(
        get(&store, &id[1]).await.state,
        State::Sending,
        "not a lane that was taken"
    );
    let last = store
        .journal(0, 99, Some(&accepted.broadcast))
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(
        (last.kind.as_str(), last.delivery.as_ref()),
        ("outcome", Some(&id[0]))
    );
}

async fn settling_looks_from_the_first_lost_attempt(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let first = bed.later(1);
    bed.step(&store, &id, State::Queued, Event::Begin).await;
    bed.later(1);
    bed.step(&store, &id, State::Sending, Event::Lose).await;
    assert_eq!(get(&store, &id).await.unknown_since, Some(first));
    bed.later(1);
    bed.step(&store, &id, State::Unknown, Event::Miss).await;
    bed.later(1);
    bed.step(&store, &id, State::Queued, Event::Begin).await;
    bed.later(1);
    bed.step(&store, &id, State::Sending, Event::Lose).await;
    let delivery = get(&store, &id).await;
    assert_eq!(
        delivery.unknown_since,
        Some(first),
        "what was not found may still arrive"
    );
    assert_ne!(delivery.started_at, Some(first));
    bed.step(&store, &id, State::Unknown, Event::Find).await;
    assert_eq!(get(&store, &id).await.unknown_since, None);
    let last = store.journal(0, 99, None).await.unwrap().pop().unwrap();
    assert_eq!(last.kind, "settle");
}

async fn a_lane_remembers_across_a_restart(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "a", "a"]).await;
    let lane = live("a");
    let lease = store
        .take_lanes(std::slice::from_ref(&lane), "one", bed.now(), false)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(lease.notes, LaneNotes::default());
    let mut began = Vec::new();
    let notes = LaneNotes {
        busy_until: Some(bed.now()),
        open_until: None,
        failures: 4,
        reason: Some(Reason::new("http-503", "down")),
        recent: Vec::new(),
    };
    for id in ids(&store, &accepted.broadcast).await {
        began.insert(0, bed.later(1));
        let mut change = bed.change(&id, State::Queued, Event::Begin);
        change.fence = Some((lane.clone(), lease.epoch));
        change.lane_notes = Some(notes.clone());
        one(store.change(vec![change]).await).unwrap();
    }
    store.close().await;
    let store = bed.open().await;
    let lease = store
        .take_lanes(std::slice::from_ref(&lane), "one", bed.now(), false)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        lease.notes,
        LaneNotes {
            recent: began,
            ..notes.clone()
        }
    );
    let quiet = LaneNotes::default();
    store.note_lane(&lane, lease.epoch, quiet).await.unwrap();
    let lease = store
        .take_lanes(std::slice::from_ref(&lane), "one", bed.now(), false)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((lease.notes.failures, lease.notes.recent.len()), (0, 3));
}

async fn a_clock_that_was_set_back_lengthens_no_wait(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a", "b", "c"]).await;
    let all = ids(&store, &accepted.broadcast).await;
    let lanes = [live("a"), live("b"), live("c")];
    // `c` is another node's, where the engine allows for one, and it works.
    let until = later(bed.now(), Duration::from_hours(48));
    let taken = store
        .take_lanes(&lanes[..2], "node-1/7", until, false)
        .await
        .unwrap();
    store
        .take_lanes(&lanes[2..], "node-2/1", until, false)
        .await
        .unwrap();
    let begin = bed.change(&all[0], State::Queued, Event::Begin);
    one(store.change(vec![begin]).await).unwrap();
    let mut waits = bed.change(&all[0], State::Sending, Event::Postpone);
    waits.not_before = Some(later(bed.now(), Duration::from_secs(40)));
    waits.attempt = Some(AttemptChange::End {
        outcome: Outcome::Busy,
    });
    one(store.change(vec![waits]).await).unwrap();
    let busy = LaneNotes {
        busy_until: Some(later(bed.now(), Duration::from_mins(5))),
        ..LaneNotes::default()
    };
    store.note_lane(&lanes[0], taken[0].epoch, busy).await.unwrap();
    store.close().await;

    let day = bed.later(-86_400);
    let store = bed.open().await;
    let due = |seconds: u64| later(day, Duration::from_secs(seconds));
    assert_eq!(get(&store, &all[0]).await.not_before, due(40));
    assert!(get(&store, &all[1]).await.not_before <= day);
    assert!(get(&store, &all[2]).await.not_before > day, "the other node's");
    // Validity is a moment, not a wait.
    assert_eq!(get(&store, &all[0]).await.deadline, due(86_400 + 3600));
    let lease = store
        .take_lanes(&lanes[..1], "node-1/8", until, true)
        .await
        .unwrap();
    assert_eq!(lease[0].notes.busy_until, Some(due(300)));
    let journal = store.journal(0, 100, None).await.unwrap();
    let told: Vec<_> = journal.iter().filter(|record| record.kind == "clock").collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].body.contains("\"set_back_seconds\":86400"), "{told:?}");
    // Once: what came after is not behind any more.
    store.close().await;
    let store = bed.open().await;
    assert_eq!(get(&store, &all[0]).await.not_before, due(40));
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}
