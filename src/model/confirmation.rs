//! Whether the crisis organisation has been told how a broadcast went.

use serde::{Deserialize, Serialize};

use super::broadcast::words;
use super::{DeliveryReport, Reason, State};

words!(
    /// How the mails stand that tell the crisis organisation.
    ConfirmationState {
        /// None is due yet.
        None = "none",
        /// They are on their way for the first time.
        Waiting = "waiting",
        /// Every mail was taken by a relay.
        Sent = "sent",
        /// Some were, others were not.
        Partial = "partial",
        /// No relay has taken any so far; they are tried again.
        Failing = "failing",
        /// None got out, and none is tried any more.
        Failed = "failed",
    }
);

/// How the latest of a broadcast's confirmations stands: it tells all that those before it told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// As a whole.
    pub state: ConfirmationState,
    /// Mails that a relay took. Which relay stands in each mail's `note`.
    pub sent: u64,
    /// Mails that there are, one for each address.
    pub mails: u64,
    /// Why one is not out.
    pub error: Option<Reason>,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            state: ConfirmationState::None,
            sent: 0,
            mails: 0,
            error: None,
        }
    }
}

impl Confirmation {
    /// What these mails say.
    pub fn of(mails: &[DeliveryReport]) -> Self {
        let latest: Vec<&DeliveryReport> = latest(mails).collect();
        let sent = latest
            .iter()
            .filter(|mail| mail.state == State::Published)
            .count();
        let is_open = |mail: &&DeliveryReport| mail.state.is_open();
        let is_fresh = |mail: &&DeliveryReport| is_open(mail) && mail.error.is_none();
        let state = if latest.is_empty() {
            ConfirmationState::None
        } else if latest.iter().any(is_fresh) {
            ConfirmationState::Waiting
        } else if sent == latest.len() {
            ConfirmationState::Sent
        } else if sent > 0 {
            ConfirmationState::Partial
        } else if latest.iter().any(is_open) {
            ConfirmationState::Failing
        } else {
            ConfirmationState::Failed
        };
        let mut missing = latest.iter().filter(|mail| mail.state != State::Published);
        Self {
            state,
            sent: sent as u64,
            mails: latest.len() as u64,
            error: missing.find_map(|mail| mail.error.clone()),
        }
    }
}

/// The mails of the latest confirmation.
pub fn latest(mails: &[DeliveryReport]) -> impl Iterator<Item = &DeliveryReport> {
    let part = mails
        .iter()
        .max_by_key(|mail| mail.queued_at)
        .map(|mail| mail.purpose);
    mails.iter().filter(move |mail| Some(mail.purpose) == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirm::rows::examples::mail;
    use crate::model::Purpose;

    fn one(state: State, error: bool) -> DeliveryReport {
        DeliveryReport {
            state,
            error: error.then(|| Reason::new("connect", "relay-kommun: connection refused")),
            ..mail(Purpose::ConfirmFinal, 60)
        }
    }

    #[test]
    fn one_word_says_whether_the_crisis_organisation_knows() {
        let cases = [
            (vec![], "none"),
            (vec![one(State::Queued, false)], "waiting"),
            (
                vec![one(State::Published, false), one(State::Sending, false)],
                "waiting",
            ),
            (vec![one(State::Published, false); 2], "sent"),
            (
                vec![one(State::Published, false), one(State::Queued, true)],
                "partial",
            ),
            (
                vec![one(State::Published, false), one(State::Refused, true)],
                "partial",
            ),
            (
                vec![one(State::Queued, true), one(State::Sending, true)],
                "failing",
            ),
            (
                vec![one(State::Refused, true), one(State::Queued, true)],
                "failing",
            ),
            (
                vec![one(State::Refused, true), one(State::Expired, true)],
                "failed",
            ),
        ];
        for (mails, expected) in cases {
            let told = Confirmation::of(&mails);
            assert_eq!(told.state.as_str(), expected, "{mails:#?}");
            assert_eq!(
                told.error.is_some(),
                !matches!(expected, "none" | "waiting" | "sent")
            );
        }
    }

    #[test]
    fn a_later_confirmation_speaks_for_the_one_before() {
        let mails = [
            one(State::Expired, true),
            mail(Purpose::ConfirmClosing, 900),
            mail(Purpose::ConfirmClosing, 900),
        ];
        let told = Confirmation::of(&mails);
        assert_eq!(
            (told.state, told.sent, told.mails),
            (ConfirmationState::Sent, 2, 2)
        );
    }
}
