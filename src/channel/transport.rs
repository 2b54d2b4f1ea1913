//! The one way in which a channel speaks HTTP: no redirects, a deadline, a cap on what is read, TLS but on loopback, one
//! user agent; and the one place that decides whether a request had left us when it failed.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::clock::{SharedClock, Timestamp};
use crate::model::SendError;

/// Most that is read of an answer, after decompression.
pub const READ_CAP: usize = 1024 * 1024;

/// The shared HTTP client.
#[derive(Debug, Clone)]
pub struct Transport {
    _client: std::sync::Arc<()>,
    _clock: Option<SharedClock>,
}

/// An answer that was read to its end within the cap.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// When it had been read.
    pub at: Timestamp,
}

/// Whether a request changes something at the service: decides what a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It may publish or change: a failure after the first byte is `unknown`.
    Writes,
    /// It only reads: any failure is `not sent`.
    Reads,
}

impl Transport {
    /// Builds the client.
    ///
    /// # Errors
    /// If the machine has no certificate store.
    pub fn new(clock: SharedClock, connect_timeout: Duration) -> Result<Self, String> {
        let _ = (clock, connect_timeout);
        todo!("transport")
    }

    /// A request to be filled by the adapter and given to [`Transport::send`].
    pub fn request(&self, method: reqwest::Method, url: url::Url) -> reqwest::RequestBuilder {
        let _ = (method, url);
        todo!("transport")
    }

    /// Sends the request once and reads the answer. Any status is an answer, 3xx too (never followed).
    ///
    /// # Errors
    /// `NotSent` if no byte of the request can have had an effect (DNS, connect, TLS, bad address), or if it only
    /// reads; otherwise `Unknown`: cut connection, unreadable or oversized answer.
    pub async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let _ = (request, effect);
        todo!("transport")
    }
}

impl Answer {
    /// When the service may be asked again, by its `Retry-After` in seconds or as an HTTP date. `None` if absent or
    /// unreadable. Never in the past.
    pub fn retry_after(&self) -> Option<Timestamp> {
        todo!("transport")
    }

    /// The body as JSON, refusing what is nested too deep.
    pub fn json(&self) -> Option<serde_json::Value> {
        todo!("transport")
    }
}
