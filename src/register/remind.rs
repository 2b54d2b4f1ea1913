//! The reminders: what of the register a person has to do by a day, thirty and seven days before it and once it has passed, and
//! accounts that nobody works with any more, with the steps that close one in order. Each is told once; pure.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use jiff::civil::Date;
use minijinja::{Value, context};
use serde_json::json;

use super::attest::{Attestation, What};
use super::findings::{self, Observations, is_ours, open_social};
use super::{follow_up, words};
use crate::clock::{self, Timestamp};
use crate::config::register::SendTo;
use crate::config::{Account, Config};
use crate::mail::{self, Sheet};
use crate::model::{AccountId, Letter, MailMark, Recipient};

const SHEET: Sheet = Sheet {
    name: "reminder",
    html: include_str!("../../templates/mail/reminder.html"),
    text: include_str!("../../templates/mail/reminder.txt"),
};

/// How near the day is. Ordered from far to past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Thirty days before, or fewer.
    Month,
    /// Seven days before, or fewer.
    Week,
    /// It has passed, or there never was one.
    Overdue,
}

impl Stage {
    /// Its word in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Month => "30-days",
            Self::Week => "7-days",
            Self::Overdue => "overdue",
        }
    }
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// Something has to be attested.
    Attest(What),
    /// The account has to get a plan, or be closed: its last post.
    Stale(Timestamp),
}

/// One thing that is to be done with an account.
#[derive(Debug, Clone)]
pub struct Due<'a> {
    /// The account.
    pub account: &'a Account,
    /// What.
    pub matter: Matter,
    /// How near it is.
    pub stage: Stage,
    /// The last day; none if there is none.
    pub day: Option<Date>,
    /// What is wrong, in Swedish.
    pub text: String,
    /// By which it is known that it has been told.
    pub mark: MailMark,
}

impl Due<'_> {
    /// What the journal says of it.
    pub fn record(&self) -> serde_json::Value {
        json!({
            "account": self.account.id, "what": self.what(), "stage": self.stage.as_str(),
            "day": self.day.map(|day| day.to_string()),
        })
    }

    fn what(&self) -> &'static str {
        match self.matter {
            Matter::Attest(what) => what.as_str(),
            Matter::Stale(_) => "stale",
        }
    }

    fn title(&self) -> &'static str {
        match self.matter {
            Matter::Attest(what) => what.brief(),
            Matter::Stale(_) => "Övergivet konto",
        }
    }

    fn paragraphs(&self) -> String {
        let paragraphs = match self.matter {
            Matter::Attest(what) => what.paragraphs(),
            Matter::Stale(_) => &[16],
        };
        let all: Vec<String> = paragraphs.iter().map(u8::to_string).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let sign = if all.len() > 1 { "§§" } else { "§" };
        format!("{sign} {}", crate::confirm::words::listed(&all))
    }

    /// The command that does it.
    fn command(&self) -> String {
        let id = &self.account.id;
        match self.matter {
            Matter::Attest(what) => {
                format!("vardkase attest {id} {what} --evidence \"HUR NI VET DET\"")
            }
            Matter::Stale(_) => format!("vardkase accounts close {id}"),
        }
    }
}

/// Everything that is near its day or past it, each at its latest stage.
pub fn due<'a>(
    config: &'a Config,
    all: &[Attestation],
    observed: &Observations,
    now: Timestamp,
) -> Vec<Due<'a>> {
    let zone = config.municipality.time_zone.as_str();
    let mut found = Vec::new();
    for account in open_social(config) {
        for what in What::ALL.into_iter().filter(|what| *what != What::YearlyFollowUp) {
            found.extend(attestation(account, what, all, zone, now));
        }
    }
    if let Some(waiting) = follow_up::waiting(config, all, now) {
        for account in waiting.accounts {
            let figures = match account.register.key_figures.as_slice() {
                [] => String::new(),
                figures => format!(" Nyckeltal: {}.", figures.join(", ")),
            };
            let text = format!("Kontot är inte uppföljt för {}.{figures}", waiting.year);
            let day = waiting.last_day;
            let end = day.tomorrow().ok().and_then(|day| words::midnight(day, zone));
            let found_here = end.and_then(|end| {
                dated(
                    account,
                    What::YearlyFollowUp,
                    text,
                    (day, end),
                    (zone, now),
                    waiting.since,
                )
            });
            found.extend(found_here);
        }
    }
    for (account, last) in findings::stale(config, observed, now) {
        let day = words::day(last, zone);
        found.push(Due {
            account,
            matter: Matter::Stale(last),
            stage: Stage::Overdue,
            day: None,
            text: format!(
                "Det senaste inlägget är från {}. Skaffa kontot en plan, eller avsluta det i ordning.",
                words::date(day)
            ),
            mark: mark(account, "stale", last.to_string(), last),
        });
    }
    found
}

fn attestation<'a>(
    account: &'a Account,
    what: What,
    all: &[Attestation],
    zone: &str,
    now: Timestamp,
) -> Option<Due<'a>> {
    let of_it = all
        .iter()
        .filter(|one| one.account == account.id && one.what == what);
    let at_once = |text: String, line: String, at| Due {
        account,
        matter: Matter::Attest(what),
        stage: Stage::Overdue,
        day: None,
        text,
        mark: mark(account, what.as_str(), line, at),
    };
    let Some(latest) = of_it.max_by_key(|one| one.id) else {
        let text = format!("Ingen har intygat {}.", what.words());
        return Some(at_once(text, "never".to_owned(), Timestamp::UNIX_EPOCH));
    };
    if let Some(at) = latest.revoked_at {
        let day = words::day_text(at, zone);
        let text = format!("Intyget {} togs tillbaka {day}.", what.words());
        return Some(at_once(text, format!("revoked {}", latest.id), at));
    }
    let end = latest.expires_at;
    // It holds to the end of this day at least.
    let day = words::day(clock::earlier(end, std::time::Duration::from_micros(1)), zone);
    let text = format!("Intyget {} gäller till {}.", what.words(), words::date(day));
    dated(
        account,
        what,
        text,
        (day, end),
        (zone, now),
        Timestamp::UNIX_EPOCH,
    )
}

/// What has a last day, and a moment at which that is over; `None` while that is far, and never before `since`.
fn dated<'a>(
    account: &'a Account,
    what: What,
    text: String,
    (day, end): (Date, Timestamp),
    (zone, now): (&str, Timestamp),
    since: Timestamp,
) -> Option<Due<'a>> {
    let before = |days: i64| {
        let day = day.checked_sub(days.days()).ok()?;
        words::midnight(day, zone).map(|at| at.max(since))
    };
    let stages = [
        (Stage::Overdue, Some(end)),
        (Stage::Week, before(7)),
        (Stage::Month, before(30)),
    ];
    let (stage, at) = stages
        .into_iter()
        .find_map(|(stage, at)| at.filter(|at| *at <= now).map(|at| (stage, at)))?;
    Some(Due {
        account,
        matter: Matter::Attest(what),
        stage,
        day: Some(day),
        text,
        // The moment of the stage, a little later for the one that is nearer: two may begin at the same one.
        mark: mark(
            account,
            what.as_str(),
            day.to_string(),
            clock::later(at, std::time::Duration::from_micros(stage as u64)),
        ),
    })
}

fn mark(account: &Account, what: &str, line: String, at: Timestamp) -> MailMark {
    MailMark {
        name: format!("reminder/{}/{what}", account.id),
        line,
        at,
    }
}

/// Those that have not been told.
pub fn fresh<'a>(all: Vec<Due<'a>>, told: &[MailMark]) -> Vec<Due<'a>> {
    let is_told = |due: &Due<'_>| told.iter().any(|known| due.mark.is_told_with(known));
    all.into_iter().filter(|due| !is_told(due)).collect()
}

/// Who is told of an account: its owner, if that is what the configuration says and the function has an address of ours.
fn recipients(config: &Config, account: &Account) -> Vec<Recipient> {
    let reminders = &config.register.reminders;
    match (reminders.send, account.register.contact.as_deref()) {
        (SendTo::Owner, Some(contact)) if is_ours(config, contact) => vec![Recipient::new(contact)],
        (SendTo::Owner | SendTo::Unit, _) => reminders.to.clone(),
        (SendTo::Off, _) => Vec::new(),
    }
}

/// One letter for each of those who are to be told; `closings` are the checklists of the accounts that are stale.
///
/// # Errors
/// If a template is broken; the text says which.
pub fn letters(
    config: &Config,
    all: &[Due<'_>],
    closings: &BTreeMap<AccountId, String>,
    now: Timestamp,
) -> Result<Vec<(Recipient, Letter)>, String> {
    let mut by_recipient: BTreeMap<String, Vec<&Due<'_>>> = BTreeMap::new();
    for due in all {
        for recipient in recipients(config, due.account) {
            let address = recipient.address().to_owned();
            by_recipient.entry(address).or_default().push(due);
        }
    }
    by_recipient
        .into_iter()
        .map(|(address, dues)| Ok((Recipient::new(address), letter(config, &dues, closings, now)?)))
        .collect()
}

fn letter(
    config: &Config,
    dues: &[&Due<'_>],
    closings: &BTreeMap<AccountId, String>,
    now: Timestamp,
) -> Result<Letter, String> {
    let today = words::day(now, &config.municipality.time_zone);
    let mut by_account: BTreeMap<&AccountId, Vec<&Due<'_>>> = BTreeMap::new();
    for due in dues {
        by_account.entry(&due.account.id).or_default().push(due);
    }
    let accounts: Vec<Value> = by_account
        .values_mut()
        .map(|dues| {
            dues.sort_by_key(|due| (std::cmp::Reverse(due.stage), due.day));
            account(dues, closings, today)
        })
        .collect();
    let is_late = |due: &&&Due<'_>| due.stage == Stage::Overdue;
    let late = dues.iter().filter(is_late).count();
    let reminders = &config.register.reminders;
    let unit: Vec<&str> = reminders.to.iter().map(Recipient::address).collect();
    let of = context! {
        accounts,
        verdict => verdict(dues.len(), by_account.len(), late),
        unit => (reminders.send == SendTo::Owner).then(|| crate::confirm::words::listed(&unit)),
    };
    mail::write(
        SHEET,
        subject(dues, by_account.len(), late, today),
        &config.municipality,
        of,
    )
}

fn account(dues: &[&Due<'_>], closings: &BTreeMap<AccountId, String>, today: Date) -> Value {
    let account = dues.first().map(|due| due.account);
    let entry = account.map(|account| &account.register);
    let owner = entry.and_then(|entry| match (&entry.owner, &entry.unit) {
        (Some(owner), Some(unit)) => Some(format!("{owner}, {unit}")),
        (owner, unit) => owner.clone().or_else(|| unit.clone()),
    });
    let items: Vec<Value> = dues
        .iter()
        .map(|due| {
            let (mark, colour) = match due.stage {
                Stage::Overdue => ("FÖRSENAT", "#b3261e"),
                Stage::Week => ("SNART", "#7a5300"),
                Stage::Month => ("KOMMANDE", "#00467f"),
            };
            context! {
                mark, colour,
                title => due.title(),
                paragraphs => due.paragraphs(),
                text => due.text.as_str(),
                when => due.day.map(|day| when(day, today)),
                command => due.command(),
                checklist => match due.matter {
                    Matter::Stale(_) => closings.get(&due.account.id).map(|text| text.trim().to_owned()),
                    Matter::Attest(_) => None,
                },
            }
        })
        .collect();
    context! {
        id => account.map(|account| account.id.as_str()),
        name => entry.and_then(|entry| entry.name.as_deref()),
        channel => account.map(|account| words::channel(account.channel.id)),
        owner,
        items,
    }
}

/// How far the day is.
fn when(day: Date, today: Date) -> String {
    let left = day.since(today).map_or(0, |span| span.get_days());
    let far = match left {
        0 => "i dag".to_owned(),
        1 => "i morgon".to_owned(),
        2.. => format!("om {left} dagar"),
        -1 => "i går".to_owned(),
        _ => format!("för {} dagar sedan", left.unsigned_abs()),
    };
    format!("Sista dagen: {}, {far}.", words::date(day))
}

fn verdict(items: usize, accounts: usize, late: usize) -> String {
    let what = match (items, accounts) {
        (1, _) => "En sak behöver göras för kontoregistret.".to_owned(),
        (items, 1) => format!("{items} saker behöver göras för ett konto i kontoregistret."),
        (items, accounts) => format!("{items} saker behöver göras för {accounts} konton i kontoregistret."),
    };
    match (late, items) {
        (0, _) => what,
        (1, 1) => format!("{what} Den är försenad."),
        (2, 2) => format!("{what} Båda är försenade."),
        (late, items) if late == items => format!("{what} Alla är försenade."),
        (1, _) => format!("{what} 1 av dem är försenad."),
        (late, _) => format!("{what} {late} av dem är försenade."),
    }
}

/// One line that says it all on a locked phone.
fn subject(dues: &[&Due<'_>], accounts: usize, late: usize, today: Date) -> String {
    if let [one] = dues {
        let word = if late > 0 { "Försenat" } else { "Påminnelse" };
        let (id, title) = (&one.account.id, one.title().to_lowercase());
        return match one.day.filter(|day| *day >= today) {
            Some(day) => format!("{word}: {id}: {title}, senast {}", words::date(day)),
            None => format!("{word}: {id}: {title}"),
        };
    }
    let late = match late {
        0 => String::new(),
        1 => ", 1 försenad".to_owned(),
        late => format!(", {late} försenade"),
    };
    let accounts = if accounts == 1 {
        "ett konto".to_owned()
    } else {
        format!("{accounts} konton")
    };
    format!("Påminnelse: {} saker om {accounts}{late}", dues.len())
}

#[cfg(test)]
mod tests;
