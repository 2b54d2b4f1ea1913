//! Backing off before the limit: what a service says of its quota beside a success.

use std::slice::from_ref;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::service::{Act, Call, Service};
use super::town::{HOUR, Town, drill, lane};
use crate::clock::later;
use crate::model::{BroadcastId, Delivery, DeliveryId, Kind, LaneId, Proof, Purpose, Quota, Receipt, State};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn says(town: &Town, left: u64, resets_in: Duration) -> Quota {
    Quota {
        left,
        limit: Some(300),
        resets_at: Some(later(town.shared_clock().now(), resets_in)),
    }
}

fn times(service: &Service) -> Vec<Instant> {
    service.requests().iter().map(|request| request.at).collect()
}

/// Keeps a post of the broadcast on top.
fn pin(town: &Town, account: &LaneId, broadcast: &BroadcastId) -> DeliveryId {
    let mut pin = town.make(account, broadcast, Kind::Initial, HOUR);
    pin.delivery.purpose = Purpose::Pin;
    pin.target = Some(Receipt::of("1"));
    pin.target_state = Some(State::Published);
    let id = pin.delivery.id.clone();
    town.memory.accept(vec![pin]);
    id
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_left_no_request_is_made_before_the_reset() {
    let mut town = Town::new();
    let account = lane("spent");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[]);
    service.next_quotas(vec![says(&town, 1, 20 * MINUTE), says(&town, 0, 20 * MINUTE)]);
    let start = Instant::now();
    let mut ids: Vec<_> = (0..4).flat_map(|_| town.send(from_ref(&account), HOUR)).collect();
    let dispatcher = town.dispatcher().await;
    sleep(MINUTE).await;
    // Nor for something new, nor after a restart.
    ids.extend(town.send(from_ref(&account), HOUR));
    dispatcher.wake(from_ref(&account));
    sleep(MINUTE).await;
    assert_eq!(times(&service).len(), 2, "the last one that it takes goes out");
    drop(dispatcher);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert!(ids.iter().all(|id| town.memory.state(id) == State::Published));
    let at = times(&service);
    assert_eq!(at.len(), 5);
    assert!(at[2] - start >= 20 * MINUTE, "asked after {:?}", at[2] - start);
    assert!(at[2] - start < 20 * MINUTE + SECOND);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_reset_past_the_validity_hands_over_what_still_waits() {
    let mut town = Town::new();
    let account = lane("spent");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    service.next_quotas(vec![says(&town, 0, 24 * HOUR)]);
    let ids: Vec<_> = (0..2).flat_map(|_| town.send(from_ref(&account), HOUR)).collect();
    let _dispatcher = town.dispatcher().await;
    town.quiet(MINUTE).await;
    let states: Vec<State> = ids.iter().map(|id| town.memory.state(id)).collect();
    assert_eq!(states, [State::Published, State::Manual]);
    assert_eq!(service.requests().len(), 1);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn when_little_is_left_alerts_go_on_and_what_can_wait_stands_back() {
    let mut town = Town::new();
    let (account, practice) = (lane("scarce"), drill("practice"));
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    let wall = town.account(&practice, Proof::Keyed, Act::Take, &[]);
    service.next_quotas(vec![says(&town, 9, 20 * MINUTE), says(&town, 8, 20 * MINUTE)]);
    wall.next_quotas(vec![says(&town, 9, 20 * MINUTE)]);
    let start = Instant::now();
    let first = BroadcastId::of(&town.alert(), 1);
    town.issue(from_ref(&account), &first, Kind::Initial, HOUR);
    town.send(from_ref(&practice), HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(10 * SECOND).await;
    let pin = pin(&town, &account, &first);
    let alert = town.send(from_ref(&account), HOUR).remove(0);
    town.send(from_ref(&practice), HOUR);
    dispatcher.wake(&[account, practice]);
    sleep(10 * SECOND).await;
    assert_eq!(
        town.memory.state(&alert),
        State::Published,
        "a warning goes on at once"
    );
    assert_eq!(town.memory.state(&pin), State::Queued, "a pin can wait");
    assert_eq!(wall.requests().len(), 1, "practice can wait");
    town.quiet(HOUR).await;
    for at in [times(&service)[2], times(&wall)[1]] {
        assert!(at - start >= 20 * MINUTE, "{:?}", at - start);
    }
    assert_eq!(service.requests()[2].call, Call::Pin);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn what_can_wait_never_holds_up_what_cannot() {
    let mut town = Town::new();
    let account = lane("scarce");
    let service = town.account(&account, Proof::Keyed, Act::Take, &[]);
    service.next_quotas(vec![says(&town, 9, 20 * MINUTE)]);
    let alert = town.alert();
    let first = BroadcastId::of(&alert, 1);
    town.issue(from_ref(&account), &first, Kind::Initial, HOUR);
    let dispatcher = town.dispatcher().await;
    sleep(10 * SECOND).await;
    pin(&town, &account, &first);
    // The update follows the pin of its alert strictly: then the pin goes at once too.
    let second = BroadcastId::of(&alert, 2);
    let update = town
        .issue(from_ref(&account), &second, Kind::Update, HOUR)
        .remove(0);
    dispatcher.wake(from_ref(&account));
    sleep(10 * SECOND).await;
    assert_eq!(town.memory.state(&update), State::Published);
    town.check();
}

#[test]
fn only_live_warnings_their_changes_and_retractions_cannot_wait() {
    let broadcast = BroadcastId::of(
        &crate::model::AlertId::numbered(crate::model::Mode::Live, 2026, 1),
        1,
    );
    let of = |lane: &LaneId, purpose| {
        let made = super::memory::work(
            lane,
            &broadcast,
            Kind::Initial,
            later(crate::clock::from_micros(0), HOUR),
            HOUR,
        );
        crate::dispatch::room::can_wait(&Delivery {
            purpose,
            ..made.delivery
        })
    };
    for purpose in [
        Purpose::Publish,
        Purpose::Edit,
        Purpose::Retract,
        Purpose::ConfirmFinal,
    ] {
        assert!(!of(&lane("a"), purpose) && of(&drill("a"), purpose), "{purpose}");
    }
    for purpose in [Purpose::Pin, Purpose::Unpin] {
        assert!(of(&lane("a"), purpose), "{purpose}");
    }
}
