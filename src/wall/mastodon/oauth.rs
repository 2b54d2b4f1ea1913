//! The log-in side of the simulated server: apps, the page on which a person agrees, tokens and their end.

use http::{Method, Response};
use serde_json::json;

use crate::wall::consent::{self, Asked, Desk, Person, SHOWN, Stale, form, may_go, parameters, random};
use crate::wall::sim::{Call, reply};

/// What an app may ask for.
const SCOPES: &[&str] = &[
    "read",
    "read:accounts",
    "read:statuses",
    "profile",
    "write",
    "write:statuses",
    "write:media",
    "write:accounts",
];

struct App {
    id: String,
    secret: String,
    backs: Vec<String>,
    scopes: Vec<String>,
}

/// A token, and whose it is.
pub(super) struct Token {
    value: String,
    app: Option<String>,
    pub(super) person: Person,
    pub(super) scopes: Vec<String>,
    revoked: bool,
}

/// Apps and tokens of a server.
pub(super) struct OAuth {
    desk: Desk,
    apps: Vec<App>,
    tokens: Vec<Token>,
    /// Whether it takes proof keys, as servers since 4.3 do.
    pub(super) pkce: bool,
}

impl OAuth {
    pub(super) fn new() -> Self {
        let made_by_hand = Token {
            value: random(),
            app: None,
            person: Person::Account,
            scopes: ["read", "write:statuses", "write:media", "write:accounts"]
                .map(str::to_owned)
                .to_vec(),
            revoked: false,
        };
        Self {
            desk: Desk::default(),
            apps: Vec::new(),
            tokens: vec![made_by_hand],
            pkce: true,
        }
    }

    /// The token that the vault is given.
    pub(super) fn first(&self) -> String {
        self.tokens
            .first()
            .map(|token| token.value.clone())
            .unwrap_or_default()
    }

    /// The token of a request, or what the server says of its lack.
    pub(super) fn token(&self, call: &Call<'_>) -> Result<&Token, &'static str> {
        let given = call
            .bearer()
            .ok_or("This method requires an authenticated user")?;
        let token = self.tokens.iter().find(|token| token.value == given);
        match token.ok_or("The access token is invalid")? {
            token if token.revoked => Err("The access token was revoked"),
            token => Ok(token),
        }
    }

    /// Ends every token, or every code.
    pub(super) fn command(&mut self, what: &str) -> bool {
        match what {
            "revoke-tokens" => self.tokens.iter_mut().for_each(|token| token.revoked = true),
            // All but the newest.
            "revoke-others" => {
                let all = self.tokens.len();
                let before = self.tokens.iter_mut().take(all.saturating_sub(1));
                before.for_each(|token| token.revoked = true);
            }
            "expire-codes" => self.desk.expire(),
            "no-pkce" => self.pkce = false,
            _ => return false,
        }
        true
    }

    /// Answers what belongs to the log-in; `None` if the request does not.
    pub(super) fn route(&mut self, call: &Call<'_>, path: &[&str]) -> Option<Response<Vec<u8>>> {
        Some(match (call.method, path) {
            (&Method::GET, [".well-known", "oauth-authorization-server"]) if self.pkce => {
                let base = call.base;
                reply(
                    200,
                    &json!({
                        "issuer": format!("{base}/"), "service_documentation": "https://docs.joinmastodon.org/",
                        "authorization_endpoint": format!("{base}/oauth/authorize"),
                        "token_endpoint": format!("{base}/oauth/token"), "app_registration_endpoint": format!("{base}/api/v1/apps"),
                        "revocation_endpoint": format!("{base}/oauth/revoke"), "scopes_supported": SCOPES,
                        "response_types_supported": ["code"], "response_modes_supported": ["query", "fragment", "form_post"],
                        "grant_types_supported": ["authorization_code", "client_credentials"],
                        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                        "code_challenge_methods_supported": ["S256"],
                    }),
                )
            }
            (&Method::POST, ["api", "v1", "apps"]) => self.register(call),
            (&Method::GET, ["oauth", "authorize"]) => {
                self.ask(call).unwrap_or_else(|why| consent::refuse(&why))
            }
            (&Method::POST, ["oauth", "authorize"]) => self.desk.decide(call),
            (&Method::POST, ["oauth", "token"]) => self.exchange(call),
            (&Method::POST, ["oauth", "revoke"]) => self.revoke(call),
            _ => return None,
        })
    }

    fn register(&mut self, call: &Call<'_>) -> Response<Vec<u8>> {
        let fields = match form(call, &["client_name", "redirect_uris", "scopes", "website"]) {
            Ok(fields) => fields,
            Err(why) => return said(422, "invalid_request", &why),
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let backs: Vec<String> = field("redirect_uris").lines().map(str::to_owned).collect();
        if field("client_name").trim().is_empty() {
            return said(422, "Validation failed: Application name can't be blank", "");
        }
        if backs.is_empty() || !backs.iter().all(|back| back == SHOWN || may_go(back)) {
            return said(
                422,
                "Validation failed: Redirect URI must be an absolute URI.",
                "",
            );
        }
        let scopes: Vec<String> = field("scopes").split(' ').map(str::to_owned).collect();
        if scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
            return said(
                422,
                "Validation failed: Scopes doesn't match configured on the server.",
                "",
            );
        }
        let app = App {
            id: random(),
            secret: random(),
            backs,
            scopes,
        };
        let answer = json!({
            "id": (self.apps.len() + 1).to_string(), "name": field("client_name"), "website": null, "scopes": app.scopes,
            "redirect_uris": app.backs, "redirect_uri": app.backs.join("\n"), "client_id": app.id,
            "client_secret": app.secret, "client_secret_expires_at": 0, "vapid_key": "BCk",
        });
        self.apps.push(app);
        reply(200, &answer)
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<Response<Vec<u8>>, String> {
        let known = [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "force_login",
            "lang",
            "code_challenge",
            "code_challenge_method",
        ];
        let asked = parameters(call, &known)?;
        let field = |name: &str| asked.get(name).copied().unwrap_or_default();
        let no = |why: &str| Err(why.to_owned());
        let Some(app) = self.apps.iter().find(|app| app.id == field("client_id")) else {
            return no("Client authentication failed due to unknown client");
        };
        if !app.backs.iter().any(|back| back == field("redirect_uri")) {
            return no("The redirect uri included is not valid.");
        }
        if field("response_type") != "code" {
            return no("The authorization server does not support this response type.");
        }
        let scopes: Vec<String> = field("scope").split(' ').map(str::to_owned).collect();
        if scopes.iter().any(|scope| !app.scopes.contains(scope)) {
            return no("The requested scope is invalid, unknown, or malformed.");
        }
        let challenge = asked.get("code_challenge").map(|text| (*text).to_owned());
        if challenge.is_some() && (field("code_challenge_method") != "S256" || !self.pkce) {
            return no("The code challenge method must be S256.");
        }
        let asked = Asked {
            client: app.id.clone(),
            back: field("redirect_uri").to_owned(),
            scopes,
            state: asked.get("state").map(|text| (*text).to_owned()),
            challenge,
        };
        Ok(self.desk.open("Mastodon", asked, call))
    }

    fn exchange(&mut self, call: &Call<'_>) -> Response<Vec<u8>> {
        let known = [
            "grant_type",
            "code",
            "client_id",
            "client_secret",
            "redirect_uri",
            "code_verifier",
            "scope",
        ];
        let fields = match form(call, &known) {
            Ok(fields) => fields,
            Err(why) => return said(400, "invalid_request", &why),
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if !self.knows(field("client_id"), field("client_secret")) {
            return said(
                401,
                "invalid_client",
                "Client authentication failed due to unknown client",
            );
        }
        if field("grant_type") != "authorization_code" {
            return said(
                400,
                "unsupported_grant_type",
                "The authorization grant type is not supported",
            );
        }
        let verifier = fields.get("code_verifier").map(String::as_str);
        let of = (field("client_id"), field("redirect_uri"));
        let agreed = match self.desk.redeem(field("code"), of, verifier, call.now) {
            Ok(agreed) => agreed,
            Err(Stale::Unknown | Stale::Used | Stale::Expired | Stale::Proof) => {
                let text = "The provided authorization grant is invalid, expired, revoked, does not match the redirection \
                            URI used in the authorization request, or was issued to another client.";
                return said(400, "invalid_grant", text);
            }
        };
        let token = Token {
            value: random(),
            app: Some(field("client_id").to_owned()),
            person: agreed.person,
            scopes: agreed.scopes,
            revoked: false,
        };
        let answer = json!({
            "access_token": token.value, "token_type": "Bearer", "scope": token.scopes.join(" "),
            "created_at": call.now.as_second(),
        });
        self.tokens.push(token);
        reply(200, &answer)
    }

    fn revoke(&mut self, call: &Call<'_>) -> Response<Vec<u8>> {
        let fields = match form(call, &["client_id", "client_secret", "token"]) {
            Ok(fields) => fields,
            Err(why) => return said(400, "invalid_request", &why),
        };
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let is_known = self.knows(field("client_id"), field("client_secret"));
        let token = self.tokens.iter_mut().find(|token| token.value == field("token"));
        match token {
            Some(token) if is_known && token.app.as_deref() == Some(field("client_id")) => {
                token.revoked = true;
                reply(200, &json!({}))
            }
            // A token that is not there is as good as revoked (RFC 7009).
            None if is_known => reply(200, &json!({})),
            Some(_) | None => said(
                403,
                "unauthorized_client",
                "You are not authorized to revoke this token",
            ),
        }
    }

    fn knows(&self, id: &str, secret: &str) -> bool {
        self.apps.iter().any(|app| app.id == id && app.secret == secret)
    }
}

fn said(status: u16, error: &str, description: &str) -> Response<Vec<u8>> {
    if description.is_empty() {
        return reply(status, &json!({ "error": error }));
    }
    reply(
        status,
        &json!({ "error": error, "error_description": description }),
    )
}
