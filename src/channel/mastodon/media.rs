//! The picture of a post. A text must get out: whatever is wrong with its picture costs the picture and not the text.

use std::time::Duration;

use reqwest::Method;
use reqwest::multipart::{Form, Part};

use super::{Account, brief, verdict};
use crate::channel::transport::Effect;
use crate::model::{Picture, PictureRule, Post, Reason, SendError};

/// The step that holds the picture's id.
const STEP: &str = "media";
/// What a server takes unless it says otherwise (reference page §2 and §5), with headroom: older ones take 10 MB.
pub(super) const RULE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 8_000_000,
    max_edge: 1920,
    max_alt: 1500,
    required: false,
};
/// How long each look waits while a picture is being processed. Six seconds in all: then the text goes alone.
const LOOKS: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1200),
    Duration::from_millis(1500),
    Duration::from_secs(2),
];

/// What became of a picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attached {
    /// Its id, if it can stand in the post.
    pub(super) id: Option<String>,
    /// Why it cannot.
    pub(super) note: Option<String>,
}

impl Attached {
    /// Why there is none.
    pub(super) fn without(why: &str) -> Self {
        Self {
            id: None,
            note: Some(format!("without its picture: {}", brief(why))),
        }
    }
}

impl Account {
    /// The post's picture at the service: uploaded, or found again from an earlier attempt.
    ///
    /// # Errors
    /// If the credential is refused, or the id could not be written down. Nothing was posted.
    pub(super) async fn attach(&self, post: &Post) -> Result<Attached, SendError> {
        let Some(picture) = &post.picture else {
            return Ok(Attached::default());
        };
        let (id, ready) = match post.steps.get(STEP) {
            Some(id) => (id, false),
            None => match self.upload(picture).await? {
                Ok((id, ready)) => {
                    post.steps.record(STEP, &id).await.map_err(SendError::NotSent)?;
                    (id, ready)
                }
                Err(why) => return Ok(Attached::without(&why)),
            },
        };
        if ready {
            return Ok(Attached {
                id: Some(id),
                note: None,
            });
        }
        self.processed(id).await
    }

    async fn upload(&self, picture: &Picture) -> Result<Result<(String, bool), String>, SendError> {
        let file = Part::bytes(picture.bytes.clone())
            .file_name(picture.file_name())
            .mime_str(picture.media_type);
        let Ok(file) = file else {
            return Ok(Err("its media type makes no sense".to_owned()));
        };
        let form = Form::new()
            .part("file", file)
            .text("description", picture.alt.clone());
        let request = self
            .http
            .request(Method::POST, self.url(&["api", "v2", "media"]))
            .multipart(form);
        // Nothing is published by an upload: whatever fails, the text can still go.
        let answer = match self.send_request(request, Effect::Reads).await {
            Ok(answer) => answer,
            Err(error @ SendError::Credential(_)) => return Err(error),
            Err(other) => return Ok(Err(other.reason().text.clone())),
        };
        if !answer.is_success() {
            let error = verdict::of_read(&answer);
            if matches!(error, SendError::Credential(_)) {
                return Err(error);
            }
            return Ok(Err(error.reason().text.clone()));
        }
        let id = answer.json().and_then(|media| {
            let id = media["id"].as_str()?;
            (!id.is_empty() && id.len() <= 200).then(|| id.to_owned())
        });
        Ok(id
            .map(|id| (id, answer.status == 200))
            .ok_or_else(|| "the server took it and gave no id".to_owned()))
    }

    /// Waits until the picture can be attached, but not for long.
    async fn processed(&self, id: String) -> Result<Attached, SendError> {
        for pause in LOOKS {
            let url = self.url(&["api", "v1", "media", &id]);
            let answer = match self.send(Method::GET, url, Effect::Reads).await {
                Ok(answer) => answer,
                Err(error @ SendError::Credential(_)) => return Err(error),
                Err(other) => return Ok(Attached::without(&other.reason().text)),
            };
            match answer.status {
                206 => tokio::time::sleep(pause).await,
                // 404 too: it stands in a post already, which may be this one; the server then answers to the key.
                200 | 404 => {
                    return Ok(Attached {
                        id: Some(id),
                        note: None,
                    });
                }
                401 => return Err(verdict::of_read(&answer)),
                _ => return Ok(Attached::without(&verdict::of_read(&answer).reason().text)),
            }
        }
        Ok(Attached::without("the server was still processing it"))
    }

    /// The pictures that stand in a post now: an edit that does not name them would take them away.
    pub(super) async fn standing_pictures(&self, id: &str) -> Result<Vec<String>, SendError> {
        let status = self.get_json(self.url(&["api", "v1", "statuses", id])).await?;
        let media = status["media_attachments"].as_array().ok_or_else(|| {
            SendError::NotSent(Reason::new(
                "unreadable",
                "the server does not say which pictures stand there",
            ))
        })?;
        Ok(media
            .iter()
            .filter_map(|one| one["id"].as_str().map(str::to_owned))
            .collect())
    }
}
