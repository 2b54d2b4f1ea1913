//! Matrix through the real wire protocol: both ledgers agree, whatever the network does.

use std::sync::Arc;

use vardkase::model::{Picture, Post, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    Practice::start(
        "matrix",
        "server = \"https://matrix.example\"\nroom = \"!kris:matrix.example\"",
    )
    .await
}

fn with_picture() -> Post {
    let picture = Picture {
        bytes: vec![0xff, 0xd8, 0xff, 1, 2, 3],
        media_type: "image/jpeg",
        width: 800,
        height: 600,
        alt: "Karta: Forserum är inom gränsen".to_owned(),
    };
    Post {
        picture: Some(Arc::new(picture)),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_posted_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("PUT", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{how:?}");
        assert_eq!(
            (ledger[0].text.as_str(), &ledger[0].links[..]),
            (TEXT, &[LINK.to_owned()][..])
        );
        assert_eq!(ledger[0].key.as_deref(), Some(post.key.as_str()));
        let settled = practice.settle(&post).await;
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == ledger[0].remote_id),
            "{how:?}: {settled:?}"
        );
        let again = practice.channel.publish(&post).await.unwrap();
        assert_eq!(
            again.remote_id, ledger[0].remote_id,
            "the id gives the same message"
        );
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
    }
}

#[tokio::test]
async fn a_cut_at_any_request_of_a_post_with_a_picture_loses_and_repeats_nothing() {
    let cuts = [
        How::Cut,
        How::DoneThenCut(CutAt::BeforeHeaders),
        How::DoneThenCut(CutAt::TruncatedJson),
        How::Answer {
            status: 500,
            headers: Vec::new(),
            body: None,
        },
    ];
    // Upload, picture, text.
    for number in 0..3 {
        for how in &cuts {
            let practice = practice().await;
            let post = with_picture();
            practice.strike_at(number, how.clone());
            let about = format!("{how:?} at request {number}");
            let receipt = match practice.channel.publish(&post).await {
                Ok(receipt) => receipt,
                Err(SendError::Unknown(_)) => match practice.settle(&post).await {
                    Settled::Found(receipt) => receipt,
                    Settled::Absent => practice.channel.publish(&post).await.unwrap(),
                    Settled::Refused(reason) | Settled::Unclear(reason) => panic!("{about}: {reason}"),
                },
                Err(other) => panic!("{about}: {other}"),
            };
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{about}: {ledger:#?}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id, "{about}");
            assert_eq!(ledger[0].text, TEXT, "{about}");
            assert_eq!(ledger[0].pictures.len(), 1, "{about}");
            assert_eq!(ledger[0].pictures[0].alt, "Karta: Forserum är inom gränsen");
            assert_eq!(receipt.note, None, "{about}");
            // All of it goes away together.
            practice.channel.retract(&receipt).await.unwrap();
            let ledger = practice.ledger();
            assert!(
                ledger[0].deleted_at.is_some() && ledger[0].pictures.is_empty(),
                "{about}"
            );
        }
    }
}

#[tokio::test]
async fn a_process_that_died_between_the_steps_goes_on_where_it_was() {
    let practice = practice().await;
    let post = with_picture();
    // The picture stands, the text was never sent.
    practice.strike_at(2, How::Cut);
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    let known = post.steps.all();
    assert_eq!(known.len(), 2, "{known:?}");
    let reborn = Post {
        steps: vardkase::model::Steps::of(known.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        ..post
    };
    assert_eq!(practice.settle(&reborn).await, Settled::Absent);
    let receipt = practice.channel.publish(&reborn).await.unwrap();
    assert_eq!(practice.seen("POST"), 1, "uploaded once");
    let ledger = practice.ledger();
    assert_eq!((ledger.len(), ledger[0].pictures.len()), (1, 1));
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
}

#[tokio::test]
async fn a_picture_whose_answer_was_lost_is_known_after_the_text_and_goes_away_with_it() {
    // A request that goes wrong is not counted for the next one: upload, picture; the picture once more; text; and the picture once more, which tells.
    let practice = practice().await;
    practice.strike_at(1, How::DoneThenCut(CutAt::BeforeHeaders));
    practice.strike_at(1, How::Cut);
    let receipt = practice.channel.publish(&with_picture()).await.unwrap();
    assert_eq!(receipt.note, None);
    assert_eq!(practice.standing()[0].pictures.len(), 1);
    practice.channel.retract(&receipt).await.unwrap();
    let ledger = practice.ledger();
    assert!(
        ledger[0].deleted_at.is_some() && ledger[0].pictures.is_empty(),
        "{ledger:?}"
    );
    // Where that does not tell either, it is said that nobody knows.
    let practice = self::practice().await;
    practice.strike_at(1, How::DoneThenCut(CutAt::BeforeHeaders));
    practice.strike_at(1, How::Cut);
    practice.strike_at(2, How::Cut);
    let receipt = practice.channel.publish(&with_picture()).await.unwrap();
    assert!(receipt.note.unwrap().contains("the picture may be missing"));
    // And when the answer to the text was lost.
    let practice = self::practice().await;
    practice.strike_at(
        0,
        How::Answer {
            status: 400,
            headers: Vec::new(),
            body: None,
        },
    );
    practice.strike_at(0, How::DoneThenCut(CutAt::BeforeHeaders));
    let post = with_picture();
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    let Settled::Found(receipt) = practice.settle(&post).await else {
        panic!("it stands there");
    };
    assert!(receipt.note.unwrap().contains("without its picture"));
}

#[tokio::test]
async fn a_text_whose_picture_the_server_refuses_goes_alone() {
    let practice = practice().await;
    practice.strike(
        "POST",
        How::Answer {
            status: 413,
            headers: Vec::new(),
            body: Some(r#"{"errcode":"M_TOO_LARGE","error":"too large"}"#.to_owned()),
        },
    );
    let receipt = practice.channel.publish(&with_picture()).await.unwrap();
    assert!(receipt.note.unwrap().contains("M_TOO_LARGE"));
    let ledger = practice.ledger();
    assert_eq!((ledger.len(), ledger[0].pictures.len()), (1, 0));
}

#[tokio::test]
async fn later_messages_answer_to_the_first_which_can_be_changed_pinned_and_taken_away() {
    let practice = practice().await;
    let first = practice.channel.publish(&post(TEXT)).await.unwrap();
    practice
        .channel
        .publish(&reply("ÖVNING: Faran över. Nässjö kommun.", &first))
        .await
        .unwrap();
    assert_eq!(practice.ledger()[1].in_reply_to.as_ref(), Some(&first.remote_id));
    for _ in 0..2 {
        practice.channel.pin(&first).await.unwrap();
        assert!(practice.ledger()[0].pinned);
    }
    let change = post("ÖVNING: Rättelse. Nässjö kommun.");
    let changed = practice.channel.edit(&first, &change).await.unwrap();
    assert_eq!(practice.channel.edit(&changed, &change).await.unwrap(), changed);
    assert_eq!(practice.ledger()[0].text, "ÖVNING: Rättelse. Nässjö kommun.");
    for _ in 0..2 {
        practice.channel.unpin(&changed).await.unwrap();
        practice.channel.retract(&changed).await.unwrap();
        let ledger = practice.ledger();
        assert!(ledger[0].deleted_at.is_some() && !ledger[0].pinned);
        assert!(ledger[1].deleted_at.is_none());
    }
    practice
        .channel
        .retract(&Receipt::of("$finns-inte"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_server_takes_ten_at_once_and_says_when_the_next() {
    let practice = practice().await;
    for _ in 0..10 {
        practice.channel.publish(&post(TEXT)).await.unwrap();
    }
    let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
    assert!(matches!(err, SendError::Busy { until: Some(_), .. }), "{err}");
    assert_eq!(practice.ledger().len(), 10);
}

#[tokio::test]
async fn an_ended_token_is_renewed_in_the_midst_of_it_and_the_same_message_stands() {
    let practice = practice().await;
    practice.strike(
        "PUT",
        How::Answer {
            status: 401,
            headers: Vec::new(),
            body: Some(r#"{"errcode":"M_UNKNOWN_TOKEN","error":"expired","soft_logout":true}"#.to_owned()),
        },
    );
    practice.channel.publish(&post(TEXT)).await.unwrap();
    assert_eq!((practice.seen("POST"), practice.seen("PUT")), (1, 2));
    practice.channel.publish(&post(TEXT)).await.unwrap();
    assert_eq!(practice.ledger().len(), 2);
    let stranger = practice.with_secret("access_token", "hemlig-men-fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
}
