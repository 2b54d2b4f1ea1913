//! `log`: the journal shown, verified, exported.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::model::{BroadcastId, PictureRef, picture};
use crate::register::export::csv_cell;
use crate::store::{ChainReport, Record};

/// The sub-commands of `log`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show records, oldest first.
    Show {
        /// Only this broadcast.
        #[arg(long, value_name = "BROADCAST")]
        broadcast: Option<BroadcastId>,
        /// Only records after this number; the last 50 if not given.
        #[arg(long)]
        after: Option<i64>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Print JSON Lines.
        #[arg(long)]
        json: bool,
    },
    /// Walk the whole chain of hashes and tell the first record that does not fit.
    Verify {
        /// A hash that an earlier confirmation mail told: it must stand in the chain.
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write the journal into a folder: JSON Lines, CSV, and checksums, for the registrar.
    Export {
        /// A folder that does not exist yet.
        dir: PathBuf,
        /// Only this broadcast.
        #[arg(long, value_name = "BROADCAST")]
        broadcast: Option<BroadcastId>,
    },
}

/// Runs `log`.
pub async fn run(config: &Path, command: &Command) -> Outcome {
    let client = Client::of(config)?;
    match command {
        Command::Show {
            broadcast,
            after,
            limit,
            json,
        } => {
            let start = match (after, broadcast) {
                (Some(after), _) => *after,
                (None, Some(_)) => 0,
                (None, None) => {
                    let head: serde_json::Value = client.get("/api/v1/status").await?;
                    let last = head
                        .get("journal_seq")
                        .and_then(serde_json::Value::as_i64)
                        .unwrap_or(0);
                    last - i64::try_from(*limit).unwrap_or(50)
                }
            };
            let mut left = *limit;
            each(&client, start.max(0), broadcast.as_ref(), |record| {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                if *json {
                    outln!("{}", serde_json::to_string(record)?);
                } else {
                    let about = record
                        .broadcast
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    outln!(
                        "{:>7} {} {:<20} {:<12} {about} {}",
                        record.seq,
                        record.at,
                        record.actor,
                        record.kind,
                        record.body
                    );
                }
                Ok(true)
            })
            .await?;
            Ok(Exit::Ok)
        }
        Command::Verify { anchor, json } => verify(&client, anchor.as_deref(), *json).await,
        Command::Export { dir, broadcast } => export(&client, dir, broadcast.as_ref()).await,
    }
}

async fn verify(client: &Client, anchor: Option<&str>, json: bool) -> Outcome {
    let report: ChainReport = client.get_long("/api/v1/journal/verification").await?;
    let mut broken = report.broken.clone();
    if let (None, Some(anchor)) = (&broken, anchor) {
        let (seq, hash) = anchor
            .split_once(':')
            .and_then(|(seq, hash)| Some((seq.parse::<i64>().ok()?, hash)))
            .ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "--anchor: expected SEQ:HASH as in the confirmation mail",
                )
            })?;
        let page: Vec<Record> = client
            .get(&format!("/api/v1/journal?after={}&limit=1", seq - 1))
            .await?;
        match page.first() {
            Some(record) if record.seq == seq && record.hash.starts_with(hash) && hash.len() >= 12 => {}
            Some(record) if record.seq == seq => {
                broken = Some((
                    seq,
                    "its hash is not the one that was mailed: history was rewritten".to_owned(),
                ));
            }
            _ => {
                broken = Some((
                    seq,
                    "it is missing, though it was mailed: the tail was cut".to_owned(),
                ));
            }
        }
    }
    let whole = broken.is_none();
    if json {
        super::print_json(&ChainReport { broken, ..report })?;
    } else if let Some((seq, why)) = broken {
        outln!("BROKEN at record {seq}: {why}");
    } else {
        outln!("whole: {} records, head {}", report.records, report.head);
    }
    Ok(if whole { Exit::Ok } else { Exit::Error })
}

/// Calls `f` for every record after `after` until it says stop; page by page, so that the journal may be of any length.
async fn each(
    client: &Client,
    mut after: i64,
    broadcast: Option<&BroadcastId>,
    mut f: impl FnMut(&Record) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let filter = broadcast.map(|id| format!("&broadcast={id}")).unwrap_or_default();
    loop {
        let page: Vec<Record> = client
            .get(&format!("/api/v1/journal?after={after}&limit=1000{filter}"))
            .await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for record in &page {
            if !f(record)? {
                return Ok(());
            }
        }
    }
}

async fn export(client: &Client, dir: &Path, broadcast: Option<&BroadcastId>) -> Outcome {
    fs::create_dir(dir).map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", dir.display())))?;
    let mut lines = BufWriter::new(fs::File::create_new(dir.join("journal.jsonl"))?);
    let mut csv = BufWriter::new(fs::File::create_new(dir.join("journal.csv"))?);
    writeln!(csv, "seq,at,actor,kind,broadcast,delivery,body,hash")?;
    let mut records = 0u64;
    let mut pictures = BTreeMap::new();
    each(client, 0, broadcast, |record| {
        records += 1;
        pictures.extend(pictures_of(record));
        writeln!(lines, "{}", serde_json::to_string(record)?)?;
        let cells = [
            record.seq.to_string(),
            record.at.to_string(),
            record.actor.to_string(),
            record.kind.clone(),
            record
                .broadcast
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            record
                .delivery
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            record.body.clone(),
            record.hash.clone(),
        ];
        writeln!(csv, "{}", cells.map(|cell| csv_cell(&cell)).join(","))?;
        Ok(true)
    })
    .await?;
    for file in [lines, csv] {
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)?
            .sync_all()?;
    }
    let mut names = vec!["journal.jsonl".to_owned(), "journal.csv".to_owned()];
    for (sha256, media_type) in &pictures {
        let bytes = client.bytes(&format!("/api/v1/pictures/{sha256}")).await?;
        fs::create_dir_all(dir.join("pictures"))?;
        let ending = if media_type == picture::PNG { "png" } else { "jpg" };
        let name = format!("pictures/{sha256}.{ending}");
        let mut file = fs::File::create_new(dir.join(&name))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        names.push(name);
    }
    let mut sums = String::new();
    for name in &names {
        let mut hash = Sha256::new();
        let mut file = fs::File::open(dir.join(name))?;
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let n = std::io::Read::read(&mut file, &mut buffer)?;
            if n == 0 {
                break;
            }
            hash.update(buffer.get(..n).unwrap_or_default());
        }
        sums.extend([&hex::encode(hash.finalize()), "  ", name.as_str(), "\n"]);
    }
    fs::write(dir.join("SHA256SUMS"), &sums)?;
    outln!(
        "{records} records in {}; check with `sha256sum -c SHA256SUMS` there",
        dir.display()
    );
    Ok(Exit::Ok)
}

/// The pictures that a record names, by digest, with their media types.
fn pictures_of(record: &Record) -> Vec<(String, String)> {
    let body: serde_json::Value = match record.kind.as_str() {
        "accept" => serde_json::from_str(&record.body).unwrap_or_default(),
        _ => return Vec::new(),
    };
    let pictures = body
        .pointer("/request/pictures")
        .and_then(|p| p.as_array())
        .cloned();
    pictures
        .unwrap_or_default()
        .iter()
        .filter_map(|one| serde_json::from_value::<PictureRef>(one["picture"].clone()).ok())
        // It becomes a file's name: nothing but a digest.
        .filter(|picture| picture.sha256.len() == 64 && picture.sha256.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(|picture| (picture.sha256, picture.media_type))
        .collect()
}
