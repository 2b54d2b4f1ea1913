//! The wall's SMTP sink: takes mail strictly by the book and books it for the account that the mail names.
//!
//! Rules from `reference/channels/email.md` §9. It never relays: what it takes stays on the wall. TLS is not offered, as
//! it listens on loopback only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::mime::Mail;
use super::state::{Shared, Site, Ticket, sink_account};
use super::{How, Posted, Seen, misbehave};
use crate::model::{AccountId, Mode};

mod command;
mod lines;

use command::{Command, Envelope};
use lines::{Body, Lines};

/// Longest silence of a client, by RFC 5321 §4.5.3.2.7.
const IDLE: Duration = Duration::from_mins(5);
/// Largest message.
const SIZE: usize = 16 * 1024 * 1024;
/// Recipients of one message; the least that a server must take.
const RECIPIENTS: usize = 100;
/// Requests of one connection that may fail before it is closed.
const ERRORS: u32 = 20;

/// A reply: code and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            lines: vec![text.into()],
        }
    }

    fn wire(&self) -> Vec<u8> {
        let last = self.lines.len().saturating_sub(1);
        let mut text = String::new();
        for (n, line) in self.lines.iter().enumerate() {
            let sign = if n == last { " " } else { "-" };
            text.extend([&self.code.to_string(), sign, line, "\r\n"]);
        }
        text.into_bytes()
    }
}

/// Whether the dialogue goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    Close,
}

struct Session<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    is_greeted: bool,
    is_logged_in: bool,
    envelope: Option<Envelope>,
}

/// Serves one connection.
pub(super) async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let session = Session {
        shared: &shared,
        stream: &stream,
        is_greeted: false,
        is_logged_in: false,
        envelope: None,
    };
    // An error is a peer that went away.
    session.run().await.ok();
}

impl Session<'_> {
    async fn run(mut self) -> io::Result<()> {
        let mut lines = Lines::new(self.stream, IDLE);
        let greeting = Reply::new(220, "ovningsvagg.invalid ESMTP Vardkase practice wall");
        if self.step("connect", None, |_| greeting).await? == Next::Close {
            return Ok(());
        }
        let mut errors = 0;
        while let Some(line) = lines.command().await? {
            let command = match line.and_then(|line| Command::parse(&line)) {
                Ok(command) => command,
                Err(reply) => {
                    errors += 1;
                    self.say(&reply).await?;
                    if errors >= ERRORS {
                        return Ok(());
                    }
                    continue;
                }
            };
            let stage = command.stage();
            let is_quit = command == Command::Quit;
            let is_data = command == Command::Data;
            let mut code = 0;
            let next = self
                .step(&stage, None, |session| {
                    let reply = session.obey(command);
                    code = reply.code;
                    reply
                })
                .await?;
            if next == Next::Close || is_quit {
                return Ok(());
            }
            // A fault in the place of 354 leaves `code` at 0: no message follows.
            if is_data && code == 354 {
                let Some(body) = lines.body(SIZE).await? else {
                    return Ok(());
                };
                if self.receive(body).await? == Next::Close {
                    return Ok(());
                }
            }
            if code >= 500 {
                errors += 1;
                if errors >= ERRORS {
                    self.say(&Reply::new(421, "4.7.0 too many errors")).await?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Does what a command asks.
    fn obey(&mut self, command: Command) -> Reply {
        match command {
            Command::Ehlo => self.ehlo(),
            Command::Helo => Reply::new(502, "5.5.1 this server wants EHLO"),
            Command::Auth { user, password } => self.auth(&user, &password),
            Command::Mail(envelope) => self.mail(envelope),
            Command::Rcpt(address) => self.rcpt(address),
            Command::Data => self.data(),
            Command::Rset => {
                self.envelope = None;
                Reply::new(250, "2.0.0 OK")
            }
            Command::Noop => Reply::new(250, "2.0.0 OK"),
            Command::Vrfy => Reply::new(252, "2.5.2 cannot say"),
            Command::Quit => Reply::new(221, "2.0.0 bye"),
        }
    }

    fn ehlo(&mut self) -> Reply {
        self.is_greeted = true;
        self.envelope = None;
        let mut lines = vec![
            "ovningsvagg.invalid".to_owned(),
            format!("SIZE {SIZE}"),
            "8BITMIME".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        if self.shared.login().is_some() {
            lines.push("AUTH PLAIN".to_owned());
        }
        Reply { code: 250, lines }
    }

    fn auth(&mut self, user: &str, password: &str) -> Reply {
        if !self.is_greeted {
            return Reply::new(503, "5.5.1 EHLO first");
        }
        if self.is_logged_in || self.envelope.is_some() {
            return Reply::new(503, "5.5.1 not now");
        }
        match self.shared.login() {
            None => Reply::new(502, "5.5.1 no log-in here"),
            Some(login) if (login.0.as_str(), login.1.as_str()) == (user, password) => {
                self.is_logged_in = true;
                Reply::new(235, "2.7.0 welcome")
            }
            Some(_) => Reply::new(535, "5.7.8 wrong user or password"),
        }
    }

    fn mail(&mut self, envelope: Envelope) -> Reply {
        if !self.is_greeted {
            return Reply::new(503, "5.5.1 EHLO first");
        }
        if self.envelope.is_some() {
            return Reply::new(503, "5.5.1 a transaction is open");
        }
        if self.shared.login().is_some() && !self.is_logged_in {
            return Reply::new(530, "5.7.0 log in first");
        }
        if envelope.size.is_some_and(|size| size > SIZE) {
            return Reply::new(552, "5.3.4 too big");
        }
        self.envelope = Some(envelope);
        Reply::new(250, "2.1.0 sender ok")
    }

    fn rcpt(&mut self, address: String) -> Reply {
        let Some(envelope) = &mut self.envelope else {
            return Reply::new(503, "5.5.1 MAIL first");
        };
        if envelope.to.len() >= RECIPIENTS {
            return Reply::new(452, "4.5.3 too many recipients");
        }
        envelope.to.push(address);
        Reply::new(250, "2.1.5 recipient ok")
    }

    fn data(&self) -> Reply {
        match &self.envelope {
            None => Reply::new(503, "5.5.1 MAIL first"),
            Some(envelope) if envelope.to.is_empty() => Reply::new(554, "5.5.1 no valid recipients"),
            Some(_) => Reply::new(354, "end with a dot on a line of its own"),
        }
    }

    /// Takes the message after its final dot.
    async fn receive(&mut self, body: Body) -> io::Result<Next> {
        let envelope = self.envelope.take().unwrap_or_default();
        let mail = Mail::parse(&body.bytes);
        let site = self.site(&mail);
        let stage = format!("dot:{}", envelope.to.join(","));
        let shared = self.shared;
        self.step(&stage, Some((&site, &mail)), |_| {
            match fault(&body, &envelope, &mail) {
                Some(reply) => reply,
                None => book(shared, &site, &envelope, &mail),
            }
        })
        .await
    }

    /// The account that the mail names, else the sink's own.
    fn site(&self, mail: &Mail) -> Arc<Site> {
        let account: AccountId = mail
            .header("x-vardkase-account")
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(sink_account);
        let mode: Mode = mail
            .header("x-vardkase-mode")
            .and_then(|mode| mode.parse().ok())
            .unwrap_or(Mode::Live);
        self.shared.mail_site(mode, &account)
    }

    /// One stage of the dialogue: remembers it, applies faults around `done`, replies.
    async fn step(
        &mut self,
        stage: &str,
        mail: Option<(&Site, &Mail)>,
        done: impl FnOnce(&mut Self) -> Reply,
    ) -> io::Result<Next> {
        let (mode, account) = mail.map_or_else(
            || (Mode::Live, sink_account()),
            |(site, _)| (site.mode, site.account.clone()),
        );
        let mut strike = self.shared.strike(mode, &account, "SMTP", stage);
        if strike.how.is_none() && account != sink_account() {
            let also = self.shared.strike(Mode::Live, &sink_account(), "SMTP", stage);
            strike.delay += also.delay;
            strike.how = also.how;
        }
        let ticket = self.shared.saw(&Seen {
            account,
            at: self.shared.clock.now(),
            method: "SMTP".to_owned(),
            path: stage.to_owned(),
            key: mail.and_then(|(_, mail)| mail.header("message-id")),
            status: 0,
        });
        if !strike.delay.is_zero() {
            tokio::time::sleep(strike.delay).await;
        }
        let reply = match &strike.how {
            None | Some(How::Delay(_)) => done(self),
            Some(How::Answer { status, body, .. }) => instead(*status, body.as_deref()),
            Some(How::DoneThenAnswer { status, body, .. }) => {
                done(self);
                instead(*status, body.as_deref())
            }
            Some(How::Cut) => return Ok(Next::Close),
            Some(How::Hang) => return std::future::pending().await,
            Some(how) => {
                let reply = done(self);
                self.misbehave(how, &reply).await?;
                return Ok(Next::Close);
            }
        };
        self.note(ticket, &reply);
        self.say(&reply).await?;
        // 421 says that the server closes, and so it does.
        Ok(
            if reply.code == 421 || (stage == "connect" && reply.code >= 400) {
                Next::Close
            } else {
                Next::Go
            },
        )
    }

    fn note(&self, ticket: Ticket, reply: &Reply) {
        self.shared.answered(ticket, reply.code);
    }

    /// In two segments, so that a client that takes what one read gives for a whole reply is found out.
    async fn say(&self, reply: &Reply) -> io::Result<()> {
        let text = reply.wire();
        let (first, rest) = text.split_at(text.len() / 2);
        misbehave::send(self.stream, first).await?;
        tokio::task::yield_now().await;
        misbehave::send(self.stream, rest).await
    }

    async fn misbehave(&self, how: &How, reply: &Reply) -> io::Result<()> {
        let text = reply.wire();
        match how {
            How::DoneThenCut(at) => misbehave::cut_bytes(self.stream, *at, &text).await,
            How::DoneThenBytes(bytes) => misbehave::send(self.stream, bytes).await,
            How::Trickle => misbehave::trickle(self.stream, &text).await,
            How::Huge(bytes) | How::Bomb(bytes) => self.endless(reply.code, *bytes).await,
            How::ManyHeaders(lines) => self.endless(reply.code, u64::from(*lines) * 16).await,
            How::DoneThenHang | How::Hang => std::future::pending().await,
            How::Cut | How::Answer { .. } | How::DoneThenAnswer { .. } | How::Delay(_) => Ok(()),
        }
    }

    /// A reply that goes on and on.
    async fn endless(&self, code: u16, bytes: u64) -> io::Result<()> {
        // As long as RFC 5321 lets a reply line be.
        let line = format!("{code}-{}\r\n", "x".repeat(506));
        let block = line.repeat(128);
        let mut sent = 0;
        while sent < bytes {
            misbehave::send(self.stream, block.as_bytes()).await?;
            sent += block.len() as u64;
        }
        misbehave::send(self.stream, format!("{code} end\r\n").as_bytes()).await
    }
}

/// What is wrong with a message, if anything.
fn fault(body: &Body, envelope: &Envelope, mail: &Mail) -> Option<Reply> {
    if body.is_too_big {
        Some(Reply::new(552, "5.3.4 too big"))
    } else if body.has_bare_ending {
        Some(Reply::new(550, "5.6.11 a line ends without CR LF"))
    } else if body.has_long_line {
        Some(Reply::new(550, "5.6.0 a line is longer than 998 octets"))
    } else if !envelope.is_8bit && !body.bytes.is_ascii() {
        Some(Reply::new(554, "5.6.1 8-bit content without BODY=8BITMIME"))
    } else if ["from", "date", "message-id", "subject"]
        .iter()
        .any(|name| mail.count(name) != 1)
    {
        Some(Reply::new(
            550,
            "5.6.0 From, Date, Message-ID and Subject must each stand once",
        ))
    } else {
        unsubscribing(mail).err().map(|text| Reply::new(550, text))
    }
}

/// Where a reader leaves the list with one click, if the mail says so. Both headers or none, each once, and an https
/// address (RFC 8058 §3.1); who hides in the address is asked for a proof, so that it is not guessed.
fn unsubscribing(mail: &Mail) -> Result<Option<String>, &'static str> {
    let (place, post) = ("list-unsubscribe", "list-unsubscribe-post");
    match (mail.count(place), mail.count(post)) {
        (0, 0) => return Ok(None),
        (1, 1) => {}
        (1, 0) => return Err("5.7.1 List-Unsubscribe without List-Unsubscribe-Post is no one-click"),
        _ => return Err("5.6.0 List-Unsubscribe and List-Unsubscribe-Post must each stand once"),
    }
    if mail.header(post).as_deref() != Some("List-Unsubscribe=One-Click") {
        return Err("5.6.0 List-Unsubscribe-Post must be List-Unsubscribe=One-Click");
    }
    let given = mail.header(place).unwrap_or_default();
    let mut places = given
        .split(',')
        .filter_map(|one| one.trim().strip_prefix('<')?.strip_suffix('>'));
    let https = places.find(|one| url::Url::parse(one).is_ok_and(|url| url.scheme() == "https"));
    let https = https.ok_or("5.6.0 List-Unsubscribe needs an https address")?;
    if mail.header("list-id").is_none() {
        return Err("5.6.0 List-Unsubscribe without List-Id");
    }
    Ok(Some(https.to_owned()))
}

/// Books a mail, once for each recipient.
fn book(shared: &Shared, site: &Site, envelope: &Envelope, mail: &Mail) -> Reply {
    let queue_id = hex::encode_upper(rand::random::<[u8; 6]>());
    let unsubscribe = unsubscribing(mail).ok().flatten();
    for recipient in &envelope.to {
        let is_public = recipient != crate::channel::email::PRACTICE_BACKSTAGE;
        let posted = Posted {
            account: site.account.clone(),
            mode: site.mode,
            remote_id: queue_id.clone(),
            text: mail.text.clone(),
            links: super::page::links(&mail.text),
            key: mail.header("message-id"),
            in_reply_to: mail.header("in-reply-to"),
            recipient: Some(recipient.clone()),
            subject: mail.header("subject"),
            at: shared.clock.now(),
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: unsubscribe
                .iter()
                .map(|place| ("unsubscribe".to_owned(), place.clone()))
                .collect(),
        };
        site.book(posted, is_public);
    }
    Reply::new(250, format!("2.0.0 Ok: queued as {queue_id}"))
}

fn instead(code: u16, text: Option<&str>) -> Reply {
    let text = text.unwrap_or("the practice wall answers like this on command");
    Reply {
        code,
        lines: text.lines().map(str::to_owned).collect(),
    }
}
