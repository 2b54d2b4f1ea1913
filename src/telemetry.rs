//! What IT operations sees: log lines on standard error, metrics as Prometheus text.
//!
//! Writing a log line never stalls sending: lines go through a bounded queue to a thread of their own, and lines that do
//! not fit are counted instead of waited for.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for a slow standard error.
const QUEUE: usize = 8192;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Log lines that were dropped because standard error did not take them.
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

#[derive(Debug, Clone)]
struct Lines(SyncSender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.0.try_send(line.to_vec()) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Starts logging to standard error: JSON lines if it is not a terminal, text if it is. `VARDKASE_LOG` sets what is
/// logged (`info` if unset), in tracing's filter language.
pub fn start_logging(default: &str) {
    let filter = EnvFilter::try_from_env("VARDKASE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let (sender, lines) = sync_channel::<Vec<u8>>(QUEUE);
    std::thread::spawn(move || {
        let mut stderr = std::io::stderr();
        while let Ok(line) = lines.recv() {
            stderr.write_all(&line).ok();
        }
    });
    let plain = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(sender))
        .with_target(false);
    // A second call (tests that run several daemons in one process) keeps the first subscriber.
    if plain {
        builder.try_init().ok();
    } else {
        builder.json().flatten_event(true).try_init().ok();
    }
}

/// Starts collecting metrics; rendered on request.
pub fn start_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok();
    for (name, meaning) in GAUGES {
        metrics::describe_gauge!(*name, *meaning);
    }
    handle
}

/// What the gauges mean, as `/metrics` says it. None names a person, a recipient or a secret.
const GAUGES: &[(&str, &str)] = &[
    (
        "vardkase_deliveries",
        "Deliveries of broadcasts that are open or younger than a day, by mode and state; confirmation mails too",
    ),
    (
        "vardkase_confirmation_mails",
        "Confirmation mails of broadcasts that are open or younger than a day, by state",
    ),
    (
        "vardkase_confirmations_unsent",
        "Of these, the ones that no relay has taken: above 0 for minutes means that the crisis organisation is not told",
    ),
    ("vardkase_journal_sequence", "Number of the journal's last record"),
    (
        "vardkase_lane_state",
        "A lane: 0 idle, 1 sending, 2 waiting, 3 left alone by its circuit breaker",
    ),
    (
        "vardkase_lane_breaker_open",
        "1 if the account is left alone for a while after failures in a row",
    ),
    (
        "vardkase_not_ready",
        "Accounts and relays that lack something on this machine, mostly a credential; `vardkase status` names them",
    ),
    (
        "vardkase_log_lines_dropped",
        "Log lines that standard error did not take",
    ),
];
