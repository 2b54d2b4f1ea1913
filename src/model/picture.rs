//! A picture of a message, as it was accepted: re-encoded, without metadata.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The picture. Its bytes are an image that was made anew from the pixels of what was given.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// The encoded image.
    pub bytes: Vec<u8>,
    /// `image/jpeg` or `image/png`.
    pub media_type: &'static str,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What it shows, in words; never empty.
    pub alt: String,
}

/// What a channel takes as a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureRule {
    /// Media types, the most preferred first: of `image/jpeg` and `image/png`.
    pub media_types: &'static [&'static str],
    /// Most bytes of the encoded image.
    pub max_bytes: usize,
    /// Longest edge in pixels.
    pub max_edge: u32,
    /// Longest alternative text, in characters.
    pub max_alt: usize,
    /// Whether there is no post without a picture: then a text card is made where the message has none.
    pub required: bool,
}

/// A picture as a rendering names it. Its bytes lie in the store, under their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureRef {
    /// SHA-256 of the bytes, in hex.
    pub sha256: String,
    /// `image/jpeg` or `image/png`.
    pub media_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How many bytes they are.
    pub size_bytes: usize,
    /// What it shows, in words; never empty.
    pub alt: String,
    /// Who made it and by which right it is used, if somebody said so. For the record; it is not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
}

impl PictureRef {
    /// The picture, with the bytes that lie under its digest.
    pub fn with(&self, bytes: Vec<u8>) -> Picture {
        Picture {
            bytes,
            media_type: if self.media_type == PNG { PNG } else { JPEG },
            width: self.width,
            height: self.height,
            alt: self.alt.clone(),
        }
    }
}

/// The media type of a PNG.
pub const PNG: &str = "image/png";
/// The media type of a JPEG.
pub const JPEG: &str = "image/jpeg";

impl Picture {
    /// How a rendering names it.
    pub fn reference(&self) -> PictureRef {
        PictureRef {
            sha256: hex::encode(Sha256::digest(&self.bytes)),
            media_type: self.media_type.to_owned(),
            width: self.width,
            height: self.height,
            size_bytes: self.bytes.len(),
            alt: self.alt.clone(),
            credit: None,
        }
    }

    /// What a file of it is called.
    pub fn file_name(&self) -> &'static str {
        if self.media_type == PNG {
            "bild.png"
        } else {
            "bild.jpg"
        }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Picture({}, {}×{}, {} bytes)",
            self.media_type,
            self.width,
            self.height,
            self.bytes.len()
        )
    }
}
