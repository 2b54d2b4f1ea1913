//! Which lanes are ours: takes them, keeps them, and hears when another node has one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::lane;
use super::shared::{Handle, LEASE, Shared};
use crate::clock::later;
use crate::model::LaneId;
use crate::store::{Lease, StoreError};

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Takes lanes in one commit.
pub(super) async fn take(shared: &Shared, lanes: &[LaneId], force: bool) -> Result<Vec<Lease>, StoreError> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let until = later(shared.clock.now(), LEASE);
    shared.ledger.take_lanes(lanes, &shared.node, until, force).await
}

/// Takes lanes and runs them. Those that another node holds are asked for again when its lease may have run out, as
/// long as they have open deliveries.
pub(super) async fn open(shared: Arc<Shared>, mut wanted: Vec<LaneId>) {
    let mut retry = RETRY_FIRST;
    while !wanted.is_empty() {
        // One that stops must not take a lane from its successor.
        let taken = tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            taken = take(&shared, &wanted, false) => taken,
        };
        match taken {
            Ok(leases) => {
                wanted.retain(|lane| leases.iter().all(|lease| lease.lane != *lane));
                run(&shared, leases).await;
                if wanted.is_empty() {
                    return;
                }
                tracing::warn!(
                    lanes = wanted.len(),
                    "another node holds lanes that have something to do here"
                );
                retry = LEASE;
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(error = %error, "lanes cannot be taken; trying again");
                retry = if retry >= RETRY_LONGEST {
                    RETRY_LONGEST
                } else {
                    retry * 2
                };
            }
        }
        tokio::select! {
            () = sleep(retry) => {}
            () = shared.stopping.cancelled() => return,
        }
        if retry == LEASE {
            wanted = still_wanted(&shared, wanted).await;
        }
    }
}

/// Those of the lanes that have open deliveries. The others are forgotten, but not one that was woken since we looked.
async fn still_wanted(shared: &Shared, wanted: Vec<LaneId>) -> Vec<LaneId> {
    for lane in &wanted {
        if let Some(handle) = shared.lanes().get(lane) {
            handle.take_woken();
        }
    }
    let Ok(open) = shared.ledger.open_lanes().await else {
        return wanted;
    };
    let mut lanes = shared.lanes();
    let mut stays = |lane: &LaneId| {
        let stays = open.contains(lane) || lanes.get(lane).is_some_and(|handle| handle.is_woken());
        if !stays {
            lanes.remove(lane);
        }
        stays
    };
    wanted.into_iter().filter(|lane| stays(lane)).collect()
}

/// Runs lanes that are ours.
///
/// Their heads are read in one go. A lane that is woken after that reads its own.
pub(super) async fn run(shared: &Arc<Shared>, leases: Vec<Lease>) {
    let mut lanes = Vec::with_capacity(leases.len());
    for lease in leases {
        let handle = {
            let mut lanes = shared.lanes();
            Arc::clone(
                lanes
                    .entry(lease.lane.clone())
                    .or_insert_with(|| shared.handle(&lease.lane)),
            )
        };
        handle.set_epoch(Some(lease.epoch));
        // Forgotten before the heads are read: a wake from now on tells of something that may not be in them.
        handle.take_woken();
        lanes.push((lease, handle));
    }
    let ids: Vec<LaneId> = lanes.iter().map(|(lease, _)| lease.lane.clone()).collect();
    let mut heads = match shared.ledger.heads(&ids).await {
        Ok(heads) => heads,
        Err(error) => {
            tracing::warn!(error = %error, "the heads of lanes cannot be read together; each reads its own");
            HashMap::new()
        }
    };
    for (lease, handle) in lanes {
        let head = heads.remove(&lease.lane);
        shared
            .tasks
            .spawn(lane::supervise(Arc::clone(shared), handle, lease, head));
    }
    shared.running.notify_one();
}

/// Renews the leases of running lanes, three times in the life of one. Sleeps while no lane runs.
pub(super) async fn keep(shared: Arc<Shared>) {
    loop {
        let ours = ours(&shared);
        let rested = async {
            if ours.is_empty() {
                shared.running.notified().await;
            } else {
                sleep(LEASE / 3).await;
            }
        };
        tokio::select! {
            () = rested => {}
            () = shared.stopping.cancelled() => return,
        }
        // Anew: lanes may have ended or begun meanwhile.
        let ours = self::ours(&shared);
        if ours.is_empty() {
            continue;
        }
        let until = later(shared.clock.now(), LEASE);
        match shared.ledger.renew_lanes(&ours, &shared.node, until).await {
            Ok(lost) => {
                for lane in lost {
                    tracing::error!(account.id = %lane.account, mode = %lane.mode, "another node has taken the lane");
                    shared.fenced(&lane);
                }
            }
            Err(StoreError::Closed) => return,
            // The epoch in every write protects the lane even if the lease runs out.
            Err(error) => tracing::warn!(error = %error, "leases cannot be renewed; trying again"),
        }
    }
}

fn ours(shared: &Shared) -> Vec<(LaneId, i64)> {
    let running = |(lane, handle): (&LaneId, &Arc<Handle>)| {
        let epoch = handle.epoch().filter(|_| !handle.fenced.is_cancelled())?;
        Some((lane.clone(), epoch))
    };
    shared.lanes().iter().filter_map(running).collect()
}
