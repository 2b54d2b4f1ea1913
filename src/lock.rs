//! One daemon to a data directory. A lock that the kernel drops with the process, and a file that says who holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Where the lock of a daemon goes that was taken over from.
const SET_ASIDE: &str = "lock.set-aside";

/// Who holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Machine.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
}

/// Who it is, in words.
pub fn named(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "who it is cannot be read".to_owned(),
        |h| format!("pid {} on {}, since {}", h.pid, h.host, h.since),
    )
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon runs on it.
    #[error(
        "another daemon holds {}: {}. Stop that one first (`systemctl stop vardkase`). Only if it hangs and cannot be \
         stopped, start with --take-over: it is then locked out of the database.",
        dir.display(),
        named(holder.as_ref())
    )]
    Held {
        /// The data directory.
        dir: PathBuf,
        /// Who, if it can be read.
        holder: Option<Holder>,
    },
    /// The folder or the file cannot be used.
    #[error("{path}: {error}. The data directory must belong to the user that the daemon runs as.", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A held data directory. Released when dropped, or by the kernel when the process ends.
#[derive(Debug)]
pub struct DataDir {
    file: File,
    path: PathBuf,
    /// Whether another daemon's lock was set aside.
    took_over: bool,
    /// The id of this data directory, made when it was first used: tells a restored database from its own.
    pub node: String,
}

/// Makes the folder if needed (mode 0700), locks it, and writes who holds it.
///
/// With `take_over`, a lock that another process holds is set aside: that process keeps a lock on a file that no longer
/// counts, and every one of its writes is refused by the lanes' epochs.
///
/// # Errors
/// [`LockError::Held`] at once, naming the holder, if another daemon runs on it.
pub fn hold(dir: &Path, now: Timestamp, take_over: bool) -> Result<DataDir, LockError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| LockError::Io { path, error }
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io(dir))?;
    let path = dir.join("lock");
    let mut file = open(&path).map_err(io(&path))?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    if is_held {
        let holder = read_holder(&mut file);
        if !take_over {
            return Err(LockError::Held {
                dir: dir.to_owned(),
                holder,
            });
        }
        tracing::warn!(holder = ?holder, "taking the data directory over from a daemon that still holds it");
        std::fs::rename(&path, dir.join(SET_ASIDE)).map_err(io(&path))?;
        file = open(&path).map_err(io(&path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| LockError::Held {
            dir: dir.to_owned(),
            holder: None,
        })?;
    }
    let holder = Holder {
        pid: std::process::id(),
        host: hostname::get()
            .map(|h| h.to_string_lossy().into_owned())
            .unwrap_or_default(),
        since: now,
    };
    write_holder(&mut file, &holder).map_err(io(&path))?;
    let node_path = dir.join("node");
    let node = node_id(&node_path).map_err(io(&node_path))?;
    Ok(DataDir {
        file,
        path,
        took_over: is_held,
        node,
    })
}

impl DataDir {
    /// Undoes a take-over that came to nothing: the daemon that was set aside goes on, if it can.
    ///
    /// Returns whether there was one.
    pub fn give_back(self) -> bool {
        if !self.took_over || !self.is_ours() {
            return false;
        }
        let back = std::fs::rename(self.path.with_file_name(SET_ASIDE), &self.path);
        if let Err(error) = &back {
            tracing::warn!(%error, "the data directory could not be given back to the daemon before");
        }
        back.is_ok()
    }

    /// Whether the lock that we hold is still the one that counts: not so after another daemon took over.
    pub fn is_ours(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())?;
    file.sync_data()
}

fn node_id(path: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let node = uuid::Uuid::new_v4().to_string();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(node.as_bytes())?;
    file.sync_all()?;
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_refused_and_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = hold(dir.path(), Timestamp::UNIX_EPOCH, false).unwrap();
        let Err(LockError::Held { holder, .. }) = hold(dir.path(), Timestamp::UNIX_EPOCH, false) else {
            panic!("a second daemon got the directory");
        };
        assert_eq!(holder.unwrap().pid, std::process::id());
        let node = first.node.clone();
        drop(first);
        assert_eq!(hold(dir.path(), Timestamp::UNIX_EPOCH, false).unwrap().node, node);
    }

    #[test]
    fn taking_over_sets_the_old_lock_aside() {
        let dir = tempfile::tempdir().unwrap();
        let first = hold(dir.path(), Timestamp::UNIX_EPOCH, false).unwrap();
        assert!(first.is_ours());
        let none = hold(dir.path(), Timestamp::UNIX_EPOCH, true).unwrap();
        assert!(none.give_back());
        assert!(first.is_ours(), "a take-over that failed");
        let second = hold(dir.path(), Timestamp::UNIX_EPOCH, true).unwrap();
        assert!(!first.is_ours() && second.is_ours());
        assert!(matches!(
            hold(dir.path(), Timestamp::UNIX_EPOCH, false),
            Err(LockError::Held { .. })
        ));
    }
}
