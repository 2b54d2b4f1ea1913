//! What the register lacks: keys that the guideline asks for, attestations that are missing or have lapsed, accounts that
//! nobody works with any more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attest::{Attestation, Standing, What, standing};
use super::{Finding, is_social, words};
use crate::clock::{self, Timestamp};
use crate::config::register::Entry;
use crate::config::{Account, Config};
use crate::model::AccountId;

/// What a service has told of an account, as far as somebody asked it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// How many follow it.
    pub followers: Option<u64>,
    /// When it posted last, whoever did it.
    pub last_post: Option<Timestamp>,
}

/// What is observed of the accounts; those of which nothing is known are not there.
pub type Observations = BTreeMap<AccountId, Observed>;

/// One key of the register: its name, the guideline's paragraphs, and whether only accounts in social media need it.
struct Key {
    name: &'static str,
    paragraphs: &'static [u8],
    social: bool,
    /// Also told whether the account has a public address.
    is_there: fn(bool, &Entry) -> bool,
}

const KEYS: &[Key] = &[
    Key {
        name: "owner",
        paragraphs: &[3],
        social: false,
        is_there: |_, of| of.owner.is_some(),
    },
    Key {
        name: "unit",
        paragraphs: &[3],
        social: false,
        is_there: |_, of| of.unit.is_some(),
    },
    Key {
        name: "contact",
        paragraphs: &[3, 14],
        social: false,
        is_there: |_, of| of.contact.is_some(),
    },
    Key {
        name: "purpose",
        paragraphs: &[4],
        social: false,
        is_there: |_, of| of.purpose.is_some(),
    },
    Key {
        name: "audience",
        paragraphs: &[4],
        social: true,
        is_there: |_, of| of.audience.is_some(),
    },
    Key {
        name: "audience_basis",
        paragraphs: &[2],
        social: true,
        is_there: |_, of| of.audience_basis.is_some(),
    },
    Key {
        name: "plan",
        paragraphs: &[4],
        social: true,
        is_there: |_, of| of.plan.is_some(),
    },
    Key {
        name: "key_figures",
        paragraphs: &[4],
        social: true,
        is_there: |_, of| !of.key_figures.is_empty(),
    },
    Key {
        name: "document_plan",
        paragraphs: &[13],
        social: false,
        is_there: |_, of| of.document_plan.is_some(),
    },
    Key {
        name: "third_country",
        paragraphs: &[20],
        social: true,
        is_there: |_, of| of.third_country.is_some(),
    },
    Key {
        name: "decided_on",
        paragraphs: &[4],
        social: true,
        is_there: |_, of| of.decided_on.is_some(),
    },
    Key {
        name: "decided_by",
        paragraphs: &[4],
        social: true,
        is_there: |_, of| of.decided_by.is_some(),
    },
    Key {
        name: "case",
        paragraphs: &[12],
        social: true,
        is_there: |_, of| of.case.is_some(),
    },
    Key {
        name: "url",
        paragraphs: &[15],
        social: true,
        is_there: |has_url, of| has_url || of.listed == Some(false),
    },
];

/// What an entry lacks before an account of this channel may be decided on; `skip` names what comes with the decision.
pub fn lacking(channel: &str, entry: &Entry, skip: &[&str]) -> Vec<&'static str> {
    let asked = KEYS.iter().filter(|key| is_social(channel) || !key.social);
    asked
        .filter(|key| !skip.contains(&key.name) && !(key.is_there)(true, entry))
        .map(|key| key.name)
        .collect()
}

/// What the configuration lacks, one finding for each account and all of its keys in it.
pub fn of_config(config: &Config) -> Vec<Finding> {
    config
        .accounts
        .values()
        .flat_map(|account| [lacks(account), foreign_mail(config, account)])
        .flatten()
        .collect()
}

fn lacks(account: &Account) -> Option<Finding> {
    let entry = &account.register;
    // Of a closed one only what is left of it matters: what it has left behind.
    let asked = KEYS.iter().filter(|key| {
        if entry.closed.is_some() {
            key.name == "document_plan"
        } else {
            is_social(account.channel.id) || !key.social
        }
    });
    let missing: Vec<&Key> = asked
        .filter(|key| !(key.is_there)(account.url.is_some(), entry))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let mut paragraphs: Vec<u8> = missing.iter().flat_map(|key| key.paragraphs).copied().collect();
    paragraphs.sort_unstable();
    paragraphs.dedup();
    let names: Vec<&str> = missing.iter().map(|key| key.name).collect();
    let text = format!("registret saknar {}", names.join(", "));
    Some(Finding::warning("register", Some(&account.id), &paragraphs, text))
}

/// A function is reached at the municipality's own addresses; any other may be somebody's private one.
fn foreign_mail(config: &Config, account: &Account) -> Option<Finding> {
    let contact = account.register.contact.as_deref()?;
    let (_, domain) = contact.rsplit_once('@')?;
    (!is_ours(config, contact)).then(|| {
        let text = format!(
            "contact är en adress hos {domain}, inte hos kommunen; ange en funktionsbrevlåda i tjänsten"
        );
        Finding::warning("register", Some(&account.id), &[11, 14], text)
    })
}

/// Whether a mail address is one of the municipality's own.
pub fn is_ours(config: &Config, address: &str) -> bool {
    let domain = address.rsplit_once('@').map(|(_, domain)| domain);
    config.municipality.hosts.iter().any(|host| {
        let host = host.strip_prefix("www.").unwrap_or(host);
        domain.is_some_and(|domain| domain.eq_ignore_ascii_case(host))
    })
}

/// What the attestations lack. The yearly follow-up has a day of its own; see [`super::follow_up`].
pub fn of_attestations(config: &Config, all: &[Attestation], now: Timestamp) -> Vec<Finding> {
    let zone = &config.municipality.time_zone;
    let mut found = Vec::new();
    for account in open_social(config) {
        for what in What::ALL.into_iter().filter(|what| *what != What::YearlyFollowUp) {
            let renew = format!(
                "intyga på nytt: vardkase attest {} {what} --evidence …",
                account.id
            );
            let say =
                |text: String| Finding::warning("attestation", Some(&account.id), what.paragraphs(), text);
            match standing(all, &account.id, what, now, config.register.remind_before) {
                Standing::Valid => {}
                Standing::Ending(at) => {
                    let day = words::day_text(at, zone);
                    let text = format!("intyget {} går ut {day}; {renew}", what.words());
                    found.push(Finding::notice(
                        "attestation",
                        Some(&account.id),
                        what.paragraphs(),
                        text,
                    ));
                }
                Standing::Expired(at) => {
                    let day = words::day_text(at, zone);
                    found.push(say(format!("intyget {} gick ut {day}; {renew}", what.words())));
                }
                Standing::Revoked(at) => {
                    let day = words::day_text(at, zone);
                    found.push(say(format!(
                        "intyget {} togs tillbaka {day}; {renew}",
                        what.words()
                    )));
                }
                Standing::Missing => found.push(say(format!(
                    "ingen har intygat {}: vardkase attest {} {what} --evidence …",
                    what.words(),
                    account.id
                ))),
            }
        }
    }
    found
}

/// Accounts that have posted nothing for long, with their last post. Only those whose last post is known.
pub fn stale<'a>(
    config: &'a Config,
    observed: &Observations,
    now: Timestamp,
) -> impl Iterator<Item = (&'a Account, Timestamp)> {
    let stale: Duration = config.register.stale_after;
    open_social(config).filter_map(move |account| {
        let last = observed.get(&account.id)?.last_post?;
        (clock::later(last, stale) < now).then_some((account, last))
    })
}

/// The same as findings.
pub fn of_stale(config: &Config, observed: &Observations, now: Timestamp) -> Vec<Finding> {
    stale(config, observed, now)
        .map(|(account, last)| {
            let day = words::day_text(last, &config.municipality.time_zone);
            let text = format!(
                "senaste inlägget är från {day}; skaffa kontot en plan eller avsluta det: vardkase accounts close {}",
                account.id
            );
            Finding::warning("stale", Some(&account.id), &[16], text)
        })
        .collect()
}

/// The accounts in social media that are in use.
pub fn open_social(config: &Config) -> impl Iterator<Item = &Account> {
    let all = config.accounts.values();
    all.filter(|account| is_social(account.channel.id) && account.register.closed.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Level;
    use crate::register::attest::tests::given;
    use crate::register::export::tests::shipped;

    const DAY: Duration = Duration::from_hours(24);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_register_that_comes_with_the_program_lacks_nothing() {
        assert_eq!(of_config(&shipped(|text| text)), []);
    }

    #[test]
    fn of_a_closed_account_only_the_records_matter() {
        let config = shipped(|text| {
            text.replace("case = \"KS 2013/88\"", "closed = \"2026-10-01\"")
                .replace("purpose = \"Når redaktioner", "# purpose = \"Når redaktioner")
        });
        assert_eq!(of_config(&config), []);
        let now = at("2026-11-05T03:00:00Z");
        let of_it = |finding: &Finding| {
            finding
                .account
                .as_ref()
                .is_some_and(|id| id.as_str() == "x-nassjo")
        };
        assert!(!of_attestations(&config, &[], now).iter().any(of_it));
    }

    #[test]
    fn attestations_that_are_missing_ending_or_over_are_told_of() {
        let config = shipped(|text| text);
        let now = at("2026-11-05T03:00:00Z");
        let id = |all: &[Attestation]| {
            let found = of_attestations(&config, all, now);
            let of_it = found
                .iter()
                .filter(|one| one.account.as_ref().is_some_and(|id| id.as_str() == "x-nassjo"));
            of_it
                .map(|one| format!("{:?} {one}", one.level))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut revoked = given(
            4,
            "x-nassjo",
            What::ProfileFacts,
            clock::earlier(now, DAY),
            clock::later(now, 300 * DAY),
        );
        revoked.revoked_at = Some(clock::earlier(now, DAY));
        let all = [
            given(
                1,
                "x-nassjo",
                What::TwoFactor,
                clock::earlier(now, 2 * DAY),
                clock::later(now, 363 * DAY),
            ),
            given(
                2,
                "x-nassjo",
                What::AdminsOnJobMail,
                clock::earlier(now, 350 * DAY),
                clock::later(now, 15 * DAY),
            ),
            given(
                3,
                "x-nassjo",
                What::Logo,
                clock::earlier(now, 366 * DAY),
                clock::earlier(now, DAY),
            ),
            revoked,
        ];
        insta::assert_snapshot!(id(&all));
        let nobody = of_attestations(&config, &[], now);
        assert_eq!(nobody.len(), open_social(&config).count() * 5);
        assert!(nobody.iter().all(|one| one.level == Level::Warning));
    }

    #[test]
    fn an_account_is_stale_only_if_its_last_post_is_known() {
        let config = shipped(|text| text);
        let now = at("2026-11-05T03:00:00Z");
        assert_eq!(of_stale(&config, &Observations::new(), now), []);
        let last = |days: u32| Observed {
            last_post: Some(clock::earlier(now, days * DAY)),
            ..Observed::default()
        };
        let key = |id: &str| -> AccountId { id.parse().expect("an id") };
        let observed = Observations::from([
            (key("x-nassjo"), last(91)),
            (key("facebook-nassjo"), last(89)),
            (key("instagram-nassjo"), Observed::default()),
            (key("epost-press"), last(900)),
        ]);
        let found = of_stale(&config, &observed, now);
        assert_eq!(found.len(), 1, "{found:?}");
        insta::assert_snapshot!(found[0].to_string());
    }
}
