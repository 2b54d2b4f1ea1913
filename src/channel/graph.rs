//! The error envelope that all Graph channels share, and its classes (reference page §6). Decided by code and subcode;
//! texts are translated, and a number found somewhere in a body proves nothing.

use std::time::Duration;

use serde_json::Value;

use crate::channel::transport::Answer;
use crate::clock::{Timestamp, later};
use crate::model::Reason;

pub(super) mod client;
pub(super) mod container;
pub(super) mod readback;
pub(super) mod renewal;
pub(super) mod sign_in;
pub(super) mod token;

/// What the service says no with. What follows from it depends on whether something could have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The token is dead: expired, revoked, its person lost the role.
    Credential(Reason),
    /// Too much was asked.
    Throttled {
        /// What it said.
        reason: Reason,
        /// When to come back, if it said so.
        until: Option<Timestamp>,
        /// When it said it.
        at: Timestamp,
    },
    /// For good: permission, policy, parameters.
    Refused(Reason),
    /// The object is not there, or not for us.
    Missing(Reason),
    /// The link cannot be used; without it the post may pass.
    Link(Reason),
    /// The same has been posted before.
    Duplicate(Reason),
    /// Code 1: anything, also a link preview that cannot be made.
    Unexplained(Reason),
    /// It may pass; what was asked may have been done all the same.
    Temporary(Reason),
}

/// Posting too fast: an hour at least.
const TOO_FAST: i64 = 1_390_008;

/// The fault of an answer; `None` if it is a success.
pub(super) fn fault(answer: &Answer) -> Option<Fault> {
    if (200..300).contains(&answer.status) {
        return None;
    }
    let body = answer.json().unwrap_or(Value::Null);
    let error = &body["error"];
    Some(match error["code"].as_i64() {
        Some(code) => by_code(answer, error, code),
        None => by_status(answer),
    })
}

fn by_code(answer: &Answer, error: &Value, code: i64) -> Fault {
    let subcode = error["error_subcode"].as_i64().unwrap_or(0);
    let reason = reason(error, code, subcode);
    let throttled = |reason, least: Option<Duration>| Fault::Throttled {
        reason,
        until: regain(answer).max(least.map(|least| later(answer.at, least))),
        at: answer.at,
    };
    // Some numbers come as code and as subcode, and a subcode says more than the code that it comes under.
    match (code, subcode) {
        (TOO_FAST, _) | (_, TOO_FAST) => throttled(reason, Some(Duration::from_hours(1))),
        (506 | 1_366_051, _) | (_, 1_366_051) => Fault::Duplicate(reason),
        // The only text that is looked at: nothing else tells this 368 from a blocked account.
        (368, _) if says(error, "already posted") => Fault::Duplicate(reason),
        (1500 | 1_609_005 | 1_609_008 | 2_061_006, _) | (_, 1_609_005 | 1_609_008 | 2_061_006) => {
            Fault::Link(reason)
        }
        (190 | 102, _) => Fault::Credential(reason),
        (4 | 17 | 32 | 341 | 613 | 80_001..=80_014, _) => throttled(reason, None),
        (100, 33) => Fault::Missing(reason),
        // A parameter that is not liked now may be liked later, says the service.
        (100 | 36_000..=36_999, 0) if error["is_transient"] == true => Fault::Temporary(reason),
        // Permission; policy and checkpoints; parameters, objects, paths, pictures.
        (
            3
            | 10
            | 104
            | 200..=299
            | 368
            | 100
            | 324
            | 803
            | 2500
            | 36_000..=36_999
            | 1_349_125
            | 1_366_046
            | 2_069_019,
            _,
        )
        | (
            _,
            1_346_003 | 1_404_102 | 1_404_006 | 1_404_112 | 4_854_002 | 1_404_078 | 1_349_125 | 1_366_046
            | 2_069_019,
        ) => Fault::Refused(reason),
        (1, _) => Fault::Unexplained(reason),
        // 2, -1, -2, `is_transient`, HTTP 5xx; and whatever else comes, since posts were made with odd codes in answer.
        _ => Fault::Temporary(reason),
    }
}

/// An answer without the envelope comes from something in front of the service.
fn by_status(answer: &Answer) -> Fault {
    let status = answer.status;
    let reason = |what: &str| {
        Reason::new(
            format!("http-{status}"),
            format!("the service answered {status}: {what}"),
        )
    };
    match status {
        300..=399 => Fault::Refused(reason("it has moved; correct `base_url` in config.toml")),
        401 => Fault::Credential(reason("the credential was not taken")),
        429 => Fault::Throttled {
            reason: reason("too many requests"),
            until: regain(answer),
            at: answer.at,
        },
        400..=407 | 410..=499 => Fault::Refused(reason("no reason given")),
        _ => Fault::Temporary(reason("no reason given")),
    }
}

fn reason(error: &Value, code: i64, subcode: i64) -> Reason {
    let name = match subcode {
        0 => format!("graph-{code}"),
        _ => format!("graph-{code}-{subcode}"),
    };
    let message = error["message"].as_str().unwrap_or("no reason given");
    let trace = error["fbtrace_id"].as_str().unwrap_or("none");
    // The trace first: a long message must not push it over the cap.
    let trace: String = trace.chars().take(40).collect();
    Reason::new(name, format!("Meta says (trace {trace}): {message}"))
}

fn says(error: &Value, words: &str) -> bool {
    ["message", "error_user_msg", "error_user_title"]
        .iter()
        .filter_map(|field| error[*field].as_str())
        .any(|text| text.to_lowercase().contains(words))
}

/// When the service will have us back: the longest of the waits in its usage header, in minutes there, or what a
/// proxy says.
pub(super) fn regain(answer: &Answer) -> Option<Timestamp> {
    let usage = answer.header("x-business-use-case-usage");
    let usage: Value = usage
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);
    let minutes = usage
        .as_object()
        .into_iter()
        .flat_map(|objects| objects.values())
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|entry| entry["estimated_time_to_regain_access"].as_u64())
        .max()
        .filter(|minutes| *minutes > 0);
    let minutes = minutes.map(|minutes| later(answer.at, Duration::from_secs(minutes.saturating_mul(60))));
    minutes.max(answer.retry_after())
}
