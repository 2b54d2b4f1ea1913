//! Calling a broadcast off: what is out is taken away, what waits goes no more, and what nobody knows is said.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use vardkase::wall::{CutAt, How};

use crate::support::{Account, Plan, World, eventually, list, states};

/// Sends without waiting and gives the broadcast.
async fn set_off(world: &World) -> String {
    let args = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"];
    let said = world.cli(&args).await.ended(0);
    said.json()["broadcast"].as_str().unwrap().to_owned()
}

fn how<'v>(said: &'v Value, account: &str) -> &'v str {
    let one = list(said, "accounts")
        .iter()
        .find(|one| one["account"] == account);
    one.unwrap()["how"].as_str().unwrap()
}

fn asked(world: &World) -> usize {
    let seen = world.wall.seen();
    seen.iter().filter(|seen| seen.method != "SMTP").count()
}

/// The journal's record of the retraction.
async fn record(world: &World, broadcast: &str) -> Value {
    let journal = world.get(&format!("/api/v1/journal?broadcast={broadcast}")).await;
    let records = journal.as_array().unwrap();
    let record = records.iter().find(|record| record["kind"] == "retract").unwrap();
    serde_json::from_str(record["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn what_waits_for_its_next_attempt_is_not_published_after_a_retraction() {
    let world = World::open(Plan::of(vec![Account::new("mastodon", "mastodon")])).await;
    let _daemon = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "3".to_owned())],
        body: None,
    };
    world.fault("mastodon", busy, 1);
    let broadcast = set_off(&world).await;
    world
        .until(&broadcast, "asked to come back", |r| {
            r["deliveries"][0]["attempts"] == 1 && r["deliveries"][0]["state"] == "queued"
        })
        .await;
    let args = ["retract", &broadcast, "--yes", "--wait", "--json"];
    let said = world.cli(&args).await.ended(0).json();
    assert_eq!(how(&said, "mastodon"), "stop", "{said:#}");
    assert_eq!(said["complete"], true);
    let report = world.report(&broadcast).await;
    assert_eq!(states(&report, "mastodon"), ["cancelled"], "{report:#}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn the_rest_of_a_list_gets_nothing_after_a_retraction() {
    const MANY: usize = 3000;
    let accounts = vec![
        Account::new("sms", "sms-46elks")
            .with("list = \"boende\"")
            .with("rate = \"20/1s\"")
            .with("burst = 5"),
    ];
    let section = "[list.boende]\nkind = \"phone\"\nfile = \"boende.csv\"";
    let world = World::open(Plan::of(accounts).list(section)).await;
    let mut lines = "namn;telefon\n".to_owned();
    for n in 0..MANY {
        writeln!(lines, "Boende {n};070{n:07}").unwrap();
    }
    std::fs::write(world.dir().join("boende.csv"), lines).unwrap();
    let _daemon = world.start().await;
    let broadcast = set_off(&world).await;
    eventually("some have it", || world.posts().len() >= 3).await;
    let args = ["retract", &broadcast, "--yes", "--wait", "--json"];
    let said = world.cli(&args).await.ended(3).json();
    assert_eq!(how(&said, "sms"), "cannot", "{said:#}");
    assert_eq!(said["stopped"][0], "sms", "{said:#}");
    assert_eq!(said["complete"], false);
    let out = world.posts().len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.posts().len(), out);
    let report = world.report(&broadcast).await;
    let states = &report["recipients"][0]["states"];
    assert_eq!(states["published"], out, "{report:#}");
    let stopped =
        states["cancelled"].as_u64().unwrap() + report["recipients"][0]["stopped"].as_u64().unwrap();
    assert_eq!(stopped, (MANY - out) as u64, "{report:#}");
    assert!(report["finished_at"].is_string(), "{report:#}");
    world.cli(&["log", "verify"]).await.ended(0);
}

#[tokio::test]
async fn a_post_that_lands_after_the_retraction_is_taken_away() {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("bluesky", "bluesky"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("mastodon", How::Delay(1500), 1);
    world.fault("bluesky", How::DoneThenCut(CutAt::MidBody), 0);
    let broadcast = set_off(&world).await;
    eventually("both asked", || asked(&world) >= 2).await;
    let said = world
        .cli(&["retract", &broadcast, "--yes", "--json"])
        .await
        .ended(3)
        .json();
    assert!(list(&said, "under_way").contains(&"mastodon".into()), "{said:#}");
    world.heal("bluesky");
    let args = ["retract", &broadcast, "--yes", "--wait", "--json"];
    let said = world.cli(&args).await.ended(0).json();
    assert_eq!(said["complete"], true, "{said:#}");
    let posts = world.posts();
    assert!(!posts.is_empty());
    assert!(posts.iter().all(|post| post.deleted_at.is_some()), "{posts:#?}");
}

#[tokio::test]
async fn a_post_that_may_stand_is_not_said_to_be_gone() {
    let world = World::open(Plan::of(vec![Account::new("slack", "slack")])).await;
    let _daemon = world.start().await;
    world.fault("slack", How::DoneThenCut(CutAt::MidHeaders), 1);
    let broadcast = set_off(&world).await;
    let report = world
        .until(&broadcast, "held", |r| r["deliveries"][0]["state"] == "held")
        .await;
    let alert = report["alert"].as_str().unwrap();
    let correcting = world.get(&format!("/api/v1/alerts/{alert}/correction")).await;
    assert_eq!(how(&correcting, "slack"), "new", "{correcting:#}");

    let said = world.cli(&["retract", &broadcast, "--yes"]).await.ended(3);
    assert!(said.stdout.contains("it may stand there"), "{said:?}");
    let copies = record(&world, &broadcast).await;
    assert_eq!(list(&copies, "archive").len(), 1, "{copies:#}");
    assert_eq!(copies["uncertain"][0], "slack");
    let args = ["retract", &broadcast, "--yes", "--wait", "--json"];
    let said = world.cli(&args).await.ended(3).json();
    assert_eq!(
        (how(&said, "slack"), &said["complete"]),
        ("person", &false.into())
    );

    // A person has looked and taken it away.
    let done = ["retry", &broadcast, "--account", "slack", "--done"];
    world.cli(&done).await.ended(0);
    let report = world.report(&broadcast).await;
    assert_eq!(states(&report, "slack"), ["retracted"], "{report:#}");
    let said = world.cli(&args).await.ended(0).json();
    assert_eq!(said["complete"], true, "{said:#}");
}
