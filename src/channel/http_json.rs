//! The web site, through its own receiver: a few lines in any CMS that take the alert's document and answer with the
//! page's address. Stricter than a webhook: without the address nothing counts as published.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use super::document::{Proofs, Receiver};
use super::{Capabilities, Channel, Kind, Pace, Parts, SecretName, Settings, WallSite};
use crate::compose::TextRule;
use crate::model::{Proof, Reason, Unit};

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
    read: |section| {
        let endpoint = section.address("endpoint", true);
        Some(Box::new(HttpJson { endpoint: endpoint? }))
    },
};

#[derive(Debug, Clone)]
struct HttpJson {
    endpoint: Url,
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
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("endpoint", self.endpoint.to_string())]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(Receiver::open(
            self.endpoint.clone(),
            HeaderName::from_static("idempotency-key"),
            true,
            Proofs::Address,
            &parts,
        )?))
    }
}
