//! Lists in files: read through when somebody asks how many they are, and put into the database, a chunk at a time, when
//! a command uses them. Never in memory as a whole.

use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{App, AppError, list};
use crate::check::Finding;
use crate::config::{Account, Config, Files, List, Reader, Survey, survey};
use crate::model::{AccountId, AddressKind, ListId, Reason, Recipient};
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

/// The hashes of the places that stand in a list more than once under different addresses: a browser that subscribed
/// again has the same place and new keys, and only the last of them can be read there. Eight bytes a subscription while
/// this is found out, and nothing of any other list: its addresses are the same to the letter, which the store sees.
fn twice(files: &Files, kind: AddressKind) -> HashSet<u64> {
    let (mut once, mut twice) = (HashSet::new(), HashSet::new());
    if kind == AddressKind::Push {
        for recipient in Reader::new(files, kind).flatten() {
            let hash = hash_of(&kind.place(&recipient));
            if !once.insert(hash) {
                twice.insert(hash);
            }
        }
    }
    twice
}

/// Two places of one hash are no harm: they are kept apart by their names.
fn hash_of(place: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish()
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
                let twice = twice(files, list.kind);
                let mut held: BTreeMap<String, Recipient> = BTreeMap::new();
                for entry in Reader::new(files, list.kind) {
                    match entry {
                        Ok(recipient) if twice.is_empty() => self.take(recipient),
                        Ok(recipient) => {
                            let place = list.kind.place(&recipient);
                            if twice.contains(&hash_of(&place)) {
                                held.insert(place, recipient);
                            } else {
                                self.take(recipient);
                            }
                        }
                        Err(fault) => self.found.fault(fault, NAMED),
                    }
                    // Nobody takes it any more: the daemon stops, or the database failed.
                    if self.to.is_closed() {
                        break;
                    }
                }
                for recipient in held.into_values() {
                    self.take(recipient);
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn list(folder: &Path, name: &str, kind: AddressKind) -> List {
        List {
            id: "boende".parse().unwrap(),
            kind,
            recipients: Vec::new(),
            files: Some(Files {
                place: folder.join(name),
                folder: false,
                column: None,
            }),
            unsubscribe: None,
        }
    }

    /// Reads a list as the daemon does, and says how many batches there were and how many stood ready at most.
    fn taken(list: &List, mut each: impl FnMut(Recipient)) -> (u64, usize) {
        let (to, mut from) = mpsc::channel(2);
        let source = list.clone();
        let reading = std::thread::spawn(move || Chunks::new(to).read(&source));
        let (mut batches, mut most) = (0, 0);
        while let Some(bodies) = from.blocking_recv() {
            batches += 1;
            most = most.max(from.len() + 1);
            for body in bodies {
                let chunk: Vec<Recipient> = serde_json::from_str(&body).unwrap();
                assert!(chunk.len() <= CHUNK);
                chunk.into_iter().for_each(&mut each);
            }
        }
        let (_, found) = reading.join().unwrap();
        assert_eq!(found.faults, 0);
        (batches, most)
    }

    #[test]
    fn a_million_lines_pass_through_a_few_chunks_at_a_time() {
        const MANY: u64 = 1_000_000;
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::from("telefon\n");
        for n in 0..MANY {
            writeln!(text, "+4670{n:07}").unwrap();
        }
        std::fs::write(folder.path().join("boende.csv"), &text).unwrap();
        drop(text);
        let list = list(folder.path(), "boende.csv", AddressKind::Phone);
        let mut next = 0;
        let (batches, most) = taken(&list, |recipient| {
            assert_eq!(recipient.address(), format!("+4670{next:07}"));
            next += 1;
        });
        assert_eq!(next, MANY, "each once, in the order of the file");
        let batch = (CHUNK * TOGETHER) as u64;
        assert_eq!(batches, MANY.div_ceil(batch));
        // Two wait, one is being taken: the reader stands still until somebody takes more.
        assert!(most <= 3, "{most} batches stood ready");
    }

    #[test]
    fn a_browser_that_subscribed_again_counts_once_with_its_latest_keys() {
        let folder = tempfile::tempdir().unwrap();
        let line = |endpoint: &str, auth: &str| {
            format!(
                "{{\"endpoint\":\"https://push.example.net/{endpoint}\",\"keys\":{{\"p256dh\":\"BCVxsr7N_eNgVRqvHtD0zTZsEc6-\
                 VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4\",\"auth\":\"{auth}\"}}}}\n"
            )
        };
        let (old, new) = ("BTBZMqHH6r4Tts7J_aSIgg", "DGv6ra1nlYgDCS1FRnbzlw");
        let text = line("a", old) + &line("b", old) + &line("a", new) + &line("c", new);
        std::fs::write(folder.path().join("lasare.jsonl"), text).unwrap();
        let list = list(folder.path(), "lasare.jsonl", AddressKind::Push);
        let mut seen = Vec::new();
        taken(&list, |recipient| {
            let read: serde_json::Value = serde_json::from_str(recipient.address()).unwrap();
            seen.push((
                read["endpoint"].as_str().unwrap().to_owned(),
                read["keys"]["auth"].as_str().unwrap().to_owned(),
            ));
        });
        seen.sort();
        let expected = [("a", new), ("b", old), ("c", new)]
            .map(|(name, auth)| (format!("https://push.example.net/{name}"), auth.to_owned()));
        assert_eq!(seen, expected);
    }
}
