//! A simulated Facebook page behind the Graph API: `docs/channels/facebook-page.md` as a program. Stricter than the real
//! one in two points: it refuses parameters that it does not know, and it always demands `appsecret_proof`.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::consent::random;
use super::guise::{self, Dead, Other};
use super::mastodon::text::links;
use super::meta_login::FacebookLogin;
use super::sim::{Call, Simulator, page, reply};
use super::{Posted, ShownPicture, multipart};
use crate::channel::facebook_page::PRACTICE_PAGE;
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

const MAX_UTF16: usize = 63_206;
/// Largest photo, in bytes.
const MAX_PHOTO: usize = 4 * 1024 * 1024;
/// How long the same words again are a duplicate.
const REPEAT: SignedDuration = SignedDuration::from_mins(1);
/// What an app may ask for, and what a token may that was made by hand.
const SCOPES: &[&str] = &[
    "pages_show_list",
    "pages_read_engagement",
    "pages_manage_posts",
    "pages_manage_engagement",
    "public_profile",
];
/// Parameters that every call takes.
const COMMON: &[&str] = &["appsecret_proof", "fields"];

/// What the service says no with: HTTP status, code, subcode, message.
pub(super) struct Refusal(pub u16, pub i64, pub Option<i64>, pub String);

impl Refusal {
    pub(super) fn parameter(message: impl std::fmt::Display) -> Self {
        Self(400, 100, None, format!("(#100) {message}"))
    }

    pub(super) fn missing(id: &str) -> Self {
        let text = format!(
            "Unsupported request. Object with ID '{id}' does not exist, cannot be loaded due to missing permissions, \
             or does not support this operation"
        );
        Self(400, 100, Some(33), text)
    }

    pub(super) fn answer(self) -> Response<Vec<u8>> {
        let Self(status, code, subcode, message) = self;
        let mut error = json!({
            "message": message, "type": "OAuthException", "code": code, "is_transient": false, "fbtrace_id": "AbCdEf",
        });
        if let Some(subcode) = subcode {
            error["error_subcode"] = subcode.into();
        }
        reply(status, &json!({ "error": error }))
    }
}

struct Post {
    id: String,
    message: String,
    at: Timestamp,
    published: bool,
    deleted: bool,
}

/// An uploaded photo that stands in no post yet, or in one.
struct Photo {
    id: String,
    alt: String,
    media_type: &'static str,
    bytes: Vec<u8>,
    attached: bool,
}

/// The page.
pub struct FacebookPage {
    account: AccountId,
    name: String,
    token: String,
    app_secret: String,
    login: FacebookLogin,
    client_id: String,
    posts: Vec<Post>,
    photos: Vec<Photo>,
}

impl FacebookPage {
    /// A page without posts. `name` is its name.
    pub fn new(account: &AccountId, name: &str) -> Self {
        let (client_id, app_secret) = (random(), random());
        let client = [client_id.clone(), app_secret.clone()];
        Self {
            account: account.clone(),
            name: name.to_owned(),
            token: random(),
            app_secret,
            login: FacebookLogin::new(client, SCOPES),
            client_id,
            posts: Vec::new(),
            photos: Vec::new(),
        }
    }

    fn route(&mut self, call: &mut Call<'_>, path: &[&str]) -> Result<Value, Refusal> {
        let parameters = parameters(call)?;
        let parameters = Parameters(&parameters);
        let own = json!({"id": PRACTICE_PAGE, "name": self.name});
        if let Some(answer) = self.login.route(call, path, parameters, &own) {
            return answer;
        }
        self.check_login(call, parameters)?;
        if path == ["debug_token"] && call.method == Method::GET {
            parameters.only(&["input_token"])?;
            let known = self.known(parameters.get("input_token"));
            return Ok(introspect(call, known.as_ref(), "PAGE", PRACTICE_PAGE));
        }
        alive(call)?;
        let need: &[&str] = match (call.method, path) {
            (&Method::GET, [PRACTICE_PAGE, ..]) if path.len() > 1 => &["pages_read_engagement"],
            (&Method::POST | &Method::DELETE, _) => &["pages_manage_posts"],
            _ => &[],
        };
        may(call, need, &self.known(call.bearer()).unwrap_or_default().scopes)?;
        match (call.method, path) {
            (&Method::GET, [PRACTICE_PAGE, "roles"]) => {
                parameters.only(&[])?;
                let tasks = json!(["MANAGE", "CREATE_CONTENT", "MODERATE"]);
                Ok(json!({"data": [
                    {"id": "1221", "name": "Kommunikationsenheten", "tasks": tasks},
                    {"id": "1222", "name": "Praktikanten", "tasks": ["CREATE_CONTENT"]},
                ]}))
            }
            (&Method::GET, ["me" | PRACTICE_PAGE]) => self.about(call, parameters),
            (&Method::POST, [PRACTICE_PAGE, "feed"]) => self.create(call, parameters),
            (&Method::POST, [PRACTICE_PAGE, "photos"]) => self.upload(call, parameters),
            (&Method::GET, [PRACTICE_PAGE, "published_posts" | "posts" | "feed"]) => {
                self.list(call, parameters)
            }
            (&Method::GET, [PRACTICE_PAGE, "scheduled_posts"]) => Ok(json!({"data": []})),
            (&Method::GET, [id]) => {
                parameters.only(&[])?;
                let post = self.find(id)?;
                Ok(select(parameters, &show(post, call.base)))
            }
            (&Method::POST, [id]) => self.edit(id, call, parameters),
            (&Method::DELETE, [id]) => self.delete(id, call, parameters),
            (_, [id, ..]) if *id != PRACTICE_PAGE => Err(Refusal::missing(id)),
            _ => {
                let text = format!("Unknown path components: {}", call.path);
                Err(Refusal(400, 2500, None, text))
            }
        }
    }

    fn check_login(&self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<(), Refusal> {
        let Some(token) = call.bearer() else {
            let text = "An access token is required to request this resource.";
            return Err(Refusal(400, 104, None, text.to_owned()));
        };
        if self.known(Some(token)).is_none() {
            let text = "Error validating access token: The session is invalid.";
            return Err(Refusal(400, 190, Some(467), text.to_owned()));
        }
        let expected = Hmac::<Sha256>::new_from_slice(self.app_secret.as_bytes())
            .ok()
            .map(|mut mac| {
                mac.update(token.as_bytes());
                hex::encode(mac.finalize().into_bytes())
            });
        if parameters
            .get("appsecret_proof")
            .is_some_and(|proof| Some(proof) == expected.as_deref())
        {
            return Ok(());
        }
        let text = "Invalid appsecret_proof provided in the API argument";
        Err(Refusal(400, 104, None, text.to_owned()))
    }

    /// What is known of a token of the page: of the one made by hand, or of one that a person signed in for.
    fn known(&self, token: Option<&str>) -> Option<Known> {
        if token == Some(self.token.as_str()) {
            return Some(Known::of(SCOPES));
        }
        self.login.page_token(token)
    }

    fn find(&self, id: &str) -> Result<&Post, Refusal> {
        let post = self.posts.iter().find(|post| post.id == id && !post.deleted);
        post.ok_or_else(|| Refusal::missing(id))
    }

    fn about(&self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&[])?;
        let field = |wanted: &str| {
            let mut fields = call.guise.fields.iter();
            fields.find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let page = json!({
            "id": call.guise.id.as_deref().unwrap_or(PRACTICE_PAGE),
            "name": call.guise.name.as_ref().unwrap_or(&self.name), "link": format!("{}/{PRACTICE_PAGE}", call.base),
            "is_published": !call.guise.is("unpublished"), "about": call.guise.about(255), "website": "https://nassjo.se",
            "description": "", "general_info": field("general_info"), "mission": Value::Null, "phone": field("phone"),
            "emails": call.guise.fields.iter().filter(|(name, _)| name == "emails").map(|(_, value)| value)
                .collect::<Vec<_>>(),
            "followers_count": call.guise.followers(),
            "picture": {"data": {"height": 50, "width": 50, "is_silhouette": call.guise.is("silhouette"),
                "url": format!("{}{}", call.base, guise::AVATAR)}},
        });
        for field in parameters.fields() {
            if page.get(field).is_none() {
                return Err(Refusal::parameter(format_args!(
                    "Tried accessing nonexisting field ({field}) on node type (Page)"
                )));
            }
        }
        Ok(select(parameters, &page))
    }

    fn create(&mut self, call: &mut Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["message", "link", "published", "attached_media"])?;
        let message = parameters.get("message").unwrap_or_default();
        let link = parameters.get("link");
        let media = media(parameters)?;
        if link.is_some() && !media.is_empty() {
            return Err(Refusal::parameter("link and attached_media exclude each other"));
        }
        let unknown = |id: &&String| {
            !self
                .photos
                .iter()
                .any(|photo| photo.id == **id && !photo.attached)
        };
        if let Some(id) = media.iter().find(unknown) {
            return Err(Refusal::parameter(format_args!(
                "Invalid photo {id} in attached_media"
            )));
        }
        if message.trim().is_empty() && link.is_none() && media.is_empty() {
            return Err(Refusal::parameter(
                "You must provide a message, link or attached_media",
            ));
        }
        if message.encode_utf16().count() > MAX_UTF16 {
            return Err(Refusal::parameter("Param message is too long"));
        }
        let published = match parameters.get("published") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(Refusal::parameter("Param published must be a boolean")),
        };
        let valid = |link: &str| Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if link.is_some_and(|link| !valid(link)) {
            let text = "The link could not be used.";
            return Err(Refusal(400, 100, Some(1_609_005), text.to_owned()));
        }
        let repeated = self.posts.iter().rev().any(|post| {
            !post.deleted && post.message == message && call.now.duration_since(post.at) < REPEAT
        });
        if repeated {
            return Err(Refusal(
                400,
                506,
                None,
                "(#506) Duplicate status message".to_owned(),
            ));
        }
        let pictures = self.attach(&media);
        let post = Post {
            id: format!("{PRACTICE_PAGE}_{}", 2001 + self.posts.len()),
            message: message.to_owned(),
            at: call.now,
            published,
            deleted: false,
        };
        let mut all = links(message);
        all.extend(
            link.filter(|link| !all.iter().any(|l| l == link))
                .map(str::to_owned),
        );
        let posted = Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: post.id.clone(),
            text: message.to_owned(),
            links: all,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures,
            shown: std::collections::BTreeMap::new(),
        };
        if published {
            call.book.posts.push(posted);
        } else {
            call.book.backstage.push(posted);
        }
        let answer = select(parameters, &show(&post, call.base));
        self.posts.push(post);
        Ok(answer)
    }

    /// Takes uploaded photos into a post.
    fn attach(&mut self, media: &[String]) -> Vec<ShownPicture> {
        let mut pictures = Vec::new();
        for photo in self.photos.iter_mut().filter(|photo| media.contains(&photo.id)) {
            photo.attached = true;
            pictures.push(ShownPicture {
                alt: photo.alt.clone(),
                media_type: photo.media_type.to_owned(),
                digest: hex::encode(Sha256::digest(&photo.bytes)),
                bytes: photo.bytes.clone(),
            });
        }
        pictures
    }

    fn edit(&mut self, id: &str, call: &mut Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["message", "is_pinned", "attached_media"])?;
        self.find(id)?;
        let media = media(parameters)?;
        if let Some(id) = media
            .iter()
            .find(|id| !self.photos.iter().any(|photo| photo.id == **id))
        {
            return Err(Refusal::parameter(format_args!(
                "Invalid photo {id} in attached_media"
            )));
        }
        let pictures = self.attach(&media);
        let (message, pinned) = (parameters.get("message"), parameters.get("is_pinned"));
        if message.is_none() && pinned.is_none() {
            return Err(Refusal::parameter("nothing to change"));
        }
        if message.is_some_and(|message| message.trim().is_empty()) {
            return Err(Refusal::parameter("message must not be empty"));
        }
        if message.is_some_and(|message| message.encode_utf16().count() > MAX_UTF16) {
            return Err(Refusal::parameter("Param message is too long"));
        }
        let pinned = match pinned {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Refusal::parameter("Param is_pinned must be a boolean")),
        };
        for posted in &mut call.book.posts {
            let is_it = posted.remote_id == id;
            if let Some(message) = message.filter(|message| is_it && *message != posted.text) {
                message.clone_into(&mut posted.text);
                posted.links = links(message);
                posted.edited_at = Some(call.now);
            }
            if is_it && !pictures.is_empty() {
                posted.pictures.clone_from(&pictures);
            }
            // A page has one place on top.
            match pinned {
                Some(true) => posted.pinned = is_it,
                Some(false) if is_it => posted.pinned = false,
                Some(false) | None => {}
            }
        }
        if let Some(message) = message {
            for post in self.posts.iter_mut().filter(|post| post.id == id) {
                message.clone_into(&mut post.message);
            }
        }
        Ok(json!({"success": true}))
    }

    fn upload(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["published", "alt_text_custom"])?;
        if parameters.get("published") != Some("false") {
            return Err(Refusal::parameter("published photos are not simulated"));
        }
        let form = multipart::fields(call.headers, call.body).unwrap_or_default();
        let files: Vec<_> = form.iter().filter(|field| field.file_name.is_some()).collect();
        let [file] = files.as_slice() else {
            return Err(Refusal(400, 324, None, "(#324) Requires upload file".to_owned()));
        };
        if file.name != "source" {
            return Err(Refusal::parameter(format_args!(
                "Unknown parameter {}",
                file.name
            )));
        }
        let kind = super::mastodon::media::kind(file.value);
        let Some(media_type) = kind.filter(|_| file.value.len() <= MAX_PHOTO) else {
            let text =
                "Your photos couldn't be uploaded. Photos should be smaller than 4 MB and saved as JPG, PNG.";
            return Err(Refusal(400, 324, Some(1_366_046), text.to_owned()));
        };
        let alt = parameters.get("alt_text_custom").unwrap_or_default();
        if alt.trim().is_empty() {
            return Err(Refusal::parameter(
                "alt_text_custom must say what the photo shows",
            ));
        }
        let id = (3001 + self.photos.len()).to_string();
        self.photos.push(Photo {
            id: id.clone(),
            alt: alt.to_owned(),
            media_type,
            bytes: file.value.to_vec(),
            attached: false,
        });
        Ok(json!({ "id": id }))
    }

    fn delete(
        &mut self,
        id: &str,
        call: &mut Call<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Value, Refusal> {
        parameters.only(&[])?;
        self.find(id)?;
        for post in self.posts.iter_mut().filter(|post| post.id == id) {
            post.deleted = true;
        }
        let booked = call.book.posts.iter_mut().chain(&mut call.book.backstage);
        for posted in booked.filter(|posted| posted.remote_id == id) {
            posted.deleted_at = Some(call.now);
            posted.pinned = false;
        }
        Ok(json!({"success": true}))
    }

    fn list(&self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["limit", "since", "until", "after"])?;
        let number = |name| -> Result<Option<i64>, Refusal> {
            let given = parameters.get(name).map(str::parse).transpose();
            given.map_err(|_| Refusal::parameter(format_args!("Param {name} must be a number")))
        };
        let limit = usize::try_from(number("limit")?.unwrap_or(25).clamp(1, 100)).unwrap_or(25);
        let (since, until) = (number("since")?, number("until")?);
        let mut shown: Vec<&Post> = self
            .posts
            .iter()
            .rev()
            .filter(|post| !post.deleted && post.published)
            .filter(|post| since.is_none_or(|since| post.at.as_second() >= since))
            .filter(|post| until.is_none_or(|until| post.at.as_second() <= until))
            .collect();
        if let Some(after) = parameters.get("after") {
            let at = shown.iter().position(|post| post.id == after);
            let at = at.ok_or_else(|| Refusal::parameter("Invalid cursor"))?;
            shown.drain(..=at);
        }
        let more = shown.len() > limit;
        shown.truncate(limit);
        let others = call.guise.others.iter().map(|other| show_other(other, call.base));
        // What others made is only on the first page.
        let others = others.filter(|_| parameters.get("after").is_none());
        let own = shown.iter().map(|post| show(post, call.base));
        let data: Vec<Value> = others.chain(own).map(|post| select(parameters, &post)).collect();
        let mut body = json!({ "data": data });
        if let (Some(first), Some(last)) = (shown.first(), shown.last()) {
            body["paging"] = json!({"cursors": {"before": first.id, "after": last.id}});
            if more {
                body["paging"]["next"] = format!("{}{}?after={}", call.base, call.path, last.id).into();
            }
        }
        Ok(body)
    }
}

impl Simulator for FacebookPage {
    fn secrets(&self) -> Vec<(String, String)> {
        vec![
            ("access_token".to_owned(), self.token.clone()),
            ("app_secret".to_owned(), self.app_secret.clone()),
            ("client_id".to_owned(), self.client_id.clone()),
        ]
    }

    fn command(&mut self, what: &str, _now: Timestamp) -> bool {
        if what == "revoke-first" {
            self.token = random();
            return true;
        }
        self.login.command(what)
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        if let (&Method::GET, [PRACTICE_PAGE, "posts", number]) = (call.method, path.as_slice()) {
            let post = self.find(&format!("{PRACTICE_PAGE}_{number}")).ok();
            return page(post.map(|post| post.message.as_str()));
        }
        // Without a version the app's oldest one would serve; we always name it.
        let (version, rest) = match path.split_first() {
            Some((version, rest)) if version.starts_with('v') => (*version, rest),
            _ => return Refusal(400, 2500, None, "Unknown path components".to_owned()).answer(),
        };
        if let Some(answer) = self.login.browse(&call, rest) {
            return answer;
        }
        let mut answer = match self.route(&mut call, rest) {
            Ok(body) => reply(200, &body),
            Err(refusal) => refusal.answer(),
        };
        if let Ok(version) = HeaderValue::from_str(version) {
            answer.headers_mut().insert("facebook-api-version", version);
        }
        let usage = HeaderValue::from_static(r#"{"call_count":1,"total_time":1,"total_cputime":1}"#);
        answer.headers_mut().insert("x-app-usage", usage);
        answer
    }
}

#[derive(Clone, Copy)]
pub(super) struct Parameters<'a>(pub &'a [(String, String)]);

impl<'a> Parameters<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn fields(self) -> impl Iterator<Item = &'a str> {
        self.get("fields").unwrap_or("id").split(',')
    }

    /// Refuses every parameter besides the common ones and `known`.
    pub(super) fn only(self, known: &[&str]) -> Result<(), Refusal> {
        let unknown = self
            .0
            .iter()
            .find(|(name, _)| !COMMON.contains(&name.as_str()) && !known.contains(&name.as_str()));
        match unknown {
            Some((name, _)) => Err(Refusal::parameter(format_args!("Unknown parameter {name}"))),
            None => Ok(()),
        }
    }
}

pub(super) fn parameters(call: &Call<'_>) -> Result<Vec<(String, String)>, Refusal> {
    if call.query("access_token").is_some() {
        return Err(Refusal::parameter("a token does not belong into an address"));
    }
    let mut parameters = call.query.clone();
    if call.method == Method::POST {
        let kind = call.header("content-type").unwrap_or_default();
        if let Some(form) = multipart::fields(call.headers, call.body) {
            let texts = form.iter().filter(|field| field.file_name.is_none());
            parameters.extend(texts.filter_map(|field| Some((field.name.clone(), field.text()?))));
            return Ok(parameters);
        }
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(Refusal::parameter("the simulator takes forms only"));
        }
        parameters.extend(call.form());
    }
    Ok(parameters)
}

/// The photos of `attached_media`.
fn media(parameters: Parameters<'_>) -> Result<Vec<String>, Refusal> {
    let Some(text) = parameters.get("attached_media") else {
        return Ok(Vec::new());
    };
    let wrong = || Refusal::parameter("Param attached_media must be an array of {\"media_fbid\"}");
    let list: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    if list.is_empty() || list.len() > 10 {
        return Err(wrong());
    }
    let id = |one: &Value| {
        let fields = one.as_object().filter(|fields| fields.len() == 1)?;
        fields.get("media_fbid")?.as_str().map(str::to_owned)
    };
    list.iter().map(|one| id(one).ok_or_else(wrong)).collect()
}

/// A post with every field that we know.
fn show(post: &Post, base: &str) -> Value {
    let number = post.id.rsplit('_').next().unwrap_or_default();
    json!({
        "id": post.id,
        "message": post.message,
        "created_time": post.at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
        "permalink_url": format!("{base}/{PRACTICE_PAGE}/posts/{number}"),
        "is_published": post.published,
        "status_type": "mobile_status_update",
        "from": {"id": PRACTICE_PAGE, "name": "Nässjö kommun"},
        "application": {"id": "1234", "name": "Vardkase"},
    })
}

/// A post that somebody else made on the page.
fn show_other(other: &Other, base: &str) -> Value {
    json!({
        "id": other.id, "message": other.text,
        "created_time": other.at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
        "permalink_url": format!("{base}/{PRACTICE_PAGE}/posts/{}", other.id), "is_published": true,
        "from": {"id": PRACTICE_PAGE, "name": "Nässjö kommun"},
        "admin_creator": other.by.as_ref().map(|by| json!({"id": "9", "name": by})),
    })
}

/// Whether our token is still taken.
pub(super) fn alive(call: &Call<'_>) -> Result<(), Refusal> {
    let (subcode, text) = match call.guise.dead(call.now) {
        None => return Ok(()),
        Some(Dead::Expired) => (463, "Error validating access token: Session has expired."),
        Some(Dead::Revoked) => (
            458,
            "Error validating access token: The user has not authorized application 1234.",
        ),
    };
    Err(Refusal(400, 190, Some(subcode), text.to_owned()))
}

/// What a service knows of a token that it gave.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub scopes: Vec<String>,
    /// When it ends; `None` for never.
    pub expires: Option<Timestamp>,
    /// When the consent to read ends, in seconds; 0 for never.
    pub data_access: i64,
}

impl Known {
    /// A token that never ends.
    pub fn of(scopes: &[&str]) -> Self {
        Self {
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// Whether our token may do what one of these scopes is for; what needs none, it may.
pub(super) fn may(call: &Call<'_>, need: &[&str], given: &[String]) -> Result<(), Refusal> {
    let scopes = call.guise.scopes(given);
    if need.is_empty() || need.iter().any(|need| scopes.iter().any(|scope| scope == need)) {
        return Ok(());
    }
    let text = format!(
        "(#200) Requires {} permission to manage the object.",
        need.join(" or ")
    );
    Err(Refusal(403, 200, None, text))
}

/// What is told of a token; of a foreign one, that it is none.
pub(super) fn introspect(call: &Call<'_>, known: Option<&Known>, kind: &str, object: &str) -> Value {
    let foreign = || {
        let text = "The access token could not be decrypted";
        Refusal(400, 190, None, text.to_owned())
    };
    let ended = || {
        let text = "Error validating access token: Session has expired.";
        Refusal(400, 190, Some(463), text.to_owned())
    };
    let known = match (alive(call), known) {
        (Err(refusal), _) => Err(refusal),
        (Ok(()), None) => Err(foreign()),
        (Ok(()), Some(known)) if known.expires.is_some_and(|at| at <= call.now) => Err(ended()),
        (Ok(()), Some(known)) => Ok(known),
    };
    let known = match known {
        Ok(known) => known,
        Err(Refusal(_, code, subcode, message)) => {
            let error = json!({"code": code, "subcode": subcode, "message": message});
            return json!({"data": {"app_id": "1234", "is_valid": false, "scopes": [], "error": error}});
        }
    };
    let scopes = call.guise.scopes(&known.scopes);
    // "elsewhere": the person who consented ticked another page.
    let target = if call.guise.is("elsewhere") {
        "9999"
    } else {
        object
    };
    let granular: Vec<Value> = scopes
        .iter()
        .map(|scope| json!({"scope": scope, "target_ids": [target]}))
        .collect();
    json!({"data": {
        "app_id": "1234", "type": kind, "application": "Vardkase", "profile_id": object, "user_id": "1221",
        "is_valid": true, "issued_at": call.now.as_second() - 86_400,
        "expires_at": call.guise.expires_at.or(known.expires).map_or(0, Timestamp::as_second),
        "data_access_expires_at": if call.guise.is("data-access") { call.now.as_second() - 1 } else { known.data_access },
        "scopes": scopes, "granular_scopes": granular,
    }})
}

/// The fields that were asked for; the id always.
pub(super) fn select(parameters: Parameters<'_>, object: &Value) -> Value {
    let mut selected = json!({"id": object["id"]});
    for field in parameters.fields() {
        if let Some(value) = object.get(field) {
            selected[field] = value.clone();
        }
    }
    selected
}
