//! The lexicon `app.bsky.feed.post` and what it refers to, as far as a post of text, links and a card can use it.
//! Values of `bluesky-social/atproto` at d6296a1 (2026-08-20). Stricter than the server where apps would show nothing:
//! unknown fields, and facets that point past the text or into the middle of a letter.

use serde_json::{Map, Value};
use unicode_segmentation::UnicodeSegmentation;

/// What is wrong with a record, if anything.
pub(super) fn fault(record: &Value) -> Option<String> {
    check(record).err()
}

type Checked = Result<(), String>;

fn check(record: &Value) -> Checked {
    let record = object(record, "record")?;
    let known = [
        "$type",
        "text",
        "createdAt",
        "langs",
        "facets",
        "embed",
        "reply",
        "tags",
        "labels",
    ];
    only(record, &known, "record")?;
    if record.get("$type").and_then(Value::as_str) != Some("app.bsky.feed.post") {
        return Err("the $type must be app.bsky.feed.post".to_owned());
    }
    let text = string(record, "text", "record")?;
    if text.len() > 3000 {
        return Err(format!(
            "string too big (maximum 3000, got {}) at $.record.text",
            text.len()
        ));
    }
    let graphemes = text.graphemes(true).count();
    if graphemes > 300 {
        return Err(format!(
            "grapheme too big (maximum 300, got {graphemes}) at $.record.text"
        ));
    }
    datetime(string(record, "createdAt", "record")?)?;
    let langs = array(record, "langs")?;
    let is_language = |l: &Value| {
        l.as_str().is_some_and(|l| {
            (2..=35).contains(&l.len()) && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
    };
    if langs.len() > 3 || !langs.iter().all(is_language) {
        return Err("at most 3 languages in BCP 47 at $.record.langs".to_owned());
    }
    let tags = array(record, "tags")?;
    if tags.len() > 8 || !tags.iter().all(is_tag) {
        return Err("at most 8 tags of at most 64 letters at $.record.tags".to_owned());
    }
    let mut end = 0;
    for one in array(record, "facets")? {
        end = facet(one, text, end)?;
    }
    if let Some(embed) = record.get("embed") {
        match embed.get("$type").and_then(Value::as_str) {
            Some("app.bsky.embed.images") => images(embed)?,
            Some(_) | None => external(embed)?,
        }
    }
    if let Some(reply) = record.get("reply") {
        let reply = object(reply, "reply")?;
        only(reply, &["root", "parent"], "reply")?;
        for name in ["root", "parent"] {
            strong_reference(reply.get(name), name)?;
        }
    }
    Ok(())
}

/// Checks one facet that starts at `after` or later; returns where it ends.
fn facet(facet: &Value, text: &str, after: usize) -> Result<usize, String> {
    let facet = object(facet, "facet")?;
    only(facet, &["index", "features", "$type"], "facet")?;
    let index = object(facet.get("index").unwrap_or(&Value::Null), "index")?;
    only(index, &["byteStart", "byteEnd"], "index")?;
    let byte = |name| {
        index
            .get(name)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    let (Some(start), Some(end)) = (byte("byteStart"), byte("byteEnd")) else {
        return Err("byteStart and byteEnd are required".to_owned());
    };
    if start < after || start >= end || text.get(start..end).is_none() {
        return Err(format!(
            "the facet {start}..{end} does not lie on the letters of the text"
        ));
    }
    let features = array(facet, "features")?;
    if features.is_empty() {
        return Err("a facet without features".to_owned());
    }
    for feature in features {
        let feature = object(feature, "feature")?;
        match feature.get("$type").and_then(Value::as_str) {
            Some("app.bsky.richtext.facet#link") => {
                only(feature, &["$type", "uri"], "feature")?;
                uri(string(feature, "uri", "feature")?)?;
            }
            Some("app.bsky.richtext.facet#mention") => {
                only(feature, &["$type", "did"], "feature")?;
                if !string(feature, "did", "feature")?.starts_with("did:") {
                    return Err("a mention without a DID".to_owned());
                }
            }
            Some("app.bsky.richtext.facet#tag") => {
                only(feature, &["$type", "tag"], "feature")?;
                if !feature.get("tag").is_some_and(is_tag) {
                    return Err("no tag of at most 64 letters".to_owned());
                }
            }
            Some(other) => return Err(format!("unknown feature {other}")),
            None => return Err("a feature without $type".to_owned()),
        }
    }
    Ok(end)
}

fn external(embed: &Value) -> Checked {
    let embed = object(embed, "embed")?;
    only(embed, &["$type", "external"], "embed")?;
    if embed.get("$type").and_then(Value::as_str) != Some("app.bsky.embed.external") {
        return Err("this practice account takes pictures and link cards only at $.record.embed".to_owned());
    }
    let card = object(embed.get("external").unwrap_or(&Value::Null), "external")?;
    only(
        card,
        &["uri", "title", "description", "thumb", "associatedRefs"],
        "external",
    )?;
    if let Some(thumb) = card.get("thumb") {
        blob(thumb, &["image/"], 1_000_000)?;
    }
    for place in array(card, "associatedRefs")? {
        strong_reference(Some(place), "associatedRefs")?;
    }
    string(card, "title", "external")?;
    string(card, "description", "external")?;
    uri(string(card, "uri", "external")?)
}

fn images(embed: &Value) -> Checked {
    let embed = object(embed, "embed")?;
    only(embed, &["$type", "images"], "embed")?;
    let images = array(embed, "images")?;
    if images.is_empty() || images.len() > 4 {
        return Err("1 to 4 images at $.record.embed.images".to_owned());
    }
    for image in images {
        let image = object(image, "image")?;
        only(image, &["image", "alt", "aspectRatio"], "image")?;
        string(image, "alt", "image")?;
        blob(image.get("image").unwrap_or(&Value::Null), &["image/"], 2_000_000)?;
        if let Some(ratio) = image.get("aspectRatio") {
            let ratio = object(ratio, "aspectRatio")?;
            only(ratio, &["width", "height"], "aspectRatio")?;
            let positive = |name| ratio.get(name).and_then(Value::as_u64).is_some_and(|n| n > 0);
            if !positive("width") || !positive("height") {
                return Err("aspectRatio needs width and height".to_owned());
            }
        }
    }
    Ok(())
}

/// What is wrong with a profile, if anything: `app.bsky.actor.profile`.
pub(super) fn profile_fault(record: &Value) -> Option<String> {
    profile(record).err()
}

fn profile(record: &Value) -> Checked {
    let record = object(record, "record")?;
    let known = [
        "$type",
        "displayName",
        "description",
        "pronouns",
        "website",
        "avatar",
        "banner",
        "labels",
        "joinedViaStarterPack",
        "pinnedPost",
        "createdAt",
    ];
    only(record, &known, "record")?;
    if record.get("$type").and_then(Value::as_str) != Some("app.bsky.actor.profile") {
        return Err("the $type must be app.bsky.actor.profile".to_owned());
    }
    let there = |name: &str| record.contains_key(name);
    for (name, graphemes, bytes) in [
        ("displayName", 64, 640),
        ("description", 256, 2560),
        ("pronouns", 20, 200),
    ] {
        if there(name) {
            let text = string(record, name, "record")?;
            if text.len() > bytes || text.graphemes(true).count() > graphemes {
                return Err(format!("{name} is too long"));
            }
        }
    }
    if there("website") {
        uri(string(record, "website", "record")?)?;
    }
    if there("createdAt") {
        datetime(string(record, "createdAt", "record")?)?;
    }
    for name in ["avatar", "banner"] {
        if let Some(picture) = record.get(name) {
            blob(picture, &["image/png", "image/jpeg"], 1_000_000)?;
        }
    }
    for name in ["pinnedPost", "joinedViaStarterPack"] {
        if let Some(place) = record.get(name) {
            strong_reference(Some(place), name)?;
        }
    }
    Ok(())
}

/// An uploaded file of one of these kinds, each the beginning of a media type.
fn blob(value: &Value, kinds: &[&str], most: u64) -> Checked {
    let blob = object(value, "blob")?;
    only(blob, &["$type", "ref", "mimeType", "size"], "blob")?;
    let media = string(blob, "mimeType", "blob")?;
    if string(blob, "$type", "blob")? != "blob" || !kinds.iter().any(|kind| media.starts_with(kind)) {
        return Err(format!("no blob of {}", kinds.join(" or ")));
    }
    let size = blob.get("size").and_then(Value::as_u64).unwrap_or(u64::MAX);
    if size > most {
        return Err(format!("blob too big (maximum {most}, got {size})"));
    }
    let link = object(blob.get("ref").unwrap_or(&Value::Null), "ref")?;
    only(link, &["$link"], "ref")?;
    string(link, "$link", "ref").map(drop)
}

/// A record's place and version: `com.atproto.repo.strongRef`.
fn strong_reference(value: Option<&Value>, at: &str) -> Checked {
    let place = object(value.unwrap_or(&Value::Null), at)?;
    only(place, &["uri", "cid"], at)?;
    let repo = string(place, "uri", at)?
        .strip_prefix("at://")
        .and_then(|rest| rest.split('/').next());
    let cid = string(place, "cid", at)?;
    let is_cid = (8..=256).contains(&cid.len()) && cid.chars().all(|c| c.is_ascii_alphanumeric());
    if !repo.is_some_and(|repo| repo.contains([':', '.'])) || !is_cid {
        return Err(format!("no strong reference at {at}"));
    }
    Ok(())
}

fn is_tag(value: &Value) -> bool {
    let text = value.as_str();
    text.is_some_and(|text| text.len() <= 640 && text.graphemes(true).count() <= 64)
}

fn datetime(text: &str) -> Checked {
    if text.contains('T') && text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(());
    }
    Err(format!("Invalid datetime {text}"))
}

fn uri(text: &str) -> Checked {
    url::Url::parse(text)
        .map(drop)
        .map_err(|_| format!("Invalid uri {text}"))
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("expected an object: {at}"))
}

fn only(fields: &Map<String, Value>, known: &[&str], at: &str) -> Checked {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown key {name} in {at}")),
        None => Ok(()),
    }
}

fn string<'a>(fields: &'a Map<String, Value>, name: &str, at: &str) -> Result<&'a str, String> {
    let value = fields.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("Missing required key {name} in {at}"))
}

fn array<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match fields.get(name) {
        None => Ok(&[]),
        Some(value) => value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| format!("expected an array: {name}")),
    }
}
