//! A page as the API gives it, and the short name by which ours is known.

use serde_json::Value;
use url::Url;

use crate::model::{Post, Reason, Receipt, SendError};

/// What the mark in a page's text begins with; the short name follows.
pub(super) const MARK: &str = "vk-";
/// Digits of the delivery's id in the name: its random end.
const DIGITS: usize = 12;
/// Longest text that is taken from an answer, in bytes.
const MAX_REMOTE: usize = 1000;

/// A page of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub id: u64,
    pub slug: String,
    pub status: String,
    pub link: Option<Url>,
    /// When it was last changed, by the site's clock.
    pub modified: String,
}

impl Found {
    /// Reads a page of an answer; `None` if it is none.
    pub(super) fn read(page: &Value) -> Option<Self> {
        let text = |name: &str| {
            let text = page[name].as_str().filter(|text| text.len() <= MAX_REMOTE)?;
            Some(text.chars().filter(|c| !c.is_control()).collect::<String>())
        };
        Some(Self {
            id: page["id"].as_u64().filter(|id| *id > 0)?,
            slug: text("slug")?,
            status: text("status")?,
            link: text("link")
                .and_then(|link| Url::parse(&link).ok())
                .filter(|link| matches!(link.scheme(), "https" | "http")),
            modified: text("modified_gmt").unwrap_or_default(),
        })
    }

    pub(super) fn is_public(&self) -> bool {
        self.status == "publish"
    }

    pub(super) fn receipt(&self) -> Receipt {
        Receipt {
            url: self.link.as_ref().map(Url::to_string),
            version: Some(self.modified.clone()).filter(|at| !at.is_empty()),
            ..Receipt::of(self.id.to_string())
        }
    }
}

/// The short name of a delivery's page: `2026-0007-1-7a3fc81b09d2`. The same for every attempt.
pub(super) fn slug(post: &Post) -> String {
    let key: Vec<char> = post
        .key
        .as_str()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let end: String = key.iter().skip(key.len().saturating_sub(DIGITS)).collect();
    format!("{}-{end}", post.broadcast.as_str().replace('.', "-")).to_ascii_lowercase()
}

/// Whether WordPress would keep this short name as it is.
pub(super) fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// An answer to a question that cannot be used: nothing was changed.
pub(super) fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the site's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
