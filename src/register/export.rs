//! The public list of accounts, by which people tell a false one: as a fragment of a page, as JSON and as CSV.
//!
//! It holds what is public and nothing else. The same register gives the same bytes, so that what has not changed is
//! known by its digest and not published again.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::{template, words};
use crate::config::{Account, Config};
use crate::model::AccountId;

const PAGE: &str = include_str!("../../templates/register/accounts.html");

/// Version of [`Public`] as JSON: `docs/register.md`.
const VERSION: u32 = 1;

/// The list, as everybody may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// Version of this form.
    pub version: u32,
    /// Whose accounts they are.
    pub municipality: String,
    /// The municipality's site.
    pub site: Url,
    /// The page that shows the list.
    pub page: Option<Url>,
    /// The accounts, by channel and name.
    pub accounts: Vec<Listed>,
}

/// One account of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id; the anchor of its row.
    pub id: AccountId,
    /// What residents know it as.
    pub name: String,
    /// What kind of outlet it is: the id of a channel.
    pub channel: String,
    /// The same as people say it.
    pub channel_name: String,
    /// Its address; none of a closed one, which somebody else may have by now.
    pub url: Option<Url>,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whom it is for.
    pub audience: Option<String>,
    /// The role that answers for it.
    pub owner: Option<String>,
    /// The unit of that role.
    pub unit: Option<String>,
    /// The function's job address.
    pub contact: Option<String>,
    /// Whether personal data leave the EU.
    pub third_country: Option<String>,
    /// Since when it is closed.
    pub closed: Option<jiff::civil::Date>,
}

/// What the list is asked for as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A fragment for a page of the site.
    Html,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

impl Public {
    /// The list of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut accounts: Vec<Listed> = config.accounts.values().filter_map(listed).collect();
        accounts.sort_by(|a, b| {
            let key = |one: &Listed| {
                (
                    one.channel_name.to_lowercase(),
                    one.name.to_lowercase(),
                    one.id.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        Self {
            version: VERSION,
            municipality: config.municipality.name.clone(),
            site: config.municipality.site.clone(),
            page: config.register.page.clone(),
            accounts,
        }
    }

    /// As asked.
    ///
    /// # Errors
    /// If it cannot be written; the text says why.
    pub fn write(&self, format: Format) -> Result<String, String> {
        match format {
            Format::Html => self.html(),
            Format::Json => self.json(),
            Format::Csv => Ok(self.csv()),
        }
    }

    /// A fragment for a page that has its own first heading: no script, no style, every link with its text.
    pub fn html(&self) -> Result<String, String> {
        let (closed, open): (Vec<_>, Vec<_>) = self.accounts.iter().partition(|one| one.closed.is_some());
        let contact = open.iter().find_map(|one| one.contact.clone());
        let rows: Vec<Value> = open.into_iter().map(row).collect();
        let gone: Vec<Value> = closed.into_iter().map(row).collect();
        template::fill(
            "accounts.html",
            PAGE,
            context! { municipality => self.municipality.as_str(), rows, gone, contact },
        )
    }

    /// Versioned JSON.
    pub fn json(&self) -> Result<String, String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        Ok(text + "\n")
    }

    /// RFC 4180, a line of names first; no cell can be taken for a formula.
    pub fn csv(&self) -> String {
        let head = [
            "id",
            "name",
            "channel",
            "url",
            "purpose",
            "audience",
            "owner",
            "unit",
            "contact",
            "third_country",
            "closed",
        ];
        let mut out = head.join(",");
        out.push_str("\r\n");
        for one in &self.accounts {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let cells = [
                one.id.to_string(),
                one.name.clone(),
                one.channel_name.clone(),
                one.url.as_ref().map(Url::to_string).unwrap_or_default(),
                text(&one.purpose),
                text(&one.audience),
                text(&one.owner),
                text(&one.unit),
                text(&one.contact),
                text(&one.third_country),
                one.closed.map(|day| day.to_string()).unwrap_or_default(),
            ];
            out.push_str(&cells.map(|cell| csv_cell(&cell)).join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// SHA-256 over all that is published, hex: the same list has the same one.
    pub fn digest(&self) -> Result<String, String> {
        let mut hash = Sha256::new();
        hash.update(self.html()?);
        hash.update([0]);
        hash.update(self.json()?);
        Ok(hex::encode(hash.finalize()))
    }
}

/// Whether the public page lists an account.
pub fn is_listed(account: &Account) -> bool {
    account.register.listed.unwrap_or(account.url.is_some())
}

fn listed(account: &Account) -> Option<Listed> {
    if !is_listed(account) {
        return None;
    }
    let entry = account.register.clone();
    let channel = words::channel(account.channel.id);
    let name = entry.name.unwrap_or_else(|| match account.url.as_ref() {
        Some(url) => {
            let path = url.path().trim_end_matches('/');
            format!("{channel}: {}{path}", url.host_str().unwrap_or_default())
        }
        None => format!("{channel}: {}", account.id),
    });
    Some(Listed {
        id: account.id.clone(),
        name,
        channel: account.channel.id.to_owned(),
        channel_name: channel.to_owned(),
        url: account.url.clone().filter(|_| entry.closed.is_none()),
        purpose: entry.purpose,
        audience: entry.audience,
        owner: entry.owner,
        unit: entry.unit,
        contact: entry.contact,
        third_country: entry.third_country,
        closed: entry.closed,
    })
}

fn row(one: &Listed) -> Value {
    context! {
        id => one.id.as_str(),
        name => one.name.as_str(),
        channel => one.channel_name.as_str(),
        url => one.url.as_ref().map(Url::to_string),
        purpose => one.purpose.clone(),
        audience => one.audience.clone(),
        responsible => [&one.owner, &one.unit].into_iter().flatten().cloned().collect::<Vec<_>>(),
        contact => one.contact.clone(),
        third_country => one.third_country.clone(),
        closed => one.closed.map(words::date),
    }
}

/// A CSV cell: quoted, and with a leading apostrophe where a spreadsheet would take it for a formula.
pub fn csv_cell(text: &str) -> String {
    // A spreadsheet looks past what it does not show.
    let shown = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    let formula = shown.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n', '\0']);
    format!(
        "\"{}{}\"",
        if formula { "'" } else { "" },
        text.replace('\0', "").replace('"', "\"\"")
    )
}

#[cfg(test)]
pub(crate) mod tests;
