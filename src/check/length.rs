//! Length: compose fits every text to its account and refuses what does not fit; this looks at the result once more,
//! so that a text that came another way is not let through.

use super::{Check, CheckInput, Finding};
use crate::model::Unit;

/// See the module.
pub const CHECK: Check = Check {
    id: "length",
    about: "Texten får plats på kontot, räknat så som kontot räknar.",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, rendering) in input.plan.each() {
        let length = crate::compose::count::count(&rendering.text, rendering.unit);
        if let Some(limit) = rendering.limit.filter(|limit| length > *limit) {
            findings.push(Finding::block(
                CHECK.id,
                Some(account),
                format!(
                    "Texten på {account} är {length} {} och kontot tar högst {limit}. Korta texten i fälten.",
                    unit_word(rendering.unit)
                ),
            ));
        }
    }
    findings
}

/// What a unit is called in Swedish.
pub fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Characters | Unit::Graphemes => "tecken",
        Unit::Utf16 => "tecken (utf-16)",
        Unit::MastodonCharacters => "tecken (länk räknas som 23)",
        Unit::ThreadsCharacters => "tecken (en emoji räknas som flera)",
        Unit::WeightedCharacters => "tecken (länk räknas som 23, emoji som 2)",
        Unit::LittleText => "tecken (skiljetecken som @ # _ och parenteser räknas dubbelt)",
        Unit::Bytes => "byte",
        Unit::SmsParts => "sms-delar",
    }
}
