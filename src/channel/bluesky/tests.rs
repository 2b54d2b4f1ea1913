use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;

use super::*;
use crate::channel::Secrets;
use crate::channel::secrets::InMemory;
use crate::channel::testing::{self, Server, accepted_at, json, post};

const PUT: &str =
    r#"{"uri":"at://did:plc:abc/app.bsky.feed.post/3mabc","cid":"bafy1","commit":{"cid":"x","rev":"y"}}"#;

/// A token that lives from `from` to `to` seconds after acceptance.
fn token(mark: &str, from: i64, to: i64) -> String {
    let at = accepted_at().as_second();
    let claims = json!({ "iat": at + from, "exp": at + to, "jti": mark });
    format!("eyJ{mark}.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

pub(super) fn session(mark: &str) -> String {
    session_of(mark, 0, 7200)
}

fn session_of(mark: &str, from: i64, to: i64) -> String {
    json(
        200,
        &json!({
            "accessJwt": token(&format!("access{mark}"), from, to),
            "refreshJwt": token(&format!("refresh{mark}"), from, to),
            "did": "did:plc:abc", "handle": "nassjo.test", "active": true,
            "didDoc": { "service": [{ "id": "#atproto_pds", "serviceEndpoint": "https://pds.example.org" }] },
        })
        .to_string(),
    )
}

fn error(status: u16, name: &str) -> String {
    json(status, &json!({ "error": name, "message": "words" }).to_string())
}

fn open(server: &Server, secrets: &Arc<InMemory>) -> Arc<dyn Channel> {
    open_as(false, server, secrets)
}

/// An account that makes threads of long texts.
pub(super) fn open_long(server: &Server, secrets: &Arc<InMemory>) -> Arc<dyn Channel> {
    open_as(true, server, secrets)
}

fn open_as(long: bool, server: &Server, secrets: &Arc<InMemory>) -> Arc<dyn Channel> {
    let account = Account {
        service: server.base.clone(),
        identifier: "nassjo.test".to_owned(),
        long,
    };
    let mut parts = testing::parts([]);
    parts.secrets = Arc::clone(secrets) as Arc<dyn Secrets>;
    account.open(parts).unwrap()
}

pub(super) fn secrets() -> Arc<InMemory> {
    Arc::new(InMemory::of([("app_password", "abcd-efgh-ijkl-mnop")]))
}

fn lines(server: &Server) -> Vec<String> {
    let path = |line: String| line.split('?').next().unwrap().replace("/xrpc/com.atproto.", "");
    server.asked().into_iter().map(|a| path(a.line)).collect()
}

#[tokio::test]
async fn a_post_is_put_on_the_condition_that_nothing_stands_there() {
    let server = Server::start(vec![session("1"), json(200, PUT)]).await;
    let secrets = secrets();
    let account = open(&server, &secrets);
    let post = post("Koka vattnet. https://nassjo.se/kris");
    let receipt = account.publish(&post).await.unwrap();
    assert_eq!(receipt.remote_id, "at://did:plc:abc/app.bsky.feed.post/3mabc");
    assert_eq!(receipt.version.as_deref(), Some("bafy1"));
    assert!(
        receipt
            .url
            .unwrap()
            .ends_with(&format!("/profile/nassjo.test/post/{}", record::rkey(&post)))
    );
    let asked = server.asked();
    assert_eq!(asked[0].json()["identifier"], "nassjo.test");
    let put = asked[1].json();
    assert_eq!(put["swapRecord"], Value::Null);
    assert!(put.as_object().unwrap().contains_key("swapRecord"));
    assert_eq!(put["repo"], "did:plc:abc");
    assert_eq!(put["rkey"], record::rkey(&post));
    assert!(asked[1].headers["authorization"].starts_with("Bearer eyJaccess1."));
    account.publish(&post).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        asked[1].body, asked[2].body,
        "a repeat is the same bytes, and logs in no second time"
    );
    assert!(
        secrets
            .get("session")
            .unwrap()
            .expose_secret()
            .contains("eyJaccess1")
    );
    let shown = format!("{account:?}");
    assert!(!shown.contains("eyJ") && !shown.contains("mnop"), "{shown}");
}

#[tokio::test]
async fn a_dead_token_is_renewed_once_and_the_new_one_is_kept_before_it_is_used() {
    let server = Server::start(vec![
        session("1"),
        json(200, PUT),
        error(400, "ExpiredToken"),
        session("2"),
        json(200, PUT),
    ])
    .await;
    let secrets = secrets();
    let account = open(&server, &secrets);
    account.publish(&post("x")).await.unwrap();
    account.publish(&post("x")).await.unwrap();
    assert_eq!(
        lines(&server),
        [
            "POST server.createSession",
            "POST repo.putRecord",
            "POST repo.putRecord",
            "POST server.refreshSession",
            "POST repo.putRecord"
        ]
    );
    let asked = server.asked();
    assert!(asked[3].headers["authorization"].starts_with("Bearer eyJrefresh1."));
    assert!(asked[3].body.is_empty());
    assert!(asked[4].headers["authorization"].starts_with("Bearer eyJaccess2."));
    assert!(
        secrets
            .get("session")
            .unwrap()
            .expose_secret()
            .contains("eyJaccess2")
    );
}

/// A vault whose disk is full.
#[derive(Debug)]
struct Full(InMemory);

#[async_trait]
impl Secrets for Full {
    fn get(&self, name: &str) -> Option<secrecy::SecretString> {
        self.0.get(name)
    }

    async fn rotate(&self, _: &str, _: secrecy::SecretString) -> Result<(), Reason> {
        Err(Reason::new("vault", "the disk is full"))
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_written_down_is_not_used() {
    let server = Server::start(vec![session("1"), json(200, PUT)]).await;
    let account = Account {
        service: server.base.clone(),
        identifier: "nassjo.test".to_owned(),
        long: false,
    };
    let mut parts = testing::parts([]);
    parts.secrets = Arc::new(Full(InMemory::of([("app_password", "abcd-efgh-ijkl-mnop")])));
    let not_sent = account
        .open(parts)
        .unwrap()
        .publish(&post("x"))
        .await
        .unwrap_err();
    assert!(
        matches!(&not_sent, SendError::NotSent(r) if r.code == "vault"),
        "{not_sent}"
    );
    assert_eq!(lines(&server), ["POST server.createSession"]);
}

#[tokio::test]
async fn a_session_is_renewed_before_it_ends_and_survives_a_restart() {
    // Ten seconds after acceptance, a token that began 900 s before and ends in 100 s is old.
    let server = Server::start(vec![
        session_of("1", -900, 100),
        json(200, PUT),
        session("2"),
        json(200, PUT),
    ])
    .await;
    let secrets = secrets();
    open(&server, &secrets).publish(&post("x")).await.unwrap();
    let again = open(&server, &secrets);
    again.publish(&post("x")).await.unwrap();
    again.publish(&post("x")).await.unwrap();
    assert_eq!(
        lines(&server),
        [
            "POST server.createSession",
            "POST repo.putRecord",
            "POST server.refreshSession",
            "POST repo.putRecord",
            "POST repo.putRecord"
        ]
    );
}

#[tokio::test]
async fn where_renewing_fails_the_password_is_tried_once_and_then_a_person_is_told() {
    let server = Server::start(vec![
        session("1"),
        error(400, "ExpiredToken"),
        error(400, "ExpiredToken"),
        error(401, "AuthenticationRequired"),
    ])
    .await;
    let account = open(&server, &secrets());
    let dead = account.publish(&post("x")).await.unwrap_err();
    assert_eq!(dead.as_str(), "credential");
    assert!(dead.to_string().contains("app password"), "{dead}");
    assert_eq!(
        lines(&server),
        [
            "POST server.createSession",
            "POST repo.putRecord",
            "POST server.refreshSession",
            "POST server.createSession"
        ]
    );
    let server = Server::start(vec![
        session("1"),
        error(400, "InvalidToken"),
        session("2"),
        error(400, "InvalidToken"),
    ])
    .await;
    let dead = open(&server, &secrets()).publish(&post("x")).await.unwrap_err();
    assert_eq!((dead.as_str(), lines(&server).len()), ("credential", 4));
}

#[tokio::test]
async fn what_stands_there_already_is_compared() {
    let found = |text: &str| {
        json(200, &json!({ "uri": "at://did:plc:abc/app.bsky.feed.post/3mabc", "cid": "bafy9", "value": { "text": text } }).to_string())
    };
    let server = Server::start(vec![session("1"), error(400, "InvalidSwap"), found("x")]).await;
    let receipt = open(&server, &secrets()).publish(&post("x")).await.unwrap();
    assert_eq!(receipt.version.as_deref(), Some("bafy9"));
    let server = Server::start(vec![session("1"), error(400, "InvalidSwap"), found("annat")]).await;
    let refused = open(&server, &secrets()).publish(&post("x")).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Refused(r) if r.code == "conflict"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_unknown_and_is_settled_by_reading_back() {
    for body in [
        "",
        "{}",
        "<html>",
        r#"{"uri":null,"cid":1}"#,
        r#"{"uri":"https://evil","cid":"x"}"#,
        r#"{"uri":"at:"#,
    ] {
        let server = Server::start(vec![session("1"), json(200, body)]).await;
        let lost = open(&server, &secrets()).publish(&post("x")).await.unwrap_err();
        assert_eq!(lost.as_str(), "unknown", "{body}");
    }
    let found = json!({ "uri": "at://did:plc:abc/app.bsky.feed.post/3mabc", "cid": "bafy9", "value": { "text": "x" } });
    for (answer, settled) in [
        (json(200, &found.to_string()), "found"),
        (error(400, "RecordNotFound"), "absent"),
        (error(500, "InternalServerError"), "error"),
        (json(200, "{}"), "error"),
    ] {
        let server = Server::start(vec![session("1"), answer]).await;
        let said = match open(&server, &secrets())
            .settle(&testing::question(post("x")))
            .await
        {
            Ok(Settled::Found(_)) => "found",
            Ok(Settled::Absent) => "absent",
            Ok(Settled::Refused(_)) => "refused",
            Ok(Settled::Unclear(_)) => "unclear",
            Err(SendError::NotSent(_)) => "error",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(said, settled);
    }
}

#[tokio::test]
async fn a_closed_account_is_told_and_not_posted_to() {
    let closed = json(
        200,
        r#"{"accessJwt":"a","refreshJwt":"b","did":"did:plc:abc","active":false,"status":"takendown"}"#,
    );
    let server = Server::start(vec![closed]).await;
    let dead = open(&server, &secrets()).publish(&post("x")).await.unwrap_err();
    assert!(
        matches!(&dead, SendError::Credential(r) if r.text.contains("takendown")),
        "{dead}"
    );
}

#[tokio::test]
async fn only_our_own_posts_are_taken_away() {
    let server = Server::start(vec![session("1"), json(200, "{}")]).await;
    let account = open(&server, &secrets());
    let ours = Receipt::of(format!(
        "at://did:plc:abc/app.bsky.feed.post/{}",
        record::rkey(&post("x"))
    ));
    account.retract(&ours).await.unwrap();
    assert_eq!(server.asked()[1].json()["rkey"], record::rkey(&post("x")));
    for id in [
        "at://did:plc:abc/app.bsky.feed.like/3kaaaaaaaaaa2",
        "at://x/app.bsky.feed.post/../1",
        "",
    ] {
        assert_eq!(
            account.retract(&Receipt::of(id)).await.unwrap_err().as_str(),
            "refused",
            "{id}"
        );
    }
}
