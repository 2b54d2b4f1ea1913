//! How the vault looks on disk: JSON, one record a line, so that a damaged line takes no other with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::key::Key;
use super::{Entry, VaultError};
use crate::clock::Timestamp;

const FORMAT: u32 = 1;
const ALGORITHM: &str = "XChaCha20-Poly1305";
/// What follows the header on its line.
const OPENING: &str = ", \"records\": [";

/// What the records were sealed with.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    algorithm: String,
    key_id: String,
}

/// One secret as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    owner: String,
    name: String,
    /// Counts the times that it was set.
    version: u64,
    updated_at: Timestamp,
    /// When the secret ends, where the service said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    nonce: String,
    sealed: String,
}

/// A record with what it opened to; nothing if it was damaged.
struct Kept {
    record: Record,
    secret: Option<SecretString>,
}

impl Kept {
    fn entry(&self) -> Entry {
        Entry {
            owner: self.record.owner.clone(),
            name: self.record.name.clone(),
            updated_at: self.record.updated_at,
            expires_at: self.record.expires_at,
            sound: self.secret.is_some(),
        }
    }
}

/// Everything in a vault.
#[derive(Default)]
pub struct Contents {
    records: BTreeMap<(String, String), Kept>,
    /// Lines that are no record any more. Kept as they are: a person may still make something of them.
    unreadable: Vec<String>,
}

impl Record {
    /// Everything about the record but the secret, unambiguous: each part with its length.
    fn about(&self) -> Vec<u8> {
        let mut about = Vec::new();
        let version = self.version.to_string();
        let updated_at = self.updated_at.as_microsecond().to_string();
        let expires_at = self.expires_at.map(|at| at.as_microsecond().to_string());
        let parts = [
            "vardkase vault",
            ALGORITHM,
            "1",
            &self.owner,
            &self.name,
            &version,
            &updated_at,
        ];
        // Absent where there is none: what was sealed before secrets had an end still opens.
        for part in parts.into_iter().chain(expires_at.as_deref()) {
            about.extend_from_slice(&(part.len() as u64).to_be_bytes());
            about.extend_from_slice(part.as_bytes());
        }
        about
    }

    fn open(&self, key: &Key) -> Option<SecretString> {
        let nonce = STANDARD.decode(&self.nonce).ok()?;
        let sealed = STANDARD.decode(&self.sealed).ok()?;
        let plain = key.open(&nonce, &sealed, &self.about())?;
        Some(SecretString::from(std::str::from_utf8(&plain).ok()?))
    }
}

impl Contents {
    /// Reads a vault; every record that opens does, whatever happened to the others.
    pub fn from_bytes(path: &Path, bytes: &[u8], key: &Key) -> Result<Self, VaultError> {
        let damaged = |what: &str| VaultError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        // A byte that is no text any more spoils its record, not the file.
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let header = lines
            .next()
            .and_then(|line| line.strip_suffix(OPENING))
            .and_then(|line| serde_json::from_str::<Header>(&format!("{line}}}")).ok())
            .ok_or_else(|| damaged("its first line is not that of a vault"))?;
        if header.format != FORMAT || header.algorithm != ALGORITHM {
            return Err(damaged(&format!(
                "has the format {} with {:?}, and this program reads {FORMAT} with {ALGORITHM:?}",
                header.format,
                header.algorithm.chars().take(40).collect::<String>()
            )));
        }
        if header.key_id != key.id() {
            return Err(VaultError::WrongKey {
                path: path.to_owned(),
                sealed_with: header.key_id.chars().take(40).collect(),
                at_hand: key.id().to_owned(),
            });
        }
        let mut contents = Self::default();
        let mut complete = false;
        for line in lines {
            let line = line.trim();
            if line == "]}" {
                complete = true;
            } else if !line.is_empty() {
                contents.add(line, key);
            }
        }
        // A cut file would otherwise pass for one with fewer secrets.
        if !complete {
            contents
                .unreadable
                .push("(the end of the file is missing)".to_owned());
        }
        Ok(contents)
    }

    fn add(&mut self, line: &str, key: &Key) {
        let line = line.strip_suffix(',').unwrap_or(line);
        let Ok(record) = serde_json::from_str::<Record>(line) else {
            self.unreadable.push(line.to_owned());
            return;
        };
        let secret = record.open(key);
        let at = (record.owner.clone(), record.name.clone());
        // A damaged name may coincide with another record's; the one that opens is the true one.
        if secret.is_some() || !self.records.contains_key(&at) {
            self.records.insert(at, Kept { record, secret });
        }
    }

    /// The whole file.
    pub fn to_text(&self, key: &Key) -> String {
        let header = Header {
            format: FORMAT,
            algorithm: ALGORITHM.to_owned(),
            key_id: key.id().to_owned(),
        };
        let header = serde_json::to_string(&header).unwrap_or_default();
        let header = header.strip_suffix('}').unwrap_or(&header);
        let records = self
            .records
            .values()
            .filter_map(|kept| serde_json::to_string(&kept.record).ok());
        let lines: Vec<String> = records.chain(self.unreadable.iter().cloned()).collect();
        let mut text = format!("{header}{OPENING}\n");
        for (n, line) in lines.iter().enumerate() {
            let comma = if n + 1 < lines.len() { "," } else { "" };
            // Writing to a String cannot fail.
            writeln!(text, "{line}{comma}").ok();
        }
        text.push_str("]}\n");
        text
    }

    /// Seals every secret with another key. What cannot be opened cannot be sealed anew.
    pub fn reseal(&mut self, key: &Key) -> Result<(), VaultError> {
        for kept in self.records.values_mut() {
            let Some(secret) = &kept.secret else { continue };
            let about = kept.record.about();
            let (nonce, sealed) = key.seal(secret.expose_secret().as_bytes(), &about)?;
            kept.record.nonce = STANDARD.encode(nonce);
            kept.record.sealed = STANDARD.encode(sealed);
        }
        Ok(())
    }

    /// Every secret with its value, by owner and name; damaged ones are left out.
    pub fn all(&self) -> impl Iterator<Item = (Entry, &SecretString)> {
        self.records.values().filter_map(|kept| {
            let secret = kept.secret.as_ref()?;
            Some((kept.entry(), secret))
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many lines are no record.
    pub fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Drops the lines that are no record.
    pub fn discard_unreadable(&mut self) -> usize {
        std::mem::take(&mut self.unreadable).len()
    }

    /// The value of a secret.
    pub fn get(&self, owner: &str, name: &str) -> Result<Option<SecretString>, VaultError> {
        let Some(kept) = self.records.get(&(owner.to_owned(), name.to_owned())) else {
            return Ok(None);
        };
        match &kept.secret {
            Some(secret) => Ok(Some(secret.clone())),
            None => Err(VaultError::DamagedSecret {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
        }
    }

    /// Seals a secret in the place of the one before it.
    pub fn set(
        &mut self,
        key: &Key,
        owner: &str,
        name: &str,
        secret: &SecretString,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let at = (owner.to_owned(), name.to_owned());
        let version = self.records.get(&at).map_or(0, |kept| kept.record.version);
        let mut record = Record {
            owner: owner.to_owned(),
            name: name.to_owned(),
            version: version.saturating_add(1),
            updated_at: now,
            expires_at,
            nonce: String::new(),
            sealed: String::new(),
        };
        let (nonce, sealed) = key.seal(secret.expose_secret().as_bytes(), &record.about())?;
        record.nonce = STANDARD.encode(nonce);
        record.sealed = STANDARD.encode(sealed);
        let secret = Some(secret.clone());
        self.records.insert(at, Kept { record, secret });
        Ok(())
    }

    /// Drops one secret of an owner, or all.
    pub fn remove(&mut self, owner: &str, name: Option<&str>) -> usize {
        let before = self.records.len();
        self.records
            .retain(|(whose, which), _| whose != owner || name.is_some_and(|name| name != which));
        before - self.records.len()
    }

    /// Every secret without its value.
    pub fn list(&self) -> Vec<Entry> {
        self.records.values().map(Kept::entry).collect()
    }
}
