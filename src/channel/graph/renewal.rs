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
use crate::channel::Renewal;
use crate::channel::secrets::Fresh;
use crate::clock::Timestamp;
use crate::failpoint;
use crate::model::{Reason, SendError};

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

/// Renews the token if that is due, when the account is verified. Returns what is worth showing; nothing here makes the
/// account unreachable.
pub(in crate::channel) async fn renew(
    graph: &Graph,
    path: &str,
    grant: &str,
) -> Result<BTreeMap<String, String>, SendError> {
    let now = graph.now();
    let mut facts = BTreeMap::new();
    let expires = match due(graph, path, grant, now).await? {
        Ok(Renewal::Never) => None,
        Ok(Renewal::NotYet { expires_at, .. } | Renewal::Done { expires_at }) => expires_at,
        Err((why, expires)) => {
            facts.insert("token_renewal".to_owned(), brief(&why.text));
            expires
        }
    };
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

/// The same when somebody looks for what is due.
pub(in crate::channel) async fn look(
    graph: &Graph,
    path: &str,
    grant: &str,
    now: Timestamp,
) -> Result<Renewal, SendError> {
    due(graph, path, grant, now)
        .await?
        .map_err(|(why, _)| SendError::NotSent(why))
}

/// Renews the token if that is due at `now`; whoever comes meanwhile waits, and finds it renewed. If it fails: why, and
/// when the old one ends.
async fn due(
    graph: &Graph,
    path: &str,
    grant: &str,
    now: Timestamp,
) -> Result<Result<Renewal, (Reason, Option<Timestamp>)>, SendError> {
    let _alone = graph.renewing().lock().await;
    let digest = digest(&graph.token()?);
    let state = graph
        .secrets()
        .get(STATE)
        .and_then(|text| serde_json::from_str::<State>(text.expose_secret()).ok())
        .filter(|state| state.digest == digest);
    let expires_at = state.as_ref().map(|state| state.expires);
    let due_at = state
        .as_ref()
        .map(|state| crate::clock::later(state.renewed, AFTER));
    if due_at.is_some_and(|due| now < due) {
        return Ok(Ok(Renewal::NotYet { due_at, expires_at }));
    }
    Ok(match fresh(graph, path, grant, now).await {
        Ok(renewed) => Ok(Renewal::Done {
            expires_at: Some(renewed),
        }),
        Err(why) => Err((Reason::new("not-renewed", why), expires_at)),
    })
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
    let expires = crate::clock::later(now, Duration::from_secs(seconds));
    let mut fresh: Vec<Fresh> = noted(&token, now, expires).into_iter().collect();
    fresh.push(Fresh::new("access_token", token, Some(expires)));
    // A kill here loses the new token only: the old one lives on to its own end, and is renewed another day.
    failpoint::hit("refresh-commit.before");
    let kept = graph.secrets().keep(fresh).await;
    kept.map_err(|reason| format!("not renewed: {reason}"))?;
    failpoint::hit("refresh-commit.after");
    Ok(expires)
}

/// What is noted of a token that was given just now, so that it is renewed when that is due.
pub(super) fn noted(token: &SecretString, now: Timestamp, expires: Timestamp) -> Option<Fresh> {
    let state = State {
        digest: digest(token),
        renewed: now,
        expires,
    };
    let text = serde_json::to_string(&state).ok()?;
    Some(Fresh::new(STATE, text, None))
}

fn digest(token: &SecretString) -> String {
    let digest = hex::encode(Sha256::digest(token.expose_secret().as_bytes()));
    digest.chars().take(16).collect()
}
