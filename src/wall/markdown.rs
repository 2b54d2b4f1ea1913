//! Markdown as a reader sees it: what is not escaped is a sign and not a letter.

/// What a reader sees of one line, and where its links lead. Addresses that stand bare are links too.
pub(super) fn read(line: &str) -> (String, Vec<String>) {
    let mut seen = String::new();
    let mut links = Vec::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = rest.strip_prefix(c).unwrap_or_default();
        rest = if rest.starts_with("https://") {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (address, after) = rest.split_at(end);
            seen.push_str(address);
            links.extend(super::page::links(address));
            after
        } else if c == '\\' {
            let escaped = after.chars().next();
            seen.extend(escaped);
            escaped.and_then(|c| after.strip_prefix(c)).unwrap_or_default()
        } else if let (true, Some((words, target, after))) = (c == '[', link(after)) {
            seen.push_str(&words);
            links.push(target);
            after
        } else {
            if !matches!(c, '*' | '_' | '~' | '`') {
                seen.push(c);
            }
            after
        };
    }
    (seen, links)
}

/// The words and the target of a link whose first bracket was read, and what comes after it.
fn link(text: &str) -> Option<(String, String, &str)> {
    let mut words = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => words.extend(chars.next().map(|(_, c)| c)),
            ']' => {
                let (_, after) = text.split_at(at);
                let (target, after) = after.strip_prefix("](")?.split_once(')')?;
                return Some((words, target.to_owned(), after));
            }
            _ => words.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_escaped_is_lost_to_the_reader() {
        assert_eq!(read("*a* \\*b\\* c_d").0, "a *b* cd");
        let (seen, links) = read("Se [https://a.se/b\\_c](https://a.se/b_c) [1] https://a.se/x_y.");
        assert_eq!(seen, "Se https://a.se/b_c [1] https://a.se/x_y.");
        assert_eq!(links, ["https://a.se/b_c", "https://a.se/x_y"]);
    }
}
