//! Whether every account would get a message out now: asked on schedule and on command, told once, and again when it is
//! over.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Account, Plan, World};

/// Looks every second, and tells at once.
fn watched(accounts: Vec<Account>, more: &str) -> Plan {
    let mut plan = Plan::of(accounts);
    plan.watch = format!("[verification]\nevery = \"1s\"\npatience = \"0s\"\nprofile_every = \"1s\"\n{more}");
    plan
}

/// Asks until the go page is as wanted.
async fn until_go(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let page = world.get("/api/v1/go").await;
        if is(&page) {
            return page;
        }
        assert!(Instant::now() < end, "not {what}: {page:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn of<'a>(page: &'a Value, subject: &str) -> &'a Value {
    page["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["subject"] == subject)
        .unwrap()
}

/// Subjects of the mails to the crisis organisation so far.
fn mails(world: &World) -> Vec<String> {
    let posts = world.wall.posts();
    let told = posts.into_iter().filter_map(|posted| posted.subject);
    told.filter(|subject| !subject.starts_with("Bekräftelse")).collect()
}

async fn until_mail(world: &World, start: &str) -> usize {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let all = mails(world);
        let many = all.iter().filter(|subject| subject.starts_with(start)).count();
        if many > 0 {
            return many;
        }
        assert!(Instant::now() < end, "no mail {start}: {all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
