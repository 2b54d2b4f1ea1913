//! Every row of the reference page's error list, and the exchange step by step, against a server that answers as told.

use std::path::PathBuf;

use super::*;
use crate::channel::testing::{Server, answer, json, parts, post, question};
use crate::model::{Picture, Steps};

const TEXT: &str = "Koka vattnet i Nässjö. <script>alert(1)</script> & så.\n\nhttps://nassjo.se/kris";
const SLUG: &str = "2026-0007-1-000000000001";
const SECRETS: [(&str, &str); 2] = [("username", "redaktor"), ("password", "abcd efgh")];

fn settings(server: &Server) -> WordPress {
    WordPress {
        site: server.base.clone(),
        page: None,
        plain_addresses: false,
        settle_wait: Duration::from_millis(20),
        public_wait: Duration::ZERO,
    }
}

fn account(server: &Server) -> Arc<dyn Channel> {
    settings(server).open(parts(SECRETS)).unwrap()
}

fn page(id: u64, slug: &str, status: &str) -> Value {
    json!({
        "id": id, "slug": slug, "status": status, "link": format!("https://krisinfo.example/{slug}/"),
        "modified_gmt": "2026-11-23T15:58:07",
    })
}

fn ours() -> String {
    json(201, &page(42, SLUG, "publish").to_string())
}

fn list(pages: &[Value]) -> String {
    json(200, &Value::from(pages).to_string())
}

fn none() -> String {
    list(&[])
}

fn fault(status: u16, code: &str) -> String {
    let body = json!({"code": code, "message": "abcd efgh redaktor", "data": {"status": status}});
    json(status, &body.to_string())
}

async fn publish_against(answers: Vec<String>) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(answers).await;
    let result = account(&server).publish(&post(TEXT)).await;
    (result, server)
}

#[tokio::test]
async fn a_page_is_looked_for_and_then_made_with_nothing_of_the_text_as_markup() {
    let (result, server) = publish_against(vec![none(), ours()]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "42");
    assert_eq!(receipt.url.unwrap(), format!("https://krisinfo.example/{SLUG}/"));
    assert_eq!(receipt.note, None);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        asked[0].line,
        format!("GET /wp-json/wp/v2/pages?slug={SLUG}&status=any&context=edit")
    );
    assert_eq!(
        asked[0].headers["authorization"],
        "Basic cmVkYWt0b3I6YWJjZCBlZmdo"
    );
    assert_eq!(asked[1].line, "POST /wp-json/wp/v2/pages");
    let body = asked[1].json();
    assert_eq!(body["slug"], SLUG);
    assert_eq!(body["status"], "publish");
    assert_eq!(body["title"], "Koka vattnet i Nässjö");
    let content = body["content"].as_str().unwrap();
    assert!(content.contains("&lt;script&gt;"), "{content}");
    assert!(!content.contains("<script"), "{content}");
    assert!(
        content.contains("<a href=\"https://nassjo.se/kris\">"),
        "{content}"
    );
    assert!(
        content.contains(&format!("id=\"vk-{SLUG}\" lang=\"sv\"")),
        "{content}"
    );
    assert_eq!(body.as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn every_refusal_of_the_reference_page_has_its_class_and_repeats_no_sentence_of_the_site() {
    let rows: &[(u16, &str, &str, &str)] = &[
        (400, "rest_invalid_param", "refused", "refused"),
        (400, "rest_invalid_json", "refused", "refused"),
        (400, "rest_post_invalid_id", "refused", "refused"),
        (404, "rest_post_invalid_id", "refused", "refused"),
        (400, "rest_post_invalid_page_number", "refused", "refused"),
        (401, "rest_cannot_create", "credential", "credential"),
        (401, "rest_not_logged_in", "credential", "credential"),
        (401, "incorrect_password", "credential", "credential"),
        (401, "invalid_username", "credential", "credential"),
        (403, "rest_forbidden", "refused", "refused"),
        (403, "rest_cannot_edit", "refused", "refused"),
        (404, "rest_no_route", "refused", "refused"),
        (408, "", "unknown", "not-sent"),
        (409, "", "unknown", "not-sent"),
        (413, "", "refused", "refused"),
        (429, "", "busy", "busy"),
        (500, "internal_server_error", "unknown", "not-sent"),
        (502, "", "unknown", "not-sent"),
        (503, "", "not-sent", "not-sent"),
        (504, "", "unknown", "not-sent"),
        (301, "", "refused", "refused"),
        (302, "", "refused", "refused"),
    ];
    for (status, code, writing, reading) in rows {
        let (result, _server) = publish_against(vec![none(), fault(*status, code)]).await;
        let err = result.unwrap_err();
        assert_eq!(err.as_str(), *writing, "{status} {code}");
        assert_eq!(err.reason().code, format!("http-{status}"));
        assert!(!err.to_string().contains("redaktor "), "{err}");
        assert!(!err.to_string().contains("efgh"), "{err}");
        let (result, _server) = publish_against(vec![fault(*status, code)]).await;
        assert_eq!(
            result.unwrap_err().as_str(),
            *reading,
            "{status} {code} while looking"
        );
    }
    let maintenance = answer(
        503,
        &[("Retry-After", "600"), ("content-type", "text/html")],
        "<h1>Underhåll</h1>",
    );
    let (result, _server) = publish_against(vec![none(), maintenance]).await;
    assert!(
        matches!(result, Err(SendError::Busy { until: Some(_), .. })),
        "{result:?}"
    );
    let (result, _server) = publish_against(vec![none(), fault(403, "rest_cannot_edit")]).await;
    assert!(result.unwrap_err().to_string().contains("rest_cannot_edit"));
}

#[tokio::test]
async fn a_success_without_a_readable_page_is_unknown() {
    for body in [
        "",
        "<html>",
        "{}",
        "[]",
        r#"{"id":"42"}"#,
        r#"{"id":0,"slug":"a","status":"publish"}"#,
    ] {
        let (result, _server) = publish_against(vec![none(), json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "unknown", "{body}");
    }
    let (result, _server) = publish_against(vec![none(), String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
}

#[tokio::test]
async fn nonsense_while_looking_makes_nothing() {
    for body in ["", "{}", "[7]", r#"[{"id":null}]"#] {
        let (result, server) = publish_against(vec![json(200, body)]).await;
        assert_eq!(result.unwrap_err().as_str(), "not-sent", "{body}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_page_that_stands_already_is_the_answer_and_a_draft_is_finished() {
    let (result, server) = publish_against(vec![list(&[page(42, SLUG, "publish")])]).await;
    assert_eq!(result.unwrap().remote_id, "42");
    assert_eq!(server.asked().len(), 1, "nothing is written");

    let (result, server) = publish_against(vec![list(&[page(42, SLUG, "draft")]), ours()]).await;
    assert_eq!(result.unwrap().remote_id, "42");
    assert_eq!(server.asked()[1].line, "POST /wp-json/wp/v2/pages/42");
}

#[tokio::test]
async fn a_second_page_of_the_same_name_goes_and_the_first_one_stays() {
    let second = json(201, &page(43, &format!("{SLUG}-2"), "publish").to_string());
    let first = list(&[page(42, SLUG, "publish")]);
    let (result, server) =
        publish_against(vec![none(), second.clone(), first.clone(), json(200, "{}")]).await;
    let receipt = result.unwrap();
    assert_eq!((receipt.remote_id.as_str(), receipt.note), ("42", None));
    assert_eq!(
        server.asked()[3].line,
        "DELETE /wp-json/wp/v2/pages/43?force=true"
    );

    let (result, _server) = publish_against(vec![none(), second.clone(), first, json(500, "{}")]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "42");
    assert!(receipt.note.unwrap().contains("a second page, 43"));

    // A picture or a foreign tree has the name: ours stands under another one.
    let (result, _server) = publish_against(vec![none(), second, none()]).await;
    let receipt = result.unwrap();
    assert_eq!(receipt.remote_id, "43");
    assert!(receipt.note.unwrap().contains(&format!("{SLUG}-2")));
}

#[tokio::test]
async fn it_stands_under_the_first_page_of_the_alert_or_the_one_that_was_named() {
    let parent = list(&[page(5, "kris", "publish")]);
    let server = Server::start(vec![none(), parent.clone(), ours()]).await;
    let mut named = settings(&server);
    named.page = Some("kris".to_owned());
    let channel = named.open(parts(SECRETS)).unwrap();
    channel.publish(&post(TEXT)).await.unwrap();
    assert_eq!(server.asked()[2].json()["parent"], 5);

    let server = Server::start(vec![none(), none(), ours()]).await;
    named.site = server.base.clone();
    let channel = named.open(parts(SECRETS)).unwrap();
    let receipt = channel.publish(&post(TEXT)).await.unwrap();
    assert!(receipt.note.unwrap().contains("no page named kris"));
    assert_eq!(server.asked()[2].json().get("parent"), None);

    let update = Post {
        root: Some(Receipt::of("41")),
        ..post(TEXT)
    };
    for (root, wanted) in [
        (json(200, &page(41, "forsta", "publish").to_string()), json!(41)),
        (json(200, &page(41, "forsta", "trash").to_string()), json!(5)),
        (fault(404, "rest_post_invalid_id"), json!(5)),
    ] {
        let mut answers = vec![none(), root];
        if wanted == 5 {
            answers.push(parent.clone());
        }
        answers.push(ours());
        let server = Server::start(answers).await;
        named.site = server.base.clone();
        let channel = named.open(parts(SECRETS)).unwrap();
        let update = Post {
            steps: Steps::default(),
            ..update.clone()
        };
        channel.publish(&update).await.unwrap();
        assert_eq!(server.asked().last().unwrap().json()["parent"], wanted);
    }
}

fn pictured() -> Post {
    Post {
        picture: Some(Arc::new(Picture {
            bytes: b"\x89PNG...".to_vec(),
            media_type: "image/png",
            width: 2,
            height: 1,
            alt: "En karta över Nässjö".to_owned(),
        })),
        ..post(TEXT)
    }
}

#[tokio::test]
async fn a_picture_is_uploaded_described_and_named_by_the_page_each_step_noted() {
    let media = json(201, r#"{"id":9}"#);
    let server = Server::start(vec![none(), none(), media, json(200, "{}"), ours()]).await;
    let post = pictured();
    account(&server).publish(&post).await.unwrap();
    let asked = server.asked();
    let name = format!("{SLUG}-bild");
    assert_eq!(
        asked[1].line,
        format!("GET /wp-json/wp/v2/media?slug={name}&context=edit")
    );
    assert_eq!(asked[2].line, "POST /wp-json/wp/v2/media");
    assert_eq!(asked[2].headers["content-type"], "image/png");
    assert_eq!(
        asked[2].headers["content-disposition"],
        format!("attachment; filename=\"{name}.png\"")
    );
    assert_eq!(asked[3].line, "POST /wp-json/wp/v2/media/9");
    assert_eq!(asked[3].json(), json!({"alt_text": "En karta över Nässjö"}));
    assert_eq!(asked[4].json()["featured_media"], 9);
    let noted: Vec<_> = post.steps.all().into_iter().collect();
    let noted: Vec<_> = noted.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(noted, [("media", "9"), ("media-alt", "set"), ("page", "42")]);
}

#[tokio::test]
async fn a_repeated_attempt_goes_on_where_the_last_one_ended() {
    let mut post = pictured();
    post.steps = Steps::of([("media", "9")]);
    let server = Server::start(vec![none(), json(200, "{}"), ours()]).await;
    account(&server).publish(&post).await.unwrap();
    assert_eq!(server.asked()[1].line, "POST /wp-json/wp/v2/media/9");
    assert_eq!(server.asked()[2].json()["featured_media"], 9);

    post.steps = Steps::of([("media", "9"), ("media-alt", "set"), ("page", "42")]);
    let server = Server::start(vec![json(200, &page(42, SLUG, "publish").to_string())]).await;
    account(&server).publish(&post).await.unwrap();
    assert_eq!(server.asked().len(), 1);

    // The upload's answer was lost: it is found by its name.
    let server = Server::start(vec![none(), list(&[json!({"id": 9})]), json(200, "{}"), ours()]).await;
    account(&server).publish(&pictured()).await.unwrap();
    assert_eq!(server.asked()[2].line, "POST /wp-json/wp/v2/media/9");
}

#[tokio::test]
async fn a_picture_that_is_not_taken_leaves_the_text_alone_and_is_told() {
    for refusal in [
        fault(413, ""),
        fault(500, "rest_upload_sideload_error"),
        fault(429, ""),
        String::new(),
    ] {
        let server = Server::start(vec![none(), none(), refusal, ours()]).await;
        let receipt = account(&server).publish(&pictured()).await.unwrap();
        assert!(receipt.note.unwrap().contains("without its picture"));
        assert_eq!(server.asked()[3].json().get("featured_media"), None);
    }
    // Without its alternative text no picture is shown.
    let media = json(201, r#"{"id":9}"#);
    let server = Server::start(vec![
        none(),
        none(),
        media,
        fault(403, "rest_cannot_edit"),
        ours(),
    ])
    .await;
    let receipt = account(&server).publish(&pictured()).await.unwrap();
    assert!(receipt.note.unwrap().contains("without its picture"));
    assert_eq!(server.asked()[4].json().get("featured_media"), None);
}

fn at(server: &Server, path: &str) -> String {
    let mut page = page(42, SLUG, "publish");
    page["link"] = format!("{}{path}", server.base.as_str().trim_end_matches('/')).into();
    page.to_string()
}

/// What is said of a page at `/sida` of a server that gives these answers to the public.
async fn looked_at(public: Vec<String>) -> (Option<String>, Server) {
    let site = Server::start(public).await;
    let channel = Account {
        settings: WordPress {
            public_wait: Duration::from_millis(80),
            ..settings(&site)
        },
        secrets: parts(SECRETS).secrets,
        http: parts(SECRETS).http,
    };
    let found = Found::read(&serde_json::from_str(&at(&site, "/sida")).unwrap()).unwrap();
    let receipt = channel.seen_by_public(&found, &post(TEXT), Vec::new()).await;
    (receipt.note, site)
}

#[tokio::test]
async fn the_public_sees_the_page_without_credentials_after_one_redirect_on_the_same_host() {
    let shown = answer(
        200,
        &[("content-type", "text/html")],
        &format!("<div id=\"vk-{SLUG}\">"),
    );
    let moved = answer(301, &[("location", "/sida/")], "");
    let (note, site) = looked_at(vec![moved, shown.clone()]).await;
    assert_eq!(note, None);
    assert_eq!(site.asked()[1].line, "GET /sida/");
    assert!(
        site.asked()
            .iter()
            .all(|asked| !asked.headers.contains_key("authorization"))
    );

    // Late, but in time.
    let (note, _site) = looked_at(vec![answer(404, &[], ""), shown]).await;
    assert_eq!(note, None);
}

#[tokio::test]
async fn what_the_public_does_not_see_is_told_and_is_no_failure() {
    for (said, told) in [
        (answer(404, &[], ""), "404"),
        (answer(200, &[], "en gammal sida"), "does not hold our text"),
        (
            answer(301, &[("location", "https://elsewhere.example/")], ""),
            "leads elsewhere",
        ),
        (String::new(), "does not see it yet"),
    ] {
        let (note, site) = looked_at(vec![said]).await;
        let note = note.unwrap();
        assert!(note.contains(told), "{note}");
        assert!(site.asked().len() <= 8);
    }
}

#[tokio::test]
async fn settling_believes_the_page_and_not_its_absence_too_soon() {
    let server = Server::start(vec![list(&[page(42, SLUG, "publish")])]).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Found(receipt) if receipt.remote_id == "42"));

    for left in [none(), list(&[page(42, SLUG, "draft")])] {
        let server = Server::start(vec![left]).await;
        let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
        assert_eq!(settled, Settled::Absent);
        assert_eq!(server.asked().len(), 2);
    }

    let server = Server::start(vec![none()]).await;
    let mut patient = settings(&server);
    patient.settle_wait = Duration::from_millis(200);
    let mut fresh = question(post(TEXT));
    fresh.now = fresh.since;
    let channel = patient.open(parts(SECRETS)).unwrap();
    assert_eq!(channel.settle(&fresh).await.unwrap_err().reason().code, "not-yet");

    let server = Server::start(vec![fault(403, "rest_forbidden")]).await;
    let settled = account(&server).settle(&question(post(TEXT))).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "http-403"));
    for (status, class) in [(401, "credential"), (500, "not-sent"), (429, "busy")] {
        let server = Server::start(vec![fault(status, "")]).await;
        let err = account(&server).settle(&question(post(TEXT))).await.unwrap_err();
        assert_eq!(err.as_str(), class);
    }
}

#[tokio::test]
async fn taking_away_is_the_trash_and_twice_is_done() {
    for (status, done) in [
        (200, true),
        (404, true),
        (410, true),
        (501, false),
        (401, false),
        (500, false),
    ] {
        let server = Server::start(vec![json(status, "{}")]).await;
        let result = account(&server).retract(&Receipt::of("42/../7")).await;
        assert_eq!(result.is_ok(), done, "{status}");
        assert_eq!(server.asked()[0].line, "DELETE /wp-json/wp/v2/pages/42%2F..%2F7");
    }
}

#[tokio::test]
async fn an_edit_changes_the_same_page_and_tells_whose_words_it_replaced() {
    let stands = json(200, &page(42, SLUG, "publish").to_string());
    let receipt = Receipt {
        version: Some("2026-11-23T15:58:07".to_owned()),
        ..Receipt::of("42")
    };
    let server = Server::start(vec![stands.clone(), stands.clone()]).await;
    let edited = account(&server).edit(&receipt, &post("Ny text")).await.unwrap();
    assert_eq!((edited.remote_id.as_str(), edited.note), ("42", None));
    let asked = server.asked();
    assert_eq!(asked[1].line, "POST /wp-json/wp/v2/pages/42");
    assert!(asked[1].json()["content"].as_str().unwrap().contains("Ny text"));
    assert_eq!(asked[1].json().get("slug"), None, "its address stays");

    let server = Server::start(vec![stands.clone(), stands]).await;
    let older = Receipt {
        version: Some("2026-11-23T15:00:00".to_owned()),
        ..receipt.clone()
    };
    let edited = account(&server).edit(&older, &post("Ny text")).await.unwrap();
    assert!(edited.note.unwrap().contains("somebody else"));

    for gone in [
        json(200, &page(42, SLUG, "trash").to_string()),
        fault(404, "rest_post_invalid_id"),
    ] {
        let server = Server::start(vec![gone]).await;
        let err = account(&server)
            .edit(&receipt, &post("Ny text"))
            .await
            .unwrap_err();
        assert_eq!(err.reason().code, "gone");
    }
}

#[tokio::test]
async fn verifying_tells_who_we_are_and_refuses_a_user_who_may_not_publish() {
    let me = |publish: bool| {
        let can =
            json!({"publish_pages": publish, "edit_published_pages": true, "delete_published_pages": true});
        json(
            200,
            &json!({"id": 7, "name": "Kris", "roles": ["editor"], "capabilities": can}).to_string(),
        )
    };
    let server = Server::start(vec![me(true)]).await;
    let identity = account(&server).verify().await.unwrap();
    assert_eq!(
        (identity.name.as_str(), identity.facts["roles"].as_str()),
        ("Kris", "editor")
    );
    let server = Server::start(vec![me(false)]).await;
    let err = account(&server).verify().await.unwrap_err();
    assert_eq!(err.reason().code, "role");

    let server = Server::start(vec![me(true), none()]).await;
    let mut named = settings(&server);
    named.page = Some("kris".to_owned());
    let err = named.open(parts(SECRETS)).unwrap().verify().await.unwrap_err();
    assert_eq!(err.reason().code, "page");
}

#[tokio::test]
async fn a_site_with_plain_addresses_is_asked_by_a_parameter() {
    let server = Server::start(vec![none(), ours()]).await;
    let mut plain = settings(&server);
    plain.plain_addresses = true;
    plain
        .open(parts(SECRETS))
        .unwrap()
        .publish(&post(TEXT))
        .await
        .unwrap();
    assert_eq!(
        server.asked()[0].line,
        format!("GET /?rest_route=%2Fwp%2Fv2%2Fpages&slug={SLUG}&status=any&context=edit")
    );
    assert_eq!(server.asked()[1].line, "POST /?rest_route=%2Fwp%2Fv2%2Fpages");
}

#[tokio::test]
async fn without_a_log_in_the_account_does_not_open_and_at_the_wall_it_knows_no_other_site() {
    let server = Server::start(vec![]).await;
    assert_eq!(
        settings(&server).open(parts([])).unwrap_err().code,
        "no-credential"
    );
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/webb".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let there = settings(&server).at_wall(&site).addresses();
    assert_eq!(there, [("site", "http://127.0.0.1:1/drill/webb".to_owned())]);
}

#[test]
fn a_short_name_that_wordpress_would_change_is_none() {
    for good in ["kris", "krisinformation-2", "2026"] {
        assert!(page::is_slug(good), "{good}");
    }
    for bad in ["", "Kris", "kris/vatten", "-kris", "kris-", "a--b", "å", "a b"] {
        assert!(!page::is_slug(bad), "{bad}");
    }
}
