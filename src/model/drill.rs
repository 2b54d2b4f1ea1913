//! Drills as every step knows them: how far one goes, how a run of it stands, and what is made to fail.

use serde::{Deserialize, Serialize};

use super::AccountId;
use super::broadcast::words;

words!(
    /// How far a drill goes.
    Level {
        /// Texts and checks; nothing is sent anywhere.
        Tabletop = "tabletop",
        /// Every account is asked whether it works; nothing is published.
        Reach = "reach",
        /// Everything, against the practice wall; the confirmation is for real.
        Rehearse = "rehearse",
        /// The real services, where the public cannot see.
        Backstage = "backstage",
    }
);

words!(
    /// Where one run of a drill stands.
    RunState {
        /// Waits for its turn, or is under way.
        Running = "running",
        /// It went to its end, and was graded.
        Finished = "finished",
        /// Its time passed while nobody could run it. It is not run late.
        Missed = "missed",
        /// A live alert came first.
        Suspended = "suspended",
        /// It could not be carried out.
        Failed = "failed",
    }
);

/// What is made to fail during a rehearsal, on the practice wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", content = "on", rename_all = "kebab-case")]
pub enum Injection {
    /// The account's service answers nothing but "not now".
    Dead(AccountId),
    /// The account's service refuses the credential.
    TokenExpired(AccountId),
    /// Nobody answers at the relay's address.
    RelayDown(AccountId),
}

impl Injection {
    /// The account, or the relay, that fails.
    pub fn on(&self) -> &AccountId {
        match self {
            Self::Dead(on) | Self::TokenExpired(on) | Self::RelayDown(on) => on,
        }
    }

    /// The account that fails; `None` for a relay.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Dead(on) | Self::TokenExpired(on) => Some(on),
            Self::RelayDown(_) => None,
        }
    }
}
