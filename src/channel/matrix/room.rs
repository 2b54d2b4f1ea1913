//! The room: reading it back, what is pinned in it, and whether the account may write there.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Account, content, no_sense, verdict};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::{Answer, Effect, below};
use crate::channel::{Identity, Rights};
use crate::clock::Timestamp;
use crate::model::{Question, Reason, SendError};

/// Events per page.
const PAGE: usize = 50;
/// How many pages are read back at most.
const PAGES: usize = 10;
/// What an account may be able to do in a room, with what holds where its kind is not listed.
const POWERS: &[(&str, &str, i64)] = &[
    ("m.room.message", "events_default", 0),
    ("m.room.pinned_events", "state_default", 50),
    ("m.room.power_levels", "state_default", 50),
];
const NEEDS: &[&[&str]] = &[&["m.room.message"], &["m.room.pinned_events"]];
const LOST: &[(&str, &str)] = &[("m.room.pinned_events", "posts cannot be pinned")];
/// Most pinned messages that are written back; a list longer than this is not ours to write.
const MAX_PINS: usize = 200;
/// From this version on, who made a room may do everything and stands in no list of powers.
const CREATORS_RULE_FROM: u32 = 12;

/// What reading the room back gave.
pub(super) enum Search {
    Found(String),
    /// Everything since the attempt was seen.
    NotThere,
    /// There was more than we read.
    TooMuch(usize),
    /// The server does not let us read.
    Closed(Reason),
}

impl Account {
    /// Looks for the text among our own messages since `since`, newest first.
    pub(super) async fn search(&self, question: &Question, since: Timestamp) -> Result<Search, SendError> {
        let (me, _) = match self.who_am_i().await {
            Ok(me) => me,
            Err(SendError::Refused(reason)) => return Ok(Search::Closed(reason)),
            Err(other) => return Err(other),
        };
        let filter = json!({ "types": ["m.room.message"], "senders": [me] }).to_string();
        let mut from: Option<String> = None;
        for _ in 0..PAGES {
            let mut url = self.in_room(&["messages"]);
            url.query_pairs_mut()
                .append_pair("dir", "b")
                .append_pair("limit", &PAGE.to_string())
                .append_pair("filter", &filter);
            if let Some(from) = &from {
                url.query_pairs_mut().append_pair("from", from);
            }
            let answer = self.get(url).await?;
            if !answer.is_success() {
                let wrong = verdict::of_read(&answer);
                if let SendError::Refused(reason) = wrong {
                    return Ok(Search::Closed(reason));
                }
                return Err(wrong);
            }
            let page = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
            let events = page["chunk"].as_array();
            for event in events.ok_or_else(|| no_sense("no list of messages"))? {
                let id = event["event_id"].as_str();
                let at = event["origin_server_ts"].as_i64();
                let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
                let (Some(id), Some(at)) = (id, at) else {
                    return Err(no_sense("a message without id or time"));
                };
                if at < since {
                    return Ok(Search::NotThere);
                }
                let ours = event["sender"] == me.as_str() && content::is_text_of(event, &question.post);
                if ours && !question.taken.iter().any(|taken| taken == id) {
                    return Ok(Search::Found(id.to_owned()));
                }
            }
            match page["end"].as_str() {
                Some(end) if from.as_deref() != Some(end) => from = Some(end.to_owned()),
                // The beginning of the room.
                Some(_) | None => return Ok(Search::NotThere),
            }
        }
        Ok(Search::TooMuch(PAGE * PAGES))
    }

    /// Changes the list of what is pinned, if that changes it.
    pub(super) async fn change_pins(&self, change: impl FnOnce(&mut Vec<String>)) -> Result<(), SendError> {
        let state = self.state("m.room.pinned_events").await?;
        let listed = state.as_ref().and_then(|state| state["pinned"].as_array());
        let before: Vec<String> = listed
            .into_iter()
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        let mut pins = before.clone();
        change(&mut pins);
        if pins == before {
            return Ok(());
        }
        if pins.len() > MAX_PINS {
            let text =
                format!("more than {MAX_PINS} messages are pinned in the room; unpin some of them there");
            return Err(SendError::Refused(Reason::new("too-many-pins", text)));
        }
        let url = self.in_room(&["state", "m.room.pinned_events"]);
        let request = self
            .session
            .request(Method::PUT, url)
            .json(&json!({ "pinned": pins }));
        // The same list twice is the same list.
        let answer = self.session.send(request, Effect::Reads).await?;
        if answer.is_success() {
            Ok(())
        } else {
            Err(verdict::of_read(&answer))
        }
    }

    /// Asks who we are and whether the room is one that residents can read and we can write to.
    pub(super) async fn look_around(&self) -> Result<Identity, SendError> {
        let (me, device) = self.who_am_i().await?;
        let mut flaws = Vec::new();
        let mut facts = BTreeMap::from([("room".to_owned(), brief(&self.settings.room))]);
        if let Some(device) = device {
            facts.insert("device".to_owned(), brief(&device));
        }
        let refused = |code, text: String| Err(SendError::Refused(Reason::new(code, text)));
        if self.state("m.room.encryption").await?.is_some() {
            let text =
                "the room is encrypted, and nobody there could read the posts; name one without encryption";
            return refused("encrypted-room", text.to_owned());
        }
        if let Some(state) = self.state("m.room.tombstone").await? {
            let next = state["replacement_room"].as_str().map_or("another", |room| room);
            let text = format!("the room was replaced by {}; correct `room`", brief(next));
            return refused("replaced-room", text);
        }
        let powers = self.powers(&me).await?;
        if !powers.may("events_default", "m.room.message", 0) {
            let text = "the account may not write in the room; give it the power that messages need there";
            return refused("no-power", text.to_owned());
        }
        let held = POWERS
            .iter()
            .filter(|(kind, otherwise, default)| powers.may(otherwise, kind, *default));
        let held = held.map(|(kind, _, _)| (*kind).to_owned());
        let rights = Rights::compare(held, NEEDS, &[]);
        flaws.extend(portrait::missing(&rights, LOST));
        facts.insert("power".to_owned(), powers.told());
        let pin = if powers.may("state_default", "m.room.pinned_events", 50) {
            "yes"
        } else {
            "no: the account lacks the power to pin messages"
        };
        facts.insert("may_pin".to_owned(), pin.to_owned());
        let config = below(
            &self.settings.server,
            ["_matrix", "client", "v1", "media", "config"],
        );
        let config = self.get(config).await?;
        let most = config.json().filter(|_| config.is_success());
        if let Some(most) = most.and_then(|body| body["m.upload.size"].as_u64()) {
            facts.insert("largest_picture_bytes".to_owned(), most.to_string());
        }
        if let Ok(Some(rules)) = self.state("m.room.join_rules").await
            && rules["join_rule"] != "public"
        {
            let text = "residents cannot join the room by themselves; make it public in its settings";
            flaws.push(flaw("not-public", text));
        }
        Ok(Identity {
            id: Some(me.clone()),
            name: brief(&me),
            rights: Some(rights),
            flaws,
            facts,
            ..Identity::default()
        })
    }

    /// The account's name and its device.
    pub(super) async fn who_am_i(&self) -> Result<(String, Option<String>), SendError> {
        let url = ["_matrix", "client", "v3", "account", "whoami"];
        let answer = self.get(below(&self.settings.server, url)).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let body = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
        let name = body["user_id"].as_str().filter(|name| name.starts_with('@'));
        let name = name.ok_or_else(|| no_sense("the account has no name"))?;
        Ok((name.to_owned(), body["device_id"].as_str().map(str::to_owned)))
    }

    /// What the room holds of this kind; `None` if nothing.
    pub(super) async fn state(&self, kind: &str) -> Result<Option<Value>, SendError> {
        let answer = self.get(self.in_room(&["state", kind])).await?;
        match answer.status {
            404 => Ok(None),
            200..=299 => answer.json().map(Some).ok_or_else(|| no_sense("it is not JSON")),
            _ => Err(verdict::of_read(&answer)),
        }
    }

    async fn powers(&self, me: &str) -> Result<Powers, SendError> {
        let levels = self.state("m.room.power_levels").await?.unwrap_or(Value::Null);
        let listed = levels["users"][me].as_i64();
        let mine = listed.or_else(|| levels["users_default"].as_i64()).unwrap_or(0);
        let made_it = listed.is_none() && self.made_the_room(me).await?;
        Ok(Powers {
            mine: if made_it { i64::MAX } else { mine },
            levels,
        })
    }

    /// Whether we made the room, where that gives us every power.
    async fn made_the_room(&self, me: &str) -> Result<bool, SendError> {
        let mut url = self.in_room(&["state", "m.room.create"]);
        url.query_pairs_mut().append_pair("format", "event");
        let answer = self.get(url).await?;
        let Some(event) = answer.json().filter(|_| answer.is_success()) else {
            return Ok(false);
        };
        let content = &event["content"];
        let version: Option<u32> = content["room_version"].as_str().and_then(|v| v.parse().ok());
        let others = content["additional_creators"].as_array().into_iter().flatten();
        let among = event["sender"] == me || others.into_iter().any(|other| other == me);
        Ok(among && version.is_some_and(|version| version >= CREATORS_RULE_FROM))
    }

    pub(super) async fn get(&self, url: url::Url) -> Result<Answer, SendError> {
        let request = self.session.request(Method::GET, url);
        self.session.send(request, Effect::Reads).await
    }
}

/// What the account may do in the room.
struct Powers {
    mine: i64,
    levels: Value,
}

impl Powers {
    fn told(&self) -> String {
        if self.mine == i64::MAX {
            "all: the account made the room".to_owned()
        } else {
            self.mine.to_string()
        }
    }

    /// Whether it may send events of this kind; `otherwise` names what holds where the kind is not listed.
    fn may(&self, otherwise: &str, kind: &str, default: i64) -> bool {
        let listed = self.levels["events"][kind].as_i64();
        let needed = listed.or_else(|| self.levels[otherwise].as_i64());
        self.mine >= needed.unwrap_or(default)
    }
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
