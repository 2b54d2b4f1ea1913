//! Changes of deliveries, many callers' at once: one read, one step of all rows, attempts, journal.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json, json};

use super::db::Value;
use super::lanes::note;
use super::step::{self, Current, Update};
use super::unreachable::Settled;
use super::writer::Tx;
use super::{
    AttemptChange, Change, Changed, Entry, StepMade, StoreError, arrival, recall, sql, stand_in, suppress,
    unreachable,
};
use crate::clock::Timestamp;
use crate::model::{
    Actor, DeliveryId, Event, LaneId, Outcome, Purpose, Reason, Receipt, STOOD_IN_FOR, State, WrongTransition,
};

/// Applies changes in their order; answers in the same order. Only a failure of the engine fails the whole.
pub(super) async fn apply(
    tx: &mut Tx<'_>,
    changes: Vec<Change>,
) -> Result<Vec<Result<State, StoreError>>, StoreError> {
    let mut answers = Vec::with_capacity(changes.len());
    let mut batch: Vec<Change> = Vec::with_capacity(changes.len());
    let mut seen: HashSet<DeliveryId> = HashSet::with_capacity(changes.len());
    for change in changes {
        if !seen.insert(change.delivery.clone()) {
            // The second change of a delivery must see the first one's row.
            answers.extend(together(tx, std::mem::take(&mut batch)).await?);
            seen.clear();
            seen.insert(change.delivery.clone());
        }
        batch.push(change);
    }
    answers.extend(together(tx, batch).await?);
    Ok(answers)
}

/// Applies changes of different deliveries.
async fn together(
    tx: &mut Tx<'_>,
    changes: Vec<Change>,
) -> Result<Vec<Result<State, StoreError>>, StoreError> {
    let ids: Vec<Value> = changes
        .iter()
        .map(|change| change.delivery.as_str().into())
        .collect();
    let mut rows = HashMap::with_capacity(ids.len());
    for row in sql::STEPS.write(tx.conn, &[], ids).await? {
        let current = Current::of(&row)?;
        rows.insert(current.id.clone(), current);
    }
    let mut answers = Vec::with_capacity(changes.len());
    let mut updates = Vec::with_capacity(changes.len());
    let (mut starts, mut ends, mut followed) = (Vec::new(), Vec::new(), Vec::new());
    let mut notes = HashMap::new();
    let mut ended = Vec::new();
    let (mut begun, mut stood_in, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let (mut unproven, mut meant) = (Vec::new(), Vec::new());
    for change in changes {
        let Some(row) = rows.get(&change.delivery) else {
            answers.push(Err(StoreError::NotFound(format!("delivery {}", change.delivery))));
            continue;
        };
        let update = match decide(row, &change).and_then(|update| called_off(row, &change, update)) {
            Ok(update) => update,
            Err(error) => {
                answers.push(Err(error));
                continue;
            }
        };
        if is_unproven(row, &update) {
            unproven.push((answers.len(), update.to, change.at, row.id.clone()));
        }
        answers.push(Ok(update.to));
        settled.extend(Settled::of(row, update.to, update.error.as_ref(), change.at));
        // Whoever was faster before that: a person who lets it run again means it.
        if change.event == Event::Retry && row.replaced.is_some() {
            meant.push(vec![Value::from(row.id.as_str())]);
        }
        let stands_in = row.purpose == Purpose::Publish && row.target.is_some();
        if stands_in && row.attempts == 0 && update.attempts == 1 {
            begun.push(vec![Value::from(row.id.as_str()), change.at.into()]);
        }
        if stands_in && update.to == State::Published {
            stood_in.push(stand_in::Published {
                delivery: row.id.clone(),
                account: row.lane.account.clone(),
                at: change.at,
                actor: change.actor.clone(),
            });
        }
        match &change.attempt {
            Some(AttemptChange::Start) => {
                tx.marks.starts = true;
                starts.push(vec![
                    row.id.as_str().into(),
                    i64::from(update.attempts).into(),
                    row.lane.account.as_str().into(),
                    row.lane.mode.as_str().into(),
                    change.at.into(),
                ]);
            }
            Some(AttemptChange::End { outcome }) => {
                tx.marks.ends = true;
                ends.push((
                    row.id.clone(),
                    update.attempts,
                    Some(change.at),
                    *outcome,
                    change.error.clone(),
                ));
            }
            None => {}
        }
        let event = match row.purpose {
            Purpose::Retract => Some(Event::Retract),
            Purpose::Edit => Some(Event::Edit),
            Purpose::Publish
            | Purpose::Pin
            | Purpose::Unpin
            | Purpose::ConfirmHandOver
            | Purpose::ConfirmInterim
            | Purpose::ConfirmFinal
            | Purpose::ConfirmClosing => None,
        };
        if let (Some(event), Some(target), State::Published) = (event, &row.target, update.to) {
            followed.push(Followed {
                target: target.clone(),
                event,
                by: row.id.clone(),
                at: change.at,
                actor: change.actor.clone(),
                receipt: change.receipt.clone(),
            });
        }
        tx.changed.push(Changed {
            broadcast: row.broadcast.clone(),
            delivery: Some(row.id.clone()),
            state: Some(update.to),
        });
        tx.chain.add(Entry {
            at: change.at,
            actor: change.actor.clone(),
            kind: kind(row, &change),
            broadcast: Some(row.broadcast.clone()),
            delivery: Some(row.id.clone()),
            body: Json::Object(body(row, &change, &update)),
        });
        ended.extend(suppress::ended(row, &change, update.to));
        if let (Some((lane, epoch)), Some(notes_now)) = (change.fence, change.lane_notes) {
            notes.insert(lane, (epoch, notes_now));
        }
        updates.push(update);
    }
    step::write(tx, &updates).await?;
    sql::ATTEMPTS_START.run(tx.conn, starts).await?;
    step::end_attempts(tx.conn, ends).await?;
    for (lane, (epoch, notes)) in notes {
        note(tx.conn, &lane, epoch, &notes).await?;
    }
    suppress::learn(tx, ended).await?;
    for one in followed {
        follow(tx, one).await?;
    }
    for values in begun {
        tx.conn.execute(sql::STAND_IN_BEGINS, values).await?;
    }
    for values in meant {
        tx.conn.execute(sql::REPLACE_NOT, values).await?;
    }
    for one in &stood_in {
        stand_in::replace(tx, one).await?;
    }
    prove(tx, unproven, &mut answers).await?;
    unreachable::withdraw(tx, &settled).await?;
    Ok(answers)
}

/// Whether an attempt or a settling left open what became of the message, so that a report may tell. Pure.
fn is_unproven(row: &Current, update: &Update) -> bool {
    matches!(row.state, State::Sending | State::Unknown)
        && matches!(
            update.to,
            State::Unknown | State::Held | State::Queued | State::Refused | State::Manual | State::Expired
        )
}

/// A report can come before the answer to its own message. What was reported of these deliveries meanwhile settles them
/// in the same commit, and the answer is what became of them at last.
async fn prove(
    tx: &mut Tx<'_>,
    unproven: Vec<(usize, State, Timestamp, DeliveryId)>,
    answers: &mut [Result<State, StoreError>],
) -> Result<(), StoreError> {
    if unproven.is_empty() {
        return Ok(());
    }
    let ids = unproven.iter().map(|(_, _, _, id)| Value::from(id.as_str()));
    let reports: HashMap<_, _> = arrival::reported(tx, ids.collect()).await?.into_iter().collect();
    let mut settling = Vec::new();
    for (at, state, now, id) in unproven {
        let Some(report) = reports.get(&id) else { continue };
        let rows = tx.conn.fetch(sql::ONE_STEP, vec![id.as_str().into()]).await?;
        let row = rows.first().map(Current::of).transpose()?;
        if let Some(change) = row.and_then(|row| report.settles(&row, state, now)) {
            settling.push((at, change));
        }
    }
    if settling.is_empty() {
        return Ok(());
    }
    let (places, changes): (Vec<_>, Vec<_>) = settling.into_iter().unzip();
    let settled = Box::pin(together(tx, changes)).await?;
    for (at, answer) in places.into_iter().zip(settled) {
        if let Some(place) = answers.get_mut(at) {
            *place = answer;
        }
    }
    Ok(())
}

/// Writes down what a step of an attempt gave, while the attempt is the lane's own.
pub(super) async fn made(tx: &mut Tx<'_>, made: &StepMade) -> Result<(), StoreError> {
    let id = vec![made.delivery.as_str().into()];
    let rows = tx.conn.fetch(sql::ONE_STEP, id).await?;
    let Some(row) = rows.first().map(Current::of).transpose()? else {
        return Err(StoreError::NotFound(format!("delivery {}", made.delivery)));
    };
    if row.lane != made.lane || row.epoch != Some(made.epoch) {
        return Err(StoreError::Fenced(made.lane.clone()));
    }
    if row.state != State::Sending {
        return Err(StoreError::Moved {
            delivery: row.id,
            expected: State::Sending,
            found: row.state,
        });
    }
    let values = vec![
        made.delivery.as_str().into(),
        made.name.as_str().into(),
        made.value.as_str().into(),
        made.at.into(),
    ];
    tx.conn.execute(sql::STEP_MADE, values).await?;
    tx.chain.add(Entry {
        at: made.at,
        actor: Actor::daemon(),
        kind: "step",
        broadcast: Some(row.broadcast.clone()),
        delivery: Some(row.id.clone()),
        body: json!({
            "account": row.lane.account, "mode": row.lane.mode, "attempt": row.attempts,
            "step": made.name, "value": made.value,
        }),
    });
    Ok(())
}

/// Whether the change applies to the row, and what follows. Pure.
fn decide(row: &Current, change: &Change) -> Result<Update, StoreError> {
    change.from.after(change.event)?;
    if let Some((lane, epoch)) = &change.fence
        && (*lane != row.lane || row.epoch != Some(*epoch))
    {
        return Err(StoreError::Fenced(lane.clone()));
    }
    if row.state != change.from {
        return Err(StoreError::Moved {
            delivery: row.id.clone(),
            expected: change.from,
            found: row.state,
        });
    }
    if let Some(AttemptChange::End { outcome }) = change.attempt
        && !outcome.admits(change.event)
    {
        return Err(StoreError::Outcome {
            outcome,
            event: change.event,
        });
    }
    let mut update = row.after(change.event, change.at)?;
    update.not_before = change.not_before;
    update.receipt.clone_from(&change.receipt);
    update.error.clone_from(&change.error);
    Ok(update)
}

/// What was called off while an attempt was under way does not go again, and waits for nobody to publish it: it is
/// cancelled, or held if an earlier attempt may have got through. What was stood in for meanwhile does not go again. Pure.
fn called_off(row: &Current, change: &Change, update: Update) -> Result<Update, StoreError> {
    if !matches!(row.state, State::Sending | State::Unknown) {
        return Ok(update);
    }
    // A first attempt is ours: it was owed although somebody had been faster.
    let replaced = row
        .replaced
        .as_ref()
        .filter(|(at, _)| Some(*at) >= row.started_at || row.attempts == 1);
    let (then, why) = match (row.recalled_at, update.unknown_since, update.to, replaced) {
        (Some(_), None, State::Queued | State::Manual | State::Held, _) => (Event::Cancel, None),
        (Some(_), Some(_), State::Queued, _) => (Event::Hold, Some(recall::may_stand())),
        (None, _, State::Queued, Some((_, by))) => (Event::Supersede, Some(stand_in::stood_in_for(by))),
        _ => return Ok(update),
    };
    let between = Current {
        state: update.to,
        attempts: update.attempts,
        started_at: update.started_at,
        unknown_since: update.unknown_since,
        finished_at: update.finished_at,
        ..row.clone()
    };
    let last = between.after(then, change.at)?;
    Ok(Update {
        from: row.state,
        counted: update.counted,
        receipt: update.receipt,
        error: why.or(update.error),
        ..last
    })
}

fn kind(row: &Current, change: &Change) -> &'static str {
    match &change.attempt {
        Some(AttemptChange::Start) => "attempt",
        Some(AttemptChange::End { .. }) if row.state != State::Unknown => "outcome",
        Some(AttemptChange::End { .. }) | None if row.state == State::Unknown => "settle",
        // A report told; a person's word is another event.
        None if matches!(change.event, Event::Find | Event::Refuse) => "settle",
        Some(AttemptChange::End { .. }) | None => "decision",
    }
}

fn body(row: &Current, change: &Change, update: &Update) -> Map<String, Json> {
    let mut body = row.body(change.event, update.to);
    if update.attempts > 0 {
        body.insert("attempt".to_owned(), json!(update.attempts));
    }
    if let Some(AttemptChange::End { outcome }) = &change.attempt {
        body.insert("outcome".to_owned(), json!(outcome));
    }
    if let Some(receipt) = &change.receipt {
        body.insert("receipt".to_owned(), json!(receipt));
    }
    if let Some(error) = &change.error {
        body.insert("error".to_owned(), json!(error));
    }
    if let Some(not_before) = change.not_before {
        body.insert("not_before".to_owned(), json!(not_before));
    }
    if let Some(note) = &change.note {
        body.insert("note".to_owned(), note.clone());
    }
    if let Some(error) = update.error.as_ref().filter(|error| error.code == STOOD_IN_FOR) {
        body.insert("stood_in_for".to_owned(), json!(error.text));
    }
    if row.recalled_at.is_some() {
        body.insert("called_off".to_owned(), json!(true));
    }
    body
}

/// What became of a post because another delivery got through.
#[derive(Debug)]
struct Followed {
    target: DeliveryId,
    event: Event,
    by: DeliveryId,
    at: Timestamp,
    actor: Actor,
    receipt: Option<Receipt>,
}

/// The post that was taken away or changed is so in the same commit. One that is not out any more stays as it is.
async fn follow(tx: &mut Tx<'_>, one: Followed) -> Result<(), StoreError> {
    let rows = tx
        .conn
        .fetch(sql::ONE_STEP, vec![one.target.as_str().into()])
        .await?;
    let Some(row) = rows.first().map(Current::of).transpose()? else {
        return Ok(());
    };
    let Ok(mut update) = row.after(one.event, one.at) else {
        return Ok(());
    };
    if one.event == Event::Edit {
        // The service may have given the post a new version.
        update.receipt = one.receipt;
    }
    let mut body = row.body(one.event, update.to);
    body.insert("by".to_owned(), json!(one.by));
    tx.changed.push(Changed {
        broadcast: row.broadcast.clone(),
        delivery: Some(row.id.clone()),
        state: Some(update.to),
    });
    tx.chain.add(Entry {
        at: one.at,
        actor: one.actor,
        kind: "outcome",
        broadcast: Some(row.broadcast.clone()),
        delivery: Some(row.id.clone()),
        body: Json::Object(body),
    });
    step::write(tx, &[update]).await
}

/// Makes the same step of many deliveries for one reason: cut off, overtaken, restored. Open attempts are closed as
/// unknown, without a time: when they ended nobody knows.
pub(super) async fn sweep(
    tx: &mut Tx<'_>,
    rows: &[Current],
    events: fn(State) -> &'static [Event],
    reason: Option<&Reason>,
    say: &Sweep<'_>,
) -> Result<(), StoreError> {
    let (mut updates, mut ends) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let Some((first, rest)) = events(row.state).split_first() else {
            continue;
        };
        let mut update = row.after(*first, say.at).map_err(fault)?;
        let mut last = *first;
        for event in rest {
            // Two steps of the table, one write: `sending` is lost before it is held.
            let between = Current {
                state: update.to,
                unknown_since: update.unknown_since,
                finished_at: update.finished_at,
                ..row.clone()
            };
            update = Update {
                from: row.state,
                ..between.after(*event, say.at).map_err(fault)?
            };
            last = *event;
        }
        update.error = reason.cloned();
        update.not_before = update.to.is_open().then_some(say.at);
        let mut body = row.body(last, update.to);
        if row.state == State::Sending {
            ends.push((
                row.id.clone(),
                row.attempts,
                None,
                Outcome::Unknown,
                reason.cloned(),
            ));
            body.insert("attempt".to_owned(), json!(row.attempts));
            body.insert("outcome".to_owned(), json!(Outcome::Unknown));
        }
        if let Some(reason) = reason {
            body.insert("error".to_owned(), json!(reason));
        }
        if let Some((name, value)) = &say.more {
            body.insert((*name).to_owned(), value.clone());
        }
        tx.changed.push(Changed {
            broadcast: row.broadcast.clone(),
            delivery: Some(row.id.clone()),
            state: Some(update.to),
        });
        tx.chain.add(Entry {
            at: say.at,
            actor: say.actor.clone(),
            kind: say.kind,
            broadcast: Some(row.broadcast.clone()),
            delivery: Some(row.id.clone()),
            body: Json::Object(body),
        });
        updates.push(update);
    }
    step::write(tx, &updates).await?;
    step::end_attempts(tx.conn, ends).await
}

/// The rows of a sweep were chosen by their state: a step that the table lacks is a fault of the program, and everything
/// that its group wrote is rolled back.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn fault(wrong: WrongTransition) -> StoreError {
    StoreError::Engine(wrong.to_string())
}

/// What the journal says of a sweep.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    pub at: Timestamp,
    pub actor: &'a Actor,
    pub kind: &'static str,
    pub more: Option<(&'static str, Json)>,
}

/// The lane that a delivery stands in, once, in order of appearance.
pub(super) fn distinct(lanes: impl IntoIterator<Item = LaneId>) -> Vec<LaneId> {
    let mut seen = HashSet::new();
    lanes
        .into_iter()
        .filter(|lane| seen.insert(lane.clone()))
        .collect()
}
