//! What stands in our events, and under which transaction ids they are sent. Both the same for every attempt.

use serde_json::{Value, json};

use crate::model::{Picture, Post};

/// Carries the delivery's id, so that the message is known again by whoever reads the room, from whatever device. The
/// specification leaves names like this one to those who use them.
pub(super) const MARK: &str = "se.vardkase.delivery";

/// The transaction id of a post's text.
pub(super) fn key(post: &Post) -> String {
    format!("vk-{}", post.key)
}

/// The transaction id of a post's picture.
pub(super) fn picture_key(post: &Post) -> String {
    format!("vk-{}-picture", post.key)
}

/// The transaction id of a change.
pub(super) fn edit_key(post: &Post) -> String {
    format!("vk-{}-edit", post.key)
}

/// The transaction id of taking an event away. Synapse knows ids by room and device, not by path: each needs its own.
pub(super) fn redaction_key(event: &str) -> String {
    let plain = event
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    format!("vk-redact-{}", plain.take(100).collect::<String>())
}

/// A post's text. No HTML: what was accepted is what stands there.
pub(super) fn text(post: &Post) -> Value {
    let mut content = json!({
        "msgtype": "m.text",
        "body": post.rendering.text,
        "m.mentions": {},
        MARK: post.key.as_str(),
    });
    if let Some(parent) = &post.parent {
        // A server takes an answer to what is gone; it then stands alone.
        content["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": parent.remote_id } });
    }
    content
}

/// A post's picture; its alternative text is what a client without pictures shows.
pub(super) fn picture(post: &Post, picture: &Picture, address: &str) -> Value {
    json!({
        "msgtype": "m.image",
        "body": picture.alt,
        "filename": picture.file_name(),
        "url": address,
        "info": {
            "mimetype": picture.media_type,
            "w": picture.width,
            "h": picture.height,
            "size": picture.bytes.len(),
        },
        "m.mentions": {},
        MARK: post.key.as_str(),
    })
}

/// The text that takes the place of `event`.
pub(super) fn edit(event: &str, post: &Post) -> Value {
    let text = post.rendering.text.as_str();
    json!({
        "msgtype": "m.text",
        // What clients show that know of no changes.
        "body": format!("* {text}"),
        "m.mentions": {},
        "m.new_content": { "msgtype": "m.text", "body": text, "m.mentions": {} },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event },
    })
}

/// Why an event is taken away, as members of the room read it.
pub(super) fn redaction() -> Value {
    json!({ "reason": "Återtaget av avsändaren" })
}

/// Whether an event of ours, as the server gives it, is the text of this post.
pub(super) fn is_text_of(event: &Value, post: &Post) -> bool {
    let content = &event["content"];
    content["msgtype"] == "m.text"
        && content["m.relates_to"]["rel_type"] != "m.replace"
        && (content[MARK] == post.key.as_str() || event["unsigned"]["transaction_id"] == key(post).as_str())
}
