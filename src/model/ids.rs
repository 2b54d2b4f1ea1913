//! Ids as types of their own, so that an account can never be passed where a group is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Mode;

/// What a name that people write in `config.toml` may look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a valid id: use 1–63 of a–z, 0–9, '-' and '_', starting with a letter or digit")]
pub struct BadId {
    /// What was written.
    pub found: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                let rest = text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
                if first && rest && text.len() <= 63 {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(BadId { found: text.chars().take(80).collect() })
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A configured outlet: the `<id>` of `[account.<id>]`.
    AccountId
);
id!(
    /// A named set of accounts.
    GroupId
);
id!(
    /// A list of recipients: the `<id>` of `[list.<id>]`.
    ListId
);
id!(
    /// A prepared message: the stem of its file under `templates/messages/`.
    MessageId
);
id!(
    /// One crisis as the public sees it: `2026-0007` live, `ovning-2026-0003` drill, `test-2026-0001` test.
    AlertId
);
id!(
    /// One broadcast: its alert's id and a running number, `2026-0007.2`.
    BroadcastId
);
id!(
    /// One delivery, and the idempotency key of every attempt at it: a UUID (version 7).
    DeliveryId
);

impl DeliveryId {
    /// A new id, unlike any other on any machine.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl BroadcastId {
    /// The `number`th broadcast of `alert`, counted from 1.
    pub fn of(alert: &AlertId, number: i64) -> Self {
        Self(format!("{alert}.{number}"))
    }

    /// The alert that this broadcast was issued under.
    pub fn alert(&self) -> AlertId {
        AlertId(
            self.0
                .rsplit_once('.')
                .map_or(self.0.as_str(), |(alert, _)| alert)
                .to_owned(),
        )
    }
}

impl AlertId {
    /// The mode that an alert was born in, as its name says.
    pub fn mode(&self) -> Mode {
        [Mode::Drill, Mode::Test]
            .into_iter()
            .find(|mode| self.0.starts_with(mode.alert_prefix()))
            .unwrap_or(Mode::Live)
    }

    /// The `number`th alert of `year` in `mode`.
    pub fn numbered(mode: Mode, year: i16, number: i64) -> Self {
        Self(format!("{}{year}-{number:04}", mode.alert_prefix()))
    }
}

/// The queue of one account in one mode: the unit of order, pace and ownership. The mode is part of it from birth, so
/// that nothing of a drill can stand in a live lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LaneId {
    /// Whose queue.
    pub account: AccountId,
    /// In which mode.
    pub mode: Mode,
}

impl LaneId {
    /// Which side of the wall the lane is on, with the leave that goes with it.
    pub fn side(&self) -> Side {
        match self.mode {
            Mode::Live => Side::Live(Live(())),
            Mode::Drill | Mode::Test => Side::Practice(Practice(self.mode)),
        }
    }
}

/// Leave to speak to the public. Only a live lane gives it, and nothing that reaches an account's own address or secrets
/// can be made without it: where a drill is worked on, there is no value of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live(());

/// Leave to practise on the wall: given by the lanes of drills and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Practice(Mode);

impl Practice {
    /// Drill or test.
    pub fn mode(self) -> Mode {
        self.0
    }
}

/// Which side of the practice wall a lane is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The public's.
    Live(Live),
    /// The wall's.
    Practice(Practice),
}

impl Side {
    /// The mode of the lane that gave it.
    pub fn mode(self) -> Mode {
        match self {
            Self::Live(_) => Mode::Live,
            Self::Practice(practice) => practice.mode(),
        }
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.mode)
    }
}
