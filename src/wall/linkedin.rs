//! A simulated company page on LinkedIn behind its versioned REST API: `docs/channels/linkedin.md` as a program. A text
//! is cut at the first reserved sign that nobody escaped, without an error, as on the real one.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::consent::{Desk, Person, random};
use super::guise::{Dead, Other};
use super::mastodon::text::links;
use super::meta_login::{after, asked};
use super::sim::{Call, Simulator, page, reply};
use super::{Posted, ShownPicture};
use crate::channel::linkedin::PRACTICE_PAGE;
use crate::clock::Timestamp;
use crate::compose::count::is_reserved_in_little_text;
use crate::model::{AccountId, Mode};

const MAX_TEXT: usize = 3000;
/// What an app may ask for, and what a token may that was made by hand.
const SCOPES: &[&str] = &[
    "r_organization_social",
    "rw_organization_admin",
    "w_organization_social",
];
/// How long an access token holds, in seconds, and how long a consent.
const LIFE: u64 = 5_183_999;
const CONSENT: u64 = 31_536_000;
/// How long the same words again are a duplicate, also of a post that was taken away.
const REPEAT: SignedDuration = SignedDuration::from_hours(24);
const POST_KEYS: &[&str] = &[
    "author",
    "commentary",
    "visibility",
    "distribution",
    "lifecycleState",
    "isReshareDisabledByAuthor",
    "content",
];

/// What the service says no with: status, code, message.
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self(status, code, message.into())
    }

    fn field(name: &str) -> Self {
        Self::new(
            422,
            "INVALID_VALUE_FOR_FIELD",
            format!("ERROR :: /{name} :: unrecognized or invalid"),
        )
    }

    fn missing() -> Self {
        Self::new(404, "NOT_FOUND", "Not Found")
    }

    fn answer(&self) -> Response<Vec<u8>> {
        let Self(status, code, message) = self;
        let mut body = json!({"status": status, "code": code, "message": message});
        if *code == "DUPLICATE_POST" {
            body["code"] = "UNPROCESSABLE_ENTITY".into();
            body["errorDetails"] = json!({"inputErrors": [{"code": code, "description": message}]});
        }
        reply(*status, &body)
    }
}

struct Post {
    urn: String,
    /// As it was sent.
    commentary: String,
    at: Timestamp,
    edited_at: Option<Timestamp>,
    is_draft: bool,
    deleted: bool,
}

struct Image {
    urn: String,
    bytes: Option<Vec<u8>>,
}

/// The page.
pub struct LinkedIn {
    account: AccountId,
    name: String,
    access: String,
    /// When it ends; the first one is a month old.
    access_ends: Option<Timestamp>,
    refresh: String,
    /// When no refresh token helps any more.
    refresh_ends: Option<Timestamp>,
    /// Whether each renewal gives another refresh token and ends the one before. LinkedIn's does not; others do.
    rotates: bool,
    /// Tokens of members without a role on the page.
    strangers: Vec<String>,
    scope: String,
    desk: Desk,
    client: [String; 2],
    posts: Vec<Post>,
    images: Vec<Image>,
}

impl LinkedIn {
    /// A page without posts. `name` is its name.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            account: account.clone(),
            name: name.to_owned(),
            access: random(),
            access_ends: None,
            refresh: random(),
            refresh_ends: None,
            rotates: false,
            strangers: Vec::new(),
            scope: SCOPES.join(","),
            desk: Desk::default(),
            client: [random(), random()],
            posts: Vec::new(),
            images: Vec::new(),
        }
    }

    /// The log-in server: new tokens, and what is known of one.
    fn log_in(&mut self, call: &Call<'_>, what: &str) -> Result<Value, Refusal> {
        let form: BTreeMap<String, String> = call.form().into_iter().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if [field("client_id"), field("client_secret")] != [self.client[0].as_str(), &self.client[1]] {
            return Err(Refusal::new(
                401,
                "invalid_client",
                "Client authentication failed",
            ));
        }
        let known: &[&str] = match (what, field("grant_type")) {
            ("accessToken", "authorization_code") => &["grant_type", "code", "redirect_uri"],
            ("accessToken", _) => &["grant_type", "refresh_token"],
            _ => &["token"],
        };
        let is_known = |name: &String| known.contains(&name.as_str()) || name.starts_with("client_");
        if let Some(unknown) = form.keys().find(|name| !is_known(name)) {
            let text = format!("unknown parameter {unknown}");
            return Err(Refusal::new(400, "invalid_request", text));
        }
        let is_over = |at: Option<Timestamp>| at.is_some_and(|at| at <= call.now);
        match (what, field("grant_type")) {
            ("accessToken", "authorization_code") => {
                let of = (field("client_id"), field("redirect_uri"));
                let agreed = self.desk.redeem(field("code"), of, None, call.now).map_err(|_| {
                    let text = "Unable to retrieve access token: appid/redirect uri/code verifier does not match \
                                authorization code. Or authorization code expired.";
                    Refusal::new(400, "invalid_request", text)
                })?;
                let scope = agreed.scopes.join(",");
                if agreed.person == Person::Other {
                    let value = random();
                    self.strangers.push(value.clone());
                    return Ok(json!({"access_token": value, "expires_in": LIFE, "scope": scope}));
                }
                self.scope = scope;
                self.refresh = random();
                self.refresh_ends = Some(after(call.now, CONSENT));
                Ok(self.give(call.now))
            }
            ("accessToken", "refresh_token")
                if field("refresh_token") == self.refresh && !is_over(self.refresh_ends) =>
            {
                if self.rotates {
                    self.refresh = random();
                }
                Ok(self.give(call.now))
            }
            ("accessToken", _) => Err(Refusal::new(
                400,
                "invalid_request",
                "The provided refresh token is invalid, expired or revoked",
            )),
            ("introspectToken", _) if field("token") == self.access && !is_over(self.access_ends) => {
                let ends = call.guise.expires_at.or(self.access_ends);
                let status = match call.guise.dead(call.now) {
                    None => "active",
                    Some(Dead::Expired) => "expired",
                    Some(Dead::Revoked) => "revoked",
                };
                Ok(json!({
                    "active": status == "active", "status": status,
                    "expires_at": ends.map_or(call.now.as_second() + 5_183_999, Timestamp::as_second),
                    "scope": self.scopes(call).join(","), "auth_type": "3L",
                }))
            }
            ("introspectToken", _) => Ok(json!({"active": false})),
            ("revoke", _) => {
                if field("token") == self.access || field("token") == self.refresh {
                    (self.access, self.refresh) = (random(), random());
                }
                Ok(json!({}))
            }
            _ => Err(Refusal::missing()),
        }
    }

    /// What our token may.
    fn scopes(&self, call: &Call<'_>) -> Vec<String> {
        let given: Vec<&str> = self.scope.split(',').collect();
        call.guise.scopes(&given)
    }

    /// A new access token; the one before is dead.
    fn give(&mut self, now: Timestamp) -> Value {
        self.access = random();
        self.access_ends = Some(after(now, LIFE));
        let left = self
            .refresh_ends
            .map_or(31_000_000, |at| at.duration_since(now).as_secs());
        json!({
            "access_token": self.access, "expires_in": LIFE, "refresh_token": self.refresh,
            "refresh_token_expires_in": left, "scope": self.scope,
        })
    }

    fn route(&mut self, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let path: Vec<String> = call
            .path
            .trim_matches('/')
            .split('/')
            .map(str::to_owned)
            .collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let (&Method::POST, ["oauth", "v2", what]) = (call.method, path.as_slice()) {
            return Ok(match self.log_in(call, what) {
                Ok(body) => reply(200, &body),
                // Not the envelope of the other answers.
                Err(Refusal(status, error, text)) => {
                    reply(status, &json!({"error": error, "error_description": text}))
                }
            });
        }
        if self
            .strangers
            .iter()
            .any(|token| call.bearer() == Some(token.as_str()))
        {
            return Err(Refusal::new(
                403,
                "ACCESS_DENIED",
                "Not enough permissions to access: organizations.GET",
            ));
        }
        let is_over = self.access_ends.is_some_and(|at| at <= call.now);
        if call.bearer() != Some(self.access.as_str()) || is_over {
            return Err(Refusal::new(
                401,
                "EXPIRED_ACCESS_TOKEN",
                "The token used in the request has expired",
            ));
        }
        match call.guise.dead(call.now) {
            None => {}
            Some(Dead::Expired) => {
                let text = "The token used in the request has expired";
                return Err(Refusal::new(401, "EXPIRED_ACCESS_TOKEN", text));
            }
            Some(Dead::Revoked) => {
                let text = "The token used in the request has been revoked by the user";
                return Err(Refusal::new(401, "REVOKED_ACCESS_TOKEN", text));
            }
        }
        if let (&Method::PUT, ["dms-uploads", urn]) = (call.method, path.as_slice()) {
            let urn = decode(urn);
            let image = self.images.iter_mut().find(|image| image.urn == urn);
            image.ok_or_else(Refusal::missing)?.bytes = Some(call.body.to_vec());
            return Ok(empty(201));
        }
        let version = call.header("linkedin-version");
        let version =
            version.ok_or_else(|| Refusal::new(400, "VERSION_MISSING", "A version must be present"))?;
        if version.len() != 6 || !("202512"..="202699").contains(&version) {
            return Err(Refusal::new(
                426,
                "NONEXISTENT_VERSION",
                "Requested version is not active",
            ));
        }
        if call.header("x-restli-protocol-version") != Some("2.0.0") {
            return Err(Refusal::new(
                400,
                "INVALID_VERSION",
                "X-Restli-Protocol-Version is missing",
            ));
        }
        let need: &[&str] = match (call.method, path.as_slice()) {
            (&Method::GET, ["rest", "posts", ..]) => &["r_organization_social"],
            (&Method::GET, ["rest", "organizations" | "organizationAcls" | "networkSizes", ..]) => {
                &["rw_organization_admin", "r_organization_admin"]
            }
            _ => &["w_organization_social"],
        };
        let scopes = self.scopes(call);
        if !need.iter().any(|need| scopes.iter().any(|scope| scope == need)) {
            let text = format!("Not enough permissions to access: {}", need.join(" or "));
            return Err(Refusal::new(403, "ACCESS_DENIED", text));
        }
        let role = call.guise.role.as_deref().unwrap_or("ADMINISTRATOR");
        if call.method != Method::GET && role == "NONE" {
            return Err(Refusal::new(
                403,
                "ACCESS_DENIED",
                "Field Value validation failed: [/author]",
            ));
        }
        match (call.method, path.as_slice()) {
            (&Method::GET, ["rest", "organizationAcls"]) => {
                if let Some(name) = call.unknown_query(&["q", "role", "state", "count", "start"]) {
                    return Err(Refusal::field(name));
                }
                if call.query("q") != Some("roleAssignee") {
                    return Err(Refusal::field("q"));
                }
                let elements = if role == "NONE" {
                    Vec::new()
                } else {
                    vec![json!({
                        "organization": author(), "role": role, "roleAssignee": "urn:li:person:abc", "state": "APPROVED",
                    })]
                };
                Ok(reply(
                    200,
                    &json!({"elements": elements, "paging": {"start": 0, "count": 100, "links": []}}),
                ))
            }
            (&Method::GET, ["rest", "networkSizes", urn]) => {
                if escaped(urn)? != author() || call.query("edgeType") != Some("COMPANY_FOLLOWED_BY_MEMBER") {
                    return Err(Refusal::field("edgeType"));
                }
                Ok(reply(200, &json!({"firstDegreeSize": call.guise.followers()})))
            }
            (&Method::POST, ["rest", "posts"]) => self.create(call),
            (&Method::GET, ["rest", "posts"]) => self.list(call).map(|body| reply(200, &body)),
            (&Method::GET, ["rest", "organizations", PRACTICE_PAGE]) => {
                let id: u64 = PRACTICE_PAGE.parse().unwrap_or_default();
                Ok(reply(
                    200,
                    &json!({
                        "id": id, "localizedName": call.guise.name.as_ref().unwrap_or(&self.name), "vanityName": "kommun",
                        "localizedDescription": call.guise.about(2000), "localizedWebsite": "https://nassjo.se",
                        "description": {"localized": {"sv_SE": call.guise.about(2000)},
                                        "preferredLocale": {"language": "sv", "country": "SE"}},
                    }),
                ))
            }
            (&Method::POST, ["rest", "images"]) => self.announce(call),
            (&Method::GET, ["rest", "images", urn]) => {
                let image = self.image(&escaped(urn)?).ok_or_else(Refusal::missing)?;
                let status = if image.bytes.is_some() {
                    "AVAILABLE"
                } else {
                    "WAITING_UPLOAD"
                };
                Ok(reply(200, &json!({"id": image.urn, "status": status})))
            }
            (&Method::GET, ["rest", "posts", urn]) => {
                let urn = escaped(urn)?;
                let post = self.posts.iter().find(|post| post.urn == urn && !post.deleted);
                Ok(reply(200, &show(post.ok_or_else(Refusal::missing)?)))
            }
            (&Method::POST, ["rest", "posts", urn]) => self.edit(&escaped(urn)?, call),
            (&Method::DELETE, ["rest", "posts", urn]) => {
                let urn = escaped(urn)?;
                for post in self.posts.iter_mut().filter(|post| post.urn == urn) {
                    post.deleted = true;
                }
                let booked = call.book.posts.iter_mut().chain(&mut call.book.backstage);
                for posted in booked.filter(|posted| posted.remote_id == urn) {
                    posted.deleted_at = posted.deleted_at.or(Some(call.now));
                }
                Ok(empty(204))
            }
            _ => Err(Refusal::missing()),
        }
    }

    fn image(&self, urn: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.urn == urn)
    }

    fn announce(&mut self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let body = object(call)?;
        only(&body, &["initializeUploadRequest"])?;
        only(&body["initializeUploadRequest"], &["owner"])?;
        if call.query("action") != Some("initializeUpload")
            || body["initializeUploadRequest"]["owner"] != author()
        {
            return Err(Refusal::field("owner"));
        }
        let urn = format!("urn:li:image:C4E10AQ{}", self.images.len() + 1);
        let to = format!("{}/dms-uploads/{}", call.base, encode(&urn));
        let value = json!({
            "uploadUrlExpiresAt": call.now.as_millisecond() + 3_600_000, "uploadUrl": to, "image": urn,
        });
        self.images.push(Image { urn, bytes: None });
        Ok(reply(200, &json!({ "value": value })))
    }

    fn create(&mut self, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        let body = object(call)?;
        only(&body, POST_KEYS)?;
        let distribution = [
            "feedDistribution",
            "targetEntities",
            "thirdPartyDistributionChannels",
        ];
        only(&body["distribution"], &distribution)?;
        let fixed = [("author", Value::from(author())), ("visibility", "PUBLIC".into())];
        let is_draft = body["lifecycleState"] == "DRAFT";
        if !is_draft && body["lifecycleState"] != "PUBLISHED" {
            return Err(Refusal::field("lifecycleState"));
        }
        if let Some((name, _)) = fixed.iter().find(|(name, value)| body[*name] != *value) {
            return Err(Refusal::field(name));
        }
        if body["distribution"]["feedDistribution"] != "MAIN_FEED" {
            return Err(Refusal::field("distribution/feedDistribution"));
        }
        let commentary = commentary(&body["commentary"])?;
        let pictures = self.attached(&body["content"])?;
        let same = self.posts.iter().rev().find(|post| {
            !is_draft
                && !post.is_draft
                && post.commentary == commentary
                && call.now.duration_since(post.at) < REPEAT
        });
        if let Some(original) = same {
            let text = format!("Content is a duplicate of {}", original.urn);
            return Err(Refusal::new(422, "DUPLICATE_POST", text));
        }
        let urn = format!(
            "urn:li:share:{}",
            7_243_000_000_000_000_000_u64 + self.posts.len() as u64
        );
        let text = rendered(&commentary);
        let posted = Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: urn.clone(),
            links: links(&text),
            text,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures,
            shown: BTreeMap::new(),
        };
        if is_draft {
            call.book.backstage.push(posted);
        } else {
            call.book.posts.push(posted);
        }
        let mut answer = empty(201);
        if let Ok(value) = HeaderValue::from_str(&urn) {
            answer.headers_mut().insert("x-restli-id", value);
        }
        self.posts.push(Post {
            urn,
            commentary,
            at: call.now,
            edited_at: None,
            is_draft,
            deleted: false,
        });
        Ok(answer)
    }

    fn attached(&self, content: &Value) -> Result<Vec<ShownPicture>, Refusal> {
        if content.is_null() {
            return Ok(Vec::new());
        }
        only(content, &["media"])?;
        only(&content["media"], &["id", "altText", "title"])?;
        let image = content["media"]["id"].as_str().and_then(|urn| self.image(urn));
        let image = image.ok_or_else(|| Refusal::field("content/media/id"))?;
        let bytes = image.bytes.clone();
        let bytes =
            bytes.ok_or_else(|| Refusal::new(400, "MEDIA_ASSET_WAITING_UPLOAD", "waiting for upload"))?;
        let is_png = bytes.starts_with(&[0x89, b'P', b'N', b'G']);
        if !is_png && !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            return Err(Refusal::new(
                400,
                "MEDIA_ASSET_PROCESSING_FAILED",
                "processing failed",
            ));
        }
        Ok(vec![ShownPicture {
            alt: content["media"]["altText"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            media_type: if is_png { "image/png" } else { "image/jpeg" }.to_owned(),
            digest: hex::encode(Sha256::digest(&bytes)),
            bytes,
        }])
    }

    fn edit(&mut self, urn: &str, call: &mut Call<'_>) -> Result<Response<Vec<u8>>, Refusal> {
        if call.header("x-restli-method") != Some("PARTIAL_UPDATE") {
            return Err(Refusal::field("X-RestLi-Method"));
        }
        let body = object(call)?;
        only(&body, &["patch"])?;
        only(&body["patch"], &["$set"])?;
        only(&body["patch"]["$set"], &["commentary"])?;
        let text = commentary(&body["patch"]["$set"]["commentary"])?;
        let post = self
            .posts
            .iter_mut()
            .find(|post| post.urn == urn && !post.deleted);
        let post = post.ok_or_else(Refusal::missing)?;
        post.commentary.clone_from(&text);
        post.edited_at = Some(call.now);
        for posted in call
            .book
            .posts
            .iter_mut()
            .filter(|posted| posted.remote_id == urn)
        {
            posted.text = rendered(&text);
            posted.links = links(&posted.text);
            posted.edited_at = Some(call.now);
        }
        Ok(empty(204))
    }

    fn list(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let known = ["q", "author", "count", "start", "sortBy", "viewContext"];
        if let Some((name, _)) = call
            .query
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            return Err(Refusal::field(name));
        }
        if call.query("q") != Some("author") || call.query("author") != Some(author().as_str()) {
            return Err(Refusal::field("author"));
        }
        let number = |name: &str, or: usize| {
            call.query(name)
                .map_or(Ok(or), str::parse)
                .map_err(|_| Refusal::field(name))
        };
        let (start, count) = (number("start", 0)?, number("count", 10)?.min(100));
        let mut all: Vec<&Post> = self
            .posts
            .iter()
            .filter(|post| !post.deleted && !post.is_draft)
            .collect();
        all.sort_by_key(|post| std::cmp::Reverse(post.edited_at.unwrap_or(post.at)));
        let own = all.iter().skip(start).take(count).map(|post| show(post));
        // What others made is only on the first page.
        let others = call.guise.others.iter().filter(|_| start == 0).map(show_other);
        let elements: Vec<Value> = others.chain(own).collect();
        Ok(
            json!({"paging": {"start": start, "count": count, "links": [], "total": all.len()}, "elements": elements}),
        )
    }
}

impl Simulator for LinkedIn {
    fn secrets(&self) -> Vec<(String, String)> {
        let [id, secret] = &self.client;
        let all = [
            ("access_token", &self.access),
            ("refresh_token", &self.refresh),
            ("client_id", id),
            ("client_secret", secret),
        ];
        all.map(|(name, value)| (name.to_owned(), value.clone())).to_vec()
    }

    fn command(&mut self, what: &str, now: Timestamp) -> bool {
        match what {
            "expire-codes" => self.desk.expire(),
            "expire-tokens" => self.access_ends = Some(now),
            "expire-consent" => (self.access_ends, self.refresh_ends) = (Some(now), Some(now)),
            "rotate-refresh" => self.rotates = true,
            "revoke-tokens" => (self.access, self.refresh) = (random(), random()),
            _ => return false,
        }
        true
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method, path.as_slice()) {
            (&Method::GET, ["oauth", "v2", "authorization"]) => {
                return match asked(&call, &self.client[0], SCOPES, ' ') {
                    Ok(asked) => self.desk.open("LinkedIn", asked, &call),
                    Err(why) => super::consent::refuse(&why),
                };
            }
            (&Method::POST, ["oauth", "v2", "authorization"]) => return self.desk.decide(&call),
            _ => {}
        }
        if let (&Method::GET, ["feed", "update", urn]) = (call.method, path.as_slice()) {
            let urn = decode(urn);
            let post = self
                .posts
                .iter()
                .find(|post| post.urn == urn && !post.deleted && !post.is_draft);
            return page(post.map(|post| rendered(&post.commentary)).as_deref());
        }
        self.route(&mut call).unwrap_or_else(|refusal| refusal.answer())
    }
}

fn author() -> String {
    format!("urn:li:organization:{PRACTICE_PAGE}")
}

fn show(post: &Post) -> Value {
    let at = post.at.as_millisecond();
    json!({
        "id": post.urn, "author": author(), "commentary": post.commentary, "visibility": "PUBLIC",
        "lifecycleState": if post.is_draft { "DRAFT" } else { "PUBLISHED" }, "createdAt": at, "publishedAt": at,
        "lastModifiedAt": post.edited_at.unwrap_or(post.at).as_millisecond(),
        "lifecycleStateInfo": {"isEditedByAuthor": post.edited_at.is_some()},
    })
}

/// A post that somebody else made on the page.
fn show_other(other: &Other) -> Value {
    let at = other.at.as_millisecond();
    json!({
        "id": other.id, "author": author(), "commentary": other.text, "visibility": "PUBLIC", "lifecycleState": "PUBLISHED",
        "createdAt": at, "publishedAt": at, "lastModifiedAt": at, "createdBy": other.by,
    })
}

fn commentary(value: &Value) -> Result<String, Refusal> {
    let text = value.as_str().filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Refusal::new(400, "MISSING_FIELD", "commentary is required"))?;
    if text.encode_utf16().count() > MAX_TEXT {
        return Err(Refusal::new(
            400,
            "FIELD_LENGTH_TOO_LONG",
            "commentary is too long",
        ));
    }
    Ok(text.to_owned())
}

/// What residents read: cut at the first reserved sign that no backslash stands before.
fn rendered(commentary: &str) -> String {
    let mut out = String::new();
    let mut chars = commentary.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next) if is_reserved_in_little_text(next) => out.push(next),
                Some(_) | None => break,
            },
            c if is_reserved_in_little_text(c) => break,
            c => out.push(c),
        }
    }
    out
}

fn object(call: &Call<'_>) -> Result<Value, Refusal> {
    let is_json = call
        .header("content-type")
        .unwrap_or_default()
        .starts_with("application/json");
    let body = call.json().filter(|body| is_json && body.is_object());
    body.ok_or_else(|| Refusal::new(400, "BAD_REQUEST", "the body is no JSON object"))
}

/// Refuses an object with a key that is not `known`.
fn only(object: &Value, known: &[&str]) -> Result<(), Refusal> {
    let keys = object.as_object().ok_or_else(|| Refusal::field("object"))?;
    match keys.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::field(key)),
        None => Ok(()),
    }
}

/// A name in an address, whose colons have to be escaped.
fn escaped(urn: &str) -> Result<String, Refusal> {
    if urn.contains(':') {
        Err(Refusal::new(400, "BAD_REQUEST", "the URN is not encoded"))
    } else {
        Ok(decode(urn))
    }
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn decode(text: &str) -> String {
    let pair = format!("x={text}");
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn empty(status: u16) -> Response<Vec<u8>> {
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    answer
}
