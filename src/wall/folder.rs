//! The simulator of `file`: what lies in an account's folder is what residents can read.

use std::path::Path;

use serde_json::Value;

use super::Posted;
use super::sim::Book;
use super::state::Site;
use crate::clock::Timestamp;
use crate::model::Mode;

/// Files that are looked at, and how much of each.
const FILES_CAP: usize = 1000;
const BYTES_CAP: u64 = 1024 * 1024;

/// Brings the book up to what the folder holds now.
pub(super) fn refresh(site: &Site, book: &mut Book, now: Timestamp) {
    let there = read(&site.folder);
    for (stem, text, key, links) in &there {
        let latest = book.posts.iter_mut().rfind(|p| &p.remote_id == stem);
        match latest {
            Some(posted) if posted.deleted_at.is_none() && &posted.key == key => {
                if &posted.text != text {
                    posted.text.clone_from(text);
                    posted.links.clone_from(links);
                    posted.edited_at = Some(now);
                }
            }
            _ => book.posts.push(Posted {
                account: site.account.clone(),
                mode: Mode::Live,
                remote_id: stem.clone(),
                text: text.clone(),
                links: links.clone(),
                key: key.clone(),
                in_reply_to: None,
                recipient: None,
                subject: None,
                at: now,
                deleted_at: None,
                edited_at: None,
            }),
        }
    }
    for posted in &mut book.posts {
        posted.mode = site.mode;
        let is_there = there
            .iter()
            .any(|(stem, _, key, _)| *stem == posted.remote_id && *key == posted.key);
        if !is_there && posted.deleted_at.is_none() {
            posted.deleted_at = Some(now);
        }
    }
}

type Found = (String, String, Option<String>, Vec<String>);

/// Every whole JSON document in the folder that bears a text: its stem, text, key and link.
fn read(folder: &Path) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<Found> = entries
        .flatten()
        .take(FILES_CAP)
        .filter_map(|entry| {
            let path = entry.path();
            let meta = entry.metadata().ok()?;
            let is_document = path.extension().is_some_and(|e| e == "json") && meta.is_file();
            if !is_document || meta.len() > BYTES_CAP {
                return None;
            }
            let value: Value = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            let text = value.get("text")?.as_str()?.to_owned();
            let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            let stem = path.file_stem()?.to_str()?.to_owned();
            Some((stem, text, field("id"), field("link").into_iter().collect()))
        })
        .collect();
    found.sort();
    found
}
