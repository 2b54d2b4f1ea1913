//! Whether a drill was good enough, by the rules of its section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[drill.<id>.grade]`: what has to hold. What is `None` is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The first account is out within this.
    pub first_within: Option<Duration>,
    /// Every account that came out is out within this.
    pub all_within: Option<Duration>,
    /// So much of a hundred of the accounts come out.
    pub published_percent: u32,
    /// At most so many do not.
    pub most_misses: Option<u32>,
    /// The confirmation is out within this. Asked of rehearsals only.
    pub confirmed_within: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            first_within: None,
            all_within: None,
            published_percent: 100,
            most_misses: None,
            confirmed_within: None,
        }
    }
}

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Accounts that were tried.
    pub all: u64,
    /// Those that came out, by themselves or by the account that stands in.
    pub out: u64,
    /// Time to the first, in milliseconds.
    pub first_ms: Option<u64>,
    /// Time to the last that came out.
    pub last_ms: Option<u64>,
    /// Time to the last mail of the confirmation; `None` if it is not out.
    pub confirmed_ms: Option<u64>,
    /// Whether a confirmation belongs to the drill.
    pub confirms: bool,
}

/// How a drill was graded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// Whether every rule was kept.
    pub passed: bool,
    /// The rule that decided: the first that was broken, or the last if all were kept.
    pub decided: String,
    /// Each rule.
    pub rules: Vec<Ruled>,
}

/// One rule, and whether it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruled {
    /// Its key in the section.
    pub rule: String,
    /// What it asks, in Swedish.
    pub wanted: String,
    /// What was, in Swedish.
    pub got: String,
    /// Whether it was kept.
    pub kept: bool,
}

/// Grades.
pub fn grade(rules: &Rules, figures: &Figures) -> Grade {
    let mut all = Vec::new();
    let share = percent(figures.out, figures.all);
    all.push(Ruled {
        rule: "published_percent".to_owned(),
        wanted: format!("minst {} % av kontona", rules.published_percent),
        got: if figures.all == 0 {
            "inget konto att pröva".to_owned()
        } else {
            format!("{share} % ({} av {})", figures.out, figures.all)
        },
        kept: figures.all > 0 && figures.out * 100 >= u64::from(rules.published_percent) * figures.all,
    });
    if let Some(most) = rules.most_misses {
        let missed = figures.all.saturating_sub(figures.out);
        all.push(Ruled {
            rule: "most_misses".to_owned(),
            wanted: format!("högst {most} missade konton"),
            got: missed.to_string(),
            kept: missed <= u64::from(most),
        });
    }
    let mut within = |rule: &str, what: &str, limit: Option<Duration>, took: Option<u64>| {
        let Some(limit) = limit else { return };
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        all.push(Ruled {
            rule: rule.to_owned(),
            wanted: format!("{what} inom {}", seconds(limit)),
            got: took.map_or_else(|| "aldrig".to_owned(), seconds),
            kept: took.is_some_and(|took| took <= limit),
        });
    };
    within(
        "first_within",
        "första kontot",
        rules.first_within,
        figures.first_ms,
    );
    within("all_within", "sista kontot", rules.all_within, figures.last_ms);
    if figures.confirms {
        let took = figures.confirmed_ms;
        within("confirmed_within", "bekräftelsen", rules.confirmed_within, took);
    }
    let broken = all.iter().find(|ruled| !ruled.kept);
    Grade {
        passed: broken.is_none(),
        decided: broken
            .or(all.last())
            .map(|ruled| ruled.rule.clone())
            .unwrap_or_default(),
        rules: all,
    }
}

/// Rounded down, so that 100 means all.
fn percent(part: u64, whole: u64) -> u64 {
    (part * 100).checked_div(whole).unwrap_or_default()
}

/// `4,2 s`; `3 min 20 s` from a minute on.
pub fn seconds(ms: u64) -> String {
    let whole = ms / 1000;
    if whole < 60 {
        return format!("{whole},{} s", ms % 1000 / 100);
    }
    match whole % 60 {
        0 => format!("{} min", whole / 60),
        rest => format!("{} min {rest} s", whole / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Figures = Figures {
        all: 12,
        out: 12,
        first_ms: Some(300),
        last_ms: Some(4_200),
        confirmed_ms: Some(5_000),
        confirms: true,
    };

    #[test]
    fn without_rules_of_its_own_a_drill_must_reach_every_account() {
        let rules = Rules::default();
        assert!(grade(&rules, &GOOD).passed);
        let one_less = grade(&rules, &Figures { out: 11, ..GOOD });
        assert!(!one_less.passed);
        assert_eq!(one_less.decided, "published_percent");
        assert_eq!(one_less.rules[0].got, "91 % (11 av 12)");
        let nothing = grade(
            &rules,
            &Figures {
                all: 0,
                out: 0,
                ..GOOD
            },
        );
        assert!(!nothing.passed, "nothing tried is nothing shown");
    }

    #[test]
    fn the_first_broken_rule_decides_and_limits_are_kept_to_the_millisecond() {
        let rules = Rules {
            first_within: Some(Duration::from_millis(300)),
            all_within: Some(Duration::from_secs(4)),
            published_percent: 90,
            most_misses: Some(1),
            confirmed_within: Some(Duration::from_secs(5)),
        };
        let slow = grade(&rules, &Figures { out: 11, ..GOOD });
        let kept: Vec<(&str, bool)> = slow.rules.iter().map(|r| (r.rule.as_str(), r.kept)).collect();
        assert_eq!(
            kept,
            [
                ("published_percent", true),
                ("most_misses", true),
                ("first_within", true),
                ("all_within", false),
                ("confirmed_within", true)
            ]
        );
        assert_eq!((slow.passed, slow.decided.as_str()), (false, "all_within"));
        let good = grade(
            &rules,
            &Figures {
                last_ms: Some(4_000),
                ..GOOD
            },
        );
        assert_eq!((good.passed, good.decided.as_str()), (true, "confirmed_within"));
        let never = grade(
            &rules,
            &Figures {
                first_ms: None,
                last_ms: None,
                confirmed_ms: None,
                ..GOOD
            },
        );
        assert_eq!(never.decided, "first_within");
        // Only a rehearsal confirms.
        let reach = grade(
            &rules,
            &Figures {
                last_ms: Some(4_000),
                confirmed_ms: None,
                confirms: false,
                ..GOOD
            },
        );
        assert!(reach.passed, "{reach:?}");
    }

    #[test]
    fn times_are_told_as_people_read_them() {
        for (ms, text) in [
            (0, "0,0 s"),
            (4_290, "4,2 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
        ] {
            assert_eq!(seconds(ms), text);
        }
    }
}
