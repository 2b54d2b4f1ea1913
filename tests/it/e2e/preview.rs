//! What would go where, to the letter: also on accounts that stand in for others, and if the page does not come out.

use serde_json::{Value, json};

use crate::support::{Account, FALLBACK, Plan, World, list, states};

/// What a preview says of an account.
fn of<'v>(preview: &'v Value, account: &str) -> &'v Value {
    let mut accounts = list(preview, "accounts").iter();
    accounts
        .find(|one| one["account"] == account)
        .unwrap_or_else(|| panic!("{account}: {preview:#}"))
}

const WHAT: [&str; 4] = ["preview", "koka-vattnet", "-f", "omrade=Forserum"];

#[tokio::test]
async fn an_account_that_stands_in_is_shown_and_stops_nobody() {
    let accounts = vec![
        Account::new("mastodon", "mastodon").with("fallback = \"notis\""),
        // No text is that short.
        Account::new("notis", "web-push").with("max_bytes = 100"),
        Account::new("intranat", "webhook").with("fallback = \"press\""),
        Account::new("press", "email"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let to = ["--to", "mastodon", "--to", "intranat"];
    let preview = world
        .cli(&[&WHAT[..], &to, &["--json"]].concat())
        .await
        .ended(0)
        .json();
    assert_eq!(preview["blocked"], false, "{preview:#}");
    let (notis, press) = (of(&preview, "notis"), of(&preview, "press"));
    assert_eq!(
        (&notis["stands_in_for"], &notis["text"]),
        (&"mastodon".into(), &Value::Null)
    );
    let finding = &notis["findings"][0];
    assert_eq!(
        (&finding["level"], &finding["check"]),
        (&"warn".into(), &"length".into()),
        "{notis:#}"
    );
    assert!(
        finding["text"]
            .as_str()
            .unwrap()
            .ends_with("notis ersätter då inte mastodon."),
        "{finding:#}"
    );
    assert_eq!(press["stands_in_for"], "intranat");
    assert!(press["text"].as_str().unwrap().contains("Forserum"), "{press:#}");
    assert!(of(&preview, "mastodon").get("stands_in_for").is_none());
    // In words as well, and the number of accounts that a person is asked for is of those that are meant.
    let said = world.cli(&[&WHAT[..], &to].concat()).await.ended(0);
    assert!(said.stdout.contains("stands in for intranat"), "{said:?}");
    let (_, asked) = world
        .ask(
            "POST",
            "/api/v1/previews",
            Some(&json!({
                "message": "koka-vattnet", "fields": { "omrade": "Forserum" }, "to": ["mastodon", "intranat"],
            })),
            None,
        )
        .await
        .unwrap();
    assert_eq!(of(&asked, "notis")["stands_in_for"], "mastodon", "{asked:#}");

    // It goes out, and the account that the text does not fit stands in for nobody.
    let (code, report) = world.send(&to).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(states(&report, "mastodon"), ["published"]);
    let standing_by = list(&report, "stand_ins");
    assert!(
        standing_by.iter().all(|one| one["account"] != "notis"),
        "{report:#}"
    );
    // Named by the command itself it is meant, and stops it.
    let said = world
        .cli(&[&WHAT[..], &["--to", "notis"]].concat())
        .await
        .ended(4);
    assert!(said.stdout.contains("STOP"), "{said:?}");
}

#[tokio::test]
async fn the_text_with_the_fallback_link_is_shown_beforehand() {
    let accounts = vec![
        Account::new("webb", "http-json").with("stage = \"first\""),
        Account::new("intranat", "webhook"),
        Account::new("mastodon", "mastodon"),
    ];
    let world = World::open(Plan::of(accounts).daemon("stage_deadline = \"60s\"")).await;
    let _daemon = world.start().await;
    let preview = world
        .cli(&[&WHAT[..], &["--json"]].concat())
        .await
        .ended(0)
        .json();
    assert!(
        of(&preview, "webb").get("alternative_text").is_none(),
        "{preview:#}"
    );
    let alternative = of(&preview, "intranat")["alternative_text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(alternative.trim_end().ends_with(FALLBACK), "{alternative}");
    assert!(
        !of(&preview, "intranat")["text"]
            .as_str()
            .unwrap()
            .contains(FALLBACK)
    );
    let said = world.cli(&WHAT).await.ended(0);
    assert!(
        said.stdout.contains("if the first stage does not get out:"),
        "{said:?}"
    );
    assert!(said.stdout.contains(FALLBACK), "{said:?}");
    // Nothing to wait for, nothing else to say.
    let alone = world
        .cli(&[&WHAT[..], &["--to", "mastodon", "--json"]].concat())
        .await
        .ended(0)
        .json();
    assert!(
        of(&alone, "mastodon").get("alternative_text").is_none(),
        "{alone:#}"
    );

    // It is what goes out, to the letter.
    let refused = vardkase::wall::How::Answer {
        status: 400,
        headers: Vec::new(),
        body: None,
    };
    world.fault("webb", refused, 1);
    world.send(&[]).await;
    assert_eq!(world.posts_of("intranat")[0].text, alternative);
}

#[tokio::test]
async fn each_part_that_people_see_is_shown_by_its_name() {
    let accounts = vec![
        Account::new("ntfy", "ntfy"),
        Account::new("press", "email"),
        Account::new("mastodon", "mastodon"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let preview = world
        .cli(&[&WHAT[..], &["--json"]].concat())
        .await
        .ended(0)
        .json();
    let shown = |account: &str| -> Vec<(String, String)> {
        let parts = list(of(&preview, account), "shown").iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        parts
            .map(|part| (text(&part["part"]), text(&part["text"])))
            .collect()
    };
    let names = |account: &str| {
        shown(account)
            .into_iter()
            .map(|(part, _)| part)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("ntfy"), ["title", "text", "priority", "tags", "opens"]);
    assert_eq!(names("press"), ["subject", "body"]);
    assert_eq!(
        shown("mastodon")[0].1,
        of(&preview, "mastodon")["text"].as_str().unwrap()
    );
    let said = world.cli(&WHAT).await.ended(0);
    assert!(
        said.stdout.contains("subject: Koka dricksvattnet i Forserum"),
        "{said:?}"
    );
    assert!(said.stdout.contains("priority: 5 of 5"), "{said:?}");
}

#[tokio::test]
async fn an_account_that_needs_longer_than_its_stand_in_waits_is_told_beforehand() {
    let accounts = vec![
        Account::new("whatsapp", "whatsapp")
            .with("rate = \"1/1h\"")
            .with("burst = 1")
            .with("fallback = \"sms\"")
            .with("fallback_after = \"3m\""),
        Account::new("sms", "sms-46elks"),
        Account::new("press", "email").with("fallback = \"sms\""),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let preview = world
        .cli(&[&WHAT[..], &["--to", "whatsapp", "--to", "press", "--json"]].concat())
        .await
        .ended(0)
        .json();
    let texts = |account: &str| {
        let findings = list(of(&preview, account), "findings");
        let said = findings.iter().filter(|finding| finding["check"] == "fallback");
        said.map(|finding| finding["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let slow = texts("whatsapp");
    assert!(
        slow.len() == 1 && slow[0].contains("men sms tar över efter 3 min"),
        "{preview:#}"
    );
    assert_eq!(
        texts("press"),
        ["sms kan inte ersätta press: listorna har olika slags adresser."],
        "{preview:#}"
    );
    assert_eq!(of(&preview, "sms")["stands_in_for"], "whatsapp");
    assert!(of(&preview, "sms").get("also_for").is_none());
}
