//! The administrators' queue: leads that left their owner, on their way back to a pool; and follow-ups that are done.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::follow_ups;
use sira_domain::leads;
use sira_domain::nouns::LeadId;
use sira_domain::privacy::Subject;
use sira_kernel::PhoneNumber;
use utoipa::ToSchema;
use uuid::Uuid;

use super::catalogue::{Code, Text};
use super::extract::PathOf;
use super::idempotent::Once;
use super::leads as http_leads;
use super::message::{self, Message};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

const PHONE: Text = Text {
    tr: "Telefon numarası okunamadı. Ülke koduyla yazın: +90 5xx xxx xx xx.",
    en: "The phone number cannot be read. Write it with its country code: +90 5xx xxx xx xx.",
};

/// Nothing needs to be said.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeadDone {
    id: Uuid,
    message: Message,
}

/// Gives a lead of the administrators' queue back to its pool, where it waits for an agent as a new one. One with a wrong
/// number must have it corrected first.
#[utoipa::path(post, path = "/leads/{id}/redistribute", operation_id = "redistribute_lead", tag = "leads", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The lead"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It waits for an agent", body = LeadDone),
    (status = 404, description = "No such lead", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is not in the queue, or its number is wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn redistribute_lead(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    let (lead, user) = (LeadId::from_uuid(id), &once.user);
    once.run(&app, StatusCode::OK, async |uow| {
        leads::search::find(uow.conn(), user.scope(), lead).await?.ok_or(Code::NotFound)?;
        if !leads::redistribute(uow, lead, Some(user.role)).await? {
            return Err(Code::NotInQueue.into());
        }
        Ok(LeadDone { id, message: message::LEAD_REDISTRIBUTED })
    })
    .await
}

/// A right number.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CorrectPhone {
    /// With its country code, or national of the configured region.
    #[schema(example = "+90 555 000 00 17")]
    phone: String,
}

/// Puts a right number in the place of a wrong one. A lead that waits in the administrators' queue for just this goes back
/// to its pool.
#[utoipa::path(post, path = "/leads/{id}/contacts", operation_id = "correct_contact", tag = "leads", request_body = CorrectPhone,
    params(("id" = Uuid, Path, description = "The lead"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "Corrected", body = LeadDone),
    (status = 404, description = "No such lead", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The number belongs to another lead", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The number cannot be read, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn correct_contact(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<CorrectPhone>,
) -> Result<Response, ApiError> {
    let phone = PhoneNumber::parse(&once.body.phone, &app.cx.settings.phone_region).map_err(|_| {
        ApiError::new(Code::InvalidBody).with(FieldError::body("/phone", "wrong_value", PHONE))
    })?;
    let lead = LeadId::from_uuid(id);
    http_leads::check_visible(&app, &once.user, lead).await?;
    let key = app.cx.cipher.key(Subject::Lead(lead)).await?;
    let phone = leads::prepare_phone(&app.cx.cipher, &key, &phone);
    once.run(&app, StatusCode::CREATED, async |uow| {
        leads::correct_phone(uow, lead, &phone).await?;
        Ok(LeadDone { id, message: message::CONTACT_CORRECTED })
    })
    .await
}

/// Says that what was agreed with the person for a time is done.
#[utoipa::path(post, path = "/leads/{id}/followUp/done", operation_id = "complete_follow_up", tag = "leads", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The lead"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "Done", body = LeadDone),
    (status = 404, description = "No such lead in the caller's scope, or no open follow-up", body = Problem, content_type = "application/problem+json"),
))]
pub async fn complete_follow_up(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    let (lead, user) = (LeadId::from_uuid(id), &once.user);
    once.run(&app, StatusCode::OK, async |uow| {
        leads::search::find(uow.conn(), user.scope(), lead).await?.ok_or(Code::NotFound)?;
        if !follow_ups::close(uow, lead, "done").await? {
            return Err(Code::NotFound.into());
        }
        Ok(LeadDone { id, message: message::FOLLOW_UP_DONE })
    })
    .await
}
