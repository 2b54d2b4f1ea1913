use std::collections::BTreeSet;

use super::*;
use crate::model::{Observation, Profile, Reason, Rights, Sign};
use crate::register::export::tests::shipped;

/// Monday at eight in Sweden.
const NOW: &str = "2026-11-30T07:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The accounts of the shipped configuration that are named, and no other.
fn config(accounts: &[&str]) -> Config {
    let mut config = shipped(|text| text);
    config.accounts.retain(|id, _| accounts.contains(&id.as_str()));
    config
}

fn identity() -> Identity {
    Identity {
        name: "Nässjö kommun".to_owned(),
        id: Some("104".to_owned()),
        expires_at: Some(at("2027-03-12T10:00:00Z")),
        rights: Some(Rights {
            held: BTreeSet::from(["write:statuses".to_owned()]),
            ..Rights::default()
        }),
        ..Identity::default()
    }
}

fn sign(trouble: Trouble, text: &str, remedy: &str) -> Sign {
    Sign {
        trouble,
        text: text.to_owned(),
        remedy: remedy.to_owned(),
        step: None,
    }
}

fn no_answer(account: &str) -> Sign {
    sign(
        Trouble::NoAnswer,
        "Tjänsten svarar inte: <b>connection refused</b> (connect).",
        &format!("Fråga igen: vardkase verify --account {account}"),
    )
}

fn seen(subject: &str, look: Look, signs: Vec<Sign>, when: &str) -> Seen {
    let mut observation = Observation::new(subject.parse::<Subject>().unwrap(), look, signs);
    let is_reached = observation.reach != Reach::Unreachable && subject != "daemon";
    observation.identity = (is_reached && look == Look::Reach).then(identity);
    observation.profile = (look == Look::Profile).then(Profile::default);
    observation.profile_at = (look == Look::Profile).then(|| at(when));
    Seen {
        observation,
        since: at("2026-11-29T20:00:00Z"),
        at: at(when),
        took_ms: 120,
    }
}

fn conditions(seen: &[Seen]) -> Vec<Condition> {
    let of = |one: &Seen| {
        let signs = one.observation.signs.clone().into_iter();
        let subject = one.observation.subject.clone();
        signs
            .map(move |sign| Condition {
                id: 1,
                subject: subject.clone(),
                sign,
                since: at("2026-11-29T21:15:00Z"),
                seen_at: at(NOW),
                ended_at: None,
            })
            .collect::<Vec<_>>()
    };
    seen.iter().flat_map(of).collect()
}

/// The certificate of Monday at seven in Sweden, of these accounts and what was seen of them.
fn letter(config: &Config, seen: &[Seen], change: impl Fn(&mut Facts<'_>)) -> Letter {
    let conditions = conditions(seen);
    let since = seen
        .iter()
        .filter(|one| one.observation.look == Look::Reach)
        .map(|one| {
            let since = Since {
                at: one.since,
                at_least: one.observation.reach == Reach::Reachable,
            };
            (one.observation.subject.clone(), since)
        })
        .collect();
    let mut facts = Facts {
        config,
        seen,
        conditions: &conditions,
        since: &since,
        due: at("2026-11-30T06:00:00Z"),
        is_late: false,
        missed: 0,
        now: at(NOW),
    };
    change(&mut facts);
    Certificate::of(&facts).letter().unwrap()
}

/// Whatever it says, it is a document of its own: nothing from outside, nothing but our markup.
fn both(letter: &Letter) -> String {
    let html = letter.html.as_ref().unwrap();
    for foreign in ["src=", "<script", "<img", "<link", "@import", "<b>"] {
        assert!(!html.contains(foreign), "{foreign}: {html}");
    }
    assert!(
        html.contains("<html lang=\"sv\">") && html.contains("<h1"),
        "{html}"
    );
    format!("{}\n\n{}\n\n=====\n\n{html}", letter.subject, letter.text)
}

const RECENT: &str = "2026-11-30T06:56:00Z";

fn well() -> Vec<Seen> {
    vec![
        seen("daemon", Look::Reach, vec![], RECENT),
        seen("facebook-nassjo", Look::Reach, vec![], RECENT),
        seen("facebook-nassjo", Look::Profile, vec![], RECENT),
        seen("epost-press", Look::Reach, vec![], RECENT),
    ]
}

const ACCOUNTS: &[&str] = &["facebook-nassjo", "epost-press", "p4-jonkoping"];

#[test]
fn all_well() {
    let letter = letter(&config(ACCOUNTS), &well(), |_| {});
    assert_eq!(letter.subject, "Intyg: alla 2 konton nås");
    insta::assert_snapshot!(both(&letter));
}

#[test]
fn one_unreachable() {
    let mut all = well();
    let facts = sign(
        Trouble::ProfileFact,
        "Profilen säger inte: när kontot bevakas.",
        "Lägg till det i profilen.",
    );
    all[2] = seen("facebook-nassjo", Look::Profile, vec![facts], RECENT);
    all[3] = seen("epost-press", Look::Reach, vec![no_answer("epost-press")], RECENT);
    let letter = letter(&config(ACCOUNTS), &all, |_| {});
    assert_eq!(letter.subject, "Intyg: 1 av 2 konton nås INTE: epost-press");
    let (down, up) = (
        letter.text.find("NÅS INTE: epost-press").unwrap(),
        letter.text.find("NÅS: facebook-nassjo").unwrap(),
    );
    assert!(down < up, "what is not reachable comes first");
    insta::assert_snapshot!(both(&letter));
}

#[test]
fn what_is_old_is_not_claimed() {
    let mut all = well();
    // Asked every ten minutes: half an hour is the most.
    all[1] = seen("facebook-nassjo", Look::Reach, vec![], "2026-11-30T06:29:59Z");
    all[2] = seen("facebook-nassjo", Look::Profile, vec![], "2026-11-26T06:00:00Z");
    all.remove(3);
    let letter = letter(&config(ACCOUNTS), &all, |_| {});
    assert_eq!(
        letter.subject,
        "Intyg: vi vet inte om 2 av 2 konton nås: epost-press, facebook-nassjo"
    );
    assert!(!letter.text.contains("Alla 2 konton nås"), "{}", letter.text);
    insta::assert_snapshot!(both(&letter));
}

#[test]
fn a_look_that_could_not_read_the_profile_makes_it_no_newer() {
    let mut all = well();
    all[2].observation.profile_at = Some(at("2026-11-26T06:00:00Z"));
    let old = letter(&config(ACCOUNTS), &all, |_| {}).text;
    assert!(
        old.contains(
            "Profilen lästes senast torsdag 26 november 2026 kl. 07.00, för länge sedan för att säga något om den."
        ),
        "{old}"
    );
    all[2].observation.profile_at = None;
    let never = letter(&config(ACCOUNTS), &all, |_| {}).text;
    assert!(never.contains("Profilen har inte kunnat läsas."), "{never}");
}

#[test]
fn half_an_hour_counts_and_a_second_more_does_not_and_tomorrow_neither() {
    let config = config(&["facebook-nassjo"]);
    let of = |when: &str| {
        letter(
            &config,
            &[seen("facebook-nassjo", Look::Reach, vec![], when)],
            |_| {},
        )
        .subject
    };
    assert_eq!(of("2026-11-30T06:30:00Z"), "Intyg: kontot nås");
    for when in ["2026-11-30T06:29:59Z", "2026-12-01T07:00:00Z"] {
        assert_eq!(of(when), "Intyg: vi vet inte om kontot nås: facebook-nassjo");
    }
}

#[test]
fn no_account_at_all() {
    let letter = letter(&config(&[]), &[], |_| {});
    assert_eq!(letter.subject, "Intyg: det finns inget konto att fråga");
    insta::assert_snapshot!(both(&letter));
}

#[test]
fn one_that_comes_late_says_when_it_was_due() {
    let config = config(ACCOUNTS);
    let late = |missed| {
        letter(&config, &well(), |facts| {
            facts.is_late = true;
            facts.missed = missed;
        })
    };
    let mut said: Vec<String> = [0, 1, 3].map(|missed| late(missed).text).to_vec();
    let on_time = letter(&config, &well(), |facts| facts.missed = 2);
    said.push(on_time.text);
    insta::assert_snapshot!(
        said.iter()
            .map(|text| text.lines().take(5).collect::<Vec<_>>().join("\n"))
            .collect::<Vec<_>>()
            .join("\n\n=====\n\n")
    );
}

#[test]
fn every_way_to_stand_has_its_words() {
    let mut all = well();
    let mut poor = identity();
    poor.expires_at = Some(at("2026-11-29T10:00:00Z"));
    poor.flaws = vec![Reason::new("hidden", "<i>nobody sees it</i>")];
    poor.rights = Some(Rights {
        held: BTreeSet::new(),
        missing: BTreeSet::from(["write:media".to_owned(), "write".to_owned()]),
        surplus: BTreeSet::from(["admin".to_owned()]),
    });
    let missing = sign(
        Trouble::RightMissing,
        "Inloggningen saknar rättigheter: write.",
        "Lägg in en ny inloggning: vardkase credentials connect mastodon-nassjo",
    );
    let mut degraded = seen("mastodon-nassjo", Look::Reach, vec![missing], RECENT);
    degraded.observation.identity = Some(poor);
    all.push(degraded);
    all.push(seen(
        "webb-nassjo",
        Look::Reach,
        vec![no_answer("webb-nassjo")],
        "2026-11-20T06:56:00Z",
    ));
    let disk = sign(
        Trouble::Disk,
        "Bara 12 MiB är lediga på disken.",
        "Rensa på disken.",
    );
    all[0] = seen("daemon", Look::Reach, vec![disk], RECENT);
    all[3].observation.identity = Some(Identity::default());
    let accounts = [ACCOUNTS, &["mastodon-nassjo", "webb-nassjo"]].concat();
    let letter = letter(&config(&accounts), &all, |_| {});
    assert_eq!(
        letter.subject,
        "Intyg: vi vet inte om 1 av 4 konton nås: webb-nassjo; fel på Vårdkase självt"
    );
    insta::assert_snapshot!(format!("{}\n\n{}", letter.subject, letter.text));
}

#[test]
fn one_account_that_is_reached_in_part_is_not_called_reached() {
    let missing = sign(Trouble::RightMissing, "Rättigheten write saknas.", "Ge den.");
    let all = [seen("facebook-nassjo", Look::Reach, vec![missing], RECENT)];
    let letter = letter(&config(&["facebook-nassjo"]), &all, |_| {});
    assert_eq!(letter.subject, "Intyg: kontot nås bara delvis");
    assert!(
        letter.text.contains("Det får bara ut delar av ett meddelande."),
        "{}",
        letter.text
    );
}

#[test]
fn who_takes_over_is_said_as_it_would_happen() {
    let mut config = config(&["facebook-nassjo", "epost-press", "p4-jonkoping"]);
    let mut said = |other: &str, steers_for: u64, own: Vec<Sign>, others: Vec<Sign>, when: &str| {
        config.verification.steers_for = Duration::from_secs(steers_for);
        for account in config.accounts.values_mut() {
            account.fallback = (account.id.as_str() == "facebook-nassjo").then(|| other.parse().unwrap());
        }
        let all = [
            seen("facebook-nassjo", Look::Reach, own, RECENT),
            seen("epost-press", Look::Reach, others, when),
        ];
        let text = letter(&config, &all, |_| {}).text;
        let lines = text
            .lines()
            .filter(|line| line.contains("över") || line.contains("ombeds"));
        lines.map(str::to_owned).collect::<Vec<_>>().join("|")
    };
    let down = || vec![no_answer("x")];
    assert_eq!(
        said("epost-press", 1800, down(), vec![], RECENT),
        "epost-press tar över genast när ett meddelande skickas."
    );
    // Taken out of use is no answer that a message looks at; and without steering nobody goes at once.
    let off = || {
        vec![sign(
            Trouble::Disabled,
            "Kontot är taget ur bruk.",
            "Ta det i bruk.",
        )]
    };
    for (steers_for, own) in [(1800, off()), (0, down()), (60, down())] {
        assert_eq!(
            said("epost-press", steers_for, own, vec![], RECENT),
            "Får kontot inte ut ett meddelande tar epost-press över."
        );
    }
    assert_eq!(
        said("epost-press", 0, down(), down(), RECENT),
        "Får kontot inte ut ett meddelande tar epost-press över, men epost-press nås inte heller."
    );
    assert_eq!(
        said("epost-press", 1800, down(), vec![], "2026-11-20T06:56:00Z"),
        "epost-press tar över genast när ett meddelande skickas, men vi vet inte om epost-press nås."
    );
    assert_eq!(
        said("p4-jonkoping", 0, down(), vec![], RECENT),
        "Får kontot inte ut ett meddelande ombeds en person att lägga ut det på p4-jonkoping."
    );
}

#[test]
fn what_an_answer_does_not_prove_is_not_certified() {
    let config = config(ACCOUNTS);
    let of = |proves: [Proves; 2]| {
        let mut all = well();
        for (at, proves) in [1, 3].into_iter().zip(proves) {
            all[at].observation.identity.as_mut().unwrap().proves = proves;
        }
        let letter = letter(&config, &all, |_| {});
        (letter.subject, letter.text)
    };
    let (subject, text) = of([Proves::SignIn, Proves::Presence]);
    assert_eq!(subject, "Intyg: alla 2 konton nås");
    assert!(!text.contains("tagit emot vår inloggning"), "{text}");
    assert!(
        text.contains("För 1 av dem som nås visar det sig först när något publiceras"),
        "{text}"
    );
    assert_eq!(text.matches(PRESENT_ONLY).count(), 1, "{text}");
    let (subject, text) = of([Proves::SignIn, Proves::Nothing]);
    assert_eq!(subject, "Intyg: vi vet inte om 1 av 2 konton nås: epost-press");
    assert!(
        text.contains("VET INTE: epost-press (E-post)\nKontot kan inte tillfrågas utan att publicera."),
        "{text}"
    );
    assert!(
        !text.contains("färska svar saknas") && !text.contains("för länge sedan"),
        "{text}"
    );
}

#[test]
fn many_are_named_in_part() {
    let accounts = ["facebook-nassjo", "mastodon-nassjo", "x-nassjo", "epost-press"];
    let all: Vec<Seen> = accounts
        .iter()
        .map(|account| seen(account, Look::Reach, vec![no_answer(account)], RECENT))
        .collect();
    assert_eq!(
        letter(&config(&accounts), &all, |_| {}).subject,
        "Intyg: INGET av 4 konton nås: epost-press, facebook-nassjo, mastodon-nassjo med flera"
    );
}

#[test]
fn since_when_goes_back_over_looks_that_differ_only_in_words() {
    let one = |signs: Vec<Sign>, look, since: &str| Seen {
        since: at(since),
        ..seen("x-nassjo", look, signs, RECENT)
    };
    let down = || vec![no_answer("x-nassjo")];
    let history = [
        one(vec![], Look::Reach, "2026-11-28T00:00:00Z"),
        one(down(), Look::Profile, "2026-11-27T00:00:00Z"),
        one(vec![], Look::Reach, "2026-11-26T00:00:00Z"),
        one(down(), Look::Reach, "2026-11-25T00:00:00Z"),
    ];
    let found = since(&history).unwrap();
    assert_eq!((found.at, found.at_least), (at("2026-11-26T00:00:00Z"), false));
    let found = since(&history[..3]).unwrap();
    assert_eq!((found.at, found.at_least), (at("2026-11-26T00:00:00Z"), true));
    assert_eq!(since(&[]), None);
}
