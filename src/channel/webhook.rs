//! Any HTTP endpoint.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// Any HTTP endpoint.
pub static KIND: Kind = Kind {
    id: "webhook",
    about: "Any HTTP endpoint",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: false,
        retract: true,
        link_card: false,
        recipients: false,
        by_hand: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
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
        ];
        SECRETS
    },
    pace: Pace {
        attempts: 60,
        per: Duration::from_secs(60),
        burst: 5,
        parallel: 1,
    },
    read: |_section| todo!("webhook"),
};
