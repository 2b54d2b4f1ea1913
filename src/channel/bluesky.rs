//! A Bluesky account, through its personal data server.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A Bluesky account, through its personal data server.
pub static KIND: Kind = Kind {
    id: "bluesky",
    about: "A Bluesky account, through its personal data server",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: false,
        retract: true,
        link_card: true,
        recipients: false,
        by_hand: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "app_password",
            required: true,
            internal: false,
        }];
        SECRETS
    },
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    read: |_section| todo!("bluesky"),
};
