//! What an answer other than success means. Decided by the status alone: errors are plain text there, sometimes JSON, and
//! in no fixed words (reference page §2.1).

use crate::channel::transport::Answer;
use crate::model::{Busy, Reason, SendError};

/// What the answer to a message means. `hidden` is what must not show of it, and what is written instead.
pub(super) fn of_write(answer: &Answer, hidden: &[(String, String)]) -> SendError {
    let reason = |hint: &str| {
        let said = said(answer, hidden);
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        Reason::new(
            format!("http-{}", answer.status),
            format!("46elks answered {}: {said}{hint}", answer.status),
        )
    };
    match answer.status {
        401 => SendError::Credential(reason(
            "set username and password again with `vardkase credentials set`",
        )),
        402 | 403 => SendError::Credential(reason(
            "the balance is probably too low: fill it up at 46elks.se, then retry",
        )),
        429 => SendError::Busy {
            until: answer.retry_after(),
            reason: reason("too many messages at once; ask 46elks for a higher limit or lower `rate`"),
            scope: Busy::Account,
        },
        300..=399 => SendError::Refused(reason("the service has moved: correct `base_url` in config.toml")),
        // Someone in front of the service lost patience; what had reached it by then nobody says.
        408 | 409 | 499 => SendError::Unknown(reason("")),
        400..=498 => SendError::Refused(reason("")),
        _ => SendError::Unknown(reason("it does not say whether it did anything")),
    }
}

/// What the answer to a request without effect means.
pub(super) fn of_read(answer: &Answer, hidden: &[(String, String)]) -> SendError {
    match of_write(answer, hidden) {
        SendError::Unknown(reason) => SendError::NotSent(reason),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)) => other,
    }
}

/// A success that does not say what was made.
pub(super) fn unreadable(answer: &Answer) -> SendError {
    SendError::Unknown(Reason::new(
        "unreadable",
        format!("46elks answered {} without the id of a message", answer.status),
    ))
}

/// `text` without what must not show, and short.
pub(super) fn without(text: &str, hidden: &[(String, String)]) -> String {
    let mut shown = text.to_owned();
    for (secret, instead) in hidden.iter().filter(|(secret, _)| !secret.is_empty()) {
        shown = shown.replace(secret.as_str(), instead);
    }
    shown.chars().filter(|c| !c.is_control()).take(150).collect()
}

fn said(answer: &Answer, hidden: &[(String, String)]) -> String {
    let json = answer.json();
    let text = match json.as_ref().and_then(|body| body["error"].as_str()) {
        Some(error) => error.to_owned(),
        // A page of some proxy says nothing worth repeating.
        None if says_text(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
        None => String::new(),
    };
    match without(text.trim(), hidden) {
        text if text.is_empty() => "no reason given".to_owned(),
        text => text,
    }
}

fn says_text(answer: &Answer) -> bool {
    answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/plain"))
}
