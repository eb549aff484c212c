//! Errors as RFC 9457 problem documents.
//!
//! A handler answers [`ApiError`]; it travels as an extension of an empty response up to the outermost layer,
//! which knows the request's language and trace, writes the document and logs the internal cause once.
//!
//! **Invariant:** what a client reads comes from the catalogue and from names in its own request; the internal
//! cause is never in the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use sira_domain::idempotency::IdempotencyError;
use sira_engine::{EngineError, JobError};
use utoipa::ToSchema;

use super::catalogue::{Code, Language, Text};
use super::message::Message;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// When to come back after the database was not there or rolled back.
const DATABASE_RETRY: Duration = Duration::from_secs(1);

/// A failed request.
#[derive(Debug, Clone)]
pub struct ApiError(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    errors: Vec<FieldError>,
    retry_after_seconds: Option<u64>,
    headers: HeaderMap,
    /// For the log; free of personal data.
    cause: Option<String>,
}

/// What is wrong with one part of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a JSON Pointer into the body, or the name of a query parameter or header.
    pub place: Place,
    /// Stable.
    pub code: &'static str,
    /// For a person.
    pub detail: Text,
    /// What may stand there, when that is a closed list.
    pub allowed: Vec<String>,
}

/// Where in a request something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// RFC 6901 into the body.
    Body(String),
    /// A query parameter.
    Query(String),
    /// A header.
    Header(&'static str),
}

/// An answer about a failed request (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A page about this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not_found")]
    type_: String,
    /// What it is, in the language asked for.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// Stable; switch on this.
    #[schema(example = "not_found")]
    code: &'static str,
    /// What to do, in the language asked for.
    detail: &'static str,
    /// What is wrong where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemPart>,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// Seconds to wait before.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// Fit for a toast, in both languages.
    message: Message,
    /// Names this request in the logs.
    trace_id: String,
}

/// What is wrong with one part of the request. One of `pointer`, `parameter` and `header` says where.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemPart {
    /// JSON Pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// A header.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'static str>,
    /// Stable.
    code: &'static str,
    /// For a person.
    detail: &'static str,
    /// What may stand there, when that is a closed list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed: Vec<String>,
}

impl ApiError {
    /// A problem of this kind.
    pub fn new(code: Code) -> Self {
        Self(Arc::new(Inner {
            code,
            errors: Vec::new(),
            retry_after_seconds: None,
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// One of [`Code::Internal`], with its cause for the log. The cause holds no personal data.
    #[expect(clippy::needless_pass_by_value, reason = "errors go in whole, as from map_err")]
    pub fn internal(cause: impl ToString) -> Self {
        Self::new(Code::Internal).change(|inner| inner.cause = Some(cause.to_string()))
    }

    /// Adds what is wrong where.
    #[must_use]
    pub fn with(self, error: FieldError) -> Self {
        self.change(|inner| inner.errors.push(error))
    }

    /// Refuses a body in which something is wrong: all of it at once.
    pub fn check(wrong: Vec<FieldError>) -> Result<(), Self> {
        if wrong.is_empty() {
            return Ok(());
        }
        Err(wrong.into_iter().fold(Self::new(Code::InvalidBody), Self::with))
    }

    /// For a body that has the field at `from` as `to`.
    #[must_use]
    pub fn renamed(self, from: &str, to: &str) -> Self {
        self.change(|inner| {
            for error in &mut inner.errors {
                if error.place == Place::Body(from.to_owned()) {
                    error.place = Place::Body(to.to_owned());
                }
            }
        })
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.change(|inner| inner.retry_after_seconds = Some(wait.as_secs().max(1)))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.change(|inner| {
            inner.headers.insert(name, value);
        })
    }

    /// Notes the cause for the log. The cause holds no personal data.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "errors go in whole, as from map_err")]
    pub fn because(self, cause: impl ToString) -> Self {
        self.change(|inner| inner.cause = Some(cause.to_string()))
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The internal cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Where something is wrong, and which code says what.
    #[cfg(test)]
    pub(super) fn parts(&self) -> Vec<(Place, &'static str)> {
        self.0.errors.iter().map(|error| (error.place.clone(), error.code)).collect()
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The finished answer.
    pub(super) fn render(&self, language: Language, trace_id: &str) -> Response {
        let entry = self.0.code.entry();
        let part = |error: &FieldError| {
            let (mut pointer, mut parameter, mut header) = (None, None, None);
            match &error.place {
                Place::Body(at) => pointer = Some(at.clone()),
                Place::Query(name) => parameter = Some(name.clone()),
                Place::Header(name) => header = Some(*name),
            }
            let detail = error.detail.in_language(language);
            let allowed = error.allowed.clone();
            ProblemPart { pointer, parameter, header, code: error.code, detail, allowed }
        };
        let problem = Problem {
            type_: format!("/problems/{}", entry.name),
            title: entry.title.in_language(language),
            status: entry.status,
            code: entry.name,
            detail: entry.detail.in_language(language),
            errors: self.0.errors.iter().map(part).collect(),
            retryable: entry.retryable,
            retry_after: self.0.retry_after_seconds,
            message: Message {
                retryable: entry.retryable,
                retry_after: self.0.retry_after_seconds,
                ..Message::new(entry.name, entry.severity(), entry.detail)
            },
            trace_id: trace_id.to_owned(),
        };
        let mut response = (self.status(), self.0.headers.clone(), Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(
            header::CONTENT_LANGUAGE,
            HeaderValue::from_static(match language {
                Language::Tr => "tr",
                Language::En => "en",
            }),
        );
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // A provider signs; it has no token to bring.
        if entry.status == 401 && self.0.code != Code::SignatureInvalid {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.entry().status).expect("the catalogue holds HTTP statuses")
    }
}

impl FieldError {
    /// About this place.
    pub fn new(place: Place, code: &'static str, detail: Text) -> Self {
        Self { place, code, detail, allowed: Vec::new() }
    }

    /// About a value in the body, at this JSON Pointer.
    pub fn body(pointer: impl Into<String>, code: &'static str, detail: Text) -> Self {
        Self::new(Place::Body(pointer.into()), code, detail)
    }

    /// About a query parameter.
    pub fn query(name: impl Into<String>, code: &'static str, detail: Text) -> Self {
        Self::new(Place::Query(name.into()), code, detail)
    }

    /// About a header.
    pub fn header(name: &'static str, code: &'static str, detail: Text) -> Self {
        Self::new(Place::Header(name), code, detail)
    }

    /// Says what may stand there.
    #[must_use]
    pub fn allowing(self, allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { allowed: allowed.into_iter().map(Into::into).collect(), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        // The engine's own reading: which errors pass, and a text that quotes no row.
        match JobError::from(error) {
            JobError::Retry(failure) => {
                Self::new(Code::Unavailable).retry_after(DATABASE_RETRY).because(failure)
            }
            JobError::Fail(failure) => Self::internal(failure),
            JobError::LeaseLost => Self::internal("a lease was lost outside of a job"),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Database(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<IdempotencyError> for ApiError {
    fn from(error: IdempotencyError) -> Self {
        match error {
            IdempotencyError::OtherBody => Code::IdempotencyKeyReused.into(),
            IdempotencyError::InFlight => {
                Self::new(Code::IdempotencyInFlight).retry_after(Duration::from_secs(1))
            }
            IdempotencyError::Database(error) => error.into(),
        }
    }
}
