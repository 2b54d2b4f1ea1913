//! Credentials that are renewed long before they end. Who asks, and when, is the schedule's business; the time comes as a
//! value. However many ask at once, each account is renewed once: its adapter sees to that.

use serde_json::json;

use super::request::Renewed;
use super::{App, AppError};
use crate::channel::Renewal;
use crate::clock::Timestamp;
use crate::model::{AccountId, Actor, LaneId, Mode, Reason};

impl App {
    /// Renews the credentials of these accounts (of all, if none is named) where that is due at `now`, side by side. The
    /// journal gets a record of each that was renewed or could not be.
    ///
    /// # Errors
    /// If there is no such account.
    pub async fn renew_due(
        &self,
        accounts: &[AccountId],
        now: Timestamp,
        actor: &Actor,
    ) -> Result<Vec<Renewed>, AppError> {
        let config = self.config();
        if let Some(unknown) = accounts.iter().find(|id| !config.accounts.contains_key(*id)) {
            return Err(AppError::Invalid(format!("there is no account {unknown}")));
        }
        let asked = config
            .accounts
            .keys()
            .filter(|id| accounts.is_empty() || accounts.contains(id));
        let renewed = futures::future::join_all(asked.map(|id| self.renew_one(id, now))).await;
        for one in &renewed {
            let is_news = one.outcome == "renewed" || one.error.is_some();
            if is_news {
                let body = json!({
                    "account": one.account, "outcome": one.outcome, "expires_at": one.expires_at,
                    "error": one.error.as_ref().map(|reason| &reason.code),
                });
                self.record(actor.clone(), "renew", body).await?;
            }
        }
        Ok(renewed)
    }

    async fn renew_one(&self, account: &AccountId, now: Timestamp) -> Renewed {
        let lane = LaneId {
            account: account.clone(),
            mode: Mode::Live,
        };
        let answer = match self.lane_plan(&lane) {
            None => Err(Reason::new(
                "no-account",
                "the configuration does not have this account",
            )),
            Some(plan) => match plan.channel {
                Err(reason) => Err(reason),
                Ok(channel) => match tokio::time::timeout(plan.attempt_timeout, channel.renew(now)).await {
                    Ok(Ok(renewal)) => Ok(renewal),
                    Ok(Err(error)) => Err(error.reason().clone()),
                    Err(_) => Err(Reason::new("timeout", "the service did not answer in time")),
                },
            },
        };
        let none = Renewed {
            account: account.clone(),
            outcome: "failed".to_owned(),
            due_at: None,
            expires_at: None,
            error: None,
        };
        match answer {
            Ok(Renewal::Never) => Renewed {
                outcome: "never".to_owned(),
                ..none
            },
            Ok(Renewal::NotYet { due_at, expires_at }) => Renewed {
                outcome: "not-yet".to_owned(),
                due_at,
                expires_at,
                ..none
            },
            Ok(Renewal::Done { expires_at }) => Renewed {
                outcome: "renewed".to_owned(),
                expires_at,
                ..none
            },
            Err(error) => Renewed {
                error: Some(error),
                ..none
            },
        }
    }
}
