//! The configuration: what a technician reads when something in it is wrong, and that everything wrong is told at once.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use vardkase::config::{Config, Database, Problems, RelayTls, Stage};

mod broken;
mod messages;
mod mutated;

/// A configuration without fault, small enough to see what a case changes.
const SOUND: &str = r#"
[municipality]
name = "Nässjö kommun"
site = "https://nassjo.se"

[daemon]
data_dir = "data"

[confirmation]
to = ["kris@nassjo.se"]
from = "vardkase@nassjo.se"

[[relay]]
id = "relay-1"
host = "smtp.nassjo.se"

[list.press]
recipients = ["tips@radio.example"]

[account.mastodon-nassjo]
channel = "mastodon"
groups = ["sociala"]
server = "https://social.nassjo.se"

[account.epost]
channel = "email"
groups = ["press"]
from = "press@nassjo.se"
list = "press"
relay = "relay-1"

[account.p4]
channel = "manual"
groups = ["press"]
instructions = "Ring redaktionen."

[drill.ovning]
message = "koka-vattnet"
to = ["alla"]
fields = { omrade = "Forserum" }
"#;

struct Place(tempfile::TempDir);

impl Place {
    fn with(text: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write(text);
        place
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("config.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn message(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.0.path().join("templates/messages");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn load(&self) -> Result<Config, Problems> {
        Config::load(&self.file())
    }

    /// Every fault, with the folder left out.
    fn faults(&self) -> String {
        match self.load() {
            Ok(_) => "(no fault)".to_owned(),
            Err(problems) => self.shown(&problems),
        }
    }

    fn shown(&self, problems: &Problems) -> String {
        problems
            .to_string()
            .replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")
}

#[test]
fn the_configuration_that_comes_with_the_program_loads() {
    let config = Config::load(&shipped()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.accounts.len() >= 12, "{}", config.accounts.len());
    let channels: std::collections::BTreeSet<&str> = config
        .accounts
        .values()
        .map(|account| account.channel.id)
        .collect();
    assert_eq!(
        channels.len(),
        vardkase::channel::REGISTRY.len(),
        "every channel has an account: {channels:?}"
    );
    for group in ["alla", "sociala", "press", "personal"] {
        assert!(!config.select(&[group.to_owned()]).unwrap().is_empty(), "{group}");
    }
    assert_eq!(
        config.select(&["alla".to_owned()]).unwrap().len(),
        config.accounts.len()
    );
    assert_eq!(config.relays.len(), 2);
    assert!(!config.confirmation.to.is_empty());
    assert_eq!(config.drills.len(), 1);
    assert_eq!(config.lists.len(), 4);
    assert_eq!(config.messages.len(), 12);
    assert_eq!(config.accounts["webb-nassjo"].stage, Stage::First);
    // Nobody changes the file and leaves the defaults in its comments behind.
    assert_eq!(config.daemon.attempt_timeout, std::time::Duration::from_secs(20));
    assert_eq!(config.daemon.shutdown_grace, std::time::Duration::from_secs(20));
    assert_eq!(
        config.daemon.database,
        Database::Sqlite("/var/lib/vardkase/vardkase.db".into())
    );
    assert_eq!(config.daemon.socket, Path::new("/var/lib/vardkase/vardkase.sock"));
    assert_eq!(config.vault.file, Path::new("/var/lib/vardkase/vault.json"));
}

/// What the program knows of each section, as it says itself when it meets a key that it does not know.
fn known_keys(section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let header = format!("\n{section}\n");
    assert!(text.contains(&header), "{section} is not in config.toml");
    let spoiled = text.replacen(&header, &format!("{header}qqqqqqqq = 1\n"), 1);
    let place = Place::with(&spoiled);
    let problems = place.load().expect_err("an unknown key");
    let problem = problems
        .0
        .iter()
        .find(|problem| problem.key.ends_with("qqqqqqqq"))
        .unwrap_or_else(|| panic!("{section}: {problems}"));
    let (_, known) = problem.text.split_once("known here: ").unwrap();
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_explained_in_the_configuration_that_comes_with_the_program() {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let sections = [
        "[municipality]",
        "[daemon]",
        "[vault]",
        "[confirmation]",
        "[checks]",
        "[register]",
        "[register.reminders]",
        "[[relay]]",
        "[list.press]",
        "[account.webb-nassjo]",
        "[account.webb-nassjo.register]",
        "[account.mastodon-nassjo]",
        "[account.matrix-nassjo]",
        "[account.ntfy-nassjo]",
        "[account.mattermost-krisledning]",
        "[account.teams-krisledning]",
        "[account.bluesky-nassjo]",
        "[account.facebook-nassjo]",
        "[account.threads-nassjo]",
        "[account.instagram-nassjo]",
        "[account.intranat]",
        "[account.informationsskarmar]",
        "[account.epost-press]",
        "[account.sms-krisgrupp]",
        "[account.whatsapp-krisgrupp]",
        "[account.p4-jonkoping]",
        "[account.krisblogg]",
        "[account.webbnotiser]",
        "[drill.manadsovning]",
    ];
    let mut unexplained = Vec::new();
    for section in sections {
        // From the header to the next one: there, or in the list of what every account has, the key stands with a comment.
        let (_, after) = text.split_once(&format!("\n{section}\n")).unwrap();
        let body = after.split("\n[").next().unwrap_or(after);
        for key in known_keys(section) {
            let assigned = |line: &str| {
                let line = line.trim_start_matches("# ");
                line.strip_prefix(key.as_str())
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
            };
            let lines: Vec<&str> = body.lines().collect();
            let commented = lines
                .iter()
                .enumerate()
                .any(|(n, line)| assigned(line) && explained(&lines, n, &assigned));
            let general = text.contains(&format!("\n#   {key} "));
            let as_table = text.contains(&format!(".{key}]"))
                && (section.starts_with("[drill") || section == "[register]");
            if !(commented || general || as_table) {
                unexplained.push(format!("{section} {key}"));
            }
        }
    }
    assert_eq!(unexplained, Vec::<String>::new());
}

/// Whether a comment stands before line `n`.
fn explained(lines: &[&str], n: usize, assigned: &dyn Fn(&str) -> bool) -> bool {
    n > 0 && lines[n - 1].starts_with("# ") && !assigned(lines[n - 1])
}

#[test]
fn the_sound_base_of_the_other_tests_is_sound() {
    let place = Place::with(SOUND);
    let config = place.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.path, place.file());
    assert_eq!(config.daemon.data_dir, place.0.path().join("data"));
    assert_eq!(config.vault.key_file, place.0.path().join("vault.key"));
    assert_eq!(
        (config.relays[0].port, config.relays[0].tls),
        (587, RelayTls::Starttls)
    );
    assert!(config.municipality.hosts.contains("nassjo.se"));
    let chosen = |names: &[&str]| -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let chosen = config.select(&names)?;
        Ok(chosen.into_iter().map(|account| account.id.to_string()).collect())
    };
    assert_eq!(chosen(&["press", "p4"]).unwrap(), ["epost", "p4"]);
    assert_eq!(chosen(&["alla"]).unwrap(), ["epost", "mastodon-nassjo", "p4"]);
    assert_eq!(
        chosen(&["pres"]).unwrap_err(),
        "there is no account or group \"pres\"; did you mean \"press\"?"
    );
}

#[test]
fn a_file_with_eight_faults_reports_eight() {
    let text = SOUND
        .replace("site = \"https://nassjo.se\"", "site = \"http://nassjo.se\"")
        .replace(
            "data_dir = \"data\"",
            "data_dirr = \"data\"\nattempt_timeout = 20",
        )
        .replace("\"kris@nassjo.se\"", "\"kris(at)nassjo.se\"")
        .replace("host = \"smtp.nassjo.se\"\n", "")
        .replace("channel = \"mastodon\"", "channel = \"mastodont\"")
        .replace("list = \"press\"", "list = \"pres\"")
        .replace("message = \"koka-vattnet\"", "message = \"koka-vatten\"");
    let place = Place::with(&text);
    let problems = place.load().unwrap_err();
    insta::assert_snapshot!(place.shown(&problems));
    assert_eq!(problems.0.len(), 8);
    let lines: Vec<usize> = problems.0.iter().map(|problem| problem.line).collect();
    assert!(lines.is_sorted(), "in file order: {lines:?}");
}

#[test]
fn faults_of_messages_are_told_with_those_of_the_file() {
    let place = Place::with(&SOUND.replace("name = \"Nässjö kommun\"\n", ""));
    place.message("egen.toml", "title = \"Eget\"\nversoin = 1\n");
    place.message("trasig.toml", "title = \"Eget\nversion = 1\n");
    place.message("Koka Vattnet.toml", "");
    insta::assert_snapshot!(place.faults());
}

#[test]
fn several_syntax_faults_are_told_at_once_and_do_not_hide_the_rest() {
    let text = SOUND
        .replace("name = \"Nässjö kommun\"", "name = \"Nässjö kommun")
        .replace("host = \"smtp.nassjo.se\"", "host = ")
        .replace("groups = [\"sociala\"]", "groups = [\"sociala\"]\ngruops = []");
    insta::assert_snapshot!(Place::with(&text).faults());
}

#[test]
fn a_wrong_file_keeps_the_configuration_in_force() {
    let place = Place::with(SOUND);
    let running = place.load().unwrap();
    let digest = running.digest.clone();
    place.write(&SOUND.replace("channel = \"manual\"", "channel = \"manuel\""));
    let problems = running.reload().unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert_eq!(running.digest, digest);
    place.write(&SOUND.replace("Ring redaktionen.", "Ring nyhetsredaktionen."));
    let next = running.reload().unwrap_or_else(|problems| panic!("{problems}"));
    assert_ne!(next.digest, digest);
    place.write(SOUND);
    assert_eq!(
        next.reload().unwrap().digest,
        digest,
        "the same files, the same digest"
    );
}

#[test]
fn what_cannot_change_under_a_running_daemon_is_refused_not_half_applied() {
    let place = Place::with(SOUND);
    let running = place.load().unwrap();
    let changed = SOUND.replace(
        "data_dir = \"data\"",
        "data_dir = \"data2\"\nlisten = \"127.0.0.1:9187\"",
    );
    place.write(&changed);
    place.load().unwrap_or_else(|problems| panic!("{problems}"));
    insta::assert_snapshot!(place.shown(&running.reload().unwrap_err()));
}

#[test]
fn a_file_that_anyone_may_write_or_that_is_none_is_refused() {
    let mut all = String::new();
    let place = Place::with(SOUND);
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o666)).unwrap();
    writeln!(all, "{}", place.faults()).unwrap();
    std::fs::write(place.file(), b"[municipality]\nname = \"N\xe4ssj\xf6\"\n").unwrap();
    writeln!(all, "{}", place.faults()).unwrap();
    std::fs::write(place.file(), "#".repeat(1024 * 1024 + 1)).unwrap();
    writeln!(all, "{}", place.faults()).unwrap();
    std::fs::remove_file(place.file()).unwrap();
    writeln!(all, "{}", place.faults()).unwrap();
    std::fs::create_dir(place.file()).unwrap();
    writeln!(all, "{}", place.faults()).unwrap();
    insta::assert_snapshot!(all);
}

#[test]
fn the_password_of_the_database_shows_nowhere() {
    let secret = "hemligt-9c1e";
    for (address, mode, fits) in [
        (format!("postgres://vardkase:{secret}@db/vardkase"), 0o600, true),
        (format!("postgres://vardkase:{secret}@db/vardkase"), 0o644, false),
        (format!("postgres://vardkase:{secret}@db"), 0o600, false),
        (format!("mysql://vardkase:{secret}@db/vardkase"), 0o600, false),
        (format!("postgres://vardkase:{secret}@[db/vardkase"), 0o600, false),
    ] {
        let place = Place::with(&SOUND.replace(
            "data_dir = \"data\"",
            &format!("data_dir = \"data\"\ndatabase = \"{address}\""),
        ));
        std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = place.load();
        assert_eq!(loaded.is_ok(), fits, "{mode:o} {}", address.replace(secret, "…"));
        assert!(!format!("{loaded:?}").contains(secret));
        if let Ok(config) = loaded {
            let Database::Postgres(url) = config.daemon.database else {
                panic!("not a server");
            };
            assert_eq!(url.expose(), address);
        }
    }
}

#[test]
fn an_own_message_takes_the_place_of_the_built_in_one() {
    let place = Place::with(SOUND);
    let own = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/messages/koka-vattnet.toml"),
    )
    .unwrap();
    let without = place.load().unwrap().digest;
    place.message(
        "koka-vattnet.toml",
        &own.replace("Koka dricksvattnet", "Koka vattnet (eget)"),
    );
    place.message("eget.toml", &own);
    let config = place.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.messages["koka-vattnet"].title, "Koka vattnet (eget)");
    assert_eq!(config.messages.len(), 13);
    assert_ne!(config.digest, without);
}

#[test]
fn faults_past_the_two_hundredth_are_counted_and_not_passed_over() {
    let mut text = String::from(SOUND.trim_end());
    for n in 0..250 {
        write!(
            text,
            "\n[account.a{n}]\nchannel = \"mastodon\"\nserver = \"http://a\"\n"
        )
        .unwrap();
    }
    let problems = Place::with(&text).load().unwrap_err();
    assert_eq!(problems.0.len(), 201, "{problems}");
    let last = problems.0.last().unwrap();
    assert_eq!(last.text, "and 50 more in this file; correct those above first");
}
