//! `register`, and what `accounts` does for it: the public list, what the register lacks, publishing, the look at the
//! public page, the yearly report, applications and closings.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::register::{
    Closing, DecideRequest, Outcome as Placed, Publication, PublishRequest, RegisterView, SignRequest,
};
use crate::config::source::Source;
use crate::model::AccountId;
use crate::register::application::{Application, FORM, Filed, State};
use crate::register::closing::Step;
use crate::register::drift::Look;
use crate::register::export::{Format, Public};
use crate::register::report::Report;
use crate::register::{Finding, Level};

/// Largest application that is read, in bytes.
const MAX_APPLICATION: u64 = 64 * 1024;

/// The commands of `register`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what the register lacks, what has lapsed, and where its list stands.
    Show {
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Publish the public list on the accounts in register.publish_to. What has not changed is not published again.
    Publish {
        /// Publish what has not changed as well.
        #[arg(long)]
        again: bool,
        /// Print a JSON list.
        #[arg(long)]
        json: bool,
    },
    /// Look whether the public page lists what the register does. Ends with 3 if it does not.
    Check {
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write the report of a year: accounts, attestations, posts and how they went.
    Report {
        /// Of which year.
        #[arg(long)]
        year: i16,
        /// As what.
        #[arg(long, value_enum, default_value = "html")]
        format: ReportFormat,
        /// Into this file; printed if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// A page of its own.
    Html,
    /// For programs.
    Json,
}

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
    /// File an application for a new account, and print it for the diarium.
    Apply {
        /// The filled-in form.
        #[arg(required_unless_present = "form")]
        file: Option<PathBuf>,
        /// Print the empty form instead.
        #[arg(long, conflicts_with = "file")]
        form: bool,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// List the applications, or print one for the diarium.
    Applications {
        /// The number of one.
        id: Option<i64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Decide on an application; one that is granted is printed as a section for config.toml.
    #[command(group(clap::ArgGroup::new("decision").required(true).args(["approve", "reject"])))]
    Decide {
        /// The application's number.
        id: i64,
        /// Grant it.
        #[arg(long)]
        approve: bool,
        /// Do not grant it.
        #[arg(long)]
        reject: bool,
        /// Why.
        #[arg(long)]
        reason: String,
        /// The role that decides.
        #[arg(long, value_name = "ROLE", default_value = "Kommunikationschefen")]
        by: String,
        /// The number in the diarium.
        #[arg(long)]
        case: Option<String>,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Close an account in order: show the steps, or sign one off.
    Close {
        /// The account.
        account: AccountId,
        /// The step that is done.
        #[arg(long, value_enum, value_name = "STEP")]
        done: Option<Step>,
        /// What is worth noting.
        #[arg(long, requires = "done")]
        note: Option<String>,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `register`.
pub async fn run(config: &Path, command: &Command) -> Outcome {
    let loaded = super::load(config)?;
    let client = Client::at(&loaded.daemon.socket)?;
    match command {
        Command::Show { json } => show(&client, *json).await,
        Command::Publish { again, json } => publish(&client, *again, *json).await,
        Command::Check { json } => check(&client, *json).await,
        Command::Report { year, format, out } => {
            let report: Report = client
                .get_long(&format!("/api/v1/register/report?year={year}"))
                .await?;
            let text = match format {
                ReportFormat::Html => report
                    .html(&loaded.municipality.time_zone)
                    .map_err(anyhow::Error::msg)?,
                ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
            };
            put(out.as_deref(), &text)
        }
    }
}

async fn show(client: &Client, json: bool) -> Outcome {
    let view: RegisterView = client.get("/api/v1/register").await?;
    if json {
        super::print_json(&view)?;
        return Ok(Exit::Ok);
    }
    tell(&view.findings);
    for one in &view.publications {
        outln!("{}", told(one));
    }
    match &view.look {
        Some(look) => outln!("{} looked at {}", look.page, look.at),
        None => outln!("the public page was not looked at"),
    }
    let warnings = view
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Warning)
        .count();
    outln!("{warnings} warnings, {} notices", view.findings.len() - warnings);
    Ok(Exit::Ok)
}

fn tell(findings: &[Finding]) {
    for finding in findings {
        let word = match finding.level {
            Level::Warning => "WARNING",
            Level::Notice => "notice",
        };
        outln!("{word:<8} [{}] {finding}", finding.check);
    }
}

fn told(one: &Publication) -> String {
    let word = match one.outcome {
        Placed::Published => "published",
        Placed::Unchanged => "unchanged",
        Placed::Failed => "FAILED",
    };
    let what = match (&one.error, &one.url) {
        (Some(error), _) => error.to_string(),
        (None, Some(url)) => url.clone(),
        (None, None) => String::new(),
    };
    format!("{:<22} {word:<10} {what}", one.account)
        .trim_end()
        .to_owned()
}

async fn publish(client: &Client, again: bool, json: bool) -> Outcome {
    // An attempt may take as long as the account's longest, and they go one after the other.
    let all: Vec<Publication> = client
        .post_long("/api/v1/register/publications", &PublishRequest { again })
        .await?;
    if json {
        super::print_json(&all)?;
    } else {
        for one in &all {
            outln!("{}", told(one));
        }
    }
    Ok(if all.iter().any(|one| one.outcome == Placed::Failed) {
        Exit::Undelivered
    } else {
        Exit::Ok
    })
}

async fn check(client: &Client, json: bool) -> Outcome {
    let look: Look = client.post("/api/v1/register/checks", &json!({})).await?;
    if json {
        super::print_json(&look)?;
    } else {
        tell(&look.findings);
        if look.findings.is_empty() {
            outln!("{} lists what the register does", look.page);
        }
    }
    Ok(match (&look.error, look.findings.is_empty()) {
        (Some(_), _) => Exit::Error,
        (None, true) => Exit::Ok,
        (None, false) => Exit::Undelivered,
    })
}

/// Runs `accounts export` and its like.
pub async fn accounts(config: &Path, command: &AccountsCommand) -> Outcome {
    if let AccountsCommand::Apply { form: true, .. } = command {
        outln!("{}", FORM.trim_end());
        return Ok(Exit::Ok);
    }
    let loaded = super::load(config)?;
    if let AccountsCommand::Export { format, out } = command {
        let text = Public::of(&loaded)
            .write(*format)
            .map_err(|error| Failure::new(Exit::Error, format!("the list could not be written: {error}")))?;
        return put(out.as_deref(), &text);
    }
    let client = Client::at(&loaded.daemon.socket)?;
    let (name, zone) = (&loaded.municipality.name, &loaded.municipality.time_zone);
    let print = |filed: &Filed| -> Result<(), Failure> {
        let text = filed.text(name, zone).map_err(anyhow::Error::msg)?;
        outln!("{}", text.trim_end());
        Ok(())
    };
    match command {
        AccountsCommand::Export { .. } => Ok(Exit::Ok),
        AccountsCommand::Apply { file, json, .. } => {
            let file = file.as_deref().unwrap_or(Path::new("ansokan.toml"));
            let source =
                Source::read(file, MAX_APPLICATION).map_err(|problem| anyhow::anyhow!("{problem}"))?;
            let application = Application::read(&source)
                .map_err(|problems| Failure::new(Exit::Error, format!("{problems}\nnothing was filed")))?;
            let filed: Filed = client.post("/api/v1/applications", &application).await?;
            if *json {
                super::print_json(&filed)?;
            } else {
                print(&filed)?;
            }
            Ok(Exit::Ok)
        }
        AccountsCommand::Applications { id, json } => {
            let all: Vec<Filed> = client.get("/api/v1/applications").await?;
            let Some(id) = id else {
                if *json {
                    super::print_json(&all)?;
                } else {
                    for one in &all {
                        let of_it = &one.application;
                        outln!(
                            "{:>4} {:<9} {:<24} {:<14} {}",
                            one.id,
                            one.state,
                            of_it.account,
                            of_it.channel,
                            one.at
                        );
                    }
                }
                return Ok(Exit::Ok);
            };
            let Some(one) = all.iter().find(|one| one.id == *id) else {
                return Err(Failure::new(Exit::Error, format!("there is no application {id}")));
            };
            if *json {
                super::print_json(one)?;
            } else {
                print(one)?;
            }
            Ok(Exit::Ok)
        }
        AccountsCommand::Decide {
            id,
            approve,
            reason,
            by,
            case,
            json,
            ..
        } => {
            let request = DecideRequest {
                approve: *approve,
                reason: reason.clone(),
                by: by.clone(),
                case: case.clone(),
            };
            let filed: Filed = client
                .post(&format!("/api/v1/applications/{id}/decision"), &request)
                .await?;
            if *json {
                super::print_json(&filed)?;
                return Ok(Exit::Ok);
            }
            print(&filed)?;
            if filed.state == State::Approved
                && let Some(section) = filed.section(zone)
            {
                outln!("\nATT KLISTRA IN I config.toml\n\n{}", section.trim_end());
            }
            Ok(Exit::Ok)
        }
        AccountsCommand::Close {
            account,
            done,
            note,
            json,
        } => {
            let path = format!("/api/v1/closings/{account}");
            let closing: Closing = match done {
                None => client.get(&path).await?,
                Some(step) => {
                    let request = SignRequest {
                        step: *step,
                        note: note.clone(),
                    };
                    client.post(&path, &request).await?
                }
            };
            if *json {
                super::print_json(&closing)?;
            } else {
                outln!("{}", closing.checklist.trim_end());
            }
            Ok(Exit::Ok)
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    outln!("{}", path.display());
    Ok(Exit::Ok)
}
