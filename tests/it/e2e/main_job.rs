//! One command publishes on every account, and the crisis organisation is told.

use std::time::Duration;

use crate::postgres::TestDatabase;
use crate::support::{CRISIS, PRESS, Plan, SENDER, World, every_channel, list, states};

/// Everything that a live broadcast promises, on one engine.
async fn a_live_broadcast(world: &World) {
    let mut daemon = world.start().await;
    let (code, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap().to_owned();

    // All but the account that only a person serves are out; that one waits, and the command says so.
    assert_eq!((code, &report["state"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(states(&report, "radio"), ["manual"]);
    for delivery in list(&report, "deliveries") {
        if delivery["account"] != "radio" {
            assert_eq!(delivery["state"], "published", "{delivery:#}");
            assert_eq!(delivery["attempts"], 1, "{delivery:#}");
            assert!(delivery["remote_id"].is_string(), "{delivery:#}");
        }
    }

    // What truly came out: one post on each account, one mail to each recipient, each with sender and link.
    let posts = world.posts();
    let mut accounts: Vec<&str> = posts.iter().map(|post| post.account.as_str()).collect();
    accounts.sort_unstable();
    assert_eq!(
        accounts,
        [
            "bluesky", "facebook", "intranat", "mastodon", "press", "press", "skarmar", "webb"
        ]
    );
    let link = format!("http://{}/site/kris/dricksvatten", world.wall.address());
    for post in &posts {
        assert!(post.text.contains("Forserum"), "{post:#?}");
        assert!(post.text.contains(SENDER), "{post:#?}");
        assert!(post.links.contains(&link), "{post:#?}");
        assert!(!post.text.contains("ÖVNING"), "{post:#?}");
    }
    let mut readers: Vec<String> = posts.into_iter().filter_map(|post| post.recipient).collect();
    readers.sort_unstable();
    assert_eq!(readers, PRESS);

    // The crisis organisation is told, and told again when the person has reported it done.
    world.told(&broadcast, CRISIS.len()).await;
    let done = [
        "retry",
        &broadcast,
        "--account",
        "radio",
        "--done",
        "https://sverigesradio.se/artikel/1",
    ];
    world.cli(&done).await.ended(0);
    let report = world
        .until(&broadcast, "closed", |r| {
            list(r, "confirmations").len() == 2 * CRISIS.len()
        })
        .await;
    assert_eq!(report["state"], "completed", "{report:#}");
    world.told(&broadcast, 2 * CRISIS.len()).await;
    world.cli(&["status", &broadcast]).await.ended(0);
    let mails = world.confirmations();
    for reader in CRISIS {
        let own: Vec<_> = mails
            .iter()
            .filter(|m| m.recipient.as_deref() == Some(reader))
            .collect();
        assert_eq!(own.len(), 2, "{mails:#?}");
        assert!(
            own.iter()
                .all(|m| m.text.contains("Koka dricksvattnet i Forserum")),
            "{own:#?}"
        );
        assert!(own.iter().all(|m| m.text.contains("radio")), "{own:#?}");
    }

    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
}

#[tokio::test]
async fn one_command_publishes_on_every_account_and_proves_it() {
    let world = World::open(Plan::of(every_channel())).await;
    a_live_broadcast(&world).await;
}

#[tokio::test]
async fn one_command_publishes_on_every_account_with_postgresql_too() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let mut plan = Plan::of(every_channel());
    plan.database = Some(database.url());
    let world = World::open(plan).await;
    a_live_broadcast(&world).await;
    database.drop_it().await;
}
