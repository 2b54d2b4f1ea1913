use std::time::Duration;

use reqwest::header::HeaderMap;

use super::*;
use crate::channel::testing::{accepted_at, clock};
use crate::clock::later;

fn answer(status: u16, headers: &[(&'static str, String)], name: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Answer {
        status,
        headers: map,
        body: format!(r#"{{"error":"{name}","message":"Some words eyJhbGciOi.x.y abcd-efgh-ijkl-mnop"}}"#)
            .into_bytes(),
        at: clock().now(),
    }
}

fn word(fault: &Fault) -> &'static str {
    match fault {
        Fault::Renew(_) => "renew",
        Fault::Swap => "swap",
        Fault::NotFound => "not-found",
        Fault::Other(error) => error.as_str(),
    }
}

#[test]
fn every_row_of_the_reference_has_its_outcome() {
    for (status, name, writes, reads) in [
        (400, "ExpiredToken", "renew", "renew"),
        (401, "ExpiredToken", "renew", "renew"),
        (400, "InvalidToken", "renew", "renew"),
        (401, "AuthMissing", "credential", "credential"),
        (401, "AuthenticationRequired", "credential", "credential"),
        (401, "AuthFactorTokenRequired", "credential", "credential"),
        (401, "AccountTakedown", "credential", "credential"),
        (400, "AccountTakedown", "credential", "credential"),
        (400, "AccountDeactivated", "credential", "credential"),
        (401, "AccountSuspended", "credential", "credential"),
        (403, "AccountNotFound", "credential", "credential"),
        (403, "Forbidden", "credential", "credential"),
        (403, "ScopeMissingError", "credential", "credential"),
        (400, "InvalidRequest", "refused", "refused"),
        (400, "SyntaxError", "refused", "refused"),
        (400, "InvalidSwap", "swap", "swap"),
        (400, "BlobNotFound", "refused", "refused"),
        (400, "RecordNotFound", "not-found", "not-found"),
        (413, "PayloadTooLarge", "refused", "refused"),
        (429, "RateLimitExceeded", "busy", "busy"),
        (500, "InternalServerError", "unknown", "not-sent"),
        (502, "UpstreamFailure", "unknown", "not-sent"),
        (503, "NotEnoughResources", "unknown", "not-sent"),
        (504, "UpstreamTimeout", "unknown", "not-sent"),
        (501, "MethodNotImplemented", "refused", "refused"),
        (307, "", "refused", "refused"),
        (404, "", "refused", "refused"),
    ] {
        let of = |effect| word(&of(answer(status, &[], name), effect).unwrap_err());
        assert_eq!(of(Effect::Writes), writes, "{status} {name}");
        assert_eq!(of(Effect::Reads), reads, "{status} {name}");
    }
}

#[test]
fn the_limits_reset_is_a_moment_and_not_a_span() {
    let reset = later(accepted_at(), Duration::from_secs(70));
    let seconds = |n: i64| vec![("ratelimit-reset", n.to_string())];
    let at = |headers: &[(&'static str, String)]| until(&answer(429, headers, "RateLimitExceeded"));
    assert_eq!(
        at(&seconds(reset.as_second())).map(jiff::Timestamp::as_second),
        Some(reset.as_second())
    );
    assert_eq!(
        at(&seconds(60)),
        Some(later(clock().now(), Duration::from_mins(1)))
    );
    assert_eq!(
        at(&seconds(1_500_000_000)),
        Some(clock().now()),
        "never in the past"
    );
    assert_eq!(at(&[("ratelimit-reset", "soon".to_owned())]), None);
    let mut both = seconds(reset.as_second());
    both.push(("retry-after", "5".to_owned()));
    assert_eq!(at(&both), Some(later(clock().now(), Duration::from_secs(5))));
    assert_eq!(at(&[]), None);
}

#[test]
fn nothing_that_looks_like_a_secret_is_repeated() {
    let Err(Fault::Other(error)) = of(answer(400, &[], "InvalidRequest"), Effect::Writes) else {
        panic!("a 400 is no success");
    };
    let text = error.to_string();
    assert!(text.contains("Some words"), "{text}");
    assert!(!text.contains("eyJ") && !text.contains("mnop"), "{text}");
    let code = of(answer(400, &[], "Evil\\u0000Name"), Effect::Writes).unwrap_err();
    assert_eq!(code.into_error(Effect::Writes).reason().code, "http-400");
}
