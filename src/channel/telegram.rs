//! A Telegram channel, written to by a bot.
//!
//! Unproven: the Bot API knows no idempotency key, and a bot cannot read what stands in its channel. Where the channel is
//! public its web preview can show that a post got out; that it did not, nothing shows.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use url::Url;

use super::patience::Patience;
use super::transport::{Effect, below};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings, Shown,
    WallSite,
};
use crate::compose::TextRule;
use crate::config::section::{Section, quoted};
use crate::model::{
    Kind as Does, PictureRule, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod bot;
mod face;
mod picture;
mod preview;

use bot::{Bot, Chat, Fault};
use picture::{text_step, under_picture, with_description};

/// A Telegram channel.
pub static KIND: Kind = Kind {
    id: "telegram",
    about: "A Telegram channel or group, through a bot",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: true,
        edit: true,
        retract: true,
        pin: true,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "bot_token",
            required: true,
            internal: false,
        }];
        SECRETS
    },
    // 20 a minute to the same channel, one a second (core.telegram.org/bots/faq, read 2026-08), with headroom: what has a
    // picture may take two.
    pace: Pace {
        attempts: 9,
        per: Duration::from_mins(1),
        burst: 3,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The simulated account's public name: the adapter of a drill does not even know that of the real one.
pub(crate) const PRACTICE_CHAT: &str = "ovningskanalen";

/// The simulated chat that only we are in.
pub(crate) const PRACTICE_BACKSTAGE: &str = "ovningskanalen_prov";

/// Of a message's text, in UTF-16 units (core.telegram.org/bots/api#sendmessage, read 2026-08).
const MAX_TEXT: usize = 4096;
/// Of what stands under a picture, in the same units.
const MAX_CAPTION: usize = 1024;
/// How long after an attempt its post may take to show in the preview.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);

/// The picture rule: at most 10 MB, width and height 10,000 together (sendPhoto, read 2026-08); shown at most this wide.
const PICTURE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 9_000_000,
    max_edge: 2560,
    max_alt: 900,
    required: false,
};

/// How `Receipt::version` begins where the text stands under its picture; the picture's description follows, which has to
/// stay there as long as the picture does.
const AS_CAPTION: &str = "caption";
/// How `Receipt::version` begins where the picture is a message of its own; its id follows.
const WITH_PICTURE: &str = "picture:";

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    const CHAT: &str =
        "the channel's name such as \"@nassjokommun\", or its number such as \"-1001234567890\"";
    let text = section.required_text("chat", 64, CHAT);
    let chat = text.as_deref().and_then(Chat::parse);
    if let (Some(text), None) = (&text, &chat) {
        section.problem("chat", format!("found {}, expected {CHAT}", quoted(text)));
    }
    let base_url = section.address("base_url", false);
    let web_url = section.address("web_url", false);
    let read_back = section
        .optional::<bool>(
            "read_back",
            "true, or false if the channel's public preview is not to be read",
        )
        .unwrap_or(true);
    let backstage = section.optional::<String>("backstage_chat", CHAT);
    let backstage_chat = backstage.as_deref().and_then(Chat::parse);
    if let (Some(text), None) = (&backstage, &backstage_chat) {
        section.problem(
            "backstage_chat",
            format!("found {}, expected {CHAT}", quoted(text)),
        );
    }
    if backstage_chat.is_some() && backstage_chat == chat {
        section.problem("backstage_chat", "is the channel itself, which the public reads");
    }
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    let or = |url: Option<Url>, default: &str| url.or_else(|| Url::parse(default).ok());
    Some(Box::new(Telegram {
        chat: chat?,
        base_url: or(base_url, "https://api.telegram.org")?,
        web_url: or(web_url, "https://t.me")?,
        read_back,
        backstage_chat,
        settle_wait,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Telegram {
    chat: Chat,
    base_url: Url,
    web_url: Url,
    read_back: bool,
    /// A chat that only we are in.
    backstage_chat: Option<Chat>,
    settle_wait: Duration,
}

impl Settings for Telegram {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_TEXT),
            unit: Unit::Utf16,
            also: None,
        }
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        under_picture(rendering)
    }

    fn backstage(&self) -> Option<bool> {
        Some(self.backstage_chat.is_some())
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PICTURE)
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            chat: Chat::Name(PRACTICE_CHAT.to_owned()),
            base_url: site.base.clone(),
            web_url: site.base.clone(),
            read_back: self.read_back,
            backstage_chat: self
                .backstage_chat
                .as_ref()
                .map(|_| Chat::Name(PRACTICE_BACKSTAGE.to_owned())),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("chat", self.chat.to_string()),
            ("base_url", self.base_url.to_string()),
            ("web_url", self.web_url.to_string()),
        ]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("bot_token")?;
        Ok(Arc::new(Account {
            bot: Bot {
                account: parts.account,
                base_url: self.base_url.clone(),
                secrets: parts.secrets,
                http: parts.http,
            },
            settings: self.clone(),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    bot: Bot,
    settings: Telegram,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let Some(picture) = post.picture.as_deref() else {
            return self.send_text(post).await;
        };
        self.send_pictured(post, picture).await
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        // The text of a post in two messages is out; only the picture can be what is unknown.
        if let Some(mut receipt) = text_step(&question.post) {
            Self::note_picture(&question.post, &mut receipt);
            return Ok(Settled::Found(receipt));
        }
        let unclear = |code: &str, text: &str| Ok(Settled::Unclear(Reason::new(code, text)));
        if !self.settings.read_back {
            return unclear(
                "no-read-back",
                "a bot cannot read its channel, and the preview is not to be read",
            );
        }
        let Some(name) = self.public_name().await? else {
            return unclear(
                "no-read-back",
                "a bot cannot read its channel, and a private one has no preview",
            );
        };
        let patience = Patience::of(self.settings.settle_wait);
        let mut seen = preview::Look::NotThere;
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            seen = self.look(&name, question).await;
            if let preview::Look::Found(found) = seen {
                return Ok(Settled::Found(self.found(&name, &found, &question.post)));
            }
        }
        match (patience.absent(question), seen) {
            (Err(not_yet), _) => Err(not_yet),
            (Ok(_), preview::Look::Closed(reason)) => Ok(Settled::Unclear(reason)),
            (Ok(_), preview::Look::NotThere | preview::Look::Found(_)) => unclear(
                "not-in-preview",
                "the channel's public preview does not show the post, which proves nothing",
            ),
        }
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let mut ids = vec![message_id(receipt)?];
        let version = receipt.version.as_deref().unwrap_or_default();
        if let Some(picture) = version.strip_prefix(WITH_PICTURE).and_then(|id| id.parse().ok()) {
            ids.push(picture);
        }
        // Passes over what is not there, and taking away twice is harmless: a failure never needs settling.
        let body = json!({"message_ids": ids});
        self.ask("deleteMessages", body).await.map(drop)
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let mut changed = Receipt {
            note: None,
            ..receipt.clone()
        };
        let version = receipt.version.as_deref().unwrap_or_default();
        if let Some(description) = picture::described(version) {
            if let Some(picture) = post.picture.as_deref() {
                let caption = with_description(post, picture);
                match self.exchange_picture(&receipt.remote_id, picture, &caption).await {
                    Ok(()) => {
                        changed.version = Some(picture::as_caption(picture));
                        return Ok(changed);
                    }
                    Err(SendError::Refused(reason)) => changed.note = Some(without::keeps(&reason.text)),
                    Err(other) => return Err(other),
                }
            }
            // The picture stays, and so does what it shows.
            let caption = picture::with_words(post, description);
            let body = json!({"message_id": message_id(receipt)?, "caption": caption});
            self.change("editMessageCaption", body).await?;
            return Ok(changed);
        }
        let preview = json!({"is_disabled": false, "url": post.rendering.link});
        let text = &post.rendering.text;
        let body = json!({"message_id": message_id(receipt)?, "text": text, "link_preview_options": preview});
        self.change("editMessageText", body).await?;
        if let Some(picture) = post.picture.as_deref() {
            // The text is changed: whatever becomes of the picture must not undo that.
            let done = match version.strip_prefix(WITH_PICTURE) {
                Some(id) => {
                    let caption = picture::description(post, picture);
                    self.exchange_picture(id, picture, &caption).await
                }
                None => Err(SendError::Refused(Reason::new(
                    "no-picture",
                    "a message of text gets no picture afterwards; send it as a message of its own",
                ))),
            };
            match done {
                Ok(()) => {}
                Err(SendError::Refused(reason)) => changed.note = Some(without::keeps(&reason.text)),
                Err(other) => return Err(other),
            }
        }
        Ok(changed)
    }

    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        let id = message_id(receipt)?;
        // A second signal for the same message would wake people for nothing.
        let body = json!({"message_id": id, "disable_notification": true});
        match self.ask("pinChatMessage", body).await {
            Err(SendError::Refused(reason)) if self.pinned().await? != Some(id) => {
                Err(SendError::Refused(reason))
            }
            Err(SendError::Refused(_)) | Ok(_) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        let body = json!({"message_id": message_id(receipt)?});
        match self.ask("unpinChatMessage", body).await {
            // Done if nothing is pinned. Of several pinned messages only the latest is told.
            Err(SendError::Refused(reason)) if self.pinned().await?.is_some() => {
                Err(SendError::Refused(reason))
            }
            Err(SendError::Refused(_)) | Ok(_) => Ok(()),
            Err(other) => Err(other),
        }
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

impl Account {
    /// Changes a message; to change it into what it is already counts as done.
    async fn change(&self, method: &str, body: Value) -> Result<(), SendError> {
        match self
            .bot
            .call(method, &self.settings.chat, body, Effect::Reads)
            .await
        {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_unmodified() => Ok(()),
            Err(fault) => Err(fault.on_read()),
        }
    }

    /// A request about our chat that changes nothing, or nothing more when repeated.
    async fn ask(&self, method: &str, body: Value) -> Result<Value, SendError> {
        let answer = self
            .bot
            .call(method, &self.settings.chat, body, Effect::Reads)
            .await;
        answer.map_err(Fault::on_read)
    }

    async fn send_text(&self, post: &Post) -> Result<Receipt, SendError> {
        let parent = parent(post);
        // No parse_mode: nothing in the text can be taken for markup, and addresses become links by themselves.
        let mut body = json!({
            "text": post.rendering.text,
            "link_preview_options": {"is_disabled": false, "url": post.rendering.link},
        });
        if let Some(parent) = parent {
            body["reply_parameters"] = reply_to(parent);
        }
        let result = self
            .bot
            .call("sendMessage", &self.settings.chat, body, Effect::Writes)
            .await;
        let result = result.map_err(Fault::on_write)?;
        let mut receipt = self.receipt(&result)?;
        receipt.note = lonely(parent, &result);
        Ok(receipt)
    }

    /// The receipt of a message that the service says it has made.
    fn receipt(&self, message: &Value) -> Result<Receipt, SendError> {
        let id = message["message_id"].as_i64().filter(|id| *id > 0);
        let id = id.ok_or_else(|| {
            SendError::Unknown(Reason::new(
                "unreadable",
                "the service says that it is done but names no message",
            ))
        })?;
        let receipt = Receipt::of(id.to_string());
        let chat = &message["chat"];
        let number = chat["id"].as_i64().map(|id| id.to_string());
        let private = number.as_deref().and_then(|id| id.strip_prefix("-100"));
        let id = id.to_string();
        Ok(
            match (
                chat["username"].as_str().filter(|name| bot::is_name(name)),
                private,
            ) {
                (Some(name), _) => receipt.at(below(&self.settings.web_url, [name, &id])),
                (None, Some(number)) => receipt.at(below(&self.settings.web_url, ["c", number, &id])),
                (None, None) => receipt,
            },
        )
    }

    fn found(&self, name: &str, found: &preview::Found, post: &Post) -> Receipt {
        let mut receipt = Receipt::of(found.id.to_string());
        match post.picture.as_deref() {
            Some(picture) if found.as_caption => receipt.version = Some(picture::as_caption(picture)),
            // The text stands alone: the picture was refused, or would have been the next message.
            Some(_) => {
                let known = without::of(&post.steps, without::PICTURE);
                receipt.note = known.or_else(|| Some(picture::MISSING.to_owned()));
            }
            None => {}
        }
        receipt.at(below(&self.settings.web_url, [name, &found.id.to_string()]))
    }

    /// The name under which the public sees the channel; `None` if it is private.
    async fn public_name(&self) -> Result<Option<String>, SendError> {
        if let Chat::Name(name) = &self.settings.chat {
            return Ok(Some(name.clone()));
        }
        let chat = self.ask("getChat", json!({})).await?;
        let name = chat["username"].as_str().filter(|name| bot::is_name(name));
        Ok(name.map(str::to_owned))
    }

    /// The latest pinned message.
    async fn pinned(&self) -> Result<Option<i64>, SendError> {
        let chat = self.ask("getChat", json!({})).await?;
        Ok(chat["pinned_message"]["message_id"].as_i64())
    }

    /// Looks for the post in the public preview.
    /// The channel's public preview, if there is one.
    async fn preview_page(&self, name: &str) -> Option<String> {
        let url = below(&self.settings.web_url, ["s", name]);
        let request = self.bot.http.request(reqwest::Method::GET, url);
        let answer = self.bot.http.send(request, Effect::Reads).await.ok()?;
        (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
    }

    async fn look(&self, name: &str, question: &Question) -> preview::Look {
        let url = below(&self.settings.web_url, ["s", name]);
        let request = self.bot.http.request(reqwest::Method::GET, url);
        let answer = match self.bot.http.send(request, Effect::Reads).await {
            Ok(answer) => answer,
            Err(error) => return preview::Look::Closed(error.reason().clone()),
        };
        if answer.status != 200 {
            let text = format!("the channel's public preview answered {}", answer.status);
            return preview::Look::Closed(Reason::new("no-preview", text));
        }
        let page = String::from_utf8_lossy(&answer.body);
        let post = &question.post;
        let wanted = preview::Wanted {
            name,
            text: &post.rendering.text,
            caption: post
                .picture
                .as_deref()
                .map(|picture| with_description(post, picture)),
            since: question.earliest(),
            taken: &question.taken,
        };
        preview::look(&page, &wanted)
    }
}

/// An answer to `message`; without it if that is gone.
fn reply_to(message: i64) -> Value {
    json!({"message_id": message, "allow_sending_without_reply": true})
}

fn parent(post: &Post) -> Option<i64> {
    post.parent.as_ref().and_then(|receipt| message_id(receipt).ok())
}

/// A note if an answer was to be made and the message does not show as one.
fn lonely(parent: Option<i64>, message: &Value) -> Option<String> {
    let is_alone = parent.is_some() && message.get("reply_to_message").is_none();
    is_alone.then(|| "the earlier post was gone, so this one stands alone".to_owned())
}

fn message_id(receipt: &Receipt) -> Result<i64, SendError> {
    receipt.remote_id.parse().map_err(|_| {
        let text = format!("{:?} is no message of Telegram's", brief(&receipt.remote_id));
        SendError::Refused(Reason::new("not-a-message", text))
    })
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the service's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
