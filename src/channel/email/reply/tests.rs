use super::*;
use crate::channel::testing::accepted_at;

fn after(stage: Stage, code: u16, text: &str) -> (SendError, bool) {
    let relay = "relay-1".parse().unwrap();
    let trouble = Trouble::reply(&relay, stage, code, text);
    let next = trouble.is_the_relays();
    (trouble.outcome(accepted_at()), next)
}

/// Every reply of the reference to a recipient or a letter: code, text, outcome, and the wait in seconds that it names.
pub(in crate::channel::email) const REPLIES: &[(u16, &str, &str, Option<u64>)] = &[
    (421, "4.3.2 closing", "busy", None),
    (450, "4.2.0 greylisted", "busy", Some(60)),
    (450, "4.7.1 greylisted", "busy", Some(60)),
    (451, "4.3.0 local error", "busy", Some(30)),
    (451, "4.7.1 rate", "busy", Some(30)),
    (452, "4.2.2 mailbox full", "busy", Some(300)),
    (452, "4.3.1 disk", "busy", Some(30)),
    (452, "4.5.3 too many", "busy", None),
    (454, "4.7.0 later", "busy", None),
    (455, "4.5.0 parameter", "busy", Some(30)),
    (500, "5.5.2 what", "refused", None),
    (501, "5.5.4 NOTIFY", "refused", None),
    (502, "5.5.1 not here", "refused", None),
    (503, "5.5.1 order", "refused", None),
    (504, "5.5.4 parameter", "refused", None),
    (521, "5.3.2 no mail", "refused", None),
    (530, "5.7.0 STARTTLS first", "credential", None),
    (534, "5.7.9 weak", "credential", None),
    (535, "5.7.8 wrong", "credential", None),
    (538, "5.7.11 encrypt", "credential", None),
    (550, "5.1.1 no such user", "refused", None),
    (550, "5.7.23 SPF", "refused", None),
    (550, "4.7.1 first digit decides", "refused", None),
    (551, "5.1.6 moved", "refused", None),
    (552, "5.2.2 mailbox full", "busy", Some(300)),
    (552, "5.3.4 too big", "refused", None),
    (553, "5.1.3 syntax", "refused", None),
    (554, "5.5.1 none", "refused", None),
    (555, "5.5.4 parameter", "refused", None),
    (556, "5.1.10 null MX", "refused", None),
];

#[test]
fn every_reply_of_the_reference_has_its_outcome() {
    for &(code, text, word, wait) in REPLIES {
        let (outcome, _) = after(Stage::Recipient, code, text);
        assert_eq!(outcome.as_str(), word, "{code} {text}");
        if let SendError::Busy { until, .. } = outcome {
            let at = wait.map(|wait| later(accepted_at(), Duration::from_secs(wait)));
            assert_eq!(until, at, "{code} {text}");
        }
    }
    let (outcome, _) = after(Stage::Recipient, 550, "5.1.1 <x@y>: unknown");
    assert_eq!(outcome.reason().code, "smtp-550-5.1.1");
    assert_eq!(after(Stage::Recipient, 550, "no").0.reason().code, "smtp-550");
}

#[test]
fn a_full_mailbox_or_greylisting_is_one_recipients_and_the_rest_is_the_accounts() {
    for (stage, code, text, expected) in [
        (Stage::Recipient, 450, "4.2.0 greylisted", Busy::Recipient),
        (Stage::Recipient, 452, "4.2.2 mailbox full", Busy::Recipient),
        (Stage::Recipient, 552, "5.2.2 mailbox full", Busy::Recipient),
        (Stage::Sent, 452, "4.2.2 mailbox full", Busy::Recipient),
        (Stage::Recipient, 451, "4.3.0 local error", Busy::Account),
        (Stage::Recipient, 452, "4.3.1 disk", Busy::Account),
        (Stage::Recipient, 452, "4.5.3 too many", Busy::Account),
        (Stage::Recipient, 421, "4.3.2 closing", Busy::Account),
        (Stage::Sender, 450, "4.7.1 too fast", Busy::Account),
        (Stage::Open, 450, "4.7.1 too fast", Busy::Account),
    ] {
        let (outcome, _) = after(stage, code, text);
        assert!(
            matches!(outcome, SendError::Busy { scope, .. } if scope == expected),
            "{stage:?} {code} {text}: {outcome:?}"
        );
    }
}

#[test]
fn what_is_said_of_the_sender_leaves_no_recipient_out_and_is_for_a_person() {
    for (code, text, name) in [
        (
            550,
            "5.1.1 <kris@nassjo.se>: no such user",
            "smtp-sender-550-5.1.1",
        ),
        (553, "5.1.8 sender domain", "smtp-sender-553-5.1.8"),
        (550, "5.7.1 not yours", "smtp-sender-550-5.7.1"),
        (550, "no", "smtp-sender-550"),
    ] {
        let (outcome, next) = after(Stage::Sender, code, text);
        assert_eq!((outcome.as_str(), next), ("credential", true), "{code} {text}");
        let reason = outcome.reason();
        assert_eq!(reason.code, name);
        assert!(
            !reason.ends_recipient() && reason.text.contains("`from`"),
            "{reason}"
        );
    }
    // The letter's size is announced with MAIL.
    assert_eq!(after(Stage::Sender, 552, "5.3.4 too big").0.as_str(), "refused");
    // DATA is not about one recipient either.
    let (outcome, _) = after(Stage::Body, 550, "5.1.1 no");
    assert!(!outcome.reason().ends_recipient());
    for stage in [Stage::Recipient, Stage::Sent] {
        assert!(
            after(stage, 550, "5.1.1 no such user")
                .0
                .reason()
                .ends_recipient()
        );
    }
}

#[test]
fn the_relays_own_troubles_go_to_the_next_relay_and_the_letters_do_not() {
    for (stage, code, text, next) in [
        (Stage::Open, 554, "5.7.1 blocked", true),
        (Stage::Open, 535, "5.7.8 wrong", true),
        (Stage::Sender, 550, "5.7.1 not yours", true),
        (Stage::Sender, 451, "4.3.0 disk", true),
        (Stage::Recipient, 421, "4.3.2 closing", true),
        (Stage::Recipient, 450, "4.7.1 greylisted", false),
        (Stage::Recipient, 550, "5.1.1 unknown", false),
        (Stage::Sent, 554, "5.6.0 content", false),
        (Stage::Sent, 451, "4.3.0 queue", false),
    ] {
        assert_eq!(after(stage, code, text).1, next, "{stage:?} {code}");
    }
    assert_eq!(after(Stage::Open, 554, "go away").0.as_str(), "not-sent");
}

#[test]
fn when_no_relay_takes_it_the_most_hopeful_outcome_holds_and_all_is_told() {
    let relay = |n: u8| format!("relay-{n}").parse::<AccountId>().unwrap();
    let dead = Trouble::reply(&relay(1), Stage::Open, 535, "5.7.8 wrong");
    let gone = Trouble::contact(&relay(2), "connect", "Connection refused");
    let all = of_all(vec![dead.clone(), gone], accepted_at());
    assert_eq!(all.as_str(), "not-sent");
    assert!(all.reason().text.contains("relay-1: 5.7.8 wrong") && all.reason().text.contains("relay-2"));
    let all = of_all(vec![dead.clone(), dead], accepted_at());
    assert_eq!(all.as_str(), "credential");
}

#[test]
fn queue_ids_are_found_where_relays_put_them() {
    assert_eq!(queued("2.0.0 Ok: queued as 4Zabc12"), "queue id 4Zabc12");
    assert_eq!(queued("OK id=1abc"), "OK id=1abc");
    assert_eq!(queued("2.6.0 <x@y> Queued as <>"), "2.6.0 <x@y> Queued as <>");
}
