//! Every row of the reference page's error table, and settling, against a server that answers as told.

use jiff::SignedDuration;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::channel::testing::{Server, accepted_at, answer, json, parts, post, question};
use crate::model::{Picture, Steps};

const TEXT: &str = "Koka vattnet i Nässjö tätort.\n\nhttps://nassjo.se/kris";
const TOKEN: &str = "123456789:AAhemlighemlighemlighemlighemlig";
const MESSAGE: &str = r#"{"ok":true,"result":{"message_id":42,"chat":{"id":-1001234567890,"username":"nassjokommun","type":"channel"}}}"#;

fn settings(server: &Server) -> Telegram {
    Telegram {
        chat: Chat::Name("nassjokommun".to_owned()),
        base_url: server.base.clone(),
        web_url: server.base.clone(),
        read_back: true,
        backstage_chat: None,
        settle_wait: Duration::from_millis(20),
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server).open(parts([("bot_token", TOKEN)])).unwrap()
}

fn pictured(text: &str) -> Post {
    let mut post = post(text);
    post.picture = Some(Arc::new(Picture {
        bytes: b"\x89PNG bild".to_vec(),
        media_type: "image/png",
        width: 9,
        height: 9,
        alt: "Karta över området".to_owned(),
    }));
    post
}

fn no(code: u16, description: &str) -> String {
    let body = json!({"ok": false, "error_code": code, "description": description});
    json(code, &body.to_string())
}

async fn publish_against(post: &Post, answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(post).await;
    (result, server)
}

#[tokio::test]
async fn a_post_carries_text_link_and_what_it_answers() {
    let (result, server) = publish_against(&post(TEXT), vec![json(200, MESSAGE)]).await;
    let receipt = result.unwrap();
    assert_eq!(
        receipt,
        Receipt::of("42").at(format!("{}nassjokommun/42", server.base))
    );
    let asked = &server.asked()[0];
    assert_eq!(asked.line, format!("POST /bot{TOKEN}/sendMessage"));
    assert_eq!(
        asked.json(),
        json!({
            "chat_id": "@nassjokommun", "text": TEXT,
            "link_preview_options": {"is_disabled": false, "url": "https://nassjo.se/kris"},
        })
    );
    let mut answering = post(TEXT);
    answering.parent = Some(Receipt::of("41"));
    let (result, server) = publish_against(&answering, vec![json(200, MESSAGE)]).await;
    assert!(result.unwrap().note.unwrap().contains("stands alone"));
    assert_eq!(
        server.asked()[0].json()["reply_parameters"],
        json!({"message_id": 41, "allow_sending_without_reply": true})
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (401, "Unauthorized", "credential"),
        (404, "Not Found", "credential"),
        (403, "Forbidden: bot was kicked from the channel chat", "refused"),
        (
            403,
            "Forbidden: bot is not a member of the channel chat",
            "refused",
        ),
        (403, "Forbidden: bot was blocked by the user", "refused"),
        (403, "Forbidden: user is deactivated", "refused"),
        (
            400,
            "Bad Request: need administrator rights in the channel chat",
            "refused",
        ),
        (
            400,
            "Bad Request: not enough rights to send text messages to the chat",
            "refused",
        ),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN", "refused"),
        (400, "Bad Request: have no rights to send a message", "refused"),
        (400, "Bad Request: chat not found", "refused"),
        (400, "Bad Request: chat_id is empty", "refused"),
        (400, "Bad Request: message is too long", "refused"),
        (400, "Bad Request: MESSAGE_TOO_LONG", "refused"),
        (400, "Bad Request: message text is empty", "refused"),
        (
            400,
            "Bad Request: can't parse entities: unsupported start tag",
            "refused",
        ),
        (400, "Bad Request: message to be replied not found", "refused"),
        (409, "Conflict: terminated by other getUpdates request", "refused"),
        (413, "Request Entity Too Large", "refused"),
        (429, "Too Many Requests: retry after 35", "busy"),
        (500, "Internal Server Error", "unknown"),
        (502, "Bad Gateway", "unknown"),
        (504, "Gateway Timeout", "unknown"),
        // Not in the table, but sent by what stands in front of services.
        (302, "", "refused"),
        (408, "", "unknown"),
        (503, "", "unknown"),
    ];
    for (code, description, class) in rows {
        let (result, _server) = publish_against(&post(TEXT), vec![no(*code, description)]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{code} {description}");
        let (result, _server) =
            publish_against(&post(TEXT), vec![answer(*code, &[], "<html>nej</html>")]).await;
        let bare = result.unwrap_err();
        assert_eq!(bare.as_str(), *class, "{code} without an envelope");
        assert_eq!(bare.reason().code, format!("http-{code}"));
    }
}

#[tokio::test]
async fn the_wait_is_the_longer_of_body_and_header() {
    let busy = |body: &str, headers: &[(&str, &str)]| answer(429, headers, body);
    let named = r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":35}}"#;
    let rows = [
        (busy(named, &[]), Some(35)),
        (busy(named, &[("retry-after", "90")]), Some(90)),
        (busy("", &[("retry-after", "7")]), Some(7)),
        (busy("", &[]), None),
    ];
    for (answer, seconds) in rows {
        let (result, _server) = publish_against(&post(TEXT), vec![answer]).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        let now = crate::channel::testing::clock().now();
        assert_eq!(
            until,
            seconds.map(|s| crate::clock::later(now, Duration::from_secs(s)))
        );
    }
}

#[tokio::test]
async fn a_token_is_never_repeated() {
    for code in [400, 401, 404, 429, 500] {
        let text = format!("the token {TOKEN} in /bot{TOKEN}/sendMessage");
        let (result, server) = publish_against(&post(TEXT), vec![no(code, &text)]).await;
        let err = result.unwrap_err();
        let shown = format!("{err} {err:?} {:?}", account(&server));
        assert!(
            !shown.contains("hemlig") && err.to_string().contains("[redacted]"),
            "{shown}"
        );
    }
    let (result, server) = publish_against(&post(TEXT), vec![String::new()]).await;
    let cut = result.unwrap_err();
    assert_eq!(cut.as_str(), "unknown");
    assert!(!format!("{cut:?}").contains("hemlig"));
    let gone = server.base.clone();
    drop(server);
    let mut settings = settings(&Server::start(vec![]).await);
    settings.base_url = gone;
    let nobody = settings.open(parts([("bot_token", TOKEN)])).unwrap();
    let err = nobody.publish(&post(TEXT)).await.unwrap_err();
    assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
}

#[tokio::test]
async fn a_chat_with_a_new_number_is_followed_once() {
    let moved = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1009}}"#;
    let (result, server) = publish_against(&post(TEXT), vec![json(400, moved), json(200, MESSAGE)]).await;
    assert_eq!(result.unwrap().remote_id, "42");
    assert_eq!(server.asked()[1].json()["chat_id"], -1009);
    let (result, server) = publish_against(&post(TEXT), vec![json(400, moved)]).await;
    assert_eq!(result.unwrap_err().as_str(), "refused");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_success_that_names_no_message_is_unknown() {
    for body in [
        "",
        "{}",
        r#"{"ok":true}"#,
        r#"{"ok":true,"result":true}"#,
        r#"{"ok":true,"result":{"message_id":"42"}}"#,
        r#"{"ok":false}"#,
    ] {
        let (result, _server) = publish_against(&post(TEXT), vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
}

#[tokio::test]
async fn the_address_of_a_private_channel_has_its_number() {
    let private = r#"{"ok":true,"result":{"message_id":42,"chat":{"id":-1001234567890,"type":"channel"}}}"#;
    let (result, server) = publish_against(&post(TEXT), vec![json(200, private)]).await;
    assert_eq!(
        result.unwrap().url,
        Some(format!("{}c/1234567890/42", server.base))
    );
    let group = r#"{"ok":true,"result":{"message_id":42,"chat":{"id":-55,"type":"group"}}}"#;
    let (result, _server) = publish_against(&post(TEXT), vec![json(200, group)]).await;
    assert_eq!(result.unwrap().url, None);
}

#[tokio::test]
async fn a_picture_that_is_refused_leaves_the_text() {
    for refused in [
        "Bad Request: PHOTO_INVALID_DIMENSIONS",
        "Bad Request: IMAGE_PROCESS_FAILED",
        "Bad Request: wrong file identifier/HTTP URL specified",
        "Bad Request: failed to get HTTP URL content",
        "Bad Request: wrong type of the web page content",
        "Bad Request: message caption is too long",
    ] {
        let (result, server) =
            publish_against(&pictured(TEXT), vec![no(400, refused), json(200, MESSAGE)]).await;
        let receipt = result.unwrap();
        assert!(receipt.note.unwrap().contains("without the picture"), "{refused}");
        assert_eq!(receipt.version, None);
        let asked = server.asked();
        assert!(asked[0].line.ends_with("/sendPhoto") && asked[1].line.ends_with("/sendMessage"));
        assert_eq!(asked[1].json()["text"], TEXT);
    }
    // If it was not the picture, the text is refused as well, and that is what is told.
    let (result, _server) =
        publish_against(&pictured(TEXT), vec![no(400, "Bad Request: chat not found")]).await;
    assert_eq!(result.unwrap_err().as_str(), "refused");
    for (code, class) in [(429, "busy"), (500, "unknown"), (401, "credential")] {
        let (result, server) = publish_against(&pictured(TEXT), vec![no(code, "x")]).await;
        assert_eq!(result.unwrap_err().as_str(), class);
        assert_eq!(server.asked().len(), 1, "{code}: nothing else is sent");
    }
}

#[tokio::test]
async fn a_long_text_goes_out_before_its_picture_and_once() {
    let long = format!("{} {TEXT}", "å".repeat(1000));
    let post = pictured(&long);
    let (result, server) = publish_against(&post, vec![json(200, MESSAGE), String::new()]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "42");
    assert!(
        receipt
            .note
            .as_deref()
            .unwrap()
            .contains("the picture may be missing"),
        "{receipt:?}"
    );
    assert_eq!(server.asked().len(), 2);
    // Whoever makes the next attempt sends nothing again.
    let again = account(&server).publish(&post).await.unwrap();
    assert_eq!(server.asked().len(), 2);
    assert!(again.note.unwrap().contains("not known"));
    let settled = account(&server).settle(&question(post)).await.unwrap();
    assert!(matches!(settled, Settled::Found(found) if found.remote_id == "42"));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_recorded_text_is_not_sent_again() {
    let mut post = pictured(&format!("{} {TEXT}", "å".repeat(1000)));
    post.steps = Steps::of([(
        picture::TEXT_STEP,
        r#"{"remote_id":"41","url":"https://t.me/n/41"}"#,
    )]);
    let (result, server) = publish_against(&post, vec![json(200, MESSAGE)]).await;
    let receipt = result.unwrap();
    assert_eq!(
        (receipt.remote_id.as_str(), receipt.version.as_deref()),
        ("41", Some("picture:42"))
    );
    assert_eq!(receipt.note, None);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let form = String::from_utf8_lossy(&asked[0].body).into_owned();
    assert!(
        form.contains("Bild: Karta över området") && form.contains("\"message_id\":41"),
        "{form}"
    );
}

fn preview(posts: &[(i64, i64, &str)]) -> String {
    let mut html = String::new();
    for (id, seconds, text) in posts {
        let at = accepted_at() + SignedDuration::from_secs(*seconds);
        let at = at.strftime("%Y-%m-%dT%H:%M:%S+00:00");
        let text = text.replace('\n', "<br/>");
        html.extend([format!("<div data-post=\"nassjokommun/{id}\"><div class=\"tgme_widget_message_text\">{text}</div><time datetime=\"{at}\"></div>")]);
    }
    answer(200, &[("content-type", "text/html")], &html)
}

#[tokio::test]
async fn the_preview_settles_what_it_shows_and_nothing_else() {
    let server = Server::start(vec![preview(&[(41, 1, "annat"), (42, 2, TEXT)])]).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    let expected = Receipt::of("42").at(format!("{}nassjokommun/42", server.base));
    assert_eq!(settled, Settled::Found(expected));
    assert_eq!(server.asked()[0].line, "GET /s/nassjokommun");

    let server = Server::start(vec![preview(&[]), preview(&[(42, 2, TEXT)])]).await;
    let late = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(late, Settled::Found(_)), "{late:?}");

    for (page, code) in [
        (preview(&[(42, -300, TEXT)]), "not-in-preview"),
        (
            answer(302, &[("location", "https://t.me/nassjokommun")], ""),
            "no-preview",
        ),
        (answer(500, &[], ""), "no-preview"),
        (String::new(), "cut"),
    ] {
        let server = Server::start(vec![page]).await;
        let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
        assert!(
            matches!(&settled, Settled::Unclear(reason) if reason.code == code),
            "{settled:?}"
        );
    }
}

#[tokio::test]
async fn right_after_the_attempt_the_preview_may_be_late() {
    let server = Server::start(vec![preview(&[])]).await;
    let mut patient = settings(&server);
    patient.settle_wait = Duration::from_millis(400);
    let account = patient.open(parts([("bot_token", TOKEN)])).unwrap();
    let mut asked = question(post(TEXT));
    asked.now = asked.since;
    let err = account.settle(&asked).await.unwrap_err();
    assert_eq!(err.reason().code, "not-yet");
}

#[tokio::test]
async fn what_cannot_be_read_back_is_said_to_be_unclear() {
    let server = Server::start(vec![json(
        200,
        r#"{"ok":true,"result":{"id":-1009,"type":"channel","title":"x"}}"#,
    )])
    .await;
    let mut private = settings(&server);
    private.chat = Chat::Id(-1009);
    let account = private.open(parts([("bot_token", TOKEN)])).unwrap();
    let settled = account.settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "no-read-back"));
    let mut shut = settings(&server);
    shut.read_back = false;
    let account = shut.open(parts([("bot_token", TOKEN)])).unwrap();
    let before = server.asked().len();
    let settled = account.settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "no-read-back"));
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn changing_pinning_and_taking_away_can_be_repeated() {
    let done = || json(200, r#"{"ok":true,"result":true}"#);
    let receipt = Receipt::of("42");
    let unmodified = no(
        400,
        "Bad Request: message is not modified: specified new message content …",
    );
    let gone = no(400, "Bad Request: message to edit not found");
    for (answer, outcome) in [
        (json(200, MESSAGE), "ok"),
        (unmodified, "ok"),
        (gone, "refused"),
        (no(500, "x"), "not-sent"),
    ] {
        let server = Server::start(vec![answer]).await;
        let result = account(&server).edit(&receipt, &post(TEXT)).await;
        assert_eq!(result.as_ref().map_or_else(SendError::as_str, |_| "ok"), outcome);
        assert!(server.asked()[0].line.ends_with("/editMessageText"));
    }
    let mut under = Receipt::of("42");
    under.version = Some(AS_CAPTION.to_owned());
    let server = Server::start(vec![json(200, MESSAGE)]).await;
    let changed = account(&server).edit(&under, &pictured(TEXT)).await.unwrap();
    assert_eq!(
        (changed.version.as_deref(), changed.note),
        (Some("caption Karta över området"), None)
    );
    let asked = &server.asked()[0];
    assert!(asked.line.ends_with("/editMessageMedia"));
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(
        form.contains("Bild: Karta över området") && form.contains("attach://bild"),
        "{form}"
    );
    // The picture stays where there is no other, or none that is taken, and so do the words that tell what it shows.
    under.version = Some("caption En gammal karta".to_owned());
    let refused = || no(400, "Bad Request: IMAGE_PROCESS_FAILED");
    for (new, answers, said) in [
        (post(TEXT), vec![json(200, MESSAGE)], None),
        (
            pictured(TEXT),
            vec![refused(), json(200, MESSAGE)],
            Some("keeps its earlier picture"),
        ),
    ] {
        let server = Server::start(answers).await;
        let changed = account(&server).edit(&under, &new).await.unwrap();
        assert_eq!(changed.version, under.version);
        assert_eq!(changed.note.is_some(), said.is_some());
        assert!(said.is_none_or(|said| changed.note.unwrap().contains(said)));
        let asked = server.asked().pop().unwrap();
        assert_eq!(
            asked.json()["caption"],
            format!("{TEXT}\n\nBild: En gammal karta")
        );
    }
    // A picture that is a message of its own is exchanged there; a text alone gets none.
    let mut both = Receipt::of("42");
    both.version = Some("picture:43".to_owned());
    for (of, requests, said) in [(&both, 2, None), (&receipt, 1, Some("keeps its earlier picture"))] {
        let server = Server::start(vec![json(200, MESSAGE)]).await;
        let changed = account(&server).edit(of, &pictured(TEXT)).await.unwrap();
        assert_eq!(server.asked().len(), requests);
        assert_eq!(changed.note.is_some(), said.is_some(), "{changed:?}");
    }

    let mut both = Receipt::of("42");
    both.version = Some("picture:43".to_owned());
    let server = Server::start(vec![done()]).await;
    account(&server).retract(&both).await.unwrap();
    assert_eq!(
        server.asked()[0].json(),
        json!({"chat_id": "@nassjokommun", "message_ids": [42, 43]})
    );

    let chat = |pinned: &str| json(200, &format!(r#"{{"ok":true,"result":{{"id":-1009{pinned}}}}}"#));
    let shown = r#","pinned_message":{"message_id":42}"#;
    let refused = || no(400, "Bad Request: CHAT_NOT_MODIFIED");
    for (answers, pin, unpin) in [
        (vec![done()], true, true),
        (vec![refused(), chat(shown)], true, false),
        (vec![refused(), chat("")], false, true),
    ] {
        let server = Server::start(answers.clone()).await;
        assert_eq!(account(&server).pin(&receipt).await.is_ok(), pin);
        assert_eq!(server.asked()[0].json()["disable_notification"], true);
        let server = Server::start(answers).await;
        assert_eq!(account(&server).unpin(&receipt).await.is_ok(), unpin);
    }
    let server = Server::start(vec![done()]).await;
    let err = account(&server)
        .retract(&Receipt::of("x/../y"))
        .await
        .unwrap_err();
    assert_eq!(err.reason().code, "not-a-message");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn verifying_tells_who_we_are_and_refuses_a_bot_that_may_not_post() {
    let me = json(
        200,
        r#"{"ok":true,"result":{"id":7,"is_bot":true,"username":"vardkase_bot"}}"#,
    );
    let chat = |kind: &str| {
        json(
            200,
            &format!(r#"{{"ok":true,"result":{{"id":-1009,"type":"{kind}","title":"Nässjö kommun"}}}}"#),
        )
    };
    let member = |text: &str| json(200, &format!(r#"{{"ok":true,"result":{{{text}}}}}"#));
    let may = r#""status":"administrator","can_post_messages":true"#;
    for (kind, member, ok) in [
        ("channel", member(may), true),
        ("channel", member(r#""status":"creator""#), true),
        (
            "channel",
            member(r#""status":"administrator","can_post_messages":false"#),
            false,
        ),
        ("channel", member(r#""status":"member""#), false),
        ("supergroup", member(r#""status":"member""#), true),
        ("channel", member(r#""status":"kicked""#), false),
    ] {
        let server = Server::start(vec![me.clone(), chat(kind), member]).await;
        match account(&server).verify().await {
            Ok(identity) => assert!(ok && identity.name == "Nässjö kommun", "{identity:?}"),
            Err(err) => assert!(!ok && err.reason().code == "rights", "{err}"),
        }
        assert_eq!(server.asked()[2].json()["user_id"], 7);
    }
    let server = Server::start(vec![no(401, "Unauthorized")]).await;
    assert_eq!(
        account(&server).verify().await.unwrap_err().as_str(),
        "credential"
    );
}

#[test]
fn chats_are_read_as_telegram_names_them() {
    assert_eq!(
        Chat::parse("@nassjokommun"),
        Some(Chat::Name("nassjokommun".to_owned()))
    );
    assert_eq!(Chat::parse("-1001234567890"), Some(Chat::Id(-1_001_234_567_890)));
    for wrong in [
        "nassjokommun",
        "@",
        "@nässjö",
        "@a/b",
        "https://t.me/nassjokommun",
        "1234",
        "0",
        "-",
        "-99999999999999999999",
    ] {
        assert_eq!(Chat::parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_drill_knows_nothing_of_the_real_channel() {
    let server = Server::start(vec![]).await;
    let settings = settings(&server);
    assert_eq!(settings.open(parts([])).unwrap_err().code, "no-credential");
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/telegram".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let there = settings.at_wall(&site);
    assert!(!format!("{there:?}").contains("nassjokommun"));
    let wall = "http://127.0.0.1:1/drill/telegram".to_owned();
    let expected = [
        ("chat", format!("@{PRACTICE_CHAT}")),
        ("base_url", wall.clone()),
        ("web_url", wall),
    ];
    assert_eq!(there.addresses(), expected);
}
