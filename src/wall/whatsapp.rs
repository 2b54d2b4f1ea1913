//! A simulated WhatsApp number behind the Cloud API: `docs/channels/whatsapp.md` as a program. Stricter than the real one in
//! one point: it refuses fields that it does not know.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;

use super::Posted;
use super::facebook_page::{Known, introspect};
use super::guise;
use super::page::links;
use super::sim::{Call, Callback, Simulator, reply};
use crate::channel::whatsapp::{PRACTICE_ACCOUNT, PRACTICE_NUMBER, PRACTICE_TEMPLATE};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

/// What a filled template may come to.
/// What a token may unless a test says otherwise.
const SCOPES: &[&str] = &["whatsapp_business_messaging", "whatsapp_business_management"];
const MAX_BODY: usize = 1024;
const MAX_CALLBACK: usize = 512;
/// So many messages may go to the same person at once, and one more every six seconds.
const PAIR_BURST: u32 = 45;
const PAIR_REFILL: SignedDuration = SignedDuration::from_secs(6);
const LANGUAGE: &str = "sv";
/// The approved templates: `krisinformation_1`, `krisinformation_2`.
const TEMPLATES: [&str; 2] = ["Viktigt: {{1}} Slut.", "Viktigt: {{1}} {{2}} Slut."];

/// What the service says no with: HTTP status, code, message, details.
struct Refusal(u16, i64, &'static str, String);

impl Refusal {
    fn parameter(details: impl Into<String>) -> Self {
        Self(400, 100, "(#100) Invalid parameter", details.into())
    }

    fn answer(self) -> Response<Vec<u8>> {
        let Self(status, code, message, details) = self;
        let error = json!({
            "message": message, "type": "OAuthException", "code": code,
            "error_data": {"messaging_product": "whatsapp", "details": details}, "fbtrace_id": "AbCdEf",
        });
        reply(status, &json!({ "error": error }))
    }
}

/// How much one person has been written to.
struct Pair {
    used: u32,
    since: Timestamp,
}

/// The number.
pub struct WhatsApp {
    account: AccountId,
    name: String,
    token: String,
    app_secret: String,
    verify_token: String,
    /// Where reports go, once somebody has said so.
    webhook: Option<url::Url>,
    pairs: BTreeMap<String, Pair>,
}

impl WhatsApp {
    /// A number that has sent nothing. `name` is its owner's.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            token: hex::encode(rand::random::<[u8; 24]>()),
            app_secret: hex::encode(rand::random::<[u8; 16]>()),
            verify_token: hex::encode(rand::random::<[u8; 16]>()),
            webhook: None,
            pairs: BTreeMap::new(),
        }
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        match call.bearer() {
            None => {
                return Err(Refusal(
                    401,
                    0,
                    "Authentication Error",
                    "no access token".to_owned(),
                ));
            }
            Some(token) if token != self.token => {
                return Err(Refusal(401, 190, "Error validating access token", String::new()));
            }
            Some(_) => {}
        }
        if call.path.ends_with("/debug_token") && call.method == Method::GET {
            if let Some(name) = call.unknown_query(&["input_token"]) {
                return Err(Refusal::parameter(format!("unknown parameter {name}")));
            }
            let is_ours = call.query("input_token") == Some(self.token.as_str());
            return Ok(introspect(
                call,
                is_ours.then(|| Known::of(SCOPES)).as_ref(),
                "SYSTEM_USER",
                PRACTICE_ACCOUNT,
            ));
        }
        if call.guise.dead(call.now).is_some() {
            return Err(Refusal(
                401,
                190,
                "Error validating access token",
                "Session has expired".to_owned(),
            ));
        }
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let need = match (call.method, path.last()) {
            (&Method::POST, _) => Some("whatsapp_business_messaging"),
            (_, Some(&"message_templates" | &"whatsapp_business_profile")) => {
                Some("whatsapp_business_management")
            }
            _ => None,
        };
        let scopes = call.guise.scopes(SCOPES);
        if let Some(need) = need.filter(|need| !scopes.iter().any(|scope| scope == need)) {
            return Err(Refusal(403, 200, "(#200) Permission denied", need.to_owned()));
        }
        let rest = match path.split_first() {
            Some((version, rest)) if version.starts_with('v') => rest,
            _ => {
                return Err(Refusal(
                    400,
                    2500,
                    "Unknown path components",
                    call.path.to_owned(),
                ));
            }
        };
        match (call.method, rest) {
            (&Method::POST, [PRACTICE_NUMBER, "messages"]) => self.send(call),
            (&Method::GET, [PRACTICE_NUMBER, "whatsapp_business_profile"]) => {
                if let Some(name) = call.unknown_query(&["fields"]) {
                    return Err(Refusal::parameter(format!("unknown parameter {name}")));
                }
                Ok(json!({"data": [{
                    "messaging_product": "whatsapp", "about": call.guise.about(139), "description": call.guise.about(256),
                    "websites": ["https://nassjo.se"], "vertical": "GOVT", "email": "kommun@nassjo.example",
                    "profile_picture_url": format!("{}{}", call.base, guise::AVATAR),
                }]}))
            }
            (&Method::GET, [PRACTICE_NUMBER]) if call.unknown_query(&["fields"]).is_some() => {
                Err(Refusal::parameter("unknown parameter"))
            }
            (&Method::GET, [PRACTICE_NUMBER]) => Ok(json!({
                "id": call.guise.id.as_deref().unwrap_or(PRACTICE_NUMBER),
                "verified_name": call.guise.name.as_ref().unwrap_or(&self.name), "display_phone_number": "+46 70 174 06 99",
                "quality_rating": if call.guise.is("RED") { "RED" } else { "GREEN" }, "messaging_limit_tier": "TIER_100K",
                "health_status": {"can_send_message": health(call), "entities": []},
            })),
            (&Method::GET, [PRACTICE_ACCOUNT, "message_templates"]) => Ok(templates(call)),
            (&Method::POST, [PRACTICE_ACCOUNT, "subscribed_apps"]) => self.subscribe(call),
            (_, [id, ..]) => {
                let details = format!("Object with ID '{id}' does not exist");
                Err(Refusal(400, 100, "Unsupported request", details))
            }
            (_, []) => Err(Refusal(400, 2500, "Unknown path components", String::new())),
        }
    }

    /// Reports go to this address from now on. The real service believes it only when its challenge came back.
    fn subscribe(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let body = call
            .json()
            .ok_or_else(|| Refusal::parameter("the body is not JSON"))?;
        only(&body, &["override_callback_uri", "verify_token"])?;
        let url = body["override_callback_uri"].as_str().unwrap_or_default();
        let url = url::Url::parse(url).map_err(|_| Refusal::parameter("override_callback_uri"))?;
        let token = body["verify_token"].as_str().unwrap_or_default();
        let mut asked = url.clone();
        asked.query_pairs_mut().extend_pairs([
            ("hub.mode", "subscribe"),
            ("hub.verify_token", token),
            ("hub.challenge", "1158201444"),
        ]);
        call.book.calls.push(Callback {
            url: asked,
            headers: Vec::new(),
            body: None,
        });
        self.webhook = Some(url);
        Ok(json!({"success": true}))
    }

    /// What is reported of a message, each by a call of its own, the first of them twice. A number that ends in 99 has no
    /// WhatsApp.
    fn reports(&self, id: &str, to: &str, data: Option<&str>, now: Timestamp) -> Vec<Callback> {
        let words: &[&str] = if to.ends_with("99") {
            &["sent", "sent", "failed"]
        } else {
            &["sent", "sent", "read", "delivered"]
        };
        let report = |url: &url::Url, word: &str| {
            let mut status = json!({
                "id": id, "status": word, "timestamp": now.as_second().to_string(), "recipient_id": to,
            });
            if let Some(data) = data {
                status["biz_opaque_callback_data"] = data.into();
            }
            if word == "failed" {
                status["errors"] = json!([{"code": 131_026, "title": "Message undeliverable"}]);
            }
            let body = json!({
                "object": "whatsapp_business_account",
                "entry": [{"id": PRACTICE_ACCOUNT, "changes": [{"field": "messages", "value": {
                    "messaging_product": "whatsapp",
                    "metadata": {"display_phone_number": "46701740699", "phone_number_id": PRACTICE_NUMBER},
                    "statuses": [status],
                }}]}],
            });
            let body = body.to_string().into_bytes();
            let mut mac = Hmac::<Sha256>::new_from_slice(self.app_secret.as_bytes()).ok()?;
            mac.update(&body);
            let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
            Some(Callback {
                url: url.clone(),
                headers: vec![
                    ("content-type", "application/json".to_owned()),
                    ("x-hub-signature-256", signature),
                ],
                body: Some(body),
            })
        };
        let url = self.webhook.as_ref();
        url.into_iter()
            .flat_map(|url| words.iter().filter_map(|word| report(url, word)))
            .collect()
    }

    fn send(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let body = call
            .json()
            .ok_or_else(|| Refusal::parameter("the body is not JSON"))?;
        only(
            &body,
            &[
                "messaging_product",
                "recipient_type",
                "to",
                "type",
                "template",
                "biz_opaque_callback_data",
            ],
        )?;
        if body["messaging_product"] != "whatsapp" {
            return Err(Refusal::parameter("messaging_product must be whatsapp"));
        }
        if body
            .get("recipient_type")
            .is_some_and(|kind| kind != "individual")
        {
            return Err(Refusal::parameter("recipient_type must be individual"));
        }
        if body["type"] != "template" {
            let details = "Message failed to send because more than 24 hours have passed since the customer last replied";
            return Err(Refusal(400, 131_047, "Re-engagement message", details.to_owned()));
        }
        let callback = body
            .get("biz_opaque_callback_data")
            .map(|data| data.as_str().unwrap_or_default());
        if callback.is_some_and(|data| data.is_empty() || data.chars().count() > MAX_CALLBACK) {
            return Err(Refusal::parameter("biz_opaque_callback_data"));
        }
        let to = body["to"].as_str().unwrap_or_default().trim_start_matches('+');
        let is_number = (8..=15).contains(&to.len()) && to.bytes().all(|b| b.is_ascii_digit());
        if !is_number {
            return Err(Refusal::parameter("to must be a phone number"));
        }
        if to.starts_with('0') {
            return Err(Refusal(400, 131_026, "Message undeliverable", String::new()));
        }
        let (name, text) = filled(&body["template"])?;
        self.take(to, call.now)?;
        let id = format!("wamid.{}", STANDARD.encode(rand::random::<[u8; 24]>()));
        let calls = self.reports(&id, to, callback, call.now);
        call.book.calls.extend(calls);
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: id.clone(),
            links: links(&text),
            text,
            key: callback.map(str::to_owned),
            in_reply_to: None,
            recipient: Some(format!("+{to}")),
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: BTreeMap::from([("template".to_owned(), name)]),
        });
        Ok(json!({
            "messaging_product": "whatsapp",
            "contacts": [{"input": body["to"], "wa_id": to}],
            "messages": [{"id": id, "message_status": "accepted"}],
        }))
    }

    /// Counts a message to a person.
    fn take(&mut self, to: &str, now: Timestamp) -> Result<(), Refusal> {
        let pair = self
            .pairs
            .entry(to.to_owned())
            .or_insert(Pair { used: 0, since: now });
        let regained = now.duration_since(pair.since).as_secs() / PAIR_REFILL.as_secs();
        if let Ok(regained @ 1..) = u32::try_from(regained) {
            pair.used = pair.used.saturating_sub(regained);
            pair.since = now;
        }
        if pair.used >= PAIR_BURST {
            let details = "Too many messages sent from this phone number to the same phone number";
            return Err(Refusal(
                400,
                131_056,
                "(#131056) Pair rate limit hit",
                details.to_owned(),
            ));
        }
        pair.used += 1;
        Ok(())
    }
}

/// Whether the number may send: a test marks it.
fn health(call: &Call<'_>) -> &'static str {
    template(call, &["BLOCKED", "LIMITED"], "AVAILABLE")
}

/// The mark that the account has of these.
fn template(call: &Call<'_>, marks: &[&'static str], usual: &'static str) -> &'static str {
    marks
        .iter()
        .copied()
        .find(|mark| call.guise.is(mark))
        .unwrap_or(usual)
}

impl Simulator for WhatsApp {
    fn secrets(&self) -> Vec<(String, String)> {
        [
            ("access_token", &self.token),
            ("app_secret", &self.app_secret),
            ("verify_token", &self.verify_token),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        match self.route(&mut call) {
            Ok(body) => reply(200, &body),
            Err(refusal) => refusal.answer(),
        }
    }
}

/// Refuses every field besides `known`.
fn only(object: &Value, known: &[&str]) -> Result<(), Refusal> {
    let fields = object
        .as_object()
        .ok_or_else(|| Refusal::parameter("expected an object"))?;
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::parameter(format!("Unexpected key \"{key}\""))),
        None => Ok(()),
    }
}

/// A template's name and its text with all variables filled.
fn filled(template: &Value) -> Result<(String, String), Refusal> {
    only(template, &["name", "language", "components"])?;
    only(&template["language"], &["policy", "code"])?;
    if template["language"]["policy"] != "deterministic" {
        return Err(Refusal::parameter("language.policy must be deterministic"));
    }
    let name = template["name"].as_str().unwrap_or_default();
    let number: Option<usize> = name.strip_prefix(PRACTICE_TEMPLATE).and_then(|n| n.parse().ok());
    let text = number
        .and_then(|number| TEMPLATES.get(number.checked_sub(1)?))
        .filter(|_| template["language"]["code"] == LANGUAGE)
        .ok_or_else(|| {
            let details = format!(
                "template name ({name}) does not exist in {}",
                template["language"]["code"]
            );
            Refusal(
                404,
                132_001,
                "(#132001) Template name does not exist in the translation",
                details,
            )
        })?;
    let empty = Vec::new();
    let components = template["components"].as_array().unwrap_or(&empty);
    let [component] = components.as_slice() else {
        return Err(Refusal(
            400,
            132_000,
            "(#132000) Number of parameters does not match",
            String::new(),
        ));
    };
    only(component, &["type", "parameters"])?;
    let parameters = component["parameters"].as_array().unwrap_or(&empty);
    if component["type"] != "body" || Some(parameters.len()) != number {
        let details = format!(
            "number of parameters ({}) does not match the expected one",
            parameters.len()
        );
        return Err(Refusal(
            400,
            132_000,
            "(#132000) Number of parameters does not match",
            details,
        ));
    }
    let mut text = (*text).to_owned();
    for (n, parameter) in parameters.iter().enumerate() {
        only(parameter, &["type", "text"])?;
        let given = parameter["text"].as_str().filter(|_| parameter["type"] == "text");
        let given = given.filter(|given| !given.is_empty());
        let given = given.ok_or_else(|| Refusal::parameter("a parameter needs a text"))?;
        if given.contains(['\n', '\r', '\t']) || given.contains("     ") {
            let details = "Param text cannot have new-line/tab characters or more than 4 consecutive spaces";
            return Err(Refusal(
                400,
                132_018,
                "(#132018) Invalid parameter",
                details.to_owned(),
            ));
        }
        text = text.replacen(&format!("{{{{{}}}}}", n + 1), given, 1);
    }
    if text.encode_utf16().count() > MAX_BODY {
        let details = "the translated text is too long".to_owned();
        return Err(Refusal(
            400,
            132_005,
            "(#132005) Translated text too long",
            details,
        ));
    }
    Ok((name.to_owned(), text))
}

fn templates(call: &Call<'_>) -> Value {
    let wanted = call.query("name").unwrap_or_default();
    let data: Vec<Value> = TEMPLATES
        .iter()
        .enumerate()
        .map(|(n, text)| (format!("{PRACTICE_TEMPLATE}{}", n + 1), text))
        .filter(|(name, _)| name.contains(wanted))
        .map(|(name, text)| {
            json!({
                "id": format!("92{name}"), "name": name, "status": template(call, &["PAUSED", "REJECTED", "DISABLED"], "APPROVED"),
                "category": template(call, &["MARKETING"], "UTILITY"),
                "language": LANGUAGE, "components": [{"type": "BODY", "text": text}],
            })
        })
        .collect();
    json!({ "data": data })
}
