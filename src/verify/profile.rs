//! What a profile lacks of what the guideline demands of it, and whether somebody else has been there.

use std::collections::BTreeSet;

use super::sign;
use crate::channel::Kind;
use crate::clock::Timestamp;
use crate::config::{Fact, Verification};
use crate::model::{Look, Observation, Profile, Sign, Subject, Trouble};

/// What is known of an account whose profile is looked at.
#[derive(Debug, Clone)]
pub struct Looked<'a> {
    /// Whose.
    pub subject: Subject,
    /// Its channel.
    pub kind: &'static Kind,
    /// How accounts are looked after.
    pub rules: &'a Verification,
    /// The profile as it was before.
    pub before: Option<&'a Profile>,
    /// Ids of the posts that we made or know of.
    pub ours: &'a BTreeSet<String>,
    /// Since when an alert is active that went to the account; posts since then that are not ours are suspicious.
    pub alert_since: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// What the profile says of the account.
pub fn judge(looked: &Looked<'_>, profile: Profile) -> Observation {
    let mut signs = Vec::new();
    signs.extend(facts(looked, &profile));
    signs.extend(logo(looked, &profile));
    signs.extend(stale(looked, &profile));
    signs.extend(foreign(looked, &profile));
    signs.extend(changed(looked, &profile));
    Observation {
        profile: Some(profile),
        profile_at: Some(looked.now),
        ..Observation::new(looked.subject.clone(), Look::Profile, signs)
    }
}

/// The facts that are not found in any text or link of the profile.
pub fn missing<'a>(rules: &'a Verification, kind: &Kind, profile: &Profile) -> Vec<&'a Fact> {
    let links = profile.links.iter().map(url::Url::as_str);
    let texts: Vec<&str> = std::iter::once(profile.name.as_str())
        .chain(profile.texts.iter().map(String::as_str))
        .chain(links)
        .collect();
    rules
        .facts
        .iter()
        .filter(|fact| fact.channels.is_empty() || fact.channels.iter().any(|id| id == kind.id))
        .filter(|fact| {
            !fact
                .patterns
                .iter()
                .any(|pattern| texts.iter().any(|text| pattern.is_in(text)))
        })
        .collect()
}

fn facts(looked: &Looked<'_>, profile: &Profile) -> Option<Sign> {
    let missing = missing(looked.rules, looked.kind, profile);
    if missing.is_empty() {
        return None;
    }
    let words: Vec<&str> = missing.iter().map(|fact| fact.text.as_str()).collect();
    Some(sign(
        Trouble::ProfileFact,
        format!("Profilen säger inte {}.", words.join("; inte ")),
        "Skriv in det i profilen på tjänsten. Riktlinjerna, punkt 8, säger vad som ska stå.",
    ))
}

fn logo(looked: &Looked<'_>, profile: &Profile) -> Option<Sign> {
    let picture = profile.picture.as_ref()?;
    let approved = &looked.rules.logos;
    (!approved.is_empty() && !approved.contains(picture)).then(|| {
        sign(
            Trouble::Logo,
            "Profilbilden är inte någon av de godkända.",
            format!(
                "Byt till en godkänd bild. Har tjänsten bara räknat om den, lägg till dess summa under logos: {picture}"
            ),
        )
    })
}

fn stale(looked: &Looked<'_>, profile: &Profile) -> Option<Sign> {
    let latest = profile.latest.iter().map(|post| post.at).max()?;
    let days = looked.now.as_second().saturating_sub(latest.as_second()) / 86_400;
    (days >= i64::from(looked.rules.stale_days)).then(|| {
        sign(
            Trouble::Stale,
            format!("Ingen har publicerat något på {} dagar.", looked.rules.stale_days),
            format!(
                "Avgör om kontot behövs. Om inte, avsluta det i ordning: vardkase accounts close {}",
                looked.subject
            ),
        )
    })
}

/// Posts of the time of an alert that we did not make: a colleague's, or somebody's who has taken the account over.
fn foreign(looked: &Looked<'_>, profile: &Profile) -> Option<Sign> {
    let since = looked.alert_since?;
    let foreign: Vec<String> = profile
        .latest
        .iter()
        .filter(|post| post.at >= since && !looked.ours.contains(&post.remote_id))
        .map(|post| match &post.by {
            Some(by) => format!("{} ({by})", post.remote_id),
            None => post.remote_id.clone(),
        })
        .collect();
    if foreign.is_empty() {
        return None;
    }
    Some(sign(
        Trouble::ForeignPost,
        format!(
            "På kontot står inlägg som Vårdkase inte har gjort medan ett larm pågår: {}.",
            foreign.join(", ")
        ),
        format!(
            "Se efter vem som har skrivit. Är det ingen av oss: vardkase accounts disable {} --reason kapat",
            looked.subject
        ),
    ))
}

fn changed(looked: &Looked<'_>, profile: &Profile) -> Option<Sign> {
    let before = looked.before?;
    let mut what = Vec::new();
    if before.name != profile.name {
        what.push("namnet");
    }
    if before.texts != profile.texts {
        what.push("texten");
    }
    if before.links != profile.links {
        what.push("länkarna");
    }
    if before.picture.is_some() && before.picture != profile.picture {
        what.push("bilden");
    }
    if !before.admins.is_empty() && before.admins != profile.admins {
        what.push("vilka som sköter kontot");
    }
    (!what.is_empty()).then(|| {
        sign(
            Trouble::ProfileChanged,
            format!("Profilen har ändrats: {}.", what.join(", ")),
            "Se efter att ändringen är vår egen. Är den inte det kan kontot vara kapat.",
        )
    })
}
