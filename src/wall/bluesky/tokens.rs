//! The server's tokens: signed, with a real end, and with refreshing as the server does it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock::Timestamp;

const ACCESS_SECONDS: i64 = 120 * 60;
const REFRESH_SECONDS: i64 = 90 * 24 * 3600;
/// For so long a refresh token that was used gives the same successor again.
const GRACE_SECONDS: i64 = 2 * 3600;

type Refused = (u16, &'static str, String);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Access,
    Refresh,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Access => "com.atproto.appPass",
            Self::Refresh => "com.atproto.refresh",
        }
    }
}

/// Every refresh token that was given out.
pub(super) struct Tokens {
    key: [u8; 32],
    next: u64,
    refresh: BTreeMap<String, Life>,
}

enum Life {
    Fresh,
    Used { until: i64, successor: (String, String) },
    Revoked,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self {
            key: rand::random(),
            next: 0,
            refresh: BTreeMap::new(),
        }
    }

    /// A new pair: access, refresh.
    pub(super) fn issue(&mut self, did: &str, now: Timestamp) -> (String, String) {
        self.next += 1;
        let id = format!("{:x}-{}", rand::random::<u64>(), self.next);
        let at = now.as_second();
        let access = json!({
            "scope": Scope::Access.as_str(), "sub": did, "aud": "did:web:wall", "iat": at, "exp": at + ACCESS_SECONDS,
            "jti": id,
        });
        let refresh = json!({
            "scope": Scope::Refresh.as_str(), "sub": did, "aud": "did:web:wall", "jti": id, "iat": at,
            "exp": at + REFRESH_SECONDS,
        });
        self.refresh.insert(id, Life::Fresh);
        (self.sign(&access), self.sign(&refresh))
    }

    pub(super) fn check(&self, token: &str, scope: Scope, now: Timestamp) -> Result<(), Refused> {
        self.claims(token, scope, now).map(|_| ())
    }

    pub(super) fn refresh(
        &mut self,
        token: &str,
        did: &str,
        now: Timestamp,
    ) -> Result<(String, String), Refused> {
        let claims = self.claims(token, Scope::Refresh, now)?;
        let id = claims["jti"].as_str().unwrap_or_default().to_owned();
        let at = now.as_second();
        match self.refresh.get(&id) {
            Some(Life::Used { until, successor }) if at < *until => return Ok(successor.clone()),
            Some(Life::Fresh) => {}
            Some(Life::Used { .. } | Life::Revoked) | None => {
                return Err((400, "ExpiredToken", "Token has been revoked".to_owned()));
            }
        }
        let successor = self.issue(did, now);
        let used = Life::Used {
            until: at + GRACE_SECONDS,
            successor: successor.clone(),
        };
        self.refresh.insert(id, used);
        Ok(successor)
    }

    pub(super) fn revoke(&mut self, token: &str, now: Timestamp) -> Result<(), Refused> {
        let claims = self.claims(token, Scope::Refresh, now)?;
        let id = claims["jti"].as_str().unwrap_or_default().to_owned();
        self.refresh.insert(id, Life::Revoked);
        Ok(())
    }

    fn sign(&self, claims: &Value) -> String {
        let head = URL_SAFE_NO_PAD.encode(json!({ "typ": "at+jwt", "alg": "HS256" }).to_string());
        let body = URL_SAFE_NO_PAD.encode(claims.to_string());
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&format!("{head}.{body}")));
        format!("{head}.{body}.{signature}")
    }

    fn mac(&self, signed: &str) -> Vec<u8> {
        Hmac::<Sha256>::new_from_slice(&self.key)
            .map(|mut mac| {
                mac.update(signed.as_bytes());
                mac.finalize().into_bytes().to_vec()
            })
            .unwrap_or_default()
    }

    fn claims(&self, token: &str, scope: Scope, now: Timestamp) -> Result<Value, Refused> {
        let invalid = |text: &str| (400, "InvalidToken", text.to_owned());
        let (signed, signature) = token
            .rsplit_once('.')
            .ok_or_else(|| invalid("Token could not be verified"))?;
        let genuine = URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|s| s == self.mac(signed));
        let claims = signed
            .split_once('.')
            .and_then(|(_, body)| URL_SAFE_NO_PAD.decode(body).ok())
            .and_then(|body| serde_json::from_slice::<Value>(&body).ok())
            .filter(|_| genuine)
            .ok_or_else(|| invalid("Token could not be verified"))?;
        if claims["scope"] != scope.as_str() {
            return Err(invalid("Bad token scope"));
        }
        if claims["exp"].as_i64().unwrap_or(0) <= now.as_second() {
            return Err((400, "ExpiredToken", "Token has expired".to_owned()));
        }
        Ok(claims)
    }
}

/// A key that sorts by time.
pub(super) fn tid(now: Timestamp, clock: usize) -> String {
    let alphabet = b"234567abcdefghijklmnopqrstuvwxyz";
    let micros = u64::try_from(now.as_microsecond()).unwrap_or(0);
    let value = (micros << 10 | (clock as u64 & 0x3ff)) & (u64::MAX >> 1);
    (0..13)
        .rev()
        .filter_map(|digit| alphabet.get(usize::try_from(value >> (5 * digit) & 31).ok()?))
        .map(|byte| char::from(*byte))
        .collect()
}
