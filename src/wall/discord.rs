//! A simulated Discord channel behind a webhook: `docs/channels/discord.md` as a program. Stricter than the real one in one
//! point: it refuses fields that it does not know, where Discord ignores them.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::multipart;
use super::sim::{Call, Simulator, behind, reply};
use super::{Posted, ShownPicture};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

const HOOK_ID: &str = "1100000000000001055";
const CHANNEL_ID: &str = "1100000000000002066";
/// The channel that only we see.
const HIDDEN_CHANNEL_ID: &str = "1100000000000009999";
const MAX_CHARACTERS: usize = 2000;
const MAX_REQUEST: usize = 10 * 1024 * 1024;
const MAX_DESCRIPTION: usize = 1024;
/// So many requests …
const BUCKET: usize = 5;
/// … in so long.
const WINDOW: SignedDuration = SignedDuration::from_secs(2);

struct Refusal(u16, u64, &'static str);

impl Refusal {
    fn form(what: &'static str) -> Self {
        Self(400, 50_035, what)
    }

    fn no_message() -> Self {
        Self(404, 10_008, "Unknown Message")
    }
}

/// The channel.
pub struct Discord {
    account: AccountId,
    name: String,
    token: String,
    /// The token of the webhook whose channel only we see.
    hidden: String,
    taken: Vec<Timestamp>,
    made: u64,
}

impl Discord {
    /// A channel without messages. `name` is the webhook's.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            token: hex::encode(rand::random::<[u8; 34]>()),
            hidden: hex::encode(rand::random::<[u8; 34]>()),
            taken: Vec::new(),
            made: 0,
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<(u16, Value), Refusal> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let ["api", "v10", "webhooks", hook, token, below @ ..] = path.as_slice() else {
            return Err(Refusal(404, 0, "404: Not Found"));
        };
        if *hook != HOOK_ID {
            return Err(Refusal(404, 10_015, "Unknown Webhook"));
        }
        if call.guise.revoked {
            return Err(Refusal(404, 10_015, "Unknown Webhook"));
        }
        if *token != self.token {
            return Err(Refusal(401, 50_027, "Invalid Webhook Token"));
        }
        if call
            .query
            .iter()
            .any(|(name, _)| !matches!(name.as_str(), "wait" | "thread_id"))
        {
            return Err(Refusal::form("unknown query parameter"));
        }
        if call.query("thread_id").is_some() {
            return Err(Refusal(404, 10_003, "Unknown Channel"));
        }
        match (call.method, below) {
            (&Method::GET, []) => Ok((
                200,
                json!({
                    "id": HOOK_ID, "type": 1, "name": self.name, "avatar": null, "application_id": null,
                    "channel_id": call.guise.id.as_deref().unwrap_or(CHANNEL_ID), "guild_id": "1100000000000003077",
                }),
            )),
            (&Method::POST, []) => self.create(call),
            (&Method::GET, ["messages", id]) => {
                let standing = call
                    .book
                    .posts
                    .iter()
                    .find(|p| p.remote_id == *id && p.deleted_at.is_none());
                standing
                    .map(|posted| (200, show(posted)))
                    .ok_or_else(Refusal::no_message)
            }
            (&Method::PATCH, ["messages", id]) => edit(call, id),
            (&Method::DELETE, ["messages", id]) => {
                let now = call.now;
                let found = call
                    .book
                    .posts
                    .iter_mut()
                    .find(|p| p.remote_id == *id && p.deleted_at.is_none());
                found.ok_or_else(Refusal::no_message)?.deleted_at = Some(now);
                Ok((204, Value::Null))
            }
            _ => Err(Refusal(405, 0, "405: Method Not Allowed")),
        }
    }

    fn create(&mut self, call: &mut Call<'_>) -> Result<(u16, Value), Refusal> {
        if call.body.len() > MAX_REQUEST {
            return Err(Refusal(413, 40_005, "Request entity too large"));
        }
        let (body, picture) = read(call)?;
        let known = ["content", "username", "allowed_mentions", "attachments"];
        let content = content(&body, &known)?;
        if content.is_empty() && picture.is_none() {
            return Err(Refusal(400, 50_006, "Cannot send an empty message"));
        }
        let username = body["username"].as_str();
        if username.is_some_and(|name| name.is_empty() || name.chars().count() > 80) {
            return Err(Refusal::form("Invalid Form Body: username"));
        }
        self.made += 1;
        let id = format!("{}{:06}", call.now.as_millisecond().max(0), self.made);
        let mut shown = BTreeMap::new();
        if let Some(username) = username {
            shown.insert("name".to_owned(), username.to_owned());
        }
        if content.contains("@everyone") && body["allowed_mentions"]["parse"] != json!([]) {
            shown.insert("calls".to_owned(), "everyone".to_owned());
        }
        let (text, links) = seen(&content);
        let posted = Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: id,
            links,
            text,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: picture.into_iter().collect(),
            shown,
        };
        let message = show(&posted);
        call.book.posts.push(posted);
        // Without `wait` nothing is told, not even a failure.
        Ok(if call.query("wait") == Some("true") {
            (200, message)
        } else {
            (204, Value::Null)
        })
    }

    /// Counts a request; if it is one too many, how long to wait.
    fn wait(&mut self, now: Timestamp) -> Option<SignedDuration> {
        self.taken.retain(|at| now.duration_since(*at) < WINDOW);
        if let Some(oldest) = self.taken.first().filter(|_| self.taken.len() >= BUCKET) {
            return Some(WINDOW - now.duration_since(*oldest));
        }
        self.taken.push(now);
        None
    }
}

/// The text, if it is one that the service takes and nothing unknown comes with it.
fn content(body: &Value, known: &[&str]) -> Result<String, Refusal> {
    let fields = body
        .as_object()
        .ok_or(Refusal(400, 50_109, "The request body contains invalid JSON."))?;
    if fields.keys().any(|name| !known.contains(&name.as_str())) {
        return Err(Refusal::form("Invalid Form Body: unknown field"));
    }
    let content = match fields.get("content") {
        Some(Value::String(text)) => text.trim().to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(_) => return Err(Refusal::form("Invalid Form Body: content")),
    };
    if content.chars().count() > MAX_CHARACTERS {
        return Err(Refusal::form(
            "Invalid Form Body: content: Must be 2000 or fewer in length.",
        ));
    }
    Ok(content)
}

/// What people see of a text, and where they can go from it. What is not escaped is formatting: stricter than Discord,
/// which looks for a second sign.
fn seen(content: &str) -> (String, Vec<String>) {
    let (mut shown, mut links) = (Vec::new(), Vec::new());
    for line in content.lines() {
        let line = line.trim_start_matches(['#', '>', '-', '+', ' ']);
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let line = match digits.strip_prefix(". ") {
            Some(item) if digits.len() < line.len() => item,
            Some(_) | None => line,
        };
        let (words, found) = super::markdown::read(line);
        // What is escaped has been read; of two left over, what stands between them is black.
        let hides = line.replace("\\|", "").matches("||").count() > 1;
        shown.push(if hides { words.replace('|', "") } else { words });
        for link in found {
            if !links.contains(&link) {
                links.push(link);
            }
        }
    }
    (shown.join("\n"), links)
}

/// The JSON of a request, and the picture if it is a form with one.
fn read(call: &Call<'_>) -> Result<(Value, Option<ShownPicture>), Refusal> {
    let no_json = || Refusal(400, 50_109, "The request body contains invalid JSON.");
    let kind = call.header("content-type").unwrap_or_default();
    if kind.starts_with("application/json") {
        let body = call.json().ok_or_else(no_json)?;
        if body.get("attachments").is_some() {
            return Err(Refusal::form("Invalid Form Body: attachments without files"));
        }
        return Ok((body, None));
    }
    let form =
        multipart::fields(call.headers, call.body).ok_or_else(|| Refusal::form("unknown content type"))?;
    let (mut body, mut file) = (None, None);
    for field in form {
        match (field.name.as_str(), &field.file_name) {
            ("payload_json", None) => body = serde_json::from_slice::<Value>(field.value).ok(),
            ("files[0]", Some(name)) => file = Some((name.clone(), field)),
            _ => return Err(Refusal::form("Invalid Form Body: unknown part")),
        }
    }
    let body = body.ok_or_else(no_json)?;
    let Some((name, field)) = file else {
        return Ok((body, None));
    };
    let attachment = &body["attachments"][0];
    let alt = attachment["description"].as_str().unwrap_or_default();
    if attachment["id"] != 0
        || attachment["filename"] != name.as_str()
        || alt.chars().count() > MAX_DESCRIPTION
    {
        return Err(Refusal::form("Invalid Form Body: attachments"));
    }
    let picture = ShownPicture {
        alt: alt.to_owned(),
        media_type: field.media_type.clone().unwrap_or_default(),
        digest: hex::encode(Sha256::digest(field.value)),
        bytes: field.value.to_vec(),
    };
    Ok((body, Some(picture)))
}

fn edit(call: &mut Call<'_>, id: &str) -> Result<(u16, Value), Refusal> {
    let (body, picture) = read(call)?;
    let content = content(&body, &["content", "allowed_mentions", "attachments"])?;
    if content.is_empty() {
        return Err(Refusal(400, 50_006, "Cannot send an empty message"));
    }
    let now = call.now;
    let found = call
        .book
        .posts
        .iter_mut()
        .find(|p| p.remote_id == id && p.deleted_at.is_none());
    let posted = found.ok_or_else(Refusal::no_message)?;
    (posted.text, posted.links) = seen(&content);
    posted.edited_at = Some(now);
    // What the list of attachments does not name is taken away.
    if let Some(picture) = picture {
        posted.pictures = vec![picture];
    }
    Ok((200, show(posted)))
}

fn show(posted: &Posted) -> Value {
    json!({
        "id": posted.remote_id, "channel_id": CHANNEL_ID, "content": posted.text, "webhook_id": HOOK_ID,
        "timestamp": posted.at.to_string(), "edited_timestamp": posted.edited_at.map(|at| at.to_string()),
        "type": 0, "embeds": [], "mentions": [], "pinned": false,
    })
}

impl Simulator for Discord {
    fn secrets(&self) -> Vec<(String, String)> {
        // As Discord shows it: without the version.
        let hook = |token: &str| format!("https://discord.com/api/webhooks/{HOOK_ID}/{token}");
        vec![
            ("webhook".to_owned(), hook(&self.token)),
            ("backstage_webhook".to_owned(), hook(&self.hidden)),
        ]
    }

    fn answer(&mut self, call: Call<'_>) -> Response<Vec<u8>> {
        let (hidden, public) = (self.hidden.clone(), self.token.clone());
        let is_behind = call.path.contains(&hidden) && !call.guise.is("same-channel");
        let mut answer = behind(call, &hidden, &public, |call| self.reply(call));
        if is_behind {
            // The same webhook in all but its channel.
            let body = String::from_utf8_lossy(answer.body()).replace(CHANNEL_ID, HIDDEN_CHANNEL_ID);
            *answer.body_mut() = body.into_bytes();
        }
        answer
    }
}

impl Discord {
    fn reply(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        if let Some(wait) = self.wait(call.now) {
            let seconds = wait.as_secs_f64();
            let body =
                json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false});
            let mut answer = reply(429, &body);
            let headers = answer.headers_mut();
            // The header is in whole seconds.
            headers.insert(
                "retry-after",
                HeaderValue::from(wait.as_secs().unsigned_abs() + 1),
            );
            headers.insert("x-ratelimit-limit", HeaderValue::from(BUCKET));
            headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
            headers.insert("x-ratelimit-scope", HeaderValue::from_static("user"));
            return answer;
        }
        match self.route(&mut call) {
            Ok((204, _)) => {
                let mut answer = Response::new(Vec::new());
                *answer.status_mut() = http::StatusCode::NO_CONTENT;
                answer
            }
            Ok((status, body)) => reply(status, &body),
            Err(Refusal(status, code, message)) => reply(status, &json!({"message": message, "code": code})),
        }
    }
}
