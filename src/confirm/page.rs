//! The mail as text and as HTML, from the same rows. The HTML escapes everything that it is given.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::rows::{self, Row, Standing, Tally};
use super::{Facts, words};
use crate::model::{BroadcastReport, Mode};

const TEXT: &str = include_str!("../../templates/mail/confirmation.txt");
const HTML: &str = include_str!("../../templates/mail/confirmation.html");

/// Everything that the mail says.
pub struct Page<'a> {
    /// The report.
    pub report: &'a BroadcastReport,
    /// The subject.
    pub headline: &'a str,
    /// The first sentences.
    pub verdict: String,
    /// How many accounts stand how.
    pub tally: &'a Tally,
    /// The rest.
    pub facts: &'a Facts<'a>,
}

impl Page<'_> {
    /// As plain text. Ends with the sender and the link, as every text does.
    pub fn text(&self) -> Result<String, String> {
        let text = self.render("confirmation.txt", TEXT)?;
        Ok(crate::compose::layout::tidy(&text))
    }

    /// As HTML: one column, no pictures, no outside style, so that every mail reader shows it.
    pub fn html(&self) -> Result<String, String> {
        self.render("confirmation.html", HTML)
    }

    fn render(&self, name: &str, source: &str) -> Result<String, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            let html = std::path::Path::new(name)
                .extension()
                .is_some_and(|e| e == "html");
            if html { AutoEscape::Html } else { AutoEscape::None }
        });
        environment
            .add_template(name, source)
            .and_then(|()| environment.get_template(name))
            .and_then(|template| template.render(self.values()))
            .map_err(|error| error.to_string())
    }

    fn values(&self) -> Value {
        let Self { report, facts, .. } = self;
        let zone = &facts.municipality.time_zone;
        let exercise = match report.mode {
            Mode::Live => None,
            Mode::Drill => Some("Det här var en övning. Allmänheten har inte sett något."),
            Mode::Test => Some("Det här var ett tekniskt test. Allmänheten har inte sett något."),
        };
        context! {
            headline => self.headline,
            verdict => self.verdict.as_str(),
            exercise => exercise,
            title => report.headline.as_str(),
            alert => report.alert.as_str(),
            broadcast => report.broadcast.as_str(),
            message => report.message.as_str(),
            kind => words::kind(report.kind),
            accepted => words::moment(report.accepted_at, zone),
            valid_until => words::moment(report.valid_until, zone),
            written => words::moment(facts.now, zone),
            rows => values_of(rows::rows(report, &report.deliveries, &report.recipients, facts)),
            retractions => values_of(rows::rows(report, &report.retractions, &[], facts)),
            unproven => report.deliveries.iter().any(|d| d.proof == crate::model::Proof::Unproven),
            all => self.tally.all,
            seq => facts.journal_head.0,
            hash => facts.journal_head.1,
            sender => facts.municipality.name.as_str(),
            link => facts.link.as_str(),
        }
    }
}

fn values_of(rows: Vec<Row>) -> Vec<Value> {
    rows.into_iter().map(value).collect()
}

fn value(row: Row) -> Value {
    let (mark, colour) = match row.standing {
        Standing::Person => ("ATT GÖRA", "#b3261e"),
        Standing::NotOut => ("INTE UTE", "#b3261e"),
        Standing::Open => ("PÅGÅR", "#7a5300"),
        Standing::Out => ("KLART", "#1b6b32"),
        Standing::Replaced => ("ERSATT", "#555555"),
    };
    // Only a web address becomes something to press; anything else that a service gave is shown as it is.
    let href = row
        .link
        .as_deref()
        .filter(|link| url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "https" | "http")))
        .map(str::to_owned);
    context! {
        mark, colour, href,
        account => row.account,
        channel => row.channel,
        word => row.word,
        serves => row.serves,
        before => row.before,
        link => row.link,
        took => row.took,
        next => row.next,
        attempts => row.attempts,
        proof => row.proof,
        error => row.error,
        advice => row.advice,
        text => row.text,
        instructions => row.instructions,
        counts => row.counts,
        arrived => row.arrived,
        missed => row.missed,
        note => row.note,
        missed_more => row.missed_more,
    }
}
