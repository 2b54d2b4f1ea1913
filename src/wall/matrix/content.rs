//! The content of a message, read strictly: `content-repo` and `m.room.message` of the specification, no field more.

use serde_json::Value;

/// Where clients may keep what is their own; ours keeps the delivery's id there.
pub(super) const MARK: &str = "se.vardkase.delivery";

/// What a message is.
pub(super) enum Content {
    Text { body: String, answers: Option<String> },
    Change { of: String, body: String },
    Image { url: String, alt: String, size: usize },
}

impl Content {
    pub fn read(content: &Value) -> Result<Self, String> {
        let body = words(content, "body")?;
        if !content["m.mentions"].is_object() {
            return Err("m.mentions must say who is meant".to_owned());
        }
        let relation = &content["m.relates_to"];
        match words(content, "msgtype")?.as_str() {
            "m.text" | "m.notice" if relation["rel_type"] == "m.replace" => {
                only(
                    content,
                    &["msgtype", "body", "m.mentions", "m.new_content", "m.relates_to"],
                )?;
                only(relation, &["rel_type", "event_id"])?;
                let new = &content["m.new_content"];
                only(
                    new,
                    &["msgtype", "body", "format", "formatted_body", "m.mentions"],
                )?;
                words(new, "msgtype")?;
                Ok(Self::Change {
                    of: words(relation, "event_id")?,
                    body: words(new, "body")?,
                })
            }
            "m.text" | "m.notice" => {
                only(
                    content,
                    &[
                        "msgtype",
                        "body",
                        "format",
                        "formatted_body",
                        "m.mentions",
                        "m.relates_to",
                    ],
                )?;
                let mut answers = None;
                if !relation.is_null() {
                    only(relation, &["m.in_reply_to"])?;
                    only(&relation["m.in_reply_to"], &["event_id"])?;
                    answers = Some(words(&relation["m.in_reply_to"], "event_id")?);
                }
                Ok(Self::Text { body, answers })
            }
            "m.image" => {
                only(
                    content,
                    &["msgtype", "body", "filename", "url", "info", "m.mentions"],
                )?;
                words(content, "filename")?;
                let info = &content["info"];
                only(info, &["mimetype", "w", "h", "size"])?;
                words(info, "mimetype")?;
                let number = |name: &str| info[name].as_u64().ok_or_else(|| format!("info.{name}"));
                number("w")?;
                number("h")?;
                Ok(Self::Image {
                    url: words(content, "url")?,
                    alt: body,
                    size: usize::try_from(number("size")?).map_err(|_| "info.size")?,
                })
            }
            other => Err(format!("unknown msgtype {other}")),
        }
    }
}

/// Refuses fields that are neither known nor a client's own.
pub(super) fn only(value: &Value, known: &[&str]) -> Result<(), String> {
    let Value::Object(fields) = value else {
        return Err("must be a JSON object".to_owned());
    };
    match fields
        .keys()
        .find(|name| !known.contains(&name.as_str()) && *name != MARK)
    {
        Some(name) => Err(format!("unknown field {name}")),
        None => Ok(()),
    }
}

fn words(value: &Value, name: &str) -> Result<String, String> {
    value[name]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| format!("{name} must be a text"))
}
