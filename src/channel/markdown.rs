//! Plain text for services that read Markdown: nothing in a text becomes emphasis, and its web addresses stay whole.

/// What changes the look of the words around it.
const SIGNS: &[char] = &['\\', '*', '_', '[', ']', '~', '`'];

/// The same on Discord, with spoilers, mentions and times.
const DISCORD: &[char] = &['\\', '*', '_', '[', ']', '~', '`', '|', '<'];

/// One line with its signs escaped; `link` gives the form of each web address.
pub(super) fn line(text: &str, link: impl Fn(&str) -> String) -> String {
    marked(text, SIGNS, link)
}

/// A text for Discord: its signs escaped, its web addresses as they are, which makes them links there.
pub(super) fn discord(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let words = line.trim_start_matches(' ');
        let (indent, _) = line.split_at(line.len() - words.len());
        out.push_str(indent);
        // A list begins with these, and small print with "-#".
        let digits = words.trim_start_matches(|c: char| c.is_ascii_digit());
        let (number, _) = words.split_at(words.len() - digits.len());
        if words.starts_with(['-', '+']) {
            out.push('\\');
            out.push_str(&marked(words, DISCORD, str::to_owned));
        } else if !number.is_empty() && digits.starts_with(['.', ')']) {
            out.push_str(number);
            out.push('\\');
            out.push_str(&marked(digits, DISCORD, str::to_owned));
        } else {
            out.push_str(&marked(words, DISCORD, str::to_owned));
        }
    }
    out
}

fn marked(text: &str, signs: &[char], link: impl Fn(&str) -> String) -> String {
    let escaped = |text: &str| escape(text, signs);
    let mut out = String::with_capacity(text.len() + 16);
    // A heading or a quotation begins with these.
    if text.starts_with(['#', '>']) {
        out.push('\\');
    }
    for (n, word) in text.split(' ').enumerate() {
        if n > 0 {
            out.push(' ');
        }
        // Within a word too: that is where services find them.
        let (before, rest) = word.split_at(word.find("https://").unwrap_or(word.len()));
        let address = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '”', '»']);
        if url::Url::parse(address).is_ok() {
            out.push_str(&escaped(before));
            out.push_str(&link(address));
            out.push_str(&escaped(rest.strip_prefix(address).unwrap_or_default()));
        } else {
            out.push_str(&escaped(word));
        }
    }
    out
}

/// Words with their signs escaped.
pub(super) fn escaped(text: &str) -> String {
    escape(text, SIGNS)
}

fn escape(text: &str, signs: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if signs.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_are_escaped_and_addresses_are_not() {
        let as_is = |address: &str| address.to_owned();
        assert_eq!(
            line(
                "*Koka* vattnet_nu [se](https://nassjo.se/a_b*c). (https://nassjo.se/å_ä), ~5 `m`",
                as_is
            ),
            "\\*Koka\\* vattnet\\_nu \\[se\\](https://nassjo.se/a_b*c). (https://nassjo.se/å_ä), \\~5 \\`m\\`"
        );
        assert_eq!(line("# 1", as_is), "\\# 1");
        assert_eq!(line("> 1", as_is), "\\> 1");
        assert_eq!(
            line("Se https://nassjo.se/a_b.", |address| format!("<{address}>")),
            "Se <https://nassjo.se/a_b>."
        );
    }

    #[test]
    fn on_discord_lists_spoilers_and_mentions_are_words_too() {
        assert_eq!(
            discord("- a\n-# b\n12. c\n12 d\n  + e\n||f|| <@1> <t:1>\n\nhttps://nassjo.se/a_b|c"),
            "\\- a\n\\-# b\n12\\. c\n12 d\n  \\+ e\n\\|\\|f\\|\\| \\<@1> \\<t:1>\n\nhttps://nassjo.se/a_b|c"
        );
        assert_eq!(discord("# 1\n> 2\n1 000 m"), "\\# 1\n\\> 2\n1 000 m");
    }

    proptest! {
        #[test]
        fn without_its_escapes_it_is_the_text_again(text in "([a-zåäö #>*_~`.:/]|\\[|\\]|\\\\|https://a.se/_){0,60}") {
            let marked = line(&text, |address| address.replace(SIGNS, "\0"));
            let mut plain = String::new();
            let mut chars = marked.chars();
            while let Some(c) = chars.next() {
                plain.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert_eq!(plain.chars().count(), text.chars().count());
        }
    }
}
