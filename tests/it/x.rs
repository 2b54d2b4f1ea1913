//! X through the real wire protocol: without a key, what is lost is found by reading the account back.

use std::sync::Arc;
use std::time::Duration;

use vardkase::model::{Picture, Post, SendError, Settled};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    // Short of patience, so that the tests need not wait for what never came.
    Practice::start("x", "user_id = \"4711\"\nsettle_wait = \"1s\"\nthread = true").await
}

fn with_picture(text: &str) -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: vec![0x89, b'P', b'N', b'G', 13, 10, 26, 10, 1, 2, 3],
            media_type: "image/png",
            width: 1,
            height: 1,
            alt: "Karta över avspärrat område".to_owned(),
        })),
        ..post(text)
    }
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, TEXT);
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    let page = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(receipt.url.unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(page.text().await.unwrap(), TEXT);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_posted_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{how:?}");
        let settled = practice.settle(&post).await;
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == ledger[0].remote_id),
            "{how:?}: {settled:?}"
        );
    }
}

#[tokio::test]
async fn an_exchange_with_a_picture_may_be_cut_anywhere_and_ends_as_one_post() {
    let hows = [
        How::Cut,
        How::DoneThenCut(CutAt::BeforeHeaders),
        How::DoneThenCut(CutAt::MidBody),
        How::DoneThenAnswer {
            status: 503,
            headers: Vec::new(),
            body: Some(String::new()),
        },
    ];
    for request in 0..3 {
        for how in &hows {
            let practice = practice().await;
            let post = with_picture(TEXT);
            let path = ["/2/media/upload", "/2/media/metadata", "/2/tweets"][request];
            practice.strike_at(request, how.clone());
            let receipt = match practice.channel.publish(&post).await {
                Ok(receipt) => {
                    assert!(
                        receipt.note.as_ref().unwrap().contains("without the picture"),
                        "{path} {how:?}"
                    );
                    receipt
                }
                Err(SendError::Unknown(_)) => match practice.settle(&post).await {
                    Settled::Found(receipt) => receipt,
                    Settled::Absent => practice.channel.publish(&post).await.unwrap(),
                    Settled::Refused(reason) | Settled::Unclear(reason) => panic!("{reason}"),
                },
                Err(other) => panic!("{path} {how:?}: {other}"),
            };
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{path} {how:?}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id);
            assert_eq!(ledger[0].pictures.is_empty(), request < 2, "{path} {how:?}");
            assert!(
                ledger[0]
                    .pictures
                    .iter()
                    .all(|picture| picture.alt.starts_with("Karta"))
            );
        }
    }
}

#[tokio::test]
async fn what_never_arrived_is_known_to_be_absent_and_sent_again() {
    for how in [How::Cut, How::Hang] {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("POST", how);
        let attempt = practice.channel.publish(&post);
        if let Ok(result) = tokio::time::timeout(Duration::from_secs(1), attempt).await {
            assert_eq!(result.unwrap_err().as_str(), "unknown");
        }
        assert_eq!(practice.settle(&post).await, Settled::Absent);
        practice.channel.publish(&post).await.unwrap();
        assert_eq!(practice.ledger().len(), 1);
    }
}

#[tokio::test]
async fn the_same_words_twice_lead_back_to_the_first_post_or_are_refused() {
    let practice = practice().await;
    let first = post(TEXT);
    let receipt = practice.channel.publish(&first).await.unwrap();
    let err = practice.channel.publish(&first).await.unwrap_err();
    assert_eq!(err.as_str(), "unknown", "{err}");
    assert_eq!(practice.settle(&first).await, Settled::Found(receipt));
    let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "duplicate"),
        "{err}"
    );
    assert_eq!(practice.ledger().len(), 1);
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
    practice.channel.retract(&second).await.unwrap();
    practice.channel.retract(&second).await.unwrap();
    let third = practice
        .channel
        .publish(&reply("Faran över. Nässjö kommun.", &second))
        .await
        .unwrap();
    assert!(third.note.unwrap().contains("stands alone"));
    let ledger = practice.ledger();
    assert_eq!(ledger[1].in_reply_to.as_ref(), Some(&first.remote_id));
    assert!(ledger[1].deleted_at.is_some());
    assert_eq!(ledger[2].in_reply_to, None);
}

#[tokio::test]
async fn the_service_counts_as_the_composer_does_and_refuses_one_more() {
    let practice = practice().await;
    let fits = format!("{} {LINK}", "å".repeat(280 - 24));
    practice.channel.publish(&post(&fits)).await.unwrap();
    let err = practice
        .channel
        .publish(&post(&format!("x{fits}")))
        .await
        .unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "http-403"),
        "{err}"
    );
    assert_eq!(practice.ledger().len(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_a_matter_of_the_credential_and_is_never_shown() {
    let practice = practice().await;
    for secret in [
        "consumer_key",
        "consumer_secret",
        "access_token",
        "access_token_secret",
    ] {
        let stranger = practice.with_secret(secret, "hemlig-men-fel");
        let err = stranger.publish(&post(TEXT)).await.unwrap_err();
        assert!(
            matches!(&err, SendError::Credential(reason) if reason.code == "http-401"),
            "{secret}: {err}"
        );
        assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
        assert!(matches!(stranger.verify().await, Err(SendError::Credential(_))));
    }
    assert!(practice.ledger().is_empty());
}

#[tokio::test]
async fn what_is_left_is_told_with_each_post() {
    let practice = practice().await;
    practice.channel.publish(&post(TEXT)).await.unwrap();
    let first = practice.channel.quota().unwrap();
    assert!(first.resets_at.is_some() && first.limit.is_some_and(|limit| limit > first.left));
    practice.channel.publish(&post(LINK)).await.unwrap();
    assert!(practice.channel.quota().unwrap().left < first.left);
}
