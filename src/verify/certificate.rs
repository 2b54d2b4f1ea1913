//! The certificate: whether every account is reachable, and what that rests on. First what is not reachable, then what was
//! not asked lately enough to say, then the rest. What is old is never claimed. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::{Value, context};

use super::go::{self, Readiness};
use super::steer::{self, Known};
use crate::clock::{Timestamp, later};
use crate::config::{Account, Config};
use crate::confirm::words;
use crate::mail::{self, Sheet};
use crate::model::{Condition, Identity, Letter, Look, Proves, Reach, Seen, Subject, Trouble};
use crate::register::words::{channel, day_text};

const SHEET: Sheet = Sheet {
    name: "certificate",
    html: include_str!("../../templates/mail/certificate.html"),
    text: include_str!("../../templates/mail/certificate.txt"),
};

/// An answer that is this many times older than accounts are asked counts no more.
pub const OLD_AFTER: u32 = 3;
/// What lies so far ahead was seen by a clock that was wrong.
const CLOCK_SLACK: Duration = Duration::from_mins(1);
/// What is said of an account whose service alone answers.
const PRESENT_ONLY: &str = "Att inloggningen gäller visar sig först när något publiceras.";
/// What is said of an account that nobody can ask.
const CANNOT: &str = "Kontot kan inte tillfrågas utan att publicera.";
/// Accounts that the subject names.
const NAMED: usize = 3;

/// How an account stands for the certificate. Ordered as they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A message would not get out.
    Unreachable,
    /// Nobody has asked it, or too long ago to say; or it cannot be asked.
    Unknown,
    /// It would, but not all of it.
    Degraded,
    /// It would.
    Reachable,
    /// A person serves it: there is nothing to ask.
    ByHand,
}

/// Since when something stands as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Since then …
    pub at: Timestamp,
    /// … or longer: what was before is not known.
    pub at_least: bool,
}

/// Since when the newest of these has stood as it does. What was seen of one account, newest first.
pub fn since(history: &[Seen]) -> Option<Since> {
    let mut looks = history.iter().filter(|one| one.observation.look == Look::Reach);
    let newest = looks.next()?;
    let mut at = newest.since;
    for earlier in looks {
        if earlier.observation.reach != newest.observation.reach {
            return Some(Since { at, at_least: false });
        }
        at = earlier.since;
    }
    Some(Since { at, at_least: true })
}

/// What the certificate is written from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The accounts, how often they are asked, and who sends.
    pub config: &'a Config,
    /// What was last seen.
    pub seen: &'a [Seen],
    /// What is amiss.
    pub conditions: &'a [Condition],
    /// Since when each account stands as it does.
    pub since: &'a BTreeMap<Subject, Since>,
    /// When it was due.
    pub due: Timestamp,
    /// Whether that has passed without it.
    pub is_late: bool,
    /// Earlier ones that were missed too.
    pub missed: usize,
    /// Now.
    pub now: Timestamp,
}

/// The certificate.
#[derive(Debug, Clone)]
pub struct Certificate<'a> {
    facts: &'a Facts<'a>,
    rows: Vec<(Standing, &'a Account, Readiness)>,
}

/// After how long an answer of the account counts no more.
pub fn old_after(config: &Config, account: &Account) -> Duration {
    let every = config.verification.every.max(account.channel.verify_every);
    every.saturating_mul(OLD_AFTER)
}

/// Whether what was seen says nothing of now: it is too old, or of a clock that was wrong.
pub fn is_stale(seen_at: Option<Timestamp>, old_after: Duration, now: Timestamp) -> bool {
    seen_at.is_none_or(|at| later(at, old_after) < now || at > later(now, CLOCK_SLACK))
}

impl<'a> Certificate<'a> {
    /// Judges every account.
    pub fn of(facts: &'a Facts<'a>) -> Self {
        let judge = |account: &'a Account| {
            let subject = Subject::Account(account.id.clone());
            let old_after = old_after(facts.config, account);
            let one = go::readiness(subject, facts.seen, facts.conditions, old_after, facts.now);
            let standing = if account.channel.can.by_hand {
                Standing::ByHand
            } else if is_stale(one.seen_at, old_after, facts.now) {
                Standing::Unknown
            } else {
                match one.reach {
                    None => Standing::Unknown,
                    Some(Reach::Unreachable) => Standing::Unreachable,
                    Some(_) if proves(facts, &one.subject) == Some(Proves::Nothing) => Standing::Unknown,
                    Some(Reach::Degraded) => Standing::Degraded,
                    Some(Reach::Reachable) => Standing::Reachable,
                }
            };
            (standing, account, one)
        };
        let mut rows: Vec<_> = facts.config.accounts.values().map(judge).collect();
        rows.sort_by_key(|(standing, account, one)| {
            (*standing, one.conditions.is_empty(), account.id.clone())
        });
        Self { facts, rows }
    }

    /// The ids of the accounts that stand so.
    pub fn those(&self, standing: Standing) -> Vec<&'a str> {
        let those = self.rows.iter().filter(|(is, ..)| *is == standing);
        those.map(|(_, account, _)| account.id.as_str()).collect()
    }

    /// How many accounts stand so, with an answer that proves this.
    fn that_prove(&self, standing: Standing, what: Proves) -> usize {
        let those = self.rows.iter().filter(|(is, account, one)| {
            let old_after = old_after(self.facts.config, account);
            *is == standing
                && !is_stale(one.seen_at, old_after, self.facts.now)
                && proves(self.facts, &one.subject) == Some(what)
        });
        those.count()
    }

    /// How many accounts there are to ask.
    pub fn asked(&self) -> usize {
        self.rows.len() - self.those(Standing::ByHand).len()
    }

    /// One line that says it all on a locked phone.
    pub fn subject(&self) -> String {
        let daemon = self.daemon();
        let is_wrong = !daemon.conditions.is_empty() && !self.is_old(&daemon);
        let ours = if is_wrong {
            "; fel på Vårdkase självt"
        } else {
            ""
        };
        format!("Intyg: {}{ours}", self.short())
    }

    /// How Vårdkase itself stands.
    fn daemon(&self) -> Readiness {
        let Facts {
            config,
            seen,
            conditions,
            now,
            ..
        } = self.facts;
        let old = config.verification.every.saturating_mul(OLD_AFTER);
        go::readiness(Subject::Daemon, seen, conditions, old, *now)
    }

    /// Whether what was seen of Vårdkase itself says nothing of now.
    fn is_old(&self, daemon: &Readiness) -> bool {
        let old = self.facts.config.verification.every.saturating_mul(OLD_AFTER);
        is_stale(daemon.seen_at, old, self.facts.now)
    }

    fn short(&self) -> String {
        let all = self.asked();
        let (not, unknown) = (self.those(Standing::Unreachable), self.those(Standing::Unknown));
        let degraded = self.those(Standing::Degraded).len();
        match (all, not.len(), unknown.len()) {
            (0, ..) => "det finns inget konto att fråga".to_owned(),
            (1, 1, _) => format!("kontot nås INTE: {}", named(&not)),
            (all, not_out, 0) if not_out == all => {
                format!("INGET av {all} konton nås: {}", named(&not))
            }
            (_, 1.., 0) => format!("{} av {all} konton nås INTE: {}", not.len(), named(&not)),
            (_, 1.., _) => format!(
                "{} av {all} konton nås INTE: {}; {} vet vi inte",
                not.len(),
                named(&not),
                unknown.len()
            ),
            (1, 0, 1..) => format!("vi vet inte om kontot nås: {}", named(&unknown)),
            (_, 0, 1..) => format!(
                "vi vet inte om {} av {all} konton nås: {}",
                unknown.len(),
                named(&unknown)
            ),
            (1, 0, 0) if degraded > 0 => "kontot nås bara delvis".to_owned(),
            (1, 0, 0) => "kontot nås".to_owned(),
            (_, 0, 0) if degraded > 0 => format!("alla {all} konton nås, {degraded} bara delvis"),
            (_, 0, 0) => format!("alla {all} konton nås"),
        }
    }

    /// The first sentences.
    fn verdict(&self) -> String {
        let all = self.asked();
        let count = |standing| self.those(standing).len();
        let cannot = self.that_prove(Standing::Unknown, Proves::Nothing);
        let present = self.that_prove(Standing::Reachable, Proves::Presence)
            + self.that_prove(Standing::Degraded, Proves::Presence);
        let mut said = Vec::new();
        match (all, count(Standing::Unreachable), count(Standing::Unknown)) {
            (0, ..) => said.push(
                "Det finns inget konto att fråga i konfigurationen. Intyget säger därför inget om att kommunen når ut."
                    .to_owned(),
            ),
            (1, 0, 0) if present > 0 => said.push("Kontot nås: tjänsten svarar.".to_owned()),
            (_, 0, 0) if present > 0 => said.push(format!("Alla {all} konton nås: vart och ett har svarat.")),
            (_, 0, 0) => said.push(if all == 1 {
                "Kontot nås: det har svarat och tagit emot vår inloggning.".to_owned()
            } else {
                format!("Alla {all} konton nås: vart och ett har svarat och tagit emot vår inloggning.")
            }),
            (_, not, unknown) => {
                match not {
                    0 => {}
                    1 if all == 1 => said.push("Kontot nås INTE.".to_owned()),
                    not if not == all => said.push(format!("INGET av de {all} kontona nås.")),
                    not => said.push(format!("{not} av {all} konton nås INTE.")),
                }
                match unknown - cannot {
                    0 => {}
                    1 if all == 1 => said.push(
                        "Kontot har inte svarat på länge. Vi kan inte säga om det nås.".to_owned(),
                    ),
                    unknown if unknown == all => said.push(format!(
                        "Inget av de {all} kontona har svarat på länge. Vi kan inte säga om de nås."
                    )),
                    unknown => said.push(format!(
                        "Om {unknown} av {all} konton vet vi inte: färska svar saknas."
                    )),
                }
                match cannot {
                    0 => {}
                    1 if all == 1 => said.push(format!("{CANNOT} Vi vet inte om det nås.")),
                    1 => said.push(format!(
                        "Om 1 av {all} konton vet vi inte: det kan inte tillfrågas utan att publicera."
                    )),
                    many => said.push(format!(
                        "Om {many} av {all} konton vet vi inte: de kan inte tillfrågas utan att publicera."
                    )),
                }
                match count(Standing::Reachable) + count(Standing::Degraded) {
                    0 => {}
                    well => said.push(format!("{well} av {all} konton nås.")),
                }
            }
        }
        match present {
            0 => {}
            _ if all == 1 => said.push(PRESENT_ONLY.to_owned()),
            many => said.push(format!(
                "För {many} av dem som nås visar det sig först när något publiceras att inloggningen gäller."
            )),
        }
        match count(Standing::Degraded) {
            0 => {}
            1 if all == 1 => said.push("Det får bara ut delar av ett meddelande.".to_owned()),
            many => said.push(format!(
                "{many} av dem som nås får bara ut delar av ett meddelande."
            )),
        }
        let other = self
            .rows
            .iter()
            .filter(|(standing, _, one)| *standing == Standing::Reachable && !one.conditions.is_empty());
        match other.count() {
            0 => {}
            1 => said.push("1 konto som nås har något annat att rätta till.".to_owned()),
            many => said.push(format!("{many} konton som nås har något annat att rätta till.")),
        }
        match count(Standing::ByHand) {
            0 => {}
            1 => said.push("1 konto sköts av en person och kan inte tillfrågas.".to_owned()),
            many => said.push(format!(
                "{many} konton sköts av en person och kan inte tillfrågas."
            )),
        }
        said.join(" ")
    }

    /// The mail.
    ///
    /// # Errors
    /// If a template is broken; the text says which.
    pub fn letter(&self) -> Result<Letter, String> {
        let Facts {
            config,
            due,
            is_late,
            missed,
            now,
            ..
        } = self.facts;
        let zone = config.municipality.time_zone.as_str();
        let daemon = self.daemon();
        let of = context! {
            verdict => self.verdict(),
            late => is_late.then(|| words::moment(*due, zone)),
            missed,
            moment => words::moment(*now, zone),
            rows => self.rows.iter().map(|row| self.row(row)).collect::<Vec<Value>>(),
            daemon => context! {
                looked => daemon.seen_at.map(|at| words::moment(at, zone)),
                is_old => self.is_old(&daemon),
                lacks => lacks(&daemon.conditions, zone),
            },
        };
        mail::write(SHEET, self.subject(), &config.municipality, of)
    }

    fn row(&self, (standing, account, one): &(Standing, &'a Account, Readiness)) -> Value {
        let zone = self.facts.config.municipality.time_zone.as_str();
        let last = |look| {
            let mut seen = self.facts.seen.iter();
            seen.find(|seen| seen.observation.subject == one.subject && seen.observation.look == look)
        };
        let reach = last(Look::Reach);
        let (mark, colour) = match standing {
            Standing::Unreachable => ("NÅS INTE", "#b3261e"),
            Standing::Unknown => ("VET INTE", "#b3261e"),
            Standing::Degraded => ("DELVIS", "#7a5300"),
            Standing::Reachable => ("NÅS", "#1b6b32"),
            Standing::ByHand => ("FÖR HAND", "#555555"),
        };
        let identity = reach.and_then(|seen| seen.observation.identity.as_ref());
        let is_old = *standing == Standing::Unknown
            && is_stale(one.seen_at, old_after(self.facts.config, account), self.facts.now);
        let is_asked = *standing != Standing::ByHand;
        // What an account told that does not answer any more, or answers as another one, is no fact of now.
        let is_reached = matches!(standing, Standing::Reachable | Standing::Degraded);
        let known_end = identity.filter(|_| is_asked && !is_reached);
        let identity = identity.filter(|_| is_reached);
        context! {
            mark, colour,
            account => account.id.as_str(),
            channel => channel(account.channel.id),
            who => identity.and_then(who),
            word => self.word((*standing, is_old), &one.subject, reach),
            looked => reach.filter(|_| is_asked).map(|seen| words::moment(seen.at, zone)),
            is_old => is_old && reach.is_some(),
            facts => if let Some(identity) = identity {
                let mut facts = match identity.proves {
                    Proves::SignIn => vec![self.valid(identity), rights(identity)],
                    Proves::Presence | Proves::Nothing => vec![format!("Tjänsten svarar. {PRESENT_ONLY}")],
                };
                facts.extend(self.profile(account, one, last(Look::Profile)));
                facts
            } else {
                known_end.and_then(|identity| self.told_end(identity)).into_iter().collect()
            },
            then => is_old,
            lacks => if is_asked { lacks(&one.conditions, zone) } else { Vec::new() },
            fallback => self.taken_over(*standing, account, reach),
        }
    }

    /// Who takes over from an account that may not get a message out, and when; `None` if nobody does.
    fn taken_over(&self, standing: Standing, account: &Account, reach: Option<&Seen>) -> Option<String> {
        if !matches!(standing, Standing::Unreachable | Standing::Unknown) {
            return None;
        }
        let other = account.fallback.as_ref()?;
        // The same question as a message asks: only who is known not to answer is not waited for.
        let is_steered = steer::silent(&Known {
            seen: reach,
            since: None,
            out_since: false,
            steers_for: self.facts.config.verification.steers_for,
            now: self.facts.now,
        })
        .is_some();
        let mut rows = self.rows.iter();
        let of_other = rows
            .find(|(_, account, _)| account.id == *other)
            .map(|(is, ..)| *is);
        let begins = match (of_other, is_steered) {
            (Some(Standing::ByHand), true) => {
                format!("När ett meddelande skickas ombeds en person genast att lägga ut det på {other}")
            }
            (Some(Standing::ByHand), false) => {
                format!("Får kontot inte ut ett meddelande ombeds en person att lägga ut det på {other}")
            }
            (_, true) => format!("{other} tar över genast när ett meddelande skickas"),
            (_, false) => format!("Får kontot inte ut ett meddelande tar {other} över"),
        };
        let but = match of_other {
            Some(Standing::Unreachable) => format!(", men {other} nås inte heller"),
            Some(Standing::Unknown) => format!(", men vi vet inte om {other} nås"),
            Some(Standing::Degraded | Standing::Reachable | Standing::ByHand) | None => String::new(),
        };
        Some(format!("{begins}{but}."))
    }

    /// How it stands, and since when.
    fn word(&self, (standing, is_old): (Standing, bool), subject: &Subject, reach: Option<&Seen>) -> String {
        let zone = self.facts.config.municipality.time_zone.as_str();
        let since = self.facts.since.get(subject).map(|since| {
            let least = if since.at_least { " åtminstone" } else { "" };
            format!("{least} sedan {}", words::moment(since.at, zone))
        });
        let since = since.unwrap_or_default();
        match (standing, reach.map(|seen| seen.observation.reach)) {
            (Standing::Unreachable, _) => format!("Nås inte{since}."),
            (Standing::Degraded, _) => format!("Nås delvis{since}."),
            (Standing::Reachable, _) => format!("Nås{since}."),
            (Standing::ByHand, _) => "Sköts av en person. Vårdkase kan inte fråga.".to_owned(),
            (Standing::Unknown, Some(_)) if !is_old => CANNOT.to_owned(),
            (Standing::Unknown, None) => "Har aldrig tillfrågats.".to_owned(),
            (Standing::Unknown, Some(Reach::Unreachable)) => {
                "Vi vet inte hur det står till nu. När vi sist frågade nåddes det inte.".to_owned()
            }
            (Standing::Unknown, Some(Reach::Reachable | Reach::Degraded)) => {
                "Vi vet inte hur det står till nu. När vi sist frågade nåddes det.".to_owned()
            }
        }
    }

    fn valid(&self, identity: &Identity) -> String {
        let zone = self.facts.config.municipality.time_zone.as_str();
        match identity.expires_at {
            Some(at) if at <= self.facts.now => format!("Inloggningen gick ut {}.", day_text(at, zone)),
            Some(at) => format!("Inloggningen gäller till {}.", day_text(at, zone)),
            None => "Tjänsten säger inte hur länge inloggningen gäller.".to_owned(),
        }
    }

    /// Until when the credential was to hold, by the word of an account that does not answer now.
    fn told_end(&self, identity: &Identity) -> Option<String> {
        let zone = self.facts.config.municipality.time_zone.as_str();
        let end = identity.expires_at?;
        let word = if end <= self.facts.now {
            "gick inloggningen ut"
        } else {
            "gäller inloggningen till"
        };
        Some(format!(
            "Enligt kontots senaste svar {word} {}.",
            day_text(end, zone)
        ))
    }

    /// What the profile tells; `None` where there is none to read.
    fn profile(&self, account: &Account, one: &Readiness, read: Option<&Seen>) -> Option<String> {
        if !account.channel.can.profile {
            return None;
        }
        let config = self.facts.config;
        let zone = config.municipality.time_zone.as_str();
        let old = config.verification.profile_every.saturating_mul(OLD_AFTER);
        // Not when it was last looked at: a look that could not read it keeps what was read before.
        let Some(read_at) = read.and_then(|seen| seen.observation.profile_at) else {
            return Some("Profilen har inte kunnat läsas.".to_owned());
        };
        let when = words::moment(read_at, zone);
        if is_stale(Some(read_at), old, self.facts.now) {
            return Some(format!(
                "Profilen lästes senast {when}, för länge sedan för att säga något om den."
            ));
        }
        let lacks = one
            .conditions
            .iter()
            .any(|one| matches!(one.sign.trouble, Trouble::ProfileFact | Trouble::Logo));
        Some(if lacks {
            format!("Profilen lästes {when}; vad som saknas står här nedanför.")
        } else {
            format!("Profilen lästes {when} och har de uppgifter som krävs.")
        })
    }
}

/// What the last answer of an account proves; `None` if there is none.
fn proves(facts: &Facts<'_>, subject: &Subject) -> Option<Proves> {
    let mut seen = facts.seen.iter();
    let last = seen.find(|one| one.observation.subject == *subject && one.observation.look == Look::Reach)?;
    last.observation.identity.as_ref().map(|identity| identity.proves)
}

/// As whom it answered.
fn who(identity: &Identity) -> Option<String> {
    let name = Some(identity.name.as_str()).filter(|name| !name.is_empty());
    match (name, identity.id.as_deref()) {
        (Some(name), Some(id)) if name != id => Some(format!("{name} ({id})")),
        (Some(name), _) => Some(name.to_owned()),
        (None, id) => id.map(str::to_owned),
    }
}

fn rights(identity: &Identity) -> String {
    let Some(rights) = &identity.rights else {
        return "Tjänsten säger inte vilka rättigheter inloggningen har.".to_owned();
    };
    let list = |of: &std::collections::BTreeSet<String>| {
        let all: Vec<&str> = of.iter().map(String::as_str).collect();
        words::listed(&all)
    };
    match (rights.missing.is_empty(), rights.surplus.is_empty()) {
        (true, true) => "Inloggningen har de rättigheter som behövs, och inga fler.".to_owned(),
        (true, false) => format!(
            "Inloggningen har de rättigheter som behövs, och dessutom {}.",
            list(&rights.surplus)
        ),
        (false, true) => format!("Inloggningen saknar {}.", list(&rights.missing)),
        (false, false) => format!(
            "Inloggningen saknar {}, och har dessutom {}.",
            list(&rights.missing),
            list(&rights.surplus)
        ),
    }
}

/// What falls short, the worst first, each with its remedy.
fn lacks(conditions: &[Condition], zone: &str) -> Vec<Value> {
    let mut ordered: Vec<&Condition> = conditions.iter().collect();
    ordered.sort_by_key(|one| (std::cmp::Reverse(one.sign.trouble.reach()), one.since));
    let lack = |one: &&Condition| {
        context! {
            text => one.sign.text.as_str(),
            since => words::moment(one.since, zone),
            remedy => one.sign.remedy.as_str(),
        }
    };
    ordered.iter().map(lack).collect()
}

/// A few of the names, and how many more there are.
fn named(names: &[&str]) -> String {
    match names.get(..NAMED) {
        Some(few) if names.len() > NAMED => format!("{} med flera", few.join(", ")),
        Some(_) | None => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
