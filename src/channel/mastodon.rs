//! A Mastodon account, or one on a server that speaks the same client API.
//!
//! Keyed: a Mastodon server remembers our `Idempotency-Key` for an hour and answers a repeat with the same post. Servers
//! that speak its language without being it may ignore the key, so that only reading the account back tells there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::patience::Patience;
use super::transport::{Answer, Effect, Transport, below};
use super::{Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings, WallSite};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

mod html;
mod verdict;

/// A Mastodon account.
pub static KIND: Kind = Kind {
    id: "mastodon",
    about: "A Mastodon account",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: true,
        retract: true,
        pin: false,
        picture: false,
        link_card: true,
        recipients: false,
        by_hand: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "access_token",
            required: true,
            internal: false,
        }];
        SECRETS
    },
    // 300 posts in 3 hours per account (rack_attack.rb and rate_limiter.rb, read 2026-08), with headroom.
    pace: Pace {
        attempts: 270,
        per: Duration::from_hours(3),
        burst: 20,
        parallel: 1,
    },
    read,
};

/// What a server counts at most unless it says otherwise; most do not.
const DEFAULT_MAX_CHARACTERS: usize = 500;
/// How long after an attempt its post may take to show, where the key does not protect us.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(10);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// A server keeps a key for 3600 s from the post; a repeat takes a while to get there.
const KEY_HOLDS: SignedDuration = SignedDuration::from_mins(55);
/// How far the server's clock may be behind ours.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_mins(2);
/// Statuses per page, the most that a server gives.
const PAGE: usize = 40;
/// How many pages are read back at most. Paging is limited to 300 requests in 15 minutes.
const PAGES: usize = 10;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let server = section.address("server", true);
    let max_characters = section
        .optional::<usize>("max_characters", "a whole number of characters, such as 500")
        .unwrap_or(DEFAULT_MAX_CHARACTERS);
    if max_characters == 0 {
        section.problem("max_characters", "must be at least 1; servers give 500 or more");
    }
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Mastodon {
        server: server?,
        max_characters,
        settle_wait,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Mastodon {
    server: Url,
    max_characters: usize,
    settle_wait: Duration,
}

impl Settings for Mastodon {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(self.max_characters),
            unit: Unit::MastodonCharacters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            server: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("server", self.server.to_string())]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: Mastodon,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

/// What reading the account back gave.
enum Search {
    Found(Receipt),
    /// Everything since the attempt was seen.
    NotThere,
    /// There was more than we read.
    TooMuch,
    /// The service does not let us read.
    Closed(Reason),
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let parent = post.parent.as_ref().map(|receipt| receipt.remote_id.as_str());
        let mut answer = self.post(post, parent).await?;
        let mut note = None;
        if answer.status == 404 && parent.is_some() {
            // The post that this answers to is gone. A server that says so has not yet looked at the key, so that the
            // same key serves for the text alone; if that post exists already, it is what comes back.
            answer = self.post(post, None).await?;
            note = Some("the earlier post was gone, so this one stands alone".to_owned());
        }
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let body = answer.json().unwrap_or(Value::Null);
        let mut receipt = receipt(&body).ok_or_else(|| verdict::unreadable(&answer))?;
        if let Some(shown) = body["visibility"].as_str().filter(|v| *v != "public") {
            note = Some(format!("the server shows it as {}", brief(shown)));
        }
        receipt.note = note;
        Ok(receipt)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let since = question.since - CLOCK_SLACK;
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            let search = self.search(question, since).await?;
            if let Search::Found(receipt) = search {
                return Ok(Settled::Found(receipt));
            }
            // As long as the server knows the key, a repeat is either the first post or the same one.
            let held = question.now.duration_since(question.since) < KEY_HOLDS;
            if held && look == 0 && self.honours_keys().await? {
                return Ok(Settled::Absent);
            }
            match search {
                Search::Found(_) | Search::NotThere => {}
                Search::TooMuch => {
                    let text = format!("not among the latest {} posts, and there are more", PAGE * PAGES);
                    return Ok(Settled::Unclear(Reason::new("read-back-incomplete", text)));
                }
                Search::Closed(reason) => return Ok(Settled::Unclear(reason)),
            }
        }
        patience.absent(question)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let url = self.url(&["api", "v1", "statuses", &receipt.remote_id]);
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self.send(Method::DELETE, url, Effect::Reads).await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(verdict::of_read(&answer)),
        }
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let me = self.get_json(self.url(ME)).await?;
        let acct = me["acct"].as_str().filter(|acct| !acct.is_empty());
        let acct = acct.ok_or_else(|| no_sense("the account has no name"))?;
        let mut facts = BTreeMap::new();
        for flag in ["suspended", "limited"] {
            if me[flag] == true {
                facts.insert(
                    flag.to_owned(),
                    "yes: the public may not see the posts".to_owned(),
                );
            }
        }
        if let Some(instance) = self.instance().await? {
            let known = [
                ("version", &instance["version"]),
                (
                    "max_characters",
                    &instance["configuration"]["statuses"]["max_characters"],
                ),
            ];
            for (name, value) in known {
                match value {
                    Value::String(text) => drop(facts.insert(name.to_owned(), brief(text))),
                    Value::Number(number) => drop(facts.insert(name.to_owned(), number.to_string())),
                    Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
                }
            }
        }
        if let Some(scopes) = self.scopes().await? {
            if !scopes
                .iter()
                .any(|scope| scope == "write" || scope == "write:statuses")
            {
                let text = format!(
                    "the token may not post, only {}; make one with write:statuses",
                    scopes.join(" ")
                );
                return Err(SendError::Refused(Reason::new("scope", text)));
            }
            facts.insert("scopes".to_owned(), brief(&scopes.join(" ")));
        }
        Ok(Identity {
            name: brief(acct),
            facts,
        })
    }
}

const ME: &[&str] = &["api", "v1", "accounts", "verify_credentials"];

impl Account {
    fn url(&self, segments: &[&str]) -> Url {
        below(&self.settings.server, segments.iter().copied())
    }

    async fn send(&self, method: Method, url: Url, effect: Effect) -> Result<Answer, SendError> {
        self.send_request(self.http.request(method, url), effect).await
    }

    async fn send_request(
        &self,
        request: reqwest::RequestBuilder,
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let token = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        self.http
            .send(request.bearer_auth(token.expose_secret()), effect)
            .await
    }

    async fn post(&self, post: &Post, parent: Option<&str>) -> Result<Answer, SendError> {
        // The account's own default may be unlisted or private: what residents must see is said to be public.
        let mut body = json!({"status": post.rendering.text, "visibility": "public"});
        if let Some(language) = post.rendering.languages.first() {
            body["language"] = language.as_str().into();
        }
        if let Some(parent) = parent {
            body["in_reply_to_id"] = parent.into();
        }
        let request = self
            .http
            .request(Method::POST, self.url(&["api", "v1", "statuses"]))
            .header("Idempotency-Key", post.key.as_str())
            .json(&body);
        self.send_request(request, Effect::Writes).await
    }

    /// Looks for the post among those since `since`, newest first.
    async fn search(&self, question: &Question, since: Timestamp) -> Result<Search, SendError> {
        let me = match self.get_json(self.url(ME)).await {
            Ok(me) => me,
            Err(SendError::Refused(reason)) => return Ok(Search::Closed(reason)),
            Err(other) => return Err(other),
        };
        let id = me["id"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| no_sense("the account has no id"))?;
        let wanted = html::normal(&question.post.rendering.text);
        let mut before: Option<String> = None;
        for _ in 0..PAGES {
            let mut url = self.url(&["api", "v1", "accounts", id, "statuses"]);
            url.query_pairs_mut()
                .append_pair("limit", &PAGE.to_string())
                .append_pair("exclude_reblogs", "true");
            if let Some(before) = &before {
                url.query_pairs_mut().append_pair("max_id", before);
            }
            let page = match self.get_json(url).await {
                Ok(page) => page,
                Err(SendError::Refused(reason)) => return Ok(Search::Closed(reason)),
                Err(other) => return Err(other),
            };
            let page = page.as_array().ok_or_else(|| no_sense("no list of posts"))?;
            for status in page {
                let (Some(found), Some(at)) = (receipt(status), created(status)) else {
                    return Err(no_sense("a post without id or time"));
                };
                if at < since {
                    return Ok(Search::NotThere);
                }
                let content = status["content"].as_str().unwrap_or_default();
                if !question.taken.contains(&found.remote_id) && html::normal(&html::text(content)) == wanted
                {
                    return Ok(Search::Found(found));
                }
                before = Some(found.remote_id);
            }
            if page.is_empty() {
                return Ok(Search::NotThere);
            }
        }
        Ok(Search::TooMuch)
    }

    /// Whether the server is a Mastodon that keeps idempotency keys. Others imitate everything but this.
    async fn honours_keys(&self) -> Result<bool, SendError> {
        let instance = self.instance().await?;
        Ok(instance.is_some_and(|instance| instance["api_versions"]["mastodon"].is_number()))
    }

    /// What the server says of itself; `None` if it is too old to say it here.
    async fn instance(&self) -> Result<Option<Value>, SendError> {
        let answer = self
            .http
            .request(Method::GET, self.url(&["api", "v2", "instance"]));
        let answer = self.http.send(answer, Effect::Reads).await?;
        Ok(answer.json().filter(|_| answer.is_success()))
    }

    /// What the token may do; `None` if the server does not say.
    async fn scopes(&self) -> Result<Option<Vec<String>>, SendError> {
        let url = self.url(&["api", "v1", "apps", "verify_credentials"]);
        let answer = self.send(Method::GET, url, Effect::Reads).await?;
        let app = answer.json().filter(|_| answer.is_success());
        let scopes = app.and_then(|app| serde_json::from_value(app["scopes"].clone()).ok());
        Ok(scopes.filter(|scopes: &Vec<String>| !scopes.is_empty()))
    }

    async fn get_json(&self, url: Url) -> Result<Value, SendError> {
        let answer = self.send(Method::GET, url, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        answer.json().ok_or_else(|| no_sense("the answer is not JSON"))
    }
}

/// Id and address of a status. Ids are opaque and, on some servers, letters.
fn receipt(status: &Value) -> Option<Receipt> {
    let id = status["id"]
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= 200)?;
    let url = status["url"].as_str().and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http"));
    Some(Receipt {
        url: url.map(String::from),
        ..Receipt::of(id)
    })
}

fn created(status: &Value) -> Option<Timestamp> {
    status["created_at"].as_str()?.parse().ok()
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the server's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
