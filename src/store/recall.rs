//! Calling a broadcast off on some accounts, in one commit: what has not gone out goes no more, what is being sent goes
//! once at most, and what stands gets its retraction.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::json;

use super::change::{Sweep, sweep};
use super::db::Value;
use super::expand::{self, ListDecision};
use super::step::Current;
use super::writer::{Request, Tx};
use super::{Changed, Entry, Expansion, Extra, Store, StoreError, extra, sql, stand_in, tally};
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, BroadcastId, DeliveryId, Event, LaneId, Mode, Reason, State};

/// Code of what was called off when an earlier attempt may have got through.
pub(super) const RETRACTED: &str = "retracted";

/// What is called off.
#[derive(Debug)]
pub struct Recall {
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Its mode.
    pub mode: Mode,
    /// On these accounts; those that stand in for them are called off with them.
    pub accounts: Vec<AccountId>,
    /// How its deliveries without a recipient stood when it was decided what to do with each.
    pub seen: Vec<(DeliveryId, State)>,
    /// The retractions of what stands, or may.
    pub extras: Vec<Extra>,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The journal's record of the command, with a copy of what stands.
    pub entry: Entry,
}

impl Store {
    /// Calls a broadcast off on some accounts. Returns the lanes that have something to do.
    ///
    /// # Errors
    /// [`StoreError::Moved`] if something has moved since it was looked at; nothing is written then.
    pub async fn recall(&self, asked: Recall) -> Result<Vec<LaneId>, StoreError> {
        self.ask(|reply| Request::Recall(Box::new(asked), reply)).await
    }
}

/// Carries it out. Refuses with [`StoreError::Moved`], before it writes anything, if something has moved since it was
/// looked at: what has just come out must be copied and taken away with the rest.
pub(super) async fn recall(tx: &mut Tx<'_>, asked: Recall) -> Result<Vec<LaneId>, StoreError> {
    let Recall {
        broadcast,
        mode,
        mut accounts,
        seen,
        extras,
        at,
        actor,
        entry,
    } = asked;
    let id = || vec![broadcast.as_str().into()];
    let mut now: HashMap<DeliveryId, State> = HashMap::new();
    for row in tx.conn.fetch(sql::WORDS_OF, id()).await? {
        now.insert(row.word(0)?, row.word(1)?);
    }
    for (delivery, expected) in seen {
        match now.get(&delivery) {
            Some(found) if *found == expected => {}
            Some(found) => {
                let found = *found;
                return Err(StoreError::Moved {
                    delivery,
                    expected,
                    found,
                });
            }
            None => return Err(StoreError::NotFound(format!("delivery {delivery}"))),
        }
    }
    let lanes = extra::add(tx, &extras, at, None).await?;
    tx.chain.add(entry);
    if accounts.is_empty() {
        return Ok(lanes);
    }
    stand_ins(tx, &broadcast, mode, &mut accounts).await?;
    expand::decide(tx, &broadcast, &accounts, ListDecision::Cancel, at, &actor).await?;
    let among: Vec<Value> = accounts.iter().map(|account| account.as_str().into()).collect();
    let place = [broadcast.as_str().into(), mode.as_str().into()];
    let step = [broadcast.as_str().into(), mode.as_str().into(), at.into()];
    one_by_one(tx, &place, &among, at, &actor).await?;
    let statements = [
        (&sql::RECALLED_IN_LANE, &sql::RECALL_IN_LANE),
        (&sql::RECALLED_AT_REST, &sql::RECALL_AT_REST),
    ];
    for (count, change) in statements {
        let groups = count.write(tx.conn, &place, among.clone()).await?;
        if groups.is_empty() {
            continue;
        }
        change.run(tx.conn, &step, &among).await?;
        for row in groups {
            let (account, from): (AccountId, State) = (row.word(0)?, row.word(1)?);
            let (idle, many) = (row.int(2)? == 1, row.int(3)?);
            let was = tally::word(from, idle, 0);
            let is = tally::word(State::Cancelled, idle, 0);
            tx.tally.add(&broadcast, &account, was, -many, None);
            tx.tally.add(&broadcast, &account, is, many, Some(at));
            tx.chain.add(Entry {
                at,
                actor: actor.clone(),
                kind: "decision",
                broadcast: Some(broadcast.clone()),
                delivery: None,
                body: json!({
                    "account": account, "mode": mode, "event": Event::Cancel, "from": from,
                    "to": State::Cancelled, "recipients": many, "by": "retract",
                }),
            });
        }
    }
    sql::RECALL_UNDER_WAY.run(tx.conn, &step, &among).await?;
    tx.changed.push(Changed {
        broadcast,
        delivery: None,
        state: None,
    });
    Ok(lanes)
}

/// Adds the accounts that stand in for none but those called off, so that nobody steps in for what was stopped. The others
/// stand in for the rest alone from now on.
async fn stand_ins(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    mode: Mode,
    accounts: &mut Vec<AccountId>,
) -> Result<(), StoreError> {
    let place = [broadcast.as_str().into(), mode.as_str().into()];
    let mut all: BTreeMap<AccountId, HashSet<AccountId>> = BTreeMap::new();
    for row in tx.conn.fetch(sql::RECALL_STAND_INS, place.to_vec()).await? {
        all.entry(row.word(0)?).or_default().insert(row.word(1)?);
    }
    let mut coming = Vec::new();
    for row in &tx
        .conn
        .fetch(sql::EXPANSIONS, vec![broadcast.as_str().into()])
        .await?
    {
        let one = Expansion::of(row)?;
        if !one.stands_in_for.is_empty() {
            let of = one.stands_in_for.iter().map(|of| of.account.clone());
            all.entry(one.lane.account.clone()).or_default().extend(of);
            coming.push(one);
        }
    }
    let further = stand_in::only_for(&all, accounts);
    accounts.extend(further);
    for mut one in coming
        .into_iter()
        .filter(|one| !accounts.contains(&one.lane.account))
    {
        let before = one.stands_in_for.len();
        one.stands_in_for.retain(|of| !accounts.contains(&of.account));
        if one.stands_in_for.len() < before {
            let values = vec![one.id.into(), one.serves()?];
            tx.conn.execute(sql::EXPANSION_SERVES, values).await?;
        }
    }
    let among = accounts
        .iter()
        .map(|account| account.as_str().into())
        .collect::<Vec<_>>();
    sql::RECALL_PAIRS.run(tx.conn, &place, &among).await.map(drop)
}

/// What is no list, and recipients of whom an attempt may have got through: each has a record of its own.
async fn one_by_one(
    tx: &mut Tx<'_>,
    place: &[Value],
    among: &[Value],
    at: Timestamp,
    actor: &Actor,
) -> Result<(), StoreError> {
    let mut rows = sql::RECALLED.write(tx.conn, place, among.to_vec()).await?;
    rows.extend(
        sql::RECALLED_UNCERTAIN
            .write(tx.conn, place, among.to_vec())
            .await?,
    );
    let rows = rows.iter().map(Current::of).collect::<Result<Vec<_>, _>>()?;
    let (uncertain, certain): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.unknown_since.is_some());
    let say = Sweep {
        at,
        actor,
        kind: "decision",
        more: Some(("by", json!("retract"))),
    };
    sweep(tx, &certain, |_| &[Event::Cancel], None, &say).await?;
    // Nobody knows whether it stands: cancelled it would look as if it did not.
    sweep(tx, &uncertain, hold_queued, Some(&may_stand()), &say).await
}

fn hold_queued(state: State) -> &'static [Event] {
    if state == State::Queued {
        &[Event::Hold]
    } else {
        &[]
    }
}

/// Why something that was called off is held.
pub(super) fn may_stand() -> Reason {
    Reason::new(
        RETRACTED,
        "it was retracted, and an earlier attempt may have got through: look at the account, and take away what stands \
         there",
    )
}
