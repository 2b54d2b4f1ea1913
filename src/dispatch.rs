//! From the store to the channels: one lane per account and mode, all lanes in parallel; no lane ever waits for another.
//!
//! A lane owns its rate limiter, its circuit breaker and its order. What is on disk before the first byte leaves: the
//! attempt, with its idempotency key. What comes back is decided by pure functions and written before anything else of
//! the lane happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::ledger::Ledger;
use self::shared::Shared;
use crate::channel::{Channel, Pace};
use crate::clock::{SharedClock, later};
use crate::config::Unproven;
use crate::model::{LaneId, Reason, Side};
use crate::store::{Store, StoreError};

mod attempt;
mod backoff;
mod breaker;
mod decide;
mod gates;
mod lane;
mod leases;
mod ledger;
mod pace;
mod queue;
mod room;
mod shared;

pub(crate) use self::decide::DISABLED;

/// How long abandoned attempts may take to end.
const ABANDONED: Duration = Duration::from_secs(1);

/// What a lane needs to know of its account. Asked anew after each reload.
#[derive(Debug, Clone)]
pub struct LanePlan {
    /// The side of the wall that `channel` was opened on. A lane of another one refuses it.
    pub side: Side,
    /// How fast the account may be written to.
    pub pace: Pace,
    /// What to do with an outcome that nothing can prove.
    pub unproven: Unproven,
    /// Longest time of one attempt.
    pub attempt_timeout: Duration,
    /// Names of the secrets that an attempt uses, for the journal; empty on practice lanes.
    pub credentials: Arc<[String]>,
    /// The adapter, or why it could not be opened: every delivery of the lane is then held with that reason.
    pub channel: Result<Arc<dyn Channel>, Reason>,
}

/// Knows the accounts. Implemented by the application.
pub trait Accounts: Send + Sync + 'static {
    /// The plan of a lane; `None` if the configuration does not have the account (its deliveries are then held).
    fn plan(&self, lane: &LaneId) -> Option<LanePlan>;

    /// How far our clock and those of the services are known to be apart; zero if no more than is usual.
    fn astray(&self) -> Duration {
        Duration::ZERO
    }
}

/// The running dispatcher. Dropping it abandons what is under way, as a crash would.
pub struct Dispatcher {
    shared: Arc<Shared>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("node", &self.shared.node)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Takes the leases of every lane that has open deliveries and starts to work them. `force` takes them also from
    /// another node that still holds them. Must be called within the runtime.
    pub async fn start(
        store: Store,
        accounts: Arc<dyn Accounts>,
        clock: SharedClock,
        node: String,
        force: bool,
    ) -> Result<Self, StoreError> {
        Self::over(Arc::new(store), accounts, clock, node, force).await
    }

    async fn over(
        ledger: Arc<dyn Ledger>,
        accounts: Arc<dyn Accounts>,
        clock: SharedClock,
        node: String,
        force: bool,
    ) -> Result<Self, StoreError> {
        // Two processes of one data directory are two owners: one that was taken over from and lives on takes no lane of
        // its successor. Only who holds the directory, as we do now, may take over what an earlier process leased.
        let owner = format!("{node}/{}", uuid::Uuid::new_v4());
        let until = later(clock.now(), shared::LEASE);
        ledger.inherit_lanes(&node, &owner, until).await?;
        let shared = Arc::new(Shared::new(ledger, accounts, clock, owner));
        let dispatcher = Self {
            shared: Arc::clone(&shared),
        };
        let open = shared.ledger.open_lanes().await?;
        // Before any of them runs, so that drills stand back from the first moment.
        for lane in &open {
            let handle = shared.handle(lane);
            handle.wake();
            shared.lanes().insert(lane.clone(), handle);
        }
        let leases = leases::take(&shared, &open, force).await?;
        let held: Vec<LaneId> = open
            .into_iter()
            .filter(|lane| leases.iter().all(|lease| lease.lane != *lane))
            .collect();
        leases::run(&shared, leases).await;
        if !held.is_empty() {
            shared.tasks.spawn(leases::open(Arc::clone(&shared), held));
        }
        shared.tasks.spawn(leases::keep(Arc::clone(&shared)));
        Ok(dispatcher)
    }

    /// Tells lanes that they have something to do; starts those that do not run yet. Must be called within the runtime.
    pub fn wake(&self, lanes: &[LaneId]) {
        if self.shared.stopping.is_cancelled() {
            return;
        }
        let mut cold = Vec::new();
        {
            let mut running = self.shared.lanes();
            for lane in lanes {
                if let Some(handle) = running.get(lane) {
                    handle.wake();
                } else {
                    let handle = self.shared.handle(lane);
                    handle.wake();
                    running.insert(lane.clone(), handle);
                    cold.push(lane.clone());
                }
            }
        }
        if !cold.is_empty() {
            self.shared
                .tasks
                .spawn(leases::open(Arc::clone(&self.shared), cold));
        }
    }

    /// Makes every lane ask for its plan again.
    pub fn reload(&self) {
        for handle in self.shared.lanes().values() {
            handle.reload.store(true, Ordering::SeqCst);
            handle.wake();
        }
    }

    /// Starts no new attempt, lets those under way finish for at most `grace`, then abandons them (they are unknown at
    /// the next start). Returns whether all finished.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        let finished = tokio::time::timeout(grace, self.shared.tasks.wait())
            .await
            .is_ok();
        self.shared.abandon.cancel();
        // What is abandoned ends at its next await; nothing of it may run on beside a closing store.
        if !finished
            && tokio::time::timeout(ABANDONED, self.shared.tasks.wait())
                .await
                .is_err()
        {
            tracing::warn!("a lane does not end; the process will end it");
        }
        finished
    }

    /// Resolves when the dispatcher cannot go on: another node took its lanes, or the store failed for good.
    pub async fn failed(&self) -> String {
        self.shared.failure().await
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.abandon.cancel();
    }
}

#[cfg(test)]
mod tests;
