//! Every row of the reference page's error table, and settling, against a service that answers as told.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::channel::testing::{Asked, Server, accepted_at, answer, json, parts, post, question};
use crate::clock::Timestamp;
use crate::config::source::Source;

const TEXT: &str = "Koka vattnet i Nässjö tätort. Nässjö kommun\nhttps://nassjo.se/kris";
const TO: &str = "+46701740605";
const LOGIN: [(&str, &str); 2] = [("username", "u1234"), ("password", "hemlig")];

fn settings(server: &Server) -> Sms {
    Sms {
        from: "Nassjo".to_owned(),
        list: "krisgrupp".parse().unwrap(),
        max_parts: 3,
        price: Some("0.35 SEK".parse().unwrap()),
        least_balance: 1,
        dryrun: false,
        whendelivered: None,
        settle_wait: Duration::from_millis(20),
        base_url: server.base.join("/a1").unwrap(),
    }
}

fn message(text: &str) -> Post {
    let mut post = post(text);
    post.recipient = Some(Recipient::new(TO));
    post
}

async fn publish_with(
    answers: Vec<String>,
    change: impl Fn(&mut Sms),
) -> (Result<Receipt, SendError>, Vec<Asked>) {
    let server = Server::start(answers).await;
    let mut settings = settings(&server);
    change(&mut settings);
    let account = settings.open(parts(LOGIN)).unwrap();
    let result = account.publish(&message(TEXT)).await;
    (result, server.asked())
}

async fn publish_against(answers: Vec<String>) -> (Result<Receipt, SendError>, Vec<Asked>) {
    publish_with(answers, |_| {}).await
}

async fn settle_against(
    answers: Vec<String>,
    change: impl Fn(&mut Question),
) -> (Result<Settled, SendError>, Vec<Asked>) {
    let server = Server::start(answers).await;
    let mut question = question(message(TEXT));
    change(&mut question);
    let account = settings(&server).open(parts(LOGIN)).unwrap();
    (account.settle(&question).await, server.asked())
}

async fn verify_against(answer: String) -> Result<Identity, SendError> {
    let server = Server::start(vec![answer]).await;
    settings(&server).open(parts(LOGIN)).unwrap().verify().await
}

fn sent(id: &str) -> Value {
    json!({
        "id": id, "status": "created", "direction": "outgoing", "from": "Nassjo", "to": TO, "message": TEXT,
        "created": written(accepted_at()), "parts": 1, "cost": 3500,
    })
}

fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// The same message as it looks `seconds` after the post was accepted.
fn sent_at(id: &str, seconds: i64) -> Value {
    let mut message = sent(id);
    message["created"] = written(accepted_at() + SignedDuration::from_secs(seconds)).into();
    message
}

fn page(messages: &[Value]) -> String {
    json(200, &json!({ "data": messages }).to_string())
}

fn form(asked: &Asked) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&asked.body).into_owned().collect()
}

fn problems(keys: &str) -> String {
    let source = Source::new("config.toml", keys);
    let table = source.parse();
    let mut section = Section::root(&source, &table);
    let read = (KIND.read)(&mut section);
    section.finish();
    let problems = source.take_problems();
    assert_eq!(read.is_some(), problems.is_empty(), "{problems:?}");
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.text))
        .collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_message_carries_sender_recipient_and_words_and_nothing_else() {
    let (result, asked) = publish_against(vec![json(200, &sent("s1f").to_string())]).await;
    let receipt = result.unwrap();
    assert_eq!((receipt.remote_id.as_str(), receipt.url), ("s1f", None));
    assert_eq!(receipt.note.as_deref(), Some("1 part, 0.35 SEK"));
    assert_eq!(asked.len(), 1, "nothing follows a message");
    assert_eq!(asked[0].line, "POST /a1/sms");
    assert_eq!(asked[0].headers["authorization"], "Basic dTEyMzQ6aGVtbGln");
    let expected = [("from", "Nassjo"), ("to", TO), ("message", TEXT)];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form(&asked[0]), BTreeMap::from(expected));
}

#[tokio::test]
async fn another_count_of_parts_than_ours_is_told() {
    let mut body = sent("s1f");
    body["parts"] = 2.into();
    body["cost"] = 7000.into();
    let (result, _) = publish_with(vec![json(200, &body.to_string())], |sms| sms.price = None).await;
    let note = result.unwrap().note.unwrap();
    assert_eq!(note, "2 parts, we had counted 1, 0.70 in the account's currency");
    let (result, _) = publish_against(vec![json(200, r#"{"id":"s2"}"#)]).await;
    assert_eq!(
        result.unwrap(),
        Receipt::of("s2"),
        "older versions say neither parts nor cost"
    );
}

#[tokio::test]
async fn every_refusal_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str)] = &[
        (400, "refused"),
        (401, "credential"),
        (402, "credential"),
        (403, "credential"),
        (404, "refused"),
        (405, "refused"),
        (413, "refused"),
        (429, "busy"),
        (301, "refused"),
        (307, "refused"),
        (408, "unknown"),
        (409, "unknown"),
        (499, "unknown"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
        (599, "unknown"),
    ];
    let said = format!("Bad number {TO} (46701740605) of u1234:hemlig");
    let as_json = json!({ "error": said }).to_string();
    for (status, class) in rows {
        for body in [
            answer(*status, &[("content-type", "text/plain; charset=utf-8")], &said),
            json(*status, &as_json),
        ] {
            let (result, _) = publish_against(vec![body]).await;
            let err = result.unwrap_err();
            assert_eq!(err.as_str(), *class, "{status}");
            assert_eq!(err.reason().code, format!("http-{status}"));
            let told = err.to_string();
            assert!(
                told.contains("Bad number …05 (…05) of [redacted]:[redacted]"),
                "{told}"
            );
        }
        let html = answer(*status, &[("content-type", "text/html")], "<h1>nej</h1>");
        let (result, _) = publish_against(vec![html]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status}");
        assert!(err.to_string().contains("no reason given"), "{err}");
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out() {
    let (result, _) = publish_against(vec![answer(429, &[("retry-after", "60")], "")]).await;
    let now = crate::channel::testing::clock().now();
    assert!(
        matches!(result, Err(SendError::Busy { until: Some(until), .. }) if until == now + SignedDuration::from_secs(60))
    );
    let (result, _) = publish_against(vec![answer(429, &[], "")]).await;
    assert!(matches!(result, Err(SendError::Busy { until: None, .. })));
}

#[tokio::test]
async fn a_success_without_an_id_is_unknown() {
    for body in [
        "",
        "[]",
        "\"s1\"",
        "{}",
        "{\"id\":null}",
        "{\"id\":7}",
        "{\"id\":\"\"}",
        "{\"id\":\"../me\"}",
        "<html>",
    ] {
        let (result, _) = publish_against(vec![answer(200, &[], body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
    let (result, _) = publish_against(vec![String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown", "cut");
}

#[tokio::test]
async fn a_message_that_failed_at_once_is_not_called_published() {
    let mut body = sent("s1f");
    body["status"] = "failed".into();
    let (result, _) = publish_against(vec![json(200, &body.to_string())]).await;
    let err = result.unwrap_err();
    assert_eq!((err.as_str(), err.reason().code.as_str()), ("refused", "failed"));
}

#[tokio::test]
async fn a_dry_run_is_never_called_published() {
    let body = json!({"status": "created", "to": TO, "parts": 1, "estimated_cost": 3500});
    let (result, asked) = publish_with(vec![json(200, &body.to_string())], |sms| {
        sms.dryrun = true;
        sms.whendelivered = Some("https://kris.nassjo.se/sms".parse().unwrap());
    })
    .await;
    let err = result.unwrap_err();
    assert_eq!((err.as_str(), err.reason().code.as_str()), ("refused", "dryrun"));
    assert!(err.to_string().contains("1 part, 0.35 SEK"), "{err}");
    assert_eq!(form(&asked[0])["dryrun"], "yes");
    assert!(!form(&asked[0]).contains_key("whendelivered"));
}

#[tokio::test]
async fn a_report_is_asked_for_at_an_address_of_its_own() {
    let ask = |key: &'static str| async move {
        let server = Server::start(vec![json(200, &sent("s1f").to_string())]).await;
        let mut settings = settings(&server);
        settings.whendelivered = Some("https://kris.nassjo.se/reports/sms".parse().unwrap());
        let post = crate::channel::testing::with_key(message(TEXT), key);
        settings.open(parts(LOGIN)).unwrap().publish(&post).await.unwrap();
        Url::parse(&form(&server.asked()[0])["whendelivered"]).unwrap()
    };
    let one = ask("0193f5b0-0000-7000-8000-000000000001").await;
    let two = ask("0193f5b0-0000-7000-8000-000000000002").await;
    let token = |url: &Url| {
        let pairs: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        pairs["token"].clone()
    };
    assert!(one.as_str().starts_with(
        "https://kris.nassjo.se/reports/sms?delivery=0193f5b0-0000-7000-8000-000000000001&token="
    ));
    assert_eq!(token(&one).len(), 64);
    assert_ne!(token(&one), token(&two), "a leaked one is of no use for another");
    assert_eq!(
        one,
        ask("0193f5b0-0000-7000-8000-000000000001").await,
        "a repeat is the same"
    );
}

#[tokio::test]
async fn nothing_leaves_without_a_number() {
    let server = Server::start(vec![json(200, &sent("s1f").to_string())]).await;
    let account = settings(&server).open(parts(LOGIN)).unwrap();
    for recipient in [
        None,
        Some("anna@example.se"),
        Some("0701740605"),
        Some("+46701740605,+46701740606"),
    ] {
        let mut post = post(TEXT);
        post.recipient = recipient.map(Recipient::new);
        assert_eq!(
            account.publish(&post).await.unwrap_err().as_str(),
            "refused",
            "{recipient:?}"
        );
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_lost_message_is_known_by_recipient_sender_words_and_time() {
    let other = |key: &str, value: &str| {
        let mut message = sent_at("sother", 1);
        message[key] = value.into();
        message
    };
    let none_of_these = vec![
        other("to", "+46701740606"),
        other("from", "Annan"),
        other("message", "Något annat"),
        other("direction", "incoming"),
        sent_at("sold", -121),
        sent_at("staken", 1),
    ];
    let taken = |question: &mut Question| question.taken = vec!["staken".to_owned()];
    let (settled, _) = settle_against(vec![page(&none_of_these)], taken).await;
    assert_eq!(settled.unwrap(), Settled::Absent);
    let mut all = none_of_these;
    all.push(sent_at("sours", -119));
    let (settled, asked) = settle_against(vec![page(&all)], taken).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("sours")));
    let mut crlf = sent("scrlf");
    crlf["message"] = TEXT.replace('\n', "\r\n").into();
    let (settled, _) = settle_against(vec![page(&[crlf])], |_| {}).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("scrlf")));
    assert_eq!(
        asked[0].line,
        // Two minutes and a microsecond on either side of the attempt, which could take 20 seconds.
        "GET /a1/sms?to=%2B46701740605&start=2026-11-23T16%3A00%3A26.123457&end=2026-11-23T15%3A56%3A06.123455"
    );
}

#[tokio::test]
async fn a_lost_message_that_failed_is_refused_unless_another_attempt_got_through() {
    let mut failed = sent_at("sfailed", 2);
    failed["status"] = "failed".into();
    let (settled, _) = settle_against(vec![page(std::slice::from_ref(&failed))], |_| {}).await;
    assert!(matches!(settled, Ok(Settled::Refused(reason)) if reason.code == "failed"));
    let (settled, _) = settle_against(vec![page(&[failed.clone(), sent("sours")])], |_| {}).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("sours")));
    // It may be the one without words that got through.
    let mut hidden = sent("shidden");
    hidden.as_object_mut().unwrap().remove("message");
    let (settled, _) = settle_against(vec![page(&[failed, hidden])], |_| {}).await;
    assert!(matches!(settled, Ok(Settled::Unclear(_))));
}

#[tokio::test]
async fn the_history_is_read_back_page_by_page_to_before_the_attempt() {
    let (settled, asked) = settle_against(
        vec![
            page(&[sent_at("s4", 9), sent_at("s3", 8)].map(|mut m| {
                m["to"] = "+46701740606".into();
                m
            })),
            page(&[sent_at("s2", 4)].map(|mut m| {
                m["to"] = "+46701740606".into();
                m
            })),
            page(&[sent_at("s1", 2)]),
        ],
        |_| {},
    )
    .await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("s1")));
    let starts: Vec<String> = asked
        .iter()
        .map(|asked| {
            let url = format!("http://x{}", asked.line.trim_start_matches("GET "));
            let pairs: BTreeMap<_, _> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
            assert_eq!((pairs["to"].as_str(), pairs.len()), (TO, 3));
            pairs["start"].clone()
        })
        .collect();
    assert_eq!(
        starts,
        [
            "2026-11-23T16:00:26.123457",
            // A microsecond after the oldest of the page before.
            "2026-11-23T15:58:14.123457",
            "2026-11-23T15:58:10.123457",
        ]
    );
}

#[tokio::test]
async fn an_old_attempt_is_looked_for_in_its_own_time_and_not_among_all_that_was_sent_since() {
    let later = |question: &mut Question| question.now = question.since + SignedDuration::from_hours(3);
    let (settled, asked) = settle_against(vec![page(&[sent_at("s1", 2)])], later).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("s1")));
    assert!(asked[0].line.contains("start=2026-11-23T16%3A00%3A26.123457"));
    // A message of after that time says that the service does not heed it: nothing is concluded from what it gives.
    let (settled, _) = settle_against(vec![page(&[sent_at("s1", 141)])], later).await;
    assert!(matches!(settled, Ok(Settled::Unclear(reason)) if reason.code == "read-back-incomplete"));
    // An attempt made again counts from the first to the last.
    let longer = |question: &mut Question| question.until = question.since + SignedDuration::from_mins(10);
    let (settled, _) = settle_against(vec![page(&[sent_at("s1", 600)])], longer).await;
    assert_eq!(settled.unwrap(), Settled::Found(Receipt::of("s1")));
}

#[tokio::test]
async fn absence_is_believed_only_when_everything_since_was_seen() {
    // The last page repeats the oldest message and nothing more: that was all there is.
    let foreign = |id: &str, seconds| {
        let mut message = sent_at(id, seconds);
        message["to"] = "+46701740606".into();
        message
    };
    let (settled, _) =
        settle_against(vec![page(&[foreign("s2", 5)]), page(&[foreign("s2", 5)])], |_| {}).await;
    assert_eq!(settled.unwrap(), Settled::Absent);
    // A service that does not page gives the newest ones again and again.
    let newest = page(&[foreign("s3", 9), foreign("s2", 5)]);
    let (settled, _) = settle_against(vec![newest], |_| {}).await;
    assert!(matches!(settled, Ok(Settled::Unclear(reason)) if reason.code == "read-back-incomplete"));
    // Too young to be believed.
    let server = Server::start(vec![page(&[])]).await;
    let mut settings = settings(&server);
    settings.settle_wait = Duration::from_secs(30);
    let mut question = question(message(TEXT));
    question.now = question.since;
    let account = settings.open(parts(LOGIN)).unwrap();
    tokio::time::pause();
    let settled = tokio::time::timeout(Duration::from_mins(1), account.settle(&question))
        .await
        .unwrap();
    assert_eq!(settled.unwrap_err().reason().code, "not-yet");
}

#[tokio::test]
async fn words_that_the_history_does_not_keep_are_never_taken_for_ours_nor_for_absent() {
    let mut hidden = sent("s1");
    hidden.as_object_mut().unwrap().remove("message");
    let (settled, _) = settle_against(vec![page(&[hidden])], |_| {}).await;
    assert!(matches!(settled, Ok(Settled::Unclear(reason)) if reason.code == "read-back-hidden"));
}

#[tokio::test]
async fn a_history_that_cannot_be_read_settles_nothing() {
    for (status, class) in [
        (401, "credential"),
        (403, "credential"),
        (429, "busy"),
        (500, "not-sent"),
    ] {
        let (settled, _) = settle_against(vec![answer(status, &[], "")], |_| {}).await;
        assert_eq!(settled.unwrap_err().as_str(), class, "{status}");
    }
    let (settled, _) = settle_against(vec![answer(404, &[], "")], |_| {}).await;
    assert!(matches!(settled, Ok(Settled::Unclear(_))));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"data":[{}]}"#,
        r#"{"data":[{"id":"s1"}]}"#,
        r#"{"data":[{"id":"s1","created":"igår"}]}"#,
    ] {
        let (settled, _) = settle_against(vec![json(200, body)], |_| {}).await;
        assert_eq!(settled.unwrap_err().as_str(), "not-sent", "{body}");
    }
}

#[tokio::test]
async fn an_account_without_money_is_not_ready() {
    let me = |balance: Value| {
        json(
            200,
            &json!({"displayname": "Nässjö kommun", "currency": "SEK", "balance": balance}).to_string(),
        )
    };
    let identity = verify_against(me(1_234_500.into())).await.unwrap();
    assert_eq!(identity.name, "Nässjö kommun");
    assert_eq!(identity.facts["balance"], "123.45 SEK");
    for (balance, shown) in [(0, "0.00 SEK"), (9_999, "0.9999 SEK"), (-5000, "-0.50 SEK")] {
        let err = verify_against(me(balance.into())).await.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            ("credential", "no-credit")
        );
        assert!(err.to_string().contains(shown), "{err}");
    }
    assert!(
        verify_against(me(Value::Null)).await.is_ok(),
        "an account that pays afterwards"
    );
    assert_eq!(
        verify_against(answer(401, &[], "")).await.unwrap_err().as_str(),
        "credential"
    );
    assert_eq!(
        verify_against(answer(200, &[], "hej"))
            .await
            .unwrap_err()
            .as_str(),
        "not-sent"
    );
}

#[test]
fn what_46elks_would_refuse_is_refused_when_it_is_read() {
    for from in ["Nassjo", "Abc", "Nassjokommu", "N123", "+46766861234"] {
        assert_eq!(
            problems(&format!("from = \"{from}\"\nlist = \"a\"")),
            "",
            "{from}"
        );
    }
    for from in [
        "Nässjö",
        "Na",
        "Nassjokommun",
        "1Nassjo",
        "Nassjo kom",
        "0766861234",
        "",
    ] {
        let told = problems(&format!("from = \"{from}\"\nlist = \"a\""));
        assert!(
            told.starts_with("from: must be 3 to 11 letters"),
            "{from}: {told}"
        );
    }
    insta::assert_snapshot!(problems(
        "max_parts = 11\nprice = \"35 öre\"\nleast_balance = -1\ndryrun = \"ja\"\n\
         whendelivered = \"http://nassjo.se/sms\"\nbase_url = \"ftp://x\"\nsettle_wait = \"snart\"\nflash = true"
    ));
}

#[test]
fn the_cost_is_that_of_all_parts_to_all_recipients() {
    let source = Source::new(
        "config.toml",
        "from = \"Nassjo\"\nlist = \"a\"\nprice = \"0.35 SEK\"",
    );
    let table = source.parse();
    let mut section = Section::root(&source, &table);
    let settings = (KIND.read)(&mut section).unwrap();
    let cost = settings.cost(&"å".repeat(161), 1000).unwrap();
    assert_eq!(
        (cost.parts, cost.counted.as_str()),
        (2, "161 of 306 GSM characters")
    );
    assert_eq!(cost.total.unwrap().to_string(), "700.00 SEK");
    assert_eq!(
        settings.cost("”så”", 1).unwrap().counted,
        "4 of 70 UCS-2 characters"
    );
    assert_eq!(settings.addresses_of(), AddressKind::Phone);
}
