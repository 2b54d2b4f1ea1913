//! Mail through Postfix itself, where it is installed and we are root (`scripts/test` installs it on Debian): a letter per
//! recipient, greylisting, a recipient that is refused, and STARTTLS. Where it is not, the tests say so and prove nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use vardkase::config::{Relay, RelayTls};
use vardkase::model::{Busy, SendError};

use crate::direct::{Stand, post, to};
use crate::real::free_port;
use crate::support::{Account, Plan, World, states};

const POSTFIX: &str = "/usr/sbin/postfix";
/// Ample for a start or a delivery on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// An instance of its own, all in one folder, that keeps all mail to itself; stopped when the test ends.
struct Postfix {
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.command("stop").status().ok();
    }
}

impl Postfix {
    /// Starts it with these mailboxes (a table of Postfix); `None`, and a word why, where it cannot run.
    async fn start(mailboxes: &str, more: &str) -> Option<Self> {
        if !Path::new(POSTFIX).exists() || !rustix::process::geteuid().is_root() {
            println!("skipped: no {POSTFIX}, or not root (scripts/test installs it on Debian)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        // Its parts run as a user of their own.
        std::fs::set_permissions(here, std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "queue", "data", "mail"] {
            std::fs::create_dir(here.join(name)).unwrap();
        }
        for name in ["data", "mail"] {
            let owned = Command::new("chown").arg("postfix").arg(here.join(name)).status();
            assert!(owned.unwrap().success());
        }
        let id = |what: &str| {
            let said = Command::new("id").args([what, "postfix"]).output().unwrap();
            String::from_utf8(said.stdout).unwrap().trim().to_owned()
        };
        let port = free_port();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {here}/queue\ndata_directory = {here}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
             setgid_group = postdrop\nmaillog_file = {here}/log\nmaillog_file_prefixes = {here}\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = mx.prov.example\nmydestination =\n\
             alias_maps =\nmynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
             virtual_mailbox_domains = static:all\nvirtual_mailbox_base = {here}/mail\n\
             virtual_mailbox_maps = {mailboxes}\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:{uid}\n\
             virtual_gid_maps = static:{gid}\n{more}",
            here = here.display(),
            uid = id("-u"),
            gid = id("-g"),
        );
        std::fs::write(here.join("conf/main.cf"), main).unwrap();
        let master = format!(
            "127.0.0.1:{port} inet n - n - - smtpd\npostlog unix-dgram n - n - 1 postlogd\n\
             cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nrewrite unix - - n - - trivial-rewrite\n\
             bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             virtual unix - n n - - virtual\nproxymap unix - - n - - proxymap\nanvil unix - - n - 1 anvil\n\
             tlsmgr unix - - n 1000? 1 tlsmgr\nerror unix - - n - - error\nretry unix - - n - - error\n"
        );
        std::fs::write(here.join("conf/master.cf"), master).unwrap();
        let postfix = Self { port, folder };
        let started = postfix.command("start").status().unwrap();
        assert!(started.success(), "{}", postfix.log());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(
                begun.elapsed() < PATIENCE,
                "Postfix did not start: {}",
                postfix.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(postfix)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(POSTFIX);
        command.arg("-c").arg(self.folder.path().join("conf")).arg(verb);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The letters in a mailbox, once there are so many.
    async fn letters(&self, mailbox: &str, wanted: usize) -> Vec<String> {
        let new: PathBuf = self.folder.path().join("mail").join(mailbox).join("new");
        let begun = Instant::now();
        loop {
            let entries = std::fs::read_dir(&new).into_iter().flatten();
            let letters: Vec<String> = entries
                .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
                .collect();
            if letters.len() >= wanted {
                return letters;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{mailbox}: {} of {wanted}: {}",
                letters.len(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A policy server that does not let a recipient through the first time, as greylisting does. Returns its port.
async fn greylist(whom: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let mut recipient = String::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Some(named) = line.strip_prefix("recipient=") {
                        named.clone_into(&mut recipient);
                    }
                    if line.is_empty() {
                        let is_new = recipient == whom && seen.lock().unwrap().insert(recipient.clone());
                        let action = if is_new {
                            "DEFER_IF_PERMIT Greylisted, come back"
                        } else {
                            "DUNNO"
                        };
                        let answer = format!("action={action}\n\n");
                        if write.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postfix_takes_a_letter_for_each_greylists_one_and_refuses_who_is_not_there() {
    let policy = greylist("bo@prov.example").await;
    let mailboxes = "inline:{ anna@prov.example=anna/, bo@prov.example=bo/ }";
    let more = format!(
        "smtpd_recipient_restrictions = reject_unlisted_recipient, check_policy_service inet:127.0.0.1:{policy}, permit\n"
    );
    let Some(postfix) = Postfix::start(mailboxes, &more).await else {
        return;
    };
    let mut stand =
        Stand::start("channel = \"email\"\nfrom = \"kris@nassjo.se\"\nlist = \"press\"\nrelay = \"relay-1\"")
            .await;
    stand.parts.relays = Arc::from([Relay {
        id: "relay-1".parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        port: postfix.port,
        tls: RelayTls::None,
        patience: Duration::from_secs(5),
        login: false,
    }]);
    let mail = stand.open();
    mail.verify().await.unwrap();
    let first = mail.publish(&to(post(1), "anna@prov.example")).await.unwrap();

    let letter = to(post(2), "bo@prov.example");
    let busy = mail.publish(&letter).await.unwrap_err();
    let SendError::Busy {
        until: Some(until),
        scope: Busy::Recipient,
        reason,
    } = &busy
    else {
        panic!("{busy}")
    };
    assert_eq!(reason.code, "smtp-450-4.7.1", "{reason}");
    assert!(
        *until >= vardkase::clock::later(letter.accepted_at, Duration::from_secs(55)),
        "a minute is waited"
    );
    let second = mail.publish(&letter).await.unwrap();
    assert_ne!(first.remote_id, second.remote_id);

    let refused = mail
        .publish(&to(post(3), "nobody@prov.example"))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.as_str(), refused.reason().code.as_str()),
        ("refused", "smtp-550-5.1.1"),
        "{refused}"
    );
    assert!(!format!("{refused}").contains("nobody@"), "masked: {refused}");

    for (mailbox, receipt) in [("anna", &first), ("bo", &second)] {
        let letters = postfix.letters(mailbox, 1).await;
        assert_eq!(letters.len(), 1, "{mailbox}");
        assert!(
            letters[0].contains(&format!("Delivered-To: {mailbox}@prov.example")),
            "{}",
            letters[0]
        );
        assert!(
            letters[0].contains(receipt.remote_id.trim_matches(['<', '>'])),
            "{}",
            letters[0]
        );
    }
    println!("Postfix: delivered to each, greylisted, refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_daemon_sends_its_letters_to_postfix_within_tls_only() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority).unwrap();
    let certificates = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = certificates.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (leaf, key) = (file("leaf.pem", leaf.pem()), file("key.pem", key.serialize_pem()));
    let authority = file("authority.pem", authority.pem());
    // Whatever is said in clear but EHLO and STARTTLS is refused.
    let more = format!(
        "smtpd_tls_security_level = encrypt\nsmtpd_tls_loglevel = 1\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
        leaf.display(),
        key.display()
    );
    let Some(postfix) = Postfix::start("static:alla/", &more).await else {
        return;
    };
    let world = World::open(Plan::of(vec![Account::new("press", "email")])).await;
    let clear = format!(
        "host = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nlogin = true",
        world.wall.smtp().port()
    );
    let real = format!(
        "host = \"localhost\"\nport = {}\ntls = \"starttls\"\nlogin = false",
        postfix.port
    );
    let text = std::fs::read_to_string(&world.config).unwrap();
    assert!(text.contains(&clear));
    std::fs::write(&world.config, text.replace(&clear, &real)).unwrap();
    let env = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    world.ready(&mut daemon).await;
    let (exit, report) = world.send(&[]).await;
    assert_eq!(exit, 0, "{report:#}\n{}", postfix.log());
    assert_eq!(states(&report, "press"), ["published", "published"]);
    let letters = postfix.letters("alla", 3).await;
    let to_the_press = letters
        .iter()
        .filter(|letter| letter.contains("From: ") && letter.contains("kris@nassjo.se"));
    assert_eq!(to_the_press.count(), 2, "and the confirmation: {}", postfix.log());
    assert!(
        letters.iter().all(|letter| letter.contains("with ESMTPS")),
        "{letters:#?}"
    );
    assert!(
        postfix.log().contains("TLS connection established"),
        "{}",
        postfix.log()
    );
    println!("Postfix: two letters and a confirmation, within TLS");
}
