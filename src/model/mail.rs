//! Mails that the daemon writes beside broadcasts: alarms, reports of drills, the certificate, reminders.

use serde::{Deserialize, Serialize};

use super::broadcast::words;
use crate::clock::Timestamp;

words!(
    /// What a mail is.
    MailKind {
        /// The report of a drill.
        Drill = "drill",
        /// What has gone amiss, or is well again.
        Alarm = "alarm",
        /// Whether every account is reachable.
        Certificate = "certificate",
        /// What the register needs a person for.
        Reminder = "reminder",
    }
);

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// One line that says it all on a locked phone.
    pub subject: String,
    /// The whole as text.
    pub text: String,
    /// The same as HTML: a document of its own, everything escaped, nothing from outside. Without, it is made from the text.
    pub html: Option<String>,
}

/// How far something that recurs has been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailMark {
    /// What.
    pub name: String,
    /// What held then.
    pub line: String,
    /// Up to when.
    pub at: Timestamp,
}

impl MailMark {
    /// Whether this one has been told of already, when the other one has.
    pub fn is_told_with(&self, known: &Self) -> bool {
        self.name == known.name && self.line == known.line && self.at <= known.at
    }
}
