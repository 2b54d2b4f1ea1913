//! The web site, through its own receiver: a few lines in any CMS that take the alert's document and answer with the
//! page's address. Stricter than a webhook: without the address nothing counts as published, unless the account says that
//! the status is enough.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use super::document::{Proofs, Receiver};
use super::{Capabilities, Channel, Kind, Pace, Parts, SecretName, Settings, Shown, WallSite};
use crate::compose::TextRule;
use crate::model::{Kind as Does, Proof, Reason, Rendering, Unit};

/// The web site, through its own receiver.
pub static KIND: Kind = Kind {
    id: "http-json",
    about: "The web site, through its own receiver",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: false,
        retract: true,
        pin: false,
        picture: false,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: false,
        backstage: false,
    },
    // At least one of the two; `open` says so if both are missing.
    secrets: &[
        SecretName {
            name: "bearer",
            required: false,
            internal: false,
        },
        SecretName {
            name: "hmac_key",
            required: false,
            internal: false,
        },
    ],
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let endpoint = section.address("endpoint", true);
        let by_status = section.one_of("answer", &["strict", "status"]) == Some("status");
        // Every account may have it; here it stands in for what the receiver does not tell.
        let url = section.text_if_any("url").filter(|_| by_status);
        let url = url.and_then(|url| Url::parse(&url).ok());
        Some(Box::new(HttpJson {
            endpoint: endpoint?,
            by_status,
            url,
        }))
    },
};

#[derive(Debug, Clone)]
struct HttpJson {
    endpoint: Url,
    /// Whether the status alone counts.
    by_status: bool,
    /// The account's own address, where messages show, for receivers that do not say where.
    url: Option<Url>,
}

impl Settings for HttpJson {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            endpoint: site.base.clone(),
            url: self.url.as_ref().map(|_| site.base.clone()),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("endpoint", self.endpoint.to_string())]
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("headline", &rendering.headline),
            Shown::new("text", &rendering.text),
        ]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(Receiver::open(
            self.endpoint.clone(),
            HeaderName::from_static("idempotency-key"),
            true,
            if self.by_status {
                Proofs::Taken(self.url.clone())
            } else {
                Proofs::Address
            },
            &parts,
        )?))
    }
}
