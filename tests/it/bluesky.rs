//! The Bluesky adapter against the practice wall's server.

use std::sync::Arc;

use secrecy::ExposeSecret;
use vardkase::channel::secrets::InMemory;
use vardkase::model::{SendError, Settled};
use vardkase::wall::How;

use crate::direct::{Stand, cuts, post, question};

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
