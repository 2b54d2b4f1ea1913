//! What a command wishes of a channel that the channel cannot do, and what a service would refuse: told before anything
//! goes out, not found out afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use vardkase::app::plan;
use vardkase::app::request::{PictureRequest, SendRequest};
use vardkase::channel::{Capabilities, REGISTRY, Transport};
use vardkase::check::{Finding, Level};
use vardkase::clock::{Clock, SystemClock};
use vardkase::config::Config;
use vardkase::model::{Kind, Mode};

/// The configuration that comes with the program, with more lines for one account. Its site is this machine, so that
/// looking at the page goes nowhere.
fn shipped(account: &str, more: &str) -> Result<Config, vardkase::config::Problems> {
    let text = include_str!("../../config.toml");
    let header = format!("[account.{account}]\n");
    assert!(text.contains(&header), "{account}");
    let text = text
        .replace("site = \"https://nassjo.se\"", "site = \"http://127.0.0.1:9\"")
        .replacen(&header, &format!("{header}{more}\n"), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(&file)
}

fn request(to: &[&str], kind: Kind) -> SendRequest {
    SendRequest {
        message: "koka-vattnet".parse().unwrap(),
        fields: fields(kind),
        to: to.iter().map(|&name| name.to_owned()).collect(),
        mode: Some(Mode::Live),
        languages: vec!["sv".parse().unwrap()],
        alert: (kind != Kind::Initial).then(|| "2026-0001".parse().unwrap()),
        kind: Some(kind),
        picture: None,
        overrides: BTreeMap::new(),
    }
}

/// The examples of the fields that a message of this kind wants.
fn fields(kind: Kind) -> BTreeMap<String, String> {
    let messages = vardkase::compose::messages::load(None).messages;
    let message = &messages["koka-vattnet"];
    let fields = message.fields.iter().filter(|field| field.is_asked_for(kind));
    let example = |field: &vardkase::compose::Field| field.example[&vardkase::model::Lang::Sv].clone();
    fields.map(|field| (field.name.clone(), example(field))).collect()
}

/// What is said of a command.
async fn said(config: &Config, request: &SendRequest) -> Vec<Finding> {
    let http = Transport::new(Arc::new(SystemClock), Duration::from_secs(1)).unwrap();
    let draft = plan::draft(
        config,
        request,
        &BTreeSet::new(),
        request.mode,
        SystemClock.now(),
        &http,
    )
    .await;
    let mut findings = draft.unwrap().findings;
    // Nobody answers on this machine.
    findings.retain(|finding| finding.check != "link");
    findings
}

fn picture() -> PictureRequest {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(400, 400)
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    PictureRequest {
        file: base64::engine::general_purpose::STANDARD.encode(png.into_inner()),
        alt: "En svart ruta".to_owned(),
        credit: Some("Foto: Eva Ek, egen bild".to_owned()),
    }
}

#[tokio::test]
async fn every_wish_that_a_channel_cannot_fulfil_is_told() {
    let config = shipped("webb-nassjo", "").unwrap();
    let mut told = BTreeMap::<&str, Vec<&str>>::new();
    for kind in REGISTRY {
        let account = config
            .accounts
            .values()
            .find(|a| a.channel.id == kind.id)
            .unwrap();
        let id = account.id.as_str();
        // A capability that is added has to be decided on here.
        let Capabilities {
            thread,
            edit,
            retract,
            pin,
            picture: shows,
            // Not wished by a command: the link stands in the text, the proof is shown, and the rest is what a channel is.
            link_card: _,
            proof: _,
            recipients: _,
            profile: _,
            backstage: _,
            by_hand,
        } = kind.can;
        // What is configured is refused with the configuration.
        for (can, line, key) in [
            (edit, "correction = \"edit\"", "correction"),
            (pin, "pin = true", "pin"),
        ] {
            let loaded = shipped(id, line);
            assert_eq!(loaded.is_ok(), can, "{id} {line}");
            if let Err(problems) = loaded {
                let expected = format!("account.{id}.{key}");
                assert!(problems.0.iter().any(|p| p.key == expected), "{problems}");
                told.entry(key).or_default().push(id);
            }
        }
        let mut pictured = request(&[id], Kind::Initial);
        pictured.picture = Some(picture());
        for (can, wish, request, check, words) in [
            (
                thread,
                "update",
                request(&[id], Kind::Update),
                "capability",
                "fristående",
            ),
            (
                thread,
                "correction",
                request(&[id], Kind::Correction),
                "capability",
                "fristående",
            ),
            (
                thread,
                "all-clear",
                request(&[id], Kind::AllClear),
                "capability",
                "fristående",
            ),
            (
                retract,
                "retract",
                request(&[id], Kind::Initial),
                "capability",
                "ta tillbaka",
            ),
            (shows, "picture", pictured, "picture", "följer inte med"),
        ] {
            let findings = said(&config, &request).await;
            let told_of = findings.iter().any(|finding| {
                let names = |text: &str| text.split([' ', ',', ':', '.']).any(|word| word == id);
                finding.check == check
                    && finding.level == Level::Warn
                    && finding.text.contains(words)
                    && names(&finding.text)
            });
            // A person who publishes by hand sees to all of it, and cannot be given the picture in the text.
            let expected = !can && (!by_hand || wish == "picture");
            if expected {
                assert!(told_of, "{id} {wish}: {findings:#?}");
                told.entry(wish).or_default().push(id);
            }
        }
    }
    // Every wish is one that some channel cannot fulfil: otherwise nothing was looked at.
    let wishes: Vec<&str> = told.keys().copied().collect();
    assert_eq!(
        wishes,
        ["all-clear", "correction", "picture", "pin", "retract", "update"],
        "{told:#?}"
    );
}

#[tokio::test]
async fn what_an_account_is_set_to_counts_and_not_only_its_channel() {
    let said_of = |config: Config, id: &'static str, kind, words: &'static str| async move {
        let findings = said(&config, &request(&[id], kind)).await;
        findings.iter().any(|finding| finding.text.contains(words))
    };
    let load = |id: &str, line: &str| shipped(id, line).unwrap();
    for (id, line, kind, words, expected) in [
        ("x-nassjo", "", Kind::Update, "fristående", true),
        ("x-nassjo", "thread = true", Kind::Update, "fristående", false),
        ("x-nassjo", "", Kind::Initial, "fristående", false),
        ("mastodon-nassjo", "", Kind::Correction, "fristående", false),
        (
            "instagram-nassjo",
            "",
            Kind::Initial,
            "går inte att klicka på",
            true,
        ),
        ("instagram-nassjo", "", Kind::Initial, "ta tillbaka", false),
        (
            "instagram-nassjo",
            "login = \"instagram\"",
            Kind::Initial,
            "ta tillbaka",
            true,
        ),
        (
            "mastodon-nassjo",
            "",
            Kind::Initial,
            "går inte att klicka på",
            false,
        ),
        ("teams-krisledning", "", Kind::Initial, "Lämnas bara över", true),
        // The post that stands is changed: nothing comes beside it.
        (
            "telegram-nassjo",
            "correction = \"edit\"",
            Kind::Correction,
            "fristående",
            false,
        ),
    ] {
        assert_eq!(
            said_of(load(id, line), id, kind, words).await,
            expected,
            "{id} {line} {kind}"
        );
    }
}

#[tokio::test]
async fn one_line_for_each_wish_however_many_accounts_there_are() {
    let config = shipped("webb-nassjo", "").unwrap();
    let mut everywhere = request(&["alla"], Kind::Update);
    everywhere.picture = Some(picture());
    let findings = said(&config, &everywhere).await;
    let texts: Vec<String> = findings
        .iter()
        .map(|f| format!("{:?} {}: {}", f.level, f.check, f.text))
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
    assert!(findings.iter().all(|finding| finding.account.is_none()));
}

#[test]
fn what_a_service_would_refuse_is_foretold() {
    let config = shipped("webb-nassjo", "").unwrap();
    let links = |n: usize| {
        let all: Vec<String> = (0..n).map(|n| format!("https://nassjo.se/{n}")).collect();
        all.join(" ")
    };
    for (channel, fine, wrong) in [
        ("instagram", "#kris ".repeat(30), "#kris ".repeat(31)),
        ("instagram", "@kommun ".repeat(20), "@kommun ".repeat(21)),
        ("threads", links(5) + " " + &links(5), links(6)),
        ("x", "$SEK 100 $ och 5$".to_owned(), "$SEK $EUR".to_owned()),
        ("teams", "a\n".repeat(300), "a\n".repeat(600)),
        ("mattermost", "a".repeat(14_000), "*".repeat(9_000)),
    ] {
        let account = config
            .accounts
            .values()
            .find(|a| a.channel.id == channel)
            .unwrap();
        let rule = account.settings.text_rule();
        let rendering = |text: &str| vardkase::model::Rendering {
            headline: "Koka vattnet".to_owned(),
            text: text.to_owned(),
            html: None,
            link: "https://nassjo.se/kris".parse().unwrap(),
            languages: vec!["sv".parse().unwrap()],
            variant: vardkase::model::Variant::Long,
            count: 0,
            limit: None,
            unit: rule.unit,
            picture: None,
        };
        for text in [&fine, &wrong] {
            let excess = vardkase::compose::count::excess(text, &rule);
            assert_eq!(excess, None, "{channel}: the rule alone stops it");
        }
        assert_eq!(account.settings.refuses(&rendering(&fine)), None, "{channel}");
        let why = account
            .settings
            .refuses(&rendering(&wrong))
            .unwrap_or_else(|| panic!("{channel}"));
        assert!(
            why.ends_with('.') && why.contains(['1', '2', '3', '5']),
            "{channel}: {why}"
        );
    }
}

#[tokio::test]
async fn a_text_that_would_be_refused_gives_way_to_a_shorter_one_or_stops() {
    let config = shipped("webb-nassjo", "").unwrap();
    let with = |text: &str, short: &str| {
        let mut request = request(&["x-nassjo"], Kind::Initial);
        request.message = "fritext".parse().unwrap();
        let fields = [
            ("rubrik", "Avgiften"),
            ("text", text),
            ("kort", short),
            ("sms", short),
        ];
        request.fields = fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        request
    };
    let http = Transport::new(Arc::new(SystemClock), Duration::from_secs(1)).unwrap();
    let draft = |request: SendRequest| {
        let (config, http) = (&config, &http);
        async move {
            let draft = plan::draft(
                config,
                &request,
                &BTreeSet::new(),
                request.mode,
                SystemClock.now(),
                http,
            )
            .await
            .unwrap();
            (draft.plan, draft.findings)
        }
    };
    let (plan, _) = draft(with("Betala i $SEK eller $EUR.", "Betala i kronor.")).await;
    assert!(plan.unwrap().renderings[0].text.contains("kronor"));
    let (plan, findings) = draft(with("Betala i $SEK eller $EUR.", "Ta med $SEK och $EUR.")).await;
    assert!(plan.is_none());
    let found = &findings[0];
    assert_eq!(
        (
            found.check.as_str(),
            found.level,
            found.account.as_ref().map(ToString::to_string)
        ),
        ("capability", Level::Block, Some("x-nassjo".to_owned())),
        "{findings:#?}"
    );
    assert!(found.text.contains("Skriv beloppen utan $"), "{}", found.text);
}
