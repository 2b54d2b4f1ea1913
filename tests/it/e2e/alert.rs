//! One alert from its first message to the all-clear, and posts that are taken away again.

use serde_json::Value;
use vardkase::wall::How;

use crate::support::{Plan, World, every_channel, list, states};

/// Sends under an alert and waits.
async fn follow(world: &World, alert: &str, kind: &str, fields: &[&str]) -> Value {
    let mut more = vec!["--alert", alert, "--kind", kind];
    for field in fields {
        if field.starts_with("--") {
            more.push(field);
        } else {
            more.extend(["-f", field]);
        }
    }
    let (_, report) = world.send(&more).await;
    assert_eq!(report["kind"], kind);
    report
}

#[tokio::test]
async fn update_correction_and_all_clear_stand_under_the_first() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let (_, first) = world.send(&[]).await;
    let alert = first["alert"].as_str().unwrap();
    follow(&world, alert, "update", &["nytt=Tankbilar är på väg."]).await;
    follow(&world, alert, "correction", &["ratt=Det gäller också Stensjön."]).await;
    let last = follow(&world, alert, "all-clear", &[]).await;
    assert_eq!(last["broadcast"], format!("{alert}.4"));

    for (account, threads) in [
        ("bluesky", true),
        ("mastodon", true),
        ("webb", true),
        ("intranat", true),
        ("facebook", false),
    ] {
        let posts = world.posts_of(account);
        assert_eq!(posts.len(), 4, "{account}: {posts:#?}");
        assert_eq!(posts[0].in_reply_to, None);
        for (n, post) in posts.iter().enumerate().skip(1) {
            let above = posts
                .iter()
                .take(n)
                .any(|p| Some(&p.remote_id) == post.in_reply_to.as_ref());
            assert_eq!(above, threads, "{account}: {post:#?}");
        }
    }
    // Each reader's mails are one conversation.
    let mails = world.posts_of("press");
    assert_eq!(mails.len(), 8, "{mails:#?}");
    assert_eq!(
        mails.iter().filter(|mail| mail.in_reply_to.is_some()).count(),
        6,
        "{mails:#?}"
    );
    // A screen shows one page per alert, with all of it.
    let screens = world.posts_of("skarmar");
    assert_eq!(screens.len(), 4, "{screens:#?}");
    let mut pages: Vec<&str> = screens
        .iter()
        .filter_map(|p| p.remote_id.split('#').next())
        .collect();
    pages.dedup();
    assert_eq!(pages, [format!("{alert}.html")]);
    let said = world.cli(&["status", alert, "--json"]).await;
    assert_eq!(said.json().as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn what_never_got_out_is_superseded_by_what_is_newer() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: vec![("retry-after".to_owned(), "4".to_owned())],
        body: None,
    };
    world.fault("intranat", busy, 1);
    let said = world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"])
        .await
        .ended(0);
    let first = said.json();
    let (alert, broadcast) = (
        first["alert"].as_str().unwrap(),
        first["broadcast"].as_str().unwrap(),
    );
    world
        .until(broadcast, "intranat told to come back", |r| {
            list(r, "deliveries")
                .iter()
                .any(|d| d["account"] == "intranat" && !d["error"].is_null())
        })
        .await;
    let update = follow(&world, alert, "update", &["nytt=Tankbilar är på väg."]).await;
    assert_eq!(states(&update, "intranat"), ["published"]);
    let first = world.report(broadcast).await;
    assert_eq!(states(&first, "intranat"), ["superseded"], "{first:#}");
    let posts = world.posts_of("intranat");
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert!(posts[0].text.contains("Tankbilar"), "{posts:#?}");
}

#[tokio::test]
async fn after_the_all_clear_no_retry_brings_the_warning_back() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let refuse = || How::Answer {
        status: 400,
        headers: Vec::new(),
        body: None,
    };
    world.fault("intranat", refuse(), 1);
    let (_, first) = world.send(&["--to", "intranat", "--to", "webb"]).await;
    let (alert, broadcast) = (
        first["alert"].as_str().unwrap(),
        first["broadcast"].as_str().unwrap(),
    );
    assert_eq!(states(&first, "intranat"), ["refused"], "{first:#}");
    // Before anything newer, a person may let it run again; it is refused once more.
    world.fault("intranat", refuse(), 1);
    world
        .cli(&["retry", broadcast, "--account", "intranat"])
        .await
        .ended(0);
    world
        .until(broadcast, "refused again", |r| {
            states(r, "intranat") == ["refused"] && list(r, "deliveries").iter().any(|d| d["attempts"] == 2)
        })
        .await;
    let last = follow(&world, alert, "all-clear", &["--to=intranat"]).await;
    let newest = last["broadcast"].as_str().unwrap();
    for action in [None, Some("--hand-over")] {
        let mut args = vec!["retry", broadcast, "--account", "intranat", "--json"];
        args.extend(action);
        let said = world.cli(&args).await;
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.stdout.contains(newest), "it says what is newer: {said:?}");
    }
    let posts = world.posts_of("intranat");
    assert_eq!(posts.len(), 1, "only the all-clear: {posts:#?}");
    assert_eq!(states(&world.report(broadcast).await, "intranat"), ["refused"]);
}

#[tokio::test]
async fn a_retraction_takes_away_what_can_be_and_names_what_cannot() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let (_, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap();
    world.cli(&["retract", broadcast]).await.ended(2);
    assert!(world.posts().iter().all(|post| post.deleted_at.is_none()));

    // Mail cannot be taken back: the command says so, and that not all is gone.
    let retract = [
        "retract", broadcast, "--yes", "--wait", "--json", "--reason", "fel ort",
    ];
    let said = world.cli(&retract).await.ended(3);
    let after = said.json();
    for account in ["bluesky", "facebook", "intranat", "mastodon", "skarmar", "webb"] {
        let posts = world.posts_of(account);
        assert!(
            posts.iter().all(|post| post.deleted_at.is_some()),
            "{account}: {posts:#?}"
        );
    }
    assert_eq!(after["never"], serde_json::json!(["press"]), "{after:#}");
    assert_eq!(after["complete"], false, "{after:#}");
    assert!(
        list(&after, "retractions")
            .iter()
            .all(|r| r["account"] != "press"),
        "{after:#}"
    );

    // Again is harmless.
    let before = world.wall.seen().len();
    let again = world
        .cli(&["retract", broadcast, "--yes", "--json"])
        .await
        .ended(0);
    let again = again.json();
    assert_eq!(list(&again, "by_daemon"), [] as [Value; 0], "{again:#}");
    let deletions = |seen: &[vardkase::wall::Seen]| seen.iter().filter(|s| s.method == "DELETE").count();
    let seen = world.wall.seen();
    assert_eq!(deletions(&seen), deletions(&seen[..before]), "{seen:#?}");
}
