//! Who gets nothing more: shown masked, decided by a person, taken back by a person.

use serde_json::json;

use super::request::{SuppressRequest, SuppressedView, Suppression};
use super::{App, AppError};
use crate::model::{Actor, AddressKind, Reason, Recipient};
use crate::store::Entry;

impl App {
    /// Who is left out of broadcasts, the latest first.
    pub async fn suppressed(&self, limit: usize) -> Result<Vec<SuppressedView>, AppError> {
        let all = self.store.suppressed(limit).await?;
        Ok(all
            .into_iter()
            .map(|one| SuppressedView {
                recipient: one.recipient.masked(),
                account: one.account,
                at: one.at,
                reason: one.reason,
            })
            .collect())
    }

    /// Leaves a recipient out of all later broadcasts, on every account.
    pub async fn suppress(&self, request: SuppressRequest, actor: Actor) -> Result<Suppression, AppError> {
        let text = request.reason.as_deref().unwrap_or("decided by a person");
        let reason = Reason::new("person", text);
        self.decide_recipient(&request.address, Some(reason), actor).await
    }

    /// Takes a recipient in again, on every account.
    pub async fn restore(&self, request: SuppressRequest, actor: Actor) -> Result<Suppression, AppError> {
        self.decide_recipient(&request.address, None, actor).await
    }

    async fn decide_recipient(
        &self,
        address: &str,
        reason: Option<Reason>,
        actor: Actor,
    ) -> Result<Suppression, AppError> {
        let recipient = read(address)?;
        let masked = recipient.masked();
        let entry = Entry {
            at: self.now(),
            actor,
            kind: if reason.is_some() {
                "suppress"
            } else {
                "restore-recipient"
            },
            broadcast: None,
            delivery: None,
            body: json!({ "recipient": masked, "reason": reason }),
        };
        let changed = self.store.suppress(recipient, reason, entry).await?;
        Ok(Suppression {
            recipient: masked,
            changed,
        })
    }
}

/// Reads an address of whatever kind it is.
fn read(address: &str) -> Result<Recipient, AppError> {
    AddressKind::of(address.trim())
        .read(address)
        .map_err(|wrong| AppError::Invalid(format!("the address cannot be read: {wrong}")))
}
