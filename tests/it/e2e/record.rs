//! What is kept: a journal that shows tampering, a door for those who may, and no secret anywhere.

use std::os::unix::fs::PermissionsExt;

use sqlx::{Connection, SqliteConnection};
use vardkase::wall::{CutAt, How};

use crate::support::{Account, BINARY, CRISIS, Plan, World, every_channel, webhooks};

/// Changes the database behind the daemon's back.
async fn tamper(world: &World, sql: &'static str) {
    let file = world.data_dir.join("vardkase.db");
    let mut conn = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    let changed = sqlx::query(sql).execute(&mut conn).await.unwrap().rows_affected();
    assert_eq!(changed, 1, "{sql}");
    conn.close().await.unwrap();
}

#[tokio::test]
async fn the_journal_tells_all_and_shows_tampering() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let _daemon = world.start().await;
    let (_, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap();
    world.told(broadcast, CRISIS.len()).await;

    let said = world
        .cli(&[
            "log",
            "show",
            "--broadcast",
            broadcast,
            "--json",
            "--limit",
            "1000",
        ])
        .await
        .ended(0);
    for kind in ["accept", "attempt", "outcome", "finish"] {
        assert!(
            said.stdout.contains(&format!("\"kind\":\"{kind}\"")),
            "no {kind} in {said:?}"
        );
    }
    assert!(said.stdout.contains("Forserum"), "{said:?}");
    let whole = world.cli(&["log", "verify", "--json"]).await.ended(0).json();
    assert!(whole["broken"].is_null(), "{whole:#}");

    // The confirmation names a record and its hash: an anchor that nobody can rewrite afterwards.
    let mails = world.confirmations();
    let journal = world.get("/api/v1/journal").await;
    let named = journal.as_array().unwrap().iter().find(|record| {
        let hash: String = record["hash"].as_str().unwrap().chars().take(16).collect();
        mails.iter().all(|mail| mail.text.contains(&hash))
    });
    let named = named.expect("no mail names the journal's head");
    let anchor = format!("{}:{}", named["seq"], named["hash"].as_str().unwrap());
    world.cli(&["log", "verify", "--anchor", &anchor]).await.ended(0);
    let wrong = format!("{}:{}", named["seq"], "0".repeat(64));
    world.cli(&["log", "verify", "--anchor", &wrong]).await.ended(1);
    world.cli(&["log", "verify", "--anchor", "x"]).await.ended(2);
    // What `log show` ends with is one too.
    let said = world.cli(&["log", "show"]).await.ended(0);
    let (_, latest) = said.stdout.trim_end().rsplit_once(' ').unwrap();
    world.cli(&["log", "verify", "--anchor", latest]).await.ended(0);

    let folder = world.dir().join("diarium");
    let said = world
        .cli(&["log", "export", folder.to_str().unwrap()])
        .await
        .ended(0);
    assert!(said.stdout.contains("records in"), "{said:?}");
    let sums = tokio::process::Command::new("sha256sum")
        .args(["-c", "SHA256SUMS"])
        .current_dir(&folder)
        .output()
        .await
        .unwrap();
    assert!(sums.status.success(), "{sums:?}");
    let lines = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    assert!(lines.lines().count() as u64 >= whole["records"].as_u64().unwrap());
    let csv = std::fs::read_to_string(folder.join("journal.csv")).unwrap();
    assert!(
        csv.starts_with("seq,at,actor,kind,broadcast,delivery,body,hash\n"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), lines.lines().count() + 1);
    // It says what everything is, and its anchor holds; every file that is there has a checksum.
    let readme = std::fs::read_to_string(folder.join("LAS-MIG.txt")).unwrap();
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&name), "{name} is not explained: {readme}");
        assert!(
            name == "SHA256SUMS" || sums.contains(&format!("  {name}\n")),
            "{name}: {sums}"
        );
    }
    assert!(readme.contains("Nässjö kommun") && readme.contains("sha256sum -c SHA256SUMS"));
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let told = format!("{}:{}", last["seq"], last["hash"].as_str().unwrap());
    assert!(readme.contains(&told), "{told}: {readme}");
    world.cli(&["log", "verify", "--anchor", &told]).await.ended(0);
    // Never into a folder that is there, and never half.
    world
        .cli(&["log", "export", folder.to_str().unwrap()])
        .await
        .ended(1);
    assert!(folder.join("journal.jsonl").exists());

    tamper(
        &world,
        "UPDATE journal SET body = replace(body, 'Forserum', 'Malmbäck') WHERE kind = 'accept'",
    )
    .await;
    let said = world.cli(&["log", "verify"]).await.ended(1);
    assert!(said.stdout.contains("BROKEN at record"), "{said:?}");
    tamper(
        &world,
        "UPDATE journal SET body = replace(body, 'Malmbäck', 'Forserum') WHERE kind = 'accept'",
    )
    .await;
    world.cli(&["log", "verify"]).await.ended(0);
    tamper(
        &world,
        "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    )
    .await;
    let said = world.cli(&["log", "verify"]).await.ended(1);
    assert!(said.stdout.contains("BROKEN"), "{said:?}");
}

#[tokio::test]
async fn a_tail_that_was_cut_off_with_care_is_told_by_an_anchor() {
    let world = World::open(Plan::of(webhooks(1))).await;
    let daemon = world.start().await;
    let (_, report) = world.send(&[]).await;
    world
        .told(report["broadcast"].as_str().unwrap(), CRISIS.len())
        .await;
    let said = world.cli(&["log", "show"]).await.ended(0);
    let (_, latest) = said.stdout.trim_end().rsplit_once(' ').unwrap();
    daemon.kill9().await;
    // Whoever knows how removes the end, and the note of where it is.
    let (seq, _) = latest.split_once(':').unwrap();
    let seq: i64 = seq.parse().unwrap();
    tamper(
        &world,
        "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    )
    .await;
    tamper(
        &world,
        "UPDATE chain SET seq = (SELECT max(seq) FROM journal), \
         hash = (SELECT hash FROM journal ORDER BY seq DESC LIMIT 1)",
    )
    .await;
    let mut daemon = world.spawn();
    world.ready(&mut daemon).await;
    // The chain alone cannot tell: another record stands in its place.
    world.cli(&["log", "verify"]).await.ended(0);
    let said = world.cli(&["log", "verify", "--anchor", latest]).await.ended(1);
    assert!(
        said.stdout.contains(&format!("BROKEN at record {seq}: ")),
        "{said:?}"
    );
    assert!(said.stdout.contains("history was rewritten"), "{said:?}");
    let far = format!("{}:{}", seq + 1000, "0".repeat(64));
    let said = world
        .cli(&["log", "verify", "--json", "--anchor", &far])
        .await
        .ended(1);
    assert!(said.stdout.contains("the tail was cut"), "{said:?}");
}

#[tokio::test]
async fn a_user_who_is_not_named_may_not_command_the_daemon() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can act as another user");
        return;
    }
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = open.path().join("vardkase.sock");
    let plan = Plan::of(webhooks(1)).daemon(&format!("socket = \"{}\"", socket.display()));
    let mut world = World::open(plan).await;
    world.socket.clone_from(&socket);
    let daemon = world.start().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o660);
    // Even if somebody opens the door wide.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let config = open.path().join("config.toml");
    std::fs::copy(&world.config, &config).unwrap();
    std::fs::set_permissions(&config, PermissionsExt::from_mode(0o644)).unwrap();
    let binary = open.path().join("vardkase");
    std::fs::copy(BINARY, &binary).unwrap();
    let as_nobody = |args: &'static [&'static str]| {
        let mut command = tokio::process::Command::new(&binary);
        command
            .arg("--config")
            .arg(&config)
            .args(args)
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir(open.path());
        async move { command.output().await.unwrap() }
    };
    for args in [
        &["status"][..],
        &["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"],
        &["log", "show"],
        &["backup", "/tmp/vardkase-nobody"],
    ] {
        let output = as_nobody(args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("may not command the daemon"), "{said}");
    }
    assert_eq!(world.posts(), []);

    // Named in the configuration, the same user may.
    let text = std::fs::read_to_string(&world.config).unwrap();
    let named = text.replace("[daemon]\n", &format!("[daemon]\nallow_uids = [{NOBODY}]\n"));
    std::fs::write(&world.config, named).unwrap();
    daemon.sighup();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while as_nobody(&["status"]).await.status.code() != Some(0) {
        assert!(std::time::Instant::now() < until, "{}", daemon.said());
    }
}

#[tokio::test]
async fn a_monitor_reads_health_on_loopback_and_nothing_else() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let world = World::open(Plan::of(webhooks(1)).daemon(&format!("listen = \"127.0.0.1:{port}\""))).await;
    let _daemon = world.start().await;
    let (code, _) = world.send(&[]).await;
    assert_eq!(code, 0);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &'static str| {
        let request = client.get(format!("http://127.0.0.1:{port}{path}"));
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    let published = "vardkase_deliveries{mode=\"live\",state=\"published\"} ";
    assert!(metrics.contains(published), "{metrics}");
    for path in ["/api/v1/status", "/api/v1/broadcasts", "/api/v1/journal"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn no_secret_shows_anywhere() {
    let mut accounts = every_channel();
    accounts.push(Account::new("mastodon-2", "mastodon"));
    let world = World::open(Plan::of(accounts)).await;
    let canaries = world.canaries();
    assert!(canaries.len() >= 8, "{}", canaries.len());
    // Services that repeat our credential, and connections that break: errors with the most to tell.
    let token = |account: &str| world.simulated(account).secrets[0].1.clone();
    let rude = |account: &str, status: u16| How::Answer {
        status,
        headers: vec![("x-echo".to_owned(), token(account))],
        body: Some(format!("{{\"error\":\"bad token {}\"}}", token(account))),
    };
    world.fault("mastodon", rude("mastodon", 401), 0);
    world.fault("mastodon-2", rude("mastodon-2", 422), 1);
    world.fault("facebook", How::DoneThenCut(CutAt::MidHeaders), 1);
    world.fault("press", How::Cut, 1);
    let mut daemon = world.spawn_with(&world.config, &[], &[("RUST_LOG", "debug")]);
    world.ready(&mut daemon).await;
    let mut heard = Vec::new();
    let mut hear = |what: &str, text: &str| {
        for canary in &canaries {
            if text.contains(canary.as_str()) {
                heard.push(what.to_owned());
            }
        }
    };
    let (_, report) = world.send(&[]).await;
    let broadcast = report["broadcast"].as_str().unwrap();
    world.told(broadcast, CRISIS.len()).await;
    hear("the report", &report.to_string());
    let export = world.dir().join("diarium");
    let copy = world.dir().join("kopia");
    for args in [
        &["status"][..],
        &["status", broadcast],
        &["accounts"],
        &["verify"],
        &["credentials", "list"],
        &["credentials", "list", "--json"],
        &["log", "show", "--limit", "1000"],
        &["log", "export", export.to_str().unwrap()],
        &["backup", copy.to_str().unwrap()],
        &["retry", broadcast, "--account", "mastodon-2"],
    ] {
        let said = world.cli(args).await;
        hear(&format!("{args:?}"), &said.stdout);
        hear(&format!("{args:?}"), &said.stderr);
    }
    let said = world
        .cli_with(
            &["credentials", "set", "mastodon"],
            &format!("acces_token={}\n", token("mastodon")),
        )
        .await
        .ended(2);
    hear("credentials set", &said.stderr);
    for mail in world.confirmations() {
        hear("the confirmation", &mail.text);
    }
    daemon.sigterm();
    assert_eq!(daemon.ended(std::time::Duration::from_secs(25)).await, Some(0));
    hear("the daemon's log", &daemon.said());
    assert!(daemon.said().contains("ready"), "{}", daemon.said());
    for folder in [&world.data_dir, &export, &copy] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                hear(
                    &path.display().to_string(),
                    &String::from_utf8_lossy(&std::fs::read(&path).unwrap()),
                );
            }
        }
    }
    hear(
        "the vault",
        &std::fs::read_to_string(world.dir().join("vault.json")).unwrap(),
    );
    assert_eq!(heard, [] as [String; 0]);
}
