use std::fmt::Write as _;

use super::*;
use crate::clock::{earlier, later};
use crate::model::{Look, Observation, Sign, Subject};

const ZONE: &str = "Europe/Stockholm";
const HALF: Duration = Duration::from_mins(30);

fn id(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-29T02:00:00Z".parse().unwrap()
}

fn seen(troubles: &[Trouble], minutes_ago: u64) -> Seen {
    let signs = troubles.iter().map(|trouble| Sign {
        trouble: *trouble,
        text: "Tjänsten svarar inte: 503.".to_owned(),
        remedy: String::new(),
        step: None,
    });
    let at = earlier(now(), Duration::from_mins(minutes_ago));
    Seen {
        observation: Observation::new(Subject::Account(id("a")), Look::Reach, signs.collect()),
        since: earlier(at, HALF),
        at,
        took_ms: 3,
    }
}

#[test]
fn only_a_fresh_look_that_found_it_unreachable_counts() {
    use Trouble as T;
    let from_the_future = Seen {
        at: later(now(), HALF),
        ..seen(&[T::NoAnswer], 0)
    };
    // Asked once so far.
    let once = |trouble: T| {
        let seen = seen(&[trouble], 1);
        Some(Seen {
            since: seen.at,
            ..seen
        })
    };
    let cases: [(&str, Option<Seen>, bool, Duration, bool); 17] = [
        ("no answer, once", once(T::NoAnswer), false, HALF, false),
        ("refused, once", once(T::Credential), false, HALF, true),
        ("another one, once", once(T::WrongAccount), false, HALF, true),
        ("never looked at", None, false, HALF, false),
        ("well", Some(seen(&[], 1)), false, HALF, false),
        ("no answer", Some(seen(&[T::NoAnswer], 1)), false, HALF, true),
        ("credential", Some(seen(&[T::Credential], 1)), false, HALF, true),
        (
            "another account",
            Some(seen(&[T::WrongAccount], 1)),
            false,
            HALF,
            true,
        ),
        (
            "degraded",
            Some(seen(&[T::Quota, T::Flaw], 1)),
            false,
            HALF,
            false,
        ),
        ("ends soon", Some(seen(&[T::Expiring], 1)), false, HALF, false),
        ("out of use", Some(seen(&[T::Disabled], 1)), false, HALF, false),
        (
            "out of use and dead",
            Some(seen(&[T::Disabled, T::Credential], 1)),
            false,
            HALF,
            true,
        ),
        ("just fresh", Some(seen(&[T::NoAnswer], 30)), false, HALF, true),
        ("stale", Some(seen(&[T::NoAnswer], 31)), false, HALF, false),
        (
            "it took a post since",
            Some(seen(&[T::NoAnswer], 1)),
            true,
            HALF,
            false,
        ),
        (
            "never to count",
            Some(seen(&[T::NoAnswer], 0)),
            false,
            Duration::ZERO,
            false,
        ),
        ("of a wrong clock", Some(from_the_future), false, HALF, false),
    ];
    for (what, seen, out_since, steers_for, expected) in cases {
        let known = Known {
            seen: seen.as_ref(),
            since: None,
            out_since,
            steers_for,
            now: now(),
        };
        assert_eq!(silent(&known).is_some(), expected, "{what}");
    }
}

#[test]
fn a_second_question_without_an_answer_counts_whatever_was_said_of_the_first() {
    let seen = seen(&[Trouble::NoAnswer], 1);
    // Another sentence than the time before, so that it is a new entry.
    let seen = Seen {
        since: seen.at,
        ..seen
    };
    for (since, expected) in [(seen.at, false), (earlier(seen.at, HALF), true)] {
        let known = Known {
            seen: Some(&seen),
            since: Some(since),
            out_since: false,
            steers_for: HALF,
            now: now(),
        };
        assert_eq!(silent(&known).is_some(), expected);
    }
}

#[test]
fn it_is_silent_since_it_was_first_seen_so() {
    let seen = seen(&[Trouble::NoAnswer], 1);
    let long_ago = earlier(now(), Duration::from_hours(9));
    for (since, expected) in [
        (None, seen.since),
        (Some(long_ago), long_ago),
        (Some(now()), seen.since),
    ] {
        let known = Known {
            seen: Some(&seen),
            since,
            out_since: false,
            steers_for: HALF,
            now: now(),
        };
        let found = silent(&known).unwrap();
        assert_eq!((found.since, found.seen_at), (expected, seen.at));
        assert_eq!(found.reason.code, "no-answer");
    }
}

/// `a` → `b` → …, of which only the first is addressed; `+x` is served by a person.
fn chain(names: &[&str]) -> BTreeMap<AccountId, Link> {
    let plain = |name: &str| id(name.trim_start_matches('+'));
    let next = |at: usize| names.get(at + 1).map(|name| plain(name));
    let link = |(at, name): (usize, &&str)| {
        let link = Link {
            addressed: at == 0,
            by_hand: name.starts_with('+'),
            stand_in: next(at),
        };
        (plain(name), link)
    };
    names.iter().enumerate().map(link).collect()
}

/// An account, who takes over from it, where a person is asked.
type Expected = (&'static str, Option<&'static str>, Option<&'static str>);

#[test]
fn who_takes_over_and_where_a_person_is_asked() {
    let why = Silent {
        since: earlier(now(), Duration::from_mins(50)),
        seen_at: now(),
        reason: Reason::new("no-answer", "Tjänsten svarar inte: 503."),
    };
    let cases: [(&[&str], &[&str], &[Expected]); 9] = [
        (&["a", "b"], &[], &[]),
        (&["a"], &["a"], &[("a", None, Some("a"))]),
        (&["a", "b"], &["a"], &[("a", Some("b"), None)]),
        (&["a", "b"], &["b"], &[("b", None, None)]),
        (
            &["a", "b"],
            &["a", "b"],
            &[("a", Some("b"), Some("a")), ("b", None, None)],
        ),
        (&["a", "+m"], &["a"], &[("a", Some("m"), Some("m"))]),
        (&["a", "b", "+m"], &["a"], &[("a", Some("b"), None)]),
        (
            &["a", "b", "+m"],
            &["a", "b"],
            &[("a", Some("b"), Some("m")), ("b", Some("m"), None)],
        ),
        (
            &["a", "b", "c"],
            &["a", "b"],
            &[("a", Some("b"), None), ("b", Some("c"), None)],
        ),
    ];
    let mut told = String::new();
    for (names, dead, expected) in cases {
        let links = chain(names);
        let silent = dead.iter().map(|name| (id(name), why.clone())).collect();
        let found = steer(&links, &silent);
        let plain: Vec<_> = found
            .iter()
            .map(|one| {
                let name = |id: &AccountId| id.to_string();
                (
                    one.account.to_string(),
                    one.takes_over.as_ref().map(name),
                    one.by_hand.as_ref().map(name),
                )
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(id, over, hand)| ((*id).to_owned(), over.map(str::to_owned), hand.map(str::to_owned)))
            .collect();
        assert_eq!(plain, expected, "{names:?} {dead:?}");
        for one in &found {
            let addressed = links[&one.account].addressed;
            let said = said(one, addressed, now(), ZONE);
            writeln!(told, "{names:?}, {dead:?} silent: {}: {said}", one.account).unwrap();
        }
    }
    insta::assert_snapshot!(told);
}
