//! The service that both sides of a comparison post to: reads a request whole, waits as long as its path says in
//! milliseconds (`/150`), answers 204. A process of its own, so that neither its memory nor its threads are ours, and as
//! cheap as can be: it knows no more of HTTP than where a request ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The machine's clock: the only one that two processes share.
#[allow(
    clippy::disallowed_methods,
    reason = "what one process saw is compared with what another one did"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The argument that makes this program the endpoint.
pub const ARGUMENT: &str = "--endpoint";

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// More than any request of ours.
const LARGEST: usize = 1024 * 1024;

/// A running endpoint; it ends with this.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    process: Child,
    ask: ChildStdin,
    told: BufReader<ChildStdout>,
}

/// What an endpoint has answered so far.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    pub posts: u64,
    /// When the latest post was there.
    pub latest: SystemTime,
}

impl Endpoint {
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = process.stdin.take().context("no way in")?;
        let mut told = BufReader::new(process.stdout.take().context("no way out")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        let address = line.trim().parse().context("the endpoint did not start")?;
        Ok(Self {
            address,
            process,
            ask,
            told,
        })
    }

    pub fn answered(&mut self) -> anyhow::Result<Answered> {
        self.ask.write_all(b"\n")?;
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        let (posts, latest) = line.trim().split_once(' ').context("no count")?;
        Ok(Answered {
            posts: posts.parse()?,
            latest: SystemTime::UNIX_EPOCH + Duration::from_nanos(latest.parse()?),
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Already ended when something went wrong with it.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[derive(Debug, Default)]
struct Counts {
    posts: AtomicU64,
    /// Nanoseconds since the epoch at which the latest post was answered.
    latest: AtomicU64,
}

/// The endpoint itself: its address on the first line, then a line of counts for each line that it is given. Ends when
/// whoever started it does.
#[allow(clippy::print_stdout, reason = "the other side reads it")]
pub fn serve() -> anyhow::Result<()> {
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        thread::spawn(move || {
            for _ in std::io::stdin().lock().lines() {
                let (posts, latest) = (&counted.posts, &counted.latest);
                println!(
                    "{} {}",
                    posts.load(Ordering::SeqCst),
                    latest.load(Ordering::SeqCst)
                );
            }
            std::process::exit(0);
        });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let counts = Arc::clone(&counts);
            // A connection that breaks fails the run on the other side.
            tokio::spawn(async move { speak(stream, &counts).await.ok() });
        }
    })
}

async fn speak(mut stream: TcpStream, counts: &Counts) -> anyhow::Result<()> {
    let mut got = Vec::with_capacity(8192);
    loop {
        let (length, wait) = loop {
            if let Some(request) = whole(&got)? {
                break request;
            }
            anyhow::ensure!(got.len() < LARGEST, "no end of a request");
            if stream.read_buf(&mut got).await? == 0 {
                return Ok(());
            }
        };
        got.drain(..length);
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        stream.write_all(ANSWER).await?;
        let now = now().duration_since(SystemTime::UNIX_EPOCH)?;
        counts
            .latest
            .fetch_max(u64::try_from(now.as_nanos())?, Ordering::SeqCst);
        counts.posts.fetch_add(1, Ordering::SeqCst);
    }
}

/// The length of the first request and how long its answer is to take; `None` if it is not there whole.
fn whole(got: &[u8]) -> anyhow::Result<Option<(usize, u64)>> {
    let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(got.get(..end).unwrap_or_default())?;
    let path = head.split(' ').nth(1).context("no path")?;
    let body = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let body: usize = body.map_or(Ok(0), |(_, length)| length.trim().parse())?;
    let length = end + 4 + body;
    let wait = path.trim_start_matches('/').parse().unwrap_or(0);
    Ok((got.len() >= length).then_some((length, wait)))
}
