//! Every row of the reference page's error table, settling, pins and renewal, against a server that answers as told.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::channel::testing::{Server, accepted_at, answer, clock, json, parts, post, question};

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const SENT: &str = r#"{"event_id":"$OmGjUyp-Ft348Prd02wHAn5vHBnrAq7rU-KVaY9BGmI"}"#;
const EVENT: &str = "$OmGjUyp-Ft348Prd02wHAn5vHBnrAq7rU-KVaY9BGmI";
const ME: &str = r#"{"user_id":"@kris:nassjo.se","device_id":"VARDKASE","is_guest":false}"#;
const SEND: &str = "PUT /_matrix/client/v3/rooms/!kris:nassjo.se/send/m.room.message/vk-0193f5b0-0000-7000-8000-000000000001";

fn settings(server: &Server) -> Matrix {
    Matrix {
        server: server.base.clone(),
        room: "!kris:nassjo.se".to_owned(),
        permalinks: "https://matrix.to".parse().unwrap(),
        backstage_room: None,
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server)
        .open(parts([("access_token", "hemlig")]))
        .unwrap()
}

async fn against(answers: Vec<String>) -> (Arc<dyn Channel>, Server) {
    let server = Server::start(answers).await;
    (account(&server), server)
}

async fn publish_against(answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let (account, server) = against(answers).await;
    (account.publish(&post(TEXT)).await, server)
}

fn error(code: &str) -> String {
    json!({ "errcode": code, "error": "nej" }).to_string()
}

fn lines(server: &Server) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.line).collect()
}

fn with_picture() -> Post {
    let picture = Picture {
        bytes: b"bilden".to_vec(),
        media_type: "image/png",
        width: 40,
        height: 30,
        alt: "Karta över Forserum".to_owned(),
    };
    Post {
        picture: Some(Arc::new(picture)),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_message_carries_text_mark_and_transaction_id_and_answers_to_the_one_before() {
    let (account, server) = against(vec![json(200, SENT)]).await;
    let reply = Post {
        parent: Some(Receipt::of("$forra")),
        ..post(TEXT)
    };
    let receipt = account.publish(&reply).await.unwrap();
    let url = format!("https://matrix.to/#/!kris:nassjo.se/{EVENT}");
    assert_eq!(receipt, Receipt::of(EVENT).at(url));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, SEND);
    assert_eq!(asked.headers["authorization"], "Bearer hemlig");
    assert_eq!(
        asked.json(),
        json!({
            "msgtype": "m.text", "body": TEXT, "m.mentions": {},
            "se.vardkase.delivery": post(TEXT).key.as_str(),
            "m.relates_to": {"m.in_reply_to": {"event_id": "$forra"}},
        })
    );
}

#[tokio::test]
async fn every_refusal_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (401, "M_MISSING_TOKEN", "credential"),
        (401, "M_UNKNOWN_TOKEN", "credential"),
        (401, "M_USER_LOCKED", "refused"),
        (403, "M_FORBIDDEN", "refused"),
        (403, "M_USER_LOCKED", "refused"),
        (403, "M_USER_SUSPENDED", "refused"),
        (403, "M_CONSENT_NOT_GIVEN", "refused"),
        (403, "M_RESOURCE_LIMIT_EXCEEDED", "refused"),
        (403, "M_USER_LIMIT_EXCEEDED", "refused"),
        (400, "M_NOT_JSON", "refused"),
        (400, "M_BAD_JSON", "refused"),
        (400, "M_INVALID_PARAM", "refused"),
        (400, "M_MISSING_PARAM", "refused"),
        (413, "M_TOO_LARGE", "refused"),
        (404, "M_NOT_FOUND", "refused"),
        (404, "M_UNRECOGNIZED", "refused"),
        (405, "M_UNRECOGNIZED", "refused"),
        (429, "M_LIMIT_EXCEEDED", "busy"),
        (400, "M_UNKNOWN", "refused"),
        (500, "M_UNKNOWN", "unknown"),
        (502, "M_UNKNOWN", "unknown"),
    ];
    for (status, code, class) in rows {
        let (result, _server) = publish_against(vec![json(*status, &error(code))]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {code}");
        assert_eq!(err.reason().code, *code, "{status}");
        assert!(!err.to_string().contains("hemlig"), "{err}");
    }
    // What stands in front of servers knows no codes.
    let rows: &[(u16, &str)] = &[
        (301, "refused"),
        (401, "credential"),
        (403, "refused"),
        (408, "unknown"),
        (409, "unknown"),
        (429, "busy"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "not-sent"),
        (504, "unknown"),
    ];
    for (status, class) in rows {
        let (result, _server) = publish_against(vec![answer(*status, &[], "<html>nej</html>")]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status}");
        assert_eq!(err.reason().code, format!("http-{status}"));
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out_by_the_header_and_else_by_the_older_field() {
    let now = clock().now();
    let at = |millis: i64| Some(now + SignedDuration::from_millis(millis));
    let field = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":4019}"#;
    let without = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests"}"#;
    let absurd = r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-5}"#;
    let cases = [
        (vec![("Retry-After", "5")], field, at(5000)),
        (vec![], field, at(4019)),
        (vec![("Retry-After", "snart")], field, at(4019)),
        (vec![("Retry-After", "5")], without, at(5000)),
        (vec![], without, None),
        (vec![], absurd, None),
        (vec![], "<html>", None),
    ];
    for (headers, body, expected) in cases {
        let (result, _server) = publish_against(vec![answer(429, &headers, body)]).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(until, expected, "{headers:?} {body}");
    }
}

#[tokio::test]
async fn a_success_that_names_no_event_is_unknown() {
    for body in [
        "",
        "{}",
        r#"{"event_id":7}"#,
        r#"{"event_id":"utan dollar"}"#,
        "[]",
    ] {
        let (result, _server) = publish_against(vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
}

#[tokio::test]
async fn an_ended_token_is_renewed_once_and_kept_before_it_is_used() {
    let ended = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Access token has expired","soft_logout":true}"#;
    let pair = r#"{"access_token":"ny","refresh_token":"nasta","expires_in_ms":300000}"#;
    let server = Server::start(vec![json(401, ended), json(200, pair), json(200, SENT)]).await;
    let parts = parts([("access_token", "gammal"), ("refresh_token", "fornya")]);
    let secrets = Arc::clone(&parts.secrets);
    let account = settings(&server).open(parts).unwrap();
    account.publish(&post(TEXT)).await.unwrap();
    assert_eq!(lines(&server), [SEND, "POST /_matrix/client/v3/refresh", SEND]);
    let asked = server.asked();
    assert_eq!(asked[1].json(), json!({ "refresh_token": "fornya" }));
    assert!(!asked[1].headers.contains_key("authorization"));
    assert_eq!(asked[2].headers["authorization"], "Bearer ny");
    assert_eq!(asked[0].body, asked[2].body);
    let kept = |name| secrecy::ExposeSecret::expose_secret(&secrets.get(name).unwrap()).to_owned();
    assert_eq!(
        (kept("access_token"), kept("refresh_token")),
        ("ny".into(), "nasta".into())
    );
}

#[tokio::test]
async fn a_renewal_that_is_refused_says_what_to_do_and_repeats_no_token() {
    let ended = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"expired","soft_logout":true}"#;
    let echo = r#"{"errcode":"M_FORBIDDEN","error":"fornya is not a token"}"#;
    for (status, body, class) in [
        (403, echo, "credential"),
        (401, echo, "credential"),
        (404, echo, "credential"),
        (429, echo, "busy"),
        (500, echo, "not-sent"),
        (200, "{}", "not-sent"),
    ] {
        let server = Server::start(vec![json(401, ended), json(status, body)]).await;
        let account = settings(&server)
            .open(parts([("access_token", "gammal"), ("refresh_token", "fornya")]))
            .unwrap();
        let err = account.publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(err.as_str(), class, "{status}");
        assert!(!format!("{err:?}{account:?}").contains("fornya"), "{err:?}");
        assert_eq!(server.asked().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_token_that_is_gone_for_good_is_not_renewed() {
    let gone = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Invalid access token","soft_logout":false}"#;
    let server = Server::start(vec![json(401, gone)]).await;
    let account = settings(&server)
        .open(parts([("access_token", "gammal"), ("refresh_token", "fornya")]))
        .unwrap();
    let err = account.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!((err.as_str(), server.asked().len()), ("credential", 1));
}

#[tokio::test]
async fn a_picture_goes_before_the_text_with_its_alternative_text() {
    let file = r#"{"content_uri":"mxc://nassjo.se/abc"}"#;
    let image = r#"{"event_id":"$bilden"}"#;
    let (account, server) = against(vec![json(200, file), json(200, image), json(200, SENT)]).await;
    let post = with_picture();
    let receipt = account.publish(&post).await.unwrap();
    assert_eq!(receipt.version.as_deref(), Some("$bilden"));
    assert_eq!(receipt.note, None);
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /_matrix/media/v3/upload?filename=bild.png");
    assert_eq!(asked[0].headers["content-type"], "image/png");
    assert_eq!(asked[0].body, b"bilden");
    assert_eq!(asked[1].line, format!("{SEND}-picture"));
    let content = asked[1].json();
    assert_eq!(content["body"], "Karta över Forserum");
    assert_eq!(content["url"], "mxc://nassjo.se/abc");
    assert_eq!(
        content["info"],
        json!({"mimetype": "image/png", "w": 40, "h": 30, "size": 6})
    );
    assert_eq!(asked[2].line, SEND);
    let steps = [
        ("picture-event".into(), "$bilden".into()),
        ("picture-file".into(), "mxc://nassjo.se/abc".into()),
    ];
    assert_eq!(post.steps.all(), steps.into());
    // A repeated attempt sends the text alone.
    account.publish(&post).await.unwrap();
    assert_eq!(lines(&server)[3..], [SEND]);
}

#[tokio::test]
async fn a_picture_that_was_uploaded_is_not_uploaded_again() {
    let (account, server) = against(vec![json(200, SENT)]).await;
    let post = Post {
        steps: Steps::of([("picture-file", "mxc://nassjo.se/abc")]),
        ..with_picture()
    };
    account.publish(&post).await.unwrap();
    assert_eq!(lines(&server), [format!("{SEND}-picture"), SEND.to_owned()]);
}

#[tokio::test]
async fn a_text_whose_picture_fails_goes_alone_and_says_so() {
    // What may go better the second time is tried twice.
    for (status, body, tries) in [
        (413, error("M_TOO_LARGE"), 1),
        (403, error("M_FORBIDDEN"), 1),
        (200, "{}".to_owned(), 2),
        (500, error("M_UNKNOWN"), 2),
    ] {
        let mut answers = vec![json(status, &body); tries];
        answers.push(json(200, SENT));
        let server = Server::start(answers).await;
        let result = account(&server).publish(&with_picture()).await;
        let note = result.unwrap().note.unwrap();
        assert!(note.contains("without its picture"), "{status}: {note}");
        assert_eq!(lines(&server).len(), tries + 1, "{status}");
        assert_eq!(lines(&server)[tries], SEND, "{status}");
    }
}

fn message(id: &str, at: Timestamp, content: &Value, transaction: Option<&str>) -> Value {
    json!({
        "type": "m.room.message", "sender": "@kris:nassjo.se", "event_id": id,
        "origin_server_ts": at.as_millisecond(), "content": content,
        "unsigned": transaction.map_or(json!({}), |t| json!({ "transaction_id": t })),
    })
}

fn page(events: &[Value], end: Option<&str>) -> String {
    let mut page = json!({ "chunk": events, "start": "t9" });
    if let Some(end) = end {
        page["end"] = end.into();
    }
    json(200, &page.to_string())
}

use crate::clock::Timestamp;

async fn settle_against(answers: Vec<String>, since_minutes: i64) -> (Result<Settled, SendError>, Server) {
    let (account, server) = against(answers).await;
    let mut question = question(post(TEXT));
    question.since = question.now - SignedDuration::from_mins(since_minutes);
    question.taken = vec!["$annans".to_owned()];
    (account.settle(&question).await, server)
}

#[tokio::test]
async fn a_message_is_known_by_its_mark_or_its_transaction_id_and_by_nothing_else() {
    let mark = json!({ "msgtype": "m.text", "body": "x", "se.vardkase.delivery": post(TEXT).key.as_str() });
    let plain = json!({ "msgtype": "m.text", "body": TEXT });
    let own = format!("vk-{}", post(TEXT).key);
    let at = accepted_at();
    let mut changed = mark.clone();
    changed["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": "$x" });
    let mut image = mark.clone();
    image["msgtype"] = "m.image".into();
    let mut stranger = message("$frammande", at, &mark, Some(&own));
    stranger["sender"] = "@nagon:annan.se".into();
    let no: [Value; 6] = [
        message("$lika", at, &plain, None),
        message("$andring", at, &changed, None),
        message("$bild", at, &image, None),
        message("$borta", at, &json!({}), Some(&own)),
        message("$annans", at, &mark, Some(&own)),
        stranger,
    ];
    for (id, content, transaction) in [
        ("$med-marke", &mark, None),
        ("$med-id", &plain, Some(own.as_str())),
    ] {
        let mut events = no.to_vec();
        events.push(message(id, at, content, transaction));
        let (settled, server) = settle_against(vec![json(200, ME), page(&events, Some("t1"))], 1).await;
        assert!(
            matches!(&settled, Ok(Settled::Found(receipt)) if receipt.remote_id == id),
            "{settled:?}"
        );
        assert!(lines(&server)[1].contains("dir=b"), "{:?}", lines(&server));
    }
    let (settled, _server) = settle_against(vec![json(200, ME), page(&no, None)], 1).await;
    assert_eq!(
        settled,
        Ok(Settled::Absent),
        "the transaction id protects the repeat"
    );
}

#[tokio::test]
async fn an_old_attempt_is_believed_absent_only_when_all_since_then_was_read() {
    // An empty page in the middle is not the end. It is looked twice.
    let look = [json(200, ME), page(&[], Some("t5")), page(&[], None)];
    let (settled, server) = settle_against([look.clone(), look].concat(), 60).await;
    assert_eq!(settled, Ok(Settled::Absent));
    assert!(lines(&server)[2].contains("from=t5"));
    let busy: Vec<String> = std::iter::once(json(200, ME))
        .chain((0..20).map(|n| page(&[], Some(&format!("t{n}")))))
        .collect();
    let (settled, _server) = settle_against(busy, 60).await;
    assert!(
        matches!(&settled, Ok(Settled::Unclear(reason)) if reason.code == "read-back-incomplete"),
        "{settled:?}"
    );
    let (settled, _server) = settle_against(vec![json(200, ME), json(403, &error("M_FORBIDDEN"))], 60).await;
    assert!(matches!(settled, Ok(Settled::Unclear(_))), "{settled:?}");
    let (settled, _server) = settle_against(vec![json(500, "")], 60).await;
    assert_eq!(settled.unwrap_err().as_str(), "not-sent");
    let (settled, _server) = settle_against(vec![json(401, &error("M_UNKNOWN_TOKEN"))], 60).await;
    assert_eq!(settled.unwrap_err().as_str(), "credential");
}

#[tokio::test]
async fn a_change_replaces_the_first_message_and_goes_away_with_it() {
    let (account, server) = against(vec![json(200, r#"{"event_id":"$andring"}"#)]).await;
    let first = Receipt {
        version: Some("$bild".to_owned()),
        ..Receipt::of("$forsta").at("https://matrix.to/#/x")
    };
    let changed = account.edit(&first, &post("Ny text.")).await.unwrap();
    assert_eq!(
        (changed.remote_id.as_str(), changed.version.as_deref()),
        ("$forsta", Some("$bild $andring"))
    );
    assert_eq!(changed.url, first.url);
    let again = account.edit(&changed, &post("Ny text.")).await.unwrap();
    assert_eq!(again, changed, "a repeat adds nothing");
    let asked = &server.asked()[0];
    assert_eq!(asked.line, format!("{SEND}-edit"));
    let content = asked.json();
    assert_eq!(content["m.new_content"]["body"], "Ny text.");
    assert_eq!(
        content["m.relates_to"],
        json!({"rel_type": "m.replace", "event_id": "$forsta"})
    );

    account.retract(&changed).await.unwrap();
    let room = "PUT /_matrix/client/v3/rooms/!kris:nassjo.se/redact";
    assert_eq!(
        lines(&server)[2..],
        [
            format!("{room}/$forsta/vk-redact-forsta"),
            format!("{room}/$bild/vk-redact-bild"),
            format!("{room}/$andring/vk-redact-andring"),
        ]
    );
}

#[tokio::test]
async fn taking_away_what_is_gone_is_done_and_a_failure_is_tried_again() {
    for (status, code, class) in [
        (404, "M_NOT_FOUND", "ok"),
        (403, "M_FORBIDDEN", "refused"),
        (500, "M_UNKNOWN", "not-sent"),
    ] {
        let (account, _server) = against(vec![json(status, &error(code))]).await;
        let result = account.retract(&Receipt::of("$x")).await;
        assert_eq!(result.as_ref().map_or_else(SendError::as_str, |()| "ok"), class);
        let result = account.edit(&Receipt::of("$x"), &post("y")).await;
        assert!(result.is_err(), "{status}");
    }
}

#[tokio::test]
async fn pinning_keeps_what_others_pinned() {
    let pins = json(200, r#"{"pinned":["$andras"]}"#);
    let (account, server) = against(vec![pins.clone(), json(200, SENT)]).await;
    account.pin(&Receipt::of("$var")).await.unwrap();
    let asked = server.asked();
    let state = "/_matrix/client/v3/rooms/!kris:nassjo.se/state/m.room.pinned_events";
    assert_eq!(
        [&asked[0].line, &asked[1].line],
        [&format!("GET {state}"), &format!("PUT {state}")]
    );
    assert_eq!(asked[1].json(), json!({ "pinned": ["$andras", "$var"] }));

    let (account, server) = against(vec![
        json(200, r#"{"pinned":["$andras","$var"]}"#),
        json(200, SENT),
    ])
    .await;
    account.pin(&Receipt::of("$var")).await.unwrap();
    assert_eq!(server.asked().len(), 1, "pinned already");

    let (account, server) = against(vec![
        json(200, r#"{"pinned":["$andras","$var"]}"#),
        json(200, SENT),
    ])
    .await;
    account.unpin(&Receipt::of("$var")).await.unwrap();
    assert_eq!(server.asked()[1].json(), json!({ "pinned": ["$andras"] }));

    let (account, server) = against(vec![json(404, &error("M_NOT_FOUND"))]).await;
    account.unpin(&Receipt::of("$var")).await.unwrap();
    assert_eq!(server.asked().len(), 1, "nothing is pinned");

    let (account, _server) = against(vec![pins, json(403, &error("M_FORBIDDEN"))]).await;
    assert_eq!(
        account.pin(&Receipt::of("$var")).await.unwrap_err().as_str(),
        "refused"
    );
}

/// What a room answers when it is looked at.
fn room(encryption: Option<&str>, tombstone: Option<&str>, powers: &str, create: &str) -> Vec<String> {
    let state = |state: Option<&str>| match state {
        Some(state) => json(200, state),
        None => json(404, &error("M_NOT_FOUND")),
    };
    vec![
        json(200, ME),
        state(encryption),
        state(tombstone),
        json(200, powers),
        json(200, create),
        json(200, r#"{"m.upload.size":52428800}"#),
    ]
}

#[tokio::test]
async fn verifying_tells_rooms_apart_in_which_nobody_could_read_us() {
    let open = r#"{"users_default":0,"events_default":0}"#;
    let closed = r#"{"users":{"@kris:nassjo.se":10},"events_default":50}"#;
    let v11 = r#"{"sender":"@kris:nassjo.se","content":{"room_version":"11"}}"#;
    let v12 = r#"{"sender":"@kris:nassjo.se","content":{"room_version":"12"}}"#;
    let invited =
        r#"{"sender":"@a:b.se","content":{"room_version":"12","additional_creators":["@kris:nassjo.se"]}}"#;
    let rows = [
        (room(Some("{}"), None, open, v11), Err("encrypted-room")),
        (
            room(None, Some(r#"{"replacement_room":"!ny"}"#), open, v11),
            Err("replaced-room"),
        ),
        (
            room(None, None, open, v11),
            Ok("no: the account lacks the power to pin messages"),
        ),
        (
            room(None, None, r#"{"users":{},"events_default":50}"#, v11),
            Err("no-power"),
        ),
        (
            room(None, None, r#"{"users":{},"events_default":50}"#, v12),
            Ok("yes"),
        ),
        (
            room(None, None, r#"{"users":{},"events_default":50}"#, invited),
            Ok("yes"),
        ),
        (room(None, None, closed, v12), Err("no-power")),
    ];
    for (n, (answers, expected)) in rows.into_iter().enumerate() {
        let (account, _server) = against(answers).await;
        let result = account.verify().await;
        match (&result, expected) {
            (Ok(identity), Ok(pin)) => {
                assert_eq!(identity.name, "@kris:nassjo.se");
                assert_eq!(identity.facts["may_pin"], pin, "{n}");
            }
            (Err(error), Err(code)) => assert_eq!(error.reason().code, code, "{n}"),
            _ => panic!("{n}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn the_longest_text_fits_into_an_event_even_when_it_is_changed() {
    let worst = "\"".repeat(MAX_BYTES);
    let changed = content::edit("$OmGjUyp-Ft348Prd02wHAn5vHBnrAq7rU-KVaY9BGmI", &post(&worst));
    assert!(changed.to_string().len() + 2000 < 65_536);
}
