//! A simulated account on X behind its API v2: `docs/channels/x.md` as a program. Keys of the newer names (`post.fields`)
//! and of the older (`tweet.fields`) are both taken, and what is asked by a name is answered by it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::guise;
use super::sim::{Call, Simulator, page, reply};
use super::{Posted, ShownPicture};
use crate::channel::x::PRACTICE_USER;
use crate::clock::Timestamp;
use crate::compose::count::count;
use crate::model::{AccountId, Mode, Unit};

mod refusal;
mod sign_in;
mod signature;
mod wire;

use refusal::Refusal;
use wire::{Names, addresses, body, fields, only, show};

const MAX_WEIGHT: usize = 280;
const MAX_PICTURE: usize = 5 * 1024 * 1024;
const MAX_ALT: usize = 1000;
/// How long the same words again are a duplicate.
const REPEAT: SignedDuration = SignedDuration::from_hours(1);
/// How long an uploaded picture can be used.
const MEDIA_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Posts in a quarter of an hour, and in a day.
const LIMITS: [(&str, u32, i64); 2] = [("x-rate-limit", 100, 900), ("x-user-limit-24hour", 2400, 86_400)];
const DUPLICATE: &str = "You are not allowed to create a Tweet with duplicate content.";
const FORBIDDEN: &str = "You are not permitted to perform this action.";

struct Tweet {
    id: String,
    text: String,
    links: Vec<String>,
    pictures: usize,
    at: Timestamp,
    parent: Option<String>,
    deleted: bool,
}

struct Media {
    picture: ShownPicture,
    at: Timestamp,
}

/// How many requests came in a window.
#[derive(Default)]
struct Window {
    number: i64,
    used: u32,
}

/// The account.
pub struct X {
    account: AccountId,
    name: String,
    keys: signature::Keys,
    tweets: Vec<Tweet>,
    media: BTreeMap<String, Media>,
    nonces: BTreeSet<String>,
    sign_ins: sign_in::SignIns,
    windows: [Window; 2],
}

impl X {
    /// An account without posts. `name` is its display name.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            keys: signature::Keys::fresh(),
            tweets: Vec::new(),
            media: BTreeMap::new(),
            nonces: BTreeSet::new(),
            sign_ins: sign_in::SignIns::new(),
            windows: [Window::default(), Window::default()],
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<(u16, Value), Refusal> {
        if call.bearer().is_some() {
            let detail = "Authenticating with OAuth 2.0 Application-Only is forbidden for this endpoint.";
            return Err(Refusal {
                status: 403,
                title: "Unsupported Authentication",
                kind: "unsupported-authentication",
                detail: detail.to_owned(),
            });
        }
        let nonce = self.keys.check(call).ok_or_else(Refusal::unauthorized)?;
        if !self.nonces.insert(nonce) {
            return Err(Refusal::unauthorized());
        }
        if call.guise.dead(call.now).is_some() {
            return Err(Refusal::unauthorized());
        }
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        if level(call) == "read" && call.method != Method::GET {
            return Err(Refusal::forbidden(
                "Your client app is not configured with the appropriate oauth1 app permissions for this endpoint.",
            ));
        }
        match (call.method, path.as_slice()) {
            (&Method::POST, ["2", "tweets"]) => self.create(call),
            (&Method::GET, ["2", "tweets", id]) => {
                let names = Names::of(call, &[])?;
                match self.find(id) {
                    Some(tweet) => Ok((200, json!({"data": show(tweet, names)}))),
                    // Asked for by its number, what is missing is told with a 200.
                    None => Ok((200, json!({"errors": [Refusal::missing(id).body()]}))),
                }
            }
            (&Method::DELETE, ["2", "tweets", id]) => {
                Names::of(call, &[])?;
                let id = (*id).to_owned();
                self.delete(&id, call)
            }
            (&Method::GET, ["2", "users", "me"]) => {
                only(call, &["user.fields"])?;
                Ok((200, json!({ "data": self.user(call)? })))
            }
            (&Method::GET, ["2", "users", PRACTICE_USER, "tweets"]) => self.list(call),
            (&Method::POST, ["2", "media", "upload"]) => self.upload(call),
            (&Method::POST, ["2", "media", "metadata"]) => self.describe(call),
            _ => Err(Refusal::missing(call.path)),
        }
    }

    /// The account with the fields that were asked for.
    fn user(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let guise = call.guise;
        let alive = self.tweets.iter().filter(|tweet| !tweet.deleted).count();
        let about = guise.about(160);
        let (short, long) = ("https://t.co/profil0001", "https://nassjo.se");
        // Addresses come shortened, with what they lead to beside the text.
        let is_there = about.contains(long);
        let urls = if is_there {
            json!([{"url": short, "expanded_url": long}])
        } else {
            json!([])
        };
        let user = json!({
            "id": guise.id.as_deref().unwrap_or(PRACTICE_USER), "name": guise.name.as_ref().unwrap_or(&self.name),
            "username": "kommun", "protected": guise.is("protected"), "verified": false,
            "description": about.replace(long, short), "location": "Nässjö", "url": short,
            "entities": {"url": {"urls": [{"url": short, "expanded_url": long}]}, "description": {"urls": urls}},
            "public_metrics": {"followers_count": guise.followers(), "following_count": 12, "tweet_count": alive,
                               "listed_count": 3},
            "profile_image_url": format!("{}{}", call.base, guise::AVATAR), "pinned_tweet_id": Value::Null,
            "created_at": "2010-01-01T00:00:00.000Z",
        });
        let mut shown = json!({"id": user["id"], "name": user["name"], "username": user["username"]});
        let asked = call.query("user.fields").unwrap_or_default().split(',');
        for field in asked.filter(|field| !field.is_empty()) {
            let value = user.get(field);
            let value =
                value.ok_or_else(|| Refusal::invalid(format!("user.fields: [{field}] is unknown")))?;
            if !value.is_null() {
                shown[field] = value.clone();
            }
        }
        Ok(shown)
    }

    fn find(&self, id: &str) -> Option<&Tweet> {
        self.tweets.iter().find(|tweet| tweet.id == id && !tweet.deleted)
    }

    fn create(&mut self, call: &mut Call<'_>) -> Result<(u16, Value), Refusal> {
        Names::of(call, &[])?;
        let body = body(call)?;
        fields(
            &body,
            &[
                "text",
                "media",
                "reply",
                "reply_settings",
                "made_with_ai",
                "nullcast",
                "for_super_followers_only",
            ],
        )?;
        let text = body["text"].as_str().unwrap_or_default().to_owned();
        let media = self.attached(&body["media"], call.now)?;
        if text.trim().is_empty() && media.is_empty() {
            return Err(Refusal::invalid("text is required unless media is provided"));
        }
        if !body["reply_settings"].is_null()
            && !["following", "mentionedUsers", "subscribers", "verified"]
                .iter()
                .any(|who| body["reply_settings"] == *who)
        {
            return Err(Refusal::invalid(
                "$.reply_settings: does not have a value in the enumeration",
            ));
        }
        let parent = self.parent(&body["reply"])?;
        let forbidden = text.contains(['\u{fffe}', '\u{feff}', '\u{ffff}']);
        let cashtags = text.split_whitespace().filter(|word| {
            word.strip_prefix('$')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        });
        if forbidden || count(&text, Unit::WeightedCharacters) > MAX_WEIGHT || cashtags.count() > 1 {
            return Err(Refusal::forbidden(FORBIDDEN));
        }
        let is_repeated =
            self.tweets.iter().rev().any(|tweet| {
                !tweet.deleted && tweet.text == text && call.now.duration_since(tweet.at) < REPEAT
            });
        if is_repeated {
            return Err(Refusal::forbidden(DUPLICATE));
        }
        for (window, (_, limit, seconds)) in self.windows.iter_mut().zip(LIMITS) {
            let number = call.now.as_second().div_euclid(seconds);
            if number != window.number {
                *window = Window { number, used: 0 };
            }
            if window.used >= limit {
                let detail = "Too Many Requests".to_owned();
                return Err(Refusal {
                    status: 429,
                    title: "Too Many Requests",
                    kind: "",
                    detail,
                });
            }
            window.used += 1;
        }
        let tweet = Tweet {
            id: self.next_id(call.now),
            links: addresses(&text),
            text: text.clone(),
            pictures: media.len(),
            at: call.now,
            parent: parent.clone(),
            deleted: false,
        };
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: tweet.id.clone(),
            text,
            links: tweet.links.clone(),
            key: None,
            in_reply_to: parent,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: media,
            shown: BTreeMap::new(),
        });
        let shown = show(&tweet, Names::Old);
        self.tweets.push(tweet);
        let made = json!({"id": shown["id"], "text": shown["text"], "edit_history_tweet_ids": [shown["id"]]});
        Ok((201, json!({ "data": made })))
    }

    /// The pictures that a post names.
    fn attached(&self, media: &Value, now: Timestamp) -> Result<Vec<ShownPicture>, Refusal> {
        if media.is_null() {
            return Ok(Vec::new());
        }
        fields(media, &["media_ids", "tagged_user_ids"])?;
        let ids = media["media_ids"]
            .as_array()
            .filter(|ids| (1..=4).contains(&ids.len()));
        let ids = ids.ok_or_else(|| Refusal::invalid("$.media.media_ids: must have 1 to 4 items"))?;
        let known = ids.iter().map(|id| {
            let media = id.as_str().and_then(|id| self.media.get(id));
            let media = media.filter(|media| now.duration_since(media.at) < MEDIA_LIFE);
            let media = media.ok_or_else(|| Refusal::invalid("Your media IDs are invalid."))?;
            Ok(media.picture.clone())
        });
        known.collect()
    }

    fn parent(&self, reply: &Value) -> Result<Option<String>, Refusal> {
        if reply.is_null() {
            return Ok(None);
        }
        fields(
            reply,
            &[
                "in_reply_to_tweet_id",
                "exclude_reply_user_ids",
                "auto_populate_reply_metadata",
            ],
        )?;
        let id = reply["in_reply_to_tweet_id"].as_str();
        let id = id.ok_or_else(|| Refusal::invalid("$.reply.in_reply_to_tweet_id: is missing"))?;
        match self.find(id) {
            Some(tweet) => Ok(Some(tweet.id.clone())),
            None => Err(Refusal::forbidden(
                "You attempted to reply to a Tweet that is deleted or not visible to you.",
            )),
        }
    }

    fn delete(&mut self, id: &str, call: &mut Call<'_>) -> Result<(u16, Value), Refusal> {
        let tweet = self
            .tweets
            .iter_mut()
            .find(|tweet| tweet.id == id && !tweet.deleted);
        tweet.ok_or_else(|| Refusal::missing(id))?.deleted = true;
        for posted in call.book.posts.iter_mut().filter(|posted| posted.remote_id == id) {
            posted.deleted_at = Some(call.now);
        }
        Ok((200, json!({"data": {"deleted": true}})))
    }

    fn list(&self, call: &Call<'_>) -> Result<(u16, Value), Refusal> {
        let names = Names::of(
            call,
            &[
                "max_results",
                "since_id",
                "until_id",
                "start_time",
                "end_time",
                "exclude",
                "pagination_token",
            ],
        )?;
        let number = |name: &str, or: usize| match call.query(name).map(str::parse) {
            None => Ok(or),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(Refusal::invalid(format!("{name} is no number"))),
        };
        let most = number("max_results", 10)?;
        if !(5..=100).contains(&most) {
            return Err(Refusal::invalid(format!(
                "max_results [{most}] is not between 5 and 100"
            )));
        }
        let time = |name: &str| -> Result<Option<Timestamp>, Refusal> {
            let given = call.query(name).map(str::parse).transpose();
            given.map_err(|_| Refusal::invalid(format!("{name} is no time")))
        };
        let (from, to) = (time("start_time")?, time("end_time")?);
        let excluded: Vec<&str> = call.query("exclude").unwrap_or_default().split(',').collect();
        if excluded
            .iter()
            .any(|what| !["", "replies", "retweets"].contains(what))
        {
            return Err(Refusal::invalid("exclude has an unknown value"));
        }
        let newer = |id: &str, than: &str| (id.len(), id) > (than.len(), than);
        let all: Vec<&Tweet> = self
            .tweets
            .iter()
            .rev()
            .filter(|tweet| !tweet.deleted)
            .filter(|tweet| from.is_none_or(|from| tweet.at >= from) && to.is_none_or(|to| tweet.at < to))
            .filter(|tweet| call.query("since_id").is_none_or(|id| newer(&tweet.id, id)))
            .filter(|tweet| call.query("until_id").is_none_or(|id| newer(id, &tweet.id)))
            .filter(|tweet| tweet.parent.is_none() || !excluded.contains(&"replies"))
            .collect();
        let skipped = number("pagination_token", 0)?;
        let others = call.guise.others.iter().filter(|_| skipped == 0);
        let others = others.map(|other| Tweet {
            id: other.id.clone(),
            links: addresses(&other.text),
            text: other.text.clone(),
            pictures: 0,
            at: other.at,
            parent: None,
            deleted: false,
        });
        let others: Vec<Tweet> = others.collect();
        // What others made is only on the first page.
        let own = all.iter().copied().skip(skipped);
        let shown: Vec<Value> = others
            .iter()
            .chain(own)
            .take(most)
            .map(|tweet| show(tweet, names))
            .collect();
        let mut body = json!({"meta": {"result_count": shown.len()}});
        if let (Some(first), Some(last)) = (shown.first(), shown.last()) {
            body["meta"]["newest_id"] = first["id"].clone();
            body["meta"]["oldest_id"] = last["id"].clone();
            if skipped + shown.len() < all.len() {
                body["meta"]["next_token"] = (skipped + shown.len()).to_string().into();
            }
            body["data"] = Value::Array(shown);
        }
        Ok((200, body))
    }

    fn upload(&mut self, call: &Call<'_>) -> Result<(u16, Value), Refusal> {
        Names::of(call, &[])?;
        let body = body(call)?;
        fields(&body, &["media", "media_category", "additional_owners"])?;
        if body["media_category"] != "tweet_image" {
            return Err(Refusal::invalid("media_category: only tweet_image is simulated"));
        }
        let bytes = body["media"]
            .as_str()
            .and_then(|media| STANDARD.decode(media).ok());
        let bytes = bytes.ok_or_else(|| Refusal::invalid("media is not base64"))?;
        if bytes.len() > MAX_PICTURE {
            return Err(Refusal {
                status: 413,
                title: "Payload Too Large",
                kind: "",
                detail: "too large".to_owned(),
            });
        }
        let media_type = match bytes.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            _ => return Err(Refusal::invalid("media type unrecognized.")),
        };
        let id = (1_880_028_106_020_515_840_u64 + self.media.len() as u64).to_string();
        let size = bytes.len();
        let picture = ShownPicture {
            alt: String::new(),
            media_type: media_type.to_owned(),
            digest: hex::encode(Sha256::digest(&bytes)),
            bytes,
        };
        self.media.insert(
            id.clone(),
            Media {
                picture,
                at: call.now,
            },
        );
        let data =
            json!({"id": id, "media_key": format!("3_{id}"), "size": size, "expires_after_secs": 86_400});
        Ok((200, json!({ "data": data })))
    }

    fn describe(&mut self, call: &Call<'_>) -> Result<(u16, Value), Refusal> {
        Names::of(call, &[])?;
        let body = body(call)?;
        fields(&body, &["id", "metadata"])?;
        fields(&body["metadata"], &["alt_text"])?;
        fields(&body["metadata"]["alt_text"], &["text"])?;
        let alt = body["metadata"]["alt_text"]["text"]
            .as_str()
            .filter(|alt| alt.chars().count() <= MAX_ALT);
        let alt = alt.ok_or_else(|| Refusal::invalid("alt_text.text: at most 1000 characters"))?;
        let media = body["id"].as_str().and_then(|id| self.media.get_mut(id));
        let media = media.ok_or_else(|| Refusal::invalid("id: no such media"))?;
        alt.clone_into(&mut media.picture.alt);
        Ok((
            200,
            json!({"data": {"id": body["id"], "associated_metadata": {"alt_text": {"text": alt}}}}),
        ))
    }

    /// Milliseconds and a running number; larger than every id before.
    fn next_id(&self, now: Timestamp) -> String {
        let last = self.tweets.last().and_then(|tweet| tweet.id.parse::<i64>().ok());
        let fresh = now.as_millisecond().max(0) << 16;
        fresh.max(last.map_or(0, |last| last + 1)).to_string()
    }
}

/// What our tokens may, as the header says it.
fn level<'a>(call: &Call<'a>) -> &'a str {
    let scopes = call.guise.scopes.as_ref();
    scopes
        .and_then(|scopes| scopes.first())
        .map_or("read-write", String::as_str)
}

impl Simulator for X {
    fn secrets(&self) -> Vec<(String, String)> {
        self.keys.secrets()
    }

    fn command(&mut self, what: &str, _now: Timestamp) -> bool {
        match what {
            "expire-codes" => self.sign_ins.expire(),
            "revoke-tokens" => self.keys.replace("revoked", "revoked"),
            _ => return false,
        }
        true
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        if let (&Method::GET, ["i", "status", id]) = (call.method, path.as_slice()) {
            return page(self.find(id).map(|tweet| tweet.text.as_str()));
        }
        if let Some(answer) = self.sign_ins.route(&mut self.keys, &call) {
            return answer;
        }
        let is_post = call.method == Method::POST && path == ["2", "tweets"];
        let (status, body) = self
            .route(&mut call)
            .unwrap_or_else(|refusal| (refusal.status, refusal.body()));
        let mut answer = reply(status, &body);
        let mut headers = vec![("x-access-level".to_owned(), level(&call).to_owned())];
        if is_post {
            for (window, (name, limit, seconds)) in self.windows.iter().zip(LIMITS) {
                headers.push((format!("{name}-limit"), limit.to_string()));
                headers.push((
                    format!("{name}-remaining"),
                    limit.saturating_sub(window.used).to_string(),
                ));
                headers.push((
                    format!("{name}-reset"),
                    ((window.number + 1) * seconds).to_string(),
                ));
            }
        }
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}
