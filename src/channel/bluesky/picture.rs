//! The picture of a post. A text must get out: whatever is wrong with its picture costs the picture and not the text.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::fault::Fault;
use super::{Bluesky, Effect};
use crate::model::{Picture, PictureRule, Post, Reason, SendError};

/// The pause before an upload that failed is made once more.
const PAUSE: Duration = Duration::from_millis(300);
/// The step that holds the uploaded file, as a record refers to it.
const STEP: &str = "blob";
/// Servers take 2,000,000 bytes, older ones 1,000,000 (reference page §3). The lexicon names no limit for the words; the
/// app's own is 2,000 characters.
pub(super) const RULE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 950_000,
    max_edge: 2000,
    max_alt: 2000,
    required: false,
};

/// The kind of embedding that shows pictures.
pub(super) const KIND: &str = "app.bsky.embed.images";

/// What became of a picture: how it stands in the record, or why it does not.
pub(super) type Embedded = Result<Option<Value>, String>;

impl Bluesky {
    /// The post's picture as it stands in the record: uploaded, or known from an earlier attempt. `again` uploads it anew,
    /// for a server that has forgotten it.
    ///
    /// # Errors
    /// If the credential is refused, or what was uploaded could not be written down. Nothing was posted.
    pub(super) async fn embedded(&self, post: &Post, again: bool) -> Result<Embedded, SendError> {
        let Some(picture) = &post.picture else {
            return Ok(Ok(None));
        };
        let known = post.steps.get(STEP).filter(|_| !again);
        if let Some(blob) = known.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(Ok(Some(embed(picture, &blob))));
        }
        let blob = match self.upload(picture).await? {
            Ok(blob) => blob,
            Err(why) => return Ok(Err(why)),
        };
        post.steps
            .record(STEP, &blob.to_string())
            .await
            .map_err(SendError::NotSent)?;
        Ok(Ok(Some(embed(picture, &blob))))
    }

    async fn upload(&self, picture: &Picture) -> Result<Result<Value, String>, SendError> {
        match self.upload_once(picture).await? {
            Err((SendError::NotSent(_), _)) => {}
            told => return Ok(told.map_err(|(_, why)| why)),
        }
        // Servers fail now and then at this and take the same file a moment later.
        tokio::time::sleep(PAUSE).await;
        Ok(self.upload_once(picture).await?.map_err(|(_, why)| why))
    }

    async fn upload_once(&self, picture: &Picture) -> Result<Result<Value, (SendError, String)>, SendError> {
        // Nothing is published by an upload: whatever fails, the text can still go.
        let uploaded = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::POST, "com.atproto.repo.uploadBlob")
                    .header("content-type", picture.media_type)
                    .body(picture.bytes.clone())
            })
            .await;
        let error = match uploaded {
            Ok((_, Ok(answer))) => {
                let blob = answer.json().and_then(|body| body.get("blob").cloned());
                let blob = blob.filter(|blob| blob.pointer("/ref/$link").is_some_and(Value::is_string));
                let reason = Reason::new("unreadable", "the server took it and gave no reference");
                return Ok(blob.ok_or_else(|| (SendError::Refused(reason.clone()), reason.text)));
            }
            Ok((_, Err(fault))) => fault.into_error(Effect::Reads),
            Err(error) => error,
        };
        match error {
            SendError::Credential(_) => Err(error),
            SendError::NotSent(_)
            | SendError::Busy { .. }
            | SendError::Refused(_)
            | SendError::Unknown(_) => {
                let why = error.reason().text.clone();
                Ok(Err((error, why)))
            }
        }
    }
}

fn embed(picture: &Picture, blob: &Value) -> Value {
    json!({
        "$type": KIND,
        "images": [{
            "image": blob,
            "alt": picture.alt,
            "aspectRatio": { "width": picture.width, "height": picture.height },
        }],
    })
}

/// Whether the server has forgotten an uploaded file.
pub(super) fn is_forgotten(fault: &Fault) -> bool {
    matches!(fault, Fault::Other(SendError::Refused(reason)) if reason.code == "bluesky-400-BlobNotFound")
}
