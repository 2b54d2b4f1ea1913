//! A machine whose clock is wrong or is set while alerts go out: the real binary under libfaketime, at services whose
//! clocks are right.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use vardkase::wall::{CutAt, How};

use crate::support::{Account, Daemon, PATIENCE, Plan, World, list, states};

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The daemon's clock.
struct Faked {
    library: &'static str,
    offset: PathBuf,
}

impl Faked {
    /// `None`, with a word, where the library is not there.
    fn of(world: &World) -> Option<Self> {
        let Some(library) = LIBRARIES.into_iter().find(|path| PathBuf::from(path).exists()) else {
            println!("skipped: no libfaketime here (scripts/test installs it where it can)");
            return None;
        };
        let offset = world.dir().join("clock");
        let faked = Self { library, offset };
        faked.set(0);
        Some(faked)
    }

    /// Sets the clock this many seconds from the right time.
    fn set(&self, seconds: i64) {
        // Read while it is written, half a number would be another time.
        let fresh = self.offset.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&fresh, &self.offset).unwrap();
    }

    /// Starts the daemon under this clock. What it measures spans with runs on as it does.
    async fn start(&self, world: &World) -> Daemon {
        let env = [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ];
        let mut daemon = world.spawn_with(&world.config, &[], &env);
        world.until_pid(&mut daemon).await;
        daemon
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn accounts() -> Vec<Account> {
    vec![
        Account::new("mastodon", "mastodon").with("settle_wait = \"1s\""),
        Account::new("facebook", "facebook-page").with("settle_wait = \"1s\""),
        Account::new("x", "x").with("settle_wait = \"1s\""),
        Account::new("intranat", "webhook"),
        Account::new("press", "email"),
    ]
}

fn down() -> How {
    How::Answer {
        status: 503,
        headers: Vec::new(),
        body: None,
    }
}

/// How often each account shows the text with this name in it.
fn shown(world: &World, area: &str) -> Vec<(String, usize)> {
    let of = |account: &str| {
        let posts = world.posts_of(account);
        posts.iter().filter(|post| post.text.contains(area)).count()
    };
    accounts()
        .into_iter()
        .map(|account| (account.id.clone(), of(&account.id)))
        .collect()
}

fn once() -> Vec<(String, usize)> {
    // Two on the list of the press.
    let times = |id: &str| if id == "press" { 2 } else { 1 };
    accounts()
        .into_iter()
        .map(|account| (account.id.clone(), times(&account.id)))
        .collect()
}

#[tokio::test]
async fn alerts_go_out_once_and_in_time_while_the_clock_is_set() {
    let world = World::open(Plan::of(accounts())).await;
    let Some(clock) = Faked::of(&world) else { return };
    let _daemon = clock.start(&world).await;
    let mut slowest = Duration::ZERO;
    for (n, (from, to)) in [
        (0, HOUR),
        (HOUR, 0),
        (0, -HOUR),
        (-HOUR, 0),
        (0, DAY),
        (DAY, 0),
        (0, -DAY),
    ]
    .into_iter()
    .enumerate()
    {
        clock.set(from);
        // One answer is lost after the post, one service does not answer at first.
        world.fault("facebook", How::DoneThenCut(CutAt::BeforeHeaders), 1);
        world.fault("intranat", down(), 2);
        let area = format!("Forserum{n}");
        let field = format!("omrade={area}");
        let began = Instant::now();
        let send = ["send", "koka-vattnet", "-f", &field, "--yes", "--json"];
        let said = world.cli(&send).await.ended(0).json();
        let broadcast = said["broadcast"].as_str().unwrap().to_owned();
        clock.set(to);
        let report = world
            .until(&broadcast, "out", |report| report["state"] == "completed")
            .await;
        slowest = slowest.max(began.elapsed());
        assert_eq!(states(&report, "facebook"), ["published"], "{report:#}");
        assert_eq!(shown(&world, &area), once(), "from {from} s to {to} s");
    }
    assert!(slowest < Duration::from_mins(1), "{slowest:?}");
    println!("R8 binary: 7 jumps of the clock, each with a lost answer: doubled 0, slowest {slowest:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_all_the_time_doubles_nothing() {
    let world = World::open(Plan::of(accounts())).await;
    let Some(clock) = Faked::of(&world) else { return };
    for (n, off) in [HOUR, -HOUR, DAY, -DAY].into_iter().enumerate() {
        clock.set(off);
        let mut daemon = clock.start(&world).await;
        for account in ["mastodon", "facebook", "x"] {
            world.fault(account, How::DoneThenCut(CutAt::BeforeHeaders), 1);
        }
        let area = format!("Malmback{n}");
        let field = format!("omrade={area}");
        let send = ["send", "koka-vattnet", "-f", &field, "--yes", "--wait", "--json"];
        world.cli(&send).await.ended(0);
        assert_eq!(shown(&world, &area), once(), "{off} s");
        daemon.sigterm();
        assert_eq!(daemon.ended(PATIENCE).await, Some(0), "{}", daemon.said());
    }
}

#[tokio::test]
async fn what_waited_when_the_clock_was_set_back_goes_on_in_time_after_a_crash() {
    let world = World::open(Plan::of(accounts())).await;
    let Some(clock) = Faked::of(&world) else { return };
    clock.set(DAY);
    let daemon = clock.start(&world).await;
    world.fault("intranat", down(), 3);
    world.fault("facebook", How::DoneThenHang, 1);
    let send = ["send", "koka-vattnet", "-f", "omrade=Solberga", "--yes", "--json"];
    let said = world.cli(&send).await.ended(0).json();
    let broadcast = said["broadcast"].as_str().unwrap().to_owned();
    world
        .until(&broadcast, "waiting", |report| {
            let waiting = list(report, "deliveries").iter();
            waiting
                .filter(|one| one["account"] == "intranat")
                .any(|one| one["state"] == "queued" && one["attempts"].as_u64() >= Some(2))
        })
        .await;
    daemon.kill9().await;
    clock.set(0);
    let began = Instant::now();
    let _daemon = clock.start(&world).await;
    world
        .until(&broadcast, "out", |report| report["state"] == "completed")
        .await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert_eq!(shown(&world, "Solberga"), once());
    let journal = world.get("/api/v1/journal").await;
    let told = list(&serde_json::json!({ "all": journal }), "all")
        .iter()
        .filter(|record| record["kind"] == "clock")
        .count();
    assert_eq!(told, 1, "{journal:#}");
}
