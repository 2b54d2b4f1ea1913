//! `backup`: a copy of everything that the daemon needs, taken while it runs.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::Client;
use super::{Exit, Outcome};

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder that does not exist yet; the daemon's user must be able to make it.
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `backup`.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    let dir = std::path::absolute(&args.dir)?;
    let answer: serde_json::Value = Client::of(config)?
        .post_long("/api/v1/backup", &json!({ "to": dir }))
        .await?;
    if args.json {
        super::print_json(&answer)?;
    } else {
        outln!(
            "{}: database, vault (still encrypted), configuration, messages and lists. The vault's key is not in it:",
            dir.display()
        );
        outln!(
            "keep that apart. A daemon started on this copy holds everything unsent until `vardkase retry … --release`."
        );
    }
    Ok(Exit::Ok)
}
