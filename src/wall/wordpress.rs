//! A simulated WordPress site with one user: `docs/channels/wordpress.md` as a program. Stricter than the real one in one
//! point: it refuses parameters that it does not know, where WordPress ignores them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};

use super::guise;
use super::sim::{Call, Simulator, reply};
use crate::clock::Timestamp;
use crate::model::AccountId;

mod show;
mod text;
mod wire;

use show::show_media;
use wire::{Refusal, fields, known_query, refuse};

/// What an editor may.
const CAPABILITIES: &[&str] = &[
    "edit_pages",
    "publish_pages",
    "edit_published_pages",
    "delete_published_pages",
    "upload_files",
    "unfiltered_html",
    "editor",
];
/// The page that stands on every simulated site, as `page` in the shipped configuration names it.
const STANDING: &str = "kris";
const PAGE_FIELDS: &[&str] = &[
    "title",
    "slug",
    "status",
    "content",
    "excerpt",
    "parent",
    "featured_media",
    "date_gmt",
    "template",
    "menu_order",
];
const MEDIA_FIELDS: &[&str] = &["alt_text", "caption", "description", "title", "slug", "post"];
const STATUSES: &[&str] = &["publish", "future", "draft", "pending", "private"];

#[derive(Clone)]
struct Page {
    id: u64,
    slug: String,
    title: String,
    content: String,
    excerpt: String,
    status: String,
    parent: u64,
    featured: u64,
    at: Timestamp,
    modified: Timestamp,
}

struct Upload {
    id: u64,
    slug: String,
    media_type: String,
    bytes: Vec<u8>,
    alt: String,
}

/// The site.
pub struct WordPress {
    account: AccountId,
    name: String,
    username: String,
    password: String,
    pages: Vec<Page>,
    media: Vec<Upload>,
    next: u64,
}

impl WordPress {
    /// A site with nothing but its crisis page. `name` is the user's display name.
    pub fn new(account: &AccountId, name: &str) -> Self {
        let standing = Page {
            id: 2,
            slug: STANDING.to_owned(),
            title: "Krisinformation".to_owned(),
            content: String::new(),
            excerpt: String::new(),
            status: "publish".to_owned(),
            parent: 0,
            featured: 0,
            at: Timestamp::UNIX_EPOCH,
            modified: Timestamp::UNIX_EPOCH,
        };
        // Six groups of four, as the site shows an application password.
        let groups: Vec<String> = (0..6).map(|_| hex::encode(rand::random::<[u8; 2]>())).collect();
        Self {
            account: account.clone(),
            name: name.to_owned(),
            username: format!("redaktor-{}", hex::encode(rand::random::<[u8; 6]>())),
            password: groups.join(" "),
            pages: vec![standing],
            media: Vec::new(),
            next: 10,
        }
    }

    /// The number of a new page or picture.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn is_known(&self, call: &Call<'_>) -> bool {
        let given = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((username, password)) = given.as_deref().and_then(|given| given.split_once(':')) else {
            return false;
        };
        let bare = |text: &str| text.replace(' ', "");
        username == self.username && bare(password) == bare(&self.password)
    }

    fn route(&mut self, call: &mut Call<'_>, route: &[&str]) -> Result<Response<Vec<u8>>, Refusal> {
        // Nobody and a wrong password are told the same, each by what was wanted.
        if !self.is_known(call) || call.guise.revoked {
            let (code, text) = match (call.method, route) {
                (_, ["users", ..]) => ("rest_not_logged_in", "You are not currently logged in."),
                (&Method::GET, _) => (
                    "rest_forbidden_context",
                    "Sorry, you are not allowed to edit posts.",
                ),
                (&Method::DELETE, _) => (
                    "rest_cannot_delete",
                    "Sorry, you are not allowed to delete this post.",
                ),
                (&Method::POST, [_]) => (
                    "rest_cannot_create",
                    "Sorry, you are not allowed to create posts.",
                ),
                _ => (
                    "rest_cannot_edit",
                    "Sorry, you are not allowed to edit this post.",
                ),
            };
            return refuse(401, code, text);
        }
        let change = matches!(*call.method, Method::POST | Method::PUT | Method::PATCH);
        match route {
            ["users", "me"] if call.method == Method::GET => {
                known_query(call, &["context", "_fields"])?;
                Ok(reply(200, &self.me(call)))
            }
            ["pages"] if call.method == Method::GET => self.list(call),
            ["pages"] if call.method == Method::POST => self.create(call),
            ["pages", id] => {
                let id = self.existing(id)?;
                match *call.method {
                    Method::GET => {
                        known_query(call, &["context"])?;
                        let page = self.page(id)?;
                        Ok(reply(200, &self.show(page, call.base)))
                    }
                    Method::DELETE => self.delete(id, call),
                    _ if change => self.update(id, call),
                    _ => refuse(
                        404,
                        "rest_no_route",
                        "No route was found matching the URL and request method.",
                    ),
                }
            }
            ["media"] if call.method == Method::GET => {
                known_query(call, &["slug", "context"])?;
                let slug = call.query("slug");
                let shown = self
                    .media
                    .iter()
                    .filter(|m| slug.is_none_or(|slug| m.slug == slug));
                let shown = shown.map(|media| show_media(media, call.base)).collect();
                Ok(reply(200, &Value::Array(shown)))
            }
            ["media"] if call.method == Method::POST => self.upload(call),
            ["media", id] if change => self.describe(id, call),
            _ => refuse(
                404,
                "rest_no_route",
                "No route was found matching the URL and request method.",
            ),
        }
    }

    fn me(&self, call: &Call<'_>) -> Value {
        let held = call.guise.scopes(CAPABILITIES).into_iter();
        let capabilities: serde_json::Map<String, Value> = held.map(|name| (name, true.into())).collect();
        let me = json!({
            "id": call.guise.id.as_ref().and_then(|id| id.parse().ok()).unwrap_or(7_u64), "username": self.username,
            "name": call.guise.name.as_ref().unwrap_or(&self.name), "slug": self.username,
            "roles": [call.guise.role.as_deref().unwrap_or("editor")], "capabilities": capabilities,
        });
        match call.query("_fields") {
            None => me,
            Some(fields) => {
                let wanted = fields
                    .split(',')
                    .filter_map(|f| Some((f.to_owned(), me.get(f)?.clone())));
                Value::Object(wanted.collect())
            }
        }
    }

    fn existing(&self, id: &str) -> Result<u64, Refusal> {
        let id = id.parse().unwrap_or(0);
        self.page(id).map(|page| page.id)
    }

    fn page(&self, id: u64) -> Result<&Page, Refusal> {
        match self.pages.iter().find(|page| page.id == id) {
            Some(page) => Ok(page),
            None => refuse(404, "rest_post_invalid_id", "Invalid post ID."),
        }
    }

    fn list(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        known_query(
            call,
            &["slug", "status", "context", "per_page", "page", "_fields"],
        )?;
        let number = |name: &str, default: usize| match call.query(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(n) if (1..=100).contains(&n) => Ok(n),
                _ => Err(Refusal::parameter(name)),
            },
        };
        let (per_page, page) = (number("per_page", 10)?, number("page", 1)?);
        let status = call.query("status").unwrap_or("publish");
        if status != "any" && !STATUSES.contains(&status) && status != "trash" {
            return Err(Refusal::parameter("status"));
        }
        let fits = |page: &&Page| match status {
            "any" => page.status != "trash",
            status => page.status == status,
        };
        let all: Vec<&Page> = self
            .pages
            .iter()
            .rev()
            .filter(fits)
            .filter(|page| {
                call.query("slug")
                    .is_none_or(|slug| slug.split(',').any(|s| s == page.slug))
            })
            .collect();
        if page > 1 && (page - 1) * per_page >= all.len() {
            let text = "The page number requested is larger than the number of pages available.";
            return refuse(400, "rest_post_invalid_page_number", text);
        }
        let shown = all.iter().skip((page - 1) * per_page).take(per_page);
        let own = shown.map(|page| self.show(page, call.base));
        // What others made is only on the first page, and has no short name of ours.
        let is_list = page == 1 && call.query("slug").is_none();
        let others = call.guise.others.iter().filter(|_| is_list).map(|other| {
            json!({
                "id": other.id.parse::<u64>().unwrap_or_default(), "slug": format!("sida-{}", other.id), "status": "publish",
                "date_gmt": other.at.strftime("%Y-%m-%dT%H:%M:%S").to_string(), "author": 99,
                "modified_gmt": other.at.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                "content": {"raw": other.text, "rendered": other.text},
            })
        });
        let shown = others.chain(own).collect();
        Ok(reply(200, &Value::Array(shown)))
    }

    fn create(&mut self, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let fields = fields(call, PAGE_FIELDS)?;
        let mut page = Page {
            id: 0,
            slug: String::new(),
            title: String::new(),
            content: String::new(),
            excerpt: String::new(),
            // `{}` is taken too: an empty draft.
            status: "draft".to_owned(),
            parent: 0,
            featured: 0,
            at: call.now,
            modified: call.now,
        };
        self.fill(&mut page, &fields)?;
        page.id = self.number();
        if page.slug.is_empty() {
            page.slug = text::slug(&page.title);
        }
        page.slug = self.free_slug(&page);
        self.book(&page, call);
        let mut answer = reply(201, &self.show(&page, call.base));
        let location = format!("{}/wp-json/wp/v2/pages/{}", call.base, page.id);
        if let Ok(location) = HeaderValue::from_str(&location) {
            answer.headers_mut().insert("location", location);
        }
        self.pages.push(page);
        Ok(answer)
    }

    fn update(&mut self, id: u64, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let fields = fields(call, PAGE_FIELDS)?;
        let mut page = self.page(id)?.clone();
        let before = page.slug.clone();
        self.fill(&mut page, &fields)?;
        page.modified = call.now;
        if page.slug != before {
            page.slug = self.free_slug(&page);
        }
        self.book(&page, call);
        let answer = reply(200, &self.show(&page, call.base));
        for old in self.pages.iter_mut().filter(|old| old.id == id) {
            old.clone_from(&page);
        }
        Ok(answer)
    }

    /// Writes the fields of a request into a page, or refuses them.
    fn fill(&self, page: &mut Page, fields: &serde_json::Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in fields {
            let raw = value.get("raw").unwrap_or(value);
            let text = || {
                raw.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| Refusal::parameter(name))
            };
            let number = || value.as_u64().ok_or_else(|| Refusal::parameter(name));
            match name.as_str() {
                "title" => page.title = text()?,
                "content" => page.content = text()?,
                "excerpt" => page.excerpt = text()?,
                "slug" => page.slug = text::slug(&text()?),
                "status" => {
                    page.status = text()?;
                    if !STATUSES.contains(&page.status.as_str()) {
                        return Err(Refusal::parameter("status"));
                    }
                }
                "parent" => {
                    page.parent = number()?;
                    if page.parent != 0 && self.page(page.parent).is_err() {
                        return refuse(400, "rest_post_invalid_id", "Invalid post parent ID.");
                    }
                }
                "featured_media" => {
                    page.featured = number()?;
                    if page.featured != 0 && !self.media.iter().any(|media| media.id == page.featured) {
                        return refuse(400, "rest_invalid_featured_media", "Invalid featured media ID.");
                    }
                }
                _ => drop(text().or_else(|_| number().map(|n| n.to_string()))?),
            }
        }
        Ok(())
    }

    /// The short name, with a number behind it if the tree has another page of that name.
    fn free_slug(&self, page: &Page) -> String {
        let taken = |slug: &str| {
            let among_pages = self
                .pages
                .iter()
                .any(|other| other.id != page.id && other.parent == page.parent && other.slug == slug);
            among_pages || self.media.iter().any(|media| media.slug == slug)
        };
        let numbered = (2..).map(|n| format!("{}-{n}", page.slug));
        std::iter::once(page.slug.clone())
            .chain(numbered)
            .find(|slug| !taken(slug))
            .unwrap_or_default()
    }

    fn delete(&mut self, id: u64, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        known_query(call, &["force"])?;
        let mut page = self.page(id)?.clone();
        let force = call
            .query("force")
            .is_some_and(|force| matches!(force, "true" | "1"));
        let remote_id = id.to_string();
        let booked = call.book.posts.iter_mut().chain(&mut call.book.backstage);
        let gone = booked.filter(|posted| posted.remote_id == remote_id);
        if force {
            gone.for_each(|posted| posted.deleted_at = Some(call.now));
            let previous = self.show(&page, call.base);
            self.pages.retain(|page| page.id != id);
            return Ok(reply(200, &json!({"deleted": true, "previous": previous})));
        }
        if page.status == "trash" {
            return refuse(410, "rest_already_trashed", "The post has already been deleted.");
        }
        gone.for_each(|posted| posted.deleted_at = Some(call.now));
        "trash".clone_into(&mut page.status);
        page.slug.push_str("__trashed");
        let answer = reply(200, &self.show(&page, call.base));
        for old in self.pages.iter_mut().filter(|old| old.id == id) {
            old.clone_from(&page);
        }
        Ok(answer)
    }

    fn upload(&mut self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let name = call
            .header("content-disposition")
            .and_then(|value| value.split_once("filename=\""))
            .and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        let Some(name) = name else {
            return refuse(
                400,
                "rest_upload_no_content_disposition",
                "No Content-Disposition supplied.",
            );
        };
        let media_type = call.header("content-type").unwrap_or_default().to_owned();
        let fits = match media_type.as_str() {
            "image/jpeg" => call.body.starts_with(&[0xff, 0xd8]),
            "image/png" => call.body.starts_with(b"\x89PNG"),
            _ => false,
        };
        if call.body.is_empty() {
            return refuse(400, "rest_upload_no_data", "No data supplied.");
        }
        if !fits {
            let text = "Sorry, you are not allowed to upload this file type.";
            return refuse(500, "rest_upload_sideload_error", text);
        }
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let media = Upload {
            id: self.number(),
            slug: text::slug(stem),
            media_type,
            bytes: call.body.to_vec(),
            alt: String::new(),
        };
        let answer = reply(201, &show_media(&media, call.base));
        self.media.push(media);
        Ok(answer)
    }

    fn describe(&mut self, id: &str, call: &Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let fields = fields(call, MEDIA_FIELDS)?;
        let id: u64 = id.parse().unwrap_or(0);
        let Some(media) = self.media.iter_mut().find(|media| media.id == id) else {
            return refuse(404, "rest_post_invalid_id", "Invalid post ID.");
        };
        if let Some(alt) = fields.get("alt_text") {
            let alt = alt.as_str().ok_or_else(|| Refusal::parameter("alt_text"))?;
            alt.clone_into(&mut media.alt);
        }
        Ok(reply(200, &show_media(media, call.base)))
    }
}

impl Simulator for WordPress {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![
            ("username".to_owned(), self.username.clone()),
            ("password".to_owned(), self.password.clone()),
        ]
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        // Plain permalinks have the API behind a parameter.
        let plain = call.query("rest_route").map(str::to_owned);
        let path = match (&plain, call.path) {
            (Some(route), "/") => format!("/wp-json{route}"),
            (_, path) => path.to_owned(),
        };
        if let Some(route) = path.strip_prefix("/wp-json/wp/v2/") {
            let route: Vec<&str> = route.split('/').collect();
            call.query.retain(|(name, _)| name != "rest_route");
            return self.route(&mut call, &route).unwrap_or_else(Refusal::answer);
        }
        if matches!(path.as_str(), "/wp-json" | "/wp-json/") && call.method == Method::GET {
            call.query.retain(|(name, _)| name != "rest_route");
            if let Err(refusal) = known_query(&call, &["_fields"]) {
                return refusal.answer();
            }
            return reply(
                200,
                &json!({
                    "name": call.guise.name.as_deref().unwrap_or("Nässjö kommun"), "description": call.guise.about(300),
                    "url": call.base, "site_icon_url": format!("{}{}", call.base, guise::AVATAR),
                }),
            );
        }
        if path.starts_with("/wp-json") {
            let text = "No route was found matching the URL and request method.";
            return Refusal(404, "rest_no_route", text.to_owned()).answer();
        }
        self.public(&path)
    }
}
