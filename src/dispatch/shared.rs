//! What all lanes share: the store, the accounts, and three flags that no lane may overlook.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Accounts;
use super::ledger::Ledger;
use crate::clock::SharedClock;
use crate::model::{LaneId, Mode};

/// How long a lane is ours without renewal.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// What all lanes share.
pub(super) struct Shared {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) accounts: Arc<dyn Accounts>,
    pub(super) clock: SharedClock,
    pub(super) node: String,
    /// No new attempt starts.
    pub(super) stopping: CancellationToken,
    /// What is under way is dropped.
    pub(super) abandon: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// The lanes that run or are about to.
    lanes: Mutex<BTreeMap<LaneId, Arc<Handle>>>,
    /// A lane began to run: its lease needs renewing.
    pub(super) running: Notify,
    /// How many live lanes have something to do: drills stand back while it is not zero.
    live: watch::Sender<usize>,
    /// How many answers of services could not be written yet: an unrecordable success is a duplicate, so no attempt
    /// starts while it is not zero.
    unwritten: watch::Sender<usize>,
    failure: watch::Sender<Option<String>>,
}

impl Shared {
    pub(super) fn new(
        ledger: Arc<dyn Ledger>,
        accounts: Arc<dyn Accounts>,
        clock: SharedClock,
        node: String,
    ) -> Self {
        Self {
            ledger,
            accounts,
            clock,
            node,
            stopping: CancellationToken::new(),
            abandon: CancellationToken::new(),
            tasks: TaskTracker::new(),
            lanes: Mutex::default(),
            running: Notify::new(),
            live: watch::Sender::new(0),
            unwritten: watch::Sender::new(0),
            failure: watch::Sender::new(None),
        }
    }

    /// The running lanes; never held over an await.
    pub(super) fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Arc<Handle>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle for a lane that is to run.
    pub(super) fn handle(&self, lane: &LaneId) -> Arc<Handle> {
        Arc::new(Handle {
            notify: Notify::new(),
            woken: AtomicBool::new(true),
            reload: AtomicBool::new(false),
            leased: Mutex::new(None),
            fenced: CancellationToken::new(),
            hot: Hot {
                on: AtomicBool::new(false),
                live: (lane.mode == Mode::Live).then(|| self.live.clone()),
            },
        })
    }

    /// Sees whether live lanes have something to do.
    pub(super) fn watch_live(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }

    /// Sees whether answers wait to be written.
    pub(super) fn watch_unwritten(&self) -> watch::Receiver<usize> {
        self.unwritten.subscribe()
    }

    /// Whether answers wait to be written.
    pub(super) fn is_unwritable(&self) -> bool {
        *self.unwritten.borrow() > 0
    }

    /// An answer could not be written; it counts until the guard is dropped.
    pub(super) fn unwritten(&self) -> Unwritten {
        self.unwritten.send_modify(|count| *count += 1);
        Unwritten(self.unwritten.clone())
    }

    /// Another node holds the lane. If it was the last one of ours, the dispatcher cannot go on.
    pub(super) fn fenced(&self, lane: &LaneId) {
        let none_left = {
            let lanes = self.lanes();
            if let Some(handle) = lanes.get(lane) {
                handle.fenced.cancel();
            }
            let mut ours = lanes.values().filter(|handle| handle.epoch().is_some());
            ours.all(|handle| handle.fenced.is_cancelled())
        };
        if none_left {
            self.fail("another node has taken all lanes".to_owned());
        }
    }

    /// The dispatcher cannot go on.
    pub(super) fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(why);
            }
            first
        });
    }

    /// Waits until the dispatcher cannot go on.
    pub(super) async fn failure(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // Cannot be: the sender is ours.
            Err(_) => "the dispatcher is gone".to_owned(),
        }
    }
}

/// The outside of a lane.
#[derive(Debug)]
pub(super) struct Handle {
    /// Something happened.
    pub(super) notify: Notify,
    /// There may be new work.
    woken: AtomicBool,
    /// The configuration changed.
    pub(super) reload: AtomicBool,
    /// The epoch under which the lane runs.
    leased: Mutex<Option<i64>>,
    /// Another node holds the lane.
    pub(super) fenced: CancellationToken,
    hot: Hot,
}

impl Handle {
    /// Tells the lane that there may be new work. From now on drills stand back.
    pub(super) fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        self.hot.set(true);
        self.notify.notify_one();
    }

    /// Whether the lane was woken since it last asked; forgets it.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Whether the lane was woken since it last asked.
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Says whether the lane has something to do at this moment.
    pub(super) fn set_hot(&self, on: bool) {
        self.hot.set(on);
        // A wake between the decision and now must not be lost.
        if self.is_woken() {
            self.hot.set(true);
        }
    }

    /// The epoch under which the lane runs, if it does.
    pub(super) fn epoch(&self) -> Option<i64> {
        *self.leased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane runs under `epoch`.
    pub(super) fn set_epoch(&self, epoch: Option<i64>) {
        *self.leased.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }
}

/// Counts its lane among the live ones with something to do while it is on.
#[derive(Debug)]
struct Hot {
    on: AtomicBool,
    /// None on drill lanes: nobody waits for them.
    live: Option<watch::Sender<usize>>,
}

impl Hot {
    fn set(&self, on: bool) {
        let Some(live) = &self.live else { return };
        // Under the channel's lock, so that two threads cannot count in the wrong order.
        live.send_if_modified(|count| {
            let turned = self.on.swap(on, Ordering::SeqCst) != on;
            if turned {
                *count = if on { *count + 1 } else { count.saturating_sub(1) };
            }
            turned
        });
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// An answer that is not on disk yet.
pub(super) struct Unwritten(watch::Sender<usize>);

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
