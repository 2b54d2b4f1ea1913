//! Makes lists into deliveries, a chunk at a time, and removes what nobody needs any more of them. What a crash cuts off
//! goes on at the next start from the mark on disk.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::App;
use crate::clock::{Timestamp, from_micros};
use crate::model::{Broadcast, ExpansionState};
use crate::model::{BroadcastReport, RecipientsReport, State};
use crate::store::{Expansion, Forgotten, ListedState, Summary};

/// How soon a lane that had enough before it is looked at again, at first and at last.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_secs(2);
/// How soon a step that failed at the store is repeated.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a list that no command has taken up stays: reading it may take a while.
const KEPT: Duration = Duration::from_mins(10);
/// How often lists that may be needed yet are looked at.
const SWEEP: Duration = Duration::from_mins(1);

impl App {
    /// Runs until `stop`.
    pub async fn watch_lists(self: Arc<Self>, stop: CancellationToken) {
        let mut look = LOOK_FIRST;
        // Wherever the daemon was stopped, something may have been left.
        let mut forget = true;
        loop {
            let wait = match self.store.expand(self.now()).await {
                Ok(done) if done.more => {
                    self.wake(&done.lanes);
                    (look, forget) = (LOOK_FIRST, true);
                    Some(Duration::ZERO)
                }
                Ok(done) if done.waits => {
                    look = (look * 2).min(LOOK_LAST);
                    Some(look)
                }
                Ok(_) if forget => match self.forget().await {
                    Forgotten::Some => Some(Duration::ZERO),
                    Forgotten::InUse => Some(SWEEP),
                    Forgotten::All => {
                        forget = false;
                        None
                    }
                },
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(%error, "a list could not be expanded; trying again");
                    Some(AGAIN)
                }
            };
            let sleep = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.lists_wanted.notified() => forget = true,
                () = sleep => {}
            }
        }
    }

    async fn forget(&self) -> Forgotten {
        let kept = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        let before = from_micros(self.now().as_microsecond().saturating_sub(kept));
        self.store.forget_lists(before).await.unwrap_or_else(|error| {
            tracing::error!(%error, "lists that nobody needs could not be removed; trying again");
            Forgotten::InUse
        })
    }
}

/// The report of a broadcast.
pub(super) fn report(broadcast: &Broadcast, summary: &Summary) -> BroadcastReport {
    let mut counted: Vec<RecipientsReport> = Vec::new();
    for one in &summary.expansions {
        // A list that stands by for another account and was not needed is no account of the broadcast yet.
        let state = summary.listed.iter().find(|s| s.account == one.lane.account);
        counted.push(of_expansion(one, state));
    }
    for state in &summary.listed {
        if summary
            .expansions
            .iter()
            .all(|one| one.lane.account != state.account)
        {
            counted.push(of_state(state, summary));
        }
    }
    BroadcastReport::of(broadcast, &summary.deliveries, counted)
}

fn of_state(state: &ListedState, summary: &Summary) -> RecipientsReport {
    let channel = summary
        .deliveries
        .iter()
        .find(|delivery| delivery.account == state.account)
        .map(|delivery| delivery.channel.clone());
    RecipientsReport {
        account: state.account.clone(),
        channel: channel.unwrap_or_default(),
        states: state.states.clone(),
        waiting: 0,
        stopped: 0,
        stopped_as: None,
        standing_by: state.standing_by,
        spared: state.spared,
        suppressed: 0,
        repeated: 0,
        unpaired: 0,
        faulty_lines: 0,
        omitted: state.all().saturating_sub(state.shown),
        latest: state.latest,
        error: None,
    }
}

fn of_expansion(one: &Expansion, state: Option<&ListedState>) -> RecipientsReport {
    let left = one.entries.saturating_sub(one.taken);
    let stopped_as = match one.state {
        ExpansionState::Open | ExpansionState::Done => None,
        ExpansionState::Held => Some(State::Held),
        ExpansionState::Expired => Some(State::Expired),
        ExpansionState::Superseded => Some(State::Superseded),
        ExpansionState::Cancelled => Some(State::Cancelled),
        ExpansionState::Failed => Some(State::Refused),
    };
    let open = one.state == ExpansionState::Open;
    let latest: Option<Timestamp> = state.and_then(|state| state.latest);
    let stands_in = !one.stands_in_for.is_empty();
    RecipientsReport {
        account: one.lane.account.clone(),
        channel: one.channel.clone(),
        states: state.map(|state| state.states.clone()).unwrap_or_default(),
        // Who only stands by keeps nothing from being done, before the delivery is made and after.
        waiting: if open && !stands_in { left } else { 0 },
        stopped: if open || stands_in { 0 } else { left },
        stopped_as: stopped_as.filter(|_| !stands_in),
        standing_by: state.map_or(0, |state| state.standing_by) + if open && stands_in { left } else { 0 },
        spared: state.map_or(0, |state| state.spared),
        suppressed: one.suppressed,
        repeated: one.repeated,
        unpaired: one.unpaired,
        faulty_lines: one.faults,
        omitted: state.map_or(0, |state| state.all().saturating_sub(state.shown)),
        latest,
        error: one.error.clone(),
    }
}
