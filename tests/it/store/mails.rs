//! Mails beside broadcasts: each written once, tried by one, out once; what recurs is told of once.

use std::time::Duration;

use vardkase::clock::later;
use vardkase::model::{Actor, Letter, MailKind, MailMark, Reason, Recipient};
use vardkase::store::{Entry, Mail, MailChange, Store};

use super::bed::{Bed, at};
use super::on_both_engines;

fn mail(bed: &Bed, about: &str, to: &str) -> Mail {
    let letter = Letter {
        subject: "Påminnelse: 2 konton".to_owned(),
        text: "å\u{0}ä\n".to_owned(),
        html: None,
    };
    let deadline = later(bed.now(), Duration::from_hours(24));
    Mail::new(
        MailKind::Reminder,
        about,
        &Recipient::new(to),
        Some(letter),
        bed.now(),
        deadline,
    )
}

fn mark(line: &str, when: &str) -> MailMark {
    MailMark {
        name: "certificate".to_owned(),
        line: line.to_owned(),
        at: at(when),
    }
}

async fn write(bed: &Bed, store: &Store, change: MailChange) -> bool {
    store.mail(change, bed.now()).await.unwrap()
}

fn entry(bed: &Bed) -> Entry {
    Entry {
        at: bed.now(),
        actor: Actor::daemon(),
        kind: "certificate",
        broadcast: None,
        delivery: None,
        body: serde_json::json!({}),
    }
}

async fn a_mail_is_tried_by_one_and_until_it_is_out(bed: &Bed) {
    let store = bed.open().await;
    let (first, second) = (
        mail(bed, "x", "a@nassjo.example"),
        mail(bed, "x", "b@nassjo.example"),
    );
    let change = MailChange::Write(vec![first.clone(), second.clone()], vec![], None);
    assert!(write(bed, &store, change).await);
    store.close().await;
    // On disk before the first try.
    let store = bed.open().await;
    let mut waiting = store.mails_waiting(10).await.unwrap();
    waiting.sort_by(|a, b| a.recipient.address().cmp(b.recipient.address()));
    assert_eq!(waiting, [first.clone(), second.clone()]);
    let next = later(bed.now(), Duration::from_mins(1));
    let claim = || MailChange::Try(first.clone(), next);
    assert!(write(bed, &store, claim()).await);
    assert!(!write(bed, &store, claim()).await, "another one tries it");
    let why = Reason::new("smtp-421", "kom tillbaka senare");
    let tried = MailChange::Tried(first.clone(), None, Some(why.clone()));
    assert!(write(bed, &store, tried).await);
    let waiting = store.mails_waiting(10).await.unwrap();
    assert_eq!(waiting[0].id, second.id, "what is to be tried first comes first");
    assert_eq!((waiting[1].tries, waiting[1].not_before), (1, next));
    assert_eq!(waiting[1].error, Some(why));
    assert!(write(bed, &store, MailChange::Tried(first.clone(), Some(true), None)).await);
    let refused = Reason::new("smtp-550", "nobody of that name");
    let refused = MailChange::Tried(second.clone(), Some(false), Some(refused));
    assert!(write(bed, &store, refused).await);
    let again = MailChange::Tried(first.clone(), None, None);
    assert!(!write(bed, &store, again).await, "what is out stays out");
    assert!(!write(bed, &store, claim()).await, "and is not tried");
    assert_eq!(store.mails_waiting(10).await.unwrap(), []);
    let told = store.mails_about(MailKind::Reminder, "x").await.unwrap();
    let sent = |of: &Mail| told.iter().find(|mail| mail.id == of.id).unwrap().sent;
    assert_eq!((sent(&first), sent(&second)), (Some(true), Some(false)));
    // The chain says what became of each, and no address.
    let journal = store.journal(0, 100, None).await.unwrap();
    let mails: Vec<_> = journal.iter().filter(|record| record.kind == "mail").collect();
    assert_eq!(mails.len(), 2);
    assert!(mails[1].body.contains("given-up") && mails[1].body.contains("smtp-550"));
    assert!(!mails.iter().any(|record| record.body.contains("nassjo.example")));
    store.close().await;
}

async fn the_same_is_told_to_somebody_once(bed: &Bed) {
    let store = bed.open().await;
    let told = "2026-11-05T06:00:00Z";
    let due = |line: &str, when: &str, to: &str| {
        MailChange::Write(
            vec![mail(bed, &format!("{line} {when}"), to)],
            vec![mark(line, when)],
            Some(entry(bed)),
        )
    };
    assert!(write(bed, &store, due("0 7 * * 1", told, "a@nassjo.example")).await);
    // Another node, another recipient, an earlier time of the same schedule: it has been told of.
    assert!(!write(bed, &store, due("0 7 * * 1", told, "a@nassjo.example")).await);
    assert!(!write(bed, &store, due("0 7 * * 1", told, "b@nassjo.example")).await);
    assert!(
        !write(
            bed,
            &store,
            due("0 7 * * 1", "2026-11-04T06:00:00Z", "c@nassjo.example")
        )
        .await
    );
    assert_eq!(store.mails_waiting(10).await.unwrap().len(), 1);
    assert!(
        write(
            bed,
            &store,
            due("0 7 * * 1", "2026-11-12T06:00:00Z", "a@nassjo.example")
        )
        .await
    );
    // Another line is another matter.
    assert!(
        write(
            bed,
            &store,
            due("0 9 * * 1", "2026-11-05T08:00:00Z", "a@nassjo.example")
        )
        .await
    );
    assert_eq!(
        store.mail_marks().await.unwrap(),
        [mark("0 9 * * 1", "2026-11-05T08:00:00Z")]
    );
    // Without a mark the mail alone is held to it.
    let twice = || MailChange::Write(vec![mail(bed, "y", "a@nassjo.example")], vec![], None);
    assert!(write(bed, &store, twice()).await);
    assert!(write(bed, &store, twice()).await);
    assert_eq!(store.mails_about(MailKind::Reminder, "y").await.unwrap().len(), 1);
    let journal = store.journal(0, 100, None).await.unwrap();
    let told = journal.iter().filter(|record| record.kind == "certificate");
    assert_eq!(told.count(), 3, "what did not apply left no record");
    store.close().await;
}

async fn old_mails_are_forgotten_but_none_that_waits(bed: &Bed) {
    let store = bed.open().await;
    let (out, waits) = (
        mail(bed, "x", "a@nassjo.example"),
        mail(bed, "x", "b@nassjo.example"),
    );
    write(
        bed,
        &store,
        MailChange::Write(vec![out.clone(), waits.clone()], vec![], None),
    )
    .await;
    write(bed, &store, MailChange::Tried(out, Some(true), None)).await;
    store.forget_observations(bed.now()).await.unwrap();
    assert_eq!(store.mails_about(MailKind::Reminder, "x").await.unwrap().len(), 2);
    store
        .forget_observations(later(bed.now(), Duration::from_secs(1)))
        .await
        .unwrap();
    let left = store.mails_about(MailKind::Reminder, "x").await.unwrap();
    assert_eq!(left, [waits]);
    store.close().await;
}

async fn a_restored_copy_sends_no_mail_that_the_original_may_have_sent(bed: &Bed) {
    let store = bed.open().await;
    let waits = mail(bed, "x", "a@nassjo.example");
    write(bed, &store, MailChange::Write(vec![waits], vec![], None)).await;
    store.close().await;
    bed.meddle("INSERT INTO meta (name, value) VALUES ('backup', 'a copy')")
        .await;
    let (store, opened) = bed.open_as(super::bed::NODE).await.unwrap();
    assert!(
        matches!(opened, vardkase::store::Opened::Restored { .. }),
        "{opened:?}"
    );
    assert_eq!(store.mails_waiting(10).await.unwrap(), []);
    let told = store.mails_about(MailKind::Reminder, "x").await.unwrap();
    assert_eq!(told[0].sent, Some(false));
    assert_eq!(told[0].error.as_ref().unwrap().code, "restored");
    store.close().await;
}

async fn mails_about_drills_from_before_are_taken_over(bed: &Bed) {
    let store = bed.open().await;
    store.close().await;
    bed.meddle(
        "DROP TABLE mail; DROP TABLE mail_mark; DROP TABLE unreachable_before; DROP TABLE schedule_seen; \
         DELETE FROM migration WHERE version >= 6; \
         CREATE TABLE drill_mail (id TEXT PRIMARY KEY, run TEXT NOT NULL, recipient TEXT NOT NULL, \
         state TEXT NOT NULL, tries BIGINT NOT NULL, not_before BIGINT NOT NULL, deadline BIGINT NOT NULL, error TEXT); \
         INSERT INTO drill_run (id, seq, drill, level, state, actor, owner, begun_at, finished_at) \
         VALUES ('o.1', 1, 'o', 'reach', 'finished', 'daemon', 'n', 5, 7); \
         INSERT INTO drill_mail (id, run, recipient, state, tries, not_before, deadline) VALUES \
         ('00000000-0000-7000-8000-000000000001', 'o.1', 'a@nassjo.example', 'queued', 2, 8, 9), \
         ('00000000-0000-7000-8000-000000000002', 'o.1', 'a@nassjo.example', 'queued', 0, 8, 9), \
         ('00000000-0000-7000-8000-000000000003', 'o.1', 'b@nassjo.example', 'sent', 1, 8, 9)",
    )
    .await;
    let store = bed.open().await;
    let mails = store.mails_about(MailKind::Drill, "o.1").await.unwrap();
    let got: Vec<_> = mails
        .iter()
        .map(|mail| (mail.recipient.address(), mail.sent, mail.tries))
        .collect();
    assert_eq!(
        got,
        [("a@nassjo.example", None, 2), ("b@nassjo.example", Some(true), 1)]
    );
    assert_eq!(mails[0].written_at.as_microsecond(), 7);
    store.close().await;
}

on_both_engines!(
    mails_about_drills_from_before_are_taken_over,
    a_mail_is_tried_by_one_and_until_it_is_out,
    the_same_is_told_to_somebody_once,
    old_mails_are_forgotten_but_none_that_waits,
    a_restored_copy_sends_no_mail_that_the_original_may_have_sent,
);
