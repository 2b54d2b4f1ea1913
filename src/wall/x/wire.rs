//! How requests are read and posts are shown.

use serde_json::{Value, json};

use super::Tweet;
use super::refusal::Refusal;
use crate::compose::count::weighted::links;
use crate::wall::sim::Call;

/// Under which names fields were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Old,
    New,
}

impl Names {
    /// Refuses every parameter besides those of fields and `known`.
    pub(super) fn of(call: &Call<'_>, known: &[&str]) -> Result<Self, Refusal> {
        let mut all = vec![
            "tweet.fields",
            "post.fields",
            "expansions",
            "user.fields",
            "media.fields",
        ];
        all.extend(known);
        only(call, &all)?;
        Ok(if call.query("post.fields").is_some() {
            Self::New
        } else {
            Self::Old
        })
    }
}

pub(super) fn only(call: &Call<'_>, known: &[&str]) -> Result<(), Refusal> {
    match call
        .query
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()))
    {
        Some((name, _)) => Err(Refusal::invalid(format!(
            "The query parameter [{name}] is not one of {known:?}"
        ))),
        None => Ok(()),
    }
}

pub(super) fn body(call: &Call<'_>) -> Result<Value, Refusal> {
    let is_json = call
        .header("content-type")
        .unwrap_or_default()
        .starts_with("application/json");
    let body = call.json().filter(|body| is_json && body.is_object());
    body.ok_or_else(|| Refusal::invalid("the body is no JSON object"))
}

/// Refuses an object with a key that is not `known`.
pub(super) fn fields(object: &Value, known: &[&str]) -> Result<(), Refusal> {
    let keys = object
        .as_object()
        .ok_or_else(|| Refusal::invalid("an object was expected"))?;
    match keys.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::invalid(format!(
            "$.{key}: is not defined in the schema and the schema does not allow additional properties"
        ))),
        None => Ok(()),
    }
}

/// The addresses of a text, as they can be followed.
pub(super) fn addresses(text: &str) -> Vec<String> {
    let found = links(text).into_iter().filter_map(|range| text.get(range));
    found
        .map(|link| {
            if link.contains("://") {
                link.to_owned()
            } else {
                format!("http://{link}")
            }
        })
        .collect()
}

/// A post as the API gives it: links shortened, signs escaped, its picture a link at the end.
pub(super) fn show(tweet: &Tweet, names: Names) -> Value {
    let mut text = String::new();
    let mut urls = Vec::new();
    let mut from = 0;
    for (number, (range, long)) in links(&tweet.text).into_iter().zip(&tweet.links).enumerate() {
        text.push_str(&escape(tweet.text.get(from..range.start).unwrap_or_default()));
        let short = format!("https://t.co/{:010}", number + 1);
        urls.push(entity(&text, &short, long));
        text.push_str(&short);
        from = range.end;
    }
    text.push_str(&escape(tweet.text.get(from..).unwrap_or_default()));
    if tweet.pictures > 0 {
        let short = format!("https://t.co/P{:09}", 1);
        text.push(' ');
        let mut own = entity(
            &text,
            &short,
            &format!("https://x.com/kommun/status/{}/photo/1", tweet.id),
        );
        own["media_key"] = "3_1880028106020515840".into();
        urls.push(own);
        text.push_str(&short);
    }
    let history = match names {
        Names::Old => "edit_history_tweet_ids",
        Names::New => "edit_history_post_ids",
    };
    let mut shown = json!({
        "id": tweet.id, "text": text, "created_at": format!("{:.3}", tweet.at), history: [tweet.id],
    });
    if !urls.is_empty() {
        shown["entities"] = json!({ "urls": urls });
    }
    shown
}

pub(super) fn entity(before: &str, short: &str, long: &str) -> Value {
    let start = before.chars().count();
    let display = long.split_once("://").map_or(long, |(_, rest)| rest);
    json!({
        "start": start, "end": start + short.len(), "url": short, "expanded_url": long, "display_url": display,
    })
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
