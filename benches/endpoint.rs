//! The service that both sides of a comparison post to: reads a request whole, waits as long as its path says in
//! milliseconds (`/150`), answers 204. On a thread of its own, as cheap as a real HTTP server can be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// A running endpoint; it lives as long as the process.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    since: Instant,
    /// Nanoseconds after `since` at which the latest post was answered.
    latest: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
}

impl Endpoint {
    pub fn start() -> anyhow::Result<Self> {
        let (tell, told) = mpsc::channel();
        let since = Instant::now();
        let (latest, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counters = (Arc::clone(&latest), Arc::clone(&answered));
        thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                tell.send(listener.local_addr()?)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    let (latest, answered) = counters.clone();
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            let (latest, answered) = (Arc::clone(&latest), Arc::clone(&answered));
                            async move {
                                let response = answer(request).await;
                                let now = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                                latest.fetch_max(now, Ordering::SeqCst);
                                answered.fetch_add(1, Ordering::SeqCst);
                                Ok::<_, Infallible>(response)
                            }
                        });
                        // A connection that breaks fails the run on the other side.
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                            .ok();
                    });
                }
            })
        });
        Ok(Self {
            address: told.recv().context("the endpoint did not start")?,
            since,
            latest,
            answered,
        })
    }

    /// When the latest post was there.
    pub fn latest(&self) -> Instant {
        self.since + Duration::from_nanos(self.latest.load(Ordering::SeqCst))
    }

    /// How many posts were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

async fn answer(request: Request<Incoming>) -> Response<Empty<Bytes>> {
    let wait = request.uri().path().trim_start_matches('/').parse().unwrap_or(0);
    let whole = request.into_body().collect().await.is_ok();
    if wait > 0 {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    let mut response = Response::new(Empty::new());
    *response.status_mut() = if whole {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::BAD_REQUEST
    };
    response
}
