//! The door to the daemon: what a command is told while it stops, comes back, or has heard the command before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vardkase::wall::How;

use crate::support::{Account, Plan, World, eventually, list, webhooks};

const SEND: [&str; 5] = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"];

fn asked(world: &World) -> usize {
    let seen = world.wall.seen();
    seen.iter().filter(|seen| seen.method != "SMTP").count()
}

/// The bodies of the journal's records of a kind, oldest first.
async fn records(world: &World, kind: &str) -> Vec<Value> {
    let journal = world.get("/api/v1/journal").await;
    let records = journal.as_array().unwrap().iter();
    records
        .filter(|record| record["kind"] == kind)
        .map(|record| serde_json::from_str(record["body"].as_str().unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_whatever_has_changed_since() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let daemon = world.start().await;
    let send =
        json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" }, "to": ["mottagare-01"] });
    let (status, first) = world
        .ask("POST", "/api/v1/broadcasts", Some(&send), Some("nyckel"))
        .await
        .unwrap();
    assert_eq!(status, 202, "{first:#}");
    // The account is gone, and so is the page that it linked to.
    let text = std::fs::read_to_string(&world.config).unwrap();
    let changed = text
        .replace("[account.mottagare-01]", "[account.mottagare-03]")
        .replace("/site\"", "/finns-inte\"");
    std::fs::write(&world.config, changed).unwrap();
    daemon.sighup();
    let until = Instant::now() + Duration::from_secs(10);
    while records(&world, "reload").await.is_empty() {
        assert!(Instant::now() < until, "{}", daemon.said());
    }
    assert_eq!(
        records(&world, "reload").await[0]["taken"],
        true,
        "{}",
        daemon.said()
    );
    let (status, again) = world
        .ask("POST", "/api/v1/broadcasts", Some(&send), Some("nyckel"))
        .await
        .unwrap();
    assert_eq!(status, 202, "{again:#}");
    assert_eq!(again["broadcast"], first["broadcast"]);
    assert_eq!(again["findings"], first["findings"]);
    assert_eq!(again["repeated"], true);
    let other =
        json!({ "message": "koka-vattnet", "fields": { "omrade": "Malmbäck" }, "to": ["mottagare-01"] });
    let (status, refused) = world
        .ask("POST", "/api/v1/broadcasts", Some(&other), Some("nyckel"))
        .await
        .unwrap();
    assert_eq!(
        (status, &refused["type"]),
        (422, &"urn:vardkase:key-reused".into())
    );
}

#[tokio::test]
async fn a_daemon_that_stops_takes_no_command_and_says_so() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let mut daemon = world.start().await;
    world.fault("mottagare-01", How::Delay(4000), 1);
    let said = world.cli(&[&SEND[..], &["--json"]].concat()).await.ended(0);
    let broadcast = said.json()["broadcast"].as_str().unwrap().to_owned();
    eventually("under way", || asked(&world) == 1).await;
    daemon.sigterm();
    eventually("stopping", || daemon.said().contains("no new attempt starts")).await;
    for args in [
        &SEND[..],
        &["retract", &broadcast, "--yes"],
        &["retry", &broadcast],
        &["correct", "2026-0001", "--yes"],
    ] {
        let said = world.cli(args).await.ended(6);
        assert!(said.stderr.contains("the daemon is stopping"), "{said:?}");
    }
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    let _again = world.start().await;
    assert_eq!(world.get("/api/v1/broadcasts").await.as_array().unwrap().len(), 1);
    assert_eq!(world.posts().len(), 1);
}

#[tokio::test]
async fn a_second_interrupt_ends_the_drain() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let mut daemon = world.start().await;
    world.fault("mottagare-01", How::Delay(15_000), 1);
    world.cli(&SEND).await.ended(0);
    eventually("under way", || asked(&world) == 1).await;
    daemon.sigint();
    eventually("stopping", || daemon.said().contains("no new attempt starts")).await;
    daemon.sigint();
    daemon.ended(Duration::from_secs(8)).await;
}

#[tokio::test]
async fn a_command_that_waits_outlives_a_restart_of_the_daemon() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let mut daemon = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "4".to_owned())],
        body: None,
    };
    world.fault("mottagare-01", busy, 1);
    let waiting = world.cli_spawn(&[&SEND[..], &["--wait", "--json"]].concat());
    eventually("asked", || asked(&world) == 1).await;
    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _again = world.start().await;
    let said = waiting.await.unwrap().ended(0);
    assert_eq!(said.json()["state"], "completed", "{said:?}");
}

#[tokio::test]
async fn a_vault_that_cannot_be_read_is_told_of_like_a_wrong_configuration() {
    let world = World::open(Plan::of(vec![Account::new("mastodon", "mastodon")])).await;
    let _daemon = world.start().await;
    let vault = world.dir().join("vault.json");
    let open = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    let text = std::fs::read_to_string(&vault).unwrap();
    std::fs::write(&vault, "skräp").unwrap();
    std::fs::set_permissions(&vault, open(0o600)).unwrap();
    let (status, _) = world.ask("POST", "/api/v1/reload", None, None).await.unwrap();
    assert_eq!(status, 409);
    assert_eq!(records(&world, "reload").await[0]["taken"], false);
    let status = world.get("/api/v1/status").await;
    assert_eq!(list(&status, "config_problems").len(), 1, "{status:#}");
    std::fs::write(&vault, text).unwrap();
    let (status, _) = world.ask("POST", "/api/v1/reload", None, None).await.unwrap();
    assert_eq!(status, 200);
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn the_journal_says_which_credentials_were_used_and_changed_and_by_whom() {
    let world = World::open(Plan::of(vec![Account::new("mastodon", "mastodon")])).await;
    let first = world.start().await;
    world.cli(&["verify"]).await.ended(0);
    let verified = records(&world, "verify").await.remove(0);
    let asked = &verified["accounts"][0];
    assert_eq!(
        (&asked["account"], &asked["reachable"]),
        (&"mastodon".into(), &true.into())
    );
    assert_eq!(asked["credentials"], json!(["access_token"]));

    let (name, value) = world.simulated("mastodon").secrets[0].clone();
    let line = format!("{name}={value}\n");
    world
        .cli_with(&["credentials", "set", "mastodon"], &line)
        .await
        .ended(0);
    let told = records(&world, "reload").await.remove(0);
    let expected = json!({ "owner": "mastodon", "names": [name], "change": "set" });
    assert_eq!(told["secrets"], expected, "{told:#}");
    first.kill9().await;

    // Nobody is there to tell: the next start finds it.
    let relay = "username=vardkase-relay\npassword=kanarie-9c41d7e2aa03\n";
    world
        .cli_with(&["credentials", "set", "relay-kommun"], relay)
        .await
        .ended(0);
    world.cli(&["credentials", "remove", "mastodon"]).await.ended(0);
    let _second = world.start().await;
    let start = records(&world, "start").await.pop().unwrap();
    assert_eq!(
        start["secrets_set"],
        json!(["relay-kommun/password", "relay-kommun/username"])
    );
    assert_eq!(
        start["secrets_removed"],
        json!(["mastodon/access_token"]),
        "{start:#}"
    );
    assert!(!start.to_string().contains("kanarie"), "{start:#}");
}

#[tokio::test]
async fn a_backup_has_messages_and_lists_or_is_not_there() {
    let section = "[list.boende]\nkind = \"phone\"\nfile = \"boende.csv\"";
    let world = World::open(Plan::of(webhooks(1)).list(section)).await;
    std::fs::write(world.dir().join("boende.csv"), "telefon\n0701740605\n").unwrap();
    let messages = world.dir().join("templates/messages");
    std::fs::create_dir_all(&messages).unwrap();
    let own = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/templates/messages/koka-vattnet.toml"
    );
    std::fs::copy(own, messages.join("koka-vattnet.toml")).unwrap();
    let _daemon = world.start().await;
    let copy = world.dir().join("kopia");
    let args = ["backup", copy.to_str().unwrap()];
    let dangling = messages.join("borta");
    std::os::unix::fs::symlink("finns-inte", &dangling).unwrap();
    let said = world.cli(&args).await.ended(1);
    assert!(said.stderr.contains("there is no backup"), "{said:?}");
    assert!(!copy.exists(), "{said:?}");
    std::fs::remove_file(dangling).unwrap();
    world.cli(&args).await.ended(0);
    for file in [
        "vardkase.db",
        "config.toml",
        "messages/koka-vattnet.toml",
        "lists/boende/boende.csv",
    ] {
        assert!(copy.join(file).is_file(), "{file}");
    }
    let said = world.cli(&args).await.ended(1);
    assert!(said.stderr.contains("does not exist yet"), "{said:?}");
    assert!(copy.join("vardkase.db").is_file());
}
