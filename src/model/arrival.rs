//! What a service tells later of a message that it took: whether it reached the recipient.

use serde::{Deserialize, Serialize};

use super::DeliveryId;
use super::broadcast::words;

words!(
    /// How far a message has come, as its service says.
    Arrived {
        /// Handed to the recipient's operator.
        Sent = "sent",
        /// On the recipient's device.
        Delivered = "delivered",
        /// It will not arrive.
        Failed = "failed",
    }
);

impl Arrived {
    /// Whether a later report may say otherwise.
    pub fn is_final(self) -> bool {
        match self {
            Self::Delivered | Self::Failed => true,
            Self::Sent => false,
        }
    }
}

/// A report that an adapter has read and found true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Which delivery it is about.
    pub delivery: DeliveryId,
    /// How far it has come.
    pub arrived: Arrived,
}

/// How many of an account's messages have come how far; those that nothing was reported of are in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Handed to the recipients' operators, and nothing more was heard.
    pub sent: u64,
    /// On the recipients' devices.
    pub delivered: u64,
    /// Will not arrive.
    pub failed: u64,
}

impl Arrivals {
    /// Sets one of the counts.
    pub fn set(&mut self, arrived: Arrived, count: u64) {
        match arrived {
            Arrived::Sent => self.sent = count,
            Arrived::Delivered => self.delivered = count,
            Arrived::Failed => self.failed = count,
        }
    }
}
