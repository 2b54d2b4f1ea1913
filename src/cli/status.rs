//! `status`: how the daemon, an alert, a broadcast or a delivery stands.

use std::path::Path;

use super::client::Client;
use super::send::exit_of;
use super::{Exit, Outcome};
use crate::app::request::Status;
use crate::model::{BroadcastReport, BroadcastState, ConfirmationState};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An alert (2026-0007), a broadcast (2026-0007.1) or a delivery; the daemon as a whole if not given.
    what: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `status`. For a broadcast it ends with the broadcast's exit code.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    let client = Client::of(config)?;
    match args.what.as_deref() {
        None => daemon(&client, args.json).await,
        Some(id) if id.len() == 36 && id.matches('-').count() == 4 => {
            let delivery: serde_json::Value = client.get(&format!("/api/v1/deliveries/{id}")).await?;
            super::print_json(&delivery)?;
            Ok(Exit::Ok)
        }
        Some(id) if id.contains('.') => {
            let report: BroadcastReport = client.get(&format!("/api/v1/broadcasts/{id}")).await?;
            if args.json {
                super::print_json(&report)?;
            } else {
                show(&report);
            }
            Ok(exit_of(&report))
        }
        Some(id) => {
            let reports: Vec<BroadcastReport> = client.get(&format!("/api/v1/alerts/{id}")).await?;
            if args.json {
                super::print_json(&reports)?;
            } else {
                reports.iter().for_each(show);
            }
            Ok(reports.last().map_or(Exit::Ok, exit_of))
        }
    }
}

async fn daemon(client: &Client, json: bool) -> Outcome {
    let status: Status = client.get("/api/v1/status").await?;
    if json {
        super::print_json(&status)?;
        return Ok(Exit::Ok);
    }
    outln!(
        "vardkase {} · pid {} · since {}",
        status.version,
        status.pid,
        status.since
    );
    outln!(
        "config   {} ({})",
        status.config,
        status.config_digest.chars().take(12).collect::<String>()
    );
    for problem in &status.config_problems {
        outln!("         NOT IN FORCE: {problem}");
    }
    outln!(
        "database {} · journal {} records",
        status.database,
        status.journal_seq
    );
    for (account, off) in &status.disabled {
        outln!(
            "DISABLED {account} since {:.0} by {}: {}",
            off.at,
            off.actor,
            off.reason
        );
    }
    outln!("wall     {}", status.wall);
    for one in &status.not_ready {
        outln!("NOT READY {} ({}): {}", one.owner, one.channel, one.problem);
    }
    super::go::show(&status.go);
    outln!(
        "open     {} · waiting for a person {}",
        status.open,
        status.waiting_for_person
    );
    let register = &status.register;
    outln!(
        "register {} warnings, {} notices{}",
        register.warnings,
        register.notices,
        match (register.checked_at, register.drift) {
            (Some(_), Some(true)) => " · THE PUBLIC PAGE TELLS OTHERWISE: `vardkase register show`",
            (Some(_), Some(false)) => " · the public page tells the same",
            (Some(_), None) => " · THE PUBLIC PAGE COULD NOT BE READ",
            (None, _) => "",
        }
    );
    status.drills.iter().for_each(super::drill::line);
    for report in &status.broadcasts {
        let (out, all) = report.out_of();
        outln!(
            "{:<16} {:<5} {:<10} {:<9} {out}/{all}  {}",
            report.broadcast,
            report.mode,
            report.kind,
            report.state,
            report.headline
        );
        // What went well is told with the broadcast itself.
        let is_told = [ConfirmationState::None, ConfirmationState::Sent].contains(&report.confirmation.state);
        if let (false, Some(line)) = (is_told, super::table::confirmation(report).first()) {
            outln!("         {line}");
        }
    }
    Ok(Exit::Ok)
}

fn show(report: &BroadcastReport) {
    outln!(
        "{} · {} · {} · {} · {}",
        report.broadcast,
        report.kind,
        report.mode,
        report.state,
        report.headline
    );
    super::table::LiveTable::new().end(report);
    super::table::arrivals(report);
    if report.state == BroadcastState::Running {
        super::table::unreachable_before(report);
    } else {
        super::table::summary(report);
    }
}
