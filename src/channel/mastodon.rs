//! A Mastodon account.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A Mastodon account.
pub static KIND: Kind = Kind {
    id: "mastodon",
    about: "A Mastodon account",
    can: Capabilities {
        proof: Proof::Keyed,
        thread: true,
        edit: true,
        retract: true,
        link_card: true,
        recipients: false,
        by_hand: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: "access_token",
            required: true,
            internal: false,
        }];
        SECRETS
    },
    pace: Pace {
        attempts: 60,
        per: Duration::from_secs(60),
        burst: 5,
        parallel: 1,
    },
    read: |_section| todo!("mastodon"),
};
