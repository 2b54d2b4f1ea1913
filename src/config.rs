//! The typed configuration: loading, cross-checks, reload. Wrong input is reported all at once, each fault with file,
//! line, column, what was found, what was expected, and the nearest known key. Nothing half-read is ever used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::channel::{Kind, Pace, Settings};
use crate::compose::PreparedMessage;
use crate::drill::{Rules, Schedule};
use crate::model::{AccountId, GroupId, Injection, Lang, Level, ListId, MessageId, Recipient};

pub use crate::model::AddressKind;
pub use lists::{Fault, Files, Reader, Survey, survey};
pub use watch::{Alarm, Fact, Heartbeat, Pattern, Quiet, Verification};

mod accounts;
mod drills;
mod links;
mod lists;
mod load;
pub mod register;
pub mod section;
pub mod source;
#[cfg(test)]
mod tests;
mod watch;

/// Everything that `config.toml` and the prepared messages say, valid as a whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from, absolute.
    pub path: PathBuf,
    /// SHA-256 of the file and of every message file, hex: shows which configuration is in force.
    pub digest: String,
    /// `[municipality]`.
    pub municipality: Municipality,
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[vault]`.
    pub vault: VaultFiles,
    /// `[confirmation]`.
    pub confirmation: Confirmation,
    /// `[verification]`.
    pub verification: Verification,
    /// `[alarm]`.
    pub alarm: Alarm,
    /// `[checks]`.
    pub checks: Checks,
    /// `[[relay]]`, most preferred first.
    pub relays: Vec<Relay>,
    /// `[list.<id>]`.
    pub lists: BTreeMap<ListId, List>,
    /// `[account.<id>]`.
    pub accounts: BTreeMap<AccountId, Account>,
    /// `[drill.<id>]`.
    pub drills: BTreeMap<String, Drill>,
    /// `[register]`.
    pub register: register::Register,
    /// The prepared messages: those built in, replaced by id by those in the messages folder.
    pub messages: BTreeMap<MessageId, PreparedMessage>,
}

/// Who sends.
#[derive(Debug, Clone)]
pub struct Municipality {
    /// The sender named in every text: `Nässjö kommun`.
    pub name: String,
    /// Base of every link: `https://nassjo.se`.
    pub site: Url,
    /// Hosts that count as the municipality's site; the host of `site` always does.
    pub hosts: BTreeSet<String>,
    /// Languages of a message when the command names none.
    pub languages: Vec<Lang>,
    /// IANA name, for what people read: `Europe/Stockholm`.
    pub time_zone: String,
    /// Where posts lead when the accounts of the first stage do not come out.
    pub fallback_link: Option<Url>,
}

/// How the daemon runs.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Database, vault, lock and socket live here unless said otherwise. Relative paths count from the config file.
    pub data_dir: PathBuf,
    /// The engine.
    pub database: Database,
    /// The Unix socket of the API.
    pub socket: PathBuf,
    /// Loopback address for `/healthz`, `/readyz` and `/metrics`; none if unset.
    pub listen: Option<SocketAddr>,
    /// Where services' delivery reports come in; loopback only, a proxy with TLS in front of it. `None`: nowhere.
    pub public_listen: Option<SocketAddr>,
    /// Where the practice wall of drills listens; loopback only. Port 0 picks a free one.
    pub wall: SocketAddr,
    /// The wall's SMTP sink.
    pub wall_smtp: SocketAddr,
    /// User ids, beside root and the daemon's own, that may use the socket.
    pub allow_uids: BTreeSet<u32>,
    /// Prepared messages of the municipality's own.
    pub messages: Option<PathBuf>,
    /// Longest time that one attempt may take, connection included.
    pub attempt_timeout: Duration,
    /// The same for mail: longer unless the configuration says how long, for a relay may think about each letter.
    pub mail_timeout: Duration,
    /// How long attempts under way may finish after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long the other accounts wait for those of the first stage.
    pub stage_deadline: Duration,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password and is never shown.
    Postgres(secret_url::DatabaseUrl),
}

/// A database address whose password does not show.
pub mod secret_url {
    use secrecy::{ExposeSecret, SecretString};

    /// `postgres://…`.
    #[derive(Clone)]
    pub struct DatabaseUrl(SecretString);

    impl DatabaseUrl {
        /// Takes the whole URL.
        pub fn new(url: impl Into<String>) -> Self {
            Self(SecretString::from(url.into()))
        }

        /// The whole URL, for the driver only.
        pub fn expose(&self) -> &str {
            self.0.expose_secret()
        }
    }

    impl PartialEq for DatabaseUrl {
        fn eq(&self, other: &Self) -> bool {
            self.expose() == other.expose()
        }
    }

    impl Eq for DatabaseUrl {}

    impl std::fmt::Debug for DatabaseUrl {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("postgres://[redacted]")
        }
    }
}

/// Where the vault and its key are.
#[derive(Debug, Clone)]
pub struct VaultFiles {
    /// The encrypted file.
    pub file: PathBuf,
    /// The key file, mode 0600; `$CREDENTIALS_DIRECTORY/vault.key` goes before it when that exists.
    pub key_file: PathBuf,
}

/// Who is told how it went.
#[derive(Debug, Clone)]
pub struct Confirmation {
    /// Addresses of the crisis organisation.
    pub to: Vec<Recipient>,
    /// The sender address.
    pub from: String,
    /// Tell what is still open after this long.
    pub after: Duration,
}

/// Settings of the checks.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// How long the link may take to answer before it is a warning.
    pub link_timeout: Duration,
    /// So many live messages in [`Self::storm_window`] are enough: the next one needs a reason. 0 for no limit.
    pub storm_limit: u32,
    /// See [`Self::storm_limit`].
    pub storm_window: Duration,
    /// How long the same text on the same account counts as sent by mistake; zero for never.
    pub duplicate_window: Duration,
    /// What is said of a picture of which nobody says who made it.
    pub picture_credit: PictureCredit,
}

impl Checks {
    /// What holds where nothing is configured.
    pub const DEFAULT: Self = Self {
        link_timeout: Duration::from_secs(2),
        storm_limit: 6,
        storm_window: Duration::from_mins(10),
        duplicate_window: Duration::from_mins(15),
        picture_credit: PictureCredit::Warn,
    };
}

/// What is said of a picture of which nobody says who made it and by which right it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureCredit {
    /// It stops the command.
    Block,
    /// It is a warning.
    Warn,
    /// Nothing.
    Off,
}

/// How a relay is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayTls {
    /// STARTTLS, required.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// None; loopback only.
    None,
}

/// An SMTP relay. Its `username` and `password`, if it wants any, are in the vault under its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its name in the vault and in `relay = "…"`; distinct from every account's.
    pub id: AccountId,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: RelayTls,
    /// Whether the vault must hold `username` and `password` for it.
    pub login: bool,
    /// Longest wait for each part of the dialogue with it, where no other relay is left to try.
    pub patience: Duration,
}

/// Recipients of a list channel.
#[derive(Debug, Clone)]
pub struct List {
    /// Its id.
    pub id: ListId,
    /// What its addresses are.
    pub kind: AddressKind,
    /// Unique addresses that stand in the configuration itself, in the order given; empty if `files` are named.
    pub recipients: Vec<Recipient>,
    /// Where the addresses are, if not in the configuration. They are read a line at a time, and never kept.
    pub files: Option<Files>,
    /// The address that a mail's reader calls to leave the list (RFC 8058), with `{token}` in it.
    pub unsubscribe: Option<String>,
}

impl List {
    /// What it holds; reads it through if it stands in files, so this may take as long as they are long.
    pub fn survey(&self) -> Survey {
        match &self.files {
            Some(files) => survey(files, self.kind),
            None => Survey {
                entries: self.recipients.len() as u64,
                ..Survey::default()
            },
        }
    }
}

/// When an account goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before the rest.
    First,
    /// With the rest.
    Normal,
}

/// What to do when nothing can tell whether an attempt got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// Send it again and accept that it may come twice.
    Resend,
    /// Wait for a person.
    Hold,
}

/// One configured outlet.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its channel.
    pub channel: &'static Kind,
    /// The groups that it belongs to.
    pub groups: BTreeSet<GroupId>,
    /// Its public address.
    pub url: Option<Url>,
    /// When it goes.
    pub stage: Stage,
    /// Which account takes over for it.
    pub fallback: Option<AccountId>,
    /// How long it may take before the other one takes over.
    pub fallback_after: Duration,
    /// Whether it goes as well if it can after all, once the one that takes over has published.
    pub keeps_going: bool,
    /// Corrections change the post that they correct, instead of answering to it.
    pub corrects_by_edit: bool,
    /// The latest post of an active alert is kept on top of its page.
    pub pins: bool,
    /// How fast it may be written to.
    pub pace: Pace,
    /// What to do with an outcome that nothing can prove.
    pub unproven: Unproven,
    /// Longest time of one attempt; the daemon's if unset.
    pub attempt_timeout: Option<Duration>,
    /// What the register says of it; empty where `[account.<id>.register]` is not there.
    pub register: register::Entry,
    /// The channel's own keys.
    pub settings: Arc<dyn Settings>,
}

impl Account {
    /// Whether later broadcasts of an alert stand under the first here.
    pub fn replies(&self) -> bool {
        self.settings.replies().unwrap_or(self.channel.can.thread)
    }

    /// Whether a post can be taken away here.
    pub fn retracts(&self) -> bool {
        self.settings.retracts().unwrap_or(self.channel.can.retract)
    }

    /// Whether the account has a place that the public cannot see, as far as its configuration tells: a webhook's second
    /// address lies in the vault.
    pub fn has_backstage(&self) -> bool {
        self.settings.backstage().unwrap_or(self.channel.can.backstage)
    }
}

/// A planned exercise.
#[derive(Debug, Clone)]
pub struct Drill {
    /// Its id.
    pub id: String,
    /// The prepared message.
    pub message: MessageId,
    /// Values for the message's fields.
    pub fields: BTreeMap<String, String>,
    /// Accounts and groups.
    pub to: Vec<String>,
    /// When it is due; by hand only if not given.
    pub schedule: Option<Schedule>,
    /// How far it goes.
    pub level: Level,
    /// What is made to fail meanwhile; of a rehearsal only.
    pub faults: Vec<Injection>,
    /// A rehearsal ends after this at the latest: what is not out by then was missed.
    pub ends_after: Duration,
    /// What the public is told beforehand.
    pub notice: Option<Notice>,
    /// Who gets the report, if not those of [`Confirmation`].
    pub tell: Option<Vec<Recipient>>,
    /// When it was good enough.
    pub rules: Rules,
}

/// What the public is told of a drill beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// From this long before its time on.
    pub before: Duration,
    /// What it says.
    pub text: String,
}

/// One fault in a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Dotted key: `account.mastodon.server`.
    pub key: String,
    /// What is wrong, what was found, what was expected, what to do.
    pub text: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Every fault of a configuration, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Loads the file, and the prepared messages that it points at.
    ///
    /// # Errors
    /// Every fault found, in file order.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        load::load(path, None)
    }

    /// Loads the same file again. This configuration stays as it is; the caller puts the new one in its place.
    ///
    /// # Errors
    /// Every fault found, and every key that cannot change while the daemon runs.
    pub fn reload(&self) -> Result<Self, Problems> {
        load::load(&self.path, Some(self))
    }

    /// The accounts that a list of account and group names means, in the order of the configuration.
    ///
    /// # Errors
    /// The first name that is neither, and the nearest known one.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Account>, String> {
        let means =
            |account: &Account, name: &str| account.id.as_str() == name || account.groups.contains(name);
        for name in names {
            if !self.accounts.values().any(|account| means(account, name)) {
                let known: BTreeSet<&str> = self
                    .accounts
                    .values()
                    .flat_map(|account| {
                        account
                            .groups
                            .iter()
                            .map(GroupId::as_str)
                            .chain([account.id.as_str()])
                    })
                    .collect();
                let hint = source::hint(name, known.iter().copied());
                return Err(format!(
                    "there is no account or group {}{hint}",
                    section::quoted(name)
                ));
            }
        }
        Ok(self
            .accounts
            .values()
            .filter(|account| names.iter().any(|name| means(account, name)))
            .collect())
    }
}
