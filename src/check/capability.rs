//! What the command asks of a channel that the channel cannot do: told before anything goes out, in one line for each
//! wish with the accounts that it concerns. Never a stop: the text still reaches people.
//!
//! A text that the service would refuse, though it is short enough, is seen to where texts are fitted; it bears the name of
//! this check. Pictures have findings of their own (`picture`), and `correction = "edit"` or `pin = true` on a channel that
//! cannot is a fault of the configuration.

use super::{Check, CheckInput, Finding};
use crate::channel::Caveat;
use crate::config::Account;
use crate::model::{Kind, Mode};

/// See the module.
pub const CHECK: Check = Check {
    id: "capability",
    about: "Det som meddelandet begär kan kanalerna.",
    run,
};

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let kind = input.command.kind;
    // A person sees to what is published by hand.
    let by_daemon = input
        .accounts
        .iter()
        .copied()
        .filter(|account| !account.channel.can.by_hand);
    let accounts: Vec<&Account> = by_daemon.collect();
    let mut findings = Vec::new();
    let mut tell = |what: &str, concerns: &dyn Fn(&Account) -> bool| {
        let names: Vec<&str> = accounts
            .iter()
            .filter(|account| concerns(account))
            .map(|account| account.id.as_str())
            .collect();
        if !names.is_empty() {
            findings.push(Finding::warn(
                CHECK.id,
                None,
                format!("{what}: {}.", names.join(", ")),
            ));
        }
    };
    if kind != Kind::Initial {
        tell(
            &format!("{} kommer fristående, inte som svar på det förra", named(kind)),
            &|account| !account.replies() && !edits(account, kind),
        );
    }
    for caveat in Caveat::ALL {
        tell(caveat_words(*caveat), &|account| {
            account.settings.caveats().contains(caveat)
        });
    }
    // What an exercise leaves on the practice wall nobody needs to take back.
    if input.command.mode == Mode::Live {
        tell("Går inte att ta tillbaka när det är ute", &|account| {
            !account.retracts()
        });
    }
    findings
}

/// Whether the post that stands is changed in place of a new one.
fn edits(account: &Account, kind: Kind) -> bool {
    kind == Kind::Correction && account.corrects_by_edit
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Initial => "Meddelandet",
        Kind::Update => "Uppdateringen",
        Kind::Correction => "Rättelsen",
        Kind::AllClear => "Beskedet att faran är över",
    }
}

fn caveat_words(caveat: Caveat) -> &'static str {
    match caveat {
        Caveat::HandedOver => "Lämnas bara över; tjänsten säger inte om det syns",
        Caveat::DeadLink => "Länken syns men går inte att klicka på",
        Caveat::DryRun => "Torrkörning: tjänsten räknar och prissätter men skickar inget till någon",
    }
}
