//! From the file to a [`Config`]: the sections that stand once, then everything that has to fit together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::section::{Section, quoted};
use super::source::Source;
use super::{
    Alarm, Checks, Config, Confirmation, Daemon, Database, Municipality, PictureCredit, Problem, Problems,
    VaultFiles, Verification, accounts, drills, links, lists, register, secret_url, watch,
};
use crate::compose::messages;
use crate::model::{AddressKind, Lang};

/// Largest `config.toml`.
const MAX_FILE: u64 = 1024 * 1024;
/// Longest path that the kernel takes for a Unix socket, without the closing zero.
const MAX_SOCKET_PATH: usize = 107;
/// Where everything is kept unless said otherwise; what systemd's `StateDirectory=vardkase` makes.
const DATA_DIR: &str = "/var/lib/vardkase";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// No timeout is shorter: it would only ever fail.
const SHORTEST: Duration = Duration::from_millis(100);

/// Reads everything; `running` is the configuration that is in force, of which some keys cannot change.
pub fn load(path: &Path, running: Option<&Config>) -> Result<Config, Problems> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let source = Source::read(&absolute, MAX_FILE).map_err(|problem| Problems(vec![problem]))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let read = read_file(&source, folder, running);
    let mut problems = source.take_problems();
    let mut message_problems = read.message_problems;
    message_problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.extend(message_problems);
    match read.config {
        Some(mut config) if problems.is_empty() => {
            config.digest = digest(&source, &read.message_texts);
            Ok(config)
        }
        Some(_) => Err(Problems(problems)),
        None => {
            if problems.is_empty() {
                // Cannot be: what is not read is reported. Said all the same, rather than loading half a file.
                problems.push(Problem {
                    file: absolute.clone(),
                    line: 1,
                    column: 1,
                    key: String::new(),
                    text: "could not be read as a whole".to_owned(),
                });
            }
            Err(Problems(problems))
        }
    }
}

/// What came out of one reading.
struct Read {
    config: Option<Config>,
    message_problems: Vec<Problem>,
    message_texts: Vec<(String, String)>,
}

fn read_file(source: &Source, folder: &Path, running: Option<&Config>) -> Read {
    refuse_what_anyone_may_write(source);
    let table = source.parse();
    let mut root = Section::root(source, &table);

    let municipality = expect_table(&mut root, "municipality", "who sends").and_then(municipality);
    let nothing = DeTable::new();
    let section = root
        .table("daemon")
        .unwrap_or_else(|| Section::root(source, &nothing));
    let daemon = daemon(section, folder);
    let data_dir = daemon
        .as_ref()
        .map_or_else(|| PathBuf::from(DATA_DIR), |d| d.data_dir.clone());
    let vault = root.table("vault").map_or_else(
        || Some(default_vault(folder, &data_dir)),
        |section| vault(section, folder, &data_dir),
    );
    let confirmation =
        expect_table(&mut root, "confirmation", "whom to tell how it went").and_then(confirmation);
    let checks = root
        .table("checks")
        .map_or(Some(Checks::DEFAULT), |section| checks(section));
    let mut relays = accounts::relays(&mut root);
    let lists = lists::lists(&mut root, folder);
    let mut accounts = accounts::accounts(&mut root);
    let mail_timeout = daemon.as_ref().map_or(2 * MINUTE, |d| d.mail_timeout);
    accounts::be_patient(source, &mut relays, &accounts.read, mail_timeout);
    let (mut told, mut tried) = (Vec::new(), Vec::new());
    let (mut verification, mut alarm) = (None, None);
    let (watched, alarmed) = (root.table("verification"), root.table("alarm"));
    if let Some(municipality) = &municipality {
        verification = watched.map_or_else(
            || Some(Verification::of(municipality)),
            |section| watch::verification(section, municipality, &mut tried),
        );
    }
    if let Some(confirmation) = &confirmation {
        alarm = alarmed.map_or_else(
            || Some(Alarm::of(confirmation)),
            |section| watch::alarm(section, confirmation, &mut told),
        );
    }
    if let (Some(verification), Some(confirmation)) = (&mut verification, &confirmation)
        && verification.certificate_to.is_empty()
    {
        verification.certificate_to.clone_from(&confirmation.to);
    }
    root.not_here("approval", "is not part of this version yet; remove the section");

    let mut register_targets = Vec::new();
    let mut register = root.table("register").map_or_else(
        || Some(register::Register::default()),
        |section| register::register(section, &mut register_targets),
    );

    if let (Some(register), Some(verification)) = (&mut register, &verification)
        && register.reminders.to.is_empty()
    {
        register.reminders.to.clone_from(&verification.certificate_to);
    }

    let own = daemon.as_ref().and_then(|d| d.messages.clone());
    let prepared = messages::load(own.as_deref());
    // Of a zone that does not exist it is told already.
    let zone = municipality
        .as_ref()
        .map_or("Europe/Stockholm", |m| m.time_zone.as_str());
    let mut drills = drills::drills(&mut root, &prepared.messages, zone);
    // Names of accounts and groups, as those of drills are.
    drills.targets.append(&mut tried);
    let mut message_problems = prepared.problems;
    if !source.is_damaged() {
        links::check(
            source,
            daemon.as_ref(),
            &accounts,
            &relays,
            &lists,
            &drills,
            &told,
        );
        links::publishers(source, &accounts, &register_targets);
        message_problems.extend(links::check_messages(&accounts, prepared.targets));
    }
    for account in accounts.read.values_mut() {
        let list = account.settings.list().and_then(|id| lists.lists.get(id));
        if let Some(settings) = list.and_then(|list| account.settings.with_list(list)) {
            account.settings = settings.into();
        }
    }
    if let (Some(running), Some(daemon), Some(vault)) = (running, &daemon, &vault) {
        refuse_changes_under_way(source, &mut root, running, daemon, vault);
    }
    root.finish();

    let config = (|| {
        Some(Config {
            path: source.file().to_owned(),
            digest: String::new(),
            municipality: municipality?,
            daemon: daemon?,
            vault: vault?,
            confirmation: confirmation?,
            verification: verification?,
            alarm: alarm?,
            checks: checks?,
            relays: relays.read,
            lists: lists.lists,
            accounts: accounts.read,
            drills: drills.read,
            register: register?,
            messages: prepared.messages,
        })
    })();
    Read {
        config,
        message_problems,
        message_texts: prepared.texts,
    }
}

/// Whoever can write the file can point every account elsewhere.
fn refuse_what_anyone_may_write(source: &Source) {
    let mode = std::fs::metadata(source.file()).map_or(0, |about| about.permissions().mode());
    if mode & 0o002 != 0 {
        source.report(
            0,
            "",
            format!(
                "may be written by every user of this machine (mode {:04o}); run `chmod o-w` on it",
                mode & 0o7777
            ),
        );
    }
}

fn expect_table<'a>(root: &mut Section<'a>, key: &'static str, what: &str) -> Option<Section<'a>> {
    if !root.has(key) {
        root.missing(key, &format!("a section [{key}]: {what}"));
        return None;
    }
    root.table(key)
}

fn municipality(mut s: Section<'_>) -> Option<Municipality> {
    let name = s.required_text(
        "name",
        100,
        "the sender as residents know it, such as \"Nässjö kommun\"",
    );
    let site = s.address("site", true);
    let mut hosts = BTreeSet::new();
    for host in s
        .strings("hosts", "a list of host names such as [\"nassjo.se\"]")
        .unwrap_or_default()
    {
        match url::Host::parse(&host.value) {
            Ok(parsed) => {
                hosts.insert(parsed.to_string());
            }
            Err(_) => s.problem_at(
                host.place,
                "hosts",
                format!(
                    "found {}, expected a host name such as \"nassjo.se\"",
                    quoted(&host.value)
                ),
            ),
        }
    }
    hosts.extend(site.as_ref().and_then(|url| url.host_str()).map(str::to_owned));
    let languages = languages(&mut s);
    let time_zone = s
        .text("time_zone", 60, "a zone such as \"Europe/Stockholm\"")
        .unwrap_or_else(|| "Europe/Stockholm".to_owned());
    if jiff::tz::TimeZone::get(&time_zone).is_err() {
        s.problem(
            "time_zone",
            format!(
                "found {}, which is no time zone; expected one such as \"Europe/Stockholm\"",
                quoted(&time_zone)
            ),
        );
    }
    let fallback_link = s.address("fallback_link", false);
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Municipality {
        name: name?,
        site: site?,
        hosts,
        languages,
        time_zone,
        fallback_link,
    })
}

fn languages(s: &mut Section<'_>) -> Vec<Lang> {
    let Some(given) = s.strings("languages", "a list such as [\"sv\", \"en\"]") else {
        return vec![Lang::Sv];
    };
    let mut languages = Vec::new();
    for entry in &given {
        match entry.value.parse::<Lang>() {
            Ok(lang) if languages.contains(&lang) => {
                s.problem_at(entry.place, "languages", format!("names {:?} twice", entry.value));
            }
            Ok(lang) => languages.push(lang),
            Err(wrong) => s.problem_at(entry.place, "languages", wrong),
        }
    }
    if given.is_empty() {
        s.problem("languages", "is empty; expected at least \"sv\"");
    }
    languages
}

fn daemon(mut s: Section<'_>, folder: &Path) -> Option<Daemon> {
    let data_dir = path(&mut s, "data_dir", folder).unwrap_or_else(|| PathBuf::from(DATA_DIR));
    let database = database(&mut s, folder).unwrap_or_else(|| Database::Sqlite(data_dir.join("vardkase.db")));
    let socket = path(&mut s, "socket", folder).unwrap_or_else(|| data_dir.join("vardkase.sock"));
    if socket.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
        s.problem(
            "socket",
            format!(
                "{} is {} bytes long; a Unix socket's path may have at most {MAX_SOCKET_PATH}: set a shorter one",
                socket.display(),
                socket.as_os_str().as_bytes().len()
            ),
        );
    }
    let listen = loopback(&mut s, "listen");
    let public_listen = loopback(&mut s, "public_listen");
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let wall = loopback(&mut s, "wall").unwrap_or(anywhere);
    let wall_smtp = loopback(&mut s, "wall_smtp").unwrap_or(anywhere);
    let allow_uids: Vec<u32> = s
        .optional("allow_uids", "a list of user ids such as [1000]")
        .unwrap_or_default();
    let messages = own_messages(&mut s, folder);
    let given = s.duration_within("attempt_timeout", SHORTEST, 5 * MINUTE);
    let (attempt_timeout, mail_timeout) = (given.unwrap_or(20 * SECOND), given.unwrap_or(2 * MINUTE));
    let shutdown_grace = s
        // With what comes after it, everything has ended within 25 s.
        .duration_within("shutdown_grace", SHORTEST, 20 * SECOND)
        .unwrap_or(20 * SECOND);
    let stage_deadline = s
        .duration_within("stage_deadline", SHORTEST, 5 * MINUTE)
        .unwrap_or(15 * SECOND);
    let broken = s.is_broken();
    s.finish();
    (!broken).then(|| Daemon {
        data_dir,
        database,
        socket,
        listen,
        public_listen,
        wall,
        wall_smtp,
        allow_uids: allow_uids.into_iter().collect(),
        messages,
        attempt_timeout,
        mail_timeout,
        shutdown_grace,
        stage_deadline,
    })
}

/// The folder of own messages: the one named, which must be there, or `templates/messages` beside the file, if it is.
fn own_messages(s: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    match path(s, "messages", folder) {
        Some(named) => {
            if !named.is_dir() {
                s.problem(
                    "messages",
                    format!(
                        "{} is not a folder; expected the folder of your own messages",
                        named.display()
                    ),
                );
            }
            Some(named)
        }
        None => Some(folder.join("templates/messages")).filter(|beside| beside.is_dir()),
    }
}

/// A path; one that is not absolute counts from the folder of the configuration.
fn path(s: &mut Section<'_>, key: &'static str, folder: &Path) -> Option<PathBuf> {
    let text = s.text(key, 4000, "a path such as \"/var/lib/vardkase\"")?;
    Some(folder.join(text))
}

fn database(s: &mut Section<'_>, folder: &Path) -> Option<Database> {
    let text = s.text("database", 4000, "a path, or postgres://user:password@host/name")?;
    if !text.contains("://") {
        return Some(Database::Sqlite(folder.join(text)));
    }
    // Never repeated in a fault: it may hold a password.
    let parsed = url::Url::parse(&text).ok();
    let wrong = match &parsed {
        None => "is not a valid address; expected postgres://user:password@host/name",
        Some(url) if !["postgres", "postgresql"].contains(&url.scheme()) => {
            "names an engine that is not supported; expected a path (SQLite) or postgres://user:password@host/name"
        }
        Some(url) if url.path().trim_matches('/').is_empty() => {
            "names no database; expected postgres://user:password@host/name"
        }
        Some(_) => "",
    };
    if !wrong.is_empty() {
        s.problem("database", wrong);
        return None;
    }
    let mode = std::fs::metadata(s.source().file()).map_or(0, |about| about.permissions().mode());
    if mode & 0o004 != 0 && parsed.is_some_and(|url| url.password().is_some()) {
        s.problem(
            "database",
            format!(
                "holds a password, and every user of this machine may read the file (mode {:04o}); run `chmod o-rwx` on it",
                mode & 0o7777
            ),
        );
        return None;
    }
    Some(Database::Postgres(secret_url::DatabaseUrl::new(text)))
}

/// An address to listen on that only this machine reaches.
fn loopback(s: &mut Section<'_>, key: &'static str) -> Option<SocketAddr> {
    let address: SocketAddr = s.parsed(key, "an address and port such as \"127.0.0.1:9187\"")?;
    if address.ip().is_loopback() {
        return Some(address);
    }
    s.problem(
        key,
        format!(
            "found \"{address}\", expected an address on loopback (127.0.0.1 or [::1]): there is no log-in on it yet, so it must not be reached from outside"
        ),
    );
    None
}

fn default_vault(folder: &Path, data_dir: &Path) -> VaultFiles {
    VaultFiles {
        file: data_dir.join("vault.json"),
        key_file: folder.join("vault.key"),
    }
}

fn vault(mut s: Section<'_>, folder: &Path, data_dir: &Path) -> Option<VaultFiles> {
    let default = default_vault(folder, data_dir);
    let file = path(&mut s, "file", folder).unwrap_or(default.file);
    let key_file = path(&mut s, "key_file", folder).unwrap_or(default.key_file);
    if file == key_file {
        s.problem(
            "key_file",
            "is the same file as the vault; the key must be kept apart from it",
        );
    }
    let broken = s.is_broken();
    s.finish();
    (!broken).then_some(VaultFiles { file, key_file })
}

fn confirmation(mut s: Section<'_>) -> Option<Confirmation> {
    let to = s.required_strings(
        "to",
        "a list of mail addresses such as [\"krisledning@nassjo.se\"]",
    );
    let to = to.map(|given| {
        if given.is_empty() {
            s.problem("to", "is empty; without an address nobody is told how it went");
        }
        if given.len() > 50 {
            s.problem(
                "to",
                format!("holds {} addresses; at most 50 are allowed", given.len()),
            );
        }
        accounts::recipients(&s, "to", &given)
    });
    let from = s.required_text("from", 254, "a mail address such as \"vardkase@nassjo.se\"");
    if let Some(from) = &from
        && let Err(wrong) = AddressKind::Mail.read(from)
    {
        let found = quoted(from);
        s.problem("from", format!("found {found}, {wrong}"));
    }
    let after = s
        .duration_within("after", SHORTEST, 24 * HOUR)
        .unwrap_or(5 * MINUTE);
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Confirmation {
        to: to?,
        from: from?,
        after,
    })
}

fn checks(mut s: Section<'_>) -> Option<Checks> {
    let default = Checks::DEFAULT;
    let link_timeout = s
        .duration_within("link_timeout", SHORTEST, 10 * SECOND)
        .unwrap_or(default.link_timeout);
    let storm_limit = s
        .number_within("storm_limit", 0, 1000)
        .unwrap_or(default.storm_limit);
    let storm_window = s
        .duration_within("storm_window", SECOND, LONGEST_LOOK)
        .unwrap_or(default.storm_window);
    let duplicate_window = s
        .duration_within("duplicate_window", Duration::ZERO, LONGEST_LOOK)
        .unwrap_or(default.duplicate_window);
    let picture_credit = match s.one_of("picture_credit", &["block", "warn", "off"]) {
        Some("block") => PictureCredit::Block,
        Some("off") => PictureCredit::Off,
        _ => default.picture_credit,
    };
    let broken = s.is_broken();
    s.finish();
    (!broken).then_some(Checks {
        link_timeout,
        storm_limit,
        storm_window,
        duplicate_window,
        picture_credit,
    })
}

/// How far back the checks look at most.
const LONGEST_LOOK: Duration = Duration::from_hours(24);

/// Files and addresses that a running daemon has open: a reload that names others would be applied by half.
fn refuse_changes_under_way(
    source: &Source,
    root: &mut Section<'_>,
    running: &Config,
    daemon: &Daemon,
    vault: &VaultFiles,
) {
    let now = &running.daemon;
    let changed = [
        ("daemon", "data_dir", now.data_dir != daemon.data_dir),
        ("daemon", "database", now.database != daemon.database),
        ("daemon", "socket", now.socket != daemon.socket),
        ("daemon", "listen", now.listen != daemon.listen),
        (
            "daemon",
            "public_listen",
            now.public_listen != daemon.public_listen,
        ),
        ("daemon", "wall", now.wall != daemon.wall),
        ("daemon", "wall_smtp", now.wall_smtp != daemon.wall_smtp),
        ("vault", "file", running.vault.file != vault.file),
        ("vault", "key_file", running.vault.key_file != vault.key_file),
    ];
    let moved = now.data_dir != daemon.data_dir;
    for (table, key, _) in changed.into_iter().filter(|(_, _, changed)| *changed) {
        let section = root.table(table);
        let place = section.as_ref().map_or(0, |section| section.place_of(key));
        let stands = section.is_some_and(|mut section| section.has(key));
        // What lies in data_dir unless said otherwise has moved with it, and needs no line of its own.
        if moved && !stands {
            continue;
        }
        source.report(
            place,
            format!("{table}.{key}"),
            "cannot change while the daemon runs; change it back, or restart the daemon",
        );
    }
}

/// SHA-256 over the file and every message, each with its length, so that no two sets of files give the same bytes.
fn digest(source: &Source, messages: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (name, text) in std::iter::once(("config.toml", source.text()))
        .chain(messages.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    {
        for part in [name, text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex::encode(hash.finalize())
}
