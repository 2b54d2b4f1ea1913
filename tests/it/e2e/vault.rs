//! The vault as a whole, by the real command: a new key while the daemon works and over every kill, a sealed copy for the
//! safe and back; and what the journal says of it.

use secrecy::ExposeSecret;
use vardkase::model::AccountId;

use crate::support::{Account, Plan, World, webhooks};

const OFFICER: &str = "AGE-SECRET-KEY-1XNU5PRFGFFKFW987WCREPUD2V5AASE42K73AM2F20JZ4878XP4DQH6PTEM";
const OFFICERS: [&str; 2] = [
    "age1tz5k0nqtykgc2lfjswsd7x8r3jq588wevz7f9zdnng730ctq3edsd747e5",
    "age130v459gn2sxte76pr6m7f84yp30326l98a4rmh86q77awrmrhu0snq78n2",
];
const OTHER_OFFICER: &str = "AGE-SECRET-KEY-1SL8WWZEZGS3YSTKZNJRSJ569P39D6ZX4ARVFSUHKNJENK48H7TWQ4W9YM5";

async fn world() -> World {
    World::open(Plan::of(vec![Account::new("konto", "mastodon")])).await
}

fn token(world: &World) -> String {
    let konto: AccountId = "konto".parse().unwrap();
    let secret = world.vault().get(&konto, "access_token").unwrap().unwrap();
    secret.expose_secret().to_owned()
}

fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o7777
}

async fn journal(world: &World) -> String {
    world.get("/api/v1/journal").await.to_string()
}

#[tokio::test]
async fn the_vault_gets_a_new_key_under_a_daemon_that_goes_on() {
    let world = world().await;
    let daemon = world.start().await;
    let (before, held) = (world.vault().key_id().unwrap(), token(&world));
    let old_key = std::fs::read_to_string(world.dir().join("vault.key")).unwrap();
    let said = world.cli(&["vault", "rotate"]).await.ended(0);
    assert!(
        said.stdout.contains("2 secret(s)") || said.stdout.contains("3 secret(s)"),
        "{said:?}"
    );
    assert!(said.stdout.contains("the daemon uses it from now on"), "{said:?}");
    let now = world.vault().key_id().unwrap();
    assert_ne!(before, now);
    assert_eq!(token(&world), held);
    let new_key = std::fs::read_to_string(world.dir().join("vault.key")).unwrap();
    assert_ne!(old_key, new_key);
    assert_eq!(mode(&world.dir().join("vault.key")), 0o600);
    assert!(!world.dir().join("vault.key.new").exists());
    // The old key opens nothing any more.
    let copy = world.dir().join("kopia.key");
    std::fs::write(&copy, &old_key).unwrap();
    let (ended, report) = world.send(&["--to", "konto"]).await;
    assert_eq!(ended, 0, "{report:#}");
    world
        .cli_with(&["credentials", "set", "konto"], "client_id=abc\n")
        .await
        .ended(0);
    let journal = journal(&world).await;
    assert!(
        journal.contains(r#"\"what\":\"rotated\""#) && journal.contains(&now),
        "{journal}"
    );
    for shown in [journal, daemon.said(), format!("{said:?}")] {
        assert!(!shown.contains(old_key.trim()) && !shown.contains(new_key.trim()) && !shown.contains(&held));
    }
}

#[tokio::test]
async fn under_systemds_credential_a_new_key_is_said_to_need_a_restart_and_works_after_it() {
    let world = world().await;
    // As `LoadCredential=` does it: a copy that is made at the start, of a file that the daemon's user cannot open.
    let handed = world.dir().join("credentials");
    std::fs::create_dir(&handed).unwrap();
    let hand_over = || {
        let copy = handed.join("vault.key");
        std::fs::remove_file(&copy).ok();
        std::fs::copy(world.dir().join("vault.key"), copy).unwrap();
    };
    let text = std::fs::read_to_string(&world.config).unwrap();
    let key_file = format!("key_file = \"{}/vault.key\"", world.dir().display());
    assert!(text.contains(&key_file), "{text}");
    let out_of_reach = format!("key_file = \"{}/root/vault.key\"", world.dir().display());
    let service = world.dir().join("tjanst.toml");
    std::fs::write(&service, text.replace(&key_file, &out_of_reach)).unwrap();
    let env = [("CREDENTIALS_DIRECTORY", handed.to_str().unwrap())];
    hand_over();
    let held = token(&world);
    let old_key = std::fs::read_to_string(world.dir().join("vault.key")).unwrap();
    let mut daemon = world.spawn_with(&service, &[], &env);
    world.ready(&mut daemon).await;
    assert_eq!(world.send(&["--to", "konto"]).await.0, 0);

    // From within the service it cannot be done, and nothing is changed.
    let within = world.talk_with(&["vault", "rotate"], &env);
    let refused = within.ended(1).await;
    drop(refused);
    assert_eq!(
        std::fs::read_to_string(world.dir().join("vault.key")).unwrap(),
        old_key
    );

    // From outside it can: what has to follow is said plainly, and what runs goes on.
    let said = world.cli(&["vault", "rotate"]).await.ended(1);
    assert!(said.stdout.contains("sealed with the new key"), "{said:?}");
    assert!(
        said.stderr
            .contains("Restart it now (`systemctl restart vardkase`)"),
        "{said:?}"
    );
    assert_eq!(
        world.send(&["--to", "konto"]).await.0,
        0,
        "it publishes with what it read before"
    );
    daemon.sigterm();
    assert_eq!(daemon.ended(crate::support::PATIENCE).await, Some(0));
    hand_over();
    let mut daemon = world.spawn_with(&service, &[], &env);
    world.ready(&mut daemon).await;
    assert_eq!(token(&world), held);
    assert_eq!(world.send(&["--to", "konto"]).await.0, 0);
    let journal = journal(&world).await;
    assert!(journal.contains(r#"\"what\":\"rotated\""#), "{journal}");
    let new_key = std::fs::read_to_string(world.dir().join("vault.key")).unwrap();
    for shown in [journal, daemon.said(), format!("{said:?}")] {
        assert!(!shown.contains(old_key.trim()) && !shown.contains(new_key.trim()) && !shown.contains(&held));
    }
}

#[tokio::test]
async fn a_kill_at_any_step_of_a_rotation_leaves_a_vault_that_opens() {
    for point in [
        "vault-rotate.key-made",
        "vault-rotate.sealed",
        "vault-rotate.done",
    ] {
        let world = world().await;
        let held = token(&world);
        let env = [("VARDKASE_FAILPOINT", point)];
        world.talk_with(&["vault", "rotate"], &env).ended(-1).await;
        assert_eq!(token(&world), held, "{point}");
        // What comes next finds it in order, and can write.
        let daemon = world.start().await;
        let (ended, report) = world.send(&["--to", "konto"]).await;
        assert_eq!(ended, 0, "{point}: {report:#} {}", daemon.said());
        world
            .cli_with(&["credentials", "set", "konto"], "client_id=abc\n")
            .await
            .ended(0);
        world.cli(&["vault", "rotate"]).await.ended(0);
        assert_eq!(token(&world), held, "{point}");
        assert!(!world.dir().join("vault.key.new").exists(), "{point}");
        // With the key file alone, as after a restart of the machine.
        assert!(world.cli(&["credentials", "list"]).await.code == 0, "{point}");
    }
}

#[tokio::test]
async fn a_damaged_secret_stops_a_rotation_before_anything_is_changed() {
    let world = world().await;
    let file = world.dir().join("vault.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find("\"sealed\":\"").unwrap() + 12;
    let mut bytes = text.into_bytes();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(&file, &bytes).unwrap();
    let said = world.cli(&["vault", "rotate"]).await.ended(1);
    assert!(
        said.stderr.contains("damaged") && said.stderr.contains("nothing was changed"),
        "{said:?}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let out = world.dir().join("safe.age");
    let to = [
        "vault",
        "escrow",
        "--to",
        OFFICERS[0],
        OFFICERS[1],
        "--out",
        out.to_str().unwrap(),
    ];
    world.cli(&to).await.ended(1);
    assert!(!out.exists());
}

#[tokio::test]
async fn either_officer_brings_the_vault_back_from_the_safe() {
    for key in [OFFICER, OTHER_OFFICER] {
        let world = world().await;
        let held = token(&world);
        let before = world.vault().list().len();
        let out = world.dir().join("safe.age");
        let out_text = out.to_str().unwrap().to_owned();
        let to = [
            "vault",
            "escrow",
            "--to",
            OFFICERS[0],
            OFFICERS[1],
            "--out",
            &out_text,
        ];
        let said = world.cli(&to).await.ended(0);
        assert!(!format!("{said:?}").contains(&held));
        assert_eq!(mode(&out), 0o600);
        assert!(!std::fs::read_to_string(&out).unwrap().contains(&held));
        // It is never written over.
        world.cli(&to).await.ended(1);
        // And no vault is: not this one.
        let said = world
            .cli_with(&["vault", "restore", &out_text], key)
            .await
            .ended(1);
        assert!(said.stderr.contains("exists already"), "{said:?}");
        for file in ["vault.json", "vault.key"] {
            std::fs::remove_file(world.dir().join(file)).unwrap();
        }
        let keyfile = format!("# created: 2026\n# public key: age1\n{key}\n");
        let said = world
            .cli_with(&["vault", "restore", &out_text], &keyfile)
            .await
            .ended(0);
        assert!(!format!("{said:?}").contains(key));
        assert_eq!(token(&world), held);
        assert_eq!(world.vault().list().len(), before);
        let daemon = world.start().await;
        let (ended, report) = world.send(&["--to", "konto"]).await;
        assert_eq!(ended, 0, "{report:#}");
        // What was done while no daemon ran stands in the journal, with who did it.
        let journal = journal(&world).await;
        for what in ["escrowed", "restored"] {
            assert!(journal.contains(&format!(r#"\"what\":\"{what}\""#)), "{journal}");
        }
        assert!(journal.contains("(uid ") || journal.contains("uid:"), "{journal}");
        assert!(
            !world.dir().join("vault.untold.jsonl").exists(),
            "{}",
            daemon.said()
        );
    }
}

#[tokio::test]
async fn an_escrow_is_for_two_at_least_and_opens_for_nobody_else() {
    let world = world().await;
    let out = world.dir().join("safe.age");
    let out = out.to_str().unwrap();
    for to in [vec![OFFICERS[0]], vec![OFFICERS[0], OFFICERS[0]]] {
        let args = [&["vault", "escrow", "--to"], to.as_slice(), &["--out", out]].concat();
        let said = world.cli(&args).await.ended(1);
        assert!(said.stderr.contains("2 different ones"), "{said:?}");
    }
    let slip = OFFICERS[0].replace("tz5k", "tz5l");
    let said = world
        .cli(&["vault", "escrow", "--to", &slip, OFFICERS[1], "--out", out])
        .await
        .ended(2);
    assert!(said.stderr.contains("is no public key"), "{said:?}");
    world
        .cli(&[
            "vault",
            "escrow",
            "--to",
            OFFICERS[0],
            "--to",
            OFFICERS[1],
            "--out",
            out,
        ])
        .await
        .ended(0);
    for file in ["vault.json", "vault.key"] {
        std::fs::remove_file(world.dir().join(file)).unwrap();
    }
    let stranger = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0S4LVFGA";
    for (typed, code) in [(stranger, [1, 2]), ("hemligt", [2, 2]), ("", [2, 2])] {
        let said = world.cli_with(&["vault", "restore", out], typed).await;
        assert!(code.contains(&said.code), "{said:?}");
        assert!(!world.dir().join("vault.json").exists());
    }
}

#[tokio::test]
async fn a_disabled_account_publishes_nothing_and_what_waits_goes_to_people() {
    let world = World::open(Plan::of(webhooks(2))).await;
    let daemon = world.start().await;
    let said = world.cli(&["accounts", "disable", "mottagare-01"]).await.ended(2);
    assert!(said.stderr.contains("--reason"), "{said:?}");
    world
        .cli(&["accounts", "disable", "mottagare-01", "--reason", " "])
        .await
        .ended(1);
    world
        .cli(&["accounts", "disable", "okand", "--reason", "kapat"])
        .await
        .ended(1);
    // Something waits in the lane: the service is down.
    world.fault(
        "mottagare-01",
        vardkase::wall::How::Answer {
            status: 503,
            headers: vec![("retry-after".to_owned(), "8".to_owned())],
            body: None,
        },
        0,
    );
    let said = world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"])
        .await
        .ended(0);
    let broadcast = said.json()["broadcast"].as_str().unwrap().to_owned();
    world
        .until(&broadcast, "tried once", |report| {
            crate::support::list(report, "deliveries")
                .iter()
                .any(|d| d["account"] == "mottagare-01" && d["attempts"] == 1)
        })
        .await;
    let said = world
        .cli(&[
            "accounts",
            "disable",
            "mottagare-01",
            "--reason",
            "misstänkt kapning",
        ])
        .await
        .ended(0);
    assert!(said.stdout.contains("accounts enable mottagare-01"), "{said:?}");
    let report = world
        .until(&broadcast, "handed over", |report| {
            crate::support::states(report, "mottagare-01") == ["manual"]
        })
        .await;
    assert!(report.to_string().contains("misstänkt kapning"), "{report:#}");
    world.heal("mottagare-01");
    // Over a restart, too.
    daemon.kill9().await;
    let _again = world.start().await;
    let (ended, report) = world.send(&[]).await;
    assert_eq!(ended, 3);
    assert_eq!(crate::support::states(&report, "mottagare-01"), ["manual"]);
    assert_eq!(crate::support::states(&report, "mottagare-02"), ["published"]);
    assert!(world.posts_of("mottagare-01").is_empty());
    let status = world.cli(&["status"]).await.ended(0);
    assert!(status.stdout.contains("DISABLED mottagare-01"), "{status:?}");
    let accounts = world.cli(&["accounts", "--json"]).await.ended(0).json();
    assert_eq!(accounts[0]["disabled"]["reason"], "misstänkt kapning");
    let journal = journal(&world).await;
    assert!(journal.contains("account-disable"), "{journal}");
    world.cli(&["accounts", "enable", "mottagare-01"]).await.ended(0);
    let (ended, report) = world.send(&[]).await;
    assert_eq!(ended, 0, "{report:#}");
    assert_eq!(world.posts_of("mottagare-01").len(), 1);
}

#[tokio::test]
async fn an_account_that_stands_in_takes_over_from_a_disabled_one() {
    let accounts = vec![
        Account::new("forsta", "webhook").with("fallback = \"reserv\""),
        Account::new("reserv", "webhook"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world
        .cli(&["accounts", "disable", "forsta", "--reason", "kapat"])
        .await
        .ended(0);
    world.send(&["--to", "forsta"]).await;
    assert!(world.posts_of("forsta").is_empty());
    assert_eq!(world.posts_of("reserv").len(), 1);
}
