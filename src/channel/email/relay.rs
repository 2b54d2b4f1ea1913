//! One relay: connections to it, kept while they are of use, and the exchange of one letter.
//!
//! lettre's client has no deadline after the connection stands (its documented one does not hold in 0.11.23), so every
//! step here has its own. Where another relay is left to try they are short, so that a silent one leaves time for it;
//! the last one gets all the patience that its configuration gives it: relays think long, and some answer what they
//! refuse with delay.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Quit, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::{Error, response::Response};
use rustls_platform_verifier::ConfigVerifierExt;
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::message::Letter;
use super::reply::{Stage, Trouble, queued};
use super::wire::{Phase, Wire};
use crate::channel::Secrets;
use crate::config::{Relay as Config, RelayTls};
use crate::failpoint;
use crate::model::AccountId;

/// Longest wait for a relay while another one is left to try: to a session that is logged in, for MAIL, RCPT and DATA
/// together, and for writing the body.
const HURRY: Duration = Duration::from_secs(5);
/// Waiting for the reply to the final dot; the caller's own deadline comes first.
const REPLY: Duration = Duration::from_mins(10);
/// A connection that lay idle longer is not used: relays hang up after a minute or less.
const IDLE: Duration = Duration::from_secs(30);
/// Idle for less than this, a connection is used without asking whether it still stands.
const FRESH: Duration = Duration::from_secs(1);
/// Most idle connections that are kept.
const KEPT: usize = 16;

/// A relay and the idle connections to it.
pub(super) struct Relay {
    config: Config,
    hello: ClientId,
    secrets: Arc<dyn Secrets>,
    /// Longest wait: to a session that is logged in, for MAIL, RCPT and DATA together, and for writing the body.
    patience: Duration,
    idle: Mutex<Vec<Session>>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relay").field(&self.config.id).finish()
    }
}

/// A connection that has said EHLO and is logged in.
struct Session {
    connection: AsyncSmtpConnection,
    phase: Phase,
    used: Instant,
}

impl Relay {
    /// `is_last` if no other relay is tried after it.
    pub(super) fn new(config: Config, hello: String, secrets: Arc<dyn Secrets>, is_last: bool) -> Self {
        let patience = if is_last {
            config.patience
        } else {
            config.patience.min(HURRY)
        };
        Self {
            patience,
            config,
            hello: ClientId::Domain(hello),
            secrets,
            idle: Mutex::default(),
        }
    }

    pub(super) fn id(&self) -> &AccountId {
        &self.config.id
    }

    /// Sends one letter. Returns what the relay said of its queue.
    pub(super) async fn send(&self, letter: &Letter) -> Result<String, Trouble> {
        self.send_once(letter)
            .await
            .map_err(|trouble| self.blanked(trouble).masking(letter.to.as_ref()))
    }

    async fn send_once(&self, letter: &Letter) -> Result<String, Trouble> {
        if let Some(session) = self.kept().await {
            match self.exchange(session, letter).await {
                // It had hung up meanwhile, or takes no more letters on this connection.
                Err(trouble) if trouble.is_the_relays() => {}
                result => return result,
            }
        }
        let session = self.open().await?;
        self.exchange(session, letter).await
    }

    /// Connects, logs in, and leaves.
    pub(super) async fn verify(&self) -> Result<String, Trouble> {
        let blanked = |trouble| self.blanked(trouble);
        let mut session = self.open().await.map_err(blanked)?;
        let noop = session.connection.command(Noop);
        self.step(self.patience, Stage::Open, noop)
            .await
            .map_err(blanked)?;
        let name = session.connection.server_info().name().to_owned();
        session.leave().await;
        let how = match self.config.tls {
            RelayTls::Starttls => "STARTTLS",
            RelayTls::Implicit => "TLS",
            RelayTls::None => "no TLS",
        };
        let login = if self.config.login { ", logged in" } else { "" };
        Ok(format!("{name}, {how}{login}"))
    }

    /// Runs a step with its deadline.
    async fn step<T>(
        &self,
        within: Duration,
        stage: Stage,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        match timeout(within, step).await {
            Ok(result) => result.map_err(|error| Trouble::of(self.id(), stage, &error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// What the relay said, without our password should it have repeated it.
    fn blanked(&self, trouble: Trouble) -> Trouble {
        match self.secrets.get(&format!("{}/password", self.id())) {
            Some(secret) => trouble.without(secret.expose_secret()),
            None => trouble,
        }
    }

    fn silent(&self) -> Trouble {
        let text = format!("no answer within {} s", self.patience.as_secs_f64());
        Trouble::contact(self.id(), "smtp-timeout", text)
    }

    /// An idle connection that still stands.
    async fn kept(&self) -> Option<Session> {
        loop {
            let mut session = self.lock().pop()?;
            let idle = session.used.elapsed();
            if idle < FRESH {
                return Some(session);
            }
            if idle < IDLE && matches!(timeout(FRESH, session.connection.command(Noop)).await, Ok(Ok(_))) {
                return Some(session);
            }
        }
    }

    fn keep(&self, mut session: Session) {
        session.used = Instant::now();
        let mut idle = self.lock();
        idle.retain(|other| other.used.elapsed() < IDLE);
        if idle.len() < KEPT {
            idle.push(session);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Session, Trouble> {
        match timeout(self.patience, self.open_slowly()).await {
            Ok(result) => result,
            Err(_) => Err(self.silent()),
        }
    }

    async fn open_slowly(&self) -> Result<Session, Trouble> {
        let Config { host, port, tls, .. } = &self.config;
        let contact = |code: &str, error: &dyn std::error::Error| {
            Trouble::contact(self.id(), code, super::reply::deepest(error))
        };
        failpoint::hit("connect.before");
        let stream = TcpStream::connect((host.as_str(), *port))
            .await
            .map_err(|error| contact("connect", &error))?;
        failpoint::hit("connect.after");
        let phase = Phase::default();
        let wire = Wire::new(stream, phase.clone()).map_err(|error| contact("connect", &error))?;
        let mut connection = match tls {
            RelayTls::Implicit => {
                let wire = self.encrypt(wire).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(wire), &self.hello).await
            }
            RelayTls::None if !wire.peer().ip().is_loopback() => {
                let text = "tls = \"none\" is for a relay on this machine only";
                return Err(Trouble::contact(self.id(), "relay-tls", text));
            }
            RelayTls::Starttls | RelayTls::None => {
                AsyncSmtpConnection::connect_with_transport(Box::new(wire), &self.hello).await
            }
        }
        .map_err(|error| Trouble::of(self.id(), Stage::Open, &error))?;
        phase.greeted();
        if *tls == RelayTls::Starttls {
            let parameters = TlsParameters::new(host.clone()).map_err(|error| contact("tls", &error))?;
            connection
                .starttls(parameters, &self.hello)
                .await
                .map_err(|error| Trouble::of(self.id(), Stage::Open, &error))?;
        }
        if self.config.login {
            self.log_in(&mut connection).await?;
        }
        Ok(Session {
            connection,
            phase,
            used: Instant::now(),
        })
    }

    async fn encrypt(
        &self,
        plain: Wire<TcpStream>,
    ) -> Result<Wire<tokio_rustls::client::TlsStream<TcpStream>>, Trouble> {
        let tls = |error: String| Trouble::contact(self.id(), "tls", error);
        let config =
            rustls::ClientConfig::with_platform_verifier().map_err(|error| tls(error.to_string()))?;
        let name = rustls::pki_types::ServerName::try_from(self.config.host.clone())
            .map_err(|error| tls(error.to_string()))?;
        Wire::implicit(plain, &Arc::new(config).into(), name)
            .await
            .map_err(|error| tls(error.to_string()))
    }

    async fn log_in(&self, connection: &mut AsyncSmtpConnection) -> Result<(), Trouble> {
        let secret = |name: &str| {
            let secret = self.secrets.get(&format!("{}/{name}", self.id()));
            secret.filter(|s| !s.expose_secret().is_empty()).ok_or_else(|| {
                let advice =
                    format!("the vault holds no {name} for it; set it with `vardkase credentials set`");
                Trouble::credential(self.id(), &advice)
            })
        };
        let credentials = Credentials::new(
            secret("username")?.expose_secret().to_owned(),
            secret("password")?.expose_secret().to_owned(),
        );
        connection
            .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
            .await
            .map_err(|error| Trouble::of(self.id(), Stage::Open, &error))?;
        Ok(())
    }

    async fn exchange(&self, mut session: Session, letter: &Letter) -> Result<String, Trouble> {
        match self.envelope(&mut session, letter).await {
            Ok(()) => {}
            Err(trouble) => {
                // The connection is still good for the next letter if only this one's recipient was refused.
                let reset = session.connection.command(Rset);
                if !trouble.is_the_relays() && matches!(timeout(FRESH, reset).await, Ok(Ok(_))) {
                    self.keep(session);
                }
                return Err(trouble);
            }
        }
        let response = self.body(&mut session, &letter.bytes).await?;
        failpoint::hit("response-read.after");
        session.phase.greeted();
        let said = queued(&response.message().collect::<Vec<_>>().join(" "));
        self.keep(session);
        Ok(said)
    }

    /// MAIL, RCPT, DATA: everything before the relay may take the letter.
    async fn envelope(&self, session: &mut Session, letter: &Letter) -> Result<(), Trouble> {
        let connection = &mut session.connection;
        let mut parameters = Vec::new();
        if [&letter.from, &letter.to]
            .iter()
            .any(|a| !a.to_string().is_ascii())
        {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Trouble::letter(
                    "smtputf8",
                    "the address has letters beyond a–z and the relay does not take such",
                ));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let mail = Mail::new(Some(letter.from.clone()), parameters);
        let started = Instant::now();
        self.step(self.patience, Stage::Sender, connection.command(mail))
            .await?;
        let rcpt = Rcpt::new(letter.to.clone(), Vec::new());
        let left = self.patience.saturating_sub(started.elapsed());
        self.step(left, Stage::Recipient, connection.command(rcpt))
            .await?;
        let left = self.patience.saturating_sub(started.elapsed());
        self.step(left, Stage::Body, connection.command(Data)).await?;
        Ok(())
    }

    async fn body(&self, session: &mut Session, bytes: &[u8]) -> Result<Response, Trouble> {
        let phase = session.phase.clone();
        // lettre asks for a next part when this one has been written and flushed: only the dot is left then.
        let parts = std::iter::once(bytes).chain(std::iter::from_fn({
            let phase = phase.clone();
            move || {
                phase.dot_is_next();
                None
            }
        }));
        let exchange = session.connection.message_iter(parts);
        tokio::pin!(exchange);
        let result = match timeout(self.patience, &mut exchange).await {
            Ok(result) => Some(result),
            // The body is still being written: the relay does not read.
            Err(_) if !phase.dot_may_have_left() => return Err(self.silent()),
            Err(_) => timeout(REPLY, exchange).await.ok(),
        };
        let stage = if phase.dot_may_have_left() {
            Stage::Sent
        } else {
            Stage::Body
        };
        match result {
            Some(result) => result.map_err(|error| Trouble::of(self.id(), stage, &error)),
            None => Err(Trouble::unanswered(self.id(), "silence")),
        }
    }
}

impl Session {
    async fn leave(mut self) {
        // Good manners only: the connection is closed either way.
        drop(timeout(FRESH, self.connection.command(Quit)).await);
    }
}
