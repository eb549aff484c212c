//! Requests that may be repeated: the first one's answer is kept with its effect, and given again.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request as HttpRequest};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sira_domain::Uow;
use sira_domain::idempotency::{self, Begun, Request};
use sira_domain::identity::User;

use super::auth::Caller;
use super::extract::{ApiJson, IdempotencyKey, OriginalPath};
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

/// A JSON request of somebody signed in that may be repeated. A repetition does not reach the handler: it gets the first
/// answer again.
pub struct Once<T> {
    /// Who asks.
    pub user: User,
    /// What is asked for.
    pub body: T,
    request: Request,
}

impl<T: DeserializeOwned + Send> FromRequest<App> for Once<T> {
    /// The answer that is kept, or a problem.
    type Rejection = Response;
    async fn from_request(request: HttpRequest, app: &App) -> Result<Self, Response> {
        match Self::read(request, app).await {
            Ok((once, None)) => Ok(once),
            Ok((_, Some(kept))) => Err(kept.answer().into_response()),
            Err(error) => Err(error.into_response()),
        }
    }
}

impl<T: DeserializeOwned + Send> Once<T> {
    async fn read(request: HttpRequest, app: &App) -> Result<(Self, Option<Kept>), ApiError> {
        let (mut parts, body) = request.into_parts();
        let Caller(user) = Caller::from_request_parts(&mut parts, app).await?;
        let OriginalPath(path) = OriginalPath::from_request_parts(&mut parts, app).await?;
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(&mut parts, app).await?;
        let body = ApiJson::<T>::from_request(HttpRequest::from_parts(parts, body), app).await?;
        let (request, kept) = look_up(app, &user, &path, key, &body.raw).await?;
        Ok((Self { user, body: body.value, request }, kept))
    }
}

impl<T> Once<T> {
    /// The effect and its answer, which is free of personal data, in one unit of work. When an equal request was faster,
    /// its answer.
    pub async fn run<A: Serialize>(
        &self,
        app: &App,
        status: StatusCode,
        effect: impl AsyncFnOnce(&mut Uow) -> Result<A, ApiError>,
    ) -> Result<Response, ApiError> {
        let mut uow = app.cx.begin(self.user.actor()).await?;
        if let Some(kept) = begin(&mut uow, &self.request).await? {
            return kept.answer();
        }
        let answer = effect(&mut uow).await?;
        let body = serde_json::to_value(answer).map_err(ApiError::internal)?;
        idempotency::keep(&mut uow, &self.request, status.as_u16(), &body).await?;
        uow.commit().await?;
        Ok((status, Json(body)).into_response())
    }
}
