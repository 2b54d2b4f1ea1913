//! A Slack channel, through an incoming webhook.
//!
//! Unproven: the webhook answers `ok` and nothing else. What came of a message that it did not answer can neither be asked
//! nor read, and nothing that was posted can be changed or taken away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::backstage::sent;
use super::hook::{self, Hook};
use super::transport::{Answer, Effect, Transport};
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings, WallSite,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{Busy, Post, Proof, Proves, Question, Reason, Receipt, SendError, Settled, Unit};

/// A Slack channel.
pub static KIND: Kind = Kind {
    id: "slack",
    about: "A Slack channel, through an incoming webhook",
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
    // About one a second per webhook, short bursts allowed (docs.slack.dev, rate limits, read 2026-08), with headroom.
    pace: Pace {
        attempts: 40,
        per: Duration::from_mins(1),
        burst: 3,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// What Slack recommends; it cuts at 40,000, which this stays below however much of it has to be escaped.
const MAX_CHARACTERS: usize = 4000;

/// Longest word of an answer that is taken for one of Slack's error codes.
const MAX_CODE: usize = 60;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let base_url = section.address("base_url", false);
    let probe = section
        .optional::<bool>(
            "probe",
            "true, or false if `verify` is not to send an empty request to the webhook",
        )
        .unwrap_or(true);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Slack { base_url, probe }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Slack {
    /// Stands in for scheme and host of the webhook.
    base_url: Option<Url>,
    probe: bool,
}

impl Settings for Slack {
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
            probe: self.probe,
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let base = self.base_url.iter();
        base.map(|base| ("base_url", base.to_string())).collect()
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(Account {
            hook: Hook::read(parts.secrets.as_ref(), self.base_url.as_ref())?,
            probe: self.probe,
            secrets: parts.secrets,
            base_url: self.base_url.clone(),
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug, Clone)]
struct Account {
    hook: Hook,
    secrets: Arc<dyn Secrets>,
    base_url: Option<Url>,
    probe: bool,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let body = json!({
            "text": escaped(&post.rendering.text),
            // Nothing is bold, struck through or a quotation: people read the words as they were approved.
            "mrkdwn": false,
            "unfurl_links": true,
        });
        let answer = self.ask(&body, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(self.failure(&answer));
        }
        if answer.body.trim_ascii() == b"ok" {
            // Slack tells no id; ours is what the log knows the message by.
            return Ok(Receipt::of(post.key.as_str()));
        }
        let text = format!("Slack answered {} but not ok", answer.status);
        Err(SendError::Unknown(Reason::new("unreadable", text)))
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        Ok(Settled::Unclear(Reason::new(
            "no-read-back",
            "a webhook tells nothing of what was posted; look in the Slack channel",
        )))
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let mut facts = BTreeMap::new();
        if self.probe {
            // A webhook that lives says what is missing; nothing is posted.
            let answer = self.ask(&json!({}), Effect::Reads).await?;
            let said = code(&answer).unwrap_or_else(|| "no reason given".to_owned());
            if answer.status != 400 && !answer.is_success() {
                return Err(match self.failure(&answer) {
                    SendError::Unknown(reason) => SendError::NotSent(reason),
                    other @ (SendError::NotSent(_)
                    | SendError::Busy { .. }
                    | SendError::Credential(_)
                    | SendError::Refused(_)) => other,
                });
            }
            facts.insert("answered".to_owned(), format!("{}: {said}", answer.status));
        } else {
            facts.insert(
                "answered".to_owned(),
                "not asked (probe = false): proves nothing".to_owned(),
            );
        }
        Ok(Identity {
            name: format!("webhook at {}", self.hook.host()),
            facts,
            proves: if self.probe {
                Proves::SignIn
            } else {
                Proves::Nothing
            },
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
    async fn ask(&self, body: &Value, effect: Effect) -> Result<Answer, SendError> {
        let request = self
            .http
            .request(Method::POST, self.hook.url().clone())
            .json(body);
        self.http.send(request, effect).await
    }

    /// What an answer other than success means: by status, and for 403 by Slack's own code.
    fn failure(&self, answer: &Answer) -> SendError {
        let status = answer.status;
        let code = code(answer).map(|code| self.hook.conceal(&code));
        let said = code.as_deref().unwrap_or("no reason given");
        let reason = |hint: &str| {
            let name = match &code {
                Some(code) => format!("slack-{code}"),
                None => format!("http-{status}"),
            };
            Reason::new(name, format!("Slack answered {status}: {said}{hint}"))
        };
        match status {
            // The webhook, the app or the workspace is gone.
            401 | 404 => SendError::Credential(reason("; make a new webhook and set it again")),
            403 if said == "invalid_token" => {
                SendError::Credential(reason("; make a new webhook and set it again"))
            }
            429 => SendError::Busy {
                until: answer.retry_after(),
                reason: reason(""),
                scope: Busy::Account,
            },
            300..=399 => SendError::Refused(reason("; it has moved: correct the webhook")),
            400..=407 | 409..=499 => SendError::Refused(reason("")),
            _ => SendError::Unknown(reason("")),
        }
    }
}

/// Slack's error code: the whole body, one word.
fn code(answer: &Answer) -> Option<String> {
    let body = std::str::from_utf8(&answer.body).ok()?.trim();
    let is_word = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (!body.is_empty() && body.len() <= MAX_CODE && body.bytes().all(is_word)).then(|| body.to_owned())
}

/// A text as Slack wants it also where it is not to read formatting: nothing in it can become a mention or a link but
/// the web addresses, which do.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        for (n, word) in line.split(' ').enumerate() {
            if n > 0 {
                out.push(' ');
            }
            let address = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '”', '»']);
            let is_link = address.starts_with("https://")
                && !address.contains(['|', '<', '>'])
                && Url::parse(address).is_ok();
            if is_link {
                let rest = word.strip_prefix(address).unwrap_or_default();
                out.extend(["<", &escape(address), ">", &escape(rest)]);
            } else {
                out.push_str(&escape(word));
            }
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
