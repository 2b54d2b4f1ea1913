//! How a broadcast stands, as people and programs read it: the object of `send --json --wait`.

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AlertId, Broadcast, BroadcastId, BroadcastState, Delivery, DeliveryId, Kind, MessageId, Mode,
    Proof, Purpose, Reason, State,
};
use crate::clock::Timestamp;

/// A broadcast with its deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastReport {
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Whom it is for.
    pub mode: Mode,
    /// What it does.
    pub kind: Kind,
    /// The prepared message.
    pub message: MessageId,
    /// The headline in the first language.
    pub headline: String,
    /// How it stands as a whole.
    pub state: BroadcastState,
    /// When it was on disk.
    pub accepted_at: Timestamp,
    /// No attempt at or after it.
    pub valid_until: Timestamp,
    /// When nothing was open any more.
    pub finished_at: Option<Timestamp>,
    /// The deliveries to the public and to lists, in order.
    pub deliveries: Vec<DeliveryReport>,
    /// Posts that are pinned or unpinned, if any.
    #[serde(default)]
    pub pins: Vec<DeliveryReport>,
    /// Deliveries that stand ready for accounts that do not get out, and were not needed so far.
    #[serde(default)]
    pub stand_ins: Vec<DeliveryReport>,
    /// Retractions, if any.
    #[serde(default)]
    pub retractions: Vec<DeliveryReport>,
    /// The mails that tell the crisis organisation.
    #[serde(default)]
    pub confirmations: Vec<DeliveryReport>,
}

/// One delivery in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// Its id.
    pub delivery: DeliveryId,
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// On list channels, whom it is for, masked.
    pub recipient: Option<String>,
    /// What it is for.
    pub purpose: Purpose,
    /// The delivery that it acts on or stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<DeliveryId>,
    /// Where it stands.
    pub state: State,
    /// Attempts begun.
    pub attempts: u32,
    /// The service's id of the post.
    pub remote_id: Option<String>,
    /// Where residents find it.
    pub url: Option<String>,
    /// How surely a second post is avoided.
    pub proof: Proof,
    /// What the service said beside its id: that the picture was left out, a mail server's queue number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What last went wrong.
    pub error: Option<Reason>,
    /// Since when an attempt may have got through without our knowing: never repeated before someone has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Timestamp>,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// When it came to rest.
    pub finished_at: Option<Timestamp>,
    /// The next time that anything is done with it, while it is open.
    pub next_at: Option<Timestamp>,
}

impl DeliveryReport {
    /// The report of one delivery; its recipient is masked.
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            delivery: delivery.id.clone(),
            account: delivery.account.clone(),
            channel: delivery.channel.clone(),
            recipient: delivery.recipient.as_ref().map(super::Recipient::masked),
            purpose: delivery.purpose,
            target: delivery.target.clone(),
            state: delivery.state,
            attempts: delivery.attempts,
            remote_id: delivery.receipt.as_ref().map(|r| r.remote_id.clone()),
            url: delivery.receipt.as_ref().and_then(|r| r.url.clone()),
            proof: delivery.proof,
            note: delivery.receipt.as_ref().and_then(|r| r.note.clone()),
            error: delivery.error.clone(),
            unknown_since: delivery.unknown_since,
            queued_at: delivery.queued_at,
            finished_at: delivery.finished_at,
            next_at: delivery.state.is_open().then_some(delivery.not_before),
        }
    }
}

impl BroadcastReport {
    /// The report of a broadcast with all its deliveries.
    pub fn of(broadcast: &Broadcast, deliveries: &[Delivery]) -> Self {
        let pick = |want: fn(Purpose) -> bool| -> Vec<DeliveryReport> {
            deliveries
                .iter()
                .filter(|d| want(d.purpose))
                .map(DeliveryReport::of)
                .collect()
        };
        let published: Vec<DeliveryReport> = deliveries
            .iter()
            .filter(|d| d.purpose.is_word() && !d.is_idle_stand_in())
            .map(DeliveryReport::of)
            .collect();
        Self {
            alert: broadcast.alert.clone(),
            broadcast: broadcast.id.clone(),
            mode: broadcast.mode,
            kind: broadcast.kind,
            message: broadcast.message.clone(),
            headline: broadcast.headline.clone(),
            state: overall(published.iter().map(|d| d.state)),
            accepted_at: broadcast.accepted_at,
            valid_until: broadcast.valid_until,
            finished_at: broadcast.finished_at,
            deliveries: published,
            pins: pick(|p| matches!(p, Purpose::Pin | Purpose::Unpin)),
            stand_ins: deliveries
                .iter()
                .filter(|d| d.is_idle_stand_in())
                .map(DeliveryReport::of)
                .collect(),
            retractions: pick(|p| p == Purpose::Retract),
            confirmations: pick(Purpose::is_confirmation),
        }
    }
}

/// How deliveries in these states stand as a whole. Superseded ones are left out: the newer broadcast speaks for them.
pub fn overall(states: impl Iterator<Item = State>) -> BroadcastState {
    let (mut open, mut out, mut other) = (false, false, false);
    for state in states {
        match state {
            State::Queued | State::Sending | State::Unknown => open = true,
            State::Published | State::Edited | State::Retracted => out = true,
            State::Refused | State::Held | State::Manual | State::Expired | State::Cancelled => other = true,
            State::Superseded => {}
        }
    }
    match (open, out, other) {
        (true, _, _) => BroadcastState::Running,
        (false, true, true) => BroadcastState::Partial,
        (false, _, false) => BroadcastState::Completed,
        (false, false, true) => BroadcastState::Failed,
    }
}
