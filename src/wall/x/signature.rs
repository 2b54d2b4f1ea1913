//! Checks an OAuth 1.0a signature. Written apart from the product's own signing, so that one proves the other.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::wall::sim::Call;

/// How far a signature's time may be from ours, in seconds.
const WINDOW: i64 = 300;

/// An app's and an account's keys.
pub(super) struct Keys([(&'static str, String); 4]);

impl Keys {
    pub(super) fn fresh() -> Self {
        let random = || hex::encode(rand::random::<[u8; 20]>());
        Self([
            ("consumer_key", random()),
            ("consumer_secret", random()),
            ("access_token", format!("42-{}", random())),
            ("access_token_secret", random()),
        ])
    }

    pub(super) fn secrets(&self) -> Vec<(String, String)> {
        let named = self
            .0
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        named.collect()
    }

    /// The account's tokens from now on.
    pub(super) fn replace(&mut self, token: &str, secret: &str) {
        for (name, value) in &mut self.0 {
            match *name {
                "access_token" => token.clone_into(value),
                "access_token_secret" => secret.clone_into(value),
                _ => {}
            }
        }
    }

    /// The nonce of a request that is signed as it should be.
    pub(super) fn check(&self, call: &Call<'_>) -> Option<String> {
        let [_, _, (_, token), (_, secret)] = &self.0;
        self.check_as(call, Some((token, secret)), None)
            .map(|(nonce, _)| nonce)
    }

    /// The same of a request that is signed with another token, or with none, and may have one more parameter. Returns the
    /// nonce and that parameter.
    pub(super) fn check_as(
        &self,
        call: &Call<'_>,
        token: Option<(&str, &str)>,
        extra: Option<&str>,
    ) -> Option<(String, String)> {
        let [(_, consumer), (_, consumer_secret), _, _] = &self.0;
        let mut given = parameters(call)?;
        let signature = given.remove("oauth_signature")?;
        let mut expected = vec![
            "oauth_consumer_key",
            "oauth_nonce",
            "oauth_signature_method",
            "oauth_timestamp",
        ];
        expected.extend(token.map(|_| "oauth_token"));
        expected.extend(extra);
        let has_all = expected.iter().all(|name| given.contains_key(name));
        let knows = given
            .keys()
            .all(|name| expected.contains(name) || *name == "oauth_version");
        let time: i64 = given.get("oauth_timestamp")?.parse().ok()?;
        let in_time = (time - call.now.as_second()).abs() <= WINDOW;
        let ours = given.get("oauth_consumer_key") == Some(consumer)
            && given.get("oauth_token").map(String::as_str) == token.map(|(token, _)| token);
        if !(has_all && knows && in_time && ours && given.get("oauth_signature_method")? == "HMAC-SHA1") {
            return None;
        }
        let mut pairs: Vec<String> = given.iter().map(|(name, value)| pair(name, value)).collect();
        pairs.extend(call.query.iter().map(|(name, value)| pair(name, value)));
        pairs.sort();
        let address = encode(&format!("{}{}", call.base, call.path));
        let base = format!("{}&{address}&{}", call.method, encode(&pairs.join("&")));
        let token_secret = token.map_or("", |(_, secret)| secret);
        let key = format!("{}&{}", encode(consumer_secret), encode(token_secret));
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).ok()?;
        mac.update(base.as_bytes());
        let sent = STANDARD.decode(signature).ok()?;
        mac.verify_slice(&sent).ok()?;
        let extra = extra
            .and_then(|name| given.get(name))
            .cloned()
            .unwrap_or_default();
        Some((given.get("oauth_nonce").cloned()?, extra))
    }
}

/// What stands in the `Authorization` header.
pub(super) fn parameters<'c>(call: &'c Call<'_>) -> Option<BTreeMap<&'c str, String>> {
    let header = call.header("authorization")?.strip_prefix("OAuth ")?;
    let mut given = BTreeMap::new();
    for part in header.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        // Twice the same is no signature.
        if given.insert(name, decode(value)).is_some() {
            return None;
        }
    }
    Some(given)
}

fn pair(name: &str, value: &str) -> String {
    format!("{}={}", encode(name), encode(value))
}

fn encode(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}

fn decode(text: &str) -> String {
    // A plus is a plus here, where forms mean a blank.
    let text = text.replace('+', "%2B");
    let pair = format!("x={text}");
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
