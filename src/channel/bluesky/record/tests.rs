use proptest::prelude::*;

use super::*;
use crate::channel::testing::{post, with_key};
use crate::wall::bluesky::lexicon_fault;

#[test]
fn a_post_is_the_record_that_the_lexicon_wants() {
    let mut post = post(
        "Koka vattnet i Nässjö 🚰. Läs på https://nassjo.se/kris. /Nässjö kommun\nhttps://nassjo.se/kris",
    );
    let record = of(&post).unwrap();
    assert_eq!(lexicon_fault(&record), None);
    insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap());
    let mut root = Receipt::of("at://did:plc:a/app.bsky.feed.post/3maaaaaaaaaa2");
    root.version = Some("bafyreia1".to_owned());
    post.root = Some(root.clone());
    assert_eq!(of(&post).unwrap()["reply"]["parent"]["cid"], "bafyreia1");
    post.parent = Some(Receipt {
        version: Some("bafyreia2".to_owned()),
        ..root
    });
    let record = of(&post).unwrap();
    assert_eq!(lexicon_fault(&record), None);
    assert_eq!(record["reply"]["root"]["cid"], "bafyreia1");
    assert_eq!(record["reply"]["parent"]["cid"], "bafyreia2");
}

#[test]
fn the_limits_hold_in_both_units() {
    let thumb = "👍🏽"; // one letter of 8 bytes
    assert!(of(&post(&thumb.repeat(300))).is_ok());
    assert_eq!(of(&post(&thumb.repeat(301))).unwrap_err().code, "too-long");
    let family = "👨‍👩‍👧‍👦"; // one letter of 25 bytes
    assert!(of(&post(&family.repeat(120))).is_ok());
    assert_eq!(of(&post(&family.repeat(121))).unwrap_err().code, "too-long");
}

#[test]
fn a_key_is_the_same_for_each_attempt_and_sorts_by_time() {
    let one = post("x");
    assert_eq!(rkey(&one), rkey(&one.clone()));
    assert!(is_tid(&rkey(&one)));
    let mut later = with_key(post("x"), "0193f5b0-0000-7000-8000-000000000002");
    assert_ne!(rkey(&one), rkey(&later), "two deliveries in the same microsecond");
    later.accepted_at = crate::clock::from_micros(later.accepted_at.as_microsecond() + 1);
    assert!(rkey(&one) < rkey(&later));
    let mut first = post("x");
    first.accepted_at = crate::clock::from_micros(0);
    assert!(rkey(&first).starts_with("22222222222"), "{}", rkey(&first));
}

#[test]
fn links_are_found_without_the_sentence_around_them() {
    let link = "https://nassjo.se/kris)";
    for (text, found) in [
        ("Läs (https://a.se/b).", vec!["https://a.se/b"]),
        (
            "https://a.se, http://b.se/!",
            vec!["https://a.se", "http://b.se/"],
        ),
        ("se https://nassjo.se/kris).", vec!["https://nassjo.se/kris)"]),
        ("https:// och a.se", vec![]),
        ("åäö”https://a.se/å?ä=ö”", vec!["https://a.se/å?ä=ö"]),
    ] {
        let links: Vec<_> = links(text, link)
            .map(|(at, address)| {
                assert_eq!(text.get(at..at + address.len()), Some(address));
                address
            })
            .collect();
        assert_eq!(links, found, "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_the_text_the_lexicon_takes_the_record(text in "[åäöA-z 🚰\n.,()]{0,60}(https://[a-zåäö./?=()]{1,30}[ .,)]?)?.{0,60}") {
        let record = of(&post(&text)).unwrap();
        prop_assert_eq!(lexicon_fault(&record), None);
    }
}
