//! Against values of the official implementation, and against its own conformance data where they are at hand.

use std::path::{Path, PathBuf};

use super::*;

/// Counted with twitter-text 3.1.0 for npm.
const ORACLE: &[(&str, usize)] = &[
    ("", 0),
    ("nassjo.se", 23),
    ("nässjo.se", 23),
    ("(nassjo.se)", 25),
    ("nassjo.se.", 24),
    ("Läs mer: nassjo.se", 32),
    ("Se nassjo.se/a och nassjo.se/b", 54),
    ("kommunen@nassjo.se", 18),
    ("SMHI.Det", 8),
    ("bl.a", 4),
    ("åäö", 3),
    ("cafe\u{301}", 4),
    ("–", 1),
    ("”", 1),
    ("°", 1),
    ("½", 1),
    ("\u{2011}", 1),
    ("…", 2),
    ("•", 2),
    ("€", 2),
    ("→", 2),
    ("\u{2212}", 2),
    ("✅", 2),
    ("⚠", 2),
    ("⚠\u{fe0f}", 2),
    ("🚨", 2),
    ("🇸🇪", 2),
    ("1\u{fe0f}\u{20e3}", 2),
    ("👨\u{200d}👩\u{200d}👧\u{200d}👦", 2),
    ("\n", 1),
    ("\u{202a}", 2),
    ("VMA: Brand i Nässjö centrum. https://nassjo.se/kris", 52),
];

/// From the conformance data of twitter-text (Apache-2.0): the counts of configuration 3.
const COUNTS: &[(&str, usize)] = &[
    ("Hi http://test.co", 26),
    ("http://test.co", 23),
    ("H🐱☺👨\u{200d}👩\u{200d}👧\u{200d}👦", 7),
    ("😷👾😡🔥💩", 10),
    ("🙋🏽👨\u{200d}🎤", 4),
    ("1\u{20e3}", 2),
    ("Unicode 9.0 emoji: 🤠; 💃; 💃🏾", 29),
    (
        "randomurlrandomurlrandomurlrandomurlrandomurlrandomurlrandomurls.com",
        68,
    ),
    ("ABC\u{202a}\u{ffff}ABC\u{fffe}", 12),
    ("\u{2066}\u{202a}http://foobar.پاکستان/\u{202c}\u{2069}", 31),
];

/// From the same: the addresses of a text.
const LINKS: &[(&str, &[&str])] = &[
    (
        "text http://xo.com/~matthew+%ff-,.;x",
        &["http://xo.com/~matthew+%ff-,.;x"],
    ),
    (
        "text http://en.wikipedia.org/wiki/Primer_(film)",
        &["http://en.wikipedia.org/wiki/Primer_(film)"],
    ),
    (
        "test http://example.comだよね.comtest/hogehoge",
        &["http://example.com"],
    ),
    ("text http://no-tld", &[]),
    (
        "text http://domain.com-that-you-should-have-put-a-space-after",
        &[],
    ),
    ("text http://foo.com?#foo text", &["http://foo.com?#foo"]),
    (
        "foo.baz foo.co.jp www.xxxxxxx.baz www.foo.co.uk wwwww.xxxxxxx foo.comm foo.somecom foo.govedu foo.jp",
        &["foo.co.jp", "www.foo.co.uk", "foo.jp"],
    ),
    (
        "twitter.comこれは日本語です。example.com中国語t.co/abcde한국twitter.com",
        &["twitter.com", "example.com", "t.co/abcde", "twitter.com"],
    ),
    (
        "Email me at name.al-lastname@foo.com or name.al+lastname@foo.com",
        &[],
    ),
    ("text http://domain-dash_2314352345_dfasd.foo-cow_4352.com", &[]),
    ("test http://a_b.c-d.com", &["http://a_b.c-d.com"]),
    ("test http://twitter-.com", &[]),
    ("Hello http://xn--はじめよう.com/index.html", &[]),
];

fn found(text: &str) -> Vec<&str> {
    links(text)
        .into_iter()
        .map(|range| text.get(range).unwrap())
        .collect()
}

#[test]
fn texts_count_as_with_the_official_implementation() {
    for (text, expected) in ORACLE.iter().chain(COUNTS) {
        assert_eq!(count(text), *expected, "{text:?}");
    }
    let with_link = |letters: usize| format!("{} https://nassjo.se", "a".repeat(letters));
    assert_eq!((count(&with_link(256)), count(&with_link(257))), (280, 281));
    for (text, expected) in LINKS {
        assert_eq!(found(text), *expected, "{text:?}");
    }
}

#[test]
fn every_known_top_domain_makes_an_address_without_protocol() {
    assert!(TOP_DOMAINS.len() > 1500, "{}", TOP_DOMAINS.len());
    for top in ["se", "nu", "eu", "com", "org", "net", "info"] {
        assert_eq!(found(&format!("Läs nassjo.{top}, nu")), [format!("nassjo.{top}")]);
    }
    assert_eq!(found("kl. 15.30 och 10.45"), [""; 0]);
}

#[test]
fn what_only_looks_like_an_emoji_is_weighed_sign_by_sign() {
    assert_eq!(count("→\u{fe0f}"), 4, "an arrow that has no picture");
    assert_eq!(count("⚠\u{fe0e}"), 4, "asked for as text");
    assert_eq!(count("©"), 2, "a picture, though its code point is light");
    assert_eq!(count("1"), 1);
}

#[test]
fn counting_ends_soon_on_a_text_made_to_be_slow() {
    // A bound against what explodes, wide enough for a machine that does much else.
    let begun = std::time::Instant::now();
    for text in [
        "(".repeat(1000),
        "a.".repeat(500),
        ".-".repeat(500),
        "å".repeat(1000),
    ] {
        count(&text);
        count(&format!("https://a.se/{text}"));
    }
    assert!(
        begun.elapsed() < std::time::Duration::from_mins(1),
        "{:?}",
        begun.elapsed()
    );
}

/// The folder of specifications that lies beside the repository on the machines where it is worked on.
fn reference() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../shared", "../../shared"].map(|shared| root.join(shared).join("reference/specs/x"));
    beside.into_iter().find(|folder| folder.is_dir())
}

/// A text as the conformance files write it, between double quotes.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.trim_matches('\'').to_owned();
    };
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let digits = match chars.next().unwrap() {
            'u' => 4,
            'U' => 8,
            'n' => {
                out.push('\n');
                continue;
            }
            other => {
                out.push(other);
                continue;
            }
        };
        let code: String = chars.by_ref().take(digits).collect();
        out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
    }
    out
}

/// The cases of one section: the text, and the lines of what is expected.
fn cases(file: &str, section: &str) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in file.lines() {
        if line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':') {
            inside = line.trim() == format!("{section}:");
        } else if inside {
            if let Some(text) = line.trim().strip_prefix("text: ") {
                all.push((unquoted(text.trim()), Vec::new()));
            } else if let Some((_, lines)) = all.last_mut() {
                lines.push(line.trim().to_owned());
            }
        }
    }
    all
}

#[test]
fn the_conformance_data_of_twitter_text_are_met() {
    let Some(folder) = reference() else {
        println!(
            "skipped: the conformance data of twitter-text are not at hand; the cases above stand for them"
        );
        return;
    };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut wrong = Vec::new();
    let mut looked_at = 0;
    let validate = read("twitter-text-conformance-validate.yml");
    for section in [
        "WeightedTweetsWithDiscountedEmojiCounterTest",
        "UnicodeDirectionalMarkerCounterTest",
    ] {
        for (text, expected) in cases(&validate, section) {
            let weight = expected
                .iter()
                .find_map(|line| line.strip_prefix("weightedLength: "));
            let weight: usize = weight.unwrap().parse().unwrap();
            looked_at += 1;
            if count(&text) != weight {
                wrong.push(format!("{} instead of {weight}: {text:.200}", count(&text)));
            }
        }
    }
    let extract = read("twitter-text-conformance-extract.yml");
    for (text, expected) in cases(&extract, "urls") {
        let list = expected.join(" ");
        let list = list.split_once('[').unwrap().1.rsplit_once(']').unwrap().0;
        let expected: Vec<String> = list
            .split(", ")
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(unquoted)
            .collect();
        looked_at += 1;
        if found(&text) != expected {
            wrong.push(format!("{:?} instead of {expected:?}: {text}", found(&text)));
        }
    }
    let tlds = read("twitter-text-conformance-tlds.yml");
    for section in ["country", "generic"] {
        for (text, _) in cases(&tlds, section) {
            looked_at += 1;
            if found(&text) != [text.as_str()] {
                wrong.push(format!("{:?}: {text}", found(&text)));
            }
        }
    }
    println!("{looked_at} cases");
    assert!(looked_at > 1600, "only {looked_at} cases were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
