//! The exchange step by step, and every answer of the reference page, against a server that answers as told.

use super::*;
use crate::channel::testing::{Server, answer, parts};

const SECRETS: [(&str, &str); 2] = [("username", "kris"), ("password", "hemlig")];

fn dav(server: &Server) -> Dav {
    let parts = parts(SECRETS);
    let folder = format!("{}dav/kris", server.base).parse().unwrap();
    Dav::open(folder, "webb".to_owned(), parts.secrets, parts.http).unwrap()
}

fn said(status: u16) -> String {
    answer(status, &[], "kris hemlig")
}

fn files() -> Vec<(String, Vec<u8>)> {
    vec![
        ("a.json".to_owned(), b"{}".to_vec()),
        ("a.html".to_owned(), b"<p>".to_vec()),
    ]
}

async fn written(answers: Vec<String>) -> (Result<(), SendError>, Server) {
    let server = Server::start(answers).await;
    let result = dav(&server).write(&files()).await;
    (result, server)
}

#[tokio::test]
async fn all_files_are_put_aside_before_the_first_one_takes_its_place() {
    let (result, server) = written(vec![said(201), said(201), said(204), said(201)]).await;
    result.unwrap();
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "PUT /dav/kris/.a.json.webb.vardkase-new",
            "PUT /dav/kris/.a.html.webb.vardkase-new",
            "MOVE /dav/kris/.a.json.webb.vardkase-new",
            "MOVE /dav/kris/.a.html.webb.vardkase-new",
        ]
    );
    assert_eq!(asked[0].headers["authorization"], "Basic a3JpczpoZW1saWc=");
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert_eq!(asked[2].headers["overwrite"], "T");
    assert_eq!(
        asked[2].headers["destination"],
        format!("{}dav/kris/a.json", server.base)
    );
}

#[tokio::test]
async fn every_answer_has_its_class_before_and_at_the_move() {
    let rows: &[(u16, &str, &str)] = &[
        (401, "credential", "credential"),
        (403, "refused", "refused"),
        (404, "refused", "unknown"),
        (405, "refused", "refused"),
        (408, "not-sent", "unknown"),
        (409, "refused", "refused"),
        (412, "refused", "refused"),
        (413, "refused", "refused"),
        (423, "not-sent", "not-sent"),
        (429, "busy", "busy"),
        (301, "refused", "refused"),
        (500, "not-sent", "unknown"),
        (502, "not-sent", "unknown"),
        (503, "not-sent", "not-sent"),
        (504, "not-sent", "unknown"),
        (507, "not-sent", "not-sent"),
    ];
    for (status, putting, moving) in rows {
        let (result, _server) = written(vec![said(*status)]).await;
        let err = result.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.clone()),
            (*putting, format!("http-{status}"))
        );
        assert!(!err.to_string().contains("hemlig"), "{err}");
        let (result, _server) = written(vec![said(201), said(201), said(*status)]).await;
        assert_eq!(result.unwrap_err().as_str(), *moving, "{status} at the move");
        // The first file can be seen: nothing but comparing tells what stands.
        let (result, _server) = written(vec![said(201), said(201), said(204), said(*status)]).await;
        assert_eq!(
            result.unwrap_err().as_str(),
            "unknown",
            "{status} at the second move"
        );
    }
    let (result, _server) = written(vec![String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "not-sent");
    let (result, _server) = written(vec![said(201), said(201), String::new()]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
    let (result, _server) = written(vec![said(201), said(201), said(207)]).await;
    assert_eq!(result.unwrap_err().as_str(), "unknown");
}

#[tokio::test]
async fn what_is_not_there_is_no_fault_when_reading_or_removing() {
    let server = Server::start(vec![
        answer(200, &[], "da"),
        said(404),
        said(500),
        said(404),
        said(403),
    ])
    .await;
    let dav = dav(&server);
    assert_eq!(dav.read("a.json").await.unwrap().unwrap(), b"da");
    assert_eq!(dav.read("a.json").await.unwrap(), None);
    assert_eq!(dav.read("a.json").await.unwrap_err().as_str(), "not-sent");
    dav.remove("a.json").await.unwrap();
    assert_eq!(dav.remove("a.json").await.unwrap_err().as_str(), "refused");
}

#[test]
fn without_a_log_in_it_does_not_open() {
    let parts = parts([]);
    let folder = "https://nassjo.se/dav".parse().unwrap();
    let err = Dav::open(folder, "webb".to_owned(), parts.secrets, parts.http).unwrap_err();
    assert_eq!(err.code, "no-credential");
}
