//! One account of one channel on a wall of its own, through the adapter as the product makes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use vardkase::channel::{Channel, Kind, Parts, Settings, Transport, secrets::InMemory};
use vardkase::clock::{Clock, SystemClock, Timestamp, later};
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::config::{Relay, RelayTls};
use vardkase::model::{
    AccountId, Kind as Does, Lang, Mode, Post, Proof, Purpose, Question, Reason, Receipt, Recipient,
    Rendering, SendError, Settled, Unit, Variant,
};
use vardkase::wall::{Fault, Guise, How, Posted, Seen, Simulated, Wall};

use crate::support::{BROWSERS, NUMBERS, section};

pub const SENDER: &str = "Nässjö kommun";
pub const LINK: &str = "https://nassjo.se/kris/koka-vattnet";
pub const LETTERS: &str = "Åsa, Örjan och Ärla ska koka vattnet 🚰🇸🇪 – é, ß, “så”";

/// Whoever the SMTP sink asks to log in.
pub const LOGIN: (&str, &str) = ("vardkase-relay", "kanarie-7f3a9c51e2");

pub struct Lab {
    pub wall: Wall,
    pub kind: &'static Kind,
    pub site: Simulated,
    pub settings: Box<dyn Settings>,
    pub parts: Parts,
    pub channel: Arc<dyn Channel>,
    account: AccountId,
    _folder: TempDir,
}

/// Whom a post on a list channel is for.
fn recipient(kind: &Kind) -> &'static str {
    match kind.id {
        "web-push" => BROWSERS[0],
        "sms-46elks" | "whatsapp" => NUMBERS[0],
        _ => "anna@example.se",
    }
}

/// The client that all labs share: making one reads every certificate of the machine.
pub fn transport() -> Transport {
    Transport::new(Arc::new(SystemClock), Duration::from_secs(2)).unwrap()
}

impl Lab {
    pub async fn open(kind: &'static Kind, http: &Transport) -> Self {
        let lab = Self::open_with(kind, http, "").await;
        lab.unwrap_or_else(|| panic!("{}: its section is not read", kind.id))
    }

    /// The same with more keys; `None` if the channel does not know them.
    pub async fn open_with(kind: &'static Kind, http: &Transport, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let wall = Wall::start(any, any, folder.path(), Arc::new(SystemClock))
            .await
            .unwrap();
        let account: AccountId = "prov".parse().unwrap();
        let site = wall.open_account(Mode::Drill, &account, kind, SENDER);
        if Self::is_mail(kind) {
            wall.require_smtp_login(LOGIN.0, LOGIN.1);
        }
        let source = Source::new("config.toml", format!("{}\n{more}", section(kind.id)));
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        let read = (kind.read)(&mut section);
        section.finish();
        if !source.take_problems().is_empty() {
            return None;
        }
        let settings = read?.at_wall(&site.site);
        let relay = Relay {
            id: "relay".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            port: site.site.smtp.port(),
            tls: RelayTls::None,
            patience: Duration::from_secs(5),
            login: true,
        };
        let parts = Parts {
            account: account.clone(),
            secrets: Arc::new(InMemory::of(
                site.secrets
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )),
            http: http.clone(),
            relays: Arc::from([relay]),
            relay_secrets: Arc::new(InMemory::of([
                ("relay/username", LOGIN.0),
                ("relay/password", LOGIN.1),
            ])),
            sender: SENDER.to_owned(),
            domain: "nassjo.se".to_owned(),
        };
        let channel = settings.open(parts.clone()).unwrap();
        Some(Self {
            wall,
            kind,
            site,
            settings,
            parts,
            channel,
            account,
            _folder: folder,
        })
    }

    /// Whether the exchange is an SMTP dialogue.
    pub fn is_mail(kind: &Kind) -> bool {
        kind.id == "email"
    }

    /// Whether the exchange is one of HTTP requests.
    pub fn is_http(kind: &Kind) -> bool {
        !kind.can.by_hand && !Self::is_mail(kind) && kind.id != "file"
    }

    /// Whether the exchange goes over a network at all.
    pub fn is_networked(kind: &Kind) -> bool {
        Self::is_http(kind) || Self::is_mail(kind)
    }

    /// Everything that must never show.
    pub fn canaries(&self) -> Vec<String> {
        let secrets = self.site.secrets.iter().map(|(_, value)| value.as_str());
        let login = Self::is_mail(self.kind).then_some(LOGIN.1);
        secrets.chain(login).map(str::to_owned).collect()
    }

    /// Those that the service gets to see; keys of signatures it never does.
    pub fn sent_secrets(&self) -> Vec<String> {
        // Elsewhere the app is named only when a person signs in.
        let renews_with_client = self.kind.id == "linkedin";
        let kept_back = |name: &str| {
            matches!(
                name,
                "hmac_key"
                    | "app_secret"
                    | "consumer_secret"
                    | "access_token_secret"
                    | "vapid_private_key"
                    | "refresh_token"
                    // Whoever takes the public webhook's messages never hears of the other one.
                    | "backstage_webhook"
            ) || (name.starts_with("client_") && !renews_with_client)
        };
        let keys = self.site.secrets.iter().filter(|(name, _)| kept_back(name));
        let keys: Vec<&String> = keys.map(|(_, value)| value).collect();
        let mut secrets = self.canaries();
        secrets.retain(|secret| !keys.contains(&secret));
        secrets
    }

    pub fn proof(&self) -> Proof {
        self.settings.proof().unwrap_or(self.kind.can.proof)
    }

    /// A new message.
    pub fn post(&self) -> Post {
        let now = SystemClock.now();
        let text = format!("ÖVNING: {LETTERS}.\n\n{SENDER}\n{LINK}");
        Post {
            key: vardkase::model::DeliveryId::fresh(),
            alert: "ovning-2026-0007".parse().unwrap(),
            broadcast: "ovning-2026-0007.1".parse().unwrap(),
            kind: Does::Initial,
            mode: Mode::Drill,
            purpose: Purpose::Publish,
            rendering: Rendering {
                headline: "ÖVNING: Koka vattnet".to_owned(),
                count: text.chars().count(),
                text,
                html: None,
                link: LINK.parse().unwrap(),
                languages: vec![Lang::Sv],
                variant: Variant::Short,
                limit: None,
                unit: Unit::Characters,
                picture: None,
            },
            recipient: self
                .kind
                .can
                .recipients
                .then(|| Recipient::new(recipient(self.kind))),
            accepted_at: now,
            valid_until: later(now, Duration::from_hours(1)),
            root: None,
            parent: None,
            // Where there is no post without one, drawing a card each time would take longer than all the rest.
            picture: self
                .settings
                .picture_rule()
                .filter(|rule| rule.required)
                .map(|_| super::small_picture()),
            steps: vardkase::model::Steps::default(),
        }
    }

    /// One attempt as the dispatcher makes it: past the deadline its outcome is unknown.
    pub async fn publish(&self, post: &Post, deadline: Duration) -> Result<Receipt, SendError> {
        tokio::time::timeout(deadline, self.channel.publish(post))
            .await
            .unwrap_or_else(|_| {
                Err(SendError::Unknown(Reason::new(
                    "timeout",
                    "no answer before the deadline",
                )))
            })
    }

    /// Asks at `now` what became of an attempt that began at `since`.
    pub async fn settle(&self, post: &Post, since: Timestamp, now: Timestamp) -> Result<Settled, SendError> {
        let question = Question {
            waited: std::time::Duration::ZERO,
            astray: std::time::Duration::ZERO,
            post: post.clone(),
            until: now,
            since,
            now,
            taken: Vec::new(),
        };
        tokio::time::timeout(Duration::from_secs(10), self.channel.settle(&question))
            .await
            .unwrap_or_else(|_| panic!("{}: settling never ended", self.kind.id))
    }

    /// Makes the request with this number, counted from 0 among those to come, go wrong.
    pub fn strike(&self, number: usize, how: How) {
        let fault = Fault {
            how,
            path: None,
            method: None,
            after: u32::try_from(number).unwrap(),
            times: 1,
        };
        if Self::is_mail(self.kind) {
            self.wall.fault(Mode::Live, &"smtp".parse().unwrap(), fault);
        } else {
            self.wall.fault(Mode::Drill, &self.account, fault);
        }
    }

    /// How the account presents itself from now on.
    pub fn guise(&self, guise: Guise) {
        self.wall.guise(Mode::Drill, &self.account, guise);
    }

    /// What residents can read now.
    pub fn standing(&self) -> Vec<Posted> {
        let mut posts = self.wall.ledger();
        posts.retain(|p| p.account == self.account && p.mode == Mode::Drill && p.deleted_at.is_none());
        posts
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.wall.seen()
    }

    /// Whether a receipt names the post that truly stands.
    pub fn is_true(&self, receipt: &Receipt, posted: &Posted) -> bool {
        // A mail is known by its Message-ID, a receiver that names no id by our key.
        // Slack's webhook names nothing; that one post stands is all there is to compare.
        if self.kind.id == "slack" {
            return true;
        }
        let by_key = matches!(self.kind.id, "email" | "mattermost" | "webhook");
        receipt.remote_id == posted.remote_id || (by_key && posted.key.as_ref() == Some(&receipt.remote_id))
    }
}
