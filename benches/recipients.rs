//! (d) One broadcast to a list: 10,000 and 100,000 recipients, with `--million` a million, through `sms-46elks` at its
//! simulator and through `email` at a local sink, every delivery on disk before its request and after its answer. The
//! daemon is a process of its own, so that its memory is its own; the simulator is here.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use vardkase::channel;
use vardkase::model::Mode;
use vardkase::wall::{Simulated, Wall};

use crate::bed;
use crate::table::{Figure, seconds_to_millis};

const BINARY: &str = env!("CARGO_BIN_EXE_vardkase");
/// Longest wait for a million recipients.
const PATIENCE: Duration = Duration::from_hours(1);
/// How many times the memory of the shortest list that of any other may be.
const FLAT: f64 = 1.3;

/// A channel of lists.
struct Way {
    channel: &'static str,
    /// Lines of its section.
    section: fn(&Simulated) -> String,
    kind: &'static str,
    address: fn(usize) -> String,
}

const WAYS: [Way; 2] = [
    Way {
        channel: "sms-46elks",
        section: |simulated| format!("base_url = \"{}\"\nfrom = \"Nassjo\"", simulated.site.base),
        kind: "phone",
        address: |n| format!("+467{n:08}"),
    },
    Way {
        channel: "email",
        section: |_| "from = \"kris@nassjo.se\"".to_owned(),
        kind: "mail",
        address: |n| format!("boende{n}@forserum.example"),
    },
];

struct Run {
    rate: f64,
    first: f64,
    peak: f64,
}

pub async fn measure(sizes: &[usize]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for way in &WAYS {
        let mut peaks = Vec::new();
        for size in sizes {
            let run = one(way, *size)
                .await
                .with_context(|| format!("{} to {size}", way.channel))?;
            let key = |what: &str| -> &'static str { format!("list_{}_{size}_{what}", way.channel).leak() };
            let about =
                |what: &str| -> &'static str { format!("{}, {size} recipients: {what}", way.channel).leak() };
            figures.push(Figure::alone(key("rate"), about("deliveries"), run.rate, "1/s"));
            figures.push(Figure::alone(
                key("first"),
                about("to the first"),
                run.first,
                "ms",
            ));
            figures.push(match peaks.first() {
                Some(first) => {
                    Figure::against(key("peak"), about("peak memory"), run.peak, "MiB", *first).at_most(FLAT)
                }
                None => Figure::alone(key("peak"), about("peak memory"), run.peak, "MiB"),
            });
            peaks.push(run.peak);
        }
    }
    Ok(figures)
}

async fn one(way: &Way, size: usize) -> anyhow::Result<Run> {
    let dir = bed::folder()?;
    let any = "127.0.0.1:0".parse()?;
    let wall = Wall::start(any, any, &dir.path().join("outside"), bed::clock()).await?;
    let kind = channel::kind(way.channel).context("no such channel")?;
    let account = "lista".parse().map_err(anyhow::Error::msg)?;
    let simulated = wall.open_account(Mode::Live, &account, kind, "Nässjö kommun");
    let config = configure(dir.path(), way, &wall, &simulated, size)?;

    // The mail's account is known when its text has come; nothing else is sent before the broadcast has finished.
    let began = Instant::now();
    let first = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&first);
    wall.on_request(move |request| {
        if matches!(request.method.as_str(), "POST" | "SMTP") {
            let now = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            seen.fetch_min(now, Ordering::SeqCst);
        }
    });
    let mut daemon = Running(
        Command::new(BINARY)
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let api = Api::at(&dir.path().join("data/vardkase.sock"))?;
    api.ready().await?;
    first.store(u64::MAX, Ordering::SeqCst);
    let sent = Instant::now();
    let body = json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" }, "to": ["lista"] });
    let answer = api.post("/api/v1/broadcasts", &body).await?;
    let broadcast = answer["broadcast"].as_str().context("not accepted")?.to_owned();
    let path = format!("/api/v1/broadcasts/{broadcast}");
    let report = loop {
        let report = api.get(&path).await?;
        if !report["finished_at"].is_null() {
            break report;
        }
        anyhow::ensure!(sent.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let took = span(&report)?;
    let peak = peak(daemon.0.id())?;
    let mut posts = wall.ledger();
    posts.retain(|post| post.account.as_str() == "lista");
    let reached: HashSet<&str> = posts
        .iter()
        .filter_map(|post| post.recipient.as_deref())
        .collect();
    anyhow::ensure!(
        reached.len() == size && posts.len() == size,
        "{} posts to {} of {size} recipients",
        posts.len(),
        reached.len()
    );
    daemon.stop()?;
    let first = Duration::from_micros(first.load(Ordering::SeqCst));
    #[allow(clippy::cast_precision_loss, reason = "a million is far below 2^52")]
    let rate = size as f64 / took.as_secs_f64();
    Ok(Run {
        rate,
        first: seconds_to_millis(first.saturating_sub(sent.duration_since(began))),
        peak,
    })
}

/// From the acceptance to the end, by the daemon's own clock.
fn span(report: &Value) -> anyhow::Result<Duration> {
    let at = |key: &str| -> anyhow::Result<vardkase::clock::Timestamp> {
        Ok(report[key].as_str().context("no time")?.parse()?)
    };
    Ok(vardkase::clock::until(at("accepted_at")?, at("finished_at")?))
}

fn configure(
    dir: &Path,
    way: &Way,
    wall: &Wall,
    simulated: &Simulated,
    size: usize,
) -> anyhow::Result<PathBuf> {
    let mut list = String::from("adress\n");
    for n in 0..size {
        writeln!(list, "{}", (way.address)(n))?;
    }
    std::fs::write(dir.join("lista.csv"), list)?;
    let text = format!(
        "[municipality]\nname = \"Nässjö kommun\"\nsite = \"http://{}/site\"\nlanguages = [\"sv\"]\n\n\
         [daemon]\ndata_dir = \"{}/data\"\n\n[vault]\nkey_file = \"vault.key\"\n\n\
         [verification]\nevery = \"24h\"\ncertificate = \"off\"\n\n[register.reminders]\nsend = \"off\"\n\n[confirmation]\nto = [\"krisledning@nassjo.se\"]\nfrom = \"vardkase@nassjo.se\"\n\n\
         [[relay]]\nid = \"relay\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\n\
         [list.lista]\nkind = \"{}\"\nfile = \"lista.csv\"\ncolumn = \"adress\"\n\n\
         [account.lista]\nchannel = \"{}\"\nlist = \"lista\"\nrate = \"none\"\n\
         parallel = 64\n{}\n",
        wall.address(),
        dir.display(),
        wall.smtp().port(),
        way.kind,
        way.channel,
        (way.section)(simulated),
    );
    let config = dir.join("config.toml");
    std::fs::write(&config, text)?;
    let run = |arguments: &[&str], lines: &str| -> anyhow::Result<()> {
        let mut command = Command::new(BINARY)
            .arg("--config")
            .arg(&config)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        command
            .stdin
            .take()
            .context("no input")?
            .write_all(lines.as_bytes())?;
        anyhow::ensure!(command.wait()?.success(), "{arguments:?} failed");
        Ok(())
    };
    run(&["credentials", "init"], "")?;
    if !simulated.secrets.is_empty() {
        let lines: Vec<String> = simulated
            .secrets
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        run(&["credentials", "set", "lista"], &lines.concat())?;
    }
    Ok(config)
}

fn peak(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmHWM in the daemon's status")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// The API on the daemon's socket.
struct Api(reqwest::Client);

impl Api {
    fn at(socket: &Path) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
            .build()?;
        Ok(Self(client))
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let until = Instant::now() + bed::PATIENCE;
        while self.get("/readyz").await.is_err() {
            anyhow::ensure!(Instant::now() < until, "the daemon does not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.0.get(format!("http://vardkase{path}")).send().await?;
        let text = answer.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.0.post(format!("http://vardkase{path}")).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
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
