//! What has to fit together across sections: every name that is used must exist, and no name may mean two things.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::{Accounts, EVERYONE, Reference, Relays};
use super::drills::Drills;
use super::lists::Lists;
use super::section::quoted;
use super::source::{Source, hint};
use super::{Daemon, Problem};
use crate::compose::messages::Target;

/// The name under which the confirmation's own deliveries stand in store and log.
const RESERVED: &str = "confirmation";
/// The name of the daemon among those whose health is watched.
const DAEMON: &str = "daemon";

/// Reports every reference that leads nowhere and every name that is taken twice.
pub fn check(
    source: &Source,
    daemon: Option<&Daemon>,
    accounts: &Accounts,
    relays: &Relays,
    lists: &Lists,
    drills: &Drills,
    told: &[Reference],
) {
    names(source, accounts, relays);
    if let Some(daemon) = daemon {
        reports(source, daemon, accounts);
    }
    fallbacks(source, accounts);
    failing(source, accounts, drills);
    addresses(source, accounts, lists);
    let relay_names: Vec<&str> = relays
        .names
        .iter()
        .map(|relay| relay.name.value.as_str())
        .collect();
    let kinds = [
        ("relay", accounts.relays.as_slice(), relay_names.clone()),
        (
            "account",
            told,
            accounts.names.iter().map(|one| one.name.value.as_str()).collect(),
        ),
        ("relay", drills.relays.as_slice(), relay_names),
        (
            "list",
            accounts.lists.as_slice(),
            lists.names.iter().map(String::as_str).collect(),
        ),
        ("account or group", drills.targets.as_slice(), targets(accounts)),
        (
            "account",
            drills.failing.as_slice(),
            accounts.names.iter().map(|one| one.name.value.as_str()).collect(),
        ),
    ];
    for (what, references, known) in kinds {
        // That there is no relay at all is told already.
        if what == "relay" && known.is_empty() {
            continue;
        }
        for reference in references {
            let name = reference.name.value.as_str();
            if !known.contains(&name) {
                source.report(
                    reference.name.place,
                    reference.key.clone(),
                    format!(
                        "there is no {what} {}{}",
                        quoted(name),
                        hint(name, known.iter().copied())
                    ),
                );
            }
        }
    }
}

/// Reports every account that cannot be made to fail: the wall answers for services on the network only.
fn failing(source: &Source, accounts: &Accounts, drills: &Drills) {
    for reference in &drills.failing {
        let account = accounts
            .read
            .iter()
            .find(|(id, _)| id.as_str() == reference.name.value)
            .map(|(_, account)| account);
        let why = match account.map(|account| account.channel) {
            Some(kind) if kind.can.by_hand => "a person serves it",
            Some(kind) if kind.id == "email" => "mail fails with its relays; use what = \"relay-down\"",
            Some(kind) if kind.id == "file" => "it is a folder on this machine in a drill",
            Some(_) | None => continue,
        };
        source.report(
            reference.name.place,
            reference.key.clone(),
            format!("{} cannot be made to fail: {why}", quoted(&reference.name.value)),
        );
    }
}

/// Adds to each message fault-free so far what is wrong with its accounts and groups.
pub fn check_messages(accounts: &Accounts, wanted: Vec<Target>) -> Vec<Problem> {
    let known = targets(accounts);
    wanted
        .into_iter()
        .filter(|target| !known.contains(&target.name.as_str()))
        .map(|target| Problem {
            text: format!(
                "there is no account or group {}{}",
                quoted(&target.name),
                hint(&target.name, known.iter().copied())
            ),
            ..target.at
        })
        .collect()
}

/// Every account and group.
fn targets(accounts: &Accounts) -> Vec<&str> {
    let all: BTreeSet<&str> = accounts
        .names
        .iter()
        .chain(&accounts.groups)
        .map(|reference| reference.name.value.as_str())
        .chain([EVERYONE])
        .collect();
    all.into_iter().collect()
}

fn names(source: &Source, accounts: &Accounts, relays: &Relays) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    taken.insert(RESERVED, "the confirmation");
    taken.insert(DAEMON, "the daemon itself");
    taken.insert(EVERYONE, "the group of all accounts");
    let all = relays
        .names
        .iter()
        .map(|name| (name, "a relay"))
        .chain(accounts.names.iter().map(|name| (name, "an account")));
    for (reference, what) in all {
        let name = reference.name.value.as_str();
        if let Some(other) = taken.get(name) {
            source.report(
                reference.name.place,
                reference.key.clone(),
                format!(
                    "the name {} already belongs to {other}; choose another one",
                    quoted(name)
                ),
            );
        } else {
            taken.insert(name, what);
        }
    }
    for group in &accounts.groups {
        let name = group.name.value.as_str();
        if let Some(other) = taken.get(name)
            && name != EVERYONE
            && *other != "a relay"
        {
            source.report(
                group.name.place,
                group.key.clone(),
                format!(
                    "the name {} already belongs to {other}; a group needs one of its own",
                    quoted(name)
                ),
            );
        }
    }
}

/// The channels that a standing page can be published through.
const PUBLISHERS: [&str; 3] = ["file", "http-json", "wordpress"];

/// The register is published through accounts that exist and can keep a page.
pub fn publishers(source: &Source, accounts: &Accounts, targets: &[Reference]) {
    let known: Vec<&str> = accounts
        .names
        .iter()
        .map(|name| name.name.value.as_str())
        .collect();
    for target in targets {
        let name = target.name.value.as_str();
        let report = |text: String| source.report(target.name.place, target.key.clone(), text);
        if !known.contains(&name) {
            let near = hint(name, known.iter().copied());
            report(format!("there is no account {}{near}", quoted(name)));
        } else if let Some(account) = accounts.read.get(name)
            && !PUBLISHERS.contains(&account.channel.id)
        {
            report(format!(
                "{} is an account of {}, which keeps no page; expected one of {}",
                quoted(name),
                account.channel.id,
                PUBLISHERS.join(", ")
            ));
        }
    }
}

/// A list holds what its channel can reach.
fn addresses(source: &Source, accounts: &Accounts, lists: &Lists) {
    for reference in &accounts.lists {
        let account = accounts
            .read
            .values()
            .find(|account| format!("account.{}.list", account.id) == reference.key);
        let list = lists.lists.get(reference.name.value.as_str());
        let (Some(account), Some(list)) = (account, list) else {
            continue;
        };
        let takes = account.settings.addresses_of();
        if list.kind != takes {
            source.report(
                reference.name.place,
                reference.key.clone(),
                format!(
                    "the list {} holds {}, and {} takes {}; name another list, or write kind = \"{takes}\" in the list's section if that is what it holds",
                    quoted(list.id.as_str()),
                    list.kind.words(),
                    account.channel.id,
                    takes.words(),
                ),
            );
        }
    }
}

/// A service that is to report finds us: somebody listens, and the address is one that we answer.
fn reports(source: &Source, daemon: &Daemon, accounts: &Accounts) {
    for reference in &accounts.reports {
        let account = reference.key.split('.').nth(1).unwrap_or_default();
        let report = |text: String| source.report(reference.name.place, reference.key.clone(), text);
        if daemon.public_listen.is_none() {
            report(
                "nobody would hear the reports: set daemon.public_listen, such as \"127.0.0.1:8087\", and let \
                 your web server pass /reports/ on to it"
                    .to_owned(),
            );
        }
        // That it is an address at all was looked at where it was read.
        let Ok(url) = url::Url::parse(&reference.name.value) else {
            continue;
        };
        if !url.path().ends_with(&format!("/reports/{account}")) {
            report(format!(
                "found the path {}, expected one that ends with /reports/{account}: no other is answered",
                quoted(url.path())
            ));
        }
    }
}

fn fallbacks(source: &Source, accounts: &Accounts) {
    let known: BTreeSet<&str> = accounts
        .names
        .iter()
        .map(|name| name.name.value.as_str())
        .collect();
    let next: BTreeMap<&str, &str> = accounts
        .fallbacks
        .iter()
        .map(|(from, to)| (from.as_str(), to.name.value.as_str()))
        .collect();
    for (from, reference) in &accounts.fallbacks {
        let name = reference.name.value.as_str();
        let report = |text: String| source.report(reference.name.place, reference.key.clone(), text);
        if !known.contains(name) {
            report(format!(
                "there is no account {}{}",
                quoted(name),
                hint(name, known.iter().copied())
            ));
            continue;
        }
        let mut way = vec![from.as_str()];
        let mut at = name;
        while !way.contains(&at) {
            way.push(at);
            let Some(further) = next.get(at) else {
                break;
            };
            at = further;
        }
        if way.len() > 1 && at == from || name == from {
            way.push(from);
            report(format!(
                "goes in a circle: {}; one of them must have no fallback",
                way.join(" → ")
            ));
        }
    }
}
