//! Errors as RFC 9457 problem documents.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::app::AppError;
use crate::check::Finding;
use crate::store::StoreError;

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind: `urn:vardkase:bad-request`, `…:checks`, `…:config`, `…:conflict`, `…:forbidden`, `…:key-reused`,
    /// `…:method`, `…:not-found`, `…:not-healthy`, `…:not-ready`, `…:stopping`, `…:unavailable`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
    /// Of the daemon's health: which part is not well (`daemon`, `database`, `dispatch`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Box<str>>,
    /// What the checks found, if they stopped the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:vardkase:{kind}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            part: None,
            findings: Vec::new(),
        }
    }
}

/// The answer to a method that an address does not have.
pub async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this address does not take this method; /api/v1/openapi.json tells which it takes",
    )
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json; charset=utf-8"),
        );
        response
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let detail = error.to_string();
        match error {
            AppError::Stopped(findings) => Self {
                findings,
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "checks", detail)
            },
            AppError::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, "bad-request", detail),
            AppError::Config(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "config", detail),
            AppError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail),
            AppError::Store(StoreError::NotFound(_)) => Self::new(StatusCode::NOT_FOUND, "not-found", detail),
            AppError::Store(StoreError::KeyReused(_)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail)
            }
            AppError::Conflict(_)
            | AppError::Store(
                StoreError::Moved { .. }
                | StoreError::Transition(_)
                | StoreError::Outcome { .. }
                | StoreError::Conflict(_),
            ) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            AppError::Store(
                StoreError::Engine(_) | StoreError::Migration(_) | StoreError::Fenced(_) | StoreError::Closed,
            ) => {
                tracing::error!(error = detail, "a request failed at the store");
                Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "unavailable",
                    format!("Databasen kan inte skriva just nu; inget har skickats. {detail}"),
                )
            }
        }
    }
}
