//! Which confirmation is to be written, and when to look again. Pure.

use std::time::Duration;

use super::before;
use crate::clock::{self, Timestamp};
use crate::model::{BroadcastReport, BroadcastState, Purpose, State};

/// The confirmation that is to be written now, if any.
///
/// - *Final*, once, as soon as nothing is open.
/// - *Hand-over*, once, at once, when a person is asked to publish for an account that had not answered before the command.
/// - *Interim*, once, when `after` has passed and something is still open, whatever was told at once.
/// - *Closing*, once, when the final one had to leave something to a person and all of it is done.
///
/// `existing` holds the purposes of the confirmations that are on disk already. They are also in the report, with the
/// time at which they were written: what was published later than the final one is what the closing one tells of.
pub fn due(
    report: &BroadcastReport,
    existing: &[Purpose],
    now: Timestamp,
    after: Duration,
) -> Option<Purpose> {
    let has = |purpose| existing.contains(&purpose);
    match report.state {
        BroadcastState::AwaitingApproval => None,
        BroadcastState::Running => {
            if is_told(existing) {
                None
            } else if now >= clock::later(report.accepted_at, after) {
                Some(Purpose::ConfirmInterim)
            } else {
                (!has(Purpose::ConfirmHandOver) && before::hands_over(report, now))
                    .then_some(Purpose::ConfirmHandOver)
            }
        }
        BroadcastState::Completed | BroadcastState::Partial | BroadcastState::Failed => {
            if !has(Purpose::ConfirmFinal) {
                return Some(Purpose::ConfirmFinal);
            }
            let all_done = report.state == BroadcastState::Completed;
            (all_done && !has(Purpose::ConfirmClosing) && published_since_final(report))
                .then_some(Purpose::ConfirmClosing)
        }
    }
}

/// When to look again although nothing happened; `None` if only a change can make a confirmation due.
pub fn next_check(report: &BroadcastReport, existing: &[Purpose], after: Duration) -> Option<Timestamp> {
    (report.state == BroadcastState::Running && !is_told(existing))
        .then(|| clock::later(report.accepted_at, after))
}

/// Whether nothing more is told while it is open. What was told at once, of a hand-over, is not how it stands after a while.
pub fn is_told(existing: &[Purpose]) -> bool {
    existing
        .iter()
        .any(|part| matches!(part, Purpose::ConfirmInterim | Purpose::ConfirmFinal))
}

/// Whether a delivery got out after the final confirmation had been written.
fn published_since_final(report: &BroadcastReport) -> bool {
    let told = report
        .confirmations
        .iter()
        .filter(|mail| mail.purpose == Purpose::ConfirmFinal)
        .map(|mail| mail.queued_at)
        .min();
    told.is_some_and(|told| {
        report
            .deliveries
            .iter()
            .any(|d| d.state == State::Published && d.finished_at.is_some_and(|at| at > told))
            || report
                .recipients
                .iter()
                .any(|counted| counted.out() > 0 && counted.latest.is_some_and(|at| at > told))
    })
}

/// When the latest delivery that the report tells of came to rest.
pub fn latest(report: &BroadcastReport) -> Option<Timestamp> {
    let single = report
        .deliveries
        .iter()
        .filter_map(|delivery| delivery.finished_at);
    let listed = report.recipients.iter().filter_map(|counted| counted.latest);
    single.chain(listed).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirm::rows::examples::{delivery, mail, report};

    const AFTER: Duration = Duration::from_mins(10);

    fn at(seconds: i64) -> Timestamp {
        clock::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_came_to_rest_while_the_report_was_read_is_told_of_once() {
        let mut told = report(vec![delivery("a", State::Published)]);
        let finished = told.deliveries[0].finished_at.unwrap();
        assert_eq!(latest(&told), Some(finished));
        let looked_before = clock::earlier(finished, Duration::from_millis(5));
        for (queued_at, closing) in [
            (looked_before, Some(Purpose::ConfirmClosing)),
            (finished.max(looked_before), None),
        ] {
            let mut final_mail = mail(Purpose::ConfirmFinal, 0);
            final_mail.queued_at = queued_at;
            told.confirmations = vec![final_mail];
            assert_eq!(due(&told, &[Purpose::ConfirmFinal], finished, AFTER), closing);
        }
    }

    #[test]
    fn a_broadcast_that_settles_is_confirmed_once() {
        let mut report = report(vec![delivery("a", State::Published), delivery("b", State::Held)]);
        assert_eq!(due(&report, &[], at(5), AFTER), Some(Purpose::ConfirmFinal));
        report.confirmations = vec![mail(Purpose::ConfirmFinal, 5)];
        for now in [5, 600, 60_000] {
            assert_eq!(due(&report, &[Purpose::ConfirmFinal], at(now), AFTER), None);
        }
        assert_eq!(next_check(&report, &[Purpose::ConfirmFinal], AFTER), None);
    }

    #[test]
    fn what_is_open_is_told_once_after_a_while() {
        let report = report(vec![
            delivery("a", State::Published),
            delivery("b", State::Queued),
        ]);
        assert_eq!(due(&report, &[], at(599), AFTER), None);
        assert_eq!(next_check(&report, &[], AFTER), Some(at(600)));
        assert_eq!(due(&report, &[], at(600), AFTER), Some(Purpose::ConfirmInterim));
        assert_eq!(due(&report, &[Purpose::ConfirmInterim], at(6000), AFTER), None);
        assert_eq!(next_check(&report, &[Purpose::ConfirmInterim], AFTER), None);
    }

    #[test]
    fn a_hand_over_is_told_at_once_and_how_it_stands_after_a_while_all_the_same() {
        let mut report = report(vec![delivery("a", State::Queued)]);
        let silent = |by_hand: Option<&str>| crate::model::UnreachableBefore {
            account: "a".parse().unwrap(),
            since: at(-60),
            seen_at: at(-1),
            reason: crate::model::Reason::new("no-answer", "Tjänsten svarar inte."),
            takes_over: Some("b".parse().unwrap()),
            by_hand: by_hand.map(|id| id.parse().unwrap()),
        };
        report.unreachable_before = vec![silent(None)];
        assert_eq!(due(&report, &[], at(0), AFTER), None, "somebody takes over");
        report.unreachable_before = vec![silent(Some("a"))];
        assert_eq!(due(&report, &[], at(0), AFTER), Some(Purpose::ConfirmHandOver));
        report.confirmations = vec![mail(Purpose::ConfirmHandOver, 0)];
        let told = [Purpose::ConfirmHandOver];
        assert_eq!(due(&report, &told, at(1), AFTER), None);
        assert_eq!(next_check(&report, &told, AFTER), Some(at(600)));
        assert_eq!(due(&report, &told, at(600), AFTER), Some(Purpose::ConfirmInterim));
        report.confirmations.push(mail(Purpose::ConfirmInterim, 600));
        let told = [Purpose::ConfirmHandOver, Purpose::ConfirmInterim];
        assert_eq!(due(&report, &told, at(601), AFTER), None);
        assert_eq!(next_check(&report, &told, AFTER), None);
        // It got out meanwhile: there is nothing to hand over.
        report.confirmations.clear();
        report.deliveries.push(delivery("c", State::Queued));
        report.deliveries[0] = delivery("a", State::Published);
        assert_eq!(due(&report, &[], at(1), AFTER), None);
    }

    #[test]
    fn the_final_one_follows_the_interim_one() {
        let report = report(vec![delivery("a", State::Published)]);
        assert_eq!(
            due(&report, &[Purpose::ConfirmInterim], at(700), AFTER),
            Some(Purpose::ConfirmFinal)
        );
    }

    #[test]
    fn the_closing_one_comes_when_what_was_left_is_done() {
        let existing = [Purpose::ConfirmFinal];
        let mut late = delivery("b", State::Published);
        late.finished_at = Some(at(900));
        let mut report = report(vec![delivery("a", State::Published), late]);
        report.confirmations = vec![mail(Purpose::ConfirmFinal, 60)];
        assert_eq!(
            due(&report, &existing, at(901), AFTER),
            Some(Purpose::ConfirmClosing)
        );
        let both = [Purpose::ConfirmFinal, Purpose::ConfirmClosing];
        assert_eq!(due(&report, &both, at(902), AFTER), None);

        report.deliveries[0] = delivery("a", State::Refused);
        report.state = BroadcastState::Partial;
        assert_eq!(
            due(&report, &existing, at(901), AFTER),
            None,
            "something is still left"
        );
    }

    #[test]
    fn nothing_is_added_to_a_final_one_that_told_all() {
        let mut report = report(vec![
            delivery("a", State::Published),
            delivery("b", State::Retracted),
        ]);
        report.confirmations = vec![mail(Purpose::ConfirmFinal, 60)];
        report.deliveries[1].finished_at = Some(at(5000));
        assert_eq!(due(&report, &[Purpose::ConfirmFinal], at(5001), AFTER), None);
    }

    #[test]
    fn a_retry_after_the_final_one_is_not_told_as_an_interim_one() {
        let mut report = report(vec![delivery("a", State::Queued)]);
        report.confirmations = vec![mail(Purpose::ConfirmFinal, 60)];
        assert_eq!(due(&report, &[Purpose::ConfirmFinal], at(6000), AFTER), None);
    }
}
