//! The alert as one JSON document, and the adapter that posts it to a receiver: `webhook` (any HTTP server, only the
//! status counts) and `http-json` (the web site's own receiver, which must answer with the page's address).
//!
//! A repeat under the same key is harmless at a receiver that keeps the contract, so an unknown outcome is settled by
//! sending it again. Receivers that do not read the key say so with `keyed = false`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use url::Url;

use super::transport::{self, Answer, Effect};
use super::{Channel, Identity, Parts, StandingPage, Transport};
use crate::clock::Timestamp;
use crate::model::{
    AlertId, BroadcastId, Busy, DeliveryId, Kind, Lang, Mode, Post, Proves, Question, Reason, Receipt,
    SendError, Settled,
};

/// Longest id or address that is taken from an answer, in bytes.
const MAX_REMOTE: usize = 1000;

/// One broadcast as other programs read it. The field names are a public contract: `docs/channels/webhook.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Version of this form.
    pub version: u32,
    /// The delivery's id: the same for every attempt.
    pub id: DeliveryId,
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// What it does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// One line.
    pub headline: String,
    /// The whole text, the link last.
    pub text: String,
    /// The page with basic information.
    pub link: Url,
    /// Languages of the text, the first one first.
    pub languages: Vec<Lang>,
    /// When it was accepted.
    pub published: Timestamp,
    /// When it stops being true.
    pub expires: Timestamp,
    /// The receiver's ids of the alert's first and latest earlier post.
    pub references: Vec<String>,
    /// Who sends.
    pub sender: String,
}

impl Document {
    /// The document of a post. The same bytes for every attempt.
    pub fn of(post: &Post, sender: &str) -> Self {
        let mut references: Vec<String> = Vec::new();
        for receipt in [&post.root, &post.parent].into_iter().flatten() {
            if !references.contains(&receipt.remote_id) {
                references.push(receipt.remote_id.clone());
            }
        }
        Self {
            version: 1,
            id: post.key.clone(),
            alert: post.alert.clone(),
            broadcast: post.broadcast.clone(),
            kind: post.kind,
            mode: post.mode,
            headline: post.rendering.headline.clone(),
            text: post.rendering.text.clone(),
            link: post.rendering.link.clone(),
            languages: post.rendering.languages.clone(),
            published: post.accepted_at,
            expires: post.valid_until,
            references,
            sender: sender.to_owned(),
        }
    }
}

/// A page that stands for good as other programs read it: `docs/channels/http-json.md`.
fn standing(page: &StandingPage) -> Result<Vec<u8>, Reason> {
    let unreadable =
        |error: serde_json::Error| Reason::new("document", format!("cannot be written as JSON: {error}"));
    let data: serde_json::Value = serde_json::from_str(&page.json).map_err(unreadable)?;
    let document = serde_json::json!({
        "version": 1,
        "id": page.key,
        "kind": "register",
        "name": page.name,
        "headline": page.title,
        "html": page.html,
        "register": data,
        "sender": page.sender,
    });
    serde_json::to_vec(&document).map_err(unreadable)
}

/// What a receiver has to answer for the post to count as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proofs {
    /// Any 2xx.
    Status,
    /// A 2xx, or a 409, with the page's address in `url`.
    Address,
    /// Any 2xx; who asked for more has chosen to do without. The address where the messages show, if there is one.
    Taken(Option<Url>),
}

/// What a receipt says where the status alone had to do.
const TAKEN: &str = "the receiver answered that it took the message, and not where it shows";
/// The step that counts answers of success without the page's address.
const NAMELESS: &str = "nameless";
/// After so many of those a person is asked: the receiver will not learn to answer by being asked again.
const ENOUGH: u32 = 3;

/// A receiver and how it is spoken to.
pub(super) struct Receiver {
    endpoint: Url,
    idempotency_header: HeaderName,
    keyed: bool,
    wants: Proofs,
    bearer: Option<HeaderValue>,
    hmac_key: Option<SecretString>,
    sender: String,
    http: Transport,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("endpoint", &self.endpoint.as_str())
            .field("wants", &self.wants)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Makes the adapter of an account whose own keys are these.
    pub(super) fn open(
        endpoint: Url,
        idempotency_header: HeaderName,
        keyed: bool,
        wants: Proofs,
        parts: &Parts,
    ) -> Result<Self, Reason> {
        let secret = |name| parts.secrets.get(name).filter(|s| !s.expose_secret().is_empty());
        let bearer = match secret("bearer") {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| {
                    Reason::new(
                        "bad-credential",
                        "bearer holds characters that no header may have; set it again with `vardkase credentials set`",
                    )
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let hmac_key = secret("hmac_key");
        if wants != Proofs::Status && bearer.is_none() && hmac_key.is_none() {
            return Err(Reason::new(
                "no-credential",
                "the vault holds neither bearer nor hmac_key, and the site must know who publishes on it; set one of \
                 them with `vardkase credentials set`",
            ));
        }
        Ok(Self {
            endpoint,
            idempotency_header,
            keyed,
            wants,
            bearer,
            hmac_key,
            sender: parts.sender.clone(),
            http: parts.http.clone(),
        })
    }

    /// A request that proves who we are, signed at `at`. An empty body is signed as such.
    fn request(
        &self,
        at: Timestamp,
        method: Method,
        url: &Url,
        body: &[u8],
    ) -> Result<reqwest::RequestBuilder, SendError> {
        let mut request = self.http.request(method, url.clone());
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", bearer.clone());
        }
        if let Some(key) = &self.hmac_key {
            let at = at.as_second();
            let signature = sign(key, at, body)?;
            request = request
                .header("x-vardkase-timestamp", at)
                .header("x-vardkase-signature", format!("sha256={signature}"));
        }
        Ok(request)
    }

    /// What an answer to the post means.
    fn classify(&self, answer: &Answer, post: &Post) -> Result<Receipt, SendError> {
        match answer.status {
            200..=299 => self.accepted(answer, post),
            409 => match named(answer).filter(|n| self.wants != Proofs::Address || n.url.is_some()) {
                Some(named) if named.id.is_some() || named.url.is_some() => Ok(named.receipt(post)),
                Some(_) | None => Err(SendError::Unknown(Reason::new(
                    "http-409",
                    "the receiver knows this key already but does not say what became of it",
                ))),
            },
            _ => Err(failure(answer)),
        }
    }

    fn accepted(&self, answer: &Answer, post: &Post) -> Result<Receipt, SendError> {
        let unreadable = |what: &str| {
            Err(SendError::Unknown(Reason::new(
                "unreadable",
                format!("the receiver answered {} but {what}", answer.status),
            )))
        };
        let named = named(answer);
        match &self.wants {
            Proofs::Status => match named {
                Some(named) => Ok(named.receipt(post)),
                None if says_json(answer) && !answer.body.is_empty() => {
                    unreadable("its body, announced as JSON, cannot be read")
                }
                None => Ok(Receipt::of(post.key.as_str())),
            },
            Proofs::Taken(shown) => Ok(match named {
                Some(named) if named.url.is_some() => named.receipt(post),
                _ => Receipt {
                    url: shown.as_ref().map(Url::to_string),
                    note: Some(TAKEN.to_owned()),
                    // Whatever stands in an answer of any kind, our own key is what we know it by.
                    ..Receipt::of(post.key.as_str())
                },
            }),
            Proofs::Address => match named {
                Some(named) if named.url.is_some() => Ok(named.receipt(post)),
                Some(_) => unreadable("did not give the page's https address in \"url\""),
                None => unreadable("its body is not JSON"),
            },
        }
    }
}

/// What an answer names.
struct Named {
    id: Option<String>,
    url: Option<String>,
}

impl Named {
    fn receipt(self, post: &Post) -> Receipt {
        Receipt {
            remote_id: self.id.unwrap_or_else(|| post.key.to_string()),
            url: self.url,
            version: None,
            note: None,
        }
    }
}

/// `id` and `url` of a JSON answer, as far as they can be used; `None` if it is no JSON.
fn named(answer: &Answer) -> Option<Named> {
    let body = answer.json()?;
    let id = match body.get("id") {
        Some(serde_json::Value::String(id)) => Some(id.clone()),
        Some(serde_json::Value::Number(id)) => Some(id.to_string()),
        Some(
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_),
        )
        | None => None,
    }
    // An id becomes a path segment when the post is taken away; `.` and `..` would name the endpoint itself.
    .filter(|id| !matches!(id.as_str(), "" | "." | ".."))
    .filter(|id| id.len() <= MAX_REMOTE && !id.chars().any(char::is_control));
    let url = body
        .get("url")
        .and_then(serde_json::Value::as_str)
        .filter(|url| url.len() <= MAX_REMOTE)
        .and_then(|url| Url::parse(url).ok())
        .filter(is_public_or_loopback)
        .map(String::from);
    Some(Named { id, url })
}

/// https, or http on this machine: what may be shown as a link.
fn is_public_or_loopback(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        },
        _ => false,
    }
}

fn says_json(answer: &Answer) -> bool {
    answer
        .headers
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .map(|v| {
            v.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        })
        .is_some_and(|v| v == "application/json" || v.ends_with("+json"))
}

/// What any other status than 2xx and 409 means.
fn failure(answer: &Answer) -> SendError {
    let status = answer.status;
    let reason = |text: &str| {
        Reason::new(
            format!("http-{status}"),
            format!("the receiver answered {status}: {text}"),
        )
    };
    match status {
        401 | 403 => SendError::Credential(reason(
            "it refuses the credential; set bearer or hmac_key again with `vardkase credentials set`",
        )),
        300..=399 => SendError::Refused(Reason::new(
            "redirect",
            format!("the receiver answered {status}, a redirect; put the final address into endpoint"),
        )),
        429 => SendError::Busy {
            until: answer.retry_after(),
            reason: reason("it asks us to wait"),
            scope: Busy::Account,
        },
        408 | 425 | 503 => match answer.retry_after() {
            Some(until) => SendError::Busy {
                until: Some(until),
                reason: reason("it asks us to wait"),
                scope: Busy::Account,
            },
            None => SendError::NotSent(reason("it did nothing")),
        },
        400..=499 => SendError::Refused(reason("it does not take the document")),
        _ => SendError::Unknown(reason("it does not say whether it did anything")),
    }
}

/// Hex HMAC-SHA256 of `<unix seconds>.<body>`.
fn sign(key: &SecretString, at: i64, body: &[u8]) -> Result<String, SendError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).map_err(|_| {
        SendError::Credential(Reason::new("bad-credential", "hmac_key cannot be used as a key"))
    })?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

#[async_trait]
impl Channel for Receiver {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let document = Document::of(post, &self.sender);
        let body = serde_json::to_vec(&document).map_err(|error| {
            SendError::Refused(Reason::new(
                "document",
                format!("cannot be written as JSON: {error}"),
            ))
        })?;
        let request = |at: Timestamp| {
            let request = self.request(at, Method::POST, &self.endpoint, &body)?;
            Ok(request
                .header("content-type", "application/json")
                .header("accept", "application/json")
                .header(&self.idempotency_header, post.key.as_str())
                .body(body.clone()))
        };
        let answer = self.http.send_signed(request, Effect::Writes).await?;
        let outcome = self.classify(&answer, post);
        if self.wants != Proofs::Address || !answer.is_success() {
            return outcome;
        }
        let Err(SendError::Unknown(reason)) = outcome else {
            return outcome;
        };
        let times = post
            .steps
            .get(NAMELESS)
            .map_or(0, |times| times.parse().unwrap_or(1))
            + 1;
        // Err: it is counted anew, which costs one more attempt under the same key.
        drop(post.steps.record(NAMELESS, &times.to_string()).await);
        if times < ENOUGH {
            return Err(SendError::Unknown(reason));
        }
        let text = format!(
            "{}, {times} times; look whether the message shows, and mend the receiver or set answer = \"status\" on the \
             account",
            reason.text
        );
        Err(SendError::Refused(Reason::new("no-address", text)))
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        if self.keyed {
            Ok(Settled::Absent)
        } else {
            Ok(Settled::Unclear(Reason::new(
                "no-key",
                "the receiver does not recognise a repeat (keyed = false), and it cannot be read back",
            )))
        }
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let url = transport::below(&self.endpoint, [receipt.remote_id.as_str()]);
        let request = |at: Timestamp| self.request(at, Method::DELETE, &url, b"");
        let answer = self.http.send_signed(request, Effect::Writes).await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            405 | 501 => Err(SendError::Refused(Reason::new(
                format!("http-{}", answer.status),
                "the receiver does not take posts away; do it there by hand",
            ))),
            _ => Err(failure(&answer)),
        }
    }

    async fn place(&self, page: &StandingPage) -> Result<Option<String>, SendError> {
        let document = standing(page).map_err(SendError::Refused)?;
        let request = |at: Timestamp| {
            let request = self.request(at, Method::POST, &self.endpoint, &document)?;
            Ok(request
                .header("content-type", "application/json")
                .header("accept", "application/json")
                .header(&self.idempotency_header, page.key.as_str())
                .body(document.clone()))
        };
        let answer = self.http.send_signed(request, Effect::Writes).await?;
        match answer.status {
            200..=299 => Ok(named(&answer).and_then(|named| named.url)),
            _ => Err(failure(&answer)),
        }
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let request = |at: Timestamp| self.request(at, Method::OPTIONS, &self.endpoint, b"");
        let answer = self.http.send_signed(request, Effect::Reads).await?;
        if matches!(answer.status, 401 | 403) {
            return Err(failure(&answer));
        }
        // Any other answer shows that somebody is there; plain servers say 404 or 405 to OPTIONS.
        let host = self.endpoint.host_str().unwrap_or_default();
        Ok(Identity {
            name: host.to_owned(),
            facts: BTreeMap::from([("answered".to_owned(), answer.status.to_string())]),
            proves: Proves::Presence,
            ..Identity::default()
        })
    }
}

#[cfg(test)]
mod tests;
