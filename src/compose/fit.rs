//! The fit rule: the longest variant that fits the account's own rule, whole. Nothing is ever cut.

use url::Url;

use super::template::Filled;
use super::{Room, count, layout, parts};
use crate::check::length::unit_word;
use crate::check::{Finding, capability};
use crate::model::{AccountId, Lang, Mode, Rendering, Unit, Variant};

/// A message with its values, in all variants, before an account is looked at.
#[derive(Debug, Clone)]
pub struct Filling {
    /// One line, with the marking.
    pub headline: String,
    /// The page that every text ends with.
    pub link: Url,
    /// The languages of the texts.
    pub languages: Vec<Lang>,
    /// The whole texts, longest variant first.
    pub variants: Vec<(Variant, String)>,
    /// Who sends it.
    pub sender: String,
    /// What an exercise is marked with; empty when live.
    pub marking: &'static str,
}

impl Filling {
    /// Lays out every variant once; accounts then only choose.
    pub fn new(mode: Mode, texts: &[(Lang, Filled)], sender: &str, link: Url) -> Self {
        let variants = Variant::ALL
            .iter()
            .map(|variant| (*variant, layout::text(*variant, mode, texts, sender, &link)))
            .collect();
        Self {
            headline: layout::headline(mode, texts),
            languages: texts.iter().map(|(lang, _)| *lang).collect(),
            link,
            variants,
            sender: sender.to_owned(),
            marking: texts.first().map_or("", |(lang, _)| mode.marking(*lang)),
        }
    }

    /// The longest variant that fits `room`, as one post or as a thread.
    ///
    /// # Errors
    /// Why none fits.
    pub fn fit(&self, room: &Room<'_>) -> Result<Rendering, Misfit> {
        let rule = &room.rule;
        let mut smallest = None;
        let mut refused = None;
        for (variant, text) in &self.variants {
            let excess = count::excess(text, rule);
            if let Some(excess) = excess
                && !self.parts_well(text, room)
            {
                if smallest.is_none_or(|(length, _, _)| excess.0 < length) {
                    smallest = Some(excess);
                }
                continue;
            }
            // A thread is held to the limit of all its posts together.
            let posts = if excess.is_some() { room.parts } else { 1 };
            let rendering = Rendering {
                headline: self.headline.clone(),
                text: text.clone(),
                html: None,
                link: self.link.clone(),
                languages: self.languages.clone(),
                variant: *variant,
                count: count::count(text, rule.unit),
                limit: rule.limit.map(|limit| limit.saturating_mul(posts)),
                unit: rule.unit,
                picture: None,
            };
            match room.settings.and_then(|settings| settings.refuses(&rendering)) {
                None => return Ok(rendering),
                // The shorter one may leave out what is too much.
                Some(why) => refused = Some(why),
            }
        }
        Err(match refused {
            Some(why) => Misfit::Refused(why),
            None => Misfit::Long(smallest.unwrap_or((0, 0, rule.unit))),
        })
    }

    /// Whether the account takes threads and this text can be made into one.
    fn parts_well(&self, text: &str, room: &Room<'_>) -> bool {
        let whole = parts::Whole {
            text,
            marking: self.marking,
            sender: &self.sender,
            link: self.link.as_str(),
        };
        room.parts > 1 && parts::split(&whole, &room.rule).is_some_and(|posts| posts.len() <= room.parts)
    }
}

/// Why no variant fits an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// All are too long: the smallest one's length, the limit that it exceeds, and what both count.
    Long((usize, usize, Unit)),
    /// What is short enough the service would refuse, and why, in a Swedish sentence.
    Refused(String),
}

/// What is told when no variant fits an account.
pub fn does_not_fit(account: &AccountId, misfit: Misfit, languages: &[Lang]) -> Finding {
    let (length, limit, unit) = match misfit {
        Misfit::Long(excess) => excess,
        Misfit::Refused(why) => {
            let text = format!("Texten går inte ut på {account}. {why}");
            return Finding::block(capability::CHECK.id, Some(account), text);
        }
    };
    let fewer = if languages.len() > 1 {
        " Korta texten i fälten, eller skicka ett språk i taget."
    } else {
        " Korta texten i fälten."
    };
    Finding::block(
        "length",
        Some(account),
        format!(
            "Texten får inte plats på {account}. Också den kortaste varianten (sms) är {length} {} och kontot tar högst {limit}.{fewer}",
            unit_word(unit)
        ),
    )
}
