//! The connection under lettre's dialogue. lettre opens its own with Nagle's algorithm on, which together with delayed
//! acknowledgements costs 40 ms a letter; and it cannot say whether the final dot had left. This one can.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::failpoint;

/// How far the dialogue has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    /// Greeting and EHLO in the clear.
    const GREETING: u8 = 0;
    /// From then on until the dot.
    const DIALOGUE: u8 = 1;
    /// The body has been written, the final dot is next.
    const DOT: u8 = 2;
    /// The dot has been written.
    const SENT: u8 = 3;

    pub(super) fn greeted(&self) {
        self.0.store(Self::DIALOGUE, Ordering::SeqCst);
    }

    /// From here on a failure leaves the outcome unknown.
    pub(super) fn dot_is_next(&self) {
        failpoint::hit("request-written.before");
        self.0.store(Self::DOT, Ordering::SeqCst);
    }

    pub(super) fn dot_may_have_left(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= Self::DOT
    }

    /// Waiting for an answer: what was to be written has been.
    fn reads(&self) {
        if self.0.load(Ordering::SeqCst) == Self::DOT {
            self.0.store(Self::SENT, Ordering::SeqCst);
            failpoint::hit("request-written.after");
        }
    }

    /// An answer came.
    fn has_read(&self) {
        if self.0.load(Ordering::SeqCst) == Self::SENT {
            failpoint::hit("response-read.before");
        }
    }

    fn is_greeting(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Self::GREETING
    }
}

/// A stream that lettre can speak SMTP over.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    peer: SocketAddr,
    phase: Phase,
}

impl Wire<TcpStream> {
    pub(super) fn new(stream: TcpStream, phase: Phase) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            peer: stream.peer_addr()?,
            stream,
            phase,
        })
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Wire<tokio_rustls::client::TlsStream<TcpStream>> {
    /// The same connection, encrypted from the first byte.
    pub(super) async fn implicit(
        plain: Wire<TcpStream>,
        connector: &tokio_rustls::TlsConnector,
        name: rustls::pki_types::ServerName<'static>,
    ) -> io::Result<Self> {
        Ok(Self {
            stream: connector.connect(name, plain.stream).await?,
            peer: plain.peer,
            phase: plain.phase,
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.phase.reads();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if polled.is_ready() {
            this.phase.has_read();
            if this.phase.is_greeting() {
                // EHLO keywords are case-insensitive; lettre knows them in upper case only.
                if let Some(new) = buf.filled_mut().get_mut(before..) {
                    new.make_ascii_uppercase();
                }
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
