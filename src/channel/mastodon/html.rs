//! From the HTML of a status back to the words that a resident reads, for comparing with what was to be posted. Servers
//! cut a link into several spans; joined, they are the link again.

use unicode_normalization::UnicodeNormalization;

/// The text of an HTML fragment: tags dropped, line breaks kept, entities decoded.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (plain, marked) = rest.split_at(at);
        text.push_str(plain);
        let (read, left) = if marked.starts_with('<') {
            tag(marked)
        } else {
            entity(marked)
        };
        text.push_str(&read);
        rest = left;
    }
    text.push_str(rest);
    text
}

/// One form for all ways of writing the same words: composed characters, single spaces.
pub(crate) fn normal(text: &str) -> String {
    let composed: String = text.nfc().collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a tag at the start of `marked` stands for, and what comes after it.
fn tag(marked: &str) -> (String, &str) {
    let mut quote = None;
    for (at, c) in marked.char_indices().skip(1) {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '>') => {
                let (inside, left) = marked.split_at(at);
                let name: String = inside
                    .chars()
                    .skip(1)
                    .take_while(|c| *c == '/' || c.is_ascii_alphanumeric())
                    .collect::<String>()
                    .to_ascii_lowercase();
                let breaks = matches!(
                    name.trim_end_matches('/'),
                    "br" | "/p" | "p" | "/div" | "div" | "/li" | "/blockquote"
                );
                let read = if breaks { "\n" } else { "" };
                return (read.to_owned(), left.strip_prefix('>').unwrap_or(left));
            }
            _ => {}
        }
    }
    // It never ends: nothing after it can be trusted to be text.
    (String::new(), "")
}

/// What an entity at the start of `marked` stands for, and what comes after it.
fn entity(marked: &str) -> (String, &str) {
    const LONGEST: usize = 12;
    let end = marked.char_indices().take(LONGEST).find(|(_, c)| *c == ';');
    let decoded = end.and_then(|(end, _)| {
        let (name, left) = marked.split_at(end);
        Some((decode(name.strip_prefix('&')?)?, left.strip_prefix(';')?))
    });
    match decoded {
        Some((c, left)) => (c.to_string(), left),
        None => ("&".to_owned(), marked.strip_prefix('&').unwrap_or(marked)),
    }
}

fn decode(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_link_cut_into_spans_is_the_link_again() {
        let html = r#"<p>Koka vattnet.<br />Läs mer: <a href="https://nassjo.se/kris?a=1&amp;b=2" title="a > b"><span class="invisible">https://</span><span class="ellipsis">nassjo.se/kris</span><span class="invisible">?a=1&amp;b=2</span></a></p><p>N&auml;ssj&#246; &#x26; &lt;omn&gt; &nbsp;AT&T</p>"#;
        assert_eq!(
            normal(&text(html)),
            "Koka vattnet. Läs mer: https://nassjo.se/kris?a=1&b=2 N&auml;ssjö & <omn> AT&T"
        );
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same() {
        assert_eq!(
            normal("Na\u{308}ssjo\u{308}\r\n  kommun\n"),
            normal("Nässjö kommun")
        );
    }

    proptest! {
        #[test]
        fn no_html_makes_it_panic(html in "([<>&;\"' /#xp]|[a-zåäö]|&amp;|<br|\\PC){0,80}") {
            normal(&text(&html));
        }

        #[test]
        fn escaped_text_comes_back(words in "[<>&\"'a-zåäö 0-9;#]{0,80}") {
            let html = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(text(&html), words);
        }
    }
}
