//! (b) 20,000 deliveries to an endpoint that answers at once, each on disk before its request and after its answer. They
//! lie accepted when the dispatcher starts: 200 alerts to 100 accounts, so 100 requests can be under way.

use std::fs;
use std::time::Instant;

use anyhow::Context as _;
use vardkase::dispatch::Dispatcher;

use crate::bed::{self, Hooks};
use crate::endpoint::Endpoint;
use crate::table::{Figure, median};

const ACCOUNTS: usize = 100;
const ALERTS: usize = 200;
const ALL: usize = ACCOUNTS * ALERTS;

pub async fn measure(runs: usize) -> anyhow::Result<Vec<Figure>> {
    let (mut rates, mut floors, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let dir = bed::folder()?;
        let mut endpoint = Endpoint::start()?;
        let url = bed::slow(&endpoint, 0);
        let hooks = Hooks::open(dir.path(), ACCOUNTS, &url)?;
        let store = bed::store(dir.path()).await?;
        let lanes = hooks.lanes();
        for _ in 0..ALERTS {
            store.accept(bed::alert(&lanes)?).await?;
        }
        let mut changes = store.subscribe();
        forget_peak()?;

        let began = Instant::now();
        let dispatcher = Dispatcher::start(
            store.clone(),
            Hooks::clone_as_accounts(&hooks),
            bed::clock(),
            "figures".to_owned(),
            false,
        )
        .await?;
        bed::published(&mut changes, ALL).await?;
        rates.push(rate(began));
        peaks.push(peak()?);
        anyhow::ensure!(
            endpoint.answered()?.posts == ALL as u64,
            "not every delivery was posted once"
        );
        dispatcher.stop(bed::PATIENCE).await;

        for _ in 0..ALERTS {
            store.accept(bed::alert(&lanes)?).await?;
        }
        let mut shots = Vec::with_capacity(ACCOUNTS);
        for lane in &lanes {
            shots.push(bed::shots(&store, lane, ALERTS).await?);
        }
        store.close().await;
        let began = Instant::now();
        bed::fire(shots, &url).await?;
        floors.push(rate(began));
    }
    Ok(vec![
        Figure::against(
            "deliveries",
            "deliveries, durable before and after, 100 at once",
            median(&mut rates),
            "1/s",
            median(&mut floors),
        ),
        Figure::alone(
            "deliveries_peak_memory",
            "peak memory of that run",
            median(&mut peaks),
            "MiB",
        ),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "20,000 is far below 2^52")]
fn rate(began: Instant) -> f64 {
    ALL as f64 / began.elapsed().as_secs_f64()
}

/// Sets the kernel's mark of the highest memory use back to what is in use now.
fn forget_peak() -> anyhow::Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("the mark of the highest memory use")
}

fn peak() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmHWM in /proc/self/status")?
        .parse()?;
    Ok(kib / 1024.0)
}
