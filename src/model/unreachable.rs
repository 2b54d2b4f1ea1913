//! An account that did not answer before a broadcast was accepted: what was known then, and who takes over at once.

use serde::{Deserialize, Serialize};

use super::{AccountId, Reason};
use crate::clock::Timestamp;

/// Code of what was done at once because an account had not answered before.
pub const UNREACHABLE_BEFORE: &str = "unreachable-before";

/// An account that the last look before the acceptance found unreachable. It is tried all the same; nobody waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachableBefore {
    /// The account.
    pub account: AccountId,
    /// Since when it was seen so.
    pub since: Timestamp,
    /// When it was last looked at.
    pub seen_at: Timestamp,
    /// What was amiss: the trouble's word, and a Swedish sentence.
    pub reason: Reason,
    /// Who takes over at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<AccountId>,
    /// Where a person is asked at once to publish: on this account if nobody of its chain answers, or on the account at
    /// the chain's end that a person serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<AccountId>,
}

impl UnreachableBefore {
    /// Whether a person is asked at once to publish on the account itself.
    pub fn asks_a_person(&self) -> bool {
        self.by_hand.as_ref() == Some(&self.account)
    }
}
