//! Signing in at Meta. A page, and an Instagram account that is linked with one, by the Facebook log-in: a person agrees,
//! the token is made long-lived, and of it comes the page's own. A Threads profile, and an Instagram account by its own
//! log-in: the token is made long-lived, and renewed from then on.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::client::{proof, trouble};
use super::renewal;
use crate::channel::secrets::Fresh;
use crate::channel::sign_in::{
    Back, Grant, SignIn, Visit, brief, ends, granted, missing_scope, no_sense, token, unreached,
    wrong_account,
};
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::channel::{Parts, Secrets};
use crate::clock::Timestamp;
use crate::model::Reason;

/// Where the person who has the rights finds the app's id and secret.
const APP: &str =
    "\"App ID\" and \"App secret\" of the app at developers.facebook.com, as client_id and client_secret";
/// Pages of an answer that are read at most, and entries of each.
const PAGES: usize = 10;
const PAGE: &str = "100";

/// The app that asks.
#[derive(Debug)]
struct App {
    secrets: Arc<dyn Secrets>,
    http: Transport,
    service: &'static str,
}

impl App {
    fn new(parts: &Parts, service: &'static str) -> Self {
        Self {
            secrets: Arc::clone(&parts.secrets),
            http: parts.http.clone(),
            service,
        }
    }

    fn id(&self) -> Option<SecretString> {
        self.secrets.get("client_id")
    }

    /// What proves calls is the same secret that proves the app.
    fn secret(&self) -> Option<SecretString> {
        self.secrets
            .get("client_secret")
            .or_else(|| self.secrets.get("app_secret"))
    }

    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        let held = [("client_id", self.id()), ("client_secret", self.secret())];
        let lacking = held.into_iter().filter(|(_, secret)| secret.is_none());
        (lacking.map(|(name, _)| name).collect(), APP)
    }

    fn both(&self) -> Result<(SecretString, SecretString), Reason> {
        self.id()
            .zip(self.secret())
            .ok_or_else(|| Reason::new("no-app", "the app's id and secret are gone from the vault"))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Reason> {
        let answer = self.http.send(request, Effect::Reads).await;
        answer.map_err(|error| unreached(&error))
    }

    /// Reads an object with a token.
    async fn get(
        &self,
        url: Url,
        parameters: &[(&str, &str)],
        token: &SecretString,
    ) -> Result<Value, Reason> {
        let request = self
            .http
            .request(Method::GET, url)
            .query(parameters)
            .bearer_auth(token.expose_secret());
        let answer = self.send(request).await?;
        match trouble(&answer) {
            Some(_) => granted(answer, self.service, &[token]),
            None => answer.json().ok_or_else(|| no_sense(self.service)),
        }
    }

    /// Asks for a token with a form; what is secret stands in the body.
    async fn exchange(
        &self,
        url: Url,
        form: &[(&str, &str)],
        unspeakable: &[&SecretString],
    ) -> Result<(Value, Timestamp), Reason> {
        let answer = self.send(self.http.request(Method::POST, url).form(form)).await?;
        let at = answer.at;
        Ok((granted(answer, self.service, unspeakable)?, at))
    }
}

fn back(visit: &Visit) -> &str {
    match &visit.back {
        Back::To(url) => url.as_str(),
        // Meta shows no codes; never asked for.
        Back::Shown => "",
    }
}

fn authorize(mut url: Url, id: &SecretString, scopes: &[&str], visit: &Visit) -> Url {
    url.query_pairs_mut()
        .append_pair("client_id", id.expose_secret())
        .append_pair("redirect_uri", back(visit))
        .append_pair("response_type", "code")
        .append_pair("scope", &scopes.join(","))
        .append_pair("state", &visit.state);
    url
}

/// Whose credentials a Facebook log-in is for.
#[derive(Debug, Clone)]
pub(in crate::channel) enum Wanted {
    /// The page of this number.
    Page(String),
    /// The Instagram account of this number, by the page that it is linked with.
    Instagram(String),
}

impl Wanted {
    fn scopes(&self) -> &'static [&'static str] {
        match self {
            Self::Page(_) => &["pages_show_list", "pages_read_engagement", "pages_manage_posts"],
            Self::Instagram(_) => &[
                "instagram_basic",
                "instagram_content_publish",
                "pages_show_list",
                "pages_read_engagement",
            ],
        }
    }

    /// Without it there is no point.
    fn needed(&self) -> &'static str {
        match self {
            Self::Page(_) => "pages_manage_posts",
            Self::Instagram(_) => "instagram_content_publish",
        }
    }

    fn is(&self, page: &Value) -> bool {
        match self {
            Self::Page(id) => page["id"] == id.as_str(),
            Self::Instagram(id) => page["instagram_business_account"]["id"] == id.as_str(),
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Page(id) | Self::Instagram(id) => id,
        }
    }
}

/// The Facebook log-in.
#[derive(Debug)]
pub(in crate::channel) struct ByFacebook {
    app: App,
    login: Url,
    base: Url,
    version: String,
    wanted: Wanted,
}

impl ByFacebook {
    pub(in crate::channel) fn new(
        login: &Url,
        base: &Url,
        version: &str,
        wanted: Wanted,
        parts: &Parts,
    ) -> Self {
        Self {
            app: App::new(parts, "Facebook"),
            login: login.clone(),
            base: base.clone(),
            version: version.to_owned(),
            wanted,
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let version = std::iter::once(self.version.as_str());
        below(&self.base, version.chain(path.iter().copied()))
    }

    /// The page that is meant, among those that the person may work for.
    async fn page(&self, user: &SecretString, secret: &SecretString) -> Result<Value, Reason> {
        let fields = "id,name,access_token,tasks,instagram_business_account";
        let proven = proof(secret.expose_secret(), user.expose_secret()).unwrap_or_default();
        let mut seen: Vec<String> = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES {
            let mut parameters = vec![
                ("fields", fields),
                ("limit", PAGE),
                ("appsecret_proof", proven.as_str()),
            ];
            if !after.is_empty() {
                parameters.push(("after", after.as_str()));
            }
            let list = self
                .app
                .get(self.url(&["me", "accounts"]), &parameters, user)
                .await?;
            let pages = list["data"].as_array().cloned().unwrap_or_default();
            if let Some(page) = pages.iter().find(|page| self.wanted.is(page)) {
                return Ok(page.clone());
            }
            let names = pages.iter().filter_map(|page| page["name"].as_str());
            seen.extend(names.map(brief));
            let cursor = list["paging"]["cursors"]["after"]
                .as_str()
                .filter(|_| list["paging"]["next"].is_string());
            match cursor {
                Some(cursor) => after = cursor.chars().take(500).collect(),
                None => break,
            }
        }
        // Pages that belong to a company are not in the list now and then; asked for by number they are there.
        if let Wanted::Page(id) = &self.wanted {
            let parameters = [("fields", fields), ("appsecret_proof", proven.as_str())];
            if let Ok(page) = self.app.get(self.url(&[id]), &parameters, user).await
                && self.wanted.is(&page)
                && page["access_token"].is_string()
            {
                return Ok(page);
            }
        }
        let given = if seen.is_empty() {
            "somebody without any page".to_owned()
        } else {
            seen.join(", ")
        };
        Err(wrong_account(self.wanted.id(), &given))
    }

    /// Until when the page's token holds: of the token's own end and that of the consent to read, the nearer.
    async fn ends(
        &self,
        page: &SecretString,
        app: (&SecretString, &SecretString),
    ) -> Result<Option<Timestamp>, Reason> {
        let both = SecretString::from(format!("{}|{}", app.0.expose_secret(), app.1.expose_secret()));
        let parameters = [("input_token", page.expose_secret())];
        let about = self
            .app
            .get(self.url(&["debug_token"]), &parameters, &both)
            .await?;
        let about = &about["data"];
        if about["is_valid"] != true {
            return Err(Reason::new(
                "not-valid",
                "Facebook gave a token and says that it is not valid; connect again",
            ));
        }
        let scopes: Vec<&str> = about["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !scopes.contains(&self.wanted.needed()) {
            return Err(missing_scope(self.wanted.needed(), &scopes.join(", ")));
        }
        let second = |name: &str| about[name].as_i64().filter(|second| *second > 0);
        let nearest = second("expires_at")
            .into_iter()
            .chain(second("data_access_expires_at"))
            .min();
        Ok(nearest.and_then(|second| Timestamp::from_second(second).ok()))
    }
}

#[async_trait]
impl SignIn for ByFacebook {
    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        self.app.lacks()
    }

    async fn begin(&mut self, visit: &Visit) -> Result<Url, Reason> {
        let (id, _) = self.app.both()?;
        let url = below(&self.login, [self.version.as_str(), "dialog", "oauth"]);
        Ok(authorize(url, &id, self.wanted.scopes(), visit))
    }

    async fn finish(&mut self, visit: &Visit, code: &SecretString) -> Result<Grant, Reason> {
        let (id, secret) = self.app.both()?;
        let (client_id, client_secret) = (id.expose_secret(), secret.expose_secret());
        let url = || self.url(&["oauth", "access_token"]);
        let form = [
            ("client_id", client_id),
            ("client_secret", client_secret),
            ("redirect_uri", back(visit)),
            ("code", code.expose_secret()),
        ];
        let (body, _) = self.app.exchange(url(), &form, &[code, &secret]).await?;
        let short = token(&body, "access_token", self.app.service)?;
        let form = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", client_id),
            ("client_secret", client_secret),
            ("fb_exchange_token", short.expose_secret()),
        ];
        let (body, _) = self.app.exchange(url(), &form, &[&short, &secret]).await?;
        let user = token(&body, "access_token", self.app.service)?;
        let page = self.page(&user, &secret).await?;
        let tasks = page["tasks"].as_array();
        let may = |task: &Value| task == "CREATE_CONTENT" || task == "MANAGE";
        let name = page["name"].as_str().map(brief).unwrap_or_default();
        if tasks.is_some_and(|tasks| !tasks.iter().any(may)) {
            let text = format!(
                "the person may not publish on the page {name}; have an administrator of the page give the right (\"Content\"), or \
                 sign in as one, and connect again"
            );
            return Err(Reason::new("role", text));
        }
        let page = token(&page, "access_token", self.app.service)?;
        let until = self.ends(&page, (&id, &secret)).await?;
        Ok(Grant {
            secrets: vec![Fresh::new("access_token", page, until)],
            forget: vec![renewal::STATE],
            who: name,
        })
    }
}

/// What differs between the two services with a log-in of their own.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Own {
    pub(in crate::channel) service: &'static str,
    pub(in crate::channel) scopes: &'static [&'static str],
    /// Without it there is no point.
    pub(in crate::channel) needed: &'static str,
    /// Makes a short token a long one.
    pub(in crate::channel) grant: &'static str,
    /// The field with the account's number.
    pub(in crate::channel) number: &'static str,
    /// Whether the service says of a token what it may.
    pub(in crate::channel) tells: bool,
}

/// The log-in of Threads or of Instagram.
#[derive(Debug)]
pub(in crate::channel) struct ByItself {
    pub(in crate::channel) own: Own,
    app: App,
    /// Where the person goes, where the code is exchanged, and where everything else is.
    login: Url,
    codes: Url,
    base: Url,
    version: String,
    user_id: String,
}

impl ByItself {
    pub(in crate::channel) fn new(
        own: Own,
        [login, codes, base]: [&Url; 3],
        version: &str,
        user_id: &str,
        parts: &Parts,
    ) -> Self {
        Self {
            own,
            app: App::new(parts, own.service),
            login: login.clone(),
            codes: codes.clone(),
            base: base.clone(),
            version: version.to_owned(),
            user_id: user_id.to_owned(),
        }
    }

    async fn check(&self, long: &SecretString) -> Result<String, Reason> {
        let fields = format!("{},username", self.own.number);
        let me = below(&self.base, [self.version.as_str(), "me"]);
        let me = self.app.get(me, &[("fields", &fields)], long).await?;
        let name = me["username"].as_str().map(brief).unwrap_or_default();
        if me[self.own.number] != self.user_id.as_str() {
            return Err(wrong_account(&self.user_id, &format!("@{name}")));
        }
        if self.own.tells {
            let parameters = [("input_token", long.expose_secret())];
            let about = self
                .app
                .get(below(&self.base, ["debug_token"]), &parameters, long)
                .await?;
            let scopes: Vec<&str> = about["data"]["scopes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if !scopes.contains(&self.own.needed) {
                return Err(missing_scope(self.own.needed, &scopes.join(", ")));
            }
        }
        Ok(format!("@{name}"))
    }
}

#[async_trait]
impl SignIn for ByItself {
    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        self.app.lacks()
    }

    async fn begin(&mut self, visit: &Visit) -> Result<Url, Reason> {
        let (id, _) = self.app.both()?;
        let url = below(&self.login, ["oauth", "authorize"]);
        Ok(authorize(url, &id, self.own.scopes, visit))
    }

    async fn finish(&mut self, visit: &Visit, code: &SecretString) -> Result<Grant, Reason> {
        let (id, secret) = self.app.both()?;
        let form = [
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
            ("grant_type", "authorization_code"),
            ("redirect_uri", back(visit)),
            ("code", code.expose_secret()),
        ];
        let url = below(&self.codes, ["oauth", "access_token"]);
        let (body, _) = self.app.exchange(url, &form, &[code, &secret]).await?;
        // Instagram has wrapped it in a list of one now and then.
        let body = body["data"].get(0).unwrap_or(&body);
        if let Some(given) = scopes(&body["permissions"])
            && !given.iter().any(|scope| scope == self.own.needed)
        {
            return Err(missing_scope(self.own.needed, &given.join(", ")));
        }
        let short = token(body, "access_token", self.own.service)?;
        let parameters = [
            ("grant_type", self.own.grant),
            ("client_secret", secret.expose_secret()),
        ];
        let request = self
            .app
            .http
            .request(Method::GET, below(&self.base, ["access_token"]))
            .query(&parameters)
            .bearer_auth(short.expose_secret());
        let answer = self.app.send(request).await?;
        let at = answer.at;
        let body = granted(answer, self.own.service, &[&short, &secret])?;
        let long = token(&body, "access_token", self.own.service)?;
        let until = ends(&body, "expires_in", at);
        let who = self.check(&long).await?;
        let mut secrets = Vec::new();
        // So that it is not renewed on its first day, which the service refuses.
        if let Some(until) = until {
            secrets.extend(renewal::noted(&long, at, until));
        }
        secrets.push(Fresh::new("access_token", long, until));
        Ok(Grant {
            secrets,
            forget: vec![renewal::STATE],
            who,
        })
    }
}

/// What a service lists as granted: an array, or words with commas between.
fn scopes(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(text.split(',').map(|word| word.trim().to_owned()).collect()),
        Value::Array(all) => Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}
