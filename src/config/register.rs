//! `[register]` and `[account.<id>.register]`: what the municipality's register says of its accounts, and where and when
//! it is published. Nothing of it is needed to send, so that what is missing is a finding and never an error.

use std::time::Duration;

use jiff::civil::Date;
use url::Url;

use super::accounts::{self, Reference};
use super::section::{Placed, Section, quoted};
use crate::model::{AccountId, AddressKind, Recipient};

const DAY: Duration = Duration::from_hours(24);
/// Longest text of one key, in characters.
const LONGEST: usize = 1000;
const SHORT: usize = 200;
/// Most figures of an account that are followed up.
const MOST_FIGURES: usize = 20;
const MOST_TOLD: usize = 50;

/// `[register]`.
#[derive(Debug, Clone)]
pub struct Register {
    /// The public page that lists the accounts; looked at for drift.
    pub page: Option<Url>,
    /// What the published page and its files are called: its short name.
    pub name: String,
    /// Accounts that the page is published through.
    pub publish_to: Vec<AccountId>,
    /// How often it is published if it has changed; `None`: only by command.
    pub publish_every: Option<Duration>,
    /// How often the public page is looked at.
    pub check_every: Duration,
    /// Longest time that the public page may take.
    pub page_timeout: Duration,
    /// How long an attestation holds unless it says otherwise.
    pub attestation_valid: Duration,
    /// How long before its end an attestation is a finding.
    pub remind_before: Duration,
    /// The day of the year by which the follow-up of the year before is to be done: month and day.
    pub follow_up_by: (i8, i8),
    /// After so long without a post an account is stale.
    pub stale_after: Duration,
    /// Who is reminded by mail.
    pub reminders: Reminders,
}

/// `[register.reminders]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reminders {
    /// Whom.
    pub send: SendTo,
    /// The communications unit; empty: who gets the certificate.
    pub to: Vec<Recipient>,
}

/// Who is reminded of what an account needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SendTo {
    /// The communications unit.
    #[default]
    Unit,
    /// The function that answers for the account; the unit where it has no address of ours.
    Owner,
    /// Nobody.
    Off,
}

impl Default for Register {
    fn default() -> Self {
        Self {
            page: None,
            name: "konton".to_owned(),
            publish_to: Vec::new(),
            publish_every: None,
            check_every: DAY,
            page_timeout: Duration::from_secs(5),
            attestation_valid: 365 * DAY,
            remind_before: 30 * DAY,
            follow_up_by: (1, 31),
            stale_after: 90 * DAY,
            reminders: Reminders::default(),
        }
    }
}

/// What the register says of one account. A function answers for it, never a person by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// What residents know it as.
    pub name: Option<String>,
    /// Whether the public page lists it; `None`: if it has a public address.
    pub listed: Option<bool>,
    /// The role that answers for it.
    pub owner: Option<String>,
    /// The unit of that role.
    pub unit: Option<String>,
    /// The function's job address.
    pub contact: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whom it is for.
    pub audience: Option<String>,
    /// What the choice of channel rests on: figures of who uses it.
    pub audience_basis: Option<String>,
    /// How it is worked with: how often, by whom, who answers.
    pub plan: Option<String>,
    /// What is followed up.
    pub key_figures: Vec<String>,
    /// How it is archived and weeded.
    pub document_plan: Option<String>,
    /// Whether personal data leave the EU, and on which grounds.
    pub third_country: Option<String>,
    /// When it was decided on.
    pub decided_on: Option<Date>,
    /// By which role.
    pub decided_by: Option<String>,
    /// The number in the diarium.
    pub case: Option<String>,
    /// Since when it is closed.
    pub closed: Option<Date>,
}

impl Entry {
    /// What is wrong with an entry that did not come through [`entry`]: key by key.
    pub fn faults(&self) -> Vec<String> {
        let texts = [
            ("name", &self.name),
            ("owner", &self.owner),
            ("unit", &self.unit),
            ("contact", &self.contact),
            ("purpose", &self.purpose),
            ("audience", &self.audience),
            ("audience_basis", &self.audience_basis),
            ("plan", &self.plan),
            ("document_plan", &self.document_plan),
            ("third_country", &self.third_country),
            ("decided_by", &self.decided_by),
            ("case", &self.case),
        ];
        let texts = texts
            .iter()
            .filter_map(|(key, text)| Some((*key, text.as_deref()?)));
        let figures = self
            .key_figures
            .iter()
            .map(|figure| ("key_figures", figure.as_str()));
        let mut faults: Vec<String> = texts
            .chain(figures)
            .filter(|(_, text)| {
                let length = text.chars().count();
                text.trim().is_empty() || length > LONGEST || text.chars().any(char::is_control)
            })
            .map(|(key, _)| format!("{key} is empty, longer than {LONGEST} characters or not on one line"))
            .collect();
        if self.key_figures.len() > MOST_FIGURES {
            faults.push(format!("key_figures holds more than {MOST_FIGURES}"));
        }
        if let Some(Err(wrong)) = self
            .contact
            .as_deref()
            .map(|contact| AddressKind::Mail.read(contact))
        {
            faults.push(format!("contact {wrong}"));
        }
        faults
    }
}

/// Reads `[register]`, and the accounts that it names.
pub fn register(mut s: Section<'_>, targets: &mut Vec<Reference>) -> Option<Register> {
    let default = Register::default();
    let page = s.address("page", false);
    let name = s.text("name", 60, "a short name such as \"konton\"");
    if let Some(name) = &name
        && !(name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && name.starts_with(|c: char| c.is_ascii_lowercase()))
    {
        let found = quoted(name);
        s.problem(
            "name",
            format!("found {found}, expected a short name of a–z, 0–9 and \"-\" such as \"konton\""),
        );
    }
    let given = s
        .strings("publish_to", "a list of accounts such as [\"webb-nassjo\"]")
        .unwrap_or_default();
    for target in &given {
        targets.push(Reference {
            key: format!("{}.publish_to", s.path()),
            name: target.clone(),
        });
    }
    let publish_every = s.duration_within("publish_every", Duration::from_mins(1), 31 * DAY);
    let check_every = s.duration_within("check_every", Duration::from_mins(1), 31 * DAY);
    let page_timeout = s.duration_within("page_timeout", Duration::from_secs(2), Duration::from_secs(10));
    let attestation_valid = s.duration_within("attestation_valid", DAY, 1100 * DAY);
    let remind_before = s.duration_within("remind_before", Duration::ZERO, 180 * DAY);
    let stale_after = s.duration_within("stale_after", 7 * DAY, 1100 * DAY);
    let follow_up_by = follow_up_by(&mut s);
    let reminders = s.table("reminders").map_or(Some(Reminders::default()), reminders);
    let broken = s.is_broken() || reminders.is_none();
    s.finish();
    (!broken).then(|| Register {
        page,
        name: name.unwrap_or(default.name),
        // One that is no id is told of as one that does not exist.
        publish_to: given
            .iter()
            .filter_map(|target| target.value.parse().ok())
            .collect(),
        publish_every,
        check_every: check_every.unwrap_or(default.check_every),
        page_timeout: page_timeout.unwrap_or(default.page_timeout),
        attestation_valid: attestation_valid.unwrap_or(default.attestation_valid),
        remind_before: remind_before.unwrap_or(default.remind_before),
        follow_up_by: follow_up_by.unwrap_or(default.follow_up_by),
        stale_after: stale_after.unwrap_or(default.stale_after),
        reminders: reminders.unwrap_or_default(),
    })
}

fn reminders(mut s: Section<'_>) -> Option<Reminders> {
    let send = match s.one_of("send", &["unit", "owner", "off"]) {
        Some("owner") => SendTo::Owner,
        Some("off") => SendTo::Off,
        _ => SendTo::Unit,
    };
    let to = s.strings(
        "to",
        "a list of mail addresses such as [\"kommunikation@nassjo.se\"]",
    );
    let to = to.map(|given| {
        if given.is_empty() || given.len() > MOST_TOLD {
            s.problem("to", format!("expected 1 to {MOST_TOLD} addresses"));
        }
        accounts::recipients(&s, "to", &given)
    });
    let broken = s.is_broken();
    s.finish();
    (!broken).then(|| Reminders {
        send,
        to: to.unwrap_or_default(),
    })
}

/// `"01-31"`; the last of February is the 28th in every year.
fn follow_up_by(s: &mut Section<'_>) -> Option<(i8, i8)> {
    const EXPECTED: &str = "a month and a day such as \"01-31\"";
    let text: String = s.optional("follow_up_by", EXPECTED)?;
    let read = (text.len() == 5)
        .then(|| text.split_once('-'))
        .flatten()
        .and_then(|(month, day)| Some((month.parse().ok()?, day.parse().ok()?)))
        .filter(|(month, day)| Date::new(2027, *month, *day).is_ok());
    if read.is_none() {
        s.problem(
            "follow_up_by",
            format!("found {}, expected {EXPECTED}", quoted(&text)),
        );
    }
    read
}

/// Reads `[account.<id>.register]`, or what an application says in the same words.
pub fn entry(s: &mut Section<'_>) -> Entry {
    let contact = s.text(
        "contact",
        254,
        "a job mail address such as \"kommunikation@nassjo.se\"",
    );
    if let Some(contact) = &contact
        && let Err(wrong) = AddressKind::Mail.read(contact)
    {
        let found = quoted(contact);
        s.problem("contact", format!("found {found}, {wrong}"));
    }
    Entry {
        name: s.text(
            "name",
            SHORT,
            "what residents know it as, such as \"Nässjö kommun på Facebook\"",
        ),
        listed: s.optional("listed", "true or false"),
        owner: s.text("owner", SHORT, "a role such as \"Kommunikationschef\""),
        unit: s.text("unit", SHORT, "a unit such as \"Kommunikationsenheten\""),
        contact,
        purpose: s.text("purpose", LONGEST, "what the account is for"),
        audience: s.text("audience", LONGEST, "whom the account is for"),
        audience_basis: s.text("audience_basis", LONGEST, "figures of who uses the channel"),
        plan: s.text("plan", LONGEST, "how the account is worked with"),
        key_figures: key_figures(s),
        document_plan: s.text("document_plan", LONGEST, "how the account is archived and weeded"),
        third_country: s.text(
            "third_country",
            LONGEST,
            "whether personal data leave the EU, such as \"Nej\"",
        ),
        decided_on: s.parsed("decided_on", DATE),
        decided_by: s.text("decided_by", SHORT, "a role such as \"Kommunikationschefen\""),
        case: s.text("case", SHORT, "a number in the diarium such as \"KS 2024/118\""),
        closed: s.parsed("closed", DATE),
    }
}

const DATE: &str = "a date between quotation marks such as \"2024-03-12\"";

fn key_figures(s: &mut Section<'_>) -> Vec<String> {
    const EXPECTED: &str = "a list of figures such as [\"följare\", \"räckvidd\"]";
    let given: Vec<Placed<String>> = s.strings("key_figures", EXPECTED).unwrap_or_default();
    if given.len() > MOST_FIGURES {
        s.problem(
            "key_figures",
            format!(
                "holds {} figures; at most {MOST_FIGURES} are allowed",
                given.len()
            ),
        );
    }
    for one in &given {
        let length = one.value.chars().count();
        if one.value.trim().is_empty() || length > 100 || one.value.chars().any(char::is_control) {
            s.problem_at(
                one.place,
                "key_figures",
                format!("found {}, expected {EXPECTED}", quoted(&one.value)),
            );
        }
    }
    given.into_iter().map(|one| one.value).collect()
}
