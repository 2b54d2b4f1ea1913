//! What may be asked of the application, and what it answers: the bodies of the HTTP API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::pictures::PicturePreview;
use crate::channel::{Capabilities, Shown};
use crate::check::Finding;
use crate::clock::Timestamp;
use crate::model::{
    AccountId, AlertId, BroadcastId, BroadcastReport, Cost, DeliveryId, GroupId, Kind, Lang, MessageId, Mode,
    Proof, Reach, Reason, Sign, State, Unit, Variant,
};

/// Publish a prepared message. The body of `POST /api/v1/broadcasts` and of `…/previews`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// The prepared message.
    pub message: MessageId,
    /// Values for its fields.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Accounts and groups; the message's own if empty.
    #[serde(default)]
    pub to: Vec<String>,
    /// Whom it is for; the alert's mode, or live, if not given.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Languages, first one first; the municipality's if empty.
    #[serde(default)]
    pub languages: Vec<Lang>,
    /// The alert that it goes under; a new one if not given.
    #[serde(default)]
    pub alert: Option<AlertId>,
    /// What it does: `initial` without an alert; needed with one.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// The picture that goes with it; the prepared message's own if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureRequest>,
    /// Checks whose block is overridden, each with the reason for the journal. Only `duplicate`, `storm` and
    /// `picture-credit` can be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, String>,
}

/// A picture with what it shows in words: neither goes without the other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureRequest {
    /// The JPEG or PNG, in base64; at most 10 MiB before it was encoded.
    pub file: String,
    /// What it shows, for those who cannot see it.
    pub alt: String,
    /// Who made it and by which right it is used: for the record, not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
}

impl std::fmt::Debug for PictureRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "PictureRequest({} characters, {:?})",
            self.file.len(),
            self.alt
        )
    }
}

/// The answer to an accepted command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Whether an earlier request with the same key had already been accepted; this is its answer.
    pub repeated: bool,
    /// Warnings.
    pub findings: Vec<Finding>,
}

/// What would be published, account by account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The prepared message.
    pub message: MessageId,
    /// What it does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// The languages.
    pub languages: Vec<Lang>,
    /// The headline in the first language.
    pub headline: String,
    /// The page that it links to.
    pub link: Option<Url>,
    /// How long it would stay true.
    pub valid_until: Timestamp,
    /// Account by account.
    pub accounts: Vec<AccountPreview>,
    /// How long all of it takes at least: the accounts go side by side, those of the first stage before the others.
    #[serde(default)]
    pub takes_ms: u64,
    /// Findings that concern the whole command.
    pub findings: Vec<Finding>,
    /// Whether a finding stops the command.
    pub blocked: bool,
}

/// What one account would publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountPreview {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// The account that it stands in for: it gets nothing unless that one does not get out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in_for: Option<AccountId>,
    /// Further accounts that it stands in for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_for: Vec<AccountId>,
    /// How surely a second post is avoided.
    pub proof: Proof,
    /// How many recipients, on list channels.
    pub recipients: Option<usize>,
    /// Which text was used.
    pub variant: Option<Variant>,
    /// The exact text.
    pub text: Option<String>,
    /// What those who read the account get to see, part by part: title, text, button. Where it is one text in one post, as
    /// [`Self::text`].
    #[serde(default)]
    pub shown: Vec<Shown>,
    /// The text with the fallback link, which goes if no account of the first stage comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternative_text: Option<String>,
    /// The posts that it makes on an account that takes threads; none if it is one post.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Its length by the account's own rule.
    pub count: Option<usize>,
    /// The account's limit; of a thread, that of all its posts.
    pub limit: Option<usize>,
    /// What both count.
    pub unit: Unit,
    /// How long it takes at least under the account's limits, in milliseconds: until its last attempt may begin.
    #[serde(default)]
    pub takes_ms: u64,
    /// What it costs, on channels that are paid by the piece.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// What it shows as its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PicturePreview>,
    /// Findings for this account.
    pub findings: Vec<Finding>,
}

/// What a person decides about deliveries. The body of `POST /api/v1/broadcasts/{id}/actions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// What.
    pub action: Action,
    /// Only these accounts; all of the broadcast if empty.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
    /// Where the post stands, with [`Action::Done`].
    #[serde(default)]
    pub url: Option<Url>,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A person's decision about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Let it run again: refused, held (not of unknown outcome), or taken back from a person.
    Retry,
    /// Send again although an earlier attempt may have got through: it can come twice.
    Resend,
    /// Let go what a restored backup holds.
    Release,
    /// Make it a person's work.
    HandOver,
    /// A person has published it, or found it published.
    Done,
    /// Stop it.
    Cancel,
}

/// What became of a decision, delivery by delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// Those that changed, with the state that they are in now. At most a thousand.
    pub changed: Vec<(AccountId, DeliveryId, State)>,
    /// Those that did not, and why. At most a thousand.
    pub skipped: Vec<(AccountId, DeliveryId, String)>,
    /// Accounts whose list was stopped on its way, or let go on.
    #[serde(default)]
    pub lists: Vec<AccountId>,
    /// How many more changed than are named.
    #[serde(default)]
    pub changed_more: u64,
    /// How many more were skipped than are named.
    #[serde(default)]
    pub skipped_more: u64,
}

/// Read the configuration and the vault again. The body of `POST /api/v1/reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// The secrets that were changed in the vault, for the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsChange>,
    /// What was done with the vault as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultChange>,
}

/// What was done with the vault as a whole; never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VaultChange {
    /// It has a new key.
    Rotated {
        /// Fingerprint of the key before.
        before: String,
        /// Fingerprint of the key now.
        now: String,
    },
    /// A sealed copy was written for the safe.
    Escrowed {
        /// The public keys of those who can open it.
        to: Vec<String>,
        /// How many secrets are in it.
        secrets: usize,
    },
    /// It was made of a sealed copy.
    Restored {
        /// The public key that belongs to the one that opened it.
        by: String,
        /// How many secrets were in it.
        secrets: usize,
    },
}

/// Which secrets somebody changed; never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsChange {
    /// The account or relay that they belong to.
    pub owner: AccountId,
    /// Their names.
    pub names: Vec<String>,
    /// What was done.
    pub change: Changed,
}

/// What was done with secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Changed {
    /// They were set.
    Set,
    /// They were forgotten.
    Removed,
    /// A person signed the account in, and the service gave them.
    Connected,
    /// They were taken back at the service, and forgotten.
    Revoked,
}

/// Take published posts away. The body of `POST /api/v1/broadcasts/{id}/retract`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetractRequest {
    /// Only these accounts; all of the broadcast if empty.
    #[serde(default)]
    pub accounts: Vec<AccountId>,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a retraction will do, account by account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retracting {
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Accounts whose posts the daemon takes away.
    pub by_daemon: Vec<AccountId>,
    /// Accounts that a person must see to: the channel cannot.
    pub by_person: Vec<AccountId>,
    /// Accounts with nothing to take away.
    pub nothing: Vec<AccountId>,
    /// Accounts whose recipients have it for good: what was sent to them cannot be taken back.
    #[serde(default)]
    pub never: Vec<AccountId>,
    /// Accounts where something had not gone out yet, and does not any more.
    #[serde(default)]
    pub stopped: Vec<AccountId>,
    /// Accounts where an attempt is under way: what comes of it is taken away if the channel can.
    #[serde(default)]
    pub under_way: Vec<AccountId>,
    /// Accounts where an earlier attempt may have got through: a person has to look.
    #[serde(default)]
    pub uncertain: Vec<AccountId>,
    /// What is done on each account, and why no more.
    #[serde(default)]
    pub accounts: Vec<Outlook>,
}

/// What a command does on one account, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// What is done.
    pub how: How,
    /// Why, in a sentence.
    pub why: String,
    /// The account only stood in for others: those whom it reached so get the sequel without its being named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stood_in: bool,
}

/// What is done on an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The daemon takes the post away.
    TakeAway,
    /// The text of the post that stands is changed.
    Edit,
    /// A new post under the one that stands.
    Reply,
    /// A new post, or a new message to each recipient, beside what is out.
    New,
    /// It goes in place of what has not gone out yet.
    Replace,
    /// It had not gone out, and does not any more.
    Stop,
    /// A person sees to it.
    Person,
    /// It cannot be done.
    Cannot,
    /// There is nothing to do it to.
    Nothing,
}

impl How {
    /// In words, for a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::TakeAway => "taken away",
            Self::Edit => "edited",
            Self::Reply => "reply",
            Self::New => "new",
            Self::Replace => "replaced",
            Self::Stop => "stopped",
            Self::Person => "by a person",
            Self::Cannot => "not possible",
            Self::Nothing => "nothing",
        }
    }
}

/// What a correction of an alert would do, account by account. The answer of `GET /api/v1/alerts/{id}/correction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correcting {
    /// The alert.
    pub alert: AlertId,
    /// Whom it is for.
    pub mode: Mode,
    /// The prepared message of its latest broadcast.
    pub message: MessageId,
    /// What a correction does on each account that the alert went to.
    pub accounts: Vec<Outlook>,
}

/// An account as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its id.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Its groups.
    pub groups: Vec<GroupId>,
    /// Its public address.
    pub url: Option<Url>,
    /// How surely a second post is avoided.
    pub proof: Proof,
    /// How many recipients, on list channels.
    pub recipients: Option<usize>,
    /// Whether the adapter can be opened with the secrets at hand; if not, why.
    pub problem: Option<Reason>,
    /// Who has switched it off, if somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Off>,
}

/// Switch an account off, or on again. The body of `POST /api/v1/accounts/{id}/disable` and `…/enable`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// Why; needed to switch it off.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What stands on the switch of an account that is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Off {
    /// Since when.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// How an account's switch stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// The account.
    pub account: AccountId,
    /// What stands on it, if it is off.
    pub disabled: Option<Off>,
    /// Whether it stood otherwise before.
    pub changed: bool,
}

/// What became of an account's credential when it was looked whether it has to be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The account.
    pub account: AccountId,
    /// `renewed`; `not-yet`; `never` where the service has no renewal; `failed`.
    pub outcome: String,
    /// When it is due.
    pub due_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<Reason>,
}

/// Leave a recipient out, or take it in again. The body of `POST /api/v1/recipients/suppress` and `…/restore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuppressRequest {
    /// The mail address, phone number or subscription.
    pub address: String,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Who, masked.
    pub recipient: String,
    /// Whether anything changed.
    pub changed: bool,
}

/// A recipient that gets nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressedView {
    /// Who, masked.
    pub recipient: String,
    /// On which account; on all if none.
    pub account: Option<AccountId>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A channel that the daemon speaks.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelView {
    /// Its name in `config.toml`.
    pub channel: &'static str,
    /// What it is.
    pub about: &'static str,
    /// What it can.
    pub can: Capabilities,
    /// Names of its secrets.
    pub secrets: Vec<&'static str>,
}

/// The answer of an account that was asked whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Whether it answered and took our credential.
    pub reachable: bool,
    /// How well a message would get out.
    pub reach: Reach,
    /// Who the service says we are.
    pub identity: Option<String>,
    /// Its own id of the account.
    #[serde(default)]
    pub id: Option<String>,
    /// When the credential ends, where that is known.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What is amiss, each with its remedy.
    #[serde(default)]
    pub signs: Vec<Sign>,
    /// What else it told.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What went wrong.
    pub error: Option<Reason>,
    /// How long it took.
    pub duration_ms: u64,
}

/// An account or a relay that lacks something on this machine, mostly a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReady {
    /// Its id.
    pub owner: AccountId,
    /// Its channel; `relay` for a relay.
    pub channel: String,
    /// What it lacks, and what to do.
    pub problem: Reason,
}

/// How the daemon does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether to go: which accounts would succeed now.
    pub go: crate::verify::go::GoPage,
    /// The daemon's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Running since.
    pub since: Timestamp,
    /// The configuration in force: file and digest.
    pub config: String,
    /// Its digest.
    pub config_digest: String,
    /// Faults of the file as it is on disk, if the last reload failed; the old configuration is in force then.
    pub config_problems: Vec<String>,
    /// The engine: `sqlite` or `postgres`.
    pub database: String,
    /// Where the practice wall is.
    pub wall: String,
    /// Accounts that cannot publish for want of something here, and relays without their log-in.
    #[serde(default)]
    pub not_ready: Vec<NotReady>,
    /// Last journal record.
    pub journal_seq: i64,
    /// Its hash.
    pub journal_head: String,
    /// Deliveries that wait for a person.
    pub waiting_for_person: u64,
    /// Deliveries that the daemon works on.
    pub open: u64,
    /// What is to be done about the register of accounts.
    #[serde(default)]
    pub register: super::register::RegisterStatus,
    /// Accounts that a person has switched off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disabled: BTreeMap<AccountId, Off>,
    /// The latest broadcasts, newest first, with their deliveries.
    pub broadcasts: Vec<BroadcastReport>,
    /// The drills: when each is due next, and how its last run went.
    #[serde(default)]
    pub drills: Vec<super::drills::DrillView>,
}
