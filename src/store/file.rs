//! The database file before SQLite opens it: where it may lie, who may read it, and what must not lie beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::StoreError;

/// File systems that share no memory between machines, which a write-ahead log needs (`statfs(2)`, read 2026-11).
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
];

/// Creates the file with mode 0600 if it is not there, and refuses places where it is not safe.
pub(super) fn prepare(path: &Path) -> Result<(), StoreError> {
    let failed = |what: &str, error: std::io::Error| {
        StoreError::Engine(format!("{}: {what}: {error}", path.display()))
    };
    // Recipients are in it: nobody else reads it. SQLite gives its log the same mode.
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(file) => file.sync_all().map_err(|e| failed("cannot be written", e))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("cannot be created", error)),
    }
    let magic = rustix::fs::statfs(path)
        .map_err(|e| failed("cannot be read", e.into()))?
        .f_type;
    // The width and sign of this field differ between platforms; the magic numbers fit 32 bits.
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "a bit pattern, not a number"
    )]
    let magic = (magic as u64) & 0xffff_ffff;
    if let Some((_, name)) = NETWORK.iter().find(|(known, _)| *known == magic) {
        return Err(StoreError::Engine(format!(
            "{} lies on a network file system ({name}), where SQLite cannot keep what it promises; use a local disk",
            path.display()
        )));
    }
    if is_not_wal(path).map_err(|e| failed("cannot be read", e))? {
        // Our databases always are in WAL mode. A file that is not, with a log beside it, was put in the place of
        // another one: that one's log would be played into it.
        for ending in ["-wal", "-shm"] {
            let stale = beside(path, ending);
            match fs::remove_file(&stale) {
                Ok(()) => tracing::warn!(file = %stale.display(), "removed the log of another database"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("a log of another database lies beside it", error)),
            }
        }
    }
    Ok(())
}

/// The path with `ending` after its last character.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Bytes 18 and 19 of the header are 2 in WAL mode and 1 otherwise (<https://sqlite.org/fileformat2.html>, 1.3.3).
fn is_not_wal(path: &Path) -> std::io::Result<bool> {
    let mut header = Vec::with_capacity(20);
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header.get(18..20).is_none_or(|versions| versions == [1, 1]))
}

/// Flushes a file and the folder that names it.
pub(super) fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
