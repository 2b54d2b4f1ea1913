//! Notifications to browsers that have subscribed on the municipality's site: Web Push (RFC 8030), encrypted for each
//! subscription (RFC 8291) and signed with the site's own key (RFC 8292).
//!
//! The protocol knows no key and cannot be asked. What makes a repeat harmless is that it bears the same topic, which
//! replaces a message that still waits, and the same tag and id, by which the browser replaces a notification that is shown
//! already. A site
//! whose service worker does not use the tag says so with `keyed = false`.
//!
//! An endpoint comes from whoever subscribed, and it is a secret of theirs: only known push services are spoken to, and
//! nothing of the address but its host is ever shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::shown::below_headline;
use super::transport::{Answer, Effect, Transport, below};
use super::{Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Settings, Shown, WallSite};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::{Section, is_loopback_host, quoted};
use crate::model::AddressKind;
use crate::model::{
    Busy, Kind as Does, ListId, Mode, Post, Proof, Proves, Question, Reason, Receipt, Rendering, SendError,
    Settled, Unit,
};

mod ece;
mod subscription;
mod vapid;

use subscription::Subscription;
use vapid::Vapid;

/// Notifications to browsers that have subscribed.
pub static KIND: Kind = Kind {
    id: "web-push",
    about: "Notifications to browsers that have subscribed, each a message of its own",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
        link_card: false,
        recipients: true,
        by_hand: false,
        profile: false,
        backstage: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "vapid_private_key",
            required: true,
            internal: false,
        }];
        SECRETS
    },
    // No limit is published; services ask for patience with 429, each subscription for itself.
    pace: Pace {
        attempts: 6000,
        per: Duration::from_mins(1),
        burst: 100,
        parallel: 16,
    },
    verify_every: Duration::ZERO,
    read,
};

/// Where browsers of the great makers get their messages (reference page §1); also every host below these.
const SERVICES: &[&str] = &[
    "fcm.googleapis.com",
    "notify.windows.com",
    "push.services.mozilla.com",
    "push.apple.com",
];
/// Longest text unless the account says otherwise: what a phone shows of an opened notification, with headroom.
const DEFAULT_MAX_BYTES: u32 = 1000;
/// A message is kept for four weeks at most, which is what the services take.
const LONGEST_TTL: i64 = 28 * 24 * 3600;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let list: Option<ListId> = section.required("list", "the id of a [list.<id>]");
    let expected = "an address where the push services reach you, such as \"mailto:kris@nassjo.se\"";
    let subject = section.required_text("subject", 200, expected);
    if let Some(subject) = &subject
        && let Err(wrong) = vapid::check_subject(subject)
    {
        section.problem("subject", format!("found {}; {wrong}", quoted(subject)));
    }
    let given = section.strings("push_services", "host names such as \"push.example.net\"");
    let mut services: Vec<String> = SERVICES.iter().map(|service| (*service).to_owned()).collect();
    if let Some(given) = given {
        services.clear();
        for host in given {
            match url::Host::parse(&host.value) {
                Ok(_) if host.value.contains('.') || host.value == "localhost" => {
                    services.push(host.value.to_ascii_lowercase());
                }
                Ok(_) | Err(_) => {
                    let text = format!("found {}, expected a host name", quoted(&host.value));
                    section.problem_at(host.place, "push_services", text);
                }
            }
        }
    }
    let keyed = section.optional::<bool>("keyed", "true or false").unwrap_or(true);
    let max_bytes = section
        .number_within("max_bytes", 100, 3000)
        .unwrap_or(DEFAULT_MAX_BYTES);
    let base_url = section.address("base_url", false);
    if base_url
        .as_ref()
        .is_some_and(|url| !url.host_str().is_some_and(is_loopback_host))
    {
        let text = "stands in for every push service in practice and must be on this machine; leave it out";
        section.problem("base_url", text);
    }
    if section.is_broken() {
        return None;
    }
    Some(Box::new(WebPush {
        list: list?,
        subject: subject?,
        services,
        keyed,
        max_bytes: usize::try_from(max_bytes).ok()?,
        base_url,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct WebPush {
    list: ListId,
    subject: String,
    services: Vec<String>,
    keyed: bool,
    max_bytes: usize,
    /// The practice wall: everything goes there, encrypted for its own key, and nothing to the subscriptions.
    base_url: Option<Url>,
}

impl Settings for WebPush {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(self.max_bytes),
            unit: Unit::Bytes,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            base_url: Some(site.base.clone()),
            services: Vec::new(),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let base_url = self.base_url.as_ref();
        base_url
            .map(|url| ("base_url", url.to_string()))
            .into_iter()
            .collect()
    }

    fn list(&self) -> Option<&ListId> {
        Some(&self.list)
    }

    fn addresses_of(&self) -> AddressKind {
        AddressKind::Push
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("title", &rendering.headline),
            Shown::new("body", below_headline(rendering)),
            Shown::new("opens", rendering.link.as_str()),
        ]
    }

    fn proof(&self) -> Option<Proof> {
        (!self.keyed).then_some(Proof::Unproven)
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let key = parts.secrets.require("vapid_private_key")?;
        let vapid = Vapid::new(key.expose_secret(), &self.subject)?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            vapid,
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: WebPush,
    vapid: Vapid,
    http: Transport,
}

impl Account {
    /// Where the message goes and for whom it is encrypted.
    fn target(&self, post: &Post) -> Result<Subscription, SendError> {
        let refused = |code: &str, text: String| Err(SendError::Refused(Reason::new(code, text)));
        let Some(recipient) = &post.recipient else {
            return refused("recipient", "a notification needs a subscription".to_owned());
        };
        let subscription = match Subscription::parse(recipient.address()) {
            Ok(subscription) => subscription,
            Err(wrong) => return refused("recipient", format!("not a subscription: {wrong}")),
        };
        if let Some(base) = &self.settings.base_url {
            let digest = hex::encode(Sha256::digest(subscription.endpoint.as_str()));
            let name: String = digest.chars().take(16).collect();
            let endpoint = below(base, ["push", name.as_str()]);
            return Subscription::practice(endpoint).map_err(SendError::Refused);
        }
        if !subscription.is_at(&self.settings.services) {
            let host = subscription.endpoint.host_str().unwrap_or_default().to_owned();
            let text = format!(
                "{host} is no push service that is known here; if it is one, add it to push_services in config.toml"
            );
            return refused("push-service", text);
        }
        Ok(subscription)
    }

    /// What it means that our signature is not taken. A subscription comes from the public and may bear anybody's key:
    /// that is its own failure, and the account's only if our signature does not hold.
    fn not_ours(&self, answer: &Answer) -> SendError {
        if let Err(broken) = self.vapid.check(answer.at) {
            return SendError::Credential(broken);
        }
        let text = format!(
            "the push service answered {}: it does not take our signature for this subscription, which was made with \
             another vapid_private_key; if it says so of many, subject is none that it takes or this machine's clock is \
             wrong",
            answer.status
        );
        SendError::Refused(Reason::new(OTHER_KEY, text))
    }

    /// What the answer of a push service means. Their bodies differ and say nothing that the status does not.
    fn classify(&self, answer: &Answer, post: &Post) -> Result<Receipt, SendError> {
        let status = answer.status;
        let reason = |text: &str| {
            Reason::new(
                format!("http-{status}"),
                format!("the push service answered {status}: {text}"),
            )
        };
        Err(match status {
            200..=299 => return Ok(Receipt::of(post.key.as_str())),
            401 | 403 => self.not_ours(answer),
            404 | 410 => {
                let text = format!("the push service answered {status}: the subscription has ended");
                SendError::Refused(Reason::new(subscription::GONE, text))
            }
            413 => SendError::Refused(reason("the message is too large; set a lower max_bytes")),
            429 => SendError::Busy {
                until: answer.retry_after(),
                scope: Busy::Recipient,
                reason: reason("it asks us to wait"),
            },
            503 => match answer.retry_after() {
                Some(until) => SendError::Busy {
                    until: Some(until),
                    scope: Busy::Recipient,
                    reason: reason("it asks us to wait"),
                },
                None => SendError::NotSent(reason("it did nothing")),
            },
            300..=399 => SendError::Refused(reason("a redirect, which is never followed")),
            400..=407 | 411..=499 => SendError::Refused(reason("it does not take the message")),
            _ => SendError::Unknown(reason("it does not say whether it did anything")),
        })
    }
}

/// Code of a refusal of our signature for one subscription.
const OTHER_KEY: &str = "other-key";

/// What the service worker gets: see `docs/channels/web-push.md`. The same bytes for every attempt. All that is said of an
/// alert has one tag, so that what is newer takes the place of what is shown, and an update makes itself heard again; by
/// `id` the worker knows a repeat, which does not.
fn payload(post: &Post) -> Vec<u8> {
    let rendering = &post.rendering;
    let lang = rendering.languages.first().map_or("sv", |lang| lang.as_str());
    let payload = json!({
        "title": rendering.headline,
        // The headline is the notification's title already.
        "body": below_headline(rendering),
        "url": rendering.link,
        "tag": post.alert.as_str(),
        "id": post.key.as_str(),
        "renotify": post.kind != Does::Initial,
        "lang": lang,
    });
    payload.to_string().into_bytes()
}

/// How many seconds a service may keep the message for a browser that is away.
fn ttl(post: &Post, now: Timestamp) -> i64 {
    post.valid_until
        .duration_since(now)
        .as_secs()
        .clamp(0, LONGEST_TTL)
}

/// At most 32 signs of the base64url alphabet: the alert's id. A subscription's topics are its own, so that it stands for
/// alert and recipient; what still waits of an alert is replaced by what is newer.
fn topic(post: &Post) -> String {
    let id = post.alert.as_str().chars();
    id.filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(32)
        .collect()
}

fn urgency(post: &Post) -> &'static str {
    match (post.mode, post.kind) {
        (Mode::Live, Does::Initial | Does::Update | Does::Correction) => "high",
        (Mode::Live, Does::AllClear) => "normal",
        (Mode::Drill | Mode::Test, _) => "low",
    }
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let target = self.target(post)?;
        let own = PrivateKey::generate(&ECDH_P256)
            .map_err(|_| SendError::NotSent(Reason::new("crypto", "no key could be made")))?;
        let body = ece::encrypt(&payload(post), &target, &own, rand::random()).map_err(SendError::Refused)?;
        let request = |at: Timestamp| {
            let token = self
                .vapid
                .authorization(&target.endpoint, at)
                .map_err(SendError::Credential)?;
            Ok(self
                .http
                .request(Method::POST, target.endpoint.clone())
                .header("authorization", token)
                .header("ttl", ttl(post, self.http.now()))
                .header("urgency", urgency(post))
                .header("topic", topic(post))
                .header("content-encoding", "aes128gcm")
                .header("content-type", "application/octet-stream")
                .body(body.clone()))
        };
        let answer = self.http.send_signed(request, Effect::Writes).await?;
        self.classify(&answer, post)
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        if self.settings.keyed {
            // The same topic and the same tag: a browser shows one notification.
            return Ok(Settled::Absent);
        }
        Ok(Settled::Unclear(Reason::new(
            "no-key",
            "a push service cannot be asked, and the site's service worker does not use the tag (keyed = false)",
        )))
    }

    /// Nobody can be asked without sending: what is proved is that our own signature holds.
    async fn verify(&self) -> Result<Identity, SendError> {
        self.vapid.check(self.http.now()).map_err(SendError::Credential)?;
        let facts = [
            ("public_key", self.vapid.public_key().to_owned()),
            (
                "checked",
                "the signature only; push services cannot be asked".to_owned(),
            ),
        ];
        Ok(Identity {
            name: self.settings.subject.clone(),
            // Another key is another account: no browser that let us in would listen to it.
            id: Some(self.vapid.public_key().to_owned()),
            facts: BTreeMap::from(facts.map(|(name, value)| (name.to_owned(), value))),
            proves: Proves::Nothing,
            ..Identity::default()
        })
    }
}

#[cfg(test)]
mod tests;
