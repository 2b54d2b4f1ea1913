//! A company page on LinkedIn, through its versioned REST API.
//!
//! LinkedIn knows no idempotency key, but it refuses the same words twice and names the original, which is then ours if
//! it has our words and is not older than the message. Every other unknown outcome is settled by reading the page back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::patience::{Patience, Search};
use super::transport::{Answer, Effect, Transport, below, blank};
use super::without;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings, WallSite,
};
use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{PictureRule, Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

mod face;
mod little;
mod picture;
mod session;
mod sign_in;
mod verdict;

use session::{Session, Sessions};
use verdict::{Fault, is_post};

/// A company page on LinkedIn.
pub static KIND: Kind = Kind {
    id: "linkedin",
    about: "A company page on LinkedIn",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
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
        const fn secret(name: &'static str, required: bool) -> SecretName {
            SecretName {
                name,
                required,
                internal: false,
            }
        }
        const SECRETS: &[SecretName] = &[
            secret("access_token", true),
            secret("refresh_token", false),
            secret("client_id", false),
            secret("client_secret", false),
            SecretName {
                name: session::SECRET,
                required: false,
                internal: true,
            },
        ];
        SECRETS
    },
    // 100 calls a day and member in the development tier, read-back and verifying included; others pace themselves at
    // 100 posts a day.
    pace: Pace {
        attempts: 60,
        per: Duration::from_hours(24),
        burst: 10,
        parallel: 1,
    },
    // Two calls each time of the 100 that a member has in a day on the development tier (reference page §5): a crisis has
    // the others.
    verify_every: Duration::from_hours(3),
    read,
};

/// The page of every simulated account: the adapter of a drill does not even know the number of the real one.
pub(crate) const PRACTICE_PAGE: &str = "2414183";

/// Counted in UTF-16 units and escaped, the most cautious reading of "characters" (reference page §3).
const MAX_TEXT: usize = 3000;
/// In use in September 2026; lives a year at least.
const DEFAULT_VERSION: &str = "202609";
/// Most versions that may be named.
const MAX_VERSIONS: usize = 5;
/// How long before a version's end is warned of it: 60 days.
const WARN_AHEAD: Duration = Duration::from_hours(60 * 24);
/// How long after an attempt its post may take to show: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Posts per page of an answer.
const PAGE: usize = 50;
/// How many of those are read at most.
const PAGES: usize = 4;
/// After so many attempts to post, words that LinkedIn refuses to take twice without naming a post of ours are not ours.
const TRIES: u32 = 4;
/// How often a change is looked for, and the pause between: LinkedIn shows it late now and then.
const LOOKS_AT_EDIT: u32 = 2;
const PAUSE_AFTER_EDIT: Duration = Duration::from_millis(800);
/// The step that counts how often a request to post was about to leave.
const CREATE: &str = "create";
/// What a token must be allowed to do.
const SCOPE: &str = "w_organization_social";

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let organization = section.required::<String>("organization", "the page's number, such as \"2414183\"");
    let is_number = |id: &str| (1..=19).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
    if organization.as_deref().is_some_and(|id| !is_number(id)) {
        section.problem(
            "organization",
            "must be the page's number: digits only, in quotation marks",
        );
    }
    let versions = read_versions(section);
    let base_url = section.address("base_url", false);
    let base_url = base_url.or_else(|| Url::parse("https://api.linkedin.com").ok());
    let login_url = section.address("login_url", false);
    let login_url = login_url.or_else(|| Url::parse("https://www.linkedin.com").ok());
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(LinkedIn {
        organization: organization?,
        versions,
        base_url: base_url?,
        login_url: login_url?,
        settle_wait,
    }))
}

/// The versions of `version`, one or a list.
fn read_versions(section: &mut Section<'_>) -> Vec<String> {
    const EXPECTED: &str =
        "a version of the API by year and month, such as \"202609\", or a list of them, the first one first";
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Versions {
        One(String),
        Several(Vec<String>),
    }
    let versions = match section.optional::<Versions>("version", EXPECTED) {
        None => vec![DEFAULT_VERSION.to_owned()],
        Some(Versions::One(version)) => vec![version],
        Some(Versions::Several(versions)) => versions,
    };
    for version in versions.iter().filter(|version| sunset(version).is_none()) {
        section.problem(
            "version",
            format!("{version:?} is no version; expected one such as \"{DEFAULT_VERSION}\""),
        );
    }
    if !(1..=MAX_VERSIONS).contains(&versions.len()) {
        section.problem(
            "version",
            format!("names {} versions; expected 1 to {MAX_VERSIONS}", versions.len()),
        );
    }
    versions
}

/// When a version may end: a year later, on the 15th, as others have seen it. `None` if it is no version.
fn sunset(version: &str) -> Option<Timestamp> {
    if version.len() != 6 || !version.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, month) = version.split_at(4);
    let year: u16 = year.parse().ok().filter(|year| (2023..=2099).contains(year))?;
    format!("{}-{month}-15T00:00:00Z", year + 1).parse().ok()
}

/// What there is to say of a version at `now`, if its end is near.
fn version_warning(version: &str, now: Timestamp) -> Option<String> {
    let ends = sunset(version)?;
    (crate::clock::later(now, WARN_AHEAD) >= ends).then(|| {
        format!(
            "version {version} of LinkedIn's API may end on {}, and then nothing is published; set `version` to a newer \
             one",
            ends.strftime("%Y-%m-%d")
        )
    })
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct LinkedIn {
    organization: String,
    /// The version that is spoken, and those that take its place when LinkedIn has it no more. Never empty.
    versions: Vec<String>,
    base_url: Url,
    login_url: Url,
    settle_wait: Duration,
}

impl Settings for LinkedIn {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(MAX_TEXT),
            unit: Unit::LittleText,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            organization: PRACTICE_PAGE.to_owned(),
            base_url: site.base.clone(),
            login_url: site.base.clone(),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("base_url", self.base_url.to_string()),
            ("login_url", self.login_url.to_string()),
            ("organization", self.organization.clone()),
        ]
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        Some(PictureRule {
            media_types: &["image/jpeg", "image/png"],
            max_bytes: 5_000_000,
            max_edge: 4096,
            max_alt: 300,
            required: false,
        })
    }

    fn warning(&self, now: Timestamp) -> Option<String> {
        version_warning(self.versions.first()?, now)
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        Some(Box::new(sign_in::ByMember::new(self, parts)))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            sessions: Sessions::new(&self.login_url, &parts),
            version: AtomicUsize::new(0),
            settings: self.clone(),
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: LinkedIn,
    /// Which of the configured versions is spoken. Forgetting it in a restart costs one request.
    version: AtomicUsize,
    sessions: Sessions,
    http: Transport,
}

/// One request.
#[derive(Debug, Clone)]
struct Ask {
    method: Method,
    url: Url,
    /// What of Rest.li's methods it is, where the HTTP method does not say it.
    restli: Option<&'static str>,
    body: Option<Value>,
    bytes: Option<Vec<u8>>,
    effect: Effect,
}

impl Ask {
    fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            restli: None,
            body: None,
            bytes: None,
            effect: Effect::Reads,
        }
    }

    fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let mut image = self.image(post).await?;
        let before = begun(post);
        post.steps
            .record(CREATE, &before.saturating_add(1).to_string())
            .await
            .map_err(SendError::NotSent)?;
        let mut asked_twice = false;
        // Each way round takes away something that was refused, with nothing made, so that it ends.
        loop {
            match self.create(post, image.as_deref()).await? {
                Ok(receipt) => {
                    return Ok(Receipt {
                        note: without::joined(picture::note(post).into_iter().chain(self.replaced())),
                        ..receipt
                    });
                }
                Err(Fault::Forbidden(_)) if !asked_twice => asked_twice = true,
                Err(Fault::Picture(_)) if image.is_some() => image = self.leave_out(post).await?,
                // These words are not from us: no request to post had left before, or it was settled often enough.
                Err(Fault::Duplicate(reason, None)) if before == 0 || before >= TRIES => {
                    return Err(used(
                        "the same words stand on the page already, or stood there lately",
                        &reason,
                    ));
                }
                Err(Fault::Duplicate(reason, Some(original))) if before == 0 => {
                    return Err(used(
                        &format!("the same words stand or stood on the page, as {original}"),
                        &reason,
                    ));
                }
                Err(Fault::Duplicate(reason, Some(original))) => {
                    return self.adopt(post, &original, reason).await;
                }
                Err(fault) => return Err(fault.into_error(Effect::Writes)),
            }
        }
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        if begun(&question.post) == 0 {
            return Ok(Settled::Absent);
        }
        let patience = Patience::of(self.settings.settle_wait);
        for look in 0..Patience::LOOKS {
            patience.before(look).await;
            if let Some(settled) = Search::settles(self.search(question).await, PAGE * PAGES)? {
                return Ok(settled);
            }
        }
        patience.absent(question)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let ask = Ask {
            restli: Some("DELETE"),
            ..Ask::new(Method::DELETE, self.named("posts", &receipt.remote_id))
        };
        // Taking away twice is harmless, so that a failure never needs settling.
        let answer = self.send(ask).await?;
        let fault = (!answer.is_success()).then(|| verdict::fault(&answer));
        match fault {
            None | Some(Fault::Missing(_)) => Ok(()),
            Some(fault) => Err(fault.into_error(Effect::Reads)),
        }
    }

    async fn edit(&self, receipt: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let text = little::escape(&post.rendering.text);
        let ask = Ask {
            restli: Some("PARTIAL_UPDATE"),
            body: Some(json!({"patch": {"$set": {"commentary": text}}})),
            ..Ask::new(Method::POST, self.named("posts", &receipt.remote_id))
        };
        // Changing twice into the same is harmless too.
        self.done(ask).await?;
        // It has been seen to say yes and change nothing.
        for look in 0..LOOKS_AT_EDIT {
            if look > 0 {
                tokio::time::sleep(PAUSE_AFTER_EDIT).await;
            }
            let (shown, _) = self.ok(Ask::get(self.named("posts", &receipt.remote_id))).await?;
            let commentary = shown["commentary"].as_str().unwrap_or_default();
            if little::written(commentary) == little::normal(&post.rendering.text) {
                let keeps = post.picture.as_ref();
                let keeps = keeps.map(|_| without::keeps("LinkedIn lets nothing but the words be changed"));
                return Ok(Receipt {
                    note: keeps,
                    ..receipt.clone()
                });
            }
        }
        Err(no_sense(
            "the change was taken, but the post still has its old words",
        ))
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

    async fn renew(&self, now: Timestamp) -> Result<super::Renewal, SendError> {
        self.sessions.renew_due(now).await
    }
}

impl Account {
    fn author(&self) -> String {
        format!("urn:li:organization:{}", self.settings.organization)
    }

    fn url(&self, segments: &[&str]) -> Url {
        below(&self.settings.base_url, segments.iter().copied())
    }

    /// The address of something that has a name with colons, which have to be escaped.
    fn named(&self, what: &str, urn: &str) -> Url {
        let mut url = self.url(&["rest", what]);
        let escaped: String = url::form_urlencoded::byte_serialize(urn.as_bytes()).collect();
        url.set_path(&format!("{}/{escaped}", url.path()));
        url
    }

    /// The version that is spoken now.
    fn version(&self) -> &str {
        let versions = &self.settings.versions;
        let spoken = versions
            .get(self.version.load(Ordering::Relaxed))
            .or_else(|| versions.last());
        spoken.map_or(DEFAULT_VERSION, String::as_str)
    }

    /// What there is to say if it is not the first one of the configuration.
    fn replaced(&self) -> Option<String> {
        let first = self
            .settings
            .versions
            .first()
            .filter(|first| *first != self.version())?;
        let spoken = self.version();
        Some(format!(
            "LinkedIn has version {first} no more, so that {spoken} was spoken; correct `version` in config.toml"
        ))
    }

    /// Sends a request; if the version is no more, with the next one of the configuration, and if the token is not taken,
    /// once more with a renewed one. Nothing was looked at in either case.
    async fn send(&self, ask: Ask) -> Result<Answer, SendError> {
        let session = self.sessions.current().await?;
        let mut answer = self.send_with(&session, &ask).await?;
        loop {
            let spoken = self.version.load(Ordering::Relaxed);
            let no_more = !answer.is_success() && matches!(verdict::fault(&answer), Fault::Version(_));
            if !no_more || spoken + 1 >= self.settings.versions.len() {
                break;
            }
            self.version.store(spoken + 1, Ordering::Relaxed);
            answer = self.send_with(&session, &ask).await?;
        }
        if answer.is_success() || !matches!(verdict::fault(&answer), Fault::Token(_)) {
            return Ok(answer);
        }
        let renewed = self.sessions.renewed(&session).await?;
        self.send_with(&renewed, &ask).await
    }

    /// Sends a request. What LinkedIn repeats of our secrets is blanked at once.
    async fn send_with(&self, session: &Session, ask: &Ask) -> Result<Answer, SendError> {
        let mut request = self
            .http
            .request(ask.method.clone(), ask.url.clone())
            .bearer_auth(session.token())
            .header("LinkedIn-Version", self.version())
            .header("X-Restli-Protocol-Version", "2.0.0");
        if let Some(method) = ask.restli {
            request = request.header("X-RestLi-Method", method);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        if let Some(bytes) = &ask.bytes {
            request = request
                .header("content-type", "application/octet-stream")
                .body(bytes.clone());
        }
        let mut answer = self.http.send(request, ask.effect).await?;
        if !answer.is_success() {
            for secret in self.sessions.unspeakable(session) {
                blank(&mut answer.body, secret.as_bytes());
            }
        }
        Ok(answer)
    }

    /// Sends a request without effect that has to succeed.
    async fn done(&self, ask: Ask) -> Result<Answer, SendError> {
        let answer = self.send(ask).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(verdict::fault(&answer).into_error(Effect::Reads))
        }
    }

    /// The same, with what it answered.
    async fn ok(&self, ask: Ask) -> Result<(Value, Answer), SendError> {
        let bare = ask.bytes.is_some();
        let answer = self.done(ask).await?;
        match answer.json() {
            Some(body) => Ok((body, answer)),
            None if bare => Ok((Value::Null, answer)),
            None => Err(no_sense("it is not JSON")),
        }
    }

    /// A post without a picture, published or not.
    fn words(&self, post: &Post, state: &str) -> Value {
        json!({
            "author": self.author(),
            "commentary": little::escape(&post.rendering.text),
            "visibility": "PUBLIC",
            "distribution": {"feedDistribution": "MAIN_FEED", "targetEntities": [], "thirdPartyDistributionChannels": []},
            "lifecycleState": state,
            "isReshareDisabledByAuthor": false,
        })
    }

    /// Makes the post. The outer error is one of contact, the inner one the service's own.
    async fn create(&self, post: &Post, image: Option<&str>) -> Result<Result<Receipt, Fault>, SendError> {
        let mut body = self.words(post, "PUBLISHED");
        if let (Some(image), Some(picture)) = (image, post.picture.as_deref()) {
            body["content"] = picture::content(image, picture);
        }
        let ask = Ask {
            body: Some(body),
            effect: Effect::Writes,
            ..Ask::new(Method::POST, self.url(&["rest", "posts"]))
        };
        let answer = self.send(ask).await?;
        if !answer.is_success() {
            return Ok(Err(verdict::fault(&answer)));
        }
        // The body is empty; the post is named in a header.
        let urn = ["x-restli-id", "x-linkedin-id"]
            .into_iter()
            .find_map(|name| answer.header(name));
        if let Some(urn) = urn.filter(|urn| is_post(urn)) {
            return Ok(Ok(self.receipt(urn)));
        }
        let text = format!("LinkedIn answered {} without naming the post", answer.status);
        Err(SendError::Unknown(Reason::new("unreadable", text)))
    }

    /// Looks at the post that LinkedIn calls the original of ours. It is ours if it has our words and is not older than
    /// the message; otherwise the words have been used before.
    async fn adopt(&self, post: &Post, original: &str, reason: Reason) -> Result<Receipt, SendError> {
        let mut earlier = [&post.root, &post.parent].into_iter().flatten();
        if earlier.any(|receipt| receipt.remote_id == original) {
            return Err(used(
                "the same words stand on the page already, from an earlier message",
                &reason,
            ));
        }
        let answer = self.send(Ask::get(self.named("posts", original))).await;
        let Ok(answer) = answer else {
            return Err(SendError::Unknown(reason));
        };
        if !answer.is_success() {
            return Err(match verdict::fault(&answer) {
                // The memory of LinkedIn goes further than its posts, for a day or two.
                Fault::Missing(_) => used(
                    "the same words stood on the page lately and were taken away",
                    &reason,
                ),
                Fault::Token(_)
                | Fault::Busy { .. }
                | Fault::Version(_)
                | Fault::Refused(_)
                | Fault::Forbidden(_)
                | Fault::Picture(_)
                | Fault::Duplicate(..)
                | Fault::Temporary(_) => SendError::Unknown(reason),
            });
        }
        let shown = answer.json().unwrap_or(Value::Null);
        let ours = little::written(shown["commentary"].as_str().unwrap_or_default())
            == little::normal(&post.rendering.text);
        let since = self.http.earliest(post.accepted_at);
        match created(&shown) {
            Some(at) if ours && at >= since => {
                let note = "LinkedIn named this post as the original: an earlier attempt had got through";
                Ok(Receipt {
                    note: without::joined(picture::note(post).into_iter().chain([note.to_owned()])),
                    ..self.receipt(original)
                })
            }
            Some(_) => Err(used(
                &format!("the same words stand on the page already, as {original}"),
                &reason,
            )),
            None => Err(SendError::Unknown(reason)),
        }
    }

    /// Looks for the post among those since the attempt.
    async fn search(&self, question: &Question) -> Result<Search, SendError> {
        let since = question.earliest();
        let wanted = little::normal(&question.post.rendering.text);
        for page in 0..PAGES {
            let mut url = self.url(&["rest", "posts"]);
            url.query_pairs_mut()
                .append_pair("q", "author")
                .append_pair("author", &self.author())
                .append_pair("count", &PAGE.to_string())
                .append_pair("start", &(page * PAGE).to_string())
                .append_pair("sortBy", "LAST_MODIFIED");
            let (body, _) = self
                .ok(Ask {
                    restli: Some("FINDER"),
                    ..Ask::get(url)
                })
                .await?;
            let posts = body["elements"]
                .as_array()
                .ok_or_else(|| no_sense("no list of posts"))?;
            for found in posts {
                let urn = found["id"].as_str().filter(|urn| is_post(urn));
                let (Some(urn), Some(at)) = (urn, created(found)) else {
                    return Err(no_sense("a post without id or time"));
                };
                // The latest change comes first: what follows was neither made nor changed since.
                if time(&found["lastModifiedAt"]).unwrap_or(at) < since {
                    return Ok(Search::NotThere);
                }
                let commentary = found["commentary"].as_str().unwrap_or_default();
                let is_taken = question.taken.iter().any(|taken| taken == urn);
                if at >= since && !is_taken && little::written(commentary) == wanted {
                    let note = picture::note(&question.post);
                    return Ok(Search::Found(Receipt {
                        note,
                        ..self.receipt(urn)
                    }));
                }
            }
            if posts.len() < PAGE {
                return Ok(Search::NotThere);
            }
        }
        Ok(Search::TooMuch)
    }

    fn receipt(&self, urn: &str) -> Receipt {
        let site = if self.settings.base_url.scheme() == "https" {
            Url::parse("https://www.linkedin.com").unwrap_or_else(|_| self.settings.base_url.clone())
        } else {
            self.settings.base_url.clone()
        };
        Receipt::of(urn).at(below(&site, ["feed", "update", urn, ""]))
    }
}

/// Words that LinkedIn takes once, and that are not ours.
fn used(what: &str, reason: &Reason) -> SendError {
    let text = format!(
        "{what}; change the text, for example by a time of day: {}",
        reason.text
    );
    SendError::Refused(Reason::new("duplicate", text))
}

/// How often a request to post this was about to leave.
fn begun(post: &Post) -> u32 {
    let step = post.steps.get(CREATE);
    // What cannot be read was written by us all the same.
    step.map_or(0, |times| times.parse().unwrap_or(1))
}

fn created(post: &Value) -> Option<Timestamp> {
    time(&post["createdAt"]).or_else(|| time(&post["publishedAt"]))
}

/// Milliseconds since 1970.
fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond(value.as_i64()?).ok()
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("LinkedIn's answer makes no sense: {what}"),
    ))
}

/// What a service says, short enough to show.
fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
