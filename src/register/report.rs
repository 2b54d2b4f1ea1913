//! The yearly report: each account with its attestations, its posts and how they went, and followers where a service has
//! told of them. A page with a chart that needs no colour and stands as a table as well, and the same as JSON.

use std::collections::BTreeMap;

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::attest::{Attestation, What};
use super::findings::Observations;
use super::{is_social, template, words};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::model::AccountId;

mod chart;

const PAGE: &str = include_str!("../../templates/register/report.html");

/// Version of [`Report`] as JSON: `docs/register.md`.
const VERSION: u32 = 1;

/// What came of the live broadcasts of a year on one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Posted {
    /// How many deliveries were to be published, those apart that were overtaken or stopped first.
    pub wanted: u64,
    /// How many got out.
    pub out: u64,
    /// Half of them were out within so many milliseconds of the acceptance; `None` where nobody can tell.
    pub median_ms: Option<u64>,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub version: u32,
    /// Whose.
    pub municipality: String,
    /// Of which year.
    pub year: i16,
    /// When it was made.
    pub made_at: Timestamp,
    /// Whether the year was over then.
    pub complete: bool,
    /// The accounts, in the order of their ids.
    pub accounts: Vec<AccountYear>,
}

/// One account's year.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountYear {
    /// Which.
    pub account: AccountId,
    /// Its channel.
    pub channel: String,
    /// What people call it.
    pub name: String,
    /// What is followed up.
    pub key_figures: Vec<String>,
    /// Since when it is closed.
    pub closed: Option<jiff::civil::Date>,
    /// Posts, or mails and messages, that were to go out.
    pub posts: u64,
    /// How many of them did.
    pub published: u64,
    /// Their share, 0 to 1; none where nothing was to go out.
    pub success: Option<f64>,
    /// Half of them were out within so many seconds.
    pub median_seconds: Option<f64>,
    /// How many follow it, where a service has told.
    pub followers: Option<u64>,
    /// What is attested at the end of the year, or now if it is not over; none on channels where nobody has to.
    pub attestations: BTreeMap<What, bool>,
}

/// What a report is made of besides the configuration.
#[derive(Debug)]
pub struct Figures<'a> {
    /// Of which year.
    pub year: i16,
    /// Now.
    pub now: Timestamp,
    /// What came of the year's broadcasts.
    pub posted: &'a BTreeMap<AccountId, Posted>,
    /// Every attestation.
    pub attestations: &'a [Attestation],
    /// What services have told; may be empty.
    pub observed: &'a Observations,
}

impl Report {
    /// Makes the report. Pure.
    pub fn of(config: &Config, figures: &Figures<'_>) -> Self {
        let zone = &config.municipality.time_zone;
        let end = jiff::civil::Date::new(figures.year.saturating_add(1), 1, 1)
            .ok()
            .and_then(|day| words::midnight(day, zone))
            .unwrap_or(figures.now);
        let complete = end <= figures.now;
        let then = end.min(figures.now);
        let accounts = config
            .accounts
            .values()
            .map(|account| {
                let posted = figures.posted.get(&account.id).copied().unwrap_or_default();
                let attestations = What::ALL
                    .into_iter()
                    .filter(|_| is_social(account.channel.id))
                    .map(|what| (what, held(figures.attestations, &account.id, what, then)))
                    .collect();
                AccountYear {
                    account: account.id.clone(),
                    channel: account.channel.id.to_owned(),
                    name: account
                        .register
                        .name
                        .clone()
                        .unwrap_or_else(|| account.id.to_string()),
                    key_figures: account.register.key_figures.clone(),
                    closed: account.register.closed,
                    posts: posted.wanted,
                    published: posted.out,
                    success: share(posted.out, posted.wanted),
                    median_seconds: posted
                        .median_ms
                        .map(|ms| rounded(std::time::Duration::from_millis(ms).as_secs_f64())),
                    followers: figures.observed.get(&account.id).and_then(|one| one.followers),
                    attestations,
                }
            })
            .collect();
        Self {
            version: VERSION,
            municipality: config.municipality.name.clone(),
            year: figures.year,
            made_at: figures.now,
            complete,
            accounts,
        }
    }

    /// A page of its own.
    ///
    /// # Errors
    /// If the template is broken.
    pub fn html(&self, zone: &str) -> Result<String, String> {
        let active: Vec<&AccountYear> = self.accounts.iter().filter(|one| one.posts > 0).collect();
        let chart = (!active.is_empty()).then(|| Value::from_safe_string(chart::bars(&active, self.year)));
        let social = self.accounts.iter().filter(|one| !one.attestations.is_empty());
        let attested: Vec<Value> = social.map(attested).collect();
        let followed = self.accounts.iter().any(|one| one.followers.is_some());
        let (posts, out) = self.accounts.iter().fold((0, 0), |(posts, out), one| {
            (posts + one.posts, out + one.published)
        });
        template::fill(
            "report.html",
            PAGE,
            context! {
                municipality => self.municipality.as_str(),
                year => self.year,
                complete => self.complete,
                made => words::day_text(self.made_at, zone),
                many => self.accounts.len(),
                posts,
                out,
                share => share(out, posts).map(percent),
                chart,
                rows => self.accounts.iter().map(row).collect::<Vec<_>>(),
                columns => What::ALL.map(What::brief).to_vec(),
                attested,
                followed,
            },
        )
    }
}

/// Whether an attestation held then.
fn held(all: &[Attestation], account: &AccountId, what: What, then: Timestamp) -> bool {
    let of_it = all
        .iter()
        .filter(|one| one.account == *account && one.what == what && one.at <= then);
    of_it
        .max_by_key(|one| one.id)
        .is_some_and(|one| one.expires_at >= then && one.revoked_at.is_none_or(|at| at > then))
}

#[allow(clippy::cast_precision_loss, reason = "posts of a year are far below 2^52")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 / whole as f64))
}

/// Three places are more than anybody reads.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0).replace('.', ",")
}

fn row(one: &AccountYear) -> Value {
    context! {
        name => one.name.as_str(),
        account => one.account.as_str(),
        channel => words::channel(&one.channel),
        posts => one.posts,
        published => one.published,
        success => one.success.map(percent),
        median => one.median_seconds.map(|seconds| format!("{seconds:.1} s").replace('.', ",")),
        followers => one.followers,
        key_figures => one.key_figures.clone(),
        closed => one.closed.map(words::date),
    }
}

fn attested(one: &AccountYear) -> Value {
    let cells: Vec<&str> = one
        .attestations
        .values()
        .map(|held| if *held { "Ja" } else { "Nej" })
        .collect();
    context! { name => one.name.as_str(), cells }
}

#[cfg(test)]
mod tests;
