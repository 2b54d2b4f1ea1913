//! The posts of a delivery: one, or the parts of a thread. Each part's place is on disk before the next one goes.

use serde_json::{Value, json};

use super::record::{self, is_tid};
use super::{Bluesky, POSTS, Place};
use crate::compose::parts;
use crate::model::{Post, Reason, Receipt, SendError, Steps};

fn step(n: usize) -> String {
    format!("part-{n}")
}

/// The places of the parts that are on disk, from the first one on.
pub(super) fn done(steps: &Steps) -> Vec<Place> {
    let place = |n| {
        let value = steps.get(&step(n))?;
        let (uri, cid) = value.split_once(' ')?;
        Some(Place {
            uri: uri.to_owned(),
            cid: cid.to_owned(),
        })
    };
    (1..=parts::MOST).map_while(place).collect()
}

/// Writes down where a part stands.
///
/// # Errors
/// If that failed: the part stands there, and reading back finds it again.
pub(super) async fn record(steps: &Steps, n: usize, place: &Place) -> Result<(), SendError> {
    let value = format!("{} {}", place.uri, place.cid);
    steps.record(&step(n), &value).await.map_err(SendError::Unknown)
}

/// What a receipt remembers beside the first post: its version, and the keys of the parts after it.
pub(super) fn version(places: &[Place]) -> Option<String> {
    let first = places.first()?;
    let keys = places
        .iter()
        .skip(1)
        .filter_map(|place| place.uri.rsplit('/').next());
    let words: Vec<&str> = std::iter::once(first.cid.as_str()).chain(keys).collect();
    Some(words.join(" "))
}

/// The keys of all posts of a receipt, the first one first.
///
/// # Errors
/// If it is no receipt of ours.
pub(super) fn keys(receipt: &Receipt) -> Result<Vec<String>, SendError> {
    let first = receipt
        .remote_id
        .rsplit_once(&format!("/{POSTS}/"))
        .map(|(_, rkey)| rkey);
    let others = receipt.version.as_deref().unwrap_or_default().split(' ').skip(1);
    let keys: Vec<String> = first.into_iter().chain(others).map(str::to_owned).collect();
    if first.is_some() && keys.iter().all(|key| is_tid(key)) {
        return Ok(keys);
    }
    Err(SendError::Refused(Reason::new(
        "receipt",
        format!("{} is no post of ours", receipt.remote_id),
    )))
}

/// What a part answers to: the part before it, or for the first one what the whole text answers to.
pub(super) fn reply(post: &Post, before: &[Place]) -> Option<Value> {
    let Some(last) = before.last() else {
        return record::reply(post);
    };
    let root = match (post.root.as_ref().and_then(record::strong_ref), before.first()) {
        (Some(root), _) => root,
        (None, first) => reference(first?),
    };
    Some(json!({ "root": root, "parent": reference(last) }))
}

fn reference(place: &Place) -> Value {
    json!({ "uri": place.uri, "cid": place.cid })
}

impl Bluesky {
    /// The text as posts: one, unless it is too long and the account makes threads (or this one was begun as one).
    pub(super) fn texts(&self, post: &Post, begun: bool) -> Vec<String> {
        let split = (self.long || begun).then(|| parts::of(post, &self.sender, &super::POST_RULE));
        split
            .flatten()
            .unwrap_or_else(|| vec![post.rendering.text.clone()])
    }
}
