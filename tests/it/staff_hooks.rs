//! Webhooks of chat programs through the real wire protocol: what people read is what was approved, and what nobody can
//! know is said to be unknown.

use vardkase::model::{SendError, Settled};
use vardkase::wall::How;

use crate::social::{LINK, Practice, TEXT, lost_answers, post};

#[tokio::test]
async fn what_people_read_is_what_was_approved() {
    for kind in ["mattermost", "teams"] {
        let practice = Practice::start(kind, "").await;
        let text = format!(
            "{TEXT}\n\n# *inte* _så_ [här](https://nassjo.se/x_y) `2` ~3~ \\o/\n> @alla\n- först\n1. sedan"
        );
        let receipt = practice.channel.publish(&post(&text)).await.unwrap();
        let ledger = practice.ledger();
        assert_eq!(ledger.len(), 1, "{kind}");
        assert_eq!(ledger[0].text, text, "{kind}");
        assert_eq!(
            ledger[0].subject.as_deref(),
            Some("ÖVNING: Koka vattnet"),
            "{kind}"
        );
        assert!(
            ledger[0].links.contains(&LINK.to_owned()),
            "{kind}: {:?}",
            ledger[0].links
        );
        assert!(
            [Some(&receipt.remote_id), None].contains(&ledger[0].key.as_ref()),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_lost_answer_stays_unknown_and_shows_no_address() {
    for kind in ["mattermost", "teams"] {
        for how in lost_answers() {
            let practice = Practice::start(kind, "").await;
            let post = post(TEXT);
            practice.strike("POST", how.clone());
            match practice.channel.publish(&post).await {
                Err(err) => {
                    assert_eq!(err.as_str(), "unknown", "{kind} {how:?}: {err}");
                    practice.assert_discreet(&err);
                    assert!(
                        matches!(practice.settle(&post).await, Settled::Unclear(_)),
                        "{kind}"
                    );
                }
                // 202 is all that a flow ever says; what stands behind it does not matter.
                Ok(receipt) => {
                    assert_eq!(kind, "teams", "{how:?}: {receipt:?}");
                    assert_eq!(practice.ledger()[0].remote_id, receipt.remote_id, "{how:?}");
                }
            }
            assert_eq!(practice.ledger().len(), 1, "{kind} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_flow_that_was_started_and_failed_is_never_called_more_than_handed_over() {
    let practice = Practice::start("teams", "").await;
    practice.strike(
        "POST",
        How::Answer {
            status: 202,
            headers: Vec::new(),
            body: Some(String::new()),
        },
    );
    let receipt = practice.channel.publish(&post(TEXT)).await.unwrap();
    assert!(practice.ledger().is_empty());
    assert!(receipt.note.unwrap().contains("handed over"));
}

#[tokio::test]
async fn a_hook_that_is_gone_is_told_apart_and_its_address_shown_nowhere() {
    let rows = [
        ("mattermost", "https://chatt.example/hooks/hemligmenborta"),
        (
            "teams",
            "https://a.example/workflows/hemligmenborta/triggers/manual/paths/invoke?sig=hemligmenborta",
        ),
    ];
    for (kind, address) in rows {
        let practice = Practice::start(kind, "").await;
        practice.channel.verify().await.unwrap();
        assert!(
            practice.ledger().is_empty(),
            "{kind}: verifying publishes nothing"
        );
        let stranger = practice.with_secret("webhook", address);
        let errors: [SendError; 2] = [
            stranger.publish(&post(TEXT)).await.unwrap_err(),
            stranger.verify().await.unwrap_err(),
        ];
        for err in errors {
            assert_eq!(err.as_str(), "credential", "{kind}: {err}");
            assert!(
                !format!("{err} {err:?} {stranger:?}").contains("hemlig"),
                "{kind}: {err:?}"
            );
        }
    }
}
