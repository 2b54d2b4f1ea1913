//! What a monitor reads: alive, ready, numbers.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Shared;

/// `/healthz`, `/readyz`, `/metrics`.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(super::problem::method_not_allowed)
        .with_state(shared)
}

/// 200 as long as the process serves requests.
async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 if the writer takes a command now, 503 with the reason otherwise.
async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.app.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    shared.app.measure().await;
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        shared.metrics.render(),
    )
        .into_response()
}
