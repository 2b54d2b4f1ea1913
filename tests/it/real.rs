//! What the tests against real servers share: an account made as the daemon makes it, at a real address.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vardkase::channel::secrets::InMemory;
use vardkase::channel::{self, Channel, Parts, Transport};
use vardkase::clock::{Clock, SystemClock};
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{Post, Question};

/// The account of this channel that `config.toml` says this of, with these secrets.
pub(crate) fn account(kind: &str, keys: &str, secrets: &[(&str, &str)]) -> Arc<dyn Channel> {
    let source = Source::new("config.toml", keys);
    let table = source.parse();
    let mut section = Section::root(&source, &table);
    let settings = (channel::kind(kind).unwrap().read)(&mut section).expect("a sound section");
    section.finish();
    settings
        .open(Parts {
            account: "konto".parse().unwrap(),
            secrets: Arc::new(InMemory::of(secrets.iter().copied())),
            http: Transport::new(Arc::new(SystemClock), Duration::from_secs(5)).unwrap(),
            relays: Arc::from([]),
            relay_secrets: Arc::new(InMemory::default()),
            sender: "Nässjö kommun".to_owned(),
            domain: "nassjo.se".to_owned(),
        })
        .unwrap()
}

/// What became of it, asked now.
pub(crate) fn question(post: &Post) -> Question {
    Question {
        waited: std::time::Duration::ZERO,
        astray: std::time::Duration::ZERO,
        post: post.clone(),
        since: post.accepted_at,
        until: SystemClock.now(),
        now: SystemClock.now(),
        taken: Vec::new(),
    }
}

/// A port of this machine that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A folder that `scripts/test` installs into, if it holds this; with a word where it does not.
pub(crate) fn installed(folder: &str, holds: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(folder);
    if folder.join(holds).exists() {
        return Some(folder);
    }
    println!(
        "skipped: no {holds} in {} (scripts/test installs it where it can)",
        folder.display()
    );
    None
}
