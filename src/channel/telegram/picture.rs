//! A post with a picture. The Bot API knows no alternative text, so that the description stands in the caption; and a
//! caption is short, so that a longer text goes out first, in a message of its own.

use reqwest::multipart::{Form, Part};

use super::{AS_CAPTION, Account, MAX_CAPTION, WITH_PICTURE, lonely, message_id, parent, reply_to};
use crate::model::{Lang, Picture, Post, Reason, Receipt, SendError};

/// The step that sent the text: its receipt, as JSON.
pub(super) const TEXT_STEP: &str = "text";
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
                receipt.version = Some(AS_CAPTION.to_owned());
                receipt.note = lonely(parent, &result);
                Ok(receipt)
            }
            Err(fault) => match fault.on_write() {
                // It did nothing. Whether it is the picture that it will not have, the text shows.
                SendError::Refused(reason) => {
                    let mut receipt = self.send_text(post).await?;
                    receipt.note = Some(format!("without the picture, which was refused: {reason}"));
                    Ok(receipt)
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

    /// Says in the receipt of a text what is known of its picture.
    pub(super) fn note_picture(post: &Post, receipt: &mut Receipt) {
        match (post.steps.get(PICTURE_STEP), post.steps.get(PICTURE_BEGUN)) {
            (Some(id), _) => receipt.version = Some(format!("{WITH_PICTURE}{id}")),
            (None, Some(_)) => {
                receipt.note =
                    Some("whether the picture came out is not known; look in the channel".to_owned());
            }
            (None, None) => receipt.note = Some("without the picture".to_owned()),
        }
    }
}

/// The form of a picture. The Bot API knows no alternative text: the description stands in the caption.
fn photo(picture: &Picture, caption: &str, parent: Option<i64>) -> Form {
    // The media type is one of two that are well formed; without it the service looks at the bytes.
    let file = || Part::bytes(picture.bytes.clone()).file_name(picture.file_name());
    let part = file().mime_str(picture.media_type).unwrap_or_else(|_| file());
    let form = Form::new()
        .text("caption", caption.to_owned())
        .part("photo", part);
    match parent {
        Some(parent) => form.text("reply_parameters", reply_to(parent).to_string()),
        None => form,
    }
}

/// What the picture shows, for those who do not see it.
fn description(post: &Post, picture: &Picture) -> String {
    let word = match post.rendering.languages.first() {
        Some(Lang::En) => "Picture",
        Some(Lang::Sv) | None => "Bild",
    };
    format!("{word}: {}", picture.alt)
}

pub(super) fn with_description(post: &Post, picture: &Picture) -> String {
    format!("{}\n\n{}", post.rendering.text, description(post, picture))
}

pub(super) fn text_step(post: &Post) -> Option<Receipt> {
    serde_json::from_str(&post.steps.get(TEXT_STEP)?).ok()
}

fn noted(mut receipt: Receipt, note: String) -> Receipt {
    receipt.note = Some(note);
    receipt
}
