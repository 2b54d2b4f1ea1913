//! Unknown is a state: it is settled before anything else of the lane goes, and never guessed away.

use std::slice::from_ref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::service::{Act, Call, Service};
use super::town::{HOUR, Town, lane};
use crate::config::Unproven;
use crate::model::{BroadcastId, Busy, Kind, PictureRef, Proof, Reason, SendError, Settled, State};

fn calls(service: &Service) -> Vec<Call> {
    service.requests().iter().map(|request| request.call).collect()
}

/// Sends one delivery whose first attempt ends as told; returns its state, error and what the service saw.
async fn lost(proof: Proof, act: Act, policy: Unproven) -> (State, String, Vec<Call>, usize) {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, proof, Act::Take, &[act]);
    town.plan(&account, |plan| plan.unproven = policy);
    let id = town.send(&[account], HOUR).remove(0);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    town.check();
    (
        town.memory.state(&id),
        town.memory.error(&id),
        calls(&service),
        service.posts().len(),
    )
}

#[tokio::test(start_paused = true)]
async fn an_unknown_attempt_is_settled_by_the_channels_own_means() {
    use Call::{Publish, Settle};
    let mut ambiguous = 0;
    for hang in [true, false] {
        for taken in [true, false] {
            let act = if hang {
                Act::Hang { taken }
            } else {
                Act::Cut { taken }
            };
            // The same key again: one post, whatever happened before.
            let (state, _, seen, posts) = lost(Proof::Keyed, act.clone(), Unproven::Hold).await;
            assert_eq!((state, posts), (State::Published, 1));
            assert_eq!(seen, [Publish, Publish]);
            // Read back: sent again only if it is not there.
            let (state, _, seen, posts) = lost(Proof::ReadBack, act.clone(), Unproven::Hold).await;
            assert_eq!((state, posts), (State::Published, 1));
            assert_eq!(
                seen,
                if taken {
                    vec![Publish, Settle]
                } else {
                    vec![Publish, Settle, Publish]
                }
            );
            // Nothing can tell: a person decides, or the account's policy does and it may come twice.
            let (state, error, seen, _) = lost(Proof::Unproven, act.clone(), Unproven::Hold).await;
            assert_eq!((state, error.as_str()), (State::Held, "unproven"));
            assert_eq!(seen, [Publish, Settle]);
            let (state, _, _, posts) = lost(Proof::Unproven, act, Unproven::Resend).await;
            assert_eq!((state, posts), (State::Published, 1 + usize::from(taken)));
            ambiguous += 4;
        }
    }
    println!("{ambiguous} ambiguous outcomes: wrong class 0; doubled 0 on keyed and read-back");
}

#[tokio::test(start_paused = true)]
async fn settling_that_fails_is_tried_again_and_then_a_persons() {
    for (failures, end) in [(3, State::Published), (40, State::Held)] {
        let mut town = Town::new();
        let account = lane("one");
        let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: true }]);
        let down = SendError::NotSent(Reason::new("connect", "as told"));
        service.next_settles(vec![down; failures]);
        let id = town.send(&[account], HOUR).remove(0);
        let _dispatcher = town.dispatcher().await;
        town.quiet(HOUR).await;
        assert_eq!((town.memory.state(&id), service.posts().len()), (end, 1));
        let asked = calls(&service)
            .iter()
            .filter(|call| **call == Call::Settle)
            .count();
        assert_eq!(asked, (failures + 1).min(10));
        town.check();
    }
}

#[tokio::test(start_paused = true)]
async fn settling_waits_out_a_penalty_and_stops_at_a_refusal() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: true }]);
    let until = crate::clock::later(crate::clock::Clock::now(&*town.clock), Duration::from_mins(2));
    service.next_settles(vec![
        SendError::Busy {
            until: Some(until),
            reason: Reason::new("http-429", "as told"),
            scope: Busy::Account,
        },
        SendError::Refused(Reason::new("http-403", "as told")),
    ]);
    let id = town.send(from_ref(&account), HOUR).remove(0);
    let dispatcher = town.dispatcher().await;
    sleep(Duration::from_secs(30)).await;
    assert!(
        town.memory.notes(&account).busy_until.is_some(),
        "remembered across a restart"
    );
    let other = town.send(from_ref(&account), HOUR).remove(0);
    dispatcher.wake(&[account]);
    sleep(Duration::from_secs(80)).await;
    assert_eq!(
        calls(&service).len(),
        2,
        "no request of any kind during the penalty"
    );
    town.quiet(HOUR).await;
    assert_eq!(
        (town.memory.state(&id), town.memory.error(&id).as_str()),
        (State::Held, "http-403")
    );
    assert_eq!(town.memory.state(&other), State::Published);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn nothing_else_of_the_lane_goes_before_an_unknown_attempt_is_asked_after() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: true }]);
    for _ in 0..3 {
        town.send(from_ref(&account), HOUR);
    }
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(
        calls(&service),
        [Call::Publish, Call::Settle, Call::Publish, Call::Publish]
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn an_absent_attempt_past_its_deadline_expires() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(
        &account,
        Proof::ReadBack,
        Act::Take,
        &[Act::Hang { taken: false }],
    );
    let id = town.send(&[account], Duration::from_secs(15)).remove(0);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(
        (town.memory.state(&id), service.posts().len()),
        (State::Expired, 0)
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_post_that_went_without_its_picture_says_so_also_when_it_was_found_again() {
    let mut town = Town::new();
    let account = lane("one");
    let lost = Act::Hang { taken: true };
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[lost]);
    let alert = town.alert();
    let mut work = town.make(&account, &BroadcastId::of(&alert, 1), Kind::Initial, HOUR);
    // The store of these tests has no pictures: it is as if this one had been lost.
    work.post.rendering.picture = Some(PictureRef {
        sha256: "ab".repeat(32),
        media_type: "image/png".to_owned(),
        width: 1,
        height: 1,
        size_bytes: 1,
        alt: "En karta".to_owned(),
        credit: None,
    });
    let id = work.delivery.id.clone();
    town.memory.accept(vec![work]);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    town.check();
    assert_eq!(town.memory.state(&id), State::Published);
    assert_eq!(calls(&service), [Call::Publish, Call::Settle]);
    let receipt = town.memory.row(&id).work.delivery.receipt.unwrap();
    let note = receipt.note.unwrap_or_default();
    assert!(note.contains("without its picture"), "{note:?}");
}

#[tokio::test(start_paused = true)]
async fn what_got_through_and_failed_there_is_refused_and_not_sent_again() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: true }]);
    service.next_settled(Settled::Refused(Reason::new("failed", "as told")));
    let id = town.send(&[account], HOUR).remove(0);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(
        (town.memory.state(&id), town.memory.error(&id).as_str()),
        (State::Refused, "failed")
    );
    assert_eq!(calls(&service), [Call::Publish, Call::Settle]);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_or_set_doubles_nothing_and_delays_nothing() {
    const HOURS_72: Duration = Duration::from_hours(72);
    let mut cases = 0;
    for jump in [3600, -3600, 86_400, -86_400] {
        // Wrong all the while, set during the attempt, and wrong until then.
        for (before, during) in [(jump, 0), (0, jump), (jump, -jump)] {
            for taken in [true, false] {
                let mut town = Town::new();
                let account = lane("one");
                let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken }]);
                town.clock.jump(before);
                let id = town.send(&[account], HOURS_72).remove(0);
                let began = tokio::time::Instant::now();
                let _dispatcher = town.dispatcher().await;
                sleep(Duration::from_millis(100)).await;
                town.clock.jump(during);
                let apart = (before + during).unsigned_abs();
                town.register.1.store(apart, Ordering::SeqCst);
                town.quiet(HOUR).await;
                let case = format!("{before} s, then {during} s, taken {taken}");
                assert_eq!(town.memory.state(&id), State::Published, "{case}");
                assert_eq!(service.posts().len(), 1, "{case}");
                assert!(began.elapsed() < Duration::from_mins(1), "{case}");
                town.check();
                cases += 1;
            }
        }
    }
    println!("R8 clocks: {cases} jumps of an hour and a day around a lost answer, doubled 0, delayed 0");
}

#[tokio::test(start_paused = true)]
async fn times_of_a_service_that_is_days_away_tell_nothing() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: false }]);
    town.register.1.store(10 * 86_400, Ordering::SeqCst);
    let id = town.send(&[account], HOUR).remove(0);
    let _dispatcher = town.dispatcher().await;
    town.until(&id, State::Held).await;
    assert_eq!(town.memory.error(&id), "clock");
    assert_eq!(service.posts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_between_an_answer_and_the_next_look_lengthens_no_wait() {
    let mut town = Town::new();
    let account = lane("one");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Down, Act::Down]);
    town.clock.jump(86_400);
    // Accepted by the old time, first looked at by the new one.
    let id = town.send(&[account], Duration::from_hours(72)).remove(0);
    town.clock.jump(-86_400);
    let began = tokio::time::Instant::now();
    let _dispatcher = town.dispatcher().await;
    town.until(&id, State::Published).await;
    assert_eq!(service.requests().len(), 3);
    let took = began.elapsed();
    // And what is waited between attempts is still waited.
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(30),
        "{took:?}"
    );
}
