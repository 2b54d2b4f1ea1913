//! A simulated Matrix server with one account in one room: `docs/channels/matrix.md` as a program. Stricter than the real
//! ones in three points: it refuses fields that it does not know, changes to messages that are not there, and pictures
//! that were never uploaded.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sim::{Call, Simulator, page, reply};
use super::{Posted, ShownPicture};
use crate::channel::matrix::{PRACTICE_BACKSTAGE, PRACTICE_ROOM};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

mod content;

use content::{Content, MARK};

const USER: &str = "@vardkase:ovning";
const DEVICE: &str = "VARDKASE";
/// An event's largest size, and what the server adds to it.
const MAX_EVENT: usize = 65_536;
const ENVELOPE: usize = 600;
/// Largest file.
const MAX_UPLOAD: usize = 8 * 1024 * 1024;
/// How long a transaction id is remembered.
const TRANSACTION_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Events at once, and seconds for another one.
const BURST: f64 = 10.0;
const SECONDS_EACH: f64 = 5.0;

struct Event {
    id: String,
    kind: &'static str,
    content: Value,
    transaction: String,
    at: Timestamp,
    redacted: bool,
}

impl Event {
    /// As the client API gives it.
    fn show(&self) -> Value {
        let mut shown = json!({
            "type": self.kind,
            "sender": USER,
            "event_id": self.id,
            "room_id": PRACTICE_ROOM,
            "origin_server_ts": self.at.as_millisecond(),
            "content": if self.redacted { json!({}) } else { self.content.clone() },
            "unsigned": { "transaction_id": self.transaction },
        });
        if self.redacted {
            shown["unsigned"]["redacted_because"] = json!({ "type": "m.room.redaction", "sender": USER });
        }
        shown
    }
}

struct File {
    media_type: String,
    bytes: Vec<u8>,
}

/// The account, its room and its server.
pub(super) struct Matrix {
    account: AccountId,
    token: String,
    refresh: String,
    /// A pair that was given out and not used yet: until then the old one is good.
    next: Option<(String, String)>,
    events: Vec<Event>,
    transactions: BTreeMap<String, (String, Timestamp)>,
    pinned: Vec<String>,
    files: BTreeMap<String, File>,
    /// What is left of the burst, and when that was true.
    left: f64,
    counted_at: Option<Timestamp>,
}

type Answer = Response<Vec<u8>>;

/// The standard error.
fn error(status: u16, code: &str, text: &str) -> Answer {
    reply(status, &json!({ "errcode": code, "error": text }))
}

/// What the server says no to.
struct Refusal {
    status: u16,
    code: &'static str,
    text: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, code, text }
    }

    fn answer(&self) -> Answer {
        error(self.status, self.code, &self.text)
    }
}

fn secret() -> String {
    format!("syt_{}", hex::encode(rand::random::<[u8; 20]>()))
}

impl Matrix {
    /// An account that is a member of an empty room.
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            token: secret(),
            refresh: secret(),
            next: None,
            events: Vec::new(),
            transactions: BTreeMap::new(),
            pinned: Vec::new(),
            files: BTreeMap::new(),
            left: BURST,
            counted_at: None,
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Answer {
        let decoded: Vec<String> = call.path.split('/').skip(1).map(percent_decoded).collect();
        let path: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let method = call.method.clone();
        match (&method, path.as_slice()) {
            // What a resident finds in the room.
            (&Method::GET, [""]) => {
                let latest = call
                    .book
                    .posts
                    .iter()
                    .rev()
                    .find(|post| post.deleted_at.is_none());
                return page(latest.map(|post| post.text.as_str()));
            }
            (&Method::GET, ["_matrix", "client", "versions"]) => {
                return reply(200, &json!({ "versions": ["v1.10", "v1.11", "v1.12"] }));
            }
            (&Method::POST, ["_matrix", "client", "v3", "refresh"]) => return self.renew(call),
            _ => {}
        }
        if call.guise.dead(call.now).is_some() {
            return error(401, "M_UNKNOWN_TOKEN", "Access token has expired or been revoked");
        }
        match call.bearer().map(str::to_owned) {
            None => return error(401, "M_MISSING_TOKEN", "Missing access token"),
            Some(token) => {
                if let Some((access, refresh)) = self.next.take_if(|next| next.0 == token) {
                    (self.token, self.refresh) = (access, refresh);
                }
                if token != self.token {
                    return error(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.");
                }
            }
        }
        match (&method, path.as_slice()) {
            (&Method::GET, ["_matrix", "client", "v3", "account", "whoami"]) => reply(
                200,
                &json!({ "user_id": call.guise.id.as_deref().unwrap_or(USER), "device_id": DEVICE, "is_guest": false }),
            ),
            (&Method::GET, ["_matrix", "client", "v3", "joined_rooms"]) => {
                reply(200, &json!({ "joined_rooms": [PRACTICE_ROOM] }))
            }
            (&Method::GET, ["_matrix", "client", "v1", "media", "config"]) => {
                reply(200, &json!({ "m.upload.size": MAX_UPLOAD }))
            }
            (&Method::POST, ["_matrix", "media", "v3", "upload"]) => self.upload(call),
            (_, ["_matrix", "client", "v3", "rooms", room, rest @ ..]) => {
                if *room == PRACTICE_BACKSTAGE {
                    return self.behind(call, rest);
                }
                if *room != PRACTICE_ROOM {
                    return error(403, "M_FORBIDDEN", "User not in room");
                }
                self.in_room(call, rest)
            }
            _ => error(404, "M_UNRECOGNIZED", "Unrecognized request"),
        }
    }

    fn in_room(&mut self, call: &mut Call<'_>, path: &[&str]) -> Answer {
        let method = call.method.clone();
        match (&method, path) {
            (&Method::PUT, ["send", "m.room.message", transaction]) => {
                self.once(call, transaction, |me, call| me.send(call, transaction))
            }
            (&Method::PUT, ["redact", event, transaction]) => {
                self.once(call, transaction, |me, call| me.redact(call, event, transaction))
            }
            (&Method::PUT, ["state", "m.room.pinned_events"]) => self.pin(call),
            (&Method::GET, ["state", kind]) => self.state(call, kind),
            (&Method::GET, ["joined_members"]) => {
                let count = usize::try_from(call.guise.followers().min(5000)).unwrap_or_default();
                let joined = (0..count).map(|n| (format!("@boende{n}:ovning"), json!({})));
                reply(
                    200,
                    &json!({ "joined": joined.collect::<serde_json::Map<_, _>>() }),
                )
            }
            (&Method::GET, ["messages"]) => self.messages(call),
            (&Method::GET, ["event", id]) => match self.find(id) {
                Some(event) => reply(200, &event.show()),
                None => error(404, "M_NOT_FOUND", "Event not found."),
            },
            _ => error(404, "M_UNRECOGNIZED", "Unrecognized request"),
        }
    }

    /// The room that only we are in.
    fn behind(&mut self, call: &mut Call<'_>, path: &[&str]) -> Answer {
        let method = call.method.clone();
        let body = call.json().unwrap_or_default();
        match (&method, path) {
            (&Method::PUT, ["send", "m.room.message", transaction]) => {
                let Ok(Content::Text { body: text, .. }) = Content::read(&body) else {
                    return error(400, "M_BAD_JSON", "a message of text is wanted");
                };
                let id = format!("$prov{}", call.book.backstage.len());
                let posted = self.posted(id.clone(), text, Some((*transaction).to_owned()), call.now);
                call.book.backstage.push(posted);
                reply(200, &json!({ "event_id": id }))
            }
            (&Method::GET, ["event", id]) => {
                let found = call.book.backstage.iter().find(|posted| posted.remote_id == *id);
                match found {
                    Some(posted) => reply(
                        200,
                        &json!({ "event_id": id, "sender": USER, "type": "m.room.message",
                                 "content": { "msgtype": "m.text", "body": posted.text } }),
                    ),
                    None => error(404, "M_NOT_FOUND", "Event not found."),
                }
            }
            (&Method::PUT, ["redact", id, _]) => {
                for posted in call
                    .book
                    .backstage
                    .iter_mut()
                    .filter(|posted| posted.remote_id == *id)
                {
                    posted.deleted_at = posted.deleted_at.or(Some(call.now));
                }
                reply(200, &json!({ "event_id": format!("{id}-redacted") }))
            }
            _ => error(404, "M_UNRECOGNIZED", "Unrecognized request"),
        }
    }

    fn find(&self, id: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.id == id)
    }

    /// Does it, or answers what the same transaction gave before; the content of a repeat is not even looked at.
    fn once(
        &mut self,
        call: &mut Call<'_>,
        transaction: &str,
        act: impl FnOnce(&mut Self, &mut Call<'_>) -> Result<String, Refusal>,
    ) -> Answer {
        if transaction.is_empty() || transaction.len() > 255 {
            return error(400, "M_INVALID_PARAM", "transaction id");
        }
        // As Synapse does on disk: by room and device, whatever the rest of the path.
        let known = self.transactions.get(transaction);
        if let Some((event, at)) = known
            && call.now.duration_since(*at) < TRANSACTION_LIFE
        {
            return reply(200, &json!({ "event_id": event }));
        }
        if let Some(busy) = self.busy(call.now) {
            return busy;
        }
        match act(self, call) {
            Ok(event) => {
                let entry = (event.clone(), call.now);
                self.transactions.insert(transaction.to_owned(), entry);
                reply(200, &json!({ "event_id": event }))
            }
            Err(refusal) => refusal.answer(),
        }
    }

    /// Takes one event from what the account may send; the answer if there is none.
    fn busy(&mut self, now: Timestamp) -> Option<Answer> {
        let since = self
            .counted_at
            .map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
        self.left = (self.left + since / SECONDS_EACH).min(BURST);
        self.counted_at = Some(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return None;
        }
        let wait = std::time::Duration::from_secs_f64((1.0 - self.left) * SECONDS_EACH);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let mut answer = reply(
            429,
            &json!({ "errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": millis }),
        );
        let seconds = HeaderValue::from(millis.div_ceil(1000));
        answer.headers_mut().insert("retry-after", seconds);
        Some(answer)
    }

    fn add(&mut self, kind: &'static str, content: Value, transaction: &str, now: Timestamp) -> String {
        let digest = Sha256::digest(format!("{}{}{transaction}", self.account, self.events.len()));
        let id = format!(
            "${}",
            hex::encode(digest.as_slice().get(..16).unwrap_or_default())
        );
        self.events.push(Event {
            id: id.clone(),
            kind,
            content,
            transaction: transaction.to_owned(),
            at: now,
            redacted: false,
        });
        id
    }

    fn send(&mut self, call: &mut Call<'_>, transaction: &str) -> Result<String, Refusal> {
        let body = object(call)?;
        if call.body.len() + ENVELOPE > MAX_EVENT {
            return Err(Refusal::new(413, "M_TOO_LARGE", "event too large"));
        }
        let content = Content::read(&body).map_err(|wrong| Refusal::new(400, "M_BAD_JSON", wrong))?;
        let mark = body[MARK].as_str().map(str::to_owned);
        match content {
            Content::Text { body: text, answers } => {
                let id = self.add("m.room.message", body, transaction, call.now);
                self.book_text(call, id.clone(), text, answers, mark);
                Ok(id)
            }
            Content::Change { of, body: text } => {
                if self.find(&of).is_none_or(|event| event.redacted) {
                    return Err(Refusal::new(400, "M_INVALID_PARAM", "no such message to change"));
                }
                let id = self.add("m.room.message", body, transaction, call.now);
                for post in call.book.posts.iter_mut().filter(|post| post.remote_id == of) {
                    post.links = super::page::links(&text);
                    post.text.clone_from(&text);
                    post.edited_at = Some(call.now);
                }
                Ok(id)
            }
            Content::Image { url, alt, size } => {
                let Some(file) = self.files.get(&url).filter(|file| file.bytes.len() == size) else {
                    return Err(Refusal::new(
                        400,
                        "M_INVALID_PARAM",
                        "no such file, or of another size",
                    ));
                };
                let shown = ShownPicture {
                    alt: alt.clone(),
                    media_type: file.media_type.clone(),
                    digest: hex::encode(Sha256::digest(&file.bytes)),
                    bytes: file.bytes.clone(),
                };
                let id = self.add("m.room.message", body, transaction, call.now);
                // A message of its own until the text that belongs to it comes.
                call.book.posts.push(Posted {
                    pictures: vec![shown],
                    shown: BTreeMap::from([("picture".to_owned(), id.clone())]),
                    ..self.posted(id.clone(), alt, mark, call.now)
                });
                Ok(id)
            }
        }
    }

    fn book_text(
        &self,
        call: &mut Call<'_>,
        id: String,
        text: String,
        answers: Option<String>,
        mark: Option<String>,
    ) {
        let waiting = call.book.posts.iter_mut().find(|post| {
            mark.is_some() && post.key == mark && post.shown.get("picture") == Some(&post.remote_id)
        });
        if let Some(post) = waiting {
            post.links = super::page::links(&text);
            post.text = text;
            post.remote_id = id;
            post.in_reply_to = answers;
            return;
        }
        call.book.posts.push(Posted {
            in_reply_to: answers,
            ..self.posted(id, text, mark, call.now)
        });
    }

    fn posted(&self, remote_id: String, text: String, key: Option<String>, at: Timestamp) -> Posted {
        Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id,
            links: super::page::links(&text),
            text,
            key,
            in_reply_to: None,
            recipient: None,
            subject: None,
            at,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    fn redact(&mut self, call: &mut Call<'_>, id: &str, transaction: &str) -> Result<String, Refusal> {
        let body = object(call)?;
        content::only(&body, &["reason"]).map_err(|wrong| Refusal::new(400, "M_BAD_JSON", wrong))?;
        let Some(event) = self.events.iter_mut().find(|event| event.id == id) else {
            return Err(Refusal::new(404, "M_NOT_FOUND", "Could not find event"));
        };
        event.redacted = true;
        for post in &mut call.book.posts {
            if post.remote_id == id && post.deleted_at.is_none() {
                post.deleted_at = Some(call.now);
            }
            if post.shown.get("picture").is_some_and(|picture| picture == id) {
                post.pictures.clear();
            }
        }
        Ok(self.add(
            "m.room.redaction",
            json!({ "redacts": id }),
            transaction,
            call.now,
        ))
    }

    fn pin(&mut self, call: &mut Call<'_>) -> Answer {
        let body = match object(call) {
            Ok(body) => body,
            Err(refusal) => return refusal.answer(),
        };
        let pinned: Option<Vec<String>> = serde_json::from_value(body["pinned"].clone()).ok();
        match (content::only(&body, &["pinned"]), pinned) {
            (Ok(()), Some(pinned)) => self.pinned = pinned,
            (Err(wrong), _) => return error(400, "M_BAD_JSON", &wrong),
            (Ok(()), None) => return error(400, "M_BAD_JSON", "pinned must be a list of event ids"),
        }
        for post in &mut call.book.posts {
            post.pinned = self.pinned.contains(&post.remote_id);
        }
        let id = self.add("m.room.pinned_events", body, "", call.now);
        reply(200, &json!({ "event_id": id }))
    }

    fn state(&self, call: &Call<'_>, kind: &str) -> Answer {
        match kind {
            "m.room.create" if call.query("format") == Some("event") => reply(
                200,
                &json!({ "type": kind, "sender": "@admin:ovning", "state_key": "",
                         "content": { "room_version": "12" } }),
            ),
            "m.room.create" => reply(200, &json!({ "room_version": "12" })),
            "m.room.power_levels" => reply(
                200,
                &json!({ "users": { call.guise.id.as_deref().unwrap_or(USER): power(call) }, "users_default": 0,
                         "events_default": 50, "state_default": 50,
                         "events": { "m.room.message": 50, "m.room.pinned_events": 60, "m.room.power_levels": 100 } }),
            ),
            "m.room.name" => {
                let name = call.guise.name.as_deref().unwrap_or("Krisinformation");
                reply(200, &json!({ "name": name }))
            }
            "m.room.topic" => reply(200, &json!({ "topic": call.guise.about(2000) })),
            "m.room.join_rules" => {
                let rule = if call.guise.is("invite") {
                    "invite"
                } else {
                    "public"
                };
                reply(200, &json!({ "join_rule": rule }))
            }
            "m.room.encryption" if call.guise.is("encrypted") => {
                reply(200, &json!({ "algorithm": "m.megolm.v1.aes-sha2" }))
            }
            "m.room.pinned_events" if !self.pinned.is_empty() => {
                reply(200, &json!({ "pinned": self.pinned }))
            }
            _ => error(404, "M_NOT_FOUND", "Event not found."),
        }
    }

    fn messages(&self, call: &Call<'_>) -> Answer {
        if call.query("dir") != Some("b") {
            return error(400, "M_MISSING_PARAM", "this server is read backwards only");
        }
        let filter = match call.query("filter").map(serde_json::from_str::<Value>) {
            None => Value::Null,
            Some(Ok(filter)) => filter,
            Some(Err(_)) => return error(400, "M_BAD_JSON", "filter"),
        };
        let listed = |list: &Value, word: &str| {
            list.as_array()
                .is_none_or(|list| list.iter().any(|one| one == word))
        };
        let limit: usize = call.query("limit").and_then(|n| n.parse().ok()).unwrap_or(10);
        let until = match call.query("from") {
            None => self.events.len(),
            Some(token) => match token.strip_prefix('t').and_then(|n| n.parse().ok()) {
                Some(index) if index <= self.events.len() => index,
                _ => return error(400, "M_INVALID_PARAM", "from"),
            },
        };
        // A page is cut before it is filtered, so that an empty one need not be the last.
        let from = until.saturating_sub(limit.min(100));
        let page = self.events.get(from..until).unwrap_or_default();
        let chunk: Vec<Value> = page
            .iter()
            .rev()
            .filter(|event| listed(&filter["types"], event.kind) && listed(&filter["senders"], USER))
            .map(Event::show)
            .collect();
        let others = call.guise.others.iter().filter(|_| call.query("from").is_none());
        let others = others.map(|other| {
            json!({
                "type": "m.room.message", "sender": USER, "event_id": other.id, "room_id": PRACTICE_ROOM,
                "origin_server_ts": other.at.as_millisecond(), "content": { "msgtype": "m.text", "body": other.text },
            })
        });
        // What others made is only on the first page.
        let chunk: Vec<Value> = others.chain(chunk).collect();
        let mut body = json!({ "chunk": chunk, "start": format!("t{until}") });
        if from > 0 {
            body["end"] = format!("t{from}").into();
        }
        reply(200, &body)
    }

    fn upload(&mut self, call: &Call<'_>) -> Answer {
        if call.body.len() > MAX_UPLOAD {
            return error(413, "M_TOO_LARGE", "Upload request body is too large");
        }
        let media_type = call.header("content-type").unwrap_or_default();
        if !matches!(media_type, "image/jpeg" | "image/png") || call.body.is_empty() {
            return error(400, "M_BAD_JSON", "this room shows pictures only");
        }
        let digest = hex::encode(Sha256::digest(call.body));
        let address = format!("mxc://ovning/{}{}", self.files.len(), digest);
        let file = File {
            media_type: media_type.to_owned(),
            bytes: call.body.to_vec(),
        };
        self.files.insert(address.clone(), file);
        reply(200, &json!({ "content_uri": address }))
    }

    /// A new pair of tokens; the old one is good until the new access token is used.
    fn renew(&mut self, call: &Call<'_>) -> Answer {
        let body = match object(call) {
            Ok(body) => body,
            Err(refusal) => return refusal.answer(),
        };
        if let Err(wrong) = content::only(&body, &["refresh_token"]) {
            return error(400, "M_BAD_JSON", &wrong);
        }
        let given = body["refresh_token"].as_str();
        let good =
            given == Some(&self.refresh) || self.next.as_ref().is_some_and(|(_, next)| given == Some(next));
        if !good {
            return error(403, "M_FORBIDDEN", "invalid refresh token");
        }
        let pair = (secret(), secret());
        let answer = json!({ "access_token": pair.0, "refresh_token": pair.1, "expires_in_ms": 300_000 });
        self.next = Some(pair);
        reply(200, &answer)
    }
}

impl Simulator for Matrix {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![
            ("access_token".to_owned(), self.token.clone()),
            ("refresh_token".to_owned(), self.refresh.clone()),
        ]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Answer {
        self.route(&mut call)
    }
}

/// The account's power in the room; a test says it as a role.
fn power(call: &Call<'_>) -> i64 {
    let role = call.guise.role.as_ref().and_then(|role| role.parse().ok());
    role.unwrap_or(60)
}

fn object(call: &Call<'_>) -> Result<Value, Refusal> {
    match call.json() {
        Some(body @ Value::Object(_)) => Ok(body),
        Some(_) => Err(Refusal::new(400, "M_BAD_JSON", "Content must be a JSON object.")),
        None => Err(Refusal::new(400, "M_NOT_JSON", "Content not JSON.")),
    }
}

/// A path segment with its escapes read; one that cannot be read stays as it is.
fn percent_decoded(segment: &str) -> String {
    let plus_kept = segment.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={}", plus_kept.replace('&', "%26")).as_bytes())
        .next()
        .map_or_else(|| segment.to_owned(), |(_, value)| value.into_owned())
}
