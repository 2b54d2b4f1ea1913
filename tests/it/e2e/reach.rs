//! Whether every account would get a message out now: asked on schedule and on command, told once, and again when it is
//! over.

use std::time::{Duration, Instant};

use serde_json::Value;

use vardkase::clock::{Clock as _, SystemClock, later};
use vardkase::model::Mode;
use vardkase::wall::{Guise, How, Other};

use crate::support::{Account, Plan, World, meddle};

/// Looks every second, and tells at once.
fn watched(accounts: Vec<Account>, more: &str) -> Plan {
    let mut plan = Plan::of(accounts);
    let certificate = if more.contains("certificate") {
        ""
    } else {
        "certificate = \"off\"\n"
    };
    plan.watch = format!(
        "[verification]\nevery = \"1s\"\npatience = \"0s\"\nprofile_every = \"1s\"\n{certificate}{more}\n[register.reminders]\nsend = \"off\"\n"
    );
    plan
}

/// Asks until the go page is as wanted.
async fn until_go(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = world.get("/api/v1/go").await;
        if is(&page) {
            return page;
        }
        assert!(Instant::now() < end, "not {what}: {page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn of<'a>(page: &'a Value, subject: &str) -> &'a Value {
    page["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["subject"] == subject)
        .unwrap()
}

/// Subjects of the mails to the crisis organisation so far, confirmations apart.
fn mails(world: &World) -> Vec<String> {
    let mails = world.confirmations().into_iter();
    let told = mails.filter_map(|posted| posted.subject);
    told.filter(|subject| !subject.contains("Bekräftelse")).collect()
}

fn answer(status: u16) -> How {
    How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    }
}

async fn until_mail(world: &World, start: &str) -> usize {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = mails(world);
        let many = all.iter().filter(|subject| subject.starts_with(start)).count();
        if many > 0 {
            return many;
        }
        assert!(Instant::now() < end, "no mail {start}: {all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_goes_is_told_once_with_its_remedy_and_once_again_when_it_is_back() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(watched(accounts, "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    world.fault("mastodon-nassjo", answer(401), 0);
    let page = until_go(&world, "with gaps", |page| page["verdict"] == "go-with-gaps").await;
    let one = of(&page, "mastodon-nassjo");
    assert_eq!(one["reach"], "unreachable");
    // That the practice profile is no whole one is told beside it.
    let condition = one["conditions"].as_array().unwrap().iter();
    let condition = condition.clone().find(|one| one["trouble"] == "credential");
    let remedy = condition.expect("the credential")["remedy"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(remedy.contains("vardkase credentials"), "{remedy}");
    assert_eq!(of(&page, "intranat")["reach"], "reachable");
    until_mail(&world, "LARM: mastodon-nassjo").await;
    // Asked again and again meanwhile, and told once to each of them.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let alarms = mails(&world);
    let alarms = alarms
        .iter()
        .filter(|subject| subject.starts_with("LARM"))
        .count();
    assert_eq!(alarms, crate::support::CRISIS.len());
    let status = world.cli(&["status"]).await.ended(0).stdout;
    assert!(status.contains("GO, WITH GAPS · 1 of 2 accounts"), "{status}");
    assert!(
        status.contains("→ Lägg in en ny inloggning: vardkase credentials connect mastodon-nassjo"),
        "{status}"
    );
    let verify = world
        .cli(&["verify", "--account", "mastodon-nassjo"])
        .await
        .ended(3)
        .stdout;
    assert!(verify.contains("UNREACHABLE"), "{verify}");
    world.heal("mastodon-nassjo");
    until_go(&world, "go again", |page| page["verdict"] == "go").await;
    until_mail(&world, "Över: mastodon-nassjo").await;
    let history = world
        .cli(&["verify", "--account", "mastodon-nassjo", "--history", "--json"])
        .await;
    let history = history.ended(0).json();
    let looks = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["look"] == "reach");
    let reaches: Vec<&str> = looks.filter_map(|one| one["reach"].as_str()).collect();
    assert_eq!(
        reaches.first(),
        Some(&"reachable"),
        "the newest first: {reaches:?}"
    );
    assert_eq!(
        reaches.iter().filter(|reach| **reach == "unreachable").count(),
        1,
        "{reaches:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_relay_takes_the_mail_the_alarm_goes_the_other_way_round() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("ntfy-jour", "ntfy"),
    ];
    let plan = watched(accounts, "\n[alarm]\nvia = [\"ntfy-jour\"]\n");
    let world = World::open(plan).await;
    world.fault("confirmation", answer(451), 0);
    let _daemon = world.start().await;
    // Nothing that has to wake anybody: by mail alone, if there were one.
    until_told(&world, "Varning: mastodon-nassjo: uppgifter saknas i profilen").await;
    assert_eq!(world.confirmations(), []);
    world.fault("mastodon-nassjo", answer(401), 0);
    until_told(&world, "LARM: mastodon-nassjo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_mailed_wakes_nobody_and_what_stops_a_message_goes_both_ways() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("ntfy-jour", "ntfy"),
    ];
    let world = World::open(watched(accounts, "\n[alarm]\nvia = [\"ntfy-jour\"]\n")).await;
    let _daemon = world.start().await;
    until_mail(&world, "Varning: mastodon-nassjo: uppgifter saknas").await;
    world.fault("mastodon-nassjo", answer(401), 0);
    until_mail(&world, "LARM: mastodon-nassjo").await;
    until_told(&world, "LARM: mastodon-nassjo").await;
    let told = world.posts_of("ntfy-jour");
    assert!(
        !told.iter().any(|post| post.text.contains("uppgifter saknas")),
        "{told:#?}"
    );
}

/// Waits until the account that goes the other way round has said so.
async fn until_told(world: &World, what: &str) {
    let end = Instant::now() + Duration::from_secs(40);
    while !world
        .posts_of("ntfy-jour")
        .iter()
        .any(|post| post.text.contains(what))
    {
        assert!(Instant::now() < end, "{:#?}", world.posts_of("ntfy-jour"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many mails say it.
fn mails_with(world: &World, words: &str) -> usize {
    let mails = world.confirmations();
    mails.iter().filter(|mail| mail.text.contains(words)).count()
}

fn troubles(one: &Value) -> Vec<&str> {
    let conditions = one["conditions"].as_array().unwrap().iter();
    conditions
        .filter_map(|condition| condition["trouble"].as_str())
        .collect()
}

fn dressed(world: &World, account: &str, guise: Guise) {
    world.wall.guise(Mode::Live, &account.parse().unwrap(), guise);
}

/// A profile that tells all five facts; its links lead to the site.
fn whole() -> Guise {
    Guise {
        about: Some(
            "Nässjö kommun. Viktig information. Bevakas vardagar. Regler för kommentarer.".to_owned(),
        ),
        ..Guise::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_held_against_the_guideline_and_a_change_of_it_is_told_once() {
    let world = World::open(watched(vec![Account::new("mastodon-nassjo", "mastodon")], "")).await;
    let _daemon = world.start().await;
    until_go(&world, "lacking facts", |page| {
        troubles(of(page, "mastodon-nassjo")) == ["profile-fact"]
    })
    .await;
    dressed(&world, "mastodon-nassjo", whole());
    until_go(&world, "whole", |page| {
        troubles(of(page, "mastodon-nassjo")).is_empty()
    })
    .await;
    let renamed = Guise {
        name: Some("Nassjo komun".to_owned()),
        ..whole()
    };
    dressed(&world, "mastodon-nassjo", renamed);
    let changed = "Profilen har ändrats: namnet.";
    let end = Instant::now() + Duration::from_secs(30);
    while mails_with(&world, changed) == 0 {
        assert!(Instant::now() < end, "{:#?}", mails(&world));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Read again and again meanwhile, and then not to be read at all.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.fault("mastodon-nassjo", answer(503), 0);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(mails_with(&world, changed), crate::support::CRISIS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_and_an_account_that_is_another_one_are_told_with_what_to_do() {
    let accounts = vec![
        Account::new("facebook-nassjo", "facebook-page"),
        Account::new("mastodon-nassjo", "mastodon"),
    ];
    let world = World::open(watched(accounts, "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    let in_days = |days: u64| later(SystemClock.now(), Duration::from_hours(24 * days));
    for (days, step) in [(25, 30), (5, 7)] {
        let guise = Guise {
            expires_at: Some(in_days(days)),
            ..whole()
        };
        dressed(&world, "facebook-nassjo", guise);
        let page = until_go(&world, "ending", |page| {
            let one = of(page, "facebook-nassjo");
            let conditions = one["conditions"].as_array().unwrap();
            conditions
                .iter()
                .any(|one| one["trouble"] == "expiring" && one["step"] == step)
        })
        .await;
        assert_eq!(of(&page, "facebook-nassjo")["reach"], "reachable", "{page:#}");
        let words = format!("Inloggningen går ut om {days} dagar.");
        let end = Instant::now() + Duration::from_secs(30);
        while mails_with(&world, &words) < crate::support::CRISIS.len() {
            assert!(Instant::now() < end, "{words}: {:#?}", mails(&world));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let other = Guise {
        id: Some("4711".to_owned()),
        ..whole()
    };
    dressed(&world, "mastodon-nassjo", other);
    let is_other = |page: &Value| troubles(of(page, "mastodon-nassjo")).contains(&"wrong-account");
    let page = until_go(&world, "another account", is_other).await;
    assert_eq!(of(&page, "mastodon-nassjo")["reach"], "unreachable");
    // It stays so however often it answers, until a person says that it is meant.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_other(&world.get("/api/v1/go").await));
    world.cli(&["verify", "--accept"]).await.ended(2);
    world
        .cli(&["verify", "--account", "mastodon-nassjo", "--accept"])
        .await
        .ended(0);
    until_go(&world, "the right one", |page| !is_other(page)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_not_ours_while_an_alert_is_active_is_told() {
    let world = World::open(watched(vec![Account::new("mastodon-nassjo", "mastodon")], "")).await;
    dressed(&world, "mastodon-nassjo", whole());
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
    // Our own post is none of them.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calm = world.get("/api/v1/go").await;
    assert!(troubles(of(&calm, "mastodon-nassjo")).is_empty(), "{calm:#}");
    let foreign = Guise {
        others: vec![Other {
            id: "999000999".to_owned(),
            text: "Vattnet är bra igen".to_owned(),
            at: SystemClock.now(),
            by: None,
        }],
        ..whole()
    };
    dressed(&world, "mastodon-nassjo", foreign);
    let page = until_go(&world, "foreign", |page| {
        troubles(of(page, "mastodon-nassjo")) == ["foreign-post"]
    })
    .await;
    let one = &of(&page, "mastodon-nassjo")["conditions"][0];
    assert!(one["text"].as_str().unwrap().contains("999000999"), "{one:#}");
    assert!(
        one["remedy"]
            .as_str()
            .unwrap()
            .contains("accounts disable mastodon-nassjo"),
        "{one:#}"
    );
    assert!(until_mail(&world, "Varning: mastodon-nassjo: främmande inlägg").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_midst_of_a_look_is_no_restart_to_tell_of() {
    let world = World::open(watched(
        vec![
            Account::new("intranat", "webhook"),
            Account::new("mastodon-nassjo", "mastodon"),
        ],
        "",
    ))
    .await;
    let mut daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    world.fault("mastodon-nassjo", How::Hang, 0);
    let asked = world.wall.seen().len();
    crate::support::eventually("a look that hangs", || {
        world
            .wall
            .seen()
            .iter()
            .skip(asked)
            .any(|seen| seen.account.as_str() == "mastodon-nassjo")
    })
    .await;
    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    world.heal("mastodon-nassjo");
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = mails(&world);
    assert!(
        !told.iter().any(|subject| subject.contains("startade om")),
        "{told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_says_so_when_it_is_back_and_one_that_ended_itself_says_nothing() {
    let world = World::open(watched(vec![Account::new("intranat", "webhook")], "")).await;
    let mut daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    let daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    assert_eq!(mails(&world), Vec::<String>::new());
    daemon.kill9().await;
    let _daemon = world.start().await;
    until_mail(&world, "Varning: Vårdkase: startade om").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_look_stays_away_from_an_account_that_has_something_to_publish() {
    let world = World::open(watched(vec![Account::new("mastodon-nassjo", "mastodon")], "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    let busy = How::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "30".to_owned())],
        body: None,
    };
    world.fault("mastodon-nassjo", busy, 0);
    world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"])
        .await
        .ended(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = world.wall.seen().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let since: Vec<_> = world
        .wall
        .seen()
        .into_iter()
        .skip(asked)
        .filter(|seen| seen.account.as_str() == "mastodon-nassjo")
        .collect();
    assert!(since.is_empty(), "{since:#?}");
}

/// Fails until it is told to stop.
fn revoked() -> Guise {
    Guise {
        revoked: true,
        ..Guise::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_account_goes_straight_to_its_fallback_and_is_still_tried() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon")
            .with("fallback = \"reserv\"")
            .with("fallback_after = \"20m\""),
        Account::new("reserv", "webhook"),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let to = ["--to", "mastodon-nassjo", "--to", "intranat"];
    dressed(&world, "mastodon-nassjo", revoked());
    // Nobody has looked: as always.
    let preview = [
        "preview",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--to",
        "mastodon-nassjo",
        "--json",
    ];
    let calm = world.cli(&preview).await.ended(0).json();
    let said = |preview: &Value| preview["accounts"][0]["findings"].to_string();
    assert!(!said(&calm).contains("unreachable"), "{calm:#}");

    world.cli(&["verify"]).await.ended(3);
    // Slow to say no, so that the other one is out long before.
    world.fault("mastodon-nassjo", How::Delay(1500), 1);
    let warned = world.cli(&preview).await.ended(0).json();
    let said = said(&warned);
    assert!(
        said.contains("Kontot har inte fungerat sedan kl.") && said.contains("reserv tar över genast."),
        "{said}"
    );
    let (code, report) = world.send(&to).await;
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(
        crate::support::states(&report, "reserv"),
        ["published"],
        "{report:#}"
    );
    assert_eq!(
        crate::support::states(&report, "mastodon-nassjo"),
        ["held"],
        "{report:#}"
    );
    let dead = report["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["account"] == "mastodon-nassjo")
        .unwrap();
    assert_eq!(dead["attempts"], 1, "it is still tried: {dead:#}");
    let before = &report["unreachable_before"][0];
    assert_eq!(before["account"], "mastodon-nassjo");
    assert_eq!(before["takes_over"], "reserv");
    assert_eq!(before["reason"]["code"], "credential");
    assert_eq!(world.posts_of("reserv").len(), 1);
    assert_eq!(world.posts_of("mastodon-nassjo"), []);
    let broadcast = report["broadcast"].as_str().unwrap();
    let journal = world.get("/api/v1/journal").await;
    let of_reserv: Vec<Value> = journal
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["kind"] == "attempt")
        .map(|record| serde_json::from_str(record["body"].as_str().unwrap()).unwrap())
        .filter(|body: &Value| body["account"] == "reserv")
        .collect();
    assert_eq!(
        of_reserv[0]["note"]["because"], "unreachable-before",
        "{of_reserv:#?}"
    );
    assert_eq!(
        of_reserv[0]["stands_in_for"],
        serde_json::json!(["mastodon-nassjo"])
    );
    let status = world.cli(&["status", broadcast]).await.ended(3).stdout;
    assert!(
        status.contains("mastodon-nassjo had not answered since"),
        "{status}"
    );
    assert!(status.contains("reserv takes over at once"), "{status}");
    world.told(broadcast, crate::support::CRISIS.len()).await;
    assert!(
        mails_with(&world, "reserv tog över genast.") > 0,
        "{:#?}",
        world.confirmations()
    );

    // It works again, and is known to: the fallback has nothing to do.
    dressed(&world, "mastodon-nassjo", whole());
    world.cli(&["verify"]).await.ended(0);
    let (code, report) = world.send(&to).await;
    assert_eq!(code, 0, "{report:#}");
    assert!(report["unreachable_before"].is_null(), "{report:#}");
    assert_eq!(world.posts_of("reserv").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_account_without_a_fallback_is_handed_over_at_once_and_one_that_mends_is_published_once() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("mastodon-skola", "mastodon").with("fallback = \"tavlan\""),
        Account::new("tavlan", "manual"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("mastodon-nassjo", answer(503), 0);
    world.fault("mastodon-skola", answer(503), 0);
    world.cli(&["verify"]).await.ended(3);
    // One question without an answer says nothing: our own way out may have been gone for a moment.
    let preview = ["preview", "koka-vattnet", "-f", "omrade=Forserum", "--json"];
    let once = world.cli(&preview).await.ended(0).json();
    assert!(!once.to_string().contains("unreachable"), "{once:#}");
    world.cli(&["verify"]).await.ended(3);
    let twice = world.cli(&preview).await.ended(0).json();
    assert!(twice.to_string().contains("unreachable"), "{twice:#}");
    let sent = world
        .cli(&[
            "send",
            "koka-vattnet",
            "-f",
            "omrade=Forserum",
            "--to",
            "mastodon-nassjo",
            "--to",
            "mastodon-skola",
            "--yes",
            "--json",
        ])
        .await
        .ended(0)
        .json();
    let broadcast = sent["broadcast"].as_str().unwrap();
    let hand_over = "mastodon-nassjo --hand-over";
    let end = Instant::now() + Duration::from_secs(30);
    while mails_with(&world, hand_over) < crate::support::CRISIS.len() {
        assert!(
            Instant::now() < end,
            "{:#?} {:#}",
            world.confirmations(),
            world.report(broadcast).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        mails_with(&world, hand_over),
        crate::support::CRISIS.len(),
        "once each"
    );
    let mail = world.confirmations();
    let mail = mail.iter().find(|mail| mail.text.contains(hand_over)).unwrap();
    for line in ["Koka", "Forserum"] {
        assert!(mail.text.contains(line), "the text to publish: {}", mail.text);
    }
    let report = world
        .until(broadcast, "handed over", |report| {
            crate::support::states(report, "tavlan") == ["manual"]
        })
        .await;
    assert_eq!(report["state"], "running", "both are still tried: {report:#}");

    // They mend, and are published once each; nobody is asked any more.
    world.heal("mastodon-nassjo");
    world.heal("mastodon-skola");
    let report = world
        .until(broadcast, "all out", |report| report["state"] == "completed")
        .await;
    assert_eq!(
        crate::support::states(&report, "tavlan"),
        Vec::<String>::new(),
        "{report:#}"
    );
    let idle = &crate::support::list(&report, "stand_ins")[0];
    assert_eq!(
        (&idle["state"], &idle["error"]["code"]),
        (&"cancelled".into(), &"not-needed".into())
    );
    assert_eq!(world.posts_of("mastodon-nassjo").len(), 1);
    assert_eq!(world.posts_of("mastodon-skola").len(), 1);
    let end = Instant::now() + Duration::from_secs(30);
    while mails_with(&world, "tavlan behövs inte längre.") == 0 {
        assert!(Instant::now() < end, "{:#?}", world.confirmations());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Somebody had been faster, and says so; nothing else that is over is meant by it.
    world
        .cli(&["retry", broadcast, "--account", "tavlan", "--done"])
        .await
        .ended(0);
    let report = world.report(broadcast).await;
    assert_eq!(
        crate::support::states(&report, "tavlan"),
        ["published"],
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_tried_where_the_public_cannot_see_by_command() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.cli(&["verify", "--backstage"]).await.ended(0);
    let behind = world.wall.backstage();
    assert_eq!(behind.len(), 1, "{behind:#?}");
    assert!(behind[0].text.contains("ÖVNING"), "{behind:#?}");
    assert!(behind[0].deleted_at.is_some(), "{behind:#?}");
    assert_eq!(world.posts(), []);
    let history = ["verify", "--account", "mastodon-nassjo", "--history", "--json"];
    let seen = world.cli(&history).await.ended(0).json();
    assert_eq!(seen[0]["look"], "backstage", "{seen:#}");
    let said = world
        .cli(&["verify", "--backstage", "--account", "intranat"])
        .await
        .ended(1);
    assert!(
        said.stderr.contains("no place that the public cannot see"),
        "{said:?}"
    );

    // It answers, and does not let us publish: that is what is looked for.
    let read_only = Guise {
        scopes: Some(vec!["read".to_owned()]),
        ..whole()
    };
    dressed(&world, "mastodon-nassjo", read_only);
    let said = world.cli(&["verify", "--backstage"]).await.ended(3);
    assert!(
        said.stdout
            .contains("Ett prov där allmänheten inte ser gick inte igenom"),
        "{said:?}"
    );
    let page = world.get("/api/v1/go").await;
    assert_eq!(troubles(of(&page, "mastodon-nassjo")), ["backstage"], "{page:#}");
    dressed(&world, "mastodon-nassjo", whole());
    world.cli(&["verify", "--backstage"]).await.ended(0);
    let page = world.get("/api/v1/go").await;
    assert!(troubles(of(&page, "mastodon-nassjo")).is_empty(), "{page:#}");

    // Never beside a live alert.
    world.send(&["--to", "intranat"]).await;
    let said = world.cli(&["verify", "--backstage"]).await.ended(1);
    assert!(
        said.stderr.contains("is active; nothing is tried beside it"),
        "{said:?}"
    );
}

/// The mails whose subject begins so.
fn told(world: &World, start: &str) -> Vec<vardkase::wall::Posted> {
    let mut mails = world.confirmations();
    mails.retain(|mail| {
        mail.subject
            .as_ref()
            .is_some_and(|subject| subject.starts_with(start))
    });
    mails
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_says_what_is_not_reachable_and_what_was_not_asked_and_comes_once() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("skarmar", "webhook"),
        Account::new("intranat", "webhook"),
        Account::new("radio", "manual"),
    ];
    let certificate = "certificate = \"0 7 * * MON\"\ncertificate_to = [\"kommunikation@nassjo.se\"]\n";
    let world = World::open(watched(accounts, certificate)).await;
    let mut daemon = world.start().await;
    until_go(&world, "asked", |page| {
        ["skarmar", "intranat"]
            .iter()
            .all(|id| of(page, id)["reach"] == "reachable")
    })
    .await;
    // One account is publishing, for long: it is not asked meanwhile.
    let busy = How::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "3600".to_owned())],
        body: None,
    };
    world.fault("skarmar", busy, 0);
    let send = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--to",
        "skarmar",
        "--yes",
    ];
    world.cli(&send).await.ended(0);
    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    // As if the daemon had begun a fortnight ago and was down on Monday.
    let moved = "UPDATE mail_mark SET at = at - 14 * 86400000000; \
                 UPDATE observation SET at = at - 86400000000, since = since - 86400000000";
    meddle(&world, moved).await;
    world.fault("mastodon-nassjo", answer(401), 0);
    let daemon = world.start().await;
    until_mail(&world, "Intyg: ").await;
    let mails = told(&world, "Intyg: ");
    assert_eq!(mails.len(), 1, "{mails:#?}");
    let text = &mails[0].text;
    assert!(
        text.contains("Intyget kommer sent. Det skulle ha skickats måndag"),
        "{text}"
    );
    assert!(text.contains("NÅS INTE: mastodon-nassjo (Mastodon)"), "{text}");
    assert!(
        text.contains("vardkase credentials connect mastodon-nassjo"),
        "{text}"
    );
    assert!(text.contains("NÅS: intranat"), "{text}");
    assert!(text.contains("VET INTE: skarmar"), "{text}");
    assert!(text.contains("för länge sedan för att räknas"), "{text}");
    assert!(text.contains("FÖR HAND: radio"), "{text}");
    assert!(!text.contains("Alla"), "{text}");
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("1 av 3 konton nås INTE. Om 1 av 3 konton vet vi inte"),
        "{first}"
    );
    // Killed and started again: the same Monday is not told twice.
    daemon.kill9().await;
    let _daemon = world.start().await;
    until_go(&world, "asked again", |page| {
        of(page, "intranat")["reach"] == "reachable"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(told(&world, "Intyg: ").len(), 1);
    let records = world
        .cli(&["log", "show", "--json", "--limit", "1000"])
        .await
        .ended(0)
        .stdout;
    let count = |kind: &str| records.matches(&format!("\"kind\":\"{kind}\"")).count();
    assert_eq!((count("certificate"), count("mail")), (1, 1), "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_get_an_alarm_while_others_did_gets_it_later_and_nobody_twice() {
    let world = World::open(watched(vec![Account::new("intranat", "webhook")], "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    // The first of the two is told to come back.
    let later = How::Answer {
        status: 451,
        headers: Vec::new(),
        body: None,
    };
    world.fault("confirmation", later, 1);
    world.fault("intranat", answer(401), 0);
    until_mail(&world, "LARM: intranat").await;
    let end = Instant::now() + Duration::from_secs(40);
    while told(&world, "LARM: intranat").len() < 2 {
        assert!(Instant::now() < end, "{:#?}", world.confirmations());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let alarms = told(&world, "LARM: intranat");
    let mut to: Vec<_> = alarms.iter().filter_map(|mail| mail.recipient.clone()).collect();
    to.sort();
    to.dedup();
    assert_eq!((alarms.len(), to.len()), (2, 2), "{alarms:#?}");
}
