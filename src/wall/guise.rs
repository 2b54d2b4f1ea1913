//! What a test makes of a simulated account: what its service says of it, and what of our credential. The simulators take
//! it from their [`super::sim::Call`]; what is not set is as on an account in good order.

use std::collections::BTreeSet;

use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::sim::Call;
use crate::clock::Timestamp;

/// Where every simulated account has its picture, below its base.
pub(super) const AVATAR: &str = "/_avatar";

/// What the smallest picture of an account is: one pixel, PNG.
const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0a, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0,
    1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// How a simulated account presents itself from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guise {
    /// Its id, where the channel does not fix it.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// When our credential ends; past it the service refuses it as expired.
    pub expires_at: Option<Timestamp>,
    /// Whether our credential has been revoked.
    pub revoked: bool,
    /// What our credential may, in the service's own words.
    pub scopes: Option<Vec<String>>,
    /// The role of whoever our credential belongs to, in the service's own word.
    pub role: Option<String>,
    /// What is wrong with the account, in the service's own words: `suspended`, `unpublished`, `RED`.
    pub marks: BTreeSet<String>,
    /// The text of its profile.
    pub about: Option<String>,
    /// The fields of its profile that have a name.
    pub fields: Vec<(String, String)>,
    /// How many follow it.
    pub followers: Option<u64>,
    /// The bytes of its picture.
    pub avatar: Option<Vec<u8>>,
    /// Posts that stand there and did not come from us.
    pub others: Vec<Other>,
}

/// A post that somebody else made on the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// When it was made.
    pub at: Timestamp,
    /// The person or program that made it.
    #[serde(default)]
    pub by: Option<String>,
}

/// Why a credential is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dead {
    Expired,
    Revoked,
}

impl Guise {
    /// Whether our credential is taken no longer.
    pub(super) fn dead(&self, now: Timestamp) -> Option<Dead> {
        if self.revoked {
            return Some(Dead::Revoked);
        }
        (self.expires_at? <= now).then_some(Dead::Expired)
    }

    /// Whether the account is marked so.
    pub(super) fn is(&self, mark: &str) -> bool {
        self.marks.contains(mark)
    }

    /// The text of the profile, as much of it as the service takes.
    pub(super) fn about(&self, limit: usize) -> String {
        let text = self.about.as_deref().unwrap_or("Nässjö kommun. Kris? nassjo.se");
        text.chars().take(limit).collect()
    }

    /// What our credential may: what a test says, else what it was given.
    pub(super) fn scopes<S: AsRef<str>>(&self, given: &[S]) -> Vec<String> {
        let usual = || given.iter().map(|scope| scope.as_ref().to_owned()).collect();
        self.scopes.clone().unwrap_or_else(usual)
    }

    pub(super) fn followers(&self) -> u64 {
        self.followers.unwrap_or(1200)
    }
}

/// The picture of the account. It is public, so that a credential that comes along was given away.
pub(super) fn avatar(call: &Call<'_>) -> Response<Vec<u8>> {
    let with_secret = ["authorization", "cookie", "x-goog-api-key"]
        .iter()
        .any(|name| call.headers.contains_key(*name));
    if with_secret || !call.query.is_empty() {
        return super::sim::error(400, "nobody asks for a picture with a credential");
    }
    let bytes = call.guise.avatar.clone().unwrap_or_else(|| PIXEL.to_vec());
    let mut answer = Response::new(bytes);
    *answer.status_mut() = StatusCode::OK;
    answer
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("image/png"));
    answer
}
