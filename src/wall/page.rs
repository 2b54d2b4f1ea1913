//! What people see of the wall: every simulated account's feed, newest first, and a stand-in for the municipality's site.
//! Everything shown came from outside and is escaped.

use http::{HeaderValue, Response};
use jiff::tz::TimeZone;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use super::Posted;
use super::state::Shared;
use crate::model::{Mode, Recipient};

const FEED: &str = include_str!("../../templates/wall/feed.html");
const SITE: &str = include_str!("../../templates/wall/site.html");
const SCRIPT: &str = include_str!("../../templates/wall/wall.js");
const STYLE: &str = include_str!("../../templates/wall/wall.css");

/// Nothing from elsewhere, no inline script or style: what a post contains cannot run.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Posts that are shown of each account.
const POSTS_SHOWN: usize = 50;

#[derive(Serialize)]
struct Feed {
    name: String,
    account: String,
    channel: &'static str,
    badge: Option<&'static str>,
    posts: Vec<Entry>,
    more: usize,
}

#[derive(Serialize)]
struct Entry {
    at: String,
    iso: String,
    subject: Option<String>,
    recipient: Option<String>,
    /// What else is to be seen of it, in words.
    shown: Vec<String>,
    is_answer: bool,
    is_deleted: bool,
    is_edited: bool,
    text: Vec<Piece>,
    links: Vec<String>,
}

/// A run of text; a link if `href` is set.
#[derive(Serialize)]
struct Piece {
    text: String,
    href: Option<String>,
}

/// The page of all feeds.
pub(super) fn feed(shared: &Shared) -> Response<Vec<u8>> {
    let zone = TimeZone::get("Europe/Stockholm").unwrap_or(TimeZone::UTC);
    let mut feeds: Vec<(Option<crate::clock::Timestamp>, Feed)> = shared
        .sites()
        .iter()
        .map(|site| {
            let posts = site.posts(shared);
            let latest = posts.iter().map(|p| p.at).max();
            let shown: Vec<Entry> = posts
                .iter()
                .rev()
                .take(POSTS_SHOWN)
                .map(|p| entry(p, &zone))
                .collect();
            let feed = Feed {
                name: site.name.clone(),
                account: site.account.to_string(),
                channel: site.kind.id,
                badge: badge(site.mode),
                more: posts.len() - shown.len(),
                posts: shown,
            };
            (latest, feed)
        })
        .filter(|(latest, feed)| latest.is_some() || feed.account != "smtp")
        .collect();
    feeds.sort_by_key(|(latest, _)| std::cmp::Reverse(*latest));
    let feeds: Vec<Feed> = feeds.into_iter().map(|(_, feed)| feed).collect();
    let count: usize = feeds.iter().map(|feed| feed.posts.len() + feed.more).sum();
    render(FEED, context! { feeds => Value::from(Serde(&feeds)), count })
}

/// A small page that stands in for the municipality's site, at any path.
pub(super) fn municipality() -> Response<Vec<u8>> {
    render(SITE, context! {})
}

/// The script that keeps the page fresh where scripts run.
pub(super) fn script() -> Response<Vec<u8>> {
    respond("text/javascript; charset=utf-8", SCRIPT.to_owned())
}

/// The style sheet.
pub(super) fn style() -> Response<Vec<u8>> {
    respond("text/css; charset=utf-8", STYLE.to_owned())
}

fn badge(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Live => None,
        Mode::Drill => Some("ÖVNING"),
        Mode::Test => Some("TEST"),
    }
}

fn entry(posted: &Posted, zone: &TimeZone) -> Entry {
    let inline = pieces(&posted.text);
    let links = posted
        .links
        .iter()
        .filter(|link| is_web(link) && !inline.iter().any(|piece| piece.href.as_ref() == Some(link)))
        .cloned()
        .collect();
    Entry {
        at: posted
            .at
            .to_zoned_datetime(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        iso: posted.at.to_string(),
        subject: posted.subject.clone(),
        recipient: posted
            .recipient
            .as_ref()
            .map(|recipient| Recipient::new(recipient.as_str()).masked()),
        shown: posted
            .shown
            .iter()
            .map(|(name, value)| format!("{}: {value}", word(name)))
            .collect(),
        is_answer: posted.in_reply_to.is_some(),
        is_deleted: posted.deleted_at.is_some(),
        is_edited: posted.edited_at.is_some(),
        text: inline,
        links,
    }
}

/// What a name in `shown` is called on the page.
fn word(name: &str) -> &str {
    match name {
        "alphabet" => "alfabet",
        "cost" => "kostnad",
        "from" => "avsändare",
        "parts" => "antal sms",
        "template" => "mall",
        other => other,
    }
}

fn is_web(link: &str) -> bool {
    link.starts_with("https://") || link.starts_with("http://")
}

/// The web addresses in a text, each once.
pub(super) fn links(text: &str) -> Vec<String> {
    let mut found: Vec<String> = pieces(text).into_iter().filter_map(|piece| piece.href).collect();
    let mut known = std::collections::BTreeSet::new();
    found.retain(|link| known.insert(link.clone()));
    found
}

/// Splits a text at its web addresses; nothing of it is lost.
fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(start) = ["https://", "http://"].iter().filter_map(|s| rest.find(s)).min() {
        let (before, from) = rest.split_at(start);
        let end = from
            .find(|c: char| c.is_whitespace() || "<>\"'".contains(c))
            .unwrap_or(from.len());
        let (link, after) = from.split_at(end);
        // A full stop after an address belongs to the sentence.
        let bare = link.trim_end_matches(['.', ',', ')', ';', ':', '!', '?']);
        plain.push_str(before);
        found.push(Piece {
            text: std::mem::take(&mut plain),
            href: None,
        });
        found.push(Piece {
            text: bare.to_owned(),
            href: Some(bare.to_owned()),
        });
        plain.push_str(link.strip_prefix(bare).unwrap_or_default());
        rest = after;
    }
    plain.push_str(rest);
    found.push(Piece {
        text: plain,
        href: None,
    });
    found.retain(|piece| !piece.text.is_empty());
    found
}

fn render(template: &str, context: Value) -> Response<Vec<u8>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let page = environment
        .template_from_str(template)
        .and_then(|template| template.render(context));
    match page {
        Ok(page) => respond("text/html; charset=utf-8", page),
        Err(wrong) => super::sim::error(500, &format!("the page cannot be made: {wrong:#}")),
    }
}

fn respond(kind: &'static str, text: String) -> Response<Vec<u8>> {
    let mut response = Response::new(text.into_bytes());
    for (name, value) in [
        ("content-type", kind),
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_lost_when_its_links_are_found() {
        for text in [
            "",
            "Koka vattnet. Läs mer: https://nassjo.se/kris.",
            "https://a.se http://b.se/å, och (https://c.se/x?y=1) slut",
            "https://",
        ] {
            let whole: String = pieces(text).into_iter().map(|p| p.text).collect();
            assert_eq!(whole, text);
        }
        let links: Vec<_> = pieces("Se https://nassjo.se/kris.")
            .into_iter()
            .filter_map(|p| p.href)
            .collect();
        assert_eq!(links, ["https://nassjo.se/kris"]);
    }

    #[test]
    fn a_post_cannot_put_markup_on_the_page() {
        let page = render(
            "{% for p in text %}{% if p.href %}<a href=\"{{ p.href }}\">{{ p.text }}</a>{% else %}{{ p.text }}{% endif %}{% endfor %}",
            context! { text => Value::from(Serde(pieces("<script>x</script> javascript:y https://a.se/\"onclick="))) },
        );
        let page = String::from_utf8(page.into_body()).unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("href=\"javascript"), "{page}");
        assert!(
            page.contains("<a href=\"https:&#x2f;&#x2f;a.se&#x2f;\">"),
            "{page}"
        );
    }
}
