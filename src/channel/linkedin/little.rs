//! LinkedIn's "little text": a dozen signs mean something unless a backslash stands before them, and a text is cut,
//! without an error, at the first one that does not fit.

use unicode_normalization::UnicodeNormalization;

use crate::compose::count::is_reserved_in_little_text;

/// The text with every sign taken as it stands.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_reserved_in_little_text(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The text as it was before [`escape`], in one form for all ways of writing the same words.
pub(super) fn written(commentary: &str) -> String {
    let mut out = String::with_capacity(commentary.len());
    let mut chars = commentary.chars().peekable();
    while let Some(c) = chars.next() {
        let is_escape = c == '\\' && chars.peek().is_some_and(|c| is_reserved_in_little_text(*c));
        out.push(if is_escape { chars.next().unwrap_or(c) } else { c });
    }
    normal(&out)
}

/// One form for all ways of writing the same words.
pub(super) fn normal(text: &str) -> String {
    text.replace("\r\n", "\n").trim().nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_reserved_sign_is_escaped_once() {
        assert_eq!(escape(r"\|{}@[]()<>#*_~"), r"\\\|\{\}\@\[\]\(\)\<\>\#\*\_\~");
        assert_eq!(
            escape("Nässjö (centrum). https://nassjo.se/a_b"),
            r"Nässjö \(centrum\). https://nassjo.se/a\_b"
        );
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_what_was_written(text in "(\\PC|[\\\\|{}@\\[\\]()<>#*_~ ]){0,60}") {
            prop_assert_eq!(written(&escape(&text)), normal(&text));
        }
    }
}
