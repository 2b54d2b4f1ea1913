//! Signing in at a Mastodon server: an app is registered for this one sign-in, a person agrees in the browser, and the
//! token that comes of it does not end by itself. What the server says of itself is believed for PKCE only: every address
//! is made from `server`.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::Mastodon;
use crate::channel::secrets::Fresh;
use crate::channel::sign_in::{
    BY_HAND, Back, Grant, SignIn, Visit, Way, brief, granted, missing_scope, no_sense, token, unreached,
    wrong_account,
};
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::channel::{Parts, Secrets};
use crate::model::Reason;

/// What we ask for: to post, with pictures, to keep a post on top, and to read back.
const SCOPES: &str = "read:accounts read:statuses write:statuses write:media write:accounts";
/// Without it there is no point.
const NEEDED: &str = "write:statuses";
/// The address of those who are shown a code.
const SHOWN: &str = "urn:ietf:wg:oauth:2.0:oob";
const SERVICE: &str = "the server";

/// The sign-in of one account.
#[derive(Debug)]
pub(super) struct Registering {
    server: Url,
    http: Transport,
    secrets: Arc<dyn Secrets>,
    app: Option<App>,
}

/// The app that was registered for it.
#[derive(Debug)]
struct App {
    id: SecretString,
    secret: SecretString,
    /// Whether the server takes proof keys.
    pkce: bool,
}

impl Registering {
    pub(super) fn new(settings: &Mastodon, parts: &Parts) -> Self {
        Self {
            server: settings.server.clone(),
            http: parts.http.clone(),
            secrets: Arc::clone(&parts.secrets),
            app: None,
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        below(&self.server, segments.iter().copied())
    }

    async fn post(&self, segments: &[&str], form: &[(&str, &str)]) -> Result<Answer, Reason> {
        let request = self.http.request(Method::POST, self.url(segments)).form(form);
        // An app or a token more than is used does no harm.
        let answer = self.http.send(request, Effect::Reads).await;
        answer.map_err(|error| unreached(&error))
    }

    /// Whether the server takes proof keys; one before 4.3 does not say and does not.
    async fn takes_proof(&self) -> Result<bool, Reason> {
        let url = self.url(&[".well-known", "oauth-authorization-server"]);
        let request = self.http.request(Method::GET, url);
        let answer = self.http.send(request, Effect::Reads).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        let about = answer
            .json()
            .filter(|_| answer.is_success())
            .unwrap_or(Value::Null);
        let methods = about["code_challenge_methods_supported"].as_array();
        Ok(methods.is_some_and(|methods| methods.iter().any(|method| method == "S256")))
    }

    /// Whose the token is.
    async fn who(&self, token: &SecretString) -> Result<(String, Option<Url>), Reason> {
        let request = self
            .http
            .request(Method::GET, self.url(super::ME))
            .bearer_auth(token.expose_secret());
        let answer = self.http.send(request, Effect::Reads).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        let me = granted(answer, SERVICE, &[token])?;
        let acct = me["acct"].as_str().filter(|acct| !acct.is_empty());
        let page = me["url"].as_str().and_then(|url| Url::parse(url).ok());
        Ok((acct.map(brief).ok_or_else(|| no_sense(SERVICE))?, page))
    }
}

fn back(visit: &Visit) -> &str {
    match &visit.back {
        Back::To(url) => url.as_str(),
        Back::Shown => SHOWN,
    }
}

#[async_trait]
impl SignIn for Registering {
    fn way(&self) -> Way {
        Way::RedirectOrCode
    }

    async fn begin(&mut self, visit: &Visit) -> Result<Url, Reason> {
        let pkce = self.takes_proof().await?;
        // Registered anew each time: its address of return is another one each time.
        let form = [
            ("client_name", "Vårdkase"),
            ("redirect_uris", back(visit)),
            ("scopes", SCOPES),
        ];
        let answer = self.post(&["api", "v1", "apps"], &form).await?;
        let app = granted(answer, SERVICE, &[])?;
        let app = App {
            id: token(&app, "client_id", SERVICE)?,
            secret: token(&app, "client_secret", SERVICE)?,
            pkce,
        };
        let mut url = self.url(&["oauth", "authorize"]);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", app.id.expose_secret())
            .append_pair("redirect_uri", back(visit))
            .append_pair("scope", SCOPES)
            .append_pair("state", &visit.state)
            // Whoever is signed in already is asked all the same: it may be the person, not the municipality.
            .append_pair("force_login", "true");
        if pkce {
            url.query_pairs_mut()
                .append_pair("code_challenge", &visit.challenge)
                .append_pair("code_challenge_method", "S256");
        }
        self.app = Some(app);
        Ok(url)
    }

    async fn finish(&mut self, visit: &Visit, code: &SecretString) -> Result<Grant, Reason> {
        let app = self.app.as_ref().ok_or_else(|| no_sense(SERVICE))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("client_id", app.id.expose_secret()),
            ("client_secret", app.secret.expose_secret()),
            ("redirect_uri", back(visit)),
        ];
        if app.pkce {
            form.push(("code_verifier", visit.verifier.expose_secret()));
        }
        let answer = self.post(&["oauth", "token"], &form).await?;
        let body = granted(answer, SERVICE, &[code, &app.secret, &visit.verifier])?;
        let access = token(&body, "access_token", SERVICE)?;
        let scope = body["scope"].as_str().unwrap_or_default();
        if !scope.split(' ').any(|has| has == NEEDED || has == "write") {
            return Err(missing_scope(NEEDED, scope));
        }
        let (acct, page) = self.who(&access).await?;
        if let (Some(wanted), Some(page)) = (&visit.public, &page)
            && !is_same(wanted, page)
        {
            return Err(wrong_account(wanted.as_str(), &acct));
        }
        Ok(Grant {
            secrets: vec![
                Fresh::new("access_token", access, None),
                Fresh::new("client_id", app.id.clone(), None),
                Fresh::new("client_secret", app.secret.clone(), None),
            ],
            forget: Vec::new(),
            who: format!("@{acct}"),
        })
    }

    async fn revoke(&self) -> Result<(), Reason> {
        let token = self.secrets.require("access_token")?;
        let app = self
            .secrets
            .get("client_id")
            .zip(self.secrets.get("client_secret"));
        let Some((id, secret)) = app else {
            // Only the app that a token was made for may take it back.
            return Err(Reason::new(
                BY_HAND,
                "the token was made by hand, and the vault does not know the app's id and secret",
            ));
        };
        let form = [
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
            ("token", token.expose_secret()),
        ];
        let answer = self.post(&["oauth", "revoke"], &form).await?;
        if answer.is_success() {
            return Ok(());
        }
        granted(answer, SERVICE, &[&token, &secret]).map(drop)
    }
}

/// Whether two addresses are the same page.
fn is_same(a: &Url, b: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_lowercase();
    (a.host(), a.port_or_known_default(), path(a)) == (b.host(), b.port_or_known_default(), path(b))
}
