//! How requests are read, refused and addressed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::model::Mode;
use crate::wall::sim::Call;

pub(super) type Answer = Result<Value, (u16, &'static str, String)>;

pub(super) fn refused<T>(
    status: u16,
    name: &'static str,
    message: impl Into<String>,
) -> Result<T, (u16, &'static str, String)> {
    Err((status, name, message.into()))
}

/// The mode that an account's address begins with.
pub(super) fn mode(base: &str) -> Mode {
    let path = url::Url::parse(base).ok();
    path.as_ref()
        .and_then(|url| url.path_segments()?.next()?.parse().ok())
        .unwrap_or(Mode::Live)
}

/// The body of a procedure; unknown fields are refused.
pub(super) fn input(
    call: &Call<'_>,
    fields: &[&str],
) -> Result<Map<String, Value>, (u16, &'static str, String)> {
    let kind = call.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return refused(
            400,
            "InvalidRequest",
            format!("Wrong request encoding (Content-Type): {kind}"),
        );
    }
    let Some(Value::Object(body)) = call.json() else {
        return refused(400, "SyntaxError", "Unexpected token in JSON");
    };
    match body.keys().find(|name| !fields.contains(&name.as_str())) {
        Some(name) => refused(
            400,
            "InvalidRequest",
            format!("Input has the unknown property \"{name}\""),
        ),
        None => Ok(body),
    }
}

pub(super) fn text<'a>(
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, (u16, &'static str, String)> {
    let value = body.get(name).and_then(Value::as_str);
    value.map_or_else(
        || {
            refused(
                400,
                "InvalidRequest",
                format!("Input must have the property \"{name}\""),
            )
        },
        Ok,
    )
}

pub(super) fn key(body: &Map<String, Value>) -> Result<&str, (u16, &'static str, String)> {
    let rkey = text(body, "rkey")?;
    let alphabet = "234567abcdefghijklmnopqrstuvwxyz";
    let first = rkey
        .chars()
        .next()
        .is_some_and(|c| "234567abcdefghij".contains(c));
    if rkey.len() == 13 && first && rkey.chars().all(|c| alphabet.contains(c)) {
        Ok(rkey)
    } else {
        refused(
            400,
            "InvalidRequest",
            format!("Invalid record key {rkey}: Invalid TID string"),
        )
    }
}

pub(super) fn bearer<'a>(call: &'a Call<'_>) -> Result<&'a str, (u16, &'static str, String)> {
    call.bearer()
        .map_or_else(|| refused(401, "AuthMissing", "Authentication Required"), Ok)
}

/// A made-up content address: the same for the same content, whatever the order of its fields.
pub(super) fn cid(value: &Value) -> String {
    let hash = hex::encode(Sha256::digest(canonical(value)));
    format!("bafyrei{}", hash.chars().take(52).collect::<String>())
}

pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let parts: Vec<_> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), canonical(value)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
