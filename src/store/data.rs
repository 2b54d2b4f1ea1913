//! What goes into the store and what comes out of it, as plain data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::model::{
    AccountId, Actor, AlertId, AlertState, Broadcast, BroadcastId, DeliveryId, Event, ExpansionState, Kind,
    LaneId, MessageId, Mode, Outcome, Picture, Proof, Purpose, Reason, Receipt, Recipient, Rendering, State,
    UnreachableBefore,
};

/// The alert that a broadcast goes under.
#[derive(Debug, Clone)]
pub enum Under {
    /// A new one; the store numbers it within the year of the municipality's zone.
    New {
        /// For the number.
        year: i16,
    },
    /// One that exists, active, of the same mode.
    Existing(AlertId),
}

/// One account (and recipient) of an acceptance.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// Index into [`Acceptance::renderings`].
    pub rendering: usize,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// The state from birth: `Queued`, or `Manual` for accounts that a person serves.
    pub state: State,
    /// No attempt before it (accounts that wait for the first stage, or stand in for another).
    pub not_before: Timestamp,
    /// What it is for: [`Purpose::Publish`], or what is done to a post of the account.
    pub purpose: Purpose,
    /// What it acts on, or stands in for.
    pub target: Option<Target>,
    /// Index of the rendering that goes unless [`Store::release`] comes first.
    pub alternative: Option<usize>,
}

/// The delivery that another one is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One that exists.
    Delivery(DeliveryId),
    /// The one of the same acceptance that publishes on this account, for the same recipient if that has one.
    Account(AccountId),
    /// Those of the same acceptance that publish on these accounts, for the same recipient if they have one: it goes only
    /// if one of them does not get out, and counts its time from theirs. If there is nobody to stand in for after all, it
    /// goes at its own.
    InsteadOf(Vec<StandsFor>),
}

/// Another account that one stands in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandsFor {
    /// That account.
    pub account: AccountId,
    /// How long it may take before the other one goes, in microseconds. Nothing if it did not answer before the command:
    /// then nobody waits for it.
    pub wait: i64,
    /// Whether it goes as well if it can after all, once the other one has published.
    pub keeps: bool,
}

/// How the first stage ended, for those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is out and answers: the others go with their own text.
    Answers,
    /// It will not come: the others go now, with the alternative.
    Failed,
}

/// A list that was put into the database for an acceptance, in chunks of at most [`CHUNK`] recipients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StagedList {
    /// The name under which [`Store::stage`] has written it.
    pub id: String,
    /// SHA-256 over the addresses, each with a line feed, hex.
    pub digest: String,
    /// How many chunks it has, from 0 on.
    pub chunks: u64,
    /// How many addresses; one that stands twice counts twice.
    pub entries: u64,
    /// Lines that could not be read.
    pub faults: u64,
    /// The first of them: file, line, what is wrong. Never an address.
    pub named: Vec<String>,
}

/// A list account of an acceptance whose recipients are made into deliveries afterwards, chunk by chunk.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What is the same for all of them; its `recipient` is `None`. Its target says whom they stand in for.
    pub each: Destination,
    /// The list, or why nobody of it can be reached.
    pub list: Result<StagedList, Reason>,
}

/// A list on its way into deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Its number.
    pub id: i64,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// The alert.
    pub alert: AlertId,
    /// What the broadcast does.
    pub kind: Kind,
    /// The account, and the broadcast's mode.
    pub lane: LaneId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// The accounts that it stands in for.
    pub stands_in_for: Vec<StandsFor>,
    /// The rendering.
    pub rendering: i64,
    /// What goes instead while the first stage has not been seen to answer.
    pub alternative: Option<i64>,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// No attempt before it.
    pub not_before: Timestamp,
    /// No attempt at or after it.
    pub deadline: Timestamp,
    /// The list, by the name under which it was staged.
    pub list: String,
    /// The digest of the list.
    pub digest: String,
    /// How many chunks the list has.
    pub chunks: u64,
    /// The next one.
    pub next: u64,
    /// How many addresses the list has.
    pub entries: u64,
    /// How many of them have had their turn.
    pub taken: u64,
    /// How many deliveries came of them.
    pub made: u64,
    /// Addresses that had stood in the list before.
    pub repeated: u64,
    /// Addresses that get nothing more.
    pub suppressed: u64,
    /// Addresses that no account that is stood in for serves.
    pub unpaired: u64,
    /// Lines of the list that could not be read.
    pub faults: u64,
    /// Where it stands.
    pub state: ExpansionState,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it did not come to its end.
    pub error: Option<Reason>,
}

/// What one step of expanding did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The lanes that have something to do now.
    pub lanes: Vec<LaneId>,
    /// Whether there may be more to do at once.
    pub more: bool,
    /// Whether something waits, for a lane that has enough before it.
    pub waits: bool,
}

/// A recipient that gets nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppressed {
    /// Who.
    pub recipient: Recipient,
    /// On which account; on all if `None`.
    pub account: Option<AccountId>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// All that one accepted command writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Acceptance {
    /// The alert.
    pub under: Under,
    /// What it does.
    pub kind: Kind,
    /// Whom it is for.
    pub mode: Mode,
    /// The prepared message and its version.
    pub message: MessageId,
    /// The message's version.
    pub message_version: u32,
    /// The headline in the first language.
    pub headline: String,
    /// Who sends.
    pub actor: Actor,
    /// Now.
    pub at: Timestamp,
    /// No attempt at or after it.
    pub valid_until: Timestamp,
    /// The distinct renderings.
    pub renderings: Vec<Rendering>,
    /// The pictures that the renderings name, each once.
    pub pictures: Vec<Arc<Picture>>,
    /// Where to.
    pub destinations: Vec<Destination>,
    /// Lists whose recipients are made into deliveries afterwards.
    pub lists: Vec<Listed>,
    /// Accounts that had not answered before, and who takes over at once.
    pub unreachable: Vec<UnreachableBefore>,
    /// The caller's key and the digest of the request.
    pub idempotency: Option<(String, String)>,
    /// What else belongs into the journal record of the command: fields, findings, link check, configuration digest.
    pub journal: serde_json::Value,
}

/// What an acceptance gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// Whether an earlier request with the same key had already been accepted: this is its answer.
    pub repeated: bool,
    /// The lanes that have something to do now.
    pub lanes: Vec<LaneId>,
}

/// A node's right to work a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lane.
    pub lane: LaneId,
    /// Raised each time the lane is taken. Part of every write.
    pub epoch: i64,
    /// What the last owner left: see [`LaneNotes`].
    pub notes: LaneNotes,
}

/// How much of each lane [`Store::heads`] reads at most.
pub const FIRST: usize = 32;

/// What a lane must remember across a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneNotes {
    /// The service asked us to leave it alone until then.
    pub busy_until: Option<Timestamp>,
    /// The circuit breaker lets nothing through before then.
    pub open_until: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the breaker is open.
    pub reason: Option<Reason>,
    /// When the latest attempts began, newest first, at most 200: what the rate limiter must count. Filled when a lease
    /// is taken, from the attempts on disk; ignored when written.
    pub recent: Vec<Timestamp>,
}

/// How an attempt changes with a delivery's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptChange {
    /// It begins: a row, before the first byte.
    Start,
    /// It ends. The outcome must admit the change's event.
    End {
        /// How.
        outcome: Outcome,
    },
}

/// One step of one delivery.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The lane and its epoch, if a lane makes the change; `None` if a person does.
    pub fence: Option<(LaneId, i64)>,
    /// The state that it must be in.
    pub from: State,
    /// What happens. Must be in the table.
    pub event: Event,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The attempt's part: `Start` raises the delivery's attempt number; `End` closes the attempt of that number.
    pub attempt: Option<AttemptChange>,
    /// The next time that anything may be done with it; unchanged if `None`.
    pub not_before: Option<Timestamp>,
    /// What the service gave; kept as it was if `None`.
    pub receipt: Option<Receipt>,
    /// What went wrong; cleared if `None`.
    pub error: Option<Reason>,
    /// What else belongs into the journal record (a person's reason, how it was settled).
    pub note: Option<serde_json::Value>,
    /// What the lane remembers, if that changed.
    pub lane_notes: Option<LaneNotes>,
}

/// What stands of an alert on an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The latest post.
    pub post: Option<DeliveryId>,
    /// Posts that are pinned.
    pub pinned: Vec<DeliveryId>,
}

/// What a step of an attempt gave: see [`crate::model::Steps`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMade {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Its lane.
    pub lane: LaneId,
    /// The lane's epoch.
    pub epoch: i64,
    /// The step's name; a later value takes the place of an earlier one.
    pub name: String,
    /// What it gave: an id of the service, never a secret.
    pub value: String,
    /// When.
    pub at: Timestamp,
}

/// A delivery beside those of the acceptance: a retraction or a confirmation.
#[derive(Debug, Clone)]
pub struct Extra {
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// The account.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// Its proof class.
    pub proof: Proof,
    /// The lane's mode.
    pub mode: Mode,
    /// What it is for.
    pub purpose: Purpose,
    /// For a retraction, the delivery whose post is to go.
    pub target: Option<DeliveryId>,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// What to send; for a retraction the published rendering is used and this is `None`.
    pub rendering: Option<Rendering>,
    /// The state from birth.
    pub state: State,
    /// No attempt at or after it.
    pub deadline: Timestamp,
}

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Running number from 1, without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What: `start`, `stop`, `reload`, `accept`, `attempt`, `outcome`, `settle`, `decision`, `confirmation`, `finish`,
    /// `credential`, `restore`, …
    pub kind: String,
    /// The broadcast that it is about.
    pub broadcast: Option<BroadcastId>,
    /// The delivery that it is about.
    pub delivery: Option<DeliveryId>,
    /// The rest, as JSON; byte for byte what was hashed.
    pub body: String,
    /// SHA-256 over the record and the hash before it, hex.
    pub hash: String,
}

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: &'static str,
    /// The broadcast that it is about.
    pub broadcast: Option<BroadcastId>,
    /// The delivery that it is about.
    pub delivery: Option<DeliveryId>,
    /// The rest; an object. Must hold nothing secret.
    pub body: serde_json::Value,
}

/// What walking the chain found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainReport {
    /// Records walked.
    pub records: i64,
    /// The last hash.
    pub head: String,
    /// The first record that does not fit, and why.
    pub broken: Option<(i64, String)>,
}

/// An attempt as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1 within its delivery.
    pub number: u32,
    /// When it was on disk, before the first byte.
    pub started_at: Timestamp,
    /// When its outcome was on disk; `None` while unknown after a crash.
    pub finished_at: Option<Timestamp>,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// What went wrong.
    pub error: Option<Reason>,
}

/// An alert with its broadcasts, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Whom it is for.
    pub mode: Mode,
    /// Whether it still stands.
    pub state: AlertState,
    /// Its broadcasts, oldest first.
    pub broadcasts: Vec<Broadcast>,
}

/// Told to subscribers after each commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The broadcast concerned.
    pub broadcast: BroadcastId,
    /// The delivery concerned; `None` when the broadcast itself changed (accepted, finished).
    pub delivery: Option<DeliveryId>,
    /// The delivery's state now.
    pub state: Option<State>,
}

/// What a database copy that was started for the first time says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// The database belongs to this data directory.
    Own,
    /// It is a backup, or came from another data directory: everything unsent is now held.
    Restored {
        /// How many deliveries were held.
        held: u64,
    },
}
