//! What each request of SFTP (version 3, draft-ietf-secsh-filexfer-02) does in one flat folder, and its answer. Strict:
//! what a file does not need is refused as unsupported, and a request with a byte too much or too little is a bad one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crate::channel::file::PRACTICE_FOLDER;

/// Files that may be open at once.
const MOST_HANDLES: usize = 16;
/// Largest file.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Most bytes that one request reads.
const MAX_READ: u32 = 64 * 1024;

const RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";

/// The statuses that are answered.
pub(super) mod status {
    pub(in super::super) const OK: u32 = 0;
    pub(in super::super) const EOF: u32 = 1;
    pub(in super::super) const NO_SUCH_FILE: u32 = 2;
    pub(in super::super) const PERMISSION_DENIED: u32 = 3;
    pub(in super::super) const FAILURE: u32 = 4;
    pub(in super::super) const BAD_MESSAGE: u32 = 5;
    pub(in super::super) const UNSUPPORTED: u32 = 8;
}

/// The packets' kinds.
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const WRITE: u8 = 6;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const STAT: u8 = 17;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
}

/// How a file may be opened: to read, or to write one that is not there.
const READING: u32 = 0x01;
const WRITING_A_NEW_ONE: u32 = 0x02 | 0x08 | 0x20;
/// Attributes: that a size stands there, and permissions.
const WITH_SIZE: u32 = 0x01;
const WITH_PERMISSIONS: u32 = 0x04;

/// An answer: a packet without its length.
pub(super) struct Answer {
    kind: u8,
    body: Vec<u8>,
    status: u32,
}

impl Answer {
    /// A status in answer to a request, whose id its body begins with.
    pub(super) fn status(request: &[u8], status: u32) -> Self {
        let id = request.first_chunk::<4>().copied().unwrap_or_default();
        Self::of_status(u32::from_be_bytes(id), status)
    }

    fn of_status(id: u32, status: u32) -> Self {
        let mut body = [id.to_be_bytes(), status.to_be_bytes()].concat();
        for text in ["", "sv"] {
            body.extend(string(text.as_bytes()));
        }
        Self {
            kind: kind::STATUS,
            body,
            status,
        }
    }

    fn of(kind: u8, id: u32, rest: &[u8]) -> Self {
        Self {
            kind,
            body: [&id.to_be_bytes(), rest].concat(),
            status: status::OK,
        }
    }

    /// As it goes over the wire.
    pub(super) fn wire(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len() + 1).unwrap_or(u32::MAX);
        let mut wire = length.to_be_bytes().to_vec();
        wire.push(self.kind);
        wire.extend_from_slice(&self.body);
        wire
    }

    /// The status of HTTP that says the same, for the list of what was asked.
    pub(super) fn as_http(&self) -> u16 {
        match self.status {
            status::OK => 200,
            status::EOF => 204,
            status::NO_SUCH_FILE => 404,
            status::PERMISSION_DENIED => 403,
            status::BAD_MESSAGE => 400,
            status::UNSUPPORTED => 501,
            _ => 500,
        }
    }
}

/// What a request is, for faults and for the list of what was asked: its name, and the files that it names.
pub(super) fn stage(kind: u8, body: &[u8]) -> String {
    let mut read = Reader(body);
    let name = |read: &mut Reader<'_>| read.text().map(short).unwrap_or_default();
    if kind == kind::INIT {
        return "INIT".to_owned();
    }
    read.number();
    match kind {
        kind::OPEN => format!("OPEN {}", name(&mut read)),
        kind::CLOSE => "CLOSE".to_owned(),
        kind::READ => "READ".to_owned(),
        kind::WRITE => "WRITE".to_owned(),
        kind::LSTAT => format!("LSTAT {}", name(&mut read)),
        kind::STAT => format!("STAT {}", name(&mut read)),
        kind::FSTAT => "FSTAT".to_owned(),
        kind::FSETSTAT => "FSETSTAT".to_owned(),
        kind::REMOVE => format!("REMOVE {}", name(&mut read)),
        kind::EXTENDED => match read.text() {
            Some(RENAME) => format!("RENAME {} {}", name(&mut read), name(&mut read)),
            Some(FSYNC) => "FSYNC".to_owned(),
            _ => "EXTENDED".to_owned(),
        },
        other => format!("KIND {other}"),
    }
}

/// The last part of a path, short enough to show.
fn short(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The folder as one client sees it.
pub(super) struct Folder {
    path: PathBuf,
    is_greeted: bool,
    open: BTreeMap<u32, (File, bool)>,
    next: u32,
}

/// Why a request gave nothing.
struct No(u32);

impl From<std::io::Error> for No {
    fn from(error: std::io::Error) -> Self {
        let kind = error.kind();
        Self(if kind == ErrorKind::NotFound {
            status::NO_SUCH_FILE
        } else if kind == ErrorKind::PermissionDenied {
            status::PERMISSION_DENIED
        } else {
            // A full disk, a file that is there already: OpenSSH has one status for all.
            status::FAILURE
        })
    }
}

const BAD: No = No(status::BAD_MESSAGE);

impl Folder {
    /// A client that has said nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            is_greeted: false,
            open: BTreeMap::new(),
            next: 0,
        }
    }

    /// Does what a request asks.
    pub(super) fn take(&mut self, kind: u8, body: &[u8]) -> Answer {
        if kind == kind::INIT {
            return self.greet(body);
        }
        let mut read = Reader(body);
        let Some(id) = read.number() else {
            return Answer::status(body, status::BAD_MESSAGE);
        };
        if !self.is_greeted {
            return Answer::of_status(id, status::BAD_MESSAGE);
        }
        match self.obey(kind, id, read) {
            Ok(answer) => answer,
            Err(No(status)) => Answer::of_status(id, status),
        }
    }

    fn greet(&mut self, body: &[u8]) -> Answer {
        // A client that offers extensions of its own would say them here; ours has none.
        if self.is_greeted || body != 3_u32.to_be_bytes() {
            return Answer::status(body, status::BAD_MESSAGE);
        }
        self.is_greeted = true;
        let mut rest = Vec::new();
        for text in [RENAME, "1", FSYNC, "1"] {
            rest.extend(string(text.as_bytes()));
        }
        Answer::of(kind::VERSION, 3, &rest)
    }

    fn obey(&mut self, kind: u8, id: u32, mut read: Reader<'_>) -> Result<Answer, No> {
        let done = || Answer::of_status(id, status::OK);
        match kind {
            kind::OPEN => {
                let file = self.file(read.text().ok_or(BAD)?)?;
                let flags = read.number().ok_or(BAD)?;
                let permissions = read.permissions()?;
                read.end()?;
                let handle = self.open(file, flags, permissions)?;
                Ok(Answer::of(kind::HANDLE, id, &string(&handle.to_be_bytes())))
            }
            kind::CLOSE => {
                let handle = read.handle()?;
                read.end()?;
                self.open.remove(&handle).ok_or(No(status::FAILURE))?;
                Ok(done())
            }
            kind::READ => {
                let (handle, at, wanted) = (read.handle()?, read.long()?, read.number().ok_or(BAD)?);
                read.end()?;
                let (file, _) = self.open.get(&handle).ok_or(No(status::FAILURE))?;
                let mut bytes = vec![0; usize::try_from(wanted.min(MAX_READ)).unwrap_or_default()];
                let got = file.read_at(&mut bytes, at)?;
                if got == 0 {
                    return Err(No(status::EOF));
                }
                Ok(Answer::of(
                    kind::DATA,
                    id,
                    &string(bytes.get(..got).unwrap_or_default()),
                ))
            }
            kind::WRITE => {
                let (handle, at, bytes) = (read.handle()?, read.long()?, read.string().ok_or(BAD)?);
                read.end()?;
                let (file, writes) = self.open.get(&handle).ok_or(No(status::FAILURE))?;
                if !writes {
                    return Err(No(status::PERMISSION_DENIED));
                }
                if at.saturating_add(bytes.len() as u64) > MAX_FILE {
                    return Err(No(status::FAILURE));
                }
                file.write_all_at(bytes, at)?;
                Ok(done())
            }
            kind::LSTAT | kind::STAT => {
                let file = self.file(read.text().ok_or(BAD)?)?;
                read.end()?;
                let found = if kind == kind::LSTAT {
                    fs::symlink_metadata(file)?
                } else {
                    fs::metadata(file)?
                };
                Ok(attributes(id, &found))
            }
            kind::FSTAT => {
                let handle = read.handle()?;
                read.end()?;
                let (file, _) = self.open.get(&handle).ok_or(No(status::FAILURE))?;
                Ok(attributes(id, &file.metadata()?))
            }
            kind::FSETSTAT => {
                let handle = read.handle()?;
                let permissions = read.permissions()?.ok_or(No(status::UNSUPPORTED))?;
                read.end()?;
                let (file, _) = self.open.get(&handle).ok_or(No(status::FAILURE))?;
                file.set_permissions(fs::Permissions::from_mode(permissions & 0o777))?;
                Ok(done())
            }
            kind::REMOVE => {
                let file = self.file(read.text().ok_or(BAD)?)?;
                read.end()?;
                fs::remove_file(file)?;
                Ok(done())
            }
            kind::EXTENDED => match read.text().ok_or(BAD)? {
                RENAME => {
                    let from = self.file(read.text().ok_or(BAD)?)?;
                    let to = self.file(read.text().ok_or(BAD)?)?;
                    read.end()?;
                    fs::rename(from, to)?;
                    Ok(done())
                }
                FSYNC => {
                    let handle = read.handle()?;
                    read.end()?;
                    let (file, _) = self.open.get(&handle).ok_or(No(status::FAILURE))?;
                    file.sync_all()?;
                    Ok(done())
                }
                _ => Err(No(status::UNSUPPORTED)),
            },
            _ => Err(No(status::UNSUPPORTED)),
        }
    }

    fn open(&mut self, file: PathBuf, flags: u32, permissions: Option<u32>) -> Result<u32, No> {
        if self.open.len() >= MOST_HANDLES {
            return Err(No(status::FAILURE));
        }
        let opened = match flags {
            READING if fs::symlink_metadata(&file)?.is_file() => File::open(file)?,
            READING => return Err(No(status::FAILURE)),
            WRITING_A_NEW_ONE => {
                let opened = OpenOptions::new().write(true).create_new(true).open(file)?;
                if let Some(permissions) = permissions {
                    opened.set_permissions(fs::Permissions::from_mode(permissions & 0o777))?;
                }
                opened
            }
            _ => return Err(No(status::UNSUPPORTED)),
        };
        self.next = self.next.wrapping_add(1);
        self.open.insert(self.next, (opened, flags == WRITING_A_NEW_ONE));
        Ok(self.next)
    }

    /// The file that a path names: one of the folder itself, and nothing else.
    fn file(&self, path: &str) -> Result<PathBuf, No> {
        let name = path
            .strip_prefix(PRACTICE_FOLDER)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(No(status::NO_SUCH_FILE))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let fits = !matches!(name, "" | "." | "..") && name.len() <= 255 && name.bytes().all(plain);
        if fits {
            Ok(self.path.join(name))
        } else {
            Err(No(status::NO_SUCH_FILE))
        }
    }
}

fn attributes(id: u32, found: &fs::Metadata) -> Answer {
    let mut rest = (WITH_SIZE | WITH_PERMISSIONS).to_be_bytes().to_vec();
    rest.extend(found.len().to_be_bytes());
    rest.extend(found.permissions().mode().to_be_bytes());
    Answer::of(kind::ATTRS, id, &rest)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    out.extend_from_slice(bytes);
    out
}

/// Reads what a request holds, and no further.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn long(&mut self) -> Result<u64, No> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(BAD)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    fn handle(&mut self) -> Result<u32, No> {
        let handle = self.string().ok_or(BAD)?;
        let handle: [u8; 4] = handle.try_into().map_err(|_| No(status::FAILURE))?;
        Ok(u32::from_be_bytes(handle))
    }

    /// The permissions among attributes; others than those are not taken.
    fn permissions(&mut self) -> Result<Option<u32>, No> {
        match self.number().ok_or(BAD)? {
            0 => Ok(None),
            WITH_PERMISSIONS => self.number().map(Some).ok_or(BAD),
            _ => Err(No(status::UNSUPPORTED)),
        }
    }

    fn end(&self) -> Result<(), No> {
        if self.0.is_empty() { Ok(()) } else { Err(BAD) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, parts: &[&[u8]]) -> (u8, Vec<u8>) {
        let mut body = 7_u32.to_be_bytes().to_vec();
        for part in parts {
            body.extend_from_slice(part);
        }
        (kind, body)
    }

    fn path(name: &str) -> Vec<u8> {
        string(format!("{PRACTICE_FOLDER}/{name}").as_bytes())
    }

    fn number(number: u32) -> [u8; 4] {
        number.to_be_bytes()
    }

    fn greeted() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(dir.path().to_owned());
        assert_eq!(folder.take(kind::INIT, &number(3)).kind, kind::VERSION);
        (dir, folder)
    }

    fn status_of(folder: &mut Folder, (kind, body): (u8, Vec<u8>)) -> u32 {
        folder.take(kind, &body).status
    }

    #[test]
    fn nothing_is_done_before_the_greeting_and_one_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(dir.path().to_owned());
        let remove = || request(kind::REMOVE, &[&path("a.json")]);
        assert_eq!(status_of(&mut folder, remove()), status::BAD_MESSAGE);
        assert_eq!(folder.take(kind::INIT, &number(4)).status, status::BAD_MESSAGE);
        assert_eq!(folder.take(kind::INIT, &number(3)).kind, kind::VERSION);
        assert_eq!(folder.take(kind::INIT, &number(3)).kind, kind::STATUS);
        assert_eq!(status_of(&mut folder, remove()), status::NO_SUCH_FILE);
    }

    #[test]
    fn a_file_is_new_or_not_written_and_put_in_the_place_of_another_in_one_step() {
        let (dir, mut folder) = greeted();
        let new = [number(WRITING_A_NEW_ONE), number(WITH_PERMISSIONS), number(0o600)].concat();
        let open = || request(kind::OPEN, &[&path(".a.json"), &new]);
        let (kind, body) = open();
        let answer = folder.take(kind, &body);
        let handle = answer.body.get(4..).unwrap().to_vec();
        assert_eq!(answer.kind, kind::HANDLE);
        assert_eq!(status_of(&mut folder, open()), status::FAILURE, "it is there");
        let write = |at: u64| request(kind::WRITE, &[&handle, &at.to_be_bytes(), &string(b"abc")]);
        assert_eq!(status_of(&mut folder, write(0)), status::OK);
        assert_eq!(
            status_of(&mut folder, write(MAX_FILE - 2)),
            status::FAILURE,
            "too large"
        );
        let sync = request(kind::EXTENDED, &[&string(FSYNC.as_bytes()), &handle]);
        assert_eq!(status_of(&mut folder, sync), status::OK);
        let close = || request(kind::CLOSE, &[&handle]);
        assert_eq!(status_of(&mut folder, close()), status::OK);
        assert_eq!(status_of(&mut folder, close()), status::FAILURE, "closed already");
        std::fs::write(dir.path().join("a.json"), "old").unwrap();
        let rename = request(
            kind::EXTENDED,
            &[&string(RENAME.as_bytes()), &path(".a.json"), &path("a.json")],
        );
        assert_eq!(status_of(&mut folder, rename), status::OK);
        assert_eq!(std::fs::read(dir.path().join("a.json")).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_file_does_not_need_is_unsupported_and_a_bad_request_does_nothing() {
        let (dir, mut folder) = greeted();
        std::fs::write(dir.path().join("a.json"), "abc").unwrap();
        for kind in [9, 11, 12, 14, 15, 16, 18, 19, 20, 21, 99] {
            let asked = request(kind, &[&path("a.json")]);
            assert_eq!(status_of(&mut folder, asked), status::UNSUPPORTED, "kind {kind}");
        }
        let appending = request(kind::OPEN, &[&path("a.json"), &number(0x06), &number(0)]);
        assert_eq!(status_of(&mut folder, appending), status::UNSUPPORTED);
        let hardlink = request(kind::EXTENDED, &[&string(b"hardlink@openssh.com")]);
        assert_eq!(status_of(&mut folder, hardlink), status::UNSUPPORTED);
        for bad in [
            request(kind::REMOVE, &[&path("a.json"), b"x"]),
            request(kind::REMOVE, &[&number(900)]),
            request(kind::REMOVE, &[]),
        ] {
            assert_eq!(status_of(&mut folder, bad), status::BAD_MESSAGE);
        }
        for outside in ["../a.json", "..", "", "under/a.json", "å.json"] {
            let asked = request(kind::REMOVE, &[&path(outside)]);
            assert_eq!(status_of(&mut folder, asked), status::NO_SUCH_FILE, "{outside}");
        }
        let elsewhere = request(kind::LSTAT, &[&string(b"/etc/passwd")]);
        assert_eq!(status_of(&mut folder, elsewhere), status::NO_SUCH_FILE);
        assert_eq!(std::fs::read(dir.path().join("a.json")).unwrap(), b"abc");
    }

    #[test]
    fn a_link_is_not_read_and_handles_have_an_end() {
        let (dir, mut folder) = greeted();
        std::fs::write(dir.path().join("a.json"), "abc").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("b.json")).unwrap();
        let open = |name: &str| request(kind::OPEN, &[&path(name), &number(READING), &number(0)]);
        assert_eq!(status_of(&mut folder, open("b.json")), status::FAILURE);
        for _ in 0..MOST_HANDLES {
            assert_eq!(status_of(&mut folder, open("a.json")), status::OK);
        }
        assert_eq!(status_of(&mut folder, open("a.json")), status::FAILURE);
    }
}
