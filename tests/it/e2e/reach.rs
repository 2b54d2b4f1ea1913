//! Whether every account would get a message out now: asked on schedule and on command, told once, and again when it is
//! over.

use std::time::{Duration, Instant};

use serde_json::Value;

use vardkase::wall::How;

use crate::support::{Account, Plan, World};

/// Looks every second, and tells at once.
fn watched(accounts: Vec<Account>, more: &str) -> Plan {
    let mut plan = Plan::of(accounts);
    plan.watch = format!("[verification]\nevery = \"1s\"\npatience = \"0s\"\nprofile_every = \"1s\"\n{more}");
    plan
}

/// Asks until the go page is as wanted.
async fn until_go(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = world.get("/api/v1/go").await;
        if is(&page) {
            return page;
        }
        assert!(Instant::now() < end, "not {what}: {page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn of<'a>(page: &'a Value, subject: &str) -> &'a Value {
    page["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["subject"] == subject)
        .unwrap()
}

/// Subjects of the mails to the crisis organisation so far, confirmations apart.
fn mails(world: &World) -> Vec<String> {
    let mails = world.confirmations().into_iter();
    let told = mails.filter_map(|posted| posted.subject);
    told.filter(|subject| !subject.contains("Bekräftelse")).collect()
}

fn answer(status: u16) -> How {
    How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    }
}

async fn until_mail(world: &World, start: &str) -> usize {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = mails(world);
        let many = all.iter().filter(|subject| subject.starts_with(start)).count();
        if many > 0 {
            return many;
        }
        assert!(Instant::now() < end, "no mail {start}: {all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_goes_is_told_once_with_its_remedy_and_once_again_when_it_is_back() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("intranat", "webhook"),
    ];
    let world = World::open(watched(accounts, "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    world.fault("mastodon-nassjo", answer(401), 0);
    let page = until_go(&world, "with gaps", |page| page["verdict"] == "go-with-gaps").await;
    let one = of(&page, "mastodon-nassjo");
    assert_eq!(one["reach"], "unreachable");
    // That the practice profile is no whole one is told beside it.
    let condition = one["conditions"].as_array().unwrap().iter();
    let condition = condition.clone().find(|one| one["trouble"] == "credential");
    let remedy = condition.expect("the credential")["remedy"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(remedy.contains("vardkase credentials"), "{remedy}");
    assert_eq!(of(&page, "intranat")["reach"], "reachable");
    until_mail(&world, "LARM: mastodon-nassjo").await;
    // Asked again and again meanwhile, and told once to each of them.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let alarms = mails(&world);
    let alarms = alarms
        .iter()
        .filter(|subject| subject.starts_with("LARM"))
        .count();
    assert_eq!(alarms, crate::support::CRISIS.len());
    let status = world.cli(&["status"]).await.ended(0).stdout;
    assert!(status.contains("GO, WITH GAPS · 1 of 2 accounts"), "{status}");
    assert!(
        status.contains("→ Lägg in en ny inloggning: vardkase credentials connect mastodon-nassjo"),
        "{status}"
    );
    let verify = world
        .cli(&["verify", "--account", "mastodon-nassjo"])
        .await
        .ended(3)
        .stdout;
    assert!(verify.contains("UNREACHABLE"), "{verify}");
    world.heal("mastodon-nassjo");
    until_go(&world, "go again", |page| page["verdict"] == "go").await;
    until_mail(&world, "Över: mastodon-nassjo").await;
    let history = world
        .cli(&["verify", "--account", "mastodon-nassjo", "--history", "--json"])
        .await;
    let reaches: Vec<Value> = history
        .ended(0)
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reach"].clone())
        .collect();
    let reaches: Vec<&str> = reaches
        .iter()
        .filter_map(Value::as_str)
        .filter(|reach| *reach != "degraded")
        .collect();
    assert!(
        reaches.ends_with(&["unreachable", "reachable"]) || reaches.contains(&"unreachable"),
        "{reaches:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_relay_takes_the_mail_the_alarm_goes_the_other_way_round() {
    let accounts = vec![
        Account::new("mastodon-nassjo", "mastodon"),
        Account::new("ntfy-jour", "ntfy"),
    ];
    let plan = watched(accounts, "\n[alarm]\nvia = [\"ntfy-jour\"]\n");
    let world = World::open(plan).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    world.fault("confirmation", answer(451), 0);
    world.fault("mastodon-nassjo", answer(401), 0);
    let end = Instant::now() + Duration::from_secs(40);
    while !world
        .posts_of("ntfy-jour")
        .iter()
        .any(|post| post.text.contains("LARM: mastodon-nassjo"))
    {
        assert!(Instant::now() < end, "{:#?}", world.posts_of("ntfy-jour"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_says_so_when_it_is_back_and_one_that_ended_itself_says_nothing() {
    let world = World::open(watched(vec![Account::new("intranat", "webhook")], "")).await;
    let mut daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    daemon.sigterm();
    assert_eq!(daemon.ended(Duration::from_secs(25)).await, Some(0));
    let daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    assert_eq!(mails(&world), Vec::<String>::new());
    daemon.kill9().await;
    let _daemon = world.start().await;
    until_mail(&world, "Varning: Vårdkase: startade om").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_look_stays_away_from_an_account_that_has_something_to_publish() {
    let world = World::open(watched(vec![Account::new("mastodon-nassjo", "mastodon")], "")).await;
    let _daemon = world.start().await;
    until_go(&world, "go", |page| page["verdict"] == "go").await;
    let busy = How::Answer {
        status: 429,
        headers: vec![("retry-after".to_owned(), "30".to_owned())],
        body: None,
    };
    world.fault("mastodon-nassjo", busy, 0);
    world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"])
        .await
        .ended(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = world.wall.seen().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let since: Vec<_> = world
        .wall
        .seen()
        .into_iter()
        .skip(asked)
        .filter(|seen| seen.path.contains("mastodon"))
        .collect();
    assert!(since.is_empty(), "{since:#?}");
}
