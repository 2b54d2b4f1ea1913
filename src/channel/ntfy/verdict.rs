//! What an answer other than success means: by the server's `code`, where there is one, then by the status.

use std::time::Duration;

use crate::channel::transport::Answer;
use crate::clock::{Timestamp, later};
use crate::model::{Busy, Reason, SendError};

/// How long to wait when the server names no time: it gives one request back in five seconds.
const USUAL_WAIT: Duration = Duration::from_secs(10);
/// The same when it has seen too many wrong log-ins.
const LOGIN_WAIT: Duration = Duration::from_mins(5);
const SECONDS_PER_DAY: i64 = 24 * 3600;

/// What the answer to a message means.
pub(super) fn of_write(answer: &Answer) -> SendError {
    let reason = reason(answer);
    match (answer.status, code(answer)) {
        (401, _) | (_, Some(40101)) => SendError::Credential(reason),
        (429, code) => SendError::Busy {
            until: answer.retry_after().or_else(|| usual_wait(answer, code)),
            reason,
            scope: Busy::Account,
        },
        // A proxy found nobody behind it, or the server is just starting.
        (503, _) => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason,
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason),
        },
        // 507: the topic is one of another protocol's, and nobody reads it.
        (300..=407 | 410..=499, _) | (507, Some(50701)) => SendError::Refused(reason),
        _ => SendError::Unknown(reason),
    }
}

/// What the answer to a request without effect means.
pub(super) fn of_read(answer: &Answer) -> SendError {
    match of_write(answer) {
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
        format!("the server answered {} without a readable message", answer.status),
    ))
}

fn usual_wait(answer: &Answer, code: Option<u64>) -> Option<Timestamp> {
    match code {
        // The day's messages are used up; days end at midnight UTC.
        Some(42908) => {
            let day = answer.at.as_second().div_euclid(SECONDS_PER_DAY) + 1;
            Timestamp::from_second(day * SECONDS_PER_DAY).ok()
        }
        Some(42909) => Some(later(answer.at, LOGIN_WAIT)),
        Some(_) | None => Some(later(answer.at, USUAL_WAIT)),
    }
}

fn code(answer: &Answer) -> Option<u64> {
    answer.json()?["code"].as_u64()
}

fn reason(answer: &Answer) -> Reason {
    let status = answer.status;
    let said = answer.json().and_then(|body| {
        let said = body["error"].as_str()?;
        Some(said.chars().take(150).collect::<String>())
    });
    let said = said.unwrap_or_else(|| "no reason given".to_owned());
    let text = match status {
        300..=399 => "the server has moved: correct `server` in config.toml".to_owned(),
        401 => format!("{said}; set access_token again with `vardkase credentials set`"),
        403 => format!("{said}; does the account's access_token have the right to this topic?"),
        _ => said,
    };
    let code = code(answer).map_or_else(|| format!("http-{status}"), |code| format!("ntfy-{code}"));
    Reason::new(code, format!("the server answered {status}: {text}"))
}
