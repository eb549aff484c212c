//! Requests that may be repeated: the first one's answer is kept with its effect, and given again.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use sira_domain::Uow;
use sira_domain::idempotency::{self, Begun, Request};
use sira_domain::identity::User;

use super::problem::ApiError;
use super::state::App;

/// Says that an answer was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer that was kept.
pub struct Kept {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Kept {
    /// The same answer again.
    pub fn answer(self) -> Result<Response, ApiError> {
        let status = StatusCode::from_u16(self.status).map_err(ApiError::internal)?;
        Ok(mark_replayed((status, Json(self.body)).into_response()))
    }
}

/// Says that an answer was given before.
pub fn mark_replayed(mut response: Response) -> Response {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Under which key this request is repeated, and the answer that is kept already.
pub async fn look_up(
    app: &App,
    user: &User,
    path: &str,
    key: String,
    raw: &[u8],
) -> Result<(Request, Option<Kept>), ApiError> {
    let (principal, route) = (format!("user:{}", user.id), format!("POST {path}"));
    let request = Request::new(&app.cx.cipher, principal, route, key, raw);
    let mut conn = app.cx.db.read().await?;
    let kept = kept(idempotency::find(&mut conn, &request).await?);
    Ok((request, kept))
}

/// Takes the key in the unit of work of the effect, before any other write; the kept answer when somebody was faster.
pub async fn begin(uow: &mut Uow, request: &Request) -> Result<Option<Kept>, ApiError> {
    Ok(kept(idempotency::begin(uow, request).await?))
}

fn kept(begun: Begun) -> Option<Kept> {
    match begun {
        Begun::First => None,
        Begun::Replay { status, body } => Some(Kept { status, body }),
    }
}

/// Keeps the answer, free of personal data, commits, and answers.
pub async fn finish<T: Serialize>(
    mut uow: Uow,
    request: &Request,
    status: StatusCode,
    body: &T,
) -> Result<Response, ApiError> {
    let body = serde_json::to_value(body).map_err(ApiError::internal)?;
    idempotency::keep(&mut uow, request, status.as_u16(), &body).await?;
    uow.commit().await?;
    Ok((status, Json(body)).into_response())
}
