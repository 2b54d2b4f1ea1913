//! What was done with the vault while no daemon ran: noted beside it, and told to the journal at the next start. Never a
//! secret.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{VaultError, disk};
use crate::clock::Timestamp;
use crate::config::VaultFiles;

/// Largest file of notes. Beyond it nothing is noted any more; the next start still sees which secrets were changed.
const MOST: u64 = 1024 * 1024;

/// One deed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Tells it from every other, should it be told twice.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub body: Value,
}

fn path(files: &VaultFiles) -> PathBuf {
    disk::folder_of(&files.file).join("vault.untold.jsonl")
}

/// Notes a deed. On disk when it returns.
pub fn add(files: &VaultFiles, note: &Note) -> Result<(), VaultError> {
    let path = path(files);
    let _lock = disk::lock(disk::folder_of(&files.file))?;
    let io = |source: std::io::Error| VaultError::Io {
        doing: "cannot be written",
        path: path.clone(),
        source,
    };
    let mut line = serde_json::to_vec(note).map_err(|error| io(error.into()))?;
    line.push(b'\n');
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(io)?;
    if file.metadata().map_err(io)?.len() > MOST {
        return Err(io(std::io::Error::other("is full; start the daemon once")));
    }
    file.write_all(&line).map_err(io)?;
    file.sync_all().map_err(io)?;
    disk::give_like(&path, disk::folder_of(&files.file))?;
    disk::flush_folder(disk::folder_of(&files.file))
}

/// Every deed that was noted, oldest first. A line that cannot be read is left out.
pub fn read(files: &VaultFiles) -> Result<Vec<Note>, VaultError> {
    let Some((bytes, _)) = disk::read_private(&path(files), 2 * MOST)? else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Forgets the notes, once the journal has them.
pub fn clear(files: &VaultFiles) -> Result<(), VaultError> {
    let folder: &Path = disk::folder_of(&files.file);
    let _lock = disk::lock(folder)?;
    disk::remove(&path(files))?;
    disk::flush_folder(folder)
}
