//! Taking published posts away. What stood there is copied into the journal first, in the same commit as the decision and
//! before any request leaves: a municipality may not lose what it told the public.

use serde_json::{Value, json};

use super::request::{How, Outlook, RetractRequest, Retracting};
use super::{App, AppError};
use crate::clock::{Timestamp, later};
use crate::model::{AccountId, Actor, BroadcastId, Delivery, Purpose, State};
use crate::store::{Entry, Extent, Extra};

/// How long the daemon tries to take a post away.
const RETRACT_FOR: std::time::Duration = std::time::Duration::from_hours(24);

/// The remote id of what a person published.
const BY_HAND: &str = "by-hand";

impl App {
    /// Takes the published posts of a broadcast away where the channel can, hands to a person what only a person can, and
    /// says of the rest why it stays.
    ///
    /// # Errors
    /// [`AppError::Invalid`] if the broadcast has no delivery on a named account.
    pub async fn retract(
        &self,
        id: &BroadcastId,
        request: RetractRequest,
        actor: Actor,
    ) -> Result<Retracting, AppError> {
        // A broadcast that is not there is an error, not one without deliveries.
        self.store.broadcast(id).await?;
        let mut extents = self.store.extent(id).await?;
        extents.retain(|extent| !extent.is_idle);
        extents.retain(|extent| request.accounts.is_empty() || request.accounts.contains(&extent.account));
        if let Some(missing) = request
            .accounts
            .iter()
            .find(|a| !extents.iter().any(|extent| extent.account == **a))
        {
            return Err(AppError::Invalid(format!("{id} has no delivery on {missing}")));
        }
        let singles = self.store.singles(id).await?;
        let mut outlooks: Vec<Outlook> = Vec::new();
        for extent in &extents {
            if outlooks.iter().any(|known| known.account == extent.account) {
                continue;
            }
            let of_account: Vec<&Extent> = extents.iter().filter(|e| e.account == extent.account).collect();
            outlooks.push(outlook(extent, &of_account, &singles));
        }
        let now = self.now();
        let (mut extras, mut archive) = (Vec::new(), Vec::new());
        for outlook in &outlooks {
            let (take, by_daemon) = match outlook.how {
                How::TakeAway => (true, true),
                How::Person => (true, false),
                How::Cannot => (false, false),
                How::Nothing | How::Edit | How::Reply | How::New | How::Replace => continue,
            };
            for delivery in singles
                .iter()
                .filter(|d| d.account == outlook.account && is_out(d))
            {
                if take {
                    extras.push(extra(delivery, by_daemon, now));
                }
                archive.push(self.copy(delivery, 1).await?);
            }
            // One copy for all recipients of a list: they have the same text.
            let of_list = |e: &&Extent| e.account == outlook.account && e.is_list && stands(e.state);
            for extent in extents.iter().filter(of_list) {
                let delivery = self.store.delivery(&extent.example).await?;
                archive.push(self.copy(&delivery, extent.many).await?);
            }
        }
        let pick = |how: How| -> Vec<AccountId> {
            let picked = outlooks.iter().filter(|outlook| outlook.how == how);
            picked.map(|outlook| outlook.account.clone()).collect()
        };
        let result = Retracting {
            broadcast: id.clone(),
            by_daemon: pick(How::TakeAway),
            by_person: pick(How::Person),
            nothing: pick(How::Nothing),
            never: pick(How::Cannot),
            accounts: outlooks,
        };
        let entry = Entry {
            at: now,
            actor,
            kind: "retract",
            broadcast: Some(id.clone()),
            delivery: None,
            body: json!({
                "reason": request.reason,
                "by_daemon": result.by_daemon,
                "by_person": result.by_person,
                "never": result.never,
                "archive": archive,
            }),
        };
        let lanes = self.store.add(extras, now, Some(entry)).await?;
        self.wake(&lanes);
        Ok(result)
    }

    /// What stands at a delivery's address as far as we know: the text that went out, or what it was changed into since.
    async fn copy(&self, delivery: &Delivery, recipients: u32) -> Result<Value, AppError> {
        let changed = if delivery.state == State::Edited {
            self.store.latest_edit(&delivery.alert, &delivery.id).await?
        } else {
            None
        };
        let shown = self
            .store
            .rendering(changed.as_ref().unwrap_or(&delivery.id))
            .await?;
        let receipt = delivery.receipt.as_ref();
        Ok(json!({
            "account": delivery.account,
            "channel": delivery.channel,
            "delivery": delivery.id,
            "state": delivery.state,
            "published_at": delivery.finished_at,
            "changed_by": changed,
            "remote_id": receipt.filter(|_| delivery.recipient.is_none()).map(|r| &r.remote_id),
            "url": receipt.and_then(|r| r.url.as_ref()),
            "note": receipt.and_then(|r| r.note.as_ref()),
            "recipients": delivery.recipient.as_ref().map(|_| recipients),
            "headline": shown.headline,
            "text": shown.text,
            "link": shown.link,
            "languages": shown.languages,
            "picture": shown.picture,
        }))
    }
}

/// Whether something of it is where people see it.
fn stands(state: State) -> bool {
    matches!(state, State::Published | State::Edited)
}

fn is_out(delivery: &Delivery) -> bool {
    delivery.purpose == Purpose::Publish && stands(delivery.state)
}

/// What can be done on an account, and why not more.
fn outlook(first: &Extent, extents: &[&Extent], singles: &[Delivery]) -> Outlook {
    let kind = crate::channel::kind(&first.channel);
    let out: u32 = extents.iter().filter(|e| stands(e.state)).map(|e| e.many).sum();
    let mut of_account = singles.iter().filter(|d| d.account == first.account);
    let edited = of_account.clone().any(|d| d.purpose == Purpose::Edit);
    let by_hand = of_account.any(|d| {
        let receipt = d.receipt.as_ref();
        is_out(d) && receipt.is_some_and(|receipt| receipt.remote_id == BY_HAND)
    });
    let (how, why) = if out == 0 {
        (How::Nothing, nothing(extents))
    } else if edited {
        // The post belongs to the broadcast that published it.
        (
            How::Nothing,
            "it changed the post of an earlier broadcast; retract that one".to_owned(),
        )
    } else if first.is_list {
        (
            How::Cannot,
            format!("what {out} recipients have got cannot be taken back; send a correction"),
        )
    } else if by_hand || kind.is_some_and(|kind| kind.can.by_hand) {
        (
            How::Person,
            "a person published it, and a person takes it away".to_owned(),
        )
    } else if kind.is_some_and(|kind| kind.can.retract) {
        (How::TakeAway, "the channel takes posts away".to_owned())
    } else {
        (
            How::Person,
            format!(
                "{} has no way for a program to take a post away; a person may find one, or send a correction",
                first.channel
            ),
        )
    };
    Outlook {
        account: first.account.clone(),
        channel: first.channel.clone(),
        how,
        why,
    }
}

/// Why there is nothing to take away.
fn nothing(extents: &[&Extent]) -> String {
    let any = |want: fn(State) -> bool| extents.iter().any(|e| want(e.state));
    if any(|state| state == State::Retracted) {
        "it is taken away already".to_owned()
    } else if any(State::is_open) {
        "it is not out yet; `vardkase retry … --cancel` stops it".to_owned()
    } else {
        let state = extents.first().map_or("", |extent| extent.state.as_str());
        format!("it never got out: it is {state}")
    }
}

fn extra(delivery: &Delivery, by_daemon: bool, now: Timestamp) -> Extra {
    Extra {
        broadcast: delivery.broadcast.clone(),
        account: delivery.account.clone(),
        channel: delivery.channel.clone(),
        proof: delivery.proof,
        mode: delivery.mode,
        purpose: Purpose::Retract,
        target: Some(delivery.id.clone()),
        recipient: delivery.recipient.clone(),
        rendering: None,
        // A post that a person made has no id that the daemon knows: a person takes it away.
        state: if by_daemon { State::Queued } else { State::Manual },
        deadline: later(now, RETRACT_FOR),
    }
}
