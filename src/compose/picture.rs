//! The picture that goes with a message: read within bounds, turned upright, rid of everything that is no pixel, and
//! fitted to what each channel takes. Pure: bytes and a rule in, a picture out.
//!
//! What comes out was made anew from the pixels. Where it was taken, with which camera and by whom (EXIF, GPS, XMP, IPTC,
//! colour profiles, comments) cannot be in it, because nothing of the file but its pixels is carried over.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use crate::model::picture::{JPEG, PNG};
use crate::model::{Picture, PictureRule};

/// Largest file that is taken, in bytes.
pub const MAX_FILE: usize = 10 * 1024 * 1024;
/// Most pixels: what a phone takes, with room. A file of few bytes can unpack to any number of them.
pub const MAX_PIXELS: u64 = 50_000_000;
/// Longest edge in pixels.
const MAX_EDGE: u32 = 20_000;
/// Most memory that unpacking may take.
const MAX_ALLOC: u64 = 512 * 1024 * 1024;
/// Longest edge that is kept: no channel takes a longer one.
const LARGEST: u32 = 4096;
/// Longest description, in characters; channels may take fewer.
pub const LONGEST_ALT: usize = 2000;
/// Qualities that are tried, best first, before the picture is made smaller.
const QUALITIES: [u8; 4] = [90, 82, 72, 60];
/// A picture below this is no picture any more.
const SMALLEST: u32 = 64;

/// A picture as it was given: its pixels, upright, and what it shows.
#[derive(Debug, Clone)]
pub struct Original {
    image: DynamicImage,
    /// A drawing keeps its sharp edges as PNG.
    is_png: bool,
    alt: String,
}

/// What a file says of itself: its kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether it is a PNG; a JPEG otherwise.
    pub is_png: bool,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Looks at the file without unpacking it.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn header(bytes: &[u8]) -> Result<Header, String> {
    let decoder = decoder(bytes)?;
    let (width, height) = decoder.1.dimensions();
    Ok(Header {
        is_png: decoder.0,
        width,
        height,
    })
}

/// Longest note of who made a picture, in characters.
pub const LONGEST_CREDIT: usize = 300;

/// The note of who made it without white space around it.
///
/// # Errors
/// If it is empty, no single line, or longer than a note.
pub fn credit(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let length = text.chars().count();
    if text.is_empty() || length > LONGEST_CREDIT || text.chars().any(char::is_control) {
        return Err(format!(
            "the picture's credit must be one line of at most {LONGEST_CREDIT} characters: who made it and by which \
             right it is used"
        ));
    }
    Ok(text)
}

/// The description without white space around it.
///
/// # Errors
/// If it is missing, or longer than anybody listens to.
pub fn description(alt: &str) -> Result<&str, String> {
    let alt = alt.trim();
    let length = alt.chars().count();
    if alt.is_empty() {
        return Err(
            "a picture needs a description for those who cannot see it: what it shows, in words".to_owned(),
        );
    }
    if length > LONGEST_ALT {
        return Err(format!(
            "the picture's description is {length} characters and may be at most {LONGEST_ALT}"
        ));
    }
    if alt.chars().any(|c| c.is_control() && c != '\n') {
        return Err("the picture's description holds control characters; write it as plain text".to_owned());
    }
    Ok(alt)
}

fn decoder(bytes: &[u8]) -> Result<(bool, impl ImageDecoder), String> {
    if bytes.len() > MAX_FILE {
        return Err(format!(
            "the picture is {} and may be at most {}; save it smaller",
            megabytes(bytes.len()),
            megabytes(MAX_FILE)
        ));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| format!("the picture cannot be read: {error}"))?;
    let is_png = match reader.format() {
        Some(ImageFormat::Png) => true,
        Some(ImageFormat::Jpeg) => false,
        Some(_) | None => {
            return Err("the picture is neither a JPEG nor a PNG; save it as one of them".to_owned());
        }
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_EDGE);
    limits.max_image_height = Some(MAX_EDGE);
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let decoder = reader
        .into_decoder()
        .map_err(|error| format!("the picture is damaged or too large: {error}"))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!(
            "the picture is {width}×{height} pixels and may be at most {} million; save it smaller",
            MAX_PIXELS / 1_000_000
        ));
    }
    Ok((is_png, decoder))
}

impl Original {
    /// Unpacks a file within bounds.
    ///
    /// # Errors
    /// What is wrong with the file or its description, and what to do.
    pub fn read(bytes: &[u8], alt: &str) -> Result<Self, String> {
        let alt = description(alt)?.to_owned();
        let (is_png, mut decoder) = decoder(bytes)?;
        let damaged = |error: image::ImageError| format!("the picture is damaged: {error}");
        // What cannot be read of either is not worth refusing a picture for.
        let orientation = decoder.orientation().ok();
        let profile = decoder.icc_profile().ok().flatten();
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        if image.width() > LARGEST || image.height() > LARGEST {
            image = image.resize(LARGEST, LARGEST, FilterType::Triangle);
        }
        // Eight bits a colour: no channel shows more.
        let mut image = if image.color().has_alpha() {
            DynamicImage::ImageRgba8(image.into_rgba8())
        } else {
            DynamicImage::ImageRgb8(image.into_rgb8())
        };
        if let Some(profile) = profile {
            into_srgb(&mut image, &profile);
        }
        if let Some(orientation) = orientation {
            image.apply_orientation(orientation);
        }
        Ok(Self { image, is_png, alt })
    }

    /// What it shows.
    pub fn alt(&self) -> &str {
        &self.alt
    }

    /// The picture as a channel takes it: no longer, no heavier, of a kind that it knows.
    ///
    /// # Errors
    /// If it cannot be made light enough.
    pub fn fit(&self, rule: &PictureRule) -> Result<Picture, String> {
        let takes = |kind: &str| rule.media_types.contains(&kind);
        let mut edge = rule.max_edge.min(LARGEST);
        while edge >= SMALLEST {
            let image = if self.image.width() > edge || self.image.height() > edge {
                self.image.resize(edge, edge, FilterType::Triangle)
            } else {
                self.image.clone()
            };
            if takes(PNG) && (self.is_png || !takes(JPEG)) {
                let bytes = png(&image)?;
                if bytes.len() <= rule.max_bytes {
                    return Ok(self.picture(bytes, PNG, &image));
                }
            }
            if takes(JPEG) {
                let opaque = on_white(&image);
                for quality in QUALITIES {
                    let bytes = jpeg(&opaque, quality)?;
                    if bytes.len() <= rule.max_bytes {
                        return Ok(self.picture(bytes, JPEG, &image));
                    }
                }
            }
            edge = image.width().max(image.height()) / 4 * 3;
        }
        Err(format!(
            "the picture cannot be made as small as {} bytes",
            rule.max_bytes
        ))
    }

    fn picture(&self, bytes: Vec<u8>, media_type: &'static str, image: &DynamicImage) -> Picture {
        Picture {
            bytes,
            media_type,
            width: image.width(),
            height: image.height(),
            alt: self.alt.clone(),
        }
    }
}

/// Turns colours of another space into those that every screen takes them for. A profile that makes no sense is left
/// aside, as a browser does.
fn into_srgb(image: &mut DynamicImage, profile: &[u8]) {
    let Ok(profile) = moxcms::ColorProfile::new_from_slice(profile) else {
        return;
    };
    let layout = if image.color().has_alpha() {
        moxcms::Layout::Rgba
    } else {
        moxcms::Layout::Rgb
    };
    let made = profile.create_transform_8bit(
        layout,
        &moxcms::ColorProfile::new_srgb(),
        layout,
        moxcms::TransformOptions::default(),
    );
    let Ok(transform) = made else { return };
    let mut turned = vec![0; image.as_bytes().len()];
    if transform.transform(image.as_bytes(), &mut turned).is_err() {
        return;
    }
    let (width, height) = (image.width(), image.height());
    let anew = if image.color().has_alpha() {
        image::RgbaImage::from_raw(width, height, turned).map(DynamicImage::ImageRgba8)
    } else {
        RgbImage::from_raw(width, height, turned).map(DynamicImage::ImageRgb8)
    };
    if let Some(anew) = anew {
        *image = anew;
    }
}

/// Without see-through parts, which a JPEG cannot have: those are white, as on a page.
fn on_white(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let seen = image.to_rgba8();
    let mut opaque = RgbImage::from_pixel(seen.width(), seen.height(), Rgb([255; 3]));
    for (to, from) in opaque.pixels_mut().zip(seen.pixels()) {
        let [red, green, blue, cover] = from.0.map(u16::from);
        let mix = |colour: u16| u8::try_from((colour * cover + 255 * (255 - cover)) / 255).unwrap_or(u8::MAX);
        to.0 = [mix(red), mix(green), mix(blue)];
    }
    opaque
}

fn png(image: &DynamicImage) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            image.as_bytes(),
            image.width(),
            image.height(),
            image.color().into(),
        )
        .map_err(|error| format!("the picture could not be made: {error}"))?;
    Ok(bytes)
}

fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .map_err(|error| format!("the picture could not be made: {error}"))?;
    Ok(bytes)
}

fn megabytes(bytes: usize) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
