//! Every row of the reference page's error table, the renewal of the token, settling, editing and the picture, against a
//! service that answers as told.

use jiff::SignedDuration;
use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use super::*;
use crate::channel::testing::{Server, accepted_at, answer, json as answer_json, parts, post, question};
use crate::model::{Picture, Steps};

const TEXT: &str = "Koka vattnet i Nässjö (centrum).\n\nhttps://nassjo.se/kris_1";
const ESCAPED: &str = "Koka vattnet i Nässjö \\(centrum\\).\n\nhttps://nassjo.se/kris\\_1";
const URN: &str = "urn:li:share:7243000000000000000";
const SECRETS: [(&str, &str); 4] = [
    ("access_token", "gammal-hemlighet"),
    ("refresh_token", "fornya-hemlighet"),
    ("client_id", "appens-nummer"),
    ("client_secret", "appens-hemlighet"),
];

fn settings(server: &Server) -> LinkedIn {
    LinkedIn {
        organization: "42".to_owned(),
        versions: vec![DEFAULT_VERSION.to_owned()],
        base_url: server.base.clone(),
        login_url: server.base.clone(),
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server).open(parts(SECRETS)).unwrap()
}

fn fresh() -> Post {
    Post {
        steps: Steps::default(),
        ..post(TEXT)
    }
}

fn begun() -> Post {
    Post {
        steps: Steps::of([(CREATE, "1")]),
        ..post(TEXT)
    }
}

fn made() -> String {
    answer(201, &[("x-restli-id", URN)], "")
}

async fn publish(post: &Post, answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(post).await;
    (result, server)
}

fn coded(status: u16, code: &str) -> String {
    answer_json(
        status,
        &json!({"status": status, "code": code, "message": "nej"}).to_string(),
    )
}

fn stored(commentary: &str, at: Timestamp) -> Value {
    let at = at.as_millisecond();
    json!({"id": URN, "commentary": commentary, "createdAt": at, "lastModifiedAt": at})
}

#[tokio::test]
async fn a_post_is_one_request_with_its_text_escaped() {
    let (result, server) = publish(&fresh(), vec![made()]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, URN);
    assert_eq!(receipt.url.unwrap(), format!("{}feed/update/{URN}/", server.base));
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /rest/posts");
    assert_eq!(asked[0].json()["commentary"], ESCAPED);
    assert_eq!(asked[0].json()["author"], "urn:li:organization:42");
    assert_eq!(asked[0].headers["linkedin-version"], DEFAULT_VERSION);
    assert_eq!(asked[0].headers["x-restli-protocol-version"], "2.0.0");
    assert_eq!(asked[0].headers["authorization"], "Bearer gammal-hemlighet");
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let service = r#"{"status":403,"serviceErrorCode":100,"message":"Field Value validation failed"}"#;
    let rows = [
        (coded(400, "VERSION_MISSING"), "refused"),
        (coded(426, "NONEXISTENT_VERSION"), "refused"),
        (coded(426, "VERSION_DEPRECATED"), "refused"),
        (coded(400, "FIELD_LENGTH_TOO_LONG"), "refused"),
        (coded(400, "INVALID_VALUE_FOR_FIELD"), "refused"),
        (coded(400, "MISSING_FIELD"), "refused"),
        (coded(400, "MEDIA_ASSET_PROCESSING_FAILED"), "refused"),
        (coded(400, "MEDIA_ASSET_WAITING_UPLOAD"), "refused"),
        (coded(403, "ACCESS_DENIED"), "refused"),
        (answer_json(403, service), "refused"),
        (answer_json(403, r#"{"status":403}"#), "refused"),
        (coded(404, "NOT_FOUND"), "refused"),
        (coded(409, "CONFLICT"), "unknown"),
        (coded(422, "UNPROCESSABLE_ENTITY"), "refused"),
        (coded(422, "DUPLICATE_POST"), "refused"),
        (coded(429, "TOO_MANY_REQUESTS"), "busy"),
        (answer(301, &[], ""), "refused"),
        (answer(408, &[], ""), "unknown"),
        (answer(500, &[], ""), "unknown"),
        (answer(502, &[], "<html>"), "unknown"),
        (answer(503, &[], ""), "unknown"),
        (answer(504, &[], ""), "unknown"),
        // Made, but not named: reading back tells.
        (answer(201, &[], ""), "unknown"),
        (
            answer(201, &[("x-restli-id", "urn:li:share:../x")], ""),
            "unknown",
        ),
        (String::new(), "unknown"),
    ];
    for (answer, class) in rows {
        let shown: String = answer.chars().take(200).collect();
        let error = publish(&fresh(), vec![answer]).await.0.unwrap_err();
        assert_eq!(error.as_str(), class, "{shown}: {error}");
    }
}

/// The rows that are told by a number, by a code within, or by a code under another status than usual.
#[tokio::test]
async fn a_code_says_more_than_the_status_it_comes_with() {
    let with = |status: u16, body: Value| answer_json(status, &body.to_string());
    let inner = |status: u16, code: &str| {
        with(
            status,
            json!({"status": status, "errorDetails": {"inputErrors": [{"code": code, "description": "nej"}]}}),
        )
    };
    let organization = "Organization permissions must be used when using organization as author";
    for (no, class) in [
        (coded(401, "EMPTY_ACCESS_TOKEN"), "credential"),
        (coded(401, "INVALID_ACCESS_TOKEN"), "credential"),
        (coded(400, "EMPTY_ACCESS_TOKEN"), "credential"),
        (coded(403, "INVALID_ACCESS_TOKEN"), "credential"),
        (
            with(401, json!({"status": 401, "serviceErrorCode": 65_600})),
            "credential",
        ),
        (
            with(401, json!({"status": 401, "serviceErrorCode": 65_601})),
            "credential",
        ),
        (
            with(401, json!({"status": 401, "serviceErrorCode": 65_602})),
            "credential",
        ),
        (
            with(403, json!({"status": 403, "serviceErrorCode": 65_601})),
            "credential",
        ),
        (
            with(400, json!({"status": 400, "message": organization})),
            "refused",
        ),
        (
            with(
                403,
                json!({"status": 403, "serviceErrorCode": 100, "message": organization}),
            ),
            "refused",
        ),
        (inner(400, "DUPLICATE_POST"), "refused"),
        (inner(409, "DUPLICATE_POST"), "refused"),
        (coded(400, "DUPLICATE_POST"), "refused"),
        (coded(409, "DUPLICATE_POST"), "refused"),
    ] {
        let server = Server::start(vec![no.clone()]).await;
        // Without what a renewal needs.
        let account = settings(&server)
            .open(parts([("access_token", "gammal-hemlighet")]))
            .unwrap();
        let error = account.publish(&fresh()).await.unwrap_err();
        assert_eq!(error.as_str(), class, "{no}: {error}");
    }
    for status in [400, 409] {
        let error = publish(&begun(), vec![inner(status, "DUPLICATE_POST")])
            .await
            .0
            .unwrap_err();
        assert_eq!(error.as_str(), "unknown", "it may be ours: {error}");
    }
}

#[tokio::test]
async fn a_version_that_is_no_more_gives_way_to_the_next_and_that_is_told() {
    for no in [
        coded(426, "NONEXISTENT_VERSION"),
        coded(426, "VERSION_DEPRECATED"),
        coded(400, "VERSION_MISSING"),
    ] {
        let server = Server::start(vec![no.clone(), made()]).await;
        let mut settings = settings(&server);
        settings.versions = ["202609", "202606"].map(str::to_owned).to_vec();
        let account = settings.open(parts(SECRETS)).unwrap();
        let receipt = account.publish(&fresh()).await.unwrap();
        assert!(receipt.note.unwrap().contains("202606"), "{no}");
        account.publish(&fresh()).await.unwrap();
        let spoken: Vec<String> = server
            .asked()
            .iter()
            .map(|asked| asked.headers["linkedin-version"].clone())
            .collect();
        assert_eq!(
            spoken,
            ["202609", "202606", "202606"],
            "it is not asked for again"
        );
        // Each of them once, and no more.
        let server = Server::start(vec![no]).await;
        settings.base_url = server.base.clone();
        let error = settings
            .open(parts(SECRETS))
            .unwrap()
            .publish(&fresh())
            .await
            .unwrap_err();
        assert_eq!((error.as_str(), server.asked().len()), ("refused", 2), "{error}");
    }
}

#[test]
fn the_version_is_one_or_a_list() {
    use crate::config::source::Source;
    let told = |version: &str| {
        let source = Source::new(
            "config.toml",
            format!("organization = \"42\"\nversion = {version}"),
        );
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        let read = read(&mut section);
        section.finish();
        let problems: Vec<String> = source.take_problems().iter().map(|p| p.text.clone()).collect();
        assert_eq!(read.is_none(), !problems.is_empty(), "{problems:?}");
        problems
    };
    assert_eq!(told("\"202609\""), Vec::<String>::new());
    assert_eq!(told("[\"202609\", \"202606\"]"), Vec::<String>::new());
    for wrong in ["\"26\"", "[]", "[\"202609\", \"x\"]", "7"] {
        assert_eq!(told(wrong).len(), 1, "{wrong}");
    }
}

#[tokio::test]
async fn a_bare_refusal_is_asked_about_once_more() {
    let (result, server) = publish(&fresh(), vec![answer_json(403, r#"{"status":403}"#), made()]).await;
    result.unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn the_days_allowance_begins_anew_at_midnight() {
    let said = |message: &str| {
        answer_json(
            429,
            &json!({"code": "TOO_MANY_REQUESTS", "message": message}).to_string(),
        )
    };
    for (answer, expected) in [
        (
            said("Resource level throttle APPLICATION DAY limit is reached."),
            "2026-11-24T00:00:30Z",
        ),
        (said("Too many requests"), "2026-11-23T15:59:16.123456Z"),
    ] {
        let error = publish(&fresh(), vec![answer]).await.0.unwrap_err();
        let SendError::Busy { until, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(until, Some(expected.parse().unwrap()));
    }
}

#[tokio::test]
async fn a_dead_token_is_renewed_once_and_on_disk_before_it_is_used() {
    let renewed = r#"{"access_token":"ny-hemlighet","expires_in":5183999,"refresh_token":"fornya-2","refresh_token_expires_in":3000000}"#;
    let server = Server::start(vec![
        coded(401, "EXPIRED_ACCESS_TOKEN"),
        answer_json(200, renewed),
        made(),
    ])
    .await;
    let parts = parts(SECRETS);
    let account = settings(&server).open(parts.clone()).unwrap();
    account.publish(&fresh()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[1].line, "POST /oauth/v2/accessToken");
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked[1].body).into_owned().collect();
    assert_eq!(form["refresh_token"], "fornya-hemlighet");
    assert_eq!(asked[2].headers["authorization"], "Bearer ny-hemlighet");
    let kept = parts.secrets.get(session::SECRET).unwrap();
    assert!(kept.expose_secret().contains("ny-hemlighet") && kept.expose_secret().contains("fornya-2"));
    // After a restart the renewed one is used; once a person sets another, that one is.
    let again = Server::start(vec![made()]).await;
    settings(&again)
        .open(parts.clone())
        .unwrap()
        .publish(&fresh())
        .await
        .unwrap();
    assert_eq!(again.asked()[0].headers["authorization"], "Bearer ny-hemlighet");
    parts
        .secrets
        .rotate("access_token", "helt-ny".into())
        .await
        .unwrap();
    settings(&again)
        .open(parts)
        .unwrap()
        .publish(&fresh())
        .await
        .unwrap();
    assert_eq!(again.asked()[1].headers["authorization"], "Bearer helt-ny");
}

#[tokio::test]
async fn what_cannot_be_renewed_is_a_matter_of_the_credential() {
    let rows = [
        vec![
            coded(401, "REVOKED_ACCESS_TOKEN"),
            answer_json(400, r#"{"error":"invalid_grant fornya-hemlighet"}"#),
        ],
        vec![
            coded(401, "X"),
            answer_json(200, r#"{"access_token":"b"}"#),
            coded(401, "X"),
        ],
    ];
    for answers in rows {
        let error = publish(&fresh(), answers).await.0.unwrap_err();
        assert_eq!(error.as_str(), "credential", "{error}");
        assert!(!format!("{error:?}").contains("hemlighet"), "{error:?}");
    }
    let server = Server::start(vec![coded(401, "EXPIRED_ACCESS_TOKEN")]).await;
    let alone = settings(&server)
        .open(parts([("access_token", "gammal-hemlighet")]))
        .unwrap();
    assert_eq!(alone.publish(&fresh()).await.unwrap_err().as_str(), "credential");
    assert_eq!(server.asked().len(), 1);
}

fn duplicate() -> String {
    let text = format!("Content is a duplicate of {URN}");
    let errors = json!([{"code": "DUPLICATE_POST", "description": text}]);
    answer_json(
        422,
        &json!({"status": 422, "errorDetails": {"inputErrors": errors}}).to_string(),
    )
}

#[tokio::test]
async fn a_duplicate_adopts_the_original_if_it_is_this_message() {
    let original = stored(ESCAPED, accepted_at()).to_string();
    let (result, server) = publish(&begun(), vec![duplicate(), answer_json(200, &original)]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, URN);
    assert!(receipt.note.unwrap().contains("original"));
    assert_eq!(
        server.asked()[1].line,
        "GET /rest/posts/urn%3Ali%3Ashare%3A7243000000000000000"
    );
}

#[tokio::test]
async fn a_duplicate_of_something_else_is_refused_and_of_who_knows_what_is_settled() {
    let old = stored(ESCAPED, accepted_at() - SignedDuration::from_hours(24)).to_string();
    let other = stored("Något annat", accepted_at()).to_string();
    let rows = [
        (answer_json(200, &old), "refused"),
        (answer_json(200, &other), "refused"),
        (coded(404, "NOT_FOUND"), "refused"),
        (answer(503, &[], ""), "unknown"),
        (answer_json(200, "{}"), "unknown"),
    ];
    for (answer, class) in rows {
        let error = publish(&begun(), vec![duplicate(), answer]).await.0.unwrap_err();
        assert_eq!(error.as_str(), class, "{error}");
    }
}

#[tokio::test]
async fn a_duplicate_before_anything_left_us_is_refused_and_one_without_a_name_is_settled_a_few_times() {
    let (result, server) = publish(&fresh(), vec![duplicate()]).await;
    assert_eq!(result.unwrap_err().as_str(), "refused");
    assert_eq!(server.asked().len(), 1, "the original is of no interest");
    for (times, class) in [("1", "unknown"), ("3", "unknown"), ("4", "refused")] {
        let post = Post {
            steps: Steps::of([(CREATE, times)]),
            ..post(TEXT)
        };
        let error = publish(&post, vec![coded(422, "DUPLICATE_POST")])
            .await
            .0
            .unwrap_err();
        assert_eq!(error.as_str(), class, "{times}: {error}");
    }
    let original = stored(ESCAPED, accepted_at()).to_string();
    let earlier = Post {
        parent: Some(Receipt::of(URN)),
        ..begun()
    };
    let error = publish(&earlier, vec![duplicate(), answer_json(200, &original)])
        .await
        .0
        .unwrap_err();
    assert_eq!(
        error.as_str(),
        "refused",
        "the post of an earlier message is not this one's: {error}"
    );
}

#[tokio::test]
async fn a_log_in_that_fails_early_costs_neither_the_message_nor_a_second_try() {
    // Renewed once, so that the end is known: five days from now.
    let renewed = r#"{"access_token":"ny-hemlighet","expires_in":432000,"refresh_token":"fornya-2"}"#;
    let answers = vec![
        coded(401, "EXPIRED_ACCESS_TOKEN"),
        answer_json(200, renewed),
        made(),
        answer(500, &[], ""),
        made(),
        made(),
    ];
    let server = Server::start(answers).await;
    let account = account(&server);
    for _ in 0..3 {
        account.publish(&fresh()).await.unwrap();
    }
    let log_ins = server
        .asked()
        .iter()
        .filter(|asked| asked.line.contains("oauth"))
        .count();
    assert_eq!((log_ins, server.asked().len()), (2, 6));
}

#[tokio::test]
async fn the_page_is_read_back_unescaped() {
    let list = |post: Value| answer_json(200, &json!({"elements": [post]}).to_string());
    let server = Server::start(vec![list(stored(ESCAPED, accepted_at()))]).await;
    let settled = account(&server).settle(&question(begun())).await.unwrap();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == URN),
        "{settled:?}"
    );
    let line = &server.asked()[0].line;
    assert!(
        line.starts_with("GET /rest/posts?q=author&author=urn%3Ali%3Aorganization%3A42&count=50"),
        "{line}"
    );
    let old = accepted_at() - SignedDuration::from_mins(5);
    for post in [stored(ESCAPED, old), stored("Något annat", accepted_at())] {
        let server = Server::start(vec![list(post)]).await;
        assert_eq!(
            account(&server).settle(&question(begun())).await.unwrap(),
            Settled::Absent
        );
    }
    // What never left is absent without asking.
    let server = Server::start(vec![list(stored(ESCAPED, accepted_at()))]).await;
    assert_eq!(
        account(&server).settle(&question(fresh())).await.unwrap(),
        Settled::Absent
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_edit_counts_once_the_post_shows_it() {
    let (yes, no) = (stored(ESCAPED, accepted_at()), stored("Gammalt", accepted_at()));
    for (shown, holds) in [(yes, true), (no, false)] {
        let server = Server::start(vec![answer(204, &[], ""), answer_json(200, &shown.to_string())]).await;
        let edited = account(&server).edit(&Receipt::of(URN), &fresh()).await;
        assert_eq!(edited.is_ok(), holds, "{edited:?}");
        let asked = server.asked();
        assert_eq!(asked[0].headers["x-restli-method"], "PARTIAL_UPDATE");
        assert_eq!(
            asked[0].json(),
            json!({"patch": {"$set": {"commentary": ESCAPED}}})
        );
    }
}

#[tokio::test]
async fn taking_away_what_is_gone_is_done() {
    for done in [answer(204, &[], ""), coded(404, "NOT_FOUND")] {
        let server = Server::start(vec![done]).await;
        account(&server).retract(&Receipt::of(URN)).await.unwrap();
    }
}

fn with_picture() -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: vec![0x89, b'P', b'N', b'G'],
            media_type: "image/png",
            width: 1,
            height: 1,
            alt: "Karta".to_owned(),
        })),
        ..fresh()
    }
}

fn announced(server: &str) -> String {
    let value = json!({"uploadUrl": format!("{server}dms-uploads/1"), "image": "urn:li:image:C4E10"});
    answer_json(200, &json!({ "value": value }).to_string())
}

#[tokio::test]
async fn a_picture_never_goes_to_a_stranger_and_costs_no_text() {
    for answers in [
        vec![announced("https://example.se/")],
        vec![announced("https://evillinkedin.com/")],
        vec![answer(500, &[], "")],
        vec![coded(403, "ACCESS_DENIED")],
    ] {
        let mut answers = answers;
        answers.push(made());
        let (result, server) = publish(&with_picture(), answers).await;
        assert!(result.unwrap().note.unwrap().contains("without the picture"));
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].json().get("content").is_none());
    }
}

#[tokio::test]
async fn a_picture_that_comes_to_nothing_leaves_the_text_and_says_so() {
    for (state, looks) in [("PROCESSING_FAILED", 1), ("PROCESSING", 6)] {
        let status = answer_json(200, &json!({"status": state}).to_string());
        let mut answers = vec![status; looks];
        answers.push(made());
        let server = Server::start(answers).await;
        let mut post = with_picture();
        post.steps = Steps::of([("uploaded", "urn:li:image:C4E10")]);
        let receipt = account(&server).publish(&post).await.unwrap();
        assert!(receipt.note.unwrap().contains("without the picture"), "{state}");
        let last = server.asked().pop().unwrap();
        assert_eq!(last.line, "POST /rest/posts");
        assert!(last.json().get("content").is_none());
    }
}

#[test]
fn the_end_of_a_version_is_told_sixty_days_ahead() {
    let warned = |version: &str, now: &str| version_warning(version, now.parse().unwrap()).is_some();
    assert!(!warned("202609", "2026-11-23T00:00:00Z"));
    assert!(!warned("202609", "2027-07-16T00:00:00Z"));
    assert!(warned("202609", "2027-07-17T00:00:00Z"));
    assert!(warned("202502", "2026-11-23T00:00:00Z"));
    for wrong in ["2026", "20261", "202613", "v26.0", "２０２６０９"] {
        assert_eq!(sunset(wrong), None, "{wrong}");
    }
}
