//! LinkedIn through the real wire protocol: what is lost is found by reading the page back, or named by the service.

use std::sync::Arc;

use vardkase::model::{Picture, Post, SendError, Settled};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

async fn practice() -> Practice {
    Practice::start("linkedin", "organization = \"4711\"\nsettle_wait = \"1s\"").await
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let text = format!("Reserverat: \\ | {{ }} @ [ ] ( ) < > # * _ ~. {TEXT}");
    let receipt = practice.channel.publish(&post(&text)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger[0].text, text, "nothing was cut");
    assert_eq!(ledger[0].links, [LINK]);
    let page = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(receipt.url.unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(page.text().await.unwrap(), text);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_a_repeat_adopts_the_original() {
    let mut lost = 0;
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("POST", how.clone());
        let err = match practice.channel.publish(&post).await {
            // The post is named in a header, and the body is empty: what cuts the body cuts nothing.
            Ok(receipt) => {
                assert!(
                    matches!(how, How::DoneThenCut(CutAt::MidBody | CutAt::TruncatedJson)),
                    "{how:?}"
                );
                assert_eq!(receipt.remote_id, practice.ledger()[0].remote_id);
                continue;
            }
            Err(err) => err,
        };
        lost += 1;
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let id = practice.ledger()[0].remote_id.clone();
        let settled = practice.settle(&post).await;
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == id),
            "{how:?}: {settled:?}"
        );
        assert_eq!(practice.channel.publish(&post).await.unwrap().remote_id, id);
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
    }
    assert!(lost >= 6, "{lost}");
}

#[tokio::test]
async fn an_exchange_with_a_picture_may_be_cut_anywhere_and_ends_as_one_post() {
    for request in 0..4 {
        for how in [How::Cut, How::DoneThenCut(CutAt::BeforeHeaders)] {
            let practice = practice().await;
            let post = Post {
                picture: Some(Arc::new(Picture {
                    bytes: vec![0x89, b'P', b'N', b'G', 1],
                    media_type: "image/png",
                    width: 1,
                    height: 1,
                    alt: "Karta".to_owned(),
                })),
                ..post(TEXT)
            };
            practice.strike_at(request, how.clone());
            let receipt = match practice.channel.publish(&post).await {
                Ok(receipt) => receipt,
                Err(SendError::Unknown(_)) => match practice.settle(&post).await {
                    Settled::Found(receipt) => receipt,
                    Settled::Absent => practice.channel.publish(&post).await.unwrap(),
                    Settled::Refused(reason) | Settled::Unclear(reason) => panic!("{reason}"),
                },
                Err(other) => panic!("{request} {how:?}: {other}"),
            };
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{request} {how:?}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id);
            assert_eq!(
                ledger[0].pictures.len(),
                usize::from(request == 3),
                "{request} {how:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_post_is_changed_and_taken_away_and_its_words_are_not_taken_again() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    let other = post("Rättelse (ny tid).");
    assert_eq!(
        practice.channel.edit(&receipt, &other).await.unwrap().remote_id,
        receipt.remote_id
    );
    assert_eq!(practice.ledger()[0].text, "Rättelse (ny tid).");
    practice.channel.retract(&receipt).await.unwrap();
    practice.channel.retract(&receipt).await.unwrap();
    let err = practice.channel.publish(&other).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "duplicate"),
        "{err}"
    );
}

#[tokio::test]
async fn a_dead_token_is_renewed_within_the_attempt() {
    let practice = practice().await;
    let stale = practice.with_secret("access_token", "hemlig-men-gammal");
    stale.publish(&post(TEXT)).await.unwrap();
    let lost = practice.with_secret("client_secret", "hemlig-men-fel");
    // The renewal above made the old token of the first account invalid, and this one cannot renew.
    let err = lost.publish(&post("Annat.")).await.unwrap_err();
    assert!(matches!(&err, SendError::Credential(_)), "{err}");
    assert!(!format!("{err:?}").contains("hemlig-men"));
    assert_eq!(practice.ledger().len(), 1);
}
