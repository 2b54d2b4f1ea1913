//! How an account of Meta's is spoken to: parameters in the address when reading and in the body when writing, the token
//! in a header and never in an address, the app's proof where there is an app secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;
use url::Url;

use super::Fault;
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::channel::{Parts, Secrets};
use crate::clock::{Timestamp, later};
use crate::model::{Busy, Reason, SendError};

/// What the service says no with, where a post is made of containers. What is the same on every Graph channel is a
/// [`Fault`]; the rest belongs to containers and their pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel) enum Trouble {
    /// The container is not ready to be published.
    NotReady(Reason),
    /// The container is not there: lost, expired, or not there yet.
    Lost(Reason),
    /// The picture could not be fetched, this time.
    Fetch(Reason),
    /// The picture will never do.
    Media(Reason),
    /// The account is held back. It was seen on posts that were published all the same.
    Blocked(Reason),
    /// As everywhere.
    Fault(Fault),
}

/// How long to wait when the day's posts are used up: they come back one by one.
const CAP_WAIT: Duration = Duration::from_hours(1);

/// One account of a Graph service.
#[derive(Debug)]
pub(in crate::channel) struct Graph {
    base: Url,
    version: String,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    /// Whether the secret of the app that signed the account in proves calls too.
    proves: bool,
    // Held while the token is renewed, over the network, on purpose: that is what makes it happen once. The caller's
    // deadline bounds it.
    renewing: tokio::sync::Mutex<()>,
    /// Throttles in a row. Forgetting them in a restart does no harm.
    throttled: AtomicU32,
}

impl Graph {
    /// An account below `base`, spoken to in `version`.
    pub(in crate::channel) fn new(base: Url, version: String, parts: &Parts) -> Self {
        Self {
            base,
            version,
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone().metered(crate::channel::quota::graph),
            proves: false,
            renewing: tokio::sync::Mutex::new(()),
            throttled: AtomicU32::new(0),
        }
    }

    /// The same where the app's secret is known as `client_secret` and proves calls.
    pub(in crate::channel) fn proving(self, proves: bool) -> Self {
        Self { proves, ..self }
    }

    pub(in crate::channel) fn secrets(&self) -> &dyn Secrets {
        self.secrets.as_ref()
    }

    pub(in crate::channel) fn quota(&self) -> Option<crate::model::Quota> {
        self.http.quota()
    }

    pub(in crate::channel) fn renewing(&self) -> &tokio::sync::Mutex<()> {
        &self.renewing
    }

    pub(in crate::channel) fn now(&self) -> Timestamp {
        self.http.now()
    }

    pub(in crate::channel) fn earliest(&self, at: Timestamp) -> Timestamp {
        self.http.earliest(at)
    }

    pub(in crate::channel) fn token(&self) -> Result<SecretString, SendError> {
        self.secrets
            .require("access_token")
            .map_err(SendError::Credential)
    }

    /// One request below the version; whatever the status, the answer.
    pub(in crate::channel) async fn send(
        &self,
        method: Method,
        path: &[&str],
        parameters: &[(&str, &str)],
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let version = std::iter::once(self.version.as_str());
        let url = below(&self.base, version.chain(path.iter().copied()));
        self.send_to(method, url, parameters, effect).await
    }

    /// One reading request beside the version, where the services have those about tokens.
    pub(in crate::channel) async fn unversioned(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<Answer, SendError> {
        let url = below(&self.base, path.iter().copied());
        self.send_to(Method::GET, url, parameters, Effect::Reads).await
    }

    async fn send_to(
        &self,
        method: Method,
        url: Url,
        parameters: &[(&str, &str)],
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let token = self.token()?;
        let token = token.expose_secret();
        let secret = self
            .secrets
            .get("app_secret")
            .or_else(|| self.secrets.get("client_secret").filter(|_| self.proves));
        let proof = secret.and_then(|secret| proof(secret.expose_secret(), token));
        let mut parameters = parameters.to_vec();
        if let Some(proof) = &proof {
            parameters.push(("appsecret_proof", proof));
        }
        let in_body = method == Method::POST;
        let request = self.http.request(method, url).bearer_auth(token);
        let request = if in_body {
            request.form(&parameters)
        } else {
            request.query(&parameters)
        };
        self.http.send(request, effect).await
    }

    /// Reads an object.
    pub(in crate::channel) async fn get(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<Value, SendError> {
        let answer = self.send(Method::GET, path, parameters, Effect::Reads).await?;
        if let Some(trouble) = trouble(&answer) {
            return Err(self.on_read(trouble));
        }
        answer.json().ok_or_else(|| no_sense("it is not JSON"))
    }

    /// SHA-256 of the picture of an account, as anybody gets it.
    pub(in crate::channel) async fn picture(&self, address: Option<&str>) -> Option<String> {
        crate::channel::portrait::picture(&self.http, &self.base, address).await
    }

    /// Takes a post away. Not there any more counts as done.
    pub(in crate::channel) async fn delete(&self, id: &str) -> Result<(), SendError> {
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self.send(Method::DELETE, &[id], &[], Effect::Reads).await?;
        match trouble(&answer) {
            None if answer.json().is_some_and(|body| body["success"] == true) => Ok(()),
            None => Err(no_sense("it does not say that the post is gone")),
            Some(Trouble::Lost(_) | Trouble::Fault(Fault::Missing(_))) => Ok(()),
            Some(trouble) => Err(self.on_read(trouble)),
        }
    }

    /// What it means where nothing can have been made.
    pub(in crate::channel) fn on_read(&self, trouble: Trouble) -> SendError {
        match trouble {
            Trouble::NotReady(reason) | Trouble::Lost(reason) | Trouble::Fetch(reason) => {
                SendError::NotSent(reason)
            }
            Trouble::Media(reason) | Trouble::Blocked(reason) => SendError::Refused(reason),
            Trouble::Fault(fault) => match fault {
                Fault::Credential(reason) => SendError::Credential(reason),
                Fault::Throttled { reason, until, at } => self.busy(reason, until, at),
                Fault::Refused(reason)
                | Fault::Missing(reason)
                | Fault::Link(reason)
                | Fault::Duplicate(reason) => SendError::Refused(reason),
                Fault::Unexplained(reason) | Fault::Temporary(reason) => SendError::NotSent(reason),
            },
        }
    }

    /// Every call made while throttled prolongs it, so that a time is always named: 5, 10, 20, 40, 60 minutes where the
    /// service gives none.
    pub(in crate::channel) fn busy(
        &self,
        reason: Reason,
        until: Option<Timestamp>,
        at: Timestamp,
    ) -> SendError {
        let before = self.throttled.fetch_add(1, Ordering::Relaxed);
        let minutes = 60.min(5_u64 << before.min(4));
        SendError::Busy {
            until: until.or_else(|| Some(later(at, Duration::from_mins(minutes)))),
            reason,
            scope: Busy::Account,
        }
    }

    /// A request went through: the next throttle is the first one again.
    pub(in crate::channel) fn calm(&self) {
        self.throttled.store(0, Ordering::Relaxed);
    }
}

/// What an answer says no with; `None` if it is a success.
pub(in crate::channel) fn trouble(answer: &Answer) -> Option<Trouble> {
    let fault = super::fault(answer)?;
    let body = answer.json().unwrap_or(Value::Null);
    let error = &body["error"];
    let Some(code) = error["code"].as_i64() else {
        return Some(Trouble::Fault(fault));
    };
    let subcode = error["error_subcode"].as_i64().unwrap_or(0);
    let reason = super::reason(error, code, subcode);
    Some(match (code, subcode) {
        (9007, _) | (_, 2_207_027) => Trouble::NotReady(reason),
        (24, _) | (_, 4_279_009 | 2_207_006 | 2_207_008) => Trouble::Lost(reason),
        (9004, _) | (_, 2_207_003 | 2_207_020 | 2_207_052 | 2_207_077) => Trouble::Fetch(reason),
        (36_000 | 36_001 | 36_003 | 352, _)
        | (_, 2_207_004 | 2_207_005 | 2_207_009 | 2_207_023 | 2_207_026 | 2_207_028 | 2_207_057) => {
            Trouble::Media(reason)
        }
        (_, 2_207_051 | 4_279_013 | 2_207_050) => Trouble::Blocked(reason),
        // Something on their side; what was asked may have been done all the same.
        (_, 2_207_001 | 2_207_032 | 2_207_053 | 2_207_082) => Trouble::Fault(Fault::Temporary(reason)),
        (36_004, _) | (_, 2_207_010) => Trouble::Fault(Fault::Refused(reason)),
        (9, _) | (_, 2_207_042) => Trouble::Fault(Fault::Throttled {
            reason,
            until: Some(later(answer.at, CAP_WAIT)),
            at: answer.at,
        }),
        _ => Trouble::Fault(fault),
    })
}

/// HMAC-SHA256 of the token under the app's secret, for apps that demand it.
pub(super) fn proof(app_secret: &str, token: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes()).ok()?;
    mac.update(token.as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

pub(in crate::channel) fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the service's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
pub(in crate::channel) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The id of an object; opaque.
pub(in crate::channel) fn id(object: &Value) -> Option<String> {
    let id = object["id"].as_str()?;
    (!id.is_empty() && id.len() <= 200).then(|| id.to_owned())
}
