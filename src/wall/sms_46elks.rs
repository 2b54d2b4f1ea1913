//! A simulated 46elks account: `docs/channels/sms-46elks.md` as a program. Stricter than the real one in two points: it
//! refuses parameters that it does not know, and numbers in any other form than E.164.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode};
use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Posted;
use super::page::links;
use super::sim::{Call, Callback, Simulator, reply};
use crate::clock::Timestamp;
use crate::compose::sms;
use crate::model::{AccountId, Mode, Price};

/// What one part costs, in ten-thousandths.
const PART: i64 = 3500;
const CURRENCY: &str = "SEK";
/// Enough for a million recipients.
const BALANCE: i64 = 10_000_000 * 10_000;
/// Messages per page of the history.
const PAGE: usize = 100;
const PARAMETERS: &[&str] = &[
    "from",
    "to",
    "message",
    "whendelivered",
    "flashsms",
    "dryrun",
    "dontlog",
];

struct Message {
    id: String,
    from: Arc<str>,
    to: String,
    /// `None` if the sender asked not to keep it.
    text: Option<Arc<str>>,
    at: Timestamp,
    parts: usize,
    is_deleted: bool,
}

impl Message {
    fn has_no_phone(&self) -> bool {
        self.to.ends_with("99")
    }
}

/// The account.
pub struct Sms {
    account: AccountId,
    name: String,
    username: String,
    password: String,
    balance: i64,
    credit_alert: i64,
    sent: Vec<Message>,
}

/// What the service says no with: a status and a line of plain text.
struct Refusal(u16, &'static str);

impl Sms {
    /// An account with a full purse. `name` is its owner's.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            username: format!("u{}", hex::encode(rand::random::<[u8; 16]>())),
            password: hex::encode(rand::random::<[u8; 16]>()),
            balance: BALANCE,
            credit_alert: 0,
            sent: Vec::new(),
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let login = STANDARD.encode(format!("{}:{}", self.username, self.password));
        let given = call
            .header("authorization")
            .and_then(|v| v.strip_prefix("Basic "));
        if given != Some(login.as_str()) {
            return Err(Refusal(401, "API access requires Basic HTTP authentication"));
        }
        if call.guise.revoked {
            return Err(Refusal(401, "API access requires Basic HTTP authentication"));
        }
        let path = call.path.to_ascii_lowercase();
        let path: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (call.method, path.as_slice()) {
            (&Method::POST, ["sms"]) => self.send(call),
            (&Method::GET, ["sms"]) => self.list(call),
            (&Method::GET, ["sms", id]) => {
                let message = self.find(id)?;
                Ok(show(message, call.now))
            }
            (&Method::DELETE, ["sms", id]) => self.delete(id),
            (&Method::GET, ["me"]) => {
                if call.unknown_query(&[]).is_some() {
                    return Err(Refusal(400, "Unknown parameter"));
                }
                Ok(self.about(call))
            }
            (&Method::POST, ["me"]) => self.change(call),
            (_, ["sms" | "me", ..]) => Err(Refusal(405, "Method not allowed")),
            _ => Err(Refusal(404, "Not found")),
        }
    }

    fn find(&self, id: &str) -> Result<&Message, Refusal> {
        let message = self
            .sent
            .iter()
            .find(|message| message.id == id && !message.is_deleted);
        message.ok_or(Refusal(404, "No such message"))
    }

    fn send(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let form = Form::of(call, PARAMETERS)?;
        let from = form.get("from").filter(|from| !from.is_empty());
        let from = from.ok_or(Refusal(400, "Missing key from"))?;
        let to = form.get("to").ok_or(Refusal(400, "Missing key to"))?;
        let text = form.get("message").filter(|text| !text.is_empty());
        let text = text.ok_or(Refusal(400, "Missing key message"))?;
        if !is_sender(from) {
            return Err(Refusal(
                400,
                "Invalid from: 3-11 characters a-z A-Z 0-9, or a number",
            ));
        }
        if !is_number(to) {
            return Err(Refusal(400, "Invalid to number"));
        }
        for flag in ["flashsms", "dryrun"] {
            if form.get(flag).is_some_and(|value| !matches!(value, "yes" | "no")) {
                return Err(Refusal(400, "Expected yes or no"));
            }
        }
        if form.get("dontlog").is_some_and(|value| value != "message") {
            return Err(Refusal(400, "Invalid dontlog"));
        }
        let whendelivered = form.get("whendelivered").map(url::Url::parse).transpose();
        let whendelivered = whendelivered.map_err(|_| Refusal(400, "Invalid whendelivered"))?;
        if whendelivered
            .as_ref()
            .is_some_and(|url| !matches!(url.scheme(), "https" | "http"))
        {
            return Err(Refusal(400, "Invalid whendelivered"));
        }
        let size = sms::size(text);
        let cost = PART * i64::try_from(size.parts).unwrap_or(i64::MAX / PART);
        if cost > self.balance {
            return Err(Refusal(403, "Not enough credits"));
        }
        if form.get("dryrun") == Some("yes") {
            // It goes nowhere; whose number it named is known to the service all the same.
            call.book.backstage.push(Posted {
                account: self.account.clone(),
                mode: Mode::Live,
                remote_id: format!("dryrun-{}", call.book.backstage.len()),
                text: text.to_owned(),
                links: links(text),
                key: None,
                in_reply_to: None,
                recipient: Some(to.to_owned()),
                subject: None,
                at: call.now,
                deleted_at: Some(call.now),
                edited_at: None,
                pinned: false,
                pictures: Vec::new(),
                shown: shown(from, size, cost),
            });
            return Ok(json!({
                "status": "created", "direction": "outgoing", "from": from, "to": to, "message": text,
                "parts": size.parts, "estimated_cost": cost,
            }));
        }
        self.balance -= cost;
        let keeps = form.get("dontlog").is_none();
        // The same words go to thousands.
        let last = self.sent.last();
        let shared = last
            .and_then(|last| last.text.clone())
            .filter(|last| **last == *text);
        let message = Message {
            id: format!("s{}", hex::encode(rand::random::<[u8; 16]>())),
            from: match last.map(|last| &last.from) {
                Some(last) if **last == *from => Arc::clone(last),
                Some(_) | None => from.into(),
            },
            to: to.to_owned(),
            text: keeps.then(|| shared.unwrap_or_else(|| text.into())),
            at: call.now,
            parts: size.parts,
            is_deleted: false,
        };
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: message.id.clone(),
            text: text.to_owned(),
            links: links(text),
            key: None,
            in_reply_to: None,
            recipient: Some(to.to_owned()),
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: shown(from, size, cost),
        });
        if let Some(url) = whendelivered {
            call.book.calls.extend(reports(&url, &message));
        }
        let mut answer = show(&message, message.at);
        if !keeps {
            answer["dontlog"] = "message".into();
        }
        self.sent.push(message);
        Ok(answer)
    }

    /// `start` is "older than", `end` "newer than", `to` a recipient, `limit` at most a hundred.
    fn list(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let known = ["start", "end", "limit", "to"];
        if call.query.iter().any(|(key, _)| !known.contains(&key.as_str())) {
            return Err(Refusal(400, "Unknown parameter"));
        }
        let to = call.query("to");
        if to.is_some_and(|to| !is_number(to)) {
            return Err(Refusal(400, "Invalid to number"));
        }
        let limit = match call.query("limit").map(str::parse::<usize>) {
            None => PAGE,
            Some(Ok(limit @ 1..=PAGE)) => limit,
            Some(_) => return Err(Refusal(400, "Invalid limit")),
        };
        let moment = |name| {
            let given = call.query(name).map(|text| {
                let at: DateTime = text.parse().ok()?;
                TimeZone::UTC.to_timestamp(at).ok()
            });
            match given {
                Some(None) => Err(Refusal(400, "Expected a time such as 2026-11-23T15:58:06.123456")),
                Some(at @ Some(_)) => Ok(at),
                None => Ok(None),
            }
        };
        let (start, end) = (moment("start")?, moment("end")?);
        let mut found = self
            .sent
            .iter()
            .rev()
            .filter(|message| !message.is_deleted)
            .filter(|message| to.is_none_or(|to| message.to == to))
            .filter(|message| start.is_none_or(|start| message.at < start))
            .filter(|message| end.is_none_or(|end| message.at > end));
        let page: Vec<&Message> = found.by_ref().take(limit).collect();
        let data: Vec<Value> = page.iter().map(|message| show(message, call.now)).collect();
        let mut body = json!({ "data": data });
        if let (Some(last), Some(_)) = (page.last(), found.next()) {
            body["next"] = written(last.at).into();
        }
        Ok(body)
    }

    /// Forgets a message; whoever got it keeps it.
    fn delete(&mut self, id: &str) -> Result<Value, Refusal> {
        self.find(id)?;
        for message in self.sent.iter_mut().filter(|message| message.id == id) {
            message.is_deleted = true;
        }
        Ok(json!({"id": id, "deleted": true}))
    }

    fn about(&self, call: &Call<'_>) -> Value {
        // A test says "poor" or "empty" of the purse.
        let balance = match (call.guise.is("empty"), call.guise.is("poor")) {
            (true, _) => 0,
            (false, true) => 20_000,
            (false, false) => self.balance,
        };
        json!({
            "id": call.guise.id.as_ref().unwrap_or(&self.username), "displayname": self.name, "email": "it@nassjo.example",
            "mobilenumber": "+46701740600", "currency": CURRENCY, "balance": balance,
            "creditalert": self.credit_alert,
        })
    }

    fn change(&mut self, call: &Call<'_>) -> Result<Value, Refusal> {
        let form = Form::of(call, &["creditalert"])?;
        let alert = form.get("creditalert").and_then(|alert| alert.parse().ok());
        self.credit_alert = alert.ok_or(Refusal(400, "Expected creditalert"))?;
        Ok(self.about(call))
    }
}

/// What is reported of a message: that it went, and that it arrived. A number that ends in 99 has no telephone.
fn reports(url: &url::Url, message: &Message) -> [Callback; 2] {
    let report = |status: &str, at: Option<String>| {
        let mut fields = vec![("id", message.id.as_str()), ("status", status)];
        fields.extend(at.as_deref().map(|at| ("delivered", at)));
        Callback::form(url, &fields)
    };
    let sent = report("sent", None);
    if message.has_no_phone() {
        return [sent, report("failed", None)];
    }
    [sent, report("delivered", Some(written(message.at)))]
}

impl Simulator for Sms {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![
            ("username".to_owned(), self.username.clone()),
            ("password".to_owned(), self.password.clone()),
        ]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        match self.route(&mut call) {
            Ok(body) => reply(200, &body),
            Err(Refusal(status, text)) => {
                let mut response = Response::new(text.as_bytes().to_vec());
                *response.status_mut() =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert("content-type", kind);
                response
            }
        }
    }
}

/// The fields of a form.
struct Form(Vec<(String, String)>);

impl Form {
    fn of(call: &Call<'_>, known: &[&str]) -> Result<Self, Refusal> {
        let kind = call.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(Refusal(400, "Expected a form"));
        }
        let form = call.form();
        if form.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            return Err(Refusal(400, "Unknown parameter"));
        }
        Ok(Self(form))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_sender(text: &str) -> bool {
    let mut letters = text.bytes();
    let name = (3..=11).contains(&text.len())
        && letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric());
    name || is_number(text)
}

fn shown(from: &str, size: sms::Size, cost: i64) -> BTreeMap<String, String> {
    let cost = Price::of(u64::try_from(cost).unwrap_or(0), CURRENCY);
    [
        ("from", from.to_owned()),
        ("parts", size.parts.to_string()),
        ("alphabet", size.alphabet.to_string()),
        ("cost", cost.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// UTC, without saying so.
fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// A message as the history shows it, on its way to the phone.
fn show(message: &Message, now: Timestamp) -> Value {
    let age = now.duration_since(message.at);
    let status = match age {
        age if age >= SignedDuration::from_secs(3) && message.has_no_phone() => "failed",
        age if age >= SignedDuration::from_secs(3) => "delivered",
        age if age >= SignedDuration::from_secs(1) => "sent",
        _ => "created",
    };
    let mut body = json!({
        "id": message.id, "status": status, "direction": "outgoing", "from": &*message.from, "to": message.to,
        "created": written(message.at),
        "parts": message.parts, "cost": PART * i64::try_from(message.parts).unwrap_or(0),
    });
    if let Some(text) = &message.text {
        body["message"] = (**text).into();
    }
    body
}
