//! Closing an account in order (the guideline's § 16): what has to be done, step by step, each signed off by a person.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::{template, words};
use crate::clock::Timestamp;
use crate::config::{Account, Config};
use crate::model::{AccountId, Actor};

const TEXT: &str = include_str!("../../templates/register/closing.txt");

/// One step. The order is that of the list: what is deleted before it is archived is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The decision stands in the diarium.
    Decide,
    /// Those who follow the account know where to find the municipality.
    Announce,
    /// Nobody waits for an answer.
    Answer,
    /// What is to be kept is kept, what is to be weeded is weeded.
    Archive,
    /// Nobody and nothing can log in any more but who closes it.
    Revoke,
    /// The account is closed at the service.
    Close,
    /// Register, public page and profiles no longer name it.
    Unlist,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Decide,
        Self::Announce,
        Self::Answer,
        Self::Archive,
        Self::Revoke,
        Self::Close,
        Self::Unlist,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Announce => "announce",
            Self::Answer => "answer",
            Self::Archive => "archive",
            Self::Revoke => "revoke",
            Self::Close => "close",
            Self::Unlist => "unlist",
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|step| step.as_str() == text);
        found.ok_or_else(|| format!("no step of a closing is called {text:?}"))
    }
}

/// A step that was signed off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Of which account.
    pub account: AccountId,
    /// Which step.
    pub step: Step,
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// What they noted.
    pub note: Option<String>,
}

/// The step that is next; `None` if all are done.
pub fn next(signed: &[Signed]) -> Option<Step> {
    let done = |step: &Step| signed.iter().any(|one| one.step == *step);
    Step::ALL.into_iter().find(|step| !done(step))
}

/// Whether a step may be signed off now.
///
/// # Errors
/// Why not: it is signed off, or an earlier one is not.
pub fn may_sign(signed: &[Signed], step: Step) -> Result<(), String> {
    if let Some(one) = signed.iter().find(|one| one.step == step) {
        return Err(format!(
            "the step {step} was signed off at {} by {}",
            one.at, one.actor
        ));
    }
    match next(signed) {
        Some(next) if next != step => Err(format!(
            "the steps are done in order, and {next} comes before {step}; sign it off first"
        )),
        Some(_) | None => Ok(()),
    }
}

/// The checklist of an account, in Swedish, with what is done so far.
///
/// # Errors
/// If the template is broken.
pub fn checklist(config: &Config, account: &Account, signed: &[Signed]) -> Result<String, String> {
    let zone = &config.municipality.time_zone;
    let steps: Vec<Value> = Step::ALL
        .into_iter()
        .enumerate()
        .map(|(n, step)| {
            let done = signed.iter().find(|one| one.step == step);
            let (title, what) = told(step, account);
            context! {
                number => n + 1,
                step => step.as_str(),
                title,
                what,
                done => done.map(|one| format!("{} av {}", words::day_text(one.at, zone), one.actor)),
                note => done.and_then(|one| one.note.clone()),
            }
        })
        .collect();
    template::fill(
        "closing.txt",
        TEXT,
        context! {
            municipality => config.municipality.name.as_str(),
            account => account.id.as_str(),
            channel => words::channel(account.channel.id),
            url => account.url.as_ref().map_or("–", url::Url::as_str),
            steps,
            next => next(signed).map(Step::as_str),
        },
    )
}

fn told(step: Step, account: &Account) -> (&'static str, String) {
    let id = &account.id;
    match step {
        Step::Decide => (
            "Beslut",
            "Kommunikationsenheten beslutar att kontot avslutas. Registrera beslutet i diariet.".to_owned(),
        ),
        Step::Announce => (
            "Berätta för följarna",
            "Lägg ut ett inlägg som säger när kontot avslutas och var kommunen finns i stället. Låt det ligga överst i \
             minst två veckor."
                .to_owned(),
        ),
        Step::Answer => (
            "Svara på det som väntar",
            "Svara på frågor och kommentarer som är obesvarade. Registrera det som hör till ett ärende.".to_owned(),
        ),
        Step::Archive => (
            "Bevara och gallra",
            match &account.register.document_plan {
                Some(plan) => format!("Enligt dokumenthanteringsplanen: {plan} Spara kopior innan något tas bort."),
                None => "Registret säger inte hur kontot ska bevaras. Fråga arkivet innan något tas bort.".to_owned(),
            },
        ),
        Step::Revoke => (
            "Ta tillbaka behörigheter",
            format!(
                "Ta bort alla administratörer och kopplade program utom den som ska stänga kontot. Ta bort kontots \
                 hemligheter ur valvet: vardkase credentials remove {id}"
            ),
        ),
        Step::Close => (
            "Stäng kontot",
            "Stäng kontot hos tjänsten. Behåll namnet om tjänsten tillåter det, så att ingen annan kan ta det.".to_owned(),
        ),
        Step::Unlist => (
            "Ta bort det ur listor",
            format!(
                "Skriv closed = \"datum\" under [account.{id}.register] i config.toml, publicera registret (vardkase \
                 register publish) och ta bort länkar till kontot på webbplatsen och i andra konton. Kontrollera med \
                 vardkase register check."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::export::tests::shipped;

    #[test]
    fn the_steps_are_signed_off_in_order_and_once() {
        let mut signed = Vec::new();
        for (n, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(next(&signed), Some(step));
            for other in Step::ALL.into_iter().filter(|other| *other != step) {
                assert!(may_sign(&signed, other).is_err(), "{other} after {n}");
            }
            assert_eq!(may_sign(&signed, step), Ok(()));
            signed.push(Signed {
                account: "x-nassjo".parse().expect("an id"),
                step,
                actor: Actor("kim (uid 1000)".to_owned()),
                at: "2026-11-05T03:00:00Z".parse().expect("a time"),
                note: (n == 0).then(|| "KS 2026/12".to_owned()),
            });
            if n == 1 {
                let config = shipped(|text| text);
                let account = config
                    .accounts
                    .values()
                    .find(|account| account.id.as_str() == "x-nassjo");
                insta::assert_snapshot!(
                    checklist(&config, account.expect("an account"), &signed).expect("a text")
                );
            }
        }
        assert_eq!(next(&signed), None);
        for step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
        }
    }
}
