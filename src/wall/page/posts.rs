//! What a feed shows: posts put together as their readers see them. What answers a post stands under it; what many
//! recipients got alike stands once; what is pinned stands first.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::{Posted, ShownPicture};
use super::{Piece, is_web, pieces};
use crate::model::Recipient;

/// Recipients of one text that are named.
const NAMED: usize = 3;

/// A post and what answers it, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct Conversation {
    pub is_pinned: bool,
    pub posts: Vec<Entry>,
}

#[derive(Debug, Serialize)]
pub(super) struct Entry {
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
    host: String,
}

#[derive(Debug, Serialize)]
struct Picture {
    digest: String,
    alt: String,
}

/// The conversations of a feed, the latest first and what is pinned before all; and how many posts are not shown.
pub(super) fn conversations(
    posts: &[Posted],
    most: usize,
    makes_cards: bool,
    zone: &TimeZone,
) -> (Vec<Conversation>, usize) {
    let merged = merged(posts);
    let hidden = merged.len().saturating_sub(most);
    let shown = merged.get(hidden..).unwrap_or_default();
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
    for (at, ((post, recipients), root)) in shown.iter().zip(&roots).enumerate() {
        let entry = entry(post, recipients, makes_cards, at != *root, zone);
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

fn entry(posted: &Posted, recipients: &[&str], makes_cards: bool, is_answer: bool, zone: &TimeZone) -> Entry {
    let inline = pieces(&posted.text);
    let links: Vec<String> = posted
        .links
        .iter()
        .filter(|link| is_web(link) && !inline.iter().any(|piece| piece.href.as_ref() == Some(link)))
        .cloned()
        .collect();
    let card = posted.links.iter().rev().find(|link| is_web(link) && makes_cards);
    let at = posted.at.to_zoned_datetime(zone.clone());
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
    let snippet: String = posted.text.split_whitespace().collect::<Vec<_>>().join(" ");
    Entry {
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
        address: told("address").or_else(|| posted.links.iter().find(|link| is_web(link)).cloned()),
        button: told("button"),
        is_deleted: posted.deleted_at.is_some(),
        is_edited: posted.edited_at.is_some(),
        is_answer: is_answer || posted.in_reply_to.is_some(),
        text: inline,
        snippet: snippet.chars().take(90).collect(),
        card: card.map(|href| Card {
            host: host(href),
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

fn host(link: &str) -> String {
    let url = url::Url::parse(link).ok();
    let host = url.as_ref().and_then(url::Url::host_str);
    host.map_or_else(|| link.to_owned(), str::to_owned)
}

/// What a name in `shown` is called on the page; `None` if it is shown in another way, or is nothing to be seen.
fn word(name: &str) -> Option<&str> {
    match name {
        "alphabet" | "cost" | "from" | "parts" | "address" | "button" | "picture" | "click" | "lang"
        | "tags" => None,
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

    fn shape(posts: &[Posted], most: usize) -> (Vec<Vec<String>>, usize) {
        let (found, hidden) = conversations(posts, most, false, &TimeZone::UTC);
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
        let (found, hidden) = conversations(&posts, 50, false, &TimeZone::UTC);
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
}
