//! The runs of drills: each planned time once, each end once.

use serde_json::json;
use vardkase::clock::later;
use vardkase::model::{Actor, Level, MailKind, Recipient, RunState};
use vardkase::store::{DrillChange, DrillEnd, DrillSeen, Store, StoreError};

use super::bed::{Bed, at};
use super::on_both_engines;

fn begin(planned: Option<&str>, end: Option<DrillEnd>) -> DrillChange {
    DrillChange::Begin {
        drill: "ovning".to_owned(),
        level: Level::Rehearse,
        actor: Actor::daemon(),
        owner: super::bed::NODE.to_owned(),
        planned_at: planned.map(at),
        seen: planned.map(|planned| DrillSeen {
            drill: "ovning".to_owned(),
            schedule: "0 10 * * *".to_owned(),
            seen_at: at(planned),
        }),
        end: end.map(Box::new),
    }
}

fn end(bed: &Bed, state: RunState) -> DrillEnd {
    DrillEnd {
        state,
        report: json!({ "grade": { "passed": true, "decided": "all_within" }, "all": 3, "out": 3, "å": "ö\u{0}" }),
        tell: vec![
            Recipient::new("jour@nassjo.example"),
            Recipient::new("kom@nassjo.example"),
        ],
        deadline: later(bed.now(), std::time::Duration::from_hours(24)),
    }
}

async fn write(bed: &Bed, store: &Store, change: DrillChange) -> Option<String> {
    store.drill(change, bed.now()).await.unwrap()
}

async fn a_planned_time_is_run_once_and_a_run_ends_once(bed: &Bed) {
    let store = bed.open().await;
    let planned = "2026-11-05T09:00:00Z";
    let first = write(bed, &store, begin(Some(planned), None)).await.unwrap();
    assert_eq!(first, "ovning.1");
    assert_eq!(
        write(bed, &store, begin(Some(planned), None)).await,
        None,
        "another node was faster"
    );
    let by_hand = write(bed, &store, begin(None, None)).await.unwrap();
    let again = write(bed, &store, begin(None, None)).await.unwrap();
    assert_eq!((by_hand.as_str(), again.as_str()), ("ovning.2", "ovning.3"));
    let running: Vec<String> = store
        .drills_running()
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(running, ["ovning.1", "ovning.2", "ovning.3"]);

    bed.later(2);
    write(bed, &store, DrillChange::Start(first.clone()))
        .await
        .unwrap();
    let broadcast = DrillChange::Broadcast(first.clone(), "ovning-2026-0001.1".parse().unwrap());
    write(bed, &store, broadcast).await.unwrap();
    let began = bed.now();
    bed.later(3);
    let over = || DrillChange::End(first.clone(), Box::new(end(bed, RunState::Finished)));
    assert_eq!(write(bed, &store, over()).await.as_ref(), Some(&first));
    assert_eq!(write(bed, &store, over()).await, None, "it has ended");
    assert_eq!(
        write(bed, &store, DrillChange::Start(first.clone())).await,
        None,
        "what has ended does not begin"
    );
    let run = store.drill_run(&first).await.unwrap();
    assert_eq!(run.state, RunState::Finished);
    assert_eq!((run.planned_at, run.started_at), (Some(at(planned)), Some(began)));
    assert_eq!(run.finished_at, Some(bed.now()));
    assert_eq!(run.broadcast.unwrap().as_str(), "ovning-2026-0001.1");
    assert_eq!(run.report.unwrap()["grade"]["passed"], true);
    let mails = store.mails_about(MailKind::Drill, &first).await.unwrap();
    assert_eq!(mails.len(), 2, "and not four");
    assert!(matches!(
        store.drill_run("ovning.9").await,
        Err(StoreError::NotFound(_))
    ));
    let runs = store.drill_runs(Some("ovning"), 2).await.unwrap();
    let ids: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, ["ovning.3", "ovning.2"], "the latest first");
    assert_eq!(store.drill_runs(None, 10).await.unwrap().len(), 3);
    assert_eq!(store.drill_runs(Some("annan"), 10).await.unwrap(), []);

    // Who began and what came of it stands in the chain.
    let journal = store.journal(0, 100, None).await.unwrap();
    let drills: Vec<serde_json::Value> = journal
        .iter()
        .filter(|record| record.kind == "drill")
        .map(|record| serde_json::from_str(&record.body).unwrap())
        .collect();
    assert_eq!(drills.len(), 4);
    assert_eq!(drills[3]["state"], "finished");
    assert_eq!(drills[3]["passed"], true);
    assert_eq!(drills[3]["mails"].as_array().unwrap().len(), 2);
    assert!(
        !drills[3].to_string().contains("jour@"),
        "no address: {}",
        drills[3]
    );
    assert!(store.verify_journal().await.unwrap().broken.is_none());
    store.close().await;

    // All of it is there after a restart.
    let store = bed.open().await;
    assert_eq!(store.drills_running().await.unwrap().len(), 2);
    assert_eq!(store.drills_seen().await.unwrap()[0].seen_at, at(planned));
    store.close().await;
}

async fn what_was_missed_is_written_with_its_mails_in_one_step(bed: &Bed) {
    let store = bed.open().await;
    let missed = end(bed, RunState::Missed);
    let run = write(bed, &store, begin(Some("2026-11-04T09:00:00Z"), Some(missed)))
        .await
        .unwrap();
    let stored = store.drill_run(&run).await.unwrap();
    assert_eq!((stored.state, stored.started_at), (RunState::Missed, None));
    assert_eq!(store.drills_running().await.unwrap(), []);
    assert_eq!(store.mails_waiting(10).await.unwrap().len(), 2);
    store.close().await;
}

async fn schedules_are_seen_changed_and_forgotten(bed: &Bed) {
    let store = bed.open().await;
    let see = |drill: &str, line: &str, when: &str| {
        DrillChange::See(DrillSeen {
            drill: drill.to_owned(),
            schedule: line.to_owned(),
            seen_at: at(when),
        })
    };
    write(bed, &store, see("a", "0 10 * * *", "2026-11-01T00:00:00Z")).await;
    write(bed, &store, see("b", "0 11 * * *", "2026-11-01T00:00:00Z")).await;
    write(bed, &store, see("a", "0 12 * * *", "2026-11-02T00:00:00Z")).await;
    let seen = store.drills_seen().await.unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].schedule.as_str(), seen[0].seen_at),
        ("0 12 * * *", at("2026-11-02T00:00:00Z"))
    );
    write(bed, &store, DrillChange::Keep(vec!["b".to_owned()])).await;
    let left: Vec<String> = store
        .drills_seen()
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.drill)
        .collect();
    assert_eq!(left, ["b"]);
    store.close().await;
}

async fn only_what_is_live_and_valid_stands_above_a_drill(bed: &Bed) {
    use vardkase::model::{Kind, Mode};
    use vardkase::store::Under;
    let store = bed.open().await;
    assert_eq!(store.last_broadcast().await.unwrap(), 0);
    let mut drill = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, vec![bed.to("a")]);
    drill.mode = Mode::Drill;
    store.accept(drill).await.unwrap();
    let number = store.last_broadcast().await.unwrap();
    assert_eq!(number, 1);
    assert_eq!(store.live_now(bed.now()).await.unwrap(), None);
    assert_eq!(store.live_after(0).await.unwrap(), None);
    let live = bed.initial(&store, &["a"]).await;
    assert_eq!(
        store.live_now(bed.now()).await.unwrap().as_ref(),
        Some(&live.broadcast)
    );
    assert_eq!(store.live_after(number).await.unwrap(), Some(live.broadcast));
    let number = store.last_broadcast().await.unwrap();
    assert_eq!(store.live_after(number).await.unwrap(), None);
    // An alert that nobody ended, and that has not been true for long, keeps no drill from running.
    bed.later(3600);
    assert_eq!(store.live_now(bed.now()).await.unwrap(), None);
    store.close().await;
}

on_both_engines!(
    a_planned_time_is_run_once_and_a_run_ends_once,
    what_was_missed_is_written_with_its_mails_in_one_step,
    schedules_are_seen_changed_and_forgotten,
    only_what_is_live_and_valid_stands_above_a_drill,
);
