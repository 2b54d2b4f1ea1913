use std::time::Duration;

use super::*;
use crate::register::attest::tests::given;
use crate::register::export::tests::shipped;
use crate::register::findings::Observed;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The shipped configuration with these accounts alone; whoever else has no business here.
fn config(accounts: &[&str], send: SendTo) -> Config {
    let mut config = shipped(|text| text);
    config.accounts.retain(|id, _| accounts.contains(&id.as_str()));
    config.register.reminders.send = send;
    config.register.reminders.to = vec![Recipient::new("kommunikation@nassjo.se")];
    config
}

/// Everything attested until the day, and followed up for the year before it.
fn attested(accounts: &[&str], when: &str, until: &str) -> Vec<Attestation> {
    let all = accounts
        .iter()
        .flat_map(|account| What::ALL.map(|what| (*account, what)));
    all.zip(1..)
        .map(|((account, what), id)| given(id, account, what, at(when), at(until)))
        .collect()
}

fn told(all: &[Due<'_>]) -> Vec<MailMark> {
    all.iter().map(|due| due.mark.clone()).collect()
}

fn stages(all: &[Due<'_>]) -> Vec<(&'static str, Stage)> {
    all.iter().map(|due| (due.what(), due.stage)).collect()
}

#[test]
fn a_year_is_told_of_at_thirty_days_at_seven_and_once_it_is_over_and_never_twice() {
    let config = config(&["x-nassjo"], SendTo::Unit);
    // Attested on 10 January 2026, to the end of 20 December; followed up then for 2025.
    let all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2026-12-20T23:00:00Z");
    let mut marks: Vec<MailMark> = Vec::new();
    let mut heard = Vec::new();
    let mut now = at("2026-10-01T06:00:00Z");
    while now < at("2027-04-01T00:00:00Z") {
        let due = fresh(due(&config, &all, &Observations::new(), now), &marks);
        if !due.is_empty() {
            let day = words::day(now, "Europe/Stockholm");
            heard.push(format!(
                "{day} {:?}: {}",
                due[0].stage,
                due.iter().map(Due::what).collect::<Vec<_>>().join(" ")
            ));
        }
        for mark in told(&due) {
            marks.retain(|known| known.name != mark.name);
            marks.push(mark);
        }
        // Twice a day, as after a restart.
        now = clock::later(now, Duration::from_hours(12));
    }
    let five = "two-factor admins-on-job-mail communications-unit-is-admin logo profile-facts";
    assert_eq!(
        heard,
        [
            format!("2026-11-20 Month: {five}"),
            format!("2026-12-13 Week: {five}"),
            format!("2026-12-21 Overdue: {five}"),
            // New Year asks for 2026, thirty days before the last of January.
            "2027-01-01 Month: yearly-follow-up".to_owned(),
            "2027-01-24 Week: yearly-follow-up".to_owned(),
            "2027-02-01 Overdue: yearly-follow-up".to_owned(),
        ]
    );
}

#[test]
fn whoever_was_away_hears_the_latest_stage_alone() {
    let config = config(&["x-nassjo"], SendTo::Unit);
    let all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2026-12-20T23:00:00Z");
    let of = |now: &str| due(&config, &all, &Observations::new(), at(now));
    let late = of("2026-12-22T09:00:00Z");
    assert!(stages(&late).iter().all(|(_, stage)| *stage == Stage::Overdue));
    assert_eq!(
        fresh(of("2026-12-15T09:00:00Z"), &told(&late)).len(),
        0,
        "a clock that went back"
    );
    // What is attested anew has a new day.
    let mut renewed = all.clone();
    renewed.extend(
        attested(&["x-nassjo"], "2026-12-22T10:00:00Z", "2027-01-10T23:00:00Z")
            .into_iter()
            .map(|mut one| {
                one.id += 100;
                one
            }),
    );
    let again = due(
        &config,
        &renewed,
        &Observations::new(),
        at("2026-12-23T09:00:00Z"),
    );
    assert_eq!(fresh(again, &told(&late)).len(), 5);
}

#[test]
fn what_was_taken_back_or_never_said_is_told_once_and_has_no_day() {
    let config = config(&["x-nassjo"], SendTo::Unit);
    let now = at("2026-06-01T09:00:00Z");
    let mut all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2027-01-10T23:00:00Z");
    all[0].revoked_at = Some(at("2026-05-01T09:00:00Z"));
    all.remove(3);
    let found = due(&config, &all, &Observations::new(), now);
    assert_eq!(
        stages(&found),
        [("two-factor", Stage::Overdue), ("logo", Stage::Overdue)]
    );
    assert!(found.iter().all(|due| due.day.is_none()));
    let later = due(&config, &all, &Observations::new(), at("2026-11-01T09:00:00Z"));
    assert_eq!(fresh(later, &told(&found)).len(), 0);
}

fn letters_of(
    config: &Config,
    all: &[Attestation],
    observed: &Observations,
    now: &str,
) -> Vec<(String, Letter)> {
    let found = due(config, all, observed, at(now));
    let closings = found
        .iter()
        .filter(|due| matches!(due.matter, Matter::Stale(_)))
        .map(|due| {
            let text = crate::register::closing::checklist(config, due.account, &[]).unwrap();
            (due.account.id.clone(), text)
        })
        .collect();
    let letters = letters(config, &found, &closings, at(now)).unwrap();
    letters
        .into_iter()
        .map(|(to, letter)| (to.address().to_owned(), letter))
        .collect()
}

fn both(letter: &Letter) -> String {
    let html = letter.html.as_ref().unwrap();
    for foreign in ["src=", "<script", "<img", "<link", "<b>"] {
        assert!(!html.contains(foreign), "{foreign}: {html}");
    }
    format!("{}\n\n{}\n\n=====\n\n{html}", letter.subject, letter.text)
}

#[test]
fn a_month_before() {
    let config = config(&["x-nassjo"], SendTo::Unit);
    let all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2027-06-01T23:00:00Z");
    let letters = letters_of(&config, &all, &Observations::new(), "2027-01-01T09:00:00Z");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "kommunikation@nassjo.se");
    insta::assert_snapshot!(both(&letters[0].1));
}

#[test]
fn late_near_and_abandoned_together() {
    let mut config = config(&["x-nassjo", "facebook-bibliotek"], SendTo::Unit);
    for account in config.accounts.values_mut() {
        if account.id.as_str() == "facebook-bibliotek" {
            account.register.name = Some("<b>Biblioteket</b> & vänner".to_owned());
        }
    }
    let mut all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2027-02-05T23:00:00Z");
    all.extend(attested(
        &["facebook-bibliotek"],
        "2027-01-10T09:00:00Z",
        "2027-12-01T23:00:00Z",
    ));
    let last = Observed {
        last_post: Some(at("2026-09-01T08:00:00Z")),
        ..Observed::default()
    };
    let observed = Observations::from([("facebook-bibliotek".parse().unwrap(), last)]);
    let letters = letters_of(&config, &all, &observed, "2027-02-03T09:00:00Z");
    assert_eq!(letters.len(), 1);
    insta::assert_snapshot!(both(&letters[0].1));
}

#[test]
fn an_owner_is_told_of_what_is_theirs_and_the_unit_of_what_nobody_owns() {
    let mut config = config(
        &["x-nassjo", "facebook-bibliotek", "mastodon-nassjo"],
        SendTo::Owner,
    );
    for account in config.accounts.values_mut() {
        account.register.contact = match account.id.as_str() {
            "facebook-bibliotek" => Some("biblioteket@nassjo.se".to_owned()),
            // Somebody's private one, perhaps: nothing of ours goes there.
            "x-nassjo" => Some("kim@gmail.example".to_owned()),
            _ => None,
        };
    }
    let ids = ["x-nassjo", "facebook-bibliotek", "mastodon-nassjo"];
    let all = attested(&ids, "2027-01-10T09:00:00Z", "2027-03-01T23:00:00Z");
    let letters = letters_of(&config, &all, &Observations::new(), "2027-02-03T09:00:00Z");
    let to: Vec<&str> = letters.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["biblioteket@nassjo.se", "kommunikation@nassjo.se"]);
    let (library, unit) = (&letters[0].1, &letters[1].1);
    assert!(library.text.contains("facebook-bibliotek") && !library.text.contains("x-nassjo"));
    assert!(unit.text.contains("x-nassjo") && unit.text.contains("mastodon-nassjo"));
    assert!(!unit.text.contains("facebook-bibliotek"));
    insta::assert_snapshot!(format!("{}\n\n{}", library.subject, library.text));
    config.register.reminders.send = SendTo::Off;
    assert!(letters_of(&config, &all, &Observations::new(), "2027-02-03T09:00:00Z").is_empty());
}

#[test]
fn one_thing_says_itself_in_the_subject() {
    let config = config(&["x-nassjo"], SendTo::Unit);
    let all = attested(&["x-nassjo"], "2026-01-10T09:00:00Z", "2027-12-01T23:00:00Z");
    let of = |now: &str| {
        letters_of(&config, &all, &Observations::new(), now)[0]
            .1
            .subject
            .clone()
    };
    assert_eq!(
        of("2027-01-25T09:00:00Z"),
        "Påminnelse: x-nassjo: årlig uppföljning, senast 31 januari 2027"
    );
    assert_eq!(
        of("2027-02-01T09:00:00Z"),
        "Försenat: x-nassjo: årlig uppföljning"
    );
}
