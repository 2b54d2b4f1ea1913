//! The mail adapter against the practice wall's SMTP sink.

use std::sync::Arc;

use vardkase::channel::email;
use vardkase::channel::secrets::InMemory;
use vardkase::model::{Busy, Mode, SendError, Settled};
use vardkase::wall::{CutAt, Fault, How};

use crate::direct::{Stand, post, question, to};

const KEYS: &str = "channel = \"email\"\nfrom = \"kris@nassjo.se\"\nlist = \"press\"\nrelay = \"relay-1\"";

#[tokio::test]
async fn each_recipient_gets_a_letter_of_their_own_and_updates_thread() {
    let stand = Stand::start(KEYS).await;
    let mail = stand.open();
    mail.verify().await.unwrap();
    let one = mail.publish(&to(post(1), "anna@example.org")).await.unwrap();
    mail.publish(&to(post(2), "bo@example.org")).await.unwrap();
    let mut update = to(post(3), "anna@example.org");
    update.root = Some(one.clone());
    update.parent = Some(one.clone());
    mail.publish(&update).await.unwrap();
    let ledger = stand.ledger();
    let recipients: Vec<_> = ledger.iter().filter_map(|p| p.recipient.as_deref()).collect();
    assert_eq!(
        recipients,
        ["anna@example.org", "bo@example.org", "anna@example.org"]
    );
    assert!(
        ledger
            .iter()
            .all(|p| p.subject.as_deref() == Some("ÖVNING: Koka vattnet")),
        "{ledger:?}"
    );
    assert!(
        ledger[0].text.contains("Koka vattnet i Nässjö (1)"),
        "{}",
        ledger[0].text
    );
    assert!(ledger[0].links.contains(&"https://nassjo.se/kris".to_owned()));
    let bare = |id: &str| id.trim_matches(['<', '>']).to_owned();
    assert_eq!(
        ledger[2].in_reply_to.as_deref().map(bare),
        Some(bare(&one.remote_id))
    );
}

#[tokio::test]
async fn a_cut_after_the_letter_is_unknown_and_nothing_claims_to_know() {
    let stand = Stand::start(KEYS).await;
    let post = to(post(1), "anna@example.org");
    stand.strike(Some("dot"), How::DoneThenCut(CutAt::BeforeHeaders));
    let lost = stand.open().publish(&post).await.unwrap_err();
    assert_eq!(lost.as_str(), "unknown", "{lost}");
    assert_eq!(stand.ledger().len(), 1);
    let settled = stand.open().settle(&question(&post)).await.unwrap();
    assert!(matches!(settled, Settled::Unclear(_)));
}

#[tokio::test]
async fn the_confirmation_goes_through_the_relay_with_its_log_in() {
    let mut stand = Stand::start(KEYS).await;
    stand.wall.require_smtp_login("kris", "hemligt");
    let relays: Vec<_> = stand
        .parts
        .relays
        .iter()
        .cloned()
        .map(|mut r| {
            r.login = true;
            r
        })
        .collect();
    stand.parts.relays = Arc::from(relays);
    let letter = to(post(1), "tib@nassjo.se");
    let refused = email::confirmation(&stand.parts, "kris@nassjo.se")
        .publish(&letter)
        .await
        .unwrap_err();
    assert_eq!(refused.as_str(), "credential", "{refused}");
    let secrets = [("relay-1/username", "kris"), ("relay-1/password", "hemligt")];
    stand.parts.relay_secrets = Arc::new(InMemory::of(secrets));
    email::confirmation(&stand.parts, "kris@nassjo.se")
        .publish(&letter)
        .await
        .unwrap();
    assert_eq!(stand.ledger().len(), 1);
}

/// The relay's reply at the next stage of this kind.
fn says(stand: &Stand, stage: &str, status: u16, text: &str) {
    let fault = Fault {
        how: How::Answer {
            status,
            headers: vec![],
            body: Some(text.to_owned()),
        },
        path: Some(stage.to_owned()),
        method: None,
        after: 0,
        times: 1,
    };
    stand.wall.fault(Mode::Live, &"smtp".parse().unwrap(), fault);
}

#[tokio::test]
async fn a_relay_that_does_not_take_our_sender_is_a_matter_for_a_person_and_leaves_nobody_out() {
    let stand = Stand::start(KEYS).await;
    says(&stand, "mail:", 550, "5.1.1 <kris@nassjo.se>: User unknown");
    let held = stand
        .open()
        .publish(&to(post(1), "anna@example.org"))
        .await
        .unwrap_err();
    assert_eq!(held.as_str(), "credential", "{held}");
    assert_eq!(held.reason().code, "smtp-sender-550-5.1.1");
    assert!(
        !held.reason().ends_recipient() && held.to_string().contains("`from`"),
        "{held}"
    );
    says(&stand, "rcpt:", 550, "5.1.1 <anna@example.org>: User unknown");
    let refused = stand
        .open()
        .publish(&to(post(2), "anna@example.org"))
        .await
        .unwrap_err();
    assert!(
        refused.as_str() == "refused" && refused.reason().ends_recipient(),
        "{refused}"
    );
}

#[tokio::test]
async fn a_full_mailbox_and_greylisting_keep_no_other_recipient_waiting() {
    let stand = Stand::start(KEYS).await;
    let mail = stand.open();
    for (stage, status, text) in [
        ("rcpt:", 450, "4.2.0 Greylisted"),
        ("rcpt:", 452, "4.2.2 Mailbox full"),
        ("dot:", 552, "5.2.2 Mailbox full"),
    ] {
        says(&stand, stage, status, text);
        let busy = mail.publish(&to(post(1), "anna@example.org")).await.unwrap_err();
        assert!(
            matches!(
                busy,
                SendError::Busy {
                    until: Some(_),
                    scope: Busy::Recipient,
                    ..
                }
            ),
            "{busy:?}"
        );
    }
    says(&stand, "mail:", 450, "4.7.1 Slow down");
    let busy = stand
        .open()
        .publish(&to(post(1), "anna@example.org"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            busy,
            SendError::Busy {
                scope: Busy::Account,
                ..
            }
        ),
        "{busy:?}"
    );
}
