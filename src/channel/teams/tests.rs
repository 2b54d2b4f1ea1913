//! Every row of the reference page's error table, and the card, against a server that answers as told.

use super::*;
use crate::channel::testing::{Server, answer, clock, json, parts, post, question};

const TEXT: &str = "Koka *vattnet*.\n\nNässjö kommun\nhttps://nassjo.se/kris_(1)";
const HOOK: &str = "https://default1.22.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/hemligtflode/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=hemlig-sig_%2B";

fn account(server: &Server) -> Arc<dyn Channel> {
    let settings = Teams {
        base_url: Some(server.base.clone()),
    };
    settings.open(parts([("webhook", HOOK)])).unwrap()
}

async fn publish_against(answer: String) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(vec![answer]).await;
    let result = account(&server).publish(&post(TEXT)).await;
    (result, server)
}

#[tokio::test]
async fn the_card_has_a_heading_a_block_for_each_line_and_a_button() {
    let accepted = answer(202, &[("x-ms-workflow-run-id", "08584")], "");
    let (result, server) = publish_against(accepted).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "08584");
    assert!(receipt.note.unwrap().contains("handed over"));
    let asked = &server.asked()[0];
    let path = "/powerautomate/automations/direct/workflows/hemligtflode/triggers/manual/paths/invoke";
    let query = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=hemlig-sig_%2B";
    assert_eq!(asked.line, format!("POST {path}?{query}"), "byte for byte");
    assert_eq!(asked.headers["content-type"], "application/json");
    let body = asked.json();
    assert_eq!(
        (&body["type"], body["attachments"].as_array().unwrap().len()),
        (&json!("message"), 1)
    );
    let attachment = &body["attachments"][0];
    assert_eq!(
        attachment["contentType"],
        "application/vnd.microsoft.card.adaptive"
    );
    let card = &attachment["content"];
    assert_eq!(
        (&card["type"], &card["version"]),
        (&json!("AdaptiveCard"), &json!("1.4"))
    );
    assert_eq!(
        card["body"],
        json!([
            { "type": "TextBlock", "text": "Koka vattnet i Nässjö", "size": "Large", "weight": "Bolder",
              "style": "heading", "wrap": true },
            { "type": "TextBlock", "text": "Koka \\*vattnet\\*.", "wrap": true },
            { "type": "TextBlock", "text": "Nässjö kommun", "wrap": true },
            { "type": "TextBlock", "text": "[https://nassjo.se/kris\\_(1](https://nassjo.se/kris_%281))", "wrap": true,
              "spacing": "None" },
        ])
    );
    assert_eq!(
        card["actions"],
        json!([{ "type": "Action.OpenUrl", "title": "Läs mer", "url": "https://nassjo.se/kris" }])
    );
}

#[tokio::test]
async fn the_heading_is_not_said_again() {
    let server = Server::start(vec![answer(202, &[], "")]).await;
    let whole = "Koka vattnet i Nässjö\n\nDet kan göra dig sjuk.";
    account(&server).publish(&post(whole)).await.unwrap();
    let body = server.asked()[0].json();
    let blocks = body["attachments"][0]["content"]["body"].as_array().unwrap();
    let texts: Vec<_> = blocks.iter().map(|block| &block["text"]).collect();
    assert_eq!(texts, ["Koka vattnet i Nässjö", "Det kan göra dig sjuk."]);
}

#[tokio::test]
async fn without_a_run_the_receipt_is_known_by_our_own_key() {
    let (result, _server) = publish_against(answer(202, &[], "vad som helst")).await;
    assert_eq!(result.unwrap().remote_id, post(TEXT).key.as_str());
    let (result, _server) = publish_against(answer(200, &[], "1")).await;
    assert_eq!(
        result.unwrap().note,
        None,
        "a connector of before says that it posted"
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (400, "MissingApiVersionParameter", "refused"),
        (400, "InvalidRequestContent", "refused"),
        (400, "WorkflowTriggerIsNotEnabled", "credential"),
        (404, "WorkflowTriggerIsNotEnabled", "credential"),
        (401, "DirectApiAuthorizationRequired", "credential"),
        (401, "InvalidSignature", "credential"),
        (403, "DlpPolicy", "refused"),
        (404, "WorkflowNotFound", "credential"),
        (413, "RequestEntityTooLarge", "refused"),
        (429, "TooManyRequests", "busy"),
        (500, "InternalServerError", "unknown"),
        (502, "BadGateway", "unknown"),
    ];
    for (status, code, class) in rows {
        let body =
            json!({ "error": { "code": code, "message": format!("The workflow hemligtflode at {HOOK}") } });
        let (result, _server) = publish_against(json(*status, &body.to_string())).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {code}");
        assert_eq!(err.reason().code, *code);
        assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
    }
    let rows: &[(u16, &str)] = &[
        (200, "unknown"),
        (204, "unknown"),
        (302, "refused"),
        (401, "credential"),
        (404, "credential"),
        (408, "unknown"),
        (409, "unknown"),
        (410, "refused"),
        (429, "busy"),
        (503, "unknown"),
        (504, "unknown"),
    ];
    for (status, class) in rows {
        let said = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 hemlig-sig_%2B";
        let (result, _server) = publish_against(answer(*status, &[], said)).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status}");
        assert!(!format!("{err:?}").contains("hemlig"), "{err:?}");
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out() {
    let (result, _server) = publish_against(answer(429, &[("Retry-After", "12")], "")).await;
    let at = Some(clock().now() + jiff::SignedDuration::from_secs(12));
    assert!(matches!(result, Err(SendError::Busy { until, .. }) if until == at));
}

#[tokio::test]
async fn what_becomes_of_a_flow_nobody_can_tell() {
    let server = Server::start(vec![String::new()]).await;
    let settled = account(&server).settle(&question(post(TEXT))).await;
    assert!(matches!(settled, Ok(Settled::Unclear(_))), "{settled:?}");
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn a_card_too_large_for_teams_is_not_sent() {
    let worst = "*".repeat(MAX_BYTES);
    let server = Server::start(vec![answer(202, &[], "")]).await;
    let err = account(&server).publish(&post(&worst)).await.unwrap_err();
    assert_eq!(
        (err.as_str(), err.reason().code.as_str()),
        ("refused", "too-large")
    );
    assert_eq!(server.asked().len(), 0);
    // What people write fits.
    let long = format!("{}\n", "Nässjö kommun ger råd. ".repeat(10)).repeat(30);
    account(&server).publish(&post(&long)).await.unwrap();
}

#[tokio::test]
async fn verifying_starts_no_flow_and_proves_only_what_it_can() {
    let verify = |answer: String| async move {
        let server = Server::start(vec![answer]).await;
        let result = account(&server).verify().await;
        assert!(server.asked()[0].line.starts_with("OPTIONS "));
        result
    };
    let identity = verify(answer(405, &[], "")).await.unwrap();
    assert!(identity.facts["flow"].starts_with("not proven"));
    assert_eq!(identity.proves, Proves::Presence);
    assert!(!format!("{identity:?}").contains("hemlig"));
    let gone = json(404, r#"{"error":{"code":"WorkflowNotFound","message":"x"}}"#);
    assert_eq!(verify(gone).await.unwrap_err().as_str(), "credential");
}

#[tokio::test]
async fn the_address_is_never_shown() {
    let settings = Teams { base_url: None };
    let wrong = settings.open(parts([("webhook", "hemligt")])).unwrap_err();
    assert!(!wrong.to_string().contains("hemligt"), "{wrong}");
    let account = settings.open(parts([("webhook", HOOK)])).unwrap();
    assert!(!format!("{account:?} {account:#?}").contains("hemlig"));
}
