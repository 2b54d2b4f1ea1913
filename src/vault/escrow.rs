//! The vault for the safe: everything in it, sealed to the keys of officers of whom each can open it alone. Neither making
//! it nor opening it writes anything readable to a disk.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::age::{self, AgeError, Identity, Recipient};
use super::{MAX_RECORDS, Vault, VaultError, disk, fits};
use crate::clock::{SharedClock, Timestamp};
use crate::config::VaultFiles;

const FORMAT: u32 = 1;
/// How many officers there are at least: one who is ill must not be the only one.
const LEAST: usize = 2;
const MOST: usize = 20;

/// What is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Escrow {
    format: u32,
    made_at: Timestamp,
    /// Of the vault that it was made of.
    key_id: String,
    secrets: Vec<Sealed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    owner: String,
    name: String,
    #[serde(serialize_with = "expose", deserialize_with = "enclose")]
    value: SecretString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// On its way into what is sealed, and nowhere else.
fn expose<S: serde::Serializer>(value: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.expose_secret())
}

fn enclose<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(SecretString::from)
}

fn unfit(path: &Path, error: AgeError) -> VaultError {
    VaultError::Unfit(format!("{}: {error}", path.display()))
}

impl Vault {
    /// Writes everything to a new file of mode 0600 that each of the recipients can open. Returns how many secrets.
    ///
    /// # Errors
    /// If there are too few recipients, the file is there already, or a secret is damaged.
    pub fn escrow(&self, to: &[Recipient], out: &Path) -> Result<usize, VaultError> {
        let mut different: Vec<&Recipient> = Vec::new();
        for recipient in to {
            if !different.contains(&recipient) {
                different.push(recipient);
            }
        }
        if !(LEAST..=MOST).contains(&different.len()) {
            return Err(VaultError::Unfit(format!(
                "{} public key(s) given; an escrow takes {LEAST} different ones at least, so that it can be opened when one \
                 officer cannot be reached, and {MOST} at most",
                different.len()
            )));
        }
        self.refresh()?;
        let state = self.state();
        let state = state
            .as_ref()
            .map_err(|problem| VaultError::Closed(problem.clone()))?;
        let damaged = state.contents.list().iter().filter(|entry| !entry.sound).count();
        let lost = damaged + state.contents.unreadable();
        if lost > 0 {
            return Err(VaultError::Unfit(format!(
                "{lost} record(s) of the vault are damaged and would be missing; set them again first. Nothing was written"
            )));
        }
        let secrets: Vec<Sealed> = state
            .contents
            .all()
            .map(|(entry, secret)| Sealed {
                owner: entry.owner,
                name: entry.name,
                value: secret.clone(),
                expires_at: entry.expires_at,
            })
            .collect();
        let count = secrets.len();
        let escrow = Escrow {
            format: FORMAT,
            made_at: self.0.clock.now(),
            key_id: state.key.id().to_owned(),
            secrets,
        };
        let plain = serde_json::to_vec(&escrow).map(Zeroizing::new);
        let plain = plain.map_err(|_| VaultError::Unfit("the escrow could not be made".to_owned()))?;
        let to: Vec<Recipient> = different.into_iter().cloned().collect();
        let sealed = age::seal(&plain, &to).map_err(|error| unfit(out, error))?;
        disk::create_private(out, sealed.as_bytes())?;
        disk::flush_folder(disk::folder_of(out))?;
        Ok(count)
    }

    /// Makes a new vault with a new key of an escrow. Neither is ever overwritten.
    ///
    /// # Errors
    /// If there is a vault already, or the file is not one that this key opens.
    pub fn restore(
        files: &VaultFiles,
        clock: SharedClock,
        escrow: &Path,
        identity: &Identity,
    ) -> Result<(Self, usize), VaultError> {
        let sealed = disk::read_private(escrow, disk::MAX_VAULT * 2)?;
        let (sealed, _) =
            sealed.ok_or_else(|| VaultError::Unfit(format!("{} is not there", escrow.display())))?;
        let plain = age::open(&sealed, identity).map_err(|error| unfit(escrow, error))?;
        let held: Escrow = serde_json::from_slice(&plain).map_err(|_| unfit(escrow, AgeError::Damaged))?;
        if held.format != FORMAT || held.secrets.len() > MAX_RECORDS {
            return Err(unfit(escrow, AgeError::Damaged));
        }
        // All of it is looked at before anything is made.
        let mut secrets = Vec::new();
        for one in held.secrets {
            fits(&one.name, &one.value)?;
            secrets.push((one.owner, one.name, one.value, one.expires_at));
        }
        let vault = Self::init(files, clock)?;
        let count = secrets.len();
        vault.change(|contents, key, now| {
            for (owner, name, secret, until) in &secrets {
                contents.set(key, owner, name, secret, *until, now)?;
            }
            Ok(true)
        })?;
        Ok((vault, count))
    }
}
