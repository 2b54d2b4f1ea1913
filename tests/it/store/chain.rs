//! Who stands in for whom: chains, one account for several, what is late, what is called off and what follows.

use std::time::Duration;

use vardkase::clock::{Timestamp, later};
use vardkase::model::{
    AccountId, Actor, Event, Kind, Mode, NOT_NEEDED, Need, Outcome, Primary, Reason, Receipt, STANDS_IN,
    State, UNREACHABLE_BEFORE, UnreachableBefore,
};
use vardkase::store::{
    Acceptance, AttemptChange, Destination, Entry, Recall, Stage, Store, StoreError, Target, Under,
};

use super::bed::{Bed, existing, get, ids, live, serves, states};
use super::on_both_engines;

on_both_engines!(
    each_link_of_a_chain_counts_from_the_one_before,
    one_account_stands_in_for_several,
    what_its_stand_in_was_faster_than_goes_no_more,
    a_target_that_is_not_there_writes_nothing,
    what_a_stand_in_said_is_followed_up_there,
    a_stand_in_stays_for_those_that_are_not_called_off,
    who_had_not_answered_before_is_tried_once_whoever_is_faster,
    a_person_who_stands_in_is_asked_no_more_once_the_account_is_out,
    nobody_of_a_chain_is_asked_any_more_once_its_first_is_out,
    what_cannot_be_read_of_before_is_left_out,
);

const NEW: Under = Under::New { year: 2026 };

fn instead_of(bed: &Bed, account: &str, of: &[(&str, i64)]) -> Destination {
    let of = of.iter().map(|(id, seconds)| serves(id, *seconds)).collect();
    Destination {
        target: Some(Target::InsteadOf(of)),
        ..bed.to(account)
    }
}

fn after(at: Timestamp, seconds: u64) -> Timestamp {
    later(at, Duration::from_secs(seconds))
}

async fn primaries(store: &Store, account: &str) -> Vec<Primary> {
    store.head(&live(account), 9).await.unwrap().remove(0).primaries
}

async fn each_link_of_a_chain_counts_from_the_one_before(bed: &Bed) {
    let store = bed.open().await;
    // The first waits for a page; nobody takes over from it before it may go.
    let held = after(bed.now(), 600);
    let first = Destination {
        not_before: held,
        ..bed.to("a")
    };
    let all = vec![
        first,
        instead_of(bed, "b", &[("a", 300)]),
        instead_of(bed, "c", &[("b", 200)]),
    ];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    let c = get(&store, &id[2]).await;
    assert_eq!(get(&store, &id[1]).await.not_before, after(held, 300));
    assert_eq!(c.not_before, after(held, 500));
    assert_eq!((c.target.as_ref(), c.stands_in_for.len()), (Some(&id[1]), 1));
    assert_eq!(primaries(&store, "c").await[0].until, Some(after(held, 500)));

    // The page answers early: everybody's time moves.
    let now = bed.later(60);
    let entry = bed.entry("stage");
    store
        .release(&accepted.broadcast, Stage::Answers, now, entry)
        .await
        .unwrap();
    assert_eq!(primaries(&store, "b").await[0].until, Some(after(now, 300)));
    assert_eq!(primaries(&store, "c").await[0].until, Some(after(now, 500)));

    // The first is refused, the second tries at once and hangs: the third counts from there.
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    bed.step(&store, &id[0], State::Sending, Event::Refuse).await;
    let woken = store.stand_ins_of(&id[..1]).await.unwrap();
    assert_eq!(woken, [live("b")]);
    assert_eq!(primaries(&store, "b").await[0].need(), Need::Now);
    let began = bed.later(5);
    bed.step(&store, &id[1], State::Queued, Event::Begin).await;
    assert_eq!(store.stand_ins_of(&id[1..2]).await.unwrap(), [live("c")]);
    assert_eq!(primaries(&store, "c").await[0].until, Some(after(began, 200)));
    // Tries again do not put it off.
    bed.later(5);
    bed.step(&store, &id[1], State::Sending, Event::Postpone).await;
    bed.later(5);
    bed.step(&store, &id[1], State::Queued, Event::Begin).await;
    assert_eq!(primaries(&store, "c").await[0].until, Some(after(began, 200)));
    bed.step(&store, &id[1], State::Sending, Event::Publish).await;
    assert_eq!(primaries(&store, "c").await[0].need(), Need::Never);

    let told = store.journal(0, 99, Some(&accepted.broadcast)).await.unwrap();
    let of_b: Vec<_> = told
        .iter()
        .filter(|record| record.delivery.as_ref() == Some(&id[1]))
        .collect();
    assert!(of_b.len() >= 4);
    for record in &of_b {
        assert!(record.body.contains(r#""stands_in_for":["a"]"#), "{record:?}");
    }
    assert!(told[0].body.contains(r#""stands_in_for":["b"]"#), "{:?}", told[0]);
}

async fn one_account_stands_in_for_several(bed: &Bed) {
    let store = bed.open().await;
    let all = vec![
        bed.to("a"),
        bed.to("b"),
        instead_of(bed, "c", &[("a", 300), ("b", 100)]),
    ];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    assert_eq!(id.len(), 3, "one post for both");
    let c = get(&store, &id[2]).await;
    assert_eq!(c.stands_in_for, ["a".parse().unwrap(), "b".parse().unwrap()]);
    assert_eq!(c.not_before, after(bed.now(), 100), "the first that is late");
    bed.publish(&store, &id[1]).await;
    let needs: Vec<Need> = primaries(&store, "c").await.iter().map(Primary::need).collect();
    assert!(needs.contains(&Need::Never) && needs.contains(&Need::Then(Some(after(bed.now(), 300)))));
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    bed.step(&store, &id[0], State::Sending, Event::Refuse).await;
    let woken = store.stand_ins_to_wake(&accepted.broadcast).await.unwrap();
    assert_eq!(woken, [live("c")]);
}

async fn what_its_stand_in_was_faster_than_goes_no_more(bed: &Bed) {
    let store = bed.open().await;
    let keeps = Destination {
        target: Some(Target::InsteadOf(
            ["late", "early", "hangs", "kept"]
                .into_iter()
                .map(|id| {
                    let mut of = serves(id, if id == "early" { 900 } else { 100 });
                    of.keeps = id == "kept";
                    of
                })
                .collect(),
        )),
        ..bed.to("s")
    };
    let mut all: Vec<_> = ["late", "early", "hangs", "kept"].map(|id| bed.to(id)).into();
    all.push(keeps);
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    bed.step(&store, &id[2], State::Queued, Event::Begin).await;
    bed.later(101);
    bed.publish(&store, &id[4]).await;
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [
            State::Superseded,
            State::Queued,
            State::Sending,
            State::Queued,
            State::Published
        ]
    );
    let late = get(&store, &id[0]).await.error.unwrap();
    assert_eq!(late.code, "stood-in-for");
    assert!(late.text.contains("s stands in for it"), "{late}");
    // What was under way and comes back unsent is not tried again either.
    bed.later(1);
    assert_eq!(
        bed.step(&store, &id[2], State::Sending, Event::Postpone).await,
        State::Superseded
    );
    assert_eq!(get(&store, &id[2]).await.error.unwrap().code, "stood-in-for");
    let attempts = store.attempts(&id[2]).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(Outcome::NotSent));
    bed.publish(&store, &id[3]).await;
    assert_eq!(store.verify_journal().await.unwrap().broken, None);

    // In a chain the last link is enough for all before it.
    let all = vec![
        bed.to("a"),
        instead_of(bed, "b", &[("a", 10)]),
        instead_of(bed, "c", &[("b", 10)]),
    ];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    bed.later(20);
    bed.publish(&store, &id[2]).await;
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [State::Superseded, State::Superseded, State::Published]
    );
}

async fn a_target_that_is_not_there_writes_nothing(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a"]).await;
    let post = ids(&store, &first.broadcast).await.remove(0);
    let head = store.journal_head().await.unwrap();
    let edits = |account: &str, target: &str| Destination {
        purpose: vardkase::model::Purpose::Edit,
        target: Some(Target::Delivery(target.parse().unwrap())),
        ..bed.to(account)
    };
    let pin = Destination {
        purpose: vardkase::model::Purpose::Pin,
        target: Some(Target::Account("nobody".parse().unwrap())),
        ..bed.to("b")
    };
    for wrong in [
        instead_of(bed, "c", &[("nobody", 60)]),
        edits("b", "there-is-none"),
        edits("b", post.as_str()),
        pin,
    ] {
        for under in [NEW, existing(&first.alert)] {
            let kind = match under {
                Under::New { .. } => Kind::Initial,
                Under::Existing(_) => Kind::Update,
            };
            let new = bed.acceptance(under, kind, vec![bed.to("a"), bed.to("b"), wrong.clone()]);
            let answer = store.accept(new).await;
            assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
        }
    }
    assert_eq!(store.journal_head().await.unwrap(), head);
    assert_eq!(store.broadcasts(9).await.unwrap().len(), 1);
    assert_eq!(
        get(&store, &post).await.state,
        State::Queued,
        "nothing overtook it"
    );
    let next = bed.initial(&store, &["a"]).await;
    assert_eq!(next.broadcast.as_str(), "2026-0002.1", "no number was used up");
}

async fn what_a_stand_in_said_is_followed_up_there(bed: &Bed) {
    let store = bed.open().await;
    let all = || vec![bed.to("a"), instead_of(bed, "c", &[("a", 60)])];
    let first = store
        .accept(bed.acceptance(NEW, Kind::Initial, all()))
        .await
        .unwrap();
    let id = ids(&store, &first.broadcast).await;
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    bed.step(&store, &id[0], State::Sending, Event::Refuse).await;
    assert!(store.stood_in(&first.alert).await.unwrap().is_empty());
    bed.publish(&store, &id[1]).await;
    let stood_in = store.stood_in(&first.alert).await.unwrap();
    assert_eq!(Vec::from_iter(stood_in), ["c".parse().unwrap()]);

    let new = bed.acceptance(existing(&first.alert), Kind::Correction, all());
    let second = store.accept(new).await.unwrap();
    let id = ids(&store, &second.broadcast).await;
    let c = get(&store, &id[1]).await;
    assert_eq!(
        (c.target, c.not_before),
        (None, bed.now()),
        "it stands for itself now"
    );
    let work = store.head(&live("c"), 9).await.unwrap().remove(0);
    assert!(work.post.parent.is_some(), "under what it said before");
}

async fn a_stand_in_stays_for_those_that_are_not_called_off(bed: &Bed) {
    let store = bed.open().await;
    let all = vec![
        bed.to("a"),
        bed.to("b"),
        instead_of(bed, "c", &[("a", 60), ("b", 60)]),
        instead_of(bed, "d", &[("a", 60)]),
    ];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    bed.step(&store, &id[0], State::Sending, Event::Refuse).await;
    let recall = |account: &str| Recall {
        broadcast: accepted.broadcast.clone(),
        mode: Mode::Live,
        accounts: vec![account.parse().unwrap()],
        seen: Vec::new(),
        extras: Vec::new(),
        at: bed.now(),
        actor: Actor::daemon(),
        entry: Entry {
            ..bed.entry("retract")
        },
    };
    store.recall(recall("a")).await.unwrap();
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [State::Refused, State::Queued, State::Queued, State::Cancelled]
    );
    let left = primaries(&store, "c").await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].account.as_str(), "b");
    store.recall(recall("b")).await.unwrap();
    assert_eq!(get(&store, &id[2]).await.state, State::Cancelled);
    // Nothing of it is left to be begun.
    let begin = bed.change(&id[2], State::Queued, Event::Begin);
    assert_eq!(begin.attempt, Some(AttemptChange::Start));
    let answer = store.change(vec![begin]).await.remove(0);
    assert!(matches!(answer, Err(StoreError::Moved { .. })), "{answer:?}");
}

fn silent(bed: &Bed, account: &str, over: &str) -> UnreachableBefore {
    UnreachableBefore {
        account: account.parse().unwrap(),
        since: bed.now(),
        seen_at: bed.now(),
        reason: Reason::new("credential", "Tjänsten tar inte emot vår inloggning: 401."),
        takes_over: Some(over.parse().unwrap()),
        by_hand: None,
    }
}

async fn who_had_not_answered_before_is_tried_once_whoever_is_faster(bed: &Bed) {
    let store = bed.open().await;
    let of = ["dead", "slow", "tried"].map(|id| serves(id, i64::from(id == "slow") * 300));
    let all = vec![
        bed.to("dead"),
        bed.to("slow"),
        bed.to("tried"),
        Destination {
            target: Some(Target::InsteadOf(of.to_vec())),
            ..bed.to("s")
        },
    ];
    let known = vec![silent(bed, "dead", "s"), silent(bed, "tried", "s")];
    let new = Acceptance {
        unreachable: known.clone(),
        ..bed.acceptance(NEW, Kind::Initial, all)
    };
    let accepted = store.accept(new).await.unwrap();
    assert_eq!(
        store.unreachable_before(&accepted.broadcast).await.unwrap(),
        known
    );
    let id = ids(&store, &accepted.broadcast).await;
    assert_eq!(
        get(&store, &id[3]).await.not_before,
        bed.now(),
        "it waits for nobody"
    );
    let told = store.journal(0, 99, Some(&accepted.broadcast)).await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&told[0].body).unwrap();
    assert_eq!(body["unreachable_before"][0]["account"], "dead", "{body:#}");
    assert_eq!(body["deliveries"][3]["because"], "unreachable-before", "{body:#}");
    assert!(body["deliveries"][0].get("because").is_none(), "{body:#}");
    let of_s = primaries(&store, "s").await;
    let silent_ones = of_s.iter().filter(|one| one.silent_before).count();
    assert_eq!((of_s.len(), silent_ones), (3, 2));

    // One has been tried, and waits for its next try; then the stand-in is out.
    bed.step(&store, &id[2], State::Queued, Event::Begin).await;
    bed.step(&store, &id[2], State::Sending, Event::Postpone).await;
    bed.publish(&store, &id[3]).await;
    let now = states(&store, &accepted.broadcast).await;
    assert_eq!(
        now,
        [State::Queued, State::Queued, State::Superseded, State::Published],
        "who was not tried is owed a try, who still has its time goes on"
    );
    bed.later(5);
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    let came_back = bed.step(&store, &id[0], State::Sending, Event::Postpone).await;
    assert_eq!(came_back, State::Superseded, "and no more than one");
    assert_eq!(get(&store, &id[0]).await.error.unwrap().code, "stood-in-for");

    // A person who lets it run for the first time means it, whoever was faster.
    let all = vec![bed.to("dead"), instead_of(bed, "s", &[("dead", 0)])];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    bed.publish(&store, &id[1]).await;
    bed.step(&store, &id[0], State::Queued, Event::HandOver).await;
    bed.later(5);
    bed.step(&store, &id[0], State::Manual, Event::Retry).await;
    bed.step(&store, &id[0], State::Queued, Event::Begin).await;
    let came_back = bed.step(&store, &id[0], State::Sending, Event::Postpone).await;
    assert_eq!(came_back, State::Queued);

    // Nobody has to know that it is out for it to be out: both are, and both are shown.
    let all = vec![bed.to("dead"), instead_of(bed, "s", &[("dead", 0)])];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    bed.publish(&store, &id[1]).await;
    bed.publish(&store, &id[0]).await;
    let now = states(&store, &accepted.broadcast).await;
    assert_eq!(now, [State::Published, State::Published]);
    assert!(
        !store
            .out_since(&"dead".parse().unwrap(), Mode::Drill, bed.now())
            .await
            .unwrap()
    );
    assert!(
        store
            .out_since(&"dead".parse().unwrap(), Mode::Live, bed.now())
            .await
            .unwrap()
    );
    let later = bed.later(1);
    assert!(
        !store
            .out_since(&"dead".parse().unwrap(), Mode::Live, later)
            .await
            .unwrap()
    );
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn a_person_who_stands_in_is_asked_no_more_once_the_account_is_out(bed: &Bed) {
    let store = bed.open().await;
    let all = || {
        vec![
            bed.to("a"),
            bed.to("b"),
            instead_of(bed, "board", &[("a", 0)]),
            instead_of(bed, "desk", &[("a", 0), ("b", 60)]),
            instead_of(bed, "own", &[("a", 0)]),
        ]
    };
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all()))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    for (at, code) in [(2, UNREACHABLE_BEFORE), (3, STANDS_IN), (4, "busy-past-validity")] {
        let mut change = bed.change(&id[at], State::Queued, Event::HandOver);
        change.error = Some(Reason::new(code, "a did not answer"));
        store.change(vec![change]).await.remove(0).unwrap();
    }
    bed.publish(&store, &id[0]).await;
    assert_eq!(
        states(&store, &accepted.broadcast).await,
        [
            State::Published,
            State::Queued,
            State::Cancelled,
            State::Manual,
            State::Manual
        ],
        "the desk is still asked for b, and what was handed over for another reason stays"
    );
    let board = get(&store, &id[2]).await;
    assert_eq!(board.error.unwrap().code, NOT_NEEDED);
    bed.publish(&store, &id[1]).await;
    assert_eq!(get(&store, &id[3]).await.state, State::Cancelled);
    // The person had been faster, and says so.
    let mut done = bed.change(&id[2], State::Cancelled, Event::Done);
    done.receipt = Some(Receipt::of("by-hand"));
    let state = store.change(vec![done]).await.remove(0).unwrap();
    assert_eq!(state, State::Published);
    let board: AccountId = "board".parse().unwrap();
    let since = bed.now();
    assert!(
        !store.out_since(&board, Mode::Live, since).await.unwrap(),
        "a hand proves no account"
    );
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn nobody_of_a_chain_is_asked_any_more_once_its_first_is_out(bed: &Bed) {
    let store = bed.open().await;
    let all = vec![
        bed.to("a"),
        bed.to("b"),
        instead_of(bed, "board", &[("a", 0)]),
        instead_of(bed, "desk", &[("board", 0)]),
        instead_of(bed, "radio", &[("desk", 0)]),
        instead_of(bed, "both", &[("desk", 0), ("b", 60)]),
    ];
    let accepted = store
        .accept(bed.acceptance(NEW, Kind::Initial, all))
        .await
        .unwrap();
    let id = ids(&store, &accepted.broadcast).await;
    for of in &id[2..] {
        let mut change = bed.change(of, State::Queued, Event::HandOver);
        change.error = Some(Reason::new(STANDS_IN, "a did not answer"));
        store.change(vec![change]).await.remove(0).unwrap();
    }
    bed.publish(&store, &id[0]).await;
    for of in &id[2..5] {
        let delivery = get(&store, of).await;
        assert_eq!(delivery.state, State::Cancelled, "{delivery:?}");
        assert_eq!(delivery.error.unwrap().code, NOT_NEEDED);
    }
    assert_eq!(get(&store, &id[5]).await.state, State::Manual, "b is not out");
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn what_cannot_be_read_of_before_is_left_out(bed: &Bed) {
    let store = bed.open().await;
    let known = vec![silent(bed, "a", "s"), silent(bed, "b", "s")];
    let all = vec![
        bed.to("a"),
        bed.to("b"),
        instead_of(bed, "s", &[("a", 0), ("b", 0)]),
    ];
    let new = Acceptance {
        unreachable: known.clone(),
        ..bed.acceptance(NEW, Kind::Initial, all)
    };
    let accepted = store.accept(new).await.unwrap();
    store.close().await;
    bed.meddle("UPDATE unreachable_before SET body = 'x' WHERE account = 'a'")
        .await;
    let store = bed.open().await;
    let read = store.unreachable_before(&accepted.broadcast).await.unwrap();
    assert_eq!(read, known[1..]);
}
