//! Every row of the reference page's error table, and settling, against a server that answers as told.

use std::path::PathBuf;

use jiff::SignedDuration;

use super::readback::PAGES;
use super::*;
use crate::channel::testing::{Server, accepted_at, answer, json, parts, post, question};

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const STATUS: &str = r#"{"id":"42","url":"https://social.example/@n/42","visibility":"public"}"#;

fn settings(server: &Server) -> Mastodon {
    Mastodon {
        server: server.base.clone(),
        max_characters: 500,
        long: false,
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

async fn settle_against(answers: Vec<String>) -> Result<Settled, SendError> {
    let server = Server::start(answers).await;
    account(&server).settle(&question(post(TEXT))).await
}

fn error(text: &str) -> String {
    json!({ "error": text }).to_string()
}

#[tokio::test]
async fn a_post_carries_key_text_visibility_and_language() {
    let (result, server) = publish_against(vec![json(200, STATUS)]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt, Receipt::of("42").at("https://social.example/@n/42"));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /api/v1/statuses");
    assert_eq!(asked.headers["idempotency-key"], post(TEXT).key.as_str());
    assert_eq!(asked.headers["authorization"], "Bearer hemlig");
    assert_eq!(asked.headers["accept-language"], "en");
    assert_eq!(
        asked.json(),
        json!({"status": TEXT, "visibility": "public", "language": "sv"})
    );
}

#[tokio::test]
async fn every_refusal_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (
            400,
            "Bad Request: text with spoiler exceed max chars (5000)",
            "refused",
        ),
        (401, "The access token is invalid", "credential"),
        (401, "The access token was revoked", "credential"),
        (401, "This method requires an authenticated user", "credential"),
        (403, "This action is outside the authorized scopes", "refused"),
        (403, "Your login is currently disabled", "refused"),
        (403, "This action is not allowed", "refused"),
        (404, "Record not found", "refused"),
        (410, "", "refused"),
        (
            422,
            "Validation failed: Text character limit of 500 exceeded",
            "refused",
        ),
        (422, "Validation failed: Text can't be blank", "refused"),
        (
            422,
            "Cannot attach files that have not finished processing. Try again in a moment!",
            "not-sent",
        ),
        (422, "This method requires an authenticated user", "credential"),
        (422, "Duplicate record", "unknown"),
        (429, "Too many requests", "busy"),
        (500, "", "unknown"),
        (502, "", "unknown"),
        (504, "", "unknown"),
        (
            503,
            "There was a temporary problem serving your request, please try again",
            "not-sent",
        ),
        (503, "Remote data could not be fetched", "not-sent"),
        // Not in the table, but sent by what stands in front of servers.
        (301, "", "refused"),
        (307, "", "refused"),
        (408, "", "unknown"),
        (409, "", "unknown"),
        (413, "", "refused"),
        (599, "", "unknown"),
    ];
    for (status, text, class) in rows {
        let (result, _server) = publish_against(vec![json(*status, &error(text))]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {text}");
        assert_eq!(err.reason().code, format!("http-{status}"), "{status} {text}");
        assert!(!err.to_string().contains("hemlig"), "{err}");
        let (result, _server) = publish_against(vec![answer(*status, &[], "<html>nej</html>")]).await;
        let without_text = result.unwrap_err();
        assert_eq!(without_text.reason().code, format!("http-{status}"));
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out_until_the_later_of_both_times() {
    let now = crate::channel::testing::clock().now();
    let at = |seconds: i64| Some(now + SignedDuration::from_secs(seconds));
    let iso = "2026-11-23T15:58:36.123456Z";
    let unix = at(20).unwrap().as_second().to_string();
    let whole_second = Timestamp::from_second(at(20).unwrap().as_second()).ok();
    let cases = [
        (vec![("X-RateLimit-Reset", iso)], at(20)),
        (vec![("X-RateLimit-Reset", unix.as_str())], whole_second),
        (vec![("Retry-After", "40"), ("X-RateLimit-Reset", iso)], at(40)),
        (vec![("X-RateLimit-Reset", "2020-01-01T00:00:00.000000Z")], at(0)),
        (vec![("X-RateLimit-Reset", "soon"), ("Retry-After", "-1")], None),
        (vec![], None),
    ];
    for (headers, expected) in cases {
        let (result, _server) =
            publish_against(vec![answer(429, &headers, &error("Too many requests"))]).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(until, expected, "{headers:?}");
    }
    let (result, _server) = publish_against(vec![answer(503, &[("Retry-After", "40")], "")]).await;
    assert!(matches!(result, Err(SendError::Busy { until, .. }) if until == at(40)));
}

#[tokio::test]
async fn a_success_without_a_readable_post_is_unknown() {
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"id":null}"#,
        r#"{"id":7}"#,
        r#"{"id":""}"#,
        "[]",
        "NaN",
    ] {
        let (result, _server) = publish_against(vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
    let (result, _server) = publish_against(vec![String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
}

#[tokio::test]
async fn a_reply_whose_parent_is_gone_is_posted_alone_under_the_same_key() {
    let gone = json(
        404,
        &error("The post you are trying to reply to does not appear to exist."),
    );
    let server = Server::start(vec![gone, json(200, STATUS)]).await;
    let reply = Post {
        parent: Some(Receipt::of("41")),
        ..post(TEXT)
    };
    let receipt = account(&server).publish(&reply).await.unwrap();
    assert!(receipt.note.unwrap().contains("stands alone"));
    let asked = server.asked();
    assert_eq!(asked[0].json()["in_reply_to_id"], "41");
    assert_eq!(asked[1].json().get("in_reply_to_id"), None);
    assert_eq!(
        asked[0].headers["idempotency-key"],
        asked[1].headers["idempotency-key"]
    );
}

#[tokio::test]
async fn a_silenced_account_is_noted() {
    let body = STATUS.replace("public", "unlisted");
    let (result, _server) = publish_against(vec![json(200, &body)]).await;
    assert!(result.unwrap().note.unwrap().contains("unlisted"));
}

fn me() -> String {
    json(200, r#"{"id":"1","acct":"nassjo"}"#)
}

fn mastodon() -> String {
    json(200, r#"{"version":"4.5.0","api_versions":{"mastodon":7}}"#)
}

fn imitation() -> String {
    json(200, r#"{"version":"0.20.0","source_url":"https://example.org"}"#)
}

fn status(id: &str, seconds: i64, content: &str) -> Value {
    let at = accepted_at() + SignedDuration::from_secs(seconds);
    json!({"id": id, "url": null, "created_at": at.to_string(), "content": content})
}

fn page(statuses: &[Value]) -> String {
    json(200, &Value::from(statuses).to_string())
}

const CONTENT: &str = "<p>Koka vattnet i Nässjö tätort.</p><p><a href=\"https://nassjo.se/kris\"><span class=\"invisible\">https://</span><span class=\"\">nassjo.se/kris</span></a></p>";

#[tokio::test]
async fn the_post_is_found_by_its_words_and_time_and_never_anothers() {
    let latest = [
        status("9", 8, "<p>Något annat</p>"),
        status("8", 7, CONTENT),
        status("7", 3, CONTENT),
    ];
    let found = settle_against(vec![me(), page(&latest)]).await.unwrap();
    assert_eq!(found, Settled::Found(Receipt::of("8")));

    let server = Server::start(vec![me(), page(&latest)]).await;
    let mut asked = question(post(TEXT));
    asked.taken = vec!["8".to_owned()];
    let found = account(&server).settle(&asked).await.unwrap();
    assert_eq!(
        found,
        Settled::Found(Receipt::of("7")),
        "8 belongs to another delivery"
    );
}

#[tokio::test]
async fn an_older_post_with_the_same_words_is_not_ours() {
    let older = [status("9", -121, CONTENT)];
    let settled = settle_against(vec![me(), page(&older), mastodon()])
        .await
        .unwrap();
    assert_eq!(settled, Settled::Absent);
    let clock_behind = [status("9", -119, CONTENT)];
    let settled = settle_against(vec![me(), page(&clock_behind)]).await.unwrap();
    assert_eq!(settled, Settled::Found(Receipt::of("9")));
}

#[tokio::test]
async fn a_server_that_ignores_keys_is_read_several_times() {
    let late = [status("9", 1, CONTENT)];
    let none = page(&[]);
    let settled = settle_against(vec![me(), none.clone(), imitation(), me(), page(&late)]).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("9")));

    let answers = vec![me(), none.clone(), imitation(), me(), none];
    let server = Server::start(answers.clone()).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert_eq!(settled, Settled::Absent);
    assert_eq!(server.asked().len(), 5);

    let mut fresh = question(post(TEXT));
    fresh.now = fresh.since;
    let mut patient = settings(&server);
    patient.settle_wait = Duration::from_secs(1);
    let server = Server::start(answers).await;
    patient.server = server.base.clone();
    let account = patient.open(parts([("access_token", "hemlig")])).unwrap();
    let err = account.settle(&fresh).await.unwrap_err();
    assert_eq!(err.reason().code, "not-yet");
}

#[tokio::test]
async fn after_an_hour_the_key_proves_nothing() {
    let server = Server::start(vec![me(), page(&[]), me(), page(&[])]).await;
    let mut asked = question(post(TEXT));
    asked.now = asked.since + SignedDuration::from_mins(56);
    assert_eq!(account(&server).settle(&asked).await.unwrap(), Settled::Absent);
    let lines: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert!(!lines.iter().any(|line| line.contains("instance")), "{lines:?}");
}

#[tokio::test]
async fn reading_back_ends_somewhere_and_then_says_so() {
    let mut answers = vec![me()];
    for n in 0..PAGES {
        answers.push(page(&[status(&format!("{}", 900 - n), 1, "<p>annat</p>")]));
    }
    answers.push(imitation());
    let server = Server::start(answers).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "read-back-incomplete"));
    let asked = server.asked();
    assert!(
        asked[1]
            .line
            .ends_with("/accounts/1/statuses?limit=40&exclude_reblogs=true")
    );
    assert!(asked[2].line.ends_with("&max_id=900"));
}

#[tokio::test]
async fn a_token_that_may_not_read_still_has_its_key() {
    let closed = json(403, &error("This action is outside the authorized scopes"));
    let settled = settle_against(vec![closed.clone(), mastodon()]).await.unwrap();
    assert_eq!(settled, Settled::Absent);
    let settled = settle_against(vec![closed, imitation()]).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "http-403"));
}

#[tokio::test]
async fn nonsense_while_reading_back_settles_nothing() {
    for nonsense in [
        "",
        "{}",
        r#"[{"id":null}]"#,
        r#"[{"id":"1","created_at":"igår"}]"#,
    ] {
        let err = settle_against(vec![me(), json(200, nonsense)]).await.unwrap_err();
        assert_eq!(err.as_str(), "not-sent", "{nonsense}");
    }
    let err = settle_against(vec![json(500, "")]).await.unwrap_err();
    assert_eq!(err.as_str(), "not-sent");
    let err = settle_against(vec![json(401, "")]).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
}

#[tokio::test]
async fn taking_away_twice_is_done() {
    for (status, done) in [(200, true), (404, true), (410, true), (500, false), (401, false)] {
        let server = Server::start(vec![json(status, "{}")]).await;
        let result = account(&server).retract(&Receipt::of("42/../7")).await;
        assert_eq!(result.is_ok(), done, "{status}");
        assert_eq!(server.asked()[0].line, "DELETE /api/v1/statuses/42%2F..%2F7");
    }
}

#[tokio::test]
async fn verifying_tells_who_we_are_and_refuses_a_token_that_may_not_post() {
    let instance = r#"{"version":"4.5.0","configuration":{"statuses":{"max_characters":500}}}"#;
    let answers = |scopes: &str| {
        vec![
            me(),
            json(200, instance),
            json(200, &format!(r#"{{"scopes":[{scopes}]}}"#)),
        ]
    };
    let server = Server::start(answers(r#""read","write:statuses""#)).await;
    let identity = account(&server).verify().await.unwrap();
    assert_eq!(identity.name, "nassjo");
    assert_eq!(identity.facts["max_characters"], "500");
    assert_eq!(identity.facts["scopes"], "read write:statuses");
    let server = Server::start(answers(r#""read""#)).await;
    let err = account(&server).verify().await.unwrap_err();
    assert_eq!(err.reason().code, "scope");
}

#[test]
fn without_a_token_the_account_does_not_open() {
    let settings = Mastodon {
        server: "https://social.example".parse().unwrap(),
        max_characters: 500,
        long: false,
        settle_wait: DEFAULT_SETTLE_WAIT,
    };
    assert_eq!(settings.open(parts([])).unwrap_err().code, "no-credential");
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/mastodon".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let there = settings.at_wall(&site).addresses();
    assert_eq!(
        there,
        [("server", "http://127.0.0.1:1/drill/mastodon".to_owned())]
    );
}

fn long_post() -> Post {
    let sentence = "Koka allt vatten som du dricker eller lagar mat med, tills det bubblar. ";
    post(&format!(
        "Koka vattnet\n\n{}\n\nNässjö kommun\nhttps://nassjo.se/kris",
        sentence.repeat(18).trim()
    ))
}

fn threads(server: &Server) -> Arc<dyn Channel> {
    let settings = Mastodon {
        long: true,
        ..settings(server)
    };
    settings.open(parts([("access_token", "hemlig")])).unwrap()
}

fn posted(id: &str) -> String {
    json(
        200,
        &json!({"id": id, "url": format!("https://s/{id}"), "visibility": "unlisted"}).to_string(),
    )
}

#[tokio::test]
async fn a_thread_that_was_cut_off_looks_before_it_goes_on() {
    let post = long_post();
    let begun = accepted_at().to_string();
    let known = [("thread", begun.as_str()), ("part-1", "41 https://s/41")];
    let post = Post {
        steps: crate::model::Steps::of(known),
        ..post
    };
    let texts = crate::compose::parts::of(&post, "Nässjö kommun", &settings_rule()).unwrap();
    assert_eq!(texts.len(), 3);
    let mut second = status("42", 3, &texts[1]);
    second["in_reply_to_id"] = "41".into();
    let mut stranger = status("40", 4, &texts[1]);
    stranger["in_reply_to_id"] = "7".into();
    let server = Server::start(vec![me(), page(&[stranger, second]), posted("43")]).await;
    let receipt = threads(&server).publish(&post).await.unwrap();
    assert_eq!(receipt.remote_id, "41");
    assert_eq!(receipt.url.as_deref(), Some("https://s/41"));
    assert_eq!(receipt.version.as_deref(), Some("41 42 43"));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].json()["in_reply_to_id"], "42");
    assert_eq!(asked[2].json()["visibility"], "unlisted");
    assert_eq!(asked[2].headers["idempotency-key"], format!("{}-3", post.key));
    assert_eq!(post.steps.get("part-3").as_deref(), Some("43 https://s/43"));
    // With all parts on disk nothing is asked any more.
    assert_eq!(
        threads(&server).settle(&question(post.clone())).await.unwrap(),
        Settled::Found(receipt)
    );
    assert_eq!(server.asked().len(), 3);
}

fn settings_rule() -> TextRule {
    TextRule {
        limit: Some(500),
        unit: Unit::MastodonCharacters,
        also: None,
    }
}

#[tokio::test]
async fn settling_asks_for_the_part_that_was_under_way() {
    let begun = accepted_at().to_string();
    let with = |known: &[(&'static str, &str)]| Post {
        steps: crate::model::Steps::of(known.iter().copied()),
        ..long_post()
    };
    let texts = crate::compose::parts::of(&with(&[]), "Nässjö kommun", &settings_rule()).unwrap();
    let server = Server::start(vec![json(500, "")]).await;
    let nothing = threads(&server).settle(&question(with(&[]))).await.unwrap();
    assert_eq!(nothing, Settled::Absent, "nothing had gone");
    assert!(server.asked().is_empty());

    let one = [("thread", begun.as_str()), ("part-1", "41")];
    let server = Server::start(vec![me(), page(&[status("42", 1, &texts[1])])]).await;
    let middle = threads(&server).settle(&question(with(&one))).await.unwrap();
    assert_eq!(
        middle,
        Settled::Absent,
        "the second of three is there: the thread goes on"
    );

    let two = [("thread", begun.as_str()), ("part-1", "41"), ("part-2", "42")];
    let server = Server::start(vec![me(), page(&[status("43", 1, &texts[2])])]).await;
    let last = threads(&server).settle(&question(with(&two))).await.unwrap();
    assert!(
        matches!(&last, Settled::Found(whole) if whole.version.as_deref() == Some("41 42 43")),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_refused_part_is_told_with_what_residents_already_read() {
    let server = Server::start(vec![posted("41"), json(422, &error("Validation failed"))]).await;
    let refused = threads(&server).publish(&long_post()).await.unwrap_err();
    assert_eq!(refused.as_str(), "refused");
    assert!(refused.to_string().contains("part 2 of 3"), "{refused}");
}

#[tokio::test]
async fn a_pin_that_is_refused_is_looked_at() {
    for (pinned, done) in [(true, true), (false, false)] {
        let status = json!({"id": "42", "pinned": pinned}).to_string();
        let server = Server::start(vec![json(422, &error("Validation failed")), json(200, &status)]).await;
        let result = account(&server).pin(&Receipt::of("42")).await;
        assert_eq!(result.is_ok(), done);
    }
    for (status, word) in [
        (401, "credential"),
        (403, "refused"),
        (429, "busy"),
        (500, "not-sent"),
    ] {
        let server = Server::start(vec![json(status, "{}")]).await;
        let err = account(&server).pin(&Receipt::of("42")).await.unwrap_err();
        assert_eq!(err.as_str(), word, "{status}");
        let err = account(&server)
            .edit(&Receipt::of("42"), &post(TEXT))
            .await
            .unwrap_err();
        assert_eq!(err.as_str(), word, "{status}");
    }
}
