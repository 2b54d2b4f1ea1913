//! Arguments, runtime, exit code.

use std::process::ExitCode;

use clap::Parser;
use vardkase::cli::{self, Cli, Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(problem) = vardkase::failpoint::arm() {
        eprintln!("vardkase: {problem}");
        return Exit::Usage.into();
    }
    // One TLS provider for every library, before the first of them asks.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("vardkase: another TLS provider is installed already");
        return Exit::Error.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vardkase: no runtime: {error}");
            return Exit::Error.into();
        }
    };
    let exit = runtime
        .block_on(cli::run(cli))
        .unwrap_or_else(|Failure { exit, text }| {
            eprintln!("vardkase: {text}");
            exit
        });
    // Blocking threads that hang (a dead disk) must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    exit.into()
}
