//! Calling a broadcast off: what stands is taken away, and what has not gone out goes no more. What stood there is copied
//! into the journal first, in the same commit as the decision and before any request leaves: a municipality may not lose
//! what it told the public.

use serde_json::{Value, json};

use super::request::{How, Outlook, RetractRequest, Retracting};
use super::{App, AppError};
use crate::clock::{Timestamp, later};
use crate::model::{AccountId, Actor, Broadcast, BroadcastId, Delivery, ExpansionState, Purpose, State};
use crate::store::{Entry, Expansion, Extent, Extra, Recall, StoreError};

/// How long the daemon tries to take a post away.
const RETRACT_FOR: std::time::Duration = std::time::Duration::from_hours(24);

/// The remote id of what a person published.
const BY_HAND: &str = "by-hand";

/// How often a broadcast that moves while it is looked at is looked at again.
const LOOKS: u32 = 20;
/// How long after.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

impl App {
    /// Calls a broadcast off: takes the published posts away where the channel can, stops what has not gone out, hands to
    /// a person what only a person can do, and says of the rest why it stays.
    ///
    /// # Errors
    /// [`AppError::Invalid`] if the broadcast has no delivery on a named account; [`AppError::Stopping`].
    pub async fn retract(
        &self,
        id: &BroadcastId,
        request: RetractRequest,
        actor: Actor,
    ) -> Result<Retracting, AppError> {
        self.must_run()?;
        // A broadcast that is not there is an error, not one without deliveries.
        let broadcast = self.store.broadcast(id).await?;
        for _ in 1..LOOKS {
            match self.call_off(&broadcast, &request, &actor).await {
                Err(AppError::Store(StoreError::Moved { .. })) => tokio::time::sleep(LOOK_AGAIN).await,
                done => return done,
            }
        }
        self.call_off(&broadcast, &request, &actor).await
    }

    /// One try: refused by the store if something moved since it was looked at here.
    async fn call_off(
        &self,
        broadcast: &Broadcast,
        request: &RetractRequest,
        actor: &Actor,
    ) -> Result<Retracting, AppError> {
        let id = &broadcast.id;
        let singles = self.store.singles(id).await?;
        let extents = self.store.extent(id).await?;
        let expansions = self.store.expansions(id).await?;
        let mut parts = parts(&extents, &expansions, &singles);
        parts.retain(|part| request.accounts.is_empty() || request.accounts.contains(&part.account));
        if let Some(missing) = request
            .accounts
            .iter()
            .find(|a| !parts.iter().any(|part| part.account == **a))
        {
            return Err(AppError::Invalid(format!("{id} has no delivery on {missing}")));
        }
        let now = self.now();
        let (mut extras, mut archive, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut outlooks: Vec<Outlook> = Vec::new();
        for part in &parts {
            let outlook = part.outlook();
            for delivery in part.singles.iter().filter(|d| is_word(d)) {
                seen.push((delivery.id.clone(), delivery.state));
                let edits = delivery.purpose == Purpose::Edit;
                let Some(state) = retraction(delivery, outlook.how).filter(|_| !edits) else {
                    continue;
                };
                extras.push(extra(delivery, state, now));
                archive.push(self.copy(delivery, 1).await?);
            }
            // One copy for all recipients of a list: they have the same text.
            let of_list =
                |e: &&&Extent| e.is_list && (stands(e.state) || e.is_uncertain || under_way(e.state));
            for extent in part.extents.iter().filter(of_list) {
                let delivery = self.store.delivery(&extent.example).await?;
                archive.push(self.copy(&delivery, extent.many).await?);
            }
            outlooks.push(outlook);
        }
        let result = answer(id, &parts, outlooks);
        let recall = Recall {
            broadcast: id.clone(),
            mode: broadcast.mode,
            accounts: parts.iter().map(|part| part.account.clone()).collect(),
            seen,
            extras,
            at: now,
            actor: actor.clone(),
            entry: Entry {
                at: now,
                actor: actor.clone(),
                kind: "retract",
                broadcast: Some(id.clone()),
                delivery: None,
                body: json!({
                    "reason": request.reason,
                    "by_daemon": result.by_daemon,
                    "by_person": result.by_person,
                    "never": result.never,
                    "stopped": result.stopped,
                    "under_way": result.under_way,
                    "uncertain": result.uncertain,
                    "archive": archive,
                }),
            },
        };
        let lanes = self.store.recall(recall).await?;
        self.wake(&lanes);
        self.lists_wanted.notify_one();
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

/// Whether an attempt may be on its way to people.
fn under_way(state: State) -> bool {
    matches!(state, State::Sending | State::Unknown)
}

/// Whether it is a word of the broadcast, and no pin, retraction or confirmation.
fn is_word(delivery: &Delivery) -> bool {
    matches!(delivery.purpose, Purpose::Publish | Purpose::Edit)
}

/// Whether an earlier attempt may have got through although nothing says so; as [`Extent::is_uncertain`].
fn is_uncertain(delivery: &Delivery) -> bool {
    delivery.unknown_since.is_some()
        && !delivery.state.got_out()
        && !under_way(delivery.state)
        && delivery.state != State::Cancelled
}

/// The state that the retraction of a delivery begins in; `None` if it needs none.
fn retraction(delivery: &Delivery, how: How) -> Option<State> {
    if stands(delivery.state) {
        return match how {
            How::TakeAway => Some(State::Queued),
            // A post that a person made has no id that the daemon knows: a person takes it away.
            How::Person => Some(State::Manual),
            How::Edit | How::Reply | How::New | How::Replace | How::Stop | How::Cannot | How::Nothing => None,
        };
    }
    if under_way(delivery.state) {
        // It waits in the lane until it is known what came of the attempt.
        return Some(State::Queued);
    }
    is_uncertain(delivery).then_some(State::Held)
}

/// A broadcast on one account.
#[derive(Debug)]
struct Part<'a> {
    account: AccountId,
    channel: String,
    is_list: bool,
    extents: Vec<&'a Extent>,
    singles: Vec<&'a Delivery>,
    /// Who is in its list and has no delivery yet.
    coming: u64,
}

/// The broadcast account by account; accounts that stand in for others and have had nothing to do are left out.
fn parts<'a>(extents: &'a [Extent], expansions: &[Expansion], singles: &'a [Delivery]) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for extent in extents.iter().filter(|extent| !extent.is_idle) {
        if let Some(known) = parts.iter_mut().find(|part| part.account == extent.account) {
            known.extents.push(extent);
            continue;
        }
        parts.push(Part {
            account: extent.account.clone(),
            channel: extent.channel.clone(),
            is_list: extent.is_list,
            extents: vec![extent],
            singles: Vec::new(),
            coming: 0,
        });
    }
    let coming = |one: &&Expansion| matches!(one.state, ExpansionState::Open | ExpansionState::Held);
    for one in expansions.iter().filter(coming) {
        let left = one.entries.saturating_sub(one.taken);
        match parts.iter_mut().find(|part| part.account == one.lane.account) {
            Some(known) => known.coming += left,
            None if !one.stands_in_for.is_empty() => {}
            None => parts.push(Part {
                account: one.lane.account.clone(),
                channel: one.channel.clone(),
                is_list: true,
                extents: Vec::new(),
                singles: Vec::new(),
                coming: left,
            }),
        }
    }
    for part in &mut parts {
        part.singles = singles.iter().filter(|d| d.account == part.account).collect();
    }
    parts
}

impl Part<'_> {
    fn count(&self, which: impl Fn(&Extent) -> bool) -> u64 {
        let chosen = self.extents.iter().filter(|extent| which(extent));
        chosen.map(|extent| u64::from(extent.many)).sum()
    }

    /// How many are out.
    fn out(&self) -> u64 {
        self.count(|extent| stands(extent.state))
    }

    /// Of how many an attempt is under way.
    fn under_way(&self) -> u64 {
        self.count(|extent| under_way(extent.state))
    }

    /// How many may be out although nothing says so.
    fn uncertain(&self) -> u64 {
        self.count(|extent| extent.is_uncertain)
    }

    /// How many have not gone out and are stopped now.
    fn waiting(&self) -> u64 {
        let waits = |state| matches!(state, State::Queued | State::Held | State::Manual);
        self.coming + self.count(|extent| waits(extent.state) && !extent.is_uncertain)
    }

    /// What can be done on the account, and why not more.
    fn outlook(&self) -> Outlook {
        let (how, why) = if self.is_list {
            self.of_list()
        } else {
            self.of_post()
        };
        Outlook {
            account: self.account.clone(),
            channel: self.channel.clone(),
            how,
            why,
            stood_in: false,
        }
    }

    fn of_list(&self) -> (How, String) {
        let have = [
            (self.out(), "have got it"),
            (self.under_way(), "are being sent it"),
            (self.uncertain(), "may have got it"),
        ];
        let have: Vec<String> = have
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
        let waiting = self.waiting();
        let rest = if waiting > 0 {
            format!("; the other {waiting} get nothing")
        } else {
            String::new()
        };
        if !have.is_empty() {
            let have = have.join(", ");
            let why = format!("recipients cannot give it back ({have}){rest}; send a correction");
            return (How::Cannot, why);
        }
        if waiting > 0 {
            let why = format!("it had not gone out; its {waiting} recipients get nothing");
            return (How::Stop, why);
        }
        (How::Nothing, nothing(&self.extents))
    }

    fn of_post(&self) -> (How, String) {
        let kind = crate::channel::kind(&self.channel);
        let by_hand = kind.is_some_and(|kind| kind.can.by_hand);
        let can = kind.is_some_and(|kind| kind.can.retract);
        let edits = self.singles.iter().any(|d| d.purpose == Purpose::Edit);
        let made_by_hand = self.singles.iter().any(|d| {
            let receipt = d.receipt.as_ref();
            is_word(d) && stands(d.state) && receipt.is_some_and(|receipt| receipt.remote_id == BY_HAND)
        });
        let no_way = || {
            format!(
                "{} has no way for a program to take a post away; a person may find one, or send a correction",
                self.channel
            )
        };
        if self.out() + self.under_way() > 0 && edits {
            // The post belongs to the broadcast that published it.
            let why = "it changed the post of an earlier broadcast; retract that one";
            (How::Nothing, why.to_owned())
        } else if self.out() > 0 && (made_by_hand || by_hand) {
            let why = "a person published it, and a person takes it away";
            (How::Person, why.to_owned())
        } else if self.out() > 0 && can {
            (How::TakeAway, "the channel takes posts away".to_owned())
        } else if self.out() > 0 {
            (How::Person, no_way())
        } else if self.under_way() > 0 && can {
            let why = "an attempt is under way; if it gets through, the post is taken away";
            (How::TakeAway, why.to_owned())
        } else if self.under_way() > 0 {
            let why = format!("an attempt is under way and may get through; {}", no_way());
            (How::Person, why)
        } else if self.uncertain() > 0 {
            let why = format!(
                "it may stand there, nobody knows; look, and take away what stands, then `vardkase retry … --account {0} \
                 --done`, or `--cancel` if nothing is there",
                self.account
            );
            (How::Person, why)
        } else if self.waiting() > 0 && by_hand {
            let why = "a person was to publish it and has not said that it is done; tell them that it is called off";
            (How::Stop, why.to_owned())
        } else if self.waiting() > 0 {
            (
                How::Stop,
                "it had not gone out, and does not go out any more".to_owned(),
            )
        } else {
            (How::Nothing, nothing(&self.extents))
        }
    }
}

/// What the command says.
fn answer(id: &BroadcastId, parts: &[Part<'_>], outlooks: Vec<Outlook>) -> Retracting {
    let pick = |how: How| -> Vec<AccountId> {
        let picked = outlooks.iter().filter(|outlook| outlook.how == how);
        picked.map(|outlook| outlook.account.clone()).collect()
    };
    let those = |any: &dyn Fn(&Part<'_>) -> u64| -> Vec<AccountId> {
        let chosen = parts.iter().filter(|part| any(part) > 0);
        chosen.map(|part| part.account.clone()).collect()
    };
    Retracting {
        broadcast: id.clone(),
        by_daemon: pick(How::TakeAway),
        by_person: pick(How::Person),
        nothing: pick(How::Nothing),
        never: pick(How::Cannot),
        stopped: those(&|part| part.waiting()),
        under_way: those(&|part| part.under_way()),
        uncertain: those(&|part| part.uncertain()),
        accounts: outlooks,
    }
}

/// Why there is nothing to take away.
fn nothing(extents: &[&Extent]) -> String {
    if extents.iter().any(|extent| extent.state == State::Retracted) {
        return "it is taken away already".to_owned();
    }
    let state = extents.first().map_or("", |extent| extent.state.as_str());
    format!("it never got out: it is {state}")
}

fn extra(delivery: &Delivery, state: State, now: Timestamp) -> Extra {
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
        state,
        deadline: later(now, RETRACT_FOR),
    }
}
