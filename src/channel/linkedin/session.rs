//! The access token, valid for 60 days, and its renewal. A renewed token is on disk before it is used, and however many
//! wait for it, it is renewed once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use url::Url;

use crate::channel::secrets::Fresh;
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::channel::{Parts, Renewal, Secrets};
use crate::clock::{Timestamp, later};
use crate::failpoint;
use crate::model::{AccountId, Busy, Reason, SendError};

/// The name under which the vault keeps it.
pub(super) const SECRET: &str = "session";
/// A token with less life left than this is renewed before it is used.
pub(super) const EARLY: Duration = Duration::from_hours(7 * 24);
/// A token with less life left than this is renewed when somebody looks for what is due.
const LONG_BEFORE: Duration = Duration::from_hours(30 * 24);
/// How long such an early renewal may take: a message must not wait for it.
const PATIENCE: Duration = Duration::from_secs(4);
/// Code of a renewal whose answer was lost, and with it the credential.
const RE_AUTHORISE: &str = "re-authorise";
/// How long after a failed one the next is tried.
const REST: Duration = Duration::from_hours(1);

/// A token and what renews it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    access_token: String,
    refresh_token: Option<String>,
    /// When the access token ends, in seconds since 1970, if it is known.
    expires: Option<i64>,
    /// When no renewal helps any more, if it is known.
    refresh_expires: Option<i64>,
    /// Which tokens a person had set when it was made: once others are set it is not ours.
    made_from: String,
    /// A renewal was asked for at that second, and what came of it is not on disk: the process was killed in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    renewing: Option<i64>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The session of a sign-in, as the vault keeps it.
    pub(super) fn granted(
        access: &SecretString,
        refresh: Option<&SecretString>,
        expires: Option<Timestamp>,
        refresh_expires: Option<Timestamp>,
    ) -> Option<SecretString> {
        let session = Self {
            access_token: access.expose_secret().to_owned(),
            refresh_token: refresh.map(|token| token.expose_secret().to_owned()),
            expires: expires.map(Timestamp::as_second),
            refresh_expires: refresh_expires.map(Timestamp::as_second),
            made_from: made_from([Some(access), refresh]),
            renewing: None,
        };
        serde_json::to_string(&session).ok().map(SecretString::from)
    }

    /// The session that the vault holds, if it is one of the tokens beside it.
    pub(super) fn of(secrets: &dyn Secrets) -> Option<Self> {
        let stored = secrets.get(SECRET)?;
        let session: Self = serde_json::from_str(stored.expose_secret()).ok()?;
        let [access, refresh] = ["access_token", "refresh_token"].map(|name| secrets.get(name));
        (session.made_from == made_from([access.as_ref(), refresh.as_ref()])).then_some(session)
    }

    /// For the `Authorization` header.
    pub(super) fn token(&self) -> &str {
        &self.access_token
    }

    /// When a person has to sign in anew, if it is known.
    pub(super) fn consent_ends(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.refresh_expires?).ok()
    }

    /// When the access token ends, if it is known.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.expires?).ok()
    }

    /// Whether there is something to renew it with.
    pub(super) fn can_renew(&self) -> bool {
        self.refresh_token.is_some()
    }

    fn is_old(&self, now: Timestamp) -> bool {
        self.refresh_token.is_some() && self.ends().is_some_and(|ends| later(now, EARLY) >= ends)
    }
}

/// The account's session, shared by all that use it.
pub(super) struct Sessions {
    account: AccountId,
    login: Url,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    // Held while a token is renewed, over the network, on purpose: that is what makes it happen once. The attempt's
    // deadline bounds it.
    current: Mutex<Current>,
}

/// What is in use.
#[derive(Default)]
struct Current {
    session: Option<Arc<Session>>,
    /// When an early renewal failed last.
    failed_at: Option<Timestamp>,
}

impl Current {
    fn is_resting(&self, now: Timestamp) -> bool {
        self.failed_at.is_some_and(|failed| now < later(failed, REST))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("login", &self.login.as_str())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(login: &Url, parts: &Parts) -> Self {
        Self {
            account: parts.account.clone(),
            login: login.clone(),
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
            current: Mutex::default(),
        }
    }

    /// The session to use now; renewed first where that is due.
    pub(super) async fn current(&self) -> Result<Arc<Session>, SendError> {
        let mut current = self.current.lock().await;
        let made_from = self.made_from();
        let known = current
            .session
            .clone()
            .filter(|session| session.made_from == made_from);
        let session = match known {
            Some(session) => session,
            None => Arc::clone(current.session.insert(Arc::new(self.stored(made_from)?))),
        };
        let now = self.http.now();
        if !session.is_old(now) || current.is_resting(now) {
            return Ok(session);
        }
        if let Ok(Ok(renewed)) = tokio::time::timeout(PATIENCE, self.renew(&session)).await {
            return Ok(Arc::clone(current.session.insert(renewed)));
        }
        // Not renewed today; it has days left, and if not the service says so.
        current.failed_at = Some(now);
        Ok(session)
    }

    /// A session other than `stale`, which the service does not take any more.
    pub(super) async fn renewed(&self, stale: &Session) -> Result<Arc<Session>, SendError> {
        let mut current = self.current.lock().await;
        match current.session.as_ref() {
            // Someone else renewed it while we waited.
            Some(session) if session.access_token != stale.access_token => Ok(Arc::clone(session)),
            Some(_) | None => Ok(Arc::clone(current.session.insert(self.renew(stale).await?))),
        }
    }

    /// Renews long before the end, where there is something to renew with.
    pub(super) async fn renew_due(&self, now: Timestamp) -> Result<Renewal, SendError> {
        let mut current = self.current.lock().await;
        let made_from = self.made_from();
        let known = current
            .session
            .clone()
            .filter(|session| session.made_from == made_from);
        let session = match known {
            Some(session) => session,
            None => Arc::clone(current.session.insert(Arc::new(self.stored(made_from)?))),
        };
        if session.refresh_token.is_none() || self.app().is_none() {
            return Ok(Renewal::Never);
        }
        let expires_at = session.ends();
        // Of a token that a person set nobody knows the end: renewed, it has one.
        let due_at = expires_at.map(|ends| crate::clock::earlier(ends, LONG_BEFORE));
        if due_at.is_some_and(|due| now < due) {
            return Ok(Renewal::NotYet { due_at, expires_at });
        }
        let renewed = self.renew(&session).await?;
        let expires_at = renewed.ends();
        current.session = Some(renewed);
        current.failed_at = None;
        Ok(Renewal::Done { expires_at })
    }

    /// The app's own id and secret, for questions about a token.
    pub(super) fn app(&self) -> Option<(SecretString, SecretString)> {
        Some((self.secrets.get("client_id")?, self.secrets.get("client_secret")?))
    }

    /// Everything that may stand in an answer and must not be shown.
    pub(super) fn unspeakable(&self, session: &Session) -> Vec<String> {
        let named = ["access_token", "refresh_token", "client_id", "client_secret"];
        let known = named.iter().filter_map(|name| self.secrets.get(name));
        let mut all: Vec<String> = known.map(|secret| secret.expose_secret().to_owned()).collect();
        all.push(session.access_token.clone());
        all.extend(session.refresh_token.clone());
        all.retain(|secret| !secret.is_empty());
        all
    }

    /// Asks the log-in server for something, in a form.
    pub(super) async fn ask(&self, what: &str, form: &[(&str, &str)]) -> Result<Answer, SendError> {
        let url = below(&self.login, ["oauth", "v2", what]);
        let request = self.http.request(Method::POST, url).form(form);
        self.http.send(request, Effect::Reads).await
    }

    /// What the vault holds: our own renewal of what a person set, or that itself.
    fn stored(&self, made_from: String) -> Result<Session, SendError> {
        let stored = self.secrets.get(SECRET);
        let stored = stored.and_then(|stored| serde_json::from_str::<Session>(stored.expose_secret()).ok());
        if let Some(session) = stored.filter(|session| session.made_from == made_from) {
            return Ok(session);
        }
        let token = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        let refresh_token = self
            .secrets
            .get("refresh_token")
            .map(|token| token.expose_secret().to_owned());
        Ok(Session {
            access_token: token.expose_secret().to_owned(),
            refresh_token: refresh_token.filter(|token| !token.is_empty()),
            expires: None,
            refresh_expires: None,
            made_from,
            renewing: None,
        })
    }

    fn made_from(&self) -> String {
        let [access, refresh] = ["access_token", "refresh_token"].map(|name| self.secrets.get(name));
        made_from([access.as_ref(), refresh.as_ref()])
    }

    /// Renews and writes to the vault; only then the new token may be used. Repeating it does no harm.
    async fn renew(&self, old: &Session) -> Result<Arc<Session>, SendError> {
        let account = &self.account;
        let sign_in = |text: &str| {
            if old.renewing.is_some() {
                // The service may have ended the old refresh token with an answer that is lost.
                let text = format!(
                    "Förnyelsen av inloggningen avbröts innan den nya hann sparas, och den gamla gäller inte längre. Logga in \
                     kontot på nytt: vardkase credentials connect {account}"
                );
                return SendError::Credential(Reason::new(RE_AUTHORISE, text));
            }
            let text = format!(
                "{text}; have an administrator of the page sign in anew: vardkase credentials connect {account}"
            );
            SendError::Credential(Reason::new("http-401", text))
        };
        let Some((refresh, (id, secret))) = old.refresh_token.as_deref().zip(self.app()) else {
            return Err(sign_in(
                "the token is not taken, and there is no refresh token with client id and secret",
            ));
        };
        self.note_renewing(old).await?;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
        ];
        let answer = self.ask("accessToken", &form).await?;
        match answer.status {
            200..=299 => {}
            400..=407 | 410..=428 => {
                if old.renewing.is_none() {
                    // A plain no: nothing was cut off.
                    self.note(old).await?;
                }
                return Err(sign_in("LinkedIn does not renew the token"));
            }
            status => {
                let text = format!("LinkedIn answered {status} instead of renewing the token");
                let reason = Reason::new(format!("http-{status}"), text);
                return Err(match status {
                    429 => SendError::Busy {
                        until: answer.retry_after(),
                        reason,
                        scope: Busy::Account,
                    },
                    300..=399 => SendError::Refused(reason),
                    _ => SendError::NotSent(reason),
                });
            }
        }
        let body = answer.json().unwrap_or(Value::Null);
        let text = |name: &str| {
            let text = body[name]
                .as_str()
                .filter(|text| !text.is_empty() && text.len() <= 10_000);
            text.map(str::to_owned)
        };
        let ends = |name: &str| {
            body[name]
                .as_i64()
                .map(|life| answer.at.as_second().saturating_add(life))
        };
        let unreadable = || {
            SendError::NotSent(Reason::new(
                "unreadable",
                "LinkedIn's answer to the renewal cannot be read",
            ))
        };
        let access = SecretString::from(text("access_token").ok_or_else(unreadable)?);
        let refresh = text("refresh_token")
            .or_else(|| old.refresh_token.clone())
            .map(SecretString::from);
        let session = Session {
            access_token: access.expose_secret().to_owned(),
            refresh_token: refresh.as_ref().map(|token| token.expose_secret().to_owned()),
            expires: ends("expires_in"),
            refresh_expires: ends("refresh_token_expires_in").or(old.refresh_expires),
            made_from: made_from([Some(&access), refresh.as_ref()]),
            renewing: None,
        };
        let written = serde_json::to_string(&session).map_err(|_| unreadable())?;
        let (until, renewable) = (session.ends(), session.consent_ends());
        let mut fresh = vec![
            Fresh::new("access_token", access, until),
            Fresh::new(SECRET, written, until),
        ];
        fresh.extend(refresh.map(|token| Fresh::new("refresh_token", token, renewable)));
        failpoint::hit("refresh-commit.before");
        self.secrets.keep(fresh).await.map_err(SendError::NotSent)?;
        failpoint::hit("refresh-commit.after");
        Ok(Arc::new(session))
    }

    /// Notes on disk that a renewal is asked for, so that a kill before its answer is kept is known for what it was.
    async fn note_renewing(&self, old: &Session) -> Result<(), SendError> {
        if old.renewing.is_some() {
            return Ok(());
        }
        let noted = Session {
            renewing: Some(self.http.now().as_second()),
            ..old.clone()
        };
        self.note(&noted).await
    }

    async fn note(&self, session: &Session) -> Result<(), SendError> {
        let lost = || SendError::NotSent(Reason::new("unreadable", "the session cannot be written"));
        let written = serde_json::to_string(session).map_err(|_| lost())?;
        let fresh = vec![Fresh::new(SECRET, written, session.ends())];
        self.secrets.keep(fresh).await.map_err(SendError::NotSent)
    }
}

/// Tells whether the tokens that a person set are still those that a session was made from.
fn made_from(tokens: [Option<&SecretString>; 2]) -> String {
    let mut digest = Sha256::new();
    for token in tokens {
        digest.update(token.map_or("", |token| token.expose_secret()));
        digest.update([0]);
    }
    hex::encode(digest.finalize())
}
