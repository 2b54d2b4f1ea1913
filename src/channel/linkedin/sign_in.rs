//! Signing in at LinkedIn: a member with a role on the page agrees. The access token holds for 60 days; the refresh token,
//! where the app gets one, for a year from this day, however often it is used.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::session::{self, Session};
use super::{LinkedIn, SCOPE};
use crate::channel::secrets::Fresh;
use crate::channel::sign_in::{
    Back, Grant, STALE_CODE, SignIn, Visit, brief, ends, granted, missing_scope, no_sense, token, unreached,
    wrong_account,
};
use crate::channel::transport::{Effect, Transport, below};
use crate::channel::{Parts, Secrets};
use crate::model::Reason;

const SCOPES: &str = "w_organization_social r_organization_social rw_organization_admin";
const SERVICE: &str = "LinkedIn";

/// The sign-in of one page.
#[derive(Debug)]
pub(super) struct ByMember {
    settings: LinkedIn,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

impl ByMember {
    pub(super) fn new(settings: &LinkedIn, parts: &Parts) -> Self {
        Self {
            settings: settings.clone(),
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
        }
    }

    fn app(&self) -> Result<(SecretString, SecretString), Reason> {
        Ok((
            self.secrets.require("client_id")?,
            self.secrets.require("client_secret")?,
        ))
    }

    /// The page's name, for whoever may work for it.
    async fn page(&self, access: &SecretString) -> Result<String, Reason> {
        let organization = self.settings.organization.as_str();
        let url = below(&self.settings.base_url, ["rest", "organizations", organization]);
        let version = self.settings.versions.first().map_or("", String::as_str);
        let request = self
            .http
            .request(Method::GET, url)
            .header("linkedin-version", version)
            .header("x-restli-protocol-version", "2.0.0")
            .bearer_auth(access.expose_secret());
        let answer = self.http.send(request, Effect::Reads).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        if matches!(answer.status, 403 | 404) {
            return Err(wrong_account(
                &format!("the page {organization}"),
                "a member without a role on it",
            ));
        }
        let page = granted(answer, SERVICE, &[access])?;
        let name = page["localizedName"].as_str().filter(|name| !name.is_empty());
        name.map(brief).ok_or_else(|| no_sense(SERVICE))
    }
}

fn back(visit: &Visit) -> &str {
    match &visit.back {
        Back::To(url) => url.as_str(),
        // LinkedIn shows no codes; never asked for.
        Back::Shown => "",
    }
}

#[async_trait]
impl SignIn for ByMember {
    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        let needed = ["client_id", "client_secret"];
        let lacking = needed.into_iter().filter(|name| self.secrets.get(name).is_none());
        (
            lacking.collect(),
            "the app's page \"Auth\" at developer.linkedin.com shows both",
        )
    }

    async fn begin(&mut self, visit: &Visit) -> Result<Url, Reason> {
        let (id, _) = self.app()?;
        let mut url = below(&self.settings.login_url, ["oauth", "v2", "authorization"]);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", id.expose_secret())
            .append_pair("redirect_uri", back(visit))
            .append_pair("state", &visit.state)
            .append_pair("scope", SCOPES);
        Ok(url)
    }

    async fn finish(&mut self, visit: &Visit, code: &SecretString) -> Result<Grant, Reason> {
        let (id, secret) = self.app()?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", back(visit)),
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
        ];
        let url = below(&self.settings.login_url, ["oauth", "v2", "accessToken"]);
        let request = self.http.request(Method::POST, url).form(&form);
        let answer = self.http.send(request, Effect::Reads).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        let at = answer.at;
        let body = granted(answer, SERVICE, &[code, &secret]).map_err(|reason| {
            // LinkedIn says the same of an old code as of any other fault in the request, and ours has none.
            if reason.code == "http-400" {
                let text = format!(
                    "the code is used already, too old, or of another sign-in; connect again ({})",
                    reason.text
                );
                return Reason::new(STALE_CODE, text);
            }
            reason
        })?;
        let access = token(&body, "access_token", SERVICE)?;
        let scope = body["scope"].as_str().unwrap_or_default();
        if !scope.split([',', ' ']).any(|has| has == SCOPE) {
            return Err(missing_scope(SCOPE, scope));
        }
        let refresh = token(&body, "refresh_token", SERVICE).ok();
        let (until, renewable) = (
            ends(&body, "expires_in", at),
            ends(&body, "refresh_token_expires_in", at),
        );
        let who = self.page(&access).await?;
        let session = Session::granted(&access, refresh.as_ref(), until, renewable);
        let mut secrets = vec![Fresh::new("access_token", access, until)];
        secrets.extend(refresh.map(|refresh| Fresh::new("refresh_token", refresh, renewable)));
        secrets.extend(session.map(|session| Fresh::new(session::SECRET, session, until)));
        Ok(Grant {
            secrets,
            forget: vec!["refresh_token", session::SECRET],
            who,
        })
    }

    async fn revoke(&self) -> Result<(), Reason> {
        let (id, secret) = self.app()?;
        let token = match Session::of(self.secrets.as_ref()) {
            Some(session) => SecretString::from(session.token()),
            None => self.secrets.require("access_token")?,
        };
        let form = [
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
            ("token", token.expose_secret()),
        ];
        let url = below(&self.settings.login_url, ["oauth", "v2", "revoke"]);
        let request = self.http.request(Method::POST, url).form(&form);
        let answer = self.http.send(request, Effect::Reads).await;
        let answer = answer.map_err(|error| unreached(&error))?;
        if answer.is_success() {
            return Ok(());
        }
        granted(answer, SERVICE, &[&token, &secret]).map(drop)
    }
}
