//! Properties that concern the whole process, each in a process of its own: what it holds in memory, what it logs.

use std::fmt::Write as _;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vardkase::clock::{Clock, SystemClock, later};
use vardkase::model::{Post, Receipt};
use vardkase::wall::{CutAt, How};

use super::lab::{self, Lab};
use super::{PATIENCE, channels, exchange};

const MIB: u64 = 1024 * 1024;

/// Runs one of the ignored tests below by itself.
fn alone(test: &str) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    let wrong = String::from_utf8_lossy(&done.stderr);
    assert!(
        told.contains("running 1 test"),
        "{test} was not run: {told}{wrong}"
    );
    assert!(done.status.success(), "{told}{wrong}");
    println!("{told}");
}

#[test]
fn no_answer_however_large_makes_the_process_grow() {
    alone("conformance::alone::memory");
}

#[test]
fn no_secret_shows_in_an_error_a_log_line_or_debug() {
    alone("conformance::alone::secrets");
}

/// A figure of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test]
#[ignore = "started by no_answer_however_large_makes_the_process_grow"]
async fn memory() {
    let http = lab::transport();
    let mut broken = Vec::new();
    for kind in channels().filter(|kind| Lab::is_networked(kind)) {
        let requests = exchange(&http, kind).await.unwrap();
        let hows = [
            How::Huge(1024 * MIB),
            How::Bomb(1024 * MIB),
            How::ManyHeaders(100_000),
        ];
        for (number, how) in (0..requests).flat_map(|number| hows.iter().map(move |how| (number, how))) {
            let lab = Lab::open(kind, &http).await;
            lab.strike(number, how.clone());
            std::fs::write("/proc/self/clear_refs", "5").unwrap();
            let before = status("VmRSS:");
            let outcome = lab.publish(&lab.post(), Duration::from_secs(20)).await;
            let grown = status("VmHWM:").saturating_sub(before);
            println!("{} request {number} {how:?}: grew {} KiB", kind.id, grown / 1024);
            if grown >= 16 * MIB {
                broken.push(format!(
                    "{} request {number} {how:?} grew {} MiB",
                    kind.id,
                    grown / MIB
                ));
            }
            // The last request is the one that publishes.
            if number + 1 == requests
                && let Err(error) = &outcome
                && error.as_str() != "unknown"
            {
                broken.push(format!("{} {how:?}: it was done, yet {error}", kind.id));
            }
        }
    }
    assert!(
        grows_without_a_cap(&http).await >= 32 * MIB,
        "this measures nothing"
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The measure measured: what a client that reads everything grows by.
async fn grows_without_a_cap(http: &vardkase::channel::Transport) -> u64 {
    let kind = vardkase::channel::kind("webhook").unwrap();
    let lab = Lab::open(kind, http).await;
    lab.strike(0, How::Huge(64 * MIB));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let client = reqwest::Client::builder().build().unwrap();
    let answer = client.get(lab.site.site.base.clone()).send().await.unwrap();
    let read = answer.bytes().await.unwrap().len() as u64;
    assert_eq!(read, 64 * MIB);
    status("VmHWM:").saturating_sub(before)
}

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
#[ignore = "started by no_secret_shows_in_an_error_a_log_line_or_debug"]
async fn secrets() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let http = lab::transport();
    let mut broken = Vec::new();
    let (mut canaries, mut lines) = (0, 0);
    for kind in channels().filter(|kind| !kind.can.by_hand) {
        let requests = if Lab::is_networked(kind) {
            exchange(&http, kind).await.unwrap()
        } else {
            1
        };
        for number in 0..requests {
            for how in hows() {
                let lab = Lab::open(kind, &http).await;
                let echoed = lab.sent_secrets().join(" ");
                lab.strike(number, with_echo(kind.id, how.clone(), &echoed));
                let mut shown = format!("{:?} {:#?} {:?}", lab.channel, lab.settings, lab.parts);
                let post = lab.post();
                let outcome = lab.publish(&post, PATIENCE).await;
                write!(shown, "{outcome:?} {outcome:#?}").unwrap();
                if let Err(error) = &outcome {
                    shown.push_str(&error.to_string());
                }
                shown.push_str(
                    &the_rest(&lab, &post, outcome.as_ref().ok(), &|| {
                        with_echo(kind.id, how.clone(), &echoed)
                    })
                    .await,
                );
                // Last, as it may renew what was echoed.
                let verified = lab.channel.verify().await;
                write!(shown, "{verified:?}").unwrap();
                let logged = std::mem::take(&mut *log.0.lock().unwrap());
                let logged = String::from_utf8_lossy(&logged).into_owned();
                lines += logged.lines().count();
                for secret in lab.canaries() {
                    canaries += 1;
                    for form in forms(&secret) {
                        if shown.contains(&form) {
                            broken.push(format!("{} request {number}: shown in {outcome:?}", kind.id));
                        }
                        if let Some(line) = logged.lines().find(|line| line.contains(&form)) {
                            let line: String = line.chars().take(200).collect();
                            broken.push(format!("{} request {number}: logged: {line}", kind.id));
                        }
                    }
                }
            }
        }
    }
    println!(
        "{canaries} canaries looked for in {lines} log lines, {} seen",
        broken.len()
    );
    assert!(canaries > 0 && lines > 0, "nothing was looked at");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// All else that an adapter does, each with its first request going wrong in this way: what it says of it.
async fn the_rest(lab: &Lab, post: &Post, receipt: Option<&Receipt>, how: &dyn Fn() -> How) -> String {
    let known = Receipt::of("1");
    let receipt = receipt.unwrap_or(&known);
    let now = SystemClock.now();
    let mut shown = String::new();
    lab.strike(0, how());
    write!(
        shown,
        "{:?}",
        lab.settle(post, now, later(now, Duration::from_mins(10))).await
    )
    .unwrap();
    lab.strike(0, how());
    write!(shown, "{:?}", lab.channel.edit(receipt, post).await).unwrap();
    lab.strike(0, how());
    write!(shown, "{:?}", lab.channel.pin(receipt).await).unwrap();
    lab.strike(0, how());
    write!(shown, "{:?}", lab.channel.retract(receipt).await).unwrap();
    lab.strike(0, how());
    write!(shown, "{:?}", lab.channel.profile().await).unwrap();
    lab.strike(0, how());
    write!(shown, "{:?}", lab.channel.backstage(post).await).unwrap();
    shown
}

/// A secret as it might be written.
fn forms(secret: &str) -> [String; 4] {
    [
        STANDARD.encode(format!("\0{}\0{secret}", lab::LOGIN.0)),
        secret.to_owned(),
        STANDARD.encode(secret),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ]
}

fn hows() -> Vec<How> {
    let answer = |status| How::Answer {
        status,
        headers: vec![],
        body: Some(String::new()),
    };
    vec![
        How::Delay(0),
        answer(400),
        answer(401),
        answer(429),
        answer(500),
        How::Cut,
        How::DoneThenCut(CutAt::TruncatedJson),
    ]
}

/// Services have been seen to repeat a token in what they say of it.
fn with_echo(kind: &str, how: How, secrets: &str) -> How {
    let How::Answer { status, headers, .. } = how else {
        return how;
    };
    let text = format!("the token {secrets} is not valid");
    let said = match kind {
        "facebook-page" | "instagram" | "threads" => serde_json::json!({
            "error": { "message": text, "type": "OAuthException", "code": 190, "fbtrace_id": "A" },
        }),
        "x" => {
            serde_json::json!({"title": "Unauthorized", "detail": text, "type": "about:blank", "status": 401})
        }
        "bluesky" => serde_json::json!({ "error": "InvalidToken", "message": text }),
        "telegram" => serde_json::json!({ "ok": false, "error_code": status, "description": text }),
        _ => serde_json::json!({ "error": text, "error_description": text, "message": text }),
    };
    How::Answer {
        status,
        headers,
        body: Some(said.to_string()),
    }
}
