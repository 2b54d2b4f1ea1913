//! A post with a picture. The Bot API knows no alternative text, so that the description stands in the caption; and a
//! caption is short, so that a longer text goes out first, in a message of its own.

use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::{AS_CAPTION, Account, MAX_CAPTION, WITH_PICTURE, lonely, message_id, parent, reply_to};
use crate::channel::Shown;
use crate::channel::without;
use crate::model::{Lang, Picture, Post, Reason, Receipt, Rendering, SendError};

/// The step that sent the text: its receipt, as JSON.
pub(super) const TEXT_STEP: &str = "text";
/// What is said of a picture that was never sent.
pub(super) const MISSING: &str = "without the picture";
/// Names the file within the form of an exchange.
const FILE: &str = "bild";
/// Written before the picture goes out on its own, so that it is never sent twice.
const PICTURE_BEGUN: &str = "picture-begun";
/// The step that sent the picture: the id of its message.
const PICTURE_STEP: &str = "picture";

impl Account {
    /// Picture and text in one message where the text is short enough, else in two.
    pub(super) async fn send_pictured(&self, post: &Post, picture: &Picture) -> Result<Receipt, SendError> {
        let caption = with_description(post, picture);
        if caption.encode_utf16().count() > MAX_CAPTION {
            return self.send_both(post, picture).await;
        }
        let parent = parent(post);
        let form = || photo(picture, &caption, parent);
        match self.bot.upload("sendPhoto", &self.settings.chat, form).await {
            Ok(result) => {
                let mut receipt = self.receipt(&result)?;
                receipt.version = Some(as_caption(picture));
                receipt.note = lonely(parent, &result);
                Ok(receipt)
            }
            Err(fault) => match fault.on_write() {
                // It did nothing. Whether it is the picture that it will not have, the text shows.
                SendError::Refused(reason) => {
                    let note = format!("without the picture, which was refused: {reason}");
                    without::note_down(&post.steps, without::PICTURE, &note).await?;
                    let receipt = self.send_text(post).await?;
                    let notes = [Some(note), receipt.note.clone()];
                    Ok(Receipt {
                        note: without::joined(notes.into_iter().flatten()),
                        ..receipt
                    })
                }
                other @ (SendError::NotSent(_)
                | SendError::Busy { .. }
                | SendError::Credential(_)
                | SendError::Unknown(_)) => Err(other),
            },
        }
    }

    /// The text in a message and the picture in another under it, where the text is too long to stand under a picture.
    /// Whatever becomes of the picture, the text is out.
    async fn send_both(&self, post: &Post, picture: &Picture) -> Result<Receipt, SendError> {
        let mut receipt = if let Some(receipt) = text_step(post) {
            receipt
        } else {
            let receipt = self.send_text(post).await?;
            let written = serde_json::to_string(&receipt).unwrap_or_default();
            if let Err(reason) = post.steps.record(TEXT_STEP, &written).await {
                return Ok(noted(receipt, format!("without the picture: {reason}")));
            }
            receipt
        };
        let begun = post.steps.get(PICTURE_BEGUN).is_some();
        if !begun && post.steps.get(PICTURE_STEP).is_none() {
            if let Err(reason) = post.steps.record(PICTURE_BEGUN, "1").await {
                return Ok(noted(receipt, format!("without the picture: {reason}")));
            }
            if let Err(reason) = self.send_picture(post, picture, &receipt).await {
                return Ok(noted(receipt, format!("the picture may be missing: {reason}")));
            }
        }
        Self::note_picture(post, &mut receipt);
        Ok(receipt)
    }

    async fn send_picture(&self, post: &Post, picture: &Picture, under: &Receipt) -> Result<(), Reason> {
        let caption = description(post, picture);
        let parent = message_id(under).ok();
        let form = || photo(picture, &caption, parent);
        let sent = self.bot.upload("sendPhoto", &self.settings.chat, form).await;
        let result = sent.map_err(|fault| fault.on_write().reason().clone())?;
        let receipt = self.receipt(&result).map_err(|error| error.reason().clone())?;
        post.steps.record(PICTURE_STEP, &receipt.remote_id).await
    }

    /// Puts another picture, and what stands under it, in the place of a message's own. The same twice is the same.
    pub(super) async fn exchange_picture(
        &self,
        message: &str,
        picture: &Picture,
        caption: &str,
    ) -> Result<(), SendError> {
        let media =
            json!({"type": "photo", "media": format!("attach://{FILE}"), "caption": caption}).to_string();
        let form = || {
            Form::new()
                .text("message_id", message.to_owned())
                .text("media", media.clone())
                .part(FILE, file(picture))
        };
        match self
            .bot
            .upload("editMessageMedia", &self.settings.chat, form)
            .await
        {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_unmodified() => Ok(()),
            // To change it once more is harmless.
            Err(fault) => Err(match fault.on_write() {
                SendError::Unknown(reason) => SendError::NotSent(reason),
                other @ (SendError::NotSent(_)
                | SendError::Busy { .. }
                | SendError::Credential(_)
                | SendError::Refused(_)) => other,
            }),
        }
    }

    /// Says in the receipt of a text what is known of its picture.
    pub(super) fn note_picture(post: &Post, receipt: &mut Receipt) {
        match (post.steps.get(PICTURE_STEP), post.steps.get(PICTURE_BEGUN)) {
            (Some(id), _) => receipt.version = Some(format!("{WITH_PICTURE}{id}")),
            (None, Some(_)) => {
                receipt.note =
                    Some("whether the picture came out is not known; look in the channel".to_owned());
            }
            (None, None) => receipt.note = Some(MISSING.to_owned()),
        }
    }
}

/// The form of a picture. The Bot API knows no alternative text: the description stands in the caption.
fn photo(picture: &Picture, caption: &str, parent: Option<i64>) -> Form {
    let form = Form::new()
        .text("caption", caption.to_owned())
        .part("photo", file(picture));
    match parent {
        Some(parent) => form.text("reply_parameters", reply_to(parent).to_string()),
        None => form,
    }
}

/// The picture's bytes. The media type is one of two that are well formed; without it the service looks at the bytes.
fn file(picture: &Picture) -> Part {
    let part = || Part::bytes(picture.bytes.clone()).file_name(picture.file_name());
    part().mime_str(picture.media_type).unwrap_or_else(|_| part())
}

/// What the picture shows, for those who do not see it.
pub(super) fn description(post: &Post, picture: &Picture) -> String {
    described_as(&post.rendering, &picture.alt)
}

fn described_as(rendering: &Rendering, alt: &str) -> String {
    let word = match rendering.languages.first() {
        Some(Lang::En) => "Picture",
        Some(Lang::Sv) | None => "Bild",
    };
    format!("{word}: {alt}")
}

/// What is read of a rendering with its picture: the picture's words stand under the text where there is room, else
/// under the picture, which follows as a message of its own.
pub(super) fn under_picture(rendering: &Rendering) -> Vec<Shown> {
    let text = &rendering.text;
    let Some(picture) = &rendering.picture else {
        return vec![Shown::new("text", text)];
    };
    let description = described_as(rendering, &picture.alt);
    let caption = format!("{text}\n\n{description}");
    if caption.encode_utf16().count() > MAX_CAPTION {
        return vec![
            Shown::new("text", text),
            Shown::new("under the picture", description),
        ];
    }
    vec![Shown::new("caption", caption)]
}

pub(super) fn with_description(post: &Post, picture: &Picture) -> String {
    with_words(post, &picture.alt)
}

/// The text with the description of the picture that it stands under; nothing if that is not known.
pub(super) fn with_words(post: &Post, alt: &str) -> String {
    if alt.is_empty() {
        return post.rendering.text.clone();
    }
    format!(
        "{}\n\n{}",
        post.rendering.text,
        described_as(&post.rendering, alt)
    )
}

/// What a receipt remembers of a text that stands under this picture.
pub(super) fn as_caption(picture: &Picture) -> String {
    format!("{AS_CAPTION} {}", picture.alt)
}

/// The description of the picture that a receipt's text stands under; `None` if it stands under none.
pub(super) fn described(version: &str) -> Option<&str> {
    version.strip_prefix(AS_CAPTION).map(str::trim_start)
}

pub(super) fn text_step(post: &Post) -> Option<Receipt> {
    serde_json::from_str(&post.steps.get(TEXT_STEP)?).ok()
}

fn noted(mut receipt: Receipt, note: String) -> Receipt {
    receipt.note = Some(note);
    receipt
}
