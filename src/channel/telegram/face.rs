//! What the channel is: whose bot it is and what it may there, how readers find it, and what it can where they do not look.

use serde_json::{Value, json};

use super::bot::Fault;
use super::{Account, brief, no_sense, preview};
use crate::channel::backstage::{ended, nowhere};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::Effect;
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::model::{Post, Reason, SendError};

/// What our work needs in a channel (reference page §1); who made it may everything.
const IN_CHANNEL: &[&[&str]] = &[
    &["can_post_messages", "creator"],
    &["can_edit_messages", "can_pin_messages", "creator"],
    &["can_delete_messages", "creator"],
];
/// The same in a group, where every member may write.
const IN_GROUP: &[&[&str]] = &[
    &["can_pin_messages", "creator"],
    &["can_delete_messages", "creator"],
];
/// What is given along with it and does no harm.
const BESIDE: &[&str] = &[
    "administrator",
    "member",
    "can_manage_chat",
    "can_post_messages",
    "can_edit_messages",
    "can_pin_messages",
    "can_send_messages",
    "can_post_stories",
    "can_edit_stories",
    "can_delete_stories",
];
const LOST: &[(&str, &str)] = &[
    ("can_edit_messages", "posts cannot be pinned"),
    ("can_pin_messages", "posts cannot be pinned"),
    ("can_delete_messages", "posts can be taken away for 48 hours only"),
];
const PLACE: &str = "in a test chat";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let me = self.bot.me().await.map_err(Fault::on_read)?;
        let bot = me["id"].as_i64().ok_or_else(|| no_sense("the bot has no id"))?;
        let chat = self.ask("getChat", json!({})).await?;
        let title = chat["title"].as_str().filter(|title| !title.is_empty());
        let title = title.ok_or_else(|| no_sense("the chat has no title"))?;
        let member = self.ask("getChatMember", json!({"user_id": bot})).await?;
        let status = member["status"].as_str().unwrap_or_default();
        let may = |right: &str| status == "creator" || member[right] == true;
        let is_channel = chat["type"] == "channel";
        let may_post = if is_channel {
            may("can_post_messages")
        } else {
            matches!(status, "creator" | "administrator" | "member")
        };
        if !may_post {
            let text = format!(
                "the bot may not post: it is {}; make it an administrator with the right to post",
                brief(status)
            );
            return Err(SendError::Refused(Reason::new("rights", text)));
        }
        let yes_or = |may: bool, no: &'static str| Some(if may { "yes" } else { no }.to_owned());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let public_name = text(&chat["username"]);
        let mut flaws = Vec::new();
        if public_name.is_none() {
            let text = "the channel is private: it has no public name, and nobody finds it";
            flaws.push(flaw("private", text));
        }
        let given = member.as_object().into_iter().flatten();
        let held = given
            .filter(|(name, value)| name.starts_with("can_") && *name != "can_be_edited" && **value == true);
        let held = held.map(|(name, _)| name.clone()).take(40).chain([brief(status)]);
        let needs = if is_channel { IN_CHANNEL } else { IN_GROUP };
        let rights = Rights::compare(held, needs, BESIDE);
        flaws.extend(portrait::missing(&rights, LOST));
        Ok(Identity {
            name: brief(title),
            id: chat["id"].as_i64().map(|id| id.to_string()),
            rights: Some(rights),
            flaws,
            facts: portrait::facts([
                ("bot", text(&me["username"])),
                ("type", text(&chat["type"])),
                ("id", Some(chat["id"].to_string())),
                (
                    "public_name",
                    public_name.or_else(|| Some("none: private".to_owned())),
                ),
                (
                    "may_pin",
                    yes_or(
                        may("can_edit_messages") || may("can_pin_messages"),
                        "no: give the bot the right to edit messages",
                    ),
                ),
                (
                    "may_delete",
                    yes_or(may("can_delete_messages"), "its own posts only, for 48 hours"),
                ),
            ]),
            ..Identity::default()
        })
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let chat = self.ask("getChat", json!({})).await?;
        let readers = self.ask("getChatMemberCount", json!({})).await?;
        let name = chat["username"].as_str();
        let mut latest = Vec::new();
        // A bot cannot read its channel; what anybody reads in the web, it can.
        if let Some(name) = name.filter(|_| self.settings.read_back)
            && let Some(page) = self.preview_page(name).await
        {
            latest = preview::latest(&page, name);
        }
        let description = chat["description"].as_str().unwrap_or_default();
        let address = name.map(|name| format!("https://t.me/{name}"));
        Ok(Profile {
            name: brief(chat["title"].as_str().unwrap_or_default()),
            texts: portrait::texts([description]),
            links: portrait::links(
                address
                    .as_deref()
                    .into_iter()
                    .chain(portrait::links_in(description)),
            ),
            // Its file is to be had only by an address with the bot's token in it.
            picture: None,
            followers: readers.as_u64(),
            posts: None,
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A message in a chat of our own. What the service took is what it answers with: a bot cannot read again.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let Some(chat) = &self.settings.backstage_chat else {
            return Err(nowhere("set `backstage_chat` to a chat that only we are in"));
        };
        let text = post.rendering.text.trim();
        let body = json!({"text": text, "disable_notification": true});
        let made = self.bot.call("sendMessage", chat, body, Effect::Writes).await;
        let made = made.map_err(Fault::on_write)?;
        let Some(id) = made["message_id"].as_i64() else {
            let text = "the service took a message to the test chat and did not say its number";
            return Err(SendError::Unknown(Reason::new("unreadable", text)));
        };
        let body = json!({"message_ids": [id]});
        let gone = self.bot.call("deleteMessages", chat, body, Effect::Reads).await;
        let gone = gone.map(drop).map_err(Fault::on_read);
        ended(PLACE, &id.to_string(), Ok(made["text"] == text), gone)
    }
}
