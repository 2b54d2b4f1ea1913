//! Accepting: all or nothing, once per key, numbered, overtaking what waits.

use vardkase::model::{AlertState, Event, Kind, Mode, Purpose, Recipient, State};
use vardkase::store::{StoreError, Under};

use super::bed::{Bed, existing, get, ids, live, one, rendering, states};
use super::on_both_engines;

on_both_engines!(
    what_was_accepted_is_read_back_whole,
    alerts_are_numbered_by_mode_and_year,
    fifty_equal_requests_give_one_broadcast,
    a_newer_broadcast_overtakes_what_waits,
    an_ended_or_foreign_alert_is_refused,
    twenty_thousand_recipients_are_accepted_at_once,
    extras_are_added_once,
    a_broadcast_is_finished_once_and_only_when_nothing_is_open,
    a_rendering_that_is_not_there_is_refused_whole,
    what_went_out_lately_is_known_with_its_texts_and_accounts,
);

async fn what_was_accepted_is_read_back_whole(bed: &Bed) {
    let store = bed.open().await;
    let mut by_hand = bed.to("skylten");
    by_hand.state = State::Manual;
    by_hand.rendering = 1;
    let mut mail = bed.to("press");
    mail.recipient = Some(Recipient::new("redaktion@tidning.example"));
    let new = bed.acceptance(
        Under::New { year: 2026 },
        Kind::Initial,
        vec![bed.to("mastodon"), by_hand, mail],
    );
    let accepted = store.accept(new.clone()).await.unwrap();
    assert_eq!(accepted.alert.as_str(), "2026-0001");
    assert_eq!(accepted.broadcast.as_str(), "2026-0001.1");
    assert!(!accepted.repeated);
    assert_eq!(accepted.lanes, [live("mastodon"), live("press")]);

    let broadcast = store.broadcast(&accepted.broadcast).await.unwrap();
    assert_eq!((broadcast.kind, broadcast.mode), (Kind::Initial, Mode::Live));
    assert_eq!(
        (broadcast.accepted_at, broadcast.valid_until),
        (new.at, new.valid_until)
    );
    assert_eq!(broadcast.finished_at, None);
    assert_eq!(
        store.unfinished().await.unwrap(),
        std::slice::from_ref(&broadcast)
    );
    let alert = store.alert(&accepted.alert).await.unwrap();
    assert_eq!(
        (alert.state, alert.broadcasts),
        (AlertState::Active, vec![broadcast])
    );

    let deliveries = store.deliveries(&accepted.broadcast).await.unwrap();
    assert_eq!(
        deliveries.iter().map(|d| d.account.as_str()).collect::<Vec<_>>(),
        ["mastodon", "skylten", "press"]
    );
    assert_eq!(deliveries[1].state, State::Manual);
    assert_eq!(deliveries[2].recipient, new.destinations[2].recipient);
    assert_eq!(
        store.rendering(&deliveries[1].id).await.unwrap(),
        new.renderings[1]
    );
    let work = store.head(&live("mastodon"), 10).await.unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!(work[0].delivery, deliveries[0]);
    assert_eq!(work[0].post.rendering, new.renderings[0]);
    assert_eq!(work[0].post.accepted_at, new.at);
    assert_eq!(
        (&work[0].post.root, &work[0].post.parent, &work[0].target),
        (&None, &None, &None)
    );

    let journal = store.journal(0, 10, None).await.unwrap();
    assert_eq!(journal.len(), 1);
    assert_eq!((journal[0].seq, journal[0].kind.as_str()), (1, "accept"));
    assert!(
        !journal[0].body.contains("redaktion@"),
        "recipients are masked: {}",
        journal[0].body
    );
    assert_eq!(
        store.counts(std::time::Duration::from_mins(1)).await.unwrap(),
        [(Mode::Live, State::Manual, 1), (Mode::Live, State::Queued, 2)]
    );
}

async fn alerts_are_numbered_by_mode_and_year(bed: &Bed) {
    let store = bed.open().await;
    let mut given = Vec::new();
    for (mode, year) in [
        (Mode::Live, 2026),
        (Mode::Drill, 2026),
        (Mode::Live, 2026),
        (Mode::Live, 2027),
    ] {
        let mut new = bed.acceptance(Under::New { year }, Kind::Initial, vec![bed.to("x")]);
        new.mode = mode;
        given.push(store.accept(new).await.unwrap().alert.to_string());
    }
    assert_eq!(given, ["2026-0001", "ovning-2026-0001", "2026-0002", "2027-0001"]);
    assert_eq!(store.broadcasts(2).await.unwrap().len(), 2);
    assert_eq!(store.broadcasts(2).await.unwrap()[0].alert.as_str(), "2027-0001");
}

async fn fifty_equal_requests_give_one_broadcast(bed: &Bed) {
    let store = bed.open().await;
    let request = || {
        let mut new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, vec![bed.to("mastodon")]);
        new.idempotency = Some(("key-1".to_owned(), "digest-1".to_owned()));
        new
    };
    let answers = futures::future::join_all((0..50).map(|_| {
        let store = store.clone();
        let new = request();
        tokio::spawn(async move { store.accept(new).await.unwrap() })
    }))
    .await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| !a.repeated).count(), 1);
    assert!(
        answers
            .iter()
            .all(|a| a.broadcast == answers[0].broadcast && a.lanes == [live("mastodon")])
    );
    assert_eq!(store.broadcasts(100).await.unwrap().len(), 1);

    let mut other = request();
    other.idempotency = Some(("key-1".to_owned(), "digest-2".to_owned()));
    assert!(matches!(store.accept(other).await, Err(StoreError::KeyReused(key)) if key == "key-1"));

    store.close().await;
    bed.later(31 * 24 * 3600);
    let store = bed.open().await;
    assert!(
        store.accept(request()).await.unwrap().repeated,
        "keys outlive 30 days and a restart"
    );
    assert_eq!(store.broadcasts(100).await.unwrap().len(), 1);
}

async fn a_newer_broadcast_overtakes_what_waits(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a", "b", "c", "d", "e"]).await;
    let deliveries = ids(&store, &first.broadcast).await;
    bed.publish(&store, &deliveries[0]).await;
    bed.step(&store, &deliveries[1], State::Queued, Event::Hold).await;
    bed.step(&store, &deliveries[2], State::Queued, Event::Begin)
        .await;
    let mut listener = store.subscribe();
    let to = ["a", "b", "c", "d"].map(|id| bed.to(id)).to_vec();
    let second = store
        .accept(bed.acceptance(existing(&first.alert), Kind::AllClear, to))
        .await
        .unwrap();
    assert_eq!(second.broadcast.as_str(), "2026-0001.2");
    assert_eq!(
        states(&store, &first.broadcast).await,
        [
            State::Published,
            State::Superseded,
            State::Sending,
            State::Superseded,
            State::Queued
        ],
        "only what waits, and only on the accounts of the newer one"
    );
    assert_eq!(get(&store, &deliveries[3]).await.finished_at, Some(bed.now()));
    let heard: Vec<_> = std::iter::from_fn(|| listener.try_recv().ok())
        .map(|c| (c.delivery, c.state))
        .collect();
    assert!(heard.contains(&(Some(deliveries[3].clone()), Some(State::Superseded))));
    assert!(heard.contains(&(None, None)));
    assert_eq!(store.alert(&first.alert).await.unwrap().state, AlertState::Ended);
    let late = bed.change(&deliveries[3], State::Queued, Event::Begin);
    assert!(matches!(
        one(store.change(vec![late]).await),
        Err(StoreError::Moved {
            found: State::Superseded,
            ..
        })
    ));
}

async fn an_ended_or_foreign_alert_is_refused(bed: &Bed) {
    let store = bed.open().await;
    let first = bed.initial(&store, &["a"]).await;
    let mut drill = bed.acceptance(existing(&first.alert), Kind::Update, vec![bed.to("a")]);
    drill.mode = Mode::Drill;
    assert!(
        matches!(store.accept(drill).await, Err(StoreError::NotFound(_))),
        "a drill never joins a live alert"
    );
    let nowhere = "2026-0099".parse().unwrap();
    let unknown = bed.acceptance(existing(&nowhere), Kind::Update, vec![bed.to("a")]);
    assert!(matches!(
        store.accept(unknown).await,
        Err(StoreError::NotFound(_))
    ));
    store
        .accept(bed.acceptance(existing(&first.alert), Kind::AllClear, vec![bed.to("a")]))
        .await
        .unwrap();
    let after = bed.acceptance(existing(&first.alert), Kind::Update, vec![bed.to("a")]);
    assert!(matches!(store.accept(after).await, Err(StoreError::NotFound(_))));
    assert_eq!(
        store.broadcasts(10).await.unwrap().len(),
        2,
        "what is refused leaves nothing behind"
    );
}

async fn twenty_thousand_recipients_are_accepted_at_once(bed: &Bed) {
    let store = bed.open().await;
    let to = |n: usize| {
        let mut to = bed.to("mejl");
        to.recipient = Some(Recipient::new(format!("person{n}@nassjo.example")));
        to
    };
    let new = bed.acceptance(
        Under::New { year: 2026 },
        Kind::Initial,
        (0..20_001).map(to).collect(),
    );
    let accepted = store.accept(new).await.unwrap();
    let work = store.head(&live("mejl"), 3).await.unwrap();
    let first: Vec<_> = work
        .iter()
        .map(|w| w.delivery.recipient.as_ref().unwrap().address())
        .collect();
    assert_eq!(
        first,
        [
            "person0@nassjo.example",
            "person1@nassjo.example",
            "person2@nassjo.example"
        ],
        "recipients in their order"
    );
    assert_eq!(store.deliveries(&accepted.broadcast).await.unwrap().len(), 20_001);
    let second = bed.acceptance(existing(&accepted.alert), Kind::Update, (0..3).map(to).collect());
    store.accept(second).await.unwrap();
    assert_eq!(
        store.counts(std::time::Duration::ZERO).await.unwrap(),
        [
            (Mode::Live, State::Queued, 3),
            (Mode::Live, State::Superseded, 20_001)
        ]
    );
    assert!(store.verify_journal().await.unwrap().broken.is_none());
}

async fn extras_are_added_once(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let target = ids(&store, &accepted.broadcast).await.remove(0);
    bed.publish(&store, &target).await;
    let mut retraction = Bed::extra(&accepted.broadcast, "a", Purpose::Retract);
    retraction.target = Some(target.clone());
    retraction.recipient = None;
    retraction.rendering = None;
    let extras = vec![
        retraction.clone(),
        Bed::extra(&accepted.broadcast, "mejl", Purpose::ConfirmInterim),
    ];
    let before = store.journal_head().await.unwrap().0;
    for _ in 0..2 {
        let lanes = store
            .add(extras.clone(), bed.now(), Some(bed.entry("confirmation")))
            .await
            .unwrap();
        assert_eq!(lanes, [live("a"), live("mejl")]);
    }
    assert_eq!(store.deliveries(&accepted.broadcast).await.unwrap().len(), 3);
    assert_eq!(
        store.journal_head().await.unwrap().0,
        before + 1,
        "the entry stands once"
    );

    let work = store.head(&live("a"), 10).await.unwrap();
    assert_eq!(work.len(), 1);
    assert_eq!(work[0].delivery.target, Some(target.clone()));
    assert_eq!(
        work[0].target.as_ref().unwrap().remote_id,
        format!("post-{target}")
    );
    assert_eq!(
        work[0].post.rendering,
        store.rendering(&target).await.unwrap(),
        "what was published"
    );

    retraction.mode = Mode::Drill;
    assert!(matches!(
        store.add(vec![retraction], bed.now(), None).await,
        Err(StoreError::NotFound(_))
    ));
    let id = work[0].delivery.id.clone();
    bed.publish(&store, &id).await;
    assert_eq!(
        get(&store, &target).await.state,
        State::Retracted,
        "the target follows in the same commit"
    );
    assert_eq!(get(&store, &id).await.state, State::Published);
}

async fn a_broadcast_is_finished_once_and_only_when_nothing_is_open(bed: &Bed) {
    let store = bed.open().await;
    let accepted = bed.initial(&store, &["a"]).await;
    let id = ids(&store, &accepted.broadcast).await.remove(0);
    let confirmation = || vec![Bed::extra(&accepted.broadcast, "mejl", Purpose::ConfirmFinal)];
    let finish = || {
        store.finish(
            &accepted.broadcast,
            bed.now(),
            confirmation(),
            bed.entry("finish"),
        )
    };
    store
        .add(
            vec![Bed::extra(&accepted.broadcast, "mejl", Purpose::ConfirmInterim)],
            bed.now(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(finish().await.unwrap(), None, "a delivery is open");
    bed.publish(&store, &id).await;
    bed.later(5);
    assert_eq!(
        finish().await.unwrap(),
        Some(vec![live("mejl")]),
        "an open confirmation does not count"
    );
    assert_eq!(
        store.broadcast(&accepted.broadcast).await.unwrap().finished_at,
        Some(bed.now())
    );
    assert_eq!(finish().await.unwrap(), None, "once");
    assert_eq!(store.unfinished().await.unwrap(), []);
    let purposes: Vec<_> = store
        .deliveries(&accepted.broadcast)
        .await
        .unwrap()
        .into_iter()
        .map(|d| d.purpose)
        .collect();
    assert_eq!(
        purposes,
        [Purpose::Publish, Purpose::ConfirmInterim, Purpose::ConfirmFinal]
    );
}

async fn a_rendering_that_is_not_there_is_refused_whole(bed: &Bed) {
    let store = bed.open().await;
    let mut to = bed.to("a");
    to.rendering = 2;
    let new = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, vec![bed.to("b"), to]);
    assert!(matches!(store.accept(new).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.broadcasts(10).await.unwrap(), []);
    assert_eq!(
        bed.initial(&store, &["a"]).await.alert.as_str(),
        "2026-0001",
        "no number is lost"
    );
}

async fn what_went_out_lately_is_known_with_its_texts_and_accounts(bed: &Bed) {
    let store = bed.open().await;
    let old = bed.now();
    bed.initial(&store, &["a"]).await;
    bed.later(60);
    let since = bed.now();
    let mut mail = bed.to("press");
    mail.recipient = Some(Recipient::new("redaktion@tidning.example"));
    let new = bed.acceptance(
        Under::New { year: 2026 },
        Kind::Initial,
        vec![bed.to("a"), bed.to("b"), mail],
    );
    let accepted = store.accept(new).await.unwrap();
    let b = ids(&store, &accepted.broadcast).await.remove(1);
    bed.step(&store, &b, State::Queued, Event::Begin).await;
    bed.step(&store, &b, State::Sending, Event::Refuse).await;
    let mut drill = bed.acceptance(Under::New { year: 2026 }, Kind::Initial, vec![bed.to("a")]);
    drill.mode = Mode::Drill;
    store.accept(drill).await.unwrap();

    let recent = store.recent(since).await.unwrap();
    assert_eq!(recent.len(), 1, "no drill and nothing older: {recent:#?}");
    let one = &recent[0];
    assert_eq!(
        (&one.broadcast, one.kind, one.at),
        (&accepted.broadcast, Kind::Initial, since)
    );
    assert_eq!(
        one.texts,
        [
            rendering("Koka vattnet.").text,
            rendering("Koka allt dricksvatten i Nässjö.").text
        ]
    );
    let mut accounts: Vec<&str> = one
        .accounts
        .iter()
        .map(vardkase::model::AccountId::as_str)
        .collect();
    accounts.sort_unstable();
    assert_eq!(accounts, ["a", "press"], "what was refused went nowhere");
    assert_eq!(store.recent(old).await.unwrap().len(), 2);
}
