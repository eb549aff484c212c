//! Letting events out of quarantine, as they are or corrected. Audited as the caller's act.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::ingestion::{self, Correction, ReleaseError};
use sira_domain::nouns::InboundId;
use sira_domain::privacy::Subject;
use sira_kernel::{EmailAddress, PhoneNumber};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::catalogue::Code;
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::leads::body::{EMAIL, NO_CONTACT, PHONE, checked};
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct EventReleased {
    id: Uuid,
    message: Message,
}

/// What is right.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectEvent {
    /// In the place of all numbers that were given: with its country code, or national of the configured region.
    #[schema(example = "+90 555 000 00 17")]
    phone: Option<String>,
    /// In the place of all addresses that were given.
    #[schema(example = "ayse@example.com")]
    email: Option<String>,
}

impl CorrectEvent {
    fn read(&self, region: &str) -> Result<Correction, ApiError> {
        let mut wrong = Vec::new();
        let phone = checked(self.phone.clone(), "/phone", PHONE, &mut wrong, |raw| {
            PhoneNumber::parse(raw, region).ok()
        });
        let email =
            checked(self.email.clone(), "/email", EMAIL, &mut wrong, |raw| EmailAddress::parse(raw).ok());
        let correction = Correction { phone, email };
        if wrong.is_empty() && correction.is_empty() {
            wrong.push(FieldError::body("/phone", "missing_field", NO_CONTACT));
        }
        ApiError::check(wrong)?;
        Ok(correction)
    }
}

/// Tries an event of the quarantine again, as it is.
#[utoipa::path(post, path = "/ops/quarantine/{id}/retry", operation_id = "retry_quarantined_event", tag = "operations", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The event"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is tried again", body = EventReleased),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such event", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is not in quarantine", body = Problem, content_type = "application/problem+json"),
))]
pub async fn retry_quarantined_event(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        ingestion::release(uow, InboundId::from_uuid(id), None).await?;
        Ok(EventReleased { id, message: message::EVENT_RELEASED })
    })
    .await
}

/// Puts a right number or address in the place of what the person had written, and tries the event again.
#[utoipa::path(post, path = "/ops/quarantine/{id}/correct", operation_id = "correct_quarantined_event", tag = "operations", request_body = CorrectEvent,
    params(("id" = Uuid, Path, description = "The event"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is tried again", body = EventReleased),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such event", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is not in quarantine", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Nothing is corrected, or it cannot be read", body = Problem, content_type = "application/problem+json"),
))]
pub async fn correct_quarantined_event(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<CorrectEvent>,
) -> Result<Response, ApiError> {
    let correction = once.body.read(&app.cx.settings.phone_region)?;
    let inbound = InboundId::from_uuid(id);
    // What has no key is no event.
    ingestion::find_received_at(&mut *app.cx.db.read().await?, inbound).await?;
    let key = app.cx.cipher.key(Subject::Inbound(inbound)).await?;
    let sealed = correction.seal(&key, inbound);
    once.run(&app, StatusCode::OK, async |uow| {
        ingestion::release(uow, inbound, Some(&sealed)).await?;
        Ok(EventReleased { id, message: message::EVENT_RELEASED })
    })
    .await
}

impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::NotFound => Code::NotFound.into(),
            ReleaseError::NotQuarantined { .. } => Code::NotQuarantined.into(),
            ReleaseError::Database(error) => error.into(),
        }
    }
}
