//! The picture of a post: announced, put, waited for, then named in the post with its alternative text. An upload
//! publishes nothing, so that it may be repeated; whatever goes wrong with it costs the picture and never the text.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{Account, Ask, no_sense};
use crate::model::{Picture, Post, Reason, SendError};

/// How long all of it may take: a text must not wait for a picture.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a picture that is being worked on is asked for, and the pause between.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(700);

/// The step that holds the picture's name.
const IMAGE: &str = "image";
/// The step that says that its bytes were taken.
const UPLOADED: &str = "uploaded";
/// The step that says whether the post that was sent last has the picture.
const PICTURE: &str = "picture";
const LEFT_OUT: &str = "left out";

/// What the receipt says of the picture.
pub(super) fn note(post: &Post) -> Option<String> {
    let left_out = post.steps.get(PICTURE).is_some_and(|step| step == LEFT_OUT);
    left_out.then(|| "without the picture, which LinkedIn did not take; the text is out alone".to_owned())
}

impl Account {
    /// Gets the picture ready: its name; `None` if the post goes out without one.
    pub(super) async fn image(&self, post: &Post) -> Result<Option<String>, SendError> {
        let Some(picture) = post.picture.as_deref() else {
            return Ok(None);
        };
        match tokio::time::timeout(PATIENCE, self.upload(post, picture)).await {
            Ok(Ok(image)) => {
                note_down(post, PICTURE, &image).await?;
                Ok(Some(image))
            }
            Ok(Err(_)) | Err(_) => self.leave_out(post).await,
        }
    }

    /// Lets the post go out without its picture.
    pub(super) async fn leave_out(&self, post: &Post) -> Result<Option<String>, SendError> {
        note_down(post, PICTURE, LEFT_OUT).await?;
        Ok(None)
    }

    async fn upload(&self, post: &Post, picture: &Picture) -> Result<String, SendError> {
        let known = post.steps.get(UPLOADED).filter(|image| is_image(image));
        let image = match known {
            Some(image) => image,
            None => self.put(post, picture).await?,
        };
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let (body, _) = self.ok(Ask::get(self.named("images", &image))).await?;
            match body["status"].as_str() {
                Some("AVAILABLE") => return Ok(image),
                Some("WAITING_UPLOAD" | "PROCESSING") => {}
                Some(_) | None => return Err(useless("LinkedIn cannot use the picture")),
            }
        }
        Err(useless("the picture is never ready"))
    }

    async fn put(&self, post: &Post, picture: &Picture) -> Result<String, SendError> {
        let mut url = self.url(&["rest", "images"]);
        url.set_query(Some("action=initializeUpload"));
        let body = json!({"initializeUploadRequest": {"owner": self.author()}});
        let (body, _) = self
            .ok(Ask {
                body: Some(body),
                ..Ask::new(Method::POST, url)
            })
            .await?;
        let value = &body["value"];
        let image = value["image"].as_str().filter(|image| is_image(image));
        let image = image.ok_or_else(|| no_sense("the picture has no name"))?;
        let to = value["uploadUrl"].as_str().and_then(|url| Url::parse(url).ok());
        let to = to.filter(|url| self.is_theirs(url));
        let to = to.ok_or_else(|| no_sense("the picture is to go to an address that is not LinkedIn's"))?;
        note_down(post, IMAGE, image).await?;
        self.ok(Ask {
            bytes: Some(picture.bytes.clone()),
            ..Ask::new(Method::PUT, to)
        })
        .await?;
        note_down(post, UPLOADED, image).await?;
        Ok(image.to_owned())
    }

    /// Whether an address that an answer names is LinkedIn's own, or on the same server as the API where that is ours.
    fn is_theirs(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let known = [".linkedin.com", ".licdn.com"]
            .iter()
            .any(|end| host.ends_with(end));
        url.origin() == self.settings.base_url.origin() || (known && url.scheme() == "https")
    }
}

/// The picture as a post names it.
pub(super) fn content(image: &str, picture: &Picture) -> Value {
    json!({"media": {"id": image, "altText": picture.alt}})
}

fn is_image(urn: &str) -> bool {
    urn.strip_prefix("urn:li:image:").is_some_and(|id| {
        (1..=100).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

fn useless(what: &str) -> SendError {
    SendError::Refused(Reason::new("media", what))
}

async fn note_down(post: &Post, step: &str, value: &str) -> Result<(), SendError> {
    post.steps.record(step, value).await.map_err(SendError::NotSent)
}
