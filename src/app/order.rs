//! Who goes when, and who goes for whom: the first stage and those that wait for it, accounts that stand in for others,
//! corrections that change a post instead of answering to it, and pins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::StandIn;
use super::{list, proof};
use crate::clock::{Timestamp, later};
use crate::compose::Plan;
use crate::config::{Account, Config, List, Stage};
use crate::model::{AccountId, Kind, Purpose, Recipient, Rendering, State, UnreachableBefore};
use crate::store::{Destination, Standing, StandsFor, Target};

/// What the deliveries of a broadcast are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Now.
    pub now: Timestamp,
    /// What the broadcast does.
    pub kind: Kind,
    /// What stands of the alert.
    pub standing: &'a BTreeMap<AccountId, Standing>,
    /// What goes out, on the accounts themselves and on those that stand in for them.
    pub plan: &'a Plan,
    /// The same with the fallback link.
    pub alternative: Option<&'a Plan>,
    /// Which account stands in for which, of those that the plan has.
    pub stand_ins: &'a [StandIn],
    /// Accounts that are known not to answer: nobody waits for them.
    pub unreachable: &'a [UnreachableBefore],
}

/// What is to be accepted.
#[derive(Debug, Default)]
pub(super) struct Drawn<'a> {
    /// The renderings.
    pub renderings: Vec<Rendering>,
    /// The deliveries, those to the recipients of short lists among them.
    pub destinations: Vec<Destination>,
    /// Lists whose recipients become deliveries afterwards, and what is the same for all of them.
    pub lists: Vec<(Destination, &'a List)>,
}

impl<'a> Order<'a> {
    /// The renderings, and every delivery of the broadcast.
    pub(super) fn draw(&self) -> Drawn<'a> {
        let mut renderings = self.plan.renderings.clone();
        let offset = renderings.len();
        renderings.extend(self.alternative.iter().flat_map(|plan| plan.renderings.clone()));
        let waits = waits(self.config, self.plan, self.stand_ins);
        let mut all = Drawn {
            renderings,
            ..Drawn::default()
        };
        for (id, rendering) in &self.plan.accounts {
            let Some(account) = self.config.accounts.get(id) else {
                continue;
            };
            let alternative = self.alternative.and_then(|plan| {
                let (_, index) = plan.accounts.iter().find(|(other, _)| other == id)?;
                (waits && account.stage == Stage::Normal).then_some(offset + index)
            });
            let of = One {
                account,
                rendering: *rendering,
                alternative,
            };
            match self.stand_ins.iter().find(|stand_in| stand_in.account == *id) {
                Some(stand_in) => self.stand_in(&of, stand_in, waits, &mut all),
                None => self.own(&of, waits, &mut all),
            }
        }
        all
    }

    /// Whether lists go into the database first: as soon as one of the broadcast stands in files. Then all do, so that
    /// one of them can stand in for another.
    fn stages_lists(&self) -> bool {
        let accounts = self.plan.accounts.iter();
        accounts
            .filter_map(|(id, _)| list(self.config, self.config.accounts.get(id)?))
            .any(|list| list.files.is_some())
    }

    /// What an account itself gets.
    fn own(&self, of: &One<'_>, waits: bool, all: &mut Drawn<'a>) {
        let account = of.account;
        let stands = self.standing.get(&account.id);
        let not_before = self.not_before(account, waits);
        let corrected = stands
            .and_then(|stands| stands.post.clone())
            .filter(|_| self.kind == Kind::Correction && account.corrects_by_edit);
        let edits = corrected.is_some();
        let list = list(self.config, account);
        if let Some(list) = list.filter(|_| self.stages_lists()) {
            all.lists.push((of.to(None, not_before), list));
            return;
        }
        for recipient in self.recipients(account) {
            all.destinations.push(Destination {
                purpose: if edits { Purpose::Edit } else { Purpose::Publish },
                target: corrected.clone().map(Target::Delivery),
                ..of.to(recipient, not_before)
            });
        }
        for pinned in stands.iter().flat_map(|stands| &stands.pinned) {
            // What was changed in place stays pinned, and stays the latest.
            if !edits {
                all.destinations.push(Destination {
                    purpose: Purpose::Unpin,
                    target: Some(Target::Delivery(pinned.clone())),
                    ..of.to(None, not_before)
                });
            }
        }
        if account.pins && self.kind != Kind::AllClear && !edits {
            all.destinations.push(Destination {
                purpose: Purpose::Pin,
                target: Some(Target::Account(account.id.clone())),
                ..of.to(None, not_before)
            });
        }
    }

    /// What an account gets that stands in for others: to each of its recipients, if one of them does not get out.
    fn stand_in(&self, of: &One<'_>, stand_in: &StandIn, waits: bool, all: &mut Drawn<'a>) {
        let mut serves = Vec::new();
        self.serves(stand_in, &mut serves);
        if serves.is_empty() {
            return;
        }
        let target = Some(Target::InsteadOf(serves));
        let not_before = self.not_before(of.account, waits);
        if let Some(list) = list(self.config, of.account).filter(|_| self.stages_lists()) {
            let each = Destination {
                target,
                ..of.to(None, not_before)
            };
            all.lists.push((each, list));
            return;
        }
        for recipient in self.recipients(of.account) {
            all.destinations.push(Destination {
                // A person takes over as a program does: not before there is a need.
                state: State::Queued,
                target: target.clone(),
                ..of.to(recipient, not_before)
            });
        }
    }

    /// Whom an account stands in for. One that a check left out is stepped over: who stands in for it takes its place.
    fn serves(&self, stand_in: &StandIn, all: &mut Vec<StandsFor>) {
        for id in &stand_in.primaries {
            let Some(primary) = self.config.accounts.get(id) else {
                continue;
            };
            if self.plan.accounts.iter().any(|(there, _)| there == id) {
                if all.iter().all(|known| known.account != *id) {
                    let silent = self.unreachable.iter().any(|one| one.account == *id);
                    let wait = if silent {
                        Duration::ZERO
                    } else {
                        primary.fallback_after
                    };
                    all.push(StandsFor {
                        account: id.clone(),
                        wait: i64::try_from(wait.as_micros()).unwrap_or(i64::MAX),
                        keeps: primary.keeps_going,
                    });
                }
            } else if let Some(further) = self.stand_ins.iter().find(|other| other.account == *id) {
                self.serves(further, all);
            }
        }
    }

    /// When an account goes: with the first stage, or after it.
    fn not_before(&self, account: &Account, waits: bool) -> Timestamp {
        if waits && account.stage == Stage::Normal && !account.channel.can.by_hand {
            later(self.now, self.config.daemon.stage_deadline)
        } else {
            self.now
        }
    }

    fn recipients(&self, account: &Account) -> Vec<Option<Recipient>> {
        match list(self.config, account) {
            None => vec![None],
            Some(list) => list.recipients.iter().cloned().map(Some).collect(),
        }
    }
}

/// Whether there is a first stage to wait for.
pub(super) fn waits(config: &Config, plan: &Plan, stand_ins: &[StandIn]) -> bool {
    let stages = plan.accounts.iter().filter_map(|(id, _)| {
        let stands_in = stand_ins.iter().any(|stand_in| stand_in.account == *id);
        let account = config.accounts.get(id).filter(|_| !stands_in);
        account.map(|account| account.stage)
    });
    let (mut first, mut normal) = (false, false);
    for stage in stages {
        match stage {
            Stage::First => first = true,
            Stage::Normal => normal = true,
        }
    }
    first && normal
}

/// An account with what goes out on it.
#[derive(Debug, Clone, Copy)]
struct One<'a> {
    account: &'a Account,
    rendering: usize,
    alternative: Option<usize>,
}

impl One<'_> {
    fn to(&self, recipient: Option<Recipient>, not_before: Timestamp) -> Destination {
        let account = self.account;
        Destination {
            account: account.id.clone(),
            channel: account.channel.id.to_owned(),
            proof: proof(account),
            rendering: self.rendering,
            recipient,
            state: if account.channel.can.by_hand {
                State::Manual
            } else {
                State::Queued
            },
            not_before,
            purpose: Purpose::Publish,
            target: None,
            alternative: self.alternative,
        }
    }
}
