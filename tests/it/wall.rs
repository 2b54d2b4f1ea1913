//! The practice wall itself: it answers as it is told to, and its ledger says what it truly took.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vardkase::channel;
use vardkase::clock::SystemClock;
use vardkase::model::{AccountId, Mode};
use vardkase::wall::{CutAt, Fault, How, Simulated, Wall};

const ANY: &str = "127.0.0.1:0";

struct Bench {
    wall: Wall,
    _folder: tempfile::TempDir,
    account: AccountId,
    site: Simulated,
    client: reqwest::Client,
}

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = ANY.parse().unwrap();
        let wall = Wall::start(any, any, folder.path(), Arc::new(SystemClock))
            .await
            .unwrap();
        let account: AccountId = "kommunens-sida".parse().unwrap();
        let kind = channel::kind("http-json").unwrap();
        let site = wall.open_account(Mode::Drill, &account, kind, "Nässjö kommun");
        Self {
            wall,
            _folder: folder,
            account,
            site,
            client: reqwest::Client::builder().build().unwrap(),
        }
    }

    fn strike(&self, how: How) {
        let fault = Fault {
            how,
            path: None,
            method: None,
            after: 0,
            times: 1,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }

    fn post(&self, key: &str) -> reqwest::RequestBuilder {
        self.client
            .post(self.site.site.base.as_str())
            .bearer_auth(&self.site.secrets[0].1)
            .header("idempotency-key", key)
            .json(&document(key))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.wall.address())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

fn document(id: &str) -> Value {
    json!({
        "version": 1, "id": id, "alert": "ovning-2026-0001", "broadcast": "ovning-2026-0001.1",
        "kind": "initial", "mode": "drill", "headline": "ÖVNING: Koka vattnet",
        "text": "ÖVNING: Koka vattnet 🚰\n<b>Nässjö kommun</b>. https://nassjo.se/kris",
        "link": "https://nassjo.se/kris", "languages": ["sv"],
        "published": "2026-11-23T15:00:00Z", "expires": "2999-01-01T00:00:00Z",
        "references": [], "sender": "Nässjö kommun"
    })
}

#[tokio::test]
async fn the_wall_is_not_open_to_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let any: SocketAddr = ANY.parse().unwrap();
    let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
    for (http, smtp) in [(open, any), (any, open)] {
        let refused = Wall::start(http, smtp, folder.path(), Arc::new(SystemClock)).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn a_stopped_wall_leaves_its_ports_free() {
    let bench = Bench::start().await;
    let (http, smtp) = (bench.wall.address(), bench.wall.smtp());
    let mut open = TcpStream::connect(http).await.unwrap();
    drop(bench);
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).await.ok();
    let folder = tempfile::tempdir().unwrap();
    Wall::start(http, smtp, folder.path(), Arc::new(SystemClock))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_can_be_cut_at_any_point_and_the_ledger_tells_what_was_done() {
    let bench = Bench::start().await;
    let points = [
        CutAt::BeforeHeaders,
        CutAt::Reset,
        CutAt::MidHeaders,
        CutAt::MidBody,
        CutAt::TruncatedJson,
    ];
    for (n, at) in points.into_iter().enumerate() {
        bench.strike(How::DoneThenCut(at));
        let answer = bench.post(&format!("cut-{n}")).send().await;
        match at {
            CutAt::BeforeHeaders | CutAt::Reset | CutAt::MidHeaders => drop(answer.unwrap_err()),
            CutAt::MidBody => drop(answer.unwrap().bytes().await.unwrap_err()),
            CutAt::TruncatedJson => {
                let body = answer.unwrap().bytes().await.unwrap();
                assert!(serde_json::from_slice::<Value>(&body).is_err());
            }
        }
        assert_eq!(bench.wall.ledger().len(), n + 1, "{at:?}");
    }
    bench.strike(How::Cut);
    bench.post("no").send().await.unwrap_err();
    assert_eq!(
        bench.wall.ledger().len(),
        points.len(),
        "a plain cut does nothing"
    );
    let answer = bench.post("yes").send().await.unwrap();
    assert_eq!(answer.status(), 201, "and then all is well again");
}

#[tokio::test]
async fn an_answer_can_be_replaced_delayed_or_left_out() {
    let bench = Bench::start().await;
    let answer = |status, done: bool| {
        let headers = vec![("retry-after".to_owned(), "7".to_owned())];
        let body = Some("<h1>fel</h1>".to_owned());
        if done {
            How::DoneThenAnswer {
                status,
                headers,
                body,
            }
        } else {
            How::Answer {
                status,
                headers,
                body,
            }
        }
    };
    for (n, done) in [false, true].into_iter().enumerate() {
        bench.strike(answer(503, done));
        let got = bench.post("a").send().await.unwrap();
        assert_eq!(
            (got.status().as_u16(), &got.headers()["retry-after"]),
            (503, &"7".parse().unwrap())
        );
        assert_eq!(got.text().await.unwrap(), "<h1>fel</h1>");
        assert_eq!(bench.wall.ledger().len(), n);
    }
    for how in [How::Hang, How::DoneThenHang, How::Trickle] {
        bench.strike(how);
        let late = bench.post("b").timeout(Duration::from_millis(300)).send().await;
        assert!(late.unwrap_err().is_timeout());
    }
    bench.strike(How::Delay(150));
    let begun = std::time::Instant::now();
    bench.post("b").send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(bench.wall.ledger().len(), 2);
}

#[tokio::test]
async fn an_answer_can_be_too_much() {
    let bench = Bench::start().await;
    bench.strike(How::Huge(3_000_000));
    let huge = bench.post("a").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(huge.len(), 3_000_000);
    bench.strike(How::Bomb(5_000_000));
    let bomb = bench.post("b").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bomb.len(), 5_000_000);
    bench.strike(How::ManyHeaders(100_000));
    bench.post("c").send().await.unwrap_err();
    bench.strike(How::ManyHeaders(20));
    let some = bench.post("d").send().await.unwrap();
    assert_eq!(some.headers()["x-filler-19"], "19");
    bench.strike(How::DoneThenBytes(vec![0xff, 0xfe]));
    let odd = bench.post("e").send().await.unwrap();
    assert_eq!(odd.status(), 201);
    assert_eq!(&odd.bytes().await.unwrap()[..], [0xff, 0xfe]);
    assert_eq!(bench.wall.ledger().len(), 5, "each of them was done");
}

#[tokio::test]
async fn a_request_is_told_of_before_anything_is_done_with_it() {
    let bench = Bench::start().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&told);
    bench.wall.on_request(move |seen| {
        keep.lock()
            .unwrap()
            .push((seen.path.clone(), seen.key.clone(), seen.status));
    });
    bench.post("a").send().await.unwrap();
    assert_eq!(*told.lock().unwrap(), [("/".to_owned(), Some("a".to_owned()), 0)]);
    let seen = bench.wall.seen();
    assert_eq!(
        (seen.len(), seen[0].status, seen[0].method.as_str()),
        (1, 201, "POST")
    );
}

#[tokio::test]
async fn another_process_can_read_the_ledger_and_order_faults() {
    let bench = Bench::start().await;
    let order = json!({
        "mode": "drill", "account": bench.account,
        "fault": {"how": {"answer": {"status": 418}}, "times": 0}
    });
    let faults = bench.url("/_wall/faults");
    let plain = bench
        .client
        .post(&faults)
        .body(order.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(
        plain.status(),
        415,
        "a web page elsewhere must not be able to order faults"
    );
    assert_eq!(
        bench
            .client
            .post(&faults)
            .json(&order)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(bench.post("a").send().await.unwrap().status(), 418);
    let heal = json!({"mode": "drill", "account": bench.account});
    bench
        .client
        .post(bench.url("/_wall/heal"))
        .json(&heal)
        .send()
        .await
        .unwrap();
    assert_eq!(bench.post("a").send().await.unwrap().status(), 201);
    let ledger: Vec<vardkase::wall::Posted> =
        serde_json::from_str(&bench.get("/_wall/ledger").await.1).unwrap();
    assert_eq!(ledger, bench.wall.ledger());
    let seen: Vec<vardkase::wall::Seen> = serde_json::from_str(&bench.get("/_wall/seen").await.1).unwrap();
    assert_eq!(seen.iter().map(|s| s.status).collect::<Vec<_>>(), [418, 201]);
    let accounts = bench.get("/_wall/accounts").await.1;
    assert!(accounts.contains("kommunens-sida") && !accounts.contains(&bench.site.secrets[0].1));
}

#[tokio::test]
async fn another_process_can_dress_an_account_and_nobody_sees_its_picture_with_a_credential() {
    let bench = Bench::start().await;
    let dress = |guise: Value| {
        let order = json!({"mode": "drill", "account": bench.account, "guise": guise});
        bench.client.post(bench.url("/_wall/guise")).json(&order).send()
    };
    assert_eq!(dress(json!({"colour": "red"})).await.unwrap().status(), 400);
    assert_eq!(
        dress(json!({"avatar": [137, 80, 78, 71]}))
            .await
            .unwrap()
            .status(),
        200
    );
    let picture = format!("{}/_avatar", bench.site.site.base);
    let answer = bench.client.get(&picture).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert_eq!(answer.bytes().await.unwrap(), &[137, 80, 78, 71][..]);
    let with_secret = bench.client.get(&picture).bearer_auth(&bench.site.secrets[0].1);
    assert_eq!(with_secret.send().await.unwrap().status(), 400);
    assert_eq!(dress(json!({"revoked": true})).await.unwrap().status(), 200);
    assert_eq!(bench.post("a").send().await.unwrap().status(), 401);
    assert_eq!(bench.get("/_wall/backstage").await, (200, "[]".to_owned()));
}

#[tokio::test]
async fn the_page_shows_what_residents_would_see() {
    let bench = Bench::start().await;
    let id = {
        let answer: Value = bench.post("a").send().await.unwrap().json().await.unwrap();
        answer["id"].as_str().unwrap().to_owned()
    };
    let (status, page) = bench.get("/").await;
    assert_eq!(status, 200);
    for part in [
        "ÖVNING</strong>",
        "🚰",
        "&lt;b&gt;Nässjö kommun&lt;&#x2f;b&gt;",
        "href=\"https:",
    ] {
        assert!(page.contains(part), "{part} is not on\n{page}");
    }
    assert!(!page.contains("<article class=\"deleted\""));
    let gone = bench.client.delete(format!("{}/{id}", bench.site.site.base));
    gone.bearer_auth(&bench.site.secrets[0].1).send().await.unwrap();
    assert!(bench.get("/").await.1.contains("<article class=\"deleted\""));
    let (status, page) = bench.get("/site/kris/koka-vattnet").await;
    assert!(status == 200 && page.contains("Nässjö kommun – (övningssida)"));
    assert_eq!(bench.get("/nowhere").await.0, 404);
}

/// Speaks SMTP line by line; returns the replies' codes.
async fn dialogue(address: SocketAddr, lines: &[&str]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut codes = vec![reply(&mut stream).await];
    for line in lines {
        stream.write_all(line.as_bytes()).await.unwrap();
        codes.push(reply(&mut stream).await);
    }
    codes
}

async fn reply(stream: &mut TcpStream) -> u16 {
    let mut text = Vec::new();
    loop {
        let byte = stream.read_u8().await;
        let Ok(byte) = byte else { return 0 };
        text.push(byte);
        let last = text.split(|b| *b == b'\n').rev().nth(1).unwrap_or_default();
        if byte == b'\n' && last.get(3) == Some(&b' ') {
            return std::str::from_utf8(&last[..3]).unwrap().parse().unwrap();
        }
    }
}

const MAIL: &str = "From: <kris@nassjo.se>\r\nDate: Mon, 23 Nov 2026 18:00:00 +0000\r\nMessage-ID: <1@nassjo.se>\r\n\
                    Subject: =?utf-8?q?K=C3=B6k?=\r\nX-Vardkase-Account: press\r\nX-Vardkase-Mode: drill\r\n\
                    Content-Transfer-Encoding: quoted-printable\r\n\r\n..K=C3=B6ket. https://nassjo.se/kris\r\n.\r\n";

#[tokio::test]
async fn a_mail_is_booked_for_the_account_that_it_names() {
    let bench = Bench::start().await;
    let codes = dialogue(
        bench.wall.smtp(),
        &[
            "EHLO vardkase\r\n",
            "MAIL FROM:<kris@nassjo.se>\r\n",
            "RCPT TO:<anna@example.se>\r\n",
            "DATA\r\n",
            MAIL,
            "QUIT\r\n",
        ],
    )
    .await;
    assert_eq!(codes, [220, 250, 250, 250, 354, 250, 221]);
    let ledger = bench.wall.ledger();
    let [mail] = &ledger[..] else { panic!("{ledger:?}") };
    assert_eq!((mail.account.as_str(), mail.mode), ("press", Mode::Drill));
    assert_eq!(mail.recipient.as_deref(), Some("anna@example.se"));
    assert_eq!(mail.subject.as_deref(), Some("Kök"));
    assert_eq!(mail.key.as_deref(), Some("<1@nassjo.se>"));
    assert_eq!(mail.text, ".Köket. https://nassjo.se/kris");
    assert_eq!(mail.links, ["https://nassjo.se/kris"]);
}

#[tokio::test]
async fn the_sink_takes_nothing_that_is_not_by_the_book() {
    let bench = Bench::start().await;
    let sink = bench.wall.smtp();
    let to_data = [
        "EHLO a\r\n",
        "MAIL FROM:<kris@nassjo.se>\r\n",
        "RCPT TO:<anna@example.se>\r\n",
        "DATA\r\n",
    ];
    let long = MAIL.replace("..K", &"x".repeat(999));
    let bare = MAIL.replace("..K=C3=B6ket.", "Slut\n.\nMAIL");
    let raw = MAIL.replace("=C3=B6ket", "öket");
    let twice = MAIL.replace("Subject:", "Subject: x\r\nSubject:");
    for message in [long, bare, raw, twice] {
        let mut lines = to_data.to_vec();
        lines.push(&message);
        let last = dialogue(sink, &lines).await.pop().unwrap();
        assert!((550..=554).contains(&last), "{last} to {message:?}");
    }
    assert_eq!(dialogue(sink, &["MAIL FROM:<a@b.se>\r\n"]).await, [220, 503]);
    assert_eq!(dialogue(sink, &["EHLO a\r\n", "DATA\r\n"]).await, [220, 250, 503]);
    assert_eq!(
        dialogue(sink, &["EHLO a\n", "EHLO a\rb\r\n"]).await,
        [220, 500, 501]
    );
    assert_eq!(bench.wall.ledger(), []);
}

#[tokio::test]
async fn the_sink_asks_for_a_login_when_told_to() {
    let bench = Bench::start().await;
    bench.wall.require_smtp_login("vardkase", "hemlig");
    let lines = [
        "EHLO a\r\n",
        "MAIL FROM:<a@b.se>\r\n",
        "AUTH PLAIN AHZhcmRrYXNlAGZlbA==\r\n",
        "AUTH PLAIN AHZhcmRrYXNlAGhlbWxpZw==\r\n",
        "MAIL FROM:<a@b.se>\r\n",
    ];
    assert_eq!(
        dialogue(bench.wall.smtp(), &lines).await,
        [220, 250, 530, 535, 235, 250]
    );
}

#[tokio::test]
async fn mail_faults_strike_at_the_stage_that_they_name() {
    let bench = Bench::start().await;
    let sink: AccountId = "smtp".parse().unwrap();
    let fault = |how, path: &str| Fault {
        how,
        path: Some(path.to_owned()),
        method: None,
        after: 0,
        times: 1,
    };
    let answer = |status| How::Answer {
        status,
        headers: vec![],
        body: Some("4.2.0 greylisted".into()),
    };
    let lines = [
        "EHLO a\r\n",
        "MAIL FROM:<kris@nassjo.se>\r\n",
        "RCPT TO:<anna@example.se>\r\n",
        "RCPT TO:<bo@example.se>\r\n",
        "DATA\r\n",
        MAIL,
    ];
    bench
        .wall
        .fault(Mode::Live, &sink, fault(answer(450), "rcpt:anna@"));
    assert_eq!(
        dialogue(bench.wall.smtp(), &lines).await,
        [220, 250, 250, 450, 250, 354, 250]
    );
    bench.wall.fault(Mode::Live, &sink, fault(answer(554), "connect"));
    assert_eq!(dialogue(bench.wall.smtp(), &[]).await, [554]);
    let press: AccountId = "press".parse().unwrap();
    bench.wall.fault(Mode::Drill, &press, fault(How::Cut, "dot"));
    assert_eq!(
        dialogue(bench.wall.smtp(), &lines).await,
        [220, 250, 250, 250, 250, 354, 0]
    );
    assert_eq!(bench.wall.ledger().len(), 1);
    let cut = How::DoneThenCut(CutAt::BeforeHeaders);
    bench.wall.fault(Mode::Drill, &press, fault(cut, "dot"));
    assert_eq!(
        dialogue(bench.wall.smtp(), &lines).await,
        [220, 250, 250, 250, 250, 354, 0]
    );
    assert_eq!(bench.wall.ledger().len(), 3, "the message was taken, for both");
}
