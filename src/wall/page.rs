//! What people see of the wall: every simulated account's feed, newest first, and a stand-in for the municipality's site.
//! Everything shown came from outside and is escaped.

use http::{HeaderValue, Response};
use jiff::tz::TimeZone;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use self::posts::{Conversation, Manner};
use super::state::Shared;
use crate::model::Mode;

mod posts;

const FEED: &str = include_str!("../../templates/wall/feed.html");
/// What the page is put together from, by name.
const PARTS: &[(&str, &str)] = &[
    ("chat.html", include_str!("../../templates/wall/chat.html")),
    ("inbox.html", include_str!("../../templates/wall/inbox.html")),
    ("micro.html", include_str!("../../templates/wall/micro.html")),
    ("network.html", include_str!("../../templates/wall/network.html")),
    ("parts.html", include_str!("../../templates/wall/parts.html")),
    ("phone.html", include_str!("../../templates/wall/phone.html")),
    ("photo.html", include_str!("../../templates/wall/photo.html")),
    ("push.html", include_str!("../../templates/wall/push.html")),
    ("site.html", include_str!("../../templates/wall/page.html")),
];
const SITE: &str = include_str!("../../templates/wall/site.html");
/// The title of the stand-in for the municipality's site.
const SITE_TITLE: &str = "Nässjö kommun – (övningssida)";
const SCRIPT: &str = include_str!("../../templates/wall/wall.js");
const STYLE: &str = include_str!("../../templates/wall/wall.css");

/// Nothing from elsewhere, no inline script or style: what a post contains cannot run.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Posts that are shown of each account.
const POSTS_SHOWN: usize = 50;

#[derive(Serialize)]
struct Feed {
    /// Stays the same, so that one can link to it: the account, with its mode if that is not live.
    id: String,
    name: String,
    /// The first letter of its name, for the picture of whoever has none.
    initial: String,
    account: String,
    channel: &'static str,
    family: &'static str,
    badge: Option<&'static str>,
    conversations: Vec<Conversation>,
    more: usize,
    total: usize,
}

/// A run of text; a link if `href` is set.
#[derive(Debug, Serialize)]
struct Piece {
    text: String,
    href: Option<String>,
}

/// How the posts of a channel look. Each has its template under `templates/wall/` and its class in the style sheet.
fn family(channel: &str) -> &'static str {
    match channel {
        "mastodon" | "bluesky" | "threads" | "x" => "micro",
        "facebook-page" | "linkedin" => "network",
        "instagram" => "photo",
        "slack" | "teams" | "discord" | "mattermost" | "matrix" | "telegram" | "whatsapp" => "chat",
        "sms-46elks" => "phone",
        "email" => "inbox",
        "ntfy" | "web-push" => "push",
        // Pages, screens and whatever takes documents.
        _ => "site",
    }
}

fn manner<'a>(feed: &'a str, channel: &str, cards: bool, zone: &'a TimeZone) -> Manner<'a> {
    Manner {
        feed,
        cards,
        heads: family(channel) == "site" || channel == "web-push",
        segments: family(channel) == "phone",
        zone,
    }
}

/// No account's id has a colon in it, so that no two feeds have the same.
fn feed_id(account: &str, mode: Mode) -> String {
    match mode {
        Mode::Live => account.to_owned(),
        Mode::Drill | Mode::Test => format!("{account}:{mode}"),
    }
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
            let id = feed_id(site.account.as_str(), site.mode);
            let manner = manner(&id, site.kind.id, site.kind.can.link_card, &zone);
            let (conversations, more) = posts::conversations(&posts, POSTS_SHOWN, manner);
            let feed = Feed {
                id,
                name: site.name.clone(),
                initial: site.name.chars().take(1).collect::<String>().to_uppercase(),
                account: site.account.to_string(),
                channel: site.kind.id,
                family: family(site.kind.id),
                badge: badge(site.mode),
                conversations,
                more,
                total: posts.len(),
            };
            (latest, feed)
        })
        .filter(|(latest, feed)| latest.is_some() || feed.account != "smtp")
        .collect();
    feeds.sort_by_key(|(latest, _)| std::cmp::Reverse(*latest));
    let feeds: Vec<Feed> = feeds.into_iter().map(|(_, feed)| feed).collect();
    let count: usize = feeds.iter().map(|feed| feed.total).sum();
    render(FEED, context! { feeds => Value::from(Serde(&feeds)), count })
}

/// A picture that stands in a post, by its digest.
pub(super) fn picture(shared: &Shared, digest: &str) -> Response<Vec<u8>> {
    let posts = shared.ledger();
    let mut pictures = posts.into_iter().flat_map(|post| post.pictures);
    // What it says of itself is data: only what browsers show as a picture, and nothing else, is handed on.
    let found = pictures.find(|picture| picture.digest == digest && !picture.bytes.is_empty());
    let kind = match found.as_ref().map(|picture| picture.media_type.as_str()) {
        Some("image/jpeg") => "image/jpeg",
        Some("image/png") => "image/png",
        Some(_) | None => return super::sim::error(404, "no such picture"),
    };
    respond(kind, found.map(|picture| picture.bytes).unwrap_or_default())
}

/// A small page that stands in for the municipality's site, at any path.
pub(super) fn municipality() -> Response<Vec<u8>> {
    render(SITE, context! { title => SITE_TITLE })
}

/// The script that keeps the page fresh where scripts run.
pub(super) fn script() -> Response<Vec<u8>> {
    respond("text/javascript; charset=utf-8", SCRIPT.into())
}

/// The style sheet.
pub(super) fn style() -> Response<Vec<u8>> {
    respond("text/css; charset=utf-8", STYLE.into())
}

fn badge(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Live => None,
        Mode::Drill => Some("ÖVNING"),
        Mode::Test => Some("TEST"),
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
    let added = PARTS
        .iter()
        .try_for_each(|(name, source)| environment.add_template(name, source));
    let page = added
        .and_then(|()| environment.template_from_str(template))
        .and_then(|template| template.render(context));
    match page {
        Ok(page) => respond("text/html; charset=utf-8", page.into_bytes()),
        Err(wrong) => super::sim::error(500, &format!("the page cannot be made: {wrong:#}")),
    }
}

fn respond(kind: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
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

    fn shown(channel: &'static str, posts: &[super::super::Posted]) -> String {
        let zone = TimeZone::UTC;
        let manner = manner("konto:drill", channel, true, &zone);
        let (conversations, more) = posts::conversations(posts, 50, manner);
        let feed = Feed {
            id: feed_id("konto", Mode::Drill),
            name: "Nässjö kommun".to_owned(),
            initial: "N".to_owned(),
            account: "konto".to_owned(),
            channel,
            family: family(channel),
            badge: badge(Mode::Drill),
            conversations,
            more,
            total: posts.len(),
        };
        let page = render(
            FEED,
            context! { feeds => Value::from(Serde(&[feed])), count => posts.len() },
        );
        let text = String::from_utf8(page.body().clone()).unwrap();
        assert_eq!(page.status(), 200, "{channel}: {text}");
        text
    }

    #[test]
    fn every_channel_shows_all_that_residents_see_of_a_post() {
        let picture = super::super::ShownPicture {
            alt: "En <kastrull>".to_owned(),
            media_type: "image/png".to_owned(),
            digest: "abc123".to_owned(),
            bytes: vec![1],
        };
        let first = super::super::Posted {
            subject: Some("Koka vattnet".to_owned()),
            pictures: vec![picture],
            pinned: true,
            links: vec!["https://nassjo.se/kris".to_owned()],
            shown: std::collections::BTreeMap::from([
                ("parts".to_owned(), "2".to_owned()),
                ("button".to_owned(), "Läs mer".to_owned()),
            ]),
            ..posts::tests::post("1", "Koka <b>allt</b> vatten. https://nassjo.se/kris", None, None)
        };
        let edited = super::super::Posted {
            edited_at: Some(crate::clock::from_micros(1)),
            ..posts::tests::post("2", "Också Stensjön.", Some("+46700000067"), Some("1"))
        };
        let gone = super::super::Posted {
            deleted_at: Some(crate::clock::from_micros(2)),
            ..posts::tests::post("3", "Fel.", None, None)
        };
        for kind in crate::channel::REGISTRY {
            let page = shown(kind.id, &[first.clone(), edited.clone(), gone.clone()]);
            for part in [
                format!("class=\"feed {} on-{}\"", family(kind.id), kind.id).as_str(),
                "Nässjö kommun",
                "ÖVNING",
                "Koka &lt;b&gt;allt&lt;&#x2f;b&gt; vatten.",
                "Också Stensjön.",
                "ändrat",
                "borttaget",
                "<article class=\"deleted\"",
                "<article class=\"answer\"",
                "href=\"https:&#x2f;&#x2f;nassjo.se&#x2f;kris\"",
                "<section id=\"konto:drill\"",
                "href=\"#konto:drill\"",
                "id=\"konto:drill:1\"",
                "href=\"#konto:drill:2\"",
            ] {
                assert!(page.contains(part), "{}: no {part} in\n{page}", kind.id);
            }
            assert!(
                !page.contains("+46700000067") && !page.contains("<b>allt"),
                "{page}"
            );
            let pictured = kind.can.picture;
            assert!(
                !pictured || page.contains("src=\"&#x2f;") || page.contains("src=\"/_wall/picture/abc123\"")
            );
            assert!(!pictured || page.contains("En &lt;kastrull&gt;"), "{page}");
        }
        let alone = std::slice::from_ref(&first);
        let long = super::super::Posted {
            text: format!("{}Slut.", "Koka vattnet i Forserum. ".repeat(8)),
            ..first.clone()
        };
        let segments = |page: &str| {
            let cut = page.split_once("<ol class=\"segments\">");
            cut.map_or(0, |(_, rest)| rest.matches("<li>").count())
        };
        let phone = shown("sms-46elks", std::slice::from_ref(&long));
        assert!(phone.contains("2 sms") && segments(&phone) == 2, "{phone}");
        assert_eq!(segments(&shown("sms-46elks", alone)), 0);
        assert!(
            shown("mastodon", alone).contains("<b>Kris</b>"),
            "the card's title"
        );
        assert!(shown("teams", alone).contains("Läs mer"));
        assert!(shown("mastodon", alone).contains("Fäst överst"));
    }

    /// WCAG 2.1 AA for text: what is written stands out from what is behind it, by day and by night.
    #[test]
    fn every_colour_can_be_read_on_its_ground() {
        use crate::compose::card::{Colour, LEAST_CONTRAST, contrast};
        let (day, night) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let (night, rest) = night.split_once("\n}").unwrap();
        let value = |block: &str, name: &str| -> Option<Colour> {
            let (_, after) = block.split_once(&format!("--{name}: "))?;
            let hex: String = after
                .chars()
                .skip(1)
                .take_while(char::is_ascii_hexdigit)
                .collect();
            let hex = if hex.len() == 3 {
                hex.chars().flat_map(|c| [c, c]).collect()
            } else {
                hex
            };
            format!("#{hex}").parse().ok()
        };
        for block in [day, night] {
            for ground in ["bg", "card", "tint", "bubble"] {
                for ink in ["ink", "soft", "link", "badge"] {
                    let (one, other) = (value(block, ground).unwrap(), value(block, ink).unwrap());
                    assert!(
                        contrast(one, other) >= LEAST_CONTRAST,
                        "{ink} on {ground}: {}",
                        contrast(one, other)
                    );
                }
            }
        }
        // A name's letter is white on the channel's colour.
        let brands: Vec<&str> = rest.split("--brand: ").skip(1).collect();
        assert!(brands.len() > 15, "{}", brands.len());
        for brand in brands {
            let colour = value(&format!("--brand: {brand}"), "brand").unwrap();
            assert!(contrast(colour, Colour([255; 3])) >= LEAST_CONTRAST, "{colour:?}");
        }
    }
}
