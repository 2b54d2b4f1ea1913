//! One call of a channel, and the write that must follow it: both come back with an answer, whatever happens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::shared::Shared;
use crate::channel::Channel;
use crate::clock::{self, Timestamp};
use crate::model::{
    DeliveryId, LaneId, Notebook, Post, Proof, Purpose, Question, Reason, Receipt, SendError, Settled, State,
    Work,
};
use crate::store::{Change, StepMade, StoreError};

/// Ids on the account that are known to belong to other deliveries; more are not needed to tell posts apart.
const TAKEN: usize = 500;

/// The farthest that clocks may be apart for the service's times to tell anything: a day, and the hour of summer time.
const FARTHEST: Duration = Duration::from_hours(25);

/// Waits between tries to write an answer that the store did not take.
const REWRITE_FIRST: Duration = Duration::from_millis(100);
const REWRITE_LONGEST: Duration = Duration::from_secs(5);

/// The step of an attempt that went without its picture because the store does not have it any more.
const WITHOUT_PICTURE: &str = "without-picture";

/// Makes one attempt, at most `limit` long. A channel that hangs or panics leaves an unknown outcome.
pub(super) async fn publish(
    shared: &Shared,
    channel: &Arc<dyn Channel>,
    work: &Work,
    limit: Duration,
) -> Result<Option<Receipt>, SendError> {
    let pictured = pictured(shared, work).await?;
    let post = pictured.as_ref().unwrap_or(&work.post);
    let lost = post.rendering.picture.is_some() && post.picture.is_none() && acts_with_picture(work);
    if lost {
        // On disk before the post leaves: whoever settles it must know what it went without.
        let noted = work.post.steps.record(WITHOUT_PICTURE, "yes").await;
        noted.map_err(SendError::NotSent)?;
    }
    let call = async {
        match (work.delivery.purpose, &work.target) {
            (Purpose::Retract, Some(receipt)) => channel.retract(receipt).await.map(|()| None),
            (Purpose::Edit, Some(receipt)) => channel.edit(receipt, post).await.map(Some),
            (Purpose::Pin, Some(receipt)) => channel.pin(receipt).await.map(|()| None),
            (Purpose::Unpin, Some(receipt)) => channel.unpin(receipt).await.map(|()| None),
            // Stopped before it gets here; said again so that nothing is ever published in the name of one of these.
            (Purpose::Retract | Purpose::Edit | Purpose::Pin | Purpose::Unpin, None) => {
                Err(SendError::Refused(Reason::new(
                    "no-receipt",
                    "what is to be changed has no id at the service",
                )))
            }
            (
                Purpose::Publish
                | Purpose::ConfirmHandOver
                | Purpose::ConfirmInterim
                | Purpose::ConfirmFinal
                | Purpose::ConfirmClosing,
                _,
            ) => channel.publish(post).await.map(Some),
        }
    };
    let answer = guarded(call, limit).await?;
    Ok(answer.map(|receipt| if lost { without_picture(receipt) } else { receipt }))
}

/// Whether what is done shows the rendering, and so its picture.
fn acts_with_picture(work: &Work) -> bool {
    matches!(work.delivery.purpose, Purpose::Publish | Purpose::Edit)
}

/// The post with its picture, read when the attempt begins: what waits in a lane holds no pictures. `None` if it has none.
/// A picture that is not in the store any more costs the picture and not the text.
async fn pictured(shared: &Shared, work: &Work) -> Result<Option<Post>, SendError> {
    let Some(picture) = work
        .post
        .rendering
        .picture
        .as_ref()
        .filter(|_| acts_with_picture(work))
    else {
        return Ok(None);
    };
    match shared.ledger.picture(&picture.sha256).await {
        Ok(bytes) => Ok(Some(Post {
            picture: Some(Arc::new(picture.with(bytes))),
            ..work.post.clone()
        })),
        Err(StoreError::NotFound(what)) => {
            tracing::error!(delivery.id = %work.delivery.id, what, "a picture is missing; the text goes alone");
            Ok(None)
        }
        Err(error) => Err(SendError::NotSent(Reason::new("store", error.to_string()))),
    }
}

fn without_picture(mut receipt: Receipt) -> Receipt {
    let note = "without its picture: it is missing in the database";
    receipt.note = Some(
        receipt
            .note
            .map_or_else(|| note.to_owned(), |before| format!("{before}; {note}")),
    );
    receipt
}

/// Asks what became of an attempt, at most `limit` long. `known` is a moment on both clocks since when the attempt is known
/// to this process.
///
/// Where the clocks are apart, or ours was set, the service's times are read with room for that: a post that stands there
/// under another time would be published twice.
pub(super) async fn settle(
    shared: &Shared,
    channel: &Arc<dyn Channel>,
    work: &Work,
    known: (Instant, Timestamp),
    limit: Duration,
) -> Result<Settled, SendError> {
    let delivery = &work.delivery;
    let since: Timestamp = delivery
        .unknown_since
        .or(delivery.started_at)
        .unwrap_or(delivery.queued_at);
    let mut question = Question {
        post: pictured(shared, work).await?.unwrap_or_else(|| work.post.clone()),
        since,
        // As it is configured now; an attempt of before a reload may have had longer, which adapters leave room for.
        until: clock::later(delivery.started_at.unwrap_or(since).max(since), limit),
        now: shared.clock.now(),
        waited: known.0.elapsed(),
        astray: Duration::ZERO,
        taken: Vec::new(),
    };
    let settled = loop {
        let apart = astray(&question, known.1, shared.accounts.astray());
        question.astray = apart.min(FARTHEST).max(question.astray);
        let taken = shared
            .ledger
            .taken_ids(&delivery.account, &delivery.id, question.earliest(), TAKEN);
        question.taken = match taken.await {
            Ok(taken) => taken,
            Err(error) => return Err(SendError::NotSent(Reason::new("store", error.to_string()))),
        };
        let settled = guarded(channel.settle(&question), limit).await?;
        if settled != Settled::Absent {
            break settled;
        }
        // The answer says what time it is there; what was known before may have been another service's.
        let apart = astray(&question, known.1, shared.accounts.astray());
        if apart > FARTHEST && delivery.proof == Proof::ReadBack {
            let text =
                "our clock and the service's are more than a day apart, so that its times tell nothing";
            break Settled::Unclear(Reason::new("clock", text));
        }
        if apart.min(FARTHEST) <= question.astray {
            break settled;
        }
    };
    Ok(match settled {
        Settled::Found(receipt) if work.post.steps.get(WITHOUT_PICTURE).is_some() => {
            Settled::Found(without_picture(receipt))
        }
        other @ (Settled::Found(_) | Settled::Refused(_) | Settled::Absent | Settled::Unclear(_)) => other,
    })
}

/// How far the clocks may be apart: by the service's, by where an attempt of ours lies in the future, and by what our
/// clock was set since `known`. Zero if that is no more than usual. Pure.
fn astray(question: &Question, known: Timestamp, service: Duration) -> Duration {
    let ahead = clock::until(question.now, question.since);
    let expected = clock::later(known, question.waited);
    let set = clock::until(expected, question.now).max(clock::until(question.now, expected));
    let most = service.max(ahead).max(set);
    if most > clock::SLACK { most } else { Duration::ZERO }
}

async fn guarded<T>(
    call: impl Future<Output = Result<T, SendError>>,
    limit: Duration,
) -> Result<T, SendError> {
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        // The panic's text may hold anything; it stays where the panic hook put it.
        Ok(Err(_panic)) => Err(SendError::Unknown(Reason::new(
            "panic",
            "the adapter failed in the middle of the exchange; this is a fault in Vårdkase",
        ))),
        Err(_elapsed) => Err(SendError::Unknown(Reason::new(
            "timeout",
            format!("no complete answer within {} s", limit.as_secs_f64()),
        ))),
    }
}

/// Where the steps of an attempt are written down, under its lane's epoch.
pub(super) struct Pages {
    shared: Arc<Shared>,
    delivery: DeliveryId,
    lane: LaneId,
    epoch: i64,
}

impl Pages {
    pub(super) fn new(shared: &Arc<Shared>, delivery: &DeliveryId, (lane, epoch): (LaneId, i64)) -> Self {
        Self {
            shared: Arc::clone(shared),
            delivery: delivery.clone(),
            lane,
            epoch,
        }
    }
}

#[async_trait]
impl Notebook for Pages {
    async fn write(&self, name: &str, value: &str) -> Result<(), Reason> {
        let made = StepMade {
            delivery: self.delivery.clone(),
            lane: self.lane.clone(),
            epoch: self.epoch,
            name: name.to_owned(),
            value: value.to_owned(),
            at: self.shared.clock.now(),
        };
        let written = self.shared.ledger.record_step(made).await;
        written
            .map_err(|error| Reason::new("store", format!("the step {name} could not be written: {error}")))
    }
}

/// What became of a write.
#[derive(Debug)]
pub(super) struct Written {
    /// Of the change that must not be lost.
    pub(super) kept: Option<Result<State, StoreError>>,
    /// Of the start that rode along.
    pub(super) started: Option<Result<State, StoreError>>,
}

/// Writes what must not be lost and, in the same commit, the start of the next attempt. The first is written until the
/// store takes it, and no lane starts anything meanwhile; the second only once.
pub(super) async fn write(shared: &Shared, keep: Option<Change>, start: Option<Change>) -> Written {
    let (keeps, starts) = (keep.is_some(), start.is_some());
    let changes = keep.clone().into_iter().chain(start).collect();
    let mut answers = shared.ledger.change(changes).await.into_iter();
    let mut kept = keeps.then(|| answers.next().unwrap_or_else(no_answer));
    let started = starts.then(|| answers.next().unwrap_or_else(no_answer));
    if let (Some(keep), Some(Err(StoreError::Engine(error)))) = (&keep, &kept) {
        tracing::error!(
            delivery.id = %keep.delivery,
            error = %error,
            "an outcome cannot be written; nothing is sent until it is",
        );
        let _stopped = shared.unwritten();
        kept = Some(rewrite(shared, keep).await);
        tracing::info!(delivery.id = %keep.delivery, "the outcome is written; sending goes on");
    }
    if let (Some(keep), Some(Err(StoreError::Moved { found, .. }))) = (&keep, &kept) {
        // A write whose success was not reported to us.
        if keep.from.after(keep.event).ok() == Some(*found) {
            kept = Some(Ok(*found));
        }
    }
    Written { kept, started }
}

async fn rewrite(shared: &Shared, keep: &Change) -> Result<State, StoreError> {
    let mut wait = REWRITE_FIRST;
    loop {
        sleep(wait).await;
        wait = (wait * 2).min(REWRITE_LONGEST);
        match shared.ledger.change(vec![keep.clone()]).await.pop() {
            Some(Err(StoreError::Engine(error))) => {
                tracing::debug!(delivery.id = %keep.delivery, error = %error, "the outcome still cannot be written");
            }
            Some(answer) => return answer,
            None => {}
        }
    }
}

fn no_answer() -> Result<State, StoreError> {
    Err(StoreError::Engine("the store gave no answer".to_owned()))
}
