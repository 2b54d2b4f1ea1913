//! A Facebook page, through the Graph API.
//!
//! The API knows no idempotency key, so that an attempt of unknown outcome is settled by reading the page back. No
//! request follows a published post: whatever else we would like to know must not turn it into a failure.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::graph::sign_in::{ByFacebook, Wanted};
use super::graph::{self, Fault};
use super::patience::{Patience, Search};
use super::transport::{Effect, Transport};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Secrets, Settings,
    WallSite,
};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    AccountId, Busy, DeliveryId, PictureRule, Post, Proof, Question, Reason, Receipt, SendError, Settled,
    Steps, Unit,
};

mod change;
mod face;
mod readback;
mod request;

use change::Photo;
use readback::{PAGE, PAGES};

/// A Facebook page.
pub static KIND: Kind = Kind {
    id: "facebook-page",
    about: "A Facebook page",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: true,
        retract: true,
        pin: true,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const fn secret(name: &'static str, required: bool) -> SecretName {
            SecretName {
                name,
                required,
                internal: false,
            }
        }
        const SECRETS: &[SecretName] = &[
            secret("access_token", true),
            secret("app_secret", false),
            // Of the app by which a person signs the page in; the second one is the app secret once more.
            secret("client_id", false),
            secret("client_secret", false),
        ];
        SECRETS
    },
    // No limit on posts is published; more than some 25 a day have been taken for spam.
    pace: Pace {
        attempts: 60,
        per: Duration::from_hours(1),
        burst: 10,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The page of every simulated account: the adapter of a drill does not even know the number of the real one.
pub(crate) const PRACTICE_PAGE: &str = "1055";

/// Counted in UTF-16 units, the most cautious reading of "characters" (reference page §3).
const MAX_UTF16: usize = 63_206;
/// Lives until 2028 at least (changelog of the Graph API, read 2026-08).
const DEFAULT_VERSION: &str = "v26.0";
/// How long after an attempt its post may take to show: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// The step that counts how often a request to post was about to leave.
const CREATE: &str = "create";
/// After so many attempts to post, words that Facebook refuses to take twice and that are not found are not ours.
const TRIES: u32 = 4;
/// After so many answers of code 1 the link card is left out: that code also hides a preview that cannot be made.
const UNEXPLAINED: u32 = 2;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let page_id = section.required::<String>("page_id", "the page's number, such as \"105500000000001\"");
    if page_id.as_ref().is_some_and(|id| !is_number(id)) {
        section.problem(
            "page_id",
            "must be the page's number: digits only, in quotation marks",
        );
    }
    let version = section
        .optional::<String>("version", "a version of the Graph API, such as \"v26.0\"")
        .unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    if !is_version(&version) {
        section.problem(
            "version",
            format!("{version:?} is no version; expected one such as \"v26.0\""),
        );
    }
    let base_url = section.address("base_url", false);
    let login_url = section.address("login_url", false);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(FacebookPage {
        page_id: page_id?,
        base_url: match base_url {
            Some(url) => url,
            None => Url::parse("https://graph.facebook.com").ok()?,
        },
        login_url: match login_url {
            Some(url) => url,
            None => Url::parse("https://www.facebook.com").ok()?,
        },
        version,
        settle_wait,
    }))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 30 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v')
        .and_then(|text| text.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct FacebookPage {
    page_id: String,
    base_url: Url,
    /// Where a person signs the page in.
    login_url: Url,
    version: String,
    settle_wait: Duration,
}

impl Settings for FacebookPage {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_UTF16),
            unit: Unit::Utf16,
            also: None,
        }
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(change::RULE)
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            page_id: PRACTICE_PAGE.to_owned(),
            base_url: site.base.clone(),
            login_url: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", self.base_url.to_string()),
            ("login_url", self.login_url.to_string()),
            ("page_id", self.page_id.clone()),
        ]
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        let wanted = Wanted::Page(self.page_id.clone());
        Some(Box::new(ByFacebook::new(
            &self.login_url,
            &self.base_url,
            &self.version,
            wanted,
            parts,
        )))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            id: parts.account,
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http.metered(super::quota::graph),
            throttled: AtomicU32::new(0),
            unexplained: Mutex::default(),
            warned: AtomicBool::new(false),
        }))
    }
}

/// The adapter of one account. What it remembers only makes it gentler; losing it in a restart does no harm.
#[derive(Debug)]
struct Account {
    id: AccountId,
    settings: FacebookPage,
    secrets: Arc<dyn Secrets>,
    http: Transport,
    /// Throttles in a row.
    throttled: AtomicU32,
    /// The delivery that was last answered with code 1, and how often.
    unexplained: Mutex<Option<(DeliveryId, u32)>>,
    /// Whether it was said that the service answers in another version.
    warned: AtomicBool,
}

/// What stands beside the words.
enum Beside {
    Nothing,
    /// A card of the page that the message links to.
    Card,
    /// An uploaded photo.
    Photo(String),
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let explained = self.unexplained(&post.key) < UNEXPLAINED;
        // A photo takes the place of the card. What answers code 1 again and again goes out as text alone.
        let photo = if explained {
            self.photo(post, false).await?
        } else {
            Ok(None)
        };
        let before = begun(&post.steps);
        post.steps
            .record(CREATE, &before.saturating_add(1).to_string())
            .await
            .map_err(SendError::NotSent)?;
        let left_out = match photo {
            Ok(Some(photo)) => match self.publish_photo(post, photo, before).await? {
                Ok(receipt) => return Ok(receipt),
                Err(why) => Some(why),
            },
            Ok(None) if post.picture.is_some() => {
                Some("the service gave no reason why the post failed with it".to_owned())
            }
            Ok(None) => None,
            Err(why) => Some(why),
        };
        if let Some(why) = left_out {
            let note = change::without_picture(&why);
            without::note_down(&post.steps, without::PICTURE, &note).await?;
        }
        self.publish_text(post, explained, before).await
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        if begun(&question.post.steps) == 0 {
            return Ok(Settled::Absent);
        }
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            patience.before(look).await;
            if let Some(settled) = Search::settles(self.search(question).await, PAGE * PAGES)? {
                return Ok(settled);
            }
        }
        patience.absent(question)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.take_away(receipt).await
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        self.change(receipt, post).await
    }

    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.keep_on_top(receipt, true).await
    }

    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.keep_on_top(receipt, false).await
    }

    fn quota(&self) -> Option<crate::model::Quota> {
        self.http.quota()
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

impl Account {
    /// Posts the text with its photo; or why the text has to go alone. A photo of an earlier attempt may be forgotten by
    /// now, so that it is uploaded once more.
    async fn publish_photo(
        &self,
        post: &Post,
        photo: Photo,
        before: u32,
    ) -> Result<Result<Receipt, String>, SendError> {
        without::take_back(&post.steps, without::PICTURE).await?;
        let Photo { mut id, mut kept } = photo;
        loop {
            let why = match self.create(post, &Beside::Photo(id)).await? {
                Ok(receipt) => return Ok(Ok(receipt)),
                // Nothing was made. Whether it is the photo or the text that it will not have, the text alone tells.
                Err(Fault::Refused(reason) | Fault::Missing(reason) | Fault::Link(reason)) => reason.text,
                Err(fault) => return Err(self.on_create(fault, post, before)),
            };
            if !kept {
                return Ok(Err(why));
            }
            match self.photo(post, true).await? {
                Ok(Some(fresh)) => (id, kept) = (fresh.id, false),
                Ok(None) => return Ok(Err(why)),
                Err(why) => return Ok(Err(why)),
            }
        }
    }

    async fn publish_text(&self, post: &Post, with_card: bool, before: u32) -> Result<Receipt, SendError> {
        if with_card {
            without::take_back(&post.steps, without::CARD).await?;
            match self.create(post, &Beside::Card).await? {
                Ok(receipt) => return Ok(noted(receipt, &post.steps)),
                // The service will not have the link as a card and has made nothing. The text contains it anyway, and
                // the text has to get out.
                Err(Fault::Link(_)) => {}
                Err(fault) => return Err(self.on_create(fault, post, before)),
            }
        }
        without::note_down(&post.steps, without::CARD, WITHOUT_CARD).await?;
        match self.create(post, &Beside::Nothing).await? {
            Ok(receipt) => Ok(noted(receipt, &post.steps)),
            Err(fault) => Err(self.on_create(fault, post, before)),
        }
    }

    /// Makes the post. The outer error is one of contact, the inner one the service's own.
    async fn create(&self, post: &Post, beside: &Beside) -> Result<Result<Receipt, Fault>, SendError> {
        let link = post.rendering.link.as_str();
        let mut parameters = vec![
            ("message", post.rendering.text.as_str()),
            ("fields", "id,permalink_url"),
        ];
        let media = match beside {
            Beside::Photo(id) => change::attached(id),
            Beside::Nothing | Beside::Card => String::new(),
        };
        match beside {
            Beside::Nothing => {}
            Beside::Card => parameters.push(("link", link)),
            Beside::Photo(_) => parameters.push(("attached_media", &media)),
        }
        let path = [self.settings.page_id.as_str(), "feed"];
        let answer = self
            .send(Method::POST, &path, &parameters, Effect::Writes)
            .await?;
        if let Some(fault) = graph::fault(&answer) {
            return Ok(Err(fault));
        }
        self.throttled.store(0, Ordering::Relaxed);
        let unreadable = || {
            let text = format!("the service answered {} without a readable post", answer.status);
            SendError::Unknown(Reason::new("unreadable", text))
        };
        let body = answer.json().ok_or_else(unreadable)?;
        receipt(&body).map(Ok).ok_or_else(unreadable)
    }

    /// What a fault means where something may have been made, `before` times by earlier attempts.
    fn on_create(&self, fault: Fault, post: &Post, before: u32) -> SendError {
        match fault {
            Fault::Credential(reason) => SendError::Credential(reason),
            Fault::Throttled { reason, until, at } => self.busy(reason, until, at),
            Fault::Refused(reason) | Fault::Missing(reason) | Fault::Link(reason) => {
                SendError::Refused(reason)
            }
            Fault::Unexplained(reason) => {
                self.note_unexplained(&post.key);
                SendError::Unknown(reason)
            }
            // These words are not from us: no request to post had left before, or it was settled often enough.
            Fault::Duplicate(reason) if before == 0 || before >= TRIES => {
                let text = format!(
                    "the same words stand on the page already, or stood there lately; change the text, for example by \
                     a time of day: {}",
                    reason.text
                );
                SendError::Refused(Reason::new("duplicate", text))
            }
            // A duplicate is our own earlier attempt, most likely: reading back adopts it.
            Fault::Duplicate(reason) | Fault::Temporary(reason) => SendError::Unknown(reason),
        }
    }

    /// What a fault means where nothing can have been made.
    fn on_read(&self, fault: Fault) -> SendError {
        match fault {
            Fault::Credential(reason) => SendError::Credential(reason),
            Fault::Throttled { reason, until, at } => self.busy(reason, until, at),
            Fault::Refused(reason)
            | Fault::Missing(reason)
            | Fault::Link(reason)
            | Fault::Duplicate(reason) => SendError::Refused(reason),
            Fault::Unexplained(reason) | Fault::Temporary(reason) => SendError::NotSent(reason),
        }
    }

    /// Every call made while throttled prolongs it, so that a time is always named: 5, 10, 20, 40, 60 minutes where the
    /// service gives none.
    fn busy(&self, reason: Reason, until: Option<Timestamp>, at: Timestamp) -> SendError {
        let before = self.throttled.fetch_add(1, Ordering::Relaxed);
        let minutes = 60.min(5_u64 << before.min(4));
        SendError::Busy {
            until: until.or_else(|| Some(crate::clock::later(at, Duration::from_mins(minutes)))),
            reason,
            scope: Busy::Account,
        }
    }

    fn unexplained(&self, key: &DeliveryId) -> u32 {
        let unexplained = self.unexplained.lock().unwrap_or_else(PoisonError::into_inner);
        unexplained
            .as_ref()
            .filter(|(of, _)| of == key)
            .map_or(0, |(_, times)| *times)
    }

    fn note_unexplained(&self, key: &DeliveryId) {
        let times = self.unexplained(key) + 1;
        *self.unexplained.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.clone(), times));
    }
}

fn receipt(post: &Value) -> Option<Receipt> {
    let id = post["id"]
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= 200)?;
    let url = post["permalink_url"]
        .as_str()
        .and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http"));
    Some(Receipt {
        url: url.map(String::from),
        ..Receipt::of(id)
    })
}

const WITHOUT_CARD: &str = "without a link card, which the service refused; the link stands in the text";

/// The receipt, with what the post goes without.
fn noted(receipt: Receipt, steps: &Steps) -> Receipt {
    Receipt {
        note: without::note(steps, receipt.note),
        ..receipt
    }
}

/// How often a request to post this was about to leave.
fn begun(steps: &Steps) -> u32 {
    let step = steps.get(CREATE);
    // What cannot be read was written by us all the same.
    step.map_or(0, |times| times.parse().unwrap_or(1))
}

fn created(post: &Value) -> Option<Timestamp> {
    let text = post["created_time"].as_str()?;
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", text).ok()
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the service's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
