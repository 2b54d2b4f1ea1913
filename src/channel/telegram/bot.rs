//! The Bot API's envelope and what its errors mean. Decided by `error_code` and `parameters`; texts may change, and only
//! one of them is looked at.
//!
//! The token is part of the address: no address is ever shown, and a token that an answer repeats is blanked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart::Form;
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::channel::Secrets;
use crate::channel::hook::conceal;
use crate::channel::transport::{Answer, Effect, Transport, below};
use crate::clock::{Timestamp, later};
use crate::model::{AccountId, Busy, Reason, SendError};

/// Whom messages go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chat {
    /// The public name, without `@`.
    Name(String),
    /// The number, negative for channels and groups.
    Id(i64),
}

impl Chat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix('@') {
            return is_name(name).then(|| Self::Name(name.to_owned()));
        }
        text.parse().ok().filter(|id| *id < 0).map(Self::Id)
    }

    fn json(&self) -> Value {
        match self {
            Self::Name(name) => format!("@{name}").into(),
            Self::Id(id) => (*id).into(),
        }
    }
}

impl fmt::Display for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "@{name}"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// Whether it can be a public name: letters, digits and underscores, at most 32, first a letter.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The way to the API.
#[derive(Debug)]
pub(super) struct Bot {
    pub(super) account: AccountId,
    pub(super) base_url: Url,
    pub(super) secrets: Arc<dyn Secrets>,
    pub(super) http: Transport,
}

/// What went wrong with a call.
#[derive(Debug)]
pub(super) enum Fault {
    /// There was no answer, or no credential to ask with.
    Send(SendError),
    /// The service's own no.
    Said(Said),
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Said {
    code: u16,
    reason: Reason,
    until: Option<Timestamp>,
    moved_to: Option<i64>,
    is_unmodified: bool,
}

impl Bot {
    /// Who the bot is.
    pub(super) async fn me(&self) -> Result<Value, Fault> {
        let request = |request: RequestBuilder, _: &Chat| request;
        self.exchange("getMe", &Chat::Id(0), request, Effect::Reads).await
    }

    /// Calls a method about a chat with a JSON body.
    pub(super) async fn call(
        &self,
        method: &str,
        chat: &Chat,
        body: Value,
        effect: Effect,
    ) -> Result<Value, Fault> {
        let request = |request: RequestBuilder, chat: &Chat| {
            let mut body = body.clone();
            body["chat_id"] = chat.json();
            request.json(&body)
        };
        self.exchange(method, chat, request, effect).await
    }

    /// Calls a method about a chat with a file.
    pub(super) async fn upload(
        &self,
        method: &str,
        chat: &Chat,
        form: impl Fn() -> Form + Send + Sync,
    ) -> Result<Value, Fault> {
        let request = |request: RequestBuilder, chat: &Chat| {
            request.multipart(form().text("chat_id", chat.to_string()))
        };
        self.exchange(method, chat, request, Effect::Writes).await
    }

    async fn exchange(
        &self,
        method: &str,
        chat: &Chat,
        fill: impl Fn(RequestBuilder, &Chat) -> RequestBuilder + Send + Sync,
        effect: Effect,
    ) -> Result<Value, Fault> {
        let first = self.once(method, |request| fill(request, chat), effect).await;
        // A group that became a supergroup has another number; nothing was done under the old one.
        let Err(Fault::Said(Said {
            moved_to: Some(id), ..
        })) = first
        else {
            return first;
        };
        tracing::warn!(account.id = %self.account, chat = id, "the chat has another number now; correct `chat` in config.toml");
        let chat = Chat::Id(id);
        self.once(method, |request| fill(request, &chat), effect).await
    }

    async fn once(
        &self,
        method: &str,
        fill: impl FnOnce(RequestBuilder) -> RequestBuilder + Send,
        effect: Effect,
    ) -> Result<Value, Fault> {
        let token = self.secrets.require("bot_token");
        let token = token.map_err(|reason| Fault::Send(SendError::Credential(reason)))?;
        let bot = format!("bot{}", token.expose_secret());
        let request = self
            .http
            .request(Method::POST, below(&self.base_url, [bot.as_str(), method]));
        let answer = self.http.send(fill(request), effect).await.map_err(Fault::Send)?;
        result(&answer, &token).map_err(Fault::Said)
    }
}

/// What the method gave.
fn result(answer: &Answer, token: &SecretString) -> Result<Value, Said> {
    let body = answer.json().unwrap_or(Value::Null);
    let code = body["error_code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|_| body["ok"] == false);
    if answer.is_success() && code.is_none() {
        let result = &body["result"];
        if body["ok"] == true && (result.is_object() || result.is_number() || *result == true) {
            return Ok(result.clone());
        }
        return Err(Said {
            code: answer.status,
            reason: Reason::new(
                "unreadable",
                format!("the service answered {} without a readable result", answer.status),
            ),
            until: None,
            moved_to: None,
            is_unmodified: false,
        });
    }
    let text = body["description"].as_str().unwrap_or("no reason given");
    let parameters = &body["parameters"];
    let wait = parameters["retry_after"].as_u64();
    let wait = wait.map(|seconds| later(answer.at, Duration::from_secs(seconds)));
    let status = code.unwrap_or(answer.status);
    let (name, said) = match status {
        300..=399 => (
            "http",
            "it has moved; correct `base_url` in config.toml".to_owned(),
        ),
        401 | 404 => (
            "telegram",
            format!(
                "{}; the token is not valid: take a new one from BotFather and set bot_token again",
                conceal(text, [token.expose_secret()])
            ),
        ),
        _ => ("telegram", conceal(text, [token.expose_secret()])),
    };
    Err(Said {
        code: status,
        reason: Reason::new(
            format!("{}-{status}", if code.is_some() { name } else { "http" }),
            format!("Telegram answered {status}: {said}"),
        ),
        until: wait.max(answer.retry_after()),
        moved_to: parameters["migrate_to_chat_id"].as_i64(),
        is_unmodified: status == 400 && text.starts_with("Bad Request: message is not modified"),
    })
}

impl Fault {
    /// What it means where something may have been made.
    pub(super) fn on_write(self) -> SendError {
        let said = match self {
            Self::Send(error) => return error,
            Self::Said(said) => said,
        };
        match said.code {
            401 | 404 => SendError::Credential(said.reason),
            429 => SendError::Busy {
                until: said.until,
                reason: said.reason,
                scope: Busy::Account,
            },
            // Content, rights, a chat that is not there: 400 does not tell them apart but by its text.
            300..=407 | 409..=499 => SendError::Refused(said.reason),
            _ => SendError::Unknown(said.reason),
        }
    }

    /// What it means where nothing can have been made, or nothing more by a repeat.
    pub(super) fn on_read(self) -> SendError {
        match self.on_write() {
            SendError::Unknown(reason) => SendError::NotSent(reason),
            other @ (SendError::NotSent(_)
            | SendError::Busy { .. }
            | SendError::Credential(_)
            | SendError::Refused(_)) => other,
        }
    }

    /// Whether an edit found the message to be so already. Nothing but the text tells; if it changes one day, the edit is
    /// reported as refused, which is harmless.
    pub(super) fn is_unmodified(&self) -> bool {
        matches!(self, Self::Said(said) if said.is_unmodified)
    }
}
