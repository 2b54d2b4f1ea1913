//! One TOML file while it is read: its text, where its lines begin, and every fault found in it so far.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Problem;

/// Most that is told of one file: past that, nobody reads on.
const MAX_PROBLEMS: usize = 200;

/// A file with what was found wrong in it. Faults are collected behind a shared reference, so that a table and the
/// tables inside it can be read at the same time.
#[derive(Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
    lines: Vec<usize>,
    found: RefCell<Vec<(usize, Problem)>>,
    /// Lines with a syntax fault: whatever else seems wrong there is only its echo.
    damaged: RefCell<BTreeSet<usize>>,
    /// How many faults more there were than are kept.
    left_out: Cell<usize>,
}

impl Source {
    /// A text that is already in memory; `file` is what faults name.
    pub fn new(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            file: file.into(),
            text,
            lines,
            found: RefCell::default(),
            damaged: RefCell::default(),
            left_out: Cell::default(),
        }
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// What keeps the file from being read, at its line 1; bytes that are not UTF-8 at their place.
    pub fn read(file: &Path, limit: u64) -> Result<Self, Problem> {
        let at_start = |text: String| Problem {
            file: file.to_owned(),
            line: 1,
            column: 1,
            key: String::new(),
            text,
        };
        let bytes = read_bounded(file, limit).map_err(at_start)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(file, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
                let (line, column) = Self::new(file, before.clone()).position(before.len());
                Err(Problem {
                    line,
                    column,
                    ..at_start(
                        "the file is not UTF-8 text; save it as UTF-8 (found a byte that UTF-8 does not have)"
                            .to_owned(),
                    )
                })
            }
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file that faults name.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Parses the text. Every syntax fault is reported; the parser then goes on with what it could read.
    pub fn parse(&self) -> DeTable<'_> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let text = syntax_fault(
                error.message().trim(),
                self.text.get(span.clone()).unwrap_or_default(),
            );
            self.report(span.start, "", text);
            self.damaged.borrow_mut().insert(self.position(span.start).0);
        }
        root.into_inner()
    }

    /// Whether syntax faults were found: what seems to be missing may only have been unreadable.
    pub fn is_damaged(&self) -> bool {
        !self.damaged.borrow().is_empty()
    }

    /// Line and column, in characters and counted from 1, of the byte at `offset`.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        (line.max(1), before.chars().count() + 1)
    }

    /// Adds a fault at the byte `offset`.
    pub fn report(&self, offset: usize, key: impl Into<String>, text: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        let (line, column) = self.position(offset);
        let key = key.into();
        if !key.is_empty() && self.damaged.borrow().contains(&line) {
            return;
        }
        let problem = Problem {
            file: self.file.clone(),
            line,
            column,
            key,
            text: text.into(),
        };
        if found.iter().any(|(_, known)| *known == problem) {
            return;
        }
        if found.len() >= MAX_PROBLEMS {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        found.push((offset, problem));
    }

    /// How many faults there are so far.
    pub fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Every fault, in the order of the file. Leaves none behind.
    pub fn take_problems(&self) -> Vec<Problem> {
        let mut found = self.found.take();
        found.sort_by_key(|(offset, _)| *offset);
        let mut problems: Vec<Problem> = found.into_iter().map(|(_, problem)| problem).collect();
        let more = self.left_out.take();
        if more > 0
            && let Some(last) = problems.last().cloned()
        {
            problems.push(Problem {
                key: String::new(),
                text: format!("and {more} more in this file; correct those above first"),
                ..last
            });
        }
        problems
    }
}

/// What the parser says, in words that help; `at` is the text that it points at.
fn syntax_fault(message: &str, at: &str) -> String {
    let at: String = at.chars().take(60).collect();
    let says = |what: &str| message.contains(what);
    if says("duplicate key") {
        format!("{at:?} stands twice; keep one of the two")
    } else if says("invalid basic string") || says("invalid literal string") {
        "the text has no end on its line; close it with a quotation mark".to_owned()
    } else if says("string values must be quoted") {
        "after \"=\" comes a value; a text stands between quotation marks".to_owned()
    } else {
        format!("not valid TOML: {message}")
    }
}

/// The bytes of a regular file, of which there may be at most `limit`.
fn read_bounded(file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Looked at before it is opened: opening a named pipe would wait for a writer.
    let about = std::fs::metadata(file).map_err(cannot)?;
    if !about.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(cannot)?;
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {} KiB", limit / 1024));
    }
    Ok(bytes)
}

/// The name among `known` that `found` was most likely meant to be.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = found.to_lowercase().replace(['_', ' '], "-");
    known
        .into_iter()
        .map(|name| {
            let other = name.to_lowercase().replace('_', "-");
            let longest = folded.chars().count().max(other.chars().count());
            let close = strsim::levenshtein(&folded, &other) * 2 <= longest;
            (close, strsim::jaro_winkler(&folded, &other), name)
        })
        .filter(|(close, likeness, _)| *close && *likeness >= 0.8)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(_, _, name)| name)
}

/// Completes "there is no account x": the nearest known name, or all of them when none is near and they are few.
pub fn hint<'a>(found: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(name) = nearest(found, known.clone()) {
        return format!("; did you mean {name:?}?");
    }
    let all: Vec<&str> = known.into_iter().collect();
    if all.is_empty() {
        "; there are none yet".to_owned()
    } else if all.len() <= 20 {
        format!("; known: {}", all.join(", "))
    } else {
        String::new()
    }
}
