//! What the register remembers: attestations, applications, closings, marks, and the year's figures.

use vardkase::model::{Actor, Event, State};
use vardkase::register::application::{Application, Decision, State as Filed};
use vardkase::register::attest::What;
use vardkase::register::closing::Step;
use vardkase::register::report::Posted;
use vardkase::register::schedule::Mark;
use vardkase::store::StoreError;

use super::bed::{Bed, at, ids};
use super::on_both_engines;

on_both_engines!(
    an_attestation_is_kept_and_taken_back_once,
    an_application_is_decided_on_once,
    a_closing_keeps_its_order,
    a_mark_is_replaced,
    a_year_counts_its_own_live_posts,
);

fn kim() -> Actor {
    Actor("kim (uid 1000)".to_owned())
}

/// How many journal records of a kind there are.
async fn records(store: &vardkase::store::Store, kind: &str) -> usize {
    let all = store.journal(0, 1000, None).await.unwrap();
    all.iter().filter(|record| record.kind == kind).count()
}

async fn an_attestation_is_kept_and_taken_back_once(bed: &Bed) {
    let store = bed.open().await;
    let account = "facebook".parse().unwrap();
    let until = at("2027-11-05T03:00:00Z");
    let nothing = store
        .revoke_attestation(&account, What::Logo, "fel", bed.now(), kim())
        .await;
    assert!(matches!(nothing, Err(StoreError::NotFound(_))), "{nothing:?}");
    let first = store
        .attest(&account, What::Logo, "KS 1\u{0}å", until, bed.now(), kim())
        .await
        .unwrap();
    let second = store
        .attest(&account, What::Logo, "KS 2", until, bed.later(60), kim())
        .await
        .unwrap();
    store
        .attest(&account, What::TwoFactor, "KS 3", until, bed.now(), kim())
        .await
        .unwrap();
    assert!(second > first);
    let back = store
        .revoke_attestation(&account, What::Logo, "ny logotyp", bed.later(60), kim())
        .await
        .unwrap();
    assert_eq!(back, second, "the latest one");
    let again = store
        .revoke_attestation(&account, What::Logo, "igen", bed.now(), kim())
        .await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    store.close().await;
    let store = bed.open().await;
    let all = store.attestations().await.unwrap();
    let told: Vec<_> = all
        .iter()
        .map(|one| (one.what, one.evidence.as_str(), one.revoked_because.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (What::Logo, "KS 1\u{fffd}å", None),
            (What::Logo, "KS 2", Some("ny logotyp")),
            (What::TwoFactor, "KS 3", None)
        ]
    );
    assert_eq!(
        (all[1].revoked_at, all[1].revoked_by.clone()),
        (Some(bed.now()), Some(kim()))
    );
    assert_eq!(all[0].expires_at, until);
    assert_eq!(
        (
            records(&store, "attest").await,
            records(&store, "attest-revoke").await
        ),
        (3, 1)
    );
    assert_eq!(store.verify_journal().await.unwrap().broken, None);
}

async fn an_application_is_decided_on_once(bed: &Bed) {
    let store = bed.open().await;
    let application = Application {
        account: "arkiv".parse().unwrap(),
        channel: "file".to_owned(),
        url: None,
        applicant: "Arkivarie".to_owned(),
        register: vardkase::config::register::Entry {
            purpose: Some("Kopia".to_owned()),
            key_figures: vec!["besök".to_owned()],
            decided_on: Some("2026-01-02".parse().unwrap()),
            ..Default::default()
        },
    };
    let decision = |at| Decision {
        reason: "behövs".to_owned(),
        by: "Kommunikationschefen".to_owned(),
        case: None,
        actor: kim(),
        at,
    };
    let none = store.decide_application(1, true, decision(bed.now())).await;
    assert!(matches!(none, Err(StoreError::NotFound(_))), "{none:?}");
    let id = store
        .file_application(application.clone(), bed.now(), kim())
        .await
        .unwrap();
    store
        .decide_application(id, false, decision(bed.later(5)))
        .await
        .unwrap();
    let again = store.decide_application(id, true, decision(bed.later(5))).await;
    assert_eq!(
        again,
        Err(StoreError::Conflict(format!(
            "application {id} is rejected already"
        )))
    );
    let all = store.applications().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0].application, all[0].state),
        (&application, Filed::Rejected)
    );
    assert_eq!(all[0].decision.as_ref().unwrap().reason, "behövs");
    assert_eq!(
        (
            records(&store, "account-apply").await,
            records(&store, "account-decide").await
        ),
        (1, 1)
    );
}

async fn a_closing_keeps_its_order(bed: &Bed) {
    let store = bed.open().await;
    let (account, other) = ("facebook".parse().unwrap(), "x".parse().unwrap());
    let early = store
        .sign_closing(&account, Step::Close, None, bed.now(), kim())
        .await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "{early:?}");
    // Of two at once one signs.
    let (a, b) = tokio::join!(
        store.sign_closing(&account, Step::Decide, Some("KS 1".to_owned()), bed.now(), kim()),
        store.sign_closing(&account, Step::Decide, Some("KS 1".to_owned()), bed.now(), kim()),
    );
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    store
        .sign_closing(&account, Step::Announce, None, bed.later(9), kim())
        .await
        .unwrap();
    let signed = store.closing(&account).await.unwrap();
    let told: Vec<_> = signed.iter().map(|one| (one.step, one.note.as_deref())).collect();
    assert_eq!(told, [(Step::Decide, Some("KS 1")), (Step::Announce, None)]);
    assert_eq!(store.closing(&other).await.unwrap(), []);
    assert_eq!(records(&store, "account-close").await, 2);
}

async fn a_mark_is_replaced(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(store.mark::<Mark>("check").await.unwrap(), None);
    let mut mark = Mark {
        tried_at: Some(bed.now()),
        done_at: None,
    };
    store.set_mark("check", &mark, bed.now(), None).await.unwrap();
    mark.done_at = Some(bed.later(1));
    store
        .set_mark("check", &mark, bed.now(), Some(bed.entry("register-check")))
        .await
        .unwrap();
    assert_eq!(store.mark("check").await.unwrap(), Some(mark));
    assert_eq!(records(&store, "register-check").await, 1);
}

async fn a_year_counts_its_own_live_posts(bed: &Bed) {
    let store = bed.open().await;
    let (from, to) = (bed.now(), at("2027-01-01T00:00:00Z"));
    let accepted = bed.initial(&store, &["a", "b"]).await;
    let of_it = ids(&store, &accepted.broadcast).await;
    bed.later(2);
    bed.publish(&store, &of_it[0]).await;
    bed.step(&store, &of_it[1], State::Queued, Event::Begin).await;
    bed.step(&store, &of_it[1], State::Sending, Event::Refuse).await;
    for seconds in [10, 4] {
        let accepted = bed.initial(&store, &["a"]).await;
        let of_it = ids(&store, &accepted.broadcast).await;
        bed.later(seconds);
        bed.publish(&store, &of_it[0]).await;
    }
    // Stopped by a person: it was not to come out.
    let accepted = bed.initial(&store, &["a"]).await;
    let of_it = ids(&store, &accepted.broadcast).await;
    bed.step(&store, &of_it[0], State::Queued, Event::Cancel).await;
    let posted = store.posted(from, to).await.unwrap();
    let a = Posted {
        wanted: 3,
        out: 3,
        median_ms: Some(4000),
    };
    let b = Posted {
        wanted: 1,
        out: 0,
        median_ms: None,
    };
    let told: Vec<_> = posted
        .iter()
        .map(|(account, posted)| (account.as_str(), *posted))
        .collect();
    assert_eq!(told, [("a", a), ("b", b)]);
    assert!(
        store
            .posted(to, at("2028-01-01T00:00:00Z"))
            .await
            .unwrap()
            .is_empty()
    );
}
