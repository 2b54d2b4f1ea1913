//! `attest`: what no API can tell, said by a person with evidence; listed, and taken back.

use std::path::Path;

use jiff::civil::Date;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::register::{AttestRequest, RevokeRequest};
use crate::model::AccountId;
use crate::register::attest::{Attestation, What};

/// Arguments of `attest`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// The account.
    #[arg(required = true)]
    account: Option<AccountId>,
    /// What is attested.
    #[arg(required = true, value_enum)]
    what: Option<What>,
    /// How you know: a number in the diarium, where the screenshot is, who looked.
    #[arg(long, required = true, value_name = "TEXT")]
    evidence: Option<String>,
    /// The last day on which it holds, such as 2027-06-30. Default: register.attestation_valid.
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else than attesting.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the attestations, the oldest first.
    List {
        /// Only of this account.
        #[arg(long)]
        account: Option<AccountId>,
        /// Print a JSON list.
        #[arg(long)]
        json: bool,
    },
    /// Take the latest attestation of an account in a matter back.
    Revoke {
        /// The account.
        account: AccountId,
        /// What was attested.
        #[arg(value_enum)]
        what: What,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `attest`.
pub async fn run(config: &Path, args: Args) -> Outcome {
    let client = Client::of(config)?;
    let (one, json): (Attestation, bool) = match args.command {
        Some(Command::List { account, json }) => return list(&client, account.as_ref(), json).await,
        Some(Command::Revoke {
            account,
            what,
            reason,
            json,
        }) => {
            let request = RevokeRequest {
                account,
                what,
                reason,
            };
            (client.post("/api/v1/attestations/revoke", &request).await?, json)
        }
        None => {
            let (Some(account), Some(what), Some(evidence)) = (args.account, args.what, args.evidence) else {
                return Err(Failure::new(
                    Exit::Usage,
                    "ACCOUNT, WHAT and --evidence are needed",
                ));
            };
            let request = AttestRequest {
                account,
                what,
                evidence,
                until: args.until,
            };
            (client.post("/api/v1/attestations", &request).await?, args.json)
        }
    };
    if json {
        super::print_json(&one)?;
    } else {
        outln!("{}", line(&one));
    }
    Ok(Exit::Ok)
}

async fn list(client: &Client, account: Option<&AccountId>, json: bool) -> Outcome {
    let mut all: Vec<Attestation> = client.get("/api/v1/attestations").await?;
    all.retain(|one| account.is_none_or(|account| one.account == *account));
    if json {
        super::print_json(&all)?;
        return Ok(Exit::Ok);
    }
    for one in &all {
        outln!("{}", line(one));
    }
    outln!("{} attestations", all.len());
    Ok(Exit::Ok)
}

fn line(one: &Attestation) -> String {
    let until = match (one.revoked_at, &one.revoked_because) {
        (Some(at), why) => format!("taken back {at}: {}", why.as_deref().unwrap_or_default()),
        (None, _) => format!("until {}", one.expires_at),
    };
    format!(
        "{:>4} {:<22} {:<28} {until} · {} · {}",
        one.id, one.account, one.what, one.actor, one.evidence
    )
}
