//! What a browser makes of a page: its words and its links; and what WordPress makes of a short name.

/// The words of a piece of HTML: tags dropped, paragraphs and breaks kept, entities decoded.
pub(super) fn plain(html: &str) -> String {
    let mut text = String::new();
    for (n, piece) in html.split('<').enumerate() {
        if n == 0 {
            text.push_str(piece);
            continue;
        }
        let (tag, visible) = piece.split_once('>').unwrap_or((piece, ""));
        if tag == "/p" {
            text.push_str("\n\n");
            text.push_str(visible.trim_start());
        } else {
            // After a `<br>` the source has a line break of its own.
            text.push_str(visible);
        }
    }
    decode(text.trim())
}

/// Where the links of a piece of HTML lead, each once.
pub(super) fn links(html: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for piece in html.split("<a href=\"").skip(1) {
        let Some((href, _)) = piece.split_once('"') else {
            continue;
        };
        let href = decode(href);
        if !links.contains(&href) {
            links.push(href);
        }
    }
    links
}

/// A short name: lower case, letters, digits and single lines.
pub(super) fn slug(text: &str) -> String {
    let words = text.to_lowercase().replace(['å', 'ä'], "a").replace('ö', "o");
    let words: Vec<&str> = words
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

/// Makes a text safe within a quoted attribute.
pub(super) fn quoted(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

fn decode(text: &str) -> String {
    let mut text = text.to_owned();
    for (entity, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_its_words() {
        let html = "<div id=\"x\">\n<p>Ett &lt;b&gt;<br>\ntvå</p>\n<p><a href=\"https://a.se/?x=1&amp;y\">här</a></p>\n</div>";
        assert_eq!(plain(html), "Ett <b>\ntvå\n\nhär");
        assert_eq!(links(html), ["https://a.se/?x=1&y"]);
    }

    #[test]
    fn a_short_name_is_made_as_wordpress_makes_it() {
        assert_eq!(slug("Koka vattnet i Nässjö!"), "koka-vattnet-i-nassjo");
        assert_eq!(slug("2026-0007-1-ab"), "2026-0007-1-ab");
    }
}
