//! Slack and Discord through the real wire protocol: what is unknown there stays unknown, and nothing is lost otherwise.

use std::sync::Arc;

use vardkase::model::{Picture, Post, SendError, Settled};
use vardkase::wall::{CutAt, How};

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

async fn slack() -> Practice {
    Practice::start("slack", "").await
}

async fn discord() -> Practice {
    Practice::start("discord", "username = \"Nässjö kommun\"").await
}

fn pictured() -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: b"\x89PNG\r\n\x1a\n en bild\r\n--".to_vec(),
            media_type: "image/png",
            width: 9,
            height: 9,
            alt: "Karta över området".to_owned(),
        })),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn staff_read_what_was_to_be_said_and_nobody_is_called() {
    let text = format!(
        "<!channel> @everyone <@U1> & *så* _här_ ~nu~ `kod` ||dolt|| [se](här)\n# 1\n> 2\n- 3\n4. fyra\n\n{TEXT}"
    );
    for practice in [slack().await, discord().await] {
        practice.channel.publish(&post(&text)).await.unwrap();
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1);
        assert_eq!(ledger[0].text, text);
        assert_eq!(ledger[0].links, [LINK]);
        assert_eq!(ledger[0].shown.get("calls"), None);
    }
}

#[tokio::test]
async fn a_lost_answer_stays_unknown_and_is_never_guessed() {
    for how in lost_answers() {
        for practice in [slack().await, discord().await] {
            // Slack's answer is a word: cut in half it is another one, and an announced end is still missing.
            let post = post(TEXT);
            practice.strike("POST", how.clone());
            let err = practice.channel.publish(&post).await.unwrap_err();
            assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
            practice.assert_discreet(&err);
            assert_eq!(practice.ledger().len(), 1, "{how:?}");
            assert!(matches!(practice.settle(&post).await, Settled::Unclear(_)));
        }
    }
}

#[tokio::test]
async fn a_message_on_discord_is_changed_and_taken_away() {
    let practice = discord().await;
    let receipt = practice.channel.publish(&pictured()).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(ledger[0].pictures.len(), 1);
    assert_eq!(ledger[0].pictures[0].alt, "Karta över området");
    assert_eq!(ledger[0].shown["name"], "Nässjö kommun");
    for _ in 0..2 {
        practice
            .channel
            .edit(&receipt, &post("Rättelse. Nässjö kommun."))
            .await
            .unwrap();
    }
    let ledger = practice.ledger();
    assert_eq!(ledger[0].text, "Rättelse. Nässjö kommun.");
    assert_eq!(ledger[0].pictures.len(), 1, "the picture stays");
    practice.channel.retract(&receipt).await.unwrap();
    assert!(practice.ledger()[0].deleted_at.is_some());
}

#[tokio::test]
async fn a_picture_cut_on_its_way_is_unknown_as_a_whole() {
    for how in [How::Cut, How::DoneThenCut(CutAt::MidBody)] {
        let practice = discord().await;
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&pictured()).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown");
        assert_eq!(practice.seen("POST"), 1, "the text does not follow: {how:?}");
    }
}

#[tokio::test]
async fn a_dead_webhook_is_a_matter_for_a_person() {
    for (practice, name) in [
        (slack().await, "hooks.slack.com/services/T0VARDKASE/B0OVNINGEN"),
        (discord().await, "discord.com/api/webhooks/1100000000000001055"),
    ] {
        for dead in [
            format!("https://{name}/dottdottdottdottdottdott"),
            format!("https://{name}0/dottdottdottdottdottdott"),
        ] {
            let account = practice.with_secret("webhook", &dead);
            let err = account.publish(&post(TEXT)).await.unwrap_err();
            assert_eq!(err.as_str(), "credential", "{dead}");
            assert!(!format!("{err:?} {account:?}").contains("dott"));
            assert_eq!(account.verify().await.unwrap_err().as_str(), "credential");
        }
        practice.channel.verify().await.unwrap();
        assert!(practice.ledger().is_empty(), "nothing was posted by asking");
    }
}

#[tokio::test]
async fn the_services_have_their_limits_and_say_when_they_end() {
    for (practice, most) in [(slack().await, 10), (discord().await, 5)] {
        let mut taken = 0;
        let busy = loop {
            match practice.channel.publish(&post(TEXT)).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(taken >= most, "{taken}");
        assert!(matches!(busy, SendError::Busy { until: Some(_), .. }), "{busy:?}");
    }
    let practice = discord().await;
    let err = practice
        .channel
        .publish(&post(&"å".repeat(2001)))
        .await
        .unwrap_err();
    assert_eq!(err.reason().code, "discord-50035");
    practice.channel.publish(&post(&"å".repeat(2000))).await.unwrap();
}
