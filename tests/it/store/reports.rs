//! A report is proof: it settles what nobody knew the fate of, and says which addresses have ended. Nothing that it says is
//! taken for more than that.

use vardkase::model::{Arrival, Arrived, DeliveryId, Event, Kind, Mode, Reason, Recipient, State};
use vardkase::store::{Acceptance, Destination, Noted, Store, Under};

use super::bed::{Bed, get, ids, live};
use super::on_both_engines;

on_both_engines!(
    a_report_settles_what_nobody_knew_the_fate_of,
    a_report_of_failure_decides_only_where_nobody_knew,
    a_report_that_comes_before_the_answer_is_lost_settles_it_then,
    a_report_that_came_before_the_process_died_settles_it_afterwards,
    what_a_report_says_of_an_attempt_before_does_not_decide_the_next,
    a_failure_that_may_be_of_an_attempt_before_decides_nothing,
    what_was_handed_over_or_is_too_late_is_out_if_the_service_says_so,
    a_report_settles_nothing_of_an_exercise,
    a_failure_that_lasts_leaves_the_recipient_out_until_the_service_contradicts_itself,
);

const NUMBERS: [&str; 4] = ["+46701740601", "+46701740602", "+46701740603", "+46701740604"];

fn why(code: &str) -> Reason {
    Reason::new(code, "WhatsApp says: Message undeliverable")
}

/// What the service tells of its message `id`.
async fn reported(
    bed: &Bed,
    store: &Store,
    of: &DeliveryId,
    (word, id): (Arrived, &str),
    code: Option<&str>,
) -> Noted {
    let arrival = Arrival {
        delivery: of.clone(),
        arrived: word,
        remote_id: Some(id.to_owned()),
        reason: code.map(why),
    };
    let account = "wa".parse().unwrap();
    let noted = store.record_arrival(account, arrival, bed.later(1)).await;
    noted.unwrap()
}

/// One message to each of the numbers.
async fn to_all(bed: &Bed, store: &Store) -> Vec<DeliveryId> {
    let to = NUMBERS.map(|number| Destination {
        recipient: Some(Recipient::new(number)),
        ..bed.to("wa")
    });
    let new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, to.to_vec());
    let accepted = store.accept(new).await.unwrap();
    let ids = ids(store, &accepted.broadcast).await;
    let mut ordered = Vec::new();
    for number in NUMBERS {
        for id in &ids {
            let recipient = get(store, id).await.recipient.unwrap();
            if recipient.address() == number {
                ordered.push(id.clone());
            }
        }
    }
    assert_eq!(ordered.len(), NUMBERS.len());
    ordered
}

/// Brings a delivery to where its answer was lost and on to `state`, or to a plain no.
async fn lost(bed: &Bed, store: &Store, id: &DeliveryId, state: State) {
    bed.later(1);
    bed.step(store, id, State::Queued, Event::Begin).await;
    let lose = (State::Sending, Event::Lose);
    let ways: [(State, &[(State, Event)]); 5] = [
        (State::Sending, &[]),
        (State::Refused, &[(State::Sending, Event::Refuse)]),
        (State::Unknown, &[lose]),
        (State::Held, &[lose, (State::Unknown, Event::Hold)]),
        (State::Queued, &[lose, (State::Unknown, Event::Miss)]),
    ];
    let (_, on) = ways.iter().find(|(end, _)| *end == state).unwrap();
    for (from, event) in *on {
        bed.step(store, id, *from, *event).await;
    }
}

/// The journal's records of a delivery: kind, and how it was settled.
async fn told_of(store: &Store, id: &DeliveryId) -> Vec<(String, String)> {
    let all = store.journal(0, 500, None).await.unwrap();
    let ours = all
        .into_iter()
        .filter(|record| record.delivery.as_ref() == Some(id));
    let told = ours.map(|record| {
        let body: serde_json::Value = serde_json::from_str(&record.body).unwrap();
        let settled = body["note"]["settled"].as_str();
        (record.kind, settled.unwrap_or_default().to_owned())
    });
    told.collect()
}

async fn the_chain_holds(store: &Store) {
    let report = store.verify_journal().await.unwrap();
    assert!(report.broken.is_none(), "{report:?}");
}

async fn a_report_settles_what_nobody_knew_the_fate_of(bed: &Bed) {
    let store = bed.open().await;
    let states = [State::Unknown, State::Held, State::Queued, State::Refused];
    for word in [Arrived::Sent, Arrived::Delivered] {
        let ids = to_all(bed, &store).await;
        for (id, state) in ids.iter().zip(states) {
            lost(bed, &store, id, state).await;
            assert_eq!(get(&store, id).await.state, state);
            let noted = reported(bed, &store, id, (word, "wamid.a"), None).await;
            assert_eq!(noted.settled, Some((live("wa"), State::Published)), "{state}");
            let now = get(&store, id).await;
            assert_eq!(
                (now.state, now.unknown_since, now.error),
                (State::Published, None, None),
                "{state}"
            );
            assert!(now.finished_at.is_some(), "{state}");
            let receipt = now.receipt.unwrap();
            assert_eq!(receipt.remote_id, "wamid.a");
            assert!(receipt.note.unwrap().contains(word.as_str()), "{state}");
            let last = told_of(&store, id).await.pop().unwrap();
            assert_eq!(last, ("settle".to_owned(), "reported".to_owned()), "{state}");
            let again = reported(bed, &store, id, (word, "wamid.a"), None).await;
            assert_eq!(again, Noted::default(), "{state}");
        }
    }
    the_chain_holds(&store).await;
    store.close().await;
}

async fn a_report_of_failure_decides_only_where_nobody_knew(bed: &Bed) {
    let store = bed.open().await;
    let ids = to_all(bed, &store).await;
    for (id, (state, then)) in ids.iter().zip([
        (State::Unknown, State::Refused),
        (State::Held, State::Refused),
        // It goes again by itself.
        (State::Queued, State::Queued),
        (State::Refused, State::Refused),
    ]) {
        lost(bed, &store, id, state).await;
        let word = (Arrived::Failed, "wamid.a");
        let noted = reported(bed, &store, id, word, Some("whatsapp-131049")).await;
        let settled = (state != then).then(|| (live("wa"), then));
        assert_eq!(noted.settled, settled, "{state}");
        let now = get(&store, id).await;
        assert_eq!(now.state, then, "{state}");
        if state != then {
            assert_eq!(now.error, Some(why("whatsapp-131049")));
        }
    }
    // A service that contradicts itself: that the telephone has it outweighs all.
    let noted = reported(bed, &store, &ids[0], (Arrived::Delivered, "wamid.a"), None).await;
    assert_eq!(noted.settled, Some((live("wa"), State::Published)));
    // Held for another reason than a lost answer: a person still decides.
    let id = &to_all(bed, &store).await[0];
    bed.step(&store, id, State::Queued, Event::Hold).await;
    let noted = reported(bed, &store, id, (Arrived::Failed, "wamid.b"), None).await;
    assert_eq!((noted.is_new, noted.settled), (true, None));
    // That it is out proves it all the same: another copy of this database has sent it.
    let noted = reported(bed, &store, id, (Arrived::Delivered, "wamid.b"), None).await;
    assert_eq!(noted.settled, Some((live("wa"), State::Published)));
    the_chain_holds(&store).await;
    store.close().await;
}

async fn a_report_that_comes_before_the_answer_is_lost_settles_it_then(bed: &Bed) {
    let store = bed.open().await;
    let ids = to_all(bed, &store).await;
    for (id, (word, event, then)) in ids.iter().zip([
        (Arrived::Delivered, Event::Lose, State::Published),
        (Arrived::Failed, Event::Lose, State::Refused),
        (Arrived::Sent, Event::Postpone, State::Published),
        (Arrived::Sent, Event::Publish, State::Published),
    ]) {
        lost(bed, &store, id, State::Sending).await;
        let code = (word == Arrived::Failed).then_some("whatsapp-131026");
        let noted = reported(bed, &store, id, (word, "wamid.a"), code).await;
        assert_eq!((noted.is_new, noted.settled), (true, None), "it is under way");
        assert_eq!(get(&store, id).await.state, State::Sending);
        let answer = bed.step(&store, id, State::Sending, event).await;
        assert_eq!(answer, then, "{word} {event}: the lane hears how it ended");
        let now = get(&store, id).await;
        assert_eq!((now.state, now.attempts), (then, 1));
        if event == Event::Publish {
            assert_eq!(now.receipt.unwrap().remote_id, format!("post-{id}"));
        } else if then == State::Published {
            assert_eq!(now.receipt.unwrap().remote_id, "wamid.a");
        } else {
            assert_eq!(now.error.unwrap().code, "whatsapp-131026");
        }
    }
    assert_eq!(store.suppressed(10).await.unwrap().len(), 1);
    the_chain_holds(&store).await;
    store.close().await;
}

async fn a_report_that_came_before_the_process_died_settles_it_afterwards(bed: &Bed) {
    let store = bed.open().await;
    let id = &to_all(bed, &store).await[0];
    lost(bed, &store, id, State::Sending).await;
    reported(bed, &store, id, (Arrived::Delivered, "wamid.a"), None).await;
    store.close().await;
    let store = bed.open().await;
    let until = vardkase::clock::later(bed.now(), std::time::Duration::from_mins(1));
    store.take_lanes(&[live("wa")], "nod", until, true).await.unwrap();
    assert_eq!(get(&store, id).await.state, State::Unknown);
    let answer = bed.step(&store, id, State::Unknown, Event::Hold).await;
    assert_eq!(answer, State::Published, "nobody is asked what is known");
    the_chain_holds(&store).await;
    store.close().await;
}

async fn what_a_report_says_of_an_attempt_before_does_not_decide_the_next(bed: &Bed) {
    let store = bed.open().await;
    let id = &to_all(bed, &store).await[0];
    lost(bed, &store, id, State::Unknown).await;
    let first = (Arrived::Failed, "wamid.a");
    reported(bed, &store, id, first, Some("whatsapp-131049")).await;
    bed.step(&store, id, State::Refused, Event::Retry).await;
    lost(bed, &store, id, State::Unknown).await;
    assert_eq!(
        get(&store, id).await.state,
        State::Unknown,
        "that was the first message"
    );
    // What is told of the second one counts, though the first had failed.
    let noted = reported(bed, &store, id, (Arrived::Sent, "wamid.b"), None).await;
    assert_eq!(noted.settled, Some((live("wa"), State::Published)));
    assert_eq!(get(&store, id).await.receipt.unwrap().remote_id, "wamid.b");
    let again = reported(bed, &store, id, (Arrived::Sent, "wamid.b"), None).await;
    assert_eq!(again, Noted::default());
    let broadcast = get(&store, id).await.broadcast;
    let counted = store.arrivals(&broadcast).await.unwrap()["wa"];
    assert_eq!(
        (counted.sent, counted.failed),
        (1, 0),
        "one message, counted once"
    );
    store.close().await;
}

async fn a_failure_that_may_be_of_an_attempt_before_decides_nothing(bed: &Bed) {
    let store = bed.open().await;
    let all = to_all(bed, &store).await;
    for (id, state) in all.iter().zip([State::Unknown, State::Held]) {
        lost(bed, &store, id, State::Held).await;
        bed.step(&store, id, State::Held, Event::Retry).await;
        lost(bed, &store, id, state).await;
        let late = (Arrived::Failed, "wamid.first");
        let noted = reported(bed, &store, id, late, Some("whatsapp-131049")).await;
        assert_eq!((noted.is_new, noted.settled), (true, None), "{state}");
        let now = get(&store, id).await;
        assert_eq!((now.state, now.attempts), (state, 2), "the second may be there");
        let second = (Arrived::Sent, "wamid.second");
        let noted = reported(bed, &store, id, second, None).await;
        assert_eq!(noted.settled, Some((live("wa"), State::Published)), "{state}");
        assert_eq!(get(&store, id).await.receipt.unwrap().remote_id, "wamid.second");
    }
    the_chain_holds(&store).await;
    store.close().await;
}

async fn what_was_handed_over_or_is_too_late_is_out_if_the_service_says_so(bed: &Bed) {
    let store = bed.open().await;
    let all = to_all(bed, &store).await;
    let sent = (Arrived::Sent, "wamid.a");
    let failed = (Arrived::Failed, "wamid.a");
    let ways = [(Event::HandOver, State::Manual), (Event::Expire, State::Expired)];
    for (id, (event, state)) in all.iter().zip(ways) {
        lost(bed, &store, id, State::Queued).await;
        bed.step(&store, id, State::Queued, event).await;
        let noted = reported(bed, &store, id, failed, Some("whatsapp-131049")).await;
        assert_eq!(
            (noted.is_new, noted.settled),
            (true, None),
            "{state}: it stays as it is"
        );
        assert_eq!(get(&store, id).await.state, state);
        let noted = reported(bed, &store, id, (Arrived::Delivered, "wamid.a"), None).await;
        assert_eq!(noted.settled, Some((live("wa"), State::Published)), "{state}");
        let now = get(&store, id).await;
        assert_eq!((now.state, now.error), (State::Published, None), "{state}");
        assert!(now.finished_at.is_some(), "{state}");
    }
    // The report was first.
    for (id, (event, state)) in all[2..].iter().zip(ways) {
        lost(bed, &store, id, State::Sending).await;
        reported(bed, &store, id, sent, None).await;
        let answer = bed.step(&store, id, State::Sending, event).await;
        assert_eq!(
            answer,
            State::Published,
            "{state}: nobody is asked for what is out"
        );
    }
    the_chain_holds(&store).await;
    store.close().await;
}

async fn a_report_settles_nothing_of_an_exercise(bed: &Bed) {
    let store = bed.open().await;
    let to = Destination {
        recipient: Some(Recipient::new(NUMBERS[0])),
        ..bed.to("wa")
    };
    let new = Acceptance {
        mode: Mode::Drill,
        ..bed.acceptance(Under::New { year: 2026 }, Kind::Initial, vec![to])
    };
    let accepted = store.accept(new).await.unwrap();
    let id = &ids(&store, &accepted.broadcast).await[0];
    lost(bed, &store, id, State::Unknown).await;
    for word in [Arrived::Sent, Arrived::Failed] {
        let noted = reported(bed, &store, id, (word, "wamid.a"), None).await;
        assert_eq!(noted.settled, None);
        assert_eq!(get(&store, id).await.state, State::Unknown);
    }
    store.close().await;
}

async fn a_failure_that_lasts_leaves_the_recipient_out_until_the_service_contradicts_itself(bed: &Bed) {
    let store = bed.open().await;
    let ids = to_all(bed, &store).await;
    let left_out = async || {
        let all = store.suppressed(10).await.unwrap();
        let mut all: Vec<_> = all
            .iter()
            .map(|one| (one.recipient.address().to_owned(), one.reason.code.clone()))
            .collect();
        all.sort();
        all
    };
    for id in &ids {
        bed.publish(&store, id).await;
    }
    let fail = async |at: usize, code: &str| {
        let word = (Arrived::Failed, "wamid.a");
        let noted = reported(bed, &store, &ids[at], word, Some(code)).await;
        assert_eq!(noted.settled, None, "it was taken, and that stands");
    };
    fail(0, "whatsapp-131026").await;
    fail(1, "whatsapp-131050").await;
    fail(2, "whatsapp-131049").await;
    let both = [
        (NUMBERS[0].to_owned(), "whatsapp-131026".to_owned()),
        (NUMBERS[1].to_owned(), "whatsapp-131050".to_owned()),
    ];
    assert_eq!(left_out().await, both, "for now is not for good");
    // What the telephone has it does not lack afterwards.
    reported(bed, &store, &ids[3], (Arrived::Delivered, "wamid.a"), None).await;
    fail(3, "whatsapp-131026").await;
    assert_eq!(left_out().await, both);
    reported(bed, &store, &ids[0], (Arrived::Delivered, "wamid.a"), None).await;
    assert_eq!(left_out().await, both[1..]);
    let told = told_of(&store, &ids[0]).await;
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(kinds.contains(&"suppress"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"restore-recipient"));
    store.close().await;
}
