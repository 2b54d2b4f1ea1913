use std::time::Duration;

use super::*;
use crate::clock::{earlier, later};
use crate::register::attest::tests::given;
use crate::register::export::tests::{shipped, validate};
use crate::register::findings::Observed;

const DAY: Duration = Duration::from_hours(24);

fn id(text: &str) -> AccountId {
    text.parse().expect("an id")
}

fn report(year: i16, observed: &Observations) -> Report {
    let config = shipped(|text| {
        text.replace(
            "name = \"Nässjö bibliotek på Facebook\"",
            "name = \"<b>Biblioteket & co</b>\"",
        )
    });
    let now: Timestamp = "2027-01-20T10:00:00Z".parse().expect("a time");
    let posted = BTreeMap::from([
        (
            id("facebook-nassjo"),
            Posted {
                wanted: 212,
                out: 209,
                median_ms: Some(1840),
            },
        ),
        (
            id("facebook-bibliotek"),
            Posted {
                wanted: 7,
                out: 7,
                median_ms: Some(900),
            },
        ),
        (
            id("x-nassjo"),
            Posted {
                wanted: 3,
                out: 0,
                median_ms: None,
            },
        ),
        (
            id("epost-press"),
            Posted {
                wanted: 84,
                out: 83,
                median_ms: None,
            },
        ),
    ]);
    let attestations = [
        given(
            1,
            "facebook-nassjo",
            What::TwoFactor,
            earlier(now, 200 * DAY),
            later(now, 165 * DAY),
        ),
        given(
            2,
            "facebook-nassjo",
            What::Logo,
            earlier(now, 400 * DAY),
            earlier(now, 35 * DAY),
        ),
        given(
            3,
            "facebook-nassjo",
            What::YearlyFollowUp,
            earlier(now, DAY),
            later(now, 364 * DAY),
        ),
    ];
    let figures = Figures {
        year,
        now,
        posted: &posted,
        attestations: &attestations,
        observed,
    };
    Report::of(&config, &figures)
}

#[test]
fn the_report_of_a_year_that_is_over() {
    let report = report(2026, &Observations::new());
    assert!(report.complete);
    let html = report.html("Europe/Stockholm").expect("a page");
    let (_, body) = html.split_once("<body>").expect("a body");
    validate(&format!("<body>{}", body.replace("</html>\n", "")));
    assert!(html.contains("&lt;b&gt;Biblioteket &amp; co"), "{html}");
    insta::assert_snapshot!("report_html", html);
    insta::assert_snapshot!(
        "report_json",
        serde_json::to_string_pretty(&report).expect("JSON")
    );
    // What held at the end of the year counts, not what came after it.
    let facebook = report
        .accounts
        .iter()
        .find(|one| one.account == id("facebook-nassjo"))
        .expect("an account");
    let held: Vec<What> = facebook
        .attestations
        .iter()
        .filter(|(_, held)| **held)
        .map(|(what, _)| *what)
        .collect();
    assert_eq!(held, [What::TwoFactor]);
}

#[test]
fn figures_of_services_stand_where_somebody_has_told_them() {
    let observed = Observations::from([(
        id("x-nassjo"),
        Observed {
            followers: Some(1934),
            last_post: None,
        },
    )]);
    let report = report(2027, &observed);
    assert!(!report.complete);
    let html = report.html("Europe/Stockholm").expect("a page");
    assert!(
        html.contains("<th scope=\"col\">Följare</th>") && html.contains("<td class=\"tal\">1934</td>"),
        "{html}"
    );
    assert!(html.contains("Året är inte slut"), "{html}");
}

#[test]
fn the_chart_is_read_without_colour_and_stands_as_a_table_too() {
    let report = report(2026, &Observations::new());
    let html = report.html("Europe/Stockholm").expect("a page");
    let (chart, table) = html.split_once("</svg>").expect("a chart");
    for one in report.accounts.iter().filter(|one| one.posts > 0) {
        assert!(
            chart.contains(&format!(">{} av {}</text>", one.published, one.posts)),
            "{}",
            one.account
        );
        assert!(table.contains(&format!(
            "<td class=\"tal\">{}</td>\n<td class=\"tal\">{}</td>",
            one.posts, one.published
        )));
    }
    assert!(chart.contains("url(#streck)") && chart.contains("<title id=") && chart.contains("<desc id="));
    let quiet = Report {
        accounts: report.accounts.into_iter().filter(|one| one.posts == 0).collect(),
        ..report
    };
    assert!(!quiet.html("Europe/Stockholm").expect("a page").contains("<svg"));
}
