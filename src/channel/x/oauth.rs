//! OAuth 1.0a with HMAC-SHA1: the tokens do not expire, and no secret travels. JSON bodies are not part of a signature.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use url::Url;

use crate::channel::Secrets;
use crate::model::Reason;

/// The four secrets of an account: two of the app, two of the account's consent.
pub(super) struct Keys {
    consumer_key: SecretString,
    consumer_secret: SecretString,
    token: SecretString,
    token_secret: SecretString,
}

impl Keys {
    /// What the vault holds.
    pub(super) fn of(secrets: &dyn Secrets) -> Result<Self, Reason> {
        Ok(Self {
            consumer_key: secrets.require("consumer_key")?,
            consumer_secret: secrets.require("consumer_secret")?,
            token: secrets.require("access_token")?,
            token_secret: secrets.require("access_token_secret")?,
        })
    }

    /// Those that the service gets to see, and might repeat.
    pub(super) fn sent(&self) -> [&str; 2] {
        [self.consumer_key.expose_secret(), self.token.expose_secret()]
    }

    /// The `Authorization` header of one request; `nonce` has to be new, `second` is the time since 1970.
    pub(super) fn authorization(&self, method: &Method, url: &Url, nonce: &str, second: i64) -> HeaderValue {
        let signer = Signer {
            consumer: (&self.consumer_key, &self.consumer_secret),
            token: Some((&self.token, &self.token_secret)),
        };
        sign(&signer, method, url, &[], nonce, second)
    }
}

/// Who signs: an app, and the account that has agreed with it (or is about to).
pub(super) struct Signer<'a> {
    pub(super) consumer: (&'a SecretString, &'a SecretString),
    pub(super) token: Option<(&'a SecretString, &'a SecretString)>,
}

/// The `Authorization` header of one request, with `extra` parameters of the protocol.
pub(super) fn sign(
    signer: &Signer<'_>,
    method: &Method,
    url: &Url,
    extra: &[(&str, &str)],
    nonce: &str,
    second: i64,
) -> HeaderValue {
    let second = second.to_string();
    let (consumer_key, consumer_secret) = signer.consumer;
    let mut own = vec![
        ("oauth_consumer_key", consumer_key.expose_secret()),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", second.as_str()),
        ("oauth_version", "1.0"),
    ];
    own.extend(
        signer
            .token
            .map(|(token, _)| ("oauth_token", token.expose_secret())),
    );
    own.extend(extra);
    own.sort_unstable();
    let token_secret = signer.token.map_or("", |(_, secret)| secret.expose_secret());
    let signature = signature((consumer_secret.expose_secret(), token_secret), method, url, &own);
    let mut header = "OAuth ".to_owned();
    for (name, value) in own {
        // Writing to a string cannot fail.
        let _infallible = write!(header, "{name}=\"{}\", ", escape(value));
    }
    let _infallible = write!(header, "oauth_signature=\"{}\"", escape(&signature));
    // All of it is escaped, so that every character is one that a header may have.
    let mut value = HeaderValue::try_from(header).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn signature(secrets: (&str, &str), method: &Method, url: &Url, own: &[(&str, &str)]) -> String {
    let mut parameters: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (escape(&name), escape(&value)))
        .chain(own.iter().map(|(name, value)| (escape(name), escape(value))))
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut address = url.clone();
    address.set_query(None);
    address.set_fragment(None);
    let base = format!(
        "{method}&{}&{}",
        escape(address.as_str()),
        escape(&parameters.join("&"))
    );
    let key = format!("{}&{}", escape(secrets.0), escape(secrets.1));
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).ok();
    let mac = mac.map(|mut mac| {
        mac.update(base.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    });
    mac.unwrap_or_default()
}

/// Percent-encoding as RFC 3986 has it: all but unreserved characters, in capitals.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::secrets::InMemory;

    fn keys() -> Keys {
        Keys::of(&InMemory::of([
            ("consumer_key", "testkey"),
            ("consumer_secret", "testsecret"),
            ("access_token", "1-tok"),
            ("access_token_secret", "toksecret"),
        ]))
        .unwrap()
    }

    fn header(method: &Method, url: &str) -> String {
        let value = keys().authorization(method, &url.parse().unwrap(), "0123456789abcdef", 1_700_000_000);
        assert!(value.is_sensitive());
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn signatures_are_those_of_the_reference_page() {
        let header = header(&Method::POST, "https://api.x.com/2/tweets");
        assert_eq!(
            header,
            "OAuth oauth_consumer_key=\"testkey\", oauth_nonce=\"0123456789abcdef\", \
             oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1700000000\", oauth_token=\"1-tok\", \
             oauth_version=\"1.0\", oauth_signature=\"3KkAgvYZeXDk0CG9FdIgckLFs2E%3D\""
        );
    }

    #[test]
    fn parameters_of_the_address_are_signed_too() {
        let url =
            "https://api.x.com/2/users/42/tweets?max_results=5&post.fields=created_at,text&exclude=retweets";
        let header = header(&Method::GET, url);
        assert!(
            header.ends_with("oauth_signature=\"OfLMEO0wADoVar38wtvqA5TkDiw%3D\""),
            "{header}"
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        let reason = Keys::of(&InMemory::of([("consumer_key", "k")])).err().unwrap();
        assert!(reason.text.contains("consumer_secret"), "{reason}");
    }
}
