//! `file` over WebDAV: what lies in the folder is what was to be said, wherever the exchange is cut; and the same against
//! a real server where one is installed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use vardkase::channel::secrets::InMemory;
use vardkase::channel::{self, Channel, Parts, Transport};
use vardkase::clock::SystemClock;
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{Question, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, How};

use crate::real::installed;
use crate::social::{LINK, Practice, TEXT, post, reply};

async fn practice() -> Practice {
    Practice::start("file", "webdav = \"https://nassjo.se/dav/kris\"").await
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    let first = post(TEXT);
    let receipt = practice.channel.publish(&first).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(
        (ledger[0].text.as_str(), ledger[0].links.as_slice()),
        (TEXT, &[LINK.to_owned()][..])
    );
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(
        practice.channel.publish(&first).await.unwrap(),
        receipt,
        "a repeat changes nothing"
    );
    let second = practice
        .channel
        .publish(&reply("Nytt. Nässjö kommun.", &receipt))
        .await
        .unwrap();
    assert_eq!(practice.ledger().len(), 2);
    for receipt in [&second, &receipt] {
        practice.channel.retract(receipt).await.unwrap();
        practice.channel.retract(receipt).await.unwrap();
    }
    assert!(practice.ledger().iter().all(|posted| posted.deleted_at.is_some()));
    practice.channel.verify().await.unwrap();
}

/// Look at the JSON, put both files aside, move both.
const EXCHANGE: usize = 5;

#[tokio::test]
async fn cut_at_any_request_before_or_after_its_effect_both_files_come_to_stand_once() {
    for number in 0..EXCHANGE {
        for how in [
            How::Cut,
            How::DoneThenCut(CutAt::BeforeHeaders),
            How::DoneThenCut(CutAt::MidHeaders),
            How::DoneThenHang,
        ] {
            let practice = practice().await;
            let post = post(TEXT);
            practice.strike_at(number, how.clone());
            let attempt = practice.channel.publish(&post);
            let first = tokio::time::timeout(Duration::from_millis(500), attempt).await;
            let receipt = match first {
                Ok(Ok(receipt)) => receipt,
                Ok(Err(SendError::NotSent(_))) => {
                    assert!(practice.ledger().is_empty(), "{how:?} at {number}: it stands");
                    practice.channel.publish(&post).await.unwrap()
                }
                Ok(Err(SendError::Unknown(_))) | Err(_) => match practice.settle(&post).await {
                    Settled::Found(receipt) => receipt,
                    Settled::Absent => practice.channel.publish(&post).await.unwrap(),
                    Settled::Refused(reason) | Settled::Unclear(reason) => {
                        panic!("{how:?} at {number}: {reason}")
                    }
                },
                Ok(Err(other)) => panic!("{how:?} at {number}: {other}"),
            };
            let ledger = practice.ledger();
            let standing: Vec<_> = ledger
                .iter()
                .filter(|posted| posted.deleted_at.is_none())
                .collect();
            assert_eq!(standing.len(), 1, "{how:?} at {number}");
            assert_eq!(standing[0].text, TEXT);
            assert_eq!(
                practice.settle(&post).await,
                Settled::Found(receipt),
                "{how:?} at {number}"
            );
        }
    }
}

#[tokio::test]
async fn an_edit_cut_at_any_request_is_made_again_and_the_message_stands_corrected_once() {
    for number in 0..EXCHANGE {
        for how in [
            How::Cut,
            How::DoneThenCut(CutAt::BeforeHeaders),
            How::DoneThenCut(CutAt::MidHeaders),
        ] {
            let practice = practice().await;
            let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
            let correction = post("ÖVNING: Det gäller Malmbäck. Nässjö kommun. https://nassjo.se/kris");
            practice.strike_at(number, how.clone());
            let changed = match practice.channel.edit(&receipt, &correction).await {
                Ok(changed) => changed,
                Err(SendError::NotSent(_)) => practice.channel.edit(&receipt, &correction).await.unwrap(),
                Err(other) => panic!("{how:?} at {number}: {other}"),
            };
            let standing = practice.standing();
            assert_eq!(standing.len(), 1, "{how:?} at {number}");
            assert_eq!(standing[0].text, correction.rendering.text);
            assert_eq!(standing[0].remote_id, changed.remote_id);
            practice.channel.retract(&changed).await.unwrap();
            assert!(practice.standing().is_empty());
        }
    }
}

#[tokio::test]
async fn a_message_taken_away_with_a_cut_at_any_request_is_gone_and_the_others_stand() {
    for number in 0..EXCHANGE {
        for how in [
            How::Cut,
            How::DoneThenCut(CutAt::BeforeHeaders),
            How::DoneThenCut(CutAt::MidHeaders),
        ] {
            for others in [0, 1] {
                let practice = practice().await;
                let first = practice.channel.publish(&post(TEXT)).await.unwrap();
                if others > 0 {
                    let update = reply("Nytt. Nässjö kommun.", &first);
                    practice.channel.publish(&update).await.unwrap();
                }
                practice.strike_at(number, how.clone());
                match practice.channel.retract(&first).await {
                    Ok(()) => {}
                    Err(SendError::NotSent(_) | SendError::Unknown(_)) => {
                        practice.channel.retract(&first).await.unwrap();
                    }
                    Err(other) => panic!("{how:?} at {number}: {other}"),
                }
                let standing = practice.standing();
                assert_eq!(standing.len(), others, "{how:?} at {number}: {standing:#?}");
                assert!(
                    standing.iter().all(|posted| posted.text != TEXT),
                    "{how:?} at {number}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_shown_nowhere() {
    let practice = practice().await;
    let stranger = practice.with_secret("password", "hemlig-men-fel");
    let err = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.as_str(), "credential");
    assert!(!format!("{err:?} {stranger:?}").contains("hemlig-men-fel"));
    assert_eq!(stranger.verify().await.unwrap_err().as_str(), "credential");
    assert!(practice.ledger().is_empty());
}

/// A real server, stopped when the test ends.
struct WsgiDav(Child);

impl Drop for WsgiDav {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The account against a real server at this address.
fn account(base: &str) -> Arc<dyn Channel> {
    let keys = format!("webdav = \"{base}\"");
    let source = Source::new("config.toml", &keys);
    let table = source.parse();
    let mut section = Section::root(&source, &table);
    let settings = (channel::kind("file").unwrap().read)(&mut section).unwrap();
    section.finish();
    settings
        .open(Parts {
            account: "skarm".parse().unwrap(),
            secrets: Arc::new(InMemory::of([("username", "kris"), ("password", "hemlig")])),
            http: Transport::new(Arc::new(SystemClock), Duration::from_secs(2)).unwrap(),
            relays: Arc::from([]),
            relay_secrets: Arc::new(InMemory::default()),
            sender: "Nässjö kommun".to_owned(),
            domain: "nassjo.se".to_owned(),
        })
        .unwrap()
}

/// `scripts/test` puts WsgiDAV of PyPI into `target/wsgidav`; `VARDKASE_TEST_WSGIDAV` names another program.
#[tokio::test]
async fn a_real_server_takes_the_files_and_gives_them_back() {
    let elsewhere = std::env::var_os("VARDKASE_TEST_WSGIDAV").map(PathBuf::from);
    let ours = || installed("wsgidav", "bin/wsgidav").map(|folder| folder.join("bin/wsgidav"));
    let Some(program) = elsewhere.or_else(ours) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("kris")).unwrap();
    let number = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = dir.path().join("wsgidav.yaml");
    let yaml = format!(
        "host: 127.0.0.1\nport: {number}\nprovider_mapping:\n  '/': '{}'\nhttp_authenticator:\n  accept_basic: true\n  \
         accept_digest: false\n  default_to_digest: false\nsimple_dc:\n  user_mapping:\n    '*':\n      kris:\n        \
         password: hemlig\nlock_storage: false\n",
        root.display()
    );
    std::fs::write(&config, yaml).unwrap();
    let child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _server = WsgiDav(child);
    let account = account(&format!("http://127.0.0.1:{number}/kris"));
    let post = post(TEXT);
    let mut last = None;
    for _ in 0..200 {
        match account.publish(&post).await {
            Ok(receipt) => {
                last = Some(receipt);
                break;
            }
            Err(SendError::NotSent(reason)) if reason.code == "connect" => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let receipt: Receipt = last.expect("the server never came up");
    let page = std::fs::read_to_string(root.join("kris/ovning-2026-0001.html")).unwrap();
    assert!(page.contains("Bakterier &lt;E. coli&gt;"), "{page}");
    let names = || std::fs::read_dir(root.join("kris")).unwrap().count();
    assert_eq!(names(), 2, "no temporary file is left");
    // Over the old files, which an ordinary rename of some servers refuses.
    assert_eq!(account.publish(&post).await.unwrap(), receipt);
    let question = Question {
        waited: std::time::Duration::ZERO,
        astray: std::time::Duration::ZERO,
        until: post.accepted_at,
        since: post.accepted_at,
        now: post.accepted_at,
        taken: Vec::new(),
        post,
    };
    assert_eq!(
        account.settle(&question).await.unwrap(),
        Settled::Found(receipt.clone())
    );
    account.verify().await.unwrap();
    account.retract(&receipt).await.unwrap();
    assert_eq!(names(), 0);
}
