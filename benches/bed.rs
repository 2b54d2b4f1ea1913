//! What the figures are measured on: a configuration of webhook accounts, a store on disk, the real adapters.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::CONTENT_TYPE;
use tempfile::TempDir;
use tokio::task::JoinSet;
use vardkase::channel::document::Document;
use vardkase::channel::secrets::InMemory;
use vardkase::channel::{Pace, Parts, Transport};
use vardkase::clock::{Clock as _, SharedClock, SystemClock, later};
use vardkase::config::{Config, Database, Unproven};
use vardkase::dispatch::{Accounts, LanePlan};
use vardkase::model::{Actor, Kind, LaneId, Lang, Mode, Proof, Rendering, State, Unit, Variant};
use vardkase::store::{Acceptance, Changed, Destination, Store, StoreError, Under};

use crate::endpoint::Endpoint;

/// Whoever waits longer waits for something that does not come.
pub const PATIENCE: Duration = Duration::from_mins(5);

const SENDER: &str = "Nässjö kommun";
const TEXT: &str = "VIKTIGT: Koka vattnet i Nässjö tätort. Bakterier har hittats i dricksvattnet. Koka allt vatten som \
                    du dricker, lagar mat med eller borstar tänderna med, tills vi säger till. Vattnet ska bubbla \
                    kraftigt. Du kan duscha och tvätta som vanligt. Nässjö kommun. https://nassjo.se/vatten";

/// A folder on the disk that the build is on, not in memory as `/tmp` may be.
pub fn folder() -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("figures-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .context("a folder for the figures")
}

/// Writes a configuration of `accounts` webhook accounts whose endpoint is `address` and gives its path.
pub fn configuration(dir: &Path, accounts: usize, address: &str) -> anyhow::Result<PathBuf> {
    let mut text = String::from(
        "[municipality]\nname = \"Nässjö kommun\"\nsite = \"https://nassjo.se\"\n\n\
         [daemon]\ndata_dir = \"data\"\n\n[vault]\nkey_file = \"vault.key\"\n\n\
         [verification]\nevery = \"24h\"\ncertificate = \"off\"\n\n[register.reminders]\nsend = \"off\"\n\n[confirmation]\nto = [\"krisledning@nassjo.se\"]\nfrom = \"vardkase@nassjo.se\"\n\n\
         [[relay]]\nid = \"relay\"\nhost = \"127.0.0.1\"\nport = 25\ntls = \"none\"\n",
    );
    for n in 0..accounts {
        write!(
            text,
            "\n[account.hook-{n:03}]\nchannel = \"webhook\"\nendpoint = \"{address}\"\n"
        )?;
    }
    let path = dir.join("config.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The accounts of a configuration, each with its real adapter over one transport. No pace holds them back.
pub struct Hooks(BTreeMap<LaneId, LanePlan>);

impl Hooks {
    pub fn open(dir: &Path, many: usize, address: &str) -> anyhow::Result<Arc<Self>> {
        let config = Config::load(&configuration(dir, many, address)?)?;
        let http = Transport::new(clock(), Duration::from_secs(10)).map_err(anyhow::Error::msg)?;
        let plans = config.accounts.values().map(|account| {
            let parts = Parts {
                account: account.id.clone(),
                secrets: Arc::new(InMemory::default()),
                http: http.clone(),
                relays: Arc::from(config.relays.clone()),
                relay_secrets: Arc::new(InMemory::default()),
                sender: config.municipality.name.clone(),
                domain: "nassjo.se".to_owned(),
            };
            let lane = LaneId {
                account: account.id.clone(),
                mode: Mode::Live,
            };
            let plan = LanePlan {
                side: lane.side(),
                pace: Pace {
                    attempts: 0,
                    per: Duration::ZERO,
                    burst: 0,
                    parallel: 1,
                },
                unproven: Unproven::Hold,
                attempt_timeout: Duration::from_secs(20),
                credentials: Arc::default(),
                channel: account.settings.open(parts),
            };
            (lane, plan)
        });
        Ok(Arc::new(Self(plans.collect())))
    }

    /// The same, as the dispatcher wants them.
    pub fn clone_as_accounts(hooks: &Arc<Self>) -> Arc<dyn Accounts> {
        Arc::<Self>::clone(hooks)
    }

    pub fn lanes(&self) -> Vec<LaneId> {
        self.0.keys().cloned().collect()
    }
}

impl Accounts for Hooks {
    fn plan(&self, lane: &LaneId) -> Option<LanePlan> {
        self.0.get(lane).cloned()
    }
}

pub fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

pub async fn store(dir: &Path) -> Result<Store, StoreError> {
    let database = Database::Sqlite(dir.join("vardkase.db"));
    Ok(Store::open(&database, "figures", clock()).await?.0)
}

/// A new alert to all of `lanes`.
pub fn alert(lanes: &[LaneId]) -> anyhow::Result<Acceptance> {
    let now = SystemClock.now();
    let destinations = lanes.iter().map(|lane| Destination {
        account: lane.account.clone(),
        channel: "webhook".to_owned(),
        proof: Proof::Keyed,
        rendering: 0,
        recipient: None,
        state: State::Queued,
        not_before: now,
        purpose: vardkase::model::Purpose::Publish,
        target: None,
        alternative: None,
    });
    Ok(Acceptance {
        under: Under::New { year: 2026 },
        kind: Kind::Initial,
        mode: Mode::Live,
        message: "koka-vattnet".parse().map_err(anyhow::Error::msg)?,
        message_version: 1,
        headline: "Koka vattnet".to_owned(),
        actor: Actor::local(0, None),
        at: now,
        valid_until: later(now, Duration::from_hours(1)),
        renderings: vec![Rendering {
            headline: "Koka vattnet".to_owned(),
            text: TEXT.to_owned(),
            html: None,
            link: "https://nassjo.se/vatten".parse()?,
            languages: vec![Lang::Sv],
            variant: Variant::Long,
            count: TEXT.chars().count(),
            limit: None,
            unit: Unit::Characters,
            picture: None,
        }],
        pictures: Vec::new(),
        destinations: destinations.collect(),
        lists: Vec::new(),
        unreachable: Vec::new(),
        idempotency: None,
        journal: serde_json::json!({}),
    })
}

/// A request as the adapter makes it, ready to be fired: key and body.
pub type Shot = (String, Vec<u8>);

/// The requests that a lane has before it.
pub async fn shots(store: &Store, lane: &LaneId, most: usize) -> anyhow::Result<Vec<Shot>> {
    let head = store.head(lane, most).await?;
    head.iter()
        .map(|work| {
            let body = serde_json::to_vec(&Document::of(&work.post, SENDER))?;
            Ok((work.post.key.to_string(), body))
        })
        .collect()
}

/// Fires requests with bare reqwest: one task for each list, one request at a time in each. No log, no state, no retry.
pub async fn fire(shots: Vec<Vec<Shot>>, url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().http1_only().build()?;
    let mut tasks = JoinSet::new();
    for list in shots {
        let (client, url) = (client.clone(), url.to_owned());
        tasks.spawn(async move {
            for (key, body) in list {
                let request = client
                    .post(&url)
                    .header(CONTENT_TYPE, "application/json")
                    .header("idempotency-key", key)
                    .body(body);
                request.send().await?.error_for_status()?.bytes().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Waits until `want` different deliveries are published, on disk.
pub async fn published(
    changes: &mut tokio::sync::broadcast::Receiver<Changed>,
    want: usize,
) -> anyhow::Result<()> {
    let mut out = BTreeSet::new();
    let all = async {
        while out.len() < want {
            let news = changes.recv().await.context("changes were missed")?;
            match (news.delivery, news.state) {
                (Some(delivery), Some(State::Published)) => {
                    out.insert(delivery);
                }
                (_, Some(State::Queued | State::Sending) | None) => {}
                (_, Some(other)) => anyhow::bail!("a delivery became {other}"),
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, all).await?
}

/// The address of an endpoint that takes `millis` to answer.
pub fn slow(endpoint: &Endpoint, millis: u64) -> String {
    format!("http://{}/{millis}", endpoint.address)
}
