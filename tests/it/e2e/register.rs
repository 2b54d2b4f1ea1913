//! The register of accounts: what it lacks, what people attest, apply for and sign off, its public list, and the page that
//! is held against it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vardkase::clock::{Clock, SystemClock};
use vardkase::wall::How;

use crate::support::{Account, Plan, World, eventually, list};

const FACEBOOK: &str = "https://www.facebook.com/nassjokommun";

/// What is said of the Facebook page.
const FULL: &str = r#"url = "https://www.facebook.com/nassjokommun"
[account.facebook.register]
name = "Nässjö kommun på Facebook"
owner = "Kommunikationschef"
unit = "Kommunikationsenheten"
contact = "webb@127.0.0.1"
purpose = "Service och krisinformation."
audience = "Invånare från 30 år."
audience_basis = "Enkät 2025: 68 procent."
plan = "Ett inlägg om dagen."
key_figures = ["följare"]
document_plan = "Bevaras."
third_country = "Ja, USA."
decided_on = "2019-05-14"
decided_by = "Kommunikationschefen"
case = "KS 2019/207"
"#;

/// The same with an address that mail can have.
fn full() -> String {
    FULL.replace("@127.0.0.1", "@nassjo.se")
}

/// A world with these lines before `[vault]`; `nassjo.se` is a host of the municipality.
async fn world(accounts: Vec<Account>, register: &str) -> World {
    let world = World::open(Plan::of(accounts)).await;
    rewrite(&world, |text| {
        let text = text.replacen(
            "languages = [\"sv\"]",
            "hosts = [\"nassjo.se\"]\nlanguages = [\"sv\"]",
            1,
        );
        text.replacen("[vault]", &format!("{register}\n[vault]"), 1)
    });
    world
}

fn rewrite(world: &World, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(&world.config).unwrap();
    std::fs::write(&world.config, change(text)).unwrap();
}

fn facebook() -> Account {
    Account::new("facebook", "facebook-page").with(&full())
}

/// The records of a kind, as JSON.
async fn journal(world: &World, kind: &str) -> Vec<Value> {
    let records = world.get("/api/v1/journal").await;
    let of_kind = records
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["kind"] == kind);
    of_kind
        .map(|record| {
            assert!(record["actor"].as_str().is_some_and(|actor| !actor.is_empty()));
            serde_json::from_str(record["body"].as_str().unwrap()).unwrap()
        })
        .collect()
}

fn findings(view: &Value, check: &str) -> Vec<String> {
    let of_check = list(view, "findings")
        .iter()
        .filter(|finding| finding["check"] == check);
    of_check
        .map(|finding| {
            format!(
                "{} {}",
                finding["account"].as_str().unwrap_or("-"),
                finding["text"]
            )
        })
        .collect()
}

#[tokio::test]
async fn what_the_guideline_asks_for_and_is_not_there_is_told_of_every_account_at_once() {
    let accounts = vec![
        Account::new("mastodon", "mastodon"),
        Account::new("skarmar", "file"),
        facebook(),
    ];
    let world = world(accounts, "").await;
    let warnings = world.cli(&["check", "--json"]).await.ended(0).json()["warnings"].clone();
    let warnings: Vec<&str> = warnings
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert_eq!(
        warnings[0],
        "account.mastodon.register: registret saknar owner, unit, contact, purpose, audience, audience_basis, plan, \
         key_figures, document_plan, third_country, decided_on, decided_by, case, url (riktlinjen § 2, 3, 4, 12, 13, 14, \
         15, 20)"
    );
    assert!(warnings[1].starts_with(
        "account.skarmar.register: registret saknar owner, unit, contact, purpose, document_plan ("
    ));

    // A private mail box is no function's.
    rewrite(&world, |text| {
        text.replace("webb@nassjo.se", "kim.karlsson@gmail.example")
    });
    let said = world.cli(&["check"]).await.ended(0);
    assert!(
        said.stdout.contains("hos gmail.example, inte hos kommunen"),
        "{said:?}"
    );

    // Every fault of the section at once, with the nearest key.
    rewrite(&world, |text| {
        text.replace("purpose =", "purpos =")
            .replace(
                "decided_on = \"2019-05-14\"",
                "decided_on = 2019-05-14\nclosed = \"i våras\"",
            )
            .replace("@gmail", "(at)gmail")
            + "[register]\npublish_to = [\"mastodon\", \"skarmarna\"]\npage_timeout = \"60s\"\nfollow_up_by = \"31 januari\"\n"
    });
    let said = world.cli(&["check"]).await.ended(1);
    for part in [
        "account.facebook.register.purpos: unknown key; did you mean \"purpose\"?",
        "account.facebook.register.decided_on: found the date or time 2019-05-14, expected a date between quotation marks",
        "account.facebook.register.closed: found \"i våras\", expected a date",
        "account.facebook.register.contact: found \"kim.karlsson(at)gmail.example\"",
        "register.publish_to: \"mastodon\" is an account of mastodon, which keeps no page; expected one of file, http-json, wordpress",
        "register.publish_to: there is no account \"skarmarna\"; did you mean \"skarmar\"?",
        "register.page_timeout: found 1m, expected between 2s and 10s",
        "register.follow_up_by: found \"31 januari\", expected a month and a day",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
}

#[tokio::test]
async fn the_public_list_is_written_without_a_daemon() {
    let world = world(vec![facebook(), Account::new("skarmar", "file")], "").await;
    let html = world.cli(&["accounts", "export"]).await.ended(0).stdout;
    assert!(
        html.contains(&format!(
            "<a rel=\"me\" href=\"{FACEBOOK}\">Nässjö kommun på Facebook</a>"
        )),
        "{html}"
    );
    assert!(!html.contains("konto-skarmar"));
    let json = world
        .cli(&["accounts", "export", "--format", "json"])
        .await
        .ended(0)
        .json();
    assert_eq!(
        (&json["version"], &json["accounts"][0]["url"]),
        (&1.into(), &FACEBOOK.into())
    );
    let file = world.dir().join("konton.csv");
    let path = file.to_str().unwrap();
    world
        .cli(&["accounts", "export", "--format", "csv", "--out", path])
        .await
        .ended(0);
    let csv = std::fs::read_to_string(&file).unwrap();
    assert!(
        csv.starts_with("id,name,channel,url") && csv.contains("\"facebook\",\"Nässjö kommun på Facebook\""),
        "{csv}"
    );
    let said = world
        .cli(&["accounts", "export", "--out", "/nowhere/at/all"])
        .await
        .ended(1);
    assert!(said.stderr.contains("/nowhere/at/all"), "{said:?}");
}

#[tokio::test]
async fn an_attestation_is_given_ends_and_is_taken_back() {
    let world = world(vec![facebook(), Account::new("skarmar", "file")], "").await;
    let _daemon = world.start().await;
    let give = |more: &[&str]| {
        [&["attest", "facebook", "two-factor"], more]
            .concat()
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>()
    };
    // The bad paths first: nothing is written.
    for (args, code, words) in [
        (give(&[]), 2, "--evidence"),
        (give(&["--evidence", " "]), 1, "evidence: one line"),
        (
            give(&["--evidence", "x", "--until", "2020-01-01"]),
            1,
            "the day has passed",
        ),
        (
            give(&["--evidence", "x", "--until", "2099-01-01"]),
            1,
            "three years at most",
        ),
        (give(&["--evidence", "x", "--until", "snart"]), 2, "--until"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let said = world.cli(&args).await.ended(code);
        assert!(said.stderr.contains(words), "{words}: {said:?}");
    }
    let said = world
        .cli(&["attest", "facebok", "logo", "--evidence", "x"])
        .await
        .ended(1);
    assert!(said.stderr.contains("did you mean \"facebook\"?"), "{said:?}");
    world
        .cli(&["attest", "facebook", "logotyp", "--evidence", "x"])
        .await
        .ended(2);
    let said = world
        .cli(&["attest", "revoke", "facebook", "logo", "--reason", "x"])
        .await
        .ended(1);
    assert!(
        said.stderr
            .contains("there is no attestation of logo on facebook"),
        "{said:?}"
    );
    assert_eq!(
        world.cli(&["attest", "list", "--json"]).await.ended(0).json(),
        json!([])
    );

    let missing = |view: &Value| {
        findings(view, "attestation")
            .iter()
            .filter(|text| text.contains("two-factor"))
            .count()
    };
    let view = world.cli(&["register", "show", "--json"]).await.ended(0).json();
    assert_eq!(findings(&view, "attestation").len(), 5, "{view:#}");
    assert_eq!(missing(&view), 1);
    let args = give(&["--evidence", "Skärmbild i KS 2026/7", "--json"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let given = world.cli(&args).await.ended(0).json();
    assert_eq!((&given["id"], &given["revoked_at"]), (&1.into(), &Value::Null));
    let view = world.get("/api/v1/register").await;
    assert_eq!(missing(&view), 0, "{view:#}");

    world
        .cli(&[
            "attest",
            "revoke",
            "facebook",
            "two-factor",
            "--reason",
            "ny administratör",
        ])
        .await
        .ended(0);
    let view = world.get("/api/v1/register").await;
    assert!(
        findings(&view, "attestation")
            .iter()
            .any(|text| text.contains("två steg togs tillbaka")),
        "{view:#}"
    );
    // What was taken back is not taken back twice.
    world
        .cli(&["attest", "revoke", "facebook", "two-factor", "--reason", "igen"])
        .await
        .ended(1);
    let said = world.cli(&["attest", "list"]).await.ended(0);
    assert!(
        said.stdout.contains("taken back") && said.stdout.contains("ny administratör"),
        "{said:?}"
    );
    assert_eq!(
        world
            .cli(&["attest", "list", "--account", "skarmar", "--json"])
            .await
            .json(),
        json!([])
    );

    let given = journal(&world, "attest").await;
    assert_eq!(
        (&given[0]["what"], &given[0]["evidence"]),
        (&"two-factor".into(), &"Skärmbild i KS 2026/7".into())
    );
    assert_eq!(
        journal(&world, "attest-revoke").await[0]["reason"],
        "ny administratör"
    );
    world.cli(&["log", "verify"]).await.ended(0);
    let status = world.get("/api/v1/status").await;
    assert!(
        status["register"]["warnings"].as_u64().is_some_and(|n| n >= 6),
        "{status:#}"
    );
    let said = world.cli(&["status"]).await.ended(0);
    assert!(said.stdout.contains("\nregister "), "{said:?}");
}

#[tokio::test]
async fn an_application_is_filed_decided_on_and_becomes_a_section_that_loads() {
    let world = world(vec![Account::new("skarmar", "file")], "").await;
    let _daemon = world.start().await;
    let form = world.cli(&["accounts", "apply", "--form"]).await.ended(0).stdout;
    let file = world.dir().join("ansokan.toml");
    let path = file.to_str().unwrap().to_owned();
    // The empty form is told of key by key.
    std::fs::write(&file, form.replace("channel =", "chanel =")).unwrap();
    let said = world.cli(&["accounts", "apply", &path]).await.ended(1);
    for part in [
        "purpose: is empty",
        "chanel: unknown key; did you mean \"channel\"?",
        "plan: is empty",
        "nothing was filed",
    ] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    let filled = form
        .replace("= \"\"", "= \"Se \\\"bilagan\\\" [account.x]\"")
        .replace("key_figures = []", "key_figures = [\"följare\"]");
    std::fs::write(&file, filled.replace("facebook-kulturskolan", "skarmar")).unwrap();
    let said = world.cli(&["accounts", "apply", &path]).await.ended(1);
    assert!(
        said.stderr.contains("there is an account skarmar already"),
        "{said:?}"
    );

    std::fs::write(&file, filled).unwrap();
    let said = world.cli(&["accounts", "apply", &path]).await.ended(0);
    assert!(
        said.stdout.contains("ANSÖKAN OM KONTO I SOCIALA MEDIER NR 1")
            && said.stdout.contains("Inte fattat än."),
        "{said:?}"
    );
    world.cli(&["accounts", "apply", &path]).await.ended(0);
    let decide = |id: &'static str, how: &'static str| {
        [
            "accounts",
            "decide",
            id,
            how,
            "--reason",
            "Når nya målgrupper.",
            "--case",
            "KS 2026/9",
        ]
    };
    world
        .cli(&["accounts", "decide", "1", "--reason", "x"])
        .await
        .ended(2);
    world
        .cli(&[
            "accounts",
            "decide",
            "1",
            "--approve",
            "--reject",
            "--reason",
            "x",
        ])
        .await
        .ended(2);
    let said = world.cli(&decide("7", "--approve")).await.ended(1);
    assert!(said.stderr.contains("there is no application 7"), "{said:?}");
    let said = world.cli(&decide("2", "--reject")).await.ended(0);
    assert!(
        said.stdout.contains("Ansökan avslås.") && !said.stdout.contains("[account.facebook-kulturskolan]"),
        "{said:?}"
    );
    let said = world.cli(&decide("1", "--approve")).await.ended(0);
    assert!(
        said.stdout.contains("Ansökan beviljas.") && said.stdout.contains("KS 2026/9"),
        "{said:?}"
    );
    let (_, section) = said
        .stdout
        .split_once("ATT KLISTRA IN I config.toml\n\n")
        .unwrap();
    let section = section.replace("groups = ", "page_id = \"123\"\ngroups = ");
    let again = world.cli(&decide("1", "--reject")).await.ended(1);
    assert!(
        again.stderr.contains("application 1 is approved already"),
        "{again:?}"
    );

    rewrite(&world, |text| format!("{text}\n{section}"));
    let checked = world.cli(&["check", "--json"]).await.ended(0).json();
    let warnings = checked["warnings"].to_string();
    // What is left is the address, which there is none of yet.
    assert!(
        warnings.contains("account.facebook-kulturskolan.register: registret saknar url"),
        "{warnings}"
    );
    let said = world.cli(&["accounts", "applications", "1"]).await.ended(0);
    assert!(said.stdout.contains("Se \"bilagan\" [account.x]"), "{said:?}");
    let all = world.cli(&["accounts", "applications", "--json"]).await.json();
    assert_eq!(
        (&all[0]["state"], &all[1]["state"]),
        (&"approved".into(), &"rejected".into())
    );
    assert_eq!(journal(&world, "account-apply").await.len(), 2);
    assert_eq!(journal(&world, "account-decide").await[1]["state"], "approved");
}

#[tokio::test]
async fn an_account_is_closed_step_by_step_in_order() {
    let world = world(vec![facebook()], "").await;
    let _daemon = world.start().await;
    let said = world.cli(&["accounts", "close", "facebook"]).await.ended(0);
    assert!(
        said.stdout.contains("[ ] 1. Beslut") && said.stdout.contains("Nästa steg: decide"),
        "{said:?}"
    );
    let said = world
        .cli(&["accounts", "close", "facebook", "--done", "close"])
        .await
        .ended(1);
    assert!(said.stderr.contains("decide comes before close"), "{said:?}");
    world.cli(&["accounts", "close", "facebok"]).await.ended(1);
    world
        .cli(&["accounts", "close", "facebook", "--note", "x"])
        .await
        .ended(2);
    for step in [
        "decide", "announce", "answer", "archive", "revoke", "close", "unlist",
    ] {
        world
            .cli(&[
                "accounts",
                "close",
                "facebook",
                "--done",
                step,
                "--note",
                "KS 2026/12",
            ])
            .await
            .ended(0);
        let again = world
            .cli(&["accounts", "close", "facebook", "--done", step])
            .await
            .ended(1);
        assert!(again.stderr.contains("was signed off at"), "{again:?}");
    }
    let said = world.cli(&["accounts", "close", "facebook"]).await.ended(0);
    assert!(
        said.stdout.contains("Alla steg är klara.") && !said.stdout.contains("[ ]"),
        "{said:?}"
    );
    assert!(said.stdout.contains(": KS 2026/12"), "{said:?}");
    let closing = world
        .cli(&["accounts", "close", "facebook", "--json"])
        .await
        .json();
    assert_eq!(
        (&closing["next"], list(&closing, "signed").len()),
        (&Value::Null, 7)
    );
    assert_eq!(journal(&world, "account-close").await.len(), 7);

    // Closed in the register: listed as such, and nothing more is asked of it.
    rewrite(&world, |text| {
        text.replace(
            "case = \"KS 2019/207\"",
            "case = \"KS 2019/207\"\nclosed = \"2026-10-01\"",
        )
    });
    let html = world.cli(&["accounts", "export"]).await.ended(0).stdout;
    assert!(
        html.contains("avslutat 1 oktober 2026") && !html.contains(FACEBOOK),
        "{html}"
    );
}

#[tokio::test]
async fn the_list_is_published_where_it_is_kept_and_not_again_until_it_changes() {
    let accounts = vec![
        facebook(),
        Account::new("webb", "http-json"),
        Account::new("blogg", "wordpress"),
        Account::new("skarmar", "file"),
    ];
    let register = "[register]\nname = \"vara-konton\"\npublish_to = [\"webb\", \"blogg\", \"skarmar\"]\n";
    let world = world(accounts, register).await;
    let _daemon = world.start().await;
    let busy = How::Answer {
        status: 503,
        headers: Vec::new(),
        body: None,
    };
    world.fault("webb", busy, 1);
    let said = world
        .cli(&["register", "publish", "--json"])
        .await
        .ended(3)
        .json();
    let outcomes = |said: &Value| -> Vec<String> {
        said.as_array()
            .unwrap()
            .iter()
            .map(|one| one["outcome"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(outcomes(&said), ["failed", "published", "published"], "{said:#}");
    let view = world.get("/api/v1/register").await;
    assert!(findings(&view, "publish")[0].contains("webb"), "{view:#}");
    assert_eq!(
        world.get("/api/v1/status").await["register"]["published_at"],
        Value::Null
    );
    // What failed goes again, what stands does not.
    let said = world
        .cli(&["register", "publish", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(
        outcomes(&said),
        ["published", "unchanged", "unchanged"],
        "{said:#}"
    );
    assert!(
        said[0]["url"].as_str().unwrap().ends_with("/sida/vara-konton"),
        "{said:#}"
    );
    assert!(
        said[1]["url"].as_str().unwrap().contains("vara-konton"),
        "{said:#}"
    );
    assert_eq!(
        outcomes(
            &world
                .cli(&["register", "publish", "--json"])
                .await
                .ended(0)
                .json()
        ),
        ["unchanged"; 3]
    );

    let html = world.cli(&["accounts", "export"]).await.stdout;
    let posts = world.posts_of("webb");
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert_eq!(posts[0].text.trim_end(), html.trim_end());
    let folder = world.simulated("skarmar").site.folder.join("skarmar");
    assert_eq!(
        std::fs::read_to_string(folder.join("vara-konton.html"))
            .unwrap()
            .trim_end(),
        html.trim_end()
    );
    let json: Value =
        serde_json::from_slice(&std::fs::read(folder.join("vara-konton.json")).unwrap()).unwrap();
    assert_eq!(json["accounts"][0]["id"], "facebook");
    assert_eq!(
        world
            .posts_of("blogg")
            .iter()
            .filter(|post| post.text.contains("Nässjö kommun på Facebook"))
            .count(),
        1
    );

    // Changed: it goes out again, in the place of the first.
    rewrite(&world, |text| {
        text.replace("Service och krisinformation.", "Krisinformation.")
    });
    world.cli(&["credentials", "list"]).await.ended(0);
    world.ask("POST", "/api/v1/reload", None, None).await.unwrap();
    let said = world.cli(&["register", "publish"]).await.ended(0);
    assert_eq!(said.stdout.matches("published").count(), 3, "{said:?}");
    let page = std::fs::read_to_string(folder.join("vara-konton.html")).unwrap();
    assert!(
        page.contains("Krisinformation.") && !page.contains("Service och"),
        "{page}"
    );
    let blogs: Vec<_> = world
        .posts_of("blogg")
        .into_iter()
        .filter(|post| post.deleted_at.is_none())
        .collect();
    assert_eq!(blogs.len(), 1, "one page, changed: {blogs:#?}");
    let records = journal(&world, "register-publish").await;
    assert_eq!(records.len(), 7, "{records:#?}");
    assert_eq!(
        (&records[0]["outcome"], &records[0]["error"]["code"]),
        (&"failed".into(), &"http-503".into())
    );
    for canary in world.canaries() {
        assert!(!records.iter().any(|record| record.to_string().contains(&canary)));
    }
}

/// A page on this machine that says what it is told to, and who asked.
#[derive(Clone, Default)]
struct Page {
    says: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Page {
    async fn open() -> (Self, String) {
        let page = Self::default();
        page.say(200, "");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = page.clone();
        let router = Router::new().fallback(move |headers: HeaderMap| {
            let page = answering.clone();
            async move { page.answer(headers).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (page, format!("http://{address}/konton"))
    }

    fn say(&self, status: u16, body: &str) {
        *self.says.lock().unwrap() = (status, body.to_owned());
    }

    async fn answer(&self, headers: HeaderMap) -> Response {
        self.asked.lock().unwrap().push(headers);
        let (status, body) = self.says.lock().unwrap().clone();
        if status == 0 {
            std::future::pending::<()>().await;
        }
        let location = [
            ("location", "https://nassjo.se/annanstans"),
            ("content-type", "text/html"),
        ];
        (StatusCode::from_u16(status).unwrap(), location, body).into_response()
    }
}

#[tokio::test]
async fn a_public_page_that_tells_otherwise_is_drift() {
    let (page, address) = Page::open().await;
    let closed = Account::new("x", "x").with(
        "url = \"https://x.com/nassjogamla\"\n[account.x.register]\nclosed = \"2026-05-01\"\ndocument_plan = \"Bevaras.\"",
    );
    let accounts = vec![facebook(), closed, Account::new("skarmar", "file")];
    let register = format!("[register]\npage = \"{address}\"\npage_timeout = \"2s\"\n");
    let world = world(accounts, &register).await;
    let _daemon = world.start().await;

    // Nothing is there, then something false and something old, then all is well in other spellings.
    let said = world.cli(&["register", "check"]).await.ended(3);
    assert!(said.stdout.contains("facebook: kontot saknas på"), "{said:?}");
    page.say(
        200,
        "<p><a href='https://m.facebook.com/nassjokommun/'>oss</a> <a href=\"https://www.facebook.com/nassjokommunen\">falsk</a>\
         <a href=https://twitter.com/NassjoGamla>gammal</a><a href='https://www.facebook.com/sharer.php?u=x'>dela</a>",
    );
    let look = world.cli(&["register", "check", "--json"]).await.ended(3).json();
    let told: Vec<_> = list(&look, "findings")
        .iter()
        .map(|one| one["check"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["closed-on-page", "unknown-on-page"], "{look:#}");
    assert!(
        look["findings"][1]["text"]
            .as_str()
            .unwrap()
            .contains("https://www.facebook.com/nassjokommunen")
    );
    let status = world.get("/api/v1/status").await;
    assert_eq!(status["register"]["drift"], true, "{status:#}");
    let said = world.cli(&["status"]).await.ended(0);
    assert!(
        said.stdout.contains("THE PUBLIC PAGE TELLS OTHERWISE"),
        "{said:?}"
    );
    page.say(200, &world.cli(&["accounts", "export"]).await.ended(0).stdout);
    let said = world.cli(&["register", "check"]).await.ended(0);
    assert!(said.stdout.contains("lists what the register does"), "{said:?}");
    assert_eq!(world.get("/api/v1/status").await["register"]["drift"], false);

    // A page that cannot be read says nothing about anybody.
    let elsewhere = page.asked.lock().unwrap().len();
    for (status, body, words) in [
        (302, String::new(), "a redirect"),
        (404, String::new(), "it answers 404"),
        (200, "x".repeat(1024 * 1024 + 1), "larger than"),
        (0, String::new(), "no answer within 2s"),
    ] {
        page.say(status, &body);
        let said = world.cli(&["register", "check"]).await.ended(1);
        assert!(
            said.stdout.contains(words) && !said.stdout.contains("saknas på"),
            "{words}: {said:?}"
        );
    }
    assert_eq!(
        world.get("/api/v1/status").await["register"]["drift"],
        Value::Null
    );
    let asked: Vec<HeaderMap> = page.asked.lock().unwrap().clone();
    assert_eq!(
        asked.len(),
        elsewhere + 4,
        "no redirect was followed, and nothing asked twice"
    );
    assert!(
        asked
            .iter()
            .all(|headers| !headers.contains_key("authorization") && !headers.contains_key("cookie"))
    );
    assert_eq!(journal(&world, "register-check").await.len(), 7);
}

#[tokio::test]
async fn without_a_place_or_a_page_the_register_says_what_to_set() {
    let world = world(vec![facebook()], "").await;
    let said = world.cli(&["register", "publish"]).await.ended(6);
    assert!(!said.stderr.is_empty());
    let _daemon = world.start().await;
    let said = world.cli(&["register", "publish"]).await.ended(1);
    assert!(said.stderr.contains("set register.publish_to"), "{said:?}");
    let said = world.cli(&["register", "check"]).await.ended(1);
    assert!(said.stderr.contains("set register.page"), "{said:?}");
    let said = world
        .cli(&["register", "report", "--year", "2999"])
        .await
        .ended(1);
    assert!(said.stderr.contains("2999 has not begun"), "{said:?}");
}

#[tokio::test]
async fn the_report_of_a_year_counts_what_truly_came_out() {
    let accounts = vec![
        Account::new("intranat", "webhook"),
        Account::new("skolan", "webhook"),
        Account::new("press", "email"),
    ];
    let world = World::open(Plan::of(accounts)).await;
    let _daemon = world.start().await;
    let refuse = How::Answer {
        status: 400,
        headers: Vec::new(),
        body: None,
    };
    world.fault("skolan", refuse, 1);
    world.send(&[]).await;
    world.send(&[]).await;
    // An exercise is no post.
    world.send(&["--mode", "drill"]).await;
    let zone = jiff::tz::TimeZone::get("Europe/Stockholm").unwrap();
    let year = vardkase::clock::Clock::now(&vardkase::clock::SystemClock)
        .to_zoned_datetime(zone)
        .year()
        .to_string();
    let report = world
        .cli(&["register", "report", "--year", &year, "--format", "json"])
        .await
        .ended(0)
        .json();
    let of = |id: &str| {
        list(&report, "accounts")
            .iter()
            .find(|one| one["account"] == id)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            &of("intranat")["posts"],
            &of("intranat")["published"],
            &of("intranat")["success"]
        ),
        (&2.into(), &2.into(), &json!(1.0))
    );
    assert_eq!(
        (
            &of("skolan")["posts"],
            &of("skolan")["published"],
            &of("skolan")["success"]
        ),
        (&2.into(), &1.into(), &json!(0.5))
    );
    assert!(
        of("intranat")["median_seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds < 60.0),
        "{report:#}"
    );
    // Each reader of a list counts.
    assert_eq!(
        (&of("press")["posts"], &of("press")["published"]),
        (&4.into(), &4.into())
    );
    let file = world.dir().join("rapport.html");
    world
        .cli(&[
            "register",
            "report",
            "--year",
            &year,
            "--out",
            file.to_str().unwrap(),
        ])
        .await
        .ended(0);
    let html = std::fs::read_to_string(&file).unwrap();
    assert!(
        html.contains("<svg role=\"img\"") && html.contains("<caption>") && html.contains("1 av 2"),
        "{html}"
    );
    let before = world
        .cli(&["register", "report", "--year", "2019", "--format", "json"])
        .await
        .ended(0)
        .json();
    assert!(
        list(&before, "accounts")
            .iter()
            .all(|one| one["posts"] == 0 && one["success"].is_null())
    );
}

#[tokio::test]
async fn what_has_a_last_day_is_mailed_with_its_command_once_also_over_a_kill() {
    let mut plan = Plan::of(vec![facebook()]);
    plan.watch = "[verification]\nevery = \"24h\"\nprofile_every = \"30days\"\ncertificate = \"off\"\n\
                  [register.reminders]\nto = [\"kommunikation@nassjo.se\"]\n"
        .to_owned();
    let world = World::open(plan).await;
    let reminders = || {
        let mut mails = world.confirmations();
        mails.retain(|mail| {
            let subject = mail.subject.clone().unwrap_or_default();
            subject.starts_with("Påminnelse") || subject.starts_with("Försenat")
        });
        mails
    };
    let daemon = world.start().await;
    // Nobody has attested anything yet.
    eventually("the first reminder", || reminders().len() == 1).await;
    let first = &reminders()[0];
    assert_eq!(first.recipient.as_deref(), Some("kommunikation@nassjo.se"));
    for part in [
        "Nässjö kommun på Facebook (facebook)",
        "Ansvarig: Kommunikationschef, Kommunikationsenheten",
        "vardkase attest facebook two-factor --evidence",
    ] {
        assert!(first.text.contains(part), "{part}: {}", first.text);
    }
    let day =
        Clock::now(&SystemClock).to_zoned_datetime(jiff::tz::TimeZone::get("Europe/Stockholm").unwrap());
    let soon = day
        .date()
        .checked_add(jiff::Span::new().days(5))
        .unwrap()
        .to_string();
    let evidence = ["--evidence", "Skärmbild", "--until", &soon];
    world
        .cli(&[&["attest", "facebook", "two-factor"][..], &evidence].concat())
        .await
        .ended(0);
    daemon.kill9().await;
    let daemon = world.start().await;
    eventually("the second reminder", || reminders().len() == 2).await;
    let second = &reminders()[1];
    let subject = second.subject.clone().unwrap();
    assert!(
        subject.starts_with("Påminnelse: facebook: inloggning i två steg, senast"),
        "{subject}"
    );
    assert!(second.text.contains("SNART"), "{}", second.text);
    daemon.kill9().await;
    let _daemon = world.start().await;
    let asked = world.cli(&["register", "show"]).await;
    assert!([0, 3].contains(&asked.code), "{asked:?}");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(reminders().len(), 2);
    assert_eq!(journal(&world, "reminder").await.len(), 2);
}
