//! The confirmation: tells the crisis organisation what came out where, and what is left for a person to do.
//!
//! Pure: [`due`] says whether one is to be written now and which, [`compose`] writes it. It is then a delivery like
//! others, durable and retried, to the addresses in `[confirmation]`; sending it is not done here.

use std::collections::BTreeMap;

use url::Url;

use crate::clock::Timestamp;
use crate::compose::TextRule;
use crate::config::Municipality;
use crate::model::{
    AccountId, BroadcastReport, BroadcastState, DeliveryId, Lang, Purpose, Rendering, Unit, Variant,
};

pub mod advice;
pub mod before;
pub mod due;
mod page;
pub(crate) mod rows;
pub mod words;

pub use advice::advice;
pub use due::{due, next_check};

/// A mail may be as long as it is.
pub const TEXT_RULE: TextRule = TextRule {
    limit: None,
    unit: Unit::Characters,
    also: None,
};

/// What a confirmation needs to know besides the report.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Who sends; its zone is the one that times are told in.
    pub municipality: &'a Municipality,
    /// Now.
    pub now: Timestamp,
    /// The page that the broadcast links to.
    pub link: &'a Url,
    /// The journal's last record and its hash: kept by whoever reads the mail, it proves the journal up to there.
    pub journal_head: (i64, &'a str),
    /// The exact text of deliveries that a person is to publish, at least of those that are `manual` or `refused`.
    pub texts: &'a BTreeMap<DeliveryId, String>,
    /// What a person needs to know to publish on an account by hand.
    pub instructions: &'a BTreeMap<AccountId, String>,
}

/// Writes the confirmation. `part` is one of the confirmation purposes.
///
/// # Errors
/// If a template of the mail is broken; the text says which.
pub fn compose(report: &BroadcastReport, part: Purpose, facts: &Facts<'_>) -> Result<Rendering, String> {
    let tally = rows::Tally::of(report);
    let headline = subject(report, part, &tally);
    let page = page::Page {
        report,
        headline: &headline,
        verdict: verdict(report, part, &tally, facts.now),
        tally: &tally,
        facts,
    };
    let text = page.text()?;
    Ok(Rendering {
        count: text.chars().count(),
        html: Some(page.html()?),
        headline,
        text,
        link: facts.link.clone(),
        languages: vec![Lang::Sv],
        variant: Variant::Long,
        limit: TEXT_RULE.limit,
        unit: TEXT_RULE.unit,
        picture: None,
    })
}

/// One line that says it all on a locked phone.
fn subject(report: &BroadcastReport, part: Purpose, tally: &rows::Tally) -> String {
    let word = match part {
        Purpose::ConfirmHandOver | Purpose::ConfirmInterim => "Lägesbild",
        Purpose::ConfirmClosing => "Slutbekräftelse",
        Purpose::ConfirmFinal
        | Purpose::Publish
        | Purpose::Edit
        | Purpose::Pin
        | Purpose::Unpin
        | Purpose::Retract => "Bekräftelse",
    };
    let so_far = if tally.open > 0 { " hittills" } else { "" };
    format!(
        "{}{word} {}: {}{so_far}",
        report.mode.marking(Lang::Sv),
        report.broadcast,
        out_of(tally)
    )
}

/// `11 av 12 konton publicerade`, in the right number.
fn out_of(tally: &rows::Tally) -> String {
    match (tally.out, tally.all) {
        (_, 0) => "ersatt av ett nyare meddelande".to_owned(),
        (1, 1) => "1 konto publicerat".to_owned(),
        (0, 1) => "kontot är inte publicerat".to_owned(),
        (0, all) => format!("inget av {all} konton publicerat"),
        (out, all) if out == all => format!("alla {all} konton publicerade"),
        (1, all) => format!("1 av {all} konton publicerat"),
        (out, all) => format!("{out} av {all} konton publicerade"),
    }
}

/// The first sentences: how it went, and whether anyone has to do something.
fn verdict(report: &BroadcastReport, part: Purpose, tally: &rows::Tally, now: Timestamp) -> String {
    let mut sentences = Vec::new();
    let closing = part == Purpose::ConfirmClosing && report.state == BroadcastState::Completed;
    sentences.push(match (tally.out, tally.all) {
        (_, 0) => "Meddelandet har ersatts av ett nyare på alla konton.".to_owned(),
        (1, 1) if closing => "Nu är kontot publicerat.".to_owned(),
        (1, 1) => "Kontot är publicerat.".to_owned(),
        (0, 1) => "Kontot är inte publicerat.".to_owned(),
        (0, all) => format!("Inget av de {all} kontona är publicerat."),
        (out, all) if out == all && closing => format!("Nu är alla {all} konton publicerade."),
        (out, all) if out == all => format!("Alla {all} konton är publicerade."),
        (1, all) => format!("1 av {all} konton är publicerat."),
        (out, all) => format!("{out} av {all} konton är publicerade."),
    });
    match tally.open {
        0 => {}
        1 => sentences.push(format!(
            "1 konto är inte klart efter {}. Vårdkase arbetar vidare med det.",
            words::duration(report.accepted_at, now)
        )),
        open => sentences.push(format!(
            "{open} konton är inte klara efter {}. Vårdkase arbetar vidare med dem.",
            words::duration(report.accepted_at, now)
        )),
    }
    match tally.person {
        0 => {}
        1 => sentences.push("1 konto behöver att någon gör något. Det står först här nedanför.".to_owned()),
        person => sentences.push(format!(
            "{person} konton behöver att någon gör något. De står först här nedanför."
        )),
    }
    match tally.replaced {
        0 => {}
        1 if tally.all > 0 => sentences.push("1 konto har fått ett nyare meddelande i stället.".to_owned()),
        replaced if tally.all > 0 => {
            sentences.push(format!(
                "{replaced} konton har fått ett nyare meddelande i stället."
            ));
        }
        _ => {}
    }
    match tally.stood_in_for {
        0 => {}
        1 => sentences.push("1 konto behövdes inte längre: ett annat konto ersatte det.".to_owned()),
        n => sentences.push(format!(
            "{n} konton behövdes inte längre: andra konton ersatte dem."
        )),
    }
    sentences.join(" ")
}
