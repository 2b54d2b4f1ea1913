//! The wall's own interface under `/_wall/`, for other processes: the ledger, the requests, faults on command.

use http::{HeaderValue, Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page;
use super::sim::{error, reply};
use super::state::{Request, Shared};
use super::{Fault, Guise};
use crate::model::{AccountId, Mode};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    mode: Mode,
    account: AccountId,
    fault: Fault,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heal {
    mode: Mode,
    account: AccountId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dress {
    mode: Mode,
    account: AccountId,
    guise: Guise,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happen {
    mode: Mode,
    account: AccountId,
    what: String,
}

/// Where the pictures of posts are, by digest.
const PICTURE: &str = "/_wall/picture/";

/// Answers a request to `/_wall/…`.
pub(super) fn answer(shared: &Shared, request: &Request<'_>) -> Response<Vec<u8>> {
    match (request.method, request.path) {
        (&Method::GET, "/_wall/ledger") => list(serde_json::to_value(shared.ledger())),
        (&Method::GET, "/_wall/backstage") => list(serde_json::to_value(shared.backstage())),
        (&Method::GET, "/_wall/seen") => list(serde_json::to_value(shared.seen())),
        (&Method::GET, "/_wall/accounts") => accounts(shared),
        (&Method::GET, "/_wall/wall.js") => page::script(),
        (&Method::GET, "/_wall/wall.css") => page::style(),
        (&Method::GET, path) if path.starts_with(PICTURE) => {
            page::picture(shared, path.trim_start_matches(PICTURE))
        }
        (&Method::POST, "/_wall/faults") => change(request, |arm: Arm| {
            shared.fault(arm.mode, &arm.account, arm.fault);
        }),
        (&Method::POST, "/_wall/events") => {
            let mut known = false;
            let answer = change(request, |happen: Happen| {
                let site = shared.find(happen.mode, happen.account.as_str());
                known = site.is_some_and(|site| site.command(&happen.what, shared.clock.now()));
            });
            if answer.status().is_success() && !known {
                return error(404, "the service knows of no such thing");
            }
            answer
        }
        (&Method::POST, "/_wall/heal") => change(request, |heal: Heal| {
            shared.heal(heal.mode, &heal.account);
        }),
        (&Method::POST, "/_wall/guise") => change(request, |dress: Dress| {
            shared.dress(dress.mode, &dress.account, dress.guise);
        }),
        _ => error(404, "no such page on the wall"),
    }
}

fn list(value: serde_json::Result<Value>) -> Response<Vec<u8>> {
    value.map_or_else(|wrong| error(500, &wrong.to_string()), |value| reply(200, &value))
}

/// The accounts without their secrets.
fn accounts(shared: &Shared) -> Response<Vec<u8>> {
    let all: Vec<Value> = shared
        .sites()
        .iter()
        .map(|site| {
            json!({
                "mode": site.mode,
                "account": site.account,
                "channel": site.kind.id,
                "name": site.name,
                "base": site.base.as_str(),
                "folder": site.folder,
                "smtp": shared.smtp,
            })
        })
        .collect();
    reply(200, &Value::Array(all))
}

/// Only JSON is taken: a web page elsewhere cannot make a browser send that here unasked.
fn change<T: for<'de> Deserialize<'de>>(request: &Request<'_>, apply: impl FnOnce(T)) -> Response<Vec<u8>> {
    let json_type = HeaderValue::from_static("application/json");
    if request.headers.get("content-type") != Some(&json_type) {
        return error(415, "the body must be application/json");
    }
    match serde_json::from_slice(request.body) {
        Ok(wish) => {
            apply(wish);
            reply(200, &json!({}))
        }
        Err(wrong) => error(400, &wrong.to_string()),
    }
}
