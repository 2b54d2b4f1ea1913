//! Lists: each recipient once, whatever the list repeats and whatever is cut off, nobody who has left, and counts that
//! hold.

use std::collections::{BTreeMap, BTreeSet};

use vardkase::model::{Actor, Event, ExpansionState, Kind, Mode, Outcome, Reason, Recipient, State};
use vardkase::store::{
    Accepted, AttemptChange, CHUNK, Change, Destination, Entry, Expansion, Forgotten, ListDecision, Listed,
    Opened, StagedList, Store, Target, Under,
};

use super::bed::{Bed, NODE, existing, live, serves, states};
use super::on_both_engines;

on_both_engines!(
    each_recipient_of_a_list_gets_one_delivery_though_the_daemon_ends_in_the_middle,
    whose_address_has_ended_is_left_out_until_a_person_takes_it_in_again,
    practice_says_nothing_of_real_people,
    a_newer_message_stops_what_is_left_of_a_list,
    a_list_stands_in_for_another_by_address,
    a_list_ends_with_the_message_s_validity,
    a_person_stops_a_list_and_releases_one_that_a_copy_holds,
    a_lane_that_has_enough_before_it_gets_no_more_for_now,
    a_list_that_nothing_needs_is_removed,
    the_first_stage_lets_a_list_go_that_is_not_there_yet,
    a_list_that_could_not_be_read_is_told_and_others_go,
);

fn number(n: usize) -> String {
    format!("+4670{n:07}")
}

/// Puts a list into the database as the application does.
async fn stage(bed: &Bed, store: &Store, id: &str, addresses: &[String]) -> StagedList {
    let bodies: Vec<String> = addresses
        .chunks(CHUNK)
        .map(|chunk| serde_json::to_string(chunk).unwrap())
        .collect();
    let chunks = bodies.len() as u64;
    for (n, body) in (0..).zip(bodies) {
        store.stage(id, n, vec![body], bed.now()).await.unwrap();
    }
    StagedList {
        id: id.to_owned(),
        digest: "d".repeat(64),
        chunks,
        entries: addresses.len() as u64,
        faults: 2,
        named: vec!["boende.csv:7: expected a phone number".to_owned()],
    }
}

fn listed(each: Destination, list: StagedList) -> Listed {
    Listed { each, list: Ok(list) }
}

async fn send(bed: &Bed, store: &Store, under: Under, kind: Kind, lists: Vec<Listed>) -> Accepted {
    let mut new = bed.acceptance(under, kind, Vec::new());
    new.lists = lists;
    store.accept(new).await.unwrap()
}

const NEW: Under = Under::New { year: 2026 };

/// Expands as long as there is something to do at once. Returns how many steps that took.
async fn expand(bed: &Bed, store: &Store) -> usize {
    let mut steps = 0;
    while store.expand(bed.now()).await.unwrap().more {
        steps += 1;
    }
    steps
}

async fn expansion(store: &Store, accepted: &Accepted, account: &str) -> Expansion {
    let all = store.expansions(&accepted.broadcast).await.unwrap();
    let mut of_it = all.into_iter().filter(|one| one.lane.account.as_str() == account);
    let one = of_it.next().unwrap();
    assert!(of_it.next().is_none());
    one
}

/// What is counted is what is there, on every account.
async fn counts_hold(store: &Store, accepted: &Accepted) {
    let mut there: BTreeMap<(String, State), u64> = BTreeMap::new();
    let mut idle = 0;
    for delivery in store.deliveries(&accepted.broadcast).await.unwrap() {
        if delivery.recipient.is_none() {
            continue;
        }
        if delivery.is_idle_stand_in() {
            idle += 1;
        } else {
            *there
                .entry((delivery.account.to_string(), delivery.state))
                .or_default() += 1;
        }
    }
    let summary = store.summary(&accepted.broadcast, 10).await.unwrap();
    let mut counted = BTreeMap::new();
    for one in &summary.listed {
        for (state, n) in one.states.iter().filter(|(_, n)| **n > 0) {
            counted.insert((one.account.to_string(), *state), *n);
        }
        assert!(one.shown <= 10);
    }
    assert_eq!(counted, there);
    let counted: u64 = summary
        .listed
        .iter()
        .map(|one| one.standing_by + one.spared)
        .sum();
    assert_eq!(counted, idle);
}

async fn each_recipient_of_a_list_gets_one_delivery_though_the_daemon_ends_in_the_middle(bed: &Bed) {
    let store = bed.open().await;
    // 3,000 numbers, each twice, far apart.
    let addresses: Vec<String> = (0..3000).chain(0..3000).map(number).collect();
    let list = stage(bed, &store, "l", &addresses).await;
    let mut new = bed.acceptance(NEW, Kind::Initial, vec![bed.to("mastodon")]);
    new.lists = vec![listed(bed.to("sms"), list)];
    new.idempotency = Some(("key".to_owned(), "digest".to_owned()));
    let accepted = store.accept(new.clone()).await.unwrap();
    assert_eq!(accepted.lanes, [live("mastodon")]);
    assert!(store.accept(new).await.unwrap().repeated);
    // The lane can begin long before the last chunk.
    let first = store.expand(bed.now()).await.unwrap();
    assert_eq!((first.lanes, first.more), (vec![live("sms")], true));
    assert_eq!(store.head(&live("sms"), 1000).await.unwrap().len(), CHUNK);
    assert!(store.is_open(&accepted.broadcast).await.unwrap());
    counts_hold(&store, &accepted).await;
    store.close().await;

    let store = bed.open().await;
    assert_eq!(expand(bed, &store).await, 11);
    let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
    assert_eq!(deliveries.len(), 3001);
    let to: BTreeSet<&str> = deliveries
        .iter()
        .filter_map(|d| d.recipient.as_ref().map(Recipient::address))
        .collect();
    assert_eq!(to.len(), 3000);
    let one = expansion(&store, &accepted, "sms").await;
    assert_eq!(one.state, ExpansionState::Done);
    assert_eq!(
        (one.entries, one.taken, one.made, one.repeated),
        (6000, 6000, 3000, 3000)
    );
    counts_hold(&store, &accepted).await;
    let records = store.journal(0, 100, None).await.unwrap();
    let body = &records.iter().find(|r| r.kind == "accept").unwrap().body;
    for part in ["\"listed\":6000", "\"faulty_lines\":2", "boende.csv:7: expected"] {
        assert!(body.contains(part), "{part}: {body}");
    }
    let ended: Vec<_> = records.iter().filter(|r| r.kind == "expansion").collect();
    assert_eq!(ended.len(), 1, "one record, not one for each recipient");
    assert!(ended[0].body.contains("\"recipients\":3000"), "{ended:?}");
    assert!(records.iter().all(|r| !r.body.contains("+4670")));
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn a_newer_message_stops_what_is_left_of_a_list(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..2000).map(number).collect();
    let list = stage(bed, &store, "a", &addresses).await;
    let first = send(bed, &store, NEW, Kind::Initial, vec![listed(bed.to("sms"), list)]).await;
    store.expand(bed.now()).await.unwrap();
    let head = store.head(&live("sms"), 3).await.unwrap();
    bed.publish(&store, &head[0].delivery.id).await;
    bed.step(&store, &head[1].delivery.id, State::Queued, Event::Hold)
        .await;
    bed.step(&store, &head[2].delivery.id, State::Queued, Event::Begin)
        .await;

    let list = stage(bed, &store, "b", &addresses).await;
    let under = existing(&first.alert);
    let second = send(
        bed,
        &store,
        under,
        Kind::Update,
        vec![listed(bed.to("sms"), list)],
    )
    .await;
    let one = expansion(&store, &first, "sms").await;
    assert_eq!((one.state, one.taken), (ExpansionState::Superseded, 512));
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for state in states(&store, &first.broadcast).await {
        *counts.entry(state).or_default() += 1;
    }
    let expected = [
        (State::Sending, 1),
        (State::Published, 1),
        (State::Superseded, 510),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
    counts_hold(&store, &first).await;
    assert_eq!(expand(bed, &store).await, 4);
    assert_eq!(states(&store, &second.broadcast).await, [State::Queued; 2000]);
    assert_eq!(states(&store, &first.broadcast).await.len(), 512, "and no more");
    let records = store.journal(0, 1000, Some(&first.broadcast)).await.unwrap();
    let overtaken = records.iter().filter(|r| r.body.contains("\"supersede\""));
    let counted =
        overtaken.filter(|r| r.body.contains("\"recipients\":509") || r.body.contains("\"recipients\":1"));
    assert_eq!(
        counted.count(),
        2,
        "one for those in the lane, one for who was held: {records:?}"
    );
}

async fn a_list_stands_in_for_another_by_address(bed: &Bed) {
    let store = bed.open().await;
    // On the first account the number 3 gets nothing more.
    let code = "no-such-recipient";
    suppress(bed, &store, "whatsapp", &number(3), code).await;
    let stand_in = || Destination {
        target: Some(Target::InsteadOf(vec![serves("whatsapp", 300)])),
        ..bed.to("sms")
    };
    let all: Vec<String> = (0..1500).map(number).collect();
    // The same list, then one of its own with somebody else in it.
    let more: Vec<String> = (0..4).chain([9_000_000]).map(number).collect();
    for own in [None, Some(&more)] {
        let list = stage(bed, &store, if own.is_some() { "c" } else { "a" }, &all).await;
        let other = match own {
            Some(own) => stage(bed, &store, "d", own).await,
            None => list.clone(),
        };
        let lists = vec![listed(bed.to("whatsapp"), list), listed(stand_in(), other)];
        let accepted = send(bed, &store, NEW, Kind::Initial, lists).await;
        expand(bed, &store).await;
        let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
        let of = |account: &str| {
            deliveries
                .iter()
                .filter(|d| d.account.as_str() == account)
                .count()
        };
        let served = own.map_or(1500, |_| 4);
        assert_eq!((of("whatsapp"), of("sms")), (1499, served));
        let by_id: BTreeMap<_, _> = deliveries.iter().map(|d| (&d.id, d)).collect();
        for delivery in deliveries.iter().filter(|d| d.account.as_str() == "sms") {
            let target = delivery.target.as_ref().map(|id| by_id[id]);
            if delivery.recipient.as_ref().unwrap().address() == number(3) {
                assert!(target.is_none());
                assert_eq!(delivery.not_before, bed.now(), "at once");
            } else {
                assert_eq!(target.unwrap().recipient, delivery.recipient);
                let after = std::time::Duration::from_mins(5);
                assert_eq!(
                    delivery.not_before,
                    vardkase::clock::later(target.unwrap().not_before, after)
                );
                assert_eq!(delivery.stands_in_for, ["whatsapp".parse().unwrap()]);
            }
        }
        let one = expansion(&store, &accepted, "sms").await;
        assert_eq!(
            (one.state, one.unpaired),
            (ExpansionState::Done, own.map_or(0, |_| 1))
        );
        counts_hold(&store, &accepted).await;
        // Of two, one is refused and the other gets out: the stand-in of the first is woken, the other is spared.
        let primary: Vec<_> = deliveries
            .iter()
            .filter(|d| d.account.as_str() == "whatsapp")
            .collect();
        bed.step(&store, &primary[0].id, State::Queued, Event::Begin)
            .await;
        bed.step(&store, &primary[0].id, State::Sending, Event::Refuse)
            .await;
        let woken = store.stand_ins_of(&[primary[0].id.clone()]).await.unwrap();
        assert_eq!(woken, [live("sms")]);
        let spared = deliveries
            .iter()
            .find(|d| d.target.as_ref() == Some(&primary[1].id))
            .unwrap();
        bed.step(&store, &spared.id, State::Queued, Event::Cancel).await;
        counts_hold(&store, &accepted).await;
        // Out of the way of the next round.
        bed.later(7200);
    }
}

async fn a_list_ends_with_the_message_s_validity(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..1500).map(number).collect();
    let list = stage(bed, &store, "a", &addresses).await;
    let accepted = send(bed, &store, NEW, Kind::Initial, vec![listed(bed.to("sms"), list)]).await;
    store.expand(bed.now()).await.unwrap();
    bed.later(3600);
    expand(bed, &store).await;
    let one = expansion(&store, &accepted, "sms").await;
    assert_eq!((one.state, one.made), (ExpansionState::Expired, 512));
    assert_eq!(one.error.unwrap().code, "expired");
    let records = store.journal(0, 100, None).await.unwrap();
    let told = records.iter().find(|r| r.kind == "expansion").unwrap();
    assert!(told.body.contains("\"not_reached_for\":988"), "{told:?}");
}

async fn a_person_stops_a_list_and_releases_one_that_a_copy_holds(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..1000).map(number).collect();
    let mut accepted = Vec::new();
    for id in ["a", "b"] {
        let list = stage(bed, &store, id, &addresses).await;
        accepted.push(send(bed, &store, NEW, Kind::Initial, vec![listed(bed.to("sms"), list)]).await);
    }
    let decide = async |store: &Store, which: &Accepted, decision| {
        let actor = Actor("anna".to_owned());
        let concerned = store
            .decide_lists(&which.broadcast, &[], decision, bed.now(), actor)
            .await;
        concerned.unwrap().len()
    };
    assert_eq!(decide(&store, &accepted[0], ListDecision::Cancel).await, 1);
    assert_eq!(decide(&store, &accepted[0], ListDecision::Cancel).await, 0);
    assert!(!store.is_open(&accepted[0].broadcast).await.unwrap());
    store.expand(bed.now()).await.unwrap();
    store.close().await;

    bed.meddle("INSERT INTO meta (name, value) VALUES ('backup', 'a copy')")
        .await;
    let (copy, opened) = bed.open_as(NODE).await.unwrap();
    assert_eq!(
        opened,
        Opened::Restored { held: 1000 },
        "512 deliveries and 488 to come"
    );
    assert_eq!(expand(bed, &copy).await, 0);
    assert_eq!(
        expansion(&copy, &accepted[1], "sms").await.state,
        ExpansionState::Held
    );
    assert_eq!(decide(&copy, &accepted[1], ListDecision::Release).await, 1);
    assert_eq!(expand(bed, &copy).await, 1);
    assert_eq!(states(&copy, &accepted[1].broadcast).await.len(), 1000);
    assert_eq!(states(&copy, &accepted[0].broadcast).await.len(), 0);
    counts_hold(&copy, &accepted[1]).await;
}

async fn a_lane_that_has_enough_before_it_gets_no_more_for_now(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..9000).map(number).collect();
    let list = stage(bed, &store, "a", &addresses).await;
    let accepted = send(bed, &store, NEW, Kind::Initial, vec![listed(bed.to("sms"), list)]).await;
    expand(bed, &store).await;
    let waits = store.expand(bed.now()).await.unwrap();
    assert!(waits.waits && !waits.more);
    assert_eq!(expansion(&store, &accepted, "sms").await.made, 8192);
    for work in store.head(&live("sms"), 10).await.unwrap() {
        bed.publish(&store, &work.delivery.id).await;
    }
    assert_eq!(expand(bed, &store).await, 1);
    assert_eq!(expansion(&store, &accepted, "sms").await.made, 8704);
    // A report names the ones in trouble first.
    let head = store.head(&live("sms"), 9000).await.unwrap();
    let furthest = &head.last().unwrap().delivery.id;
    bed.step(&store, furthest, State::Queued, Event::Hold).await;
    let summary = store.summary(&accepted.broadcast, 5).await.unwrap();
    assert_eq!(summary.deliveries.len(), 5);
    assert_eq!(&summary.deliveries[0].id, furthest);
    assert_eq!(summary.listed[0].states[&State::Published], 10);
    assert_eq!(summary.listed[0].all(), 8704);
}

async fn a_list_that_nothing_needs_is_removed(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..600).map(number).collect();
    stage(bed, &store, "never-used", &addresses).await;
    let list = stage(bed, &store, "used", &addresses).await;
    send(bed, &store, NEW, Kind::Initial, vec![listed(bed.to("sms"), list)]).await;
    let forget = async |before| {
        let mut steps = 0;
        loop {
            match store.forget_lists(before).await.unwrap() {
                Forgotten::Some => steps += 1,
                end @ (Forgotten::InUse | Forgotten::All) => return (steps, end),
            }
        }
    };
    let before = bed.now();
    assert_eq!(
        forget(before).await,
        (0, Forgotten::InUse),
        "somebody may be reading it still"
    );
    expand(bed, &store).await;
    assert_eq!(
        forget(before).await,
        (2, Forgotten::InUse),
        "the one that was used"
    );
    assert_eq!(forget(bed.later(600)).await, (2, Forgotten::All));
}

async fn the_first_stage_lets_a_list_go_that_is_not_there_yet(bed: &Bed) {
    let store = bed.open().await;
    let addresses: Vec<String> = (0..600).map(number).collect();
    let list = stage(bed, &store, "a", &addresses).await;
    let each = Destination {
        not_before: vardkase::clock::later(bed.now(), std::time::Duration::from_mins(5)),
        alternative: Some(1),
        ..bed.to("sms")
    };
    let accepted = send(bed, &store, NEW, Kind::Initial, vec![listed(each, list)]).await;
    store.expand(bed.now()).await.unwrap();
    let stage = vardkase::store::Stage::Answers;
    let released = store
        .release(&accepted.broadcast, stage, bed.now(), bed.entry("stage"))
        .await;
    assert_eq!(released.unwrap(), [live("sms")]);
    expand(bed, &store).await;
    for delivery in store.deliveries(&accepted.broadcast).await.unwrap() {
        assert_eq!(delivery.not_before, bed.now());
    }
    let head = store.head(&live("sms"), 600).await.unwrap();
    assert_eq!(head.len(), 600);
    assert!(
        head.iter()
            .all(|work| work.post.rendering.text.starts_with("Koka vattnet."))
    );
}

async fn a_list_that_could_not_be_read_is_told_and_others_go(bed: &Bed) {
    let store = bed.open().await;
    let list = stage(bed, &store, "a", &[number(1)]).await;
    let broken = Listed {
        each: bed.to("press"),
        list: Err(Reason::new("list", "there is no file")),
    };
    let lists = vec![broken, listed(bed.to("sms"), list)];
    let accepted = send(bed, &store, NEW, Kind::Initial, lists).await;
    expand(bed, &store).await;
    assert_eq!(states(&store, &accepted.broadcast).await, [State::Queued]);
    assert_eq!(
        expansion(&store, &accepted, "press").await.state,
        ExpansionState::Failed
    );
    // What is not whole is not accepted.
    let mut half = stage(bed, &store, "b", &[number(1)]).await;
    half.chunks = 2;
    let mut new = bed.acceptance(NEW, Kind::Initial, Vec::new());
    new.lists = vec![listed(bed.to("sms"), half)];
    let refused = store.accept(new).await.unwrap_err().to_string();
    assert!(refused.contains("whole list"), "{refused}");
}

/// Has a recipient refused on an account, with a code.
async fn suppress(bed: &Bed, store: &Store, account: &str, address: &str, code: &str) {
    let mut to = bed.to(account);
    to.recipient = Some(Recipient::new(address));
    let new = bed.acceptance(NEW, Kind::Initial, vec![to]);
    let accepted = store.accept(new).await.unwrap();
    let delivery = store.deliveries(&accepted.broadcast).await.unwrap().remove(0);
    bed.step(store, &delivery.id, State::Queued, Event::Begin).await;
    let mut refused = bed.change(&delivery.id, State::Sending, Event::Refuse);
    refused.error = Some(Reason::new(code, "no such number"));
    super::bed::one(store.change(vec![refused]).await).unwrap();
}

async fn whose_address_has_ended_is_left_out_until_a_person_takes_it_in_again(bed: &Bed) {
    let store = bed.open().await;
    let gone = "+46701740601";
    assert_eq!(refused(bed, &store, Mode::Live, "http-422").await, 2);
    assert_eq!(refused(bed, &store, Mode::Live, "no-such-recipient").await, 2);
    let all = store.suppressed(10).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(
        (all[0].recipient.address(), all[0].reason.code.as_str()),
        (gone, "no-such-recipient")
    );
    assert_eq!(all[0].account.as_ref().unwrap().as_str(), "sms");
    // Left out of a list and of recipients that come with the command alike.
    let list = stage(bed, &store, "l", &[gone, "+46701740603"].map(str::to_owned)).await;
    let mut new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, to_two(bed, "sms"));
    new.lists = vec![listed(bed.to("press"), list.clone()), listed(bed.to("sms"), list)];
    let accepted = store.accept(new).await.unwrap();
    expand(bed, &store).await;
    let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
    let to: Vec<_> = deliveries
        .iter()
        .map(|d| d.recipient.as_ref().unwrap().address())
        .collect();
    assert_eq!(to, ["+46701740602", gone, "+46701740603", "+46701740603"]);
    let all = store.expansions(&accepted.broadcast).await.unwrap();
    let suppressed = |account: &str| -> u64 {
        let of_it = all.iter().filter(|one| one.lane.account.as_str() == account);
        of_it.map(|one| one.suppressed).sum()
    };
    assert_eq!((suppressed("sms"), suppressed("press")), (2, 0));
    // On another account the address may well be good.
    let new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, to_two(bed, "whatsapp"));
    let accepted = store.accept(new).await.unwrap();
    assert_eq!(store.deliveries(&accepted.broadcast).await.unwrap().len(), 2);
    let entry = || Entry {
        at: bed.now(),
        actor: Actor("anna".to_owned()),
        kind: "restore-recipient",
        broadcast: None,
        delivery: None,
        body: serde_json::json!({}),
    };
    assert!(store.suppress(Recipient::new(gone), None, entry()).await.unwrap());
    assert!(!store.suppress(Recipient::new(gone), None, entry()).await.unwrap());
    assert_eq!(refused(bed, &store, Mode::Live, "http-422").await, 2);
    // A person's word holds on every account.
    let reason = Some(Reason::new("person", "asked to"));
    assert!(
        store
            .suppress(Recipient::new(gone), reason, entry())
            .await
            .unwrap()
    );
    let new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, to_two(bed, "whatsapp"));
    let accepted = store.accept(new).await.unwrap();
    assert_eq!(store.deliveries(&accepted.broadcast).await.unwrap().len(), 1);
    for record in store.journal(0, 1000, None).await.unwrap() {
        assert!(!record.body.contains(gone), "{record:?}");
    }
}

async fn practice_says_nothing_of_real_people(bed: &Bed) {
    let store = bed.open().await;
    refused(bed, &store, Mode::Drill, "gone").await;
    assert_eq!(store.suppressed(10).await.unwrap(), []);
}

fn to_two(bed: &Bed, account: &str) -> Vec<Destination> {
    ["+46701740601", "+46701740602"]
        .map(|number| {
            let mut to = bed.to(account);
            to.recipient = Some(Recipient::new(number));
            to
        })
        .into()
}

/// Sends to two, has the first refused with a code, and returns how many deliveries there were.
async fn refused(bed: &Bed, store: &vardkase::store::Store, mode: Mode, code: &str) -> usize {
    let mut new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, to_two(bed, "sms"));
    new.mode = mode;
    let accepted = store.accept(new).await.unwrap();
    let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
    let change = |from, event, attempt, error| Change {
        delivery: deliveries[0].id.clone(),
        fence: None,
        from,
        event,
        at: bed.now(),
        actor: Actor::daemon(),
        attempt: Some(attempt),
        not_before: None,
        receipt: None,
        error,
        note: None,
        lane_notes: None,
    };
    let begun = change(State::Queued, Event::Begin, AttemptChange::Start, None);
    let end = AttemptChange::End {
        outcome: Outcome::Refused,
    };
    let reason = Some(Reason::new(code, "+46701740601 is no number"));
    let ended = change(
        State::Sending,
        Event::Refuse,
        end,
        reason.map(|r| Reason::new(r.code, "no number")),
    );
    for one in [begun, ended] {
        store.change(vec![one]).await.pop().unwrap().unwrap();
    }
    deliveries.len()
}
