//! A picture of a message, as it was accepted: re-encoded, without metadata.

use std::fmt;

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

impl Picture {
    /// What a file of it is called.
    pub fn file_name(&self) -> &'static str {
        if self.media_type == "image/png" {
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
