//! How a broadcast stands, as people and programs read it: the object of `send --json --wait`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    AccountId, AlertId, Arrivals, Broadcast, BroadcastId, BroadcastState, Confirmation, Delivery, DeliveryId,
    Kind, MessageId, Mode, Proof, Purpose, Reason, State, UnreachableBefore,
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
    /// The deliveries to the public and to lists, in order. Of a long list at most a thousand: those in trouble first.
    pub deliveries: Vec<DeliveryReport>,
    /// The accounts that go to a list, with all their recipients counted.
    #[serde(default)]
    pub recipients: Vec<RecipientsReport>,
    /// How many deliveries to recipients are not named here, over all accounts.
    #[serde(default)]
    pub omitted: u64,
    /// Posts that are pinned or unpinned, if any.
    #[serde(default)]
    pub pins: Vec<DeliveryReport>,
    /// Deliveries that stand ready for accounts that do not get out, and were not needed so far.
    #[serde(default)]
    pub stand_ins: Vec<DeliveryReport>,
    /// Retractions, if any.
    #[serde(default)]
    pub retractions: Vec<DeliveryReport>,
    /// Whether the crisis organisation has been told.
    #[serde(default)]
    pub confirmation: Confirmation,
    /// The mails that tell the crisis organisation.
    #[serde(default)]
    pub confirmations: Vec<DeliveryReport>,
    /// Accounts that had not answered before the command, and who took over at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreachable_before: Vec<UnreachableBefore>,
    /// How far messages have come, where a service reports it: by account.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrivals: BTreeMap<AccountId, Arrivals>,
}

/// How the recipients of one account stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientsReport {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// How many recipients are in which state. Who stands in for another account and had nothing to do is not counted.
    pub states: BTreeMap<State, u64>,
    /// Who is in the list and whose delivery has not been made yet.
    #[serde(default)]
    pub waiting: u64,
    /// Who is in the list and will get nothing of this broadcast, because of `stopped_as`.
    #[serde(default)]
    pub stopped: u64,
    /// Why the list stopped before its end: `expired`, `superseded`, `cancelled`, `held`, or `refused` if the list could
    /// not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_as: Option<State>,
    /// Who stands by for another account.
    #[serde(default)]
    pub standing_by: u64,
    /// Who stood by for another account and was not needed.
    #[serde(default)]
    pub spared: u64,
    /// Who was left out: their address has ended, or a person said so.
    #[serde(default)]
    pub suppressed: u64,
    /// Addresses that had stood in the list before.
    #[serde(default)]
    pub repeated: u64,
    /// Addresses that no account that is stood in for serves.
    #[serde(default)]
    pub unpaired: u64,
    /// Lines of the list that could not be read.
    #[serde(default)]
    pub faulty_lines: u64,
    /// How many of the recipients' deliveries are not named in the report.
    #[serde(default)]
    pub omitted: u64,
    /// When the latest one came to rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// Why the list did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

impl RecipientsReport {
    /// How many got it.
    pub fn out(&self) -> u64 {
        let got = |(state, n): (&State, &u64)| if state.got_out() { *n } else { 0 };
        self.states.iter().map(got).sum()
    }

    /// How many there are: who got it, who may, and who will not.
    pub fn all(&self) -> u64 {
        self.states.values().sum::<u64>() + self.waiting + self.stopped
    }

    /// Every state that somebody of them is in; a list that is on its way is open, one that cannot be read is refused.
    pub fn standing(&self) -> impl Iterator<Item = State> + '_ {
        let there = self
            .states
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(state, _)| *state);
        let coming = (self.waiting > 0).then_some(State::Queued);
        let stopped = self
            .stopped_as
            .filter(|state| self.stopped > 0 || *state == State::Refused);
        there.chain(coming).chain(stopped)
    }
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
    /// The delivery that it acts on; the first of those that it stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<DeliveryId>,
    /// The accounts that it stands in for: it goes only if one of them does not get out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stands_in_for: Vec<AccountId>,
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
            stands_in_for: delivery.stands_in_for.clone(),
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
    /// The report of a broadcast. `recipients` are the accounts whose recipients are counted: of them, `deliveries` may
    /// hold only some.
    pub fn of(broadcast: &Broadcast, deliveries: &[Delivery], recipients: Vec<RecipientsReport>) -> Self {
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
        let counted = |delivery: &&DeliveryReport| recipients.iter().any(|r| r.account == delivery.account);
        let single = published.iter().filter(|d| !counted(d)).map(|d| d.state);
        let state = overall(single.chain(recipients.iter().flat_map(RecipientsReport::standing)));
        let confirmations = pick(Purpose::is_confirmation);
        Self {
            alert: broadcast.alert.clone(),
            broadcast: broadcast.id.clone(),
            mode: broadcast.mode,
            kind: broadcast.kind,
            message: broadcast.message.clone(),
            headline: broadcast.headline.clone(),
            state,
            accepted_at: broadcast.accepted_at,
            valid_until: broadcast.valid_until,
            finished_at: broadcast.finished_at,
            deliveries: published,
            omitted: recipients.iter().map(|r| r.omitted).sum(),
            recipients,
            pins: pick(|p| matches!(p, Purpose::Pin | Purpose::Unpin)),
            stand_ins: deliveries
                .iter()
                .filter(|d| d.is_idle_stand_in())
                .map(DeliveryReport::of)
                .collect(),
            retractions: pick(|p| p == Purpose::Retract),
            confirmation: Confirmation::of(&confirmations),
            confirmations,
            unreachable_before: Vec::new(),
            arrivals: BTreeMap::new(),
        }
    }
}

impl BroadcastReport {
    /// The recipients of an account, if it goes to a list.
    pub fn recipients_of(&self, account: &AccountId) -> Option<&RecipientsReport> {
        self.recipients.iter().find(|r| r.account == *account)
    }

    /// How many deliveries of an account got out.
    pub fn out_on(&self, account: &AccountId) -> u64 {
        let named = || {
            let got = |d: &&DeliveryReport| d.account == *account && d.state.got_out();
            self.deliveries.iter().filter(got).count() as u64
        };
        self.recipients_of(account)
            .map_or_else(named, RecipientsReport::out)
    }

    /// How many deliveries got out, and how many there are, recipients that are still on their way included.
    pub fn out_of(&self) -> (u64, u64) {
        let single = || {
            self.deliveries
                .iter()
                .filter(|d| self.recipients_of(&d.account).is_none())
        };
        let out = single().filter(|d| d.state.got_out()).count() as u64;
        let all = single().count() as u64;
        self.recipients
            .iter()
            .fold((out, all), |(out, all), r| (out + r.out(), all + r.all()))
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
