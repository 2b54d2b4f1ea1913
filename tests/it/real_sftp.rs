//! `file` over SFTP against OpenSSH's own server, where it is installed (`scripts/test` does that on Debian). Where it is
//! not, the tests say so and prove nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vardkase::channel::Channel;
use vardkase::model::{Post, Receipt, SendError, Settled};

use crate::real::{account, free_port, question};
use crate::social::{TEXT, post, reply};

const SSHD: &str = "/usr/sbin/sshd";
/// Ample for a start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A server of its own on a free port, with one key that is let in; stopped when the test ends.
struct Sshd {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Sshd {
    /// Starts it; `None`, and a word why, where there is none.
    async fn start(subsystem: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            println!("skipped: no {SSHD} (scripts/test installs it on Debian)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        std::fs::create_dir(here.join("kris")).unwrap();
        for (name, kind) in [
            ("host", "ed25519"),
            ("other", "ecdsa"),
            ("user", "ed25519"),
            ("stranger", "ed25519"),
        ] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-C", "prov", "-t", kind, "-f"])
                .arg(here.join(name))
                .status();
            assert!(made.unwrap().success());
        }
        std::fs::copy(here.join("user.pub"), here.join("authorized")).unwrap();
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {}\nHostKey {here}/host\nHostKey {here}/other\nPidFile none\n\
             AuthorizedKeysFile {here}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n\
             Subsystem sftp internal-sftp {subsystem}\n",
            address.port(),
            here = here.display(),
        );
        std::fs::write(here.join("config"), config).unwrap();
        let log = std::fs::File::create(here.join("log")).unwrap();
        let process = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(here.join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self {
            process,
            address,
            folder,
        };
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let log = std::fs::read_to_string(server.folder.path().join("log"));
            assert!(begun.elapsed() < START, "sshd did not start: {log:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(server)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn kris(&self) -> PathBuf {
        self.folder.path().join("kris")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.kris()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The account with this folder, reached at this address, with the server's key and the user's as named.
    fn account(&self, address: SocketAddr, folder: &str, host_key: &str, user_key: &str) -> Arc<dyn Channel> {
        let path = self.folder.path().join(folder);
        let keys = format!(
            "sftp = \"sftp://{address}{}\"\nhost_keys = [\"{host_key}\"]",
            path.display()
        );
        // The vault takes a line: the key's middle lines put together, as the page of the channel says.
        let key = self.text(user_key);
        let key: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
        let user = if is_root() {
            "root".to_owned()
        } else {
            std::env::var("USER").unwrap()
        };
        account("file", &keys, &[("username", &user), ("private_key", &key)])
    }

    fn ours(&self, address: SocketAddr) -> Arc<dyn Channel> {
        self.account(address, "kris", self.text("host.pub").trim(), "user")
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_takes_the_files_replaces_them_and_gives_them_back() {
    let Some(server) = Sshd::start("").await else {
        return;
    };
    let account = server.ours(server.address);
    account.verify().await.unwrap();
    assert!(server.names().is_empty(), "verifying leaves nothing behind");
    let first = post(TEXT);
    assert_eq!(account.settle(&question(&first)).await.unwrap(), Settled::Absent);
    let receipt = account.publish(&first).await.unwrap();
    assert_eq!(server.names(), ["ovning-2026-0001.html", "ovning-2026-0001.json"]);
    let page = || std::fs::read_to_string(server.kris().join("ovning-2026-0001.html")).unwrap();
    assert!(page().contains("Bakterier &lt;E. coli&gt;"), "{}", page());
    let mode = std::fs::metadata(server.kris().join("ovning-2026-0001.html")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o644
    );
    // Over the old files, which SFTP's own rename refuses.
    assert_eq!(account.publish(&first).await.unwrap(), receipt);
    let settled = account.settle(&question(&first)).await.unwrap();
    assert_eq!(settled, Settled::Found(receipt.clone()));
    let second = account
        .publish(&reply("ÖVNING: Nytt. Nässjö kommun.", &receipt))
        .await
        .unwrap();
    assert!(page().contains("ÖVNING: Nytt."), "{}", page());
    let correction = post("ÖVNING: Det gäller Malmbäck. Nässjö kommun.");
    let corrected = account.edit(&receipt, &correction).await.unwrap();
    assert_eq!(account.edit(&receipt, &correction).await.unwrap(), corrected);
    assert!(
        page().contains("Malmbäck") && !page().contains("E. coli"),
        "{}",
        page()
    );
    // What a cut connection left, and a link in its place, are cleared and not followed.
    let outside = server.folder.path().join("outside");
    std::fs::write(&outside, "annans").unwrap();
    let left = server.kris().join(".ovning-2026-0001.html.konto.vardkase-new");
    std::os::unix::fs::symlink(&outside, &left).unwrap();
    account.publish(&first).await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "annans");
    assert_eq!(server.names().len(), 2);
    for receipt in [&second, &receipt, &receipt] {
        account.retract(receipt).await.unwrap();
    }
    assert!(server.names().is_empty(), "{:?}", server.names());
    println!("OpenSSH: published, replaced, settled, taken away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_openssh_says_no_with_is_told_apart_and_no_secret_is_told() {
    let Some(server) = Sshd::start("").await else {
        return;
    };
    let (host, here) = (server.text("host.pub"), server.address);
    let fingerprint = |name: &str| {
        let path = server.folder.path().join(name);
        let said = Command::new("ssh-keygen").arg("-lf").arg(path).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        said.split_whitespace().nth(1).unwrap().to_owned()
    };
    // The key may stand there as a fingerprint too, and the ECDSA key as well if it is given whole.
    for key in [
        fingerprint("host.pub"),
        server.text("other.pub").trim().to_owned(),
    ] {
        server.account(here, "kris", &key, "user").verify().await.unwrap();
    }
    let rows = [
        (
            server.account(here, "kris", &fingerprint("stranger.pub"), "user"),
            "refused",
            "host-key",
        ),
        (
            server.account(here, "kris", host.trim(), "stranger"),
            "credential",
            "ssh-auth",
        ),
        (
            server.account(here, "saknas", host.trim(), "user"),
            "refused",
            "sftp-no-such-file",
        ),
    ];
    for (account, class, code) in rows {
        for error in [
            account.publish(&post(TEXT)).await.unwrap_err(),
            account.verify().await.unwrap_err(),
        ] {
            assert_eq!(
                (error.as_str(), error.reason().code.as_str()),
                (class, code),
                "{error}"
            );
            let key = server.text("stranger");
            let told = format!("{error:?} {account:?}");
            assert!(key.lines().all(|line| !told.contains(line)), "{told}");
            if code == "host-key" {
                assert!(
                    told.contains(&fingerprint("host.pub")),
                    "it says which key came: {told}"
                );
            }
        }
    }
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let error = server.ours(nobody).publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(
        (error.as_str(), error.reason().code.as_str()),
        ("not-sent", "connect")
    );
    assert!(server.names().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_replace_in_one_step_or_only_lets_read_is_refused() {
    let rows = [
        ("-P posix-rename", "sftp-rename"),
        ("-R", "sftp-rename"),
        ("-P remove", "sftp-permission-denied"),
    ];
    for (subsystem, code) in rows {
        let Some(server) = Sshd::start(subsystem).await else {
            return;
        };
        let error = server
            .ours(server.address)
            .publish(&post(TEXT))
            .await
            .unwrap_err();
        assert_eq!(
            (error.as_str(), error.reason().code.as_str()),
            ("refused", code),
            "{error}"
        );
        assert!(server.names().is_empty());
    }
}

/// More bytes than any exchange takes.
const PLENTY: usize = usize::MAX / 2;

/// Stands between account and server and cuts the first connection that gets so many bytes through, counted both ways.
async fn between(server: SocketAddr, left: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let upstream = TcpStream::connect(server).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = upstream.into_split();
            let (forth, back) = (Arc::clone(&left), Arc::clone(&left));
            tokio::spawn(async move {
                // Whichever ends first takes the other with it.
                tokio::select! {
                    () = pass(from_client, to_server, forth) => {}
                    () = pass(from_server, to_client, back) => {}
                }
            });
        }
    });
    address
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    left: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let had = left.load(Ordering::SeqCst);
        if had != usize::MAX {
            left.store(if had > read { had - read } else { usize::MAX }, Ordering::SeqCst);
        }
        let whole = had > read;
        if to.write_all(&buffer[..read.min(had)]).await.is_err() || !whole {
            return;
        }
    }
}

/// Publishes as the dispatcher would.
async fn at_last(account: &dyn Channel, post: &Post) -> (Receipt, String) {
    let mut way = String::new();
    for _ in 0..4 {
        match account.publish(post).await {
            Ok(receipt) => return (receipt, way),
            Err(SendError::NotSent(_)) => way.push_str("not-sent "),
            Err(SendError::Unknown(_)) => {
                way.push_str("unknown ");
                match account.settle(&question(post)).await.unwrap() {
                    Settled::Found(receipt) => return (receipt, way + "found"),
                    Settled::Absent => way.push_str("absent "),
                    Settled::Refused(reason) | Settled::Unclear(reason) => panic!("{reason}"),
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never published: {way}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_with_openssh_cut_anywhere_ends_with_both_files_whole() {
    let Some(server) = Sshd::start("").await else {
        return;
    };
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let address = between(server.address, Arc::clone(&left)).await;
    let account = server.ours(address);
    // How many bytes an exchange takes.
    left.store(PLENTY, Ordering::SeqCst);
    account.publish(&post(TEXT)).await.unwrap();
    let all = PLENTY - left.load(Ordering::SeqCst);
    let mut ways = std::collections::BTreeSet::new();
    for step in 0..40 {
        for name in server.names() {
            std::fs::remove_file(server.kris().join(name)).unwrap();
        }
        let post = post(TEXT);
        // Most of the cuts where the files are written and replaced, at the end of the exchange.
        let at = if step < 10 {
            all * step / 10
        } else {
            all - (40 - step) * all / 100
        };
        left.store(at.max(1), Ordering::SeqCst);
        let (receipt, way) = at_last(account.as_ref(), &post).await;
        left.store(usize::MAX, Ordering::SeqCst);
        assert_eq!(
            server.names(),
            ["ovning-2026-0001.html", "ovning-2026-0001.json"],
            "cut at {at}: {way}"
        );
        let settled = account.settle(&question(&post)).await.unwrap();
        assert_eq!(settled, Settled::Found(receipt), "cut at {at}: {way}");
        ways.insert(way);
    }
    println!("cut at 40 places of {all} bytes: {ways:?}");
    assert!(ways.iter().any(|way| way.starts_with("not-sent")), "{ways:?}");
    assert!(ways.iter().any(|way| way.starts_with("unknown")), "{ways:?}");
}

/// Repeats a change as the dispatcher would.
async fn done_at_last(mut once: impl AsyncFnMut() -> Result<(), SendError>) -> usize {
    for repeats in 0..4 {
        match once().await {
            Ok(()) => return repeats,
            Err(SendError::NotSent(_) | SendError::Unknown(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_or_taken_away_over_openssh_with_a_cut_anywhere_comes_to_its_wanted_end() {
    const CORRECTED: &str = "ÖVNING: Det gäller Malmbäck. Nässjö kommun. https://nassjo.se/kris";
    let Some(server) = Sshd::start("").await else {
        return;
    };
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let address = between(server.address, Arc::clone(&left)).await;
    let account = server.ours(address);
    let said = || {
        let files = server.names().into_iter();
        let texts = files.map(|name| std::fs::read_to_string(server.kris().join(name)).unwrap());
        texts.collect::<Vec<_>>()
    };
    let mut repeats = 0;
    for take_away in [false, true] {
        let change = async |receipt: &Receipt| {
            if take_away {
                account.retract(receipt).await
            } else {
                account.edit(receipt, &post(CORRECTED)).await.map(drop)
            }
        };
        left.store(usize::MAX, Ordering::SeqCst);
        let receipt = account.publish(&post(TEXT)).await.unwrap();
        left.store(PLENTY, Ordering::SeqCst);
        change(&receipt).await.unwrap();
        let all = PLENTY - left.load(Ordering::SeqCst);
        for step in 0..20 {
            left.store(usize::MAX, Ordering::SeqCst);
            for name in server.names() {
                std::fs::remove_file(server.kris().join(name)).unwrap();
            }
            let receipt = account.publish(&post(TEXT)).await.unwrap();
            let at = if step < 5 {
                all * step / 5
            } else {
                all - (20 - step) * all / 60
            };
            left.store(at.max(1), Ordering::SeqCst);
            repeats += done_at_last(async || change(&receipt).await).await;
            left.store(usize::MAX, Ordering::SeqCst);
            let said = said();
            assert!(
                said.iter().all(|text| !text.contains("Bakterier")),
                "cut at {at}: {said:#?}"
            );
            let corrected = said.iter().filter(|text| text.contains("Malmbäck")).count();
            assert_eq!(corrected, if take_away { 0 } else { 2 }, "cut at {at}: {said:#?}");
        }
    }
    println!("40 cuts, repeated {repeats} times");
    assert!(repeats > 0, "nothing was ever cut");
}
