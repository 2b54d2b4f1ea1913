//! (c) The daemon from exec to `READY=1`, as systemd hears it: the real binary on an empty journal and on a million
//! records.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::try_join_all;
use vardkase::clock::{Clock as _, SystemClock};
use vardkase::model::Actor;
use vardkase::store::Entry;

use crate::bed;
use crate::table::{Figure, median, seconds_to_millis};

const RECORDS: usize = 1_000_000;
/// Written together by the one writer.
const AT_ONCE: usize = 2000;
const BINARY: &str = env!("CARGO_BIN_EXE_vardkase");

pub async fn measure(runs: usize) -> anyhow::Result<Vec<Figure>> {
    let dir = bed::folder()?;
    let config = bed::configuration(dir.path(), 12, "http://127.0.0.1:9/")?;
    let made = Command::new(BINARY)
        .args(["credentials", "init", "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(made.success(), "the vault was not made");
    // The first start makes the database; what counts is every later one.
    start(&config)?;
    let mut empty = (0..runs).map(|_| start(&config)).collect::<Result<Vec<_>, _>>()?;
    fill(dir.path()).await?;
    let mut full = (0..runs).map(|_| start(&config)).collect::<Result<Vec<_>, _>>()?;
    let empty = median(&mut empty);
    Ok(vec![
        Figure::alone("start_empty", "start to ready, empty journal", empty, "ms"),
        Figure::against(
            "start_million",
            "start to ready, a million records",
            median(&mut full),
            "ms",
            empty,
        ),
    ])
}

/// Adds a million true records to the journal.
async fn fill(dir: &Path) -> anyhow::Result<()> {
    let data = dir.join("data");
    let node = std::fs::read_to_string(data.join("node")).unwrap_or_default();
    let database = vardkase::config::Database::Sqlite(data.join("vardkase.db"));
    let (store, _) = vardkase::store::Store::open(&database, node.trim(), bed::clock()).await?;
    for _ in 0..RECORDS / AT_ONCE {
        let records = (0..AT_ONCE).map(|n| {
            store.record(Entry {
                at: SystemClock.now(),
                actor: Actor::daemon(),
                kind: "attempt",
                broadcast: None,
                delivery: None,
                body: serde_json::json!({ "account": "hook-001", "mode": "live", "attempt": n }),
            })
        });
        try_join_all(records).await?;
    }
    store.close().await;
    Ok(())
}

/// Starts the daemon, waits until it says that it is ready, and stops it. Milliseconds.
fn start(config: &Path) -> anyhow::Result<f64> {
    let folder = bed::folder()?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let began = Instant::now();
    let mut daemon = Running(
        Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(config)
            .env("NOTIFY_SOCKET", &path)
            .stderr(Stdio::null())
            .spawn()?,
    );
    let mut message = [0; 4096];
    loop {
        let length = socket
            .recv(&mut message)
            .context("the daemon does not become ready")?;
        let said = message.get(..length).unwrap_or_default();
        if said.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            break;
        }
    }
    let took = seconds_to_millis(began.elapsed());
    daemon.stop()?;
    Ok(took)
}

struct Running(Child);

impl Running {
    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = self.0.wait()?;
        anyhow::ensure!(ended.success(), "the daemon ended with {ended}");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended when all went well.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
