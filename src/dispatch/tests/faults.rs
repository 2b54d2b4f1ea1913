//! One account's trouble is its own: hanging, flooded, failing, refused, dead.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::service::{Act, Call};
use super::town::{HOUR, Town, drill, lane};
use crate::channel::Pace;
use crate::model::{BroadcastId, DeliveryId, Event, Kind, LaneId, Proof, Reason, State};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// When each healthy lane's three posts stood there, with or without sick neighbours.
async fn healthy_times(sick: bool) -> BTreeMap<LaneId, Vec<Duration>> {
    let mut town = Town::new();
    let healthy: Vec<LaneId> = (0..10).map(|n| lane(&format!("healthy-{n}"))).collect();
    for lane in &healthy {
        town.account(lane, Proof::Keyed, Act::Take, &[]);
    }
    let mut all = healthy.clone();
    if sick {
        let trouble = [
            ("hangs", Act::Hang { taken: true }),
            ("hangs-untaken", Act::Hang { taken: false }),
            ("floods", Act::Busy(Some(Duration::from_secs(7)))),
            ("floods-without-time", Act::Busy(None)),
            ("down", Act::Down),
            ("cut", Act::Cut { taken: true }),
            ("panics", Act::Panic),
        ];
        for (name, act) in trouble {
            town.account(&lane(name), Proof::Unproven, act, &[]);
            all.insert(0, lane(name));
        }
    }
    let start = Instant::now();
    for _ in 0..3 {
        town.send(&all, HOUR);
    }
    let dispatcher = town.dispatcher().await;
    sleep(Duration::from_mins(10)).await;
    town.check();
    dispatcher.stop(SECOND).await;
    let times = |lane: &LaneId| {
        town.services[lane]
            .posts()
            .iter()
            .map(|(_, at)| *at - start)
            .collect()
    };
    healthy.iter().map(|lane| (lane.clone(), times(lane))).collect()
}

#[tokio::test(start_paused = true)]
async fn an_account_that_hangs_floods_or_fails_never_delays_another() {
    let alone = healthy_times(false).await;
    let beside = healthy_times(true).await;
    assert!(alone.values().all(|times| times.len() == 3));
    assert_eq!(alone, beside);
    let last = alone.values().flatten().max().unwrap();
    println!("10 healthy lanes beside 7 sick ones: 30 posts, the last after {last:?}, delay 0 µs");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_to_the_moment() {
    let mut town = Town::new();
    let account = lane("busy");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Busy(Some(37 * SECOND))]);
    let first = town.send(from_ref(&account), HOUR);
    let dispatcher = town.dispatcher().await;
    town.until(&first[0], State::Sending).await;
    sleep(SECOND).await;
    // Neither the delivery itself nor a new one goes before the time.
    let second = town.send(from_ref(&account), HOUR);
    dispatcher.wake(from_ref(&account));
    town.quiet(HOUR).await;
    let at: Vec<Instant> = service.requests().iter().map(|request| request.at).collect();
    assert_eq!(at.len(), 3);
    let named = at[0] + service.latency + 37 * SECOND;
    assert!(at[1] >= named, "asked {:?} too early", named - at[1]);
    assert!(at[1] - named < Duration::from_millis(10));
    for id in [&first[0], &second[0]] {
        assert_eq!(town.memory.state(id), State::Published);
    }
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_meets_no_request_during_any_penalty() {
    let mut town = Town::new();
    let accounts: Vec<LaneId> = (0..30).map(|n| lane(&format!("a{n}"))).collect();
    let waits = [Some(3 * SECOND), None, Some(61 * SECOND), Some(SECOND / 4), None];
    let script: Vec<Act> = waits.iter().map(|wait| Act::Busy(*wait)).collect();
    for account in &accounts {
        town.account(account, Proof::Keyed, Act::Take, &script);
    }
    town.send(&accounts, HOUR);
    town.send(&accounts, HOUR);
    let mut dispatcher = town.dispatcher().await;
    sleep(10 * SECOND).await;
    // The penalty survives a restart.
    drop(dispatcher);
    dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    let (mut requests, mut early) = (0, 0);
    for service in town.services.values() {
        let at: Vec<Instant> = service.requests().iter().map(|request| request.at).collect();
        requests += at.len();
        for (pair, wait) in at.windows(2).zip(waits) {
            // Without a time, at least the shortest wait of the schedule.
            let least = wait.unwrap_or(Duration::from_millis(1600));
            early += usize::from(pair[1] < pair[0] + service.latency + least - Duration::from_millis(1));
        }
    }
    println!("30 accounts × 5 answers of 429: {requests} requests, {early} during a penalty");
    assert_eq!((requests, early), (30 * 7, 0));
    assert_eq!(town.count(), (0, 0));
    assert_eq!(town.accounts().len(), 30);
    town.check();
    dispatcher.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_penalty_past_the_validity_hands_over_at_once_and_asks_no_more() {
    let mut town = Town::new();
    let account = lane("quota");
    let ten_years = Duration::from_hours(10 * 8760);
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Busy(Some(ten_years))]);
    let mut ids = town.send(from_ref(&account), HOUR);
    ids.extend(town.send(from_ref(&account), HOUR));
    let _dispatcher = town.dispatcher().await;
    town.quiet(SECOND).await;
    assert!(ids.iter().all(|id| town.memory.state(id) == State::Manual));
    assert_eq!(service.requests().len(), 1);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_and_end_at_the_deadline() {
    let mut town = Town::new();
    let account = lane("down");
    let service = town.account(&account, Proof::Keyed, Act::Down, &[]);
    let start = Instant::now();
    let ids = town.send(&[account], Duration::from_mins(30));
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(town.memory.state(&ids[0]), State::Expired);
    let requests = service.requests();
    let gaps: Vec<Duration> = requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let expected = [2, 5, 10, 20, 40, 60, 120, 300, 300];
    assert!(gaps.len() >= 7);
    for (gap, base) in gaps.iter().zip(expected.map(Duration::from_secs)) {
        // The breaker's pauses are shorter than the schedule's; both are kept.
        assert!(
            *gap >= base.mul_f64(0.79) && *gap <= base.mul_f64(1.21) + SECOND,
            "{gaps:?}"
        );
    }
    assert!(
        requests
            .iter()
            .all(|request| request.at - start < Duration::from_mins(30))
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn the_breaker_postpones_and_a_new_broadcast_may_probe() {
    let mut town = Town::new();
    let account = lane("down");
    let mut script = vec![Act::Down; 8];
    script.push(Act::Take);
    let service = town.account(&account, Proof::Keyed, Act::Take, &script);
    let ids = town.send_list(&account, 8, HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(SECOND * 3 / 2).await;
    assert_eq!(service.requests().len(), 5, "five failures open it");
    let notes = town.memory.notes(&account);
    assert_eq!((notes.failures, notes.open_until.is_some()), (5, true));
    let new = town.send(from_ref(&account), HOUR);
    dispatcher.wake(from_ref(&account));
    sleep(SECOND).await;
    let requests = service.requests();
    assert_eq!(requests.len(), 6, "the new broadcast probes once");
    assert_eq!(requests[5].key.as_ref(), Some(&new[0]));
    town.quiet(HOUR).await;
    assert!(
        ids.iter()
            .chain(&new)
            .all(|id| town.memory.state(id) == State::Published),
        "nothing is dropped"
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_dead_credential_holds_one_delivery_and_rests_the_lane() {
    let mut town = Town::new();
    let account = lane("expired");
    let service = town.account(
        &account,
        Proof::Keyed,
        Act::Take,
        &[Act::Credential, Act::Credential],
    );
    let ids: Vec<DeliveryId> = (0..3).flat_map(|_| town.send(from_ref(&account), HOUR)).collect();
    let dispatcher = town.dispatcher().await;
    sleep(59 * SECOND).await;
    assert_eq!(service.requests().len(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(service.requests().len(), 2);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(service.requests().len(), 2, "the rest doubles");
    // Somebody signed in again.
    dispatcher.reload();
    town.until(&ids[2], State::Published).await;
    assert_eq!(town.memory.state(&ids[0]), State::Held);
    assert_eq!(town.memory.error(&ids[0]), "http-401");
    let woken = town.memory.by_hand(&ids[0], crate::model::Event::Retry);
    dispatcher.wake(&[woken]);
    town.until(&ids[0], State::Published).await;
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_and_stops_nothing_else() {
    let mut town = Town::new();
    let account = lane("strict");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Refuse]);
    let first = town.send(from_ref(&account), HOUR);
    let second = town.send(&[account], HOUR);
    let _dispatcher = town.dispatcher().await;
    town.quiet(SECOND).await;
    assert_eq!(town.memory.state(&first[0]), State::Refused);
    assert_eq!(town.memory.state(&second[0]), State::Published);
    assert_eq!(service.requests().len(), 2);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_another_mode_an_unknown_account_or_a_closed_one() {
    let mut town = Town::new();
    let (crossed, closed, gone) = (drill("crossed"), lane("closed"), lane("gone"));
    let live = town.account(&crossed, Proof::Keyed, Act::Take, &[]);
    town.plan(&crossed, |plan| plan.side = lane("nowhere").side());
    let shut = town.account(&closed, Proof::Keyed, Act::Take, &[]);
    town.closed(&closed, Reason::new("no-secret", "set the credential"));
    let ids = town.send(&[crossed, closed.clone(), gone], HOUR);
    let dispatcher = town.dispatcher().await;
    town.quiet(SECOND).await;
    let errors: Vec<String> = ids.iter().map(|id| town.memory.error(id)).collect();
    assert_eq!(errors, ["mode-mismatch", "no-secret", "no-account"]);
    assert!(ids.iter().all(|id| town.memory.state(id) == State::Held));
    assert_eq!(live.requests().len() + shut.requests().len(), 0);
    // Once the account is in order, a retry goes.
    let service = shut.clone();
    town.plan(&closed, |plan| plan.channel = Ok(service));
    let woken = town.memory.by_hand(&ids[1], crate::model::Event::Retry);
    dispatcher.wake(&[woken]);
    town.until(&ids[1], State::Published).await;
}

#[tokio::test(start_paused = true)]
async fn drills_stand_back_while_anything_live_can_go() {
    let mut town = Town::new();
    let (exercise, slow, quick) = (drill("exercise"), lane("slow"), lane("quick"));
    let drill_service = town.account(&exercise, Proof::Keyed, Act::Take, &[]);
    let slow_service = town.account(&slow, Proof::Keyed, Act::Take, &[Act::Hang { taken: false }]);
    town.account(&quick, Proof::Keyed, Act::Take, &[]);
    let ids = town.send_list(&exercise, 100, HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(SECOND).await;
    let before = drill_service.requests().len();
    assert!(before > 3, "a drill goes while live is idle");
    let live = town.send(&[slow.clone(), quick.clone()], HOUR);
    let alarm = Instant::now();
    dispatcher.wake(&[slow, quick]);
    sleep(19 * SECOND).await;
    let during = drill_service
        .requests()
        .iter()
        .filter(|request| request.at > alarm)
        .count();
    assert_eq!(during, 0, "no drill attempt starts while a live one is under way");
    town.until(&live[0], State::Published).await;
    let live_end = slow_service.requests().last().unwrap().at;
    assert!(live_end - alarm > 20 * SECOND);
    town.until(&ids[99], State::Published).await;
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_list_is_worked_as_wide_as_the_account_allows_and_paced() {
    let mut town = Town::new();
    let (wide, paced) = (lane("wide"), lane("paced"));
    let service = town.account(&wide, Proof::Keyed, Act::Take, &[]);
    town.plan(&wide, |plan| plan.pace.parallel = 8);
    let slow = town.account(&paced, Proof::Keyed, Act::Take, &[]);
    let pace = Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 3,
    };
    town.plan(&paced, |plan| plan.pace = pace);
    town.send_list(&wide, 2000, HOUR);
    town.send_list(&paced, 65, HOUR);
    let start = Instant::now();
    let dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!((service.widest(), service.posts().len()), (8, 2000));
    let wide_time = service.posts().last().unwrap().1 - start;
    assert!(wide_time < 2000 / 8 * Duration::from_millis(155), "{wide_time:?}");
    let paced_time = slow.requests().last().unwrap().at - start;
    assert!(
        paced_time >= 60 * SECOND && paced_time < 61 * SECOND,
        "{paced_time:?}"
    );
    let commits = town.memory.commits.load(Ordering::SeqCst);
    assert!(
        commits <= 2000 + 8 + 65 * 2 + 5,
        "{commits} commits: an end and the next start share one"
    );
    town.check();
    drop(dispatcher);
}

#[tokio::test(start_paused = true)]
async fn deferred_deliveries_in_front_hide_nothing_behind_them() {
    let mut town = Town::new();
    let account = lane("greylisted");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    let broadcast = BroadcastId::of(&town.alert(), 1);
    let mut works = Vec::new();
    for number in 0..3000 {
        let mut work = town.make(&account, &broadcast, Kind::Initial, 2 * HOUR);
        work.delivery.recipient = Some(crate::model::Recipient::new(format!("p{number}@example.se")));
        if number < 2500 {
            work.delivery.not_before = crate::clock::later(work.delivery.queued_at, HOUR);
        }
        works.push(work);
    }
    town.memory.accept(works);
    town.plan(&account, |plan| plan.pace.parallel = 50);
    let _dispatcher = town.dispatcher().await;
    sleep(10 * SECOND).await;
    assert_eq!(service.posts().len(), 500);
    town.quiet(2 * HOUR).await;
    assert_eq!(service.posts().len(), 3000);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn an_idle_dispatcher_does_nothing_and_a_wake_starts_it() {
    let mut town = Town::new();
    let account = lane("rare");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    town.send(from_ref(&account), HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(Duration::from_mins(3)).await;
    let calls = town.memory.calls.load(Ordering::SeqCst);
    sleep(24 * HOUR).await;
    assert_eq!(
        town.memory.calls.load(Ordering::SeqCst),
        calls,
        "no call of the store in a day"
    );
    let ids = town.send(from_ref(&account), HOUR);
    dispatcher.wake(&[account.clone(), account]);
    town.until(&ids[0], State::Published).await;
    assert_eq!(
        service
            .requests()
            .iter()
            .filter(|request| request.call == Call::Publish)
            .count(),
        2
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_delays_nothing() {
    let mut town = Town::new();
    let account = lane("jump");
    let service = town.account(
        &account,
        Proof::Keyed,
        Act::Take,
        &[Act::Busy(Some(30 * SECOND)), Act::Down],
    );
    let ids = town.send(&[account], 24 * HOUR);
    let _dispatcher = town.dispatcher().await;
    sleep(SECOND).await;
    let start = service.requests()[0].at;
    town.clock.jump(-3600);
    sleep(31 * SECOND).await;
    assert_eq!(service.requests().len(), 2);
    town.clock.jump(-86400);
    sleep(6 * SECOND).await;
    assert_eq!(town.memory.state(&ids[0]), State::Published);
    assert!(service.requests()[2].at - start < 40 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn full_mailboxes_delay_nobody_else() {
    let mut town = Town::new();
    let account = lane("mail");
    let mut script = vec![Act::Take; 3000];
    for full in script.iter_mut().step_by(50) {
        *full = Act::Full(5 * MINUTE);
    }
    let service = town.account(&account, Proof::Keyed, Act::Take, &script);
    town.plan(&account, |plan| {
        plan.pace = Pace {
            attempts: 1200,
            per: MINUTE,
            burst: 20,
            parallel: 8,
        };
    });
    let ids = town.send_list(&account, 3000, HOUR);
    let start = Instant::now();
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert!(ids.iter().all(|id| town.memory.state(id) == State::Published));
    let posts = service.posts();
    // 3000 attempts at 20 a second; those of the full mailboxes among them.
    let last = posts[2939].1 - start;
    assert!(last <= 152 * SECOND, "the last of the others after {last:?}");
    assert!(posts[2940].1 - start >= 5 * MINUTE, "the full ones had to wait");
    assert_eq!(service.requests().len(), 3060);
    let notes = town.memory.notes(&account);
    assert_eq!((notes.busy_until, notes.failures), (None, 0));
    println!("3000 recipients, 60 full mailboxes: the other 2940 out after {last:?}");
    assert_eq!(town.count(), (0, 0));
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_recipient_busy_past_the_validity_is_handed_over_alone() {
    let mut town = Town::new();
    let account = lane("push");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Full(2 * HOUR)]);
    let ids = town.send_list(&account, 50, HOUR);
    let _dispatcher = town.dispatcher().await;
    town.quiet(MINUTE).await;
    let by_hand = ids.iter().filter(|id| town.memory.state(id) == State::Manual);
    assert_eq!(by_hand.count(), 1);
    assert_eq!(service.posts().len(), 49);
    assert_eq!(service.requests().len(), 50);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn after_a_persons_retry_the_waits_begin_anew() {
    let mut town = Town::new();
    let account = lane("down");
    let mut script = vec![Act::Down; 3];
    script.extend([Act::Credential, Act::Down]);
    let service = town.account(&account, Proof::Keyed, Act::Take, &script);
    let id = town.send(from_ref(&account), HOUR).remove(0);
    let dispatcher = town.dispatcher().await;
    town.until(&id, State::Held).await;
    town.memory.by_hand(&id, Event::Retry);
    dispatcher.wake(from_ref(&account));
    town.quiet(HOUR).await;
    assert_eq!(town.memory.state(&id), State::Published);
    let at: Vec<Instant> = service.requests().iter().map(|request| request.at).collect();
    let wait = at[5] - at[4];
    assert!(wait < 3 * SECOND, "{wait:?} after the first failure of the retry");
    town.check();
}
