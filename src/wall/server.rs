//! The wall's HTTP server: reads requests whole, applies faults around the simulators, writes answers right or wrong.
//!
//! hyper reads and writes what is in order. What is to go wrong is written by [`super::misbehave`] on the same socket,
//! after which the connection ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::state::{Request, Shared, Site};
use super::{How, Seen, control, misbehave, page, sim};
use crate::model::Mode;

/// Longest body that a simulator gets to see.
const BODY_CAP: usize = 16 * 1024 * 1024;
/// Connections served at once; more wait in the listener's queue.
const CONNECTIONS: usize = 2048;

/// Accepts until dropped; its connections end with it.
///
/// There is no idle timeout: closing a kept connection while a request is on its way would be a fault that nobody asked
/// for, and only this machine can connect.
pub(super) async fn accept<F, Fut>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let work = serve(stream);
                    connections.spawn(async move {
                        work.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the wall cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves one connection.
pub(super) async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let stream = Arc::new(stream);
    let wire = Wire(Arc::clone(&stream));
    let service = service_fn(move |request| {
        let (shared, stream) = (Arc::clone(&shared), Arc::clone(&stream));
        async move { handle(&shared, &stream, request).await }
    });
    // An error here is a connection that was cut, by the peer or on purpose.
    http1::Builder::new()
        .serve_connection(TokioIo::new(wire), service)
        .await
        .ok();
}

/// The connection ends here without (more of) an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct Gone;

type Answer = Response<Full<Bytes>>;

async fn handle(
    shared: &Shared,
    stream: &TcpStream,
    request: hyper::Request<Incoming>,
) -> Result<Answer, Gone> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_CAP).collect().await else {
        return Ok(plain(413, "too large"));
    };
    let body = body.to_bytes();
    let path = parts.uri.path();
    let request = Request {
        method: &parts.method,
        path,
        query: parts.uri.query(),
        headers: &parts.headers,
        body: &body,
    };
    if let Some((site, below)) = site(shared, path) {
        let request = Request {
            path: below,
            ..request
        };
        return simulate(shared, stream, &site, &request).await;
    }
    let answer = if path == "/" {
        page::feed(shared)
    } else if path == "/site" || path.starts_with("/site/") {
        page::municipality()
    } else if path.starts_with("/_wall/") {
        control::answer(shared, &request)
    } else {
        sim::error(404, "no such account on this wall")
    };
    Ok(answer.map(|body| Full::new(Bytes::from(body))))
}

/// The account that a path belongs to, and the path below its base.
fn site<'p>(shared: &Shared, path: &'p str) -> Option<(Arc<Site>, &'p str)> {
    let rest = path.strip_prefix('/')?;
    let (mode, rest) = rest.split_once('/')?;
    let mode: Mode = mode.parse().ok()?;
    let account = rest.split('/').next()?;
    let below = rest.strip_prefix(account)?;
    let site = shared.find(mode, account)?;
    Some((site, if below.is_empty() { "/" } else { below }))
}

async fn simulate(
    shared: &Shared,
    stream: &TcpStream,
    site: &Site,
    request: &Request<'_>,
) -> Result<Answer, Gone> {
    let path = match request.query {
        Some(query) => format!("{}?{}", request.path, without_token(query)),
        None => request.path.to_owned(),
    };
    let strike = shared.strike(site.mode, &site.account, request.method.as_str(), &path);
    let ticket = shared.saw(&Seen {
        account: site.account.clone(),
        at: shared.clock.now(),
        method: request.method.to_string(),
        path,
        key: idempotency_key(request.headers).map(str::to_owned),
        status: 0,
    });
    if !strike.delay.is_zero() {
        tokio::time::sleep(strike.delay).await;
    }
    let answer = match &strike.how {
        None | Some(How::Delay(_)) => site.answer(shared, request),
        Some(How::Answer {
            status,
            headers,
            body,
        }) => instead(*status, headers, body.as_deref()),
        Some(How::DoneThenAnswer {
            status,
            headers,
            body,
        }) => {
            drop(site.answer(shared, request));
            instead(*status, headers, body.as_deref())
        }
        Some(How::Cut) => return Err(Gone),
        Some(How::Hang) => std::future::pending::<Response<Vec<u8>>>().await,
        Some(how) => {
            let answer = site.answer(shared, request);
            if !matches!(how, How::DoneThenHang | How::DoneThenCut(_)) {
                shared.answered(ticket, answer.status().as_u16());
            }
            // The peer may be gone before all is written; that is often the point.
            misbehave::write(stream, how, &answer).await.ok();
            return Err(Gone);
        }
    };
    shared.answered(ticket, answer.status().as_u16());
    Ok(answer.map(|body| Full::new(Bytes::from(body))))
}

/// The query as it is remembered: a token that asks about itself stands in it, and what was seen is shown.
fn without_token(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name @ "input_token", _)) => format!("{name}=[redacted]"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// The answer that a fault puts in the place of the service's own.
fn instead(status: u16, headers: &[(String, String)], body: Option<&str>) -> Response<Vec<u8>> {
    let mut response = match body {
        Some(body) => {
            let mut response = sim::error(status, "");
            *response.body_mut() = body.as_bytes().to_vec();
            response
        }
        None => sim::error(status, "the practice wall answers like this on command"),
    };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The key of a request: `Idempotency-Key`, or a header named like it.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Option<&str> {
    headers
        .get("idempotency-key")
        .or_else(|| {
            let mut all = headers.iter();
            let named = |(name, _): &(&HeaderName, _)| name.as_str().contains("idempotency");
            all.find(named).map(|(_, value)| value)
        })
        .and_then(|value| value.to_str().ok())
}

/// Whether an address means this machine.
pub(super) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn plain(status: u16, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    answer
}

/// A socket that a library reads and writes while whoever makes faults holds it too.
pub(super) struct Wire(pub(super) Arc<TcpStream>);

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write);
        Poll::Ready(done.map_err(io::Error::from))
    }
}
