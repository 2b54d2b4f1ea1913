//! How many recipients of a broadcast stand how on an account: kept with every step, in the step's own transaction, so
//! that a report of a million recipients reads a handful of rows.

use std::collections::BTreeMap;

use super::writer::Tx;
use super::{StoreError, sql};
use crate::clock::Timestamp;
use crate::model::{AccountId, BroadcastId, State};

/// The word of those who stand in for another account and have had nothing to do so far.
pub(super) const STANDBY: &str = "standby";
/// The word of those who stood in for another account and were not needed.
pub(super) const SPARED: &str = "spared";

/// What a transaction changes in the tally.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<(BroadcastId, AccountId, &'static str), (i64, i64)>);

/// The word under which a recipient's delivery is counted.
pub(super) fn word(state: State, stands_in: bool, attempts: u32) -> &'static str {
    match state {
        State::Queued if stands_in && attempts == 0 => STANDBY,
        State::Cancelled | State::Superseded if stands_in && attempts == 0 => SPARED,
        State::Queued
        | State::Sending
        | State::Published
        | State::Edited
        | State::Retracted
        | State::Refused
        | State::Unknown
        | State::Held
        | State::Manual
        | State::Expired
        | State::Superseded
        | State::Cancelled => state.as_str(),
    }
}

impl Tally {
    /// Counts `n` more (or fewer) under a word; `rest` is when they came to rest.
    pub(super) fn add(
        &mut self,
        broadcast: &BroadcastId,
        account: &AccountId,
        word: &'static str,
        n: i64,
        rest: Option<Timestamp>,
    ) {
        let of_it = self
            .0
            .entry((broadcast.clone(), account.clone(), word))
            .or_default();
        of_it.0 += n;
        of_it.1 = of_it.1.max(rest.map_or(0, Timestamp::as_microsecond));
    }
}

/// Writes what was counted; once, at the end of the transaction.
pub(super) async fn write(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let counted = std::mem::take(&mut tx.tally.0);
    let rows = counted
        .into_iter()
        .filter(|(_, (n, latest))| *n != 0 || *latest != 0)
        .map(|((broadcast, account, word), (n, latest))| {
            vec![
                broadcast.as_str().into(),
                account.as_str().into(),
                word.into(),
                n.into(),
                latest.into(),
            ]
        });
    sql::TALLY_ADD.run(tx.conn, rows.collect()).await.map(drop)
}
