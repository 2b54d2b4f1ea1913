//! How long a text is, by the rule of the account that it is for.

use unicode_segmentation::UnicodeSegmentation;

use super::TextRule;
use crate::model::Unit;

pub mod weighted;

/// What Mastodon counts for every web address, however long it is.
/// <https://docs.joinmastodon.org/user/posting/#text>, read 2026-08.
const MASTODON_LINK: usize = 23;

/// The length of `text` in `unit`.
pub fn count(text: &str, unit: Unit) -> usize {
    match unit {
        Unit::Characters => text.chars().count(),
        Unit::Utf16 => text.encode_utf16().count(),
        Unit::Graphemes => text.graphemes(true).count(),
        Unit::MastodonCharacters => as_mastodon_counts(text).graphemes(true).count(),
        Unit::ThreadsCharacters => text.chars().map(as_threads_counts).sum(),
        Unit::WeightedCharacters => weighted::count(text),
        Unit::LittleText => {
            let escapes = text.chars().filter(|c| is_reserved_in_little_text(*c)).count();
            text.encode_utf16().count() + escapes
        }
        Unit::Bytes => text.len(),
        Unit::SmsParts => super::sms::size(text).parts,
    }
}

/// Whether LinkedIn's "little text" wants a backslash before this sign.
/// <https://learn.microsoft.com/linkedin/marketing/community-management/shares/little-text-format>, read 2026-01.
pub fn is_reserved_in_little_text(c: char) -> bool {
    "\\|{}@[]()<>#*_~".contains(c)
}

/// The first limit of `rule` that `text` exceeds: its length, the limit, and what both count. `None` if it fits.
pub fn excess(text: &str, rule: &TextRule) -> Option<(usize, usize, Unit)> {
    let first = rule.limit.map(|limit| (limit, rule.unit));
    first.into_iter().chain(rule.also).find_map(|(limit, unit)| {
        let length = count(text, unit);
        (length > limit).then_some((length, limit, unit))
    })
}

/// What Threads counts for `c`: an emoji counts as its UTF-8 bytes
/// (<https://developers.facebook.com/docs/threads/posts>, read 2026-08). What may be part of an emoji is taken for one,
/// so that the count errs upwards.
fn as_threads_counts(c: char) -> usize {
    let of_emoji = matches!(
        c,
        '\u{200d}' | '\u{203c}' | '\u{2049}' | '\u{20e3}' | '\u{2122}' | '\u{2139}' | '\u{3030}' | '\u{303d}'
            | '\u{3297}' | '\u{3299}' | '\u{fe0f}'
            | '\u{2190}'..='\u{21ff}'
            | '\u{2300}'..='\u{23ff}'
            | '\u{24c2}'
            | '\u{25a0}'..='\u{27bf}'
            | '\u{2900}'..='\u{297f}'
            | '\u{2b00}'..='\u{2bff}'
            | '\u{1f000}'..='\u{e007f}'
    );
    if of_emoji { c.len_utf8() } else { 1 }
}

/// The text with every address replaced by 23 letters and every `@user@domain` by `@user`, as Mastodon's
/// `StatusLengthValidator` does before it counts. Where our reading of an address could differ from Mastodon's much
/// longer expression, ours takes less for an address, so that the count errs upwards.
fn as_mastodon_counts(text: &str) -> String {
    let mut counted = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let (taken, put) = if let Some((length, weight)) = address(before, rest) {
            (length, "x".repeat(weight))
        } else if let Some((length, user)) = mention(before, rest) {
            (length, format!("@{user}"))
        } else {
            (c.len_utf8(), c.to_string())
        };
        counted.push_str(&put);
        let (done, next) = rest.split_at(taken);
        before = done.chars().next_back();
        rest = next;
    }
    counted
}

/// The length in bytes of the web address that `rest` begins with, and what it counts as; `before` is the character in
/// front of it.
fn address(before: Option<char>, rest: &str) -> Option<(usize, usize)> {
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '@' | '＠' | '$' | '#' | '＃')) {
        return None;
    }
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| {
            rest.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })?
        .len();
    let after = rest.get(scheme..)?;
    let host: usize = span(after, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || accented(c)
    });
    let host = after.get(..host)?.trim_end_matches(['.', '-', '_']).len();
    if !is_domain(after.get(..host)?) {
        return None; // localhost or a bare address: Mastodon counts it letter by letter
    }
    let tail = after.get(host..)?;
    let port = tail
        .strip_prefix(':')
        .map_or(0, |digits| span(digits, |c| c.is_ascii_digit()))
        .min(5);
    let port = if port == 0 { 0 } else { port + 1 };
    let tail = tail.get(port..)?;
    let path = if tail.starts_with(['/', '?']) {
        without_trailing_punctuation(tail.get(..span(tail, in_path))?)
    } else {
        0
    };
    let length = scheme + host + port + path;
    let known = after.get(..host)?.rsplit('.').next().is_some_and(is_known_top);
    let weight = if known {
        MASTODON_LINK
    } else {
        rest.get(..length)?.chars().count().max(MASTODON_LINK)
    };
    Some((length, weight))
}

/// Whether Mastodon is sure to know the top domain: its list has every country and, at any time, most others. An address
/// under one that it does not know is counted letter by letter, so those that we are not sure of count as the longer.
fn is_known_top(top: &str) -> bool {
    let top = top.to_ascii_lowercase();
    let common = [
        "com", "org", "net", "info", "edu", "gov", "int", "app", "dev", "social", "online", "name", "biz",
    ];
    top.len() == 2 || common.contains(&top.as_str())
}

/// Whether `host` ends in a top domain, as every address that Mastodon shortens does.
fn is_domain(host: &str) -> bool {
    host.rsplit_once('.').is_some_and(|(name, top)| {
        !name.is_empty()
            && !host.contains("..")
            && top.len() >= 2
            && (top.chars().all(|c| c.is_ascii_alphabetic()) || top.to_ascii_lowercase().starts_with("xn--"))
    })
}

/// Latin letters with marks, which Mastodon takes in domains and paths: å, ä, ö, é.
fn accented(c: char) -> bool {
    matches!(c, '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{ff}')
}

/// What may stand in the path or query of an address in running text.
fn in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!*';:=+,.$/%#[]-_~@|&()?".contains(c) || accented(c)
}

/// The length in bytes of what is left when punctuation that belongs to the sentence is taken from the end; a closing
/// parenthesis stays if it was opened within the address.
fn without_trailing_punctuation(path: &str) -> usize {
    let mut path = path;
    while let Some(last) = path.chars().next_back() {
        let opened = path.matches('(').count() >= path.matches(')').count();
        let stays = match last {
            ')' => opened,
            c => c.is_ascii_alphanumeric() || "=_#/+-&".contains(c) || accented(c),
        };
        if stays {
            break;
        }
        path = path.strip_suffix(last).unwrap_or_default();
    }
    path.len()
}

/// The length in bytes of the mention `@user@domain` that `rest` begins with, and its user.
fn mention(before: Option<char>, rest: &str) -> Option<(usize, &str)> {
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '/' | '=')) {
        return None;
    }
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let after = rest.strip_prefix('@')?;
    let user = after.get(..span(after, word))?;
    let domain = after.get(user.len()..)?.strip_prefix('@')?;
    let domain = domain.get(..span(domain, word))?.trim_end_matches(['.', '-']);
    let plain = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !plain(user) || user.ends_with(['.', '-']) || !plain(domain) || domain.contains("..") {
        return None;
    }
    Some((2 + user.len() + domain.len(), user))
}

/// The length in bytes of the longest start of `text` whose characters are all `wanted`.
fn span(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mastodon(text: &str) -> usize {
        count(text, Unit::MastodonCharacters)
    }

    #[test]
    fn each_unit_counts_its_own_way() {
        // å as one letter, a family of emoji joined to one sign, a combining mark that has no letter of its own.
        let text = "å👨‍👩‍👧x\u{323}";
        assert_eq!(count(text, Unit::Graphemes), 3);
        assert_eq!(count(text, Unit::Characters), 8);
        assert_eq!(count(text, Unit::Utf16), 11);
        assert_eq!(count(text, Unit::Bytes), 2 + 18 + 3);
    }

    #[test]
    fn threads_counts_an_emoji_as_its_bytes_and_a_letter_as_one() {
        let threads = |text: &str| count(text, Unit::ThreadsCharacters);
        assert_eq!(threads("Å å–é “så”"), 10);
        assert_eq!(threads("😀"), 4);
        assert_eq!(threads("🇸🇪 ⚠️"), 8 + 1 + 6);
        assert_eq!(threads("👨‍👩‍👧"), 4 + 3 + 4 + 3 + 4);
    }

    #[test]
    fn mastodon_counts_every_address_as_23() {
        for address in [
            "https://nassjo.se",
            "http://a.se/",
            "HTTPS://nassjo.se/kris/dricksvatten?omr%C3%A5de=1&x=2#rad",
            "https://nassjo.se:8443/kris",
            "https://sv.wikipedia.org/wiki/Vatten_(dryck)",
            "https://nässjö.se/å/ä",
        ] {
            assert_eq!(mastodon(address), 23, "{address}");
            assert_eq!(mastodon(&format!("Läs {address}, nu")), 4 + 23 + 4, "{address}");
            assert_eq!(mastodon(&format!("({address})\n")), 1 + 23 + 2, "{address}");
            assert_eq!(mastodon(&format!("{address} {address}")), 47, "{address}");
        }
    }

    #[test]
    fn punctuation_after_an_address_is_counted_beside_it() {
        for tail in [
            ".", ",", ":", ";", "!", "?", "'", "\"", ")", "]", "...", ").", "»", "…",
        ] {
            let text = format!("https://nassjo.se/kris{tail}");
            assert_eq!(mastodon(&text), 23 + tail.graphemes(true).count(), "{text}");
        }
    }

    #[test]
    fn what_mastodon_does_not_link_is_counted_letter_by_letter() {
        for text in [
            "nassjo.se/kris",
            "http://localhost/kris/dricksvatten",
            "http://127.0.0.1:8080/kris/dricksvatten",
            "https://",
            "xhttps://nassjo.se/kris/dricksvatten",
            "ftp://nassjo.se/kris",
            "https://..se",
        ] {
            assert_eq!(mastodon(text), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn an_address_that_mastodon_may_not_know_counts_as_the_longer() {
        let long = "https://intranet.kommun.lokal/kris/dricksvatten";
        assert_eq!(mastodon(long), long.len());
        assert_eq!(mastodon("https://a.lokal"), 23);
        assert_eq!(
            mastodon("påhttp://a.se"),
            2 + 23,
            "only a–z in front of it hides an address"
        );
    }

    #[test]
    fn a_mention_counts_without_its_domain() {
        assert_eq!(mastodon("@kommun@mastodon.social"), 7);
        assert_eq!(mastodon("Hej @kommun@mastodon.social."), 4 + 7 + 1);
        assert_eq!(mastodon("@kommun"), 7);
        assert_eq!(mastodon("kris@nassjo.se"), 14);
        assert_eq!(mastodon("x@kommun@mastodon.social"), 24);
    }

    #[test]
    fn the_second_limit_holds_as_well() {
        let rule = TextRule {
            limit: Some(300),
            unit: Unit::Graphemes,
            also: Some((3000, Unit::Bytes)),
        };
        assert_eq!(excess(&"å".repeat(300), &rule), None);
        assert_eq!(excess(&"å".repeat(301), &rule), Some((301, 300, Unit::Graphemes)));
        let families = "👨‍👩‍👧‍👦".repeat(200);
        assert_eq!(excess(&families, &rule), Some((5000, 3000, Unit::Bytes)));
    }

    proptest! {
        #[test]
        fn counting_never_fails_and_keeps_its_order(text in "(\\PC|[ \\n@:/.]|https://|nassjo.se|å){0,60}") {
            let graphemes = count(&text, Unit::Graphemes);
            let characters = count(&text, Unit::Characters);
            prop_assert!(graphemes <= characters);
            prop_assert!(characters <= count(&text, Unit::Utf16));
            prop_assert!(count(&text, Unit::Utf16) <= count(&text, Unit::Bytes));
        }

        #[test]
        fn without_address_or_mention_mastodon_counts_graphemes(text in "[a-zåäö .,!\\n👍]{0,200}") {
            prop_assert_eq!(mastodon(&text), count(&text, Unit::Graphemes));
        }

        #[test]
        fn an_address_weighs_the_same_whatever_its_path(path in "[a-z0-9/_-]{0,200}") {
            prop_assert_eq!(mastodon(&format!("Läs på https://nassjo.se/{path}")), 7 + 23);
        }
    }
}
