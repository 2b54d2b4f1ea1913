//! Every row of the reference page's error table, settling and the picture, against a service that answers as told; and
//! every body that we send against X's own description of its API.

use jiff::SignedDuration;
use std::path::Path;

use super::*;
use crate::channel::testing::{
    Server, accepted_at, answer, clock, json as answer_json, parts, post, question,
};
use crate::model::{Picture, Steps};

const TEXT: &str = "Koka vattnet i Nässjö tätort <nu> & vänta.\n\nhttps://nassjo.se/kris";
const MADE: &str =
    r#"{"data":{"id":"1990000000000000001","text":"x","edit_history_tweet_ids":["1990000000000000001"]}}"#;
const SECRETS: [(&str, &str); 4] = [
    ("consumer_key", "appens-nyckel"),
    ("consumer_secret", "appens-hemlighet"),
    ("access_token", "kontots-nyckel"),
    ("access_token_secret", "kontots-hemlighet"),
];
const DUPLICATE: &str = "You are not allowed to create a Tweet with duplicate content.";

fn settings(server: &Server) -> X {
    X {
        user_id: "42".to_owned(),
        max_length: 280,
        replies: None,
        thread: true,
        base_url: server.base.clone(),
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server).open(parts(SECRETS)).unwrap()
}

async fn publish(post: &Post, answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(post).await;
    (result, server)
}

fn fresh() -> Post {
    Post {
        steps: Steps::default(),
        ..post(TEXT)
    }
}

/// The same after an attempt that may have got through.
fn again() -> Post {
    Post {
        steps: Steps::of([("create", "1")]),
        ..post(TEXT)
    }
}

fn with_picture(mut post: Post) -> Post {
    post.picture = Some(Arc::new(Picture {
        bytes: vec![0x89, b'P', b'N', b'G', 1, 2, 3],
        media_type: "image/png",
        width: 1,
        height: 1,
        alt: "Karta över avspärrat område".to_owned(),
    }));
    post
}

fn problem(status: u16, kind: &str, detail: &str) -> String {
    let kind = if kind.is_empty() {
        "about:blank".to_owned()
    } else {
        format!("https://api.twitter.com/2/problems/{kind}")
    };
    answer_json(
        status,
        &json!({"title": "T", "detail": detail, "type": kind, "status": status}).to_string(),
    )
}

fn numbered(status: u16, code: i64) -> String {
    answer_json(
        status,
        &json!({"errors": [{"code": code, "message": "nej"}]}).to_string(),
    )
}

#[tokio::test]
async fn a_post_is_one_signed_request_and_gives_its_address() {
    let (result, server) = publish(&fresh(), vec![answer_json(201, MADE)]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "1990000000000000001");
    assert_eq!(
        receipt.url.unwrap(),
        format!("{}i/status/1990000000000000001", server.base)
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /2/tweets");
    assert_eq!(asked[0].json(), json!({ "text": TEXT }));
    let header = &asked[0].headers["authorization"];
    assert!(
        header.starts_with("OAuth oauth_consumer_key=\"appens-nyckel\""),
        "{header}"
    );
    let second = clock().now().as_second();
    assert!(
        header.contains(&format!("oauth_timestamp=\"{second}\"")),
        "{header}"
    );
    assert!(!header.contains("hemlighet"), "{header}");
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: Vec<(String, &str, &str)> = vec![
        (
            problem(400, "invalid-request", "too long"),
            "refused",
            "x-invalid-request",
        ),
        (problem(401, "", "Unauthorized"), "credential", "http-401"),
        (numbered(401, 32), "credential", "x-32"),
        (numbered(401, 89), "credential", "x-89"),
        (numbered(400, 215), "credential", "x-215"),
        (problem(402, "", "credits"), "refused", "http-402"),
        (answer(402, &[], ""), "refused", "http-402"),
        (
            problem(403, "oauth1-permissions", "no"),
            "refused",
            "x-oauth1-permissions",
        ),
        (
            problem(403, "client-forbidden", "no"),
            "refused",
            "x-client-forbidden",
        ),
        (
            problem(403, "not-authorized-for-resource", "no"),
            "refused",
            "x-not-authorized-for-resource",
        ),
        (
            problem(403, "unsupported-authentication", "no"),
            "refused",
            "x-unsupported-authentication",
        ),
        (
            problem(403, "", "You are not permitted to perform this action."),
            "refused",
            "http-403",
        ),
        (
            problem(403, "user-suspended", "no"),
            "refused",
            "x-user-suspended",
        ),
        (numbered(403, 64), "refused", "x-64"),
        (numbered(403, 326), "refused", "x-326"),
        (numbered(403, 226), "refused", "x-226"),
        (numbered(403, 261), "refused", "x-261"),
        (numbered(403, 186), "refused", "x-186"),
        (numbered(403, 385), "refused", "x-385"),
        (numbered(403, 433), "refused", "x-433"),
        (problem(403, "", DUPLICATE), "refused", "duplicate"),
        (numbered(403, 187), "refused", "duplicate"),
        (
            problem(404, "resource-not-found", "no"),
            "refused",
            "x-resource-not-found",
        ),
        (problem(429, "", "Too Many Requests"), "busy", "http-429"),
        (numbered(429, 88), "busy", "x-88"),
        (
            problem(429, "usage-capped", "Usage cap exceeded"),
            "refused",
            "x-usage-capped",
        ),
        (
            answer(301, &[("location", "https://example.se")], ""),
            "refused",
            "http-301",
        ),
        (answer(408, &[], ""), "unknown", "http-408"),
        (answer(409, &[], ""), "unknown", "http-409"),
        (answer(500, &[], "<html>"), "unknown", "http-500"),
        (answer(502, &[], ""), "unknown", "http-502"),
        (problem(503, "", "Service Unavailable"), "unknown", "http-503"),
        (answer(504, &[], ""), "unknown", "http-504"),
        // A success that names no post is none.
        (
            answer_json(
                200,
                r#"{"errors":[{"title":"T","detail":"d","type":"about:blank"}]}"#,
            ),
            "unknown",
            "unreadable",
        ),
        (answer_json(201, "{}"), "unknown", "unreadable"),
        (
            answer_json(201, r#"{"data":{"id":"12345678901234567890"}}"#),
            "unknown",
            "unreadable",
        ),
        (String::new(), "unknown", "cut"),
    ];
    for (answer, class, code) in rows {
        let shown: String = answer.chars().take(200).collect();
        let error = publish(&fresh(), vec![answer]).await.0.unwrap_err();
        assert_eq!(error.as_str(), class, "{shown}: {error}");
        assert!(
            error.reason().code == code || class == "unknown",
            "{shown}: {error}"
        );
    }
}

#[tokio::test]
async fn a_passing_refusal_of_the_log_in_is_tried_once_more_with_a_new_signature() {
    let answers = vec![
        problem(403, "unsupported-authentication", "Unknown"),
        answer_json(201, MADE),
    ];
    let (result, server) = publish(&fresh(), answers).await;
    result.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_ne!(
        asked[0].headers["authorization"],
        asked[1].headers["authorization"]
    );
}

#[tokio::test]
async fn the_time_named_is_that_of_the_limit_that_is_used_up() {
    let second = |at: u64| (clock().now().as_second() + i64::try_from(at).unwrap()).to_string();
    let (short, day) = (second(900), second(50_000));
    let both = |left: &str| {
        answer(
            429,
            &[
                ("x-rate-limit-remaining", left),
                ("x-rate-limit-reset", &short),
                ("x-user-limit-24hour-remaining", "0"),
                ("x-user-limit-24hour-reset", &day),
            ],
            "{}",
        )
    };
    let only = answer(
        429,
        &[("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", &short)],
        "{}",
    );
    let rows = [
        (both("7"), Some(50_000)),
        (both("0"), Some(50_000)),
        (only, Some(900)),
        (answer(429, &[], "{}"), None),
    ];
    for (answer, expected) in rows {
        let error = publish(&fresh(), vec![answer]).await.0.unwrap_err();
        let SendError::Busy { until, .. } = error else {
            panic!("{error}")
        };
        let waits = until.map(|until| until.as_second() - clock().now().as_second());
        assert_eq!(waits, expected);
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_from_a_wrong_key() {
    let late = answer(401, &[("date", "Mon, 23 Nov 2026 16:30:00 GMT")], "{}");
    let (result, server) = publish(&fresh(), vec![late.clone(), late.clone()]).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("clock is wrong"), "{error}");
    assert_eq!(server.asked().len(), 2, "signed again by X's own time, once");
    // With its own time it takes it.
    let (result, _) = publish(&fresh(), vec![late, answer_json(201, MADE)]).await;
    result.unwrap();
    let error = publish(&fresh(), vec![answer(401, &[], "{}")])
        .await
        .0
        .unwrap_err();
    assert!(error.to_string().contains("four keys"), "{error}");
}

#[tokio::test]
async fn the_same_words_lead_to_read_back_only_if_they_may_be_ours() {
    let error = publish(&again(), vec![problem(403, "", DUPLICATE)])
        .await
        .0
        .unwrap_err();
    assert!(matches!(&error, SendError::Unknown(_)), "{error}");
    // Nothing of ours had left before: someone else posted them.
    let error = publish(&fresh(), vec![problem(403, "", DUPLICATE)])
        .await
        .0
        .unwrap_err();
    assert!(
        matches!(&error, SendError::Refused(reason) if reason.code == "duplicate"),
        "{error}"
    );
    // Settled as absent time after time: neither.
    let often = Post {
        steps: Steps::of([("create", "4")]),
        ..post(TEXT)
    };
    let error = publish(&often, vec![problem(403, "", DUPLICATE)])
        .await
        .0
        .unwrap_err();
    assert!(
        matches!(&error, SendError::Refused(reason) if reason.code == "duplicate"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_allowed_stands_alone() {
    let mut post = fresh();
    post.parent = Some(Receipt::of("7"));
    let refusals = [
        problem(403, "", "Reply to this conversation is not allowed"),
        numbered(403, 433),
        problem(400, "", "x"),
    ];
    for refusal in refusals {
        let (result, server) = publish(&post, vec![refusal, answer_json(201, MADE)]).await;
        assert!(result.unwrap().note.unwrap().contains("stands alone"));
        let asked = server.asked();
        assert_eq!(asked[0].json()["reply"], json!({"in_reply_to_tweet_id": "7"}));
        assert!(asked[1].json().get("reply").is_none());
    }
}

#[tokio::test]
async fn threads_are_left_out_unless_asked_for() {
    let server = Server::start(vec![answer_json(201, MADE)]).await;
    let account = X {
        thread: false,
        ..settings(&server)
    }
    .open(parts(SECRETS))
    .unwrap();
    let mut post = fresh();
    post.parent = Some(Receipt::of("7"));
    account.publish(&post).await.unwrap();
    assert!(server.asked()[0].json().get("reply").is_none());
}

#[tokio::test]
async fn a_text_that_no_service_takes_is_refused_before_it_leaves() {
    let mut post = fresh();
    post.rendering.text = "Koka\u{fffe} vattnet".to_owned();
    let (result, server) = publish(&post, vec![answer_json(201, MADE)]).await;
    assert_eq!(result.unwrap_err().reason().code, "invalid-character");
    assert!(server.asked().is_empty());
}

fn listed(text: &str, at: &str, id: &str) -> String {
    json!({
        "data": [{
            "id": id, "text": text, "created_at": at,
            "entities": {"urls": [{"url": "https://t.co/AbC", "expanded_url": "https://nassjo.se/kris"}]},
        }],
        "meta": {"result_count": 1},
    })
    .to_string()
}

const READ_BACK: &str = "Koka vattnet i Nässjö tätort &lt;nu&gt; &amp; vänta.\n\nhttps://t.co/AbC";
const NOW: &str = "2026-11-23T15:58:10.000Z";

#[tokio::test]
async fn what_never_left_is_absent_without_asking() {
    let server = Server::start(vec![answer_json(200, &listed(READ_BACK, NOW, "5"))]).await;
    assert_eq!(
        account(&server).settle(&question(fresh())).await.unwrap(),
        Settled::Absent
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn the_account_is_read_back_with_links_expanded() {
    let server = Server::start(vec![answer_json(200, &listed(READ_BACK, NOW, "5"))]).await;
    let settled = account(&server).settle(&question(again())).await.unwrap();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == "5"),
        "{settled:?}"
    );
    let line = &server.asked()[0].line;
    assert!(
        line.starts_with("GET /2/users/42/tweets?max_results=100&start_time=2026-11-23T15%3A56%3A06Z"),
        "{line}"
    );
}

#[tokio::test]
async fn posts_that_are_older_others_or_taken_are_not_ours() {
    let old = (accepted_at() - SignedDuration::from_mins(5)).to_string();
    let rows = [
        (listed(READ_BACK, &old, "5"), vec![]),
        (listed("Något annat https://t.co/AbC", NOW, "5"), vec![]),
        (listed(READ_BACK, NOW, "5"), vec!["5".to_owned()]),
        (r#"{"meta":{"result_count":0}}"#.to_owned(), vec![]),
    ];
    for (body, taken) in rows {
        let server = Server::start(vec![answer_json(200, &body)]).await;
        let asked = Question {
            waited: std::time::Duration::ZERO,
            astray: std::time::Duration::ZERO,
            taken,
            ..question(again())
        };
        assert_eq!(
            account(&server).settle(&asked).await.unwrap(),
            Settled::Absent,
            "{body}"
        );
        assert_eq!(server.asked().len(), 2, "looked twice");
    }
}

#[tokio::test]
async fn absence_is_not_believed_too_early() {
    let server = Server::start(vec![answer_json(200, r#"{"meta":{"result_count":0}}"#)]).await;
    let patient = X {
        settle_wait: Duration::from_mins(1),
        ..settings(&server)
    };
    let account = patient.open(parts(SECRETS)).unwrap();
    let asked = question(again());
    tokio::time::pause();
    let error = account.settle(&asked).await.unwrap_err();
    assert_eq!(error.reason().code, "not-yet");
}

#[tokio::test]
async fn what_cannot_be_read_back_is_unclear_and_trouble_is_tried_again() {
    let rows = [
        (problem(403, "client-forbidden", "no"), Ok("x-client-forbidden")),
        (answer(503, &[], ""), Err("not-sent")),
        (answer_json(200, "{}"), Err("not-sent")),
        (answer_json(200, "[]"), Err("not-sent")),
        (problem(429, "", "x"), Err("busy")),
        (problem(401, "", "x"), Err("credential")),
    ];
    for (answer, expected) in rows {
        let server = Server::start(vec![answer]).await;
        let settled = account(&server).settle(&question(again())).await;
        match (&settled, expected) {
            (Ok(Settled::Unclear(reason)), Ok(code)) => assert_eq!(reason.code, code),
            (Err(error), Err(class)) => assert_eq!(error.as_str(), class, "{error}"),
            _ => panic!("{settled:?} instead of {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_very_long_account_is_not_read_for_ever() {
    let body = r#"{"data":[{"id":"1","text":"a"}],"meta":{"result_count":1,"next_token":"n"}}"#;
    let server = Server::start(vec![answer_json(200, body)]).await;
    let settled = account(&server).settle(&question(again())).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(_)));
    assert_eq!(server.asked().len(), PAGES);
    assert!(server.asked()[1].line.ends_with("&pagination_token=n"));
}

#[tokio::test]
async fn taking_away_what_is_gone_is_done() {
    let gone =
        r#"{"errors":[{"type":"https://api.x.com/2/problems/resource-not-found","title":"Not Found"}]}"#;
    for done in [
        answer_json(200, r#"{"data":{"deleted":true}}"#),
        answer_json(200, gone),
        problem(404, "resource-not-found", "no"),
    ] {
        let server = Server::start(vec![done]).await;
        account(&server).retract(&Receipt::of("5")).await.unwrap();
        assert_eq!(server.asked()[0].line, "DELETE /2/tweets/5");
    }
    let server = Server::start(vec![answer_json(200, r#"{"data":{"deleted":false}}"#)]).await;
    assert_eq!(
        account(&server)
            .retract(&Receipt::of("5"))
            .await
            .unwrap_err()
            .as_str(),
        "not-sent"
    );
}

const UPLOADED: &str = r#"{"data":{"id":"188","media_key":"3_188","size":7,"expires_after_secs":86400}}"#;

#[tokio::test]
async fn a_picture_is_uploaded_told_in_words_and_named_in_the_post() {
    let post = with_picture(fresh());
    let answers = vec![
        answer_json(200, UPLOADED),
        answer_json(200, "{}"),
        answer_json(201, MADE),
    ];
    let (result, server) = publish(&post, answers).await;
    assert_eq!(result.unwrap().note, None);
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        ["POST /2/media/upload", "POST /2/media/metadata", "POST /2/tweets"]
    );
    assert_eq!(
        asked[1].json()["metadata"]["alt_text"]["text"],
        "Karta över avspärrat område"
    );
    assert_eq!(asked[2].json()["media"], json!({"media_ids": ["188"]}));
    assert_eq!(post.steps.get("media").as_deref(), Some("188"));
    // A repeated attempt goes on from there.
    let (result, server) = publish(&post, vec![answer_json(201, MADE)]).await;
    result.unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_picture_that_is_worked_on_is_waited_for() {
    let working = r#"{"data":{"id":"188","processing_info":{"state":"pending","check_after_secs":0}}}"#;
    let done = r#"{"data":{"id":"188","processing_info":{"state":"succeeded"}}}"#;
    let answers = vec![
        answer_json(200, working),
        answer_json(200, done),
        answer_json(200, "{}"),
        answer_json(201, MADE),
    ];
    let (result, server) = publish(&with_picture(fresh()), answers).await;
    assert_eq!(result.unwrap().note, None);
    assert_eq!(
        server.asked()[1].line,
        "GET /2/media/upload?command=STATUS&media_id=188"
    );
}

#[tokio::test]
async fn whatever_goes_wrong_with_the_picture_the_text_goes_out() {
    let failed = r#"{"data":{"id":"188","processing_info":{"state":"failed","error":{"code":1}}}}"#;
    let before: Vec<Vec<String>> = vec![
        vec![problem(400, "invalid-request", "media type unrecognized")],
        vec![problem(429, "", "x")],
        vec![answer(503, &[], "")],
        vec![answer_json(200, "{}")],
        vec![answer_json(200, failed)],
        // Without its words a picture is no help to those who cannot see it.
        vec![answer_json(200, UPLOADED), answer(500, &[], "")],
        // X refuses the post because of the picture that it has just taken.
        vec![
            answer_json(200, UPLOADED),
            answer_json(200, "{}"),
            problem(400, "invalid-request", "media"),
        ],
    ];
    for mut answers in before {
        answers.push(answer_json(201, MADE));
        let post = with_picture(fresh());
        let (result, server) = publish(&post, answers).await;
        let note = result.unwrap().note.unwrap();
        assert!(note.contains("without the picture"), "{note}");
        assert!(server.asked().last().unwrap().json().get("media").is_none());
        let found = Server::start(vec![answer_json(200, &listed(READ_BACK, NOW, "5"))]).await;
        let Settled::Found(receipt) = account(&found).settle(&question(post)).await.unwrap() else {
            panic!()
        };
        assert!(receipt.note.unwrap().contains("without the picture"));
    }
}

#[tokio::test]
async fn a_picture_that_expired_is_uploaded_once_more() {
    let mut post = with_picture(fresh());
    post.steps = Steps::of([("media", "100"), ("alt", "100")]);
    let answers = vec![
        problem(400, "invalid-request", "Your media IDs are invalid."),
        answer_json(200, UPLOADED),
        answer_json(200, "{}"),
        answer_json(201, MADE),
    ];
    let (result, server) = publish(&post, answers).await;
    assert_eq!(result.unwrap().note, None);
    assert_eq!(server.asked()[3].json()["media"], json!({"media_ids": ["188"]}));
}

#[tokio::test]
async fn verifying_tells_whose_the_tokens_are_and_what_they_may() {
    let me = |id: &str, protected: bool| {
        json!({"data": {"id": id, "username": "nassjokommun", "name": "N", "protected": protected}})
            .to_string()
    };
    let with_level = |level: &str| answer(200, &[("x-access-level", level)], &me("42", false));
    let server = Server::start(vec![with_level("read-write")]).await;
    let identity = account(&server).verify().await.unwrap();
    assert_eq!(identity.name, "@nassjokommun");
    assert_eq!(identity.facts["access"], "read-write");
    let server = Server::start(vec![with_level("read")]).await;
    assert_eq!(
        account(&server).verify().await.unwrap_err().reason().code,
        "scope"
    );
    let server = Server::start(vec![answer_json(200, &me("7", false))]).await;
    assert_eq!(
        account(&server).verify().await.unwrap_err().reason().code,
        "wrong-token"
    );
    let server = Server::start(vec![answer_json(200, &me("42", true))]).await;
    assert!(account(&server).verify().await.unwrap().facts["protected"].starts_with("yes"));
}

/// X's own description of its API, where it is at hand.
fn description() -> Option<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = "reference/specs/x/x-api-v2-openapi-2.167.json";
    let beside = ["../shared", "../../shared"].map(|shared| root.join(shared).join(name));
    let text = beside
        .into_iter()
        .find_map(|file| std::fs::read_to_string(file).ok())?;
    Some(serde_json::from_str(&text).unwrap())
}

/// What of `value` the schema does not allow: types, required and unknown keys, values of a list, digits.
fn misfits(api: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return misfits(api, &api["components"]["schemas"][name], value, at, found);
    }
    if let Some(options) = schema["anyOf"].as_array() {
        let fits = options.iter().any(|option| {
            let mut wrong = Vec::new();
            misfits(api, option, value, at, &mut wrong);
            wrong.is_empty()
        });
        if !fits {
            found.push(format!("{at}: fits none"));
        }
        return;
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        Some(other) => panic!("{other}"),
        None => true,
    };
    if !right {
        found.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let Some(all) = schema["enum"].as_array()
        && !all.contains(value)
    {
        found.push(format!("{at}: {value} is none of {all:?}"));
    }
    if schema["pattern"] == "^[0-9]{1,19}$" && !value.as_str().is_some_and(is_number) {
        found.push(format!("{at}: {value} is no id"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(known) => misfits(api, known, part, &format!("{at}.{name}"), found),
            None if schema["additionalProperties"] == false => {
                found.push(format!("{at}: {name} is not known"));
            }
            None => {}
        }
    }
    for part in value.as_array().into_iter().flatten() {
        misfits(api, &schema["items"], part, &format!("{at}[]"), found);
    }
}

#[tokio::test]
async fn every_body_that_we_send_fits_the_description_of_the_api() {
    let Some(api) = description() else {
        println!("skipped: X's description of its API is not at hand");
        return;
    };
    let mut post = with_picture(fresh());
    post.parent = Some(Receipt::of("1990000000000000000"));
    let answers = vec![
        answer_json(200, UPLOADED),
        answer_json(200, "{}"),
        answer_json(201, MADE),
    ];
    let server = Server::start(answers).await;
    let everything = X {
        replies: Some("mentionedUsers"),
        ..settings(&server)
    };
    everything
        .open(parts(SECRETS))
        .unwrap()
        .publish(&post)
        .await
        .unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        let path = asked.line.strip_prefix("POST ").unwrap();
        let schema = &api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{path} is not described");
        let mut found = Vec::new();
        misfits(&api, schema, &asked.json(), path, &mut found);
        assert!(found.is_empty(), "{found:?}");
    }
    // The measure measured.
    let schema = &api["paths"]["/2/tweets"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    for wrong in [
        json!({"text": 1}),
        json!({"texts": "a"}),
        json!({"text": "a", "media": {"media_ids": ["x"]}}),
    ] {
        let mut found = Vec::new();
        misfits(&api, schema, &wrong, "", &mut found);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
    }
}
