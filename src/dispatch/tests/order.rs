//! Order within an alert, and what a newer broadcast does to an older one.

use std::slice::from_ref;
use std::time::Duration;

use tokio::time::sleep;

use super::service::Act;
use super::town::{HOUR, Town, lane};
use crate::model::{BroadcastId, Kind, Proof, Purpose, Receipt, State};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_delivery_overtaken_while_its_attempt_hangs_is_not_sent_again() {
    let mut town = Town::new();
    let account = lane("slow");
    let script = [Act::Hang { taken: false }];
    let service = town.account(&account, Proof::ReadBack, Act::Take, &script);
    let alert = town.alert();
    let first = town
        .issue(
            from_ref(&account),
            &BroadcastId::of(&alert, 1),
            Kind::Initial,
            HOUR,
        )
        .remove(0);
    let dispatcher = town.dispatcher().await;
    town.until(&first, State::Sending).await;
    let second = town
        .issue(
            from_ref(&account),
            &BroadcastId::of(&alert, 2),
            Kind::Correction,
            HOUR,
        )
        .remove(0);
    dispatcher.wake(from_ref(&account));
    sleep(10 * SECOND).await;
    assert_eq!(
        service.requests().len(),
        1,
        "the newer one waits until the older one is at rest"
    );
    town.quiet(HOUR).await;
    assert_eq!(town.memory.state(&first), State::Superseded);
    assert_eq!(town.memory.state(&second), State::Published);
    assert_eq!(
        service
            .posts()
            .iter()
            .map(|(key, _)| key.clone())
            .collect::<Vec<_>>(),
        [second]
    );
    town.check();
}

#[tokio::test(start_paused = true)]
async fn an_update_waits_for_its_initial_but_other_alerts_pass() {
    let mut town = Town::new();
    let account = lane("slow");
    let service = town.account(&account, Proof::ReadBack, Act::Take, &[Act::Cut { taken: true }]);
    let busy = crate::model::SendError::NotSent(crate::model::Reason::new("connect", "as told"));
    service.next_settles(vec![busy; 3]);
    let alert = town.alert();
    let first = town
        .issue(
            from_ref(&account),
            &BroadcastId::of(&alert, 1),
            Kind::Initial,
            HOUR,
        )
        .remove(0);
    let dispatcher = town.dispatcher().await;
    town.until(&first, State::Unknown).await;
    let update = town
        .issue(
            from_ref(&account),
            &BroadcastId::of(&alert, 2),
            Kind::Update,
            HOUR,
        )
        .remove(0);
    let other = town.send(from_ref(&account), HOUR).remove(0);
    dispatcher.wake(from_ref(&account));
    town.quiet(HOUR).await;
    let posted: Vec<_> = service.posts().into_iter().map(|(key, _)| key).collect();
    assert_eq!(posted, [first, other, update]);
    town.check();
}

#[tokio::test(start_paused = true)]
async fn a_retraction_is_repeated_until_it_is_certain() {
    let mut town = Town::new();
    let account = lane("regret");
    let script = [Act::Cut { taken: false }];
    let service = town.account(&account, Proof::Unproven, Act::Take, &script);
    let (one, two) = (town.alert(), town.alert());
    let mut work = town.make(&account, &BroadcastId::of(&one, 1), Kind::Initial, HOUR);
    work.delivery.purpose = Purpose::Retract;
    let mut without = town.make(&account, &BroadcastId::of(&two, 1), Kind::Initial, HOUR);
    without.delivery.purpose = Purpose::Retract;
    work.target = Some(Receipt::of("post-1"));
    let (id, hopeless) = (work.delivery.id.clone(), without.delivery.id.clone());
    town.memory.accept(vec![work, without]);
    let _dispatcher = town.dispatcher().await;
    town.quiet(HOUR).await;
    assert_eq!(town.memory.state(&id), State::Published);
    assert_eq!(service.requests().len(), 2);
    assert_eq!(town.memory.error(&hopeless), "no-receipt");
    town.check();
}
