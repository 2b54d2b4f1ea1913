//! A text as a picture, for accounts that have no post without one. Pure: texts, colours and a font in, a JPEG out.
//!
//! The headline is always there whole. The body is shown paragraph by paragraph as long as the letters stay large enough to
//! be read on a phone; what is left out is said to stand below the picture, where the whole text is.

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};

use crate::model::Picture;

/// Width and height of a card: the tallest shape that Instagram takes, which fills a phone best.
pub const SIZE: (u32, u32) = (1080, 1350);

/// The font of cards where none is named: DejaVu Sans Bold as released (2.37), easy to read on a phone, with every letter
/// of Europe. Built in, so that a card can be drawn on a machine that has no font.
pub const FONT: &[u8] = include_bytes!("card/DejaVuSans-Bold.ttf");

/// Empty space at each edge, in pixels.
const MARGIN: f32 = 90.0;
/// Letters of the headline: from the largest to the smallest that is tried.
const HEADLINE: (f32, f32) = (104.0, 30.0);
/// Letters of the body; the smallest is some 14 points on a phone.
const BODY: (f32, f32) = (60.0, 42.0);
/// Letters of the sender and the address.
const FOOT: (f32, f32) = (42.0, 20.0);
/// Line height over letter height.
const LEADING: f32 = 1.25;
/// WCAG 2.1 AA for text of any size.
pub const LEAST_CONTRAST: f64 = 4.5;
const QUALITY: u8 = 90;

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl std::str::FromStr for Colour {
    type Err = String;

    /// Reads `#rrggbb`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no colour; expected one such as \"#00467f\"");
        let digits = text.strip_prefix('#').ok_or_else(wrong)?;
        let bytes = hex::decode(digits).map_err(|_| wrong())?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }
}

/// What a card looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Behind the text.
    pub background: Colour,
    /// The text.
    pub text: Colour,
}

/// What a card says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// With the marking of its mode.
    pub headline: String,
    /// Paragraphs, the most important first.
    pub body: Vec<String>,
    /// Who says it.
    pub sender: String,
    /// Where more is to be read.
    pub address: String,
    /// What stands in place of paragraphs that found no room.
    pub more: String,
}

/// A finished card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The JPEG.
    pub jpeg: Vec<u8>,
    /// The texts that it shows, in their order, for those who cannot see it.
    pub shown: Vec<String>,
}

/// Contrast of two colours as WCAG 2.1 reckons it: 1 to 21.
pub fn contrast(one: Colour, other: Colour) -> f64 {
    let luminance = |colour: Colour| {
        let [r, g, b] = colour.0.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// One laid-out line.
struct Line {
    text: String,
    size: f32,
    /// Top of the line.
    y: f32,
}

/// Draws the card.
///
/// # Errors
/// If the bytes are no font, or the headline cannot be made to fit.
pub fn draw(words: &Words, look: Look, font: &[u8]) -> Result<Card, String> {
    let font = FontRef::try_from_slice(font).map_err(|_| "the file is no TrueType font".to_owned())?;
    let (lines, shown) = lay_out(words, &font)?;
    let mut image = RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb(look.background.0));
    for line in &lines {
        write_line(&mut image, line, look, &font);
    }
    Ok(Card {
        jpeg: encode(&image)?,
        shown,
    })
}

fn encode(image: &RgbImage) -> Result<Vec<u8>, String> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(image)
        .map_err(|error| format!("the picture could not be made: {error}"))?;
    Ok(jpeg)
}

#[allow(clippy::cast_precision_loss, reason = "a thousand pixels are exact in an f32")]
fn lay_out(words: &Words, font: &FontRef<'_>) -> Result<(Vec<Line>, Vec<String>), String> {
    let width = SIZE.0 as f32 - 2.0 * MARGIN;
    let height = SIZE.1 as f32 - 2.0 * MARGIN;
    let bottom = [words.sender.as_str(), words.address.as_str()];
    let bottom = sizes(FOOT)
        .find_map(|size| block(&bottom, size, width, font).filter(|lines| tall(lines) <= height / 4.0))
        .ok_or("the sender or the address is too long for a card")?;
    let room = height - tall(&bottom) - MARGIN / 2.0;
    // The headline may take half of the room, or all of it if that is what it takes.
    let headline = [0.5, 1.0]
        .iter()
        .find_map(|share| {
            sizes(HEADLINE).find_map(|size| {
                block(&[&words.headline], size, width, font).filter(|lines| tall(lines) <= room * share)
            })
        })
        .or_else(|| Some(broken(&words.headline, width, font)).filter(|lines| tall(lines) <= room))
        .ok_or("the headline is too long for a card")?;
    let left = room - tall(&headline) - MARGIN / 2.0;
    let (body, shown) = body(words, width, left, font);
    let mut lines = Vec::new();
    let mut y = MARGIN;
    for block in [&headline, &body] {
        for (text, size) in block {
            lines.push(Line {
                text: text.clone(),
                size: *size,
                y,
            });
            y += size * LEADING;
        }
        y += MARGIN / 2.0;
    }
    let mut y = SIZE.1 as f32 - MARGIN - tall(&bottom);
    for (text, size) in &bottom {
        lines.push(Line {
            text: text.clone(),
            size: *size,
            y,
        });
        y += size * LEADING;
    }
    let mut said = vec![words.headline.clone()];
    said.extend(shown);
    said.extend([words.sender.clone(), words.address.clone()]);
    Ok((lines, said))
}

/// As many paragraphs as fit, in the largest letters in which they do.
fn body(words: &Words, width: f32, height: f32, font: &FontRef<'_>) -> (Vec<(String, f32)>, Vec<String>) {
    for many in (0..=words.body.len()).rev() {
        let mut shown: Vec<&str> = words.body.iter().take(many).map(String::as_str).collect();
        if many < words.body.len() {
            shown.push(&words.more);
        }
        let fitting = sizes(BODY).find_map(|size| {
            // An empty line between paragraphs.
            let mut spaced = Vec::new();
            for (n, paragraph) in shown.iter().enumerate() {
                if n > 0 {
                    spaced.push("");
                }
                spaced.push(paragraph);
            }
            block(&spaced, size, width, font).filter(|lines| tall(lines) <= height)
        });
        if let Some(lines) = fitting {
            return (lines, shown.into_iter().map(str::to_owned).collect());
        }
    }
    (Vec::new(), Vec::new())
}

/// Sizes from large to small.
fn sizes((largest, smallest): (f32, f32)) -> impl Iterator<Item = f32> {
    std::iter::successors(Some(largest), move |size| {
        (*size > smallest).then(|| (size * 0.93).max(smallest))
    })
}

fn tall(lines: &[(String, f32)]) -> f32 {
    lines.iter().map(|(_, size)| size * LEADING).sum()
}

/// The paragraphs as lines that are no wider than `width`. `None` if a word is.
fn block(paragraphs: &[&str], size: f32, width: f32, font: &FontRef<'_>) -> Option<Vec<(String, f32)>> {
    let mut lines = Vec::new();
    for paragraph in paragraphs {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            for piece in pieces(word, size, width, font)? {
                let longer = if line.is_empty() {
                    piece.clone()
                } else {
                    format!("{line} {piece}")
                };
                if wide(&longer, size, font) <= width {
                    line = longer;
                } else {
                    lines.push((std::mem::replace(&mut line, piece), size));
                }
            }
        }
        lines.push((line, size));
    }
    Some(lines)
}

/// The word, or, if it is an address that is wider than a line, the address in pieces that end where a part of it does.
fn pieces(word: &str, size: f32, width: f32, font: &FontRef<'_>) -> Option<Vec<String>> {
    if wide(word, size, font) <= width {
        return Some(vec![word.to_owned()]);
    }
    let mut all: Vec<String> = Vec::new();
    for part in word.split_inclusive(['/', '-', '?', '&', '.']) {
        match all.last_mut() {
            Some(last) if wide(&format!("{last}{part}"), size, font) <= width => last.push_str(part),
            _ if wide(part, size, font) <= width => all.push(part.to_owned()),
            _ => return None,
        }
    }
    Some(all)
}

/// The headline in its smallest letters, broken wherever a line is full: for a word that is wider than the card.
fn broken(text: &str, width: f32, font: &FontRef<'_>) -> Vec<(String, f32)> {
    let size = HEADLINE.1;
    let mut lines: Vec<String> = Vec::new();
    for c in text.chars() {
        match lines.last_mut() {
            Some(last) if wide(&format!("{last}{c}"), size, font) <= width => last.push(c),
            _ => lines.push(c.to_string()),
        }
    }
    lines.into_iter().map(|line| (line, size)).collect()
}

fn wide(text: &str, size: f32, font: &FontRef<'_>) -> f32 {
    let scaled = font.as_scaled(PxScale::from(size));
    text.chars().map(|c| scaled.h_advance(font.glyph_id(c))).sum()
}

fn write_line(image: &mut RgbImage, line: &Line, look: Look, font: &FontRef<'_>) {
    let scale = PxScale::from(line.size);
    let scaled = font.as_scaled(scale);
    let mut x = MARGIN;
    for c in line.text.chars() {
        let id = font.glyph_id(c);
        let glyph: Glyph = id.with_scale_and_position(scale, point(x, line.y + scaled.ascent()));
        x += scaled.h_advance(id);
        // What the font does not have, an emoji mostly, is left out: an empty box says less than nothing.
        if id.0 == 0 {
            continue;
        }
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, cover| {
                let at = (place(bounds.min.x, dx), place(bounds.min.y, dy));
                if let (Some(x), Some(y)) = at
                    && let Some(pixel) = image.get_pixel_mut_checked(x, y)
                {
                    for (shown, (under, over)) in pixel
                        .0
                        .iter_mut()
                        .zip(look.background.0.into_iter().zip(look.text.0))
                    {
                        *shown = mix(under, over, cover);
                    }
                }
            });
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place on a picture of a thousand pixels; what lies before it is not drawn"
)]
fn place(from: f32, by: u32) -> Option<u32> {
    (from >= 0.0).then(|| (from as u32).saturating_add(by))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between two bytes, so it is a byte"
)]
fn mix(under: u8, over: u8, cover: f32) -> u8 {
    let cover = cover.clamp(0.0, 1.0);
    (f32::from(under) * (1.0 - cover) + f32::from(over) * cover).round() as u8
}

/// A JPEG of `picture` whose shape lies between 4:5 and 1.91:1 and whose width between 320 and 1,440 pixels: what is too
/// tall or too wide stands whole on a ground of this colour. What is so already is left as it is.
///
/// # Errors
/// If the bytes are no JPEG or PNG.
pub fn shaped(picture: &Picture, ground: Colour) -> Result<Vec<u8>, String> {
    if picture.media_type == "image/jpeg" && is_shaped(picture.width, picture.height) {
        return Ok(picture.bytes.clone());
    }
    let image = image::load_from_memory(&picture.bytes)
        .map_err(|error| format!("the picture cannot be read: {error}"))?;
    let image = DynamicImage::ImageRgb8(flat(&image, ground));
    let image = if image.width() > 1440 || image.height() > 1440 {
        image.resize(1440, 1440, FilterType::Triangle)
    } else if image.width() < 320 && image.height() < 320 {
        image.resize(640, 640, FilterType::Triangle)
    } else {
        image
    };
    let (width, height) = (image.width(), image.height());
    // Rounded so that the shape never comes out beyond the edge.
    let wider = width.max(height.saturating_mul(4).div_ceil(5)).max(320);
    let taller = height.max(wider.saturating_mul(100).div_ceil(191));
    let mut framed = RgbImage::from_pixel(wider, taller, Rgb(ground.0));
    let (x, y) = ((wider - width) / 2, (taller - height) / 2);
    image::imageops::replace(&mut framed, &image.to_rgb8(), x.into(), y.into());
    encode(&framed)
}

/// Whether a picture of this size is taken as it is.
fn is_shaped(width: u32, height: u32) -> bool {
    let (wide, tall) = (u64::from(width), u64::from(height));
    (320..=1440).contains(&width) && wide * 5 >= tall * 4 && wide * 100 <= tall * 191
}

/// Without see-through parts: those show the ground.
fn flat(image: &DynamicImage, ground: Colour) -> RgbImage {
    let seen = image.to_rgba8();
    let mut flat = RgbImage::from_pixel(seen.width(), seen.height(), Rgb(ground.0));
    for (to, from) in flat.pixels_mut().zip(seen.pixels()) {
        let [.., opaque] = from.0;
        let cover = f32::from(opaque) / 255.0;
        for (shown, (under, over)) in to.0.iter_mut().zip(ground.0.into_iter().zip(from.0)) {
            *shown = mix(under, over, cover);
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: Look = Look {
        background: Colour([0, 70, 127]),
        text: Colour([255, 255, 255]),
    };

    fn words(headline: &str, body: &[&str]) -> Words {
        Words {
            headline: headline.to_owned(),
            body: body.iter().map(|text| (*text).to_owned()).collect(),
            sender: "Nässjö kommun".to_owned(),
            address: "nassjo.se/kris/viktigt-meddelande/koka-vattnet".to_owned(),
            more: "Hela texten står under bilden.".to_owned(),
        }
    }

    /// Whether anything but the ground is to be seen in the margin, which text must never reach.
    fn margin_is_empty(jpeg: &[u8]) -> bool {
        let image = image::load_from_memory(jpeg).unwrap().to_rgb8();
        let (width, height) = SIZE;
        assert_eq!((image.width(), image.height()), SIZE);
        image.enumerate_pixels().all(|(x, y, pixel)| {
            let inside = (80..width - 80).contains(&x) && (60..height - 60).contains(&y);
            let near = |a: u8, b: u8| a.abs_diff(b) < 40;
            inside || pixel.0.iter().zip(LOOK.background.0).all(|(a, b)| near(*a, b))
        })
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let close = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(close(contrast(Colour([0; 3]), Colour([255; 3])), 21.0));
        assert!(close(contrast(Colour([118; 3]), Colour([255; 3])), 4.54));
        assert!(close(contrast(Colour([255, 0, 0]), Colour([255; 3])), 4.0));
        assert_eq!("#00467f".parse(), Ok(Colour([0, 70, 127])));
        for wrong in ["00467f", "#00467", "#00467g", "blå", "#00467fff"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_card_shows_the_whole_message_if_it_has_room() {
        let body = [
            "Bakterier har hittats i dricksvattnet i Nässjö tätort. Koka allt vatten som du dricker eller lagar mat med.",
            "Vatten delas ut vid Stortorget kl. 15 i dag.",
        ];
        let card = draw(&words("ÖVNING: Koka vattnet i Nässjö tätort", &body), LOOK, FONT).unwrap();
        assert_eq!(card.shown.len(), 5, "{:?}", card.shown);
        assert!(card.jpeg.starts_with(&[0xff, 0xd8]) && card.jpeg.len() < 1_000_000);
        assert!(margin_is_empty(&card.jpeg));
        if let Ok(folder) = std::env::var("VARDKASE_CARDS") {
            std::fs::write(format!("{folder}/card.jpg"), &card.jpeg).unwrap();
        }
    }

    #[test]
    fn what_finds_no_room_is_said_to_stand_below_the_picture() {
        let paragraph = "Vattnet ska koka så att det bubblar. ".repeat(6);
        let body = [paragraph.as_str(); 9];
        let card = draw(&words("Koka vattnet", &body), LOOK, FONT).unwrap();
        assert!(
            card.shown.len() < 9 && card.shown.len() > 4,
            "{:?}",
            card.shown.len()
        );
        assert_eq!(card.shown[card.shown.len() - 3], "Hela texten står under bilden.");
        assert!(margin_is_empty(&card.jpeg));
        if let Ok(folder) = std::env::var("VARDKASE_CARDS") {
            std::fs::write(format!("{folder}/full.jpg"), &card.jpeg).unwrap();
        }
    }

    #[test]
    fn a_picture_of_any_shape_becomes_one_that_is_taken() {
        for (width, height) in [
            (2000, 200),
            (200, 2000),
            (100, 100),
            (1080, 1350),
            (1910, 1000),
            (1, 1),
            (3000, 2999),
        ] {
            let mut png = Vec::new();
            RgbImage::from_pixel(width, height, Rgb([200, 30, 30]))
                .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
                .unwrap();
            let picture = Picture {
                bytes: png,
                media_type: "image/png",
                width,
                height,
                alt: "x".to_owned(),
            };
            let jpeg = shaped(&picture, LOOK.background).unwrap();
            let read = image::load_from_memory_with_format(&jpeg, image::ImageFormat::Jpeg).unwrap();
            let (wide, tall) = (read.width(), read.height());
            let shape = f64::from(wide) / f64::from(tall);
            assert!(
                (0.8..=1.91).contains(&shape),
                "{width}×{height} became {wide}×{tall}"
            );
            assert!(
                (320..=1440).contains(&wide),
                "{width}×{height} became {wide}×{tall}"
            );
            assert!(is_shaped(wide, tall));
            // Once is enough.
            let again = Picture {
                bytes: jpeg.clone(),
                media_type: "image/jpeg",
                width: wide,
                height: tall,
                alt: "x".to_owned(),
            };
            assert_eq!(shaped(&again, LOOK.background).unwrap(), jpeg);
        }
        let no_picture = Picture {
            bytes: b"GIF89a".to_vec(),
            media_type: "image/png",
            width: 1,
            height: 1,
            alt: "x".to_owned(),
        };
        assert!(shaped(&no_picture, LOOK.background).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_text_always_fits(
            headline in "[A-ZÅÄÖa-zåäö0-9 ]{1,200}",
            body in prop::collection::vec("[A-ZÅÄÖa-zåäö .\u{1F6B0}]{0,900}", 0..6),
        ) {
            let body: Vec<&str> = body.iter().map(String::as_str).collect();
            let card = draw(&words(&headline, &body), LOOK, FONT).unwrap();
            prop_assert_eq!(&card.shown[0], &headline);
            prop_assert!(margin_is_empty(&card.jpeg));
        }
    }
}
