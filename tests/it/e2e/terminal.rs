//! The command line on a real terminal: what is asked and shown before a live message goes, what a narrow screen shows,
//! and that nothing goes without a clear yes. The terminal is that of `script`, from util-linux.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use unicode_width::UnicodeWidthStr;

use crate::support::{Account, BINARY, PATIENCE, Plan, World};

/// Runs a command on a terminal of this width, types `answer` once `question` is on the screen, and gives the exit code
/// and all that was written.
async fn on_terminal(
    world: &World,
    columns: u16,
    args: &[&str],
    talk: Option<(&str, &str)>,
) -> (i32, String) {
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let line = format!(
        "stty cols {columns} rows 24; exec {BINARY} --config {} {}",
        world.config.display(),
        quoted.join(" ")
    );
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("VARDKASE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script is part of util-linux");
    let mut keyboard = child.stdin.take().unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut talk = talk;
    let read = async {
        let mut buffer = [0u8; 4096];
        loop {
            let n = screen.read(&mut buffer).await.unwrap_or(0);
            if n == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..n]);
            if let Some((question, answer)) = talk
                && String::from_utf8_lossy(&seen).contains(question)
            {
                talk = None;
                keyboard.write_all(answer.as_bytes()).await.unwrap();
                keyboard.flush().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the command never ended");
    let status = tokio::time::timeout(Duration::from_secs(5), child.wait())
        .await
        .unwrap()
        .unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(seen).unwrap())
}

/// What is written, without colours and without moving about.
fn plain(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter`
            for c in rest.by_ref() {
                if c.is_ascii_alphabetic() {
                    break;
                }
            }
        } else if c != '\r' {
            text.push(c);
        }
    }
    text
}

/// What the screen shows in the end: lines that were drawn over are gone.
fn shown(screen: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = screen.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let mut order = String::new();
                for c in rest.by_ref() {
                    order.push(c);
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
                let up = order.strip_prefix('[').and_then(|o| o.strip_suffix('A'));
                if let Some(up) = up {
                    // Up, and what follows clears to the end.
                    let up: usize = up.parse().unwrap();
                    let keep = lines.len() - 1 - up;
                    lines.truncate(keep);
                    lines.push(String::new());
                }
            }
            '\n' => lines.push(String::new()),
            '\r' => {}
            c => lines.last_mut().unwrap().push(c),
        }
    }
    lines
}

const SEND: [&str; 4] = ["send", "koka-vattnet", "-f", "omrade=Forserum"];
const QUESTION: &str = "to send it to the public: ";

fn two() -> Plan {
    Plan::of(vec![
        Account::new("mastodon", "mastodon"),
        Account::new("intranat", "webhook"),
    ])
}

#[tokio::test]
async fn nothing_goes_live_without_a_clear_yes() {
    let world = World::open(two()).await;
    let _daemon = world.start().await;
    for (answer, what) in [
        ("n\n", "no"),
        ("\n", "nothing"),
        ("ja\n", "a word"),
        ("3\n", "the wrong number"),
        ("\u{4}", "end of input"),
        ("\u{3}", "Ctrl-C"),
    ] {
        let (code, screen) = on_terminal(&world, 80, &SEND, Some((QUESTION, answer))).await;
        assert_eq!(code, 1, "{what}: {screen}");
        let screen = plain(&screen);
        for part in [
            "LIVE, initial: Koka",
            "2 accounts: intranat, mastodon",
            "nothing was sent",
        ] {
            assert!(screen.contains(part), "{what}: {screen}");
        }
    }
    assert_eq!(world.posts(), []);
    assert_eq!(world.get("/api/v1/broadcasts").await, serde_json::json!([]));

    // Where nobody can be asked, it says what to add.
    let said = world.cli(&SEND).await.ended(2);
    assert!(
        said.stderr.contains("--yes") && said.stderr.contains("vardkase preview"),
        "{said:?}"
    );
    assert_eq!(world.posts(), []);
}

#[tokio::test]
async fn a_yes_sends_and_the_table_ends_as_it_is() {
    let world = World::open(two()).await;
    let _daemon = world.start().await;
    world.fault("intranat", vardkase::wall::How::Delay(700), 1);
    let args = [&SEND[..], &["--wait"]].concat();
    let (code, screen) = on_terminal(&world, 120, &args, Some((QUESTION, "2\n"))).await;
    assert_eq!(code, 0, "{screen}");
    assert_eq!(world.posts().len(), 2);
    // It was drawn more than once, and over itself.
    assert!(screen.contains("\u{1b}[2A\u{1b}[J"), "{screen:?}");
    let lines = shown(&screen);
    for account in ["mastodon", "intranat"] {
        let of: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with(account) && line.contains("  "))
            .collect();
        assert_eq!(of.len(), 1, "{lines:#?}");
        assert!(of[0].contains("published") && of[0].contains(" s"), "{lines:#?}");
    }
    assert!(
        lines
            .iter()
            .any(|line| line.contains("2 of 2 published, completed")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_narrow_terminal_stays_readable() {
    let mut accounts = vec![Account::new("ett-konto-med-ett-langt-namn", "mastodon")];
    accounts.extend((1..30).map(|n| Account::new(format!("mottagare-{n:02}"), "webhook")));
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    world.fault("mottagare-03", vardkase::wall::How::Delay(500), 1);
    let args = [&SEND[..], &["--wait", "--yes"]].concat();
    let (code, screen) = on_terminal(&world, 40, &args, None).await;
    assert_eq!(code, 0, "{screen}");
    // While it lands, no row is wider than the screen and no drawing is taller: it could not be drawn over.
    let drawings: Vec<&str> = screen.split("A\u{1b}[J").collect();
    assert!(drawings.len() > 1, "{screen:?}");
    for drawing in &drawings[..drawings.len() - 1] {
        let rows: Vec<String> = plain(drawing).lines().map(str::to_owned).collect();
        assert!(rows.len() <= 24, "{rows:#?}");
        let table = rows.iter().filter(|row| !row.starts_with("accepted"));
        for row in table {
            assert!(row.width() <= 40, "{row:?}");
        }
    }
    assert!(plain(&screen).contains("more accounts"), "{screen}");
    // In the end all of it stands there, each account with its state, and every address whole.
    let lines = shown(&screen);
    let out = lines
        .iter()
        .filter(|line| line.contains("published") && !line.contains(" of ") && !line.contains(" via "))
        .count();
    assert_eq!(out, 30, "{lines:#?}");
    let post = world.posts_of("ett-konto-med-ett-langt-namn").remove(0);
    let addresses: Vec<&String> = lines
        .iter()
        .filter(|line| line.trim().starts_with("http"))
        .collect();
    assert!(
        addresses.iter().any(|line| line.contains(&post.remote_id)),
        "{lines:#?}"
    );
}
