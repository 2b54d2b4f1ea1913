//! The simulator of `bluesky`: one account on its personal data server, as strict as the real one.
//!
//! Observed against the npm PDS 0.4.217 and 0.5.35: `reference/channels/bluesky.md` §2–§8. The identifier that logs in
//! first becomes the handle, because a practice account does not know under which name it is configured.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::guise::{self, Dead};
use super::sim::{Call, Simulator, reply};
use super::{Posted, ShownPicture};
use crate::model::AccountId;

mod lexicon;
mod quota;
mod tokens;
mod wire;

use quota::Window;
use tokens::{Scope, Tokens};
use wire::{Answer, bearer, cid, input, key, mode, refused, text};

/// Points of repository writes: create 3, put 2, delete 1.
const POINTS: &[(i64, u32)] = &[(3600, 5000), (86_400, 35_000)];
/// Log-ins per account.
const LOGINS: &[(i64, u32)] = &[(300, 30), (86_400, 300)];
const POSTS: &str = "app.bsky.feed.post";
const PROFILE: &str = "app.bsky.actor.profile";
/// Largest upload of a server as it is delivered.
const MAX_UPLOAD: usize = 5 * 1024 * 1024;
/// Uploads per account.
const UPLOADS: &[(i64, u32)] = &[(86_400, 1000)];

/// One account.
pub(super) struct Bluesky {
    account: AccountId,
    did: String,
    handle: Option<String>,
    app_password: String,
    tokens: Tokens,
    records: BTreeMap<String, Value>,
    /// The versions that a record had before, by its key.
    earlier: BTreeMap<String, Vec<String>>,
    profile: Option<Value>,
    /// Uploaded files by content address.
    blobs: BTreeMap<String, (String, Vec<u8>)>,
    uploads: Window,
    writes: Window,
    logins: Window,
}

impl Bluesky {
    pub(super) fn new(account: &AccountId) -> Self {
        let random = hex::encode(rand::random::<[u8; 12]>());
        let word = |n: usize| random.chars().skip(4 * n).take(4).collect::<String>();
        Self {
            account: account.clone(),
            did: format!("did:plc:{random}"),
            handle: None,
            app_password: [word(0), word(1), word(2), word(3)].join("-"),
            tokens: Tokens::new(),
            records: BTreeMap::new(),
            earlier: BTreeMap::new(),
            profile: Some(
                json!({ "$type": PROFILE, "displayName": "Kommunen", "description": "Övningskonto" }),
            ),
            blobs: BTreeMap::new(),
            uploads: Window::new(UPLOADS),
            writes: Window::new(POINTS),
            logins: Window::new(LOGINS),
        }
    }

    fn handle(&self) -> &str {
        self.handle.as_deref().unwrap_or("handle.invalid")
    }

    fn route(&mut self, call: &mut Call<'_>) -> Answer {
        let Some(nsid) = call.path.strip_prefix("/xrpc/") else {
            return refused(404, "NotFound", "no such page");
        };
        match (call.method, nsid) {
            (&Method::GET, "_health") => Ok(json!({ "version": "0.5.35" })),
            (&Method::POST, "com.atproto.server.createSession") => self.log_in(call),
            (&Method::POST, "com.atproto.server.refreshSession") => self.refresh(call),
            (&Method::POST, "com.atproto.server.deleteSession") => {
                self.tokens.revoke(bearer(call)?, call.now)?;
                Ok(Value::Null)
            }
            (&Method::GET, "com.atproto.server.getSession") => {
                self.authorize(call)?;
                let did = call.guise.id.as_ref().unwrap_or(&self.did);
                let handle = if call.guise.is("handle.invalid") {
                    "handle.invalid"
                } else {
                    self.handle()
                };
                let mut body = json!({ "did": did, "handle": handle, "active": true });
                for mark in ["suspended", "takendown", "deactivated"] {
                    if call.guise.is(mark) {
                        body["active"] = false.into();
                        body["status"] = mark.into();
                    }
                }
                Ok(body)
            }
            (&Method::POST, "com.atproto.repo.uploadBlob") => self.upload(call),
            (&Method::POST, "com.atproto.repo.putRecord") => self.put(call),
            (&Method::POST, "com.atproto.repo.createRecord") => self.create(call),
            (&Method::POST, "com.atproto.repo.deleteRecord") => self.delete(call),
            (&Method::GET, "com.atproto.repo.getRecord") => self.get(call),
            (&Method::GET, "com.atproto.repo.listRecords") => self.list(call),
            (&Method::GET, "app.bsky.actor.getProfile") => {
                self.authorize(call)?;
                self.asked(call, &["actor"])?;
                Ok(self.seen(call))
            }
            (&Method::GET, "app.bsky.feed.getAuthorFeed") => {
                self.authorize(call)?;
                self.asked(call, &["actor", "limit", "filter", "cursor", "includePins"])?;
                self.feed(call)
            }
            (&Method::GET, name) if name.starts_with("app.bsky.") => {
                refused(400, "InvalidRequest", format!("No service configured for {name}"))
            }
            _ => refused(501, "MethodNotImplemented", "Method Not Implemented"),
        }
    }

    /// Whether the question is about this account and knows its parameters.
    fn asked(&self, call: &Call<'_>, known: &[&str]) -> Result<(), (u16, &'static str, String)> {
        if let Some(name) = call.unknown_query(known) {
            return refused(400, "InvalidRequest", format!("unknown parameter {name}"));
        }
        let actor = call.query("actor").unwrap_or_default();
        if actor == self.did || Some(actor) == self.handle.as_deref() {
            return Ok(());
        }
        refused(400, "InvalidRequest", "Profile not found")
    }

    /// The account as the network sees it.
    fn seen(&self, call: &Call<'_>) -> Value {
        let record = self.profile.as_ref().unwrap_or(&Value::Null);
        let description = match &call.guise.about {
            Some(_) => call.guise.about(256).into(),
            None => record["description"].clone(),
        };
        let name = call
            .guise
            .name
            .clone()
            .map_or_else(|| record["displayName"].clone(), Value::from);
        json!({
            "did": self.did, "handle": self.handle(), "displayName": name, "description": description,
            "avatar": format!("{}{}", call.base, guise::AVATAR), "followersCount": call.guise.followers(),
            "postsCount": self.records.len(), "labels": [],
        })
    }

    fn feed(&self, call: &Call<'_>) -> Answer {
        let limit = match call.query("limit").map(str::parse::<usize>) {
            None => 50,
            Some(Ok(limit @ 1..=100)) => limit,
            Some(_) => return refused(400, "InvalidRequest", "limit must be 1 to 100"),
        };
        let no_replies = call.query("filter") == Some("posts_no_replies");
        let own = self.records.iter().rev();
        let own = own.filter(|(_, record)| !no_replies || record["reply"].is_null());
        let own = own.map(|(rkey, record)| json!({"post": {"uri": self.uri(rkey), "record": record}}));
        let others = call.guise.others.iter();
        let others = others.map(|other| {
            let record = json!({"$type": POSTS, "text": other.text, "createdAt": other.at});
            json!({"post": {"uri": self.uri(&other.id), "record": record}})
        });
        let feed: Vec<Value> = others.chain(own).take(limit).collect();
        Ok(json!({ "feed": feed }))
    }

    fn session(&self, pair: &(String, String)) -> Value {
        json!({
            "accessJwt": pair.0, "refreshJwt": pair.1, "did": self.did, "handle": self.handle(), "active": true,
        })
    }

    fn log_in(&mut self, call: &Call<'_>) -> Answer {
        let body = input(
            call,
            &["identifier", "password", "authFactorToken", "allowTakendown"],
        )?;
        let (allowed, _) = self.logins.spend(call.now.as_second(), 1);
        if !allowed {
            return refused(429, "RateLimitExceeded", "Rate Limit Exceeded");
        }
        // The app password was taken away with the sessions that it made.
        if call.guise.dead(call.now).is_some() {
            return refused(401, "AuthenticationRequired", "Invalid identifier or password");
        }
        let identifier = text(&body, "identifier")?;
        let known =
            identifier == self.did || self.handle.as_deref().is_none_or(|handle| handle == identifier);
        if text(&body, "password")? != self.app_password || !known || identifier.is_empty() {
            return refused(401, "AuthenticationRequired", "Invalid identifier or password");
        }
        if identifier != self.did {
            self.handle = Some(identifier.to_owned());
        }
        let pair = self.tokens.issue(&self.did, call.now);
        Ok(self.session(&pair))
    }

    fn refresh(&mut self, call: &Call<'_>) -> Answer {
        if !call.body.is_empty() {
            return refused(
                400,
                "InvalidRequest",
                "A request body was provided when none was expected",
            );
        }
        if call.guise.dead(call.now).is_some() {
            return refused(400, "ExpiredToken", "Token has been revoked");
        }
        let pair = self.tokens.refresh(bearer(call)?, &self.did, call.now)?;
        Ok(self.session(&pair))
    }

    fn authorize(&self, call: &Call<'_>) -> Result<(), (u16, &'static str, String)> {
        match call.guise.dead(call.now) {
            None => {}
            Some(Dead::Expired) => return refused(400, "ExpiredToken", "Token has expired"),
            Some(Dead::Revoked) => return refused(400, "InvalidToken", "Token has been revoked"),
        }
        self.tokens.check(bearer(call)?, Scope::Access, call.now)
    }

    /// What the writing calls have in common: log-in, whose repository, which collection.
    fn write(
        &self,
        call: &Call<'_>,
        fields: &[&str],
    ) -> Result<Map<String, Value>, (u16, &'static str, String)> {
        self.authorize(call)?;
        let body = input(call, fields)?;
        let repo = text(&body, "repo")?;
        if repo != self.did && Some(repo) != self.handle.as_deref() {
            return refused(403, "AccountNotFound", "Could not find repo");
        }
        match text(&body, "collection")? {
            POSTS => Ok(body),
            PROFILE if call.path.ends_with("putRecord") => Ok(body),
            _ => refused(
                400,
                "InvalidRequest",
                "this practice account keeps posts and its profile only",
            ),
        }
    }

    fn upload(&mut self, call: &Call<'_>) -> Answer {
        self.authorize(call)?;
        if !self.uploads.spend(call.now.as_second(), 1).0 {
            return refused(429, "RateLimitExceeded", "Rate Limit Exceeded");
        }
        let said = call.header("content-type").unwrap_or_default();
        if call.body.len() > MAX_UPLOAD {
            return refused(413, "PayloadTooLarge", "request entity too large");
        }
        let Some(kind) = super::mastodon::media::kind(call.body).filter(|kind| *kind == said) else {
            return refused(
                400,
                "InvalidRequest",
                format!("this practice account takes no {said}"),
            );
        };
        let hash = hex::encode(Sha256::digest(call.body));
        let link = format!("bafkrei{}", hash.chars().take(52).collect::<String>());
        self.blobs
            .insert(link.clone(), (kind.to_owned(), call.body.to_vec()));
        Ok(json!({ "blob": {
            "$type": "blob", "ref": { "$link": link }, "mimeType": kind, "size": call.body.len(),
        } }))
    }

    /// The pictures that a record refers to, if they were uploaded and are what it says.
    fn pictures(&self, record: &Value) -> Result<Vec<ShownPicture>, (u16, &'static str, String)> {
        let images = record.pointer("/embed/images").and_then(Value::as_array);
        let images = images.map_or(&[][..], Vec::as_slice).iter();
        let pictures = images.map(|image| {
            let link = image
                .pointer("/image/ref/$link")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let Some((kind, bytes)) = self.blobs.get(link) else {
                return refused(400, "BlobNotFound", format!("Could not find blob: {link}"));
            };
            let same = image.pointer("/image/mimeType") == Some(&json!(kind))
                && image.pointer("/image/size") == Some(&json!(bytes.len()));
            if !same {
                return refused(400, "InvalidRequest", "the blob is not what the record says");
            }
            Ok(ShownPicture {
                alt: image["alt"].as_str().unwrap_or_default().to_owned(),
                media_type: kind.clone(),
                digest: hex::encode(Sha256::digest(bytes)),
                bytes: bytes.clone(),
            })
        });
        pictures.collect()
    }

    fn put_profile(&mut self, body: &Map<String, Value>, call: &mut Call<'_>) -> Answer {
        if text(body, "rkey")? != "self" {
            return refused(400, "InvalidRequest", "Invalid record key: expected \"self\"");
        }
        let record = body.get("record").unwrap_or(&Value::Null);
        if let Some(fault) = lexicon::profile_fault(record) {
            return refused(
                400,
                "InvalidRequest",
                format!("Invalid {PROFILE} record: {fault}"),
            );
        }
        let uri = format!("at://{}/{PROFILE}/self", self.did);
        if self.profile.as_ref() == Some(record) {
            return Ok(json!({ "uri": uri, "cid": cid(record), "validationStatus": "valid" }));
        }
        let swap = match (body.get("swapRecord"), &self.profile) {
            (None, _) | (Some(Value::Null), None) => true,
            (Some(Value::String(expected)), Some(standing)) => *expected == cid(standing),
            (Some(_), _) => false,
        };
        if !swap {
            let was = self.profile.as_ref().map_or_else(|| "null".to_owned(), cid);
            return refused(400, "InvalidSwap", format!("Record was at {was}"));
        }
        self.spend(call, 2)?;
        let pinned = record.pointer("/pinnedPost/uri").and_then(Value::as_str);
        for post in &mut call.book.posts {
            post.pinned = post.deleted_at.is_none() && Some(post.remote_id.as_str()) == pinned;
        }
        self.profile = Some(record.clone());
        let commit = json!({ "cid": cid(record), "rev": tokens::tid(call.now, self.records.len()) });
        Ok(json!({ "uri": uri, "cid": cid(record), "commit": commit, "validationStatus": "valid" }))
    }

    fn record(&self, body: &Map<String, Value>, call: &Call<'_>) -> Answer {
        let Some(record) = body.get("record") else {
            return refused(400, "InvalidRequest", "Input must have the property \"record\"");
        };
        if let Some(fault) = lexicon::fault(record) {
            return refused(400, "InvalidRequest", format!("Invalid {POSTS} record: {fault}"));
        }
        for reference in ["root", "parent"] {
            let Some(place) = record.pointer(&format!("/reply/{reference}")) else {
                continue;
            };
            let rkey = place["uri"]
                .as_str()
                .and_then(|uri| uri.rsplit('/').next())
                .unwrap_or_default();
            let known = call
                .book
                .posts
                .iter()
                .any(|p| Some(p.remote_id.as_str()) == place["uri"].as_str());
            // A record that was changed is still the one that was answered to.
            let before = self.earlier.get(rkey).map_or(&[][..], Vec::as_slice);
            let same = self
                .records
                .get(rkey)
                .is_none_or(|r| place["cid"] == cid(r) || before.iter().any(|cid| place["cid"] == **cid));
            if !known || !same {
                return refused(
                    400,
                    "InvalidRequest",
                    "this practice account answers to its own posts only",
                );
            }
        }
        Ok(record.clone())
    }

    fn put(&mut self, call: &mut Call<'_>) -> Answer {
        let fields = [
            "repo",
            "collection",
            "rkey",
            "validate",
            "record",
            "swapRecord",
            "swapCommit",
        ];
        let body = self.write(call, &fields)?;
        if text(&body, "collection")? == PROFILE {
            return self.put_profile(&body, call);
        }
        let rkey = key(&body)?.to_owned();
        let record = self.record(&body, call)?;
        self.pictures(&record)?;
        let standing = self.records.get(&rkey);
        // The server sees that nothing would change before it looks at the swap.
        if standing == Some(&record) {
            return Ok(json!({ "uri": self.uri(&rkey), "cid": cid(&record), "validationStatus": "valid" }));
        }
        let swap = match (body.get("swapRecord"), standing) {
            (None, _) | (Some(Value::Null), None) => true,
            (Some(Value::String(expected)), Some(standing)) => *expected == cid(standing),
            (Some(_), _) => false,
        };
        if !swap {
            let was = standing.map_or_else(|| "null".to_owned(), cid);
            return refused(400, "InvalidSwap", format!("Record was at {was}"));
        }
        self.spend(call, 2)?;
        Ok(self.store(call, rkey, record))
    }

    fn create(&mut self, call: &mut Call<'_>) -> Answer {
        let body = self.write(
            call,
            &["repo", "collection", "rkey", "validate", "record", "swapCommit"],
        )?;
        let record = self.record(&body, call)?;
        self.pictures(&record)?;
        let rkey = match body.get("rkey") {
            Some(_) => key(&body)?.to_owned(),
            None => tokens::tid(call.now, self.records.len()),
        };
        if self.records.contains_key(&rkey) {
            return refused(500, "InternalServerError", "Internal Server Error");
        }
        self.spend(call, 3)?;
        Ok(self.store(call, rkey, record))
    }

    fn delete(&mut self, call: &mut Call<'_>) -> Answer {
        let body = self.write(call, &["repo", "collection", "rkey", "swapRecord", "swapCommit"])?;
        let rkey = key(&body)?.to_owned();
        self.spend(call, 1)?;
        if self.records.remove(&rkey).is_none() {
            return Ok(json!({}));
        }
        let uri = self.uri(&rkey);
        let now = call.now;
        for post in call.book.posts.iter_mut().filter(|p| p.remote_id == uri) {
            post.pinned = false;
            post.deleted_at = post.deleted_at.or(Some(now));
        }
        Ok(json!({ "commit": { "cid": cid(&json!(now)), "rev": tokens::tid(now, 0) } }))
    }

    fn get(&self, call: &Call<'_>) -> Answer {
        let rkey = call.query("rkey").unwrap_or_default();
        let ours = call
            .query("repo")
            .is_some_and(|r| r == self.did || Some(r) == self.handle.as_deref());
        if let (Some(PROFILE), "self", true, Some(record)) =
            (call.query("collection"), rkey, ours, &self.profile)
        {
            let uri = format!("at://{}/{PROFILE}/self", self.did);
            return Ok(json!({ "uri": uri, "cid": cid(record), "value": record }));
        }
        match self.records.get(rkey) {
            Some(record) if ours && call.query("collection") == Some(POSTS) => {
                Ok(json!({ "uri": self.uri(rkey), "cid": cid(record), "value": record }))
            }
            Some(_) | None => refused(
                400,
                "RecordNotFound",
                format!("Could not locate record: {}", self.uri(rkey)),
            ),
        }
    }

    fn list(&self, call: &Call<'_>) -> Answer {
        let limit = match call.query("limit").map(str::parse::<usize>) {
            None => 50,
            Some(Ok(limit @ 1..=100)) => limit,
            Some(_) => return refused(400, "InvalidRequest", "limit must be 1 to 100"),
        };
        let before = call.query("cursor").unwrap_or("zzzzzzzzzzzzzz").to_owned();
        let page: Vec<_> = self.records.range(..before).rev().take(limit).collect();
        let records: Vec<Value> = page
            .iter()
            .map(|(rkey, record)| json!({ "uri": self.uri(rkey), "cid": cid(record), "value": record }))
            .collect();
        let mut answer = json!({ "records": records });
        if let (Some((last, _)), Some(fields)) = (page.last(), answer.as_object_mut()) {
            fields.insert("cursor".to_owned(), json!(last));
        }
        Ok(answer)
    }

    fn spend(&mut self, call: &Call<'_>, points: u32) -> Result<(), (u16, &'static str, String)> {
        if self.writes.spend(call.now.as_second(), points).0 {
            Ok(())
        } else {
            refused(429, "RateLimitExceeded", "Rate Limit Exceeded")
        }
    }

    fn store(&mut self, call: &mut Call<'_>, rkey: String, record: Value) -> Value {
        let uri = self.uri(&rkey);
        let links = record["facets"].as_array().into_iter().flatten();
        let links = links
            .filter_map(|facet| facet.pointer("/features/0/uri")?.as_str().map(str::to_owned))
            .collect();
        let text = record["text"].as_str().unwrap_or_default().to_owned();
        let pictures = self.pictures(&record).unwrap_or_default();
        let standing = call
            .book
            .posts
            .iter_mut()
            .find(|p| p.remote_id == uri && p.deleted_at.is_none());
        if let Some(post) = standing {
            post.text = text;
            post.links = links;
            post.pictures = pictures;
            post.edited_at = Some(call.now);
        } else {
            call.book.posts.push(Posted {
                account: self.account.clone(),
                mode: mode(call.base),
                remote_id: uri.clone(),
                text,
                links,
                key: Some(rkey.clone()),
                in_reply_to: record
                    .pointer("/reply/parent/uri")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                recipient: None,
                subject: None,
                at: call.now,
                deleted_at: None,
                edited_at: None,
                pinned: false,
                pictures,
                shown: std::collections::BTreeMap::new(),
            });
        }
        let cid = cid(&record);
        let commit = json!({ "cid": cid, "rev": tokens::tid(call.now, self.records.len()) });
        if let Some(before) = self.records.insert(rkey.clone(), record) {
            self.earlier.entry(rkey).or_default().push(self::cid(&before));
        }
        json!({ "uri": uri, "cid": cid, "commit": commit, "validationStatus": "valid" })
    }

    fn uri(&self, rkey: &str) -> String {
        format!("at://{}/{POSTS}/{rkey}", self.did)
    }
}

impl Simulator for Bluesky {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![("app_password".to_owned(), self.app_password.clone())]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let now = call.now.as_second();
        let limits = if call.path.ends_with("createSession") {
            &mut self.logins
        } else {
            &mut self.writes
        };
        let (_, before) = limits.spend(now, 0);
        let (mut response, headers) = match self.route(&mut call) {
            Ok(Value::Null) => (Response::new(Vec::new()), self.writes.spend(now, 0).1),
            Ok(body) => (reply(200, &body), self.writes.spend(now, 0).1),
            Err((status, name, message)) => (
                reply(status, &json!({ "error": name, "message": message })),
                before,
            ),
        };
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// What the lexicon says against a record, for the adapter's own tests.
#[cfg(test)]
pub(crate) fn lexicon_fault(record: &Value) -> Option<String> {
    lexicon::fault(record)
}

/// The same of a profile.
#[cfg(test)]
pub(crate) fn profile_lexicon_fault(record: &Value) -> Option<String> {
    lexicon::profile_fault(record)
}
