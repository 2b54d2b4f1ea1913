//! Who stands in for whom: what a stand-in has to know of those it stands in for, whom of an account's recipients it
//! serves, and what becomes of a primary that its stand-in was faster than.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::db::{Readers, Row, Value, unsigned};
use super::step::{self, Current};
use super::writer::Tx;
use super::{Changed, Entry, StandsFor, StoreError, sql};
use crate::clock::{Timestamp, from_micros};
use crate::model::{
    AccountId, Actor, AlertId, DeliveryId, Event, Need, Primary, Purpose, Reason, STOOD_IN_FOR, State,
};

/// Why something is not sent any more.
pub(super) fn stood_in_for(by: &AccountId) -> Reason {
    let text = format!("{by} stands in for it and has published; it is not sent as well");
    Reason::new(STOOD_IN_FOR, text)
}

/// A delivery and one that it stands in for, as the database has it.
#[derive(Debug)]
pub(super) struct Pair {
    target: DeliveryId,
    wait: i64,
    due_at: Timestamp,
    /// It stands in itself, and has not been tried yet: its time is that of others.
    waits_itself: bool,
    /// When it came to rest, or was last tried.
    since: Option<Timestamp>,
    pub(super) primary: Primary,
}

impl Pair {
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let state: State = row.word(3)?;
        let untried = state == State::Queued && unsigned(row.int(5)?)? == 0;
        Ok(Self {
            target: row.word(1)?,
            wait: row.int(2)?,
            due_at: row.time(4)?,
            waits_itself: untried && row.int(6)? == 1,
            since: row.time_or_null(7)?,
            primary: Primary {
                account: row.word(9)?,
                state,
                error: row.reason(8)?,
                until: None,
                silent_before: row.int(2)? == 0,
            },
        })
    }
}

type Pairs = HashMap<DeliveryId, Vec<Pair>>;

/// What these deliveries stand in for. A chain is followed to its end: who stands in for one that waits for its own turn
/// counts from when that one takes over.
pub(super) async fn primaries(
    readers: &Readers,
    mut ids: Vec<DeliveryId>,
) -> Result<HashMap<DeliveryId, Vec<Primary>>, StoreError> {
    let wanted = ids.clone();
    let mut pairs = Pairs::new();
    while !ids.is_empty() {
        let among = ids.iter().map(|id| id.as_str().into()).collect();
        for id in ids.drain(..) {
            pairs.entry(id).or_default();
        }
        let mut further = HashSet::new();
        for row in sql::PRIMARIES.read(readers, &[], among).await? {
            let pair = Pair::of(&row)?;
            if pair.waits_itself && !pairs.contains_key(&pair.target) {
                further.insert(pair.target.clone());
            }
            pairs.entry(row.word(0)?).or_default().push(pair);
        }
        ids.extend(further);
    }
    let known = |id: &DeliveryId| {
        let primary = |pair: &Pair| Primary {
            until: until(pair, &pairs),
            ..pair.primary.clone()
        };
        pairs.get(id).into_iter().flatten().map(primary).collect()
    };
    Ok(wanted
        .into_iter()
        .map(|id| {
            let primaries = known(&id);
            (id, primaries)
        })
        .collect())
}

/// When a primary has taken too long.
fn until(pair: &Pair, pairs: &Pairs) -> Option<Timestamp> {
    let start = if pair.waits_itself {
        takes_over(&pair.target, pairs)?
    } else {
        pair.due_at
    };
    Some(after(start, pair.wait))
}

/// When a stand-in that has not been tried takes over, if what it stands in for is not out by then.
fn takes_over(id: &DeliveryId, pairs: &Pairs) -> Option<Timestamp> {
    let times = pairs
        .get(id)?
        .iter()
        .filter_map(|pair| match pair.primary.need() {
            Need::Then(_) => until(pair, pairs),
            Need::Now => Some(pair.since.unwrap_or(pair.due_at)),
            Need::Never => None,
        });
    times.min()
}

fn after(at: Timestamp, wait: i64) -> Timestamp {
    from_micros(at.as_microsecond().saturating_add(wait))
}

/// Whom a recipient's delivery stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Aim {
    /// For these; with each, how long it may take, and whether it is kept.
    At(Vec<(Stood, i64, bool)>),
    /// Its recipient gets nothing any more on an account that is stood in for: nobody to wait for.
    Unreachable,
    /// For nobody: no account that is stood in for serves the recipient.
    Nobody,
}

/// A delivery that is stood in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stood {
    pub id: DeliveryId,
    pub account: AccountId,
    pub due_at: Timestamp,
}

/// What is known of an account that is stood in for, about one recipient.
pub(super) enum Found<'a> {
    /// It has a delivery for it.
    Delivery(Stood),
    /// It gets nothing there any more.
    Unreachable,
    /// It has none, and stands in for these itself: who stands in for it takes its place in the chain.
    StandsFor(&'a [StandsFor]),
    /// It has none.
    Nothing,
}

/// Whom one recipient's delivery stands in for, through every link of the chain that does not serve the recipient.
pub(super) fn aim<'a>(of: &'a [StandsFor], look: &impl Fn(&'a AccountId) -> Found<'a>) -> Aim {
    let mut all: Vec<(Stood, i64, bool)> = Vec::new();
    for one in of {
        match look(&one.account) {
            Found::Delivery(stood) => all.push((stood, one.wait, one.keeps)),
            Found::Unreachable => return Aim::Unreachable,
            Found::StandsFor(further) => match aim(further, look) {
                Aim::At(more) => all.extend(more),
                Aim::Unreachable => return Aim::Unreachable,
                Aim::Nobody => {}
            },
            Found::Nothing => {}
        }
    }
    let mut seen = HashSet::new();
    all.retain(|(stood, ..)| seen.insert(stood.id.clone()));
    if all.is_empty() { Aim::Nobody } else { Aim::At(all) }
}

/// When the first of them has taken too long.
pub(super) fn first_time(all: &[(Stood, i64, bool)]) -> Option<Timestamp> {
    all.iter()
        .map(|(stood, wait, _)| after(stood.due_at, *wait))
        .min()
}

/// The row of a pair.
pub(super) fn values(delivery: &DeliveryId, (stood, wait, keeps): &(Stood, i64, bool)) -> Vec<Value> {
    vec![
        delivery.as_str().into(),
        stood.id.as_str().into(),
        (*wait).into(),
        i64::from(*keeps).into(),
    ]
}

/// Who of some got an alert on an account that stood in for another, or may have.
pub(super) async fn followed(
    tx: &mut Tx<'_>,
    alert: &AlertId,
    account: &AccountId,
    addresses: &[&str],
) -> Result<HashSet<String>, StoreError> {
    let place = [alert.as_str().into(), account.as_str().into()];
    let among = addresses.iter().map(|address| (*address).into()).collect();
    let rows = sql::STOOD_IN_FOR.write(tx.conn, &place, among).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// A stand-in that has just published.
#[derive(Debug)]
pub(super) struct Published {
    pub delivery: DeliveryId,
    pub account: AccountId,
    pub at: Timestamp,
    pub actor: Actor,
}

/// What waits although its stand-in has published goes no more; what is under way goes no more if it comes back unsent. One
/// whose time had not come yet was not what the stand-in went for, and goes.
pub(super) async fn replace(tx: &mut Tx<'_>, one: &Published) -> Result<(), StoreError> {
    let mut next = vec![one.delivery.clone()];
    let mut seen: HashSet<DeliveryId> = HashSet::new();
    while let Some(id) = next.pop() {
        for row in tx
            .conn
            .fetch(sql::STAND_IN_ENDS, vec![id.as_str().into()])
            .await?
        {
            let (target, wait, keeps): (DeliveryId, i64, i64) = (row.word(0)?, row.int(1)?, row.int(2)?);
            if !seen.insert(target.clone()) {
                continue;
            }
            let rows = tx.conn.fetch(sql::ONE_STEP, vec![target.as_str().into()]).await?;
            let Some(primary) = rows.first().map(Current::of).transpose()? else {
                continue;
            };
            let stands_in = primary.purpose == Purpose::Publish && primary.target.is_some();
            if stands_in && !primary.state.got_out() {
                next.push(target.clone());
            }
            let late = stands_in || after(primary.due_at, wait) <= one.at;
            if keeps == 0 && late && primary.state.is_open() {
                mark(tx, &primary, one).await?;
                // Who had not answered before is tried once all the same: nobody waited for it.
                let is_tried = wait > 0 || stands_in || primary.attempts > 0 || primary.recipient.is_some();
                if is_tried && primary.state == State::Queued {
                    end(tx, &primary, one).await?;
                }
            }
        }
    }
    Ok(())
}

/// What comes back unsent of its attempt goes no more.
async fn mark(tx: &mut Tx<'_>, primary: &Current, by: &Published) -> Result<(), StoreError> {
    let values = vec![
        primary.id.as_str().into(),
        by.at.into(),
        by.account.as_str().into(),
    ];
    tx.conn.execute(sql::REPLACE, values).await?;
    Ok(())
}

async fn end(tx: &mut Tx<'_>, primary: &Current, by: &Published) -> Result<(), StoreError> {
    let mut update = primary.after(Event::Supersede, by.at)?;
    let reason = stood_in_for(&by.account);
    let mut body = primary.body(Event::Supersede, update.to);
    body.insert("error".to_owned(), json!(reason));
    body.insert("by".to_owned(), json!(by.delivery));
    update.error = Some(reason);
    tx.changed.push(Changed {
        broadcast: primary.broadcast.clone(),
        delivery: Some(primary.id.clone()),
        state: Some(update.to),
    });
    tx.chain.add(Entry {
        at: by.at,
        actor: by.actor.clone(),
        kind: "decision",
        broadcast: Some(primary.broadcast.clone()),
        delivery: Some(primary.id.clone()),
        body: Json::Object(body),
    });
    step::write(tx, &[update]).await
}

/// Which of these accounts stand in for none but accounts that are called off, directly or through each other.
pub(super) fn only_for(
    stand_ins: &BTreeMap<AccountId, HashSet<AccountId>>,
    called_off: &[AccountId],
) -> Vec<AccountId> {
    let mut off: HashSet<&AccountId> = called_off.iter().collect();
    let mut found = Vec::new();
    loop {
        let more: Vec<&AccountId> = stand_ins
            .iter()
            .filter(|(id, of)| !off.contains(id) && of.iter().all(|primary| off.contains(primary)))
            .map(|(id, _)| id)
            .collect();
        if more.is_empty() {
            return found;
        }
        off.extend(&more);
        found.extend(more.into_iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AccountId {
        text.parse().unwrap()
    }

    fn stood(account: &str, due: i64) -> Stood {
        Stood {
            id: format!("d-{account}").parse().unwrap(),
            account: id(account),
            due_at: from_micros(due),
        }
    }

    fn stands_for(account: &str, wait: i64) -> StandsFor {
        StandsFor {
            account: id(account),
            wait,
            keeps: false,
        }
    }

    #[test]
    fn a_link_that_does_not_serve_the_recipient_is_stepped_over() {
        let of_b = [stands_for("a", 7)];
        let of_c = [stands_for("b", 5), stands_for("x", 1)];
        let look = |b: bool| {
            let of_b = &of_b;
            move |account: &AccountId| match account.as_str() {
                "a" => Found::Delivery(stood("a", 100)),
                "b" if b => Found::Delivery(stood("b", 107)),
                "b" => Found::StandsFor(of_b),
                _ => Found::Nothing,
            }
        };
        let whole = aim(&of_c, &look(true));
        assert_eq!(whole, Aim::At(vec![(stood("b", 107), 5, false)]));
        let without = aim(&of_c, &look(false));
        assert_eq!(without, Aim::At(vec![(stood("a", 100), 7, false)]));
        let Aim::At(all) = without else { unreachable!() };
        assert_eq!(first_time(&all), Some(from_micros(107)));
        assert_eq!(aim(&of_c, &|_: &AccountId| Found::Nothing), Aim::Nobody);
        assert_eq!(aim(&of_c, &|_: &AccountId| Found::Unreachable), Aim::Unreachable);
    }

    #[test]
    fn who_stands_in_for_another_one_too_is_not_called_off() {
        let all: BTreeMap<AccountId, HashSet<AccountId>> = [
            (id("b"), HashSet::from([id("a")])),
            (id("c"), HashSet::from([id("b")])),
            (id("d"), HashSet::from([id("c"), id("x")])),
        ]
        .into();
        assert_eq!(only_for(&all, &[id("a")]), [id("b"), id("c")]);
        assert_eq!(only_for(&all, &[id("a"), id("x")]), [id("b"), id("c"), id("d")]);
        assert_eq!(only_for(&all, &[id("x")]), Vec::<AccountId>::new());
    }
}
