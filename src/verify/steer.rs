//! What the last look at an account means for a message that goes now: one that did not answer is tried all the same, but
//! nobody waits for it. Nothing here stops or delays a message: what is not known for sure changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Timestamp, until};
use crate::confirm::words;
use crate::model::{AccountId, Reach, Reason, Seen, Sign, Trouble, UnreachableBefore};

/// What is known of an account before a message goes to it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The last look at it, if there was one.
    pub seen: Option<&'a Seen>,
    /// Since when its trouble is known, if that is longer than what was last seen stays the same.
    pub since: Option<Timestamp>,
    /// Whether it has taken something of us after that look.
    pub out_since: bool,
    /// How long a look counts.
    pub steers_for: Duration,
    /// Now.
    pub now: Timestamp,
}

/// Why nobody waits for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Since when.
    pub since: Timestamp,
    /// When it was last looked at.
    pub seen_at: Timestamp,
    /// What is amiss: the trouble's word, and a Swedish sentence.
    pub reason: Reason,
}

/// Why an account is not expected to get anything out, if that is what was last seen. Who was taken out of use is not
/// tried: that has its own way to the fallback.
pub fn trouble(seen: &Seen) -> Option<&Sign> {
    let signs = seen.observation.signs.iter();
    let mut grave =
        signs.filter(|sign| sign.trouble.reach() == Reach::Unreachable && sign.trouble != Trouble::Disabled);
    grave.next()
}

/// Whether an account is known not to answer. `None` if it answers, if nobody knows, or if what is known is old.
///
/// One question without an answer says nothing: our own way out may have been gone for a moment, for all accounts at once.
/// A second one does. A credential that is refused, and another account, are answers.
pub fn silent(known: &Known<'_>) -> Option<Silent> {
    let seen = known.seen?;
    let observation = &seen.observation;
    // A look from the future is of a clock that was wrong.
    let fresh = seen.at <= known.now && until(seen.at, known.now) <= known.steers_for;
    if observation.reach != Reach::Unreachable || !fresh || known.steers_for.is_zero() || known.out_since {
        return None;
    }
    let sign = trouble(seen)?;
    let since = known.since.map_or(seen.since, |since| since.min(seen.since));
    if sign.trouble == Trouble::NoAnswer && since >= seen.at {
        return None;
    }
    Some(Silent {
        since,
        seen_at: seen.at,
        reason: Reason::new(sign.trouble.as_str(), &sign.text),
    })
}

/// An account of a message, and who stands in for it.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// It is addressed by the message, and does not only stand in.
    pub addressed: bool,
    /// A person serves it.
    pub by_hand: bool,
    /// Who stands in for it.
    pub stand_in: Option<AccountId>,
}

/// Who takes over at once from the silent ones, and where a person is asked at once.
pub fn steer(
    links: &BTreeMap<AccountId, Link>,
    silent: &BTreeMap<AccountId, Silent>,
) -> Vec<UnreachableBefore> {
    let of = |(id, why): (&AccountId, &Silent)| {
        let link = links.get(id)?;
        Some(UnreachableBefore {
            account: id.clone(),
            since: why.since,
            seen_at: why.seen_at,
            reason: why.reason.clone(),
            takes_over: link.stand_in.clone(),
            // Who only stands in may have nothing to do.
            by_hand: link.addressed.then(|| by_hand(id, links, silent)).flatten(),
        })
    };
    silent.iter().filter_map(of).collect()
}

/// Where a person is asked to publish what a silent account is not expected to: at the end of its chain, unless somebody of
/// the chain answers or is not known not to.
fn by_hand(
    id: &AccountId,
    links: &BTreeMap<AccountId, Link>,
    silent: &BTreeMap<AccountId, Silent>,
) -> Option<AccountId> {
    let mut at = id;
    // There are no circles: the configuration is checked for them. The count is for whoever lets one in.
    for _ in 0..=links.len() {
        let Some(next) = links.get(at).and_then(|link| link.stand_in.as_ref()) else {
            return Some(id.clone());
        };
        if links.get(next).is_some_and(|link| link.by_hand) {
            return Some(next.clone());
        }
        if !silent.contains_key(next) {
            return None;
        }
        at = next;
    }
    Some(id.clone())
}

/// In two words what is the matter with it.
fn not_well(one: &UnreachableBefore) -> &'static str {
    if one.reason.code == Trouble::NoAnswer.as_str() {
        "Kontot har inte svarat"
    } else {
        "Kontot har inte fungerat"
    }
}

/// What is said of it before the message goes, in Swedish.
pub fn said(one: &UnreachableBefore, addressed: bool, now: Timestamp, zone: &str) -> String {
    let since = words::since(one.since, now, zone);
    let what = format!("{} sedan {since}: {}", not_well(one), one.reason.text);
    let then = match (&one.by_hand, &one.takes_over) {
        _ if !addressed => match &one.takes_over {
            Some(other) => format!("Om det behövs tar {other} över genast."),
            None => "Ingen tar över om det behövs.".to_owned(),
        },
        (Some(hand), _) if one.asks_a_person() => {
            format!("Det försöks ändå, men räkna med att lägga ut texten för hand på {hand}.")
        }
        (Some(hand), Some(other)) if hand == other => {
            format!("Det försöks ändå, och någon ombeds genast att lägga ut texten för hand på {hand}.")
        }
        (Some(hand), Some(other)) => format!(
            "Det försöks ändå, {other} tar över genast, och någon ombeds genast att lägga ut texten för hand på {hand}."
        ),
        (_, Some(other)) => format!("Det försöks ändå, och {other} tar över genast."),
        (_, None) => "Det försöks ändå.".to_owned(),
    };
    format!("{what} {then}")
}

#[cfg(test)]
mod tests;
