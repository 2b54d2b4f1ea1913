//! Kills the real daemon with SIGKILL again and again while it publishes to 30 accounts, starts it again, and holds what
//! it says against the wall's own ledger (promises R1, R2 and R3).
//!
//! `scripts/chaos N` runs it on the release binary. `VARDKASE_CHAOS_KILLS` says how often it is killed at random (60),
//! `VARDKASE_CHAOS_DATABASE` is a PostgreSQL address (SQLite otherwise) whose user may create databases.
#![allow(
    clippy::unwrap_used,
    reason = "this crate is a test throughout; the lint knows only functions marked so"
)]
#![allow(clippy::print_stdout, reason = "figures that the tests measured are printed")]

use vardkase::failpoint;

mod exchange;
mod expansion;
mod round;
#[path = "../support/mod.rs"]
mod support;
mod tally;

use round::{Arena, How};
use tally::Tally;

/// Kills after which everything begins anew: the simulators keep the services' daily limits.
const KILLS_PER_ARENA: usize = 40;

fn kills() -> usize {
    let text = std::env::var("VARDKASE_CHAOS_KILLS").unwrap_or_else(|_| "60".to_owned());
    text.parse().unwrap()
}

fn told(what: &str, tally: &Tally) {
    println!("{what}\n{}\n{what} JSON {}", tally.table(), tally.json());
    for fault in &tally.faults {
        println!("FAULT {fault}");
    }
}

fn holds(tally: &Tally) {
    assert_eq!(tally.lost, 0, "lost: {:#?}", tally.faults);
    for proof in ["keyed", "read-back", "unproven"] {
        // Accounts whose policy is to hold are never sent to again by themselves, so that even there nothing doubles.
        assert_eq!(tally.doubled(proof), 0, "doubled ({proof}): {:#?}", tally.faults);
    }
    assert_eq!(tally.untrue, 0, "untrue: {:#?}", tally.faults);
    assert!(tally.faults.is_empty(), "{:#?}", tally.faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_r2_r3_killed_at_random_nothing_is_lost_and_nothing_provable_is_posted_twice() {
    let mut tally = Tally::default();
    let mut left = kills();
    while left > 0 {
        let mut arena = Arena::open().await;
        let now = left.min(KILLS_PER_ARENA);
        for n in 0..now {
            let how = match n % 5 {
                0 | 1 => How::AtRandom,
                2 => How::AtRequest,
                3 => How::WhileDelayed,
                _ => How::AfterDone,
            };
            arena.kill(how, &mut tally).await;
        }
        arena.close().await;
        left -= now;
    }
    told("CHAOS", &tally);
    holds(&tally);
    assert_eq!(tally.kills, kills());
    // What was looked at was there to be seen.
    assert!(tally.pictures > 0 && tally.parts > 0, "{}", tally.json());
    let pictured = tally.pictures + tally.noted;
    assert!(
        tally.noted * 10 <= pictured,
        "too many without a picture: {}",
        tally.json()
    );
    // An unoptimised binary on a busy machine proves nothing about time.
    if !cfg!(debug_assertions) {
        assert!(tally.p99() < 2.0, "resume p99 {} s", tally.p99());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_killed_at_every_named_point_nothing_is_lost_and_nothing_provable_is_posted_twice() {
    let mut tally = Tally::default();
    let mut arena = Arena::open().await;
    let mut kills = 0;
    for name in failpoint::NAMES
        .iter()
        .filter(|name| !name.starts_with(EXPANSION) && !ELSEWHERE.iter().any(|start| name.starts_with(start)))
    {
        // Later too, in the midst of the fan-out. A command is one commit, and lanes are taken once.
        let passages: &[usize] = match name.split('-').next() {
            Some("accept") => &[1, 2],
            Some("lease") => &[1],
            _ => &[1, 9],
        };
        for nth in passages {
            Box::pin(arena.fail_at(name, *nth, &mut tally)).await;
            kills += 1;
        }
    }
    arena.close().await;
    told("FAILPOINTS", &tally);
    holds(&tally);
    assert_eq!(tally.kills, kills, "each point kills the process each time");
}

/// The points of lists in files, which the arena does not have.
const EXPANSION: &str = "expansion-";
/// Points that no message passes: the vault's are in `e2e/vault.rs`, those of a renewal in `e2e/connect.rs`.
const ELSEWHERE: &[&str] = &["vault-rotate.", "refresh-commit."];

#[tokio::test(flavor = "multi_thread")]
async fn r1_killed_at_every_commit_of_a_list_everybody_on_it_gets_one_message() {
    let points: Vec<&str> = failpoint::NAMES
        .iter()
        .copied()
        .filter(|name| name.starts_with(EXPANSION))
        .collect();
    assert_eq!(points.len(), 2);
    for point in points {
        for nth in 1..=3 {
            let faults = Box::pin(expansion::cut(point, nth)).await;
            assert!(faults.is_empty(), "{faults:#?}");
        }
    }
}

/// Worlds at once: each is a daemon and a wall, and most of their time they wait.
const WORLDS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn r1_every_channel_killed_at_every_request_of_its_exchange_publishes_once() {
    use futures::StreamExt;
    let runs = exchange::channels().map(|kind| tokio::spawn(exchange::cut_everywhere(kind)));
    let mut all: Vec<exchange::Cuts> = futures::stream::iter(runs)
        .buffer_unordered(WORLDS)
        .map(Result::unwrap)
        .collect()
        .await;
    all.sort_by_key(|cuts| cuts.channel);
    println!(
        "{:<14} {:<10} {:>8} {:>5} {:>4} {:>7} {:>7}",
        "channel", "proof", "requests", "kills", "lost", "doubled", "unknown"
    );
    for cuts in &all {
        println!(
            "{:<14} {:<10} {:>8} {:>5} {:>4} {:>7} {:>7}",
            cuts.channel, cuts.proof, cuts.requests, cuts.kills, cuts.lost, cuts.doubled, cuts.unknown
        );
    }
    let sum = |figure: fn(&exchange::Cuts) -> usize| all.iter().map(figure).sum::<usize>();
    let doubled = |proof: &str| -> usize {
        let of = all.iter().filter(|cuts| cuts.proof == proof);
        of.map(|cuts| cuts.doubled).sum()
    };
    let figures = serde_json::json!({
        "channels": all.len(),
        "kills": sum(|cuts| cuts.kills),
        "lost": sum(|cuts| cuts.lost),
        "doubled": {
            "keyed": doubled("keyed"),
            "read_back": doubled("read-back"),
            "unproven": doubled("unproven"),
        },
        "unknown": sum(|cuts| cuts.unknown),
    });
    println!("EXCHANGES JSON {figures}");
    let faults: Vec<_> = all
        .iter()
        .flat_map(|cuts| cuts.faults.iter().map(move |fault| (cuts.channel, fault)))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(all.iter().all(|cuts| cuts.lost == 0 && cuts.doubled == 0));
}
