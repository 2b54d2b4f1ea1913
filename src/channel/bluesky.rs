//! A Bluesky account, through its personal data server.
//!
//! The record's key is computed from the delivery, and it is put on the condition that nothing stands there yet: a repeat
//! of the same record is recognised by the server and has no effect. An unknown outcome is read back by that key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use url::Url;

use super::transport::{Answer, Effect};
use super::{Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Settings, Transport, WallSite};
use crate::compose::TextRule;
use crate::model::{Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

mod fault;
mod record;
mod session;

use fault::Fault;
use session::{Session, Sessions};

/// A Bluesky account, through its personal data server.
pub static KIND: Kind = Kind {
    id: "bluesky",
    about: "A Bluesky account, through its personal data server",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: false,
        retract: true,
        pin: false,
        picture: false,
        link_card: true,
        recipients: false,
        by_hand: false,
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
        let service = service.or_else(|| Url::parse("https://bsky.social").ok());
        if section.is_broken() {
            return None;
        }
        Some(Box::new(Account {
            service: service?,
            identifier: handle.to_owned(),
        }))
    },
};

#[derive(Debug, Clone)]
struct Account {
    service: Url,
    identifier: String,
}

impl Settings for Account {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(record::MAX_GRAPHEMES),
            unit: Unit::Graphemes,
            also: Some((record::MAX_BYTES, Unit::Bytes)),
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            service: site.base.clone(),
            identifier: self.identifier.clone(),
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
            http: parts.http,
        }))
    }
}

/// The adapter.
#[derive(Debug)]
struct Bluesky {
    service: Url,
    sessions: Sessions,
    http: Transport,
}

const POSTS: &str = "app.bsky.feed.post";

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

    /// The record at our key, if there is one.
    async fn read(&self, post: &Post) -> Result<Option<(Arc<Session>, Found)>, SendError> {
        let rkey = record::rkey(post);
        let (session, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::GET, "com.atproto.repo.getRecord")
                    .query(&[("repo", session.did()), ("collection", POSTS), ("rkey", &rkey)])
            })
            .await?;
        match answer {
            Ok(answer) => {
                let found = answer.json().as_ref().and_then(Found::read);
                found
                    .map(|found| Some((session, found)))
                    .ok_or_else(|| SendError::NotSent(unreadable(&answer)))
            }
            Err(Fault::NotFound) => Ok(None),
            Err(fault) => Err(fault.into_error(Effect::Reads)),
        }
    }

    fn receipt(&self, session: &Session, post: &Post, at: Place) -> Receipt {
        let rkey = record::rkey(post);
        let shown = super::transport::below(
            &self.sessions.public_site(),
            ["profile", session.handle(), "post", &rkey],
        );
        Receipt {
            remote_id: at.uri,
            url: Some(shown.to_string()),
            version: Some(at.cid),
            note: None,
        }
    }
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
    text: Option<String>,
}

impl Found {
    fn read(body: &Value) -> Option<Self> {
        Some(Self {
            at: Place::read(body)?,
            text: body
                .get("value")?
                .get("text")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }
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

#[async_trait]
impl Channel for Bluesky {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let record = record::of(post).map_err(SendError::Refused)?;
        let rkey = record::rkey(post);
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
        match answer {
            // A repeat is answered the same, but without `commit`.
            Ok(answer) => match answer.json().as_ref().and_then(Place::read) {
                Some(place) => Ok(self.receipt(&session, post, place)),
                None => Err(SendError::Unknown(unreadable(&answer))),
            },
            Err(Fault::Swap) => match self.read(post).await? {
                Some((session, found)) if found.text.as_deref() == Some(&post.rendering.text) => {
                    Ok(self.receipt(&session, post, found.at))
                }
                Some(_) => Err(SendError::Refused(conflict())),
                None => Err(SendError::NotSent(Reason::new(
                    "swap",
                    "the server said that something stands where this post belongs, and then that nothing does",
                ))),
            },
            Err(fault) => Err(fault.into_error(Effect::Writes)),
        }
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        Ok(match self.read(&question.post).await? {
            None => Settled::Absent,
            Some((session, found)) if found.text.as_deref() == Some(&question.post.rendering.text) => {
                Settled::Found(self.receipt(&session, &question.post, found.at))
            }
            Some(_) => Settled::Unclear(conflict()),
        })
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let rkey = receipt
            .remote_id
            .rsplit_once(&format!("/{POSTS}/"))
            .map(|(_, rkey)| rkey)
            .filter(|rkey| record::is_tid(rkey))
            .ok_or_else(|| {
                SendError::Refused(Reason::new(
                    "receipt",
                    format!("{} is no post of ours", receipt.remote_id),
                ))
            })?;
        let (_, answer) = self
            .authorized(Effect::Writes, |session| {
                self.call(session, Method::POST, "com.atproto.repo.deleteRecord")
                    .json(&json!({ "repo": session.did(), "collection": POSTS, "rkey": rkey }))
            })
            .await?;
        match answer {
            Ok(_) | Err(Fault::NotFound) => Ok(()),
            Err(fault) => Err(fault.into_error(Effect::Writes)),
        }
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let (session, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::GET, "com.atproto.server.getSession")
            })
            .await?;
        let answer = answer.map_err(|fault| fault.into_error(Effect::Reads))?;
        let body = answer
            .json()
            .ok_or_else(|| SendError::NotSent(unreadable(&answer)))?;
        session::check_active(&body)?;
        let text = |name| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let did = text("did").ok_or_else(|| SendError::NotSent(unreadable(&answer)))?;
        let mut facts = BTreeMap::from([("did".to_owned(), did.clone())]);
        if let Some(until) = session.expires() {
            facts.insert("session until".to_owned(), until.to_string());
        }
        if let Some(left) = answer.header("ratelimit-remaining") {
            facts.insert("requests left".to_owned(), left.chars().take(20).collect());
        }
        Ok(Identity {
            name: text("handle").unwrap_or(did),
            facts,
        })
    }
}

#[cfg(test)]
mod tests;
