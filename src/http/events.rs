//! A broadcast as it lands: server-sent events.
//!
//! The first event is the whole report; each further one is the report again after something changed. Sending the state
//! and not the change means that a listener that fell behind, or came back, has missed nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::api::Segment;
use super::problem::Problem;
use crate::model::BroadcastId;

/// `GET /api/v1/broadcasts/{id}/events`: event `report` with the report as JSON; ends when the broadcast has finished.
pub async fn stream(
    State(shared): State<Shared>,
    Segment(text): Segment,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let id: BroadcastId = text
        .parse()
        .map_err(|e| Problem::new(axum::http::StatusCode::BAD_REQUEST, "bad-request", format!("{e}")))?;
    // Subscribe before reading, so that nothing falls between.
    let changes = shared.app.subscribe();
    shared.app.report(&id).await?;
    let events = futures::stream::unfold(
        (shared, id, changes, true),
        |(shared, id, mut changes, first)| async move {
            if !first && !next_change(&shared, &id, &mut changes).await {
                return None;
            }
            let report = shared.app.brief_report(&id).await.ok()?;
            let done = report.finished_at.is_some();
            let event = Event::default().event("report").json_data(&report).ok()?;
            if done {
                // The stream ends after this event: a channel that is closed ends the next turn.
                let (_, closed) = tokio::sync::broadcast::channel(1);
                return Some((Ok(event), (shared, id, closed, false)));
            }
            Some((Ok(event), (shared, id, changes, false)))
        },
    );
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Waits for a change of the broadcast; gathers what comes at once. `false` when there will be none.
async fn next_change(
    shared: &Shared,
    id: &BroadcastId,
    changes: &mut tokio::sync::broadcast::Receiver<crate::store::Changed>,
) -> bool {
    loop {
        let change = tokio::select! {
            () = shared.stop.cancelled() => return false,
            change = changes.recv() => change,
        };
        match change {
            Ok(change) if change.broadcast == *id => break,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => break,
            Err(RecvError::Closed) => return false,
        }
    }
    while changes.try_recv().is_ok() {}
    true
}
