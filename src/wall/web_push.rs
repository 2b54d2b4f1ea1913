//! A simulated push service and the browser behind it: `docs/channels/web-push.md` as a program. It checks who sends,
//! decrypts with the browser's own key, and shows what a service worker would. Stricter than the real ones: what is inside
//! must be the document that our service worker knows, with no other field.

use std::collections::BTreeMap;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Posted;
use super::sim::{Call, Simulator, page, reply};
use crate::model::{AccountId, Mode};

mod browser;

/// Most bytes of a message.
const MAX_BODY: usize = 4096;
/// Longest life of a token.
const DAY: i64 = 24 * 3600;
/// How far ahead clocks may be.
const SKEW: i64 = 60;
/// A message is kept for so long at most.
const LONGEST_TTL: u64 = 28 * 24 * 3600;

/// What the service worker understands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification {
    title: String,
    body: String,
    url: Url,
    tag: String,
    id: String,
    renotify: bool,
    lang: String,
}

/// What the service says no with.
struct Refusal(u16, &'static str);

/// The service, and the key that its subscriptions were made with.
pub struct WebPush {
    account: AccountId,
    private: String,
    public: Vec<u8>,
}

impl WebPush {
    /// A service that knows one sender.
    pub fn new(account: &AccountId) -> Self {
        let (private, public) = loop {
            let private: [u8; 32] = rand::random();
            // All but a few numbers are keys.
            let key = PrivateKey::from_private_key(&ECDH_P256, &private).ok();
            let public = key.and_then(|key| key.compute_public_key().ok());
            if let Some(public) = public {
                break (private, public.as_ref().to_vec());
            }
        };
        Self {
            account: account.clone(),
            private: URL_SAFE_NO_PAD.encode(private),
            public,
        }
    }

    /// RFC 8292: a token of ES256 for this very origin, by the key that the subscription was made with.
    fn check_sender(&self, call: &Call<'_>) -> Result<(), Refusal> {
        const NO: Refusal = Refusal(403, "BadJwtToken");
        let given = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("vapid "))
            .ok_or(Refusal(401, "MissingAuthorization"))?;
        let parts: BTreeMap<&str, &str> = given
            .split(',')
            .filter_map(|part| part.trim().split_once('='))
            .collect();
        let (Some(token), Some(key), 2) = (parts.get("t"), parts.get("k"), parts.len()) else {
            return Err(Refusal(401, "MissingAuthorization"));
        };
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| NO);
        if decoded(key)? != self.public {
            return Err(Refusal(403, "VapidPkHashMismatch"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(NO)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public)
            .verify(signed.as_bytes(), &decoded(signature)?)
            .map_err(|_| NO)?;
        let (head, claims) = signed.split_once('.').ok_or(NO)?;
        let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).map_err(|_| NO);
        let (head, claims) = (json(head)?, json(claims)?);
        let origin = Url::parse(call.base).map(|base| base.origin().ascii_serialization());
        let expires = claims["exp"].as_i64().unwrap_or(0) - call.now.as_second();
        let subject = claims["sub"].as_str().unwrap_or_default();
        let fits = head == json!({"typ": "JWT", "alg": "ES256"})
            && origin.is_ok_and(|origin| claims["aud"] == origin.as_str())
            && (0..=DAY + SKEW).contains(&expires)
            && (subject.starts_with("mailto:") || subject.starts_with("https://"))
            && !subject.contains(' ');
        if fits { Ok(()) } else { Err(NO) }
    }

    fn take(&self, name: &str, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        self.check_sender(call)?;
        let header = |name: &str| call.header(name).unwrap_or_default();
        let ttl: u64 = header("ttl").parse().map_err(|_| Refusal(400, "MissingTTL"))?;
        let ttl = ttl.min(LONGEST_TTL);
        if header("content-encoding") != "aes128gcm" || header("content-type") != "application/octet-stream" {
            return Err(Refusal(400, "BadContentEncoding"));
        }
        if !matches!(header("urgency"), "very-low" | "low" | "normal" | "high" | "") {
            return Err(Refusal(400, "BadUrgency"));
        }
        let topic = header("topic").to_owned();
        let is_sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if topic.len() > 32 || !topic.bytes().all(is_sign) {
            return Err(Refusal(400, "BadTopic"));
        }
        if call.body.len() > MAX_BODY {
            return Err(Refusal(413, "PayloadTooLarge"));
        }
        let plain = browser::decrypt(call.body).ok_or(Refusal(400, "CannotDecrypt"))?;
        let shown: Notification = serde_json::from_slice(&plain).map_err(|_| Refusal(400, "NotOurs"))?;
        if shown.title.trim().is_empty()
            || shown.lang.is_empty()
            || shown.tag.is_empty()
            || shown.id.is_empty()
            || (shown.url.scheme() != "https" && !super::server::is_loopback(&shown.url))
        {
            return Err(Refusal(400, "NotOurs"));
        }
        let urgency = header("urgency").to_owned();
        self.show(
            name,
            shown,
            call,
            &[("urgency", urgency), ("topic", topic), ("ttl", ttl.to_string())],
        );
        let mut answer = reply(201, &json!({}));
        answer.body_mut().clear();
        let location = format!("{}/message/{}", call.base, hex::encode(rand::random::<[u8; 8]>()));
        for (name, value) in [("location", location), ("ttl", ttl.to_string())] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(name, value);
            }
        }
        Ok(answer)
    }

    /// One notification per tag: a later one takes the place of the first; a repeat does so in silence.
    fn show(&self, name: &str, shown: Notification, call: &mut Call<'_>, about: &[(&str, String)]) {
        let text = format!("{}\n\n{}", shown.title, shown.body);
        let mut of_browser = call
            .book
            .posts
            .iter_mut()
            .filter(|posted| posted.recipient.as_deref() == Some(name));
        if let Some(posted) = of_browser.by_ref().find(|posted| posted.remote_id == shown.id) {
            if posted.text != text {
                posted.text = text;
                posted.edited_at = Some(call.now);
            }
            return;
        }
        let earlier = call.book.posts.iter_mut().filter(|posted| {
            posted.recipient.as_deref() == Some(name) && posted.shown.get("tag") == Some(&shown.tag)
        });
        let mut replaces = false;
        for posted in earlier {
            posted.shown.insert("replaced".to_owned(), shown.id.clone());
            replaces = true;
        }
        let mut about: BTreeMap<String, String> = about
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        // A browser that shows something new under a known tag makes no sound unless it is told to.
        let alerts = !replaces || shown.renotify;
        about.extend([
            ("lang".to_owned(), shown.lang),
            ("tag".to_owned(), shown.tag),
            ("alerts".to_owned(), if alerts { "yes" } else { "no" }.to_owned()),
        ]);
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: shown.id.clone(),
            text,
            links: vec![shown.url.to_string()],
            key: Some(shown.id),
            in_reply_to: None,
            recipient: Some(name.to_owned()),
            subject: Some(shown.title),
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: about,
        });
    }
}

impl Simulator for WebPush {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![("vapid_private_key".to_owned(), self.private.clone())]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path = call.path.to_owned();
        let name = path
            .strip_prefix("/push/")
            .filter(|name| !name.is_empty() && !name.contains('/'));
        match (call.method.clone(), name) {
            (Method::POST, Some(name)) => self
                .take(name, &mut call)
                .unwrap_or_else(|Refusal(status, reason)| reply(status, &json!({"reason": reason}))),
            (_, Some(_)) => reply(405, &json!({"reason": "MethodNotAllowed"})),
            (_, None) => page(None),
        }
    }
}
