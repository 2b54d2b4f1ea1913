//! Accepting a command: worked out, checked, and on disk before anyone is told.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::order::Order;
use super::request::{Preview, SendRequest, Sent};
use super::{App, AppError, plan};
use crate::check;
use crate::config::Config;
use crate::model::{Actor, Mode};
use crate::store::{Acceptance, Under};

impl App {
    /// What a command would publish, account by account, and every finding. Stores nothing.
    pub async fn preview(&self, request: &SendRequest) -> Result<Preview, AppError> {
        let mode = self.mode(request).await?;
        plan::preview(&self.config(), request, mode, self.now(), self.http()).await
    }

    /// Accepts a command. On disk, journal and all, when it returns; the lanes are at work then.
    ///
    /// # Errors
    /// [`AppError::Stopped`] with the findings if a check stops it; nothing is stored then.
    pub async fn send(
        &self,
        request: SendRequest,
        actor: Actor,
        key: Option<String>,
    ) -> Result<Sent, AppError> {
        let config = self.config();
        let mode = self.mode(&request).await?;
        let now = self.now();
        let draft = Box::pin(plan::draft(&config, &request, mode, now, self.http())).await?;
        let (Some(plan), false) = (&draft.plan, check::is_blocked(&draft.findings)) else {
            return Err(AppError::Stopped(draft.findings));
        };
        let message = config.messages.get(&request.message);
        let standing = match &request.alert {
            Some(alert) => self.store.standing(alert).await?,
            None => std::collections::BTreeMap::new(),
        };
        let order = Order {
            config: &config,
            now,
            kind: draft.command.kind,
            standing: &standing,
            plan,
            alternative: draft.alternative.as_ref(),
            stand_ins: &draft.stand_ins,
        };
        let (renderings, destinations) = order.destinations();
        let digest = hex::encode(Sha256::digest(serde_json::to_vec(&request).unwrap_or_default()));
        let acceptance = Acceptance {
            under: match &request.alert {
                Some(alert) => Under::Existing(alert.clone()),
                None => Under::New {
                    year: year(&config, now),
                },
            },
            kind: draft.command.kind,
            mode: draft.command.mode,
            message: request.message.clone(),
            message_version: message.map_or(0, |m| m.version),
            headline: plan.headline.clone(),
            actor,
            at: now,
            valid_until: draft.valid_until,
            renderings,
            pictures: draft.pictures.distinct(),
            destinations,
            idempotency: key.map(|key| (key, digest)),
            journal: json!({
                "fields": request.fields,
                "to": request.to,
                "pictures": draft.pictures.record(),
                "findings": draft.findings,
                "config": config.digest,
            }),
        };
        let accepted = self.store.accept(acceptance).await?;
        self.wake(&accepted.lanes);
        tracing::info!(
            broadcast.id = %accepted.broadcast,
            mode = %draft.command.mode,
            repeated = accepted.repeated,
            "broadcast accepted"
        );
        Ok(Sent {
            alert: accepted.alert,
            broadcast: accepted.broadcast,
            repeated: accepted.repeated,
            findings: draft.findings,
        })
    }

    /// The mode of a request: its alert's if it goes under one. Naming another is refused, so that nobody continues a
    /// drill as if it were live, or the other way round.
    async fn mode(&self, request: &SendRequest) -> Result<Option<Mode>, AppError> {
        let Some(alert) = &request.alert else {
            return Ok(request.mode);
        };
        let alert = self.store.alert(alert).await?;
        match request.mode {
            Some(mode) if mode != alert.mode => Err(AppError::Conflict(format!(
                "alert {} is {}, not {mode}; drill and live do not mix",
                alert.id, alert.mode
            ))),
            _ => Ok(Some(alert.mode)),
        }
    }
}

/// The year in the municipality's zone: alerts are numbered as people count days.
fn year(config: &Config, now: crate::clock::Timestamp) -> i16 {
    let zone = jiff::tz::TimeZone::get(&config.municipality.time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    zone.to_datetime(now).year()
}
