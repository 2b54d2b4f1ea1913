//! The vault's key: 32 random bytes, from systemd's credentials or from a file of mode 0600.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{VaultError, disk};
use crate::config::VaultFiles;

/// The credential's name in the unit file: `LoadCredential=vault.key:…`.
const CREDENTIAL: &str = "vault.key";
const MAX_KEY_FILE: u64 = 1024;
const KEY_BYTES: usize = 32;

/// Where a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among systemd's credentials.
    Credential,
    /// In the key file.
    File,
    /// Beside the key file: a rotation was cut off before it took the old one's place.
    Pending,
}

/// Where the new key stands until the vault is sealed with it.
pub fn pending(key_file: &Path) -> PathBuf {
    let mut name = key_file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    disk::folder_of(key_file).join(name)
}

/// A key, ready for use.
pub struct Key {
    cipher: XChaCha20Poly1305,
    id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl Key {
    /// The key from systemd's credentials if it is there, else from the key file.
    pub fn find(files: &VaultFiles, credentials: Option<&Path>) -> Result<(Self, Place), VaultError> {
        if let Some(folder) = credentials {
            let path = folder.join(CREDENTIAL);
            if let Some(bytes) = disk::read_credential(&path, MAX_KEY_FILE)? {
                let key = Self::from_text(&path, &Zeroizing::new(bytes))?;
                return Ok((key, Place::Credential));
            }
        }
        let path = &files.key_file;
        let Some((bytes, _)) = disk::read_private(path, MAX_KEY_FILE)? else {
            return Err(VaultError::NoKey(path.clone()));
        };
        disk::check_key_folder(disk::folder_of(path))?;
        Ok((Self::from_text(path, &Zeroizing::new(bytes))?, Place::File))
    }

    /// The other places where the key of a vault can be: the key file, where systemd's credential is of before a rotation,
    /// and what a rotation that was cut off left beside it.
    pub fn others(files: &VaultFiles) -> impl Iterator<Item = (Self, Place)> {
        let places = [
            (files.key_file.clone(), Place::File),
            (pending(&files.key_file), Place::Pending),
        ];
        places.into_iter().filter_map(|(path, place)| {
            let (bytes, _) = disk::read_private(&path, MAX_KEY_FILE).ok()??;
            disk::check_key_folder(disk::folder_of(&path)).ok()?;
            Some((Self::from_text(&path, &Zeroizing::new(bytes)).ok()?, place))
        })
    }

    /// Makes a new key at `path`, where there must be none.
    pub fn create(path: &Path) -> Result<Self, VaultError> {
        let folder = disk::folder_of(path);
        disk::make_folder(folder)?;
        disk::check_key_folder(folder)?;
        let bytes: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(random()?);
        let mut text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        text.push('\n');
        disk::create_private(path, text.as_bytes())?;
        disk::flush_folder(folder)?;
        Ok(Self::new(&bytes))
    }

    fn from_text(path: &Path, text: &[u8]) -> Result<Self, VaultError> {
        let damaged = || VaultError::Damaged {
            path: path.to_owned(),
            what: format!("is not a vault key ({KEY_BYTES} bytes in base64)"),
        };
        let text = std::str::from_utf8(text).map_err(|_| damaged())?.trim();
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| damaged())?);
        let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| damaged())?;
        Ok(Self::new(bytes))
    }

    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        // Tells keys apart and nothing more: of 32 random bytes a hash gives nothing away.
        let hash = Sha256::new_with_prefix(b"vardkase vault key id\0")
            .chain_update(bytes)
            .finalize();
        let id = hex::encode(hash.get(..8).unwrap_or_default());
        Self {
            cipher: XChaCha20Poly1305::new(bytes.into()),
            id,
        }
    }

    /// Its fingerprint.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals `plain`, bound to `about`. Returns nonce and sealed bytes.
    pub fn seal(&self, plain: &[u8], about: &[u8]) -> Result<(Vec<u8>, Vec<u8>), VaultError> {
        // 24 random bytes never repeat by chance; nothing has to be counted.
        let nonce = XNonce::try_generate().map_err(|_| no_randomness())?;
        let sealed = self
            .cipher
            .encrypt(
                &nonce,
                Payload {
                    msg: plain,
                    aad: about,
                },
            )
            .map_err(|_| VaultError::Unfit("the secret could not be sealed".to_owned()))?;
        Ok((nonce.to_vec(), sealed))
    }

    /// Opens what [`Key::seal`] made; `None` if anything about it was changed.
    pub fn open(&self, nonce: &[u8], sealed: &[u8], about: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = XNonce::try_from(nonce).ok()?;
        self.cipher
            .decrypt(
                &nonce,
                Payload {
                    msg: sealed,
                    aad: about,
                },
            )
            .ok()
            .map(Zeroizing::new)
    }
}

fn random() -> Result<[u8; KEY_BYTES], VaultError> {
    <[u8; KEY_BYTES]>::try_generate().map_err(|_| no_randomness())
}

fn no_randomness() -> VaultError {
    VaultError::Unfit("the system gave no random numbers; nothing was changed".to_owned())
}
