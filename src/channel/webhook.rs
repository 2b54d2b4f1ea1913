//! Any HTTP endpoint: the alert as a JSON document, with an idempotency key and, if wanted, a signature.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use super::document::{Proofs, Receiver};
use super::{Capabilities, Channel, Kind, Pace, Parts, SecretName, Settings, Shown, WallSite};
use crate::compose::TextRule;
use crate::model::{Kind as Does, Proof, Reason, Rendering, Unit};

/// Any HTTP endpoint.
pub static KIND: Kind = Kind {
    id: "webhook",
    about: "Any HTTP endpoint",
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
        attempts: 600,
        per: Duration::from_mins(1),
        burst: 20,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let endpoint = section.address("endpoint", true);
        let header: Option<String> = section.optional(
            "idempotency_header",
            "the name of a header, such as \"Idempotency-Key\"",
        );
        let keyed: Option<bool> = section.optional(
            "keyed",
            "true, or false if the endpoint does not recognise a repeat by its key",
        );
        let header = header.as_deref().unwrap_or("Idempotency-Key");
        let idempotency_header = HeaderName::try_from(header).ok().filter(|name| {
            !matches!(
                name.as_str(),
                "authorization" | "content-type" | "content-length" | "host"
            ) && !name.as_str().starts_with("x-vardkase-")
        });
        if idempotency_header.is_none() {
            section.problem(
                "idempotency_header",
                format!("{header:?} cannot be used as the header of the key"),
            );
        }
        Some(Box::new(Webhook {
            endpoint: endpoint?,
            idempotency_header: idempotency_header?,
            keyed: keyed.unwrap_or(true),
        }))
    },
};

#[derive(Debug, Clone)]
struct Webhook {
    endpoint: Url,
    idempotency_header: HeaderName,
    keyed: bool,
}

impl Settings for Webhook {
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
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("endpoint", self.endpoint.to_string())]
    }

    fn proof(&self) -> Option<Proof> {
        (!self.keyed).then_some(Proof::Unproven)
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
            self.idempotency_header.clone(),
            self.keyed,
            Proofs::Status,
            &parts,
        )?))
    }
}
