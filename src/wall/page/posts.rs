//! What a feed shows: posts put together as their readers see them. What answers a post stands under it; what many
//! recipients got alike stands once; what is pinned stands first.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::{Posted, ShownPicture};
use super::{Piece, is_web, pieces};
use crate::compose::sms;
use crate::model::Recipient;

/// Recipients of one text that are named.
const NAMED: usize = 3;

/// A post and what answers it, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct Conversation {
    pub is_pinned: bool,
    pub posts: Vec<Entry>,
}

/// How a channel shows its posts, and where they stand on the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    /// The id of the feed; those of its posts begin with it.
    pub feed: &'a str,
    /// The service makes a card of a link.
    pub cards: bool,
    /// The headline is a title of its own: where the text begins with it, people do not see it twice.
    pub heads: bool,
    /// The text goes out as text messages.
    pub segments: bool,
    /// The zone that times are told in.
    pub zone: &'a TimeZone,
}

#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Stays the same as long as the post is there, so that one can link to it.
    id: String,
    at: String,
    clock: String,
    iso: String,
    subject: Option<String>,
    /// Whom it went to: the first of them masked, and how many more.
    recipients: Vec<String>,
    more_recipients: usize,
    /// What else is to be seen of it, in words.
    shown: Vec<String>,
    /// On text messages, who it is from and what it was cut into.
    from: Option<String>,
    parts: Option<String>,
    /// The text as it is cut into text messages, if there are several.
    segments: Vec<String>,
    /// Where a page stands, or a button leads.
    address: Option<String>,
    button: Option<String>,
    is_deleted: bool,
    is_edited: bool,
    is_answer: bool,
    text: Vec<Piece>,
    /// Its beginning, on one line, for an inbox.
    snippet: String,
    links: Vec<String>,
    card: Option<Card>,
    pictures: Vec<Picture>,
}

/// The card of a link, as a service makes it.
#[derive(Debug, Serialize)]
struct Card {
    href: String,
    title: String,
    host: String,
}

#[derive(Debug, Serialize)]
struct Picture {
    digest: String,
    alt: String,
}

/// The conversations of a feed, the latest first and what is pinned before all; and how many posts are not shown.
pub(super) fn conversations(posts: &[Posted], most: usize, manner: Manner<'_>) -> (Vec<Conversation>, usize) {
    let merged = merged(posts);
    let ids = ids(&merged, manner.feed);
    let hidden = merged.len().saturating_sub(most);
    let shown = merged.get(hidden..).unwrap_or_default();
    let ids = ids.get(hidden..).unwrap_or_default();
    let known: HashMap<&str, usize> = shown
        .iter()
        .enumerate()
        .map(|(at, (post, _))| (post.remote_id.as_str(), at))
        .collect();
    // A post is shown under the one that it answers, or under what that one answers.
    let mut roots: Vec<usize> = Vec::with_capacity(shown.len());
    for (at, (post, _)) in shown.iter().enumerate() {
        let parent = post.in_reply_to.as_deref().and_then(|id| known.get(id));
        let root = parent
            .filter(|parent| **parent < at)
            .and_then(|parent| roots.get(*parent));
        roots.push(root.copied().unwrap_or(at));
    }
    let mut found: Vec<(usize, Conversation)> = Vec::new();
    for (at, (((post, recipients), root), id)) in shown.iter().zip(&roots).zip(ids).enumerate() {
        let entry = entry(post, recipients, id, at != *root, manner);
        match found.iter_mut().find(|(known, _)| known == root) {
            Some((_, conversation)) => {
                conversation.is_pinned |= post.pinned;
                conversation.posts.push(entry);
            }
            None => found.push((
                *root,
                Conversation {
                    is_pinned: post.pinned,
                    posts: vec![entry],
                },
            )),
        }
    }
    found.sort_by_key(|(root, conversation)| (!conversation.is_pinned, std::cmp::Reverse(*root)));
    (
        found.into_iter().map(|(_, conversation)| conversation).collect(),
        hidden,
    )
}

/// An id for each post, from the service's own: posts are only ever added, so that it stays.
fn ids(posts: &[(&Posted, Vec<&str>)], feed: &str) -> Vec<String> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-".contains(c) {
            c
        } else {
            '_'
        }
    };
    posts
        .iter()
        .map(|(post, _)| {
            let id: String = post.remote_id.chars().map(plain).collect();
            let time = times.entry(id.clone()).or_default();
            *time += 1;
            match *time {
                1 => format!("{feed}:{id}"),
                again => format!("{feed}:{id}:{again}"),
            }
        })
        .collect()
}

/// The posts, each with its recipients: neighbours with the same text to different recipients are one.
fn merged(posts: &[Posted]) -> Vec<(&Posted, Vec<&str>)> {
    let mut merged: Vec<(&Posted, Vec<&str>)> = Vec::new();
    for post in posts {
        let same = merged.last_mut().filter(|(before, recipients)| {
            let like = (&before.text, &before.subject, before.edited_at, before.deleted_at)
                == (&post.text, &post.subject, post.edited_at, post.deleted_at);
            like && post
                .recipient
                .as_deref()
                .is_some_and(|to| !recipients.contains(&to))
        });
        match (same, &post.recipient) {
            (Some((_, recipients)), Some(to)) => recipients.push(to),
            _ => merged.push((post, post.recipient.iter().map(String::as_str).collect())),
        }
    }
    merged
}

fn entry(posted: &Posted, recipients: &[&str], id: &str, is_answer: bool, manner: Manner<'_>) -> Entry {
    let text = if manner.heads {
        below_subject(posted)
    } else {
        &posted.text
    };
    let inline = pieces(text);
    let links: Vec<String> = posted
        .links
        .iter()
        .filter(|link| is_web(link) && !inline.iter().any(|piece| piece.href.as_ref() == Some(link)))
        .cloned()
        .collect();
    let card = posted
        .links
        .iter()
        .rev()
        .find(|link| is_web(link) && manner.cards);
    let at = posted.at.to_zoned_datetime(manner.zone.clone());
    let told = |name: &str| posted.shown.get(name).cloned();
    let segments = told("parts").map(|parts| {
        let word = if parts == "1" {
            "ett sms".to_owned()
        } else {
            format!("{parts} sms")
        };
        let alphabet = told("alphabet").map(|alphabet| format!(" · {alphabet}"));
        let cost = told("cost").map(|cost| format!(" · {cost}"));
        [Some(word), alphabet, cost].into_iter().flatten().collect()
    });
    let cut = sms::parts(&posted.text);
    let is_cut = manner.segments && cut.len() > 1;
    let snippet: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Entry {
        id: id.to_owned(),
        at: at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        clock: at.strftime("%H:%M").to_string(),
        iso: posted.at.to_string(),
        subject: posted.subject.clone(),
        recipients: recipients
            .iter()
            .take(NAMED)
            .map(|recipient| Recipient::new(*recipient).masked())
            .collect(),
        more_recipients: recipients.len().saturating_sub(NAMED),
        shown: posted
            .shown
            .iter()
            .filter_map(|(name, value)| Some(format!("{}: {value}", word(name)?)))
            .collect(),
        from: told("from"),
        parts: segments,
        segments: cut.into_iter().filter(|_| is_cut).map(str::to_owned).collect(),
        address: told("address").or_else(|| posted.links.iter().find(|link| is_web(link)).cloned()),
        button: told("button"),
        is_deleted: posted.deleted_at.is_some(),
        is_edited: posted.edited_at.is_some(),
        is_answer: is_answer || posted.in_reply_to.is_some(),
        text: inline,
        snippet: snippet.chars().take(90).collect(),
        card: card.map(|href| Card {
            host: host(href),
            title: title(href),
            href: href.clone(),
        }),
        // A card says where it leads; the bare address beside it would say so twice.
        links: links.into_iter().filter(|link| card != Some(link)).collect(),
        pictures: posted.pictures.iter().map(picture).collect(),
    }
}

fn picture(shown: &ShownPicture) -> Picture {
    Picture {
        digest: shown.digest.clone(),
        alt: shown.alt.clone(),
    }
}

/// The text without the headline that it begins with, where the headline stands above it already.
fn below_subject(posted: &Posted) -> &str {
    let rest = posted
        .subject
        .as_deref()
        .and_then(|subject| posted.text.trim_start().strip_prefix(subject));
    match rest {
        Some(rest) if rest.starts_with('\n') => rest.trim_start(),
        Some(_) | None => &posted.text,
    }
}

/// What the page is called that a link leads to. A service fetches it to know; the wall fetches nothing, but knows its own.
fn title(link: &str) -> String {
    let path = url::Url::parse(link).ok().map(|url| url.path().to_owned());
    let path = path.unwrap_or_default();
    if path == "/site" || path.starts_with("/site/") {
        return super::SITE_TITLE.to_owned();
    }
    // Most pages are named in their address.
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let words = last.split(['-', '_', '.']).filter(|word| !word.is_empty());
    let words = words.collect::<Vec<_>>().join(" ");
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => host(link),
    }
}

fn host(link: &str) -> String {
    let url = url::Url::parse(link).ok();
    let host = url.as_ref().and_then(url::Url::host_str);
    host.map_or_else(|| link.to_owned(), str::to_owned)
}

/// What a name in `shown` is called on the page; `None` if it is shown in another way, or is nothing to be seen.
fn word(name: &str) -> Option<&str> {
    match name {
        "alphabet" | "cost" | "from" | "parts" | "address" | "button" | "picture" | "click" | "lang"
        | "tags" | "link_card" => None,
        "template" => Some("mall"),
        "name" => Some("namn"),
        "calls" => Some("ropar på"),
        "priority" => Some("prioritet"),
        other => Some(other),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::from_micros;
    use crate::model::Mode;

    pub fn post(id: &str, text: &str, to: Option<&str>, answers: Option<&str>) -> Posted {
        Posted {
            account: "konto".parse().unwrap(),
            mode: Mode::Live,
            remote_id: id.to_owned(),
            text: text.to_owned(),
            links: super::super::links(text),
            key: None,
            in_reply_to: answers.map(str::to_owned),
            recipient: to.map(str::to_owned),
            subject: None,
            at: from_micros(0),
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: std::collections::BTreeMap::new(),
        }
    }

    static UTC: TimeZone = TimeZone::UTC;
    const MANNER: Manner<'static> = Manner {
        feed: "konto",
        cards: false,
        heads: false,
        segments: false,
        zone: &UTC,
    };

    fn shape(posts: &[Posted], most: usize) -> (Vec<Vec<String>>, usize) {
        let (found, hidden) = conversations(posts, most, MANNER);
        let texts =
            |conversation: &Conversation| conversation.posts.iter().map(|e| e.snippet.clone()).collect();
        (found.iter().map(texts).collect(), hidden)
    }

    #[test]
    fn answers_stand_under_what_they_answer_and_pins_stand_first() {
        let mut posts = vec![
            post("1", "ett", None, None),
            post("2", "två", None, None),
            post("3", "svar på ett", None, Some("1")),
            post("4", "svar på svaret", None, Some("3")),
            post("5", "svar på något borta", None, Some("99")),
        ];
        let expected = |text: &[&[&str]]| -> Vec<Vec<String>> {
            text.iter()
                .map(|c| c.iter().map(|t| (*t).to_owned()).collect())
                .collect()
        };
        assert_eq!(
            shape(&posts, 50).0,
            expected(&[
                &["svar på något borta"],
                &["två"],
                &["ett", "svar på ett", "svar på svaret"]
            ])
        );
        posts[2].pinned = true;
        assert_eq!(shape(&posts, 50).0[0].len(), 3);
        let (shown, hidden) = shape(&posts, 2);
        assert_eq!((shown.len(), hidden), (2, 3));
    }

    #[test]
    fn what_many_got_alike_stands_once_and_nobody_is_named_in_full() {
        let posts: Vec<Posted> = (0..10)
            .map(|n| {
                post(
                    &n.to_string(),
                    "Koka vattnet.",
                    Some(&format!("+4670000{n:04}")),
                    None,
                )
            })
            .collect();
        let (found, hidden) = conversations(&posts, 50, MANNER);
        assert_eq!((found.len(), hidden), (1, 0));
        let entry = &found[0].posts[0];
        assert_eq!((entry.recipients.len(), entry.more_recipients), (3, 7));
        assert!(
            entry.recipients.iter().all(|to| to.chars().count() == 3),
            "{:?}",
            entry.recipients
        );
        // The same one twice is two messages: that is what a practice must show.
        let twice = [posts[0].clone(), posts[0].clone()];
        assert_eq!(shape(&twice, 50).0.len(), 2);
    }

    #[test]
    fn a_post_keeps_its_id_and_no_two_have_the_same() {
        let posts = vec![
            post("at://did:plc:1/å b", "ett", None, None),
            post("2", "två", None, None),
            post("2", "tre", None, None),
        ];
        let ids = |posts: &[Posted], most| -> Vec<String> {
            let (found, _) = conversations(posts, most, MANNER);
            let entries = found.iter().flat_map(|conversation| &conversation.posts);
            entries.map(|entry| entry.id.clone()).collect()
        };
        let all = ids(&posts, 50);
        assert_eq!(all, ["konto:2:2", "konto:2", "konto:at___did_plc_1___b"]);
        assert_eq!(
            ids(&posts, 2),
            all[..2],
            "what is not shown any more changes nothing"
        );
        assert_eq!(ids(&posts[..2], 50), all[1..], "what comes later changes nothing");
    }

    #[test]
    fn a_headline_that_stands_above_the_text_is_not_its_first_line_too() {
        let mut one = post("1", "Koka vattnet\n\nDet kan göra dig sjuk.", None, None);
        let text = |one: &Posted, heads| -> String {
            let manner = Manner { heads, ..MANNER };
            let entry = entry(one, &[], "x", false, manner);
            entry.text.into_iter().map(|piece| piece.text).collect()
        };
        assert_eq!(text(&one, true), one.text, "nothing stands above it");
        one.subject = Some("Koka vattnet".to_owned());
        assert_eq!(text(&one, true), "Det kan göra dig sjuk.");
        assert_eq!(text(&one, false), one.text);
        one.text = "Koka vattnet i Forserum.".to_owned();
        assert_eq!(text(&one, true), one.text, "a sentence that begins alike");
    }

    #[test]
    fn a_card_is_titled_by_the_page_that_it_leads_to() {
        for (link, expected) in [
            (
                "http://127.0.0.1:4000/site/kris/vatten",
                crate::wall::page::SITE_TITLE,
            ),
            ("https://nassjo.se/kris/koka-vattnet/", "Koka vattnet"),
            ("https://nassjo.se/", "nassjo.se"),
            ("https://nassjo.se", "nassjo.se"),
        ] {
            assert_eq!(title(link), expected, "{link}");
        }
    }
}
