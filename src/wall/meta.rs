//! What the simulators of Threads and Instagram share: tokens that are renewed, containers, and pictures that the service
//! fetches by their address. As Meta fetches them from the public web, so these are taken from the account's own folder,
//! and from nowhere else: nothing that is sent to the wall makes it speak to another machine.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::consent::{Desk, Person, random};
use super::facebook_page::{Known, Parameters, Refusal, alive, introspect};
use super::meta_login::{after, asked, no_session, stale};
use super::sim::{Call, page};
use super::{Posted, ShownPicture};
use crate::channel::public_folder::PRACTICE;
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

/// How long a container waits to be published, and over which time quotas are counted.
pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long a long-lived token holds, in seconds.
const LIFE: u64 = 5_183_944;
/// Most bytes of a picture.
const MAX_PICTURE: usize = 8_000_000;

/// A token of an account.
struct Held {
    value: String,
    person: Person,
    scopes: Vec<String>,
    expires: Option<Timestamp>,
    is_short: bool,
}

/// What differs between the log-ins of the services.
pub(super) struct Service {
    pub name: &'static str,
    pub scopes: &'static [&'static str],
    pub exchange: &'static str,
    pub renewal: &'static str,
    /// The account that a token is about.
    pub object: &'static str,
}

/// The tokens of an account: the one that it was given, those that took its place, and those of people who signed in.
pub(super) struct Tokens {
    service: &'static Service,
    pub client: [String; 2],
    desk: Desk,
    held: Vec<Held>,
    /// When the newest was made; `None` for the first one, which is a month old.
    renewed: Option<Timestamp>,
}

impl Tokens {
    /// The account with one token, made by hand, that may `first`.
    pub fn new(service: &'static Service, first: &[&str]) -> Self {
        Self {
            service,
            client: [random(), random()],
            desk: Desk::default(),
            held: vec![Held {
                value: random(),
                person: Person::Account,
                scopes: first.iter().map(|scope| (*scope).to_owned()).collect(),
                expires: None,
                is_short: false,
            }],
            renewed: None,
        }
    }

    /// What the vault is given.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let first = self
            .held
            .first()
            .map(|held| held.value.clone())
            .unwrap_or_default();
        let [id, secret] = &self.client;
        vec![
            ("access_token".to_owned(), first),
            ("client_id".to_owned(), id.clone()),
            ("client_secret".to_owned(), secret.clone()),
        ]
    }

    pub fn command(&mut self, what: &str, now: Timestamp) -> bool {
        match what {
            "expire-codes" => self.desk.expire(),
            "expire-tokens" => self.held.iter_mut().for_each(|held| held.expires = Some(now)),
            "revoke-tokens" => self.held.clear(),
            "revoke-first" if !self.held.is_empty() => drop(self.held.remove(0)),
            _ => return false,
        }
        true
    }

    /// As whom the caller is signed in.
    pub fn check(&self, call: &Call<'_>) -> Result<Person, Refusal> {
        Ok(self.token(call)?.person)
    }

    fn token(&self, call: &Call<'_>) -> Result<&Held, Refusal> {
        let Some(token) = call.bearer() else {
            let text = "An access token is required to request this resource.";
            return Err(Refusal(400, 104, None, text.to_owned()));
        };
        let held = self.held.iter().find(|held| held.value == token);
        let held = held.ok_or_else(no_session)?;
        // It may ask about itself even when it is dead.
        if call.path.ends_with("/debug_token") {
            return Ok(held);
        }
        alive(call)?;
        if held.expires.is_some_and(|at| at <= call.now) {
            let text = "Error validating access token: Session has expired.";
            return Err(Refusal(400, 190, Some(463), text.to_owned()));
        }
        Ok(held)
    }

    /// What a browser sees; `None` if it asks for something else.
    pub fn browse(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Response<Vec<u8>>> {
        match (call.method, path) {
            (&Method::GET, ["oauth", "authorize"]) => {
                Some(match asked(call, &self.client[0], self.service.scopes, ',') {
                    Ok(asked) => self.desk.open(self.service.name, asked, call),
                    Err(why) => super::consent::refuse(&why),
                })
            }
            (&Method::POST, ["oauth", "authorize"]) => Some(self.desk.decide(call)),
            _ => None,
        }
    }

    /// Answers what belongs to the log-in; `None` if the request does not.
    pub fn route(
        &mut self,
        call: &Call<'_>,
        path: &[&str],
        parameters: Parameters<'_>,
    ) -> Option<Result<Value, Refusal>> {
        match (call.method, path) {
            (&Method::POST, ["oauth", "access_token"]) => Some(self.redeem(call, parameters)),
            (&Method::GET, ["access_token"]) => Some(self.lengthen(call, parameters)),
            (&Method::GET, ["refresh_access_token"]) => Some(self.renew(call, parameters)),
            (&Method::GET, ["debug_token"]) => Some(self.inspect(call, parameters)),
            _ => None,
        }
    }

    fn redeem(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["client_id", "client_secret", "grant_type", "redirect_uri", "code"])?;
        let field = |name: &str| parameters.get(name).unwrap_or_default();
        if [field("client_id"), field("client_secret")] != [self.client[0].as_str(), &self.client[1]] {
            return Err(Refusal(
                401,
                101,
                None,
                "Error validating application.".to_owned(),
            ));
        }
        if field("grant_type") != "authorization_code" {
            return Err(Refusal::parameter("Invalid grant_type"));
        }
        let of = (field("client_id"), field("redirect_uri"));
        let agreed = self
            .desk
            .redeem(field("code"), of, None, call.now)
            .map_err(stale)?;
        let value = random();
        let answer = json!({
            "access_token": value, "user_id": "178400", "permissions": agreed.scopes,
        });
        self.held.push(Held {
            value,
            person: agreed.person,
            scopes: agreed.scopes,
            expires: Some(after(call.now, 3600)),
            is_short: true,
        });
        Ok(answer)
    }

    fn lengthen(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["grant_type", "client_secret"])?;
        if parameters.get("grant_type") != Some(self.service.exchange) {
            return Err(Refusal::parameter("Invalid grant_type"));
        }
        if parameters.get("client_secret") != Some(self.client[1].as_str()) {
            return Err(Refusal(
                400,
                101,
                None,
                "Error validating client secret.".to_owned(),
            ));
        }
        let short = self.token(call)?;
        if !short.is_short {
            return Err(Refusal(
                400,
                452,
                None,
                "Session key invalid. This could be because the session key has an incorrect format"
                    .to_owned(),
            ));
        }
        let (person, scopes) = (short.person, short.scopes.clone());
        Ok(self.give(person, scopes, call.now))
    }

    fn give(&mut self, person: Person, scopes: Vec<String>, now: Timestamp) -> Value {
        let value = random();
        let answer = json!({"access_token": value, "token_type": "bearer", "expires_in": LIFE});
        self.held.push(Held {
            value,
            person,
            scopes,
            expires: Some(after(now, LIFE)),
            is_short: false,
        });
        self.renewed = Some(now);
        answer
    }

    /// A new token for a living one that is a day old. The old one lives on.
    fn renew(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        let held = self.token(call)?;
        let (person, scopes) = (held.person, held.scopes.clone());
        parameters.only(&["grant_type"])?;
        if parameters.get("grant_type") != Some(self.service.renewal) {
            return Err(Refusal::parameter("Invalid grant_type"));
        }
        if self.renewed.is_some_and(|at| call.now.duration_since(at) < DAY) {
            return Err(Refusal::parameter("The token must be at least 24 hours old"));
        }
        Ok(self.give(person, scopes, call.now))
    }

    /// What is told of a token.
    fn inspect(&self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["input_token"])?;
        self.token(call)?;
        let token = parameters.get("input_token").unwrap_or_default();
        let held = self.held.iter().find(|held| held.value == token);
        let known = held.map(|held| Known {
            scopes: held.scopes.clone(),
            expires: held.expires,
            data_access: 0,
        });
        Ok(introspect(call, known.as_ref(), "USER", self.service.object))
    }

    /// What the caller's token was given.
    pub fn scopes(&self, call: &Call<'_>) -> &[String] {
        let held = self
            .held
            .iter()
            .find(|held| Some(held.value.as_str()) == call.bearer());
        held.map_or(&[], |held| &held.scopes)
    }
}

/// Something that may be published.
#[derive(Clone)]
pub(super) struct Container {
    pub id: String,
    pub text: String,
    pub links: Vec<String>,
    pub picture: Option<ShownPicture>,
    pub answer_to: Option<String>,
    pub made: Timestamp,
    /// How often its status was asked for: a picture takes until the first time.
    pub looks: u32,
    pub published: bool,
}

/// A published post.
#[derive(Clone)]
pub(super) struct Media {
    pub id: String,
    pub text: String,
    pub is_answer: bool,
    pub at: Timestamp,
    pub deleted: bool,
}

/// Containers and posts of an account.
pub(super) struct Outlet {
    pub account: AccountId,
    pub containers: Vec<Container>,
    pub media: Vec<Media>,
}

impl Outlet {
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            containers: Vec::new(),
            media: Vec::new(),
        }
    }

    /// Keeps a container and says its id.
    pub fn make(&mut self, mut container: Container) -> Value {
        container.id = format!("17900{:06}", self.containers.len() + 1);
        let id = container.id.clone();
        self.containers.push(container);
        json!({ "id": id })
    }

    /// How a container stands; `None` if there is no such container.
    pub fn status(&mut self, id: &str, now: Timestamp) -> Option<&'static str> {
        let container = self.containers.iter_mut().find(|container| container.id == id)?;
        container.looks += 1;
        Some(if container.published {
            "PUBLISHED"
        } else if now.duration_since(container.made) >= DAY {
            "EXPIRED"
        } else if container.picture.is_some() && container.looks == 1 {
            "IN_PROGRESS"
        } else {
            "FINISHED"
        })
    }

    /// Publishes a container that is ready, once. Returns the post's id.
    pub fn publish(&mut self, id: &str, call: &mut Call<'_>, lost: Refusal) -> Result<String, Refusal> {
        let number = self.media.len() + 1;
        let Some(container) = self
            .containers
            .iter_mut()
            .find(|container| container.id == id && !container.published)
        else {
            return Err(lost);
        };
        if call.now.duration_since(container.made) >= DAY {
            return Err(lost);
        }
        if container.picture.is_some() && container.looks == 0 {
            let text = "Media ID is not available";
            return Err(Refusal(400, 9007, Some(2_207_027), text.to_owned()));
        }
        container.published = true;
        let media = Media {
            id: format!("18000{number:06}"),
            text: container.text.clone(),
            is_answer: container.answer_to.is_some(),
            at: call.now,
            deleted: false,
        };
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: media.id.clone(),
            text: container.text.clone(),
            links: container.links.clone(),
            key: None,
            in_reply_to: container.answer_to.clone(),
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: container.picture.iter().cloned().collect(),
            shown: BTreeMap::new(),
        });
        let id = media.id.clone();
        self.media.push(media);
        Ok(id)
    }

    pub fn find(&self, id: &str) -> Option<&Media> {
        self.media.iter().find(|media| media.id == id && !media.deleted)
    }

    pub fn delete(&mut self, id: &str, call: &mut Call<'_>) -> Result<(), Refusal> {
        if self.find(id).is_none() {
            return Err(Refusal::missing(id));
        }
        for media in self.media.iter_mut().filter(|media| media.id == id) {
            media.deleted = true;
        }
        for posted in call.book.posts.iter_mut().filter(|posted| posted.remote_id == id) {
            posted.deleted_at = Some(call.now);
        }
        Ok(())
    }

    /// How many were published within the last day.
    pub fn used(&self, now: Timestamp, answers: bool) -> usize {
        let recent = |media: &&Media| media.is_answer == answers && now.duration_since(media.at) < DAY;
        self.media.iter().filter(recent).count()
    }

    /// A page of what was published, newest first.
    pub fn list(
        &self,
        call: &Call<'_>,
        parameters: Parameters<'_>,
        wanted: impl Fn(&Media) -> bool,
        show: impl Fn(&Media) -> Value,
    ) -> Result<Value, Refusal> {
        parameters.only(&["limit", "since", "until", "after", "before"])?;
        let number = |name: &str| -> Result<Option<i64>, Refusal> {
            let text = parameters.get(name);
            text.map(str::parse)
                .transpose()
                .map_err(|_| Refusal::parameter(format_args!("Param {name} must be a number")))
        };
        let limit = usize::try_from(number("limit")?.unwrap_or(25))
            .unwrap_or(25)
            .clamp(1, 100);
        let (since, until) = (number("since")?, number("until")?);
        let mut shown: Vec<&Media> = self
            .media
            .iter()
            .rev()
            .filter(|media| !media.deleted && wanted(media))
            .filter(|media| since.is_none_or(|since| media.at.as_second() >= since))
            .filter(|media| until.is_none_or(|until| media.at.as_second() <= until))
            .collect();
        if let Some(after) = parameters.get("after") {
            let at = shown.iter().position(|media| media.id == after);
            let at = at.ok_or_else(|| Refusal::parameter("Invalid cursor"))?;
            shown.drain(..=at);
        }
        let more = shown.len() > limit;
        shown.truncate(limit);
        // What others made is only on the first page.
        let others = call
            .guise
            .others
            .iter()
            .filter(|_| parameters.get("after").is_none());
        let others = others.map(|other| Media {
            id: other.id.clone(),
            text: other.text.clone(),
            is_answer: false,
            at: other.at,
            deleted: false,
        });
        let others: Vec<Media> = others.filter(&wanted).collect();
        let data: Vec<Value> = others.iter().chain(shown.iter().copied()).map(show).collect();
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

/// Reads the fields that were asked for, and refuses those that the object does not have.
pub(super) fn fields(parameters: Parameters<'_>, object: &Value, kind: &str) -> Result<Value, Refusal> {
    let mut selected = json!({"id": object["id"]});
    for field in parameters.fields() {
        match object.get(field) {
            Some(Value::Null) => {}
            Some(value) => selected[field] = value.clone(),
            None => {
                return Err(Refusal::parameter(format_args!(
                    "Tried accessing nonexisting field ({field}) on node type ({kind})"
                )));
            }
        }
    }
    Ok(selected)
}

/// A picture as the service fetched it.
pub(super) struct Fetched {
    pub shown: ShownPicture,
    pub width: u32,
    pub height: u32,
}

/// Fetches a picture by its address.
pub(super) fn fetch(call: &Call<'_>, url: &str, alt: &str) -> Result<Fetched, Refusal> {
    let unreachable = || {
        let text = "The media could not be fetched from this URI";
        Refusal(400, 9004, Some(2_207_052), text.to_owned())
    };
    let below = format!("{}/{PRACTICE}/", call.base);
    let name = url.strip_prefix(&below).ok_or_else(unreachable)?;
    let bytes = file(call, name).ok_or_else(unreachable)?;
    if bytes.len() > MAX_PICTURE {
        return Err(Refusal(
            400,
            36_000,
            Some(2_207_004),
            "The image is too large".to_owned(),
        ));
    }
    let format = || {
        Refusal(
            400,
            36_001,
            Some(2_207_005),
            "The image format is not supported".to_owned(),
        )
    };
    let (media_type, width, height) = measure(&bytes).ok_or_else(format)?;
    Ok(Fetched {
        shown: ShownPicture {
            alt: alt.to_owned(),
            media_type: media_type.to_owned(),
            digest: hex::encode(Sha256::digest(&bytes)),
            bytes,
        },
        width,
        height,
    })
}

/// A file of the account's public folder; no other can be named.
fn file(call: &Call<'_>, name: &str) -> Option<Vec<u8>> {
    let (stem, ending) = name.split_once('.')?;
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_plain(stem) || !is_plain(ending) {
        return None;
    }
    std::fs::read(call.folder.join(PRACTICE).join(name)).ok()
}

/// What anybody gets who asks for a file of the public folder.
pub(super) fn serve(call: &Call<'_>, name: &str) -> Response<Vec<u8>> {
    let Some(bytes) = file(call, name) else {
        return page(None);
    };
    let media_type = measure(&bytes).map_or("application/octet-stream", |(media_type, _, _)| media_type);
    let mut response = Response::new(bytes);
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static(media_type));
    response
}

/// Media type, width and height of a JPEG or PNG, by its first bytes and not by its name.
fn measure(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let pair = |at: usize| {
        Some(u32::from(u16::from_be_bytes(
            bytes.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let quad = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        return Some(("image/png", quad(16)?, quad(20)?));
    }
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    let mut at = 2;
    loop {
        let (mark, kind) = (*bytes.get(at)?, *bytes.get(at + 1)?);
        if mark != 0xff {
            return None;
        }
        if matches!(kind, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) {
            return Some(("image/jpeg", pair(at + 7)?, pair(at + 5)?));
        }
        at += 2 + usize::try_from(pair(at + 2)?).ok()?;
    }
}
