//! What a failed exchange means: had the request left us, and what do we tell people.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::Effect;
use crate::clock::Timestamp;
use crate::model::{Reason, SendError};

/// Decides what a failure of the client means. A connection that was never made cannot have carried the request;
/// everything later may have, also on a connection from the pool that the server closed meanwhile.
pub(super) fn classify(host: &str, err: &reqwest::Error, effect: Effect) -> SendError {
    if err.is_builder() {
        return SendError::NotSent(reason("request", "the request could not be made", err));
    }
    if err.is_connect() {
        let (code, what) = match tls_fault(err) {
            Some(fault) => return SendError::NotSent(Reason::new("tls", format!("{host}: {fault}"))),
            None if err.is_timeout() => ("connect", "no connection in time"),
            None => ("connect", "no connection"),
        };
        return SendError::NotSent(reason(code, &format!("{host}: {what}"), err));
    }
    let reason = if err.is_timeout() {
        Reason::new("timeout", format!("{host}: no answer in time"))
    } else {
        reason("cut", &format!("{host}: the connection broke off"), err)
    };
    after_contact(reason, effect)
}

/// What a failure means once the connection had taken the request.
pub(super) fn after_contact(reason: Reason, effect: Effect) -> SendError {
    match effect {
        Effect::Writes => SendError::Unknown(reason),
        Effect::Reads => SendError::NotSent(reason),
    }
}

/// A reason with the innermost cause. The client's own text is left out: it contains the address.
pub(super) fn reason(code: &str, what: &str, err: &reqwest::Error) -> Reason {
    Reason::new(code, format!("{what}: {}", deepest(err)))
}

/// The text of the innermost cause, unless it holds an address.
pub(super) fn deepest(err: &reqwest::Error) -> String {
    let text = causes(err).last().map(ToString::to_string).unwrap_or_default();
    if text.is_empty() || text.contains("://") {
        return "no more is known".to_owned();
    }
    text
}

/// The causes below the client's own error, outermost first.
fn causes(err: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(err.source(), |err| inner(*err))
}

fn inner<'a>(err: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An io::Error passes over the very error that it wraps, and TLS errors come wrapped in one.
    match err.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => err.source(),
    }
}

/// What is wrong with the other side's TLS, if that is what is wrong.
fn tls_fault(err: &reqwest::Error) -> Option<String> {
    causes(err)
        .find_map(|cause| cause.downcast_ref::<rustls::Error>())
        .map(describe)
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "not our enums, and both are open: their own text serves for the rest"
)]
fn describe(err: &rustls::Error) -> String {
    match err {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            let end = i64::try_from(not_after.as_secs())
                .ok()
                .and_then(|seconds| Timestamp::from_second(seconds).ok());
            match end {
                Some(end) => format!("its certificate ended at {end}; the service's owner has to renew it"),
                None => "its certificate has ended".to_owned(),
            }
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate comes from an issuer that this machine does not trust".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name".to_owned(),
        other => format!("no TLS connection: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_certificate_is_named_with_the_day_it_ended() {
        let at =
            |seconds| rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let expired = rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            time: at(1_800_000_000),
            not_after: at(1_700_000_000),
        });
        assert!(describe(&expired).contains("2023-11-14T22:13:20Z"));
        let wrapped = io::Error::other(expired);
        let found = inner(&wrapped).and_then(|err| err.downcast_ref::<rustls::Error>());
        assert!(found.is_some(), "the io::Error must not hide it");
    }
}
