//! What services say of their limits in the headers of answers that are a success: one reader per form.
//!
//! Only answers to requests that post or change something are read ([`super::Transport::metered`]): what is left for
//! reading, for pictures or for logging in says nothing of what may still be posted. A header that makes no sense says
//! nothing at all.

use std::time::Duration;

use serde_json::Value;

use super::transport::Answer;
use crate::clock::{Timestamp, later};
use crate::model::Quota;

/// How long a Graph account rests that has nothing left and names no time (reference page §5).
const GRAPH_REST: Duration = Duration::from_mins(5);
/// What a post costs on Bluesky, in points, less one: with no more than this left nothing can be posted.
const BLUESKY_SHORT_OF_A_POST: u64 = 1;

/// `X-RateLimit-*` of Mastodon, its reset in ISO 8601, of some of its kin in Unix seconds.
pub(super) fn mastodon(path: &str, answer: &Answer) -> Option<Quota> {
    path.ends_with("/statuses").then_some(())?;
    let reset = answer.header("x-ratelimit-reset").map(str::trim);
    let reset = reset.and_then(|text| text.parse().ok().or_else(|| moment(text)));
    Some(Quota {
        left: number(answer, "x-ratelimit-remaining")?,
        limit: number(answer, "x-ratelimit-limit"),
        resets_at: reset,
    })
}

/// `x-rate-limit-*` of X, and the limits of a day for the user and the app where they are told: the scarcest counts. Of
/// those that are used up, the one that comes back last.
pub(super) fn x(path: &str, answer: &Answer) -> Option<Quota> {
    path.ends_with("/tweets").then_some(())?;
    let limit = |name: &str| {
        let reset = answer.header(&format!("{name}-reset")).map(str::trim);
        Some(Quota {
            left: number(answer, &format!("{name}-remaining"))?,
            limit: number(answer, &format!("{name}-limit")),
            resets_at: reset.and_then(moment),
        })
    };
    let limits = ["x-rate-limit", "x-user-limit-24hour", "x-app-limit-24hour"];
    scarcest(limits.into_iter().filter_map(limit))
}

/// `RateLimit-*` of Bluesky, in points, its reset in Unix seconds.
pub(super) fn bluesky(path: &str, answer: &Answer) -> Option<Quota> {
    path.contains("com.atproto.repo.").then_some(())?;
    (!path.ends_with("uploadBlob")).then_some(())?;
    let left = number(answer, "ratelimit-remaining")?;
    Some(Quota {
        left: left.saturating_sub(BLUESKY_SHORT_OF_A_POST),
        limit: number(answer, "ratelimit-limit"),
        resets_at: super::bluesky::reset(answer),
    })
}

/// `X-RateLimit-*` of Discord, its reset in seconds from now, with decimals.
pub(super) fn discord(_path: &str, answer: &Answer) -> Option<Quota> {
    let after = answer.header("x-ratelimit-reset-after").map(str::trim);
    let after = after.and_then(|text| Duration::try_from_secs_f64(text.parse().ok()?).ok());
    Some(Quota {
        left: number(answer, "x-ratelimit-remaining")?,
        limit: number(answer, "x-ratelimit-limit"),
        resets_at: after.map(|after| later(answer.at, after)),
    })
}

/// `X-App-Usage`, `X-Page-Usage` and `X-Business-Use-Case-Usage` of Meta's Graph services: how many percent are used.
/// They are left out while little is.
pub(super) fn graph(_path: &str, answer: &Answer) -> Option<Quota> {
    let header = |name: &str| {
        answer
            .header(name)
            .and_then(|text| serde_json::from_str(text).ok())
    };
    let flat = ["x-app-usage", "x-page-usage"].into_iter().filter_map(header);
    let business: Value = header("x-business-use-case-usage").unwrap_or_default();
    let business = business.as_object().into_iter().flat_map(|all| all.values());
    let business = business.filter_map(Value::as_array).flatten().cloned();
    let used = flat.chain(business).filter_map(|usage| used(&usage)).max()?;
    let left = 100_u64.saturating_sub(used);
    let regain = super::graph::regain(answer);
    Some(Quota {
        left,
        limit: Some(100),
        resets_at: regain.or_else(|| (left == 0).then(|| later(answer.at, GRAPH_REST))),
    })
}

/// The highest percentage of one usage, rounded up.
fn used(usage: &Value) -> Option<u64> {
    let percent = ["call_count", "total_time", "total_cputime"]
        .into_iter()
        .filter_map(|name| usage[name].as_f64())
        .fold(None, |most: Option<f64>, one| {
            Some(most.map_or(one, |most| most.max(one)))
        })?;
    // No number is lost that matters: percentages, and what is above a hundred is as good as a hundred.
    format!("{:.0}", percent.clamp(0.0, 100.0).ceil()).parse().ok()
}

fn scarcest(limits: impl Iterator<Item = Quota>) -> Option<Quota> {
    limits.reduce(|one, other| match (one.left, other.left) {
        (0, 0) if other.resets_at > one.resets_at => other,
        (0, _) => one,
        (_, 0) => other,
        (..) if scarcer(&other, &one) => other,
        (..) => one,
    })
}

/// Whether a smaller share of `one` is left than of `other`. What has no limit is not scarce.
fn scarcer(one: &Quota, other: &Quota) -> bool {
    match (one.limit, other.limit) {
        (Some(of_one), Some(of_other)) => {
            u128::from(one.left) * u128::from(of_other) < u128::from(other.left) * u128::from(of_one)
        }
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn number(answer: &Answer, name: &str) -> Option<u64> {
    answer.header(name)?.trim().parse().ok()
}

fn moment(seconds: &str) -> Option<Timestamp> {
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName};

    use super::*;
    use crate::channel::testing::accepted_at;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Answer {
            status: 200,
            headers: map,
            body: Vec::new(),
            at: accepted_at(),
        }
    }

    fn quota(left: u64, limit: u64, resets_at: &str) -> Quota {
        Quota {
            left,
            limit: Some(limit),
            resets_at: Some(resets_at.parse().unwrap()),
        }
    }

    #[test]
    fn mastodon_says_it_in_iso_8601_and_its_kin_in_seconds() {
        let post = "/api/v1/statuses";
        for reset in ["2026-12-05T12:00:00.000000Z", "1796472000"] {
            let said = answer(&[
                ("x-ratelimit-limit", "300"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", reset),
            ]);
            assert_eq!(
                mastodon(post, &said),
                Some(quota(7, 300, "2026-12-05T12:00:00Z")),
                "{reset}"
            );
            for other in ["/api/v2/media", "/api/v1/statuses/1", "/api/v1/statuses/1/pin"] {
                assert_eq!(mastodon(other, &said), None, "{other} has a bucket of its own");
            }
        }
        assert_eq!(mastodon(post, &answer(&[])), None);
        assert_eq!(mastodon(post, &answer(&[("x-ratelimit-remaining", "-1")])), None);
    }

    #[test]
    fn of_the_limits_of_x_the_scarcest_counts_and_of_those_used_up_the_longest() {
        let said = |user: &str, app: &str| {
            answer(&[
                ("x-rate-limit-limit", "100"),
                ("x-rate-limit-remaining", "50"),
                ("x-rate-limit-reset", "1796472000"),
                ("x-user-limit-24hour-limit", "25"),
                ("x-user-limit-24hour-remaining", user),
                ("x-user-limit-24hour-reset", "1796475600"),
                ("x-app-limit-24hour-limit", "500"),
                ("x-app-limit-24hour-remaining", app),
                ("x-app-limit-24hour-reset", "1796479200"),
            ])
        };
        let at = |hour| format!("2026-12-05T{hour}:00:00Z");
        assert_eq!(x("/2/tweets", &said("24", "499")), Some(quota(50, 100, &at(12))));
        assert_eq!(x("/2/tweets", &said("2", "499")), Some(quota(2, 25, &at(13))));
        assert_eq!(x("/2/tweets", &said("0", "499")), Some(quota(0, 25, &at(13))));
        assert_eq!(x("/2/tweets", &said("0", "0")), Some(quota(0, 500, &at(14))));
        assert_eq!(x("/2/media/upload", &said("0", "0")), None);
        assert_eq!(
            x("/2/tweets", &answer(&[("x-rate-limit-reset", "1796472000")])),
            None
        );
    }

    #[test]
    fn bluesky_counts_points_and_a_post_costs_two() {
        let said = |left: &str| {
            answer(&[
                ("ratelimit-limit", "5000"),
                ("ratelimit-remaining", left),
                ("ratelimit-reset", "1796472000"),
            ])
        };
        let create = "/xrpc/com.atproto.repo.createRecord";
        let at = "2026-12-05T12:00:00Z";
        assert_eq!(bluesky(create, &said("4998")), Some(quota(4997, 5000, at)));
        assert_eq!(bluesky(create, &said("1")), Some(quota(0, 5000, at)));
        for other in ["com.atproto.repo.uploadBlob", "com.atproto.server.createSession"] {
            assert_eq!(bluesky(&format!("/xrpc/{other}"), &said("0")), None, "{other}");
        }
    }

    #[test]
    fn discord_names_a_span_with_decimals() {
        let said = answer(&[
            ("x-ratelimit-limit", "5"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1796472000.25"),
            ("x-ratelimit-reset-after", "1.500"),
        ]);
        let said = discord("/api/webhooks/1/t", &said).unwrap();
        assert_eq!((said.left, said.limit), (0, Some(5)));
        assert_eq!(
            said.resets_at,
            Some(later(accepted_at(), Duration::from_millis(1500)))
        );
        for nonsense in ["-1", "NaN", "soon", "1e300"] {
            let said = answer(&[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset-after", nonsense),
            ]);
            assert_eq!(discord("/", &said).unwrap().resets_at, None, "{nonsense}");
        }
    }

    #[test]
    fn meta_says_what_is_used_in_percent_and_the_highest_counts() {
        let app = r#"{"call_count":28,"total_time":25.2,"total_cputime":25}"#;
        let business = r#"{"1055":[{"type":"pages","call_count":1,"total_cputime":96,"total_time":1,
            "estimated_time_to_regain_access":0}],"77":[{"call_count":3}]}"#
            .replace('\n', "");
        let left =
            |headers: &[(&str, &str)]| graph("/v24.0/1/feed", &answer(headers)).map(|quota| quota.left);
        assert_eq!(left(&[("x-app-usage", app)]), Some(72));
        assert_eq!(
            left(&[("x-app-usage", app), ("x-business-use-case-usage", &business)]),
            Some(4)
        );
        assert_eq!(left(&[("x-page-usage", r#"{"total_time":80.1}"#)]), Some(19));
        for nothing in ["", "[]", "{}", "null", r#"{"call_count":"many"}"#] {
            assert_eq!(left(&[("x-app-usage", nothing)]), None, "{nothing}");
        }
        let full = r#"{"1055":[{"call_count":120,"estimated_time_to_regain_access":17}]}"#;
        let full = graph("/", &answer(&[("x-business-use-case-usage", full)])).unwrap();
        let in_minutes = |n| Some(later(accepted_at(), Duration::from_mins(n)));
        assert_eq!((full.left, full.resets_at), (0, in_minutes(17)));
        let full = graph("/", &answer(&[("x-app-usage", r#"{"call_count":100}"#)])).unwrap();
        assert_eq!((full.left, full.resets_at), (0, in_minutes(5)));
    }
}
