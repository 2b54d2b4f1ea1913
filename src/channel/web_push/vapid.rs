//! Who sends, proved to the push service: a JWT signed with the site's own key (RFC 8292).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use reqwest::header::HeaderValue;
use serde_json::json;
use url::Url;

use super::subscription::decoded;
use crate::clock::Timestamp;
use crate::model::Reason;

/// How long a token holds; services take 24 hours at most, and their clocks differ from ours.
const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// When it is made anew.
const HALF_LIFE: SignedDuration = SignedDuration::from_hours(6);
/// Tokens that are kept, one for each origin.
const KEPT: usize = 100;

/// The site's key.
pub(super) struct Vapid {
    pair: EcdsaKeyPair,
    public: Vec<u8>,
    /// The same as the site's page gives it to browsers.
    public_text: String,
    subject: String,
    tokens: Mutex<BTreeMap<String, (Timestamp, HeaderValue)>>,
}

impl fmt::Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid")
            .field("public", &self.public_text)
            .finish_non_exhaustive()
    }
}

impl Vapid {
    /// Takes the private key as 32 bytes in base64url: what every generator of such keys gives.
    pub(super) fn new(private: &str, subject: &str) -> Result<Self, Reason> {
        let bad = || {
            Reason::new(
                "bad-credential",
                "vapid_private_key is not a private key of P-256, 32 bytes in base64url; set it again with \
                 `vardkase credentials set`",
            )
        };
        let private = decoded(private.trim()).ok_or_else(bad)?;
        let key = PrivateKey::from_private_key(&ECDH_P256, &private).map_err(|_| bad())?;
        let public = key.compute_public_key().map_err(|_| bad())?.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &private,
            &public,
        )
        .map_err(|_| bad())?;
        Ok(Self {
            pair,
            public_text: URL_SAFE_NO_PAD.encode(&public),
            public,
            subject: subject.to_owned(),
            tokens: Mutex::default(),
        })
    }

    /// What the site's page gives as `applicationServerKey`.
    pub(super) fn public_key(&self) -> &str {
        &self.public_text
    }

    /// The header for a request to this address; one token serves for a whole origin.
    pub(super) fn authorization(&self, endpoint: &Url, now: Timestamp) -> Result<HeaderValue, Reason> {
        let origin = endpoint.origin().ascii_serialization();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, header)) = tokens.get(&origin)
            && now >= *made
            && now.duration_since(*made) < HALF_LIFE
        {
            return Ok(header.clone());
        }
        let token = self.token(&origin, now)?;
        let mut header = HeaderValue::try_from(format!("vapid t={token}, k={}", self.public_text))
            .map_err(|_| Reason::new("crypto", "the signature cannot be written"))?;
        header.set_sensitive(true);
        if tokens.len() >= KEPT {
            tokens.clear();
        }
        tokens.insert(origin, (now, header.clone()));
        Ok(header)
    }

    /// Whether our own signature holds.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Reason> {
        let token = self.token("https://push.example.net", now)?;
        let broken = || {
            Reason::new(
                "crypto",
                "the signature made with vapid_private_key does not hold",
            )
        };
        let (signed, signature) = token.rsplit_once('.').ok_or_else(broken)?;
        let signature = decoded(signature).ok_or_else(broken)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| broken())
    }

    fn token(&self, audience: &str, now: Timestamp) -> Result<String, Reason> {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({"typ": "JWT", "alg": "ES256"}));
        let expires = now.as_second() + LIFE.as_secs();
        let claims = part(json!({"aud": audience, "exp": expires, "sub": self.subject}));
        let signed = format!("{head}.{claims}");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| Reason::new("crypto", "nothing can be signed with vapid_private_key"))?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(format!("{signed}.{signature}"))
    }
}

/// Whether the strictest of the services (Apple) takes it: a real `mailto:` or https address.
pub(super) fn check_subject(subject: &str) -> Result<(), &'static str> {
    const EXPECTED: &str = "expected \"mailto:\" and a mail address, or an https address, neither of them on \
                            localhost nor under .invalid, .local or .example";
    let host = if let Some(address) = subject.strip_prefix("mailto:") {
        match address.parse::<lettre::Address>() {
            Ok(address) => address.domain().to_owned(),
            Err(_) => return Err(EXPECTED),
        }
    } else {
        match Url::parse(subject) {
            Ok(url) if url.scheme() == "https" => url.host_str().unwrap_or_default().to_owned(),
            Ok(_) | Err(_) => return Err(EXPECTED),
        }
    };
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let unreal = ["localhost", "invalid", "local", "example", "test"];
    if !host.contains('.') || unreal.contains(&last.as_str()) {
        return Err(EXPECTED);
    }
    Ok(())
}
