//! Web Push through the real wire protocol: what the wall's browser decrypts is what was to be said.

use std::time::Duration;

use vardkase::model::{Busy, Post, Recipient, SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

/// A subscription as a browser makes it; the keys are those of RFC 8291's example.
const SUBSCRIPTION: &str = r#"{"endpoint":"https://fcm.googleapis.com/fcm/send/abc:APA91-hemlig","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}"#;

async fn practice() -> Practice {
    Practice::start("web-push", "list = \"p\"\nsubject = \"mailto:kris@nassjo.se\"").await
}

fn to_browser(text: &str) -> Post {
    Post {
        recipient: Some(Recipient::new(SUBSCRIPTION)),
        ..post(text)
    }
}

#[tokio::test]
async fn what_the_browser_shows_is_what_was_to_be_said() {
    let practice = practice().await;
    let post = to_browser(TEXT);
    let receipt = practice.channel.publish(&post).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    // The first sentence only begins like the headline, and stays whole.
    assert_eq!(ledger[0].text, format!("ÖVNING: Koka vattnet\n\n{TEXT}"));
    assert_eq!(ledger[0].links, [LINK]);
    assert_eq!(ledger[0].shown["urgency"], "low", "a drill");
    assert_eq!(ledger[0].shown["lang"], "sv");
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_shows_nothing_new() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = to_browser(TEXT);
        practice.strike("POST", how.clone());
        // Any 2xx counts, so that a body that breaks off is none of our business.
        if let Err(err) = practice.channel.publish(&post).await {
            assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
            practice.assert_discreet(&err);
            assert!(!err.to_string().contains("APA91"));
            assert_eq!(practice.settle(&post).await, Settled::Absent);
            practice.channel.publish(&post).await.unwrap();
        }
        assert_eq!(practice.ledger().len(), 1, "{how:?}");
    }
}

#[tokio::test]
async fn a_subscription_that_has_ended_is_told_by_its_code() {
    let practice = practice().await;
    for status in [404, 410] {
        practice.strike(
            "POST",
            How::Answer {
                status,
                headers: vec![],
                body: None,
            },
        );
        let err = practice.channel.publish(&to_browser(TEXT)).await.unwrap_err();
        assert!(
            matches!(&err, SendError::Refused(reason) if reason.code == "gone"),
            "{err}"
        );
    }
    assert!(practice.ledger().is_empty());
}

#[tokio::test]
async fn a_subscription_made_with_another_key_is_its_own_failure_and_leaves_nobody_out() {
    let practice = practice().await;
    let stranger = practice.with_secret("vapid_private_key", "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
    let err = stranger.publish(&to_browser(TEXT)).await.unwrap_err();
    assert_eq!(
        (err.as_str(), err.reason().code.as_str()),
        ("refused", "other-key")
    );
    assert!(!err.reason().ends_recipient());
    assert!(!format!("{err:?} {stranger:?}").contains("yfWPiYE"));
    let identity = practice.channel.verify().await.unwrap();
    assert_eq!(identity.name, "mailto:kris@nassjo.se");
    assert!(practice.ledger().is_empty(), "verifying publishes nothing");
}

#[tokio::test]
async fn a_message_is_as_long_as_a_service_takes_and_no_longer() {
    let practice = practice().await;
    practice
        .channel
        .publish(&to_browser(&"å".repeat(1800)))
        .await
        .unwrap();
    let long = to_browser(&"å".repeat(2000));
    let err = practice.channel.publish(&long).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "too-large"),
        "{err}"
    );
    assert_eq!(practice.seen("POST"), 1);
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it() {
    let practice = practice().await;
    practice.strike(
        "POST",
        How::Answer {
            status: 429,
            headers: vec![("Retry-After".to_owned(), "20".to_owned())],
            body: None,
        },
    );
    let err = practice.channel.publish(&to_browser(TEXT)).await.unwrap_err();
    assert!(
        matches!(
            err,
            SendError::Busy {
                until: Some(_),
                scope: Busy::Recipient,
                ..
            }
        ),
        "{err}"
    );
    practice.strike("POST", How::Hang);
    let post = to_browser(TEXT);
    let attempt = practice.channel.publish(&post);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), attempt)
            .await
            .is_err()
    );
    practice.channel.publish(&post).await.unwrap();
    assert_eq!(practice.ledger().len(), 1);
}
