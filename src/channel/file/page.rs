//! What stands in the files: an alert with its broadcasts, newest first, as JSON and as a page for residents.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::document::Document;
use crate::channel::html::{escape, paragraphs};
use crate::channel::shown::below;
use crate::clock::Timestamp;
use crate::model::{DeliveryId, Kind, Lang, Mode, Post, Reason};

/// Most broadcasts that are kept: a page stays below what a phone loads at once.
const MAX_REVISIONS: usize = 100;

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    version: u32,
    revisions: Vec<Revision>,
}

/// One broadcast of the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revision {
    #[serde(flatten)]
    document: Document,
    /// Whether its text was taken away.
    #[serde(default)]
    withdrawn: bool,
}

impl Revision {
    pub(super) fn of(post: &Post, sender: &str) -> Self {
        Self {
            document: Document::of(post, sender),
            withdrawn: false,
        }
    }
}

impl Page {
    pub(super) fn empty() -> Self {
        Self {
            version: 1,
            revisions: Vec::new(),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Puts a broadcast where its time says; one with the same id is replaced, so that a repeat changes nothing.
    pub(super) fn put(&mut self, revision: Revision) {
        self.revisions.retain(|r| r.document.id != revision.document.id);
        let at = self
            .revisions
            .partition_point(|r| r.document.published > revision.document.published);
        self.revisions.insert(at, revision);
        self.revisions.truncate(MAX_REVISIONS);
    }

    /// Puts new words in the place of a broadcast's own, which stays known by its id. `false` if its text was taken away.
    pub(super) fn correct(&mut self, id: &DeliveryId, mut revision: Revision) -> bool {
        let standing = self.revisions.iter().find(|r| r.document.id == *id);
        if standing.is_some_and(|standing| standing.withdrawn) {
            return false;
        }
        revision.document.id = id.clone();
        if let Some(standing) = standing {
            revision.document.broadcast = standing.document.broadcast.clone();
            revision
                .document
                .references
                .clone_from(&standing.document.references);
        }
        self.put(revision);
        true
    }

    pub(super) fn holds(&self, revision: &Revision) -> bool {
        self.revisions.contains(revision)
    }

    /// Takes the text of a broadcast away; that there was one stays visible.
    pub(super) fn withdraw(&mut self, id: &DeliveryId) {
        for revision in &mut self.revisions {
            if revision.document.id == *id {
                revision.withdrawn = true;
                revision.document.headline.clear();
                revision.document.text.clear();
            }
        }
    }

    /// Whether no text is left.
    pub(super) fn is_blank(&self) -> bool {
        self.revisions.iter().all(|r| r.withdrawn)
    }

    pub(super) fn json(&self) -> Result<Vec<u8>, Reason> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Reason::new("document", format!("cannot be written as JSON: {error}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The page for residents: no script, no style, nothing from elsewhere.
    pub(super) fn html(&self) -> String {
        self.revisions
            .first()
            .map(|newest| {
                Html {
                    newest,
                    earlier: self.revisions.iter().skip(1),
                }
                .to_string()
            })
            .unwrap_or_default()
    }
}

/// The page as HTML.
struct Html<'a> {
    newest: &'a Revision,
    earlier: std::iter::Skip<std::slice::Iter<'a, Revision>>,
}

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = &self.newest.document;
        let lang = document.languages.first().copied().unwrap_or(Lang::Sv);
        let words = Words::of(lang);
        let drill = document.mode != Mode::Live;
        let headline = if self.newest.withdrawn {
            words.withdrawn
        } else {
            document.headline.as_str()
        };
        f.write_str("<!doctype html>\n")?;
        writeln!(f, "<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">")?;
        f.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
        writeln!(f, "<meta name=\"{REVISION}\" content=\"{}\">", document.id)?;
        if drill {
            f.write_str("<meta name=\"robots\" content=\"noindex\">\n")?;
        }
        let title = escape(&format!("{headline} – {}", document.sender));
        writeln!(f, "<title>{title}</title>\n</head>\n<body>\n<main>")?;
        if drill {
            let marking = match document.mode {
                Mode::Drill => words.drill,
                Mode::Test | Mode::Live => words.test,
            };
            writeln!(f, "<p role=\"note\"><strong>{marking}</strong></p>")?;
        }
        writeln!(f, "<h1>{}</h1>", escape(headline))?;
        body(f, self.newest, words)?;
        if !document.text.contains(document.link.as_str()) {
            let link = escape(document.link.as_str());
            writeln!(f, "<p><a href=\"{link}\">{}</a></p>", words.more)?;
        }
        for (n, revision) in self.earlier.clone().enumerate() {
            if n == 0 {
                writeln!(f, "<h2>{}</h2>", words.earlier)?;
            }
            f.write_str("<article>\n")?;
            if !revision.withdrawn {
                writeln!(f, "<h3>{}</h3>", escape(&revision.document.headline))?;
            }
            body(f, revision, words)?;
            f.write_str("</article>\n")?;
        }
        f.write_str("</main>\n</body>\n</html>\n")
    }
}

fn body(f: &mut fmt::Formatter<'_>, revision: &Revision, words: &Words) -> fmt::Result {
    let document = &revision.document;
    let done = match document.kind {
        Kind::Initial => words.initial,
        Kind::Update => words.update,
        Kind::Correction => words.correction,
        Kind::AllClear => words.all_clear,
    };
    let (at, shown) = (document.published, local(document.published));
    writeln!(f, "<p>{done}, <time datetime=\"{at}\">{shown}</time></p>")?;
    if revision.withdrawn {
        return writeln!(f, "<p>{}</p>", words.withdrawn);
    }
    // The headline stands above already.
    f.write_str(&paragraphs(below(&document.headline, &document.text)))
}

/// The name of the mark by which a page says which broadcast it shows.
const REVISION: &str = "vk-revision";

/// The delivery that a page of ours shows.
pub(super) fn revision_of_html(html: &[u8]) -> Option<String> {
    let html = std::str::from_utf8(html).ok()?;
    let (_, rest) = html.split_once(&format!("<meta name=\"{REVISION}\" content=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Swedish local time as people read it: every municipality that this is for is in one zone.
fn local(at: Timestamp) -> String {
    match at.in_tz("Europe/Stockholm") {
        Ok(local) => local.strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => at.to_string(),
    }
}

/// The page's own words in one language.
struct Words {
    initial: &'static str,
    update: &'static str,
    correction: &'static str,
    all_clear: &'static str,
    withdrawn: &'static str,
    earlier: &'static str,
    more: &'static str,
    drill: &'static str,
    test: &'static str,
}

impl Words {
    fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Sv => &Self {
                initial: "Publicerat",
                update: "Uppdaterat",
                correction: "Rättat",
                all_clear: "Faran över",
                withdrawn: "Det här meddelandet har tagits tillbaka.",
                earlier: "Tidigare meddelanden",
                more: "Läs mer",
                drill: "ÖVNING. Det här är inte en verklig händelse.",
                test: "TEST. Det här är inte en verklig händelse.",
            },
            Lang::En => &Self {
                initial: "Published",
                update: "Updated",
                correction: "Corrected",
                all_clear: "All clear",
                withdrawn: "This message has been withdrawn.",
                earlier: "Earlier messages",
                more: "Read more",
                drill: "EXERCISE. This is not a real event.",
                test: "TEST. This is not a real event.",
            },
        }
    }
}
