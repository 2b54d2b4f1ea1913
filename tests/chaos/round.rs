//! One kill: a broadcast begins, the process dies, another takes over, and both ledgers are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vardkase::model::Recipient;
use vardkase::wall;

use crate::support::{Account, Daemon, PATIENCE, Plan, World, list};
use crate::tally::Tally;

/// A database of PostgreSQL for one arena: accounts of another one must not find their deliveries in it.
struct Database {
    server: String,
    name: String,
}

impl Database {
    async fn create(server: String) -> Self {
        let name = format!("chaos_{}", uuid::Uuid::new_v4().simple());
        let database = Self { server, name };
        database.admin(format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    fn url(&self) -> String {
        let (server, _) = self
            .server
            .rsplit_once('/')
            .expect("the address names a database");
        format!("{server}/{}", self.name)
    }

    async fn admin(&self, sql: String) {
        use sqlx::{AssertSqlSafe, Connection, Executor};
        let mut conn = sqlx::PgConnection::connect(&self.server).await.unwrap();
        conn.execute(AssertSqlSafe(sql)).await.unwrap();
        conn.close().await.unwrap();
    }
}

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// At any moment of the fan-out.
    AtRandom,
    /// When a request has been read and before anything is done with it.
    AtRequest,
    /// While answers are on their way.
    WhileDelayed,
    /// When the service has done what was asked and has not said so.
    AfterDone,
}

/// What the wall's hook sees and does.
#[derive(Debug, Default)]
struct Watch {
    /// Kill this process when so many more requests have come.
    trap: Option<(i32, usize)>,
    first: Option<Instant>,
}

/// A world that lives through many kills.
pub struct Arena {
    world: World,
    daemon: Option<Daemon>,
    /// `None` on SQLite.
    database: Option<Database>,
    watch: Arc<Mutex<Watch>>,
    sent: usize,
    /// How long an undisturbed fan-out takes.
    fan_out: Duration,
    /// Of how many posts an undisturbed message consists on the accounts that make threads.
    parts: BTreeMap<String, usize>,
}

/// A broadcast as it was commanded.
struct Command {
    area: String,
    key: String,
    /// Whether a picture goes with it.
    pictured: bool,
    /// Its id, once we have been told.
    broadcast: Option<String>,
}

/// An account and, on lists, the masked recipient.
type Whom = (String, String);

fn accounts() -> Vec<Account> {
    let mut all = Vec::new();
    let mut add = |count: usize, name: &str, channel: &'static str, line: &str| {
        for n in 1..=count {
            let account = Account::new(format!("{name}-{n}"), channel)
                .with("rate = \"1000/1s\"")
                .with("burst = 100");
            all.push(if line.is_empty() {
                account
            } else {
                account.with(line)
            });
        }
    };
    add(3, "mastodon", "mastodon", "settle_wait = \"300ms\"");
    add(
        2,
        "mastodon-trad",
        "mastodon",
        "settle_wait = \"300ms\"\nlong = \"thread\"",
    );
    add(2, "bluesky", "bluesky", "");
    add(2, "bluesky-trad", "bluesky", "long = \"thread\"");
    add(5, "webhook", "webhook", "");
    add(4, "webb", "http-json", "");
    add(4, "facebook", "facebook-page", "settle_wait = \"300ms\"");
    add(2, "fil", "file", "");
    add(4, "utan-nyckel", "webhook", "keyed = false");
    add(2, "press", "email", "");
    all
}

/// Whether an account makes a thread of what is longer than a post.
fn makes_threads(account: &str) -> bool {
    account.contains("-trad-")
}

/// Whether an account takes the picture of a message.
fn takes_pictures(account: &str) -> bool {
    ["mastodon-", "bluesky-", "facebook-"]
        .iter()
        .any(|start| account.starts_with(start))
}

/// A small picture, as the API takes it.
fn picture() -> Value {
    use base64::Engine as _;
    let pixels = image::RgbImage::from_pixel(64, 48, image::Rgb([200, 120, 40]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let file = base64::engine::general_purpose::STANDARD.encode(jpeg.into_inner());
    json!({"file": file, "alt": "En vattenkran"})
}

impl Arena {
    pub async fn open() -> Self {
        let mut plan = Plan::of(accounts());
        assert_eq!(plan.accounts.len(), 30);
        let database = match std::env::var("VARDKASE_CHAOS_DATABASE") {
            Ok(server) => Some(Database::create(server).await),
            Err(_) => None,
        };
        plan.database = database.as_ref().map(Database::url);
        let world = World::open(plan).await;
        let watch = Arc::new(Mutex::new(Watch::default()));
        let hook = Arc::clone(&watch);
        world.wall.on_request(move |_| hook.lock().unwrap().hit());
        let daemon = world.start().await;
        let mut arena = Self {
            world,
            daemon: Some(daemon),
            database,
            watch,
            sent: 0,
            fan_out: Duration::ZERO,
            parts: BTreeMap::new(),
        };
        // Undisturbed: sessions are opened, and the fan-out is timed.
        for _ in 0..2 {
            let mut command = arena.command();
            let started = Instant::now();
            arena.post(&mut command).await;
            arena.at_rest(&command).await;
            arena.fan_out = started.elapsed();
            let threads = accounts().into_iter().filter(|one| makes_threads(&one.id));
            for account in threads {
                let parts = arena.thread(&account.id, &command.area).unwrap();
                assert!(parts > 1, "{}: {parts} posts are no thread", account.id);
                arena.parts.insert(account.id, parts);
            }
        }
        arena
    }

    /// Stops the daemon and removes what it was made of. After a failure all of it is left, to be looked at.
    pub async fn close(self) {
        drop(self.daemon);
        if let Some(database) = self.database {
            database
                .admin(format!("DROP DATABASE {} WITH (FORCE)", database.name))
                .await;
        }
    }

    /// Sends a broadcast, kills the daemon meanwhile, starts it again and compares.
    pub async fn kill(&mut self, how: How, tally: &mut Tally) {
        let daemon = self.daemon.take().unwrap();
        let mut command = self.command();
        let some = pick();
        match how {
            How::AtRandom => {
                let wait = self.fan_out.mul_f64(rand::random_range(0.0..1.0));
                let ((), ()) = tokio::join!(self.post(&mut command), async {
                    tokio::time::sleep(wait).await;
                    kill(daemon.pid());
                });
            }
            How::AtRequest => {
                let nth = rand::random_range(1..=30);
                self.watch.lock().unwrap().trap = Some((daemon.pid(), nth));
                self.post(&mut command).await;
            }
            How::WhileDelayed => {
                for account in accounts() {
                    let millis = rand::random_range(50..400);
                    self.world.fault(&account.id, wall::How::Delay(millis), 1);
                }
                let wait = Duration::from_millis(rand::random_range(0..500));
                let ((), ()) = tokio::join!(self.post(&mut command), async {
                    tokio::time::sleep(wait).await;
                    kill(daemon.pid());
                });
            }
            How::AfterDone => {
                for account in &some {
                    self.world.fault(account, wall::How::DoneThenHang, 1);
                }
                self.post(&mut command).await;
                let wait = self.fan_out.mul_f64(rand::random_range(0.5..1.5));
                tokio::time::sleep(wait).await;
                kill(daemon.pid());
            }
        }
        self.gone(daemon, format!("{how:?}")).await;
        for account in accounts() {
            self.world.heal(&account.id);
        }
        tally.kills += 1;
        self.resume_and_compare(&mut [command], tally).await;
    }

    /// Lets the daemon kill itself at a named point, starts it again and compares.
    pub async fn fail_at(&mut self, name: &str, nth: usize, tally: &mut Tally) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill9().await;
        }
        let point = format!("{name}:{nth}");
        let env = [("VARDKASE_FAILPOINT", point.as_str())];
        let mut daemon = self.world.spawn_with(&self.world.config, &[], &env);
        let mut commands = Vec::new();
        let until = Instant::now() + PATIENCE;
        while !daemon.is_gone() && self.world.ask("GET", "/readyz", None, None).await.is_none() {
            assert!(Instant::now() < until, "{point}: neither ready nor gone");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A point that is passed once per broadcast needs as many broadcasts.
        while !daemon.is_gone() && commands.len() < nth + 1 {
            let mut command = self.command();
            self.post(&mut command).await;
            let until = Instant::now() + self.fan_out + Duration::from_secs(2);
            while !daemon.is_gone() && Instant::now() < until && !self.is_at_rest(&command).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            commands.push(command);
        }
        if daemon.is_gone() {
            let code = daemon.ended(PATIENCE).await;
            assert_eq!(code, None, "{point}: it must die of a signal: {}", daemon.said());
            tally.kills += 1;
        } else {
            tally.faults.push(format!("{point} never killed the process"));
            daemon.kill9().await;
        }
        self.resume_and_compare(&mut commands, tally).await;
    }

    async fn gone(&self, mut daemon: Daemon, how: String) {
        let until = Instant::now() + PATIENCE;
        while !daemon.is_gone() {
            // A trap may wait for more requests than come; then it is killed at rest.
            let (pid, armed) = (daemon.pid(), self.watch.lock().unwrap().trap.is_some());
            if armed && Instant::now() + PATIENCE > until + Duration::from_secs(3) {
                kill(pid);
            }
            assert!(Instant::now() < until, "{how}: it does not die");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.watch.lock().unwrap().trap = None;
    }

    async fn resume_and_compare(&mut self, commands: &mut [Command], tally: &mut Tally) {
        let cut_off = self.cut_off().await;
        self.watch.lock().unwrap().first = None;
        let exec = Instant::now();
        let mut daemon = self.world.spawn();
        self.world.ready(&mut daemon).await;
        self.daemon = Some(daemon);
        if !cut_off.is_empty() {
            let until = Instant::now() + PATIENCE;
            let resumed = loop {
                if let Some(first) = self.watch.lock().unwrap().first {
                    break first;
                }
                if self.cut_off().await != cut_off {
                    break Instant::now();
                }
                assert!(Instant::now() < until, "nothing was resumed");
                tokio::time::sleep(Duration::from_millis(2)).await;
            };
            tally.resumed.push(resumed.duration_since(exec));
        }
        for command in commands {
            // Whoever got no answer asks again with the same key.
            if command.broadcast.is_none() {
                self.post(command).await;
            }
            self.compare(command, &cut_off, tally).await;
        }
    }

    async fn compare(&self, command: &Command, cut_off: &BTreeMap<Whom, CutOff>, tally: &mut Tally) {
        let area = &command.area;
        let report = self.at_rest(command).await;
        let mut posted: BTreeMap<Whom, usize> = BTreeMap::new();
        // What stands under another is a later part of a thread.
        let posts = self.world.posts();
        let begins = posts
            .iter()
            .filter(|p| p.text.contains(area) && p.in_reply_to.is_none());
        for post in begins {
            let whom = (
                post.account.as_str().to_owned(),
                recipient(post.recipient.as_deref()),
            );
            *posted.entry(whom).or_default() += 1;
        }
        tally.broadcasts += 1;
        let deliveries = list(&report, "deliveries");
        if deliveries.len() != 32 {
            let count = deliveries.len();
            tally
                .faults
                .push(format!("{area}: {count} deliveries instead of 32"));
        }
        for delivery in deliveries {
            let word = |key: &str| delivery[key].as_str().unwrap_or_default().to_owned();
            let whom = (word("account"), word("recipient"));
            let (state, proof) = (word("state"), word("proof"));
            let is_unknown = delivery["unknown_since"].is_string();
            let count = posted.remove(&whom).unwrap_or_default();
            let was_cut = cut_off.get(&whom).is_some_and(|cut| cut.area == *area);
            let mut fault = |what: &str| {
                tally
                    .faults
                    .push(format!("{area} {whom:?} {what}: {count} posts; {delivery}"));
            };
            tally.deliveries += 1;
            match state.as_str() {
                "published" if count == 0 => {
                    tally.untrue += 1;
                    tally.lost += 1;
                    fault("said to be published and is not");
                }
                "published" => {
                    tally.settled += usize::from(was_cut);
                    if let Err(wrong) = self.is_whole(command, &whom.0, delivery, tally) {
                        tally.untrue += 1;
                        tally.faults.push(format!("{area} {whom:?} {wrong}: {delivery}"));
                    }
                }
                "held" if is_unknown && proof == "unproven" => {
                    tally.unknown += 1;
                    if !was_cut {
                        fault("unknown, but no attempt of it was cut off");
                    }
                }
                _ => {
                    tally.untrue += 1;
                    tally.lost += usize::from(count == 0 && state != "held" && state != "manual");
                    fault("came to rest wrongly");
                }
            }
            if count > 1 {
                *tally.doubled.entry(proof.clone()).or_default() += count - 1;
                tally
                    .faults
                    .push(format!("{area} {whom:?} posted {count} times; {delivery}"));
            }
            if was_cut && proof == "unproven" {
                tally.cut_off += 1;
                tally.in_window += usize::from(count > 0);
                if state != "held" {
                    tally.faults.push(format!(
                        "{area} {whom:?} was cut off and is not shown as unknown: {delivery}"
                    ));
                }
            }
        }
        for (whom, count) in posted {
            tally.faults.push(format!(
                "{area} {whom:?}: {count} posts that belong to no delivery"
            ));
        }
    }

    /// Whether a published message stands with all its parts, each once, and with its picture.
    fn is_whole(
        &self,
        command: &Command,
        account: &str,
        delivery: &Value,
        tally: &mut Tally,
    ) -> Result<(), String> {
        if let Some(expected) = self.parts.get(account) {
            let parts = self.thread(account, &command.area)?;
            tally.parts += parts;
            if parts != *expected {
                return Err(format!("{parts} parts stand, and {expected} make the message"));
            }
        }
        if command.pictured && takes_pictures(account) {
            let posts = self.world.posts_of(account);
            let mut begins = posts
                .iter()
                .filter(|post| post.text.contains(&command.area) && post.in_reply_to.is_none());
            let pictures = begins.next().map_or(0, |post| post.pictures.len());
            let note = delivery["receipt"]["note"].as_str().unwrap_or_default();
            // A service that was asked to die in the midst may refuse one; that is told.
            let noted = note.contains("without its picture");
            tally.pictures += pictures;
            tally.noted += usize::from(noted);
            if pictures > 1 || (pictures == 0 && !noted) {
                return Err(format!("{pictures} pictures stand"));
            }
        }
        Ok(())
    }

    /// How many posts a message consists of on an account: each under the one before, none beside another, and none that
    /// cannot be reached from the first.
    fn thread(&self, account: &str, area: &str) -> Result<usize, String> {
        let mut posts = self.world.posts_of(account);
        posts.retain(|post| post.deleted_at.is_none());
        let begins = |post: &&wall::Posted| post.text.contains(area) && post.in_reply_to.is_none();
        let mut last = posts.iter().find(begins).ok_or("no first part stands")?;
        let mut parts = 1;
        loop {
            let under = |post: &&wall::Posted| post.in_reply_to.as_ref() == Some(&last.remote_id);
            let next: Vec<_> = posts.iter().filter(under).collect();
            match next[..] {
                [] => break,
                [next] => last = next,
                _ => return Err(format!("{} posts stand under part {parts}", next.len())),
            }
            parts += 1;
        }
        let of_it = |post: &&wall::Posted| post.text.contains(area);
        let mut all: BTreeSet<_> = posts.iter().filter(of_it).map(|post| &post.remote_id).collect();
        loop {
            let hangs = |post: &&wall::Posted| post.in_reply_to.as_ref().is_some_and(|on| all.contains(on));
            let more: Vec<_> = posts.iter().filter(hangs).map(|post| &post.remote_id).collect();
            let before = all.len();
            all.extend(more);
            if all.len() == before {
                break;
            }
        }
        if all.len() == parts {
            Ok(parts)
        } else {
            Err(format!("{} posts stand, and {parts} hang together", all.len()))
        }
    }

    fn command(&mut self) -> Command {
        self.sent += 1;
        Command {
            pictured: self.sent.is_multiple_of(2),
            area: format!("Forserum {:04}", self.sent),
            key: format!("kaos-{}", self.sent),
            broadcast: None,
        }
    }

    /// Gives the command; without an answer its fate is open.
    async fn post(&self, command: &mut Command) {
        let mut body = json!({"message": "koka-vattnet", "fields": {"omrade": command.area}, "mode": "live"});
        if command.pictured {
            body["picture"] = picture();
        }
        let answer = self
            .world
            .ask("POST", "/api/v1/broadcasts", Some(&body), Some(&command.key));
        if let Some((status, body)) = answer.await {
            assert_eq!(status, 202, "{body}");
            command.broadcast = body["broadcast"].as_str().map(str::to_owned);
        }
    }

    async fn is_at_rest(&self, command: &Command) -> bool {
        let Some(id) = &command.broadcast else {
            return false;
        };
        let path = format!("/api/v1/broadcasts/{id}");
        let answer = self.world.ask("GET", &path, None, None).await;
        answer.is_some_and(|(status, report)| status == 200 && is_resting(&report))
    }

    async fn at_rest(&self, command: &Command) -> Value {
        let id = command.broadcast.as_deref().expect("it has been answered");
        self.world.until(id, "at rest", is_resting).await
    }

    /// Attempts on disk without an outcome, as the database says; SQLite's file is read beside the daemon.
    async fn cut_off(&self) -> BTreeMap<Whom, CutOff> {
        const SQL: &str = "SELECT d.account, d.recipient, r.body FROM delivery d \
             JOIN rendering r ON r.id = d.rendering \
             WHERE d.state IN ('sending', 'unknown') AND d.purpose = 'publish'";
        let rows: Vec<(String, String, String)> = if let Some(database) = &self.database {
            let pool = sqlx::PgPool::connect(&database.url()).await.unwrap();
            sqlx::query_as(SQL).fetch_all(&pool).await.unwrap()
        } else {
            let file = self.world.data_dir.join("vardkase.db");
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            let rows = sqlx::query_as(SQL).fetch_all(&pool).await.unwrap();
            pool.close().await;
            rows
        };
        let area = |text: &str| {
            let (_, rest) = text.split_once("Forserum ").expect("every text names the area");
            let number: String = rest.chars().take(4).collect();
            format!("Forserum {number}")
        };
        rows.into_iter()
            .map(|(account, to, text)| {
                let to = Some(to).filter(|to| !to.is_empty());
                ((account, recipient(to.as_deref())), CutOff { area: area(&text) })
            })
            .collect()
    }
}

/// An attempt that a kill left without an outcome.
#[derive(Debug, PartialEq, Eq)]
struct CutOff {
    area: String,
}

impl Watch {
    fn hit(&mut self) {
        self.first.get_or_insert_with(Instant::now);
        if let Some((pid, left)) = self.trap {
            self.trap = (left > 1).then(|| (pid, left - 1));
            if left == 1 {
                kill(pid);
            }
        }
    }
}

/// A few accounts that answer.
fn pick() -> Vec<String> {
    let mut all = accounts();
    all.retain(|account| account.channel != "file");
    (0..5)
        .map(|_| all[rand::random_range(0..all.len())].id.clone())
        .collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn recipient(address: Option<&str>) -> String {
    address.map_or_else(String::new, |address| Recipient::new(address).masked())
}

/// Whether the daemon has nothing more to do with any of them.
pub fn is_resting(report: &Value) -> bool {
    let open = ["queued", "sending", "unknown"];
    let deliveries = list(report, "deliveries");
    let is_open = |d: &Value| open.contains(&d["state"].as_str().unwrap_or_default());
    !deliveries.is_empty() && !deliveries.iter().any(is_open)
}
