//! Long-lived tokens of Threads and of the Instagram log-in: they hold for 60 days and are renewed while they live. A dead
//! one cannot be; then a person has to sign in. So it is done every week, when the account is verified.
//!
//! The new token is on disk before it is used. A refusal proves nothing against the old one: it may be too young.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::client::{Graph, brief, trouble};
use crate::clock::Timestamp;
use crate::model::SendError;

/// The vault's name of what we know of the token. No secret, but it belongs to one.
pub(in crate::channel) const STATE: &str = "token_state";
/// How old a token gets before it is renewed.
const AFTER: Duration = Duration::from_hours(7 * 24);
/// Below this the person who looks is told.
const SHORT: i64 = 30;

/// What we know of the token that was renewed last.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Tells whether it is still the one in the vault.
    digest: String,
    renewed: Timestamp,
    expires: Timestamp,
}

/// Renews the token if that is due. Returns what is worth showing; nothing here makes the account unreachable.
pub(in crate::channel) async fn renew(
    graph: &Graph,
    path: &str,
    grant: &str,
) -> Result<BTreeMap<String, String>, SendError> {
    let now = graph.now();
    let digest = digest(&graph.token()?);
    let state = graph
        .secrets()
        .get(STATE)
        .and_then(|text| serde_json::from_str::<State>(text.expose_secret()).ok())
        .filter(|state| state.digest == digest);
    let mut facts = BTreeMap::new();
    let is_due = state
        .as_ref()
        .is_none_or(|state| crate::clock::later(state.renewed, AFTER) <= now);
    let mut expires = state.map(|state| state.expires);
    if is_due {
        match fresh(graph, path, grant, now).await {
            Ok(renewed) => expires = Some(renewed),
            Err(why) => drop(facts.insert("token_renewal".to_owned(), brief(&why))),
        }
    }
    if let Some(expires) = expires {
        let days = expires.duration_since(now).as_hours() / 24;
        let note = if days < SHORT { ": sign in again" } else { "" };
        facts.insert("token_days_left".to_owned(), format!("{days}{note}"));
    }
    Ok(facts)
}

/// Until when the token in the vault holds, if it was renewed by us.
pub(in crate::channel) fn until(graph: &Graph) -> Option<Timestamp> {
    let digest = digest(&graph.token().ok()?);
    let state = graph.secrets().get(STATE)?;
    let state: State = serde_json::from_str(state.expose_secret()).ok()?;
    (state.digest == digest).then_some(state.expires)
}

/// Asks for a new token and writes it down. Returns until when it holds.
async fn fresh(graph: &Graph, path: &str, grant: &str, now: Timestamp) -> Result<Timestamp, String> {
    let answer = graph.unversioned(&[path], &[("grant_type", grant)]).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if let Some(trouble) = trouble(&answer) {
        let error = graph.on_read(trouble);
        return Err(format!("not renewed (a new token has to be a day old): {error}"));
    }
    let unreadable = || "not renewed: the answer makes no sense".to_owned();
    let body = answer.json().ok_or_else(unreadable)?;
    let token = body["access_token"]
        .as_str()
        .filter(|token| !token.is_empty() && token.len() <= 10_000);
    let token = SecretString::from(token.ok_or_else(unreadable)?);
    let seconds = body["expires_in"].as_u64().ok_or_else(unreadable)?;
    let state = State {
        digest: digest(&token),
        renewed: now,
        expires: crate::clock::later(now, Duration::from_secs(seconds)),
    };
    let text = serde_json::to_string(&state).map_err(|_| unreadable())?;
    let told = |reason: crate::model::Reason| format!("not renewed: {reason}");
    graph
        .secrets()
        .rotate("access_token", token)
        .await
        .map_err(told)?;
    graph
        .secrets()
        .rotate(STATE, SecretString::from(text))
        .await
        .map_err(told)?;
    Ok(state.expires)
}

fn digest(token: &SecretString) -> String {
    let digest = hex::encode(Sha256::digest(token.expose_secret().as_bytes()));
    digest.chars().take(16).collect()
}
