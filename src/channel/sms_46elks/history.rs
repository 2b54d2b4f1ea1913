//! The account's history, read page by page from the newest on, and how a message of ours is known in it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::clock::{self, Timestamp};
use crate::model::Receipt;

/// How many pages of a hundred are read at most: what a raised limit of 400 messages a second puts between the earliest
/// and the latest moment that a message of ours can bear.
const PAGES: usize = 1000;

/// The message that is looked for.
pub(super) struct Wanted<'a> {
    pub to: &'a str,
    pub from: &'a str,
    pub text: &'a str,
    /// Nothing older is ours.
    pub since: Timestamp,
    /// Nothing newer is ours.
    pub until: Timestamp,
    /// Ids that belong to other deliveries.
    pub taken: &'a [String],
}

/// What the history gave.
#[derive(Debug)]
pub(super) enum Search {
    Found(Receipt),
    /// It is there, and 46elks says that it failed.
    Failed,
    /// Everything since then was seen.
    NotThere,
    /// Everything was seen; one message fits but for its words, which the history does not keep.
    Hidden,
    /// Not everything could be seen, and why.
    TooMuch(String),
}

/// A walk back in time.
pub(super) struct Walk {
    pages: usize,
    /// The oldest moment seen so far.
    oldest: Option<Timestamp>,
    hidden: bool,
    /// One that failed was seen. An earlier one may have arrived all the same.
    failed: bool,
}

impl Walk {
    /// A walk from `latest` on, or from the newest message.
    pub(super) fn from(latest: Option<Timestamp>) -> Self {
        Self {
            pages: 0,
            oldest: latest,
            hidden: false,
            failed: false,
        }
    }

    /// Before which moment the next page is to begin, as the service writes it; `None` for the first page. A microsecond
    /// after the oldest message seen, so that nothing of the same microsecond is left out.
    pub(super) fn start(&self) -> Option<String> {
        self.limit()
            .map(|limit| limit.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string())
    }

    fn limit(&self) -> Option<Timestamp> {
        self.oldest
            .map(|oldest| clock::from_micros(oldest.as_microsecond().saturating_add(1)))
    }

    /// Takes a page in; `Some` if there is nothing more to read.
    ///
    /// # Errors
    /// What of it cannot be read.
    pub(super) fn read(&mut self, page: &Value, wanted: &Wanted<'_>) -> Result<Option<Search>, &'static str> {
        let page = page["data"].as_array().ok_or("no list of messages")?;
        let mut oldest = None;
        for message in page {
            let id = id(message).ok_or("a message without id")?;
            let at = created(message).ok_or("a message without its time")?;
            if self.limit().is_some_and(|limit| at >= limit) {
                let text = "the history does not let itself be read page by page".to_owned();
                return Ok(Some(Search::TooMuch(text)));
            }
            oldest = Some(oldest.map_or(at, |oldest: Timestamp| oldest.min(at)));
            let fits = message["direction"] != "incoming"
                && message["to"] == wanted.to
                && message["from"] == wanted.from
                && at >= wanted.since
                && !wanted.taken.iter().any(|taken| taken == id);
            if !fits {
                continue;
            }
            match message["message"].as_str() {
                Some(text) if normal(text) == normal(wanted.text) => {
                    if message["status"] != "failed" {
                        return Ok(Some(Search::Found(Receipt::of(id))));
                    }
                    self.failed = true;
                }
                Some(_) => {}
                None => self.hidden = true,
            }
        }
        self.pages += 1;
        let is_last = match (oldest, self.oldest) {
            (None, _) => true,
            (Some(now), _) if now < wanted.since => true,
            (Some(now), Some(before)) => now >= before,
            (Some(_), None) => false,
        };
        if is_last {
            return Ok(Some(if self.hidden {
                Search::Hidden
            } else if self.failed {
                Search::Failed
            } else {
                Search::NotThere
            }));
        }
        self.oldest = oldest;
        if self.pages >= PAGES {
            let text = format!(
                "not among the latest {} messages, and there are more",
                PAGES * 100
            );
            return Ok(Some(Search::TooMuch(text)));
        }
        Ok(None)
    }
}

/// The id of a message: letters and digits.
pub(super) fn id(message: &Value) -> Option<&str> {
    message["id"]
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= 100 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// When a message was taken. UTC, but written without saying so.
fn created(message: &Value) -> Option<Timestamp> {
    let text = message["created"].as_str()?;
    let zoned = || text.parse::<Timestamp>().ok();
    let bare = || {
        let at: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(at).ok()
    };
    zoned().or_else(bare)
}

/// One form for all ways of writing the same words.
fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().nfc().collect()
}
