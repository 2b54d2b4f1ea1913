use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::channel::testing::{self, parts, post, with_key};
use crate::clock::later;
use crate::model::{Kind as Does, Mode};

const SECOND: &str = "0193f5b0-0000-7000-8000-000000000002";

fn folder(path: &Path, html: bool, json: bool) -> Arc<dyn Channel> {
    let settings = Folder {
        place: Place::Path(path.to_owned()),
        formats: Formats { html, json },
    };
    settings.open(parts([])).unwrap()
}

fn update(mut post: Post) -> Post {
    post = with_key(post, SECOND);
    post.kind = Does::Update;
    post.accepted_at = later(post.accepted_at, Duration::from_mins(1));
    "Tankbil på Stortorget.\n\nhttps://nassjo.se/kris".clone_into(&mut post.rendering.text);
    post
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_page_says_who_what_when_and_where_to_read_more() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(dir.path(), true, true);
    let first = post("Koka vattnet.\nI minst tre minuter.\n\nhttps://nassjo.se/kris");
    account.publish(&first).await.unwrap();
    account.publish(&update(first)).await.unwrap();
    assert_eq!(names(dir.path()), ["2026-0007.html", "2026-0007.json"]);
    insta::assert_snapshot!(std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap());
    insta::assert_snapshot!(std::fs::read_to_string(dir.path().join("2026-0007.json")).unwrap());
    let mode = std::fs::metadata(dir.path().join("2026-0007.html")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_is_found_when_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for (html, json) in [(true, true), (true, false), (false, true)] {
        let path = dir.path().join(format!("{html}{json}"));
        std::fs::create_dir(&path).unwrap();
        let account = folder(&path, html, json);
        let post = post("Koka vattnet. https://nassjo.se/kris");
        let question = testing::question(post.clone());
        assert_eq!(account.settle(&question).await.unwrap(), Settled::Absent);
        let receipt = account.publish(&post).await.unwrap();
        assert_eq!(account.publish(&post).await.unwrap(), receipt);
        assert_eq!(account.settle(&question).await.unwrap(), Settled::Found(receipt));
        for name in names(&path) {
            std::fs::write(path.join(name), "annat").unwrap();
        }
        assert_eq!(account.settle(&question).await.unwrap(), Settled::Absent);
    }
}

#[tokio::test]
async fn a_late_repeat_of_an_older_broadcast_does_not_hide_the_newer() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(dir.path(), true, true);
    let first = post("Koka vattnet. https://nassjo.se/kris");
    account.publish(&first).await.unwrap();
    account.publish(&update(first.clone())).await.unwrap();
    let before = std::fs::read(dir.path().join("2026-0007.html")).unwrap();
    account.publish(&first).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("2026-0007.html")).unwrap(), before);
    let settled = account.settle(&testing::question(first)).await.unwrap();
    assert!(matches!(settled, Settled::Found(_)));
}

#[tokio::test]
async fn a_drill_is_marked_on_the_page_and_kept_out_of_search_engines() {
    let dir = tempfile::tempdir().unwrap();
    let mut drill = post("ÖVNING: Koka vattnet. https://nassjo.se/kris");
    drill.mode = Mode::Drill;
    folder(dir.path(), true, false).publish(&drill).await.unwrap();
    let html = std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap();
    assert!(
        html.contains("noindex") && html.contains("<strong>ÖVNING."),
        "{html}"
    );
    folder(dir.path(), true, false)
        .publish(&post("Koka vattnet."))
        .await
        .unwrap();
    let html = std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap();
    assert!(!html.contains("noindex") && !html.contains("ÖVNING"), "{html}");
}

#[tokio::test]
async fn nothing_in_a_text_becomes_markup() {
    let dir = tempfile::tempdir().unwrap();
    let mut hostile =
        post("<script>alert(1)</script> & \"'\n\njavascript:alert(1) https://nassjo.se/\"onclick=x");
    hostile.rendering.headline = "</title><script>".to_owned();
    folder(dir.path(), true, false).publish(&hostile).await.unwrap();
    let html = std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap();
    assert!(
        !html.contains("<script") && !html.contains("href=\"javascript"),
        "{html}"
    );
    assert!(!html.contains("\"onclick"), "{html}");
}

#[tokio::test]
async fn taking_away_removes_the_text_and_then_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(dir.path(), true, true);
    let first = post("Koka vattnet. https://nassjo.se/kris");
    let one = account.publish(&first).await.unwrap();
    let two = account.publish(&update(first)).await.unwrap();
    account.retract(&two).await.unwrap();
    let html = std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap();
    assert!(
        html.contains("tagits tillbaka") && html.contains("Koka vattnet."),
        "{html}"
    );
    let json = std::fs::read_to_string(dir.path().join("2026-0007.json")).unwrap();
    assert!(
        !html.contains("Tankbil") && !json.contains("Tankbil"),
        "{html}{json}"
    );
    account.retract(&two).await.unwrap();
    account.retract(&one).await.unwrap();
    assert!(names(dir.path()).is_empty());
    account.retract(&one).await.unwrap();
}

#[tokio::test]
async fn without_a_history_only_the_broadcast_that_stands_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(dir.path(), true, false);
    let first = post("Koka vattnet. https://nassjo.se/kris");
    let one = account.publish(&first).await.unwrap();
    let two = account.publish(&update(first)).await.unwrap();
    account.retract(&one).await.unwrap();
    assert_eq!(names(dir.path()), ["2026-0007.html"]);
    account.retract(&two).await.unwrap();
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn links_are_not_followed_and_what_a_crash_left_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside.txt");
    std::fs::write(&outside, "annans").unwrap();
    let drop = dir.path().join("drop");
    std::fs::create_dir(&drop).unwrap();
    symlink(&outside, drop.join("2026-0007.html")).unwrap();
    symlink(&outside, drop.join(".2026-0007.html.konto.vardkase-new")).unwrap();
    let account = folder(&drop, true, false);
    let post = post("Koka vattnet. https://nassjo.se/kris");
    let question = testing::question(post.clone());
    assert_eq!(account.settle(&question).await.unwrap(), Settled::Absent);
    account.publish(&post).await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "annans");
    assert_eq!(names(&drop), ["2026-0007.html"]);
    assert!(!drop.join("2026-0007.html").is_symlink());
}

#[tokio::test]
async fn an_error_of_the_disk_is_not_sent_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(&dir.path().join("saknas"), true, true);
    let post = post("x");
    for error in [
        account.publish(&post).await.unwrap_err(),
        account.verify().await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, SendError::NotSent(r) if r.text.contains("make the folder")),
            "{error}"
        );
    }
    let file = dir.path().join("fil");
    std::fs::write(&file, "").unwrap();
    let error = folder(&file, true, false).publish(&post).await.unwrap_err();
    assert!(
        matches!(&error, SendError::NotSent(r) if r.text.contains("must be a folder")),
        "{error}"
    );
}

#[tokio::test]
async fn verifying_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), true, true).verify().await.unwrap();
    assert!(names(dir.path()).is_empty());
}

#[test]
fn at_the_wall_each_account_has_a_folder_of_its_own() {
    let settings = Folder {
        place: Place::Path("/var/www/kris".into()),
        formats: Formats {
            html: true,
            json: true,
        },
    };
    let site = WallSite {
        base: "http://127.0.0.1:1/drill/skarm".parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: "/tmp/wall".into(),
    };
    assert_eq!(
        settings.at_wall(&site).addresses(),
        [("path", "/tmp/wall/skarm".to_owned())]
    );
    let served = Folder {
        place: Place::WebDav("https://nassjo.se/dav/kris".parse().unwrap()),
        ..settings
    };
    assert_eq!(
        served.at_wall(&site).addresses(),
        [("webdav", "http://127.0.0.1:1/drill/skarm".to_owned())]
    );
    let over_ssh = Folder {
        place: Place::Sftp(Server::at_wall(&crate::channel::testing::no_sftp())),
        ..served
    };
    assert_eq!(
        over_ssh.at_wall(&site).addresses(),
        [("sftp", "sftp://127.0.0.1:3/ovning/".to_owned())]
    );
}

#[test]
fn a_damaged_receipt_names_no_path() {
    for id in ["../../etc/passwd.html#x", "/etc/passwd.json", "x", ""] {
        let mut receipt = Receipt::of(id);
        receipt.version = Some(SECOND.to_owned());
        assert_eq!(told(&receipt), None, "{id}");
    }
}

#[tokio::test]
async fn an_edit_changes_the_message_where_it_stands_in_every_file_and_twice_is_once() {
    let dir = tempfile::tempdir().unwrap();
    for (html, json) in [(true, true), (true, false), (false, true)] {
        let path = dir.path().join(format!("{html}{json}"));
        std::fs::create_dir(&path).unwrap();
        let account = folder(&path, html, json);
        let receipt = account
            .publish(&post("Koka vattnet i Forserum. https://nassjo.se/kris"))
            .await
            .unwrap();
        let mut correction = with_key(post("Koka vattnet i Malmbäck. https://nassjo.se/kris"), SECOND);
        correction.kind = Does::Correction;
        let changed = account.edit(&receipt, &correction).await.unwrap();
        let read = || {
            let mut all = Vec::new();
            for name in names(&path) {
                all.push(std::fs::read_to_string(path.join(name)).unwrap());
            }
            all
        };
        let once = read();
        assert_eq!(once.len(), usize::from(html) + usize::from(json));
        for text in &once {
            assert!(text.contains("Malmbäck") && !text.contains("Forserum"), "{text}");
            assert!(!text.contains(SECOND), "it stays known by its own id: {text}");
        }
        assert_eq!(account.edit(&receipt, &correction).await.unwrap(), changed);
        assert_eq!(read(), once);
        // What was corrected can be taken away, and then not be corrected.
        account.retract(&changed).await.unwrap();
        assert_eq!(names(&path), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_edit_leaves_the_other_messages_alone_and_does_not_bring_back_what_was_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let account = folder(dir.path(), true, true);
    let first = post("Koka vattnet i Forserum. https://nassjo.se/kris");
    let receipt = account.publish(&first).await.unwrap();
    account.publish(&update(first)).await.unwrap();
    let correction = with_key(
        post("Koka vattnet i Malmbäck. https://nassjo.se/kris"),
        "0193f5b0-0000-7000-8000-000000000003",
    );
    account.edit(&receipt, &correction).await.unwrap();
    let html = std::fs::read_to_string(dir.path().join("2026-0007.html")).unwrap();
    assert!(
        html.contains("Tankbil") && html.contains("Malmbäck") && !html.contains("Forserum"),
        "{html}"
    );
    account.retract(&receipt).await.unwrap();
    let error = account.edit(&receipt, &correction).await.unwrap_err();
    assert_eq!(error.reason().code, "gone");
    // A page alone shows one message, and only that one can be changed.
    let other = tempfile::tempdir().unwrap();
    let account = folder(other.path(), true, false);
    let first = post("Koka vattnet. https://nassjo.se/kris");
    let receipt = account.publish(&first).await.unwrap();
    account.publish(&update(first)).await.unwrap();
    assert_eq!(
        account
            .edit(&receipt, &correction)
            .await
            .unwrap_err()
            .reason()
            .code,
        "gone"
    );
}
