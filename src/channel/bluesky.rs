//! A Bluesky account, through its personal data server.
//!
//! The record's key is computed from the delivery, and it is put on the condition that nothing stands there yet: a repeat
//! of the same record is recognised by the server and has no effect. An unknown outcome is read back by that key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use super::transport::{Answer, Effect};
use super::without;
use super::{
    Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings, Transport, WallSite,
};
use crate::compose::TextRule;
use crate::model::{PictureRule, Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

mod change;
mod face;
mod fault;
mod parts;
mod picture;
mod record;
mod session;

use fault::Fault;
pub(super) use fault::until as reset;
use session::{Session, Sessions};

/// A Bluesky account, through its personal data server.
pub static KIND: Kind = Kind {
    id: "bluesky",
    about: "A Bluesky account, through its personal data server",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: true,
        retract: true,
        pin: true,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: false,
    },
    secrets: &[
        SecretName {
            name: "app_password",
            required: true,
            internal: false,
        },
        SecretName {
            name: session::SECRET,
            required: false,
            internal: true,
        },
    ],
    // 5,000 points an hour and 35,000 a day per account, 2 a put: 24 a minute for a whole day. A crisis needs a few.
    // <https://docs.bsky.app/docs/advanced-guides/rate-limits>, read 2026-04.
    pace: Pace {
        attempts: 20,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let service = section.address("service", false);
        let identifier: Option<String> = section.required(
            "identifier",
            "the account's handle, such as \"nassjo.bsky.social\"",
        );
        let identifier = identifier?;
        let handle = identifier.trim_start_matches('@');
        if handle.is_empty()
            || handle.len() > 253
            || handle.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            section.problem(
                "identifier",
                format!("{identifier:?} is not a handle such as nassjo.bsky.social"),
            );
        }
        let long = section.one_of("long", &["fit", "thread"]) == Some("thread");
        let service = service.or_else(|| Url::parse("https://bsky.social").ok());
        if section.is_broken() {
            return None;
        }
        Some(Box::new(Account {
            service: service?,
            identifier: handle.to_owned(),
            long,
        }))
    },
};

#[derive(Debug, Clone)]
struct Account {
    service: Url,
    identifier: String,
    /// Whether a text may be longer than a post.
    long: bool,
}

/// What one post takes.
const POST_RULE: TextRule = TextRule {
    limit: Some(record::MAX_GRAPHEMES),
    unit: Unit::Graphemes,
    also: Some((record::MAX_BYTES, Unit::Bytes)),
};
/// Most parts of a long text.
const PARTS: usize = 10;

impl Settings for Account {
    fn text_rule(&self) -> TextRule {
        POST_RULE
    }

    fn parts(&self) -> usize {
        if self.long { PARTS } else { 1 }
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(picture::RULE)
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            service: site.base.clone(),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("service", self.service.to_string())]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("app_password")?;
        Ok(Arc::new(Bluesky {
            sessions: Sessions::new(&self.service, &self.identifier, &parts),
            service: self.service.clone(),
            long: self.long,
            sender: parts.sender,
            http: parts.http.metered(super::quota::bluesky),
        }))
    }
}

/// The adapter.
#[derive(Debug)]
struct Bluesky {
    service: Url,
    long: bool,
    sender: String,
    sessions: Sessions,
    http: Transport,
}

const POSTS: &str = "app.bsky.feed.post";
const PROFILE: &str = "app.bsky.actor.profile";

impl Bluesky {
    /// A call with the session's access token.
    fn call(&self, session: &Session, method: Method, nsid: &str) -> RequestBuilder {
        let url = super::transport::below(session.host(&self.service), ["xrpc", nsid]);
        self.http
            .request(method, url)
            .header("authorization", session.authorization())
    }

    /// Sends what `make` builds for the session; with a renewed session once more if the token is no longer taken.
    async fn authorized(
        &self,
        effect: Effect,
        make: impl Fn(&Session) -> RequestBuilder + Send + Sync,
    ) -> Result<(Arc<Session>, Result<Answer, Fault>), SendError> {
        let session = self.sessions.current().await?;
        let answer = self.http.send(make(&session), effect).await?;
        let fault = match fault::of(answer, effect) {
            Err(Fault::Renew(_)) => {
                let session = self.sessions.renewed(&session).await?;
                let answer = self.http.send(make(&session), effect).await?;
                return match fault::of(answer, effect) {
                    Err(Fault::Renew(reason)) => Err(SendError::Credential(reason)),
                    other => Ok((session, other)),
                };
            }
            other => other,
        };
        Ok((session, fault))
    }

    fn receipt(&self, session: &Session, post: &Post, places: &[Place]) -> Result<Receipt, SendError> {
        let first = places
            .first()
            .ok_or_else(|| SendError::NotSent(Reason::new("no-part", "there is no post")))?;
        let rkey = record::rkey(post);
        let shown = super::transport::below(
            &self.sessions.public_site(),
            ["profile", session.handle(), "post", &rkey],
        );
        Ok(Receipt {
            remote_id: first.uri.clone(),
            url: Some(shown.to_string()),
            version: parts::version(places),
            note: (places.len() > 1).then(|| format!("a thread of {} parts", places.len())),
        })
    }

    /// Makes the `n`th post, with its picture if it can be had.
    async fn put_part(
        &self,
        post: &Post,
        text: &str,
        before: &[Place],
    ) -> Result<(Arc<Session>, Place, Option<String>), SendError> {
        let n = before.len() + 1;
        let reply = parts::reply(post, before);
        if n > 1 {
            let record = record::part(post, text, reply, None).map_err(SendError::Refused)?;
            let (session, put) = self.put(post, n, text, &record).await?;
            let put = put.map_err(|fault| fault.into_error(Effect::Writes))?;
            return Ok((session, put.place, None));
        }
        let mut why = None;
        for again in [false, true] {
            let embed = match self.embedded(post, again).await? {
                Ok(Some(embed)) => embed,
                Ok(None) => break,
                Err(wrong) => {
                    why = Some(wrong);
                    break;
                }
            };
            let record = record::part(post, text, reply.clone(), Some(embed)).map_err(SendError::Refused)?;
            let (session, put) = self.put(post, n, text, &record).await?;
            match put {
                Ok(put) => return Ok((session, put.place, note(post, put.standing.as_ref()))),
                Err(fault) if picture::is_forgotten(&fault) => {
                    why = Some("the server forgot it as soon as it was uploaded".to_owned());
                }
                // Nothing was made. Whether it is the picture or the text that it will not have, the text alone tells.
                Err(Fault::Other(SendError::Refused(reason))) => {
                    why = Some(reason.text);
                    break;
                }
                Err(fault) => return Err(fault.into_error(Effect::Writes)),
            }
        }
        if let Some(why) = why {
            without::note_down(&post.steps, without::PICTURE, &without_picture(&why)).await?;
        }
        let card = Some(record::card(post));
        let record = record::part(post, text, reply, card).map_err(SendError::Refused)?;
        let (session, put) = self.put(post, n, text, &record).await?;
        let put = put.map_err(|fault| fault.into_error(Effect::Writes))?;
        let shown = put.standing.unwrap_or(record);
        Ok((session, put.place, note(post, Some(&shown))))
    }

    /// Puts a record where nothing stands yet, or finds it standing there.
    async fn put(
        &self,
        post: &Post,
        n: usize,
        text: &str,
        record: &Value,
    ) -> Result<(Arc<Session>, Result<Put, Fault>), SendError> {
        let rkey = record::rkey_of(post, n);
        let (session, answer) = self
            .authorized(Effect::Writes, |session| {
                self.call(session, Method::POST, "com.atproto.repo.putRecord")
                    .json(&json!({
                        "repo": session.did(),
                        "collection": POSTS,
                        "rkey": rkey,
                        "validate": true,
                        "record": record,
                        // Must stand there as null: only then an existing record is left alone.
                        "swapRecord": null,
                    }))
            })
            .await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(Fault::Swap) => {
                // The same words with or without the picture are our own earlier attempt.
                return match self.read_at(POSTS, &rkey).await? {
                    Some((session, found)) if found.text() == Some(text) => {
                        let (place, standing) = (found.at, Some(found.value));
                        Ok((session, Ok(Put { place, standing })))
                    }
                    Some(_) => Err(SendError::Refused(conflict())),
                    None => Err(SendError::NotSent(Reason::new(
                        "swap",
                        "the server said that something stands where this post belongs, and then that nothing does",
                    ))),
                };
            }
            Err(fault) => return Ok((session, Err(fault))),
        };
        // A repeat is answered the same, but without `commit`.
        match answer.json().as_ref().and_then(Place::read) {
            Some(place) => Ok((
                session,
                Ok(Put {
                    place,
                    standing: None,
                }),
            )),
            None => Err(SendError::Unknown(unreadable(&answer))),
        }
    }
}

/// A record that was put.
struct Put {
    place: Place,
    /// What stood there already, from an earlier attempt of ours.
    standing: Option<Value>,
}

/// Where a record is, and in which version: a strong reference.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    uri: String,
    cid: String,
}

impl Place {
    fn read(body: &Value) -> Option<Self> {
        let text = |name| {
            body.get(name)?
                .as_str()
                .filter(|t| !t.is_empty() && t.len() <= 1000)
        };
        let (uri, cid) = (text("uri")?, text("cid")?);
        uri.starts_with("at://").then(|| Self {
            uri: uri.to_owned(),
            cid: cid.to_owned(),
        })
    }
}

/// A record that was read back.
struct Found {
    at: Place,
    value: Value,
}

impl Found {
    fn read(body: &Value) -> Option<Self> {
        Some(Self {
            at: Place::read(body)?,
            value: body.get("value")?.clone(),
        })
    }

    fn text(&self) -> Option<&str> {
        self.value.get("text").and_then(Value::as_str)
    }
}

/// What there is to say of the picture of a post that stands: `shown` is its record, if it is not the one that was just
/// sent with the picture.
fn note(post: &Post, shown: Option<&Value>) -> Option<String> {
    let shown = shown.filter(|_| post.picture.is_some())?;
    if shown.pointer("/embed/$type").and_then(Value::as_str) == Some(picture::KIND) {
        return None;
    }
    let known = without::of(&post.steps, without::PICTURE);
    known.or_else(|| Some(without_picture("an earlier attempt had left it out")))
}

/// The same of a first part that is known by its place alone.
fn first_note(post: &Post) -> Option<String> {
    without::note(&post.steps, None)
}

fn noted(receipt: Receipt, note: Option<String>) -> Receipt {
    let note = without::joined(receipt.note.into_iter().chain(note));
    Receipt { note, ..receipt }
}

fn without_picture(why: &str) -> String {
    let why: String = why.chars().take(150).collect();
    format!("without its picture: {why}")
}

fn unreadable(answer: &Answer) -> Reason {
    Reason::new(
        "unreadable",
        format!(
            "the server answered {} and what it said cannot be read",
            answer.status
        ),
    )
}

fn conflict() -> Reason {
    Reason::new(
        "conflict",
        "another text stands where this post belongs; look at the account and post by hand if it is missing",
    )
}

/// What went wrong with a later part, told so that a person knows that residents read the first ones.
fn after_some(error: SendError, done: usize, total: usize) -> SendError {
    match error {
        SendError::Refused(reason) if done > 0 => SendError::Refused(Reason::new(
            reason.code,
            format!(
                "part {} of {total} was refused, those before it are published: {}",
                done + 1,
                reason.text
            ),
        )),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)
        | SendError::Unknown(_)) => other,
    }
}

#[async_trait]
impl Channel for Bluesky {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let mut places = parts::done(&post.steps);
        let texts = self.texts(post, !places.is_empty());
        let total = texts.len();
        // Of a first part that an earlier attempt made, only its steps tell.
        let earlier = first_note(post).filter(|_| !places.is_empty());
        let mut notes = Vec::new();
        let mut session = None;
        for text in texts.iter().skip(places.len()) {
            let put = self.put_part(post, text, &places).await;
            let (with, place, note) = put.map_err(|error| after_some(error, places.len(), total))?;
            if total > 1 {
                parts::record(&post.steps, places.len() + 1, &place).await?;
            }
            places.push(place);
            notes.extend(note);
            session = Some(with);
        }
        let session = match session {
            Some(session) => session,
            None => self.sessions.current().await?,
        };
        let receipt = self.receipt(&session, post, &places)?;
        let receipt = noted(receipt, earlier);
        Ok(noted(receipt, without::joined(notes)))
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let post = &question.post;
        let mut places = parts::done(&post.steps);
        let texts = self.texts(post, !places.is_empty());
        let Some(text) = texts.get(places.len()) else {
            let session = self.sessions.current().await?;
            return Ok(Settled::Found(noted(
                self.receipt(&session, post, &places)?,
                first_note(post),
            )));
        };
        let rkey = record::rkey_of(post, places.len() + 1);
        Ok(match self.read_at(POSTS, &rkey).await? {
            None => Settled::Absent,
            Some((session, found)) if found.text() == Some(text.as_str()) => {
                let note = if places.is_empty() {
                    note(post, Some(&found.value))
                } else {
                    first_note(post)
                };
                places.push(found.at);
                if places.len() < texts.len() {
                    // The thread goes on: the next attempt finds this part at its key.
                    Settled::Absent
                } else {
                    Settled::Found(noted(self.receipt(&session, post, &places)?, note))
                }
            }
            Some(_) => Settled::Unclear(conflict()),
        })
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.take_away(receipt).await
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        self.change(receipt, post).await
    }

    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.keep_on_top(receipt, true).await
    }

    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        self.keep_on_top(receipt, false).await
    }

    fn quota(&self) -> Option<crate::model::Quota> {
        self.http.quota()
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }
}

#[cfg(test)]
mod lexicons;
#[cfg(test)]
mod tests;
