//! Accounts that fail: nobody else waits, nothing comes twice, and a person can finish what the daemon cannot.

use vardkase::wall::{CutAt, How};

use crate::support::{Account, CRISIS, PRESS, Plan, World, every_channel, list, states};

fn answer(status: u16) -> How {
    How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    }
}

/// Seconds from acceptance until an account's last delivery came to rest.
fn seconds(report: &serde_json::Value, account: &str) -> f64 {
    let time = |value: &serde_json::Value| -> vardkase::clock::Timestamp {
        value.as_str().unwrap().parse().unwrap()
    };
    let accepted = time(&report["accepted_at"]);
    let of_account = list(report, "deliveries")
        .iter()
        .filter(|d| d["account"] == account);
    let last = of_account.map(|d| time(&d["finished_at"])).max().unwrap();
    vardkase::clock::until(accepted, last).as_secs_f64()
}

#[tokio::test]
async fn a_sick_account_delays_nobody_and_a_refused_one_goes_to_a_person() {
    let mut accounts = every_channel();
    accounts.retain(|account| account.id != "radio");
    for account in &mut accounts {
        if account.id == "intranat" {
            *account = account.clone().with("attempt_timeout = \"1s\"");
        }
    }
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("intranat", answer(500), 1);
    world.fault("intranat", How::DoneThenHang, 1);
    world.fault("mastodon", answer(422), 1);
    let (code, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap();
    assert_eq!((code, &report["state"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(states(&report, "mastodon"), ["refused"]);
    assert_eq!(states(&report, "intranat"), ["published"]);
    let slow = seconds(&report, "intranat");
    for account in ["webb", "bluesky", "facebook", "skarmar", "press"] {
        assert!(
            seconds(&report, account) < slow.min(3.0),
            "{account} waited: {report:#}"
        );
        assert!(
            states(&report, account).iter().all(|state| state == "published"),
            "{report:#}"
        );
    }
    // 500, then accepted without an answer, then settled by its key: one post.
    assert_eq!(world.posts_of("intranat").len(), 1);
    assert_eq!(world.posts_of("mastodon"), []);
    world.told(broadcast, CRISIS.len()).await;

    // A person takes over, publishes, reports it: the broadcast is complete, and everybody is told again.
    let over = [
        "retry",
        broadcast,
        "--account",
        "mastodon",
        "--hand-over",
        "--reason",
        "tjänsten säger nej",
    ];
    world.cli(&over).await.ended(0);
    assert_eq!(states(&world.report(broadcast).await, "mastodon"), ["manual"]);
    let done = [
        "retry",
        broadcast,
        "--account",
        "mastodon",
        "--done",
        "https://social.nassjo.se/@kommun/1",
    ];
    world.cli(&done).await.ended(0);
    world.cli(&["status", broadcast]).await.ended(0);
    let report = world.told(broadcast, 2 * CRISIS.len()).await;
    assert_eq!(report["state"], "completed");
    assert_eq!(world.confirmations().len(), 2 * CRISIS.len());
    // Reporting it twice changes nothing, and says so.
    world.cli(&done).await.ended(3);
}

#[tokio::test]
async fn what_nobody_can_prove_waits_for_a_person() {
    let world = World::open(Plan::of(vec![Account::new("press", "email")])).await;
    let _daemon = world.start().await;
    let all = u32::try_from(PRESS.len()).unwrap();
    let mut sent = Vec::new();
    for _ in 0..2 {
        world.fault("press", How::DoneThenCut(CutAt::BeforeHeaders), all);
        let (code, report) = world.send(&[]).await;
        assert_eq!((code, &report["state"]), (3, &"failed".into()), "{report:#}");
        for delivery in list(&report, "deliveries") {
            assert_eq!(
                (&delivery["state"], &delivery["proof"]),
                (&"held".into(), &"unproven".into())
            );
            assert!(delivery["unknown_since"].is_string(), "{delivery:#}");
        }
        sent.push(report["broadcast"].as_str().unwrap().to_owned());
    }
    // They did get out, which only a person can find out: nothing is repeated by itself, nor by a plain retry.
    assert_eq!(world.posts().len(), 2 * PRESS.len());
    let said = world
        .cli(&["retry", &sent[0], "--account", "press"])
        .await
        .ended(3);
    assert!(said.stdout.contains("may have got through"), "{said:?}");
    world
        .cli(&["retry", &sent[0], "--account", "press", "--done"])
        .await
        .ended(0);
    world.cli(&["status", &sent[0]]).await.ended(0);
    assert_eq!(world.posts().len(), 2 * PRESS.len());

    world
        .cli(&["retry", &sent[1], "--account", "press", "--resend"])
        .await
        .ended(0);
    world
        .until(&sent[1], "sent again", |r| r["state"] == "completed")
        .await;
    assert_eq!(world.posts().len(), 3 * PRESS.len());
    // The repeat bears the same Message-ID, so that most readers see one letter.
    let mut ids: Vec<_> = world
        .posts()
        .into_iter()
        .map(|post| (post.recipient, post.key))
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2 * PRESS.len(), "{ids:#?}");
}
