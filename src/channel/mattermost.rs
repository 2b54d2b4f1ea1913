//! A channel in Mattermost, through an incoming webhook. The hook's address is the secret.
//!
//! A hook answers `ok` and nothing else: no id, no way to read, change or take away. What becomes unknown stays so, and the
//! account's policy decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::backstage::sent;
use super::hook::{self, Hook};
use super::shown::below_headline;
use super::transport::{Answer, Effect, Transport};
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings, Shown,
    WallSite, markdown,
};
use crate::clock::{Timestamp, later};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Busy, Kind as Does, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

/// A channel in Mattermost.
pub static KIND: Kind = Kind {
    id: "mattermost",
    about: "A channel in Mattermost (incoming webhook)",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
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
    // No limit as it comes; 10 a second where the server's limiter is on.
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// From 16,384 characters on a text becomes several posts; escapes and the headline need some of them.
const MAX_CHARACTERS: usize = 14_000;
/// Longest text in the server's form: the one limit that there is.
const MAX_WRITTEN: usize = 16_383;
/// No channel can be called this: names are lower-case letters, digits, "-" and "_".
const NO_CHANNEL: &str = "Ingen kanal";

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let priority = section.one_of("priority", &["standard", "important", "urgent"]);
    let base_url = section.address("base_url", false);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Mattermost {
        priority: priority.filter(|priority| *priority != "standard"),
        base_url,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Mattermost {
    /// Marked as such in the channel.
    priority: Option<&'static str>,
    base_url: Option<Url>,
}

impl Settings for Mattermost {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_CHARACTERS),
            unit: Unit::Characters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            base_url: Some(site.base.clone()),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let base = self.base_url.iter();
        base.map(|base| ("base_url", base.to_string())).collect()
    }

    fn refuses(&self, rendering: &Rendering) -> Option<String> {
        let length = written(rendering).chars().count();
        (length > MAX_WRITTEN).then(|| {
            format!(
                "Med rubrik och skyddade skiljetecken blir texten {length} tecken i Mattermost, och {MAX_WRITTEN} går in. \
                 Korta den."
            )
        })
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        let mut all = vec![
            Shown::new("heading", &rendering.headline),
            Shown::new("text", below_headline(rendering)),
        ];
        all.extend(self.priority.map(|priority| Shown::new("priority", priority)));
        all
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let hook = Hook::read(parts.secrets.as_ref(), self.base_url.as_ref())?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            hook,
            secrets: parts.secrets,
            base_url: self.base_url.clone(),
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug, Clone)]
struct Account {
    settings: Mattermost,
    hook: Hook,
    secrets: Arc<dyn Secrets>,
    base_url: Option<Url>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let answer = self.send(&self.message(post), Effect::Writes).await?;
        match answer.status {
            // The whole answer, in plain text.
            200 if answer.body.trim_ascii() == b"ok" => Ok(Receipt::of(post.key.as_str())),
            200..=299 => Err(SendError::Unknown(Reason::new(
                "unreadable",
                format!("the server answered {} but not \"ok\"", answer.status),
            ))),
            _ => Err(failure(&answer)),
        }
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        let text = "a webhook cannot read the channel; look there whether the message stands";
        Ok(Settled::Unclear(Reason::new("no-read-back", text)))
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        // The server looks at the hook first and then for a channel that cannot be there. A hook that is gone is told
        // apart from one that lives, and nothing is posted (server/channels/app/webhook.go, read 2026-11).
        let probe = json!({ "text": "Vårdkase", "channel": NO_CHANNEL });
        let answer = self.send(&probe, Effect::Reads).await?;
        if answer.status != 404
            || error_id(&answer).as_deref() != Some("web.incoming_webhook.channel.app_error")
        {
            return Err(match failure(&answer) {
                SendError::Unknown(reason) => SendError::NotSent(reason),
                other @ (SendError::NotSent(_)
                | SendError::Busy { .. }
                | SendError::Credential(_)
                | SendError::Refused(_)) => other,
            });
        }
        Ok(Identity {
            name: format!("webhook at {}", self.hook.host()),
            facts: BTreeMap::from([("hook".to_owned(), "the server knows it".to_owned())]),
            ..Identity::default()
        })
    }

    /// A webhook neither reads nor takes away: somebody has to look in that channel.
    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let behind = Self {
            hook: self
                .hook
                .backstage(self.secrets.as_ref(), self.base_url.as_ref())?,
            ..self.clone()
        };
        sent("in a channel of our own", behind.publish(post).await)
    }
}

impl Account {
    async fn send(&self, message: &Value, effect: Effect) -> Result<Answer, SendError> {
        let request = self
            .http
            .request(Method::POST, self.hook.url().clone())
            .json(message);
        self.http.send(request, effect).await
    }

    fn message(&self, post: &Post) -> Value {
        let mut message = json!({
            "text": written(&post.rendering),
            // Other programs find the post by it; nobody sees it.
            "props": { "vardkase_delivery": post.key.as_str() },
        });
        if let Some(priority) = self.settings.priority {
            message["priority"] = json!({ "priority": priority });
        }
        message
    }
}

/// The headline as a heading, and the text below it, in the server's form.
fn written(rendering: &Rendering) -> String {
    let as_is = |address: &str| address.to_owned();
    let mut text = format!("#### {}\n", markdown::line(&rendering.headline, as_is));
    for line in below_headline(rendering).lines() {
        text.push('\n');
        text.push_str(&markdown::line(line, as_is));
    }
    text
}

/// The server's name of an error, if it looks like one. Its words are not repeated: they may hold the hook's key.
fn error_id(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let id = body["id"].as_str()?;
    let fits = !id.is_empty()
        && id.len() <= 80
        && id.contains('.')
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'.'));
    fits.then(|| id.to_owned())
}

/// What an answer other than `ok` means.
fn failure(answer: &Answer) -> SendError {
    let status = answer.status;
    let id = error_id(answer);
    let reason = |text: &str| {
        let code = id.clone().unwrap_or_else(|| format!("http-{status}"));
        Reason::new(code, format!("the server answered {status}: {text}"))
    };
    match (status, id.as_deref()) {
        (400..=499, Some("web.incoming_webhook.invalid.app_error")) | (401, _) => {
            SendError::Credential(reason(
                "it does not know the webhook; make a new one and set its address with `vardkase credentials set`",
            ))
        }
        // A server without webhooks says 501 in place of 403.
        (403 | 501, Some("web.incoming_webhook.disabled.app_error")) => {
            SendError::Refused(reason("webhooks are switched off there"))
        }
        (403, _) => SendError::Refused(reason("the webhook may not post in its channel")),
        (404, _) => SendError::Refused(reason("the webhook's channel is gone")),
        (429, _) => SendError::Busy {
            until: answer.retry_after().or_else(|| reset(answer)),
            reason: reason("it asks us to wait"),
            scope: Busy::Account,
        },
        (300..=399, _) => SendError::Refused(reason("the server has moved; set the hook's new address")),
        (400..=407 | 410..=499, _) => SendError::Refused(reason("it does not take the message")),
        // 408 and 409 too: parts of the request had arrived.
        _ => SendError::Unknown(reason("it does not say whether it posted the message")),
    }
}

/// The limiter's own header: seconds from now.
fn reset(answer: &Answer) -> Option<Timestamp> {
    let seconds = answer.header("x-ratelimit-reset")?.trim().parse().ok()?;
    Some(later(answer.at, Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests;
