//! Looks for a post among those that an account has published: the same words, since a time, not another delivery's.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use url::Url;

use super::client::{Graph, id, no_sense};
use crate::channel::patience::Search;
use crate::clock::Timestamp;
use crate::model::{Receipt, SendError};

/// Posts per page of an answer.
const PAGE: usize = 25;
/// How many of those are read at most.
const PAGES: usize = 10;

/// What is looked for, and where.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Look<'a> {
    /// The list of posts.
    pub path: &'a [&'a str],
    /// The field that holds a post's words.
    pub words: &'a str,
    /// The words, as they were sent.
    pub wanted: &'a str,
    /// The earliest time that the service may have put on it.
    pub since: Timestamp,
    /// Ids of others.
    pub taken: &'a [String],
}

/// How much is read at most, for people.
pub(in crate::channel) const MOST: usize = PAGE * PAGES;

pub(in crate::channel) async fn search(graph: &Graph, look: Look<'_>) -> Result<Search, SendError> {
    let wanted = normal(look.wanted);
    let fields = format!("id,{},timestamp,permalink", look.words);
    let (limit, from) = (PAGE.to_string(), look.since.as_second().to_string());
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let mut parameters = vec![
            ("fields", fields.as_str()),
            ("limit", limit.as_str()),
            ("since", from.as_str()),
        ];
        if let Some(after) = &after {
            parameters.push(("after", after));
        }
        let body = graph.get(look.path, &parameters).await?;
        let posts = body["data"]
            .as_array()
            .ok_or_else(|| no_sense("no list of posts"))?;
        for post in posts {
            let (Some(found), Some(at)) = (receipt(post), made(post)) else {
                return Err(no_sense("a post without id or time"));
            };
            let words = post[look.words].as_str().unwrap_or_default();
            if at >= look.since && !look.taken.contains(&found.remote_id) && normal(words) == wanted {
                return Ok(Search::Found(found));
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

/// Id and address of a post.
pub(in crate::channel) fn receipt(post: &Value) -> Option<Receipt> {
    Some(Receipt {
        url: address(post),
        ..Receipt::of(id(post)?)
    })
}

/// Where residents find it.
pub(in crate::channel) fn address(post: &Value) -> Option<String> {
    let url = Url::parse(post["permalink"].as_str()?).ok()?;
    matches!(url.scheme(), "https" | "http").then(|| url.into())
}

/// `2026-11-23T15:00:01+0000`.
/// When a post was made.
pub(in crate::channel) fn made(post: &Value) -> Option<Timestamp> {
    let text = post["timestamp"].as_str()?;
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text).ok()
}

/// One form for all ways of writing the same words.
fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().nfc().collect()
}
