//! What X makes of a text, undone: read back, it has its links replaced by short ones and its signs escaped.

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use url::Url;

use crate::compose::count::weighted::links;

/// The text of a post as it was written.
pub(super) fn written(post: &Value) -> String {
    // A long post has its whole text elsewhere, under either of two names.
    let long = ["note_tweet", "note_post"].map(|name| &post[name]);
    let whole = long
        .into_iter()
        .find(|note| note["text"].is_string())
        .unwrap_or(post);
    let mut text = whole["text"].as_str().unwrap_or_default().to_owned();
    for (escaped, sign) in [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")] {
        text = text.replace(escaped, sign);
    }
    for link in whole["entities"]["urls"].as_array().into_iter().flatten() {
        let (Some(short), Some(long)) = (link["url"].as_str(), link["expanded_url"].as_str()) else {
            continue;
        };
        // The post's own picture stands at its end as a link.
        let own_picture = link["media_key"].is_string() || is_picture(long);
        text = text.replace(short, if own_picture { "" } else { long });
    }
    text
}

fn is_picture(link: &str) -> bool {
    let Ok(url) = Url::parse(link) else { return false };
    let ours = matches!(url.host_str(), Some("x.com" | "twitter.com"));
    let parts: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    ours && matches!(parts.as_slice(), [_, "status", _, "photo" | "video", _])
}

/// One form for all ways of writing the same words and addresses.
pub(super) fn normal(text: &str) -> String {
    let text: String = text.replace("\r\n", "\n").trim().nfc().collect();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for link in links(&text) {
        out.push_str(text.get(from..link.start).unwrap_or_default());
        out.push_str(&bare(text.get(link.clone()).unwrap_or_default()));
        from = link.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// An address without protocol, its host in one spelling: X adds a protocol where none was written.
fn bare(link: &str) -> String {
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let url = Url::parse(&format!("https://{rest}")).ok();
    let one = url.map_or_else(|| rest.to_owned(), String::from);
    let one = one.strip_prefix("https://").unwrap_or(&one);
    one.strip_suffix('/').unwrap_or(one).to_owned()
}

/// A sign that X takes in no text, if there is one.
pub(super) fn forbidden(text: &str) -> Option<char> {
    text.chars()
        .find(|c| matches!(c, '\u{fffe}' | '\u{feff}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_come_back_expanded_and_signs_unescaped() {
        let post = json!({
            "text": "A &lt;b&gt; &amp;amp; c. https://t.co/a1 https://t.co/b2 https://t.co/c3",
            "entities": {"urls": [
                {"url": "https://t.co/a1", "expanded_url": "https://nassjo.se/kris?m=1&n=2"},
                {"url": "https://t.co/b2", "expanded_url": "http://nassjo.se"},
                {"url": "https://t.co/c3", "expanded_url": "https://x.com/kommun/status/1/photo/1"},
            ]},
        });
        let wanted = "A <b> &amp; c. https://nassjo.se/kris?m=1&n=2 nassjo.se";
        assert_eq!(normal(&written(&post)), normal(wanted));
        assert_ne!(
            normal(&written(&post)),
            normal("A <b> &amp; c. https://nassjo.se/kris?m=1&n=2")
        );
    }

    #[test]
    fn a_long_post_is_read_whole_under_either_name() {
        for name in ["note_tweet", "note_post"] {
            let post = json!({"text": "Kort…", name: {"text": "Hela texten"}});
            assert_eq!(written(&post), "Hela texten");
        }
    }

    #[test]
    fn spelling_of_an_address_does_not_matter_but_its_path_does() {
        for same in ["https://nassjo.se", "http://NASSJO.se/", "nassjo.se/"] {
            assert_eq!(normal(same), "nassjo.se", "{same}");
        }
        assert_ne!(normal("https://nassjo.se/a"), normal("https://nassjo.se/b"));
    }
}
