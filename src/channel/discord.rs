//! A Discord channel, through a webhook.
//!
//! Unproven: a webhook can read, change and take away a message whose id it knows, but it cannot list what was posted, and
//! it knows no idempotency key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use super::backstage::ended;
use super::hook::{self, Hook};
use super::portrait;
use super::transport::{Answer, Effect, Transport, below};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings, Shown,
    WallSite, markdown,
};
use crate::clock::{Timestamp, later};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Busy, Kind as Does, Picture, PictureRule, Post, Proof, Question, Reason, Receipt, Rendering, SendError,
    Settled, Unit,
};

/// A Discord channel.
pub static KIND: Kind = Kind {
    id: "discord",
    about: "A Discord channel, through a webhook",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: false,
        edit: true,
        retract: true,
        pin: false,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: false,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: hook::SECRET,
                required: true,
                internal: false,
            },
            SecretName {
                name: hook::BACKSTAGE,
                required: false,
                internal: false,
            },
        ];
        SECRETS
    },
    // Some 5 in 2 seconds and 30 a minute have been seen; what holds is what the answers say. With headroom.
    pace: Pace {
        attempts: 20,
        per: Duration::from_mins(1),
        burst: 3,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// Of a message's text (developers/resources/webhook, read 2026-08). The page says "characters"; UTF-16 units are the most
/// cautious reading.
const MAX_UTF16: usize = 2000;
/// What is kept free of it: each sign that Discord would read as formatting is escaped with one more.
const FOR_ESCAPES: usize = 100;

/// The picture rule: 10 MiB for a whole request and 1024 characters of description, with headroom.
const PICTURE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 8_000_000,
    max_edge: 4096,
    max_alt: 1000,
    required: false,
};

/// How the path of a webhook begins as Discord shows it, and the version of the API that is spoken.
const SHOWN: &str = "/api/webhooks/";
const SPOKEN: &str = "/api/v10/webhooks/";

/// Error codes: the webhook is not there, its token is wrong; the message is not there; the channel is not there.
const UNKNOWN_WEBHOOK: u64 = 10_015;
const INVALID_TOKEN: u64 = 50_027;
const UNKNOWN_MESSAGE: u64 = 10_008;
const UNKNOWN_CHANNEL: u64 = 10_003;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    const THREAD: &str = "the number of a thread in the webhook's channel, such as \"1100000000000000000\"";
    let base_url = section.address("base_url", false);
    let thread_id = section.text("thread_id", 30, THREAD);
    if thread_id.as_deref().is_some_and(|id| !is_id(id)) {
        section.problem("thread_id", format!("must be {THREAD}: digits only"));
    }
    let username = section.text(
        "username",
        80,
        "the name above the messages, at most 80 characters",
    );
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Discord {
        base_url,
        thread_id,
        username,
    }))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Discord {
    /// Stands in for scheme and host of the webhook.
    base_url: Option<Url>,
    thread_id: Option<String>,
    username: Option<String>,
}

impl Settings for Discord {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_UTF16 - FOR_ESCAPES),
            unit: Unit::Utf16,
            also: None,
        }
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PICTURE)
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            base_url: Some(site.base.clone()),
            thread_id: None,
            username: self.username.clone(),
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let base = self.base_url.iter();
        base.map(|base| ("base_url", base.to_string())).collect()
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        let name = self.username.iter().map(|name| Shown::new("from", name));
        name.chain([Shown::new("text", &rendering.text)]).collect()
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let mut hook = Hook::read(parts.secrets.as_ref(), self.base_url.as_ref())?;
        hook.replace(SHOWN, SPOKEN);
        Ok(Arc::new(Account {
            hook,
            secrets: parts.secrets,
            settings: self.clone(),
            http: parts.http.metered(super::quota::discord),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug, Clone)]
struct Account {
    hook: Hook,
    secrets: Arc<dyn Secrets>,
    settings: Discord,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let Some(picture) = post.picture.as_deref() else {
            return self.create(post, None).await;
        };
        let outcome = self.create(post, Some(picture)).await;
        let Err(SendError::Refused(reason)) = outcome else {
            return outcome;
        };
        // It did nothing. Whether it is the picture that it will not have, the text shows.
        let mut receipt = self.create(post, None).await?;
        receipt.note = Some(format!("without the picture, which was refused: {reason}"));
        Ok(receipt)
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        Ok(Settled::Unclear(Reason::new(
            "no-read-back",
            "a webhook cannot list what was posted; look in the Discord channel",
        )))
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        // Taking away twice is harmless, so that a failure never needs settling.
        let request = self.request(Method::DELETE, &["messages", &receipt.remote_id], &[]);
        let answer = self.http.send(request, Effect::Reads).await?;
        if answer.is_success() || (answer.status == 404 && code(&answer) == Some(UNKNOWN_MESSAGE)) {
            return Ok(());
        }
        Err(self.on_read(&answer))
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let mut changed = Receipt {
            note: None,
            ..receipt.clone()
        };
        let Some(picture) = post.picture.as_deref() else {
            return self.change(receipt, post, None).await.map(|()| changed);
        };
        match self.change(receipt, post, Some(picture)).await {
            // Changing twice is harmless: the words alone tell whether it was the picture.
            Err(SendError::Refused(reason)) => {
                self.change(receipt, post, None).await?;
                changed.note = Some(without::keeps(&reason.text));
                Ok(changed)
            }
            other => other.map(|()| changed),
        }
    }

    fn quota(&self) -> Option<crate::model::Quota> {
        self.http.quota()
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let hook = self.look().await?;
        let name = hook["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            let text = "the service's answer makes no sense: the webhook has no name";
            SendError::NotSent(Reason::new("unreadable", text))
        })?;
        let number = |field: &str| {
            let id = hook[field].as_str().filter(|id| is_id(id));
            id.map(str::to_owned)
        };
        Ok(Identity {
            name: self.hook.conceal(&brief(name)),
            // A webhook can be moved to another channel, and then it is another account.
            id: number("channel_id"),
            facts: portrait::facts([
                ("channel_id", number("channel_id")),
                ("guild_id", number("guild_id")),
            ]),
            ..Identity::default()
        })
    }

    /// A message in a channel that only we see, read and taken away by the same webhook.
    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let mut hook = self
            .hook
            .backstage(self.secrets.as_ref(), self.settings.base_url.as_ref())?;
        hook.replace(SHOWN, SPOKEN);
        let behind = Self {
            hook,
            settings: Discord {
                thread_id: None,
                ..self.settings.clone()
            },
            ..self.clone()
        };
        if behind.look().await?["channel_id"] == self.look().await?["channel_id"] {
            let text =
                "backstage_webhook posts in the public channel; make one for a channel that only we are in";
            return Err(SendError::Refused(Reason::new(super::backstage::IS_PUBLIC, text)));
        }
        let made = behind.create(post, None).await?;
        let request = behind.request(Method::GET, &["messages", &made.remote_id], &[]);
        let read = match self.http.send(request, Effect::Reads).await {
            Ok(answer) if answer.is_success() => {
                let shown = answer.json().unwrap_or(Value::Null);
                let shown = shown["content"].as_str().unwrap_or_default().to_owned();
                Ok(same_words(&shown, &post.rendering.text))
            }
            Ok(answer) => Err(behind.on_read(&answer)),
            Err(error) => Err(error),
        };
        let gone = behind.retract(&made).await;
        ended("in a channel of our own", &made.remote_id, read, gone)
    }
}

/// Whether these are the same words; the service gives signs of formatting back with what they are escaped by.
fn same_words(shown: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.replace('\\', "").trim().to_owned();
    bare(shown) == bare(wanted)
}

impl Account {
    /// What the service tells of the webhook, which itself knows nothing of threads.
    async fn look(&self) -> Result<Value, SendError> {
        let request = self.http.request(Method::GET, self.hook.url().clone());
        let answer = self.http.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(self.on_read(&answer));
        }
        Ok(answer.json().unwrap_or(Value::Null))
    }

    /// A request below the webhook, in its thread if there is one.
    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let url = below(self.hook.url(), path.iter().copied());
        let mut query = query.to_vec();
        if let Some(thread) = &self.settings.thread_id {
            query.push(("thread_id", thread));
        }
        let request = self.http.request(method, url);
        if query.is_empty() {
            request
        } else {
            request.query(&query)
        }
    }

    /// Changes the words, and with a picture what is attached: what the list does not name is taken away.
    async fn change(
        &self,
        receipt: &Receipt,
        post: &Post,
        picture: Option<&Picture>,
    ) -> Result<(), SendError> {
        let body = json!({"content": content(&post.rendering.text), "allowed_mentions": {"parse": []}});
        let request = self.request(Method::PATCH, &["messages", &receipt.remote_id], &[]);
        let answer = self
            .http
            .send(filled(request, body, picture), Effect::Reads)
            .await?;
        if answer.is_success() {
            return Ok(());
        }
        Err(self.on_read(&answer))
    }

    async fn create(&self, post: &Post, picture: Option<&Picture>) -> Result<Receipt, SendError> {
        // Nobody is called by a word that happens to be a role; and without `wait` a loss would go unseen.
        let mut body = json!({"content": content(&post.rendering.text), "allowed_mentions": {"parse": []}});
        if let Some(username) = &self.settings.username {
            body["username"] = username.as_str().into();
        }
        let request = self.request(Method::POST, &[], &[("wait", "true")]);
        let request = filled(request, body, picture);
        let answer = self.http.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(self.on_write(&answer));
        }
        let message = answer.json().unwrap_or(Value::Null);
        if let Some(id) = message["id"].as_str().filter(|id| is_id(id)) {
            return Ok(Receipt::of(id));
        }
        let text = format!("Discord answered {} without a readable message", answer.status);
        Err(SendError::Unknown(Reason::new("unreadable", text)))
    }

    /// What an answer other than success means where something may have been made: by status, and for 404 by code.
    fn on_write(&self, answer: &Answer) -> SendError {
        let (status, code) = (answer.status, code(answer));
        let body = answer.json().unwrap_or(Value::Null);
        let said = body["message"].as_str().unwrap_or("no reason given");
        let said = self.hook.conceal(said);
        let reason = |hint: &str| {
            let name = match code {
                Some(code) => format!("discord-{code}"),
                None => format!("http-{status}"),
            };
            Reason::new(name, format!("Discord answered {status}: {said}{hint}"))
        };
        match (status, code) {
            (_, Some(UNKNOWN_WEBHOOK | INVALID_TOKEN)) | (401 | 404, None) | (401, Some(_)) => {
                SendError::Credential(reason("; make a new webhook and set it again"))
            }
            (404, Some(UNKNOWN_CHANNEL)) => SendError::Refused(reason(
                "; correct `thread_id` in config.toml, or the webhook's channel is gone",
            )),
            (429, _) => SendError::Busy {
                until: until(answer, &body),
                reason: reason(""),
                scope: Busy::Account,
            },
            (300..=399, _) => SendError::Refused(reason("; it has moved: correct the webhook")),
            (400..=407 | 409..=499, _) => SendError::Refused(reason("")),
            _ => SendError::Unknown(reason("")),
        }
    }

    /// The same where nothing can have been made, or nothing more by a repeat.
    fn on_read(&self, answer: &Answer) -> SendError {
        match self.on_write(answer) {
            SendError::Unknown(reason) => SendError::NotSent(reason),
            other @ (SendError::NotSent(_)
            | SendError::Busy { .. }
            | SendError::Credential(_)
            | SendError::Refused(_)) => other,
        }
    }
}

/// A text as Discord is to show it. One with so many signs that they cannot all be escaped goes as it is: rather words in
/// italics than none.
fn content(text: &str) -> String {
    let escaped = markdown::discord(text);
    if escaped.encode_utf16().count() > MAX_UTF16 {
        return text.to_owned();
    }
    escaped
}

/// The request with this body, and the picture beside it.
fn filled(request: RequestBuilder, mut body: Value, picture: Option<&Picture>) -> RequestBuilder {
    let Some(picture) = picture else {
        return request.json(&body);
    };
    let name = picture.file_name();
    body["attachments"] = json!([{"id": 0, "filename": name, "description": picture.alt}]);
    let file = || Part::bytes(picture.bytes.clone()).file_name(name);
    let part = file().mime_str(picture.media_type).unwrap_or_else(|_| file());
    let form = Form::new().text("payload_json", body.to_string());
    request.multipart(form.part("files[0]", part))
}

/// Discord's own error code.
fn code(answer: &Answer) -> Option<u64> {
    answer.json()?["code"].as_u64().filter(|code| *code > 0)
}

/// The later of what the body says, in seconds with a fraction, and what a proxy says.
fn until(answer: &Answer, body: &Value) -> Option<Timestamp> {
    let seconds = body["retry_after"].as_f64();
    let wait = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    wait.map(|wait| later(answer.at, wait)).max(answer.retry_after())
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
