//! WordPress through the real wire protocol: both ledgers agree, wherever the exchange is cut.

use std::sync::Arc;
use std::time::Duration;

use vardkase::model::{Picture, Post, Receipt, SendError, Settled, Steps};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    Practice::start(
        "wordpress",
        "site = \"https://krisinfo.example\"\npage = \"kris\"",
    )
    .await
}

fn pictured() -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: b"\x89PNG\r\n\x1a\n en bild".to_vec(),
            media_type: "image/png",
            width: 2,
            height: 1,
            alt: "En karta över \"Nässjö\"".to_owned(),
        })),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&pictured()).await.unwrap();
    assert_eq!(
        receipt.note, None,
        "the public sees it, under the page named kris"
    );
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    // The first sentence only begins like the headline, and stays whole.
    assert_eq!(ledger[0].text, format!("ÖVNING: Koka vattnet\n\n{TEXT}"));
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].pictures[0].alt, "En karta över \"Nässjö\"");
    assert!(ledger[0].shown["address"].starts_with("/kris/ovning-2026-0001-1-"));
    let client = reqwest::Client::builder().build().unwrap();
    let page = client.get(receipt.url.unwrap()).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("&lt;E. coli&gt; &amp; annat"), "{page}");
    assert!(
        page.contains("alt=\"En karta över &quot;Nässjö&quot;\""),
        "{page}"
    );
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_published_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let id = practice.ledger()[0].remote_id.clone();
        let settled = practice.settle(&post).await;
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == id),
            "{settled:?}"
        );
        assert_eq!(practice.channel.publish(&post).await.unwrap().remote_id, id);
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
    }
}

/// The exchange with a picture: look, parent, look for the picture, upload, describe, make, public.
const EXCHANGE: usize = 7;

#[tokio::test]
async fn cut_at_any_request_before_or_after_its_effect_there_is_one_page_and_one_picture() {
    let practice = practice().await;
    practice.channel.publish(&pictured()).await.unwrap();
    let all = practice.seen("GET") + practice.seen("POST");
    assert_eq!(all, EXCHANGE);
    for number in 0..EXCHANGE {
        for how in [
            How::Cut,
            How::DoneThenCut(CutAt::BeforeHeaders),
            How::DoneThenHang,
        ] {
            let practice = self::practice().await;
            let mut post = pictured();
            practice.strike_at(number, how.clone());
            let deadline = Duration::from_millis(700);
            let first = tokio::time::timeout(deadline, practice.channel.publish(&post)).await;
            // A new process knows of the last one what it had written down.
            let noted = post.steps.all();
            post.steps = Steps::of(noted.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let receipt = match first {
                Ok(Ok(receipt)) => receipt,
                Ok(Err(SendError::NotSent(_))) => practice.channel.publish(&post).await.unwrap(),
                Ok(Err(SendError::Unknown(_))) | Err(_) => match practice.settle(&post).await {
                    Settled::Found(receipt) => receipt,
                    Settled::Absent => practice.channel.publish(&post).await.unwrap(),
                    Settled::Refused(reason) | Settled::Unclear(reason) => {
                        panic!("{how:?} at {number}: {reason}")
                    }
                },
                Ok(Err(other)) => panic!("{how:?} at {number}: {other}"),
            };
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{how:?} at {number}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id);
            assert!(ledger[0].pictures.len() <= 1);
            // Either with the picture, or told that it is without.
            let told = receipt
                .note
                .as_deref()
                .unwrap_or_default()
                .contains("without its picture");
            assert!(
                ledger[0].pictures.len() == 1 || told,
                "{how:?} at {number}: {receipt:?}"
            );
            let uploads = practice.seen_below("POST", "/media");
            assert!(uploads <= 3, "{how:?} at {number}: {uploads} uploads");
        }
    }
}

#[tokio::test]
async fn an_alert_is_a_tree_of_pages_and_each_can_be_changed_and_taken_away() {
    let practice = practice().await;
    let first = practice.channel.publish(&post(TEXT)).await.unwrap();
    let second = practice
        .channel
        .publish(&reply("Nytt. Nässjö kommun.", &first))
        .await
        .unwrap();
    assert_eq!(second.note, None);
    let changed = practice
        .channel
        .edit(&second, &post("Rättat. Nässjö kommun."))
        .await
        .unwrap();
    assert_eq!(
        (&changed.remote_id, &changed.url),
        (&second.remote_id, &second.url)
    );
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 2);
    assert_eq!(ledger[1].in_reply_to.as_ref(), Some(&first.remote_id));
    assert!(ledger[1].text.contains("Rättat. Nässjö kommun.") && ledger[1].edited_at.is_some());

    for _ in 0..2 {
        practice.channel.retract(&first).await.unwrap();
    }
    assert!(practice.ledger()[0].deleted_at.is_some());
    let err = practice.channel.edit(&first, &post(TEXT)).await.unwrap_err();
    assert_eq!(err.reason().code, "gone");
    // The first page is in the trash: the next one stands under the page of the configuration.
    let third = practice
        .channel
        .publish(&reply("Faran över.", &first))
        .await
        .unwrap();
    assert_eq!(third.note, None);
    assert_eq!(practice.ledger()[2].in_reply_to, None);
    practice.channel.retract(&Receipt::of("99")).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_shown_nowhere() {
    let practice = practice().await;
    let stranger = practice.with_secret("password", "hemlig men fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig men fel"));
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    let identity = practice.channel.verify().await.unwrap();
    assert_eq!(identity.facts["page"], "kris");
    assert!(practice.ledger().is_empty(), "verifying publishes nothing");
}

#[tokio::test]
async fn a_page_that_the_public_sees_late_is_published_all_the_same() {
    let practice = practice().await;
    let hidden = |times| How::Answer {
        status: 404,
        headers: vec![],
        body: Some(format!("<h1>{times}</h1>")),
    };
    // Two looks are in vain, the third one finds it.
    practice.strike_at(3, hidden(1));
    practice.strike_at(3, hidden(2));
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    assert_eq!(receipt.note, None);
    assert_eq!(practice.ledger().len(), 1);
}
