//! What is Instagram's own: the picture before the container, the card, the two log-ins, taking away. What it shares with
//! Threads is tested there.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::channel::testing::{Server, answer, json, parts, post, question};
use crate::config::source::Source;
use crate::model::Steps;

const TEXT: &str = "Koka vattnet i Nässjö\n\nVattnet ska bubbla.\n\nNässjö kommun\nhttps://nassjo.se/kris";

fn settings(base: &Url, folder: &std::path::Path) -> Instagram {
    Instagram {
        user_id: "1784".to_owned(),
        login: Login::Facebook,
        base_url: base.clone(),
        login_url: base.clone(),
        codes_url: base.clone(),
        version: DEFAULT_VERSION.to_owned(),
        public: PublicFolder {
            folder: folder.to_owned(),
            url: "https://nassjo.se/bilder".parse().unwrap(),
        },
        look: card::Look {
            background: BACKGROUND,
            text: TEXT_COLOUR,
        },
        font: None,
        settle_wait: Duration::from_millis(20),
        pauses: Pauses {
            look: Duration::from_millis(1),
            ready: Duration::ZERO,
            lost: Duration::from_millis(1),
        },
    }
}

const TEXT_COLOUR: Colour = super::TEXT;

fn open(settings: &Instagram) -> Arc<dyn Channel> {
    settings.open(parts([("access_token", "hemlig")])).unwrap()
}

fn pictured() -> Post {
    let mut post = post(TEXT);
    post.picture = Some(Arc::new(Picture {
        bytes: b"\xff\xd8 a picture".to_vec(),
        media_type: "image/jpeg",
        width: 1080,
        height: 1350,
        alt: "En kastrull".to_owned(),
    }));
    post
}

fn envelope(code: i64, subcode: i64) -> String {
    json!({"error": {"message": "nej", "type": "OAuthException", "code": code, "error_subcode": subcode,
        "fbtrace_id": "AbC"}})
    .to_string()
}

fn exchange() -> Vec<String> {
    vec![
        json(200, r#"{"id":"1"}"#),
        json(
            200,
            r#"{"id":"1","status_code":"FINISHED","status":"Finished: ready"}"#,
        ),
        json(200, r#"{"id":"2"}"#),
        json(
            200,
            r#"{"id":"2","permalink":"https://www.instagram.com/p/Abc/"}"#,
        ),
    ]
}

#[tokio::test]
async fn the_picture_lies_there_whole_before_the_service_is_told_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(exchange()).await;
    let receipt = open(&settings(&server.base, folder.path()))
        .publish(&pictured())
        .await
        .unwrap();
    assert_eq!(receipt, Receipt::of("2").at("https://www.instagram.com/p/Abc/"));
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "POST /v26.0/1784/media",
            "GET /v26.0/1?fields=id%2Cstatus_code%2Cstatus",
            "POST /v26.0/1784/media_publish",
            "GET /v26.0/2?fields=id%2Cpermalink",
        ]
    );
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked[0].body).into_owned().collect();
    assert_eq!(
        (form["caption"].as_str(), form["alt_text"].as_str()),
        (TEXT, "En kastrull")
    );
    let name = form["image_url"]
        .strip_prefix("https://nassjo.se/bilder/")
        .unwrap();
    assert_eq!(
        std::fs::read(folder.path().join(name)).unwrap(),
        b"\xff\xd8 a picture"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no litter");
}

#[tokio::test]
async fn without_a_place_for_the_picture_nothing_is_asked_of_the_service() {
    let server = Server::start(exchange()).await;
    let nowhere = settings(&server.base, std::path::Path::new("/proc/no/such/folder"));
    let error = open(&nowhere).publish(&pictured()).await.unwrap_err();
    assert_eq!(
        (error.as_str(), error.reason().code.as_str()),
        ("not-sent", "disk")
    );
    let folder = tempfile::tempdir().unwrap();
    let mut without_font = settings(&server.base, folder.path());
    without_font.font = Some("/no/such/font.ttf".into());
    let error = open(&without_font).publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(
        (error.as_str(), error.reason().code.as_str()),
        ("not-sent", "no-font")
    );
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn there_is_no_post_without_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    for (answers, requests) in [
        // Never fetched; of a shape that is not taken; not to be prepared.
        (vec![json(400, &envelope(9004, 2_207_052))], 3),
        (vec![json(400, &envelope(36_003, 2_207_009))], 1),
        (
            vec![
                json(200, r#"{"id":"1"}"#),
                json(200, r#"{"id":"1","status":"Error: Media download has failed"}"#),
            ],
            2,
        ),
    ] {
        let server = Server::start(answers).await;
        let error = open(&settings(&server.base, folder.path()))
            .publish(&pictured())
            .await
            .unwrap_err();
        assert_eq!(
            (error.as_str(), server.asked().len()),
            (if requests == 3 { "not-sent" } else { "refused" }, requests)
        );
    }
}

#[tokio::test]
async fn errors_of_its_own_have_their_class() {
    let folder = tempfile::tempdir().unwrap();
    for (code, subcode, making, publishing) in [
        (36_000, 2_207_004, "refused", "refused"),
        (36_001, 2_207_005, "refused", "refused"),
        (352, 2_207_026, "refused", "refused"),
        (100, 2_207_023, "refused", "refused"),
        (36_004, 2_207_010, "refused", "refused"),
        (9, 2_207_042, "busy", "busy"),
        (80_002, 0, "busy", "busy"),
        (25, 2_207_050, "refused", "refused"),
        (100, 2_207_028, "refused", "refused"),
        (1, 2_207_057, "refused", "refused"),
        (4, 2_207_051, "refused", "refused"),
        (9007, 2_207_027, "not-sent", "not-sent"),
        (9004, 2_207_052, "not-sent", "not-sent"),
        (-2, 2_207_003, "not-sent", "not-sent"),
        (-2, 2_207_020, "not-sent", "not-sent"),
        (352, 2_207_077, "not-sent", "not-sent"),
        (-1, 2_207_001, "not-sent", "unknown"),
        (100, 2_207_001, "not-sent", "unknown"),
        (-1, 2_207_032, "not-sent", "unknown"),
        (100, 2_207_032, "not-sent", "unknown"),
        (-1, 2_207_053, "not-sent", "unknown"),
        (100, 2_207_053, "not-sent", "unknown"),
        (100, 2_207_082, "not-sent", "unknown"),
        (24, 2_207_006, "not-sent", "unknown"),
        (24, 2_207_008, "not-sent", "unknown"),
        (190, 460, "credential", "credential"),
        (10, 0, "refused", "refused"),
    ] {
        let no = json(400, &envelope(code, subcode));
        let server = Server::start(vec![no.clone()]).await;
        let error = open(&settings(&server.base, folder.path()))
            .publish(&pictured())
            .await
            .unwrap_err();
        assert_eq!(error.as_str(), making, "making: {code}/{subcode}");
        let mut answers = exchange();
        answers.truncate(2);
        // What a refusal means is asked of the container, which still is ready.
        for _ in 0..4 {
            answers.push(no.clone());
            if !matches!(code, 9007 | 24) {
                answers.push(exchange().swap_remove(1));
            }
        }
        let server = Server::start(answers).await;
        let error = open(&settings(&server.base, folder.path()))
            .publish(&pictured())
            .await
            .unwrap_err();
        assert_eq!(error.as_str(), publishing, "publishing: {code}/{subcode}");
    }
}

#[tokio::test]
async fn a_published_container_leads_to_its_post() {
    let folder = tempfile::tempdir().unwrap();
    let list = json!({"data": [{"id": "77", "caption": TEXT, "timestamp": "2026-11-23T15:58:10+0000",
        "permalink": "https://www.instagram.com/p/x/"}]});
    let published = json(200, r#"{"id":"1","status_code":"PUBLISHED"}"#);
    let server = Server::start(vec![published, json(200, &list.to_string())]).await;
    let mut post = pictured();
    post.steps = Steps::of([("part-1-container", "1"), ("part-1-sent", "1")]);
    let settled = open(&settings(&server.base, folder.path()))
        .settle(&question(post))
        .await
        .unwrap();
    assert_eq!(
        settled,
        Settled::Found(Receipt::of("77").at("https://www.instagram.com/p/x/"))
    );
    let line = &server.asked()[1].line;
    assert!(
        line.starts_with("GET /v26.0/1784/media?fields=id%2Ccaption"),
        "{line}"
    );
}

#[tokio::test]
async fn not_there_and_not_allowed_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let missing = || json(400, &envelope(100, 33));
    for (answers, code) in [
        (vec![json(200, r#"{"success":true}"#)], None),
        (vec![missing(), missing()], None),
        (vec![missing(), json(200, r#"{"id":"2"}"#)], Some("no-retract")),
        (vec![json(400, &envelope(3, 0))], Some("graph-3")),
    ] {
        let server = Server::start(answers).await;
        let done = open(&settings(&server.base, folder.path()))
            .retract(&Receipt::of("2"))
            .await;
        assert_eq!(
            done.err().map(|error| error.reason().code.clone()),
            code.map(str::to_owned)
        );
    }
    let server = Server::start(exchange()).await;
    let mut own = settings(&server.base, folder.path());
    own.login = Login::Instagram;
    let error = open(&own).retract(&Receipt::of("2")).await.unwrap_err();
    assert_eq!(error.reason().code, "no-retract");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn the_instagram_log_in_renews_its_token_and_the_facebook_one_has_none_to_renew() {
    let folder = tempfile::tempdir().unwrap();
    let quota = json(200, r#"{"data":[{"quota_usage":2,"config":{"quota_total":50}}]}"#);
    let me = json(
        200,
        r#"{"id":"1784","user_id":"1784","username":"nassjo","website":"https://nassjo.se"}"#,
    );
    let renewed = json(200, r#"{"access_token":"ny","expires_in":5183944}"#);
    for (login, answers, first) in [
        (
            Login::Facebook,
            vec![me.clone(), quota.clone()],
            "GET /v26.0/1784?",
        ),
        (
            Login::Instagram,
            vec![renewed, me, quota],
            "GET /refresh_access_token?grant_type=ig_refresh_token",
        ),
    ] {
        let server = Server::start(answers).await;
        let mut settings = settings(&server.base, folder.path());
        settings.login = login;
        let identity = open(&settings).verify().await.unwrap();
        assert_eq!(identity.name, "nassjo");
        assert_eq!(identity.facts["posts_left"], "48");
        assert_eq!(identity.facts["website"], "https://nassjo.se");
        assert!(
            server.asked()[0].line.starts_with(first),
            "{}",
            server.asked()[0].line
        );
    }
}

#[test]
fn a_card_says_what_the_caption_says_and_its_alternative_text_what_it_shows() {
    let mut post = post(TEXT);
    post.rendering.headline = "Koka vattnet i Nässjö".to_owned();
    let words = words(&post, "Nässjö kommun");
    assert_eq!(words.headline, "Koka vattnet i Nässjö");
    assert_eq!(words.body, ["Vattnet ska bubbla."]);
    assert_eq!(words.address, "nassjo.se/kris");
    let shown = [
        "Koka vattnet",
        "Det ska bubbla.",
        &"x".repeat(1000),
        "Nässjö kommun",
    ]
    .map(str::to_owned);
    assert_eq!(alt(&shown), "Koka vattnet. Det ska bubbla. Nässjö kommun");
}

/// Reads a section and says what is wrong with it.
fn problems(keys: &str) -> Vec<String> {
    let sound = "user_id = \"1\"\npublic_folder = \"/srv/b\"\npublic_url = \"https://nassjo.se/b\"\n";
    let source = Source::new("config.toml", format!("{sound}{keys}"));
    let table = source.parse();
    let mut section = Section::root(&source, &table);
    let read = read(&mut section);
    section.finish();
    let problems: Vec<String> = source
        .take_problems()
        .iter()
        .map(|p| format!("{}: {}", p.key, p.text))
        .collect();
    assert_eq!(read.is_none(), !problems.is_empty(), "{problems:?}");
    problems
}

#[test]
fn colours_that_cannot_be_read_are_not_taken() {
    assert_eq!(
        problems("card_background = \"#005a2b\"\ncard_text = \"#ffffff\""),
        Vec::<String>::new()
    );
    let wrong = problems("card_background = \"#ffffff\"\ncard_text = \"#ffcc00\"");
    assert!(wrong[0].contains("WCAG"), "{wrong:?}");
    assert!(problems("card_text = \"vit\"")[0].contains("#00467f"));
    assert!(problems("login = \"twitter\"")[0].contains("facebook"));
    assert!(problems("card_font = \"typsnitt.ttf\"")[0].contains("absolute"));
}

#[tokio::test]
async fn what_is_used_is_told_with_the_publication() {
    let folder = tempfile::tempdir().unwrap();
    let usage = r#"{"1784":[{"type":"instagram","call_count":96,"estimated_time_to_regain_access":0}]}"#;
    let headers = [
        ("content-type", "application/json"),
        ("X-Business-Use-Case-Usage", usage),
    ];
    let mut answers = exchange();
    answers[2] = answer(200, &headers, r#"{"id":"2"}"#);
    let server = Server::start(answers).await;
    let account = open(&settings(&server.base, folder.path()));
    account.publish(&pictured()).await.unwrap();
    assert_eq!(account.quota().map(|quota| quota.left), Some(4));
}
