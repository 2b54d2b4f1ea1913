//! Every answer of the reference page, what a request carries, and which addresses are never spoken to.

use std::path::PathBuf;

use super::*;
use crate::channel::testing::{Asked, Server, answer, parts, post, question};
use crate::config::source::Source;
use crate::model::Recipient;

const TEXT: &str = "Koka vattnet i Nässjö. Nässjö kommun.\n\nhttps://nassjo.se/kris";
/// The example of RFC 8292, section 2.4, has no private key; this one belongs to nobody.
const KEY: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

fn settings() -> WebPush {
    WebPush {
        list: "prenumeranter".parse().unwrap(),
        subject: "mailto:kris@nassjo.se".to_owned(),
        services: vec!["127.0.0.1".to_owned()],
        keyed: true,
        max_bytes: 1000,
        base_url: None,
    }
}

fn open(settings: &WebPush) -> Arc<dyn Channel> {
    settings.open(parts([("vapid_private_key", KEY)])).unwrap()
}

fn subscription(endpoint: &str) -> String {
    let endpoint = endpoint.parse().unwrap();
    Subscription::practice(endpoint).unwrap().compact()
}

fn to(recipient: &str) -> Post {
    Post {
        recipient: Some(Recipient::new(recipient)),
        ..post(TEXT)
    }
}

async fn publish_against(said: String) -> (Result<Receipt, SendError>, Server) {
    let server = Server::start(vec![said]).await;
    let recipient = subscription(&format!("{}hemlig-adress", server.base));
    let result = open(&settings()).publish(&to(&recipient)).await;
    (result, server)
}

fn claims(asked: &Asked) -> serde_json::Value {
    let token = asked.headers["authorization"].strip_prefix("vapid t=").unwrap();
    let (token, key) = token.split_once(", k=").unwrap();
    assert_eq!(subscription::decoded(key).unwrap().len(), 65);
    let parts: Vec<&str> = token.split('.').collect();
    let signature = subscription::decoded(parts[2]).unwrap();
    assert_eq!(signature.len(), 64, "raw, not DER");
    let head: serde_json::Value = serde_json::from_slice(&subscription::decoded(parts[0]).unwrap()).unwrap();
    assert_eq!(head, serde_json::json!({"typ": "JWT", "alg": "ES256"}));
    let key = subscription::decoded(key).unwrap();
    aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, key)
        .verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature)
        .expect("it holds with the key that goes along");
    serde_json::from_slice(&subscription::decoded(parts[1]).unwrap()).unwrap()
}

#[tokio::test]
async fn a_message_carries_what_the_services_want_and_can_be_read_by_the_browser_alone() {
    let (result, server) =
        publish_against(answer(201, &[("location", "https://push.example/m/1")], "")).await;
    let receipt = result.unwrap();
    assert_eq!(receipt, Receipt::of(post(TEXT).key.as_str()));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /hemlig-adress");
    assert_eq!(asked.headers["ttl"], "3590");
    assert_eq!(asked.headers["urgency"], "high");
    assert_eq!(asked.headers["topic"], post(TEXT).alert.as_str());
    assert_eq!(asked.headers["content-encoding"], "aes128gcm");
    assert_eq!(asked.headers["content-type"], "application/octet-stream");
    let claims = claims(asked);
    assert_eq!(claims["aud"], server.base.as_str().trim_end_matches('/'));
    assert_eq!(claims["sub"], "mailto:kris@nassjo.se");
    assert_eq!(claims["exp"], post(TEXT).accepted_at.as_second() + 10 + 12 * 3600);
    assert_eq!(claims.as_object().unwrap().len(), 3, "RFC 8292 wants no more");
    assert!(!String::from_utf8_lossy(&asked.body).contains("Koka"));
}

#[tokio::test]
async fn every_answer_of_the_reference_page_has_its_class() {
    let rows: &[(u16, &str, &str)] = &[
        (400, "refused", "http-400"),
        (401, "refused", "other-key"),
        (403, "refused", "other-key"),
        (404, "refused", "gone"),
        (410, "refused", "gone"),
        (413, "refused", "http-413"),
        (429, "busy", "http-429"),
        (500, "unknown", "http-500"),
        (502, "unknown", "http-502"),
        (503, "not-sent", "http-503"),
        (504, "unknown", "http-504"),
        (408, "unknown", "http-408"),
        (307, "refused", "http-307"),
    ];
    for (status, class, code) in rows {
        let (result, _server) = publish_against(answer(*status, &[], "{\"reason\":\"BadJwtToken\"}")).await;
        let err = result.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            (*class, *code),
            "{status}"
        );
        assert!(!err.to_string().contains("hemlig"), "{err}");
    }
    for status in [200, 201, 202, 204] {
        let (result, _server) = publish_against(answer(status, &[], "")).await;
        assert!(result.is_ok(), "{status}");
    }
    for status in [429, 503] {
        for form in ["40", "Mon, 23 Nov 2026 16:00:00 GMT"] {
            let (result, _server) = publish_against(answer(status, &[("Retry-After", form)], "")).await;
            assert!(
                matches!(
                    result,
                    Err(SendError::Busy {
                        until: Some(_),
                        scope: Busy::Recipient,
                        ..
                    })
                ),
                "{result:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_address_is_spoken_to_but_those_of_known_services() {
    let far: Vec<String> = SERVICES.iter().map(|service| (*service).to_owned()).collect();
    for (endpoint, known) in [
        ("https://fcm.googleapis.com/fcm/send/a", true),
        ("https://wns2-am3p.notify.windows.com/w/?token=a", true),
        ("https://updates.push.services.mozilla.com/wpush/v2/a", true),
        ("https://web.push.apple.com/a", true),
        ("https://evilfcm.googleapis.com/a", false),
        ("https://fcm.googleapis.com.evil.example/a", false),
        ("https://fcm.googleapis.com:8443/a", false),
        ("https://10.0.0.1/a", false),
        ("https://127.0.0.1/a", false),
        ("http://127.0.0.1:9187/metrics", false),
        ("https://nassjo.se/a", false),
    ] {
        let subscription = Subscription::practice(endpoint.parse().unwrap()).unwrap();
        assert_eq!(subscription.is_at(&far), known, "{endpoint}");
    }
    let server = Server::start(vec![answer(201, &[], "")]).await;
    let strict = WebPush {
        services: far,
        ..settings()
    };
    let recipient = subscription(&format!("{}a", server.base));
    let err = open(&strict).publish(&to(&recipient)).await.unwrap_err();
    assert_eq!(err.reason().code, "push-service");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_is_no_subscription_is_refused_without_being_repeated() {
    let good = subscription("https://fcm.googleapis.com/a");
    let spoiled = [
        "anna@example.se".to_owned(),
        "{}".to_owned(),
        good.replace("https://", "http://"),
        good.replace("https://", "https://user:hemlig@"),
        good.replace("\"auth\":\"", "\"auth\":\"AAAA"),
        good.replace("\"p256dh\":\"B", "\"p256dh\":\"C"),
        good.replace("https://fcm", "ftp://fcm"),
    ];
    for recipient in spoiled {
        let err = open(&settings()).publish(&to(&recipient)).await.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            ("refused", "recipient"),
            "{recipient}"
        );
        assert!(
            !err.to_string().contains("hemlig") && !err.to_string().contains("anna"),
            "{err}"
        );
    }
    let err = open(&settings()).publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(err.reason().code, "recipient");
}

#[test]
fn a_subscription_is_kept_as_one_short_line_whatever_the_browser_added() {
    let keys = "\"p256dh\":\"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4=\",\
                \"auth\":\"BTBZMqHH6r4Tts7J/aSIgg==\"";
    let given = format!(
        "{{ \"endpoint\": \"https://web.push.apple.com/Q\",\n \"expirationTime\": null, \"keys\": {{{keys}}}, \"extra\": 1 }}"
    );
    let read = Subscription::parse(&given).unwrap();
    let compact = read.compact();
    assert_eq!(compact, subscription("https://web.push.apple.com/Q"));
    assert_eq!(Subscription::parse(&compact).unwrap(), read);
    assert!(!format!("{read:?}").contains("/Q"));
}

#[tokio::test]
async fn a_token_serves_for_an_origin_until_half_its_life_is_over() {
    let vapid = Vapid::new(KEY, "mailto:kris@nassjo.se").unwrap();
    let now = post(TEXT).accepted_at;
    let at = |path: &str, now| vapid.authorization(&path.parse().unwrap(), now).unwrap();
    let first = at("https://fcm.googleapis.com/a", now);
    assert_eq!(at("https://fcm.googleapis.com/b", now), first);
    assert_ne!(at("https://web.push.apple.com/b", now), first);
    let later = crate::clock::later(now, Duration::from_hours(6));
    assert_ne!(at("https://fcm.googleapis.com/b", later), first);
    assert!(first.is_sensitive());
    vapid.check(now).unwrap();
}

#[test]
fn a_subject_that_apple_would_refuse_is_found_in_the_configuration() {
    for good in ["mailto:kris@nassjo.se", "https://nassjo.se/kris"] {
        vapid::check_subject(good).unwrap();
    }
    for bad in [
        "kris@nassjo.se",
        "mailto: kris@nassjo.se",
        "mailto:kris@localhost",
        "mailto:kris@kommun.invalid",
        "https://localhost",
        "http://nassjo.se",
        "mailto:",
        "",
    ] {
        assert!(vapid::check_subject(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_wrong_in_the_configuration_is_told_with_its_key() {
    let problems = |keys: &str| {
        let source = Source::new("config.toml", keys);
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        assert!(read(&mut section).is_none());
        section.finish();
        let problems = source.take_problems();
        problems
            .into_iter()
            .map(|problem| problem.key)
            .collect::<Vec<_>>()
    };
    let good = "list = \"a\"\nsubject = \"mailto:kris@nassjo.se\"\n";
    assert_eq!(problems(""), ["list", "subject"]);
    assert_eq!(
        problems("list = \"a\"\nsubject = \"kris@nassjo.se\""),
        ["subject"]
    );
    assert_eq!(
        problems(&format!("{good}push_services = [\"a b\"]")),
        ["push_services"]
    );
    assert_eq!(
        problems(&format!("{good}base_url = \"https://push.example\"")),
        ["base_url"]
    );
    assert_eq!(problems(&format!("{good}max_bytes = 4000")), ["max_bytes"]);
}

#[tokio::test]
async fn a_key_that_is_none_is_told_without_repeating_it() {
    for bad in [
        "hemlig",
        "",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let reason = settings().open(parts([("vapid_private_key", bad)])).unwrap_err();
        assert!(matches!(reason.code.as_str(), "bad-credential" | "no-credential"));
        assert!(!reason.text.contains("hemlig"));
    }
    assert_eq!(settings().open(parts([])).unwrap_err().code, "no-credential");
}

#[tokio::test]
async fn at_the_wall_no_subscription_is_spoken_to() {
    let server = Server::start(vec![answer(201, &[], "")]).await;
    let site = WallSite {
        base: format!("{}drill/push", server.base).parse().unwrap(),
        smtp: "127.0.0.1:2".parse().unwrap(),
        sftp: crate::channel::testing::no_sftp(),
        folder: PathBuf::new(),
    };
    let practice = settings().at_wall(&site);
    let channel = practice.open(parts([("vapid_private_key", KEY)])).unwrap();
    let real = subscription("https://fcm.googleapis.com/fcm/send/hemlig");
    channel.publish(&to(&real)).await.unwrap();
    let line = server.asked()[0].line.clone();
    assert!(
        line.starts_with("POST /drill/push/push/") && !line.contains("hemlig"),
        "{line}"
    );
    assert_eq!(practice.addresses()[0].0, "base_url");
}

#[tokio::test]
async fn settling_says_what_the_site_s_service_worker_makes_true() {
    let asked = question(to(&subscription("https://fcm.googleapis.com/a")));
    assert_eq!(open(&settings()).settle(&asked).await.unwrap(), Settled::Absent);
    let unkeyed = WebPush {
        keyed: false,
        ..settings()
    };
    assert_eq!(
        (settings().proof(), unkeyed.proof()),
        (None, Some(Proof::Unproven))
    );
    let settled = open(&unkeyed).settle(&asked).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(reason) if reason.code == "no-key"));
    let identity = open(&settings()).verify().await.unwrap();
    assert_eq!(identity.facts["public_key"].len(), 87);
}

#[test]
fn a_drill_is_never_urgent() {
    let mut post = post(TEXT);
    assert_eq!(urgency(&post), "high");
    post.kind = Does::AllClear;
    assert_eq!(urgency(&post), "normal");
    post.mode = Mode::Drill;
    assert_eq!(urgency(&post), "low");
    let late = crate::clock::later(post.valid_until, Duration::from_secs(1));
    assert_eq!(ttl(&post, late), 0);
}

#[test]
fn all_of_an_alert_has_one_tag_and_what_is_newer_makes_itself_heard() {
    let told = |post: &Post| -> serde_json::Value { serde_json::from_slice(&payload(post)).unwrap() };
    let first = post(TEXT);
    let mut update = crate::channel::testing::with_key(post(TEXT), "0193f5b0-0000-7000-8000-000000000002");
    update.kind = Does::Update;
    let (one, two) = (told(&first), told(&update));
    assert_eq!((&one["tag"], &one["renotify"]), (&two["tag"], &false.into()));
    assert_eq!(two["renotify"], true);
    assert_ne!(one["id"], two["id"], "a repeat is told from what is new");
    assert_eq!(topic(&first), topic(&update));
    assert_eq!(told(&first), one, "the same for every attempt");
    update.alert = "2026-0099".parse().unwrap();
    assert_ne!(
        (told(&update)["tag"].clone(), topic(&update)),
        (one["tag"].clone(), topic(&first))
    );
}
