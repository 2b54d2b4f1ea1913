//! An alert, its broadcasts, and the exact content for each account.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{AccountId, AlertId, BroadcastId, MessageId, PictureRef};
use crate::clock::Timestamp;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in config, store, JSON and on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("{text:?} is not one of {}", known.join(", "))
                })
            }
        }
    };
}
pub(crate) use words;

words!(
    /// Whether the public is meant: CAP Actual, Exercise, Test. A delivery belongs to one from birth.
    Mode {
        /// For real.
        Live = "live",
        /// An exercise: the same code on a lane set that only reaches the practice wall.
        Drill = "drill",
        /// A technical test; reaches only the practice wall, like a drill.
        Test = "test",
    }
);

impl Mode {
    /// What alert ids of this mode begin with, so that an exercise is known by its number.
    pub fn alert_prefix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Drill => "ovning-",
            Self::Test => "test-",
        }
    }

    /// The marking that opens every text of this mode in `lang`; empty when live.
    pub fn marking(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Live, _) => "",
            (Self::Drill, Lang::Sv) => "ÖVNING: ",
            (Self::Drill, Lang::En) => "EXERCISE: ",
            (Self::Test, _) => "TEST: ",
        }
    }
}

words!(
    /// What a broadcast does to its alert.
    Kind {
        /// Warns.
        Initial = "initial",
        /// Adds.
        Update = "update",
        /// Takes back an error.
        Correction = "correction",
        /// Ends it: *faran över*.
        AllClear = "all-clear",
    }
);

words!(
    /// A language of the prepared messages.
    Lang {
        /// Swedish.
        Sv = "sv",
        /// English.
        En = "en",
    }
);

words!(
    /// Which of a message's texts was used; the longest that fits.
    Variant {
        /// The whole text.
        Long = "long",
        /// A paragraph.
        Short = "short",
        /// One text message.
        Sms = "sms",
    }
);

words!(
    /// What an account counts when it limits a text.
    Unit {
        /// Unicode scalar values.
        Characters = "characters",
        /// UTF-16 code units.
        Utf16 = "utf-16 units",
        /// Extended grapheme clusters.
        Graphemes = "graphemes",
        /// Extended grapheme clusters with every web address counted as 23.
        MastodonCharacters = "characters (link = 23)",
        /// Unicode scalar values, with each one of an emoji counted as its UTF-8 bytes.
        ThreadsCharacters = "characters (emoji = bytes)",
        /// Characters as X weighs them: a web address is 23, an emoji 2, a letter beyond Latin and its neighbours 2.
        WeightedCharacters = "weighted characters",
        /// UTF-16 code units of the text as LinkedIn wants it, with a backslash before every reserved sign.
        LittleText = "utf-16 units (escaped)",
        /// UTF-8 bytes.
        Bytes = "bytes",
        /// The text messages that it goes in.
        SmsParts = "sms parts",
    }
);

words!(
    /// How a broadcast stands as a whole.
    BroadcastState {
        /// Waits for a second person.
        AwaitingApproval = "awaiting-approval",
        /// The daemon still works on at least one delivery.
        Running = "running",
        /// Every delivery got out.
        Completed = "completed",
        /// Some got out, some did not.
        Partial = "partial",
        /// None got out.
        Failed = "failed",
    }
);

words!(
    /// Whether an alert still stands.
    AlertState {
        /// From first message on.
        Active = "active",
        /// After the all-clear.
        Ended = "ended",
    }
);

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(pub String);

impl Actor {
    /// The daemon itself.
    pub fn daemon() -> Self {
        Self("daemon".to_owned())
    }

    /// A user of this machine, by uid, over the Unix socket.
    pub fn local(uid: u32, name: Option<&str>) -> Self {
        Self(name.map_or_else(|| format!("uid:{uid}"), |name| format!("{name} (uid {uid})")))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A live broadcast that was accepted lately, as the guard against mistakes looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// Which.
    pub broadcast: BroadcastId,
    /// What it did.
    pub kind: Kind,
    /// When it was accepted.
    pub at: Timestamp,
    /// Its texts.
    pub texts: Vec<String>,
    /// The accounts that it went to, or still goes to.
    pub accounts: Vec<AccountId>,
}

/// One decision to say something. Immutable once accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// The alert that it belongs to.
    pub alert: AlertId,
    /// Its own id.
    pub id: BroadcastId,
    /// What it does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// The prepared message that it was made from.
    pub message: MessageId,
    /// The headline in the first language, as people know the alert by.
    pub headline: String,
    /// Who sent it.
    pub actor: Actor,
    /// When it was on disk.
    pub accepted_at: Timestamp,
    /// No attempt starts at or after it.
    pub valid_until: Timestamp,
    /// When nothing was open any more.
    pub finished_at: Option<Timestamp>,
}

/// The exact content for one account: stored when accepted, sent as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendering {
    /// One line, with the drill marking; the subject of a mail.
    pub headline: String,
    /// The whole text as residents read it: marking, headline where the variant has one, sender, and the link last.
    pub text: String,
    /// The same as HTML, for mail only; mail makes its own from `text` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The page with basic information. Stands verbatim at the end of `text`.
    pub link: Url,
    /// The languages of the text, the first one first.
    pub languages: Vec<Lang>,
    /// Which text was used.
    pub variant: Variant,
    /// The length by the account's own rule.
    pub count: usize,
    /// The account's limit in the same unit; `None` if it has none.
    pub limit: Option<usize>,
    /// What `count` and `limit` count.
    pub unit: Unit,
    /// The picture, fitted to the account; only where the account takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureRef>,
}
