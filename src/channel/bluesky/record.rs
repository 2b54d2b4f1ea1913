//! The record: a post as the lexicon `app.bsky.feed.post` has it, the same bytes for every attempt.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use unicode_segmentation::UnicodeSegmentation;

use crate::model::{Lang, Post, Reason, Receipt};

/// Longest text in extended grapheme clusters. Lexicon app.bsky.feed.post, read 2026-08.
pub(super) const MAX_GRAPHEMES: usize = 300;
/// Longest text in UTF-8 bytes. The same.
pub(super) const MAX_BYTES: usize = 3000;
/// Most languages. The same.
const MAX_LANGS: usize = 3;

/// The alphabet of record keys that sort by time.
const TID: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// The record of a delivery that is one post without a picture.
#[cfg(test)]
fn of(post: &Post) -> Result<Value, Reason> {
    part(post, &post.rendering.text, reply(post), Some(card(post)))
}

/// What a delivery answers to: the alert's first post and the latest one.
pub(super) fn reply(post: &Post) -> Option<Value> {
    let root = post.root.as_ref().and_then(strong_ref)?;
    let parent = post.parent.as_ref().and_then(strong_ref);
    Some(json!({ "root": root, "parent": parent.unwrap_or_else(|| root.clone()) }))
}

/// The card of the page that the message links to.
pub(super) fn card(post: &Post) -> Value {
    let link = &post.rendering.link;
    let host = link.host_str().unwrap_or_default();
    let description = match post.rendering.languages.first() {
        Some(Lang::En) => format!("Read more at {host}"),
        Some(Lang::Sv) | None => format!("Läs mer på {host}"),
    };
    json!({
        "$type": "app.bsky.embed.external",
        "external": { "uri": link.as_str(), "title": post.rendering.headline, "description": description },
    })
}

/// The record of one post of a delivery.
///
/// # Errors
/// If the service would refuse it for its length.
pub(super) fn part(
    post: &Post,
    text: &str,
    reply: Option<Value>,
    embed: Option<Value>,
) -> Result<Value, Reason> {
    let graphemes = text.graphemes(true).count();
    if graphemes > MAX_GRAPHEMES || text.len() > MAX_BYTES {
        return Err(Reason::new(
            "too-long",
            format!(
                "the text has {graphemes} characters and {} bytes; Bluesky takes {MAX_GRAPHEMES} and {MAX_BYTES}",
                text.len()
            ),
        ));
    }
    let langs: Vec<&str> = post
        .rendering
        .languages
        .iter()
        .take(MAX_LANGS)
        .map(|lang| lang.as_str())
        .collect();
    let link = post.rendering.link.as_str();
    let mut record = json!({
        "$type": "app.bsky.feed.post",
        "text": text,
        "createdAt": post.accepted_at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "langs": langs,
        "facets": links(text, link).map(facet).collect::<Vec<_>>(),
    });
    if let Some(fields) = record.as_object_mut() {
        let more = [("reply", reply), ("embed", embed)].into_iter();
        fields.extend(more.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    Ok(record)
}

/// The key of a delivery's first record.
pub(super) fn rkey(post: &Post) -> String {
    rkey_of(post, 1)
}

/// The key of the `n`th record, counted from 1: the time of acceptance, a microsecond later for each part, and in the
/// lowest ten bits a mark of the delivery.
pub(super) fn rkey_of(post: &Post, n: usize) -> String {
    let micros = u64::try_from(post.accepted_at.as_microsecond()).unwrap_or(0);
    let micros = micros.saturating_add(u64::try_from(n.saturating_sub(1)).unwrap_or(0));
    let hash = Sha256::digest(post.key.as_str());
    let mark = hash
        .iter()
        .take(2)
        .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        & 0x3ff;
    let value = (micros << 10 | mark) & (u64::MAX >> 1);
    (0..13)
        .rev()
        .filter_map(|digit| TID.get(usize::try_from(value >> (5 * digit) & 31).ok()?))
        .map(|byte| char::from(*byte))
        .collect()
}

/// Whether a text has the form of such a key.
pub(super) fn is_tid(text: &str) -> bool {
    text.len() == 13
        && text.bytes().all(|b| TID.contains(&b))
        && text.bytes().next().is_some_and(|b| b <= b'j')
}

/// Where a receipt's first post stands, and in which version.
pub(super) fn strong_ref(receipt: &Receipt) -> Option<Value> {
    let cid = receipt.version.as_ref()?.split(' ').next()?;
    receipt
        .remote_id
        .starts_with("at://")
        .then(|| json!({ "uri": receipt.remote_id, "cid": cid }))
}

/// The web addresses in a text with the byte offset of each.
fn links<'a>(text: &'a str, link: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let mut offset = 0;
    text.split_inclusive(char::is_whitespace).filter_map(move |word| {
        let start = offset;
        offset += word.len();
        let at = word.find("https://").or_else(|| word.find("http://"))?;
        let (_, address) = word.split_at_checked(at)?;
        // What ends the sentence is not part of the address, unless the message's own link ends like that.
        let bare = address.trim_end_matches(|c: char| c.is_whitespace() || ".,;:!?)]}\"'”’»".contains(c));
        let address = if address.starts_with(link) && bare.len() < link.len() {
            link
        } else {
            bare
        };
        url::Url::parse(address).ok()?.host_str()?;
        Some((start + at, address))
    })
}

/// A link is dead text on Bluesky unless a facet says where it stands, in bytes.
fn facet((start, address): (usize, &str)) -> Value {
    json!({
        "index": { "byteStart": start, "byteEnd": start + address.len() },
        "features": [{ "$type": "app.bsky.richtext.facet#link", "uri": address }],
    })
}

#[cfg(test)]
mod tests;
