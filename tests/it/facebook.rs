//! Facebook through the real wire protocol: without a key, what is lost is found by reading the page back.

use std::time::Duration;

use vardkase::model::{Post, SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, every_cut, lost_answers, picture, post};

async fn practice() -> Practice {
    // Short of patience, so that the tests need not wait for what never came.
    Practice::start("facebook-page", "page_id = \"4711\"\nsettle_wait = \"1s\"").await
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
    let url = receipt.url.unwrap();
    let page = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(url)
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
async fn a_duplicate_leads_back_to_the_original() {
    let practice = practice().await;
    let post = post(TEXT);
    let first = practice.channel.publish(&post).await.unwrap();
    let err = practice.channel.publish(&post).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Unknown(reason) if reason.code == "graph-506"),
        "{err}"
    );
    assert_eq!(practice.settle(&post).await, Settled::Found(first));
    assert_eq!(practice.ledger().len(), 1);
}

#[tokio::test]
async fn a_refused_link_card_costs_the_card_and_not_the_post() {
    let practice = practice().await;
    let body = r#"{"error":{"message":"The link could not be used","code":100,"error_subcode":1609005}}"#;
    practice.strike(
        "POST",
        How::Answer {
            status: 400,
            headers: Vec::new(),
            body: Some(body.to_owned()),
        },
    );
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    assert!(receipt.note.unwrap().contains("without a link card"));
    assert_eq!(practice.ledger()[0].links, [LINK], "it stands in the text");
}

#[tokio::test]
async fn a_throttle_hidden_in_a_400_is_waited_out() {
    let practice = practice().await;
    let usage = r#"{"1055":[{"type":"pages","call_count":100,"estimated_time_to_regain_access":7}]}"#;
    practice.strike(
        "POST",
        How::Answer {
            status: 400,
            headers: vec![("x-business-use-case-usage".to_owned(), usage.to_owned())],
            body: Some(r#"{"error":{"message":"(#32) Page request limit reached","code":32}}"#.to_owned()),
        },
    );
    let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
    assert!(matches!(err, SendError::Busy { until: Some(_), .. }), "{err}");
    assert!(practice.ledger().is_empty());
}

#[tokio::test]
async fn a_post_is_taken_away_and_taking_it_away_again_is_done() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    practice.channel.retract(&receipt).await.unwrap();
    practice.channel.retract(&receipt).await.unwrap();
    assert!(practice.ledger()[0].deleted_at.is_some());
}

#[tokio::test]
async fn a_dead_token_and_a_wrong_proof_are_told_apart() {
    let practice = practice().await;
    let stranger = practice.with_secret("access_token", "hemlig-men-fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Credential(reason) if reason.code == "graph-190-467"),
        "{err}"
    );
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    let unproved = practice.with_secret("app_secret", "hemlig-men-fel");
    let err = unproved.publish(&post(TEXT)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "graph-104"),
        "{err}"
    );
    assert_eq!(practice.channel.verify().await.unwrap().name, "Nässjö kommun");
    assert!(practice.ledger().is_empty());
}

#[tokio::test]
async fn a_text_over_the_limit_is_refused() {
    let practice = practice().await;
    let err = practice
        .channel
        .publish(&post(&"å".repeat(63_207)))
        .await
        .unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "graph-100"),
        "{err}"
    );
    practice
        .channel
        .publish(&post(&"å".repeat(63_206)))
        .await
        .unwrap();
}

fn with_picture() -> Post {
    Post {
        picture: Some(picture(900)),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_post_is_changed_and_kept_on_top_and_keeps_its_picture() {
    let practice = practice().await;
    let post = with_picture();
    let receipt = practice.channel.publish(&post).await.unwrap();
    assert_eq!(receipt.note, None);
    let ledger = practice.ledger();
    assert_eq!(ledger[0].pictures[0].alt, post.picture.as_ref().unwrap().alt);
    assert_eq!(ledger[0].links, [LINK], "the link stands in the text");
    let new = crate::social::post("Nytt: vattnet är rent. Nässjö kommun.");
    for _ in 0..2 {
        assert_eq!(practice.channel.edit(&receipt, &new).await.unwrap(), receipt);
        practice.channel.pin(&receipt).await.unwrap();
    }
    let posted = practice.ledger().remove(0);
    assert_eq!(posted.text, new.rendering.text);
    assert!(posted.pinned && posted.edited_at.is_some() && posted.pictures.len() == 1);
    for _ in 0..2 {
        practice.channel.unpin(&receipt).await.unwrap();
    }
    assert!(!practice.ledger()[0].pinned);
    practice.channel.retract(&receipt).await.unwrap();
    practice.channel.unpin(&receipt).await.unwrap();
    assert_eq!(
        practice.channel.pin(&receipt).await.unwrap_err().as_str(),
        "refused"
    );
    assert_eq!(
        practice.channel.edit(&receipt, &new).await.unwrap_err().as_str(),
        "refused"
    );
}

#[tokio::test]
async fn a_post_with_a_picture_that_is_cut_anywhere_stands_once() {
    for after in 0..2 {
        for how in every_cut() {
            let practice = practice().await;
            let post = with_picture();
            practice.cut_at(after, None, how.clone());
            let receipt = practice.publish_at_last(&post).await;
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{after} {how:?}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id);
            if after > 0 {
                assert_eq!(ledger[0].pictures.len(), 1, "{how:?}");
                assert_eq!(
                    practice.uploads("/photos"),
                    1,
                    "{how:?}: the upload is used again"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_picture_that_fails_costs_the_picture_and_not_the_text() {
    let graph = |code: i64| How::Answer {
        status: 400,
        headers: Vec::new(),
        body: Some(serde_json::json!({ "error": { "message": "nej", "code": code } }).to_string()),
    };
    for (path, code) in [
        ("/photos", 324),
        ("/photos", 1_366_046),
        ("/photos", 100),
        ("/photos", 200),
        ("/photos", 1),
        ("/photos", 2),
        ("/feed", 100),
        ("/feed", 324),
    ] {
        let practice = practice().await;
        practice.cut_at(0, Some(path), graph(code));
        let receipt = practice.channel.publish(&with_picture()).await.unwrap();
        assert!(
            receipt.note.unwrap().contains("without its picture"),
            "{path} {code}"
        );
        let ledger = practice.ledger();
        assert_eq!((ledger.len(), ledger[0].pictures.len()), (1, 0), "{path} {code}");
    }
    for (code, word) in [(190, "credential"), (32, "busy")] {
        let practice = practice().await;
        practice.cut_at(0, Some("/photos"), graph(code));
        let error = practice.channel.publish(&with_picture()).await.unwrap_err();
        assert_eq!(error.as_str(), word);
        assert!(practice.ledger().is_empty());
    }
}
