//! A mailing list, each recipient a message of its own.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A mailing list, each recipient a message of its own.
pub static KIND: Kind = Kind {
    id: "email",
    about: "A mailing list, each recipient a message of its own",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: true,
        edit: false,
        retract: false,
        link_card: false,
        recipients: true,
        by_hand: false,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[];
        SECRETS
    },
    pace: Pace {
        attempts: 60,
        per: Duration::from_mins(1),
        burst: 5,
        parallel: 1,
    },
    read: |_section| todo!("email"),
};
