//! A simulated professional Instagram account behind the Graph API: `docs/channels/instagram.md` as a program. Stricter
//! than the real one: it refuses parameters that it does not know, and takes the token in its header only. The app's proof
//! is not asked for.

use http::{Method, Response};
use serde_json::{Value, json};

use super::ShownPicture;
use super::consent::Person;
use super::facebook_page::{Parameters, Refusal, alive, introspect, may, parameters};
use super::guise;
use super::meta::{Container, Media, Outlet, Service, Tokens, fetch, fields, serve};
use super::meta_login::FacebookLogin;
use super::sim::{Call, Simulator, page, reply};
use crate::channel::instagram::{MAX_ALT, MAX_CAPTION, PRACTICE_USER};
use crate::model::AccountId;

/// What a token may that was made by hand.
const SCOPES: &[&str] = &["instagram_basic", "instagram_content_publish", "pages_show_list"];
const POSTS_A_DAY: usize = 50;
const MAX_HASHTAGS: usize = 30;
const MAX_MENTIONS: usize = 20;

static SERVICE: Service = Service {
    name: "Instagram",
    scopes: &["instagram_business_basic", "instagram_business_content_publish"],
    exchange: "ig_exchange_token",
    renewal: "ig_refresh_token",
    object: PRACTICE_USER,
};
/// What an app may ask for by the Facebook log-in.
const BY_FACEBOOK: &[&str] = &[
    "instagram_basic",
    "instagram_content_publish",
    "pages_show_list",
    "pages_read_engagement",
];

/// The account.
pub(super) struct Instagram {
    name: String,
    tokens: Tokens,
    facebook: FacebookLogin,
    outlet: Outlet,
}

impl Instagram {
    /// An account without posts.
    pub fn new(account: &AccountId, name: &str) -> Self {
        let tokens = Tokens::new(&SERVICE, SCOPES);
        Self {
            name: name.to_owned(),
            facebook: FacebookLogin::new(tokens.client.clone(), BY_FACEBOOK),
            tokens,
            outlet: Outlet::new(account),
        }
    }

    fn route(&mut self, call: &mut Call<'_>, path: &[&str]) -> Result<Value, Refusal> {
        let parameters = parameters(call)?;
        let parameters = Parameters(&parameters);
        let by_facebook = self.facebook.page_token(call.bearer());
        if let (&Method::GET, ["debug_token"], Some(_)) = (call.method, path, &by_facebook) {
            parameters.only(&["input_token"])?;
            let known = self.facebook.page_token(parameters.get("input_token"));
            return Ok(introspect(call, known.as_ref(), "USER", PRACTICE_USER));
        }
        if let Some(answer) = self.tokens.route(call, path, parameters) {
            return answer;
        }
        if let [_, rest @ ..] = path {
            let page = json!({
                "id": "1055", "name": self.name, "instagram_business_account": {"id": PRACTICE_USER},
            });
            if let Some(answer) = self.facebook.route(call, rest, parameters, &page) {
                return answer;
            }
        }
        let given = if let Some(known) = by_facebook {
            alive(call)?;
            known.scopes
        } else {
            if self.tokens.check(call)? == Person::Other {
                parameters.only(&[])?;
                let other = json!({"id": "1799", "user_id": "1799", "username": "anna", "name": "Anna"});
                return fields(parameters, &other, "IGUser");
            }
            self.tokens.scopes(call).to_vec()
        };
        // By either log-in.
        let need: &[&str] = match (call.method, path) {
            (&Method::GET, [_, _, "content_publishing_limit"]) | (&Method::POST | &Method::DELETE, _) => {
                &["instagram_content_publish", "instagram_business_content_publish"]
            }
            _ => &["instagram_basic", "instagram_business_basic"],
        };
        may(call, need, &given)?;
        match (call.method, path) {
            (&Method::GET, [_, "me" | PRACTICE_USER]) => {
                parameters.only(&[])?;
                fields(parameters, &self.profile(call), "IGUser")
            }
            (&Method::POST, [_, PRACTICE_USER, "media"]) => self.make(call, parameters),
            (&Method::POST, [_, PRACTICE_USER, "media_publish"]) => {
                parameters.only(&["creation_id"])?;
                if self.outlet.used(call.now, false) >= POSTS_A_DAY {
                    let text = "The user has reached the maximum number of posts".to_owned();
                    return Err(Refusal(400, 9, Some(2_207_042), text));
                }
                let container = parameters.get("creation_id").unwrap_or_default();
                let id = self.outlet.publish(container, call, lost())?;
                Ok(json!({ "id": id }))
            }
            (&Method::GET, [_, PRACTICE_USER, "media"]) => {
                let base = call.base;
                self.outlet.list(
                    call,
                    parameters,
                    |_| true,
                    |media| fields(parameters, &show(media, base), "IGMedia").unwrap_or_default(),
                )
            }
            (&Method::GET, [_, PRACTICE_USER, "content_publishing_limit"]) => {
                parameters.only(&[])?;
                Ok(json!({"data": [{
                    "quota_usage": self.outlet.used(call.now, false),
                    "config": {"quota_total": POSTS_A_DAY, "quota_duration": 86_400},
                }]}))
            }
            (&Method::GET, [_, id]) => {
                parameters.only(&[])?;
                if let Some(status) = self.outlet.status(id, call.now) {
                    let container = json!({
                        "id": id, "status_code": status, "status": format!("{status}: as told by the simulator"),
                    });
                    return fields(parameters, &container, "IGContainer");
                }
                let media = self.outlet.find(id).ok_or_else(|| Refusal::missing(id))?;
                fields(parameters, &show(media, call.base), "IGMedia")
            }
            (&Method::DELETE, [_, id]) => {
                parameters.only(&[])?;
                self.outlet.delete(id, call)?;
                Ok(json!({"success": true}))
            }
            _ => {
                let text = format!("Unknown path components: {}", call.path);
                Err(Refusal(400, 2500, None, text))
            }
        }
    }

    fn profile(&self, call: &Call<'_>) -> Value {
        let guise = call.guise;
        let id = guise.id.as_deref().unwrap_or(PRACTICE_USER);
        let website = guise.fields.iter().find(|(name, _)| name == "website");
        json!({
            "id": id, "user_id": id, "username": "nassjokommun", "name": guise.name.as_ref().unwrap_or(&self.name),
            "biography": guise.about(150), "account_type": "BUSINESS",
            "website": website.map_or("https://nassjo.se", |(_, value)| value.as_str()),
            "profile_picture_url": format!("{}{}", call.base, guise::AVATAR),
            "followers_count": guise.followers(), "is_published": !guise.is("unpublished"),
            "media_count": self.outlet.media.iter().filter(|media| !media.deleted).count(),
        })
    }

    fn make(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        parameters.only(&["image_url", "caption", "alt_text"])?;
        let caption = parameters.get("caption").unwrap_or_default();
        let starting = |sign: char| {
            caption
                .split_whitespace()
                .filter(|word| word.starts_with(sign))
                .count()
        };
        if caption.encode_utf16().count() > MAX_CAPTION {
            return Err(Refusal(
                400,
                36_004,
                Some(2_207_010),
                "The caption is too long".to_owned(),
            ));
        }
        if starting('#') > MAX_HASHTAGS || starting('@') > MAX_MENTIONS {
            return Err(Refusal::parameter("Too many hashtags or mentions"));
        }
        Ok(self.outlet.make(Container {
            id: String::new(),
            text: caption.to_owned(),
            // Nothing can be clicked in a caption.
            links: Vec::new(),
            picture: Some(picture(call, parameters)?),
            answer_to: None,
            made: call.now,
            looks: 0,
            published: false,
        }))
    }
}

fn picture(call: &Call<'_>, parameters: Parameters<'_>) -> Result<ShownPicture, Refusal> {
    let alt = parameters.get("alt_text").unwrap_or_default();
    if alt.chars().count() > MAX_ALT {
        return Err(Refusal::parameter(
            "Param alt_text must be at most 1000 characters long.",
        ));
    }
    let url = parameters
        .get("image_url")
        .ok_or_else(|| Refusal::parameter("The parameter image_url is required"))?;
    let fetched = fetch(call, url, alt)?;
    if fetched.shown.media_type != "image/jpeg" {
        return Err(Refusal(
            400,
            36_001,
            Some(2_207_005),
            "The image format is not supported".to_owned(),
        ));
    }
    let shape = f64::from(fetched.width) / f64::from(fetched.height.max(1));
    if !(0.8..=1.91).contains(&shape) || !(320..=1440).contains(&fetched.width) {
        let text = "The submitted image with aspect ratio cannot be published".to_owned();
        return Err(Refusal(400, 36_003, Some(2_207_009), text));
    }
    Ok(fetched.shown)
}

fn lost() -> Refusal {
    Refusal(
        400,
        24,
        Some(2_207_006),
        "The requested resource does not exist".to_owned(),
    )
}

fn show(media: &Media, base: &str) -> Value {
    json!({
        "id": media.id,
        "media_type": "IMAGE",
        "caption": media.text,
        "timestamp": media.at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
        "permalink": format!("{base}/p/{}/", media.id),
        "shortcode": media.id,
    })
}

impl Simulator for Instagram {
    fn secrets(&self) -> Vec<(String, String)> {
        self.tokens.secrets()
    }

    fn command(&mut self, what: &str, now: crate::clock::Timestamp) -> bool {
        let by_facebook = self.facebook.command(what);
        self.tokens.command(what, now) || by_facebook
    }

    fn answer(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match (call.method, path.as_slice()) {
            (&Method::GET, ["p", id]) => {
                return page(self.outlet.find(id).map(|media| media.text.as_str()));
            }
            (&Method::GET, ["public", name]) => return serve(&call, name),
            (_, ["oauth", ..]) => {}
            (_, [version, _, ..]) if !version.starts_with('v') => {
                return Refusal(400, 2500, None, "Unknown path components".to_owned()).answer();
            }
            _ => {}
        }
        if let Some(answer) = self.tokens.browse(&call, &path) {
            return answer;
        }
        if let Some(answer) = path.get(1..).and_then(|rest| self.facebook.browse(&call, rest)) {
            return answer;
        }
        match self.route(&mut call, &path) {
            Ok(body) => reply(200, &body),
            Err(refusal) => refusal.answer(),
        }
    }
}
