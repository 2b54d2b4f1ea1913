//! What was seen of accounts: kept while it stays the same, begun and ended once, told once.

use std::collections::BTreeMap;
use std::time::Duration;

use vardkase::clock::later;
use vardkase::model::{AccountId, Look, Observation, Phase, Reach, Sign, Subject, Trouble};
use vardkase::store::{Keep, Kept, PlanChange, Store};

use super::bed::Bed;
use super::on_both_engines;

on_both_engines!(
    what_stays_the_same_is_one_row_and_a_change_is_another,
    a_trouble_begins_once_and_ends_once_and_both_are_told,
    what_is_over_before_it_had_to_be_told_is_never_told,
    each_step_of_a_trouble_that_grows_is_told_once,
    an_event_is_told_each_time_and_is_over,
    one_look_does_not_end_what_another_saw,
    a_notice_that_was_not_told_stays_due_also_after_a_restart,
    the_old_is_forgotten_and_the_open_and_the_latest_stay,
    a_planned_time_is_taken_once_and_what_was_cut_off_is_known,
);

fn account() -> Subject {
    Subject::Account("facebook-nassjo".parse::<AccountId>().unwrap())
}

fn sign(trouble: Trouble, step: Option<u32>) -> Sign {
    Sign {
        trouble,
        text: "Kontot svarar inte.".to_owned(),
        remedy: "Se efter.".to_owned(),
        step,
    }
}

async fn see(bed: &Bed, store: &Store, look: Look, signs: Vec<Sign>, patience: u64) -> Kept {
    let observation = Observation::new(account(), look, signs);
    let patience = Trouble::ALL
        .iter()
        .map(|trouble| (*trouble, Duration::from_secs(patience)))
        .collect::<BTreeMap<_, _>>();
    let keep = Keep {
        observation,
        at: bed.now(),
        took: Duration::from_millis(20),
        patience,
    };
    store.keep(keep).await.unwrap()
}

async fn due(bed: &Bed, store: &Store) -> Vec<(Trouble, Phase, Option<u32>)> {
    let notices = store.notices_due(bed.now(), 100).await.unwrap();
    notices
        .into_iter()
        .map(|n| (n.condition.sign.trouble, n.phase, n.condition.sign.step))
        .collect()
}

async fn tell(bed: &Bed, store: &Store) -> usize {
    let due = store.notices_due(bed.now(), 100).await.unwrap();
    let ids: Vec<i64> = due.iter().map(|notice| notice.id).collect();
    let many = ids.len();
    store
        .noticed(ids, bed.now(), Ok("relay-kommun".to_owned()), vec![])
        .await
        .unwrap();
    many
}

async fn what_stays_the_same_is_one_row_and_a_change_is_another(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.now();
    for _ in 0..3 {
        see(bed, &store, Look::Reach, vec![], 0).await;
        bed.later(600);
    }
    let all = store.observations(&account(), 10).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].since, all[0].at),
        (first, later(first, Duration::from_mins(20)))
    );
    assert_eq!(all[0].observation.reach, Reach::Reachable);
    let kept = see(bed, &store, Look::Reach, vec![sign(Trouble::NoAnswer, None)], 0).await;
    assert_eq!(kept.before, Some(all[0].clone()));
    let all = store.observations(&account(), 10).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].observation.reach, Reach::Unreachable);
    assert_eq!(store.latest_observations().await.unwrap(), all[..1].to_vec());
}

async fn a_trouble_begins_once_and_ends_once_and_both_are_told(bed: &Bed) {
    let store = bed.open().await;
    let down = || vec![sign(Trouble::NoAnswer, None)];
    let kept = see(bed, &store, Look::Reach, down(), 60).await;
    assert_eq!(kept.begun.len(), 1);
    assert_eq!(due(bed, &store).await, []);
    assert_eq!(
        store.next_notice().await.unwrap(),
        Some(later(bed.now(), Duration::from_mins(1)))
    );
    bed.later(60);
    let kept = see(bed, &store, Look::Reach, down(), 60).await;
    assert!(kept.begun.is_empty() && kept.ended.is_empty());
    assert_eq!(due(bed, &store).await, [(Trouble::NoAnswer, Phase::Begin, None)]);
    assert_eq!(tell(bed, &store).await, 1);
    assert_eq!(due(bed, &store).await, []);
    assert_eq!(store.conditions().await.unwrap().len(), 1);
    bed.later(60);
    let kept = see(bed, &store, Look::Reach, vec![], 60).await;
    assert_eq!(kept.ended.len(), 1);
    assert_eq!(due(bed, &store).await, [(Trouble::NoAnswer, Phase::End, None)]);
    tell(bed, &store).await;
    assert!(store.conditions().await.unwrap().is_empty());
    let ended = store
        .conditions_ended(later(bed.now(), Duration::ZERO), 10)
        .await
        .unwrap();
    assert_eq!(ended.len(), 1);
    // The next time is another one.
    see(bed, &store, Look::Reach, down(), 0).await;
    assert_eq!(due(bed, &store).await, [(Trouble::NoAnswer, Phase::Begin, None)]);
}

async fn what_is_over_before_it_had_to_be_told_is_never_told(bed: &Bed) {
    let store = bed.open().await;
    see(bed, &store, Look::Reach, vec![sign(Trouble::NoAnswer, None)], 300).await;
    bed.later(60);
    let kept = see(bed, &store, Look::Reach, vec![], 300).await;
    assert_eq!(kept.ended.len(), 1);
    bed.later(3600);
    assert_eq!(due(bed, &store).await, []);
    assert_eq!(store.next_notice().await.unwrap(), None);
}

async fn each_step_of_a_trouble_that_grows_is_told_once(bed: &Bed) {
    let store = bed.open().await;
    let mut told = Vec::new();
    for days in [30, 30, 14, 14, 7] {
        see(
            bed,
            &store,
            Look::Reach,
            vec![sign(Trouble::Expiring, Some(days))],
            0,
        )
        .await;
        told.extend(due(bed, &store).await.into_iter().map(|(_, _, step)| step));
        tell(bed, &store).await;
        bed.later(86_400);
    }
    assert_eq!(told, [Some(30), Some(14), Some(7)]);
    // Renewed: over, and told.
    see(bed, &store, Look::Reach, vec![], 0).await;
    assert_eq!(due(bed, &store).await, [(Trouble::Expiring, Phase::End, Some(7))]);
}

async fn an_event_is_told_each_time_and_is_over(bed: &Bed) {
    let store = bed.open().await;
    for _ in 0..2 {
        see(bed, &store, Look::Reach, vec![sign(Trouble::Restart, None)], 0).await;
        assert!(store.conditions().await.unwrap().is_empty());
        assert_eq!(due(bed, &store).await, [(Trouble::Restart, Phase::Begin, None)]);
        tell(bed, &store).await;
        bed.later(10);
    }
    see(bed, &store, Look::Reach, vec![], 0).await;
    assert_eq!(due(bed, &store).await, []);
}

async fn one_look_does_not_end_what_another_saw(bed: &Bed) {
    let store = bed.open().await;
    see(
        bed,
        &store,
        Look::Profile,
        vec![sign(Trouble::ProfileFact, None)],
        0,
    )
    .await;
    let kept = see(bed, &store, Look::Reach, vec![], 0).await;
    assert!(kept.ended.is_empty());
    assert_eq!(store.conditions().await.unwrap().len(), 1);
    assert_eq!(store.latest_observations().await.unwrap().len(), 2);
}

async fn a_notice_that_was_not_told_stays_due_also_after_a_restart(bed: &Bed) {
    let store = bed.open().await;
    see(bed, &store, Look::Reach, vec![sign(Trouble::Credential, None)], 0).await;
    let notice = store.notices_due(bed.now(), 10).await.unwrap().remove(0);
    let again = later(bed.now(), Duration::from_secs(30));
    store
        .noticed(
            vec![notice.id],
            bed.now(),
            Err(("no relay".to_owned(), again)),
            vec![],
        )
        .await
        .unwrap();
    assert_eq!(due(bed, &store).await, []);
    store.close().await;
    let store = bed.open().await;
    bed.later(30);
    let due = store.notices_due(bed.now(), 10).await.unwrap();
    assert_eq!((due.len(), due[0].tries, due[0].id), (1, 1, notice.id));
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn the_old_is_forgotten_and_the_open_and_the_latest_stay(bed: &Bed) {
    let store = bed.open().await;
    see(
        bed,
        &store,
        Look::Profile,
        vec![sign(Trouble::ProfileFact, None)],
        0,
    )
    .await;
    for down in [true, false, true, false] {
        let signs = if down {
            vec![sign(Trouble::NoAnswer, None)]
        } else {
            vec![]
        };
        see(bed, &store, Look::Reach, signs, 0).await;
        tell(bed, &store).await;
        bed.later(86_400);
    }
    let gone = store.forget_observations(bed.now()).await.unwrap();
    assert!(gone >= 3, "{gone}");
    assert_eq!(store.observations(&account(), 10).await.unwrap().len(), 2);
    assert_eq!(store.conditions().await.unwrap().len(), 1);
    let ended = store.conditions_ended(
        vardkase::clock::earlier(bed.now(), Duration::from_hours(9999)),
        10,
    );
    assert!(ended.await.unwrap().is_empty());
}

async fn a_planned_time_is_taken_once_and_what_was_cut_off_is_known(bed: &Bed) {
    const NAME: &str = "backstage";
    let store = bed.open().await;
    assert_eq!(store.planned(NAME).await.unwrap(), None);
    let first = bed.now();
    let see = |schedule: &str| PlanChange::See {
        name: NAME,
        schedule: schedule.to_owned(),
    };
    assert!(store.plan(see("0 4 * * SUN"), first).await.unwrap());
    let planned = bed.later(600);
    let taken_by = |planned, owner: &str| PlanChange::Take {
        name: NAME,
        planned,
        owner: owner.to_owned(),
    };
    let take = |planned| taken_by(planned, "node-1");
    assert!(
        !store.plan(take(first), planned).await.unwrap(),
        "it was dealt with"
    );
    assert!(store.plan(take(planned), planned).await.unwrap());
    assert!(
        !store.plan(take(planned), planned).await.unwrap(),
        "somebody has it"
    );
    let pass = |planned| PlanChange::Pass { name: NAME, planned };
    assert!(!store.plan(pass(planned), planned).await.unwrap());
    let known = store.planned(NAME).await.unwrap().unwrap();
    assert_eq!((known.seen_at, known.running_at), (planned, Some(planned)));
    assert_eq!(known.owner.as_deref(), Some("node-1"));
    let end = |owner: &str| PlanChange::End {
        name: NAME,
        owner: owner.to_owned(),
    };
    let next = bed.later(1200);
    assert!(
        !store.plan(taken_by(next, "node-2"), next).await.unwrap(),
        "the one before has not ended"
    );
    assert!(
        !store.plan(end("node-2"), planned).await.unwrap(),
        "it is another's"
    );
    assert!(store.plan(end("node-1"), planned).await.unwrap());
    assert!(!store.plan(end("node-1"), planned).await.unwrap());
    assert!(store.plan(taken_by(next, "node-2"), next).await.unwrap());
    assert!(store.plan(end("node-2"), next).await.unwrap());
    // Another line begins anew: what lies before it was never planned.
    let later = bed.later(600);
    assert!(store.plan(see("0 5 * * *"), later).await.unwrap());
    let known = store.planned(NAME).await.unwrap().unwrap();
    assert_eq!(
        (known.schedule.as_str(), known.seen_at, known.running_at),
        ("0 5 * * *", later, None)
    );
}
