//! `demo`: the whole product on the practice wall, with nothing but this binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::table::{LiveTable, summary};
use super::{Exit, Failure, Outcome};
use crate::app::request::{Action, ActionRequest, ActionResult, SendRequest, Sent};
use crate::clock::SystemClock;
use crate::demo::{Demo, open};
use crate::model::{BroadcastReport, Mode, State};
use crate::serve::Options;
use crate::wall::Wall;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep configuration, vault, database and socket here; a temporary folder that is removed at the end if not given.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End when the drill has come to rest, with the broadcast's exit code.
    #[arg(long)]
    once: bool,
    /// Print the broadcast as one JSON object and nothing else on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs `demo`.
pub async fn run(args: &Args) -> Outcome {
    crate::telemetry::start_logging("warn");
    // Heard from the first moment on: one that ended us by its default would leave the temporary folder behind.
    let mut signals = Signals::hear()?;
    let Some(dir) = &args.dir else {
        let temporary = tempfile::Builder::new().prefix("vardkase-demo-").tempdir()?;
        let exit = run_in(temporary.path(), args, &mut signals).await;
        temporary.close()?;
        return exit;
    };
    run_in(dir, args, &mut signals).await
}

/// What ends a demonstration from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn run_in(dir: &Path, args: &Args, signals: &mut Signals) -> Outcome {
    let stop = CancellationToken::new();
    let options = Options {
        stop: stop.clone(),
        ..Options::default()
    };
    let Demo { wall, config, daemon } = open(dir, Arc::new(SystemClock), options).await?;
    let app = Arc::clone(daemon.app());
    let mut daemon = tokio::spawn(daemon.run());
    let shown = async {
        let exit = show(&app.config(), args.json).await?;
        if !args.json {
            tell(&wall, &config);
            if !args.once {
                outln!("Ctrl-C ends it.");
            }
        }
        Ok(exit)
    };
    let exit = tokio::select! {
        shown = shown => shown,
        () = signals.any() => Err(Failure::new(Exit::Error, "ended by a signal before the drill had come to rest")),
        // It ends by itself only when it cannot go on, and says why.
        ended = &mut daemon => return ended?.map(|()| Exit::Error).map_err(Failure::from),
    };
    if exit.is_ok() && !args.once {
        tokio::select! {
            () = signals.any() => {}
            ended = &mut daemon => return ended?.map(|()| Exit::Error).map_err(Failure::from),
        }
    }
    stop.cancel();
    tokio::select! {
        ended = &mut daemon => ended??,
        // Told a second time: what is under way is not waited for.
        () = signals.any() => {}
    }
    exit
}

/// Where everything is.
fn tell(wall: &Wall, config: &Path) {
    let config = config.display();
    outln!();
    outln!("wall          http://{}/", wall.address());
    outln!(
        "confirmation  http://{}/#confirmation:drill (the mails, as the crisis organisation gets them)",
        wall.address()
    );
    outln!("log           vardkase --config {config} log show");
    outln!("try           vardkase --config {config} status");
    outln!(
        "              vardkase --config {config} send stromavbrott --mode drill --lang sv -f omrade=Bodafors --wait"
    );
}

/// Publishes the configured exercise as a drill, and shows it landing.
async fn show(config: &crate::config::Config, json: bool) -> Outcome {
    let client = Client::at(&config.daemon.socket)?;
    let drill = config
        .drills
        .values()
        .next()
        .ok_or_else(|| Failure::new(Exit::Error, "the shipped configuration has no [drill.<id>]"))?;
    let request = SendRequest {
        message: drill.message.clone(),
        fields: drill.fields.clone(),
        to: drill.to.clone(),
        mode: Some(Mode::Drill),
        languages: Vec::new(),
        alert: None,
        picture: None,
        kind: None,
        overrides: std::collections::BTreeMap::new(),
    };
    let sent: Sent = client.post("/api/v1/broadcasts", &request).await?;
    let path = format!("/api/v1/broadcasts/{}", sent.broadcast);
    if !json {
        outln!(
            "drill {} of {}: broadcast {}",
            drill.id,
            drill.message,
            sent.broadcast
        );
    }
    let mut table = (!json).then(LiveTable::new);
    // Somebody must serve the accounts that only a person can: here the demonstration plays that person.
    let report: BroadcastReport = client.get(&path).await?;
    let by_hand: Vec<_> = report
        .deliveries
        .iter()
        .filter(|d| d.state == State::Manual)
        .map(|d| d.account.clone())
        .collect();
    if !by_hand.is_empty() {
        let done = ActionRequest {
            action: Action::Done,
            accounts: by_hand,
            url: None,
            reason: Some("demo: the person's part is played".to_owned()),
        };
        let _: ActionResult = client.post(&format!("{path}/actions"), &done).await?;
    }
    client
        .watch(&format!("{path}/events"), |report: BroadcastReport| {
            if let Some(table) = &mut table {
                table.show(&report);
            }
        })
        .await?;
    let report = super::send::confirmed(&client, client.get(&path).await?).await;
    if let Some(table) = &mut table {
        table.end(&report);
    }
    if json {
        super::print_json(&report)?;
    } else {
        summary(&report);
    }
    Ok(super::send::exit_after_wait(&report))
}
