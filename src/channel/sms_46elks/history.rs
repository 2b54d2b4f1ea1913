//! The account's history, read page by page from the newest on, and how a message of ours is known in it.
//!
//! 46elks gives at most 100 messages at once, the newest first, between `end` (after it) and `start` (before it), and only
//! those to one number with `to` <https://46elks.se/docs/sms-history>, read 2026-11. We ask for one number and for the
//! time of our attempts, so that one page is the rule; that what comes is what was asked for is checked all the same, and
//! a service that does not heed `to` is paged through.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use crate::clock::{self, Timestamp};
use crate::model::{Reason, Receipt};

/// How many pages of a hundred are read at most. One is the rule; should the service not heed `to`, this is what a raised
/// limit of 400 messages a second puts between the earliest and the latest moment that a message of ours can bear.
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
    /// It was taken, and will not arrive.
    Failed(Reason),
    /// Everything of that time was seen.
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
    oldest: Timestamp,
    hidden: bool,
    failed: Option<Reason>,
}

impl Walk {
    /// A walk from the last moment on that a message of ours can bear.
    pub(super) fn of(wanted: &Wanted<'_>) -> Self {
        Self {
            pages: 0,
            oldest: wanted.until,
            hidden: false,
            failed: None,
        }
    }

    /// What to ask for. The page begins a microsecond after the oldest message seen, so that nothing of the same
    /// microsecond is left out, and ends a microsecond before the first moment that counts.
    pub(super) fn query(&self, wanted: &Wanted<'_>) -> [(&'static str, String); 3] {
        let written = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        let end = clock::from_micros(wanted.since.as_microsecond().saturating_sub(1));
        [
            ("to", wanted.to.to_owned()),
            ("start", written(self.limit())),
            ("end", written(end)),
        ]
    }

    fn limit(&self) -> Timestamp {
        clock::from_micros(self.oldest.as_microsecond().saturating_add(1))
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
            if at >= self.limit() {
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
                    // An attempt that was made again may still have got through: the walk goes on.
                    self.failed.get_or_insert_with(failed);
                }
                Some(_) => {}
                None => self.hidden = true,
            }
        }
        self.pages += 1;
        let is_last = oldest.is_none_or(|oldest| oldest < wanted.since || oldest >= self.oldest);
        if is_last {
            return Ok(Some(match self.failed.take() {
                // What shows no words may be the attempt that got through.
                Some(_) | None if self.hidden => Search::Hidden,
                Some(reason) => Search::Failed(reason),
                None => Search::NotThere,
            }));
        }
        self.oldest = oldest.unwrap_or(self.oldest);
        if self.pages >= PAGES {
            let text = format!(
                "not among the latest {} messages of that time, and there are more",
                PAGES * 100
            );
            return Ok(Some(Search::TooMuch(text)));
        }
        Ok(None)
    }
}

/// 46elks took a message and says that it will not arrive.
pub(super) fn failed() -> Reason {
    let text = "46elks took the message and says that it failed; is the number right?";
    Reason::new("failed", text)
}

/// The id of a message: letters and digits.
pub(super) fn id(message: &Value) -> Option<&str> {
    message["id"].as_str().filter(|id| is_id(id))
}

/// Whether it has the form of a message's id.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 100 && id.bytes().all(|b| b.is_ascii_alphanumeric())
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
