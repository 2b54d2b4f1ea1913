//! The Bluesky adapter against the practice wall's server.

use std::sync::Arc;

use secrecy::ExposeSecret;
use vardkase::channel::secrets::InMemory;
use vardkase::compose::{TextRule, parts};
use vardkase::model::{Post, Receipt, SendError, Settled, Unit};
use vardkase::wall::How;

use crate::direct::{Stand, cuts, post, question};
use crate::social::{LINK, Practice, TEXT, every_cut, long_post, picture};

const KEYS: &str = "channel = \"bluesky\"\nidentifier = \"nassjo.bsky.social\"";

fn answer(status: u16, name: &str) -> How {
    How::Answer {
        status,
        headers: vec![],
        body: Some(format!(r#"{{"error":"{name}","message":"words"}}"#)),
    }
}

fn asked(stand: &Stand, nsid: &str) -> usize {
    stand
        .wall
        .seen()
        .iter()
        .filter(|seen| seen.path.contains(nsid))
        .count()
}

#[tokio::test]
async fn a_thread_is_published_as_residents_read_it_and_taken_away() {
    let stand = Stand::start(KEYS).await;
    let account = stand.open();
    assert_eq!(account.verify().await.unwrap().name, "nassjo.bsky.social");
    assert!(stand.ledger().is_empty());
    let one = account.publish(&post(1)).await.unwrap();
    let mut second = post(2);
    second.root = Some(one.clone());
    second.parent = Some(one.clone());
    let two = account.publish(&second).await.unwrap();
    let ledger = stand.ledger();
    assert_eq!(ledger.len(), 2);
    assert_eq!(ledger[0].links, ["https://nassjo.se/kris"]);
    assert_eq!(ledger[1].in_reply_to, Some(one.remote_id.clone()));
    assert!(one.url.unwrap().contains("/profile/nassjo.bsky.social/post/"));
    account.retract(&two).await.unwrap();
    account.retract(&two).await.unwrap();
    assert!(stand.ledger()[1].deleted_at.is_some());
    assert_eq!(asked(&stand, "createSession"), 1, "logged in once for everything");
}

#[tokio::test]
async fn a_repeat_has_no_second_effect_and_a_cut_is_settled_by_reading_back() {
    for how in cuts() {
        let stand = Stand::start(KEYS).await;
        let account = stand.open();
        let post = post(1);
        stand.strike(Some("putRecord"), how.clone());
        let lost = account.publish(&post).await.unwrap_err();
        assert_eq!(lost.as_str(), "unknown", "{how:?}: {lost}");
        let Settled::Found(found) = account.settle(&question(&post)).await.unwrap() else {
            panic!("{how:?}: it is there");
        };
        let again = account.publish(&post).await.unwrap();
        assert_eq!(again, found, "{how:?}: a repeat gives the same post");
        assert_eq!(stand.ledger().len(), 1);
    }
    let stand = Stand::start(KEYS).await;
    stand.strike(Some("putRecord"), How::Cut);
    let account = stand.open();
    let post = post(1);
    assert_eq!(account.publish(&post).await.unwrap_err().as_str(), "unknown");
    assert_eq!(account.settle(&question(&post)).await.unwrap(), Settled::Absent);
}

#[tokio::test]
async fn another_text_at_our_key_is_never_overwritten() {
    let stand = Stand::start(KEYS).await;
    let account = stand.open();
    let mut post = post(1);
    account.publish(&post).await.unwrap();
    post.rendering.text.push('!');
    let refused = account.publish(&post).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Refused(r) if r.code == "conflict"),
        "{refused}"
    );
    assert!(matches!(
        account.settle(&question(&post)).await.unwrap(),
        Settled::Unclear(_)
    ));
    assert!(stand.ledger()[0].edited_at.is_none());
}

#[tokio::test]
async fn fifty_at_once_renew_a_dead_session_exactly_once() {
    let stand = Stand::start(KEYS).await;
    let account = stand.open();
    account.publish(&post(1)).await.unwrap();
    // A token that the server does not take, beside a refresh token that it does.
    let stored = stand.parts.secrets.get("session").unwrap();
    let mut session: serde_json::Value = serde_json::from_str(stored.expose_secret()).unwrap();
    session["access_jwt"] = "eyJ.dead.token".into();
    let dead = session.to_string().into();
    stand.parts.secrets.rotate("session", dead).await.unwrap();
    let account = stand.open();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 10..60 {
        let account = Arc::clone(&account);
        tasks.spawn(async move { account.publish(&post(n)).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(asked(&stand, "refreshSession"), 1);
    assert_eq!(asked(&stand, "createSession"), 1);
    assert_eq!(stand.ledger().len(), 51);
}

#[tokio::test]
async fn the_servers_troubles_are_told_apart() {
    for (status, name, word) in [
        (429, "RateLimitExceeded", "busy"),
        (500, "InternalServerError", "unknown"),
        (502, "UpstreamFailure", "unknown"),
        (400, "InvalidRequest", "refused"),
        (401, "AccountTakedown", "credential"),
        (307, "", "refused"),
    ] {
        let stand = Stand::start(KEYS).await;
        stand.strike(Some("putRecord"), answer(status, name));
        let error = stand.open().publish(&post(1)).await.unwrap_err();
        assert_eq!(error.as_str(), word, "{status} {name}: {error}");
        assert!(stand.ledger().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_app_password_is_told_and_not_tried_again() {
    let mut stand = Stand::start(KEYS).await;
    stand.parts.secrets = Arc::new(InMemory::of([("app_password", "aaaa-bbbb-cccc-dddd")]));
    let refused = stand.open().publish(&post(1)).await.unwrap_err();
    assert_eq!(refused.as_str(), "credential");
    assert!(!refused.to_string().contains("dddd"), "{refused}");
    assert_eq!(stand.wall.seen().len(), 1);
}

async fn threads() -> Practice {
    let practice = Practice::start(
        "bluesky",
        "identifier = \"nassjo.bsky.social\"\nlong = \"thread\"",
    )
    .await;
    // Log-in belongs to no post.
    practice.channel.verify().await.unwrap();
    practice
}

fn expected(post: &Post) -> Vec<String> {
    let rule = TextRule {
        limit: Some(300),
        unit: Unit::Graphemes,
        also: Some((3000, Unit::Bytes)),
    };
    parts::of(post, "Nässjö kommun", &rule).unwrap()
}

fn with_picture(post: Post) -> Post {
    Post {
        picture: Some(picture(900)),
        ..post
    }
}

#[tokio::test]
async fn a_long_text_is_a_thread_that_is_changed_pinned_and_taken_away_as_one() {
    let practice = threads().await;
    let post = with_picture(long_post());
    let receipt = practice.channel.publish(&post).await.unwrap();
    let ledger = practice.ledger();
    let texts: Vec<_> = ledger.iter().map(|posted| posted.text.clone()).collect();
    assert_eq!(texts, expected(&post));
    assert!(texts.len() > 2);
    for pair in ledger.windows(2) {
        assert_eq!(pair[1].in_reply_to.as_ref(), Some(&pair[0].remote_id));
    }
    assert_eq!(ledger[0].pictures[0].alt, post.picture.as_ref().unwrap().alt);
    assert_eq!(ledger.last().unwrap().links, [LINK]);
    assert_eq!(
        practice.channel.publish(&post).await.unwrap().version,
        receipt.version
    );

    practice.channel.pin(&receipt).await.unwrap();
    practice.channel.pin(&receipt).await.unwrap();
    let pinned: Vec<bool> = practice.ledger().iter().map(|posted| posted.pinned).collect();
    assert_eq!(pinned.iter().filter(|pinned| **pinned).count(), 1);
    assert!(pinned[0]);
    practice.channel.unpin(&receipt).await.unwrap();
    practice.channel.unpin(&receipt).await.unwrap();
    assert!(!practice.ledger()[0].pinned);

    // An update answers to the first part, whatever else the receipt remembers.
    let update = crate::social::reply("Nytt. Nässjö kommun.", &receipt);
    practice.channel.publish(&update).await.unwrap();

    let short = crate::social::post(TEXT);
    let changed = practice.channel.edit(&receipt, &short).await.unwrap();
    assert!(changed.note.as_ref().unwrap().contains("the words of before"));
    let again = practice.channel.edit(&changed, &short).await.unwrap();
    assert_eq!(
        again.version, changed.version,
        "the same words are no second change"
    );
    let standing = practice.standing();
    assert_eq!(standing.len(), 2, "the parts that are left over are gone");
    assert_eq!(standing[0].text, TEXT);
    assert_eq!(
        standing[0].pictures.len(),
        1,
        "an edit of the words leaves the picture alone"
    );
    let longer = practice.channel.edit(&changed, &long_post()).await.unwrap_err();
    assert!(
        matches!(&longer, SendError::Refused(reason) if reason.code == "edit-longer"),
        "{longer}"
    );

    practice.channel.retract(&receipt).await.unwrap();
    practice.channel.retract(&receipt).await.unwrap();
    assert_eq!(practice.standing().len(), 1, "the update is another delivery's");
    let stranger = Receipt::of("at://did:plc:x/app.bsky.feed.post/../self");
    assert_eq!(
        practice.channel.pin(&stranger).await.unwrap_err().as_str(),
        "refused"
    );
}

#[tokio::test]
async fn a_thread_with_a_picture_that_is_cut_anywhere_goes_on_and_repeats_no_part() {
    let clean = threads().await;
    let before = clean.requests();
    clean.channel.publish(&with_picture(long_post())).await.unwrap();
    let requests = clean.requests() - before;
    assert!(requests >= 4, "upload and at least three parts");
    for after in 0..requests {
        for how in every_cut() {
            let practice = threads().await;
            let post = with_picture(long_post());
            practice.cut_at(after, None, how.clone());
            let receipt = practice.publish_at_last(&post).await;
            let ledger = practice.ledger();
            let texts: Vec<_> = ledger.iter().map(|posted| posted.text.clone()).collect();
            assert_eq!(texts, expected(&post), "{after} {how:?}");
            assert_eq!(ledger[0].remote_id, receipt.remote_id, "{after} {how:?}");
            if after > 0 {
                assert_eq!(
                    practice.uploads("uploadBlob"),
                    1,
                    "{after} {how:?}: the upload is used again"
                );
            }
            practice.channel.retract(&receipt).await.unwrap();
            assert!(
                practice.standing().is_empty(),
                "{after} {how:?}: all parts are known"
            );
        }
    }
}

#[tokio::test]
async fn a_picture_that_fails_costs_the_picture_and_not_the_text() {
    for (path, status, name, pictures) in [
        ("uploadBlob", 413, "PayloadTooLarge", 0),
        // It may pass at once: it is uploaded once more, and no more often.
        ("uploadBlob", 500, "InternalServerError", 1),
        ("uploadBlob", 429, "RateLimitExceeded", 0),
        ("uploadBlob", 400, "InvalidRequest", 0),
        ("putRecord", 400, "InvalidRequest", 0),
        // The server forgot the file: it is uploaded once more.
        ("putRecord", 400, "BlobNotFound", 1),
    ] {
        let practice = threads().await;
        practice.cut_at(0, Some(path), answer(status, name));
        let receipt = practice
            .channel
            .publish(&with_picture(crate::social::post(TEXT)))
            .await
            .unwrap();
        let ledger = practice.ledger();
        assert_eq!(
            (ledger.len(), ledger[0].pictures.len()),
            (1, pictures),
            "{path} {name}"
        );
        let told = receipt
            .note
            .is_some_and(|note| note.contains("without its picture"));
        assert_eq!(told, pictures == 0, "{path} {name}");
    }
    let practice = threads().await;
    practice.strike_path("uploadBlob", 2, answer(500, "InternalServerError"));
    let alone = with_picture(crate::social::post(TEXT));
    let receipt = practice.channel.publish(&alone).await.unwrap();
    assert!(receipt.note.unwrap().contains("without its picture"));
    assert_eq!(practice.uploads("uploadBlob"), 2);
    let practice = threads().await;
    practice.cut_at(0, Some("uploadBlob"), answer(401, "AccountTakedown"));
    let refused = practice
        .channel
        .publish(&with_picture(crate::social::post(TEXT)))
        .await
        .unwrap_err();
    assert_eq!(refused.as_str(), "credential");
}

#[tokio::test]
async fn a_profile_that_changes_meanwhile_is_not_overwritten() {
    let practice = threads().await;
    let receipt = practice
        .channel
        .publish(&crate::social::post(TEXT))
        .await
        .unwrap();
    practice.cut_at(0, Some("putRecord"), answer(400, "InvalidSwap"));
    let retry = practice.channel.pin(&receipt).await.unwrap_err();
    assert_eq!(retry.as_str(), "not-sent");
    practice.channel.pin(&receipt).await.unwrap();
    assert!(practice.ledger()[0].pinned);
}

#[tokio::test]
async fn what_is_left_is_told_with_each_post() {
    let stand = Stand::start(KEYS).await;
    let account = stand.open();
    account.publish(&post(1)).await.unwrap();
    let first = account.quota().unwrap();
    assert!(first.resets_at.is_some() && first.limit.is_some_and(|limit| limit > first.left));
    account.publish(&post(2)).await.unwrap();
    assert!(account.quota().unwrap().left < first.left);
}
