//! What a monitor sees: which part is not well, and the numbers that a watcher needs.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use vardkase::wall::How;

use crate::support::{Account, CRISIS, PATIENCE, Plan, World, eventually, webhooks};

const SEND: [&str; 6] = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"];

/// Waits until a path answers so.
async fn until(world: &World, path: &str, status: u16) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = world.ask("GET", path, None, None).await;
        if let Some((found, body)) = &answer
            && *found == status
        {
            return body.clone();
        }
        assert!(
            Instant::now() < until,
            "{path} never answered {status}: {answer:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connect(world: &World) -> SqliteConnection {
    let file = world.data_dir.join("vardkase.db");
    SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap()
}

fn problem<'v>(body: &'v Value, kind: &str) -> &'v str {
    assert_eq!(
        (&body["type"], &body["status"]),
        (&format!("urn:vardkase:{kind}").into(), &503.into()),
        "{body:#}"
    );
    assert!(!body["detail"].as_str().unwrap().is_empty(), "{body:#}");
    body["part"].as_str().unwrap()
}

#[tokio::test]
async fn a_daemon_that_takes_no_command_says_which_part_is_in_the_way() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let daemon = world.start().await;
    // Somebody else keeps the database from being written.
    let mut other = connect(&world).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let body = until(&world, "/readyz", 503).await;
    assert_eq!(problem(&body, "not-ready"), "database");
    assert_eq!(world.get("/healthz").await, "ok\n");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    until(&world, "/readyz", 200).await;

    // It stops, and an attempt is under way.
    world.fault("mottagare-01", How::Delay(4000), 1);
    world.cli(&SEND).await.ended(0);
    eventually("under way", || {
        world.wall.seen().iter().any(|seen| seen.method != "SMTP")
    })
    .await;
    daemon.sigterm();
    let body = until(&world, "/readyz", 503).await;
    assert_eq!(problem(&body, "not-ready"), "daemon");
    assert_eq!(world.get("/healthz").await, "ok\n");
}

#[tokio::test]
async fn a_daemon_that_lost_its_lanes_says_that_it_is_about_to_end() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let mut daemon = world.start().await;
    world.cli(&[&SEND[..], &["--wait"]].concat()).await.ended(0);
    world.fault("mottagare-01", How::Delay(15_000), 1);
    world.cli(&SEND).await.ended(0);
    eventually("under way", || {
        world
            .wall
            .seen()
            .iter()
            .filter(|seen| seen.method != "SMTP")
            .count()
            >= 3
    })
    .await;
    let mut other = connect(&world).await;
    let taken = sqlx::query("UPDATE lane SET owner = 'another-node', epoch = epoch + 1")
        .execute(&mut other)
        .await
        .unwrap();
    assert!(taken.rows_affected() >= 2);
    let body = until(&world, "/healthz", 503).await;
    assert_eq!(problem(&body, "not-healthy"), "dispatch");
    assert_eq!(
        daemon.ended(Duration::from_secs(30)).await,
        Some(1),
        "{}",
        daemon.said()
    );
}

/// The number of a line of the metrics.
fn value(metrics: &str, line: &str) -> Option<f64> {
    let found = metrics.lines().find_map(|one| one.strip_prefix(line))?;
    found.trim().parse().ok()
}

#[tokio::test]
async fn the_numbers_tell_a_watcher_what_to_worry_about_and_nobody_s_name() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut accounts = webhooks(1);
    accounts.push(Account::new("nere", "webhook").with(&format!("endpoint = \"http://{nobody}/\"")));
    accounts.push(Account::new("press", "email"));
    accounts.push(Account::new("mastodon", "mastodon"));
    let world = World::open(Plan::of(accounts)).await;
    world.cli(&["credentials", "remove", "mastodon"]).await.ended(0);
    let _daemon = world.start().await;
    // Five failures in a row open the breaker.
    for _ in 0..5 {
        world.cli(&SEND).await.ended(0);
    }
    let metrics = async || {
        let text = world.get("/metrics").await;
        text.as_str().unwrap().to_owned()
    };
    let deadline = Instant::now() + PATIENCE;
    let open = "vardkase_lane_breaker_open{account=\"nere\",mode=\"live\"} ";
    let text = loop {
        let text = metrics().await;
        if value(&text, open) == Some(1.0) {
            break text;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let closed = "vardkase_lane_breaker_open{account=\"mottagare-01\",mode=\"live\"} ";
    assert_eq!(value(&text, closed), Some(0.0), "{text}");
    assert_eq!(value(&text, "vardkase_not_ready "), Some(1.0), "{text}");
    let seq = value(&text, "vardkase_journal_sequence ").unwrap();
    assert!(seq >= 5.0, "{text}");
    let now = world.get("/api/v1/status").await["journal_seq"].as_f64().unwrap();
    assert!(seq <= now, "{seq} {now}");
    for (line, least) in [
        ("vardkase_deliveries{mode=\"live\",state=\"published\"} ", 5.0),
        ("vardkase_deliveries{mode=\"live\",state=\"held\"} ", 5.0),
        ("vardkase_deliveries{mode=\"drill\",state=\"published\"} ", 0.0),
        ("vardkase_confirmations_unsent ", 0.0),
        ("vardkase_confirmation_mails{state=\"published\"} ", 0.0),
        ("vardkase_confirmation_mails{state=\"queued\"} ", 0.0),
        ("vardkase_lane_state{account=\"nere\",mode=\"live\"} ", 3.0),
        ("vardkase_log_lines_dropped ", 0.0),
    ] {
        let found = value(&text, line);
        assert!(found.is_some_and(|n| n >= least), "{line}{found:?}: {text}");
    }
    let named = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .count();
    assert!(named >= 8, "{text}");
    let told = crate::support::PRESS
        .iter()
        .chain(&CRISIS)
        .map(|address| (*address).to_owned());
    for hidden in told.chain(world.canaries()) {
        assert!(!text.contains(&hidden), "{hidden} shows");
    }
}
