//! Reads the account back, to find out what became of an attempt.

use std::time::Duration;

use super::{Account, ME, created, html, no_sense, receipt};
use crate::channel::patience::Patience;
use crate::clock::Timestamp;
use crate::model::{Question, Reason, Receipt, SendError, Settled};

/// What reading the account back gave.
pub(super) enum Search {
    Found(Receipt),
    /// Everything since the attempt was seen.
    NotThere,
    /// There was more than we read.
    TooMuch,
    /// The service does not let us read.
    Closed(Reason),
}

/// What is looked for when the account is read back.
pub(super) struct Wanted<'a> {
    pub(super) text: &'a str,
    /// Ids that belong to other deliveries.
    pub(super) taken: &'a [String],
    /// The post that it must answer to, if that is known.
    pub(super) under: Option<&'a str>,
}

/// Statuses per page, the most that a server gives.
pub(super) const PAGE: usize = 40;

/// How many pages are read back at most. Paging is limited to 300 requests in 15 minutes.
pub(super) const PAGES: usize = 10;

/// A server keeps a key for 3600 s from the post; a repeat takes a while to get there.
pub(super) const KEY_HOLDS: Duration = Duration::from_mins(55);

impl Account {
    /// Reads the account back until it is clear, or no longer than is wise.
    pub(super) async fn settle_one(
        &self,
        question: &Question,
        wanted: &Wanted<'_>,
    ) -> Result<Settled, SendError> {
        let since = question.earliest();
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            let search = self.search(wanted, since).await?;
            if let Search::Found(receipt) = search {
                return Ok(Settled::Found(receipt));
            }
            // As long as the server knows the key, a repeat is either the first post or the same one.
            let held = question.is_younger_than(KEY_HOLDS);
            if held && look == 0 && self.honours_keys().await? {
                return Ok(Settled::Absent);
            }
            match search {
                Search::Found(_) | Search::NotThere => {}
                Search::TooMuch => {
                    let text = format!("not among the latest {} posts, and there are more", PAGE * PAGES);
                    return Ok(Settled::Unclear(Reason::new("read-back-incomplete", text)));
                }
                Search::Closed(reason) => return Ok(Settled::Unclear(reason)),
            }
        }
        patience.absent(question)
    }

    /// Looks for the post among those since `since`, newest first.
    pub(super) async fn search(&self, sought: &Wanted<'_>, since: Timestamp) -> Result<Search, SendError> {
        let me = match self.get_json(self.url(ME)).await {
            Ok(me) => me,
            Err(SendError::Refused(reason)) => return Ok(Search::Closed(reason)),
            Err(other) => return Err(other),
        };
        let id = me["id"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| no_sense("the account has no id"))?;
        let wanted = html::normal(sought.text);
        let mut before: Option<String> = None;
        for _ in 0..PAGES {
            let mut url = self.url(&["api", "v1", "accounts", id, "statuses"]);
            url.query_pairs_mut()
                .append_pair("limit", &PAGE.to_string())
                .append_pair("exclude_reblogs", "true");
            if let Some(before) = &before {
                url.query_pairs_mut().append_pair("max_id", before);
            }
            let page = match self.get_json(url).await {
                Ok(page) => page,
                Err(SendError::Refused(reason)) => return Ok(Search::Closed(reason)),
                Err(other) => return Err(other),
            };
            let page = page.as_array().ok_or_else(|| no_sense("no list of posts"))?;
            for status in page {
                let (Some(found), Some(at)) = (receipt(status), created(status)) else {
                    return Err(no_sense("a post without id or time"));
                };
                if at < since {
                    return Ok(Search::NotThere);
                }
                let content = status["content"].as_str().unwrap_or_default();
                let elsewhere = sought
                    .under
                    .is_some_and(|id| status["in_reply_to_id"].as_str().is_some_and(|under| under != id));
                if !elsewhere
                    && !sought.taken.contains(&found.remote_id)
                    && html::normal(&html::text(content)) == wanted
                {
                    return Ok(Search::Found(found));
                }
                before = Some(found.remote_id);
            }
            if page.is_empty() {
                return Ok(Search::NotThere);
            }
        }
        Ok(Search::TooMuch)
    }
}
