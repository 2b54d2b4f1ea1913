//! What a service tells of an account: who it is, what our credential may, and how readers find it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use url::Url;

use super::Reason;
use crate::clock::Timestamp;

/// Who a service says that an account is, and what our credential may there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name there.
    pub name: String,
    /// The service's own id of the account. It is kept with the first verification, and another one later is an alarm.
    #[serde(default)]
    pub id: Option<String>,
    /// When the credential ends, where the service or the credential itself tells.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What the credential may; `None` where the service does not tell.
    #[serde(default)]
    pub rights: Option<Rights>,
    /// What is wrong though the account answers: readers do not see it, a right for pictures is missing.
    #[serde(default)]
    pub flaws: Vec<Reason>,
    /// What else is worth showing: version, limits.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What its answer proves.
    #[serde(default, skip_serializing_if = "Proves::is_sign_in")]
    pub proves: Proves,
}

/// What an answer proves of an account, when nothing was published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proves {
    /// The service took our credential.
    #[default]
    SignIn,
    /// The service is there; whether it takes our credential shows only when something is published.
    Presence,
    /// Nothing: the account cannot be asked.
    Nothing,
}

impl Proves {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_sign_in(&self) -> bool {
        *self == Self::SignIn
    }
}

/// What a credential may, as the service names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// All that it may.
    pub held: BTreeSet<String>,
    /// What some of our work needs and it may not: that work is not done.
    pub missing: BTreeSet<String>,
    /// What it may beyond our needs: whoever steals it may too.
    pub surplus: BTreeSet<String>,
}

impl Rights {
    /// Compares what is held with what our work `needs` (each entry in any of its spellings, the first one is told) and
    /// what may stand beside it.
    pub fn compare(held: impl IntoIterator<Item = String>, needs: &[&[&str]], beside: &[&str]) -> Self {
        let held: BTreeSet<String> = held.into_iter().collect();
        let missing = needs
            .iter()
            .filter(|spellings| !spellings.iter().any(|right| held.contains(*right)))
            .filter_map(|spellings| spellings.first())
            .map(|right| (*right).to_owned())
            .collect();
        let known: BTreeSet<&str> = needs
            .iter()
            .flat_map(|s| s.iter())
            .chain(beside)
            .copied()
            .collect();
        let surplus = held
            .iter()
            .filter(|right| !known.contains(right.as_str()))
            .cloned()
            .collect();
        Self {
            held,
            missing,
            surplus,
        }
    }
}

/// An account as its readers find it. All of it is public.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name that is shown.
    pub name: String,
    /// Every text of the profile: description, fields, about, contact; plain, one entry for each.
    pub texts: Vec<String>,
    /// Its links.
    #[serde(default)]
    pub links: Vec<Url>,
    /// SHA-256 of the picture of the account, hex, as the service gives it out.
    #[serde(default)]
    pub picture: Option<String>,
    /// How many follow it, where that is open.
    #[serde(default)]
    pub followers: Option<u64>,
    /// How many posts it has.
    #[serde(default)]
    pub posts: Option<u64>,
    /// The latest posts, newest first, at most ten; no answers to others.
    #[serde(default)]
    pub latest: Vec<Latest>,
    /// Who administers the account, where the service tells: names or addresses of roles, as the service gives them.
    #[serde(default)]
    pub admins: Vec<String>,
}

/// A post that stands on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Its id, as a receipt of ours names it.
    pub remote_id: String,
    /// When it was published.
    pub at: Timestamp,
    /// The person or program that the service says made it.
    #[serde(default)]
    pub by: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_missing_and_what_is_too_much_is_told_and_any_spelling_counts() {
        let needs: &[&[&str]] = &[&["write:statuses", "write"], &["write:media", "write"]];
        let rights = Rights::compare(words(&["read", "write:statuses", "follow"]), needs, &["read"]);
        assert_eq!(rights.missing, BTreeSet::from(["write:media".to_owned()]));
        assert_eq!(rights.surplus, BTreeSet::from(["follow".to_owned()]));
        let rights = Rights::compare(words(&["write"]), needs, &[]);
        assert!(rights.missing.is_empty() && rights.surplus.is_empty());
    }
}
