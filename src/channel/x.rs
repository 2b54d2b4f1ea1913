//! An account on X, through its API v2.
//!
//! X knows no idempotency key. That a request to post is about to leave is written down before it does, so that an
//! attempt which never came so far is known to be absent; every other unknown outcome is settled by reading the account
//! back. X refuses the same words twice, which leads to the earlier post but, unreliably done, proves nothing alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::patience::{Patience, Search};
use super::shown::words_with;
use super::transport::{Answer, Effect, Transport, below, blank};
use super::without;
use super::{
    Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Secrets, Settings, WallSite,
};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    PictureRule, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod face;
mod oauth;
mod picture;
mod sign_in;
mod verdict;
mod words;

use oauth::Keys;
use picture::Media;
use verdict::Fault;

/// An account on X.
pub static KIND: Kind = Kind {
    id: "x",
    about: "An account on X (Twitter)",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: true,
        edit: false,
        retract: true,
        pin: false,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: false,
    },
    secrets: {
        const fn required(name: &'static str) -> SecretName {
            SecretName {
                name,
                required: true,
                internal: false,
            }
        }
        const SECRETS: &[SecretName] = &[
            required("consumer_key"),
            required("consumer_secret"),
            required("access_token"),
            required("access_token_secret"),
        ];
        SECRETS
    },
    // 100 posts in 15 minutes per account and 300 in 3 hours (docs.x.com, read 2026-08), with headroom.
    pace: Pace {
        attempts: 270,
        per: Duration::from_hours(3),
        burst: 20,
        parallel: 1,
    },
    // Reading the account costs 0.010 USD, once in a UTC day for the same thing (reference page §1, read 2026-08), and an
    // account without credits reads nothing: four times a day tells of a dead token soon enough.
    verify_every: Duration::from_hours(6),
    read,
};

/// The user of every simulated account: the adapter of a drill does not even know the number of the real one.
pub(crate) const PRACTICE_USER: &str = "42";

/// What an account without Premium may write.
const DEFAULT_MAX_LENGTH: u32 = 280;
/// What one with Premium may write, as X's help pages say.
const MOST_LENGTH: u32 = 25_000;
/// How long after an attempt its post may take to show: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Posts per page of an answer, the most that X gives.
const PAGE: usize = 100;
/// How many of those are read at most.
const PAGES: usize = 5;
/// After so many attempts to post, the same words that X refuses to take twice are not ours.
const TRIES: u32 = 4;
/// Most words of a post that begin with $.
const MAX_CASHTAGS: usize = 1;
/// The step that counts how often a request to post was about to leave.
const CREATE: &str = "create";

const REPLY_SETTINGS: &[&str] = &[
    "everyone",
    "following",
    "mentionedUsers",
    "subscribers",
    "verified",
];

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let user_id = section.required::<String>("user_id", "the account's number, such as \"1234567890\"");
    if user_id.as_ref().is_some_and(|id| !is_number(id)) {
        section.problem(
            "user_id",
            "must be the account's number, not its name: 1 to 19 digits, in quotation marks",
        );
    }
    let max_length = section
        .number_within("max_length", 1, MOST_LENGTH)
        .unwrap_or(DEFAULT_MAX_LENGTH);
    let replies = section
        .one_of("reply_settings", REPLY_SETTINGS)
        .filter(|who| *who != "everyone");
    let thread = section
        .optional::<bool>("thread", "true or false")
        .unwrap_or(false);
    let base_url = section.address("base_url", false);
    let base_url = base_url.or_else(|| Url::parse("https://api.x.com").ok());
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(X {
        user_id: user_id?,
        max_length: usize::try_from(max_length).ok()?,
        replies,
        thread,
        base_url: base_url?,
        settle_wait,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct X {
    user_id: String,
    max_length: usize,
    /// Who may answer; everyone if `None`.
    replies: Option<&'static str>,
    thread: bool,
    base_url: Url,
    settle_wait: Duration,
}

impl Settings for X {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(self.max_length),
            unit: Unit::WeightedCharacters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            user_id: PRACTICE_USER.to_owned(),
            base_url: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", self.base_url.to_string()),
            ("user_id", self.user_id.clone()),
        ]
    }

    fn replies(&self) -> Option<bool> {
        Some(self.thread)
    }

    fn refuses(&self, rendering: &Rendering) -> Option<String> {
        if let Some(sign) = words::forbidden(&rendering.text) {
            return Some(format!(
                "X tar inte tecknet U+{:04X}. Ta bort det.",
                u32::from(sign)
            ));
        }
        let tags = words_with('$', &rendering.text);
        (tags > MAX_CASHTAGS).then(|| {
            format!("X tar högst ett ord som börjar med $ och texten har {tags}. Skriv beloppen utan $.")
        })
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PictureRule {
            media_types: &["image/jpeg", "image/png"],
            max_bytes: 5_000_000,
            max_edge: 4096,
            max_alt: 1000,
            required: false,
        })
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        Some(Box::new(sign_in::ByNumber::new(self, parts)))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Keys::of(parts.secrets.as_ref())?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http.metered(super::quota::x),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: X,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        if let Some(sign) = words::forbidden(&post.rendering.text) {
            let text = format!(
                "X takes no text with the sign U+{:04X}; remove it",
                u32::from(sign)
            );
            return Err(SendError::Refused(Reason::new("invalid-character", text)));
        }
        let mut media = self.media(post, false).await?;
        let parent = post.parent.as_ref().filter(|_| self.settings.thread);
        let mut parent = parent.map(|receipt| receipt.remote_id.as_str());
        let before = begun(post);
        post.steps
            .record(CREATE, &before.saturating_add(1).to_string())
            .await
            .map_err(SendError::NotSent)?;
        if parent.is_some() {
            without::take_back(&post.steps, without::PARENT).await?;
        }
        let mut signed_twice = false;
        // Each way round takes away something that was refused, with nothing made, so that it ends.
        loop {
            let fault = match self.create(post, media.id(), parent).await? {
                Ok(receipt) => {
                    let note = without::note(&post.steps, picture::note(post));
                    return Ok(Receipt { note, ..receipt });
                }
                Err(fault) => fault,
            };
            match (fault, &media) {
                // Said now and then of good keys.
                (Fault::Unsupported(_), _) if !signed_twice => signed_twice = true,
                // A picture that was uploaded earlier may have expired; one of now X does not like.
                (Fault::Content(_), Media::Ready { kept: true, .. }) => {
                    media = self.media(post, true).await?;
                }
                (Fault::Content(_), Media::Ready { .. }) => media = self.leave_out(post).await?,
                // Apps without special leave may not answer everywhere, perhaps not even to their own posts.
                (Fault::Forbidden(_) | Fault::Missing(_) | Fault::Content(_), _) if parent.is_some() => {
                    parent = None;
                    without::note_down(&post.steps, without::PARENT, ALONE).await?;
                }
                // These words are not from us: no request to post had left before, or it was settled often enough.
                (Fault::Duplicate(reason), _) if before == 0 || before >= TRIES => {
                    let text = format!(
                        "the same words stand on the account already, or stood there lately; change the text, for \
                         example by a time of day: {}",
                        reason.text
                    );
                    return Err(SendError::Refused(Reason::new("duplicate", text)));
                }
                (fault, _) => return Err(fault.into_error(Effect::Writes)),
            }
        }
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        if begun(&question.post) == 0 {
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
        // Taking away twice is harmless, so that a failure never needs settling.
        let path = ["2", "tweets", receipt.remote_id.as_str()];
        let answer = self.send(Method::DELETE, &path, &[], None, Effect::Reads).await?;
        if !answer.is_success() {
            let fault = verdict::fault(&answer);
            let is_gone = matches!(fault, Fault::Missing(_));
            return if is_gone {
                Ok(())
            } else {
                Err(fault.into_error(Effect::Reads))
            };
        }
        let body = answer.json().unwrap_or(Value::Null);
        if body["data"]["deleted"] == true || verdict::says_missing(&body) {
            return Ok(());
        }
        Err(no_sense("it does not say that the post is gone"))
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
}

impl Account {
    /// Signs and sends a request. What X repeats of our keys is blanked at once.
    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let keys = Keys::of(self.secrets.as_ref()).map_err(SendError::Credential)?;
        let mut url = below(&self.settings.base_url, path.iter().copied());
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let signed = |at: Timestamp| {
            let nonce = hex::encode(rand::random::<[u8; 16]>());
            let authorization = keys.authorization(&method, &url, &nonce, at.as_second());
            let request = self
                .http
                .request(method.clone(), url.clone())
                .header("authorization", authorization);
            Ok(match body {
                Some(body) => request.json(body),
                None => request,
            })
        };
        let mut answer = self.http.send_signed(signed, effect).await?;
        if !answer.is_success() {
            for secret in keys.sent() {
                blank(&mut answer.body, secret.as_bytes());
            }
        }
        Ok(answer)
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(Value, Answer), SendError> {
        let answer = self.send(Method::GET, path, query, None, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::fault(&answer).into_error(Effect::Reads));
        }
        let body = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
        Ok((body, answer))
    }

    /// Makes the post. The outer error is one of contact, the inner one the service's own.
    async fn create(
        &self,
        post: &Post,
        media: Option<&str>,
        parent: Option<&str>,
    ) -> Result<Result<Receipt, Fault>, SendError> {
        let mut body = json!({"text": post.rendering.text});
        if let Some(media) = media {
            body["media"] = json!({"media_ids": [media]});
        }
        if let Some(parent) = parent {
            body["reply"] = json!({"in_reply_to_tweet_id": parent});
        }
        if let Some(who) = self.settings.replies {
            body["reply_settings"] = who.into();
        }
        let answer = self
            .send(Method::POST, &["2", "tweets"], &[], Some(&body), Effect::Writes)
            .await?;
        if !answer.is_success() {
            return Ok(Err(verdict::fault(&answer)));
        }
        let made = answer.json().unwrap_or(Value::Null);
        self.receipt(&made["data"]).map(Ok).ok_or_else(|| {
            let text = format!("X answered {} without a readable post", answer.status);
            SendError::Unknown(Reason::new("unreadable", text))
        })
    }

    /// Looks for the post among those since the attempt.
    async fn search(&self, question: &Question) -> Result<Search, SendError> {
        let since = question.earliest();
        let wanted = words::normal(&question.post.rendering.text);
        let (page, from) = (PAGE.to_string(), since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![
                ("max_results", page.as_str()),
                ("start_time", from.as_str()),
                ("exclude", "retweets"),
                ("tweet.fields", "created_at,text,entities,note_tweet"),
            ];
            if let Some(next) = &next {
                query.push(("pagination_token", next));
            }
            let path = ["2", "users", self.settings.user_id.as_str(), "tweets"];
            let (body, _) = self.get(&path, &query).await?;
            let posts = match (&body["data"], &body["meta"]["result_count"]) {
                (Value::Array(posts), _) => posts.as_slice(),
                (Value::Null, Value::Number(none)) if none.as_u64() == Some(0) => &[],
                _ => return Err(no_sense("no list of posts")),
            };
            for found in posts {
                let receipt = self.receipt(found).ok_or_else(|| no_sense("a post without id"))?;
                let at = created(found);
                let is_ours = !question.taken.contains(&receipt.remote_id)
                    && at.is_none_or(|at| at >= since)
                    && words::normal(&words::written(found)) == wanted;
                if is_ours {
                    let post = &question.post;
                    let note = without::note(&post.steps, picture::note(post));
                    return Ok(Search::Found(Receipt { note, ..receipt }));
                }
            }
            match body["meta"]["next_token"].as_str() {
                Some(token) if !posts.is_empty() => next = Some(token.to_owned()),
                Some(_) | None => return Ok(Search::NotThere),
            }
        }
        Ok(Search::TooMuch)
    }

    /// Id and address of a post.
    fn receipt(&self, post: &Value) -> Option<Receipt> {
        let id = post["id"].as_str().filter(|id| is_number(id))?;
        let site = if self.settings.base_url.scheme() == "https" {
            Url::parse("https://x.com").ok()?
        } else {
            self.settings.base_url.clone()
        };
        Some(Receipt::of(id).at(below(&site, ["i", "status", id])))
    }
}

const ALONE: &str = "X did not take it as an answer, so it stands alone";

/// How often a request to post this was about to leave.
fn begun(post: &Post) -> u32 {
    let step = post.steps.get(CREATE);
    // What cannot be read was written by us all the same.
    step.map_or(0, |times| times.parse().unwrap_or(1))
}

fn created(post: &Value) -> Option<Timestamp> {
    post["created_at"].as_str()?.parse().ok()
}

/// Whether it is an id of X: a decimal number, which is never read as one.
fn is_number(id: &str) -> bool {
    (1..=19).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("X's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
