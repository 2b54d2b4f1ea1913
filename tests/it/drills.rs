//! Reports of drills as people read them, and a year of drills in seconds.

use std::sync::Arc;
use std::time::Duration;

use vardkase::clock::{Clock, TestClock, Timestamp};
use vardkase::config::Municipality;
use vardkase::drill::report::{AccountResult, Confirmed, Earlier, FaultShown, Outcome, Report};
use vardkase::drill::{Rules, page};
use vardkase::model::{AccountId, Injection, Level, RunState};

use crate::support::{Account, NODE, PATIENCE, Plan, World};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn municipality() -> Municipality {
    Municipality {
        name: "Nässjö kommun".to_owned(),
        site: "https://nassjo.se".parse().unwrap(),
        hosts: std::iter::once("nassjo.se".to_owned()).collect(),
        languages: vec![vardkase::model::Lang::Sv],
        time_zone: "Europe/Stockholm".to_owned(),
        fallback_link: None,
    }
}

fn report(state: RunState) -> Report {
    let mut report = Report::begin("manadsovning.12", "manadsovning", Level::Rehearse, "daemon");
    report.state = state;
    report.planned_at = Some(at("2026-12-07T09:00:00Z"));
    report.started_at = Some(at("2026-12-07T09:00:00.2Z"));
    report.finished_at = Some(at("2026-12-07T09:02:10Z"));
    report
}

fn account(name: &str, channel: &str, outcome: Outcome, after_ms: Option<u64>) -> AccountResult {
    let mut one = AccountResult::of(&id(name), channel, outcome);
    one.after_ms = after_ms;
    one.attempts = 1;
    one
}

fn whole() -> Report {
    let mut report = report(RunState::Finished);
    report.broadcast = Some("ovning-2026-0012.1".parse().unwrap());
    let mut covered = account("mastodon-nassjo", "mastodon", Outcome::Covered, Some(61_000));
    covered.covered_by = Some(id("ntfy-nassjo"));
    covered.text = Some("503: <b>not now</b>".to_owned());
    let mut stand_in = account("ntfy-nassjo", "ntfy", Outcome::Done, Some(61_000));
    stand_in.stands_in_for = Some(id("mastodon-nassjo"));
    let mut press = account("epost-press", "email", Outcome::Done, Some(2_400));
    press.recipients = Some((24, 24));
    let mut missed = account("facebook-nassjo", "facebook-page", Outcome::Missed, None);
    missed.text = Some("credential refused".to_owned());
    report.count(vec![
        press,
        missed,
        account("intranat", "webhook", Outcome::Done, Some(310)),
        covered,
        stand_in,
        account("p4-jonkoping", "manual", Outcome::ByHand, None),
    ]);
    report.confirmation = Some(Confirmed {
        mails: 3,
        sent: 3,
        after_ms: Some(129_000),
    });
    report.faults = vec![
        FaultShown {
            fault: Injection::Dead(id("mastodon-nassjo")),
            showed: "Reservkontot ntfy-nassjo tog över efter 1 min 1 s.".to_owned(),
            coped: true,
        },
        FaultShown {
            fault: Injection::RelayDown(id("relay-kommun")),
            showed: "Mejlen kom inte ut: ingen annan mejlserver tog över.".to_owned(),
            coped: false,
        },
    ];
    report.graded(&Rules {
        all_within: Some(Duration::from_secs(30)),
        published_percent: 70,
        most_misses: Some(1),
        ..Rules::default()
    });
    let before = |run: &str, day: &str, state, passed, last_ms| Earlier {
        run: run.to_owned(),
        at: at(day),
        level: Level::Rehearse,
        state,
        passed,
        out: if passed.is_some() { 4 } else { 0 },
        all: if passed.is_some() { 4 } else { 0 },
        last_ms,
    };
    report.before = vec![
        before(
            "manadsovning.11",
            "2026-11-02T09:00:00Z",
            RunState::Finished,
            Some(true),
            Some(4_200),
        ),
        before(
            "manadsovning.10",
            "2026-10-05T08:00:00Z",
            RunState::Missed,
            None,
            None,
        ),
    ];
    report
}

#[test]
fn the_report_of_a_drill_as_mail_and_page() {
    let report = whole();
    assert_eq!((report.all, report.out, report.misses), (4, 3, 1));
    assert_eq!(report.grade.as_ref().unwrap().decided, "all_within");
    let mail = page::mail(&report, &municipality()).unwrap();
    insta::assert_snapshot!("drill_text", format!("{}\n\n{}", mail.headline, mail.text));
    let html = page::html(&report, &municipality()).unwrap();
    assert_eq!(mail.html.as_ref(), Some(&html));
    // What a service said is text, never markup; and what the chart shows stands in a table too.
    assert!(!html.contains("<b>not now"), "{html}");
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(html.matches("<table").count(), 3);
    assert!(!html.contains("src=") && !html.contains("<script"), "{html}");
    insta::assert_snapshot!("drill_html", html);
}

#[test]
fn the_report_of_a_drill_that_did_not_come_to_its_end() {
    let mut missed = report(RunState::Missed);
    missed.started_at = None;
    missed.missed = vec![at("2026-12-07T09:00:00Z")];
    let one = page::mail(&missed, &municipality()).unwrap();
    missed.missed.insert(0, at("2026-11-02T09:00:00Z"));
    missed.missed_more = 3;
    let many = page::mail(&missed, &municipality()).unwrap();
    let mut suspended = report(RunState::Suspended);
    suspended.count(vec![
        account("intranat", "webhook", Outcome::Done, Some(310)),
        account("facebook-nassjo", "facebook-page", Outcome::Stopped, None),
    ]);
    suspended.notes = vec!["Den skarpa varningen 2026-0007 går före.".to_owned()];
    let broken_off = page::mail(&suspended, &municipality()).unwrap();
    let mut failed = report(RunState::Failed);
    failed.notes = vec!["Övningen finns inte längre i konfigurationen.".to_owned()];
    let failed = page::mail(&failed, &municipality()).unwrap();
    let all = [one, many, broken_off, failed].map(|mail| format!("{}\n\n{}", mail.headline, mail.text));
    insta::assert_snapshot!("drill_text_without_end", all.join("\n\n=====\n\n"));
}

#[test]
fn the_announcement_escapes_what_it_says() {
    let soon = vec![(at("2026-12-07T09:00:00Z"), "Vi övar <script>.".to_owned())];
    insta::assert_snapshot!("drill_announced", page::notices(&soon, &municipality()).unwrap());
    let nothing = page::notices(&[], &municipality()).unwrap();
    assert!(nothing.contains("Ingen övning är planerad"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_drills_runs_in_seconds_each_once_and_what_was_missed_is_told() {
    let plan = Plan::of(vec![Account::new("intranat", "webhook")]).list(
        "[drill.veckovis]\nmessage = \"koka-vattnet\"\nto = [\"alla\"]\nfields = { omrade = \"Forserum\" }\n\
         schedule = \"30 2 * * SUN\"\nlevel = \"tabletop\"\n",
    );
    let world = World::open(plan).await;
    let clock = Arc::new(TestClock::at(at("2026-11-30T12:00:00Z")));
    let app = world.app(&clock, &world.practice(&clock).await).await;
    app.start(NODE.to_owned(), false).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let watcher = tokio::spawn(Arc::clone(&app).watch_drills(stop.clone()));

    let end = at("2027-11-30T12:00:00Z");
    // The daemon is down over Christmas: three Sundays.
    let down = at("2026-12-19T12:00:00Z")..at("2027-01-09T12:00:00Z");
    let mut next = app.look_at_drills().await.unwrap().unwrap();
    while next < end {
        let wait = next.duration_since(clock.now());
        clock.advance(wait);
        if !down.contains(&clock.now()) {
            app.look_at_drills().await.unwrap();
            let patience = std::time::Instant::now() + PATIENCE;
            while !app.store().drills_running().await.unwrap().is_empty() {
                assert!(std::time::Instant::now() < patience, "a run does not end");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // What the next look would wait for.
        let config = app.config();
        let schedule = config.drills["veckovis"].schedule.as_ref().unwrap();
        next = schedule.next(clock.now()).unwrap();
    }
    stop.cancel();
    watcher.await.unwrap();

    let runs = app.drill_runs(Some("veckovis"), 1000).await.unwrap();
    let missed: Vec<_> = runs.iter().filter(|run| run.state == RunState::Missed).collect();
    let ran: Vec<_> = runs
        .iter()
        .filter(|run| run.state == RunState::Finished)
        .collect();
    assert_eq!(missed.len(), 1, "told together: {missed:#?}");
    let told = app.drill_run(&missed[0].run).await.unwrap().report.unwrap();
    assert_eq!(told.missed.len(), 3, "{told:#?}");
    assert_eq!(ran.len(), 52 - 3);
    assert!(ran.iter().all(|run| run.passed == Some(true)));
    let mut planned: Vec<Timestamp> = ran.iter().filter_map(|run| run.planned_at).collect();
    planned.sort_unstable();
    planned.dedup();
    assert_eq!(planned.len(), ran.len(), "each once");
    // The spring night has no 02.30; the autumn night has two.
    assert!(planned.contains(&at("2027-03-28T01:00:00Z")), "{planned:?}");
    assert!(planned.contains(&at("2027-10-31T00:30:00Z")), "{planned:?}");
    assert!(!planned.contains(&at("2027-10-31T01:30:00Z")), "{planned:?}");
    assert_eq!(world.posts(), []);
    app.stop(Duration::from_secs(1)).await;
    app.store().close().await;
}
