//! The sender is named in every text (guidelines for social media §18), so that nobody has to guess who warns.

use unicode_normalization::UnicodeNormalization;

use super::{Check, CheckInput, Finding};

/// See the module.
pub const CHECK: Check = Check {
    id: "sender",
    about: "Kommunens namn står i varje text (riktlinjerna §18).",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let name: String = input.municipality.name.trim().nfc().collect();
    let named = |text: &str| !name.is_empty() && text.contains(&name);
    input
        .plan
        .each()
        .filter(|(_, rendering)| !named(&rendering.text))
        .map(|(account, _)| {
            Finding::block(
                CHECK.id,
                Some(account),
                format!("Texten på {account} säger inte vem som är avsändare. Skriv \"{name}\" i den."),
            )
        })
        .collect()
}
