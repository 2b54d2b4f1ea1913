//! The HTTP side: the API on the Unix socket, and on loopback only what a monitor reads.
//!
//! A front: it parses, authenticates, calls one method of [`App`], and shows the answer. Rules live behind `App`.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::app::App;

pub mod api;
pub mod events;
pub mod health;
pub mod notices;
pub mod problem;
pub mod reports;

/// What every handler gets.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The application.
    pub app: Arc<App>,
    /// Renders the metrics.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// Ends event streams, so that they do not hold up a stop.
    pub stop: CancellationToken,
}

/// Who is at the other end of the Unix socket, as the kernel says.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The user id; `None` if the kernel did not tell.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let stream: &UnixStream = stream.io();
        Self {
            uid: stream.peer_cred().ok().map(|cred| cred.uid()),
        }
    }
}

/// Binds the socket, mode 0660, in place of one that a dead daemon left behind.
///
/// # Errors
/// If something else than a socket is in the way, or the folder cannot be written.
pub fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(std::io::Error::other(
                "something that is not a socket stands in its place; move it away",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // The socket is born inside the data directory (0700) and gets its own mode before anyone is served.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves the API on the Unix socket until `shared.stop`.
pub async fn serve_socket(listener: UnixListener, shared: Shared) -> std::io::Result<()> {
    let stop = shared.stop.clone();
    let router = api::router(shared.clone()).merge(health::router(shared));
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Serves `/healthz`, `/readyz` and `/metrics` on loopback until `shared.stop`. Nothing that acts is reachable there.
pub async fn serve_health(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let stop = shared.stop.clone();
    let router: Router = health::router(shared);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Serves what the outside calls until `shared.stop`: delivery reports, what is told of drills, and nothing else.
pub async fn serve_public(listener: TcpListener, shared: Shared) -> std::io::Result<()> {
    let stop = shared.stop.clone();
    let router: Router = reports::router(shared.clone()).merge(notices::router(shared));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
