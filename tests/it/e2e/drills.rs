//! Drills by the binary: each level, planned and missed, with faults, and with a live alert in the middle. The public's
//! ledgers stay empty throughout.

use serde_json::Value;

use crate::api::{document, fits};
use crate::support::{Account, CRISIS, Daemon, PATIENCE, Plan, World, every_channel, list, meddle, states};

const DRILL: &str =
    "[drill.ovning]\nmessage = \"koka-vattnet\"\nto = [\"alla\"]\nfields = { omrade = \"Forserum\" }\n";

fn drilled(accounts: Vec<Account>, more: &str) -> Plan {
    Plan::of(accounts).list(&format!("{DRILL}{more}"))
}

async fn stop(mut daemon: Daemon) {
    daemon.sigterm();
    assert_eq!(daemon.ended(PATIENCE).await, Some(0), "{}", daemon.said());
}

/// Waits until a run, or the latest one of a drill, is as asked.
async fn until(world: &World, run: &str, is: impl Fn(&Value) -> bool) -> Value {
    let patience = std::time::Instant::now() + PATIENCE;
    loop {
        let path = format!("/api/v1/drill-runs/{run}");
        let answer = world.ask("GET", &path, None, None).await;
        if let Some((200, run)) = &answer
            && is(run)
        {
            return run.clone();
        }
        assert!(
            std::time::Instant::now() < patience,
            "{run} never came so far: {answer:#?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until everybody has been told of a run.
async fn told(world: &World, run: &str) -> Value {
    until(world, run, |run| {
        let mails = list(run, "mails");
        !mails.is_empty() && mails.iter().all(|mail| mail["sent"] == true)
    })
    .await
}

/// The subjects of the mails that reached anybody, those about drills only.
fn subjects(world: &World) -> Vec<String> {
    let mails = world.confirmations().into_iter().filter_map(|mail| mail.subject);
    mails
        .filter(|subject| subject.starts_with("ÖVNING: ovning."))
        .collect()
}

fn outcome<'r>(run: &'r Value, account: &str) -> &'r Value {
    let accounts = list(&run["report"], "accounts");
    accounts
        .iter()
        .find(|one| one["account"] == account)
        .unwrap_or_else(|| panic!("no {account}: {run:#}"))
}

/// What the accounts that the public sees were asked, whether or not they did anything.
fn asked(world: &World) -> Vec<String> {
    let seen = world.wall.seen().into_iter();
    seen.filter(|seen| seen.method != "SMTP" && seen.account.as_str() != "smtp")
        .map(|seen| format!("{} {} {}", seen.account, seen.method, seen.path))
        .collect()
}

#[tokio::test]
async fn a_rehearsal_is_carried_out_graded_and_told() {
    let world = World::open(drilled(
        every_channel(),
        "tell = [\"ovning@nassjo.se\"]\n[drill.ovning.grade]\nall_within = \"5m\"\nmost_misses = 0\nconfirmed_within = \"5m\"\n",
    ))
    .await;
    let _daemon = world.start().await;
    let drills = world.cli(&["drill", "list", "--json"]).await.ended(0).json();
    assert_eq!(drills[0]["drill"], "ovning");
    assert_eq!(
        (&drills[0]["last"], &drills[0]["next"]),
        (&Value::Null, &Value::Null)
    );

    let run = world
        .cli(&["drill", "run", "ovning", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(
        (&run["run"], &run["state"], &run["passed"]),
        (&"ovning.1".into(), &"finished".into(), &true.into())
    );
    let report = &run["report"];
    // Seven accounts; the radio is rung by a person, whom a drill does not ask.
    assert_eq!(
        (&report["all"], &report["out"], &report["misses"]),
        (&7.into(), &7.into(), &0.into()),
        "{report:#}"
    );
    assert_eq!(outcome(&run, "radio")["outcome"], "by-hand");
    assert_eq!(outcome(&run, "press")["recipients"], serde_json::json!([2, 2]));
    let (first, last) = (
        report["first_ms"].as_u64().unwrap(),
        report["last_ms"].as_u64().unwrap(),
    );
    assert!(first <= last && last < 300_000, "{report:#}");
    assert_eq!(report["confirmation"]["sent"], CRISIS.len());
    assert_eq!(report["approvals"]["asked"], 0);
    assert_eq!(report["grade"]["decided"], "confirmed_within");
    assert_eq!(report["before"], serde_json::json!([]));

    // The same code, and nothing of it in public.
    assert_eq!(world.posts(), []);
    assert_eq!(asked(&world), Vec::<String>::new());
    let broadcast = run["broadcast"].as_str().unwrap();
    assert!(broadcast.starts_with("ovning-"), "{broadcast}");
    assert_eq!(world.report(broadcast).await["mode"], "drill");

    let run = told(&world, "ovning.1").await;
    assert_eq!(list(&run, "mails")[0]["recipient"], "o…@nassjo.se");
    assert_eq!(subjects(&world), ["ÖVNING: ovning.1 godkänd, 7 av 7 konton"]);
    let page = world.get("/api/v1/drill-runs/ovning.1/page").await;
    let page = page.as_str().unwrap();
    for part in ["<svg", "<table", "Övningen är godkänd.", "facebook"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let html = world
        .cli(&["drill", "report", "ovning.1", "--html"])
        .await
        .ended(0);
    assert_eq!(html.stdout.trim_end(), page.trim_end());

    // A second run is compared with the first; a drill's own name means its latest run.
    let second = ["drill", "run", "ovning", "--level", "tabletop"];
    let said = world.cli(&second).await.ended(0);
    assert!(said.stdout.contains("before: ovning.1 passed"), "{said:?}");
    let latest = world
        .cli(&["drill", "report", "ovning", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(latest["run"], "ovning.2");
    assert_eq!(latest["report"]["before"][0]["run"], "ovning.1");
    let trend = world
        .cli(&["drill", "trend", "ovning", "--json"])
        .await
        .ended(0)
        .json();
    let runs: Vec<&Value> = trend.as_array().unwrap().iter().map(|run| &run["run"]).collect();
    assert_eq!(runs, ["ovning.1", "ovning.2"]);
    let said = world.cli(&["drill", "trend"]).await.ended(0);
    assert_eq!(said.stdout.matches("passed").count(), 2, "{said:?}");
    let status = world.cli(&["status"]).await.ended(0);
    assert!(status.stdout.contains("last ovning.2 passed"), "{status:?}");

    // What the API says of itself is so.
    let document = document();
    for (path, route) in [
        ("/api/v1/drills", "/api/v1/drills"),
        ("/api/v1/drill-runs?drill=ovning", "/api/v1/drill-runs"),
        ("/api/v1/drill-runs/ovning.1", "/api/v1/drill-runs/{id}"),
    ] {
        fits(&document, route, "get", 200, &world.get(path).await);
    }
    let begun = world
        .ask("POST", "/api/v1/drills/ovning/runs", None, None)
        .await
        .unwrap();
    assert_eq!(begun.0, 202);
    fits(&document, "/api/v1/drills/{id}/runs", "post", 202, &begun.1);

    // Bad paths.
    let said = world.cli(&["drill", "run", "ovnng"]).await.ended(1);
    assert!(said.stderr.contains("there is no drill ovnng"), "{said:?}");
    world.cli(&["drill", "report", "ovning.9"]).await.ended(1);
    world.cli(&["drill", "run", "../status"]).await.ended(2);
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn a_drill_at_each_level_leaves_the_public_ledgers_empty() {
    let world = World::open(drilled(every_channel(), "")).await;
    let _daemon = world.start().await;

    let run = world
        .cli(&["drill", "run", "ovning", "--level", "tabletop", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!((&run["out"], &run["all"]), (&7.into(), &7.into()), "{run:#}");
    assert_eq!(asked(&world), Vec::<String>::new(), "nothing is asked at a table");
    assert_eq!(run["broadcast"], Value::Null);

    let run = world
        .cli(&["drill", "run", "ovning", "--level", "reach", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!((&run["out"], &run["all"]), (&7.into(), &7.into()), "{run:#}");
    assert_eq!(outcome(&run, "mastodon")["outcome"], "done");
    assert!(
        asked(&world)
            .iter()
            .any(|asked| asked.starts_with("mastodon GET")),
        "the real service was asked"
    );

    // What cannot do it says so, and is not counted.
    let said = world
        .cli(&["drill", "run", "ovning", "--level", "backstage", "--json"])
        .await;
    let run = said.json();
    assert_eq!(run["state"], "finished", "{run:#}");
    for one in list(&run["report"], "accounts") {
        let can = ["done", "not-possible", "by-hand"].map(Value::from);
        assert!(can.contains(&one["outcome"]), "{one:#}");
    }
    assert_eq!(said.code, if run["passed"] == true { 0 } else { 3 });

    world
        .cli(&["drill", "run", "ovning", "--level", "rehearse"])
        .await
        .ended(0);
    let standing: Vec<_> = world
        .posts()
        .into_iter()
        .filter(|post| post.deleted_at.is_none())
        .collect();
    assert_eq!(standing, []);
    for run in ["ovning.1", "ovning.2", "ovning.3", "ovning.4"] {
        told(&world, run).await;
    }

    // An account that does not answer is a miss, and a miss is not passed.
    world.fault(
        "mastodon",
        vardkase::wall::How::Answer {
            status: 401,
            headers: Vec::new(),
            body: None,
        },
        0,
    );
    let run = world
        .cli(&["drill", "run", "ovning", "--level", "reach", "--json"])
        .await
        .ended(3)
        .json();
    assert_eq!(outcome(&run, "mastodon")["outcome"], "missed");
    assert_eq!(run["report"]["grade"]["decided"], "published_percent");
    let said = world.cli(&["drill", "report", "ovning"]).await.ended(3);
    assert!(
        said.stdout.contains("published_percent  BROKEN (decided)"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_drill_backstage_comes_near_nobody_of_a_list() {
    let accounts = vec![
        Account::new("sms", "sms-46elks"),
        Account::new("press", "email").with("backstage_to = \"prov@nassjo.se\""),
    ];
    let world = World::open(drilled(accounts, "")).await;
    let _daemon = world.start().await;
    let run = world
        .cli(&["drill", "run", "ovning", "--level", "backstage", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(outcome(&run, "sms")["outcome"], "done", "{run:#}");
    assert_eq!(outcome(&run, "press")["outcome"], "done", "{run:#}");
    // A mail is a mail: the sink does not know whose address is ours.
    let near: Vec<String> = world
        .posts()
        .into_iter()
        .chain(world.wall.backstage())
        .filter_map(|posted| posted.recipient)
        .collect();
    assert!(near.contains(&"prov@nassjo.se".to_owned()), "{near:?}");
    assert_eq!(near.len(), 2, "{near:?}");
    let listed = crate::support::NUMBERS.iter().chain(&crate::support::PRESS);
    for address in listed {
        assert!(!near.iter().any(|to| to == address), "{address} in {near:?}");
    }
}

#[tokio::test]
async fn a_drill_that_was_missed_is_told_and_not_run_late() {
    let notice = "schedule = \"0 3 * * *\"\nnotice = { before = \"2days\", text = \"Vi övar <i> natt.\" }\n";
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plan = drilled(vec![Account::new("intranat", "webhook")], notice)
        .daemon(&format!("public_listen = \"{port}\""));
    let world = World::open(plan).await;
    let daemon = world.start().await;
    let drills = world.get("/api/v1/drills").await;
    assert!(drills[0]["next"].is_string(), "{drills:#}");
    // The public is told beforehand, and cannot do anything.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client
        .get(format!("http://{port}/ovningar"))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("Vi övar &lt;i&gt; natt."), "{page}");
    let times: Value = client
        .get(format!("http://{port}/ovningar.json"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(times.as_array().unwrap().len(), 2, "two nights: {times}");
    assert_eq!(times[0]["at"], drills[0]["next"]);
    let nothing = client
        .get(format!("http://{port}/api/v1/drills"))
        .send()
        .await
        .unwrap();
    assert_eq!(nothing.status(), 404);
    stop(daemon).await;

    // Three nights without a daemon.
    let three_nights = "UPDATE drill_seen SET seen_at = seen_at - CAST(3 * 24 * 3600 AS BIGINT) * 1000000";
    meddle(&world, three_nights).await;
    let daemon = world.start().await;
    let run = told(&world, "ovning").await;
    assert_eq!(
        (&run["run"], &run["state"], &run["passed"]),
        (&"ovning.1".into(), &"missed".into(), &Value::Null)
    );
    assert_eq!(list(&run["report"], "missed").len(), 3, "{run:#}");
    assert_eq!(
        (&run["started_at"], &run["broadcast"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(subjects(&world), ["ÖVNING: ovning.1 utebliven"; CRISIS.len()]);
    let said = world.cli(&["drill", "report", "ovning"]).await.ended(3);
    assert_eq!(said.stdout.matches("missed:").count(), 3, "{said:?}");
    assert_eq!(
        list(&world.get("/api/v1/status").await, "broadcasts").len(),
        0,
        "nothing ran"
    );
    stop(daemon).await;

    // And each is told once.
    let _daemon = world.start().await;
    assert_eq!(world.get("/api/v1/drill-runs").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_planned_drill_runs_by_itself() {
    let plan = drilled(
        vec![Account::new("intranat", "webhook")],
        "schedule = \"* * * * *\"\nlevel = \"tabletop\"\n",
    );
    let world = World::open(plan).await;
    let daemon = world.start().await;
    stop(daemon).await;
    // So that a minute has begun since, whatever the second.
    meddle(
        &world,
        "UPDATE drill_seen SET seen_at = seen_at - 61000000; DELETE FROM mail; DELETE FROM drill_run",
    )
    .await;
    let _daemon = world.start().await;
    until(&world, "ovning", |run| run["state"] == "finished").await;
    let run = told(&world, "ovning").await;
    assert_eq!(
        (&run["state"], &run["passed"], &run["actor"]),
        (&"finished".into(), &true.into(), &"daemon".into())
    );
    assert!(run["planned_at"].as_str().unwrap().ends_with(":00Z"), "{run:#}");
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn a_live_alert_suspends_the_drill_at_once() {
    let plan = drilled(
        vec![
            Account::new("mastodon", "mastodon"),
            Account::new("intranat", "webhook"),
        ],
        "[[drill.ovning.faults]]\nwhat = \"dead\"\naccount = \"mastodon\"\n",
    );
    let world = World::open(plan).await;
    let _daemon = world.start().await;
    world.cli(&["drill", "run", "ovning", "--no-wait"]).await.ended(0);
    let run = until(&world, "ovning.1", |run| run["broadcast"].is_string()).await;
    let broadcast = run["broadcast"].as_str().unwrap().to_owned();
    world
        .until(&broadcast, "tried", |report| {
            states(report, "intranat") == ["published"]
                && list(report, "deliveries")
                    .iter()
                    .any(|d| d["account"] == "mastodon" && d["attempts"] != 0)
        })
        .await;

    let (code, live) = world.send(&[]).await;
    assert_eq!(code, 0, "the alert is out: {live:#}");
    let run = told(&world, "ovning.1").await;
    assert_eq!(
        (&run["state"], &run["passed"]),
        (&"suspended".into(), &Value::Null)
    );
    let notes = run["report"]["notes"].to_string();
    assert!(notes.contains(live["alert"].as_str().unwrap()), "{notes}");
    let stopped = world.report(&broadcast).await;
    assert_eq!(states(&stopped, "mastodon"), ["cancelled"], "{stopped:#}");
    assert_eq!(outcome(&run, "intranat")["outcome"], "done");
    assert_ne!(outcome(&run, "mastodon")["outcome"], "done");
    let finished: vardkase::clock::Timestamp = run["finished_at"].as_str().unwrap().parse().unwrap();
    let accepted: vardkase::clock::Timestamp = live["accepted_at"].as_str().unwrap().parse().unwrap();
    assert!(finished.duration_since(accepted).as_secs() < 10, "{run:#}");
    assert!(subjects(&world)[0].contains("avbruten"), "{:?}", subjects(&world));
    // The alert alone is in public.
    assert_eq!(world.posts().len(), 2);
    assert!(world.posts().iter().all(|post| !post.text.contains("ÖVNING")));
    world.cli(&["drill", "report", "ovning.1"]).await.ended(3);

    // While the alert stands, no drill begins.
    let said = world.cli(&["drill", "run", "ovning"]).await.ended(1);
    assert!(
        said.stderr.contains("a drill does not start beside it"),
        "{said:?}"
    );
    let alert = live["alert"].as_str().unwrap();
    let over = ["--alert", alert, "--kind", "all-clear"];
    world.send(&over).await;
    world
        .cli(&["drill", "run", "ovning", "--level", "tabletop"])
        .await
        .ended(0);
}

#[tokio::test]
async fn what_is_made_to_fail_shows_who_takes_over_and_works_again_afterwards() {
    let plan = drilled(
        vec![
            Account::new("mastodon", "mastodon")
                .with("fallback = \"intranat\"")
                .with("fallback_after = \"1s\""),
            Account::new("intranat", "webhook").with("groups = [\"reserv\"]"),
            Account::new("facebook", "facebook-page"),
            Account::new("press", "email"),
        ],
        "[[drill.ovning.faults]]\nwhat = \"dead\"\naccount = \"mastodon\"\n\
         [[drill.ovning.faults]]\nwhat = \"token-expired\"\naccount = \"facebook\"\n\
         [[drill.ovning.faults]]\nwhat = \"relay-down\"\nrelay = \"relay-kommun\"\n\
         [drill.ovning.grade]\npublished_percent = 60\nmost_misses = 1\n\
         [[relay]]\nid = \"relay-reserv\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\n",
    );
    let world = World::open(plan).await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    let text = text.replacen(
        "to = [\"alla\"]\nfields",
        "to = [\"mastodon\", \"facebook\", \"press\"]\nends_after = \"20s\"\nfields",
        1,
    );
    std::fs::write(&world.config, text).unwrap();
    let _daemon = world.start().await;
    let run = world
        .cli(&["drill", "run", "ovning", "--json"])
        .await
        .ended(0)
        .json();
    let report = &run["report"];
    assert_eq!(
        (&report["all"], &report["out"], &report["misses"]),
        (&3.into(), &2.into(), &1.into()),
        "{report:#}"
    );
    assert_eq!(outcome(&run, "mastodon")["outcome"], "covered");
    assert_eq!(outcome(&run, "mastodon")["covered_by"], "intranat");
    assert_eq!(outcome(&run, "intranat")["stands_in_for"], "mastodon");
    assert_eq!(outcome(&run, "facebook")["outcome"], "missed");
    assert_eq!(outcome(&run, "press")["outcome"], "done");
    let shown = list(report, "faults");
    let said: Vec<(&Value, &str)> = shown
        .iter()
        .map(|f| (&f["coped"], f["showed"].as_str().unwrap()))
        .collect();
    assert!(said[0].1.contains("Reservkontot intranat tog över"), "{said:?}");
    assert!(said[1].1.contains("lämnade över det till en person"), "{said:?}");
    assert!(said[2].1.contains("nästa mejlserver"), "{said:?}");
    assert!(said.iter().all(|(coped, _)| **coped == true), "{said:?}");
    // The confirmation went by the relay that was down in the drill only.
    assert_eq!(report["confirmation"]["sent"], CRISIS.len());
    assert_eq!(world.posts(), []);

    // Nothing fails any more.
    let (code, after) = world
        .send(&[
            "--mode", "drill", "--to", "mastodon", "--to", "facebook", "--to", "press",
        ])
        .await;
    assert_eq!(code, 0, "{after:#}");
}

/// What somebody may have made of the rows of a drill that was accepted and not sent yet.
const EDITS: [&str; 4] = [
    "UPDATE delivery SET mode = 'live'",
    "UPDATE broadcast SET mode = 'live'",
    "UPDATE delivery SET mode = 'live'; UPDATE broadcast SET mode = 'live'",
    "UPDATE delivery SET mode = 'live'; UPDATE broadcast SET mode = 'live'; UPDATE alert SET mode = 'live'",
];

#[tokio::test]
async fn a_drill_whose_rows_were_edited_to_live_is_held_and_never_sent() {
    for edit in EDITS {
        let world = World::open(Plan::of(vec![
            Account::new("mastodon", "mastodon"),
            Account::new("intranat", "webhook"),
        ]))
        .await;
        let mut daemon = world.spawn_with(
            &world.config,
            &[],
            &[("VARDKASE_FAILPOINT", "accept-commit.after")],
        );
        world.ready(&mut daemon).await;
        let args = [
            "send",
            "koka-vattnet",
            "-f",
            "omrade=Forserum",
            "--mode",
            "drill",
            "--yes",
        ];
        world.cli(&args).await;
        daemon.ended(PATIENCE).await;
        meddle(&world, edit).await;
        let _daemon = world.start().await;
        let broadcast = "ovning-2026-0001.1".replace("2026", &year());
        let report = world
            .until(&broadcast, "settled", |report| report["state"] != "running")
            .await;
        for delivery in list(&report, "deliveries") {
            assert_eq!(delivery["state"], "held", "{edit}: {delivery:#}");
            assert_eq!(delivery["error"]["code"], "mode-mismatch", "{edit}");
        }
        assert_eq!(world.posts(), [], "{edit}");
        assert_eq!(asked(&world), Vec::<String>::new(), "{edit}");
    }
}

fn year() -> String {
    use vardkase::clock::{Clock, SystemClock};
    let stockholm = jiff::tz::TimeZone::get("Europe/Stockholm").unwrap();
    stockholm.to_datetime(SystemClock.now()).year().to_string()
}

#[tokio::test]
async fn a_drill_stays_on_the_wall_whatever_the_configuration_has_become_since() {
    let world = World::open(Plan::of(vec![
        Account::new("intranat", "webhook"),
        Account::new("annan", "webhook"),
    ]))
    .await;
    // Two accounts at one address, and then another channel under the name of the first.
    let address = |text: &str, account: &str| {
        let (_, after) = text.split_once(&format!("[account.{account}]")).unwrap();
        let line = after.lines().find(|line| line.starts_with("endpoint")).unwrap();
        line.to_owned()
    };
    let text = std::fs::read_to_string(&world.config).unwrap();
    let same = text.replace(&address(&text, "annan"), &address(&text, "intranat"));
    std::fs::write(&world.config, &same).unwrap();
    let mut daemon = world.spawn_with(
        &world.config,
        &[],
        &[("VARDKASE_FAILPOINT", "accept-commit.after")],
    );
    world.ready(&mut daemon).await;
    let args = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--mode",
        "drill",
        "--yes",
    ];
    world.cli(&args).await;
    daemon.ended(PATIENCE).await;
    let swapped = same.replacen(
        "[account.intranat]\nchannel = \"webhook\"",
        "[account.intranat]\nchannel = \"http-json\"",
        1,
    );
    assert_ne!(swapped, same);
    std::fs::write(&world.config, &swapped).unwrap();
    let _daemon = world.start().await;
    let broadcast = "ovning-2026-0001.1".replace("2026", &year());
    let report = world
        .until(&broadcast, "settled", |report| report["state"] != "running")
        .await;
    assert_eq!(states(&report, "annan"), ["published"], "{report:#}");
    assert_eq!(world.posts(), []);
    assert_eq!(asked(&world), Vec::<String>::new());
}
