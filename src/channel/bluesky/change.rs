//! What can be done with a post that stands: change its record, keep it on top of the profile, take it away. All of it
//! may be repeated.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::fault::Fault;
use super::session::Session;
use super::{Bluesky, Effect, Found, POSTS, PROFILE, Place, parts, record, unreadable};
use crate::model::{Post, Reason, Receipt, SendError};

/// A profile's only key.
const SELF: &str = "self";

impl Bluesky {
    pub(super) async fn take_away(&self, receipt: &Receipt) -> Result<(), SendError> {
        // The last part first: what is left of a thread in between still begins at its beginning.
        for rkey in parts::keys(receipt)?.iter().rev() {
            self.delete(rkey).await?;
        }
        Ok(())
    }

    async fn delete(&self, rkey: &str) -> Result<(), SendError> {
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

    /// Changes the records of `standing` into the parts of `post`; parts that are left over are taken away.
    pub(super) async fn change(&self, standing: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let keys = parts::keys(standing)?;
        let texts = self.texts(post, keys.len() > 1);
        if texts.len() > keys.len() {
            let text = format!(
                "the new text takes {} posts and {} stand there: publish it as a correction instead",
                texts.len(),
                keys.len()
            );
            return Err(SendError::Refused(Reason::new("edit-longer", text)));
        }
        let (picture, mut notes) = match self.embedded(post, false).await? {
            Ok(picture) => (picture, Vec::new()),
            Err(why) => (None, vec![super::without_picture(&why)]),
        };
        let mut places = Vec::new();
        for (n, (rkey, text)) in keys.iter().zip(&texts).enumerate() {
            let embed = picture.clone().filter(|_| n == 0);
            places.push(self.rewrite(rkey, text, embed, post).await?);
        }
        for rkey in keys.iter().skip(texts.len()).rev() {
            self.delete(rkey).await?;
        }
        notes.push("the record is changed; Bluesky's app may go on showing the words of before".to_owned());
        Ok(Receipt {
            version: parts::version(&places),
            note: Some(notes.join("; ")),
            ..standing.clone()
        })
    }

    /// Puts the text into a record that stands, on the condition that nobody else changed it meanwhile.
    async fn rewrite(
        &self,
        rkey: &str,
        text: &str,
        embed: Option<Value>,
        post: &Post,
    ) -> Result<Place, SendError> {
        let Some((_, found)) = self.read_at(POSTS, rkey).await? else {
            return Err(SendError::Refused(Reason::new(
                "gone",
                "the post is not there any more",
            )));
        };
        let mut value = found.value.clone();
        let fresh = record::part(post, text, None, embed).map_err(SendError::Refused)?;
        let keeps_picture = fresh.pointer("/embed/$type") != Some(&json!("app.bsky.embed.images"))
            && value.pointer("/embed/$type") == Some(&json!("app.bsky.embed.images"));
        let Some(fields) = value.as_object_mut() else {
            return Err(SendError::NotSent(Reason::new(
                "unreadable",
                "the record is no object",
            )));
        };
        // Its time, what it answers to, and whatever else stands there is kept.
        for name in ["text", "facets", "langs", "embed"] {
            if let Some(new) = fresh.get(name).filter(|_| name != "embed" || !keeps_picture) {
                fields.insert(name.to_owned(), new.clone());
            }
        }
        if value == found.value {
            return Ok(found.at);
        }
        self.swap(POSTS, rkey, &value, Some(&found.at.cid)).await
    }

    /// Puts a record in the place of the one with this version; nobody else may have changed it.
    async fn swap(
        &self,
        collection: &str,
        rkey: &str,
        value: &Value,
        cid: Option<&str>,
    ) -> Result<Place, SendError> {
        let (_, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::POST, "com.atproto.repo.putRecord")
                    .json(&json!({
                        "repo": session.did(), "collection": collection, "rkey": rkey, "validate": true,
                        "record": value, "swapRecord": cid,
                    }))
            })
            .await?;
        match answer {
            Ok(answer) => {
                let place = answer.json().as_ref().and_then(Place::read);
                place.ok_or_else(|| SendError::NotSent(unreadable(&answer)))
            }
            Err(Fault::Swap) => Err(SendError::NotSent(Reason::new(
                "swap",
                "someone else changed it at the same time; it is read and changed again",
            ))),
            Err(fault) => Err(fault.into_error(Effect::Reads)),
        }
    }

    /// Keeps the first post on top of the profile, or no longer. What else stands in the profile is left alone.
    pub(super) async fn keep_on_top(&self, receipt: &Receipt, pinned: bool) -> Result<(), SendError> {
        let keys = parts::keys(receipt)?;
        let profile = self.read_at(PROFILE, SELF).await?;
        let (mut value, cid) = match profile {
            Some((_, found)) => (found.value, Some(found.at.cid)),
            None => (json!({ "$type": PROFILE }), None),
        };
        let Some(fields) = value.as_object_mut() else {
            return Err(SendError::NotSent(Reason::new(
                "unreadable",
                "the profile is no object",
            )));
        };
        let on_top = fields
            .get("pinnedPost")
            .and_then(|post| post.get("uri"))
            .and_then(Value::as_str);
        let is_on_top = on_top == Some(receipt.remote_id.as_str());
        if is_on_top == pinned {
            return Ok(());
        }
        if pinned {
            let rkey = keys.first().map_or("", String::as_str);
            let Some((_, found)) = self.read_at(POSTS, rkey).await? else {
                return Err(SendError::Refused(Reason::new(
                    "gone",
                    "the post is not there any more",
                )));
            };
            fields.insert(
                "pinnedPost".to_owned(),
                json!({ "uri": found.at.uri, "cid": found.at.cid }),
            );
        } else {
            fields.remove("pinnedPost");
        }
        self.swap(PROFILE, SELF, &value, cid.as_deref()).await.map(drop)
    }

    /// The record at a key, if there is one.
    pub(super) async fn read_at(
        &self,
        collection: &str,
        rkey: &str,
    ) -> Result<Option<(Arc<Session>, Found)>, SendError> {
        let (session, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::GET, "com.atproto.repo.getRecord")
                    .query(&[
                        ("repo", session.did()),
                        ("collection", collection),
                        ("rkey", rkey),
                    ])
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
}
