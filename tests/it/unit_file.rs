//! systemd: the unit file that is shipped, and what the daemon tells the service manager.

use std::collections::VecDeque;
use std::process::Command;

use tokio::net::UnixDatagram;

use crate::support::{Account, PATIENCE, Plan, World};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/vardkase.service");

/// `None`, with the reason printed, where systemd's tools are not installed.
fn systemd_analyze() -> Option<Command> {
    let there = Command::new("systemd-analyze").arg("--version").output();
    if !there.is_ok_and(|out| out.status.success()) {
        println!("skipped: systemd-analyze is not installed");
        return None;
    }
    Some(Command::new("systemd-analyze"))
}

#[test]
fn systemd_accepts_the_unit_file_without_a_remark() {
    let Some(mut analyze) = systemd_analyze() else {
        return;
    };
    // Only the place of the binary differs: systemd wants it to be there.
    let text = std::fs::read_to_string(UNIT).unwrap();
    let here = text.replace(
        "ExecStart=/usr/bin/vardkase",
        concat!("ExecStart=", env!("CARGO_BIN_EXE_vardkase")),
    );
    assert_ne!(text, here);
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("vardkase.service");
    std::fs::write(&unit, here).unwrap();
    let done = analyze.args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    // systemd also reads the machine's own units; what it says of those is not ours. An unknown key is only a remark.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("vardkase")).collect();
    assert!(done.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_sandbox_scores_at_most_one_and_a_half() {
    let Some(mut analyze) = systemd_analyze() else {
        return;
    };
    let done = analyze
        .args(["security", "--offline=yes", "--threshold=15", "--no-pager", UNIT])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(done.status.success(), "{said}");
}

#[test]
fn the_unit_keeps_what_the_daemon_counts_on() {
    let text = std::fs::read_to_string(UNIT).unwrap();
    for line in [
        "Type=notify",
        "User=vardkase",
        "StateDirectory=vardkase",
        "LoadCredential=vault.key:/etc/vardkase/vault.key",
        "TimeoutStopSec=30",
        "LimitCORE=0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
}

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    pending: VecDeque<String>,
}

impl Manager {
    /// Waits for a line that begins so; lines before it are passed over.
    async fn hears(&mut self, start: &str) -> String {
        let heard = async {
            loop {
                while let Some(line) = self.pending.pop_front() {
                    if line.starts_with(start) {
                        return line;
                    }
                }
                let mut buffer = [0; 4096];
                let n = self.socket.recv(&mut buffer).await.unwrap();
                let text = String::from_utf8(buffer[..n].to_vec()).unwrap();
                self.pending.extend(text.lines().map(str::to_owned));
            }
        };
        tokio::time::timeout(PATIENCE, heard)
            .await
            .unwrap_or_else(|_| panic!("systemd never heard {start}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_start_life_reload_and_stop() {
    let world = World::open(Plan::of(vec![Account::new("skarmar", "file")])).await;
    let path = world.dir().join("notify");
    let mut manager = Manager {
        socket: UnixDatagram::bind(&path).unwrap(),
        pending: VecDeque::new(),
    };
    let env = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    manager.hears("READY=1").await;
    // Ready means that commands are taken.
    assert_eq!(world.get("/readyz").await, "ready\n");
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;

    let good = std::fs::read_to_string(&world.config).unwrap();
    for broken in [false, true] {
        // A wrong file is told, and the old configuration stays in force.
        if broken {
            std::fs::write(&world.config, format!("nonsens = 1\n{good}")).unwrap();
        }
        daemon.sighup();
        manager.hears("RELOADING=1").await;
        let since = manager.hears("MONOTONIC_USEC=").await;
        assert!(
            since
                .trim_start_matches("MONOTONIC_USEC=")
                .parse::<u64>()
                .unwrap()
                > 0
        );
        manager.hears("READY=1").await;
        let status = world.get("/api/v1/status").await;
        assert_eq!(
            status["config_problems"].as_array().unwrap().len(),
            usize::from(broken),
            "{status}"
        );
    }
    manager.hears("WATCHDOG=1").await;

    daemon.sigterm();
    manager.hears("STOPPING=1").await;
    assert_eq!(daemon.ended(PATIENCE).await, Some(0), "{}", daemon.said());
    assert!(!world.socket.exists());
}
