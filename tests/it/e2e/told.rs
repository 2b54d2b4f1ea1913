//! Whether the crisis organisation was told: shown wherever a broadcast is shown, and in the exit code.

use serde_json::{Value, json};
use vardkase::model::Mode;

use crate::postgres::TestDatabase;
use crate::support::{CRISIS, Plan, Said, World, list, webhooks};

/// A port where nobody listens.
fn nobody() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A world with two relays; of each, whether anybody is there.
async fn world(first: bool, second: bool) -> World {
    world_on(None, first, second).await
}

/// The same on an engine: PostgreSQL at an address, SQLite without one.
async fn world_on(database: Option<String>, first: bool, second: bool) -> World {
    let mut plan = Plan::of(webhooks(2));
    plan.database = database;
    let world = World::open(plan).await;
    let sink = world.wall.smtp().port();
    let port = |there: bool| if there { sink } else { nobody() };
    let text = std::fs::read_to_string(&world.config).unwrap();
    let second = format!(
        "\n[[relay]]\nid = \"relay-reserv\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nlogin = true\n",
        port(second)
    );
    let text = text.replace(&format!("port = {sink}"), &format!("port = {}", port(first))) + &second;
    std::fs::write(&world.config, text).unwrap();
    let login = format!(
        "username={}\npassword={}\n",
        crate::support::RELAY_LOGIN.0,
        crate::support::RELAY_LOGIN.1
    );
    world
        .cli_with(&["credentials", "set", "relay-reserv"], &login)
        .await
        .ended(0);
    world
}

const SEND: [&str; 6] = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--wait"];

async fn metrics(world: &World) -> String {
    let (status, text) = world.ask("GET", "/metrics", None, None).await.unwrap();
    assert_eq!(status, 200);
    text.as_str().unwrap().to_owned()
}

/// The number of a line of the metrics.
fn value(metrics: &str, line: &str) -> f64 {
    let found = metrics.lines().find_map(|one| one.strip_prefix(line));
    let found = found.unwrap_or_else(|| panic!("no {line} in {metrics}"));
    found.trim().parse().unwrap()
}

#[tokio::test]
async fn when_no_relay_works_the_command_says_so_and_ends_with_3() {
    nobody_can_be_told(&world(false, false).await).await;
}

#[tokio::test]
async fn when_no_relay_works_the_command_says_so_with_postgresql_too() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let world = world_on(Some(database.url()), false, false).await;
    nobody_can_be_told(&world).await;
    database.drop_it().await;
}

async fn nobody_can_be_told(world: &World) {
    let _daemon = world.start().await;
    let said: Said = world.cli(&SEND).await.ended(3);
    assert!(said.stdout.contains("2 of 2 published, completed"), "{said:?}");
    assert!(
        said.stdout.contains("confirmation: NOT SENT, no relay takes it"),
        "{said:?}"
    );
    for relay in ["relay-kommun", "relay-reserv"] {
        assert!(said.stdout.contains(relay), "{relay} is not named: {said:?}");
    }
    assert_eq!(world.posts().len(), 2);
    assert_eq!(world.confirmations(), []);

    let report = world.get("/api/v1/broadcasts").await[0].clone();
    assert_eq!(report["state"], "completed", "{report:#}");
    let told = &report["confirmation"];
    assert_eq!(
        (&told["state"], &told["sent"], &told["mails"]),
        (&"failing".into(), &0.into(), &CRISIS.len().into())
    );
    assert!(
        told["error"]["text"].as_str().unwrap().contains("relay-"),
        "{told:#}"
    );

    // The board, and the broadcast itself.
    let broadcast = report["broadcast"].as_str().unwrap();
    let said = world.cli(&["status"]).await.ended(0);
    assert_eq!(
        said.stdout.matches("confirmation: NOT SENT").count(),
        1,
        "{said:?}"
    );
    let said = world.cli(&["status", broadcast]).await.ended(3);
    assert!(said.stdout.contains("confirmation: NOT SENT"), "{said:?}");
    let board = world.cli(&["status", "--json"]).await.ended(0).json();
    assert_eq!(list(&board, "broadcasts")[0]["confirmation"]["state"], "failing");
    let metrics = metrics(world).await;
    assert!(
        value(&metrics, "vardkase_confirmations_unsent") >= 2.0,
        "{metrics}"
    );
    // Nobody's address shows anywhere.
    for address in CRISIS {
        assert!(!metrics.contains(address) && !said.stdout.contains(address));
    }
}

#[tokio::test]
async fn the_relay_that_took_it_is_named() {
    let world = world(false, true).await;
    let _daemon = world.start().await;
    let said = world.cli(&SEND).await.ended(0);
    assert!(
        said.stdout.contains("confirmation: sent, 2 of 2 mails"),
        "{said:?}"
    );
    assert_eq!(said.stdout.matches("via relay-reserv").count(), 2, "{said:?}");
    assert!(
        said.stdout.contains("relay-kommun"),
        "what the first one lacked is told: {said:?}"
    );
    assert_eq!(world.confirmations().len(), CRISIS.len());
    let metrics = metrics(&world).await;
    assert!(
        value(&metrics, "vardkase_confirmations_unsent").abs() < f64::EPSILON,
        "{metrics}"
    );
}

#[tokio::test]
async fn one_address_that_is_refused_is_told_of_and_does_not_hide_the_others() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let refusal = vardkase::wall::Fault {
        how: vardkase::wall::How::Answer {
            status: 550,
            headers: Vec::new(),
            body: Some("5.1.1 no such user".to_owned()),
        },
        path: Some(format!("rcpt:{}", CRISIS[1])),
        method: None,
        after: 0,
        times: 0,
    };
    world.wall.fault(Mode::Live, &"smtp".parse().unwrap(), refusal);
    let _daemon = world.start().await;
    let (code, report) = world.send(&[]).await;
    let told = &report["confirmation"];
    assert_eq!((code, &told["state"]), (0, &"partial".into()), "{report:#}");
    assert_eq!(told["sent"], json!(1));
    assert!(
        told["error"]["code"].as_str().unwrap().contains("550"),
        "{told:#}"
    );
    let refused = list(&report, "confirmations")
        .iter()
        .find(|mail| mail["state"] == "refused");
    assert!(
        refused.unwrap_or(&Value::Null)["recipient"].is_string(),
        "{report:#}"
    );
}
