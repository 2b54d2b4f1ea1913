//! The picture of a post, and what can be done with a post that stands: change its words, keep it on top, take it away.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::graph::{self, Fault};
use super::{Account, brief, no_sense};
use crate::channel::transport::Effect;
use crate::channel::without;
use crate::model::{Picture, PictureRule, Post, Receipt, SendError};

/// The step that holds the uploaded photo's number.
const STEP: &str = "photo";
/// 10 MB by the page of the API, 4 MB by one of its errors (reference page §4.2): the smaller one. No limit for the words
/// is published; a thousand characters is what its sister services take.
pub(super) const RULE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 4_000_000,
    max_edge: 2048,
    max_alt: 1000,
    required: false,
};

/// A photo at the service.
#[derive(Debug)]
pub(super) struct Photo {
    /// Its number.
    pub(super) id: String,
    /// Whether an earlier attempt uploaded it: the service forgets one that stands in no post within a day.
    pub(super) kept: bool,
}

pub(super) fn without_picture(why: &str) -> String {
    format!("without its picture: {}", brief(why))
}

/// A photo as a post names it.
pub(super) fn attached(photo: &str) -> String {
    json!([{ "media_fbid": photo }]).to_string()
}

impl Account {
    /// The post's photo at the service, uploaded unpublished or (unless it is to be `anew`) known from an earlier attempt; or why there is none: the
    /// text has to get out.
    ///
    /// # Errors
    /// If the credential is refused, the page is throttled, or the number could not be written down. Nothing was posted.
    pub(super) async fn photo(
        &self,
        post: &Post,
        anew: bool,
    ) -> Result<Result<Option<Photo>, String>, SendError> {
        let Some(picture) = &post.picture else {
            return Ok(Ok(None));
        };
        if let Some(id) = post.steps.get(STEP).filter(|_| !anew) {
            return Ok(Ok(Some(Photo { id, kept: true })));
        }
        let id = match self.upload(picture).await? {
            Ok(id) => id,
            Err(why) => return Ok(Err(why)),
        };
        post.steps.record(STEP, &id).await.map_err(SendError::NotSent)?;
        Ok(Ok(Some(Photo { id, kept: false })))
    }

    async fn upload(&self, picture: &Picture) -> Result<Result<String, String>, SendError> {
        let file = Part::bytes(picture.bytes.clone())
            .file_name(picture.file_name())
            .mime_str(picture.media_type);
        let Ok(file) = file else {
            return Ok(Err("its media type makes no sense".to_owned()));
        };
        let form = Form::new()
            .part("source", file)
            .text("published", "false")
            .text("alt_text_custom", picture.alt.clone());
        let path = [self.settings.page_id.as_str(), "photos"];
        // Nothing is published by it: whatever fails, the text can still go.
        let answer = match self.send_file(&path, form).await {
            Ok(answer) => answer,
            Err(error @ SendError::Credential(_)) => return Err(error),
            Err(other) => return Ok(Err(other.reason().text.clone())),
        };
        match graph::fault(&answer) {
            None => {}
            // The page is throttled or its token dead, for texts as well.
            Some(fault @ (Fault::Credential(_) | Fault::Throttled { .. })) => return Err(self.on_read(fault)),
            Some(fault) => return Ok(Err(self.on_read(fault).reason().text.clone())),
        }
        let id = answer
            .json()
            .and_then(|photo| photo["id"].as_str().map(str::to_owned));
        let id = id.filter(|id| !id.is_empty() && id.len() <= 100 && id.bytes().all(|b| b.is_ascii_digit()));
        Ok(id.ok_or_else(|| "the service took it and gave no number".to_owned()))
    }

    pub(super) async fn take_away(&self, receipt: &Receipt) -> Result<(), SendError> {
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self
            .send(Method::DELETE, &[&receipt.remote_id], &[], Effect::Reads)
            .await?;
        match graph::fault(&answer) {
            None if answer.json().is_some_and(|body| body["success"] == true) => Ok(()),
            None => Err(no_sense("it does not say that the post is gone")),
            Some(Fault::Missing(_)) => Ok(()),
            Some(fault) => Err(self.on_read(fault)),
        }
    }

    /// Changes the words. A photo that stands in the post stays there, unless there is a new one and the service takes it
    /// in its place: the field is named in its specification, and what it does is not (reference page §4.3).
    pub(super) async fn change(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let mut changed = Receipt {
            note: None,
            ..receipt.clone()
        };
        let words = ("message", post.rendering.text.as_str());
        match self.photo(post, false).await? {
            Ok(None) => {}
            Ok(Some(photo)) => {
                let media = attached(&photo.id);
                match self.set(receipt, &[words, ("attached_media", &media)]).await? {
                    Ok(()) => {
                        changed.note = Some(
                            "the service took the new picture with the change; whether it shows in place of the \
                             earlier one it does not tell, so look at the post"
                                .to_owned(),
                        );
                        return Ok(changed);
                    }
                    Err(fault @ (Fault::Credential(_) | Fault::Throttled { .. })) => {
                        return Err(self.on_read(fault));
                    }
                    // Changing twice is harmless: the words alone tell whether it was the picture.
                    Err(fault) => {
                        changed.note = Some(without::keeps(&self.on_read(fault).reason().text));
                    }
                }
            }
            Err(why) => changed.note = Some(without::keeps(&why)),
        }
        self.set(receipt, &[words])
            .await?
            .map_err(|fault| self.on_read(fault))?;
        Ok(changed)
    }

    /// Keeps the post on top of the page, or no longer.
    pub(super) async fn keep_on_top(&self, receipt: &Receipt, pinned: bool) -> Result<(), SendError> {
        let value = if pinned { "true" } else { "false" };
        match self.set(receipt, &[("is_pinned", value)]).await? {
            Ok(()) => Ok(()),
            Err(Fault::Missing(_)) if !pinned => Ok(()),
            Err(fault) => Err(self.on_read(fault)),
        }
    }

    /// Sets something of a post; setting it twice is harmless.
    async fn set(&self, receipt: &Receipt, what: &[(&str, &str)]) -> Result<Result<(), Fault>, SendError> {
        let answer = self
            .send(Method::POST, &[&receipt.remote_id], what, Effect::Reads)
            .await?;
        match graph::fault(&answer) {
            None if answer.json().is_some_and(|body| body["success"] == true) => Ok(Ok(())),
            None => Err(no_sense("it does not say that the post is changed")),
            Some(fault) => Ok(Err(fault)),
        }
    }
}
