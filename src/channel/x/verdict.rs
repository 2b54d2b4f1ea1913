//! What an answer other than success means (reference page §6): by the number or the type of the problem, then by the
//! status. One problem has neither: the second post with the same words is known by its whole sentence, as documented.

use serde_json::Value;

use crate::channel::transport::{Answer, Effect};
use crate::clock::Timestamp;
use crate::model::{Busy, Reason, SendError};

/// What the service says no with. What follows from it depends on what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Keys or tokens are not taken.
    Credential(Reason),
    /// Too much was asked.
    Busy {
        /// When to come back, if it said so.
        until: Option<Timestamp>,
        /// What it said.
        reason: Reason,
    },
    /// For good: the account, its credits, its permissions.
    Refused(Reason),
    /// 403 without a word of why: too long, a reply that is not allowed.
    Forbidden(Reason),
    /// The kind of log-in is not taken; now and then said of a good one.
    Unsupported(Reason),
    /// 400: what was sent, or a picture that has expired.
    Content(Reason),
    /// The same words stand there already.
    Duplicate(Reason),
    /// Not there.
    Missing(Reason),
    /// It may pass; what was asked may have been done all the same.
    Temporary(Reason),
}

impl Fault {
    /// What it means where nothing more can be tried.
    pub(super) fn into_error(self, effect: Effect) -> SendError {
        match (self, effect) {
            (Self::Credential(reason), _) => SendError::Credential(reason),
            (Self::Busy { until, reason }, _) => SendError::Busy {
                until,
                reason,
                scope: Busy::Account,
            },
            (
                Self::Refused(reason)
                | Self::Forbidden(reason)
                | Self::Unsupported(reason)
                | Self::Content(reason)
                | Self::Missing(reason),
                _,
            )
            | (Self::Duplicate(reason), Effect::Reads) => SendError::Refused(reason),
            (Self::Duplicate(reason) | Self::Temporary(reason), Effect::Writes) => SendError::Unknown(reason),
            (Self::Temporary(reason), Effect::Reads) => SendError::NotSent(reason),
        }
    }
}

/// How X says that the same words stand there already; it gives no type and no number for it.
const DUPLICATE: [&str; 2] = [
    "You are not allowed to create a Tweet with duplicate content.",
    "You are not allowed to create a Post with duplicate content.",
];

/// More than this apart, and signatures are not taken.
const MAX_SKEW_SECONDS: i64 = 240;

/// The fault of an answer that is no success.
pub(super) fn fault(answer: &Answer) -> Fault {
    let body = answer.json().unwrap_or(Value::Null);
    let problem = Problem::of(&body);
    let status = answer.status;
    let said = |hint: &str| {
        let hint = if hint.is_empty() {
            String::new()
        } else {
            format!("; {hint}")
        };
        let text = problem.text.as_deref().unwrap_or("no reason given");
        // The hint is ours and goes first: a long message must not push it over the cap.
        Reason::new(
            problem.name.clone().unwrap_or_else(|| format!("http-{status}")),
            format!("X answered {status}{hint}: {text}"),
        )
    };
    let busy = |reason| Fault::Busy {
        until: until(answer),
        reason,
    };
    match (problem.number, problem.kind.as_deref()) {
        (Some(32 | 89 | 215), _) => return Fault::Credential(said(clock_hint(answer))),
        (Some(64 | 326), _) | (_, Some("user-suspended")) => {
            return Fault::Refused(said("the account is blocked: log in to X in a browser"));
        }
        (Some(261), _) => return Fault::Refused(said("the app may not write: see the developer console")),
        (Some(226), _) => return Fault::Refused(said("it took the post for that of a machine")),
        (Some(88), _) => return busy(said("")),
        (Some(187), _) => return Fault::Duplicate(said("")),
        (Some(186 | 385 | 433), _) => return Fault::Forbidden(said("")),
        (_, Some("usage-capped")) => {
            return Fault::Refused(said("what the plan allows is used up until the period ends"));
        }
        (_, Some("oauth1-permissions")) => {
            let hint = "give the app \"Read and write\" and then make the access token anew";
            return Fault::Refused(said(hint));
        }
        (_, Some("client-forbidden" | "not-authorized-for-resource")) => {
            return Fault::Refused(said(
                "the app or its plan does not allow it: see the developer console",
            ));
        }
        (_, Some("unsupported-authentication")) => return Fault::Unsupported(said("")),
        (_, Some("invalid-request")) if (400..=403).contains(&status) => return Fault::Content(said("")),
        (_, Some("resource-not-found")) => return Fault::Missing(said("")),
        (Some(_) | None, Some(_) | None) => {}
    }
    match status {
        300..=399 => Fault::Refused(said("it has moved; correct `base_url` in config.toml")),
        401 => Fault::Credential(said(clock_hint(answer))),
        402 => Fault::Refused(said("the credits are used up: buy more in the developer console")),
        403 if problem
            .text
            .as_deref()
            .is_some_and(|text| DUPLICATE.contains(&text.trim())) =>
        {
            Fault::Duplicate(said(""))
        }
        403 => Fault::Forbidden(said("")),
        404 | 410 => Fault::Missing(said("")),
        429 => busy(said("")),
        400..=407 | 411..=499 => Fault::Content(said("")),
        _ => Fault::Temporary(said("")),
    }
}

/// Whether an answer says that what was asked for is not there; X does so with status 200 as well.
pub(super) fn says_missing(body: &Value) -> bool {
    body.get("data").is_none() && Problem::of(body).kind.as_deref() == Some("resource-not-found")
}

/// What a body says of what went wrong, in any of its forms.
struct Problem {
    number: Option<i64>,
    /// The last part of the type's address.
    kind: Option<String>,
    text: Option<String>,
    /// What the reason is called.
    name: Option<String>,
}

impl Problem {
    fn of(body: &Value) -> Self {
        let first = &body["errors"][0];
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let number = first["code"].as_i64();
        let kind = [&body["type"], &first["type"]].into_iter().find_map(text);
        let kind = kind.and_then(|kind| kind.rsplit('/').next().map(str::to_owned));
        let kind = kind
            .filter(|kind| kind.len() <= 60 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let all = [
            &body["detail"],
            &first["detail"],
            &first["message"],
            &body["error_description"],
            &body["title"],
            &first["title"],
            &body["error"],
        ];
        let name = number
            .map(|number| format!("x-{number}"))
            .or_else(|| kind.as_ref().map(|kind| format!("x-{kind}")));
        Self {
            number,
            kind,
            text: all.into_iter().find_map(text),
            name,
        }
    }
}

/// A wrong clock looks like a wrong key.
fn clock_hint(answer: &Answer) -> &'static str {
    let date = answer.header("date").unwrap_or_default();
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(date)
        .ok();
    let is_off = date.is_some_and(|date| (date.as_second() - answer.at.as_second()).abs() > MAX_SKEW_SECONDS);
    if is_off {
        "this machine's clock is wrong, and X takes no signature with a wrong time"
    } else {
        "set all four keys anew"
    }
}

/// When X will have us back: the latest of the limits that are used up. The short one may have room left while the
/// day's is exhausted.
fn until(answer: &Answer) -> Option<Timestamp> {
    let number = |name: String| answer.header(&name)?.trim().parse::<i64>().ok();
    let limit = |name: &str| {
        let reset = Timestamp::from_second(number(format!("{name}-reset"))?).ok()?;
        Some((number(format!("{name}-remaining")), reset))
    };
    let limits = ["x-rate-limit", "x-user-limit-24hour", "x-app-limit-24hour"].map(limit);
    let used_up = limits
        .iter()
        .flatten()
        .filter(|(left, _)| *left == Some(0))
        .map(|(_, reset)| *reset)
        .max();
    let short = limits.first().copied().flatten().map(|(_, reset)| reset);
    let reset = used_up.or(short).map(|reset| reset.max(answer.at));
    reset.max(answer.retry_after())
}
