//! `demo` through the real binary: alone in its folder, clean at its end, and as its exit code says.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{BINARY, PATIENCE, Said, list};

/// A demonstration; its temporary folder would lie in `temporary`.
fn demo(temporary: &Path, args: &[&str]) -> Child {
    Command::new(BINARY)
        .arg("demo")
        .args(args)
        .current_dir(temporary)
        .env("TMPDIR", temporary)
        .env_remove("VARDKASE_CONFIG")
        .env_remove("VARDKASE_FAILPOINT")
        .env_remove("VARDKASE_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn ended(child: Child) -> Said {
    let output = tokio::time::timeout(4 * PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the demonstration never ended").unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

/// Waits until a command against the demonstration says what is wanted.
async fn until(dir: &Path, args: &[&str], is: impl Fn(&Said) -> bool) -> Said {
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let command = Command::new(BINARY)
            .arg("--config")
            .arg(dir.join("config.toml"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = ended(command).await;
        if is(&said) {
            return said;
        }
        assert!(Instant::now() < until, "{args:?} never came so far: {said:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether the demonstration's drill has come to rest, as `status --json` tells it.
fn has_finished(said: &Said) -> bool {
    let status: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    list(&status, "broadcasts")
        .iter()
        .any(|report| report["finished_at"].is_string() && report["confirmation"]["state"] == "sent")
}

#[tokio::test]
async fn once_and_json_print_the_broadcast_and_nothing_else_and_leave_nothing() {
    let temporary = TempDir::new().unwrap();
    let said = ended(demo(temporary.path(), &["--once", "--json"]))
        .await
        .ended(0);
    assert_eq!(said.stderr, "");
    let mut objects = serde_json::Deserializer::from_str(&said.stdout).into_iter::<Value>();
    let report = objects.next().unwrap().unwrap();
    assert!(objects.next().is_none(), "{}", said.stdout);
    assert_eq!(
        (&report["mode"], &report["state"]),
        (&"drill".into(), &"completed".into()),
        "{report:#}"
    );
    assert_eq!(report["confirmation"]["state"], "sent", "{report:#}");
    // A card was drawn, with the font that is built in.
    let deliveries = list(&report, "deliveries");
    let instagram = deliveries.iter().find(|d| d["channel"] == "instagram").unwrap();
    assert_eq!(instagram["state"], "published");
    assert!(
        instagram["note"].as_str().unwrap().contains("card"),
        "{instagram:#}"
    );
    assert!(
        is_empty(temporary.path()),
        "{:?}",
        std::fs::read_dir(temporary.path())
    );
}

#[tokio::test]
async fn a_second_one_in_the_same_folder_is_refused_and_told_who_is_first() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("här");
    let args = ["--dir", dir.to_str().unwrap()];
    let first = demo(temporary.path(), &args);
    until(&dir, &["status", "--json"], has_finished).await;
    let before = std::fs::read(dir.join("config.toml")).unwrap();
    let began = Instant::now();
    let second = ended(demo(temporary.path(), &args)).await.ended(1);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let pid = format!("pid {}", first.id().unwrap());
    assert!(second.stderr.contains(&pid), "{second:?}");
    assert!(
        second.stderr.contains("--dir") && second.stdout.is_empty(),
        "{second:?}"
    );
    // A daemon on its configuration is refused as well.
    let daemon = until(&dir, &["serve"], |said| said.code != 0).await;
    assert!(daemon.stderr.contains(&pid), "{daemon:?}");
    // The first one works on, with the addresses that it wrote.
    assert_eq!(std::fs::read(dir.join("config.toml")).unwrap(), before);
    let more = [
        "send",
        "stromavbrott",
        "--mode",
        "drill",
        "-f",
        "omrade=Bodafors",
        "--to",
        "mastodon-nassjo",
        "--wait",
        "--json",
    ];
    let sent = until(&dir, &more, |said| said.code == 0).await;
    assert_eq!(sent.json()["state"], "completed");
    signal(&first, rustix::process::Signal::INT);
    ended(first).await.ended(0);
    // When it is gone the folder can be used again, and what is in it goes on.
    let again = ended(demo(
        temporary.path(),
        &[&args[..], &["--once", "--json"]].concat(),
    ))
    .await
    .ended(0);
    assert_eq!(
        again.json()["alert"],
        "ovning-2026-0003".replace("2026", &year(&again))
    );
}

/// The year that its alert is numbered in.
fn year(said: &Said) -> String {
    said.json()["accepted_at"]
        .as_str()
        .unwrap()
        .chars()
        .take(4)
        .collect()
}

#[tokio::test]
async fn a_configuration_of_ones_own_is_never_overwritten() {
    let temporary = TempDir::new().unwrap();
    let own = temporary.path().join("config.toml");
    std::fs::write(&own, "[municipality]\nname = \"Nässjö kommun\"\n").unwrap();
    let said = ended(demo(temporary.path(), &["--dir", ".", "--once", "--json"]))
        .await
        .ended(1);
    assert!(said.stderr.contains("left as it is"), "{said:?}");
    assert_eq!(
        std::fs::read_to_string(own).unwrap(),
        "[municipality]\nname = \"Nässjö kommun\"\n"
    );
}

#[tokio::test]
async fn a_signal_ends_it_cleanly_and_takes_its_folder_away() {
    use rustix::process::Signal;
    let its_folder = |temporary: &TempDir| {
        let mut entries = std::fs::read_dir(temporary.path()).unwrap();
        entries.next().map(|entry| entry.unwrap().path())
    };
    for end in [Signal::TERM, Signal::INT] {
        let temporary = TempDir::new().unwrap();
        let mut child = demo(temporary.path(), &[]);
        let until_there = Instant::now() + PATIENCE;
        let folder = loop {
            if let Some(folder) = its_folder(&temporary) {
                break folder;
            }
            assert!(Instant::now() < until_there, "no folder");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        until(&folder, &["status", "--json"], has_finished).await;
        // Only when it has said so itself does it wait for the signal.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Ctrl-C ends it.") {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(PATIENCE, told).await.unwrap());
        signal(&child, end);
        ended(child).await.ended(0);
        assert!(is_empty(temporary.path()), "{end:?}");

        // As soon as there is anything to take away.
        let child = demo(temporary.path(), &["--once", "--json"]);
        let until_there = Instant::now() + PATIENCE;
        while its_folder(&temporary).is_none() {
            assert!(Instant::now() < until_there, "no folder");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        signal(&child, end);
        let said = ended(child).await.ended(1);
        assert!(
            said.stdout.is_empty() && said.stderr.contains("ended by a signal"),
            "{said:?}"
        );
        assert!(is_empty(temporary.path()), "{end:?}");
    }
}

#[tokio::test]
async fn once_ends_with_the_exit_code_of_its_broadcast() {
    let temporary = TempDir::new().unwrap();
    let dir = temporary.path().join("dir");
    let child = demo(
        temporary.path(),
        &["--dir", dir.to_str().unwrap(), "--once", "--json"],
    );
    // The wall's address is known as soon as the configuration is written, before the daemon starts.
    let until_there = Instant::now() + PATIENCE;
    let wall = loop {
        let text = std::fs::read_to_string(dir.join("config.toml")).unwrap_or_default();
        if let Some((_, rest)) = text.split_once("site = \"http://") {
            break rest.split('/').next().unwrap().to_owned();
        }
        assert!(Instant::now() < until_there, "no configuration");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let refusal = json!({
        "mode": "drill", "account": "discord-fritid",
        "fault": { "how": { "answer": { "status": 400 } }, "path": null, "method": null, "after": 0, "times": 0 },
    });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let armed = client
        .post(format!("http://{wall}/_wall/faults"))
        .json(&refusal)
        .send()
        .await
        .unwrap();
    assert_eq!(armed.status(), 200, "{:?}", armed.text().await);
    let said = ended(child).await.ended(3);
    let report = said.json();
    assert_eq!(report["state"], "partial", "{report:#}");
    let refused: Vec<_> = list(&report, "deliveries")
        .iter()
        .filter(|d| d["state"] == "refused")
        .collect();
    assert_eq!(refused.len(), 1, "{report:#}");
    assert_eq!(refused[0]["account"], "discord-fritid");
}
