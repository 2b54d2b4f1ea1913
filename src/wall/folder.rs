//! The simulator of `file`: what lies in an account's folder is what residents can read.
//!
//! The folder is read when the ledger or the page is asked for; what came and went in between is not known.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Posted;
use super::sim::Book;
use super::state::Site;
use crate::clock::Timestamp;

/// Files that are looked at, and how much of each.
const FILES_CAP: usize = 1000;
const BYTES_CAP: u64 = 4 * 1024 * 1024;

/// An alert as the adapter keeps it, as far as residents see it.
#[derive(Deserialize)]
struct Alert {
    revisions: Vec<Revision>,
}

#[derive(Deserialize)]
struct Revision {
    id: String,
    headline: String,
    text: String,
    link: String,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    withdrawn: bool,
}

/// One broadcast that can be read in the folder.
struct Found {
    remote_id: String,
    key: String,
    headline: String,
    text: String,
    links: Vec<String>,
    /// What it stands under: the page as it was then.
    in_reply_to: Option<String>,
}

/// Brings the book up to what the folder holds now.
pub(super) fn refresh(site: &Site, book: &mut Book, now: Timestamp) {
    let found = read(&site.folder);
    for posted in &mut book.posts {
        let is_there = found.iter().any(|f| posted.key.as_ref() == Some(&f.key));
        if !is_there && posted.deleted_at.is_none() {
            posted.deleted_at = Some(now);
        }
    }
    // Newest first in the file, oldest first in the book.
    for found in found.into_iter().rev() {
        let known = book
            .posts
            .iter_mut()
            .rfind(|p| p.key.as_ref() == Some(&found.key) && p.deleted_at.is_none());
        match known {
            Some(posted) if posted.text == found.text => {}
            Some(posted) => {
                posted.text = found.text;
                posted.links = found.links;
                posted.edited_at = Some(now);
            }
            None => book.posts.push(Posted {
                account: site.account.clone(),
                mode: site.mode,
                remote_id: found.remote_id,
                text: found.text,
                links: found.links,
                key: Some(found.key),
                in_reply_to: found.in_reply_to,
                recipient: None,
                subject: Some(found.headline),
                at: now,
                deleted_at: None,
                edited_at: None,
                pinned: false,
                pictures: Vec::new(),
                shown: std::collections::BTreeMap::new(),
            }),
        }
    }
}

/// Every broadcast of every alert in the folder, by file name.
fn read(folder: &Path) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .take(FILES_CAP)
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|m| m.is_file() && m.len() <= BYTES_CAP)
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let stems = |ending: &'static str| names.iter().filter_map(move |n| n.strip_suffix(ending));
    let mut found = Vec::new();
    for stem in stems(".json") {
        found.extend(from_json(folder, stem));
    }
    for stem in stems(".html").filter(|stem| !names.contains(&format!("{stem}.json"))) {
        found.extend(from_html(folder, stem));
    }
    found
}

fn from_json(folder: &Path, stem: &str) -> Vec<Found> {
    let Ok(bytes) = std::fs::read(folder.join(format!("{stem}.json"))) else {
        return Vec::new();
    };
    let Ok(alert) = serde_json::from_slice::<Alert>(&bytes) else {
        return Vec::new();
    };
    let remote_id = std::fs::read(folder.join(format!("{stem}.html")))
        .map_or_else(|_| named(stem, "json", &bytes), |html| named(stem, "html", &html));
    alert
        .revisions
        .into_iter()
        .filter(|revision| !revision.withdrawn)
        .map(|revision| Found {
            remote_id: remote_id.clone(),
            key: revision.id,
            headline: revision.headline,
            text: revision.text,
            links: vec![revision.link],
            in_reply_to: revision.references.last().cloned(),
        })
        .collect()
}

/// A page that stands alone shows one broadcast, the newest.
fn from_html(folder: &Path, stem: &str) -> Option<Found> {
    let bytes = std::fs::read(folder.join(format!("{stem}.html"))).ok()?;
    let html = String::from_utf8(bytes.clone()).ok()?;
    let between = |from: &str, to: &str| {
        let (_, rest) = html.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let text = plain(&between("<main>", "</main>")?);
    Some(Found {
        remote_id: named(stem, "html", &bytes),
        key: between("<meta name=\"vk-revision\" content=\"", "\"")?,
        headline: plain(&between("<h1>", "</h1>")?),
        links: super::page::links(&text),
        text,
        // The page for residents shows one broadcast and names no other.
        in_reply_to: None,
    })
}

/// The file's name and what it holds, as the adapter's receipt says it.
fn named(stem: &str, ending: &str, bytes: &[u8]) -> String {
    format!("{stem}.{ending}#sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The text of a piece of HTML.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for (n, piece) in html.split('<').enumerate() {
        let visible = if n == 0 {
            piece
        } else {
            piece.split_once('>').map_or("", |(_, visible)| visible)
        };
        text.push_str(visible);
    }
    for (entity, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x2f;", "/"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, letter);
    }
    text.trim().to_owned()
}
