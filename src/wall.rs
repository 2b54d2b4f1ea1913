//! The practice wall: simulators that speak each channel's real wire protocol and enforce its real rules, with a ledger
//! of what they truly accepted and faults on command; and a page that shows the posts as residents would see them.
//!
//! Used by `demo`, by every drill and test lane, and by the tests. It listens on loopback only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::channel::{Kind, SftpSite, WallSite};
use crate::clock::{SharedClock, Timestamp};
use crate::model::{AccountId, Mode};

pub(crate) mod bluesky;
mod consent;
mod control;
mod discord;
mod facebook_page;
mod faults;
mod folder;
mod guise;
mod instagram;
mod linkedin;
mod markdown;
mod mastodon;
mod matrix;
mod mattermost;
mod meta;
mod meta_login;
mod mime;
mod misbehave;
mod multipart;
mod ntfy;
mod page;
mod receiver;
mod registry;
mod server;
mod sftp;
pub mod sim;
mod slack;
mod sms_46elks;
mod smtp;
mod state;
mod teams;
mod telegram;
mod threads;
mod web_push;
mod webdav;
mod whatsapp;
mod wordpress;
mod x;

pub use guise::{Guise, Other};
use state::Shared;

/// A running wall. Dropping it stops its servers.
#[derive(Debug)]
pub struct Wall {
    shared: Arc<Shared>,
    /// Bound and never listened on: whoever connects is refused, and nobody else can listen there meanwhile.
    nobody: (std::os::fd::OwnedFd, SocketAddr),
    /// Aborted when dropped, with the connections that they own.
    _servers: JoinSet<()>,
}

/// A simulated account: where it stands and the secrets it takes.
#[derive(Clone)]
pub struct Simulated {
    /// Its addresses.
    pub site: WallSite,
    /// Its secrets, made at random.
    pub secrets: Vec<(String, String)>,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.secrets.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Simulated")
            .field("site", &self.site)
            .field("secrets", &names)
            .finish()
    }
}

/// Something that a simulated account truly accepted. The ledger is the truth that the product's log is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The account.
    pub account: AccountId,
    /// `live` for accounts of a configuration, or the lane's mode.
    pub mode: Mode,
    /// The simulated service's id of the post.
    pub remote_id: String,
    /// The text as a resident sees it.
    pub text: String,
    /// Links as a resident can click them.
    pub links: Vec<String>,
    /// The idempotency key that came with it, if any.
    pub key: Option<String>,
    /// The post that it answers.
    pub in_reply_to: Option<String>,
    /// On mail, the envelope's recipient.
    pub recipient: Option<String>,
    /// On mail, the subject.
    pub subject: Option<String>,
    /// When it was accepted.
    pub at: Timestamp,
    /// When it was taken away.
    pub deleted_at: Option<Timestamp>,
    /// When it was changed.
    pub edited_at: Option<Timestamp>,
    /// Whether it is kept on top of the account's page.
    #[serde(default)]
    pub pinned: bool,
    /// The pictures that stand in it.
    #[serde(default)]
    pub pictures: Vec<ShownPicture>,
    /// What else residents see of it and checks may ask for: a card's title, segments, a template's name.
    #[serde(default)]
    pub shown: BTreeMap<String, String>,
}

/// A picture as it stands in a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPicture {
    /// Its alternative text; empty if the post has none.
    pub alt: String,
    /// Its media type.
    pub media_type: String,
    /// SHA-256 of its bytes, in hex.
    pub digest: String,
    /// Its bytes, for the page; not in the ledger's JSON.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// How a simulated account misbehaves at its next requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happens.
    pub how: How,
    /// Only requests whose path contains this; every request if `None`.
    #[serde(default)]
    pub path: Option<String>,
    /// Only requests of this HTTP method.
    #[serde(default)]
    pub method: Option<String>,
    /// Lets this many matching requests pass first.
    #[serde(default)]
    pub after: u32,
    /// How many requests it strikes; 0 for all from then on.
    pub times: u32,
}

/// Ways to misbehave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Answers without doing anything. `headers` are added; `body` replaces the service's own error body.
    Answer {
        /// HTTP status, SMTP reply code, or for SFTP its own status, or one of HTTP that means the same.
        status: u16,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; for SMTP the reply text.
        #[serde(default)]
        body: Option<String>,
    },
    /// Does what was asked, then answers like this instead.
    DoneThenAnswer {
        /// HTTP status, or SMTP reply code.
        status: u16,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; for SMTP the reply text.
        #[serde(default)]
        body: Option<String>,
    },
    /// Reads the request, does nothing, cuts the connection.
    Cut,
    /// Does what was asked, then cuts the connection at this point of the answer.
    DoneThenCut(CutAt),
    /// Waits before doing anything, in milliseconds.
    Delay(u64),
    /// Does what was asked, then never answers.
    DoneThenHang,
    /// Reads the request and never answers, doing nothing.
    Hang,
    /// Does what was asked, then answers one byte a second, headers and body.
    Trickle,
    /// Does what was asked, then answers with a body of this many bytes.
    Huge(u64),
    /// Does what was asked, then answers with a gzip body that unpacks to this many bytes.
    Bomb(u64),
    /// Does what was asked, then answers with this many headers.
    ManyHeaders(u32),
    /// Does what was asked, then answers with its usual status and headers but these bytes, which need not be text.
    DoneThenBytes(Vec<u8>),
}

/// Where an answer is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutAt {
    /// Before its first byte, by closing.
    BeforeHeaders,
    /// Before its first byte, by a reset.
    Reset,
    /// Within the headers.
    MidHeaders,
    /// Within the body, which was announced longer.
    MidBody,
    /// Nowhere: a whole 200 whose JSON breaks off.
    TruncatedJson,
}

/// A request that reached a simulated account, accepted or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The account.
    pub account: AccountId,
    /// When it had been read.
    pub at: Timestamp,
    /// HTTP method, `SMTP`, or `SFTP`.
    pub method: String,
    /// Path below the account's base, with query; for SMTP the envelope, for SFTP the request and its file.
    pub path: String,
    /// The idempotency key that came with it, if any.
    pub key: Option<String>,
    /// The status that was answered, for SFTP that of HTTP that means the same; 0 if none was.
    pub status: u16,
}

impl Wall {
    /// Starts the wall. `folder` is where `file` accounts write; it is made if missing.
    ///
    /// # Errors
    /// If an address is not on loopback or is taken, or the folder cannot be made.
    pub async fn start(
        listen: SocketAddr,
        smtp: SocketAddr,
        folder: &Path,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        // What is on the wall is not for the network, and its faults are on command of whoever can reach it.
        if let Some(open) = [listen, smtp].into_iter().find(|a| !a.ip().is_loopback()) {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("the practice wall listens on loopback only, not on {open}"),
            ));
        }
        std::fs::create_dir_all(folder)?;
        let http_listener = TcpListener::bind(listen).await?;
        let smtp_listener = TcpListener::bind(smtp).await?;
        // Whoever is told of it is told the port.
        let files_listener = TcpListener::bind(SocketAddr::new(smtp.ip(), 0)).await?;
        let files_host = Arc::new(sftp::Host::new());
        let shared = Arc::new(Shared::new(
            clock,
            http_listener.local_addr()?,
            smtp_listener.local_addr()?,
            SftpSite {
                address: files_listener.local_addr()?,
                host_key: files_host.fingerprint(),
            },
            folder.to_owned(),
        ));
        shared.open(
            Mode::Live,
            &state::sink_account(),
            &crate::channel::email::KIND,
            "E-post utan konto",
        );
        let mut servers = JoinSet::new();
        let for_http = Arc::clone(&shared);
        servers.spawn(server::accept(http_listener, move |stream| {
            server::connection(Arc::clone(&for_http), stream)
        }));
        let for_smtp = Arc::clone(&shared);
        servers.spawn(server::accept(smtp_listener, move |stream| {
            smtp::connection(Arc::clone(&for_smtp), stream)
        }));
        let for_files = Arc::clone(&shared);
        servers.spawn(server::accept(files_listener, move |stream| {
            Box::pin(sftp::connection(
                Arc::clone(&for_files),
                Arc::clone(&files_host),
                stream,
            ))
        }));
        Ok(Self {
            shared,
            nobody: nobody()?,
            _servers: servers,
        })
    }

    /// Where the wall's page is.
    pub fn address(&self) -> SocketAddr {
        self.shared.http
    }

    /// Where its SMTP sink is.
    pub fn smtp(&self) -> SocketAddr {
        self.shared.smtp
    }

    /// An address where nobody answers: what a relay that is down looks like.
    pub fn nobody(&self) -> SocketAddr {
        self.nobody.1
    }

    /// Makes the SMTP sink ask for a log-in, AUTH PLAIN, from now on.
    pub fn require_smtp_login(&self, user: &str, password: &str) {
        self.shared.set_login(user, password);
    }

    /// Opens a simulated account, or returns it if it is open: as `Mode::Live` for a configuration's accounts, else for
    /// drill and test lanes. `name` is what residents read above its posts.
    pub fn open_account(
        &self,
        mode: Mode,
        account: &AccountId,
        kind: &'static Kind,
        name: &str,
    ) -> Simulated {
        self.shared.open(mode, account, kind, name).describe(&self.shared)
    }

    /// Makes an account misbehave; faults are tried in the order given. Faults of the SMTP dialogue before the message
    /// itself belong to the account `smtp`, mode live: the mail's account is not known yet.
    pub fn fault(&self, mode: Mode, account: &AccountId, fault: Fault) {
        self.shared.fault(mode, account, fault);
    }

    /// Lets something happen at the service of an account that nobody asked for over its API: a token ends, a person loses
    /// the role. Returns whether the service knows of such a thing.
    pub fn command(&self, mode: Mode, account: &AccountId, what: &str) -> bool {
        let now = self.shared.clock.now();
        let site = self.shared.find(mode, account.as_str());
        site.is_some_and(|site| site.command(what, now))
    }

    /// Ends all misbehaviour of an account.
    pub fn heal(&self, mode: Mode, account: &AccountId) {
        self.shared.heal(mode, account);
    }

    /// Makes an account present itself like this from now on.
    pub fn guise(&self, mode: Mode, account: &AccountId, guise: Guise) {
        self.shared.dress(mode, account, guise);
    }

    /// What was accepted where the public does not see it, oldest first. None of it is in the ledger.
    pub fn backstage(&self) -> Vec<Posted> {
        self.shared.backstage()
    }

    /// What was truly accepted, oldest first.
    pub fn ledger(&self) -> Vec<Posted> {
        self.shared.ledger()
    }

    /// Every request, oldest first; at most the last 100,000.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen()
    }

    /// Calls `f` for each request when it has been read and before anything is done with it.
    pub fn on_request(&self, f: impl Fn(&Seen) + Send + Sync + 'static) {
        self.shared.hook(Arc::new(f));
    }
}

/// Takes a port of loopback without listening on it.
fn nobody() -> std::io::Result<(std::os::fd::OwnedFd, SocketAddr)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}
