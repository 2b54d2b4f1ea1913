//! A new key for the vault. At every moment the vault opens with a key that is there: the new key is on disk before the
//! vault is sealed with it, and the old one goes only when the vault no longer needs it.

use super::key::{Key, Place, pending};
use super::{Vault, VaultError, disk};
use crate::failpoint;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rotated {
    /// Fingerprint of the key before.
    pub before: String,
    /// Fingerprint of the key now.
    pub now: String,
    /// How many secrets were sealed anew.
    pub secrets: usize,
}

impl Vault {
    /// Seals everything with a new key, which takes the old one's place in the key file. What a rotation that was cut off
    /// left behind is put in order first.
    ///
    /// # Errors
    /// If a secret cannot be opened: sealed anew it would be lost for good. If the key is systemd's and not ours to replace.
    pub fn rotate(&self) -> Result<Rotated, VaultError> {
        let files = &self.0.files;
        let beside = pending(&files.key_file);
        let _lock = disk::lock(disk::folder_of(&files.file))?;
        let mut state = self.read()?;
        match state.place {
            Place::Credential => {
                return Err(VaultError::Unfit(
                    "the key is among systemd's credentials and cannot be replaced from within the service; run this outside \
                     of it, as root, and restart the service afterwards"
                        .to_owned(),
                ));
            }
            // The vault is sealed with it already: only the last step is missing.
            Place::Pending => disk::promote(&beside, &files.key_file)?,
            // The vault was not sealed with what may lie there.
            Place::File => disk::remove(&beside)?,
        }
        let damaged = state.contents.list().iter().filter(|entry| !entry.sound).count();
        let lost = damaged + state.contents.unreadable();
        if lost > 0 {
            return Err(VaultError::Unfit(format!(
                "{lost} record(s) of the vault are damaged and could not be sealed anew; `vardkase credentials list` shows whose. \
                 Set or remove them first; nothing was changed"
            )));
        }
        let before = state.key.id().to_owned();
        let key = Key::create(&beside)?;
        disk::give_like(&beside, &files.key_file)?;
        failpoint::hit("vault-rotate.key-made");
        state.contents.reseal(&key)?;
        state.stamp = disk::replace(&files.file, state.contents.to_text(&key).as_bytes())?;
        failpoint::hit("vault-rotate.sealed");
        disk::promote(&beside, &files.key_file)?;
        failpoint::hit("vault-rotate.done");
        let rotated = Rotated {
            before,
            now: key.id().to_owned(),
            secrets: state.contents.len(),
        };
        (state.key, state.place) = (key, Place::File);
        *self
            .0
            .state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Ok(state);
        Ok(rotated)
    }
}
