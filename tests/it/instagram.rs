//! Instagram through the real wire protocol: a picture that the service fetches, and a container that is published once.

use vardkase::model::{SendError, Settled};
use vardkase::wall::How;

use crate::social::{Practice, TEXT, lost_answers, post};

async fn practice() -> Practice {
    let keys = "user_id = \"4711\"\nsettle_wait = \"500ms\"\npublic_folder = \"/srv/bilder\"\n\
                public_url = \"https://nassjo.se/bilder\"";
    Practice::start("instagram", keys).await
}

#[tokio::test]
async fn a_message_without_a_picture_goes_out_with_its_text_on_a_card() {
    let practice = practice().await;
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(ledger[0].text, TEXT);
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    let card = &ledger[0].pictures[0];
    assert_eq!(card.media_type, "image/jpeg");
    assert!(card.alt.starts_with("ÖVNING: Koka vattnet. "), "{}", card.alt);
    assert!(card.alt.contains("nassjo.se/kris"), "{}", card.alt);
    assert!(receipt.note.unwrap().contains("card"));
    let client = reqwest::Client::builder().build().unwrap();
    let page = client.get(receipt.url.unwrap()).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), TEXT);
    practice.channel.verify().await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_found_again_and_never_posted_twice() {
    for how in lost_answers() {
        let practice = practice().await;
        let mut post = post(TEXT);
        post.picture = Some(crate::conformance::small_picture());
        practice.strike_path("media_publish", 1, how.clone());
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
async fn the_days_last_post_is_waited_for_and_a_picture_that_is_gone_is_not_posted_without() {
    let practice = practice().await;
    let mut post = post(TEXT);
    post.picture = Some(crate::conformance::small_picture());
    let no = |code: i64, subcode: i64| How::Answer {
        status: 400,
        headers: Vec::new(),
        body: Some(format!(
            r#"{{"error":{{"message":"x","code":{code},"error_subcode":{subcode}}}}}"#
        )),
    };
    practice.strike_path("media_publish", 1, no(9, 2_207_042));
    let err = practice.channel.publish(&post).await.unwrap_err();
    assert!(matches!(&err, SendError::Busy { until: Some(_), .. }), "{err}");
    assert!(practice.ledger().is_empty());
    // The container waits, too.
    practice.channel.publish(&post).await.unwrap();
    assert_eq!(practice.ledger().len(), 1);
    assert_eq!(
        practice.seen_below("POST", "/1784/media?") + practice.seen_below("POST", "/1784/media_publish"),
        2
    );
}
