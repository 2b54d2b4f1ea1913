//! A browser's subscription, as the site got it from `PushManager.subscribe()`: an address and two keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::{Host, Url};

use crate::model::Reason;

/// The code of a refusal that says that the subscription has ended: such a recipient is left out from then on.
pub(crate) const GONE: &str = "gone";
/// Longest address that is taken, in bytes.
const MAX_ENDPOINT: usize = 2000;
/// Bytes of an uncompressed point of P-256.
const POINT: usize = 65;
/// Bytes of the secret that browser and site share.
const AUTH: usize = 16;

/// The practice wall's browser. Its private key is public too: it is the one of RFC 8291, appendix A.
const PRACTICE_P256DH: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
/// See [`PRACTICE_P256DH`].
const PRACTICE_AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

/// Where a browser gets its messages, and what they are encrypted with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub endpoint: Url,
    /// The browser's public key.
    pub p256dh: Vec<u8>,
    /// The secret that only browser and site know.
    pub auth: Vec<u8>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Subscription({})",
            self.endpoint.host_str().unwrap_or_default()
        )
    }
}

impl Subscription {
    /// Reads one as a browser writes it. Says what is wrong without repeating anything of it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|_| "it is not JSON".to_owned())?;
        let endpoint = value["endpoint"].as_str().unwrap_or_default();
        let endpoint = Url::parse(endpoint)
            .ok()
            .filter(|url| endpoint.len() <= MAX_ENDPOINT && url.has_host())
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
            .ok_or("endpoint is not an https address")?;
        let key = |name: &str, length: usize| {
            let key = value["keys"][name].as_str().and_then(decoded);
            key.filter(|key| key.len() == length)
                .ok_or_else(|| format!("keys.{name} is not {length} bytes in base64url"))
        };
        let p256dh = key("p256dh", POINT)?;
        if p256dh.first() != Some(&4) {
            return Err("keys.p256dh is no uncompressed point".to_owned());
        }
        Ok(Self {
            endpoint,
            p256dh,
            auth: key("auth", AUTH)?,
        })
    }

    /// One line of JSON that holds what is needed and nothing else: how a list keeps it.
    #[cfg(test)]
    pub(crate) fn compact(&self) -> String {
        let key = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        serde_json::json!({
            "endpoint": self.endpoint,
            "keys": {"p256dh": key(&self.p256dh), "auth": key(&self.auth)},
        })
        .to_string()
    }

    /// The practice wall's own browser, at this address.
    pub(super) fn practice(endpoint: Url) -> Result<Self, Reason> {
        let keys = decoded(PRACTICE_P256DH).zip(decoded(PRACTICE_AUTH));
        let (p256dh, auth) = keys.ok_or_else(|| Reason::new("crypto", "the practice key cannot be read"))?;
        Ok(Self {
            endpoint,
            p256dh,
            auth,
        })
    }

    /// Whether the address belongs to one of these hosts, or to one below them, at its usual port. This machine is only
    /// spoken to where it is named.
    pub(super) fn is_at(&self, services: &[String]) -> bool {
        let Some(host) = self.endpoint.host_str() else {
            return false;
        };
        let usual = self.endpoint.port().is_none() || is_loopback(&self.endpoint);
        let named = |service: &String| {
            let below = matches!(self.endpoint.host(), Some(Host::Domain(_)))
                && host
                    .strip_suffix(service.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
            host == service || below
        };
        usual && services.iter().any(named)
    }
}

/// Base64url with or without padding; some libraries write the other alphabet.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
