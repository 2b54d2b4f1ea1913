//! A simulated ntfy server with one topic that only a token may read and write: `docs/channels/ntfy.md` as a program.
//! Stricter than the real one in one point: it refuses fields that it does not know.

use std::collections::BTreeMap;

use http::{Method, Response};
use serde_json::{Value, json};

use super::Posted;
use super::sim::{Call, Simulator, page, reply};
use crate::channel::ntfy::{PRACTICE_BACKSTAGE, PRACTICE_TOPIC};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

/// From here on a message becomes a file.
const MAX_MESSAGE: usize = 4096;
/// Seconds that messages are kept.
const CACHE: i64 = 12 * 3600;
/// Requests at once, and seconds for another one.
const BURST: f64 = 60.0;
const SECONDS_EACH: f64 = 5.0;
/// Messages per day.
const DAILY: u32 = 17_280;

type Answer = Response<Vec<u8>>;

/// The account, its topic and its server.
pub(super) struct Ntfy {
    account: AccountId,
    token: String,
    kept: Vec<Value>,
    left: f64,
    counted_at: Option<Timestamp>,
    /// The day that is counted, and the messages of it.
    day: (i64, u32),
}

/// The server's own form of an error; its status is the code's first three digits.
fn refused(code: u16, text: &str) -> Answer {
    let status = code / 100;
    let link = "https://ntfy.sh/docs/publish/";
    reply(
        status,
        &json!({ "code": code, "http": status, "error": text, "link": link }),
    )
}

impl Ntfy {
    /// A topic without messages.
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            token: format!("tk_{}", hex::encode(rand::random::<[u8; 15]>())),
            kept: Vec::new(),
            left: BURST,
            counted_at: None,
            day: (0, 0),
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Answer {
        let path: Vec<&str> = call.path.split('/').skip(1).collect();
        let method = call.method.clone();
        if !self.take(call.now) {
            return refused(42901, "limit reached: too many requests");
        }
        match (&method, path.as_slice()) {
            (&Method::GET, ["v1", "health"]) => return reply(200, &json!({ "healthy": true })),
            (&Method::GET, [PRACTICE_TOPIC]) => {
                return page(call.book.posts.last().map(|post| post.text.as_str()));
            }
            _ => {}
        }
        match call.bearer() {
            None => return refused(40301, "forbidden"),
            Some(token) if token != self.token => return refused(40101, "unauthorized"),
            Some(_) => {}
        }
        if call.guise.dead(call.now).is_some() {
            return refused(40101, "unauthorized");
        }
        match (&method, path.as_slice()) {
            (&Method::GET, ["v1", "account"]) => reply(200, &json!({ "username": "kris", "role": "user" })),
            (&Method::GET, [topic, "auth"]) => match *topic {
                PRACTICE_TOPIC if call.guise.is("write-only") => refused(40301, "forbidden"),
                PRACTICE_TOPIC => reply(200, &json!({ "success": true })),
                _ => refused(40301, "forbidden"),
            },
            (&Method::GET, [topic, "json"]) => match *topic {
                PRACTICE_TOPIC | PRACTICE_BACKSTAGE => self.poll(call, topic),
                _ => refused(40301, "forbidden"),
            },
            (&Method::POST | &Method::PUT, [""]) => self.publish(call),
            _ => refused(40401, "page not found"),
        }
    }

    /// Whether the visitor has a request left.
    fn take(&mut self, now: Timestamp) -> bool {
        let since = self
            .counted_at
            .map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
        self.counted_at = Some(now);
        self.left = (self.left + since / SECONDS_EACH).min(BURST);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }

    fn publish(&mut self, call: &mut Call<'_>) -> Answer {
        const KNOWN: &[&str] = &["topic", "title", "message", "priority", "tags", "click"];
        let Some(Value::Object(fields)) = call.json() else {
            return refused(40024, "invalid request: body must be message JSON");
        };
        if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return refused(40024, &format!("invalid request: unknown field {name}"));
        }
        let text = |name: &str| fields.get(name).map_or(Some(""), Value::as_str);
        let (Some(topic), Some(title), Some(message), Some(click)) =
            (text("topic"), text("title"), text("message"), text("click"))
        else {
            return refused(40024, "invalid request: body must be message JSON");
        };
        let is_topic = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if topic.is_empty() || topic.len() > 64 || !topic.chars().all(is_topic) {
            return refused(40009, "invalid request: topic invalid");
        }
        if topic != PRACTICE_TOPIC && topic != PRACTICE_BACKSTAGE {
            return refused(40301, "forbidden");
        }
        let priority = fields.get("priority").map_or(Some(3), Value::as_i64);
        let Some(priority) = priority.filter(|priority| (1..=5).contains(priority)) else {
            return refused(40007, "invalid request: priority invalid");
        };
        let tags: Option<Vec<String>> = fields
            .get("tags")
            .map_or(Some(Vec::new()), |tags| serde_json::from_value(tags.clone()).ok());
        let Some(tags) = tags else {
            return refused(40024, "invalid request: body must be message JSON");
        };
        if !click.is_empty() && url::Url::parse(click).is_err() {
            return refused(40024, "invalid request: click must be an address");
        }
        let today = call.now.as_second().div_euclid(24 * 3600);
        if self.day.0 != today {
            self.day = (today, 0);
        }
        if self.day.1 >= DAILY {
            return refused(42908, "limit reached: daily message quota reached");
        }
        self.day.1 += 1;
        let is_file = message.len() > MAX_MESSAGE;
        let message = match message.trim() {
            _ if is_file => "You received a file: attachment.txt",
            "" => "triggered",
            text => text,
        };
        let id: String = hex::encode(rand::random::<[u8; 5]>());
        let mut kept = json!({
            "id": id, "time": call.now.as_second(), "expires": call.now.as_second() + CACHE, "event": "message",
            "topic": topic, "title": title, "message": message, "priority": priority, "tags": tags, "click": click,
        });
        if is_file {
            kept["attachment"] = json!({ "name": "attachment.txt", "type": "text/plain; charset=utf-8" });
        }
        self.kept.push(kept.clone());
        let mut links: Vec<String> = super::page::links(message);
        if !click.is_empty() && !links.iter().any(|link| link == click) {
            links.push(click.to_owned());
        }
        let book = if topic == PRACTICE_TOPIC {
            &mut call.book.posts
        } else {
            &mut call.book.backstage
        };
        book.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: id,
            text: message.to_owned(),
            links,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: Some(title.to_owned()).filter(|title| !title.is_empty()),
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: BTreeMap::from([
                ("priority".to_owned(), priority.to_string()),
                ("tags".to_owned(), tags.join(",")),
                ("click".to_owned(), click.to_owned()),
            ]),
        });
        reply(200, &kept)
    }

    /// What is kept, a line each.
    fn poll(&self, call: &Call<'_>, topic: &str) -> Answer {
        if let Some(name) = call.unknown_query(&["poll", "since"]) {
            return refused(40024, &format!("unknown parameter {name}"));
        }
        if call.query("poll") != Some("1") {
            return refused(40024, "this server does not stream");
        }
        let now = call.now.as_second();
        let since = match call.query("since") {
            None | Some("all") => 0,
            Some(time) => match time.parse::<i64>() {
                Ok(time) => time,
                Err(_) => return refused(40008, "invalid request: since parameter"),
            },
        };
        let lines = self
            .kept
            .iter()
            .filter(|message| {
                let at = message["time"].as_i64().unwrap_or(0);
                message["topic"] == topic && at >= since && at + CACHE > now
            })
            .fold(String::new(), |lines, message| {
                lines + &message.to_string() + "\n"
            });
        let mut answer = reply(200, &Value::Null);
        *answer.body_mut() = lines.into_bytes();
        answer
    }
}

impl Simulator for Ntfy {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![("access_token".to_owned(), self.token.clone())]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Answer {
        self.route(&mut call)
    }
}
