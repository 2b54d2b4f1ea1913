//! A file in a folder, on a mount, or on a server that speaks WebDAV or SFTP: a page and a JSON document per alert, for any
//! web server or screen that reads files.
//!
//! Each file is written under a temporary name in the same folder, flushed, and renamed: a reader sees the old one or the
//! new one, never a half. The JSON holds every broadcast of the alert, newest first; the page is made from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::backstage::ended;
use super::shown::below_headline;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Settings, Shown, StandingPage,
    WallSite,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    DeliveryId, Kind as Does, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod dav;
pub(super) mod disk;
mod page;
mod sftp;
mod store;

pub(crate) use sftp::PRACTICE_FOLDER;

use dav::Dav;
use page::{Page, Revision};
use sftp::{Server, Sftp};
use store::Store;

/// A file in a folder, on a mount, or on a server that speaks WebDAV or SFTP.
pub static KIND: Kind = Kind {
    id: "file",
    about: "A file in a folder, on a mount, or on a WebDAV or SFTP server",
    can: Capabilities {
        proof: Proof::ReadBack,
        // One page for each alert: later broadcasts stand above the first.
        thread: true,
        edit: true,
        retract: true,
        pin: false,
        picture: false,
        link_card: false,
        recipients: false,
        by_hand: false,
        profile: false,
        backstage: true,
    },
    // Of the server, private_key on SFTP only; a folder has none.
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "username",
                required: false,
                internal: false,
            },
            SecretName {
                name: "password",
                required: false,
                internal: false,
            },
            SecretName {
                name: "private_key",
                required: false,
                internal: false,
            },
        ];
        SECRETS
    },
    pace: Pace {
        attempts: 600,
        per: Duration::from_mins(1),
        burst: 10,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let place = read_place(section);
        let formats: Option<Vec<String>> = section.optional(
            "formats",
            "a list of \"html\" and \"json\" such as [\"html\", \"json\"]",
        );
        let mut wanted = Formats {
            html: formats.is_none(),
            json: formats.is_none(),
        };
        for format in formats.iter().flatten() {
            match format.as_str() {
                "html" => wanted.html = true,
                "json" => wanted.json = true,
                other => section.problem("formats", format!("{other:?} is neither \"html\" nor \"json\"")),
            }
        }
        if formats.as_ref().is_some_and(Vec::is_empty) {
            section.problem("formats", "is empty: name \"html\", \"json\" or both");
        }
        let place = place?;
        (!section.is_broken()).then(|| -> Box<dyn Settings> {
            Box::new(Folder {
                place,
                formats: wanted,
            })
        })
    },
};

/// Where the files go: `path`, `webdav` or `sftp`, one of them.
fn read_place(section: &mut Section<'_>) -> Option<Place> {
    if section.has("sftp") {
        for other in ["path", "webdav"] {
            if section.has(other) {
                section.problem(
                    other,
                    "stands beside sftp; an account has one folder, so leave one of them out",
                );
            }
        }
        return Server::read(section).map(Place::Sftp);
    }
    if section.has("webdav") {
        let url = section.address("webdav", true)?;
        if section.has("path") {
            section.problem(
                "path",
                "stands beside webdav; an account has one folder, so leave one of them out",
            );
        }
        return Some(Place::WebDav(url));
    }
    let path: PathBuf = section.required(
        "path",
        "an absolute folder such as \"/var/www/kris\", or webdav or sftp, the address of one on a server",
    )?;
    if !path.is_absolute() {
        section.problem("path", format!("{} is not an absolute path", path.display()));
    }
    Some(Place::Path(path))
}

/// Where the files go.
#[derive(Debug, Clone)]
enum Place {
    /// A folder of this machine, or a mount.
    Path(PathBuf),
    /// A folder of a WebDAV server.
    WebDav(Url),
    /// A folder of an SFTP server.
    Sftp(Server),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Formats {
    html: bool,
    json: bool,
}

#[derive(Debug, Clone)]
struct Folder {
    place: Place,
    formats: Formats,
}

impl Settings for Folder {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        let account = site
            .base
            .path_segments()
            .and_then(|mut segments| segments.rfind(|s| !s.is_empty()))
            .filter(|s| !matches!(*s, "." | ".."))
            .unwrap_or("file");
        let place = match &self.place {
            Place::Path(_) => Place::Path(site.folder.join(account)),
            // The wall serves the same folder over WebDAV and SFTP.
            Place::WebDav(_) => Place::WebDav(site.base.clone()),
            Place::Sftp(_) => Place::Sftp(Server::at_wall(&site.sftp)),
        };
        Box::new(Self {
            place,
            formats: self.formats,
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        match &self.place {
            Place::Path(path) => vec![("path", path.display().to_string())],
            Place::WebDav(url) => vec![("webdav", url.to_string())],
            Place::Sftp(server) => vec![("sftp", server.to_string())],
        }
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("title", &rendering.headline),
            Shown::new("text", below_headline(rendering)),
        ]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let account = parts.account.to_string();
        let store = match &self.place {
            Place::Path(path) => Store::Disk {
                path: path.clone(),
                account,
            },
            Place::WebDav(url) => Store::Dav(Dav::open(url.clone(), account, parts.secrets, parts.http)?),
            Place::Sftp(server) => Store::Sftp(Sftp::open(server.clone(), account, parts.secrets)?),
        };
        Ok(Arc::new(Drop {
            sender: parts.sender,
            store,
            formats: self.formats,
        }))
    }
}

/// The adapter: drops files into the folder.
#[derive(Debug, Clone)]
struct Drop {
    sender: String,
    store: Store,
    formats: Formats,
}

/// The files of one alert as they should stand.
struct Files {
    html: Option<(String, Vec<u8>)>,
    json: Option<(String, Vec<u8>)>,
}

impl Files {
    fn each(&self) -> impl Iterator<Item = &(String, Vec<u8>)> {
        // The page last: what residents see is complete only when everything else is.
        [&self.json, &self.html].into_iter().flatten()
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.each().cloned().collect()
    }
}

impl Drop {
    fn names(&self, alert: &str) -> Vec<String> {
        let mut names = Vec::new();
        if self.formats.json {
            names.push(format!("{alert}.json"));
        }
        if self.formats.html {
            names.push(format!("{alert}.html"));
        }
        names
    }

    fn files(&self, alert: &str, page: &Page) -> Result<Files, Reason> {
        Ok(Files {
            html: self
                .formats
                .html
                .then(|| (format!("{alert}.html"), page.html().into_bytes())),
            json: if self.formats.json {
                Some((format!("{alert}.json"), page.json()?))
            } else {
                None
            },
        })
    }

    /// The alert as it stands in the folder; empty if there is none, or if it is not kept as JSON.
    async fn standing(&self, alert: &str) -> Result<Page, SendError> {
        if !self.formats.json {
            return Ok(Page::empty());
        }
        match self.store.read(&format!("{alert}.json")).await? {
            None => Ok(Page::empty()),
            // A file that somebody else wrote over: it is replaced, what it held cannot be kept.
            Some(bytes) => Ok(Page::parse(&bytes).unwrap_or_else(Page::empty)),
        }
    }

    /// Whether the files stand as this post would leave them.
    async fn look(&self, post: &Post) -> Result<Settled, SendError> {
        let alert = post.alert.as_str();
        let mut page = self.standing(alert).await?;
        if self.formats.json {
            if !page.holds(&Revision::of(post, &self.sender)) {
                return Ok(Settled::Absent);
            }
        } else {
            page.put(Revision::of(post, &self.sender));
        }
        let files = self.files(alert, &page).map_err(SendError::NotSent)?;
        for (name, bytes) in files.each() {
            if self.store.read(name).await?.as_ref() != Some(bytes) {
                return Ok(Settled::Absent);
            }
        }
        Ok(Settled::Found(receipt(&files, &post.key)))
    }

    /// Changes the words of a broadcast that stands, in all its files.
    async fn correct(&self, alert: &str, delivery: &DeliveryId, post: &Post) -> Result<Receipt, SendError> {
        let gone = |text: &str| SendError::Refused(Reason::new("gone", text));
        let mut page = self.standing(alert).await?;
        if !self.formats.json {
            // Nothing but the page tells what stands there.
            let html = self.store.read(&format!("{alert}.html")).await?;
            let shown = page::revision_of_html(&html.unwrap_or_default());
            if shown.as_deref() != Some(delivery.as_str()) {
                return Err(gone(
                    "the page does not show this message any more; publish the correction instead",
                ));
            }
        }
        if !page.correct(delivery, Revision::of(post, &self.sender)) {
            return Err(gone("the message was taken away; publish the correction instead"));
        }
        let files = self.files(alert, &page).map_err(SendError::NotSent)?;
        self.store.write(files.all()).await?;
        Ok(receipt(&files, delivery))
    }

    async fn withdraw(&self, alert: &str, delivery: &DeliveryId) -> Result<(), SendError> {
        let mut page = if self.formats.json {
            self.standing(alert).await?
        } else {
            let html = self
                .store
                .read(&format!("{alert}.html"))
                .await?
                .unwrap_or_default();
            if page::revision_of_html(&html).as_deref() != Some(delivery.as_str()) {
                return Ok(()); // a newer broadcast has taken its place, or the file is gone
            }
            Page::empty()
        };
        page.withdraw(delivery);
        if page.is_blank() {
            return self.store.remove(self.names(alert)).await;
        }
        let files = self.files(alert, &page).map_err(SendError::NotSent)?;
        self.store.write(files.all()).await
    }
}

fn receipt(files: &Files, key: &DeliveryId) -> Receipt {
    let (name, bytes) = match (&files.html, &files.json) {
        (Some(file), _) | (None, Some(file)) => (file.0.as_str(), file.1.as_slice()),
        (None, None) => ("", &[][..]),
    };
    Receipt {
        remote_id: format!("{name}#sha256:{}", disk::digest(bytes)),
        url: None,
        version: Some(key.to_string()),
        note: None,
    }
}

fn not_ours(receipt: &Receipt) -> SendError {
    SendError::Refused(Reason::new(
        "receipt",
        format!("{} names no file of ours", receipt.remote_id),
    ))
}

/// The alert and the delivery that a receipt is about.
fn told(receipt: &Receipt) -> Option<(String, DeliveryId)> {
    let name = receipt.remote_id.split('#').next()?;
    let alert = name
        .strip_suffix(".html")
        .or_else(|| name.strip_suffix(".json"))?;
    // Parsed as ids, so that a damaged receipt can never name a path.
    let alert: crate::model::AlertId = alert.parse().ok()?;
    Some((alert.to_string(), receipt.version.as_deref()?.parse().ok()?))
}

#[async_trait]
impl Channel for Drop {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let alert = post.alert.as_str();
        let mut page = self.standing(alert).await?;
        page.put(Revision::of(post, &self.sender));
        let files = self.files(alert, &page).map_err(SendError::NotSent)?;
        self.store.write(files.all()).await?;
        Ok(receipt(&files, &post.key))
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        match self.look(&question.post).await {
            // We may not read: nothing here will ever tell.
            Err(SendError::Refused(reason)) => Ok(Settled::Unclear(reason)),
            result => result,
        }
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let (alert, delivery) = told(receipt).ok_or_else(|| not_ours(receipt))?;
        // Taking away twice is harmless, so that a failure never needs settling.
        match self.withdraw(&alert, &delivery).await {
            Err(SendError::Unknown(reason)) => Err(SendError::NotSent(reason)),
            result => result,
        }
    }

    async fn edit(&self, standing: &Receipt, post: &Post) -> Result<Receipt, SendError> {
        let (alert, delivery) = told(standing).ok_or_else(|| not_ours(standing))?;
        // The same words twice are the same files, so that a failure never needs settling.
        match self.correct(&alert, &delivery, post).await {
            Err(SendError::Unknown(reason)) => Err(SendError::NotSent(reason)),
            result => result,
        }
    }

    async fn place(&self, page: &StandingPage) -> Result<Option<String>, SendError> {
        let wanted = [
            (self.formats.json, "json", &page.json),
            (self.formats.html, "html", &page.html),
        ];
        let files = wanted
            .into_iter()
            .filter(|(wanted, ..)| *wanted)
            .map(|(_, ending, text)| (format!("{}.{ending}", page.name), text.clone().into_bytes()))
            .collect();
        match self.store.write(files).await {
            // The same files twice are the same files.
            Err(SendError::Unknown(reason)) => Err(SendError::NotSent(reason)),
            result => result.map(|()| None),
        }
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.store.try_out().await?;
        Ok(Identity {
            name: self.store.shown(),
            facts: BTreeMap::from([("writable".to_owned(), "yes".to_owned())]),
            ..Identity::default()
        })
    }

    /// A hidden file under a name that nobody knows, read back and removed. Those who can read the folder could read it,
    /// so that it holds nothing of the message.
    async fn backstage(&self, _post: &Post) -> Result<Backstage, SendError> {
        const WORDS: &[u8] = "Prov från Vårdkase\n".as_bytes();
        let name = format!(".vardkase-{}", hex::encode(rand::random::<[u8; 12]>()));
        self.store.write(vec![(name.clone(), WORDS.to_vec())]).await?;
        let read = self.store.read(&name).await;
        let read = read.map(|bytes| bytes.as_deref() == Some(WORDS));
        let gone = self.store.remove(vec![name.clone()]).await;
        ended("in a hidden file", &name, read, gone)
    }
}

#[cfg(test)]
mod tests;
