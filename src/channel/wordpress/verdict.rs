//! What an answer other than success means. Decided by the status; the API's own code is shown, its sentences never are.

use crate::channel::transport::Answer;
use crate::model::{Busy, Reason, SendError};

/// Longest code of the API that is shown.
const MAX_CODE: usize = 60;

/// What the answer to a change means.
pub(super) fn of_write(answer: &Answer) -> SendError {
    let reason = reason(answer);
    match answer.status {
        // Also without any right to it: the API says the same to a wrong password as to nobody.
        401 => SendError::Credential(reason),
        429 => SendError::Busy {
            until: answer.retry_after(),
            reason,
            scope: Busy::Account,
        },
        // Maintenance, or a proxy that found nobody behind it: nothing was done.
        503 => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason,
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason),
        },
        300..=407 | 410..=499 | 501 => SendError::Refused(reason),
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
        format!("the site answered {} without a readable page", answer.status),
    ))
}

fn reason(answer: &Answer) -> Reason {
    let status = answer.status;
    let code = code(answer);
    let advice = match (status, code.as_deref()) {
        (300..=399, _) => "the site has moved: correct site in config.toml",
        (401, _) => {
            "it takes neither username nor password; make a new application password for the user and set both, and \
             see that the host hands the Authorization header on"
        }
        (403, Some(_)) => "the user may not do this; give it the role Editor (redaktör)",
        (403, None) => {
            "a firewall in front of the site, or a switched-off API; let the daemon's address through"
        }
        (404, Some("rest_no_route") | None) => {
            "there is no REST API at this address; correct site, or set plain_addresses"
        }
        (404, Some("rest_post_invalid_id")) => "there is no such page; somebody has taken it away",
        (400, Some("rest_post_invalid_page_number")) => "it has fewer pages than were asked for",
        (413, _) => "the host takes no request of this size",
        (500..=599, _) => "the site has a fault, or is being maintained",
        _ => "it does not take the request",
    };
    let code = code.map(|code| format!(" {code}")).unwrap_or_default();
    Reason::new(
        format!("http-{status}"),
        format!("the site answered {status}{code}: {advice}"),
    )
}

/// The API's own code, such as `rest_cannot_create`; only letters, digits and lines.
fn code(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let code = body["code"].as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!code.is_empty() && code.len() <= MAX_CODE && code.starts_with("rest_") && code.chars().all(plain))
        .then(|| code.to_owned())
}
