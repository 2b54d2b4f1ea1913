//! How much more a service takes, as it says itself beside an answer.

use crate::clock::Timestamp;

/// What a service said of its limit with an answer that was a success. Not stored: it ages within minutes, and the next
/// answer says it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What is left, in the service's own unit (requests, points, percent).
    pub left: u64,
    /// Of how much; `None` if it does not say.
    pub limit: Option<u64>,
    /// When all of it is there again; `None` if it does not say.
    pub resets_at: Option<Timestamp>,
}
