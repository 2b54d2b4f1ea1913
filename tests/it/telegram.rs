//! Telegram through the real wire protocol: both ledgers agree, whatever the network does. The simulator holds every
//! call against the machine-readable specification of the Bot API.

use std::sync::Arc;

use vardkase::model::{Picture, Post, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, How, Posted};

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    Practice::start("telegram", "chat = \"@nassjokommun\"").await
}

fn pictured(text: &str) -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: b"\x89PNG\r\n\x1a\n en bild".to_vec(),
            media_type: "image/png",
            width: 9,
            height: 9,
            alt: "Karta över området".to_owned(),
        })),
        ..post(text)
    }
}

fn long() -> String {
    format!("{}\n\n{TEXT}", "Åskväder på väg 🌩. ".repeat(100))
}

fn standing(practice: &Practice) -> Vec<Posted> {
    let mut posts = practice.ledger();
    posts.retain(|posted| posted.deleted_at.is_none());
    posts
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, TEXT);
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].shown["link_card"], LINK);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(receipt.note, None);
    let client = reqwest::Client::builder().build().unwrap();
    let page = client.get(receipt.url.unwrap()).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), TEXT);
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_public_preview() {
    for how in lost_answers() {
        for post in [post(TEXT), pictured(TEXT)] {
            let practice = practice().await;
            practice.strike("POST", how.clone());
            let err = practice.channel.publish(&post).await.unwrap_err();
            assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
            practice.assert_discreet(&err);
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{how:?}");
            let Settled::Found(found) = practice.settle(&post).await else {
                panic!("{how:?}: not found");
            };
            assert_eq!(found.remote_id, ledger[0].remote_id);
            // The receipt knows what kind of message it is: the change reaches it.
            let new = Post {
                picture: post.picture.clone(),
                ..crate::social::post("Rättelse. Nässjö kommun. https://nassjo.se/")
            };
            practice.channel.edit(&found, &new).await.unwrap();
            assert!(practice.ledger()[0].text.starts_with("Rättelse"));
        }
    }
}

#[tokio::test]
async fn a_text_that_is_found_again_without_its_picture_says_so() {
    // The first of two messages; and the text that goes alone because the picture is refused.
    for (text, refused) in [(long(), false), (TEXT.to_owned(), true)] {
        let practice = practice().await;
        if refused {
            practice.strike_path(
                "sendPhoto",
                1,
                How::Answer {
                    status: 400,
                    headers: Vec::new(),
                    body: Some(
                        r#"{"ok":false,"error_code":400,"description":"Bad Request: IMAGE_PROCESS_FAILED"}"#
                            .to_owned(),
                    ),
                },
            );
        }
        practice.strike_path("sendMessage", 1, How::DoneThenCut(CutAt::Reset));
        let post = pictured(&text);
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{err}");
        let Settled::Found(receipt) = practice.settle(&post).await else {
            panic!("it stands there");
        };
        let note = receipt.note.unwrap();
        assert!(note.contains("without the picture"), "{note}");
        assert_eq!(note.contains("refused"), refused, "{note}");
        assert!(practice.ledger()[0].pictures.is_empty());
    }
}

#[tokio::test]
async fn absence_is_never_claimed() {
    let practice = practice().await;
    let post = post(TEXT);
    practice.strike("POST", How::Cut);
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    let settled = practice.settle(&post).await;
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "not-in-preview"));
    assert!(practice.ledger().is_empty());
}

#[tokio::test]
async fn a_short_text_stands_under_its_picture_with_the_description() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&pictured(TEXT)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, format!("{TEXT}\n\nBild: Karta över området"));
    assert_eq!(ledger[0].pictures.len(), 1);
    assert_eq!(ledger[0].pictures[0].media_type, "image/png");
    assert_eq!(receipt.note, None);
}

#[tokio::test]
async fn a_picture_that_the_service_cannot_use_leaves_the_text() {
    let practice = practice().await;
    let mut post = pictured(TEXT);
    if let Some(picture) = &mut post.picture {
        Arc::make_mut(picture).bytes = b"ingen bild".to_vec();
    }
    let receipt = practice.channel.publish(&post).await.unwrap();
    assert!(receipt.note.unwrap().contains("without the picture"));
    let ledger = practice.ledger();
    assert_eq!((ledger.len(), ledger[0].text.as_str()), (1, TEXT));
    assert!(ledger[0].pictures.is_empty());
}

#[tokio::test]
async fn cut_at_any_request_a_long_text_with_picture_is_out_once() {
    let mut cuts = vec![How::Cut];
    cuts.extend(
        [
            CutAt::BeforeHeaders,
            CutAt::Reset,
            CutAt::MidHeaders,
            CutAt::MidBody,
            CutAt::TruncatedJson,
        ]
        .map(How::DoneThenCut),
    );
    let text = long();
    for (number, request) in ["sendMessage", "sendPhoto"].into_iter().enumerate() {
        for how in &cuts {
            let practice = practice().await;
            let post = pictured(&text);
            practice.strike_at(number, how.clone());
            let mut outcome = practice.channel.publish(&post).await;
            if let Err(error) = &outcome {
                assert_eq!(error.as_str(), "unknown", "{request} {how:?}");
                match practice.settle(&post).await {
                    Settled::Found(receipt) => outcome = Ok(receipt),
                    // Nothing can tell: a person decides, and here decides to send it again.
                    Settled::Unclear(_) if *how == How::Cut => {
                        outcome = practice.channel.publish(&post).await;
                    }
                    other @ (Settled::Absent | Settled::Refused(_) | Settled::Unclear(_)) => {
                        panic!("{request} {how:?}: {other:?}")
                    }
                }
            }
            let receipt = outcome.unwrap();
            // Whoever repeats it or asks again changes nothing.
            let texts = |posts: &[Posted]| posts.iter().filter(|posted| posted.text == text.trim()).count();
            let pictures =
                |posts: &[Posted]| posts.iter().filter(|posted| !posted.pictures.is_empty()).count();
            if request == "sendPhoto" {
                assert!(receipt.note.is_some(), "{how:?}: {receipt:?}");
                practice.channel.publish(&post).await.unwrap();
                assert!(matches!(practice.settle(&post).await, Settled::Found(_)));
            }
            let posts = standing(&practice);
            assert_eq!(texts(&posts), 1, "{request} {how:?}");
            assert!(pictures(&posts) <= 1, "{request} {how:?}");
            assert_eq!(
                posts.iter().find(|p| p.text == text.trim()).unwrap().remote_id,
                receipt.remote_id
            );
        }
    }
}

#[tokio::test]
async fn an_alert_is_a_thread_and_goes_on_when_a_post_of_it_is_gone() {
    let practice = practice().await;
    let first = practice.channel.publish(&post(TEXT)).await.unwrap();
    let second = practice
        .channel
        .publish(&reply("Nytt. Nässjö kommun.", &first))
        .await
        .unwrap();
    assert_eq!(second.note, None);
    practice.channel.retract(&second).await.unwrap();
    practice.channel.retract(&second).await.unwrap();
    let third = reply("Faran över. Nässjö kommun.", &second);
    let alone = practice.channel.publish(&third).await.unwrap();
    assert!(alone.note.unwrap().contains("stands alone"));
    let parents: Vec<_> = practice
        .ledger()
        .into_iter()
        .map(|posted| posted.in_reply_to)
        .collect();
    assert_eq!(parents, [None, Some(first.remote_id), None]);
}

#[tokio::test]
async fn a_post_is_changed_pinned_unpinned_and_taken_away_with_its_picture() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&pictured(&long())).await.unwrap();
    assert_eq!(standing(&practice).len(), 2);
    for _ in 0..2 {
        practice
            .channel
            .edit(&receipt, &post("Rättelse. Nässjö kommun."))
            .await
            .unwrap();
        practice.channel.pin(&receipt).await.unwrap();
    }
    let posts = standing(&practice);
    assert_eq!(posts[0].text, "Rättelse. Nässjö kommun.");
    assert!(posts[0].edited_at.is_some() && posts[0].pinned);
    for _ in 0..2 {
        practice.channel.unpin(&receipt).await.unwrap();
    }
    assert!(!standing(&practice)[0].pinned);
    for _ in 0..2 {
        practice.channel.retract(&receipt).await.unwrap();
        assert!(standing(&practice).is_empty());
    }
    let gone = practice.channel.edit(&receipt, &post(TEXT)).await.unwrap_err();
    assert_eq!(gone.as_str(), "refused");
}

#[tokio::test]
async fn the_service_has_its_limits_and_says_when_they_end() {
    let practice = practice().await;
    let err = practice
        .channel
        .publish(&post(&"å".repeat(4097)))
        .await
        .unwrap_err();
    assert_eq!(err.as_str(), "refused");
    // Counted in UTF-16 units: these are 2,049 characters.
    let err = practice
        .channel
        .publish(&post(&"🚰".repeat(2049)))
        .await
        .unwrap_err();
    assert_eq!(err.as_str(), "refused");
    practice.channel.publish(&post(&"🚰".repeat(2048))).await.unwrap();
    let mut taken = 1;
    let busy = loop {
        match practice.channel.publish(&post(TEXT)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(taken >= 20, "{taken}");
    assert!(matches!(busy, SendError::Busy { until: Some(_), .. }), "{busy:?}");
}

#[tokio::test]
async fn a_dead_token_is_a_matter_for_a_person() {
    let practice = practice().await;
    for token in ["7000001055:AAdead00000000000000000000000000", "trasig"] {
        let account = practice.with_secret("bot_token", token);
        let err = account.publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(err.as_str(), "credential");
        assert!(!err.to_string().contains(token));
    }
    let identity = practice.channel.verify().await.unwrap();
    assert_eq!(identity.name, "Nässjö kommun");
    assert!(practice.ledger().is_empty());
    let nobody = practice.channel.retract(&Receipt::of("999")).await;
    assert!(nobody.is_ok(), "what is not there is gone: {nobody:?}");
}
