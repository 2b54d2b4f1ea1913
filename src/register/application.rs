//! The application for a new account: purpose, audience and how success shows, as the guideline's § 4 asks. It is written
//! in a file with the words that the register has, decided on by a role, and becomes a section of `config.toml`.

use minijinja::context;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{findings, template, words};
use crate::channel;
use crate::clock::Timestamp;
use crate::config::register::{self, Entry};
use crate::config::section::Section;
use crate::config::source::{Source, hint};
use crate::config::{Problem, Problems};
use crate::model::{AccountId, Actor};

/// What is filled in.
pub const FORM: &str = include_str!("../../templates/register/application.toml");
const TEXT: &str = include_str!("../../templates/register/application.txt");

/// What comes with the decision and not with the application.
const BY_DECISION: &[&str] = &["decided_on", "decided_by", "case"];

/// What is applied for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The account's id, as it will stand in `config.toml`.
    pub account: AccountId,
    /// The channel.
    pub channel: String,
    /// Its address, if it is known already.
    pub url: Option<Url>,
    /// The role that applies.
    pub applicant: String,
    /// What the register will say.
    pub register: Entry,
}

/// Where an application stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for a decision.
    Open,
    /// Granted.
    Approved,
    /// Not granted.
    Rejected,
}

impl State {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Open, Self::Approved, Self::Rejected];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("no state of an application is called {text:?}"))
    }
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Why.
    pub reason: String,
    /// The role that decides.
    pub by: String,
    /// The number in the diarium.
    pub case: Option<String>,
    /// Who gave it to the program.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// An application with its number and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// Its number.
    pub id: i64,
    /// What is applied for.
    pub application: Application,
    /// Who gave it to the program.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// What was decided.
    pub decision: Option<Decision>,
}

impl Application {
    /// Reads a filled-in form.
    ///
    /// # Errors
    /// Every fault, in file order; what the guideline asks for and is not there is one.
    pub fn read(source: &Source) -> Result<Self, Problems> {
        let table = source.parse();
        let mut s = Section::root(source, &table);
        let account = s.required::<String>(
            "account",
            "the id of the account such as \"facebook-kulturskolan\"",
        );
        let account: Option<AccountId> = account.and_then(|id| {
            id.parse()
                .map_err(|wrong: crate::model::ids::BadId| s.problem("account", wrong.to_string()))
                .ok()
        });
        let channel: Option<String> =
            s.required("channel", "the name of a channel such as \"facebook-page\"");
        let is_known = channel
            .as_deref()
            .is_some_and(|name| channel::kind(name).is_some());
        if let Some(name) = channel.as_deref().filter(|_| !is_known) {
            let near = hint(name, channel::REGISTRY.iter().map(|kind| kind.id));
            s.problem(
                "channel",
                format!("there is no channel {name:?}{near}; `vardkase channels` lists them"),
            );
        }
        let url = s.address("url", false);
        let applicant = s.required_text(
            "applicant",
            200,
            "the role that applies, such as \"Rektor, Kulturskolan\"",
        );
        let register = register::entry(&mut s);
        if let Some(channel) = channel.as_deref().filter(|_| is_known) {
            for key in findings::lacking(channel, &register, BY_DECISION) {
                if !s.has(key) {
                    s.missing(key, "what the form says of it");
                }
            }
        }
        s.finish();
        let mut problems: Vec<Problem> = source.take_problems();
        match (account, channel, applicant) {
            (Some(account), Some(channel), Some(applicant)) if problems.is_empty() => Ok(Self {
                account,
                channel,
                url,
                applicant,
                register,
            }),
            _ => {
                problems.sort_by_key(|problem| (problem.line, problem.column));
                Err(Problems(problems))
            }
        }
    }

    /// What keeps an application from being taken that did not come by the form.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if channel::kind(&self.channel).is_none() {
            faults.push(format!("there is no channel {:?}", self.channel));
        }
        let applicant = self.applicant.trim();
        if applicant.is_empty() || applicant.chars().count() > 200 || applicant.chars().any(char::is_control)
        {
            faults.push("applicant is empty, longer than 200 characters or not on one line".to_owned());
        }
        faults.extend(self.register.faults());
        let lacking = findings::lacking(&self.channel, &self.register, BY_DECISION);
        faults.extend(lacking.iter().map(|key| format!("{key} is missing")));
        faults
    }
}

impl Filed {
    /// The application and its decision as text for the case file, in Swedish.
    ///
    /// # Errors
    /// If the template is broken.
    pub fn text(&self, municipality: &str, zone: &str) -> Result<String, String> {
        let entry = &self.application.register;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
        let decision = self.decision.as_ref().map(|decision| {
            context! {
                word => match self.state {
                    State::Approved => "Ansökan beviljas.",
                    State::Rejected => "Ansökan avslås.",
                    State::Open => "",
                },
                reason => decision.reason.as_str(),
                by => decision.by.as_str(),
                case => decision.case.clone().unwrap_or_else(|| "–".to_owned()),
                day => words::day_text(decision.at, zone),
                actor => decision.actor.to_string(),
            }
        });
        template::fill(
            "application.txt",
            TEXT,
            context! {
                id => self.id,
                municipality,
                account => self.application.account.as_str(),
                channel => words::channel(&self.application.channel),
                name => or_dash(&entry.name),
                url => self.application.url.as_ref().map_or("–", Url::as_str),
                applicant => self.application.applicant.as_str(),
                day => words::day_text(self.at, zone),
                actor => self.actor.to_string(),
                owner => or_dash(&entry.owner),
                unit => or_dash(&entry.unit),
                contact => or_dash(&entry.contact),
                purpose => or_dash(&entry.purpose),
                audience => or_dash(&entry.audience),
                audience_basis => or_dash(&entry.audience_basis),
                plan => or_dash(&entry.plan),
                key_figures => if entry.key_figures.is_empty() { "–".to_owned() } else { entry.key_figures.join(", ") },
                document_plan => or_dash(&entry.document_plan),
                third_country => or_dash(&entry.third_country),
                decision,
            },
        )
    }

    /// The section to paste into `config.toml`; nothing unless it was granted.
    pub fn section(&self, zone: &str) -> Option<String> {
        let decision = self.decision.as_ref().filter(|_| self.state == State::Approved)?;
        let application = &self.application;
        let id = &application.account;
        let entry = &application.register;
        let key = toml_key(id.as_str());
        let mut out = format!("[account.{key}]\n");
        let text = |text: &Option<String>| text.clone().map(toml::Value::String);
        let groups = if super::is_social(&application.channel) {
            vec!["alla", "sociala"]
        } else {
            vec!["alla"]
        };
        let url = application.url.as_ref().map(|url| url.to_string().into());
        put(&mut out, "channel", Some(application.channel.clone().into()));
        put(&mut out, "groups", Some(groups.into()));
        put(&mut out, "url", url);
        out.push_str("# Här fattas nycklarna som kanalen behöver: se config.toml och `vardkase check`.\n");
        out.extend(["\n[account.", &key, ".register]\n"]);
        let figures = (!entry.key_figures.is_empty()).then(|| entry.key_figures.clone().into());
        for (key, value) in [
            ("name", text(&entry.name)),
            ("listed", entry.listed.map(toml::Value::Boolean)),
            ("owner", text(&entry.owner)),
            ("unit", text(&entry.unit)),
            ("contact", text(&entry.contact)),
            ("purpose", text(&entry.purpose)),
            ("audience", text(&entry.audience)),
            ("audience_basis", text(&entry.audience_basis)),
            ("plan", text(&entry.plan)),
            ("key_figures", figures),
            ("document_plan", text(&entry.document_plan)),
            ("third_country", text(&entry.third_country)),
            (
                "decided_on",
                Some(words::day(decision.at, zone).to_string().into()),
            ),
            ("decided_by", Some(decision.by.clone().into())),
            ("case", text(&decision.case)),
        ] {
            put(&mut out, key, value);
        }
        Some(out)
    }
}

/// Writes a line of a section, in TOML's own spelling.
fn put(out: &mut String, key: &str, value: Option<toml::Value>) {
    if let Some(value) = value {
        out.extend([key, " = ", &value.to_string(), "\n"]);
    }
}

/// An id may hold a dot, which would part a key in two.
fn toml_key(id: &str) -> String {
    if id.contains('.') {
        format!("\"{id}\"")
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Application {
        let text = FORM
            .replace(
                "purpose = \"\"",
                "purpose = \"Nå familjer med \\\"kursutbudet\\\".\"",
            )
            .replace("= \"\"", "= \"Se bilagan.\"")
            .replace("key_figures = []", "key_figures = [\"följare\", \"anmälningar\"]");
        Application::read(&Source::new("ansokan.toml", text)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn filed(state: State) -> Filed {
        Filed {
            id: 3,
            application: filled(),
            actor: Actor("kim (uid 1000)".to_owned()),
            at: "2026-11-05T08:00:00Z".parse().expect("a time"),
            state,
            decision: (state != State::Open).then(|| Decision {
                reason: "Når föräldrar som inte läser webben.".to_owned(),
                by: "Kommunikationschefen".to_owned(),
                case: Some("KS 2026/9".to_owned()),
                actor: Actor("robin (uid 1001)".to_owned()),
                at: "2026-11-12T23:30:00Z".parse().expect("a time"),
            }),
        }
    }

    #[test]
    fn an_application_as_text_for_the_case_file() {
        let text = |state| {
            filed(state)
                .text("Nässjö kommun", "Europe/Stockholm")
                .expect("a text")
        };
        insta::assert_snapshot!("application_open", text(State::Open));
        insta::assert_snapshot!("application_approved", text(State::Approved));
        assert!(text(State::Rejected).contains("Ansökan avslås."));
    }

    #[test]
    fn what_was_granted_is_a_section_that_is_read_back() {
        assert_eq!(filed(State::Open).section("Europe/Stockholm"), None);
        assert_eq!(filed(State::Rejected).section("Europe/Stockholm"), None);
        let section = filed(State::Approved)
            .section("Europe/Stockholm")
            .expect("a section");
        insta::assert_snapshot!(section);
        let (_, register) = section.split_once(".register]\n").expect("a register");
        let source = Source::new("config.toml", register.to_owned());
        let table = source.parse();
        let read = register::entry(&mut Section::root(&source, &table));
        let problems = source.take_problems();
        assert!(problems.is_empty(), "{problems:?}");
        let Filed { application, .. } = filed(State::Approved);
        let entry = Entry {
            decided_on: Some("2026-11-13".parse().expect("a day")),
            decided_by: Some("Kommunikationschefen".to_owned()),
            case: Some("KS 2026/9".to_owned()),
            ..application.register
        };
        assert_eq!(read, entry);
    }

    #[test]
    fn an_empty_form_says_all_that_it_lacks() {
        let problems = Application::read(&Source::new(
            "ansokan.toml",
            "chanel = \"facebook\"\nlisted = 1\n",
        ));
        insta::assert_snapshot!(problems.expect_err("faults"));
        let mut lacking = filled();
        lacking.register.plan = None;
        lacking.channel = "fejsbok".to_owned();
        assert_eq!(lacking.faults(), ["there is no channel \"fejsbok\""]);
        lacking.channel = "x".to_owned();
        lacking.register.contact = Some("rektorn".to_owned());
        lacking.register.purpose = Some("två\nrader".to_owned());
        let faults = lacking.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults[0].starts_with("purpose is empty") && faults[1].starts_with("contact "),
            "{faults:?}"
        );
        assert_eq!(faults[2], "plan is missing");
    }
}
