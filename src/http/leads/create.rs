//! A lead typed in by hand.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use sira_domain::idempotency::{self, Begun};
use sira_domain::identity::User;
use sira_domain::leads::{self, Arrival, LeadError, NewLead};
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::CreateLead;
use crate::http::auth::Caller;
use crate::http::extract::{ApiJson, IdempotencyKey, OriginalPath};
use crate::http::idempotent::{self, Kept};
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// What became of a lead that was typed in. Free of personal data: it is kept for repeats.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadArrived {
    id: Uuid,
    /// `created`, `joined` (an open lead of the same person) or `reopened`.
    effect: String,
}

/// Takes in a lead that somebody typed. The phone number decides whether it is a new one: a known person's lead is
/// joined, or reopened. Repeat with the same `Idempotency-Key` as often as needed.
#[utoipa::path(post, path = "/leads", operation_id = "create_lead", tag = "leads", request_body = CreateLead,
    params(("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "A new lead", body = LeadArrived, headers(("Location" = String, description = "The lead"))),
    (status = 200, description = "The lead of a known person", body = LeadArrived, headers(("Location" = String, description = "The lead"))),
    (status = 400, description = "The body is not JSON, or there is no Idempotency-Key", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The same request is in flight", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are wrong, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_lead(
    State(app): State<App>,
    Caller(user): Caller,
    OriginalPath(path): OriginalPath,
    IdempotencyKey(key): IdempotencyKey,
    body: ApiJson<CreateLead>,
) -> Result<Response, ApiError> {
    let (request, kept) = idempotent::look_up(&app, &user, &path, key, &body.raw).await?;
    if let Some(Kept { status, body }) = kept {
        return answer(&path, status, body).map(idempotent::mark_replayed);
    }
    let lead = body.value.parse(&app.cx.settings.phone_region, app.cx.clock.now())?;
    // The look-up of one try may be overtaken by another request with the same contacts; then it is made again.
    for _ in 0..leads::RACES_MAX {
        match store(&app, &user, &request, &lead).await {
            Err(Failed::Raced) => {}
            Err(Failed::Api(error)) => return Err(error),
            Ok((Begun::Replay { status, body }, _)) => {
                return answer(&path, status, body).map(idempotent::mark_replayed);
            }
            Ok((Begun::First, (status, body))) => return answer(&path, status, body),
        }
    }
    Err(LeadError::Raced.into())
}

/// Why one try ended.
enum Failed {
    Raced,
    Api(ApiError),
}

impl From<ApiError> for Failed {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// One try: the key, the lead and the answer in one transaction.
async fn store(
    app: &App,
    user: &User,
    request: &idempotency::Request,
    lead: &NewLead,
) -> Result<(Begun, (u16, serde_json::Value)), Failed> {
    let raced = |error: LeadError| match error {
        LeadError::Raced => Failed::Raced,
        other => Failed::Api(other.into()),
    };
    let prepared = leads::prepare(&app.cx.db, &app.cx.cipher, lead).await.map_err(raced)?;
    let mut uow = app.cx.begin(user.actor()).await.map_err(ApiError::from)?;
    let begun = idempotency::begin(&mut uow, request).await.map_err(ApiError::from)?;
    if begun != Begun::First {
        return Ok((begun, (0, serde_json::Value::Null)));
    }
    let arrival = leads::create_or_merge(&mut uow, lead, &prepared).await.map_err(raced)?;
    let (status, effect) = match arrival {
        Arrival::Created(_) => (StatusCode::CREATED, "created"),
        Arrival::Joined(_) => (StatusCode::OK, "joined"),
        Arrival::Reopened(_) => (StatusCode::OK, "reopened"),
    };
    let arrived = LeadArrived { id: arrival.lead().uuid(), effect: effect.to_owned() };
    let body = serde_json::to_value(arrived).map_err(ApiError::internal)?;
    idempotency::keep(&mut uow, request, status.as_u16(), &body).await.map_err(ApiError::from)?;
    uow.commit().await.map_err(ApiError::from)?;
    Ok((begun, (status.as_u16(), body)))
}

fn answer(path: &str, status: u16, body: serde_json::Value) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(status).map_err(ApiError::internal)?;
    let id = body["id"].as_str().unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{path}/{id}")).map_err(ApiError::internal)?;
    Ok((status, [(header::LOCATION, location)], Json(body)).into_response())
}
