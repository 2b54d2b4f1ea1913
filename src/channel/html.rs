//! From plain text to HTML, for the channels that write some: nothing in a text can become markup.

/// A text as HTML paragraphs: an empty line parts them, a single break stays one, web addresses can be followed.
pub(crate) fn paragraphs(text: &str) -> String {
    let mut out = String::new();
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        out.push_str("<p>");
        for (n, line) in paragraph.lines().enumerate() {
            if n > 0 {
                out.push_str("<br>\n");
            }
            for (n, word) in line.split(' ').enumerate() {
                if n > 0 {
                    out.push(' ');
                }
                let address = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '”', '»']);
                if address.starts_with("https://") && url::Url::parse(address).is_ok() {
                    let shown = escape(address);
                    let rest = escape(word.strip_prefix(address).unwrap_or_default());
                    out.extend(["<a href=\"", &shown, "\">", &shown, "</a>", &rest]);
                } else {
                    out.push_str(&escape(word));
                }
            }
        }
        out.push_str("</p>\n");
    }
    out
}

/// Makes a text safe between tags and within a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
