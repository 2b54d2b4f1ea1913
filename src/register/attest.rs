//! Attestations: what no API can tell, a person says, with evidence, and it holds for a time. Every one that was given
//! stays readable; the latest word on an account and a matter is the one that counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::model::{AccountId, Actor};

/// What a person attests. Named by what the guideline asks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Every log-in of an administrator asks for a second factor (§ 14).
    TwoFactor,
    /// Administrators work with job mail and accounts of their job, none with private ones (§ 14, 11).
    AdminsOnJobMail,
    /// The communications unit is administrator (§ 3).
    CommunicationsUnitIsAdmin,
    /// The logotype and the graphic profile are right (§ 18).
    Logo,
    /// The profile carries what it must (§ 8).
    ProfileFacts,
    /// Purpose, audience and key figures have been followed up for the year (§ 4).
    YearlyFollowUp,
}

impl What {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TwoFactor,
        Self::AdminsOnJobMail,
        Self::CommunicationsUnitIsAdmin,
        Self::Logo,
        Self::ProfileFacts,
        Self::YearlyFollowUp,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TwoFactor => "two-factor",
            Self::AdminsOnJobMail => "admins-on-job-mail",
            Self::CommunicationsUnitIsAdmin => "communications-unit-is-admin",
            Self::Logo => "logo",
            Self::ProfileFacts => "profile-facts",
            Self::YearlyFollowUp => "yearly-follow-up",
        }
    }

    /// The guideline's paragraphs that ask for it.
    pub fn paragraphs(self) -> &'static [u8] {
        match self {
            Self::TwoFactor => &[14],
            Self::AdminsOnJobMail => &[11, 14],
            Self::CommunicationsUnitIsAdmin => &[3],
            Self::Logo => &[18],
            Self::ProfileFacts => &[8],
            Self::YearlyFollowUp => &[4],
        }
    }

    /// What is attested, in Swedish.
    pub fn words(self) -> &'static str {
        match self {
            Self::TwoFactor => "att alla administratörer loggar in i två steg",
            Self::AdminsOnJobMail => "att alla administratörer använder sin e-post i tjänsten",
            Self::CommunicationsUnitIsAdmin => "att kommunikationsenheten är administratör",
            Self::Logo => "att logotyp och grafisk profil är rätt",
            Self::ProfileFacts => "att de obligatoriska uppgifterna står i profilen",
            Self::YearlyFollowUp => "att kontot är uppföljt för året",
        }
    }

    /// The same as the head of a column.
    pub fn brief(self) -> &'static str {
        match self {
            Self::TwoFactor => "Inloggning i två steg",
            Self::AdminsOnJobMail => "E-post i tjänsten",
            Self::CommunicationsUnitIsAdmin => "Enheten är administratör",
            Self::Logo => "Logotyp",
            Self::ProfileFacts => "Uppgifter i profilen",
            Self::YearlyFollowUp => "Årlig uppföljning",
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|what| what.as_str() == text);
        found.ok_or_else(|| format!("nothing that is attested is called {text:?}"))
    }
}

/// What a person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Its number.
    pub id: i64,
    /// Of which account.
    pub account: AccountId,
    /// Of what.
    pub what: What,
    /// How they know.
    pub evidence: String,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// Until when it holds.
    pub expires_at: Timestamp,
    /// When it was taken back, if it was.
    pub revoked_at: Option<Timestamp>,
    /// Who took it back.
    pub revoked_by: Option<Actor>,
    /// Why.
    pub revoked_because: Option<String>,
}

/// How an account stands in one matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Attested.
    Valid,
    /// Attested, and the end is near.
    Ending(Timestamp),
    /// Was attested.
    Expired(Timestamp),
    /// Was attested and taken back.
    Revoked(Timestamp),
    /// Nobody has said anything.
    Missing,
}

/// How an account stands in one matter. Only the latest word counts: what was taken back does not revive an older one.
pub fn standing(
    all: &[Attestation],
    account: &AccountId,
    what: What,
    now: Timestamp,
    remind_before: Duration,
) -> Standing {
    let of_it = all
        .iter()
        .filter(|one| one.account == *account && one.what == what);
    match of_it.max_by_key(|one| one.id) {
        None => Standing::Missing,
        Some(one) => match one.revoked_at {
            Some(at) => Standing::Revoked(at),
            None if one.expires_at <= now => Standing::Expired(one.expires_at),
            None if one.expires_at <= clock::later(now, remind_before) => Standing::Ending(one.expires_at),
            None => Standing::Valid,
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn given(id: i64, account: &str, what: What, at: Timestamp, until: Timestamp) -> Attestation {
        Attestation {
            id,
            account: account.parse().expect("an id"),
            what,
            evidence: "Skärmbild i ärendet KS 2026/7".to_owned(),
            actor: Actor("kim (uid 1000)".to_owned()),
            at,
            expires_at: until,
            revoked_at: None,
            revoked_by: None,
            revoked_because: None,
        }
    }

    fn at(day: i64) -> Timestamp {
        clock::from_micros(day * 86_400_000_000)
    }

    #[test]
    fn the_latest_word_counts() {
        let month = Duration::from_hours(24 * 30);
        let account: AccountId = "x".parse().expect("an id");
        let how = |all: &[Attestation], now| standing(all, &account, What::Logo, now, month);
        let mut all = vec![given(1, "x", What::Logo, at(0), at(365))];
        all.push(given(2, "y", What::Logo, at(0), at(999)));
        all.push(given(3, "x", What::TwoFactor, at(0), at(999)));
        assert_eq!(how(&[], at(1)), Standing::Missing);
        assert_eq!(how(&all, at(300)), Standing::Valid);
        assert_eq!(how(&all, at(335)), Standing::Ending(at(365)));
        assert_eq!(how(&all, at(365)), Standing::Expired(at(365)));
        all.push(Attestation {
            revoked_at: Some(at(20)),
            ..given(4, "x", What::Logo, at(10), at(400))
        });
        // The first one would still hold, and somebody said since that it does not.
        assert_eq!(how(&all, at(30)), Standing::Revoked(at(20)));
        all.push(given(5, "x", What::Logo, at(30), at(500)));
        assert_eq!(how(&all, at(31)), Standing::Valid);
    }

    #[test]
    fn every_word_is_read_back() {
        for what in What::ALL {
            assert_eq!(what.as_str().parse(), Ok(what));
            assert_eq!(serde_json::json!(what), what.as_str());
            assert!(!what.paragraphs().is_empty());
        }
        assert!("tvåfaktor".parse::<What>().is_err());
    }
}
