//! Lines as SMTP wants them: ended by CR LF, bounded. Reads no byte more than one buffer ahead.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Reply;

/// Longest command line; RFC 5321 asks for 512, a log-in may be longer.
const COMMAND_CAP: usize = 4096;
/// Longest line of a message, without its end.
const LINE_CAP: usize = 998;

/// The client's bytes.
pub(super) struct Lines<'a> {
    stream: &'a TcpStream,
    idle: Duration,
    buffer: Vec<u8>,
    start: usize,
}

/// A message without its dots, and what was wrong with its lines.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own with a reply of its own"
)]
pub(super) struct Body {
    pub bytes: Vec<u8>,
    pub has_bare_ending: bool,
    pub has_long_line: bool,
    pub is_too_big: bool,
}

impl<'a> Lines<'a> {
    pub fn new(stream: &'a TcpStream, idle: Duration) -> Self {
        Self {
            stream,
            idle,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The next command line; `None` at the end of the connection. `Ok(Err)` is a line that is refused.
    pub async fn command(&mut self) -> io::Result<Option<Result<String, Reply>>> {
        let Some(line) = self.line(COMMAND_CAP).await? else {
            return Ok(None);
        };
        let Some(line) = line.strip_suffix(b"\r\n") else {
            let text = if line.len() > COMMAND_CAP {
                "5.5.2 line too long"
            } else {
                "5.5.2 a line must end with CR LF"
            };
            return Ok(Some(Err(Reply::new(500, text))));
        };
        if line.iter().any(u8::is_ascii_control) {
            return Ok(Some(Err(Reply::new(
                501,
                "5.5.2 a control character in a command",
            ))));
        }
        Ok(Some(
            String::from_utf8(line.to_vec()).map_err(|_| Reply::new(500, "5.5.2 not UTF-8")),
        ))
    }

    /// A message up to its final dot, which is CR LF `.` CR LF and nothing looser; `None` if the connection ends first.
    pub async fn body(&mut self, cap: usize) -> io::Result<Option<Body>> {
        let mut body = Body::default();
        let mut was_whole = true;
        loop {
            let Some(line) = self.line(64 * 1024).await? else {
                return Ok(None);
            };
            if was_whole && line == b".\r\n" {
                return Ok(Some(body));
            }
            let whole = line.strip_suffix(b"\r\n");
            body.has_bare_ending |= whole.is_none_or(|l| l.contains(&b'\r'));
            let line_starts = was_whole;
            was_whole = whole.is_some();
            body.has_long_line |= line.len() > LINE_CAP + 2;
            let line = match line.strip_prefix(b".") {
                Some(rest) if line_starts => rest,
                _ => &line,
            };
            if body.bytes.len() + line.len() > cap {
                body.is_too_big = true;
            } else {
                body.bytes.extend_from_slice(line);
            }
        }
    }

    /// Bytes up to and with the next line feed; without one if there are more than `cap`.
    async fn line(&mut self, cap: usize) -> io::Result<Option<Vec<u8>>> {
        let mut looked = self.start;
        loop {
            let fresh = self.buffer.get(looked..).unwrap_or_default();
            let end = fresh.iter().position(|b| *b == b'\n').map(|at| looked + at + 1);
            let over = self.buffer.len() - self.start > cap;
            if let Some(end) = end.or_else(|| over.then_some(self.buffer.len())) {
                let line = self.buffer.get(self.start..end).unwrap_or_default().to_vec();
                self.start = end;
                if self.start == self.buffer.len() {
                    self.buffer.clear();
                    self.start = 0;
                }
                return Ok(Some(line));
            }
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            looked = self.buffer.len();
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        loop {
            tokio::time::timeout(self.idle, self.stream.readable())
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            self.buffer.reserve(16 * 1024);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(n) => return Ok(n > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
