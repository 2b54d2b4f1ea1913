//! What every channel must keep, whatever its service: the adapter against its simulator, and the simulator's ledger as
//! the truth. A channel that is added to the registry is held to all of it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::io::AsyncReadExt as _;
use vardkase::channel::{Kind, REGISTRY, Transport};
use vardkase::clock::{Clock, SystemClock, Timestamp, later};
use vardkase::model::{Post, Proof, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, How};

mod alone;
mod can;
mod cuts;
mod lab;
mod probe;

use lab::{LETTERS, LINK, Lab, SENDER};

/// Enough for any exchange with a server that answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Kept short where a server never answers.
const SHORT: Duration = Duration::from_millis(500);

/// What a property came to on a channel: a note for the table, or what is wrong.
type Verdict = Result<String, String>;
type Check = for<'a> fn(&'a Transport, &'static Kind) -> BoxFuture<'a, Verdict>;

const PROPERTIES: &[(&str, Check)] = &[
    ("publishes", |http, kind| Box::pin(publishes(http, kind))),
    ("link and sender arrive intact", |http, kind| {
        Box::pin(link_and_sender(http, kind))
    }),
    ("åäö and emoji arrive intact", |http, kind| {
        Box::pin(letters(http, kind))
    }),
    ("settled when the answer is lost", |http, kind| {
        Box::pin(answer_lost(http, kind))
    }),
    ("settled after a cut at each point", |http, kind| {
        Box::pin(cut_after_effect(http, kind))
    }),
    ("never found when nothing was done", |http, kind| {
        Box::pin(cut_without_effect(http, kind))
    }),
    ("honours Retry-After in every form", |http, kind| {
        Box::pin(retry_after(http, kind))
    }),
    ("never follows a redirect", |http, kind| {
        Box::pin(redirects(http, kind))
    }),
    ("nonsense on success is unknown", |http, kind| {
        Box::pin(nonsense(http, kind))
    }),
    ("a slow answer ends at the deadline", |http, kind| {
        Box::pin(slow(http, kind))
    }),
    ("retracts, and again", |http, kind| Box::pin(retracts(http, kind))),
    ("verifies without effect", |http, kind| {
        Box::pin(verifies(http, kind))
    }),
    ("edits, and again", |http, kind| Box::pin(can::edits(http, kind))),
    ("a correction's picture", |http, kind| {
        Box::pin(can::exchanges(http, kind))
    }),
    ("pins and unpins, and again", |http, kind| {
        Box::pin(can::pins(http, kind))
    }),
    ("edits after a cut at each point", |http, kind| {
        Box::pin(cuts::edits(http, kind))
    }),
    ("retracts after a cut at each point", |http, kind| {
        Box::pin(cuts::retracts(http, kind))
    }),
    ("pins after a cut at each point", |http, kind| {
        Box::pin(cuts::pins(http, kind))
    }),
    ("an answer stands under the first", |http, kind| {
        Box::pin(can::answers(http, kind))
    }),
    ("a picture arrives with its words", |http, kind| {
        Box::pin(can::shows(http, kind))
    }),
    ("a failing picture leaves the text", |http, kind| {
        Box::pin(can::fails(http, kind))
    }),
    ("a long text becomes a thread", |http, kind| {
        Box::pin(can::threads(http, kind))
    }),
    ("tells who it is (id)", |http, kind| {
        Box::pin(probe::tells_id(http, kind))
    }),
    ("tells when the credential ends", |http, kind| {
        Box::pin(probe::tells_end(http, kind))
    }),
    ("tells rights", |http, kind| {
        Box::pin(probe::tells_rights(http, kind))
    }),
    ("profile is read", |http, kind| {
        Box::pin(probe::profile(http, kind))
    }),
    ("backstage leaves nothing in public", |http, kind| {
        Box::pin(probe::backstage(http, kind))
    }),
];

/// Whether anything can be clicked in a post.
const CLICKABLE: fn(&Kind) -> bool = |kind| kind.id != "instagram";

/// A picture of the smallest size that every service takes.
pub(crate) fn small_picture() -> Arc<vardkase::model::Picture> {
    static PICTURE: std::sync::OnceLock<Arc<vardkase::model::Picture>> = std::sync::OnceLock::new();
    let made = PICTURE.get_or_init(|| {
        let mut bytes = Vec::new();
        image::RgbImage::new(320, 320)
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Jpeg)
            .unwrap();
        Arc::new(vardkase::model::Picture {
            bytes,
            media_type: "image/jpeg",
            width: 320,
            height: 320,
            alt: "En svart ruta".to_owned(),
        })
    });
    Arc::clone(made)
}

const NOT_HERE: &str = "–";

/// The channels that are held to it.
fn channels() -> impl Iterator<Item = &'static Kind> {
    REGISTRY.iter().copied()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_channel_keeps_what_every_channel_must() {
    let http = lab::transport();
    let mut table = format!("\n{:<36}", "property");
    for kind in channels() {
        write!(table, "{:<15}", kind.id).unwrap();
    }
    let mut broken = Vec::new();
    for (name, check) in PROPERTIES {
        write!(table, "\n{name:<36}").unwrap();
        let verdicts = futures::future::join_all(channels().map(|kind| check(&http, kind))).await;
        for (kind, verdict) in channels().zip(verdicts) {
            let cell = match verdict {
                Ok(note) => note,
                Err(wrong) => {
                    broken.push(format!("{}: {name}: {wrong}", kind.id));
                    "BROKEN".to_owned()
                }
            };
            write!(table, "{cell:<15}").unwrap();
        }
    }
    println!("{table}\n");
    assert!(broken.is_empty(), "{table}\n\n{}", broken.join("\n"));
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Publishes on a wall without faults.
async fn published(http: &Transport, kind: &'static Kind) -> Result<(Lab, Post, Receipt), String> {
    let lab = Lab::open(kind, http).await;
    let post = lab.post();
    let receipt = lab
        .publish(&post, PATIENCE)
        .await
        .map_err(|error| format!("did not publish: {error}"))?;
    Ok((lab, post, receipt))
}

/// The one post that stands, which the receipt must name.
fn the_one(lab: &Lab, receipt: &Receipt) -> Result<(), String> {
    let standing = lab.standing();
    match &standing[..] {
        [posted] if lab.is_true(receipt, posted) => Ok(()),
        [posted] => Err(format!(
            "{:?} is not the true id {:?}",
            receipt.remote_id, posted.remote_id
        )),
        posts => Err(format!("{} posts stand instead of one", posts.len())),
    }
}

async fn publishes(http: &Transport, kind: &'static Kind) -> Verdict {
    if kind.can.by_hand {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, receipt) = published(http, kind).await?;
    the_one(&lab, &receipt)?;
    Ok("ok".into())
}

async fn link_and_sender(http: &Transport, kind: &'static Kind) -> Verdict {
    if kind.can.by_hand {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, _) = published(http, kind).await?;
    let posted = lab.standing().remove(0);
    ensure(posted.text.contains(SENDER), || {
        format!("no sender in {:?}", posted.text)
    })?;
    ensure(posted.text.contains(LINK), || {
        format!("no link in {:?}", posted.text)
    })?;
    if !CLICKABLE(kind) {
        return Ok("ok (as text)".into());
    }
    ensure(posted.links.iter().any(|link| link == LINK), || {
        format!("nothing to click: {:?}", posted.links)
    })?;
    Ok("ok".into())
}

async fn letters(http: &Transport, kind: &'static Kind) -> Verdict {
    if kind.can.by_hand {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, _) = published(http, kind).await?;
    let posted = lab.standing().remove(0);
    ensure(posted.text.contains(LETTERS), || format!("{:?}", posted.text))?;
    Ok("ok".into())
}

/// The whole exchange went well but the process died before it noted so.
async fn answer_lost(http: &Transport, kind: &'static Kind) -> Verdict {
    if kind.can.by_hand {
        return Ok(NOT_HERE.into());
    }
    let lab = Lab::open(kind, http).await;
    let (post, since) = (lab.post(), SystemClock.now());
    if let Ok(Settled::Found(receipt)) = lab.settle(&post, since, SystemClock.now()).await {
        return Err(format!("found {receipt:?} before anything was published"));
    }
    lab.publish(&post, PATIENCE)
        .await
        .map_err(|error| format!("did not publish: {error}"))?;
    resolve(&lab, &post, since).await.map(str::to_owned)
}

/// Settles an unknown outcome as the dispatcher does, and says how.
async fn resolve(lab: &Lab, post: &Post, since: Timestamp) -> Result<&'static str, String> {
    let mut last = String::new();
    // A post may come to show late; an adapter that knows so says "not yet" and is asked again later.
    for minutes in [0, 2, 5, 10] {
        let now = later(SystemClock.now(), Duration::from_mins(minutes));
        match lab.settle(post, since, now).await {
            Ok(Settled::Found(receipt)) => return the_one(lab, &receipt).map(|()| "found"),
            Ok(Settled::Absent) => match lab.publish(post, PATIENCE).await {
                Ok(receipt) => return the_one(lab, &receipt).map(|()| "replayed"),
                Err(error) => last = format!("a replay gave: {error}"),
            },
            Ok(Settled::Refused(reason)) => return Err(format!("taken, and called refused: {reason}")),
            Ok(Settled::Unclear(_)) if lab.proof() == Proof::Unproven => return Ok("says unknown"),
            Ok(Settled::Unclear(reason)) => return Err(format!("cannot tell, but claims to: {reason}")),
            Err(error) => last = format!("settling gave: {error}"),
        }
    }
    Err(last)
}

/// Requests of one exchange from rest.
async fn exchange(http: &Transport, kind: &'static Kind) -> Result<usize, String> {
    let (lab, _, _) = published(http, kind).await?;
    let seen = lab.seen();
    // What follows the post itself is courtesy; on mail that is the QUIT.
    Ok(seen
        .iter()
        .position(|s| s.path.starts_with("dot"))
        .map_or(seen.len(), |dot| dot + 1))
}

/// Makes each request of an exchange go wrong in each of these ways, and holds what the adapter says against the ledger.
/// Returns how often that was done.
async fn struck(
    http: &Transport,
    kind: &'static Kind,
    hows: &[How],
    deadline: Duration,
    forbidden: &[&str],
) -> Result<usize, String> {
    let mut count = 0;
    for number in 0..exchange(http, kind).await? {
        for how in hows {
            let lab = Lab::open(kind, http).await;
            lab.strike(number, how.clone());
            let (post, since) = (lab.post(), SystemClock.now());
            let outcome = lab.publish(&post, deadline).await;
            let stand = lab.standing().len();
            let about = |wrong: String| {
                let how = format!("{how:?}").chars().take(60).collect::<String>();
                let path = lab.seen().get(number).map(|s| s.path.clone()).unwrap_or_default();
                format!("{how} at request {number} ({path}): {wrong}")
            };
            match &outcome {
                Ok(receipt) => the_one(&lab, receipt).map_err(about)?,
                Err(error) if forbidden.contains(&error.as_str()) => {
                    return Err(about(format!("must not be called {error}")));
                }
                Err(SendError::Unknown(_)) => {
                    let by = resolve(&lab, &post, since).await.map_err(about)?;
                    if by == "found" && stand == 0 {
                        return Err(about("found what was never there".into()));
                    }
                }
                Err(error) if stand > 0 => {
                    return Err(about(format!("it stands, but the adapter says {error}")));
                }
                Err(SendError::NotSent(_) | SendError::Busy { .. }) => {
                    let again = lab.publish(&post, PATIENCE).await;
                    let receipt = again.map_err(|error| about(format!("a second attempt gave {error}")))?;
                    the_one(&lab, &receipt).map_err(about)?;
                }
                Err(SendError::Refused(_) | SendError::Credential(_)) => {}
            }
            count += 1;
        }
    }
    Ok(count)
}

const NEVER_FOR_GOOD: &[&str] = &["refused", "credential"];

async fn cut_after_effect(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_networked(kind) {
        return Ok(NOT_HERE.into());
    }
    let mut cuts: Vec<How> = [
        CutAt::BeforeHeaders,
        CutAt::Reset,
        CutAt::MidHeaders,
        CutAt::MidBody,
        CutAt::TruncatedJson,
    ]
    .map(How::DoneThenCut)
    .to_vec();
    if Lab::is_http(kind) {
        cuts.extend([502, 504].map(|status| How::DoneThenAnswer {
            status,
            headers: vec![("content-type".into(), "text/html".into())],
            body: Some("<html><h1>Bad Gateway</h1></html>".into()),
        }));
    }
    let cut = struck(http, kind, &cuts, PATIENCE, NEVER_FOR_GOOD).await?;
    let hung = struck(http, kind, &[How::DoneThenHang], SHORT, NEVER_FOR_GOOD).await?;
    Ok(format!("ok ({})", cut + hung))
}

async fn cut_without_effect(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_networked(kind) {
        return Ok(NOT_HERE.into());
    }
    let cut = struck(http, kind, &[How::Cut], PATIENCE, NEVER_FOR_GOOD).await?;
    let hung = struck(http, kind, &[How::Hang], SHORT, NEVER_FOR_GOOD).await?;
    Ok(format!("ok ({})", cut + hung))
}

async fn retry_after(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_http(kind) {
        return Ok(NOT_HERE.into());
    }
    let now = SystemClock.now();
    let in_seconds = |seconds| later(now, Duration::from_secs(seconds));
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&in_seconds(900))
        .unwrap();
    let ten_years = 10 * 365 * 24 * 3600;
    let forms: [(Option<&str>, Option<Timestamp>); 6] = [
        (Some("90"), Some(in_seconds(90))),
        (Some(&date), Some(in_seconds(900))),
        (Some("315360000"), Some(in_seconds(ten_years))),
        (Some("-1"), None),
        (Some("snart"), None),
        (None, None),
    ];
    for number in 0..exchange(http, kind).await? {
        for (form, wanted) in &forms {
            let lab = Lab::open(kind, http).await;
            lab.strike(
                number,
                How::Answer {
                    status: 429,
                    headers: form
                        .iter()
                        .map(|f| ("retry-after".into(), (*f).to_owned()))
                        .collect(),
                    body: None,
                },
            );
            let outcome = lab.publish(&lab.post(), PATIENCE).await;
            let about = || format!("Retry-After {form:?} at request {number}: {outcome:?}");
            match &outcome {
                // Something beside the point, such as a picture for the link, may be left out.
                Ok(receipt) => the_one(&lab, receipt)?,
                Err(SendError::Busy { until, .. }) => {
                    let fits = match (until, wanted) {
                        (Some(until), Some(wanted)) => {
                            until.duration_since(*wanted).abs() < jiff::SignedDuration::from_secs(30)
                        }
                        // Without a time that can be read, the service's own usual one may be taken.
                        (until, None) => until.is_none_or(|until| until >= now),
                        (None, Some(_)) => false,
                    };
                    ensure(fits && lab.standing().is_empty(), about)?;
                }
                Err(_) => return Err(about()),
            }
        }
    }
    Ok("ok".into())
}

/// A listener that must never be spoken to.
struct Elsewhere {
    address: String,
    touched: Arc<std::sync::atomic::AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Elsewhere {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Only who asks for this came from us; others may still speak to the port.
        let path = format!("/stulen-{}", uuid::Uuid::new_v4());
        let address = format!("http://{}{path}", listener.local_addr().unwrap());
        let touched = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&touched);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (count, path) = (Arc::clone(&count), path.clone());
                tokio::spawn(async move {
                    let mut asked = vec![0; 1024];
                    let read = stream.read(&mut asked).await.unwrap_or_default();
                    if String::from_utf8_lossy(&asked[..read]).contains(&path) {
                        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        Self {
            address,
            touched,
            task,
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn redirects(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_http(kind) {
        return Ok(NOT_HERE.into());
    }
    let elsewhere = Elsewhere::start().await;
    let mut count = 0;
    for number in 0..exchange(http, kind).await? {
        for status in [301, 302, 303, 307, 308] {
            let lab = Lab::open(kind, http).await;
            lab.strike(
                number,
                How::Answer {
                    status,
                    headers: vec![("location".into(), elsewhere.address.clone())],
                    body: None,
                },
            );
            let post = lab.post();
            if let Ok(receipt) = lab.publish(&post, PATIENCE).await {
                the_one(&lab, &receipt)?;
            }
            count += 1;
        }
    }
    let touched = elsewhere.touched.load(std::sync::atomic::Ordering::SeqCst);
    ensure(touched == 0, || {
        format!("{touched} connections to where the redirects led")
    })?;
    Ok(format!("ok ({count})"))
}

async fn nonsense(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_http(kind) {
        return Ok(NOT_HERE.into());
    }
    let mut nested = "[".repeat(100_000);
    nested.push_str(&"]".repeat(100_000));
    let bodies: Vec<How> = [
        Vec::new(),
        b"<!doctype html><h1>Vi har ett fel</h1>".to_vec(),
        b"[]".to_vec(),
        b"\"ja\"".to_vec(),
        b"{\"id\":[],\"uri\":7,\"url\":{},\"cid\":false}".to_vec(),
        b"{\"id\":null,\"uri\":null,\"url\":null,\"cid\":null}".to_vec(),
        b"{\"id\":NaN,\"uri\":NaN,\"url\":NaN,\"cid\":NaN}".to_vec(),
        format!("{{\"id\":\"{}\"}}", "x".repeat(5_000_000)).into_bytes(),
        b"{\"id\":\"\xff\xfe\",\"uri\":\"\xff\"}".to_vec(),
        nested.into_bytes(),
    ]
    .map(How::DoneThenBytes)
    .to_vec();
    if kind.id == "webhook" {
        // Any 2xx counts there, and the answer need not name anything: what can be read as nothing is fine.
        let count = struck(http, kind, &bodies, PATIENCE, NEVER_FOR_GOOD).await?;
        return Ok(format!("ok ({count})"));
    }
    let forbidden = &["refused", "credential", "busy"];
    let count = struck(http, kind, &bodies, PATIENCE, forbidden).await?;
    Ok(format!("ok ({count})"))
}

async fn slow(http: &Transport, kind: &'static Kind) -> Verdict {
    if !Lab::is_networked(kind) {
        return Ok(NOT_HERE.into());
    }
    let deadline = Duration::from_millis(1500);
    for number in 0..exchange(http, kind).await? {
        let lab = Lab::open(kind, http).await;
        lab.strike(number, How::Trickle);
        let begun = Instant::now();
        drop(lab.publish(&lab.post(), deadline).await);
        let took = begun.elapsed();
        ensure(took < deadline + Duration::from_secs(1), || {
            format!("took {took:?}")
        })?;
    }
    Ok("ok".into())
}

async fn retracts(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.retract {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, receipt) = published(http, kind).await?;
    for time in ["once", "again"] {
        lab.channel
            .retract(&receipt)
            .await
            .map_err(|error| format!("{time}: {error}"))?;
        ensure(lab.standing().is_empty(), || format!("{time}: it still stands"))?;
    }
    Ok("ok".into())
}

async fn verifies(http: &Transport, kind: &'static Kind) -> Verdict {
    let lab = Lab::open(kind, http).await;
    for _ in 0..2 {
        let identity = lab.channel.verify().await.map_err(|error| error.to_string())?;
        ensure(!identity.name.is_empty(), || "nobody answered to the name".into())?;
    }
    ensure(lab.wall.ledger().is_empty(), || {
        format!("{:?}", lab.wall.ledger())
    })?;
    Ok("ok".into())
}
