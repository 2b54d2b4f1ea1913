//! A Matrix room, through the client-server API of the account's own server.
//!
//! Keyed: a repeat under the same transaction id gives the first event back. The id counts within one device, so that an
//! account keeps its access token, or renews it, and never logs in anew. How long a server remembers differs; each
//! message therefore carries the delivery's id as well, by which it is found when the room is read back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use url::Url;

use super::patience::Patience;
use super::transport::{Answer, Effect, below};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings, WallSite,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Picture, PictureRule, Post, Proof, Question, Reason, Receipt, SendError, Settled, Steps, Unit,
};

mod content;
mod face;
mod room;
mod session;
mod verdict;

use room::Search;
use session::Session;

/// A Matrix room.
pub static KIND: Kind = Kind {
    id: "matrix",
    about: "A Matrix room",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: true,
        retract: true,
        pin: true,
        picture: true,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "access_token",
                required: true,
                internal: false,
            },
            SecretName {
                name: "refresh_token",
                required: false,
                internal: false,
            },
        ];
        SECRETS
    },
    // Synapse as it comes takes 10 events at once and then one in five seconds; a post with a picture is two events.
    pace: Pace {
        attempts: 10,
        per: Duration::from_mins(1),
        burst: 4,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The room of every simulated account: the adapter of a drill does not even know the id of the real one.
pub(crate) const PRACTICE_ROOM: &str = "!ovning";

/// The simulated room that only we are in.
pub(crate) const PRACTICE_BACKSTAGE: &str = "!prov";

/// An event may have 65,536 bytes. A changed message carries its text twice, and JSON may double each byte of it.
const MAX_BYTES: usize = 15_000;
/// How long after an attempt its message may take to show, where the transaction id does not protect us.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(10);
/// The same on the practice wall, where a message shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Synapse keeps transaction ids for 30 minutes in memory and a day on disk, others only in memory; read 2026-11.
const KEY_HOLDS: Duration = Duration::from_mins(20);
/// Longest time that a picture may hold up the text.
const PICTURE_PATIENCE: Duration = Duration::from_secs(6);
/// How long it is asked for after the text is out, if it is not known what became of it.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// The names under which the steps of a picture are kept.
const PICTURE_FILE: &str = "picture-file";
const PICTURE_EVENT: &str = "picture-event";

const PICTURES: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    // Synapse as it comes takes 50 MB; small pictures are up before anybody waits for them.
    max_bytes: 4 * 1024 * 1024,
    max_edge: 2048,
    max_alt: 1000,
    required: false,
};

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    const ROOM: &str = "a room's id, such as \"!abcdef:matrix.example\"";
    let server = section.address("server", true);
    let room = section.required_text("room", 255, ROOM);
    if let Some(room) = &room {
        if room.starts_with('#') {
            section.problem(
                "room",
                format!("{room:?} is the room's alias, which can come to lead elsewhere; expected {ROOM}: in Element under the room's settings, Advanced"),
            );
        } else if !is_room_id(room) {
            section.problem("room", format!("{room:?} is no room's id; expected {ROOM}"));
        }
    }
    let backstage_room = section.optional::<String>("backstage_room", ROOM);
    if let Some(room) = backstage_room
        .as_ref()
        .filter(|id| !is_room_id(id) || id.len() > 255)
    {
        section.problem(
            "backstage_room",
            format!("{room:?} is no room's id; expected {ROOM}"),
        );
    }
    if backstage_room.is_some() && backstage_room == room {
        section.problem("backstage_room", "is the room itself, which the public reads");
    }
    let permalinks = section.address("permalinks", false);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Matrix {
        server: server?,
        room: room?,
        permalinks: match permalinks {
            Some(url) => url,
            None => Url::parse("https://matrix.to").ok()?,
        },
        backstage_room,
        settle_wait,
    }))
}

/// Opaque; since version 12 without a domain.
fn is_room_id(text: &str) -> bool {
    text.strip_prefix('!')
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Matrix {
    server: Url,
    room: String,
    permalinks: Url,
    /// A room that only we are in.
    backstage_room: Option<String>,
    settle_wait: Duration,
}

impl Settings for Matrix {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_BYTES),
            unit: Unit::Bytes,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            server: site.base.clone(),
            room: PRACTICE_ROOM.to_owned(),
            permalinks: site.base.clone(),
            backstage_room: self
                .backstage_room
                .as_ref()
                .map(|_| PRACTICE_BACKSTAGE.to_owned()),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("server", self.server.to_string()),
            ("room", self.room.clone()),
            ("permalinks", self.permalinks.to_string()),
        ]
    }

    fn backstage(&self) -> Option<bool> {
        Some(self.backstage_room.is_some())
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PICTURES)
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            session: Session::new(&self.server, &parts),
            settings: self.clone(),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: Matrix,
    session: Session,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        // The picture goes first, so that the post is known as published exactly when its text stands. Whatever becomes
        // of the picture, the text follows.
        let mut doubtful = false;
        if let Some(picture) = &post.picture {
            let sent = tokio::time::timeout(PICTURE_PATIENCE, self.send_picture(post, picture)).await;
            let wrong = match sent {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    doubtful = matches!(error, SendError::Unknown(_) | SendError::NotSent(_));
                    Some(error.to_string())
                }
                Err(_) => {
                    doubtful = true;
                    Some("it took too long".to_owned())
                }
            };
            // Before its file is there, nothing of it can stand in the room.
            doubtful &= post.steps.get(PICTURE_FILE).is_some();
            match wrong {
                None => without::take_back(&post.steps, without::PICTURE).await?,
                Some(wrong) => {
                    let what = if doubtful {
                        "the picture may be missing"
                    } else {
                        "published without its picture"
                    };
                    without::note_down(&post.steps, without::PICTURE, &format!("{what}: {wrong}")).await?;
                }
            }
        }
        let event = self.put(&content::key(post), &content::text(post)).await?;
        if let Some(picture) = post.picture.as_deref().filter(|_| doubtful) {
            self.make_sure(post, picture).await;
        }
        Ok(self.receipt(event, post))
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let since = question.earliest();
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            match self.search(question, since).await? {
                Search::Found(event) => {
                    return Ok(Settled::Found(self.receipt(event, &question.post)));
                }
                // As long as the server knows the transaction id, a repeat is either the first message or the same one.
                _ if question.is_younger_than(KEY_HOLDS) => return Ok(Settled::Absent),
                Search::NotThere => {}
                Search::TooMuch(count) => {
                    let text = format!("not among the latest {count} messages, and there are more");
                    return Ok(Settled::Unclear(Reason::new("read-back-incomplete", text)));
                }
                Search::Closed(reason) => return Ok(Settled::Unclear(reason)),
            }
        }
        patience.absent(question)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        // The text first; then what belongs to it: its picture, and the events that changed it.
        let others = receipt.version.as_deref().unwrap_or_default();
        for event in std::iter::once(receipt.remote_id.as_str()).chain(others.split_whitespace()) {
            let key = content::redaction_key(event);
            let url = self.in_room(&["redact", event, &key]);
            let request = self.session.request(Method::PUT, url).json(&content::redaction());
            // Taking away twice is harmless, so that a failure never needs settling.
            let answer = self.session.send(request, Effect::Reads).await?;
            if !answer.is_success() && answer.status != 404 {
                return Err(verdict::of_read(&answer));
            }
        }
        Ok(())
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let url = self.in_room(&["send", "m.room.message", &content::edit_key(post)]);
        let content = content::edit(&receipt.remote_id, post);
        let request = self.session.request(Method::PUT, url).json(&content);
        // The same change twice is the same event, or one that shows the same text.
        let answer = self.session.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let change = event_id(&answer).ok_or_else(|| no_sense("it names no event"))?;
        let mut changed = receipt.clone();
        let known = changed.version.get_or_insert_default();
        if !known.split_whitespace().any(|event| event == change) {
            if !known.is_empty() {
                known.push(' ');
            }
            known.push_str(&change);
        }
        // The picture is an event of its own, which this does not change.
        changed.note = post.picture.as_ref().map(|_| {
            without::keeps("a changed text leaves the picture's message as it is; send the new one as a message of its own")
        });
        Ok(changed)
    }

    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.change_pins(|pins| {
            if !pins.contains(&receipt.remote_id) {
                pins.push(receipt.remote_id.clone());
            }
        })
        .await
    }

    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.change_pins(|pins| pins.retain(|pin| *pin != receipt.remote_id))
            .await
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.look_around().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

impl Account {
    /// An address below the room.
    fn in_room(&self, rest: &[&str]) -> Url {
        let room = ["_matrix", "client", "v3", "rooms", self.settings.room.as_str()];
        below(
            &self.settings.server,
            room.into_iter().chain(rest.iter().copied()),
        )
    }

    /// Sends a message under its transaction id. Returns the event.
    async fn put(&self, key: &str, content: &serde_json::Value) -> Result<String, SendError> {
        let url = self.in_room(&["send", "m.room.message", key]);
        let request = self.session.request(Method::PUT, url).json(content);
        let answer = self.session.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        event_id(&answer).ok_or_else(|| verdict::unreadable(&answer))
    }

    /// Asks once more what became of a picture whose answer was lost, now that the text is out: under the same transaction
    /// id the server tells which event it is, so that it goes with the text when that is taken away. Nothing that goes
    /// wrong here is a failure.
    async fn make_sure(&self, post: &Post, picture: &Picture) {
        let Some(address) = post.steps.get(PICTURE_FILE) else {
            return;
        };
        let content = content::picture(post, picture, &address);
        let key = content::picture_key(post);
        let asked = async {
            let event = self.put(&key, &content).await?;
            record(&post.steps, PICTURE_EVENT, &event).await?;
            without::take_back(&post.steps, without::PICTURE).await
        };
        // The note that was written before the text stays if this does not tell either.
        drop(tokio::time::timeout(LAST_LOOK, asked).await);
    }

    /// Uploads the picture and sends it, each once over all attempts.
    async fn send_picture(&self, post: &Post, picture: &Picture) -> Result<(), SendError> {
        if post.steps.get(PICTURE_EVENT).is_some() {
            return Ok(());
        }
        let address = if let Some(address) = post.steps.get(PICTURE_FILE) {
            address
        } else {
            let address = match self.upload(picture).await {
                // A second copy that nobody sees does no harm.
                Err(SendError::NotSent(_)) => self.upload(picture).await?,
                other => other?,
            };
            record(&post.steps, PICTURE_FILE, &address).await?;
            address
        };
        let (key, content) = (
            content::picture_key(post),
            content::picture(post, picture, &address),
        );
        let event = match self.put(&key, &content).await {
            // The server knows what it has got under this id.
            Err(SendError::Unknown(_) | SendError::NotSent(_)) => self.put(&key, &content).await?,
            other => other?,
        };
        record(&post.steps, PICTURE_EVENT, &event).await
    }

    /// Puts the picture on the server, where nobody sees it before it is sent. Returns its address.
    async fn upload(&self, picture: &Picture) -> Result<String, SendError> {
        let mut url = below(&self.settings.server, ["_matrix", "media", "v3", "upload"]);
        url.query_pairs_mut().append_pair("filename", picture.file_name());
        let request = self
            .session
            .request(Method::POST, url)
            .header("content-type", picture.media_type)
            .body(picture.bytes.clone());
        let answer = self.session.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let body = answer.json().ok_or_else(|| no_sense("it is not JSON"))?;
        let address = body["content_uri"].as_str();
        let address = address.filter(|uri| uri.starts_with("mxc://") && uri.len() <= 255);
        Ok(address.ok_or_else(|| no_sense("it names no file"))?.to_owned())
    }

    /// The receipt of a text, which knows the picture that belongs to it.
    fn receipt(&self, event: String, post: &Post) -> Receipt {
        let mut url = self.settings.permalinks.clone();
        let place = format!("/{}/{event}", self.settings.room);
        url.set_fragment(Some(&place));
        Receipt {
            version: post.steps.get(PICTURE_EVENT),
            note: without::note(&post.steps, None),
            ..Receipt::of(event).at(url)
        }
    }
}

/// The event that an answer names.
fn event_id(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let id = body["event_id"].as_str()?;
    let fits = id.starts_with('$') && id.len() <= 255 && id.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

async fn record(steps: &Steps, name: &str, value: &str) -> Result<(), SendError> {
    steps.record(name, value).await.map_err(SendError::NotSent)
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the server's answer makes no sense: {what}"),
    ))
}

#[cfg(test)]
mod tests;
