//! Whether the public page lists what the register does: an account that is missing there is no use to anybody, and one
//! that stands there and is none of ours is a false one, or a forgotten one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use url::Url;

use super::export::is_listed;
use super::page_links::{key, links, profile};
use super::{Finding, words};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::model::Reason;

/// Longest list of unknown profiles that is told.
const MOST_UNKNOWN: usize = 50;

/// What a look at the public page has given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// At which page.
    pub page: Url,
    /// Why the page could not be read, if it could not.
    pub error: Option<Reason>,
    /// What is otherwise there than in the register.
    pub findings: Vec<Finding>,
}

/// What the page has otherwise than the register.
pub fn findings(config: &Config, page: &Url, html: &str) -> Vec<Finding> {
    let links = links(html, page);
    let there: BTreeSet<String> = links.iter().map(key).collect();
    let mut found = Vec::new();
    let mut ours = BTreeSet::new();
    for account in config.accounts.values() {
        let Some(url) = &account.url else { continue };
        let stands = there.contains(&key(url));
        match account.register.closed {
            Some(day) if stands => {
                let day = words::date(day);
                let text = format!(
                    "kontot avslutades {day}, och sidan länkar fortfarande till {url}; ta bort länken"
                );
                found.push(Finding::warning(
                    "closed-on-page",
                    Some(&account.id),
                    &[15, 16],
                    text,
                ));
            }
            None if !stands && is_listed(account) => {
                let text = format!("kontot saknas på {page}; lägg till {url} eller publicera registret");
                found.push(Finding::warning(
                    "missing-on-page",
                    Some(&account.id),
                    &[15],
                    text,
                ));
            }
            Some(_) | None => {}
        }
        ours.insert(key(url));
    }
    let unknown = links
        .iter()
        .filter(|url| profile(url).is_some_and(|profile| !ours.contains(&profile)));
    let mut told = BTreeSet::new();
    for url in unknown.filter(|url| told.insert(key(url))).take(MOST_UNKNOWN) {
        let shown: String = url.as_str().chars().take(200).collect();
        let text = format!(
            "sidan {page} länkar till {shown}, som inte finns i registret; ta bort länken, eller ta upp kontot om det är vårt"
        );
        found.push(Finding::warning("unknown-on-page", None, &[3, 15], text));
    }
    found
}
