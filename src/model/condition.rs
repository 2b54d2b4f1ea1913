//! What is known of the health of an account, or of the daemon itself: what was seen, what lasts, and who was told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AccountId, Identity, Profile};
use crate::clock::Timestamp;

/// Makes an enum of plain words with their text forms.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$of])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in the store, the configuration and the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|one| one.as_str() == word)
                    .ok_or_else(|| format!("{word:?} is none of: {}", stringify!($($word),+)))
            }
        }
    };
}

words! {
    /// Whether a message would get out now. Ordered from well to worst.
    Reach {
        /// It would.
        Reachable = "reachable",
        /// It would, but not all of it, or not for long.
        Degraded = "degraded",
        /// It would not.
        Unreachable = "unreachable",
    }
}

words! {
    /// What can be amiss.
    Trouble {
        /// The service does not answer.
        NoAnswer = "no-answer",
        /// It refuses our credential, or there is none.
        Credential = "credential",
        /// It answers as another account than the one we think.
        WrongAccount = "wrong-account",
        /// A person took the account out of use.
        Disabled = "disabled",
        /// The credential ends soon.
        Expiring = "expiring",
        /// The credential lacks a right.
        RightMissing = "right-missing",
        /// The credential may more than we need.
        RightSurplus = "right-surplus",
        /// Little is left of what the service takes.
        Quota = "quota",
        /// The service says that something else is wrong.
        Flaw = "flaw",
        /// The profile lacks a fact that the guideline demands.
        ProfileFact = "profile-fact",
        /// The profile's picture is none of the approved ones.
        Logo = "logo",
        /// Nobody has published anything for long.
        Stale = "stale",
        /// A post stands that we did not make while an alert is active.
        ForeignPost = "foreign-post",
        /// The profile is not what it was.
        ProfileChanged = "profile-changed",
        /// The web page that messages link to does not answer.
        Link = "link",
        /// A mail relay does not take our mail.
        Relay = "relay",
        /// The disk is nearly full.
        Disk = "disk",
        /// The clock jumped.
        Clock = "clock",
        /// The vault cannot be read.
        Vault = "vault",
        /// The daemon restarted though nobody told it to.
        Restart = "restart",
        /// Nobody outside hears that we live.
        Heartbeat = "heartbeat",
        /// A message where the public cannot see did not get through.
        Backstage = "backstage",
        /// Something of ours was left there.
        Leftover = "leftover",
        /// A planned trial of the accounts was not carried out.
        TrialSkipped = "trial-skipped",
    }
}

impl Trouble {
    /// What it means for the next message.
    pub fn reach(self) -> Reach {
        match self {
            Self::NoAnswer | Self::Credential | Self::WrongAccount | Self::Disabled | Self::Vault => {
                Reach::Unreachable
            }
            Self::RightMissing
            | Self::Quota
            | Self::Flaw
            | Self::Link
            | Self::Relay
            | Self::Disk
            | Self::Backstage
            | Self::Leftover
            | Self::Clock => Reach::Degraded,
            Self::Expiring
            | Self::RightSurplus
            | Self::ProfileFact
            | Self::Logo
            | Self::Stale
            | Self::ForeignPost
            | Self::ProfileChanged
            | Self::Restart
            | Self::TrialSkipped
            | Self::Heartbeat => Reach::Reachable,
        }
    }

    /// Whether it is told of and over: it has no end that could be seen.
    pub fn is_event(self) -> bool {
        matches!(
            self,
            Self::Restart | Self::Clock | Self::ProfileChanged | Self::Leftover | Self::TrialSkipped
        )
    }
}

words! {
    /// What was looked at.
    Look {
        /// Whether the account answers and takes our credential.
        Reach = "reach",
        /// How readers find it.
        Profile = "profile",
        /// A message where the public cannot see.
        Backstage = "backstage",
        /// Something that happened, and is over.
        Event = "event",
    }
}

impl Look {
    /// What this look can see: of these, what it does not see has ended.
    pub fn covers(self) -> &'static [Trouble] {
        match self {
            Self::Reach => &[
                Trouble::NoAnswer,
                Trouble::Credential,
                Trouble::WrongAccount,
                Trouble::Disabled,
                Trouble::Expiring,
                Trouble::RightMissing,
                Trouble::RightSurplus,
                Trouble::Quota,
                Trouble::Flaw,
                // The daemon's own: looked at together.
                Trouble::Link,
                Trouble::Relay,
                Trouble::Disk,
                Trouble::Vault,
                Trouble::Heartbeat,
            ],
            Self::Profile => &[
                Trouble::ProfileFact,
                Trouble::Logo,
                Trouble::Stale,
                Trouble::ForeignPost,
            ],
            Self::Backstage => &[Trouble::Backstage],
            Self::Event => &[],
        }
    }
}

/// Whose health it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// The daemon: its disk, clock, vault, relays, link.
    Daemon,
    /// An account.
    Account(AccountId),
}

impl Subject {
    const DAEMON: &str = "daemon";

    /// The word in the store. No account may have the daemon's.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Daemon => Self::DAEMON,
            Self::Account(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        if word == Self::DAEMON {
            return Ok(Self::Daemon);
        }
        word.parse()
            .map(Self::Account)
            .map_err(|error: <AccountId as FromStr>::Err| error.to_string())
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.as_str().to_owned()
    }
}

impl From<AccountId> for Subject {
    fn from(account: AccountId) -> Self {
        Self::Account(account)
    }
}

/// One thing that is amiss, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// What.
    pub trouble: Trouble,
    /// What was seen, in a Swedish sentence.
    pub text: String,
    /// What to do about it, in a Swedish sentence.
    pub remedy: String,
    /// The step of a trouble that grows: of a credential that ends, the least number of days on the list of warnings that
    /// is not passed. Each step is told once.
    #[serde(default)]
    pub step: Option<u32>,
}

/// What was seen of an account, or of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Whose.
    pub subject: Subject,
    /// What was looked at.
    pub look: Look,
    /// The worst of its signs.
    pub reach: Reach,
    /// What is amiss.
    #[serde(default)]
    pub signs: Vec<Sign>,
    /// Who the service says that it is.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// How readers find it.
    #[serde(default)]
    pub profile: Option<Profile>,
    /// When the profile was read: a look that could not read it keeps what was seen before.
    #[serde(default)]
    pub profile_at: Option<Timestamp>,
}

impl Observation {
    /// Whether it says the same: facts for people's eyes change with every answer and say nothing new.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let plain = |one: &Self| {
            let mut plain = one.clone();
            if let Some(identity) = &mut plain.identity {
                identity.facts.clear();
            }
            plain.profile_at = None;
            plain
        };
        plain(self) == plain(other)
    }

    /// An observation with the reach that its signs give.
    pub fn new(subject: impl Into<Subject>, look: Look, signs: Vec<Sign>) -> Self {
        let reach = signs
            .iter()
            .map(|sign| sign.trouble.reach())
            .max()
            .unwrap_or(Reach::Reachable);
        Self {
            subject: subject.into(),
            look,
            reach,
            signs,
            identity: None,
            profile: None,
            profile_at: None,
        }
    }
}

/// An observation as it is kept: what stayed the same for a while is one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What was seen.
    #[serde(flatten)]
    pub observation: Observation,
    /// First so.
    pub since: Timestamp,
    /// Last so.
    pub at: Timestamp,
    /// How long the last look took, in milliseconds.
    pub took_ms: u64,
}

/// Something that is, or was, amiss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub subject: Subject,
    /// What, as it was last seen.
    #[serde(flatten)]
    pub sign: Sign,
    /// Since when.
    pub since: Timestamp,
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

words! {
    /// Which of a condition's moments is told.
    Phase {
        /// It has begun, or has come to its next step.
        Begin = "begin",
        /// It is over.
        End = "end",
    }
}

/// Something to tell people, or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number.
    pub id: i64,
    /// Of what, as it stood when it was written.
    pub condition: Condition,
    /// Its beginning or its end.
    pub phase: Phase,
    /// Not before.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub tries: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for trouble in Trouble::ALL {
            assert_eq!(trouble.as_str().parse(), Ok(*trouble));
        }
        for reach in Reach::ALL {
            assert_eq!(reach.as_str().parse(), Ok(*reach));
        }
        assert!("fine".parse::<Reach>().is_err());
        assert_eq!("daemon".parse(), Ok(Subject::Daemon));
        let account = Subject::Account("facebook-nassjo".parse().unwrap());
        assert_eq!(account.as_str().parse(), Ok(account));
    }

    #[test]
    fn every_trouble_that_lasts_is_seen_by_exactly_one_look() {
        for trouble in Trouble::ALL {
            let looks = Look::ALL.iter().filter(|look| look.covers().contains(trouble));
            assert_eq!(looks.count(), usize::from(!trouble.is_event()), "{trouble}");
        }
    }

    #[test]
    fn an_observation_is_as_good_as_its_worst_sign() {
        let sign = |trouble| Sign {
            trouble,
            text: String::new(),
            remedy: String::new(),
            step: None,
        };
        let of = |troubles: &[Trouble]| {
            let signs = troubles.iter().copied().map(sign).collect();
            Observation::new(Subject::Daemon, Look::Reach, signs).reach
        };
        assert_eq!(of(&[]), Reach::Reachable);
        assert_eq!(of(&[Trouble::Expiring]), Reach::Reachable);
        assert_eq!(of(&[Trouble::Quota, Trouble::Expiring]), Reach::Degraded);
        assert_eq!(of(&[Trouble::Quota, Trouble::Credential]), Reach::Unreachable);
    }
}
