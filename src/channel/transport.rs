//! The one way in which a channel speaks HTTP: no redirects, a deadline, a cap on what is read, TLS but on loopback, one
//! user agent; and the one place that decides whether a request had left us when it failed.
//!
//! What it says of a failure names the host and what happened, never the address's path or query, never a header.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT_LANGUAGE, AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::clock::{self, SharedClock, Timestamp};
use crate::failpoint;
use crate::model::{Quota, Reason, SendError};

mod fault;
mod points;

/// Most that is read of an answer, after decompression.
pub const READ_CAP: usize = 1024 * 1024;

/// What stands where a service repeated our credential.
const BLANK: &[u8] = b"[redacted]";

/// Most headers that an answer may have.
const MAX_HEADERS: usize = 100;

/// How long a connection may lie idle before it is given up: shorter than servers wait, because a request on a
/// connection that the server is just closing ends as `unknown`.
const IDLE: Duration = Duration::from_secs(15);

/// Longest silence within an answer. A net under the caller's own deadline, which is shorter.
const SILENCE: Duration = Duration::from_mins(1);

/// The shared HTTP client.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
    clock: SharedClock,
    /// How far the clock of the service that answered last was ahead of ours, in microseconds; of all accounts together.
    ahead: Arc<AtomicI64>,
    meter: Option<Meter>,
}

/// Reads what an answer says of the service's limit; it gets the path of the request.
pub type ReadQuota = fn(&str, &Answer) -> Option<Quota>;

/// The latest that the service said of its limit, until the dispatcher asks for it.
#[derive(Debug, Clone)]
struct Meter {
    read: ReadQuota,
    said: Arc<Mutex<Option<Quota>>>,
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
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Err: someone was first; there is only one provider in the build, so it is the same one.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        });
        let mut headers = HeaderMap::new();
        // Mastodon and others translate their error texts; the few that are matched are matched in English.
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en"));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("vardkase/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(connect_timeout)
            .read_timeout(SILENCE)
            .pool_idle_timeout(IDLE)
            // One exchange per connection: no stream of another account's can be torn down with ours.
            .http1_only()
            .http1_max_headers(MAX_HEADERS);
        if failpoint::is_armed() {
            builder = builder.connector_layer(tower::util::MapFutureLayer::new(points::around_connect));
        }
        let client = builder.build().map_err(|err| {
            format!(
                "no HTTP client (is ca-certificates installed?): {}",
                fault::deepest(&err)
            )
        })?;
        Ok(Self {
            client,
            clock,
            ahead: Arc::default(),
            meter: None,
        })
    }

    /// The same client for one account, whose service says in its answers how much more it takes. Read are those that are
    /// a success and had an effect.
    #[must_use]
    pub fn metered(self, read: ReadQuota) -> Self {
        let said = Arc::default();
        Self {
            meter: Some(Meter { read, said }),
            ..self
        }
    }

    /// What the service last said of its limit; given once.
    pub fn quota(&self) -> Option<Quota> {
        let meter = self.meter.as_ref()?;
        meter.said.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The present moment, for adapters that sign or schedule by it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How far our clock and those of the services are apart, by the answer that came last; zero if no more than is usual.
    pub fn astray(&self) -> Duration {
        let apart = Duration::from_micros(self.ahead.load(Ordering::Relaxed).unsigned_abs());
        if apart > clock::SLACK {
            apart
        } else {
            Duration::ZERO
        }
    }

    /// The present moment as the services see it: ours, unless it is known to be wrong.
    pub fn service_now(&self) -> Timestamp {
        let now = self.clock.now();
        if self.astray().is_zero() {
            return now;
        }
        clock::from_micros(
            now.as_microsecond()
                .saturating_add(self.ahead.load(Ordering::Relaxed)),
        )
    }

    /// The earliest time that a service may have put on what we did at `at`.
    pub fn earliest(&self, at: Timestamp) -> Timestamp {
        clock::earlier(at.min(self.clock.now()), clock::SLACK + self.astray())
    }

    /// Sends a request that is signed with a time, as [`Self::send`] does. A service that refuses it because our clock is
    /// wrong did nothing, and its answer tells the right time: it gets the request once more, signed by that.
    ///
    /// # Errors
    /// Those of `make` and of [`Self::send`].
    pub async fn send_signed(
        &self,
        make: impl Fn(Timestamp) -> Result<reqwest::RequestBuilder, SendError> + Send,
        effect: Effect,
    ) -> Result<Answer, SendError> {
        let at = self.service_now();
        let answer = self.send(make(at)?, effect).await?;
        let told = self.service_now();
        let apart = clock::until(at, told).max(clock::until(told, at));
        if !matches!(answer.status, 401 | 403) || apart <= clock::SLACK {
            return Ok(answer);
        }
        self.send(make(told)?, effect).await
    }

    /// A request to be filled by the adapter and given to [`Transport::send`].
    pub fn request(&self, method: reqwest::Method, url: Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends the request once and reads the answer. Any status is an answer, 3xx too (never followed).
    ///
    /// # Errors
    /// `NotSent` if no byte of the request can have had an effect (DNS, connect, TLS, bad address), or if it only
    /// reads; otherwise `Unknown`: cut connection, unreadable or oversized answer.
    pub async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let mut request = request.build().map_err(|err| {
            SendError::NotSent(fault::reason("request", "the request could not be made", &err))
        })?;
        let host = may_be_spoken_to(request.url())?;
        for name in [AUTHORIZATION, reqwest::header::COOKIE] {
            if let Some(value) = request.headers_mut().get_mut(name) {
                value.set_sensitive(true);
            }
        }
        let token = token(request.headers());
        let path = request.url().path().to_owned();
        let response = if failpoint::is_armed() {
            points::execute(&self.client, request).await
        } else {
            self.client.execute(request).await
        };
        let response = response.map_err(|err| fault::classify(&host, &err, effect))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        failpoint::hit("response-read.before");
        let mut body = read_capped(response, &host, effect).await?;
        failpoint::hit("response-read.after");
        // What a service says of a failure ends in the journal and in mails; some repeat the token in it.
        if !(200..300).contains(&status)
            && let Some(token) = token
        {
            blank(&mut body, token.expose_secret().as_bytes());
        }
        let answer = Answer {
            status,
            headers,
            body,
            at: self.clock.now(),
        };
        if let Some(date) = answer.date() {
            let ahead = date.as_microsecond().saturating_sub(answer.at.as_microsecond());
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        if let Some(meter) = self.meter.as_ref().filter(|_| effect == Effect::Writes)
            && answer.is_success()
            && let Some(quota) = (meter.read)(&path, &answer)
        {
            *meter.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
        Ok(answer)
    }
}

/// The host, if we speak to it at all: TLS everywhere but on this machine.
fn may_be_spoken_to(url: &Url) -> Result<String, SendError> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(host);
    }
    Err(SendError::NotSent(Reason::new(
        "address",
        format!("{host}: only https is spoken to other machines; correct the address in config.toml"),
    )))
}

/// The credential of `Authorization: <scheme> <credential>`.
fn token(headers: &HeaderMap) -> Option<SecretString> {
    let (_, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (!token.is_empty()).then(|| SecretString::from(token))
}

/// Replaces every occurrence of `secret`.
pub(super) fn blank(body: &mut Vec<u8>, secret: &[u8]) {
    let mut from = 0;
    while let Some(at) = body
        .get(from..)
        .and_then(|rest| rest.windows(secret.len()).position(|window| window == secret))
    {
        let at = from + at;
        body.splice(at..at + secret.len(), BLANK.iter().copied());
        from = at + BLANK.len();
    }
}

async fn read_capped(
    mut response: reqwest::Response,
    host: &str,
    effect: Effect,
) -> Result<Vec<u8>, SendError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > READ_CAP => {
                let text = format!("{host}: the answer is larger than {READ_CAP} bytes");
                return Err(fault::after_contact(Reason::new("too-large", text), effect));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(err) => return Err(fault::classify(host, &err, effect)),
        }
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
}

impl Answer {
    /// When the service may be asked again, by its `Retry-After` in seconds or as an HTTP date. `None` if absent or
    /// unreadable. Never in the past.
    pub fn retry_after(&self) -> Option<Timestamp> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let seconds = text.parse().unwrap_or(u64::MAX);
            return Some(crate::clock::later(self.at, Duration::from_secs(seconds)));
        }
        Some(http_date(text)?.max(self.at))
    }

    /// The service's time, to the second.
    fn date(&self) -> Option<Timestamp> {
        http_date(self.header(DATE.as_str())?)
    }

    /// The body as JSON, refusing what is nested too deep.
    pub fn json(&self) -> Option<serde_json::Value> {
        // serde_json itself stops at a depth of 128.
        serde_json::from_slice(&self.body).ok()
    }

    /// The first header of that name, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the status says that it was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The address of `segments` below `base`, which may itself have a path. Each segment is escaped, so that an id that a
/// service gave can never lead elsewhere.
pub fn below<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests;
