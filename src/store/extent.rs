//! How a broadcast stands account by account, counted by the database: a list of a million recipients is a few rows.

use super::db::{Readers, Row, unsigned};
use super::{StoreError, sql};
use crate::model::{AccountId, AlertId, BroadcastId, DeliveryId, State};

/// Deliveries of one account that stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an answer of its own, and any of them go together"
)]
pub struct Extent {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Whether they are those of a list.
    pub is_list: bool,
    /// Where they stand.
    pub state: State,
    /// Whether they stand in for others and have had nothing to do.
    pub is_idle: bool,
    /// Whether an earlier attempt may have got through, so that they may stand although nothing says so. What is being
    /// sent or settled is not counted, nor what a person has cancelled since.
    pub is_uncertain: bool,
    /// Whether they stand in for others.
    pub stands_in: bool,
    /// How many they are.
    pub many: u32,
    /// One of them.
    pub example: DeliveryId,
}

pub(super) async fn read(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<Extent>, StoreError> {
    let rows = readers
        .fetch(sql::EXTENT, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(extent).collect()
}

fn extent(row: &Row) -> Result<Extent, StoreError> {
    Ok(Extent {
        account: row.word(0)?,
        channel: row.text(1)?,
        is_list: row.int(2)? != 0,
        state: row.word(3)?,
        is_idle: row.int(4)? != 0,
        is_uncertain: row.int(5)? != 0,
        stands_in: row.int(6)? != 0,
        many: unsigned(row.int(7)?)?,
        example: row.word(8)?,
    })
}

/// The delivery that last changed the post of another one, if any did.
pub(super) async fn latest_edit(
    readers: &Readers,
    alert: &AlertId,
    of: &DeliveryId,
) -> Result<Option<DeliveryId>, StoreError> {
    let values = vec![alert.as_str().into(), of.as_str().into()];
    let rows = readers.fetch(sql::LATEST_EDIT, values).await?;
    rows.first().map(|row| row.word(0)).transpose()
}
