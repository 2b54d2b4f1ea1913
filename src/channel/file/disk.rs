//! Files that are there whole or not at all. Symbolic links are never followed; the folder itself may be one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::Reason;

/// Most that is read back of a file, in bytes: far above what an alert's history can be.
const READ_CAP: u64 = 4 * 1024 * 1024;

const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// SHA-256 in hex.
pub(in crate::channel) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Says what to do about an error of the disk.
fn told(folder: &Path, name: &str, error: &std::io::Error) -> Reason {
    let place = folder.join(name);
    let place = place.display();
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the standard library's list of errors, not ours; it has forty and grows"
    )]
    let advice = match error.kind() {
        ErrorKind::NotFound => "make the folder, or mount it, and check path in config.toml",
        ErrorKind::PermissionDenied => "give the daemon's user the right to write in the folder",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on the disk",
        ErrorKind::ReadOnlyFilesystem => "mount the file system writable",
        ErrorKind::NotADirectory => "path must be a folder",
        ErrorKind::IsADirectory => "a folder has the name of our file; move it away",
        _ => "check the disk or the mount",
    };
    Reason::new("disk", format!("{place}: {error}; {advice}"))
}

/// Replaces the file `name` in `folder` by these bytes. On disk when it returns.
pub(in crate::channel) fn write(
    folder: &Path,
    name: &str,
    account: &str,
    bytes: &[u8],
) -> Result<(), Reason> {
    let temporary = temporary(folder, name, account);
    let result = fill(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, folder.join(name)))
        .and_then(|()| flush(folder));
    if result.is_err() {
        // Leaves no litter in a folder that the public may see; if this fails too, the next write clears it.
        drop(std::fs::remove_file(&temporary));
    }
    result.map_err(|error| told(folder, name, &error))
}

/// One name per account and file, so that what a crash left behind is found and replaced by the next attempt.
fn temporary(folder: &Path, name: &str, account: &str) -> PathBuf {
    folder.join(format!(".{name}.{account}.vardkase-new"))
}

fn fill(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(NOFOLLOW)
        .open(path)?;
    file.write_all(bytes)?;
    // A web server under another user has to read it, whatever our umask.
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.sync_all()
}

fn flush(folder: &Path) -> std::io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot flush a folder; the rename has happened all the same.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// The bytes of the file `name` in `folder`, if it is there.
pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Reason> {
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(NOFOLLOW)
        .open(folder.join(name));
    let file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A link stands where our file should: not ours. Writing replaces the link itself.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(None);
        }
        Err(error) => return Err(told(folder, name, &error)),
    };
    let mut bytes = Vec::new();
    file.take(READ_CAP)
        .read_to_end(&mut bytes)
        .map_err(|error| told(folder, name, &error))?;
    Ok(Some(bytes))
}

/// Removes the file `name` in `folder`; not there counts as done.
pub(in crate::channel) fn remove(folder: &Path, name: &str) -> Result<(), Reason> {
    match std::fs::remove_file(folder.join(name)).and_then(|()| flush(folder)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(told(folder, name, &error)),
    }
}

/// Writes a small file and removes it again.
pub(in crate::channel) fn try_out(folder: &Path, account: &str) -> Result<(), Reason> {
    let temporary = temporary(folder, "verify", account);
    fill(&temporary, b"vardkase")
        .and_then(|()| std::fs::remove_file(&temporary))
        .map_err(|error| told(folder, "", &error))
}
