//! A Facebook page.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A Facebook page.
pub static KIND: Kind = Kind {
    id: "facebook-page",
    about: "A Facebook page",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
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
    read: |_section| todo!("facebook_page"),
};
