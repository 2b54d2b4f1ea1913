//! The log-in: made once with the app password, then renewed. A renewed pair of tokens is on disk before it is used, and
//! however many wait for it, it is renewed once.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::fault;
use crate::channel::transport::{Answer, Effect, below};
use crate::channel::{Parts, Secrets, Transport};
use crate::clock::Timestamp;
use crate::model::{Reason, SendError};

/// The name under which the vault keeps it.
pub(super) const SECRET: &str = "session";

/// A pair of tokens and whose they are.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    access_jwt: String,
    refresh_jwt: String,
    did: String,
    handle: String,
    /// The account's own server, where the entryway named one.
    #[serde(default)]
    pds: Option<Url>,
    /// What it was made with: a session of another account or server is not ours.
    identifier: String,
    service: Url,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("did", &self.did)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn did(&self) -> &str {
        &self.did
    }

    /// The name in the post's public address.
    pub(super) fn handle(&self) -> &str {
        if self.handle.is_empty() || self.handle == "handle.invalid" {
            &self.did
        } else {
            &self.handle
        }
    }

    /// Where the account's calls go.
    pub(super) fn host<'a>(&'a self, service: &'a Url) -> &'a Url {
        self.pds.as_ref().unwrap_or(service)
    }

    pub(super) fn authorization(&self) -> HeaderValue {
        bearer(&self.access_jwt)
    }

    /// When the access token ends.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        Timestamp::from_second(claims(&self.access_jwt)?.1).ok()
    }

    /// Until when it can be renewed without the app password.
    pub(super) fn renewable_until(&self) -> Option<Timestamp> {
        Timestamp::from_second(claims(&self.refresh_jwt)?.1).ok()
    }

    /// What the access token says that it may.
    pub(super) fn scope(&self) -> Option<String> {
        let scope = payload(&self.access_jwt)?["scope"].as_str()?.to_owned();
        (scope.len() <= 100).then_some(scope)
    }

    /// Whether four fifths of the access token's life are over.
    fn is_old(&self, now: Timestamp) -> bool {
        claims(&self.access_jwt).is_some_and(|(from, to)| {
            let life = to.saturating_sub(from).max(0);
            now.as_second() >= to.saturating_sub(life / 5)
        })
    }
}

fn bearer(token: &str) -> HeaderValue {
    // A token with characters that no header may have gives an empty one, which the server answers with AuthMissing.
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// What a token says of itself.
fn payload(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// `iat` and `exp` of a token. It is the server's own and only read, not verified.
fn claims(token: &str) -> Option<(i64, i64)> {
    let payload = payload(token)?;
    let second = |name| payload.get(name).and_then(Value::as_i64);
    let exp = second("exp")?;
    Some((second("iat").unwrap_or(exp), exp))
}

/// The account's session, shared by all that use it.
pub(super) struct Sessions {
    service: Url,
    identifier: String,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    // Held while a session is made or renewed, over the network, on purpose: that is what makes it happen once. The
    // attempt's deadline bounds it.
    current: Mutex<Option<Arc<Session>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("service", &self.service.as_str())
            .field("identifier", &self.identifier)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(service: &Url, identifier: &str, parts: &Parts) -> Self {
        Self {
            service: service.clone(),
            identifier: identifier.to_owned(),
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
            current: Mutex::default(),
        }
    }

    /// Where residents read the account's posts: for a server on this machine, that server.
    pub(super) fn public_site(&self) -> Url {
        if self.service.scheme() == "https" {
            Url::parse("https://bsky.app").unwrap_or_else(|_| self.service.clone())
        } else {
            self.service.clone()
        }
    }

    /// The session to use now; made or renewed first where that is due.
    pub(super) async fn current(&self) -> Result<Arc<Session>, SendError> {
        let mut current = self.current.lock().await;
        if current.is_none() {
            *current = self.stored().map(Arc::new);
        }
        let session = match current.as_ref() {
            None => self.log_in().await?,
            Some(session) if session.is_old(self.http.now()) => match self.refresh(session).await {
                Ok(renewed) => renewed,
                // Not renewed today; the old one may still do, and if not the server says so.
                Err(SendError::NotSent(_) | SendError::Busy { .. }) => return Ok(Arc::clone(session)),
                Err(error) => return Err(error),
            },
            Some(session) => return Ok(Arc::clone(session)),
        };
        Ok(Arc::clone(current.insert(session)))
    }

    /// A session other than `stale`, which the server does not take any more.
    pub(super) async fn renewed(&self, stale: &Session) -> Result<Arc<Session>, SendError> {
        let mut current = self.current.lock().await;
        match current.as_ref() {
            // Someone else renewed it while we waited.
            Some(session) if session.access_jwt != stale.access_jwt => Ok(Arc::clone(session)),
            Some(_) | None => Ok(Arc::clone(current.insert(self.refresh(stale).await?))),
        }
    }

    /// What the vault holds, if it is this account's.
    fn stored(&self) -> Option<Session> {
        let stored = self.secrets.get(SECRET)?;
        let session: Session = serde_json::from_str(stored.expose_secret()).ok()?;
        (session.identifier == self.identifier && session.service == self.service).then_some(session)
    }

    async fn refresh(&self, old: &Session) -> Result<Arc<Session>, SendError> {
        let url = below(
            old.host(&self.service),
            ["xrpc", "com.atproto.server.refreshSession"],
        );
        let request = self
            .http
            .request(Method::POST, url)
            .header("authorization", bearer(&old.refresh_jwt));
        // Repeating it within two hours gives the same pair, so a lost answer does no harm.
        let answer = self.http.send(request, Effect::Reads).await?;
        if answer.is_success() {
            return self.keep(&answer).await;
        }
        match fault::name(&answer) {
            Some("ExpiredToken" | "InvalidToken" | "AuthMissing" | "AuthenticationRequired") => {
                self.log_in().await
            }
            Some(_) | None if answer.status == 401 => self.log_in().await,
            Some(_) | None => Err(failed(answer)),
        }
    }

    async fn log_in(&self) -> Result<Arc<Session>, SendError> {
        let password = self
            .secrets
            .require("app_password")
            .map_err(SendError::Credential)?;
        let url = below(&self.service, ["xrpc", "com.atproto.server.createSession"]);
        let request = self.http.request(Method::POST, url).json(&json!({
            "identifier": self.identifier,
            "password": password.expose_secret(),
        }));
        let answer = self.http.send(request, Effect::Reads).await?;
        if answer.is_success() {
            return self.keep(&answer).await;
        }
        Err(failed(answer))
    }

    /// Reads a new session and writes it to the vault; only then it may be used.
    async fn keep(&self, answer: &Answer) -> Result<Arc<Session>, SendError> {
        let unreadable = || {
            SendError::NotSent(Reason::new(
                "unreadable",
                "the server took the log-in and what it answered cannot be read",
            ))
        };
        let body = answer.json().ok_or_else(unreadable)?;
        check_active(&body)?;
        let text = |name| {
            body.get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty() && text.len() <= 10_000)
                .map(str::to_owned)
        };
        let session = Session {
            access_jwt: text("accessJwt").ok_or_else(unreadable)?,
            refresh_jwt: text("refreshJwt").ok_or_else(unreadable)?,
            did: text("did")
                .filter(|did| did.starts_with("did:"))
                .ok_or_else(unreadable)?,
            handle: text("handle").unwrap_or_default(),
            pds: self.own_server(&body),
            identifier: self.identifier.clone(),
            service: self.service.clone(),
        };
        let written = serde_json::to_string(&session).map_err(|_| unreadable())?;
        self.secrets
            .rotate(SECRET, SecretString::from(written))
            .await
            .map_err(SendError::NotSent)?;
        Ok(Arc::new(session))
    }

    /// The account's own server, as the entryway's answer names it. Only https, only from an https entryway: a practice
    /// account can never be led out of the wall, nor a real one into this machine.
    fn own_server(&self, body: &Value) -> Option<Url> {
        if self.service.scheme() != "https" {
            return None;
        }
        let services = body.get("didDoc")?.get("service")?.as_array()?;
        let own = services.iter().find(|service| {
            service
                .get("id")
                .and_then(Value::as_str)
                .is_some_and(|id| id.ends_with("#atproto_pds"))
        })?;
        let url = Url::parse(own.get("serviceEndpoint")?.as_str()?).ok()?;
        (url.scheme() == "https" && url.domain().is_some_and(|d| d.contains('.'))).then_some(url)
    }
}

/// Refuses an account that the service has closed.
pub(super) fn check_active(body: &Value) -> Result<(), SendError> {
    if body.get("active").and_then(Value::as_bool) != Some(false) {
        return Ok(());
    }
    let status = body.get("status").and_then(Value::as_str).unwrap_or("inactive");
    Err(SendError::Credential(Reason::new(
        "bluesky-inactive",
        format!("the account cannot post ({status}); log in to Bluesky in a browser to see why"),
    )))
}

/// What a failed log-in means: nothing was published in any case.
fn failed(answer: Answer) -> SendError {
    match fault::of(answer, Effect::Reads) {
        Err(fault::Fault::Other(SendError::Refused(reason))) if reason.code != "redirect" => {
            SendError::Credential(reason)
        }
        Err(fault) => fault.into_error(Effect::Reads),
        // Only called for answers that are no success.
        Ok(answer) => SendError::NotSent(Reason::new(
            format!("http-{}", answer.status),
            "unexpected answer",
        )),
    }
}
