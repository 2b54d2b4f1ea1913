//! Lists in files, through the real binary: each recipient once, whatever is cut off; whoever left not at all; a fault in
//! a list stops nobody else; and no address in the open.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Account, Plan, World, list};

const RESIDENTS: &str = "[list.boende]\nkind = \"phone\"\nfile = \"boende.csv\"";

fn sms() -> Account {
    Account::new("sms", "sms-46elks")
        .with("list = \"boende\"")
        .with("settle_wait = \"1s\"")
        .with("rate = \"none\"")
        .with("parallel = 32")
}

fn mails() -> Account {
    Account::new("press", "email")
        .with("list = \"boende\"")
        .with("rate = \"10000/1s\"")
        .with("burst = 1000")
        .with("parallel = 16")
}

fn write(world: &World, lines: impl Iterator<Item = String>) {
    let mut text = "namn;telefon;e-post\n".to_owned();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    std::fs::write(world.dir().join("boende.csv"), text).unwrap();
}

/// The account's recipients in a report.
fn counted<'v>(report: &'v Value, account: &str) -> &'v Value {
    let of_it = |one: &&Value| one["account"] == account;
    list(report, "recipients").iter().find(of_it).unwrap()
}

/// Waits for something that takes long in a debug build.
async fn until(world: &World, broadcast: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_mins(5);
    loop {
        if let Some((200, report)) = world
            .ask("GET", &format!("/api/v1/broadcasts/{broadcast}"), None, None)
            .await
            && is(&report)
        {
            return report;
        }
        assert!(Instant::now() < end, "never {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_get_one_text_each_though_the_daemon_is_killed_in_the_middle() {
    const MANY: usize = 20_000;
    let world = World::open(Plan::of(vec![sms()]).list(RESIDENTS)).await;
    write(&world, (0..MANY).map(|n| format!("Boende {n};070{n:07};")));
    let daemon = world.start().await;
    let said = world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"])
        .await
        .ended(0);
    let broadcast = said.json()["broadcast"].as_str().unwrap().to_owned();
    // Once while the list is being made into deliveries, once while most of it is.
    until(&world, &broadcast, "under way", |_| {
        world.wall.ledger().len() > 500
    })
    .await;
    let report = world.report(&broadcast).await;
    assert!(
        counted(&report, "sms")["waiting"].as_u64().unwrap() > 0,
        "{report:#}"
    );
    assert!(list(&report, "deliveries").len() <= 1000);
    assert!(report["omitted"].as_u64().unwrap() > 0);
    daemon.kill9().await;
    let daemon = world.start().await;
    until(&world, &broadcast, "half way", |_| {
        world.wall.ledger().len() > MANY / 2
    })
    .await;
    daemon.kill9().await;
    let _daemon = world.start().await;
    let report = until(&world, &broadcast, "finished", |report| {
        !report["finished_at"].is_null()
    })
    .await;

    assert_eq!(report["state"], "completed", "{:#}", report["recipients"]);
    assert_eq!(
        counted(&report, "sms")["states"]["published"],
        MANY,
        "{:#}",
        report["recipients"]
    );
    let posts = world.posts_of("sms");
    let reached: BTreeSet<&str> = posts
        .iter()
        .filter_map(|post| post.recipient.as_deref())
        .collect();
    assert_eq!(reached.len(), MANY, "lost {}", MANY - reached.len());
    assert_eq!(posts.len(), MANY, "doubled {}", posts.len() - MANY);
    let said = world.cli(&["status", &broadcast]).await.ended(0);
    assert!(said.stdout.contains("20000/20000 published"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_of_a_list_gets_one_letter_and_whoever_left_or_cannot_be_read_none() {
    const MANY: usize = 700;
    let lists = "[list.boende]\nfile = \"boende.csv\"\nunsubscribe = \"https://nassjo.se/avanmal/{token}\"";
    let world = World::open(Plan::of(vec![mails()]).list(lists)).await;
    let said = world
        .cli_with(
            &["credentials", "set", "press"],
            "unsubscribe_key=hemlig-nyckel-17\n",
        )
        .await;
    said.ended(0);
    let residents = (0..MANY).map(|n| format!("\"Boende; nr {n}\";;boende{n}@Forserum.example"));
    // One who stands there twice, written otherwise, and two lines that nobody can read.
    let more = ["Igen;;boende7@forserum.EXAMPLE", "Fel;;hemlig-adress", "Kort"].map(str::to_owned);
    write(&world, residents.chain(more));

    // A faulty line is told by file and number, its content by nobody, and it stops nothing.
    let said = world.cli(&["check"]).await.ended(0);
    assert!(
        said.stdout
            .contains(&format!("boende.csv:{}: expected", MANY + 3)),
        "{said:?}"
    );
    assert!(said.stdout.contains("701 recipients, 2 faulty lines"), "{said:?}");
    assert!(!said.stdout.contains("hemlig"), "{said:?}");

    let daemon = world.start().await;
    let left = "boende13@forserum.example";
    let said = world
        .cli(&["recipients", "suppress", left, "--reason", "har flyttat"])
        .await
        .ended(0);
    assert!(said.stdout.contains("b…@forserum.example"), "{said:?}");
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()));
    let press = counted(&report, "press");
    assert_eq!(press["states"]["published"], MANY - 1, "{press:#}");
    for (key, n) in [
        ("suppressed", 1),
        ("repeated", 1),
        ("faulty_lines", 2),
        ("waiting", 0),
    ] {
        assert_eq!(press[key], n, "{key}: {press:#}");
    }
    let posts = world.posts_of("press");
    let readers: BTreeSet<String> = posts.iter().filter_map(|post| post.recipient.clone()).collect();
    assert_eq!(
        (posts.len(), readers.len()),
        (MANY - 1, MANY - 1),
        "nobody got two"
    );
    assert!(!readers.contains(left));

    let said = world.cli(&["recipients", "suppressed"]).await.ended(0);
    assert!(said.stdout.contains("har flyttat"), "{said:?}");
    world.cli(&["recipients", "restore", left]).await.ended(0);
    let said = world.cli(&["recipients", "suppressed", "--json"]).await.ended(0);
    assert_eq!(said.json(), serde_json::json!([]));
    let (_, report) = world.send(&[]).await;
    assert_eq!(counted(&report, "press")["suppressed"], 0);

    let log = world.cli(&["log", "show", "--json"]).await.ended(0);
    for open in [&log.stdout, &daemon.said()] {
        assert!(!open.contains("boende13@") && !open.contains("boende7@"));
    }
    daemon.sigterm();
}

#[tokio::test]
async fn a_list_that_cannot_be_read_stops_its_own_account_and_nobody_else() {
    let accounts = vec![sms(), Account::new("intranat", "webhook")];
    let world = World::open(Plan::of(accounts).list(RESIDENTS)).await;
    // The file is not there: the daemon starts, `check` and `preview` tell, and the others go.
    let said = world.cli(&["check"]).await.ended(1);
    assert!(
        said.stdout.contains("list.boende") && said.stdout.contains("boende.csv"),
        "{said:?}"
    );
    let _daemon = world.start().await;
    let ask = ["preview", "koka-vattnet", "-f", "omrade=Forserum"];
    let said = world.cli(&ask).await.ended(0);
    assert!(
        said.stdout.contains("Listan boende går inte att använda"),
        "{said:?}"
    );
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(world.posts_of("intranat").len(), 1);
    let sms = counted(&report, "sms");
    assert_eq!(
        (&sms["stopped_as"], &sms["error"]["code"]),
        (&"refused".into(), &"list".into()),
        "{sms:#}"
    );
    world.told(report["broadcast"].as_str().unwrap(), 2).await;
    let mail = world.confirmations().remove(0).text;
    assert!(mail.contains("sms") && mail.contains("Rätta listan"), "{mail}");
    // With nothing else to send to, nothing is accepted.
    let only = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--yes",
        "--to",
        "sms",
    ];
    let said = world.cli(&only).await.ended(4);
    assert!(said.stderr.contains("boende"), "{said:?}");
    // Mended, it goes, without a restart.
    write(&world, ["Åsa;0701740605;".to_owned()].into_iter());
    let (code, report) = world.send(&["--to", "sms"]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    assert_eq!(world.posts_of("sms").len(), 1);
}

#[tokio::test]
async fn a_list_stands_in_for_another_account_s_list_by_address() {
    let lists = "[list.boende]\nfile = \"boende.csv\"";
    let accounts = vec![
        mails().with("fallback = \"reserv\""),
        Account::new("reserv", "email").with("list = \"boende\""),
    ];
    let world = World::open(Plan::of(accounts).list(lists)).await;
    write(&world, (0..3).map(|n| format!("B;;boende{n}@forserum.example")));
    let _daemon = world.start().await;
    // One mailbox is not there. The mail's account is not known when the recipient is named.
    let fault = vardkase::wall::Fault {
        how: vardkase::wall::How::Answer {
            status: 550,
            headers: Vec::new(),
            body: Some("5.1.1 no such mailbox".to_owned()),
        },
        path: Some("boende1".to_owned()),
        method: None,
        after: 0,
        times: 1,
    };
    let smtp = "smtp".parse().unwrap();
    world.wall.fault(vardkase::model::Mode::Live, &smtp, fault);
    let (_, report) = world.send(&["--to", "press"]).await;
    let to = |account: &str| -> Vec<String> {
        let mut to: Vec<_> = world
            .posts_of(account)
            .into_iter()
            .filter_map(|p| p.recipient)
            .collect();
        to.sort();
        to
    };
    assert_eq!(
        to("press"),
        ["boende0@forserum.example", "boende2@forserum.example"],
        "{report:#}"
    );
    assert_eq!(to("reserv"), ["boende1@forserum.example"], "{report:#}");
    let reserve = counted(&report, "reserv");
    assert_eq!(
        (&reserve["spared"], &reserve["states"]["published"]),
        (&2.into(), &1.into()),
        "{reserve:#}"
    );
    // It is known now that nobody is there: the next message goes to the stand-in at once.
    let said = world.cli(&["recipients", "suppressed"]).await.ended(0);
    assert!(said.stdout.contains("5.1.1"), "{said:?}");
    world.send(&["--to", "press"]).await;
    assert_eq!(to("reserv").len(), 2);
    assert_eq!(to("press").len(), 4);
}
