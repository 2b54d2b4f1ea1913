//! Nothing is sent whose time has passed, or passes before the first account can answer.

use std::time::Duration;

use super::{Check, CheckInput, Finding};
use crate::clock;

/// Shorter than this, a message could expire while it is being sent.
const SHORTEST: Duration = Duration::from_mins(1);

/// See the module.
pub const CHECK: Check = Check {
    id: "validity",
    about: "Meddelandet gäller i minst en minut till.",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    if input.valid_until > clock::later(input.now, SHORTEST) {
        return Vec::new();
    }
    let text = if input.valid_until <= input.now {
        "Tiden som meddelandet gäller har redan gått ut. Välj en senare tid."
    } else {
        "Meddelandet gäller mindre än en minut till och hinner inte ut. Välj en senare tid."
    };
    vec![Finding::block(CHECK.id, None, text)]
}
