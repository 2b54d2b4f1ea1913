//! The links of a page that somebody else serves, and which of them lead to a profile in social media. The page is data:
//! read to a bound, never followed.

use std::collections::BTreeSet;

use url::Url;

/// Most links that are looked at.
const MOST_LINKS: usize = 5000;
/// Longest address that is taken, in bytes.
const LONGEST: usize = 2000;

/// Every web address that the page links to, each once, in the order of the page.
pub fn links(html: &str, page: &Url) -> Vec<Url> {
    let (mut rest, mut found, mut seen) = (html, Vec::new(), BTreeSet::new());
    while let Some((_, after)) = rest.split_once('<') {
        rest = after;
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let (name, attributes) = split_at(after, |c| !c.is_ascii_alphanumeric());
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            // Nothing in them is markup.
            "script" | "style" | "textarea" | "template" => rest = past_end(after, &name),
            "a" | "area" | "link" => {
                let (href, after) = href(attributes);
                rest = after;
                let url = href
                    .filter(|href| href.len() <= LONGEST)
                    .and_then(|href| page.join(href.trim()).ok())
                    .filter(|url| matches!(url.scheme(), "https" | "http"));
                if let Some(url) = url
                    && seen.insert(url.to_string())
                {
                    found.push(url);
                    if found.len() == MOST_LINKS {
                        return found;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn split_at(text: &str, at: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(at).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What comes after `</name`; nothing if it never ends.
fn past_end<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("</") {
        if after
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
        {
            return after;
        }
        rest = after;
    }
    ""
}

/// The value of `href`, and what comes after the tag.
fn href(attributes: &str) -> (Option<String>, &str) {
    let (mut rest, mut found) = (attributes, None);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            return (found, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        let (name, after) = split_at(rest, |c| c.is_whitespace() || matches!(c, '=' | '>' | '/'));
        let value;
        if let Some(after) = after.trim_start().strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inner = after.strip_prefix(quote).unwrap_or_default();
                    inner.split_once(quote).unwrap_or((inner, ""))
                }
                _ => split_at(after, |c| c.is_whitespace() || c == '>'),
            };
        } else {
            // A bare name, or a stray sign that is passed over so that this ends.
            (value, rest) = ("", if name.is_empty() { skip_one(after) } else { after });
        }
        if name.eq_ignore_ascii_case("href") && found.is_none() {
            found = Some(decoded(value));
        }
    }
}

fn skip_one(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// Character references as far as addresses have them.
fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let known = after
            .split_once(';')
            .filter(|(name, _)| name.len() <= 8)
            .and_then(|(name, after)| {
                let c = match name {
                    "amp" => Some('&'),
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => {
                        let number = name.strip_prefix('#')?;
                        let code = match number.strip_prefix(['x', 'X']) {
                            Some(hex) => u32::from_str_radix(hex, 16).ok(),
                            None => number.parse().ok(),
                        };
                        code.and_then(char::from_u32)
                    }
                };
                Some((c?, after))
            });
        let (c, after) = known.unwrap_or(('&', after));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What an address leads to, in a form in which two spellings of it are the same: `facebook:nassjokommun` for a profile,
/// host and path for anything else.
pub fn key(url: &Url) -> String {
    profile(url).unwrap_or_else(|| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}{}", host(url), url.path().trim_end_matches('/'))
    })
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let bare = ["www.", "m.", "mobile.", "web."]
        .into_iter()
        .find_map(|start| host.strip_prefix(start));
    // `m.se` is a host of its own.
    bare.filter(|bare| bare.contains('.')).unwrap_or(&host).to_owned()
}

/// Names that platforms keep for themselves at the place of a profile's.
const NO_PROFILES: &[&str] = &[
    "about",
    "accounts",
    "addstickers",
    "dialog",
    "events",
    "explore",
    "groups",
    "hashtag",
    "help",
    "home",
    "i",
    "intent",
    "iv",
    "joinchat",
    "legal",
    "login",
    "p",
    "permalink.php",
    "photo",
    "photo.php",
    "plugins",
    "policies",
    "policy",
    "privacy",
    "proxy",
    "reel",
    "reels",
    "search",
    "settings",
    "share",
    "share.php",
    "sharer",
    "sharer.php",
    "stories",
    "story.php",
    "terms",
    "tos",
    "tv",
    "watch",
];

/// The profile that an address leads to, if it is one of a platform that we know. A post or a search is none.
pub fn profile(url: &Url) -> Option<String> {
    let path: Vec<String> = url
        .path_segments()
        .map(|segments| {
            segments
                .filter(|s| !s.is_empty())
                .map(str::to_lowercase)
                .collect()
        })
        .unwrap_or_default();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let (platform, name) = match (host(url).as_str(), path.as_slice()) {
        ("facebook.com" | "fb.com", ["profile.php"]) => {
            let id = url
                .query_pairs()
                .find(|(name, _)| name == "id")
                .map(|(_, id)| id.into_owned());
            return Some(format!("facebook:{}", id?));
        }
        ("facebook.com" | "fb.com", ["pages" | "people" | "p", .., id]) => ("facebook", *id),
        ("facebook.com" | "fb.com" | "fb.me", [name]) => ("facebook", *name),
        ("instagram.com", [name]) => ("instagram", *name),
        ("threads.net" | "threads.com", [name]) if name.starts_with('@') => ("threads", *name),
        ("x.com" | "twitter.com", [name]) => ("x", *name),
        ("linkedin.com" | "se.linkedin.com", ["company" | "school" | "showcase" | "in", name]) => {
            ("linkedin", *name)
        }
        ("bsky.app", ["profile", name]) => ("bluesky", *name),
        ("t.me" | "telegram.me", [name] | ["s", name]) => ("telegram", *name),
        ("youtube.com", [name]) if name.starts_with('@') => ("youtube", *name),
        ("youtube.com", ["channel" | "c" | "user", name]) => ("youtube", *name),
        ("tiktok.com", [name]) if name.starts_with('@') => ("tiktok", *name),
        ("snapchat.com", ["add", name]) => ("snapchat", *name),
        ("discord.gg", [name]) | ("discord.com", ["invite", name]) => ("discord", *name),
        ("wa.me", [name]) | ("whatsapp.com", ["channel", name]) => ("whatsapp", *name),
        // Mastodon and its kin are on any host.
        (host, [name]) if name.starts_with('@') && name.len() > 1 => {
            return Some(format!("fediverse:{}@{host}", name.trim_start_matches('@')));
        }
        _ => return None,
    };
    let name = name.trim_start_matches('@');
    (!name.is_empty() && !NO_PROFILES.contains(&name)).then(|| format!("{platform}:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    fn found(html: &str) -> Vec<String> {
        let page = url("https://nassjo.se/kommun/konton");
        links(html, &page).into_iter().map(String::from).collect()
    }

    #[test]
    fn links_are_found_however_they_are_written() {
        let html = "<A HREF='https://a.example/?x=1&amp;y=2'>a</A> <a class=b href=/b data-c=\"<a href='https://no.example'>\">b</a>\
                    <a\nhref = \"https:&#x2f;&#47;c.example\">c</a><link rel=me href=https://d.example>\
                    <a>e</a><a href=\"mailto:f@example.se\">f</a><a href=\"https://a.example/?x=1&amp;y=2\">again</a>";
        assert_eq!(
            found(html),
            [
                "https://a.example/?x=1&y=2",
                "https://nassjo.se/b",
                "https://c.example/",
                "https://d.example/"
            ]
        );
    }

    #[test]
    fn what_is_no_markup_is_no_link() {
        assert_eq!(
            found("<!-- <a href='https://a.example'>a</a> --> 1 < 2 <p href=https://b.example>"),
            [""; 0]
        );
        assert_eq!(
            found("<script>'<a href=\"https://a.example\">'</SCRIPT x><a href=https://c.example>"),
            ["https://c.example/"]
        );
        assert_eq!(found("<style><a href=https://a.example>"), [""; 0]);
    }

    #[test]
    fn a_broken_page_ends_all_the_same() {
        for html in [
            "<a href=\"https://a.example",
            "<a =",
            "<a / = > <",
            "<a href",
            "<a '\">",
            "<!--",
            "<åäö <a ö=å href='ä'>",
            "<a href=&#xffffffff;>",
            "<a &;=",
        ] {
            found(html);
        }
        let many = "<a href=https://a.example>".repeat(10);
        assert_eq!(found(&many).len(), 1);
    }

    #[test]
    fn two_spellings_of_a_profile_are_the_same() {
        for (a, b) in [
            (
                "https://www.facebook.com/nassjokommun",
                "https://m.facebook.com/NassjoKommun/?ref=page",
            ),
            (
                "https://www.facebook.com/profile.php?id=100",
                "https://facebook.com/people/Nassjo-kommun/100/",
            ),
            ("https://twitter.com/nassjokommun", "https://x.com/nassjokommun/"),
            (
                "https://www.threads.net/@nassjokommun",
                "https://www.threads.com/@nassjokommun",
            ),
            ("https://t.me/nassjokommun", "https://t.me/s/nassjokommun"),
            (
                "https://social.nassjo.se/@kommun",
                "https://social.nassjo.se/@Kommun/",
            ),
            ("https://nassjo.se/kris", "https://www.nassjo.se/kris/"),
        ] {
            assert_eq!(key(&url(a)), key(&url(b)), "{a} {b}");
        }
    }

    #[test]
    fn a_post_or_a_share_button_is_no_profile() {
        for none in [
            "https://www.facebook.com/sharer/sharer.php?u=https://nassjo.se",
            "https://www.facebook.com/sharer.php",
            "https://x.com/intent/tweet",
            "https://x.com/smhi/status/1",
            "https://www.instagram.com/p/abc",
            "https://www.linkedin.com/shareArticle",
            "https://bsky.app/profile/nassjo.se/post/3k",
            "https://www.facebook.com/",
            "https://nassjo.se/kris",
            "https://t.me/share",
        ] {
            assert_eq!(profile(&url(none)), None, "{none}");
        }
        for some in [
            "https://www.tiktok.com/@falsk",
            "https://www.youtube.com/channel/UC1",
            "https://mastodon.social/@falsk",
        ] {
            assert!(profile(&url(some)).is_some(), "{some}");
        }
    }
}
