//! Who may into the folder of a `file` account: one user, by key or by password, over WebDAV and SFTP alike.

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};

/// A log-in.
#[derive(Clone)]
pub(in super::super) struct LogIn {
    pub username: String,
    pub password: String,
    /// As the vault takes it: the middle lines of the file put together.
    private_key: String,
    public_key: PublicKey,
}

impl LogIn {
    /// One that nobody knows.
    pub fn fresh() -> Self {
        let random = || hex::encode(rand::random::<[u8; 10]>());
        let key = fresh_key();
        #[allow(clippy::expect_used, reason = "a key of our own making is always written")]
        let file = key
            .to_openssh(LineEnding::LF)
            .expect("an Ed25519 key can be written");
        let middle = file.lines().filter(|line| !line.starts_with("-----"));
        Self {
            username: format!("skarm-{}", random()),
            password: random(),
            private_key: middle.collect(),
            public_key: key.public_key().clone(),
        }
    }

    /// What the vault holds of it.
    pub fn secrets(&self) -> Vec<(String, String)> {
        [
            ("username", &self.username),
            ("password", &self.password),
            ("private_key", &self.private_key),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    /// Whether that is its key; what a key file says beside it does not count.
    pub fn is_key(&self, key: &PublicKey) -> bool {
        self.public_key.key_data() == key.key_data()
    }
}

/// A new Ed25519 key.
pub(super) fn fresh_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&rand::random()))
}
