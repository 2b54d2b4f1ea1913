//! The exchange with its points of death. Used only when one is armed: the request goes out as it would otherwise, the
//! same bytes in the same order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::failpoint;

/// Making a connection, its points around it.
pub(super) async fn around_connect<F: Future>(connect: F) -> F::Output {
    failpoint::hit("connect.before");
    let connection = connect.await;
    failpoint::hit("connect.after");
    connection
}

/// Executes the request, passing `request-written` before its first byte and after its last. A request without a body
/// has no moment of its own between connection and answer: its first point lies before the connection.
pub(super) async fn execute(
    client: &reqwest::Client,
    mut request: reqwest::Request,
) -> Result<reqwest::Response, reqwest::Error> {
    let written = Arc::new(Notify::new());
    match request.body_mut().take() {
        Some(body) => {
            let watched = Watched {
                body,
                begun: false,
                written: Arc::clone(&written),
            };
            *request.body_mut() = Some(reqwest::Body::wrap(watched));
        }
        None => failpoint::hit("request-written.before"),
    }
    let exchange = client.execute(request);
    tokio::pin!(exchange);
    let flushed = async {
        written.notified().await;
        // The body has been taken into the connection's buffer, which is written out in the same turn.
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    tokio::select! {
        response = &mut exchange => {
            failpoint::hit("request-written.after");
            response
        }
        () = flushed => {
            failpoint::hit("request-written.after");
            exchange.await
        }
    }
}

/// A body that tells when it is first asked for and when it has been taken whole.
struct Watched {
    body: reqwest::Body,
    begun: bool,
    written: Arc<Notify>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if !self.begun {
            self.begun = true;
            failpoint::hit("request-written.before");
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Kept, so that the request still announces its length.
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.begun {
            self.written.notify_one();
        }
    }
}
