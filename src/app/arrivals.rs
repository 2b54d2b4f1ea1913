//! Delivery reports: a service calls us, the account's adapter reads what it says, the store keeps what is new.

use super::App;
use crate::dispatch::LanePlan;
use crate::model::{AccountId, LaneId, Mode, Reason};
use crate::store::StoreError;

/// Why a report was not taken. Whoever calls is told no more than that.
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
    /// Takes a delivery report that came for an account.
    ///
    /// # Errors
    /// See [`Untaken`]. Nothing was kept.
    pub async fn arrived(
        &self,
        account: &AccountId,
        query: &[(String, String)],
        form: &[(String, String)],
    ) -> Result<(), Untaken> {
        let lane = LaneId {
            account: account.clone(),
            // Nobody outside hears of an exercise.
            mode: Mode::Live,
        };
        let channel = match self.lane_plan(&lane) {
            None => Err(Reason::new("no-account", "there is no such account")),
            Some(LanePlan { channel, .. }) => channel,
        };
        let arrival = channel
            .and_then(|channel| channel.arrival(query, form))
            .map_err(Untaken::Refused)?;
        match self.store.record_arrival(arrival, self.now()).await {
            Err(StoreError::NotFound(what)) => Err(Untaken::Refused(Reason::new(
                "no-delivery",
                format!("there is no {what}"),
            ))),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
