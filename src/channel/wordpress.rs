//! A page on a WordPress site, through the REST API and an application password.
//!
//! The API knows no idempotency key, but a page has a short name in its address, and ours is made from the delivery's id:
//! it is looked for before anything is made, and found again after an attempt of unknown outcome. What the service says
//! of a failure is never repeated, only its code: some hosts repeat the log-in in it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::html::{escape, paragraphs};
use super::patience::Patience;
use super::shown::below_headline;
use super::transport::{Answer, Effect, Transport, below};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Secrets, Settings,
    Shown, StandingPage, WallSite,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    Kind as Does, PictureRule, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod face;
mod page;
mod picture;
mod public;
mod verdict;

use page::{Found, slug};

/// A page on a WordPress site.
pub static KIND: Kind = Kind {
    id: "wordpress",
    about: "A page on a WordPress site",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: true,
        edit: true,
        retract: true,
        pin: false,
        picture: true,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "username",
                required: true,
                internal: false,
            },
            SecretName {
                name: "password",
                required: true,
                internal: false,
            },
        ];
        SECRETS
    },
    // WordPress itself sets no limit; hosts and their firewalls do, and one broadcast is one page.
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// How long after an attempt its page may take to show: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(15);
/// How long the public may take to see the page, within one attempt.
const DEFAULT_PUBLIC_WAIT: Duration = Duration::from_secs(8);
/// Both on the practice wall, where a page shows at once.
const WALL_WAIT: Duration = Duration::from_secs(2);
/// The step that holds the page's id.
const PAGE_STEP: &str = "page";

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let site = section.address("site", true);
    let page = section.text("page", 200, "the short name of a page, such as \"kris\"");
    if page.as_ref().is_some_and(|page| !page::is_slug(page)) {
        section.problem(
            "page",
            "must be the page's short name as in its address: a–z, 0–9 and \"-\", without slashes",
        );
    }
    let plain_addresses = section
        .optional::<bool>("plain_addresses", "true or false")
        .unwrap_or(false);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    let public_wait = section
        .duration_within("public_wait", Duration::ZERO, Duration::from_mins(1))
        .unwrap_or(DEFAULT_PUBLIC_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(WordPress {
        site: site?,
        page,
        plain_addresses,
        settle_wait,
        public_wait,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct WordPress {
    site: Url,
    /// The page that the alerts' pages stand under.
    page: Option<String>,
    /// Whether the site has "plain" permalinks, so that the API is not at `/wp-json`.
    plain_addresses: bool,
    settle_wait: Duration,
    public_wait: Duration,
}

impl Settings for WordPress {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            site: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_WAIT),
            public_wait: self.public_wait.min(WALL_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("site", self.site.to_string())]
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("title", &rendering.headline),
            Shown::new("text", below_headline(rendering)),
        ]
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PictureRule {
            media_types: &["image/jpeg", "image/png"],
            // What most hosts let PHP take at least (upload_max_filesize, 2 MiB).
            max_bytes: 2_000_000,
            // Larger ones are scaled down by WordPress itself, under another name.
            max_edge: 2560,
            max_alt: 1000,
            required: false,
        })
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("username")?;
        parts.secrets.require("password")?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: WordPress,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let standing = self.standing(post).await?;
        if let Some(found) = standing.as_ref().filter(|found| found.is_public()) {
            // An earlier attempt of ours. What an editor may have changed since is left as it is.
            let notes = without::note(&post.steps, None).into_iter().collect();
            return Ok(self.seen_by_public(found, post, notes).await);
        }
        let mut notes = Vec::new();
        let mut body = content(post);
        body["status"] = "publish".into();
        body["slug"] = slug(post).into();
        match self.parent(post).await? {
            Place::Under(parent) => {
                without::take_back(&post.steps, without::PARENT).await?;
                body["parent"] = parent.into();
            }
            Place::Top => {}
            Place::Lost(page) => {
                let note =
                    format!("there is no page named {page}, so the page stands at the top of the site");
                without::note_down(&post.steps, without::PARENT, &note).await?;
            }
        }
        if let Some(picture) = &post.picture {
            match self.featured(picture, post).await {
                Ok(media) => {
                    without::take_back(&post.steps, without::PICTURE).await?;
                    body["featured_media"] = media.into();
                }
                Err(error) => {
                    let note = picture::left_out(error.reason());
                    without::note_down(&post.steps, without::PICTURE, &note).await?;
                }
            }
        }
        let found = match standing {
            // A draft of the same name: made by us and not finished, or prepared by an editor.
            Some(draft) => self.write(&["pages", &draft.id.to_string()], &body).await?,
            None => self.create(body, post, &mut notes).await?,
        };
        // The page stands, so that whatever goes wrong from here on must not turn it into a failure.
        if let Err(reason) = post.steps.record(PAGE_STEP, &found.id.to_string()).await {
            return Err(SendError::Unknown(reason));
        }
        notes.splice(0..0, without::note(&post.steps, None));
        Ok(self.seen_by_public(&found, post, notes).await)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            match self.standing(&question.post).await {
                Ok(Some(found)) if question.taken.contains(&found.id.to_string()) => {}
                Ok(Some(found)) if found.is_public() => {
                    let note = without::note(&question.post.steps, None);
                    return Ok(Settled::Found(Receipt {
                        note,
                        ..found.receipt()
                    }));
                }
                Ok(Some(_) | None) => {}
                // We may not read: nothing here will ever tell.
                Err(SendError::Refused(reason)) => return Ok(Settled::Unclear(reason)),
                Err(other) => return Err(other),
            }
        }
        patience.absent(question)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        // Into the trash, never `force`: the page is a public record and can be fetched back. Twice is harmless.
        let url = self.api(&["pages", &receipt.remote_id], &[]);
        let answer = self
            .send(self.http.request(Method::DELETE, url), Effect::Reads)
            .await?;
        match answer.status {
            200..=299 | 404 | 410 => Ok(()),
            501 => Err(SendError::Refused(Reason::new(
                "no-trash",
                "the site has no trash (EMPTY_TRASH_DAYS is 0), and a page is never destroyed; set it to draft by hand",
            ))),
            _ => Err(verdict::of_read(&answer)),
        }
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let id = receipt.remote_id.as_str();
        let now = self.one(id).await?;
        let Some(now) = now.filter(|now| now.status != "trash") else {
            return Err(SendError::Refused(Reason::new(
                "gone",
                format!("page {} is not there any more", page::brief(id)),
            )));
        };
        let mut notes = Vec::new();
        if receipt
            .version
            .as_ref()
            .is_some_and(|version| *version != now.modified)
        {
            notes.push(format!(
                "somebody else had changed the page at {}; that is overwritten and lies under Revisions",
                now.modified
            ));
        }
        let mut body = content(post);
        if let Some(picture) = &post.picture {
            match self.featured(picture, post).await {
                Ok(media) => body["featured_media"] = media.into(),
                Err(error) => notes.push(without::keeps(&error.reason().text)),
            }
        }
        let found = self.write(&["pages", id], &body).await?;
        Ok(self.seen_by_public(&found, post, notes).await)
    }

    async fn place(&self, page: &StandingPage) -> Result<Option<String>, SendError> {
        let mut body = json!({ "title": escape(&page.title), "content": page.html, "status": "publish" });
        let written = if let Some(found) = self.by_slug(&page.name).await? {
            self.write(&["pages", &found.id.to_string()], &body).await
        } else {
            body["slug"] = page.name.as_str().into();
            self.write(&["pages"], &body).await
        };
        let found = match written {
            // By its name it is found the next time, so that a failure never needs settling.
            Err(SendError::Unknown(reason)) => return Err(SendError::NotSent(reason)),
            written => written?,
        };
        if found.slug != page.name {
            let text = format!(
                "the site gave the page the name {}: something else is called {}; rename it, or set register.name",
                page::brief(&found.slug),
                page.name
            );
            return Err(SendError::Refused(Reason::new("slug", text)));
        }
        Ok(found.receipt().url)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

/// Where a new page belongs.
enum Place {
    Under(u64),
    Top,
    /// The page that it should stand under is not there.
    Lost(String),
}

impl Account {
    /// The address of a route below `wp/v2`.
    fn api(&self, route: &[&str], query: &[(&str, &str)]) -> Url {
        let site = &self.settings.site;
        let mut url = if self.settings.plain_addresses {
            let mut url = below(site, [""]);
            let route: String = route.iter().flat_map(|part| ["/", part]).collect();
            url.query_pairs_mut()
                .append_pair("rest_route", &format!("/wp/v2{route}"));
            url
        } else {
            below(
                site,
                ["wp-json", "wp", "v2"].into_iter().chain(route.iter().copied()),
            )
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let secret = |name| self.secrets.require(name).map_err(SendError::Credential);
        let (username, password) = (secret("username")?, secret("password")?);
        let request = request.basic_auth(username.expose_secret(), Some(password.expose_secret()));
        self.http.send(request, effect).await
    }

    async fn get(&self, route: &[&str], query: &[(&str, &str)]) -> Result<Value, SendError> {
        let request = self.http.request(Method::GET, self.api(route, query));
        let answer = self.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        answer.json().ok_or_else(|| page::no_sense("it is not JSON"))
    }

    /// What is there of this delivery, published or not: by the id that was noted, or by its short name.
    async fn standing(&self, post: &Post) -> Result<Option<Found>, SendError> {
        if let Some(id) = post.steps.get(PAGE_STEP)
            && let Some(found) = self.one(&id).await?.filter(|found| found.status != "trash")
        {
            return Ok(Some(found));
        }
        self.by_slug(&slug(post)).await
    }

    async fn by_slug(&self, slug: &str) -> Result<Option<Found>, SendError> {
        let query = [("slug", slug), ("status", "any"), ("context", "edit")];
        let pages = self.get(&["pages"], &query).await?;
        let pages = pages
            .as_array()
            .ok_or_else(|| page::no_sense("no list of pages"))?;
        let mut found = Vec::new();
        for entry in pages {
            found.push(Found::read(entry).ok_or_else(|| page::no_sense("a page without id"))?);
        }
        found.retain(|found| found.slug == slug);
        // The oldest one first: where two stand under different parents, everybody has to mean the same.
        found.sort_by_key(|found| (!found.is_public(), found.id));
        Ok(found.into_iter().next())
    }

    async fn one(&self, id: &str) -> Result<Option<Found>, SendError> {
        let url = self.api(&["pages", id], &[("context", "edit")]);
        let answer = self
            .send(self.http.request(Method::GET, url), Effect::Reads)
            .await?;
        match answer.status {
            200 => {
                let body = answer.json().ok_or_else(|| page::no_sense("it is not JSON"))?;
                let found = Found::read(&body).ok_or_else(|| page::no_sense("a page without id"))?;
                Ok(Some(found))
            }
            404 | 410 => Ok(None),
            _ => Err(verdict::of_read(&answer)),
        }
    }

    /// The alert's first page, else the page of the configuration.
    async fn parent(&self, post: &Post) -> Result<Place, SendError> {
        if let Some(root) = &post.root
            && let Some(found) = self.one(&root.remote_id).await?
            && found.is_public()
        {
            return Ok(Place::Under(found.id));
        }
        match &self.settings.page {
            None => Ok(Place::Top),
            Some(page) => Ok(match self.by_slug(page).await? {
                Some(found) => Place::Under(found.id),
                None => Place::Lost(page.clone()),
            }),
        }
    }

    /// Makes the page. If somebody was faster under the same short name, which can only be an earlier attempt of ours, the
    /// surplus one goes and that one stays.
    async fn create(&self, body: Value, post: &Post, notes: &mut Vec<String>) -> Result<Found, SendError> {
        let made = self.write(&["pages"], &body).await?;
        if made.slug == slug(post) {
            return Ok(made);
        }
        let first = match self.by_slug(&slug(post)).await {
            Ok(first) => first.filter(Found::is_public),
            // It stands, whatever its name.
            Err(_) => None,
        };
        let Some(first) = first else {
            notes.push(format!("the site gave it the name {}", page::brief(&made.slug)));
            return Ok(made);
        };
        let url = self.api(&["pages", &made.id.to_string()], &[("force", "true")]);
        let answer = self
            .send(self.http.request(Method::DELETE, url), Effect::Reads)
            .await;
        if !answer.is_ok_and(|answer| matches!(answer.status, 200..=299 | 404 | 410)) {
            notes.push(format!(
                "a second page, {}, stands and has to be taken away by hand",
                made.id
            ));
        }
        Ok(first)
    }

    async fn write(&self, route: &[&str], body: &Value) -> Result<Found, SendError> {
        let request = self.http.request(Method::POST, self.api(route, &[]));
        let answer = self.send(request.json(body), Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let body = answer.json().unwrap_or(Value::Null);
        Found::read(&body).ok_or_else(|| verdict::unreadable(&answer))
    }

    /// The receipt, with a note if the public does not see the page.
    async fn seen_by_public(&self, found: &Found, post: &Post, mut notes: Vec<String>) -> Receipt {
        let mut receipt = found.receipt();
        if !found.is_public() {
            notes.push(format!("the site keeps it as {}", page::brief(&found.status)));
        } else if let Err(wrong) = self.public(found, &slug(post)).await {
            notes.push(format!("the public does not see it yet: {wrong}"));
        }
        if !notes.is_empty() {
            receipt.note = Some(Reason::new("", notes.join("; ")).text);
        }
        receipt
    }
}

/// What stands on the page: nothing of the text can become markup, and a mark says which broadcast it shows.
fn content(post: &Post) -> Value {
    let rendering = &post.rendering;
    // The headline is the page's title already.
    let text = below_headline(rendering);
    let lang = rendering.languages.first().map_or("sv", |lang| lang.as_str());
    let mut html = format!("<div id=\"{}{}\" lang=\"{lang}\">\n", page::MARK, slug(post));
    html.push_str(&paragraphs(text));
    if !rendering.text.contains(rendering.link.as_str()) {
        let link = escape(rendering.link.as_str());
        html.extend(["<p><a href=\"", &link, "\">", &link, "</a></p>\n"]);
    }
    html.push_str("</div>");
    let excerpt = text.split("\n\n").next().unwrap_or_default();
    json!({
        "title": escape(&rendering.headline),
        "content": html,
        "excerpt": escape(excerpt),
    })
}

#[cfg(test)]
mod tests;
