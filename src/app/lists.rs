//! Lists in files: read through when somebody asks how many they are, and put into the database, a chunk at a time, when
//! a command uses them. Never in memory as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{App, AppError, list};
use crate::check::Finding;
use crate::config::{Account, Config, Files, List, Reader, Survey, survey};
use crate::model::{AccountId, ListId, Reason, Recipient};
use crate::store::{CHUNK, StagedList};

/// Chunks that go to the database together: few flushes, and still little to wait for.
const TOGETHER: usize = 8;
/// Faulty lines that the journal names.
const NAMED: usize = 20;
/// The name of the check that tells of lists.
const CHECK: &str = "list";

/// What was found in the lists, by list, as long as their files stay as they are.
pub(super) type Surveys = BTreeMap<ListId, (Stamp, Arc<Survey>)>;

/// What shows that files have changed: name, length and time of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Files, Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    fn of(files: &Files) -> Self {
        let about = |path: &Path| {
            let about = std::fs::metadata(path).ok();
            let length = about.as_ref().map_or(0, std::fs::Metadata::len);
            (
                path.to_owned(),
                length,
                about.and_then(|about| about.modified().ok()),
            )
        };
        let mut all = vec![about(&files.place)];
        if files.folder {
            let entries = std::fs::read_dir(&files.place).into_iter().flatten().flatten();
            all.extend(entries.take(2000).map(|entry| about(&entry.path())));
            all.sort();
        }
        Self(files.clone(), all)
    }
}

/// A list of a command: its recipients in the database, or why there are none.
pub(super) type Staged = Result<StagedList, Reason>;

impl App {
    /// What the list of an account holds; `None` on accounts without one.
    pub(super) async fn survey(&self, config: &Config, account: &Account) -> Option<Arc<Survey>> {
        let list = list(config, account)?;
        let Some(files) = list.files.clone() else {
            return Some(Arc::new(list.survey()));
        };
        let known = super::lock(&self.surveys).get(&list.id).cloned();
        let kind = list.kind;
        let read = tokio::task::spawn_blocking(move || {
            let stamp = Stamp::of(&files);
            match known {
                Some((before, found)) if before == stamp => (stamp, found),
                _ => (stamp, Arc::new(survey(&files, kind))),
            }
        });
        let (stamp, found) = read.await.ok()?;
        super::lock(&self.surveys).insert(list.id.clone(), (stamp, Arc::clone(&found)));
        Some(found)
    }

    /// What the lists of these accounts hold.
    pub(super) async fn surveys(
        &self,
        config: &Config,
        accounts: &[&Account],
    ) -> BTreeMap<AccountId, Arc<Survey>> {
        let mut all = BTreeMap::new();
        for account in accounts {
            if let Some(found) = self.survey(config, account).await {
                all.insert(account.id.clone(), found);
            }
        }
        all
    }

    /// Puts a list into the database: read, checked and written chunk by chunk, each in a small commit of its own.
    pub(super) async fn stage(&self, list: &List) -> Result<Staged, AppError> {
        let (chunks, mut read) = mpsc::channel::<Vec<String>>(2);
        let source = list.clone();
        let reading = tokio::task::spawn_blocking(move || Chunks::new(chunks).read(&source));
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut first = 0;
        while let Some(bodies) = read.recv().await {
            let many = bodies.len() as u64;
            self.store.stage(&id, first, bodies, self.now()).await?;
            first += many;
        }
        let (hash, found) = reading
            .await
            .map_err(|_| AppError::Conflict(format!("the list {} could not be read", list.id)))?;
        if let Some(why) = found.useless() {
            return Ok(Err(Reason::new("list", why)));
        }
        Ok(Ok(StagedList {
            id,
            digest: hex::encode(hash.finalize()),
            chunks: first,
            entries: found.entries,
            faults: found.faults,
            named: found.named.iter().map(ToString::to_string).collect(),
        }))
    }
}

/// What a list gives while it is read.
struct Chunks {
    to: mpsc::Sender<Vec<String>>,
    ready: Vec<String>,
    chunk: Vec<Recipient>,
    hash: Sha256,
    found: Survey,
}

impl Chunks {
    fn new(to: mpsc::Sender<Vec<String>>) -> Self {
        Self {
            to,
            ready: Vec::with_capacity(TOGETHER),
            chunk: Vec::with_capacity(CHUNK),
            hash: Sha256::new(),
            found: Survey::default(),
        }
    }

    /// Reads all of it. Whoever takes the chunks has heard of the last one when this has returned.
    fn read(mut self, list: &List) -> (Sha256, Survey) {
        match &list.files {
            None => {
                for recipient in &list.recipients {
                    self.take(recipient.clone());
                }
            }
            Some(files) => {
                for entry in Reader::new(files, list.kind) {
                    match entry {
                        Ok(recipient) => self.take(recipient),
                        Err(fault) => self.found.fault(fault, NAMED),
                    }
                    // Nobody takes it any more: the daemon stops, or the database failed.
                    if self.to.is_closed() {
                        break;
                    }
                }
            }
        }
        self.close_chunk();
        self.hand_over();
        (self.hash, self.found)
    }

    fn take(&mut self, recipient: Recipient) {
        self.found.entries += 1;
        self.hash.update(recipient.address());
        self.hash.update(b"\n");
        self.chunk.push(recipient);
        if self.chunk.len() == CHUNK {
            self.close_chunk();
            if self.ready.len() == TOGETHER {
                self.hand_over();
            }
        }
    }

    fn close_chunk(&mut self) {
        if !self.chunk.is_empty() {
            // Addresses are texts: they always make JSON.
            self.ready
                .push(serde_json::to_string(&self.chunk).unwrap_or_default());
            self.chunk.clear();
        }
    }

    fn hand_over(&mut self) {
        if !self.ready.is_empty() {
            // Whoever took them has gone: the command failed, and says so itself.
            self.to.blocking_send(std::mem::take(&mut self.ready)).ok();
        }
    }
}

/// What a person should know of the list of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct State<'a> {
    /// Why nobody can be reached through it.
    pub useless: Option<&'a str>,
    /// Lines that cannot be read.
    pub faults: u64,
    /// The first of them.
    pub first: Option<&'a str>,
}

/// What is to be said of an account's list before a message goes to it; `only` if the message goes nowhere else.
pub(super) fn finding(id: &AccountId, list: &ListId, state: State<'_>, only: bool) -> Option<Finding> {
    if let Some(why) = state.useless {
        let text = format!(
            "Listan {list} går inte att använda: {why}. Inget skickas till den förrän den är rättad."
        );
        return Some(if only {
            Finding::block(CHECK, Some(id), text)
        } else {
            Finding::warn(CHECK, Some(id), format!("{text} Övriga konton påverkas inte."))
        });
    }
    (state.faults > 0).then(|| {
        let text = format!(
            "{} rader i listan {list} går inte att läsa och hoppas över. Den första: {}. `vardkase check` visar dem.",
            state.faults,
            state.first.unwrap_or("okänd")
        );
        Finding::warn(CHECK, Some(id), text)
    })
}
