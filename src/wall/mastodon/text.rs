//! How Mastodon counts and shows a text. Written apart from the product's own counting, so that one proves the other.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation;

/// What every web address counts as.
pub(super) const URL_LENGTH: usize = 23;

/// How much of an address is shown, after its protocol.
const SHOWN: usize = 30;

/// A piece of a text.
enum Piece<'a> {
    Plain(&'a str),
    Link(&'a str),
}

/// The text cut into plain pieces and links. A link begins with its protocol where no word goes on, and does not end
/// with the punctuation of the sentence around it.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut plain_from = text;
    while let Some(at) = [rest.find("https://"), rest.find("http://")]
        .into_iter()
        .flatten()
        .min()
    {
        let (left, link) = rest.split_at(at);
        let end = link
            .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'))
            .unwrap_or(link.len());
        let mut url = link.split_at(end).0;
        loop {
            let shorter = url.trim_end_matches(['.', ',', ':', ';', '!', '?', '\'', ']']);
            let shorter = match shorter.strip_suffix(')') {
                Some(open) if shorter.matches(')').count() > shorter.matches('(').count() => open,
                _ => shorter,
            };
            if shorter == url {
                break;
            }
            url = shorter;
        }
        let (_, after) = link.split_at(url.len());
        let host = url.split("//").nth(1).unwrap_or_default();
        let glued = left.chars().last().is_some_and(char::is_alphanumeric);
        if glued || !host.contains(['.', ':']) {
            // Not a link; go on behind the protocol.
            rest = link.split_at("http".len()).1;
            continue;
        }
        let plain = plain_from.split_at(plain_from.len() - rest.len() + at).0;
        pieces.push(Piece::Plain(plain));
        pieces.push(Piece::Link(url));
        rest = after;
        plain_from = after;
    }
    pieces.push(Piece::Plain(plain_from));
    pieces
}

/// Grapheme clusters, with 23 for a link and the server part of a mention free.
pub(super) fn length(text: &str) -> usize {
    pieces(text)
        .iter()
        .map(|piece| match piece {
            Piece::Link(_) => URL_LENGTH,
            Piece::Plain(plain) => plain
                .split_inclusive(char::is_whitespace)
                .map(
                    |word| match word.strip_prefix('@').and_then(|rest| rest.split_once('@')) {
                        Some((user, _)) => {
                            let blank = word.chars().last().is_some_and(char::is_whitespace);
                            1 + user.graphemes(true).count() + usize::from(blank)
                        }
                        None => word.graphemes(true).count(),
                    },
                )
                .sum(),
        })
        .sum()
}

/// The links of a text, in their order.
pub(in crate::wall) fn links(text: &str) -> Vec<String> {
    let links = pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Link(url) => Some(url.to_owned()),
        Piece::Plain(_) => None,
    });
    links.collect()
}

/// The text as the server gives it out: paragraphs, breaks, and links cut into three spans.
pub(super) fn html(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let paragraphs = text.trim().split("\n\n").map(str::trim).filter(|p| !p.is_empty());
    paragraphs.fold(String::new(), |mut html, paragraph| {
        html.push_str("<p>");
        for piece in pieces(paragraph) {
            match piece {
                Piece::Plain(plain) => html.push_str(&escape(plain).replace('\n', "<br />")),
                Piece::Link(url) => link(&mut html, url),
            }
        }
        html.push_str("</p>");
        html
    })
}

fn link(html: &mut String, url: &str) {
    let (protocol, rest) = url.split_once("//").unwrap_or(("", url));
    let (www, rest) = match rest.strip_prefix("www.") {
        Some(rest) => ("www.", rest),
        None => ("", rest),
    };
    let shown: String = rest.chars().take(SHOWN).collect();
    let hidden: String = rest.chars().skip(SHOWN).collect();
    let class = if hidden.is_empty() { "" } else { "ellipsis" };
    // Writing to a string cannot fail.
    let _infallible = write!(
        html,
        "<a href=\"{}\" target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\">\
         <span class=\"invisible\">{protocol}//{www}</span>\
         <span class=\"{class}\">{}</span><span class=\"invisible\">{}</span></a>",
        escape(url),
        escape(&shown),
        escape(&hidden),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_counts_23_whatever_its_length() {
        let text = "Koka vattnet. https://nassjo.se/kris/en/mycket/lång/adress?med=mycket&mera=1.";
        assert_eq!(length(text), "Koka vattnet. ".len() + 23 + ".".len());
        assert_eq!(length("(https://a.se/b)"), 25);
        assert_eq!(length("(https://a.se/b_(c))"), 25);
        assert_eq!(length("nassjo.se/kris"), 14, "without a protocol it is no link");
        assert_eq!(length("xhttps://a.se"), 13, "nor within a word");
        assert_eq!(length("@kris@nassjo.se hej"), "@kris hej".len());
        assert_eq!(length("👨‍👩‍👧‍👦 åäö"), 5);
    }

    #[test]
    fn links_are_shown_in_three_spans() {
        assert_eq!(
            html("Läs <mer>:\nhttps://www.nassjo.se/kris/viktigt-meddelande/koka-vattnet?a=1&b=2.\n\nNässjö"),
            "<p>Läs &lt;mer&gt;:<br />\
             <a href=\"https://www.nassjo.se/kris/viktigt-meddelande/koka-vattnet?a=1&amp;b=2\" \
             target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\">\
             <span class=\"invisible\">https://www.</span>\
             <span class=\"ellipsis\">nassjo.se/kris/viktigt-meddela</span>\
             <span class=\"invisible\">nde/koka-vattnet?a=1&amp;b=2</span></a>.</p><p>Nässjö</p>"
        );
    }
}
