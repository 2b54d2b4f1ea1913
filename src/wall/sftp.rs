//! The wall's SFTP server over the folders of `file` accounts: SSH with a host key of its own, which the accounts pin, a
//! log-in by key or password, and of SFTP version 3 what a file needs. Rules from `reference/channels/website.md` §5.
//!
//! One server for all accounts: the user name says whose folder it is. It gives no shell and forwards nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelStream, Disconnect, MethodKind, MethodSet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::server::Wire;
use super::state::{Shared, Site};
use super::{CutAt, How, Seen};

mod folder;
pub(super) mod login;

use folder::{Answer, Folder, status};

/// Longest request that is read: what OpenSSH takes.
const MAX_PACKET: usize = 256 * 1024;
/// Log-ins that one connection may try, as at OpenSSH.
const TRIES: usize = 6;
/// What is written at once of what is huge.
const CHUNK: usize = 32 * 1024;

/// The server's own side: its key and how it speaks.
pub(super) struct Host {
    config: Arc<Config>,
    key: PublicKey,
}

impl Host {
    /// A server with a key that nobody has seen.
    pub(super) fn new() -> Self {
        let key = login::fresh_key();
        let public = key.public_key().clone();
        Self {
            config: Arc::new(Config {
                methods: methods(),
                // Nobody guesses here: whoever may connect may read the wall.
                auth_rejection_time: std::time::Duration::ZERO,
                max_auth_attempts: TRIES,
                keys: vec![key],
                inactivity_timeout: None,
                ..Config::default()
            }),
            key: public,
        }
    }

    /// The fingerprint of its key, as an account pins it.
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
    }
}

fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password][..])
}

/// Serves one connection.
pub(super) async fn connection(shared: Arc<Shared>, host: Arc<Host>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let stream = Arc::new(stream);
    let cut = CancellationToken::new();
    // The library works in a task of its own, which ends with this one.
    let _ends_all = cut.clone().drop_guard();
    let (opened, mut wanted) = mpsc::channel(1);
    let visitor = Visitor {
        shared: Arc::clone(&shared),
        cut: Cut {
            stream: Arc::clone(&stream),
            token: cut.clone(),
        },
        site: None,
        channel: None,
        opened,
    };
    let line = Line {
        wire: Wire(Arc::clone(&stream)),
        cut: Box::pin(cut.clone().cancelled_owned()),
    };
    let config = Arc::clone(&host.config);
    let Ok(session) = Box::pin(russh::server::run_stream(config, line, visitor)).await else {
        return;
    };
    let handle = session.handle();
    let served = async {
        while let Some(Opened { site, channel }) = wanted.recv().await {
            let dialogue = Dialogue {
                shared: &shared,
                site: &site,
                handle: &handle,
                cut: Cut {
                    stream: Arc::clone(&stream),
                    token: cut.clone(),
                },
                folder: Folder::new(site.folder.clone()),
                stream: channel.into_stream(),
            };
            // An error is a peer that went away, or a connection that is cut on purpose.
            Box::pin(dialogue.run()).await.ok();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = session => {}
        () = served => {}
        () = cut.cancelled() => {}
    }
}

/// Ends a connection from within.
struct Cut {
    stream: Arc<TcpStream>,
    token: CancellationToken,
}

impl Cut {
    fn now(&self) {
        self.token.cancel();
    }

    fn reset(&self) {
        self.stream.set_zero_linger().ok();
        self.now();
    }
}

/// A socket that can be cut although a library holds it.
struct Line {
    wire: Wire,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Line {
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

/// A channel on which SFTP is spoken, and whose folder it is about.
struct Opened {
    site: Arc<Site>,
    channel: Channel<Msg>,
}

/// Whoever connects: logs in, and asks for SFTP.
struct Visitor {
    shared: Arc<Shared>,
    cut: Cut,
    site: Option<Arc<Site>>,
    channel: Option<Channel<Msg>>,
    opened: mpsc::Sender<Opened>,
}

impl Visitor {
    /// One try to log in; faults strike it as any request.
    async fn log_in(
        &mut self,
        user: &str,
        how: &str,
        fits: impl FnOnce(&login::LogIn) -> bool,
    ) -> Result<Auth, russh::Error> {
        let Some(site) = self.shared.folder_of(user) else {
            return Ok(refused());
        };
        let stage = format!("LOGIN {how}");
        let strike = self.shared.strike(site.mode, &site.account, "SFTP", &stage);
        let ticket = self.shared.saw(&seen(&self.shared, &site, stage));
        if !strike.delay.is_zero() {
            tokio::time::sleep(strike.delay).await;
        }
        match strike.how {
            None | Some(How::Delay(_)) => {}
            Some(How::Answer { .. } | How::DoneThenAnswer { .. }) => {
                self.shared.answered(ticket, 401);
                return Ok(refused());
            }
            Some(How::Hang | How::DoneThenHang | How::Trickle) => {
                self.cut.token.cancelled().await;
                return Err(russh::Error::Disconnect);
            }
            Some(
                How::Cut
                | How::DoneThenCut(_)
                | How::Huge(_)
                | How::Bomb(_)
                | How::ManyHeaders(_)
                | How::DoneThenBytes(_),
            ) => {
                self.cut.now();
                return Err(russh::Error::Disconnect);
            }
        }
        let is_let_in = !self.shared.is_dead(&site) && site.login.as_ref().is_some_and(fits);
        self.shared.answered(ticket, if is_let_in { 200 } else { 401 });
        if !is_let_in {
            return Ok(refused());
        }
        self.site = Some(site);
        Ok(Auth::Accept)
    }
}

fn refused() -> Auth {
    Auth::Reject {
        proceed_with_methods: Some(methods()),
        partial_success: false,
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let site = self.shared.folder_of(user);
        let login = site.as_ref().and_then(|site| site.login.as_ref());
        Ok(match login {
            Some(login) if login.is_key(offer.public_key) => Auth::Accept,
            Some(_) | None => refused(),
        })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.log_in(user, "key", |login| login.is_key(key.public_key))
            .await
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.log_in(user, "password", |login| login.password == password)
            .await
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // A second one that waits would be one too many: dropping the reply says no.
        if self.site.is_some() && self.channel.is_none() {
            self.channel = Some(channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let channel = self.channel.take_if(|channel| channel.id() == id);
        let (Some(site), Some(channel), "sftp") = (&self.site, channel, name) else {
            return session.channel_failure(id);
        };
        let opened = Opened {
            site: Arc::clone(site),
            channel,
        };
        // The one before is still spoken on.
        if self.opened.try_send(opened).is_err() {
            return session.channel_failure(id);
        }
        session.channel_success(id)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(id)
    }
}

fn seen(shared: &Shared, site: &Site, path: String) -> Seen {
    Seen {
        account: site.account.clone(),
        at: shared.clock.now(),
        method: "SFTP".to_owned(),
        path,
        key: None,
        status: 0,
    }
}

/// SFTP on one channel.
struct Dialogue<'a> {
    shared: &'a Shared,
    site: &'a Site,
    handle: &'a Handle,
    cut: Cut,
    folder: Folder,
    stream: ChannelStream<Msg>,
}

impl Dialogue<'_> {
    async fn run(mut self) -> io::Result<()> {
        while let Some((kind, body)) = self.receive().await? {
            self.step(kind, &body).await?;
        }
        self.stream.shutdown().await
    }

    /// The next request; `None` when there is none. One that is too long ends the connection.
    async fn receive(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut head = [0; 4];
        match self.stream.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if !(1..=MAX_PACKET).contains(&length) {
            self.cut.now();
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut packet = vec![0; length];
        self.stream.read_exact(&mut packet).await?;
        let kind = packet.remove(0);
        Ok(Some((kind, packet)))
    }

    /// One request: remembers it, applies faults around it, answers.
    async fn step(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let stage = folder::stage(kind, body);
        let (mode, account) = (self.site.mode, &self.site.account);
        let strike = self.shared.strike(mode, account, "SFTP", &stage);
        let ticket = self.shared.saw(&seen(self.shared, self.site, stage));
        if !strike.delay.is_zero() {
            tokio::time::sleep(strike.delay).await;
        }
        let answer = match &strike.how {
            None | Some(How::Delay(_)) => self.folder.take(kind, body),
            Some(How::Answer { status, .. }) => Answer::status(body, in_place_of(*status)),
            Some(How::DoneThenAnswer { status, .. }) => {
                self.folder.take(kind, body);
                Answer::status(body, in_place_of(*status))
            }
            Some(How::Cut) => {
                self.cut.now();
                return Err(gone());
            }
            Some(How::Hang) => return std::future::pending().await,
            Some(how) => {
                let answer = self.folder.take(kind, body);
                self.misbehave(how, &answer).await?;
                return Err(gone());
            }
        };
        self.shared.answered(ticket, answer.as_http());
        self.say(&answer.wire()).await
    }

    /// In two pieces, so that a client that takes what one read gives for a whole answer is found out.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        for piece in [first, rest] {
            self.stream.write_all(piece).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// What was asked is done; the answer goes wrong, and the connection ends.
    async fn misbehave(&mut self, how: &How, answer: &Answer) -> io::Result<()> {
        let wire = answer.wire();
        let half = wire.get(..wire.len() / 2).unwrap_or_default();
        match how {
            How::DoneThenCut(CutAt::BeforeHeaders) => {
                self.cut.now();
                return Ok(());
            }
            How::DoneThenCut(CutAt::Reset) => {
                self.cut.reset();
                return Ok(());
            }
            How::DoneThenCut(CutAt::MidHeaders) => {
                self.say(wire.get(..3).unwrap_or_default()).await?;
            }
            How::DoneThenCut(CutAt::MidBody) => self.say(half).await?,
            // A whole packet whose content breaks off.
            How::DoneThenCut(CutAt::TruncatedJson) => {
                let content = half.get(4..).unwrap_or_default();
                let length = u32::try_from(content.len()).unwrap_or_default();
                self.say(&[&length.to_be_bytes(), content].concat()).await?;
            }
            How::DoneThenBytes(bytes) => self.say(bytes).await?,
            How::Trickle => {
                for byte in &wire {
                    self.say(std::slice::from_ref(byte)).await?;
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
            How::Huge(bytes) | How::Bomb(bytes) => self.endless(*bytes).await?,
            How::ManyHeaders(lines) => self.endless(u64::from(*lines) * 16).await?,
            How::DoneThenHang | How::Hang => return std::future::pending().await,
            How::Cut | How::Answer { .. } | How::DoneThenAnswer { .. } | How::Delay(_) => {}
        }
        // After what was said, in its turn.
        let bye = self
            .handle
            .disconnect(Disconnect::ByApplication, String::new(), String::new());
        bye.await.map_err(|_| gone())
    }

    /// An answer that is announced so long and goes on and on.
    async fn endless(&mut self, bytes: u64) -> io::Result<()> {
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.stream.write_all(&length.to_be_bytes()).await?;
        let chunk = vec![b' '; CHUNK];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.stream
                .write_all(chunk.get(..now).unwrap_or_default())
                .await?;
            left -= now as u64;
        }
        self.stream.flush().await
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// The status of SFTP that stands for one of HTTP, as faults name it; the small ones are SFTP's own. A full disk has
/// none of its own there.
fn in_place_of(status: u16) -> u32 {
    match status {
        0..=31 => u32::from(status),
        401 | 403 => status::PERMISSION_DENIED,
        404 | 410 => status::NO_SUCH_FILE,
        405 | 501 => status::UNSUPPORTED,
        _ => status::FAILURE,
    }
}
