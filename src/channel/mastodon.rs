//! A Mastodon account, or one on a server that speaks the same client API.
//!
//! Keyed: a Mastodon server remembers our `Idempotency-Key` for an hour and answers a repeat with the same post. Servers
//! that speak its language without being it may ignore the key, so that only reading the account back tells there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::transport::{Answer, Effect, Transport, below};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Secrets, Settings,
    WallSite,
};
use crate::clock::Timestamp;
use crate::compose::{TextRule, parts};
use crate::config::section::Section;
use crate::model::{PictureRule, Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

mod change;
mod face;
pub(super) mod html;
mod media;
mod readback;
mod sign_in;
mod thread;
mod verdict;

use readback::{Search, Wanted};

/// A Mastodon account.
pub static KIND: Kind = Kind {
    id: "mastodon",
    about: "A Mastodon account",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
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
        // The app that a sign-in registered: revoking the token takes its id and secret.
        const SECRETS: &[SecretName] = &[
            secret("access_token", true),
            secret("client_id", false),
            secret("client_secret", false),
        ];
        SECRETS
    },
    // 300 posts in 3 hours per account (rack_attack.rb and rate_limiter.rb, read 2026-08), with headroom.
    pace: Pace {
        attempts: 270,
        per: Duration::from_hours(3),
        burst: 20,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// What a server counts at most unless it says otherwise; most do not.
const DEFAULT_MAX_CHARACTERS: usize = 500;
/// How long after an attempt its post may take to show, where the key does not protect us.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(10);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Most parts of a long text.
const PARTS: usize = 10;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let server = section.address("server", true);
    let max_characters = section
        .optional::<usize>("max_characters", "a whole number of characters, such as 500")
        .unwrap_or(DEFAULT_MAX_CHARACTERS);
    if max_characters == 0 {
        section.problem("max_characters", "must be at least 1; servers give 500 or more");
    }
    let long = section.one_of("long", &["fit", "thread"]) == Some("thread");
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Mastodon {
        server: server?,
        max_characters,
        long,
        settle_wait,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Mastodon {
    server: Url,
    max_characters: usize,
    /// Whether a text may be longer than a post.
    long: bool,
    settle_wait: Duration,
}

impl Settings for Mastodon {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(self.max_characters),
            unit: Unit::MastodonCharacters,
            also: None,
        }
    }

    fn parts(&self) -> usize {
        if self.long { PARTS } else { 1 }
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(media::RULE)
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            server: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("server", self.server.to_string())]
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        Some(Box::new(sign_in::Registering::new(self, parts)))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            sender: parts.sender,
            secrets: parts.secrets,
            http: parts.http.metered(super::quota::mastodon),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: Mastodon,
    sender: String,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

/// One post of a text: the text itself, or a part of it.
struct Piece<'a> {
    text: &'a str,
    key: String,
    parent: Option<&'a str>,
    visibility: &'static str,
    picture: Option<&'a str>,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let begun = thread::begun(&post.steps);
        let texts = self.texts(post, begun.is_some());
        if let [text] = texts.as_slice() {
            return self.publish_one(post, text).await;
        }
        self.publish_thread(post, &texts, begun).await
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let post = &question.post;
        let begun = thread::begun(&post.steps);
        let texts = self.texts(post, begun.is_some());
        let total = texts.len();
        if total > 1 && begun.is_none() {
            // It is written down before the first part goes.
            return Ok(Settled::Absent);
        }
        let done: Vec<Receipt> = (1..=total).map_while(|n| thread::part(&post.steps, n)).collect();
        let Some(text) = texts.get(done.len()) else {
            let whole = thread::whole(&done).ok_or_else(|| no_sense("there is no part"))?;
            return Ok(Settled::Found(noted(whole, post)));
        };
        let wanted = Wanted {
            text,
            taken: &question.taken,
            under: done.last().map(|before| before.remote_id.as_str()),
        };
        let settled = self.settle_one(question, &wanted).await?;
        Ok(match settled {
            Settled::Found(part) => {
                let parts: Vec<Receipt> = done.into_iter().chain([part]).collect();
                if parts.len() < total {
                    // The thread goes on: the next attempt meets this part again, by its key or by reading back.
                    Settled::Absent
                } else {
                    let whole = thread::whole(&parts).ok_or_else(|| no_sense("there is no part"))?;
                    Settled::Found(noted(whole, post))
                }
            }
            other @ (Settled::Absent | Settled::Refused(_) | Settled::Unclear(_)) => other,
        })
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

const ME: &[&str] = &["api", "v1", "accounts", "verify_credentials"];

impl Account {
    fn url(&self, segments: &[&str]) -> Url {
        below(&self.settings.server, segments.iter().copied())
    }

    async fn send(&self, method: Method, url: Url, effect: Effect) -> Result<Answer, SendError> {
        self.send_request(self.http.request(method, url), effect).await
    }

    async fn send_request(
        &self,
        request: reqwest::RequestBuilder,
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let token = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        self.http
            .send(request.bearer_auth(token.expose_secret()), effect)
            .await
    }

    /// The text as posts: one, unless it is too long and the account makes threads (or this one was begun as one).
    fn texts(&self, post: &Post, begun: bool) -> Vec<String> {
        let rule = self.settings.text_rule();
        let parts = (self.settings.long || begun).then(|| parts::of(post, &self.sender, &rule));
        // What cannot be taken apart goes as it is, and the server says what it says.
        parts
            .flatten()
            .unwrap_or_else(|| vec![post.rendering.text.clone()])
    }

    async fn publish_one(&self, post: &Post, text: &str) -> Result<Receipt, SendError> {
        let attached = self.attach(post).await?;
        let piece = Piece {
            text,
            key: thread::key(post, 1),
            parent: post.parent.as_ref().map(|receipt| receipt.remote_id.as_str()),
            visibility: "public",
            picture: attached.id.as_deref(),
        };
        leave_out(post, attached.note.as_deref()).await?;
        let receipt = self.send_piece(post, &piece).await?;
        Ok(noted(receipt, post))
    }

    async fn publish_thread(
        &self,
        post: &Post,
        texts: &[String],
        begun: Option<Timestamp>,
    ) -> Result<Receipt, SendError> {
        let total = texts.len();
        let mut parts: Vec<Receipt> = (1..=total).map_while(|n| thread::part(&post.steps, n)).collect();
        let mut note = None;
        // Whether the next part may stand there already, although its id is not on disk.
        let mut uncertain = begun.filter(|_| parts.len() < total);
        if begun.is_none() {
            thread::begin(&post.steps, self.http.now()).await?;
        }
        for (text, n) in texts.iter().zip(1..).skip(parts.len()) {
            let before = parts.last().map(|part| part.remote_id.clone());
            let found = match uncertain.take() {
                Some(since) => self.look_again(post, text, before.as_deref(), since).await?,
                None => None,
            };
            let mut part = if let Some(part) = found {
                part
            } else {
                let attached = if n == 1 {
                    self.attach(post).await?
                } else {
                    media::Attached::default()
                };
                let piece = Piece {
                    text,
                    key: thread::key(post, n),
                    parent: before
                        .as_deref()
                        .or(post.parent.as_ref().map(|receipt| receipt.remote_id.as_str())),
                    // Followers see every part; the server's public timeline is not filled with them.
                    visibility: if n == 1 { "public" } else { "unlisted" },
                    picture: attached.id.as_deref(),
                };
                if n == 1 {
                    leave_out(post, attached.note.as_deref()).await?;
                }
                let sent = self.send_piece(post, &piece).await;
                sent.map_err(|error| thread::after_some(error, n, total))?
            };
            note = join(note, part.note.take());
            thread::record(&post.steps, n, &part).await?;
            parts.push(part);
        }
        let mut receipt = thread::whole(&parts).ok_or_else(|| no_sense("there is no part"))?;
        // Of a part that an earlier attempt made only the steps tell.
        receipt.note = without::joined(
            receipt
                .note
                .into_iter()
                .chain(note)
                .chain(without::note(&post.steps, None)),
        );
        Ok(receipt)
    }

    /// Whether a part of an earlier attempt stands there. Where reading back does not tell, the key has to.
    async fn look_again(
        &self,
        post: &Post,
        text: &str,
        under: Option<&str>,
        since: Timestamp,
    ) -> Result<Option<Receipt>, SendError> {
        let under = under.or(post.parent.as_ref().map(|receipt| receipt.remote_id.as_str()));
        let wanted = Wanted {
            text,
            taken: &[],
            under,
        };
        Ok(match self.search(&wanted, self.http.earliest(since)).await? {
            Search::Found(part) => Some(part),
            Search::NotThere | Search::TooMuch | Search::Closed(_) => None,
        })
    }

    /// Makes one post, giving up first what is not the text: the post that it answers to, then the picture.
    async fn send_piece(&self, post: &Post, piece: &Piece<'_>) -> Result<Receipt, SendError> {
        let (mut parent, mut picture) = (piece.parent, piece.picture);
        let mut answer = self.post(post, piece, parent, picture).await?;
        if answer.status == 404 && parent.is_some() {
            // The post that this answers to is gone. A server that says so has not yet looked at the key, so that the
            // same key serves for the text alone; if that post exists already, it is what comes back.
            parent = None;
            without::note_down(&post.steps, without::PARENT, ALONE).await?;
            answer = self.post(post, piece, parent, picture).await?;
        }
        if picture.is_some() && matches!(answer.status, 400 | 404 | 422) {
            // Nothing was made. Whether it is the picture or the text that it will not have, the text alone tells.
            let refused = verdict::of_write(&answer);
            if matches!(refused, SendError::Refused(_)) {
                picture = None;
                let why = media::Attached::without(&refused.reason().text).note;
                leave_out(post, why.as_deref()).await?;
                answer = self.post(post, piece, parent, picture).await?;
            }
        }
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let body = answer.json().unwrap_or(Value::Null);
        let mut receipt = receipt(&body).ok_or_else(|| verdict::unreadable(&answer))?;
        let mut note = None;
        // The key led to an earlier attempt's post, which had gone without.
        let bare = body["media_attachments"].as_array().is_some_and(Vec::is_empty);
        if picture.is_some() && bare && without::of(&post.steps, without::PICTURE).is_none() {
            note = join(
                note,
                media::Attached::without("an earlier attempt had left it out").note,
            );
        }
        if let Some(shown) = body["visibility"].as_str().filter(|v| *v != piece.visibility) {
            note = join(note, Some(format!("the server shows it as {}", brief(shown))));
        }
        receipt.note = note;
        Ok(receipt)
    }

    async fn post(
        &self,
        post: &Post,
        piece: &Piece<'_>,
        parent: Option<&str>,
        picture: Option<&str>,
    ) -> Result<Answer, SendError> {
        // The account's own default may be unlisted or private: what residents must see is said to be public.
        let mut body = json!({"status": piece.text, "visibility": piece.visibility});
        if let Some(language) = post.rendering.languages.first() {
            body["language"] = language.as_str().into();
        }
        if let Some(parent) = parent {
            body["in_reply_to_id"] = parent.into();
        }
        if let Some(picture) = picture {
            body["media_ids"] = json!([picture]);
        }
        let request = self
            .http
            .request(Method::POST, self.url(&["api", "v1", "statuses"]))
            .header("Idempotency-Key", piece.key.as_str())
            .json(&body);
        self.send_request(request, Effect::Writes).await
    }

    /// Whether the server is a Mastodon that keeps idempotency keys. Others imitate everything but this.
    async fn honours_keys(&self) -> Result<bool, SendError> {
        let instance = self.instance().await?;
        Ok(instance.is_some_and(|instance| instance["api_versions"]["mastodon"].is_number()))
    }

    /// What the server says of itself; `None` if it is too old to say it here.
    async fn instance(&self) -> Result<Option<Value>, SendError> {
        let answer = self
            .http
            .request(Method::GET, self.url(&["api", "v2", "instance"]));
        let answer = self.http.send(answer, Effect::Reads).await?;
        Ok(answer.json().filter(|_| answer.is_success()))
    }

    /// What the token may do; `None` if the server does not say.
    async fn scopes(&self) -> Result<Option<Vec<String>>, SendError> {
        let url = self.url(&["api", "v1", "apps", "verify_credentials"]);
        let answer = self.send(Method::GET, url, Effect::Reads).await?;
        let app = answer.json().filter(|_| answer.is_success());
        let scopes = app.and_then(|app| serde_json::from_value(app["scopes"].clone()).ok());
        Ok(scopes.filter(|scopes: &Vec<String>| !scopes.is_empty()))
    }

    async fn get_json(&self, url: Url) -> Result<Value, SendError> {
        let answer = self.send(Method::GET, url, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        answer.json().ok_or_else(|| no_sense("the answer is not JSON"))
    }
}

/// Id and address of a status. Ids are opaque and, on some servers, letters.
fn receipt(status: &Value) -> Option<Receipt> {
    let id = status["id"]
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= 200)?;
    let url = status["url"].as_str().and_then(|url| Url::parse(url).ok());
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http"));
    Some(Receipt {
        url: url.map(String::from),
        ..Receipt::of(id)
    })
}

fn created(status: &Value) -> Option<Timestamp> {
    status["created_at"].as_str()?.parse().ok()
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the server's answer makes no sense: {what}"),
    ))
}

const ALONE: &str = "the earlier post was gone, so this one stands alone";

/// Writes down whether the first post goes out without its picture, and why.
async fn leave_out(post: &Post, why: Option<&str>) -> Result<(), SendError> {
    match why {
        Some(why) => without::note_down(&post.steps, without::PICTURE, why).await,
        None => without::take_back(&post.steps, without::PICTURE).await,
    }
}

/// The receipt of a post that was found again, with what it went without.
fn noted(receipt: Receipt, post: &Post) -> Receipt {
    let note = without::joined(receipt.note.into_iter().chain(without::note(&post.steps, None)));
    Receipt { note, ..receipt }
}

/// Two notes as one.
fn join(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
