//! From a prepared message and its fields to the exact content for each account. Pure: takes values, returns values.
//!
//! Strict: an unknown or missing field is an error. Texts are fitted, never cut: the longest variant that fits the
//! account's rule is taken, and if none fits the command is refused before anything is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::channel::Settings;
use crate::config::Account;
use crate::model::{Kind, Lang, MessageId, Mode, Unit};

pub mod card;
pub mod count;
#[cfg(test)]
pub(crate) mod examples;
pub mod fields;
pub mod fit;
pub mod layout;
pub mod messages;
pub mod parts;
pub mod picture;
pub mod plan;
pub mod sms;
pub mod template;

pub use plan::{Plan, alternative, join, plan};

/// What is to be said: a command as a front gives it, before anything was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which prepared message.
    pub message: MessageId,
    /// What the sender filled in: `name` for every language or Swedish, `name.en` for English.
    pub fields: BTreeMap<String, String>,
    /// What the broadcast does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// The languages, the first one first; the municipality's own if empty.
    pub languages: Vec<Lang>,
}

/// How an account counts and limits a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRule {
    /// The limit; `None` for none.
    pub limit: Option<usize>,
    /// What it counts.
    pub unit: Unit,
    /// A second limit that holds as well (Bluesky: 3,000 bytes).
    pub also: Option<(usize, Unit)>,
}

/// How much of one text an account takes.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// What a post takes.
    pub rule: TextRule,
    /// How many posts one text may take; more than one makes a thread.
    pub parts: usize,
    /// Who says what else the service refuses; nobody if it takes all that keeps the rule.
    pub settings: Option<&'a dyn Settings>,
}

impl From<TextRule> for Room<'_> {
    fn from(rule: TextRule) -> Self {
        Self {
            rule,
            parts: 1,
            settings: None,
        }
    }
}

impl<'a> From<&'a Account> for Room<'a> {
    fn from(account: &'a Account) -> Self {
        Self {
            rule: account.settings.text_rule(),
            parts: account.settings.parts(),
            settings: Some(account.settings.as_ref()),
        }
    }
}

/// A prepared message: one file under `templates/messages/`.
#[derive(Debug, Clone)]
pub struct PreparedMessage {
    /// The stem of its file.
    pub id: MessageId,
    /// What people pick it by.
    pub title: String,
    /// When to use it.
    pub description: String,
    /// Raised with each change of the texts.
    pub version: u32,
    /// CAP category, severity, urgency, certainty.
    pub cap: CapClass,
    /// How long a broadcast of it stays true.
    pub valid_for: Duration,
    /// Path of the page on the municipality's site.
    pub page: String,
    /// Groups and accounts when the command names none.
    pub to: Vec<String>,
    /// The picture that goes with it when the command gives none.
    pub picture: Option<DefaultPicture>,
    /// What is to be filled in.
    pub fields: Vec<Field>,
    /// The texts.
    pub texts: BTreeMap<(Lang, Kind), Texts>,
}

/// The picture of a prepared message: a file beside it, with what it shows in each of its languages.
#[derive(Clone)]
pub struct DefaultPicture {
    /// The file's name.
    pub file: String,
    /// The file as it lay there when the message was read.
    pub bytes: std::sync::Arc<[u8]>,
    /// What it shows, in words.
    pub alt: BTreeMap<Lang, String>,
    /// Who made it and by which right it is used.
    pub credit: Option<String>,
}

impl std::fmt::Debug for DefaultPicture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DefaultPicture({}, {} bytes)", self.file, self.bytes.len())
    }
}

/// CAP 1.2 classes, as the standard spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapClass {
    /// `Geo`, `Met`, …
    pub category: String,
    /// `Extreme` … `Unknown`.
    pub severity: String,
    /// `Immediate` … `Unknown`.
    pub urgency: String,
    /// `Observed` … `Unknown`.
    pub certainty: String,
}

/// A value that the sender fills in.
#[derive(Debug, Clone)]
pub struct Field {
    /// As given with `-f name=value`.
    pub name: String,
    /// As shown, per language.
    pub label: BTreeMap<Lang, String>,
    /// What to write, in Swedish.
    pub help: String,
    /// An example, per language; the same for all unless `per_language`.
    pub example: BTreeMap<Lang, String>,
    /// Longest value, in characters.
    pub max_length: usize,
    /// Whether it must be given.
    pub required: bool,
    /// The only values allowed, if any.
    pub choices: Vec<String>,
    /// Taken when not given.
    pub default: Option<String>,
    /// The kinds of broadcast that it is asked for.
    pub kinds: Vec<Kind>,
    /// Whether each language has a value of its own: `name` for Swedish, `name.en` for English.
    pub per_language: bool,
}

/// The texts of one kind in one language, as template sources.
#[derive(Debug, Clone)]
pub struct Texts {
    /// One line.
    pub headline: String,
    /// The whole text.
    pub long: String,
    /// A paragraph; stands after the headline.
    pub short: String,
    /// One text message; stands alone.
    pub sms: String,
}

impl Field {
    /// Whether it is asked for in broadcasts of this kind.
    pub fn is_asked_for(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether a value may have several lines: only long texts do.
    pub fn takes_lines(&self) -> bool {
        self.max_length > LONGEST_LINE
    }
}

/// Fields that take more than this many characters are texts of several lines; shorter ones are a word or a sentence,
/// which stands inside another and must not break it.
pub const LONGEST_LINE: usize = 200;

/// A language as Swedish names it after *på*: `svenska`.
pub fn language_word(lang: Lang) -> &'static str {
    match lang {
        Lang::Sv => "svenska",
        Lang::En => "engelska",
    }
}

/// What a kind of broadcast is called in Swedish, as it stands after *i*: `en rättelse`.
pub fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Initial => "det första meddelandet",
        Kind::Update => "en uppdatering",
        Kind::Correction => "en rättelse",
        Kind::AllClear => "meddelandet om att faran är över",
    }
}
