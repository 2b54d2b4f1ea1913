//! Reads prepared messages: those built in, replaced by id by those in the municipality's own folder. Strict: whatever
//! could go wrong at three in the morning is a fault now, with its place, all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest as _;

use super::{CapClass, PreparedMessage, Texts};
use crate::config::Problem;
use crate::config::section::{Section, quoted};
use crate::config::source::Source;
use crate::model::{Kind, Lang, MessageId};

mod fields;
mod picture;
mod templates;

use fields::Fields;

/// Largest file of one message.
const MAX_FILE: u64 = 256 * 1024;
/// Most files in one folder.
const MAX_FILES: usize = 500;
const LONGEST_VALIDITY: Duration = Duration::from_hours(30 * 24);

/// CAP 1.2, 3.2.2 "info": <https://docs.oasis-open.org/emergency/cap/v1.2/CAP-v1.2-os.html>, read 2026-08.
const CATEGORIES: &[&str] = &[
    "Geo",
    "Met",
    "Safety",
    "Security",
    "Rescue",
    "Fire",
    "Health",
    "Env",
    "Transport",
    "Infra",
    "CBRNE",
    "Other",
];
const SEVERITIES: &[&str] = &["Extreme", "Severe", "Moderate", "Minor", "Unknown"];
const URGENCIES: &[&str] = &["Immediate", "Expected", "Future", "Past", "Unknown"];
const CERTAINTIES: &[&str] = &["Observed", "Likely", "Possible", "Unlikely", "Unknown"];

macro_rules! built_in {
    ($($id:literal),+ $(,)?) => {
        /// The messages that come with the program: id and source.
        pub const BUILT_IN: &[(&str, &str)] = &[
            $(($id, include_str!(concat!("../../templates/messages/", $id, ".toml")))),+
        ];
    };
}
built_in!(
    "driftstorning",
    "evakuering",
    "falskt-larm",
    "fritext",
    "giftig-rok",
    "koka-vattnet",
    "ovader",
    "stangt",
    "stromavbrott",
    "trygghetspunkt",
    "varmebolja",
    "vattenlacka",
);

/// What came out of reading every message.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Those without fault.
    pub messages: BTreeMap<MessageId, PreparedMessage>,
    /// Every fault, file by file.
    pub problems: Vec<Problem>,
    /// The accounts and groups that the messages go to; whoever knows the accounts checks them.
    pub targets: Vec<Target>,
    /// Id and source of each message in force.
    pub texts: Vec<(String, String)>,
}

/// An account or group that a message goes to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Where it is named; the text is to be filled in if it leads nowhere.
    pub at: Problem,
}

/// Reads every message: the built-in ones, and those in `folder` instead of them or beside them.
pub fn load(folder: Option<&Path>) -> Loaded {
    let mut all = Loaded::default();
    let mut own = BTreeSet::new();
    if let Some(folder) = folder {
        for file in files(folder, &mut all.problems) {
            let stem = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            own.insert(stem.clone());
            match Source::read(&file, MAX_FILE) {
                Ok(source) => all.add(&stem, &source, true),
                Err(problem) => all.problems.push(problem),
            }
        }
    }
    for (id, text) in BUILT_IN {
        if !own.contains(*id) {
            all.add(id, &Source::new(format!("(built in)/{id}.toml"), *text), true);
        }
    }
    all
}

/// Reads one message from text; `file` is what faults name.
///
/// # Errors
/// Every fault in it.
pub fn read(id: &str, file: &Path, text: &str) -> Result<PreparedMessage, Vec<Problem>> {
    let mut all = Loaded::default();
    all.add(id, &Source::new(file, text), false);
    all.messages.into_values().next().ok_or(all.problems)
}

impl Loaded {
    /// A built-in text need not be tried out again at every start when `trust`: a test has done it.
    fn add(&mut self, stem: &str, source: &Source, trust: bool) {
        let table = source.parse();
        let mut root = Section::root(source, &table);
        let mut targets = Vec::new();
        let is_built_in = trust && BUILT_IN.contains(&(stem, source.text()));
        let message = message(&mut root, stem, is_built_in, &mut targets);
        root.finish();
        let problems = source.take_problems();
        if let Some(picture) = message.as_ref().and_then(|message| message.picture.as_ref()) {
            // Another picture under the same name is another configuration.
            let digest = hex::encode(sha2::Sha256::digest(&picture.bytes));
            self.texts.push((format!("{stem}/{}", picture.file), digest));
        }
        if let (Some(message), true) = (message, problems.is_empty()) {
            self.messages.insert(message.id.clone(), message);
        }
        self.problems.extend(problems);
        self.targets.extend(targets);
        self.texts.push((stem.to_owned(), source.text().to_owned()));
    }
}

/// The `*.toml` files of a folder, by name.
fn files(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let mut fault = |text: String| {
        problems.push(Problem {
            file: folder.to_owned(),
            line: 1,
            column: 1,
            key: "daemon.messages".to_owned(),
            text,
        });
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            fault(format!("the folder cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .take(20 * MAX_FILES)
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        // What an editor leaves behind while it saves begins with a dot.
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .collect();
    files.sort();
    if files.len() > MAX_FILES {
        fault(format!(
            "holds {} messages; at most {MAX_FILES} are allowed",
            files.len()
        ));
        files.truncate(MAX_FILES);
    }
    files
}

fn message(
    root: &mut Section<'_>,
    stem: &str,
    is_built_in: bool,
    targets: &mut Vec<Target>,
) -> Option<PreparedMessage> {
    let id: Option<MessageId> = stem
        .parse()
        .map_err(|wrong| root.problem("", format!("the file's name is the message's id, and {wrong}")))
        .ok();
    let title = root.required_text("title", 80, "the name that people pick the message by");
    let description = root.required_text("description", 300, "a sentence that says when to use the message");
    let version = required(
        root,
        "version",
        "a whole number, raised with each change of the texts",
        |s, key| s.number_within(key, 1, 1_000_000),
    );
    let cap = CapClass {
        category: class(root, "category", CATEGORIES),
        severity: class(root, "severity", SEVERITIES),
        urgency: class(root, "urgency", URGENCIES),
        certainty: class(root, "certainty", CERTAINTIES),
    };
    let valid_for = required(
        root,
        "valid_for",
        "a duration: how long it stays true, such as \"24h\"",
        |s, key| s.duration_within(key, Duration::from_mins(1), LONGEST_VALIDITY),
    );
    let page = page(root);
    let to = to(root, targets);

    let mut present: Vec<Lang> = Vec::new();
    for lang in Lang::ALL.iter().copied() {
        if root.has(lang.as_str()) {
            present.push(lang);
        } else if lang == Lang::Sv {
            root.missing(
                "sv",
                "the Swedish texts: [sv.initial], [sv.update], [sv.correction], [sv.all-clear]",
            );
        }
    }
    let picture = picture::picture(root, &present);
    let fields = fields::fields(root, &present);
    let mut texts = BTreeMap::new();
    for lang in present {
        let Some(mut section) = root.table(lang.as_str()) else {
            continue;
        };
        for kind in Kind::ALL.iter().copied() {
            if let Some(read) = kind_of_texts(&mut section, lang, kind, &fields, is_built_in) {
                texts.insert((lang, kind), read);
            }
        }
        section.finish();
    }
    Some(PreparedMessage {
        id: id?,
        title: title?,
        description: description?,
        version: version?,
        cap,
        valid_for: valid_for?,
        page: page?,
        to,
        picture,
        fields: fields.sound,
        texts,
    })
}

/// Reads `key` with `read`; absent is a problem.
fn required<'a, T>(
    s: &mut Section<'a>,
    key: &'static str,
    expected: &str,
    read: impl FnOnce(&mut Section<'a>, &'static str) -> Option<T>,
) -> Option<T> {
    if s.has(key) {
        return read(s, key);
    }
    s.missing(key, expected);
    None
}

fn class(root: &mut Section<'_>, key: &'static str, words: &[&'static str]) -> String {
    let expected = format!("one of {}", words.join(", "));
    required(root, key, &expected, |s, key| s.one_of(key, words))
        .unwrap_or_default()
        .to_owned()
}

/// The path of the page on the municipality's own site: joined to `municipality.site`, it must stay there.
fn page(root: &mut Section<'_>) -> Option<String> {
    const EXPECTED: &str = "the path of a page on the municipality's site, such as \"/kris/dricksvatten\"";
    let page = root.required_text("page", 200, EXPECTED)?;
    let plain = page.starts_with('/')
        && !page.contains("//")
        && !page.contains("..")
        && page
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~'));
    if !plain {
        root.problem("page", format!("found {}, expected {EXPECTED}", quoted(&page)));
        return None;
    }
    Some(page)
}

fn to(root: &mut Section<'_>, targets: &mut Vec<Target>) -> Vec<String> {
    let expected = "a list of accounts and groups such as [\"alla\"]";
    let Some(given) = root.required_strings("to", expected) else {
        return Vec::new();
    };
    if given.is_empty() {
        root.problem("to", "is empty; name at least one account or group");
    }
    for entry in &given {
        let (line, column) = root.source().position(entry.place);
        targets.push(Target {
            name: entry.value.clone(),
            at: Problem {
                file: root.source().file().to_owned(),
                line,
                column,
                key: "to".to_owned(),
                text: String::new(),
            },
        });
    }
    given.into_iter().map(|entry| entry.value).collect()
}

fn kind_of_texts(
    section: &mut Section<'_>,
    lang: Lang,
    kind: Kind,
    fields: &Fields,
    is_built_in: bool,
) -> Option<Texts> {
    if !section.has(kind.as_str()) {
        let expected = format!("a section [{lang}.{kind}] with headline, long, short and sms");
        section.missing(kind.as_str(), &expected);
        return None;
    }
    let mut s = section.table(kind.as_str())?;
    let texts = templates::texts(&mut s, lang, kind, fields, is_built_in);
    s.finish();
    texts
}
