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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::export::Public;
    use crate::register::export::tests::shipped;

    #[test]
    fn the_list_itself_is_no_drift_and_every_account_that_falls_out_of_it_is() {
        let config = shipped(|text| text);
        let page = config.register.page.clone().expect("a page");
        let html = Public::of(&config).html().expect("a page");
        assert_eq!(findings(&config, &page, &html), []);
        for account in config.accounts.values().filter(|account| is_listed(account)) {
            let url = account.url.as_ref().expect("an address").as_str();
            let without = html.replace(&format!("href=\"{url}\""), "href=\"https://nassjo.se/annat\"");
            let found = findings(&config, &page, &without);
            assert_eq!(found.len(), 1, "{url}: {found:?}");
            assert_eq!(
                (found[0].check.as_str(), found[0].account.as_ref()),
                ("missing-on-page", Some(&account.id))
            );
        }
    }

    #[test]
    fn what_is_false_or_old_on_the_page_is_told_in_a_sentence() {
        let config = shipped(|text| {
            text.replace(
                "case = \"KS 2013/88\"",
                "case = \"KS 2013/88\"\nclosed = \"2026-10-01\"",
            )
        });
        let page = config.register.page.clone().expect("a page");
        let mut html = Public::of(&config).html().expect("a page");
        html.push_str(
            "<a href=https://twitter.com/NassjoKommun>x</a> <a href='https://www.instagram.com/nassjokommun_officiell/?hl=sv'>i</a>\
             <a href='https://instagram.com/nassjokommun_officiell'>igen</a>",
        );
        let told: Vec<String> = findings(&config, &page, &html)
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(told.join("\n"));
        let many: Vec<String> = (0..500)
            .map(|n| format!("<a href=https://x.com/falsk{n}>x</a>"))
            .collect();
        let many = many.concat();
        assert!(findings(&config, &page, &many).len() <= 100);
    }
}
