//! A file in a folder or on a mount: a page and a JSON document per alert, for any web server or screen that reads files.
//!
//! Each file is written under a temporary name in the same folder, flushed, and renamed: a reader sees the old one or the
//! new one, never a half. The JSON holds every broadcast of the alert, newest first; the page is made from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Capabilities, Channel, Identity, Kind, Pace, Parts, Settings, WallSite};
use crate::compose::TextRule;
use crate::model::{DeliveryId, Post, Proof, Question, Reason, Receipt, SendError, Settled, Unit};

pub(super) mod disk;
mod page;

use page::{Page, Revision};

/// A file in a folder or on a mount.
pub static KIND: Kind = Kind {
    id: "file",
    about: "A file in a folder or on a mount",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: true,
        retract: true,
        pin: false,
        picture: false,
        link_card: false,
        recipients: false,
        by_hand: false,
    },
    secrets: &[],
    pace: Pace {
        attempts: 600,
        per: Duration::from_mins(1),
        burst: 10,
        parallel: 1,
    },
    read: |section| {
        let path: Option<PathBuf> = section.required("path", "an absolute folder such as \"/var/www/kris\"");
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
        let path = path?;
        if !path.is_absolute() {
            section.problem("path", format!("{} is not an absolute path", path.display()));
        }
        (!section.is_broken()).then(|| -> Box<dyn Settings> {
            Box::new(Folder {
                path,
                formats: wanted,
            })
        })
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Formats {
    html: bool,
    json: bool,
}

#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
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
        Box::new(Self {
            path: site.folder.join(account),
            formats: self.formats,
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("path", self.path.display().to_string())]
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        Ok(Arc::new(Drop {
            account: parts.account.to_string(),
            sender: parts.sender,
            path: self.path.clone(),
            formats: self.formats,
        }))
    }
}

/// The adapter: drops files into the folder.
#[derive(Debug, Clone)]
struct Drop {
    account: String,
    sender: String,
    path: PathBuf,
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
    fn standing(&self, alert: &str) -> Result<Page, Reason> {
        if !self.formats.json {
            return Ok(Page::empty());
        }
        match disk::read(&self.path, &format!("{alert}.json"))? {
            None => Ok(Page::empty()),
            // A file that somebody else wrote over: it is replaced, what it held cannot be kept.
            Some(bytes) => Ok(Page::parse(&bytes).unwrap_or_else(Page::empty)),
        }
    }

    fn write(&self, post: &Post) -> Result<Receipt, Reason> {
        let mut page = self.standing(post.alert.as_str())?;
        page.put(Revision::of(post, &self.sender));
        let files = self.files(post.alert.as_str(), &page)?;
        for (name, bytes) in files.each() {
            disk::write(&self.path, name, &self.account, bytes)?;
        }
        Ok(receipt(&files, &post.key))
    }

    fn look(&self, post: &Post) -> Result<Settled, Reason> {
        let mut page = self.standing(post.alert.as_str())?;
        if self.formats.json {
            if !page.holds(&Revision::of(post, &self.sender)) {
                return Ok(Settled::Absent);
            }
        } else {
            page.put(Revision::of(post, &self.sender));
        }
        let files = self.files(post.alert.as_str(), &page)?;
        for (name, bytes) in files.each() {
            if disk::read(&self.path, name)?.as_ref() != Some(bytes) {
                return Ok(Settled::Absent);
            }
        }
        Ok(Settled::Found(receipt(&files, &post.key)))
    }

    fn withdraw(&self, alert: &str, delivery: &DeliveryId) -> Result<(), Reason> {
        let mut page = if self.formats.json {
            self.standing(alert)?
        } else {
            let html = disk::read(&self.path, &format!("{alert}.html"))?.unwrap_or_default();
            if page::revision_of_html(&html).as_deref() != Some(delivery.as_str()) {
                return Ok(()); // a newer broadcast has taken its place, or the file is gone
            }
            Page::empty()
        };
        page.withdraw(delivery);
        if page.is_blank() {
            for name in self.names(alert) {
                disk::remove(&self.path, &name)?;
            }
            return Ok(());
        }
        for (name, bytes) in self.files(alert, &page)?.each() {
            disk::write(&self.path, name, &self.account, bytes)?;
        }
        Ok(())
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Reason> + Send + 'static,
    ) -> Result<T, Reason> {
        let folder = self.clone();
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .unwrap_or_else(|_| Err(Reason::new("disk", "the file work was cut off")))
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
        let post = post.clone();
        self.blocking(move |folder| folder.write(&post))
            .await
            .map_err(SendError::NotSent)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let post = question.post.clone();
        self.blocking(move |folder| folder.look(&post))
            .await
            .map_err(SendError::NotSent)
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let Some((alert, delivery)) = told(receipt) else {
            return Err(SendError::Refused(Reason::new(
                "receipt",
                format!("{} names no file of ours", receipt.remote_id),
            )));
        };
        self.blocking(move |folder| folder.withdraw(&alert, &delivery))
            .await
            .map_err(SendError::NotSent)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.blocking(|folder| disk::try_out(&folder.path, &folder.account))
            .await
            .map_err(SendError::NotSent)?;
        let path: &Path = &self.path;
        Ok(Identity {
            name: path.display().to_string(),
            facts: BTreeMap::from([("writable".to_owned(), "yes".to_owned())]),
        })
    }
}

#[cfg(test)]
mod tests;
