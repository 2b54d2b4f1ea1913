//! How readers find the room, and what the account can where they do not look.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Account, content, event_id, no_sense, verdict};
use crate::channel::backstage::{ended, nowhere};
use crate::channel::portrait;
use crate::channel::transport::{Answer, Effect, below};
use crate::channel::{Backstage, Profile};
use crate::clock::Timestamp;
use crate::model::{Post, Reason, SendError};

const PLACE: &str = "in a room of our own";

impl Account {
    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let (me, _) = self.who_am_i().await?;
        let text = |state: Option<Value>, field: &str| {
            let text = state.as_ref().and_then(|state| state[field].as_str());
            text.unwrap_or_default().to_owned()
        };
        let name = text(self.state("m.room.name").await?, "name");
        let topic = text(self.state("m.room.topic").await?, "topic");
        // In a room with very many the list is more than we read.
        let members = self.get(self.in_room(&["joined_members"])).await.ok();
        let members = members
            .filter(Answer::is_success)
            .and_then(|answer| answer.json());
        let members = members.and_then(|body| body["joined"].as_object().map(serde_json::Map::len));
        let filter = json!({ "types": ["m.room.message"], "senders": [me] }).to_string();
        let mut url = self.in_room(&["messages"]);
        url.query_pairs_mut()
            .append_pair("dir", "b")
            .append_pair("limit", "50")
            .append_pair("filter", &filter);
        let answer = self.get(url).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let page = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
        let events = page["chunk"]
            .as_array()
            .ok_or_else(|| no_sense("no list of messages"))?;
        // What was taken away is empty; what changes another message is no post.
        let posts = events
            .iter()
            .filter(|event| event["content"]["msgtype"].is_string())
            .filter(|event| event["content"]["m.relates_to"]["rel_type"] != "m.replace");
        let latest = posts.filter_map(|event| {
            let at = event["origin_server_ts"].as_i64();
            let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
            portrait::latest(event["event_id"].as_str(), at, event["sender"].as_str())
        });
        let mut address = self.settings.permalinks.clone();
        address.set_fragment(Some(&format!("/{}", self.settings.room)));
        Ok(Profile {
            name: name.chars().take(100).collect(),
            links: portrait::links(std::iter::once(address.as_str()).chain(portrait::links_in(&topic))),
            texts: portrait::texts([topic.as_str()]),
            // Pictures are given out to whoever is logged in only.
            picture: None,
            followers: members.and_then(|count| u64::try_from(count).ok()),
            posts: None,
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A message in a room that only we are in.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let Some(room) = &self.settings.backstage_room else {
            return Err(nowhere("set `backstage_room` to a room that only we are in"));
        };
        let place = |rest: &[&str]| {
            let room = ["_matrix", "client", "v3", "rooms", room.as_str()];
            below(
                &self.settings.server,
                room.into_iter().chain(rest.iter().copied()),
            )
        };
        let key = format!("backstage-{}", post.key);
        let body = json!({ "msgtype": "m.text", "body": post.rendering.text, "m.mentions": {} });
        let url = place(&["send", "m.room.message", &key]);
        let request = self.session.request(Method::PUT, url).json(&body);
        let answer = self.session.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let Some(event) = event_id(&answer) else {
            let text = "the server took a message to our own room and did not name it";
            return Err(SendError::Unknown(Reason::new("unreadable", text)));
        };
        let read = match self.get(place(&["event", &event])).await {
            Ok(answer) if answer.is_success() => {
                let shown = answer.json().unwrap_or(Value::Null);
                Ok(shown["content"]["body"] == post.rendering.text.as_str())
            }
            Ok(answer) => Err(verdict::of_read(&answer)),
            Err(error) => Err(error),
        };
        let url = place(&["redact", &event, &content::redaction_key(&event)]);
        let request = self.session.request(Method::PUT, url).json(&content::redaction());
        let gone = match self.session.send(request, Effect::Reads).await {
            Ok(answer) if answer.is_success() || answer.status == 404 => Ok(()),
            Ok(answer) => Err(verdict::of_read(&answer)),
            Err(error) => Err(error),
        };
        ended(PLACE, &event, read, gone)
    }
}
