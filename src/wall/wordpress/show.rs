//! What the site shows: to the API, to the public, and on the wall.

use http::{HeaderValue, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::wire::html;
use super::{Page, Upload, WordPress, text};
use crate::clock::Timestamp;
use crate::model::Mode;
use crate::wall::sim::Call;
use crate::wall::{Posted, ShownPicture};

pub(super) fn show_media(media: &Upload, base: &str) -> Value {
    json!({
        "id": media.id, "slug": media.slug, "status": "inherit", "type": "attachment", "alt_text": media.alt,
        "media_type": "image", "mime_type": media.media_type,
        "source_url": format!("{base}/wp-content/uploads/{}", media.slug),
    })
}

impl WordPress {
    /// Writes a page that the public sees into the ledger.
    pub(super) fn book(&self, page: &Page, call: &mut Call<'_>) {
        let remote_id = page.id.to_string();
        let text = format!("{}\n\n{}", text::plain(&page.title), text::plain(&page.content));
        let pictures: Vec<ShownPicture> = self
            .media
            .iter()
            .filter(|media| media.id == page.featured)
            .map(|media| ShownPicture {
                alt: media.alt.clone(),
                media_type: media.media_type.clone(),
                digest: hex::encode(Sha256::digest(&media.bytes)),
                bytes: media.bytes.clone(),
            })
            .collect();
        let links = text::links(&page.content);
        let known = call
            .book
            .posts
            .iter_mut()
            .find(|posted| posted.remote_id == remote_id);
        match known {
            Some(posted) => {
                posted.edited_at = Some(call.now);
                posted.deleted_at = (page.status != "publish").then_some(call.now);
                posted.subject = Some(text::plain(&page.title));
                (posted.text, posted.links, posted.pictures) = (text, links, pictures);
            }
            None if page.status == "publish" => {
                let parent = page.parent.to_string();
                let answers = call.book.posts.iter().any(|posted| posted.remote_id == parent);
                call.book.posts.push(Posted {
                    account: self.account.clone(),
                    mode: Mode::Live,
                    remote_id,
                    text,
                    links,
                    key: None,
                    in_reply_to: answers.then_some(parent),
                    recipient: None,
                    subject: Some(text::plain(&page.title)),
                    at: call.now,
                    deleted_at: None,
                    edited_at: None,
                    pinned: false,
                    pictures,
                    shown: std::collections::BTreeMap::from([("address".to_owned(), self.path(page))]),
                });
            }
            // Only those who write on the site see it.
            None => {
                let known = call
                    .book
                    .backstage
                    .iter_mut()
                    .find(|posted| posted.remote_id == remote_id);
                let draft = Posted {
                    account: self.account.clone(),
                    mode: Mode::Live,
                    remote_id,
                    text,
                    links,
                    key: None,
                    in_reply_to: None,
                    recipient: None,
                    subject: Some(text::plain(&page.title)),
                    at: call.now,
                    deleted_at: None,
                    edited_at: None,
                    pinned: false,
                    pictures,
                    shown: std::collections::BTreeMap::new(),
                };
                match known {
                    Some(posted) => *posted = draft,
                    None => call.book.backstage.push(draft),
                }
            }
        }
    }

    /// Where the public finds a page: `/kris/2026-0007-1-…/`.
    pub(super) fn path(&self, page: &Page) -> String {
        let mut path = format!("/{}/", page.slug);
        let mut parent = page.parent;
        // As deep as pages can stand here; a ring cannot be made.
        for _ in 0..self.pages.len() {
            let Ok(above) = self.page(parent) else { break };
            path = format!("/{}{path}", above.slug);
            parent = above.parent;
        }
        path
    }

    pub(super) fn show(&self, page: &Page, base: &str) -> Value {
        let gmt = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        json!({
            "id": page.id, "type": "page", "slug": page.slug, "status": page.status, "parent": page.parent,
            "date": gmt(page.at), "date_gmt": gmt(page.at), "modified": gmt(page.modified),
            "modified_gmt": gmt(page.modified),
            "link": format!("{base}{}", self.path(page)),
            "title": {"raw": page.title, "rendered": page.title},
            "content": {"raw": page.content, "rendered": page.content, "protected": false},
            "excerpt": {"raw": page.excerpt, "rendered": format!("<p>{}</p>", page.excerpt), "protected": false},
            "author": 7, "featured_media": page.featured, "menu_order": 0, "template": "", "meta": [],
        })
    }

    /// What anybody sees at an address of the site.
    pub(super) fn public(&self, path: &str) -> Response<Vec<u8>> {
        let slashed = format!("{}/", path.trim_end_matches('/'));
        let page = self
            .pages
            .iter()
            .find(|page| page.status == "publish" && self.path(page) == slashed);
        let Some(page) = page else {
            return html(404, "<h1>Sidan kan inte hittas.</h1>");
        };
        if slashed != path {
            let mut answer = html(301, "");
            let last = page.slug.clone() + "/";
            if let Ok(to) = HeaderValue::from_str(&last) {
                answer.headers_mut().insert("location", to);
            }
            return answer;
        }
        let picture = self.media.iter().find(|media| media.id == page.featured);
        let picture = picture.map(|media| format!("<img src=\"\" alt=\"{}\">", text::quoted(&media.alt)));
        html(
            200,
            &format!(
                "<!doctype html>\n<html lang=\"sv\"><title>{0}</title><main><h1>{0}</h1>{1}\n{2}</main></html>",
                page.title,
                picture.unwrap_or_default(),
                page.content
            ),
        )
    }
}
