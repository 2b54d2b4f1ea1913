//! What of an account's face is read in the same way on every service: its texts, its links, its picture, what is wrong.
//!
//! All of it was written by others. It is capped, and of its addresses only the one of the picture is asked, without any
//! credential and without following a redirect.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use sha2::{Digest, Sha256};
use url::{Host, Url};

use super::transport::{Effect, Transport};
use super::{Latest, Rights};
use crate::clock::Timestamp;
use crate::model::Reason;

/// Longest text of a profile that is kept, in characters.
const MAX_TEXT: usize = 5000;
/// Most texts and most links of a profile.
const MAX_PIECES: usize = 30;
/// Most posts of a profile.
pub(super) const LATEST: usize = 10;
/// How long the picture of an account is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What pictures begin with: a page that says it is one is none.
const MAGIC: [&[u8]; 5] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM"];

/// Something that is wrong though the account answers.
pub(super) fn flaw(code: &str, text: impl AsRef<str>) -> Reason {
    Reason::new(code, text)
}

/// A flaw for each right that is missing; `without` says what is not done then.
pub(super) fn missing<'a>(
    rights: &'a Rights,
    without: &'a [(&str, &str)],
) -> impl Iterator<Item = Reason> + 'a {
    rights.missing.iter().map(move |right| {
        let lost = without.iter().find(|(name, _)| name == right);
        let lost = lost.map_or("some of our work cannot be done", |(_, lost)| lost);
        flaw(
            "missing-right",
            format!("the credential lacks {right}: {lost}; make one that has it"),
        )
    })
}

/// The texts that say something, plain and capped.
pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let texts = texts.into_iter().map(|text| {
        let kept = |c: &char| *c == '\n' || !c.is_control();
        text.trim()
            .chars()
            .filter(kept)
            .take(MAX_TEXT)
            .collect::<String>()
    });
    texts.filter(|text| !text.is_empty()).take(MAX_PIECES).collect()
}

/// The addresses that are some, each once.
pub(super) fn links<'a>(links: impl IntoIterator<Item = &'a str>) -> Vec<Url> {
    let mut all = Vec::new();
    for link in links {
        let url = Url::parse(link.trim()).ok();
        let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.as_str().len() <= 2000);
        if let Some(url) = url.filter(|url| !all.contains(url)) {
            all.push(url);
        }
    }
    all.truncate(MAX_PIECES);
    all
}

/// The addresses that stand in a text.
pub(super) fn links_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"'))
        .map(|word| word.trim_start_matches(['(', '[', '”', '»']))
        .filter(|word| word.starts_with("https://") || word.starts_with("http://"))
        .map(|word| word.trim_end_matches(['.', ',', ')', ';', ':', '!', '?']))
}

/// A post that stands on an account, if it has an id and a time.
pub(super) fn latest(id: Option<&str>, at: Option<Timestamp>, by: Option<&str>) -> Option<Latest> {
    let brief = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(100).collect() };
    Some(Latest {
        remote_id: id.filter(|id| !id.is_empty() && id.len() <= 400)?.to_owned(),
        at: at?,
        by: by.map(brief).filter(|by| !by.is_empty()),
    })
}

/// The latest posts, newest first, capped.
pub(super) fn newest(posts: impl IntoIterator<Item = Latest>) -> Vec<Latest> {
    let mut posts: Vec<Latest> = posts.into_iter().collect();
    posts.sort_by_key(|post| std::cmp::Reverse(post.at));
    posts.truncate(LATEST);
    posts
}

/// SHA-256 of the picture at `address`, in hex. `None` if there is none, or if it cannot be had as anybody gets it: a
/// profile without its picture is still a profile.
pub(super) async fn picture(http: &Transport, service: &Url, address: Option<&str>) -> Option<String> {
    let url = Url::parse(address?).ok()?;
    if !may_be_asked(&url, service) {
        return None;
    }
    let asked = http.send(http.request(Method::GET, url), Effect::Reads);
    let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    digest(answer.status, answer.header("content-type")?, &answer.body)
}

/// SHA-256 of a picture that was answered, in hex.
pub(super) fn digest(status: u16, media_type: &str, body: &[u8]) -> Option<String> {
    let is_picture = media_type.trim().to_ascii_lowercase().starts_with("image/")
        || media_type.starts_with("application/octet-stream");
    (status == 200 && is_picture && MAGIC.iter().any(|magic| body.starts_with(magic)))
        .then(|| hex::encode(Sha256::digest(body)))
}

/// Whether an address from a profile may be asked: it may name any host of the internet, and no machine of ours by its
/// number. A service on this machine may name itself.
fn may_be_asked(url: &Url, service: &Url) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let is_service =
        url.host() == service.host() && url.port_or_known_default() == service.port_or_known_default();
    match url.host() {
        Some(Host::Domain(name)) => is_service || (url.scheme() == "https" && name.contains('.')),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => is_service,
        None => false,
    }
}

/// The facts that have something to say.
pub(super) fn facts<const N: usize>(facts: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    let told = facts.into_iter().filter_map(|(name, value)| {
        let value: String = value?.chars().filter(|c| !c.is_control()).take(150).collect();
        (!value.is_empty()).then(|| (name.to_owned(), value))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_fetched_from_the_internet_or_from_the_service_itself() {
        let url = |text: &str| Url::parse(text).unwrap();
        let real = url("https://social.example/");
        let wall = url("http://127.0.0.1:4711/live/m/");
        for (address, service, may) in [
            ("https://files.social.example/a.png", &real, true),
            ("http://files.social.example/a.png", &real, false),
            ("https://192.168.0.1/a.png", &real, false),
            ("https://[::1]/a.png", &real, false),
            ("https://localhost/a.png", &real, false),
            ("https://eva:ek@files.social.example/a.png", &real, false),
            ("http://127.0.0.1:4711/live/m/_avatar", &real, false),
            ("http://127.0.0.1:4711/live/m/_avatar", &wall, true),
            ("http://127.0.0.1:4712/_avatar", &wall, false),
        ] {
            assert_eq!(
                may_be_asked(&url(address), service),
                may,
                "{address} on {service}"
            );
        }
    }

    #[test]
    fn only_a_picture_is_one() {
        let png = b"\x89PNG\r\n\x1a\n...";
        assert!(digest(200, "image/png", png).is_some());
        assert_eq!(digest(200, "text/html", png), None);
        assert_eq!(digest(302, "image/png", png), None);
        assert_eq!(digest(200, "image/svg+xml", b"<svg/>"), None);
    }

    #[test]
    fn texts_and_links_of_a_profile_are_capped_and_told_once() {
        assert_eq!(texts(["", "  hej \u{7}då\n", "x"]), ["hej då", "x"]);
        assert_eq!(texts([&*"å".repeat(9000)])[0].chars().count(), MAX_TEXT);
        let found = links([
            "https://nassjo.se",
            "https://nassjo.se/",
            "javascript:x",
            "nassjo.se",
        ]);
        assert_eq!(found.len(), 1);
        let text = "Läs (https://nassjo.se/a). http://b.se!";
        assert_eq!(
            links_in(text).collect::<Vec<_>>(),
            ["https://nassjo.se/a", "http://b.se"]
        );
    }
}
