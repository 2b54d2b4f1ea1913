//! The real binary against an in-process wall: what the end-to-end tests and the chaos harness stand on.
//!
//! A [`World`] is a wall, a configuration, a vault and a data directory of one test. [`World::start`] runs the daemon as
//! a child process; everything else goes through the same faces that a municipality has: the command line and the API on
//! the Unix socket. What truly came out is read from the wall's ledger.
#![allow(dead_code, reason = "each crate that includes this uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "this is test code throughout; the lint knows only functions marked so"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use vardkase::app::App;
use vardkase::channel::{self, Transport, WallSite};
use vardkase::clock::{SharedClock, SystemClock, TestClock};
use vardkase::config::Config;
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{AccountId, Mode};
use vardkase::store::Store;
use vardkase::vault::Vault;
use vardkase::wall::{Fault, How, Posted, Simulated, Wall};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_vardkase");
/// Who sends.
pub const SENDER: &str = "Nässjö kommun";
/// Who gets the confirmation.
pub const CRISIS: [&str; 2] = ["krisledning@nassjo.se", "kommunikation@nassjo.se"];
/// Who is on the list `press`.
pub const PRESS: [&str; 2] = ["redaktion@hoglandsnytt.example", "tips@smalandsposten.example"];
/// What the relay asks for; a canary, like every secret here.
pub const RELAY_LOGIN: (&str, &str) = ("vardkase-relay", "kanarie-9c41d7e2aa03");
/// What an application within a test is called.
pub const NODE: &str = "node-1";
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Who is on the list `telefoner`: numbers that belong to nobody (PTS keeps them for fiction).
pub const NUMBERS: &[&str] = &["+46701740605", "+46701740606"];
/// Who is on the list `webblasare`.
pub const BROWSERS: &[&str] = &[
    r#"{"endpoint":"https://web.push.apple.com/QabC","keys":{"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}"#,
];

/// What `[account.<id>]` says of an account of each channel, with the addresses of the real services.
pub fn section(channel: &str) -> &'static str {
    match channel {
        "bluesky" => "service = \"https://bsky.social\"\nidentifier = \"nassjo.se\"",
        "email" => "from = \"kris@nassjo.se\"\nlist = \"press\"",
        "facebook-page" => "page_id = \"1234567890\"",
        "file" => "path = \"/var/www/kris\"",
        "http-json" | "webhook" => "endpoint = \"https://nassjo.se/mottagare\"",
        "instagram" => {
            "user_id = \"1234567890\"\npublic_folder = \"/srv/bilder\"\npublic_url = \"https://nassjo.se/bilder\""
        }
        "linkedin" => "organization = \"1234567\"",
        "manual" => "instructions = \"Ring radion på 010-123 45 67.\"",
        "mastodon" => "server = \"https://mastodon.social\"",
        "discord" | "mattermost" | "slack" | "teams" => "",
        "telegram" => "chat = \"@nassjokommun\"",
        "threads" | "x" => "user_id = \"1234567890\"",
        "web-push" => "list = \"webblasare\"\nsubject = \"mailto:kris@nassjo.se\"",
        "ntfy" => "server = \"https://ntfy.sh\"\ntopic = \"nassjo-kris\"",
        "matrix" => "server = \"https://matrix.nassjo.se\"\nroom = \"!kris:nassjo.se\"",
        "wordpress" => "site = \"https://krisinfo.nassjo.se\"\npage = \"kris\"",
        "whatsapp" => "phone_number_id = \"1065\"\ntemplate = \"kris\"\nlist = \"telefoner\"",
        "sms-46elks" => "from = \"Nassjo\"\nlist = \"telefoner\"",
        other => panic!("say here what a section of {other} looks like"),
    }
}

/// The same account, at its simulator.
fn at_wall(channel: &str, site: &WallSite) -> toml::Table {
    let kind = channel::kind(channel).unwrap();
    let source = Source::new("config.toml", section(channel));
    let parsed = source.parse();
    let settings = (kind.read)(&mut Section::root(&source, &parsed)).unwrap();
    let mut keys: toml::Table = section(channel).parse().unwrap();
    for (key, address) in settings.at_wall(site).addresses() {
        keys.insert(key.to_owned(), address.into());
    }
    keys
}

/// An account of the world.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its channel.
    pub channel: &'static str,
    /// More lines of its section.
    pub more: String,
}

impl Account {
    pub fn new(id: impl Into<String>, channel: &'static str) -> Self {
        Self {
            id: id.into(),
            channel,
            more: String::new(),
        }
    }

    /// The same with one more line in its section.
    pub fn with(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }
}

/// One account of every channel: `webb`, `mastodon`, `bluesky`, `facebook`, `intranat`, `skarmar`, `press`, `radio`.
pub fn every_channel() -> Vec<Account> {
    vec![
        Account::new("webb", "http-json"),
        Account::new("mastodon", "mastodon").with("settle_wait = \"1s\""),
        Account::new("bluesky", "bluesky"),
        Account::new("facebook", "facebook-page").with("settle_wait = \"1s\""),
        Account::new("intranat", "webhook"),
        Account::new("skarmar", "file"),
        Account::new("press", "email"),
        Account::new("radio", "manual"),
    ]
}

/// `n` webhook accounts `mottagare-01` …, all paced as fast as the configuration allows.
pub fn webhooks(n: usize) -> Vec<Account> {
    (1..=n)
        .map(|i| {
            Account::new(format!("mottagare-{i:02}"), "webhook")
                .with("rate = \"1000/1s\"")
                .with("burst = 100")
        })
        .collect()
}

/// Where posts lead when the page does not come out.
pub const FALLBACK: &str = "https://www.krisinformation.se/";

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its accounts, in order.
    pub accounts: Vec<Account>,
    /// Lines of `[daemon]` beside `data_dir`.
    pub daemon: String,
    /// Whole sections `[list.…]` beside `press`.
    pub lists: String,
    /// Lines of `[checks]`.
    pub checks: String,
    /// `[verification]` and `[alarm]`: scheduled looks stay out of tests that count what a service saw.
    pub watch: String,
    /// `confirmation.after`.
    pub after: &'static str,
    /// A PostgreSQL address; SQLite if not given.
    pub database: Option<String>,
}

impl Plan {
    pub fn of(accounts: Vec<Account>) -> Self {
        Self {
            accounts,
            daemon: String::new(),
            lists: String::new(),
            // Most tests send the same message again and again.
            checks: "storm_limit = 0\nduplicate_window = \"0s\"\n".to_owned(),
            watch: "[verification]\nevery = \"24h\"\nprofile_every = \"30days\"\ncertificate = \"off\"\n\n[register.reminders]\nsend = \"off\"\n"
                .to_owned(),
            after: "5m",
            database: None,
        }
    }

    /// The same with one more list.
    pub fn list(mut self, section: &str) -> Self {
        self.lists.push_str(section);
        self.lists.push('\n');
        self
    }

    /// The same with one more line in `[daemon]`.
    pub fn daemon(mut self, line: &str) -> Self {
        self.daemon.push_str(line);
        self.daemon.push('\n');
        self
    }
}

/// A wall, a configuration, a vault and a data directory.
#[derive(Debug)]
pub struct World {
    /// The world outside; its ledger is the truth.
    pub wall: Wall,
    /// What `--config` names.
    pub config: PathBuf,
    /// The daemon's data directory.
    pub data_dir: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    plan: Plan,
    simulated: Vec<(String, Simulated)>,
    dir: TempDir,
    logs: AtomicUsize,
}

/// What a command gave.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The same, having ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A command that talks with a person; killed when dropped.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    heard: String,
}

impl Talk {
    /// The next line that it prints; `None` if it says no more.
    pub async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line());
        let line = line.await.expect("it says nothing").unwrap()?;
        self.heard.push_str(&line);
        self.heard.push('\n');
        Some(line)
    }

    /// The first address that it prints.
    pub async fn address(&mut self) -> Option<String> {
        loop {
            let line = self.line().await?;
            if line.starts_with("  http") {
                return Some(line.trim().to_owned());
            }
        }
    }

    /// Types a line.
    pub async fn types(&mut self, line: &str) {
        let pipe = self.child.stdin.as_mut().unwrap();
        pipe.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// What it said in all, when it has ended.
    pub async fn ended(mut self, code: i32) -> Said {
        drop(self.child.stdin.take());
        while self.line().await.is_some() {}
        let output = tokio::time::timeout(2 * PATIENCE, self.child.wait_with_output());
        let output = output.await.expect("a command never ended").unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: self.heard,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
        .ended(code)
    }
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid: i32,
    /// What it wrote, both streams.
    pub log: PathBuf,
}

impl World {
    /// Starts the wall, writes the configuration, and fills the vault. No daemon runs yet.
    pub async fn open(plan: Plan) -> Self {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new()
            .prefix("vk-")
            .permissions(mode)
            .tempdir()
            .unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let wall = Wall::start(any, any, &dir.path().join("outside"), Arc::new(SystemClock))
            .await
            .unwrap();
        wall.require_smtp_login(RELAY_LOGIN.0, RELAY_LOGIN.1);
        let simulated = plan
            .accounts
            .iter()
            .map(|account| {
                let kind = channel::kind(account.channel).unwrap();
                let id: AccountId = account.id.parse().unwrap();
                (
                    account.id.clone(),
                    wall.open_account(Mode::Live, &id, kind, SENDER),
                )
            })
            .collect();
        let world = Self {
            wall,
            config: dir.path().join("config.toml"),
            data_dir: dir.path().join("data"),
            socket: dir.path().join("data/vardkase.sock"),
            plan,
            simulated,
            dir,
            logs: AtomicUsize::new(0),
        };
        world.write_config(&world.config, &world.data_dir);
        world.cli(&["credentials", "init"]).await.ended(0);
        world.fill_vault().await;
        world
    }

    /// The folder of this world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration for a daemon at this data directory.
    pub fn write_config(&self, file: &Path, data_dir: &Path) {
        std::fs::write(file, self.config_text(data_dir)).unwrap();
        // A configuration may name the database's password.
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The configuration as `config.toml` says it.
    pub fn config_text(&self, data_dir: &Path) -> String {
        let quoted = |items: &[&str]| {
            let items: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
            items.join(", ")
        };
        let mut text = format!(
            "[municipality]\nname = \"{SENDER}\"\nsite = \"http://{}/site\"\nlanguages = [\"sv\"]\nfallback_link = \"{FALLBACK}\"\n\n\
             [daemon]\ndata_dir = \"{}\"\n{}",
            self.wall.address(),
            data_dir.display(),
            self.plan.daemon,
        );
        if let Some(url) = &self.plan.database {
            writeln!(text, "database = \"{url}\"").unwrap();
        }
        write!(
            text,
            "\n[vault]\nfile = \"{0}/vault.json\"\nkey_file = \"{0}/vault.key\"\n\n\
             [confirmation]\nto = [{1}]\nfrom = \"vardkase@nassjo.se\"\nafter = \"{2}\"\n\n\
             [checks]\n{6}\n{7}\n\
             [[relay]]\nid = \"relay-kommun\"\nhost = \"127.0.0.1\"\nport = {3}\ntls = \"none\"\nlogin = true\n\n\
             [list.press]\nrecipients = [{4}]\n\n{5}",
            self.dir.path().display(),
            quoted(&CRISIS),
            self.plan.after,
            self.wall.smtp().port(),
            quoted(&PRESS),
            self.plan.lists,
            self.plan.checks,
            self.plan.watch,
        )
        .unwrap();
        for (list, recipients) in [("telefoner", NUMBERS), ("webblasare", BROWSERS)] {
            let is_used = |account: &Account| section(account.channel).contains(list);
            if self.plan.accounts.iter().any(is_used) {
                let recipients = serde_json::to_string(recipients).unwrap();
                write!(text, "\n[list.{list}]\nrecipients = {recipients}\n").unwrap();
            }
        }
        for account in &self.plan.accounts {
            let site = &self.simulated(&account.id).site;
            write!(
                text,
                "\n[account.{}]\nchannel = \"{}\"\n",
                account.id, account.channel
            )
            .unwrap();
            let mut keys = at_wall(account.channel, site);
            if account.channel == "file" {
                let folder = site.folder.join(&account.id);
                keys.insert("path".to_owned(), folder.display().to_string().into());
            }
            let own: toml::Table = account.more.parse().unwrap();
            keys.retain(|key, _| !own.contains_key(key));
            for (key, value) in keys {
                writeln!(text, "{key} = {value}").unwrap();
            }
            text.push_str(&account.more);
        }
        text
    }

    /// A simulated account: its addresses and secrets.
    pub fn simulated(&self, account: &str) -> &Simulated {
        self.simulated
            .iter()
            .find_map(|(id, simulated)| (id == account).then_some(simulated))
            .unwrap_or_else(|| panic!("no account {account}"))
    }

    /// Every secret's value: none of them may show anywhere.
    pub fn canaries(&self) -> Vec<String> {
        let accounts = self.simulated.iter().flat_map(|(_, s)| &s.secrets);
        let mut all: Vec<String> = accounts.map(|(_, value)| value.clone()).collect();
        all.push(RELAY_LOGIN.1.to_owned());
        all
    }

    /// Keeps every account's secrets in the vault: the first few by the real command, the rest of a large world by the
    /// library, which is what the command calls.
    async fn fill_vault(&self) {
        const BY_COMMAND: usize = 10;
        let relay = format!("username={}\npassword={}\n", RELAY_LOGIN.0, RELAY_LOGIN.1);
        self.cli_with(&["credentials", "set", "relay-kommun"], &relay)
            .await
            .ended(0);
        let with_secrets = self.simulated.iter().filter(|(_, s)| !s.secrets.is_empty());
        let mut rest = Vec::new();
        for (n, (id, simulated)) in with_secrets.enumerate() {
            if n < BY_COMMAND {
                let mut lines = String::new();
                for (name, value) in &simulated.secrets {
                    writeln!(lines, "{name}={value}").unwrap();
                }
                self.cli_with(&["credentials", "set", id], &lines).await.ended(0);
            } else {
                rest.push((id, simulated));
            }
        }
        if rest.is_empty() {
            return;
        }
        let config = vardkase::config::Config::load(&self.config).unwrap();
        let vault = vardkase::vault::Vault::open(&config.vault, Arc::new(SystemClock)).unwrap();
        for (id, simulated) in rest {
            let secrets: Vec<_> = simulated
                .secrets
                .iter()
                .map(|(name, value)| (name.clone(), value.clone().into()))
                .collect();
            vault.set(&id.parse().unwrap(), &secrets).unwrap();
        }
    }

    /// The practice wall of an application within the test.
    pub async fn practice(&self, clock: &Arc<TestClock>) -> Arc<Wall> {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let folder = self.dir.path().join("practice");
        let shared = Arc::clone(clock) as SharedClock;
        let wall = Box::pin(Wall::start(any, any, &folder, shared)).await;
        Arc::new(wall.unwrap())
    }

    /// Opens the application within the test, as a start of the daemon does, on a clock of the test's own. It is not at
    /// work yet.
    pub async fn app(&self, clock: &Arc<TestClock>, practice: &Arc<Wall>) -> Arc<App> {
        let config = Config::load(&self.config).unwrap_or_else(|problems| panic!("{problems}"));
        let shared = || Arc::clone(clock) as SharedClock;
        std::fs::create_dir_all(&config.daemon.data_dir).unwrap();
        let opened = Box::pin(Store::open(&config.daemon.database, NODE, shared())).await;
        let (store, _) = opened.unwrap();
        let vault = Vault::open(&config.vault, shared()).unwrap();
        let http = Transport::new(shared(), Duration::from_secs(2)).unwrap();
        App::new(config, store, vault, shared(), http, Arc::clone(practice))
    }

    /// Starts the daemon; it is not ready yet.
    pub fn spawn(&self) -> Daemon {
        self.spawn_with(&self.config, &[], &[])
    }

    /// Starts the daemon with this configuration, more arguments and environment variables such as
    /// `VARDKASE_FAILPOINT`; it is not ready yet.
    pub fn spawn_with(&self, config: &Path, args: &[&str], env: &[(&str, &str)]) -> Daemon {
        let n = self.logs.fetch_add(1, Ordering::SeqCst);
        let log = self.dir.path().join(format!("daemon-{n}.log"));
        let out = std::fs::File::create(&log).unwrap();
        let child = clean(config)
            .arg("serve")
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        Daemon { child, pid, log }
    }

    /// Starts the daemon and waits until it takes commands.
    pub async fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        self.ready(&mut daemon).await;
        daemon
    }

    /// Waits until the daemon takes commands.
    pub async fn ready(&self, daemon: &mut Daemon) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some((200, _)) = self.ask("GET", "/readyz", None, None).await {
                return;
            }
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", daemon.said());
            }
            assert!(Instant::now() < until, "not ready: {}", daemon.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until this very daemon takes commands, whoever answered at the socket before.
    pub async fn until_pid(&self, daemon: &mut Daemon) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.ready(daemon).await;
            if let Some((200, status)) = self.ask("GET", "/api/v1/status", None, None).await
                && status["pid"] == daemon.pid
            {
                return;
            }
            assert!(Instant::now() < until, "not at the socket: {}", daemon.said());
        }
    }

    /// From now on this world's daemon lives in another data directory.
    pub fn move_to(&mut self, data_dir: &Path) {
        data_dir.clone_into(&mut self.data_dir);
        self.socket = data_dir.join("vardkase.sock");
        self.write_config(&self.config, data_dir);
    }

    /// Runs a command.
    pub async fn cli(&self, args: &[&str]) -> Said {
        self.cli_with(args, "").await
    }

    /// Runs a command with this standard input.
    pub async fn cli_with(&self, args: &[&str], stdin: &str) -> Said {
        run(clean(&self.config).args(args), stdin).await
    }

    /// Runs a command in the background.
    pub fn cli_spawn(&self, args: &[&str]) -> tokio::task::JoinHandle<Said> {
        let mut command = clean(&self.config);
        command.args(args);
        tokio::spawn(async move { run(&mut command, "").await })
    }

    /// Runs a command that asks a person something on the way.
    pub fn talk(&self, args: &[&str]) -> Talk {
        self.talk_with(args, &[])
    }

    /// The same with these environment variables.
    pub fn talk_with(&self, args: &[&str], env: &[(&str, &str)]) -> Talk {
        let mut child = clean(&self.config)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Talk {
            child,
            lines,
            heard: String::new(),
        }
    }

    /// What the vault holds, read as the daemon would.
    pub fn vault(&self) -> vardkase::vault::Vault {
        let config = vardkase::config::Config::load(&self.config).unwrap();
        vardkase::vault::Vault::open(&config.vault, Arc::new(SystemClock)).unwrap()
    }

    /// Sends the boil-water notice with these further arguments, waits, and gives the exit code and the object.
    pub async fn send(&self, more: &[&str]) -> (i32, Value) {
        let mut args = vec![
            "send",
            "koka-vattnet",
            "-f",
            "omrade=Forserum",
            "--yes",
            "--wait",
            "--json",
        ];
        args.extend(more);
        let said = self.cli(&args).await;
        assert!([0, 3].contains(&said.code), "{said:?}");
        (said.code, said.json())
    }

    /// Asks the API on the socket; `None` if nobody answers. The body is JSON, or a string where it is none.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<(u16, Value)> {
        // A frozen daemon's socket takes connections and answers nothing.
        const ANSWER: Duration = Duration::from_secs(5);
        let client = reqwest::Client::builder()
            .unix_socket(self.socket.as_path())
            .no_proxy()
            .timeout(ANSWER)
            .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
            .build()
            .unwrap();
        let mut request = client.request(method.parse().unwrap(), format!("http://vardkase{path}"));
        let body = body.map(Value::to_string).unwrap_or_default();
        let long = body.len() > 1024 * 1024;
        if !body.is_empty() {
            request = request.header("content-type", "application/json").body(body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        // What is refused unread is refused while we still write, and now and then the answer is lost to us for that.
        let mut again = 4;
        let answer = loop {
            match request.try_clone().unwrap().send().await {
                Ok(answer) => break answer,
                Err(error)
                    if error.is_request()
                        && !error.is_timeout()
                        && !error.is_connect()
                        && again > 0
                        && long =>
                {
                    again -= 1;
                }
                Err(_) => return None,
            }
        };
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Some((status, value))
    }

    /// Gets what is there, which must answer 200.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None, None).await.expect("no answer");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// How a broadcast stands.
    pub async fn report(&self, broadcast: &str) -> Value {
        self.get(&format!("/api/v1/broadcasts/{broadcast}")).await
    }

    /// Waits until a broadcast's report is as asked, and gives it.
    pub async fn until(&self, broadcast: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let report = self.report(broadcast).await;
            if is(&report) {
                return report;
            }
            assert!(
                Instant::now() < until,
                "{broadcast} never came so far: {what}: {report:#}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every confirmation mail that the broadcast has is out, and there are at least `n`.
    pub async fn told(&self, broadcast: &str, n: usize) -> Value {
        self.until(broadcast, "told", |report| {
            let mails = list(report, "confirmations");
            mails.len() >= n && mails.iter().all(|mail| mail["state"] == "published")
        })
        .await
    }

    /// What was truly accepted, oldest first, confirmation mails apart.
    pub fn posts(&self) -> Vec<Posted> {
        let mut posts = self.wall.ledger();
        posts.retain(|post| self.plan.accounts.iter().any(|a| a.id == post.account.as_str()));
        posts
    }

    /// What an account truly accepted, oldest first.
    pub fn posts_of(&self, account: &str) -> Vec<Posted> {
        let mut posts = self.posts();
        posts.retain(|post| post.account.as_str() == account);
        posts
    }

    /// Mails that reached anybody outside the lists.
    pub fn confirmations(&self) -> Vec<Posted> {
        let mut mails = self.wall.ledger();
        mails.retain(|post| !self.plan.accounts.iter().any(|a| a.id == post.account.as_str()));
        mails
    }

    /// Makes an account misbehave from its next request on; `times` 0 for good.
    pub fn fault(&self, account: &str, how: How, times: u32) {
        let fault = Fault {
            how,
            path: None,
            method: None,
            after: 0,
            times,
        };
        self.wall.fault(Mode::Live, &account.parse().unwrap(), fault);
    }

    /// Makes the requests of an account that go to a path misbehave, for good.
    pub fn fault_at(&self, account: &str, path: &str, how: How) {
        let fault = Fault {
            how,
            path: Some(path.to_owned()),
            method: None,
            after: 0,
            times: 0,
        };
        self.wall.fault(Mode::Live, &account.parse().unwrap(), fault);
    }

    /// Ends an account's misbehaviour.
    pub fn heal(&self, account: &str) {
        self.wall.heal(Mode::Live, &account.parse().unwrap());
    }
}

impl Daemon {
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// What it wrote.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn sigterm(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub fn sigint(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    pub fn sighup(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    pub fn sigstop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn sigcont(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub async fn kill9(mut self) {
        // It may have killed itself at a fail point already.
        self.child.start_kill().ok();
        self.child.wait().await.unwrap();
    }

    /// Waits until it ends by itself; `None` as the code if a signal ended it.
    pub async fn ended(&mut self, within: Duration) -> Option<i32> {
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            panic!("it did not end within {within:?}: {}", self.said());
        };
        status.unwrap().code()
    }

    /// Whether it has ended.
    pub fn is_gone(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

/// The binary with this configuration, and nothing of our own environment that it would hear of.
fn clean(config: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("--config")
        .arg(config)
        .current_dir(config.parent().unwrap())
        .kill_on_drop(true);
    for name in [
        "VARDKASE_CONFIG",
        "VARDKASE_FAILPOINT",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "CREDENTIALS_DIRECTORY",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

async fn run(command: &mut Command, stdin: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A command that does not read its input may have ended before it is written.
    pipe.write_all(stdin.as_bytes()).await.ok();
    drop(pipe);
    let output = tokio::time::timeout(2 * PATIENCE, child.wait_with_output())
        .await
        .expect("a command never ended")
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A list in a report.
pub fn list<'v>(report: &'v Value, key: &str) -> &'v [Value] {
    report[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The states of an account's deliveries in a report.
pub fn states(report: &Value, account: &str) -> Vec<String> {
    list(report, "deliveries")
        .iter()
        .filter(|d| d["account"] == account)
        .map(|d| d["state"].as_str().unwrap().to_owned())
        .collect()
}

/// Runs statements on the database of a daemon that is down.
pub async fn meddle(world: &World, sql: &str) {
    let file = world.data_dir.join("vardkase.db");
    let mut conn = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    conn.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
        .await
        .unwrap();
    conn.close().await.unwrap();
}

/// Waits for a condition.
pub async fn eventually(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "it never came so far: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
