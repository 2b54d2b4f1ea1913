//! Signing in at X by a number (OAuth 1.0a, "PIN"): the app asks for a token of its own, the person agrees and is shown a
//! number, and the number makes the account's tokens of it. They do not end by themselves.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::X;
use super::oauth::{Signer, sign};
use crate::channel::secrets::Fresh;
use crate::channel::sign_in::{
    Grant, STALE_CODE, SignIn, Visit, Way, brief, no_sense, unreached, wrong_account,
};
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::channel::{Parts, Secrets};
use crate::model::Reason;

/// Longest number that is taken, in digits.
const MAX_PIN: usize = 20;
const SERVICE: &str = "X";

/// The sign-in of one account.
#[derive(Debug)]
pub(super) struct ByNumber {
    base: Url,
    user_id: String,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    /// The token of this sign-in, and its secret.
    asked: Option<(SecretString, SecretString)>,
}

impl ByNumber {
    pub(super) fn new(settings: &X, parts: &Parts) -> Self {
        Self {
            base: settings.base_url.clone(),
            user_id: settings.user_id.clone(),
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
            asked: None,
        }
    }

    /// One signed request of the sign-in; its answer is a form.
    async fn ask(
        &self,
        what: &str,
        token: Option<&(SecretString, SecretString)>,
        extra: (&str, &str),
    ) -> Result<(u16, Vec<(String, String)>), Reason> {
        let (key, secret) = (
            self.secrets.require("consumer_key")?,
            self.secrets.require("consumer_secret")?,
        );
        let url = below(&self.base, ["oauth", what]);
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let second = self.http.now().as_second();
        let signer = Signer {
            consumer: (&key, &secret),
            token: token.map(|(token, secret)| (token, secret)),
        };
        let header = sign(&signer, &Method::POST, &url, &[extra], &nonce, second);
        let request = self
            .http
            .request(Method::POST, url)
            .header("authorization", header);
        let answer = self.http.send(request, Effect::Reads).await;
        let answer: Answer = answer.map_err(|error| unreached(&error))?;
        let fields = url::form_urlencoded::parse(&answer.body).into_owned().collect();
        Ok((answer.status, fields))
    }
}

fn field(fields: &[(String, String)], name: &str) -> Result<SecretString, Reason> {
    let value = fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str());
    let value = value.filter(|value| !value.is_empty() && value.len() <= 1000);
    value.map(SecretString::from).ok_or_else(|| no_sense(SERVICE))
}

#[async_trait]
impl SignIn for ByNumber {
    fn way(&self) -> Way {
        Way::Pin
    }

    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        let needed = ["consumer_key", "consumer_secret"];
        let lacking = needed.into_iter().filter(|name| self.secrets.get(name).is_none());
        (
            lacking.collect(),
            "\"API Key and Secret\" of the app at console.x.com, whose settings must allow \"Read and write\"",
        )
    }

    async fn begin(&mut self, _visit: &Visit) -> Result<Url, Reason> {
        let (status, fields) = self.ask("request_token", None, ("oauth_callback", "oob")).await?;
        if status == 401 || status == 403 {
            return Err(Reason::new(
                "app-refused",
                format!(
                    "X answered {status} to the app: its key or secret is wrong, the clock of this machine is, or the app has no \
                     sign-in (\"User authentication settings\")"
                ),
            ));
        }
        if !(200..300).contains(&status) {
            return Err(Reason::new(
                format!("http-{status}"),
                format!("X answered {status} and began no sign-in"),
            ));
        }
        let (token, secret) = (
            field(&fields, "oauth_token")?,
            field(&fields, "oauth_token_secret")?,
        );
        let mut url = below(&self.base, ["oauth", "authorize"]);
        url.query_pairs_mut()
            .append_pair("oauth_token", token.expose_secret())
            .append_pair("force_login", "true");
        self.asked = Some((token, secret));
        Ok(url)
    }

    async fn finish(&mut self, _visit: &Visit, pin: &SecretString) -> Result<Grant, Reason> {
        let number = pin.expose_secret();
        if number.len() > MAX_PIN || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Reason::new(
                "no-code",
                "that is not the number that X shows; connect again",
            ));
        }
        let asked = self.asked.take().ok_or_else(|| no_sense(SERVICE))?;
        let (status, fields) = self
            .ask("access_token", Some(&asked), ("oauth_verifier", number))
            .await?;
        if !(200..300).contains(&status) {
            return Err(Reason::new(
                STALE_CODE,
                format!(
                    "X does not take the number ({status}): it is mistyped, too old, or of another sign-in; connect again"
                ),
            ));
        }
        let user = field(&fields, "user_id")?;
        let name = field(&fields, "screen_name")?;
        let who = format!("@{}", brief(name.expose_secret()));
        if user.expose_secret() != self.user_id {
            return Err(wrong_account(&self.user_id, &who));
        }
        Ok(Grant {
            secrets: vec![
                Fresh::new("access_token", field(&fields, "oauth_token")?, None),
                Fresh::new("access_token_secret", field(&fields, "oauth_token_secret")?, None),
            ],
            forget: Vec::new(),
            who,
        })
    }
}
