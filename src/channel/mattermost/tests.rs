//! Every row of the reference page's error table, against a server that answers as told.

use super::*;
use crate::channel::testing::{Server, answer, clock, json, parts, post, question};

const TEXT: &str = "Koka *vattnet*.\n\nNässjö_kommun\nhttps://nassjo.se/kris_1";
const HOOK: &str = "https://chatt.nassjo.se/hooks/hemlignyckel123";

fn account(server: &Server, priority: Option<&'static str>) -> Arc<dyn Channel> {
    let settings = Mattermost {
        priority,
        base_url: Some(server.base.clone()),
    };
    settings.open(parts([("webhook", HOOK)])).unwrap()
}

async fn publish_against(answer: String) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(vec![answer]).await;
    let result = account(&server, None).publish(&post(TEXT)).await;
    (result, server)
}

fn ok() -> String {
    answer(200, &[("content-type", "text/plain")], "ok")
}

fn error(id: &str) -> String {
    // Servers have been seen to name the hook in what they say.
    json!({ "id": id, "message": "Invalid webhook hemlignyckel123.", "status_code": 400 }).to_string()
}

#[tokio::test]
async fn a_message_has_a_heading_and_its_words_as_they_are() {
    let (result, server) = publish_against(ok()).await;
    assert_eq!(result.unwrap(), Receipt::of(post(TEXT).key.as_str()));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /hooks/hemlignyckel123");
    assert_eq!(
        asked.json(),
        json!({
            "text": "#### Koka vattnet i Nässjö\n\nKoka \\*vattnet\\*.\n\nNässjö\\_kommun\nhttps://nassjo.se/kris_1",
            "props": { "vardkase_delivery": post(TEXT).key.as_str() },
        })
    );
    let whole = "Koka vattnet i Nässjö\n\nDet kan göra dig sjuk.";
    let server = Server::start(vec![ok()]).await;
    account(&server, None).publish(&post(whole)).await.unwrap();
    assert_eq!(
        server.asked()[0].json()["text"],
        "#### Koka vattnet i Nässjö\n\nDet kan göra dig sjuk.",
        "the headline is not said again"
    );
    let server = Server::start(vec![ok()]).await;
    account(&server, Some("urgent"))
        .publish(&post(TEXT))
        .await
        .unwrap();
    assert_eq!(
        server.asked()[0].json()["priority"],
        json!({ "priority": "urgent" })
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (400, "web.incoming_webhook.invalid.app_error", "credential"),
        (400, "web.incoming_webhook.parse.app_error", "refused"),
        (400, "web.incoming_webhook.text.app_error", "refused"),
        (400, "web.incoming_webhook.user.app_error", "refused"),
        (403, "web.incoming_webhook.disabled.app_error", "refused"),
        (501, "web.incoming_webhook.disabled.app_error", "refused"),
        (403, "web.incoming_webhook.permissions.app_error", "refused"),
        (403, "web.incoming_webhook.channel_locked.app_error", "refused"),
        (404, "web.incoming_webhook.channel.app_error", "refused"),
        (500, "web.incoming_webhook.channel.app_error", "unknown"),
    ];
    for (status, id, class) in rows {
        let (result, _server) = publish_against(json(*status, &error(id))).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {id}");
        assert_eq!(err.reason().code, *id);
        assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
    }
    let rows: &[(u16, &str)] = &[
        (301, "refused"),
        (401, "credential"),
        (403, "refused"),
        (404, "refused"),
        (408, "unknown"),
        (409, "unknown"),
        (413, "refused"),
        (429, "busy"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ];
    for (status, class) in rows {
        let (result, _server) = publish_against(answer(*status, &[], "hemlignyckel123")).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status}");
        assert_eq!(err.reason().code, format!("http-{status}"));
        assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
    }
}

#[tokio::test]
async fn anything_but_ok_is_unknown_and_stays_so() {
    for (status, body) in [
        (200, ""),
        (200, "<html>"),
        (200, "{\"ok\":true}"),
        (204, ""),
        (201, "ok"),
    ] {
        let (result, server) = publish_against(answer(status, &[], body)).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{status} {body}");
        let settled = account(&server, None).settle(&question(post(TEXT))).await;
        assert!(matches!(settled, Ok(Settled::Unclear(_))), "{settled:?}");
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out_by_either_header() {
    let at = |seconds: i64| Some(clock().now() + jiff::SignedDuration::from_secs(seconds));
    for (headers, expected) in [
        (vec![("Retry-After", "7"), ("X-RateLimit-Reset", "1")], at(7)),
        (vec![("X-RateLimit-Reset", "3")], at(3)),
        (vec![("X-RateLimit-Reset", "snart")], None),
        (vec![], None),
    ] {
        let (result, _server) = publish_against(answer(429, &headers, "limit exceeded")).await;
        let Err(SendError::Busy { until, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(until, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn verifying_names_a_channel_that_cannot_be_there() {
    let verify = |answer: String| async move {
        let server = Server::start(vec![answer]).await;
        let result = account(&server, None).verify().await;
        let asked = server.asked().remove(0).json();
        assert_eq!(asked["channel"], NO_CHANNEL);
        result
    };
    let identity = verify(json(404, &error("web.incoming_webhook.channel.app_error")))
        .await
        .unwrap();
    assert_eq!(identity.name, "webhook at 127.0.0.1");
    for (answer, class) in [
        (
            json(400, &error("web.incoming_webhook.invalid.app_error")),
            "credential",
        ),
        (json(404, "{}"), "refused"),
        (ok(), "not-sent"),
        (answer(502, &[], ""), "not-sent"),
    ] {
        assert_eq!(verify(answer).await.unwrap_err().as_str(), class);
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_told_when_the_account_is_opened_and_never_shown() {
    let settings = Mattermost {
        priority: None,
        base_url: None,
    };
    let wrong = settings
        .open(parts([("webhook", "hemlignyckel123")]))
        .unwrap_err();
    assert!(!wrong.to_string().contains("hemlig"), "{wrong}");
    let account = settings.open(parts([("webhook", HOOK)])).unwrap();
    assert!(!format!("{account:?} {account:#?}").contains("hemlig"));
}
