//! A list in a file, through the real binary: each recipient once, whoever left not at all, and no address in the open.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::support::{Account, Plan, World};

const MANY: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_of_a_list_in_a_file_gets_one_letter_and_whoever_left_none() {
    let press = Account::new("press", "email")
        .with("rate = \"10000/1s\"")
        .with("burst = 1000")
        .with("parallel = 16");
    let world = World::open(Plan::of(vec![press])).await;
    let mut text = "namn;e-post\n".to_owned();
    for n in 0..MANY {
        writeln!(text, "\"Boende; nr {n}\";boende{n}@Forserum.example").unwrap();
    }
    // Once more, written otherwise.
    text.push_str("Igen;boende7@forserum.EXAMPLE\n");
    std::fs::write(world.dir().join("boende.csv"), &text).unwrap();
    let config = std::fs::read_to_string(&world.config).unwrap();
    let (before, after) = config.split_once("[list.press]\n").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let file = world.dir().join("boende.csv");
    let config = format!("{before}[list.press]\nfile = \"{}\"\n{after}", file.display());
    std::fs::write(&world.config, config).unwrap();
    world.cli(&["check"]).await.ended(0);

    // A faulty line is told by file and number, and its content by nobody.
    std::fs::write(&file, format!("{text}Fel;hemlig-adress\n")).unwrap();
    let said = world.cli(&["check"]).await.ended(1);
    assert!(
        said.stdout.contains(&format!("boende.csv:{}:1", MANY + 3)),
        "{said:?}"
    );
    assert!(!said.stdout.contains("hemlig"), "{said:?}");
    std::fs::write(&file, &text).unwrap();

    let daemon = world.start().await;
    let left = "boende13@forserum.example";
    let said = world
        .cli(&["recipients", "suppress", left, "--reason", "har flyttat"])
        .await
        .ended(0);
    assert!(said.stdout.contains("b…@forserum.example"), "{said:?}");
    let (code, report) = world.send(&[]).await;
    assert_eq!((code, &report["state"]), (0, &"completed".into()));

    let posts = world.posts();
    let readers: BTreeSet<String> = posts.iter().filter_map(|post| post.recipient.clone()).collect();
    assert_eq!(posts.len(), MANY - 1);
    assert_eq!(readers.len(), MANY - 1, "nobody got two");
    assert!(!readers.contains(left));

    let said = world.cli(&["recipients", "suppressed"]).await.ended(0);
    assert!(said.stdout.contains("har flyttat"), "{said:?}");
    world.cli(&["recipients", "restore", left]).await.ended(0);
    let said = world.cli(&["recipients", "suppressed", "--json"]).await.ended(0);
    assert_eq!(said.json(), serde_json::json!([]));

    let log = world.cli(&["log", "show", "--json"]).await.ended(0);
    for open in [&log.stdout, &daemon.said()] {
        assert!(!open.contains("boende13@") && !open.contains("boende7@"));
    }
    daemon.sigterm();
}
