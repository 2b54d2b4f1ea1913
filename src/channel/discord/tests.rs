//! Every row of the reference page's error table against a server that answers as told.

use std::path::PathBuf;

use super::*;
use crate::channel::testing::{Server, answer, clock, json, parts, post, question};

const TEXT: &str = "Koka vattnet i Nässjö. @everyone\n\nhttps://nassjo.se/kris";
const HOOK: &str = "https://discord.com/api/webhooks/1100000000000000001/hemlighemlighemlighemlig";
const PATH: &str = "/api/v10/webhooks/1100000000000000001/hemlighemlighemlighemlig";
const MESSAGE: &str = r#"{"id":"1200000000000000042","channel_id":"1100000000000000009","content":"x"}"#;

fn settings(server: &Server) -> Discord {
    Discord {
        base_url: Some(server.base.clone()),
        thread_id: None,
        username: None,
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server).open(parts([("webhook", HOOK)])).unwrap()
}

fn pictured() -> Post {
    let mut post = post(TEXT);
    post.picture = Some(Arc::new(Picture {
        bytes: b"\x89PNG bild".to_vec(),
        media_type: "image/png",
        width: 9,
        height: 9,
        alt: "Karta över området".to_owned(),
    }));
    post
}

fn no(status: u16, code: u64) -> String {
    json(status, &json!({"message": "nej", "code": code}).to_string())
}

async fn publish_against(post: &Post, answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(post).await;
    (result, server)
}

#[tokio::test]
async fn a_message_waits_for_its_id_and_calls_nobody() {
    let (result, server) = publish_against(&post(TEXT), vec![json(200, MESSAGE)]).await;
    assert_eq!(result.unwrap(), Receipt::of("1200000000000000042"));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, format!("POST {PATH}?wait=true"));
    assert_eq!(
        asked.json(),
        json!({"content": TEXT, "allowed_mentions": {"parse": []}})
    );

    let server = Server::start(vec![json(200, MESSAGE)]).await;
    let mut named = settings(&server);
    named.thread_id = Some("77".to_owned());
    named.username = Some("Nässjö kommun".to_owned());
    let account = named.open(parts([("webhook", HOOK)])).unwrap();
    account.publish(&post(TEXT)).await.unwrap();
    account.retract(&Receipt::of("42/../7")).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, format!("POST {PATH}?wait=true&thread_id=77"));
    assert_eq!(asked[0].json()["username"], "Nässjö kommun");
    assert_eq!(
        asked[1].line,
        format!("DELETE {PATH}/messages/42%2F..%2F7?thread_id=77")
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, u64, &str)] = &[
        (400, 50_006, "refused"),
        (400, 50_035, "refused"),
        (401, 50_027, "credential"),
        (404, 10_015, "credential"),
        (404, 10_003, "refused"),
        (403, 50_013, "refused"),
        (413, 40_005, "refused"),
        (400, 40_005, "refused"),
        (429, 0, "busy"),
        (500, 0, "unknown"),
        (502, 0, "unknown"),
        (503, 0, "unknown"),
        (504, 0, "unknown"),
        // Not in the table, but sent by what stands in front of services.
        (401, 0, "credential"),
        (404, 0, "credential"),
        (302, 0, "refused"),
        (408, 0, "unknown"),
    ];
    for (status, code, class) in rows {
        let (result, _server) = publish_against(&post(TEXT), vec![no(*status, *code)]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {code}");
        let expected = match code {
            0 => format!("http-{status}"),
            code => format!("discord-{code}"),
        };
        assert_eq!(err.reason().code, expected);
    }
}

#[tokio::test]
async fn a_wait_has_a_fraction_and_the_longer_one_counts() {
    let body = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#;
    let rows = [
        (answer(429, &[], body), Some(64_570)),
        (answer(429, &[("retry-after", "90")], body), Some(90_000)),
        (answer(429, &[("retry-after", "7")], "<html>"), Some(7000)),
        (answer(429, &[], r#"{"retry_after":-1}"#), None),
        (answer(429, &[], r#"{"retry_after":1e300}"#), None),
    ];
    for (answer, millis) in rows {
        let (result, _server) = publish_against(&post(TEXT), vec![answer]).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(
            until,
            millis.map(|ms| later(clock().now(), Duration::from_millis(ms)))
        );
    }
}

#[tokio::test]
async fn a_success_that_names_no_message_is_unknown_and_stays_so() {
    for body in ["", "{}", "[]", r#"{"id":42}"#, r#"{"id":"../x"}"#] {
        let (result, server) = publish_against(&post(TEXT), vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
        let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
        assert!(matches!(settled, Settled::Unclear(_)));
    }
    let (result, _server) = publish_against(&post(TEXT), vec![answer(204, &[], "")]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
}

#[tokio::test]
async fn a_picture_goes_with_its_description_and_never_keeps_the_text_back() {
    let (result, server) = publish_against(&pictured(), vec![json(200, MESSAGE)]).await;
    assert_eq!(result.unwrap().note, None);
    let form = String::from_utf8_lossy(&server.asked()[0].body).into_owned();
    assert!(
        form.contains("name=\"payload_json\"") && form.contains("name=\"files[0]\""),
        "{form}"
    );
    assert!(form.contains("\"description\":\"Karta över området\""), "{form}");

    for refused in [no(413, 40_005), no(400, 50_035), no(403, 50_013)] {
        let (result, server) = publish_against(&pictured(), vec![refused, json(200, MESSAGE)]).await;
        assert!(result.unwrap().note.unwrap().contains("without the picture"));
        assert_eq!(server.asked()[1].json()["content"], TEXT);
    }
    for (status, class) in [(429, "busy"), (500, "unknown"), (401, "credential")] {
        let (result, server) = publish_against(&pictured(), vec![no(status, 0)]).await;
        assert_eq!(result.unwrap_err().as_str(), class);
        assert_eq!(server.asked().len(), 1, "{status}: nothing else is sent");
    }
}

#[tokio::test]
async fn nothing_of_the_address_is_ever_repeated() {
    for status in [400, 401, 404, 429, 500] {
        let said = format!("no {HOOK} and {PATH}").replace('/', "\\/");
        let body = format!("{{\"message\":\"{said}\",\"code\":1}}");
        let (result, server) = publish_against(&post(TEXT), vec![json(status, &body)]).await;
        let account = account(&server);
        let shown = format!(
            "{account:?} {:?} {:?}",
            result.unwrap_err(),
            account.verify().await
        );
        assert!(
            !shown.contains("hemlig") && shown.contains("[redacted]"),
            "{shown}"
        );
    }
    let (result, _server) = publish_against(&post(TEXT), vec![String::new()]).await;
    assert!(!format!("{:?}", result.unwrap_err()).contains("hemlig"));
}

#[tokio::test]
async fn changing_and_taking_away_can_be_repeated() {
    let receipt = Receipt::of("42");
    for (answer, outcome) in [
        (answer(204, &[], ""), "ok"),
        (no(404, 10_008), "ok"),
        (no(404, 10_015), "credential"),
        (no(403, 50_013), "refused"),
        (no(500, 0), "not-sent"),
    ] {
        let server = Server::start(vec![answer]).await;
        let result = account(&server).retract(&receipt).await;
        assert_eq!(result.as_ref().map_or_else(SendError::as_str, |()| "ok"), outcome);
        assert_eq!(server.asked()[0].line, format!("DELETE {PATH}/messages/42"));
    }
    for (answer, outcome) in [
        (json(200, MESSAGE), "ok"),
        (no(404, 10_008), "refused"),
        (no(502, 0), "not-sent"),
    ] {
        let server = Server::start(vec![answer]).await;
        let result = account(&server).edit(&receipt, &post(TEXT)).await;
        assert_eq!(result.as_ref().map_or_else(SendError::as_str, |_| "ok"), outcome);
        assert_eq!(server.asked()[0].line, format!("PATCH {PATH}/messages/42"));
    }
}

#[tokio::test]
async fn verifying_reads_the_webhook_and_nothing_else() {
    let hook = r#"{"id":"1","type":1,"name":"Krisinformation","channel_id":"9","guild_id":"8"}"#;
    let server = Server::start(vec![json(200, hook)]).await;
    let identity = account(&server).verify().await.unwrap();
    assert_eq!(identity.name, "Krisinformation");
    assert_eq!(identity.facts["channel_id"], "9");
    assert_eq!(server.asked()[0].line, format!("GET {PATH}"));
    for (answer, outcome) in [
        (no(404, 10_015), "credential"),
        (no(500, 0), "not-sent"),
        (json(200, "{}"), "not-sent"),
    ] {
        let server = Server::start(vec![answer]).await;
        assert_eq!(account(&server).verify().await.unwrap_err().as_str(), outcome);
    }
}

#[test]
fn a_drill_goes_to_the_wall_and_without_a_webhook_nothing_opens() {
    let settings = Discord {
        base_url: None,
        thread_id: Some("77".to_owned()),
        username: None,
    };
    assert_eq!(settings.open(parts([])).unwrap_err().code, "no-credential");
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/discord".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let there = settings.at_wall(&site);
    assert!(!format!("{there:?}").contains("77"));
    assert_eq!(
        there.addresses(),
        [("base_url", "http://127.0.0.1:1/drill/discord".to_owned())]
    );
}

#[tokio::test]
async fn what_is_left_is_told_with_a_success_and_once() {
    let headers = [
        ("content-type", "application/json"),
        ("X-RateLimit-Limit", "5"),
        ("X-RateLimit-Remaining", "0"),
        ("X-RateLimit-Reset-After", "2.5"),
    ];
    let server = Server::start(vec![answer(200, &headers, MESSAGE), answer(400, &headers, "{}")]).await;
    let account = account(&server);
    account.publish(&post(TEXT)).await.unwrap();
    let quota = account.quota().unwrap();
    assert_eq!((quota.left, quota.limit), (0, Some(5)));
    assert_eq!(
        quota.resets_at,
        Some(crate::clock::later(clock().now(), Duration::from_millis(2500)))
    );
    assert_eq!(account.quota(), None, "each word is given once");
    account.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(account.quota(), None, "a failure speaks for itself");
}
