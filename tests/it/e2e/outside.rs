//! What is told from outside, through the real binary and its listener: services that report, a reader who leaves, a
//! browser that is gone. Whoever has no proof changes nothing.

use std::net::TcpListener;

use serde_json::{Value, json};
use vardkase::wall::{CutAt, How};

use crate::support::{Account, Plan, World, list, states};

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn listening(accounts: Vec<Account>, port: u16) -> Plan {
    Plan::of(accounts).daemon(&format!("public_listen = \"127.0.0.1:{port}\""))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The confirmations of a broadcast, as they were sent.
fn mails(world: &World) -> String {
    let all: Vec<String> = world.confirmations().into_iter().map(|mail| mail.text).collect();
    all.join("\n\n")
}

#[tokio::test]
async fn people_read_how_many_have_it_and_of_how_many_nothing_is_known() {
    let port = free_port();
    let sms = Account::new("sms", "sms-46elks")
        .with("list = \"alla\"")
        .with(&format!(
            "whendelivered = \"http://127.0.0.1:{port}/reports/sms\""
        ));
    // The third has no telephone.
    let lists =
        "[list.alla]\nkind = \"phone\"\nrecipients = [\"+46701740605\", \"+46701740606\", \"+46701740699\"]";
    let world = World::open(listening(vec![sms], port).list(lists)).await;
    let _daemon = world.start().await;
    let (code, sent) = world.send(&["--to", "sms"]).await;
    assert_eq!(code, 0, "{sent:#}");
    let broadcast = sent["broadcast"].as_str().unwrap();
    let report = world
        .until(broadcast, "all told", |report| {
            report["arrivals"]["sms"] == json!({"sent": 0, "delivered": 2, "failed": 1})
        })
        .await;
    assert_eq!(
        states(&report, "sms"),
        ["published"; 3],
        "taken, whatever became of it"
    );
    let said = world.cli(&["status", broadcast]).await.ended(0);
    assert!(
        said.stdout.contains("  sms: arrived 2 of 3, 1 will not arrive\n"),
        "{said:?}"
    );
    let said = world.cli(&["status", broadcast, "--json"]).await.ended(0);
    assert_eq!(said.json()["arrivals"]["sms"]["delivered"], 2);
    world.told(broadcast, 2).await;
    let mail = mails(&world);
    assert!(mail.contains("Enligt tjänsten framme: "), "{mail}");
    assert!(mail.contains(" av 3"), "{mail}");
}

#[tokio::test]
async fn whatsapp_reports_are_believed_only_with_the_apps_signature() {
    let port = free_port();
    let account = Account::new("wa", "whatsapp");
    let world = World::open(listening(vec![account], port)).await;
    let _daemon = world.start().await;
    let (client, url) = (client(), format!("http://127.0.0.1:{port}/reports/wa"));
    let secret = |name: &str| {
        let all = &world.simulated("wa").secrets;
        all.iter().find(|(known, _)| known == name).unwrap().1.clone()
    };
    let (token, app_secret) = (secret("verify_token"), secret("app_secret"));

    // Meta asks first whether we are the ones.
    let ask = async |token: &str| {
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.verify_token", token),
            ("hub.challenge", "1158201444"),
        ];
        let answer = client.get(&url).query(&query).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(&token).await, (200, "1158201444".to_owned()));
    assert_eq!(ask("fel").await, (403, String::new()));
    assert_eq!(ask("").await, (403, String::new()));

    // Until somebody subscribes nothing is reported, and that is said.
    let (code, sent) = world.send(&["--to", "wa"]).await;
    assert_eq!(code, 0, "{sent:#}");
    let broadcast = sent["broadcast"].as_str().unwrap();
    let none = json!({"sent": 0, "delivered": 0, "failed": 0});
    assert_eq!(world.report(broadcast).await["arrivals"]["wa"], none);
    let said = world.cli(&["status", broadcast]).await.ended(0);
    assert!(
        said.stdout.contains("  wa: arrived 0 of 2, 2 not known yet\n"),
        "{said:?}"
    );

    // Whoever cannot sign changes nothing.
    let first = broadcast;
    let said_of = |delivery: &str| {
        json!({"object": "whatsapp_business_account", "entry": [{"id": "1066", "changes": [{
            "field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1065"},
            "statuses": [{
                "id": "wamid.x", "status": "delivered", "biz_opaque_callback_data": format!("vardkase:{delivery}"),
            }]},
        }]}]})
        .to_string()
    };
    let named = |at: usize| sent["deliveries"][at]["delivery"].as_str().unwrap();
    let delivery = named(0);
    let (body, second) = (said_of(delivery), said_of(named(1)));
    let signed = |secret: &str, body: &str| {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
    };
    let sign = |secret: &str| signed(secret, &body);
    let told = async |body: String, signature: Option<String>| {
        let mut request = client.post(&url).header("content-type", "application/json");
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let answer = request.body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let report = async |signature: Option<String>| told(body.clone(), signature).await;
    for forged in [
        None,
        Some("sha256=00".to_owned()),
        Some(sign(&token)),
        Some(sign("")),
    ] {
        assert_eq!(report(forged.clone()).await, (403, String::new()), "{forged:?}");
    }
    assert_eq!(world.report(broadcast).await["arrivals"]["wa"], none);
    assert_eq!(report(Some(sign(&app_secret))).await.0, 200);
    assert_eq!(world.report(broadcast).await["arrivals"]["wa"]["delivered"], 1);

    // Subscribed, the service reports by itself: twice, out of order, and signed.
    let site = &world.simulated("wa").site.base;
    let subscribed = client
        .post(format!(
            "{}/v26.0/1066/subscribed_apps",
            site.as_str().trim_end_matches('/')
        ))
        .bearer_auth(secret("access_token"))
        .json(&json!({"override_callback_uri": url, "verify_token": token}))
        .send()
        .await
        .unwrap();
    assert_eq!(
        subscribed.status().as_u16(),
        200,
        "{}",
        subscribed.text().await.unwrap()
    );
    let (_, later) = world.send(&["--to", "wa"]).await;
    let broadcast = later["broadcast"].as_str().unwrap();
    world
        .until(broadcast, "read by both", |report| {
            report["arrivals"]["wa"] == json!({"sent": 0, "delivered": 2, "failed": 0})
        })
        .await;
    let log = world.cli(&["log", "show", "--json"]).await.ended(0);
    assert!(!log.stdout.contains(&app_secret) && !log.stdout.contains(&token));

    // Switched off, it sends nothing, and hears what becomes of what it sent before.
    let off = ["accounts", "disable", "wa", "--reason", "i fel händer"];
    world.cli(&off).await.ended(0);
    let forged = report(Some(sign("fel"))).await;
    assert_eq!(forged, (403, String::new()), "whoever has no proof is not heard");
    let before = world.report(first).await["arrivals"]["wa"]["delivered"].clone();
    assert_eq!(before, 1);
    let proof = signed(&app_secret, &second);
    assert_eq!(told(second, Some(proof)).await.0, 200);
    assert_eq!(world.report(first).await["arrivals"]["wa"]["delivered"], 2);
    let (code, _) = world.send(&["--to", "wa"]).await;
    assert_eq!(code, 3, "nothing is sent on it");
}

/// Takes one call and keeps it: what was asked for, and its body.
async fn held_call(listener: &tokio::net::TcpListener) -> (String, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse::<usize>()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let body = body.to_owned();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            return (path, body);
        }
    }
}

#[tokio::test]
async fn an_account_that_is_switched_off_still_hears_what_became_of_its_text_messages() {
    let port = free_port();
    // The report is on its way for a while: it comes when the account is off.
    let way = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sms = Account::new("sms", "sms-46elks")
        .with("list = \"alla\"")
        .with(&format!(
            "whendelivered = \"http://{}/reports/sms\"",
            way.local_addr().unwrap()
        ));
    let lists = "[list.alla]\nkind = \"phone\"\nrecipients = [\"+46701740605\"]";
    let world = World::open(listening(vec![sms], port).list(lists)).await;
    let daemon = world.start().await;
    let (code, sent) = world.send(&["--to", "sms"]).await;
    assert_eq!(code, 0, "{sent:#}");
    let broadcast = sent["broadcast"].as_str().unwrap();
    let mut calls = Vec::new();
    for _ in 0..2 {
        let held = tokio::time::timeout(crate::support::PATIENCE, held_call(&way));
        calls.push(held.await.expect("the service reports"));
    }
    let off = ["accounts", "disable", "sms", "--reason", "avtalet är slut"];
    world.cli(&off).await.ended(0);
    let nothing = json!({"sent": 0, "delivered": 0, "failed": 0});
    assert_eq!(world.report(broadcast).await["arrivals"]["sms"], nothing);
    let client = client();
    let tell = async |(path, body): &(String, String)| {
        let request = client.post(format!("http://127.0.0.1:{port}{path}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body.clone()).send().await.unwrap().status().as_u16()
    };
    let mut forged = calls[1].clone();
    forged.0 = forged.0.replace("token=", "token=00");
    assert_ne!(tell(&forged).await, 200);
    assert_eq!(world.report(broadcast).await["arrivals"]["sms"], nothing);
    for call in &calls {
        assert_eq!(tell(call).await, 200);
    }
    let told = world.report(broadcast).await;
    assert_eq!(told["arrivals"]["sms"]["delivered"], 1, "{told:#}");

    // Also after a restart; and it sends nothing all the while.
    daemon.kill9().await;
    let _daemon = world.start().await;
    assert_eq!(tell(&calls[1]).await, 200, "a repeat is harmless");
    assert_eq!(world.report(broadcast).await["arrivals"]["sms"]["delivered"], 1);
    let (code, _) = world.send(&["--to", "sms"]).await;
    assert_eq!(code, 3);
    assert_eq!(world.posts_of("sms").len(), 1);
}

/// What Meta reports of a delivery, signed.
async fn report(world: &World, url: &str, delivery: &str, status: &Value) -> u16 {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut status = status.clone();
    status["biz_opaque_callback_data"] = format!("vardkase:{delivery}").into();
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1066", "changes": [{
        "field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "1065"},
        "statuses": [status]},
    }]}]})
    .to_string();
    let all = &world.simulated("wa").secrets;
    let secret = all.iter().find(|(known, _)| known == "app_secret").unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.1.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let request = client()
        .post(url)
        .header("content-type", "application/json")
        .header("x-hub-signature-256", signature);
    request.body(body).send().await.unwrap().status().as_u16()
}

/// The answers to both messages are cut off after Meta has taken them: held, until Meta itself tells what became of them.
#[tokio::test]
async fn a_whatsapp_report_settles_what_a_lost_answer_left_open_and_ends_who_has_no_whatsapp() {
    let port = free_port();
    let world = World::open(listening(vec![Account::new("wa", "whatsapp")], port)).await;
    let _daemon = world.start().await;
    let url = format!("http://127.0.0.1:{port}/reports/wa");
    world.fault("wa", How::DoneThenCut(CutAt::MidBody), 2);
    let (code, sent) = world.send(&["--to", "wa"]).await;
    assert_eq!(code, 3, "{sent:#}");
    assert_eq!(states(&sent, "wa"), ["held"; 2]);
    let taken = world.posts_of("wa");
    assert_eq!(taken.len(), 2, "both were taken");
    let broadcast = sent["broadcast"].as_str().unwrap();
    let deliveries: Vec<&str> = list(&sent, "deliveries")
        .iter()
        .map(|one| one["delivery"].as_str().unwrap())
        .collect();
    let of = |delivery: &str| {
        let ours = format!("vardkase:{delivery}");
        taken
            .iter()
            .find(|post| post.key.as_ref() == Some(&ours))
            .unwrap()
    };

    // The first has arrived, under the id that the lost answer held.
    let (first, second) = (deliveries[0], deliveries[1]);
    let id = &of(first).remote_id;
    let delivered = json!({"id": id, "status": "delivered", "recipient_id": "46701740605"});
    assert_eq!(report(&world, &url, first, &delivered).await, 200);
    // The other person has no WhatsApp.
    let number = of(second).recipient.clone().unwrap();
    let failed = json!({"id": of(second).remote_id, "status": "failed", "recipient_id": number.trim_start_matches('+'),
        "errors": [{"code": 131_026, "title": "Message undeliverable",
            "message": format!("Message to {} undeliverable", number.trim_start_matches('+'))}]});
    assert_eq!(report(&world, &url, second, &failed).await, 200);
    let settled = world
        .until(broadcast, "both settled", |report| {
            list(report, "deliveries")
                .iter()
                .all(|one| one["state"] != "held")
        })
        .await;
    let one = |delivery: &str| {
        let all = list(&settled, "deliveries");
        all.iter()
            .find(|one| one["delivery"] == delivery)
            .unwrap()
            .clone()
    };
    assert_eq!(one(first)["state"], "published", "{settled:#}");
    assert_eq!(one(second)["state"], "refused", "{settled:#}");
    assert_eq!(
        settled["arrivals"]["wa"],
        json!({"sent": 0, "delivered": 1, "failed": 1})
    );
    let log = world.cli(&["log", "show", "--json"]).await.ended(0);
    assert!(log.stdout.contains(id), "the receipt holds Meta's id");
    assert!(log.stdout.contains("whatsapp-131026") && !log.stdout.contains(number.trim_start_matches('+')));
    world.cli(&["log", "verify"]).await.ended(0);

    // They are not written to again for that broadcast, and the second one not at all.
    assert_eq!(world.posts_of("wa").len(), 2);
    let gone = world
        .cli(&["recipients", "suppressed", "--json"])
        .await
        .ended(0)
        .json();
    assert_eq!(gone.as_array().unwrap().len(), 1, "{gone}");
    assert_eq!(gone[0]["reason"]["code"], "whatsapp-131026");
    let (code, next) = world.send(&["--to", "wa"]).await;
    assert_eq!(code, 0, "{next:#}");
    let after = world.posts_of("wa");
    assert_eq!(after.len(), 3);
    assert_ne!(after[2].recipient.as_deref(), Some(number.as_str()));
}

#[tokio::test]
async fn a_reader_leaves_with_one_click_and_is_taken_in_again() {
    let port = free_port();
    let lists = "[list.utskick]\nrecipients = [\"redaktion@hoglandsnytt.example\", \"tips@smalandsposten.example\"]\n\
                 unsubscribe = \"https://kris.nassjo.se/unsubscribe/press/{token}\"";
    let world = World::open(
        listening(
            vec![Account::new("press", "email").with("list = \"utskick\"")],
            port,
        )
        .list(lists),
    )
    .await;
    world
        .cli_with(
            &["credentials", "set", "press"],
            "unsubscribe_key=hemlig-nyckel-17\n",
        )
        .await
        .ended(0);
    let _daemon = world.start().await;
    let (code, _) = world.send(&["--to", "press"]).await;
    assert_eq!(code, 0);
    let mails = world.posts_of("press");
    assert_eq!(mails.len(), 2);
    // The relay of the wall takes one of the two headers without the other for a fault.
    let place = |reader: &str| {
        let mail = mails
            .iter()
            .find(|mail| mail.recipient.as_deref() == Some(reader));
        let public = mail.unwrap().shown["unsubscribe"].clone();
        let path = public.strip_prefix("https://kris.nassjo.se").unwrap();
        format!("http://127.0.0.1:{port}{path}")
    };
    let reader = "tips@smalandsposten.example";
    let (mine, other) = (place(reader), place("redaktion@hoglandsnytt.example"));
    assert_ne!(mine, other);

    let client = client();
    let click = async |url: &str, body: &'static str| {
        let kind = "application/x-www-form-urlencoded";
        let request = client.post(url).header("content-type", kind).body(body);
        request.send().await.unwrap().status().as_u16()
    };
    let left = async || {
        world
            .cli(&["recipients", "suppressed", "--json"])
            .await
            .ended(0)
            .json()
    };
    // To look is not to leave, and nobody leaves for another.
    let page = client.get(&mine).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    let page = page.text().await.unwrap();
    assert!(
        page.contains("Vill du sluta få") && !page.contains(reader),
        "{page}"
    );
    assert_eq!(click(&mine, "").await, 400);
    let forged = format!("{mine}x");
    assert_eq!(click(&forged, "List-Unsubscribe=One-Click").await, 403);
    assert_eq!(client.get(&forged).send().await.unwrap().status().as_u16(), 403);
    let elsewhere = mine.replace("/press/", "/annat/");
    assert_eq!(click(&elsewhere, "List-Unsubscribe=One-Click").await, 403);
    assert_eq!(left().await, json!([]));

    assert_eq!(click(&mine, "List-Unsubscribe=One-Click").await, 200);
    assert_eq!(
        click(&mine, "List-Unsubscribe=One-Click").await,
        200,
        "a repeat is harmless"
    );
    let gone = left().await;
    assert_eq!(gone.as_array().unwrap().len(), 1, "{gone}");
    assert_eq!(
        (
            &gone[0]["account"],
            &gone[0]["reason"]["code"],
            &gone[0]["recipient"]
        ),
        (
            &"press".into(),
            &"unsubscribed".into(),
            &"t…@smalandsposten.example".into()
        )
    );
    world.send(&["--to", "press"]).await;
    let readers: Vec<_> = world.posts_of("press").into_iter().skip(2).collect();
    assert_eq!(readers.len(), 1);
    assert_ne!(readers[0].recipient.as_deref(), Some(reader));
    world.cli(&["recipients", "restore", reader]).await.ended(0);
    assert_eq!(left().await, json!([]));
    world.send(&["--to", "press"]).await;
    assert_eq!(world.posts_of("press").len(), 5);
    let log = world.cli(&["log", "show", "--json"]).await.ended(0);
    assert!(log.stdout.contains("unsubscribed") && !log.stdout.contains(reader));
}

/// A subscription whose keys are those of RFC 8291's example.
fn subscription(name: &str) -> String {
    let keys = json!({
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    });
    json!({"endpoint": format!("https://web.push.apple.com/{name}"), "keys": keys}).to_string()
}

#[tokio::test]
async fn a_subscription_that_has_ended_is_not_asked_again_and_an_update_takes_the_place_of_what_is_shown() {
    let account = Account::new("notiser", "web-push").with("list = \"lasare\"");
    let lists = "[list.lasare]\nkind = \"push\"\nfile = \"lasare.jsonl\"";
    let world = World::open(Plan::of(vec![account]).list(lists)).await;
    let write = |names: &[&str]| {
        let lines: Vec<String> = names.iter().map(|name| subscription(name) + "\n").collect();
        std::fs::write(world.dir().join("lasare.jsonl"), lines.concat()).unwrap();
    };
    let _daemon = world.start().await;
    let gone = |status: u16| How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    };
    let asked = || {
        world
            .wall
            .seen()
            .iter()
            .filter(|seen| seen.method == "POST")
            .count()
    };
    for (n, (status, name)) in [(410, "Qa"), (404, "Qb")].into_iter().enumerate() {
        write(&[name]);
        world.fault("notiser", gone(status), 1);
        let (_, report) = world.send(&["--to", "notiser"]).await;
        assert_eq!(states(&report, "notiser"), ["refused"], "{report:#}");
        let said = world.cli(&["recipients", "suppressed", "--json"]).await.ended(0);
        let all = said.json();
        assert_eq!(all.as_array().unwrap().len(), n + 1, "{all}");
        let reason = &all[0]["reason"];
        assert_eq!(reason["code"], "gone");
        assert!(
            reason["text"].as_str().unwrap().contains(&status.to_string()),
            "{reason}"
        );
    }
    // Both are left out; the third is the only one that is asked.
    write(&["Qa", "Qb", "Qc"]);
    let before = asked();
    let (code, report) = world.send(&["--to", "notiser"]).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(list(&report, "recipients")[0]["suppressed"], 2, "{report:#}");
    assert_eq!(asked() - before, 1);

    let alert = report["alert"].as_str().unwrap();
    let more = [
        "--alert",
        alert,
        "--kind",
        "update",
        "-f",
        "nytt=Tankbilar är på väg.",
    ];
    let (code, update) = world.send(&more).await;
    assert_eq!(code, 0, "{update:#}");
    let posts = world.posts_of("notiser");
    assert_eq!(posts.len(), 2, "{posts:#?}");
    assert_eq!(posts[0].shown["tag"], posts[1].shown["tag"]);
    assert_eq!(posts[0].shown["replaced"], posts[1].remote_id);
    assert_eq!(posts[1].shown["alerts"], "yes", "an update is heard");
}
