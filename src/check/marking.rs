//! An exercise says so first of all, in each language; a real alert never does.

use super::{Check, CheckInput, Finding};
use crate::model::{Lang, Mode};

/// See the module.
pub const CHECK: Check = Check {
    id: "marking",
    about: "En övning är märkt ÖVNING på varje språk, och ett skarpt meddelande är det inte.",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    match input.command.mode {
        Mode::Live => live(input),
        mode @ (Mode::Drill | Mode::Test) => exercise(input, mode),
    }
}

fn exercise(input: &CheckInput<'_>, mode: Mode) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, rendering) in input.plan.each() {
        let first = rendering.languages.first().copied().unwrap_or(Lang::Sv);
        let opens = |text: &str| text.starts_with(mode.marking(first));
        let each = rendering
            .languages
            .iter()
            .all(|lang| rendering.text.contains(mode.marking(*lang)));
        if !(opens(&rendering.text) && opens(&rendering.headline) && each) {
            findings.push(Finding::block(
                CHECK.id,
                Some(account),
                format!(
                    "Texten på {account} är inte märkt som övning. Den ska börja med \"{}\".",
                    mode.marking(first).trim()
                ),
            ));
        }
    }
    findings
}

/// The words that only exercises begin with. `TEST` as a word in capitals, because *testa vattnet* is plain Swedish.
fn marked(text: &str) -> Option<&'static str> {
    let capitals = text.to_uppercase();
    if capitals.contains("ÖVNING:") || text.contains("ÖVNING") {
        return Some("ÖVNING");
    }
    if capitals.contains("EXERCISE:") || text.contains("EXERCISE") {
        return Some("EXERCISE");
    }
    let is_test = |word: &str| word == "TEST" || word == "TEST:";
    text.split_whitespace().any(is_test).then_some("TEST")
}

fn live(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for (account, rendering) in input.plan.each() {
        let Some(word) = marked(&rendering.headline).or_else(|| marked(&rendering.text)) else {
            continue;
        };
        if seen.contains(&word) {
            continue;
        }
        seen.push(word);
        findings.push(Finding::block(
            CHECK.id,
            Some(account),
            format!(
                "Meddelandet är skarpt men i texten står \"{word}\". Ta bort ordet, eller skicka med --mode drill om det är en övning."
            ),
        ));
    }
    findings
}
