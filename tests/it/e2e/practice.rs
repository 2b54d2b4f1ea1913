//! Exercises: the same code, and no way to the public.

use crate::support::{Account, CRISIS, Plan, World, every_channel, list};

/// What the daemon's own practice wall took.
async fn practice_ledger(world: &World) -> Vec<serde_json::Value> {
    let wall = world.get("/api/v1/status").await["wall"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ledger = client.get(format!("{wall}_wall/ledger")).send().await.unwrap();
    ledger.json().await.unwrap()
}

async fn a_practice_send(mode: &str, mark: &str) {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let (_, report) = world.send(&["--mode", mode]).await;
    let broadcast = report["broadcast"].as_str().unwrap().to_owned();
    assert_eq!(report["mode"], mode);
    assert!(
        broadcast.starts_with(mode) || mode == "drill" && broadcast.starts_with("ovning"),
        "{broadcast}"
    );
    for delivery in list(&report, "deliveries") {
        let expected = if delivery["account"] == "radio" {
            "manual"
        } else {
            "published"
        };
        assert_eq!(delivery["state"], expected, "{delivery:#}");
    }
    let report = world.told(&broadcast, CRISIS.len()).await;

    // The accounts that the public sees were not even asked anything.
    assert_eq!(world.posts(), []);
    let asked: Vec<_> = world
        .wall
        .seen()
        .into_iter()
        .filter(|seen| seen.method != "SMTP" && seen.account.as_str() != "smtp")
        .collect();
    assert_eq!(asked, []);
    let folder = world.simulated("skarmar").site.folder.join("skarmar");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);

    // All of it is on the daemon's own wall, marked.
    let practised = practice_ledger(&world).await;
    assert_eq!(
        practised.len(),
        list(&report, "deliveries").len() - 1,
        "{practised:#?}"
    );
    for post in &practised {
        assert_eq!(post["mode"], mode, "{post:#}");
        assert!(post["text"].as_str().unwrap().contains(mark), "{post:#}");
    }

    // The crisis organisation is told for real, and that it was an exercise.
    let mails = world.confirmations();
    assert_eq!(mails.len(), CRISIS.len());
    for mail in &mails {
        assert!(mail.subject.as_deref().unwrap().contains(mark), "{mail:#?}");
    }

    // A drill is not continued as if it were live.
    let alert = report["alert"].as_str().unwrap();
    let mixed = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "-f",
        "nytt=Nytt.",
        "--alert",
        alert,
        "--kind",
        "update",
        "--mode",
        "live",
        "--yes",
    ];
    let said = world.cli(&mixed).await.ended(1);
    assert!(said.stderr.contains("drill and live do not mix"), "{said:?}");
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn a_drill_never_reaches_a_live_account() {
    a_practice_send("drill", "ÖVNING").await;
}

#[tokio::test]
async fn a_test_never_reaches_a_live_account() {
    a_practice_send("test", "TEST").await;
}

/// What goes over SSH in earnest goes over SSH in a drill: log-in, pinned key, temporary names and all.
#[tokio::test]
async fn a_drill_of_a_folder_over_sftp_speaks_sftp_with_the_wall_and_nothing_with_the_server() {
    let world = World::open(Plan::of(vec![Account::new("skarmar", "file")])).await;
    // Whoever listens there would be spoken to; nobody must be.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let real = format!(
        "sftp = \"sftp://{}/srv/kris\"\nhost_keys = [\"SHA256:{}\"]",
        server.local_addr().unwrap(),
        "A".repeat(43)
    );
    let config = std::fs::read_to_string(&world.config).unwrap();
    let lines = config.lines().map(|line| {
        if line.starts_with("path = ") {
            real.as_str()
        } else {
            line
        }
    });
    let changed = lines.collect::<Vec<_>>().join("\n");
    assert_ne!(changed, config);
    std::fs::write(&world.config, changed).unwrap();
    let _daemon = world.start().await;
    let (code, report) = world.send(&["--mode", "drill", "--to", "skarmar"]).await;
    assert_eq!(code, 0, "{report:#}");
    let practised = practice_ledger(&world).await;
    assert_eq!(practised.len(), 1, "{practised:#?}");
    assert!(practised[0]["subject"].as_str().unwrap().starts_with("ÖVNING: "));
    let wall = world.get("/api/v1/status").await["wall"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let seen = client.get(format!("{wall}_wall/seen")).send().await.unwrap();
    let seen: Vec<serde_json::Value> = seen.json().await.unwrap();
    let asked: Vec<&str> = seen
        .iter()
        .filter(|one| one["method"] == "SFTP" && one["account"] == "skarmar")
        .map(|one| one["path"].as_str().unwrap())
        .collect();
    let renames = asked.iter().filter(|path| path.starts_with("RENAME ")).count();
    assert_eq!(renames, 2, "{asked:?}");
    assert_eq!(asked[0], "LOGIN key");
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err(), "the real server was spoken to");
}
