//! The sign-in by a number (OAuth 1.0a): a token of the app's own, the page on which a person agrees, and the account's
//! tokens for the number.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response, StatusCode};

use super::signature::{Keys, parameters};
use crate::channel::x::PRACTICE_USER;
use crate::wall::consent::{self, Asked, Desk, Person, SHOWN, random};
use crate::wall::sim::Call;

/// The counter, and the tokens of sign-ins under way with their secrets.
pub(super) struct SignIns {
    desk: Desk,
    asked: BTreeMap<String, String>,
}

impl SignIns {
    pub(super) fn new() -> Self {
        Self {
            desk: Desk::of_numbers(),
            asked: BTreeMap::new(),
        }
    }

    pub(super) fn expire(&mut self) {
        self.desk.expire();
    }

    /// Answers what belongs to the sign-in; `None` if the request does not.
    pub(super) fn route(&mut self, keys: &mut Keys, call: &Call<'_>) -> Option<Response<Vec<u8>>> {
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        Some(match (call.method, path.as_slice()) {
            (&Method::POST, ["oauth", "request_token"]) => self.begin(keys, call).unwrap_or_else(no),
            (&Method::GET, ["oauth", "authorize"]) => {
                self.ask(call).unwrap_or_else(|why| consent::refuse(&why))
            }
            (&Method::POST, ["oauth", "authorize"]) => self.desk.decide(call),
            (&Method::POST, ["oauth", "access_token"]) => self.exchange(keys, call).unwrap_or_else(no),
            _ => return None,
        })
    }

    fn begin(&mut self, keys: &Keys, call: &Call<'_>) -> Option<Response<Vec<u8>>> {
        let (_, back) = keys.check_as(call, None, Some("oauth_callback"))?;
        if back != "oob" {
            return None;
        }
        let (token, secret) = (random(), random());
        self.asked.insert(token.clone(), secret.clone());
        Some(form(&[
            ("oauth_token", &token),
            ("oauth_token_secret", &secret),
            ("oauth_callback_confirmed", "true"),
        ]))
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<Response<Vec<u8>>, String> {
        let given = consent::parameters(call, &["oauth_token", "force_login", "screen_name"])?;
        let token = given.get("oauth_token").copied().unwrap_or_default();
        if !self.asked.contains_key(token) {
            return Err(
                "The request token for this page is invalid. It may have already been used, or expired."
                    .to_owned(),
            );
        }
        let asked = Asked {
            client: token.to_owned(),
            back: SHOWN.to_owned(),
            scopes: Vec::new(),
            state: None,
            challenge: None,
        };
        Ok(self.desk.open("X", asked, call))
    }

    fn exchange(&mut self, keys: &mut Keys, call: &Call<'_>) -> Option<Response<Vec<u8>>> {
        let token = parameters(call)?.get("oauth_token")?.clone();
        let secret = self.asked.get(&token)?.clone();
        let (_, number) = keys.check_as(call, Some((&token, &secret)), Some("oauth_verifier"))?;
        let agreed = self.desk.redeem(&number, (&token, SHOWN), None, call.now).ok()?;
        self.asked.remove(&token);
        let secret = random();
        let (user, name) = match agreed.person {
            Person::Account => (PRACTICE_USER, "kommun"),
            Person::Other => ("77", "anna"),
        };
        let token = format!("{user}-{}", random());
        if agreed.person == Person::Account {
            keys.replace(&token, &secret);
        }
        Some(form(&[
            ("oauth_token", &token),
            ("oauth_token_secret", &secret),
            ("user_id", user),
            ("screen_name", name),
        ]))
    }
}

fn form(pairs: &[(&str, &str)]) -> Response<Vec<u8>> {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs);
    plain(StatusCode::OK, &text.finish())
}

/// X says the same of every fault here.
fn no() -> Response<Vec<u8>> {
    plain(StatusCode::UNAUTHORIZED, "Could not authenticate you.")
}

fn plain(status: StatusCode, text: &str) -> Response<Vec<u8>> {
    let mut response = Response::new(text.as_bytes().to_vec());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html;charset=utf-8");
    response.headers_mut().insert("content-type", kind);
    response
}
