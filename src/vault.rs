//! The credentials of every account: one encrypted file apart from the database, its key in another place.
//!
//! Each record is sealed on its own and bound to its owner, name, version and date, so that a damaged one is refused by
//! itself and none can be put in another's place. Every change reads the file again, under a lock, before it writes, so
//! that the command line and the daemon can both change it; a change is on disk when the call returns. Values are never
//! listed, shown in `Debug`, or part of an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::channel::Secrets;
use crate::channel::secrets::Fresh;
use crate::clock::{SharedClock, Timestamp};
use crate::config::VaultFiles;
use crate::model::{AccountId, Reason};

pub mod age;
mod disk;
mod escrow;
mod format;
mod key;
pub mod lines;
mod rotate;
pub mod untold;

use disk::Stamp;
use format::Contents;
use key::{Key, Place};
pub use lines::{RELAY_SECRETS, parse_lines, secret_names};
pub use rotate::Rotated;

/// Longest secret, in bytes.
const MAX_SECRET: usize = 16 * 1024;
/// Most records of one vault.
const MAX_RECORDS: usize = 5000;

/// Why the vault could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is none yet.
    #[error("there is no vault at {}; make one with `vardkase credentials init`", .0.display())]
    NoVault(PathBuf),
    /// The key is not where the configuration says.
    #[error("the vault's key is not at {}; put it back from where it is kept safe (a new one opens nothing)", .0.display())]
    NoKey(PathBuf),
    /// There is one already, and it is left alone.
    #[error("{} exists already and was left as it is", .0.display())]
    Exists(PathBuf),
    /// Others could read or change it.
    #[error("{}: {problem}; {remedy}", .path.display())]
    Unsafe {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// It was sealed with another key.
    #[error(
        "{}: sealed with the key {sealed_with}, and the key at hand is {at_hand}; put the right key back, or restore vault and key from the same backup",
        .path.display()
    )]
    WrongKey {
        /// The vault.
        path: PathBuf,
        /// Fingerprint in the vault.
        sealed_with: String,
        /// Fingerprint of the key that was found.
        at_hand: String,
    },
    /// It cannot be read as a vault at all.
    #[error("{}: {what}; restore it from a backup", .path.display())]
    Damaged {
        /// The vault or its key.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It could not be opened when it was last tried.
    #[error("{0}")]
    Closed(String),
    /// One secret cannot be opened; the others can.
    #[error(
        "the secret {name} of {owner} is damaged in the vault and was refused; set it again with `vardkase credentials set {owner}`. The other secrets are not affected"
    )]
    DamagedSecret {
        /// Whose.
        owner: String,
        /// Which.
        name: String,
    },
    /// Someone else is changing it and does not finish.
    #[error("{}: another process has been changing the vault for {seconds} s; try again when it is done", .path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// What was to be kept does not fit.
    #[error("{0}")]
    Unfit(String),
    /// The disk said no.
    #[error("{}: {doing}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// The account or relay that it belongs to.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// When it ends, where the service said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it can be opened; if not, it has to be set again.
    pub sound: bool,
}

/// An open vault. Clones share what they hold.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    files: VaultFiles,
    /// The folder that systemd filled, if there is one.
    credentials: Option<PathBuf>,
    clock: SharedClock,
    /// Why it could not be opened, if it could not.
    state: RwLock<Result<State, String>>,
}

/// What was last read, with which key, and how the file looked then.
struct State {
    contents: Contents,
    stamp: Stamp,
    /// The key that the file was sealed with then.
    key: Key,
    place: Place,
}

impl Vault {
    /// Makes a new, empty vault, and a key if there is none. Neither is ever overwritten.
    pub fn init(files: &VaultFiles, clock: SharedClock) -> Result<Self, VaultError> {
        let credentials = credentials_directory();
        let folder = disk::folder_of(&files.file);
        disk::make_folder(folder)?;
        disk::check_folder(folder)?;
        let _lock = disk::lock(folder)?;
        if files.file.symlink_metadata().is_ok() {
            return Err(VaultError::Exists(files.file.clone()));
        }
        let key = match Key::find(files, credentials.as_deref()) {
            Ok((key, _)) => key,
            Err(VaultError::NoKey(_)) => Key::create(&files.key_file)?,
            Err(other) => return Err(other),
        };
        disk::replace(&files.file, Contents::default().to_text(&key).as_bytes())?;
        Self::open_with(files, clock, credentials.as_deref())
    }

    /// Opens the vault. A damaged record does not keep the others from opening.
    pub fn open(files: &VaultFiles, clock: SharedClock) -> Result<Self, VaultError> {
        Self::open_with(files, clock, credentials_directory().as_deref())
    }

    /// The vault, open or not: a daemon works on without credentials for what needs none, and [`Self::refresh`] tries again.
    ///
    /// Returns why it is not open, if it is not; [`Self::problem`] tells it later on.
    pub fn open_or_closed(files: &VaultFiles, clock: SharedClock) -> (Self, Option<VaultError>) {
        let credentials = credentials_directory();
        let (state, problem) = match State::open(files, credentials.as_deref()) {
            Ok(state) => {
                state.warn();
                (Ok(state), None)
            }
            Err(error) => (Err(error.to_string()), Some(error)),
        };
        let vault = Self(Arc::new(Inner {
            files: files.clone(),
            credentials,
            clock,
            state: RwLock::new(state),
        }));
        (vault, problem)
    }

    /// Opens the vault with the key in `credentials`, a folder that systemd filled, if one is there.
    pub fn open_with(
        files: &VaultFiles,
        clock: SharedClock,
        credentials: Option<&Path>,
    ) -> Result<Self, VaultError> {
        let state = State::open(files, credentials)?;
        state.warn();
        Ok(Self(Arc::new(Inner {
            files: files.clone(),
            credentials: credentials.map(Path::to_owned),
            clock,
            state: RwLock::new(Ok(state)),
        })))
    }

    /// Reads the file again if it changed since; opens it if it could not be opened before. On an error, what was read
    /// before stays.
    ///
    /// Returns whether it had changed.
    pub fn refresh(&self) -> Result<bool, VaultError> {
        let known = self.state().as_ref().ok().map(|state| state.stamp);
        if let Some(stamp) = known
            && Stamp::of(&self.0.files.file)? == stamp
        {
            return Ok(false);
        }
        let fresh = self.read();
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(fresh) => *state = Ok(fresh),
            Err(error) => {
                if let Err(problem) = state.as_mut() {
                    *problem = error.to_string();
                }
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Whether file and key could be read again now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), VaultError> {
        self.read().map(drop)
    }

    /// Why the vault could not be opened, if it could not.
    pub fn problem(&self) -> Option<String> {
        self.state().as_ref().err().cloned()
    }

    /// The value of a secret; `None` if the vault holds none.
    pub fn get(&self, owner: &AccountId, name: &str) -> Result<Option<SecretString>, VaultError> {
        match &*self.state() {
            Ok(state) => state.contents.get(owner.as_str(), name),
            Err(problem) => Err(VaultError::Closed(problem.clone())),
        }
    }

    /// Keeps secrets of one owner, all of them or none. On disk when it returns.
    pub fn set(&self, owner: &AccountId, secrets: &[(String, SecretString)]) -> Result<(), VaultError> {
        let fresh: Vec<Fresh> = secrets
            .iter()
            .map(|(name, secret)| Fresh::new(name.clone(), secret.clone(), None))
            .collect();
        self.exchange(owner, &fresh, &[])
    }

    /// Keeps secrets of one owner and forgets others of it, in one step. On disk when it returns.
    pub fn exchange(&self, owner: &AccountId, fresh: &[Fresh], forget: &[&str]) -> Result<(), VaultError> {
        for one in fresh {
            fits(&one.name, &one.value)?;
        }
        self.change(|contents, key, now| {
            for name in forget {
                contents.remove(owner.as_str(), Some(name));
            }
            for one in fresh {
                let (name, until) = (one.name.as_str(), one.expires_at);
                contents.set(key, owner.as_str(), name, &one.value, until, now)?;
            }
            if contents.len() > MAX_RECORDS {
                return Err(VaultError::Unfit(format!(
                    "the vault holds at most {MAX_RECORDS} secrets"
                )));
            }
            Ok(true)
        })
    }

    /// Forgets secrets of one owner: the one named, or all. Returns how many there were. On disk when it returns.
    pub fn remove(&self, owner: &AccountId, name: Option<&str>) -> Result<usize, VaultError> {
        let mut removed = 0;
        self.change(|contents, _, _| {
            removed = contents.remove(owner.as_str(), name);
            Ok(removed > 0)
        })?;
        Ok(removed)
    }

    /// Forgets the lines of the file that cannot be read as a record, after a person has looked. Returns how many.
    pub fn discard_unreadable(&self) -> Result<usize, VaultError> {
        let mut discarded = 0;
        self.change(|contents, _, _| {
            discarded = contents.discard_unreadable();
            Ok(discarded > 0)
        })?;
        Ok(discarded)
    }

    /// Every secret without its value, by owner and name.
    pub fn list(&self) -> Vec<Entry> {
        self.state()
            .as_ref()
            .map_or_else(|_| Vec::new(), |state| state.contents.list())
    }

    /// How many lines of the file cannot even be read as a record of someone.
    pub fn unreadable(&self) -> usize {
        self.state()
            .as_ref()
            .map_or(0, |state| state.contents.unreadable())
    }

    /// The fingerprint of the key in use; `None` as long as the vault is not open.
    pub fn key_id(&self) -> Option<String> {
        self.state().as_ref().ok().map(|state| state.key.id().to_owned())
    }

    /// The secrets of one account or relay, for its adapter.
    pub fn secrets_for(&self, owner: &AccountId) -> Arc<dyn Secrets> {
        Arc::new(OwnSecrets {
            vault: self.clone(),
            owner: owner.clone(),
        })
    }

    fn read(&self) -> Result<State, VaultError> {
        State::open(&self.0.files, self.0.credentials.as_deref())
    }

    fn state(&self) -> RwLockReadGuard<'_, Result<State, String>> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, changes and writes under the lock. `change` says whether there is anything to write.
    fn change(
        &self,
        change: impl FnOnce(&mut Contents, &Key, Timestamp) -> Result<bool, VaultError>,
    ) -> Result<(), VaultError> {
        let file = &self.0.files.file;
        let _lock = disk::lock(disk::folder_of(file))?;
        // One that was closed when it was last tried may open by now; if not, this says why.
        let mut fresh = self.read()?;
        if change(&mut fresh.contents, &fresh.key, self.0.clock.now())? {
            fresh.stamp = disk::replace(file, fresh.contents.to_text(&fresh.key).as_bytes())?;
        }
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Ok(fresh);
        Ok(())
    }
}

impl State {
    /// Reads the vault, with whichever of the keys at hand it was sealed with: right after a rotation systemd's credential is
    /// still the old one, and if the rotation was cut off the new one stands beside the old.
    fn open(files: &VaultFiles, credentials: Option<&Path>) -> Result<Self, VaultError> {
        let path = &files.file;
        let (key, place) = match Key::find(files, credentials) {
            // On a new machine neither is there; then the vault is what to make, not the key what to look for.
            Err(VaultError::NoKey(_)) if path.symlink_metadata().is_err() => {
                return Err(VaultError::NoVault(path.clone()));
            }
            other => other?,
        };
        disk::check_folder(disk::folder_of(path))?;
        let (bytes, stamp) =
            disk::read_private(path, disk::MAX_VAULT)?.ok_or_else(|| VaultError::NoVault(path.clone()))?;
        let open = |key: Key, place: Place| -> Result<Self, VaultError> {
            Ok(Self {
                contents: Contents::from_bytes(path, &bytes, &key)?,
                stamp,
                key,
                place,
            })
        };
        match open(key, place) {
            Err(VaultError::WrongKey {
                path,
                sealed_with,
                at_hand,
            }) => {
                let other = Key::others(files).find(|(key, _)| key.id() == sealed_with);
                let (key, place) = other.ok_or(VaultError::WrongKey {
                    path,
                    sealed_with,
                    at_hand,
                })?;
                open(key, place)
            }
            opened => opened,
        }
    }

    fn warn(&self) {
        if self.place == Place::Pending {
            tracing::warn!("a rotation of the vault's key was cut off; `vardkase vault rotate` finishes it");
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.list() {
            names.entry(entry.owner).or_default().push(entry.name);
        }
        f.debug_struct("Vault")
            .field("file", &self.0.files.file)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

/// systemd's folder of credentials for this service.
fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

fn fits(name: &str, secret: &SecretString) -> Result<(), VaultError> {
    let plain = !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    // The name is not repeated: someone may have taken it for the value.
    let wrong = if !plain {
        "the name of a secret is 1–63 of a–z, 0–9 and _".to_owned()
    } else if secret.expose_secret().is_empty() {
        format!("{name}: an empty secret is none; to forget it use `vardkase credentials remove`")
    } else if secret.expose_secret().len() > MAX_SECRET {
        format!("{name}: longer than {} KiB", MAX_SECRET / 1024)
    } else {
        return Ok(());
    };
    Err(VaultError::Unfit(wrong))
}

/// What an adapter sees of the vault: its own account's secrets.
struct OwnSecrets {
    vault: Vault,
    owner: AccountId,
}

impl fmt::Debug for OwnSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .vault
            .list()
            .into_iter()
            .filter(|entry| entry.owner == self.owner.as_str())
            .map(|entry| entry.name)
            .collect();
        f.debug_struct("OwnSecrets")
            .field("owner", &self.owner)
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Secrets for OwnSecrets {
    fn get(&self, name: &str) -> Option<SecretString> {
        match self.vault.get(&self.owner, name) {
            Ok(secret) => secret,
            Err(error) => {
                tracing::error!(account.id = %self.owner, secret.name = name, %error, "secret refused");
                None
            }
        }
    }

    fn require(&self, name: &'static str) -> Result<SecretString, Reason> {
        let owner = &self.owner;
        match self.vault.get(owner, name) {
            Ok(Some(secret)) if !secret.expose_secret().is_empty() => Ok(secret),
            Ok(_) => Err(Reason::new(
                "no-credential",
                format!(
                    "the vault holds no {name} of {owner}; set it with `vardkase credentials set {owner}`"
                ),
            )),
            Err(error) => Err(Reason::new(
                "vault",
                format!("{name} of {owner} cannot be read: {error}"),
            )),
        }
    }

    async fn rotate(&self, name: &str, secret: SecretString) -> Result<(), Reason> {
        self.keep(vec![Fresh::new(name, secret, None)]).await
    }

    async fn keep(&self, fresh: Vec<Fresh>) -> Result<(), Reason> {
        let vault = self.vault.clone();
        let owner = self.owner.clone();
        let kept = tokio::task::spawn_blocking(move || vault.exchange(&owner, &fresh, &[])).await;
        match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Reason::new("vault", error.to_string())),
            Err(_) => Err(Reason::new(
                "vault",
                "the vault could not be written: the write was abandoned",
            )),
        }
    }

    fn expires_at(&self, name: &str) -> Option<Timestamp> {
        let held = self.vault.list();
        let own = |entry: &&Entry| entry.owner == self.owner.as_str() && entry.name == name;
        held.iter().find(own).and_then(|entry| entry.expires_at)
    }
}
