//! The register: the public list, what it lacks, attestations, applications and closings.

use std::path::{Path, PathBuf};

use super::{Exit, Failure, Outcome};
use crate::register::export::{Format, Public};

/// What `accounts` does besides listing.
#[derive(Debug, clap::Subcommand)]
pub enum AccountsCommand {
    /// Write the public list of accounts: a fragment for the web site, JSON, or CSV. Needs no daemon.
    Export {
        /// As what.
        #[arg(long, value_enum, default_value = "html")]
        format: Format,
        /// Into this file; printed if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs `accounts export` and its like.
pub async fn accounts(config: &Path, command: &AccountsCommand) -> Outcome {
    match command {
        AccountsCommand::Export { format, out } => {
            let public = Public::of(&super::load(config)?);
            let text = public.write(*format).map_err(|error| {
                Failure::new(Exit::Error, format!("the list could not be written: {error}"))
            })?;
            put(out.as_deref(), &text)
        }
    }
}

/// Prints a text, or writes it into a file that is there whole or not at all.
fn put(out: Option<&Path>, text: &str) -> Outcome {
    let Some(path) = out else {
        outln!("{}", text.trim_end_matches('\n'));
        return Ok(Exit::Ok);
    };
    let failed = |error: std::io::Error| Failure::new(Exit::Error, format!("{}: {error}", path.display()));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    outln!("{}", path.display());
    Ok(Exit::Ok)
}
