//! Every row of the reference page's error table, and settling, against a server that answers as told.

use super::*;
use crate::channel::testing::{Server, accepted_at, answer, clock, json, parts, post, question};
use jiff::SignedDuration;

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const SENT: &str =
    r#"{"id":"sPs71M8A2T","time":1643935928,"expires":1643936000,"event":"message","topic":"nassjo-kris"}"#;

fn settings(server: &Server) -> Ntfy {
    Ntfy {
        server: server.base.clone(),
        topic: "nassjo-kris".to_owned(),
        priority: 5,
        tags: vec!["warning".to_owned()],
        by_status: false,
        backstage_topic: None,
        cache: DEFAULT_CACHE,
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server)
        .open(parts([("access_token", "tk_hemlig")]))
        .unwrap()
}

async fn publish_against(answer: String) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(vec![answer]).await;
    let result = account(&server).publish(&post(TEXT)).await;
    (result, server)
}

#[tokio::test]
async fn a_message_has_title_priority_tags_and_leads_to_the_page_when_touched() {
    let (result, server) = publish_against(json(200, SENT)).await;
    let topic = format!("{}nassjo-kris", server.base);
    assert_eq!(result.unwrap(), Receipt::of("sPs71M8A2T").at(topic));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /");
    assert_eq!(asked.headers["authorization"], "Bearer tk_hemlig");
    assert_eq!(
        asked.json(),
        json!({
            "topic": "nassjo-kris", "title": "Koka vattnet i Nässjö", "message": TEXT, "priority": 5,
            "tags": ["warning"], "click": "https://nassjo.se/kris",
        })
    );
}

/// A text as every prepared message gives it: the headline first.
const WHOLE: &str = "Koka vattnet i Nässjö\n\nDet kan göra dig sjuk.\n\nhttps://nassjo.se/kris";
const BELOW: &str = "Det kan göra dig sjuk.\n\nhttps://nassjo.se/kris";

#[tokio::test]
async fn the_title_is_not_said_again_and_the_message_is_found_as_it_was_sent() {
    let server = Server::start(vec![json(200, SENT)]).await;
    account(&server).publish(&post(WHOLE)).await.unwrap();
    assert_eq!(server.asked()[0].json()["message"], BELOW);
    let kept = kept("ratt", |message| message["message"] = BELOW.into());
    let server = Server::start(vec![json(200, &kept)]).await;
    let settled = account(&server).settle(&question(post(WHOLE))).await.unwrap();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == "ratt"),
        "{settled:?}"
    );
}

#[tokio::test]
async fn what_went_with_its_headline_in_the_text_is_found_too() {
    let said = async |text: &str| {
        let kept = kept("fore", |message| message["message"] = text.into());
        let server = Server::start(vec![json(200, &kept)]).await;
        account(&server).settle(&question(post(WHOLE))).await.unwrap()
    };
    let settled = said(WHOLE).await;
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == "fore"),
        "{settled:?}"
    );
    assert_eq!(said("Koka vattnet i Nässjö").await, Settled::Absent);
}

#[tokio::test]
async fn the_end_of_an_alert_bears_no_warning_sign() {
    let server = Server::start(vec![json(200, SENT)]).await;
    let mut post = post(TEXT);
    post.kind = Does::AllClear;
    account(&server).publish(&post).await.unwrap();
    assert_eq!(server.asked()[0].json()["tags"], json!(["white_check_mark"]));
}

#[tokio::test]
async fn an_open_server_is_written_to_without_a_token() {
    let server = Server::start(vec![json(200, SENT)]).await;
    let account = settings(&server).open(parts([])).unwrap();
    account.publish(&post(TEXT)).await.unwrap();
    assert!(!server.asked()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn every_code_of_the_reference_page_has_its_class() {
    let rows: &[(u16, u64, &str)] = &[
        (400, 40009, "refused"),
        (400, 40024, "refused"),
        (401, 40101, "credential"),
        (403, 40301, "refused"),
        (413, 41301, "refused"),
        (429, 42901, "busy"),
        (429, 42908, "busy"),
        (429, 42909, "busy"),
        (500, 50001, "unknown"),
        (507, 50701, "refused"),
    ];
    for (status, code, class) in rows {
        let body =
            json!({ "code": code, "http": status, "error": "nej tk_hemlig", "link": "https://ntfy.sh/docs" });
        let (result, _server) = publish_against(json(*status, &body.to_string())).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{code}");
        assert_eq!(err.reason().code, format!("ntfy-{code}"));
        assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
    }
    let rows: &[(u16, &str)] = &[
        (301, "refused"),
        (401, "credential"),
        (403, "refused"),
        (404, "refused"),
        (408, "unknown"),
        (409, "unknown"),
        (429, "busy"),
        (502, "unknown"),
        (503, "not-sent"),
        (504, "unknown"),
        (507, "unknown"),
    ];
    for (status, class) in rows {
        let (result, _server) = publish_against(answer(*status, &[], "<html>nej</html>")).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status}");
        assert_eq!(err.reason().code, format!("http-{status}"));
    }
}

#[tokio::test]
async fn a_throttle_lasts_as_long_as_its_code_says() {
    let at = |seconds: i64| Some(clock().now() + SignedDuration::from_secs(seconds));
    let code = |code: u64| json!({ "code": code, "http": 429, "error": "limit reached" }).to_string();
    let cases = [
        (vec![("Retry-After", "40")], code(42908), at(40)),
        (vec![], code(42901), at(10)),
        (vec![], code(42909), at(300)),
        (vec![], code(42908), "2026-11-24T00:00:00Z".parse().ok()),
        (vec![], String::new(), at(10)),
    ];
    for (headers, body, expected) in cases {
        let (result, _server) = publish_against(answer(429, &headers, &body)).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(until, expected, "{body}");
    }
}

#[tokio::test]
async fn a_success_without_a_message_is_unknown() {
    for body in ["", "{}", r#"{"id":""}"#, r#"{"id":7}"#, "ok"] {
        let (result, _server) = publish_against(json(200, body)).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
    let file = r#"{"id":"a","event":"message","attachment":{"name":"attachment.txt"}}"#;
    let (result, _server) = publish_against(json(200, file)).await;
    assert!(result.unwrap().note.unwrap().contains("file"));
}

fn kept(id: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut message = json!({
        "id": id, "time": accepted_at().as_second(), "event": "message", "topic": "nassjo-kris",
        "title": "Koka vattnet i Nässjö", "message": TEXT, "click": "https://nassjo.se/kris",
    });
    change(&mut message);
    format!("{message}\n")
}

async fn settle_against(
    answer: String,
    settings: impl FnOnce(&mut Ntfy),
) -> (Result<Settled, SendError>, Server) {
    let server = Server::start(vec![answer]).await;
    let mut own = self::settings(&server);
    settings(&mut own);
    let account = own.open(parts([("access_token", "tk_hemlig")])).unwrap();
    let mut question = question(post(TEXT));
    question.taken = vec!["annans".to_owned()];
    (account.settle(&question).await, server)
}

#[tokio::test]
async fn a_message_is_found_by_its_words_its_link_and_its_time() {
    let others = [
        kept("annan-text", |m| m["message"] = "Koka inte vattnet.".into()),
        kept("annan-rubrik", |m| m["title"] = "Faran över".into()),
        kept("annan-lank", |m| m["click"] = "https://nassjo.se".into()),
        kept("annat-amne", |m| m["topic"] = "nassjo".into()),
        kept("for-gammal", |m| {
            m["time"] = (accepted_at().as_second() - 3600).into();
        }),
        kept("ingen-handelse", |m| m["event"] = "keepalive".into()),
        kept("annans", |_| {}),
        "\n".to_owned(),
    ]
    .concat();
    let (settled, _server) = settle_against(json(200, &others), |_| {}).await;
    assert_eq!(settled, Ok(Settled::Absent));
    let (settled, server) = settle_against(json(200, &(others + &kept("ratt", |_| {}))), |_| {}).await;
    assert!(
        matches!(&settled, Ok(Settled::Found(receipt)) if receipt.remote_id == "ratt"),
        "{settled:?}"
    );
    let since = accepted_at().as_second() - 120;
    assert_eq!(
        server.asked()[0].line,
        format!("GET /nassjo-kris/json?poll=1&since={since}")
    );
}

#[tokio::test]
async fn what_cannot_be_read_back_is_said_to_be_unclear() {
    let unclear = |settled: &Result<Settled, SendError>, code: &str| {
        assert!(
            matches!(settled, Ok(Settled::Unclear(reason)) if reason.code == code),
            "{code}: {settled:?}"
        );
    };
    let forbidden = r#"{"code":40301,"http":403,"error":"forbidden"}"#;
    unclear(
        &settle_against(json(403, forbidden), |_| {}).await.0,
        "ntfy-40301",
    );
    let (settled, server) = settle_against(json(200, ""), |own| own.cache = Duration::ZERO).await;
    unclear(&settled, "no-cache");
    assert_eq!(server.asked().len(), 0);
    let (settled, _server) = settle_against(json(200, ""), |own| own.cache = Duration::from_secs(5)).await;
    unclear(&settled, "cache-over");
    let huge = "x".repeat(crate::channel::transport::READ_CAP + 1);
    unclear(&settle_against(json(200, &huge), |_| {}).await.0, "too-large");
    let half = kept("halv", |_| {}).chars().take(60).collect::<String>();
    let (settled, _server) = settle_against(json(200, &half), |_| {}).await;
    assert_eq!(settled.unwrap_err().as_str(), "not-sent", "asked again later");
    let (settled, _server) = settle_against(json(401, ""), |_| {}).await;
    assert_eq!(settled.unwrap_err().as_str(), "credential");
}

#[tokio::test]
async fn an_absence_is_not_believed_too_soon() {
    let (settled, _server) =
        settle_against(json(200, ""), |own| own.settle_wait = Duration::from_mins(1)).await;
    assert_eq!(settled.unwrap_err().reason().code, "not-yet");
}

#[tokio::test]
async fn verifying_tells_a_server_from_what_is_none_and_says_who_may_read() {
    let well = json(200, r#"{"healthy":true}"#);
    let verify = |answers: Vec<String>| async move {
        let server = Server::start(answers).await;
        account(&server).verify().await
    };
    let identity = verify(vec![well.clone(), json(200, r#"{"success":true}"#)])
        .await
        .unwrap();
    assert_eq!(
        (identity.name.as_str(), identity.facts["may_read"].as_str()),
        ("127.0.0.1/nassjo-kris", "yes")
    );
    let identity = verify(vec![well.clone(), json(403, r#"{"code":40301}"#)])
        .await
        .unwrap();
    assert!(identity.facts["may_read"].starts_with("no"));
    let wrong = verify(vec![well, json(401, r#"{"code":40101}"#)]).await;
    assert_eq!(wrong.unwrap_err().as_str(), "credential");
    let ill = verify(vec![json(200, r#"{"healthy":false}"#)]).await;
    assert_eq!(ill.unwrap_err().reason().code, "unhealthy");
    for page in [answer(404, &[], "nej"), answer(200, &[], "<html>")] {
        assert_eq!(verify(vec![page]).await.unwrap_err().reason().code, "no-ntfy");
    }
}

#[test]
fn bad_settings_are_told_with_what_to_do() {
    let faults = |keys: &str| {
        let source = crate::config::source::Source::new("config.toml", keys);
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        assert!(read(&mut section).is_none());
        section.finish();
        let problems = source.take_problems();
        problems
            .iter()
            .map(|problem| format!("{problem:?}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let all = faults(
        "server = \"http://ntfy.sh\"\ntopic = \"å\"\npriority = 6\ntags = [\"x y\"]\ncache = \"snart\"",
    );
    for key in ["server", "topic", "priority", "tags", "cache"] {
        assert!(all.contains(key), "{key} in {all}");
    }
    assert!(faults("server = \"https://ntfy.sh\"\ntopic = \"v1\"").contains("page of every ntfy server"));
    assert!(faults("").contains("is missing"));
}

/// A server that is none of ntfy's takes the message and says no more than that.
#[tokio::test]
async fn where_the_status_alone_counts_any_plain_server_will_do() {
    for plain in [
        answer(200, &[("content-type", "text/plain")], "ok"),
        answer(204, &[], ""),
        json(200, r#"{"status":"ok"}"#),
    ] {
        let (result, _server) = publish_against(plain.clone()).await;
        assert_eq!(
            result.unwrap_err().as_str(),
            "unknown",
            "a strict account wants the id"
        );
        let server = Server::start(vec![plain]).await;
        let mut settings = settings(&server);
        settings.by_status = true;
        assert_eq!(settings.proof(), Some(Proof::Unproven));
        let account = settings.open(parts([])).unwrap();
        let message = post(TEXT);
        let receipt = account.publish(&message).await.unwrap();
        assert_eq!(receipt.remote_id, message.key.as_str());
        assert!(receipt.note.unwrap().contains("took the message"));
        let settled = account.settle(&question(message)).await.unwrap();
        assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "no-read-back"));
        assert_eq!(server.asked().len(), 1, "there is nothing to read back");
        account.verify().await.unwrap();
    }
    let server = Server::start(vec![json(200, SENT)]).await;
    let mut settings = settings(&server);
    settings.by_status = true;
    let receipt = settings
        .open(parts([]))
        .unwrap()
        .publish(&post(TEXT))
        .await
        .unwrap();
    assert_eq!(
        receipt.remote_id, "sPs71M8A2T",
        "a server that names the message is believed"
    );
}
