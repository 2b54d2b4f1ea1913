//! Requests with the token, and the proof of the app where it demands one.

use std::sync::atomic::Ordering;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::Sha256;

use super::{Account, brief, no_sense};
use crate::channel::graph;
use crate::channel::transport::{Answer, Effect, below};
use crate::model::SendError;

/// HMAC-SHA256 of the token under the app's secret, for apps that demand it.
pub(super) fn proof(app_secret: &str, token: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes()).ok()?;
    mac.update(token.as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

impl Account {
    /// Sends parameters, in the address when reading and in the body when writing. The token goes into a header, never
    /// into an address.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        parameters: &[(&str, &str)],
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let (request, proof) = self.signed(method.clone(), path)?;
        let mut parameters = parameters.to_vec();
        if let Some(proof) = &proof {
            parameters.push(("appsecret_proof", proof));
        }
        let request = if method == Method::POST {
            request.form(&parameters)
        } else {
            request.query(&parameters)
        };
        let answer = self.http.send(request, effect).await?;
        self.check_version(&answer);
        Ok(answer)
    }

    /// Sends a form with a file. It publishes nothing.
    pub(super) async fn send_file(
        &self,
        path: &[&str],
        form: reqwest::multipart::Form,
    ) -> Result<Answer, SendError> {
        let (request, proof) = self.signed(Method::POST, path)?;
        let form = match proof {
            Some(proof) => form.text("appsecret_proof", proof),
            None => form,
        };
        let answer = self.http.send(request.multipart(form), Effect::Reads).await?;
        self.check_version(&answer);
        Ok(answer)
    }

    /// A request with the token, and the proof that belongs to it.
    pub(super) fn signed(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<(reqwest::RequestBuilder, Option<String>), SendError> {
        let token = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        let token = token.expose_secret();
        let proof = self
            .secrets
            .get("app_secret")
            .or_else(|| self.secrets.get("client_secret"))
            .and_then(|secret| proof(secret.expose_secret(), token));
        let version = std::iter::once(self.settings.version.as_str());
        let url = below(&self.settings.base_url, version.chain(path.iter().copied()));
        Ok((self.http.request(method, url).bearer_auth(token), proof))
    }

    /// A version that has been retired is served by the oldest one alive, without an error.
    pub(super) fn check_version(&self, answer: &Answer) {
        let configured = self.settings.version.as_str();
        if let Some(served) = answer.header("facebook-api-version")
            && served != configured
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                account.id = %self.id,
                configured,
                served = %brief(served),
                "the Graph API answers in another version than the configured one"
            );
        }
    }

    pub(super) async fn get(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<(Value, Answer), SendError> {
        let answer = self.send(Method::GET, path, parameters, Effect::Reads).await?;
        if let Some(fault) = graph::fault(&answer) {
            return Err(self.on_read(fault));
        }
        let body = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
        Ok((body, answer))
    }
}
