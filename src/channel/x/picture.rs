//! The picture of a post: uploaded, then told in words, then named in the post. An upload publishes nothing, so that it
//! may be repeated; whatever goes wrong with it costs the picture and never the text.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Account, is_number, no_sense};
use crate::channel::transport::Effect;
use crate::model::{Picture, Post, Reason, SendError};

/// How long all of it may take: a text must not wait for a picture.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a picture that is being worked on is asked for.
const LOOKS: u32 = 3;

/// The step that holds the picture's id.
const MEDIA: &str = "media";
/// The step that says that its words were taken.
const ALT: &str = "alt";
/// The step that says whether the post that was sent last has the picture.
const PICTURE: &str = "picture";
const LEFT_OUT: &str = "left out";

/// What became of a post's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Media {
    /// The message has none.
    None,
    /// Ready under this id.
    Ready {
        /// Its id.
        id: String,
        /// Whether an earlier attempt uploaded it: then it may have expired.
        kept: bool,
    },
    /// The post goes out without it.
    LeftOut,
}

impl Media {
    /// The id that goes into the post.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Ready { id, .. } => Some(id),
            Self::None | Self::LeftOut => None,
        }
    }
}

/// What the receipt says of the picture.
pub(super) fn note(post: &Post) -> Option<String> {
    let left_out = post.steps.get(PICTURE).is_some_and(|step| step == LEFT_OUT);
    left_out.then(|| "without the picture, which X did not take; the text is out alone".to_owned())
}

impl Account {
    /// Gets the picture ready. With `anew` what an earlier attempt uploaded is not used.
    pub(super) async fn media(&self, post: &Post, anew: bool) -> Result<Media, SendError> {
        let Some(picture) = post.picture.as_deref() else {
            return Ok(Media::None);
        };
        let known = post.steps.get(MEDIA).filter(|id| !anew && is_number(id));
        let kept = known.is_some();
        let ready = tokio::time::timeout(PATIENCE, async {
            let id = match known {
                Some(id) => id,
                None => self.upload(post, picture).await?,
            };
            if !kept || post.steps.get(ALT).as_ref() != Some(&id) {
                self.describe(&id, picture).await?;
                note_down(post, ALT, &id).await?;
            }
            Ok::<_, SendError>(id)
        });
        match ready.await {
            Ok(Ok(id)) => {
                note_down(post, PICTURE, &id).await?;
                Ok(Media::Ready { id, kept })
            }
            Ok(Err(_)) | Err(_) => self.leave_out(post).await,
        }
    }

    /// Lets the post go out without its picture.
    pub(super) async fn leave_out(&self, post: &Post) -> Result<Media, SendError> {
        note_down(post, PICTURE, LEFT_OUT).await?;
        Ok(Media::LeftOut)
    }

    async fn upload(&self, post: &Post, picture: &Picture) -> Result<String, SendError> {
        let body = json!({"media": STANDARD.encode(&picture.bytes), "media_category": "tweet_image"});
        let answer = self
            .write(&["2", "media", "upload"], &body, Effect::Reads)
            .await?;
        let data = answer.json().map(|body| body["data"].clone()).unwrap_or_default();
        let id = data["id"].as_str().filter(|id| is_number(id));
        let id = id.ok_or_else(|| no_sense("the picture has no id"))?.to_owned();
        note_down(post, MEDIA, &id).await?;
        self.wait_for(&id, data).await?;
        Ok(id)
    }

    /// Waits until the service is done with the picture; most are done at once.
    async fn wait_for(&self, id: &str, mut data: Value) -> Result<(), SendError> {
        for _ in 0..LOOKS {
            match data["processing_info"]["state"].as_str() {
                None | Some("succeeded") => return Ok(()),
                Some("failed") => {
                    return Err(SendError::Refused(Reason::new(
                        "media",
                        "X cannot read the picture",
                    )));
                }
                Some(_) => {}
            }
            let wait = data["processing_info"]["check_after_secs"].as_u64().unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(wait.min(3))).await;
            let query = [("command", "STATUS"), ("media_id", id)];
            data = self.get(&["2", "media", "upload"], &query).await?.0["data"].clone();
        }
        Err(no_sense("the picture is never ready"))
    }

    async fn describe(&self, id: &str, picture: &Picture) -> Result<(), SendError> {
        let body = json!({"id": id, "metadata": {"alt_text": {"text": picture.alt}}});
        self.write(&["2", "media", "metadata"], &body, Effect::Reads)
            .await?;
        Ok(())
    }

    async fn write(
        &self,
        path: &[&str],
        body: &Value,
        effect: Effect,
    ) -> Result<crate::channel::transport::Answer, SendError> {
        let answer = self.send(Method::POST, path, &[], Some(body), effect).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        Err(super::verdict::fault(&answer).into_error(effect))
    }
}

async fn note_down(post: &Post, step: &str, value: &str) -> Result<(), SendError> {
    post.steps.record(step, value).await.map_err(SendError::NotSent)
}
