//! How a broadcast stands, in memory that does not grow with its recipients: counts, and the few that matter most.

use std::collections::{BTreeMap, HashSet};

use super::db::{Readers, Row};
use super::read::{AFTER_DELIVERY, delivery, limited};
use super::tally::{SPARED, STANDBY};
use super::{Expansion, StoreError, sql};
use crate::clock::{Timestamp, from_micros};
use crate::model::{AccountId, BroadcastId, Delivery, State};

/// Confirmations and retractions to recipients that a report names, at most.
const EXTRAS: usize = 1000;

/// How the recipients of an account stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedState {
    /// The account.
    pub account: AccountId,
    /// How many are in which state; those who stand in for another account and have had nothing to do are not in it.
    pub states: BTreeMap<State, u64>,
    /// Who stands in for another account and waits.
    pub standing_by: u64,
    /// Who stood in for another account and was not needed.
    pub spared: u64,
    /// When the latest came to rest.
    pub latest: Option<Timestamp>,
    /// How many of them are among the summary's deliveries.
    pub shown: u64,
}

impl ListedState {
    /// How many there are.
    pub fn all(&self) -> u64 {
        self.states.values().sum::<u64>() + self.standing_by + self.spared
    }
}

/// How a broadcast stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Everything without a recipient; confirmations, retractions; some of the recipients. In order.
    pub deliveries: Vec<Delivery>,
    /// The accounts that have recipients.
    pub listed: Vec<ListedState>,
    /// The lists on their way into deliveries, or that have been.
    pub expansions: Vec<Expansion>,
}

/// Where a delivery stands among the others: by its number; the recipients of a long list together, in the order given.
type Placed = ((i64, usize), Delivery);

fn placed(row: &Row) -> Result<Placed, StoreError> {
    Ok(((row.int(AFTER_DELIVERY)?, 0), delivery(row)?))
}

pub(super) async fn read(
    readers: &Readers,
    broadcast: &BroadcastId,
    most: usize,
) -> Result<Summary, StoreError> {
    let id = || vec![broadcast.as_str().into()];
    let mut all: Vec<Placed> = Vec::new();
    for row in readers.fetch(sql::SINGLES, id()).await? {
        all.push(placed(&row)?);
    }
    let extras = vec![broadcast.as_str().into(), limited(EXTRAS).into()];
    for row in readers.fetch(sql::EXTRAS, extras).await? {
        all.push(placed(&row)?);
    }
    let mut listed = tally(readers, broadcast).await?;
    for one in &mut listed {
        let chosen = choose(readers, broadcast, one, most).await?;
        one.shown = chosen.len() as u64;
        all.extend(chosen);
    }
    all.sort_by_key(|(place, _)| *place);
    Ok(Summary {
        deliveries: all.into_iter().map(|(_, delivery)| delivery).collect(),
        listed,
        expansions: expansions(readers, broadcast).await?,
    })
}

/// All of an account's recipients if they are few; else those in trouble, and then the first.
async fn choose(
    readers: &Readers,
    broadcast: &BroadcastId,
    one: &ListedState,
    most: usize,
) -> Result<Vec<Placed>, StoreError> {
    let first = first(readers, broadcast, &one.account, -1, most).await?;
    if one.all() <= limited(most).unsigned_abs() {
        return first.iter().map(placed).collect();
    }
    let values = vec![
        broadcast.as_str().into(),
        one.account.as_str().into(),
        limited(most).into(),
    ];
    let troubled = readers.fetch(sql::TROUBLED, values).await?;
    let place = first.first().map(|row| row.int(AFTER_DELIVERY)).transpose()?;
    let (mut chosen, mut seen) = (Vec::with_capacity(most), HashSet::new());
    for row in troubled.iter().chain(&first) {
        let delivery = delivery(row)?;
        if chosen.len() < most && seen.insert(delivery.id.clone()) {
            chosen.push(((place.unwrap_or_default(), chosen.len()), delivery));
        }
    }
    Ok(chosen)
}

async fn first(
    readers: &Readers,
    broadcast: &BroadcastId,
    account: &AccountId,
    after: i64,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let values = vec![
        broadcast.as_str().into(),
        account.as_str().into(),
        after.into(),
        limited(limit).into(),
    ];
    readers.fetch(sql::LISTED, values).await
}

async fn tally(readers: &Readers, broadcast: &BroadcastId) -> Result<Vec<ListedState>, StoreError> {
    let mut all: BTreeMap<AccountId, ListedState> = BTreeMap::new();
    for row in readers.fetch(sql::TALLY, vec![broadcast.as_str().into()]).await? {
        let account: AccountId = row.word(0)?;
        let one = all.entry(account.clone()).or_insert_with(|| ListedState {
            account,
            states: BTreeMap::new(),
            standing_by: 0,
            spared: 0,
            latest: None,
            shown: 0,
        });
        let n = u64::try_from(row.int(2)?).unwrap_or(0);
        match row.text(1)?.as_str() {
            STANDBY => one.standing_by += n,
            SPARED => one.spared += n,
            _ => {
                *one.states.entry(row.word(1)?).or_default() += n;
                let latest = Some(row.int(3)?).filter(|at| *at > 0).map(from_micros);
                one.latest = one.latest.max(latest);
            }
        }
    }
    Ok(all.into_values().collect())
}

pub(super) async fn expansions(
    readers: &Readers,
    broadcast: &BroadcastId,
) -> Result<Vec<Expansion>, StoreError> {
    let rows = readers
        .fetch(sql::EXPANSIONS, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(Expansion::of).collect()
}

pub(super) async fn accounts(
    readers: &Readers,
    broadcast: &BroadcastId,
) -> Result<Vec<AccountId>, StoreError> {
    let rows = readers
        .fetch(sql::ACCOUNTS_OF, vec![broadcast.as_str().into()])
        .await?;
    rows.iter().map(|row| row.word(0)).collect()
}

pub(super) async fn listed(
    readers: &Readers,
    broadcast: &BroadcastId,
    account: &AccountId,
    after: i64,
    limit: usize,
) -> Result<(Vec<Delivery>, i64), StoreError> {
    let rows = first(readers, broadcast, account, after, limit).await?;
    let last = rows.last().map(|row| row.int(AFTER_DELIVERY)).transpose()?;
    let deliveries = rows.iter().map(delivery).collect::<Result<_, _>>()?;
    Ok((deliveries, last.unwrap_or(after)))
}
