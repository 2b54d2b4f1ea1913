//! The Facebook log-in as the simulators of pages and of linked Instagram accounts have it: the page on which a person
//! agrees, short and long tokens of that person, and the tokens of the pages that the person may work for.

use hmac::{Hmac, KeyInit, Mac};
use http::{Method, Response};
use serde_json::{Value, json};
use sha2::Sha256;

use super::consent::{self, Asked, Desk, Person, Stale, may_go, random};
use super::facebook_page::{Known, Parameters, Refusal};
use super::sim::Call;
use crate::clock::Timestamp;

/// The page of another person.
const OTHER_PAGE: &str = "2077";
/// How long the consent to read lasts.
const DATA_ACCESS: i64 = 90 * 86_400;
const LONG: i64 = 5_183_944;
const SHORT: i64 = 5400;

struct User {
    value: String,
    person: Person,
    scopes: Vec<String>,
    is_long: bool,
}

struct PageToken {
    value: String,
    person: Person,
    scopes: Vec<String>,
    data_access_expires_at: i64,
    revoked: bool,
}

/// The log-in.
pub(super) struct FacebookLogin {
    client: [String; 2],
    /// What an app may ask for here.
    known: &'static [&'static str],
    desk: Desk,
    users: Vec<User>,
    pages: Vec<PageToken>,
    /// Whether the person has the right to publish on the page.
    may_publish: bool,
}

impl FacebookLogin {
    pub fn new(client: [String; 2], known: &'static [&'static str]) -> Self {
        Self {
            client,
            known,
            desk: Desk::default(),
            users: Vec::new(),
            pages: Vec::new(),
            may_publish: true,
        }
    }

    /// What is known of the page's own token, if this is one and lives.
    pub fn page_token(&self, bearer: Option<&str>) -> Option<Known> {
        let is_it = |page: &&PageToken| {
            Some(page.value.as_str()) == bearer && !page.revoked && page.person == Person::Account
        };
        self.pages.iter().find(is_it).map(|page| Known {
            scopes: page.scopes.clone(),
            expires: None,
            data_access: page.data_access_expires_at,
        })
    }

    pub fn command(&mut self, what: &str) -> bool {
        match what {
            "expire-codes" => self.desk.expire(),
            "revoke-tokens" => self.pages.iter_mut().for_each(|page| page.revoked = true),
            "no-role" => self.may_publish = false,
            _ => return false,
        }
        true
    }

    /// What a browser sees; `None` if it asks for something else.
    pub fn browse(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Response<Vec<u8>>> {
        match (call.method, path) {
            (&Method::GET, ["dialog", "oauth"]) => {
                Some(self.ask(call).unwrap_or_else(|why| consent::refuse(&why)))
            }
            (&Method::POST, ["dialog", "oauth"]) => Some(self.desk.decide(call)),
            _ => None,
        }
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<Response<Vec<u8>>, String> {
        let asked = asked(call, &self.client[0], self.known, ',')?;
        Ok(self.desk.open("Facebook", asked, call))
    }

    /// Answers what belongs to the log-in; `None` if the request does not.
    pub fn route(
        &mut self,
        call: &Call<'_>,
        path: &[&str],
        parameters: Parameters<'_>,
        page: &Value,
    ) -> Option<Result<Value, Refusal>> {
        match (call.method, path) {
            (&Method::POST, ["oauth", "access_token"]) => Some(self.exchange(call, parameters)),
            (&Method::GET, ["me", "accounts"]) => Some(self.accounts(call, parameters, page)),
            // A token may also ask about itself; an app asks with its own number and secret.
            (&Method::GET, ["debug_token"]) if call.bearer().is_some_and(|token| token.contains('|')) => {
                Some(self.inspect(call, parameters, page))
            }
            _ => None,
        }
    }

    fn exchange(&mut self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<Value, Refusal> {
        let field = |name: &str| parameters.get(name).unwrap_or_default();
        if field("client_id") != self.client[0] {
            return Err(Refusal(
                400,
                101,
                None,
                "Error validating application.".to_owned(),
            ));
        }
        if field("client_secret") != self.client[1] {
            let text = "Error validating client secret.";
            return Err(Refusal(400, 1, None, text.to_owned()));
        }
        let (user, life) = if field("grant_type") == "fb_exchange_token" {
            parameters.only(&["grant_type", "client_id", "client_secret", "fb_exchange_token"])?;
            let short = self
                .users
                .iter()
                .find(|user| user.value == field("fb_exchange_token"));
            let short = short.ok_or_else(no_session)?;
            let user = User {
                value: random(),
                person: short.person,
                scopes: short.scopes.clone(),
                is_long: true,
            };
            (user, LONG)
        } else {
            parameters.only(&["client_id", "client_secret", "redirect_uri", "code"])?;
            let of = (field("client_id"), field("redirect_uri"));
            let agreed = self
                .desk
                .redeem(field("code"), of, None, call.now)
                .map_err(stale)?;
            let user = User {
                value: random(),
                person: agreed.person,
                scopes: agreed.scopes,
                is_long: false,
            };
            (user, SHORT)
        };
        let answer = json!({"access_token": user.value, "token_type": "bearer", "expires_in": life});
        self.users.push(user);
        Ok(answer)
    }

    fn user(&self, call: &Call<'_>, parameters: Parameters<'_>) -> Result<&User, Refusal> {
        let user = self
            .users
            .iter()
            .find(|user| Some(user.value.as_str()) == call.bearer());
        let user = user.ok_or_else(no_session)?;
        let mac = Hmac::<Sha256>::new_from_slice(self.client[1].as_bytes()).ok();
        let expected = mac.map(|mut mac| {
            mac.update(user.value.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        });
        if parameters.get("appsecret_proof") != expected.as_deref() {
            let text = "Invalid appsecret_proof provided in the API argument";
            return Err(Refusal(400, 104, None, text.to_owned()));
        }
        Ok(user)
    }

    fn accounts(
        &mut self,
        call: &Call<'_>,
        parameters: Parameters<'_>,
        page: &Value,
    ) -> Result<Value, Refusal> {
        parameters.only(&["limit", "after"])?;
        let user = self.user(call, parameters)?;
        if !user.is_long {
            return Err(Refusal::parameter(
                "the simulator gives page tokens for long-lived tokens only",
            ));
        }
        let (person, scopes) = (user.person, user.scopes.clone());
        let value = random();
        let mut shown = match person {
            Person::Account => page.clone(),
            Person::Other => json!({
                "id": OTHER_PAGE, "name": "Idrottsklubben", "instagram_business_account": {"id": "17840000000000099"},
            }),
        };
        shown["access_token"] = value.clone().into();
        shown["tasks"] = if self.may_publish {
            json!(["ANALYZE", "CREATE_CONTENT", "MODERATE"])
        } else {
            json!(["ANALYZE"])
        };
        self.pages.push(PageToken {
            value,
            person,
            scopes,
            data_access_expires_at: call.now.as_second() + DATA_ACCESS,
            revoked: false,
        });
        let mut selected = json!({"id": shown["id"]});
        for field in parameters.fields() {
            match shown.get(field) {
                Some(value) => selected[field] = value.clone(),
                // A page without a linked account simply does not have the field.
                None if field == "instagram_business_account" => {}
                None => return Err(Refusal::parameter(format_args!("nonexisting field ({field})"))),
            }
        }
        Ok(json!({"data": [selected], "paging": {"cursors": {"before": "MA", "after": "MA"}}}))
    }

    fn inspect(&self, call: &Call<'_>, parameters: Parameters<'_>, page: &Value) -> Result<Value, Refusal> {
        parameters.only(&["input_token"])?;
        let app = format!("{}|{}", self.client[0], self.client[1]);
        if call.bearer() != Some(app.as_str()) {
            let text = "You must provide an app access token, or a user access token that is an owner or developer of the app";
            return Err(Refusal(400, 100, None, text.to_owned()));
        }
        let token = parameters.get("input_token").unwrap_or_default();
        let Some(held) = self
            .pages
            .iter()
            .find(|page| page.value == token && !page.revoked && call.guise.dead(call.now).is_none())
        else {
            return Ok(json!({"data": {
                "is_valid": false, "scopes": [], "error": {"code": 190, "subcode": 463, "message": "The token is not valid."},
            }}));
        };
        Ok(json!({"data": {
            "app_id": self.client[0], "type": "PAGE", "application": "Vardkase", "profile_id": page["id"], "user_id": "1221",
            "is_valid": true, "issued_at": call.now.as_second(), "expires_at": 0,
            "data_access_expires_at": held.data_access_expires_at, "scopes": call.guise.scopes(&held.scopes),
        }}))
    }
}

/// What a browser brought from an app, if that is in order.
pub(super) fn asked(call: &Call<'_>, client: &str, known: &[&str], between: char) -> Result<Asked, String> {
    let given = consent::parameters(
        call,
        &["client_id", "redirect_uri", "response_type", "scope", "state"],
    )?;
    let field = |name: &str| given.get(name).copied().unwrap_or_default();
    if field("client_id") != client {
        return Err("Invalid App ID: the provided app ID does not look like a valid app ID.".to_owned());
    }
    if !may_go(field("redirect_uri")) {
        return Err("Can't load URL: the domain of this URL isn't included in the app's domains.".to_owned());
    }
    if field("response_type") != "code" {
        return Err("Unsupported response type.".to_owned());
    }
    if field("state").is_empty() {
        return Err("The practice wall lets no app begin without a state.".to_owned());
    }
    let scopes: Vec<String> = field("scope").split(between).map(str::to_owned).collect();
    if let Some(unknown) = scopes.iter().find(|scope| !known.contains(&scope.as_str())) {
        return Err(format!("Invalid Scopes: {unknown}"));
    }
    Ok(Asked {
        client: client.to_owned(),
        back: field("redirect_uri").to_owned(),
        scopes,
        state: Some(field("state").to_owned()),
        challenge: None,
    })
}

pub(super) fn stale(why: Stale) -> Refusal {
    let (subcode, text) = match why {
        Stale::Used => (36_009, "This authorization code has been used."),
        Stale::Expired => (36_007, "This authorization code has expired."),
        Stale::Unknown | Stale::Proof => (36_008, "Error validating verification code."),
    };
    Refusal(400, 100, Some(subcode), text.to_owned())
}

pub(super) fn no_session() -> Refusal {
    let text = "Error validating access token: The session is invalid.";
    Refusal(400, 190, Some(467), text.to_owned())
}

/// The moment `seconds` after `now`.
pub(super) fn after(now: Timestamp, seconds: u64) -> Timestamp {
    crate::clock::later(now, std::time::Duration::from_secs(seconds))
}
