//! Every channel's exchange cut short at every one of its requests: before it is written, after it is written, and after
//! its answer is read. The process dies there, another takes over, and the simulator's ledger is compared with what it
//! says. An exchange of several steps (media, container, parts of a thread) is cut between all of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vardkase::channel::{Kind, REGISTRY};
use vardkase::model::Proof;
use vardkase::wall::Posted;

use crate::round::is_resting;
use crate::support::{Account, Daemon, PATIENCE, Plan, World, list};

/// Where a request is cut.
const POINTS: [&str; 3] = [
    "request-written.before",
    "request-written.after",
    "response-read.after",
];
/// More requests than any exchange has.
const MOST: usize = 40;

/// What was counted on one channel.
#[derive(Debug, Default)]
pub struct Cuts {
    pub channel: &'static str,
    pub proof: String,
    /// Requests of the longest exchange that was cut.
    pub requests: usize,
    pub kills: usize,
    pub lost: usize,
    pub doubled: usize,
    pub unknown: usize,
    pub faults: Vec<String>,
}

/// The channels that talk to a service.
pub fn channels() -> impl Iterator<Item = &'static Kind> {
    let talks = |kind: &&Kind| !kind.can.by_hand && kind.id != "file";
    REGISTRY.iter().copied().filter(talks)
}

fn account(kind: &Kind) -> Account {
    let account = Account::new("konto", kind.id)
        .with("rate = \"1000/1s\"")
        .with("burst = 100");
    let is_patient = [
        "facebook-page",
        "instagram",
        "linkedin",
        "mastodon",
        "matrix",
        "ntfy",
        "sms-46elks",
        "telegram",
        "threads",
        "wordpress",
        "x",
    ];
    let account = if is_patient.contains(&kind.id) {
        account.with("settle_wait = \"300ms\"")
    } else {
        account
    };
    if ["bluesky", "mastodon", "threads"].contains(&kind.id) {
        account.with("long = \"thread\"")
    } else {
        account
    }
}

/// Text of which each sentence names the broadcast, so that each part of a thread is its own.
fn fields(sent: usize) -> Value {
    let sentence =
        |n: usize| format!("Prov {sent:03} mening {n}: bron är skadad, gå inte på den och kör en annan väg.");
    let whole: Vec<String> = (1..=10).map(sentence).collect();
    json!({
        "rubrik": format!("Bron {sent:03} är stängd"),
        "text": whole.join(" "),
        "kort": format!("Prov {sent:03}: gå inte på bron, kör en annan väg."),
        "sms": format!("Bron {sent:03} är skadad. Kör en annan väg."),
    })
}

/// A picture, so that its upload is cut as well where there is one.
static PICTURE: LazyLock<String> = LazyLock::new(|| {
    let mut file = std::io::Cursor::new(Vec::new());
    let red = image::RgbImage::from_pixel(64, 48, image::Rgb([200, 30, 30]));
    red.write_to(&mut file, image::ImageFormat::Png).unwrap();
    STANDARD.encode(file.into_inner())
});

/// Words of one post by recipient, as often as they were published.
type Ledger = BTreeMap<(Option<String>, String), usize>;

struct Ground {
    world: World,
    sent: usize,
    seen: usize,
    /// Posts of an undisturbed broadcast.
    posts: usize,
    with_picture: bool,
}

impl Ground {
    async fn open(kind: &'static Kind) -> Self {
        let world = World::open(Plan::of(vec![account(kind)])).await;
        let mut ground = Self {
            world,
            sent: 0,
            seen: 0,
            posts: 0,
            with_picture: kind.can.picture,
        };
        let mut daemon = ground.world.spawn();
        ground.world.ready(&mut daemon).await;
        let (body, key) = ground.command();
        let id = ground
            .command_it(&body, &key)
            .await
            .expect("nobody was in the way");
        let report = ground.at_rest(&id).await;
        let states: Vec<&Value> = list(&report, "deliveries").iter().map(|d| &d["state"]).collect();
        assert!(
            states.iter().all(|state| *state == "published"),
            "{}: {report:#}",
            kind.id
        );
        ground.posts = ground.fresh().values().sum();
        daemon.kill9().await;
        ground
    }

    fn command(&mut self) -> (Value, String) {
        self.sent += 1;
        let mut body =
            json!({"message": "fritext", "fields": fields(self.sent), "to": ["konto"], "mode": "live"});
        if self.with_picture {
            body["picture"] = json!({ "file": PICTURE.as_str(), "alt": "En röd ruta" });
        }
        (body, format!("prov-{}", self.sent))
    }

    async fn command_it(&self, body: &Value, key: &str) -> Option<String> {
        let answer = self
            .world
            .ask("POST", "/api/v1/broadcasts", Some(body), Some(key))
            .await;
        let (status, answer) = answer?;
        assert_eq!(status, 202, "{answer}");
        answer["broadcast"].as_str().map(str::to_owned)
    }

    async fn at_rest(&self, id: &str) -> Value {
        self.world.until(id, "at rest", is_resting).await
    }

    /// What came out since it was asked last.
    fn fresh(&mut self) -> Ledger {
        let posts: Vec<Posted> = self.world.posts();
        let mut ledger = Ledger::new();
        for post in posts.into_iter().skip(self.seen) {
            self.seen += 1;
            let whom = post.recipient.map(|recipient| format!("{recipient:?}"));
            *ledger.entry((whom, post.text)).or_default() += 1;
        }
        ledger
    }

    /// Publishes with this point armed; `false` if the process lived through the whole of it.
    async fn cut(&mut self, point: &str, cuts: &mut Cuts) -> bool {
        let env = [("VARDKASE_FAILPOINT", point)];
        let mut daemon = self.world.spawn_with(&self.world.config, &[], &env);
        let until = Instant::now() + PATIENCE;
        while !daemon.is_gone() && self.world.ask("GET", "/readyz", None, None).await.is_none() {
            assert!(Instant::now() < until, "{point}: neither ready nor gone");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (body, key) = self.command();
        let mut id = self.command_it(&body, &key).await;
        let died = self.died(&mut daemon, id.as_deref()).await;
        daemon.kill9().await;
        let mut daemon = self.world.spawn();
        self.world.ready(&mut daemon).await;
        if id.is_none() {
            // Whoever got no answer asks again with the same key.
            id = self.command_it(&body, &key).await;
        }
        let report = self.at_rest(&id.expect("it has been answered")).await;
        self.compare(point, &report, cuts);
        daemon.kill9().await;
        cuts.kills += usize::from(died);
        died
    }

    /// Waits until the process has died of the point, or the broadcast is at rest without it.
    async fn died(&self, daemon: &mut Daemon, id: Option<&str>) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            if daemon.is_gone() {
                return true;
            }
            if let Some(id) = id
                && let Some((200, report)) = self
                    .world
                    .ask("GET", &format!("/api/v1/broadcasts/{id}"), None, None)
                    .await
                && is_resting(&report)
            {
                return false;
            }
            assert!(
                Instant::now() < until,
                "neither at rest nor gone: {}",
                daemon.said()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn compare(&mut self, point: &str, report: &Value, cuts: &mut Cuts) {
        let ledger = self.fresh();
        let twice = ledger.values().map(|count| count - 1).sum::<usize>();
        let out: usize = ledger.values().sum();
        let mut held = 0;
        for delivery in list(report, "deliveries") {
            let state = delivery["state"].as_str().unwrap_or_default();
            let is_unknown = delivery["unknown_since"].is_string() && delivery["proof"] == "unproven";
            match state {
                "published" => {}
                "held" if is_unknown => held += 1,
                _ => cuts.faults.push(format!("{point}: {delivery}")),
            }
        }
        cuts.unknown += held;
        cuts.doubled += twice;
        if held == 0 && out - twice != self.posts {
            cuts.lost += self.posts.saturating_sub(out - twice);
            cuts.faults.push(format!(
                "{point}: {out} posts instead of {}: {ledger:?}",
                self.posts
            ));
        }
        if twice > 0 {
            cuts.faults.push(format!("{point}: posted again: {ledger:?}"));
        }
    }
}

/// Cuts the channel's exchange at every request of it.
pub async fn cut_everywhere(kind: &'static Kind) -> Cuts {
    let mut cuts = Cuts {
        channel: kind.id,
        proof: kind.can.proof.as_str().to_owned(),
        ..Cuts::default()
    };
    let mut ground = Box::pin(Ground::open(kind)).await;
    for point in POINTS {
        let mut nth = 1;
        while Box::pin(ground.cut(&format!("{point}:{nth}"), &mut cuts)).await {
            nth += 1;
            assert!(nth < MOST, "{}: {point} never ends", kind.id);
        }
        cuts.requests = cuts.requests.max(nth - 1);
    }
    if cuts.kills == 0 {
        cuts.faults.push("no point was ever passed".to_owned());
    }
    if kind.can.proof != Proof::Unproven && cuts.unknown > 0 {
        cuts.faults
            .push("left unknown although it can be found out".to_owned());
    }
    cuts
}
