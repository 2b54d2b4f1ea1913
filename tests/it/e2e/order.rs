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
