//! The channels: the contract of an adapter, the registry, and the one HTTP transport.
//!
//! A channel knows neither the store nor the dispatcher. It makes exactly one attempt when told to, and says truly what
//! it knows of the outcome. Pace, retries, order and the journal belong to `dispatch`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::{
    AccountId, AddressKind, Arrival, Cost, PictureRule, Post, Proof, Question, Quota, Reason, Receipt,
    Recipient, Rendering, SendError, Settled,
};

mod backstage;
pub mod bluesky;
pub mod discord;
pub mod document;
pub mod email;
pub mod facebook_page;
pub mod file;
mod graph;
mod hook;
pub(crate) mod html;
pub mod http_json;
pub mod instagram;
pub mod linkedin;
pub mod manual;
mod markdown;
pub mod mastodon;
pub mod matrix;
pub mod mattermost;
pub mod ntfy;
mod patience;
mod phone;
mod portrait;
pub(crate) mod public_folder;
mod quota;
pub mod secrets;
pub mod shown;
pub mod sign_in;
pub mod slack;
pub mod sms_46elks;
pub mod teams;
pub mod telegram;
#[cfg(test)]
pub(crate) mod testing;
pub mod threads;
pub mod transport;
pub mod web_push;
pub mod webhook;
pub mod whatsapp;
mod without;
pub mod wordpress;
pub mod x;

pub use crate::model::{Identity, Latest, Profile, Rights};
pub use secrets::Secrets;
pub use shown::{Caveat, Shown};
pub use sign_in::SignIn;
pub use transport::Transport;

/// Every channel that we speak: a file, its `mod` line, a row here.
pub const REGISTRY: &[&Kind] = &[
    &bluesky::KIND,
    &discord::KIND,
    &email::KIND,
    &facebook_page::KIND,
    &file::KIND,
    &http_json::KIND,
    &instagram::KIND,
    &linkedin::KIND,
    &manual::KIND,
    &mastodon::KIND,
    &matrix::KIND,
    &mattermost::KIND,
    &ntfy::KIND,
    &slack::KIND,
    &sms_46elks::KIND,
    &teams::KIND,
    &telegram::KIND,
    &threads::KIND,
    &web_push::KIND,
    &webhook::KIND,
    &whatsapp::KIND,
    &wordpress::KIND,
    &x::KIND,
];

/// A kind of outlet: what `[account.<id>] channel = "…"` names.
#[derive(Debug)]
pub struct Kind {
    /// Its name in `config.toml`.
    pub id: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// What it can.
    pub can: Capabilities,
    /// The secrets that the vault must or may hold for an account of this kind.
    pub secrets: &'static [SecretName],
    /// Pace as the service publishes it, with headroom; the account's `rate` key replaces it.
    pub pace: Pace,
    /// The shortest time between two verifications on schedule, zero if any will do: what a service counts or charges for is
    /// kept for a crisis.
    pub verify_every: Duration,
    /// Reads the channel's own keys from `[account.<id>]`. Problems go to the section; `None` if any was found.
    pub read: fn(&mut Section<'_>) -> Option<Box<dyn Settings>>,
}

/// A secret's name in the vault, under the account's id.
#[derive(Debug, Clone, Copy)]
pub struct SecretName {
    /// As given to `credentials set`.
    pub name: &'static str,
    /// Whether the channel works without it.
    pub required: bool,
    /// Set by the daemon itself (a rotated session), never by a person.
    pub internal: bool,
}

/// How fast an account may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At most this many attempts (0: no limit) …
    pub attempts: u32,
    /// … in this time, spread evenly after the burst.
    pub per: Duration,
    /// How many may go at once from rest.
    pub burst: u32,
    /// How many attempts of one broadcast may be under way at once; 1 except on list channels.
    pub parallel: u32,
}

/// What a channel can and cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a table of capabilities is what this is"
)]
pub struct Capabilities {
    /// How surely a second post is avoided.
    pub proof: Proof,
    /// Later broadcasts of an alert stand under the first.
    pub thread: bool,
    /// A published text can be changed.
    pub edit: bool,
    /// A published post can be taken away.
    pub retract: bool,
    /// A post can be kept on top of the account's page.
    pub pin: bool,
    /// A picture with alternative text can stand in the post.
    pub picture: bool,
    /// The post shows a card for the link.
    pub link_card: bool,
    /// One delivery per recipient of a list.
    pub recipients: bool,
    /// No attempt is made: the text goes to a person at once.
    pub by_hand: bool,
    /// The account has a profile that can be read.
    pub profile: bool,
    /// A message can be published where the public cannot see, read back and taken away.
    pub backstage: bool,
}

/// An account's own keys, read and valid, without its secrets.
pub trait Settings: fmt::Debug + Send + Sync {
    /// How the account counts and limits text.
    fn text_rule(&self) -> TextRule;

    /// How many posts one text may take: more than one on an account that makes a thread of a long text. Each then fits
    /// [`Self::text_rule`] as [`crate::compose::parts`] takes the text apart.
    fn parts(&self) -> usize {
        1
    }

    /// The same account with every address at the practice wall. It shares no address with the original.
    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings>;

    /// The channel's keys that are addresses, as they stand now: for writing a configuration.
    fn addresses(&self) -> Vec<(&'static str, String)>;

    /// Lists on this account, if it is a list channel.
    fn list(&self) -> Option<&crate::model::ListId> {
        None
    }

    /// What the addresses of its list are, if it is a list channel.
    fn addresses_of(&self) -> AddressKind {
        AddressKind::Mail
    }

    /// The same account with what its list asks for, if that concerns the channel.
    fn with_list(&self, _list: &crate::config::List) -> Option<Box<dyn Settings>> {
        None
    }

    /// How surely a second post is avoided on this account, where that differs from what its kind can.
    fn proof(&self) -> Option<Proof> {
        None
    }

    /// Whether later broadcasts of an alert stand under the first on this account, where that differs from its kind.
    fn replies(&self) -> Option<bool> {
        None
    }

    /// Whether a post of this account can be taken away, where that differs from its kind.
    fn retracts(&self) -> Option<bool> {
        None
    }

    /// Whether this account has a place that the public cannot see, where that differs from its kind.
    fn backstage(&self) -> Option<bool> {
        None
    }

    /// What happens to every message here otherwise than people expect.
    fn caveats(&self) -> &'static [Caveat] {
        &[]
    }

    /// Why the service would refuse a text that keeps [`Self::text_rule`], in a Swedish sentence that says what to
    /// change: too many links, or too large once it has the service's form. A shorter text is then tried.
    fn refuses(&self, _rendering: &Rendering) -> Option<String> {
        None
    }

    /// What those who read the account get to see of a rendering, part by part, to the letter.
    fn as_shown(&self, rendering: &Rendering, _kind: crate::model::Kind) -> Vec<Shown> {
        vec![Shown::new("text", &rendering.text)]
    }

    /// What it takes as a picture; `None` if it takes none.
    fn picture_rule(&self) -> Option<PictureRule> {
        None
    }

    /// What a text comes to for so many recipients, on channels that are paid by the piece.
    fn cost(&self, _text: &str, _recipients: usize) -> Option<Cost> {
        None
    }

    /// What a person needs to know to publish by hand; shown with a handed-over delivery.
    fn instructions(&self) -> Option<&str> {
        None
    }

    /// What its configuration should be warned of at `now`, in an English sentence, though it is valid today.
    fn warning(&self, _now: Timestamp) -> Option<String> {
        None
    }

    /// How a person signs the account in at its service; `None` where the credentials are made by hand.
    fn sign_in(&self, _parts: &Parts) -> Option<Box<dyn SignIn>> {
        None
    }

    /// Makes the adapter.
    ///
    /// # Errors
    /// If a required secret is missing: what to do about it stands in the reason.
    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason>;
}

/// What an adapter is made of besides its settings.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Which account it is.
    pub account: AccountId,
    /// The account's secrets, and where rotated ones are written before use.
    pub secrets: Arc<dyn Secrets>,
    /// The one HTTP transport.
    pub http: Transport,
    /// SMTP relays, most preferred first; on a drill lane the wall's sink and nothing else.
    pub relays: Arc<[crate::config::Relay]>,
    /// The relays' log-ins, by the names `<relay id>/username` and `<relay id>/password`.
    pub relay_secrets: Arc<dyn Secrets>,
    /// The sender's name, for channels that need one beside the text.
    pub sender: String,
    /// The domain for Message-IDs and the like: the host of the municipality's site.
    pub domain: String,
}

/// Where on the practice wall an account stands.
#[derive(Debug, Clone)]
pub struct WallSite {
    /// The base address of this account's simulated service; a path prefix, no trailing slash.
    pub base: Url,
    /// The wall's SMTP sink.
    pub smtp: SocketAddr,
    /// The wall's SFTP server.
    pub sftp: SftpSite,
    /// A folder that the wall shows.
    pub folder: std::path::PathBuf,
}

/// An SFTP server on this machine, and the key by which it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpSite {
    /// Where it listens.
    pub address: SocketAddr,
    /// `SHA256:` and the digest of its key in base64.
    pub host_key: String,
}

/// One account on one service. Adapters keep no state but what a session needs.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// Makes exactly one attempt. The caller puts a deadline on it; dropping the future abandons it.
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError>;

    /// Finds out what became of an earlier attempt. Has no effect on the account.
    async fn settle(&self, question: &Question) -> Result<Settled, SendError>;

    /// Takes a published post away. Already gone counts as done. Repeating it is harmless.
    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        Err(SendError::Refused(Reason::new(
            "no-retract",
            format!("this channel cannot take {} away", receipt.remote_id),
        )))
    }

    /// Changes a published post into this one. Repeating it is harmless.
    async fn edit(&self, receipt: &Receipt, _post: &Post) -> Result<Receipt, SendError> {
        Err(SendError::Refused(Reason::new(
            "no-edit",
            format!("this channel cannot change {}", receipt.remote_id),
        )))
    }

    /// Keeps a published post on top of the account's page. Repeating it is harmless.
    async fn pin(&self, receipt: &Receipt) -> Result<(), SendError> {
        Err(SendError::Refused(Reason::new(
            "no-pin",
            format!("this channel cannot pin {}", receipt.remote_id),
        )))
    }

    /// Undoes [`Self::pin`]. Not pinned any more counts as done.
    async fn unpin(&self, receipt: &Receipt) -> Result<(), SendError> {
        Err(SendError::Refused(Reason::new(
            "no-pin",
            format!("this channel cannot unpin {}", receipt.remote_id),
        )))
    }

    /// Whether the service is asked to tell later what became of its messages.
    fn hears(&self) -> bool {
        false
    }

    /// Puts a page that stands for good in the place of the one of its name. Repeating it is harmless. Returns where it
    /// stands, if the service says so.
    async fn place(&self, page: &StandingPage) -> Result<Option<String>, SendError> {
        Err(SendError::Refused(Reason::new(
            "no-page",
            format!("this channel cannot keep the page {}", page.name),
        )))
    }

    /// Reads what is told later of messages that the service took. Believes nothing that it cannot prove.
    ///
    /// # Errors
    /// Why it is not taken.
    fn hear(&self, _call: &Call<'_>) -> Result<Heard, Reason> {
        Err(Reason::new("no-reports", "this channel gets no delivery reports"))
    }

    /// Whose wish to leave the account's list a token proves.
    ///
    /// # Errors
    /// Why it is not believed.
    fn leaver(&self, _token: &str) -> Result<Recipient, Reason> {
        Err(Reason::new(
            "no-list",
            "nobody leaves a list of this account by a link",
        ))
    }

    /// What the service said with its latest answers of how much more it takes. Each word of it is given once.
    fn quota(&self) -> Option<Quota> {
        None
    }

    /// Proves that the account works. Publishes nothing. Returns who the service says we are.
    async fn verify(&self) -> Result<Identity, SendError>;

    /// Reads how the account looks to its readers. Has no effect on it. `None` where there is no profile to read.
    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        Ok(None)
    }

    /// Publishes where the public cannot see, reads it back, and takes it away again. Whatever comes of it, nothing stands
    /// in public at any moment, and what could not be taken away is named in the error.
    async fn backstage(&self, _post: &Post) -> Result<Backstage, SendError> {
        Err(SendError::Refused(Reason::new(
            "no-backstage",
            "this channel has no place that the public cannot see",
        )))
    }

    /// Renews the credential if that is due at `now`, long before it ends. A renewed one is on disk before it is used, and
    /// however many ask at once, it is renewed once.
    async fn renew(&self, _now: Timestamp) -> Result<Renewal, SendError> {
        Ok(Renewal::Never)
    }
}

/// What became of a credential when it was looked whether it has to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The service has no renewal, or the vault lacks what it takes.
    Never,
    /// It is not due.
    NotYet {
        /// When it is.
        due_at: Option<Timestamp>,
        /// When the credential ends.
        expires_at: Option<Timestamp>,
    },
    /// It was renewed.
    Done {
        /// When the new one ends.
        expires_at: Option<Timestamp>,
    },
}

/// What a message backstage came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Backstage {
    /// Where it stood, in an English phrase: `as an unpublished post`.
    pub place: String,
    /// Whether it was read back as it was written.
    pub read_back: bool,
    /// Whether it was taken away; `false` only where it vanishes by itself, or lies in a place of our own that keeps what
    /// it is given.
    pub removed: bool,
}

/// A call from outside, for one account.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whether it asks (`GET`) and tells nothing.
    pub asks: bool,
    /// Its query, decoded.
    pub query: &'a [(String, String)],
    /// Its body as a form, decoded.
    pub form: &'a [(String, String)],
    /// Its body as it came.
    pub body: &'a [u8],
    /// What `X-Hub-Signature-256` holds, if it is there and text.
    pub signature: Option<&'a str>,
}

impl Call<'_> {
    /// The one field of that name; `None` if there are several.
    pub(crate) fn one<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
        let mut found = fields.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        value.filter(|_| found.next().is_none())
    }
}

/// What a call told, once it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// How far messages have come.
    Arrivals(Vec<Arrival>),
    /// The service wants to hear this again, to know that we are there.
    Echo(String),
}

/// A page that is no message: it stands until it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingPage {
    /// The same for every try to put these very words there now.
    pub key: String,
    /// Its short name: the last part of its address, and the stem of its files.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// A fragment of HTML, made by us.
    pub html: String,
    /// The same for programs.
    pub json: String,
    /// Who says it.
    pub sender: String,
}

impl Kind {
    /// Whether a change of a published text can bring another picture: where not, the earlier one stays.
    pub fn changes_picture(&self) -> bool {
        self.can.edit && self.can.picture && !matches!(self.id, "linkedin" | "matrix")
    }
}

/// The kind named `id`.
pub fn kind(id: &str) -> Option<&'static Kind> {
    REGISTRY.iter().copied().find(|kind| kind.id == id)
}
