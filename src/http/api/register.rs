//! The register's part of the API.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use serde::Deserialize;

use super::{Answer, Segment, Shared, body, id, query};
use crate::app::register::{
    AttestRequest, Closing, DecideRequest, Publication, PublishRequest, RegisterView, RevokeRequest,
    SignRequest,
};
use crate::model::{AccountId, Actor};
use crate::register::application::{Application, Filed};
use crate::register::attest::Attestation;
use crate::register::drift::Look;
use crate::register::report::Report;

pub(super) async fn show(State(shared): State<Shared>) -> Answer<RegisterView> {
    Ok(Json(shared.app.register().await?))
}

pub(super) async fn publish(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<PublishRequest>, JsonRejection>,
) -> Answer<Vec<Publication>> {
    Ok(Json(shared.app.publish_register(body(request)?, actor).await?))
}

pub(super) async fn check(State(shared): State<Shared>, Extension(actor): Extension<Actor>) -> Answer<Look> {
    Ok(Json(shared.app.check_register(actor).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfYear {
    year: i16,
}

pub(super) async fn report(
    State(shared): State<Shared>,
    of: Result<Query<OfYear>, QueryRejection>,
) -> Answer<Report> {
    Ok(Json(shared.app.yearly_report(query(of)?.year).await?))
}

pub(super) async fn attestations(State(shared): State<Shared>) -> Answer<Vec<Attestation>> {
    Ok(Json(shared.app.attestations().await?))
}

pub(super) async fn attest(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<AttestRequest>, JsonRejection>,
) -> Answer<Attestation> {
    Ok(Json(shared.app.attest(body(request)?, actor).await?))
}

pub(super) async fn revoke(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<RevokeRequest>, JsonRejection>,
) -> Answer<Attestation> {
    Ok(Json(shared.app.revoke_attestation(body(request)?, actor).await?))
}

pub(super) async fn applications(State(shared): State<Shared>) -> Answer<Vec<Filed>> {
    Ok(Json(shared.app.applications().await?))
}

pub(super) async fn apply(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    request: Result<Json<Application>, JsonRejection>,
) -> Answer<Filed> {
    Ok(Json(shared.app.apply(body(request)?, actor).await?))
}

pub(super) async fn decide(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(text): Segment,
    request: Result<Json<DecideRequest>, JsonRejection>,
) -> Answer<Filed> {
    let number: i64 = id(&text)?;
    Ok(Json(
        shared
            .app
            .decide_application(number, body(request)?, actor)
            .await?,
    ))
}

pub(super) async fn closing(State(shared): State<Shared>, Segment(text): Segment) -> Answer<Closing> {
    Ok(Json(shared.app.closing(&id::<AccountId>(&text)?).await?))
}

pub(super) async fn sign(
    State(shared): State<Shared>,
    Extension(actor): Extension<Actor>,
    Segment(text): Segment,
    request: Result<Json<SignRequest>, JsonRejection>,
) -> Answer<Closing> {
    let account = id::<AccountId>(&text)?;
    Ok(Json(
        shared.app.sign_closing(&account, body(request)?, actor).await?,
    ))
}
