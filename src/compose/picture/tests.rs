//! A picture with everything in it that must not get out.

use image::{Rgba, RgbaImage};

use super::*;

const RULE: PictureRule = PictureRule {
    media_types: &[JPEG, PNG],
    max_bytes: 8_000_000,
    max_edge: 1920,
    max_alt: 1500,
    required: false,
};

/// Left half red, right half blue.
fn halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    })
}

/// An EXIF block with an orientation, a camera's name and a position.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [
            &tag.to_le_bytes()[..],
            &kind.to_le_bytes(),
            &count.to_le_bytes(),
            &value,
        ]
        .concat()
    };
    // Three entries, then the position's own directory, then the camera.
    let (gps, camera) = (8 + 2 + 3 * 12 + 4, 8 + 2 + 3 * 12 + 4 + 2 + 12 + 4);
    tiff.extend(3u16.to_le_bytes());
    tiff.extend(entry(0x010f, 2, 12, u32::try_from(camera).unwrap().to_le_bytes()));
    tiff.extend(entry(0x0112, 3, 1, [orientation, 0, 0, 0]));
    tiff.extend(entry(0x8825, 4, 1, u32::try_from(gps).unwrap().to_le_bytes()));
    tiff.extend(0u32.to_le_bytes());
    tiff.extend(1u16.to_le_bytes());
    tiff.extend(entry(1, 2, 2, *b"N\0\0\0"));
    tiff.extend(0u32.to_le_bytes());
    tiff.extend(b"KAMERA-5765\0");
    tiff
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker][..], &length, content].concat()
}

/// A JPEG as a phone makes it: turned, with its place, an XMP packet, a comment and a colour profile.
fn phone_jpeg(orientation: u8) -> Vec<u8> {
    let plain = jpeg(&halves(120, 60), 90).unwrap();
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut bytes = plain[..2].to_vec();
    bytes.extend(segment(0xe1, &[b"Exif\0\0", &exif(orientation)[..]].concat()));
    bytes.extend(segment(
        0xe1,
        b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>GPSLatitude=57,39.2N</x:xmpmeta>",
    ));
    bytes.extend(segment(0xe2, &[b"ICC_PROFILE\0\x01\x01", &profile[..]].concat()));
    bytes.extend(segment(0xed, b"Photoshop 3.0\0IPTC-HEMLIG"));
    bytes.extend(segment(0xfe, b"tagen av Kalle Karlsson"));
    bytes.extend(&plain[2..]);
    bytes
}

fn chunk(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(&kind);
    crc.update(content);
    [
        &u32::try_from(content.len()).unwrap().to_be_bytes()[..],
        &kind,
        content,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

/// A PNG with text chunks and a position.
fn told_png() -> Vec<u8> {
    let plain = png(&DynamicImage::ImageRgb8(halves(40, 20))).unwrap();
    let header = 8 + 12 + 13;
    let mut bytes = plain[..header].to_vec();
    bytes.extend(chunk(*b"eXIf", &exif(1)));
    bytes.extend(chunk(*b"tEXt", b"Author\0Kalle Karlsson"));
    bytes.extend(chunk(*b"tIME", &[0x07, 0xea, 11, 24, 3, 0, 0]));
    bytes.extend(&plain[header..]);
    bytes
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// The colour that a pixel of it has, more or less.
fn colour(bytes: &[u8], x: u32, y: u32) -> &'static str {
    let pixel = image::load_from_memory(bytes)
        .unwrap()
        .to_rgb8()
        .get_pixel(x, y)
        .0;
    match pixel {
        [red, _, blue] if red > 150 && blue < 100 => "red",
        [red, _, blue] if blue > 150 && red < 100 => "blue",
        _ => "other",
    }
}

#[test]
fn where_and_by_whom_a_picture_was_taken_does_not_get_out() {
    for (given, what) in [(phone_jpeg(1), "jpeg"), (told_png(), "png")] {
        let secrets: [&[u8]; 9] = [
            b"Exif",
            b"KAMERA-5765",
            b"GPS",
            b"xmpmeta",
            b"ICC_PROFILE",
            b"IPTC",
            b"Kalle",
            b"eXIf",
            b"tIME",
        ];
        assert!(
            secrets.iter().any(|secret| holds(&given, secret)),
            "the test's own picture holds nothing"
        );
        let original = Original::read(&given, "Två fält").unwrap();
        for rule in [
            RULE,
            PictureRule {
                media_types: &[JPEG],
                ..RULE
            },
            PictureRule {
                max_edge: 100,
                ..RULE
            },
        ] {
            let picture = original.fit(&rule).unwrap();
            for secret in secrets {
                assert!(
                    !holds(&picture.bytes, secret),
                    "{what}: {}",
                    String::from_utf8_lossy(secret)
                );
            }
            let (_, mut anew) = decoder(&picture.bytes).unwrap();
            assert_eq!(anew.exif_metadata().unwrap(), None);
            assert_eq!(anew.xmp_metadata().unwrap(), None);
            assert_eq!(anew.icc_profile().unwrap(), None);
        }
    }
}

#[test]
fn a_picture_stands_upright_before_its_orientation_is_forgotten() {
    // Orientation 6: the camera was turned; what is left in the file is at the top to those who look.
    let upright = Original::read(&phone_jpeg(6), "x").unwrap().fit(&RULE).unwrap();
    assert_eq!((upright.width, upright.height), (60, 120));
    assert_eq!(
        (colour(&upright.bytes, 30, 10), colour(&upright.bytes, 30, 110)),
        ("red", "blue")
    );
    let turned = Original::read(&phone_jpeg(3), "x").unwrap().fit(&RULE).unwrap();
    assert_eq!((turned.width, turned.height), (120, 60));
    assert_eq!(
        (colour(&turned.bytes, 10, 30), colour(&turned.bytes, 110, 30)),
        ("blue", "red")
    );
}

#[test]
fn colours_of_another_space_are_turned_into_those_of_a_screen() {
    let with_profile = Original::read(&phone_jpeg(1), "x").unwrap();
    let plain = Original::read(&jpeg(&halves(120, 60), 90).unwrap(), "x").unwrap();
    let red = |original: &Original| original.image.to_rgb8().get_pixel(20, 30).0[0];
    assert!(
        red(&with_profile) > red(&plain),
        "{} {}",
        red(&with_profile),
        red(&plain)
    );
}

#[test]
fn a_file_that_unpacks_to_more_than_anybody_needs_is_refused_unread() {
    // A PNG header that promises 60,000 × 60,000 pixels, and one just over the number of pixels.
    for (width, height) in [(60_000u32, 60_000u32), (19_000, 19_000), (8_000, 6_251)] {
        let mut about = [width.to_be_bytes(), height.to_be_bytes()].concat();
        about.extend([8, 2, 0, 0, 0]);
        let mut bomb = b"\x89PNG\r\n\x1a\n".to_vec();
        bomb.extend(chunk(*b"IHDR", &about));
        bomb.extend(chunk(*b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]));
        bomb.extend(chunk(*b"IEND", &[]));
        assert!(bomb.len() < 200);
        let wrong = Original::read(&bomb, "x").unwrap_err();
        assert!(
            wrong.contains("too large") || wrong.contains("million"),
            "{wrong}"
        );
        assert_eq!(header(&bomb).unwrap_err(), wrong);
    }
    let wrong = Original::read(&vec![0; MAX_FILE + 1], "x").unwrap_err();
    assert!(wrong.contains("10.0 MB"), "{wrong}");
}

#[test]
fn what_is_no_picture_is_refused_with_what_to_do() {
    let whole = phone_jpeg(1);
    for (bytes, word) in [
        (&b"GIF89a\x01\0\x01\0\0\0\0"[..], "neither a JPEG nor a PNG"),
        (b"%PDF-1.7", "neither a JPEG nor a PNG"),
        (b"", "neither a JPEG nor a PNG"),
        (&told_png()[..40], "damaged"),
        (&whole[..30], "damaged"),
    ] {
        let wrong = Original::read(bytes, "x").unwrap_err();
        assert!(wrong.contains(word), "{wrong}");
    }
}

#[test]
fn a_picture_without_a_description_is_refused() {
    for (alt, word) in [
        ("", "needs a description"),
        (" \n ", "needs a description"),
        ("ett\u{7}två", "control characters"),
    ] {
        let wrong = Original::read(&told_png(), alt).unwrap_err();
        assert!(wrong.contains(word), "{wrong}");
    }
    assert!(
        Original::read(&told_png(), &"å".repeat(2001))
            .unwrap_err()
            .contains("2001 characters")
    );
    assert_eq!(
        Original::read(&told_png(), "  Karta över Forserum \n")
            .unwrap()
            .alt(),
        "Karta över Forserum"
    );
}

/// Pixels that no encoder can press together.
fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [a, b, c, _] = state.to_be_bytes();
        Rgb([a, b, c])
    })
}

#[test]
fn each_rule_is_kept() {
    let heavy = Original::read(&png(&DynamicImage::ImageRgb8(noise(400, 300))).unwrap(), "x").unwrap();
    let sharp = Original::read(&told_png(), "x").unwrap();
    let photo = Original::read(&phone_jpeg(1), "x").unwrap();
    for (original, rule, kind) in [
        (&sharp, RULE, PNG),
        (&photo, RULE, JPEG),
        (
            &sharp,
            PictureRule {
                media_types: &[JPEG],
                ..RULE
            },
            JPEG,
        ),
        (
            &photo,
            PictureRule {
                media_types: &[PNG],
                ..RULE
            },
            PNG,
        ),
        (
            &heavy,
            PictureRule {
                max_bytes: 60_000,
                ..RULE
            },
            JPEG,
        ),
        (
            &heavy,
            PictureRule {
                max_bytes: 12_000,
                ..RULE
            },
            JPEG,
        ),
        (
            &heavy,
            PictureRule {
                max_bytes: 40_000,
                media_types: &[PNG],
                ..RULE
            },
            PNG,
        ),
        (
            &heavy,
            PictureRule {
                max_edge: 200,
                ..RULE
            },
            PNG,
        ),
    ] {
        let picture = original.fit(&rule).unwrap();
        assert_eq!(picture.media_type, kind, "{rule:?}");
        assert!(picture.bytes.len() <= rule.max_bytes, "{picture:?}");
        assert!(picture.width.max(picture.height) <= rule.max_edge, "{picture:?}");
        let read = image::load_from_memory(&picture.bytes).unwrap();
        assert_eq!((read.width(), read.height()), (picture.width, picture.height));
        // The shape stays.
        let shape = |width: u32, height: u32| f64::from(width) / f64::from(height);
        let whole = shape(original.image.width(), original.image.height());
        assert!(
            (shape(picture.width, picture.height) - whole).abs() < 0.05,
            "{picture:?}"
        );
    }
    assert!(
        heavy
            .fit(&PictureRule {
                max_bytes: 100,
                ..RULE
            })
            .is_err()
    );
}

#[test]
fn what_is_see_through_becomes_white_where_it_cannot_stay_so() {
    let mut glass = RgbaImage::from_pixel(20, 20, Rgba([0, 0, 0, 0]));
    glass.put_pixel(10, 10, Rgba([0, 0, 0, 255]));
    let original = Original::read(&png(&DynamicImage::ImageRgba8(glass)).unwrap(), "x").unwrap();
    let kept = original.fit(&RULE).unwrap();
    assert!(image::load_from_memory(&kept.bytes).unwrap().color().has_alpha());
    let flat = original
        .fit(&PictureRule {
            media_types: &[JPEG],
            ..RULE
        })
        .unwrap();
    let corner = image::load_from_memory(&flat.bytes)
        .unwrap()
        .to_rgb8()
        .get_pixel(0, 0)
        .0;
    assert!(corner.iter().all(|part| *part > 240), "{corner:?}");
}
