//! What the adapters' unit tests share: a post, a question, and a server of a few lines that answers as told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::secrets::InMemory;
use super::{Parts, Transport};
use crate::clock::{SharedClock, TestClock, Timestamp};
use crate::model::{DeliveryId, Kind, Lang, Mode, Post, Purpose, Question, Rendering, Unit, Variant};

/// The moment at which the tests' posts were accepted.
pub(crate) fn accepted_at() -> Timestamp {
    "2026-11-23T15:58:06.123456Z".parse().unwrap()
}

/// A clock that stands ten seconds after that.
pub(crate) fn clock() -> SharedClock {
    Arc::new(TestClock::at(crate::clock::later(
        accepted_at(),
        Duration::from_secs(10),
    )))
}

/// A live first message with this text, which ends with the link.
pub(crate) fn post(text: &str) -> Post {
    Post {
        key: "0193f5b0-0000-7000-8000-000000000001".parse().unwrap(),
        alert: "2026-0007".parse().unwrap(),
        broadcast: "2026-0007.1".parse().unwrap(),
        kind: Kind::Initial,
        mode: Mode::Live,
        purpose: Purpose::Publish,
        rendering: Rendering {
            headline: "Koka vattnet i Nässjö".to_owned(),
            text: text.to_owned(),
            html: None,
            link: "https://nassjo.se/kris".parse().unwrap(),
            languages: vec![Lang::Sv],
            variant: Variant::Short,
            count: text.chars().count(),
            limit: None,
            unit: Unit::Characters,
            picture: None,
        },
        recipient: None,
        accepted_at: accepted_at(),
        valid_until: crate::clock::later(accepted_at(), Duration::from_hours(1)),
        root: None,
        parent: None,
        picture: None,
        steps: crate::model::Steps::default(),
    }
}

/// An SFTP server that nobody asks.
pub(crate) fn no_sftp() -> super::SftpSite {
    super::SftpSite {
        address: ([127, 0, 0, 1], 3).into(),
        host_key: "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    }
}

/// A post with another key.
pub(crate) fn with_key(mut post: Post, key: &str) -> Post {
    post.key = key.parse::<DeliveryId>().unwrap();
    post
}

/// The question what became of it.
pub(crate) fn question(post: Post) -> Question {
    Question {
        waited: std::time::Duration::ZERO,
        astray: std::time::Duration::ZERO,
        since: post.accepted_at,
        until: crate::clock::later(post.accepted_at, Duration::from_secs(20)),
        now: clock().now(),
        taken: Vec::new(),
        post,
    }
}

/// Parts with these secrets.
pub(crate) fn parts<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parts {
    Parts {
        account: "konto".parse().unwrap(),
        secrets: Arc::new(InMemory::of(secrets)),
        http: Transport::new(clock(), Duration::from_secs(2)).unwrap(),
        relays: Arc::from([]),
        relay_secrets: Arc::new(InMemory::default()),
        sender: "Nässjö kommun".to_owned(),
        domain: "nassjo.se".to_owned(),
    }
}

/// A request as the little server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `POST /path`.
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server that gives these answers, one per request, the last one for ever; an empty answer cuts the connection.
pub(crate) struct Server {
    /// `http://127.0.0.1:port`.
    pub base: url::Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Starts it.
    pub(crate) async fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut answers = answers.into_iter().peekable();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(request) = read(&mut stream).await else {
                    continue;
                };
                seen.lock().unwrap().push(request);
                let answer = answers.next().unwrap_or_default();
                if answers.peek().is_none() {
                    answers = vec![answer.clone()].into_iter().peekable();
                }
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Self { base, asked, task }
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Option<Asked> {
    let mut raw = Vec::new();
    let head_end = loop {
        if let Some(at) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(raw.get(..head_end)?).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap_or(0));
    while raw.len() < head_end + length {
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked {
        line,
        headers,
        body: raw.split_off(head_end),
    })
}

/// An answer in the form that [`Server`] takes.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        out.extend([name, ": ", value, "\r\n"]);
    }
    out.push_str("\r\n");
    out.push_str(body);
    out
}

/// A JSON answer.
pub(crate) fn json(status: u16, body: &str) -> String {
    answer(status, &[("content-type", "application/json")], body)
}
