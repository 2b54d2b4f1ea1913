//! Go or no-go in lines: the answer first, then who would not succeed and what to do, then the rest in one line.

use crate::model::{Reach, Subject};
use crate::verify::go::{GoPage, Readiness, Verdict};

/// How well a subject would do, in a word.
pub fn word(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::Reachable) => "reachable",
        Some(Reach::Degraded) => "DEGRADED",
        Some(Reach::Unreachable) => "UNREACHABLE",
        None => "not asked",
    }
}

/// Prints the page.
pub fn show(page: &GoPage) {
    let verdict = match page.verdict {
        Verdict::Go => "GO",
        Verdict::GoWithGaps => "GO, WITH GAPS",
        Verdict::NoGo => "NO GO",
    };
    outln!(
        "{verdict} · {} of {} accounts would succeed now",
        page.ready,
        page.all
    );
    subject(&page.daemon);
    for account in &page.accounts {
        subject(account);
    }
}

/// Shows a subject that is not simply well.
fn subject(one: &Readiness) {
    let is_well = one.reach == Some(Reach::Reachable) && one.conditions.is_empty() && !one.is_old;
    if is_well || (one.subject == Subject::Daemon && one.reach.is_none() && one.conditions.is_empty()) {
        return;
    }
    let since = one.since.map(|at| format!(" since {at}")).unwrap_or_default();
    let old = if one.is_old { " (asked long ago)" } else { "" };
    let fallback = one
        .fallback
        .as_ref()
        .filter(|_| one.reach == Some(Reach::Unreachable))
        .map(|account| format!(" · {account} takes over"))
        .unwrap_or_default();
    outln!("  {:<22} {}{since}{old}{fallback}", one.subject, word(one.reach));
    for condition in &one.conditions {
        outln!("    {}", condition.sign.text);
        outln!("    → {}", condition.sign.remedy);
    }
}
