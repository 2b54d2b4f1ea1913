//! The fit rule: the longest variant that fits the account's own rule, whole. Nothing is ever cut.

use url::Url;

use super::template::Filled;
use super::{TextRule, count, layout};
use crate::check::Finding;
use crate::check::length::unit_word;
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
        }
    }

    /// The longest variant that fits `rule`.
    ///
    /// # Errors
    /// If none fits: the smallest one's length, the limit that it exceeds, and what both count.
    pub fn fit(&self, rule: &TextRule) -> Result<Rendering, (usize, usize, Unit)> {
        let mut smallest = None;
        for (variant, text) in &self.variants {
            match count::excess(text, rule) {
                None => {
                    return Ok(Rendering {
                        headline: self.headline.clone(),
                        text: text.clone(),
                        html: None,
                        link: self.link.clone(),
                        languages: self.languages.clone(),
                        variant: *variant,
                        count: count::count(text, rule.unit),
                        limit: rule.limit,
                        unit: rule.unit,
                    });
                }
                Some(excess) if smallest.is_none_or(|(length, _, _)| excess.0 < length) => {
                    smallest = Some(excess);
                }
                Some(_) => {}
            }
        }
        Err(smallest.unwrap_or((0, 0, rule.unit)))
    }
}

/// What is told when no variant fits an account.
pub fn does_not_fit(
    account: &AccountId,
    (length, limit, unit): (usize, usize, Unit),
    languages: &[Lang],
) -> Finding {
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
