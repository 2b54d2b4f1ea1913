//! What a person decides about deliveries: again, by hand, done, stopped.

use serde_json::json;

use super::request::{Action, ActionRequest, ActionResult};
use super::{App, AppError};
use crate::clock::Timestamp;
use crate::model::{Actor, BroadcastId, Delivery, Event, LaneId, Receipt, State};
use crate::store::Change;

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
        // A broadcast that is not there is an error, not one without deliveries.
        self.store.broadcast(id).await?;
        let deliveries = self.store.deliveries(id).await?;
        for account in &request.accounts {
            if !deliveries.iter().any(|d| d.account == *account) {
                return Err(AppError::Invalid(format!("{id} has no delivery on {account}")));
            }
        }
        let now = self.now();
        let mut result = ActionResult {
            changed: Vec::new(),
            skipped: Vec::new(),
        };
        let mut changes = Vec::new();
        for delivery in &deliveries {
            let named = request.accounts.contains(&delivery.account);
            if !named && !request.accounts.is_empty() {
                continue;
            }
            match decide(delivery, request.action) {
                Ok(event) => changes.push((delivery, change(delivery, event, &request, &actor, now))),
                Err(why) if named => {
                    result
                        .skipped
                        .push((delivery.account.clone(), delivery.id.clone(), why));
                }
                // Nobody asked for this one in particular: say only what a person could do something about.
                Err(why) if delivery.state.needs_person() => {
                    result
                        .skipped
                        .push((delivery.account.clone(), delivery.id.clone(), why));
                }
                Err(_) => {}
            }
        }
        let answers = self
            .store
            .change(changes.iter().map(|(_, change)| change.clone()).collect())
            .await;
        let mut lanes = Vec::<LaneId>::new();
        for ((delivery, _), answer) in changes.iter().zip(answers) {
            let (account, id) = (delivery.account.clone(), delivery.id.clone());
            match answer {
                Ok(state) => {
                    result.changed.push((account, id, state));
                    lanes.push(delivery.lane());
                }
                Err(error) => result.skipped.push((account, id, error.to_string())),
            }
        }
        self.wake(&lanes);
        Ok(result)
    }
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
