//! Pictures on the simulated server: uploaded, processed for a while if they are large, attached once.

use http::Response;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::wall::ShownPicture;
use crate::wall::multipart;
use crate::wall::sim::{Call, error, reply};

/// Longest alternative text, in characters.
const MAX_ALT: usize = 1500;
/// Largest file, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most pictures in a post.
const MOST: usize = 4;
/// Files of more bytes than this are processed for a while.
const AT_ONCE: usize = 50_000;
/// How often such a file is asked for before it is ready.
const LOOKS: u32 = 2;

/// One uploaded file.
struct File {
    id: String,
    alt: String,
    media_type: &'static str,
    bytes: Vec<u8>,
    /// Looks that are left until it is processed.
    looks: u32,
    attached: bool,
}

/// All of an account's files.
#[derive(Default)]
pub(super) struct Shelf(Vec<File>);

impl Shelf {
    /// Takes an upload.
    pub(super) fn upload(&mut self, call: &Call<'_>) -> Response<Vec<u8>> {
        let Some(form) = multipart::fields(call.headers, call.body) else {
            return error(422, "Validation failed: File can't be blank");
        };
        if let Some(other) = form
            .iter()
            .find(|field| !["file", "description", "focus"].contains(&field.name.as_str()))
        {
            return error(400, &format!("unknown parameter {}", other.name));
        }
        let Some(file) = form
            .iter()
            .find(|field| field.name == "file" && field.file_name.is_some())
        else {
            return error(422, "Validation failed: File can't be blank");
        };
        let Some(media_type) = kind(file.value).filter(|kind| file.media_type.as_deref() == Some(kind))
        else {
            return error(422, "File type of uploaded media could not be verified");
        };
        if file.value.len() > MAX_BYTES {
            return error(422, "Validation failed: File file size must be less than 16 MB");
        }
        let alt = form.iter().find(|field| field.name == "description");
        let alt = alt.and_then(multipart::Field::text).unwrap_or_default();
        if alt.chars().count() > MAX_ALT {
            let text =
                format!("Validation failed: Description is too long (maximum is {MAX_ALT} characters)");
            return error(422, &text);
        }
        let media = File {
            id: (114 + self.0.len()).to_string(),
            alt,
            media_type,
            bytes: file.value.to_vec(),
            looks: if file.value.len() > AT_ONCE { LOOKS } else { 0 },
            attached: false,
        };
        let status = if media.looks > 0 { 202 } else { 200 };
        let answer = reply(status, &media.show(call.base));
        self.0.push(media);
        answer
    }

    /// Tells whether a file is ready.
    pub(super) fn look(&mut self, id: &str, call: &Call<'_>) -> Response<Vec<u8>> {
        let Some(media) = self.0.iter_mut().find(|media| media.id == id && !media.attached) else {
            return error(404, "Record not found");
        };
        let answer = reply(if media.looks > 0 { 206 } else { 200 }, &media.show(call.base));
        media.looks = media.looks.saturating_sub(1);
        answer
    }

    /// Attaches files to a post that has `own` already, or says why not.
    pub(super) fn attach(&mut self, ids: &[String], own: &[String]) -> Result<(), Refusal> {
        if ids.len() > MOST {
            return Err(Refusal(422, "Cannot attach more than 4 files".into()));
        }
        for id in ids {
            let media = self.0.iter().find(|media| media.id == *id);
            let Some(media) = media.filter(|media| !media.attached || own.contains(id)) else {
                let text = format!("Media {id} not found or already attached to another post");
                return Err(Refusal(422, text));
            };
            if media.looks > 0 {
                let text = "Cannot attach files that have not finished processing. Try again in a moment!";
                return Err(Refusal(422, text.into()));
            }
        }
        for media in self.0.iter_mut().filter(|media| ids.contains(&media.id)) {
            media.attached = true;
        }
        Ok(())
    }

    /// The files of a post as the client API gives them.
    pub(super) fn show(&self, ids: &[String], base: &str) -> Value {
        self.of(ids).map(|media| media.show(base)).collect()
    }

    /// The files of a post as residents see them.
    pub(super) fn shown(&self, ids: &[String]) -> Vec<ShownPicture> {
        let shown = self.of(ids).map(|media| ShownPicture {
            alt: media.alt.clone(),
            media_type: media.media_type.to_owned(),
            digest: hex::encode(Sha256::digest(&media.bytes)),
            bytes: media.bytes.clone(),
        });
        shown.collect()
    }

    fn of<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a File> {
        self.0.iter().filter(|media| ids.contains(&media.id))
    }
}

impl File {
    fn show(&self, base: &str) -> Value {
        let url = (self.looks == 0).then(|| format!("{base}/media/{}", self.id));
        json!({
            "id": self.id, "type": "image", "url": url, "preview_url": url, "remote_url": null,
            "meta": {}, "description": self.alt, "blurhash": null,
        })
    }
}

/// What a file is by its first bytes.
pub(in crate::wall) fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else {
        None
    }
}
