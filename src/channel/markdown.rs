//! Plain text for services that read Markdown: nothing in a text becomes emphasis, and its web addresses stay whole.

/// What changes the look of the words around it.
const SIGNS: &[char] = &['\\', '*', '_', '[', ']', '~', '`'];

/// One line with its signs escaped; `link` gives the form of each web address.
pub(super) fn line(text: &str, link: impl Fn(&str) -> String) -> String {
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
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if SIGNS.contains(&c) {
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
