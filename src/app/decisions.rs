//! What a person decides about deliveries: again, by hand, done, stopped.

use std::collections::BTreeSet;

use serde_json::json;

use super::request::{Action, ActionRequest, ActionResult};
use super::{App, AppError};
use crate::clock::Timestamp;
use crate::model::{
    AccountId, Actor, BroadcastId, Delivery, Event, LaneId, NOT_NEEDED, Purpose, Receipt, State,
};
use crate::store::{Change, ListDecision};

/// Recipients of a list that are looked at together, and changes that an answer names.
const PAGE: usize = 1000;

/// The reason code of deliveries that a restored backup holds; see the store.
const RESTORED: &str = "restored";

impl App {
    /// Carries out a person's decision on the deliveries of a broadcast.
    ///
    /// # Errors
    /// [`AppError::Invalid`] if the broadcast has no delivery on a named account.
    pub async fn act(
        &self,
        id: &BroadcastId,
        request: ActionRequest,
        actor: Actor,
    ) -> Result<ActionResult, AppError> {
        self.must_run()?;
        // A broadcast that is not there is an error, not one without deliveries.
        self.store.broadcast(id).await?;
        let summary = self.store.summary(id, 0).await?;
        for account in &request.accounts {
            let single = summary.deliveries.iter().any(|d| d.account == *account);
            let listed = summary.listed.iter().any(|l| l.account == *account);
            let coming = summary.expansions.iter().any(|e| e.lane.account == *account);
            if !single && !listed && !coming {
                return Err(AppError::Invalid(format!("{id} has no delivery on {account}")));
            }
        }
        let now = self.now();
        let wanted = |account: &AccountId| request.accounts.is_empty() || request.accounts.contains(account);
        let mut result = ActionResult::default();
        // First, so that nothing new comes of a list while the rest of it is stopped.
        let decision = match request.action {
            Action::Cancel => Some(ListDecision::Cancel),
            Action::Release => Some(ListDecision::Release),
            Action::Retry | Action::Resend | Action::HandOver | Action::Done => None,
        };
        if let Some(decision) = decision {
            result.lists = self
                .store
                .decide_lists(id, &request.accounts, decision, now, actor.clone())
                .await?;
            self.lists_wanted.notify_one();
        }
        self.act_on(&summary.deliveries, &request, &actor, &mut result)
            .await;
        // A list a page at a time, however long it is.
        for listed in summary.listed.iter().filter(|listed| wanted(&listed.account)) {
            let mut after = -1;
            loop {
                let (page, last) = self.store.listed(id, &listed.account, after, PAGE).await?;
                if page.is_empty() {
                    break;
                }
                after = last;
                self.act_on(&page, &request, &actor, &mut result).await;
            }
        }
        Ok(result)
    }

    /// Carries a decision out on some deliveries.
    async fn act_on(
        &self,
        deliveries: &[Delivery],
        request: &ActionRequest,
        actor: &Actor,
        result: &mut ActionResult,
    ) {
        let now = self.now();
        let mut changes = Vec::new();
        for delivery in deliveries {
            let named = request.accounts.contains(&delivery.account);
            if !named && !request.accounts.is_empty() {
                continue;
            }
            let decided = match decide(delivery, request.action) {
                Ok(event) if publishes(event) => self.not_overtaken(delivery).await.map(|()| event),
                decided => decided,
            };
            match decided {
                // Nobody means what is over unless they name it.
                Ok(_) if !named && delivery.state == State::Cancelled => {}
                Ok(event) => changes.push((delivery, change(delivery, event, request, actor, now))),
                // Unless somebody asked for this one in particular: only what a person could do something about.
                Err(why) if named || delivery.state.needs_person() => result.skip(delivery, why),
                Err(_) => {}
            }
        }
        if changes.is_empty() {
            return;
        }
        let answers = self
            .store
            .change(changes.iter().map(|(_, change)| change.clone()).collect())
            .await;
        let mut lanes = BTreeSet::<LaneId>::new();
        for ((delivery, _), answer) in changes.iter().zip(answers) {
            match answer {
                Ok(state) => {
                    result.change(delivery, state);
                    lanes.insert(delivery.lane());
                }
                Err(error) => result.skip(delivery, error.to_string()),
            }
        }
        self.wake(&lanes.into_iter().collect::<Vec<_>>());
    }
}

impl App {
    /// Refuses to publish what a newer broadcast of the alert has overtaken: after the all-clear no warning goes out.
    async fn not_overtaken(&self, delivery: &Delivery) -> Result<(), String> {
        if delivery.purpose != Purpose::Publish {
            return Ok(());
        }
        match self.store.newer(&delivery.id).await {
            Ok(None) => Ok(()),
            Ok(Some(newer)) => Err(format!(
                "{newer} is newer and has its own text for {}; what it overtook is not published any more. Use `vardkase \
                 retry {newer}`, or send an update",
                delivery.account
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether somebody publishes because of it: the daemon, or a person whom it asks to.
fn publishes(event: Event) -> bool {
    matches!(event, Event::Retry | Event::HandOver)
}

impl ActionResult {
    fn change(&mut self, delivery: &Delivery, state: State) {
        if self.changed.len() < PAGE {
            self.changed
                .push((delivery.account.clone(), delivery.id.clone(), state));
        } else {
            self.changed_more += 1;
        }
    }

    fn skip(&mut self, delivery: &Delivery, why: String) {
        if self.skipped.len() < PAGE {
            self.skipped
                .push((delivery.account.clone(), delivery.id.clone(), why));
        } else {
            self.skipped_more += 1;
        }
    }
}

/// Whether a person was asked to publish it for another account, until that one got out after all.
fn is_withdrawn(delivery: &Delivery) -> bool {
    let code = delivery.error.as_ref().map(|reason| reason.code.as_str());
    let by_hand = crate::channel::kind(&delivery.channel).is_some_and(|kind| kind.can.by_hand);
    let stands_in = delivery.purpose == Purpose::Publish && delivery.target.is_some();
    stands_in && by_hand && code == Some(NOT_NEEDED)
}

/// The event that an action means for a delivery, or why it does not apply.
fn decide(delivery: &Delivery, action: Action) -> Result<Event, String> {
    let held_for = |code: &str| {
        delivery.state == State::Held && delivery.error.as_ref().is_some_and(|reason| reason.code == code)
    };
    let unproven = delivery.state == State::Held && delivery.unknown_since.is_some();
    match action {
        Action::Retry if unproven => {
            return Err("an earlier attempt may have got through: look at the account, then --done if it is there or \
                        --resend if it is not"
                .to_owned());
        }
        Action::Retry if held_for(RESTORED) => {
            return Err("it came from a backup and may have been sent after that was taken: look at the account, then \
                        --done or --release"
                .to_owned());
        }
        Action::Resend if !unproven => {
            return Err("no attempt of unknown outcome is held here; use plain retry".to_owned());
        }
        Action::Release if !held_for(RESTORED) => {
            return Err("it is not held by a restored backup".to_owned());
        }
        // Who was asked to publish, and was no longer needed, may have been faster: what is out is known to be.
        Action::Done if delivery.state == State::Cancelled && !is_withdrawn(delivery) => {
            return Err(
                "it was stopped; what a person publishes all the same is not of this broadcast".to_owned(),
            );
        }
        Action::Retry
        | Action::Resend
        | Action::Release
        | Action::HandOver
        | Action::Done
        | Action::Cancel => {}
    }
    let event = match action {
        Action::Retry | Action::Resend | Action::Release => Event::Retry,
        Action::HandOver => Event::HandOver,
        Action::Done => Event::Done,
        Action::Cancel => Event::Cancel,
    };
    // What only a person serves cannot be tried by the daemon.
    let by_hand = crate::channel::kind(&delivery.channel).is_some_and(|kind| kind.can.by_hand);
    if event == Event::Retry && by_hand {
        return Err("a person serves this account; report it with --done".to_owned());
    }
    delivery
        .state
        .after(event)
        .map(|_| event)
        .map_err(|wrong| wrong.to_string())
}

fn change(
    delivery: &Delivery,
    event: Event,
    request: &ActionRequest,
    actor: &Actor,
    now: Timestamp,
) -> Change {
    let receipt = (event == Event::Done).then(|| {
        let mut receipt = Receipt::of("by-hand");
        receipt.url = request.url.as_ref().map(ToString::to_string);
        receipt
    });
    Change {
        delivery: delivery.id.clone(),
        fence: None,
        from: delivery.state,
        event,
        at: now,
        actor: actor.clone(),
        attempt: None,
        not_before: (event == Event::Retry).then_some(now),
        receipt,
        error: if event == Event::Done {
            None
        } else {
            delivery.error.clone()
        },
        note: Some(json!({ "action": request.action, "reason": request.reason, "url": request.url })),
        lane_notes: None,
    }
}
