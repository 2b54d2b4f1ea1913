//! Every row of the reference page's error table against a server that answers as told.

use std::path::PathBuf;

use super::*;
use crate::channel::testing::{Server, answer, parts, post, question};

const TEXT: &str = "Koka vattnet <i Nässjö> & vänta.\n\nSe https://nassjo.se/kris?a=1&b=2.";
const HOOK: &str = "https://hooks.slack.com/services/T0000/B0000/hemlighemlighemlighemlig";

fn account(server: &Server, probe: bool) -> Arc<dyn Channel> {
    let settings = Slack {
        base_url: Some(server.base.clone()),
        probe,
    };
    settings.open(parts([("webhook", HOOK)])).unwrap()
}

fn text(status: u16, body: &str) -> String {
    answer(status, &[("content-type", "text/plain")], body)
}

async fn publish_against(answer: String) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(vec![answer]).await;
    let result = account(&server, true).publish(&post(TEXT)).await;
    (result, server)
}

#[tokio::test]
async fn a_message_is_escaped_and_its_addresses_are_links() {
    let (result, server) = publish_against(text(200, "ok")).await;
    assert_eq!(result.unwrap(), Receipt::of(post(TEXT).key.as_str()));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /services/T0000/B0000/hemlighemlighemlighemlig");
    assert_eq!(
        asked.json(),
        json!({
            "text": "Koka vattnet &lt;i Nässjö&gt; &amp; vänta.\n\nSe <https://nassjo.se/kris?a=1&amp;b=2>.",
            "mrkdwn": false,
            "unfurl_links": true,
        })
    );
    assert_eq!(
        escaped("<!channel> <@U1> https://a.se/|x"),
        "&lt;!channel&gt; &lt;@U1&gt; https://a.se/|x"
    );
}

#[tokio::test]
async fn every_error_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (400, "invalid_payload", "refused"),
        (400, "invalid_blocks", "refused"),
        (400, "invalid_blocks_format", "refused"),
        (400, "missing_text_or_fallback_or_attachments", "refused"),
        (400, "too_many_attachments", "refused"),
        (400, "no_text", "refused"),
        (400, "user_not_found", "refused"),
        (403, "action_prohibited", "refused"),
        (403, "posting_to_general_channel_denied", "refused"),
        (403, "invalid_token", "credential"),
        (404, "channel_not_found", "credential"),
        (404, "no_service", "credential"),
        (404, "no_service_id", "credential"),
        (404, "no_team", "credential"),
        (404, "team_disabled", "credential"),
        (404, "no_active_hooks", "credential"),
        (410, "channel_is_archived", "refused"),
        (429, "rate_limited", "busy"),
        (500, "rollup_error", "unknown"),
        (502, "bad_gateway", "unknown"),
        (503, "service_unavailable", "unknown"),
        // Not in the table, but sent by what stands in front of services.
        (302, "found", "refused"),
        (408, "request_timeout", "unknown"),
    ];
    for (status, code, class) in rows {
        let (result, _server) = publish_against(text(*status, code)).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *class, "{status} {code}");
        assert_eq!(err.reason().code, format!("slack-{code}"));
        let (result, _server) = publish_against(text(*status, "<html>nej</html>")).await;
        assert_eq!(result.unwrap_err().reason().code, format!("http-{status}"));
    }
}

#[tokio::test]
async fn a_wait_is_taken_from_the_header() {
    let (result, _server) = publish_against(answer(429, &[("retry-after", "30")], "rate_limited")).await;
    let until = crate::clock::later(crate::channel::testing::clock().now(), Duration::from_secs(30));
    assert!(matches!(result, Err(SendError::Busy { until: Some(at), .. }) if at == until));
}

#[tokio::test]
async fn only_ok_is_ok_and_the_rest_is_unknown() {
    for body in ["", "nej", "{\"ok\":true}", "okej"] {
        let (result, server) = publish_against(text(200, body)).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
        let settled = account(&server, true)
            .settle(&question(post(TEXT)))
            .await
            .unwrap();
        assert!(matches!(settled, Settled::Unclear(_)));
        assert_eq!(server.asked().len(), 1, "there is nothing to ask");
    }
}

#[tokio::test]
async fn nothing_of_the_address_is_ever_repeated() {
    for (status, body) in [
        (400, HOOK),
        (404, "hemlighemlighemlighemlig"),
        (403, "/services/T0000/B0000/hemlighemlighemlighemlig"),
        (200, HOOK),
    ] {
        let (result, server) = publish_against(text(status, body)).await;
        let account = account(&server, true);
        let shown = format!(
            "{account:?} {:?} {:?}",
            result.unwrap_err(),
            account.verify().await
        );
        assert!(!shown.contains("hemlig"), "{shown}");
    }
    let (result, server) = publish_against(String::new()).await;
    assert!(!format!("{result:?}").contains("hemlig"));
    drop(server);
}

#[tokio::test]
async fn verifying_sends_nothing_that_could_be_posted() {
    let rows = [
        (400, "no_text", "ok"),
        (400, "invalid_payload", "ok"),
        (404, "no_service", "credential"),
        (403, "invalid_token", "credential"),
        (410, "channel_is_archived", "refused"),
        (429, "rate_limited", "busy"),
        (500, "rollup_error", "not-sent"),
    ];
    for (status, code, outcome) in rows {
        let server = Server::start(vec![text(status, code)]).await;
        let result = account(&server, true).verify().await;
        assert_eq!(
            result.as_ref().map_or_else(SendError::as_str, |_| "ok"),
            outcome,
            "{code}"
        );
        assert_eq!(server.asked()[0].body, b"{}");
    }
    let server = Server::start(vec![text(404, "no_service")]).await;
    let identity = account(&server, false).verify().await.unwrap();
    assert!(identity.facts["answered"].contains("proves nothing"));
    assert!(server.asked().is_empty());
}

#[test]
fn a_drill_goes_to_the_wall_and_without_a_webhook_nothing_opens() {
    let settings = Slack {
        base_url: None,
        probe: true,
    };
    assert_eq!(settings.open(parts([])).unwrap_err().code, "no-credential");
    assert_eq!(
        settings.open(parts([("webhook", "hemligt")])).unwrap_err().code,
        "bad-credential"
    );
    assert!(settings.addresses().is_empty());
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/slack".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let there = settings.at_wall(&site);
    assert_eq!(
        there.addresses(),
        [("base_url", "http://127.0.0.1:1/drill/slack".to_owned())]
    );
}
