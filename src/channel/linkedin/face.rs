//! What the page is: whose it is and what our token may, how readers find it, and what it can where they do not look.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::session::Session;
use super::{Account, Ask, SCOPE, brief, created, is_post, little, no_sense, verdict, version_warning};
use crate::channel::backstage::{ended, shown};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::Effect;
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::clock::{Timestamp, later};
use crate::model::{Post, Reason, Receipt, SendError};

/// What our work needs (reference page §2).
const NEEDS: &[&[&str]] = &[
    &[SCOPE],
    &["r_organization_social"],
    &["rw_organization_admin", "r_organization_admin"],
];
/// What LinkedIn gives along with it.
const BESIDE: &[&str] = &[
    "r_organization_admin",
    "openid",
    "profile",
    "r_basicprofile",
    "r_liteprofile",
];
const LOST: &[(&str, &str)] = &[
    (
        "r_organization_social",
        "a post of unknown outcome cannot be looked for",
    ),
    (
        "rw_organization_admin",
        "neither the page nor who may post on it can be read",
    ),
];
/// Roles that may post for the page; the second is spelled in both ways (reference page §2).
const ROLES: &[&str] = &[
    "ADMINISTRATOR",
    "CONTENT_ADMINISTRATOR",
    "CONTENT_ADMIN",
    "DIRECT_SPONSORED_CONTENT_POSTER",
];
const PLACE: &str = "as a draft";

/// What LinkedIn tells of our token.
#[derive(Default)]
struct Token {
    ends: Option<Timestamp>,
    scopes: Option<Vec<String>>,
    fact: Option<String>,
}

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let url = self.url(&["rest", "organizations", &self.settings.organization]);
        let (page, _) = self.ok(Ask::get(url)).await?;
        let name = page["localizedName"].as_str().filter(|name| !name.is_empty());
        let name = brief(name.ok_or_else(|| no_sense("the page has no name"))?);
        let now = self.http.now();
        let session = self.sessions.current().await?;
        let token = self.introspect(&session).await?;
        // Long before it ends, and not only when it is not taken any more.
        let is_ending = token
            .ends
            .is_some_and(|ends| later(now, super::session::EARLY) >= ends);
        let session = if is_ending && session.can_renew() {
            self.sessions.renewed(&session).await.unwrap_or(session)
        } else {
            session
        };
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        let warning = version_warning(self.version(), now);
        let mut facts = portrait::facts([
            ("version", Some(self.version().to_owned())),
            ("note", self.replaced()),
            ("warning", warning.clone()),
            ("sign in anew before", session.consent_ends().map(day)),
            ("token", token.fact),
            ("token ends", token.ends.map(day)),
            ("scopes", token.scopes.as_ref().map(|scopes| scopes.join(","))),
        ]);
        let mut flaws = Vec::new();
        flaws.extend(self.replaced().map(|text| flaw("version-sunset", text)));
        flaws.extend(warning.map(|text| flaw("version-old", text)));
        let role = self.role().await?;
        let mut rights = token.scopes.map(|scopes| Rights::compare(scopes, NEEDS, BESIDE));
        if let Some(rights) = &rights {
            if rights.missing.contains(SCOPE) {
                let text = format!("the token may not post as the page: it lacks {SCOPE}");
                return Err(SendError::Refused(Reason::new("scope", text)));
            }
            flaws.extend(portrait::missing(rights, LOST));
        }
        if let Some(role) = role {
            facts.insert("role".to_owned(), role.clone());
            rights.get_or_insert_default().held.insert(role);
        }
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name,
            id: Some(self.settings.organization.clone()),
            expires_at: session.consent_ends().or(session.ends()).or(token.ends),
            rights,
            flaws,
            facts,
        })
    }

    /// The role that the person has on the page whose token it is; `None` if LinkedIn does not say.
    ///
    /// # Errors
    /// If it says that there is none: posts would be refused though the token is good.
    async fn role(&self) -> Result<Option<String>, SendError> {
        let mut url = self.url(&["rest", "organizationAcls"]);
        url.query_pairs_mut()
            .append_pair("q", "roleAssignee")
            .append_pair("state", "APPROVED")
            .append_pair("count", "100");
        let ask = Ask {
            restli: Some("FINDER"),
            ..Ask::get(url)
        };
        let Ok((body, _)) = self.ok(ask).await else {
            return Ok(None);
        };
        let Some(roles) = body["elements"].as_array() else {
            return Ok(None);
        };
        let page = self.author();
        let here = |one: &&Value| one["organization"] == page || one["organizationalTarget"] == page;
        let mut held = roles.iter().filter(here).filter_map(|one| one["role"].as_str());
        match held.find(|role| ROLES.contains(role)) {
            Some(role) => Ok(Some(role.to_owned())),
            None if roles.len() >= 100 => Ok(None),
            None => {
                let text = "the person whose token it is has no role on the page that may post; have an administrator of \
                            the page give it, or sign in as somebody who has it";
                Err(SendError::Refused(Reason::new("no-role", text)))
            }
        }
    }

    /// Asks what the token may do and how long, where the app's own secrets are known.
    async fn introspect(&self, session: &Session) -> Result<Token, SendError> {
        let untold = |fact: &str| Token {
            fact: Some(fact.to_owned()),
            ..Token::default()
        };
        let Some((id, secret)) = self.sessions.app() else {
            return Ok(untold("set client_id and client_secret to see how long it lives"));
        };
        let form = [
            ("client_id", id.expose_secret()),
            ("client_secret", secret.expose_secret()),
            ("token", session.token()),
        ];
        let answer = self.sessions.ask("introspectToken", &form).await?;
        let Some(token) = answer.json().filter(|_| answer.is_success()) else {
            return Ok(untold(
                "LinkedIn does not tell: are client_id and client_secret right?",
            ));
        };
        if token["active"] == false {
            let text = "the token is not active any more; have an administrator of the page sign in anew";
            return Err(SendError::Credential(Reason::new("http-401", text)));
        }
        let ends = token["expires_at"].as_i64();
        let scopes = token["scope"].as_str().map(|scopes| {
            let scopes = scopes.split([',', ' ']).filter(|scope| !scope.is_empty());
            scopes.take(100).map(brief).collect()
        });
        Ok(Token {
            ends: ends.and_then(|second| Timestamp::from_second(second).ok()),
            scopes,
            fact: None,
        })
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let url = self.url(&["rest", "organizations", &self.settings.organization]);
        let (page, _) = self.ok(Ask::get(url)).await?;
        let mut url = self.named("networkSizes", &self.author());
        url.query_pairs_mut()
            .append_pair("edgeType", "COMPANY_FOLLOWED_BY_MEMBER");
        let size = self.ok(Ask::get(url)).await.map_or(Value::Null, |(size, _)| size);
        let mut url = self.url(&["rest", "posts"]);
        url.query_pairs_mut()
            .append_pair("q", "author")
            .append_pair("author", &self.author())
            .append_pair("count", &portrait::LATEST.to_string())
            .append_pair("sortBy", "LAST_MODIFIED");
        let ask = Ask {
            restli: Some("FINDER"),
            ..Ask::get(url)
        };
        let (posts, _) = self.ok(ask).await?;
        let elements = posts["elements"]
            .as_array()
            .ok_or_else(|| no_sense("no list of posts"))?;
        let published = elements.iter().filter(|post| post["lifecycleState"] != "DRAFT");
        let latest = published.filter_map(|post| {
            let by = post["lastModifiedBy"].as_str().or(post["createdBy"].as_str());
            portrait::latest(post["id"].as_str(), created(post), by)
        });
        let localized = page["description"]["localized"].as_object();
        let localized = localized.into_iter().flat_map(|all| all.values());
        let said: Vec<&str> = std::iter::once(&page["localizedDescription"])
            .chain(localized)
            .chain([&page["localizedWebsite"]])
            .filter_map(Value::as_str)
            .collect();
        let name = page["vanityName"].as_str().unwrap_or(&self.settings.organization);
        let address = format!("https://www.linkedin.com/company/{name}/");
        let website = page["localizedWebsite"].as_str();
        let links = std::iter::once(address.as_str()).chain(website);
        let mut texts = portrait::texts(said.iter().copied());
        texts.dedup();
        Ok(Profile {
            name: brief(page["localizedName"].as_str().unwrap_or_default()),
            links: portrait::links(links.chain(said.iter().flat_map(|text| portrait::links_in(text)))),
            texts,
            // The page names its logo by an id that takes another product to read.
            picture: None,
            followers: size["firstDegreeSize"].as_u64(),
            posts: posts["paging"]["total"].as_u64(),
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A draft, which only those who manage the page see (reference page §4.1).
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let ask = Ask {
            body: Some(self.words(post, "DRAFT")),
            effect: Effect::Writes,
            ..Ask::new(Method::POST, self.url(&["rest", "posts"]))
        };
        let answer = self.send(ask).await?;
        if !answer.is_success() {
            return Err(verdict::fault(&answer).into_error(Effect::Writes));
        }
        let urn = ["x-restli-id", "x-linkedin-id"]
            .into_iter()
            .find_map(|name| answer.header(name));
        let Some(urn) = urn.filter(|urn| is_post(urn)) else {
            let text = "LinkedIn took a draft and did not name it; look among the drafts of the page";
            return Err(SendError::Unknown(Reason::new("unreadable", text)));
        };
        let read = self.ok(Ask::get(self.named("posts", urn))).await;
        let is_public = matches!(&read, Ok((draft, _)) if draft["lifecycleState"] == "PUBLISHED");
        let read = read.map(|(draft, _)| {
            let commentary = draft["commentary"].as_str().unwrap_or_default();
            draft["lifecycleState"] == "DRAFT"
                && little::written(commentary) == little::normal(&post.rendering.text)
        });
        let ask = Ask {
            restli: Some("DELETE"),
            ..Ask::new(Method::DELETE, self.named("posts", &Receipt::of(urn).remote_id))
        };
        let gone = self.done(ask).await.map(drop);
        if is_public {
            return Err(shown(PLACE, urn, gone));
        }
        ended(PLACE, urn, read, gone)
    }
}
