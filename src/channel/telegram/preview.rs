//! The public web preview of a channel, `t.me/s/<name>`: the only place where a bot's own posts can be read again. It is
//! no documented interface: what is found in it is true, what is missing in it means nothing.

use crate::channel::mastodon::html;
use crate::channel::{Latest, portrait};
use crate::clock::Timestamp;
use crate::model::Reason;

/// What to look for.
pub(super) struct Wanted<'a> {
    /// The channel's public name.
    pub(super) name: &'a str,
    /// The text of the post.
    pub(super) text: &'a str,
    /// The same with the picture's description.
    pub(super) caption: Option<String>,
    /// No post from before it.
    pub(super) since: Timestamp,
    /// Posts of other deliveries.
    pub(super) taken: &'a [String],
}

/// What a look gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is there.
    Found(Found),
    /// It is not on the page.
    NotThere,
    /// There is no such page.
    Closed(Reason),
}

/// A post in the preview.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The message's id.
    pub(super) id: i64,
    /// Whether the text stands under a picture.
    pub(super) as_caption: bool,
}

/// Looks for the post, the latest first.
pub(super) fn look(page: &str, wanted: &Wanted<'_>) -> Look {
    let text = html::normal(wanted.text);
    let caption = wanted.caption.as_deref().map(html::normal);
    let messages: Vec<Message> = page
        .split("data-post=\"")
        .skip(1)
        .filter_map(|piece| message(piece, wanted.name))
        .collect();
    let found = messages.into_iter().rev().find_map(|message| {
        let is_ours = message.at >= wanted.since && !wanted.taken.contains(&message.id.to_string());
        let as_caption = caption.as_ref() == Some(&message.text);
        (is_ours && (as_caption || message.text == text)).then_some(Found {
            id: message.id,
            as_caption,
        })
    });
    found.map_or(Look::NotThere, Look::Found)
}

/// The posts on the page.
pub(super) fn latest(page: &str, name: &str) -> Vec<Latest> {
    let pieces = page.split("data-post=\"").skip(1);
    let posts = pieces.filter_map(|piece| message(piece, name));
    posts
        .filter_map(|post| portrait::latest(Some(&post.id.to_string()), Some(post.at), None))
        .collect()
}

struct Message {
    id: i64,
    at: Timestamp,
    text: String,
}

/// The message that begins with the value of its `data-post`, up to the next one.
fn message(piece: &str, name: &str) -> Option<Message> {
    let (post, rest) = piece.split_once('"')?;
    let (channel, id) = post.split_once('/')?;
    if !channel.eq_ignore_ascii_case(name) {
        return None;
    }
    let (_, time) = rest.split_once("<time datetime=\"")?;
    let (at, _) = time.split_once('"')?;
    // A quote of the message that this one answers may stand before its own text.
    let text = rest.split("tgme_widget_message_text").skip(1).find_map(|text| {
        let (tag, text) = text.split_once('>')?;
        let (text, _) = text.split_once("</div>")?;
        (!tag.contains("reply")).then_some(text)
    })?;
    Some(Message {
        id: id.parse().ok()?,
        at: at.parse().ok()?,
        text: html::normal(&html::text(text)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = concat!(
        "<div class=\"tgme_widget_message text_not_supported_wrap js-widget_message\" data-post=\"NassjoKommun/41\">",
        "<div class=\"tgme_widget_message_text js-message_text\" dir=\"auto\">Annat</div>",
        "<time datetime=\"2026-11-23T15:58:00+00:00\" class=\"time\">15:58</time></div>",
        "<div class=\"tgme_widget_message js-widget_message\" data-post=\"NassjoKommun/42\">",
        "<a class=\"tgme_widget_message_reply\"><div class=\"tgme_widget_message_text js-message_reply_text\">Annat</div></a>",
        "<div class=\"tgme_widget_message_text js-message_text\" dir=\"auto\">Koka <i class=\"emoji\"><b>🚰</b></i> vattnet &amp; vänta.",
        "<br/><br/><a href=\"https://nassjo.se/kris?a=1&amp;b=2\" target=\"_blank\">https://nassjo.se/kris?a=1&amp;b=2</a></div>",
        "<time datetime=\"2026-11-23T15:58:10+00:00\" class=\"time\">15:58</time></div>",
    );
    const TEXT: &str = "Koka 🚰 vattnet & vänta.\n\nhttps://nassjo.se/kris?a=1&b=2";

    fn wanted<'a>(text: &'a str, taken: &'a [String]) -> Wanted<'a> {
        Wanted {
            name: "nassjokommun",
            text,
            caption: None,
            since: "2026-11-23T15:58:06Z".parse().unwrap(),
            taken,
        }
    }

    #[test]
    fn a_post_is_found_by_its_words_and_time_and_never_anothers() {
        let found = Look::Found(Found {
            id: 42,
            as_caption: false,
        });
        assert_eq!(look(PAGE, &wanted(TEXT, &[])), found);
        assert_eq!(look(PAGE, &wanted("Koka vattnet", &[])), Look::NotThere);
        assert_eq!(look(PAGE, &wanted(TEXT, &["42".to_owned()])), Look::NotThere);
        assert_eq!(
            look(PAGE, &wanted("Annat", &[])),
            Look::NotThere,
            "too old, and a quote"
        );
        let mut other = wanted(TEXT, &[]);
        other.name = "annan";
        assert_eq!(look(PAGE, &other), Look::NotThere);
        let mut pictured = wanted("Koka", &[]);
        pictured.caption = Some(TEXT.to_owned());
        assert!(matches!(look(PAGE, &pictured), Look::Found(found) if found.as_caption));
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in "(data-post=\"|nassjokommun/4|\"|<time datetime=\"|tgme_widget_message_text|>|</div>|[a-zå0-9])*") {
            look(&page, &wanted(TEXT, &[]));
        }
    }
}
