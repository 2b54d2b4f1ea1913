//! What services tell later: in whatever order and however often it comes, the count is that of the messages.

use vardkase::model::{Arrival, Arrivals, Arrived, DeliveryId};
use vardkase::store::{Store, StoreError};

use super::bed::{Bed, ids};
use super::on_both_engines;

on_both_engines!(
    reports_that_come_twice_or_late_are_counted_once_and_take_nothing_back,
    a_report_of_no_delivery_of_the_account_changes_nothing,
);

async fn told(bed: &Bed, store: &Store, account: &str, delivery: &DeliveryId, arrived: Arrived) -> bool {
    let arrival = Arrival {
        delivery: delivery.clone(),
        arrived,
        remote_id: None,
        reason: None,
    };
    let account = account.parse().unwrap();
    store
        .record_arrival(account, arrival, bed.later(1))
        .await
        .unwrap()
        .is_new
}

async fn reports_that_come_twice_or_late_are_counted_once_and_take_nothing_back(bed: &Bed) {
    use Arrived::{Delivered, Failed, Sent};
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["sms", "mastodon"]).await;
    let all = ids(&store, &accepted.broadcast).await;
    let count = async || {
        let all = store.arrivals(&accepted.broadcast).await.unwrap();
        all.get("sms").copied()
    };
    assert_eq!(count().await, None, "nothing was told");
    let sms = &all[0];
    for (arrived, is_new, counts) in [
        (Sent, true, (1, 0, 0)),
        (Sent, false, (1, 0, 0)),
        (Failed, true, (0, 0, 1)),
        (Sent, false, (0, 0, 1)),
        // Some services have been seen to say both; that it is there outweighs it.
        (Delivered, true, (0, 1, 0)),
        (Delivered, false, (0, 1, 0)),
        (Failed, false, (0, 1, 0)),
        (Sent, false, (0, 1, 0)),
    ] {
        assert_eq!(told(bed, &store, "sms", sms, arrived).await, is_new, "{arrived}");
        let (sent, delivered, failed) = counts;
        let expected = Arrivals {
            sent,
            delivered,
            failed,
        };
        assert_eq!(count().await, Some(expected), "{arrived}");
    }
    // The very first word may be the last one.
    assert!(told(bed, &store, "mastodon", &all[1], Delivered).await);
    assert!(!told(bed, &store, "mastodon", &all[1], Sent).await);
    store.close().await;
    let store = bed.open().await;
    let again = store.arrivals(&accepted.broadcast).await.unwrap();
    assert_eq!(again.len(), 2, "it outlives a restart");
    assert!(
        again
            .values()
            .all(|one| (one.sent, one.delivered, one.failed) == (0, 1, 0))
    );
    store.close().await;
}

async fn a_report_of_no_delivery_of_the_account_changes_nothing(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["sms"]).await;
    let sms = ids(&store, &accepted.broadcast).await.remove(0);
    for (account, delivery) in [("whatsapp", sms), ("sms", DeliveryId::fresh())] {
        let arrival = Arrival {
            delivery,
            arrived: Arrived::Delivered,
            remote_id: None,
            reason: None,
        };
        let answer = store
            .record_arrival(account.parse().unwrap(), arrival, bed.now())
            .await;
        assert!(
            matches!(answer, Err(StoreError::NotFound(_))),
            "{account}: {answer:?}"
        );
    }
    assert!(store.arrivals(&accepted.broadcast).await.unwrap().is_empty());
    store.close().await;
}
