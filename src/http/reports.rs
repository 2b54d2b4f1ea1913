//! `POST /reports/<account>`: what services tell later of messages that they took. The one place where the outside calls
//! us. A proxy with TLS passes it on; we listen on loopback only. Whoever calls learns nothing from the answer.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::Shared;
use crate::app::arrivals::Untaken;
use crate::model::AccountId;

/// A report is three short fields.
const MAX_BODY: usize = 8 * 1024;
/// Fields of a query or a form that are looked at.
const MAX_FIELDS: usize = 32;
/// How long the caller may take to send them.
const PATIENCE: Duration = Duration::from_secs(5);

/// `/reports/<account>` and nothing else.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/reports/{account}", post(report))
        .with_state(shared)
}

async fn report(
    State(shared): State<Shared>,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let Ok(Ok(body)) = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BODY)).await else {
        return answer(StatusCode::BAD_REQUEST);
    };
    let Ok(account) = account.parse::<AccountId>() else {
        return answer(StatusCode::FORBIDDEN);
    };
    let (query, form) = (fields(query.unwrap_or_default().as_bytes()), fields(&body));
    match shared.app.arrived(&account, &query, &form).await {
        Ok(()) => {
            counted("taken");
            answer(StatusCode::OK)
        }
        Err(Untaken::Refused(reason)) => {
            // Anybody may call: it must not fill the log.
            counted("refused");
            tracing::debug!(%reason, "a delivery report was not taken");
            answer(StatusCode::FORBIDDEN)
        }
        Err(Untaken::Store(error)) => {
            counted("not-kept");
            tracing::error!(account.id = %account, %error, "a delivery report was not kept");
            answer(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

fn counted(result: &'static str) {
    metrics::counter!("vardkase_delivery_reports_total", "result" => result).increment(1);
}

fn fields(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text)
        .into_owned()
        .take(MAX_FIELDS)
        .collect()
}

/// Plain text and short: 46elks sends the answer of some hooks on to people.
fn answer(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "").into_response()
}
