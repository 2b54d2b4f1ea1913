//! Whether every account would get a message out now: what an answer means, what a profile lacks, when to look again, and
//! whether to go. Pure: asking the accounts and keeping what was seen is done in [`crate::app`].

use std::time::Duration;

use crate::channel::Kind;
use crate::clock::Timestamp;
use crate::config::Verification;
use crate::model::{Identity, Look, Observation, Quota, Reach, Reason, SendError, Sign, Subject, Trouble};

pub mod backstage;
pub mod certificate;
pub mod go;
pub mod notice;
pub mod profile;
pub mod schedule;
pub mod steer;

/// What is known of an account before it is asked.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Whose health.
    pub subject: Subject,
    /// Its channel.
    pub kind: &'static Kind,
    /// Whether a person can sign it in with `credentials connect`.
    pub signs_in: bool,
    /// How accounts are looked after.
    pub rules: &'a Verification,
    /// Who it was when it was last asked and answered.
    pub known: Option<&'a Identity>,
    /// What the service last said of how much more it takes.
    pub quota: Option<Quota>,
    /// A person took it out of use, with the reason.
    pub disabled: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// What an answer, or its absence, says of the account.
pub fn judge(asked: &Asked<'_>, answer: Result<Identity, SendError>) -> Observation {
    let mut signs = Vec::new();
    if let Some(why) = asked.disabled {
        let account = &asked.subject;
        signs.push(sign(
            Trouble::Disabled,
            format!("Kontot är taget ur bruk: {why}."),
            format!("Ta det i bruk igen när faran är över: vardkase accounts enable {account}"),
        ));
    }
    let identity = match answer {
        Ok(identity) => {
            signs.extend(signs_of(asked, &identity));
            Some(identity)
        }
        // It was not asked: the switch is all that there is to say.
        Err(_) if asked.disabled.is_some() => None,
        Err(error) => {
            signs.push(failure(asked, &error));
            None
        }
    };
    signs.extend(asked.quota.and_then(|quota| scarce(quota, asked)));
    Observation {
        identity,
        ..Observation::new(asked.subject.clone(), Look::Reach, signs)
    }
}

fn sign(trouble: Trouble, text: impl Into<String>, remedy: impl Into<String>) -> Sign {
    Sign {
        trouble,
        text: text.into(),
        remedy: remedy.into(),
        step: None,
    }
}

/// Why an account that does not do what it should does not.
fn failure(asked: &Asked<'_>, error: &SendError) -> Sign {
    let account = &asked.subject;
    let reason = error.reason();
    let renew = renewal(asked);
    match error {
        SendError::Credential(_) => sign(
            Trouble::Credential,
            format!("Tjänsten tar inte emot vår inloggning: {reason}."),
            renew,
        ),
        SendError::Refused(refused) => refusal(asked, refused),
        SendError::Busy { .. } => sign(
            Trouble::Quota,
            format!("Tjänsten ber oss vänta: {reason}."),
            "Vårdkase väntar och frågar igen. Skicka inget i onödan på kontot.",
        ),
        SendError::NotSent(_) | SendError::Unknown(_) if is_ours(reason) => sign(
            Trouble::Credential,
            format!("Inloggningen saknas eller kan inte läsas: {reason}."),
            renew,
        ),
        SendError::NotSent(_) | SendError::Unknown(_) => sign(
            Trouble::NoAnswer,
            format!("Tjänsten svarar inte: {reason}."),
            format!(
                "Se efter om tjänsten är nere och om vår förbindelse ut fungerar. Fråga igen: vardkase verify --account {account}"
            ),
        ),
    }
}

/// Whether the reason is about what the vault holds: no service was asked.
fn is_ours(reason: &Reason) -> bool {
    reason.code == "no-credential"
}

fn refusal(asked: &Asked<'_>, reason: &Reason) -> Sign {
    match reason.code.as_str() {
        "wrong-token" => sign(
            Trouble::WrongAccount,
            format!("Inloggningen hör till ett annat konto: {reason}."),
            format!("Logga in som rätt konto. {}", renewal(asked)),
        ),
        "scope" => sign(
            Trouble::Credential,
            format!("Inloggningen får inte publicera: {reason}."),
            renewal(asked),
        ),
        _ if is_ours(reason) => sign(
            Trouble::Credential,
            format!("Inloggningen saknas eller kan inte läsas: {reason}."),
            renewal(asked),
        ),
        _ => sign(
            Trouble::Credential,
            format!("Tjänsten säger nej: {reason}."),
            format!(
                "Läs vad felet säger i docs/channels/{}.md. {}",
                asked.kind.id,
                renewal(asked)
            ),
        ),
    }
}

/// How a person gets a new credential.
fn renewal(asked: &Asked<'_>) -> String {
    let account = &asked.subject;
    let by = if asked.signs_in { "connect" } else { "set" };
    format!("Lägg in en ny inloggning: vardkase credentials {by} {account}")
}

fn signs_of(asked: &Asked<'_>, identity: &Identity) -> Vec<Sign> {
    let mut signs = Vec::new();
    let before = asked.known.and_then(|known| known.id.as_deref());
    if let (Some(before), Some(now)) = (before, identity.id.as_deref())
        && before != now
    {
        signs.push(sign(
            Trouble::WrongAccount,
            format!("Kontot är inte det som det var: {} ({now}), tidigare {before}.", identity.name),
            format!(
                "Se efter på tjänsten vem kontot tillhör. Är bytet meningen, bekräfta det: vardkase verify --account {} --accept",
                asked.subject
            ),
        ));
    }
    signs.extend(identity.expires_at.and_then(|at| expiring(at, asked)));
    if let Some(rights) = &identity.rights {
        let list =
            |of: &std::collections::BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(", ");
        if !rights.missing.is_empty() {
            signs.push(sign(
                Trouble::RightMissing,
                format!("Inloggningen saknar rättigheter: {}.", list(&rights.missing)),
                renewal(asked),
            ));
        }
        if !rights.surplus.is_empty() {
            signs.push(sign(
                Trouble::RightSurplus,
                format!("Inloggningen får mer än den behöver: {}.", list(&rights.surplus)),
                format!("Skapa en inloggning med bara det som behövs. {}", renewal(asked)),
            ));
        }
    }
    if !identity.flaws.is_empty() {
        let all: Vec<String> = identity.flaws.iter().map(ToString::to_string).collect();
        signs.push(sign(
            Trouble::Flaw,
            format!("Kontot svarar, men: {}.", all.join("; ")),
            format!("Läs vad det betyder i docs/channels/{}.md.", asked.kind.id),
        ));
    }
    signs
}

/// A credential that ends is told once at each of the days on the list.
fn expiring(at: Timestamp, asked: &Asked<'_>) -> Option<Sign> {
    const DAY: i64 = 86_400;
    let left = at.as_second().saturating_sub(asked.now.as_second());
    let days = u32::try_from(left.max(0).saturating_add(DAY - 1) / DAY).unwrap_or(u32::MAX);
    let step = asked
        .rules
        .expiry_days
        .iter()
        .copied()
        .filter(|step| days <= *step)
        .min()?;
    let text = if left <= 0 {
        "Inloggningen har gått ut.".to_owned()
    } else if days == 1 {
        "Inloggningen går ut inom ett dygn.".to_owned()
    } else {
        format!("Inloggningen går ut om {days} dagar.")
    };
    Some(Sign {
        step: Some(step),
        ..sign(Trouble::Expiring, text, renewal(asked))
    })
}

fn scarce(quota: Quota, asked: &Asked<'_>) -> Option<Sign> {
    let limit = quota.limit.filter(|limit| *limit > 0)?;
    let share = quota.left.saturating_mul(100) / limit;
    (share < u64::from(asked.rules.quota_reserve)).then(|| {
        sign(
            Trouble::Quota,
            format!("Bara {} av {limit} anrop återstår hos tjänsten.", quota.left),
            "Skicka inget i onödan på kontot. Se efter om något annat använder samma konto.",
        )
    })
}

/// How long each trouble must last before it is told: a service that is away for a moment wakes nobody.
pub fn patience(rules: &Verification) -> std::collections::BTreeMap<Trouble, Duration> {
    [
        Trouble::NoAnswer,
        Trouble::Link,
        Trouble::Relay,
        Trouble::Heartbeat,
        Trouble::Quota,
    ]
    .into_iter()
    .map(|trouble| (trouble, rules.patience))
    .collect()
}

/// How soon an account is asked again that did not answer.
pub fn again(reach: Reach, every: Duration) -> Duration {
    const SOON: Duration = Duration::from_mins(1);
    match reach {
        Reach::Reachable | Reach::Degraded => every,
        Reach::Unreachable => SOON.min(every),
    }
}

#[cfg(test)]
mod tests;
