//! Every row of the reference page's error table, and what a template carries, against a service that answers as told.

use super::*;
use crate::channel::testing::{Asked, Server, answer, clock, json, parts, post, question};
use crate::config::source::Source;
use crate::model::Recipient;
use jiff::SignedDuration;

const TEXT: &str = "Koka vattnet i Nässjö\n\nDet kan göra dig sjuk.\n\nNässjö kommun\nhttps://nassjo.se/kris";
const LINE: &str = "Koka vattnet i Nässjö. Det kan göra dig sjuk. Nässjö kommun https://nassjo.se/kris";
const TO: &str = "+46701740605";
const MADE: &str = r#"{"messaging_product":"whatsapp","contacts":[{"input":"46701740605","wa_id":"46701740605"}],
    "messages":[{"id":"wamid.HBgL=","message_status":"accepted"}]}"#;

fn settings(server: &Server) -> WhatsApp {
    WhatsApp {
        number: "106540352242922".to_owned(),
        account: None,
        template: "krisinformation_v1".to_owned(),
        language: "sv".to_owned(),
        variables: vec![Filling::Text],
        fixed: 100,
        list: "krisgrupp".parse().unwrap(),
        price: None,
        version: "v26.0".to_owned(),
        base_url: server.base.clone(),
    }
}

async fn publish_with(
    answers: Vec<String>,
    change: impl Fn(&mut WhatsApp),
) -> (Result<Receipt, SendError>, Vec<Asked>) {
    let server = Server::start(answers).await;
    let mut settings = settings(&server);
    change(&mut settings);
    let account = settings.open(parts([("access_token", "hemlig")])).unwrap();
    let mut post = post(TEXT);
    post.recipient = Some(Recipient::new(TO));
    (account.publish(&post).await, server.asked())
}

async fn publish_against(answer: String) -> Result<Receipt, SendError> {
    publish_with(vec![answer], |_| {}).await.0
}

async fn verify_against(answers: Vec<String>) -> Result<Identity, SendError> {
    let server = Server::start(answers).await;
    let mut settings = settings(&server);
    settings.account = Some("77".to_owned());
    settings
        .open(parts([("access_token", "hemlig")]))
        .unwrap()
        .verify()
        .await
}

fn envelope(code: i64, message: &str) -> String {
    json!({"error": {
        "message": message, "type": "OAuthException", "code": code,
        "error_data": {"messaging_product": "whatsapp", "details": "närmare"}, "fbtrace_id": "AbC",
    }})
    .to_string()
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
async fn a_template_carries_the_text_on_one_line() {
    let (result, asked) = publish_with(vec![json(200, MADE)], |_| {}).await;
    assert_eq!(result.unwrap(), Receipt::of("wamid.HBgL="));
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /v26.0/106540352242922/messages");
    assert_eq!(asked[0].headers["authorization"], "Bearer hemlig");
    assert_eq!(
        asked[0].json(),
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "46701740605", "type": "template",
            "template": {
                "name": "krisinformation_v1", "language": {"policy": "deterministic", "code": "sv"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": LINE}]}],
            },
            "biz_opaque_callback_data": "vardkase:0193f5b0-0000-7000-8000-000000000001",
        })
    );
    let (_, asked) = publish_with(vec![json(200, MADE)], |whatsapp| {
        whatsapp.variables = vec![Filling::Headline, Filling::Text];
    })
    .await;
    let parameters = &asked[0].json()["template"]["components"][0]["parameters"];
    assert_eq!(parameters[0]["text"], "Koka vattnet i Nässjö");
    assert_eq!(parameters[1]["text"], LINE);
}

#[test]
fn a_text_becomes_one_line_that_a_variable_takes() {
    for (text, line) in [
        ("a", "a"),
        ("a\n\nb", "a. b"),
        ("a.\n\nb!\n\nc?\n\nd:\n\ne", "a. b! c? d: e"),
        ("a\nb", "a b"),
        ("a\t b      c", "a b c"),
        ("\n\n a \n\n\n\n b \n", "a. b"),
        ("", ""),
    ] {
        assert_eq!(one_line(text), line);
        assert!(line.len() <= text.len().max(1));
    }
}

#[tokio::test]
async fn every_code_of_the_reference_page_has_its_class() {
    let rows: &[(&[i64], &str)] = &[
        (&[0, 190], "credential"),
        (&[3, 10, 200, 299, 131_005], "credential"),
        (
            &[368, 130_497, 131_031, 131_037, 131_042, 131_045, 133_010],
            "credential",
        ),
        (&[4, 80_007, 130_429, 131_056, 133_016], "busy"),
        (&[131_048, 131_049, 130_472], "refused"),
        (&[1, 2, 131_000, 131_016, 131_057, 133_004], "not-sent"),
        (&[131_026, 131_030, 131_047, 131_021, 131_050], "refused"),
        (
            &[33, 100, 131_008, 131_009, 131_051, 131_052, 131_053, 135_000],
            "refused",
        ),
        (
            &[
                132_000, 132_001, 132_005, 132_007, 132_012, 132_015, 132_016, 132_018,
            ],
            "refused",
        ),
    ];
    for (codes, class) in rows {
        for code in *codes {
            // The HTTP status is not reliable there.
            for status in [400, 500] {
                let said = format!("(#{code}) nej till 46701740605");
                let err = publish_against(json(status, &envelope(*code, &said)))
                    .await
                    .unwrap_err();
                assert_eq!(err.as_str(), *class, "{code} with {status}");
                assert_eq!(err.reason().code, format!("whatsapp-{code}"));
                let told = err.to_string();
                assert!(told.contains("nej till …05: närmare"), "{told}");
                assert!(!told.contains("hemlig"), "{told}");
            }
        }
    }
    let unheard_of = |status| publish_against(json(status, &envelope(999_999, "nytt")));
    assert_eq!(unheard_of(400).await.unwrap_err().as_str(), "refused");
    assert_eq!(unheard_of(500).await.unwrap_err().as_str(), "unknown");
}

#[tokio::test]
async fn an_answer_without_a_code_is_judged_by_its_status() {
    for (status, class) in [
        (301, "refused"),
        (307, "refused"),
        (400, "refused"),
        (401, "credential"),
        (404, "refused"),
        (408, "unknown"),
        (409, "unknown"),
        (429, "busy"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ] {
        let err = publish_against(answer(status, &[], "<html>nej</html>"))
            .await
            .unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            (class, &*format!("http-{status}"))
        );
    }
}

#[tokio::test]
async fn each_throttle_has_its_least_wait() {
    let now = clock().now();
    let until = async |code: i64, headers: &[(&str, &str)]| match publish_against(answer(
        400,
        headers,
        &envelope(code, "långsammare"),
    ))
    .await
    {
        Err(SendError::Busy {
            until: Some(until), ..
        }) => until.duration_since(now),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(130_429, &[]).await, SignedDuration::from_secs(5));
    assert_eq!(until(131_056, &[]).await, SignedDuration::from_secs(6));
    assert_eq!(until(80_007, &[]).await, SignedDuration::from_mins(5));
    assert_eq!(
        until(130_429, &[("retry-after", "60")]).await,
        SignedDuration::from_secs(60)
    );
    let usage = r#"{"77":[{"type":"whatsapp","call_count":100,"estimated_time_to_regain_access":9}]}"#;
    let headers = [("x-business-use-case-usage", usage)];
    assert_eq!(until(80_007, &headers).await, SignedDuration::from_mins(9));
}

#[tokio::test]
async fn a_success_without_an_id_is_unknown_and_stays_so() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"messages":[]}"#,
        r#"{"messages":[{"id":7}]}"#,
        r#"{"messages":[{"id":"a b"}]}"#,
        "<html>",
    ] {
        let err = publish_against(answer(200, &[], body)).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{body}");
    }
    assert_eq!(
        publish_against(String::new()).await.unwrap_err().as_str(),
        "unknown",
        "cut"
    );
    let server = Server::start(vec![json(200, MADE)]).await;
    let account = settings(&server)
        .open(parts([("access_token", "hemlig")]))
        .unwrap();
    let settled = account.settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(_)), "{settled:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_meta_holds_back_is_said_and_what_it_paused_is_not_published() {
    let held = MADE.replace("accepted", "held_for_quality_assessment");
    let note = publish_against(json(200, &held)).await.unwrap().note;
    assert!(note.is_some_and(|note| note.contains("holds the message back")));
    let paused = publish_against(json(200, &MADE.replace("accepted", "paused")))
        .await
        .unwrap_err();
    assert_eq!(
        (paused.as_str(), paused.reason().code.as_str()),
        ("refused", "template-paused")
    );
}

#[tokio::test]
async fn an_account_is_ready_when_number_and_template_are() {
    let number = |sending: &str| {
        let health = json!({"can_send_message": sending});
        let me = json!({"verified_name": "Nässjö kommun", "quality_rating": "GREEN", "messaging_limit_tier": "TIER_100K", "health_status": health});
        json(200, &me.to_string())
    };
    let template = |name: &str, language: &str, status: &str, category: &str| {
        let template = json!({"name": name, "language": language, "status": status, "category": category});
        json(200, &json!({"data": [template]}).to_string())
    };
    let ready = template("krisinformation_v1", "sv", "APPROVED", "UTILITY");
    let identity = verify_against(vec![number("AVAILABLE"), ready.clone()])
        .await
        .unwrap();
    assert_eq!(identity.name, "Nässjö kommun");
    assert_eq!(
        (
            identity.facts["limit"].as_str(),
            identity.facts["template"].as_str()
        ),
        ("TIER_100K", "approved")
    );
    let blocked = verify_against(vec![number("BLOCKED"), ready]).await.unwrap_err();
    assert_eq!(blocked.as_str(), "credential");
    for (name, language, status) in [
        ("krisinformation_v1", "sv", "PENDING"),
        ("krisinformation_v1", "sv", "PAUSED"),
        ("krisinformation_v1", "en", "APPROVED"),
        ("krisinformation_v10", "sv", "APPROVED"),
    ] {
        let answers = vec![number("AVAILABLE"), template(name, language, status, "UTILITY")];
        let err = verify_against(answers).await.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            ("refused", "template"),
            "{name} {language} {status}"
        );
    }
    let dearer = template("krisinformation_v1", "sv", "APPROVED", "MARKETING");
    let identity = verify_against(vec![number("AVAILABLE"), dearer]).await.unwrap();
    assert!(identity.facts["template"].contains("MARKETING"));
    let dead = verify_against(vec![json(401, &envelope(190, "utgången"))])
        .await
        .unwrap_err();
    assert_eq!(dead.as_str(), "credential");
}

#[tokio::test]
async fn nothing_leaves_without_a_number() {
    let server = Server::start(vec![json(200, MADE)]).await;
    let account = settings(&server)
        .open(parts([("access_token", "hemlig")]))
        .unwrap();
    assert_eq!(
        account.publish(&post(TEXT)).await.unwrap_err().as_str(),
        "refused"
    );
    assert!(server.asked().is_empty());
}

#[test]
fn the_text_leaves_room_for_the_rest_of_the_template() {
    const KEYS: &str = "phone_number_id = \"1\"\ntemplate = \"kris\"\nlist = \"a\"\n";
    let rule = |more: &str| {
        let text = format!("{KEYS}{more}");
        let source = Source::new("config.toml", &text);
        let table = source.parse();
        let settings = (KIND.read)(&mut Section::root(&source, &table)).unwrap();
        assert_eq!(settings.addresses_of(), AddressKind::Phone);
        settings.text_rule().limit.unwrap()
    };
    assert_eq!(rule(""), 924);
    assert_eq!(rule("fixed_length = 24"), 1000);
    assert_eq!(rule("parameters = [\"headline\", \"text\"]"), 724);
    assert_eq!(problems(KEYS), "");
    insta::assert_snapshot!(problems(
        "phone_number_id = \"+46701740605\"\ntemplate = \"Kris information\"\nlanguage = \"svenska\"\n\
         parameters = [\"headline\", \"länk\", \"headline\"]\nfixed_length = 5\nversion = \"26\"\nbusiness_account_id = \"x\""
    ));
    insta::assert_snapshot!(problems("parameters = [\"headline\"]"));
}
