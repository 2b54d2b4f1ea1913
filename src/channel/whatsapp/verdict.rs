//! What an answer other than success means. Decided by the code in the body; the HTTP status is not reliable there
//! (reference page §7). A body with a code means that nothing was sent.

use std::time::Duration;

use serde_json::Value;

use crate::channel::graph::regain;
use crate::channel::transport::Answer;
use crate::clock::later;
use crate::model::{Busy, Reason, Recipient, SendError};

/// The least wait after each kind of throttle.
const NUMBER_TOO_FAST: Duration = Duration::from_secs(5);
const SAME_PERSON: Duration = Duration::from_secs(6);
const ACCOUNT_TOO_FAST: Duration = Duration::from_mins(5);

/// Errors of one report that are looked at: Meta names one.
const MOST_ERRORS: usize = 8;

/// What the answer to a message means.
pub(super) fn of_write(answer: &Answer, to: Option<&Recipient>) -> SendError {
    let body = answer.json().unwrap_or(Value::Null);
    let error = &body["error"];
    match error["code"].as_i64() {
        Some(code) => by_code(answer, error, code, to),
        None => by_status(answer),
    }
}

/// What the answer to a request without effect means.
pub(super) fn of_read(answer: &Answer) -> SendError {
    match of_write(answer, None) {
        SendError::Unknown(reason) => SendError::NotSent(reason),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)) => other,
    }
}

/// Why a message will not arrive, of a report: what ends the recipient before what does not. The answer that took the
/// message stands; what a report says of our credential, the next attempt will say too.
pub(super) fn of_report(errors: &Value, to: Option<&Recipient>) -> Reason {
    let all = errors.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut reasons = all
        .iter()
        .take(MOST_ERRORS)
        .filter_map(|error| Some(reason(error, error["code"].as_i64()?, "", to)));
    let first = reasons.next();
    let lasting = first.iter().cloned().chain(reasons).find(Reason::ends_recipient);
    lasting.or(first).unwrap_or_else(|| {
        let text = "WhatsApp reported that the message will not arrive, and not why";
        Reason::new("whatsapp-failed", text)
    })
}

/// A success that does not say what was made.
pub(super) fn unreadable(answer: &Answer) -> SendError {
    SendError::Unknown(Reason::new(
        "unreadable",
        format!("WhatsApp answered {} without the id of a message", answer.status),
    ))
}

fn by_code(answer: &Answer, error: &Value, code: i64, to: Option<&Recipient>) -> SendError {
    let reason = |hint: &str| reason(error, code, hint, to);
    let busy = |scope, least, hint| SendError::Busy {
        until: regain(answer).max(Some(later(answer.at, least))),
        scope,
        reason: reason(hint),
    };
    match code {
        0 | 190 => SendError::Credential(reason(
            "make a new token of the system user and set access_token again",
        )),
        3 | 10 | 200..=299 | 131_005 => SendError::Credential(reason(
            "the token needs whatsapp_business_messaging and whatsapp_business_management for this account",
        )),
        368 | 130_497 | 131_031 | 131_037 | 131_042 | 131_045 | 133_010 => SendError::Credential(reason(
            "Meta has stopped the account or the number; see WhatsApp Manager",
        )),
        130_429 => busy(Busy::Account, NUMBER_TOO_FAST, "too fast for this number"),
        131_056 => busy(
            Busy::Recipient,
            SAME_PERSON,
            "too many messages to the same person",
        ),
        4 | 80_007 | 133_016 => busy(Busy::Account, ACCOUNT_TOO_FAST, "too many requests"),
        131_048 | 131_049 | 130_472 => SendError::Refused(reason(
            "Meta does not deliver it now; reach the person another way",
        )),
        131_026 => SendError::Refused(reason(
            "the person has no WhatsApp, or an old one; send a text message",
        )),
        131_050 => SendError::Refused(reason("the person wants no more of these")),
        131_030 => SendError::Refused(reason(
            "a test number sends only to numbers that Meta was told of",
        )),
        131_047 => SendError::Refused(reason("only templates may be sent first")),
        132_000..=132_099 => SendError::Refused(reason(
            "see the template in WhatsApp Manager, and template, language and parameters in config.toml",
        )),
        33 | 100 | 131_008 | 131_009 | 131_021 | 131_051 | 131_052 | 131_053 | 135_000 => {
            SendError::Refused(reason(""))
        }
        1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => SendError::NotSent(reason("")),
        // A number that nobody has told us of: where the service was in trouble, it may have sent all the same.
        _ if answer.status >= 500 => SendError::Unknown(reason("")),
        _ => SendError::Refused(reason("")),
    }
}

/// An answer without a code comes from something in front of the service.
fn by_status(answer: &Answer) -> SendError {
    let status = answer.status;
    let reason = |what: &str| {
        Reason::new(
            format!("http-{status}"),
            format!("WhatsApp answered {status}: {what}"),
        )
    };
    match status {
        300..=399 => SendError::Refused(reason("it has moved; correct `base_url` in config.toml")),
        401 => SendError::Credential(reason("the credential was not taken")),
        429 => SendError::Busy {
            until: regain(answer),
            reason: reason("too many requests"),
            scope: Busy::Account,
        },
        400..=407 | 410..=498 => SendError::Refused(reason("no reason given")),
        _ => SendError::Unknown(reason("it does not say whether it did anything")),
    }
}

fn reason(error: &Value, code: i64, hint: &str, to: Option<&Recipient>) -> Reason {
    // Whom it was for goes out before anything is cut off.
    let shown = |text: &str| match to {
        Some(to) => brief(&text.replace(to.address().trim_start_matches('+'), &to.masked())),
        None => brief(text),
    };
    let message = error["message"].as_str().or_else(|| error["title"].as_str());
    let message = message.unwrap_or("no reason given");
    let details = error["error_data"]["details"].as_str().unwrap_or_default();
    let mut said = shown(message);
    if !details.is_empty() && details != message {
        said = format!("{said}: {}", shown(details));
    }
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!(" ({hint})")
    };
    Reason::new(format!("whatsapp-{code}"), format!("WhatsApp says: {said}{hint}"))
}

/// What a service says, short enough to show.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
