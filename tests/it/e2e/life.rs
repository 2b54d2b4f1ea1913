//! The daemon's life: reload, stop, a second one, a copy.

use std::time::{Duration, Instant};

use serde_json::Value;
use vardkase::wall::How;

use crate::support::{Account, CRISIS, Plan, World, eventually, list, webhooks};

/// No account has the same broadcast twice.
fn once_each(world: &World, accounts: usize) {
    let posts = world.posts();
    let mut names: Vec<&str> = posts.iter().map(|post| post.account.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!((all, names.len()), (accounts, accounts), "{posts:#?}");
}

/// How many requests reached the accounts; mails to the crisis organisation apart.
fn asked(world: &World) -> usize {
    world
        .wall
        .seen()
        .iter()
        .filter(|seen| seen.method != "SMTP")
        .count()
}

/// Sends without waiting and gives the broadcast.
async fn set_off(world: &World) -> String {
    let args = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"];
    let said = world.cli(&args).await.ended(0);
    said.json()["broadcast"].as_str().unwrap().to_owned()
}

fn problems(status: &Value) -> usize {
    list(status, "config_problems").len()
}

#[tokio::test]
async fn a_wrong_file_keeps_the_old_configuration() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let daemon = world.start().await;
    let good = std::fs::read_to_string(&world.config).unwrap();
    let before = world.get("/api/v1/status").await;
    let status_when = |what: &'static str, is: fn(&Value, &Value) -> bool| {
        let (world, before) = (&world, &before);
        async move {
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                let status = world.get("/api/v1/status").await;
                if is(&status, before) {
                    return status;
                }
                assert!(Instant::now() < until, "{what}: {status:#}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    std::fs::write(
        &world.config,
        good.replace("channel = \"webhook\"", "channel = \"webhok\""),
    )
    .unwrap();
    daemon.sighup();
    let status = status_when("problems shown", |now, _| problems(now) > 0).await;
    assert_eq!(status["config_digest"], before["config_digest"]);
    assert_eq!(world.get("/api/v1/accounts").await.as_array().unwrap().len(), 2);

    // A right one is taken: one account less, at once.
    let (rest, _) = good.split_once("[account.mottagare-02]").unwrap();
    std::fs::write(&world.config, rest).unwrap();
    daemon.sighup();
    let taken =
        |now: &Value, before: &Value| problems(now) == 0 && now["config_digest"] != before["config_digest"];
    status_when("taken", taken).await;
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, list(&report, "deliveries").len()), (0, 1), "{report:#}");
    let said = world.cli(&["log", "show", "--json"]).await.ended(0);
    assert_eq!(said.stdout.matches("\"kind\":\"reload\"").count(), 2, "{said:?}");
}

#[tokio::test]
async fn a_second_daemon_is_refused_within_a_second_and_told_who_is_first() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let first = world.start().await;
    let began = Instant::now();
    let mut second = world.spawn();
    assert_eq!(second.ended(Duration::from_secs(5)).await, Some(1));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(
        second.said().contains(&format!("pid {}", first.pid())),
        "{}",
        second.said()
    );
    // The first one works on, by its own socket.
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_daemon_that_was_taken_over_writes_nothing_more() {
    const ACCOUNTS: usize = 6;
    // One that knows a post again by its key five times, and one that has to look for it.
    let accounts = || {
        let mut accounts = webhooks(ACCOUNTS - 1);
        accounts.push(Account::new("mastodon", "mastodon").with("settle_wait = \"1s\""));
        accounts
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let plan = Plan::of(accounts()).daemon(&format!("listen = \"127.0.0.1:{port}\""));
    let world = World::open(plan).await;
    let mut first = world.start().await;
    // Its attempts are under way when it freezes, and are answered while it cannot hear.
    for account in accounts() {
        world.fault(&account.id, How::Delay(700), 1);
    }
    let broadcast = set_off(&world).await;
    eventually("every attempt under way", || asked(&world) >= ACCOUNTS).await;
    first.sigstop();
    let mut second = world.spawn_with(&world.config, &["--take-over"], &[]);

    world.until_pid(&mut second).await;
    assert!(
        second.said().contains(&first.pid().to_string()),
        "{}",
        second.said()
    );
    world
        .until(&broadcast, "completed by the second", |r| {
            r["state"] == "completed"
        })
        .await;
    once_each(&world, ACCOUNTS);
    let settled = world.report(&broadcast).await;

    first.sigcont();
    let code = first.ended(Duration::from_secs(25)).await;
    assert_ne!(code, Some(0), "{}", first.said());
    // What the second wrote stands, the journal is whole, and the second is still there for commands.
    let after = world.report(&broadcast).await;
    assert_eq!(after["deliveries"], settled["deliveries"]);
    world.cli(&["log", "verify"]).await.ended(0);
    let log = world
        .cli(&["log", "show", "--json", "--limit", "1000"])
        .await
        .ended(0);
    assert!(!log.stdout.contains("\"kind\":\"stop\""), "{log:?}");
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
    assert_eq!(world.posts().len(), 2 * ACCOUNTS);
    assert!(!second.is_gone());
    // The port that the first one held is listened on as soon as it is free.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while client
        .get(format!("http://127.0.0.1:{port}/healthz"))
        .send()
        .await
        .is_err()
    {
        assert!(Instant::now() < until, "{}", second.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_idle_daemon_that_was_taken_over_ends_by_itself() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let mut first = world.start().await;
    // Its lanes are leased, and nothing is to be done in them; nor does it freeze in the middle of a write.
    let (code, report) = world.send(&[]).await;
    assert_eq!(code, 0);
    world
        .told(report["broadcast"].as_str().unwrap(), CRISIS.len())
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.sigstop();
    let mut second = world.spawn_with(&world.config, &["--take-over"], &[]);
    world.until_pid(&mut second).await;
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0, "the lanes of the first are its successor's at once");
    first.sigcont();
    let code = first.ended(Duration::from_secs(10)).await;
    assert_eq!(code, Some(1), "{}", first.said());
    assert!(
        first.said().contains("taken the data directory over"),
        "{}",
        first.said()
    );
    assert!(world.socket.exists());
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
    assert_eq!(world.posts().len(), 6);
    world.cli(&["log", "verify"]).await.ended(0);
}

#[tokio::test]
async fn a_take_over_that_fails_leaves_the_first_daemon_at_work() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let mut first = world.start().await;
    first.sigstop();
    let elsewhere = world.dir().join("config-2.toml");
    let text = std::fs::read_to_string(&world.config).unwrap();
    let in_the_way = world.dir().join("ingen-socket");
    std::fs::write(&in_the_way, "").unwrap();
    let socket = format!("[daemon]\nsocket = \"{}\"\n", in_the_way.display());
    std::fs::write(&elsewhere, text.replacen("[daemon]\n", &socket, 1)).unwrap();
    std::fs::set_permissions(&elsewhere, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut second = world.spawn_with(&elsewhere, &["--take-over"], &[]);
    assert_eq!(
        second.ended(Duration::from_secs(20)).await,
        Some(1),
        "{}",
        second.said()
    );
    first.sigcont();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!first.is_gone(), "{}", first.said());
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn sigterm_in_the_middle_loses_nothing_and_repeats_nothing() {
    const ACCOUNTS: usize = 6;
    let world = World::open(Plan::of(webhooks(ACCOUNTS))).await;
    let mut daemon = world.start().await;
    // Some are under way when it is told, one is asked to come back later.
    for n in 1..=4 {
        world.fault(&format!("mottagare-{n:02}"), How::Delay(800), 1);
    }
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "3".to_owned())],
        body: None,
    };
    world.fault("mottagare-05", busy, 1);
    let broadcast = set_off(&world).await;
    eventually("everybody asked", || asked(&world) >= ACCOUNTS).await;
    daemon.sigterm();
    assert_eq!(
        daemon.ended(Duration::from_secs(25)).await,
        Some(0),
        "{}",
        daemon.said()
    );
    assert!(!world.socket.exists());
    // Those under way were finished, and their outcomes kept.
    assert_eq!(world.posts().len(), ACCOUNTS - 1);
    let mut again = world.start().await;
    let report = world
        .until(&broadcast, "completed", |r| r["state"] == "completed")
        .await;
    once_each(&world, ACCOUNTS);
    let attempts: Vec<_> = list(&report, "deliveries")
        .iter()
        .map(|d| d["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts.iter().sum::<u64>(), ACCOUNTS as u64 + 1, "{report:#}");
    world.told(&broadcast, 1).await;
    again.sigterm();
    assert_eq!(again.ended(Duration::from_secs(25)).await, Some(0));
}

#[tokio::test]
async fn a_restored_copy_sends_nothing_before_a_person_lets_it() {
    const ACCOUNTS: usize = 3;
    let mut world = World::open(Plan::of(webhooks(ACCOUNTS))).await;
    let first = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "6".to_owned())],
        body: None,
    };
    for account in webhooks(ACCOUNTS) {
        world.fault(&account.id, busy.clone(), 1);
    }
    let broadcast = set_off(&world).await;
    eventually("everybody asked", || asked(&world) == ACCOUNTS).await;
    let copy = world.dir().join("kopia");
    let said = world.cli(&["backup", copy.to_str().unwrap()]).await.ended(0);
    assert!(said.stdout.contains("--release"), "{said:?}");
    for file in ["vardkase.db", "vault.json", "config.toml"] {
        assert!(copy.join(file).exists(), "{file}");
    }
    assert!(!copy.join("vault.key").exists());
    // It is there already: never written over.
    world.cli(&["backup", copy.to_str().unwrap()]).await.ended(1);
    first.kill9().await;

    let elsewhere = world.dir().join("data-2");
    world.move_to(&elsewhere);
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(copy.join("vardkase.db"), elsewhere.join("vardkase.db")).unwrap();
    let daemon = world.start().await;
    let report = world.report(&broadcast).await;
    for delivery in list(&report, "deliveries") {
        assert_eq!(delivery["state"], "held", "{delivery:#}");
    }
    // A new message goes out; the old one stays where it is.
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0, "{}", daemon.said());
    once_each(&world, ACCOUNTS);
    assert_eq!(asked(&world), 2 * ACCOUNTS);
    let said = world.cli(&["retry", &broadcast]).await.ended(3);
    assert!(said.stdout.contains("--release"), "{said:?}");
    world.cli(&["retry", &broadcast, "--release"]).await.ended(0);
    world
        .until(&broadcast, "completed", |r| r["state"] == "completed")
        .await;
    assert_eq!(world.posts().len(), 2 * ACCOUNTS);
    world.cli(&["log", "verify"]).await.ended(0);
}

#[tokio::test]
async fn a_crash_between_attempt_and_outcome_is_settled_at_the_next_start() {
    let world = World::open(Plan::of(vec![
        Account::new("intranat", "webhook"),
        Account::new("mastodon", "mastodon"),
        Account::new("bluesky", "bluesky"),
    ]))
    .await;
    let mut daemon = world.spawn_with(
        &world.config,
        &[],
        &[("VARDKASE_FAILPOINT", "outcome-commit.before")],
    );
    world.ready(&mut daemon).await;
    // It may be dead before the command has its answer; the command then asks again under its key.
    let sending = world.cli_spawn(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"]);
    assert_eq!(
        daemon.ended(Duration::from_secs(25)).await,
        None,
        "it did not kill itself"
    );
    let _again = world.start().await;
    let said = sending.await.unwrap().ended(0).json();
    let broadcast = said["broadcast"].as_str().unwrap().to_owned();
    world
        .until(&broadcast, "completed", |r| r["state"] == "completed")
        .await;
    once_each(&world, 3);
}
