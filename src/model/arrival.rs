//! What a service tells later of a message that it took: whether it reached the recipient.

use serde::{Deserialize, Serialize};

use super::broadcast::words;
use super::{DeliveryId, Reason};

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
    /// Whether a report says more than what was known. Reports come twice and out of order. That a device has the message
    /// outweighs everything: WhatsApp has been seen to report failed and delivered of the same one.
    pub fn outweighs(self, known: Self) -> bool {
        let weight = |arrived| match arrived {
            Self::Sent => 0,
            Self::Failed => 1,
            Self::Delivered => 2,
        };
        weight(self) > weight(known)
    }
}

/// A report that an adapter has read and found true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Which delivery it is about.
    pub delivery: DeliveryId,
    /// How far it has come.
    pub arrived: Arrived,
    /// The service's own id of the message, if it says it.
    pub remote_id: Option<String>,
    /// Why it will not arrive, if it says that; the recipient is masked.
    pub reason: Option<Reason>,
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

    /// Of how many that got out nothing is known in the end: no report has come, or only that it went.
    pub fn unknown(&self, out: u64) -> u64 {
        out.saturating_sub(self.delivered.saturating_add(self.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_report_takes_nothing_back() {
        use Arrived::{Delivered, Failed, Sent};
        let known = |reports: &[Arrived]| {
            let mut known: Option<Arrived> = None;
            for report in reports {
                if known.is_none_or(|known| report.outweighs(known)) {
                    known = Some(*report);
                }
            }
            known
        };
        for (reports, end) in [
            (&[Sent, Delivered, Sent, Delivered][..], Delivered),
            (&[Delivered, Sent, Failed], Delivered),
            (&[Failed, Sent], Failed),
            (&[Failed, Delivered], Delivered),
            (&[Sent, Sent], Sent),
        ] {
            assert_eq!(known(reports), Some(end), "{reports:?}");
        }
    }

    #[test]
    fn what_nobody_has_reported_is_unknown() {
        let arrivals = Arrivals {
            sent: 10,
            delivered: 812,
            failed: 3,
        };
        assert_eq!(arrivals.unknown(900), 85);
        assert_eq!(arrivals.unknown(0), 0);
    }
}
