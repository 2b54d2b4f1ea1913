//! How a person signs an account in at its service: OAuth, as each service has it. An adapter says where the person goes
//! and makes credentials of what comes back; how it comes back, and where the credentials are kept, is not its business.
//!
//! Nothing here is kept before it is known that the credentials are those of the account that is meant. No secret stands
//! in an address or in what is said of a failure.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::secrets::Fresh;
use super::transport::{Answer, blank};
use crate::clock::{Timestamp, later};
use crate::model::{Reason, SendError};

/// Longest token that is taken.
const MAX_TOKEN: usize = 10_000;
/// Longest word that a service may give as the code of its error.
const MAX_WORD: usize = 60;

/// How what the person agreed to comes back to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By the browser, which is sent on to an address of ours.
    Redirect,
    /// The same, or as a code that the service shows and the person types.
    RedirectOrCode,
    /// As a number that the service shows and the person types.
    Pin,
}

/// Where the service sends the browser afterwards.
#[derive(Debug, Clone)]
pub enum Back {
    /// To this address.
    To(Url),
    /// Nowhere: it shows a code.
    Shown,
}

/// One person's visit at the service.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Where the browser goes afterwards.
    pub back: Back,
    /// Comes back with the code: proves that the answer belongs to this visit.
    pub state: String,
    /// Sent along when the code is exchanged; the service got its digest first (PKCE).
    pub verifier: SecretString,
    /// That digest: SHA-256 in base64url.
    pub challenge: String,
    /// The account's public address, where the configuration has it.
    pub public: Option<Url>,
}

/// What a service gave.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What the vault is to keep.
    pub secrets: Vec<Fresh>,
    /// What it must not keep any longer: it belongs to the credentials before.
    pub forget: Vec<&'static str>,
    /// Whose they are, as the service says.
    pub who: String,
}

/// The sign-in of one account.
#[async_trait]
pub trait SignIn: Send + Sync + fmt::Debug {
    /// How the answer comes back.
    fn way(&self) -> Way {
        Way::Redirect
    }

    /// Secrets that have to be in the vault before and are not, and where the person finds them.
    fn lacks(&self) -> (Vec<&'static str>, &'static str) {
        (Vec::new(), "")
    }

    /// Says where the person goes.
    ///
    /// # Errors
    /// If the service does not even want to begin.
    async fn begin(&mut self, visit: &Visit) -> Result<Url, Reason>;

    /// Makes credentials of the code that came back, and looks whose they are.
    ///
    /// # Errors
    /// If the service does not take the code, or the credentials are not those of the account.
    async fn finish(&mut self, visit: &Visit, code: &SecretString) -> Result<Grant, Reason>;

    /// Takes the credential back at the service, so that nobody publishes with it any more, whoever has it.
    ///
    /// # Errors
    /// [`BY_HAND`] where the service has no such thing for us; else what it says no with.
    async fn revoke(&self) -> Result<(), Reason> {
        Err(Reason::new(BY_HAND, "the service lets only people take it back"))
    }
}

/// Code of a credential that only a person can take back.
pub const BY_HAND: &str = "by-hand";

/// Secrets that are dead once the credential was taken back.
pub const REVOKED: &[&str] = &["access_token", "refresh_token", "session", "token_state"];

/// Where a person takes back a credential of this kind of account.
pub fn where_by_hand(kind: &str) -> &'static str {
    match kind {
        "facebook-page" | "instagram" => {
            "facebook.com, as the person who signed in: Settings → Business integrations → remove the app; of a system user: \
             Business settings → System users → Revoke tokens"
        }
        "threads" => "threads.net, as the account: Settings → Account → Website permissions → remove the app",
        "x" => {
            "x.com, as the account: Settings → Security → Apps and sessions → Connected apps → revoke; or console.x.com: \
                the app → Keys and tokens → Revoke"
        }
        "mastodon" => {
            "the server, as the account: Preferences → Account → Authorized apps → revoke; or Development → delete the \
                       application"
        }
        "linkedin" => {
            "linkedin.com, as the member who signed in: Settings → Data privacy → Permitted services → remove the app"
        }
        "bluesky" => "bsky.app, as the account: Settings → Privacy and security → App passwords → delete it",
        "telegram" => "Telegram: @BotFather → /revoke → the bot",
        "whatsapp" => "business.facebook.com: Business settings → System users → Revoke tokens",
        "matrix" => "a Matrix client, as the account: Settings → Sessions → sign the session out",
        "sms-46elks" => "46elks.com: Account → API credentials → make new ones",
        "slack" => "api.slack.com/apps: the app → Incoming webhooks → remove",
        "teams" => "Teams: the channel → Workflows → delete the flow",
        "mattermost" => "Mattermost: Integrations → Incoming webhooks → delete",
        "discord" => "Discord: the channel → Edit → Integrations → Webhooks → delete",
        "ntfy" => "the ntfy server: Account → Access tokens → delete",
        "wordpress" => "WordPress: Users → the user → Application passwords → Revoke",
        _ => "the service itself: make a new credential and delete the old one",
    }
}

/// Code of a consent that someone gave for another account.
pub const WRONG_ACCOUNT: &str = "wrong-account";
/// Code of a code that the service does not take.
pub const STALE_CODE: &str = "stale-code";

/// The consent is for another account than the one that is meant.
pub fn wrong_account(wanted: &str, given: &str) -> Reason {
    Reason::new(
        WRONG_ACCOUNT,
        format!(
            "the consent was given for {}, and this account is {wanted}; sign in at the service as the right one (a private \
             window helps) and connect again",
            brief(given)
        ),
    )
}

/// A right is missing without which nothing can be published.
pub fn missing_scope(wanted: &str, given: &str) -> Reason {
    Reason::new(
        "scope",
        format!(
            "the consent does not hold {wanted}, only {}; connect again and leave every box ticked",
            brief(given)
        ),
    )
}

/// What the transport says of a request of a sign-in: it published nothing in any case.
pub fn unreached(error: &SendError) -> Reason {
    error.reason().clone()
}

/// What a service gives with the code or the token, where it answered with a success.
///
/// # Errors
/// What the answer says no with, without `unspeakable`.
pub fn granted(mut answer: Answer, service: &str, unspeakable: &[&SecretString]) -> Result<Value, Reason> {
    if answer.is_success() {
        return answer.json().ok_or_else(|| no_sense(service));
    }
    for secret in unspeakable
        .iter()
        .filter(|secret| !secret.expose_secret().is_empty())
    {
        blank(&mut answer.body, secret.expose_secret().as_bytes());
    }
    Err(refusal(&answer, service))
}

/// What a service says no with when it is asked for a token: OAuth's own words, or Meta's envelope.
fn refusal(answer: &Answer, service: &str) -> Reason {
    let body = answer.json().unwrap_or(Value::Null);
    let said = &body["error"];
    let word = said.as_str().filter(|word| is_word(word));
    let message = body["error_description"]
        .as_str()
        .or(said["message"].as_str())
        .or(body["error_message"].as_str())
        .map(brief)
        .unwrap_or_default();
    let (code, subcode) = (said["code"].as_i64(), said["error_subcode"].as_i64());
    let is_stale = word == Some("invalid_grant")
        // Expired, used, not for this address: subcodes of the Graph API's OAuth dialog.
        || (code == Some(100) && matches!(subcode, Some(36_007..=36_009)))
        || (word.is_none() && body["error_type"] == "OAuthException" && body["code"] == 400);
    if is_stale {
        let text = format!(
            "{service} does not take the code: it is used already, too old, or of another sign-in; connect again ({message})"
        );
        return Reason::new(STALE_CODE, text);
    }
    if matches!(word, Some("invalid_client" | "unauthorized_client")) || matches!(answer.status, 401) {
        let text = format!(
            "{service} does not take the app's id and secret; set them again with `vardkase credentials set` ({message})"
        );
        return Reason::new("app-refused", text);
    }
    let status = answer.status;
    let moved = if (300..400).contains(&status) {
        ": it has moved, and the address in config.toml has to be corrected"
    } else {
        ""
    };
    let word = word.map(|word| format!(", {word}")).unwrap_or_default();
    Reason::new(
        format!("http-{status}"),
        format!("{service} answered {status}{word}{moved} {message}"),
    )
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A token in an answer.
///
/// # Errors
/// If there is none.
pub fn token(body: &Value, name: &str, service: &str) -> Result<SecretString, Reason> {
    let token = body[name]
        .as_str()
        .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN);
    token.map(SecretString::from).ok_or_else(|| no_sense(service))
}

/// When something ends that an answer gives so many seconds from now.
pub fn ends(body: &Value, name: &str, now: Timestamp) -> Option<Timestamp> {
    let seconds = body[name].as_u64().filter(|seconds| *seconds > 0)?;
    Some(later(now, Duration::from_secs(seconds)))
}

/// An answer that cannot be read.
pub fn no_sense(service: &str) -> Reason {
    Reason::new(
        "unreadable",
        format!("{service} took the request and what it answered cannot be read; connect again"),
    )
}

/// What a service says, short enough to show.
pub fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
