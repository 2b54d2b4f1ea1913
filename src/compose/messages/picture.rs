//! The picture of a prepared message: a file beside it, and what it shows in each of the message's languages.

use std::collections::BTreeMap;
use std::io::Read;

use crate::compose::{DefaultPicture, picture};
use crate::config::section::{Section, quoted};
use crate::model::Lang;

/// Reads `picture`, `picture_credit` and `[alt]`. `None` if there is none, or if it is wrong: that is a problem then.
pub(super) fn picture(root: &mut Section<'_>, present: &[Lang]) -> Option<DefaultPicture> {
    const EXPECTED: &str = "the name of a JPEG or PNG beside the message, such as \"koka.png\"";
    let file = root.text("picture", 100, EXPECTED);
    let alt = alt(root, present, file.is_some());
    let expected = "who made the picture and by which right it is used, in one line";
    let credit = root.text("picture_credit", picture::LONGEST_CREDIT, expected);
    if credit.is_some() && file.is_none() {
        root.problem(
            "picture_credit",
            "names the maker of a picture, but the message has none",
        );
    }
    let file = file?;
    let plain = !file.contains(['/', '\\']) && !file.starts_with('.');
    let folder = root.source().file().parent();
    let Some(folder) = folder.filter(|_| plain) else {
        root.problem("picture", format!("found {}, expected {EXPECTED}", quoted(&file)));
        return None;
    };
    match read(&folder.join(&file)) {
        Ok(bytes) => Some(DefaultPicture {
            file,
            bytes: bytes.into(),
            alt: alt?,
            credit,
        }),
        Err(why) => {
            root.problem("picture", format!("{}: {why}", quoted(&file)));
            None
        }
    }
}

fn alt(root: &mut Section<'_>, present: &[Lang], is_needed: bool) -> Option<BTreeMap<Lang, String>> {
    const EXPECTED: &str = "a section [alt] with what the picture shows, in words, for each language";
    if !root.has("alt") {
        if is_needed {
            root.missing("alt", EXPECTED);
        }
        return None;
    }
    let mut section = root.table("alt")?;
    if !is_needed {
        section.problem(
            "",
            "describes a picture, but the message names none; add picture = \"…\"",
        );
    }
    let mut alt = BTreeMap::new();
    for lang in present {
        let words = section.required_text(
            lang.as_str(),
            picture::LONGEST_ALT,
            "what the picture shows, for those who cannot see it",
        );
        alt.extend(words.map(|words| (*lang, words)));
    }
    section.finish();
    Some(alt)
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let opened = std::fs::File::open(file).map_err(cannot)?;
    if !opened.metadata().map_err(cannot)?.is_file() {
        return Err("is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(picture::MAX_FILE).unwrap_or(u64::MAX);
    opened.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    // Unpacked only when it is sent; what it says of itself must be right already.
    picture::header(&bytes)?;
    Ok(bytes)
}
