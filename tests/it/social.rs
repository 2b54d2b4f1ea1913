//! What the tests of the social channels share: one account on the practice wall and the adapter that speaks to it,
//! made the way the daemon makes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vardkase::channel::secrets::InMemory;
use vardkase::channel::{self, Channel, Parts, Transport};
use vardkase::clock::{Clock, SystemClock, later};
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{
    AccountId, DeliveryId, Kind, Lang, Mode, Picture, Post, Purpose, Question, Receipt, Rendering, SendError,
    Settled, Unit, Variant,
};
use vardkase::wall::{CutAt, Fault, Guise, How, Posted, Simulated, Wall};

/// The text of the posts, as long as a real one.
pub(crate) const TEXT: &str = "ÖVNING: Koka vattnet i Nässjö tätort.\n\nBakterier <E. coli> & annat har hittats. \
     Nässjö kommun. https://nassjo.se/kris/viktigt-meddelande/koka-vattnet?m=1&n=2";
/// The link at its end.
pub(crate) const LINK: &str = "https://nassjo.se/kris/viktigt-meddelande/koka-vattnet?m=1&n=2";

/// An account on the wall.
pub(crate) struct Practice {
    wall: Wall,
    _folder: tempfile::TempDir,
    account: AccountId,
    site: Simulated,
    settings: Box<dyn channel::Settings>,
    pub(crate) channel: Arc<dyn Channel>,
}

impl Practice {
    /// Starts a wall with one account of this channel; `keys` is what `config.toml` says of it.
    pub(crate) async fn start(kind: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let wall = Wall::start(any, any, folder.path(), Arc::new(SystemClock))
            .await
            .unwrap();
        let account: AccountId = "kommunen".parse().unwrap();
        let kind = channel::kind(kind).unwrap();
        let site = wall.open_account(Mode::Drill, &account, kind, "Nässjö kommun");
        let source = Source::new("config.toml", keys);
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        let settings = (kind.read)(&mut section).unwrap().at_wall(&site.site);
        section.finish();
        let channel = open(settings.as_ref(), &site.secrets);
        Self {
            wall,
            _folder: folder,
            account,
            site,
            settings,
            channel,
        }
    }

    /// The same account with other secrets.
    pub(crate) fn with_secret(&self, name: &str, value: &str) -> Arc<dyn Channel> {
        let mut secrets = self.site.secrets.clone();
        for secret in secrets.iter_mut().filter(|secret| secret.0 == name) {
            value.clone_into(&mut secret.1);
        }
        open(self.settings.as_ref(), &secrets)
    }

    /// The same account with several other secrets.
    pub(crate) fn with_secrets(&self, changed: &[(&str, &str)]) -> Arc<dyn Channel> {
        let mut secrets = self.site.secrets.clone();
        for (name, value) in &mut secrets {
            if let Some((_, new)) = changed.iter().find(|(known, _)| known == name) {
                (*new).clone_into(value);
            }
        }
        open(self.settings.as_ref(), &secrets)
    }

    /// One of its secrets.
    pub(crate) fn secret(&self, name: &str) -> String {
        let mut all = self.site.secrets.iter();
        all.find(|(known, _)| known == name).unwrap().1.clone()
    }

    /// How the account presents itself from now on.
    pub(crate) fn guise(&self, guise: Guise) {
        self.wall.guise(Mode::Drill, &self.account, guise);
    }

    /// The adapter with the address of another wall's SFTP server and the key of its own.
    pub(crate) fn at_the_sftp_server_of(&self, other: &Self) -> Arc<dyn Channel> {
        let mut site = self.site.site.clone();
        site.sftp.address = other.site.site.sftp.address;
        let settings = self.settings.at_wall(&site);
        open(settings.as_ref(), &self.site.secrets)
    }

    /// The next request of this method goes wrong like this.
    pub(crate) fn strike(&self, method: &str, how: How) {
        let fault = Fault {
            how,
            path: None,
            method: Some(method.to_owned()),
            after: 0,
            times: 1,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }

    /// The request with this number, counted from 0 among those to come, goes wrong like this.
    pub(crate) fn strike_at(&self, number: usize, how: How) {
        let fault = Fault {
            how,
            path: None,
            method: None,
            after: u32::try_from(number).unwrap(),
            times: 1,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }

    /// How many requests of this method it saw at an address that contains this.
    pub(crate) fn seen_below(&self, method: &str, path: &str) -> usize {
        let seen = self.wall.seen();
        let meant = seen
            .iter()
            .filter(|seen| seen.method == method && seen.path.contains(path));
        meant.count()
    }

    /// So many requests whose path contains this go wrong like this.
    pub(crate) fn strike_path(&self, path: &str, times: u32, how: How) {
        let fault = Fault {
            how,
            path: Some(path.to_owned()),
            method: None,
            after: 0,
            times,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }

    /// The request after the first `after` goes wrong like this.
    pub(crate) fn cut_at(&self, after: usize, path: Option<&str>, how: How) {
        let fault = Fault {
            how,
            path: path.map(str::to_owned),
            method: None,
            after: u32::try_from(after).unwrap(),
            times: 1,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }

    /// The adapter as a daemon has it that has just started.
    pub(crate) fn restarted(&self) -> Arc<dyn Channel> {
        open(self.settings.as_ref(), &self.site.secrets)
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.wall.seen().len()
    }

    /// How one text stands there, part by part: what was published and not taken away, oldest first.
    pub(crate) fn standing(&self) -> Vec<Posted> {
        let all = self.ledger().into_iter();
        all.filter(|posted| posted.deleted_at.is_none()).collect()
    }

    /// How many requests it saw whose path contains this.
    pub(crate) fn uploads(&self, path: &str) -> usize {
        let seen = self.wall.seen();
        seen.iter().filter(|seen| seen.path.contains(path)).count()
    }

    /// Publishes as the dispatcher would: settles what is unknown and tries again until there is a receipt.
    pub(crate) async fn publish_at_last(&self, post: &Post) -> Receipt {
        for _ in 0..8 {
            let attempt = self.channel.publish(post);
            let error = match tokio::time::timeout(Duration::from_millis(1500), attempt).await {
                Ok(Ok(receipt)) => return receipt,
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            match error {
                Some(SendError::NotSent(_) | SendError::Busy { .. }) => {}
                Some(SendError::Unknown(_)) | None => {
                    if let Settled::Found(receipt) = self.settle(post).await {
                        return receipt;
                    }
                }
                Some(other @ (SendError::Refused(_) | SendError::Credential(_))) => panic!("{other}"),
            }
        }
        panic!("it never gets through");
    }

    /// What the service truly took.
    pub(crate) fn ledger(&self) -> Vec<Posted> {
        self.wall.ledger()
    }

    /// How many requests of this method it saw.
    pub(crate) fn seen(&self, method: &str) -> usize {
        self.wall
            .seen()
            .iter()
            .filter(|seen| seen.method == method)
            .count()
    }

    /// No secret stands in what went wrong.
    pub(crate) fn assert_discreet(&self, err: &SendError) {
        for (name, secret) in &self.site.secrets {
            assert!(!format!("{err} {err:?}").contains(secret), "{name} in {err:?}");
        }
        assert!(!format!("{:?}", self.channel).contains(&self.site.secrets[0].1));
    }

    /// Asks until it is settled, as the dispatcher would.
    pub(crate) async fn settle(&self, post: &Post) -> Settled {
        let since = post.accepted_at;
        for _ in 0..20 {
            let question = Question {
                waited: std::time::Duration::ZERO,
                astray: std::time::Duration::ZERO,
                post: post.clone(),
                until: SystemClock.now(),
                since,
                now: SystemClock.now(),
                taken: Vec::new(),
            };
            match self.channel.settle(&question).await {
                Ok(settled) => return settled,
                Err(SendError::NotSent(reason)) if reason.code == "not-yet" => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("it is never settled");
    }
}

fn open(settings: &dyn channel::Settings, secrets: &[(String, String)]) -> Arc<dyn Channel> {
    let pairs = secrets
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    settings
        .open(Parts {
            account: "kommunen".parse().unwrap(),
            secrets: Arc::new(InMemory::of(pairs)),
            http: Transport::new(Arc::new(SystemClock), Duration::from_secs(2)).unwrap(),
            relays: Arc::from([]),
            relay_secrets: Arc::new(InMemory::default()),
            sender: "Nässjö kommun".to_owned(),
            domain: "nassjo.se".to_owned(),
        })
        .unwrap()
}

/// A new delivery of this text.
pub(crate) fn post(text: &str) -> Post {
    let now = SystemClock.now();
    Post {
        key: DeliveryId::fresh(),
        alert: "ovning-2026-0001".parse().unwrap(),
        broadcast: "ovning-2026-0001.1".parse().unwrap(),
        kind: Kind::Initial,
        mode: Mode::Drill,
        purpose: Purpose::Publish,
        rendering: Rendering {
            headline: "ÖVNING: Koka vattnet".to_owned(),
            text: text.to_owned(),
            html: None,
            link: LINK.parse().unwrap(),
            languages: vec![Lang::Sv],
            variant: Variant::Short,
            count: text.chars().count(),
            limit: None,
            unit: Unit::Characters,
            picture: None,
        },
        recipient: None,
        accepted_at: now,
        valid_until: later(now, Duration::from_hours(1)),
        root: None,
        parent: None,
        picture: None,
        steps: vardkase::model::Steps::default(),
    }
}

/// A new delivery of a text of four parts on an account that takes 300 characters in each, two on one that takes 500.
pub(crate) fn long_post() -> Post {
    let sentence = "Koka allt vatten som du dricker eller lagar mat med, tills det bubblar. ";
    let body = format!("ÖVNING: Koka vattnet\n\n{}", sentence.repeat(11).trim());
    post(&format!("{body}\n\nNässjö kommun\n{LINK}"))
}

/// A picture of so many bytes.
pub(crate) fn picture(size: usize) -> Arc<Picture> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.resize(size, 7);
    Arc::new(Picture {
        bytes,
        media_type: "image/png",
        width: 1200,
        height: 630,
        alt: "Karta över Nässjö: området där vattnet ska kokas.".to_owned(),
    })
}

/// Every way in which one request of an exchange can fail, with its effect and without.
pub(crate) fn every_cut() -> Vec<How> {
    vec![
        How::Cut,
        How::Hang,
        How::DoneThenHang,
        How::DoneThenCut(CutAt::BeforeHeaders),
        How::DoneThenCut(CutAt::MidBody),
        How::DoneThenAnswer {
            status: 504,
            headers: Vec::new(),
            body: Some(String::new()),
        },
    ]
}

/// The same as an answer to `parent`.
pub(crate) fn reply(text: &str, parent: &Receipt) -> Post {
    Post {
        root: Some(parent.clone()),
        parent: Some(parent.clone()),
        ..post(text)
    }
}

/// Every way in which a service can take a post and lose the answer.
pub(crate) fn lost_answers() -> Vec<How> {
    let bad_gateway = How::DoneThenAnswer {
        status: 504,
        headers: Vec::new(),
        body: Some("<html>504 Gateway Time-out</html>".to_owned()),
    };
    vec![
        How::DoneThenCut(CutAt::BeforeHeaders),
        How::DoneThenCut(CutAt::Reset),
        How::DoneThenCut(CutAt::MidHeaders),
        How::DoneThenCut(CutAt::MidBody),
        How::DoneThenCut(CutAt::TruncatedJson),
        How::Huge(2 * 1024 * 1024),
        How::Bomb(64 * 1024 * 1024),
        How::ManyHeaders(100_000),
        bad_gateway,
    ]
}
