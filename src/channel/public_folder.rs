//! A folder that the public can read over the web. Some services take a picture only by its address, which they fetch
//! themselves: the picture lies there, whole, before the service is told of it.

use std::path::PathBuf;

use url::Url;

use super::WallSite;
use super::file::disk;
use super::transport::below;
use crate::config::section::Section;
use crate::model::{Picture, Reason};

/// A folder and the address of what lies in it.
#[derive(Debug, Clone)]
pub(super) struct PublicFolder {
    pub folder: PathBuf,
    pub url: Url,
}

/// What the folder of a practice account is called, and its address below the account's base.
pub(crate) const PRACTICE: &str = "public";

impl PublicFolder {
    /// Reads `public_folder` and `public_url`: both or, unless `required`, neither.
    pub(super) fn read(section: &mut Section<'_>, required: bool) -> Option<Self> {
        const FOLDER: &str = "an absolute folder that the web server shows, such as \"/var/www/kris/bilder\"";
        const ADDRESS: &str = "the folder's public address, such as https://example.se/kris/bilder";
        let (has_folder, has_url) = (section.has("public_folder"), section.has("public_url"));
        if !has_folder && (required || has_url) {
            section.missing("public_folder", FOLDER);
        }
        if !has_url && (required || has_folder) {
            section.missing("public_url", ADDRESS);
        }
        let folder: Option<PathBuf> = section.optional("public_folder", FOLDER);
        let url = section.address("public_url", false);
        let folder = folder?;
        if !folder.is_absolute() {
            section.problem(
                "public_folder",
                format!("{} is not an absolute path", folder.display()),
            );
        }
        Some(Self { folder, url: url? })
    }

    /// The one of a practice account.
    pub(super) fn at_wall(site: &WallSite) -> Self {
        let account = site
            .base
            .path_segments()
            .and_then(|mut segments| segments.rfind(|s| !s.is_empty()))
            .filter(|s| !matches!(*s, "." | ".."))
            .unwrap_or("konto");
        Self {
            folder: site.folder.join(account).join(PRACTICE),
            url: below(&site.base, [PRACTICE]),
        }
    }

    /// The keys, for writing a configuration.
    pub(super) fn addresses(&self) -> [(&'static str, String); 2] {
        [
            ("public_folder", self.folder.display().to_string()),
            ("public_url", self.url.to_string()),
        ]
    }

    fn name(picture: &Picture) -> String {
        let ending = if picture.media_type == "image/png" {
            "png"
        } else {
            "jpg"
        };
        let digest: String = disk::digest(&picture.bytes).chars().take(32).collect();
        format!("{digest}.{ending}")
    }

    /// Takes the picture away again; not there counts as done.
    pub(super) async fn remove(&self, picture: &Picture) -> Result<(), Reason> {
        let (folder, name) = (self.folder.clone(), Self::name(picture));
        let removed = tokio::task::spawn_blocking(move || disk::remove(&folder, &name)).await;
        removed.map_err(|_| Reason::new("disk", "the picture's file could not be removed"))?
    }

    /// Puts the picture there and returns its address. The same picture has the same address, so that a repeated attempt
    /// writes nothing new.
    pub(super) async fn put(&self, account: &str, picture: &Picture) -> Result<Url, Reason> {
        let name = Self::name(picture);
        let url = below(&self.url, [name.as_str()]);
        let (folder, account, bytes) = (self.folder.clone(), account.to_owned(), picture.bytes.clone());
        let written =
            tokio::task::spawn_blocking(move || disk::write(&folder, &name, &account, &bytes)).await;
        written
            .map_err(|_| Reason::new("disk", "the picture's file could not be written"))?
            .map(|()| url)
    }

    /// Whether a picture could be put there now.
    pub(super) async fn try_out(&self, account: &str) -> Result<(), Reason> {
        let (folder, account) = (self.folder.clone(), account.to_owned());
        let tried = tokio::task::spawn_blocking(move || disk::try_out(&folder, &account)).await;
        tried.map_err(|_| Reason::new("disk", "the folder could not be tried"))?
    }
}
