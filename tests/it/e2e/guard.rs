//! What a finger that slips or a script that runs wild does: the same text twice, and message after message. A person who
//! means it says why.

use serde_json::{Value, json};

use crate::support::{Account, Plan, World, list};

/// A world with the guard at work; others have it switched off.
async fn guarded(checks: &str) -> World {
    let accounts = vec![
        Account::new("intranat", "webhook"),
        Account::new("skolan", "webhook"),
    ];
    World::open(Plan {
        checks: checks.to_owned(),
        ..Plan::of(accounts)
    })
    .await
}

const SEND: [&str; 5] = ["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SEND[..], more].concat()
}

/// The request as the journal's newest record of an acceptance has it.
async fn accepted(world: &World) -> Value {
    let records = world.get("/api/v1/journal").await;
    let records = records.as_array().unwrap();
    let newest = records.iter().rfind(|record| record["kind"] == "accept").unwrap();
    let body: Value = serde_json::from_str(newest["body"].as_str().unwrap()).unwrap();
    body["request"].clone()
}

#[tokio::test]
async fn the_same_text_twice_takes_a_reason_that_stands_in_the_journal() {
    let world = guarded("").await;
    let _daemon = world.start().await;
    world.cli(&with(&["--wait"])).await.ended(0);
    let said = world.cli(&SEND).await.ended(4);
    assert!(said.stderr.contains("STOP [duplicate]"), "{said:?}");
    assert!(said.stderr.contains("intranat, skolan"), "{said:?}");
    // Whoever looks first is told as well.
    let body = json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" } });
    let (_, preview) = world
        .ask("POST", "/api/v1/previews", Some(&body), None)
        .await
        .unwrap();
    assert_eq!(preview["blocked"], true, "{preview:#}");
    assert!(
        list(&preview, "findings")
            .iter()
            .any(|finding| finding["check"] == "duplicate")
    );
    let (status, problem) = world
        .ask("POST", "/api/v1/broadcasts", Some(&body), None)
        .await
        .unwrap();
    assert_eq!(
        (status, &problem["type"]),
        (422, &"urn:vardkase:checks".into()),
        "{problem:#}"
    );
    // Another text, and the same text as an exercise, are no slip.
    world
        .cli(&["send", "koka-vattnet", "-f", "omrade=Malmbäck", "--yes"])
        .await
        .ended(0);
    world.cli(&with(&["--mode", "drill"])).await.ended(0);
    world.cli(&with(&["--mode", "drill"])).await.ended(0);
    assert_eq!(world.posts_of("skolan").len(), 2);

    // No reason, no such check, and one that nobody may override.
    for (more, code, words) in [
        ("duplicate", 2, "CHECK=REASON"),
        ("duplicate=  ", 1, "takes a reason"),
        ("sender=bråttom", 1, "cannot be overridden"),
        ("storm=många händelser", 4, "STOP [duplicate]"),
    ] {
        let said = world.cli(&with(&["--override", more])).await.ended(code);
        assert!(said.stderr.contains(words), "{more}: {said:?}");
    }
    let said = world
        .cli(&with(&[
            "--wait",
            "--override",
            "duplicate=Nya abonnenter sedan förra utskicket",
        ]))
        .await
        .ended(0);
    assert!(
        said.stderr.contains("Åsidosatt: Nya abonnenter") || said.stdout.contains("Åsidosatt"),
        "{said:?}"
    );
    assert_eq!(world.posts_of("skolan").len(), 3);
    let request = accepted(&world).await;
    assert_eq!(
        request["overrides"],
        json!({ "duplicate": "Nya abonnenter sedan förra utskicket" })
    );
    assert!(
        list(&request, "findings")
            .iter()
            .any(|finding| finding["check"] == "duplicate")
    );
}

#[tokio::test]
async fn of_two_slips_at_once_one_goes_out() {
    let world = guarded("").await;
    let _daemon = world.start().await;
    let body = json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" } });
    let sent = (0..8).map(|_| world.ask("POST", "/api/v1/broadcasts", Some(&body), None));
    let answers = futures::future::join_all(sent).await;
    let mut codes: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
    codes.sort_unstable();
    assert_eq!(codes, [202, 422, 422, 422, 422, 422, 422, 422]);
}

#[tokio::test]
async fn a_text_that_got_nowhere_may_be_sent_again() {
    let world = guarded("").await;
    let _daemon = world.start().await;
    for account in ["intranat", "skolan"] {
        let refused = vardkase::wall::How::Answer {
            status: 400,
            headers: Vec::new(),
            body: None,
        };
        world.fault(account, refused, 1);
    }
    world.cli(&with(&["--wait"])).await.ended(3);
    world.cli(&with(&["--wait"])).await.ended(0);
    assert_eq!(world.posts().len(), 2);
}

#[tokio::test]
async fn too_many_in_a_row_take_a_reason_and_the_end_never_does() {
    let world = guarded("storm_limit = 2\nstorm_window = \"1h\"\n").await;
    let _daemon = world.start().await;
    let send = |place: &str, more: &[&str]| {
        let field = format!("omrade={place}");
        let args: Vec<String> = ["send", "koka-vattnet", "-f", &field, "--yes", "--wait", "--json"]
            .iter()
            .chain(more)
            .map(|&arg| arg.to_owned())
            .collect();
        let world = &world;
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            world.cli(&args).await
        }
    };
    let alert = send("Forserum", &[]).await.ended(0).json()["alert"]
        .as_str()
        .unwrap()
        .to_owned();
    send("Malmbäck", &[]).await.ended(0);
    let said = send("Bodafors", &[]).await.ended(4);
    assert!(
        said.stderr.contains("STOP [storm]") && said.stderr.contains("gränsen är 2"),
        "{said:?}"
    );
    for (kind, field, code) in [
        ("update", &["-f", "nytt=Tankbilar är på väg."][..], 4),
        ("correction", &["-f", "ratt=Det gäller också Stensjön."], 0),
        ("all-clear", &[], 0),
    ] {
        let under = [&["--alert", &alert, "--kind", kind][..], field].concat();
        send("Forserum", &under).await.ended(code);
    }
    send("Bodafors", &["--mode", "drill"]).await.ended(0);
    send("Bodafors", &["--override", "storm=Tre vattenläckor samtidigt"])
        .await
        .ended(0);
    assert_eq!(
        accepted(&world).await["overrides"],
        json!({ "storm": "Tre vattenläckor samtidigt" })
    );
    // With the guard switched off nothing is counted.
    let off = guarded("storm_limit = 0\nduplicate_window = \"0s\"\n").await;
    let _daemon = off.start().await;
    for _ in 0..8 {
        off.cli(&SEND).await.ended(0);
    }
}
