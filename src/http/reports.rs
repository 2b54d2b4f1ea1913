//! The one place where the outside calls us: `/reports/<account>`, what services tell later of messages that they took, and
//! `/unsubscribe/<account>/<token>`, by which a reader leaves a mailing list. A proxy with TLS passes both on; we listen on
//! loopback only. Whoever calls without proof learns nothing from the answer.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Shared;
use crate::app::arrivals::Untaken;
use crate::channel::Call;
use crate::model::AccountId;

/// A form of three short fields.
const MAX_FORM: usize = 8 * 1024;
/// Meta puts up to a thousand reports of some hundred bytes into one call.
const MAX_JSON: usize = 1024 * 1024;
/// Fields of a query or a form that are looked at.
const MAX_FIELDS: usize = 32;
/// How long the caller may take to send them.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a mail program posts, and our own page too (RFC 8058): whoever only looks at a link leaves no list.
const ONE_CLICK: &[u8] = b"One-Click";

/// `/reports/<account>` and `/unsubscribe/<account>/<token>`, and nothing else.
pub fn router(shared: Shared) -> Router {
    Router::new()
        .route("/reports/{account}", get(report).post(report))
        .route("/unsubscribe/{account}/{token}", get(ask).post(leave))
        .with_state(shared)
}

async fn report(
    State(shared): State<Shared>,
    Path(account): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let most = if is_json { MAX_JSON } else { MAX_FORM };
    let Some(body) = read(body, most).await else {
        return answer(StatusCode::BAD_REQUEST);
    };
    let Ok(account) = account.parse::<AccountId>() else {
        return answer(StatusCode::FORBIDDEN);
    };
    let query = fields(query.unwrap_or_default().as_bytes());
    let form = if is_json { Vec::new() } else { fields(&body) };
    let call = Call {
        asks: method != Method::POST,
        query: &query,
        form: &form,
        body: &body,
        signature: text("x-hub-signature-256"),
    };
    match shared.app.heard(&account, &call).await {
        Ok(echo) => {
            counted("taken");
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::OK, plain, echo.unwrap_or_default()).into_response()
        }
        Err(untaken) => not_taken(&account, &untaken),
    }
}

/// Shows who opens the link a button, and changes nothing: programs open links too.
async fn ask(State(shared): State<Shared>, Path((account, token)): Path<(String, String)>) -> Response {
    let Ok(account) = account.parse::<AccountId>() else {
        return answer(StatusCode::FORBIDDEN);
    };
    match shared.app.may_leave(&account, &token) {
        Ok(()) => said(
            "Vill du sluta få de här mejlen?",
            "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
             <button>Ja, avsluta</button></form>",
        ),
        Err(reason) => not_taken(&account, &Untaken::Refused(reason)),
    }
}

async fn leave(
    State(shared): State<Shared>,
    Path((account, token)): Path<(String, String)>,
    body: Body,
) -> Response {
    let Some(body) = read(body, MAX_FORM).await else {
        return answer(StatusCode::BAD_REQUEST);
    };
    if !body.windows(ONE_CLICK.len()).any(|part| part == ONE_CLICK) {
        return answer(StatusCode::BAD_REQUEST);
    }
    let Ok(account) = account.parse::<AccountId>() else {
        return answer(StatusCode::FORBIDDEN);
    };
    match shared.app.leave(&account, &token).await {
        Ok(()) => {
            counted("unsubscribed");
            said("Du får inga fler mejl härifrån.", "")
        }
        Err(untaken) => not_taken(&account, &untaken),
    }
}

async fn read(body: Body, most: usize) -> Option<axum::body::Bytes> {
    let read = tokio::time::timeout(PATIENCE, to_bytes(body, most)).await;
    read.ok()?.ok()
}

fn not_taken(account: &AccountId, untaken: &Untaken) -> Response {
    match untaken {
        Untaken::Refused(reason) => {
            // Anybody may call: it must not fill the log.
            counted("refused");
            tracing::debug!(%reason, "a call from outside was not taken");
            answer(StatusCode::FORBIDDEN)
        }
        Untaken::Store(error) => {
            counted("not-kept");
            tracing::error!(account.id = %account, %error, "what was told from outside was not kept");
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

/// A page for a reader. Holds nothing that came from outside.
fn said(words: &str, more: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"sv\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>{words}</title>\
         <h1>{words}</h1>{more}</html>\n"
    );
    let quiet = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (StatusCode::OK, quiet, Html(page)).into_response()
}

/// Plain text and short: 46elks sends the answer of some hooks on to people.
fn answer(status: StatusCode) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "").into_response()
}
