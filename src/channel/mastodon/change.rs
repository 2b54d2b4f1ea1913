//! What can be done with a post that stands: change it, keep it on top, take it away. All of it may be repeated.

use reqwest::Method;
use serde_json::json;

use super::{Account, brief, join, no_sense, receipt, thread, verdict};
use crate::channel::transport::Effect;
use crate::model::{Post, Reason, Receipt, SendError};

impl Account {
    pub(super) async fn take_away(&self, receipt: &Receipt) -> Result<(), SendError> {
        // The last part first: what is left of a thread in between still begins at its beginning.
        for id in thread::ids(receipt).into_iter().rev() {
            self.delete(id).await?;
        }
        Ok(())
    }

    async fn delete(&self, id: &str) -> Result<(), SendError> {
        let url = self.url(&["api", "v1", "statuses", id]);
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self.send(Method::DELETE, url, Effect::Reads).await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(verdict::of_read(&answer)),
        }
    }

    /// Changes the posts of `standing` into the parts of `post`; parts that are left over are taken away.
    pub(super) async fn change(&self, standing: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let (ids, texts) = (
            thread::ids(standing),
            self.texts(post, thread::ids(standing).len() > 1),
        );
        if texts.len() > ids.len() {
            let text = format!(
                "the new text takes {} posts and {} stand there: publish it as a correction instead",
                texts.len(),
                ids.len()
            );
            return Err(SendError::Refused(Reason::new("edit-longer", text)));
        }
        let attached = self.attach(post).await?;
        let mut parts = Vec::new();
        for (n, (id, text)) in ids.iter().zip(&texts).enumerate() {
            let fresh = attached.id.clone().filter(|_| n == 0);
            let pictures = match fresh {
                Some(id) => vec![id],
                None => self.standing_pictures(id).await?,
            };
            parts.push(self.put(id, text, &pictures, post).await?);
        }
        for id in ids.iter().skip(texts.len()).rev() {
            self.delete(id).await?;
        }
        let mut changed = thread::whole(&parts).ok_or_else(|| no_sense("there is nothing to change"))?;
        changed.note = join(changed.note, attached.note);
        Ok(changed)
    }

    async fn put(
        &self,
        id: &str,
        text: &str,
        pictures: &[String],
        post: &Post,
    ) -> Result<Receipt, SendError> {
        let mut body = json!({"status": text});
        if let Some(language) = post.rendering.languages.first() {
            body["language"] = language.as_str().into();
        }
        if !pictures.is_empty() {
            body["media_ids"] = pictures.into();
        }
        let url = self.url(&["api", "v1", "statuses", id]);
        let request = self.http.request(Method::PUT, url).json(&body);
        let answer = self.send_request(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        let changed = answer.json().as_ref().and_then(receipt);
        changed.ok_or_else(|| no_sense("it does not say what was changed"))
    }

    /// Keeps the first post on the account's page, or no longer.
    pub(super) async fn keep_on_top(&self, receipt: &Receipt, pinned: bool) -> Result<(), SendError> {
        let id = receipt.remote_id.as_str();
        let verb = if pinned { "pin" } else { "unpin" };
        let url = self.url(&["api", "v1", "statuses", id, verb]);
        let answer = self.send(Method::POST, url, Effect::Reads).await?;
        match answer.status {
            200..=299 => Ok(()),
            404 | 410 if !pinned => Ok(()),
            // A server may refuse to pin what is pinned: only the post itself tells.
            400 | 422 => {
                let status = self.get_json(self.url(&["api", "v1", "statuses", id])).await?;
                if status["pinned"] == pinned {
                    return Ok(());
                }
                let advice = if pinned {
                    "; an account keeps five, take another one down first"
                } else {
                    ""
                };
                let text = format!("{}{advice}", verdict::of_read(&answer).reason().text);
                Err(SendError::Refused(Reason::new("pin", brief(&text))))
            }
            _ => Err(verdict::of_read(&answer)),
        }
    }
}
