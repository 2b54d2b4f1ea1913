//! A simulated Telegram channel with its bot: `docs/channels/telegram.md` as a program. Every call is held against the
//! machine-readable specification of the Bot API. Stricter than the real one in one point: it refuses parameters that it
//! does not know, where Telegram ignores them.

use http::{Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sim::{Call, Simulator, page, reply};
use super::{Posted, ShownPicture};
use crate::channel::telegram::{PRACTICE_BACKSTAGE, PRACTICE_CHAT};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

mod check;

use check::{Given, Refusal};

const CHAT_ID: i64 = -1_001_000_001_055;
const BOT_ID: i64 = 7_000_001_055;
const MAX_TEXT: usize = 4096;
const MAX_CAPTION: usize = 1024;
const MAX_PICTURE: usize = 10_000_000;
/// Messages a minute to the same channel.
const PER_MINUTE: usize = 20;
/// How far back the preview shows.
const PREVIEWED: usize = 20;

/// What an administrator may be given.
const RIGHTS: &[&str] = &[
    "can_manage_chat",
    "can_post_messages",
    "can_edit_messages",
    "can_delete_messages",
    "can_change_info",
    "can_promote_members",
];
/// What the bot is given unless a test says otherwise.
const GIVEN: &[&str] = &[
    "can_manage_chat",
    "can_post_messages",
    "can_edit_messages",
    "can_delete_messages",
];

fn rights(call: &Call<'_>) -> Vec<String> {
    call.guise.scopes(GIVEN)
}

struct Message {
    id: i64,
    text: String,
    /// Whether the text stands under a picture.
    is_photo: bool,
    preview: Value,
    in_reply_to: Option<i64>,
    at: Timestamp,
    deleted: bool,
    pinned: bool,
}

/// The channel.
pub struct Telegram {
    account: AccountId,
    name: String,
    token: String,
    messages: Vec<Message>,
}

impl Telegram {
    /// A channel without messages. `name` is its title.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            token: format!("{BOT_ID}:AA{}", hex::encode(rand::random::<[u8; 17]>())),
            messages: Vec::new(),
        }
    }

    fn route(&mut self, call: &mut Call<'_>, token: &str, method: &str) -> Result<Value, Refusal> {
        if !check::is_token(token) {
            return Err(Refusal::new(404, "Not Found"));
        }
        if token != self.token {
            return Err(Refusal::new(401, "Unauthorized"));
        }
        if !matches!(*call.method, Method::GET | Method::POST) {
            return Err(Refusal::new(405, "Method Not Allowed"));
        }
        let (method, given) = check::read(method, call)?;
        if call.guise.dead(call.now).is_some() {
            return Err(Refusal::new(401, "Unauthorized"));
        }
        let chat = &given.fields["chat_id"];
        if chat.as_str().and_then(|chat| chat.strip_prefix('@')) == Some(PRACTICE_BACKSTAGE) {
            return self.behind(call, &method, &given);
        }
        if method != "getMe" {
            Self::check_chat(&given)?;
        }
        if matches!(call.guise.role.as_deref(), Some("left" | "kicked"))
            && method != "getMe"
            && method != "getChatMember"
        {
            return Err(Refusal::new(
                403,
                "Forbidden: bot is not a member of the channel chat",
            ));
        }
        let need = match method.as_str() {
            "sendMessage" | "sendPhoto" => Some("can_post_messages"),
            "pinChatMessage" | "unpinChatMessage" => Some("can_edit_messages"),
            _ => None,
        };
        if need.is_some_and(|need| {
            Self::status(call) != "administrator" || !rights(call).iter().any(|has| has == need)
        }) {
            return Err(Refusal::bad("need administrator rights in the channel chat"));
        }
        match method.as_str() {
            "getMe" => Ok(json!({
                "id": BOT_ID, "is_bot": true, "first_name": "Vårdkase", "username": "vardkase_bot",
                "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
            })),
            "getChat" => Ok(self.chat_in_full(call)),
            "getChatMember" => Self::member(call, &given),
            "getChatMemberCount" => Ok(call.guise.followers().into()),
            "sendMessage" => self.send_message(call, &given),
            "sendPhoto" => self.send_photo(call, &given),
            "editMessageText" | "editMessageCaption" => {
                self.edit(call, &given, method == "editMessageCaption")
            }
            "editMessageMedia" => self.exchange(call, &given),
            "deleteMessages" => self.delete(call, &given),
            "pinChatMessage" => self.pin(call, &given, true),
            "unpinChatMessage" => self.pin(call, &given, false),
            _ => Err(Refusal::new(404, "Not Found")),
        }
    }

    fn check_chat(given: &Given) -> Result<(), Refusal> {
        let chat = &given.fields["chat_id"];
        let is_ours = chat.as_i64() == Some(CHAT_ID)
            || chat.as_str().is_some_and(|chat| {
                let name = chat.strip_prefix('@');
                name.is_some_and(|name| name.eq_ignore_ascii_case(PRACTICE_CHAT))
                    || chat == CHAT_ID.to_string()
            });
        if is_ours {
            return Ok(());
        }
        Err(Refusal::bad("chat not found"))
    }

    fn chat(&self) -> Value {
        json!({"id": CHAT_ID, "title": self.name, "username": PRACTICE_CHAT, "type": "channel"})
    }

    fn status<'a>(call: &Call<'a>) -> &'a str {
        call.guise.role.as_deref().unwrap_or("administrator")
    }

    /// The chat that only we are in: what is written there is in no channel.
    fn behind(&mut self, call: &mut Call<'_>, method: &str, given: &Given) -> Result<Value, Refusal> {
        match method {
            "sendMessage" => {
                let text = text(given, "text", MAX_TEXT)?;
                let id = 7_001 + i64::try_from(call.book.backstage.len()).unwrap_or_default();
                call.book.backstage.push(Posted {
                    account: self.account.clone(),
                    mode: Mode::Live,
                    remote_id: id.to_string(),
                    links: super::page::links(&text),
                    text: text.clone(),
                    key: None,
                    in_reply_to: None,
                    recipient: None,
                    subject: None,
                    at: call.now,
                    deleted_at: None,
                    edited_at: None,
                    pinned: false,
                    pictures: Vec::new(),
                    shown: std::collections::BTreeMap::new(),
                });
                let chat = json!({"id": -100_777, "title": "Prov", "username": PRACTICE_BACKSTAGE, "type": "channel"});
                Ok(json!({"message_id": id, "chat": chat, "date": call.now.as_second(), "text": text}))
            }
            "deleteMessages" => {
                let ids = given.fields["message_ids"].as_array().into_iter().flatten();
                let ids: Vec<String> = ids.map(Value::to_string).collect();
                for posted in call
                    .book
                    .backstage
                    .iter_mut()
                    .filter(|posted| ids.contains(&posted.remote_id))
                {
                    posted.deleted_at = posted.deleted_at.or(Some(call.now));
                }
                Ok(Value::Bool(true))
            }
            _ => Err(Refusal::bad("chat not found")),
        }
    }

    fn chat_in_full(&self, call: &Call<'_>) -> Value {
        let mut chat = self.chat();
        if let Some(name) = &call.guise.name {
            chat["title"] = name.clone().into();
        }
        if let Some(id) = call.guise.id.as_ref().and_then(|id| id.parse::<i64>().ok()) {
            chat["id"] = id.into();
        }
        let pinned = self
            .messages
            .iter()
            .rev()
            .find(|message| message.pinned && !message.deleted);
        if let Some(pinned) = pinned {
            chat["pinned_message"] = self.show(pinned);
        }
        chat["description"] = call.guise.about(255).into();
        if call.guise.is("private") {
            chat["username"] = Value::Null;
        }
        chat
    }

    fn member(call: &Call<'_>, given: &Given) -> Result<Value, Refusal> {
        if given.fields["user_id"].as_i64() != Some(BOT_ID) {
            return Err(Refusal::bad("user not found"));
        }
        let mut member = json!({
            "user": {"id": BOT_ID, "is_bot": true, "first_name": "Vårdkase", "username": "vardkase_bot"},
            "status": Self::status(call),
        });
        if Self::status(call) == "administrator" {
            let held = rights(call);
            for right in RIGHTS {
                member[*right] = held.iter().any(|has| has == right).into();
            }
            member["can_be_edited"] = false.into();
            member["is_anonymous"] = false.into();
        }
        Ok(member)
    }

    fn send_message(&mut self, call: &mut Call<'_>, given: &Given) -> Result<Value, Refusal> {
        let text = text(given, "text", MAX_TEXT)?;
        self.add(call, given, text, None)
    }

    fn send_photo(&mut self, call: &mut Call<'_>, given: &Given) -> Result<Value, Refusal> {
        let picture = photo(given)?;
        let caption = text(given, "caption", MAX_CAPTION)?;
        self.add(call, given, caption, Some(picture))
    }

    /// Another picture, with what stands under it, in the place of a message's own.
    fn exchange(&mut self, call: &mut Call<'_>, given: &Given) -> Result<Value, Refusal> {
        let media = &given.fields["media"];
        if media["type"] != "photo"
            || !media["media"]
                .as_str()
                .is_some_and(|name| name.starts_with("attach://"))
        {
            return Err(Refusal::bad("wrong file identifier/HTTP URL specified"));
        }
        let picture = photo(given)?;
        let caption = media["caption"].as_str().unwrap_or_default().to_owned();
        if caption.encode_utf16().count() > MAX_CAPTION {
            return Err(Refusal::bad("message caption is too long"));
        }
        let id = given.fields["message_id"].as_i64().unwrap_or_default();
        let found = self
            .messages
            .iter_mut()
            .find(|message| message.id == id && !message.deleted);
        let message = found.ok_or_else(|| Refusal::bad("message to edit not found"))?;
        if !message.is_photo {
            return Err(Refusal::bad("there is no media in the message to edit"));
        }
        message.text.clone_from(&caption);
        let name = id.to_string();
        for posted in call
            .book
            .posts
            .iter_mut()
            .filter(|posted| posted.remote_id == name)
        {
            posted.links = super::page::links(&caption);
            posted.text.clone_from(&caption);
            posted.pictures = vec![picture.clone()];
            posted.edited_at = Some(call.now);
        }
        let message = self
            .find(id)
            .ok_or_else(|| Refusal::bad("message to edit not found"))?;
        Ok(self.show(message))
    }

    fn add(
        &mut self,
        call: &mut Call<'_>,
        given: &Given,
        text: String,
        picture: Option<ShownPicture>,
    ) -> Result<Value, Refusal> {
        let answered = &given.fields["reply_parameters"];
        let in_reply_to = match answered["message_id"].as_i64() {
            Some(id) if self.find(id).is_some() => Some(id),
            Some(_) if answered["allow_sending_without_reply"] != true => {
                return Err(Refusal::bad("message to be replied not found"));
            }
            Some(_) | None => None,
        };
        self.check_pace(call.now)?;
        let id = self.messages.last().map_or(2, |message| message.id + 1);
        let message = Message {
            id,
            text: text.clone(),
            is_photo: picture.is_some(),
            preview: given.fields["link_preview_options"].clone(),
            in_reply_to,
            at: call.now,
            deleted: false,
            pinned: false,
        };
        let shows_card = picture.is_none() && message.preview["is_disabled"] != true;
        let links = super::page::links(&text);
        let card = message.preview["url"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| links.first().cloned());
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: id.to_string(),
            text,
            links,
            key: None,
            in_reply_to: in_reply_to.map(|id| id.to_string()),
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: picture.into_iter().collect(),
            shown: card
                .filter(|_| shows_card)
                .map(|url| ("link_card".to_owned(), url))
                .into_iter()
                .collect(),
        });
        let shown = self.show(&message);
        self.messages.push(message);
        Ok(shown)
    }

    fn check_pace(&self, now: Timestamp) -> Result<(), Refusal> {
        let minute = SignedDuration::from_mins(1);
        let recent = self
            .messages
            .iter()
            .rev()
            .take_while(|message| now.duration_since(message.at) < minute);
        let recent: Vec<Timestamp> = recent.map(|message| message.at).collect();
        match recent.get(PER_MINUTE - 1) {
            Some(oldest) => {
                let wait = (minute - now.duration_since(*oldest)).as_secs().max(1);
                Err(Refusal::wait(wait.unsigned_abs()))
            }
            None => Ok(()),
        }
    }

    fn edit(&mut self, call: &mut Call<'_>, given: &Given, caption: bool) -> Result<Value, Refusal> {
        let id = given.fields["message_id"].as_i64().unwrap_or_default();
        let new = if caption {
            text(given, "caption", MAX_CAPTION)?
        } else {
            text(given, "text", MAX_TEXT)?
        };
        let found = self
            .messages
            .iter_mut()
            .find(|message| message.id == id && !message.deleted);
        let message = found.ok_or_else(|| Refusal::bad("message to edit not found"))?;
        if message.is_photo && !caption {
            return Err(Refusal::bad("there is no text in the message to edit"));
        }
        if !message.is_photo && caption {
            return Err(Refusal::bad("there is no caption in the message to edit"));
        }
        let preview = given.fields["link_preview_options"].clone();
        if message.text == new && message.preview == preview {
            return Err(Refusal::bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a \
                 current content and reply markup of the message",
            ));
        }
        message.text.clone_from(&new);
        message.preview = preview;
        let name = id.to_string();
        for posted in call
            .book
            .posts
            .iter_mut()
            .filter(|posted| posted.remote_id == name)
        {
            posted.links = super::page::links(&new);
            posted.text.clone_from(&new);
            posted.edited_at = Some(call.now);
        }
        let message = self
            .find(id)
            .ok_or_else(|| Refusal::bad("message to edit not found"))?;
        Ok(self.show(message))
    }

    fn delete(&mut self, call: &mut Call<'_>, given: &Given) -> Result<Value, Refusal> {
        let ids = given.fields["message_ids"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if ids.is_empty() || ids.len() > 100 {
            return Err(Refusal::bad("message identifiers are not specified"));
        }
        for id in ids.iter().filter_map(Value::as_i64) {
            for message in self.messages.iter_mut().filter(|message| message.id == id) {
                message.deleted = true;
            }
            let name = id.to_string();
            let posts = call.book.posts.iter_mut();
            for posted in posts.filter(|posted| posted.remote_id == name && posted.deleted_at.is_none()) {
                posted.deleted_at = Some(call.now);
                posted.pinned = false;
            }
        }
        Ok(Value::Bool(true))
    }

    fn pin(&mut self, call: &mut Call<'_>, given: &Given, pinned: bool) -> Result<Value, Refusal> {
        let id = given.fields["message_id"].as_i64().unwrap_or_default();
        let found = self
            .messages
            .iter_mut()
            .find(|message| message.id == id && !message.deleted);
        let what = if pinned {
            "message to pin not found"
        } else {
            "message to unpin not found"
        };
        let message = found
            .filter(|message| pinned || message.pinned)
            .ok_or_else(|| Refusal::bad(what))?;
        message.pinned = pinned;
        let name = id.to_string();
        for posted in call
            .book
            .posts
            .iter_mut()
            .filter(|posted| posted.remote_id == name)
        {
            posted.pinned = pinned;
        }
        Ok(Value::Bool(true))
    }

    fn find(&self, id: i64) -> Option<&Message> {
        self.messages
            .iter()
            .find(|message| message.id == id && !message.deleted)
    }

    fn show(&self, message: &Message) -> Value {
        let mut shown = json!({
            "message_id": message.id, "sender_chat": self.chat(), "chat": self.chat(), "date": message.at.as_second(),
        });
        shown[if message.is_photo { "caption" } else { "text" }] = message.text.clone().into();
        if message.is_photo {
            shown["photo"] =
                json!([{"file_id": "AgAC", "file_unique_id": "AQAD", "width": 90, "height": 67}]);
        }
        if !message.preview.is_null() {
            shown["link_preview_options"] = message.preview.clone();
        }
        if let Some(answered) = message.in_reply_to {
            shown["reply_to_message"] = json!({"message_id": answered, "chat": self.chat()});
        }
        shown
    }

    /// The public web preview, with what others made last, as far as anybody reads it.
    fn preview(&self, call: &Call<'_>) -> Response<Vec<u8>> {
        let others = call.guise.others.iter().filter_map(|other| {
            Some(Message {
                id: other.id.parse().ok()?,
                text: other.text.clone(),
                is_photo: false,
                preview: Value::Null,
                in_reply_to: None,
                at: other.at,
                deleted: false,
                pinned: false,
            })
        });
        let others: Vec<Message> = others.collect();
        let own = self.messages.iter().filter(|message| !message.deleted);
        let standing: Vec<&Message> = own.chain(&others).collect();
        let mut html = String::from("<!doctype html><body><section class=\"tgme_channel_history\">\n");
        for message in standing.iter().skip(standing.len().saturating_sub(PREVIEWED)) {
            let quote = if message.in_reply_to.is_some() {
                "<a class=\"tgme_widget_message_reply\"><div class=\"tgme_widget_message_text js-message_reply_text\">\
                 …</div></a>"
            } else {
                ""
            };
            let text = escape(&message.text);
            let (id, at) = (message.id, message.at.strftime("%Y-%m-%dT%H:%M:%S+00:00"));
            html.extend([format!(
                "<div class=\"tgme_widget_message js-widget_message\" data-post=\"{PRACTICE_CHAT}/{id}\">{quote}\
                 <div class=\"tgme_widget_message_text js-message_text\" dir=\"auto\">{text}</div>\
                 <time datetime=\"{at}\" class=\"time\">nu</time></div>\n"
            )]);
        }
        let mut response = page(Some(&html));
        response.headers_mut().insert(
            "content-type",
            http::HeaderValue::from_static("text/html; charset=utf-8"),
        );
        response
    }
}

/// A text that the service takes, as it keeps it.
fn text(given: &Given, field: &str, most: usize) -> Result<String, Refusal> {
    let text = given.fields[field].as_str().unwrap_or_default().trim().to_owned();
    if text.is_empty() && field == "text" {
        return Err(Refusal::bad("message text is empty"));
    }
    if text.encode_utf16().count() > most {
        let what = if field == "text" {
            "message is too long"
        } else {
            "message caption is too long"
        };
        return Err(Refusal::bad(what));
    }
    Ok(text)
}

fn escape(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\n', "<br/>")
}

/// The picture of a call.
fn photo(given: &Given) -> Result<ShownPicture, Refusal> {
    let Some((bytes, _)) = &given.file else {
        return Err(Refusal::bad("wrong file identifier/HTTP URL specified"));
    };
    if bytes.len() > MAX_PICTURE {
        return Err(Refusal::new(413, "Request Entity Too Large"));
    }
    let media_type = match bytes.get(..4) {
        Some([0x89, b'P', b'N', b'G']) => "image/png",
        Some([0xff, 0xd8, 0xff, _]) => "image/jpeg",
        _ => return Err(Refusal::bad("IMAGE_PROCESS_FAILED")),
    };
    // There is no alternative text for pictures; the description stands in the caption.
    Ok(ShownPicture {
        alt: String::new(),
        media_type: media_type.to_owned(),
        digest: hex::encode(Sha256::digest(bytes)),
        bytes: bytes.clone(),
    })
}

impl Simulator for Telegram {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![("bot_token".to_owned(), self.token.clone())]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match path.as_slice() {
            ["s", PRACTICE_CHAT] => self.preview(&call),
            [PRACTICE_CHAT, id] => {
                let message = id.parse().ok().and_then(|id| self.find(id));
                page(message.map(|message| message.text.as_str()))
            }
            [bot, method] if bot.starts_with("bot") => {
                let token = bot.strip_prefix("bot").unwrap_or_default();
                match self.route(&mut call, token, method) {
                    Ok(result) => reply(200, &json!({"ok": true, "result": result})),
                    Err(refusal) => refusal.answer(),
                }
            }
            _ => Refusal::new(404, "Not Found").answer(),
        }
    }
}
