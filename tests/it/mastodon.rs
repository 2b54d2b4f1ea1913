//! Mastodon through the real wire protocol: both ledgers agree, whatever the network does.

use std::time::Duration;

use vardkase::compose::{TextRule, parts};
use vardkase::model::{Post, Receipt, SendError, Settled, Unit};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, every_cut, long_post, lost_answers, picture, post, reply};

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

async fn threads() -> Practice {
    Practice::start(
        "mastodon",
        "server = \"https://social.example\"\nlong = \"thread\"",
    )
    .await
}

fn expected(post: &Post) -> Vec<String> {
    let rule = TextRule {
        limit: Some(500),
        unit: Unit::MastodonCharacters,
        also: None,
    };
    parts::of(post, "Nässjö kommun", &rule).unwrap()
}

#[tokio::test]
async fn a_long_text_is_a_thread_that_is_changed_pinned_and_taken_away_as_one() {
    let practice = threads().await;
    let post = long_post();
    let receipt = practice.channel.publish(&post).await.unwrap();
    let ledger = practice.ledger();
    let texts: Vec<_> = ledger.iter().map(|posted| posted.text.clone()).collect();
    assert_eq!(texts, expected(&post));
    assert!(texts.len() > 1);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(ledger[0].in_reply_to, None);
    assert_eq!(ledger[1].in_reply_to.as_ref(), Some(&ledger[0].remote_id));
    assert_eq!(
        practice.channel.publish(&post).await.unwrap(),
        receipt,
        "repeated, it is the same thread"
    );

    practice.channel.pin(&receipt).await.unwrap();
    practice.channel.pin(&receipt).await.unwrap();
    assert!(practice.ledger()[0].pinned && !practice.ledger()[1].pinned);
    practice.channel.unpin(&receipt).await.unwrap();
    practice.channel.unpin(&receipt).await.unwrap();
    assert!(!practice.ledger()[0].pinned);

    let short = crate::social::post(TEXT);
    let changed = practice.channel.edit(&receipt, &short).await.unwrap();
    assert_eq!(
        practice.channel.edit(&changed, &short).await.unwrap().remote_id,
        receipt.remote_id
    );
    let standing = practice.standing();
    assert_eq!(standing.len(), 1, "the part that is left over is gone");
    assert_eq!(
        (standing[0].text.as_str(), &standing[0].remote_id),
        (TEXT, &receipt.remote_id)
    );
    assert!(standing[0].edited_at.is_some());
    let longer = practice.channel.edit(&changed, &long_post()).await.unwrap_err();
    assert!(matches!(&longer, SendError::Refused(_)), "{longer}");

    practice.channel.retract(&receipt).await.unwrap();
    practice.channel.retract(&receipt).await.unwrap();
    assert!(practice.standing().is_empty());
    practice.channel.unpin(&receipt).await.unwrap();
}

#[tokio::test]
async fn a_thread_that_is_cut_anywhere_goes_on_and_repeats_no_part() {
    let clean = threads().await;
    let make = || Post {
        picture: Some(picture(60_000)),
        ..long_post()
    };
    clean.channel.publish(&make()).await.unwrap();
    assert_eq!(clean.ledger()[0].pictures.len(), 1);
    let requests = clean.requests();
    assert!(requests >= 6, "upload, three looks, two parts");
    for after in 0..requests {
        for how in every_cut() {
            let practice = threads().await;
            let post = make();
            practice.cut_at(after, None, how.clone());
            let receipt = practice.publish_at_last(&post).await;
            let standing = practice.ledger();
            let texts: Vec<_> = standing.iter().map(|posted| posted.text.clone()).collect();
            assert_eq!(texts, expected(&post), "{after} {how:?}");
            assert_eq!(standing[0].remote_id, receipt.remote_id, "{after} {how:?}");
            practice.channel.retract(&receipt).await.unwrap();
            assert!(
                practice.standing().is_empty(),
                "{after} {how:?}: all parts are known"
            );
        }
    }
}

#[tokio::test]
async fn a_post_with_a_picture_that_is_cut_anywhere_stands_once() {
    let make = || Post {
        picture: Some(picture(900)),
        ..post(TEXT)
    };
    for after in 0..2 {
        for how in every_cut() {
            let practice = practice().await;
            practice.cut_at(after, None, how.clone());
            practice.publish_at_last(&make()).await;
            let ledger = practice.ledger();
            assert_eq!(ledger.len(), 1, "{after} {how:?}");
            if after > 0 {
                assert_eq!(ledger[0].pictures.len(), 1, "{how:?}: the upload is used again");
                let uploads = practice.uploads("/api/v2/media");
                assert_eq!(uploads, 1, "{how:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_picture_stands_with_its_words_and_costs_no_text_when_it_fails() {
    for size in [900, 60_000] {
        let practice = practice().await;
        let with = Post {
            picture: Some(picture(size)),
            ..post(TEXT)
        };
        let receipt = practice.channel.publish(&with).await.unwrap();
        assert_eq!(receipt.note, None);
        let ledger = practice.ledger();
        assert_eq!(ledger[0].pictures[0].alt, with.picture.as_ref().unwrap().alt);
        assert_eq!(ledger[0].pictures[0].bytes, with.picture.as_ref().unwrap().bytes);
        // An edit of the words leaves the picture alone.
        practice
            .channel
            .edit(&receipt, &post("Nytt. Nässjö kommun."))
            .await
            .unwrap();
        assert_eq!(practice.ledger()[0].pictures.len(), 1);
    }
    let answers: [(u16, &str); 5] = [
        (422, "File type of uploaded media could not be verified"),
        (403, "This action is outside the authorized scopes"),
        (413, ""),
        (429, "Too many requests"),
        (500, "Error processing thumbnail for uploaded media"),
    ];
    for (status, text) in answers {
        let practice = practice().await;
        let answer = How::Answer {
            status,
            headers: Vec::new(),
            body: Some(serde_json::json!({ "error": text }).to_string()),
        };
        practice.cut_at(0, Some("/api/v2/media"), answer);
        let with = Post {
            picture: Some(picture(900)),
            ..post(TEXT)
        };
        let receipt = practice.channel.publish(&with).await.unwrap();
        let note = receipt.note.unwrap();
        assert!(note.contains("without its picture"), "{status}: {note}");
        assert_eq!(practice.ledger()[0].text, TEXT);
        assert!(practice.ledger()[0].pictures.is_empty());
    }
    for answer in [404, 422] {
        // Processing fails, or the file is gone when it is to be attached.
        let practice = practice().await;
        let path = if answer == 422 {
            "/api/v1/media"
        } else {
            "/api/v1/statuses"
        };
        practice.cut_at(
            0,
            Some(path),
            How::Answer {
                status: answer,
                headers: Vec::new(),
                body: Some(r#"{"error":"Error processing thumbnail for uploaded media"}"#.to_owned()),
            },
        );
        let with = Post {
            picture: Some(picture(60_000)),
            ..post(TEXT)
        };
        let receipt = practice.channel.publish(&with).await.unwrap();
        assert!(receipt.note.unwrap().contains("without its picture"), "{answer}");
        assert_eq!(practice.ledger().len(), 1);
    }
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
