//! How requests are read and refused, and what the server says of itself.

use std::collections::BTreeMap;

use http::Response;
use serde_json::{Value, json};

use super::{MAX_CHARACTERS, text};
use crate::clock::Timestamp;
use crate::wall::sim::{Call, error};

/// What the server says no to, with its status.
pub(super) struct Refusal(pub(super) u16, pub(super) String);

impl Refusal {
    pub(super) fn answer(&self) -> Response<Vec<u8>> {
        error(self.0, &self.1)
    }
}

/// The parameters of a form or of a JSON object, if all of them are known and of the right type.
pub(super) fn fields(call: &Call<'_>, known: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    let kind = call.header("content-type").unwrap_or_default();
    let mut fields = BTreeMap::new();
    if kind.starts_with("application/json") {
        let Some(Value::Object(body)) = call.json() else {
            return Err(Refusal(
                400,
                "Error occurred while parsing request parameters".into(),
            ));
        };
        for (name, value) in body {
            match value {
                Value::String(text) => drop(fields.insert(name, text)),
                Value::Bool(flag) => drop(fields.insert(name, flag.to_string())),
                Value::Null => {}
                Value::Array(ids) if name == "media_ids" && ids.iter().all(Value::is_string) => {
                    let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
                    fields.insert(name, ids.join(","));
                }
                Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(Refusal(400, format!("{name} has the wrong type")));
                }
            }
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        fields.extend(call.form());
    } else {
        return Err(Refusal(400, "unknown content type".into()));
    }
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal(400, format!("unknown parameter {name}"))),
        None => Ok(fields),
    }
}

/// The ids of a list as [`fields`] gives it.
pub(super) fn list(ids: &str) -> Vec<String> {
    ids.split(',')
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(super) fn check(text: &str, spoiler: &str, with_media: bool) -> Result<(), Refusal> {
    if text.trim().is_empty() && !with_media {
        return Err(Refusal(422, "Validation failed: Text can't be blank".into()));
    }
    if text::length(text) + text::length(spoiler) > MAX_CHARACTERS {
        let text = format!("Validation failed: Text character limit of {MAX_CHARACTERS} exceeded");
        return Err(Refusal(422, text));
    }
    Ok(())
}

pub(super) fn instance(base: &str) -> Value {
    let domain = base.split("//").last().unwrap_or_default();
    json!({
        "domain": domain, "title": "Övningsväggen", "version": "4.5.0", "api_versions": {"mastodon": 7},
        "source_url": "https://github.com/mastodon/mastodon",
        "configuration": {
            "accounts": {"max_display_name_length": 30, "max_note_length": 500, "max_pinned_statuses": 5},
            "statuses": {"max_characters": MAX_CHARACTERS, "max_media_attachments": 4,
                         "characters_reserved_per_url": text::URL_LENGTH},
            "media_attachments": {"supported_mime_types": ["image/jpeg", "image/png"], "description_limit": 1500,
                                  "image_size_limit": 16_777_216, "image_matrix_limit": 33_177_600},
        },
    })
}

/// Whether id `a` is older than id `b`: numbers of any length, compared as such.
pub(super) fn before(a: &str, b: &str) -> bool {
    (a.len(), a) < (b.len(), b)
}

pub(super) fn iso(at: Timestamp, digits: usize) -> String {
    format!("{at:.digits$}")
}
