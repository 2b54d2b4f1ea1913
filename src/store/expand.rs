//! Lists on their way into deliveries. A list is put into the database in chunks before the command that uses it is
//! accepted; the acceptance writes one row, the expansion; from then on each commit makes the deliveries of one chunk and
//! moves the row's mark. No list is in memory as a whole, no commit keeps others waiting for long, and whatever crashes,
//! each recipient gets exactly one delivery.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::accept::{Row as NewRow, deliveries};
use super::db::{Row, Value};
use super::stand_in::{self, Aim, Found, Stood};
use super::step::to_json;
use super::writer::Tx;
use super::{Changed, Entry, Expanded, Expansion, StandsFor, StoreError, sql, suppress};
use crate::clock::{Timestamp, later, until};
use crate::model::{
    AccountId, Actor, BroadcastId, DeliveryId, ExpansionState, Kind, LaneId, Purpose, Reason, Recipient,
    State, UNREACHABLE_BEFORE,
};

/// Recipients of one chunk, at most.
pub const CHUNK: usize = 512;
/// So many open deliveries may stand in a lane before the next chunk of a list is made into more: what waits in a lane is
/// what a newer message has to overtake, and what a report has to look at.
const AHEAD: i64 = 8192;
/// Chunks of a list that has ended which one transaction removes.
const FORGOTTEN: i64 = 64;

/// Writes chunks of a list that is not used by any command yet. The same chunk twice is an error.
pub(super) async fn stage(
    tx: &mut Tx<'_>,
    list: &str,
    first: u64,
    bodies: Vec<String>,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .execute(sql::LIST_TOUCH, vec![list.into(), at.into()])
        .await?;
    let rows = (first..).zip(bodies).map(|(number, body)| {
        vec![
            list.into(),
            i64::try_from(number).unwrap_or(i64::MAX).into(),
            Value::Text(Some(body)),
        ]
    });
    sql::CHUNKS_NEW.run(tx.conn, rows.collect()).await.map(drop)
}

/// Removes a part of a list that no expansion needs any more and that nobody has written to since `before`. Returns
/// whether there is anything left of any list.
pub(super) async fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<Forgotten, StoreError> {
    let Some(list) = one_text(tx, sql::LIST_UNUSED, vec![before.into()]).await? else {
        let any = one_text(tx, sql::LIST_ANY, vec![]).await?;
        return Ok(if any.is_some() {
            Forgotten::InUse
        } else {
            Forgotten::All
        });
    };
    let id = || vec![list.as_str().into()];
    let first = tx.conn.fetch(sql::LIST_FIRST, id()).await?;
    match first.first().map(|row| row.int_or_null(0)).transpose()?.flatten() {
        Some(first) => {
            let values = vec![list.as_str().into(), (first + FORGOTTEN).into()];
            tx.conn.execute(sql::LIST_FORGET, values).await?;
        }
        None => {
            tx.conn.execute(sql::LIST_GONE, id()).await?;
        }
    }
    Ok(Forgotten::Some)
}

/// What is left of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// Something was removed; there may be more.
    Some,
    /// What is there is needed, or may be.
    InUse,
    /// Nothing is there.
    All,
}

async fn one_text(
    tx: &mut Tx<'_>,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Option<String>, StoreError> {
    let rows = tx.conn.fetch(sql, values).await?;
    rows.first().map(|row| row.text(0)).transpose()
}

impl Expansion {
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let count = |at: usize| -> Result<u64, StoreError> {
            u64::try_from(row.int(at)?).map_err(|_| StoreError::Engine("a count below zero".to_owned()))
        };
        Ok(Self {
            id: row.int(0)?,
            broadcast: row.word(1)?,
            alert: row.word(2)?,
            kind: row.word(3)?,
            lane: LaneId {
                account: row.word(5)?,
                mode: row.word(4)?,
            },
            channel: row.text(6)?,
            proof: row.word(7)?,
            stands_in_for: row.json_or_null(8)?.unwrap_or_default(),
            rendering: row.int(9)?,
            alternative: row.int_or_null(10)?,
            queued_at: row.time(11)?,
            not_before: row.time(12)?,
            deadline: row.time(13)?,
            list: row.text(14)?,
            digest: row.text(15)?,
            chunks: count(16)?,
            next: count(17)?,
            entries: count(18)?,
            taken: count(19)?,
            made: count(20)?,
            repeated: count(21)?,
            suppressed: count(22)?,
            unpaired: count(23)?,
            faults: count(24)?,
            state: row.word(25)?,
            finished_at: row.time_or_null(26)?,
            error: row.reason(27)?,
        })
    }

    pub(super) fn values(&self) -> Result<Vec<Value>, StoreError> {
        let count = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
        Ok(vec![
            self.id.into(),
            self.broadcast.as_str().into(),
            self.alert.as_str().into(),
            self.kind.as_str().into(),
            self.lane.mode.as_str().into(),
            self.lane.account.as_str().into(),
            self.channel.as_str().into(),
            self.proof.as_str().into(),
            self.serves()?,
            self.rendering.into(),
            self.alternative.into(),
            self.queued_at.into(),
            self.not_before.into(),
            self.deadline.into(),
            self.list.as_str().into(),
            self.digest.as_str().into(),
            count(self.chunks),
            count(self.next),
            count(self.entries),
            count(self.taken),
            count(self.made),
            count(self.repeated),
            count(self.suppressed),
            count(self.unpaired),
            count(self.faults),
            self.state.as_str().into(),
            self.finished_at.into(),
            Value::Text(self.error.as_ref().map(to_json).transpose()?),
        ])
    }

    /// Whom it stands in for, as the database has it.
    pub(super) fn serves(&self) -> Result<Value, StoreError> {
        let of = (!self.stands_in_for.is_empty()).then_some(&self.stands_in_for);
        Ok(Value::Text(of.map(to_json).transpose()?))
    }

    /// What the journal says of it.
    pub(super) fn body(&self) -> Json {
        let mut body = json!({
            "account": self.lane.account,
            "mode": self.lane.mode,
            "rendering": self.rendering,
            "stands_in_for": self.stands_in_for.iter().map(|of| &of.account).collect::<Vec<_>>(),
            "list": self.digest,
            "listed": self.entries,
            "state": self.state.as_str(),
            "recipients": self.made,
            "repeated": self.repeated,
            "suppressed": self.suppressed,
            "unpaired": self.unpaired,
            "faulty_lines": self.faults,
            "not_reached_for": self.entries.saturating_sub(self.taken),
            "error": self.error,
        });
        if self.stands_in_for.iter().any(|of| of.wait == 0) {
            body["because"] = json!(UNREACHABLE_BEFORE);
        }
        body
    }
}

/// Writes the rows of new expansions.
pub(super) async fn begin(tx: &mut Tx<'_>, expansions: &[Expansion]) -> Result<(), StoreError> {
    let rows: Vec<_> = expansions
        .iter()
        .map(Expansion::values)
        .collect::<Result<_, _>>()?;
    sql::EXPANSIONS_NEW.run(tx.conn, rows).await.map(drop)
}

/// Brings an expansion to its end and says so in the journal.
pub(super) async fn end(
    tx: &mut Tx<'_>,
    expansion: &Expansion,
    state: ExpansionState,
    at: Timestamp,
    actor: &Actor,
    error: Option<Reason>,
) -> Result<(), StoreError> {
    let ended = Expansion {
        state,
        finished_at: (!matches!(state, ExpansionState::Open | ExpansionState::Held)).then_some(at),
        error,
        ..expansion.clone()
    };
    let values = vec![
        ended.id.into(),
        state.as_str().into(),
        ended.finished_at.into(),
        Value::Text(ended.error.as_ref().map(to_json).transpose()?),
    ];
    tx.conn.execute(sql::EXPANSION_STATE, values).await?;
    tx.chain.add(Entry {
        at,
        actor: actor.clone(),
        kind: "expansion",
        broadcast: Some(ended.broadcast.clone()),
        delivery: None,
        body: ended.body(),
    });
    tell(tx, &ended.broadcast);
    Ok(())
}

fn tell(tx: &mut Tx<'_>, broadcast: &BroadcastId) {
    tx.changed.push(Changed {
        broadcast: broadcast.clone(),
        delivery: None,
        state: None,
    });
}

/// Makes one chunk of one list into deliveries: of the one that has come least far.
pub(super) async fn expand(tx: &mut Tx<'_>, at: Timestamp) -> Result<Expanded, StoreError> {
    let rows = tx.conn.fetch(sql::EXPANSIONS_OPEN, vec![]).await?;
    let open = rows.iter().map(Expansion::of).collect::<Result<Vec<_>, _>>()?;
    let daemon = Actor::daemon();
    let mut done = Expanded {
        lanes: Vec::new(),
        more: false,
        waits: !open.is_empty(),
    };
    for one in &open {
        if at >= one.deadline {
            let why = Reason::new(
                "expired",
                "the message stopped being valid before the whole list had its turn",
            );
            end(tx, one, ExpansionState::Expired, at, &daemon, Some(why)).await?;
        } else if one.next >= one.chunks {
            end(tx, one, ExpansionState::Done, at, &daemon, None).await?;
        } else if comes_after(one, &open, &chains(tx, one).await?) || is_far_ahead(tx, one, &open).await? {
            continue;
        } else if chunk(tx, one, at).await? {
            done.lanes.push(one.lane.clone());
        }
        done.more = true;
        return Ok(done);
    }
    Ok(done)
}

/// Which lists of a broadcast stand in for which accounts, if one of them does.
type Chains = HashMap<AccountId, Vec<StandsFor>>;

async fn chains(tx: &mut Tx<'_>, one: &Expansion) -> Result<Chains, StoreError> {
    let mut chains = Chains::new();
    if one.stands_in_for.is_empty() {
        return Ok(chains);
    }
    let values = vec![one.broadcast.as_str().into()];
    for row in &tx.conn.fetch(sql::EXPANSIONS, values).await? {
        let other = Expansion::of(row)?;
        if !other.stands_in_for.is_empty() {
            chains.insert(other.lane.account, other.stands_in_for);
        }
    }
    Ok(chains)
}

/// Every account that one stands in for, directly or through others.
fn stood_for<'a>(one: &'a Expansion, chains: &'a Chains) -> HashSet<&'a AccountId> {
    let mut all = HashSet::new();
    let mut next: Vec<&StandsFor> = one.stands_in_for.iter().collect();
    while let Some(of) = next.pop() {
        if all.insert(&of.account) {
            next.extend(chains.get(&of.account).into_iter().flatten());
        }
    }
    all
}

/// Whether it stands in for an account whose own deliveries are not there yet. With one list for both, chunk follows
/// chunk; with two, one list follows the other.
fn comes_after(one: &Expansion, open: &[Expansion], chains: &Chains) -> bool {
    let before = stood_for(one, chains);
    open.iter().any(|other| {
        let is_it = other.broadcast == one.broadcast && before.contains(&other.lane.account);
        is_it && (other.list != one.list || other.next <= one.next)
    })
}

async fn is_far_ahead(tx: &mut Tx<'_>, one: &Expansion, open: &[Expansion]) -> Result<bool, StoreError> {
    let awaited = open.iter().any(|other| {
        other.broadcast == one.broadcast
            && other
                .stands_in_for
                .iter()
                .any(|of| of.account == one.lane.account)
            && other.list != one.list
    });
    if awaited {
        return Ok(false);
    }
    let values = vec![one.lane.account.as_str().into(), one.lane.mode.as_str().into()];
    let rows = tx.conn.fetch(sql::LANE_OPEN, values).await?;
    Ok(rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0) >= AHEAD)
}

/// Makes the next chunk into deliveries. Returns whether there were any.
async fn chunk(tx: &mut Tx<'_>, one: &Expansion, at: Timestamp) -> Result<bool, StoreError> {
    tx.marks.expands = true;
    let number = i64::try_from(one.next).unwrap_or(i64::MAX);
    let body = one_text(tx, sql::CHUNK, vec![one.list.as_str().into(), number.into()]).await?;
    let read: Option<Vec<Recipient>> = body.and_then(|body| serde_json::from_str(&body).ok());
    let Some(recipients) = read else {
        let why = Reason::new("list-lost", "a part of the list is missing in the database");
        end(tx, one, ExpansionState::Failed, at, &Actor::daemon(), Some(why)).await?;
        return Ok(false);
    };
    let account = &one.lane.account;
    let left_out = suppress::left_out(tx, account, &recipients).await?;
    let among: Vec<Value> = recipients.iter().map(|to| to.address().into()).collect();
    let place = |account: &AccountId| {
        [
            one.alert.as_str().into(),
            account.as_str().into(),
            one.broadcast.as_str().into(),
        ]
    };
    let mut seen = HashSet::with_capacity(CHUNK);
    for row in sql::THERE.write(tx.conn, &place(account), among.clone()).await? {
        seen.insert(row.text(0)?);
    }
    let chains = chains(tx, one).await?;
    let mut pairs = Pairs::default();
    for primary in stood_for(one, &chains) {
        let there = targets(tx, primary, &place(primary), among.clone()).await?;
        pairs.there.insert(primary.clone(), there);
        // Who gets nothing there any more may well be reached here.
        let out = suppress::left_out(tx, primary, &recipients).await?;
        pairs.unreachable.insert(primary.clone(), out);
    }
    // What they earlier got here has its sequel here as well.
    let followed = if one.stands_in_for.is_empty() || one.kind == Kind::Initial {
        HashSet::new()
    } else {
        let addresses: Vec<&str> = recipients.iter().map(Recipient::address).collect();
        stand_in::followed(tx, &one.alert, account, &addresses).await?
    };
    let mut step = one.clone();
    step.next += 1;
    step.taken += recipients.len() as u64;
    // A clock that was set back since the acceptance does not make the rest wait.
    let not_before = one
        .not_before
        .min(later(at, until(one.queued_at, one.not_before)));
    let mut new = Vec::with_capacity(recipients.len());
    for recipient in &recipients {
        let address = recipient.address();
        if !seen.insert(address.to_owned()) {
            step.repeated += 1;
            continue;
        }
        if left_out.contains(address) {
            step.suppressed += 1;
            continue;
        }
        let mut made = Made {
            recipient,
            stands_in_for: Vec::new(),
            stood: Vec::new(),
            not_before,
        };
        if !one.stands_in_for.is_empty() && !followed.contains(address) {
            match pairs.aim(&one.stands_in_for, address, &chains) {
                Aim::At(stood) => {
                    made.not_before = stand_in::first_time(&stood).unwrap_or(not_before);
                    made.stands_in_for = stood.iter().map(|(stood, ..)| stood.account.clone()).collect();
                    made.stood = stood;
                }
                Aim::Unreachable => {
                    made.stands_in_for = one.stands_in_for.iter().map(|of| of.account.clone()).collect();
                }
                Aim::Nobody => {
                    step.unpaired += 1;
                    continue;
                }
            }
        }
        new.push(made);
    }
    let rows: Vec<NewRow<'_>> = new
        .iter()
        .map(|made| NewRow {
            id: DeliveryId::fresh(),
            alert: &one.alert,
            broadcast: &one.broadcast,
            kind: one.kind,
            lane: one.lane.clone(),
            channel: &one.channel,
            recipient: Some(made.recipient),
            purpose: Purpose::Publish,
            target: made.stood.first().map(|(stood, ..)| &stood.id),
            stands_in_for: made.stands_in_for.clone(),
            stood: &made.stood,
            rendering: one.rendering,
            alternative: one.alternative,
            proof: one.proof,
            state: State::Queued,
            queued_at: one.queued_at,
            not_before: made.not_before,
            deadline: one.deadline,
        })
        .collect();
    step.made += rows.len() as u64;
    let any = !rows.is_empty();
    deliveries(tx, &rows).await?;
    let count = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    let counts = [
        step.next,
        step.taken,
        step.made,
        step.repeated,
        step.suppressed,
        step.unpaired,
    ];
    let mut values = vec![Value::from(step.id)];
    values.extend(counts.map(count));
    tx.conn.execute(sql::EXPANSION_STEP, values).await?;
    tell(tx, &one.broadcast);
    if step.next >= step.chunks {
        end(tx, &step, ExpansionState::Done, at, &Actor::daemon(), None).await?;
    }
    Ok(any)
}

/// A delivery of a chunk.
struct Made<'a> {
    recipient: &'a Recipient,
    stands_in_for: Vec<AccountId>,
    stood: Vec<(Stood, i64, bool)>,
    not_before: Timestamp,
}

/// What the recipients of a chunk have on the accounts that are stood in for.
#[derive(Default)]
struct Pairs {
    there: HashMap<AccountId, HashMap<String, Stood>>,
    unreachable: HashMap<AccountId, HashSet<String>>,
}

impl Pairs {
    fn aim<'a>(&self, of: &'a [StandsFor], address: &str, chains: &'a Chains) -> Aim {
        stand_in::aim(of, &|account: &'a AccountId| {
            let there = self.there.get(account);
            let there = there.and_then(|there| there.get(address).or_else(|| there.get("")));
            let out = self.unreachable.get(account);
            match (there, chains.get(account)) {
                (Some(stood), _) => Found::Delivery(stood.clone()),
                (None, Some(of)) => Found::StandsFor(of),
                (None, None) if out.is_some_and(|out| out.contains(address)) => Found::Unreachable,
                (None, None) => Found::Nothing,
            }
        })
    }
}

async fn targets(
    tx: &mut Tx<'_>,
    account: &AccountId,
    place: &[Value],
    mut among: Vec<Value>,
) -> Result<HashMap<String, Stood>, StoreError> {
    // An account without recipients has one delivery for all.
    among.push("".into());
    let rows = sql::PAIRS.write(tx.conn, place, among).await?;
    let stood = |row: &Row| {
        let stood = Stood {
            id: row.word(1)?,
            account: account.clone(),
            due_at: row.time(2)?,
        };
        Ok((row.text(0)?, stood))
    };
    rows.iter().map(stood).collect()
}

/// What somebody decides about lists that are on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListDecision {
    /// The rest goes out no more.
    Cancel,
    /// What a restored backup holds goes on.
    Release,
}

/// Carries out a person's decision on the lists of a broadcast. Returns the accounts concerned.
pub(super) async fn decide(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    accounts: &[AccountId],
    decision: ListDecision,
    at: Timestamp,
    actor: &Actor,
) -> Result<Vec<AccountId>, StoreError> {
    let rows = tx
        .conn
        .fetch(sql::EXPANSIONS, vec![broadcast.as_str().into()])
        .await?;
    let mut concerned = Vec::new();
    for row in &rows {
        let one = Expansion::of(row)?;
        let named = accounts.is_empty() || accounts.contains(&one.lane.account);
        let to = match (decision, one.state) {
            (ListDecision::Cancel, ExpansionState::Open | ExpansionState::Held) => ExpansionState::Cancelled,
            (ListDecision::Release, ExpansionState::Held) => ExpansionState::Open,
            _ => continue,
        };
        if named {
            end(tx, &one, to, at, actor, None).await?;
            concerned.push(one.lane.account);
        }
    }
    Ok(concerned)
}

/// Holds what is on its way: the database is a restored copy. Returns how many recipients that concerns.
pub(super) async fn hold(tx: &mut Tx<'_>, at: Timestamp, reason: &Reason) -> Result<u64, StoreError> {
    let rows = tx.conn.fetch(sql::EXPANSIONS_UNFINISHED, vec![]).await?;
    let mut held = 0;
    for row in &rows {
        let one = Expansion::of(row)?;
        held += one.entries.saturating_sub(one.taken);
        if one.state == ExpansionState::Open {
            let why = Some(reason.clone());
            end(tx, &one, ExpansionState::Held, at, &Actor::daemon(), why).await?;
        }
    }
    Ok(held)
}

/// What waits for earlier broadcasts of the alert on these accounts is overtaken: set by set, however many recipients,
/// and a journal record for each account.
pub(super) async fn overtake(
    tx: &mut Tx<'_>,
    new: &super::Acceptance,
    alert: &crate::model::AlertId,
    by: &BroadcastId,
    accounts: Vec<Value>,
    among: &[AccountId],
) -> Result<(), StoreError> {
    let rows = tx
        .conn
        .fetch(sql::EXPANSIONS_OF_ALERT, vec![alert.as_str().into()])
        .await?;
    for row in &rows {
        let one = Expansion::of(row)?;
        if among.contains(&one.lane.account) {
            end(tx, &one, ExpansionState::Superseded, new.at, &new.actor, None).await?;
        }
    }
    let place = [alert.as_str().into(), new.mode.as_str().into()];
    let step = [alert.as_str().into(), new.mode.as_str().into(), new.at.into()];
    let statements = [
        (&sql::OVERTAKEN_IN_LANE, &sql::OVERTAKE_IN_LANE),
        (&sql::OVERTAKEN_AT_REST, &sql::OVERTAKE_AT_REST),
    ];
    for (count, change) in statements {
        let groups = count.write(tx.conn, &place, accounts.clone()).await?;
        if groups.is_empty() {
            continue;
        }
        change.run(tx.conn, &step, &accounts).await?;
        for row in groups {
            let (broadcast, account): (BroadcastId, AccountId) = (row.word(0)?, row.word(1)?);
            let (from, idle, many) = (row.word::<State>(2)?, row.int(3)? == 1, row.int(4)?);
            let was = super::tally::word(from, idle, 0);
            let is = super::tally::word(State::Superseded, idle, 0);
            tx.tally.add(&broadcast, &account, was, -many, None);
            tx.tally.add(&broadcast, &account, is, many, Some(new.at));
            tell(tx, &broadcast);
            tx.chain.add(Entry {
                at: new.at,
                actor: new.actor.clone(),
                kind: "decision",
                broadcast: Some(broadcast),
                delivery: None,
                body: json!({
                    "account": account, "mode": new.mode, "event": "supersede", "from": from,
                    "to": State::Superseded, "recipients": many, "by": by,
                }),
            });
        }
    }
    Ok(())
}
