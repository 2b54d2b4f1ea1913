//! What lanes need of the store, so that they can be tested in virtual time against one that lives in memory.

use std::collections::HashMap;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::model::{AccountId, DeliveryId, LaneId, State, Work};
use crate::store::{Change, LaneNotes, Lease, StepMade, Store, StoreError};

/// The store as a lane sees it; every method as in [`Store`].
#[async_trait]
pub(super) trait Ledger: Send + Sync + 'static {
    async fn take_lanes(
        &self,
        lanes: &[LaneId],
        node: &str,
        until: Timestamp,
        force: bool,
    ) -> Result<Vec<Lease>, StoreError>;

    async fn inherit_lanes(&self, node: &str, owner: &str, until: Timestamp) -> Result<(), StoreError>;

    async fn renew_lanes(
        &self,
        leases: &[(LaneId, i64)],
        node: &str,
        until: Timestamp,
    ) -> Result<Vec<LaneId>, StoreError>;

    async fn open_lanes(&self) -> Result<Vec<LaneId>, StoreError>;

    async fn head(&self, lane: &LaneId, limit: usize) -> Result<Vec<Work>, StoreError>;

    async fn heads(&self, lanes: &[LaneId]) -> Result<HashMap<LaneId, Vec<Work>>, StoreError>;

    async fn change(&self, changes: Vec<Change>) -> Vec<Result<State, StoreError>>;

    async fn record_step(&self, made: StepMade) -> Result<(), StoreError>;

    async fn note_lane(&self, lane: &LaneId, epoch: i64, notes: LaneNotes) -> Result<(), StoreError>;

    async fn taken_ids(
        &self,
        account: &AccountId,
        besides: &DeliveryId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    async fn picture(&self, sha256: &str) -> Result<Vec<u8>, StoreError>;
}

#[async_trait]
impl Ledger for Store {
    async fn take_lanes(
        &self,
        lanes: &[LaneId],
        node: &str,
        until: Timestamp,
        force: bool,
    ) -> Result<Vec<Lease>, StoreError> {
        Store::take_lanes(self, lanes, node, until, force).await
    }

    async fn inherit_lanes(&self, node: &str, owner: &str, until: Timestamp) -> Result<(), StoreError> {
        Store::inherit_lanes(self, node, owner, until).await
    }

    async fn renew_lanes(
        &self,
        leases: &[(LaneId, i64)],
        node: &str,
        until: Timestamp,
    ) -> Result<Vec<LaneId>, StoreError> {
        Store::renew_lanes(self, leases, node, until).await
    }

    async fn open_lanes(&self) -> Result<Vec<LaneId>, StoreError> {
        Store::open_lanes(self).await
    }

    async fn head(&self, lane: &LaneId, limit: usize) -> Result<Vec<Work>, StoreError> {
        Store::head(self, lane, limit).await
    }

    async fn heads(&self, lanes: &[LaneId]) -> Result<HashMap<LaneId, Vec<Work>>, StoreError> {
        Store::heads(self, lanes).await
    }

    async fn change(&self, changes: Vec<Change>) -> Vec<Result<State, StoreError>> {
        Store::change(self, changes).await
    }

    async fn record_step(&self, made: StepMade) -> Result<(), StoreError> {
        Store::record_step(self, made).await
    }

    async fn note_lane(&self, lane: &LaneId, epoch: i64, notes: LaneNotes) -> Result<(), StoreError> {
        Store::note_lane(self, lane, epoch, notes).await
    }

    async fn taken_ids(
        &self,
        account: &AccountId,
        besides: &DeliveryId,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        Store::taken_ids(self, account, besides, since, limit).await
    }

    async fn picture(&self, sha256: &str) -> Result<Vec<u8>, StoreError> {
        Store::picture(self, sha256).await
    }
}
