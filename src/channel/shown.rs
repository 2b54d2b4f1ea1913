//! How a message looks on an account: what a preview shows before anything goes out. Pure.

use serde::{Deserialize, Serialize};

use crate::model::Rendering;

/// A part of a message as it is read on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which part: `text`, `title`, `subject`, `button` …
    pub part: String,
    /// Its words.
    pub text: String,
}

impl Shown {
    /// A part with its words.
    pub fn new(part: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            text: text.into(),
        }
    }
}

/// What happens to every message on an account otherwise than people expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caveat {
    /// The service takes the message and never tells whether it showed it.
    HandedOver,
    /// The link can be read but not clicked.
    DeadLink,
    /// The account is set to try only: nobody gets anything.
    DryRun,
}

impl Caveat {
    /// All of them.
    pub const ALL: &[Self] = &[Self::HandedOver, Self::DeadLink, Self::DryRun];
}

/// The text without the headline that it begins with, for places that show the headline apart.
pub(super) fn below_headline(rendering: &Rendering) -> &str {
    let text = &rendering.text;
    let rest = text.strip_prefix(&rendering.headline).unwrap_or(text);
    rest.trim_start_matches(['.', ':', ' ', '\n'])
}

/// How many words begin with `sign` and a letter or a digit: hashtags, mentions.
pub(super) fn words_with(sign: char, text: &str) -> usize {
    let is_one = |word: &&str| {
        word.strip_prefix(sign)
            .is_some_and(|rest| rest.starts_with(char::is_alphanumeric))
    };
    text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ',' | ';' | '"' | '”' | '»'))
        .filter(is_one)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_counted_as_words() {
        let text = "#vatten (#nässjö) a#b # ,#1 ## kris@nassjo.se @kommun";
        assert_eq!(words_with('#', text), 3);
        assert_eq!(words_with('@', text), 1);
    }
}
