//! What can become of an attempt. The variant alone decides what happens next; the text is for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Event;
use super::broadcast::words;
use crate::clock::Timestamp;

words!(
    /// How an attempt ended; written once.
    Outcome {
        /// The channel took it.
        Published = "published",
        /// It cannot have had an effect.
        NotSent = "not-sent",
        /// The service asked us to wait.
        Busy = "busy",
        /// The credential was refused.
        Credential = "credential",
        /// The service said no for good.
        Refused = "refused",
        /// No readable answer came.
        Unknown = "unknown",
    }
);

/// What an outcome may make of its delivery. What is not here is an error.
const TABLE: &[(Outcome, Event)] = {
    use Event as E;
    use Outcome as O;
    &[
        (O::Published, E::Publish),
        (O::NotSent, E::Postpone),
        (O::NotSent, E::Expire),
        (O::Busy, E::Postpone),
        (O::Busy, E::HandOver),
        (O::Busy, E::Expire),
        (O::Credential, E::Hold),
        (O::Refused, E::Refuse),
        (O::Unknown, E::Lose),
    ]
};

impl Outcome {
    /// Whether the event may follow from an attempt that ended so.
    pub fn admits(self, event: Event) -> bool {
        TABLE.contains(&(self, event))
    }
}

/// Why something did not go as wished: a stable code for machines, a sentence for people. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and short: `http-422`, `graph-190-463`, `smtp-550-5.1.1`, `connect`, `timeout`.
    pub code: String,
    /// What happened, in one English sentence, capped in length.
    pub text: String,
}

/// Code of what is not sent because an account that stands in for it has published.
pub const STOOD_IN_FOR: &str = "stood-in-for";

/// Code of what a person publishes because an account that it stands in for does not get out.
pub const STANDS_IN: &str = "stands-in";

/// Code of a stand-in or a pin that was not needed after all.
pub const NOT_NEEDED: &str = "not-needed";

/// Code of what was not sent because its account is only tried out.
pub const DRY_RUN: &str = "dryrun";

impl Reason {
    /// Longest text that is kept, in characters: what services answer is data, not truth.
    const MAX_CHARS: usize = 300;

    /// A reason; control characters are dropped and the text is capped at 300 characters.
    pub fn new(code: impl Into<String>, text: impl AsRef<str>) -> Self {
        let text = text
            .as_ref()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(Self::MAX_CHARS)
            .collect();
        Self {
            code: code.into(),
            text,
        }
    }

    /// Whether a service was only asked what it would do: the account works, and nothing was to go out.
    pub fn is_dry_run(&self) -> bool {
        self.code == DRY_RUN
    }

    /// Whether it says, for good, that there is nobody at the recipient's address: such a recipient is left out of later
    /// broadcasts. The codes are a contract between adapters and store: `gone`, `no-such-recipient`, what WhatsApp says of
    /// people who have no WhatsApp or want no more of it, and SMTP replies whose enhanced status says so (RFC 3463: no
    /// such mailbox, domain or address; moved; disabled).
    pub fn ends_recipient(&self) -> bool {
        const OF_MAIL: [&str; 6] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];
        let code = self.code.as_str();
        matches!(
            code,
            "gone" | "no-such-recipient" | "whatsapp-131026" | "whatsapp-131050"
        ) || code
            .strip_prefix("smtp-5")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(_, status)| OF_MAIL.contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;

    #[test]
    fn every_outcome_and_event_is_decided_once_and_leaves_no_attempt_open() {
        let mut drawn = String::new();
        for outcome in Outcome::ALL.iter().copied() {
            assert_eq!(outcome.as_str().parse::<Outcome>(), Ok(outcome));
            let mut any = false;
            for event in Event::ALL {
                let rows = TABLE.iter().filter(|row| **row == (outcome, event)).count();
                assert!(rows <= 1, "{outcome} + {event} stands {rows} times");
                assert_eq!(outcome.admits(event), rows == 1);
                if rows == 0 {
                    continue;
                }
                any = true;
                let to = State::Sending
                    .after(event)
                    .expect("an outcome ends an attempt that is under way");
                assert_ne!(to, State::Sending, "{outcome} {event}");
                // Only what the channel took is out; only what nobody knows is unknown.
                assert_eq!(to.got_out(), outcome == Outcome::Published, "{outcome} {event}");
                assert_eq!(
                    to == State::Unknown,
                    outcome == Outcome::Unknown,
                    "{outcome} {event}"
                );
                drawn.extend([outcome.as_str(), " --", event.as_str(), "--> ", to.as_str(), "\n"]);
            }
            assert!(any, "{outcome} leads nowhere");
        }
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn only_a_reply_about_the_address_ends_a_recipient() {
        for code in [
            "gone",
            "no-such-recipient",
            "whatsapp-131026",
            "smtp-550-5.1.1",
            "smtp-553-5.1.3",
            "smtp-551-5.1.6",
        ] {
            assert!(Reason::new(code, "").ends_recipient(), "{code}");
        }
        // A full mailbox, a policy, a reply without an enhanced status: perhaps tomorrow, perhaps not about the address.
        for code in [
            "smtp-552-5.2.2",
            "smtp-550-5.7.1",
            "smtp-550",
            "smtp-450-4.1.1",
            "http-410",
            "whatsapp-131030",
            // About our own address or our own key, whoever it was for.
            "smtp-sender-550-5.1.1",
            "smtp-data-550-5.1.1",
            "other-key",
            "address",
            "",
        ] {
            assert!(!Reason::new(code, "").ends_recipient(), "{code}");
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

/// Whom an answer of "busy" is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// The account: nothing of its lane is asked for meanwhile.
    Account,
    /// The attempt's recipient alone (a full mailbox, greylisting): the others go on at the account's pace.
    Recipient,
}

/// Why an attempt gave no receipt.
///
/// There is no `From<reqwest::Error>`: `?` would forget whether the request had left us. `channel::transport` decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request cannot have had an effect: DNS, connect, TLS, or the service says that it did nothing. Tried again.
    #[error("not sent: {0}")]
    NotSent(Reason),
    /// The service asks us to wait. Waited out in full; past the validity the delivery is handed over at once.
    #[error("busy: {reason}")]
    Busy {
        /// When it may be asked again; `None` if the service named no time.
        until: Option<Timestamp>,
        /// Whom it is about.
        scope: Busy,
        /// What it said.
        reason: Reason,
    },
    /// The credential is refused and one renewal, where the channel has one, did not help. A person is told at once.
    #[error("credential refused: {0}")]
    Credential(Reason),
    /// The service understood and said no for good: content, permission.
    #[error("refused: {0}")]
    Refused(Reason),
    /// The request left us and no readable answer came. Never sent again before it is settled.
    #[error("outcome unknown: {0}")]
    Unknown(Reason),
}

impl SendError {
    /// The outcome of the attempt that gave it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(_) => Outcome::NotSent,
            Self::Busy { .. } => Outcome::Busy,
            Self::Credential(_) => Outcome::Credential,
            Self::Refused(_) => Outcome::Refused,
            Self::Unknown(_) => Outcome::Unknown,
        }
    }

    /// The word used in the journal and in metrics.
    pub fn as_str(&self) -> &'static str {
        self.outcome().as_str()
    }

    /// What happened.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::NotSent(reason)
            | Self::Busy { reason, .. }
            | Self::Credential(reason)
            | Self::Refused(reason)
            | Self::Unknown(reason) => reason,
        }
    }
}
