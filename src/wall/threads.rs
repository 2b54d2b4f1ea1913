//! A simulated Threads profile: `docs/channels/threads.md` as a program. Stricter than the real one: it refuses
//! parameters that it does not know, and takes the token in its header only.

use http::{Method, Response};
use serde_json::{Value, json};
use url::Url;

use super::consent::Person;
use super::facebook_page::{Parameters, Refusal, may, parameters};
use super::guise;
use super::mastodon::text::links;
use super::meta::{Container, Media, Outlet, Service, Tokens, fetch, fields, serve};
use super::sim::{Call, Simulator, page, reply};
use crate::channel::threads::{MAX_TEXT, PRACTICE_USER};
use crate::model::AccountId;

const MAX_LINKS: usize = 5;
const MAX_ALT: usize = 1000;
const POSTS_A_DAY: usize = 250;
const REPLIES_A_DAY: usize = 1000;

static SERVICE: Service = Service {
    name: "Threads",
    scopes: &[
        "threads_basic",
        "threads_content_publish",
        "threads_manage_replies",
        "threads_read_replies",
        "threads_delete",
        "threads_manage_insights",
    ],
    exchange: "th_exchange_token",
    renewal: "th_refresh_token",
    object: PRACTICE_USER,
};

/// The profile.
pub(super) struct Threads {
    name: String,
    tokens: Tokens,
    outlet: Outlet,
}

impl Threads {
    /// A profile without posts.
    pub fn new(account: &AccountId, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tokens: Tokens::new(&SERVICE, SERVICE.scopes),
            outlet: Outlet::new(account),
        }
    }

    fn route(&mut self, call: &mut Call<'_>, path: &[&str]) -> Result<Value, Refusal> {
        let parameters = parameters(call)?;
        let parameters = Parameters(&parameters);
        if let Some(answer) = self.tokens.route(call, path, parameters) {
            return answer;
        }
        if self.tokens.check(call)? == Person::Other {
            parameters.only(&[])?;
            let other = json!({"id": "1799", "username": "anna", "name": "Anna"});
            return fields(parameters, &other, "ThreadsUser");
        }
        let need = match (call.method, path) {
            (&Method::POST, [.., "threads"]) if parameters.get("reply_to_id").is_some() => {
                "threads_manage_replies"
            }
            (&Method::POST, _) | (&Method::GET, [.., "threads_publishing_limit"]) => {
                "threads_content_publish"
            }
            (&Method::DELETE, _) => "threads_delete",
            (_, [.., "replies"]) => "threads_read_replies",
            _ => "threads_basic",
        };
        may(call, &[need], self.tokens.scopes(call))?;
        match (call.method, path) {
            (&Method::GET, ["v1.0", "me" | PRACTICE_USER]) => {
                parameters.only(&[])?;
                fields(parameters, &self.profile(call), "ThreadsUser")
            }
            (&Method::POST, ["v1.0", "me" | PRACTICE_USER, "threads"]) => self.make(call, parameters),
            (&Method::POST, ["v1.0", "me" | PRACTICE_USER, "threads_publish"]) => {
                parameters.only(&["creation_id"])?;
                let container = parameters.get("creation_id").unwrap_or_default();
                let id = self.outlet.publish(container, call, lost())?;
                Ok(json!({ "id": id }))
            }
            (&Method::GET, ["v1.0", "me" | PRACTICE_USER, list @ ("threads" | "replies")]) => {
                let answers = *list == "replies";
                let base = call.base;
                self.outlet.list(
                    call,
                    parameters,
                    |media| media.is_answer == answers,
                    |media| fields(parameters, &show(media, base), "ThreadsMedia").unwrap_or_default(),
                )
            }
            (&Method::GET, ["v1.0", "me" | PRACTICE_USER, "threads_publishing_limit"]) => {
                parameters.only(&[])?;
                Ok(json!({"data": [{
                    "quota_usage": self.outlet.used(call.now, false),
                    "config": {"quota_total": POSTS_A_DAY, "quota_duration": 86_400},
                    "reply_quota_usage": self.outlet.used(call.now, true),
                    "reply_config": {"quota_total": REPLIES_A_DAY, "quota_duration": 86_400},
                }]}))
            }
            (&Method::GET, ["v1.0", id]) => {
                parameters.only(&[])?;
                if let Some(status) = self.outlet.status(id, call.now) {
                    let container = json!({"id": id, "status": status, "error_message": Value::Null});
                    return fields(parameters, &container, "ThreadsMediaContainer");
                }
                let media = self.outlet.find(id).ok_or_else(lost)?;
                fields(parameters, &show(media, call.base), "ThreadsMedia")
            }
            (&Method::DELETE, ["v1.0", id]) => {
                parameters.only(&[])?;
                self.outlet.delete(id, call)?;
                Ok(json!({"success": true, "deleted_id": id}))
            }
            _ => {
                let text = format!("Unknown path components: {}", call.path);
                Err(Refusal(400, 2500, None, text))
            }
        }
    }

    fn profile(&self, call: &Call<'_>) -> Value {
        let guise = call.guise;
        json!({
            "id": guise.id.as_deref().unwrap_or(PRACTICE_USER), "username": "nassjokommun",
            "name": guise.name.as_ref().unwrap_or(&self.name), "is_verified": true,
            "threads_biography": guise.about(150),
            "threads_profile_picture_url": format!("{}{}", call.base, guise::AVATAR),
        })
    }

    fn make(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&[
            "media_type",
            "text",
            "image_url",
            "alt_text",
            "link_attachment",
            "reply_to_id",
            "reply_control",
        ])?;
        let text = parameters.get("text").unwrap_or_default();
        if length(text) > MAX_TEXT {
            return Err(Refusal::parameter(
                "Param text must be at most 500 characters long.",
            ));
        }
        let card = parameters.get("link_attachment");
        let mut all = links(text);
        all.extend(
            card.filter(|card| !all.iter().any(|link| link == card))
                .map(str::to_owned),
        );
        all.sort();
        all.dedup();
        if all.len() > MAX_LINKS {
            return Err(Refusal::parameter("THREADS_API__LINK_LIMIT_EXCEEDED"));
        }
        let valid = |link: &str| Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if card.is_some_and(|card| !valid(card)) {
            return Err(Refusal::parameter("Param link_attachment must be a valid URL"));
        }
        let picture = match parameters.get("media_type") {
            Some("TEXT") if parameters.get("image_url").is_some() || parameters.get("alt_text").is_some() => {
                return Err(Refusal::parameter("A post of text has no image"));
            }
            Some("TEXT") if text.trim().is_empty() => return Err(Refusal::parameter("text is required")),
            Some("TEXT") => None,
            Some("IMAGE") if card.is_some() => {
                return Err(Refusal::parameter("link_attachment is for posts of text only"));
            }
            Some("IMAGE") => Some(picture(call, parameters)?),
            _ => return Err(Refusal::parameter("media_type must be TEXT or IMAGE")),
        };
        let answer_to = parameters.get("reply_to_id");
        if answer_to.is_some_and(|id| self.outlet.find(id).is_none()) {
            return Err(lost());
        }
        let (used, most) = match answer_to {
            Some(_) => (self.outlet.used(call.now, true), REPLIES_A_DAY),
            None => (self.outlet.used(call.now, false), POSTS_A_DAY),
        };
        if used >= most {
            return Err(Refusal(
                400,
                4,
                None,
                "Application request limit reached".to_owned(),
            ));
        }
        Ok(self.outlet.make(Container {
            id: String::new(),
            text: text.to_owned(),
            links: all,
            picture,
            answer_to: answer_to.map(str::to_owned),
            made: call.now,
            looks: 0,
            published: false,
        }))
    }
}

fn picture(call: &Call<'_>, parameters: Parameters<'_>) -> Result<super::ShownPicture, Refusal> {
    let alt = parameters.get("alt_text").unwrap_or_default();
    if alt.chars().count() > MAX_ALT {
        return Err(Refusal::parameter(
            "Param alt_text must be at most 1000 characters long.",
        ));
    }
    let url = parameters
        .get("image_url")
        .ok_or_else(|| Refusal::parameter("image_url is required"))?;
    let fetched = fetch(call, url, alt)?;
    let (long, short) = (
        fetched.width.max(fetched.height),
        fetched.width.min(fetched.height),
    );
    if long > short.saturating_mul(10) {
        return Err(Refusal(
            400,
            36_003,
            Some(2_207_009),
            "The aspect ratio is not supported".to_owned(),
        ));
    }
    Ok(fetched.shown)
}

fn lost() -> Refusal {
    Refusal(
        400,
        24,
        Some(4_279_009),
        "The requested resource does not exist".to_owned(),
    )
}

/// Characters, an emoji as its bytes. Written apart from the product's own counting, so that one proves the other.
fn length(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x200d | 0xfe0f | 0x2600..=0x27bf | 0x1f000.. => c.len_utf8(),
            _ => 1,
        })
        .sum()
}

fn show(media: &Media, base: &str) -> Value {
    json!({
        "id": media.id,
        "media_product_type": "THREADS",
        "media_type": "TEXT_POST",
        "text": media.text,
        "timestamp": media.at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
        "permalink": format!("{base}/@nassjokommun/post/{}", media.id),
        "shortcode": media.id,
        "is_quote_post": false,
    })
}

impl Simulator for Threads {
    fn secrets(&self) -> Vec<(String, String)> {
        self.tokens.secrets()
    }

    fn command(&mut self, what: &str, now: crate::clock::Timestamp) -> bool {
        self.tokens.command(what, now)
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method, path.as_slice()) {
            (&Method::GET, ["@nassjokommun", "post", id]) => {
                return page(self.outlet.find(id).map(|media| media.text.as_str()));
            }
            (&Method::GET, ["public", name]) => return serve(&call, name),
            _ => {}
        }
        if let Some(answer) = self.tokens.browse(&call, &path) {
            return answer;
        }
        match self.route(&mut call, &path) {
            Ok(body) => reply(200, &body),
            Err(refusal) => refusal.answer(),
        }
    }
}
