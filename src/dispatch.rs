//! From the store to the channels: one lane per account and mode, all lanes in parallel; no lane ever waits for another.
//!
//! A lane owns its rate limiter, its circuit breaker and its order. What is on disk before the first byte leaves: the
//! attempt, with its idempotency key. What comes back is decided by pure functions and written before anything else of
//! the lane happens.

use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Channel, Pace};
use crate::clock::SharedClock;
use crate::config::Unproven;
use crate::model::{LaneId, Mode, Reason};
use crate::store::Store;

/// What a lane needs to know of its account. Asked anew after each reload.
#[derive(Debug, Clone)]
pub struct LanePlan {
    /// The mode that `channel` was opened for. A lane of another mode refuses it.
    pub mode: Mode,
    /// How fast the account may be written to.
    pub pace: Pace,
    /// What to do with an outcome that nothing can prove.
    pub unproven: Unproven,
    /// Longest time of one attempt.
    pub attempt_timeout: Duration,
    /// The adapter, or why it could not be opened: every delivery of the lane is then held with that reason.
    pub channel: Result<Arc<dyn Channel>, Reason>,
}

/// Knows the accounts. Implemented by the application.
pub trait Accounts: Send + Sync + 'static {
    /// The plan of a lane; `None` if the configuration does not have the account (its deliveries are then held).
    fn plan(&self, lane: &LaneId) -> Option<LanePlan>;
}

/// The running dispatcher.
#[derive(Debug)]
pub struct Dispatcher {
    _inner: Arc<()>,
}

impl Dispatcher {
    /// Takes the leases of every lane that has open deliveries and starts to work them. `force` takes them also from
    /// another node that still holds them.
    pub async fn start(
        store: Store,
        accounts: Arc<dyn Accounts>,
        clock: SharedClock,
        node: String,
        force: bool,
    ) -> Result<Self, crate::store::StoreError> {
        let _ = (store, accounts, clock, node, force);
        todo!("dispatch")
    }

    /// Tells lanes that they have something to do; starts those that do not run yet.
    pub fn wake(&self, lanes: &[LaneId]) {
        let _ = lanes;
        todo!("dispatch")
    }

    /// Makes every lane ask for its plan again.
    pub fn reload(&self) {
        todo!("dispatch")
    }

    /// Starts no new attempt, lets those under way finish for at most `grace`, then abandons them (they are unknown at
    /// the next start). Returns whether all finished.
    pub async fn stop(&self, grace: Duration) -> bool {
        let _ = grace;
        todo!("dispatch")
    }

    /// Resolves when the dispatcher cannot go on: another node took its lanes, or the store failed for good.
    pub async fn failed(&self) -> String {
        todo!("dispatch")
    }
}
