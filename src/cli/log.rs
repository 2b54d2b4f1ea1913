//! `log`: the journal shown, verified, exported.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use minijinja::context;
use sha2::{Digest, Sha256};

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::config::Municipality;
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
        /// A record's number and hash as an earlier confirmation mail, `log show` or an export told them: the chain must
        /// have them, so that a tail that was cut off is noticed.
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write the journal into a folder for the registrar: JSON Lines, CSV, the pictures, a text in plain Swedish that says
    /// what each file is and how to check it, and checksums.
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
            let mut anchor = None;
            each(&client, start.max(0), broadcast.as_ref(), |record| {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                anchor = Some(anchor_of(record));
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
            if let (false, Some(anchor)) = (json, anchor) {
                outln!("the last of these, for `vardkase log verify --anchor`: {anchor}");
            }
            Ok(Exit::Ok)
        }
        Command::Verify { anchor, json } => verify(&client, anchor.as_deref(), *json).await,
        Command::Export { dir, broadcast } => {
            let municipality = super::load(config)?.municipality;
            fs::create_dir(dir).map_err(|e| Failure::new(Exit::Error, format!("{}: {e}", dir.display())))?;
            let done = export(&client, dir, broadcast.as_ref(), &municipality).await;
            if done.is_err() {
                // Half a package must not be taken for a whole one.
                fs::remove_dir_all(dir).ok();
            }
            done
        }
    }
}

async fn verify(client: &Client, anchor: Option<&str>, json: bool) -> Outcome {
    let anchor = anchor.map(read_anchor).transpose()?;
    let report: ChainReport = client.get_long("/api/v1/journal/verification").await?;
    let mut broken = report.broken.clone();
    if let (None, Some((seq, hash))) = (&broken, anchor) {
        let page: Vec<Record> = client
            .get(&format!("/api/v1/journal?after={}&limit=1", seq - 1))
            .await?;
        match page.first() {
            Some(record) if record.seq == seq && record.hash.starts_with(&hash) => {}
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

/// A record's number and hash, as they prove the journal up to there.
fn anchor_of(record: &Record) -> String {
    format!("{}:{}", record.seq, record.hash)
}

/// Shortest beginning of a hash that is taken for the whole.
const SHORTEST_HASH: usize = 12;

fn read_anchor(text: &str) -> Result<(i64, String), Failure> {
    let parts = text.trim().split_once(':').and_then(|(seq, hash)| {
        let seq = seq.parse::<i64>().ok().filter(|seq| *seq > 0)?;
        let is_hash =
            (SHORTEST_HASH..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| (seq, hash.to_ascii_lowercase()))
    });
    parts.ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "--anchor: expected SEQ:HASH as in the confirmation mail, of the hash at least 12 signs",
        )
    })
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

/// What the registrar reads first.
const README: &str = include_str!("../../templates/journal/las-mig.txt");
const README_NAME: &str = "LAS-MIG.txt";

async fn export(
    client: &Client,
    dir: &Path,
    broadcast: Option<&BroadcastId>,
    municipality: &Municipality,
) -> Outcome {
    let mut lines = BufWriter::new(fs::File::create_new(dir.join("journal.jsonl"))?);
    let mut csv = BufWriter::new(fs::File::create_new(dir.join("journal.csv"))?);
    writeln!(csv, "seq,at,actor,kind,broadcast,delivery,body,hash")?;
    let mut records = 0u64;
    let (mut first, mut last) = (None, None);
    let mut pictures = BTreeMap::new();
    each(client, 0, broadcast, |record| {
        records += 1;
        first.get_or_insert(record.seq);
        last = Some((record.seq, record.hash.clone()));
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
    let (last, hash) = last.unwrap_or_default();
    let readme = readme(&context! {
        municipality => municipality.name.as_str(),
        at => local(municipality),
        broadcast => broadcast.map(BroadcastId::as_str),
        records,
        first => first.unwrap_or_default(),
        last,
        hash,
        pictures => !pictures.is_empty(),
    })?;
    let mut file = fs::File::create_new(dir.join(README_NAME))?;
    writeln!(file, "{readme}")?;
    file.sync_all()?;
    names.push(README_NAME.to_owned());
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
    let mut file = fs::File::create_new(dir.join("SHA256SUMS"))?;
    file.write_all(sums.as_bytes())?;
    file.sync_all()?;
    fs::File::open(dir)?.sync_all()?;
    outln!(
        "{records} records in {}; {README_NAME} there says what the files are; check them with `sha256sum -c SHA256SUMS`",
        dir.display()
    );
    Ok(Exit::Ok)
}

fn readme(facts: &minijinja::Value) -> Result<String, minijinja::Error> {
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.render_str(README, facts)
}

/// Now, as the municipality's clocks show it.
fn local(municipality: &Municipality) -> String {
    let zone = TimeZone::get(&municipality.time_zone).unwrap_or(TimeZone::UTC);
    let now = SystemClock.now().to_zoned_datetime(zone);
    now.strftime("%Y-%m-%d kl. %H.%M").to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        assert_eq!(csv_cell("=1+1"), "\"'=1+1\"");
        assert_eq!(csv_cell("say \"hej\", du"), "\"say \"\"hej\"\", du\"");
        for formula in [
            "+46701740605",
            "-1+1",
            "@SUM(A1:A9)",
            "=cmd|' /C calc'!A0",
            "\t=1+1",
            "\r\n=1+1",
            "  =1+1",
            "\u{feff}=1+1",
            "＝1+1",
        ] {
            let cell = csv_cell(formula);
            assert!(cell.starts_with("\"'"), "{cell}");
        }
        for plain in ["", "accept", "a=1", "{\"text\":\"=1+1\"}", "2026-0001.1"] {
            assert!(!csv_cell(plain).contains('\''), "{plain}");
        }
    }

    #[test]
    fn an_anchor_is_a_number_and_enough_of_a_hash() {
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(
            read_anchor(&format!("12:{}", hash.to_uppercase())).unwrap(),
            (12, hash.clone())
        );
        assert_eq!(read_anchor("12:0123456789ab").unwrap().1, "0123456789ab");
        for wrong in [
            "",
            "12",
            "12:",
            "12:0123456789a",
            "0:0123456789ab",
            "-1:0123456789ab",
            "x:0123456789ab",
            "12:0123456789xyz",
        ] {
            assert_eq!(read_anchor(wrong).unwrap_err().exit, Exit::Usage, "{wrong:?}");
        }
        assert!(read_anchor(&format!("1:{hash}0")).is_err());
    }

    #[test]
    fn the_registrar_reads_what_each_file_is() {
        let facts = |broadcast: Option<&str>, records: u64| {
            context! {
                municipality => "Nässjö kommun", at => "2026-11-23 kl. 18.05", broadcast, records,
                first => 1, last => 7, hash => "ab".repeat(32), pictures => true,
            }
        };
        insta::assert_snapshot!(readme(&facts(None, 7)).unwrap());
        let one = readme(&facts(Some("2026-0001.1"), 3)).unwrap();
        assert!(
            one.contains("meddelandet 2026-0001.1") && one.contains("ett enda meddelande"),
            "{one}"
        );
        let empty = readme(&facts(None, 0)).unwrap();
        assert!(
            empty.contains("Poster: 0\n") && !empty.contains("abab"),
            "{empty}"
        );
    }
}
