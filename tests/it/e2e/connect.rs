//! Connecting accounts: a person's browser at the simulated service's own page, the real command, the vault. Every way
//! that people and networks go wrong leaves the vault as it was.

use secrecy::ExposeSecret;
use serde_json::Value;
use vardkase::model::{AccountId, Mode};

use crate::support::{Account, Plan, Said, Talk, World};

/// What a person does at the page.
#[derive(Clone, Copy)]
struct Person<'a> {
    agrees: bool,
    /// As the municipality's account, or another one.
    right: bool,
    /// The box that is unticked.
    unticks: &'a str,
}

const AGREES: Person<'static> = Person {
    agrees: true,
    right: true,
    unticks: "",
};

/// What the browser shows in the end: another address, or a page.
struct Shown {
    location: Option<String>,
    page: String,
}

fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
        .build()
        .unwrap()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Vec<&'t str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(after).next().unwrap())
        .collect()
}

/// Opens the address and answers the page's form as a browser would.
async fn visit(address: &str, person: Person<'_>) -> Shown {
    let answer = browser().get(address).send().await.unwrap();
    let (status, page) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{address}: {page}");
    let unescape = |text: &str| text.replace("&amp;", "&");
    let action = unescape(between(&page, "action=\"", "\"")[0]);
    let ticket = between(&page, "name=\"ticket\" value=\"", "\"")[0].to_owned();
    let mut form = vec![
        ("ticket", ticket),
        ("person", if person.right { "konto" } else { "annan" }.to_owned()),
        ("decision", if person.agrees { "ja" } else { "nej" }.to_owned()),
    ];
    for scope in between(&page, "name=\"scope\" value=\"", "\"") {
        if scope != person.unticks {
            form.push(("scope", unescape(scope)));
        }
    }
    let answer = browser().post(&action).form(&form).send().await.unwrap();
    let location = answer
        .headers()
        .get("location")
        .map(|value| value.to_str().unwrap().to_owned());
    Shown {
        location,
        page: answer.text().await.unwrap(),
    }
}

/// The same, and follows where the browser is sent. Returns the status there.
async fn go(address: &str, person: Person<'_>) -> u16 {
    let back = visit(address, person).await.location.unwrap();
    browser().get(back).send().await.unwrap().status().as_u16()
}

fn code(page: &str) -> String {
    between(page, "<code>", "</code>")[0].to_owned()
}

/// A world with one account, whose public address the configuration knows where `page` is given.
async fn world(channel: &'static str, page: &str) -> World {
    let world = World::open(Plan::of(vec![Account::new("konto", channel)])).await;
    if !page.is_empty() {
        let base = world.simulated("konto").site.base.clone();
        let text = std::fs::read_to_string(&world.config).unwrap();
        let with = format!("[account.konto]\nurl = \"{base}{page}\"");
        std::fs::write(&world.config, text.replace("[account.konto]", &with)).unwrap();
    }
    world
}

fn happens(world: &World, what: &str) {
    let account: AccountId = "konto".parse().unwrap();
    assert!(world.wall.command(Mode::Live, &account, what), "{what}");
}

fn connect(world: &World, more: &[&str]) -> Talk {
    world.talk(&[&["credentials", "connect", "konto"], more].concat())
}

fn secret(world: &World, name: &str) -> Option<String> {
    let secret = world.vault().get(&"konto".parse().unwrap(), name).unwrap();
    secret.map(|secret| secret.expose_secret().to_owned())
}

fn vault_file(world: &World) -> Vec<u8> {
    std::fs::read(world.dir().join("vault.json")).unwrap()
}

/// No secret of the vault stands in what was said.
fn keeps_quiet(world: &World, said: &Said) {
    let all = format!("{}{}", said.stdout, said.stderr);
    for entry in world.vault().list() {
        // The app's id is no secret: it stands in the address that the person opens.
        if entry.name == "client_id" || entry.owner != "konto" {
            continue;
        }
        let value = secret(world, &entry.name).unwrap();
        assert!(!all.contains(&value), "{} shows: {all}", entry.name);
    }
}

/// Runs a sign-in in which the person does this, and expects it to come to nothing for this reason.
async fn comes_to_nothing(world: &World, person: Person<'_>, code: &str, words: &str) {
    let before = vault_file(world);
    let mut talk = connect(world, &[]);
    let address = talk.address().await.unwrap();
    go(&address, person).await;
    let said = talk.ended(1).await;
    assert!(said.stderr.contains(&format!("[{code}]")), "{said:?}");
    assert!(said.stderr.contains(words), "{said:?}");
    assert_eq!(vault_file(world), before, "{said:?}");
    keeps_quiet(world, &said);
}

#[tokio::test]
async fn a_mastodon_account_is_connected_in_the_browser_and_verified_at_once() {
    let world = world("mastodon", "/@kommun").await;
    let daemon = world.start().await;
    let old = secret(&world, "access_token").unwrap();
    let mut talk = connect(&world, &[]);
    let address = talk.address().await.unwrap();
    assert!(address.contains("code_challenge_method=S256"), "{address}");
    assert_eq!(go(&address, AGREES).await, 200);
    let said = talk.ended(0).await;
    assert!(
        said.stdout
            .contains("connected as @kommun; it has no end of its own"),
        "{said:?}"
    );
    assert!(said.stdout.contains("reachable, as kommun"), "{said:?}");
    keeps_quiet(&world, &said);
    let new = secret(&world, "access_token").unwrap();
    assert_ne!(new, old);
    // The daemon publishes with it: the old one is dead.
    happens(&world, "revoke-others");
    let (ended, report) = world.send(&["--to", "konto"]).await;
    assert_eq!(ended, 0, "{report:#}");
    let journal = world.get("/api/v1/journal").await.to_string();
    assert!(journal.contains(r#"\"change\":\"connected\""#), "{journal}");
    for shown in [journal, daemon.said()] {
        assert!(!shown.contains(&new));
    }
}

#[tokio::test]
async fn without_a_daemon_the_account_is_connected_and_verified_all_the_same() {
    let world = world("mastodon", "/@kommun").await;
    let mut talk = connect(&world, &["--json"]);
    let first: Value = serde_json::from_str(&talk.line().await.unwrap()).unwrap();
    go(first["open"].as_str().unwrap(), AGREES).await;
    let said = talk.ended(0).await;
    let last: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["connected_as"], "@kommun");
    assert_eq!(last["reachable"], true);
    assert_eq!(last["expires_at"], Value::Null);
    keeps_quiet(&world, &said);
}

#[tokio::test]
async fn a_code_that_is_shown_can_be_typed_also_at_a_server_without_proof_keys() {
    let world = world("mastodon", "").await;
    happens(&world, "no-pkce");
    let mut talk = connect(&world, &["--paste"]);
    let address = talk.address().await.unwrap();
    assert!(
        address.contains("urn%3Aietf%3Awg%3Aoauth%3A2.0%3Aoob"),
        "{address}"
    );
    assert!(!address.contains("code_challenge"), "{address}");
    let shown = visit(&address, AGREES).await;
    talk.types(&code(&shown.page)).await;
    let said = talk.ended(0).await;
    assert!(said.stdout.contains("connected as @kommun"), "{said:?}");
}

#[tokio::test]
async fn an_address_that_nobody_listens_at_can_be_pasted_and_its_state_counts() {
    let world = world("mastodon", "").await;
    let redirect = "https://nassjo.se/oauth";
    let mut talk = connect(&world, &["--redirect", redirect]);
    let back = visit(&talk.address().await.unwrap(), AGREES)
        .await
        .location
        .unwrap();
    assert!(back.starts_with(redirect), "{back}");
    talk.types(&back).await;
    talk.ended(0).await;
    let before = vault_file(&world);
    for wrong in [
        back.clone(),
        "https://nassjo.se/oauth?code=x".to_owned(),
        "bara-koden".to_owned(),
    ] {
        let mut talk = connect(&world, &["--redirect", redirect]);
        talk.address().await.unwrap();
        talk.types(&wrong).await;
        let said = talk.ended(1).await;
        let is_told = ["[wrong-state]", "[no-address]"]
            .iter()
            .any(|code| said.stderr.contains(code));
        assert!(is_told, "{said:?}");
        assert_eq!(vault_file(&world), before);
    }
}

#[tokio::test]
async fn what_goes_wrong_at_a_mastodon_server_leaves_the_vault_as_it_was() {
    let world = world("mastodon", "/@kommun").await;
    let says_no = Person {
        agrees: false,
        ..AGREES
    };
    comes_to_nothing(&world, says_no, "denied", "said no").await;
    let other = Person {
        right: false,
        ..AGREES
    };
    comes_to_nothing(&world, other, "wrong-account", "anna").await;
    let less = Person {
        unticks: "write:statuses",
        ..AGREES
    };
    comes_to_nothing(&world, less, "scope", "write:statuses").await;
}

#[tokio::test]
async fn a_browser_that_comes_with_another_state_ends_the_sign_in() {
    let world = world("mastodon", "").await;
    let before = vault_file(&world);
    let mut talk = connect(&world, &[]);
    let address = talk.address().await.unwrap();
    let back = visit(&address, AGREES).await.location.unwrap();
    let (there, _) = back.split_once('?').unwrap();
    // Neither another path nor another method nor another host is an answer: the door stays open.
    let browser = browser();
    let favicon = there.replace("/callback", "/favicon.ico");
    assert_eq!(browser.get(favicon).send().await.unwrap().status(), 404);
    assert_eq!(browser.post(&back).send().await.unwrap().status(), 405);
    let elsewhere = browser.get(&back).header("host", "evil.example");
    assert_eq!(elsewhere.send().await.unwrap().status(), 421);
    let forged = format!("{there}?code=abc&state=gissat");
    assert_eq!(browser.get(forged).send().await.unwrap().status(), 400);
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("[wrong-state]"), "{said:?}");
    assert_eq!(vault_file(&world), before);
    // The door is shut: the true answer comes too late.
    assert!(browser.get(&back).send().await.is_err());
}

#[tokio::test]
async fn a_code_that_is_too_old_or_was_used_is_told_in_plain_words() {
    let world = world("mastodon", "").await;
    let before = vault_file(&world);
    let mut talk = connect(&world, &[]);
    let back = visit(&talk.address().await.unwrap(), AGREES)
        .await
        .location
        .unwrap();
    happens(&world, "expire-codes");
    browser().get(&back).send().await.unwrap();
    let said = talk.ended(1).await;
    assert!(
        said.stderr.contains("[stale-code]") && said.stderr.contains("too old"),
        "{said:?}"
    );
    assert_eq!(vault_file(&world), before);
}

#[tokio::test]
async fn nobody_at_the_browser_ends_the_wait() {
    let world = world("mastodon", "").await;
    let mut talk = connect(&world, &["--wait", "300ms"]);
    talk.address().await.unwrap();
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("[timeout]"), "{said:?}");
}

#[tokio::test]
async fn an_account_without_a_sign_in_says_how_its_credentials_are_made() {
    let world = world("telegram", "").await;
    let said = connect(&world, &[]).ended(1).await;
    assert!(said.stderr.contains("docs/channels/telegram.md"), "{said:?}");
    let said = world.cli(&["credentials", "connect", "okand"]).await.ended(2);
    assert!(said.stderr.contains("there are: konto"), "{said:?}");
}

/// Connects the account, and gives what was said.
async fn connects(world: &World, who: &str, holds: &str) -> Said {
    let old = secret(world, "access_token").unwrap();
    let mut talk = connect(world, &[]);
    assert_eq!(go(&talk.address().await.unwrap(), AGREES).await, 200);
    let said = talk.ended(0).await;
    assert!(
        said.stdout.contains(&format!("connected as {who}; {holds}")),
        "{said:?}"
    );
    assert!(said.stdout.contains("konto: reachable, as "), "{said:?}");
    assert_ne!(secret(world, "access_token").unwrap(), old);
    keeps_quiet(world, &said);
    said
}

/// Everything that can go wrong at a service whose browser comes back by itself.
async fn bad_paths(world: &World, scope: &str, other: &str) {
    let says_no = Person {
        agrees: false,
        ..AGREES
    };
    comes_to_nothing(world, says_no, "denied", "said no").await;
    comes_to_nothing(
        world,
        Person {
            right: false,
            ..AGREES
        },
        "wrong-account",
        other,
    )
    .await;
    let less = Person {
        unticks: scope,
        ..AGREES
    };
    comes_to_nothing(world, less, "scope", scope).await;
    let before = vault_file(world);
    let mut talk = connect(world, &[]);
    let back = visit(&talk.address().await.unwrap(), AGREES)
        .await
        .location
        .unwrap();
    happens(world, "expire-codes");
    browser().get(&back).send().await.unwrap();
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("[stale-code]"), "{said:?}");
    let mut talk = connect(world, &[]);
    let back = visit(&talk.address().await.unwrap(), AGREES)
        .await
        .location
        .unwrap();
    let forged = back.replace("state=", "state=x");
    browser().get(&forged).send().await.unwrap();
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("[wrong-state]"), "{said:?}");
    assert_eq!(vault_file(world), before);
    keeps_quiet(world, &said);
}

async fn is_listed_with_its_end(world: &World) {
    let listed = world
        .cli(&["credentials", "list", "--json"])
        .await
        .ended(0)
        .json();
    let held = listed["held"].as_array().unwrap();
    let token = held
        .iter()
        .find(|entry| entry["owner"] == "konto" && entry["name"] == "access_token");
    assert!(token.unwrap()["expires_at"].is_string(), "{listed:#}");
}

#[tokio::test]
async fn a_facebook_page_is_connected_with_its_own_token_and_no_other_page() {
    let world = world("facebook-page", "").await;
    connects(&world, "Nässjö kommun", "it holds until").await;
    is_listed_with_its_end(&world).await;
    bad_paths(&world, "pages_manage_posts", "Idrottsklubben").await;
    happens(&world, "no-role");
    comes_to_nothing(&world, AGREES, "role", "may not publish").await;
}

#[tokio::test]
async fn an_instagram_account_is_connected_by_the_page_that_it_is_linked_with() {
    let world = world("instagram", "").await;
    connects(&world, "Nässjö kommun", "it holds until").await;
    bad_paths(&world, "instagram_content_publish", "Idrottsklubben").await;
}

#[tokio::test]
async fn an_instagram_account_is_connected_by_its_own_log_in() {
    let account = Account::new("konto", "instagram").with("login = \"instagram\"");
    let world = World::open(Plan::of(vec![account])).await;
    connects(&world, "@nassjokommun", "it holds until").await;
    is_listed_with_its_end(&world).await;
    bad_paths(&world, "instagram_business_content_publish", "@anna").await;
}

#[tokio::test]
async fn a_threads_profile_is_connected_with_a_long_lived_token() {
    let world = world("threads", "").await;
    let said = connects(&world, "@nassjokommun", "it holds until").await;
    assert!(
        said.stdout.contains(", 59 days from now") || said.stdout.contains(", 60 days"),
        "{said:?}"
    );
    is_listed_with_its_end(&world).await;
    bad_paths(&world, "threads_content_publish", "@anna").await;
}

#[tokio::test]
async fn a_page_on_linkedin_is_connected_by_a_member_who_has_a_role_on_it() {
    let world = world("linkedin", "").await;
    connects(&world, "Nässjö kommun", "it holds until").await;
    is_listed_with_its_end(&world).await;
    bad_paths(&world, "w_organization_social", "without a role").await;
}

#[tokio::test]
async fn an_account_on_x_is_connected_by_the_number_that_it_shows() {
    let world = world("x", "").await;
    let old = secret(&world, "access_token").unwrap();
    let mut talk = connect(&world, &[]);
    let shown = visit(&talk.address().await.unwrap(), AGREES).await;
    talk.types(&code(&shown.page)).await;
    let said = talk.ended(0).await;
    assert!(
        said.stdout.contains("connected as @kommun; it has no end"),
        "{said:?}"
    );
    assert!(said.stdout.contains("reachable, as @kommun"), "{said:?}");
    assert_ne!(secret(&world, "access_token").unwrap(), old);
    keeps_quiet(&world, &said);
    let before = vault_file(&world);
    for (person, typed, code_of_failure) in [
        (AGREES, Some("0000000"), "stale-code"),
        (AGREES, Some("inte siffror"), "no-code"),
        (
            Person {
                right: false,
                ..AGREES
            },
            None,
            "wrong-account",
        ),
    ] {
        let mut talk = connect(&world, &[]);
        let shown = visit(&talk.address().await.unwrap(), person).await;
        let number = typed.map_or_else(|| code(&shown.page), str::to_owned);
        talk.types(&number).await;
        let said = talk.ended(1).await;
        assert!(said.stderr.contains(&format!("[{code_of_failure}]")), "{said:?}");
        keeps_quiet(&world, &said);
    }
    // Who says no is shown no number, and types none.
    let mut talk = connect(&world, &[]);
    let says_no = Person {
        agrees: false,
        ..AGREES
    };
    let shown = visit(&talk.address().await.unwrap(), says_no).await;
    assert!(!shown.page.contains("<code>"));
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("nothing was typed"), "{said:?}");
    let mut talk = connect(&world, &[]);
    let shown = visit(&talk.address().await.unwrap(), AGREES).await;
    happens(&world, "expire-codes");
    talk.types(&code(&shown.page)).await;
    let said = talk.ended(1).await;
    assert!(said.stderr.contains("too old"), "{said:?}");
    assert_eq!(vault_file(&world), before);
}

#[tokio::test]
async fn without_the_apps_id_it_is_said_where_that_is_found() {
    for (channel, name, place) in [
        ("facebook-page", "client_id", "developers.facebook.com"),
        ("threads", "client_id", "developers.facebook.com"),
        ("linkedin", "client_secret", "developer.linkedin.com"),
        ("x", "consumer_key", "console.x.com"),
    ] {
        let world = world(channel, "").await;
        world
            .cli(&["credentials", "remove", "konto", name])
            .await
            .ended(0);
        let said = connect(&world, &[]).ended(1).await;
        assert!(said.stderr.contains("[no-app]"), "{said:?}");
        assert!(
            said.stderr.contains(name) && said.stderr.contains(place),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn an_app_whose_secret_is_wrong_is_told_apart_from_an_old_code() {
    for (channel, name) in [("threads", "client_secret"), ("linkedin", "client_secret")] {
        let world = world(channel, "").await;
        let line = format!("{name}=fel-hemlighet\n");
        world
            .cli_with(&["credentials", "set", "konto"], &line)
            .await
            .ended(0);
        comes_to_nothing(&world, AGREES, "app-refused", "id and secret").await;
    }
    let world = world("x", "").await;
    world
        .cli_with(
            &["credentials", "set", "konto"],
            "consumer_secret=fel-hemlighet\n",
        )
        .await
        .ended(0);
    let said = connect(&world, &[]).ended(1).await;
    assert!(said.stderr.contains("[app-refused]"), "{said:?}");
}

#[tokio::test]
async fn a_token_is_taken_back_at_the_service_and_forgotten() {
    let world = world("mastodon", "").await;
    let _daemon = world.start().await;
    // Made by hand: only a person can.
    let said = world.cli(&["credentials", "revoke", "konto"]).await.ended(1);
    assert!(said.stderr.contains("Authorized apps"), "{said:?}");
    assert!(secret(&world, "access_token").is_some());
    connects(&world, "@kommun", "it has no end").await;
    let said = world.cli(&["credentials", "revoke", "konto"]).await.ended(0);
    assert!(said.stdout.contains("credentials connect konto"), "{said:?}");
    assert_eq!(secret(&world, "access_token"), None);
    let journal = world.get("/api/v1/journal").await.to_string();
    assert!(journal.contains(r#"\"change\":\"revoked\""#), "{journal}");
    let verified = world.cli(&["verify", "--account", "konto"]).await.ended(3);
    assert!(verified.stdout.contains("UNREACHABLE"), "{verified:?}");
}

#[tokio::test]
async fn on_linkedin_too_and_elsewhere_it_is_said_where_a_person_does_it() {
    let page = world("linkedin", "").await;
    page.cli(&["credentials", "revoke", "konto"]).await.ended(0);
    assert_eq!(secret(&page, "access_token"), None);
    for (channel, place) in [
        ("telegram", "@BotFather"),
        ("facebook-page", "Business integrations"),
    ] {
        let world = world(channel, "").await;
        let said = world.cli(&["credentials", "revoke", "konto"]).await.ended(1);
        assert!(
            said.stderr.contains(place) && said.stderr.contains("[by-hand]"),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn a_service_that_does_not_take_a_token_back_leaves_it_in_the_vault() {
    let world = world("linkedin", "").await;
    world.fault(
        "konto",
        vardkase::wall::How::Answer {
            status: 503,
            headers: Vec::new(),
            body: None,
        },
        1,
    );
    let before = vault_file(&world);
    world.cli(&["credentials", "revoke", "konto"]).await.ended(1);
    assert_eq!(vault_file(&world), before);
}

/// How often the account's tokens were renewed.
fn renewals(world: &World) -> usize {
    let seen = world.wall.seen();
    seen.iter()
        .filter(|seen| seen.path.contains("accessToken") || seen.path.contains("refresh_access_token"))
        .count()
}

#[tokio::test]
async fn however_many_ask_at_once_a_token_is_renewed_once_and_is_on_disk() {
    for (channel, account) in [
        ("linkedin", Account::new("konto", "linkedin")),
        ("threads", Account::new("konto", "threads")),
        (
            "instagram",
            Account::new("konto", "instagram").with("login = \"instagram\""),
        ),
    ] {
        let world = World::open(Plan::of(vec![account])).await;
        let daemon = world.start().await;
        let old = secret(&world, "access_token").unwrap();
        let body = serde_json::json!({ "accounts": ["konto"] });
        let asked = (0..50).map(|_| world.ask("POST", "/api/v1/renewals", Some(&body), None));
        let answers = futures::future::join_all(asked).await;
        let outcomes: Vec<String> = answers
            .into_iter()
            .map(|answer| answer.unwrap().1[0]["outcome"].as_str().unwrap().to_owned())
            .collect();
        let done = outcomes.iter().filter(|outcome| *outcome == "renewed").count();
        assert_eq!((done, renewals(&world)), (1, 1), "{channel}: {outcomes:?}");
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome == "renewed" || outcome == "not-yet"),
            "{outcomes:?}"
        );
        let new = secret(&world, "access_token").unwrap();
        assert_ne!(new, old, "{channel}");
        is_listed_with_its_end(&world).await;
        // It is the new one that is used, also after a restart.
        daemon.kill9().await;
        let _again = world.start().await;
        world.cli(&["verify", "--account", "konto"]).await.ended(0);
        assert_eq!(renewals(&world), 1, "{channel}");
        let said = world.cli(&["credentials", "renew", "konto"]).await.ended(0);
        assert!(said.stdout.contains("not-yet  due "), "{said:?}");
        let journal = world.get("/api/v1/journal").await.to_string();
        assert!(
            journal.contains(r#"\"outcome\":\"renewed\""#) && !journal.contains(&new),
            "{journal}"
        );
    }
}

#[tokio::test]
async fn a_kill_between_a_renewal_and_its_commit_is_told_as_sign_in_again() {
    let world = world("linkedin", "").await;
    happens(&world, "rotate-refresh");
    let env = [("VARDKASE_FAILPOINT", "refresh-commit.before")];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    world.ready(&mut daemon).await;
    world.cli(&["credentials", "renew", "konto"]).await;
    assert_eq!(daemon.ended(crate::support::PATIENCE).await, None);
    let _again = world.start().await;
    let said = world.cli(&["verify", "--account", "konto"]).await.ended(3);
    assert!(
        said.stdout.contains("vardkase credentials connect konto"),
        "{said:?}"
    );
    assert!(said.stdout.contains("Logga in kontot på nytt"), "{said:?}");
    let (ended, report) = world.send(&["--to", "konto"]).await;
    assert_eq!(ended, 3);
    assert!(report.to_string().contains("re-authorise"), "{report:#}");
    // And so it is mended.
    connects(&world, "Nässjö kommun", "it holds until").await;
    world.cli(&["verify", "--account", "konto"]).await.ended(0);
}

#[tokio::test]
async fn a_kill_after_the_commit_loses_nothing() {
    for channel in ["linkedin", "threads"] {
        let world = world(channel, "").await;
        let env = [("VARDKASE_FAILPOINT", "refresh-commit.after")];
        let mut daemon = world.spawn_with(&world.config, &[], &env);
        world.ready(&mut daemon).await;
        world.cli(&["credentials", "renew", "konto"]).await;
        assert_eq!(daemon.ended(crate::support::PATIENCE).await, None);
        let _again = world.start().await;
        world.cli(&["verify", "--account", "konto"]).await.ended(0);
        assert_eq!(renewals(&world), 1);
    }
}

#[tokio::test]
async fn where_the_old_token_lives_on_a_kill_before_the_commit_does_no_harm() {
    let world = world("threads", "").await;
    let env = [("VARDKASE_FAILPOINT", "refresh-commit.before")];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    world.ready(&mut daemon).await;
    world.cli(&["credentials", "renew", "konto"]).await;
    assert_eq!(daemon.ended(crate::support::PATIENCE).await, None);
    let _again = world.start().await;
    world.cli(&["verify", "--account", "konto"]).await.ended(0);
}

#[tokio::test]
async fn a_token_that_ended_on_linkedin_is_renewed_in_the_middle_of_a_broadcast() {
    let world = world("linkedin", "").await;
    let _daemon = world.start().await;
    happens(&world, "expire-tokens");
    let (ended, report) = world.send(&["--to", "konto"]).await;
    assert_eq!(ended, 0, "{report:#}");
    assert_eq!(renewals(&world), 1);
    happens(&world, "expire-consent");
    let said = world.cli(&["verify", "--account", "konto"]).await.ended(3);
    assert!(
        said.stdout
            .contains("sign in anew: vardkase credentials connect konto"),
        "{said:?}"
    );
}
