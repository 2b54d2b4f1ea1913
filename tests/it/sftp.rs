//! `file` over SFTP on the practice wall: what lies in the folder is what was to be said, wherever the exchange is cut; and
//! what the server says no with is told apart. Against OpenSSH itself: `real_sftp.rs`.

use std::time::Duration;

use vardkase::model::{Post, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, Guise, How};

use crate::social::{LINK, Practice, TEXT, post, reply};

const KEYS: &str = "sftp = \"sftp://skarmar.nassjo.se/srv/kris\"\n\
                    host_keys = [\"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]";

async fn practice() -> Practice {
    Practice::start("file", KEYS).await
}

/// How many requests something takes undisturbed.
async fn requests_of(practice: &Practice, act: impl AsyncFnOnce(&Practice)) -> usize {
    let before = practice.requests();
    act(practice).await;
    practice.requests() - before
}

/// What goes wrong at every request, and what else at some.
const CUTS: [How; 3] = [
    How::Cut,
    How::DoneThenCut(CutAt::BeforeHeaders),
    How::DoneThenCut(CutAt::MidBody),
];

fn garbled() -> Vec<How> {
    let mut all = vec![How::Huge(8 * 1024 * 1024), How::DoneThenBytes(b"<html>".to_vec())];
    all.extend([CutAt::Reset, CutAt::MidHeaders, CutAt::TruncatedJson].map(How::DoneThenCut));
    all
}

#[tokio::test]
async fn what_residents_read_is_what_was_to_be_said() {
    let practice = practice().await;
    practice.channel.verify().await.unwrap();
    let first = post(TEXT);
    assert_eq!(practice.settle(&first).await, Settled::Absent);
    let receipt = practice.channel.publish(&first).await.unwrap();
    let ledger = practice.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!(
        (ledger[0].text.as_str(), ledger[0].links.as_slice()),
        (TEXT, &[LINK.to_owned()][..])
    );
    assert_eq!(ledger[0].remote_id, receipt.remote_id);
    assert_eq!(
        practice.channel.publish(&first).await.unwrap(),
        receipt,
        "a repeat changes nothing"
    );
    assert_eq!(practice.settle(&first).await, Settled::Found(receipt.clone()));
    let second = reply("Nytt. Nässjö kommun.", &receipt);
    let second = practice.channel.publish(&second).await.unwrap();
    assert_eq!(practice.ledger().len(), 2);
    for receipt in [&second, &receipt] {
        practice.channel.retract(receipt).await.unwrap();
        practice.channel.retract(receipt).await.unwrap();
    }
    assert!(practice.standing().is_empty());
    assert!(practice.seen("SFTP") > 40, "all of it went over SFTP");
    let backstage = practice.channel.backstage(&post(TEXT)).await.unwrap();
    assert!(backstage.read_back && backstage.removed, "{backstage:?}");
    assert!(
        practice.standing().is_empty(),
        "nobody sees what goes on backstage"
    );
}

/// Tries as the dispatcher would, the first time not for long.
async fn at_last(practice: &Practice, post: &Post, about: &str) -> Receipt {
    for patience in [
        Duration::from_secs(3),
        Duration::from_secs(20),
        Duration::from_secs(20),
    ] {
        match tokio::time::timeout(patience, practice.channel.publish(post)).await {
            Ok(Ok(receipt)) => return receipt,
            Ok(Err(SendError::NotSent(_))) => {
                assert!(practice.standing().is_empty(), "{about}: it stands");
            }
            Ok(Err(SendError::Unknown(_))) | Err(_) => match practice.settle(post).await {
                Settled::Found(receipt) => return receipt,
                Settled::Absent => {}
                Settled::Refused(reason) | Settled::Unclear(reason) => panic!("{about}: {reason}"),
            },
            Ok(Err(other)) => panic!("{about}: {other}"),
        }
    }
    panic!("{about}: it never gets through");
}

/// Publishes with a fault that is armed already, looks, and takes the message away again.
async fn stands_once(practice: &Practice, about: &str) {
    let post = post(TEXT);
    let receipt = at_last(practice, &post, about).await;
    let standing = practice.standing();
    assert_eq!(standing.len(), 1, "{about}");
    assert_eq!(standing[0].text, TEXT, "{about}");
    assert_eq!(
        practice.settle(&post).await,
        Settled::Found(receipt.clone()),
        "{about}"
    );
    practice.channel.retract(&receipt).await.unwrap();
    assert!(practice.standing().is_empty(), "{about}");
}

#[tokio::test]
async fn cut_at_any_request_before_or_after_its_effect_both_files_come_to_stand_once() {
    let practice = practice().await;
    let mut receipt = None;
    let requests = requests_of(&practice, async |practice| {
        receipt = Some(practice.channel.publish(&post(TEXT)).await.unwrap());
    })
    .await;
    practice.channel.retract(&receipt.unwrap()).await.unwrap();
    assert!(requests > 15, "{requests}");
    for number in 0..requests {
        for how in CUTS {
            practice.strike_at(number, how.clone());
            stands_once(&practice, &format!("{how:?} at {number} of {requests}")).await;
        }
    }
    println!("{} cuts of a message over SFTP", requests * CUTS.len());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_or_never_comes_is_settled_by_what_lies_there() {
    let practice = practice().await;
    for stage in ["INIT", "LSTAT", "OPEN", "FSYNC", "RENAME"] {
        for how in garbled() {
            practice.strike_path(stage, 1, how.clone());
            stands_once(&practice, &format!("{how:?} at {stage}")).await;
        }
    }
    practice.strike_path("RENAME", 1, How::DoneThenHang);
    stands_once(&practice, "no answer to the first rename").await;
}

#[tokio::test]
async fn an_edit_or_a_removal_cut_at_any_request_is_made_again_and_comes_to_stand_once() {
    let correction = || post("ÖVNING: Det gäller Malmbäck. Nässjö kommun. https://nassjo.se/kris");
    let practice = practice().await;
    let publish = async || practice.channel.publish(&post(TEXT)).await.unwrap();
    let receipt = publish().await;
    let edits = requests_of(&practice, async |practice| {
        practice.channel.edit(&receipt, &correction()).await.unwrap();
    })
    .await;
    let removals = requests_of(&practice, async |practice| {
        practice.channel.retract(&receipt).await.unwrap();
    })
    .await;
    for number in 0..edits.max(removals) {
        for how in CUTS {
            let about = format!("{how:?} at {number}");
            let receipt = publish().await;
            if number < edits {
                practice.strike_at(number, how.clone());
                let correction = correction();
                let changed = match practice.channel.edit(&receipt, &correction).await {
                    Ok(changed) => changed,
                    Err(SendError::NotSent(_)) => practice.channel.edit(&receipt, &correction).await.unwrap(),
                    Err(other) => panic!("{about}: {other}"),
                };
                let standing = practice.standing();
                assert_eq!(standing.len(), 1, "{about}");
                assert_eq!(standing[0].text, correction.rendering.text, "{about}");
                assert_eq!(standing[0].remote_id, changed.remote_id, "{about}");
            }
            if number < removals {
                practice.strike_at(number, how.clone());
            }
            match practice.channel.retract(&receipt).await {
                Ok(()) => {}
                Err(SendError::NotSent(_)) => practice.channel.retract(&receipt).await.unwrap(),
                Err(other) => panic!("{about}: {other}"),
            }
            assert!(practice.standing().is_empty(), "{about}");
        }
    }
}

#[tokio::test]
async fn what_the_server_says_no_with_is_told_apart() {
    let answer = |status: u16| How::Answer {
        status,
        headers: Vec::new(),
        body: None,
    };
    // SFTP's own statuses, and what faults of HTTP mean there.
    for (at, status, class, code) in [
        ("OPEN", 3, "refused", "sftp-permission-denied"),
        ("OPEN", 403, "refused", "sftp-permission-denied"),
        ("OPEN", 2, "refused", "sftp-no-such-file"),
        ("WRITE", 4, "not-sent", "sftp-failure"),
        ("FSYNC", 507, "not-sent", "sftp-failure"),
        ("OPEN", 8, "refused", "sftp-unsupported"),
        ("RENAME", 3, "refused", "sftp-permission-denied"),
        ("RENAME", 4, "not-sent", "sftp-failure"),
        ("LOGIN", 401, "credential", "ssh-auth"),
    ] {
        let practice = practice().await;
        practice.strike_path(at, 0, answer(status));
        let err = practice.channel.publish(&post(TEXT)).await.unwrap_err();
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            (class, code),
            "{at} {status}: {err}"
        );
        practice.assert_discreet(&err);
        assert!(practice.standing().is_empty(), "{at} {status}");
    }
}

#[tokio::test]
async fn a_wrong_key_or_password_is_told_apart_and_shown_nowhere_and_either_one_opens() {
    let practice = practice().await;
    let other = Practice::start("file", KEYS).await;
    let key = |practice: &Practice| practice.secret("private_key");
    // With both in the vault the key is tried first, and the password after it.
    let by_password = practice.with_secret("private_key", &key(&other));
    by_password.verify().await.unwrap();
    practice
        .with_secret("password", "hemlig-men-fel")
        .verify()
        .await
        .unwrap();
    let stranger = practice.with_secrets(&[("private_key", &key(&other)), ("password", "hemlig-men-fel")]);
    for err in [
        stranger.publish(&post(TEXT)).await.unwrap_err(),
        stranger.verify().await.unwrap_err(),
    ] {
        assert_eq!(
            (err.as_str(), err.reason().code.as_str()),
            ("credential", "ssh-auth"),
            "{err}"
        );
        let told = format!("{err:?} {stranger:?}");
        assert!(!told.contains("hemlig-men-fel") && !told.contains(&key(&other)));
    }
    assert!(practice.standing().is_empty());
    practice.guise(Guise {
        revoked: true,
        ..Guise::default()
    });
    assert_eq!(
        practice.channel.verify().await.unwrap_err().as_str(),
        "credential"
    );
}

/// The wall of another process has another key: whoever stands in its place is not spoken to.
#[tokio::test]
async fn a_server_with_another_key_is_not_spoken_to() {
    let (ours, theirs) = (practice().await, practice().await);
    let mistaken = ours.at_the_sftp_server_of(&theirs);
    let err = mistaken.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(
        (err.as_str(), err.reason().code.as_str()),
        ("refused", "host-key"),
        "{err}"
    );
    assert!(theirs.standing().is_empty() && theirs.seen("SFTP") == 0);
}
