//! The access token, and its renewal on servers whose tokens end. A renewed pair is on disk before it is used, and
//! however many wait for it, it is renewed once. Renewing keeps the device, and with it what transaction ids mean.

use std::fmt;
use std::sync::Arc;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::verdict;
use crate::channel::transport::{Answer, Effect, below};
use crate::channel::{Parts, Secrets, Transport};
use crate::model::{Busy, Reason, SendError};

/// Sends what the account asks, with its token.
pub(super) struct Session {
    server: Url,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    /// Held while tokens are renewed, over the network, on purpose: that is what makes it happen once. The attempt's
    /// deadline bounds it.
    renewing: Mutex<()>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("server", &self.server.as_str())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(server: &Url, parts: &Parts) -> Self {
        Self {
            server: server.clone(),
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
            renewing: Mutex::default(),
        }
    }

    /// A request to be filled and given to [`Self::send`].
    pub(super) fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends the request. If the server says that the token has ended and the account has a way to renew it, once more.
    pub(super) async fn send(
        &self,
        request: reqwest::RequestBuilder,
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let token = self.token()?;
        let again = request.try_clone();
        let answer = self
            .http
            .send(request.bearer_auth(token.expose_secret()), effect)
            .await?;
        let Some(again) = again.filter(|_| verdict::has_ended(&answer)) else {
            return Ok(answer);
        };
        match self.renewed(&token).await? {
            Some(fresh) => {
                self.http
                    .send(again.bearer_auth(fresh.expose_secret()), effect)
                    .await
            }
            None => Ok(answer),
        }
    }

    fn token(&self) -> Result<SecretString, SendError> {
        self.secrets
            .require("access_token")
            .map_err(SendError::Credential)
    }

    /// A token other than `stale`; `None` if there is no way to get one.
    async fn renewed(&self, stale: &SecretString) -> Result<Option<SecretString>, SendError> {
        let _one_at_a_time = self.renewing.lock().await;
        let current = self.token()?;
        if current.expose_secret() != stale.expose_secret() {
            // Someone else renewed it while we waited.
            return Ok(Some(current));
        }
        let refresh = self.secrets.get("refresh_token");
        let Some(refresh) = refresh.filter(|token| !token.expose_secret().is_empty()) else {
            return Ok(None);
        };
        let url = below(&self.server, ["_matrix", "client", "v3", "refresh"]);
        let request = self
            .http
            .request(Method::POST, url)
            .json(&json!({ "refresh_token": refresh.expose_secret() }));
        // Until the new access token is used the old pair stays good, so a lost answer does no harm.
        let answer = self.http.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(refused(&answer));
        }
        let unreadable = || {
            let text = "the server renewed the access token without giving a new one";
            SendError::NotSent(Reason::new("unreadable", text))
        };
        let body = answer.json().ok_or_else(unreadable)?;
        let fresh = body["access_token"].as_str().filter(|token| !token.is_empty());
        let fresh = SecretString::from(fresh.ok_or_else(unreadable)?);
        // A server that gives no new one lets us keep the old one.
        if let Some(next) = body["refresh_token"].as_str().filter(|token| !token.is_empty()) {
            self.keep("refresh_token", SecretString::from(next)).await?;
        }
        self.keep("access_token", fresh.clone()).await?;
        Ok(Some(fresh))
    }

    async fn keep(&self, name: &str, secret: SecretString) -> Result<(), SendError> {
        self.secrets
            .rotate(name, secret)
            .await
            .map_err(SendError::NotSent)
    }
}

/// Nothing of what the server says is repeated: it may be the token.
fn refused(answer: &Answer) -> SendError {
    let code = verdict::code(answer);
    match verdict::of_read(answer) {
        SendError::Credential(_) | SendError::Refused(_) => SendError::Credential(Reason::new(
            code,
            format!(
                "the access token has ended and the server answers {} to its renewal; log in again and set access_token \
                 and refresh_token with `vardkase credentials set`",
                answer.status
            ),
        )),
        SendError::Busy { until, .. } => SendError::Busy {
            until,
            reason: Reason::new(
                code,
                "the server asks us to wait before the access token is renewed",
            ),
            scope: Busy::Account,
        },
        SendError::NotSent(_) | SendError::Unknown(_) => SendError::NotSent(Reason::new(
            code,
            format!(
                "the access token was not renewed: the server answers {}",
                answer.status
            ),
        )),
    }
}
