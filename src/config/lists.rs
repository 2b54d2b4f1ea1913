//! `[list.<id>]`: who gets what goes to a list channel, in the configuration itself, in a file, or in a folder of files.
//! A list in files is not read with the configuration: a fault in it must keep nothing from starting. It is read through
//! when somebody asks ([`survey`]), and a line at a time when it is used; it is never kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::List;
use super::accounts::name_of;
use super::section::{Placed, Section, quoted};
use crate::model::{AddressKind, ListId, Recipient};

mod reader;

pub use reader::{Fault, Reader};

/// Recipients that may stand in the configuration itself.
const MAX_RECIPIENTS: usize = 1000;
/// Files of one folder.
const MAX_FILES: usize = 1000;
/// Faults of one list that are named: past that, nobody reads on; they are counted.
const MAX_NAMED: usize = 100;
/// The end of the name of a file in a folder that is part of the list.
const ENDINGS: [&str; 2] = ["csv", "jsonl"];

/// Where the recipients of a list are, if not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The file, or the folder of files.
    pub place: PathBuf,
    /// Whether it is a folder: all of its files, by name.
    pub folder: bool,
    /// The column or key that holds the address; the usual names of the kind if unset.
    pub column: Option<String>,
}

/// What reading a list through has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Addresses; one that stands twice counts twice.
    pub entries: u64,
    /// Lines and files that cannot be read.
    pub faults: u64,
    /// The first of them.
    pub named: Vec<Fault>,
}

impl Survey {
    /// Counts a fault, and names it if it is one of the first `most`.
    pub fn fault(&mut self, fault: Fault, most: usize) {
        self.faults += 1;
        if self.named.len() < most {
            self.named.push(fault);
        }
    }

    /// Why nobody can be reached through the list, if that is so.
    pub fn useless(&self) -> Option<String> {
        (self.entries == 0).then(|| match self.named.first() {
            Some(fault) => fault.to_string(),
            None => "holds no address".to_owned(),
        })
    }
}

/// Reads a list in files through. Takes as long as the files are long: not for a task of the runtime.
pub fn survey(files: &Files, kind: AddressKind) -> Survey {
    let mut found = Survey::default();
    for entry in Reader::new(files, kind) {
        match entry {
            Ok(_) => found.entries += 1,
            Err(fault) => found.fault(fault, MAX_NAMED),
        }
    }
    found
}

/// The lists, and the names of those too that could not be read.
#[derive(Debug, Default)]
pub struct Lists {
    pub lists: BTreeMap<ListId, List>,
    pub names: BTreeSet<String>,
}

/// Reads `[list.<id>]`. Paths count from `folder`.
pub fn lists(root: &mut Section<'_>, folder: &Path) -> Lists {
    let mut all = Lists::default();
    let Some(mut table) = root.table("list") else {
        return all;
    };
    for (name, s) in table.entries() {
        all.names.insert(name.value.clone());
        let id = name_of::<ListId>(&s, &name);
        if let Some(list) = list(s, id, folder) {
            all.lists.insert(list.id.clone(), list);
        }
    }
    all
}

fn list(mut s: Section<'_>, id: Option<ListId>, folder: &Path) -> Option<List> {
    let kind = match s.one_of("kind", &["mail", "phone", "push"]) {
        Some("phone") => AddressKind::Phone,
        Some("push") => AddressKind::Push,
        Some(_) => AddressKind::Mail,
        None => seeming(&s),
    };
    let unsubscribe = unsubscribe(&mut s, kind);
    let sources: Vec<&str> = ["recipients", "file", "folder"]
        .into_iter()
        .filter(|key| s.has(key))
        .collect();
    if let [_, second, ..] = sources.as_slice() {
        let text = format!(
            "stands beside {}; a list comes from one place",
            sources.join(" and ")
        );
        s.problem(second, text.replacen(&format!(" and {second}"), "", 1));
    }
    let column = s.text("column", 100, "the name of a column such as \"email\"");
    let files = match sources.first().copied() {
        Some("file") => file(&mut s, folder).map(|place| (place, false)),
        Some("folder") => s
            .text("folder", 4000, "a folder of .csv and .jsonl files")
            .map(|text| (folder.join(text), true)),
        _ => None,
    };
    let recipients = if matches!(sources.first(), None | Some(&"recipients")) {
        if column.is_some() {
            s.problem("column", "is for file and folder; recipients are plain addresses");
        }
        inline(&mut s, kind)
    } else {
        Vec::new()
    };
    let broken = s.is_broken();
    s.finish();
    let files = files.map(|(place, folder)| Files {
        place,
        folder,
        column,
    });
    if broken {
        return None;
    }
    Some(List {
        id: id?,
        kind,
        recipients,
        files,
        unsubscribe,
    })
}

/// What the first address in the configuration itself seems to be; mail if there is none.
fn seeming(s: &Section<'_>) -> AddressKind {
    match s.first_text("recipients").trim_start().chars().next() {
        Some('{') => AddressKind::Push,
        Some(c) if (c.is_ascii_digit() || "+(".contains(c)) && !s.first_text("recipients").contains('@') => {
            AddressKind::Phone
        }
        Some(_) | None => AddressKind::Mail,
    }
}

/// The address for leaving the list: https, because a mail client calls it on its own.
fn unsubscribe(s: &mut Section<'_>, kind: AddressKind) -> Option<String> {
    const EXPECTED: &str =
        "an https address with {token} in it, such as \"https://nassjo.se/avanmal/{token}\"";
    let text = s.text("unsubscribe", 1000, EXPECTED)?;
    if kind != AddressKind::Mail {
        s.problem("unsubscribe", "is for mail addresses only; remove it");
        return None;
    }
    let filled = text.replace("{token}", "abc");
    let fits = text.matches("{token}").count() == 1
        && filled.is_ascii()
        && url::Url::parse(&filled).is_ok_and(|url| {
            url.scheme() == "https" && url.username().is_empty() && url.fragment().is_none()
        });
    if !fits {
        s.problem(
            "unsubscribe",
            format!("found {}, expected {EXPECTED}", quoted(&text)),
        );
        return None;
    }
    Some(text)
}

fn inline(s: &mut Section<'_>, kind: AddressKind) -> Vec<Recipient> {
    let given = s.required_strings(
        "recipients",
        "a list of mail addresses such as [\"nyhetstips@p4.example\"], or a file, or a folder",
    );
    if given.as_ref().is_some_and(Vec::is_empty) {
        s.problem("recipients", "is empty; a list has at least one address");
    }
    let given = given.unwrap_or_default();
    if given.len() > MAX_RECIPIENTS {
        s.problem(
            "recipients",
            format!(
                "holds {} addresses; at most {MAX_RECIPIENTS} may stand in this file: name a file instead",
                given.len()
            ),
        );
    }
    addresses(s, "recipients", kind, &given)
}

/// The addresses without repetition, in the order given; a problem for each that is none.
pub fn addresses(s: &Section<'_>, key: &str, kind: AddressKind, given: &[Placed<String>]) -> Vec<Recipient> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(given.len());
    for entry in given {
        match kind.read(&entry.value) {
            Ok(recipient) => {
                if seen.insert(kind.place(&recipient)) {
                    all.push(recipient);
                }
            }
            Err(wrong) => {
                let found = quoted(&entry.value);
                s.problem_at(entry.place, key, format!("found {found}, {wrong}"));
            }
        }
    }
    all
}

fn file(s: &mut Section<'_>, folder: &Path) -> Option<PathBuf> {
    let expected = "a file that ends in .csv or .jsonl, such as \"listor/boende.csv\"";
    let text = s.text("file", 4000, expected)?;
    let path = folder.join(&text);
    if !is_list_file(&path) {
        s.problem("file", format!("found {}, expected {expected}", quoted(&text)));
        return None;
    }
    Some(path)
}

fn is_list_file(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

impl Files {
    /// The files, in the order in which they are read, and what is wrong with the folder. Whatever else is in the folder
    /// is a fault: a misnamed file would leave people out unnoticed.
    fn paths(&self) -> Vec<Result<PathBuf, Fault>> {
        let fault = |file: &Path, text: String| Fault {
            file: file.to_owned(),
            line: 0,
            text,
        };
        if !self.folder {
            return vec![Ok(self.place.clone())];
        }
        let read = std::fs::read_dir(&self.place).and_then(|entries| {
            entries
                .take(MAX_FILES + 1)
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut paths = match read {
            Ok(paths) => paths,
            Err(error) => return vec![Err(fault(&self.place, format!("cannot be read: {error}")))],
        };
        let mut all = Vec::with_capacity(paths.len());
        if paths.len() > MAX_FILES {
            all.push(Err(fault(
                &self.place,
                format!("holds more than {MAX_FILES} files; the others are not read"),
            )));
        }
        paths.retain(|path| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().starts_with('.'))
        });
        paths.sort();
        all.extend(paths.into_iter().take(MAX_FILES).map(|path| {
            if is_list_file(&path) && path.is_file() {
                Ok(path)
            } else {
                Err(fault(
                    &path,
                    "is no .csv or .jsonl file; move it elsewhere".to_owned(),
                ))
            }
        }));
        if all.is_empty() {
            all.push(Err(fault(&self.place, "holds no .csv or .jsonl file".to_owned())));
        }
        all
    }
}
