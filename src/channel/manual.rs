//! A person posts by hand.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A person posts by hand.
pub static KIND: Kind = Kind {
    id: "manual",
    about: "A person posts by hand",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: false,
        edit: false,
        retract: false,
        link_card: false,
        recipients: false,
        by_hand: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[];
        SECRETS
    },
    pace: Pace {
        attempts: 60,
        per: Duration::from_secs(60),
        burst: 5,
        parallel: 1,
    },
    read: |_section| todo!("manual"),
};
