//! A folder on a server that speaks SFTP. A file is written under a temporary name, flushed where the server can, and put
//! in the place of the old one in one step (`posix-rename@openssh.com`): readers see the old one or the new one. Until the
//! first such step nothing of ours can be seen; from then on a failure is `unknown`, and the files are read back and
//! compared.
//!
//! The server proves itself with a key that stands in the configuration. There is no trust on first use.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle};
use russh::keys::{
    Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate,
};
use russh::{ChannelMsg, ChannelStream, Disconnect, Preferred, SshId};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;

use crate::channel::Secrets;
use crate::failpoint;
use crate::model::{Reason, SendError};

mod server;
mod wire;

pub(crate) use server::PRACTICE_FOLDER;
pub(super) use server::Server;
use wire::{Dialogue, Fault, status};

/// Longest time for everything before the first file is replaced, and for each replacement.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that nobody uses ends by itself.
const IDLE: Duration = Duration::from_secs(30);
/// Most that is read back of a file, in bytes: far above what an alert's history can be.
const READ_CAP: usize = 4 * 1024 * 1024;
/// What an OpenSSH private key begins with when its lines are put together.
const OPENSSH_KEY: &str = "b3BlbnNzaC1rZXktdjE";

/// The folder, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Sftp {
    server: Server,
    /// Keeps the temporary names of two accounts in one folder apart.
    account: String,
    secrets: Arc<dyn Secrets>,
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sftp")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// How we prove who we are.
struct LogIn {
    username: SecretString,
    key: Option<PrivateKey>,
    password: Option<SecretString>,
}

/// An open dialogue; the connection ends with it.
struct Connection {
    handle: Handle<HostCheck>,
    dialogue: Dialogue<ChannelStream<client::Msg>>,
}

impl Connection {
    /// Says goodbye. That it may not be heard matters to nobody.
    async fn close(self) {
        let bye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        drop(tokio::time::timeout(Duration::from_secs(1), bye).await);
    }
}

/// Takes the server's key if it is one of those in the configuration.
struct HostCheck {
    server: Server,
    /// The fingerprint of a key that was not.
    stranger: Arc<Mutex<Option<String>>>,
}

impl client::Handler for HostCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let is_known = self.server.knows(&fingerprint);
        if !is_known {
            *self.stranger.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        }
        Ok(is_known)
    }
}

impl Sftp {
    /// The folder on this server; the log-in is that of the account.
    pub(super) fn open(server: Server, account: String, secrets: Arc<dyn Secrets>) -> Result<Self, Reason> {
        secrets.require("username")?;
        if secrets.get("private_key").is_none() {
            secrets.require("password")?;
        }
        Ok(Self {
            server,
            account,
            secrets,
        })
    }

    pub(super) fn shown(&self) -> String {
        self.server.to_string()
    }

    /// The bytes of a file, if it is there.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SendError> {
        let path = self.server.file(name);
        self.in_time(async {
            let mut connection = self.connect().await?;
            let bytes = connection.dialogue.read(&path, READ_CAP).await;
            connection.close().await;
            bytes.map_err(before_anything)
        })
        .await
    }

    /// All files are there under their temporary names before the first one is replaced.
    pub(super) async fn write(&self, files: &[(String, Vec<u8>)]) -> Result<(), SendError> {
        let prepare = async {
            let mut connection = self.connect_to_write().await?;
            for (name, bytes) in files {
                let temporary = self.temporary(name);
                let created = connection.dialogue.create(&temporary, bytes).await;
                created.map_err(before_anything)?;
            }
            Ok(connection)
        };
        let mut connection = self.in_time(prepare).await?;
        let mut result = Ok(());
        for (n, (name, _)) in files.iter().enumerate() {
            failpoint::hit("request-written.before");
            let (from, to) = (self.temporary(name), self.server.file(name));
            let replaced = tokio::time::timeout(PATIENCE, connection.dialogue.replace(&from, &to)).await;
            failpoint::hit("response-read.after");
            match replaced {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => {
                    result = Err(while_replacing(fault, n > 0));
                    break;
                }
                Err(_) => {
                    result = Err(SendError::Unknown(Reason::new(
                        "timeout",
                        "the server does not answer",
                    )));
                    break;
                }
            }
        }
        connection.close().await;
        result
    }

    /// Removes these files; not there counts as done.
    pub(super) async fn remove(&self, names: &[String]) -> Result<(), SendError> {
        self.in_time(async {
            let mut connection = self.connect().await?;
            let mut result = Ok(());
            for name in names {
                result = connection.dialogue.remove(&self.server.file(name)).await;
                if result.is_err() {
                    break;
                }
            }
            connection.close().await;
            result.map_err(before_anything)
        })
        .await
    }

    /// Writes a small hidden file and removes it again.
    pub(super) async fn try_out(&self) -> Result<(), SendError> {
        let path = self.temporary("verify");
        self.in_time(async {
            let mut connection = self.connect_to_write().await?;
            let mut result = connection.dialogue.create(&path, b"vardkase").await;
            if result.is_ok() {
                result = connection.dialogue.remove(&path).await;
            }
            connection.close().await;
            result.map_err(before_anything)
        })
        .await
    }

    /// The same for every attempt, so that what a cut connection left behind is replaced by the next one.
    fn temporary(&self, name: &str) -> String {
        self.server
            .file(&format!(".{name}.{}.vardkase-new", self.account))
    }

    /// Work that has no effect yet, within the time for it.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            Err(SendError::NotSent(
                self.reason("timeout", "it does not answer in time"),
            ))
        })
    }

    fn reason(&self, code: &str, what: &str) -> Reason {
        Reason::new(code, format!("{}: {what}", self.server.host))
    }

    async fn connect_to_write(&self) -> Result<Connection, SendError> {
        let connection = self.connect().await?;
        if connection.dialogue.replaces() {
            return Ok(connection);
        }
        connection.close().await;
        let text = "the server cannot put a file in the place of another in one step (posix-rename@openssh.com), so that \
                    readers would see a gap, or it lets this user only read; use OpenSSH there, with the right to write";
        Err(SendError::Refused(self.reason("sftp-rename", text)))
    }

    /// Connects, checks the server's key, logs in and opens SFTP.
    async fn connect(&self) -> Result<Connection, SendError> {
        let login = self.login()?;
        failpoint::hit("connect.before");
        let stream = TcpStream::connect((self.server.host.as_str(), self.server.port)).await;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|error| {
            let text = format!("no connection: {error}");
            SendError::NotSent(self.reason("connect", &text))
        })?;
        failpoint::hit("connect.after");
        let stranger = Arc::new(Mutex::new(None));
        let check = HostCheck {
            server: self.server.clone(),
            stranger: Arc::clone(&stranger),
        };
        let connected = Box::pin(client::connect_stream(self.settings(), stream, check)).await;
        let mut handle = connected.map_err(|error| {
            let stranger = stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.no_session(&error, stranger)
        })?;
        self.authenticate(&mut handle, &login).await?;
        let stream = Box::pin(self.subsystem(&handle)).await?;
        let dialogue = Dialogue::open(stream).await.map_err(before_anything)?;
        Ok(Connection { handle, dialogue })
    }

    fn settings(&self) -> Arc<client::Config> {
        let version = concat!("SSH-2.0-vardkase_", env!("CARGO_PKG_VERSION"));
        Arc::new(client::Config {
            client_id: SshId::Standard(Cow::Borrowed(version)),
            inactivity_timeout: Some(IDLE),
            preferred: Preferred {
                key: Cow::Owned(self.server.algorithms()),
                ..Preferred::DEFAULT
            },
            ..client::Config::default()
        })
    }

    /// Why there is no session.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the library's list of errors, not ours: the rest is a failed connection, told with its own text"
    )]
    fn no_session(&self, error: &russh::Error, stranger: Option<String>) -> SendError {
        if let Some(fingerprint) = stranger {
            let text = format!(
                "the server proves itself with the key {fingerprint}, which is none of host_keys in config.toml. Ask whoever \
                 runs it whether the key is new; if not, somebody stands in between"
            );
            return SendError::Refused(self.reason("host-key", &text));
        }
        match error {
            russh::Error::NoCommonAlgo { kind, .. } => {
                let text = format!(
                    "server and daemon have no {kind:?} algorithm in common; Ed25519 and ECDSA keys are spoken, RSA is not"
                );
                SendError::Refused(self.reason("ssh-algorithms", &text))
            }
            other => SendError::NotSent(self.reason("ssh", &format!("no SSH connection: {other}"))),
        }
    }

    fn login(&self) -> Result<LogIn, SendError> {
        let username = self.secrets.require("username").map_err(SendError::Credential)?;
        let key = match self.secrets.get("private_key") {
            Some(text) => Some(self.private_key(&text)?),
            None => None,
        };
        let password = self.secrets.get("password");
        Ok(LogIn {
            username,
            key,
            password: password.filter(|password| !password.expose_secret().is_empty()),
        })
    }

    /// The key as `ssh-keygen` writes it, or its middle lines put together, because the vault takes a line.
    fn private_key(&self, text: &SecretString) -> Result<PrivateKey, SendError> {
        let text = text.expose_secret().trim();
        let whole;
        let pem = if text.starts_with(OPENSSH_KEY) {
            whole = SecretString::from(format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n"
            ));
            whole.expose_secret()
        } else {
            text
        };
        // What the library says of it may hold a piece of it.
        russh::keys::decode_secret_key(pem, None).map_err(|_| {
            let text = "private_key cannot be read; expected an Ed25519 or ECDSA key of ssh-keygen without passphrase";
            SendError::Credential(self.reason("private-key", text))
        })
    }

    async fn authenticate(&self, handle: &mut Handle<HostCheck>, login: &LogIn) -> Result<(), SendError> {
        let username = login.username.expose_secret();
        if let Some(key) = &login.key {
            let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
            let tried = Box::pin(handle.authenticate_publickey(username, key)).await;
            if self.is_let_in(tried)? {
                return Ok(());
            }
        }
        if let Some(password) = &login.password {
            let tried = Box::pin(handle.authenticate_password(username, password.expose_secret())).await;
            if self.is_let_in(tried)? {
                return Ok(());
            }
        }
        let text = "it takes neither private_key nor password for this username; set them again with `vardkase credentials \
                    set`";
        Err(SendError::Credential(self.reason("ssh-auth", text)))
    }

    fn is_let_in(&self, tried: Result<AuthResult, russh::Error>) -> Result<bool, SendError> {
        let broken = |what: &str| {
            let text = format!("the connection broke at the log-in: {what}");
            Err(SendError::NotSent(self.reason("ssh", &text)))
        };
        match tried {
            Ok(AuthResult::Success) => Ok(true),
            // A server that says no says what it would take instead; the library makes this of a connection that is gone.
            Ok(AuthResult::Failure {
                remaining_methods, ..
            }) if remaining_methods.is_empty() => broken("it was cut off"),
            Ok(AuthResult::Failure { .. }) => Ok(false),
            Err(error) => broken(&error.to_string()),
        }
    }

    async fn subsystem(&self, handle: &Handle<HostCheck>) -> Result<ChannelStream<client::Msg>, SendError> {
        let broken = |error: &russh::Error| {
            let text = format!("no channel for SFTP: {error}");
            SendError::NotSent(self.reason("ssh", &text))
        };
        let mut channel = handle
            .channel_open_session()
            .await
            .map_err(|error| broken(&error))?;
        let asked = channel.request_subsystem(true, "sftp").await;
        asked.map_err(|error| broken(&error))?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel.into_stream()),
                Some(ChannelMsg::Failure) => {
                    let text = "the server offers this user no SFTP";
                    return Err(SendError::Refused(self.reason("sftp-subsystem", text)));
                }
                // Window sizes and the like.
                Some(_) => {}
                None => return Err(broken(&russh::Error::Disconnect)),
            }
        }
    }
}

/// The algorithms of host keys that are spoken, best first.
const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
];

/// What a fault means where nothing can have been published yet.
fn before_anything(fault: Fault) -> SendError {
    match fault {
        Fault::Status(status) => verdict(status),
        Fault::Cut(what) => SendError::NotSent(Reason::new("cut", what)),
    }
}

/// What a fault means when a file was to be put in its place.
fn while_replacing(fault: Fault, moved: bool) -> SendError {
    match fault {
        // The temporary file is gone: an earlier replacement of ours got through, perhaps.
        Fault::Status(status) if moved || status == status::NO_SUCH_FILE => {
            SendError::Unknown(verdict(status).reason().clone())
        }
        Fault::Status(status) => verdict(status),
        Fault::Cut(what) => SendError::Unknown(Reason::new("cut", what)),
    }
}

/// What a status of the server means: it did nothing.
fn verdict(status: u32) -> SendError {
    let reason = |name: &str, what: &str| {
        Reason::new(
            format!("sftp-{name}"),
            format!("the SFTP server answered {status}: {what}"),
        )
    };
    match status {
        status::NO_SUCH_FILE => SendError::Refused(reason(
            "no-such-file",
            "the folder is not there; make it, or correct sftp in config.toml",
        )),
        status::PERMISSION_DENIED => SendError::Refused(reason(
            "permission-denied",
            "the user may not write there; give it the right to",
        )),
        status::BAD_MESSAGE | status::UNSUPPORTED => {
            SendError::Refused(reason("unsupported", "it cannot do that"))
        }
        // The disk is full, a folder has the file's name, a quota: SFTP has one status for all.
        status::FAILURE => {
            SendError::NotSent(reason("failure", "it did nothing; see whether its disk is full"))
        }
        _ => SendError::NotSent(reason("status", "it did nothing")),
    }
}

#[cfg(test)]
mod tests;
