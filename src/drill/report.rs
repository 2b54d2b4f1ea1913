//! What came of a run: account by account, what the injected faults showed, the grade, and the runs before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grade::{self, Figures, Grade, Rules, seconds};
use crate::clock::{Timestamp, until};
use crate::model::broadcast::words;
use crate::model::confirmation;
use crate::model::{
    AccountId, BroadcastId, BroadcastReport, DeliveryReport, Injection, Level, Reason, RecipientsReport,
    RunState, State,
};

/// Runs before this one that it is compared with.
pub const COMPARED: usize = 10;

words!(
    /// What came of one account.
    Outcome {
        /// It did what the level asks: published, answered, took the text.
        Done = "done",
        /// It did not, and the account that stands in for it did.
        Covered = "covered",
        /// It did not.
        Missed = "missed",
        /// The drill was broken off before it had its turn.
        Stopped = "stopped",
        /// A person serves it; a drill does not ask the person.
        ByHand = "by-hand",
        /// Its channel has nothing that this level could try.
        NotPossible = "not-possible",
    }
);

/// The report of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run: String,
    /// The drill.
    pub drill: String,
    /// How far it went.
    pub level: Level,
    /// How it ended.
    pub state: RunState,
    /// When its schedule said; `None` if a person started it.
    pub planned_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Who started it.
    pub actor: String,
    /// The broadcast of a rehearsal.
    pub broadcast: Option<BroadcastId>,
    /// Accounts that were tried.
    pub all: u64,
    /// Those that came out, by themselves or by the account that stands in.
    pub out: u64,
    /// Those that did not.
    pub misses: u64,
    /// Time to the first account, in milliseconds.
    pub first_ms: Option<u64>,
    /// Time to the last account that came out.
    pub last_ms: Option<u64>,
    /// Who had to approve.
    pub approvals: Approvals,
    /// The confirmation of a rehearsal.
    pub confirmation: Option<Confirmed>,
    /// Account by account.
    pub accounts: Vec<AccountResult>,
    /// What was made to fail, and what that showed.
    pub faults: Vec<FaultShown>,
    /// The grade; none if it did not come to its end.
    pub grade: Option<Grade>,
    /// The latest runs before this one, newest first.
    pub before: Vec<Earlier>,
    /// Planned times that were missed, oldest first; of many, the latest.
    pub missed: Vec<Timestamp>,
    /// How many more were missed than are named.
    pub missed_more: usize,
    /// What else is to be said, in Swedish sentences.
    pub notes: Vec<String>,
}

/// How approval went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// How many were asked for.
    pub asked: u32,
    /// How many were given.
    pub given: u32,
    /// Time to the last of them, in milliseconds.
    pub after_ms: Option<u64>,
}

/// How the confirmation went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Mails that were written.
    pub mails: u64,
    /// Those that are out.
    pub sent: u64,
    /// Time to the last of them; `None` if not all are out.
    pub after_ms: Option<u64>,
}

/// What came of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountResult {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// What came of it.
    pub outcome: Outcome,
    /// After how long, in milliseconds.
    pub after_ms: Option<u64>,
    /// Attempts begun.
    pub attempts: u32,
    /// The account that stood in for it.
    pub covered_by: Option<AccountId>,
    /// The account that it stood in for; it is not counted then.
    pub stands_in_for: Option<AccountId>,
    /// Recipients reached, and all of them, on a list.
    pub recipients: Option<(u64, u64)>,
    /// What is to be said of it.
    pub text: Option<String>,
}

impl AccountResult {
    /// A result without more.
    pub fn of(account: &AccountId, channel: &str, outcome: Outcome) -> Self {
        Self {
            account: account.clone(),
            channel: channel.to_owned(),
            outcome,
            after_ms: None,
            attempts: 0,
            covered_by: None,
            stands_in_for: None,
            recipients: None,
            text: None,
        }
    }

    /// Whether it counts among those that were tried.
    fn counts(&self) -> bool {
        self.stands_in_for.is_none()
            && match self.outcome {
                Outcome::Done | Outcome::Covered | Outcome::Missed | Outcome::Stopped => true,
                Outcome::ByHand | Outcome::NotPossible => false,
            }
    }

    fn is_out(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Covered)
    }
}

/// What one injected fault showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultShown {
    /// What was made to fail.
    #[serde(flatten)]
    pub fault: Injection,
    /// What happened, in Swedish.
    pub showed: String,
    /// Whether the municipality would have got its word out, or would have known that it did not.
    pub coped: bool,
}

/// An earlier run, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The run.
    pub run: String,
    /// When it began, or should have.
    pub at: Timestamp,
    /// How far it went.
    pub level: Level,
    /// How it ended.
    pub state: RunState,
    /// Whether it passed; `None` if it was not graded.
    pub passed: Option<bool>,
    /// Accounts that came out.
    pub out: u64,
    /// Accounts that were tried.
    pub all: u64,
    /// Time to the last account, in milliseconds.
    pub last_ms: Option<u64>,
}

impl Report {
    /// The report of a run that has not been worked out yet.
    pub fn begin(run: &str, drill: &str, level: Level, actor: &str) -> Self {
        Self {
            run: run.to_owned(),
            drill: drill.to_owned(),
            level,
            state: RunState::Running,
            planned_at: None,
            started_at: None,
            finished_at: None,
            actor: actor.to_owned(),
            broadcast: None,
            all: 0,
            out: 0,
            misses: 0,
            first_ms: None,
            last_ms: None,
            approvals: Approvals::default(),
            confirmation: None,
            accounts: Vec::new(),
            faults: Vec::new(),
            grade: None,
            before: Vec::new(),
            missed: Vec::new(),
            missed_more: 0,
            notes: Vec::new(),
        }
    }

    /// Takes over what came of the accounts, and counts.
    pub fn count(&mut self, accounts: Vec<AccountResult>) {
        let counted = || accounts.iter().filter(|one| one.counts());
        let len = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        self.all = len(counted().count());
        self.out = len(counted().filter(|one| one.is_out()).count());
        self.misses = self.all - self.out;
        let times = || {
            counted()
                .filter(|one| one.is_out())
                .filter_map(|one| one.after_ms)
        };
        self.first_ms = times().min();
        self.last_ms = times().max();
        self.accounts = accounts;
    }

    /// Takes over the broadcast of a rehearsal, and what the faults that were injected into it showed. What is still open
    /// counts as `open_as`. `after` is the broadcast once it was told of.
    pub fn rehearsed(
        &mut self,
        broadcast: &BroadcastReport,
        after: &BroadcastReport,
        injected: &[Injection],
        open_as: Outcome,
    ) {
        self.broadcast = Some(broadcast.broadcast.clone());
        self.count(accounts(broadcast, open_as));
        // How it stood meanwhile is not how it went.
        let mails: Vec<_> = confirmation::latest(&after.confirmations).collect();
        let last = mails.iter().map(|mail| mail.finished_at).max().flatten();
        let sent = mails.iter().filter(|mail| mail.state == State::Published).count();
        let all_out = !mails.is_empty() && sent == mails.len();
        self.confirmation = Some(Confirmed {
            mails: u64::try_from(mails.len()).unwrap_or(u64::MAX),
            sent: u64::try_from(sent).unwrap_or(u64::MAX),
            after_ms: last
                .filter(|_| all_out)
                .map(|at| millis(broadcast.accepted_at, at)),
        });
        let told = all_out;
        self.faults = injected
            .iter()
            .map(|fault| FaultShown {
                fault: fault.clone(),
                ..self.shown(fault, told)
            })
            .collect();
    }

    /// Grades it.
    pub fn graded(&mut self, rules: &Rules) {
        let figures = Figures {
            all: self.all,
            out: self.out,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            confirmed_ms: self.confirmation.as_ref().and_then(|mails| mails.after_ms),
            confirms: self.level == Level::Rehearse,
        };
        self.grade = Some(grade::grade(rules, &figures));
    }

    /// Whether it went to its end and was good enough.
    pub fn passed(&self) -> bool {
        self.grade.as_ref().is_some_and(|grade| grade.passed)
    }

    /// It in short, for the runs after it.
    pub fn earlier(&self, begun_at: Timestamp) -> Earlier {
        Earlier {
            run: self.run.clone(),
            at: self.started_at.or(self.planned_at).unwrap_or(begun_at),
            level: self.level,
            state: self.state,
            passed: self.grade.as_ref().map(|grade| grade.passed),
            out: self.out,
            all: self.all,
            last_ms: self.last_ms,
        }
    }

    fn shown(&self, fault: &Injection, told: bool) -> FaultShown {
        let (showed, coped) = match fault {
            Injection::Dead(on) | Injection::TokenExpired(on) => {
                match self.accounts.iter().find(|one| one.account == *on) {
                    None => (
                        "Kontot var inte med i övningen, så felet visade ingenting.".to_owned(),
                        false,
                    ),
                    Some(account) => of_account(account, told),
                }
            }
            Injection::RelayDown(_) => {
                let mails = || self.accounts.iter().filter(|one| one.channel == "email");
                let without = mails().filter(|one| !one.is_out()).count();
                match (mails().count(), without) {
                    (0, _) => (
                        "Övningen hade inget mejlkonto, så felet visade ingenting.".to_owned(),
                        false,
                    ),
                    (_, 0) => ("Mejlen gick ut genom nästa mejlserver.".to_owned(), true),
                    (_, _) => (
                        "Mejlen kom inte ut: ingen annan mejlserver tog över.".to_owned(),
                        false,
                    ),
                }
            }
        };
        FaultShown {
            fault: fault.clone(),
            showed,
            coped,
        }
    }
}

fn of_account(account: &AccountResult, told: bool) -> (String, bool) {
    match (account.outcome, &account.covered_by) {
        (Outcome::Covered, Some(other)) => {
            let after = account
                .after_ms
                .map(|ms| format!(" efter {}", seconds(ms)))
                .unwrap_or_default();
            (format!("Reservkontot {other} tog över{after}."), true)
        }
        (Outcome::Done | Outcome::Covered, _) => ("Kontot publicerade ändå; felet slog inte till.".to_owned(), false),
        (Outcome::Missed, _) if told => (
            "Kontot publicerade inte. Bekräftelsen lämnade över det till en person och sade vad som ska göras.".to_owned(),
            true,
        ),
        (Outcome::Missed | Outcome::Stopped, _) => (
            "Kontot publicerade inte, och ingen bekräftelse hade gått ut om det när övningen slutade.".to_owned(),
            false,
        ),
        (Outcome::ByHand | Outcome::NotPossible, _) => ("Kontot kan inte fås att fallera.".to_owned(), false),
    }
}

/// Whether nothing more can be learnt from a rehearsal although something of it is open: what is open has an account that
/// stood in for it.
pub fn is_covered(report: &BroadcastReport) -> bool {
    let covered = |delivery: &DeliveryReport| {
        let all = report.deliveries.iter();
        all.clone()
            .any(|d| d.state.got_out() && d.target.as_ref() == Some(&delivery.delivery))
    };
    let open = || report.deliveries.iter().filter(|d| d.state.is_open());
    let lists = report.recipients.iter().flat_map(RecipientsReport::standing);
    let pins = report.pins.iter().map(|d| d.state);
    open().next().is_some() && open().all(covered) && !lists.chain(pins).any(State::is_open)
}

/// What a rehearsal's broadcast came to, account by account; what is still open, or was stopped, counts as `open_as`.
fn accounts(report: &BroadcastReport, open_as: Outcome) -> Vec<AccountResult> {
    let mut by_account: BTreeMap<&AccountId, Vec<&DeliveryReport>> = BTreeMap::new();
    for delivery in &report.deliveries {
        by_account.entry(&delivery.account).or_default().push(delivery);
    }
    let mut all: Vec<AccountResult> = by_account
        .iter()
        .filter(|(account, _)| report.recipients_of(account).is_none())
        .filter_map(|(_, deliveries)| of_deliveries(deliveries, report, open_as))
        .collect();
    for counted in &report.recipients {
        let (out, of) = (counted.out(), counted.all());
        let outcome = if of > 0 && out == of {
            Outcome::Done
        } else if counted.standing().any(State::is_open) {
            open_as
        } else {
            Outcome::Missed
        };
        let mut one = AccountResult::of(&counted.account, &counted.channel, outcome);
        one.recipients = Some((out, of));
        one.after_ms = counted
            .latest
            .filter(|_| outcome == Outcome::Done)
            .map(|at| millis(report.accepted_at, at));
        let named = by_account.get(&counted.account).into_iter().flatten();
        one.attempts = named.clone().map(|d| d.attempts).max().unwrap_or_default();
        one.text = counted
            .error
            .as_ref()
            .or_else(|| named.clone().find_map(|d| d.error.as_ref()))
            .filter(|_| outcome == Outcome::Missed)
            .map(said);
        all.push(one);
    }
    all.sort_by(|a, b| a.account.cmp(&b.account));
    all
}

fn of_deliveries(
    deliveries: &[&DeliveryReport],
    report: &BroadcastReport,
    open_as: Outcome,
) -> Option<AccountResult> {
    let first = deliveries.first()?;
    let by_hand = crate::channel::kind(&first.channel).is_some_and(|kind| kind.can.by_hand);
    let out = deliveries.iter().filter(|d| d.state.got_out()).count();
    let stand_ins = || {
        let all = report.deliveries.iter();
        all.filter(|d| {
            d.state.got_out()
                && d.target
                    .as_ref()
                    .is_some_and(|t| deliveries.iter().any(|p| p.delivery == *t))
        })
    };
    // A list is covered if there is somebody standing in for each of its recipients that was not reached.
    let covered = stand_ins().next();
    let outcome = if by_hand {
        Outcome::ByHand
    } else if out == deliveries.len() {
        Outcome::Done
    } else if covered.is_some() && out + stand_ins().count() >= deliveries.len() {
        Outcome::Covered
    } else if deliveries
        .iter()
        .any(|d| d.state.is_open() || d.state == State::Cancelled)
    {
        open_as
    } else {
        Outcome::Missed
    };
    let mut one = AccountResult::of(&first.account, &first.channel, outcome);
    let finished = match outcome {
        Outcome::Done => deliveries.iter().filter_map(|d| d.finished_at).max(),
        Outcome::Covered => stand_ins().filter_map(|d| d.finished_at).max(),
        Outcome::Missed | Outcome::Stopped | Outcome::ByHand | Outcome::NotPossible => None,
    };
    one.after_ms = finished.map(|at| millis(report.accepted_at, at));
    one.attempts = deliveries.iter().map(|d| d.attempts).max().unwrap_or_default();
    one.covered_by = covered
        .filter(|_| outcome == Outcome::Covered)
        .map(|d| d.account.clone());
    one.stands_in_for = first.target.as_ref().and_then(|target| {
        let primary = report.deliveries.iter().find(|d| d.delivery == *target)?;
        Some(primary.account.clone())
    });
    if deliveries.iter().any(|d| d.recipient.is_some()) {
        let len = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        one.recipients = Some((len(out), len(deliveries.len())));
    }
    one.text = deliveries
        .iter()
        .find_map(|d| d.error.as_ref())
        .filter(|_| outcome != Outcome::Done)
        .map(said);
    Some(one)
}

fn said(reason: &Reason) -> String {
    reason.to_string()
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(until(from, to).as_millis()).unwrap_or(u64::MAX)
}
