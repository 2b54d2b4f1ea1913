//! A simulated Mastodon server with one account: `docs/channels/mastodon.md` as a program. Stricter than the real one in
//! one point: it refuses parameters that it does not know, where Mastodon ignores them.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Posted;
use super::consent::Person;
use super::guise::{self, Dead, Guise, Other};
use super::sim::{Call, Simulator, error, page, reply};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

mod bucket;
pub(super) mod media;
mod oauth;
pub(super) mod text;
mod wire;

use bucket::Bucket;
use oauth::OAuth;
use wire::{Refusal, before, check, fields, instance, iso, list};

const MAX_CHARACTERS: usize = 500;
const LANGUAGES: &[&str] = &["sv", "en", "ar", "de", "fi", "fr", "so", "uk"];
const VISIBILITIES: &[&str] = &["public", "unlisted", "private", "direct"];
/// Posts that an account may keep on top.
const MAX_PINNED: usize = 5;
/// How long a key is remembered after its post.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(1);

const LISTING: &[&str] = &[
    "limit",
    "max_id",
    "since_id",
    "min_id",
    "exclude_replies",
    "exclude_reblogs",
    "only_media",
    "pinned",
    "tagged",
];

/// The scopes of which one is needed for a request.
fn needed(method: &Method, path: &[&str]) -> Option<&'static [&'static str]> {
    Some(match (method, path) {
        (_, ["api", "v1", "accounts", "verify_credentials"]) => &["profile", "read:accounts", "read"],
        (_, ["api", _, "media", ..]) => &["write:media", "write"],
        (&Method::POST, ["api", "v1", "statuses", _, "pin" | "unpin"]) => &["write:accounts", "write"],
        (&Method::GET, ["api", "v1", "statuses", ..] | ["api", "v1", "accounts", _, "statuses"]) => {
            &["read:statuses", "read"]
        }
        (_, ["api", "v1", "statuses", ..]) => &["write:statuses", "write"],
        _ => return None,
    })
}

/// A post that somebody else made with the account.
fn other_status(other: &Other, call: &Call<'_>) -> Value {
    json!({
        "id": other.id, "pinned": false, "created_at": iso(other.at, 3), "in_reply_to_id": null, "visibility": "public",
        "url": format!("{}/@kommun/{}", call.base, other.id), "content": text::html(&other.text), "reblog": null,
        "application": other.by.as_ref().map(|by| json!({"name": by, "website": null})), "media_attachments": [],
    })
}

struct Status {
    id: String,
    text: String,
    visibility: String,
    language: String,
    in_reply_to: Option<String>,
    media: Vec<String>,
    pinned: bool,
    at: Timestamp,
    edited_at: Option<Timestamp>,
    /// What it said before, oldest first.
    history: Vec<(String, Timestamp)>,
    deleted: bool,
}

impl Status {
    /// As the client API gives it.
    fn show(&self, base: &str, files: &media::Shelf) -> Value {
        json!({
            "id": self.id,
            "pinned": self.pinned,
            "created_at": iso(self.at, 3),
            "in_reply_to_id": self.in_reply_to,
            "in_reply_to_account_id": self.in_reply_to.as_ref().map(|_| "1"),
            "sensitive": false,
            "spoiler_text": "",
            "visibility": self.visibility,
            "language": self.language,
            "uri": format!("{base}/users/kommun/statuses/{}", self.id),
            "url": format!("{base}/@kommun/{}", self.id),
            "replies_count": 0, "reblogs_count": 0, "favourites_count": 0,
            "edited_at": self.edited_at.map(|at| iso(at, 3)),
            "content": text::html(&self.text),
            "reblog": null,
            "application": {"name": "vardkase", "website": null},
            "account": {"id": "1", "username": "kommun", "acct": "kommun"},
            "media_attachments": files.show(&self.media, base), "mentions": [], "tags": [], "emojis": [], "card": null, "poll": null,
        })
    }
}

/// The account and its server.
pub struct Mastodon {
    account: AccountId,
    name: String,
    oauth: OAuth,
    statuses: Vec<Status>,
    keys: BTreeMap<String, (String, Timestamp)>,
    shelf: media::Shelf,
    all: Bucket,
    posts: Bucket,
    deletions: Bucket,
    uploads: Bucket,
}

impl Mastodon {
    /// An account without posts. `name` is its display name.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            oauth: OAuth::new(),
            statuses: Vec::new(),
            keys: BTreeMap::new(),
            shelf: media::Shelf::default(),
            all: Bucket::new(300, 300),
            posts: Bucket::new(300, 3 * 3600),
            deletions: Bucket::new(30, 1800),
            uploads: Bucket::new(30, 1800),
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let method = call.method.clone();
        if (&method, path.as_slice()) == (&Method::GET, &["api", "v2", "instance"]) {
            return reply(200, &instance(call.base));
        }
        if let (&Method::GET, ["@kommun", id]) = (&method, path.as_slice()) {
            return page(self.find(id).map(|status| status.text.as_str()));
        }
        if let Some(answer) = self.oauth.route(call, &path) {
            return answer;
        }
        let (person, scopes) = match self.oauth.token(call) {
            Ok(token) => (token.person, call.guise.scopes(&token.scopes)),
            Err(why) => return error(401, why),
        };
        match call.guise.dead(call.now) {
            Some(Dead::Revoked) => return error(401, "The access token was revoked"),
            Some(Dead::Expired) => return error(401, "The access token expired"),
            None => {}
        }
        if needed(&method, &path)
            .is_some_and(|needs| !needs.iter().any(|need| scopes.iter().any(|has| has == need)))
        {
            return error(403, "This action is outside the authorized scopes");
        }
        if person == Person::Other {
            return match path.as_slice() {
                ["api", "v1", "accounts", "verify_credentials"] => reply(200, &somebody(call.base)),
                _ => error(403, "This action is not allowed"),
            };
        }
        let known = match path.as_slice() {
            ["api", "v1", "accounts", _, "statuses"] => LISTING,
            _ => &[],
        };
        if let Some(name) = call.unknown_query(known) {
            return error(400, &format!("unknown parameter {name}"));
        }
        match (&method, path.as_slice()) {
            (&Method::GET, ["api", "v1", "accounts", "verify_credentials"]) => {
                reply(200, &self.account(call))
            }
            (&Method::GET, ["api", "v1", "apps", "verify_credentials"]) => reply(
                200,
                &json!({"name": "vardkase", "website": null, "scopes": scopes}),
            ),
            (&Method::GET, ["api", "v1", "accounts", id, "statuses"]) if *id == Self::id(call.guise) => {
                self.list(call)
            }
            (&Method::POST, ["api", "v1", "statuses"]) => self.create(call),
            (&Method::GET, ["api", "v1", "statuses", id]) => {
                self.with(id, |status| reply(200, &status.show(call.base, &self.shelf)))
            }
            (&Method::GET, ["api", "v1", "statuses", id, "source"]) => self.with(id, |status| {
                reply(
                    200,
                    &json!({"id": status.id, "text": status.text, "spoiler_text": ""}),
                )
            }),
            (&Method::GET, ["api", "v1", "statuses", id, "context"]) => {
                self.with(id, |status| reply(200, &self.context(status, call.base)))
            }
            (&Method::GET, ["api", "v1", "statuses", id, "history"]) => self.with(id, |status| {
                let versions = status.history.iter().map(|(text, at)| (text, *at));
                let latest = (&status.text, status.edited_at.unwrap_or(status.at));
                let versions = versions
                    .chain([latest])
                    .map(|(text, at)| json!({"content": text::html(text), "created_at": iso(at, 3)}));
                reply(200, &versions.collect())
            }),
            (&Method::POST, ["api", "v1", "statuses", id, verb @ ("pin" | "unpin")]) => {
                self.pin(id, *verb == "pin", call)
            }
            (&Method::POST, ["api", "v2", "media"]) => {
                if self.uploads.take(call.now) {
                    self.shelf.upload(call)
                } else {
                    error(429, "Too many requests")
                }
            }
            (&Method::GET, ["api", "v1", "media", id]) => self.shelf.look(id, call),
            (&Method::PUT, ["api", "v1", "statuses", id]) => self.edit(id, call),
            (&Method::DELETE, ["api", "v1", "statuses", id]) => self.delete(id, call),
            _ => error(404, "Not Found"),
        }
    }

    fn find(&self, id: &str) -> Option<&Status> {
        self.statuses
            .iter()
            .find(|status| status.id == id && !status.deleted)
    }

    fn with(&self, id: &str, then: impl FnOnce(&Status) -> Response<Vec<u8>>) -> Response<Vec<u8>> {
        self.find(id).map_or_else(|| error(404, "Record not found"), then)
    }

    fn create(&mut self, call: &mut Call<'_>) -> Response<Vec<u8>> {
        const KNOWN: &[&str] = &[
            "status",
            "visibility",
            "language",
            "in_reply_to_id",
            "sensitive",
            "spoiler_text",
            "media_ids",
        ];
        let fields = match fields(call, KNOWN) {
            Ok(fields) => fields,
            Err(refusal) => return refusal.answer(),
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        // In the server's own order: the parent before the key, the key before the text.
        let parent = fields.get("in_reply_to_id").cloned();
        if parent.as_ref().is_some_and(|id| self.find(id).is_none()) {
            return error(
                404,
                "The post you are trying to reply to does not appear to exist.",
            );
        }
        let key = call.header("idempotency-key").map(str::to_owned);
        if let Some((id, at)) = key.as_ref().and_then(|key| self.keys.get(key))
            && call.now.duration_since(*at) < KEY_LIFE
        {
            return self.with(id, |status| reply(200, &status.show(call.base, &self.shelf)));
        }
        let text = field("status").to_owned();
        let media = list(field("media_ids"));
        if let Err(refusal) = check(&text, field("spoiler_text"), !media.is_empty()) {
            return refusal.answer();
        }
        let or = |name, default: &str| match field(name) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let visibility = or("visibility", "public");
        if !VISIBILITIES.contains(&visibility.as_str()) {
            return error(422, "'visibility' is not a valid value");
        }
        let language = or("language", "sv");
        if !LANGUAGES.contains(&language.as_str()) {
            return error(422, "Validation failed: Language is invalid");
        }
        // 300 edits and posts in three hours; only what would be posted counts.
        if !self.posts.take(call.now) {
            return error(429, "Too many requests");
        }
        if let Err(refusal) = self.shelf.attach(&media, &[]) {
            return refusal.answer();
        }
        let pictures = self.shelf.shown(&media);
        let id = self.next_id(call.now);
        let status = Status {
            id: id.clone(),
            text: text.clone(),
            visibility,
            language,
            in_reply_to: parent.clone(),
            media,
            pinned: false,
            at: call.now,
            edited_at: None,
            history: Vec::new(),
            deleted: false,
        };
        let answer = reply(200, &status.show(call.base, &self.shelf));
        let is_public = status.visibility != "direct";
        self.statuses.push(status);
        if let Some(key) = &key {
            self.keys.insert(key.clone(), (id.clone(), call.now));
        }
        let posted = Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: id,
            links: text::links(&text),
            text,
            key,
            in_reply_to: parent,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures,
            shown: std::collections::BTreeMap::new(),
        };
        if is_public {
            call.book.posts.push(posted);
        } else {
            call.book.backstage.push(posted);
        }
        answer
    }

    fn edit(&mut self, id: &str, call: &mut Call<'_>) -> Response<Vec<u8>> {
        let fields = match fields(
            call,
            &["status", "language", "sensitive", "spoiler_text", "media_ids"],
        ) {
            Ok(fields) => fields,
            Err(refusal) => return refusal.answer(),
        };
        let text = fields.get("status").cloned().unwrap_or_default();
        // What is not named again is taken out of the post.
        let media = list(fields.get("media_ids").map_or("", String::as_str));
        if let Err(refusal) = check(&text, "", !media.is_empty()) {
            return refusal.answer();
        }
        let Some(own) = self.find(id).map(|status| status.media.clone()) else {
            return error(404, "Record not found");
        };
        if !self.posts.take(call.now) {
            return error(429, "Too many requests");
        }
        if let Err(refusal) = self.shelf.attach(&media, &own) {
            return refusal.answer();
        }
        let pictures = self.shelf.shown(&media);
        let mut changed = false;
        if let Some(status) = self.statuses.iter_mut().find(|status| status.id == id) {
            changed = status.text != text || status.media != media;
            if changed {
                let since = status.edited_at.unwrap_or(status.at);
                status.history.push((std::mem::take(&mut status.text), since));
                status.edited_at = Some(call.now);
            }
            status.text.clone_from(&text);
            status.media = media;
        }
        for post in call
            .book
            .posts
            .iter_mut()
            .filter(|post| post.remote_id == id && changed)
        {
            post.links = text::links(&text);
            post.text.clone_from(&text);
            post.edited_at = Some(call.now);
            post.pictures.clone_from(&pictures);
        }
        self.with(id, |status| reply(200, &status.show(call.base, &self.shelf)))
    }

    fn pin(&mut self, id: &str, pinned: bool, call: &mut Call<'_>) -> Response<Vec<u8>> {
        if !call.body.is_empty() {
            return error(400, "unknown parameter");
        }
        let Some(already) = self.find(id).map(|status| status.pinned) else {
            return error(404, "Record not found");
        };
        if pinned && already {
            return error(422, "Validation failed: Status has already been taken");
        }
        let others = self
            .statuses
            .iter()
            .filter(|status| status.pinned && !status.deleted);
        if pinned && others.count() >= MAX_PINNED {
            return error(
                422,
                "Validation failed: You have already pinned the maximum number of posts",
            );
        }
        if let Some(status) = self.statuses.iter_mut().find(|status| status.id == id) {
            status.pinned = pinned;
        }
        for post in call.book.posts.iter_mut().filter(|post| post.remote_id == id) {
            post.pinned = pinned;
        }
        self.with(id, |status| reply(200, &status.show(call.base, &self.shelf)))
    }

    fn delete(&mut self, id: &str, call: &mut Call<'_>) -> Response<Vec<u8>> {
        let Some(status) = self.find(id) else {
            return error(404, "Record not found");
        };
        let mut body = status.show(call.base, &self.shelf);
        body["text"] = status.text.clone().into();
        if !self.deletions.take(call.now) {
            return error(429, "Too many requests");
        }
        if let Some(status) = self.statuses.iter_mut().find(|status| status.id == id) {
            status.deleted = true;
        }
        let booked = call.book.posts.iter_mut().chain(&mut call.book.backstage);
        for post in booked.filter(|post| post.remote_id == id) {
            post.deleted_at = Some(call.now);
            post.pinned = false;
        }
        reply(200, &body)
    }

    fn list(&self, call: &Call<'_>) -> Response<Vec<u8>> {
        let limit = call
            .query("limit")
            .map_or(Ok(20), str::parse)
            .unwrap_or(20_usize)
            .min(40);
        let mut shown: Vec<&Status> = self
            .statuses
            .iter()
            .rev()
            .filter(|status| !status.deleted)
            .filter(|status| call.query("max_id").is_none_or(|id| before(&status.id, id)))
            .filter(|status| call.query("since_id").is_none_or(|id| before(id, &status.id)))
            .filter(|status| call.query("exclude_replies") != Some("true") || status.in_reply_to.is_none())
            .collect();
        let more = shown.len() > limit;
        shown.truncate(limit);
        let own = shown.iter().map(|status| status.show(call.base, &self.shelf));
        let others = call.guise.others.iter().map(|other| other_status(other, call));
        // What others made is only on the first page.
        let page = others
            .filter(|_| call.query("max_id").is_none())
            .chain(own)
            .collect();
        let mut answer = reply(200, &Value::Array(page));
        if let (true, Some(last)) = (more, shown.last()) {
            let next = format!(
                "<{}{}?limit={limit}&max_id={}>; rel=\"next\"",
                call.base, call.path, last.id
            );
            if let Ok(next) = HeaderValue::from_str(&next) {
                answer.headers_mut().insert("link", next);
            }
        }
        answer
    }

    fn context(&self, of: &Status, base: &str) -> Value {
        let mut ancestors = Vec::new();
        let mut parent = of.in_reply_to.as_deref().and_then(|id| self.find(id));
        while let Some(status) = parent {
            ancestors.insert(0, status.show(base, &self.shelf));
            parent = status.in_reply_to.as_deref().and_then(|id| self.find(id));
        }
        let mut family = vec![of.id.as_str()];
        let mut descendants = Vec::new();
        for status in self.statuses.iter().filter(|status| !status.deleted) {
            if status
                .in_reply_to
                .as_deref()
                .is_some_and(|id| family.contains(&id))
            {
                family.push(&status.id);
                descendants.push(status.show(base, &self.shelf));
            }
        }
        json!({"ancestors": ancestors, "descendants": descendants})
    }

    fn account(&self, call: &Call<'_>) -> Value {
        let (base, guise) = (call.base, call.guise);
        let about = guise.about(500);
        let fields = guise.fields.iter();
        let fields: Vec<Value> = fields
            .map(|(name, value)| json!({"name": name, "value": text::html(value), "verified_at": null}))
            .collect();
        let alive = || self.statuses.iter().filter(|status| !status.deleted);
        json!({
            "id": Self::id(guise), "username": "kommun", "acct": "kommun",
            "display_name": guise.name.as_ref().unwrap_or(&self.name),
            "suspended": guise.is("suspended"), "limited": guise.is("limited"),
            "locked": guise.is("locked"), "bot": true, "note": text::html(&about),
            "avatar": format!("{base}{}", guise::AVATAR), "avatar_static": format!("{base}{}", guise::AVATAR), "url": format!("{base}/@kommun"),
            "followers_count": guise.followers(), "statuses_count": alive().count(),
            "last_status_at": alive().next_back().map(|status| iso(status.at, 3)),
            "fields": fields,
            "source": {"note": about, "fields": [], "privacy": "public", "sensitive": false, "language": "sv",
                       "follow_requests_count": 0},
        })
    }

    fn id(guise: &Guise) -> &str {
        guise.id.as_deref().unwrap_or("1")
    }

    /// Milliseconds and a running number, as Mastodon makes them; larger than every id before.
    fn next_id(&self, now: Timestamp) -> String {
        let last = self
            .statuses
            .last()
            .and_then(|status| status.id.parse::<i64>().ok());
        let fresh = now.as_millisecond().max(0) << 16;
        fresh.max(last.map_or(0, |last| last + 1)).to_string()
    }
}

/// Who agreed with another account than the municipality's.
fn somebody(base: &str) -> Value {
    json!({
        "id": "2", "username": "anna", "acct": "anna", "display_name": "Anna", "locked": false, "bot": false, "note": "",
        "url": format!("{base}/@anna"), "followers_count": 12, "statuses_count": 0, "last_status_at": null, "fields": [],
    })
}

impl Simulator for Mastodon {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![("access_token".to_owned(), self.oauth.first())]
    }

    fn command(&mut self, what: &str, _now: Timestamp) -> bool {
        self.oauth.command(what)
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let mut answer = if self.all.take(call.now) {
            self.route(&mut call)
        } else {
            error(429, "Too many requests")
        };
        // Of the limits that the request counts towards, the one that is nearest.
        let of_its_kind = match (call.method.as_str(), call.path) {
            ("POST", path) if path.ends_with("/media") => Some(&self.uploads),
            ("POST" | "PUT", path) if path.contains("/statuses") => Some(&self.posts),
            ("DELETE", path) if path.contains("/statuses") => Some(&self.deletions),
            _ => None,
        };
        let nearest = [Some(&self.all), of_its_kind]
            .into_iter()
            .flatten()
            .filter(|bucket| bucket.used > 0)
            .min_by_key(|bucket| (bucket.left(), std::cmp::Reverse(bucket.reset())));
        if let Some(bucket) = nearest {
            let values = [
                ("x-ratelimit-limit", bucket.limit.to_string()),
                ("x-ratelimit-remaining", bucket.left().to_string()),
                ("x-ratelimit-reset", iso(bucket.reset(), 6)),
            ];
            for (name, value) in values {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    answer.headers_mut().insert(name, value);
                }
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_server_writes_them() {
        let at: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        assert_eq!(iso(at, 6), "2026-01-05T12:00:00.000000Z");
        assert_eq!(iso(at, 3), "2026-01-05T12:00:00.000Z");
    }

    #[test]
    fn windows_are_aligned_to_the_epoch() {
        let mut bucket = Bucket::new(2, 300);
        let at: Timestamp = "2026-01-05T12:04:59Z".parse().unwrap();
        assert!(bucket.take(at) && bucket.take(at));
        assert!(!bucket.take(at));
        assert_eq!(bucket.reset(), "2026-01-05T12:05:00Z".parse().unwrap());
        assert!(bucket.take(bucket.reset()));
    }
}
