//! What an answer other than success means (reference page §6): by code, then by status. Texts are looked into for two
//! things only: which post a duplicate is of, and whether it is the day's allowance that is used up.

use std::time::Duration;

use serde_json::Value;

use crate::channel::transport::{Answer, Effect};
use crate::clock::{Timestamp, later};
use crate::model::{Busy, Reason, SendError};

/// Invalid, revoked, expired (reference page §6).
const TOKEN_CODES: std::ops::RangeInclusive<i64> = 65_600..=65_602;

/// What the service says no with. What follows from it depends on what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The token is not taken.
    Token(Reason),
    /// Too much was asked.
    Busy {
        /// When to come back.
        until: Timestamp,
        /// What it said.
        reason: Reason,
    },
    /// The API has no such version (any more); nothing was looked at.
    Version(Reason),
    /// For good: role, scope, content.
    Refused(Reason),
    /// 403 without a word of why; it has been seen to pass.
    Forbidden(Reason),
    /// The picture is not ready or of no use.
    Picture(Reason),
    /// The same has been posted; the original, if it is named.
    Duplicate(Reason, Option<String>),
    /// Not there.
    Missing(Reason),
    /// It may pass; what was asked may have been done all the same.
    Temporary(Reason),
}

impl Fault {
    /// What it means where nothing more can be tried.
    pub(super) fn into_error(self, effect: Effect) -> SendError {
        match (self, effect) {
            (Self::Token(reason), _) => SendError::Credential(reason),
            (Self::Busy { until, reason }, _) => SendError::Busy {
                until: Some(until),
                reason,
                scope: Busy::Account,
            },
            (
                Self::Refused(reason)
                | Self::Version(reason)
                | Self::Forbidden(reason)
                | Self::Picture(reason)
                | Self::Missing(reason),
                _,
            )
            | (Self::Duplicate(reason, _), Effect::Reads) => SendError::Refused(reason),
            (Self::Duplicate(reason, _) | Self::Temporary(reason), Effect::Writes) => {
                SendError::Unknown(reason)
            }
            (Self::Temporary(reason), Effect::Reads) => SendError::NotSent(reason),
        }
    }
}

/// The fault of an answer that is no success.
pub(super) fn fault(answer: &Answer) -> Fault {
    let body = answer.json().unwrap_or(Value::Null);
    let status = answer.status;
    let inputs = body["errorDetails"]["inputErrors"].as_array();
    let inner = inputs
        .into_iter()
        .flatten()
        .filter_map(|error| error["code"].as_str());
    let codes: Vec<&str> = body["code"].as_str().into_iter().chain(inner).collect();
    let has = |code: &str| codes.contains(&code);
    let begins = |start: &str| codes.iter().any(|code| code.starts_with(start));
    let said = |hint: &str| reason(answer, &body, &codes, hint);
    if matches!(status, 400 | 409 | 422) {
        let original = original(&body);
        if has("DUPLICATE_POST") || original.is_some() {
            return Fault::Duplicate(said(""), original);
        }
    }
    match status {
        300..=399 => Fault::Refused(said("it has moved; correct `base_url` in config.toml")),
        401 => Fault::Token(said("")),
        400 | 403 if is_of_token(&body, &codes) => Fault::Token(said("")),
        426 => Fault::Version(said(
            "this version of the API is no more: raise `version` in config.toml",
        )),
        400 if begins("VERSION_") || has("NONEXISTENT_VERSION") => {
            Fault::Version(said("it knows no such version: correct `version`"))
        }
        400 | 422 if begins("MEDIA_ASSET_") => Fault::Picture(said("")),
        403 if codes.is_empty() && body["serviceErrorCode"].is_null() => Fault::Forbidden(said("")),
        403 => Fault::Refused(said(
            "see the person's role on the page and the token's permissions",
        )),
        404 | 410 => Fault::Missing(said("")),
        429 => Fault::Busy {
            until: until(answer, &body),
            reason: said(""),
        },
        408 | 409 => Fault::Temporary(said("")),
        400..=499 => Fault::Refused(said("")),
        _ => Fault::Temporary(said("")),
    }
}

/// Whether it is the token, whatever the status says.
fn is_of_token(body: &Value, codes: &[&str]) -> bool {
    codes.iter().any(|code| code.ends_with("_ACCESS_TOKEN"))
        || body["serviceErrorCode"]
            .as_i64()
            .is_some_and(|code| TOKEN_CODES.contains(&code))
}

fn reason(answer: &Answer, body: &Value, codes: &[&str], hint: &str) -> Reason {
    let status = answer.status;
    let code = codes
        .first()
        .filter(|code| code.len() <= 60 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let name = code.map_or_else(
        || format!("http-{status}"),
        |code| format!("linkedin-{status}-{}", code.to_lowercase().replace('_', "-")),
    );
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!("; {hint}")
    };
    let first = &body["errorDetails"]["inputErrors"][0]["description"];
    let text = body["message"]
        .as_str()
        .or_else(|| first.as_str())
        .unwrap_or("no reason given");
    // The trace goes first: a long message must not push it over the cap.
    let trace: String = answer
        .header("x-li-uuid")
        .unwrap_or("none")
        .chars()
        .take(40)
        .collect();
    Reason::new(
        name,
        format!("LinkedIn answered {status} (trace {trace}){hint}: {text}"),
    )
}

/// The post that this is a duplicate of, by the sentence that names it.
fn original(body: &Value) -> Option<String> {
    let inputs = body["errorDetails"]["inputErrors"].as_array();
    let texts = inputs.into_iter().flatten().map(|error| &error["description"]);
    texts
        .chain([&body["message"]])
        .filter_map(Value::as_str)
        .find_map(|text| {
            let (_, named) = text.split_once("duplicate of ")?;
            let urn = named
                .split_whitespace()
                .next()?
                .trim_end_matches(['.', ',', '"', '\'']);
            is_post(urn).then(|| urn.to_owned())
        })
}

/// Whether it is the name of a post.
pub(super) fn is_post(urn: &str) -> bool {
    let number = ["urn:li:share:", "urn:li:ugcPost:", "urn:li:activity:"]
        .into_iter()
        .find_map(|kind| urn.strip_prefix(kind));
    number
        .is_some_and(|number| (1..=25).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

/// When LinkedIn will have us back: the day's allowance begins anew at midnight UTC; else a minute.
fn until(answer: &Answer, body: &Value) -> Timestamp {
    if let Some(until) = answer.retry_after() {
        return until;
    }
    let message = body["message"].as_str().unwrap_or_default();
    if message.split_whitespace().any(|word| word == "DAY") {
        const DAY: i64 = 86_400;
        let midnight = (answer.at.as_second().div_euclid(DAY) + 1) * DAY;
        // A little later than all the others.
        return Timestamp::from_second(midnight + 30).unwrap_or(answer.at);
    }
    later(answer.at, Duration::from_mins(1))
}
