//! The checks: each looks at a command with its renderings and says what to change. A file per check.

use serde::{Deserialize, Serialize};

use crate::model::AccountId;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth a look.
    Warn,
    /// Stops the command.
    Block,
}

/// What a check says of a command, or of one account's rendering.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check: `length`, `sender`, `link`, `marking`, `validity`.
    pub check: String,
    /// How much it weighs.
    pub level: Level,
    /// The account, or none if it concerns the whole command.
    pub account: Option<AccountId>,
    /// What is wrong and what to change, in Swedish.
    pub text: String,
}
