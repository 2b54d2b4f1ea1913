//! The simulators of `webhook` and `http-json`: a site's own receiver that takes the alert document, strictly.
//!
//! Rules from `reference/channels/website.md` §6 and the adapters' document, version 1.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Response};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Posted;
use super::sim::{Call, Simulator, error, reply};
use crate::clock::Timestamp;
use crate::model::{AccountId, Kind, Lang, Mode};

/// A signature older or newer than this is a replay.
const SKEW_SECONDS: i64 = 300;
/// Keys that are remembered; the oldest go first.
const KEYS_CAP: usize = 100_000;

/// The document that both adapters send. An unknown or missing field is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read in order to be refused when it does not fit")]
struct Document {
    version: u32,
    id: String,
    alert: String,
    broadcast: String,
    kind: Kind,
    mode: Mode,
    headline: String,
    text: String,
    link: url::Url,
    languages: Vec<Lang>,
    published: Timestamp,
    expires: Timestamp,
    references: Vec<String>,
    sender: String,
}

/// A page that stands for good. An unknown or missing field is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    version: u32,
    id: String,
    kind: String,
    name: String,
    headline: String,
    html: String,
    register: serde_json::Value,
    sender: String,
}

/// A receiver with its keys and the answers it gave.
pub(super) struct Receiver {
    account: AccountId,
    bearer: String,
    hmac_key: String,
    /// Whether the answer names the page's address.
    gives_url: bool,
    answers: BTreeMap<String, ([u8; 32], String)>,
    next: u64,
}

impl Receiver {
    /// The web site's own receiver: answers with the address of the page.
    pub fn http_json(account: &AccountId) -> Self {
        Self::new(account, true)
    }

    /// Any endpoint: answers with an id.
    pub fn webhook(account: &AccountId) -> Self {
        Self::new(account, false)
    }

    fn new(account: &AccountId, gives_url: bool) -> Self {
        Self {
            account: account.clone(),
            bearer: hex::encode(rand::random::<[u8; 16]>()),
            hmac_key: hex::encode(rand::random::<[u8; 16]>()),
            gives_url,
            answers: BTreeMap::new(),
            next: 0,
        }
    }

    /// Whether the request shows the bearer token or a fresh signature. What is shown must be right: a good token does
    /// not excuse a bad signature.
    fn is_authentic(&self, call: &Call<'_>) -> bool {
        let bearer = call.header("authorization").map(|value| {
            value
                .strip_prefix("Bearer ")
                .is_some_and(|token| same(token.as_bytes(), self.bearer.as_bytes()))
        });
        let signature = call
            .header("x-vardkase-signature")
            .map(|value| self.is_signed(call, value));
        call.guise.dead(call.now).is_none()
            && bearer.or(signature).is_some()
            && bearer.unwrap_or(true)
            && signature.unwrap_or(true)
    }

    fn is_signed(&self, call: &Call<'_>, signature: &str) -> bool {
        let Some(timestamp) = call.header("x-vardkase-timestamp") else {
            return false;
        };
        let fresh = seconds(timestamp)
            .is_some_and(|at| call.now.as_second().saturating_sub(at).abs() <= SKEW_SECONDS);
        let given = signature
            .strip_prefix("sha256=")
            .and_then(|text| hex::decode(text).ok());
        let (true, Some(given)) = (fresh, given) else {
            return false;
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.hmac_key.as_bytes()) else {
            return false;
        };
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(call.body);
        mac.verify_slice(&given).is_ok()
    }

    fn publish(&mut self, call: &mut Call<'_>) -> Response<Vec<u8>> {
        let is_json = call
            .header("content-type")
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return error(415, "the document must be application/json");
        }
        let kind = serde_json::from_slice::<serde_json::Value>(call.body).unwrap_or_default();
        if self.gives_url && kind["kind"] == "register" {
            return self.stand(call);
        }
        let document: Document = match serde_json::from_slice(call.body) {
            Ok(document) => document,
            Err(wrong) => return error(400, &format!("not the alert document: {wrong}")),
        };
        if let Some(fault) = document.fault(call.now) {
            return error(422, fault);
        }
        let Some(key) = key(call, &document.id) else {
            return error(400, "an idempotency key is required");
        };
        if key.is_empty() || key.len() > 255 {
            return error(400, "the idempotency key must have 1 to 255 characters");
        }
        let digest: [u8; 32] = Sha256::digest(call.body).into();
        if let Some((body, id)) = self.answers.get(&key) {
            return if *body == digest {
                self.accepted(call, 200, id)
            } else {
                error(422, "this idempotency key came with another document before")
            };
        }
        let known = |id: &String| call.book.posts.iter().any(|p| &p.remote_id == id);
        if !document.references.iter().all(known) {
            return error(422, "a reference to a post that was never accepted");
        }
        self.next += 1;
        let id = format!("{}-{}", self.account, self.next);
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: document.mode,
            remote_id: id.clone(),
            text: document.text,
            links: vec![document.link.to_string()],
            key: Some(key.clone()),
            in_reply_to: document.references.last().cloned(),
            recipient: None,
            subject: Some(document.headline),
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: std::collections::BTreeMap::new(),
        });
        let answer = self.accepted(call, 201, &id);
        if self.answers.len() < KEYS_CAP {
            self.answers.insert(key, (digest, id));
        }
        answer
    }

    /// Takes a page that stands until it is replaced. Only the web site's own receiver keeps one.
    fn stand(&mut self, call: &mut Call<'_>) -> Response<Vec<u8>> {
        let document: Standing = match serde_json::from_slice(call.body) {
            Ok(document) => document,
            Err(wrong) => return error(400, &format!("not the page's document: {wrong}")),
        };
        let named = document
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if document.version != 1 || document.kind != "register" || !named || !document.register.is_object() {
            return error(422, "version, name or register");
        }
        if document.html.contains("<script")
            || document.headline.trim().is_empty()
            || document.sender.trim().is_empty()
        {
            return error(422, "a script, or an empty field");
        }
        let Some(key) = key(call, &document.id) else {
            return error(400, "an idempotency key is required");
        };
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: document.name.clone(),
            text: document.html,
            links: Vec::new(),
            key: Some(key),
            in_reply_to: None,
            recipient: None,
            subject: Some(document.headline),
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: std::collections::BTreeMap::new(),
        });
        self.accepted(call, 200, &document.name)
    }

    fn accepted(&self, call: &Call<'_>, status: u16, id: &str) -> Response<Vec<u8>> {
        if self.gives_url {
            reply(
                status,
                &json!({ "id": id, "url": format!("{}/sida/{id}", call.base) }),
            )
        } else {
            reply(status, &json!({ "id": id }))
        }
    }

    /// Taking away what is not there is done already.
    fn retract(call: &mut Call<'_>) -> Response<Vec<u8>> {
        let id = call.path.rsplit('/').next().unwrap_or_default();
        match call.book.posts.iter_mut().find(|p| p.remote_id == id) {
            Some(posted) if posted.deleted_at.is_none() => {
                posted.deleted_at = Some(call.now);
                no_content(204)
            }
            Some(_) | None => error(404, "no such post"),
        }
    }
}

impl Simulator for Receiver {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![
            ("bearer".to_owned(), self.bearer.clone()),
            ("hmac_key".to_owned(), self.hmac_key.clone()),
        ]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        // Residents read the page without credentials.
        if call.method == Method::GET && call.path.starts_with("/sida/") {
            return page(&call);
        }
        if !self.is_authentic(&call) {
            return error(401, "no valid bearer token or signature");
        }
        match *call.method {
            Method::POST => self.publish(&mut call),
            Method::DELETE => Self::retract(&mut call),
            // What a receiver answers to a probe that must not publish.
            Method::GET | Method::HEAD | Method::OPTIONS => reply(
                200,
                &json!({ "receiver": "Vårdkase övningsmottagare", "version": 1 }),
            ),
            _ => error(405, "POST, DELETE or GET"),
        }
    }
}

impl Document {
    fn fault(&self, now: Timestamp) -> Option<&'static str> {
        let blank = |text: &String| text.trim().is_empty();
        if self.version != 1 {
            Some("only version 1 is known")
        } else if [
            &self.id,
            &self.alert,
            &self.broadcast,
            &self.headline,
            &self.text,
            &self.sender,
        ]
        .into_iter()
        .any(blank)
        {
            Some("an empty field")
        } else if self.link.scheme() != "https" && !super::server::is_loopback(&self.link) {
            Some("the link must be https")
        } else if self.languages.is_empty() {
            Some("no language")
        } else if self.expires <= now {
            Some("expired already")
        } else {
            None
        }
    }
}

fn page(call: &Call<'_>) -> Response<Vec<u8>> {
    let id = call.path.strip_prefix("/sida/").unwrap_or_default();
    let found = call.book.posts.iter().find(|p| p.remote_id == id);
    let (status, text) = match found {
        Some(posted) if posted.deleted_at.is_none() => (200, posted.text.as_str()),
        Some(_) => (410, "Sidan är borttagen."),
        None => (404, "Sidan finns inte."),
    };
    let mut response = Response::new(text.as_bytes().to_vec());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn no_content(status: u16) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// The key under `Idempotency-Key` or a header named like it, or under whatever header the account's
/// `idempotency_header` names: there it is known by being the document's id.
fn key(call: &Call<'_>, id: &str) -> Option<String> {
    let named = super::server::idempotency_key(call.headers);
    let other = || call.headers.values().any(|value| value == id).then_some(id);
    named.or_else(other).map(str::to_owned)
}

/// A time as seconds since the epoch or RFC 3339.
fn seconds(text: &str) -> Option<i64> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_second))
}

/// Compares in a time that tells nothing of where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
        && a.len() == b.len()
        && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}
