//! Reads one table of a TOML document key by key and keeps every fault, with its place, instead of stopping at the first.

use serde::de::DeserializeOwned;

/// One table while it is read. Every key that is asked for becomes known; [`Section::finish`] reports the others.
pub struct Section<'a> {
    _document: std::marker::PhantomData<&'a str>,
}

impl Section<'_> {
    /// The value of `key`; a problem if it is absent or does not fit. `expected` completes "expected …": `a web address
    /// such as https://mastodon.social`.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let _ = (key, expected);
        todo!("config")
    }

    /// The value of `key` if it is there; a problem if it does not fit.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str, expected: &str) -> Option<T> {
        let _ = (key, expected);
        todo!("config")
    }

    /// A duration such as `"20s"` or `"2h"`; a problem if it does not fit.
    pub fn duration(&mut self, key: &'static str) -> Option<std::time::Duration> {
        let _ = key;
        todo!("config")
    }

    /// A web address: https, or http on loopback only, without user, query or fragment. A problem if it is anything
    /// else. `required` says whether its absence is one too.
    pub fn address(&mut self, key: &'static str, required: bool) -> Option<url::Url> {
        let _ = (key, required);
        todo!("config")
    }

    /// Reports that the value of `key` is wrong, at its place.
    pub fn problem(&mut self, key: &str, text: impl Into<String>) {
        let _ = (key, text.into());
        todo!("config")
    }

    /// Whether any problem was reported for this section so far.
    pub fn is_broken(&self) -> bool {
        todo!("config")
    }
}
