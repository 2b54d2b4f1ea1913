//! Accounts tried where the public cannot see: a year of it in seconds, on both nights on which the clock is changed; what
//! was missed and what a live alert stood in the way of is told and not made up for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vardkase::app::request::SendRequest;
use vardkase::app::{App, AppError};
use vardkase::clock::{Clock, TestClock, Timestamp};
use vardkase::model::{AccountId, Actor, Kind, Look, Mode, Reach, Subject, Trouble};
use vardkase::wall::{Guise, How};

use crate::support::{Account, NODE, Plan, World};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A world whose accounts are tried on Sundays at half past two, and the application of it, on a clock of its own.
pub(crate) async fn tried(
    accounts: Vec<Account>,
    more: &str,
    start: &str,
) -> (World, Arc<App>, Arc<TestClock>) {
    let mut plan = Plan::of(accounts);
    plan.watch = format!("[verification]\nevery = \"24h\"\nbackstage = \"30 2 * * SUN\"\n{more}");
    let world = World::open(plan).await;
    let clock = Arc::new(TestClock::at(at(start)));
    let app = world.app(&clock, &world.practice(&clock).await).await;
    app.start(NODE.to_owned(), false).await.unwrap();
    (world, app, clock)
}

/// What was told of trials that were not carried out.
async fn skipped(app: &App) -> Vec<String> {
    let all = app
        .store()
        .conditions_ended(Timestamp::UNIX_EPOCH, 100)
        .await
        .unwrap();
    all.into_iter()
        .filter(|one| one.sign.trouble == Trouble::TrialSkipped)
        .map(|one| one.sign.text)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_trials_each_once_and_nothing_ever_stands_in_public() {
    let accounts = vec![
        Account::new("facebook", "facebook-page"),
        // It has no such place, and costs money: neither is asked for.
        Account::new("intranat", "webhook"),
        Account::new("sms", "sms-46elks"),
    ];
    let (world, app, clock) = Box::pin(tried(accounts, "", "2026-11-30T12:00:00Z")).await;
    let stop = CancellationToken::new();
    let end = at("2027-11-30T12:00:00Z");
    // The daemon is down over Christmas: three Sundays.
    let down = at("2026-12-19T12:00:00Z")..at("2027-01-09T12:00:00Z");
    let mut times = BTreeSet::new();
    let mut next = app.look_backstage(&stop).await.unwrap().unwrap();
    while next < end {
        clock.advance(next.duration_since(clock.now()));
        let before = world.wall.backstage().len();
        if !down.contains(&clock.now()) {
            app.look_backstage(&stop).await.unwrap();
            // However often it is looked at.
            app.look_backstage(&stop).await.unwrap();
        }
        match world.wall.backstage().len() - before {
            0 => {}
            1 => drop(times.insert(clock.now())),
            more => panic!("{more} at {}", clock.now()),
        }
        let config = app.config();
        next = config
            .verification
            .backstage
            .as_ref()
            .unwrap()
            .next(clock.now())
            .unwrap();
    }
    assert_eq!(times.len(), 52 - 3, "{times:?}");
    // The spring night has no 02.30; the autumn night has two.
    assert!(times.contains(&at("2027-03-28T01:00:00Z")), "{times:?}");
    assert!(times.contains(&at("2027-10-31T00:30:00Z")), "{times:?}");
    assert!(!times.contains(&at("2027-10-31T01:30:00Z")), "{times:?}");
    let told = skipped(&app).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("3 prov bakom scenen uteblev"), "{told:?}");
    let behind = world.wall.backstage();
    assert!(behind.iter().all(|one| one.account.as_str() == "facebook"));
    assert!(
        behind.iter().all(|one| one.deleted_at.is_some()),
        "taken away each time"
    );
    assert_eq!(world.posts(), []);
    let seen = app.history(&"facebook".parse().unwrap(), 10).await.unwrap();
    let looks = seen.iter().filter(|one| one.observation.look == Look::Backstage);
    let looks: Vec<_> = looks.map(|one| one.observation.reach).collect();
    assert_eq!(looks, [Reach::Reachable], "what stays the same is one entry");
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_kept_and_ends_and_a_live_alert_goes_first() {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("sms", "sms-46elks"),
        Account::new("intranat", "webhook"),
    ];
    let named = "backstage_accounts = [\"mastodon\", \"sms\"]\n";
    let (world, app, clock) = Box::pin(tried(accounts, named, "2026-11-30T12:00:00Z")).await;
    let stop = CancellationToken::new();
    let due = async || {
        let next = app.look_backstage(&stop).await.unwrap().unwrap();
        clock.advance(next.duration_since(clock.now()));
        app.look_backstage(&stop).await.unwrap();
    };
    let account = |id: &str| Subject::Account(id.parse().unwrap());
    let amiss = async || -> Vec<(Subject, Trouble)> {
        let all = app.store().conditions().await.unwrap();
        all.into_iter()
            .map(|one| (one.subject, one.sign.trouble))
            .collect()
    };
    let dressed = |revoked: bool| {
        let guise = Guise {
            revoked,
            ..Guise::default()
        };
        world.wall.guise(Mode::Live, &"mastodon".parse().unwrap(), guise);
    };
    dressed(true);
    due().await;
    assert_eq!(amiss().await, [(account("mastodon"), Trouble::Backstage)]);
    let named: BTreeSet<String> = world
        .wall
        .backstage()
        .iter()
        .map(|one| one.account.to_string())
        .collect();
    assert_eq!(
        named,
        BTreeSet::from(["sms".to_owned()]),
        "who is named is tried, whatever it costs"
    );
    dressed(false);
    due().await;
    assert_eq!(amiss().await, []);

    // A live alert: neither on schedule nor on command.
    let request = live(&["intranat"], Kind::Initial);
    // So near to the time that the alert is still valid then.
    let next = app.look_backstage(&stop).await.unwrap().unwrap();
    clock.advance(next.duration_since(clock.now()) - jiff::SignedDuration::from_mins(10));
    Box::pin(app.send(request, Actor::daemon(), None)).await.unwrap();
    let before = world.wall.backstage().len();
    assert!(app.verify_backstage(&[], Actor::daemon()).await.is_err());
    due().await;
    assert_eq!(world.wall.backstage().len(), before);
    let told = skipped(&app).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("den skarpa varningen 2026-0001 går före"),
        "{told:?}"
    );
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_that_the_end_of_the_daemon_cut_off_is_told_at_the_next_start_and_not_taken_up() {
    let accounts = vec![Account::new("facebook", "facebook-page")];
    let (world, app, clock) = Box::pin(tried(accounts, "", "2026-11-30T12:00:00Z")).await;
    let stop = CancellationToken::new();
    let next = app.look_backstage(&stop).await.unwrap().unwrap();
    clock.advance(next.duration_since(clock.now()));
    // It is told to end before the first account has its turn.
    stop.cancel();
    app.look_backstage(&stop).await.unwrap();
    assert_eq!(world.wall.backstage(), []);
    assert_eq!(skipped(&app).await, Vec::<String>::new());

    clock.advance(jiff::SignedDuration::from_mins(5));
    let stop = CancellationToken::new();
    let watcher = tokio::spawn(Arc::clone(&app).watch_accounts(stop.clone()));
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while skipped(&app).await.is_empty() {
        assert!(std::time::Instant::now() < patience, "it is not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    watcher.await.unwrap();
    let told = skipped(&app).await;
    assert!(told.len() == 1 && told[0].contains("avbröts"), "{told:?}");
    assert_eq!(world.wall.backstage(), [], "it is not made up for");
    app.store().close().await;
}

/// A live message to these, or what follows it.
fn live(to: &[&str], kind: Kind) -> SendRequest {
    let follows = kind != Kind::Initial;
    SendRequest {
        message: "koka-vattnet".parse().unwrap(),
        fields: [("omrade".to_owned(), "Forserum".to_owned())].into(),
        to: to.iter().map(|&id| id.to_owned()).collect(),
        mode: Some(Mode::Live),
        languages: Vec::new(),
        alert: follows.then(|| "2026-0001".parse().unwrap()),
        kind: follows.then_some(kind),
        picture: None,
        overrides: BTreeMap::new(),
    }
}

fn named(ids: &[&str]) -> Vec<AccountId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

/// Whether something like it stands in the journal.
async fn recorded(app: &App, what: &str) -> bool {
    let all = app.store().journal(0, 1000, None).await.unwrap();
    all.iter().any(|record| record.body.contains(what))
}

/// Begins a trial on command, and returns when it is under way.
async fn begun(
    app: &Arc<App>,
    ids: &[&str],
) -> tokio::task::JoinHandle<Result<Vec<vardkase::app::request::Verification>, AppError>> {
    let (of, accounts) = (Arc::clone(app), named(ids));
    let trial = tokio::spawn(async move { Box::pin(of.verify_backstage(&accounts, Actor::daemon())).await });
    let patience = std::time::Instant::now() + crate::support::PATIENCE;
    while !recorded(app, "backstage_begins").await {
        assert!(std::time::Instant::now() < patience, "it does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    trial
}

fn left_out(answers: &[vardkase::app::request::Verification]) -> Vec<&str> {
    let left = answers
        .iter()
        .filter(|one| one.error.as_ref().is_some_and(|why| why.code == "left-out"));
    left.map(|one| one.account.as_str()).collect()
}

fn stands(world: &World, account: &str) -> usize {
    let behind = world.wall.backstage();
    behind
        .iter()
        .filter(|one| one.account.as_str() == account)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_alert_that_comes_during_a_trial_ends_it_and_what_is_still_queued_keeps_its_account_out() {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("facebook", "facebook-page"),
        Account::new("intranat", "webhook"),
    ];
    let (world, app, _clock) = Box::pin(tried(accounts, "", "2026-12-02T12:00:00Z")).await;
    world.fault("mastodon", How::Delay(3000), 1);
    let trial = begun(&app, &["mastodon", "facebook"]).await;
    let sent = live(&["intranat"], Kind::Initial);
    Box::pin(app.send(sent, Actor::daemon(), None)).await.unwrap();
    let answers = trial.await.unwrap().unwrap();
    assert_eq!(answers.len(), 2, "{answers:#?}");
    assert!(left_out(&answers).contains(&"facebook"), "{answers:#?}");
    assert!(answers[1].signs[0].text.contains("2026-0001"), "{answers:#?}");
    assert_eq!(stands(&world, "facebook"), 0);
    assert!(
        recorded(&app, "Kontot prövades inte").await,
        "the journal says who was left out"
    );

    // It is over; what ends it still waits on one account.
    let down = How::Answer {
        status: 503,
        headers: Vec::new(),
        body: None,
    };
    world.fault("mastodon", down, 0);
    let over = live(&["intranat", "mastodon"], Kind::AllClear);
    Box::pin(app.send(over, Actor::daemon(), None)).await.unwrap();
    let before = stands(&world, "mastodon");
    let answers = app
        .verify_backstage(&named(&["mastodon", "facebook"]), Actor::daemon())
        .await
        .unwrap();
    assert_eq!(left_out(&answers), ["mastodon"], "{answers:#?}");
    assert_eq!(
        (stands(&world, "mastodon"), stands(&world, "facebook")),
        (before, 1)
    );
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_waits_for_the_account_that_is_being_tried_and_begins_no_other() {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("facebook", "facebook-page"),
    ];
    let (world, app, _clock) = Box::pin(tried(accounts, "", "2026-12-02T12:00:00Z")).await;
    world.fault("mastodon", How::Delay(1500), 1);
    let trial = begun(&app, &["mastodon", "facebook"]).await;
    let second = app.verify_backstage(&[], Actor::daemon()).await;
    assert!(matches!(second, Err(AppError::Conflict(_))), "{second:?}");
    assert!(app.stop(Duration::from_secs(20)).await);
    // Nothing is waited for any more: what was made is gone, and the outcome is written down.
    let behind = world.wall.backstage();
    assert!(behind.iter().all(|one| one.deleted_at.is_some()), "{behind:#?}");
    assert!(recorded(&app, "Vårdkase stoppas").await);
    assert!(left_out(&trial.await.unwrap().unwrap()).contains(&"facebook"));
    assert_eq!(stands(&world, "facebook"), 0);
    app.store().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_out_of_use_is_not_tried_and_what_a_trial_found_on_it_ends() {
    let accounts = vec![Account::new("mastodon", "mastodon")];
    let (world, app, clock) = Box::pin(tried(accounts, "", "2026-12-02T12:00:00Z")).await;
    let id: AccountId = "mastodon".parse().unwrap();
    let guise = Guise {
        revoked: true,
        ..Guise::default()
    };
    world.wall.guise(Mode::Live, &id, guise);
    let trial = app.verify_backstage(&[], Actor::daemon()).await.unwrap();
    assert_eq!(trial[0].signs[0].trouble, Trouble::Backstage);
    let open = async || {
        let all = app.store().conditions().await.unwrap();
        all.iter()
            .filter(|one| one.sign.trouble == Trouble::Backstage)
            .count()
    };
    assert_eq!(open().await, 1);
    let why = Some("sidan är nedlagd".to_owned());
    app.switch(&id, true, why, Actor::daemon()).await.unwrap();
    let refused = app.verify_backstage(&[id], Actor::daemon()).await;
    assert!(matches!(refused, Err(AppError::Invalid(_))), "{refused:?}");
    let stop = CancellationToken::new();
    let next = app.look_backstage(&stop).await.unwrap().unwrap();
    clock.advance(next.duration_since(clock.now()));
    app.look_backstage(&stop).await.unwrap();
    assert_eq!(open().await, 0);
    app.store().close().await;
}
