use std::collections::{BTreeMap, BTreeSet};

use super::notice::{again as tried_again, compose, held_until};
use super::*;
use crate::channel::kind;
use crate::config::{Municipality, Quiet};
use crate::model::{Condition, Latest, Notice, Phase, Profile, Rights};

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

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn asked(rules: &Verification) -> Asked<'_> {
    Asked {
        subject: "facebook-nassjo".parse().unwrap(),
        kind: kind("facebook-page").unwrap(),
        signs_in: true,
        rules,
        known: None,
        quota: None,
        disabled: None,
        now: at("2026-11-29T08:00:00Z"),
    }
}

fn identity() -> Identity {
    Identity {
        name: "Nässjö kommun".to_owned(),
        id: Some("104".to_owned()),
        ..Identity::default()
    }
}

fn troubles(observation: &Observation) -> Vec<Trouble> {
    observation.signs.iter().map(|sign| sign.trouble).collect()
}

#[test]
fn an_answer_without_fault_is_reachable() {
    let rules = Verification::of(&municipality());
    let seen = judge(&asked(&rules), Ok(identity()));
    assert_eq!((seen.reach, troubles(&seen)), (Reach::Reachable, vec![]));
    assert_eq!(seen.identity, Some(identity()));
}

#[test]
fn every_way_to_fail_has_its_trouble_and_a_remedy_with_a_command() {
    let rules = Verification::of(&municipality());
    let reason = |code: &str| Reason::new(code, "what the service said");
    let cases = [
        (SendError::NotSent(reason("connect")), Trouble::NoAnswer),
        (SendError::Unknown(reason("timeout")), Trouble::NoAnswer),
        (SendError::NotSent(reason("no-credential")), Trouble::Credential),
        (
            SendError::Credential(reason("graph-190-463")),
            Trouble::Credential,
        ),
        (SendError::Refused(reason("wrong-token")), Trouble::WrongAccount),
        (SendError::Refused(reason("scope")), Trouble::Credential),
        (SendError::Refused(reason("http-403")), Trouble::Credential),
    ];
    for (error, trouble) in cases {
        let seen = judge(&asked(&rules), Err(error.clone()));
        assert_eq!(troubles(&seen), [trouble], "{error}");
        assert_eq!(seen.reach, Reach::Unreachable, "{error}");
        assert!(
            seen.signs[0].remedy.contains("vardkase "),
            "{}",
            seen.signs[0].remedy
        );
        assert!(seen.signs[0].text.contains("what the service said"));
    }
    let busy = SendError::Busy {
        until: None,
        scope: crate::model::Busy::Account,
        reason: reason("http-429"),
    };
    let seen = judge(&asked(&rules), Err(busy));
    assert_eq!(
        (seen.reach, troubles(&seen)),
        (Reach::Degraded, vec![Trouble::Quota])
    );
}

#[test]
fn another_account_under_the_same_credential_is_an_alarm() {
    let rules = Verification::of(&municipality());
    let before = identity();
    let ask = Asked {
        known: Some(&before),
        ..asked(&rules)
    };
    let now = Identity {
        id: Some("666".to_owned()),
        ..identity()
    };
    let seen = judge(&ask, Ok(now));
    assert_eq!(
        (seen.reach, troubles(&seen)),
        (Reach::Unreachable, vec![Trouble::WrongAccount])
    );
    // The same id under another name is the same account; one without an id proves nothing.
    let renamed = Identity {
        name: "Nässjö".to_owned(),
        ..identity()
    };
    assert_eq!(judge(&ask, Ok(renamed)).reach, Reach::Reachable);
    let silent = Identity {
        id: None,
        ..identity()
    };
    assert_eq!(judge(&ask, Ok(silent)).reach, Reach::Reachable);
}

#[test]
fn a_year_of_days_gives_each_warning_before_an_expiry_once() {
    let rules = Verification::of(&municipality());
    let ends = at("2027-06-01T12:00:00Z");
    let ending = Identity {
        expires_at: Some(ends),
        ..identity()
    };
    let mut steps: BTreeMap<u32, u32> = BTreeMap::new();
    let mut last = None;
    let mut now = at("2026-06-01T00:00:00Z");
    while now < ends {
        let ask = Asked { now, ..asked(&rules) };
        let step = judge(&ask, Ok(ending.clone()))
            .signs
            .first()
            .and_then(|sign| sign.step);
        if step != last {
            *steps.entry(step.unwrap()).or_default() += 1;
            last = step;
        }
        now = crate::clock::later(now, Duration::from_mins(10));
    }
    assert_eq!(steps, BTreeMap::from([(1, 1), (3, 1), (7, 1), (14, 1), (30, 1)]));
    let ask = Asked {
        now: crate::clock::later(ends, Duration::from_secs(1)),
        ..asked(&rules)
    };
    let over = judge(&ask, Ok(ending));
    assert_eq!(over.signs[0].text, "Inloggningen har gått ut.");
    assert_eq!(over.signs[0].step, Some(1));
}

#[test]
fn rights_flaws_and_a_small_rest_are_told_and_degrade() {
    let rules = Verification::of(&municipality());
    let ask = Asked {
        quota: Some(Quota {
            left: 3,
            limit: Some(100),
            resets_at: None,
        }),
        ..asked(&rules)
    };
    let flawed = Identity {
        rights: Some(Rights::compare(
            ["read".to_owned(), "follow".to_owned()],
            &[&["write:statuses"]],
            &["read"],
        )),
        flaws: vec![Reason::new("unpublished", "the public does not see the page")],
        ..identity()
    };
    let seen = judge(&ask, Ok(flawed));
    assert_eq!(
        troubles(&seen),
        [
            Trouble::RightMissing,
            Trouble::RightSurplus,
            Trouble::Flaw,
            Trouble::Quota
        ]
    );
    assert_eq!(seen.reach, Reach::Degraded);
}

fn looked<'a>(rules: &'a Verification, ours: &'a BTreeSet<String>) -> profile::Looked<'a> {
    profile::Looked {
        subject: "mastodon-nassjo".parse().unwrap(),
        kind: kind("mastodon").unwrap(),
        rules,
        before: None,
        ours,
        alert_since: None,
        now: at("2026-11-29T08:00:00Z"),
    }
}

fn whole() -> Profile {
    Profile {
        name: "Nässjö kommun".to_owned(),
        texts: vec![
            "Viktig information. Kontot bevakas vardagar 8–16.".to_owned(),
            "Regler för kommentarer".to_owned(),
        ],
        links: vec!["https://nassjo.se/sociala-medier".parse().unwrap()],
        latest: vec![Latest {
            remote_id: "1".to_owned(),
            at: at("2026-11-28T08:00:00Z"),
            by: None,
        }],
        ..Profile::default()
    }
}

#[test]
fn a_profile_that_tells_the_five_facts_is_whole_and_each_one_missing_is_named() {
    let rules = Verification::of(&municipality());
    let ours = BTreeSet::new();
    let seen = profile::judge(&looked(&rules, &ours), whole());
    assert_eq!(troubles(&seen), []);
    let bare = Profile {
        texts: vec!["Viktig information".to_owned()],
        links: vec![],
        ..whole()
    };
    let seen = profile::judge(&looked(&rules, &ours), bare);
    assert_eq!(troubles(&seen), [Trouble::ProfileFact]);
    for word in ["kommunen på annat sätt", "bevakas", "kommentarer"] {
        assert!(seen.signs[0].text.contains(word), "{}", seen.signs[0].text);
    }
    assert_eq!(seen.reach, Reach::Reachable);
}

#[test]
fn a_stale_account_a_strange_logo_and_a_changed_profile_are_told() {
    let mut rules = Verification::of(&municipality());
    rules.logos = BTreeSet::from(["aa".repeat(32)]);
    let ours = BTreeSet::new();
    let before = whole();
    let ask = profile::Looked {
        before: Some(&before),
        now: at("2027-09-01T08:00:00Z"),
        ..looked(&rules, &ours)
    };
    let strange = Profile {
        name: "Nässjö kommun 1".to_owned(),
        picture: Some("bb".repeat(32)),
        ..whole()
    };
    let seen = profile::judge(&ask, strange);
    assert_eq!(
        troubles(&seen),
        [Trouble::Logo, Trouble::Stale, Trouble::ProfileChanged]
    );
}

#[test]
fn a_post_that_is_not_ours_is_suspicious_only_while_an_alert_is_active() {
    let rules = Verification::of(&municipality());
    let ours = BTreeSet::from(["2".to_owned()]);
    let since = at("2026-11-29T07:00:00Z");
    let post = |id: &str, at: Timestamp| Latest {
        remote_id: id.to_owned(),
        at,
        by: Some("webb".to_owned()),
    };
    let later = at("2026-11-29T07:30:00Z");
    let profile = Profile {
        latest: vec![
            post("3", later),
            post("2", later),
            post("1", at("2026-11-28T07:30:00Z")),
        ],
        ..whole()
    };
    let calm = looked(&rules, &ours);
    assert_eq!(troubles(&profile::judge(&calm, profile.clone())), []);
    let alert = profile::Looked {
        alert_since: Some(since),
        ..calm
    };
    let seen = profile::judge(&alert, profile);
    assert_eq!(troubles(&seen), [Trouble::ForeignPost]);
    assert!(seen.signs[0].text.contains("3 (webb)"), "{}", seen.signs[0].text);
    assert!(!seen.signs[0].text.contains("2 (webb)"));
}

fn quiet() -> Quiet {
    Quiet {
        from: jiff::civil::time(22, 0, 0, 0),
        until: jiff::civil::time(6, 30, 0, 0),
        troubles: BTreeSet::from([Trouble::Expiring]),
    }
}

#[test]
fn quiet_hours_hold_what_can_wait_until_the_morning_also_on_the_nights_of_the_clock() {
    let quiet = quiet();
    let until = |now: &str| held_until(Trouble::Expiring, Some(&quiet), at(now), "Europe/Stockholm");
    assert_eq!(until("2026-11-29T12:00:00Z"), None);
    assert_eq!(until("2026-11-29T21:00:00Z"), Some(at("2026-11-30T05:30:00Z")));
    assert_eq!(until("2026-11-29T02:00:00Z"), Some(at("2026-11-29T05:30:00Z")));
    assert_eq!(until("2026-11-29T05:30:00Z"), None);
    // Summer time begins and ends within the quiet hours.
    assert_eq!(until("2027-03-27T22:00:00Z"), Some(at("2027-03-28T04:30:00Z")));
    assert_eq!(until("2026-10-24T22:00:00Z"), Some(at("2026-10-25T05:30:00Z")));
    let loud = held_until(
        Trouble::NoAnswer,
        Some(&quiet),
        at("2026-11-29T21:00:00Z"),
        "Europe/Stockholm",
    );
    assert_eq!(loud, None);
}

#[test]
fn a_notice_is_tried_again_without_end() {
    let now = at("2026-11-29T08:00:00Z");
    let waits: Vec<u64> = (0..7)
        .map(|n| crate::clock::until(now, tried_again(n, now)).as_secs())
        .collect();
    assert_eq!(waits, [10, 30, 60, 300, 900, 900, 900]);
}

fn notice(id: i64, subject: &str, trouble: Trouble, phase: Phase) -> Notice {
    Notice {
        id,
        condition: Condition {
            id,
            subject: subject.parse().unwrap(),
            sign: Sign {
                trouble,
                text: "Tjänsten svarar inte: connection refused (connect).".to_owned(),
                remedy: "Fråga igen: vardkase verify --account facebook-nassjo".to_owned(),
                step: None,
            },
            since: at("2026-11-29T01:58:00Z"),
            seen_at: at("2026-11-29T02:10:00Z"),
            ended_at: (phase == Phase::End).then(|| at("2026-11-29T02:10:00Z")),
        },
        phase,
        due_at: at("2026-11-29T02:03:00Z"),
        tries: 0,
    }
}

#[test]
fn the_worst_comes_first_and_what_is_over_last() {
    let notices = [
        notice(1, "mastodon-nassjo", Trouble::NoAnswer, Phase::End),
        notice(2, "daemon", Trouble::Disk, Phase::Begin),
        notice(3, "facebook-nassjo", Trouble::NoAnswer, Phase::Begin),
    ];
    let words = compose(&notices, &municipality(), at("2026-11-29T02:10:30Z")).unwrap();
    insta::assert_snapshot!(format!("{}\n\n{}", words.subject, words.text));
}

#[test]
fn go_only_when_everything_is_known_to_be_well() {
    let now = at("2026-11-29T08:00:00Z");
    let seen = |subject: &str, signs: Vec<Sign>| crate::model::Seen {
        observation: Observation::new(subject.parse::<Subject>().unwrap(), Look::Reach, signs),
        since: now,
        at: now,
        took_ms: 12,
    };
    let down = vec![sign(Trouble::NoAnswer, "", "")];
    let every = Duration::from_mins(30);
    let read = |subject: &str, seen: &[crate::model::Seen]| {
        go::readiness(subject.parse().unwrap(), seen, &[], every, now)
    };
    let all = [seen("daemon", vec![]), seen("a", vec![]), seen("b", down)];
    let page = |accounts: &[&str]| {
        let accounts = accounts.iter().map(|one| read(one, &all)).collect();
        go::page(read("daemon", &all), accounts, now)
    };
    assert_eq!(page(&["a"]).verdict, go::Verdict::Go);
    let gaps = page(&["a", "b"]);
    assert_eq!(
        (gaps.verdict, gaps.ready, gaps.all),
        (go::Verdict::GoWithGaps, 1, 2)
    );
    assert_eq!(gaps.accounts[0].subject.as_str(), "b");
    assert_eq!(page(&["b"]).verdict, go::Verdict::NoGo);
    // Nobody has asked c yet: that is no go either.
    assert_eq!(page(&["a", "c"]).verdict, go::Verdict::GoWithGaps);
    let old = go::readiness(
        "a".parse().unwrap(),
        &all,
        &[],
        every,
        crate::clock::later(now, 2 * every),
    );
    assert!(old.is_old);
}

#[test]
fn every_alarm_has_its_words_when_it_begins_and_when_it_is_over() {
    let (mut texts, mut pages) = (Vec::new(), Vec::new());
    for (trouble, id) in Trouble::ALL.iter().zip(1..) {
        let is_ours = matches!(
            trouble,
            Trouble::Link
                | Trouble::Relay
                | Trouble::Disk
                | Trouble::Clock
                | Trouble::Vault
                | Trouble::Restart
                | Trouble::Heartbeat
        );
        let subject = if is_ours { "daemon" } else { "facebook-nassjo" };
        for phase in [Phase::Begin, Phase::End] {
            // What happened and has no end is never told to be over.
            if phase == Phase::End && trouble.is_event() {
                continue;
            }
            let mut told = notice(id, subject, *trouble, phase);
            told.condition.sign.text = "Tjänsten säger: <b>nej</b> & \"aldrig\".".to_owned();
            let letter = compose(&[told], &municipality(), at("2026-11-29T02:10:30Z")).unwrap();
            texts.push(format!("{}\n\n{}", letter.subject, letter.text));
            let html = letter.html.unwrap();
            for foreign in ["src=", "<script", "<img", "<b>"] {
                assert!(!html.contains(foreign), "{foreign}: {html}");
            }
            let main = html.split_once("<main").unwrap().1;
            pages.push(format!(
                "<main{}",
                main.split_once("<p>").map_or(main, |(own, _)| own)
            ));
        }
    }
    insta::assert_snapshot!("every_alarm_text", texts.join("\n\n=====\n\n"));
    insta::assert_snapshot!("every_alarm_html", pages.join("\n\n=====\n\n"));
}

#[test]
fn an_alarm_of_several_is_one_page() {
    let notices = [
        notice(1, "mastodon-nassjo", Trouble::NoAnswer, Phase::End),
        notice(2, "daemon", Trouble::Disk, Phase::Begin),
        notice(3, "facebook-nassjo", Trouble::NoAnswer, Phase::Begin),
    ];
    let letter = compose(&notices, &municipality(), at("2026-11-29T02:10:30Z")).unwrap();
    insta::assert_snapshot!(letter.html.unwrap());
}
