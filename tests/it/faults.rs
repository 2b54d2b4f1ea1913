//! Services that misbehave, against the real binary: what the daemon says afterwards is held against the wall's ledger.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use vardkase::clock::{Clock, SystemClock, Timestamp, later};
use vardkase::model::Mode;
use vardkase::wall::{CutAt, Fault, How};

use crate::support::{Account, Plan, World, eventually, list};

/// Channels that let us know whether a post got out, with the path of the request that publishes.
const PROVABLE: &[(&str, &str)] = &[
    ("http-json", "/"),
    ("mastodon", "/statuses"),
    ("bluesky", "/xrpc/com.atproto.repo."),
    ("facebook-page", "/feed"),
    ("webhook", "/"),
];

fn account(id: String, channel: &'static str) -> Account {
    let account = Account::new(id, channel)
        .with("rate = \"1000/1s\"")
        .with("burst = 100");
    match channel {
        "mastodon" | "facebook-page" => account.with("settle_wait = \"500ms\""),
        _ => account,
    }
}

/// `n` accounts of every provable channel, `<channel>-<i>`.
fn provable(n: usize) -> Vec<Account> {
    let each = |&(channel, _): &(&'static str, &str)| {
        (0..n).map(move |i| account(format!("{channel}-{i}"), channel))
    };
    PROVABLE.iter().flat_map(each).collect()
}

/// Makes the next request that publishes on an account go wrong.
fn strike(world: &World, id: &str, how: How) {
    let path = PROVABLE.iter().find(|(channel, _)| id.starts_with(channel));
    let fault = Fault {
        how,
        path: path.map(|(_, path)| (*path).to_owned()),
        method: path.map(|_| "POST".to_owned()),
        after: 0,
        times: 1,
    };
    world.wall.fault(Mode::Live, &id.parse().unwrap(), fault);
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// How long a delivery took from acceptance to rest.
fn took(report: &Value, account: &str) -> f64 {
    let delivery = of(report, account);
    seconds(time(&delivery["queued_at"]), time(&delivery["finished_at"]))
}

fn of<'v>(report: &'v Value, account: &str) -> &'v Value {
    let mut all = list(report, "deliveries").iter();
    all.find(|d| d["account"] == account).unwrap()
}

/// Whether a delivery is published, its post stands once in the ledger, and is the one that the receipt names.
fn is_true(world: &World, delivery: &Value) -> bool {
    let posts = world.posts_of(delivery["account"].as_str().unwrap());
    let [post] = posts.as_slice() else { return false };
    let id = delivery["remote_id"].as_str().unwrap_or_default();
    delivery["state"] == "published" && (id == post.remote_id || Some(id) == post.key.as_deref())
}

/// Sends the notice for another area than [`World::send`] does: Facebook refuses the same words twice.
async fn send_elsewhere(world: &World) -> Value {
    let args = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Malmbäck",
        "--yes",
        "--wait",
        "--json",
    ];
    let said = world.cli(&args).await;
    assert!([0, 3].contains(&said.code), "{said:?}");
    said.json()
}

/// A line of `/proc/<pid>/status`, in KiB or as a count.
fn status(pid: i32, name: &str) -> i64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn open_files(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn r11_an_answer_cut_anywhere_is_settled_to_the_true_post_or_shown_as_unknown() {
    let cuts = [
        CutAt::BeforeHeaders,
        CutAt::Reset,
        CutAt::MidHeaders,
        CutAt::MidBody,
        CutAt::TruncatedJson,
    ];
    let mut accounts = provable(cuts.len());
    for i in 0..cuts.len() {
        accounts.push(account(format!("utan-nyckel-{i}"), "webhook").with("keyed = false"));
        accounts.push(account(format!("press-{i}"), "email"));
    }
    let world = World::open(Plan::of(accounts.clone())).await;
    let daemon = world.start().await;
    for account in &accounts {
        let i: usize = account.id.rsplit('-').next().unwrap().parse().unwrap();
        strike(&world, &account.id, How::DoneThenCut(cuts[i]));
    }
    let (_, report) = world.send(&[]).await;
    let (mut settled, mut unknown, mut wrong) = (0, 0, String::new());
    for delivery in list(&report, "deliveries") {
        let shown = delivery["state"] == "held" && delivery["unknown_since"].is_string();
        if delivery["proof"] == "unproven" && shown {
            unknown += 1;
        } else if delivery["proof"] != "unproven" && is_true(&world, delivery) {
            settled += 1;
        } else if delivery["proof"] == "unproven" && delivery["state"] == "published" {
            // A recipient whose answer was not cut, or a receipt that was read before the cut.
        } else {
            writeln!(wrong, "{delivery}").unwrap();
        }
    }
    println!(
        "R11 settled {settled}, unknown {unknown}, wrong {}",
        wrong.lines().count()
    );
    assert_eq!(wrong, "");
    assert_eq!(settled, PROVABLE.len() * cuts.len());
    // Every mail that was cut, and every keyless receiver but at most the one that answered a whole 200.
    assert!(unknown >= 2 * cuts.len() - 1, "{report:#}");
    for i in 0..cuts.len() {
        assert_eq!(world.posts_of(&format!("utan-nyckel-{i}")).len(), 1);
        assert_eq!(
            world.posts_of(&format!("press-{i}")).len(),
            2,
            "one for each recipient"
        );
    }
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_slow_answer_ends_at_the_deadline_and_leaves_nothing_behind() {
    let account = |i| {
        account(format!("langsam-{i}"), "webhook")
            .with("keyed = false")
            .with("attempt_timeout = \"2s\"")
    };
    let world = World::open(Plan::of((0..5).map(account).collect())).await;
    let daemon = world.start().await;
    let (code, report) = world.send(&[]).await;
    assert_eq!(code, 0);
    world.told(report["broadcast"].as_str().unwrap(), 1).await;
    let (files, threads) = (open_files(daemon.pid()), status(daemon.pid(), "Threads:"));
    for i in 0..5 {
        strike(&world, &format!("langsam-{i}"), How::Trickle);
    }
    let (_, report) = world.send(&[]).await;
    let mut times = Vec::new();
    for i in 0..5 {
        let id = format!("langsam-{i}");
        assert_eq!(of(&report, &id)["state"], "held");
        // What is held has not come to rest; the broadcast has when its last attempt was given up.
        times.push(seconds(
            time(&of(&report, &id)["queued_at"]),
            time(&report["finished_at"]),
        ));
    }
    println!("R12 attempts of 2 s ended after {times:.2?} s");
    assert!(times.iter().all(|t| (1.0..=3.0).contains(t)), "{times:?}");
    eventually("its sockets are closed", || open_files(daemon.pid()) <= files).await;
    println!(
        "R12 open files {files} before, {} after; threads {threads} before, {} after",
        open_files(daemon.pid()),
        status(daemon.pid(), "Threads:")
    );
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r13_a_huge_answer_costs_little_memory() {
    let hows = [How::Huge(1 << 30), How::Bomb(10 << 30), How::ManyHeaders(100_000)];
    let world = World::open(Plan::of(provable(hows.len()))).await;
    let daemon = world.start().await;
    let (code, report) = world.send(&[]).await;
    assert_eq!(code, 0, "{report:#}");
    world.told(report["broadcast"].as_str().unwrap(), 1).await;
    let before = status(daemon.pid(), "VmHWM:");
    for (channel, _) in PROVABLE {
        for (i, how) in hows.iter().enumerate() {
            strike(&world, &format!("{channel}-{i}"), how.clone());
        }
    }
    let report = send_elsewhere(&world).await;
    let growth = status(daemon.pid(), "VmHWM:") - before;
    println!("R13 peak memory grew by {growth} KiB");
    assert!(growth < 16 * 1024, "{growth} KiB");
    for (channel, _) in PROVABLE {
        for i in 0..hows.len() {
            let id = format!("{channel}-{i}");
            assert_eq!(of(&report, &id)["state"], "published", "{}", of(&report, &id));
            assert_eq!(world.posts_of(&id).len(), 2, "{id}");
        }
    }
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r14_a_redirect_is_never_followed() {
    let codes = [301, 302, 303, 307, 308];
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // A port of the machine's choosing may be one that somebody else still speaks to: only who asks for this came from us.
    let path = format!("/{}", uuid::Uuid::new_v4());
    let target = format!("http://{}{path}", other.local_addr().unwrap());
    let came = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&came);
    let listener = tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let (counter, path) = (Arc::clone(&counter), path.clone());
            tokio::spawn(async move {
                let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    asked.extend_from_slice(&buffer[..n]);
                    if String::from_utf8_lossy(&asked).contains(&path) {
                        counter.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
            });
        }
    });
    let world = World::open(Plan::of(provable(codes.len()))).await;
    let daemon = world.start().await;
    for (channel, _) in PROVABLE {
        for (i, code) in codes.into_iter().enumerate() {
            let how = How::Answer {
                status: code,
                headers: vec![("location".to_owned(), target.clone())],
                body: None,
            };
            strike(&world, &format!("{channel}-{i}"), how);
        }
    }
    // The measure measured: whoever follows it is counted.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    client.get(&target).send().await.unwrap_err();
    eventually("counted", || came.swap(0, Ordering::SeqCst) == 1).await;
    world.send(&[]).await;
    let answered = world.wall.seen();
    let redirects = answered
        .iter()
        // 354 is how a mail server asks for the letter.
        .filter(|seen| seen.method != "SMTP" && (300..400).contains(&seen.status))
        .count();
    let came = came.load(Ordering::SeqCst);
    println!("R14 redirects answered {redirects}, connections to their target {came}");
    assert_eq!((redirects, came), (PROVABLE.len() * codes.len(), 0));
    listener.abort();
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r15_an_unreadable_yes_is_never_a_no_and_never_a_second_post() {
    let bodies: [Vec<u8>; 7] = [
        Vec::new(),
        b"<html><body>Tack!</body></html>".to_vec(),
        b"{\"id\": [1, 2], \"uri\": 7, \"url\": {}}".to_vec(),
        b"{\"id\": null, \"uri\": null, \"cid\": NaN}".to_vec(),
        vec![b'"'; 5 << 20],
        vec![0xff, 0xfe, 0x00, 0xc3, 0x28],
        vec![b'['; 100_000],
    ];
    let world = World::open(Plan::of(provable(bodies.len()))).await;
    let mut daemon = world.start().await;
    for (channel, _) in PROVABLE {
        for (i, body) in bodies.iter().enumerate() {
            strike(
                &world,
                &format!("{channel}-{i}"),
                How::DoneThenBytes(body.clone()),
            );
        }
    }
    let (_, report) = world.send(&[]).await;
    let deliveries = list(&report, "deliveries");
    let wrong: Vec<_> = deliveries.iter().filter(|d| !is_true(&world, d)).collect();
    println!(
        "R15 unreadable answers {}, wrong {}",
        deliveries.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!daemon.is_gone() && !daemon.said().contains("panicked"));
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r16_a_penalty_is_sat_out_and_survives_a_restart() {
    const PENALTY: Duration = Duration::from_secs(6);
    // Facebook names no time as a rule; its adapter then leaves the page alone for minutes.
    let waits_by_itself = |id: &str| ["facebook-page-3", "facebook-page-4"].contains(&id);
    let world = World::open(Plan::of(provable(5))).await;
    let daemon = world.start().await;
    let date = later(SystemClock.now(), PENALTY + Duration::from_secs(2));
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let after = [Some("6"), Some(&*date), Some("315360000"), Some("-1"), None];
    for (channel, _) in PROVABLE {
        for (i, value) in after.iter().enumerate() {
            let headers = value.map(|v| ("retry-after".to_owned(), v.to_owned()));
            let how = How::Answer {
                status: 429,
                headers: headers.into_iter().collect(),
                body: None,
            };
            strike(&world, &format!("{channel}-{i}"), how);
        }
    }
    let said = world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"])
        .await
        .ended(0);
    let broadcast = said.json()["broadcast"].as_str().unwrap().to_owned();
    let waits = |report: &Value| {
        let all = PROVABLE
            .iter()
            .flat_map(|(channel, _)| [0, 1, 2].map(|i| format!("{channel}-{i}")));
        all.into_iter().all(|id| of(report, &id)["error"].is_object())
    };
    world.until(&broadcast, "told to wait", waits).await;
    daemon.kill9().await;
    let daemon = world.start().await;
    let report = world
        .until(&broadcast, "at rest", |report| {
            let mut open = list(report, "deliveries").iter();
            open.all(|d| d["next_at"].is_null() || waits_by_itself(d["account"].as_str().unwrap()))
        })
        .await;
    let (mut early, mut handed_over) = (Vec::new(), 0);
    for (channel, path) in PROVABLE {
        for i in 0..5 {
            let id = format!("{channel}-{i}");
            let seen = world.wall.seen();
            let asked: Vec<_> = seen
                .iter()
                .filter(|s| s.account.as_str() == id && s.method == "POST" && s.path.contains(path))
                .collect();
            if i == 2 {
                // Longer than the message is valid: a person's work at once.
                assert_eq!(of(&report, &id)["state"], "manual", "{id}");
                assert_eq!(asked.len(), 1, "{id}");
                handed_over += 1;
                continue;
            }
            if waits_by_itself(&id) {
                assert_eq!(of(&report, &id)["state"], "queued", "{id}");
                assert_eq!(asked.len(), 1, "{id}");
                continue;
            }
            assert!(is_true(&world, of(&report, &id)), "{}", of(&report, &id));
            let all = seen.iter().filter(|s| s.account.as_str() == id);
            let next = all.filter(|s| s.at > asked[0].at).map(|s| s.at).min().unwrap();
            if i < 2 && seconds(asked[0].at, next) < PENALTY.as_secs_f64() - 0.05 {
                early.push((id, seconds(asked[0].at, next)));
            }
        }
    }
    println!(
        "R16 accounts {}, handed over {handed_over}, requests during a penalty {}",
        5 * PROVABLE.len(),
        early.len()
    );
    assert!(early.is_empty(), "{early:?}");
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c9_an_account_that_hangs_floods_or_fails_delays_no_other() {
    let names = ["frisk-0", "frisk-1", "frisk-2", "hanger", "strypt", "trasig"];
    let accounts = names.map(|id| account(id.to_owned(), "webhook").with("attempt_timeout = \"2s\""));
    let world = World::open(Plan::of(accounts.to_vec())).await;
    let daemon = world.start().await;
    let (_, calm) = world.send(&[]).await;
    let answer = |status, after: Option<&str>| How::Answer {
        status,
        headers: after
            .map(|v| ("retry-after".to_owned(), v.to_owned()))
            .into_iter()
            .collect(),
        body: None,
    };
    world.fault("hanger", How::Hang, 1);
    world.fault("strypt", answer(429, Some("3")), 1);
    world.fault("trasig", answer(500, None), 1);
    let (_, report) = world.send(&[]).await;
    let slowest = |report: &Value| {
        let healthy = names.iter().filter(|id| id.starts_with("frisk"));
        healthy.map(|id| took(report, id)).fold(0.0, f64::max)
    };
    let (before, beside) = (slowest(&calm), slowest(&report));
    let sick: Vec<f64> = ["hanger", "strypt", "trasig"]
        .map(|id| took(&report, id))
        .to_vec();
    println!(
        "C9 healthy accounts took {before:.3} s alone, {beside:.3} s beside sick ones, which took {sick:.1?} s"
    );
    assert!(beside < before + 1.0, "{report:#}");
    assert!(sick.iter().all(|t| *t > beside + 0.5), "{report:#}");
    daemon.kill9().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_after_nothing_is_left_no_request_is_made_before_the_reset() {
    let world = World::open(Plan::of(vec![account("mastodon-0".to_owned(), "mastodon")])).await;
    let daemon = world.start().await;
    let reset = later(SystemClock.now(), Duration::from_secs(8));
    let how = How::DoneThenAnswer {
        status: 200,
        headers: [
            ("content-type", "application/json"),
            ("X-RateLimit-Limit", "300"),
            ("X-RateLimit-Remaining", "0"),
            ("X-RateLimit-Reset", &reset.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        body: Some("{\"id\":\"1\"}".to_owned()),
    };
    strike(&world, "mastodon-0", how);
    let (code, first) = world.send(&[]).await;
    assert_eq!(
        (code, &of(&first, "mastodon-0")["state"]),
        (0, &"published".into())
    );
    let answered = SystemClock.now();
    assert!(answered < reset, "the test is too slow to tell anything");
    // Another one, and a daemon that has to remember it.
    let args = ["send", "koka-vattnet", "-f", "omrade=Malmbäck", "--yes", "--json"];
    let said = world.cli(&args).await.ended(0).json();
    let second = said["broadcast"].as_str().unwrap().to_owned();
    daemon.kill9().await;
    let daemon = world.start().await;
    let published = |report: &Value| of(report, "mastodon-0")["state"] == "published";
    world.until(&second, "published", published).await;
    let posts = |s: &&vardkase::wall::Seen| s.method == "POST" && s.path.contains("/statuses");
    let seen = world.wall.seen();
    let at: Vec<Timestamp> = seen.iter().filter(posts).map(|s| s.at).collect();
    assert_eq!(at.len(), 2);
    assert!(
        at[1] >= reset,
        "asked {} s before the reset",
        seconds(at[1], reset)
    );
    let ours = seen.iter().filter(|s| s.account.as_str() == "mastodon-0");
    let between = ours.filter(|s| s.at > answered && s.at < reset);
    assert_eq!(between.count(), 0, "{seen:?}");
    println!(
        "C7 the next request {:.3} s after the reset",
        seconds(reset, at[1])
    );
    daemon.kill9().await;
}
