//! A channel in Microsoft Teams, through a Workflows webhook that posts an adaptive card. The hook's address is the secret.
//!
//! The service answers 202: the flow was started. Whether its next step posted the card nobody tells us, so that what
//! counts here as published is handed over and no more; the receipt says so. There is no id, no way to read, change or take
//! away.

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
    Backstage, Capabilities, Caveat, Channel, Identity, Kind, Pace, Parts, SecretName, Secrets, Settings,
    Shown, WallSite, markdown,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Busy, Kind as Does, Lang, Post, Proof, Proves, Question, Reason, Receipt, Rendering, SendError, Settled,
    Unit,
};

/// A channel in Microsoft Teams.
pub static KIND: Kind = Kind {
    id: "teams",
    about: "A channel in Microsoft Teams (Workflows webhook)",
    can: Capabilities {
        proof: Proof::Unproven,
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
    // The old connectors took four in a second; a flow's actions per day depend on the licence.
    pace: Pace {
        attempts: 30,
        per: Duration::from_mins(1),
        burst: 3,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// Longest text. The whole message may have 28 KB, of which 21 are seen to arrive (reference page §2).
const MAX_BYTES: usize = 8_000;
/// Largest message that is sent. A text full of signs that must be escaped can come above it.
const MAX_MESSAGE: usize = 20_000;
/// What the receipt says of every message.
const HANDED_OVER: &str = "handed over to the flow; whether it posted the card Teams does not tell";
/// The flow is gone, off, or does not take the address any more.
const DEAD: &[&str] = &[
    "WorkflowNotFound",
    "WorkflowTriggerIsNotEnabled",
    "DirectApiAuthorizationRequired",
    "InvalidSignature",
];

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let base_url = section.address("base_url", false);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Teams { base_url }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Teams {
    base_url: Option<Url>,
}

impl Settings for Teams {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_BYTES),
            unit: Unit::Bytes,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            base_url: Some(site.base.clone()),
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let base = self.base_url.iter();
        base.map(|base| ("base_url", base.to_string())).collect()
    }

    fn caveats(&self) -> &'static [Caveat] {
        &[Caveat::HandedOver]
    }

    fn refuses(&self, rendering: &Rendering) -> Option<String> {
        let size = message(rendering).to_string().len();
        (size > MAX_MESSAGE).then(|| {
            format!("Som kort i Teams blir texten {size} byte, och {MAX_MESSAGE} går in. Skriv kortare och färre rader.")
        })
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("heading", &rendering.headline),
            Shown::new("text", below_headline(rendering)),
            Shown::new("button", button(rendering)),
        ]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let hook = Hook::read(parts.secrets.as_ref(), self.base_url.as_ref())?;
        Ok(Arc::new(Account {
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
    hook: Hook,
    secrets: Arc<dyn Secrets>,
    base_url: Option<Url>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let body = message(&post.rendering).to_string();
        if body.len() > MAX_MESSAGE {
            let text = format!(
                "as a card the message has {} bytes, and Teams takes {MAX_MESSAGE}",
                body.len()
            );
            return Err(SendError::Refused(Reason::new("too-large", text)));
        }
        let request = self
            .http
            .request(Method::POST, self.hook.url().clone())
            .header("content-type", "application/json")
            .body(body);
        let answer = self.http.send(request, Effect::Writes).await?;
        match answer.status {
            202 => Ok(Receipt {
                note: Some(HANDED_OVER.to_owned()),
                ..Receipt::of(run(&answer).unwrap_or_else(|| post.key.to_string()))
            }),
            // The connectors of before said "1" when it was posted, and else what went wrong; the status was the same.
            200 if answer.body.trim_ascii() == b"1" => Ok(Receipt::of(post.key.as_str())),
            200..=299 => Err(SendError::Unknown(Reason::new(
                "unreadable",
                format!("the service answered {}, not 202", answer.status),
            ))),
            _ => Err(failure(&answer)),
        }
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        let text = "a flow cannot be asked what it posted; look in the channel whether the message stands";
        Ok(Settled::Unclear(Reason::new("no-read-back", text)))
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        // Whatever would prove that the flow posts is a post. This asks without starting it: an answer that names the
        // flow as gone counts, any other shows only that the service is there.
        let request = self.http.request(Method::OPTIONS, self.hook.url().clone());
        let answer = self.http.send(request, Effect::Reads).await?;
        if error_code(&answer).is_some_and(|code| DEAD.contains(&code.as_str())) {
            return Err(failure(&answer));
        }
        Ok(Identity {
            name: format!("flow at {}", self.hook.host()),
            facts: BTreeMap::from([
                ("answered".to_owned(), answer.status.to_string()),
                (
                    "flow".to_owned(),
                    "not proven: only a message that somebody sees in the channel proves it".to_owned(),
                ),
            ]),
            proves: Proves::Presence,
            ..Identity::default()
        })
    }

    /// Only the flow knows whether it posted the card: somebody has to look in that channel.
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

/// The message: a card with the headline, a block for each line below it, and a button that opens the page.
fn message(rendering: &Rendering) -> Value {
    let link = |address: &str| {
        let target = address.replace('(', "%28").replace(')', "%29");
        format!("[{}]({target})", markdown::escaped(address))
    };
    let heading = markdown::line(&rendering.headline, link);
    let mut blocks = vec![json!({
        "type": "TextBlock", "text": heading, "size": "Large", "weight": "Bolder", "style": "heading", "wrap": true,
    })];
    let mut after_gap = true;
    for line in below_headline(rendering).lines() {
        if line.trim().is_empty() {
            after_gap = true;
            continue;
        }
        let mut block = json!({ "type": "TextBlock", "text": markdown::line(line, link), "wrap": true });
        if !after_gap {
            block["spacing"] = "None".into();
        }
        blocks.push(block);
        after_gap = false;
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": blocks,
                "actions": [{
                    "type": "Action.OpenUrl", "title": button(rendering), "url": rendering.link.as_str(),
                }],
            },
        }],
    })
}

/// What the button says that opens the page.
fn button(rendering: &Rendering) -> &'static str {
    match rendering.languages.first() {
        Some(Lang::En) => "Read more",
        Some(Lang::Sv) | None => "Läs mer",
    }
}

/// The run that was started, for asking Microsoft about it.
fn run(answer: &Answer) -> Option<String> {
    let run = answer.header("x-ms-workflow-run-id")?;
    let fits = !run.is_empty() && run.len() <= 100 && run.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| run.to_owned())
}

/// The service's code of an error, if it looks like one. Its words are not repeated: they may hold the hook's address.
fn error_code(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let code = body["error"]["code"].as_str()?;
    let fits = !code.is_empty() && code.len() <= 60 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| code.to_owned())
}

/// What an answer other than success means.
fn failure(answer: &Answer) -> SendError {
    let status = answer.status;
    let code = error_code(answer);
    let reason = |text: &str| {
        let code = code.clone().unwrap_or_else(|| format!("http-{status}"));
        Reason::new(code, format!("the service answered {status}: {text}"))
    };
    match (status, code.as_deref()) {
        (400..=499, Some(code)) if DEAD.contains(&code) => SendError::Credential(reason(
            "the flow is gone, switched off or does not take this address; look at it in Teams and set its address with \
             `vardkase credentials set`",
        )),
        (401 | 404, _) => SendError::Credential(reason(
            "the address leads to no flow; look at it in Teams and set its address with `vardkase credentials set`",
        )),
        (429, _) => SendError::Busy {
            until: answer.retry_after(),
            reason: reason("it asks us to wait"),
            scope: Busy::Account,
        },
        (403, _) => SendError::Refused(reason(
            "a rule of the organisation forbids it; ask your administrator",
        )),
        (413, _) => SendError::Refused(reason("the message is too large")),
        (300..=399, _) => SendError::Refused(reason("the service has moved; set the flow's new address")),
        (400..=407 | 410..=499, _) => SendError::Refused(reason("it does not take the message")),
        // 408 and 409 too: parts of the request had arrived.
        _ => SendError::Unknown(reason("it does not say whether it started the flow")),
    }
}

#[cfg(test)]
mod tests;
