//! WhatsApp on the practice wall: what the simulated service took is what the adapter says, per recipient.

use vardkase::model::{Busy, Post, Recipient, SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

const KEYS: &str = "phone_number_id = \"106540352242922\"\ntemplate = \"kris\"\nlist = \"krisgrupp\"\n\
                    business_account_id = \"102290129340398\"\n";

fn message(text: &str, n: usize) -> Post {
    Post {
        recipient: Some(Recipient::new(format!("+467017406{n:02}"))),
        ..post(text)
    }
}

#[tokio::test]
async fn each_template_of_the_wall_is_filled_as_residents_read_it() {
    for (parameters, opens) in [
        (
            "[\"text\"]",
            "Viktigt: ÖVNING: Koka vattnet i Nässjö tätort. Bakterier",
        ),
        (
            "[\"headline\", \"text\"]",
            "Viktigt: ÖVNING: Koka vattnet ÖVNING: Koka vattnet i Nässjö",
        ),
    ] {
        let practice = Practice::start("whatsapp", &format!("{KEYS}parameters = {parameters}")).await;
        let receipt = practice.channel.publish(&message(TEXT, 5)).await.unwrap();
        let [posted] = &practice.ledger()[..] else {
            panic!("one message, not {:?}", practice.ledger());
        };
        assert_eq!(posted.remote_id, receipt.remote_id);
        assert!(posted.text.starts_with(opens), "{}", posted.text);
        assert!(
            posted.text.contains(LINK) && !posted.text.contains('\n'),
            "{}",
            posted.text
        );
        assert_eq!(posted.recipient.as_deref(), Some("+46701740605"));
        let identity = practice.channel.verify().await.unwrap();
        assert_eq!(identity.facts["template"], "approved");
    }
}

#[tokio::test]
async fn a_lost_answer_is_never_taken_for_yes_or_no() {
    let practice = Practice::start("whatsapp", KEYS).await;
    for (n, how) in lost_answers().into_iter().enumerate() {
        let post = message(TEXT, n);
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        assert!(matches!(practice.settle(&post).await, Settled::Unclear(_)));
    }
}

#[tokio::test]
async fn a_text_that_fills_the_template_to_the_last_letter_passes_and_one_more_does_not() {
    let practice = Practice::start("whatsapp", KEYS).await;
    // "Viktigt: " and " Slut." stand around it.
    let fits = format!("{} {LINK}", "å".repeat(1024 - 15 - 1 - LINK.len()));
    practice.channel.publish(&message(&fits, 5)).await.unwrap();
    let err = practice
        .channel
        .publish(&message(&format!("å{fits}"), 5))
        .await
        .unwrap_err();
    assert!(
        matches!(&err, SendError::Refused(reason) if reason.code == "whatsapp-132005"),
        "{err}"
    );
    assert_eq!(practice.ledger().len(), 1);
}

#[tokio::test]
async fn the_same_person_is_not_flooded_and_others_are_not_held_up() {
    let practice = Practice::start("whatsapp", KEYS).await;
    for _ in 0..45 {
        practice.channel.publish(&message(TEXT, 5)).await.unwrap();
    }
    let err = practice.channel.publish(&message(TEXT, 5)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Busy { until: Some(_), scope: Busy::Recipient, reason } if reason.code == "whatsapp-131056"),
        "{err}"
    );
    assert!(!err.to_string().contains("46701740605"));
    practice.channel.publish(&message(TEXT, 6)).await.unwrap();
}

#[tokio::test]
async fn a_dead_token_is_told_apart_and_shown_nowhere() {
    let practice = Practice::start("whatsapp", KEYS).await;
    let stranger = practice.with_secret("access_token", "hemlig-men-fel");
    let err = stranger.publish(&message(TEXT, 5)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Credential(reason) if reason.code == "whatsapp-190"),
        "{err}"
    );
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    practice.strike("POST", How::Cut);
    assert_eq!(
        practice
            .channel
            .publish(&message(TEXT, 5))
            .await
            .unwrap_err()
            .as_str(),
        "unknown"
    );
    assert!(practice.ledger().is_empty());
}
