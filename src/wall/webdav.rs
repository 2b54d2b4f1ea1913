//! A simulated WebDAV server over the folder of a `file` account, as `reference/channels/website.md` §4 says: one flat
//! folder, a log-in, PUT, MOVE and their conditions. What it takes lies in the folder, where the ledger is read from.

use std::io::ErrorKind;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode};
use url::Url;

use super::sftp::login::LogIn;
use super::sim::{Call, Simulator};

/// The server of one account.
pub struct WebDav {
    folder: PathBuf,
    login: LogIn,
}

impl WebDav {
    /// Serves this folder to whoever logs in so.
    pub fn new(folder: PathBuf, login: LogIn) -> Self {
        Self { folder, login }
    }

    fn is_known(&self, call: &Call<'_>) -> bool {
        let given = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| STANDARD.decode(value).ok());
        given.is_some_and(|given| {
            given == format!("{}:{}", self.login.username, self.login.password).into_bytes()
        })
    }

    /// The status of a request, and what it reads.
    fn take(&self, call: &Call<'_>) -> std::io::Result<(u16, Vec<u8>)> {
        let done = |status: u16| Ok((status, Vec::new()));
        if !call.query.is_empty() {
            return done(400);
        }
        if *call.method == Method::OPTIONS {
            return done(200);
        }
        let Some(file) = self.file(call.path) else {
            // There are no folders within this one.
            return done(if *call.method == Method::PUT { 409 } else { 404 });
        };
        let is_there = file.is_file();
        match call.method.as_str() {
            "GET" | "HEAD" if is_there => Ok((200, std::fs::read(file)?)),
            "DELETE" if is_there => {
                std::fs::remove_file(file)?;
                done(204)
            }
            "GET" | "HEAD" | "DELETE" => done(404),
            "PUT" => {
                if is_there && call.header("if-none-match") == Some("*") {
                    return done(412);
                }
                std::fs::write(file, call.body)?;
                done(if is_there { 204 } else { 201 })
            }
            "MOVE" => {
                let overwrite = match call.header("overwrite") {
                    None | Some("T") => true,
                    Some("F") => false,
                    Some(_) => return done(400),
                };
                let Some(to) = call.header("destination").and_then(|to| Url::parse(to).ok()) else {
                    return done(400);
                };
                let Some(below) = to.as_str().strip_prefix(call.base).map(str::to_owned) else {
                    return done(502);
                };
                let Some(to) = self.file(&below) else {
                    return done(409);
                };
                if !is_there {
                    return done(404);
                }
                let replaces = to.is_file();
                if replaces && !overwrite {
                    return done(412);
                }
                if to == file {
                    return done(403);
                }
                std::fs::rename(file, to)?;
                done(if replaces { 204 } else { 201 })
            }
            _ => done(405),
        }
    }

    /// The file that a path names; `None` if it names anything but a file of the folder itself.
    fn file(&self, path: &str) -> Option<PathBuf> {
        let name = path.strip_prefix('/')?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let fits = !matches!(name, "" | "." | "..") && name.bytes().all(plain);
        fits.then(|| self.folder.join(name))
    }
}

impl Simulator for WebDav {
    fn secrets(&self) -> Vec<(String, String)> {
        self.login.secrets()
    }

    fn answer(&mut self, call: Call<'_>) -> Response<Vec<u8>> {
        let (status, body) = if self.is_known(&call) {
            match self.take(&call) {
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => (403, Vec::new()),
                Err(error) if error.kind() == ErrorKind::NotFound => (404, Vec::new()),
                Err(_) => (507, Vec::new()),
            }
        } else {
            (401, Vec::new())
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (name, value) = if status == 401 {
            ("www-authenticate", "Basic realm=\"ovning\"")
        } else {
            ("dav", "1, 2")
        };
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        response
    }
}
