//! What a monitor reads: alive, ready, numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Shared;
use super::problem::Problem;

/// `/healthz`, `/readyz`, `/metrics`.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(super::problem::method_not_allowed)
        .with_state(shared)
}

/// 200 as long as the process works; 503, naming the part that failed, when it is about to end.
async fn healthz(State(shared): State<Shared>) -> Response {
    match shared.app.ill() {
        None => "ok\n".into_response(),
        Some(part) => not_well("not-healthy", part),
    }
}

/// 200 if a command would be taken now; 503, naming the part that is in the way, otherwise.
async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.app.unready().await {
        None => "ready\n".into_response(),
        Some(part) => not_well("not-ready", part),
    }
}

fn not_well(kind: &str, (part, detail): (&str, String)) -> Response {
    Problem {
        part: Some(part.into()),
        ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail)
    }
    .into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    shared.app.measure().await;
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        shared.metrics.render(),
    )
        .into_response()
}
