//! Text messages on the practice wall: what the simulated service took is what the adapter says, per recipient.

use std::collections::BTreeMap;
use std::sync::Arc;

use vardkase::channel;
use vardkase::clock::SystemClock;
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{Mode, Post, Recipient, SendError, Settled};
use vardkase::wall::{How, Wall};

use crate::social::{LINK, Practice, TEXT, lost_answers, post};
use crate::support::{Account, Plan, World, states};

const KEYS: &str = "from = \"Nassjo\"\nlist = \"krisgrupp\"\nprice = \"0.35 SEK\"\nsettle_wait = \"200ms\"";

async fn practice() -> Practice {
    Practice::start("sms-46elks", KEYS).await
}

/// One of the numbers that belong to nobody.
fn number(n: usize) -> String {
    format!("+467017406{n:02}")
}

fn message(text: &str, n: usize) -> Post {
    Post {
        recipient: Some(Recipient::new(number(n))),
        ..post(text)
    }
}

#[tokio::test]
async fn each_recipient_of_the_same_words_is_told_apart_when_the_answer_was_lost() {
    let practice = practice().await;
    let lost = lost_answers();
    let mut found = BTreeMap::new();
    for (n, how) in lost.iter().enumerate() {
        let post = message(TEXT, n + 5);
        practice.strike("POST", how.clone());
        let err = practice.channel.publish(&post).await.unwrap_err();
        assert_eq!(err.as_str(), "unknown", "{how:?}: {err}");
        practice.assert_discreet(&err);
        assert!(!format!("{err} {err:?}").contains(number(n + 5).trim_start_matches('+')));
        let Settled::Found(receipt) = practice.settle(&post).await else {
            panic!("{how:?}: not found");
        };
        found.insert(receipt.remote_id, number(n + 5));
    }
    let ledger: BTreeMap<_, _> = practice
        .ledger()
        .into_iter()
        .map(|posted| (posted.remote_id, posted.recipient.unwrap()))
        .collect();
    assert_eq!(found, ledger);
    assert_eq!(ledger.len(), lost.len(), "each got it once");
}

#[tokio::test]
async fn a_message_that_never_arrived_is_absent_and_goes_out_once() {
    let practice = practice().await;
    // Somebody else's message with the same words is not taken for it.
    practice.channel.publish(&message(TEXT, 5)).await.unwrap();
    let post = message(TEXT, 6);
    practice.strike("POST", How::Cut);
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    assert_eq!(practice.settle(&post).await, Settled::Absent);
    practice.channel.publish(&post).await.unwrap();
    let to: Vec<_> = practice
        .ledger()
        .into_iter()
        .filter_map(|posted| posted.recipient)
        .collect();
    assert_eq!(to, [number(5), number(6)]);
}

#[tokio::test]
async fn a_message_far_back_in_the_history_is_found() {
    let practice = practice().await;
    let post = message(TEXT, 5);
    practice.strike("POST", How::DoneThenCut(vardkase::wall::CutAt::BeforeHeaders));
    assert_eq!(
        practice.channel.publish(&post).await.unwrap_err().as_str(),
        "unknown"
    );
    // What goes to others is not looked at.
    for n in 0..150 {
        practice
            .channel
            .publish(&message(TEXT, 6 + n % 90))
            .await
            .unwrap();
    }
    let Settled::Found(receipt) = practice.settle(&post).await else {
        panic!("not found");
    };
    assert_eq!(receipt.remote_id, practice.ledger()[0].remote_id);
    assert_eq!(practice.seen("GET"), 1, "one page is enough");
    for n in 0..250 {
        practice
            .channel
            .publish(&message(&format!("{TEXT} {n}"), 5))
            .await
            .unwrap();
    }
    assert_eq!(practice.settle(&post).await, Settled::Found(receipt));
    assert_eq!(practice.seen("GET"), 4, "a hundred a page");
}

#[tokio::test]
async fn the_wall_takes_what_46elks_takes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let wall = Wall::start(any, any, folder.path(), Arc::new(SystemClock))
        .await
        .unwrap();
    let kind = channel::kind("sms-46elks").unwrap();
    let site = wall.open_account(Mode::Drill, &"sms".parse().unwrap(), kind, "Nässjö kommun");
    let secrets: BTreeMap<_, _> = site.secrets.iter().cloned().collect();
    let client = reqwest::Client::builder().build().unwrap();
    let url = |path: &str| format!("{}{path}", site.site.base);
    let post = async |form: &[(&str, &str)]| {
        let request = client.post(url("/sms")).form(form);
        let request = request.basic_auth(&secrets["username"], Some(&secrets["password"]));
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    };
    let whole = [("from", "Nassjo"), ("to", "+46701740605"), ("message", "Hej")];
    let changed = |name: &'static str, value: &'static str| {
        let mut form: Vec<_> = whole.iter().copied().filter(|(key, _)| *key != name).collect();
        form.push((name, value));
        form
    };
    for refused in [
        vec![whole[0], whole[1]],
        vec![whole[1], whole[2]],
        vec![whole[0], whole[2]],
        changed("from", "Nässjö"),
        changed("from", "Na"),
        changed("from", "Nassjokommun"),
        changed("to", "0701740605"),
        changed("to", "+46701740605,+46701740606"),
        changed("message", ""),
        changed("dryrun", "true"),
        changed("whendelivered", "inte en adress"),
        changed("priority", "high"),
    ] {
        let (status, kind, text) = post(&refused).await;
        assert_eq!(status, 400, "{refused:?} {text}");
        assert!(kind.starts_with("text/plain") && !text.is_empty(), "{kind}");
    }
    assert!(wall.ledger().is_empty());
    let (status, _, text) = post(&changed("dryrun", "yes")).await;
    let dry: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &dry["estimated_cost"]), (200, &3500.into()));
    assert!(dry.get("id").is_none() && dry.get("created").is_none() && dry.get("cost").is_none());
    assert!(wall.ledger().is_empty(), "a dry run sends nothing");
    let (_, _, text) = post(&whole).await;
    let sent: serde_json::Value = serde_json::from_str(&text).unwrap();
    let id = sent["id"].as_str().unwrap();
    assert!(id.starts_with('s') && id.len() == 33, "{id}");
    assert!(!sent["created"].as_str().unwrap().ends_with('Z'));
    let stranger = client
        .get(url("/me"))
        .basic_auth("u1", Some("fel"))
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status().as_u16(), 401);
    assert_eq!(
        client.get(url("/me")).send().await.unwrap().status().as_u16(),
        401
    );

    // The page shows the message as it was counted, and nobody's number.
    let page = client
        .get(format!("http://{}/", wall.address()))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("till …05"), "{page}");
    assert!(!page.contains("46701740605"));
    for shown in ["Nassjo · ", "ett sms · GSM", "0.35 SEK", "class=\"feed phone"] {
        assert!(page.contains(shown), "{shown} is not on {page}");
    }
}

/// A daemon whose text messages are reported to it, on this port.
fn reported(port: u16) -> Plan {
    let sms = Account::new("sms", "sms-46elks").with(&format!(
        "whendelivered = \"http://127.0.0.1:{port}/reports/sms\""
    ));
    Plan::of(vec![sms]).daemon(&format!("public_listen = \"127.0.0.1:{port}\""))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn what_46elks_reports_later_is_counted_and_nobody_else_is_believed() {
    let port = free_port();
    let world = World::open(reported(port)).await;
    let _daemon = world.start().await;
    let (code, sent) = world.send(&["--to", "sms"]).await;
    assert_eq!(code, 0, "{sent:#}");
    let broadcast = sent["broadcast"].as_str().unwrap();
    let report = world
        .until(broadcast, "all arrived", |report| {
            report["arrivals"]["sms"]["delivered"] == 2
        })
        .await;
    assert_eq!(
        report["arrivals"]["sms"],
        serde_json::json!({"sent": 0, "delivered": 2, "failed": 0})
    );
    assert_eq!(states(&report, "sms"), ["published", "published"]);

    let delivery = report["deliveries"][0]["delivery"].as_str().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async |path: String, form: &[(&str, &str)]| {
        let url = format!("http://127.0.0.1:{port}{path}");
        let answer = client.post(url).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let failed = [("id", "s1"), ("status", "failed")];
    let forged = "0".repeat(64);
    for (path, status) in [
        (format!("/reports/sms?delivery={delivery}&token={forged}"), 403),
        (format!("/reports/sms?delivery={delivery}"), 403),
        ("/reports/sms".to_owned(), 403),
        (format!("/reports/nobody?delivery={delivery}&token={forged}"), 403),
        ("/api/v1/status".to_owned(), 404),
        ("/metrics".to_owned(), 404),
    ] {
        assert_eq!(
            call(path.clone(), &failed).await,
            (status, String::new()),
            "{path}"
        );
    }
    let long = "x".repeat(9000);
    assert_eq!(call("/reports/sms".to_owned(), &[("id", &long)]).await.0, 400);
    let after = world.report(broadcast).await;
    assert_eq!(after["arrivals"], report["arrivals"]);
    let journal = world.cli(&["log", "show", "--json"]).await.ended(0).stdout;
    assert_eq!(
        journal.matches("\"kind\":\"arrival\"").count(),
        4,
        "sent and delivered, twice: {journal}"
    );
}

#[tokio::test]
async fn an_empty_purse_stops_the_account_and_not_the_recipient() {
    let practice = practice().await;
    practice.strike(
        "POST",
        How::Answer {
            status: 403,
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: Some("Not enough credits".to_owned()),
        },
    );
    let err = practice.channel.publish(&message(TEXT, 5)).await.unwrap_err();
    assert!(
        matches!(&err, SendError::Credential(reason) if reason.text.contains("Not enough credits")),
        "{err}"
    );
    let stranger = practice.with_secret("password", "hemlig-men-fel");
    let err = stranger.publish(&message(TEXT, 5)).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    assert_eq!(practice.channel.verify().await.unwrap().name, "Nässjö kommun");
    assert!(practice.ledger().is_empty());
}

#[test]
fn the_longest_text_that_fits_the_parts_is_taken_and_priced() {
    let source = Source::new("config.toml", KEYS);
    let table = source.parse();
    let settings = (channel::kind("sms-46elks").unwrap().read)(&mut Section::root(&source, &table)).unwrap();
    let rule = settings.text_rule();
    let text = |letters: usize| format!("{} {LINK}", "å".repeat(letters - 1 - LINK.len()));
    for (letters, fits) in [(160, true), (161, true), (459, true), (460, false)] {
        let excess = vardkase::compose::count::excess(&text(letters), &rule);
        assert_eq!(excess.is_none(), fits, "{letters}: {excess:?}");
    }
    let cost = settings.cost(&text(459), 100).unwrap();
    assert_eq!(
        (cost.parts, cost.total.unwrap().to_string().as_str()),
        (3, "105.00 SEK")
    );
}
