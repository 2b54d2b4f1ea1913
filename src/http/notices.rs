//! `/ovningar` and `/ovningar.json`: what the public is told of drills that are to come. Read only, and made of nothing but
//! the configuration and the time.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::Shared;

/// What a page of ours is.
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The two addresses, and nothing else.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/ovningar", get(page))
        .route("/ovningar.json", get(list))
        .with_state(shared)
}

async fn page(State(shared): State<Shared>) -> Response {
    match shared.app.announcement() {
        Ok(page) => ([(header::CONTENT_TYPE, HTML)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the announcement of drills could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The times and the texts; which drill it is, and what it does, is nobody's business outside.
async fn list(State(shared): State<Shared>) -> Json<serde_json::Value> {
    let all: Vec<_> = shared
        .app
        .announced()
        .into_iter()
        .map(|notice| json!({ "at": notice.at, "text": notice.text }))
        .collect();
    Json(json!(all))
}
