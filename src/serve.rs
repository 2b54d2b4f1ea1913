//! The daemon's life: what is opened in which order, which signals it hears, and how it ends without losing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sd_notify::NotifyState;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::app::request::ReloadRequest;
use crate::channel::Transport;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::http::{self, Shared};
use crate::lock;
use crate::model::Actor;
use crate::store::{Opened, Store};
use crate::vault::Vault;
use crate::wall::Wall;

/// Longest time to reach a service.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open connections of our own API may take to end.
const FRONT_GRACE: Duration = Duration::from_secs(2);
/// How long the last record, and the store, may take to be written out: a start after that does what is left.
const CLOSING: Duration = Duration::from_secs(2);
/// How often we look whether the data directory is still ours.
const STILL_OURS: Duration = Duration::from_secs(2);
/// How often a port that the daemon before us still holds is tried.
const PORT_AGAIN: Duration = Duration::from_secs(1);

/// How to run.
#[derive(Debug, Default)]
pub struct Options {
    /// Take the data directory over from a daemon that hangs.
    pub take_over: bool,
    /// The data directory, held already; it is taken if it is not.
    pub data_dir: Option<lock::DataDir>,
    /// A practice wall that runs already; one is started if there is none.
    pub wall: Option<Arc<Wall>>,
    /// Ends the daemon as SIGTERM does.
    pub stop: CancellationToken,
    /// Whether this process's signals are the daemon's (not in `demo`, which has its own).
    pub signals: bool,
}

/// A daemon that is up.
#[derive(Debug)]
pub struct Daemon {
    app: Arc<App>,
    stop: CancellationToken,
    fronts: CancellationToken,
    tasks: TaskTracker,
    signals: Option<Signals>,
    socket: std::path::PathBuf,
    // Held to the end: another daemon may start only when this one has written its last.
    data_dir: lock::DataDir,
}

/// The signals that a daemon hears.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Opens everything and begins to work. Returns when the daemon is ready for commands.
pub fn start(
    config: Config,
    clock: SharedClock,
    options: Options,
) -> BoxFuture<'static, anyhow::Result<Daemon>> {
    // Boxed once here: with everything that is opened along the way it is too large for its callers' frames.
    Box::pin(open(config, clock, options))
}

async fn open(config: Config, clock: SharedClock, mut options: Options) -> anyhow::Result<Daemon> {
    // Heard from the first moment on: one that comes while we start, or right after READY, waits for `run`.
    let signals = options.signals.then(Signals::hear).transpose()?;
    // Everything that may fail comes before the other daemon is set aside, or is undone: else nobody would run.
    let doors = Doors::open(&config, options.take_over).await;
    let doors = if options.take_over { Ok(doors?) } else { doors };
    let data_dir = match options.data_dir.take() {
        Some(held) => held,
        None => lock::hold(&config.daemon.data_dir, clock.now(), options.take_over)?,
    };
    let doors = doors?;
    let (vault, problem) = Vault::open_or_closed(&config.vault, Arc::clone(&clock));
    if let Some(error) = problem {
        tracing::error!(%error, "the vault is not open: what needs no credential works, everything else is held");
    }
    let socket = config.daemon.socket.clone();
    let metrics = crate::telemetry::start_metrics();
    let (app, listener) = match Box::pin(begin(config, clock, vault, &data_dir, &options)).await {
        Ok(begun) => begun,
        Err(error) => {
            if data_dir.give_back() {
                return Err(error.context(
                    "the take-over came to nothing, and the daemon before keeps the data directory. If it hangs in the middle \
                     of a write, end it with `kill -9` and start again",
                ));
            }
            return Err(error);
        }
    };
    let (fronts, tasks) = (CancellationToken::new(), TaskTracker::new());
    let shared = Shared {
        app: Arc::clone(&app),
        metrics,
        stop: fronts.clone(),
    };
    spawn(
        &tasks,
        &options.stop,
        http::serve_socket(listener, shared.clone()),
    );
    if let Some(door) = doors.health {
        let shared = shared.clone();
        spawn(&tasks, &options.stop, async move {
            match door.listener(&shared.stop).await {
                Some(listener) => http::serve_health(listener, shared).await,
                None => Ok(()),
            }
        });
    }
    if let Some(door) = doors.public {
        spawn(&tasks, &options.stop, async move {
            match door.listener(&shared.stop).await {
                Some(listener) => http::serve_public(listener, shared).await,
                None => Ok(()),
            }
        });
    }
    let order = Arc::clone(&app).watch_order(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        order.await;
        Ok(())
    });
    let switches = Arc::clone(&app).watch_switches(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        switches.await;
        Ok(())
    });
    let lists = Arc::clone(&app).watch_lists(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        lists.await;
        Ok(())
    });
    let register = Arc::clone(&app).watch_register(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        register.await;
        Ok(())
    });
    let watcher = Arc::clone(&app).watch_confirmations(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        watcher.await;
        Ok(())
    });
    for watch in [
        Arc::clone(&app).watch_accounts(fronts.clone()).boxed(),
        Arc::clone(&app).watch_notices(fronts.clone()).boxed(),
        Arc::clone(&app).watch_heartbeat(fronts.clone()).boxed(),
        Arc::clone(&app).watch_mails(fronts.clone()).boxed(),
        Arc::clone(&app).watch_certificate(fronts.clone()).boxed(),
    ] {
        spawn(&tasks, &options.stop, async move {
            watch.await;
            Ok(())
        });
    }
    let drills = Arc::clone(&app).watch_drills(fronts.clone());
    spawn(&tasks, &options.stop, async move {
        drills.await;
        Ok(())
    });
    if options.signals
        && let Some(interval) = sd_notify::watchdog_enabled()
    {
        tasks.spawn(feed_watchdog(Arc::clone(&app), interval, fronts.clone()));
    }
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, socket = %socket.display(), "ready");
    notify(&[NotifyState::Ready]);
    Ok(Daemon {
        app,
        stop: options.stop,
        fronts,
        tasks,
        signals,
        socket,
        data_dir,
    })
}

/// Opens the store and the socket, and takes the lanes.
async fn begin(
    config: Config,
    clock: SharedClock,
    vault: Vault,
    data_dir: &lock::DataDir,
    options: &Options,
) -> anyhow::Result<(Arc<App>, tokio::net::UnixListener)> {
    let (store, opened) = Store::open(&config.daemon.database, &data_dir.node, Arc::clone(&clock)).await?;
    if let Opened::Restored { held } = opened {
        tracing::warn!(
            held,
            "this database is a backup or came from another data directory: everything unsent is held until \
             `vardkase retry … --release`"
        );
    }
    let http = Transport::new(Arc::clone(&clock), CONNECT_TIMEOUT).map_err(anyhow::Error::msg)?;
    let wall = match &options.wall {
        Some(wall) => Arc::clone(wall),
        None => Arc::new(wall(&config, Arc::clone(&clock), options.take_over).await?),
    };
    let socket = config.daemon.socket.clone();
    let app = App::new(config, store, vault, clock, http, wall);
    app.load_switches().await?;
    app.record_start(&data_dir.node).await?;
    let listener = http::bind_socket(&socket)
        .map_err(|error| anyhow::anyhow!("the socket {} cannot be opened: {error}", socket.display()))?;
    app.start(data_dir.node.clone(), options.take_over).await?;
    Ok((app, listener))
}

/// Starts the practice wall; on other ports if the daemon that we take over from still holds its own.
async fn wall(config: &Config, clock: SharedClock, take_over: bool) -> std::io::Result<Wall> {
    let folder = config.daemon.data_dir.join("wall");
    let (listen, smtp) = (config.daemon.wall, config.daemon.wall_smtp);
    match Wall::start(listen, smtp, &folder, Arc::clone(&clock)).await {
        Err(error) if take_over && error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(%listen, "the practice wall's port is taken; it is on another one until the next start");
            let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            Wall::start(any, any, &folder, clock).await
        }
        started => started,
    }
}

/// What is listened on beside the socket, bound before any lane is taken.
#[derive(Debug)]
struct Doors {
    health: Option<Door>,
    public: Option<Door>,
}

impl Doors {
    async fn open(config: &Config, take_over: bool) -> anyhow::Result<Self> {
        Ok(Self {
            health: Door::open("daemon.listen", config.daemon.listen, take_over).await?,
            public: Door::open("daemon.public_listen", config.daemon.public_listen, take_over).await?,
        })
    }
}

/// A port, or one that the daemon that we take over from still holds.
#[derive(Debug)]
enum Door {
    Open(TcpListener),
    Taken(&'static str, SocketAddr),
}

impl Door {
    async fn open(
        key: &'static str,
        address: Option<SocketAddr>,
        take_over: bool,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = address else { return Ok(None) };
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(Self::Open(listener))),
            Err(error) if take_over && error.kind() == std::io::ErrorKind::AddrInUse => {
                tracing::warn!(
                    key,
                    %address,
                    "the port is taken, as long as the daemon that hangs is not ended; it is tried again until it is free"
                );
                Ok(Some(Self::Taken(key, address)))
            }
            Err(error) => Err(anyhow::anyhow!("{key} {address} cannot be opened: {error}")),
        }
    }

    /// The port, as soon as it is free; `None` if we stop before that.
    async fn listener(self, stop: &CancellationToken) -> Option<TcpListener> {
        let (key, address) = match self {
            Self::Open(listener) => return Some(listener),
            Self::Taken(key, address) => (key, address),
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(PORT_AGAIN) => {}
            }
            if let Ok(listener) = TcpListener::bind(address).await {
                tracing::info!(key, %address, "the port is free; listening");
                return Some(listener);
            }
        }
    }
}

/// Runs a part of the daemon that must not end before the daemon does: if it does, the daemon stops and systemd starts
/// it again.
fn spawn(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    part: impl Future<Output = std::io::Result<()>> + Send + 'static,
) {
    let ends_all = stop.clone().drop_guard();
    tasks.spawn(async move {
        let _ends_all = ends_all;
        if let Err(error) = part.await {
            tracing::error!(%error, "a part of the daemon ended; stopping");
        }
    });
}

impl Daemon {
    /// The application.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Works until told to stop, then drains: no new attempt starts, those under way may finish, nothing is lost.
    ///
    /// # Errors
    /// If the daemon ended because it could not go on.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut signals = self.signals.take();
        let failure = match &mut signals {
            Some(signals) => self.until_told(signals).await,
            None => self.until_stopped().await,
        };
        notify(&[NotifyState::Stopping]);
        let grace = self.app.config().daemon.shutdown_grace;
        tracing::info!(
            ?grace,
            "stopping: no new attempt starts, those under way may finish"
        );
        let drain = self.app.stop(grace);
        let all_finished = match &mut signals {
            Some(signals) => tokio::select! {
                finished = drain => finished,
                _ = signals.terminate.recv() => false,
                _ = signals.interrupt.recv() => false,
            },
            None => drain.await,
        };
        if !all_finished {
            tracing::warn!("stopped with attempts under way; they are settled at the next start");
        }
        self.fronts.cancel();
        self.tasks.close();
        if tokio::time::timeout(FRONT_GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!("connections of the API were cut");
        }
        // After a take-over journal and socket are the other daemon's.
        let is_ours = self.data_dir.is_ours();
        let closing = async {
            if is_ours {
                let body = json!({ "drained": all_finished, "failure": failure });
                self.app.record(Actor::daemon(), "stop", body).await.ok();
            }
            self.app.store().close().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("the database does not close; the process ends without");
        }
        if is_ours {
            if failure.is_none() {
                self.app.ends_as_told();
            }
            std::fs::remove_file(&self.socket).ok();
        }
        match failure {
            Some(failure) => Err(anyhow::anyhow!(failure)),
            None => Ok(()),
        }
    }

    async fn until_stopped(&self) -> Option<String> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            failure = self.app.failed() => Some(failure),
            failure = self.taken_over() => Some(failure),
        }
    }

    /// Resolves when another daemon has taken the data directory over; an idle one would not hear of it otherwise.
    async fn taken_over(&self) -> String {
        loop {
            tokio::time::sleep(STILL_OURS).await;
            if !self.data_dir.is_ours() {
                return "another daemon has taken the data directory over".to_owned();
            }
        }
    }

    /// Hears signals until one of them, or a failure, ends the daemon. Returns the failure.
    async fn until_told(&self, signals: &mut Signals) -> Option<String> {
        let taken_over = self.taken_over();
        tokio::pin!(taken_over);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return None,
                _ = signals.interrupt.recv() => return None,
                () = reload_asked(&mut signals.hangup) => self.reload().await,
                () = self.stop.cancelled() => return Some("a part of the daemon ended".to_owned()),
                failure = self.app.failed() => return Some(failure),
                failure = &mut taken_over => return Some(failure),
            }
        }
    }

    async fn reload(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
        if let Err(error) = self
            .app
            .reload(Actor("SIGHUP".to_owned()), ReloadRequest::default())
            .await
        {
            tracing::error!(%error, "not reloaded");
        }
        notify(&[NotifyState::Ready]);
    }
}

async fn reload_asked(hangup: &mut Signal) {
    if hangup.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Tells systemd that we live, but only when the writer has just got through a transaction: a daemon that cannot write
/// is not alive.
async fn feed_watchdog(app: Arc<App>, interval: Duration, stop: CancellationToken) {
    let mut every = tokio::time::interval(interval / 3);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        match tokio::time::timeout(interval / 3, app.ready()).await {
            Ok(Ok(())) => notify(&[NotifyState::Watchdog]),
            Ok(Err(error)) => {
                tracing::error!(%error, "the writer does not get through; the watchdog is not fed");
            }
            Err(_) => tracing::error!("the writer hangs; the watchdog is not fed"),
        }
    }
}

/// Tells systemd, if it is there.
fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
