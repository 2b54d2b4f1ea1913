//! A list in a file is made into deliveries chunk by chunk. The process is killed at the commit of a chunk, and everybody
//! on the list gets one message all the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use crate::support::{Account, PATIENCE, Plan, World, list};

/// Three chunks of at most 512.
const MANY: usize = 1100;

/// Kills at the `nth` passage of a point and returns what went wrong.
pub async fn cut(point: &str, nth: usize) -> Vec<String> {
    let sms = Account::new("sms", "sms-46elks")
        .with("list = \"boende\"")
        .with("settle_wait = \"300ms\"")
        .with("rate = \"100000/1s\"")
        .with("burst = 1000")
        .with("parallel = 32");
    let residents = "[list.boende]\nkind = \"phone\"\nfile = \"boende.csv\"";
    let world = World::open(Plan::of(vec![sms]).list(residents)).await;
    let mut text = "telefon\n".to_owned();
    for n in 0..MANY {
        writeln!(text, "070{n:07}").unwrap();
    }
    std::fs::write(world.dir().join("boende.csv"), text).unwrap();

    let point = format!("{point}:{nth}");
    let env = [("VARDKASE_FAILPOINT", point.as_str())];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    world.ready(&mut daemon).await;
    let body = json!({"message": "koka-vattnet", "fields": {"omrade": "Forserum"}, "mode": "live"});
    let command = async || {
        world
            .ask("POST", "/api/v1/broadcasts", Some(&body), Some("en-gang"))
            .await
    };
    drop(command().await);
    let mut faults = Vec::new();
    if let Some(code) = daemon.ended(PATIENCE).await {
        faults.push(format!("{point}: it ended by itself, with {code}"));
    }
    let _daemon = world.start().await;
    // Whoever got no answer asks again with the same key; whoever had one is told the same.
    let (status, answer) = command().await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let id = answer["broadcast"].as_str().unwrap();
    let report = world
        .until(id, "finished", |report| !report["finished_at"].is_null())
        .await;
    let counted = &list(&report, "recipients")[0]["states"]["published"];
    if *counted != MANY {
        faults.push(format!("{point}: {counted} are said to have it"));
    }
    let posts = world.posts_of("sms");
    let reached: BTreeSet<&str> = posts
        .iter()
        .filter_map(|post| post.recipient.as_deref())
        .collect();
    if reached.len() != MANY || posts.len() != MANY {
        faults.push(format!(
            "{point}: {} texts to {} people",
            posts.len(),
            reached.len()
        ));
    }
    faults
}
