//! What an answer other than success means. Decided by the status alone but for three texts, since servers translate
//! theirs (reference page §9); we ask for English.

use jiff::Timestamp;

use crate::channel::transport::Answer;
use crate::model::{Busy, Reason, SendError};

/// What the answer to a post means.
pub(super) fn of_write(answer: &Answer) -> SendError {
    let reason = reason(answer);
    match answer.status {
        401 => SendError::Credential(reason),
        // An app's own token was used where a user's is needed.
        422 if says(answer, "requires an authenticated user") => SendError::Credential(reason),
        422 if says(answer, "not finished processing") => SendError::NotSent(reason),
        // Someone was there before us, perhaps we ourselves: the account is read back.
        422 if says(answer, "duplicate record") => SendError::Unknown(reason),
        429 => SendError::Busy {
            until: until(answer),
            reason,
            scope: Busy::Account,
        },
        // Nothing was done: no lock on the key was to be had, or a proxy found nobody behind it.
        503 => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason,
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason),
        },
        // Refused by name, and nothing was done. A redirect is never followed: it would carry text and token along.
        300..=407 | 410..=499 => SendError::Refused(reason),
        // 408 and 409 too: parts of the request had arrived.
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
        format!("the server answered {} without a readable post", answer.status),
    ))
}

fn reason(answer: &Answer) -> Reason {
    let hint = match answer.status {
        300..=399 => "the server has moved: correct `server` in config.toml".to_owned(),
        _ => error(answer).unwrap_or_else(|| "no reason given".to_owned()),
    };
    let status = answer.status;
    Reason::new(
        format!("http-{status}"),
        format!("the server answered {status}: {hint}"),
    )
}

fn error(answer: &Answer) -> Option<String> {
    answer.json()?["error"].as_str().map(str::to_owned)
}

fn says(answer: &Answer, words: &str) -> bool {
    error(answer).is_some_and(|text| text.to_lowercase().contains(words))
}

/// The later of what a proxy and the server itself name. Mastodon gives ISO 8601, some of its kin Unix seconds.
fn until(answer: &Answer) -> Option<Timestamp> {
    let reset = answer.header("x-ratelimit-reset").and_then(|text| {
        text.parse()
            .ok()
            .or_else(|| Timestamp::from_second(text.parse().ok()?).ok())
    });
    let reset = reset.map(|reset: Timestamp| reset.max(answer.at));
    reset.max(answer.retry_after())
}
