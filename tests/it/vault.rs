//! The vault: what it refuses, what survives damage and a kill, and that no value ever shows.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use vardkase::channel::SecretName;
use vardkase::clock::{SharedClock, TestClock};
use vardkase::config::VaultFiles;
use vardkase::model::AccountId;
use vardkase::vault::{Vault, VaultError, parse_lines};

const CANARY: &str = "kanariefågel-7f3a91c2";

struct Place {
    folder: tempfile::TempDir,
    files: VaultFiles,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = VaultFiles {
            file: folder.path().join("data/vault.json"),
            key_file: folder.path().join("etc/vault.key"),
        };
        Self { folder, files }
    }

    fn with_vault() -> (Self, Vault) {
        let place = Self::new();
        let vault = Vault::init(&place.files, clock()).unwrap();
        (place, vault)
    }

    fn open(&self) -> Result<Vault, VaultError> {
        Vault::open_with(&self.files, clock(), None)
    }
}

fn clock() -> SharedClock {
    Arc::new(TestClock::at("2026-11-23T18:00:00Z".parse().unwrap()))
}

fn id(name: &str) -> AccountId {
    name.parse().unwrap()
}

fn one(name: &str, value: &str) -> Vec<(String, SecretString)> {
    vec![(name.to_owned(), SecretString::from(value))]
}

fn value(vault: &Vault, owner: &str, name: &str) -> Option<String> {
    let secret = vault.get(&id(owner), name).unwrap();
    secret.map(|secret| secret.expose_secret().to_owned())
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_set_is_there_after_opening_again() {
    let (place, vault) = Place::with_vault();
    vault
        .set(&id("mastodon-nassjo"), &one("access_token", CANARY))
        .unwrap();
    vault
        .set(&id("relay-1"), &one("password", " två ord = ett lösen "))
        .unwrap();
    let again = place.open().unwrap();
    assert_eq!(
        value(&again, "mastodon-nassjo", "access_token").as_deref(),
        Some(CANARY)
    );
    assert_eq!(
        value(&again, "relay-1", "password").as_deref(),
        Some(" två ord = ett lösen ")
    );
    assert_eq!(value(&again, "relay-1", "username"), None);
    let listed: Vec<_> = again
        .list()
        .into_iter()
        .map(|e| (e.owner, e.name, e.sound))
        .collect();
    assert_eq!(
        listed,
        [
            ("mastodon-nassjo".to_owned(), "access_token".to_owned(), true),
            ("relay-1".to_owned(), "password".to_owned(), true)
        ]
    );
    assert_eq!(mode(&place.files.file), 0o600);
    assert_eq!(mode(&place.files.key_file), 0o600);
    assert_eq!(mode(place.files.file.parent().unwrap()), 0o700);
    assert_eq!(again.remove(&id("relay-1"), None).unwrap(), 1);
    assert_eq!(again.remove(&id("relay-1"), None).unwrap(), 0);
    assert_eq!(value(&place.open().unwrap(), "relay-1", "password"), None);
}

#[test]
fn the_file_is_json_with_a_header_and_holds_no_value() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("a"), &one("access_token", CANARY)).unwrap();
    vault.set(&id("b"), &one("access_token", CANARY)).unwrap();
    let text = std::fs::read_to_string(&place.files.file).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["algorithm"], "XChaCha20-Poly1305");
    assert_eq!(json["key_id"], vault.key_id().unwrap());
    let records = json["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert_ne!(
        records[0]["sealed"], records[1]["sealed"],
        "equal secrets must not look equal"
    );
    assert!(!text.contains(CANARY));
}

#[test]
fn a_vault_or_key_is_never_made_anew_over_an_old_one() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("a"), &one("x", "1")).unwrap();
    let before = (
        std::fs::read(&place.files.file).unwrap(),
        std::fs::read(&place.files.key_file).unwrap(),
    );
    assert!(matches!(
        Vault::init(&place.files, clock()),
        Err(VaultError::Exists(_))
    ));
    std::fs::remove_file(&place.files.key_file).unwrap();
    assert!(matches!(
        Vault::init(&place.files, clock()),
        Err(VaultError::Exists(_))
    ));
    assert!(!place.files.key_file.exists(), "a new key would open nothing");
    std::fs::write(&place.files.key_file, &before.1).unwrap();
    chmod(&place.files.key_file, 0o600);
    assert_eq!(std::fs::read(&place.files.file).unwrap(), before.0);
    // The vault is gone, the key is not: it goes on being the key.
    std::fs::remove_file(&place.files.file).unwrap();
    Vault::init(&place.files, clock()).unwrap();
    assert_eq!(std::fs::read(&place.files.key_file).unwrap(), before.1);
}

/// Breaks one thing about a sound vault.
type Spoil = fn(&Place);

#[test]
fn whatever_others_could_read_or_change_is_refused_with_what_to_do() {
    let cases: &[(&str, Spoil)] = &[
        ("vault 0640", |p| chmod(&p.files.file, 0o640)),
        ("vault 0604", |p| chmod(&p.files.file, 0o604)),
        ("vault 0666", |p| chmod(&p.files.file, 0o666)),
        ("key 0640", |p| chmod(&p.files.key_file, 0o640)),
        ("key 0644", |p| chmod(&p.files.key_file, 0o644)),
        ("key 0602", |p| chmod(&p.files.key_file, 0o602)),
        ("folder 0750", |p| chmod(p.files.file.parent().unwrap(), 0o750)),
        ("folder 0701", |p| chmod(p.files.file.parent().unwrap(), 0o701)),
        ("key folder 0777", |p| {
            chmod(p.files.key_file.parent().unwrap(), 0o777);
        }),
        ("vault is a link", |p| {
            let real = p.folder.path().join("data/real.json");
            std::fs::rename(&p.files.file, &real).unwrap();
            symlink(&real, &p.files.file).unwrap();
        }),
        ("key is a link", |p| {
            let real = p.folder.path().join("etc/real.key");
            std::fs::rename(&p.files.key_file, &real).unwrap();
            symlink(&real, &p.files.key_file).unwrap();
        }),
        ("vault is a folder", |p| {
            std::fs::remove_file(&p.files.file).unwrap();
            std::fs::create_dir(&p.files.file).unwrap();
        }),
        ("vault is gone", |p| std::fs::remove_file(&p.files.file).unwrap()),
        ("key is gone", |p| {
            std::fs::remove_file(&p.files.key_file).unwrap();
        }),
        ("neither is there", |p| {
            std::fs::remove_file(&p.files.file).unwrap();
            std::fs::remove_file(&p.files.key_file).unwrap();
        }),
        ("key is no key", |p| {
            std::fs::write(&p.files.key_file, "hemlig").unwrap();
        }),
        ("key is another", |p| {
            std::fs::remove_file(&p.files.key_file).unwrap();
            let other = Place::with_vault().0;
            std::fs::copy(&other.files.key_file, &p.files.key_file).unwrap();
        }),
        ("vault is cut in its header", |p| {
            std::fs::write(&p.files.file, "{\"format\":1,").unwrap();
        }),
        ("vault is newer", |p| {
            let text = std::fs::read_to_string(&p.files.file).unwrap();
            std::fs::write(&p.files.file, text.replacen("\"format\":1", "\"format\":2", 1)).unwrap();
        }),
    ];
    let mut all = String::new();
    for (what, spoil) in cases {
        let (place, vault) = Place::with_vault();
        vault.set(&id("a"), &one("access_token", CANARY)).unwrap();
        spoil(&place);
        let error = place.open().expect_err(what).to_string();
        assert!(!error.contains(CANARY));
        let folder = place.folder.path().display().to_string();
        let keyless = error
            .split(' ')
            .map(|word| {
                let bare = word.trim_matches([',', ';']);
                if bare.len() == 16 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
                    word.replace(bare, "<id>")
                } else {
                    word.to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(all, "{what}: {}", keyless.replace(&folder, "")).unwrap();
        // What is in memory stays usable: a chmod must not stop a broadcast under way.
        assert_eq!(
            value(&vault, "a", "access_token").as_deref(),
            Some(CANARY),
            "{what}"
        );
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_foreign_owner_is_refused() {
    // Only root can give a file away; for anyone else there is nothing to test here.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (place, _) = Place::with_vault();
    std::os::unix::fs::chown(&place.files.file, Some(4711), Some(4711)).unwrap();
    let error = place.open().expect_err("foreign vault").to_string();
    assert!(error.contains("belongs to the user 4711"), "{error}");
}

#[test]
fn what_root_writes_stays_readable_for_the_daemon() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (place, vault) = Place::with_vault();
    let data = place.files.file.parent().unwrap();
    for path in [data, &place.files.file] {
        std::os::unix::fs::chown(path, Some(4711), Some(4712)).unwrap();
    }
    vault.set(&id("a"), &one("x", "1")).unwrap();
    let about = std::fs::metadata(&place.files.file).unwrap();
    assert_eq!((about.uid(), about.gid()), (4711, 4712));
    assert_eq!(mode(&place.files.file), 0o600);
}

#[test]
fn the_credential_of_systemd_goes_before_the_key_file() {
    let (place, _) = Place::with_vault();
    let credentials = place.folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    // Not there: the key file counts.
    Vault::open_with(&place.files, clock(), Some(&credentials)).unwrap();
    std::fs::rename(&place.files.key_file, credentials.join("vault.key")).unwrap();
    chmod(&credentials.join("vault.key"), 0o440);
    Vault::open_with(&place.files, clock(), Some(&credentials)).unwrap();
    chmod(&credentials.join("vault.key"), 0o444);
    assert!(matches!(
        Vault::open_with(&place.files, clock(), Some(&credentials)),
        Err(VaultError::Unsafe { .. })
    ));
}

#[test]
fn a_flipped_bit_costs_its_own_record_and_no_other() {
    let (place, vault) = Place::with_vault();
    for owner in ["a", "b", "c"] {
        vault
            .set(&id(owner), &one("access_token", &format!("{CANARY}-{owner}")))
            .unwrap();
    }
    let sound = std::fs::read(&place.files.file).unwrap();
    let (mut refused, mut tried) = (0, 0);
    let mut line = 0;
    for at in 0..sound.len() {
        // Line 0 is the header, lines 1–3 the records; a line break is looked at as part of both its lines.
        if sound[at] == b'\n' {
            line += 1;
            continue;
        }
        if line == 0 || line > 3 {
            continue;
        }
        tried += 1;
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&place.files.file, &bytes).unwrap();
        let vault = place.open().unwrap();
        for (n, owner) in ["a", "b", "c"].into_iter().enumerate() {
            let got = vault.get(&id(owner), "access_token");
            if n + 1 == line {
                // The bit was in this record: refused or not found, never another value.
                match got {
                    Ok(Some(value)) => assert_eq!(value.expose_secret(), format!("{CANARY}-{owner}")),
                    Ok(None) => refused += 1,
                    Err(error) => {
                        refused += 1;
                        assert!(error.to_string().contains("set it again"), "{error}");
                        assert!(!error.to_string().contains(CANARY));
                    }
                }
            } else {
                let got = got.unwrap().expect("the others open");
                assert_eq!(got.expose_secret(), format!("{CANARY}-{owner}"));
            }
        }
    }
    // What remains are the commas between records.
    assert!(tried - refused <= 3, "{refused} of {tried} refused");
}

#[test]
fn a_record_cannot_take_the_place_of_another() {
    let (place, vault) = Place::with_vault();
    vault
        .set(&id("mastodon"), &one("access_token", "for mastodon"))
        .unwrap();
    vault.set(&id("evil"), &one("access_token", "for evil")).unwrap();
    let text = std::fs::read_to_string(&place.files.file).unwrap();
    let swapped = text
        .replace("\"owner\":\"evil\"", "\"owner\":\"x\"")
        .replace("\"owner\":\"mastodon\"", "\"owner\":\"evil\"")
        .replace("\"owner\":\"x\"", "\"owner\":\"mastodon\"");
    std::fs::write(&place.files.file, swapped).unwrap();
    let vault = place.open().unwrap();
    assert!(matches!(
        vault.get(&id("mastodon"), "access_token"),
        Err(VaultError::DamagedSecret { .. })
    ));
    assert!(vault.list().iter().all(|entry| !entry.sound));
    // Setting it again mends it.
    vault.set(&id("mastodon"), &one("access_token", "new")).unwrap();
    assert_eq!(
        value(&place.open().unwrap(), "mastodon", "access_token").as_deref(),
        Some("new")
    );
}

#[test]
fn a_cut_file_keeps_what_is_left_and_says_that_it_is_cut() {
    let (place, vault) = Place::with_vault();
    for owner in ["a", "b"] {
        vault.set(&id(owner), &one("x", owner)).unwrap();
    }
    assert_eq!(vault.unreadable(), 0);
    let text = std::fs::read_to_string(&place.files.file).unwrap();
    let cut: String = text.chars().take(text.len() - 40).collect();
    std::fs::write(&place.files.file, cut).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(value(&vault, "a", "x").as_deref(), Some("a"));
    assert_eq!(value(&vault, "b", "x"), None);
    assert_eq!(vault.unreadable(), 2);
    // A write keeps what a person may still make something of.
    vault.set(&id("b"), &one("x", "again")).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(vault.unreadable(), 2);
    assert_eq!(vault.discard_unreadable().unwrap(), 2);
    let vault = place.open().unwrap();
    assert_eq!(
        (vault.unreadable(), value(&vault, "b", "x").as_deref()),
        (0, Some("again"))
    );
}

#[test]
fn a_crash_before_the_new_file_takes_its_place_leaves_the_old_one() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("a"), &one("x", "old")).unwrap();
    let half: PathBuf = place.files.file.parent().unwrap().join(".vault.json.new");
    std::fs::write(&half, "{\"format\":1,\"algor").unwrap();
    let vault = place.open().unwrap();
    assert_eq!(value(&vault, "a", "x").as_deref(), Some("old"));
    vault.set(&id("a"), &one("x", "new")).unwrap();
    assert_eq!(value(&place.open().unwrap(), "a", "x").as_deref(), Some("new"));
    assert!(!half.exists());
}

#[test]
fn two_threads_lose_none_of_each_others_secrets() {
    let (place, _) = Place::with_vault();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let vault = place.open().unwrap();
            scope.spawn(move || {
                for n in 0..10 {
                    vault
                        .set(
                            &id(&format!("w{writer}")),
                            &one(&format!("s{n}"), &format!("{writer}.{n}")),
                        )
                        .unwrap();
                }
            });
        }
    });
    let vault = place.open().unwrap();
    assert_eq!(vault.list().len(), 40);
    assert_eq!(value(&vault, "w3", "s9").as_deref(), Some("3.9"));
}

/// What the test below runs in another process: writes until it is killed. Says after each write what is on disk.
#[test]
#[ignore = "the other process of a_kill_at_any_moment_leaves_a_whole_vault"]
fn writer_process() {
    let Ok(folder) = std::env::var("VARDKASE_TEST_VAULT") else {
        return;
    };
    let folder = PathBuf::from(folder);
    let files = VaultFiles {
        file: folder.join("data/vault.json"),
        key_file: folder.join("etc/vault.key"),
    };
    let vault = Vault::open_with(&files, clock(), None).unwrap();
    for n in 0..100_000_u32 {
        vault.set(&id("child"), &one("counter", &n.to_string())).unwrap();
        std::fs::write(folder.join("acknowledged"), n.to_string()).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_vault() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("parent"), &one("x", "kept")).unwrap();
    let acknowledged = place.folder.path().join("acknowledged");
    let mut last = 0;
    for round in 0..12_u64 {
        std::fs::write(&acknowledged, "").unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vault::writer_process", "--ignored", "--nocapture"])
            .env("VARDKASE_TEST_VAULT", place.folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Both processes write at the same time; then one dies wherever it happens to be.
        let began = std::time::Instant::now();
        while std::fs::read_to_string(&acknowledged).unwrap().is_empty() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "the writer never wrote"
            );
            std::thread::yield_now();
        }
        for n in 0..=round {
            vault
                .set(&id("parent"), &one(&format!("r{round}"), &n.to_string()))
                .unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let said = std::fs::read_to_string(&acknowledged).unwrap();
        let vault = place.open().unwrap();
        assert_eq!(vault.unreadable(), 0);
        assert!(vault.list().iter().all(|entry| entry.sound));
        let on_disk: u32 = value(&vault, "child", "counter").unwrap().parse().unwrap();
        // `said` may be empty when the kill hit the write of the file itself.
        if let Ok(said) = said.parse::<u32>() {
            assert!(on_disk >= said, "acknowledged {said}, on disk {on_disk}");
        }
        assert_eq!(
            value(&vault, "parent", &format!("r{round}")),
            Some(round.to_string())
        );
        last = last.max(on_disk);
    }
    assert_eq!(
        value(&place.open().unwrap(), "parent", "x").as_deref(),
        Some("kept")
    );
    // The lock of a dead process holds nobody up.
    vault.set(&id("parent"), &one("x", "still writes")).unwrap();
    assert!(last > 0);
}

#[test]
fn a_change_by_another_process_is_seen_after_refresh() {
    let (place, daemon) = Place::with_vault();
    let cli = place.open().unwrap();
    cli.set(&id("a"), &one("x", "1")).unwrap();
    assert_eq!(value(&daemon, "a", "x"), None);
    assert!(daemon.refresh().unwrap());
    assert_eq!(value(&daemon, "a", "x").as_deref(), Some("1"));
    assert!(!daemon.refresh().unwrap(), "nothing changed since");
    // A vault that has gone wrong does not take away what is in memory.
    chmod(&place.files.file, 0o644);
    std::fs::write(&place.files.file, "x").unwrap();
    assert!(daemon.refresh().is_err());
    assert_eq!(value(&daemon, "a", "x").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_rotated_secret_is_on_disk_before_it_is_used() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("bluesky"), &one("app_password", CANARY)).unwrap();
    let secrets = vault.secrets_for(&id("bluesky"));
    secrets
        .rotate("session", SecretString::from("fresh"))
        .await
        .unwrap();
    assert_eq!(secrets.get("session").unwrap().expose_secret(), "fresh");
    assert_eq!(
        value(&place.open().unwrap(), "bluesky", "session").as_deref(),
        Some("fresh")
    );
    // A full or read-only disk: the old one stays in force, and the reason names no value.
    std::fs::remove_dir_all(place.files.file.parent().unwrap()).unwrap();
    let reason = secrets
        .rotate("session", SecretString::from(CANARY))
        .await
        .unwrap_err();
    assert!(!reason.to_string().contains(CANARY), "{reason}");
    assert_eq!(secrets.get("session").unwrap().expose_secret(), "fresh");
}

#[test]
fn no_value_shows_in_debug_or_in_an_error() {
    let (place, vault) = Place::with_vault();
    vault.set(&id("a"), &one("access_token", CANARY)).unwrap();
    let shown = format!("{vault:?} {:?} {:?}", vault.secrets_for(&id("a")), vault.list());
    assert!(shown.contains("access_token"), "{shown}");
    let key = std::fs::read_to_string(&place.files.key_file).unwrap();
    let mut all = shown;
    for wrong in [
        vault.set(&id("a"), &one(CANARY, "x")),
        vault.set(&id("a"), &one("access_token", "")),
        vault.set(&id("a"), &one("access_token", &CANARY.repeat(1000))),
    ] {
        let error = wrong.unwrap_err();
        write!(all, "{error} {error:?}").unwrap();
    }
    assert!(!all.contains(CANARY), "{all}");
    assert!(!all.contains(key.trim()), "{all}");
}

#[test]
fn lines_of_secrets_are_checked_and_never_repeated() {
    const KNOWN: &[SecretName] = &[
        SecretName {
            name: "access_token",
            required: true,
            internal: false,
        },
        SecretName {
            name: "hmac_key",
            required: false,
            internal: false,
        },
        SecretName {
            name: "session",
            required: false,
            internal: true,
        },
    ];
    let good = parse_lines("\naccess_token=a=b c \r\nhmac_key=k\n".as_bytes(), KNOWN).unwrap();
    let read: Vec<_> = good
        .iter()
        .map(|(n, v)| (n.as_str(), v.expose_secret()))
        .collect();
    assert_eq!(read, [("access_token", "a=b c "), ("hmac_key", "k")]);
    let bad = format!(
        "{CANARY}\n{CANARY}=\nacess_token={CANARY}\nsession={CANARY}\naccess_token=\nhmac_key={CANARY}\nhmac_key={CANARY}\nhmac_key=a\tb\n"
    );
    let mut all = parse_lines(bad.as_bytes(), KNOWN).unwrap_err();
    all.extend(parse_lines("".as_bytes(), KNOWN).unwrap_err());
    all.extend(parse_lines("a=b".as_bytes(), &[]).unwrap_err());
    all.extend(parse_lines(b"access_token=\xff".as_slice(), KNOWN).unwrap_err());
    all.extend(parse_lines(std::io::repeat(b'x'), KNOWN).unwrap_err());
    assert!(all.iter().all(|line| !line.contains(CANARY)), "{all:?}");
    insta::assert_snapshot!(all.join("\n"));
}
