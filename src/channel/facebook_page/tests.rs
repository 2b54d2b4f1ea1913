//! Every row of the reference page's error table, and settling, against a service that answers as told.

use super::request::proof;
use std::collections::BTreeMap;

use super::*;
use crate::channel::testing::{Server, accepted_at, answer, clock, json, parts, post, question, with_key};
use jiff::SignedDuration;
use serde_json::json;

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const MADE: &str = r#"{"id":"1055_2001","permalink_url":"https://www.facebook.com/1055/posts/2001"}"#;

fn settings(server: &Server) -> FacebookPage {
    FacebookPage {
        page_id: "1055".to_owned(),
        base_url: server.base.clone(),
        login_url: server.base.clone(),
        version: DEFAULT_VERSION.to_owned(),
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server)
        .open(parts([("access_token", "hemlig")]))
        .unwrap()
}

async fn publish_against(answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(&post(TEXT)).await;
    (result, server)
}

fn envelope(code: i64, subcode: i64, transient: bool, message: &str) -> String {
    let mut error = json!({
        "message": message, "type": "OAuthException", "code": code, "is_transient": transient, "fbtrace_id": "AbC",
    });
    if subcode != 0 {
        error["error_subcode"] = subcode.into();
    }
    json!({ "error": error }).to_string()
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body).into_owned().collect()
}

#[tokio::test]
async fn a_post_carries_text_link_and_the_token_only_in_its_header() {
    let (result, server) = publish_against(vec![json(200, MADE)]).await;
    let expected = Receipt::of("1055_2001").at("https://www.facebook.com/1055/posts/2001");
    assert_eq!(result.unwrap(), expected);
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "nothing follows a published post");
    assert_eq!(asked[0].line, "POST /v26.0/1055/feed");
    assert_eq!(asked[0].headers["authorization"], "Bearer hemlig");
    let expected = [
        ("message", TEXT),
        ("link", "https://nassjo.se/kris"),
        ("fields", "id,permalink_url"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form(&asked[0].body), BTreeMap::from(expected));
}

#[test]
fn the_proof_is_that_of_the_reference_page() {
    assert_eq!(
        proof("testappsecret", "test-page-token").unwrap(),
        "3753798191467d2a14d06c3850569f9ec7bc8bc776311003c83c5accd3e07b08"
    );
}

#[tokio::test]
async fn with_an_app_secret_each_request_is_proved() {
    let server = Server::start(vec![json(200, MADE), json(200, r#"{"success":true}"#)]).await;
    let secrets = [
        ("access_token", "test-page-token"),
        ("app_secret", "testappsecret"),
    ];
    let account = settings(&server).open(parts(secrets)).unwrap();
    let receipt = account.publish(&post(TEXT)).await.unwrap();
    account.retract(&receipt).await.unwrap();
    let asked = server.asked();
    let proof = "3753798191467d2a14d06c3850569f9ec7bc8bc776311003c83c5accd3e07b08";
    assert_eq!(form(&asked[0].body)["appsecret_proof"], proof);
    assert_eq!(
        asked[1].line,
        format!("DELETE /v26.0/1055_2001?appsecret_proof={proof}")
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, i64, i64, bool, &str)] = &[
        // Dead tokens.
        (400, 190, 0, false, "credential"),
        (400, 190, 458, false, "credential"),
        (400, 190, 459, false, "credential"),
        (400, 190, 460, false, "credential"),
        (401, 190, 463, false, "credential"),
        (400, 190, 464, false, "credential"),
        (400, 190, 467, true, "credential"),
        (400, 190, 492, false, "credential"),
        (400, 102, 0, false, "credential"),
        // Missing permission.
        (403, 10, 0, false, "refused"),
        (403, 200, 0, false, "refused"),
        (403, 283, 0, false, "refused"),
        (403, 299, 0, false, "refused"),
        (400, 3, 0, false, "refused"),
        (400, 104, 0, false, "refused"),
        // Throttles, whatever the status.
        (403, 4, 0, true, "busy"),
        (400, 17, 2_446_079, true, "busy"),
        (400, 32, 0, true, "busy"),
        (403, 341, 0, false, "busy"),
        (400, 613, 0, false, "busy"),
        (400, 80_001, 0, true, "busy"),
        (400, 80_002, 0, true, "busy"),
        (400, 80_006, 0, true, "busy"),
        (400, 80_014, 0, true, "busy"),
        (400, 368, 1_390_008, false, "busy"),
        (400, 1_390_008, 0, false, "busy"),
        // Something may have been made.
        (500, 1, 0, false, "unknown"),
        (400, 1, 0, true, "unknown"),
        (503, 2, 0, true, "unknown"),
        (400, -1, 0, false, "unknown"),
        (400, -2, 0, false, "unknown"),
        (400, 9999, 0, true, "unknown"),
        (500, 9999, 0, false, "unknown"),
        (400, 9999, 0, false, "unknown"),
        // Policy and checkpoints.
        (400, 368, 0, false, "refused"),
        (400, 368, 1_346_003, false, "refused"),
        (400, 368, 1_404_102, false, "refused"),
        (400, 368, 1_404_006, false, "refused"),
        (400, 368, 1_404_112, false, "refused"),
        (400, 1, 4_854_002, false, "refused"),
        (400, 368, 1_404_078, false, "refused"),
        // Parameters, objects, pictures, paths.
        (400, 100, 0, false, "refused"),
        (400, 100, 33, false, "refused"),
        (400, 1_349_125, 0, false, "refused"),
        (400, 100, 2_069_019, false, "refused"),
        (400, 324, 0, false, "refused"),
        (400, 1_366_046, 0, false, "refused"),
        (404, 803, 0, false, "refused"),
        (400, 36_000, 2_207_004, false, "refused"),
        (400, 36_001, 2_207_005, false, "refused"),
        (400, 36_003, 2_207_009, true, "refused"),
        // The service says that it will pass.
        (400, 100, 0, true, "unknown"),
        (400, 36_003, 0, true, "unknown"),
        (400, 2500, 0, false, "refused"),
    ];
    for (status, code, subcode, transient, class) in rows {
        // Numbers in the text must not mislead.
        let body = envelope(
            *code,
            *subcode,
            *transient,
            "(#190, 506, 490) error 190, access token",
        );
        let (result, server) = publish_against(vec![json(*status, &body)]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{code}/{subcode}");
        let name = if *subcode == 0 {
            format!("graph-{code}")
        } else {
            format!("graph-{code}-{subcode}")
        };
        assert_eq!(err.reason().code, name);
        assert!(err.reason().text.contains("trace AbC"), "{err}");
        assert_eq!(server.asked().len(), 1, "{code}/{subcode} was tried again");
    }
}

fn duplicates() -> [String; 3] {
    [
        json(400, &envelope(506, 0, false, "Duplicate status message")),
        json(
            400,
            &envelope(100, 1_366_051, false, "These photos were already posted"),
        ),
        json(
            400,
            &envelope(368, 0, false, "You have already posted this recently"),
        ),
    ]
}

fn sent_before(times: &str) -> Post {
    Post {
        steps: Steps::of([(CREATE, times)]),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_duplicate_of_something_that_is_not_ours_is_refused_and_not_sent_for_ever() {
    for no in duplicates() {
        // Nothing of this message had left us before.
        let (result, server) = publish_against(vec![no.clone()]).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.as_str(), error.reason().code.as_str()),
            ("refused", "duplicate")
        );
        assert!(error.reason().text.contains("change the text"), "{error}");
        assert_eq!(server.asked().len(), 1);
        // It may be an earlier attempt of ours: reading back tells; and when that has been asked often enough, it is not.
        for (times, class) in [
            ("1", "unknown"),
            ("3", "unknown"),
            ("4", "refused"),
            ("x", "unknown"),
        ] {
            let server = Server::start(vec![no.clone()]).await;
            let error = account(&server).publish(&sent_before(times)).await.unwrap_err();
            assert_eq!(error.as_str(), class, "after {times}: {error}");
        }
    }
}

#[tokio::test]
async fn what_never_left_us_is_absent_without_a_question() {
    let server = Server::start(vec![json(500, "")]).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert_eq!(settled, Settled::Absent);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_was_left_out_is_said_also_of_a_post_that_was_found_again() {
    let link = json(
        400,
        &envelope(100, 1_609_005, false, "The link could not be used"),
    );
    let found = page(&[listed("1055_9", 1, TEXT)], None);
    let server = Server::start(vec![link, String::new(), found]).await;
    let account = account(&server);
    let post = post(TEXT);
    assert_eq!(account.publish(&post).await.unwrap_err().as_str(), "unknown");
    let Settled::Found(receipt) = account.settle(&question(post)).await.unwrap() else {
        panic!("it stands there");
    };
    assert!(receipt.note.unwrap().contains("without a link card"));
}

fn pictured() -> Post {
    let picture = crate::model::Picture {
        bytes: b"\xff\xd8 a picture".to_vec(),
        media_type: "image/jpeg",
        width: 10,
        height: 10,
        alt: "En kastrull".to_owned(),
    };
    Post {
        picture: Some(Arc::new(picture)),
        steps: Steps::default(),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_photo_that_the_service_has_forgotten_is_uploaded_once_more() {
    let gone = json(400, &envelope(100, 0, false, "Invalid photo"));
    let photo = json(200, r#"{"id":"3002"}"#);
    let server = Server::start(vec![gone.clone(), photo.clone(), json(200, MADE)]).await;
    let mut post = pictured();
    post.steps = Steps::of([("photo", "3001")]);
    assert_eq!(account(&server).publish(&post).await.unwrap().note, None);
    assert_eq!(
        form(&server.asked()[2].body)["attached_media"],
        r#"[{"media_fbid":"3002"}]"#
    );
    // One of now is not: the text goes alone, and says so; and when the answer to that is lost, too.
    let server = Server::start(vec![
        photo,
        gone,
        String::new(),
        page(&[listed("1055_9", 1, TEXT)], None),
    ])
    .await;
    let account = account(&server);
    let post = pictured();
    assert_eq!(account.publish(&post).await.unwrap_err().as_str(), "unknown");
    let Settled::Found(receipt) = account.settle(&question(post)).await.unwrap() else {
        panic!("it stands there");
    };
    assert!(receipt.note.unwrap().contains("without its picture"));
}

#[tokio::test]
async fn a_changed_text_says_what_became_of_its_picture() {
    let photo = json(200, r#"{"id":"3001"}"#);
    let done = json(200, r#"{"success":true}"#);
    let no = json(400, &envelope(100, 0, false, "attached_media cannot be changed"));
    for (answers, said) in [
        (vec![photo.clone(), done.clone()], "look at the post"),
        (vec![photo, no.clone(), done.clone()], "keeps its earlier picture"),
        (vec![no, done], "keeps its earlier picture"),
    ] {
        let requests = answers.len();
        let server = Server::start(answers).await;
        let changed = account(&server)
            .edit(&Receipt::of("1055_1"), &pictured())
            .await
            .unwrap();
        assert!(changed.note.unwrap().contains(said), "{said}");
        assert_eq!(server.asked().len(), requests);
    }
}

#[tokio::test]
async fn answers_from_in_front_of_the_service_are_classed_by_status() {
    let rows = [
        (301, "refused"),
        (307, "refused"),
        (400, "refused"),
        (401, "credential"),
        (404, "refused"),
        (408, "unknown"),
        (429, "busy"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ];
    for (status, class) in rows {
        for body in [
            "",
            "<html>190</html>",
            r#"{"error":"x"}"#,
            r#"{"error":{"code":"190"}}"#,
        ] {
            let (result, _server) = publish_against(vec![answer(status, &[], body)]).await;
            assert_eq!(result.unwrap_err().as_str(), class, "{status} {body}");
        }
    }
}

#[tokio::test]
async fn a_refused_link_is_left_out_and_the_text_gets_out() {
    for (code, subcode) in [
        (1_609_005, 0),
        (100, 1_609_005),
        (100, 1_609_008),
        (100, 2_061_006),
        (1500, 0),
    ] {
        let refusal = json(400, &envelope(code, subcode, false, "The link could not be used"));
        let (result, server) = publish_against(vec![refusal.clone(), json(200, MADE)]).await;
        assert!(result.unwrap().note.unwrap().contains("without a link card"));
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert!(!form(&asked[1].body).contains_key("link"));
        assert_eq!(form(&asked[1].body)["message"], TEXT);

        let (result, server) = publish_against(vec![refusal]).await;
        assert_eq!(result.unwrap_err().as_str(), "refused");
        assert_eq!(server.asked().len(), 2, "once with, once without");
    }
}

#[tokio::test]
async fn what_stays_unexplained_is_tried_without_the_link_at_last() {
    let unexplained = json(
        500,
        &envelope(1, 0, false, "An error occurred while creating the share"),
    );
    let server = Server::start(vec![unexplained.clone(), unexplained, json(200, MADE)]).await;
    let account = account(&server);
    for _ in 0..2 {
        assert_eq!(
            account.publish(&post(TEXT)).await.unwrap_err().as_str(),
            "unknown"
        );
    }
    let other = with_key(post(TEXT), "0193f5b0-0000-7000-8000-000000000002");
    assert_eq!(account.publish(&other).await.unwrap().note, None);
    let receipt = account.publish(&post(TEXT)).await.unwrap();
    assert!(receipt.note.unwrap().contains("without a link card"));
    let links: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| form(&asked.body).contains_key("link"))
        .collect();
    assert_eq!(links, [true, true, true, false]);
}

#[tokio::test]
async fn a_throttle_names_its_end_and_without_one_waits_longer_each_time() {
    let now = clock().now();
    let at = |minutes: i64| Some(now + SignedDuration::from_mins(minutes));
    let body = envelope(32, 0, true, "Page request limit reached");
    let usage = r#"{"1055":[{"type":"pages","call_count":100,"estimated_time_to_regain_access":17},{"estimated_time_to_regain_access":3}]}"#;
    let headers: [(&[(&str, &str)], _); 3] = [
        (&[("x-business-use-case-usage", usage)], at(17)),
        (
            &[("x-business-use-case-usage", "[1,{}"), ("retry-after", "120")],
            at(2),
        ),
        (
            &[(
                "x-business-use-case-usage",
                r#"{"1055":[{"estimated_time_to_regain_access":-5}]}"#,
            )],
            at(5),
        ),
    ];
    for (headers, expected) in headers {
        let (result, _server) = publish_against(vec![answer(403, headers, &body)]).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(until, expected);
    }
    let absurd = r#"{"1055":[{"estimated_time_to_regain_access":18446744073709551615}]}"#;
    let headers = [("x-business-use-case-usage", absurd)];
    let (result, _server) = publish_against(vec![answer(403, &headers, &body)]).await;
    assert!(matches!(result, Err(SendError::Busy { until: Some(until), .. }) if until > now));

    let server = Server::start(vec![json(400, &body)]).await;
    let account = account(&server);
    for minutes in [5, 10, 20, 40, 60, 60] {
        let result = account.publish(&post(TEXT)).await;
        assert!(
            matches!(result, Err(SendError::Busy { until, .. }) if until == at(minutes)),
            "{minutes}"
        );
    }
    let too_fast = envelope(368, 1_390_008, false, "You are posting too fast");
    let (result, _server) = publish_against(vec![json(400, &too_fast)]).await;
    assert!(matches!(result, Err(SendError::Busy { until, .. }) if until == at(60)));
}

#[tokio::test]
async fn a_success_without_a_readable_post_is_unknown() {
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"id":null}"#,
        r#"{"id":7}"#,
        "[]",
        r#"{"error":{"code":190}}"#,
    ] {
        let (result, _server) = publish_against(vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
    let (result, _server) = publish_against(vec![String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
    let (result, _server) = publish_against(vec![json(200, r#"{"id":"1055_1","permalink_url":7}"#)]).await;
    assert_eq!(result.unwrap(), Receipt::of("1055_1"), "an address is not needed");
}

fn listed(id: &str, seconds: i64, message: &str) -> Value {
    let at = accepted_at() + SignedDuration::from_secs(seconds);
    json!({"id": id, "message": message, "created_time": at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()})
}

fn page(posts: &[Value], next: Option<&str>) -> String {
    let mut body = json!({ "data": posts });
    if let Some(after) = next {
        body["paging"] = json!({"cursors": {"before": "x", "after": after}, "next": "https://evil.example/"});
    }
    json(200, &body.to_string())
}

async fn settle_against(answers: Vec<String>) -> (Result<Settled, SendError>, Server) {
    let server = Server::start(answers).await;
    let mut asked = question(sent_before("1"));
    asked.taken = vec!["1055_7".to_owned()];
    let result = account(&server).settle(&asked).await;
    (result, server)
}

#[tokio::test]
async fn the_post_is_found_by_its_exact_words_and_time_and_never_anothers() {
    let decomposed: String = unicode_normalization::UnicodeNormalization::nfd(TEXT).collect();
    let posts = [
        listed("1055_9", 9, &format!("{TEXT} Mer")),
        listed("1055_8", -122, TEXT),
        listed("1055_7", 5, TEXT),
        listed(
            "1055_6",
            4,
            &format!("\n{}\r\n", decomposed.replace('\n', "\r\n")),
        ),
    ];
    let (result, server) = settle_against(vec![page(&posts, None)]).await;
    assert_eq!(result.unwrap(), Settled::Found(Receipt::of("1055_6")));
    let line = &server.asked()[0].line;
    let since = accepted_at().as_second() - 120;
    assert!(
        line.starts_with("GET /v26.0/1055/published_posts?fields="),
        "{line}"
    );
    assert!(line.ends_with(&format!("&limit=25&since={since}")), "{line}");
}

#[tokio::test]
async fn a_post_that_shows_late_is_still_found() {
    let none = page(&[], None);
    let late = page(&[listed("1055_9", 1, TEXT)], None);
    let (result, _server) = settle_against(vec![none.clone(), late]).await;
    assert_eq!(result.unwrap(), Settled::Found(Receipt::of("1055_9")));
    let (result, server) = settle_against(vec![none.clone()]).await;
    assert_eq!(result.unwrap(), Settled::Absent);
    assert_eq!(
        server.asked().len(),
        2,
        "absence is not believed at the first look"
    );

    let mut patient = settings(&server);
    patient.settle_wait = Duration::from_secs(1);
    let account = patient.open(parts([("access_token", "hemlig")])).unwrap();
    let mut fresh = question(sent_before("1"));
    fresh.now = fresh.since;
    let err = account.settle(&fresh).await.unwrap_err();
    assert_eq!(
        err.reason().code,
        "not-yet",
        "nor before the post has had its time"
    );
}

#[tokio::test]
async fn paging_follows_the_cursor_on_our_own_address_and_ends() {
    let first = page(&[listed("1055_9", 1, "annat")], Some("c+1"));
    let second = page(&[listed("1055_8", 1, TEXT)], None);
    let (result, server) = settle_against(vec![first.clone(), second]).await;
    assert_eq!(result.unwrap(), Settled::Found(Receipt::of("1055_8")));
    assert!(server.asked()[1].line.ends_with("&after=c%2B1"));
    let (result, server) = settle_against(vec![first]).await;
    assert!(matches!(result, Ok(Settled::Unclear(reason)) if reason.code == "read-back-incomplete"));
    assert_eq!(server.asked().len(), PAGES);
}

#[tokio::test]
async fn failures_while_reading_back_settle_nothing() {
    let rows = [
        (json(500, &envelope(2, 0, true, "")), "not-sent"),
        (json(200, "<html>"), "not-sent"),
        (json(200, r#"{"data":[{"id":null}]}"#), "not-sent"),
        (json(400, &envelope(190, 463, false, "")), "credential"),
        (json(400, &envelope(4, 0, true, "")), "busy"),
        (String::new(), "not-sent"),
    ];
    for (answer, class) in rows {
        let (result, _server) = settle_against(vec![answer]).await;
        assert_eq!(result.unwrap_err().as_str(), class);
    }
    let (result, _server) = settle_against(vec![json(403, &envelope(283, 0, false, ""))]).await;
    assert!(matches!(result, Ok(Settled::Unclear(reason)) if reason.code == "graph-283"));
}

#[tokio::test]
async fn taking_away_twice_is_done() {
    let rows = [
        (json(200, r#"{"success":true}"#), Ok(())),
        (json(400, &envelope(100, 33, false, "does not exist")), Ok(())),
        (json(400, &envelope(100, 0, false, "")), Err("refused")),
        (json(200, r#"{"success":false}"#), Err("not-sent")),
        (json(200, ""), Err("not-sent")),
        (json(500, &envelope(1, 0, false, "")), Err("not-sent")),
    ];
    for (answer, expected) in rows {
        let server = Server::start(vec![answer]).await;
        let result = account(&server).retract(&Receipt::of("1055_2001")).await;
        assert_eq!(result.as_ref().map_err(SendError::as_str).copied(), expected);
        assert_eq!(server.asked()[0].line, "DELETE /v26.0/1055_2001");
    }
}

#[tokio::test]
async fn verifying_tells_whose_token_it_is() {
    let me = json(200, r#"{"id":"1055","name":"Nässjö kommun"}"#);
    let about = answer(
        200,
        &[("facebook-api-version", "v26.0")],
        r#"{"id":"1055","name":"Nässjö kommun","link":"https://www.facebook.com/n","is_published":false}"#,
    );
    let told = json(
        200,
        r#"{"data":{"is_valid":true,"type":"PAGE","expires_at":1800000000,"scopes":["pages_manage_posts","ads_read"]}}"#,
    );
    let server = Server::start(vec![me, about, told]).await;
    let identity = account(&server).verify().await.unwrap();
    assert_eq!(identity.name, "Nässjö kommun");
    assert_eq!(identity.id.as_deref(), Some("1055"));
    assert_eq!(identity.expires_at, Timestamp::from_second(1_800_000_000).ok());
    let rights = identity.rights.unwrap();
    assert!(rights.missing.contains("pages_read_engagement") && rights.surplus.contains("ads_read"));
    let codes: Vec<&str> = identity.flaws.iter().map(|flaw| flaw.code.as_str()).collect();
    assert_eq!(codes, ["unpublished", "missing-right"]);
    assert_eq!(identity.facts["version"], "v26.0");
    assert!(identity.facts["is_published"].starts_with("no"));
    let asked = server.asked();
    let with_token = asked.iter().filter(|asked| asked.line.contains("hemlig"));
    let with_token: Vec<&str> = with_token.map(|asked| asked.line.as_str()).collect();
    assert!(matches!(with_token[..], [asked] if asked.starts_with("GET /v26.0/debug_token?")));

    let person = json(200, r#"{"id":"77","name":"Kim"}"#);
    let server = Server::start(vec![person]).await;
    assert_eq!(
        account(&server).verify().await.unwrap_err().reason().code,
        "wrong-token"
    );
}

#[test]
fn a_practice_page_shares_nothing_with_the_real_one() {
    let real = FacebookPage {
        page_id: "4711".to_owned(),
        base_url: "https://graph.facebook.com".parse().unwrap(),
        login_url: "https://graph.facebook.com".parse().unwrap(),
        version: DEFAULT_VERSION.to_owned(),
        settle_wait: DEFAULT_SETTLE_WAIT,
    };
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/facebook".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: std::path::PathBuf::new(),
    };
    let there = format!("{:?}", real.at_wall(&site));
    assert!(
        !there.contains("4711") && !there.contains("graph.facebook.com"),
        "{there}"
    );
    assert_eq!(real.open(parts([])).unwrap_err().code, "no-credential");
}

#[test]
fn versions_and_page_numbers_are_checked() {
    assert!(is_version("v26.0") && is_version("v3.10"));
    for wrong in ["26.0", "v26", "v.0", "v26.0/..", "", "v26.x"] {
        assert!(!is_version(wrong), "{wrong}");
    }
    assert!(is_number("105500000000001") && !is_number("nassjo") && !is_number(""));
}

#[tokio::test]
async fn what_is_used_is_told_with_a_success() {
    let usage = r#"{"call_count":81,"total_time":25,"total_cputime":25}"#;
    let headers = [("content-type", "application/json"), ("X-App-Usage", usage)];
    let server = Server::start(vec![answer(200, &headers, MADE)]).await;
    let account = account(&server);
    account.publish(&post(TEXT)).await.unwrap();
    assert_eq!(
        account.quota().map(|quota| (quota.left, quota.limit)),
        Some((19, Some(100)))
    );
}
