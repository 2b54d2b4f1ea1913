//! Crashes, stops, lost leases and a store that cannot write.

use std::slice::from_ref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, timeout};

use super::service::Act;
use super::town::{HOUR, Town, lane, unlimited};
use crate::channel::Pace;
use crate::model::{LaneId, Outcome, Proof, State};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_dispatcher_dropped_at_any_moment_loses_nothing_and_doubles_nothing() {
    let (mut drops, mut lost, mut doubled, mut unknown) = (0, 0, 0, 0);
    let mut resumed = Vec::new();
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for _ in 0..60 {
        let mut town = Town::new();
        let accounts: Vec<LaneId> = (0..30).map(|n| lane(&format!("a{n}"))).collect();
        for (n, account) in accounts.iter().enumerate() {
            let proof = if n % 2 == 0 { Proof::Keyed } else { Proof::ReadBack };
            town.account(account, proof, Act::Take, &[]);
        }
        town.send(&accounts, HOUR);
        town.send(&accounts, HOUR);
        let dispatcher = town.dispatcher().await;
        sleep(Duration::from_micros(random.random_range(0..400_000))).await;
        drop(dispatcher);
        drops += 1;
        sleep(SECOND).await;
        let before: usize = town
            .services
            .values()
            .map(|service| service.requests().len())
            .sum();
        let start = Instant::now();
        let _dispatcher = town.dispatcher().await;
        unknown += town
            .memory
            .rows()
            .iter()
            .filter(|row| row.work.delivery.state == State::Unknown)
            .count();
        while town.memory.any_open() {
            let now: usize = town
                .services
                .values()
                .map(|service| service.requests().len())
                .sum();
            if now > before {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        resumed.push(start.elapsed());
        town.quiet(HOUR).await;
        let counted = town.count();
        lost += counted.0;
        doubled += counted.1;
        assert!(
            town.memory
                .rows()
                .iter()
                .all(|row| row.work.delivery.state == State::Published)
        );
        town.check();
    }
    let slowest = resumed.iter().max().unwrap();
    println!(
        "{drops} drops over 30 accounts: lost {lost}, doubled {doubled}, settled {unknown}, slowest resume {slowest:?}"
    );
    assert_eq!((lost, doubled), (0, 0));
    assert!(*slowest < 2 * SECOND && unknown > 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_an_account_no_fresh_burst() {
    let mut town = Town::new();
    let account = lane("paced");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    let pace = Pace {
        attempts: 6,
        per: Duration::from_mins(1),
        burst: 3,
        ..unlimited(1)
    };
    town.plan(&account, |plan| plan.pace = pace);
    town.send_list(&account, 8, HOUR);
    let start = Instant::now();
    for _ in 0..4 {
        let dispatcher = town.dispatcher().await;
        sleep(3 * SECOND).await;
        drop(dispatcher);
    }
    let sent = service
        .requests()
        .iter()
        .filter(|request| request.at - start < 12 * SECOND)
        .count();
    assert_eq!(sent, 4, "three at once and one after ten seconds");
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_attempts_finish_and_starts_none() {
    let mut town = Town::new();
    let accounts: Vec<LaneId> = (0..5).map(|n| lane(&format!("a{n}"))).collect();
    for account in &accounts {
        town.account(account, Proof::Keyed, Act::Take, &[]);
    }
    for _ in 0..4 {
        town.send(&accounts, HOUR);
    }
    let dispatcher = town.dispatcher().await;
    sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    assert!(dispatcher.stop(20 * SECOND).await);
    assert!(asked.elapsed() < SECOND);
    let states = |state| {
        town.memory
            .rows()
            .iter()
            .filter(|row| row.work.delivery.state == state)
            .count()
    };
    assert_eq!((states(State::Sending), states(State::Unknown)), (0, 0));
    let started_late = town
        .services
        .values()
        .flat_map(|service| service.requests())
        .filter(|r| r.at > asked)
        .count();
    assert_eq!(started_late, 0);
    let rest = states(State::Queued);
    assert!(rest > 0);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!((town.count(), states(State::Published)), ((0, 0), 20));
    let requests: usize = town
        .services
        .values()
        .map(|service| service.requests().len())
        .sum();
    assert_eq!(requests, 20, "each was asked for once");
    town.check();
    println!("stop midway: {rest} of 20 left for the next start, {requests} requests in all");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_unknown_at_the_next_start() {
    let mut town = Town::new();
    let account = lane("hangs");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Hang { taken: true }]);
    let id = town.send(&[account], HOUR).remove(0);
    let dispatcher = town.dispatcher().await;
    town.until(&id, State::Sending).await;
    assert!(!dispatcher.stop(3 * SECOND).await);
    assert_eq!(town.memory.state(&id), State::Sending);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(
        (town.memory.state(&id), service.posts().len()),
        (State::Published, 1)
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_lanes_writes_nothing_and_says_so() {
    let mut town = Town::new();
    let account = lane("taken");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    let ids = town.send_list(&account, 50, HOUR);
    let dispatcher = town.dispatcher().await;
    town.until(&ids[2], State::Published).await;
    town.memory.usurp(&account);
    let before: Vec<State> = ids.iter().map(|id| town.memory.state(id)).collect();
    let why = timeout(SECOND, dispatcher.failed()).await.unwrap();
    assert!(why.contains("another node"), "{why}");
    let requests = service.requests().len();
    sleep(HOUR).await;
    let after: Vec<State> = ids.iter().map(|id| town.memory.state(id)).collect();
    assert_eq!(before, after, "not a row was written");
    assert_eq!(service.requests().len(), requests, "nothing more was sent");
    assert!(town.memory.fenced.load(Ordering::SeqCst) > 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_hears_at_renewal_that_its_lane_was_taken() {
    let mut town = Town::new();
    let account = lane("taken");
    town.account(&account, Proof::Keyed, Act::Take, &[Act::Busy(Some(20 * SECOND))]);
    town.send(from_ref(&account), HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(SECOND).await;
    town.memory.usurp(&account);
    timeout(11 * SECOND, dispatcher.failed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lanes_of_a_dead_node_are_taken_when_its_lease_runs_out() {
    let mut town = Town::new();
    let account = lane("shared");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Hang { taken: true }]);
    let id = town.send(&[account], HOUR).remove(0);
    let first = town.dispatcher_of("first").await;
    town.until(&id, State::Sending).await;
    drop(first);
    let _second = town.dispatcher_of("second").await;
    sleep(SECOND).await;
    assert_eq!(service.requests().len(), 1, "not before");
    town.quiet(Duration::from_mins(2)).await;
    assert_eq!(
        (town.memory.state(&id), service.posts().len()),
        (State::Published, 1)
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_written_is_kept_and_stops_all_sending() {
    let mut town = Town::new();
    let accounts: Vec<LaneId> = (0..5).map(|n| lane(&format!("a{n}"))).collect();
    for account in &accounts {
        town.account(account, Proof::Unproven, Act::Take, &[]);
    }
    for _ in 0..3 {
        town.send(&accounts, 4 * HOUR);
    }
    let dispatcher = town.dispatcher().await;
    sleep(Duration::from_millis(50)).await;
    town.memory.full.store(true, Ordering::SeqCst);
    sleep(HOUR).await;
    let late = town.send(&[lane("a0")], HOUR);
    dispatcher.wake(&[lane("a0")]);
    sleep(HOUR / 2).await;
    let requests = |town: &Town| {
        town.services
            .values()
            .map(|service| service.requests().len())
            .sum::<usize>()
    };
    assert_eq!(
        requests(&town),
        5,
        "no attempt starts while an outcome is not on disk"
    );
    town.memory.full.store(false, Ordering::SeqCst);
    town.quiet(HOUR).await;
    assert_eq!(requests(&town), 16);
    assert_eq!(town.memory.state(&late[0]), State::Published);
    assert_eq!(town.count(), (0, 0));
    assert!(
        town.memory
            .rows()
            .iter()
            .all(|row| row.work.delivery.state == State::Published)
    );
    println!("disk full for 90 min: 5 outcomes kept, 0 sends meanwhile, lost 0, doubled 0, unknown 0");
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_deadline_passes_is_waited_for_and_not_besieged() {
    let mut town = Town::new();
    let account = lane("late");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[Act::Down]);
    let id = town.send(&[account], 3 * SECOND).remove(0);
    let _dispatcher = town.dispatcher().await;
    sleep(SECOND).await;
    town.memory.full.store(true, Ordering::SeqCst);
    let calls = town.memory.calls.load(Ordering::SeqCst);
    // A lane that spins would never let virtual time pass here.
    sleep(Duration::from_mins(10)).await;
    let calls = town.memory.calls.load(Ordering::SeqCst) - calls;
    assert!(calls < 300, "{calls} calls in ten minutes");
    town.memory.full.store(false, Ordering::SeqCst);
    town.quiet(HOUR).await;
    assert_eq!(
        (town.memory.state(&id), service.requests().len()),
        (State::Expired, 1)
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_channel_is_an_unknown_outcome_and_stops_nobody() {
    let mut town = Town::new();
    let (bad, good) = (lane("bad"), lane("good"));
    let service = town.account(&bad, Proof::Keyed, Act::Take, &[Act::Panic]);
    town.account(&good, Proof::Keyed, Act::Take, &[]);
    let ids = town.send(&[bad, good], HOUR);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert!(ids.iter().all(|id| town.memory.state(id) == State::Published));
    let outcomes: Vec<_> = town
        .memory
        .row(&ids[0])
        .attempts
        .iter()
        .map(|(.., outcome)| *outcome)
        .collect();
    assert_eq!(outcomes, [Some(Outcome::Unknown), Some(Outcome::Published)]);
    assert_eq!(service.posts().len(), 1);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_lane_woken_while_it_is_found_empty_is_not_forgotten() {
    let mut town = Town::new();
    let account = lane("shared");
    town.account(&account, Proof::Keyed, Act::Take, &[Act::Hang { taken: false }]);
    let first = town.send(from_ref(&account), HOUR).remove(0);
    let _one = town.dispatcher_of("one").await;
    town.until(&first, State::Sending).await;
    let two = town.dispatcher_of("two").await;
    *town.memory.lag.lock().unwrap() = Duration::from_secs(1);
    // The second node looks again when the lease of the first may have run out, and finds nothing open; the answer is
    // still on its way when it is given something to do.
    sleep(Duration::from_millis(30_500)).await;
    assert_eq!(town.memory.state(&first), State::Published);
    let second = town.send(from_ref(&account), 2 * HOUR).remove(0);
    two.wake(from_ref(&account));
    town.until(&second, State::Published).await;
    town.check();
}
