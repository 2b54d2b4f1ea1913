//! The transport against raw sockets: what servers do that no framework would.

use std::io::Write as _;
use std::sync::Arc;

use jiff::SignedDuration;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clock::TestClock;

const NOW: &str = "2026-11-23T03:00:00Z";

/// The first byte of every TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;

fn transport() -> Transport {
    let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
    Transport::new(clock, Duration::from_secs(2)).unwrap()
}

/// A server that reads each request to the end of its headers, answers `answer` and closes. Returns its address.
async fn server(answer: Vec<u8>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/hemlig-sökväg?token=hemlig",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                let mut buffer = [0; 1024];
                match stream.read(&mut buffer).await {
                    Ok(n) if n > 0 && buffer[0] != TLS_HANDSHAKE => seen.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            // The client may have hung up on an answer that is too large.
            drop(stream.write_all(&answer).await);
        }
    });
    url.parse().unwrap()
}

async fn post(url: Url) -> Result<Answer, SendError> {
    let transport = transport();
    let request = transport
        .request(Method::POST, url)
        .bearer_auth("hemlig")
        .body("text");
    transport.send(request, Effect::Writes).await
}

async fn get(url: Url) -> Result<Answer, SendError> {
    let transport = transport();
    let request = transport.request(Method::GET, url).bearer_auth("hemlig");
    transport.send(request, Effect::Reads).await
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn assert_unknown(result: Result<Answer, SendError>, code: &str) {
    match result {
        Err(SendError::Unknown(reason)) => {
            assert_eq!(reason.code, code, "{reason}");
            assert!(!reason.to_string().contains("hemlig"), "{reason}");
        }
        other => panic!("expected unknown, got {other:?}"),
    }
}

fn assert_not_sent(result: Result<Answer, SendError>, code: &str) {
    match result {
        Err(SendError::NotSent(reason)) => {
            assert_eq!(reason.code, code, "{reason}");
            assert!(!reason.to_string().contains("hemlig"), "{reason}");
        }
        other => panic!("expected not sent, got {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_is_read_whole_with_its_time() {
    let answer = post(server(ok("Content-Length: 8\r\nX-A: b\r\n", b"{\"a\":1}\n")).await)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-a"), Some("b"));
    assert_eq!(answer.json().unwrap()["a"], 1);
    assert_eq!(answer.at, NOW.parse().unwrap());
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/?token=hemlig", listener.local_addr().unwrap());
    drop(listener);
    assert_not_sent(post(url.parse().unwrap()).await, "connect");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_was_not_sent() {
    assert_not_sent(
        post("https://finns-inte.invalid/?token=hemlig".parse().unwrap()).await,
        "connect",
    );
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_was_not_sent_to() {
    let mut url = server(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    url.set_scheme("https").unwrap();
    assert_not_sent(post(url).await, "tls");
}

#[tokio::test]
async fn a_stalled_handshake_ends_with_the_connect_timeout_and_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("https://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let silent = tokio::spawn(async move {
        let held = listener.accept().await;
        std::future::pending::<()>().await;
        drop(held);
    });
    let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
    let transport = Transport::new(clock, Duration::from_millis(200)).unwrap();
    let request = transport.request(Method::POST, url).body("text");
    assert_not_sent(transport.send(request, Effect::Writes).await, "connect");
    silent.abort();
}

#[tokio::test]
async fn plain_http_never_leaves_the_machine() {
    for url in [
        "http://nassjo.example/?token=hemlig",
        "http://192.0.2.1/",
        "ftp://127.0.0.1/",
    ] {
        assert_not_sent(post(url.parse().unwrap()).await, "address");
    }
}

#[tokio::test]
async fn a_cut_at_any_point_of_the_answer_leaves_a_write_unknown() {
    for answer in [
        b"".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(),
        ok("Content-Length: 100\r\n", b"{\"id\":"),
        ok("Transfer-Encoding: chunked\r\n", b"5\r\n{\"id\""),
        b"not http at all\r\n\r\n".to_vec(),
    ] {
        assert_unknown(post(server(answer.clone()).await).await, "cut");
        assert_not_sent(get(server(answer).await).await, "cut");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_never_followed() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            trap.local_addr().unwrap()
        );
        assert_eq!(
            post(server(answer.into_bytes()).await).await.unwrap().status,
            status
        );
    }
    let caught = tokio::time::timeout(Duration::from_millis(50), trap.accept()).await;
    assert!(caught.is_err(), "someone followed the redirect");
}

#[tokio::test]
async fn no_more_than_the_cap_is_read() {
    let fits = ok(&format!("Content-Length: {READ_CAP}\r\n"), &vec![b'a'; READ_CAP]);
    assert_eq!(post(server(fits).await).await.unwrap().body.len(), READ_CAP);
    let large = ok("", &vec![b'a'; READ_CAP + 1]);
    assert_unknown(post(server(large.clone()).await).await, "too-large");
    assert_not_sent(get(server(large).await).await, "too-large");
}

#[tokio::test]
async fn a_gzip_bomb_is_stopped_at_the_cap() {
    let packed = gzip_of_zeros(64 * 1024 * 1024);
    assert!(packed.len() < READ_CAP / 8);
    let answer = ok(
        &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len()),
        &packed,
    );
    assert_unknown(post(server(answer).await).await, "too-large");
}

#[tokio::test]
async fn an_answer_with_countless_headers_is_refused() {
    let headers = "X-Header: a\r\n".repeat(100_000);
    let result = post(server(ok(&headers, b"{}")).await).await;
    assert_unknown(result, "cut");
}

#[tokio::test]
async fn nothing_answered_can_make_the_reader_panic() {
    let bodies: &[&[u8]] = &[b"", b"<html>", b"NaN", b"{\"id\":NaN}", b"\"\xff\xfe\"", b"[1"];
    for body in bodies {
        assert!(post(server(ok("", body)).await).await.unwrap().json().is_none());
    }
    let deep = "[".repeat(100_000);
    assert!(
        post(server(ok("", deep.as_bytes())).await)
            .await
            .unwrap()
            .json()
            .is_none()
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_built_was_not_sent() {
    let transport = transport();
    let request = transport
        .request(Method::POST, "http://127.0.0.1:1/?token=hemlig".parse().unwrap())
        .header("x-bad", "a\r\nhemlig");
    assert_not_sent(transport.send(request, Effect::Writes).await, "request");
}

#[tokio::test]
async fn a_request_with_points_of_death_is_the_same_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/a", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let heard = tokio::spawn(async move {
        let mut both = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.ends_with("text") {
                let mut buffer = [0; 1024];
                let n = stream.read(&mut buffer).await.unwrap();
                request.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
            }
            stream.write_all(&ok("", b"")).await.unwrap();
            both.push(request);
        }
        both
    });
    let client = transport().client;
    let request = || client.post(url.clone()).body("text").build().unwrap();
    client.execute(request()).await.unwrap();
    points::execute(&client, request()).await.unwrap();
    let both = heard.await.unwrap();
    assert!(both[0].contains("content-length: 4\r\n"), "{}", both[0]);
    assert_eq!(both[0], both[1]);
}

fn answer_with(retry_after: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
    Answer {
        status: 429,
        headers,
        body: Vec::new(),
        at: NOW.parse().unwrap(),
    }
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let now: Timestamp = NOW.parse().unwrap();
    let at = |text| answer_with(text).retry_after();
    assert_eq!(at("20"), Some(now + SignedDuration::from_secs(20)));
    assert_eq!(at("0"), Some(now));
    assert_eq!(
        at("Mon, 23 Nov 2026 03:00:20 GMT"),
        Some(now + SignedDuration::from_secs(20))
    );
    assert_eq!(
        at("Sun, 06 Nov 1994 08:49:37 GMT"),
        Some(now),
        "never in the past"
    );
}

#[test]
fn an_absurd_retry_after_neither_overflows_nor_is_guessed_at() {
    let now: Timestamp = NOW.parse().unwrap();
    let at = |text| answer_with(text).retry_after();
    assert_eq!(
        at("315360000"),
        Some(now + SignedDuration::from_secs(315_360_000)),
        "ten years are ten years"
    );
    assert!(at("99999999999999999999999999").unwrap() > now);
    assert!(at("18446744073709551615").unwrap() > now);
    for garbage in ["-1", "", "soon", "1.5", "+5", "20 s", "Mon, 99 Nov 2026"] {
        assert_eq!(at(garbage), None, "{garbage:?}");
    }
}

#[test]
fn addresses_are_built_below_a_base_with_a_path() {
    let base: Url = "http://127.0.0.1:1/live/acct".parse().unwrap();
    let url = below(&base, ["api", "v1", "statuses", "a/../b?c"]);
    assert_eq!(
        url.as_str(),
        "http://127.0.0.1:1/live/acct/api/v1/statuses/a%2F..%2Fb%3Fc"
    );
    let base: Url = "https://social.example/".parse().unwrap();
    assert_eq!(
        below(&base, ["api", "..", "v2"]).as_str(),
        "https://social.example/api/v2"
    );
}

/// `size` zero bytes, packed by the system's own gzip: no encoder is among the dependencies.
fn gzip_of_zeros(size: usize) -> Vec<u8> {
    let mut command = std::process::Command::new("gzip");
    command
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block = vec![0; 1024 * 1024];
        for _ in 0..size / block.len() {
            input.write_all(&block).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[test]
fn a_repeated_credential_is_blanked_wherever_it_stands() {
    let mut body = b"hemlig: bad token hemlig, hemlighemlig".to_vec();
    super::blank(&mut body, b"hemlig");
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "[redacted]: bad token [redacted], [redacted][redacted]"
    );
    let mut body = b"hem".to_vec();
    super::blank(&mut body, b"hemlig");
    assert_eq!(body, b"hem");
}
