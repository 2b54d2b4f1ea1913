//! When the crisis organisation is told while a broadcast is open: of a hand-over at once, and how it stands after a while.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use vardkase::app::request::SendRequest;
use vardkase::model::{Actor, Mode, Purpose};
use vardkase::wall::How;

use crate::backstage::tried;
use crate::support::{Account, CRISIS};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_it_stands_after_a_while_is_told_once_although_a_hand_over_was_told_at_once() {
    let (world, app, clock) = Box::pin(tried(
        vec![Account::new("mastodon", "mastodon")],
        "",
        "2026-12-02T12:00:00Z",
    ))
    .await;
    let down = How::Answer {
        status: 503,
        headers: Vec::new(),
        body: None,
    };
    world.fault("mastodon", down, 0);
    for _ in 0..2 {
        app.verify(&[], false, Actor::daemon()).await.unwrap();
        clock.advance(jiff::SignedDuration::from_mins(1));
    }
    let request = SendRequest {
        message: "koka-vattnet".parse().unwrap(),
        fields: [("omrade".to_owned(), "Forserum".to_owned())].into(),
        to: vec!["mastodon".to_owned()],
        mode: Some(Mode::Live),
        languages: Vec::new(),
        alert: None,
        kind: None,
        picture: None,
        overrides: std::collections::BTreeMap::new(),
    };
    let sent = Box::pin(app.send(request, Actor::daemon(), None)).await.unwrap();
    let broadcast = sent.broadcast;
    // One look at everything that is open, as after each change.
    let stop = CancellationToken::new();
    stop.cancel();
    let look = async || {
        std::sync::Arc::clone(&app)
            .watch_confirmations(stop.clone())
            .await;
    };
    let told = async || -> (usize, usize) {
        let report = app.report(&broadcast).await.unwrap();
        let of = |part| {
            report
                .confirmations
                .iter()
                .filter(|mail| mail.purpose == part)
                .count()
        };
        (of(Purpose::ConfirmHandOver), of(Purpose::ConfirmInterim))
    };
    look().await;
    look().await;
    assert_eq!(told().await, (CRISIS.len(), 0));
    let after = app.config().confirmation.after;
    clock.advance(jiff::SignedDuration::try_from(after).unwrap());
    look().await;
    assert_eq!(told().await, (CRISIS.len(), CRISIS.len()));
    // Whatever changes afterwards.
    clock.advance(jiff::SignedDuration::from_mins(1));
    look().await;
    assert_eq!(told().await, (CRISIS.len(), CRISIS.len()));
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let stands = |mail: &vardkase::wall::Posted| {
            let subject = mail.subject.as_deref().unwrap_or_default();
            subject.starts_with("Lägesbild")
        };
        let got = world.confirmations().iter().filter(|mail| stands(mail)).count();
        if got == 2 * CRISIS.len() {
            break;
        }
        assert!(Instant::now() < end, "{:#?}", world.confirmations());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.store().close().await;
}
