//! Carries a run out: the level's work, an end to it when its time is up or a live alert comes, and the report.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AGAIN, unbound};
use crate::app::request::{Action, ActionRequest, SendRequest};
use crate::app::{App, AppError, plan};
use crate::check::Level as FindingLevel;
use crate::clock::{earlier, later};
use crate::config::{Account, Config, Drill};
use crate::drill::report::{AccountResult, Outcome, Report, is_covered};
use crate::model::{
    AccountId, Actor, BroadcastId, BroadcastReport, DeliveryId, Injection, Level, Mode, Purpose, RunState,
    SendError, State,
};
use crate::store::{DrillChange, DrillRun, StoreError};

/// How often a live alert of another node is looked for, and a rehearsal that tells nothing.
const LOOK: Duration = Duration::from_secs(1);
/// Changes that come close together are looked at once.
const GATHER: Duration = Duration::from_millis(50);
/// How long a run may wait for its turn behind others.
const LONGEST_TURN: Duration = Duration::from_hours(6);
/// After this a run of another node is given up: the node does not come back to it.
const GIVEN_UP: Duration = Duration::from_hours(24);
/// How long what was stopped may take to come to rest.
const STOPPING: Duration = Duration::from_mins(1);
/// How long the confirmation of what was stopped is waited for.
const TOLD: Duration = Duration::from_mins(1);
/// Accounts that are spoken to at once behind the stage.
const AT_ONCE: usize = 4;

/// Why what is left of a drill does not go out.
const LIVE_FIRST: &str = "a live alert goes before the drill";

/// How the work of a level ended.
#[derive(Debug)]
enum Ended {
    /// By itself, or when its time was up.
    Whole,
    /// A live broadcast came.
    Suspended(BroadcastId),
    /// It could not be done, and why, in Swedish.
    Failed(String),
}

impl App {
    /// Carries out what waits, one run at a time, until `stop`.
    pub(super) async fn carry_out_drills(&self, stop: &CancellationToken) {
        loop {
            let wait = match self.next_run().await {
                Ok(Some(run)) => {
                    let id = run.id.clone();
                    tokio::select! {
                        // What is under way is taken up again at the next start.
                        () = stop.cancelled() => return,
                        done = self.carry_out(run) => match done {
                            Ok(()) => continue,
                            Err(error) => {
                                tracing::error!(run = id, %error, "a drill could not be carried on");
                                AGAIN
                            }
                        },
                    }
                }
                Ok(None) => Duration::MAX,
                Err(error) => {
                    tracing::error!(%error, "could not look which drill waits");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.drills.begun.notified() => {}
                () = super::sleep(wait) => {}
            }
        }
    }

    /// The run whose turn it is; what nobody comes back to is given up.
    async fn next_run(&self) -> Result<Option<DrillRun>, StoreError> {
        let mut found = None;
        for run in self.store.drills_running().await? {
            if run.owner == self.drills.node() {
                found = found.or(Some(run));
            } else if run.begun_at < earlier(self.now(), GIVEN_UP) {
                let text = "Den server som körde övningen kom inte tillbaka.";
                self.end(&run, new_report(&run), Ended::Failed(text.to_owned()))
                    .await?;
            }
        }
        Ok(found)
    }

    /// Carries a run out to its end.
    async fn carry_out(&self, run: DrillRun) -> Result<(), StoreError> {
        let config = self.config();
        let now = self.now();
        let mut report = new_report(&run);
        let Some(drill) = config.drills.get(&run.drill) else {
            let text = "Övningen finns inte längre i konfigurationen.".to_owned();
            return self.end(&run, report, Ended::Failed(text)).await;
        };
        // Looked at first: whatever is accepted after it goes before the drill.
        let number = self.store.last_broadcast().await?;
        if run.started_at.is_none() {
            let since = run.planned_at.unwrap_or(run.begun_at);
            if since < earlier(now, LONGEST_TURN) {
                report.state = RunState::Missed;
                report.missed = vec![since];
                return self.end(&run, report, Ended::Whole).await;
            }
        } else {
            let text = "Övningen avbröts och togs upp igen, för att Vårdkase startades om eller databasen inte svarade.";
            report.notes.push(text.to_owned());
        }
        report.started_at = run.started_at;
        if let Some(live) = self.store.live_now(now).await? {
            if let Some(broadcast) = &run.broadcast {
                self.stop_broadcast(broadcast, LIVE_FIRST).await?;
            }
            return self.end(&run, report, Ended::Suspended(live)).await;
        }
        if run.started_at.is_none() {
            self.store.drill(DrillChange::Start(run.id.clone()), now).await?;
            report.started_at = Some(now);
        }
        tracing::info!(run = run.id, level = %run.level, "a drill begins");
        let ended = match run.level {
            Level::Tabletop => self.tabletop(drill, &mut report).await,
            Level::Reach => {
                tokio::select! {
                    biased;
                    live = self.live_after(number) => Ended::Suspended(live),
                    ended = self.reach(&config, drill, &mut report) => ended,
                }
            }
            Level::Rehearse => self.rehearse(&run, drill, number, &mut report).await?,
            Level::Backstage => self.backstage(&run, &config, drill, number, &mut report).await,
        };
        self.end(&run, report, ended).await
    }

    /// Writes the end of a run.
    async fn end(&self, run: &DrillRun, mut report: Report, ended: Ended) -> Result<(), StoreError> {
        let config = self.config();
        let drill = config.drills.get(&run.drill);
        report.finished_at = Some(self.now());
        match ended {
            Ended::Whole if report.state == RunState::Missed => {}
            Ended::Whole => {
                report.state = RunState::Finished;
                report.graded(&drill.map(|drill| drill.rules.clone()).unwrap_or_default());
            }
            Ended::Suspended(live) => {
                report.state = RunState::Suspended;
                report.notes.push(format!(
                    "Den skarpa varningen {} går före. Det av övningen som väntade har stoppats.",
                    live.alert()
                ));
            }
            Ended::Failed(why) => {
                report.state = RunState::Failed;
                report.notes.push(why);
            }
        }
        tracing::info!(run = run.id, state = %report.state, passed = report.passed(), "a drill has ended");
        let end = match drill {
            Some(drill) => self.end_of(&config, drill, report).await?,
            None => self.ending(&config, None, &report),
        };
        let end = DrillChange::End(run.id.clone(), Box::new(end));
        self.store.drill(end, self.now()).await?;
        self.mails_wanted.notify_one();
        Ok(())
    }

    /// Resolves when a live broadcast has been accepted after that one, here or on another node.
    async fn live_after(&self, number: i64) -> BroadcastId {
        loop {
            match self.store.live_after(number).await {
                Ok(Some(live)) => return live,
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "could not look whether a live alert has begun"),
            }
            tokio::select! {
                () = self.drills.live.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Texts and checks. Nothing leaves this process but the look whether the linked page answers.
    async fn tabletop(&self, drill: &Drill, report: &mut Report) -> Ended {
        let began = Instant::now();
        let preview = match self.preview(&request(drill)).await {
            Ok(preview) => preview,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        let took = millis(began.elapsed());
        let block = |findings: &[crate::check::Finding]| {
            let first = findings.iter().find(|f| f.level == FindingLevel::Block);
            first.map(|finding| finding.text.clone())
        };
        let whole = block(&preview.findings);
        let accounts = preview.accounts.iter().map(|account| {
            let by_hand = crate::channel::kind(&account.channel).is_some_and(|kind| kind.can.by_hand);
            let blocked = block(&account.findings).or_else(|| whole.clone());
            let outcome = match (&blocked, &account.text) {
                (None, Some(_)) if by_hand => Outcome::ByHand,
                (None, Some(_)) => Outcome::Done,
                _ => Outcome::Missed,
            };
            let mut one = AccountResult::of(&account.account, &account.channel, outcome);
            one.after_ms = (outcome == Outcome::Done).then_some(took);
            one.stands_in_for.clone_from(&account.stands_in_for);
            one.text = blocked;
            one
        });
        report.count(accounts.collect());
        Ended::Whole
    }

    /// Every account is asked; nothing is published.
    async fn reach(&self, config: &Config, drill: &Drill, report: &mut Report) -> Ended {
        let accounts = match config.select(&drill.to) {
            Ok(accounts) => accounts,
            Err(error) => return Ended::Failed(error),
        };
        let ids: Vec<_> = accounts.iter().map(|account| account.id.clone()).collect();
        let answers = match self
            .verify(&ids, false, Actor(format!("drill {}", report.run)))
            .await
        {
            Ok(answers) => answers,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        let accounts = answers.iter().map(|answer| {
            let by_hand = crate::channel::kind(&answer.channel).is_some_and(|kind| kind.can.by_hand);
            let outcome = if by_hand {
                Outcome::ByHand
            } else if answer.reachable {
                Outcome::Done
            } else {
                Outcome::Missed
            };
            let mut one = AccountResult::of(&answer.account, &answer.channel, outcome);
            one.attempts = u32::from(!by_hand);
            one.after_ms = (outcome == Outcome::Done).then_some(answer.duration_ms);
            one.text = answer.error.as_ref().map(ToString::to_string);
            one
        });
        report.count(accounts.collect());
        Ended::Whole
    }

    /// Everything, against the practice wall.
    async fn rehearse(
        &self,
        run: &DrillRun,
        drill: &Drill,
        number: i64,
        report: &mut Report,
    ) -> Result<Ended, StoreError> {
        // Those of another level are none: the configuration sees to it.
        let faults: &[Injection] = if drill.level == Level::Rehearse {
            &drill.faults
        } else {
            &[]
        };
        self.inject(faults);
        let ended = self.rehearse_with(run, drill, number, faults, report).await;
        self.inject(&[]);
        ended
    }

    async fn rehearse_with(
        &self,
        run: &DrillRun,
        drill: &Drill,
        number: i64,
        faults: &[Injection],
        report: &mut Report,
    ) -> Result<Ended, StoreError> {
        let mut changes = self.subscribe();
        // The key makes a repeat after a crash the same broadcast.
        let key = format!("drill/{}", run.id);
        let actor = Actor(format!("drill {}", run.id));
        let sent = match Box::pin(self.send(request(drill), actor, Some(key))).await {
            Ok(sent) => sent,
            Err(AppError::Store(error @ (StoreError::Engine(_) | StoreError::Closed))) => return Err(error),
            Err(error) => return Ok(Ended::Failed(error.to_string())),
        };
        let id = sent.broadcast;
        let known = DrillChange::Broadcast(run.id.clone(), id.clone());
        self.store.drill(known, self.now()).await?;
        let ends = Instant::now() + drill.ends_after;
        let live = self.live_after(number);
        tokio::pin!(live);
        loop {
            let so_far = match self.brief_report(&id).await {
                Ok(so_far) => so_far,
                Err(AppError::Store(error)) => return Err(error),
                Err(error) => return Ok(Ended::Failed(error.to_string())),
            };
            if is_over(&so_far) {
                report.rehearsed(&so_far, &so_far, faults, Outcome::Missed);
                return Ok(Ended::Whole);
            }
            let is_late = Instant::now() >= ends;
            if is_late || (so_far.finished_at.is_none() && is_covered(&so_far)) {
                if is_late {
                    let text = "Övningens tid tog slut. Det som inte hade kommit ut då räknas som missat och har stoppats.";
                    report.notes.push(text.to_owned());
                }
                self.stop_open(&id).await?;
                let after = self.told_of(&id).await;
                report.rehearsed(
                    &so_far,
                    after.as_ref().unwrap_or(&so_far),
                    faults,
                    Outcome::Missed,
                );
                return Ok(Ended::Whole);
            }
            tokio::select! {
                biased;
                live = &mut live => {
                    self.stop_broadcast(&id, LIVE_FIRST).await?;
                    if let Ok(stopped) = self.brief_report(&id).await {
                        report.rehearsed(&stopped, &stopped, faults, Outcome::Stopped);
                    }
                    return Ok(Ended::Suspended(live));
                }
                () = tokio::time::sleep_until(ends.min(Instant::now() + LOOK)) => {}
                _ = changes.recv() => tokio::time::sleep(GATHER).await,
            }
        }
    }

    /// The report of a broadcast once its confirmation is out, or after a while.
    async fn told_of(&self, id: &BroadcastId) -> Option<BroadcastReport> {
        let until = Instant::now() + TOLD;
        loop {
            let report = self.brief_report(id).await.ok()?;
            if is_over(&report) || Instant::now() >= until {
                return Some(report);
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Stops what of a broadcast is still tried. What waits for a person goes on waiting: that it is handed over, and told
    /// of, belongs to the drill.
    async fn stop_open(&self, id: &BroadcastId) -> Result<(), StoreError> {
        let until = Instant::now() + STOPPING;
        loop {
            let report = match self.brief_report(id).await {
                Ok(report) => report,
                Err(AppError::Store(error)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let accounts: BTreeSet<AccountId> = [&report.deliveries, &report.stand_ins, &report.pins]
                .into_iter()
                .flatten()
                .filter(|delivery| delivery.state.is_open())
                .map(|delivery| delivery.account.clone())
                .chain(
                    report
                        .recipients
                        .iter()
                        .filter(|counted| counted.standing().any(State::is_open))
                        .map(|counted| counted.account.clone()),
                )
                .collect();
            if accounts.is_empty() || Instant::now() >= until {
                return Ok(());
            }
            let cancel = ActionRequest {
                action: Action::Cancel,
                accounts: accounts.into_iter().collect(),
                url: None,
                reason: Some("the drill has come to its end".to_owned()),
            };
            match self.act(id, cancel, Actor::daemon()).await {
                Ok(_) => {}
                Err(AppError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(broadcast.id = %id, %error, "a drill's broadcast is not stopped");
                }
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Stops all of a broadcast that has not gone out, until nothing of it is open.
    async fn stop_broadcast(&self, id: &BroadcastId, why: &str) -> Result<(), StoreError> {
        let until = Instant::now() + STOPPING;
        loop {
            let cancel = ActionRequest {
                action: Action::Cancel,
                accounts: Vec::new(),
                url: None,
                reason: Some(why.to_owned()),
            };
            match self.act(id, cancel, Actor::daemon()).await {
                Ok(_) => {}
                Err(AppError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(broadcast.id = %id, %error, "a drill's broadcast is not stopped");
                }
            }
            if !self.store.is_open(id).await? {
                return Ok(());
            }
            if Instant::now() >= until {
                tracing::warn!(broadcast.id = %id, "a drill's broadcast does not come to rest");
                return Ok(());
            }
            // What is under way comes back first.
            tokio::time::sleep(GATHER).await;
        }
    }

    /// The real services, where the public cannot see.
    async fn backstage(
        &self,
        run: &DrillRun,
        config: &Config,
        drill: &Drill,
        number: i64,
        report: &mut Report,
    ) -> Ended {
        let now = self.now();
        let request = request(drill);
        let nobody = std::collections::BTreeSet::new();
        let drafted = plan::draft(config, &request, &nobody, Some(Mode::Drill), now, self.http());
        let draft = match Box::pin(drafted).await {
            Ok(draft) => draft,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        if crate::check::is_blocked(&draft.findings) {
            return Ended::Failed(AppError::Stopped(draft.findings).to_string());
        }
        let Some(texts) = &draft.plan else {
            return Ended::Failed("Ingen text gick att skriva.".to_owned());
        };
        let stopped = AtomicBool::new(false);
        let began = Instant::now();
        let mut turns: Vec<BoxFuture<'_, AccountResult>> = Vec::with_capacity(draft.accounts.len());
        for account in &draft.accounts {
            let text = texts.rendering(&account.id).cloned();
            let stopped = &stopped;
            turns.push(Box::pin(async move {
                // What is under way goes to its end: nothing of ours is left lying about.
                if stopped.load(Ordering::SeqCst) {
                    return AccountResult::of(&account.id, account.channel.id, Outcome::Stopped);
                }
                self.behind_the_stage(run, account, text, began).await
            }));
        }
        let work = futures::stream::iter(turns)
            .buffered(AT_ONCE)
            .collect::<Vec<AccountResult>>();
        tokio::pin!(work);
        let live = self.live_after(number);
        let live = tokio::select! {
            biased;
            accounts = &mut work => {
                report.count(accounts);
                return Ended::Whole;
            }
            live = live => live,
        };
        stopped.store(true, Ordering::SeqCst);
        report.count(work.await);
        Ended::Suspended(live)
    }

    async fn behind_the_stage(
        &self,
        run: &DrillRun,
        account: &Account,
        text: Option<crate::model::Rendering>,
        began: Instant,
    ) -> AccountResult {
        let of = |outcome| AccountResult::of(&account.id, account.channel.id, outcome);
        if account.channel.can.by_hand {
            return of(Outcome::ByHand);
        }
        let Some(mut rendering) = text.filter(|_| account.channel.can.backstage) else {
            return of(Outcome::NotPossible);
        };
        // A picture would have to stand where its service fetches it from: in public.
        rendering.picture = None;
        let valid_until = later(self.now(), LONGEST_TURN);
        let post = unbound(
            &run.drill,
            run.begun_at,
            DeliveryId::fresh(),
            rendering,
            Purpose::Publish,
            // Nobody of a list: a list account tries its own test address, or nobody's.
            None,
            valid_until,
        );
        let answer = match (self.unseen(&account.id), post) {
            (Ok(unseen), Ok(post)) => unseen.backstage(&post).await,
            (Err(reason), _) => Err(SendError::NotSent(reason)),
            (_, Err(error)) => Err(error),
        };
        match answer {
            // What lies in a place of our own that keeps it, only a person can read.
            Ok(seen) if seen.read_back || !seen.removed => {
                let mut one = of(Outcome::Done);
                one.attempts = 1;
                one.after_ms = Some(millis(began.elapsed()));
                one.text = Some(if !seen.read_back {
                    format!("{}, where only a person can read it", seen.place)
                } else if seen.removed {
                    format!("{}, read back and taken away", seen.place)
                } else {
                    format!("{}, read back; it vanishes by itself", seen.place)
                });
                one
            }
            Ok(seen) => {
                let mut one = of(Outcome::Missed);
                one.attempts = 1;
                one.text = Some(format!(
                    "{}, but it could not be read back as it was written",
                    seen.place
                ));
                one
            }
            Err(SendError::Refused(reason)) if reason.code == "no-backstage" => of(Outcome::NotPossible),
            Err(error) => {
                let mut one = of(Outcome::Missed);
                one.attempts = 1;
                one.text = Some(error.reason().to_string());
                one
            }
        }
    }
}

fn new_report(run: &DrillRun) -> Report {
    let mut report = Report::begin(&run.id, &run.drill, run.level, &run.actor.0);
    report.planned_at = run.planned_at;
    report.broadcast.clone_from(&run.broadcast);
    report
}

/// What the drill says, as an order for it.
fn request(drill: &Drill) -> SendRequest {
    SendRequest {
        message: drill.message.clone(),
        fields: drill.fields.clone(),
        to: drill.to.clone(),
        mode: Some(Mode::Drill),
        languages: Vec::new(),
        alert: None,
        kind: None,
        picture: None,
        overrides: std::collections::BTreeMap::new(),
    }
}

/// Whether a rehearsal has come to its end: the broadcast, and the mails that tell of it.
fn is_over(report: &BroadcastReport) -> bool {
    let mails = &report.confirmations;
    report.finished_at.is_some() && !mails.is_empty() && mails.iter().all(|mail| !mail.state.is_open())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
