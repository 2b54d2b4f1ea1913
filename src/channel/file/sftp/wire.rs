//! SFTP, version 3 (draft-ietf-secsh-filexfer-02), as much of it as a file needs, one request at a time. What a server
//! says is read with bounds; nothing of it is shown.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// OpenSSH's rename that replaces what stands there, in one step.
const RENAME: &str = "posix-rename@openssh.com";
/// OpenSSH's flush to disk.
const FSYNC: &str = "fsync@openssh.com";

/// Longest answer that is taken, the most that OpenSSH sends.
const MAX_PACKET: usize = 256 * 1024;
/// Bytes per request to read or write, what every server takes.
const CHUNK: usize = 32 * 1024;

/// Why a request gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server said no, with this status: it did nothing.
    Status(u32),
    /// The connection broke, or what came is not SFTP.
    Cut(&'static str),
}

/// The statuses that are told apart.
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
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
}

/// How a file is opened: to read; or to write a new one, never one that stands there, be it a link.
const READING: u32 = 0x01;
const WRITING_A_NEW_ONE: u32 = 0x02 | 0x08 | 0x20;
/// Attributes that hold permissions and nothing else.
const WITH_PERMISSIONS: u32 = 0x04;
/// A web server under another user has to read it.
const PERMISSIONS: u32 = 0o644;
/// What kind of file it is, within the permissions.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// What a server answers.
enum Reply {
    Done,
    Handle(Vec<u8>),
    Data(Vec<u8>),
    /// The permissions, if it gives them.
    Attributes(Option<u32>),
}

/// A dialogue over an open channel.
pub(super) struct Dialogue<S> {
    stream: S,
    next: u32,
    extensions: BTreeMap<String, String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    /// Greets the server.
    pub(super) async fn open(stream: S) -> Result<Self, Fault> {
        let mut dialogue = Self {
            stream,
            next: 0,
            extensions: BTreeMap::new(),
        };
        dialogue.send(kind::INIT, &3_u32.to_be_bytes()).await?;
        let (kind, body) = dialogue.receive().await?;
        let mut read = Reader(&body);
        if kind != kind::VERSION || read.number().is_none_or(|version| version < 3) {
            return Err(Fault::Cut("it does not speak version 3 of SFTP"));
        }
        while !read.0.is_empty() {
            // A list that breaks off is no list: what is missing would look as if the server could not do it.
            let (Some(name), Some(version)) = (read.string(), read.string()) else {
                return Err(Fault::Cut(OUT_OF_TURN));
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            dialogue.extensions.insert(text(name), text(version));
        }
        Ok(dialogue)
    }

    /// Whether it can put a file in the place of another in one step.
    pub(super) fn replaces(&self) -> bool {
        self.has(RENAME)
    }

    fn has(&self, extension: &str) -> bool {
        self.extensions
            .get(extension)
            .is_some_and(|version| version == "1")
    }

    /// The bytes of a file, at most `cap` of them, if it is there. A link is not followed: it is not a file of ours.
    pub(super) async fn read(&mut self, path: &str, cap: usize) -> Result<Option<Vec<u8>>, Fault> {
        match self.ask(kind::LSTAT, &[text(path)]).await {
            Ok(Reply::Attributes(permissions)) => {
                if permissions.is_some_and(|permissions| permissions & TYPE != REGULAR) {
                    return Ok(None);
                }
            }
            Err(Fault::Status(status::NO_SUCH_FILE)) => return Ok(None),
            Err(fault) => return Err(fault),
            Ok(Reply::Done | Reply::Handle(_) | Reply::Data(_)) => return Err(Fault::Cut(OUT_OF_TURN)),
        }
        let open = [text(path), number(READING), number(0)];
        let handle = match self.handle(&open).await {
            Err(Fault::Status(status::NO_SUCH_FILE)) => return Ok(None),
            handle => handle?,
        };
        let mut bytes = Vec::new();
        while bytes.len() < cap {
            let from = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let wanted = u32::try_from(CHUNK.min(cap - bytes.len())).unwrap_or(u32::MAX);
            let ask = [blob(&handle), from.to_be_bytes().to_vec(), number(wanted)];
            match self.ask(kind::READ, &ask).await {
                Ok(Reply::Data(data)) if !data.is_empty() => bytes.extend_from_slice(&data),
                Err(Fault::Status(status::EOF)) => break,
                Err(fault) => return Err(fault),
                Ok(Reply::Done | Reply::Handle(_) | Reply::Data(_) | Reply::Attributes(_)) => {
                    return Err(Fault::Cut(OUT_OF_TURN));
                }
            }
        }
        bytes.truncate(cap);
        self.done(kind::CLOSE, &[blob(&handle)]).await?;
        Ok(Some(bytes))
    }

    /// Writes a new file, on disk when it returns where the server can flush. What stands there is removed first.
    pub(super) async fn create(&mut self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.remove(path).await?;
        let open = [
            text(path),
            number(WRITING_A_NEW_ONE),
            number(WITH_PERMISSIONS),
            number(PERMISSIONS),
        ];
        let handle = self.handle(&open).await?;
        let mut at = 0_u64;
        for chunk in bytes.chunks(CHUNK) {
            let ask = [blob(&handle), at.to_be_bytes().to_vec(), blob(chunk)];
            self.done(kind::WRITE, &ask).await?;
            at += u64::try_from(chunk.len()).unwrap_or_default();
        }
        // Whatever the server's umask made of it; where this is not allowed, the umask stands.
        let ask = [blob(&handle), number(WITH_PERMISSIONS), number(PERMISSIONS)];
        match self.done(kind::FSETSTAT, &ask).await {
            Ok(()) | Err(Fault::Status(_)) => {}
            Err(fault) => return Err(fault),
        }
        if self.has(FSYNC) {
            self.done(kind::EXTENDED, &[text(FSYNC), blob(&handle)]).await?;
        }
        self.done(kind::CLOSE, &[blob(&handle)]).await
    }

    /// Puts a file in the place of another, in one step.
    pub(super) async fn replace(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        self.done(kind::EXTENDED, &[text(RENAME), text(from), text(to)])
            .await
    }

    /// Removes a file; not there counts as done.
    pub(super) async fn remove(&mut self, path: &str) -> Result<(), Fault> {
        match self.done(kind::REMOVE, &[text(path)]).await {
            Err(Fault::Status(status::NO_SUCH_FILE)) => Ok(()),
            result => result,
        }
    }

    async fn handle(&mut self, open: &[Vec<u8>]) -> Result<Vec<u8>, Fault> {
        match self.ask(kind::OPEN, open).await? {
            Reply::Handle(handle) => Ok(handle),
            Reply::Done | Reply::Data(_) | Reply::Attributes(_) => Err(Fault::Cut(OUT_OF_TURN)),
        }
    }

    async fn done(&mut self, kind: u8, parts: &[Vec<u8>]) -> Result<(), Fault> {
        match self.ask(kind, parts).await? {
            Reply::Done => Ok(()),
            Reply::Handle(_) | Reply::Data(_) | Reply::Attributes(_) => Err(Fault::Cut(OUT_OF_TURN)),
        }
    }

    /// Asks, and reads the answer. A status other than OK is a fault.
    async fn ask(&mut self, kind: u8, parts: &[Vec<u8>]) -> Result<Reply, Fault> {
        self.next = self.next.wrapping_add(1);
        let mut body = self.next.to_be_bytes().to_vec();
        for part in parts {
            body.extend_from_slice(part);
        }
        self.send(kind, &body).await?;
        let (kind, body) = self.receive().await?;
        let mut read = Reader(&body);
        if read.number() != Some(self.next) {
            return Err(Fault::Cut(OUT_OF_TURN));
        }
        let reply = match kind {
            kind::STATUS => match read.number() {
                Some(status::OK) => Some(Reply::Done),
                Some(other) => return Err(Fault::Status(other)),
                None => None,
            },
            kind::HANDLE => read.string().map(|handle| Reply::Handle(handle.to_vec())),
            kind::DATA => read.string().map(|data| Reply::Data(data.to_vec())),
            kind::ATTRS => Some(Reply::Attributes(read.permissions()?)),
            _ => None,
        };
        reply.ok_or(Fault::Cut(OUT_OF_TURN))
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(body.len() + 1).map_err(|_| Fault::Cut("the request is too long"))?;
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(kind);
        packet.extend_from_slice(body);
        let written = self.stream.write_all(&packet).await;
        written.map_err(|_| Fault::Cut(BROKEN))?;
        self.stream.flush().await.map_err(|_| Fault::Cut(BROKEN))
    }

    async fn receive(&mut self) -> Result<(u8, Vec<u8>), Fault> {
        let mut head = [0; 5];
        let read = self.stream.read_exact(&mut head).await;
        read.map_err(|_| Fault::Cut(BROKEN))?;
        let [a, b, c, d, kind] = head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !(1..=MAX_PACKET).contains(&length) {
            return Err(Fault::Cut("the answer is too long to be one of SFTP"));
        }
        let mut body = vec![0; length - 1];
        let read = self.stream.read_exact(&mut body).await;
        read.map_err(|_| Fault::Cut(BROKEN))?;
        Ok((kind, body))
    }
}

const OUT_OF_TURN: &str = "the answer is none to what was asked";
const BROKEN: &str = "the connection was cut off";

fn number(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn text(text: &str) -> Vec<u8> {
    blob(text.as_bytes())
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    // Handles, names and chunks: never near the limit of the number.
    let mut out = number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
    out
}

/// Reads what a packet holds, and no further.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    /// The permissions among attributes, if they are there.
    fn permissions(&mut self) -> Result<Option<u32>, Fault> {
        const SHORT: Fault = Fault::Cut(OUT_OF_TURN);
        let flags = self.number().ok_or(SHORT)?;
        // Size, then user and group, each two numbers.
        for flag in [0x01, 0x02] {
            if flags & flag != 0 {
                self.number().and(self.number()).ok_or(SHORT)?;
            }
        }
        if flags & WITH_PERMISSIONS == 0 {
            return Ok(None);
        }
        self.number().map(Some).ok_or(SHORT)
    }
}

#[cfg(test)]
mod tests;
