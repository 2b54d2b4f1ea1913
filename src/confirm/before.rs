//! What the mail says of an account that had not answered before the command: why nobody waited for it, who took over, and
//! what became of that.

use super::words;
use crate::clock::Timestamp;
use crate::model::{
    AccountId, BroadcastReport, DeliveryReport, NOT_NEEDED, State, Trouble, UnreachableBefore,
};

/// What was known of the account, if it had not answered.
pub fn of<'a>(report: &'a BroadcastReport, account: &AccountId) -> Option<&'a UnreachableBefore> {
    report
        .unreachable_before
        .iter()
        .find(|one| one.account == *account)
}

/// Whether a person is asked to publish on the account although it is still tried.
pub fn asks_a_person(report: &BroadcastReport, account: &AccountId) -> bool {
    of(report, account).is_some_and(UnreachableBefore::asks_a_person)
}

/// Whether there is a hand-over that a person has to hear of now, and not when all has come to rest.
pub fn hands_over(report: &BroadcastReport, now: Timestamp) -> bool {
    let mut asked = report
        .unreachable_before
        .iter()
        .filter(|one| !is_out(report, &one.account))
        .filter_map(|one| one.by_hand.as_ref())
        .peekable();
    // A person who stands in is asked in a moment; then the mail has the text for that as well.
    asked.peek().is_some()
        && !asked.any(|hand| {
            let of_it = report.stand_ins.iter().filter(|one| one.account == *hand);
            let due = |one: &DeliveryReport| one.state.is_open() && one.next_at.is_none_or(|at| at <= now);
            of_it.into_iter().any(due)
        })
}

fn is_out(report: &BroadcastReport, account: &AccountId) -> bool {
    match report.recipients_of(account) {
        Some(counted) => counted.out() == counted.all(),
        None => report.out_on(account) > 0,
    }
}

/// What was known of the account, and what followed, in Swedish.
pub fn said(report: &BroadcastReport, account: &AccountId, zone: &str) -> Option<String> {
    let one = of(report, account)?;
    let what = if one.reason.code == Trouble::NoAnswer.as_str() {
        "svarade inte"
    } else {
        "fungerade inte"
    };
    let since = words::since(one.since, report.accepted_at, zone);
    let mut said = format!("{what} före utskicket, sedan {since}: {}", one.reason.text);
    for other in [&one.takes_over, &one.by_hand].into_iter().flatten() {
        if other != account
            && let Some(followed) = followed(report, account, other)
            && !said.contains(&followed)
        {
            said.push(' ');
            said.push_str(&followed);
        }
    }
    Some(said)
}

/// What became of an account that took over.
fn followed(report: &BroadcastReport, account: &AccountId, other: &AccountId) -> Option<String> {
    let all = || report.deliveries.iter().chain(&report.stand_ins);
    let of_it = |delivery: &&DeliveryReport| delivery.account == *other;
    let delivery = all().find(of_it);
    let (own, theirs) = (is_out(report, account), report.out_on(other) > 0);
    let spared = |delivery: &DeliveryReport| {
        let code = delivery.error.as_ref().map(|error| error.code.as_str());
        delivery.state == State::Cancelled && code == Some(NOT_NEEDED)
    };
    let by_hand = |delivery: &DeliveryReport| {
        crate::channel::kind(&delivery.channel).is_some_and(|kind| kind.can.by_hand)
    };
    Some(match delivery {
        _ if own && theirs => format!("{other} tog över genast, och båda är ute."),
        _ if theirs => format!("{other} tog över genast."),
        Some(delivery) if spared(delivery) && by_hand(delivery) => format!(
            "{other} behövs inte längre. Har någon redan lagt ut texten där, rapportera det: vardkase retry {} --account \
             {other} --done ADRESS",
            report.broadcast
        ),
        Some(delivery) if spared(delivery) => format!("{other} behövdes inte."),
        Some(delivery) if by_hand(delivery) => {
            format!("Någon ombads genast att lägga ut texten för hand på {other}.")
        }
        Some(_) => format!("{other} fick försöka genast."),
        None if report.recipients_of(other).is_some() => format!("{other} fick försöka genast."),
        None => return None,
    })
}

/// What a person does about an account that is still tried, and is not expected to get it out.
pub fn advice(report: &BroadcastReport, delivery: &DeliveryReport) -> String {
    let account = &delivery.account;
    if delivery.recipient.is_some() {
        return "Kontot försöks vidare, men vänta inte på det. Nå mottagarna på annat sätt.".to_owned();
    }
    let retry = format!("vardkase retry {} --account {account}", report.broadcast);
    format!(
        "Kontot försöks vidare, men vänta inte på det. Säg först att du tar över, så att texten inte kommer ut två gånger: \
         {retry} --hand-over. Lägg sedan ut den för hand och rapportera var den finns: {retry} --done ADRESS"
    )
}
