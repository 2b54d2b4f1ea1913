//! `serve`: run the daemon.

use std::path::Path;
use std::sync::Arc;

use super::{Exit, Outcome};
use crate::clock::SystemClock;
use crate::serve::{Options, start};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take the data directory over from a daemon that hangs and cannot be stopped. That one writes nothing more.
    #[arg(long)]
    take_over: bool,
}

/// Runs `serve` until the daemon is told to stop.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    crate::telemetry::start_logging("info");
    let config = super::load(config)?;
    let options = Options {
        take_over: args.take_over,
        signals: true,
        ..Options::default()
    };
    start(config, Arc::new(SystemClock), options).await?.run().await?;
    Ok(Exit::Ok)
}
