//! A simulated Mattermost server with one incoming webhook: `docs/channels/mattermost.md` as a program. Stricter than the
//! real one in one point: it refuses fields that it does not know.

use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};

use super::Posted;
use super::sim::{Call, Simulator, behind, reply};
use crate::model::{AccountId, Mode};

/// From here on a text becomes several posts.
const MAX_RUNES: usize = 16_383;
/// The limiter: so many requests in a second.
const PER_SECOND: u32 = 10;
/// Channels that the hook's team has.
const CHANNELS: &[&str] = &["krisledning", "town-square"];

type Answer = Response<Vec<u8>>;

/// The server, its hook and the hook's channel.
pub(super) struct Mattermost {
    account: AccountId,
    key: String,
    /// The key of the webhook whose channel only we see.
    hidden: String,
    second: (i64, u32),
    posts: u64,
}

fn error(status: u16, id: &str, text: &str) -> Answer {
    let body = json!({ "id": format!("web.incoming_webhook.{id}.app_error"), "message": text,
                       "detailed_error": "", "request_id": "wall", "status_code": status });
    reply(status, &body)
}

impl Mattermost {
    /// A hook that has posted nothing.
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            key: hex::encode(rand::random::<[u8; 13]>()),
            hidden: hex::encode(rand::random::<[u8; 13]>()),
            second: (0, 0),
            posts: 0,
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Answer {
        let second = call.now.as_second();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        if self.second.1 > PER_SECOND {
            let mut answer = reply(429, &Value::Null);
            *answer.body_mut() = b"limit exceeded".to_vec();
            for name in ["retry-after", "x-ratelimit-reset"] {
                answer.headers_mut().insert(name, HeaderValue::from_static("1"));
            }
            return answer;
        }
        match (call.method, call.path.strip_prefix("/hooks/").map(str::to_owned)) {
            (&Method::POST, Some(key)) => self.post(call, &key),
            _ => error(404, "not_found", "Sorry, we could not find the page."),
        }
    }

    /// In the server's own order: the message, the hook, its channel.
    fn post(&mut self, call: &mut Call<'_>, key: &str) -> Answer {
        const KNOWN: &[&str] = &["text", "channel", "username", "icon_url", "props", "priority"];
        let Some(Value::Object(fields)) = call.json() else {
            return error(400, "parse", "Unable to parse incoming data.");
        };
        if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return error(400, "parse", &format!("unknown field {name}"));
        }
        let text = fields.get("text").and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            return error(400, "text", "No text specified.");
        }
        if key != self.key || call.guise.revoked {
            return error(400, "invalid", "Invalid webhook.");
        }
        let channel = fields.get("channel").map_or(Some("krisledning"), Value::as_str);
        if channel.is_none_or(|channel| !CHANNELS.contains(&channel)) {
            return error(404, "channel", "Couldn't find the channel.");
        }
        let priority = fields
            .get("priority")
            .and_then(|priority| priority["priority"].as_str());
        if fields.contains_key("priority") && !matches!(priority, Some("urgent" | "important")) {
            return error(400, "parse", "invalid priority");
        }
        let mark = fields
            .get("props")
            .and_then(|props| props["vardkase_delivery"].as_str());
        let runes: Vec<char> = text.chars().collect();
        for part in runes.chunks(MAX_RUNES) {
            let part: String = part.iter().collect();
            self.book(call, &part, mark, priority);
        }
        let mut answer = reply(200, &Value::Null);
        *answer.body_mut() = b"ok".to_vec();
        let plain = HeaderValue::from_static("text/plain");
        answer.headers_mut().insert("content-type", plain);
        answer
    }

    fn book(&mut self, call: &mut Call<'_>, text: &str, mark: Option<&str>, priority: Option<&str>) {
        let mut subject = None;
        let mut rest = Vec::new();
        let mut links: Vec<String> = Vec::new();
        for line in text.lines() {
            if let (Some(heading), true) = (line.strip_prefix("#### "), subject.is_none()) {
                subject = Some(super::markdown::read(heading).0);
                continue;
            }
            let (seen, found) = super::markdown::read(line);
            rest.push(seen);
            for link in found {
                if !links.contains(&link) {
                    links.push(link);
                }
            }
        }
        self.posts += 1;
        let priority = priority.map(|priority| ("priority".to_owned(), priority.to_owned()));
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: format!("post{}", self.posts),
            text: rest.join("\n").trim().to_owned(),
            links,
            key: mark.map(str::to_owned),
            in_reply_to: None,
            recipient: None,
            subject,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: priority.into_iter().collect(),
        });
    }
}

impl Simulator for Mattermost {
    fn secrets(&self) -> Vec<(String, String)> {
        let address = |key: &str| format!("https://chatt.ovning.example/hooks/{key}");
        vec![
            ("webhook".to_owned(), address(&self.key)),
            ("backstage_webhook".to_owned(), address(&self.hidden)),
        ]
    }

    fn answer(&mut self, call: Call<'_>) -> Answer {
        let (hidden, public) = (self.hidden.clone(), self.key.clone());
        behind(call, &hidden, &public, |mut call| self.route(&mut call))
    }
}
