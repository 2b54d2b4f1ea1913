//! A call held against the machine-readable specification: every field known, every required one there, every type right.

use std::sync::LazyLock;

use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};

use crate::wall::multipart;
use crate::wall::sim::{Call, reply};

/// An excerpt of the specification; see NOTICE.md.
static SPECIFICATION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("bot-api.json")).unwrap_or(Value::Null));

/// What the simulator acts on. Of the specification's other fields it says that they are not simulated.
const SIMULATED: &[&str] = &[
    "chat_id",
    "user_id",
    "text",
    "caption",
    "photo",
    "media",
    "link_preview_options",
    "reply_parameters",
    "disable_notification",
    "message_id",
    "message_ids",
];

/// What the service says no with.
pub(super) struct Refusal {
    code: u16,
    description: String,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(code: u16, description: impl Into<String>) -> Self {
        Self {
            code,
            description: description.into(),
            retry_after: None,
        }
    }

    pub(super) fn bad(what: impl std::fmt::Display) -> Self {
        Self::new(400, format!("Bad Request: {what}"))
    }

    pub(super) fn wait(seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(429, format!("Too Many Requests: retry after {seconds}"))
        }
    }

    pub(super) fn answer(&self) -> Response<Vec<u8>> {
        let mut body = json!({"ok": false, "error_code": self.code, "description": self.description});
        let Some(seconds) = self.retry_after else {
            return reply(self.code, &body);
        };
        body["parameters"] = json!({"retry_after": seconds});
        let mut answer = reply(self.code, &body);
        answer
            .headers_mut()
            .insert("retry-after", HeaderValue::from(seconds));
        answer
    }
}

/// The fields of a call.
pub(super) struct Given {
    pub(super) fields: Value,
    /// The bytes and the name of the one file.
    pub(super) file: Option<(Vec<u8>, String)>,
}

/// Whether a token has the shape of one.
pub(super) fn is_token(token: &str) -> bool {
    token.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty()
            && id.bytes().all(|b| b.is_ascii_digit())
            && secret.len() >= 30
            && secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    })
}

/// Reads the fields of a call, and the method's name as the specification spells it.
pub(super) fn read(method: &str, call: &Call<'_>) -> Result<(String, Given), Refusal> {
    let (name, fields) = fields_of(method).ok_or_else(|| Refusal::new(404, "Not Found"))?;
    let given = given(call, &fields)?;
    check(&given.fields, &fields, given.file.is_some())?;
    if let Some(other) = names(&given.fields).find(|field| !SIMULATED.contains(field)) {
        return Err(Refusal::bad(format_args!("{other} is not simulated")));
    }
    Ok((name, given))
}

/// The fields of a method, by its name in any case.
fn fields_of(method: &str) -> Option<(String, Vec<Value>)> {
    let methods = SPECIFICATION["methods"].as_object()?;
    if method.eq_ignore_ascii_case("unpinChatMessage") {
        let mut fields = methods.get("pinChatMessage")?.as_array()?.clone();
        fields.retain(|field| field["name"] != "disable_notification");
        return Some(("unpinChatMessage".to_owned(), fields));
    }
    let found = methods.iter().find(|(name, _)| name.eq_ignore_ascii_case(method));
    let (name, fields) = found?;
    Some((name.clone(), fields.as_array()?.clone()))
}

fn given(call: &Call<'_>, fields: &[Value]) -> Result<Given, Refusal> {
    let kind = call.header("content-type").unwrap_or_default();
    let mut texts: Vec<(String, String)> = call.query.clone();
    let mut file = None;
    // A file beside a description of media goes by the name that the description gives it.
    let any_name = fields.iter().any(|field| field["name"] == "media");
    if kind.starts_with("application/json") {
        let Some(Value::Object(body)) = call.json() else {
            return Err(Refusal::bad("can't parse JSON object"));
        };
        return Ok(Given {
            fields: Value::Object(body),
            file,
        });
    } else if kind.starts_with("multipart/form-data") {
        let form =
            multipart::fields(call.headers, call.body).ok_or_else(|| Refusal::bad("can't parse form"))?;
        for field in form {
            match (field.file_name.clone(), field.text()) {
                (Some(name), _) if (any_name || field.name == "photo") && file.is_none() => {
                    file = Some((field.value.to_vec(), name));
                }
                (None, Some(text)) => texts.push((field.name, text)),
                (Some(_) | None, _) => {
                    return Err(Refusal::bad(format_args!("unexpected file {}", field.name)));
                }
            }
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        texts.extend(call.form());
    } else if !call.body.is_empty() {
        return Err(Refusal::bad("unknown content type"));
    }
    let mut read = Map::new();
    for (name, text) in texts {
        let is_text = fields
            .iter()
            .any(|field| field["name"] == name.as_str() && types(field).any(|kind| kind == "String"));
        let value = if is_text {
            Value::String(text)
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        read.insert(name, value);
    }
    Ok(Given {
        fields: Value::Object(read),
        file,
    })
}

fn types(field: &Value) -> impl Iterator<Item = &str> {
    field["types"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn names(object: &Value) -> impl Iterator<Item = &str> {
    object
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
}

/// Every field known and of its type, every required one there.
fn check(object: &Value, fields: &[Value], has_file: bool) -> Result<(), Refusal> {
    for (name, value) in object.as_object().into_iter().flatten() {
        let field = fields.iter().find(|field| field["name"] == name.as_str());
        let field = field.ok_or_else(|| Refusal::bad(format_args!("unknown parameter {name}")))?;
        if !types(field).any(|kind| is_a(value, kind)) {
            return Err(Refusal::bad(format_args!("{name} has the wrong type")));
        }
    }
    let missing = fields.iter().find(|field| {
        let name = field["name"].as_str().unwrap_or_default();
        field["required"] == true && object.get(name).is_none() && !(has_file && name == "photo")
    });
    match missing.and_then(|field| field["name"].as_str()) {
        Some("chat_id") => Err(Refusal::bad("chat_id is empty")),
        Some("text") => Err(Refusal::bad("message text is empty")),
        Some(name) => Err(Refusal::bad(format_args!("parameter {name} is required"))),
        None => Ok(()),
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    if let Some(element) = kind.strip_prefix("Array of ") {
        return value
            .as_array()
            .is_some_and(|all| all.iter().all(|one| is_a(one, element)));
    }
    match kind {
        "Integer" => value.is_i64(),
        "String" => value.is_string(),
        "Boolean" => value.is_boolean(),
        "InputFile" => false,
        other => {
            let fields = SPECIFICATION["types"][other].as_array();
            value.is_object() && fields.is_some_and(|fields| check(value, fields, false).is_ok())
        }
    }
}
