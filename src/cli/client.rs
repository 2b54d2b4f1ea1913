//! The way to the daemon: its API on the Unix socket.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Exit, Failure};
use crate::http::problem::Problem;

/// How long an answer may take; a send is answered as soon as it is on disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The same for what reads or copies everything that there is.
const LONG_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a daemon that is started again is waited for.
pub const RESTART: Duration = Duration::from_secs(30);
/// How often it is asked for meanwhile.
pub const AGAIN: Duration = Duration::from_millis(200);

/// The kind of problem of a daemon that takes no commands any more.
const STOPPING: &str = "urn:vardkase:stopping";

/// A client of one daemon.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    socket: std::path::PathBuf,
}

impl Client {
    /// A client of the daemon that runs on this configuration.
    pub fn of(config: &Path) -> Result<Self, Failure> {
        let config = super::load(config)?;
        Self::at(&config.daemon.socket)
    }

    /// A client of the daemon at this socket.
    pub fn at(socket: &Path) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // No TLS on a Unix socket: works on a machine without a certificate store too.
            .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
            .build()?;
        Ok(Self {
            http,
            socket: socket.to_owned(),
        })
    }

    /// `GET`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(self.http.get(url(path)).timeout(TIMEOUT)).await
    }

    /// `GET`; a daemon that is just being started again is waited for.
    pub async fn get_again<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let began = tokio::time::Instant::now();
        loop {
            match self.get(path).await {
                Err(failure) if failure.exit == Exit::NoDaemon && began.elapsed() < RESTART => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// `GET` of what is worked out from everything that there is.
    pub async fn get_long<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(self.http.get(url(path)).timeout(LONG_TIMEOUT)).await
    }

    /// `POST` of what copies everything that there is.
    pub async fn post_long<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.call(self.http.post(url(path)).timeout(LONG_TIMEOUT).json(body))
            .await
    }

    /// `POST` with a JSON body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.call(self.http.post(url(path)).timeout(TIMEOUT).json(body))
            .await
    }

    /// `POST` with a JSON body and an idempotency key; tried once more if the connection broke, which the key makes
    /// harmless.
    pub async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: &str,
    ) -> Result<T, Failure> {
        let request = || {
            self.http
                .post(url(path))
                .timeout(TIMEOUT)
                .header("Idempotency-Key", key)
                .json(body)
        };
        match self.call(request()).await {
            Err(failure) if failure.exit == Exit::NoDaemon => self.call(request()).await,
            answer => answer,
        }
    }

    /// Each report of a broadcast as it lands, until it has finished or the connection breaks.
    pub async fn watch<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(T),
    ) -> Result<(), Failure> {
        let response = self
            .http
            .get(url(path))
            .send()
            .await
            .map_err(|error| self.no_daemon(&error))?;
        let response = accepted(response).await?;
        let mut body = response.bytes_stream();
        let mut pending = Vec::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.no_daemon(&error))?;
            pending.extend_from_slice(&chunk);
            while let Some(end) = pending.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = pending.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&event);
                let data: String = text
                    .lines()
                    .filter_map(|line| line.strip_prefix("data: "))
                    .collect();
                if !data.is_empty() {
                    each(serde_json::from_str(&data)?);
                }
            }
        }
        Ok(())
    }

    /// `GET` of what is no JSON.
    pub async fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let sent = self.http.get(url(path)).timeout(TIMEOUT).send().await;
        let response = accepted(sent.map_err(|error| self.no_daemon(&error))?).await?;
        let bytes = response.bytes().await.map_err(|error| self.no_daemon(&error))?;
        Ok(bytes.to_vec())
    }

    async fn call<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Failure> {
        let response = request.send().await.map_err(|error| self.no_daemon(&error))?;
        let body = accepted(response)
            .await?
            .bytes()
            .await
            .map_err(|error| self.no_daemon(&error))?;
        Ok(serde_json::from_slice(&body)?)
    }

    fn no_daemon(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::new(
                Exit::NoDaemon,
                format!(
                    "the daemon at {} took the request but has not answered in time; what was asked may still be done. Look \
                     with `vardkase status` before you ask again",
                    self.socket.display()
                ),
            );
        }
        let why = std::error::Error::source(error).map_or_else(|| error.to_string(), innermost);
        Failure::new(
            Exit::NoDaemon,
            format!(
                "the daemon does not answer at {}: {why}. Is it running (`systemctl status vardkase`), and is this its \
                 --config?",
                self.socket.display()
            ),
        )
    }
}

fn url(path: &str) -> String {
    format!("http://vardkase{path}")
}

fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

async fn accepted(response: reqwest::Response) -> Result<reqwest::Response, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        return Err(Failure::new(Exit::Error, format!("the daemon answered {status}")));
    };
    if problem.kind == STOPPING {
        return Err(Failure::new(Exit::NoDaemon, problem.detail));
    }
    if problem.findings.is_empty() {
        return Err(Failure::new(Exit::Error, problem.detail));
    }
    Err(Failure::new(
        Exit::Stopped,
        super::preview::findings_text(&problem.findings),
    ))
}
