//! Reads the page back, to find out what became of an attempt.

use unicode_normalization::UnicodeNormalization;

use super::{Account, created, no_sense, noted, receipt};
use crate::channel::patience::Search;
use crate::model::{Question, SendError};

/// Posts per page of an answer.
pub(super) const PAGE: usize = 25;

/// How many of those are read at most.
pub(super) const PAGES: usize = 10;

/// One form for all ways of writing the same words.
pub(super) fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().nfc().collect()
}

impl Account {
    /// Looks for the post among those since the attempt.
    pub(super) async fn search(&self, question: &Question) -> Result<Search, SendError> {
        let since = question.earliest();
        let wanted = normal(&question.post.rendering.text);
        let (limit, from) = (PAGE.to_string(), since.as_second().to_string());
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let mut parameters = vec![
                ("fields", "id,message,created_time,permalink_url"),
                ("limit", limit.as_str()),
                ("since", from.as_str()),
            ];
            if let Some(after) = &after {
                parameters.push(("after", after));
            }
            let path = [self.settings.page_id.as_str(), "published_posts"];
            let (body, _) = self.get(&path, &parameters).await?;
            let posts = body["data"]
                .as_array()
                .ok_or_else(|| no_sense("no list of posts"))?;
            for post in posts {
                let (Some(found), Some(at)) = (receipt(post), created(post)) else {
                    return Err(no_sense("a post without id or time"));
                };
                let message = post["message"].as_str().unwrap_or_default();
                if at >= since && !question.taken.contains(&found.remote_id) && normal(message) == wanted {
                    return Ok(Search::Found(noted(found, &question.post.steps)));
                }
            }
            // The last page has no `next`; an address in an answer is never followed, the cursor is.
            let cursor = body["paging"]["cursors"]["after"].as_str();
            match cursor.filter(|_| body["paging"]["next"].is_string() && !posts.is_empty()) {
                Some(cursor) => after = Some(cursor.to_owned()),
                None => return Ok(Search::NotThere),
            }
        }
        Ok(Search::TooMuch)
    }
}
