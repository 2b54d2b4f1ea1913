//! Who goes when and who goes for whom: the first stage, and accounts that stand in for others.

use vardkase::wall::How;

use crate::support::{Account, FALLBACK, Plan, World, list, states};

fn refused() -> How {
    How::Answer {
        status: 400,
        headers: Vec::new(),
        body: None,
    }
}

/// The journal's records of a kind, as their bodies.
async fn told(world: &World, kind: &str) -> Vec<serde_json::Value> {
    let records = world.get("/api/v1/journal").await;
    let records = records.as_array().unwrap();
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    of_kind
        .map(|record| serde_json::from_str(record["body"].as_str().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn accounts_wait_for_the_page_that_they_link_to() {
    let accounts = vec![
        Account::new("webb", "http-json").with("stage = \"first\""),
        Account::new("intranat", "webhook"),
        Account::new("press", "email"),
    ];
    let world = World::open(Plan::of(accounts).daemon("stage_deadline = \"60s\"")).await;
    let _daemon = world.start().await;
    world.fault("webb", How::Delay(1500), 1);
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    let page = world.posts_of("webb").remove(0);
    for account in ["intranat", "press"] {
        for post in world.posts_of(account) {
            assert!(post.at >= page.at, "{account} went before the page");
            assert!(!post.text.contains(FALLBACK), "{}", post.text);
        }
    }
    let stages = told(&world, "stage").await;
    assert_eq!(stages.len(), 1);
    assert_eq!(stages[0]["answers"], true, "{stages:?}");
}

#[tokio::test]
async fn without_the_page_the_others_lead_to_the_fallback_at_once() {
    let accounts = vec![
        Account::new("webb", "http-json").with("stage = \"first\""),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(Plan::of(accounts).daemon("stage_deadline = \"60s\"")).await;
    let _daemon = world.start().await;
    world.fault("webb", refused(), 1);
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(states(&report, "webb"), ["refused"]);
    let post = world.posts_of("intranat").remove(0);
    assert!(post.text.trim_end().ends_with(FALLBACK), "{}", post.text);
    assert_eq!(told(&world, "stage").await[0]["answers"], false);
}

#[tokio::test]
async fn at_the_deadline_the_others_go_without_the_page() {
    let accounts = vec![
        Account::new("webb", "http-json").with("stage = \"first\""),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(Plan::of(accounts).daemon("stage_deadline = \"1s\"")).await;
    let _daemon = world.start().await;
    world.fault("webb", How::Delay(4000), 1);
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    let (page, post) = (
        world.posts_of("webb").remove(0),
        world.posts_of("intranat").remove(0),
    );
    assert!(post.at < page.at);
    assert!(post.text.trim_end().ends_with(FALLBACK), "{}", post.text);
}

#[tokio::test]
async fn an_account_stands_in_only_where_the_other_does_not_get_out() {
    let accounts = vec![
        Account::new("intranat", "webhook").with("fallback = \"reserv\""),
        Account::new("reserv", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    assert_eq!(list(&report, "deliveries").len(), 1, "{report:#}");
    assert_eq!(list(&report, "stand_ins")[0]["state"], "cancelled");
    assert_eq!(world.posts_of("reserv"), []);

    world.fault("intranat", refused(), 1);
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!(code, 3);
    assert_eq!(states(&report, "intranat"), ["refused"], "{report:#}");
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    assert_eq!(world.posts_of("reserv").len(), 1);
    assert_eq!(world.posts_of("intranat").len(), 1, "only the first broadcast");

    // To both: each gets its own, and nobody stands in.
    let (_, report) = world.send(&["--to", "intranat", "--to", "reserv"]).await;
    assert_eq!(list(&report, "stand_ins").len(), 0);
    assert_eq!(list(&report, "deliveries").len(), 2);
}

#[tokio::test]
async fn an_account_that_takes_too_long_is_stood_in_for() {
    let accounts = vec![
        Account::new("intranat", "webhook")
            .with("fallback = \"reserv\"")
            .with("fallback_after = \"1s\""),
        Account::new("reserv", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("intranat", How::Delay(4000), 1);
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    let (own, other) = (
        world.posts_of("intranat").remove(0),
        world.posts_of("reserv").remove(0),
    );
    assert!(other.at < own.at);
}

#[tokio::test]
async fn nothing_waits_on_when_the_page_has_answered() {
    let accounts = vec![
        Account::new("blogg", "wordpress")
            .with("stage = \"first\"")
            .with("correction = \"edit\""),
        Account::new("mastodon", "mastodon")
            .with("pin = true")
            .with("correction = \"edit\""),
        Account::new("intranat", "webhook"),
        Account::new("radio", "manual"),
    ];
    // Longer than any test has patience for: whoever waits for it fails.
    let world = World::open(Plan::of(accounts).daemon("stage_deadline = \"5m\"")).await;
    let _daemon = world.start().await;
    let (_, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap();
    world
        .until(broadcast, "finished, pins and all", |r| {
            !r["finished_at"].is_null()
        })
        .await;
    assert!(world.posts_of("mastodon")[0].pinned);
    let by_hand = list(&report, "deliveries")
        .iter()
        .find(|d| d["account"] == "radio")
        .and_then(|d| d["delivery"].as_str());
    let ready = world
        .get(&format!("/api/v1/deliveries/{}", by_hand.unwrap()))
        .await;
    let text = ready["text"].as_str().unwrap();
    assert!(
        !text.contains(FALLBACK) && text.contains(world.simulated("blogg").site.base.host_str().unwrap()),
        "the person's text leads to the page that answers: {text}"
    );

    // A correction changes the page, and the others go when it answers.
    let correct = [
        "correct",
        broadcast,
        "-f",
        "omrade=Malmbäck",
        "-f",
        "ratt=Det gäller Malmbäck.",
        "--yes",
        "--json",
    ];
    let corrected = world.cli(&correct).await.ended(0).json();
    let second = corrected["broadcast"].as_str().unwrap();
    world
        .until(second, "finished, edits and all", |r| !r["finished_at"].is_null())
        .await;
    for account in ["blogg", "mastodon", "intranat"] {
        let post = world.posts_of(account).pop().unwrap();
        assert!(
            post.text.contains("Malmbäck") && !post.text.contains(FALLBACK),
            "{account}: {}",
            post.text
        );
    }
    let stages = told(&world, "stage").await;
    assert_eq!(stages.len(), 2, "{stages:?}");
    assert!(stages.iter().all(|stage| stage["answers"] == true), "{stages:?}");
}

/// `intranat` falls back to `reserv`, and that one to `sist`.
fn chain(after: &str) -> Vec<Account> {
    let after = format!("fallback_after = \"{after}\"");
    vec![
        Account::new("intranat", "webhook")
            .with("fallback = \"reserv\"")
            .with(&after),
        Account::new("reserv", "webhook")
            .with("fallback = \"sist\"")
            .with(&after),
        Account::new("sist", "webhook"),
    ]
}

#[tokio::test]
async fn a_chain_goes_on_to_the_next_link_until_one_gets_out() {
    let world = World::open(Plan::of(chain("5m"))).await;
    let _daemon = world.start().await;
    // The first gets out: nobody stands in.
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    assert_eq!(list(&report, "deliveries").len(), 1, "{report:#}");
    let idle = list(&report, "stand_ins");
    assert!(
        idle.len() == 2 && idle.iter().all(|one| one["state"] == "cancelled"),
        "{report:#}"
    );

    // The second does: the third does not go.
    world.fault("intranat", refused(), 1);
    let (_, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    assert_eq!(states(&report, "sist"), Vec::<String>::new(), "{report:#}");
    assert_eq!(world.posts_of("sist"), []);

    world.fault("intranat", refused(), 1);
    world.fault("reserv", refused(), 1);
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(states(&report, "sist"), ["published"], "{report:#}");
    assert_eq!(world.posts_of("sist").len(), 1);
    let of = |account: &str| {
        let all = list(&report, "deliveries");
        let one = all.iter().find(|delivery| delivery["account"] == account);
        one.unwrap()["stands_in_for"].clone()
    };
    assert_eq!(of("intranat"), serde_json::Value::Null);
    assert_eq!(of("reserv"), serde_json::json!(["intranat"]));
    assert_eq!(of("sist"), serde_json::json!(["reserv"]));
    let broadcast = report["broadcast"].as_str().unwrap();
    let shown = world.cli(&["status", broadcast]).await.ended(3);
    for line in ["reserv stands in for intranat", "sist stands in for reserv"] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    for kind in ["attempt", "outcome"] {
        let records = told(&world, kind).await;
        let last = records
            .iter()
            .rfind(|record| record["account"] == "sist")
            .unwrap();
        assert_eq!(last["stands_in_for"], serde_json::json!(["reserv"]), "{kind}");
    }

    // What was said there has its correction there, although the first link works again.
    let alert = report["alert"].as_str().unwrap();
    let correction = [
        "--to",
        "intranat",
        "--alert",
        alert,
        "--kind",
        "correction",
        "-f",
        "ratt=Det gäller Malmbäck.",
    ];
    let (_, report) = world.send(&correction).await;
    for account in ["intranat", "sist"] {
        assert_eq!(states(&report, account), ["published"], "{report:#}");
    }
    assert!(world.posts_of("sist").pop().unwrap().text.contains("Malmbäck"));
    assert_eq!(states(&report, "reserv"), Vec::<String>::new(), "{report:#}");
}

#[tokio::test]
async fn one_account_stands_in_once_for_two() {
    let accounts = vec![
        Account::new("intranat", "webhook").with("fallback = \"reserv\""),
        Account::new("skola", "webhook").with("fallback = \"reserv\""),
        Account::new("reserv", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("intranat", refused(), 1);
    world.fault("skola", refused(), 1);
    let to = ["--to", "intranat", "--to", "skola"];
    let (_, report) = world.send(&to).await;
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    assert_eq!(world.posts_of("reserv").len(), 1, "one post for both");
    // One of them is enough.
    world.fault("skola", refused(), 1);
    let (_, report) = world.send(&to).await;
    assert_eq!(states(&report, "intranat"), ["published"], "{report:#}");
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    let (_, report) = world.send(&to).await;
    assert_eq!(states(&report, "reserv"), Vec::<String>::new(), "{report:#}");
    let idle = &list(&report, "stand_ins")[0];
    assert_eq!(idle["stands_in_for"], serde_json::json!(["intranat", "skola"]));
}

#[tokio::test]
async fn a_primary_that_still_waits_is_not_sent_as_well() {
    let accounts = vec![
        Account::new("intranat", "webhook")
            .with("fallback = \"reserv\"")
            .with("fallback_after = \"1s\""),
        Account::new("reserv", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "20".to_owned())],
        body: None,
    };
    world.fault("intranat", busy, 1);
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    assert_eq!(states(&report, "intranat"), ["superseded"], "{report:#}");
    assert_eq!(states(&report, "reserv"), ["published"], "{report:#}");
    let first = &list(&report, "deliveries")[0];
    assert_eq!(first["error"]["code"], "stood-in-for", "{report:#}");
    assert_eq!(world.posts_of("intranat"), []);
}

#[tokio::test]
async fn a_chain_may_end_with_a_person_who_gets_it_only_when_needed() {
    let accounts = vec![
        Account::new("intranat", "webhook").with("fallback = \"radio\""),
        Account::new("radio", "manual"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(states(&report, "radio"), Vec::<String>::new(), "{report:#}");
    world.fault("intranat", refused(), 1);
    let (code, report) = world.send(&["--to", "intranat"]).await;
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(states(&report, "radio"), ["manual"], "{report:#}");
    let one = list(&report, "deliveries")
        .iter()
        .find(|d| d["account"] == "radio")
        .unwrap();
    assert_eq!(one["attempts"], 0);
    assert!(
        one["error"]["text"].as_str().unwrap().contains("intranat"),
        "{report:#}"
    );
}
