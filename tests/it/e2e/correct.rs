//! One command corrects or takes back on every network, and says of each what could be done and what not.

use serde_json::{Value, json};

use crate::support::{Account, PRESS, Plan, World, list};

fn accounts() -> Vec<Account> {
    vec![
        Account::new("mastodon", "mastodon")
            .with("correction = \"edit\"")
            .with("pin = true")
            .with("fallback = \"reserv\""),
        Account::new("bluesky", "bluesky"),
        Account::new("facebook", "facebook-page"),
        Account::new("skarmar", "file").with("correction = \"edit\""),
        Account::new("linkedin", "linkedin").with("correction = \"edit\""),
        Account::new("press", "email"),
        Account::new("radio", "manual"),
        Account::new("reserv", "webhook"),
    ]
}

const TO: [&str; 14] = [
    "--to", "mastodon", "--to", "bluesky", "--to", "facebook", "--to", "skarmar", "--to", "linkedin", "--to",
    "press", "--to", "radio",
];

/// What is done on each account, as the command says it.
fn how(said: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list(said, "accounts")
        .iter()
        .map(|one| {
            assert!(one["why"].as_str().unwrap().len() > 10, "{one:#}");
            (text(&one["account"]), text(&one["how"]))
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(account, how): &(&str, &str)| ((*account).to_owned(), (*how).to_owned());
    expected.iter().map(own).collect()
}

#[tokio::test]
async fn one_command_corrects_everywhere_and_one_takes_back_what_can_be() {
    let world = World::open(Plan::of(accounts())).await;
    let _daemon = world.start().await;
    let (_, report) = world.send(&TO).await;
    let (alert, broadcast) = (
        report["alert"].as_str().unwrap(),
        report["broadcast"].as_str().unwrap(),
    );
    let said = world.cli(&["status", broadcast]).await;
    for line in ["pinned: mastodon", "reserv was not needed for mastodon"] {
        assert!(said.stdout.contains(line), "{said:?}");
    }

    // Without a yes nothing happens.
    world
        .cli(&[
            "correct",
            alert,
            "-f",
            "omrade=Malmbäck",
            "-f",
            "ratt=Det gäller Malmbäck.",
        ])
        .await
        .ended(2);
    let args = [
        "correct",
        broadcast,
        "-f",
        "omrade=Malmbäck",
        "-f",
        "ratt=Det gäller Malmbäck.",
        "--yes",
        "--wait",
        "--json",
    ];
    // The radio's person has not been there yet: not all is out.
    let corrected = world.cli(&args).await.ended(3).json();
    assert_eq!(corrected["broadcast"], format!("{alert}.2"));
    assert_eq!(
        how(&corrected),
        pairs(&[
            ("bluesky", "reply"),
            ("facebook", "new"),
            ("linkedin", "edit"),
            ("mastodon", "edit"),
            ("press", "new"),
            ("radio", "person"),
            ("skarmar", "edit"),
        ]),
        "{corrected:#}"
    );
    let linkedin = list(&corrected, "accounts")
        .iter()
        .find(|one| one["account"] == "linkedin")
        .unwrap();
    assert!(
        linkedin["why"]
            .as_str()
            .unwrap()
            .contains("a picture that it has stays"),
        "{linkedin:#}"
    );
    let posts = world.posts_of("mastodon");
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert!(
        posts[0].edited_at.is_some() && posts[0].pinned && posts[0].text.contains("Malmbäck"),
        "{posts:#?}"
    );
    let posts = world.posts_of("skarmar");
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert!(posts[0].text.contains("Malmbäck"), "{posts:#?}");
    let posts = world.posts_of("bluesky");
    assert_eq!(posts[1].in_reply_to.as_ref(), Some(&posts[0].remote_id));
    assert_eq!(world.posts_of("facebook").len(), 2);
    assert_eq!(world.posts_of("press").len(), 2 * PRESS.len());
    assert_eq!(world.posts_of("reserv"), []);

    // Only where it is asked for, as a table.
    let said = world
        .cli(&[
            "correct",
            alert,
            "-f",
            "omrade=Malmbäck",
            "-f",
            "ratt=Igen.",
            "--yes",
            "--wait",
            "--account",
            "bluesky",
        ])
        .await
        .ended(0);
    assert!(
        said.stdout.contains("reply") && !said.stdout.contains("facebook"),
        "{said:?}"
    );
    let said = world
        .cli(&["correct", alert, "--yes", "--account", "intranat"])
        .await
        .ended(1);
    assert!(said.stderr.contains("did not go to intranat"), "{said:?}");

    // The all-clear takes the pin away.
    let (_, last) = world
        .send(&["--alert", alert, "--kind", "all-clear", "--to", "mastodon"])
        .await;
    assert!(
        world.posts_of("mastodon").iter().all(|post| !post.pinned),
        "{last:#}"
    );
    let said = world
        .cli(&["status", last["broadcast"].as_str().unwrap()])
        .await
        .ended(0);
    assert!(said.stdout.contains("no longer pinned: mastodon"), "{said:?}");
    let said = world
        .cli(&["correct", alert, "--yes", "-f", "omrade=x", "-f", "ratt=y"])
        .await
        .ended(1);
    assert!(said.stderr.contains("has ended"), "{said:?}");

    let retract = [
        "retract", broadcast, "--yes", "--wait", "--json", "--reason", "fel ort",
    ];
    let gone = world.cli(&retract).await.ended(3).json();
    assert_eq!(
        how(&gone),
        pairs(&[
            ("bluesky", "take-away"),
            ("facebook", "take-away"),
            ("linkedin", "take-away"),
            ("mastodon", "take-away"),
            ("press", "cannot"),
            ("radio", "nothing"),
            ("skarmar", "take-away"),
        ]),
        "{gone:#}"
    );
    assert!(world.posts_of("mastodon")[0].deleted_at.is_some());
    // What stood there is kept, as it stood last.
    let folder = world.dir().join("diarium");
    world
        .cli(&["log", "export", folder.to_str().unwrap()])
        .await
        .ended(0);
    let lines = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let record = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|record| record["kind"] == "retract")
        .unwrap();
    let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["reason"], "fel ort");
    let copies = list(&body, "archive");
    assert_eq!(copies.len(), 6, "{body:#}");
    let copy = |account: &str| copies.iter().find(|copy| copy["account"] == account).unwrap();
    let edited = copy("mastodon");
    assert_eq!(edited["remote_id"], world.posts_of("mastodon")[0].remote_id);
    assert!(
        edited["text"].as_str().unwrap().contains("Malmbäck"),
        "{edited:#}"
    );
    assert!(
        edited["url"].is_string() && edited["published_at"].is_string(),
        "{edited:#}"
    );
    assert!(copy("facebook")["text"].as_str().unwrap().contains("Forserum"));
    assert_eq!(copy("press")["recipients"], PRESS.len());
    assert!(
        PRESS.iter().all(|address| !body.to_string().contains(address)),
        "{body:#}"
    );

    // A second time there is nothing left, and the table says why.
    let said = world.cli(&["retract", broadcast, "--yes"]).await.ended(0);
    assert!(said.stdout.contains("taken away already"), "{said:?}");
    assert!(
        said.stdout.contains("it never got out: it is superseded"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("reserv"), "{said:?}");
    let none: [Value; 0] = [];
    let again = world
        .cli(&["retract", broadcast, "--yes", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(list(&again, "by_daemon"), none, "{again:#}");
    assert_eq!(again["never"], json!(["press"]));
}
