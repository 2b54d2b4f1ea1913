//! A folder on a WebDAV server. A file is put under a temporary name and then moved over the old one: readers see the old
//! one or the new one. Until the first move nothing of ours can be seen; from then on a failure is `unknown`, and the files
//! are read back and compared.

use std::fmt;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use url::Url;

use crate::channel::Secrets;
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::model::{Busy, Reason, SendError};

/// The folder, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Dav {
    folder: Url,
    /// Keeps the temporary names of two accounts in one folder apart.
    account: String,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

impl fmt::Debug for Dav {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dav")
            .field("folder", &self.folder.as_str())
            .finish_non_exhaustive()
    }
}

impl Dav {
    /// The folder at this address; the log-in is that of the account.
    pub(super) fn open(
        folder: Url,
        account: String,
        secrets: Arc<dyn Secrets>,
        http: Transport,
    ) -> Result<Self, Reason> {
        secrets.require("username")?;
        secrets.require("password")?;
        Ok(Self {
            folder,
            account,
            secrets,
            http,
        })
    }

    pub(super) fn shown(&self) -> String {
        self.folder.to_string()
    }

    fn file(&self, name: &str) -> Url {
        below(&self.folder, [name])
    }

    /// The same for every attempt, so that what a cut connection left behind is replaced by the next one.
    fn temporary(&self, name: &str) -> Url {
        self.file(&format!(".{name}.{}.vardkase-new", self.account))
    }

    fn request(&self, method: Method, url: Url) -> Result<reqwest::RequestBuilder, SendError> {
        let secret = |name| self.secrets.require(name).map_err(SendError::Credential);
        let (username, password) = (secret("username")?, secret("password")?);
        let request = self.http.request(method, url);
        Ok(request.basic_auth(username.expose_secret(), Some(password.expose_secret())))
    }

    /// The bytes of a file, if it is there.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SendError> {
        let request = self.request(Method::GET, self.file(name))?;
        let answer = self.http.send(request, Effect::Reads).await?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 | 410 => Ok(None),
            _ => Err(before_anything(&answer)),
        }
    }

    /// All files are there under their temporary names before the first one is moved.
    pub(super) async fn write(&self, files: &[(String, Vec<u8>)]) -> Result<(), SendError> {
        for (name, bytes) in files {
            self.put(self.temporary(name), bytes.clone(), media_type(name))
                .await?;
        }
        let mut moved = false;
        for (name, _) in files {
            match self.replace(name).await {
                Ok(()) => moved = true,
                Err(error) if moved => return Err(SendError::Unknown(error.reason().clone())),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn put(&self, url: Url, bytes: Vec<u8>, kind: &'static str) -> Result<(), SendError> {
        let request = self
            .request(Method::PUT, url)?
            .header("content-type", kind)
            .body(bytes);
        // Nobody looks at the temporary name: whatever became of it, nothing was published.
        let answer = self.http.send(request, Effect::Reads).await?;
        if answer.is_success() {
            Ok(())
        } else {
            Err(before_anything(&answer))
        }
    }

    async fn replace(&self, name: &str) -> Result<(), SendError> {
        let method = Method::from_bytes(b"MOVE").unwrap_or(Method::POST);
        let destination = HeaderValue::try_from(self.file(name).as_str())
            .map_err(|_| SendError::Refused(Reason::new("address", "the file's address fits no header")))?;
        let request = self
            .request(method, self.temporary(name))?
            .header("destination", destination)
            .header("overwrite", "T");
        let answer = self.http.send(request, Effect::Writes).await?;
        match answer.status {
            // A 207 tells of parts that failed.
            207 => Err(SendError::Unknown(reason(&answer, "it moved only a part"))),
            200..=299 => Ok(()),
            // The temporary file is gone: an earlier move of ours got through, perhaps.
            404 => Err(SendError::Unknown(reason(&answer, "the temporary file is gone"))),
            _ => Err(verdict(&answer)),
        }
    }

    /// Removes a file; not there counts as done.
    pub(super) async fn remove(&self, name: &str) -> Result<(), SendError> {
        self.delete(self.file(name)).await
    }

    async fn delete(&self, url: Url) -> Result<(), SendError> {
        let request = self.request(Method::DELETE, url)?;
        let answer = self.http.send(request, Effect::Reads).await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(before_anything(&answer)),
        }
    }

    /// Puts a small hidden file and removes it again.
    pub(super) async fn try_out(&self) -> Result<(), SendError> {
        let url = self.temporary("verify");
        self.put(url.clone(), b"vardkase".to_vec(), "text/plain").await?;
        self.delete(url).await
    }
}

fn media_type(name: &str) -> &'static str {
    if std::path::Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "json")
    {
        "application/json"
    } else {
        "text/html; charset=utf-8"
    }
}

/// What an answer means where nothing can have been published yet.
fn before_anything(answer: &Answer) -> SendError {
    match verdict(answer) {
        SendError::Unknown(reason) => SendError::NotSent(reason),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)) => other,
    }
}

/// What any answer but the wanted ones means; by the status alone.
fn verdict(answer: &Answer) -> SendError {
    match answer.status {
        401 => SendError::Credential(reason(
            answer,
            "it takes neither username nor password; set both again with `vardkase credentials set`",
        )),
        300..=399 => SendError::Refused(reason(
            answer,
            "the folder has moved: correct webdav in config.toml",
        )),
        403 => SendError::Refused(reason(
            answer,
            "the user may not write there; give it the right to",
        )),
        405 | 501 => SendError::Refused(reason(
            answer,
            "this is no WebDAV folder; correct webdav in config.toml",
        )),
        409 => SendError::Refused(reason(answer, "the folder is not there; make it")),
        412 => SendError::Refused(reason(answer, "it does not let files be replaced")),
        413 => SendError::Refused(reason(answer, "it takes no file of this size")),
        // Somebody has the file open, or the disk is full: nothing was done, and it may pass.
        423 => SendError::NotSent(reason(answer, "somebody holds a lock on the file")),
        507 => SendError::NotSent(reason(answer, "there is no room; free space on the server")),
        429 => SendError::Busy {
            until: answer.retry_after(),
            reason: reason(answer, "it asks us to wait"),
            scope: Busy::Account,
        },
        503 => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason: reason(answer, "it asks us to wait"),
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason(answer, "it did nothing")),
        },
        400..=407 | 410 | 411 | 414..=499 => {
            SendError::Refused(reason(answer, "it does not take the request"))
        }
        _ => SendError::Unknown(reason(answer, "it does not say whether it did anything")),
    }
}

fn reason(answer: &Answer, what: &str) -> Reason {
    let status = answer.status;
    Reason::new(
        format!("http-{status}"),
        format!("the WebDAV server answered {status}: {what}"),
    )
}

#[cfg(test)]
mod tests;
