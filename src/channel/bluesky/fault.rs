//! What an answer other than 200 means, by status and error name. The wording of the messages differs between versions
//! of the server and is never matched on.

use crate::channel::transport::{Answer, Effect};
use crate::clock::Timestamp;
use crate::model::{Busy, Reason, SendError};

/// An answer that is not success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The access token is not taken any more.
    Renew(Reason),
    /// Something else stands at the key.
    Swap,
    /// Nothing stands at the key.
    NotFound,
    /// Anything that needs no further question.
    Other(SendError),
}

impl Fault {
    /// The outcome where the fault has no meaning of its own.
    pub(super) fn into_error(self, effect: Effect) -> SendError {
        match self {
            Self::Renew(reason) => SendError::Credential(reason),
            Self::Swap => unexpected("InvalidSwap", effect),
            Self::NotFound => unexpected("RecordNotFound", effect),
            Self::Other(error) => error,
        }
    }
}

fn unexpected(name: &str, effect: Effect) -> SendError {
    let reason = Reason::new(
        format!("bluesky-{name}"),
        format!("the server answered {name}, which this call cannot give"),
    );
    match effect {
        Effect::Writes => SendError::Unknown(reason),
        Effect::Reads => SendError::NotSent(reason),
    }
}

/// Names that go into a reason's code: the service's words are data, ours are a list.
const KNOWN: &[&str] = &[
    "ExpiredToken",
    "InvalidToken",
    "AuthMissing",
    "AuthenticationRequired",
    "AuthFactorTokenRequired",
    "AccountTakedown",
    "AccountDeactivated",
    "AccountSuspended",
    "AccountNotFound",
    "RepoTakendown",
    "RepoDeactivated",
    "RepoSuspended",
    "RepoNotFound",
    "Forbidden",
    "ScopeMissingError",
    "InvalidRequest",
    "SyntaxError",
    "InvalidSwap",
    "BlobNotFound",
    "RecordNotFound",
    "PayloadTooLarge",
    "RateLimitExceeded",
    "InternalServerError",
    "UpstreamFailure",
    "NotEnoughResources",
    "UpstreamTimeout",
    "MethodNotImplemented",
];

/// The answer itself if it is success, else what it means.
pub(super) fn of(answer: Answer, effect: Effect) -> Result<Answer, Fault> {
    if answer.is_success() {
        return Ok(answer);
    }
    let status = answer.status;
    let name = name(&answer);
    let reason = |advice: &str| {
        let code = name.map_or_else(
            || format!("http-{status}"),
            |name| format!("bluesky-{status}-{name}"),
        );
        Reason::new(
            code,
            format!("the server answered {status}{}{advice}", said(&answer)),
        )
    };
    let credential = |advice| Fault::Other(SendError::Credential(reason(advice)));
    Err(match (status, name.unwrap_or_default()) {
        (400 | 401, "ExpiredToken" | "InvalidToken") => Fault::Renew(reason(
            "; make a new app password and set it with `vardkase credentials set`",
        )),
        (400, "InvalidSwap") => Fault::Swap,
        (400 | 404, "RecordNotFound") => Fault::NotFound,
        (
            400..=403,
            "AccountTakedown" | "AccountDeactivated" | "AccountSuspended" | "AccountNotFound"
            | "RepoTakendown" | "RepoDeactivated" | "RepoSuspended" | "RepoNotFound",
        ) => credential("; log in to Bluesky in a browser to see what is wrong with the account"),
        (401, "AuthFactorTokenRequired") => {
            credential("; app_password holds the account's main password: make an app password instead")
        }
        (401, _) => credential("; make a new app password and set it with `vardkase credentials set`"),
        (403, _) => credential("; the account may not do this"),
        (429, _) => Fault::Other(SendError::Busy {
            until: until(&answer),
            reason: reason(""),
            scope: Busy::Account,
        }),
        (300..=399, _) => Fault::Other(SendError::Refused(Reason::new(
            "redirect",
            format!("the server answered {status}, a redirect; put the final address into service"),
        ))),
        (501, _) => Fault::Other(SendError::Refused(reason("; service is no Bluesky server"))),
        (400..=499, _) => Fault::Other(SendError::Refused(reason(""))),
        _ => Fault::Other(match effect {
            Effect::Writes => SendError::Unknown(reason("")),
            Effect::Reads => SendError::NotSent(reason("")),
        }),
    })
}

/// The error's name, if it is one that we know.
pub(super) fn name(answer: &Answer) -> Option<&'static str> {
    let body = answer.json()?;
    let said = body.get("error")?.as_str()?;
    KNOWN.iter().copied().find(|name| *name == said)
}

/// What the server said, without anything that looks like a token: it may repeat what it was sent.
fn said(answer: &Answer) -> String {
    let body = answer.json().unwrap_or_default();
    let Some(message) = body.get("message").and_then(serde_json::Value::as_str) else {
        return String::new();
    };
    let plain: Vec<&str> = message
        .split_whitespace()
        .filter(|word| !word.contains("eyJ") && word.matches('-').count() < 3)
        .take(40)
        .collect();
    format!(": {}", plain.join(" "))
}

/// When the limit is lifted: `Retry-After` if a proxy sets it, else `RateLimit-Reset`, which is a moment (seconds since
/// the epoch) and not a span.
pub(in crate::channel) fn until(answer: &Answer) -> Option<Timestamp> {
    answer.retry_after().or_else(|| {
        let seconds: i64 = answer.header("ratelimit-reset")?.trim().parse().ok()?;
        // A small number would be a span from a server that follows the later draft.
        if seconds < 1_000_000_000 {
            let span = u64::try_from(seconds).ok()?;
            return Some(crate::clock::later(
                answer.at,
                std::time::Duration::from_secs(span),
            ));
        }
        Some(Timestamp::from_second(seconds).ok()?.max(answer.at))
    })
}

#[cfg(test)]
mod tests;
