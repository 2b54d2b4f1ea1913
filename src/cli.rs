//! The command line: a file per command; each is one call of the daemon's API, or of the same code without a daemon
//! where none is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Prints a line; ends the process quietly if nobody reads any more (`vardkase log show | head`).
macro_rules! outln {
    () => { $crate::cli::out_line(format_args!("")) };
    ($($text:tt)*) => { $crate::cli::out_line(format_args!($($text)*)) };
}

pub mod accounts;
pub mod act;
pub mod ask;
pub mod attest;
pub mod backup;
pub mod check;
pub mod client;
pub mod connect;
pub mod correct;
pub mod credentials;
pub mod demo;
pub mod drill;
pub mod go;
pub mod log;
pub mod preview;
pub mod recipients;
pub mod register;
pub mod retract;
pub mod send;
pub mod serve;
pub mod status;
pub mod table;
pub mod vault;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All published, or all well.
    Ok = 0,
    /// An error.
    Error = 1,
    /// Wrong usage.
    Usage = 2,
    /// Some deliveries did not get published.
    Undelivered = 3,
    /// Stopped by checks.
    Stopped = 4,
    /// Waits for approval.
    AwaitsApproval = 5,
    /// The daemon does not answer.
    NoDaemon = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed, with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, and what to do.
    pub text: String,
}

impl Failure {
    /// A failure with a code of its own.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Error,
            text: format!("{:#}", error.into()),
        }
    }
}

/// What every command gives.
pub type Outcome = Result<Exit, Failure>;

/// One command publishes a prepared message on every account of the municipality, and proves what happened.
#[derive(Debug, Parser)]
#[command(name = "vardkase", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "config.toml",
        env = "VARDKASE_CONFIG"
    )]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all published or all well; 1 error; 2 usage; 3 some deliveries did not get \
published; 4 stopped by checks; 5 waits for approval; 6 the daemon does not answer.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Serve(serve::Args),
    /// Run everything against the practice wall, publish one drill, and show it landing.
    Demo(demo::Args),
    /// Check the configuration and the prepared messages; report every fault at once.
    Check(check::Args),
    /// Show exactly what would be published on each account, and every finding. Needs no daemon.
    Preview(preview::Args),
    /// Publish a prepared message.
    Send(send::Args),
    /// Show how the daemon, or one alert or broadcast, stands.
    Status(status::Args),
    /// Decide about deliveries that did not get out: again, by hand, done, cancelled.
    Retry(act::RetryArgs),
    /// Take a broadcast's posts away on every account that can.
    Retract(retract::Args),
    /// Correct an alert on every account that it went to: by a change of the post, an answer to it, or a new one.
    Correct(correct::Args),
    /// Ask accounts whether they answer and take our credentials. Publishes nothing.
    Verify(accounts::VerifyArgs),
    /// Run drills, and see how they went.
    #[command(subcommand)]
    Drill(drill::Command),
    /// Show, verify or export the journal.
    #[command(subcommand)]
    Log(log::Command),
    /// List the accounts; export their public list; apply for one, decide, close one.
    Accounts(accounts::Args),
    /// Keep the register of accounts: what it lacks, its public list, the public page, the yearly report.
    #[command(subcommand)]
    Register(register::Command),
    /// Attest what no API can tell, with evidence and for a time: two-factor, logo and the like.
    Attest(attest::Args),
    /// List the channels: what each can, and its proof class.
    Channels(accounts::ChannelsArgs),
    /// Keep the vault: secrets go in by standard input and never come out.
    #[command(subcommand)]
    Credentials(credentials::Command),
    /// The vault as a whole: a new key, a sealed copy for the safe, and a vault of such a copy.
    #[command(subcommand)]
    Vault(vault::Command),
    /// Show who gets nothing more and why; leave someone out, or take them in again.
    #[command(subcommand)]
    Recipients(recipients::Command),
    /// Copy database, vault and configuration into a new folder while the daemon runs.
    Backup(backup::Args),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs a command.
pub async fn run(cli: Cli) -> Outcome {
    let config = cli.config;
    match cli.command {
        Command::Serve(args) => serve::run(&config, &args).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Check(args) => check::run(&config, &args),
        Command::Preview(args) => Box::pin(preview::run(&config, &args)).await,
        Command::Send(args) => Box::pin(send::run(&config, &args)).await,
        Command::Status(args) => status::run(&config, &args).await,
        Command::Retry(args) => act::retry(&config, &args).await,
        Command::Retract(args) => retract::run(&config, &args).await,
        Command::Correct(args) => Box::pin(correct::run(&config, &args)).await,
        Command::Verify(args) => accounts::verify(&config, &args).await,
        Command::Drill(command) => Box::pin(drill::run(&config, command)).await,
        Command::Log(command) => log::run(&config, &command).await,
        Command::Accounts(args) => accounts::run(&config, &args).await,
        Command::Register(command) => register::run(&config, &command).await,
        Command::Attest(args) => attest::run(&config, args).await,
        Command::Channels(args) => accounts::channels(&args),
        Command::Credentials(command) => credentials::run(&config, command).await,
        Command::Vault(command) => vault::run(&config, command).await,
        Command::Recipients(command) => recipients::run(&config, command).await,
        Command::Backup(args) => backup::run(&config, &args).await,
        Command::Completions { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "vardkase", &mut std::io::stdout());
            Ok(Exit::Ok)
        }
    }
}

/// Loads the configuration or fails with every fault in it.
pub fn load(path: &std::path::Path) -> Result<crate::config::Config, Failure> {
    crate::config::Config::load(path).map_err(|problems| {
        let count = problems.0.len();
        let faults = if count == 1 {
            "1 fault"
        } else {
            &format!("{count} faults")
        };
        Failure::new(
            Exit::Error,
            format!("{problems}\n{}: {faults}; nothing was done", path.display()),
        )
    })
}

/// Prints a value as JSON.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    outln!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// See `outln!`.
pub(crate) fn out_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(Exit::Error as i32);
    }
}
