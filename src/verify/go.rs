//! Go or no-go: which accounts would succeed now, which would not and why.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::model::{Condition, Look, Reach, Seen, Subject};

/// Whether to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every account would get the message out.
    Go,
    /// Some would not, or not whole.
    GoWithGaps,
    /// None would.
    NoGo,
}

/// How one account, or the daemon, stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whose.
    pub subject: Subject,
    /// How well it would do; `None` if it was never asked.
    pub reach: Option<Reach>,
    /// Since when it stands so.
    pub since: Option<Timestamp>,
    /// When it was last asked.
    pub seen_at: Option<Timestamp>,
    /// Whether that is longer ago than it should be.
    pub is_old: bool,
    /// What is amiss, each with its remedy.
    pub conditions: Vec<Condition>,
    /// Who takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// The page that answers "can we?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoPage {
    /// The answer.
    pub verdict: Verdict,
    /// When it was given.
    pub at: Timestamp,
    /// Accounts that would succeed, of all.
    pub ready: usize,
    /// How many there are.
    pub all: usize,
    /// The daemon itself: disk, clock, vault, relays, link.
    pub daemon: Readiness,
    /// The accounts, the worst first.
    pub accounts: Vec<Readiness>,
}

/// Puts a subject's latest observations and open conditions together.
pub fn readiness(
    subject: Subject,
    seen: &[Seen],
    conditions: &[Condition],
    old_after: std::time::Duration,
    now: Timestamp,
) -> Readiness {
    let last = seen
        .iter()
        .find(|one| one.observation.subject == subject && one.observation.look == Look::Reach);
    let conditions: Vec<Condition> = conditions
        .iter()
        .filter(|one| one.subject == subject)
        .cloned()
        .collect();
    // Of several looks the worst counts.
    let worst = conditions.iter().map(|one| one.sign.trouble.reach()).max();
    let reach = last.map(|one| one.observation.reach.max(worst.unwrap_or(Reach::Reachable)));
    Readiness {
        reach,
        since: last.map(|one| one.since),
        seen_at: last.map(|one| one.at),
        is_old: last.is_some_and(|one| crate::clock::later(one.at, old_after) < now),
        conditions,
        subject,
        fallback: None,
    }
}

/// The page over all.
pub fn page(daemon: Readiness, mut accounts: Vec<Readiness>, at: Timestamp) -> GoPage {
    accounts.sort_by(|a, b| {
        let order = |one: &Readiness| std::cmp::Reverse(one.reach.map_or(1, |reach| reach as u8));
        (order(a), &a.subject).cmp(&(order(b), &b.subject))
    });
    // Who was never asked is not known to be ready.
    let ready = accounts
        .iter()
        .filter(|one| matches!(one.reach, Some(Reach::Reachable | Reach::Degraded)))
        .count();
    let whole = accounts.iter().all(|one| one.reach == Some(Reach::Reachable))
        && daemon.reach.unwrap_or(Reach::Reachable) == Reach::Reachable;
    let verdict = match (ready, whole) {
        (_, true) => Verdict::Go,
        (0, false) => Verdict::NoGo,
        (_, false) => Verdict::GoWithGaps,
    };
    GoPage {
        verdict,
        at,
        ready,
        all: accounts.len(),
        daemon,
        accounts,
    }
}
