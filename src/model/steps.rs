//! What an attempt of several steps has done so far. A container that was made, a file that was uploaded, the first part
//! of a thread: each is on disk before the next step begins, so that a crash in the middle goes on and repeats nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::Reason;

/// Writes a step of one delivery down.
#[async_trait]
pub trait Notebook: Send + Sync {
    /// Returns when it is on disk.
    async fn write(&self, name: &str, value: &str) -> Result<(), Reason>;
}

/// The steps of one delivery, over all its attempts. Clones share what they know.
#[derive(Clone, Default)]
pub struct Steps {
    known: Arc<Mutex<BTreeMap<String, String>>>,
    notebook: Option<Arc<dyn Notebook>>,
}

impl Steps {
    /// Steps that earlier attempts made.
    pub fn known(known: BTreeMap<String, String>) -> Self {
        Self {
            known: Arc::new(Mutex::new(known)),
            notebook: None,
        }
    }

    /// The same, with a place where new ones are written.
    #[must_use]
    pub fn written_to(&self, notebook: Arc<dyn Notebook>) -> Self {
        Self {
            known: Arc::clone(&self.known),
            notebook: Some(notebook),
        }
    }

    /// Steps that are kept nowhere but here: for tests.
    pub fn of<'a>(known: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let known = known
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::known(known.collect())
    }

    /// What the step gave, if it was made.
    pub fn get(&self, name: &str) -> Option<String> {
        self.lock().get(name).cloned()
    }

    /// All steps, by name.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    /// Writes down what a step gave (an id of the service, never a secret). The next step may begin when this returns.
    ///
    /// # Errors
    /// If it could not be written: the attempt must end here. It was not sent as a whole.
    pub async fn record(&self, name: &str, value: &str) -> Result<(), Reason> {
        if let Some(notebook) = &self.notebook {
            notebook.write(name, value).await?;
        }
        self.lock().insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Steps {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Steps {}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&*self.lock()).finish()
    }
}
