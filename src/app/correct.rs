//! What a correction does on each account that an alert went to: change the post that stands, answer to it, or go out
//! beside it. It is then sent like any other broadcast.

use super::request::{Correcting, How, Outlook};
use super::{App, AppError};
use crate::config::{Account, Config};
use crate::model::{AccountId, AlertId, State};
use crate::store::{Extent, Standing};

impl App {
    /// What a correction of the alert would do, account by account.
    ///
    /// # Errors
    /// [`AppError::Conflict`] if the alert has ended: nothing can be said under it any more.
    pub async fn correcting(&self, id: &AlertId) -> Result<Correcting, AppError> {
        self.must_run()?;
        let alert = self.store.alert(id).await?;
        let (Some(latest), crate::model::AlertState::Active) = (alert.broadcasts.last(), alert.state) else {
            return Err(AppError::Conflict(format!(
                "alert {id} has ended; send a new message, or retract what was wrong"
            )));
        };
        let mut extents = Vec::new();
        for broadcast in &alert.broadcasts {
            extents.extend(self.store.extent(&broadcast.id).await?);
        }
        extents.retain(|extent| !extent.is_idle);
        let standing = self.store.standing(id).await?;
        let config = self.config();
        let mut accounts: Vec<Outlook> = Vec::new();
        for extent in &extents {
            if accounts.iter().any(|known| known.account == extent.account) {
                continue;
            }
            let of_account: Vec<&Extent> = extents.iter().filter(|e| e.account == extent.account).collect();
            let (how, why) = outlook(
                &config,
                &extent.account,
                &of_account,
                standing.get(&extent.account),
            );
            // Only of a list: those whom it did not stand in for know nothing that would have to be corrected.
            let stood_in = of_account.iter().all(|extent| extent.is_list && extent.stands_in);
            let why = if stood_in {
                "it stood in for another account; those whom it reached get the correction there too"
                    .to_owned()
            } else {
                why
            };
            accounts.push(Outlook {
                account: extent.account.clone(),
                channel: extent.channel.clone(),
                how,
                why,
                stood_in,
            });
        }
        Ok(Correcting {
            alert: id.clone(),
            mode: alert.mode,
            message: latest.message.clone(),
            accounts,
        })
    }
}

fn outlook(
    config: &Config,
    id: &AccountId,
    extents: &[&Extent],
    standing: Option<&Standing>,
) -> (How, String) {
    let Some(account) = config.accounts.get(id) else {
        let why = "the configuration does not have this account any more; a person has to see to it";
        return (How::Cannot, why.to_owned());
    };
    let any = |want: fn(State) -> bool| extents.iter().any(|e| want(e.state));
    let is_out = any(|state| matches!(state, State::Published | State::Edited));
    if account.channel.can.by_hand {
        return (How::Person, "a person publishes on this account".to_owned());
    }
    if !is_out && any(|state| matches!(state, State::Sending | State::Unknown)) {
        let why = "an attempt is under way and may get through; the correction follows it";
        return (How::New, why.to_owned());
    }
    if !is_out && extents.iter().any(|extent| extent.is_uncertain) {
        let why =
            "an earlier attempt may have got through, and nobody knows; the correction goes out beside it";
        return (How::New, why.to_owned());
    }
    if !is_out {
        return if any(|state| state.is_open() || matches!(state, State::Held | State::Manual)) {
            let why = "nothing is out yet; the correction goes in its place";
            (How::Replace, why.to_owned())
        } else {
            (How::Nothing, "nothing of the alert is out there".to_owned())
        };
    }
    out(account, extents, standing)
}

/// What a correction does where something is out.
fn out(account: &Account, extents: &[&Extent], standing: Option<&Standing>) -> (How, String) {
    let kind = account.channel;
    if extents.iter().any(|extent| extent.is_list) {
        let why = "each recipient gets the correction; what they have got cannot be taken back";
        return (How::New, why.to_owned());
    }
    let stands = standing.is_some_and(|standing| standing.post.is_some());
    if stands && account.corrects_by_edit {
        let why = if kind.can.picture && !kind.changes_picture() {
            "the text of the post that stands is changed; a picture that it has stays"
        } else {
            "the text of the post that stands is changed"
        };
        return (How::Edit, why.to_owned());
    }
    if account.replies() {
        let why = if kind.can.edit {
            "a reply under the post; with correction = \"edit\" on the account the post itself is changed"
        } else {
            "a reply under the post; the channel cannot change what is out"
        };
        return (How::Reply, why.to_owned());
    }
    let why = if kind.can.thread {
        "a new post; the account's configuration has replies switched off".to_owned()
    } else {
        format!("a new post; {} has no replies", kind.id)
    };
    (How::New, why)
}
