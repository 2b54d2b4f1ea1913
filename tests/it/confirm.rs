//! The confirmation as the crisis organisation reads it: each part, in text and in HTML.

use std::collections::{BTreeMap, BTreeSet};

use vardkase::clock::{Timestamp, from_micros};
use vardkase::config::Municipality;
use vardkase::confirm::{self, Facts};
use vardkase::model::report::overall;
use vardkase::model::{
    BroadcastReport, DeliveryReport, Kind, Lang, Mode, NOT_NEEDED, Proof, Purpose, Reason, Rendering, State,
    UnreachableBefore,
};

/// Monday 23 November 2026, 16.58 in Nässjö.
const ACCEPTED: i64 = 1_795_449_480;

fn at(seconds: i64) -> Timestamp {
    from_micros((ACCEPTED + seconds) * 1_000_000 + 400_000)
}

fn delivery(account: &str, channel: &str, state: State) -> DeliveryReport {
    DeliveryReport {
        delivery: format!("d-{account}").parse().unwrap(),
        account: account.parse().unwrap(),
        channel: channel.to_owned(),
        recipient: None,
        purpose: Purpose::Publish,
        target: None,
        stands_in_for: Vec::new(),
        state,
        attempts: u32::from(state != State::Manual),
        remote_id: None,
        url: state
            .got_out()
            .then(|| format!("https://{account}.example/@nassjo/1")),
        proof: Proof::Keyed,
        note: None,
        error: None,
        unknown_since: None,
        queued_at: at(0),
        finished_at: (!state.is_open()).then(|| at(2)),
        next_at: state.is_open().then(|| at(620)),
    }
}

fn with_error(mut delivery: DeliveryReport, proof: Proof, code: &str, text: &str) -> DeliveryReport {
    delivery.proof = proof;
    delivery.error = Some(Reason::new(code, text));
    delivery
}

fn recipients(states: &[(State, usize)]) -> Vec<DeliveryReport> {
    let mut all = Vec::new();
    for (state, count) in states {
        for n in 0..*count {
            let mut one = delivery("mejl-press", "email", *state);
            one.delivery = format!("d-mejl-{state}-{n}").parse().unwrap();
            one.recipient = Some(format!("{}…@tidning{n}.example", ["a", "b", "c"][n % 3]));
            one.url = None;
            one.proof = Proof::Unproven;
            if *state == State::Refused {
                one.error = Some(Reason::new("smtp-550-5.1.1", "no such user here"));
            }
            all.push(one);
        }
    }
    all
}

fn report(mode: Mode, deliveries: Vec<DeliveryReport>) -> BroadcastReport {
    BroadcastReport {
        alert: format!("{}2026-0007", mode.alert_prefix()).parse().unwrap(),
        broadcast: format!("{}2026-0007.1", mode.alert_prefix()).parse().unwrap(),
        mode,
        kind: Kind::Initial,
        message: "koka-vattnet".parse().unwrap(),
        headline: format!("{}Koka dricksvattnet i Forserum", mode.marking(Lang::Sv)),
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
        confirmation: vardkase::model::Confirmation::default(),
        confirmations: Vec::new(),
        unreachable_before: Vec::new(),
        arrivals: std::collections::BTreeMap::new(),
    }
}

fn compose(report: &BroadcastReport, part: Purpose, after: i64) -> Rendering {
    let municipality = Municipality {
        name: "Nässjö kommun".to_owned(),
        site: "https://nassjo.se".parse().unwrap(),
        hosts: BTreeSet::new(),
        languages: vec![Lang::Sv],
        time_zone: "Europe/Stockholm".to_owned(),
        fallback_link: None,
    };
    let link = "https://nassjo.se/kris/dricksvatten".parse().unwrap();
    let text = "Nässjö kommun: Koka vattnet i Forserum. https://nassjo.se/kris/dricksvatten";
    let texts: BTreeMap<_, _> = report
        .deliveries
        .iter()
        .filter(|d| d.recipient.is_none())
        .map(|d| (d.delivery.clone(), text.to_owned()))
        .collect();
    let instructions = BTreeMap::from([(
        "nattvaktens-tavla".parse().unwrap(),
        "Anslagstavlan vid entrén. Nyckeln finns i receptionen.".to_owned(),
    )]);
    let facts = Facts {
        municipality: &municipality,
        now: at(after),
        link: &link,
        journal_head: (
            4711,
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
        texts: &texts,
        instructions: &instructions,
    };
    confirm::compose(report, part, &facts).unwrap()
}

fn shown(rendering: &Rendering) -> String {
    format!("Ämne: {}\n\n{}", rendering.headline, rendering.text)
}

fn all_sorts() -> Vec<DeliveryReport> {
    let mut open = with_error(
        delivery("bluesky", "bluesky", State::Queued),
        Proof::Keyed,
        "http-503",
        "bsky.social: the service is down",
    );
    open.attempts = 4;
    let mut deliveries = vec![
        delivery("mastodon", "mastodon", State::Published),
        open,
        with_error(
            delivery("facebook", "facebook-page", State::Held),
            Proof::ReadBack,
            "graph-190-463",
            "the access token has expired",
        ),
        with_error(
            delivery("webben", "http-json", State::Refused),
            Proof::Keyed,
            "http-422",
            "nassjo.se: <b>title</b> & body is wrong",
        ),
        DeliveryReport {
            unknown_since: Some(at(1)),
            ..with_error(
                delivery("larmtavlan", "webhook", State::Held),
                Proof::Unproven,
                "timeout",
                "no answer within 20 s",
            )
        },
        delivery("nattvaktens-tavla", "manual", State::Manual),
        delivery("infoskarm", "file", State::Superseded),
    ];
    deliveries.extend(recipients(&[(State::Published, 97), (State::Refused, 53)]));
    deliveries
}

#[test]
fn the_final_confirmation_of_a_drill_says_so_and_that_all_is_out() {
    let report = report(
        Mode::Drill,
        vec![
            delivery("mastodon", "mastodon", State::Published),
            delivery("bluesky", "bluesky", State::Published),
        ],
    );
    let mail = compose(&report, Purpose::ConfirmFinal, 3);
    assert!(
        mail.headline
            .starts_with("ÖVNING: Bekräftelse ovning-2026-0007.1: alla 2 konton")
    );
    insta::assert_snapshot!("confirm_drill_text", shown(&mail));
    insta::assert_snapshot!("confirm_drill_html", mail.html.unwrap());
}

#[test]
fn the_interim_confirmation_puts_what_needs_a_person_first() {
    let report = report(Mode::Live, all_sorts());
    let mail = compose(&report, Purpose::ConfirmInterim, 600);
    insta::assert_snapshot!("confirm_interim_text", shown(&mail));
    insta::assert_snapshot!("confirm_interim_html", mail.html.unwrap());
}

/// An account that had not answered for ten minutes, and who is asked to do what then.
fn before(account: &str, takes_over: Option<&str>, by_hand: Option<&str>) -> UnreachableBefore {
    UnreachableBefore {
        account: account.parse().unwrap(),
        since: at(-600),
        seen_at: at(-30),
        reason: Reason::new(
            "credential",
            "Tjänsten tar inte emot vår inloggning: http-401 (the token was revoked).",
        ),
        takes_over: takes_over.map(|id| id.parse().unwrap()),
        by_hand: by_hand.map(|id| id.parse().unwrap()),
    }
}

#[test]
fn a_hand_over_of_an_account_that_had_not_answered_comes_with_text_and_command_while_it_is_tried() {
    let mut report = report(
        Mode::Live,
        vec![
            delivery("bluesky", "bluesky", State::Sending),
            delivery("mastodon", "mastodon", State::Queued),
            delivery("sms", "sms-46elks", State::Published),
            delivery("webben", "http-json", State::Published),
        ],
    );
    report.deliveries[2].stands_in_for = vec!["bluesky".parse().unwrap()];
    report.unreachable_before = vec![
        before("bluesky", Some("sms"), None),
        before("mastodon", None, Some("mastodon")),
    ];
    let mail = compose(&report, Purpose::ConfirmInterim, 1);
    insta::assert_snapshot!("confirm_hand_over_text", shown(&mail));
    let html = mail.html.unwrap();
    assert!(html.contains("Kontot fungerade inte före utskicket"), "{html}");
    assert!(confirm::before::hands_over(&report, at(1)));
}

#[test]
fn what_a_person_was_asked_to_do_and_need_not_any_more_is_said_with_the_account_that_got_out() {
    let mut report = report(
        Mode::Live,
        vec![delivery("mastodon", "mastodon", State::Published)],
    );
    let mut board = with_error(
        delivery("nattvaktens-tavla", "manual", State::Cancelled),
        Proof::Unproven,
        NOT_NEEDED,
        "mastodon needs nobody any more to publish it here instead",
    );
    board.stands_in_for = vec!["mastodon".parse().unwrap()];
    report.stand_ins = vec![board];
    let name = Some("nattvaktens-tavla");
    report.unreachable_before = vec![before("mastodon", name, name)];
    assert!(!confirm::before::hands_over(&report, at(1)));
    let withdrawn = compose(&report, Purpose::ConfirmFinal, 60);
    // The person had been faster, and reports it.
    let board = report.stand_ins.remove(0);
    report.deliveries.push(DeliveryReport {
        state: State::Published,
        error: None,
        ..board
    });
    let both = compose(&report, Purpose::ConfirmClosing, 90);
    let both = shown(&both);
    assert!(
        both.contains("nattvaktens-tavla tog över genast, och båda är ute."),
        "{both}"
    );
    insta::assert_snapshot!("confirm_withdrawn_text", shown(&withdrawn));
}

#[test]
fn the_closing_confirmation_says_that_nothing_is_left() {
    let mut report = report(
        Mode::Live,
        vec![
            delivery("mastodon", "mastodon", State::Published),
            delivery("nattvaktens-tavla", "manual", State::Published),
        ],
    );
    let mut gone = delivery("mastodon", "mastodon", State::Published);
    gone.purpose = Purpose::Retract;
    gone.url = None;
    report.retractions.push(gone);
    let mail = compose(&report, Purpose::ConfirmClosing, 900);
    insta::assert_snapshot!("confirm_closing_text", shown(&mail));
}

#[test]
fn every_number_of_accounts_is_told_in_good_swedish() {
    let cases: &[&[State]] = &[
        &[State::Published],
        &[State::Refused],
        &[State::Superseded],
        &[State::Refused, State::Expired],
        &[State::Published, State::Refused, State::Manual],
        &[State::Published, State::Published, State::Queued],
        &[State::Published, State::Superseded],
        &[State::Cancelled, State::Unknown, State::Sending],
    ];
    let mut told = Vec::new();
    for states in cases {
        let deliveries = states
            .iter()
            .enumerate()
            .map(|(n, state)| delivery(&format!("konto-{n}"), "mastodon", *state))
            .collect();
        let mail = compose(&report(Mode::Live, deliveries), Purpose::ConfirmFinal, 65);
        told.push(format!(
            "{}\n  {}",
            mail.headline,
            mail.text.lines().next().unwrap()
        ));
    }
    insta::assert_snapshot!("confirm_numbers", told.join("\n"));
}

#[test]
fn a_confirmation_ends_with_sender_and_link_and_escapes_what_services_say() {
    let mut deliveries = all_sorts();
    deliveries[0].url = Some("javascript:alert(1)".to_owned());
    deliveries[1].error = Some(Reason::new("http-500", "<script>alert('å')</script>{{ 7*7 }}"));
    let mail = compose(&report(Mode::Live, deliveries), Purpose::ConfirmInterim, 600);
    assert!(
        mail.text
            .ends_with("\n\nNässjö kommun\nhttps://nassjo.se/kris/dricksvatten")
    );
    assert_eq!(mail.count, mail.text.chars().count());
    assert_eq!(mail.limit, None);
    let html = mail.html.unwrap();
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
    assert!(!html.contains("href=\"javascript"));
    assert!(html.contains("{{ 7*7 }}"));
}

#[test]
fn at_most_fifty_recipients_are_named_and_never_in_full() {
    let deliveries = recipients(&[(State::Published, 3), (State::Refused, 120)]);
    let mail = compose(&report(Mode::Live, deliveries), Purpose::ConfirmFinal, 9);
    assert_eq!(mail.text.matches("Inte nådd:").count(), 50);
    assert!(mail.text.contains("och 70 till"));
    assert!(mail.text.contains("3 av 123 mottagare"));
}
