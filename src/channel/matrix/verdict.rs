//! What an answer other than success means: by its `errcode`, then by its status; never by its words.

use std::time::Duration;

use crate::channel::transport::Answer;
use crate::clock::{Timestamp, later};
use crate::model::{Busy, Reason, SendError};

/// What the answer to a message means.
pub(super) fn of_write(answer: &Answer) -> SendError {
    let reason = reason(answer);
    match (answer.status, errcode(answer).as_deref()) {
        (429, _) | (400..=599, Some("M_LIMIT_EXCEEDED")) => SendError::Busy {
            until: until(answer),
            reason,
            scope: Busy::Account,
        },
        // The token is good; a person has to put the account in order.
        (401, Some("M_USER_LOCKED" | "M_USER_SUSPENDED" | "M_USER_DEACTIVATED")) => {
            SendError::Refused(reason)
        }
        (401, _) | (400..=499, Some("M_MISSING_TOKEN" | "M_UNKNOWN_TOKEN")) => SendError::Credential(reason),
        // A proxy found nobody behind it, or the server is just starting.
        (503, _) => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason,
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason),
        },
        // A redirect is never followed: it would carry text and token along.
        (300..=407 | 410..=499, _) => SendError::Refused(reason),
        // 408 and 409 too: parts of the request had arrived. The same request again is harmless while the server knows
        // the transaction id; settling finds out.
        _ => SendError::Unknown(reason),
    }
}

/// What the answer to a request that may be repeated means.
pub(super) fn of_read(answer: &Answer) -> SendError {
    match of_write(answer) {
        SendError::Unknown(reason) => SendError::NotSent(reason),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)) => other,
    }
}

/// Whether the token has ended and may be renewed: the device is still there.
pub(super) fn has_ended(answer: &Answer) -> bool {
    answer.status == 401
        && errcode(answer).as_deref() == Some("M_UNKNOWN_TOKEN")
        && answer.json().is_some_and(|body| body["soft_logout"] == true)
}

/// A success that does not say what was made.
pub(super) fn unreadable(answer: &Answer) -> SendError {
    SendError::Unknown(Reason::new(
        "unreadable",
        format!("the server answered {} without naming an event", answer.status),
    ))
}

/// The service's own code, or the status.
pub(super) fn code(answer: &Answer) -> String {
    errcode(answer).unwrap_or_else(|| format!("http-{}", answer.status))
}

fn reason(answer: &Answer) -> Reason {
    let said = match answer.status {
        300..=399 => "the server has moved: correct `server` in config.toml".to_owned(),
        _ => answer
            .json()
            .and_then(|body| body["error"].as_str().map(str::to_owned))
            .unwrap_or_else(|| "no reason given".to_owned()),
    };
    let advice = match errcode(answer).as_deref() {
        Some("M_FORBIDDEN") => "; is the account a member of the room, and may it write there?",
        Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN") => {
            "; set a new access_token with `vardkase credentials set`"
        }
        Some("M_UNRECOGNIZED") => "; is `server` the address of a Matrix server?",
        Some("M_CONSENT_NOT_GIVEN") => "; log in as the account and accept the server's terms",
        Some("M_USER_LOCKED" | "M_USER_SUSPENDED" | "M_USER_DEACTIVATED") => {
            "; the server's administrator has to open the account again"
        }
        Some(_) | None => "",
    };
    let said: String = said.chars().take(150).collect();
    Reason::new(
        code(answer),
        format!("the server answered {}: {said}{advice}", answer.status),
    )
}

/// The `errcode`, if it looks like one.
fn errcode(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let code = body["errcode"].as_str()?;
    let fits = !code.is_empty()
        && code.len() <= 60
        && code
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    fits.then(|| code.to_owned())
}

/// The header first, then the older field (specification 1.10).
fn until(answer: &Answer) -> Option<Timestamp> {
    let field = || {
        let millis = answer.json()?["retry_after_ms"].as_u64()?;
        Some(later(answer.at, Duration::from_millis(millis)))
    };
    answer.retry_after().or_else(field)
}
