//! A credential that cannot be read stops its own account and no other, and says what to do.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Account, Plan, World, list};

/// One account that needs a secret, one that does not.
async fn world() -> World {
    World::open(Plan::of(vec![
        Account::new("mastodon", "mastodon"),
        Account::new("skarmar", "file"),
    ]))
    .await
}

fn of<'v>(report: &'v Value, account: &str) -> &'v Value {
    let all = list(report, "deliveries").iter();
    let mut found = all.filter(|d| d["account"] == account);
    found.next().unwrap_or_else(|| panic!("no {account}: {report:#}"))
}

/// Sends, with the account that lacks its secret held for want of it and the other one published; `words` stand in all
/// that is said of it.
async fn one_is_held(world: &World, words: &[&str]) -> String {
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(of(&report, "skarmar")["state"], "published");
    let held = of(&report, "mastodon");
    assert_eq!(
        (&held["state"], &held["attempts"]),
        (&"held".into(), &0.into()),
        "{held:#}"
    );
    let accounts = world.cli(&["accounts"]).await.ended(0);
    let status = world.cli(&["status"]).await.ended(0);
    let error = held["error"].to_string();
    for said in [&accounts.stdout, &status.stdout, &error] {
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
    }
    let line = accounts
        .stdout
        .lines()
        .find(|line| line.starts_with("skarmar"))
        .unwrap();
    assert!(!line.contains("NOT READY"), "{line}");
    let not_ready = world.get("/api/v1/status").await["not_ready"].clone();
    assert!(
        not_ready
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["owner"] == "mastodon"),
        "{not_ready:#}"
    );
    report["broadcast"].as_str().unwrap().to_owned()
}

/// Lets what is held go, which it does now.
async fn goes_now(world: &World, broadcast: &str) {
    world.cli(&["retry", broadcast]).await.ended(0);
    world
        .until(broadcast, "completed", |r| r["state"] == "completed")
        .await;
    assert_eq!(world.posts_of("mastodon").len(), 1);
    let status = world.cli(&["status"]).await.ended(0);
    assert!(!status.stdout.contains("NOT READY"), "{status:?}");
}

async fn set(world: &World, account: &str) {
    let secrets = &world.simulated(account).secrets;
    let lines: Vec<String> = secrets
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let lines = lines.concat();
    world
        .cli_with(&["credentials", "set", account], &lines)
        .await
        .ended(0);
}

fn private(file: &std::path::Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Waits until the daemon has read the vault again.
async fn reloaded(world: &World) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, said) = world.ask("POST", "/api/v1/reload", None, None).await.unwrap();
        if status == 200 {
            return;
        }
        assert!(Instant::now() < until, "{said:#}");
    }
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_with_the_command_that_sets_it() {
    let world = world().await;
    world.cli(&["credentials", "remove", "mastodon"]).await.ended(0);
    let _daemon = world.start().await;
    let broadcast = one_is_held(
        &world,
        &["mastodon", "access_token", "`vardkase credentials set mastodon`"],
    )
    .await;
    set(&world, "mastodon").await;
    goes_now(&world, &broadcast).await;
}

#[tokio::test]
async fn without_a_vault_the_daemon_starts_and_what_needs_none_works() {
    let world = world().await;
    let vault = world.dir().join("vault.json");
    let kept = std::fs::read(&vault).unwrap();
    std::fs::remove_file(&vault).unwrap();
    let daemon = world.start().await;
    assert!(
        daemon.said().contains("the vault is not open"),
        "{}",
        daemon.said()
    );
    let broadcast = one_is_held(
        &world,
        &["access_token of mastodon", "vault.json", "credentials init"],
    )
    .await;
    // The relays' log-ins are in it too: nobody could be told.
    let report = world.report(&broadcast).await;
    assert_eq!(report["confirmation"]["state"], "failed", "{report:#}");
    let why = report["confirmation"]["error"]["text"].as_str().unwrap();
    assert!(why.contains("relay-kommun"), "{why}");
    let status = world.get("/api/v1/status").await;
    let owners: Vec<&Value> = list(&status, "not_ready")
        .iter()
        .map(|one| &one["owner"])
        .collect();
    assert!(owners.contains(&&"relay-kommun".into()), "{status:#}");
    private(&vault, &kept);
    reloaded(&world).await;
    goes_now(&world, &broadcast).await;
    world.told(&broadcast, crate::support::CRISIS.len()).await;
}

#[tokio::test]
async fn with_the_wrong_key_the_daemon_starts_and_names_the_secret_and_the_remedy() {
    let world = world().await;
    let key = world.dir().join("vault.key");
    let right = std::fs::read(&key).unwrap();
    // Another vault's key.
    let elsewhere = World::open(Plan::of(vec![Account::new("skarmar", "file")])).await;
    private(&key, &std::fs::read(elsewhere.dir().join("vault.key")).unwrap());
    let daemon = world.start().await;
    let broadcast = one_is_held(&world, &["access_token of mastodon", "put the right key back"]).await;
    private(&key, &right);
    reloaded(&world).await;
    goes_now(&world, &broadcast).await;
    // What it could not see at its start it does not take for removed.
    let said = world
        .cli(&["log", "show", "--json", "--limit", "1000"])
        .await
        .ended(0);
    let start = said
        .stdout
        .lines()
        .find(|line| line.contains("\"kind\":\"start\""))
        .unwrap();
    assert!(
        start.contains("sealed with the key") && !start.contains("secrets_removed"),
        "{start}"
    );
    for canary in world.canaries() {
        assert!(!said.stdout.contains(&canary) && !daemon.said().contains(&canary));
    }
}
