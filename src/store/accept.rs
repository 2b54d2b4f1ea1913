//! Accepting a command: alert, broadcast, renderings, deliveries and journal in one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::change::{Sweep, distinct, sweep};
use super::db::Value;
use super::read::lane;
use super::stand_in::{Aim, Found, Stood};
use super::step::{self, Current, to_json};
use super::writer::Tx;
use super::{
    Acceptance, Accepted, Changed, Destination, Entry, Expansion, Listed, StandsFor, StoreError, Target,
    Under, expand, sql, stand_in, suppress, tally,
};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, AlertId, AlertState, BroadcastId, DeliveryId, Event, ExpansionState, Kind, LaneId, Purpose,
    Recipient, Rendering, State, UNREACHABLE_BEFORE,
};

/// The key of the accounts that had not answered before, in the journal's record.
const UNREACHABLE: &str = "unreachable_before";

/// Answers from the idempotency table or accepts. Refuses before it writes anything.
pub(super) async fn accept(tx: &mut Tx<'_>, new: &Acceptance) -> Result<Accepted, StoreError> {
    if let Some((key, digest)) = &new.idempotency
        && let Some(accepted) = repeated(tx, key, digest).await?
    {
        return Ok(accepted);
    }
    if let Some(bad) = new
        .destinations
        .iter()
        .chain(new.lists.iter().map(|listed| &listed.each))
        .find(|d| d.rendering.max(d.alternative.unwrap_or(0)) >= new.renderings.len())
    {
        return Err(StoreError::NotFound(format!(
            "rendering {} of account {}",
            bad.rendering, bad.account
        )));
    }
    for listed in &new.lists {
        is_whole(tx, listed).await?;
    }
    let (known, number) = alert(tx, new).await?;
    let left_out = left_out(tx, new).await?;
    let destinations: Vec<&Destination> = new
        .destinations
        .iter()
        .filter(|to| !left_out.has(&to.account, to.recipient.as_ref()))
        .collect();
    let followed = match &known {
        Some(alert) => followed(tx, alert, &destinations).await?,
        None => HashSet::new(),
    };
    // All that can be wrong with the command is known here, and nothing of it is written yet.
    let drawn = targets(new, &destinations, &left_out, &followed)?;
    are_there(tx, &drawn).await?;
    tx.marks.accepts = true;
    let alert = begin(tx, new, known, number).await?;
    let broadcast = BroadcastId::of(&alert, number);
    if number > 1 {
        supersede(tx, new, &alert, &broadcast).await?;
    }
    let seq = tx.count("broadcast", 1).await?;
    tx.conn
        .execute(
            sql::BROADCAST_NEW,
            vec![
                broadcast.as_str().into(),
                seq.into(),
                alert.as_str().into(),
                number.into(),
                new.kind.as_str().into(),
                new.mode.as_str().into(),
                new.message.as_str().into(),
                i64::from(new.message_version).into(),
                new.headline.as_str().into(),
                new.actor.0.as_str().into(),
                new.at.into(),
                new.valid_until.into(),
            ],
        )
        .await?;
    super::unreachable::write(tx, &broadcast, &new.unreachable).await?;
    super::picture::keep(tx, &new.pictures, new.at).await?;
    let (first, digests) = renderings(tx, &broadcast, &new.renderings).await?;
    let mut written = Vec::with_capacity(drawn.len());
    for one in &drawn {
        let to = one.to;
        written.push(Row {
            id: one.id.clone(),
            alert: &alert,
            broadcast: &broadcast,
            kind: new.kind,
            lane: lane_of(new, to),
            channel: &to.channel,
            recipient: to.recipient.as_ref(),
            purpose: to.purpose,
            target: one.target.as_ref(),
            stands_in_for: one.stands_in_for.clone(),
            stood: &one.stood,
            rendering: first + i64::try_from(to.rendering).unwrap_or(i64::MAX),
            alternative: to
                .alternative
                .map(|index| first + i64::try_from(index).unwrap_or(i64::MAX)),
            proof: to.proof,
            state: to.state,
            queued_at: new.at,
            not_before: one.not_before,
            deadline: new.valid_until,
        });
    }
    deliveries(tx, &written).await?;
    let expansions = expansions(tx, new, &alert, &broadcast, first, &left_out).await?;
    if let Some((key, digest)) = &new.idempotency {
        tx.conn
            .execute(
                sql::REMEMBER,
                vec![
                    key.as_str().into(),
                    digest.as_str().into(),
                    alert.as_str().into(),
                    broadcast.as_str().into(),
                    new.at.into(),
                ],
            )
            .await?;
    }
    let lanes = distinct(
        written
            .iter()
            .filter(|row| row.state.is_open())
            .map(|row| row.lane.clone()),
    );
    let mut body = record(new, &alert, &written, first, &digests);
    if !expansions.is_empty() {
        let lists = new.lists.iter().filter_map(|listed| listed.list.as_ref().ok());
        let faults: Vec<&String> = lists.flat_map(|list| &list.named).collect();
        body["lists"] = expansions.iter().map(Expansion::body).collect();
        body["faults"] = json!(faults);
    }
    if !new.unreachable.is_empty() {
        body[UNREACHABLE] = json!(new.unreachable);
    }
    tx.chain.add(Entry {
        at: new.at,
        actor: new.actor.clone(),
        kind: "accept",
        broadcast: Some(broadcast.clone()),
        delivery: None,
        body,
    });
    tx.changed.push(Changed {
        broadcast: broadcast.clone(),
        delivery: None,
        state: None,
    });
    Ok(Accepted {
        alert,
        broadcast,
        repeated: false,
        lanes,
    })
}

/// Whether every chunk of a list is there.
async fn is_whole(tx: &mut Tx<'_>, listed: &Listed) -> Result<(), StoreError> {
    let Ok(list) = &listed.list else {
        return Ok(());
    };
    let rows = tx
        .conn
        .fetch(sql::LIST_CHUNKS, vec![list.id.as_str().into()])
        .await?;
    let there = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
    if u64::try_from(there) == Ok(list.chunks) {
        return Ok(());
    }
    let account = &listed.each.account;
    Err(StoreError::NotFound(format!(
        "whole list for {account} in the database; send again"
    )))
}

/// The rows of the lists that are made into deliveries afterwards, and of those that had somebody left out.
async fn expansions(
    tx: &mut Tx<'_>,
    new: &Acceptance,
    alert: &AlertId,
    broadcast: &BroadcastId,
    first: i64,
    left_out: &LeftOut,
) -> Result<Vec<Expansion>, StoreError> {
    let number = |index: usize| first + i64::try_from(index).unwrap_or(i64::MAX);
    let base = |to: &Destination| Expansion {
        id: 0,
        broadcast: broadcast.clone(),
        alert: alert.clone(),
        kind: new.kind,
        lane: lane_of(new, to),
        channel: to.channel.clone(),
        proof: to.proof,
        stands_in_for: match &to.target {
            Some(Target::InsteadOf(of)) => of.clone(),
            Some(Target::Delivery(_) | Target::Account(_)) | None => Vec::new(),
        },
        rendering: number(to.rendering),
        alternative: to.alternative.map(number),
        queued_at: new.at,
        not_before: to.not_before,
        deadline: new.valid_until,
        list: String::new(),
        digest: String::new(),
        chunks: 0,
        next: 0,
        entries: 0,
        taken: 0,
        made: 0,
        repeated: 0,
        suppressed: 0,
        unpaired: 0,
        faults: 0,
        state: ExpansionState::Done,
        finished_at: Some(new.at),
        error: None,
    };
    let mut all = Vec::new();
    for listed in &new.lists {
        let base = base(&listed.each);
        all.push(match &listed.list {
            Ok(list) => Expansion {
                list: list.id.clone(),
                digest: list.digest.clone(),
                chunks: list.chunks,
                entries: list.entries,
                faults: list.faults,
                state: ExpansionState::Open,
                finished_at: None,
                ..base
            },
            Err(why) => Expansion {
                state: ExpansionState::Failed,
                error: Some(why.clone()),
                ..base
            },
        });
    }
    for (account, out) in &left_out.0 {
        let of_it = || new.destinations.iter().filter(|to| to.account == *account);
        if let (Some(to), false) = (of_it().next(), out.is_empty()) {
            let (entries, suppressed) = (of_it().count() as u64, out.len() as u64);
            all.push(Expansion {
                entries,
                taken: entries,
                made: entries - suppressed,
                suppressed,
                ..base(to)
            });
        }
    }
    if all.is_empty() {
        return Ok(all);
    }
    let many = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let start = tx.count("expansion", many).await? - many + 1;
    for (id, one) in (start..).zip(&mut all) {
        one.id = id;
        if one.state == ExpansionState::Open {
            // From now on it lives as long as this expansion.
            tx.conn
                .execute(sql::LIST_TOUCH, vec![one.list.as_str().into(), 0.into()])
                .await?;
        }
    }
    expand::begin(tx, &all).await?;
    Ok(all)
}

/// Who of the recipients that came with the command gets nothing more, by account.
#[derive(Debug)]
struct LeftOut(BTreeMap<AccountId, HashSet<String>>);

impl LeftOut {
    fn has(&self, account: &AccountId, recipient: Option<&Recipient>) -> bool {
        let out = self.0.get(account);
        recipient.is_some_and(|one| out.is_some_and(|out| out.contains(one.address())))
    }
}

async fn left_out(tx: &mut Tx<'_>, new: &Acceptance) -> Result<LeftOut, StoreError> {
    let mut asked: BTreeMap<&AccountId, Vec<&Recipient>> = BTreeMap::new();
    for destination in &new.destinations {
        if let Some(recipient) = &destination.recipient {
            asked.entry(&destination.account).or_default().push(recipient);
        }
    }
    let mut out = BTreeMap::new();
    for (account, recipients) in asked {
        let of_it = suppress::left_out(tx, account, recipients).await?;
        out.insert(account.clone(), of_it);
    }
    Ok(LeftOut(out))
}

/// A delivery that is to be written.
struct Drawn<'a> {
    id: DeliveryId,
    to: &'a Destination,
    target: Option<DeliveryId>,
    stands_in_for: Vec<AccountId>,
    stood: Vec<(Stood, i64, bool)>,
    not_before: Timestamp,
}

/// What each destination acts on or stands in for. Those that stand in for nobody are left out.
///
/// # Errors
/// [`StoreError::NotFound`] if the acceptance has nothing on an account that one is about.
fn targets<'a>(
    new: &'a Acceptance,
    destinations: &[&'a Destination],
    left_out: &LeftOut,
    followed: &HashSet<(&'a AccountId, &'a str)>,
) -> Result<Vec<Drawn<'a>>, StoreError> {
    let listed = new.lists.iter().map(|listed| &listed.each);
    let mut accounts: HashSet<&AccountId> = HashSet::new();
    let mut chains: HashMap<&AccountId, &[StandsFor]> = HashMap::new();
    for to in new.destinations.iter().chain(listed.clone()) {
        if to.purpose.is_word() {
            accounts.insert(&to.account);
        }
        if let Some(Target::InsteadOf(of)) = &to.target {
            chains.insert(&to.account, of);
        }
    }
    let missing = |account: &AccountId, to: &Destination| {
        StoreError::NotFound(format!("delivery on {account} for {}", to.account))
    };
    for to in destinations.iter().copied().chain(listed) {
        let about: Vec<&AccountId> = match &to.target {
            Some(Target::Account(account)) => vec![account],
            Some(Target::InsteadOf(of)) => of.iter().map(|one| &one.account).collect(),
            Some(Target::Delivery(_)) | None => Vec::new(),
        };
        if let Some(account) = about.into_iter().find(|account| !accounts.contains(account)) {
            return Err(missing(account, to));
        }
    }
    let mut published: HashMap<(&AccountId, Option<&Recipient>), Stood> = HashMap::new();
    let mut drawn: Vec<Drawn<'a>> = Vec::with_capacity(destinations.len());
    for to in destinations.iter().copied() {
        let recipient = to.recipient.as_ref();
        let mut one = Drawn {
            id: DeliveryId::fresh(),
            to,
            target: None,
            stands_in_for: Vec::new(),
            stood: Vec::new(),
            not_before: to.not_before,
        };
        match &to.target {
            Some(Target::Delivery(id)) => one.target = Some(id.clone()),
            // What they earlier got here has its sequel here as well.
            Some(Target::InsteadOf(_))
                if followed.contains(&(&to.account, recipient.map_or("", Recipient::address))) => {}
            Some(Target::InsteadOf(of)) => {
                let look = |account: &'a AccountId| {
                    let there = published
                        .get(&(account, recipient))
                        .or_else(|| published.get(&(account, None)));
                    match (there, chains.get(account)) {
                        (Some(stood), _) => Found::Delivery(stood.clone()),
                        (None, Some(of)) => Found::StandsFor(of),
                        (None, None) if left_out.has(account, recipient) => Found::Unreachable,
                        (None, None) => Found::Nothing,
                    }
                };
                match stand_in::aim(of, &look) {
                    Aim::At(stood) => one.stand_in(stood),
                    Aim::Unreachable => one.stands_in_for = of.iter().map(|of| of.account.clone()).collect(),
                    Aim::Nobody => continue,
                }
            }
            Some(Target::Account(_)) | None => {}
        }
        // What changes a post in place speaks for its account as well: another one may stand in for it.
        if to.purpose.is_word() {
            let stood = Stood {
                id: one.id.clone(),
                account: to.account.clone(),
                due_at: one.not_before,
            };
            published.insert((&to.account, recipient), stood);
        }
        drawn.push(one);
    }
    for one in &mut drawn {
        if let Some(Target::Account(account)) = &one.to.target {
            let found = published.get(&(account, one.to.recipient.as_ref()));
            let found = found.or_else(|| published.get(&(account, None)));
            one.target = Some(found.ok_or_else(|| missing(account, one.to))?.id.clone());
        }
    }
    Ok(drawn)
}

impl Drawn<'_> {
    fn stand_in(&mut self, stood: Vec<(Stood, i64, bool)>) {
        self.not_before = stand_in::first_time(&stood).unwrap_or(self.not_before);
        self.target = stood.first().map(|(stood, ..)| stood.id.clone());
        self.stands_in_for = stood.iter().map(|(stood, ..)| stood.account.clone()).collect();
        self.stood = stood;
    }
}

/// Whether every delivery of an earlier acceptance that one acts on is there, on its own account.
async fn are_there(tx: &mut Tx<'_>, drawn: &[Drawn<'_>]) -> Result<(), StoreError> {
    for one in drawn {
        let Some(Target::Delivery(id)) = &one.to.target else {
            continue;
        };
        let rows = tx.conn.fetch(sql::IS_DELIVERY, vec![id.as_str().into()]).await?;
        let account: Option<AccountId> = rows.first().map(|row| row.word(0)).transpose()?;
        if account.as_ref() != Some(&one.to.account) {
            return Err(StoreError::NotFound(format!(
                "delivery {id} on {}",
                one.to.account
            )));
        }
    }
    Ok(())
}

/// Who of those that are stood in for got the alert on the stand-in's account before, or may have.
async fn followed<'a>(
    tx: &mut Tx<'_>,
    alert: &AlertId,
    destinations: &[&'a Destination],
) -> Result<HashSet<(&'a AccountId, &'a str)>, StoreError> {
    let mut asked: BTreeMap<&AccountId, Vec<&str>> = BTreeMap::new();
    for to in destinations {
        if let (Some(Target::InsteadOf(_)), address) =
            (&to.target, to.recipient.as_ref().map_or("", Recipient::address))
        {
            asked.entry(&to.account).or_default().push(address);
        }
    }
    let mut all = HashSet::new();
    for (account, addresses) in asked {
        let got = stand_in::followed(tx, alert, account, &addresses).await?;
        all.extend(
            addresses
                .into_iter()
                .filter(|address| got.contains(*address))
                .map(|address| (account, address)),
        );
    }
    Ok(all)
}

fn lane_of(new: &Acceptance, destination: &Destination) -> LaneId {
    LaneId {
        account: destination.account.clone(),
        mode: new.mode,
    }
}

async fn repeated(tx: &mut Tx<'_>, key: &str, digest: &str) -> Result<Option<Accepted>, StoreError> {
    let rows = tx.conn.fetch(sql::REPEATED, vec![key.into()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if row.text(0)? != digest {
        return Err(StoreError::KeyReused(key.to_owned()));
    }
    let broadcast: BroadcastId = row.word(2)?;
    let rows_of_lanes = tx
        .conn
        .fetch(sql::LANES_OF_BROADCAST, vec![broadcast.as_str().into()])
        .await?;
    Ok(Some(Accepted {
        alert: row.word(1)?,
        broadcast,
        repeated: true,
        lanes: rows_of_lanes.iter().map(lane).collect::<Result<_, _>>()?,
    }))
}

/// The alert if it exists, and the broadcast's number in it. Writes nothing.
async fn alert(tx: &mut Tx<'_>, new: &Acceptance) -> Result<(Option<AlertId>, i64), StoreError> {
    let Under::Existing(id) = &new.under else {
        return Ok((None, 1));
    };
    let rows = tx
        .conn
        .fetch(sql::ALERT_FOR_UPDATE, vec![id.as_str().into()])
        .await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::NotFound(format!("alert {id}")));
    };
    if row.text(0)? != new.mode.as_str() {
        return Err(StoreError::NotFound(format!("alert {id} in mode {}", new.mode)));
    }
    if row.word::<AlertState>(1)? != AlertState::Active {
        return Err(StoreError::NotFound(format!("active alert {id}: it has ended")));
    }
    Ok((Some(id.clone()), row.int(2)? + 1))
}

/// Writes the alert with the broadcast that it now has.
async fn begin(
    tx: &mut Tx<'_>,
    new: &Acceptance,
    known: Option<AlertId>,
    number: i64,
) -> Result<AlertId, StoreError> {
    let state = match new.kind {
        Kind::AllClear => AlertState::Ended,
        Kind::Initial | Kind::Update | Kind::Correction => AlertState::Active,
    };
    let year = match (known, &new.under) {
        (Some(id), _) => {
            let values = vec![id.as_str().into(), number.into(), state.as_str().into()];
            tx.conn.execute(sql::ALERT_STEP, values).await?;
            return Ok(id);
        }
        (None, Under::New { year }) => *year,
        (None, Under::Existing(id)) => return Err(StoreError::NotFound(format!("alert {id}"))),
    };
    let number = tx.count(&format!("alert {} {year}", new.mode), 1).await?;
    let id = AlertId::numbered(new.mode, year, number);
    let values = vec![
        id.as_str().into(),
        new.mode.as_str().into(),
        state.as_str().into(),
        1.into(),
    ];
    tx.conn.execute(sql::ALERT_NEW, values).await?;
    Ok(id)
}

/// What waits on the same accounts for earlier broadcasts of the alert is overtaken.
async fn supersede(
    tx: &mut Tx<'_>,
    new: &Acceptance,
    alert: &AlertId,
    broadcast: &BroadcastId,
) -> Result<(), StoreError> {
    let listed = new.lists.iter().map(|listed| &listed.each);
    let lanes = distinct(
        new.destinations
            .iter()
            .chain(listed)
            .map(|destination| lane_of(new, destination)),
    );
    let among: Vec<AccountId> = lanes.into_iter().map(|lane| lane.account).collect();
    let accounts: Vec<Value> = among.iter().map(|account| account.as_str().into()).collect();
    expand::overtake(tx, new, alert, broadcast, accounts.clone(), &among).await?;
    let rows = sql::OVERTAKEN
        .write(tx.conn, &[alert.as_str().into()], accounts)
        .await?;
    let rows = rows.iter().map(Current::of).collect::<Result<Vec<_>, _>>()?;
    let say = Sweep {
        at: new.at,
        actor: &new.actor,
        kind: "decision",
        more: Some(("by", json!(broadcast))),
    };
    sweep(tx, &rows, |_| &[Event::Supersede], None, &say).await
}

/// Writes the renderings; returns the first one's number and the digest of each.
pub(super) async fn renderings(
    tx: &mut Tx<'_>,
    broadcast: &BroadcastId,
    renderings: &[Rendering],
) -> Result<(i64, Vec<String>), StoreError> {
    let many = i64::try_from(renderings.len()).unwrap_or(i64::MAX);
    let first = tx.count("rendering", many).await? - many + 1;
    let (mut rows, mut digests) = (
        Vec::with_capacity(renderings.len()),
        Vec::with_capacity(renderings.len()),
    );
    for (id, rendering) in (first..).zip(renderings) {
        let body = to_json(rendering)?;
        digests.push(hex::encode(Sha256::digest(body.as_bytes())));
        rows.push(vec![
            id.into(),
            broadcast.as_str().into(),
            Value::Text(Some(body)),
        ]);
    }
    sql::RENDERINGS_NEW.run(tx.conn, rows).await?;
    Ok((first, digests))
}

/// A delivery to be written.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub id: DeliveryId,
    pub alert: &'a AlertId,
    pub broadcast: &'a BroadcastId,
    pub kind: Kind,
    pub lane: LaneId,
    pub channel: &'a str,
    pub recipient: Option<&'a Recipient>,
    pub purpose: Purpose,
    pub target: Option<&'a DeliveryId>,
    pub stands_in_for: Vec<AccountId>,
    /// Whom it stands in for, if it is not alone.
    pub stood: &'a [(Stood, i64, bool)],
    pub rendering: i64,
    pub alternative: Option<i64>,
    pub proof: crate::model::Proof,
    pub state: State,
    pub queued_at: Timestamp,
    pub not_before: Timestamp,
    pub deadline: Timestamp,
}

impl Row<'_> {
    /// Whether it does not wait for one that it stands in for: that one had not answered before.
    fn goes_at_once(&self) -> bool {
        self.stood.iter().any(|(_, wait, _)| *wait == 0)
    }
}

/// Writes deliveries in their order.
pub(super) async fn deliveries(tx: &mut Tx<'_>, rows: &[Row<'_>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    for row in rows {
        if row.purpose == Purpose::Publish && row.recipient.is_some() {
            let word = tally::word(row.state, row.target.is_some(), 0);
            let rest = step::rest(row.state, None, row.queued_at);
            tx.tally.add(row.broadcast, &row.lane.account, word, 1, rest);
        }
    }
    let many = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let first = tx.count("delivery", many).await? - many + 1;
    let mut values = Vec::with_capacity(rows.len());
    for (seq, row) in (first..).zip(rows) {
        let stands_in_for = (!row.stands_in_for.is_empty()).then_some(&row.stands_in_for);
        values.push(vec![
            row.id.as_str().into(),
            seq.into(),
            row.alert.as_str().into(),
            row.broadcast.as_str().into(),
            row.kind.as_str().into(),
            row.lane.mode.as_str().into(),
            row.lane.account.as_str().into(),
            row.channel.into(),
            row.recipient.map_or("", Recipient::address).into(),
            row.purpose.as_str().into(),
            row.target.map(DeliveryId::as_str).into(),
            Value::Text(stands_in_for.map(to_json).transpose()?),
            row.rendering.into(),
            row.alternative.into(),
            row.proof.as_str().into(),
            row.state.as_str().into(),
            step::urgency(row.state, row.kind).into(),
            0.into(),
            row.queued_at.into(),
            row.not_before.into(),
            row.not_before.into(),
            row.deadline.into(),
            step::rest(row.state, None, row.queued_at).into(),
        ]);
    }
    sql::DELIVERIES_NEW.run(tx.conn, values).await?;
    let pairs = rows
        .iter()
        .flat_map(|row| row.stood.iter().map(|stood| stand_in::values(&row.id, stood)));
    sql::STAND_INS_NEW.run(tx.conn, pairs.collect()).await.map(drop)
}

/// The journal's record of the command. Texts are bound by their digests; lists are counted, each recipient stands
/// masked in the records of its own attempts.
fn record(new: &Acceptance, alert: &AlertId, written: &[Row<'_>], first: i64, digests: &[String]) -> Json {
    let mut single = Vec::new();
    let mut lists: BTreeMap<(&str, i64, &str, &[AccountId], bool), u64> = BTreeMap::new();
    for row in written {
        if row.recipient.is_some() {
            *lists
                .entry((
                    row.lane.account.as_str(),
                    row.rendering,
                    row.state.as_str(),
                    row.stands_in_for.as_slice(),
                    row.goes_at_once(),
                ))
                .or_default() += 1;
        } else {
            let mut one = json!({
                "account": row.lane.account,
                "channel": row.channel,
                "delivery": row.id,
                "rendering": row.rendering,
                "state": row.state,
                "purpose": row.purpose,
            });
            if !row.stands_in_for.is_empty() {
                one["stands_in_for"] = json!(row.stands_in_for);
            }
            if row.goes_at_once() {
                one["because"] = json!(UNREACHABLE_BEFORE);
            }
            single.push(one);
        }
    }
    for ((account, rendering, state, stands_in_for, at_once), recipients) in lists {
        let mut one =
            json!({ "account": account, "rendering": rendering, "state": state, "recipients": recipients });
        if !stands_in_for.is_empty() {
            one["stands_in_for"] = json!(stands_in_for);
        }
        if at_once {
            one["because"] = json!(UNREACHABLE_BEFORE);
        }
        single.push(one);
    }
    let renderings: Vec<_> = (first..)
        .zip(digests)
        .map(|(id, digest)| json!({ "rendering": id, "sha256": digest }))
        .collect();
    json!({
        "alert": alert,
        "kind": new.kind,
        "mode": new.mode,
        "message": new.message,
        "message_version": new.message_version,
        "headline": new.headline,
        "valid_until": new.valid_until,
        "idempotency_key": new.idempotency.as_ref().map(|(key, _)| key),
        "deliveries": single,
        "renderings": renderings,
        "request": new.journal,
    })
}
