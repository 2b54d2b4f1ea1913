//! The part of a lane that is in memory: what the store gave as its head, put into order. Pure.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::model::{AlertId, BroadcastId, Delivery, DeliveryId, Purpose, Recipient, State, Work};

/// Deliveries with the same key follow each other strictly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    alert: AlertId,
    recipient: Option<Recipient>,
    /// Confirmations to an address do not wait for alerts to it, nor the other way round.
    confirmation: bool,
}

impl Key {
    /// The key of a delivery.
    pub(super) fn of(delivery: &Delivery) -> Self {
        Self {
            alert: delivery.alert.clone(),
            recipient: delivery.recipient.clone(),
            confirmation: delivery.purpose.is_confirmation(),
        }
    }
}

/// Where a delivery stands among those of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rank {
    broadcast: u64,
    purpose: u8,
    id: DeliveryId,
}

impl Rank {
    /// The rank of a delivery: by the number of its broadcast, which no clock can turn round.
    pub(super) fn of(delivery: &Delivery) -> Self {
        let purpose = match delivery.purpose {
            Purpose::Publish | Purpose::Edit => 0,
            Purpose::Unpin => 1,
            Purpose::Pin => 2,
            Purpose::Retract => 3,
            Purpose::ConfirmHandOver => 4,
            Purpose::ConfirmInterim => 5,
            Purpose::ConfirmFinal => 6,
            Purpose::ConfirmClosing => 7,
        };
        Self {
            broadcast: number(&delivery.broadcast),
            purpose,
            id: delivery.id.clone(),
        }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |rank: &Self| (rank.broadcast, rank.purpose);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.id.as_str().cmp(other.id.as_str()))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The number of a broadcast within its alert.
pub(super) fn number(broadcast: &BroadcastId) -> u64 {
    broadcast
        .as_str()
        .rsplit_once('.')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

/// The head of a lane, sorted.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// To be settled before anything else goes.
    pub(super) unknown: Vec<Work>,
    /// On disk as being sent, but not by us: their attempts are lost.
    pub(super) orphans: Vec<Work>,
    /// Waiting, the first of their key, in the order of the head.
    pub(super) ready: Vec<Work>,
    /// Waiting for an earlier one of their key.
    pub(super) blocked: Vec<Work>,
    /// Those that a newer broadcast of their alert has overtaken.
    overtaken: HashSet<DeliveryId>,
}

impl Sorted {
    /// Sorts a head. `busy` are the deliveries that the lane has in its hands: they are left out, but still come before
    /// the later ones of their key.
    pub(super) fn new(head: Vec<Work>, busy: &HashMap<DeliveryId, (Key, Rank)>) -> Self {
        let mut sorted = Self::default();
        let mut first: HashMap<Key, Rank> = HashMap::new();
        let in_hand = busy.values().cloned();
        let in_head = head
            .iter()
            .map(|work| (Key::of(&work.delivery), Rank::of(&work.delivery)));
        for (key, rank) in in_hand.chain(in_head) {
            first
                .entry(key)
                .and_modify(|known| {
                    if rank < *known {
                        known.clone_from(&rank);
                    }
                })
                .or_insert(rank);
        }
        for work in head.iter().filter(|work| work.overtaken) {
            sorted.overtaken.insert(work.delivery.id.clone());
        }
        for work in head {
            if busy.contains_key(&work.delivery.id) {
                continue;
            }
            match work.delivery.state {
                State::Unknown => sorted.unknown.push(work),
                State::Sending => sorted.orphans.push(work),
                State::Queued => {
                    let key = Key::of(&work.delivery);
                    if first.get(&key).is_some_and(|rank| rank.id == work.delivery.id) {
                        sorted.ready.push(work);
                    } else {
                        sorted.blocked.push(work);
                    }
                }
                State::Published
                | State::Edited
                | State::Retracted
                | State::Refused
                | State::Held
                | State::Manual
                | State::Expired
                | State::Superseded
                | State::Cancelled => {}
            }
        }
        sorted
    }

    /// Whether a newer broadcast of its alert has overtaken the delivery.
    pub(super) fn has_newer(&self, delivery: &Delivery) -> bool {
        self.overtaken.contains(&delivery.id)
    }

    /// Whether such a delivery waits behind this one.
    pub(super) fn holds_up(&self, delivery: &Delivery, such: impl Fn(&Delivery) -> bool) -> bool {
        let key = Key::of(delivery);
        let mut behind = self.blocked.iter().map(|work| &work.delivery);
        behind.any(|behind| such(behind) && Key::of(behind) == key)
    }

    /// The keys that something waits behind.
    pub(super) fn blocked_keys(&self) -> HashSet<Key> {
        self.blocked.iter().map(|work| Key::of(&work.delivery)).collect()
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.orphans.is_empty() && self.ready.is_empty() && self.blocked.is_empty()
    }
}
