//! A delivery, what an adapter gets to publish or settle it, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::broadcast::words;
use super::{
    AccountId, AlertId, BroadcastId, DeliveryId, Kind, LaneId, Mode, Picture, Reason, Rendering, State, Steps,
};
use crate::clock::{self, Timestamp};

words!(
    /// What a delivery is for.
    Purpose {
        /// Publishes a broadcast's text.
        Publish = "publish",
        /// Changes the post that an earlier broadcast published, its `target`, into this one's text.
        Edit = "edit",
        /// No longer keeps its `target`'s post on top of the account's page.
        Unpin = "unpin",
        /// Keeps its `target`'s post on top of the account's page, once that is out.
        Pin = "pin",
        /// Takes a published post away again; its `target` is the delivery that published it.
        Retract = "retract",
        /// Tells the crisis organisation at once what a person is to publish, of an account that had not answered before.
        ConfirmHandOver = "confirm-hand-over",
        /// Tells the crisis organisation how it stands, before all is settled.
        ConfirmInterim = "confirm-interim",
        /// Tells the crisis organisation how it went.
        ConfirmFinal = "confirm-final",
        /// Tells that what was left for a person is now done as well.
        ConfirmClosing = "confirm-closing",
    }
);

impl Purpose {
    /// Whether it is the broadcast's own word on an account: those make up the broadcast's state.
    pub fn is_word(self) -> bool {
        matches!(self, Self::Publish | Self::Edit)
    }

    /// Whether it is a confirmation; those do not count towards the broadcast's own state.
    pub fn is_confirmation(self) -> bool {
        matches!(
            self,
            Self::ConfirmHandOver | Self::ConfirmInterim | Self::ConfirmFinal | Self::ConfirmClosing
        )
    }
}

words!(
    /// How surely a channel lets us avoid posting twice.
    Proof {
        /// The channel recognises our key and posts once.
        Keyed = "keyed",
        /// The account can be read back and searched for the post.
        ReadBack = "read-back",
        /// Nothing can tell; the account's policy decides and the log says so.
        Unproven = "unproven",
    }
);

words!(
    /// Where a list on its way into deliveries stands.
    ExpansionState {
        /// There is more to do.
        Open = "open",
        /// A person must let it go on: the database is a restored copy.
        Held = "held",
        /// All of the list has had its turn.
        Done = "done",
        /// The message stopped being valid before.
        Expired = "expired",
        /// A newer broadcast of the alert took over before.
        Superseded = "superseded",
        /// A person stopped it before.
        Cancelled = "cancelled",
        /// The list could not be read, or was lost.
        Failed = "failed",
    }
);

/// One address on a list channel. Shown masked everywhere but on the wire.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipient(String);

impl Recipient {
    /// Takes an address as it stands; `config` has validated it.
    pub fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// The address itself, for the wire and the store only.
    pub fn address(&self) -> &str {
        &self.0
    }

    /// First letter and domain of a mail address; the push service and the last two characters of a browser's address;
    /// the last two characters of anything else.
    pub fn masked(&self) -> String {
        if self.0.starts_with('{') {
            let subscription: serde_json::Value = serde_json::from_str(&self.0).unwrap_or_default();
            let endpoint = subscription["endpoint"].as_str().unwrap_or_default();
            let host = Url::parse(endpoint).ok();
            let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
            return format!("{host}/{}", tail(endpoint));
        }
        if let Some((local, domain)) = self.0.rsplit_once('@') {
            let first = local.chars().next().map(String::from).unwrap_or_default();
            return format!("{first}…@{domain}");
        }
        tail(&self.0)
    }
}

/// The last two characters.
fn tail(text: &str) -> String {
    let tail: Vec<char> = text.chars().rev().take(2).collect();
    format!("…{}", tail.into_iter().rev().collect::<String>())
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.masked())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.masked())
    }
}

/// What a service gives for a published post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The service's id of the post. Opaque.
    pub remote_id: String,
    /// Where residents find it, if it has an address.
    pub url: Option<String>,
    /// What the adapter needs later to answer to or change the post (a version hash), if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the answer said beside the id, for the log: a mail queue id, a note that the link preview was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Receipt {
    /// A receipt with an id and nothing else.
    pub fn of(remote_id: impl Into<String>) -> Self {
        Self {
            remote_id: remote_id.into(),
            url: None,
            version: None,
            note: None,
        }
    }

    /// The same with an address.
    #[must_use]
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }
}

/// One broadcast to one account (and, on list channels, one recipient): the thing that has a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, and the idempotency key of all its attempts.
    pub id: DeliveryId,
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// What the broadcast does.
    pub kind: Kind,
    /// The lane's mode.
    pub mode: Mode,
    /// The account.
    pub account: AccountId,
    /// The id of the account's channel when it was accepted.
    pub channel: String,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// What it is for.
    pub purpose: Purpose,
    /// For what acts on a post, the delivery that published it. On [`Purpose::Publish`], the first of the
    /// deliveries that this one stands in for: it goes only if one of them does not get out.
    pub target: Option<DeliveryId>,
    /// The accounts that it stands in for.
    pub stands_in_for: Vec<AccountId>,
    /// Where it stands.
    pub state: State,
    /// How many attempts have begun.
    pub attempts: u32,
    /// How surely the channel lets us avoid a second post.
    pub proof: Proof,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// No attempt, and no settling, before it.
    pub not_before: Timestamp,
    /// No attempt at or after it.
    pub deadline: Timestamp,
    /// When the latest attempt began.
    pub started_at: Option<Timestamp>,
    /// When the first attempt whose outcome may still be unknown began: where settling has to look from.
    pub unknown_since: Option<Timestamp>,
    /// When it came to rest.
    pub finished_at: Option<Timestamp>,
    /// What the service gave.
    pub receipt: Option<Receipt>,
    /// What last went wrong.
    pub error: Option<Reason>,
}

impl Delivery {
    /// Whether it stands in for another delivery and has had nothing to do.
    pub fn is_idle_stand_in(&self) -> bool {
        self.purpose == Purpose::Publish
            && self.target.is_some()
            && self.attempts == 0
            && matches!(self.state, State::Queued | State::Cancelled | State::Superseded)
    }

    /// The lane that it stands in.
    pub fn lane(&self) -> LaneId {
        LaneId {
            account: self.account.clone(),
            mode: self.mode,
        }
    }
}

/// What an adapter gets to publish: all that it may depend on, the same for every attempt of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The idempotency key.
    pub key: DeliveryId,
    /// The alert.
    pub alert: AlertId,
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// What the broadcast does.
    pub kind: Kind,
    /// The mode; the adapter of a drill lane is pointed at the practice wall and nothing else.
    pub mode: Mode,
    /// What it is for; adapters see [`Purpose::Publish`] and, on mail, the confirmations.
    pub purpose: Purpose,
    /// The exact content.
    pub rendering: Rendering,
    /// On list channels, whom it is for.
    pub recipient: Option<Recipient>,
    /// The time that the post bears; fixed, so that a repeated attempt is the same post byte for byte.
    pub accepted_at: Timestamp,
    /// Validity as told to services that take it.
    pub valid_until: Timestamp,
    /// The first post of the alert on this account (and for this recipient), to thread under.
    pub root: Option<Receipt>,
    /// The latest earlier post of the alert on this account (and for this recipient).
    pub parent: Option<Receipt>,
    /// The picture, fitted to the channel's [`PictureRule`]; only where the channel takes one.
    pub picture: Option<Arc<Picture>>,
    /// What earlier attempts of this delivery did, and where this one writes its own steps.
    pub steps: Steps,
}

/// A delivery that can be worked on, with all that an adapter needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The delivery.
    pub delivery: Delivery,
    /// What to publish. For a retraction: what was published.
    pub post: Post,
    /// The receipt of the delivery's target.
    pub target: Option<Receipt>,
    /// Where the target stands.
    pub target_state: Option<State>,
    /// What it stands in for, and how that stands.
    pub primaries: Vec<Primary>,
    /// A newer broadcast of the alert has its own word for the account (and the recipient): this one is never sent.
    pub overtaken: bool,
}

/// A delivery that another one stands in for, as that one has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Its account.
    pub account: AccountId,
    /// Where it stands.
    pub state: State,
    /// What last went wrong with it.
    pub error: Option<Reason>,
    /// When it has taken too long; `None` while it waits for its own turn to stand in, and has no time yet.
    pub until: Option<Timestamp>,
    /// It did not answer before the command: nobody waits for it.
    pub silent_before: bool,
}

/// Whether a delivery that stands in for another one is needed, because of that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// If the other one has not got out by then; `None` is not yet known.
    Then(Option<Timestamp>),
    /// At once: the other one will not get out by itself.
    Now,
    /// Not at all.
    Never,
}

impl Primary {
    /// Whether what stands in for it is needed.
    pub fn need(&self) -> Need {
        match self.state {
            State::Queued | State::Sending | State::Unknown => Need::Then(self.until),
            // A person has it in hand, and nothing went wrong: they get the time that a program gets.
            State::Manual if self.error.is_none() => Need::Then(self.until),
            // Whoever tries an account out does not want the next one to write to people.
            State::Refused if self.error.as_ref().is_some_and(Reason::is_dry_run) => Need::Never,
            State::Refused | State::Held | State::Manual | State::Expired => Need::Now,
            State::Published | State::Edited | State::Retracted | State::Superseded | State::Cancelled => {
                Need::Never
            }
        }
    }
}

/// What an adapter gets to settle an unknown attempt.
#[derive(Debug, Clone)]
pub struct Question {
    /// What was to be published.
    pub post: Post,
    /// When the first attempt of unknown outcome began.
    pub since: Timestamp,
    /// When the latest attempt was given up, at the latest: nothing of ours reaches the service long after it.
    pub until: Timestamp,
    /// Now, by the daemon's clock.
    pub now: Timestamp,
    /// How long ago the latest attempt began at least, by a clock that nobody sets.
    pub waited: Duration,
    /// How far our clock and the service's may be apart, or ours was set since the attempt; zero if no more than is usual
    /// ([`clock::SLACK`]).
    pub astray: Duration,
    /// Ids of posts on the account that belong to other deliveries: never the answer.
    pub taken: Vec<String>,
}

impl Question {
    /// The earliest time that the service may have put on a post of these attempts.
    pub fn earliest(&self) -> Timestamp {
        clock::earlier(self.since.min(self.now), clock::SLACK + self.astray)
    }

    /// The latest such time.
    pub fn latest(&self) -> Timestamp {
        clock::later(self.until, clock::SLACK + self.astray)
    }

    /// How long ago the first of these attempts began, at least.
    pub fn age(&self) -> Duration {
        if self.astray.is_zero() {
            clock::until(self.since, self.now).max(self.waited)
        } else {
            self.waited
        }
    }

    /// Whether the first of these attempts surely began less than `span` ago.
    pub fn is_younger_than(&self, span: Duration) -> bool {
        self.astray.is_zero() && clock::until(self.since, self.now) < span
    }
}

/// What became of an unknown attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It got through.
    Found(Receipt),
    /// It got through, and the service has said since that it goes nowhere: refused after all.
    Refused(Reason),
    /// It is not there, or a repeat under the same key has no second effect.
    Absent,
    /// Nothing can tell. The account's policy decides.
    Unclear(Reason),
}
