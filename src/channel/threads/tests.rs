//! Every row of the reference page's error table, the order of the steps, and the token's renewal, against a service that
//! answers as told.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::*;
use crate::channel::Secrets;
use crate::channel::testing::{Server, answer, json, parts, post, question};
use crate::model::{Notebook, Steps};

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const ID: &str = r#"{"id":"1"}"#;
const READY: &str = r#"{"id":"1","status":"FINISHED"}"#;

fn settings(server: &Server) -> Threads {
    Threads {
        user_id: "1780".to_owned(),
        base_url: server.base.clone(),
        login_url: server.base.clone(),
        long: false,
        public: None,
        settle_wait: Duration::from_millis(20),
        pauses: Pauses {
            look: Duration::from_millis(1),
            ready: Duration::ZERO,
            lost: Duration::from_millis(1),
        },
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server)
        .open(parts([("access_token", "hemlig")]))
        .unwrap()
}

fn envelope(code: i64, subcode: i64, transient: bool) -> String {
    let mut error = json!({
        "message": "(#190, 506, 490) error 190", "type": "OAuthException", "code": code,
        "is_transient": transient, "fbtrace_id": "AbC",
    });
    if subcode != 0 {
        error["error_subcode"] = subcode.into();
    }
    json!({ "error": error }).to_string()
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

fn times(times: usize, answers: [String; 2]) -> Vec<String> {
    std::iter::repeat_n(answers, times).flatten().collect()
}

fn lines(server: &Server) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.line).collect()
}

#[tokio::test]
async fn a_post_is_a_container_then_its_status_then_its_publication() {
    let link = r#"{"id":"2","permalink":"https://www.threads.net/@nassjo/post/Abc"}"#;
    let server = Server::start(vec![
        json(200, ID),
        json(200, r#"{"id":"1","status":"IN_PROGRESS"}"#),
        json(200, READY),
        json(200, r#"{"id":"2"}"#),
        json(200, link),
    ])
    .await;
    let receipt = account(&server).publish(&post(TEXT)).await.unwrap();
    assert_eq!(
        receipt,
        Receipt::of("2").at("https://www.threads.net/@nassjo/post/Abc")
    );
    assert_eq!(
        lines(&server),
        [
            "POST /v1.0/me/threads",
            "GET /v1.0/1?fields=id%2Cstatus%2Cerror_message",
            "GET /v1.0/1?fields=id%2Cstatus%2Cerror_message",
            "POST /v1.0/me/threads_publish",
            "GET /v1.0/2?fields=id%2Cpermalink",
        ]
    );
    let asked = server.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.headers["authorization"] == "Bearer hemlig")
    );
    let made = form(&asked[0].body);
    let expected = [
        ("text", TEXT),
        ("media_type", "TEXT"),
        ("link_attachment", "https://nassjo.se/kris"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(made, BTreeMap::from(expected));
    assert_eq!(
        form(&asked[3].body),
        BTreeMap::from([("creation_id".to_owned(), "1".to_owned())])
    );
}

/// Remembers what was asked of the service when each step was written.
struct Diary {
    server: Arc<Server>,
    lines: Mutex<Vec<(String, usize)>>,
}

#[async_trait]
impl Notebook for Diary {
    async fn write(&self, name: &str, value: &str) -> Result<(), Reason> {
        let line = format!("{name}={value}");
        self.lines.lock().unwrap().push((line, self.server.asked().len()));
        Ok(())
    }
}

#[tokio::test]
async fn each_step_is_written_down_before_the_next_request() {
    let server = Server::start(vec![
        json(200, ID),
        json(200, READY),
        json(200, r#"{"id":"2"}"#),
        json(200, "{}"),
    ]);
    let server = Arc::new(server.await);
    let diary = Arc::new(Diary {
        server: Arc::clone(&server),
        lines: Mutex::default(),
    });
    let mut post = post(TEXT);
    post.steps = Steps::default().written_to(Arc::clone(&diary) as Arc<dyn Notebook>);
    account(&server).publish(&post).await.unwrap();
    let lines = diary.lines.lock().unwrap().clone();
    let expected = [
        ("part-1-container=1", 1),
        ("part-1-sent=1", 2),
        ("part-1-id=2", 3),
    ];
    assert_eq!(
        lines,
        expected.map(|(line, requests)| (line.to_owned(), requests))
    );
}

#[tokio::test]
async fn what_is_known_is_not_done_again() {
    let server = Server::start(vec![
        json(200, READY),
        json(200, r#"{"id":"2"}"#),
        json(200, "{}"),
    ])
    .await;
    let mut post = post(TEXT);
    post.steps = Steps::of([("part-1-container", "1")]);
    account(&server).publish(&post).await.unwrap();
    assert_eq!(
        lines(&server),
        [
            "GET /v1.0/1?fields=id%2Cstatus%2Cerror_message",
            "POST /v1.0/me/threads_publish",
            "GET /v1.0/2?fields=id%2Cpermalink"
        ]
    );
}

/// Status, code, subcode, transient; what it means when a container is made, and when it is published.
const ERRORS: &[(u16, i64, i64, bool, &str, &str)] = &[
    (400, 190, 463, false, "credential", "credential"),
    (400, 102, 0, false, "credential", "credential"),
    (403, 10, 0, false, "refused", "refused"),
    (403, 200, 0, false, "refused", "refused"),
    (403, 299, 0, false, "refused", "refused"),
    (400, 100, 0, false, "refused", "refused"),
    (400, 24, 4_279_009, false, "not-sent", "unknown"),
    (400, 100, 33, false, "refused", "unknown"),
    (400, 9007, 2_207_027, false, "not-sent", "not-sent"),
    (500, -1, 0, false, "not-sent", "unknown"),
    (500, 1, 0, false, "not-sent", "unknown"),
    (500, 2, 0, true, "not-sent", "unknown"),
    (400, 9999, 0, true, "not-sent", "unknown"),
    (502, 9999, 0, false, "not-sent", "unknown"),
    (400, 506, 0, false, "refused", "unknown"),
    (403, 4, 0, false, "busy", "busy"),
    (400, 17, 0, false, "busy", "busy"),
    (400, 32, 0, false, "busy", "busy"),
    (400, 613, 0, false, "busy", "busy"),
    (403, 4, 2_207_051, false, "refused", "refused"),
    (400, 10, 4_279_013, false, "refused", "refused"),
    (400, 9004, 2_207_052, false, "not-sent", "not-sent"),
    (400, 36_003, 2_207_009, false, "refused", "refused"),
];

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    for (status, code, subcode, transient, making, publishing) in ERRORS {
        let no = json(*status, &envelope(*code, *subcode, *transient));
        let server = Server::start(vec![no.clone()]).await;
        let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(error.as_str(), *making, "making: {code}/{subcode}");
        assert!(error.reason().text.contains("trace AbC"), "{error}");

        let mut answers = vec![json(200, ID), json(200, READY), no.clone()];
        // Whether a block was one, and whether a picture held it up, is asked of the container; what is lost or not
        // ready is tried again.
        match (*code, *subcode) {
            (_, 2_207_051 | 4_279_013) | (36_003, _) => answers.push(json(200, READY)),
            (9004, _) => answers.extend(times(4, [json(200, READY), no])),
            _ => answers.push(no),
        }
        let server = Server::start(answers).await;
        let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(error.as_str(), *publishing, "publishing: {code}/{subcode}");
    }
}

/// What a refused picture means when the container was to be published is what the container says.
#[tokio::test]
async fn a_container_that_was_published_all_the_same_is_asked_for_its_post() {
    for (code, subcode) in [
        (9004, 0),
        (-2, 2_207_003),
        (1, 2_207_020),
        (352, 2_207_077),
        (36_003, 2_207_009),
    ] {
        for (state, expected) in [
            (r#"{"id":"1","status":"PUBLISHED"}"#, None),
            (r#"{"id":"1","status":"IN_PROGRESS"}"#, Some("unknown")),
            (r#"{"id":"1","status":"EXPIRED"}"#, Some("unknown")),
        ] {
            let no = json(400, &envelope(code, subcode, false));
            let list = json!({"data": [{"id": "77", "text": TEXT, "timestamp": "2026-11-23T15:58:10+0000"}]});
            let server = Server::start(vec![
                json(200, ID),
                json(200, READY),
                no,
                json(200, state),
                json(200, &list.to_string()),
            ])
            .await;
            let result = account(&server).publish(&post(TEXT)).await;
            match expected {
                None => assert_eq!(result.unwrap().remote_id, "77", "{code}/{subcode}"),
                Some(class) => assert_eq!(result.unwrap_err().as_str(), class, "{code}/{subcode}"),
            }
        }
    }
}

#[tokio::test]
async fn answers_from_in_front_of_the_service_are_classed_by_status() {
    for (status, making, publishing) in [
        (301, "refused", "refused"),
        (401, "credential", "credential"),
        (404, "refused", "refused"),
        (429, "busy", "busy"),
        (500, "not-sent", "unknown"),
        (502, "not-sent", "unknown"),
    ] {
        let no = answer(status, &[], "<html>190</html>");
        let server = Server::start(vec![no.clone()]).await;
        let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(error.as_str(), making, "making: {status}");
        let server = Server::start(vec![json(200, ID), json(200, READY), no]).await;
        let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(error.as_str(), publishing, "publishing: {status}");
    }
}

#[tokio::test]
async fn a_container_that_came_to_nothing_is_made_anew_three_times_and_no_more() {
    let broken = r#"{"id":"1","status":"ERROR","error_message":"UNKNOWN"}"#;
    let expired = r#"{"id":"1","status":"EXPIRED"}"#;
    for state in [broken, expired] {
        let server = Server::start(vec![
            json(200, ID),
            json(200, state),
            json(200, r#"{"id":"2"}"#),
            json(200, READY),
            json(200, r#"{"id":"3"}"#),
            json(200, "{}"),
        ])
        .await;
        let post = post(TEXT);
        assert_eq!(account(&server).publish(&post).await.unwrap().remote_id, "3");
        assert_eq!(post.steps.get("part-1-container-2").unwrap(), "2");
        let rounds = times(3, [json(200, ID), json(200, state)]);
        let server = Server::start(rounds).await;
        let error = account(&server)
            .publish(&crate::channel::testing::post(TEXT))
            .await
            .unwrap_err();
        assert_eq!(error.as_str(), "refused", "{error}");
        assert_eq!(server.asked().len(), 6);
    }
    let hopeless = r#"{"id":"1","status":"ERROR","error_message":"INVALID_ASPEC_RATIO"}"#;
    let server = Server::start(vec![json(200, ID), json(200, hopeless)]).await;
    let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
    assert_eq!((error.as_str(), server.asked().len()), ("refused", 2));
}

#[tokio::test]
async fn a_container_that_takes_its_time_is_waited_for_by_the_next_attempt() {
    let server = Server::start(vec![
        json(200, ID),
        json(200, r#"{"id":"1","status":"IN_PROGRESS"}"#),
    ])
    .await;
    let error = account(&server).publish(&post(TEXT)).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Busy { until: Some(_), .. }),
        "{error}"
    );
}

/// What the container's status, or its absence, makes of an attempt of unknown outcome.
#[tokio::test]
async fn the_container_tells_what_became_of_an_attempt() {
    let list = |text: &str| {
        json!({"data": [{"id": "77", "text": text, "timestamp": "2026-11-23T15:58:10+0000",
            "permalink": "https://www.threads.net/@n/post/x"}]})
        .to_string()
    };
    let status = |word: &str| json!({"id": "1", "status": word}).to_string();
    let absent = envelope(24, 4_279_009, false);
    let found = Settled::Found(Receipt::of("77").at("https://www.threads.net/@n/post/x"));
    let empty = json!({"data": []}).to_string();
    for (container, posts, expected) in [
        ((200, status("PUBLISHED")), list(TEXT), Some(found.clone())),
        ((200, status("FINISHED")), list(TEXT), Some(Settled::Absent)),
        ((200, status("EXPIRED")), empty.clone(), Some(Settled::Absent)),
        ((200, status("EXPIRED")), list(TEXT), Some(found.clone())),
        ((400, absent.clone()), list(TEXT), Some(found)),
        ((400, absent), empty.clone(), Some(Settled::Absent)),
        ((200, "{}".to_owned()), empty, None),
    ] {
        let answers = times(2, [json(container.0, &container.1), json(200, &posts)]);
        let server = Server::start(answers).await;
        let mut post = post(TEXT);
        post.steps = Steps::of([("part-1-container", "1"), ("part-1-sent", "1")]);
        let settled = account(&server).settle(&question(post)).await;
        assert_eq!(settled.ok(), expected, "{container:?} {posts}");
    }
}

#[tokio::test]
async fn without_a_published_container_there_is_nothing_to_ask() {
    let server = Server::start(vec![json(500, "")]).await;
    for steps in [Steps::default(), Steps::of([("part-1-container", "1")])] {
        let mut post = post(TEXT);
        post.steps = steps;
        let settled = account(&server).settle(&question(post)).await.unwrap();
        assert_eq!(settled, Settled::Absent);
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_published_post_that_does_not_show_is_published_all_the_same() {
    let nothing = json(200, r#"{"data":[]}"#);
    let published = json(200, r#"{"id":"1","status":"PUBLISHED"}"#);
    let server = Server::start(times(2, [published, nothing])).await;
    let mut post = post(TEXT);
    post.steps = Steps::of([("part-1-container", "1"), ("part-1-sent", "1")]);
    let settled = account(&server).settle(&question(post)).await.unwrap();
    let Settled::Found(receipt) = settled else {
        panic!("{settled:?}")
    };
    assert_eq!(receipt.remote_id, "container:1");
    assert!(receipt.note.is_some());
    let error = account(&server).retract(&receipt).await.unwrap_err();
    assert_eq!(error.reason().code, "nameless");
}

#[tokio::test]
async fn another_deliverys_post_is_never_the_answer() {
    let list = r#"{"data":[{"id":"77","text":"Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris","timestamp":"2026-11-23T15:58:10+0000"}]}"#;
    let gone = json(200, r#"{"id":"1","status":"EXPIRED"}"#);
    let server = Server::start(times(2, [gone, json(200, list)])).await;
    let mut post = post(TEXT);
    post.steps = Steps::of([("part-1-container", "1"), ("part-1-sent", "1")]);
    let mut question = question(post);
    question.taken = vec!["77".to_owned()];
    assert_eq!(account(&server).settle(&question).await.unwrap(), Settled::Absent);
}

/// Secrets that write down in which order they were changed.
#[derive(Debug)]
struct Vault {
    held: Mutex<BTreeMap<String, String>>,
    fails: bool,
}

#[async_trait]
impl Secrets for Vault {
    fn get(&self, name: &str) -> Option<SecretString> {
        self.held
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .map(SecretString::from)
    }

    async fn rotate(&self, name: &str, secret: SecretString) -> Result<(), Reason> {
        if self.fails {
            return Err(Reason::new("disk", "full"));
        }
        let secret = secret.expose_secret().to_owned();
        self.held.lock().unwrap().insert(name.to_owned(), secret);
        Ok(())
    }
}

async fn verified(answers: Vec<String>, vault: &Arc<Vault>) -> (Result<Identity, SendError>, Server) {
    let server = Server::start(answers).await;
    let mut parts = parts([]);
    parts.secrets = Arc::clone(vault) as Arc<dyn Secrets>;
    let account = settings(&server).open(parts).unwrap();
    (account.verify().await, server)
}

fn vault(fails: bool) -> Arc<Vault> {
    Arc::new(Vault {
        held: Mutex::new(BTreeMap::from([("access_token".to_owned(), "gammal".to_owned())])),
        fails,
    })
}

const ME: &str = r#"{"id":"1780","username":"nassjo"}"#;
const QUOTA: &str = r#"{"data":[{"quota_usage":3,"config":{"quota_total":250,"quota_duration":86400}}]}"#;
const RENEWED: &str = r#"{"access_token":"ny","token_type":"bearer","expires_in":5183944}"#;

#[tokio::test]
async fn a_token_is_renewed_every_week_and_on_disk_before_it_is_used() {
    let vault = vault(false);
    let (identity, server) =
        verified(vec![json(200, RENEWED), json(200, ME), json(200, QUOTA)], &vault).await;
    let identity = identity.unwrap();
    assert_eq!(identity.facts["token_days_left"], "59");
    assert_eq!(identity.facts["posts_left"], "247");
    let asked = server.asked();
    assert_eq!(
        asked[0].line,
        "GET /refresh_access_token?grant_type=th_refresh_token"
    );
    let tokens: Vec<&str> = asked
        .iter()
        .map(|asked| asked.headers["authorization"].as_str())
        .collect();
    // The last one asks what the new token may.
    assert_eq!(tokens, ["Bearer gammal", "Bearer ny", "Bearer ny", "Bearer ny"]);
    assert_eq!(vault.held.lock().unwrap()["access_token"], "ny");
    // It is young now.
    let (_, server) = verified(vec![json(200, ME), json(200, QUOTA)], &vault).await;
    assert_eq!(server.asked()[0].line.split('?').next(), Some("GET /v1.0/me"));
    // A person has set another one: nothing is known of it.
    vault
        .held
        .lock()
        .unwrap()
        .insert("access_token".to_owned(), "annan".to_owned());
    let young = json(400, &envelope(100, 0, false));
    let (identity, _server) = verified(vec![young, json(200, ME), json(200, QUOTA)], &vault).await;
    let facts = identity.unwrap().facts;
    assert!(facts["token_renewal"].starts_with("not renewed"), "{facts:?}");
    assert!(!facts.contains_key("token_days_left"));
}

#[tokio::test]
async fn a_token_that_cannot_be_kept_is_not_used() {
    let vault = vault(true);
    let (identity, server) =
        verified(vec![json(200, RENEWED), json(200, ME), json(200, QUOTA)], &vault).await;
    assert!(identity.unwrap().facts["token_renewal"].contains("full"));
    let last = server.asked().pop().unwrap();
    assert_eq!(last.headers["authorization"], "Bearer gammal");
}

#[tokio::test]
async fn a_token_of_another_profile_or_without_the_right_to_publish_is_refused() {
    let young = json(400, &envelope(100, 0, false));
    let other = json(200, r#"{"id":"4","username":"nassjo"}"#);
    let (identity, _server) = verified(vec![young.clone(), other], &vault(false)).await;
    assert_eq!(identity.unwrap_err().reason().code, "wrong-token");
    let denied = json(403, &envelope(10, 0, false));
    let (identity, _server) = verified(vec![young, json(200, ME), denied], &vault(false)).await;
    assert_eq!(identity.unwrap_err().as_str(), "refused");
}

#[test]
fn the_practice_profile_shares_no_address_with_the_real_one() {
    let real = Threads {
        user_id: "17841400000000001".to_owned(),
        base_url: "https://graph.threads.net".parse().unwrap(),
        login_url: "https://graph.threads.net".parse().unwrap(),
        long: true,
        public: Some(PublicFolder {
            folder: "/srv/bilder".into(),
            url: "https://nassjo.se/bilder".parse().unwrap(),
        }),
        settle_wait: Duration::from_secs(30),
        pauses: Pauses::REAL,
    };
    let site = WallSite {
        base: "http://127.0.0.1:9/drill/threads-nassjo".parse().unwrap(),
        smtp: "127.0.0.1:25".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: "/tmp/vagg".into(),
    };
    let there = real.at_wall(&site).addresses();
    for address in real.addresses() {
        assert!(!there.contains(&address), "{address:?}");
    }
    assert!(there.contains(&(
        "public_url",
        "http://127.0.0.1:9/drill/threads-nassjo/public".to_owned()
    )));
    assert_eq!(real.parts(), parts::MOST);
}

#[tokio::test]
async fn what_is_used_is_told_with_the_publication() {
    let usage = r#"{"call_count":96,"total_time":25,"total_cputime":25}"#;
    let headers = [("content-type", "application/json"), ("X-App-Usage", usage)];
    let server = Server::start(vec![
        json(200, ID),
        json(200, READY),
        answer(200, &headers, r#"{"id":"2"}"#),
        json(
            200,
            r#"{"id":"2","permalink":"https://www.threads.net/@nassjo/post/Abc"}"#,
        ),
    ])
    .await;
    let account = account(&server);
    account.publish(&post(TEXT)).await.unwrap();
    assert_eq!(account.quota().map(|quota| quota.left), Some(4));
}
