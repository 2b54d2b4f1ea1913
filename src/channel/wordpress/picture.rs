//! The page's featured picture: uploaded, given its alternative text, and only then named by the page. Each id is on disk
//! before the next request, and an upload whose answer was lost is found again by its name.

use reqwest::Method;
use serde_json::{Value, json};

use super::page::slug;
use super::{Account, page, verdict};
use crate::channel::transport::Effect;
use crate::model::{Picture, Post, Reason, SendError};

/// The step that holds the picture's id.
const MEDIA_STEP: &str = "media";
/// The step that says that the picture has its alternative text.
const ALT_STEP: &str = "media-alt";

impl Account {
    /// The id of the picture in the site's library, with its alternative text.
    pub(super) async fn featured(&self, picture: &Picture, post: &Post) -> Result<u64, SendError> {
        let name = format!("{}-bild", slug(post));
        let known = post.steps.get(MEDIA_STEP).and_then(|id| id.parse().ok());
        let id = if let Some(id) = known {
            id
        } else {
            let id = match self.uploaded(&name).await? {
                Some(id) => id,
                None => self.upload(picture, &name).await?,
            };
            let noted = post.steps.record(MEDIA_STEP, &id.to_string()).await;
            noted.map_err(SendError::NotSent)?;
            id
        };
        if post.steps.get(ALT_STEP).is_none() {
            let url = self.api(&["media", &id.to_string()], &[]);
            let request = self.http.request(Method::POST, url);
            let answer = self
                .send(request.json(&json!({"alt_text": picture.alt})), Effect::Writes)
                .await?;
            if !answer.is_success() {
                return Err(verdict::of_write(&answer));
            }
            let noted = post.steps.record(ALT_STEP, "set").await;
            noted.map_err(SendError::NotSent)?;
        }
        Ok(id)
    }

    /// An earlier upload of the same picture.
    async fn uploaded(&self, name: &str) -> Result<Option<u64>, SendError> {
        let found = self
            .get(&["media"], &[("slug", name), ("context", "edit")])
            .await?;
        let found = found
            .as_array()
            .ok_or_else(|| page::no_sense("no list of pictures"))?;
        Ok(found.iter().find_map(|entry| entry["id"].as_u64()))
    }

    async fn upload(&self, picture: &Picture, name: &str) -> Result<u64, SendError> {
        let ending = if picture.media_type == "image/png" {
            "png"
        } else {
            "jpg"
        };
        let request = self
            .http
            .request(Method::POST, self.api(&["media"], &[]))
            .header("content-type", picture.media_type)
            .header(
                "content-disposition",
                format!("attachment; filename=\"{name}.{ending}\""),
            )
            .body(picture.bytes.clone());
        let answer = self.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let body = answer.json().unwrap_or(Value::Null);
        body["id"].as_u64().ok_or_else(|| verdict::unreadable(&answer))
    }
}

/// What the log says of a page without its picture.
pub(super) fn left_out(reason: &Reason) -> String {
    format!("without its picture: {reason}")
}
