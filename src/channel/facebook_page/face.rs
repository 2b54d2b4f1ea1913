//! What the page is: whose it is and what our token may, how readers find it, and what it can where they do not look.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::readback::normal;
use super::{Account, brief, created, no_sense, receipt};
use crate::channel::backstage::{ended, shown};
use crate::channel::graph::{self, token};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::{Answer, Effect};
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::model::{Post, Reason, Receipt, SendError};

/// What our work needs (reference page §2).
const NEEDS: &[&[&str]] = &[&["pages_manage_posts"], &["pages_read_engagement"]];
/// What Meta gives along with it, or other work of ours needs.
const BESIDE: &[&str] = &[
    "pages_show_list",
    "public_profile",
    "pages_manage_engagement",
    "pages_read_user_content",
    "pages_manage_metadata",
    "business_management",
];
const LOST: &[(&str, &str)] = &[(
    "pages_read_engagement",
    "a post of unknown outcome cannot be looked for, nor the profile read",
)];
const PLACE: &str = "as an unpublished post";
/// What anybody can read of the page, and what administrators can.
const PORTRAIT: &str =
    "id,name,link,about,description,general_info,mission,website,phone,emails,followers_count,picture";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        // With a page's own token, "me" is the page.
        let (me, _) = self.get(&["me"], &[("fields", "id,name")]).await?;
        let page = self.settings.page_id.as_str();
        if me["id"] != page {
            let text = format!("the token is not that of page {page}; make a page token for it");
            return Err(SendError::Refused(Reason::new("wrong-token", text)));
        }
        let fields = "id,name,link,is_published";
        let (about, answer) = self.get(&[page], &[("fields", fields)]).await?;
        let name = about["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| no_sense("the page has no name"))?;
        let header = |name| answer.header(name).map(str::to_owned);
        let mut facts = portrait::facts([
            ("page", Some(page.to_owned())),
            ("version", header("facebook-api-version")),
            ("usage", header("x-app-usage")),
            ("link", about["link"].as_str().map(str::to_owned)),
        ]);
        let mut flaws = Vec::new();
        if about["is_published"] == false {
            let text = "the public does not see the page: publish it in its settings";
            flaws.push(flaw("unpublished", text));
            facts.insert(
                "is_published".to_owned(),
                "no: the public does not see the page".to_owned(),
            );
        }
        flaws.extend(self.outdated(&answer));
        let token = self.token_told().await?;
        let mut rights = None;
        if let Some(token) = &token {
            flaws.extend(token.flaws(self.http.now()));
            facts.extend(
                token
                    .kind
                    .clone()
                    .map(|kind| ("token_type".to_owned(), brief(&kind))),
            );
            let compared = Rights::compare(token.scopes.iter().cloned(), NEEDS, BESIDE);
            if compared.missing.contains("pages_manage_posts") {
                let text =
                    format!("the token may not post on page {page}; make one with pages_manage_posts for it");
                return Err(SendError::Refused(Reason::new("scope", text)));
            }
            flaws.extend(portrait::missing(&compared, LOST));
            rights = Some(compared);
        }
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name: brief(name),
            id: Some(page.to_owned()),
            expires_at: token.and_then(|token| token.expires_at),
            rights,
            flaws,
            facts,
        })
    }

    /// The version that we ask for is not served any more (reference page §1).
    fn outdated(&self, answer: &Answer) -> Option<Reason> {
        let configured = self.settings.version.as_str();
        let served = answer.header("facebook-api-version")?;
        (served != configured).then(|| {
            let text = format!(
                "{configured} is not served any more, {} is; set `version`",
                brief(served)
            );
            flaw("version-sunset", text)
        })
    }

    /// What the service tells of our token.
    async fn token_told(&self) -> Result<Option<token::Token>, SendError> {
        let secret = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        let ours = [("input_token", secret.expose_secret())];
        match self
            .send(Method::GET, &["debug_token"], &ours, Effect::Reads)
            .await
        {
            Ok(answer) => token::told(&answer, Some(&self.settings.page_id)),
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let page = self.settings.page_id.as_str();
        let (about, _) = self.get(&[page], &[("fields", PORTRAIT)]).await?;
        let latest = [
            ("fields", "id,created_time,from,application,admin_creator"),
            ("limit", "10"),
        ];
        let (posts, _) = self.get(&[page, "published_posts"], &latest).await?;
        let posts = posts["data"]
            .as_array()
            .ok_or_else(|| no_sense("no list of posts"))?;
        // Only a token of somebody who manages the page is told this.
        let roles = self.get(&[page, "roles"], &[("fields", "id,name,tasks")]).await;
        let roles = roles.map_or(Value::Null, |(roles, _)| roles);
        let manages = |one: &&Value| {
            let tasks = one["tasks"].as_array();
            tasks.is_some_and(|tasks| tasks.iter().any(|task| task == "MANAGE"))
        };
        let admins = roles["data"].as_array().into_iter().flatten().filter(manages);
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        let emails = about["emails"].as_array().into_iter().flatten();
        let emails: Vec<&str> = emails.filter_map(Value::as_str).collect();
        let said = [
            "about",
            "description",
            "general_info",
            "mission",
            "website",
            "phone",
        ]
        .map(text);
        let said = || said.into_iter().chain(emails.iter().copied());
        let picture = &about["picture"]["data"];
        let picture = picture["url"]
            .as_str()
            .filter(|_| picture["is_silhouette"] != true);
        let latest = posts.iter().filter_map(|post| {
            let by = ["application", "admin_creator", "from"];
            let by = by.into_iter().find_map(|field| post[field]["name"].as_str());
            portrait::latest(post["id"].as_str(), created(post), by)
        });
        Ok(Profile {
            name: brief(text("name")),
            texts: portrait::texts(said()),
            links: portrait::links(
                [text("website"), text("link")]
                    .into_iter()
                    .chain(said().flat_map(portrait::links_in)),
            ),
            picture: portrait::picture(&self.http, &self.settings.base_url, picture).await,
            followers: about["followers_count"].as_u64(),
            posts: None,
            latest: portrait::newest(latest),
            admins: admins
                .filter_map(|one| one["name"].as_str())
                .take(50)
                .map(brief)
                .collect(),
        })
    }

    /// A post that only those who manage the page see (reference page §4.1).
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let fields = "id,is_published";
        let parameters = [
            ("message", post.rendering.text.as_str()),
            ("published", "false"),
            ("fields", fields),
        ];
        let path = [self.settings.page_id.as_str(), "feed"];
        let answer = self
            .send(Method::POST, &path, &parameters, Effect::Writes)
            .await?;
        if let Some(fault) = graph::fault(&answer) {
            return Err(self.on_create(fault, post, 0));
        }
        let made = answer.json().unwrap_or(Value::Null);
        let Some(Receipt { remote_id: id, .. }) = receipt(&made) else {
            let text = "the service took an unpublished post and did not say its number";
            return Err(SendError::Unknown(Reason::new("unreadable", text)));
        };
        if made["is_published"] == true {
            return Err(shown(PLACE, &id, self.take_away(&Receipt::of(&*id)).await));
        }
        let read = self.get(&[&id], &[("fields", "id,message,is_published")]).await;
        let read = read.map(|(read, _)| {
            let message = read["message"].as_str().unwrap_or_default();
            read["is_published"] == false && normal(message) == normal(&post.rendering.text)
        });
        let gone = self.take_away(&Receipt::of(&*id)).await;
        ended(PLACE, &id, read, gone)
    }
}
