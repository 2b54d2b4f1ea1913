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
    below(&rendering.headline, &rendering.text)
}

/// `text` without `headline`, if that is its whole first line or sentence and more follows: nothing is shown twice, no
/// sentence loses its beginning, and no text becomes empty.
pub(super) fn below<'a>(headline: &str, text: &'a str) -> &'a str {
    let Some(rest) = text.strip_prefix(headline).filter(|_| !headline.is_empty()) else {
        return text;
    };
    let ends = rest.starts_with('\n')
        || rest
            .strip_prefix(['.', ':'])
            .is_some_and(|rest| rest.starts_with([' ', '\n']));
    let body = rest.trim_start_matches(['.', ':', ' ', '\n']);
    if ends && !body.is_empty() { body } else { text }
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
    fn a_headline_is_taken_away_only_where_it_is_the_whole_beginning() {
        let rows = [
            (
                "Koka vattnet",
                "Koka vattnet\n\nDet kan göra dig sjuk.",
                "Det kan göra dig sjuk.",
            ),
            (
                "Koka vattnet",
                "Koka vattnet. Det kan göra dig sjuk.",
                "Det kan göra dig sjuk.",
            ),
            ("Koka vattnet", "Koka vattnet:\n- i Forserum", "- i Forserum"),
            (
                "ÖVNING: Läcka",
                "ÖVNING: Läcka\n\nText\n\nEXERCISE: Leak\n\nText",
                "Text\n\nEXERCISE: Leak\n\nText",
            ),
            (
                "Koka vattnet",
                "Koka vattnet i Forserum.",
                "Koka vattnet i Forserum.",
            ),
            ("Stängt kl. 1", "Stängt kl. 1.30", "Stängt kl. 1.30"),
            ("Koka vattnet", "Koka vattnet", "Koka vattnet"),
            ("Koka vattnet", "Koka vattnet.\n", "Koka vattnet.\n"),
            ("Läcka", "ÖVNING: Läcka\n\nText", "ÖVNING: Läcka\n\nText"),
            ("", ". a", ". a"),
        ];
        for (headline, text, wanted) in rows {
            assert_eq!(below(headline, text), wanted, "{headline:?} of {text:?}");
        }
    }

    #[test]
    fn tags_are_counted_as_words() {
        let text = "#vatten (#nässjö) a#b # ,#1 ## kris@nassjo.se @kommun";
        assert_eq!(words_with('#', text), 3);
        assert_eq!(words_with('@', text), 1);
    }
}
