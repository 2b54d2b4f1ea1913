//! A file in a folder or on a mount.

use std::time::Duration;

use super::{Capabilities, Kind, Pace, SecretName};
use crate::model::Proof;

/// A file in a folder or on a mount.
pub static KIND: Kind = Kind {
    id: "file",
    about: "A file in a folder or on a mount",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: true,
        retract: true,
        link_card: false,
        recipients: false,
        by_hand: false,
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
    read: |_section| todo!("file"),
};
