//! `[verification]` and `[alarm]`: how accounts are looked after, and who is told when something is amiss.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Time;
use regex::RegexBuilder;
use url::Url;

use super::accounts::{self, Reference};
use super::drills::schedule;
use super::section::{Section, quoted};
use super::source::hint;
use super::{Confirmation, Municipality};
use crate::drill::Schedule;
use crate::model::{AccountId, Recipient, Trouble};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// A pattern may compile to so many bytes: it is run on what services send.
const PATTERN_SIZE: usize = 64 * 1024;
const MAX_PATTERNS: usize = 20;
const MAX_FACTS: usize = 20;
const MAX_TOLD: usize = 50;
/// Mondays at seven, before the week's work begins.
const CERTIFICATE: &str = "0 7 * * MON";

/// How accounts are looked after.
#[derive(Debug, Clone)]
pub struct Verification {
    /// How often each account is asked whether it answers and takes our credential; channels that count reads, less often.
    pub every: Duration,
    /// How often its profile is read.
    pub profile_every: Duration,
    /// How long the last look says something of the next message: an account that did not answer then is not waited for.
    /// Nothing: it never says anything.
    pub steers_for: Duration,
    /// When accounts are tried where the public cannot see, besides by command.
    pub backstage: Option<Schedule>,
    /// Which then: accounts and groups; all that can be tried for nothing if empty.
    pub backstage_accounts: Vec<String>,
    /// How long an account may be silent before that is told.
    pub patience: Duration,
    /// So many days before a credential ends it is told, once each; largest first.
    pub expiry_days: Vec<u32>,
    /// An account that has published nothing for so many days is stale.
    pub stale_days: u32,
    /// How long what was seen is kept, in days.
    pub keep_days: u32,
    /// Less than this share of what a service takes is little, in per cent.
    pub quota_reserve: u32,
    /// What every profile has to tell.
    pub facts: Vec<Fact>,
    /// SHA-256 of the approved pictures, hex; none: they are not looked at.
    pub logos: BTreeSet<String>,
    /// When the certificate goes out; `None`: never.
    pub certificate: Option<Schedule>,
    /// Who gets it; empty: those of `[confirmation]`.
    pub certificate_to: Vec<Recipient>,
}

/// One thing that a profile has to tell, and how it is found there.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Its name.
    pub id: String,
    /// What has to stand there, in Swedish, for the remedy.
    pub text: String,
    /// Any of these in any of the profile's texts or links is enough.
    pub patterns: Vec<Pattern>,
    /// Only on these channels; on all if empty.
    pub channels: Vec<String>,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Compiles a pattern that does not mind the case of letters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        RegexBuilder::new(text)
            .case_insensitive(true)
            .size_limit(PATTERN_SIZE)
            .build()
            .map(Self)
            .map_err(|error| {
                error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or("it cannot be read")
                    .to_owned()
            })
    }

    /// Whether it is found in the text.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl Verification {
    /// What holds where nothing is configured.
    pub fn of(municipality: &Municipality) -> Self {
        Self {
            every: 10 * MINUTE,
            profile_every: DAY,
            steers_for: 30 * MINUTE,
            backstage: None,
            backstage_accounts: Vec::new(),
            patience: 5 * MINUTE,
            expiry_days: vec![30, 14, 7, 3, 1],
            stale_days: 180,
            keep_days: 400,
            quota_reserve: 10,
            facts: usual_facts(municipality),
            logos: BTreeSet::new(),
            // Read here and by a test: it is a line, and the zone is one.
            certificate: Schedule::read(CERTIFICATE, &municipality.time_zone).ok(),
            certificate_to: Vec::new(),
        }
    }
}

/// The five facts of the guideline's paragraph 8, as Swedish profiles usually word them.
fn usual_facts(municipality: &Municipality) -> Vec<Fact> {
    let site = municipality
        .hosts
        .iter()
        .map(|host| regex::escape(host))
        .collect::<Vec<_>>()
        .join("|");
    let sender = regex::escape(&municipality.name);
    let facts: [(&str, &str, Vec<String>); 5] = [
        (
            "avsandare",
            "att kontot är kommunens",
            vec![sender, "kommunens".to_owned()],
        ),
        (
            "syfte",
            "vad kontot är till för",
            vec![r"\b(information|nyheter|aktuellt|kris|händelse|viktig)".to_owned()],
        ),
        (
            "kontakt",
            "hur man når kommunen på annat sätt, med länk till webbplatsen",
            vec![site],
        ),
        (
            "bevakning",
            "när kontot bevakas och frågor besvaras",
            vec![r"\b(bevaka|bemann|svarar|besvara|vardag|kontorstid|dygnet runt)".to_owned()],
        ),
        (
            "regler",
            "vad som gäller för kommentarer och att de blir allmän handling",
            vec![
                r"\b(regler|riktlinje|kommentar|allmän handling|allmänna handlingar|diarie|tas bort)"
                    .to_owned(),
            ],
        ),
    ];
    facts
        .into_iter()
        .map(|(id, text, patterns)| Fact {
            id: id.to_owned(),
            text: text.to_owned(),
            // Written here and by a test: they compile.
            patterns: patterns
                .iter()
                .filter_map(|text| Pattern::new(text).ok())
                .collect(),
            channels: Vec::new(),
        })
        .collect()
}

/// Who is told when something is amiss, by which ways, and when not to wake anybody.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Mail addresses.
    pub to: Vec<Recipient>,
    /// Accounts that go the other way round: tried when no relay takes the mail.
    pub via: Vec<AccountId>,
    /// Troubles that wait for the morning.
    pub quiet: Option<Quiet>,
    /// An outside address that is called as long as we live.
    pub heartbeat: Option<Heartbeat>,
}

/// Hours in which some troubles are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// From then, by the municipality's clock …
    pub from: Time,
    /// … until then.
    pub until: Time,
    /// What waits.
    pub troubles: BTreeSet<Trouble>,
}

/// The dead-man's switch: whoever does not hear from us any more raises the alarm.
#[derive(Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Called by GET; whoever knows it can keep it quiet, so it is not shown.
    pub url: Url,
    /// How often.
    pub every: Duration,
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat")
            .field("url", &"[redacted]")
            .field("every", &self.every)
            .finish()
    }
}

/// What can wait for the morning unless the configuration says otherwise.
const CAN_WAIT: &[Trouble] = &[
    Trouble::Expiring,
    Trouble::RightMissing,
    Trouble::RightSurplus,
    Trouble::ProfileFact,
    Trouble::Logo,
    Trouble::Stale,
    Trouble::ProfileChanged,
    Trouble::Backstage,
    Trouble::TrialSkipped,
];

impl Alarm {
    /// What holds where nothing is configured.
    pub fn of(confirmation: &Confirmation) -> Self {
        Self {
            to: confirmation.to.clone(),
            via: Vec::new(),
            quiet: None,
            heartbeat: None,
        }
    }
}

/// Reads `[verification]`.
pub fn verification(
    mut s: Section<'_>,
    municipality: &Municipality,
    targets: &mut Vec<Reference>,
) -> Option<Verification> {
    let usual = Verification::of(municipality);
    let every = s.duration_within("every", SECOND, DAY).unwrap_or(usual.every);
    let profile_every = s
        .duration_within("profile_every", SECOND, 30 * DAY)
        .unwrap_or(usual.profile_every);
    let steers_for = s
        .duration_within("steers_for", Duration::ZERO, DAY)
        .unwrap_or(usual.steers_for);
    let backstage = schedule(&mut s, "backstage", &municipality.time_zone);
    let backstage_accounts = s
        .strings(
            "backstage_accounts",
            "a list of accounts and groups such as [\"webb-nassjo\"]",
        )
        .unwrap_or_default();
    for name in &backstage_accounts {
        targets.push(Reference {
            key: format!("{}.backstage_accounts", s.path()),
            name: name.clone(),
        });
    }
    let patience = s
        .duration_within("patience", Duration::ZERO, DAY)
        .unwrap_or(usual.patience);
    let expiry_days = days(&mut s).unwrap_or(usual.expiry_days);
    let stale_days = s.number_within("stale_days", 1, 3650).unwrap_or(usual.stale_days);
    let keep_days = s.number_within("keep_days", 30, 3650).unwrap_or(usual.keep_days);
    let quota_reserve = s
        .number_within("quota_reserve", 0, 90)
        .unwrap_or(usual.quota_reserve);
    let logos = logos(&mut s);
    let facts = facts(&mut s).unwrap_or(usual.facts);
    let certificate = certificate(&mut s, &municipality.time_zone, usual.certificate);
    let certificate_to = addresses(&mut s, "certificate_to").unwrap_or_default();
    let broken = s.is_broken();
    s.finish();
    (!broken).then_some(Verification {
        every,
        profile_every,
        steers_for,
        backstage,
        backstage_accounts: backstage_accounts.into_iter().map(|name| name.value).collect(),
        patience,
        expiry_days,
        stale_days,
        keep_days,
        quota_reserve,
        facts,
        logos,
        certificate,
        certificate_to,
    })
}

/// When the certificate goes out, as usual if nothing is said; `None` if there is to be none.
fn certificate(s: &mut Section<'_>, zone: &str, usual: Option<Schedule>) -> Option<Schedule> {
    let expected = "a cron line such as \"0 7 * * MON\", or \"off\"";
    let Some(line) = s.text("certificate", 200, expected) else {
        return usual;
    };
    if line == "off" {
        return None;
    }
    match Schedule::read(&line, zone) {
        Ok(schedule) => Some(schedule),
        Err(wrong) => {
            s.problem(
                "certificate",
                format!(
                    "found {}, {wrong}; expected minute, hour, day of month, month and day of week, such as \
                     \"0 7 * * MON\" for Mondays at 7, or \"off\"",
                    quoted(&line)
                ),
            );
            None
        }
    }
}

/// Mail addresses, at least one if the key is there.
fn addresses(s: &mut Section<'_>, key: &'static str) -> Option<Vec<Recipient>> {
    let given = s.strings(
        key,
        "a list of mail addresses such as [\"kommunikation@nassjo.se\"]",
    )?;
    if given.is_empty() || given.len() > MAX_TOLD {
        s.problem(key, format!("expected 1 to {MAX_TOLD} addresses"));
    }
    Some(accounts::recipients(s, key, &given))
}

fn days(s: &mut Section<'_>) -> Option<Vec<u32>> {
    const EXPECTED: &str = "a list of days such as [30, 14, 7, 3, 1]";
    let given: Vec<i64> = s.optional("expiry_days", EXPECTED)?;
    let mut days: Vec<u32> = given
        .iter()
        .filter_map(|day| u32::try_from(*day).ok())
        .filter(|day| (1..=365).contains(day))
        .collect();
    if days.len() != given.len() || days.is_empty() || days.len() > 20 {
        s.problem(
            "expiry_days",
            format!("expected {EXPECTED}, 1 to 20 of them, each between 1 and 365"),
        );
        return None;
    }
    days.sort_unstable_by(|a, b| b.cmp(a));
    days.dedup();
    Some(days)
}

fn logos(s: &mut Section<'_>) -> BTreeSet<String> {
    let mut logos = BTreeSet::new();
    for given in s
        .strings("logos", "a list of SHA-256 sums in hex")
        .unwrap_or_default()
    {
        let sum = given.value.to_ascii_lowercase();
        if sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            logos.insert(sum);
        } else {
            s.problem_at(
                given.place,
                "logos",
                format!(
                    "found {}, expected the SHA-256 of a picture in 64 hex digits, as `sha256sum` prints it",
                    quoted(&given.value)
                ),
            );
        }
    }
    logos
}

fn facts(s: &mut Section<'_>) -> Option<Vec<Fact>> {
    if !s.has("fact") {
        return None;
    }
    let sections = s.tables("fact");
    if sections.len() > MAX_FACTS {
        s.problem("fact", format!("at most {MAX_FACTS} facts are allowed"));
    }
    let mut facts = Vec::new();
    let mut is_whole = true;
    for section in sections {
        match fact(section) {
            Some(fact) => facts.push(fact),
            None => is_whole = false,
        }
    }
    is_whole.then_some(facts)
}

fn fact(mut s: Section<'_>) -> Option<Fact> {
    let id = s.required_text("id", 40, "a short name such as \"kontakt\"");
    let text = s.required_text("text", 200, "what has to stand in the profile, in Swedish");
    let given = s
        .required_strings("patterns", "a list of regular expressions")
        .unwrap_or_default();
    if given.is_empty() || given.len() > MAX_PATTERNS {
        s.problem("patterns", format!("expected 1 to {MAX_PATTERNS} patterns"));
    }
    let mut patterns = Vec::new();
    for one in given {
        match Pattern::new(&one.value) {
            Ok(pattern) => patterns.push(pattern),
            Err(wrong) => s.problem_at(
                one.place,
                "patterns",
                format!("{} is no regular expression: {wrong}", quoted(&one.value)),
            ),
        }
    }
    let known: Vec<&str> = crate::channel::REGISTRY.iter().map(|kind| kind.id).collect();
    let mut channels = Vec::new();
    for one in s
        .strings("channels", "a list of channels such as [\"facebook-page\"]")
        .unwrap_or_default()
    {
        if known.contains(&one.value.as_str()) {
            channels.push(one.value);
        } else {
            s.problem_at(
                one.place,
                "channels",
                format!(
                    "there is no channel {}{}",
                    quoted(&one.value),
                    hint(&one.value, known.iter().copied())
                ),
            );
        }
    }
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Fact {
        id: id?,
        text: text?,
        patterns,
        channels,
    })
}

/// Reads `[alarm]`; the accounts that it names go to `references`.
pub fn alarm(
    mut s: Section<'_>,
    confirmation: &Confirmation,
    references: &mut Vec<Reference>,
) -> Option<Alarm> {
    let to = addresses(&mut s, "to");
    let mut via = Vec::new();
    for name in s
        .strings("via", "a list of accounts such as [\"ntfy-krisledning\"]")
        .unwrap_or_default()
    {
        if let Ok(id) = name.value.parse() {
            via.push(id);
        }
        references.push(Reference {
            key: format!("{}.via", s.path()),
            name,
        });
    }
    let quiet = s.table("quiet").map(quiet);
    let is_loud = quiet.as_ref().is_some_and(Option::is_none);
    let beat = s.table("heartbeat").map(heartbeat);
    let is_silent = beat.as_ref().is_some_and(Option::is_none);
    let broken = s.is_broken() || is_loud || is_silent;
    s.finish();
    (!broken).then(|| Alarm {
        to: to.unwrap_or_else(|| confirmation.to.clone()),
        via,
        quiet: quiet.flatten(),
        heartbeat: beat.flatten(),
    })
}

fn quiet(mut s: Section<'_>) -> Option<Quiet> {
    let hour = |s: &mut Section<'_>, key: &'static str| {
        const EXPECTED: &str = "a time such as \"22:00\"";
        let text = s.required_text(key, 5, EXPECTED)?;
        let read = Time::strptime("%H:%M", &text).ok();
        if read.is_none() {
            s.problem(key, format!("found {}, expected {EXPECTED}", quoted(&text)));
        }
        read
    };
    let from = hour(&mut s, "from");
    let until = hour(&mut s, "until");
    let known = || Trouble::ALL.iter().map(|trouble| trouble.as_str());
    let troubles = s.strings("troubles", "a list of troubles such as [\"expiring\"]");
    let mut waits: BTreeSet<Trouble> = BTreeSet::new();
    match troubles {
        None => waits.extend(CAN_WAIT),
        Some(given) => {
            for one in given {
                match one.value.parse() {
                    Ok(trouble) => drop(waits.insert(trouble)),
                    Err(_) => s.problem_at(
                        one.place,
                        "troubles",
                        format!(
                            "there is no trouble {}{}",
                            quoted(&one.value),
                            hint(&one.value, known())
                        ),
                    ),
                }
            }
        }
    }
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Quiet {
        from: from?,
        until: until?,
        troubles: waits,
    })
}

fn heartbeat(mut s: Section<'_>) -> Option<Heartbeat> {
    let url = s.address("url", true);
    let every = s.duration_within("every", SECOND, DAY).unwrap_or(5 * MINUTE);
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Heartbeat { url: url?, every })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn municipality() -> Municipality {
        Municipality {
            name: "Nässjö kommun".to_owned(),
            site: "https://nassjo.se".parse().unwrap(),
            hosts: BTreeSet::from(["nassjo.se".to_owned()]),
            languages: Vec::new(),
            time_zone: "Europe/Stockholm".to_owned(),
            fallback_link: None,
        }
    }

    #[test]
    fn the_usual_facts_are_five_and_a_usual_profile_tells_them() {
        let facts = usual_facts(&municipality());
        assert_eq!(facts.len(), 5);
        let profile = "Här delar Nässjö kommun viktig information. Kontot bevakas vardagar 8–16. Regler för kommentarer \
                       och kontakt: https://nassjo.se/sociala-medier";
        for fact in &facts {
            assert!(!fact.patterns.is_empty(), "{}", fact.id);
            assert!(fact.patterns.iter().any(|p| p.is_in(profile)), "{}", fact.id);
            assert!(!fact.patterns.iter().any(|p| p.is_in("Hej!")), "{}", fact.id);
        }
    }

    #[test]
    fn the_certificate_goes_out_on_mondays_unless_said_otherwise() {
        let usual = Verification::of(&municipality());
        let next = usual
            .certificate
            .unwrap()
            .next("2026-11-29T12:00:00Z".parse().unwrap());
        assert_eq!(next.unwrap().to_string(), "2026-11-30T06:00:00Z");
    }

    #[test]
    fn a_pattern_that_is_too_large_is_refused() {
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new(r"(\w{1000}){1000}").is_err());
    }
}
