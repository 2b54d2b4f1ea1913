//! Reads one table of a TOML document key by key and keeps every fault, with its place, instead of stopping at the first.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use url::Url;

use super::source::{Source, nearest};

/// Longest part of a value that is repeated in a fault.
const SHOWN_CHARS: usize = 60;

/// One table while it is read. Every key that is asked for becomes known; [`Section::finish`] reports the others.
#[derive(Debug)]
pub struct Section<'a> {
    source: &'a Source,
    table: &'a DeTable<'a>,
    path: String,
    place: usize,
    known: BTreeSet<String>,
    /// Keys that do not belong here and have been told of with a text of their own.
    told: BTreeSet<String>,
    broken: Cell<bool>,
}

/// A text with the place where it stands, for checks that come later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands: the offset that [`Section::problem_at`] takes.
    pub place: usize,
}

impl<'a> Section<'a> {
    /// The document itself. Parse it with [`Source::parse`].
    pub fn root(source: &'a Source, table: &'a DeTable<'a>) -> Self {
        Self::new(source, table, String::new(), 0)
    }

    fn new(source: &'a Source, table: &'a DeTable<'a>, path: String, place: usize) -> Self {
        Self {
            source,
            table,
            path,
            place,
            known: BTreeSet::new(),
            told: BTreeSet::new(),
            broken: Cell::new(false),
        }
    }

    /// The dotted key of this table: `account.mastodon`; empty for the document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where this table begins.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The file that it stands in.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// The value of `key`; a problem if it is absent or does not fit. `expected` completes "expected …": `a web address
    /// such as https://mastodon.social`.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        if !self.has(key) {
            self.missing(key, expected);
            return None;
        }
        self.optional(key, expected)
    }

    /// The value of `key` if it is there; a problem if it does not fit.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let (_, value) = self.value(key)?;
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => Some(read),
            Err(error) => {
                let place = error.span().map_or(value.span().start, |span| span.start);
                let place = if value.span().contains(&place) {
                    place
                } else {
                    value.span().start
                };
                let text = match element_at(value.get_ref(), place) {
                    Some(element) => format!("found {} in the list, expected {expected}", found(element)),
                    None => misfit(value.get_ref(), error.message(), expected),
                };
                self.problem_at(place, key, text);
                None
            }
        }
    }

    /// The text of `key` turned into a `T`; a problem if it is not a text or does not parse. The fault names what was
    /// found, what was wrong with it and what was expected.
    pub fn parsed<T>(&mut self, key: &'static str, expected: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text: String = self.optional(key, expected)?;
        match text.parse() {
            Ok(read) => Some(read),
            Err(error) => {
                // Errors of our own types name what they found; others do not.
                let error = error.to_string();
                let text = if error.contains(&text) {
                    error
                } else {
                    format!("found {}, expected {expected}", quoted(&text))
                };
                self.problem(key, text);
                None
            }
        }
    }

    /// A text that is neither empty nor longer than `most` characters, and holds no control character.
    pub fn text(&mut self, key: &'static str, most: usize, expected: &str) -> Option<String> {
        let text: String = self.optional(key, expected)?;
        let wrong = if text.trim().is_empty() {
            Some(format!("is empty; expected {expected}"))
        } else if text.chars().count() > most {
            Some(format!(
                "is {} characters long; at most {most} are allowed",
                text.chars().count()
            ))
        } else if text.chars().any(char::is_control) {
            Some("holds a line break or another control character; write it on one line".to_owned())
        } else {
            None
        };
        match wrong {
            Some(wrong) => {
                self.problem(key, wrong);
                None
            }
            None => Some(text),
        }
    }

    /// Like [`Section::text`], and absent is a problem too.
    pub fn required_text(&mut self, key: &'static str, most: usize, expected: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, expected);
            return None;
        }
        self.text(key, most, expected)
    }

    /// A duration such as `"20s"` or `"2h"`; a problem if it does not fit.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        const EXPECTED: &str = "a duration such as \"20s\", \"5m\" or \"2h\"";
        let text: String = self.optional(key, EXPECTED)?;
        let read = humantime::parse_duration(&text).ok();
        if read.is_none() {
            self.problem(key, format!("found {}, expected {EXPECTED}", quoted(&text)));
        }
        read
    }

    /// A duration between two bounds, both allowed.
    pub fn duration_within(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let read = self.duration(key)?;
        if read < least || read > most {
            let (read, least, most) = (human(read), human(least), human(most));
            self.problem(key, format!("found {read}, expected between {least} and {most}"));
            return None;
        }
        Some(read)
    }

    /// A web address: https, or http on loopback only, without user, query or fragment. A problem if it is anything
    /// else. `required` says whether its absence is one too.
    pub fn address(&mut self, key: &'static str, required: bool) -> Option<Url> {
        const EXPECTED: &str = "a web address such as https://example.se";
        if required && !self.has(key) {
            self.missing(key, EXPECTED);
            return None;
        }
        let text: String = self.optional(key, EXPECTED)?;
        match web_address(&text) {
            Ok(url) => Some(url),
            Err(text) => {
                self.problem(key, text);
                None
            }
        }
    }

    /// One of a few words; a problem that names the nearest one if it is another.
    pub fn one_of(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let expected = format!("one of {}", words.join(", "));
        let text: String = self.optional(key, &expected)?;
        if let Some(word) = words.iter().copied().find(|word| *word == text) {
            return Some(word);
        }
        let near = nearest(&text, words.iter().copied())
            .map(|word| format!("; did you mean {word:?}?"))
            .unwrap_or_default();
        self.problem(key, format!("found {}, expected {expected}{near}", quoted(&text)));
        None
    }

    /// A whole number between two bounds, both allowed.
    pub fn number_within(&mut self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let expected = format!("a whole number between {least} and {most}");
        let number: i64 = self.optional(key, &expected)?;
        let read = u32::try_from(number).ok().filter(|n| (least..=most).contains(n));
        if read.is_none() {
            self.problem(key, format!("found the number {number}, expected {expected}"));
        }
        read
    }

    /// A list of texts, each with its place; a problem for each entry that is something else.
    pub fn strings(&mut self, key: &'static str, expected: &str) -> Option<Vec<Placed<String>>> {
        let (_, value) = self.value(key)?;
        let DeValue::Array(array) = value.get_ref() else {
            let found = found(value.get_ref());
            self.problem_at(
                value.span().start,
                key,
                format!("found {found}, expected {expected}"),
            );
            return None;
        };
        let mut all = Vec::with_capacity(array.len());
        for entry in array {
            let place = entry.span().start;
            if let DeValue::String(text) = entry.get_ref() {
                all.push(Placed {
                    value: text.clone().into_owned(),
                    place,
                });
            } else {
                let found = found(entry.get_ref());
                self.problem_at(
                    place,
                    key,
                    format!("found {found} in the list, expected {expected}"),
                );
            }
        }
        Some(all)
    }

    /// Like [`Section::strings`], and absent is a problem too.
    pub fn required_strings(&mut self, key: &'static str, expected: &str) -> Option<Vec<Placed<String>>> {
        if !self.has(key) {
            self.missing(key, expected);
            return None;
        }
        self.strings(key, expected)
    }

    /// The table `[key]`; a problem if `key` is there and something else.
    pub fn table(&mut self, key: &str) -> Option<Section<'a>> {
        let (place, value) = self.value(key)?;
        self.as_section(key, place, value)
    }

    /// The tables `[[key]]`, in order; a problem for whatever is something else.
    pub fn tables(&mut self, key: &str) -> Vec<Section<'a>> {
        let Some((_, value)) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = value.get_ref() else {
            let found = found(value.get_ref());
            self.problem_at(
                value.span().start,
                key,
                format!(
                    "found {found}, expected tables that begin with [[{}]]",
                    self.dotted(key)
                ),
            );
            return Vec::new();
        };
        array
            .iter()
            .enumerate()
            .filter_map(|(n, entry)| self.as_section(&format!("{key}[{n}]"), entry.span().start, entry))
            .collect()
    }

    /// Every key of this table as a table of its own, in the order of the file: the `<id>`s of `[account.<id>]`.
    pub fn entries(&mut self) -> Vec<(Placed<String>, Section<'a>)> {
        let mut all: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.span().start, key.get_ref().to_string(), value))
            .collect();
        all.sort_by_key(|(place, _, _)| *place);
        all.into_iter()
            .filter_map(|(place, name, value)| {
                self.known.insert(name.clone());
                let section = self.as_section(&name, place, value)?;
                Some((Placed { value: name, place }, section))
            })
            .collect()
    }

    /// Every key of this table with its text: the fields of a drill. A problem for each value that is no text.
    pub fn texts(&mut self) -> Vec<(Placed<String>, Placed<String>)> {
        let mut all = Vec::new();
        for (key, value) in self.table {
            let name = key.get_ref().to_string();
            self.known.insert(name.clone());
            if let DeValue::String(text) = value.get_ref() {
                let key = Placed {
                    value: name,
                    place: key.span().start,
                };
                let value = Placed {
                    value: text.clone().into_owned(),
                    place: value.span().start,
                };
                all.push((key, value));
            } else {
                let found = found(value.get_ref());
                self.problem_at(
                    value.span().start,
                    &name,
                    format!("found {found}, expected a text"),
                );
            }
        }
        all.sort_by_key(|(key, _)| key.place);
        all
    }

    /// The names of all keys of this table.
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// Whether `key` is there. Makes it known.
    pub fn has(&mut self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The text of `key` if that is what it is; whoever read it before has reported anything else.
    pub fn text_if_any(&self, key: &str) -> Option<String> {
        match self.table.get(key)?.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    /// The first text of a list, whatever else is wrong with it; empty if there is none.
    pub fn first_text(&self, key: &str) -> &'a str {
        let value = self.table.get(key).map(Spanned::get_ref);
        let first = value.and_then(DeValue::as_array).and_then(|array| array.first());
        first
            .and_then(|first| first.get_ref().as_str())
            .unwrap_or_default()
    }

    /// Whether `key` was asked for so far.
    pub fn knows(&self, key: &str) -> bool {
        self.known.contains(key)
    }

    /// Whether `key` holds a table rather than a plain value.
    pub fn holds_table(&mut self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|(_, value)| matches!(value.get_ref(), DeValue::Table(_)))
    }

    /// Where the value of `key` stands, or the table if there is none.
    pub fn place_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.place, |value| value.span().start)
    }

    /// Where the value of `key` ends, or where the table begins if there is none.
    pub fn end_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.place, |value| value.span().end)
    }

    /// Marks the section as broken by something that was reported already.
    pub fn break_off(&self) {
        self.broken.set(true);
    }

    /// Reports that the value of `key` is wrong, at its place.
    pub fn problem(&mut self, key: &str, text: impl Into<String>) {
        self.problem_at(self.place_of(key), key, text);
    }

    /// Reports that something about `key` is wrong, at a place of its own.
    pub fn problem_at(&self, place: usize, key: &str, text: impl Into<String>) {
        self.broken.set(true);
        self.source.report(place, self.dotted(key), text);
    }

    /// Reports that `key` is missing, at the head of the table.
    pub fn missing(&mut self, key: &str, expected: &str) {
        self.known.insert(key.to_owned());
        self.broken.set(true);
        // In a file that the parser could not read to the end, the key may well be there.
        if !self.source.is_damaged() {
            let text = format!("is missing; expected {expected}");
            self.source.report(self.place, self.dotted(key), text);
        }
    }

    /// Reports `key`, if it is there, with a text of its own instead of "unknown key".
    pub fn not_here(&mut self, key: &str, text: &str) {
        let there = self.table.get_key_value(key).map(|(name, _)| name.span().start);
        if let Some(place) = there {
            self.told.insert(key.to_owned());
            self.problem_at(place, key, text);
        }
    }

    /// Whether any problem was reported for this section so far.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Reports every key that nobody asked for, with the nearest one that somebody did.
    pub fn finish(self) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(name) || self.told.contains(name) {
                continue;
            }
            let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None if known.is_empty() => "nothing is expected here".to_owned(),
                None => format!("known here: {}", known.join(", ")),
            };
            self.problem_at(key.span().start, &shown_key(name), format!("unknown key; {hint}"));
        }
    }

    fn value(&mut self, key: &str) -> Option<(usize, &'a Spanned<DeValue<'a>>)> {
        self.known.insert(key.to_owned());
        let (name, value) = self.table.get_key_value(key)?;
        Some((name.span().start, value))
    }

    fn as_section(&self, key: &str, place: usize, value: &'a Spanned<DeValue<'a>>) -> Option<Section<'a>> {
        if let DeValue::Table(table) = value.get_ref() {
            // `[a.b]` is found by its header; an implied table has only its key.
            let start = value.span().start;
            let place = if start == 0 { place } else { start };
            Some(Section::new(
                self.source,
                table,
                self.dotted(&shown_key(key)),
                place,
            ))
        } else {
            let found = found(value.get_ref());
            self.problem_at(
                value.span().start,
                &shown_key(key),
                format!(
                    "found {found}, expected a table [{}]",
                    self.dotted(&shown_key(key))
                ),
            );
            None
        }
    }

    fn dotted(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }
}

/// A key as faults show it: short, on one line.
fn shown_key(key: &str) -> String {
    key.chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .take(SHOWN_CHARS)
        .collect()
}

/// A text between quotation marks, cut where it gets long.
pub fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// A duration as people write it.
pub fn human(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// What a value is, as faults name it.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quoted(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("{value}"),
        DeValue::Datetime(time) => format!("the date or time {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The element of a list that stands at `place`.
fn element_at<'v>(value: &'v DeValue<'v>, place: usize) -> Option<&'v DeValue<'v>> {
    match value {
        DeValue::Array(array) => array
            .iter()
            .find(|element| element.span().contains(&place))
            .map(Spanned::get_ref),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => None,
    }
}

/// Says what was found and expected, and what the type itself had to say if it is more than "wrong type".
fn misfit(value: &DeValue<'_>, message: &str, expected: &str) -> String {
    let plain = [
        "invalid type",
        "invalid value",
        "unknown variant",
        "invalid length",
    ];
    let message = message.trim();
    if plain.iter().any(|start| message.starts_with(start)) {
        return format!("found {}, expected {expected}", found(value));
    }
    if message.contains("is not") {
        return format!("{message}; expected {expected}");
    }
    format!("found {} ({message}), expected {expected}", found(value))
}

/// Whether nothing sent to `host` leaves this machine.
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads a web address that may be called: https, or http on loopback.
///
/// # Errors
/// What is wrong with it. An address with a user name is not repeated: it may hold a password.
pub fn web_address(text: &str) -> Result<Url, String> {
    let expected = "expected a web address such as https://example.se";
    let url = Url::parse(text).map_err(|error| {
        if text.contains('@') {
            format!("is not a web address ({error}); {expected}")
        } else {
            format!(
                "found {}, which is not a web address ({error}); {expected}",
                quoted(text)
            )
        }
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "holds a user name or password; take it out of the address and put it in the vault with \
             `vardkase credentials set`"
                .to_owned(),
        );
    }
    let Some(host) = url.host_str() else {
        return Err(format!("found {}, which names no host; {expected}", quoted(text)));
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback_host(host) => {}
        "http" => {
            return Err(format!(
                "found {}, which is not encrypted; expected https:// (http:// only on 127.0.0.1, ::1 or localhost)",
                quoted(text)
            ));
        }
        _ => return Err(format!("found {}; {expected}", quoted(text))),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "found {}; expected the address without what follows \"?\" or \"#\"",
            quoted(text)
        ));
    }
    Ok(url)
}
