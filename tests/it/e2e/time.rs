//! What the preview says of the time that a broadcast takes is what it takes.

use std::fmt::Write as _;

use crate::support::{Account, Plan, World, list};

#[tokio::test]
async fn a_broadcast_takes_as_long_as_the_preview_says() {
    let slow = Account::new("press", "email")
        .with("rate = \"4/1s\"")
        .with("burst = 2");
    let world = World::open(Plan::of(vec![slow, Account::new("intranat", "webhook")])).await;
    let mut recipients = String::new();
    for n in 0..12 {
        write!(recipients, "\"lasare-{n}@example.org\", ").unwrap();
    }
    let text = std::fs::read_to_string(&world.config).unwrap();
    let (before, after) = text.split_once("[list.press]\nrecipients = [").unwrap();
    let (_, rest) = after.split_once(']').unwrap();
    std::fs::write(
        &world.config,
        format!("{before}[list.press]\nrecipients = [{recipients}]{rest}"),
    )
    .unwrap();
    let _daemon = world.start().await;

    let what = ["preview", "koka-vattnet", "-f", "omrade=Forserum"];
    let preview = world
        .cli(&[&what[..], &["--json"]].concat())
        .await
        .ended(0)
        .json();
    // Two at once, ten more at four a second.
    assert_eq!(preview["takes_ms"], 2500, "{preview:#}");
    let of = |account: &str| {
        let found = list(&preview, "accounts")
            .iter()
            .find(|a| a["account"] == account);
        found.unwrap()["takes_ms"].as_u64().unwrap()
    };
    assert_eq!((of("press"), of("intranat")), (2500, 0));
    let said = world.cli(&what).await.ended(0);
    assert!(
        said.stdout
            .contains("takes at least 3 s under the account's limits"),
        "{said:?}"
    );
    assert!(said.stdout.contains("In all it takes at least 3 s."), "{said:?}");

    let (code, report) = world.send(&[]).await;
    assert_eq!((code, list(&report, "deliveries").len()), (0, 13), "{report:#}");
    let posts = world.posts_of("press");
    let span = posts[11].at.duration_since(posts[0].at).as_millis();
    // No faster than the limit; and not much slower, though this machine has other things to do.
    assert!((2300..6000).contains(&span), "{span} ms");
}
