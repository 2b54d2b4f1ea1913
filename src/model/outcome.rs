//! What can become of an attempt. The variant alone decides what happens next; the text is for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Why something did not go as wished: a stable code for machines, a sentence for people. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and short: `http-422`, `graph-190-463`, `smtp-550-5.1.1`, `connect`, `timeout`.
    pub code: String,
    /// What happened, in one English sentence, capped in length.
    pub text: String,
}

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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
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
    /// The word used in the journal and in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not-sent",
            Self::Busy { .. } => "busy",
            Self::Credential(_) => "credential",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
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
