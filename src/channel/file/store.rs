//! Where the files lie: a folder of this machine, or one on a WebDAV or SFTP server. All replace a file whole or not at all.

use std::path::{Path, PathBuf};

use super::dav::Dav;
use super::disk;
use super::sftp::Sftp;
use crate::model::{Reason, SendError};

/// The folder.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// On this machine or a mount. The account's name keeps two of them in one folder apart.
    Disk { path: PathBuf, account: String },
    /// On a WebDAV server.
    Dav(Dav),
    /// On an SFTP server.
    Sftp(Sftp),
}

impl Store {
    /// The bytes of a file, if it is there.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SendError> {
        match self {
            Self::Disk { path, .. } => {
                let name = name.to_owned();
                blocking(path, move |path| disk::read(path, &name)).await
            }
            Self::Dav(dav) => dav.read(name).await,
            Self::Sftp(sftp) => Box::pin(sftp.read(name)).await,
        }
    }

    /// Replaces these files, in this order.
    pub(super) async fn write(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), SendError> {
        match self {
            Self::Disk { path, account } => {
                let account = account.clone();
                let write = move |path: &Path| {
                    files
                        .iter()
                        .try_for_each(|(name, bytes)| disk::write(path, name, &account, bytes))
                };
                blocking(path, write).await
            }
            Self::Dav(dav) => dav.write(&files).await,
            Self::Sftp(sftp) => Box::pin(sftp.write(&files)).await,
        }
    }

    /// Removes these files; not there counts as done.
    pub(super) async fn remove(&self, names: Vec<String>) -> Result<(), SendError> {
        match self {
            Self::Disk { path, .. } => {
                let remove = move |path: &Path| names.iter().try_for_each(|name| disk::remove(path, name));
                blocking(path, remove).await
            }
            Self::Dav(dav) => {
                for name in &names {
                    dav.remove(name).await?;
                }
                Ok(())
            }
            Self::Sftp(sftp) => Box::pin(sftp.remove(&names)).await,
        }
    }

    /// Writes a small hidden file and removes it again.
    pub(super) async fn try_out(&self) -> Result<(), SendError> {
        match self {
            Self::Disk { path, account } => {
                let account = account.clone();
                blocking(path, move |path| disk::try_out(path, &account)).await
            }
            Self::Dav(dav) => dav.try_out().await,
            Self::Sftp(sftp) => Box::pin(sftp.try_out()).await,
        }
    }

    /// The folder as people know it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Disk { path, .. } => path.display().to_string(),
            Self::Dav(dav) => dav.shown(),
            Self::Sftp(sftp) => sftp.shown(),
        }
    }
}

/// Runs file work where it may block. What the disk does not take is tried again.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, Reason> + Send + 'static,
) -> Result<T, SendError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(&path))
        .await
        .unwrap_or_else(|_| Err(Reason::new("disk", "the file work was cut off")))
        .map_err(SendError::NotSent)
}
