//! How requests are read and refused.

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::wall::sim::{Call, reply};

/// What the site says no with: status, code, message.
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str, pub(super) String);

impl Refusal {
    pub(super) fn parameter(name: &str) -> Self {
        Self(400, "rest_invalid_param", format!("Invalid parameter(s): {name}"))
    }

    pub(super) fn answer(self) -> Response<Vec<u8>> {
        let Self(status, code, message) = self;
        let data = if code == "rest_invalid_param" {
            json!({"status": status, "params": {"": message}, "details": {}})
        } else {
            json!({"status": status})
        };
        reply(status, &json!({"code": code, "message": message, "data": data}))
    }
}

pub(super) fn refuse<T>(status: u16, code: &'static str, message: &str) -> Result<T, Refusal> {
    Err(Refusal(status, code, message.to_owned()))
}

/// Refuses query parameters besides `known`.
pub(super) fn known_query(call: &Call<'_>, known: &[&str]) -> Result<(), Refusal> {
    match call
        .query
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()))
    {
        Some((name, _)) => Err(Refusal::parameter(name)),
        None => Ok(()),
    }
}

pub(super) fn fields(call: &Call<'_>, known: &[&str]) -> Result<serde_json::Map<String, Value>, Refusal> {
    known_query(call, &[])?;
    if !call
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"))
    {
        return Err(Refusal::parameter("content-type"));
    }
    let Some(Value::Object(fields)) = call.json() else {
        return refuse(400, "rest_invalid_json", "Invalid JSON body passed.");
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Refusal::parameter(name)),
        None => Ok(fields),
    }
}

pub(super) fn html(status: u16, body: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(body.as_bytes().to_vec());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}
