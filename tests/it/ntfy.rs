//! ntfy through the real wire protocol: both ledgers agree, whatever the network does.

use vardkase::model::{SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

async fn practice() -> Practice {
    Practice::start(
        "ntfy",
        "server = \"https://ntfy.example\"\ntopic = \"nassjo-kris\"",
    )
    .await
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_topic_and_never_sent_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let post = post(TEXT);
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        let settled = practice.settle(&post).await;
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{how:?}");
        assert!(
            matches!(&settled, Settled::Found(receipt) if receipt.remote_id == ledger[0].remote_id),
            "{how:?}: {settled:?}"
        );
        assert_eq!(
            (ledger[0].text.as_str(), &ledger[0].links[..]),
            (TEXT, &[LINK.to_owned()][..])
        );
        assert_eq!(ledger[0].subject.as_deref(), Some("ÖVNING: Koka vattnet"));
        assert_eq!(
            (&*ledger[0].shown["click"], &*ledger[0].shown["priority"]),
            (LINK, "5")
        );
    }
}

#[tokio::test]
async fn what_was_never_sent_is_found_to_be_absent() {
    let practice = practice().await;
    practice.strike("POST", How::Cut);
    let post = post(TEXT);
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    assert_eq!(practice.settle(&post).await, Settled::Absent);
}

#[tokio::test]
async fn a_text_of_4096_bytes_stays_a_text_and_one_more_would_be_a_file() {
    let practice = practice().await;
    let fits = format!("{} {LINK}", "x".repeat(4096 - LINK.len() - 1));
    assert_eq!(practice.channel.publish(&post(&fits)).await.unwrap().note, None);
    let receipt = practice
        .channel
        .publish(&post(&format!("x{fits}")))
        .await
        .unwrap();
    assert!(receipt.note.unwrap().contains("file"));
}

#[tokio::test]
async fn a_wrong_token_is_told_apart_and_too_many_requests_are_waited_out() {
    let practice = practice().await;
    let stranger = practice.with_secret("access_token", "tk_fel");
    assert_eq!(
        stranger.publish(&post(TEXT)).await.unwrap_err().as_str(),
        "credential"
    );
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    assert_eq!(practice.channel.verify().await.unwrap().facts["may_read"], "yes");
    let busy = loop {
        if let Err(error) = practice.channel.publish(&post(TEXT)).await {
            break error;
        }
    };
    assert!(matches!(busy, SendError::Busy { until: Some(_), .. }), "{busy}");
    assert!(practice.ledger().len() < 60);
}
