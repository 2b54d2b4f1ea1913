//! What the site is: whose user we are and what it may, how readers find it, and what it can where they do not look.

use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::page::{self, Found, brief, no_sense};
use super::{Account, content, verdict};
use crate::channel::backstage::{ended, shown};
use crate::channel::mastodon::html;
use crate::channel::portrait;
use crate::channel::transport::{Effect, below};
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::clock::Timestamp;
use crate::model::{Post, Reason, SendError};

/// Without these nothing is published, changed or taken away.
const VITAL: [&str; 3] = ["publish_pages", "edit_published_pages", "delete_published_pages"];
/// What else our work needs.
const NEEDS: &[&[&str]] = &[
    &["publish_pages"],
    &["edit_published_pages"],
    &["delete_published_pages"],
    &["upload_files"],
];
const LOST: &[(&str, &str)] = &[("upload_files", "pages stand without their pictures")];
/// What an administrator may and an editor may not: with it somebody could take the whole site.
const TOO_MUCH: &[&str] = &[
    "manage_options",
    "activate_plugins",
    "install_plugins",
    "edit_plugins",
    "edit_themes",
    "create_users",
    "edit_users",
    "promote_users",
    "update_core",
];
const PLACE: &str = "as a draft";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let fields = [("context", "edit"), ("_fields", "id,name,roles,capabilities")];
        let me = self.get(&["users", "me"], &fields).await?;
        let name = me["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the user has no name"))?;
        for needed in VITAL {
            if me["capabilities"][needed] != true {
                let text = format!("the user may not {needed}; give it the role Editor (redaktör)");
                return Err(SendError::Refused(Reason::new("role", text)));
            }
        }
        let capabilities = me["capabilities"].as_object().into_iter().flatten();
        let held = capabilities
            .filter(|(_, value)| **value == true)
            .map(|(name, _)| brief(name));
        let mut rights = Rights::compare(held.take(300), NEEDS, &[]);
        rights.surplus.retain(|right| TOO_MUCH.contains(&right.as_str()));
        let roles = me["roles"].as_array().into_iter().flatten();
        let roles: Vec<&str> = roles.filter_map(Value::as_str).collect();
        if let Some(page) = &self.settings.page
            && self.by_slug(page).await?.is_none()
        {
            let text = format!("there is no page named {page}; make it, or correct page in config.toml");
            return Err(SendError::Refused(Reason::new("page", text)));
        }
        Ok(Identity {
            name: brief(name),
            id: me["id"].as_u64().map(|id| id.to_string()),
            flaws: portrait::missing(&rights, LOST).collect(),
            rights: Some(rights),
            facts: portrait::facts([
                ("roles", Some(roles.join(" "))),
                ("page", self.settings.page.clone()),
            ]),
            ..Identity::default()
        })
    }

    /// What the site says of itself to anybody.
    async fn about(&self) -> Result<Value, SendError> {
        let site = &self.settings.site;
        let mut url = if self.settings.plain_addresses {
            let mut url = below(site, [""]);
            url.query_pairs_mut().append_pair("rest_route", "/");
            url
        } else {
            below(site, ["wp-json", ""])
        };
        url.query_pairs_mut()
            .append_pair("_fields", "name,description,url,site_icon_url");
        let answer = self
            .http
            .send(self.http.request(Method::GET, url), Effect::Reads)
            .await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        answer.json().ok_or_else(|| no_sense("it is not JSON"))
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let about = self.about().await?;
        let latest = [
            ("status", "publish"),
            ("context", "edit"),
            ("per_page", "10"),
            ("_fields", "id,date_gmt,author"),
        ];
        let pages = self.get(&["pages"], &latest).await?;
        let pages = pages.as_array().ok_or_else(|| no_sense("no list of pages"))?;
        let latest = pages.iter().filter_map(|page| {
            let id = page["id"].as_u64().map(|id| id.to_string());
            let by = page["author"].as_u64().map(|author| format!("user {author}"));
            portrait::latest(id.as_deref(), moment(&page["date_gmt"]), by.as_deref())
        });
        let mut words = String::new();
        if let Some(slug) = &self.settings.page {
            let query = [("slug", slug.as_str()), ("status", "any"), ("context", "edit")];
            let found = self.get(&["pages"], &query).await?;
            words = html::text(found[0]["content"]["rendered"].as_str().unwrap_or_default());
        }
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        let said = [text("description"), words.as_str()];
        Ok(Profile {
            name: brief(text("name")),
            texts: portrait::texts(said),
            links: portrait::links(
                std::iter::once(text("url")).chain(said.into_iter().flat_map(portrait::links_in)),
            ),
            picture: portrait::picture(&self.http, &self.settings.site, about["site_icon_url"].as_str())
                .await,
            latest: portrait::newest(latest),
            ..Profile::default()
        })
    }

    /// A draft, which only those who write on the site see; then destroyed, not put into the trash.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let mut body = content(post);
        body["status"] = "draft".into();
        body["slug"] = format!("prov-{}", page::slug(post)).into();
        let made = self.write(&["pages"], &body).await?;
        let id = made.id.to_string();
        let read = self.get(&["pages", &id], &[("context", "edit")]).await;
        let is_public = made.is_public() || matches!(&read, Ok(page) if page["status"] == "publish");
        let read = read.map(|page| {
            let raw = page["content"]["raw"].as_str().unwrap_or_default();
            let words = body["content"].as_str().unwrap_or_default();
            page["status"] == "draft" && html::normal(&html::text(raw)) == html::normal(&html::text(words))
        });
        let gone = self.destroy(&made).await;
        if is_public {
            return Err(shown(PLACE, &id, gone));
        }
        ended(PLACE, &id, read, gone)
    }

    async fn destroy(&self, page: &Found) -> Result<(), SendError> {
        let url: Url = self.api(&["pages", &page.id.to_string()], &[("force", "true")]);
        let answer = self
            .send(self.http.request(Method::DELETE, url), Effect::Reads)
            .await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            _ => Err(verdict::of_read(&answer)),
        }
    }
}

/// A time as the site gives it: in UTC, without saying so.
fn moment(value: &Value) -> Option<Timestamp> {
    format!("{}Z", value.as_str()?).parse().ok()
}
