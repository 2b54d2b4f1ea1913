//! A report as people read it: a row per account, what needs a person first; list channels summed up.

use std::collections::BTreeMap;

use super::{Facts, advice, before, words};
use crate::model::{AccountId, BroadcastReport, DeliveryReport, Purpose, RecipientsReport, State};

/// Most recipients of one list that are named.
const NAMED_RECIPIENTS: usize = 50;

/// Longest address from a service that is shown: it is data, not truth.
const LONGEST_LINK: usize = 500;

/// How an account stands as a whole, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Someone has to do something.
    Person,
    /// Not out, and nothing can be done with it any more.
    NotOut,
    /// The daemon still works on it.
    Open,
    /// Out, for every recipient.
    Out,
    /// A newer broadcast took its place.
    Replaced,
}

/// How many accounts stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Accounts, without those that a newer broadcast took over.
    pub all: usize,
    /// All out.
    pub out: usize,
    /// At least one delivery is open.
    pub open: usize,
    /// At least one delivery waits for a person.
    pub person: usize,
    /// Taken over by a newer broadcast.
    pub replaced: usize,
    /// Not sent, because another account stood in and was faster.
    pub stood_in_for: usize,
}

impl Tally {
    /// Counts the report's accounts.
    pub fn of(report: &BroadcastReport) -> Self {
        let mut tally = Self::default();
        for (account, deliveries) in by_account(&report.deliveries, &report.recipients) {
            let states = states(&deliveries, report.recipients_of(account));
            let standing = asking(report, account, standing(&states));
            if standing == Standing::Replaced {
                if deliveries.iter().any(|d| words::is_stood_in_for(d)) {
                    tally.stood_in_for += 1;
                } else {
                    tally.replaced += 1;
                }
                continue;
            }
            tally.all += 1;
            tally.out += usize::from(standing == Standing::Out);
            tally.open += usize::from(states.iter().any(|s| s.is_open()));
            tally.person += usize::from(standing == Standing::Person);
        }
        tally
    }
}

/// Every state that a delivery of the account is in; of a list, also of those that are not named.
fn states(deliveries: &[&DeliveryReport], counted: Option<&RecipientsReport>) -> Vec<State> {
    match counted {
        Some(counted) => counted.standing().collect(),
        None => deliveries.iter().map(|d| d.state).collect(),
    }
}

fn standing(states: &[State]) -> Standing {
    let mut counted = states.iter().filter(|s| **s != State::Superseded).peekable();
    if counted.peek().is_none() {
        return Standing::Replaced;
    }
    let counted: Vec<State> = counted.copied().collect();
    if counted.iter().any(|s| s.needs_person()) {
        Standing::Person
    } else if counted.iter().any(|s| s.is_open()) {
        Standing::Open
    } else if counted.iter().all(|s| s.got_out()) {
        Standing::Out
    } else {
        Standing::NotOut
    }
}

/// The same with those that are still tried, but on which a person is asked to publish at once.
fn asking(report: &BroadcastReport, account: &AccountId, standing: Standing) -> Standing {
    if standing == Standing::Open && before::asks_a_person(report, account) {
        Standing::Person
    } else {
        standing
    }
}

/// One account in the mail.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub account: String,
    /// Its channel.
    pub channel: String,
    /// How it stands.
    pub standing: Standing,
    /// The same in Swedish: a state, or how many recipients were reached.
    pub word: String,
    /// Which accounts it stands in for: `ersätter whatsapp-krisgrupp`.
    pub serves: Option<String>,
    /// Why nobody waited for it: that it had not answered before, and who took over.
    pub before: Option<String>,
    /// Where residents find it.
    pub link: Option<String>,
    /// How long after acceptance it came to rest.
    pub took: Option<String>,
    /// When it is tried again, while it is open.
    pub next: Option<String>,
    /// Attempts begun, over all recipients.
    pub attempts: u32,
    /// How surely a second post is avoided.
    pub proof: &'static str,
    /// What last went wrong.
    pub error: Option<String>,
    /// What the service said of a post that is out: that its picture was left out.
    pub note: Option<String>,
    /// What to do.
    pub advice: Option<String>,
    /// What to publish by hand.
    pub text: Option<String>,
    /// What a person needs to know to do so.
    pub instructions: Option<String>,
    /// On list channels, how many recipients stand how: `98 publicerat`.
    pub counts: Vec<String>,
    /// How many of them it has come to, where the service tells: `framme: 812 av 900`.
    pub arrived: Option<String>,
    /// On list channels, who was not reached and why, masked.
    pub missed: Vec<String>,
    /// How many more were not reached than are named.
    pub missed_more: usize,
}

/// A row per account, the most urgent first, else in the order of the report.
///
/// `counted` are the lists of these deliveries: not all of a long one are named.
pub fn rows(
    report: &BroadcastReport,
    deliveries: &[DeliveryReport],
    counted: &[RecipientsReport],
    facts: &Facts<'_>,
) -> Vec<Row> {
    let mut rows: Vec<Row> = by_account(deliveries, counted)
        .into_iter()
        .filter_map(|(account, deliveries)| {
            let counted = counted.iter().find(|r| r.account == *account);
            match (deliveries.is_empty(), counted) {
                (true, Some(counted)) => Some(unmade(report, counted, facts)),
                _ => row(report, account, &deliveries, counted, facts),
            }
        })
        .collect();
    rows.sort_by_key(|row| row.standing);
    rows
}

/// The account of a list of which no delivery is there yet, or none will be.
fn unmade(report: &BroadcastReport, counted: &RecipientsReport, facts: &Facts<'_>) -> Row {
    let mut row = Row {
        account: counted.account.to_string(),
        channel: counted.channel.clone(),
        standing: standing(&states(&[], Some(counted))),
        word: String::new(),
        serves: None,
        before: before::said(report, &counted.account, &facts.municipality.time_zone),
        link: None,
        took: None,
        next: None,
        attempts: 0,
        proof: "inget försök gjort",
        error: counted.error.as_ref().map(ToString::to_string),
        note: None,
        advice: (counted.stopped_as == Some(State::Refused)).then(|| {
            "Rätta listan (vardkase check visar felen) och skicka meddelandet igen till kontot.".to_owned()
        }),
        text: None,
        instructions: None,
        counts: Vec::new(),
        arrived: None,
        missed: Vec::new(),
        missed_more: 0,
    };
    sum_up(&mut row, &[], Some(counted));
    row
}

fn by_account<'a>(
    deliveries: &'a [DeliveryReport],
    counted: &'a [RecipientsReport],
) -> Vec<(&'a AccountId, Vec<&'a DeliveryReport>)> {
    let mut order: BTreeMap<&AccountId, usize> = BTreeMap::new();
    let mut grouped: Vec<(&AccountId, Vec<&DeliveryReport>)> = Vec::new();
    for delivery in deliveries {
        let index = *order.entry(&delivery.account).or_insert_with(|| {
            grouped.push((&delivery.account, Vec::new()));
            grouped.len() - 1
        });
        if let Some((_, deliveries)) = grouped.get_mut(index) {
            deliveries.push(delivery);
        }
    }
    for counted in counted {
        if !order.contains_key(&counted.account) && counted.standing().next().is_some() {
            grouped.push((&counted.account, Vec::new()));
        }
    }
    grouped
}

/// `None` only if there are no deliveries.
fn row(
    report: &BroadcastReport,
    account: &AccountId,
    deliveries: &[&DeliveryReport],
    counted: Option<&RecipientsReport>,
    facts: &Facts<'_>,
) -> Option<Row> {
    let zone = &facts.municipality.time_zone;
    let states = states(deliveries, counted);
    let standing = asking(report, account, standing(&states));
    let is_list = deliveries.iter().any(|d| d.recipient.is_some());
    // What is said of the account is said of the delivery that most needs it.
    let told = deliveries
        .iter()
        .min_by_key(|d| (self::standing(&[d.state]), d.error.is_none()))?;
    let finished = deliveries.iter().map(|d| d.finished_at).max().flatten();
    let finished = finished.max(counted.and_then(|counted| counted.latest));
    let asked = told.state.is_open() && told.purpose.is_word() && before::asks_a_person(report, account);
    let by_hand = asked || matches!(told.state, State::Manual | State::Refused | State::Held);
    let mut row = Row {
        account: account.to_string(),
        channel: told.channel.clone(),
        standing,
        word: words::standing(told).to_owned(),
        serves: serves(deliveries),
        before: (told.purpose.is_word())
            .then(|| before::said(report, account, zone))
            .flatten(),
        link: told.url.as_deref().map(shown_link),
        took: finished
            .filter(|_| standing == Standing::Out || (is_list && standing != Standing::Open))
            .map(|at| words::duration(report.accepted_at, at)),
        next: told
            .next_at
            .filter(|_| told.state.is_open())
            .map(|at| words::time_of_day(at.max(facts.now), zone)),
        attempts: deliveries.iter().fold(0, |sum, d| sum.saturating_add(d.attempts)),
        proof: words::proof(told.proof),
        error: told.error.as_ref().map(ToString::to_string),
        // What is said to each of many recipients is for the log.
        note: told.note.clone().filter(|_| !is_list && told.state.got_out()),
        advice: advice(&report.broadcast, told).or_else(|| asked.then(|| before::advice(report, told))),
        text: facts.texts.get(&told.delivery).filter(|_| by_hand).cloned(),
        instructions: facts.instructions.get(account).filter(|_| by_hand).cloned(),
        counts: Vec::new(),
        arrived: deliveries
            .iter()
            .any(|d| d.purpose == Purpose::Publish)
            .then(|| report.arrivals.get(account))
            .flatten()
            .map(|arrivals| words::arrived(arrivals, report.out_on(account))),
        missed: Vec::new(),
        missed_more: 0,
    };
    if is_list {
        sum_up(&mut row, deliveries, counted);
    }
    Some(row)
}

/// Which accounts these deliveries stand in for.
fn serves(deliveries: &[&DeliveryReport]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for account in deliveries.iter().flat_map(|d| &d.stands_in_for) {
        if !names.contains(&account.as_str()) {
            names.push(account.as_str());
        }
    }
    (!names.is_empty()).then(|| format!("ersätter {}", words::listed(&names)))
}

fn sum_up(row: &mut Row, deliveries: &[&DeliveryReport], counted: Option<&RecipientsReport>) {
    let named = |want: &dyn Fn(State) -> bool| deliveries.iter().filter(|d| want(d.state)).count() as u64;
    let out = named(&State::got_out);
    let (out, all) = counted.map_or((out, deliveries.len() as u64), |r| (r.out(), r.all()));
    row.word = format!("{out} av {all} mottagare");
    row.link = None;
    for state in State::ALL {
        let count = counted.map_or_else(
            || named(&|other| other == state),
            |r| r.states.get(&state).copied().unwrap_or(0),
        );
        if count > 0 {
            row.counts.push(format!("{count} {}", words::state(state)));
        }
    }
    if let Some(counted) = counted {
        row.counts.extend(left_out(counted));
    }
    let missed = deliveries
        .iter()
        .filter(|d| !d.state.got_out() && !d.state.is_open() && d.state != State::Superseded);
    for (n, delivery) in missed.enumerate() {
        if n >= NAMED_RECIPIENTS {
            row.missed_more += 1;
            continue;
        }
        let recipient = delivery.recipient.as_deref().unwrap_or("okänd mottagare");
        let error = delivery
            .error
            .as_ref()
            .map(|e| format!(": {e}"))
            .unwrap_or_default();
        row.missed
            .push(format!("{recipient} {}{error}", words::state(delivery.state)));
    }
    let not_out = |state: State| !state.got_out() && !state.is_open() && state != State::Superseded;
    if let Some(counted) = counted {
        let all: u64 = counted
            .states
            .iter()
            .filter(|(s, _)| not_out(**s))
            .map(|(_, n)| n)
            .sum();
        let more = all.saturating_sub(row.missed.len() as u64);
        row.missed_more = usize::try_from(more).unwrap_or(usize::MAX);
    }
    if !row.missed.is_empty() {
        row.error = None; // stands with each recipient
    }
}

/// Who of a list has no delivery, and why.
fn left_out(counted: &RecipientsReport) -> Vec<String> {
    let stopped = match counted.stopped_as {
        Some(state) => format!("fick det aldrig: {}", words::state(state)),
        None => "fick det aldrig".to_owned(),
    };
    [
        (counted.waiting, "har inte kommit på tur än"),
        (counted.stopped, stopped.as_str()),
        (
            counted.suppressed,
            "får inte längre något (vardkase recipients suppressed visar varför)",
        ),
        (counted.repeated, "stod två gånger i listan"),
        (counted.unpaired, "finns inte i listan hos kontot som ersätts"),
        (
            counted.faulty_lines,
            "rader i listan går inte att läsa (vardkase check visar vilka)",
        ),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| format!("{n} {what}"))
    .collect()
}

/// An address that a service gave, short and on one line.
fn shown_link(link: &str) -> String {
    link.chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .take(LONGEST_LINK)
        .collect()
}

/// Reports for the tests of confirm.
#[cfg(test)]
pub(crate) mod examples {
    use crate::clock::{Timestamp, from_micros};
    use crate::model::report::overall;
    use crate::model::{
        BroadcastReport, DeliveryId, DeliveryReport, Kind, Mode, Proof, Purpose, Reason, State,
    };

    fn at(seconds: i64) -> Timestamp {
        from_micros(seconds * 1_000_000)
    }

    /// A delivery that came to rest two seconds after acceptance, if its state is one of rest.
    pub fn delivery(account: &str, state: State) -> DeliveryReport {
        DeliveryReport {
            delivery: format!("d-{account}").parse::<DeliveryId>().unwrap(),
            account: account.parse().unwrap(),
            channel: "mastodon".to_owned(),
            recipient: None,
            purpose: Purpose::Publish,
            target: None,
            stands_in_for: Vec::new(),
            state,
            attempts: 1,
            remote_id: None,
            url: state.got_out().then(|| format!("https://{account}.example/1")),
            proof: Proof::Keyed,
            note: None,
            error: (state.needs_person() && state != State::Manual)
                .then(|| Reason::new("http-422", "the text has a word that is not allowed")),
            unknown_since: None,
            queued_at: at(0),
            finished_at: (!state.is_open()).then(|| at(2)),
            next_at: state.is_open().then(|| at(20)),
        }
    }

    /// A confirmation that was written `seconds` after acceptance.
    pub fn mail(purpose: Purpose, seconds: i64) -> DeliveryReport {
        DeliveryReport {
            purpose,
            queued_at: at(seconds),
            channel: "email".to_owned(),
            recipient: Some("k…@nassjo.se".to_owned()),
            ..delivery("confirmation", State::Published)
        }
    }

    /// A live broadcast, accepted at the epoch.
    pub fn report(deliveries: Vec<DeliveryReport>) -> BroadcastReport {
        BroadcastReport {
            alert: "2026-0007".parse().unwrap(),
            broadcast: "2026-0007.1".parse().unwrap(),
            mode: Mode::Live,
            kind: Kind::Initial,
            message: "koka-vattnet".parse().unwrap(),
            headline: "Koka dricksvattnet i Forserum".to_owned(),
            state: overall(deliveries.iter().map(|d| d.state)),
            accepted_at: at(0),
            valid_until: at(72 * 3600),
            finished_at: None,
            deliveries,
            recipients: Vec::new(),
            omitted: 0,
            pins: Vec::new(),
            stand_ins: Vec::new(),
            retractions: Vec::new(),
            confirmation: crate::model::Confirmation::default(),
            confirmations: Vec::new(),
            unreachable_before: Vec::new(),
            arrivals: std::collections::BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::examples::{delivery, report};
    use super::*;
    use crate::model::{Reason, STOOD_IN_FOR};

    #[test]
    fn what_stands_in_says_for_whom_and_what_it_was_faster_than_is_no_newer_message() {
        let mut sms = delivery("sms", State::Published);
        sms.stands_in_for = ["whatsapp", "mail"].map(|id| id.parse().unwrap()).to_vec();
        assert_eq!(serves(&[&sms]).as_deref(), Some("ersätter whatsapp och mail"));
        assert_eq!(serves(&[&delivery("whatsapp", State::Refused)]), None);

        let mut late = delivery("whatsapp", State::Superseded);
        assert_eq!(words::standing(&late), "ersatt av ett nyare meddelande");
        late.error = Some(Reason::new(
            STOOD_IN_FOR,
            "sms stands in for it and has published",
        ));
        assert_eq!(words::standing(&late), "ersatt av ett annat konto");
        let tally = Tally::of(&report(vec![sms, late, delivery("mail", State::Superseded)]));
        assert_eq!(
            (tally.all, tally.out, tally.replaced, tally.stood_in_for),
            (1, 1, 1, 1)
        );
    }
}
