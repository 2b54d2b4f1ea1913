//! A picture with its words, from the command line to each service.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};
use vardkase::model::Mode;
use vardkase::wall::{Fault, How, Posted};

use crate::support::{Account, Plan, World, list, states};

const ALT: &str = "Karta över Forserum. Området där vattnet ska kokas är rödmarkerat.";

/// What a camera leaves in a file and nobody may read.
const TRACES: [&[u8]; 3] = [b"Exif", b"GPS-57.6521N", b"Kalle Karlsson"];

/// A photograph with its place and its photographer in it.
fn photograph() -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(300, 200, |x, y| {
        image::Rgb([u8::try_from(x % 256).unwrap(), u8::try_from(y % 256).unwrap(), 90])
    });
    let mut jpeg = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let plain = jpeg.into_inner();
    let segment = |marker: u8, content: &[u8]| {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker][..], &length, content].concat()
    };
    let mut bytes = plain[..2].to_vec();
    bytes.extend(segment(0xe1, b"Exif\0\0II*\0\x08\0\0\0\0\0GPS-57.6521N"));
    bytes.extend(segment(0xfe, b"tagen av Kalle Karlsson"));
    bytes.extend(&plain[2..]);
    bytes
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn keep(world: &World, name: &str, bytes: &[u8]) -> PathBuf {
    let file = world.dir().join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

fn only(world: &World, account: &str) -> Posted {
    let mut posts = world.posts_of(account);
    assert_eq!(posts.len(), 1, "{account}: {posts:#?}");
    posts.remove(0)
}

fn pictured() -> Vec<Account> {
    vec![
        Account::new("mastodon", "mastodon").with("settle_wait = \"1s\""),
        Account::new("bluesky", "bluesky"),
        Account::new("facebook", "facebook-page").with("settle_wait = \"1s\""),
        Account::new("instagram", "instagram").with("settle_wait = \"1s\""),
        Account::new("telegram", "telegram"),
        Account::new("press", "email"),
    ]
}

fn broken(world: &World, account: &str, path: &str) {
    let fault = Fault {
        how: How::Answer {
            status: 500,
            headers: Vec::new(),
            body: None,
        },
        path: Some(path.to_owned()),
        method: Some("POST".to_owned()),
        after: 0,
        times: 0,
    };
    world.wall.fault(Mode::Live, &account.parse().unwrap(), fault);
}

#[tokio::test]
async fn a_picture_goes_with_its_words_wherever_pictures_go_and_says_nothing_else() {
    let world = World::open(Plan::of(pictured())).await;
    let _daemon = world.start().await;
    let given = photograph();
    assert!(TRACES.iter().all(|trace| holds(&given, trace)));
    let file = keep(&world, "karta.jpg", &given);
    let with = ["--picture", file.to_str().unwrap(), "--alt", ALT];

    let what = ["preview", "koka-vattnet", "-f", "omrade=Forserum", "--json"];
    let preview = world.cli(&[&what[..], &with].concat()).await.ended(0).json();
    let of = |account: &str| {
        let found = list(&preview, "accounts")
            .iter()
            .find(|a| a["account"] == account);
        found.unwrap().clone()
    };
    for account in ["mastodon", "bluesky", "facebook", "instagram", "telegram"] {
        let picture = &of(account)["picture"];
        assert_eq!(
            (&picture["from"], &picture["alt"]),
            (&"command".into(), &ALT.into()),
            "{account}"
        );
        assert_eq!(
            (&picture["width"], &picture["height"]),
            (&300.into(), &200.into())
        );
    }
    assert!(of("press")["picture"].is_null());
    let without = list(&preview, "findings")
        .iter()
        .find(|f| f["check"] == "picture")
        .unwrap();
    assert!(
        without["text"]
            .as_str()
            .unwrap()
            .contains("följer inte med på press"),
        "{without:#}"
    );

    let (code, report) = world.send(&with).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    for account in ["mastodon", "bluesky", "facebook", "instagram", "telegram"] {
        let post = only(&world, account);
        assert_eq!(post.pictures.len(), 1, "{account}: {post:#?}");
        let picture = &post.pictures[0];
        // Telegram knows no such thing: what the picture shows stands in the caption.
        if account == "telegram" {
            assert!(post.text.contains(ALT), "{post:#?}");
        } else {
            assert_eq!(picture.alt, ALT, "{account}");
        }
        for trace in TRACES {
            assert!(
                !holds(&picture.bytes, trace),
                "{account} tells {}",
                String::from_utf8_lossy(trace)
            );
        }
    }
    assert_eq!(world.posts_of("press").len(), 2);

    // The journal has its digest and its words; the package for the registrar has the picture as well.
    let records = world.get("/api/v1/journal").await;
    let accept = records
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["kind"] == "accept")
        .unwrap();
    let body = accept["body"].as_str().unwrap();
    let digest = &only(&world, "mastodon").pictures[0].digest;
    assert!(body.contains(digest.as_str()) && body.contains(ALT), "{body}");
    assert!(body.len() < 20_000, "{} bytes", body.len());
    let folder = world.dir().join("diarium");
    world
        .cli(&["log", "export", folder.to_str().unwrap()])
        .await
        .ended(0);
    let kept = std::fs::read(folder.join(format!("pictures/{digest}.jpg"))).unwrap();
    assert_eq!(kept, only(&world, "mastodon").pictures[0].bytes);
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert!(
        sums.contains(&format!("{digest}  pictures/{digest}.jpg")),
        "{sums}"
    );
}

#[tokio::test]
async fn a_picture_that_cannot_be_uploaded_costs_the_picture_and_not_the_text() {
    let mut accounts = pictured();
    accounts.retain(|account| account.id != "press" && account.id != "instagram");
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    broken(&world, "mastodon", "/api/v2/media");
    broken(&world, "bluesky", "uploadBlob");
    broken(&world, "facebook", "/photos");
    let file = keep(&world, "karta.jpg", &photograph());
    let (code, report) = world
        .send(&["--picture", file.to_str().unwrap(), "--alt", ALT])
        .await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()), "{report:#}");
    for account in ["mastodon", "bluesky", "facebook"] {
        assert_eq!(only(&world, account).pictures, [], "{account}");
        let delivery = list(&report, "deliveries")
            .iter()
            .find(|d| d["account"] == account)
            .unwrap();
        let note = delivery["note"].as_str().unwrap_or_default();
        assert!(note.contains("without its picture"), "{delivery:#}");
    }
    assert_eq!(only(&world, "telegram").pictures.len(), 1);
    let said = world
        .cli(&["status", report["broadcast"].as_str().unwrap()])
        .await
        .ended(0);
    assert_eq!(said.stdout.matches("without its picture").count(), 3, "{said:?}");
    let mails = world.told(report["broadcast"].as_str().unwrap(), 2).await;
    assert!(mails["state"] == "completed");
    assert!(
        world.confirmations()[0].text.contains("without its picture"),
        "{}",
        world.confirmations()[0].text
    );
}

#[tokio::test]
async fn an_account_that_needs_a_picture_gets_a_card_when_there_is_none() {
    let world = World::open(Plan::of(vec![Account::new("instagram", "instagram")])).await;
    let what = ["preview", "koka-vattnet", "-f", "omrade=Forserum"];
    let preview = world
        .cli(&[&what[..], &["--json"]].concat())
        .await
        .ended(0)
        .json();
    assert_eq!(preview["accounts"][0]["picture"], json!({ "from": "card" }));
    let said = world.cli(&what).await.ended(0);
    assert!(said.stdout.contains("a card with the text"), "{said:?}");
}

#[tokio::test]
async fn a_wrong_picture_is_refused_before_anything_is_stored() {
    let world = World::open(Plan::of(vec![Account::new("mastodon", "mastodon")])).await;
    let _daemon = world.start().await;
    let good = keep(&world, "karta.jpg", &photograph());
    let text = keep(&world, "karta.pdf", b"%PDF-1.7 karta");
    let cut = keep(&world, "halv.jpg", &photograph()[..60]);
    let large = keep(&world, "stor.png", &vec![0; 10 * 1024 * 1024 + 1]);
    let (good, text, cut, large) = (
        good.to_str().unwrap(),
        text.to_str().unwrap(),
        cut.to_str().unwrap(),
        large.to_str().unwrap(),
    );
    let send = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"];
    for (more, word) in [
        (&["--picture", good][..], "--alt"),
        (&["--alt", ALT], "--picture"),
        (&["--picture", good, "--alt", "  "], "needs a description"),
        (&["--picture", text, "--alt", ALT], "neither a JPEG nor a PNG"),
        (&["--picture", cut, "--alt", ALT], "damaged"),
        (&["--picture", large, "--alt", ALT], "10.0 MB"),
        (&["--picture", "/finns/inte.jpg", "--alt", ALT], "cannot be read"),
    ] {
        let said = world.cli(&[&send[..], more].concat()).await.ended(2);
        assert!(said.stderr.contains(word), "{more:?}: {said:?}");
    }
    // Whoever asks the API itself is told the same.
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let body = |picture: Value| json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" }, "picture": picture });
    for (picture, status, word) in [
        (json!({ "file": encoded(&photograph()) }), 422, "alt"),
        (
            json!({ "file": encoded(&photograph()), "alt": "" }),
            400,
            "needs a description",
        ),
        (json!({ "file": "inte base64!", "alt": ALT }), 400, "base64"),
        (
            json!({ "file": encoded(b"GIF89a"), "alt": ALT }),
            400,
            "neither a JPEG nor a PNG",
        ),
        (
            json!({ "file": encoded(&photograph()[..60]), "alt": ALT }),
            400,
            "damaged",
        ),
        (
            json!({ "file": "A".repeat(14_260_000), "alt": ALT }),
            413,
            "length limit",
        ),
        (
            json!({ "file": encoded(&photograph()), "alt": ALT, "gps": true }),
            422,
            "gps",
        ),
    ] {
        for path in ["/api/v1/broadcasts", "/api/v1/previews"] {
            let (answered, problem) = world
                .ask("POST", path, Some(&body(picture.clone())), None)
                .await
                .unwrap();
            assert_eq!(answered, status, "{path}: {problem:#}");
            assert!(
                problem["detail"].as_str().unwrap().contains(word),
                "{path}: {problem:#}"
            );
        }
    }
    // Only messages may be that long.
    let long = json!({ "action": "retry", "reason": "x".repeat(300_000) });
    let (answered, _) = world
        .ask(
            "POST",
            "/api/v1/broadcasts/2026-0001.1/actions",
            Some(&long),
            None,
        )
        .await
        .unwrap();
    assert_eq!(answered, 413);
    assert_eq!(world.get("/api/v1/broadcasts").await, json!([]));
    assert_eq!(world.posts(), []);
    let (answered, _) = world
        .ask("GET", "/api/v1/pictures/0000", None, None)
        .await
        .unwrap();
    assert_eq!(answered, 404);
}

#[tokio::test]
async fn the_same_key_with_another_picture_is_another_command() {
    let world = World::open(Plan::of(vec![Account::new("mastodon", "mastodon")])).await;
    let _daemon = world.start().await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(photograph());
    let body = |alt: &str| {
        let picture = json!({ "file": encoded, "alt": alt });
        json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" }, "picture": picture })
    };
    let mut answers = Vec::new();
    for alt in [ALT, ALT, "Något annat"] {
        let answer = world
            .ask("POST", "/api/v1/broadcasts", Some(&body(alt)), Some("nyckel"))
            .await;
        answers.push(answer.unwrap());
    }
    let status: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(status, [202, 202, 422], "{answers:#?}");
    assert_eq!(answers[1].1["repeated"], true);
    world
        .until(answers[0].1["broadcast"].as_str().unwrap(), "out", |r| {
            r["state"] == "completed"
        })
        .await;
    only(&world, "mastodon");
}

#[tokio::test]
async fn a_crash_between_upload_and_post_neither_loses_nor_repeats_anything() {
    // The probe of the page is the first exchange of the daemon; then come the picture's and the post's.
    for (account, channel) in [
        ("mastodon", "mastodon"),
        ("facebook", "facebook-page"),
        ("bluesky", "bluesky"),
    ] {
        for point in ["response-read.after:2", "request-written.after:3"] {
            let one = Account::new(account, channel);
            let one = if channel == "bluesky" {
                one
            } else {
                one.with("settle_wait = \"1s\"")
            };
            let world = World::open(Plan::of(vec![one])).await;
            let file = keep(&world, "karta.jpg", &photograph());
            let mut daemon = world.spawn_with(&world.config, &[], &[("VARDKASE_FAILPOINT", point)]);
            world.ready(&mut daemon).await;
            let args = [
                "send",
                "koka-vattnet",
                "-f",
                "omrade=Forserum",
                "--yes",
                "--json",
                "--picture",
                file.to_str().unwrap(),
                "--alt",
                ALT,
            ];
            let said = world.cli(&args).await.ended(0);
            let broadcast = said.json()["broadcast"].as_str().unwrap().to_owned();
            let ended = daemon.ended(std::time::Duration::from_secs(25)).await;
            assert_eq!(ended, None, "{channel} {point}: it did not kill itself");
            // The file that was given is gone; what was accepted is in the database.
            std::fs::remove_file(&file).unwrap();
            let _again = world.start().await;
            let report = world
                .until(&broadcast, "completed", |r| r["state"] == "completed")
                .await;
            assert_eq!(states(&report, account), ["published"]);
            let post = only(&world, account);
            assert_eq!(post.pictures.len(), 1, "{channel} {point}: {post:#?}");
            assert_eq!(post.pictures[0].alt, ALT, "{channel} {point}");
        }
    }
}

#[tokio::test]
async fn a_prepared_message_may_bring_its_own_picture() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/templates/messages/koka-vattnet.toml"
    ));
    let own = own.unwrap().replacen(
        "version = ",
        "picture = \"koka.jpg\"\npicture_credit = \"Foto: kommunen\"\nversion = ",
        1,
    );
    let write = |alt: &str| {
        std::fs::write(folder.path().join("koka-vattnet.toml"), format!("{own}\n{alt}")).unwrap();
    };
    write("[alt]\nsv = \"En kastrull på en spis\"\nen = \"A pan on a stove\"\n");
    let accounts = vec![Account::new("mastodon", "mastodon")];
    let plan = Plan::of(accounts).daemon(&format!("messages = \"{}\"", folder.path().display()));
    std::fs::write(folder.path().join("koka.jpg"), photograph()).unwrap();
    let world = World::open(plan).await;
    let _daemon = world.start().await;
    let preview = ["preview", "koka-vattnet", "-f", "omrade=Forserum", "--json"];
    for (more, alt) in [
        (&[][..], "En kastrull på en spis"),
        (&["--lang", "en"], "A pan on a stove"),
    ] {
        let shown = world.cli(&[&preview[..], more].concat()).await.ended(0).json();
        let picture = &shown["accounts"][0]["picture"];
        assert_eq!(
            (&picture["from"], &picture["alt"]),
            (&"message".into(), &alt.into()),
            "{shown:#}"
        );
        assert_eq!(picture["credit"], "Foto: kommunen");
    }
    world.send(&[]).await;
    assert_eq!(only(&world, "mastodon").pictures[0].alt, "En kastrull på en spis");

    // What is wrong with it is told when the message is read.
    write("[alt]\nsv = \"En kastrull på en spis\"\n");
    let said = world.cli(&["check"]).await.ended(1);
    assert!(said.stdout.contains("alt.en"), "{said:?}");
    write("");
    let said = world.cli(&["check"]).await.ended(1);
    assert!(said.stdout.contains("[alt]"), "{said:?}");
    write("[alt]\nsv = \"En kastrull på en spis\"\nen = \"A pan on a stove\"\n");
    std::fs::write(folder.path().join("koka.jpg"), b"ingen bild").unwrap();
    let said = world.cli(&["check"]).await.ended(1);
    assert!(said.stdout.contains("neither a JPEG nor a PNG"), "{said:?}");
    std::fs::remove_file(folder.path().join("koka.jpg")).unwrap();
    let said = world.cli(&["check"]).await.ended(1);
    assert!(
        said.stdout.contains("koka.jpg") && said.stdout.contains("cannot be read"),
        "{said:?}"
    );
}

/// A world with this line of `[checks]`.
async fn with_checks(line: &str) -> World {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("telegram", "telegram"),
    ];
    let mut plan = Plan::of(accounts);
    plan.checks.push_str(line);
    World::open(plan).await
}

#[tokio::test]
async fn who_made_a_picture_is_noted_and_not_published() {
    const CREDIT: &str = "Foto: Eva Ek, egen bild 2026";
    let world = with_checks("").await;
    let _daemon = world.start().await;
    let file = keep(&world, "karta.jpg", &photograph());
    let bare = ["--picture", file.to_str().unwrap(), "--alt", ALT];
    let noted = [&bare[..], &["--credit", CREDIT]].concat();
    let what = ["preview", "koka-vattnet", "-f", "omrade=Forserum"];
    let findings = |preview: &Value| -> Vec<String> {
        let all = list(preview, "findings")
            .iter()
            .map(|f| f["check"].as_str().unwrap().to_owned());
        all.filter(|check| check == "picture-credit").collect()
    };
    let preview = world
        .cli(&[&what[..], &bare, &["--json"]].concat())
        .await
        .ended(0)
        .json();
    assert_eq!(findings(&preview).len(), 1, "{preview:#}");
    let preview = world
        .cli(&[&what[..], &noted, &["--json"]].concat())
        .await
        .ended(0)
        .json();
    assert_eq!(findings(&preview), Vec::<String>::new());
    assert_eq!(preview["accounts"][0]["picture"]["credit"], CREDIT, "{preview:#}");
    let said = world.cli(&[&what[..], &noted].concat()).await.ended(0);
    assert!(said.stdout.contains(CREDIT), "{said:?}");
    for wrong in ["  ", "två\nrader"] {
        let said = world
            .cli(&[&what[..], &bare, &["--credit", wrong]].concat())
            .await
            .ended(2);
        assert!(said.stderr.contains("one line"), "{said:?}");
    }

    world.send(&noted).await;
    for account in ["mastodon", "telegram"] {
        let post = only(&world, account);
        assert_eq!(post.pictures.len(), 1);
        assert!(!format!("{post:?}").contains("Eva Ek"), "{account} publishes it");
    }
    let folder = world.dir().join("diarium");
    world
        .cli(&["log", "export", folder.to_str().unwrap()])
        .await
        .ended(0);
    let records: String = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    assert!(records.contains(CREDIT));
}

#[tokio::test]
async fn a_picture_without_its_maker_can_be_stopped_or_let_through() {
    let world = with_checks("picture_credit = \"block\"").await;
    let _daemon = world.start().await;
    let file = keep(&world, "karta.jpg", &photograph());
    let send = [
        "send",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--yes",
        "--picture",
        file.to_str().unwrap(),
        "--alt",
        ALT,
    ];
    let said = world.cli(&send).await.ended(4);
    assert!(said.stderr.contains("STOP [picture-credit]"), "{said:?}");
    world
        .cli(
            &[
                &send[..],
                &["--override", "picture-credit=Fotografen ringer om en timme"],
            ]
            .concat(),
        )
        .await
        .ended(0);
    let off = with_checks("picture_credit = \"off\"").await;
    let file = keep(&off, "karta.jpg", &photograph());
    let what = [
        "preview",
        "koka-vattnet",
        "-f",
        "omrade=Forserum",
        "--picture",
        file.to_str().unwrap(),
        "--alt",
        ALT,
    ];
    let said = off.cli(&what).await.ended(0);
    assert!(!said.stdout.contains("picture-credit"), "{said:?}");
}
