use reqwest::header::HeaderMap;

use super::*;
use crate::channel::testing::{self, Server, accepted_at, answer, clock, json, parts, post};
use crate::clock::later;

fn receiver(base: &Url, wants: Proofs, keyed: bool, secrets: &[(&str, &str)]) -> Receiver {
    let parts = parts(secrets.iter().copied());
    let header = HeaderName::from_static("idempotency-key");
    Receiver::open(base.join("/hook").unwrap(), header, keyed, wants, &parts).unwrap()
}

fn here() -> Url {
    "http://127.0.0.1:9".parse().unwrap()
}

fn answered(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Answer {
        status,
        headers: map,
        body: body.as_bytes().to_vec(),
        at: clock().now(),
    }
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn the_document_is_exactly_the_published_contract() {
    let mut post = post("Koka vattnet. https://nassjo.se/kris");
    post.root = Some(Receipt::of("1"));
    post.parent = Some(Receipt::of("2"));
    let text = serde_json::to_string_pretty(&Document::of(&post, "Nässjö kommun")).unwrap();
    insta::assert_snapshot!(text);
    post.parent = post.root.clone();
    assert_eq!(Document::of(&post, "x").references, ["1"]);
}

#[test]
fn the_signature_is_hmac_sha256_over_timestamp_dot_body() {
    // python3: hmac.new(b"nyckel", b'1763913496.{"a":1}', hashlib.sha256).hexdigest()
    let signature = sign(&"nyckel".into(), 1_763_913_496, br#"{"a":1}"#).unwrap();
    assert_eq!(
        signature,
        "3d112be972b513ac0c1ed8f8cde2b1386b6cc83f4434599c650f30a0f2caf38a"
    );
}

#[test]
fn at_a_webhook_only_the_status_counts() {
    let webhook = receiver(&here(), Proofs::Status, true, &[]);
    let post = post("x");
    let own = post.key.as_str();
    for (status, headers, body, id) in [
        (200, vec![JSON], r#"{"id":"a1"}"#, "a1"),
        (201, vec![JSON], r#"{"id":17}"#, "17"),
        (202, vec![], r#"{"id":"a1"}"#, "a1"),
        (204, vec![], "", own),
        (204, vec![JSON], "", own),
        (200, vec![("content-type", "text/html")], "<h1>tack</h1>", own),
        (200, vec![], "ok", own),
        (200, vec![JSON], "{}", own),
        (200, vec![JSON], "[]", own),
        (200, vec![JSON], r#"{"id":null}"#, own),
        (200, vec![JSON], r#"{"id":""}"#, own),
        (200, vec![JSON], r#"{"id":{"a":1}}"#, own),
    ] {
        let receipt = webhook
            .classify(&answered(status, &headers, body), &post)
            .unwrap();
        assert_eq!(receipt.remote_id, id, "{status} {body}");
    }
    for body in [r#"{"id":"a1""#, "<html>", "{\"id\":NaN}"] {
        let lost = webhook
            .classify(&answered(200, &[JSON], body), &post)
            .unwrap_err();
        assert!(matches!(lost, SendError::Unknown(_)), "{body}: {lost}");
    }
}

#[test]
fn only_an_address_that_may_be_shown_is_taken_from_an_answer() {
    let webhook = receiver(&here(), Proofs::Status, true, &[]);
    let post = post("x");
    for (url, taken) in [
        ("https://nassjo.se/kris/1", true),
        ("http://127.0.0.1:8080/kris/1", true),
        ("http://nassjo.se/kris/1", false),
        ("javascript:alert(1)", false),
        ("/kris/1", false),
    ] {
        let answer = answered(200, &[JSON], &format!(r#"{{"url":"{url}"}}"#));
        let receipt = webhook.classify(&answer, &post).unwrap();
        assert_eq!(receipt.url.is_some(), taken, "{url}");
    }
}

#[test]
fn the_sites_receiver_must_give_the_pages_address() {
    let site = receiver(&here(), Proofs::Address, true, &[("bearer", "t")]);
    let post = post("x");
    for status in [200, 201, 409] {
        let answer = answered(status, &[JSON], r#"{"url":"https://nassjo.se/kris/1"}"#);
        let receipt = site.classify(&answer, &post).unwrap();
        assert_eq!(receipt.url.as_deref(), Some("https://nassjo.se/kris/1"));
    }
    for body in [
        "",
        "ok",
        "{}",
        r#"{"url":null}"#,
        r#"{"id":"1"}"#,
        r#"{"url":"http://nassjo.se/"}"#,
    ] {
        for status in [200, 409] {
            let lost = site
                .classify(&answered(status, &[JSON], body), &post)
                .unwrap_err();
            assert!(matches!(lost, SendError::Unknown(_)), "{status} {body}: {lost}");
        }
    }
}

#[test]
fn every_status_has_its_outcome() {
    let webhook = receiver(&here(), Proofs::Status, true, &[]);
    let post = post("x");
    let outcome = |status, headers: &[(&'static str, &str)]| {
        webhook
            .classify(&answered(status, headers, ""), &post)
            .unwrap_err()
    };
    for status in [401, 403] {
        assert_eq!(outcome(status, &[]).as_str(), "credential", "{status}");
    }
    for status in [301, 302, 303, 307, 308] {
        let refused = outcome(status, &[("location", "https://evil.example/")]);
        assert!(
            matches!(&refused, SendError::Refused(r) if r.code == "redirect"),
            "{status}"
        );
    }
    for status in [400, 404, 405, 410, 413, 415, 422] {
        assert_eq!(outcome(status, &[]).as_str(), "refused", "{status}");
    }
    for status in [409, 500, 502, 504, 599] {
        assert_eq!(outcome(status, &[]).as_str(), "unknown", "{status}");
    }
    for status in [408, 425, 429, 503] {
        let busy = outcome(status, &[("retry-after", "30")]);
        let SendError::Busy {
            until: Some(until), ..
        } = busy
        else {
            panic!("{status}: {busy}");
        };
        assert_eq!(
            until,
            later(accepted_at(), std::time::Duration::from_secs(40)),
            "{status}"
        );
    }
    for status in [408, 425, 503] {
        assert_eq!(outcome(status, &[]).as_str(), "not-sent", "{status}");
    }
    assert!(matches!(outcome(429, &[]), SendError::Busy { until: None, .. }));
    let known = webhook
        .classify(&answered(409, &[JSON], r#"{"id":"7"}"#), &post)
        .unwrap();
    assert_eq!(known.remote_id, "7");
}

#[tokio::test]
async fn a_post_carries_key_credential_and_signature_and_a_repeat_is_the_same_bytes() {
    let server = Server::start(vec![json(201, r#"{"id":"a","url":"https://nassjo.se/a"}"#)]).await;
    let secrets = [("bearer", "hemlig-token"), ("hmac_key", "hemlig-nyckel")];
    let webhook = receiver(&server.base, Proofs::Status, true, &secrets);
    let post = post("Koka vattnet. https://nassjo.se/kris");
    let first = webhook.publish(&post).await.unwrap();
    let second = webhook.publish(&post).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.url.as_deref(), Some("https://nassjo.se/a"));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, asked[1].body);
    for request in &asked {
        assert_eq!(request.line, "POST /hook");
        assert_eq!(request.headers["idempotency-key"], post.key.as_str());
        assert_eq!(request.headers["authorization"], "Bearer hemlig-token");
        let at: i64 = request.headers["x-vardkase-timestamp"].parse().unwrap();
        let expected = sign(&"hemlig-nyckel".into(), at, &request.body).unwrap();
        assert_eq!(
            request.headers["x-vardkase-signature"],
            format!("sha256={expected}")
        );
        assert_eq!(request.json()["sender"], "Nässjö kommun");
    }
    let shown = format!("{webhook:?}");
    assert!(!shown.contains("hemlig"), "{shown}");
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_the_key_or_left_unclear() {
    let keyed = receiver(&here(), Proofs::Status, true, &[]);
    let blind = receiver(&here(), Proofs::Status, false, &[]);
    let question = testing::question(post("x"));
    assert_eq!(keyed.settle(&question).await.unwrap(), Settled::Absent);
    assert!(matches!(
        blind.settle(&question).await.unwrap(),
        Settled::Unclear(_)
    ));
}

#[tokio::test]
async fn taking_a_post_away_twice_is_harmless_and_its_id_cannot_leave_the_path() {
    let server = Server::start(vec![
        answer(204, &[], ""),
        answer(404, &[], ""),
        answer(410, &[], ""),
        answer(405, &[], ""),
    ])
    .await;
    let webhook = receiver(&server.base, Proofs::Status, true, &[]);
    let receipt = Receipt::of("../a?b=1/c");
    for _ in 0..3 {
        webhook.retract(&receipt).await.unwrap();
    }
    assert_eq!(webhook.retract(&receipt).await.unwrap_err().as_str(), "refused");
    assert_eq!(server.asked()[0].line, "DELETE /hook/..%2Fa%3Fb=1%2Fc");
}

#[tokio::test]
async fn verifying_has_no_effect_and_tells_a_dead_credential() {
    let server = Server::start(vec![answer(405, &[], ""), answer(403, &[], "")]).await;
    let webhook = receiver(&server.base, Proofs::Status, true, &[]);
    assert_eq!(webhook.verify().await.unwrap().facts["answered"], "405");
    assert_eq!(webhook.verify().await.unwrap_err().as_str(), "credential");
    assert!(server.asked().iter().all(|a| a.line.starts_with("OPTIONS ")));
}

#[tokio::test]
async fn nobody_home_is_not_sent_and_a_cut_answer_is_unknown() {
    let gone = receiver(&here(), Proofs::Status, true, &[]);
    assert_eq!(gone.publish(&post("x")).await.unwrap_err().as_str(), "not-sent");
    let server = Server::start(vec![String::new()]).await;
    let cut = receiver(&server.base, Proofs::Status, true, &[]);
    assert_eq!(cut.publish(&post("x")).await.unwrap_err().as_str(), "unknown");
}

#[test]
fn the_sites_receiver_does_not_open_without_a_credential() {
    let header = HeaderName::from_static("idempotency-key");
    let refused = Receiver::open(here(), header, true, Proofs::Address, &parts([])).unwrap_err();
    assert_eq!(refused.code, "no-credential");
}

/// Servers that take a message and say no more than that.
fn plain_answers() -> [String; 3] {
    [
        answer(200, &[("content-type", "text/plain")], "ok"),
        answer(204, &[], ""),
        json(200, r#"{"status":"ok"}"#),
    ]
}

#[tokio::test]
async fn any_plain_server_will_do_where_the_status_alone_counts() {
    let shown: Url = "https://nassjo.se/kris".parse().unwrap();
    for plain in plain_answers() {
        for wants in [
            Proofs::Status,
            Proofs::Taken(None),
            Proofs::Taken(Some(shown.clone())),
        ] {
            let server = Server::start(vec![plain.clone()]).await;
            let account = receiver(&server.base, wants.clone(), true, &[("bearer", "hemlig")]);
            let post = post("Koka vattnet. https://nassjo.se/kris");
            let receipt = account.publish(&post).await.unwrap();
            assert_eq!(receipt.remote_id, post.key.as_str(), "{wants:?}");
            assert_eq!(receipt.url.is_some(), wants == Proofs::Taken(Some(shown.clone())));
            assert_eq!(receipt.note.is_some(), wants != Proofs::Status);
            assert_eq!(server.asked().len(), 1);
        }
    }
    let named = json(200, r#"{"id":"7","url":"https://nassjo.se/kris/7"}"#);
    let server = Server::start(vec![named]).await;
    let account = receiver(&server.base, Proofs::Taken(None), true, &[("bearer", "hemlig")]);
    let expected = Receipt::of("7").at("https://nassjo.se/kris/7");
    assert_eq!(account.publish(&post("x")).await.unwrap(), expected);
}

#[tokio::test]
async fn a_strict_receiver_that_never_names_the_page_is_asked_three_times_and_no_more() {
    for plain in plain_answers() {
        let server = Server::start(vec![plain]).await;
        let account = receiver(&server.base, Proofs::Address, true, &[("bearer", "hemlig")]);
        let mut post = post("Koka vattnet. https://nassjo.se/kris");
        for expected in ["unknown", "unknown", "refused"] {
            post.steps = crate::model::Steps::known(post.steps.all());
            let error = account.publish(&post).await.unwrap_err();
            assert_eq!(error.as_str(), expected, "{error}");
        }
        let error = account.publish(&post).await.unwrap_err();
        assert_eq!(error.reason().code, "no-address");
        assert!(error.reason().text.contains("answer = \"status\""), "{error}");
    }
}
