//! The adapters of `webhook`, `http-json`, `file` and `manual` against the practice wall, opened from a configuration as
//! the daemon opens them; and what the tests of the other adapters share.

use std::sync::Arc;
use std::time::Duration;

use vardkase::channel::secrets::InMemory;
use vardkase::channel::{self, Channel, Parts, Secrets, Transport};
use vardkase::clock::{Clock, SystemClock, Timestamp, later};
use vardkase::config::{Config, Relay, RelayTls};
use vardkase::model::{
    AccountId, Kind, Lang, Mode, Post, Purpose, Question, Receipt, Recipient, Rendering, SendError, Settled,
    Unit, Variant,
};
use vardkase::wall::{CutAt, Fault, How, Posted, Wall};

const LINK: &str = "https://nassjo.se/kris";

/// A wall and one account of a configuration on it.
pub struct Stand {
    pub wall: Wall,
    pub account: AccountId,
    pub parts: Parts,
    settings: Box<dyn channel::Settings>,
    _folder: tempfile::TempDir,
}

impl Stand {
    /// Opens the account whose `[account.konto]` holds these keys, on a drill lane.
    pub async fn start(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let wall = Wall::start(any, any, folder.path(), Arc::new(SystemClock))
            .await
            .unwrap();
        let text = format!(
            "[municipality]\nname = \"Nässjö kommun\"\nsite = \"https://nassjo.se\"\n\
             [confirmation]\nto = [\"tib@nassjo.se\"]\nfrom = \"kris@nassjo.se\"\n\
             [[relay]]\nid = \"relay-1\"\nhost = \"smtp.nassjo.se\"\n\
             [list.press]\nrecipients = [\"red@example.org\"]\n\
             [account.konto]\ngroups = [\"alla\"]\n{keys}\n"
        );
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let account: AccountId = "konto".parse().unwrap();
        let configured = &config.accounts[&account];
        let simulated = wall.open_account(Mode::Drill, &account, configured.channel, "Nässjö kommun");
        let settings = configured.settings.at_wall(&simulated.site);
        let secrets = simulated
            .secrets
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let parts = Parts {
            account: account.clone(),
            secrets: Arc::new(InMemory::of(secrets)),
            http: Transport::new(Arc::new(SystemClock), Duration::from_secs(2)).unwrap(),
            relays: Arc::from([Relay {
                id: "relay-1".parse().unwrap(),
                host: wall.smtp().ip().to_string(),
                port: wall.smtp().port(),
                tls: RelayTls::None,
                patience: Duration::from_secs(5),
                login: false,
            }]),
            relay_secrets: Arc::new(InMemory::default()),
            sender: "Nässjö kommun".to_owned(),
            domain: "nassjo.se".to_owned(),
        };
        Self {
            wall,
            account,
            parts,
            settings,
            _folder: folder,
        }
    }

    pub fn open(&self) -> Arc<dyn Channel> {
        self.settings.open(self.parts.clone()).unwrap()
    }

    pub fn ledger(&self) -> Vec<Posted> {
        self.wall
            .ledger()
            .into_iter()
            .filter(|p| p.account == self.account)
            .collect()
    }

    /// Strikes the next request that has `path` in its path.
    pub fn strike(&self, path: Option<&str>, how: How) {
        let path = path.map(str::to_owned);
        let fault = Fault {
            how,
            path,
            method: None,
            after: 0,
            times: 1,
        };
        self.wall.fault(Mode::Drill, &self.account, fault);
    }
}

/// The `n`th post of a drill.
pub fn post(n: u8) -> Post {
    let now: Timestamp = SystemClock.now();
    let text = format!("ÖVNING: Koka vattnet i Nässjö ({n}). /Nässjö kommun\n{LINK}");
    Post {
        key: format!("0193f5b0-0000-7000-8000-0000000000{n:02}")
            .parse()
            .unwrap(),
        alert: "ovning-2026-0001".parse().unwrap(),
        broadcast: format!("ovning-2026-0001.{n}").parse().unwrap(),
        kind: if n == 1 { Kind::Initial } else { Kind::Update },
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
        recipient: None,
        accepted_at: now,
        valid_until: later(now, Duration::from_hours(1)),
        root: None,
        parent: None,
        picture: None,
        steps: vardkase::model::Steps::default(),
    }
}

pub fn to(mut post: Post, address: &str) -> Post {
    post.recipient = Some(Recipient::new(address));
    post
}

pub fn question(post: &Post) -> Question {
    Question {
        waited: std::time::Duration::ZERO,
        astray: std::time::Duration::ZERO,
        post: post.clone(),
        until: SystemClock.now(),
        since: post.accepted_at,
        now: SystemClock.now(),
        taken: Vec::new(),
    }
}

/// Every point at which an exchange can be cut although the service did what was asked.
pub fn cuts() -> Vec<How> {
    vec![
        How::DoneThenCut(CutAt::BeforeHeaders),
        How::DoneThenCut(CutAt::MidHeaders),
        How::DoneThenCut(CutAt::MidBody),
        How::DoneThenCut(CutAt::TruncatedJson),
    ]
}

const WEBHOOK: &str = "channel = \"webhook\"\nendpoint = \"https://tavla.nassjo.se/larm\"";
const SITE: &str = "channel = \"http-json\"\nendpoint = \"https://nassjo.se/rest-api/kris\"";
const FILE: &str = "channel = \"file\"\npath = \"/var/www/kris\"";

#[tokio::test]
async fn each_of_these_channels_publishes_threads_and_takes_away() {
    for keys in [WEBHOOK, SITE, FILE] {
        let stand = Stand::start(keys).await;
        let account = stand.open();
        account.verify().await.unwrap();
        assert!(stand.ledger().is_empty(), "{keys}: verifying publishes nothing");
        let first = post(1);
        let one = account.publish(&first).await.unwrap();
        let mut second = post(2);
        second.root = Some(one.clone());
        second.parent = Some(one);
        let two = account.publish(&second).await.unwrap();
        let ledger = stand.ledger();
        assert_eq!(ledger.len(), 2, "{keys}: {ledger:?}");
        assert!(
            ledger
                .iter()
                .any(|p| p.text.contains("(1)") && p.text.contains("Nässjö kommun")),
            "{ledger:?}"
        );
        assert!(
            ledger.iter().all(|p| p.links.contains(&LINK.to_owned())),
            "{keys}: {ledger:?}"
        );
        account.retract(&two).await.unwrap();
        account.retract(&two).await.unwrap();
        let gone = stand
            .ledger()
            .into_iter()
            .filter(|p| p.deleted_at.is_some())
            .count();
        assert_eq!(gone, 1, "{keys}");
    }
}

#[tokio::test]
async fn a_receiver_that_was_cut_off_after_taking_it_has_it_once_in_the_end() {
    for keys in [WEBHOOK, SITE] {
        for how in cuts() {
            let stand = Stand::start(keys).await;
            let account = stand.open();
            let post = post(1);
            stand.strike(None, how.clone());
            let lost = account.publish(&post).await.unwrap_err();
            assert_eq!(lost.as_str(), "unknown", "{keys} {how:?}: {lost}");
            assert_eq!(account.settle(&question(&post)).await.unwrap(), Settled::Absent);
            account.publish(&post).await.unwrap();
            assert_eq!(stand.ledger().len(), 1, "{keys} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_file_is_settled_by_reading_it_back() {
    let stand = Stand::start(FILE).await;
    let account = stand.open();
    let post = post(1);
    assert_eq!(account.settle(&question(&post)).await.unwrap(), Settled::Absent);
    let receipt: Receipt = account.publish(&post).await.unwrap();
    assert_eq!(
        account.settle(&question(&post)).await.unwrap(),
        Settled::Found(receipt)
    );
}

#[tokio::test]
async fn a_wrong_credential_is_told_as_such() {
    for keys in [WEBHOOK, SITE] {
        let mut stand = Stand::start(keys).await;
        let wrong: Arc<dyn Secrets> = Arc::new(InMemory::of([("bearer", "fel"), ("hmac_key", "fel")]));
        stand.parts.secrets = wrong;
        let refused = stand.open().publish(&post(1)).await.unwrap_err();
        assert!(matches!(refused, SendError::Credential(_)), "{refused}");
        assert!(stand.ledger().is_empty());
    }
}

#[tokio::test]
async fn a_manual_account_shows_its_instructions_and_sends_nothing() {
    let stand = Stand::start("channel = \"manual\"\ninstructions = \"Ring P4.\"").await;
    assert_eq!(stand.settings.instructions(), Some("Ring P4."));
    assert_eq!(
        stand.open().publish(&post(1)).await.unwrap_err().as_str(),
        "refused"
    );
    assert!(stand.wall.seen().is_empty());
}
