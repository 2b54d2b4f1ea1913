//! The API on the Unix socket. Each handler is one call of [`App`].

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{
    ConnectInfo, DefaultBodyLimit, Extension, FromRequestParts, Path, Query, Request, State,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::problem::Problem;
use super::{Peer, Shared, events};
use crate::app::drills::DrillRequest;
use crate::app::request::{ActionRequest, ReloadRequest, RetractRequest, SendRequest, SwitchRequest};
use crate::model::{AccountId, Actor, AlertId, BroadcastId, DeliveryId};

mod register;

/// Longest request body, in bytes: a message with all its fields is far below.
const BODY_CAP: usize = 256 * 1024;
/// The same for a message that may bring a picture: the largest file in base64, and the message.
const PICTURED_CAP: usize = crate::compose::picture::MAX_FILE / 3 * 4 + BODY_CAP;
/// Longest idempotency key, in characters.
const KEY_CAP: usize = 200;
/// Most journal records in one answer.
const JOURNAL_PAGE: usize = 1000;

/// Observations in one answer, if the caller does not say.
const OBSERVATIONS: usize = 100;

type Answer<T> = Result<Json<T>, Problem>;

/// Every route of the API.
pub fn router(shared: Shared) -> Router {
    let pictured = DefaultBodyLimit::max(PICTURED_CAP);
    Router::new()
        .route("/api/v1/broadcasts", post(send).get(broadcasts).layer(pictured))
        .route("/api/v1/broadcasts/{id}", get(report))
        .route("/api/v1/broadcasts/{id}/events", get(events::stream))
        .route("/api/v1/broadcasts/{id}/actions", post(act))
        .route("/api/v1/broadcasts/{id}/retract", post(retract))
        .route("/api/v1/alerts/{id}", get(alert))
        .route("/api/v1/alerts/{id}/correction", get(correcting))
        .route("/api/v1/deliveries/{id}", get(delivery))
        .route("/api/v1/pictures/{sha256}", get(picture))
        .route("/api/v1/previews", post(preview).layer(pictured))
        .route("/api/v1/accounts", get(accounts))
        .route("/api/v1/accounts/{id}/disable", post(disable))
        .route("/api/v1/accounts/{id}/enable", post(enable))
        .route("/api/v1/channels", get(channels))
        .route("/api/v1/accounts/{id}/observations", get(observations))
        .route("/api/v1/go", get(go))
        .route("/api/v1/verifications", post(verify))
        .route("/api/v1/renewals", post(renew))
        .route("/api/v1/recipients/suppressed", get(suppressed))
        .route("/api/v1/recipients/suppress", post(suppress))
        .route("/api/v1/recipients/restore", post(restore))
        .route("/api/v1/register", get(register::show))
        .route("/api/v1/register/publications", post(register::publish))
        .route("/api/v1/register/checks", post(register::check))
        .route("/api/v1/register/report", get(register::report))
        .route("/api/v1/attestations", get(register::attestations))
        .route("/api/v1/attestations", post(register::attest))
        .route("/api/v1/attestations/revoke", post(register::revoke))
        .route("/api/v1/applications", get(register::applications))
        .route("/api/v1/applications", post(register::apply))
        .route("/api/v1/applications/{id}/decision", post(register::decide))
        .route("/api/v1/closings/{account}", get(register::closing))
        .route("/api/v1/closings/{account}", post(register::sign))
        .route("/api/v1/drills", get(drills))
        .route("/api/v1/drills/{id}/runs", post(begin_drill))
        .route("/api/v1/drill-runs", get(drill_runs))
        .route("/api/v1/drill-runs/{id}", get(drill_run))
        .route("/api/v1/drill-runs/{id}/page", get(drill_page))
        .route("/api/v1/journal", get(journal))
        .route("/api/v1/journal/verification", get(verify_journal))
        .route("/api/v1/status", get(status))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/backup", post(backup))
        .route("/api/v1/openapi.json", get(openapi))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such address") })
        .method_not_allowed_fallback(super::problem::method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), authenticate))
        .layer(DefaultBodyLimit::max(BODY_CAP))
        .with_state(shared)
}

/// Lets in root, the daemon's own user, and those that `daemon.allow_uids` names; by what the kernel says of the peer.
async fn authenticate(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(uid) = peer.uid.filter(|uid| shared.app.admits(*uid)) else {
        tracing::warn!(uid = peer.uid, "a user who is not allowed came to the socket");
        return Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "this user may not command the daemon; add its uid to daemon.allow_uids in config.toml",
        )
        .into_response();
    };
    let name = user_name(uid);
    request
        .extensions_mut()
        .insert(Actor::local(uid, name.as_deref()));
    next.run(request).await
}

/// The name of a uid in `/etc/passwd`; directory services are not asked, since they may be down in a crisis.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(body)| body)
        .map_err(|rejection| Problem::new(rejection.status(), "bad-request", rejection.body_text()))
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(query)| query)
        .map_err(|rejection| Problem::new(rejection.status(), "bad-request", rejection.body_text()))
}

/// The last variable part of a path, as text.
#[derive(Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(text)| Self(text))
            .map_err(|rejection| Problem::new(rejection.status(), "bad-request", rejection.body_text()))
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-request", format!("{error}")))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.chars().count() <= KEY_CAP)
        .map(|key| Some(key.to_owned()))
        .ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-request",
                "Idempotency-Key: 1 to 200 visible ASCII characters",
            )
        })
}

async fn send(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    request: Result<Json<SendRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let sent = shared.app.send(body(request)?, actor, key).await?;
    let location = format!("/api/v1/broadcasts/{}", sent.broadcast);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sent)).into_response())
}

async fn preview(
    State(shared): State<Shared>,
    request: Result<Json<SendRequest>, JsonRejection>,
) -> Answer<crate::app::request::Preview> {
    Ok(Json(shared.app.preview(&body(request)?).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<usize>,
}

async fn broadcasts(
    State(shared): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Vec<crate::model::BroadcastReport>> {
    let page = query(page)?;
    Ok(Json(shared.app.reports(page.limit.unwrap_or(20).min(200)).await?))
}

async fn suppressed(
    State(shared): State<Shared>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Vec<crate::app::request::SuppressedView>> {
    let limit = query(page)?.limit.unwrap_or(1000).min(10_000);
    Ok(Json(shared.app.suppressed(limit).await?))
}

async fn suppress(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<crate::app::request::SuppressRequest>, JsonRejection>,
) -> Answer<crate::app::request::Suppression> {
    Ok(Json(shared.app.suppress(body(request)?, actor).await?))
}

async fn restore(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<crate::app::request::SuppressRequest>, JsonRejection>,
) -> Answer<crate::app::request::Suppression> {
    Ok(Json(shared.app.restore(body(request)?, actor).await?))
}

async fn report(
    State(shared): State<Shared>,
    Segment(text): Segment,
) -> Answer<crate::model::BroadcastReport> {
    Ok(Json(shared.app.report(&id::<BroadcastId>(&text)?).await?))
}

async fn alert(
    State(shared): State<Shared>,
    Segment(text): Segment,
) -> Answer<Vec<crate::model::BroadcastReport>> {
    Ok(Json(shared.app.alert(&id::<AlertId>(&text)?).await?))
}

async fn correcting(
    State(shared): State<Shared>,
    Segment(text): Segment,
) -> Answer<crate::app::request::Correcting> {
    Ok(Json(shared.app.correcting(&id::<AlertId>(&text)?).await?))
}

async fn delivery(State(shared): State<Shared>, Segment(text): Segment) -> Answer<serde_json::Value> {
    Ok(Json(shared.app.delivery(&id::<DeliveryId>(&text)?).await?))
}

async fn picture(State(shared): State<Shared>, Segment(sha256): Segment) -> Result<Response, Problem> {
    let bytes = shared.app.picture(&sha256).await?;
    let kind = if bytes.starts_with(b"\x89PNG") {
        crate::model::picture::PNG
    } else {
        crate::model::picture::JPEG
    };
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

async fn act(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(text): Segment,
    request: Result<Json<ActionRequest>, JsonRejection>,
) -> Answer<crate::app::request::ActionResult> {
    Ok(Json(shared.app.act(&id(&text)?, body(request)?, actor).await?))
}

async fn retract(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(text): Segment,
    request: Result<Json<RetractRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    let result = shared.app.retract(&id(&text)?, body(request)?, actor).await?;
    Ok((StatusCode::ACCEPTED, Json(result)).into_response())
}

async fn accounts(State(shared): State<Shared>) -> Answer<Vec<crate::app::request::AccountView>> {
    Ok(Json(shared.app.accounts().await))
}

async fn disable(
    shared: State<Shared>,
    actor: Extension<Actor>,
    account: Segment,
    request: Result<Json<SwitchRequest>, JsonRejection>,
) -> Answer<crate::app::request::Switched> {
    switch(shared, actor, account, request, true).await
}

async fn enable(
    shared: State<Shared>,
    actor: Extension<Actor>,
    account: Segment,
    request: Result<Json<SwitchRequest>, JsonRejection>,
) -> Answer<crate::app::request::Switched> {
    switch(shared, actor, account, request, false).await
}

async fn switch(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(text): Segment,
    request: Result<Json<SwitchRequest>, JsonRejection>,
    off: bool,
) -> Answer<crate::app::request::Switched> {
    let account = id::<AccountId>(&text)?;
    let reason = body(request)?.reason;
    Ok(Json(shared.app.switch(&account, off, reason, actor).await?))
}

async fn renew(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<VerifyRequest>, JsonRejection>,
) -> Answer<Vec<crate::app::request::Renewed>> {
    let accounts = body(request)?.accounts;
    Ok(Json(
        shared.app.renew_due(&accounts, shared.app.now(), &actor).await?,
    ))
}

async fn channels() -> Json<Vec<crate::app::request::ChannelView>> {
    Json(crate::app::channels())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyRequest {
    #[serde(default)]
    accounts: Vec<AccountId>,
    /// The account that answers now is the right one, though it is another than before.
    #[serde(default)]
    accept: bool,
    /// Where the public cannot see, a message is published, read back and taken away.
    #[serde(default)]
    backstage: bool,
}

async fn verify(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<VerifyRequest>, JsonRejection>,
) -> Answer<Vec<crate::app::request::Verification>> {
    let asked: VerifyRequest = body(request)?;
    let answers = if asked.backstage {
        // Whoever asks may go away: what is made is taken away all the same. The end of the daemon waits for it.
        let app = std::sync::Arc::clone(&shared.app);
        let trial = tokio::spawn(async move { Box::pin(app.verify_backstage(&asked.accounts, actor)).await });
        match trial.await {
            Ok(answers) => answers?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(crate::app::AppError::Stopping.into()),
        }
    } else {
        shared.app.verify(&asked.accounts, asked.accept, actor).await?
    };
    Ok(Json(answers))
}

/// How many of something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<usize>,
}

async fn go(State(shared): State<Shared>) -> Answer<crate::verify::go::GoPage> {
    Ok(Json(shared.app.go().await?))
}

async fn observations(
    State(shared): State<Shared>,
    Segment(text): Segment,
    page: Result<Query<Limit>, QueryRejection>,
) -> Answer<Vec<crate::model::Seen>> {
    let limit = query(page)?.limit.unwrap_or(OBSERVATIONS).min(JOURNAL_PAGE);
    Ok(Json(shared.app.history(&id(&text)?, limit).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalPage {
    after: Option<i64>,
    limit: Option<usize>,
    broadcast: Option<BroadcastId>,
}

async fn journal(
    State(shared): State<Shared>,
    page: Result<Query<JournalPage>, QueryRejection>,
) -> Answer<Vec<crate::store::Record>> {
    let page = query(page)?;
    let limit = page.limit.unwrap_or(JOURNAL_PAGE).min(JOURNAL_PAGE);
    Ok(Json(
        shared
            .app
            .journal(page.after.unwrap_or(0), limit, page.broadcast.as_ref())
            .await?,
    ))
}

async fn verify_journal(State(shared): State<Shared>) -> Answer<crate::store::ChainReport> {
    Ok(Json(shared.app.verify_journal().await?))
}

async fn drills(State(shared): State<Shared>) -> Answer<Vec<crate::app::drills::DrillView>> {
    Ok(Json(shared.app.drills().await?))
}

async fn begin_drill(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(id): Segment,
    request: Result<Option<Json<DrillRequest>>, JsonRejection>,
) -> Result<Response, Problem> {
    let request = match request.transpose() {
        Some(request) => body(request)?,
        None => DrillRequest::default(),
    };
    let run = shared.app.begin_drill(&id, request, actor).await?;
    let location = format!("/api/v1/drill-runs/{}", run.run);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(run)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunsPage {
    drill: Option<String>,
    limit: Option<usize>,
}

async fn drill_runs(
    State(shared): State<Shared>,
    page: Result<Query<RunsPage>, QueryRejection>,
) -> Answer<Vec<crate::app::drills::RunView>> {
    let page = query(page)?;
    let limit = page.limit.unwrap_or(20).min(1000);
    Ok(Json(shared.app.drill_runs(page.drill.as_deref(), limit).await?))
}

async fn drill_run(
    State(shared): State<Shared>,
    Segment(id): Segment,
) -> Answer<crate::app::drills::RunView> {
    Ok(Json(shared.app.drill_run(&id).await?))
}

async fn drill_page(State(shared): State<Shared>, Segment(id): Segment) -> Result<Response, Problem> {
    let page = shared.app.drill_page(&id).await?;
    Ok(([(header::CONTENT_TYPE, super::notices::HTML)], page).into_response())
}

async fn status(State(shared): State<Shared>) -> Answer<crate::app::request::Status> {
    Ok(Json(shared.app.status().await?))
}

async fn reload(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Option<Json<ReloadRequest>>, JsonRejection>,
) -> Answer<serde_json::Value> {
    let request = match request.transpose() {
        Some(request) => body(request)?,
        None => ReloadRequest::default(),
    };
    let digest = shared.app.reload(actor, request).await?;
    Ok(Json(serde_json::json!({ "config_digest": digest })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupRequest {
    to: std::path::PathBuf,
}

async fn backup(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<BackupRequest>, JsonRejection>,
) -> Answer<serde_json::Value> {
    let files = shared.app.backup(&body(request)?.to, actor).await?;
    Ok(Json(serde_json::json!({ "files": files })))
}

async fn openapi() -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        include_str!("openapi.json"),
    )
        .into_response()
}
