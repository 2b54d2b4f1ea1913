//! Drills: looks when one is due, has it carried out, and tells of it. Runs wait in the store, one goes at a time: a restart
//! loses none of it. The mails that tell of them go with the others, in [`super::mails`].

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, lock};
use crate::clock::{Timestamp, earlier, later, until};
use crate::config::{Config, Drill};
use crate::drill::report::{COMPARED, Report};
use crate::drill::{Schedule, page};
use crate::model::{
    Actor, BroadcastId, Injection, Kind, Level, MailKind, MessageId, Mode, Post, Purpose, Reason, Recipient,
    RunState, SendError, Steps,
};
use crate::store::{DrillChange, DrillEnd, DrillRun, DrillSeen, Mail, StoreError};
use crate::wall::{Fault, How};

mod carry;

/// How often what is due is looked for although nothing happens: the clock may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How soon what failed at the store is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// A clock that was set right again after it had been wrong by more than this has nothing to wait for.
const FAR: Duration = Duration::from_hours(24);
/// How long a mail about a run is tried.
const TRY_FOR: Duration = Duration::from_hours(24);
/// Announced times of one drill.
const ANNOUNCED: usize = 20;

/// What the parts of the application that have to do with drills share.
#[derive(Debug, Default)]
pub struct Desk {
    node: OnceLock<String>,
    /// The configuration changed.
    look: Notify,
    /// A run waits to be carried out.
    begun: Notify,
    /// A live broadcast was accepted here.
    live: Notify,
    /// What is made to fail at this moment.
    injected: Mutex<Vec<Injection>>,
}

impl Desk {
    /// The node that we are.
    pub(super) fn serve(&self, node: &str) {
        // Set once: the application is started once.
        self.node.set(node.to_owned()).ok();
    }

    /// What is planned may have changed.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// A live broadcast was accepted: whatever drill is under way stops.
    pub(super) fn live_alert(&self) {
        self.live.notify_one();
    }

    pub(super) fn node(&self) -> &str {
        self.node.get().map_or("", String::as_str)
    }
}

/// A drill as the configuration has it, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillView {
    /// Its id.
    pub drill: String,
    /// The prepared message.
    pub message: MessageId,
    /// Accounts and groups.
    pub to: Vec<String>,
    /// How far it goes.
    pub level: Level,
    /// Its cron line.
    pub schedule: Option<String>,
    /// When it is due next.
    pub next: Option<Timestamp>,
    /// Since when the public is told of that time, and what; if it is told.
    pub notice: Option<NoticeView>,
    /// What is made to fail meanwhile.
    pub faults: Vec<Injection>,
    /// The latest run.
    pub last: Option<RunView>,
}

/// What the public is told of a drill beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeView {
    /// When the drill is due.
    pub at: Timestamp,
    /// From when on that is told.
    pub from: Timestamp,
    /// What is told.
    pub text: String,
}

/// One run of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub run: String,
    /// The drill.
    pub drill: String,
    /// How far it goes.
    pub level: Level,
    /// Where it stands.
    pub state: RunState,
    /// Who started it.
    pub actor: String,
    /// When its schedule said.
    pub planned_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The broadcast of a rehearsal.
    pub broadcast: Option<BroadcastId>,
    /// Whether it passed; `None` if it was not graded.
    pub passed: Option<bool>,
    /// Accounts that came out.
    pub out: u64,
    /// Accounts that were tried.
    pub all: u64,
    /// Time to the first account, in milliseconds.
    pub first_ms: Option<u64>,
    /// Time to the last account that came out.
    pub last_ms: Option<u64>,
    /// The report whole; only where one run was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// The mails that tell of it; only where one run was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mails: Vec<MailView>,
}

/// A mail that tells of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailView {
    /// To whom, masked.
    pub recipient: String,
    /// Whether it is out; `None` while it is tried.
    pub sent: Option<bool>,
    /// Tries begun.
    pub tries: u32,
    /// What last went wrong.
    pub error: Option<Reason>,
}

/// Begin a drill by hand. The body of `POST /api/v1/drills/{id}/runs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// How far it goes; as configured if not given.
    #[serde(default)]
    pub level: Option<Level>,
}

fn report_of(run: &DrillRun) -> Option<Report> {
    serde_json::from_value(run.report.clone()?).ok()
}

impl RunView {
    fn of(run: &DrillRun) -> Self {
        let report = report_of(run);
        let report = report.as_ref();
        Self {
            run: run.id.clone(),
            drill: run.drill.clone(),
            level: run.level,
            state: run.state,
            actor: run.actor.0.clone(),
            planned_at: run.planned_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            broadcast: run.broadcast.clone(),
            passed: report.and_then(|report| Some(report.grade.as_ref()?.passed)),
            out: report.map_or(0, |report| report.out),
            all: report.map_or(0, |report| report.all),
            first_ms: report.and_then(|report| report.first_ms),
            last_ms: report.and_then(|report| report.last_ms),
            report: None,
            mails: Vec::new(),
        }
    }
}

impl App {
    /// The drills, each with its next time and its latest run.
    pub async fn drills(&self) -> Result<Vec<DrillView>, AppError> {
        let config = self.config();
        let now = self.now();
        let mut all = Vec::with_capacity(config.drills.len());
        for drill in config.drills.values() {
            let last = self.store.drill_runs(Some(&drill.id), 1).await?;
            let next = drill.schedule.as_ref().and_then(|schedule| schedule.next(now));
            let notice = drill.notice.as_ref().zip(next).map(|(notice, at)| NoticeView {
                at,
                from: earlier(at, notice.before),
                text: notice.text.clone(),
            });
            all.push(DrillView {
                drill: drill.id.clone(),
                message: drill.message.clone(),
                to: drill.to.clone(),
                level: drill.level,
                schedule: drill.schedule.as_ref().map(|schedule| schedule.line().to_owned()),
                next,
                notice,
                faults: drill.faults.clone(),
                last: last.first().map(RunView::of),
            });
        }
        Ok(all)
    }

    /// The latest runs, newest first; of one drill if given.
    pub async fn drill_runs(&self, drill: Option<&str>, limit: usize) -> Result<Vec<RunView>, AppError> {
        let runs = self.store.drill_runs(drill, limit).await?;
        Ok(runs.iter().map(RunView::of).collect())
    }

    /// One run whole, or the latest run of a drill.
    pub async fn drill_run(&self, id: &str) -> Result<RunView, AppError> {
        let run = match self.store.drill_run(id).await {
            Err(StoreError::NotFound(what)) => {
                let latest = self.store.drill_runs(Some(id), 1).await?;
                latest.into_iter().next().ok_or(StoreError::NotFound(what))?
            }
            run => run?,
        };
        let mails = self.store.mails_about(MailKind::Drill, &run.id).await?;
        Ok(RunView {
            report: report_of(&run),
            mails: mails
                .iter()
                .map(|mail| MailView {
                    recipient: mail.recipient.masked(),
                    sent: mail.sent,
                    tries: mail.tries,
                    error: mail.error.clone(),
                })
                .collect(),
            ..RunView::of(&run)
        })
    }

    /// The report of a run as a page.
    pub async fn drill_page(&self, id: &str) -> Result<String, AppError> {
        let run = self.drill_run(id).await?;
        let Some(report) = run.report else {
            return Err(AppError::Conflict(format!(
                "{} is still under way; its report is written when it has ended",
                run.run
            )));
        };
        page::html(&report, &self.config().municipality).map_err(AppError::Invalid)
    }

    /// What the public is to be told of drills that are to come, the next one first.
    pub fn announced(&self) -> Vec<NoticeView> {
        let config = self.config();
        let now = self.now();
        let mut all = Vec::new();
        for drill in config.drills.values() {
            let (Some(notice), Some(schedule)) = (&drill.notice, &drill.schedule) else {
                continue;
            };
            let last = later(now, notice.before);
            let mut at = now;
            for _ in 0..ANNOUNCED {
                let Some(next) = schedule.next(at).filter(|next| *next <= last) else {
                    break;
                };
                all.push(NoticeView {
                    at: next,
                    from: earlier(next, notice.before),
                    text: notice.text.clone(),
                });
                at = next;
            }
        }
        all.sort_by_key(|notice| notice.at);
        all
    }

    /// What the public is to be told of drills, as a page.
    pub fn announcement(&self) -> Result<String, AppError> {
        let all: Vec<(Timestamp, String)> = self
            .announced()
            .into_iter()
            .map(|notice| (notice.at, notice.text))
            .collect();
        page::notices(&all, &self.config().municipality).map_err(AppError::Invalid)
    }

    /// Begins a drill by hand. It waits for its turn if another one is under way; on disk when this returns.
    ///
    /// # Errors
    /// [`AppError::Conflict`] while a live alert is active: a drill does not start beside it.
    pub async fn begin_drill(
        &self,
        id: &str,
        request: DrillRequest,
        actor: Actor,
    ) -> Result<RunView, AppError> {
        self.must_run()?;
        let config = self.config();
        let Some(drill) = config.drills.get(id) else {
            let known: Vec<&str> = config.drills.keys().map(String::as_str).collect();
            return Err(StoreError::NotFound(format!(
                "drill {id}; the configuration has: {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ))
            .into());
        };
        let now = self.now();
        if let Some(live) = self.store.live_now(now).await? {
            return Err(AppError::Conflict(format!(
                "the live alert {} is active; a drill does not start beside it. End it with an all-clear, or wait until its \
                 validity has passed",
                live.alert()
            )));
        }
        let begin = DrillChange::Begin {
            drill: drill.id.clone(),
            level: request.level.unwrap_or(drill.level),
            actor,
            owner: self.drills.node().to_owned(),
            planned_at: None,
            seen: None,
            end: None,
        };
        let Some(run) = self.store.drill(begin, now).await? else {
            return Err(AppError::Conflict("the drill did not begin".to_owned()));
        };
        self.drills.begun.notify_one();
        self.drill_run(&run).await
    }

    /// Looks after drills until `stop`.
    pub async fn watch_drills(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.plan_drills(&stop), self.carry_out_drills(&stop));
    }

    async fn plan_drills(&self, stop: &CancellationToken) {
        loop {
            let wait = match self.look_at_drills().await {
                Ok(Some(next)) => until(self.now(), next).min(LOOK_AGAIN),
                Ok(None) => Duration::MAX,
                Err(error) => {
                    tracing::error!(%error, "could not look which drill is due");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.drills.look.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Begins what is due, and writes down what was missed. Returns when the next time is; `None` if nothing is planned.
    pub async fn look_at_drills(&self) -> Result<Option<Timestamp>, StoreError> {
        let config = self.config();
        let now = self.now();
        let seen = self.store.drills_seen().await?;
        let planned: Vec<(&Drill, &Schedule)> = config
            .drills
            .values()
            .filter_map(|drill| Some((drill, drill.schedule.as_ref()?)))
            .collect();
        let is_planned = |id: &str| planned.iter().any(|(drill, _)| drill.id == id);
        if seen.iter().any(|known| !is_planned(&known.drill)) {
            let keep = planned.iter().map(|(drill, _)| drill.id.clone()).collect();
            self.store.drill(DrillChange::Keep(keep), now).await?;
        }
        let mut next = None;
        for (drill, schedule) in planned {
            let known = seen
                .iter()
                .find(|known| known.drill == drill.id && known.schedule == schedule.line())
                .map(|known| known.seen_at)
                .filter(|at| *at <= later(now, FAR));
            let seen_at = if let Some(at) = known {
                at
            } else {
                // Seen for the first time, as it is now: what lies before was never planned.
                let seen = at_line(drill, schedule, now);
                self.store.drill(DrillChange::See(seen), now).await?;
                now
            };
            self.begin_what_is_due(&config, drill, schedule, seen_at).await?;
            let coming = schedule.next(now);
            next = match (next, coming) {
                (Some(a), Some(b)) => Some(std::cmp::min::<Timestamp>(a, b)),
                (a, b) => a.or(b),
            };
        }
        Ok(next)
    }

    async fn begin_what_is_due(
        &self,
        config: &Config,
        drill: &Drill,
        schedule: &Schedule,
        seen_at: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let look = schedule.look(seen_at, now);
        let begin = |planned: Timestamp, end| DrillChange::Begin {
            drill: drill.id.clone(),
            level: drill.level,
            actor: Actor::daemon(),
            owner: self.drills.node().to_owned(),
            planned_at: Some(planned),
            seen: Some(at_line(drill, schedule, planned)),
            end,
        };
        if let Some(last) = look.missed.last().copied() {
            let missed = look.missed.len() + look.missed_more;
            tracing::warn!(
                drill = drill.id,
                missed,
                "planned drills were missed; they are not run late"
            );
            let mut report = Report::begin("", &drill.id, drill.level, &Actor::daemon().0);
            report.state = RunState::Missed;
            report.planned_at = Some(last);
            report.finished_at = Some(now);
            report.missed = look.missed;
            report.missed_more = look.missed_more;
            let end = self.end_of(config, drill, report).await?;
            self.store.drill(begin(last, Some(Box::new(end))), now).await?;
            self.mails_wanted.notify_one();
        }
        if let Some(due) = look.due
            && self.store.drill(begin(due, None), now).await?.is_some()
        {
            self.drills.begun.notify_one();
        }
        Ok(())
    }

    /// How a run ends: its report with the runs before it, and whom to tell.
    async fn end_of(
        &self,
        config: &Config,
        drill: &Drill,
        mut report: Report,
    ) -> Result<DrillEnd, StoreError> {
        let earlier_runs = self.store.drill_runs(Some(&drill.id), COMPARED + 1).await?;
        report.before = earlier_runs
            .iter()
            .filter(|run| run.id != report.run)
            .filter_map(|run| Some(report_of(run)?.earlier(run.begun_at)))
            .take(COMPARED)
            .collect();
        Ok(self.ending(config, Some(drill), &report))
    }

    fn ending(&self, config: &Config, drill: Option<&Drill>, report: &Report) -> DrillEnd {
        let tell = drill
            .and_then(|drill| drill.tell.clone())
            .unwrap_or_else(|| config.confirmation.to.clone());
        DrillEnd {
            state: report.state,
            // It is made of numbers, texts and times: nothing of it can fail to be written.
            report: serde_json::to_value(report).unwrap_or_default(),
            tell,
            deadline: later(self.now(), TRY_FOR),
        }
    }

    /// The mail about a run, from its report.
    pub(super) async fn drill_post(&self, mail: &Mail) -> Result<Post, SendError> {
        let not_sent = |code: &str, text: String| SendError::NotSent(Reason::new(code, text));
        let run = self.store.drill_run(&mail.about).await;
        let run = run.map_err(|error| not_sent("store", error.to_string()))?;
        let Some(report) = report_of(&run) else {
            return Err(not_sent("no-report", "the run has no report yet".to_owned()));
        };
        let rendering = page::mail(&report, &self.config().municipality)
            .map_err(|error| SendError::Refused(Reason::new("template", error)))?;
        let recipient = Some(mail.recipient.clone());
        unbound(
            &run.drill,
            run.finished_at.unwrap_or(run.begun_at),
            mail.id.clone(),
            rendering,
            Purpose::ConfirmFinal,
            recipient,
            mail.deadline,
        )
    }

    /// What is made to fail at this moment.
    pub(super) fn injected(&self) -> Vec<Injection> {
        lock(&self.drills.injected).clone()
    }

    /// Makes these fail, on the practice wall and nowhere else, and what failed before work again.
    fn inject(&self, faults: &[Injection]) {
        let before = std::mem::replace(&mut *lock(&self.drills.injected), faults.to_vec());
        for account in before.iter().filter_map(Injection::account) {
            self.wall.heal(Mode::Drill, account);
        }
        for fault in faults {
            let status = match fault {
                Injection::Dead(_) => 503,
                Injection::TokenExpired(_) => 401,
                Injection::RelayDown(_) => continue,
            };
            let how = How::Answer {
                status,
                headers: Vec::new(),
                body: None,
            };
            let fault_on_wall = Fault {
                how,
                path: None,
                method: None,
                after: 0,
                times: 0,
            };
            self.wall.fault(Mode::Drill, fault.on(), fault_on_wall);
        }
        let relays = |all: &[Injection]| all.iter().any(|fault| fault.account().is_none());
        if relays(&before) || relays(faults) {
            // Adapters of drills know their relays from when they were opened.
            lock(&self.open).retain(|lane, _| lane.mode != Mode::Drill);
            if let Some(dispatcher) = self.dispatcher.get() {
                dispatcher.reload();
            }
        }
    }
}

/// As [`tokio::time::sleep`], and for ever if it is that long.
pub(super) async fn sleep(wait: Duration) {
    if wait == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(wait).await;
}

fn at_line(drill: &Drill, schedule: &Schedule, seen_at: Timestamp) -> DrillSeen {
    DrillSeen {
        drill: drill.id.clone(),
        schedule: schedule.line().to_owned(),
        seen_at,
    }
}

/// A post of practice that belongs to no broadcast: named after what it is for, so that it cannot be taken for an alert's.
pub(super) fn unbound(
    name: &str,
    at: Timestamp,
    key: crate::model::DeliveryId,
    rendering: crate::model::Rendering,
    purpose: Purpose,
    recipient: Option<Recipient>,
    valid_until: Timestamp,
) -> Result<Post, SendError> {
    let refused =
        |error: crate::model::ids::BadId| SendError::Refused(Reason::new("name", error.to_string()));
    let alert: crate::model::AlertId = format!("{}{}", Mode::Drill.alert_prefix(), name)
        .chars()
        .take(50)
        .collect::<String>()
        .parse()
        .map_err(refused)?;
    Ok(Post {
        key,
        broadcast: BroadcastId::of(&alert, 1),
        alert,
        kind: Kind::Initial,
        mode: Mode::Drill,
        purpose,
        rendering,
        recipient,
        accepted_at: at,
        valid_until,
        root: None,
        parent: None,
        picture: None,
        steps: Steps::default(),
    })
}
