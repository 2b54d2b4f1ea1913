//! Mastodon through the real wire protocol: both ledgers agree, whatever the network does.

use std::time::Duration;

use vardkase::model::{Receipt, SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, lost_answers, post, reply};

async fn practice() -> Practice {
    Practice::start("mastodon", "server = \"https://social.example\"").await
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let post = post(TEXT);
    let receipt = practice.channel.publish(&post).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, TEXT);
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(ledger[0].key.as_deref(), Some(post.key.as_str()));
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
        let again = practice.channel.publish(&post).await.unwrap();
        assert_eq!(
            again.remote_id, ledger[0].remote_id,
            "the key gives the same post"
        );
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
    }
}

#[tokio::test]
async fn what_never_arrived_is_known_to_be_absent() {
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
    let third = reply("Faran över. Nässjö kommun.", &second);
    let alone = practice.channel.publish(&third).await.unwrap();
    assert!(alone.note.unwrap().contains("stands alone"));
    // Repeated, it meets the missing parent again and then its own key.
    assert_eq!(
        practice.channel.publish(&third).await.unwrap().remote_id,
        alone.remote_id
    );
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 3);
    assert_eq!(ledger[1].in_reply_to.as_ref(), Some(&first.remote_id));
    assert!(ledger[1].deleted_at.is_some());
    assert_eq!(ledger[2].in_reply_to, None);
}

#[tokio::test]
async fn the_server_counts_as_the_composer_does_and_refuses_one_more() {
    let practice = practice().await;
    let fits = format!("{} {LINK}", "å".repeat(500 - 24));
    practice.channel.publish(&post(&fits)).await.unwrap();
    let err = practice
        .channel
        .publish(&post(&format!("x{fits}")))
        .await
        .unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "http-422"),
        "{err}"
    );
    assert_eq!(practice.ledger().len(), 1);
}

#[tokio::test]
async fn a_dead_token_is_told_apart_and_shown_nowhere() {
    let practice = practice().await;
    let stranger = practice.with_secret("access_token", "hemlig-men-fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    let identity = practice.channel.verify().await.unwrap();
    assert_eq!(identity.facts["max_characters"], "500");
    assert!(identity.facts["scopes"].contains("write:statuses"));
    assert!(practice.ledger().is_empty(), "verifying publishes nothing");
}

#[tokio::test]
async fn a_throttle_is_told_with_its_time_and_a_redirect_is_not_followed() {
    let practice = practice().await;
    practice.strike(
        "POST",
        How::Answer {
            status: 429,
            headers: vec![("Retry-After".to_owned(), "20".to_owned())],
            body: None,
        },
    );
    let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
    assert!(matches!(err, SendError::Busy { until: Some(_), .. }), "{err}");
    practice.strike(
        "POST",
        How::Answer {
            status: 307,
            headers: vec![("Location".to_owned(), "/api/v1/statuses".to_owned())],
            body: None,
        },
    );
    let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.as_str(), "refused");
    assert_eq!(practice.seen("POST"), 2);
    assert!(practice.ledger().is_empty());
    practice
        .channel
        .retract(&Receipt::of("finns-inte"))
        .await
        .unwrap();
}
