//! What stands more than once: `[[relay]]`, `[list.<id>]`, `[account.<id>]`. Each is read whole before references
//! between them are looked at, so that a fault in one does not hide a fault in another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::section::{Placed, Section, is_loopback_host, quoted};
use super::source::{Source, hint};
use super::{Account, Relay, RelayTls, Stage, Unproven};
use crate::channel::{self, Pace, REGISTRY};
use crate::model::{AccountId, AddressKind, GroupId, Recipient};

/// The group that every account belongs to, whether it says so or not.
pub const EVERYONE: &str = "alla";

const MAX_ACCOUNTS: usize = 500;
const MAX_RELAYS: usize = 10;
const MAX_GROUPS: usize = 20;
/// `rate = "none"`.
const UNLIMITED: (u32, Duration) = (0, Duration::ZERO);
/// A relay on a busy machine needs so long although it is at work.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A name that must exist somewhere, with the place where it is used.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Dotted key.
    pub key: String,
    /// The name, and where it stands.
    pub name: Placed<String>,
}

impl Reference {
    fn of(s: &Section<'_>, key: &str, name: Placed<String>) -> Self {
        Self {
            key: format!("{}.{key}", s.path()),
            name,
        }
    }
}

/// The relays, and the names of those too that could not be read.
#[derive(Debug, Default)]
pub struct Relays {
    pub read: Vec<Relay>,
    pub names: Vec<Reference>,
    /// For each that was read: where its patience stands or would stand, and what it is if it is given.
    pub patience: Vec<(usize, Option<Duration>)>,
}

/// The accounts, the names of those too that could not be read, and what they refer to.
#[derive(Debug, Default)]
pub struct Accounts {
    pub read: BTreeMap<AccountId, Account>,
    pub names: Vec<Reference>,
    pub groups: Vec<Reference>,
    /// From account to the account that takes over.
    pub fallbacks: Vec<(String, Reference)>,
    pub relays: Vec<Reference>,
    pub lists: Vec<Reference>,
    /// Addresses at which services are to call us.
    pub reports: Vec<Reference>,
}

/// Reads `[[relay]]`.
pub fn relays(root: &mut Section<'_>) -> Relays {
    let sections = root.tables("relay");
    if sections.is_empty() && !root.has("relay") {
        root.missing(
            "relay",
            "at least one [[relay]]: the confirmation goes out through it",
        );
    }
    if sections.len() > MAX_RELAYS {
        root.problem(
            "relay",
            format!(
                "stands {} times; at most {MAX_RELAYS} are allowed",
                sections.len()
            ),
        );
    }
    let mut all = Relays::default();
    for mut s in sections {
        let place = s.place_of("id");
        if let Some(name) = s.optional::<String>("id", "a name such as \"relay-1\"") {
            all.names
                .push(Reference::of(&s, "id", Placed { value: name, place }));
        } else {
            s.required::<String>("id", "a name such as \"relay-1\"");
        }
        let place = s.place_of("patience");
        let patience = s.duration_within("patience", Duration::from_millis(100), Duration::from_mins(5));
        if let Some(relay) = relay(s) {
            all.read.push(relay);
            all.patience.push((place, patience));
        }
    }
    all
}

/// How long each relay may take: a quarter of the shortest attempt to send a mail, so that opening, envelope, body and
/// reply all have their time; or what the configuration says, which may not be longer.
pub fn be_patient(
    source: &Source,
    relays: &mut Relays,
    accounts: &BTreeMap<AccountId, Account>,
    mail: Duration,
) {
    let own = accounts
        .values()
        .filter(|account| account.channel.id == crate::channel::email::KIND.id)
        .filter_map(|account| account.attempt_timeout);
    let shortest = own.chain([mail]).min().unwrap_or(mail);
    let most = (shortest / 4).max(LEAST_PATIENCE);
    for (relay, (place, given)) in relays.read.iter_mut().zip(&relays.patience) {
        relay.patience = given.unwrap_or(most);
        if relay.patience > most {
            source.report(
                *place,
                "relay.patience",
                format!(
                    "found {}, expected at most {}: a quarter of the shortest attempt_timeout of a mail, which is {}",
                    humantime::format_duration(relay.patience),
                    humantime::format_duration(most),
                    humantime::format_duration(shortest)
                ),
            );
        }
    }
}

fn relay(mut s: Section<'_>) -> Option<Relay> {
    let id: Option<AccountId> = s.parsed("id", "a name such as \"relay-1\"");
    let host = s.required_text("host", 253, "a host name such as \"smtp.nassjo.se\"");
    if let Some(host) = &host
        && url::Host::parse(host).is_err()
        && host.parse::<std::net::IpAddr>().is_err()
    {
        s.problem(
            "host",
            format!(
                "found {}, expected a host name such as \"smtp.nassjo.se\" or an IP address",
                quoted(host)
            ),
        );
    }
    let tls = match s.one_of("tls", &["starttls", "implicit", "none"]) {
        Some("implicit") => RelayTls::Implicit,
        Some("none") => RelayTls::None,
        _ => RelayTls::Starttls,
    };
    if let (RelayTls::None, Some(host)) = (tls, &host)
        && !is_loopback_host(host)
    {
        s.problem("tls", format!("found \"none\" for the host {}, expected \"starttls\" or \"implicit\": mail leaves this machine encrypted (\"none\" only on 127.0.0.1, ::1 or localhost)", quoted(host)));
    }
    let port = match tls {
        RelayTls::Starttls => 587,
        RelayTls::Implicit => 465,
        RelayTls::None => 25,
    };
    let port = s
        .number_within("port", 1, 65_535)
        .map_or(Some(port), |n| u16::try_from(n).ok());
    let login = s.optional("login", "true or false").unwrap_or(false);
    refuse_secrets(&mut s, id.as_ref().map_or("<id>", AccountId::as_str));
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Relay {
        id: id?,
        host: host?,
        port: port?,
        tls,
        login,
        // What it may be depends on the accounts: see `be_patient`.
        patience: LEAST_PATIENCE,
    })
}

/// The mail addresses without repetition, in the order given; a problem for each that is none.
pub fn recipients(s: &Section<'_>, key: &str, given: &[Placed<String>]) -> Vec<Recipient> {
    super::lists::addresses(s, key, AddressKind::Mail, given)
}

/// Reads `[account.<id>]`.
pub fn accounts(root: &mut Section<'_>) -> Accounts {
    let mut all = Accounts::default();
    let Some(mut table) = root.table("account") else {
        if !root.has("account") {
            root.missing(
                "account",
                "at least one section [account.<id>]: without one nothing can be published",
            );
        }
        return all;
    };
    let sections = table.entries();
    if sections.is_empty() && !table.is_broken() {
        root.problem(
            "account",
            "holds no account; without one nothing can be published",
        );
    }
    if sections.len() > MAX_ACCOUNTS {
        root.problem(
            "account",
            format!(
                "holds {} accounts; at most {MAX_ACCOUNTS} are allowed",
                sections.len()
            ),
        );
    }
    for (name, s) in sections {
        let id = name_of::<AccountId>(&s, &name);
        all.names.push(Reference {
            key: s.path().to_owned(),
            name,
        });
        if let Some(account) = account(s, id, &mut all) {
            all.read.insert(account.id.clone(), account);
        }
    }
    all
}

/// How long an account may take before its fallback goes.
const FALLBACK_AFTER: Duration = Duration::from_mins(5);

/// The name of a table as an id; a problem if it cannot be one.
pub fn name_of<T>(s: &Section<'_>, name: &Placed<String>) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    name.value
        .parse()
        .map_err(|wrong| s.problem_at(name.place, "", format!("{wrong}")))
        .ok()
}

fn account(mut s: Section<'_>, id: Option<AccountId>, all: &mut Accounts) -> Option<Account> {
    let name: Option<String> = s.required("channel", "the name of a channel such as \"mastodon\"");
    let groups = groups(&mut s, all);
    let url = s.address("url", false);
    let stage = match s.one_of("stage", &["first", "normal"]) {
        Some("first") => Stage::First,
        _ => Stage::Normal,
    };
    let place = s.place_of("fallback");
    let fallback = s.optional::<String>("fallback", "the id of another account");
    if let Some(value) = &fallback {
        let name = Placed {
            value: value.clone(),
            place,
        };
        let from = id.as_ref().map_or("", |id| id.as_str()).to_owned();
        all.fallbacks.push((from, Reference::of(&s, "fallback", name)));
    }
    let fallback: Option<AccountId> = fallback.and_then(|name| name.parse().ok());
    let fallback_after = s
        .duration_within("fallback_after", Duration::from_secs(1), Duration::from_hours(24))
        .unwrap_or(FALLBACK_AFTER);
    let keeps_going = s.one_of("fallback_then", &["stop", "send"]) == Some("send");
    let corrects_by_edit = s.one_of("correction", &["reply", "edit"]) == Some("edit");
    let pins: bool = s.optional("pin", "true or false").unwrap_or(false);
    let unproven = match s.one_of("unproven", &["hold", "resend"]) {
        Some("resend") => Unproven::Resend,
        _ => Unproven::Hold,
    };
    let attempt_timeout = s.duration_within(
        "attempt_timeout",
        Duration::from_millis(100),
        Duration::from_mins(5),
    );
    let rate = rate(&mut s);
    let burst = s.number_within("burst", 1, 1000);
    let parallel = s.number_within("parallel", 1, 64);
    let register = s.table("register").map(|mut of_it| {
        let entry = super::register::entry(&mut of_it);
        if of_it.is_broken() {
            s.break_off();
        }
        of_it.finish();
        entry
    });

    let known = REGISTRY.iter().map(|kind| kind.id);
    let Some(kind) = name.as_deref().and_then(channel::kind) else {
        if let Some(name) = name {
            s.problem(
                "channel",
                format!(
                    "there is no channel {}{}; `vardkase channels` lists them",
                    quoted(&name),
                    hint(&name, known)
                ),
            );
        }
        // Without its channel nobody can say which of the other keys belong here.
        return None;
    };
    if let Some(n) = parallel
        && n > 1
        && !kind.can.recipients
    {
        s.problem("parallel", format!("found {n}, expected 1: only a channel that goes to a list of recipients sends several at once, and {} is none", kind.id));
    }
    for (wanted, can, key, what) in [
        (
            corrects_by_edit,
            kind.can.edit,
            "correction",
            "change a published post; use \"reply\"",
        ),
        (pins, kind.can.pin, "pin", "pin a post; remove it"),
    ] {
        if wanted && !can {
            s.problem(key, format!("the channel {} cannot {what}", kind.id));
        }
    }
    let settings = (kind.read)(&mut s);
    if settings.is_none() && !s.is_broken() {
        s.problem(
            "",
            format!("the keys of the channel {} could not be read", kind.id),
        );
    }
    for (key, into) in [
        ("relay", &mut all.relays),
        ("list", &mut all.lists),
        ("whendelivered", &mut all.reports),
    ] {
        if s.knows(key) {
            let place = s.place_of(key);
            if let Some(value) = s.text_if_any(key) {
                into.push(Reference::of(&s, key, Placed { value, place }));
            }
        }
    }
    refuse_secrets(&mut s, id.as_ref().map_or("<id>", AccountId::as_str));
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    let (attempts, per) = rate.unwrap_or((kind.pace.attempts, kind.pace.per));
    Some(Account {
        id: id?,
        channel: kind,
        groups,
        url,
        stage,
        fallback,
        fallback_after,
        keeps_going,
        corrects_by_edit,
        pins,
        pace: Pace {
            attempts,
            per,
            burst: burst.unwrap_or(kind.pace.burst.clamp(1, attempts.max(1))),
            parallel: parallel.unwrap_or(kind.pace.parallel.max(1)),
        },
        unproven,
        attempt_timeout,
        register: register.unwrap_or_default(),
        settings: Arc::from(settings?),
    })
}

fn groups(s: &mut Section<'_>, all: &mut Accounts) -> BTreeSet<GroupId> {
    let given = s
        .strings("groups", "a list of groups such as [\"sociala\"]")
        .unwrap_or_default();
    if given.len() > MAX_GROUPS {
        s.problem(
            "groups",
            format!("holds {} groups; at most {MAX_GROUPS} are allowed", given.len()),
        );
    }
    let mut groups: BTreeSet<GroupId> = EVERYONE.parse().into_iter().collect();
    for entry in given {
        match entry.value.parse::<GroupId>() {
            Ok(group) => {
                groups.insert(group);
                all.groups.push(Reference::of(s, "groups", entry));
            }
            Err(wrong) => s.problem_at(entry.place, "groups", wrong.to_string()),
        }
    }
    groups
}

/// `"30/1m"`: at most so many attempts in so long. `"none"` is no limit at all.
fn rate(s: &mut Section<'_>) -> Option<(u32, Duration)> {
    const EXPECTED: &str =
        "attempts per time such as \"30/1m\" (1 to 100000 in 1s to 24h), or \"none\" for no limit";
    let text: String = s.optional("rate", EXPECTED)?;
    if text == "none" {
        return Some(UNLIMITED);
    }
    let read = text.split_once('/').and_then(|(attempts, per)| {
        let attempts: u32 = attempts.trim().parse().ok()?;
        let per = humantime::parse_duration(per.trim()).ok()?;
        let fits = (1..=100_000).contains(&attempts)
            && (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&per);
        fits.then_some((attempts, per))
    });
    if read.is_none() {
        s.problem("rate", format!("found {}, expected {EXPECTED}", quoted(&text)));
    }
    read
}

/// A secret in this file would be in every backup and on every screen that shows it.
fn refuse_secrets(s: &mut Section<'_>, owner: &str) {
    let named = REGISTRY
        .iter()
        .flat_map(|kind| kind.secrets.iter().map(|secret| secret.name));
    let all: BTreeSet<&str> = named.chain(["username", "password", "token"]).collect();
    for name in all {
        if !s.knows(name) {
            s.not_here(name, &format!("is a secret, and secrets do not belong in this file; remove the line, then give it to the vault with `vardkase credentials set {owner}`"));
        }
    }
}
