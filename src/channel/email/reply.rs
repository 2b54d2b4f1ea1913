//! What a relay's reply, or its silence, means. RFC 5321 decides by the first digit; the exceptions are in the table of
//! `docs/channels/email.md`.

use std::time::Duration;

use lettre::transport::smtp::Error;

use crate::clock::{Timestamp, later};
use crate::model::{AccountId, Busy, Reason, Recipient, SendError};

/// How far an exchange had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Connect, greeting, EHLO, TLS, log-in: about the relay, not about the letter.
    Open,
    /// MAIL: about the sender address.
    Sender,
    /// RCPT: about the recipient.
    Recipient,
    /// DATA and the body, up to the final dot.
    Body,
    /// After the final dot.
    Sent,
}

/// Why a relay did not take a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    kind: Kind,
    reason: Reason,
    /// Another relay may do better.
    next: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NotSent,
    Busy(Option<Duration>, Busy),
    Credential,
    Refused,
    Unknown,
}

/// Greylisting lets the same sender and recipient through after 60 s or more.
const GREYLISTED: Duration = Duration::from_mins(1);
/// A local error of the relay.
const LOCAL: Duration = Duration::from_secs(30);
/// A full mailbox does not empty itself.
const FULL: Duration = Duration::from_mins(5);

impl Trouble {
    /// No contact, or contact lost, before the final dot: nothing was accepted.
    pub(super) fn contact(relay: &AccountId, code: &str, text: impl std::fmt::Display) -> Self {
        Self {
            kind: Kind::NotSent,
            reason: Reason::new(code, format!("{relay}: {text}")),
            next: true,
        }
    }

    /// The relay's log-in cannot be used.
    pub(super) fn credential(relay: &AccountId, text: &str) -> Self {
        Self {
            kind: Kind::Credential,
            reason: Reason::new("no-credential", format!("{relay}: {text}")),
            next: true,
        }
    }

    /// The letter itself cannot be sent.
    pub(super) fn letter(code: &str, text: &str) -> Self {
        Self {
            kind: Kind::Refused,
            reason: Reason::new(code, text),
            next: false,
        }
    }

    /// The final dot may have left and no reply came.
    pub(super) fn unanswered(relay: &AccountId, text: impl std::fmt::Display) -> Self {
        Self {
            kind: Kind::Unknown,
            reason: Reason::new(
                "smtp-no-reply",
                format!("{relay}: the letter left us and no reply came: {text}"),
            ),
            next: false,
        }
    }

    /// What lettre's error at this stage means.
    pub(super) fn of(relay: &AccountId, stage: Stage, error: &Error) -> Self {
        let Some(code) = error.status().and_then(|c| c.to_string().parse::<u16>().ok()) else {
            return if stage == Stage::Sent {
                Self::unanswered(relay, deepest(error))
            } else {
                Self::contact(relay, "smtp-contact", deepest(error))
            };
        };
        let text = error.to_string();
        let text = text.split_once("): ").map_or("", |(_, text)| text);
        Self::reply(relay, stage, code, text)
    }

    /// What a negative reply at this stage means.
    fn reply(relay: &AccountId, stage: Stage, code: u16, text: &str) -> Self {
        let enhanced = enhanced(text);
        let about_letter = matches!(stage, Stage::Recipient | Stage::Body | Stage::Sent);
        // Before the recipient is named nothing can be about it.
        let theirs = if about_letter {
            Busy::Recipient
        } else {
            Busy::Account
        };
        let (kind, next, advice) = match (code, enhanced) {
            (530 | 534 | 535 | 538, _) => (
                Kind::Credential,
                true,
                "; set the relay's username and password with `vardkase credentials set`",
            ),
            (421 | 454, _) => (Kind::Busy(None, Busy::Account), true, ""),
            (450, _) => (Kind::Busy(Some(GREYLISTED), theirs), !about_letter, ""),
            (452, Some((4, 5, 3))) => (Kind::Busy(None, Busy::Account), !about_letter, ""),
            (452, Some((4, 2, 2))) | (552, Some((_, 2, 2))) => {
                (Kind::Busy(Some(FULL), theirs), !about_letter, "")
            }
            (400..=499, _) => (Kind::Busy(Some(LOCAL), Busy::Account), !about_letter, ""),
            (500.., _) if stage == Stage::Open => (Kind::NotSent, true, ""),
            // Too large, as announced with MAIL: the letter's own fault.
            (500.., Some((_, 3, 4))) => (Kind::Refused, !about_letter, ""),
            // No other letter would fare better: a person is told once, instead of a refusal for each recipient.
            (500.., _) if stage == Stage::Sender => (
                Kind::Credential,
                true,
                "; about our sender address: correct `from` in config.toml, or ask who runs the relay",
            ),
            (550 | 554, Some((5, 7, _))) => (
                Kind::Refused,
                !about_letter,
                "; the relay's policy, not the recipient's address: ask who runs the relay",
            ),
            _ => (Kind::Refused, !about_letter, ""),
        };
        // Only what is said of a recipient may bear a code that leaves it out of later broadcasts.
        let about = match stage {
            Stage::Open | Stage::Recipient | Stage::Sent => "",
            Stage::Sender => "sender-",
            Stage::Body => "data-",
        };
        let code = match enhanced {
            Some((class, subject, detail)) => format!("smtp-{about}{code}-{class}.{subject}.{detail}"),
            None => format!("smtp-{about}{code}"),
        };
        Self {
            kind,
            reason: Reason::new(code, format!("{relay}: {}{advice}", text.trim())),
            next,
        }
    }

    /// The same with a secret blanked out of the text.
    pub(super) fn without(mut self, secret: &str) -> Self {
        if !secret.is_empty() {
            self.reason.text = self.reason.text.replace(secret, "[redacted]");
        }
        self
    }

    /// The same with a recipient's address masked: relays repeat it in their refusals.
    pub(super) fn masking(mut self, address: &str) -> Self {
        if !address.is_empty() {
            let masked = Recipient::new(address).masked();
            self.reason.text = self.reason.text.replace(address, &masked);
        }
        self
    }

    pub(super) fn is_the_relays(&self) -> bool {
        self.next
    }

    pub(super) fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The outcome of the attempt.
    pub(super) fn outcome(self, now: Timestamp) -> SendError {
        match self.kind {
            Kind::NotSent => SendError::NotSent(self.reason),
            Kind::Busy(wait, scope) => SendError::Busy {
                until: wait.map(|wait| later(now, wait)),
                scope,
                reason: self.reason,
            },
            Kind::Credential => SendError::Credential(self.reason),
            Kind::Refused => SendError::Refused(self.reason),
            Kind::Unknown => SendError::Unknown(self.reason),
        }
    }
}

/// The outcome when no relay took it: the most hopeful one, with everything that was said.
pub(super) fn of_all(troubles: Vec<Trouble>, now: Timestamp) -> SendError {
    let said: Vec<String> = troubles.iter().map(|t| t.reason.text.clone()).collect();
    let hope = |t: &Trouble| match t.kind {
        Kind::Busy(None, _) => 0,
        Kind::NotSent => 1,
        Kind::Busy(Some(_), _) => 2,
        Kind::Unknown => 3,
        Kind::Credential => 4,
        Kind::Refused => 5,
    };
    let Some(mut best) = troubles.into_iter().min_by_key(hope) else {
        return SendError::NotSent(Reason::new(
            "no-relay",
            "config.toml has no [[relay]] to send mail through",
        ));
    };
    if said.len() > 1 {
        best.reason = Reason::new(best.reason.code, said.join("; "));
    }
    best.outcome(now)
}

/// The enhanced status code (RFC 3463) that a reply begins with.
fn enhanced(text: &str) -> Option<(u16, u16, u16)> {
    let word = text.split_whitespace().next()?;
    let mut parts = word.split('.').map(|part| {
        let plain = !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    });
    let code = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && matches!(code.0, 2 | 4 | 5)).then_some(code)
}

/// The queue id of a positive reply, or what it said.
pub(super) fn queued(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let id = lower
        .find("queued as ")
        .and_then(|at| text.get(at + "queued as ".len()..))
        .and_then(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_'))
                .next()
        })
        .map(|id| id.trim_end_matches('.'))
        .filter(|id| !id.is_empty() && id.len() <= 100);
    match id {
        Some(id) => format!("queue id {id}"),
        None => Reason::new("", text.trim()).text,
    }
}

/// The innermost cause: what a person can act on.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
pub(super) mod tests;
