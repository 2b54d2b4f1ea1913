//! The command line: what it refuses, what it answers, and with which exit code.

use serde_json::{Value, json};

use crate::support::{Account, Plan, Said, World, every_channel, list};

/// A world of two accounts.
fn small() -> Plan {
    Plan::of(vec![
        Account::new("mastodon", "mastodon"),
        Account::new("intranat", "webhook"),
    ])
}

#[tokio::test]
async fn what_checks_stop_is_not_stored() {
    let world = World::open(small()).await;
    let _daemon = world.start().await;
    let before = world.get("/api/v1/status").await["journal_seq"].clone();
    let long = format!("omrade={}", "å".repeat(31));
    let fritext = format!("text={}", "Läs mer. ".repeat(200));
    let stopped: [&[&str]; 3] = [
        &["send", "koka-vattnet", "--yes"],
        &["send", "koka-vattnet", "--yes", "-f", &long],
        &[
            "send",
            "fritext",
            "--yes",
            "-f",
            "rubrik=Bron är stängd",
            "-f",
            &fritext,
            "-f",
            "kort=Kör en annan väg.",
            "-f",
            "sms=Kör en annan väg.",
        ],
    ];
    for args in stopped {
        let said = world.cli(args).await.ended(4);
        assert!(said.stderr.contains("STOP ["), "{said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
    let said = world.cli(&["preview", "koka-vattnet"]).await.ended(4);
    assert!(said.stdout.contains("omrade"), "{said:?}");
    assert_eq!(world.get("/api/v1/broadcasts").await, json!([]));
    assert_eq!(world.get("/api/v1/status").await["journal_seq"], before);
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn every_exit_code_means_what_the_help_says() {
    let world = World::open(small()).await;
    let ok = ["send", "koka-vattnet", "-f", "omrade=Forserum"];
    // Nobody there.
    for args in [
        &["status"][..],
        &["log", "verify"],
        &["retry", "2026-0001.1"],
        &[&ok[..], &["--yes"]].concat(),
    ] {
        let said = world.cli(args).await.ended(6);
        assert!(said.stderr.contains("the daemon does not answer"), "{said:?}");
    }
    world.cli(&["accounts"]).await.ended(0);
    world.cli(&["check"]).await.ended(0);
    let _daemon = world.start().await;
    world.cli(&["status"]).await.ended(0);
    let errors: [(&[&str], i32, &str); 12] = [
        (
            &["send", "koka-vatnet", "--yes"],
            1,
            "the nearest is koka-vattnet",
        ),
        (
            &["send", "koka-vattnet", "--yes", "--to", "mastodn"],
            1,
            "mastodon",
        ),
        (&["status", "2026-0099.1"], 1, "2026-0099.1"),
        (&["status", "nonsense"], 1, "nonsense"),
        (&["retry", "2026-0099.1"], 1, "2026-0099.1"),
        (
            &[
                "send",
                "koka-vattnet",
                "--yes",
                "-f",
                "omrade=x",
                "--kind",
                "update",
            ],
            1,
            "--alert",
        ),
        (&["send", "koka-vattnet", "-f", "omrade"], 2, "NAME=VALUE"),
        (
            &["send", "koka-vattnet", "-f", "omrade=a", "-f", "omrade=b"],
            2,
            "given twice",
        ),
        (&ok, 2, "--yes"),
        (&["send", "koka-vattnet", "--mode", "skarp"], 2, "skarp"),
        (&["no-such-command"], 2, "no-such-command"),
        (&["credentials", "set", "mastodn"], 2, "mastodon"),
    ];
    for (args, code, text) in errors {
        let said: Said = world.cli(args).await.ended(code);
        assert!(said.stderr.contains(text), "{args:?}: {said:?}");
        assert!(!said.stderr.contains("panicked"), "{said:?}");
    }
    assert_eq!(world.posts(), []);
    assert_eq!(world.get("/api/v1/broadcasts").await, json!([]));
}

#[tokio::test]
async fn the_same_key_sends_once() {
    let world = World::open(small()).await;
    let _daemon = world.start().await;
    let body = json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" } });
    let other = json!({ "message": "koka-vattnet", "fields": { "omrade": "Malmbäck" } });
    let post = |body: Value| {
        let world = &world;
        async move {
            let answer = world
                .ask("POST", "/api/v1/broadcasts", Some(&body), Some("nyckel-1"))
                .await;
            answer.expect("no answer")
        }
    };
    let answers = futures::future::join_all((0..20).map(|_| post(body.clone()))).await;
    let mut fresh = 0;
    for (status, answer) in &answers {
        assert_eq!(*status, 202, "{answer}");
        assert_eq!(answer["broadcast"], answers[0].1["broadcast"]);
        fresh += usize::from(answer["repeated"] == false);
    }
    assert_eq!(fresh, 1);
    let (status, answer) = post(other).await;
    assert_eq!(
        (status, &answer["type"]),
        (422, &"urn:vardkase:key-reused".into()),
        "{answer}"
    );
    // By the command line as well.
    let args = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--yes",
        "--wait",
        "--json",
        "--idempotency-key",
        "nyckel-1",
    ];
    let said = world.cli(&args).await.ended(0);
    assert_eq!(said.json()["broadcast"], answers[0].1["broadcast"]);
    assert_eq!(world.posts().len(), 2);
    assert_eq!(list(&world.get("/api/v1/status").await, "broadcasts").len(), 1);
}

#[tokio::test]
async fn what_is_previewed_is_what_is_published_to_the_letter() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let what = [
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "-f",
        "nasta_besked=15.00",
    ];
    let preview = world
        .cli(&[&["preview", "--json"], &what[..]].concat())
        .await
        .ended(0)
        .json();
    let (_, asked) = world
        .ask(
            "POST",
            "/api/v1/previews",
            Some(&json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum", "nasta_besked": "15.00" } })),
            None,
        )
        .await
        .unwrap();
    assert_eq!(preview["accounts"], asked["accounts"]);
    let (_, report) = world.send(&["-f", "nasta_besked=15.00"]).await;
    for account in list(&preview, "accounts") {
        let id = account["account"].as_str().unwrap();
        let text = account["text"].as_str().unwrap();
        let delivery = list(&report, "deliveries")
            .iter()
            .find(|d| d["account"] == id)
            .unwrap();
        let kept = world
            .get(&format!(
                "/api/v1/deliveries/{}",
                delivery["delivery"].as_str().unwrap()
            ))
            .await;
        assert_eq!(kept["text"], text, "{id}");
        assert!(
            account["count"].as_u64() <= account["limit"].as_u64().or(Some(u64::MAX)),
            "{account:#}"
        );
        if id == "radio" {
            continue;
        }
        for post in world.posts_of(id) {
            assert!(
                post.text.trim_end().contains(text.trim_end()),
                "{id}:\n{}\n----\n{text}",
                post.text
            );
        }
    }
}

#[tokio::test]
async fn a_thread_is_previewed_as_the_posts_that_it_makes() {
    let one = Account::new("threads", "threads").with("long = \"thread\"");
    let world = World::open(Plan::of(vec![one])).await;
    let _daemon = world.start().await;
    let what = ["preview", "koka-vattnet", "-f", "omrade=Forserum", "--json"];
    let preview = world.cli(&what).await.ended(0).json();
    let parts: Vec<&str> = list(&preview["accounts"][0], "parts")
        .iter()
        .map(|part| part.as_str().unwrap())
        .collect();
    assert!(parts.len() > 1, "{preview:#}");
    let (code, report) = world.send(&[]).await;
    assert_eq!(code, 0, "{report:#}");
    let posts = world.posts_of("threads");
    let texts: Vec<&str> = posts.iter().map(|post| post.text.trim_end()).collect();
    assert_eq!(texts, parts);
}

#[tokio::test]
async fn check_tells_every_fault_at_once() {
    let world = World::open(small()).await;
    let good = std::fs::read_to_string(&world.config).unwrap();
    let broken = good
        .replace("data_dir", "data_dri")
        .replace("port = ", "port = \"x\" # ")
        .replace("channel = \"webhook\"", "channel = \"webhok\"")
        .replace("list.press", "list.pres")
        + "\n[confirmatoin]\nx = 1\n";
    std::fs::write(&world.config, broken).unwrap();
    let said = world.cli(&["check", "--json"]).await.ended(1);
    let problems = said.json();
    assert_eq!(problems["ok"], false);
    let said = world.cli(&["check"]).await.ended(1);
    for word in ["data_dir", "port", "webhook", "confirmation"] {
        assert!(said.stdout.contains(word), "{word} is not named: {said:?}");
    }
    assert!(list(&problems, "problems").len() >= 4, "{problems:#}");
    // Nothing else works on it either, and each says why.
    for args in [
        &["serve"][..],
        &["status"],
        &["preview", "koka-vattnet"],
        &["credentials", "list"],
    ] {
        let said = world.cli(args).await.ended(1);
        assert!(said.stderr.contains("data_dri"), "{said:?}");
    }
}

#[tokio::test]
async fn lists_tell_what_there_is() {
    let world = World::open(Plan::of(every_channel())).await;
    let _daemon = world.start().await;
    let accounts = world.cli(&["accounts", "--json"]).await.ended(0).json();
    assert_eq!(accounts.as_array().unwrap().len(), 8, "{accounts:#}");
    for account in accounts.as_array().unwrap() {
        assert!(account["problem"].is_null(), "{account:#}");
    }
    let channels = world.cli(&["channels", "--json"]).await.ended(0).json();
    let names: Vec<&str> = channels
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["channel"].as_str().unwrap())
        .collect();
    let all: Vec<&str> = vardkase::channel::REGISTRY.iter().map(|kind| kind.id).collect();
    assert_eq!(names, all);
    let said = world.cli(&["channels"]).await.ended(0);
    assert!(
        said.stdout.contains("keyed")
            && said.stdout.contains("read-back")
            && said.stdout.contains("unproven")
    );
    let mastodon = said.stdout.lines().find(|line| line.starts_with("mastodon "));
    assert!(mastodon.unwrap().ends_with("profile, backstage)"), "{mastodon:?}");
    let x = said.stdout.lines().find(|line| line.starts_with("x "));
    assert!(x.unwrap().ends_with("profile)"), "{x:?}");

    let held = world
        .cli(&["credentials", "list", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(held["missing"], json!([]), "{held:#}");
    let owners: Vec<&str> = list(&held, "held")
        .iter()
        .map(|e| e["owner"].as_str().unwrap())
        .collect();
    assert!(
        owners.contains(&"relay-kommun") && owners.contains(&"mastodon"),
        "{owners:?}"
    );

    let verified = world.cli(&["verify", "--json"]).await.ended(0).json();
    for account in verified.as_array().unwrap() {
        assert_eq!(account["reachable"], true, "{account:#}");
    }
    assert_eq!(world.posts(), []);

    // What is taken from the vault is missed at once, without a restart.
    world.cli(&["credentials", "remove", "mastodon"]).await.ended(0);
    let said = world.cli(&["accounts"]).await.ended(0);
    assert!(said.stdout.contains("NOT READY"), "{said:?}");
    let said = world.cli(&["verify", "--account", "mastodon"]).await.ended(3);
    assert!(said.stdout.contains("UNREACHABLE"), "{said:?}");

    for shell in ["bash", "zsh", "fish"] {
        let said = world.cli(&["completions", shell]).await.ended(0);
        assert!(
            said.stdout.contains("vardkase") && said.stdout.contains("retract"),
            "{shell}"
        );
    }
}
