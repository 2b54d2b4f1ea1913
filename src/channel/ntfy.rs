//! A topic on an ntfy server, to which residents or staff subscribe with their phones.
//!
//! Publishing knows no idempotency key. The server keeps messages for some hours, so that an attempt of unknown outcome is
//! settled by reading the topic back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::backstage::{harmless, nowhere};
use super::patience::Patience;
use super::portrait::flaw;
use super::shown::below_headline;
use super::transport::{Answer, Effect, Transport, below};
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings, Shown,
    WallSite,
};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Kind as Does, Post, Proof, Proves, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod verdict;

/// A topic on an ntfy server.
pub static KIND: Kind = Kind {
    id: "ntfy",
    about: "A topic on an ntfy server (push to phones)",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: false,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "access_token",
            required: false,
            internal: false,
        }];
        SECRETS
    },
    // 60 requests at once and then one in five seconds per visitor (server/config.go, read 2026-08), with headroom for
    // reading back.
    pace: Pace {
        attempts: 8,
        per: Duration::from_mins(1),
        burst: 10,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The topic of every simulated account: the adapter of a drill does not even know the name of the real one.
pub(crate) const PRACTICE_TOPIC: &str = "ovning";
/// The simulated topic that only we read.
pub(crate) const PRACTICE_BACKSTAGE: &str = "ovning-prov";

/// From 4,097 bytes on a message becomes a file that is attached; read 2026-08.
const MAX_BYTES: usize = 4096;
/// How long a server keeps messages unless it is told otherwise.
const DEFAULT_CACHE: Duration = Duration::from_hours(12);
/// How long after an attempt its message may take to show: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(10);
/// The same on the practice wall, where a message shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Shown as the highest, which rings through on most phones.
const DEFAULT_PRIORITY: u32 = 5;
/// Most tags of a message, and the longest of them.
const MAX_TAGS: usize = 5;
const MAX_TAG: usize = 40;
/// Stands on the message that ends an alert, in place of the warning signs.
const ALL_CLEAR_TAG: &str = "white_check_mark";
/// What a receipt says where the status alone had to do.
const TAKEN: &str = "the server answered that it took the message, and not under which id";
/// Names that lead elsewhere on every server.
const RESERVED: &[&str] = &[
    "docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1",
];

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    const TOPIC: &str = "a topic: 1 to 64 of A–Z, a–z, 0–9, \"-\" and \"_\"";
    const TAGS: &str = "a list of tags such as [\"warning\"]";
    let server = section.address("server", true);
    let topic = section.required_text("topic", 64, TOPIC);
    if let Some(topic) = &topic {
        if RESERVED.contains(&topic.as_str()) {
            section.problem(
                "topic",
                format!("{topic:?} is a page of every ntfy server; expected another name"),
            );
        } else if !is_topic(topic) {
            section.problem("topic", format!("found {topic:?}, expected {TOPIC}"));
        }
    }
    let priority = section
        .number_within("priority", 1, 5)
        .unwrap_or(DEFAULT_PRIORITY);
    let tags = section.strings("tags", TAGS);
    for tag in tags.iter().flatten() {
        if !is_tag(&tag.value) || tag.value.len() > MAX_TAG {
            let text = format!("{:?} is no tag; expected a word such as \"warning\"", tag.value);
            section.problem_at(tag.place, "tags", text);
        }
    }
    if tags.as_ref().is_some_and(|tags| tags.len() > MAX_TAGS) {
        section.problem("tags", format!("at most {MAX_TAGS} tags are allowed"));
    }
    let backstage_topic = section.text("backstage_topic", 64, TOPIC);
    if let Some(behind) = &backstage_topic {
        if !is_topic(behind) || RESERVED.contains(&behind.as_str()) {
            section.problem("backstage_topic", format!("found {behind:?}, expected {TOPIC}"));
        } else if Some(behind) == topic.as_ref() {
            section.problem("backstage_topic", "is the topic itself, which the public reads");
        }
    }
    let by_status = section.one_of("answer", &["strict", "status"]) == Some("status");
    let cache = section.duration("cache").unwrap_or(DEFAULT_CACHE);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Ntfy {
        server: server?,
        topic: topic?,
        priority,
        tags: tags.map_or_else(
            || vec!["warning".to_owned()],
            |tags| tags.into_iter().map(|tag| tag.value).collect(),
        ),
        by_status,
        backstage_topic,
        cache,
        settle_wait,
    }))
}

/// What a server takes as a topic: `^[-_A-Za-z0-9]{1,64}$` (reference page).
fn is_topic(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// What is a tag: the names of emoji hold a `+`.
fn is_tag(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+'))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Ntfy {
    server: Url,
    topic: String,
    priority: u32,
    tags: Vec<String>,
    /// Whether the status alone counts: what answers is no ntfy server, and cannot be read back.
    by_status: bool,
    /// A topic that only we read.
    backstage_topic: Option<String>,
    cache: Duration,
    settle_wait: Duration,
}

impl Settings for Ntfy {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_BYTES),
            unit: Unit::Bytes,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            server: site.base.clone(),
            topic: PRACTICE_TOPIC.to_owned(),
            backstage_topic: self
                .backstage_topic
                .as_ref()
                .map(|_| PRACTICE_BACKSTAGE.to_owned()),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("server", self.server.to_string()), ("topic", self.topic.clone())]
    }

    fn as_shown(&self, rendering: &Rendering, kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("title", &rendering.headline),
            Shown::new("text", below_headline(rendering)),
            Shown::new("priority", format!("{} of 5", self.priority)),
            Shown::new("tags", self.tags(kind).join(", ")),
            Shown::new("opens", rendering.link.as_str()),
        ]
    }

    fn backstage(&self) -> Option<bool> {
        Some(self.backstage_topic.is_some())
    }

    fn proof(&self) -> Option<Proof> {
        (self.cache.is_zero() || self.by_status).then_some(Proof::Unproven)
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http,
        }))
    }
}

impl Ntfy {
    fn tags(&self, kind: Does) -> Vec<&str> {
        match kind {
            Does::AllClear => vec![ALL_CLEAR_TAG],
            Does::Initial | Does::Update | Does::Correction => self.tags.iter().map(String::as_str).collect(),
        }
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: Ntfy,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let url = below(&self.settings.server, []);
        let request = self.http.request(Method::POST, url).json(&self.message(post));
        let answer = self.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let body = answer.json().unwrap_or(Value::Null);
        let mut receipt = match message_id(&body) {
            Some(id) => self.receipt(id),
            None if self.settings.by_status => Receipt {
                note: Some(TAKEN.to_owned()),
                ..Receipt::of(post.key.as_str())
            },
            None => return Err(verdict::unreadable(&answer)),
        };
        if body.get("attachment").is_some_and(|file| !file.is_null()) {
            receipt.note =
                Some("the server made a file of the text: its limit is lower than usual".to_owned());
        }
        Ok(receipt)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        if self.settings.by_status {
            let text =
                "only the server's status counts (answer = \"status\"), and there is nothing to read back";
            return Ok(Settled::Unclear(Reason::new("no-read-back", text)));
        }
        if self.settings.cache.is_zero() {
            let text = "the server keeps no messages (cache = \"0s\"), and there is nothing to read back";
            return Ok(Settled::Unclear(Reason::new("no-cache", text)));
        }
        if !question.is_younger_than(self.settings.cache) {
            let text = "the server does not keep messages for so long (cache)";
            return Ok(Settled::Unclear(Reason::new("cache-over", text)));
        }
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            match self.search(question).await {
                Ok(Some(id)) => return Ok(Settled::Found(self.receipt(&id))),
                Ok(None) => {}
                // We may not read, or there is more than we read: nothing here will ever tell.
                Err(SendError::Refused(reason)) => return Ok(Settled::Unclear(reason)),
                Err(SendError::NotSent(reason)) if reason.code == "too-large" => {
                    return Ok(Settled::Unclear(reason));
                }
                Err(other) => return Err(other),
            }
        }
        patience.absent(question)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let health = self.get(&["v1", "health"], &[]).await?;
        if self.settings.by_status {
            return self.somebody(&health);
        }
        let healthy = health.json().map(|body| body["healthy"] == true);
        match (health.status, healthy) {
            (200..=299, Some(true)) => {}
            (200..=299, Some(false)) => {
                let text = "the server says that it is not well";
                return Err(SendError::NotSent(Reason::new("unhealthy", text)));
            }
            (200..=299 | 404, _) => {
                let text = "nothing there answers as an ntfy server: correct `server`";
                return Err(SendError::Refused(Reason::new("no-ntfy", text)));
            }
            _ => return Err(verdict::of_read(&health)),
        }
        // Asks for the right to read; the right to write shows when something is written.
        let may = self.get(&[&self.settings.topic, "auth"], &[]).await?;
        let reads = match may.status {
            200..=299 => "yes",
            403 => "no: what becomes unknown cannot be settled",
            _ => return Err(verdict::of_read(&may)),
        };
        let host = self.settings.server.host_str().unwrap_or_default();
        let token = if self.token().is_some() {
            "yes"
        } else {
            "no: anyone may write"
        };
        let mut flaws = Vec::new();
        if may.status == 403 {
            let text = "the token may not read the topic: what becomes unknown cannot be settled; give it read access";
            flaws.push(flaw("may-not-read", text));
        }
        if self.token().is_none() {
            let text = "anyone may write to the topic, also in our name; reserve it and set access_token";
            flaws.push(flaw("open-topic", text));
        }
        Ok(Identity {
            name: format!("{host}/{}", self.settings.topic),
            flaws,
            facts: BTreeMap::from([
                ("may_read".to_owned(), reads.to_owned()),
                ("access_token".to_owned(), token.to_owned()),
            ]),
            proves: if self.token().is_some() {
                Proves::SignIn
            } else {
                Proves::Presence
            },
            ..Identity::default()
        })
    }

    /// A message to a topic that only we read. A server forgets it by itself, when it forgets messages (`cache`).
    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let Some(topic) = &self.settings.backstage_topic else {
            return Err(nowhere("set `backstage_topic` to a topic that only we read"));
        };
        let settings = Ntfy {
            topic: topic.clone(),
            ..self.settings.clone()
        };
        let behind = Self {
            settings,
            secrets: Arc::clone(&self.secrets),
            http: self.http.clone(),
        };
        let since = self.http.now();
        behind.publish(post).await.map_err(harmless)?;
        let question = Question {
            waited: std::time::Duration::ZERO,
            astray: std::time::Duration::ZERO,
            post: post.clone(),
            since,
            until: self.http.now(),
            now: self.http.now(),
            taken: Vec::new(),
        };
        let keeps = !self.settings.by_status && !self.settings.cache.is_zero();
        let read_back = keeps && behind.search(&question).await.map_err(harmless)?.is_some();
        Ok(Backstage {
            place: "in a topic of our own".to_owned(),
            read_back,
            removed: false,
        })
    }
}

impl Account {
    /// Any answer but a refused credential shows that somebody is there, which is all that is asked of it.
    fn somebody(&self, answer: &Answer) -> Result<Identity, SendError> {
        if matches!(answer.status, 401 | 403) {
            return Err(verdict::of_read(answer));
        }
        let host = self.settings.server.host_str().unwrap_or_default();
        Ok(Identity {
            name: format!("{host}/{}", self.settings.topic),
            facts: BTreeMap::from([("answered".to_owned(), answer.status.to_string())]),
            proves: Proves::Presence,
            ..Identity::default()
        })
    }

    fn token(&self) -> Option<secrecy::SecretString> {
        let token = self.secrets.get("access_token");
        token.filter(|token| !token.expose_secret().is_empty())
    }

    async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let request = match self.token() {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        self.http.send(request, effect).await
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, SendError> {
        let url = below(&self.settings.server, path.iter().copied());
        let request = self.http.request(Method::GET, url).query(query);
        self.send(request, Effect::Reads).await
    }

    /// The message. The form with headers would have to encode å, ä and ö; JSON does not.
    fn message(&self, post: &Post) -> Value {
        json!({
            "topic": self.settings.topic,
            "title": post.rendering.headline,
            // The headline is the notification's title already.
            "message": below_headline(&post.rendering),
            "priority": self.settings.priority,
            "tags": self.settings.tags(post.kind),
            "click": post.rendering.link.as_str(),
        })
    }

    /// Looks for the message among those that the server keeps since the attempt.
    async fn search(&self, question: &Question) -> Result<Option<String>, SendError> {
        let since = (question.earliest()).as_second().to_string();
        let query = [("poll", "1"), ("since", since.as_str())];
        let answer = self.get(&[&self.settings.topic, "json"], &query).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let no_sense = |what: &str| {
            let text = format!("the server's answer makes no sense: {what}");
            SendError::NotSent(Reason::new("unreadable", text))
        };
        let lines = String::from_utf8(answer.body).map_err(|_| no_sense("it is not text"))?;
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let message: Value =
                serde_json::from_str(line).map_err(|_| no_sense("a line that is not JSON"))?;
            if message["event"] == "message"
                && self.is(&message, question)
                && let Some(id) = message_id(&message)
                && !question.taken.iter().any(|taken| taken == id)
            {
                return Ok(Some(id.to_owned()));
            }
        }
        Ok(None)
    }

    /// Whether a message is the one that was to be published: the same words and the same link, not older.
    fn is(&self, message: &Value, question: &Question) -> bool {
        let wanted = &question.post.rendering;
        let says = |name: &str, words: &str| {
            message[name]
                .as_str()
                .is_some_and(|given| given.trim() == words.trim())
        };
        let at = message["time"]
            .as_i64()
            .and_then(|at| Timestamp::from_second(at).ok());
        says("topic", &self.settings.topic)
            && says("title", &wanted.headline)
            // The whole text: so went what was sent before the headline was shown as the title alone.
            && (says("message", below_headline(wanted)) || says("message", &wanted.text))
            && says("click", wanted.link.as_str())
            && at.is_some_and(|at| at >= question.earliest())
    }

    fn receipt(&self, id: &str) -> Receipt {
        Receipt::of(id).at(below(&self.settings.server, [self.settings.topic.as_str()]))
    }
}

/// The id that the server gave a message.
fn message_id(message: &Value) -> Option<&str> {
    let id = message["id"].as_str()?;
    (!id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_graphic())).then_some(id)
}

#[cfg(test)]
mod tests;
