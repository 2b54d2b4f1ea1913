//! Files that hold secrets: opened only if nobody else can read or change them, replaced whole or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid};

use super::VaultError;

/// Largest vault file.
pub const MAX_VAULT: u64 = 16 * 1024 * 1024;
/// How long to wait for another process that is changing the vault.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// How a file looked when it was read; another one means that it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of the file as it is now.
    pub fn of(path: &Path) -> Result<Self, VaultError> {
        let about = path
            .symlink_metadata()
            .map_err(|source| not_there_or(path, "cannot be looked at", source))?;
        Ok(Self::from(&about))
    }

    fn from(about: &std::fs::Metadata) -> Self {
        Self {
            inode: about.ino(),
            size: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
        }
    }
}

fn not_there_or(path: &Path, doing: &'static str, source: std::io::Error) -> VaultError {
    if source.kind() == std::io::ErrorKind::NotFound {
        return VaultError::NoVault(path.to_owned());
    }
    io(path, doing, source)
}

fn io(path: &Path, doing: &'static str, source: impl Into<std::io::Error>) -> VaultError {
    VaultError::Io {
        doing,
        path: path.to_owned(),
        source: source.into(),
    }
}

fn not_safe(path: &Path, problem: String, remedy: impl Into<String>) -> VaultError {
    VaultError::Unsafe {
        path: path.to_owned(),
        problem,
        remedy: remedy.into(),
    }
}

/// The folder that a file stands in.
pub fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes a folder, and those above it, that only its owner may enter.
pub fn make_folder(folder: &Path) -> Result<(), VaultError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| io(folder, "cannot be made", error))
}

/// Refuses a folder of the vault that others may enter or that is someone else's.
pub fn check_folder(folder: &Path) -> Result<(), VaultError> {
    let about = std::fs::metadata(folder).map_err(|error| io(folder, "cannot be looked at", error))?;
    if !about.is_dir() {
        return Err(not_safe(
            folder,
            "is not a folder".to_owned(),
            "choose another place for the vault",
        ));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(not_safe(
            folder,
            format!("others may enter the vault's folder (mode {mode:04o})"),
            format!("run `chmod 700 {}`", folder.display()),
        ));
    }
    check_owner(folder, &about, None)
}

/// A folder of the key: others may look at it, but nobody else may change what is in it.
pub fn check_key_folder(folder: &Path) -> Result<(), VaultError> {
    let about = std::fs::metadata(folder).map_err(|error| io(folder, "cannot be looked at", error))?;
    let mode = about.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(not_safe(
            folder,
            format!("others may replace the key in this folder (mode {mode:04o})"),
            format!("run `chmod go-w {}`", folder.display()),
        ));
    }
    Ok(())
}

/// Ours; or, for root, of whoever owns the folder: so that `sudo vardkase credentials set` works on the daemon's vault.
fn check_owner(path: &Path, about: &std::fs::Metadata, folder: Option<&Path>) -> Result<(), VaultError> {
    let me = rustix::process::geteuid().as_raw();
    let of_folder = folder
        .and_then(|folder| std::fs::metadata(folder).ok())
        .map(|about| about.uid());
    if about.uid() == me || (me == 0 && (folder.is_none() || of_folder == Some(about.uid()))) {
        return Ok(());
    }
    Err(not_safe(
        path,
        format!(
            "belongs to the user {}, and this process runs as {me}",
            about.uid()
        ),
        "run as that user, or give it to the right one with chown",
    ))
}

/// The bytes of a file that only its owner can read; `None` if it is not there. Never follows a link.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<(Vec<u8>, Stamp)>, VaultError> {
    let Some((bytes, about)) = read_guarded(path, limit, 0o077, "chmod 600")? else {
        return Ok(None);
    };
    check_owner(path, &about, Some(folder_of(path)))?;
    Ok(Some((bytes, Stamp::from(&about))))
}

/// The bytes of a file that systemd put into the service's credentials; `None` if it is not there. systemd gives it to
/// root or to the service's user, sometimes through an access list that shows as a group: only "others" count.
pub fn read_credential(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, VaultError> {
    Ok(read_guarded(path, limit, 0o007, "chmod o-rwx")?.map(|(bytes, _)| bytes))
}

fn read_guarded(
    path: &Path,
    limit: u64,
    forbidden: u32,
    remedy: &str,
) -> Result<Option<(Vec<u8>, std::fs::Metadata)>, VaultError> {
    // NONBLOCK: opening a named pipe must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(not_safe(
                path,
                "is a symbolic link".to_owned(),
                "put the file itself there, or name its real place in the configuration",
            ));
        }
        Err(error) => return Err(io(path, "cannot be opened", error)),
    };
    // Asked of what was opened, not of the path: that may be another file by now.
    let about = file
        .metadata()
        .map_err(|error| io(path, "cannot be looked at", error))?;
    if !about.is_file() {
        return Err(not_safe(
            path,
            "is not a regular file".to_owned(),
            "name another place in the configuration",
        ));
    }
    let mode = about.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(not_safe(
            path,
            format!("others may read or change it (mode {mode:04o})"),
            format!(
                "run `{remedy} {}` and set every secret in it anew if anyone may have read it",
                path.display()
            ),
        ));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io(path, "cannot be read", error))?;
    if bytes.len() as u64 > limit {
        return Err(VaultError::Damaged {
            path: path.to_owned(),
            what: format!("larger than {} KiB", limit / 1024),
        });
    }
    Ok(Some((bytes, about)))
}

/// Held while the vault is changed; other processes wait. The system releases it if this one dies.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "open as long as the lock is held")] OwnedFd);

/// Takes the lock of the vault in `folder`.
pub fn lock(folder: &Path) -> Result<Lock, VaultError> {
    let path = folder.join("vault.lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| io(&path, "cannot be opened", error))?;
    give_to_owner_of(folder, &file).map_err(|error| io(&path, "cannot be given to its owner", error))?;
    let began = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io(&path, "cannot be locked", error)),
        }
        if began.elapsed() >= LOCK_WAIT {
            return Err(VaultError::Busy {
                path,
                seconds: LOCK_WAIT.as_secs(),
            });
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// What root makes in the daemon's folder must be the daemon's to read.
fn give_to_owner_of(folder: &Path, file: &OwnedFd) -> std::io::Result<()> {
    let about = std::fs::metadata(folder)?;
    if rustix::process::geteuid().is_root() && about.uid() != 0 {
        let (user, group) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        rustix::fs::fchown(file, Some(user), Some(group))?;
    }
    Ok(())
}

/// Puts a file in the place of another in one step: at every moment there is either the whole old or the whole new one.
/// On disk when it returns. Call it under the lock.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<Stamp, VaultError> {
    let folder = folder_of(path);
    let beside = temporary(path);
    // Left by a process that was killed here; nobody else writes it while we hold the lock.
    if let Err(error) = std::fs::remove_file(&beside)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(io(&beside, "cannot be removed", error));
    }
    let stamp = create_private(&beside, bytes)?;
    if let Err(error) = std::fs::rename(&beside, path) {
        std::fs::remove_file(&beside).ok();
        return Err(io(path, "cannot be replaced", error));
    }
    flush_folder(folder)?;
    Ok(stamp)
}

/// Where the new file stands until it takes the old one's place.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    folder_of(path).join(name)
}

/// Makes a file of mode 0600 that was not there before, and flushes it.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<Stamp, VaultError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(rustix::io::Errno::EXIST) => return Err(VaultError::Exists(path.to_owned())),
        Err(error) => return Err(io(path, "cannot be made", error)),
    };
    let write = || -> std::io::Result<Stamp> {
        give_to_owner_of(folder_of(path), &file)?;
        let mut file = File::from(file);
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(Stamp::from(&file.metadata()?))
    };
    write().map_err(|error| {
        std::fs::remove_file(path).ok();
        io(path, "cannot be written", error)
    })
}

/// Gives a file that root made to whoever the other one belongs to.
pub fn give_like(path: &Path, like: &Path) -> Result<(), VaultError> {
    let about = std::fs::metadata(like).map_err(|error| io(like, "cannot be looked at", error))?;
    if rustix::process::geteuid().is_root() {
        let (user, group) = (Uid::from_raw(about.uid()), Gid::from_raw(about.gid()));
        rustix::fs::chown(path, Some(user), Some(group))
            .map_err(|error| io(path, "cannot be given to its owner", error))?;
    }
    Ok(())
}

/// Lets a file take another one's place. On disk when it returns.
pub fn promote(from: &Path, to: &Path) -> Result<(), VaultError> {
    std::fs::rename(from, to).map_err(|error| io(to, "cannot be replaced", error))?;
    flush_folder(folder_of(to))
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> Result<(), VaultError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io(path, "cannot be removed", error))
        }
        _ => Ok(()),
    }
}

/// A new name is on disk only when its folder is.
pub fn flush_folder(folder: &Path) -> Result<(), VaultError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| io(folder, "cannot be flushed", error))
}
