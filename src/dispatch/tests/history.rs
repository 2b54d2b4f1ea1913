//! What holds in any history: random services, random broadcasts, restarts at random moments.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::sleep;

use super::service::Act;
use super::town::{Town, drill, lane};
use crate::config::Unproven;
use crate::model::{BroadcastId, Kind, LaneId, Proof, State};

#[derive(Debug, Clone)]
enum Step {
    /// A new alert.
    Alert { valid: u64 },
    /// The next broadcast of the latest alert.
    Next { correction: bool, valid: u64 },
    /// A pause in milliseconds.
    Wait(u64),
    /// The process dies and starts again.
    Crash,
    /// The disk is full for so many milliseconds.
    Full(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Take),
        1 => any::<bool>().prop_map(|taken| Act::Hang { taken }),
        2 => any::<bool>().prop_map(|taken| Act::Cut { taken }),
        2 => Just(Act::Down),
        1 => (0..400_u64).prop_map(|s| Act::Busy(Some(Duration::from_secs(s)))),
        1 => Just(Act::Busy(None)),
        1 => Just(Act::Credential),
        1 => Just(Act::Refuse),
        1 => Just(Act::Panic),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..3000_u64).prop_map(|valid| Step::Alert { valid }),
        2 => (any::<bool>(), 1..3000_u64).prop_map(|(correction, valid)| Step::Next { correction, valid }),
        5 => prop_oneof![0..400_u64, 0..60_000_u64].prop_map(Step::Wait),
        2 => Just(Step::Crash),
        1 => (0..20_000_u64).prop_map(Step::Full),
    ]
}

async fn live_through(scripts: Vec<(Proof, bool, u32, Vec<Act>)>, steps: Vec<Step>) {
    let mut town = Town::new();
    let mut lanes: Vec<LaneId> = Vec::new();
    for (n, (proof, resend, parallel, script)) in scripts.into_iter().enumerate() {
        let lane = if n == 2 {
            drill("a2")
        } else {
            lane(&format!("a{n}"))
        };
        town.account(&lane, proof, Act::Take, &script);
        town.plan(&lane, |plan| {
            plan.unproven = if resend { Unproven::Resend } else { Unproven::Hold };
            plan.pace.parallel = parallel;
        });
        lanes.push(lane);
    }
    let mut dispatcher = town.dispatcher().await;
    let mut latest = (town.alert(), 0);
    for step in steps {
        match step {
            Step::Alert { valid } => {
                latest = (town.alert(), 1);
                let broadcast = BroadcastId::of(&latest.0, 1);
                town.issue(&lanes, &broadcast, Kind::Initial, Duration::from_secs(valid));
                dispatcher.wake(&lanes);
            }
            Step::Next { correction, valid } => {
                latest.1 += 1;
                let broadcast = BroadcastId::of(&latest.0, latest.1);
                let kind = if correction {
                    Kind::Correction
                } else {
                    Kind::Update
                };
                town.issue(&lanes, &broadcast, kind, Duration::from_secs(valid));
                dispatcher.wake(&lanes);
            }
            Step::Wait(millis) => sleep(Duration::from_millis(millis)).await,
            Step::Crash => {
                drop(dispatcher);
                dispatcher = town.dispatcher().await;
            }
            Step::Full(millis) => {
                town.memory.full.store(true, std::sync::atomic::Ordering::SeqCst);
                sleep(Duration::from_millis(millis)).await;
                town.memory.full.store(false, std::sync::atomic::Ordering::SeqCst);
            }
        }
    }
    town.quiet(Duration::from_hours(24)).await;
    town.check();
    for row in town.memory.rows() {
        let delivery = row.work.delivery;
        let service = &town.services[&delivery.lane()];
        let times = service
            .posts()
            .iter()
            .filter(|(key, _)| *key == delivery.id)
            .count();
        if service.proof != Proof::Unproven {
            assert!(times <= 1, "doubled: {delivery:?} {:?}", row.history);
        }
        assert!(
            times == 1 || delivery.state != State::Published || service.proof == Proof::Unproven,
            "{delivery:?}"
        );
        assert!(
            times > 0 || delivery.state != State::Published,
            "published without a post: {delivery:?}"
        );
    }
    // In each alert on each account, posts stand in the order in which they were issued.
    for (lane, service) in &town.services {
        let rows = town.memory.rows();
        let posted: Vec<_> = service
            .posts()
            .iter()
            .map(|(key, _)| {
                rows.iter()
                    .find(|row| row.work.delivery.id == *key)
                    .unwrap()
                    .work
                    .delivery
                    .broadcast
                    .clone()
            })
            .collect();
        let number = |id: &BroadcastId| crate::dispatch::queue::number(id);
        for (n, later) in posted.iter().enumerate() {
            for earlier in posted.iter().take(n) {
                assert!(
                    earlier.alert() != later.alert() || number(earlier) <= number(later),
                    "{lane}: {later} after {earlier}"
                );
            }
        }
    }
    dispatcher.stop(Duration::from_secs(1)).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_history_nothing_is_late_doubled_reordered_or_sent_unsettled(
        scripts in vec(
            (prop_oneof![Just(Proof::Keyed), Just(Proof::ReadBack), Just(Proof::Unproven)], any::<bool>(), 1..4_u32, vec(act(), 0..12)),
            3,
        ),
        steps in vec(step(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(live_through(scripts, steps));
    }
}
