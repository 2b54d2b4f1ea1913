//! The register of accounts: what the guideline asks to be known of each, what is missing, the public page that lists
//! them, and whether that page tells the same.
//!
//! Pure: it takes the configuration, what the store holds and the time, and gives findings and texts. It never asks the
//! network and never writes; `app::register` does. The configuration is the register: nothing of it is kept twice.

use serde::{Deserialize, Serialize};

use crate::model::AccountId;

pub mod application;
pub mod attest;
pub mod closing;
pub mod drift;
pub mod export;
pub mod findings;
pub mod follow_up;
pub mod page_links;
pub mod remind;
pub mod report;
pub mod schedule;
mod template;
pub mod words;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Will have to be done.
    Notice,
    /// Is not as the guideline wants it.
    Warning,
}

/// What the register lacks, or what has lapsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `register`, `attestation`, `follow-up`, `stale`, `missing-on-page`, `unknown-on-page`,
    /// `closed-on-page`, `page`, `publish`.
    pub check: String,
    /// How much it weighs.
    pub level: Level,
    /// The account, or none if it concerns the register as a whole.
    pub account: Option<AccountId>,
    /// The guideline's paragraphs that ask for it.
    pub paragraphs: Vec<u8>,
    /// What is wrong and what to do, in Swedish.
    pub text: String,
}

impl Finding {
    /// A warning.
    pub fn warning(
        check: &str,
        account: Option<&AccountId>,
        paragraphs: &[u8],
        text: impl Into<String>,
    ) -> Self {
        Self {
            check: check.to_owned(),
            level: Level::Warning,
            account: account.cloned(),
            paragraphs: paragraphs.to_vec(),
            text: text.into(),
        }
    }

    /// A notice.
    pub fn notice(
        check: &str,
        account: Option<&AccountId>,
        paragraphs: &[u8],
        text: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Notice,
            ..Self::warning(check, account, paragraphs, text)
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(account) = &self.account {
            write!(f, "{account}: ")?;
        }
        f.write_str(&self.text)?;
        if !self.paragraphs.is_empty() {
            let all: Vec<String> = self.paragraphs.iter().map(u8::to_string).collect();
            write!(f, " (riktlinjen § {})", all.join(", "))?;
        }
        Ok(())
    }
}

/// Whether the guideline for social media holds for accounts of this channel in full: a service of somebody else's, with
/// log-ins of people, where residents meet the municipality.
pub fn is_social(channel: &str) -> bool {
    matches!(
        channel,
        "bluesky"
            | "discord"
            | "facebook-page"
            | "instagram"
            | "linkedin"
            | "mastodon"
            | "matrix"
            | "telegram"
            | "threads"
            | "whatsapp"
            | "x"
    )
}
