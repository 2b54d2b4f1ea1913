//! What is told from outside: a service calls, or a reader who wants no more mail. The account's adapter reads what it says
//! and whether it is proved; the store keeps what is new.

use serde_json::json;

use super::App;
use crate::channel::{Call, Heard};
use crate::model::{AccountId, Actor, BroadcastReport, Mode, Reason};
use crate::store::{Entry, StoreError};

/// Why a call was not taken. Whoever calls is told no more than that.
#[derive(Debug, thiserror::Error)]
pub enum Untaken {
    /// It is not for us, or not from whom it should be.
    #[error("{0}")]
    Refused(Reason),
    /// The store did not do it; the service may call again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// Takes what a service tells of an account. Returns what it wants to hear, if anything.
    ///
    /// # Errors
    /// See [`Untaken`]. After a fault of the store some of it may have been kept; a repeat is harmless.
    pub async fn heard(&self, account: &AccountId, call: &Call<'_>) -> Result<Option<String>, Untaken> {
        let channel = self.listener(account).map_err(Untaken::Refused)?;
        let arrivals = match channel.hear(call).map_err(Untaken::Refused)? {
            Heard::Echo(text) => return Ok(Some(text)),
            Heard::Arrivals(arrivals) => arrivals,
        };
        for arrival in arrivals {
            let delivery = arrival.delivery.clone();
            match self
                .store
                .record_arrival(account.clone(), arrival, self.now())
                .await
            {
                Ok(noted) => {
                    if let Some((lane, state)) = noted.settled {
                        tracing::info!(account.id = %account, delivery.id = %delivery, state = %state, "a report settled a delivery");
                        self.wake(&[lane]);
                    }
                }
                // Proved, but of another database, or of another account: a service that hears no would tell it for days.
                Err(StoreError::NotFound(_)) => {
                    tracing::debug!(account.id = %account, delivery.id = %delivery, "a report of no delivery of ours");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Who would leave the list of an account: nothing is changed.
    ///
    /// # Errors
    /// The token is not one that we made for this account.
    pub fn may_leave(&self, account: &AccountId, token: &str) -> Result<(), Reason> {
        self.listener(account)?.leaver(token).map(|_| ())
    }

    /// Leaves a reader out of the account's later broadcasts, by the token of a mail that they got. Repeating it is
    /// harmless.
    ///
    /// # Errors
    /// See [`Untaken`].
    pub async fn leave(&self, account: &AccountId, token: &str) -> Result<(), Untaken> {
        let recipient = self
            .listener(account)
            .and_then(|channel| channel.leaver(token))
            .map_err(Untaken::Refused)?;
        let reason = Reason::new("unsubscribed", "left the list by the link in a mail");
        let entry = Entry {
            at: self.now(),
            actor: Actor("reader (unsubscribe)".to_owned()),
            kind: "suppress",
            broadcast: None,
            delivery: None,
            body: json!({ "account": account, "recipient": recipient.masked(), "reason": reason }),
        };
        self.store
            .leave(recipient, account.clone(), reason, entry)
            .await?;
        Ok(())
    }

    /// Makes a report say also of the accounts that nothing was reported of yet, though it will be.
    pub(super) fn expect_arrivals(&self, report: &mut BroadcastReport) {
        if report.mode != Mode::Live {
            return;
        }
        let listed = report.recipients.iter().map(|counted| &counted.account);
        let named = report.deliveries.iter().map(|delivery| &delivery.account);
        for account in listed
            .chain(named)
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
        {
            if !report.arrivals.contains_key(&account)
                && self.listener(&account).is_ok_and(|channel| channel.hears())
            {
                report.arrivals.insert(account, crate::model::Arrivals::default());
            }
        }
    }
}
