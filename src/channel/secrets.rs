//! How an adapter gets at its secrets without knowing the vault.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Timestamp;
use crate::model::Reason;

/// A secret that a service gave, and until when it holds.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// Its name in the vault.
    pub name: String,
    /// Its value.
    pub value: SecretString,
    /// When it ends; `None` if it does not, or nobody knows.
    pub expires_at: Option<Timestamp>,
}

impl Fresh {
    /// A secret that holds until `expires_at`.
    pub fn new(
        name: impl Into<String>,
        value: impl Into<SecretString>,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            expires_at,
        }
    }
}

/// The secrets of one account.
#[async_trait]
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The secret named `name`, if the vault holds one.
    fn get(&self, name: &str) -> Option<SecretString>;

    /// Replaces the secret named `name`. On disk, flushed, when it returns; only then may the new one be used.
    async fn rotate(&self, name: &str, secret: SecretString) -> Result<(), Reason>;

    /// Replaces several secrets, all of them or none. On disk, flushed, when it returns.
    async fn keep(&self, fresh: Vec<Fresh>) -> Result<(), Reason> {
        for one in fresh {
            self.rotate(&one.name, one.value).await?;
        }
        Ok(())
    }

    /// When the secret named `name` ends, if that is known.
    fn expires_at(&self, _name: &str) -> Option<Timestamp> {
        None
    }

    /// The secret named `name`, or what to do about its absence.
    fn require(&self, name: &'static str) -> Result<SecretString, Reason> {
        self.get(name)
            .filter(|s| !s.expose_secret().is_empty())
            .ok_or_else(|| {
                Reason::new(
                    "no-credential",
                    format!("the vault holds no {name}; set it with `vardkase credentials set`"),
                )
            })
    }
}

/// Secrets that live in memory only: for practice accounts and tests.
#[derive(Default)]
pub struct InMemory(Mutex<BTreeMap<String, SecretString>>);

impl InMemory {
    /// The given secrets.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(Mutex::new(
            pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
        ))
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, SecretString>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.map().keys()).finish()
    }
}

#[async_trait]
impl Secrets for InMemory {
    fn get(&self, name: &str) -> Option<SecretString> {
        self.map().get(name).cloned()
    }

    async fn rotate(&self, name: &str, secret: SecretString) -> Result<(), Reason> {
        self.map().insert(name.to_owned(), secret);
        Ok(())
    }
}
